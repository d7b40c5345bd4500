// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "edu.h"
#include "iommufd.h"

#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_CMD_RUN	1UL
#define EDU_CMD_TO_RAM	2UL
#define EDU_BUFFER	0x40000UL

#define POLL_NS		5000000L
/* The device takes 100 ms; under emulation a good deal more can pass. */
#define POLL_MAX	4000

static enum vfio_way vfio_way;

bool vfio_use(enum vfio_way way)
{
	vfio_way = way;
	return way == VFIO_BY_GROUP || !access("/dev/iommu", F_OK);
}

int vfio_group_open(const char *bdf)
{
	char path[PATH_MAX], link[PATH_MAX];
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return -1;
	link[len] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	return open(path, O_RDWR | O_CLOEXEC);
}

int vfio_dev_start(struct vfio_dev *dev)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	__u16 command;

	if (ioctl(dev->device_fd, VFIO_DEVICE_GET_REGION_INFO, &info) ||
	    pread(dev->device_fd, &command, sizeof(command),
		  info.offset + PCI_COMMAND) != sizeof(command))
		return -1;
	command |= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	if (pwrite(dev->device_fd, &command, sizeof(command),
		   info.offset + PCI_COMMAND) != sizeof(command))
		return -1;

	info.index = VFIO_PCI_BAR0_REGION_INDEX;
	if (ioctl(dev->device_fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -1;
	dev->regs_offset = info.offset;
	return 0;
}

static int open_by_cdev(struct vfio_dev *dev, const char *bdf)
{
	dev->container_fd = iommufd_open();
	dev->device_fd = cdev_open(bdf);
	if (dev->container_fd < 0 || dev->device_fd < 0 ||
	    cdev_bind(dev->device_fd, dev->container_fd, &dev->dev_id) ||
	    iommufd_ioas_alloc(dev->container_fd, &dev->ioas) ||
	    cdev_attach(dev->device_fd, dev->ioas))
		return -1;
	return vfio_dev_start(dev);
}

/* Returns 0, or -1 with errno set; vfio_dev_close() cleans up in both cases. */
int vfio_dev_open(struct vfio_dev *dev, const char *bdf)
{
	*dev = VFIO_DEV_NONE;
	if (vfio_way == VFIO_BY_CDEV)
		return open_by_cdev(dev, bdf);

	dev->container_fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	dev->group_fd = vfio_group_open(bdf);
	if (dev->container_fd < 0 || dev->group_fd < 0 ||
	    ioctl(dev->group_fd, VFIO_GROUP_SET_CONTAINER, &dev->container_fd) ||
	    ioctl(dev->container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -1;
	dev->device_fd = ioctl(dev->group_fd, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (dev->device_fd < 0)
		return -1;
	return vfio_dev_start(dev);
}

int vfio_dev_open_sibling(struct vfio_dev *dev, const struct vfio_dev *sibling,
			  const char *bdf)
{
	*dev = VFIO_DEV_NONE;
	dev->device_fd = ioctl(sibling->group_fd, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (dev->device_fd < 0)
		return -1;
	return vfio_dev_start(dev);
}

void vfio_dev_close(struct vfio_dev *dev)
{
	if (dev->device_fd >= 0)
		close(dev->device_fd);
	if (dev->group_fd >= 0)
		close(dev->group_fd);
	if (dev->container_fd >= 0)
		close(dev->container_fd);
	*dev = VFIO_DEV_NONE;
}

int vfio_dev_map(struct vfio_dev *dev, void *mem, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (__u64)mem,
		.iova = iova,
		.size = size,
	};

	if (dev->ioas)
		return iommufd_map(dev->container_fd, dev->ioas, mem, iova, size);
	return ioctl(dev->container_fd, VFIO_IOMMU_MAP_DMA, &map);
}

int vfio_dev_unmap(struct vfio_dev *dev, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};

	if (dev->ioas)
		return iommufd_unmap(dev->container_fd, dev->ioas, iova, size);
	return ioctl(dev->container_fd, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static bool edu_set(struct vfio_dev *dev, unsigned int reg, __u64 value)
{
	return pwrite(dev->device_fd, &value, sizeof(value),
		      dev->regs_offset + reg) == sizeof(value);
}

static bool edu_dma(struct vfio_dev *dev, __u64 src, __u64 dst, __u64 length,
		    __u64 direction)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	unsigned int i;
	__u64 cmd;

	if (!edu_set(dev, EDU_DMA_SRC, src) || !edu_set(dev, EDU_DMA_DST, dst) ||
	    !edu_set(dev, EDU_DMA_COUNT, length) ||
	    !edu_set(dev, EDU_DMA_CMD, EDU_CMD_RUN | direction))
		return false;

	for (i = 0; i < POLL_MAX; i++) {
		if (pread(dev->device_fd, &cmd, sizeof(cmd),
			  dev->regs_offset + EDU_DMA_CMD) != sizeof(cmd))
			return false;
		if (!(cmd & EDU_CMD_RUN))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* From memory into the device's buffer. */
bool edu_read_memory(struct vfio_dev *dev, __u64 iova, __u64 length)
{
	return edu_dma(dev, iova, EDU_BUFFER, length, 0);
}

/* From the device's buffer to memory. */
bool edu_write_memory(struct vfio_dev *dev, __u64 iova, __u64 length)
{
	return edu_dma(dev, EDU_BUFFER, iova, length, EDU_CMD_TO_RAM);
}
