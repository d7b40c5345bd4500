// SPDX-License-Identifier: GPL-2.0-only
/*
 * A bounce pool: guest RAM that is set aside and mapped for its devices once and for
 * all. Buffers are copied to it and from it, so that mapping one takes no hypercall.
 *
 * After SWIOTLB's model, which neither exports its functions nor makes a pool for a
 * device. The slots are allocated by gen_pool, which takes no lock.
 *
 * What a device finds in the slots of a buffer is that buffer, and zeroes before and
 * after it. So no transfer carries bytes of the one that had the slots before, be it
 * that the device reads too much, or that it writes less than it was asked for and
 * the rest is copied back. All the same any device behind the aperture can reach all
 * of the pool at any time: other buffers, too, as long as they are mapped, and what is
 * left of them until the slots are used again.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/align.h>
#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/genalloc.h>
#include <linux/io.h>
#include <linux/iommu-helper.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "pviommu.h"

/* Small, so that little has to be zeroed beside a small buffer. */
#define SLOT_SHIFT	9
#define SLOT_SIZE	BIT(SLOT_SHIFT)

/* Far more than any driver maps at once, and what the records below can hold. */
#define MAX_SIZE	SZ_1G

/* Of memory that was allocated here, and is no copy of anything. */
#define NO_ORIGINAL	PHYS_ADDR_MAX

/**
 * struct pviommu_slots - slots that are in use, side by side
 * @original: the buffer, NO_ORIGINAL if there is none
 * @size: its bytes; 0 if these slots are free
 * @offset: of its copy in the first slot, in bytes
 */
struct pviommu_slots {
	phys_addr_t original;
	u32 size;
	u32 offset;
};

/* What the allocation of slots has to comply with. */
struct slots_wanted {
	unsigned long end; /* The first slot that the device does not reach. */
	unsigned long align_mask;
	unsigned long align_offset;
	unsigned long shift; /* Slots from a boundary to the first of the pool. */
	unsigned long boundary; /* In slots, or 0: none of it must lie across one. */
};

static unsigned long find_slots(unsigned long *map, unsigned long size,
				unsigned long start, unsigned int nr, void *data,
				struct gen_pool *pool, unsigned long start_addr)
{
	const struct slots_wanted *wanted = data;
	unsigned long end = min(size, wanted->end);
	unsigned long found;

	for (;;) {
		found = bitmap_find_next_zero_area_off(map, end, start, nr,
						       wanted->align_mask,
						       wanted->align_offset);
		if (found + nr > end)
			return size;
		if (!wanted->boundary ||
		    !iommu_is_span_boundary(found, nr, wanted->shift,
					    wanted->boundary))
			return found;
		start = ALIGN(wanted->shift + found + 1, wanted->boundary) -
			wanted->shift;
	}
}

/**
 * pviommu_pool_create() - set memory aside
 * @iova: where the devices will find it, a multiple of the page size
 * @size: bytes, a multiple of the page size
 *
 * The caller maps it, page by page: see pviommu_pool_page().
 *
 * Context: May sleep.
 * Return: the pool, all of it zeroes, or NULL without memory.
 */
struct pviommu_pool *pviommu_pool_create(u64 iova, size_t size)
{
	unsigned long nr = size >> SLOT_SHIFT;
	struct pviommu_pool *pool;

	pool = kzalloc(sizeof(*pool), GFP_KERNEL);
	if (!pool)
		return NULL;

	pool->iova = iova;
	pool->size = size;
	/* In large pages where there are any: the host can map them as such. */
	pool->memory = vmalloc_huge(size, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
	pool->in_use = kvcalloc(nr, sizeof(*pool->in_use), GFP_KERNEL);
	pool->first = kvcalloc(nr, sizeof(*pool->first), GFP_KERNEL);
	pool->allocator = gen_pool_create(SLOT_SHIFT, NUMA_NO_NODE);
	if (!pool->memory || !pool->in_use || !pool->first || !pool->allocator ||
	    gen_pool_add(pool->allocator, (unsigned long)pool->memory, size,
			 NUMA_NO_NODE)) {
		pviommu_pool_destroy(pool);
		return NULL;
	}
	return pool;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_create);

/**
 * pviommu_pool_destroy() - give the memory back
 * @pool: no device reaches it any more. If drivers have left anything of it in use, it
 *	is lost: they may still write there.
 *
 * Context: May sleep.
 */
void pviommu_pool_destroy(struct pviommu_pool *pool)
{
	size_t used = pool->allocator ? pviommu_pool_used(pool) : 0;

	if (used) {
		pr_err("bounce pool at %#llx: drivers have left %zu KiB in use: all of it is lost\n",
		       pool->iova, used >> 10);
		return;
	}

	if (pool->allocator)
		gen_pool_destroy(pool->allocator);
	kvfree(pool->first);
	kvfree(pool->in_use);
	vfree(pool->memory);
	kfree(pool);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_destroy);

/**
 * pviommu_pool_page() - find the memory behind an IOVA
 * @pool: the pool
 * @iova: in it
 *
 * Context: Any.
 * Return: the page.
 */
struct page *pviommu_pool_page(const struct pviommu_pool *pool, u64 iova)
{
	return vmalloc_to_page(pool->memory + (iova - pool->iova));
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_page);

/**
 * pviommu_pool_used() - how much of it is in use
 * @pool: the pool
 *
 * Context: Any.
 * Return: bytes.
 */
size_t pviommu_pool_used(const struct pviommu_pool *pool)
{
	return gen_pool_size(pool->allocator) - gen_pool_avail(pool->allocator);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_used);

/**
 * pviommu_pool_show() - write down how full it is, "name value" lines
 * @pool: the pool
 * @seq: where to
 *
 * Context: May sleep.
 */
void pviommu_pool_show(const struct pviommu_pool *pool, struct seq_file *seq)
{
	seq_printf(seq, "pool_bytes %zu\n", pool->size);
	seq_printf(seq, "pool_used %zu\n", pviommu_pool_used(pool));
	seq_printf(seq, "pool_peak %zu\n", READ_ONCE(pool->peak));
	seq_printf(seq, "pool_full %lu\n", atomic_long_read(&pool->full));
}

static u64 slot_iova(const struct pviommu_pool *pool, unsigned long slot)
{
	return pool->iova + ((u64)slot << SLOT_SHIFT);
}

/*
 * The first of @nr slots, or -1. @boundary: last address in front of one, or U64_MAX. @want:
 * lower bits of its address. @align: a power of 2
 */
static long take_slots(struct pviommu_pool *pool, unsigned int nr, u64 limit,
		       u64 boundary, u64 want, u64 align)
{
	u64 reach = limit < pool->iova ? 0 : limit - pool->iova;
	struct slots_wanted wanted = {
		.end = reach >= pool->size - 1 ? ULONG_MAX :
						 (reach + 1) >> SLOT_SHIFT,
		.align_mask = (max(align, SLOT_SIZE) >> SLOT_SHIFT) - 1,
		.align_offset = ((pool->iova - want) & (align - 1)) >> SLOT_SHIFT,
		.shift = (pool->iova & boundary) >> SLOT_SHIFT,
		.boundary = (boundary >> SLOT_SHIFT) + 1,
	};
	unsigned long addr, first, i;
	size_t used;

	/* What is larger has nowhere to be, and other boundaries mean nothing. */
	if (nr > wanted.boundary || !is_power_of_2(wanted.boundary))
		wanted.boundary = 0;
	addr = gen_pool_alloc_algo(pool->allocator, (size_t)nr << SLOT_SHIFT,
				   find_slots, &wanted);
	if (!addr) {
		atomic_long_inc(&pool->full);
		return -1;
	}
	/* For people: two at a time may each miss the other's. */
	used = pviommu_pool_used(pool);
	if (used > READ_ONCE(pool->peak))
		WRITE_ONCE(pool->peak, used);

	first = (addr - (unsigned long)pool->memory) >> SLOT_SHIFT;
	for (i = 0; i < nr; i++)
		pool->first[first + i] = first;
	return first;
}

static unsigned int nr_slots(const struct pviommu_slots *slots)
{
	return DIV_ROUND_UP(slots->offset + slots->size, SLOT_SIZE);
}

static void give_slots(struct pviommu_pool *pool, struct pviommu_slots *slots)
{
	unsigned long first = slots - pool->in_use;
	size_t size = (size_t)nr_slots(slots) << SLOT_SHIFT;

	if (slots->original == NO_ORIGINAL)
		atomic_long_sub(size, &pool->coherent);
	slots->size = 0;
	gen_pool_free(pool->allocator,
		      (unsigned long)pool->memory + (first << SLOT_SHIFT), size);
}

/*
 * The slots that have an IOVA, and where it is in their buffer. Drivers that name what
 * is not mapped are told so, and NULL is returned.
 */
static struct pviommu_slots *slots_of(struct pviommu_pool *pool, u64 iova,
				      size_t size, size_t *at)
{
	unsigned long slot = (iova - pool->iova) >> SLOT_SHIFT;
	struct pviommu_slots *slots = &pool->in_use[pool->first[slot]];
	u64 start = slot_iova(pool, pool->first[slot]) + slots->offset;

	if (WARN_ONCE(iova < start || iova - start >= slots->size ||
		      size > slots->size - (iova - start),
		      "pviommu: driver names %zu bytes at %#llx, which are not mapped\n",
		      size, iova))
		return NULL;

	*at = iova - start;
	return slots;
}

static void *copy_of(const struct pviommu_pool *pool,
		     const struct pviommu_slots *slots)
{
	return pool->memory + ((slots - pool->in_use) << SLOT_SHIFT) +
	       slots->offset;
}

/**
 * pviommu_pool_map() - copy a buffer into the pool
 * @pool: the pool
 * @paddr: the buffer, RAM
 * @size: its length in bytes, not 0. What exceeds the pool never fits.
 * @limit: last IOVA that the device can reach
 * @boundary: a power of 2 minus 1: it does not lie across a multiple of that power, unless
 *	it is larger
 * @align_mask: bits of @paddr that its IOVA has to share, a power of 2 minus 1
 *
 * It is copied even if the device is to write it: if that writes less, the rest of the
 * buffer is what it was.
 *
 * Context: Any.
 * Return: its IOVA, or DMA_MAPPING_ERROR if no room is left: there may be later.
 */
dma_addr_t pviommu_pool_map(struct pviommu_pool *pool, phys_addr_t paddr,
			    size_t size, u64 limit, u64 boundary,
			    u64 align_mask)
{
	u64 align = align_mask + 1;
	struct pviommu_slots *slots;
	size_t head, tail;
	void *copy;
	long first;

	/* What is not asked to share bits begins with a slot, or better with a page. */
	if (!align_mask)
		align = size < PAGE_SIZE ? SLOT_SIZE : PAGE_SIZE;

	if (size > MAX_SIZE)
		return DMA_MAPPING_ERROR;
	head = paddr & align_mask & (SLOT_SIZE - 1);
	first = take_slots(pool, DIV_ROUND_UP(head + size, SLOT_SIZE), limit,
			   boundary, paddr & align_mask & ~(SLOT_SIZE - 1), align);
	if (first < 0)
		return DMA_MAPPING_ERROR;

	slots = &pool->in_use[first];
	*slots = (struct pviommu_slots){
		.original = paddr,
		.size = size,
		.offset = head,
	};
	copy = copy_of(pool, slots);
	tail = ((size_t)nr_slots(slots) << SLOT_SHIFT) - head - size;
	memset(copy - head, 0, head);
	memcpy(copy, phys_to_virt(paddr), size);
	memset(copy + size, 0, tail);
	return slot_iova(pool, first) + head;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_map);

/**
 * pviommu_pool_to_device() - copy what has changed in a buffer into the pool
 * @pool: the pool
 * @iova: of the first byte; need not be the first of the buffer
 * @size: bytes
 *
 * Context: Any. The buffer is mapped.
 */
void pviommu_pool_to_device(struct pviommu_pool *pool, u64 iova, size_t size)
{
	size_t at;
	struct pviommu_slots *slots = slots_of(pool, iova, size, &at);

	if (slots && slots->original != NO_ORIGINAL)
		memcpy(copy_of(pool, slots) + at,
		       phys_to_virt(slots->original + at), size);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_to_device);

/**
 * pviommu_pool_to_cpu() - copy what a device has written into the buffer
 * @pool: the pool
 * @iova: of the first byte; need not be the first of the buffer
 * @size: bytes
 *
 * Context: Any. The buffer is mapped.
 */
void pviommu_pool_to_cpu(struct pviommu_pool *pool, u64 iova, size_t size)
{
	size_t at;
	struct pviommu_slots *slots = slots_of(pool, iova, size, &at);

	if (slots && slots->original != NO_ORIGINAL)
		memcpy(phys_to_virt(slots->original + at),
		       copy_of(pool, slots) + at, size);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_to_cpu);

/**
 * pviommu_pool_unmap() - free the slots of a buffer
 * @pool: the pool
 * @iova: as pviommu_pool_map() has said
 *
 * Context: Any.
 */
void pviommu_pool_unmap(struct pviommu_pool *pool, u64 iova)
{
	size_t at;
	struct pviommu_slots *slots = slots_of(pool, iova, 1, &at);

	if (slots && !WARN_ON_ONCE(at))
		give_slots(pool, slots);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_unmap);

/**
 * pviommu_pool_alloc() - memory that is used by the CPU and the device as it is
 * @pool: the pool
 * @size: bytes, not 0
 * @limit: last IOVA that the device can reach
 * @iova: filled in with where it is: a multiple of the smallest power of 2 pages that
 *	@size fits into
 *
 * Context: Any.
 * Return: the memory, zeroes up to the end of its last page; or NULL if no room is
 * left, or half of the pool is used in this way already: there is to be room for
 * buffers.
 */
void *pviommu_pool_alloc(struct pviommu_pool *pool, size_t size, u64 limit,
			 dma_addr_t *iova)
{
	struct pviommu_slots *slots;
	void *memory;
	long first;

	if (size > MAX_SIZE)
		return NULL;
	size = PAGE_ALIGN(size);
	/* Some devices take all they can get, as a cache of their own. */
	if (atomic_long_add_return(size, &pool->coherent) > pool->size / 2)
		goto err_coherent;
	first = take_slots(pool, size >> SLOT_SHIFT, limit, U64_MAX, 0,
			   roundup_pow_of_two(size));
	if (first < 0)
		goto err_coherent;

	slots = &pool->in_use[first];
	*slots = (struct pviommu_slots){
		.original = NO_ORIGINAL,
		.size = size,
	};
	memory = copy_of(pool, slots);
	memset(memory, 0, size);
	*iova = slot_iova(pool, first);
	return memory;

err_coherent:
	atomic_long_sub(size, &pool->coherent);
	return NULL;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_pool_alloc);
