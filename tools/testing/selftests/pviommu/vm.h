/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tiny VM on the raw KVM API: memory, one vCPU in 64-bit mode at CPL 0, and
 * two instructions, a hypercall and HLT. There is no guest OS; the test sets the
 * registers and looks at the result.
 */
#ifndef PVIOMMU_SELFTEST_VM_H
#define PVIOMMU_SELFTEST_VM_H

#include <linux/kvm.h>
#include <linux/types.h>
#include <stddef.h>

#define VM_PAGE_SIZE	4096UL
#define VM_MEM_SIZE	(32UL << 20)

/**
 * struct vm - a VM
 * @kvm_fd: /dev/kvm
 * @vm_fd: the VM
 * @vcpu_fd: its vCPU
 * @run: the vCPU's communication page
 * @run_size: its size
 * @mem: guest RAM from GPA 0 on, VM_MEM_SIZE bytes, memslot 0
 */
struct vm {
	int kvm_fd;
	int vm_fd;
	int vcpu_fd;
	struct kvm_run *run;
	size_t run_size;
	__u8 *mem;
};

int vm_create(struct vm *vm);
void vm_destroy(struct vm *vm);
int vm_set_memslot(struct vm *vm, __u32 slot, __u64 gpa, void *mem, size_t size,
		   __u32 flags);
__s64 vm_hypercall(struct vm *vm, __u64 nr, __u64 rbx, __u64 rcx, __u64 rdx,
		   __u64 rsi);

#endif /* PVIOMMU_SELFTEST_VM_H */
