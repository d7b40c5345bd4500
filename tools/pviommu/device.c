// SPDX-License-Identifier: GPL-2.0-only
/*
 * The devices: attached to the aperture when the VMM gets their file from
 * VFIO, detached before it closes that.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "preload.h"

/* The VFIO device files of config.devices, in that order; -1: not open. */
static int open_fds[CONFIG_MAX_DEVICES] = {
	[0 ... CONFIG_MAX_DEVICES - 1] = -1,
};

static void attach(unsigned int index)
{
	static const struct reason reasons[] = {
		{ ENOENT, "its aperture is gone" },
		{ EBADF, "its VFIO file is not open" },
		{ EINVAL, "not a VFIO device's file, or the guest address is malformed" },
		{ ENODEV, "this host has no such device, or it is not bound to vfio-pci" },
		{ EAGAIN, "a driver is being bound to it or unbound from it right now" },
		{ EPERM, "its VFIO file is another device's" },
		{ EXDEV, "no IOMMU: boot the host with amd_iommu=on / intel_iommu=on" },
		{ ENOTCONN, "its IOMMU group is not in VFIO's hands" },
		{ EBUSY, "its IOMMU group is in another aperture, perhaps another VM's" },
		{ EEXIST, "it is attached already, or another device has its guest address" },
		{ EACCES, "no interrupt remapping: enable it in the firmware; no intremap=off" },
		{ EADDRINUSE, "firmware demands host memory for it (RMRR, IVMD): use another one" },
		{ EADDRNOTAVAIL, "its IOMMU cannot map the window: change --base or --size" },
		{ ENOSPC, "too much of the window is reserved: change --base or --size" },
		{ EMEDIUMTYPE, "its IOMMU cannot share an aperture with the other devices'" },
		{ EOPNOTSUPP, "the loaded kvm-pviommu is too old: it has no --fallback" },
	};
	struct pviommu_attach attach = {
		.size = sizeof(attach),
		.flags = fallback_attach_flags(),
		.aperture_id = vm.aperture_id,
		.vfio_fd = open_fds[index],
		.host = config.devices[index].host,
		.guest = config.devices[index].guest,
	};
	char name[ADDRESS_HOST_LEN];

	if (real_ioctl(vm.pviommu_fd, PVIOMMU_ATTACH, &attach))
		stop("attach", address_format_host(name, &attach.host),
		     reason(reasons, ARRAY_SIZE(reasons), errno));
}

/**
 * device_attach_all() - attach the devices that were open before the VM
 *
 * Until then they are in VFIO's domain, where nothing is mapped without
 * --fallback.
 *
 * Context: vm.lock held.
 */
void device_attach_all(void)
{
	for (unsigned int i = 0; i < config.nr_devices; i++) {
		if (open_fds[i] >= 0)
			attach(i);
	}
}

/* @name: as VFIO takes it: the address, perhaps a blank and options. */
static void opened(const char *name, int fd)
{
	const struct config_device *device;
	struct pviommu_host_device host;
	char address[ADDRESS_HOST_LEN] = "";
	size_t len = strcspn(name, " ");

	if (config_error)
		stop("confine", name, config_error);
	if (len < sizeof(address))
		memcpy(address, name, len);
	if (!address_parse_host(address, &host))
		stop("confine", name, "it is not a PCI device");
	device = config_find_device(&config, &host);
	if (!device)
		stop("confine", name,
		     "it was not named to `pviommu run': pass --device HOST=GUEST");

	vm.owner = getpid();
	fd_set_to(&open_fds[device - config.devices], fd);
	if (vm.fd >= 0)
		attach(device - config.devices);
}

/**
 * device_open() - handle VFIO_GROUP_GET_DEVICE_FD
 * @fd: a VFIO group
 * @arg: the name of the device
 *
 * Return: as the ioctl.
 */
int device_open(int fd, void *arg)
{
	int ret = real_ioctl(fd, VFIO_GROUP_GET_DEVICE_FD, arg);

	if (ret >= 0) {
		pthread_mutex_lock(&vm.lock);
		opened(arg, ret);
		pthread_mutex_unlock(&vm.lock);
	}
	return ret;
}

/**
 * device_bind_iommufd() - handle VFIO_DEVICE_BIND_IOMMUFD
 * @fd: a VFIO device
 * @arg: as for the ioctl
 *
 * Memory that is mapped through iommufd is not kept from being pinned.
 *
 * Return: never.
 */
int device_bind_iommufd(int fd, void *arg)
{
	(void)fd;
	(void)arg;
	stop("confine", "a device", "iommufd is not supported yet");
}

/**
 * device_is() - look up a file
 * @fd: the file
 *
 * Return: whether it is one of our devices.
 */
bool device_is(int fd)
{
	for (unsigned int i = 0; i < config.nr_devices; i++) {
		if (fd_is(&open_fds[i], fd))
			return true;
	}
	return false;
}

/**
 * device_before_close() - detach a device, so that its VFIO file is let go
 * @fd: the file
 *
 * Context: vm.lock held.
 */
void device_before_close(int fd)
{
	for (unsigned int i = 0; i < config.nr_devices; i++) {
		struct pviommu_detach detach = {
			.size = sizeof(detach),
			.aperture_id = vm.aperture_id,
			.host = config.devices[i].host,
		};

		if (!fd_is(&open_fds[i], fd))
			continue;

		fd_set_to(&open_fds[i], -1);
		/*
		 * When this fails the device is detached already, or stays where
		 * it reaches nothing but the aperture: nothing to stop for.
		 */
		if (vm.pviommu_fd >= 0)
			real_ioctl(vm.pviommu_fd, PVIOMMU_DETACH, &detach);
	}
}

/**
 * device_forget_all() - know of no open device any more
 *
 * Context: vm.lock held.
 */
void device_forget_all(void)
{
	for (unsigned int i = 0; i < config.nr_devices; i++)
		fd_set_to(&open_fds[i], -1);
}
