/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mode direct: its entries, and what mapping and unmapping takes when there is nothing to
 * be told to the host. That is in a header since it has to cost as little as it would without
 * an IOMMU. See direct.c.
 */
#ifndef _PVIOMMU_DIRECT_H
#define _PVIOMMU_DIRECT_H

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/notifier.h>
#include <linux/workqueue.h>

#include "pviommu.h"

/* The driver's own bits in an entry. One use too many would run over into DIRECT_SYNCED. */
#define DIRECT_SYNCED		BIT_ULL(61)
#define DIRECT_REFERENCED	BIT_ULL(62)
static_assert((DIRECT_REFERENCED | DIRECT_SYNCED) ==
	      (PVIOMMU_ENTRY_GUEST & ~PVIOMMU_ENTRY_USES));

/**
 * struct pviommu_direct - pages of RAM that are mapped where they are
 * @domain: what the aperture follows
 * @directory: of its table
 * @first_iova: of the window
 * @span: bytes of the window
 * @most: pages beyond which some are evicted
 * @batch: how many then
 * @entered: pages that the host has, about
 * @evicted: pages that were
 * @hand: window page that is looked at next; written under the domain's flush_lock
 * @seen: pages that it has come by in this lap; under the domain's flush_lock
 * @behind: pages that were entered where it has been in this lap
 * @age: evicts what was not used for long
 * @memory: is told of RAM that goes
 */
struct pviommu_direct {
	struct pviommu_domain *domain;
	const __le64 *directory;
	u64 first_iova;
	u64 span;
	long most;
	unsigned long batch;
	atomic_long_t entered;
	atomic_long_t evicted;
	u64 hand;
	long seen;
	atomic_long_t behind;
	struct delayed_work age;
	struct notifier_block memory;
};

int pviommu_direct_map_pages(struct pviommu_direct *direct, u64 first, u64 count);
bool pviommu_direct_unmap_pages(struct pviommu_direct *direct, u64 first,
				u64 count);
unsigned long pviommu_direct_evict(struct pviommu_direct *direct);
#if IS_ENABLED(CONFIG_KUNIT)
void pviommu_direct_age(struct pviommu_direct *direct);
#endif

/* GPA of the leaf that a window page is in; 0 if there is none yet. */
static inline u64 direct_leaf(const struct pviommu_direct *direct, u64 page)
{
	return le64_to_cpu(READ_ONCE(direct->directory[page /
						       PVIOMMU_ENTRIES_PER_LEAF]));
}

/* NULL if there is no leaf yet. */
static inline __le64 *direct_entry(const struct pviommu_direct *direct, u64 page)
{
	u64 gpa = direct_leaf(direct, page);

	return likely(gpa) ? (__le64 *)phys_to_virt(gpa) +
			     page % PVIOMMU_ENTRIES_PER_LEAF : NULL;
}

static inline u64 direct_load(const __le64 *entry)
{
	return le64_to_cpu(READ_ONCE(*entry));
}

/* Fully ordered if it succeeds; if not, @old is what is there. */
static inline bool direct_exchange(__le64 *entry, u64 *old, u64 new)
{
	__le64 expected = cpu_to_le64(*old);

	if (likely(try_cmpxchg(entry, &expected, cpu_to_le64(new))))
		return true;
	*old = le64_to_cpu(expected);
	return false;
}

/*
 * Is there room for one use more? There is never one more in an entry that is not SYNCED: so
 * one that is has its bit after the addition, and no other has it.
 */
static inline bool direct_is_full(u64 entry)
{
	return (entry & PVIOMMU_ENTRY_USES) >=
	       PVIOMMU_ENTRY_USES - PVIOMMU_ENTRY_USE;
}

/* One use more of a page that the host has. False if it has not, or there are too many. */
static __always_inline bool direct_get_again(__le64 *entry)
{
	u64 old = direct_load(entry), new;

	do {
		new = old + PVIOMMU_ENTRY_USE;
		if (unlikely(!(new & DIRECT_SYNCED)))
			return false;
	} while (unlikely(!direct_exchange(entry, &old,
					   new | DIRECT_REFERENCED)));
	return true;
}

/*
 * One use less of a page that the host has, and then it may be idle. False if it has not, or
 * there is none.
 */
static __always_inline bool direct_put_synced(__le64 *entry)
{
	u64 old = direct_load(entry);

	do {
		/* Both are there. */
		if (unlikely((old & (DIRECT_SYNCED | PVIOMMU_ENTRY_USES)) <=
			     DIRECT_SYNCED))
			return false;
	} while (unlikely(!direct_exchange(entry, &old, old - PVIOMMU_ENTRY_USE)));
	return true;
}

/* One use less. False if there is none. */
static __always_inline bool direct_put(__le64 *entry)
{
	u64 old = direct_load(entry), new;

	do {
		if (unlikely(!(old & PVIOMMU_ENTRY_USES)))
			return false;
		new = old - PVIOMMU_ENTRY_USE;
		if (unlikely(!(new & (PVIOMMU_ENTRY_USES | DIRECT_SYNCED))))
			new = 0;
	} while (unlikely(!direct_exchange(entry, &old, new)));
	return true;
}

/*
 * Find the entry of the page that an address is in. False if it is in none of the window, or
 * there is no leaf yet.
 */
static __always_inline bool direct_find(const struct pviommu_direct *direct,
					u64 addr, __le64 **entry)
{
	u64 offset = addr - direct->first_iova;
	u64 page = offset >> PVIOMMU_PAGE_SHIFT;
	u64 leaf;

	if (unlikely(offset >= direct->span))
		return false;
	leaf = direct_leaf(direct, page);
	*entry = (__le64 *)phys_to_virt(leaf) + page % PVIOMMU_ENTRIES_PER_LEAF;
	return likely(leaf);
}

/**
 * pviommu_direct_map_again() - map what is in one page, if that is no more than one use more
 * @direct: of the aperture
 * @addr: physical address in the page
 *
 * Nearly all mappings are this, and it is as short as can be.
 *
 * Context: Any.
 * Return: false if it is more: nothing was done.
 */
static __always_inline bool
pviommu_direct_map_again(const struct pviommu_direct *direct, u64 addr)
{
	__le64 *entry;

	return direct_find(direct, addr, &entry) && direct_get_again(entry);
}

/**
 * pviommu_direct_unmap_one() - undo pviommu_direct_map_again(), if that is one use less
 * @direct: of the aperture
 * @addr: IOVA in the page
 *
 * Context: Any.
 * Return: false if it is more, or not mapped where it is: nothing was done.
 */
static __always_inline bool
pviommu_direct_unmap_one(const struct pviommu_direct *direct, u64 addr)
{
	__le64 *entry;

	/* What is remapped is not SYNCED. */
	return direct_find(direct, addr, &entry) && direct_put_synced(entry);
}

/* The same, if the next entry is in that leaf, too. Beyond the window it is never SYNCED. */
static __always_inline bool
direct_find_two(const struct pviommu_direct *direct, u64 addr, __le64 **entry)
{
	return direct_find(direct, addr, entry) && offset_in_page(*entry + 1);
}

/**
 * pviommu_direct_map_two_again() - pviommu_direct_map_again() of two pages, side by side
 * @direct: of the aperture
 * @addr: physical address in the first one
 *
 * Context: Any.
 * Return: false if it is more: nothing was done.
 */
static inline bool
pviommu_direct_map_two_again(const struct pviommu_direct *direct, u64 addr)
{
	__le64 *entry;

	if (!direct_find_two(direct, addr, &entry) ||
	    !direct_get_again(entry))
		return false;
	if (likely(direct_get_again(entry + 1)))
		return true;
	direct_put(entry);
	return false;
}

/**
 * pviommu_direct_unmap_two() - pviommu_direct_unmap_one() of two pages, side by side
 * @direct: of the aperture
 * @addr: IOVA in the first one
 *
 * Context: Any.
 * Return: pages that were unmapped. 0 if the first is more than one use less, 1 if the second is.
 */
static inline unsigned int
pviommu_direct_unmap_two(const struct pviommu_direct *direct, u64 addr)
{
	__le64 *entry;

	if (!direct_find_two(direct, addr, &entry) ||
	    !direct_put_synced(entry))
		return 0;
	return likely(direct_put_synced(entry + 1)) ? 2 : 1;
}

/**
 * pviommu_direct_map() - map pages of RAM where they are
 * @direct: of the aperture
 * @first: first window page
 * @count: pages, all of them in the window; none counts as one
 *
 * Context: Any.
 * Return: 0, or an error, and nothing is mapped: -ENOMEM if it may work later.
 */
static inline int pviommu_direct_map(struct pviommu_direct *direct,
				     u64 first, u64 count)
{
	return pviommu_direct_map_pages(direct, first, count ?: 1);
}

/**
 * pviommu_direct_unmap() - undo pviommu_direct_map()
 * @direct: of the aperture
 * @first: first window page
 * @count: pages, all of them in the window; none counts as one
 *
 * The device can reach them until they are evicted.
 *
 * Context: Any.
 * Return: 0; -ENOENT if the first is not mapped where it is, and then nothing was done;
 * -EINVAL if others were not mapped.
 */
static inline int pviommu_direct_unmap(struct pviommu_direct *direct,
				       u64 first, u64 count)
{
	u64 gpa = direct->first_iova + (first << PVIOMMU_PAGE_SHIFT);
	__le64 *entry = direct_entry(direct, first);

	if (unlikely(!entry ||
		     (direct_load(entry) & PVIOMMU_ENTRY_GFN) != gpa))
		return -ENOENT;
	return pviommu_direct_unmap_pages(direct, first, count ?: 1) ? 0 : -EINVAL;
}

#endif /* _PVIOMMU_DIRECT_H */
