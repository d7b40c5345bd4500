/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory by frame, and the guest's table in it: elements are read by one 64-bit
 * load each.
 */
#ifndef KVM_PVIOMMU_TABLE_H
#define KVM_PVIOMMU_TABLE_H

#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "pviommu.h"

s32 pviommu_ram_find(struct kvm_memslots *slots, struct pviommu_ram *ram,
		     gfn_t gfn);

/**
 * pviommu_ram_at() - find guest RAM
 * @kvm: the VM; kvm->srcu is held
 * @ram: what was found last, or zero
 * @gfn: a frame
 *
 * Whatever KVM changes about a memslot, it does by another one, in memslots of
 * another generation. One sync mostly follows another in the same memslot.
 *
 * Return: 0: @gfn is in @ram; PVIOMMU_RC_NO_RAM; PVIOMMU_RC_RETRY while its memslot is
 * being changed.
 */
static inline s32 pviommu_ram_at(struct kvm *kvm, struct pviommu_ram *ram,
				 gfn_t gfn)
{
	struct kvm_memslots *slots = kvm_memslots(kvm);

	if (likely(gfn - ram->first < ram->npages &&
		   ram->generation == slots->generation))
		return 0;
	return pviommu_ram_find(slots, ram, gfn);
}

/**
 * pviommu_ram_hva() - where a frame is in the VMM
 * @ram: RAM
 * @gfn: a frame of it
 *
 * Return: the address. As with KVM's __gfn_to_hva_memslot(), no guest has one beyond
 * @ram speculated on.
 */
static inline unsigned long pviommu_ram_hva(const struct pviommu_ram *ram,
					    gfn_t gfn)
{
	return ram->hva + array_index_nospec(gfn - ram->first, ram->npages) *
			  PAGE_SIZE;
}

/**
 * pviommu_table_hva() - find a page of a table in the VMM
 * @kvm: the VM; kvm->srcu is held
 * @ram: where a table was found last, or zero
 * @gpa: guest physical address of the page
 * @hva: set to its address in the VMM
 *
 * Return: 0; PVIOMMU_RC_BAD_TABLE if it is not writable RAM; PVIOMMU_RC_RETRY while
 * its memslot is being changed.
 */
static inline s32 pviommu_table_hva(struct kvm *kvm, struct pviommu_ram *ram,
				    gpa_t gpa, unsigned long *hva)
{
	s32 rc = pviommu_ram_at(kvm, ram, gpa_to_gfn(gpa));

	if (rc == PVIOMMU_RC_RETRY)
		return rc;
	if (rc || !ram->writable)
		return PVIOMMU_RC_BAD_TABLE;
	*hva = pviommu_ram_hva(ram, gpa_to_gfn(gpa));
	return 0;
}

/**
 * pviommu_table_read() - copy a part of a table
 * @kvm: the VM; kvm->srcu is held
 * @ram: where a table was found last, or zero
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
static inline s32 pviommu_table_read(struct kvm *kvm, struct pviommu_ram *ram,
				     gpa_t gpa, __le64 *to, unsigned int nr)
{
	const __le64 __user *from;
	unsigned long hva;
	unsigned int i;
	s32 rc;

	rc = pviommu_table_hva(kvm, ram, gpa, &hva);
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

s32 pviommu_no_ram(struct kvm *kvm, gpa_t gpa, size_t len);

#endif /* KVM_PVIOMMU_TABLE_H */
