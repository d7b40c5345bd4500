// SPDX-License-Identifier: GPL-2.0-only
/*
 * Has QEMU's edu device attempt DMA where it may and where it may not.
 *
 * Every refused transfer is judged by what it left behind, not by an error, and
 * is preceded by the same transfer, same page and direction, at an address that
 * is mapped: only then does "nothing changed" mean "blocked".
 *
 * What was found is in the device's sysfs file "edu_dma", "name value" lines.
 */
#include <linux/bits.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/iommu.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/pci.h>

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e8

#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_CMD_RUN	BIT(0)
#define EDU_CMD_TO_RAM	BIT(1)

/*
 * The device's own memory, as its DMA engine addresses it: 4 KiB, of which the
 * last byte is out of bounds to QEMU 7.2, which then aborts.
 */
#define EDU_BUFFER	0x40000

#define LENGTH		SZ_2K

/* The device silently clamps addresses to its mask, and does not tell which. */
static unsigned int bits = 32;
module_param(bits, uint, 0644);
MODULE_PARM_DESC(bits, "address bits of the devices that are bound next");

/* Keeps the target mapped, for whoever has the device next to find it gone. */
static unsigned int keep;
module_param(keep, uint, 0644);
MODULE_PARM_DESC(keep, "leave the target mapped: 1 until the driver goes, 2 for good");

/* Where somebody else, who is gone, has had a page of SECRET mapped. */
static unsigned long long stale;
module_param(stale, ullong, 0644);
MODULE_PARM_DESC(stale, "IOVA that must not reveal anything any more");

/* A transfer takes 100 ms; a flush queue is emptied within 10 ms. */
#define EDU_TIMEOUT_US	(10 * USEC_PER_SEC)
#define LAZY_FLUSH_MS	100

enum { SECRET = 0x5a, LATER_SECRET = 0x69, FILL = 0xa5, INITIAL = 0x3c };

struct edu {
	struct pci_dev *pdev;
	void __iomem *regs;

	/* Always mapped: the way to fill and to look into the device's buffer. */
	u8 *window;
	dma_addr_t window_iova;

	/* The page that transfers are aimed at: target_page. */
	struct page *page;
	u8 *target;

	/* Where it is mapped just now, if it is: its bounce buffer may have to be told. */
	dma_addr_t mapped;

	/* Where it is mapped, with a SECRET in it; see @keep. */
	dma_addr_t kept_iova;

	/* The highest address that the driver was given for its DMA. */
	dma_addr_t highest_iova;

	/* Where the target was mapped. */
	dma_addr_t target_iova;

	/* The device's buffer still had what an earlier probe had it read. */
	bool secret_kept;
	bool inside_write_blocked;
	bool inside_read_blocked;
	bool inside_write;
	bool inside_read;
	bool unmapped_write_blocked;
	bool unmapped_read_blocked;
	bool outside_write_blocked;
	bool outside_read_blocked;
	bool gpa_in_window;
	bool stale_read_blocked;
	bool kept_read;
};

/*
 * The same page for all, and until the module goes: what a device could still read
 * there is known.
 */
static struct page *target_page;

static int edu_transfer(struct edu *edu, u64 address, bool to_ram)
{
	u64 cmd;

	writeq(to_ram ? EDU_BUFFER : address, edu->regs + EDU_DMA_SRC);
	writeq(to_ram ? address : EDU_BUFFER, edu->regs + EDU_DMA_DST);
	writeq(LENGTH, edu->regs + EDU_DMA_COUNT);
	writeq(EDU_CMD_RUN | (to_ram ? EDU_CMD_TO_RAM : 0),
	       edu->regs + EDU_DMA_CMD);

	return readq_poll_timeout(edu->regs + EDU_DMA_CMD, cmd,
				  !(cmd & EDU_CMD_RUN), 1000, EDU_TIMEOUT_US);
}

static bool is_filled(const u8 *page, u8 value)
{
	return !memchr_inv(page, value, LENGTH);
}

/* Fills the device's buffer, by DMA from the window. */
static int edu_set_buffer(struct edu *edu, u8 value)
{
	memset(edu->window, value, LENGTH);
	return edu_transfer(edu, edu->window_iova, false);
}

/* Copies the device's buffer to the window, by DMA. */
static int edu_get_buffer(struct edu *edu)
{
	memset(edu->window, INITIAL, LENGTH);
	return edu_transfer(edu, edu->window_iova, true);
}

/* What the CPU has written there is the device's from here on, and back again. */
static void edu_give_target(struct edu *edu)
{
	wmb(); /* it is in memory before the device is started */
	if (edu->mapped)
		dma_sync_single_for_device(&edu->pdev->dev, edu->mapped, LENGTH,
					   DMA_BIDIRECTIONAL);
}

static void edu_take_target(struct edu *edu)
{
	if (edu->mapped)
		dma_sync_single_for_cpu(&edu->pdev->dev, edu->mapped, LENGTH,
					DMA_BIDIRECTIONAL);
}

/* Did a write of the device to @address arrive in the target page? */
static int edu_write_arrives(struct edu *edu, u64 address, bool *arrives)
{
	int ret;

	ret = edu_set_buffer(edu, FILL);
	if (ret)
		return ret;
	memset(edu->target, INITIAL, LENGTH);
	edu_give_target(edu);
	ret = edu_transfer(edu, address, true);
	if (ret)
		return ret;
	edu_take_target(edu);
	*arrives = !is_filled(edu->target, INITIAL);
	return 0;
}

/* Did a read of the device from @address reveal that @secret is in the target page? */
static int edu_read_arrives(struct edu *edu, u64 address, u8 secret, bool *arrives)
{
	int ret;

	ret = edu_set_buffer(edu, FILL);
	if (ret)
		return ret;
	memset(edu->target, secret, LENGTH);
	edu_give_target(edu);
	ret = edu_transfer(edu, address, false);
	if (ret)
		return ret;
	ret = edu_get_buffer(edu);
	if (ret)
		return ret;
	*arrives = memchr(edu->window, secret, LENGTH);
	return 0;
}

/* Does the device read SECRET where someone else had it mapped? */
static int edu_try_stale(struct edu *edu)
{
	int ret;

	ret = edu_set_buffer(edu, FILL) ?: edu_transfer(edu, stale, false) ?:
	      edu_get_buffer(edu);
	if (!ret)
		edu->stale_read_blocked = !memchr(edu->window, SECRET, LENGTH);
	return ret;
}

static int edu_keep(struct edu *edu)
{
	struct device *dev = &edu->pdev->dev;

	edu->kept_iova = dma_map_page(dev, edu->page, 0, PAGE_SIZE,
				      DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dev, edu->kept_iova)) {
		edu->kept_iova = 0;
		return -ENOMEM;
	}
	edu->mapped = edu->kept_iova;
	return edu_read_arrives(edu, edu->kept_iova, SECRET, &edu->kept_read);
}

static void edu_unkeep(struct edu *edu)
{
	if (edu->kept_iova && keep != 2)
		dma_unmap_page(&edu->pdev->dev, edu->kept_iova, PAGE_SIZE,
			       DMA_BIDIRECTIONAL);
}

/*
 * The target page while mapped, then at the same IOVA after its unmapping, then
 * at its guest physical address, which is where it was before there was any
 * IOMMU between.
 */
static int edu_attempt_all(struct edu *edu)
{
	struct device *dev = &edu->pdev->dev;
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	phys_addr_t gpa = page_to_phys(edu->page);
	bool write, read;
	dma_addr_t iova;
	int ret;

	ret = edu_get_buffer(edu);
	if (ret)
		return ret;
	edu->secret_kept = memchr(edu->window, SECRET, LENGTH);
	if (stale) {
		ret = edu_try_stale(edu);
		if (ret)
			return ret;
	}

	iova = dma_map_page(dev, edu->page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dev, iova))
		return -ENOMEM;
	edu->mapped = iova;
	edu->target_iova = iova;
	ret = edu_write_arrives(edu, iova, &write);
	if (!ret) {
		edu->inside_write = write && is_filled(edu->target, FILL);
		ret = edu_read_arrives(edu, iova, SECRET, &read);
	}
	edu->mapped = 0;
	dma_unmap_page(dev, iova, PAGE_SIZE, DMA_BIDIRECTIONAL);
	if (ret)
		return ret;
	edu->inside_read = read && is_filled(edu->window, SECRET);
	edu->inside_write_blocked = !write;
	edu->inside_read_blocked = !read;
	edu->highest_iova = max(iova, edu->window_iova) + LENGTH - 1;

	msleep(LAZY_FLUSH_MS);
	ret = edu_write_arrives(edu, iova, &write) ?:
	      edu_read_arrives(edu, iova, LATER_SECRET, &read);
	if (ret)
		return ret;
	edu->unmapped_write_blocked = edu->inside_write && !write;
	edu->unmapped_read_blocked = edu->inside_read && !read;

	if (domain)
		edu->gpa_in_window = gpa >= domain->geometry.aperture_start &&
				     gpa <= domain->geometry.aperture_end;
	ret = edu_write_arrives(edu, gpa, &write) ?:
	      edu_read_arrives(edu, gpa, SECRET, &read);
	if (ret)
		return ret;
	edu->outside_write_blocked = edu->inside_write && !write;
	edu->outside_read_blocked = edu->inside_read && !read;
	return keep ? edu_keep(edu) : 0;
}

static ssize_t edu_dma_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	const struct edu *edu = dev_get_drvdata(dev);
	const struct {
		const char *name;
		bool value;
	} lines[] = {
		{ "secret_kept", edu->secret_kept },
		{ "inside_write_blocked", edu->inside_write_blocked },
		{ "inside_read_blocked", edu->inside_read_blocked },
		{ "inside_write", edu->inside_write },
		{ "inside_read", edu->inside_read },
		{ "unmapped_write_blocked", edu->unmapped_write_blocked },
		{ "unmapped_read_blocked", edu->unmapped_read_blocked },
		{ "outside_write_blocked", edu->outside_write_blocked },
		{ "outside_read_blocked", edu->outside_read_blocked },
		{ "gpa_in_window", edu->gpa_in_window },
		{ "stale_read_blocked", edu->stale_read_blocked },
		{ "kept_read", edu->kept_read },
	};
	int len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		len += sysfs_emit_at(buf, len, "%s %d\n", lines[i].name,
				     lines[i].value);
	len += sysfs_emit_at(buf, len, "highest_iova %llu\n",
			     (u64)edu->highest_iova);
	len += sysfs_emit_at(buf, len, "target_iova %llu\n",
			     (u64)edu->target_iova);
	len += sysfs_emit_at(buf, len, "kept_iova %llu\n", (u64)edu->kept_iova);
	return len;
}
static DEVICE_ATTR_RO(edu_dma);

static struct attribute *edu_attrs[] = {
	&dev_attr_edu_dma.attr,
	NULL
};
ATTRIBUTE_GROUPS(edu);

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu *edu;
	int ret;

	edu = devm_kzalloc(&pdev->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	edu->pdev = pdev;
	pci_set_drvdata(pdev, edu);

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(bits));
	if (ret)
		return ret;
	edu->regs = pcim_iomap(pdev, 0, 0);
	if (!edu->regs)
		return -ENOMEM;
	pci_set_master(pdev);

	edu->window = dma_alloc_coherent(&pdev->dev, LENGTH,
					 &edu->window_iova, GFP_KERNEL);
	if (!edu->window)
		return -ENOMEM;
	edu->page = target_page;
	edu->target = page_address(edu->page);
	ret = edu_attempt_all(edu);
	pci_clear_master(pdev);
	if (ret)
		edu_unkeep(edu);
	dma_free_coherent(&pdev->dev, LENGTH, edu->window,
			  edu->window_iova);
	return ret;
}

static void edu_remove(struct pci_dev *pdev)
{
	edu_unkeep(pci_get_drvdata(pdev));
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(EDU_VENDOR, EDU_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = "edu_dma",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
	.dev_groups = edu_groups,
};

static int __init edu_init(void)
{
	int ret;

	/* Below 16 MiB, where no window lies unless it is asked for. */
	target_page = alloc_page(GFP_KERNEL | GFP_DMA);
	if (!target_page)
		return -ENOMEM;
	ret = pci_register_driver(&edu_driver);
	if (ret)
		__free_page(target_page);
	return ret;
}
module_init(edu_init);

static void __exit edu_exit(void)
{
	pci_unregister_driver(&edu_driver);
	__free_page(target_page);
}
module_exit(edu_exit);

MODULE_DESCRIPTION("DMA attempts by QEMU's edu device");
MODULE_LICENSE("GPL");
