// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's memory is found through KVM's memslots.
 */
#include <kunit/visibility.h>

#include "table.h"

/**
 * pviommu_ram_find() - find guest RAM anew
 * @slots: of the VM; kvm->srcu is held
 * @ram: filled in if there is any
 * @gfn: a frame
 *
 * Return: as pviommu_ram_at().
 */
s32 pviommu_ram_find(struct kvm_memslots *slots, struct pviommu_ram *ram,
		     gfn_t gfn)
{
	struct kvm_memory_slot *slot = __gfn_to_memslot(slots, gfn);

	if (!slot)
		return PVIOMMU_RC_NO_RAM;
	if (slot->flags & KVM_MEMSLOT_INVALID)
		return PVIOMMU_RC_RETRY;
	if (!kvm_is_visible_memslot(slot) || kvm_slot_can_be_private(slot))
		return PVIOMMU_RC_NO_RAM;

	*ram = (struct pviommu_ram){
		.generation = slots->generation,
		.first = slot->base_gfn,
		.npages = slot->npages,
		.hva = slot->userspace_addr,
		.writable = !(slot->flags & KVM_MEM_READONLY),
	};
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_ram_find);

/**
 * pviommu_no_ram() - why guest memory could not be read or written
 * @kvm: the VM; kvm->srcu is held
 * @gpa: of the memory
 * @len: in bytes, not 0, at most a page
 *
 * KVM's accessors do not tell a memslot that is being changed from none.
 *
 * Return: PVIOMMU_RC_RETRY or PVIOMMU_RC_NO_RAM.
 */
s32 pviommu_no_ram(struct kvm *kvm, gpa_t gpa, size_t len)
{
	struct pviommu_ram ram = {};

	if (pviommu_ram_at(kvm, &ram, gpa_to_gfn(gpa)) == PVIOMMU_RC_RETRY ||
	    pviommu_ram_at(kvm, &ram, gpa_to_gfn(gpa + len - 1)) ==
	    PVIOMMU_RC_RETRY)
		return PVIOMMU_RC_RETRY;
	return PVIOMMU_RC_NO_RAM;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_no_ram);
