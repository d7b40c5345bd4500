/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Removing: the steps of which every removal is made. remove.c says how they go together.
 *
 * All of it is under the locks of the stripes that the pages are in.
 */
#ifndef KVM_PVIOMMU_REMOVE_H
#define KVM_PVIOMMU_REMOVE_H

#include <linux/iommu.h>

#include "pviommu.h"
#include "stripe.h"

struct pviommu_shadow_leaf;

/**
 * struct pviommu_removal - pages that go, with one flush
 * @gather: for the IOMMU core
 * @lo: first window page of them
 * @hi: behind the last one; below @lo if there is none
 * @large: large leaves among them
 * @max_large: no more than so many
 * @unpinned: pages that were unpinned
 */
struct pviommu_removal {
	struct iommu_iotlb_gather gather;
	u64 lo;
	u64 hi;
	unsigned int large;
	unsigned int max_large;
	unsigned int unpinned;
};

/**
 * pviommu_removal_init() - before the first pviommu_removal_clear()
 * @removal: to be initialised
 * @max_large: most large leaves that may go
 */
static inline void pviommu_removal_init(struct pviommu_removal *removal,
					unsigned int max_large)
{
	removal->lo = U64_MAX;
	removal->hi = 0;
	removal->large = 0;
	removal->max_large = max_large;
	removal->unpinned = 0;
}

/* The stripe that counts what was done, of those that are locked. */
static inline struct pviommu_counters *
pviommu_removal_counters(struct pviommu_aperture *ap,
			 const struct pviommu_removal *removal)
{
	return &pviommu_stripe_at(ap, removal->lo)->counters;
}

/* Is the domain locked? */
static inline bool pviommu_removal_began(const struct pviommu_removal *removal)
{
	return removal->lo <= removal->hi;
}

bool pviommu_removal_clear(struct pviommu_aperture *ap,
			   struct pviommu_removal *removal,
			   struct pviommu_shadow_leaf *leaf, u64 index,
			   unsigned int n);
unsigned int pviommu_removal_unpin(struct pviommu_aperture *ap,
				   struct pviommu_removal *removal,
				   struct pviommu_shadow_leaf *leaf, u64 index,
				   unsigned int n);

/**
 * pviommu_removal_flush() - the second step: flush the IOTLB
 * @ap: the aperture
 * @removal: after the last pviommu_removal_clear()
 *
 * Return: false if nothing was cleared: then there is nothing more to be done.
 */
static inline bool pviommu_removal_flush(struct pviommu_aperture *ap,
					 struct pviommu_removal *removal)
{
	if (!pviommu_removal_began(removal))
		return false;

	pviommu_domain_flush(&ap->domain, pviommu_iova(ap, removal->lo),
			     (removal->hi - removal->lo) << PAGE_SHIFT,
			     &removal->gather);
	pviommu_removal_counters(ap, removal)->flushes++;
	return true;
}

s64 pviommu_remove_unwanted(struct pviommu_aperture *ap,
			    const struct pviommu_range *ranges, unsigned int nr,
			    __le64 *table);

/**
 * pviommu_pins_released() - pages were unpinned, or not pinned after all
 * @ap: the aperture
 * @nr: number of pages that it had accounted for
 */
static inline void pviommu_pins_released(struct pviommu_aperture *ap,
					 unsigned int nr)
{
	/* The usual case: all that was wanted was pinned. */
	if (!nr)
		return;
	atomic_long_sub(nr, &ap->pinned);
	pviommu_memlock_uncharge(&ap->vm->memlock, nr);
}

/**
 * pviommu_removal_end() - account for what was unpinned
 * @ap: the aperture
 * @removal: after the last pviommu_removal_unpin()
 */
static inline void pviommu_removal_end(struct pviommu_aperture *ap,
				       struct pviommu_removal *removal)
{
	pviommu_pins_released(ap, removal->unpinned);
	pviommu_removal_counters(ap, removal)->unmapped += removal->unpinned;
}

#endif /* KVM_PVIOMMU_REMOVE_H */
