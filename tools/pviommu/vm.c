// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM: bound to a pviommu of its own, with its apertures, as soon as it is
 * created, and until its file is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

struct vm vm = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.fd = -1,
	.boot_vcpu_fd = -1,
	.pviommu_fd = -1,
};

static void bind_vm(void)
{
	static const struct reason reasons[] = {
		{ EBUSY, "it has a pviommu already" },
		{ EOPNOTSUPP, "its memory is encrypted or private, or it has a dirty ring" },
		{ EINVAL, "kvm-pviommu does not know it as a VM of KVM" },
		{ EPERM, "it belongs to another process" },
	};
	struct pviommu_bind_vm bind = {
		.size = sizeof(bind),
		.vm_fd = vm.fd,
	};

	vm.pviommu_fd = open(PVIOMMU_DEV, O_RDWR | O_CLOEXEC);
	if (vm.pviommu_fd < 0)
		stop("open", PVIOMMU_DEV, strerror(errno));
	if (real_ioctl(vm.pviommu_fd, PVIOMMU_BIND_VM, &bind))
		stop("bind", "the VM",
		     reason(reasons, ARRAY_SIZE(reasons), errno));
}

static void create_aperture(unsigned int number)
{
	static const struct reason reasons[] = {
		{ EINVAL, "its base or length is 0 or not a multiple of 4096" },
		{ EOVERFLOW, "it is too long, or ends above 2^64" },
		{ ERANGE, "its budget is more than the pages of its window" },
		{ ENOSPC, "the VM has as many as it can have" },
	};
	struct pviommu_create_aperture create = {
		.size = sizeof(create),
		.base = config.base,
		.length = config.length,
		.budget = config.budget,
	};

	if (real_ioctl(vm.pviommu_fd, PVIOMMU_CREATE_APERTURE, &create))
		stop("create", "the aperture",
		     reason(reasons, ARRAY_SIZE(reasons), errno));
	vm.apertures[number] = create.out_aperture_id;
}

/**
 * vm_create() - handle KVM_CREATE_VM
 * @fd: KVM
 * @arg: as for the ioctl
 *
 * Return: as the ioctl.
 */
int vm_create(int fd, void *arg)
{
	int ret = real_ioctl(fd, KVM_CREATE_VM, arg);

	if (ret < 0)
		return ret;

	pthread_mutex_lock(&vm.lock);
	if (config_error)
		stop("confine", "this VM", config_error);
	if (vm.fd >= 0)
		stop("confine", "this VM",
		     "the VMM has another one open, and one is supported");

	vm.owner = getpid();
	fd_set_to(&vm.fd, ret);
	bind_vm();
	for (unsigned int i = 0; i < config_apertures(&config); i++)
		create_aperture(i);
	device_attach_all();
	fallback_start();

	guard_dismiss();
	config_clear_environment();
	pthread_mutex_unlock(&vm.lock);
	return ret;
}

/**
 * vm_create_vcpu() - handle KVM_CREATE_VCPU
 * @fd: a VM
 * @arg: the vCPU's number
 *
 * Return: as the ioctl.
 */
int vm_create_vcpu(int fd, void *arg)
{
	int ret = real_ioctl(fd, KVM_CREATE_VCPU, arg);

	if (ret >= 0 && !arg && fd_is(&vm.fd, fd)) {
		pthread_mutex_lock(&vm.lock);
		fd_set_to(&vm.boot_vcpu_fd, ret);
		reset_forget();
		pthread_mutex_unlock(&vm.lock);
	}
	return ret;
}

static void release_vm(void)
{
	if (vm.pviommu_fd >= 0)
		real_close(vm.pviommu_fd);
	vm.pviommu_fd = -1;
	vm.started = false;
	fd_set_to(&vm.fd, -1);
	fd_set_to(&vm.boot_vcpu_fd, -1);
	reset_forget();
}

/**
 * vm_forget() - close our file, and know of no VM, device or container any more
 *
 * Context: vm.lock held.
 */
void vm_forget(void)
{
	release_vm();
	device_forget_all();
	fallback_forget();
}

/**
 * vm_before_close() - handle close()
 * @fd: what will be closed
 */
void vm_before_close(int fd)
{
	if (fd < 0 || (!fd_is(&vm.fd, fd) && !fd_is(&vm.boot_vcpu_fd, fd) &&
		       !device_is(fd) && !fallback_is_mapped(fd)))
		return;

	/* A vfork()ed child closes its own copies. */
	if (getpid() != vm.owner)
		return;

	pthread_mutex_lock(&vm.lock);
	if (fd_is(&vm.fd, fd))
		release_vm();
	else if (fd_is(&vm.boot_vcpu_fd, fd))
		fd_set_to(&vm.boot_vcpu_fd, -1);
	else if (device_is(fd))
		device_before_close(fd);
	else
		fallback_before_close(fd);
	pthread_mutex_unlock(&vm.lock);
}
