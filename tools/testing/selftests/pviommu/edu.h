/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * QEMU's "edu" device, through VFIO: a DMA engine with a buffer of one page.
 */
#ifndef PVIOMMU_SELFTEST_EDU_H
#define PVIOMMU_SELFTEST_EDU_H

#include <linux/types.h>
#include <stdbool.h>

/**
 * struct vfio_dev - a PCI device, open through a VFIO container and its group
 * @container_fd: the container, type 1
 * @group_fd: the group
 * @device_fd: the device
 * @regs_offset: of BAR 0 in the device file
 */
struct vfio_dev {
	int container_fd;
	int group_fd;
	int device_fd;
	__u64 regs_offset;
};

int vfio_dev_open(struct vfio_dev *dev, const char *bdf);
void vfio_dev_close(struct vfio_dev *dev);

/* QEMU's device aborts the emulator when a transfer ends where its buffer does. */
#define EDU_DMA_MAX	2048UL

/* Both return false if the device did not finish; at most EDU_DMA_MAX bytes. */
bool edu_read_memory(struct vfio_dev *dev, __u64 iova, __u64 length);
bool edu_write_memory(struct vfio_dev *dev, __u64 iova, __u64 length);

#endif /* PVIOMMU_SELFTEST_EDU_H */
