/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pviommu guest driver's own types. main.c says how they work together.
 *
 * Units: a "page" is 4 KiB. A window page is the index of a page inside an
 * aperture's window. Ranges are (first, count), or start and exclusive end;
 * where a bound is inclusive its name says "last".
 */
#ifndef _PVIOMMU_H
#define _PVIOMMU_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/dma-direction.h>
#include <linux/dma-map-ops.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iova.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <linux/pviommu_abi.h>

#include "compat.h"

#define PVIOMMU_PAGE_SHIFT	12
#define PVIOMMU_PAGE_SIZE	BIT(PVIOMMU_PAGE_SHIFT)

#define PVIOMMU_DIRTY_WORDS	(PVIOMMU_ENTRIES_PER_LEAF / BITS_PER_LONG)

/* The directory is physically contiguous: this is the most that can be had. */
#define PVIOMMU_MAX_LEAVES	(KMALLOC_MAX_SIZE / sizeof(__le64))
#define PVIOMMU_MAX_PAGES	((u64)PVIOMMU_MAX_LEAVES * PVIOMMU_ENTRIES_PER_LEAF)

/**
 * struct pviommu_dirty - lazily removed pages of one leaf
 * @words: a bit is set from when an entry is cleared until the host is told
 */
struct pviommu_dirty {
	atomic_long_t words[PVIOMMU_DIRTY_WORDS];
};

/**
 * struct pviommu_table - a remapping table, and what the host has yet to hear
 * @directory: GPAs of the leaves; an element once set stays until the end
 * @nr_pages: window pages that the table covers
 * @nr_leaves: elements in @directory
 * @dirty: one per leaf
 * @dirty_leaves: leaves that may have a bit set in @dirty
 *
 * Needs no lock: users own the IOVAs they map and unmap, and leaves and dirty
 * bits are published with atomics.
 */
struct pviommu_table {
	__le64 *directory;
	u64 nr_pages;
	unsigned long nr_leaves;
	struct pviommu_dirty *dirty;
	unsigned long *dirty_leaves;
};

/**
 * pviommu_table_leaf() - find a leaf
 * @table: the table
 * @index: window page / 512, inside the window
 *
 * Context: Any.
 * Return: its entries; NULL if there is none.
 */
static inline __le64 *pviommu_table_leaf(const struct pviommu_table *table,
					 unsigned long index)
{
	u64 gpa = le64_to_cpu(READ_ONCE(table->directory[index]));

	return gpa ? phys_to_virt(gpa) : NULL;
}

int pviommu_table_init(struct pviommu_table *table, u64 nr_pages);
void pviommu_table_destroy(struct pviommu_table *table);
phys_addr_t pviommu_table_gpa(const struct pviommu_table *table);
int pviommu_table_map(struct pviommu_table *table, u64 first, u64 count,
		      phys_addr_t paddr, u64 access, gfp_t gfp, u64 *mapped);
__le64 *pviommu_table_entry_or_alloc(struct pviommu_table *table, u64 page,
				     gfp_t gfp);
void pviommu_table_whole_units(const struct pviommu_table *table,
			       struct pviommu_range *range);
u64 pviommu_table_unmap(struct pviommu_table *table, u64 first, u64 count);
phys_addr_t pviommu_table_lookup(const struct pviommu_table *table, u64 page);
bool pviommu_table_next_used(const struct pviommu_table *table,
			     struct pviommu_range *range);
void pviommu_table_mark_dirty(struct pviommu_table *table, u64 first, u64 count);
u64 pviommu_table_nr_dirty(const struct pviommu_table *table);
unsigned int pviommu_table_collect_dirty(struct pviommu_table *table,
					 unsigned long *leaf,
					 struct pviommu_range *ranges,
					 unsigned int max);

/**
 * struct pviommu_path - where a PCI function is
 * @segment: PCI segment
 * @root_bus: number of the root bus
 * @depth: devfns in @devfns
 * @devfns: from the root bus down, the first in bits 0-7
 */
struct pviommu_path {
	u32 segment;
	u8 root_bus;
	u8 depth;
	u64 devfns;
};

int pviommu_host_probe(void);
int pviommu_host_endpoint(const struct pviommu_path *path, u32 *aperture);
struct pviommu_aperture_info *pviommu_host_aperture(u32 aperture);
int pviommu_host_enable(u32 aperture, phys_addr_t directory, bool direct);
void pviommu_host_disable(u32 aperture);
int pviommu_host_map(u32 aperture, struct pviommu_range *range);
int pviommu_host_unmap(u32 aperture, u64 first, u64 count);
int pviommu_host_unmap_ranges(u32 aperture, struct pviommu_range *ranges,
			      unsigned int nr);
bool pviommu_host_has_large(void);
bool pviommu_host_has_direct(void);
bool pviommu_host_has_events(void);
int pviommu_host_events(u32 aperture, struct pviommu_event *events,
			unsigned int max);

/**
 * enum pviommu_domain_state - what the host does with a domain's table
 * @PVIOMMU_DETACHED: nothing: the domain is attached to no device
 * @PVIOMMU_FOLLOWED: keeps the aperture in step with it
 * @PVIOMMU_REFUSED: nothing: it refused to, or had to be stopped; DMA is blocked
 */
enum pviommu_domain_state {
	PVIOMMU_DETACHED,
	PVIOMMU_FOLLOWED,
	PVIOMMU_REFUSED,
};

/**
 * struct pviommu_domain - a paging domain: one table for one aperture
 * @domain: the core's part
 * @aperture: the only one it can be attached to; NULL until that is known
 * @table: guest memory that the host reads
 * @nr_endpoints: devices attached to it; under @aperture's attach_lock
 * @followed_before: the host has followed it once; under attach_lock
 * @direct: entries have use counts, see direct.c
 * @flush_lock: held while removals are on their way to the host
 * @state: written under @flush_lock, read without
 * @ranges: a page of removals for one hypercall; under @flush_lock
 */
struct pviommu_domain {
	struct iommu_domain domain;
	struct pviommu_aperture *aperture;
	struct pviommu_table table;
	unsigned int nr_endpoints;
	bool followed_before;
	bool direct;
	spinlock_t flush_lock; /* state, ranges, and flushes on their way */
	enum pviommu_domain_state state;
	struct pviommu_range *ranges;
};

/**
 * enum pviommu_mode - how an aperture is used
 * @PVIOMMU_REMAP: by way of the IOMMU core: buffers are mapped where they are
 * @PVIOMMU_BOUNCE: buffers are copied to and from a pool that is always mapped
 * @PVIOMMU_HYBRID: small buffers are copied, large ones mapped
 * @PVIOMMU_DIRECT: pages stay mapped where they are
 */
enum pviommu_mode {
	PVIOMMU_REMAP,
	PVIOMMU_BOUNCE,
	PVIOMMU_HYBRID,
	PVIOMMU_DIRECT,
};

enum pviommu_mode pviommu_mode_of(u32 aperture);
const char *pviommu_mode_name(enum pviommu_mode mode);

struct gen_pool;
struct seq_file;
struct pviommu_slots;

/**
 * struct pviommu_pool - memory that buffers are copied to and from
 * @iova: where devices find it, bytes
 * @size: bytes
 * @memory: where the CPU finds it
 * @allocator: of slots, by their address in @memory
 * @in_use: what slots are used for, by the first of them
 * @first: of the slots that each slot was allocated with
 * @coherent: bytes that are no copies of anything
 * @peak: most bytes that were ever in use
 * @full: how often there was no room
 */
struct pviommu_pool {
	u64 iova;
	size_t size;
	void *memory;
	struct gen_pool *allocator;
	struct pviommu_slots *in_use;
	u32 *first;
	atomic_long_t coherent;
	size_t peak;
	atomic_long_t full;
};

struct pviommu_pool *pviommu_pool_create(u64 iova, size_t size);
void pviommu_pool_destroy(struct pviommu_pool *pool);
struct page *pviommu_pool_page(const struct pviommu_pool *pool, u64 iova);
size_t pviommu_pool_used(const struct pviommu_pool *pool);
void pviommu_pool_show(const struct pviommu_pool *pool, struct seq_file *seq);
dma_addr_t pviommu_pool_map(struct pviommu_pool *pool, phys_addr_t paddr,
			    size_t size, u64 limit, u64 boundary,
			    u64 align_mask);
void pviommu_pool_to_device(struct pviommu_pool *pool, u64 iova, size_t size);
void pviommu_pool_to_cpu(struct pviommu_pool *pool, u64 iova, size_t size);
void pviommu_pool_unmap(struct pviommu_pool *pool, u64 iova);
void *pviommu_pool_alloc(struct pviommu_pool *pool, size_t size, u64 limit,
			 dma_addr_t *iova);

/* direct.h */
struct pviommu_direct;

struct pviommu_direct *pviommu_direct_create(struct pviommu_domain *domain,
					     u64 most);
void pviommu_direct_stop(struct pviommu_direct *direct);
void pviommu_direct_free(struct pviommu_direct *direct);
void pviommu_direct_show(const struct pviommu_direct *direct, struct seq_file *seq);

/**
 * struct pviommu_mapper - an aperture that the IOMMU core does not know of
 * @domain: what it follows
 * @pool: mapped in @domain; NULL in direct mode
 * @direct: in direct mode
 * @last: last IOVA of the window
 * @room: most bytes that can be remapped at once; 0 if not @remaps
 * @remaps: in hybrid and direct mode
 * @iovas: the rest of the window, if @remaps
 */
struct pviommu_mapper {
	struct pviommu_domain *domain;
	struct pviommu_pool *pool;
	struct pviommu_direct *direct;
	u64 last;
	u64 room;
	bool remaps;
	struct iova_domain iovas;
};

/**
 * struct pviommu_aperture - a window that the host lends to some devices
 * @id: the host's name for it
 * @base: first IOVA of the window, in bytes
 * @nr_pages: pages in the window
 * @budget: most pages that can be mapped at once
 * @group: every device behind the aperture is in this group, since all of them
 *	see the same mappings
 * @attach_lock: serializes what the aperture follows
 * @domain: what it follows, NULL if blocked; under @attach_lock
 * @mode: how it is used
 * @mapper: in modes other than remap, from when a driver is first bound
 * @dma_ops: in direct mode; by them its devices find it
 * @nr_endpoints: how many there are; grows under apertures_lock
 * @nr_holes: elements in @holes
 * @holes: reserved IOVAs in the window, ascending, in bytes. The same for as long
 *	as there are endpoints.
 *
 * Lives from when its first device is seen until the module goes.
 */
struct pviommu_aperture {
	u32 id;
	u64 base;
	u64 nr_pages;
	u64 budget;
	struct iommu_group *group;
	struct mutex attach_lock; /* domain; endpoints' domains */
	struct pviommu_domain *domain;
	enum pviommu_mode mode;
	struct pviommu_mapper *mapper;
	const struct dma_map_ops dma_ops;
	atomic_t nr_endpoints;
	u32 nr_holes;
	struct pviommu_hole *holes;
};

struct pviommu_aperture *pviommu_aperture_get(u32 id);
void pviommu_aperture_put(struct pviommu_aperture *aperture);
void pviommu_aperture_resv_regions(const struct pviommu_aperture *aperture,
				   struct list_head *list);
void pviommu_apertures_for_each(void (*function)(struct pviommu_aperture *));
void pviommu_apertures_release(void);

/**
 * struct pviommu_endpoint - a device behind an aperture
 * @aperture: which
 * @domain: attached to, NULL if blocked; under @aperture's attach_lock
 * @rcu: some find it by pviommu_dma_endpoint() while its device is being removed
 */
struct pviommu_endpoint {
	struct pviommu_aperture *aperture;
	struct pviommu_domain *domain;
	struct rcu_head rcu;
};

struct pviommu_endpoint *pviommu_endpoint_create(struct pci_dev *pdev);
bool pviommu_endpoint_is_any_untrusted(u32 aperture);
void pviommu_endpoint_destroy(struct pviommu_endpoint *endpoint);
struct pci_dev *pviommu_endpoint_find(const struct pviommu_aperture *aperture,
				      const struct pviommu_path *path);
struct pci_dev *
pviommu_endpoint_find_outsider(const struct pviommu_aperture *aperture);

extern const struct iommu_domain_ops pviommu_domain_ops;
struct pviommu_domain *pviommu_domain_alloc_private(struct pviommu_aperture *aperture);
int pviommu_domain_follow(struct pviommu_domain *domain);
enum pviommu_domain_state
pviommu_domain_state(const struct pviommu_domain *domain);
void pviommu_domain_fail(struct pviommu_domain *domain, int err);
void pviommu_domain_stop(struct pviommu_domain *domain, int err);
int pviommu_domain_sync_map(struct pviommu_domain *domain, u64 iova, size_t size);
bool pviommu_aperture_report_fault(struct pviommu_aperture *aperture,
				   struct device *dev, u64 iova, bool write);
void pviommu_aperture_shutdown(struct pviommu_aperture *aperture);

int pviommu_mapper_start(struct pviommu_aperture *aperture);
void pviommu_mapper_stop(struct pviommu_aperture *aperture);
bool pviommu_mapper_wants_remap(const struct pviommu_mapper *mapper, size_t size);
dma_addr_t pviommu_mapper_map(struct pviommu_mapper *mapper, phys_addr_t paddr,
			      size_t size, enum dma_data_direction dir, u64 limit);
void pviommu_mapper_unmap(struct pviommu_mapper *mapper, dma_addr_t addr,
			  size_t size);
int pviommu_mapper_map_sg(struct pviommu_mapper *mapper, struct scatterlist *sgl,
			  int nents, enum dma_data_direction dir, u64 limit,
			  u64 boundary);
void pviommu_mapper_unmap_sg(struct pviommu_mapper *mapper,
			     struct scatterlist *sgl, int nents);

extern const struct dma_map_ops pviommu_direct_ops;

/**
 * pviommu_dma_limit() - the last address that a device reaches
 * @dev: the device
 * @mask: of its addresses
 *
 * Return: an IOVA, inclusive.
 */
static inline u64 pviommu_dma_limit(struct device *dev, u64 mask)
{
	return min_not_zero(mask, dev->bus_dma_limit);
}

struct page *pviommu_dma_alloc_pages(struct device *dev, size_t size,
				     dma_addr_t *addr,
				     enum dma_data_direction dir, gfp_t gfp);
void pviommu_dma_free_pages(struct device *dev, size_t size, struct page *page,
			    dma_addr_t addr, enum dma_data_direction dir);

struct pviommu_endpoint *pviommu_dma_endpoint(struct device *dev);
int pviommu_dma_adopt(struct device *dev, struct pviommu_endpoint *endpoint);
void pviommu_dma_abandon(struct device *dev);
int pviommu_dma_start(void);
void pviommu_dma_stop(void);

void pviommu_debugfs_start(void);
void pviommu_debugfs_add(struct pviommu_aperture *aperture);
void pviommu_debugfs_stop(void);

void pviommu_events_discard(struct pviommu_aperture *aperture);
void pviommu_events_get(void);
void pviommu_events_put(void);
void pviommu_events_stop(void);

#if IS_ENABLED(CONFIG_PVIOMMU_KUNIT_TEST)
typedef long (*pviommu_host_call_t)(u32 op, u32 aperture, u64 arg1, u64 arg2,
				    u64 arg3);
extern pviommu_host_call_t pviommu_host_stub;
#endif

#if IS_ENABLED(CONFIG_KUNIT)
int pviommu_dma_notify(struct notifier_block *block, unsigned long action,
		       void *data);
int pviommu_mode_find(const char *list, u32 aperture, enum pviommu_mode *mode);
void pviommu_events_poll(void);
int pviommu_start(void);
void pviommu_stop(void);
#endif

#endif /* _PVIOMMU_H */
