// SPDX-License-Identifier: GPL-2.0-only
/*
 * Removing: what is mapped and must not be is taken out of the IOMMU and unpinned.
 *
 * In three steps, and never in another order, since a page that a device can reach has
 * to be pinned:
 *
 *   clear	the PTEs, run by run; mark their pages in the shadow
 *   flush	the IOTLB, once for all of them
 *   unpin	walk over the same pages again, and unpin what is marked
 *
 * The marks are all that is kept between the first step and the last, so a removal needs
 * no memory by its size, and a page that is named twice goes once. A page that the
 * IOMMU driver fails to unmap gets another mark, and stays pinned.
 */
#include <kunit/visibility.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "pviommu.h"
#include "remove.h"
#include "shadow.h"
#include "table.h"

/*
 * A page that goes takes its large leaf with it, and one call can name pages of many: as
 * many may go as fill a call when they are named as a whole.
 */
#define MAX_LARGE_UNMAPPED	(PVIOMMU_UNMAP_MAX_PAGES / LEAF_ENTRIES)

/* Pages that freeing a leaf of the shadow counts for, where time is bounded. */
#define LEAF_COST	16

/* What single pages take is compiled into pviommu_remove_unwanted(), too. */
static __always_inline bool
__removal_clear(struct pviommu_aperture *ap, struct pviommu_removal *removal,
		struct pviommu_shadow_leaf *leaf, u64 index, unsigned int n)
{
	struct pviommu_counters *counters = &pviommu_stripe(ap, leaf->at)->counters;
	struct pviommu_shadow *shadow;
	unsigned int named = n, i;
	u64 mark = SHADOW_GOING;

	if (leaf->large) {
		if (removal->large++ == removal->max_large)
			return false;
		index -= index % LEAF_ENTRIES;
		n = LEAF_ENTRIES;
	}

	if (!pviommu_removal_began(removal))
		pviommu_domain_unmap_begin(&ap->domain, &removal->gather);
	counters->unmap_calls++;
	removal->lo = min(removal->lo, index);
	removal->hi = max(removal->hi, index + n);
	/* Still reachable for all we know: stays pinned. */
	if (!pviommu_domain_unmap(&ap->domain, pviommu_iova(ap, index),
				  (size_t)n << PAGE_SHIFT, &removal->gather))
		mark = SHADOW_FAILED;
	else if (leaf->large && named < LEAF_ENTRIES)
		counters->large_broken++;

	shadow = &leaf->entries[index % LEAF_ENTRIES];
	for (i = 0; i < n; i++)
		shadow[i].entry |= mark;
	return true;
}

/**
 * pviommu_removal_clear() - the first step: clear PTEs, and mark the pages
 * @ap: the aperture
 * @removal: after pviommu_removal_init()
 * @leaf: a leaf; if it is large, all of it goes
 * @index: first window page, in @leaf
 * @n: pages from there on, all in @leaf, mapped and without a mark
 *
 * On return the domain is locked, until pviommu_removal_flush().
 *
 * Return: false if there are too many large leaves: nothing was done.
 */
bool pviommu_removal_clear(struct pviommu_aperture *ap,
			   struct pviommu_removal *removal,
			   struct pviommu_shadow_leaf *leaf, u64 index,
			   unsigned int n)
{
	return __removal_clear(ap, removal, leaf, index, n);
}

/* @n pages, which follow each other in the window, in the guest and in memory. */
static __always_inline void unpin(struct pviommu_aperture *ap,
				  struct pviommu_removal *removal,
				  struct pviommu_shadow_leaf *leaf,
				  struct pviommu_shadow *shadow, unsigned int n)
{
	bool write = shadow->entry & PVIOMMU_ENTRY_WRITE;
	unsigned int lost, i;

	if (write) {
		lost = pviommu_dirty_mark(ap->vm->kvm,
					  entry_gfn(shadow->entry), n);
		if (lost)
			atomic64_add(lost, &ap->vm->dirty_lost);
	}
	unpin_user_page_range_dirty_lock(shadow->page, n, write);
	removal->unpinned += n;
	for (i = 0; i < n; i++)
		pviommu_shadow_clear(ap, leaf, &shadow[i]);
}

/* Is @shadow[@n] what comes after those from @shadow on, with the same marks? */
static bool follows(const struct pviommu_shadow *shadow, unsigned int n)
{
	return shadow[n].entry == shadow->entry + ((u64)n << PAGE_SHIFT) &&
	       page_to_pfn(shadow[n].page) == page_to_pfn(shadow->page) + n;
}

static __always_inline unsigned int
__removal_unpin(struct pviommu_aperture *ap, struct pviommu_removal *removal,
		struct pviommu_shadow_leaf *leaf, u64 index, unsigned int n)
{
	struct pviommu_shadow *shadow = &leaf->entries[index % LEAF_ENTRIES];
	unsigned int named = n, ok = n, i, run;

	/* Nothing is known of any of its pages, either. */
	if (leaf->large) {
		shadow = leaf->entries;
		n = LEAF_ENTRIES;
	}
	for (i = 0; i < n; i += run) {
		run = 1;
		if (shadow[i].entry & SHADOW_FAILED) {
			shadow[i].entry &= ~SHADOW_FAILED;
			ok = min(ok, i);
		} else if (shadow[i].entry & SHADOW_GOING) {
			while (i + run < n && follows(&shadow[i], run))
				run++;
			unpin(ap, removal, leaf, &shadow[i], run);
		}
	}
	return min(ok, named);
}

/**
 * pviommu_removal_unpin() - the third step: unpin, and forget, what is marked
 * @ap: the aperture; kvm->srcu is held
 * @removal: after pviommu_removal_flush()
 * @leaf: a leaf; if it is large, all of it is looked at
 * @index: first window page, in @leaf
 * @n: pages from there on, all in @leaf
 *
 * For all pages of the first step, and maybe others. No mark is left.
 *
 * Return: how many of the @n pages come before the first that could not be unmapped. A
 * second call for the same pages does not tell.
 */
unsigned int pviommu_removal_unpin(struct pviommu_aperture *ap,
				   struct pviommu_removal *removal,
				   struct pviommu_shadow_leaf *leaf, u64 index,
				   unsigned int n)
{
	return __removal_unpin(ap, removal, leaf, index, n);
}

/*
 * Must a window page go, for which the guest has @entry; or with NULL, whatever it has? One
 * that is going already must not go once more.
 */
static inline bool must_go(const struct pviommu_aperture *ap,
			   const struct pviommu_shadow *shadow, u64 index,
			   const __le64 *entry)
{
	u64 wanted;

	if (!shadow->entry || shadow->entry & SHADOW_MARKS)
		return false;
	if (!entry)
		return true;
	wanted = le64_to_cpu(*entry);
	return (wanted & ENTRY_MASK) != shadow->entry ||
	       wanted & PVIOMMU_ENTRY_RESERVED || pviommu_is_hole(ap, index);
}

/*
 * The first step for what must go of @n pages of a leaf, for which the guest has @table, or
 * nothing with NULL. False if there are too many large leaves: nothing was done.
 */
static __always_inline bool
clear_unwanted(struct pviommu_aperture *ap, struct pviommu_removal *removal,
	       struct pviommu_shadow_leaf *leaf, u64 first, unsigned int n,
	       const __le64 *table)
{
	struct pviommu_shadow *shadow = &leaf->entries[first % LEAF_ENTRIES];
	unsigned int i = 0, end;

	while (i < n) {
		for (end = i; end < n; end++) {
			if (!must_go(ap, &shadow[end], first + end,
				     table ? &table[end] : NULL))
				break;
		}
		if (end > i &&
		    !__removal_clear(ap, removal, leaf, first + i, end - i))
			return false;
		/* The one at the end stays. */
		i = end + 1;
	}
	return true;
}

/**
 * struct piece - window pages that are in one leaf
 * @ranges: ranges that are cut into pieces
 * @nr: number of ranges that are left
 * @cut: pages of the first of them that were in pieces before
 * @first: first window page
 * @n: pages
 */
struct piece {
	const struct pviommu_range *ranges;
	unsigned int nr;
	u64 cut;
	u64 first;
	unsigned int n;
};

/* False if there are no more. */
static inline bool next_piece(struct piece *piece)
{
	while (piece->nr && piece->cut == piece->ranges->count) {
		piece->ranges++;
		piece->nr--;
		piece->cut = 0;
	}
	if (!piece->nr)
		return false;
	piece->first = piece->ranges->first + piece->cut;
	piece->n = min(piece->ranges->count - piece->cut,
		       LEAF_ENTRIES - piece->first % LEAF_ENTRIES);
	piece->cut += piece->n;
	return true;
}

/*
 * Read a piece's entries. Once the domain is locked nobody may wait for the VMM's memory,
 * which can take for ever: what is not there is not fetched.
 */
static inline s32 read_piece(struct pviommu_aperture *ap,
			     const struct pviommu_removal *removal,
			     const struct pviommu_shadow_leaf *leaf,
			     const struct piece *piece, __le64 *table)
{
	gpa_t gpa = leaf->table + piece->first % LEAF_ENTRIES * sizeof(*table);
	bool locked = pviommu_removal_began(removal);
	s32 rc;

	if (locked)
		pagefault_disable();
	rc = pviommu_table_read(ap->vm->kvm,
				&pviommu_stripe(ap, leaf->at)->table_ram, gpa,
				table, piece->n);
	if (locked)
		pagefault_enable();
	return rc;
}

/*
 * The first step for all pieces from @piece on, as many as one call does. Returns the number
 * of pages in them. @retry: of them, those before the first whose entries cannot be told
 * just now.
 */
static inline unsigned int clear_pieces(struct pviommu_aperture *ap,
					struct pviommu_removal *removal,
					struct piece piece, __le64 *table,
					unsigned int *retry)
{
	struct pviommu_shadow_leaf *leaf;
	unsigned int pages = 0;
	s32 rc;

	*retry = UINT_MAX;
	for (; next_piece(&piece); pages += piece.n) {
		if (pages && need_resched())
			cond_resched();
		if (pages + piece.n > PVIOMMU_UNMAP_MAX_PAGES)
			break;
		leaf = pviommu_shadow_find(ap, piece.first / LEAF_ENTRIES);
		if (!leaf)
			continue;

		rc = read_piece(ap, removal, leaf, &piece, table);
		/* The next call begins with it, and can wait. */
		if (rc == PVIOMMU_RC_BAD_TABLE && pviommu_removal_began(removal))
			break;
		if (rc == PVIOMMU_RC_RETRY)
			*retry = min(*retry, pages);
		else if (!clear_unwanted(ap, removal, leaf, piece.first,
					 piece.n, rc ? NULL : table))
			break;
	}
	return pages;
}

/*
 * The third step for pieces of @pages pages in all. Returns the number of those before the
 * first that could not be unmapped, if there is one.
 */
static inline unsigned int unpin_pieces(struct pviommu_aperture *ap,
					struct pviommu_removal *removal,
					struct piece piece, unsigned int pages)
{
	struct pviommu_shadow_leaf *leaf;
	unsigned int failed = UINT_MAX;
	unsigned int at, ok;

	for (at = 0; at < pages && next_piece(&piece); at += piece.n) {
		if (at && need_resched())
			cond_resched();
		leaf = pviommu_shadow_find(ap, piece.first / LEAF_ENTRIES);
		if (!leaf)
			continue;
		ok = __removal_unpin(ap, removal, leaf, piece.first, piece.n);
		if (ok < piece.n)
			failed = min(failed, at + ok);
	}
	pviommu_removal_end(ap, removal);
	return failed;
}

/**
 * pviommu_remove_unwanted() - remove what is mapped and differs from the guest's table
 * @ap: the aperture, which follows a table
 * @ranges: window pages, all in the window, in any order; their stripes are locked
 * @nr: number of ranges
 * @table: scratch memory: LEAF_ENTRIES, or as many as are in @ranges
 *
 * An entry that is refused, or that cannot be read, counts as unmapped. There is one flush
 * for all, and a call ends between pieces, so that it divides no large leaf.
 *
 * Context: may sleep; kvm->srcu is held.
 * Return: pages processed, counted across @ranges, at most PVIOMMU_UNMAP_MAX_PAGES; or
 * why not even the first of them was: PVIOMMU_RC_RETRY or PVIOMMU_RC_HOST_ERROR.
 */
s64 pviommu_remove_unwanted(struct pviommu_aperture *ap,
			    const struct pviommu_range *ranges, unsigned int nr,
			    __le64 *table)
{
	const struct piece piece = { .ranges = ranges, .nr = nr };
	unsigned int pages, done, retry, failed = UINT_MAX;
	struct pviommu_removal removal;

	pviommu_removal_init(&removal, MAX_LARGE_UNMAPPED);
	pages = clear_pieces(ap, &removal, piece, table, &retry);
	if (pviommu_removal_flush(ap, &removal))
		failed = unpin_pieces(ap, &removal, piece, pages);

	done = min3(pages, retry, failed);
	if (done || !pages)
		return done;
	return failed ? PVIOMMU_RC_RETRY : PVIOMMU_RC_HOST_ERROR;
}

/* Take out all of a leaf. */
static void remove_leaf(struct pviommu_aperture *ap,
			struct pviommu_shadow_leaf *leaf)
{
	u64 index = (u64)leaf->at * LEAF_ENTRIES;
	struct pviommu_removal removal;

	pviommu_removal_init(&removal, 1);
	clear_unwanted(ap, &removal, leaf, index, LEAF_ENTRIES, NULL);
	if (!pviommu_removal_flush(ap, &removal))
		return;
	pviommu_removal_unpin(ap, &removal, leaf, index, LEAF_ENTRIES);
	pviommu_removal_end(ap, &removal);
}

/**
 * pviommu_remove_all() - take out what is mapped, and forget the table
 * @ap: the aperture, not enabled
 * @max: stop after about so many pages
 *
 * Context: any thread; under all of @ap's locks.
 * Return: true if there is more to take out.
 */
bool pviommu_remove_all(struct pviommu_aperture *ap, unsigned long max)
{
	struct pviommu_shadow_leaf *leaf;
	unsigned long dropped = 0;
	bool more = false;
	unsigned long at;
	int idx;

	pviommu_aperture_assert_locked(ap);

	idx = srcu_read_lock(&ap->vm->kvm->srcu);
	xa_for_each(&ap->shadow, at, leaf) {
		unsigned int had;

		more = dropped >= max;
		if (more)
			break;

		had = leaf->nr;
		if (had)
			remove_leaf(ap, leaf);
		dropped += had - leaf->nr;

		/* What the IOMMU driver failed to unmap stays pinned. */
		if (!leaf->nr) {
			pviommu_shadow_free(ap, leaf);
			dropped += LEAF_COST;
		}
		cond_resched();
	}
	srcu_read_unlock(&ap->vm->kvm->srcu, idx);
	return more;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_remove_all);

/**
 * pviommu_remove_abandoned() - unpin what could not be unmapped
 * @ap: the aperture, locked, whose domain is gone: nothing can be reached any more
 */
void pviommu_remove_abandoned(struct pviommu_aperture *ap)
{
	struct pviommu_shadow_leaf *leaf;
	struct pviommu_removal removal;
	unsigned long at;
	int idx;

	pviommu_aperture_assert_locked(ap);

	pviommu_removal_init(&removal, 0);
	idx = srcu_read_lock(&ap->vm->kvm->srcu);
	xa_for_each(&ap->shadow, at, leaf) {
		unsigned int i;

		for (i = 0; leaf->nr && i < LEAF_ENTRIES; i++) {
			if (leaf->entries[i].entry)
				leaf->entries[i].entry |= SHADOW_GOING;
		}
		pviommu_removal_unpin(ap, &removal, leaf, 0, LEAF_ENTRIES);
		pviommu_shadow_free(ap, leaf);
	}
	srcu_read_unlock(&ap->vm->kvm->srcu, idx);
	pviommu_pins_released(ap, removal.unpinned);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_remove_abandoned);
