// SPDX-License-Identifier: GPL-2.0-only
/*
 * What pinning and IOMMU page tables cost by themselves, to compare a sync with.
 *
 * Write "BDF VA PAGES ROUNDS" to the module parameter "run". BDF is a device without
 * a driver, alone in its IOMMU group; VA is memory of the writing process. Read
 * "result" then: lines "NAME NANOSECONDS", each for all rounds together.
 */
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>

#include "compat.h"

/* Not what the host module makes of it on 6.1. */
#undef pin_user_pages_fast

#define MAX_PAGES	SZ_16K

/* Of the IOVAs that are used. */
#define BASE		SZ_1G

enum bare {
	BARE_NOTHING,		/* a round without anything in it */
	BARE_PIN,
	BARE_UNPIN,		/* as the pins of what a device has written */
	BARE_MAP,		/* a call for each page */
	BARE_MAP_SG,		/* a call for each round */
	BARE_UNMAP,		/* a call for each page, without a flush */
	BARE_UNMAP_RANGE,	/* a call for each round, without a flush */
	BARE_FLUSH,
	BARE_UNMAP_FLUSH,	/* a call for each page, then a flush */
	NR_BARE
};

static const char * const names[NR_BARE] = {
	[BARE_NOTHING] = "nothing",
	[BARE_PIN] = "pin",
	[BARE_UNPIN] = "unpin",
	[BARE_MAP] = "map",
	[BARE_MAP_SG] = "map-sg",
	[BARE_UNMAP] = "unmap",
	[BARE_UNMAP_RANGE] = "unmap-range",
	[BARE_FLUSH] = "flush",
	[BARE_UNMAP_FLUSH] = "unmap-flush",
};

static u64 times[NR_BARE];

/**
 * struct work - what a run works on
 * @domain: of the device's
 * @va: of the memory
 * @pages: there, once they are pinned
 * @sg: one element for each page of a round
 * @n: pages of a round
 * @rounds: their number; none touches what another one does
 */
struct work {
	struct iommu_domain *domain;
	unsigned long va;
	struct page **pages;
	struct scatterlist *sg;
	unsigned int n;
	unsigned int rounds;
};

static unsigned long iova_of(unsigned int page)
{
	return BASE + page * (unsigned long)SZ_4K;
}

static int nothing(struct work *work, unsigned int first)
{
	return 0;
}

static int pin(struct work *work, unsigned int first)
{
	int got = pin_user_pages_fast(work->va + first * PAGE_SIZE, work->n,
				      FOLL_LONGTERM | FOLL_WRITE,
				      work->pages + first);

	return got == work->n ? 0 : -EFAULT;
}

static int unpin(struct work *work, unsigned int first)
{
	unpin_user_pages_dirty_lock(work->pages + first, work->n, true);
	return 0;
}

static int map(struct work *work, unsigned int first)
{
	int prot = IOMMU_CACHE | IOMMU_READ | IOMMU_WRITE;
	unsigned int i;
	int ret = 0;

	for (i = first; i < first + work->n && !ret; i++)
		ret = iommu_map(work->domain, iova_of(i),
				page_to_phys(work->pages[i]), SZ_4K, prot,
				GFP_KERNEL);
	return ret;
}

static int map_sg(struct work *work, unsigned int first)
{
	int prot = IOMMU_CACHE | IOMMU_READ | IOMMU_WRITE;
	size_t size = work->n * (size_t)SZ_4K;
	unsigned int i;
	ssize_t mapped;

	for (i = 0; i < work->n; i++)
		sg_set_page(&work->sg[i], work->pages[first + i], SZ_4K, 0);
	mapped = iommu_map_sg(work->domain, iova_of(first), work->sg, work->n,
			      prot, GFP_KERNEL);
	if (mapped < 0)
		return mapped;
	return mapped == size ? 0 : -EIO;
}

/* A flush is somebody else's business. */
static void gather_begin(struct iommu_iotlb_gather *gather, bool queued)
{
	iommu_iotlb_gather_init(gather);
	gather->queued = queued;
}

static int unmap_pages(struct work *work, unsigned int first,
		       struct iommu_iotlb_gather *gather)
{
	unsigned int i;

	for (i = first; i < first + work->n; i++) {
		if (iommu_unmap_fast(work->domain, iova_of(i), SZ_4K,
				     gather) != SZ_4K)
			return -EIO;
	}
	return 0;
}

static int unmap(struct work *work, unsigned int first)
{
	struct iommu_iotlb_gather gather;

	gather_begin(&gather, true);
	return unmap_pages(work, first, &gather);
}

static int unmap_range(struct work *work, unsigned int first)
{
	size_t size = work->n * (size_t)SZ_4K;
	struct iommu_iotlb_gather gather;

	gather_begin(&gather, true);
	return iommu_unmap_fast(work->domain, iova_of(first), size,
				&gather) == size ? 0 : -EIO;
}

static int flush(struct work *work, unsigned int first)
{
	struct iommu_iotlb_gather gather;

	gather_begin(&gather, false);
	gather.pgsize = SZ_4K;
	iommu_iotlb_gather_add_range(&gather, iova_of(first),
				     work->n * (size_t)SZ_4K);
	iommu_iotlb_sync(work->domain, &gather);
	return 0;
}

static int unmap_flush(struct work *work, unsigned int first)
{
	struct iommu_iotlb_gather gather;
	int ret;

	gather_begin(&gather, false);
	ret = unmap_pages(work, first, &gather);
	iommu_iotlb_sync(work->domain, &gather);
	return ret;
}

/* All rounds of one of them, timed if @time is not NULL. */
static int rounds(struct work *work,
		  int (*round)(struct work *work, unsigned int first),
		  u64 *time)
{
	u64 start = ktime_get_ns();
	unsigned int i;
	int ret = 0;

	for (i = 0; i < work->rounds && !ret; i++)
		ret = round(work, i * work->n);
	if (time)
		*time = ktime_get_ns() - start;
	return ret;
}

/* Before the pages are unpinned nothing that was mapped is left, nor cached. */
static int all_maps(struct work *work)
{
	int ret;

	/* What makes tables is not timed: a sync finds them made, mostly. */
	ret = rounds(work, map, NULL) ?:
	      rounds(work, unmap, NULL) ?:
	      rounds(work, map, &times[BARE_MAP]) ?:
	      rounds(work, unmap, &times[BARE_UNMAP]) ?:
	      rounds(work, flush, &times[BARE_FLUSH]) ?:
	      rounds(work, map_sg, &times[BARE_MAP_SG]) ?:
	      rounds(work, unmap_range, &times[BARE_UNMAP_RANGE]) ?:
	      rounds(work, map, NULL) ?:
	      rounds(work, unmap_flush, &times[BARE_UNMAP_FLUSH]);
	iommu_flush_iotlb_all(work->domain);
	return ret;
}

static int measure(struct work *work)
{
	int ret;

	ret = rounds(work, nothing, &times[BARE_NOTHING]);
	if (!ret)
		ret = rounds(work, pin, &times[BARE_PIN]);
	/* Pages of other rounds stay pinned then: there is no way on. */
	if (ret)
		return ret;
	ret = all_maps(work);
	return ret ?: rounds(work, unpin, &times[BARE_UNPIN]);
}

/* With a domain like that of an aperture. */
static int run_in_domain(struct work *work, struct device *dev)
{
	struct iommu_group *group = iommu_group_get(dev);
	int ret;

	if (!group)
		return -EXDEV;
	work->domain = iommu_paging_domain_alloc(dev);
	if (IS_ERR(work->domain)) {
		ret = PTR_ERR(work->domain);
		goto out_group;
	}
	work->domain->pgsize_bitmap = SZ_4K;
	ret = iommu_attach_group(work->domain, group);
	if (!ret) {
		ret = measure(work);
		iommu_detach_group(work->domain, group);
	}
	iommu_domain_free(work->domain);
out_group:
	iommu_group_put(group);
	return ret;
}

static int run_on(struct work *work, struct device *dev)
{
	int ret = -ENOMEM;

	work->pages = kvcalloc(work->n * work->rounds, sizeof(*work->pages),
			       GFP_KERNEL);
	work->sg = kvcalloc(work->n, sizeof(*work->sg), GFP_KERNEL);
	if (work->pages && work->sg) {
		sg_init_table(work->sg, work->n);
		ret = run_in_domain(work, dev);
	}
	kvfree(work->pages);
	kvfree(work->sg);
	return ret;
}

static int run(const char *val, const struct kernel_param *kp)
{
	unsigned int segment, bus, slot, function;
	struct work work = {};
	struct pci_dev *pdev;
	int ret;

	if (sscanf(val, "%x:%x:%x.%x %lx %u %u", &segment, &bus, &slot,
		   &function, &work.va, &work.n, &work.rounds) != 7)
		return -EINVAL;
	if (!work.n || !work.rounds || work.n > MAX_PAGES ||
	    work.rounds > MAX_PAGES / work.n || !PAGE_ALIGNED(work.va))
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(segment, bus,
					   PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	/* Nor may it get one meanwhile. */
	device_lock(&pdev->dev);
	ret = pdev->dev.driver ? -EBUSY : run_on(&work, &pdev->dev);
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return ret;
}

static const struct kernel_param_ops run_ops = {
	.set = run,
};
module_param_cb(run, &run_ops, NULL, 0200);

static int result(char *buffer, const struct kernel_param *kp)
{
	unsigned int i;
	int len = 0;

	for (i = 0; i < NR_BARE; i++)
		len += sysfs_emit_at(buffer, len, "%s %llu\n", names[i],
				     times[i]);
	return len;
}

static const struct kernel_param_ops result_ops = {
	.get = result,
};
module_param_cb(result, &result_ops, NULL, 0400);

MODULE_DESCRIPTION("pviommu benchmarks: the bare cost of pins and of IOMMU page tables");
MODULE_LICENSE("GPL");
