// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shadow as memory: leaves of 512 window pages, found by index. Those in which
 * nothing is mapped are spare: some are kept, since entries come and go.
 */
#include <kunit/visibility.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "shadow.h"

/**
 * pviommu_shadow_becomes_spare() - nothing is mapped in a leaf
 * @ap: the aperture
 * @leaf: the leaf, in which something was mapped, or that is new
 */
void pviommu_shadow_becomes_spare(struct pviommu_aperture *ap,
				  struct pviommu_shadow_leaf *leaf)
{
	struct pviommu_stripe *stripe = pviommu_stripe(ap, leaf->at);

	list_add_tail(&leaf->spare, &stripe->spare_leaves);
	stripe->nr_spare_leaves++;
}

/**
 * pviommu_shadow_add() - add a leaf, in which nothing is mapped
 * @ap: the aperture, which has no such leaf
 * @index: a window page of it
 * @table: GPA of the guest's leaf
 *
 * Return: the leaf, or NULL without memory.
 */
struct pviommu_shadow_leaf *pviommu_shadow_add(struct pviommu_aperture *ap,
					       u64 index, gpa_t table)
{
	struct pviommu_shadow_leaf *leaf;

	/* The guest is told, and must not fill the host's log. */
	leaf = kvzalloc(sizeof(*leaf), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!leaf)
		return NULL;
	leaf->table = table;
	leaf->at = index / LEAF_ENTRIES;
	if (xa_err(xa_store(&ap->shadow, leaf->at, leaf, GFP_KERNEL_ACCOUNT))) {
		kvfree(leaf);
		return NULL;
	}
	pviommu_stripe(ap, leaf->at)->nr_leaves++;
	pviommu_shadow_becomes_spare(ap, leaf);
	return leaf;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_shadow_add);

/**
 * pviommu_shadow_wrote_table() - the guest's leaf was written to
 * @ap: the aperture; kvm->srcu is held
 * @leaf: of a direct table
 *
 * It is memory of the guest's, which no device has written to.
 */
void pviommu_shadow_wrote_table(struct pviommu_aperture *ap,
				const struct pviommu_shadow_leaf *leaf)
{
	if (pviommu_dirty_mark(ap->vm->kvm, gpa_to_gfn(leaf->table), 1))
		atomic64_inc(&ap->vm->dirty_lost);
}

/**
 * pviommu_shadow_free() - remove a leaf
 * @ap: the aperture
 * @leaf: one in which nothing is mapped
 *
 * Context: kvm->srcu is held, unless the aperture follows no table.
 */
void pviommu_shadow_free(struct pviommu_aperture *ap,
			 struct pviommu_shadow_leaf *leaf)
{
	struct pviommu_stripe *stripe = pviommu_stripe(ap, leaf->at);

	if (stripe->last_leaf == leaf)
		stripe->last_leaf = NULL;
	spin_lock(&ap->leaves_lock);
	xa_erase(&ap->shadow, leaf->at);
	spin_unlock(&ap->leaves_lock);
	if (leaf->page) {
		if (leaf->claimed)
			pviommu_shadow_wrote_table(ap, leaf);
		unpin_user_pages_dirty_lock(&leaf->page, 1, true);
		pviommu_memlock_uncharge(&ap->vm->memlock, 1);
	}
	list_del(&leaf->spare);
	stripe->nr_spare_leaves--;
	stripe->nr_leaves--;
	kvfree(leaf);
}

/**
 * pviommu_shadow_free_spare() - pviommu_shadow_trim(), if there is anything to do
 * @ap: the aperture
 * @stripe: one of its
 */
void pviommu_shadow_free_spare(struct pviommu_aperture *ap,
			       struct pviommu_stripe *stripe)
{
	while (stripe->nr_spare_leaves > PVIOMMU_SPARE_LEAVES)
		pviommu_shadow_free(ap, list_first_entry(&stripe->spare_leaves,
							 struct pviommu_shadow_leaf,
							 spare));
}

/**
 * pviommu_shadow_set_large() - all pages of a leaf are one leaf of the IOMMU's
 * @ap: the aperture
 * @leaf: the leaf, with all pages set; it is until the last of them is cleared
 */
void pviommu_shadow_set_large(struct pviommu_aperture *ap,
			      struct pviommu_shadow_leaf *leaf)
{
	leaf->large = true;
	pviommu_stripe(ap, leaf->at)->counters.large++;
	pviommu_stripe(ap, leaf->at)->counters.large_mapped++;
}

/**
 * pviommu_shadow_forget() - free the shadow
 * @ap: the aperture, without users, with nothing mapped
 */
void pviommu_shadow_forget(struct pviommu_aperture *ap)
{
	struct pviommu_shadow_leaf *leaf;
	unsigned long at;

	xa_for_each(&ap->shadow, at, leaf)
		pviommu_shadow_free(ap, leaf);
	xa_destroy(&ap->shadow);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_shadow_forget);

#if IS_ENABLED(CONFIG_KUNIT)
/*
 * What the shadow says of a window page: @entry and its page, or NULL; and whether
 * it is in a large leaf.
 */
struct page *pviommu_shadow_peek(struct pviommu_aperture *ap, u64 index,
				 u64 *entry, bool *large)
{
	struct pviommu_shadow_leaf *leaf = xa_load(&ap->shadow,
						   index / LEAF_ENTRIES);

	*large = leaf && leaf->large;
	*entry = leaf ? leaf->entries[index % LEAF_ENTRIES].entry : 0;
	return *entry ? leaf->entries[index % LEAF_ENTRIES].page : NULL;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_shadow_peek);
#endif
