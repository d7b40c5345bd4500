/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * pviommu: the ioctls of /dev/pviommu, between a VMM and its host.
 *
 * One open file is one VM's pviommu. Whatever it holds (apertures, pinned
 * pages, attached groups) goes when the file is closed.
 *
 * Conventions, after iommufd's:
 *
 *  - @size is the size of the structure as user space knows it. A shorter one
 *    than the first version is -EINVAL. In a longer one what the kernel does not
 *    know must be zero, else -E2BIG; so is any longer than 4096.
 *  - Reserved fields and flags that are not known must be zero, else
 *    -EOPNOTSUPP.
 *  - IOVAs and lengths are in bytes, budgets and statistics in 4 KiB pages.
 *  - Every ioctl is answered only to the process that opened the file (its
 *    mm): -EPERM to others, such as a forked child.
 *
 * Errors that every ioctl may return:
 *
 *  - ENOTTY: no such ioctl
 *  - EINVAL: @size is too small
 *  - E2BIG: what lies behind the known part of the structure is not zero
 *  - EOPNOTSUPP: a reserved field or an unknown flag is set
 *  - EFAULT: a pointer does not point to accessible memory
 *  - EPERM: the caller is not the process that opened the file
 *  - ENOMEM: out of memory
 *  - ENXIO: no VM is bound yet (all but INFO and BIND_VM)
 */
#ifndef _UAPI_LINUX_PVIOMMU_H
#define _UAPI_LINUX_PVIOMMU_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PVIOMMU_TYPE	(0xBD)

enum {
	PVIOMMU_CMD_INFO = 0,
	PVIOMMU_CMD_BIND_VM,
	PVIOMMU_CMD_CREATE_APERTURE,
	PVIOMMU_CMD_ATTACH,
	PVIOMMU_CMD_DETACH,
	PVIOMMU_CMD_RESET,
	PVIOMMU_CMD_STATS,
	PVIOMMU_CMD_MARK_DIRTY,
	PVIOMMU_CMD_RECLAIM,
};

/**
 * struct pviommu_info - ioctl(PVIOMMU_INFO)
 * @size: sizeof(struct pviommu_info)
 * @flags: must be 0
 * @out_abi_version: PVIOMMU_ABI_VERSION that guests are offered
 * @out_max_apertures: most apertures that one file can have
 * @out_features: none yet
 * @out_max_window: longest window, in bytes
 */
struct pviommu_info {
	__u32 size;
	__u32 flags;
	__u32 out_abi_version;
	__u32 out_max_apertures;
	__aligned_u64 out_features;
	__aligned_u64 out_max_window;
};

#define PVIOMMU_INFO _IO(PVIOMMU_TYPE, PVIOMMU_CMD_INFO)

/**
 * struct pviommu_bind_vm - ioctl(PVIOMMU_BIND_VM)
 * @size: sizeof(struct pviommu_bind_vm)
 * @flags: must be 0
 * @vm_fd: a KVM VM, from KVM_CREATE_VM, of the calling process
 * @__reserved: must be 0
 *
 * Names the VM whose hypercalls this file answers. The VM is kept until the
 * file is closed.
 *
 *  - EBADF: @vm_fd is not open
 *  - EINVAL: @vm_fd is not a KVM VM
 *  - EPERM: the VM belongs to another process
 *  - EBUSY: this file has a VM already, or the VM has a pviommu already
 *  - EOPNOTSUPP: the VM is of an encrypted type, or has private memory or a
 *	dirty ring. (A VM that becomes an SEV guest later, by KVM_SEV_INIT, is not
 *	recognised: its guest's table is unreadable, and maps what it happens to say
 *	of the guest's own memory.)
 */
struct pviommu_bind_vm {
	__u32 size;
	__u32 flags;
	__s32 vm_fd;
	__u32 __reserved;
};

#define PVIOMMU_BIND_VM _IO(PVIOMMU_TYPE, PVIOMMU_CMD_BIND_VM)

/**
 * struct pviommu_create_aperture - ioctl(PVIOMMU_CREATE_APERTURE)
 * @size: sizeof(struct pviommu_create_aperture)
 * @flags: must be 0
 * @base: first IOVA of the window; a multiple of 4096, not 0
 * @length: length of the window; a multiple of 4096, not 0
 * @budget: most pages that may be pinned for the aperture at once; 0 stands for
 *	the pages of the window
 * @out_aperture_id: the new aperture. Ids count up from 0.
 * @__reserved: must be 0
 *
 *  - EINVAL: @base or @length is 0 or not a multiple of 4096
 *  - EOVERFLOW: the window reaches 2^64, or is longer than out_max_window
 *  - ERANGE: @budget is more than the pages of the window
 *  - ENOSPC: the file has out_max_apertures already
 *  - EFAULT: if it was the answer that could not be written, there is an aperture
 *	more
 */
struct pviommu_create_aperture {
	__u32 size;
	__u32 flags;
	__aligned_u64 base;
	__aligned_u64 length;
	__aligned_u64 budget;
	__u32 out_aperture_id;
	__u32 __reserved;
};

#define PVIOMMU_CREATE_APERTURE _IO(PVIOMMU_TYPE, PVIOMMU_CMD_CREATE_APERTURE)

/**
 * struct pviommu_host_device - a PCI device of the host
 * @segment: PCI segment (domain)
 * @bus: bus number
 * @devfn: device << 3 | function
 * @__reserved: must be 0
 */
struct pviommu_host_device {
	__u32 segment;
	__u8 bus;
	__u8 devfn;
	__u16 __reserved;
};

/**
 * struct pviommu_endpoint - where the guest finds a device
 * @segment: PCI segment, as the guest numbers it
 * @root_bus: number of the root bus
 * @depth: devfns in @path, 1 to 8
 * @__reserved: must be 0
 * @path: devfns of the bridges from the root bus on, the device's own last; 0
 *	from @depth on
 */
struct pviommu_endpoint {
	__u32 segment;
	__u8 root_bus;
	__u8 depth;
	__u16 __reserved;
	__u8 path[8];
};

/*
 * PVIOMMU_ATTACH: leave the group in VFIO's domain, with all that the VMM has
 * mapped there, until the guest enables (or disables) the aperture for the first
 * time. A guest without the driver, and firmware, can use the device meanwhile. A
 * reset or a DETACH leaves it in VFIO's domain, too. From that ENABLE or DISABLE on
 * the device is confined as without the flag, for good: after a reset of the VM it
 * is blocked. If it cannot be moved then, it is blocked and the guest is told. The
 * flag is without effect once the guest has taken charge.
 */
#define PVIOMMU_ATTACH_ON_ENABLE	(1U << 0)

/**
 * struct pviommu_attach - ioctl(PVIOMMU_ATTACH)
 * @size: sizeof(struct pviommu_attach)
 * @flags: PVIOMMU_ATTACH_*
 * @aperture_id: the aperture that the device shall be confined to
 * @vfio_fd: the VFIO device file of @host: from VFIO_GROUP_GET_DEVICE_FD, or its
 *	cdev, bound by VFIO_DEVICE_BIND_IOMMUFD and attached to a page table of the
 *	iommufd or not. It proves that the caller owns the device's IOMMU group, and
 *	is kept open until the device is detached.
 * @host: the device
 * @guest: where the guest finds it
 *
 * Moves the device's whole IOMMU group from VFIO's domain to the aperture's. The
 * group reaches nothing until the guest enables the aperture. More devices of
 * the group can be attached to the same aperture, each with its endpoint, with the
 * same flags.
 *
 * As long as it is there VFIO_DEVICE_ATTACH_IOMMUFD_PT is -EBUSY for a device that is
 * attached to no page table. For one that is, it and VFIO_DEVICE_DETACH_IOMMUFD_PT
 * take the group out of the aperture: it reaches what is in the new page table, or
 * nothing, and nothing of the aperture. That is noticed, see @taken of struct
 * pviommu_aperture_stats, and lasts until all of the group's devices are detached and
 * attached again.
 *
 * What an administrator can do something about is in the kernel's log, too.
 *
 * After ENOMEM, EADDRNOTAVAIL, EMEDIUMTYPE and what else the IOMMU driver may return
 * the group may be left blocked, until VFIO lets it go.
 *
 *  - ENOENT: no such aperture
 *  - EBADF: @vfio_fd is not open
 *  - EINVAL: @vfio_fd is not a VFIO device file; @guest's depth or path is
 *	malformed
 *  - ENODEV: the host has no such device, or no VFIO PCI driver is bound to it
 *  - EAGAIN: the device is being reset, or a driver bound to it or unbound from it,
 *	right now
 *  - EPERM: @vfio_fd is not that device's file
 *  - EXDEV: the device is behind no IOMMU
 *  - ENOTCONN: the device's group is not in VFIO's hands, or @vfio_fd is a cdev that is
 *	not bound to an iommufd
 *  - EBUSY: the device's group is in another aperture, or was attached to a page
 *	table of an iommufd at the same moment: there it is then
 *  - EEXIST: the device is attached already, or another device has that
 *	endpoint, or the device's group is attached with other flags
 *  - EACCES: the platform does not remap this device's interrupts, so that it
 *	could raise any of the host's
 *  - EADDRINUSE: firmware demands that the device reaches host memory of its own
 *	(RMRR, IVMD)
 *  - EADDRNOTAVAIL: the window is outside of what the IOMMU can map
 *  - ENOSPC: all of the window is reserved, or too many parts, or parts that the
 *	guest has not been told of
 *  - EMEDIUMTYPE: the IOMMU of this device cannot share the aperture's domain
 */
struct pviommu_attach {
	__u32 size;
	__u32 flags;
	__u32 aperture_id;
	__s32 vfio_fd;
	struct pviommu_host_device host;
	struct pviommu_endpoint guest;
};

#define PVIOMMU_ATTACH _IO(PVIOMMU_TYPE, PVIOMMU_CMD_ATTACH)

/**
 * struct pviommu_detach - ioctl(PVIOMMU_DETACH)
 * @size: sizeof(struct pviommu_detach)
 * @flags: must be 0
 * @aperture_id: the aperture that the device is attached to
 * @__reserved: must be 0
 * @host: the device
 *
 * The device's endpoint disappears and its VFIO file is let go. When it was the
 * last one of its group, the group is left blocked, in VFIO's hands; when it was
 * the last one of the aperture, the aperture is disabled and nothing stays
 * pinned.
 *
 *  - ENOENT: no such aperture, or the device is not attached to it
 */
struct pviommu_detach {
	__u32 size;
	__u32 flags;
	__u32 aperture_id;
	__u32 __reserved;
	struct pviommu_host_device host;
};

#define PVIOMMU_DETACH _IO(PVIOMMU_TYPE, PVIOMMU_CMD_DETACH)

#define PVIOMMU_APERTURE_ALL	(0xffffffffU)

/**
 * struct pviommu_reset - ioctl(PVIOMMU_RESET)
 * @size: sizeof(struct pviommu_reset)
 * @flags: must be 0
 * @aperture_id: the aperture, or PVIOMMU_APERTURE_ALL
 * @__reserved: must be 0
 *
 * For a VMM that resets its VM: the aperture follows no table any more, nothing
 * stays pinned, its devices reach nothing until the guest enables it again (but
 * see PVIOMMU_ATTACH_ON_ENABLE).
 *
 *  - ENOENT: no such aperture
 */
struct pviommu_reset {
	__u32 size;
	__u32 flags;
	__u32 aperture_id;
	__u32 __reserved;
};

#define PVIOMMU_RESET _IO(PVIOMMU_TYPE, PVIOMMU_CMD_RESET)

/**
 * struct pviommu_aperture_stats - counters of one aperture
 * @pinned: pages in the aperture now, each pinned for it, and those that a SYNC that is
 *	under way is about to pin
 * @pinned_peak: the most there have been
 * @budget: the most there may be
 * @charged: pages charged to RLIMIT_MEMLOCK: @pinned of all apertures of this file,
 *	in chunks
 * @hypercalls: all hypercalls that named the aperture
 * @syncs: SYNC and SYNC_LIST among them
 * @sync_pages: window pages that those processed
 * @mapped: pages mapped since the aperture was created
 * @map_calls: calls to the IOMMU core that this took
 * @unmapped: pages unmapped since
 * @unmap_calls: calls to the IOMMU core that this took
 * @flushes: IOTLB flushes
 * @refused: hypercalls that were answered with a PVIOMMU_RC_* code
 * @resets: times the aperture was reset by the VMM
 * @enabled: 1 while the aperture follows a table
 * @devices: devices attached
 * @faults: times the IOMMU refused DMA of the devices, as far as its driver tells:
 *	AMD's does, Intel's only writes to the log. Above a certain rate hardware
 *	and driver drop some.
 * @fault_iova: where the last of them went, in bytes
 * @shadow_leaves: pieces of 512 window pages for which the host keeps a record
 * @noncoherent: 1 if the IOMMU cannot enforce cache coherency for the devices, and
 *	KVM has been told
 * @waiting: of @devices, those that are still left to VFIO: see
 *	PVIOMMU_ATTACH_ON_ENABLE
 * @taken: of the devices' IOMMU groups, those that the VMM has taken out of the
 *	aperture again, through VFIO or iommufd. When all are, ENABLE and new mappings
 *	are refused with PVIOMMU_RC_HOST_ERROR
 * @large: pieces of 512 window pages that are one 2 MiB leaf of the IOMMU's now
 * @large_mapped: such leaves made since the aperture was created; their pages are in
 *	@mapped, too
 * @large_broken: of them, those that were taken out because of some of their pages:
 *	the guest had promised to take out all 512 at once
 * @direct: 1 while the aperture follows a table that was enabled with
 *	PVIOMMU_ENABLE_DIRECT
 * @reclaims: times that idle pages were looked for, by PVIOMMU_RECLAIM or because the
 *	host needs memory
 * @reclaimed: pages that were found, and taken out; they are in @unmapped, too
 * @moved: pages that were taken out since the VMM had discarded or exchanged what they
 *	are; they are in @unmapped, too
 *
 * Nobody waits for a SYNC to be told them, so of one that is under way they may tell a part.
 * Later versions append fields.
 */
struct pviommu_aperture_stats {
	__aligned_u64 pinned;
	__aligned_u64 pinned_peak;
	__aligned_u64 budget;
	__aligned_u64 charged;
	__aligned_u64 hypercalls;
	__aligned_u64 syncs;
	__aligned_u64 sync_pages;
	__aligned_u64 mapped;
	__aligned_u64 map_calls;
	__aligned_u64 unmapped;
	__aligned_u64 unmap_calls;
	__aligned_u64 flushes;
	__aligned_u64 refused;
	__aligned_u64 resets;
	__u32 enabled;
	__u32 devices;
	__aligned_u64 faults;
	__aligned_u64 fault_iova;
	__aligned_u64 shadow_leaves;
	__u32 noncoherent;
	__u32 waiting;
	__aligned_u64 taken;
	__aligned_u64 large;
	__aligned_u64 large_mapped;
	__aligned_u64 large_broken;
	__aligned_u64 direct;
	__aligned_u64 reclaims;
	__aligned_u64 reclaimed;
	__aligned_u64 moved;
};

/**
 * struct pviommu_stats - ioctl(PVIOMMU_STATS)
 * @size: sizeof(struct pviommu_stats)
 * @flags: must be 0
 * @aperture_id: the aperture
 * @stats_len: in: bytes at @stats_uptr. Out: bytes that the kernel has. No more
 *	than the smaller of the two are written.
 * @stats_uptr: a struct pviommu_aperture_stats
 *
 *  - ENOENT: no such aperture
 */
struct pviommu_stats {
	__u32 size;
	__u32 flags;
	__u32 aperture_id;
	__u32 stats_len;
	__aligned_u64 stats_uptr;
};

#define PVIOMMU_STATS _IO(PVIOMMU_TYPE, PVIOMMU_CMD_STATS)

/**
 * struct pviommu_mark_dirty - ioctl(PVIOMMU_MARK_DIRTY)
 * @size: sizeof(struct pviommu_mark_dirty)
 * @flags: must be 0
 * @aperture_id: the aperture, or PVIOMMU_APERTURE_ALL
 * @__reserved: must be 0
 * @out_pages: window pages that are mapped writable, each counted
 * @out_lost: pages that have left apertures of this file since it was opened while
 *	no memslot was behind them, or one that was being changed: no log has them
 *
 * A page that a device could write is entered in KVM's dirty log when it leaves
 * the aperture. This enters all that are still there, for the last pass of a
 * migration: call it with vCPUs and devices stopped, before KVM_GET_DIRTY_LOG.
 * Memslots without a dirty log are passed over.
 *
 * A memslot's log goes with the memslot. Whoever removes one that is being logged, to
 * split it for example, calls this and KVM_GET_DIRTY_LOG before. What leaves the
 * aperture in between is in @out_lost: if that rises, the memory concerned has to
 * be sent again.
 *
 *  - ENOENT: no such aperture
 *  - EBUSY: a device is left to VFIO (PVIOMMU_ATTACH_ON_ENABLE), which then has to
 *	track its writes; what is in the apertures was marked
 */
struct pviommu_mark_dirty {
	__u32 size;
	__u32 flags;
	__u32 aperture_id;
	__u32 __reserved;
	__aligned_u64 out_pages;
	__aligned_u64 out_lost;
};

#define PVIOMMU_MARK_DIRTY _IO(PVIOMMU_TYPE, PVIOMMU_CMD_MARK_DIRTY)

/**
 * struct pviommu_reclaim - ioctl(PVIOMMU_RECLAIM)
 * @size: sizeof(struct pviommu_reclaim)
 * @flags: must be 0
 * @aperture_id: the aperture, or PVIOMMU_APERTURE_ALL
 * @__reserved: must be 0
 * @pages: most window pages to take back
 * @out_pages: how many were
 *
 * Takes idle pages out of apertures whose guest has enabled them with
 * PVIOMMU_ENABLE_DIRECT, and unpins them. The guest does not exit for it, and loses
 * nothing: what it needs again it asks for again. The host does the same by itself when
 * it is short of memory.
 *
 *  - ENOENT: no such aperture
 */
struct pviommu_reclaim {
	__u32 size;
	__u32 flags;
	__u32 aperture_id;
	__u32 __reserved;
	__aligned_u64 pages;
	__aligned_u64 out_pages;
};

#define PVIOMMU_RECLAIM _IO(PVIOMMU_TYPE, PVIOMMU_CMD_RECLAIM)

#endif /* _UAPI_LINUX_PVIOMMU_H */
