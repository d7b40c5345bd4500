// SPDX-License-Identifier: GPL-2.0-only
/*
 * RAM being mapped into iommufd: answered with success and not done, as dma.c does
 * with VFIO's containers, and for the same reasons. A VMM that has iommufd serve as
 * a container is dma.c's.
 *
 * What is known to be wrong with a request is answered as the kernel would.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "iommufd_abi.h"
#include "preload.h"

#define PROT	(IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)

/**
 * iommufd_is() - tell iommufd from any other file
 * @fd: the file
 *
 * Without sysfs none is recognised. Nor is any device then, so that all are refused
 * and nothing gets pinned.
 *
 * Return: whether it is.
 */
bool iommufd_is(int fd)
{
	/* 0:0 is no device's number. */
	static dev_t known;
	char path[64], target[256];
	struct stat st;
	ssize_t len;

	if (fstat(fd, &st) || !S_ISCHR(st.st_mode))
		return false;
	if (st.st_rdev == __atomic_load_n(&known, __ATOMIC_RELAXED))
		return true;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	len = readlink(path, target, sizeof(target) - 1);
	target[len < 0 ? 0 : len] = '\0';
	if (len < 11 || strcmp(target + len - 11, "/misc/iommu"))
		return false;

	__atomic_store_n(&known, st.st_rdev, __ATOMIC_RELAXED);
	return true;
}

/* @error: negative */
static int fail(int error)
{
	errno = -error;
	return -1;
}

/* 0, or a negative errno: what the kernel says of a structure of this size. */
static int check_size(const void *arg, size_t known)
{
	const __u32 *size = arg;
	const char *at = arg;

	if (*size < known)
		return -EINVAL;
	if (*size > PVIOMMU_PAGE_SIZE)
		return -E2BIG;
	for (size_t i = known; i < *size; i++) {
		if (at[i])
			return -E2BIG;
	}
	return 0;
}

static int check_map(__u32 flags, __u64 iova, __u64 length)
{
	if (flags & ~(IOMMU_IOAS_MAP_FIXED_IOVA | PROT))
		return -EOPNOTSUPP;
	if (iova == UINT64_MAX || length == UINT64_MAX)
		return -EOVERFLOW;
	if (!(flags & PROT))
		return -EINVAL;
	/* It would be for the kernel to choose the IOVA, of those that are free. */
	if (!(flags & IOMMU_IOAS_MAP_FIXED_IOVA))
		return -EOPNOTSUPP;
	if (!length || length % PVIOMMU_PAGE_SIZE || iova % PVIOMMU_PAGE_SIZE)
		return -EINVAL;
	if (iova + length - 1 < iova)
		return -EOVERFLOW;
	return 0;
}

/**
 * iommufd_map() - handle IOMMU_IOAS_MAP
 * @fd: an iommufd, or any file
 * @arg: as for the ioctl
 *
 * Return: as the ioctl.
 */
int iommufd_map(int fd, void *arg)
{
	const struct iommu_ioas_map *map = arg;
	int error, ret;

	if (!iommufd_is(fd))
		return real_ioctl(fd, IOMMU_IOAS_MAP, arg);
	if (fallback_map(fd, map->ioas_id, IOMMU_IOAS_MAP, arg, &ret))
		return ret;

	error = check_size(map, sizeof(*map));
	if (!error && map->__reserved)
		error = -EOPNOTSUPP;
	if (!error)
		error = check_map(map->flags, map->iova, map->length);
	return error ? fail(error) : 0;
}

/**
 * iommufd_map_file() - handle IOMMU_IOAS_MAP_FILE
 * @fd: an iommufd, or any file
 * @arg: as for the ioctl
 *
 * A kernel that does not have it says ENOTTY, and the VMM goes on to use MAP. This
 * is not told from here, and does not matter.
 *
 * Return: as the ioctl.
 */
int iommufd_map_file(int fd, void *arg)
{
	const struct iommu_ioas_map_file *map = arg;
	int error, ret;

	if (!iommufd_is(fd))
		return real_ioctl(fd, IOMMU_IOAS_MAP_FILE, arg);
	if (fallback_map(fd, map->ioas_id, IOMMU_IOAS_MAP_FILE, arg, &ret))
		return ret;

	error = check_size(map, sizeof(*map));
	if (!error)
		error = check_map(map->flags, map->iova, map->length);
	return error ? fail(error) : 0;
}

/**
 * iommufd_copy() - handle IOMMU_IOAS_COPY
 * @fd: an iommufd, or any file
 * @arg: as for the ioctl
 *
 * Return: as the ioctl.
 */
int iommufd_copy(int fd, void *arg)
{
	const struct iommu_ioas_copy *copy = arg;
	int error, ret;

	if (!iommufd_is(fd))
		return real_ioctl(fd, IOMMU_IOAS_COPY, arg);
	if (fallback_map(fd, copy->dst_ioas_id, IOMMU_IOAS_COPY, arg, &ret))
		return ret;

	error = check_size(copy, sizeof(*copy));
	if (!error && copy->src_iova == UINT64_MAX)
		error = -EOVERFLOW;
	if (!error)
		error = check_map(copy->flags, copy->dst_iova, copy->length);
	return error ? fail(error) : 0;
}

/**
 * iommufd_unmap() - handle IOMMU_IOAS_UNMAP
 * @fd: an iommufd, or any file
 * @arg: as for the ioctl; the length stays: all of it is unmapped
 *
 * Return: as the ioctl.
 */
int iommufd_unmap(int fd, void *arg)
{
	const struct iommu_ioas_unmap *unmap = arg;
	int error, ret;

	if (!iommufd_is(fd))
		return real_ioctl(fd, IOMMU_IOAS_UNMAP, arg);
	if (fallback_ioctl(fd, IOMMU_IOAS_UNMAP, arg, &ret))
		return ret;

	error = check_size(unmap, sizeof(*unmap));
	if (error)
		return fail(error);
	if (!unmap->iova && unmap->length == UINT64_MAX)
		return 0;
	if (!unmap->length)
		return fail(-EINVAL);
	if (unmap->iova + unmap->length - 1 < unmap->iova ||
	    unmap->iova == UINT64_MAX || unmap->length == UINT64_MAX)
		return fail(-EOVERFLOW);
	return 0;
}

/**
 * iommufd_get_dirty() - handle IOMMU_HWPT_GET_DIRTY_BITMAP
 * @fd: an iommufd, or any file
 * @arg: as for the ioctl
 *
 * To switch tracking on and off is left to the kernel: whether the hardware has it
 * the VMM has to know.
 *
 * Return: as the ioctl.
 */
int iommufd_get_dirty(int fd, void *arg)
{
	const struct iommu_hwpt_get_dirty_bitmap *get = arg;
	int error, ret;
	__u64 mask;

	if (!iommufd_is(fd))
		return real_ioctl(fd, IOMMU_HWPT_GET_DIRTY_BITMAP, arg);
	if (fallback_ioctl(fd, IOMMU_HWPT_GET_DIRTY_BITMAP, arg, &ret))
		return ret;

	error = check_size(get, sizeof(*get));
	if (error)
		return fail(error);
	if (get->flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR ||
	    get->__reserved)
		return fail(-EOPNOTSUPP);
	if (!get->length)
		return fail(-EINVAL);
	if (get->iova + get->length - 1 < get->iova)
		return fail(-EOVERFLOW);
	mask = get->page_size - 1;
	if (!get->page_size || get->page_size & mask || get->iova & mask ||
	    get->length & mask)
		return fail(-EINVAL);

	dma_set_dirty((void *)(uintptr_t)get->data,
		      get->length / get->page_size);
	return 0;
}
