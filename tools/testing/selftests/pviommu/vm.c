// SPDX-License-Identifier: GPL-2.0-only
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define PDPT	0x2000UL
#define PD	0x3000UL

/* For user mode, too. */
#define PTE_PRESENT_WRITE	0x7UL
#define PTE_LARGE		0x80UL

static void setup_code(struct vm *vm)
{
	static const __u8 vmcall[] = { 0x0f, 0x01, 0xc1 };
	static const __u8 vmmcall[] = { 0x0f, 0x01, 0xd9 };
	static const __u8 hlt[] = { 0xf4 };
	static const __u8 out[] = { 0xe6, 0x10 };
	__u32 eax, ebx, ecx, edx;
	const __u8 *call;

	__cpuid(0, eax, ebx, ecx, edx);
	call = ebx == signature_INTEL_ebx ? vmcall : vmmcall;
	memcpy(vm->mem + VM_CODE, call, sizeof(vmcall));
	memcpy(vm->mem + VM_CODE + sizeof(vmcall), hlt, sizeof(hlt));
	memcpy(vm->mem + VM_CODE_IO, call, sizeof(vmcall));
	memcpy(vm->mem + VM_CODE_IO + sizeof(vmcall), out, sizeof(out));
}

/* The first GiB, one to one. */
static void setup_page_tables(struct vm *vm)
{
	__u64 *pd = (__u64 *)(vm->mem + PD);
	__u64 i;

	*(__u64 *)(vm->mem + VM_PML4) = PDPT | PTE_PRESENT_WRITE;
	*(__u64 *)(vm->mem + PDPT) = PD | PTE_PRESENT_WRITE;
	for (i = 0; i < 512; i++)
		pd[i] = i << 21 | PTE_PRESENT_WRITE | PTE_LARGE;
}

/*
 * KVM takes 64-bit mode only from a vCPU that has it. Leaf @function, if the host
 * has it and @function is not 0, gets @eax.
 */
int vcpu_set_cpuid(struct vm *vm, struct vcpu *vcpu, __u32 function, __u32 eax)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[128];
	} cpuid = { .head.nent = 128 };
	unsigned int i;

	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid))
		return -1;
	for (i = 0; i < cpuid.head.nent; i++) {
		if (function && cpuid.entries[i].function == function)
			cpuid.entries[i].eax = eax;
	}
	return ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid);
}

static int setup_long_mode(struct vcpu *vcpu)
{
	const struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1,
		.s = 1, .l = 1, .g = 1,
	};
	const struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1,
		.s = 1, .db = 1, .g = 1,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cr0 = 0x80000011;		/* PG, ET, PE */
	sregs.cr3 = VM_PML4;
	sregs.cr4 = 0x20;		/* PAE */
	sregs.efer = 0x500;		/* LMA, LME */
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	return ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}

/* Returns 0, or -1 with errno set; vcpu_destroy() cleans up in both cases. */
int vcpu_create(struct vm *vm, struct vcpu *vcpu, unsigned int id)
{
	int size;

	*vcpu = (struct vcpu){ .fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, id) };
	if (vcpu->fd < 0)
		return -1;
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0)
		return -1;
	vcpu->run_size = size;
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		return -1;
	}
	return vcpu_set_cpuid(vm, vcpu, 0, 0) ?: setup_long_mode(vcpu);
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	*vcpu = (struct vcpu){ .fd = -1 };
}

/* Return 0, or -1 with errno set; vm_destroy() cleans up in both cases. */
int vm_create_without_vcpu(struct vm *vm)
{
	*vm = VM_NONE;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return -1;
	vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->vm_fd < 0)
		return -1;

	vm->mem = mmap(NULL, VM_MEM_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->mem == MAP_FAILED) {
		vm->mem = NULL;
		return -1;
	}
	if (vm_set_memslot(vm, 0, 0, vm->mem, VM_MEM_SIZE, 0))
		return -1;

	setup_code(vm);
	setup_page_tables(vm);
	return 0;
}

int vm_create(struct vm *vm)
{
	return vm_create_without_vcpu(vm) ?: vcpu_create(vm, &vm->vcpu, 0);
}

void vm_destroy(struct vm *vm)
{
	vcpu_destroy(&vm->vcpu);
	if (vm->vm_fd >= 0)
		close(vm->vm_fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	if (vm->mem)
		munmap(vm->mem, VM_MEM_SIZE);
	*vm = VM_NONE;
}

int vm_set_memslot(struct vm *vm, __u32 slot, __u64 gpa, void *mem, size_t size,
		   __u32 flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (__u64)mem,
	};

	return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

/* These return 0, or -1 with errno. */
int vcpu_set_args(struct vcpu *vcpu, __u64 rip, __u64 rflags,
		  const struct vm_args *args)
{
	struct kvm_regs regs = {
		.rax = args->nr, .rbx = args->rbx, .rcx = args->rcx,
		.rdx = args->rdx, .rsi = args->rsi, .rip = rip,
		.rflags = rflags | 2,
	};

	return ioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

/* To the next exit. */
int vcpu_run(struct vcpu *vcpu, __u64 *rax)
{
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_RUN, 0) ||
	    ioctl(vcpu->fd, KVM_GET_REGS, &regs))
		return -1;
	*rax = regs.rax;
	return 0;
}

/*
 * Returns what the guest finds in rax. A vCPU that does not get as far as its HLT
 * is a broken test: there is no result then, and the process ends.
 */
__s64 vcpu_hypercall(struct vcpu *vcpu, const struct vm_args *args)
{
	__u64 rax;

	if (vcpu_set_args(vcpu, VM_CODE, 0, args) || vcpu_run(vcpu, &rax) ||
	    vcpu->run->exit_reason != KVM_EXIT_HLT) {
		fprintf(stderr, "vCPU: exit reason %u, errno %d\n",
			vcpu->run->exit_reason, errno);
		_exit(1);
	}
	return rax;
}

__s64 vm_hypercall(struct vm *vm, __u64 nr, __u64 rbx, __u64 rcx, __u64 rdx,
		   __u64 rsi)
{
	const struct vm_args args = { nr, rbx, rcx, rdx, rsi };

	return vcpu_hypercall(&vm->vcpu, &args);
}

static void *call_thread(void *data)
{
	struct vcpu_call *call = data;

	call->result = vcpu_hypercall(call->vcpu, &call->args);
	atomic_store(&call->done, true);
	return NULL;
}

void vcpu_call_start(struct vcpu_call *call, struct vcpu *vcpu,
		     struct vm_args args)
{
	call->vcpu = vcpu;
	call->args = args;
	atomic_init(&call->done, false);
	if (pthread_create(&call->thread, NULL, call_thread, call)) {
		perror("pthread_create");
		_exit(1);
	}
}

/* Waits for it, and returns its result. */
__s64 vcpu_call_end(struct vcpu_call *call)
{
	pthread_join(call->thread, NULL);
	return call->result;
}
