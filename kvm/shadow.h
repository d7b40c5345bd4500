/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The shadow: what is pinned and mapped, by window page. sync.c says what it is for.
 *
 * All of it is under the lock of the stripe that a leaf is in.
 */
#ifndef KVM_PVIOMMU_SHADOW_H
#define KVM_PVIOMMU_SHADOW_H

#include "pviommu.h"
#include "stripe.h"

#define LEAF_ENTRIES	PVIOMMU_ENTRIES_PER_LEAF

/* What of an entry matters to the hardware. */
#define ENTRY_PERM	(PVIOMMU_ENTRY_READ | PVIOMMU_ENTRY_WRITE)
#define ENTRY_MASK	(ENTRY_PERM | PVIOMMU_ENTRY_LARGE | PVIOMMU_ENTRY_GFN)

/*
 * Marks in the shadow, beside ENTRY_MASK, from the clearing of PTEs to the flush and what
 * follows it: the page is to be unpinned then; or the IOMMU driver has failed with it.
 * The stripe's lock is held all the time, so only a removal sees them.
 */
#define SHADOW_GOING	BIT_ULL(63)
#define SHADOW_FAILED	BIT_ULL(62)
#define SHADOW_MARKS	(SHADOW_GOING | SHADOW_FAILED)
static_assert(!(SHADOW_MARKS & ENTRY_MASK));

/**
 * struct pviommu_shadow - what is mapped at one window page
 * @entry: ENTRY_MASK bits that it was mapped for, and SHADOW_MARKS; 0 if nothing is
 *	mapped
 * @generation: pviommu_generation() when @page was found to be behind the frame
 * @page: pinned
 */
struct pviommu_shadow {
	u64 entry;
	u64 generation;
	struct page *page;
};

/**
 * struct pviommu_shadow_leaf - the shadow of 512 window pages
 * @table: GPA of the guest's leaf: a directory entry, once set, does not change
 * @page: of the guest's leaf, pinned, in a direct table; else NULL
 * @claimed: entries of a direct table were, whose pages are still mapped; see moved.c
 * @at: index in pviommu_aperture::shadow
 * @nr: entries that are mapped
 * @large: all of them are, by one leaf of the IOMMU's, which goes as a whole or not
 *	at all
 * @spare: in pviommu_stripe::spare_leaves while @nr is 0
 * @entries: the shadow
 */
struct pviommu_shadow_leaf {
	gpa_t table;
	struct page *page;
	bool claimed;
	unsigned long at;
	unsigned int nr;
	bool large;
	struct list_head spare;
	struct pviommu_shadow entries[LEAF_ENTRIES];
};

static inline gfn_t entry_gfn(u64 entry)
{
	return (entry & PVIOMMU_ENTRY_GFN) >> PVIOMMU_ENTRY_GFN_SHIFT;
}

/* The leaf of window page @at * LEAF_ENTRIES, or NULL. One sync mostly follows another. */
static inline struct pviommu_shadow_leaf *
pviommu_shadow_find(struct pviommu_aperture *ap, unsigned long at)
{
	struct pviommu_stripe *stripe = pviommu_stripe(ap, at);
	struct pviommu_shadow_leaf *leaf = stripe->last_leaf;

	lockdep_assert_held(&stripe->lock);

	if (leaf && leaf->at == at)
		return leaf;
	leaf = xa_load(&ap->shadow, at);
	stripe->last_leaf = leaf;
	return leaf;
}

struct pviommu_shadow_leaf *pviommu_shadow_add(struct pviommu_aperture *ap,
					       u64 index, gpa_t table);
void pviommu_shadow_free(struct pviommu_aperture *ap,
			 struct pviommu_shadow_leaf *leaf);
void pviommu_shadow_wrote_table(struct pviommu_aperture *ap,
				const struct pviommu_shadow_leaf *leaf);
void pviommu_shadow_free_spare(struct pviommu_aperture *ap,
			       struct pviommu_stripe *stripe);
void pviommu_shadow_becomes_spare(struct pviommu_aperture *ap,
				  struct pviommu_shadow_leaf *leaf);
void pviommu_shadow_set_large(struct pviommu_aperture *ap,
			      struct pviommu_shadow_leaf *leaf);

/*
 * No more empty leaves in a stripe than this: a guest must not make us allocate for a window
 * that it cannot fill.
 */
#define PVIOMMU_SPARE_LEAVES	(64 / PVIOMMU_STRIPES)

/**
 * pviommu_shadow_trim() - free spare leaves that are too many
 * @ap: the aperture
 * @stripe: one of its, locked, in which a sync has done its work
 *
 * No more work than the sync has made: it has added or emptied them all.
 */
static inline void pviommu_shadow_trim(struct pviommu_aperture *ap,
				       struct pviommu_stripe *stripe)
{
	if (unlikely(stripe->nr_spare_leaves > PVIOMMU_SPARE_LEAVES))
		pviommu_shadow_free_spare(ap, stripe);
}

/**
 * pviommu_shadow_set() - a page is mapped
 * @ap: the aperture
 * @leaf: the leaf
 * @index: window page, where nothing was mapped
 * @shadow: what is there now
 */
static inline void pviommu_shadow_set(struct pviommu_aperture *ap,
				      struct pviommu_shadow_leaf *leaf, u64 index,
				      const struct pviommu_shadow *shadow)
{
	lockdep_assert_held(&pviommu_stripe(ap, leaf->at)->lock);

	leaf->entries[index % LEAF_ENTRIES] = *shadow;
	if (!leaf->nr++) {
		list_del(&leaf->spare);
		pviommu_stripe(ap, leaf->at)->nr_spare_leaves--;
	}
}

/**
 * pviommu_shadow_clear() - a page is not mapped any more
 * @ap: the aperture
 * @leaf: the leaf
 * @shadow: of the page
 */
static inline void pviommu_shadow_clear(struct pviommu_aperture *ap,
					struct pviommu_shadow_leaf *leaf,
					struct pviommu_shadow *shadow)
{
	lockdep_assert_held(&pviommu_stripe(ap, leaf->at)->lock);

	shadow->entry = 0;
	if (--leaf->nr)
		return;
	if (leaf->large) {
		leaf->large = false;
		pviommu_stripe(ap, leaf->at)->counters.large--;
	}
	pviommu_shadow_becomes_spare(ap, leaf);
}

#endif /* KVM_PVIOMMU_SHADOW_H */
