// SPDX-License-Identifier: GPL-2.0-only
/*
 * Apertures that are used without the IOMMU core's part: a bounce pool, and in hybrid
 * mode IOVAs beside it at which large buffers are remapped.
 *
 * The aperture follows a domain as it does in remap mode, only that this one is known
 * to nobody else, and that it is filled here. All that domain.c promises holds for it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/align.h>
#include <linux/err.h>
#include <linux/ioport.h>
#include <linux/iova.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>

#include "pviommu.h"

/* SWIOTLB's default, and no more than so much of the guest's RAM. */
#define DEFAULT_POOL	SZ_64M
#define RAM_SHARE	8

/* With less nobody would get far. */
#define MIN_POOL	SZ_1M

static unsigned int bounce_mb;
module_param(bounce_mb, uint, 0444);
MODULE_PARM_DESC(bounce_mb,
		 "MiB set aside for an aperture in mode bounce or hybrid (default 64, or an eighth of RAM if that is less)");

static unsigned int bounce_below = SZ_32K;
module_param(bounce_below, uint, 0444);
MODULE_PARM_DESC(bounce_below,
		 "Mode hybrid: buffers of fewer bytes are bounced, others remapped (default 32768)");

/* Down to whole large pages, if it is that much. */
static size_t round_size(size_t size)
{
	return ALIGN_DOWN(size, size < SZ_2M ? PVIOMMU_PAGE_SIZE : SZ_2M);
}

static size_t wanted_size(const struct pviommu_aperture *aperture)
{
	u64 most = min(aperture->nr_pages, aperture->budget);
	u64 pages = bounce_mb ? (u64)bounce_mb * (SZ_1M >> PVIOMMU_PAGE_SHIFT) :
				min_t(u64, DEFAULT_POOL >> PVIOMMU_PAGE_SHIFT,
				      totalram_pages() / RAM_SHARE);

	/* Leave some to be remapped. */
	if (aperture->mode == PVIOMMU_HYBRID)
		most /= 2;
	return round_size(min(pages, most) << PVIOMMU_PAGE_SHIFT);
}

static bool overlaps(const struct iommu_resv_region *region, u64 start, u64 size)
{
	return start < region->start + region->length &&
	       region->start < start + size;
}

/*
 * Where in the window a pool can be: as low as possible, since a device may have only
 * 32 address bits or fewer. 0 if nowhere: a pool never begins at IOVA 0, which some
 * drivers take for none.
 */
static u64 find_place(const struct pviommu_aperture *aperture,
		      struct list_head *reserved, size_t size)
{
	u64 align = size < SZ_2M ? PVIOMMU_PAGE_SIZE : SZ_2M;
	u64 end = aperture->base + (aperture->nr_pages << PVIOMMU_PAGE_SHIFT);
	u64 start = ALIGN(max_t(u64, aperture->base, 1), align);
	struct iommu_resv_region *region;

again:
	if (start > end || end - start < size)
		return 0;
	list_for_each_entry(region, reserved, list) {
		if (overlaps(region, start, size)) {
			start = ALIGN(region->start + region->length, align);
			goto again;
		}
	}
	return start;
}

static int map_pool(struct pviommu_domain *domain, struct pviommu_pool *pool)
{
	size_t at = 0, run;
	int ret;

	for (; at < pool->size; at += run) {
		phys_addr_t paddr = page_to_phys(pviommu_pool_page(pool, pool->iova + at));

		/* As long as it goes on in memory. */
		run = PAGE_SIZE;
		while (at + run < pool->size &&
		       page_to_phys(pviommu_pool_page(pool, pool->iova + at + run)) ==
		       paddr + run)
			run += PAGE_SIZE;
		ret = pviommu_iommu_map(&domain->domain, pool->iova + at, paddr,
					run, IOMMU_READ | IOMMU_WRITE,
					GFP_KERNEL);
		if (ret)
			return ret;
	}
	return 0;
}

static void reserve(struct iova_domain *iovas, u64 start, u64 length)
{
	reserve_iova(iovas, iova_pfn(iovas, start),
		     iova_pfn(iovas, start + length - 1));
}

/* Where RAM is it is mapped, in direct mode. */
static int reserve_ram(struct resource *ram, void *iovas)
{
	reserve(iovas, ram->start, resource_size(ram));
	return 0;
}

/* Where buffers can be remapped, in hybrid and direct mode. */
static int init_iovas(struct pviommu_mapper *mapper,
		      const struct pviommu_aperture *aperture,
		      struct list_head *reserved)
{
	struct iommu_resv_region *region;
	int ret;

	ret = iova_cache_get();
	if (ret)
		return ret;

	init_iova_domain(&mapper->iovas, PVIOMMU_PAGE_SIZE,
			 max_t(u64, aperture->base >> PVIOMMU_PAGE_SHIFT, 1));
	ret = iova_domain_init_rcaches(&mapper->iovas);
	if (ret) {
		put_iova_domain(&mapper->iovas);
		iova_cache_put();
		return ret;
	}

	mapper->remaps = true;
	mapper->room = min(aperture->nr_pages, aperture->budget) <<
		       PVIOMMU_PAGE_SHIFT;
	list_for_each_entry(region, reserved, list)
		reserve(&mapper->iovas, region->start, region->length);
	if (mapper->direct) {
		walk_iomem_res_desc(IORES_DESC_NONE,
				    IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0,
				    mapper->last, &mapper->iovas, reserve_ram);
		return 0;
	}
	mapper->room -= mapper->pool->size;
	reserve(&mapper->iovas, mapper->pool->iova, mapper->pool->size);
	return 0;
}

static void mapper_destroy(struct pviommu_mapper *mapper)
{
	/* First of all: devices and host shall have nothing of it any more. */
	if (mapper->direct)
		pviommu_direct_stop(mapper->direct);
	if (mapper->domain)
		mapper->domain->domain.ops->free(&mapper->domain->domain);
	/* Who shows it has seen that domain, under a lock that was taken to free it. */
	if (mapper->direct)
		pviommu_direct_free(mapper->direct);
	if (mapper->remaps) {
		put_iova_domain(&mapper->iovas);
		iova_cache_put();
	}
	if (mapper->pool)
		pviommu_pool_destroy(mapper->pool);
	kfree(mapper);
}

static struct pviommu_mapper *mapper_create(struct pviommu_aperture *aperture,
					    struct list_head *reserved,
					    size_t size)
{
	u64 iova = find_place(aperture, reserved, size);
	struct pviommu_mapper *mapper;
	int ret = -ENOMEM;

	if (!iova || !size)
		return ERR_PTR(-ENOSPC);
	mapper = kzalloc(sizeof(*mapper), GFP_KERNEL);
	if (!mapper)
		return ERR_PTR(-ENOMEM);

	mapper->last = aperture->base +
		       (aperture->nr_pages << PVIOMMU_PAGE_SHIFT) - 1;
	mapper->domain = pviommu_domain_alloc_private(aperture);
	mapper->pool = pviommu_pool_create(iova, size);
	if (!mapper->domain || !mapper->pool)
		goto err_destroy;
	ret = map_pool(mapper->domain, mapper->pool);
	if (!ret && aperture->mode == PVIOMMU_HYBRID)
		ret = init_iovas(mapper, aperture, reserved);
	if (!ret)
		ret = pviommu_domain_follow(mapper->domain);
	if (!ret)
		return mapper;

err_destroy:
	mapper_destroy(mapper);
	return ERR_PTR(ret);
}

/*
 * Direct: no pool, and no more than 4 GiB of IOVAs for what devices do not reach where it
 * is. Above there may be RAM later.
 */
static struct pviommu_mapper *
mapper_create_direct(struct pviommu_aperture *aperture,
		     struct list_head *reserved)
{
	struct pviommu_mapper *mapper = kzalloc(sizeof(*mapper), GFP_KERNEL);
	int ret = -ENOMEM;

	if (!mapper)
		return ERR_PTR(-ENOMEM);
	mapper->domain = pviommu_domain_alloc_private(aperture);
	if (!mapper->domain)
		goto err_destroy;
	mapper->domain->direct = true;
	mapper->direct = pviommu_direct_create(mapper->domain, aperture->budget);
	if (!mapper->direct)
		goto err_destroy;
	mapper->last = min_t(u64, mapper->domain->domain.geometry.aperture_end,
			     SZ_4G - 1);
	ret = init_iovas(mapper, aperture, reserved) ?:
	      pviommu_domain_follow(mapper->domain);
	if (!ret)
		return mapper;

err_destroy:
	mapper_destroy(mapper);
	return ERR_PTR(ret);
}

/**
 * pviommu_mapper_start() - make an aperture ready for drivers
 * @aperture: in another mode than remap, with an endpoint
 *
 * Whatever the host, or this guest's memory, does not allow: a smaller pool is tried.
 *
 * Context: May sleep. One caller at a time.
 * Return: 0, also if it is ready already; or an error, which is logged. DMA stays
 * blocked then.
 */
int pviommu_mapper_start(struct pviommu_aperture *aperture)
{
	struct iommu_resv_region *region, *next;
	size_t size = wanted_size(aperture);
	struct pviommu_mapper *mapper;
	LIST_HEAD(reserved);

	if (aperture->mapper)
		return 0;

	pviommu_aperture_resv_regions(aperture, &reserved);
	for (;;) {
		if (aperture->mode == PVIOMMU_DIRECT) {
			mapper = mapper_create_direct(aperture, &reserved);
			break;
		}
		mapper = mapper_create(aperture, &reserved, size);
		if (mapper != ERR_PTR(-ENOMEM) && mapper != ERR_PTR(-ENOSPC))
			break;
		if (size / 2 < MIN_POOL)
			break;
		size = round_size(size / 2);
	}
	list_for_each_entry_safe(region, next, &reserved, list)
		kfree(region);

	if (IS_ERR(mapper)) {
		pr_err("aperture %u: cannot be used in mode %s (%ld), DMA stays blocked\n",
		       aperture->id, pviommu_mode_name(aperture->mode),
		       PTR_ERR(mapper));
		return PTR_ERR(mapper);
	}

	if (mapper->direct)
		pr_info("aperture %u: direct\n", aperture->id);
	else
		pr_info("aperture %u: %s, pool of %zu KiB at IOVA %#llx\n",
			aperture->id, pviommu_mode_name(aperture->mode),
			size >> 10, mapper->pool->iova);
	/* Pairs with those who load it. */
	smp_store_release(&aperture->mapper, mapper);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_mapper_start);

/**
 * pviommu_mapper_stop() - undo pviommu_mapper_start()
 * @aperture: without endpoints; nothing is mapped
 *
 * Context: May sleep. One caller at a time.
 */
void pviommu_mapper_stop(struct pviommu_aperture *aperture)
{
	struct pviommu_mapper *mapper = aperture->mapper;

	aperture->mapper = NULL;
	if (mapper)
		mapper_destroy(mapper);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_mapper_stop);

/**
 * pviommu_mapper_wants_remap() - is a buffer so large that it is not to be copied?
 * @mapper: the mapper
 * @size: bytes of the buffer, or of all of a scatterlist
 *
 * Context: Any.
 * Return: whether it is.
 */
bool pviommu_mapper_wants_remap(const struct pviommu_mapper *mapper, size_t size)
{
	return mapper->remaps && size >= bounce_below;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_mapper_wants_remap);

/* Pages that bytes are in, as bytes. */
static size_t whole_pages(u64 addr, size_t size)
{
	return PAGE_ALIGN((addr & ~PAGE_MASK) + size);
}

static int prot_of(enum dma_data_direction dir)
{
	switch (dir) {
	case DMA_TO_DEVICE:
		return IOMMU_READ;
	case DMA_FROM_DEVICE:
		return IOMMU_WRITE;
	default:
		return IOMMU_READ | IOMMU_WRITE;
	}
}

/* IOVAs for @size bytes, whole pages, that a device can reach; 0 if there are none. */
static u64 iovas_get(struct pviommu_mapper *mapper, size_t size, u64 limit)
{
	unsigned long pfn;

	limit = min(limit, mapper->last);
	pfn = alloc_iova_fast(&mapper->iovas, size >> PVIOMMU_PAGE_SHIFT,
			      iova_pfn(&mapper->iovas, limit), true);
	return (u64)pfn << PVIOMMU_PAGE_SHIFT;
}

static void iovas_put(struct pviommu_mapper *mapper, u64 iova, size_t size)
{
	free_iova_fast(&mapper->iovas, iova_pfn(&mapper->iovas, iova),
		       size >> PVIOMMU_PAGE_SHIFT);
}

/*
 * The host is told before the IOVAs can be used again. If they are not mapped they may be
 * somebody else's by now, or will be: they must not be given back once more.
 */
static void unmap(struct pviommu_mapper *mapper, u64 iova, size_t size)
{
	if (size && iommu_unmap(&mapper->domain->domain, iova, size) == size)
		iovas_put(mapper, iova, size);
	else
		pr_err_ratelimited("aperture %u: a driver unmaps %zu bytes at %#llx, which are not mapped\n",
				   mapper->domain->aperture->id, size, iova);
}

/**
 * pviommu_mapper_map() - remap a buffer
 * @mapper: of a hybrid aperture
 * @paddr: the buffer, RAM
 * @size: bytes, not 0
 * @dir: direction
 * @limit: last IOVA that the device can reach
 *
 * Context: Any.
 * Return: its IOVA, or DMA_MAPPING_ERROR: it may work later.
 */
dma_addr_t pviommu_mapper_map(struct pviommu_mapper *mapper, phys_addr_t paddr,
			      size_t size, enum dma_data_direction dir, u64 limit)
{
	size_t whole = whole_pages(paddr, size);
	u64 iova = iovas_get(mapper, whole, limit);

	if (!iova)
		return DMA_MAPPING_ERROR;
	if (pviommu_iommu_map(&mapper->domain->domain, iova, paddr & PAGE_MASK,
			      whole, prot_of(dir), GFP_ATOMIC)) {
		iovas_put(mapper, iova, whole);
		return DMA_MAPPING_ERROR;
	}
	return iova + (paddr & ~PAGE_MASK);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_mapper_map);

/**
 * pviommu_mapper_unmap() - undo pviommu_mapper_map()
 * @mapper: the mapper
 * @addr: what it has returned
 * @size: bytes, as then
 *
 * Context: Any. On return the device does not reach the buffer any more.
 */
void pviommu_mapper_unmap(struct pviommu_mapper *mapper, dma_addr_t addr,
			  size_t size)
{
	unmap(mapper, addr & PAGE_MASK, whole_pages(addr, size));
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_mapper_unmap);

static size_t sg_whole_pages(struct scatterlist *sgl, int nents)
{
	struct scatterlist *sg;
	size_t whole = 0;
	int i;

	for_each_sg(sgl, sg, nents, i)
		whole += whole_pages(sg->offset, sg->length);
	return whole;
}

/**
 * pviommu_mapper_map_sg() - remap a scatterlist, with one hypercall
 * @mapper: of a hybrid aperture
 * @sgl: RAM; its DMA addresses and lengths are filled in
 * @nents: elements
 * @dir: direction
 * @limit: last IOVA that the device can reach
 * @boundary: a power of 2 minus 1: no element may lie across a multiple of that power
 *
 * Context: Any.
 * Return: 0, or -ENOMEM: it may work later.
 */
int pviommu_mapper_map_sg(struct pviommu_mapper *mapper, struct scatterlist *sgl,
			  int nents, enum dma_data_direction dir, u64 limit,
			  u64 boundary)
{
	struct iommu_domain *domain = &mapper->domain->domain;
	size_t whole = sg_whole_pages(sgl, nents);
	size_t done = 0, mapped = 0;
	struct scatterlist *sg;
	int i, ret = 0;
	u64 iova;

	/* IOVAs are aligned to their length, rounded up: nothing smaller lies across. */
	if (whole - 1 > boundary)
		return -ENOMEM;
	iova = iovas_get(mapper, whole, limit);
	if (!iova)
		return -ENOMEM;

	for_each_sg(sgl, sg, nents, i) {
		ret = domain->ops->map_pages(domain, iova + done,
					     sg_phys(sg) & PAGE_MASK, PAGE_SIZE,
					     whole_pages(sg->offset, sg->length) >> PAGE_SHIFT,
					     prot_of(dir), GFP_ATOMIC, &mapped);
		if (ret)
			break;
		sg_dma_address(sg) = iova + done + offset_in_page(sg->offset);
		sg_dma_len(sg) = sg->length;
		done += mapped;
		mapped = 0;
	}
	if (!ret)
		ret = pviommu_domain_sync_map(mapper->domain, iova, whole);
	if (!ret)
		return 0;

	done += mapped;
	if (done)
		iommu_unmap(domain, iova, done);
	iovas_put(mapper, iova, whole);
	return -ENOMEM;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_mapper_map_sg);

/**
 * pviommu_mapper_unmap_sg() - undo pviommu_mapper_map_sg()
 * @mapper: the mapper
 * @sgl: as then
 * @nents: as then
 *
 * Context: Any. On return the device does not reach the buffers any more.
 */
void pviommu_mapper_unmap_sg(struct pviommu_mapper *mapper,
			     struct scatterlist *sgl, int nents)
{
	unmap(mapper, sg_dma_address(sgl) & PAGE_MASK,
	      sg_whole_pages(sgl, nents));
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_mapper_unmap_sg);
