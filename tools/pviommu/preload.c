// SPDX-License-Identifier: GPL-2.0-only
/*
 * The preload library: ioctl() and close(), as the VMM calls them.
 *
 * A few requests, all of them rare, go to a handler; KVM_RUN and the rest go
 * straight on. Nothing happens before KVM_CREATE_VM: a wrapper script or another
 * helper that is preloaded by the way is not affected.
 */
#include <dlfcn.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <unistd.h>

#include "iommufd_abi.h"
#include "preload.h"

static const struct {
	unsigned int request;
	int (*handler)(int fd, void *arg);
} watched[] = {
	{ KVM_CREATE_VM, vm_create },
	{ KVM_CREATE_VCPU, vm_create_vcpu },
	{ KVM_SET_REGS, reset_set_regs },
	{ KVM_SET_SREGS, reset_set_sregs },
	{ KVM_SET_SREGS2, reset_set_sregs2 },
	{ VFIO_GROUP_GET_DEVICE_FD, device_open },
	{ VFIO_DEVICE_BIND_IOMMUFD, device_bind },
	{ VFIO_DEVICE_ATTACH_IOMMUFD_PT, device_attach_pt },
	{ VFIO_DEVICE_DETACH_IOMMUFD_PT, device_detach_pt },
	{ VFIO_IOMMU_MAP_DMA, dma_map },
	{ VFIO_IOMMU_UNMAP_DMA, dma_unmap },
	{ VFIO_IOMMU_DIRTY_PAGES, dma_dirty_pages },
	{ IOMMU_IOAS_MAP, iommufd_map },
	{ IOMMU_IOAS_MAP_FILE, iommufd_map_file },
	{ IOMMU_IOAS_COPY, iommufd_copy },
	{ IOMMU_IOAS_UNMAP, iommufd_unmap },
	{ IOMMU_HWPT_GET_DIRTY_BITMAP, iommufd_get_dirty },
};

static int first_ioctl(int fd, unsigned long request, void *arg)
{
	real_ioctl = dlsym(RTLD_NEXT, "ioctl");
	return real_ioctl(fd, request, arg);
}

static int first_close(int fd)
{
	real_close = dlsym(RTLD_NEXT, "close");
	return real_close(fd);
}

/*
 * Found at the first call, which may come from a constructor that runs before
 * any of ours.
 */
int (*real_ioctl)(int fd, unsigned long request, void *arg) = first_ioctl;
int (*real_close)(int fd) = first_close;

/*
 * Not variadic, which x86-64 passes in the same way, so that the most frequent
 * request of all costs a compare and a jump.
 */
API int watch_ioctl(int fd, unsigned long request, void *arg) asm("ioctl");

int watch_ioctl(int fd, unsigned long request, void *arg)
{
	/* The kernel sees 32 bits; callers with an int have it sign-extended. */
	if (likely((unsigned int)request == KVM_RUN))
		return real_ioctl(fd, request, arg);

	for (size_t i = 0; i < ARRAY_SIZE(watched); i++) {
		if (watched[i].request == (unsigned int)request)
			return watched[i].handler(fd, arg);
	}
	return real_ioctl(fd, request, arg);
}

API int close(int fd)
{
	vm_before_close(fd);
	return real_close(fd);
}
