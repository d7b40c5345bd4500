// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who is answered. A VM has a pviommu, and one of its vCPUs calls in a way that is
 * not the guest ABI's: the answer is KVM's own. The same vCPU in 64-bit mode at
 * CPL 0 is answered by the pviommu, before and after.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "vcpu_mode.h"

#define KVM_ENOSYS_RC		(-1000)
#define KVM_EPERM_RC		(-1)
#define HV_INVALID_CODE		2
#define HV_NO_SUCH_CODE		0x7777

/* Headers of an older kernel do not have it. */
#ifndef KVM_CAP_VM_TYPES
#define KVM_CAP_VM_TYPES	235
#endif

#define PROBED	((__s64)sizeof(struct pviommu_probe_info))

static const struct vm_args probe_args = {
	.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_PROBE, .rcx = GPA_BUFFER,
	.rdx = VM_PAGE_SIZE,
};

FIXTURE(mode) {
	struct ctx ctx;
};

FIXTURE_SETUP(mode)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, false));
	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	ASSERT_EQ(PROBED, vcpu_hypercall(&self->ctx.vm.vcpu, &probe_args));
}

FIXTURE_TEARDOWN(mode)
{
	EXPECT_EQ(PROBED, vcpu_hypercall(&self->ctx.vm.vcpu, &probe_args));
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(mode, user_mode)
{
	struct vcpu *vcpu = &self->ctx.vm.vcpu;
	const __u64 iopl3 = 0x3000;
	__u64 rax;

	ASSERT_EQ(0, vcpu_set_mode(vcpu, VCPU_USER_64));
	ASSERT_EQ(0, vcpu_set_args(vcpu, VM_CODE_IO, iopl3, &probe_args));
	ASSERT_EQ(0, vcpu_run(vcpu, &rax));
	EXPECT_EQ(KVM_EXIT_IO, vcpu->run->exit_reason);
	EXPECT_EQ(KVM_EPERM_RC, (__s64)rax);
	ASSERT_EQ(0, vcpu_set_mode(vcpu, VCPU_KERNEL_64));
}

TEST_F(mode, compatibility_mode)
{
	struct vcpu *vcpu = &self->ctx.vm.vcpu;

	ASSERT_EQ(0, vcpu_set_mode(vcpu, VCPU_COMPAT_32));
	EXPECT_EQ((__u32)KVM_ENOSYS_RC, vcpu_hypercall(vcpu, &probe_args));
	ASSERT_EQ(0, vcpu_set_mode(vcpu, VCPU_KERNEL_64));
}

TEST_F(mode, protected_mode)
{
	struct vcpu *vcpu = &self->ctx.vm.vcpu;

	ASSERT_EQ(0, vcpu_set_mode(vcpu, VCPU_PROTECTED_32));
	EXPECT_EQ((__u32)KVM_ENOSYS_RC, vcpu_hypercall(vcpu, &probe_args));
	ASSERT_EQ(0, vcpu_set_mode(vcpu, VCPU_KERNEL_64));
}

TEST_F(mode, system_management_mode)
{
	struct vm *vm = &self->ctx.vm;

	ASSERT_EQ(0, vcpu_set_smm(vm, &vm->vcpu, true));
	EXPECT_EQ(KVM_ENOSYS_RC, vcpu_hypercall(&vm->vcpu, &probe_args));
	ASSERT_EQ(0, vcpu_set_smm(vm, &vm->vcpu, false));
}

TEST_F(mode, hyperv)
{
	const struct vm_args args = {
		.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_PROBE,
		.rcx = HV_NO_SUCH_CODE,
	};
	struct vm *vm = &self->ctx.vm;
	struct vcpu vcpu;

	ASSERT_EQ(0, vcpu_create(vm, &vcpu, 1));
	ASSERT_EQ(0, vcpu_enable_hyperv(vm, &vcpu, true));
	EXPECT_EQ(HV_INVALID_CODE, vcpu_hypercall(&vcpu, &args));
	/* It is the guest that chooses. */
	ASSERT_EQ(0, vcpu_enable_hyperv(vm, &vcpu, false));
	EXPECT_EQ(PROBED, vcpu_hypercall(&vcpu, &probe_args));
	vcpu_destroy(&vcpu);
}

TEST_F(mode, xen)
{
	struct vm *vm = &self->ctx.vm;
	struct kvm_run *run = vm->vcpu.run;
	__u64 rax;

	ASSERT_EQ(0, vm_enable_xen(vm, true));
	ASSERT_EQ(0, vcpu_set_args(&vm->vcpu, VM_CODE, 0, &probe_args));
	ASSERT_EQ(0, vcpu_run(&vm->vcpu, &rax));
	EXPECT_EQ(KVM_EXIT_XEN, run->exit_reason);
	EXPECT_EQ(KVM_HC_PVIOMMU, run->xen.u.hcall.input);
	EXPECT_EQ(KVM_HC_PVIOMMU, rax);
	/* The VMM answers. */
	run->xen.u.hcall.result = 77;
	ASSERT_EQ(0, vcpu_run(&vm->vcpu, &rax));
	EXPECT_EQ(KVM_EXIT_HLT, run->exit_reason);
	EXPECT_EQ(77, rax);
	ASSERT_EQ(0, vm_enable_xen(vm, false));
}

/* KVM_RUN returns right behind the instruction; the result is there none the less. */
TEST_F(mode, single_step)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	struct vcpu *vcpu = &self->ctx.vm.vcpu;
	__u64 rax;

	/* KVM steps from where the vCPU is now. */
	ASSERT_EQ(0, vcpu_set_args(vcpu, VM_CODE, 0, &probe_args));
	ASSERT_EQ(0, ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug));
	ASSERT_EQ(0, vcpu_run(vcpu, &rax));
	EXPECT_EQ(KVM_EXIT_DEBUG, vcpu->run->exit_reason);
	EXPECT_EQ(PROBED, (__s64)rax);
	debug.control = 0;
	ASSERT_EQ(0, ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug));
}

/* A second vCPU is served as the first; a VM without a pviommu, not at all. */
TEST_F(mode, which_vm)
{
	struct vm *vm = &self->ctx.vm, other;
	struct vcpu vcpu;

	ASSERT_EQ(0, vcpu_create(vm, &vcpu, 1));
	EXPECT_EQ(PROBED, vcpu_hypercall(&vcpu, &probe_args));
	vcpu_destroy(&vcpu);

	ASSERT_EQ(0, vm_create(&other));
	EXPECT_EQ(KVM_ENOSYS_RC, vcpu_hypercall(&other.vcpu, &probe_args));
	vm_destroy(&other);
}

/*
 * VMs whose memory or registers the host does not see are refused. Which types
 * there are is the host's; an emulated one has only the default.
 */
TEST_F(mode, vm_types)
{
	int types = ioctl(self->ctx.vm.kvm_fd, KVM_CHECK_EXTENSION,
			  KVM_CAP_VM_TYPES);
	unsigned int type;
	int fd, vm_fd;

	ASSERT_EQ(1, types & 1);
	for (type = 1; type < 31; type++) {
		vm_fd = ioctl(self->ctx.vm.kvm_fd, KVM_CREATE_VM, type);
		EXPECT_EQ(types >> type & 1, vm_fd >= 0);
		if (vm_fd < 0)
			continue;
		fd = open("/dev/pviommu", O_RDWR);
		ASSERT_LE(0, fd);
		EXPECT_EQ(-1, __bind(fd, vm_fd));
		EXPECT_EQ(EOPNOTSUPP, errno);
		close(fd);
		close(vm_fd);
	}
}

TEST_HARNESS_MAIN
