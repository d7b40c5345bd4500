// SPDX-License-Identifier: GPL-2.0-only
/*
 * RAM being mapped into a VFIO container: answered with success and not done.
 * This is the pinning that pviommu avoids; fallback.c puts it off.
 *
 * The VMM's picture of the container stays consistent without our keeping one:
 * unmapping answers that all that was asked for is unmapped. Dirty tracking
 * answers what type1 says of mapped memory, that the device may have written
 * all of it. To say that it wrote nothing, as an empty container would, could
 * lose pages in a migration.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/stat.h>

#include "preload.h"

/**
 * dma_is_container() - tell a container from a device
 * @fd: one of the two
 *
 * VFIO uses the same numbers for requests to a container and to a device: for
 * one, VFIO_IOMMU_MAP_DMA is VFIO_DEVICE_PCI_HOT_RESET. A container is a
 * character device, /dev/vfio/vfio or /dev/iommu. A device that comes from a group
 * is an anonymous inode. One that is opened by itself is a character device, too,
 * but known from when it was bound to iommufd, before which it can do nothing.
 *
 * Return: whether it is a container.
 */
bool dma_is_container(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISCHR(st.st_mode) && !device_is(fd);
}

static int fail(int error)
{
	errno = error;
	return -1;
}

static bool bitmap_is_valid(const struct vfio_bitmap *bitmap, __u64 length)
{
	__u64 pages;

	if (!bitmap->pgsize)
		return false;

	pages = length / bitmap->pgsize;
	return pages && bitmap->size >= (pages - 1) / 64 * 8 + 8;
}

/**
 * dma_set_dirty() - say of pages that a device may have written them
 * @bitmap: where
 * @pages: how many, from its first bit on
 */
void dma_set_dirty(__u64 *bitmap, __u64 pages)
{
	memset(bitmap, 0xff, pages / 64 * 8);
	if (pages % 64)
		bitmap[pages / 64] |= (1ULL << pages % 64) - 1;
}

static void set_all_dirty(const struct vfio_bitmap *bitmap, __u64 length)
{
	dma_set_dirty(bitmap->data, length / bitmap->pgsize);
}

/**
 * dma_map() - handle VFIO_IOMMU_MAP_DMA
 * @fd: a container, or a device
 * @arg: as for the ioctl
 *
 * Flags are refused that change mappings there already are: there are none.
 *
 * Return: as the ioctl.
 */
int dma_map(int fd, void *arg)
{
	const struct vfio_iommu_type1_dma_map *map = arg;
	int ret;

	if (!dma_is_container(fd))
		return real_ioctl(fd, VFIO_IOMMU_MAP_DMA, arg);
	if (fallback_map(fd, 0, VFIO_IOMMU_MAP_DMA, arg, &ret))
		return ret;

	if (map->argsz < sizeof(*map) ||
	    map->flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
		return fail(EINVAL);
	return 0;
}

/**
 * dma_unmap() - handle VFIO_IOMMU_UNMAP_DMA
 * @fd: a container, or a device
 * @arg: as for the ioctl
 *
 * Return: as the ioctl.
 */
int dma_unmap(int fd, void *arg)
{
	const struct vfio_iommu_type1_dma_unmap *unmap = arg;
	const struct vfio_bitmap *bitmap = (const void *)unmap->data;
	int ret;

	if (!dma_is_container(fd))
		return real_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, arg);
	if (fallback_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, arg, &ret))
		return ret;

	if (unmap->argsz < sizeof(*unmap))
		return fail(EINVAL);

	switch (unmap->flags) {
	case 0:
		return 0;
	case VFIO_DMA_UNMAP_FLAG_ALL:
		return unmap->iova || unmap->size ? fail(EINVAL) : 0;
	case VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP:
		if (unmap->argsz < sizeof(*unmap) + sizeof(*bitmap) ||
		    !bitmap_is_valid(bitmap, unmap->size))
			return fail(EINVAL);
		set_all_dirty(bitmap, unmap->size);
		return 0;
	default:
		return fail(EINVAL);
	}
}

/**
 * dma_dirty_pages() - handle VFIO_IOMMU_DIRTY_PAGES
 * @fd: a container, or a device
 * @arg: as for the ioctl
 *
 * Tracking is VFIO's to start and stop, and arguments are its to check.
 *
 * Return: as the ioctl.
 */
int dma_dirty_pages(int fd, void *arg)
{
	const struct vfio_iommu_type1_dirty_bitmap *dirty = arg;
	const struct vfio_iommu_type1_dirty_bitmap_get *range;
	int ret = real_ioctl(fd, VFIO_IOMMU_DIRTY_PAGES, arg);

	if (ret || !dma_is_container(fd) ||
	    dirty->flags != VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP)
		return ret;

	range = (const void *)dirty->data;
	set_all_dirty(&range->bitmap, range->size);
	return 0;
}
