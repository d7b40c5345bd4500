// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API of endpoints whose aperture is in mode direct: a DMA address is the physical
 * address, where the device reaches that and it is RAM in the window. What is not is
 * remapped, as large buffers are in hybrid mode.
 *
 * dma_ops.c makes aperture and device known to each other, and says what keeps them so.
 */
#include <linux/dma-map-ops.h>
#include <linux/gfp.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>

#include "direct.h"

/* Each aperture has these operations for itself: so it is found where they are. */
static struct pviommu_mapper *mapper_of(struct device *dev)
{
	struct pviommu_aperture *aperture =
		container_of(dev->dma_ops, struct pviommu_aperture, dma_ops);

	/* Pairs with pviommu_mapper_start(). */
	return smp_load_acquire(&aperture->mapper);
}

static inline u64 nr_pages(u64 addr, size_t size)
{
	return (offset_in_page(addr) + size + PVIOMMU_PAGE_SIZE - 1) >>
	       PVIOMMU_PAGE_SHIFT;
}

static inline bool in_one_page(u64 addr, size_t size)
{
	return size <= PVIOMMU_PAGE_SIZE - offset_in_page(addr);
}

/* Are @size bytes among the first @span of the window? @offset: from its first on. */
static inline bool in_window(u64 offset, size_t size, u64 span)
{
	return offset < span && offset + size <= span;
}

/* How many bytes of the window a device reaches that reaches @limit. */
static inline u64 span_within(const struct pviommu_direct *direct, u64 limit)
{
	if (limit < direct->first_iova)
		return 0;
	return min(direct->span, limit - direct->first_iova + 1);
}

/*
 * What is not mapped where it is, since @ret: too many users, a hole, memory that cannot be
 * written, or out of reach.
 */
static noinline dma_addr_t map_elsewhere(struct device *dev, phys_addr_t paddr,
					 size_t size,
					 enum dma_data_direction dir, u64 limit,
					 unsigned long attrs, int ret)
{
	unsigned long missing = nr_pages(paddr, size), evicted = 0;
	struct pviommu_mapper *mapper = mapper_of(dev);
	dma_addr_t addr = DMA_MAPPING_ERROR;

	/* It may lack room in the budget, or other things for which room is of no use. */
	while (ret != -ENOMEM) {
		addr = pviommu_mapper_map(mapper, paddr, size, dir, limit);
		if (addr != DMA_MAPPING_ERROR || evicted >= missing)
			break;
		ret = pviommu_direct_evict(mapper->direct);
		if (!ret)
			break;
		evicted += ret;
	}
	if (addr == DMA_MAPPING_ERROR && !(attrs & DMA_ATTR_NO_WARN))
		dev_warn_ratelimited(dev, "pviommu: no room to map %zu bytes\n",
				     size);
	return addr;
}

/* Whatever it is. @limit: see pviommu_dma_limit() */
static noinline dma_addr_t map_phys(struct device *dev, phys_addr_t paddr,
				    size_t size, enum dma_data_direction dir,
				    u64 limit, unsigned long attrs)
{
	struct pviommu_mapper *mapper = mapper_of(dev);
	struct pviommu_direct *direct;
	int ret = -ERANGE;
	u64 offset;

	if (!mapper)
		return DMA_MAPPING_ERROR;
	direct = mapper->direct;
	offset = paddr - direct->first_iova;
	if (likely(in_window(offset, size, span_within(direct, limit))))
		ret = pviommu_direct_map(direct, offset >> PVIOMMU_PAGE_SHIFT,
					 nr_pages(paddr, size));
	if (likely(!ret))
		return paddr;
	return map_elsewhere(dev, paddr, size, dir, limit, attrs, ret);
}

static noinline void unmap_elsewhere(struct device *dev, dma_addr_t addr,
				     size_t size, int ret)
{
	if (ret == -ENOENT)
		pviommu_mapper_unmap(mapper_of(dev), addr, size);
	else
		dev_err_ratelimited(dev, "pviommu: its driver unmaps %pad, which is not mapped\n",
				    &addr);
}

/* Whatever it is. */
static noinline void unmap(struct device *dev, dma_addr_t addr, size_t size)
{
	struct pviommu_direct *direct = mapper_of(dev)->direct;
	u64 offset = addr - direct->first_iova;
	int ret = -ERANGE;

	if (likely(in_window(offset, size, direct->span)))
		ret = pviommu_direct_unmap(direct, offset >> PVIOMMU_PAGE_SHIFT,
					   nr_pages(addr, size));
	if (unlikely(ret))
		unmap_elsewhere(dev, addr, size, ret);
}

/* No if it is not obvious: buses with a limit are rare. */
static inline bool reaches(const struct device *dev, u64 last)
{
	return last <= *dev->dma_mask && !dev->bus_dma_limit;
}

/* Network buffers often lie across two pages. */
static noinline dma_addr_t map_pages(struct device *dev, phys_addr_t paddr,
				     size_t size, enum dma_data_direction dir,
				     unsigned long attrs)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	if (likely(size <= PVIOMMU_PAGE_SIZE && mapper &&
		   reaches(dev, paddr + size - 1) &&
		   pviommu_direct_map_two_again(mapper->direct, paddr)))
		return paddr;
	return map_phys(dev, paddr, size, dir,
			pviommu_dma_limit(dev, dma_get_mask(dev)), attrs);
}

static noinline void unmap_pages(struct device *dev, dma_addr_t addr, size_t size)
{
	unsigned int done = 0;

	if (likely(size <= PVIOMMU_PAGE_SIZE))
		done = pviommu_direct_unmap_two(mapper_of(dev)->direct, addr);
	if (likely(done == 2))
		return;
	/* Whatever the second page is, this driver has not mapped it. */
	if (done)
		unmap_elsewhere(dev, addr, size, -EINVAL);
	else
		unmap(dev, addr, size);
}

static dma_addr_t direct_map_page(struct device *dev, struct page *page,
				  unsigned long offset, size_t size,
				  enum dma_data_direction dir,
				  unsigned long attrs)
{
	phys_addr_t paddr = page_to_phys(page) + offset;
	struct pviommu_mapper *mapper = mapper_of(dev);

	if (unlikely(!in_one_page(paddr, size)))
		return map_pages(dev, paddr, size, dir, attrs);
	if (likely(mapper && reaches(dev, paddr + size - 1) &&
		   pviommu_direct_map_again(mapper->direct, paddr)))
		return paddr;
	return map_phys(dev, paddr, size, dir,
			pviommu_dma_limit(dev, dma_get_mask(dev)), attrs);
}

static void direct_unmap_page(struct device *dev, dma_addr_t addr, size_t size,
			      enum dma_data_direction dir, unsigned long attrs)
{
	if (unlikely(!in_one_page(addr, size)))
		unmap_pages(dev, addr, size);
	else if (unlikely(!pviommu_direct_unmap_one(mapper_of(dev)->direct, addr)))
		unmap(dev, addr, size);
}

static void direct_unmap_sg(struct device *dev, struct scatterlist *sgl,
			    int nents, enum dma_data_direction dir,
			    unsigned long attrs)
{
	struct pviommu_mapper *mapper = mapper_of(dev);
	const struct pviommu_direct *direct;
	struct scatterlist *sg;
	int i;

	if (!mapper)
		return;
	direct = mapper->direct;
	for_each_sg(sgl, sg, nents, i) {
		dma_addr_t addr = sg_dma_address(sg);

		if (unlikely(!in_one_page(addr, sg_dma_len(sg)) ||
			     !pviommu_direct_unmap_one(direct, addr)))
			unmap(dev, addr, sg_dma_len(sg));
	}
}

static int direct_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
			 enum dma_data_direction dir, unsigned long attrs)
{
	u64 limit = pviommu_dma_limit(dev, dma_get_mask(dev));
	struct pviommu_mapper *mapper = mapper_of(dev);
	const struct pviommu_direct *direct;
	struct scatterlist *sg;
	int i;

	if (!mapper)
		return -EIO;
	direct = mapper->direct;
	for_each_sg(sgl, sg, nents, i) {
		phys_addr_t paddr = sg_phys(sg);

		if (is_pci_p2pdma_page(sg_page(sg))) {
			direct_unmap_sg(dev, sgl, i, dir, attrs);
			return -EREMOTEIO;
		}
		sg_dma_address(sg) = paddr;
		if (unlikely(!in_one_page(paddr, sg->length) ||
			     paddr + sg->length - 1 > limit ||
			     !pviommu_direct_map_again(direct, paddr)))
			sg_dma_address(sg) = map_phys(dev, paddr, sg->length,
						      dir, limit, attrs);
		if (unlikely(sg_dma_address(sg) == DMA_MAPPING_ERROR)) {
			direct_unmap_sg(dev, sgl, i, dir, attrs);
			return -ENOMEM;
		}
		sg_dma_len(sg) = sg->length;
	}
	return nents;
}

static void *direct_alloc(struct device *dev, size_t size, dma_addr_t *addr,
			  gfp_t gfp, unsigned long attrs)
{
	void *memory;

	gfp &= ~(__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM | __GFP_COMP);
	memory = alloc_pages_exact(size, gfp | __GFP_ZERO);
	if (!memory)
		return NULL;
	*addr = map_phys(dev, virt_to_phys(memory), PAGE_ALIGN(size),
			 DMA_BIDIRECTIONAL,
			 pviommu_dma_limit(dev, dev->coherent_dma_mask),
			 gfp & __GFP_NOWARN ? DMA_ATTR_NO_WARN : attrs);
	if (*addr != DMA_MAPPING_ERROR)
		return memory;
	free_pages_exact(memory, size);
	return NULL;
}

static void direct_free(struct device *dev, size_t size, void *memory,
			dma_addr_t addr, unsigned long attrs)
{
	unmap(dev, addr, PAGE_ALIGN(size));
	free_pages_exact(memory, size);
}

static int direct_mmap(struct device *dev, struct vm_area_struct *vma,
		       void *memory, dma_addr_t addr, size_t size,
		       unsigned long attrs)
{
	unsigned long pages = PAGE_ALIGN(size) >> PAGE_SHIFT;

	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -ENXIO;
	return remap_pfn_range(vma, vma->vm_start,
			       PHYS_PFN(virt_to_phys(memory)) + vma->vm_pgoff,
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static int direct_get_sgtable(struct device *dev, struct sg_table *table,
			      void *memory, dma_addr_t addr, size_t size,
			      unsigned long attrs)
{
	int ret = sg_alloc_table(table, 1, GFP_KERNEL);

	if (!ret)
		sg_set_page(table->sgl, virt_to_page(memory), PAGE_ALIGN(size), 0);
	return ret;
}

static int direct_supported(struct device *dev, u64 mask)
{
	/* Whatever it does not reach is remapped below 4 GiB; the lowest gap is here. */
	return mapper_of(dev) && pviommu_dma_limit(dev, mask) >= SZ_1M - 1;
}

static u64 direct_required_mask(struct device *dev)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	return DMA_BIT_MASK(mapper ?
			    fls64(mapper->domain->domain.geometry.aperture_end) :
			    32);
}

static size_t direct_max_mapping_size(struct device *dev)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	/* None would be read as no limit. */
	return mapper ? max(ALIGN_DOWN(mapper->room / 4, PAGE_SIZE), PAGE_SIZE) :
			PAGE_SIZE;
}

const struct dma_map_ops pviommu_direct_ops = {
	.alloc			= direct_alloc,
	.free			= direct_free,
	PVIOMMU_ALLOC_PAGES_OP(pviommu_dma_alloc_pages),
	.free_pages		= pviommu_dma_free_pages,
	.mmap			= direct_mmap,
	.get_sgtable		= direct_get_sgtable,
	.map_page		= direct_map_page,
	.unmap_page		= direct_unmap_page,
	.map_sg			= direct_map_sg,
	.unmap_sg		= direct_unmap_sg,
	.dma_supported		= direct_supported,
	.get_required_mask	= direct_required_mask,
	.max_mapping_size	= direct_max_mapping_size,
};
