/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * QEMU's "edu" device, through VFIO: a DMA engine with a buffer of one page.
 */
#ifndef PVIOMMU_SELFTEST_EDU_H
#define PVIOMMU_SELFTEST_EDU_H

#include <linux/types.h>
#include <stdbool.h>

/*
 * The two ways to a device. A variant of the second is named "cdev...": kernels may not
 * have it.
 */
enum vfio_way { VFIO_BY_GROUP, VFIO_BY_CDEV };

/**
 * struct vfio_dev - a PCI device, open through VFIO
 * @container_fd: by group: the container, type 1; by cdev: the iommufd
 * @group_fd: the group; -1 by cdev
 * @device_fd: the device
 * @dev_id: by cdev: the iommufd's name of it
 * @ioas: by cdev: the I/O address space that it is attached to
 * @regs_offset: of BAR 0 in the device file
 */
struct vfio_dev {
	int container_fd;
	int group_fd;
	int device_fd;
	__u32 dev_id;
	__u32 ioas;
	__u64 regs_offset;
};

#define VFIO_DEV_NONE \
	((struct vfio_dev){ .container_fd = -1, .group_fd = -1, .device_fd = -1 })

/* How vfio_dev_open() opens devices from now on, in this process. False: it cannot. */
bool vfio_use(enum vfio_way way);

int vfio_dev_open(struct vfio_dev *dev, const char *bdf);
/* Only its group, which becomes one of a container's. Returns the group file. */
int vfio_group_open(const char *bdf);
/* The last step of it: the device may do DMA, and its registers are found. */
int vfio_dev_start(struct vfio_dev *dev);
/* A device of the same group, through the files of another one. */
int vfio_dev_open_sibling(struct vfio_dev *dev, const struct vfio_dev *sibling,
			  const char *bdf);
void vfio_dev_close(struct vfio_dev *dev);
/* Into the container, or the I/O address space. Return 0 or -1 with errno. */
int vfio_dev_map(struct vfio_dev *dev, void *mem, __u64 iova, __u64 size);
int vfio_dev_unmap(struct vfio_dev *dev, __u64 iova, __u64 size);

/* QEMU's device aborts the emulator when a transfer ends where its buffer does. */
#define EDU_DMA_MAX	2048UL

/* Both return false if the device did not finish; at most EDU_DMA_MAX bytes. */
bool edu_read_memory(struct vfio_dev *dev, __u64 iova, __u64 length);
bool edu_write_memory(struct vfio_dev *dev, __u64 iova, __u64 length);

#endif /* PVIOMMU_SELFTEST_EDU_H */
