// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API of endpoints whose aperture is not used by way of the IOMMU core: in mode
 * bounce and hybrid. No other device ever gets these operations.
 *
 * ->probe_device() disowns such a device, for dma-iommu would have precedence over
 * these operations. So it is in no IOMMU group, and cannot be had by VFIO in the guest.
 * A notifier of the PCI bus tells when a driver is about to be bound, which is when the
 * aperture is made ready, and when the device is gone.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/dma-direction.h>
#include <linux/dma-map-ops.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/xarray.h>

#include "pviommu.h"

/* As much as SWIOTLB takes in one piece. */
#define MAX_BOUNCED	SZ_256K

/* Less than this is not worth having: a driver is told that the mask does not do. */
#define MIN_REACH	SZ_1M

/* struct pviommu_endpoint by its device's address. */
static DEFINE_XARRAY(endpoints);

/* Held while an aperture is made ready, or given up. */
static DEFINE_MUTEX(mappers_lock);

/**
 * pviommu_dma_endpoint() - find what is known of a device that has these operations
 * @dev: a PCI device
 *
 * Context: Any.
 * Return: the endpoint, valid for as long as the device has a driver, or in a read-side
 * section of RCU; or NULL if the device has other operations.
 */
struct pviommu_endpoint *pviommu_dma_endpoint(struct device *dev)
{
	return xa_load(&endpoints, (unsigned long)dev);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_dma_endpoint);

/* NULL if the aperture could not be made ready, so nothing can be mapped. */
static struct pviommu_mapper *mapper_of(struct device *dev)
{
	struct pviommu_endpoint *endpoint = pviommu_dma_endpoint(dev);

	/* Pairs with pviommu_mapper_start(). */
	return endpoint ? smp_load_acquire(&endpoint->aperture->mapper) : NULL;
}

static bool is_bounced(const struct pviommu_mapper *mapper, dma_addr_t addr)
{
	return mapper && addr >= mapper->pool->iova &&
	       addr - mapper->pool->iova < mapper->pool->size;
}

/* Drivers that unmap what is not mapped are told so, and nothing comes of it. */
static bool was_remapped(struct device *dev, const struct pviommu_mapper *mapper,
			 dma_addr_t addr)
{
	if (mapper && mapper->remaps && addr != DMA_MAPPING_ERROR)
		return true;
	dev_err_ratelimited(dev, "pviommu: its driver unmaps %pad, which is not mapped\n",
			    &addr);
	return false;
}

static bool to_device(enum dma_data_direction dir)
{
	return dir == DMA_TO_DEVICE || dir == DMA_BIDIRECTIONAL;
}

static bool to_cpu(enum dma_data_direction dir)
{
	return dir == DMA_FROM_DEVICE || dir == DMA_BIDIRECTIONAL;
}

static dma_addr_t bounce(struct device *dev, struct pviommu_mapper *mapper,
			 phys_addr_t paddr, size_t size)
{
	return pviommu_pool_map(mapper->pool, paddr, size,
				pviommu_dma_limit(dev, dma_get_mask(dev)),
				dma_get_seg_boundary(dev),
				dma_get_min_align_mask(dev));
}

static void unbounce(struct pviommu_mapper *mapper, dma_addr_t addr, size_t size,
		     enum dma_data_direction dir, unsigned long attrs)
{
	if (to_cpu(dir) && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		pviommu_pool_to_cpu(mapper->pool, addr, size);
	pviommu_pool_unmap(mapper->pool, addr);
}

static void warn_full(struct device *dev, const struct pviommu_mapper *mapper,
		      size_t size, unsigned long attrs)
{
	if (!(attrs & DMA_ATTR_NO_WARN))
		dev_warn_ratelimited(dev, "pviommu: no room to map %zu bytes: %zu of %zu KiB of the bounce pool are in use; see bounce_mb\n",
				     size, pviommu_pool_used(mapper->pool) >> 10,
				     mapper->pool->size >> 10);
}

/* One way if it is better, else the other. */
static dma_addr_t map_phys(struct device *dev, struct pviommu_mapper *mapper,
			   phys_addr_t paddr, size_t size,
			   enum dma_data_direction dir, bool remap)
{
	u64 limit = pviommu_dma_limit(dev, dma_get_mask(dev));
	dma_addr_t addr;

	addr = remap ? pviommu_mapper_map(mapper, paddr, size, dir, limit) :
		       bounce(dev, mapper, paddr, size);
	if (addr != DMA_MAPPING_ERROR || !mapper->remaps)
		return addr;
	return remap ? bounce(dev, mapper, paddr, size) :
		       pviommu_mapper_map(mapper, paddr, size, dir, limit);
}

static dma_addr_t pviommu_map_page(struct device *dev, struct page *page,
				   unsigned long offset, size_t size,
				   enum dma_data_direction dir,
				   unsigned long attrs)
{
	struct pviommu_mapper *mapper = mapper_of(dev);
	dma_addr_t addr;

	if (!mapper)
		return DMA_MAPPING_ERROR;
	addr = map_phys(dev, mapper, page_to_phys(page) + offset, size, dir,
			pviommu_mapper_wants_remap(mapper, size));
	if (addr == DMA_MAPPING_ERROR)
		warn_full(dev, mapper, size, attrs);
	return addr;
}

static void pviommu_unmap_page(struct device *dev, dma_addr_t addr, size_t size,
			       enum dma_data_direction dir, unsigned long attrs)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	if (is_bounced(mapper, addr))
		unbounce(mapper, addr, size, dir, attrs);
	else if (was_remapped(dev, mapper, addr))
		pviommu_mapper_unmap(mapper, addr, size);
}

/* Elements up to @nents, bounced or remapped one by one. */
static void unmap_elements(struct device *dev, struct scatterlist *sgl, int nents,
			   enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		pviommu_unmap_page(dev, sg_dma_address(sg), sg->length, dir,
				   attrs);
}

static int map_elements(struct device *dev, struct pviommu_mapper *mapper,
			struct scatterlist *sgl, int nents,
			enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) {
		sg_dma_address(sg) = bounce(dev, mapper, sg_phys(sg),
					    sg->length);
		sg_dma_len(sg) = sg->length;
		if (sg_dma_address(sg) == DMA_MAPPING_ERROR) {
			/* Nothing was written there. */
			unmap_elements(dev, sgl, i, dir, DMA_ATTR_SKIP_CPU_SYNC);
			return -ENOMEM;
		}
	}
	return 0;
}

static int pviommu_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
			  enum dma_data_direction dir, unsigned long attrs)
{
	struct pviommu_mapper *mapper = mapper_of(dev);
	u64 limit = pviommu_dma_limit(dev, dma_get_mask(dev));
	u64 boundary = dma_get_seg_boundary(dev);
	struct scatterlist *sg;
	size_t size = 0;
	bool remap;
	int i, ret;

	if (!mapper)
		return -EIO;
	for_each_sg(sgl, sg, nents, i) {
		if (is_pci_p2pdma_page(sg_page(sg)))
			return -EREMOTEIO;
		size += sg->length;
	}

	/* Never, so it is no use to try again. */
	if (size > max_t(u64, mapper->pool->size, mapper->room))
		return -EINVAL;

	/* All of a list goes one way, by which it is known when it is unmapped. */
	remap = pviommu_mapper_wants_remap(mapper, size);
	ret = remap ? pviommu_mapper_map_sg(mapper, sgl, nents, dir, limit,
					    boundary) :
		      map_elements(dev, mapper, sgl, nents, dir);
	if (ret && mapper->remaps)
		ret = remap ? map_elements(dev, mapper, sgl, nents, dir) :
			      pviommu_mapper_map_sg(mapper, sgl, nents, dir,
						    limit, boundary);
	if (!ret)
		return nents;
	warn_full(dev, mapper, size, attrs);
	return ret;
}

static void pviommu_unmap_sg(struct device *dev, struct scatterlist *sgl,
			     int nents, enum dma_data_direction dir,
			     unsigned long attrs)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	if (is_bounced(mapper, sg_dma_address(sgl)))
		unmap_elements(dev, sgl, nents, dir, attrs);
	else if (was_remapped(dev, mapper, sg_dma_address(sgl)))
		pviommu_mapper_unmap_sg(mapper, sgl, nents);
}

static void pviommu_sync_for_cpu(struct device *dev, dma_addr_t addr, size_t size,
				 enum dma_data_direction dir)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	if (to_cpu(dir) && is_bounced(mapper, addr))
		pviommu_pool_to_cpu(mapper->pool, addr, size);
}

static void pviommu_sync_for_device(struct device *dev, dma_addr_t addr,
				    size_t size, enum dma_data_direction dir)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	if (to_device(dir) && is_bounced(mapper, addr))
		pviommu_pool_to_device(mapper->pool, addr, size);
}

static void pviommu_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl,
				    int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		pviommu_sync_for_cpu(dev, sg_dma_address(sg), sg->length, dir);
}

static void pviommu_sync_sg_for_device(struct device *dev,
				       struct scatterlist *sgl, int nents,
				       enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		pviommu_sync_for_device(dev, sg_dma_address(sg), sg->length,
					dir);
}

static void *pviommu_alloc(struct device *dev, size_t size, dma_addr_t *addr,
			   gfp_t gfp, unsigned long attrs)
{
	struct pviommu_mapper *mapper = mapper_of(dev);
	void *memory;

	if (!mapper)
		return NULL;
	memory = pviommu_pool_alloc(mapper->pool, size,
				    pviommu_dma_limit(dev, dev->coherent_dma_mask), addr);
	if (!memory && !(gfp & __GFP_NOWARN))
		warn_full(dev, mapper, size, attrs);
	return memory;
}

static void pviommu_free(struct device *dev, size_t size, void *memory,
			 dma_addr_t addr, unsigned long attrs)
{
	pviommu_pool_unmap(mapper_of(dev)->pool, addr);
}

/**
 * pviommu_dma_alloc_pages() - the DMA API's ->alloc_pages()
 * @dev: an endpoint in another mode than remap
 * @size: bytes
 * @addr: filled in: the DMA address
 * @dir: of the transfers
 * @gfp: as its caller likes
 *
 * Pages have to lie side by side in memory, which those of a pool may not: they are
 * mapped like any others.
 *
 * Context: Any that @gfp allows.
 * Return: the pages, to be given to pviommu_dma_free_pages(), or NULL.
 */
struct page *pviommu_dma_alloc_pages(struct device *dev, size_t size,
				     dma_addr_t *addr,
				     enum dma_data_direction dir, gfp_t gfp)
{
	struct page *page = alloc_pages_node(dev_to_node(dev), gfp | __GFP_ZERO,
					     get_order(size));

	if (!page)
		return NULL;
	*addr = get_dma_ops(dev)->map_page(dev, page, 0, size, dir,
					   gfp & __GFP_NOWARN ?
					   DMA_ATTR_NO_WARN : 0);
	if (*addr == DMA_MAPPING_ERROR) {
		__free_pages(page, get_order(size));
		return NULL;
	}
	return page;
}

/**
 * pviommu_dma_free_pages() - the DMA API's ->free_pages()
 * @dev: an endpoint in another mode than remap
 * @size: as they were allocated
 * @page: the first
 * @addr: the DMA address
 * @dir: as they were allocated
 *
 * Context: Any.
 */
void pviommu_dma_free_pages(struct device *dev, size_t size, struct page *page,
			    dma_addr_t addr, enum dma_data_direction dir)
{
	get_dma_ops(dev)->unmap_page(dev, addr, size, dir,
				     DMA_ATTR_SKIP_CPU_SYNC);
	__free_pages(page, get_order(size));
}

/* The pages of coherent memory, in an array to be given to kvfree(). */
static struct page **pages_of(struct device *dev, dma_addr_t addr, size_t size)
{
	struct pviommu_pool *pool = mapper_of(dev)->pool;
	unsigned int i, nr = PAGE_ALIGN(size) >> PAGE_SHIFT;
	struct page **pages = kvmalloc_array(nr, sizeof(*pages), GFP_KERNEL);

	for (i = 0; pages && i < nr; i++)
		pages[i] = pviommu_pool_page(pool, addr + i * PAGE_SIZE);
	return pages;
}

static int pviommu_mmap(struct device *dev, struct vm_area_struct *vma,
			void *memory, dma_addr_t addr, size_t size,
			unsigned long attrs)
{
	struct page **pages = pages_of(dev, addr, size);
	int ret;

	if (!pages)
		return -ENOMEM;
	ret = vm_map_pages(vma, pages, PAGE_ALIGN(size) >> PAGE_SHIFT);
	kvfree(pages);
	return ret;
}

static int pviommu_get_sgtable(struct device *dev, struct sg_table *table,
			       void *memory, dma_addr_t addr, size_t size,
			       unsigned long attrs)
{
	struct page **pages = pages_of(dev, addr, size);
	int ret;

	if (!pages)
		return -ENOMEM;
	ret = sg_alloc_table_from_pages(table, pages,
					PAGE_ALIGN(size) >> PAGE_SHIFT, 0, size,
					GFP_KERNEL);
	kvfree(pages);
	return ret;
}

/* Bytes of the pool that are below a limit. */
static size_t reach(const struct pviommu_mapper *mapper, u64 limit)
{
	const struct pviommu_pool *pool = mapper->pool;

	if (limit < pool->iova)
		return 0;
	return min_t(u64, limit - pool->iova, pool->size - 1) + 1;
}

static int pviommu_dma_supported(struct device *dev, u64 mask)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	return mapper && reach(mapper, pviommu_dma_limit(dev, mask)) >=
			 min_t(size_t, mapper->pool->size, MIN_REACH);
}

static u64 pviommu_required_mask(struct device *dev)
{
	struct pviommu_mapper *mapper = mapper_of(dev);

	if (!mapper)
		return DMA_BIT_MASK(32);
	return DMA_BIT_MASK(fls64(mapper->remaps ? mapper->last :
				  mapper->pool->iova + mapper->pool->size - 1));
}

/* A quarter, so that there is always something going on. */
static size_t pviommu_max_mapping_size(struct device *dev)
{
	struct pviommu_mapper *mapper = mapper_of(dev);
	u64 limit = pviommu_dma_limit(dev, dma_get_mask(dev));
	size_t bounced, remapped;

	if (!mapper)
		return PAGE_SIZE;
	bounced = min_t(size_t, MAX_BOUNCED,
			ALIGN_DOWN(reach(mapper, limit) / 4, PAGE_SIZE));
	remapped = limit < mapper->last ? 0 :
		   ALIGN_DOWN(mapper->room / 4, PAGE_SIZE);
	return max(bounced, remapped);
}

static const struct dma_map_ops pviommu_dma_ops = {
	.alloc			= pviommu_alloc,
	.free			= pviommu_free,
	PVIOMMU_ALLOC_PAGES_OP(pviommu_dma_alloc_pages),
	.free_pages		= pviommu_dma_free_pages,
	.mmap			= pviommu_mmap,
	.get_sgtable		= pviommu_get_sgtable,
	.map_page		= pviommu_map_page,
	.unmap_page		= pviommu_unmap_page,
	.map_sg			= pviommu_map_sg,
	.unmap_sg		= pviommu_unmap_sg,
	.sync_single_for_cpu	= pviommu_sync_for_cpu,
	.sync_single_for_device	= pviommu_sync_for_device,
	.sync_sg_for_cpu	= pviommu_sync_sg_for_cpu,
	.sync_sg_for_device	= pviommu_sync_sg_for_device,
	.dma_supported		= pviommu_dma_supported,
	.get_required_mask	= pviommu_required_mask,
	.max_mapping_size	= pviommu_max_mapping_size,
};

/**
 * pviommu_dma_adopt() - give a device these operations
 * @dev: an endpoint of an aperture in another mode than remap, without a driver
 * @endpoint: what is known of it; taken over on success
 *
 * Context: May sleep.
 * Return: 0 or -ENOMEM.
 */
int pviommu_dma_adopt(struct device *dev, struct pviommu_endpoint *endpoint)
{
	int ret;

	ret = xa_err(xa_store(&endpoints, (unsigned long)dev, endpoint,
			      GFP_KERNEL));
	if (ret)
		return ret;

	/* As the core does for its endpoints: this one keeps the operations. */
	__module_get(THIS_MODULE);
	if (endpoint->aperture->mode == PVIOMMU_DIRECT) {
		set_dma_ops(dev, &endpoint->aperture->dma_ops);
	} else {
		set_dma_ops(dev, &pviommu_dma_ops);
		pviommu_dma_wants_sync(dev);
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_dma_adopt);

/**
 * pviommu_dma_abandon() - undo pviommu_dma_adopt()
 * @dev: a device without a driver, which may be none of them
 *
 * Context: May sleep.
 */
void pviommu_dma_abandon(struct device *dev)
{
	struct pviommu_endpoint *endpoint = xa_erase(&endpoints,
						     (unsigned long)dev);
	struct pviommu_aperture *aperture;

	if (!endpoint)
		return;
	set_dma_ops(dev, NULL);
	aperture = endpoint->aperture;
	mutex_lock(&mappers_lock);
	pviommu_endpoint_destroy(endpoint);
	if (!atomic_read(&aperture->nr_endpoints))
		pviommu_mapper_stop(aperture);
	mutex_unlock(&mappers_lock);
	module_put(THIS_MODULE);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_dma_abandon);

VISIBLE_IF_KUNIT int pviommu_dma_notify(struct notifier_block *block,
					unsigned long action, void *data)
{
	struct device *dev = data;
	struct pviommu_endpoint *endpoint = pviommu_dma_endpoint(dev);

	if (!endpoint)
		return NOTIFY_DONE;
	if (action == BUS_NOTIFY_BIND_DRIVER) {
		mutex_lock(&mappers_lock);
		pviommu_mapper_start(endpoint->aperture);
		mutex_unlock(&mappers_lock);
	} else if (action == BUS_NOTIFY_REMOVED_DEVICE) {
		pviommu_dma_abandon(dev);
	}
	return NOTIFY_OK;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_dma_notify);

static struct notifier_block pviommu_dma_block = {
	.notifier_call = pviommu_dma_notify,
};

/**
 * pviommu_dma_start() - begin to look after such endpoints
 *
 * Context: May sleep. Before there are any.
 * Return: 0 or an error.
 */
int pviommu_dma_start(void)
{
	return bus_register_notifier(&pci_bus_type, &pviommu_dma_block);
}

/**
 * pviommu_dma_stop() - end it
 *
 * There are endpoints left only if the driver could not be started after all.
 *
 * Context: May sleep.
 */
void pviommu_dma_stop(void)
{
	struct pviommu_endpoint *endpoint;
	unsigned long dev;

	bus_unregister_notifier(&pci_bus_type, &pviommu_dma_block);
	xa_for_each(&endpoints, dev, endpoint)
		pviommu_dma_abandon((struct device *)dev);
}
