/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tiny VM on the raw KVM API: memory, vCPUs in 64-bit mode at CPL 0, and two
 * instructions, a hypercall and HLT. There is no guest OS; the test sets the
 * registers and looks at the result.
 */
#ifndef PVIOMMU_SELFTEST_VM_H
#define PVIOMMU_SELFTEST_VM_H

#include <linux/kvm.h>
#include <linux/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define VM_PAGE_SIZE	4096UL
#define VM_MEM_SIZE	(32UL << 20)

/* Guest physical addresses of what a vCPU needs. */
#define VM_PML4		0x1000UL
#define VM_CODE		0x8000UL	/* hypercall; HLT */
#define VM_CODE_IO	0x8010UL	/* hypercall; OUT, since HLT is not for CPL 3 */

/**
 * struct vcpu - a vCPU
 * @fd: the vCPU; -1 if there is none
 * @run: its communication page
 * @run_size: its size
 */
struct vcpu {
	int fd;
	struct kvm_run *run;
	size_t run_size;
};

/**
 * struct vm - a VM
 * @kvm_fd: /dev/kvm
 * @vm_fd: the VM
 * @vcpu: its first vCPU
 * @mem: guest RAM from GPA 0 on, VM_MEM_SIZE bytes, memslot 0
 */
struct vm {
	int kvm_fd;
	int vm_fd;
	struct vcpu vcpu;
	__u8 *mem;
};

#define VM_NONE	((struct vm){ .kvm_fd = -1, .vm_fd = -1, .vcpu.fd = -1 })

/* A hypercall's registers. */
struct vm_args {
	__u64 nr, rbx, rcx, rdx, rsi;
};

int vm_create(struct vm *vm);
int vm_create_without_vcpu(struct vm *vm);
void vm_destroy(struct vm *vm);
int vm_set_memslot(struct vm *vm, __u32 slot, __u64 gpa, void *mem, size_t size,
		   __u32 flags);
__s64 vm_hypercall(struct vm *vm, __u64 nr, __u64 rbx, __u64 rcx, __u64 rdx,
		   __u64 rsi);

int vcpu_create(struct vm *vm, struct vcpu *vcpu, unsigned int id);
void vcpu_destroy(struct vcpu *vcpu);
int vcpu_set_cpuid(struct vm *vm, struct vcpu *vcpu, __u32 function, __u32 eax);
int vcpu_set_args(struct vcpu *vcpu, __u64 rip, __u64 rflags,
		  const struct vm_args *args);
int vcpu_run(struct vcpu *vcpu, __u64 *rax);
__s64 vcpu_hypercall(struct vcpu *vcpu, const struct vm_args *args);

/**
 * struct vcpu_call - a hypercall in a thread of its own
 * @vcpu: who makes it
 * @args: its registers
 * @result: rax, once @done
 * @done: it has returned
 */
struct vcpu_call {
	struct vcpu *vcpu;
	struct vm_args args;
	__s64 result;
	atomic_bool done;
	pthread_t thread;	/* private */
};

void vcpu_call_start(struct vcpu_call *call, struct vcpu *vcpu,
		     struct vm_args args);
__s64 vcpu_call_end(struct vcpu_call *call);

#endif /* PVIOMMU_SELFTEST_VM_H */
