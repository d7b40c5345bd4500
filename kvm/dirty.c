// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's dirty log: what a device may have written is entered when it is unmapped, and
 * when the VMM asks.
 */
#include <kunit/visibility.h>

#include "pviommu.h"
#include "shadow.h"

static void log_dirty(struct kvm_memory_slot *slot, gfn_t gfn, u64 n)
{
	u64 first = gfn - slot->base_gfn, i;

	for (i = first; slot->dirty_bitmap && i < first + n; i++)
		set_bit_le(i, slot->dirty_bitmap);
}

/**
 * pviommu_dirty_mark() - a device may have written to pages
 * @kvm: the VM; kvm->srcu is held
 * @gfn: the first frame
 * @n: number of frames
 *
 * KVM's own mark_page_dirty() wants a running vCPU, and there is none when the
 * file is closed or the VM reset. VMs with a dirty ring are refused, so the bitmap
 * is all there is.
 *
 * Return: how many of the pages no log takes.
 */
unsigned int pviommu_dirty_mark(struct kvm *kvm, gfn_t gfn, u64 n)
{
	struct kvm_memory_slot *slot;
	unsigned int lost = 0;
	u64 here;

	for (; n; gfn += here, n -= here) {
		slot = pviommu_memslot(kvm, gfn);
		here = slot ? min(n, slot->base_gfn + slot->npages - gfn) : 1;
		/* Not if it is deleted, or about to be, with its bitmap. */
		if (!slot || slot->flags & KVM_MEMSLOT_INVALID)
			lost += here;
		if (slot && kvm_slot_dirty_track_enabled(slot))
			log_dirty(slot, gfn, here);
	}
	return lost;
}

/* All of a leaf that is mapped writable, if there still is one. Returns the number of pages. */
static unsigned int mark_leaf(struct pviommu_aperture *ap, unsigned long at)
{
	struct pviommu_stripe *stripe = pviommu_stripe(ap, at);
	struct kvm *kvm = ap->vm->kvm;
	struct pviommu_shadow_leaf *leaf;
	unsigned int i, pages = 0;
	int idx;

	mutex_lock(&stripe->lock);
	idx = srcu_read_lock(&kvm->srcu);
	leaf = pviommu_shadow_find(ap, at);
	for (i = 0; leaf && leaf->nr && i < LEAF_ENTRIES; i++) {
		if (!(leaf->entries[i].entry & PVIOMMU_ENTRY_WRITE))
			continue;
		pviommu_dirty_mark(kvm, entry_gfn(leaf->entries[i].entry), 1);
		pages++;
	}
	srcu_read_unlock(&kvm->srcu, idx);
	mutex_unlock(&stripe->lock);
	return pages;
}

/**
 * pviommu_dirty_mark_mapped() - PVIOMMU_MARK_DIRTY for one aperture
 * @ap: the aperture
 * @pages: window pages that are mapped writable are added
 *
 * What goes meanwhile is marked by who removes it, and what comes is not asked for.
 *
 * Context: any thread.
 * Return: 0, or -EBUSY if a device is not confined to the aperture yet.
 */
int pviommu_dirty_mark_mapped(struct pviommu_aperture *ap, u64 *pages)
{
	unsigned long at;
	int ret;

	mutex_lock(&ap->lock);
	ret = ap->stats.waiting ? -EBUSY : 0;
	for (at = 0; xa_find(&ap->shadow, &at, ULONG_MAX, XA_PRESENT); at++) {
		*pages += mark_leaf(ap, at);
		cond_resched();
	}
	mutex_unlock(&ap->lock);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_dirty_mark_mapped);
