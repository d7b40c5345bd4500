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

/* Guest physical addresses of what the vCPU needs. */
#define PML4	0x1000UL
#define PDPT	0x2000UL
#define PD	0x3000UL
#define CODE	0x8000UL

#define PTE_PRESENT_WRITE	0x3UL
#define PTE_LARGE		0x80UL

static void setup_code(struct vm *vm)
{
	static const __u8 vmcall[] = { 0x0f, 0x01, 0xc1, 0xf4 };
	static const __u8 vmmcall[] = { 0x0f, 0x01, 0xd9, 0xf4 };
	__u32 eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	memcpy(vm->mem + CODE, ebx == signature_INTEL_ebx ? vmcall : vmmcall,
	       sizeof(vmcall));
}

/* The first GiB, one to one. */
static void setup_page_tables(struct vm *vm)
{
	__u64 *pd = (__u64 *)(vm->mem + PD);
	__u64 i;

	*(__u64 *)(vm->mem + PML4) = PDPT | PTE_PRESENT_WRITE;
	*(__u64 *)(vm->mem + PDPT) = PD | PTE_PRESENT_WRITE;
	for (i = 0; i < 512; i++)
		pd[i] = i << 21 | PTE_PRESENT_WRITE | PTE_LARGE;
}

/* KVM takes 64-bit mode only from a vCPU that has it. */
static int setup_cpuid(struct vm *vm)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[128];
	} cpuid = { .head.nent = 128 };

	return ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid) ?:
	       ioctl(vm->vcpu_fd, KVM_SET_CPUID2, &cpuid);
}

static int setup_long_mode(struct vm *vm)
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

	if (ioctl(vm->vcpu_fd, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cr0 = 0x80000011;		/* PG, ET, PE */
	sregs.cr3 = PML4;
	sregs.cr4 = 0x20;		/* PAE */
	sregs.efer = 0x500;		/* LMA, LME */
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	return ioctl(vm->vcpu_fd, KVM_SET_SREGS, &sregs);
}

/* Returns 0, or -1 with errno set; vm_destroy() cleans up in both cases. */
int vm_create(struct vm *vm)
{
	int size;

	*vm = (struct vm){ .kvm_fd = -1, .vm_fd = -1, .vcpu_fd = -1 };

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

	vm->vcpu_fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu_fd < 0)
		return -1;
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0)
		return -1;
	vm->run_size = size;
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       vm->vcpu_fd, 0);
	if (vm->run == MAP_FAILED) {
		vm->run = NULL;
		return -1;
	}

	setup_code(vm);
	setup_page_tables(vm);
	return setup_cpuid(vm) ?: setup_long_mode(vm);
}

void vm_destroy(struct vm *vm)
{
	if (vm->run)
		munmap(vm->run, vm->run_size);
	if (vm->vcpu_fd >= 0)
		close(vm->vcpu_fd);
	if (vm->vm_fd >= 0)
		close(vm->vm_fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	if (vm->mem)
		munmap(vm->mem, VM_MEM_SIZE);
	*vm = (struct vm){ .kvm_fd = -1, .vm_fd = -1, .vcpu_fd = -1 };
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

/*
 * Returns what the guest finds in rax. A vCPU that does not get as far as its HLT
 * is a broken test: there is no result then, and the process ends.
 */
__s64 vm_hypercall(struct vm *vm, __u64 nr, __u64 rbx, __u64 rcx, __u64 rdx,
		   __u64 rsi)
{
	struct kvm_regs regs = {
		.rax = nr, .rbx = rbx, .rcx = rcx, .rdx = rdx, .rsi = rsi,
		.rip = CODE, .rflags = 2,
	};

	if (ioctl(vm->vcpu_fd, KVM_SET_REGS, &regs) ||
	    ioctl(vm->vcpu_fd, KVM_RUN, 0) ||
	    ioctl(vm->vcpu_fd, KVM_GET_REGS, &regs) ||
	    vm->run->exit_reason != KVM_EXIT_HLT) {
		fprintf(stderr, "vCPU: exit reason %u, errno %d\n",
			vm->run->exit_reason, errno);
		_exit(1);
	}
	return regs.rax;
}
