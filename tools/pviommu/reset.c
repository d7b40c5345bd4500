// SPDX-License-Identifier: GPL-2.0-only
/*
 * A reset of the VM, told by the boot vCPU being put at the reset vector.
 *
 * QEMU sets KVM_SET_SREGS and then KVM_SET_REGS for every vCPU after a reset,
 * and the same two, with other values, for migration and debuggers. Either
 * order counts here. The two together count once: at the start of a VM, QEMU
 * sets both a second time, which resets what nothing has used yet.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "preload.h"

#define RESET_RIP	0xfff0
#define RESET_CS_BASE	0xffff0000

enum {
	SEEN_RIP = 1 << 0,
	SEEN_CS_BASE = 1 << 1,
	SEEN_ALL = SEEN_RIP | SEEN_CS_BASE,
};

/* Which halves of the reset vector the boot vCPU was given. By vm.lock. */
static unsigned int seen;

static void reset(void)
{
	struct pviommu_reset reset = {
		.size = sizeof(reset),
		.aperture_id = PVIOMMU_APERTURE_ALL,
	};

	if (real_ioctl(vm.pviommu_fd, PVIOMMU_RESET, &reset))
		stop("reset", "the aperture", strerror(errno));
}

static void see(int fd, unsigned int half, bool is_reset)
{
	pthread_mutex_lock(&vm.lock);
	if (fd_is(&vm.boot_vcpu_fd, fd)) {
		vm.started = true;
		seen = is_reset ? seen | half : seen & ~half;
		if (seen == SEEN_ALL) {
			seen = 0;
			reset();
		}
	}
	pthread_mutex_unlock(&vm.lock);
}

/**
 * reset_forget() - start over, with a new boot vCPU or none
 *
 * Context: vm.lock held.
 */
void reset_forget(void)
{
	seen = 0;
}

/**
 * reset_set_regs() - handle KVM_SET_REGS
 * @fd: a vCPU
 * @arg: as for the ioctl
 *
 * Return: as the ioctl.
 */
int reset_set_regs(int fd, void *arg)
{
	const struct kvm_regs *regs = arg;
	int ret = real_ioctl(fd, KVM_SET_REGS, arg);

	if (!ret && fd_is(&vm.boot_vcpu_fd, fd))
		see(fd, SEEN_RIP, regs->rip == RESET_RIP);
	return ret;
}

/**
 * reset_set_sregs() - handle KVM_SET_SREGS
 * @fd: a vCPU
 * @arg: as for the ioctl
 *
 * Return: as the ioctl.
 */
int reset_set_sregs(int fd, void *arg)
{
	const struct kvm_sregs *sregs = arg;
	int ret = real_ioctl(fd, KVM_SET_SREGS, arg);

	if (!ret && fd_is(&vm.boot_vcpu_fd, fd))
		see(fd, SEEN_CS_BASE, sregs->cs.base == RESET_CS_BASE);
	return ret;
}

/**
 * reset_set_sregs2() - handle KVM_SET_SREGS2
 * @fd: a vCPU
 * @arg: as for the ioctl
 *
 * Return: as the ioctl.
 */
int reset_set_sregs2(int fd, void *arg)
{
	const struct kvm_sregs2 *sregs = arg;
	int ret = real_ioctl(fd, KVM_SET_SREGS2, arg);

	if (!ret && fd_is(&vm.boot_vcpu_fd, fd))
		see(fd, SEEN_CS_BASE, sregs->cs.base == RESET_CS_BASE);
	return ret;
}
