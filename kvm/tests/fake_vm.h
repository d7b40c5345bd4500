/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM as the host's pviommu sees one: memslots, and user memory behind them.
 *
 * RAM is one physically contiguous, aligned block of small pages, called frames
 * here. They are mapped into an address space of the test's own, so that pinning
 * them is the real thing, and each slot shows some of them.
 */
#ifndef KVM_PVIOMMU_FAKE_VM_H
#define KVM_PVIOMMU_FAKE_VM_H

#include <kunit/test.h>
#include <linux/kvm_host.h>

#define FAKE_ORDER	10
#define FAKE_FRAMES	1024U

/* Slots other than RAM's show this many frames. */
#define FAKE_SMALL	16U

enum fake_slot {
	FAKE_RAM,		/* all frames, in order */
	FAKE_REVERSED,		/* all frames, the last one first */
	/* No two of the others are side by side. */
	FAKE_READ_ONLY = 4,	/* KVM_MEM_READONLY */
	FAKE_CHANGING,		/* being changed right now */
	FAKE_PRIVATE,		/* guest_memfd */
	FAKE_INTERNAL,		/* KVM's own, as for the APIC page */
	FAKE_UNBACKED,		/* not accessible in the VMM */
	FAKE_WRITE_PROTECTED,	/* read-only in the VMM, but not by its flags */
	FAKE_NR_SLOTS
};

#define FAKE_GFN(_slot)	(0x400ULL + (_slot) * FAKE_FRAMES)
#define FAKE_GPA(_slot)	(FAKE_GFN(_slot) << PAGE_SHIFT)

/**
 * struct fake_vm - a VM
 * @kvm: has no vCPUs
 * @mm: the address space that has its memory
 * @frames: the first of FAKE_FRAMES
 * @slots: memslots
 */
struct fake_vm {
	struct kvm *kvm;
	struct mm_struct *mm;
	struct page *frames;
	struct kvm_memory_slot slots[FAKE_NR_SLOTS];
};

int fake_vm_init(struct fake_vm *vm, struct kunit *test);
void fake_vm_exit(struct fake_vm *vm, struct kunit *test);
void fake_vm_new_generation(struct fake_vm *vm);
void fake_vm_replace(struct fake_vm *vm, struct kunit *test, unsigned int frame,
		     unsigned int by);
void fake_vm_remove_slot(struct fake_vm *vm, enum fake_slot slot);
unsigned int fake_vm_pins(const struct fake_vm *vm, unsigned int frame);
void *fake_vm_frame(const struct fake_vm *vm, unsigned int frame);

#endif /* KVM_PVIOMMU_FAKE_VM_H */
