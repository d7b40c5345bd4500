// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver as a whole: registered with the core, with a PCI device of this
 * machine that nobody uses as an endpoint of the made-up host, and used through
 * the DMA API.
 */
#include <kunit/test.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/iommu.h>
#include <linux/scatterlist.h>
#include <linux/sysfs.h>

#include "fixture.h"

#define BASE	0x1000000UL
#define NR_PAGES	1200

static struct pci_dev *spare;
static struct pviommu_path spare_path;
static bool started;

static int main_init(struct kunit *test)
{
	int ret;

	spare = NULL;
	started = false;
	if (iommu_present(&pci_bus_type))
		kunit_skip(test, "this machine has an IOMMU");
	ret = guest_fixture_init(test);
	if (ret)
		return ret;

	spare = fixture_spare_pci(&spare_path);
	if (!spare)
		kunit_skip(test, "this machine has no PCI device to spare");
	fake_host_add_endpoint(fixture_host(test), &spare_path, 0);
	return 0;
}

static void main_exit(struct kunit *test)
{
	if (started)
		pviommu_stop();
	guest_fixture_exit(test);
	if (spare) {
		KUNIT_EXPECT_PTR_EQ(test, spare->dev.iommu_group, NULL);
		pci_dev_put(spare);
	}
}

static void start(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, pviommu_start(), 0);
	started = true;
	KUNIT_ASSERT_NOT_NULL(test, spare->dev.iommu_group);
}

static u64 nr_mapped(struct kunit *test)
{
	return READ_ONCE(fixture_host(test)->apertures[0].nr_mapped);
}

static struct iommu_domain *domain(void)
{
	return iommu_get_domain_for_dev(&spare->dev);
}

/* Has done now what the flush queue's timer would do some time. */
static void flush(struct kunit *test)
{
	struct iommu_domain *dom = domain();

	dom->ops->flush_iotlb_all(dom);
	KUNIT_EXPECT_TRUE(test, fake_host_in_step(fixture_host(test), 0,
						  &fixture_pviommu(dom)->table));
}

static void expect_behind(struct kunit *test, dma_addr_t iova, size_t size,
			  void *buffer)
{
	KUNIT_EXPECT_GE(test, iova, BASE);
	KUNIT_EXPECT_LE(test, iova + size, BASE + NR_PAGES * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain(), iova),
			virt_to_phys(buffer));
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain(), iova + size - 1),
			virt_to_phys(buffer + size - 1));
}

static void main_join(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct pci_dev *pdev = NULL;

	start(test);
	/* PROBE, and then the one aperture that a device is in. */
	fake_host_expect(test, host, "probe=24 aperture:0=32 disable:0=0 events:0=0 enable:0=0");

	KUNIT_EXPECT_TRUE(test, iommu_is_dma_domain(domain()));
	KUNIT_EXPECT_TRUE(test, device_iommu_mapped(&spare->dev));
	KUNIT_EXPECT_TRUE(test, device_iommu_capable(&spare->dev,
						     IOMMU_CAP_CACHE_COHERENCY));
	KUNIT_EXPECT_TRUE(test, device_iommu_capable(&spare->dev,
						     IOMMU_CAP_DEFERRED_FLUSH));
	KUNIT_EXPECT_FALSE(test, device_iommu_capable(&spare->dev,
						      IOMMU_CAP_NOEXEC));
	for_each_pci_dev(pdev)
		if (pdev != spare)
			KUNIT_EXPECT_FALSE(test,
					   device_iommu_mapped(&pdev->dev));
	flush(test);
}

static void main_stop(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	unsigned int i;

	for (i = 0; i < 2; i++) {
		start(test);
		fake_host_forget(host);
		pviommu_stop();
		started = false;
		fake_host_expect(test, host, "disable:0=0");
		KUNIT_EXPECT_PTR_EQ(test, spare->dev.iommu_group, NULL);
		KUNIT_EXPECT_FALSE(test, iommu_present(&pci_bus_type));
	}
}

static void main_alone(struct kunit *test)
{
	start(test);
	KUNIT_EXPECT_EQ(test, pviommu_start(), -EBUSY);
}

static void main_no_host(struct kunit *test)
{
	const struct fake_plan plans[] = {
		{ .call = FAKE_PROBE, .value = -1000 },
		{ .call = FAKE_PROBE, .value = PVIOMMU_RC_NO_RAM },
	};

	fake_host_plan(fixture_host(test), &plans[0]);
	fake_host_plan(fixture_host(test), &plans[1]);
	KUNIT_EXPECT_EQ(test, pviommu_start(), -ENODEV);
	KUNIT_EXPECT_EQ(test, pviommu_start(), -EFAULT);
	KUNIT_EXPECT_FALSE(test, iommu_present(&pci_bus_type));
}

/* The core gives up in the middle: as if there had been nothing. */
static void main_register_fails(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);

	/* In the place of one that the core makes for a device. */
	KUNIT_ASSERT_EQ(test, sysfs_create_link(&spare->dev.kobj,
						&spare->bus->dev.kobj, "iommu"),
			0);
	KUNIT_EXPECT_EQ(test, pviommu_start(), -EEXIST);
	sysfs_remove_link(&spare->dev.kobj, "iommu");
	KUNIT_EXPECT_FALSE(test, iommu_present(&pci_bus_type));
	KUNIT_EXPECT_PTR_EQ(test, spare->dev.iommu_group, NULL);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_ENABLE], 0);
	start(test);
}

static void main_resv_regions(struct kunit *test)
{
	struct iommu_resv_region *region;
	unsigned int msi = 0, holes = 0;
	LIST_HEAD(list);

	fake_host_set_holes(test, fixture_host(test), 0, 3, 3);
	start(test);
	iommu_get_resv_regions(&spare->dev, &list);
	list_for_each_entry(region, &list, list) {
		if (region->type == IOMMU_RESV_MSI)
			msi++;
		if (region->type == IOMMU_RESV_RESERVED)
			holes++;
	}
	iommu_put_resv_regions(&spare->dev, &list);
	KUNIT_EXPECT_EQ(test, msi, 1);
	KUNIT_EXPECT_EQ(test, holes, 3);
}

static void main_single(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct device *dev = &spare->dev;
	dma_addr_t iova;
	void *buffer;

	buffer = kunit_kzalloc(test, 3 * PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buffer);
	start(test);
	fake_host_forget(host);

	iova = dma_map_single(dev, buffer + 100, PAGE_SIZE, DMA_FROM_DEVICE);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(dev, iova));
	expect_behind(test, iova, PAGE_SIZE, buffer + 100);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_MAP], 1);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 2);

	dma_unmap_single(dev, iova, PAGE_SIZE, DMA_FROM_DEVICE);
	flush(test);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 0);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain(), iova), 0);
}

static void main_sg(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct device *dev = &spare->dev;
	struct scatterlist sg[3];
	void *pages[3];
	int i, nr;

	sg_init_table(sg, 3);
	for (i = 0; i < 3; i++) {
		pages[i] = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, pages[i]);
		sg_set_buf(&sg[i], pages[i], PAGE_SIZE);
	}
	start(test);
	fake_host_forget(host);

	nr = dma_map_sg(dev, sg, 3, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_GE(test, nr, 1);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_MAP], 1);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 3);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test,
				iommu_iova_to_phys(domain(), sg_dma_address(sg) +
						   i * PAGE_SIZE),
				virt_to_phys(pages[i]));
	dma_unmap_sg(dev, sg, 3, DMA_BIDIRECTIONAL);
	flush(test);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 0);
}

static void main_coherent(struct kunit *test)
{
	struct device *dev = &spare->dev;
	dma_addr_t iova;
	u32 *buffer;

	start(test);
	buffer = dma_alloc_coherent(dev, 5 * PAGE_SIZE, &iova, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buffer);
	buffer[0] = 1;
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 5);
	KUNIT_EXPECT_EQ(test, *(u32 *)phys_to_virt(iommu_iova_to_phys(domain(),
								      iova)), 1);
	dma_free_coherent(dev, 5 * PAGE_SIZE, buffer, iova);
	flush(test);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 0);
}

/* Many removals are few hypercalls, unless the kernel is strict. */
static void main_many(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct device *dev = &spare->dev;
	unsigned int i, unmaps;
	dma_addr_t iova;
	void *buffer;

	buffer = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buffer);
	start(test);
	fake_host_forget(host);
	for (i = 0; i < 600; i++) {
		iova = dma_map_single(dev, buffer, PAGE_SIZE, DMA_TO_DEVICE);
		KUNIT_ASSERT_FALSE(test, dma_mapping_error(dev, iova));
		expect_behind(test, iova, PAGE_SIZE, buffer);
		dma_unmap_single(dev, iova, PAGE_SIZE, DMA_TO_DEVICE);
	}
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_MAP], 600);
	flush(test);
	unmaps = host->nr_calls[FAKE_UNMAP] + host->nr_calls[FAKE_UNMAP_LIST];
	if (domain()->type == IOMMU_DOMAIN_DMA_FQ)
		KUNIT_EXPECT_LT(test, unmaps, 600);
	else
		KUNIT_EXPECT_EQ(test, unmaps, 600);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 0);
}

/* A device driver gets a mapping error, and succeeds later. */
static void main_budget(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct device *dev = &spare->dev;
	dma_addr_t one, two;
	void *buffer;

	buffer = kunit_kzalloc(test, 2 * PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buffer);
	host->apertures[0].info.budget = 2;
	start(test);

	one = dma_map_single(dev, buffer, 2 * PAGE_SIZE, DMA_TO_DEVICE);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(dev, one));
	two = dma_map_single(dev, buffer, PAGE_SIZE, DMA_TO_DEVICE);
	KUNIT_EXPECT_NE(test, dma_mapping_error(dev, two), 0);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 2);
	dma_unmap_single(dev, one, 2 * PAGE_SIZE, DMA_TO_DEVICE);

	/* Lazily removed pages do not stand in its way. */
	two = dma_map_single(dev, buffer, 2 * PAGE_SIZE, DMA_TO_DEVICE);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(dev, two));
	dma_unmap_single(dev, two, 2 * PAGE_SIZE, DMA_TO_DEVICE);
	flush(test);
}

/* As VFIO does it: a domain of one's own, and back to that of the DMA API. */
static void main_own_domain(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct device *dev = &spare->dev;
	struct iommu_domain *own;
	dma_addr_t iova;
	void *buffer;

	buffer = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buffer);
	start(test);
	iova = dma_map_single(dev, buffer, PAGE_SIZE, DMA_TO_DEVICE);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(dev, iova));

	own = iommu_paging_domain_alloc(dev);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, own);
	KUNIT_EXPECT_EQ(test, iommu_attach_device(own, dev), 0);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 0);
	KUNIT_EXPECT_EQ(test, iommu_map(own, BASE, FIXTURE_RAM, 4 * PAGE_SIZE,
					RW, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 4);
	KUNIT_EXPECT_EQ(test, iommu_unmap(own, BASE, PAGE_SIZE), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 3);
	KUNIT_EXPECT_TRUE(test, fake_host_in_step(host, 0,
						  &fixture_pviommu(own)->table));
	iommu_detach_device(own, dev);
	iommu_domain_free(own);

	flush(test);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 1);
	expect_behind(test, iova, PAGE_SIZE, buffer);
	dma_unmap_single(dev, iova, PAGE_SIZE, DMA_TO_DEVICE);
}

struct fault {
	struct device *dev;
	unsigned long iova;
	int flags;
};

static int note_fault(struct iommu_domain *dom, struct device *dev,
		      unsigned long iova, int flags, void *token)
{
	struct fault *fault = token;

	*fault = (struct fault) { dev, iova, flags };
	return 0;
}

static void main_fault(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct fault fault = {};

	start(test);
	/* One that nobody handles is logged. */
	fake_host_add_event(host, 0, &spare_path, 0x5000, 0);
	pviommu_events_poll();
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_events, 0);

	iommu_set_fault_handler(domain(), note_fault, &fault);
	fake_host_add_event(host, 0, &spare_path, 0x6008, PVIOMMU_EVENT_WRITE);
	pviommu_events_poll();
	KUNIT_EXPECT_PTR_EQ(test, fault.dev, &spare->dev);
	KUNIT_EXPECT_EQ(test, fault.iova, 0x6008);
	KUNIT_EXPECT_EQ(test, fault.flags, IOMMU_FAULT_WRITE);
}

static int stay_away_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return pdev == spare ? 0 : -ENODEV;
}

/* The device has a driver before pviommu comes: it has to stay blocked. */
static void main_late(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct pci_device_id ids[2] = {
		{ PCI_DEVICE(spare->vendor, spare->device) },
	};
	struct pci_driver driver = {
		.name = "pviommu-test",
		.id_table = ids,
		.probe = stay_away_probe,
	};

	KUNIT_ASSERT_EQ(test, pci_register_driver(&driver), 0);
	KUNIT_EXPECT_PTR_EQ(test, spare->dev.driver, &driver.driver);
	KUNIT_EXPECT_EQ(test, pviommu_start(), 0);
	started = true;
	KUNIT_EXPECT_PTR_EQ(test, spare->dev.iommu_group, NULL);
	KUNIT_EXPECT_EQ(test, host->apertures[0].directory, 0);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_ENABLE], 0);
	pci_unregister_driver(&driver);
}

static struct kunit_case main_cases[] = {
	KUNIT_CASE(main_join),
	KUNIT_CASE(main_stop),
	KUNIT_CASE(main_alone),
	KUNIT_CASE(main_no_host),
	KUNIT_CASE(main_register_fails),
	KUNIT_CASE(main_resv_regions),
	KUNIT_CASE(main_single),
	KUNIT_CASE(main_sg),
	KUNIT_CASE(main_coherent),
	KUNIT_CASE(main_many),
	KUNIT_CASE(main_budget),
	KUNIT_CASE(main_own_domain),
	KUNIT_CASE(main_fault),
	KUNIT_CASE(main_late),
	{}
};

static struct kunit_suite main_suite = {
	.name = "pviommu_main",
	.init = main_init,
	.exit = main_exit,
	.test_cases = main_cases,
};

kunit_test_suite(main_suite);
