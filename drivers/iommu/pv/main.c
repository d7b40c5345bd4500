// SPDX-License-Identifier: GPL-2.0-only
/*
 * pviommu guest driver: paravirtual remapping for passthrough devices.
 *
 * The host puts passthrough devices behind apertures. A device reaches the IOVAs
 * of its aperture's window and nothing else, and there only what the guest has
 * entered in a table: a directory of leaf pages of 512 entries, guest memory
 * that the host reads when a hypercall tells it to. The host pins what is
 * entered, and no other page of the guest.
 *
 * To the kernel this is an IOMMU driver. dma-iommu.c gives it IOVA allocation,
 * merging of scatter-gather lists and flush queues, and unmodified device
 * drivers use all that through the DMA API:
 *
 * - Mapping: ->map_pages() writes entries, ->iotlb_sync_map() has the host take
 *   them over, with one hypercall for the whole of a dma_map_*() call. The host
 *   may refuse: its budget of pinned pages is limited. Then the core unmaps all
 *   of the range again and the device driver sees a mapping error, which it can
 *   retry later.
 *
 * - Unmapping, strict: ->unmap_pages() clears entries, ->iotlb_sync() has the
 *   host take them back, and only after that the IOVA can be allocated again.
 *
 * - Unmapping, lazy (the kernel's default): ->unmap_pages() clears entries and
 *   notes their pages as dirty; dma-iommu keeps the IOVAs in per-CPU queues and
 *   calls ->flush_iotlb_all() when one is full, or after 10 ms. That sends all
 *   dirty pages in as few hypercalls as they fit in. It runs with interrupts
 *   off. Until then the device can reach the pages, and they count against the
 *   budget; if mapping fails for that, they are flushed ahead of time.
 *
 * - What the core maps as 2 MiB, where host and window allow that, is entered as a
 *   unit: 512 entries with the promise that they are cleared together. The host
 *   may use a large page for it then.
 *
 * In other modes the core has no part in an aperture. Its devices get dma_map_ops of
 * ours, which copy buffers to and from a pool that is mapped once (bounce), or do so with
 * small ones and map large ones (hybrid).
 *
 * Invariants:
 *
 * - An entry belongs to whoever owns its IOVA, so entries need no lock. The
 *   table is right at all times, for the host reads it whenever it likes.
 * - SYNC is idempotent: it makes the host agree with the table. So errors are
 *   undone by clearing entries and syncing again.
 * - Telling the host of removals is not refused because of the table. If it fails
 *   all the same, the aperture is disabled: see domain.c.
 * - One aperture is one IOMMU group, and follows one domain's table at a time,
 *   under its attach_lock.
 *
 * Files: host.c makes the hypercalls, table.c keeps the table, aperture.c and
 * endpoint.c learn from the host what there is, domain.c decides what the host
 * is told and when, events.c reports refused DMA. mode.c knows what was asked for; in
 * other modes dma_ops.c is what device drivers call, mapper.c fills the aperture, pool.c
 * copies. This one registers the driver.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cc_platform.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kvm_para.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/sizes.h>

#include "pviommu.h"

static struct iommu_device pviommu_iommu;

static struct iommu_device *pviommu_probe_device(struct device *dev)
{
	struct pviommu_endpoint *endpoint;

	/* One of another mode is disowned, and may be asked for again. */
	if (!dev_is_pci(dev) || pviommu_dma_endpoint(dev))
		return ERR_PTR(-ENODEV);

	endpoint = pviommu_endpoint_create(to_pci_dev(dev));
	if (IS_ERR(endpoint))
		return ERR_CAST(endpoint);

	if (endpoint->aperture->mode != PVIOMMU_REMAP) {
		if (pviommu_dma_adopt(dev, endpoint))
			pviommu_endpoint_destroy(endpoint);
		return ERR_PTR(-ENODEV);
	}

	dev_iommu_priv_set(dev, endpoint);
	return &pviommu_iommu;
}

static void pviommu_release_device(struct device *dev)
{
	pviommu_detach_released(dev);
	pviommu_endpoint_destroy(dev_iommu_priv_get(dev));
}

static struct iommu_group *pviommu_device_group(struct device *dev)
{
	struct pviommu_endpoint *endpoint = dev_iommu_priv_get(dev);

	return iommu_group_ref_get(endpoint->aperture->group);
}

static void pviommu_get_resv_regions(struct device *dev, struct list_head *list)
{
	struct pviommu_endpoint *endpoint = dev_iommu_priv_get(dev);

	pviommu_aperture_resv_regions(endpoint->aperture, list);
}

static bool pviommu_capable(struct device *dev, enum iommu_cap cap)
{
	return cap == IOMMU_CAP_CACHE_COHERENCY ||
	       pviommu_is_flush_queue_cap(cap);
}

/* "iommu=pt" cannot be had: there is no way around an aperture. */
static int pviommu_def_domain_type(struct device *dev)
{
	return iommu_default_passthrough() ? IOMMU_DOMAIN_DMA : 0;
}

static const struct iommu_ops pviommu_ops = {
	.owner			= THIS_MODULE,
	.pgsize_bitmap		= SZ_4K,
	.capable		= pviommu_capable,
	.probe_device		= pviommu_probe_device,
	.release_device		= pviommu_release_device,
	.device_group		= pviommu_device_group,
	.get_resv_regions	= pviommu_get_resv_regions,
	.def_domain_type	= pviommu_def_domain_type,
	.default_domain_ops	= &pviommu_domain_ops,
	PVIOMMU_KERNEL_OPS,
};

/*
 * On reboot, power-off and kexec, after drivers have shut their devices down. What
 * comes next need not know of pviommu: no device shall reach the memory that was
 * this kernel's, and the host shall keep nothing pinned.
 *
 * A crash kernel is started without this. It runs in memory that no table has
 * ever named, and devices go on with what the table in the old kernel's memory
 * says, until its own driver's DISABLE and ENABLE drop all that.
 */
static void pviommu_shutdown(PVIOMMU_SYSCORE_ARGS)
{
	pviommu_apertures_for_each(pviommu_aperture_shutdown);
}

PVIOMMU_DEFINE_SYSCORE(pviommu_syscore, pviommu_shutdown);

/* What pviommu_init() does once it knows that hypercalls can be made. */
VISIBLE_IF_KUNIT int pviommu_start(void)
{
	int ret;

	ret = pviommu_host_probe();
	if (ret == -ENXIO) {
		pr_info("this host has no pviommu\n");
		return -ENODEV;
	}
	if (ret)
		return ret;

	/*
	 * The core asks the first driver that has no firmware node about every
	 * device, and only that one.
	 */
	if (iommu_present(&pci_bus_type)) {
		pr_err("this guest has another IOMMU: pviommu can only be used alone\n");
		return -EBUSY;
	}

	ret = pviommu_dma_start();
	if (ret)
		return ret;
	pviommu_debugfs_start();

	ret = iommu_device_sysfs_add(&pviommu_iommu, NULL, NULL, "pviommu");
	if (ret)
		goto err_dma;

	ret = pviommu_iommu_register(&pviommu_iommu, &pviommu_ops);
	if (ret)
		goto err_sysfs;

	pviommu_syscore_register(&pviommu_syscore);
	return 0;

err_sysfs:
	iommu_device_sysfs_remove(&pviommu_iommu);
err_dma:
	pviommu_dma_stop();
	pviommu_events_stop();
	pviommu_debugfs_stop();
	pviommu_apertures_release();
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_start);

VISIBLE_IF_KUNIT void pviommu_stop(void)
{
	pviommu_syscore_unregister(&pviommu_syscore);
	iommu_device_unregister(&pviommu_iommu);
	pviommu_dma_stop();
	pviommu_events_stop();
	iommu_device_sysfs_remove(&pviommu_iommu);
	pviommu_debugfs_stop();
	pviommu_apertures_release();
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_stop);

static int __init pviommu_init(void)
{
	/* Without a hypervisor the hypercall instruction would be a fault. */
	if (!kvm_para_available())
		return -ENODEV;

	if (cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)) {
		pr_info("not for guests with encrypted memory: the host has to read the table\n");
		return -ENODEV;
	}

	return pviommu_start();
}

/* The core holds a module reference for each endpoint: there are none left. */
static void __exit pviommu_exit(void)
{
	pviommu_stop();
}

/*
 * Built in, this is a device_initcall: after the rootfs_initcall in which an
 * emulated IOMMU's driver registers, and ahead of device drivers by link order.
 */
module_init(pviommu_init);
module_exit(pviommu_exit);

MODULE_DESCRIPTION("Paravirtual IOMMU for KVM guests");
MODULE_LICENSE("GPL");
