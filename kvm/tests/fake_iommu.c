// SPDX-License-Identifier: GPL-2.0-only
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "fake_iommu.h"

#define PERM		(IOMMU_READ | IOMMU_WRITE)
#define LARGE_ORDER	9
#define LARGE		BIT(LARGE_ORDER)

/* The first complaint says most. */
#define wrong(_iommu, fmt, ...) do {					\
	struct fake_iommu *__iommu = (_iommu);				\
									\
	if (!__iommu->wrong++)						\
		KUNIT_FAIL(__iommu->test, "IOMMU: " fmt,		\
			   ##__VA_ARGS__);				\
} while (0)

static struct fake_iommu *to_fake(struct iommu_domain *domain)
{
	return container_of(domain, struct fake_iommu, domain);
}

static void note(struct fake_iommu *iommu, char op, unsigned long first,
		 unsigned long npages)
{
	if (iommu->nr_calls < FAKE_LOG)
		iommu->calls[iommu->nr_calls] = (struct fake_call){
			op, first, npages
		};
	iommu->nr_calls++;
	iommu->nr_flushes += op == 'f';
}

static void reaches(struct fake_iommu *iommu, phys_addr_t phys)
{
	unsigned long frame = PHYS_PFN(phys) - page_to_pfn(iommu->vm->frames);

	if (frame >= FAKE_FRAMES)
		wrong(iommu, "%pa is not the guest's", &phys);
	else
		iommu->reach[frame]++;
}

/**
 * fake_iommu_check() - is all that can be reached pinned?
 * @iommu: the domain
 */
void fake_iommu_check(struct fake_iommu *iommu)
{
	unsigned long i;

	memset(iommu->reach, 0, sizeof(iommu->reach));
	for (i = 0; i < iommu->npages; i++) {
		if (iommu->ptes[i].phys)
			reaches(iommu, iommu->ptes[i].phys);
		if (iommu->ptes[i].stale)
			reaches(iommu, iommu->ptes[i].stale);
	}
	for (i = 0; i < FAKE_FRAMES; i++) {
		if (iommu->reach[i] && iommu->reach[i] > fake_vm_pins(iommu->vm, i))
			wrong(iommu, "frame %lu is reached at %u IOVAs, but pinned %u times",
			      i, iommu->reach[i], fake_vm_pins(iommu->vm, i));
	}
}

/* Window page of an IOVA; what is outside of the window is wrong. */
static bool to_index(struct fake_iommu *iommu, unsigned long iova,
		     unsigned long npages, unsigned long *index)
{
	*index = (iova - iommu->base) >> PAGE_SHIFT;
	if (iova >= iommu->base && *index + npages <= iommu->npages)
		return true;
	wrong(iommu, "%lu pages at %#lx are not in the window", npages, iova);
	return false;
}

static void fill_pte(struct fake_iommu *iommu, unsigned long index,
		     phys_addr_t phys, unsigned int order)
{
	struct fake_pte *pte = &iommu->ptes[index];

	if (pte->phys)
		wrong(iommu, "page %lu is mapped already", index);
	if (pte->stale)
		wrong(iommu, "page %lu is mapped before it is flushed", index);
	if (order && order != LARGE_ORDER)
		wrong(iommu, "page %lu is in a leaf of %u pages", index,
		      1U << order);
	if (!order)
		set_bit(index / LARGE, iommu->tables);
	else if (iommu->kind == FAKE_VT_D &&
		 test_bit(index / LARGE, iommu->tables))
		wrong(iommu, "page %lu: the table is freed before the flush",
		      index);
	pte->phys = phys;
	pte->order = order;
}

static unsigned int leaf_order(const struct fake_iommu *iommu,
			       unsigned long index, phys_addr_t phys,
			       size_t pgsize, unsigned long left)
{
	if (iommu->small_only)
		return 0;
	if (iommu->kind == FAKE_AMD_V1)
		return ilog2(pgsize) - PAGE_SHIFT;
	if (left >= LARGE && IS_ALIGNED(index, LARGE) &&
	    IS_ALIGNED(phys, LARGE << PAGE_SHIFT))
		return LARGE_ORDER;
	return 0;
}

static int fake_map_pages(struct iommu_domain *domain, unsigned long iova,
			  phys_addr_t paddr, size_t pgsize, size_t pgcount,
			  int prot, gfp_t gfp, size_t *mapped)
{
	struct fake_iommu *iommu = to_fake(domain);
	unsigned long npages = pgsize * pgcount >> PAGE_SHIFT;
	unsigned long index, i, end = 0;
	unsigned int order = 0;
	int ret = 0;

	if (!to_index(iommu, iova, npages, &index))
		return -EINVAL;
	if (cmpxchg(&iommu->hold_at, index, FAKE_NEVER) == index) {
		complete(&iommu->held);
		wait_for_completion(&iommu->release);
	}
	fake_iommu_check(iommu);
	note(iommu, 'm', index, npages);
	if (!(prot & IOMMU_CACHE) || !(prot & PERM))
		wrong(iommu, "prot %#x", prot);

	for (i = 0; i < npages; i++) {
		phys_addr_t phys = paddr + (i << PAGE_SHIFT);

		if (i == end) {
			if (iommu->fail_after != FAKE_NEVER &&
			    !iommu->fail_after--) {
				iommu->fail_after = FAKE_NEVER;
				ret = iommu->fail_err;
				break;
			}
			order = leaf_order(iommu, index + i, phys, pgsize,
					   npages - i);
			end = i + (1UL << order);
		}
		fill_pte(iommu, index + i, phys | (prot & PERM), order);
	}
	if (!ret || iommu->kind != FAKE_VT_D)
		*mapped = i << PAGE_SHIFT;
	fake_iommu_check(iommu);
	return ret;
}

static void empty_pte(struct fake_iommu *iommu, unsigned long index)
{
	struct fake_pte *pte = &iommu->ptes[index];

	if (pte->phys)
		pte->stale = pte->phys;
	pte->phys = 0;
	pte->order = 0;
}

/* Clears what the hardware would. Returns the number of pages from @index on. */
static unsigned long clear_leaf(struct fake_iommu *iommu, unsigned long index)
{
	struct fake_pte *pte = &iommu->ptes[index];
	unsigned int order = pte->order;
	unsigned long first, i;

	if (index == iommu->stuck)
		return 0;
	if (!pte->phys) {
		if (!iommu->holes_ok)
			wrong(iommu, "page %lu is unmapped, but is not mapped",
			      index);
		if (iommu->kind == FAKE_VT_D && !iommu->holes_ok)
			order = LARGE_ORDER;
		else
			return 0;
	}
	first = round_down(index, 1UL << order);
	for (i = first; i < first + (1UL << order) && i < iommu->npages; i++)
		empty_pte(iommu, i);
	return i - index;
}

/*
 * 2 MiB whose first page is mapped go at once, holes and all; on VT-d with the table.
 * False if that is not what is asked for.
 */
static bool clear_unit(struct fake_iommu *iommu, unsigned long index,
		       unsigned long npages)
{
	unsigned long i;

	if (npages != LARGE || !IS_ALIGNED(index, LARGE) ||
	    !iommu->ptes[index].phys ||
	    (iommu->stuck >= index && iommu->stuck - index < LARGE))
		return false;
	for (i = index; i < index + LARGE; i++)
		empty_pte(iommu, i);
	if (iommu->kind == FAKE_VT_D)
		clear_bit(index / LARGE, iommu->tables);
	return true;
}

/* Drivers take all of a large leaf, or worse. */
static void check_whole(struct fake_iommu *iommu, unsigned long index,
			unsigned long npages)
{
	unsigned long last = index + npages - 1;

	if ((iommu->ptes[index].order && !IS_ALIGNED(index, LARGE)) ||
	    (iommu->ptes[last].order && !IS_ALIGNED(last + 1, LARGE)))
		wrong(iommu, "%lu pages at %lu are a part of a leaf", npages,
		      index);
}

static size_t fake_unmap_pages(struct iommu_domain *domain, unsigned long iova,
			       size_t pgsize, size_t pgcount,
			       struct iommu_iotlb_gather *gather)
{
	struct fake_iommu *iommu = to_fake(domain);
	unsigned long npages = pgsize * pgcount >> PAGE_SHIFT;
	unsigned long index, n, done = 0;

	fake_iommu_check(iommu);
	if (!to_index(iommu, iova, npages, &index))
		return 0;
	note(iommu, 'u', index, npages);
	check_whole(iommu, index, npages);

	if (clear_unit(iommu, index, npages))
		done = npages;
	while (done < npages) {
		n = clear_leaf(iommu, index + done);
		if (!n)
			break;
		done += n;
	}
	/* As VT-d does: at once, if it is not told that a flush will follow. */
	if (done && !iommu_iotlb_gather_queued(gather))
		iommu_iotlb_gather_add_page(domain, gather, iova,
					    done << PAGE_SHIFT);
	fake_iommu_check(iommu);
	return done << PAGE_SHIFT;
}

static void fake_iotlb_sync(struct iommu_domain *domain,
			    struct iommu_iotlb_gather *gather)
{
	struct fake_iommu *iommu = to_fake(domain);
	unsigned long first, i, npages;

	fake_iommu_check(iommu);
	/* The core's, after it has undone nothing. */
	if (gather->start > gather->end)
		return;
	npages = (gather->end - gather->start + 1) >> PAGE_SHIFT;
	if (!to_index(iommu, gather->start, npages, &first))
		return;
	note(iommu, 'f', first, npages);
	if (gather->queued)
		wrong(iommu, "a queued flush");
	for (i = first; i < first + npages; i++)
		iommu->ptes[i].stale = 0;
	fake_iommu_check(iommu);
}

static void fake_flush_iotlb_all(struct iommu_domain *domain)
{
	struct fake_iommu *iommu = to_fake(domain);
	unsigned long i;

	fake_iommu_check(iommu);
	note(iommu, 'f', 0, iommu->npages);
	for (i = 0; i < iommu->npages; i++)
		iommu->ptes[i].stale = 0;
}

static phys_addr_t fake_iova_to_phys(struct iommu_domain *domain,
				     dma_addr_t iova)
{
	struct fake_iommu *iommu = to_fake(domain);
	unsigned long index;

	if (!to_index(iommu, iova, 1, &index))
		return 0;
	return iommu->ptes[index].phys & PAGE_MASK;
}

static bool fake_enforce_cache_coherency(struct iommu_domain *domain)
{
	return to_fake(domain)->coherent;
}

static int fake_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static void fake_free(struct iommu_domain *domain)
{
	to_fake(domain)->freed = true;
}

static const struct iommu_domain_ops fake_ops = {
	.attach_dev = fake_attach_dev,
	.map_pages = fake_map_pages,
	.unmap_pages = fake_unmap_pages,
	.flush_iotlb_all = fake_flush_iotlb_all,
	.iotlb_sync = fake_iotlb_sync,
	.iova_to_phys = fake_iova_to_phys,
	.enforce_cache_coherency = fake_enforce_cache_coherency,
	.free = fake_free,
};

/**
 * fake_iommu_be() - behave like a certain IOMMU
 * @iommu: nothing is mapped
 * @kind: which
 */
void fake_iommu_be(struct fake_iommu *iommu, enum fake_kind kind)
{
	iommu->kind = kind;
	if (kind == FAKE_VT_D)
		iommu->domain.pgsize_bitmap = SZ_4K | SZ_2M | SZ_1G;
	else
		iommu->domain.pgsize_bitmap = ~0xfffUL;
}

/**
 * fake_iommu_init() - make a domain
 * @iommu: zeroed
 * @test: the test
 * @vm: whose memory may be mapped
 * @base: first IOVA of the window
 * @npages: pages in the window
 *
 * Return: 0 or -ENOMEM.
 */
int fake_iommu_init(struct fake_iommu *iommu, struct kunit *test,
		    const struct fake_vm *vm, u64 base, unsigned long npages)
{
	iommu->test = test;
	iommu->vm = vm;
	iommu->base = base;
	iommu->npages = npages;
	iommu->coherent = true;
	iommu->fail_after = FAKE_NEVER;
	iommu->stuck = FAKE_NEVER;
	iommu->hold_at = FAKE_NEVER;
	init_completion(&iommu->held);
	init_completion(&iommu->release);
	iommu->domain.type = IOMMU_DOMAIN_UNMANAGED;
	iommu->domain.ops = &fake_ops;
	iommu->domain.geometry = (struct iommu_domain_geometry){
		.aperture_end = GENMASK_ULL(47, 0),
		.force_aperture = true,
	};
	fake_iommu_be(iommu, FAKE_VT_D);
	iommu->ptes = kvcalloc(npages, sizeof(*iommu->ptes), GFP_KERNEL);
	return iommu->ptes ? 0 : -ENOMEM;
}

/**
 * fake_iommu_exit() - free a domain's memory
 * @iommu: not used any more
 */
void fake_iommu_exit(struct fake_iommu *iommu)
{
	kvfree(iommu->ptes);
}
