// SPDX-License-Identifier: GPL-2.0-only
/* Is the host ready: the module, the devices, their drivers, the IOMMU. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "address.h"
#include "launcher.h"
#include <linux/pviommu_abi.h>

#define SYSFS_PCI	"/sys/bus/pci"

/*
 * The last component of what a link in a device's folder points to. False with
 * errno ENOENT when there is no such link.
 */
static bool link_name(const struct pviommu_host_device *device,
		      const char *link, char *name, size_t size)
{
	char path[128], host[ADDRESS_HOST_LEN], target[1024];
	ssize_t len;
	char *base;

	snprintf(path, sizeof(path), SYSFS_PCI "/devices/%s/%s",
		 address_format_host(host, device), link);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';

	base = strrchr(target, '/');
	snprintf(name, size, "%s", base ? base + 1 : target);
	return true;
}

/**
 * host_group() - find a device's IOMMU group
 * @device: the device
 * @group: the result, the group's number
 * @size: of @group, in bytes
 *
 * Return: whether it has one.
 */
bool host_group(const struct pviommu_host_device *device, char *group,
		size_t size)
{
	return link_name(device, "iommu_group", group, size);
}

/**
 * host_check_module() - check that the host module is there and usable
 * @length: the window that it must be able to make, in bytes; 0 if any will do
 *
 * Return: whether it is. If not, says why.
 */
bool host_check_module(__u64 length)
{
	struct pviommu_info info = { .size = sizeof(info) };
	int fd = open(PVIOMMU_DEV, O_RDWR | O_CLOEXEC);
	int ret;

	if (fd < 0) {
		if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
			pr_err("no /dev/pviommu: the module is missing; load it: modprobe kvm-pviommu");
		else if (errno == EACCES || errno == EPERM)
			pr_err("no permission to open /dev/pviommu: run as root, or give this user access to it");
		else
			pr_err("cannot open " PVIOMMU_DEV ": %s",
			       strerror(errno));
		return false;
	}

	ret = ioctl(fd, PVIOMMU_INFO, &info);
	if (ret) {
		pr_err(PVIOMMU_DEV " does not answer as pviommu's (%s): is kvm-pviommu of this version loaded?",
		       strerror(errno));
	} else if (info.out_abi_version != PVIOMMU_ABI_VERSION) {
		pr_err("the loaded kvm-pviommu has ABI version %u, this program %u: install the same version of both",
		       info.out_abi_version, PVIOMMU_ABI_VERSION);
		ret = -1;
	} else if (length > info.out_max_window) {
		pr_err("--size is %llu bytes, but kvm-pviommu makes windows of at most %llu",
		       length, info.out_max_window);
		ret = -1;
	}
	close(fd);
	return !ret;
}

static bool is_vfio_pci(const char *driver)
{
	/* vfio-pci itself and its variants: mlx5_vfio_pci, qat_vfio_pci... */
	return strstr(driver, "vfio") && strstr(driver, "pci");
}

/*
 * Whether firmware has the kernel map host memory for a device of the group, one
 * to one and for good. "direct-relaxable" is what a driver can do without, as USB
 * and graphics do; pviommu and VFIO take those away.
 */
static bool needs_host_memory(const char *group)
{
	char path[96], line[128], type[32];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path),
		 "/sys/kernel/iommu_groups/%s/reserved_regions", group);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*s %*s %31s", type) == 1 &&
		    !strcmp(type, "direct"))
			found = true;
	}
	fclose(file);
	return found;
}

/**
 * host_check_device() - check that a device can be given to a guest
 * @device: the device
 *
 * Return: whether it can. If not, says why.
 */
bool host_check_device(const struct pviommu_host_device *device)
{
	char name[ADDRESS_HOST_LEN], path[64], group[32], driver[64];

	address_format_host(name, device);
	snprintf(path, sizeof(path), SYSFS_PCI "/devices/%s", name);
	if (access(path, F_OK)) {
		pr_err("%s: this host has no such PCI device (lspci -D lists those that it has)",
		       name);
		return false;
	}

	/* Before the driver: without an IOMMU, vfio-pci does not bind. */
	if (!host_group(device, group, sizeof(group))) {
		pr_err("%s: not in an IOMMU group, so there is no IOMMU: switch it on in the firmware and boot the host with amd_iommu=on or intel_iommu=on",
		       name);
		return false;
	}
	if (needs_host_memory(group)) {
		pr_err("%s: cannot be passed through: firmware demands that a device of its IOMMU group %s reaches memory of the host (RMRR, IVMD); disable in the firmware what uses it so, such as remote management, or use another device",
		       name, group);
		return false;
	}

	if (!link_name(device, "driver", driver, sizeof(driver))) {
		pr_err("%s: bound to no driver; bind it: echo vfio-pci > %s/driver_override; echo %s > /sys/bus/pci/drivers_probe",
		       name, path, name);
		return false;
	}
	if (!is_vfio_pci(driver)) {
		pr_err("%s: bound to %s, not to vfio-pci; bind it: echo vfio-pci > %s/driver_override; echo %s > %s/driver/unbind; echo %s > /sys/bus/pci/drivers_probe",
		       name, driver, path, name, path, name);
		return false;
	}
	return true;
}
