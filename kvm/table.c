// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's table, as memory: found through the memslots, read by one 64-bit load
 * for each element.
 */
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "pviommu.h"

/**
 * pviommu_table_hva() - find a page of a table in the VMM
 * @kvm: the VM; kvm->srcu is held
 * @gpa: guest physical address of the page
 * @hva: set to its address in the VMM
 *
 * Return: 0; PVIOMMU_RC_BAD_TABLE if it is not writable RAM; PVIOMMU_RC_RETRY while
 * its memslot is being changed.
 */
s32 pviommu_table_hva(struct kvm *kvm, gpa_t gpa, unsigned long *hva)
{
	struct kvm_memory_slot *slot = pviommu_memslot(kvm, gpa_to_gfn(gpa));

	if (slot && (slot->flags & KVM_MEMSLOT_INVALID))
		return PVIOMMU_RC_RETRY;
	if (!slot || !kvm_is_visible_memslot(slot) ||
	    kvm_slot_can_be_private(slot) || (slot->flags & KVM_MEM_READONLY))
		return PVIOMMU_RC_BAD_TABLE;

	*hva = __gfn_to_hva_memslot(slot, gpa_to_gfn(gpa));
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_hva);

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
	unsigned long hva;

	if (pviommu_table_hva(kvm, gpa, &hva) == PVIOMMU_RC_RETRY ||
	    pviommu_table_hva(kvm, gpa + len - 1, &hva) == PVIOMMU_RC_RETRY)
		return PVIOMMU_RC_RETRY;
	return PVIOMMU_RC_NO_RAM;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_no_ram);

/**
 * pviommu_table_read() - copy a part of a table
 * @kvm: the VM; kvm->srcu is held
 * @gpa: of the first element, a multiple of 8
 * @to: filled in, though not all of it after an error
 * @nr: elements of 64 bits, none beyond @gpa's page
 *
 * One load for each entry: a torn entry would be a frame that the guest never
 * named.
 *
 * Return: as pviommu_table_hva(); PVIOMMU_RC_BAD_TABLE also if there is nothing that
 * can be read.
 */
s32 pviommu_table_read(struct kvm *kvm, gpa_t gpa, __le64 *to, unsigned int nr)
{
	const __le64 __user *from;
	unsigned long hva;
	unsigned int i;
	s32 rc;

	rc = pviommu_table_hva(kvm, gpa, &hva);
	if (rc)
		return rc;

	from = (const __le64 __user *)(hva + offset_in_page(gpa));
	if (!user_read_access_begin(from, nr * sizeof(*from)))
		return PVIOMMU_RC_BAD_TABLE;
	for (i = 0; i < nr; i++)
		unsafe_get_user(to[i], from + i, fault);
	user_read_access_end();
	return 0;

fault:
	user_read_access_end();
	return PVIOMMU_RC_BAD_TABLE;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_read);
