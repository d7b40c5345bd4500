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

#include "pviommu.h"
#include "remove.h"
#include "shadow.h"

/* Pages that freeing a leaf of the shadow counts for, where time is bounded. */
#define LEAF_COST	16

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
	struct pviommu_shadow *shadow;
	unsigned int named = n, i;
	u64 mark = SHADOW_GOING;

	if (leaf->large) {
		if (removal->large++ == removal->max_large)
			return false;
		index -= index % LEAF_ENTRIES;
		n = LEAF_ENTRIES;
	}

	if (removal->lo > removal->hi)
		pviommu_domain_unmap_begin(&ap->domain, &removal->gather);
	ap->stats.unmap_calls++;
	removal->lo = min(removal->lo, index);
	removal->hi = max(removal->hi, index + n);
	/* Still reachable for all we know: stays pinned. */
	if (!pviommu_domain_unmap(&ap->domain, pviommu_iova(ap, index),
				  (size_t)n << PAGE_SHIFT, &removal->gather))
		mark = SHADOW_FAILED;
	else if (leaf->large && named < LEAF_ENTRIES)
		ap->stats.large_broken++;

	shadow = &leaf->entries[index % LEAF_ENTRIES];
	for (i = 0; i < n; i++)
		shadow[i].entry |= mark;
	return true;
}

/**
 * pviommu_removal_flush() - the second step: flush the IOTLB
 * @ap: the aperture
 * @removal: after the last pviommu_removal_clear()
 *
 * Return: false if nothing was cleared: then there is nothing more to be done.
 */
bool pviommu_removal_flush(struct pviommu_aperture *ap,
			   struct pviommu_removal *removal)
{
	if (removal->lo > removal->hi)
		return false;

	pviommu_domain_flush(&ap->domain, pviommu_iova(ap, removal->lo),
			     (removal->hi - removal->lo) << PAGE_SHIFT,
			     &removal->gather);
	ap->stats.flushes++;
	return true;
}

/* @n pages, which follow each other in the window, in the guest and in memory. */
static void unpin(struct pviommu_aperture *ap, struct pviommu_removal *removal,
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
 * pviommu_removal_end() - account for what was unpinned
 * @ap: the aperture
 * @removal: after the last pviommu_removal_unpin()
 */
void pviommu_removal_end(struct pviommu_aperture *ap,
			 struct pviommu_removal *removal)
{
	pviommu_pins_released(ap, removal->unpinned);
	ap->stats.unmapped += removal->unpinned;
}

static bool is_mapped(const struct pviommu_shadow_leaf *leaf, unsigned int i)
{
	return leaf->entries[i].entry;
}

/* Take out all of a leaf. */
static void remove_leaf(struct pviommu_aperture *ap,
			struct pviommu_shadow_leaf *leaf)
{
	u64 index = (u64)leaf->at * LEAF_ENTRIES;
	struct pviommu_removal removal;
	unsigned int i, n;

	pviommu_removal_init(&removal, 1);
	for (i = 0; i < LEAF_ENTRIES; i += max(n, 1U)) {
		n = 0;
		while (i + n < LEAF_ENTRIES && is_mapped(leaf, i + n))
			n++;
		if (n)
			pviommu_removal_clear(ap, &removal, leaf, index + i, n);
	}
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
 * Context: any thread; under @ap's lock.
 * Return: true if there is more to take out.
 */
bool pviommu_remove_all(struct pviommu_aperture *ap, unsigned long max)
{
	struct pviommu_shadow_leaf *leaf;
	unsigned long dropped = 0;
	bool more = false;
	unsigned long at;
	int idx;

	lockdep_assert_held(&ap->lock);

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

	lockdep_assert_held(&ap->lock);

	pviommu_removal_init(&removal, 0);
	idx = srcu_read_lock(&ap->vm->kvm->srcu);
	xa_for_each(&ap->shadow, at, leaf) {
		unsigned int i;

		for (i = 0; leaf->nr && i < LEAF_ENTRIES; i++) {
			if (is_mapped(leaf, i))
				leaf->entries[i].entry |= SHADOW_GOING;
		}
		pviommu_removal_unpin(ap, &removal, leaf, 0, LEAF_ENTRIES);
		pviommu_shadow_free(ap, leaf);
	}
	srcu_read_unlock(&ap->vm->kvm->srcu, idx);
	pviommu_pins_released(ap, removal.unpinned);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_remove_abandoned);
