// SPDX-License-Identifier: GPL-2.0-only
/*
 * The devices: attached to their aperture when VFIO has put them into a domain of
 * its own, detached before the VMM closes their file.
 *
 * A device that comes from a group is in VFIO's domain as soon as it is open. One
 * that is opened by itself, a character device, is bound to an iommufd and then put
 * into one of its page tables. Both may be undone and done again: hot-plug.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "address.h"
#include "iommufd_abi.h"
#include "preload.h"

/* Enough for an address, and to tell that a name is none. */
#define NAME_LEN	64

/*
 * The VFIO device files of config.devices, in no order. A device may have several:
 * it stays attached until the last one that has it in a domain is closed, since the
 * host keeps open the one that it was attached with.
 *
 * @fd: -1: no file. Set under vm.lock; the others are guarded by it
 * @index: which device
 * @in_domain: VFIO has put the device into a domain
 */
static struct file {
	int fd;
	unsigned int index;
	bool in_domain;
} files[2 * CONFIG_MAX_DEVICES] = {
	[0 ... 2 * CONFIG_MAX_DEVICES - 1] = { .fd = -1 },
};

static struct file *find(int fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (fd_is(&files[i].fd, fd))
			return &files[i];
	}
	return NULL;
}

/* A file that has the device in a domain, other than this one. */
static struct file *other_in_domain(unsigned int index, const struct file *file)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (&files[i] != file && files[i].fd >= 0 &&
		    files[i].in_domain && files[i].index == index)
			return &files[i];
	}
	return NULL;
}

/*
 * Attaches a device whose file has it in a domain. A VM that has not started cannot
 * do without it, and is stopped; later a device is only refused.
 */
static bool attach(const struct file *file)
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
	const struct config_device *device = &config.devices[file->index];
	struct pviommu_attach attach = {
		.size = sizeof(attach),
		.flags = fallback_attach_flags(),
		.aperture_id = vm.apertures[device->aperture],
		.vfio_fd = file->fd,
		.host = device->host,
		.guest = device->guest,
	};
	char name[ADDRESS_HOST_LEN];
	const char *why;
	int error;

	if (!real_ioctl(vm.pviommu_fd, PVIOMMU_ATTACH, &attach))
		return true;

	error = errno;
	why = reason(reasons, ARRAY_SIZE(reasons), error);
	address_format_host(name, &attach.host);
	if (!vm.started)
		stop("attach", name, why);
	refuse(name, why);
	errno = error;
	return false;
}

/*
 * Puts a device back into VFIO's hands, unless another file keeps it. When this
 * fails the device is detached already, or stays where it reaches nothing but the
 * aperture: nothing to stop for.
 */
static void detach(const struct file *file)
{
	const struct config_device *device = &config.devices[file->index];
	struct pviommu_detach detach = {
		.size = sizeof(detach),
		.aperture_id = vm.apertures[device->aperture],
		.host = device->host,
	};

	if (vm.pviommu_fd >= 0 && file->in_domain &&
	    !other_in_domain(file->index, file))
		real_ioctl(vm.pviommu_fd, PVIOMMU_DETACH, &detach);
}

static void forget(struct file *file)
{
	fd_set_to(&file->fd, -1);
}

/* VFIO has put the device into a domain. May it be in use? If not, see errno. */
static bool enter(struct file *file)
{
	file->in_domain = vm.fd < 0 || other_in_domain(file->index, file) ||
			  attach(file);
	return file->in_domain;
}

/**
 * device_attach_all() - attach the devices that were in a domain before the VM
 *
 * Until then they are in VFIO's domain, where nothing is mapped without
 * --fallback.
 *
 * Context: vm.lock held.
 */
void device_attach_all(void)
{
	for (unsigned int i = 0; i < config.nr_devices; i++) {
		const struct file *file = other_in_domain(i, NULL);

		if (file)
			attach(file);
	}
}

static const char *find_device(const char *address,
			       const struct config_device **device)
{
	struct pviommu_host_device host;

	if (!*address)
		return "/sys/dev/char does not tell which device it is";
	if (!address_parse_host(address, &host))
		return "it is not a PCI device";
	*device = config_find_device(&config, &host);
	if (!*device)
		return "it was not named to `pviommu run': pass --device HOST=GUEST";
	return NULL;
}

/*
 * The device of this name, which is an address and perhaps a blank and options, or
 * "" if unknown. NULL with errno EPERM, having said why, if it must not be used.
 */
static const struct config_device *named(const char *name)
{
	const struct config_device *device = NULL;
	char address[NAME_LEN];
	const char *why;

	if (config_error)
		stop("confine", *name ? name : "a device", config_error);
	snprintf(address, sizeof(address), "%.*s", (int)strcspn(name, " "),
		 name);
	why = find_device(address, &device);
	if (why) {
		refuse(*name ? name : "a device", why);
		errno = EPERM;
	}
	return device;
}

/* Follows a file from here on. */
static struct file *follow(int fd, const struct config_device *device)
{
	struct file *file = find(fd);

	if (file)
		/* What had this number was closed unseen. */
		detach(file);
	else
		file = find(-1);
	if (!file)
		stop("confine", "a device", "too many are open");

	vm.owner = getpid();
	file->index = device - config.devices;
	file->in_domain = false;
	fd_set_to(&file->fd, fd);
	return file;
}

/**
 * device_open() - handle VFIO_GROUP_GET_DEVICE_FD
 * @fd: a VFIO group
 * @arg: the name of the device
 *
 * Return: as the ioctl; also -EPERM for a device that was not named, and once the
 * VM has started what PVIOMMU_ATTACH fails with.
 */
int device_open(int fd, void *arg)
{
	int ret = real_ioctl(fd, VFIO_GROUP_GET_DEVICE_FD, arg);
	const struct config_device *device;
	struct file *file;
	int error;

	if (ret < 0)
		return ret;

	pthread_mutex_lock(&vm.lock);
	device = named(arg);
	file = device ? follow(ret, device) : NULL;
	if (!file || !enter(file)) {
		error = errno;
		if (file)
			forget(file);
		real_close(ret);
		errno = error;
		ret = -1;
	}
	pthread_mutex_unlock(&vm.lock);
	return ret;
}

/*
 * Tells a VFIO device's own file from any other, and finds the device's name, ""
 * if there is no sysfs.
 */
static bool is_cdev(int fd, char name[NAME_LEN])
{
	char path[64], target[1024];
	struct stat st;
	ssize_t len;
	char *end;

	name[0] = '\0';
	if (fstat(fd, &st) || !S_ISCHR(st.st_mode))
		return false;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return true;
	target[len] = '\0';

	/* ../../devices/.../0000:00:11.0/vfio-dev/vfio0 */
	end = strstr(target, "/vfio-dev/");
	if (!end)
		return false;
	*end = '\0';
	end = strrchr(target, '/');
	snprintf(name, NAME_LEN, "%.*s", NAME_LEN - 1, end ? end + 1 : target);
	return true;
}

/**
 * device_bind() - handle VFIO_DEVICE_BIND_IOMMUFD
 * @fd: a VFIO device, or any file
 * @arg: as for the ioctl
 *
 * Return: as the ioctl; also -EPERM for a device that was not named.
 */
int device_bind(int fd, void *arg)
{
	const struct config_device *device;
	char name[NAME_LEN];
	int ret = -1;

	if (!is_cdev(fd, name))
		return real_ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, arg);

	pthread_mutex_lock(&vm.lock);
	device = named(name);
	if (device)
		ret = real_ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, arg);
	if (!ret)
		follow(fd, device);
	pthread_mutex_unlock(&vm.lock);
	return ret;
}

/*
 * The host would let VFIO take the device out of the aperture, and nobody but the
 * host's administrator would be told. It is in the right place already.
 */
static int stay(const struct vfio_device_attach_iommufd_pt *attach)
{
	if (attach->argsz >= sizeof(*attach) && !attach->flags)
		return 0;
	errno = EINVAL;
	return -1;
}

static int attach_pt(struct file *file, void *arg)
{
	struct vfio_device_detach_iommufd_pt undo = { .argsz = sizeof(undo) };
	bool was_in_domain = file->in_domain;
	int ret, error;

	if (was_in_domain && vm.fd >= 0) {
		if (!fallback_is_pinning())
			return stay(arg);
		/* VFIO's domain still counts, and may be changed. */
		detach(file);
	}

	ret = real_ioctl(file->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, arg);
	error = errno;
	if (!ret || was_in_domain) {
		if (!enter(file)) {
			error = errno;
			if (real_ioctl(file->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT,
				       &undo))
				stop("confine", "a device", strerror(errno));
			ret = -1;
		}
	}
	errno = error;
	return ret;
}

/**
 * device_attach_pt() - handle VFIO_DEVICE_ATTACH_IOMMUFD_PT
 * @fd: a VFIO device, or any file
 * @arg: as for the ioctl
 *
 * Not before VFIO has put the device into a domain: it would find the group in
 * another's.
 *
 * Return: as the ioctl; also -EPERM for a device that was not named, and once the
 * VM has started what PVIOMMU_ATTACH fails with.
 */
int device_attach_pt(int fd, void *arg)
{
	const struct config_device *device;
	struct file *file;
	char name[NAME_LEN];
	int ret = -1;

	if (!is_cdev(fd, name))
		return real_ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, arg);

	pthread_mutex_lock(&vm.lock);
	file = find(fd);
	/* Bound by whoever started the VMM, or a duplicate. */
	if (!file) {
		device = named(name);
		file = device ? follow(fd, device) : NULL;
	}
	if (file)
		ret = attach_pt(file, arg);
	pthread_mutex_unlock(&vm.lock);
	return ret;
}

/**
 * device_detach_pt() - handle VFIO_DEVICE_DETACH_IOMMUFD_PT
 * @fd: a VFIO device, or any file
 * @arg: as for the ioctl
 *
 * Return: as the ioctl.
 */
int device_detach_pt(int fd, void *arg)
{
	const struct vfio_device_detach_iommufd_pt *asked = arg;
	char name[NAME_LEN];
	struct file *file;
	int ret;

	if (!is_cdev(fd, name))
		return real_ioctl(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, arg);

	pthread_mutex_lock(&vm.lock);
	file = find(fd);
	/* What is malformed VFIO refuses. */
	if (file && asked->argsz >= sizeof(*asked) && !asked->flags) {
		detach(file);
		file->in_domain = false;
	}
	ret = real_ioctl(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, arg);
	pthread_mutex_unlock(&vm.lock);
	return ret;
}

/**
 * device_is() - look up a file
 * @fd: the file
 *
 * Return: whether it is one of our devices.
 */
bool device_is(int fd)
{
	return find(fd);
}

/**
 * device_before_close() - detach a device, so that its VFIO file is let go
 * @fd: the file
 *
 * Context: vm.lock held.
 */
void device_before_close(int fd)
{
	struct file *file = find(fd);

	if (file) {
		detach(file);
		forget(file);
	}
}

/**
 * device_forget_all() - know of no open device any more
 *
 * Context: vm.lock held.
 */
void device_forget_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		forget(&files[i]);
}
