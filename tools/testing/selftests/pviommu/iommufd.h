/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * iommufd, and VFIO devices that are opened by themselves, without a group. What the
 * system's headers may lack is given here.
 *
 * All return 0 or a descriptor, or -1 with errno.
 */
#ifndef PVIOMMU_SELFTEST_IOMMUFD_H
#define PVIOMMU_SELFTEST_IOMMUFD_H

#include <linux/types.h>
#include <linux/vfio.h>
#include <stddef.h>

#ifndef VFIO_DEVICE_BIND_IOMMUFD

struct vfio_device_bind_iommufd {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_devid;
};

#define VFIO_DEVICE_BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)

struct vfio_device_attach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
};

#define VFIO_DEVICE_ATTACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 19)

struct vfio_device_detach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
};

#define VFIO_DEVICE_DETACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 20)

#endif /* VFIO_DEVICE_BIND_IOMMUFD */

int iommufd_open(void);
/* An I/O address space: what devices can be attached to. */
int iommufd_ioas_alloc(int iommufd, __u32 *ioas);
/* For reading and writing; @iova and @size in bytes. */
int iommufd_map(int iommufd, __u32 ioas, void *mem, __u64 iova, __u64 size);
int iommufd_unmap(int iommufd, __u32 ioas, __u64 iova, __u64 size);
int iommufd_hwpt_alloc(int iommufd, __u32 dev_id, __u32 ioas, __u32 *hwpt);

int cdev_open(const char *bdf);
int cdev_bind(int cdev, int iommufd, __u32 *dev_id);
/* @pt: an I/O address space or a hardware page table. */
int cdev_attach(int cdev, __u32 pt);
int cdev_detach(int cdev);

#endif /* PVIOMMU_SELFTEST_IOMMUFD_H */
