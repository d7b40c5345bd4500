/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stripes: an aperture's locks. stripe.c says how they go together.
 */
#ifndef KVM_PVIOMMU_STRIPE_H
#define KVM_PVIOMMU_STRIPE_H

#include "pviommu.h"

#define PVIOMMU_ALL_STRIPES	(BIT(PVIOMMU_STRIPES) - 1)

/**
 * pviommu_stripe() - which stripe a leaf is in
 * @ap: the aperture
 * @at: index of the leaf in pviommu_aperture::shadow
 *
 * Return: the stripe.
 */
static inline struct pviommu_stripe *pviommu_stripe(struct pviommu_aperture *ap,
						    unsigned long at)
{
	return &ap->stripes[at % PVIOMMU_STRIPES];
}

/**
 * pviommu_stripe_at() - which stripe a window page is in
 * @ap: the aperture
 * @index: window page
 *
 * Return: the stripe.
 */
static inline struct pviommu_stripe *
pviommu_stripe_at(struct pviommu_aperture *ap, u64 index)
{
	return pviommu_stripe(ap, index / PVIOMMU_ENTRIES_PER_LEAF);
}

unsigned long pviommu_stripes_of_several(u64 first, u64 count);

/**
 * pviommu_stripes_of() - which stripes a range is in
 * @first: window page
 * @count: window pages
 *
 * Return: a bit for each, at least one.
 */
static inline unsigned long pviommu_stripes_of(u64 first, u64 count)
{
	/* In one leaf, as most are. */
	if (likely(first % PVIOMMU_ENTRIES_PER_LEAF + count <=
		   PVIOMMU_ENTRIES_PER_LEAF))
		return BIT(first / PVIOMMU_ENTRIES_PER_LEAF % PVIOMMU_STRIPES);
	return pviommu_stripes_of_several(first, count);
}

void pviommu_stripes_init(struct pviommu_aperture *ap);
void pviommu_stripes_exit(struct pviommu_aperture *ap);
void pviommu_stripes_lock(struct pviommu_aperture *ap, unsigned long stripes);
void pviommu_stripes_unlock(struct pviommu_aperture *ap, unsigned long stripes);

#endif /* KVM_PVIOMMU_STRIPE_H */
