// SPDX-License-Identifier: GPL-2.0-only
#include <stdbool.h>
#include <sys/ioctl.h>

#include "vcpu_mode.h"

#define CR0_PE			0x11UL
#define CR0_PG			0x80000000UL
#define CR4_PAE			0x20UL
#define EFER_LMA_LME		0x500UL

#define HV_CPUID_INTERFACE	0x40000001
#define HV_SIGNATURE		0x31237648	/* "Hv#1" */
#define HV_MSR_GUEST_OS_ID	0x40000000

/* System management mode has memslots of its own. */
#define SMM_SLOT		0x10000U

int vcpu_set_mode(struct vcpu *vcpu, enum vcpu_mode mode)
{
	bool long_mode = mode != VCPU_PROTECTED_32;
	bool code64 = mode == VCPU_KERNEL_64 || mode == VCPU_USER_64;
	__u8 dpl = mode == VCPU_USER_64 ? 3 : 0;
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cr0 = CR0_PE | (long_mode ? CR0_PG : 0);
	sregs.cr4 = long_mode ? CR4_PAE : 0;
	sregs.efer = long_mode ? EFER_LMA_LME : 0;
	sregs.cs.l = code64;
	sregs.cs.db = !code64;
	sregs.cs.dpl = dpl;
	sregs.cs.selector = 8 | dpl;
	sregs.ss.dpl = dpl;
	sregs.ss.selector = 16 | dpl;
	return ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}

int vcpu_set_smm(struct vm *vm, struct vcpu *vcpu, bool on)
{
	struct kvm_vcpu_events events;

	if (vm_set_memslot(vm, SMM_SLOT, 0, vm->mem, on ? VM_MEM_SIZE : 0, 0) ||
	    ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events))
		return -1;
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	events.smi.smm = on;
	return ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
}

int vcpu_enable_hyperv(struct vm *vm, struct vcpu *vcpu, bool on)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
		.head.nmsrs = 1,
		.entry = { .index = HV_MSR_GUEST_OS_ID, .data = on },
	};

	if (on && vcpu_set_cpuid(vm, vcpu, HV_CPUID_INTERFACE, HV_SIGNATURE))
		return -1;
	return ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) == 1 ? 0 : -1;
}

int vm_enable_xen(struct vm *vm, bool on)
{
	struct kvm_xen_hvm_config config = {};

	if (on) {
		config.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL;
		config.msr = 0x40000200;
	}
	return ioctl(vm->vm_fd, KVM_XEN_HVM_CONFIG, &config);
}
