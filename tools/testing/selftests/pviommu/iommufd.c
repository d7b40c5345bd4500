// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "iommufd.h"

/* Of linux/iommufd.h, which systems may not have. */
#define IOMMUFD_IOCTL(_nr)	_IO(';', _nr)
#define IOAS_ALLOC		IOMMUFD_IOCTL(0x81)
#define IOAS_MAP		IOMMUFD_IOCTL(0x85)
#define IOAS_UNMAP		IOMMUFD_IOCTL(0x86)
#define HWPT_ALLOC		IOMMUFD_IOCTL(0x89)

#define MAP_FIXED_IOVA		1U
#define MAP_WRITEABLE		2U
#define MAP_READABLE		4U

int iommufd_open(void)
{
	return open("/dev/iommu", O_RDWR | O_CLOEXEC);
}

int iommufd_ioas_alloc(int iommufd, __u32 *ioas)
{
	struct {
		__u32 size;
		__u32 flags;
		__u32 out_ioas;
	} cmd = { .size = sizeof(cmd) };
	int ret = ioctl(iommufd, IOAS_ALLOC, &cmd);

	*ioas = cmd.out_ioas;
	return ret;
}

int iommufd_map(int iommufd, __u32 ioas, void *mem, __u64 iova, __u64 size)
{
	struct {
		__u32 size;
		__u32 flags;
		__u32 ioas;
		__u32 reserved;
		__u64 user_va;
		__u64 length;
		__u64 iova;
	} cmd = {
		.size = sizeof(cmd),
		.flags = MAP_FIXED_IOVA | MAP_WRITEABLE | MAP_READABLE,
		.ioas = ioas,
		.user_va = (__u64)mem,
		.length = size,
		.iova = iova,
	};

	return ioctl(iommufd, IOAS_MAP, &cmd);
}

int iommufd_unmap(int iommufd, __u32 ioas, __u64 iova, __u64 size)
{
	struct {
		__u32 size;
		__u32 ioas;
		__u64 iova;
		__u64 length;
	} cmd = {
		.size = sizeof(cmd), .ioas = ioas, .iova = iova, .length = size,
	};

	return ioctl(iommufd, IOAS_UNMAP, &cmd);
}

int iommufd_hwpt_alloc(int iommufd, __u32 dev_id, __u32 ioas, __u32 *hwpt)
{
	struct {
		__u32 size;
		__u32 flags;
		__u32 dev_id;
		__u32 pt_id;
		__u32 out_hwpt;
		__u32 reserved;
		__u32 data_type;
		__u32 data_len;
		__u64 data_uptr;
	} cmd = { .size = sizeof(cmd), .dev_id = dev_id, .pt_id = ioas };
	int ret = ioctl(iommufd, HWPT_ALLOC, &cmd);

	*hwpt = cmd.out_hwpt;
	return ret;
}

int cdev_open(const char *bdf)
{
	struct dirent *entry;
	char path[PATH_MAX];
	int fd = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	dir = opendir(path);
	if (!dir)
		return -1;
	errno = ENODEV;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vfio", 4))
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
			 entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		break;
	}
	closedir(dir);
	return fd;
}

int cdev_bind(int cdev, int iommufd, __u32 *dev_id)
{
	struct vfio_device_bind_iommufd cmd = {
		.argsz = sizeof(cmd), .iommufd = iommufd,
	};
	int ret = ioctl(cdev, VFIO_DEVICE_BIND_IOMMUFD, &cmd);

	*dev_id = cmd.out_devid;
	return ret;
}

int cdev_attach(int cdev, __u32 pt)
{
	struct vfio_device_attach_iommufd_pt cmd = {
		.argsz = sizeof(cmd), .pt_id = pt,
	};

	return ioctl(cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);
}

int cdev_detach(int cdev)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd) };

	return ioctl(cdev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}
