/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * pviommu: the ABI between a guest and its host.
 *
 * A guest owns one remapping table per aperture and tells the host with a
 * hypercall when a part of it has changed. Documentation/guest-abi.rst says
 * what every operation promises; this header is the layout alone.
 *
 * All multi-byte fields are little endian. Every "GPA" is a guest physical
 * address of ordinary, writable guest RAM. A "page" is 4 KiB. A "window page"
 * is the index of a page inside an aperture's window: IOVA = base + index * 4096.
 */
#ifndef _UAPI_LINUX_PVIOMMU_ABI_H
#define _UAPI_LINUX_PVIOMMU_ABI_H

#include <linux/const.h>
#include <linux/types.h>

#define PVIOMMU_ABI_VERSION	1

/*
 * The hypercall number, in rax. It lies outside the sequence that KVM numbers
 * its own hypercalls from. A host without pviommu answers -1000 (-KVM_ENOSYS).
 */
#define KVM_HC_PVIOMMU		0x50560001

/*
 * rbx: the operation in bits 0-31, the aperture id in bits 32-63 (zero where an
 * operation takes no aperture). rcx, rdx, rsi: operands, zero where not used.
 * rax on return: zero or a count, or a negative PVIOMMU_RC_* code.
 */
#define PVIOMMU_OP_PROBE	0
#define PVIOMMU_OP_ENDPOINT	1
#define PVIOMMU_OP_APERTURE	2
#define PVIOMMU_OP_ENABLE	3
#define PVIOMMU_OP_DISABLE	4
#define PVIOMMU_OP_SYNC		5
#define PVIOMMU_OP_SYNC_LIST	6
#define PVIOMMU_OP_EVENTS	7

#define PVIOMMU_OP_MASK		0xffffffffULL
#define PVIOMMU_APERTURE_SHIFT	32

/*
 * Result codes. They are pviommu's own: none is an errno and none is a KVM_E*
 * code. PVIOMMU_RC_* of -2000 and below are reserved for pviommu.
 */
#define PVIOMMU_RC_BAD_OP	-2001	/* no such operation, or not on this host */
#define PVIOMMU_RC_BAD_ARG	-2002	/* operand out of range, or a reserved bit set */
#define PVIOMMU_RC_NO_APERTURE	-2003	/* no such aperture */
#define PVIOMMU_RC_NO_ENDPOINT	-2004	/* not behind a pviommu; aperture has no device */
#define PVIOMMU_RC_NOT_ENABLED	-2005	/* the aperture follows no table */
#define PVIOMMU_RC_BAD_TABLE	-2006	/* directory or leaf: not a page of writable RAM */
#define PVIOMMU_RC_BAD_ENTRY	-2007	/* reserved bit set, or page in a reserved hole */
#define PVIOMMU_RC_NO_RAM	-2008	/* no RAM that can be pinned behind the frame */
#define PVIOMMU_RC_READ_ONLY	-2009	/* write asked for, the frame is read-only */
#define PVIOMMU_RC_RETRY	-2010	/* nothing is wrong: make the same call again */
#define PVIOMMU_RC_OVER_BUDGET	-2011	/* the aperture's budget is used up */
#define PVIOMMU_RC_LOCK_LIMIT	-2012	/* the VMM's locked-memory limit is used up */
#define PVIOMMU_RC_NO_MEMORY	-2013	/* the host is out of memory */
#define PVIOMMU_RC_HOST_ERROR	-2014	/* the host failed; see its log */

/* PVIOMMU_OP_SYNC and PVIOMMU_OP_SYNC_LIST: flags in rsi. */
#define PVIOMMU_SYNC_UNMAP	_BITULL(0)	/* only remove: pins nothing, refuses no entry */

/*
 * PVIOMMU_OP_ENABLE: flags in rdx. Without PVIOMMU_FEATURE_DIRECT there are none.
 *
 * DIRECT: entries hold a use count, and the host may take those back that have none:
 * see PVIOMMU_ENTRY_USES.
 */
#define PVIOMMU_ENABLE_DIRECT	_BITULL(0)

/*
 * PVIOMMU_OP_ENDPOINT: rcx names the root bus, rdx the way from there. Bus
 * numbers below the root bus are the guest's to choose, so a device is named by
 * the devfns (device << 3 | function) of the bridges on the way to it and its
 * own: the first in bits 0-7 of rdx, the next in bits 8-15, and so on.
 */
#define PVIOMMU_PATH_SEGMENT_SHIFT	0	/* rcx bits 0-31: PCI segment */
#define PVIOMMU_PATH_ROOT_BUS_SHIFT	32	/* rcx bits 32-39: root bus number */
#define PVIOMMU_PATH_DEPTH_SHIFT	40	/* rcx bits 40-47: devfns in rdx, 1..8 */
#define PVIOMMU_PATH_MAX_DEPTH		8

/**
 * struct pviommu_probe_info - what the host is
 * @version: PVIOMMU_ABI_VERSION of the host. A higher version only adds.
 * @nr_apertures: apertures have the ids 0 to @nr_apertures - 1
 * @features: PVIOMMU_FEATURE_*
 * @sync_max_pages: most pages that one SYNC or SYNC_LIST processes; with
 *	PVIOMMU_SYNC_UNMAP it may be more. Asking for more is no error: the result
 *	tells how far the host came.
 * @sync_max_ranges: most ranges that one SYNC_LIST reads
 *
 * Written by PVIOMMU_OP_PROBE: rcx = GPA of the buffer, rdx = its length in
 * bytes. The host writes no more than that, and returns the size of the whole
 * structure as it knows it. Later versions append fields.
 */
struct pviommu_probe_info {
	__u32 version;
	__u32 nr_apertures;
	__u64 features;
	__u32 sync_max_pages;
	__u32 sync_max_ranges;
};

#define PVIOMMU_FEATURE_SYNC_LIST	_BITULL(0)	/* PVIOMMU_OP_SYNC_LIST */
#define PVIOMMU_FEATURE_EVENTS		_BITULL(1)	/* PVIOMMU_OP_EVENTS */
#define PVIOMMU_FEATURE_LARGE		_BITULL(2)	/* PVIOMMU_ENTRY_LARGE */
#define PVIOMMU_FEATURE_DIRECT		_BITULL(3)	/* PVIOMMU_ENABLE_DIRECT */

/**
 * struct pviommu_hole - IOVAs inside a window that cannot be mapped
 * @base: first IOVA, in bytes
 * @length: in bytes
 */
struct pviommu_hole {
	__u64 base;
	__u64 length;
};

/**
 * struct pviommu_aperture_info - one aperture
 * @base: first IOVA of the window, in bytes; a multiple of 4096
 * @length: length of the window in bytes; a multiple of 4096
 * @budget: most pages that may be in the aperture at once
 * @flags: none yet
 * @nr_holes: elements in @holes, as the host knows them
 * @holes: reserved ranges inside the window, ascending, not overlapping
 *
 * Written by PVIOMMU_OP_APERTURE: rcx = GPA of the buffer, rdx = its length in
 * bytes. The host writes no more than that, and returns the length that the
 * whole answer takes: if that is more, ask again with a larger buffer.
 */
struct pviommu_aperture_info {
	__u64 base;
	__u64 length;
	__u64 budget;
	__u32 flags;
	__u32 nr_holes;
	struct pviommu_hole holes[];
};

/*
 * The table. PVIOMMU_OP_ENABLE names, in rcx, the GPA of the directory: one
 * __le64 for every 512 window pages, in contiguous guest memory that starts at
 * a multiple of 4096. Each is the GPA of a leaf, or zero while there is none. A
 * leaf is one page of 512 entries. A directory entry, once set, does not change
 * until the aperture is disabled.
 *
 * An entry with neither READ nor WRITE is unmapped, whatever else it holds. An
 * IOMMU may let a device read what is only WRITE: VT-d does.
 *
 * LARGE is a promise: all 512 entries of this leaf are set, with the same bits, for
 * frames that follow each other from a multiple of 512 on, and they will be cleared
 * as one unit. The host may then map them by one large page. If one of them is changed
 * all the same, all of them may be unmapped. Without PVIOMMU_FEATURE_LARGE it is a
 * reserved bit.
 *
 * Bits 52-62 are the guest's own. In a table that was enabled with DIRECT, bits 52-60
 * count who uses the page; an entry that is mapped and used by nobody is idle. The host
 * may take back an idle entry at any time: it exchanges it for zero, and then unmaps the
 * page. This is all that the host ever writes. So in such a table an entry is changed by
 * compare-and-exchange alone, by both, and the guest has to synchronise anew what
 * it finds to be zero.
 */
#define PVIOMMU_ENTRIES_PER_LEAF	512

#define PVIOMMU_ENTRY_READ	_BITULL(0)		/* the device may read */
#define PVIOMMU_ENTRY_WRITE	_BITULL(1)		/* the device may write */
#define PVIOMMU_ENTRY_LARGE	_BITULL(2)		/* one of a unit of 512 */
#define PVIOMMU_ENTRY_RESERVED	0x8000000000000ff8ULL	/* bits 3-11 and 63: zero */
#define PVIOMMU_ENTRY_GFN	0x000ffffffffff000ULL	/* bits 12-51: guest frame */
#define PVIOMMU_ENTRY_GUEST	0x7ff0000000000000ULL	/* bits 52-62: the guest's own */
#define PVIOMMU_ENTRY_GFN_SHIFT	12
#define PVIOMMU_ENTRY_USES	0x1ff0000000000000ULL	/* DIRECT: bits 52-60: uses */
#define PVIOMMU_ENTRY_USE	_BITULL(52)		/* DIRECT: one use */

/**
 * struct pviommu_range - an element of PVIOMMU_OP_SYNC_LIST's array
 * @first: first window page
 * @count: number of window pages; zero is allowed
 *
 * rcx = GPA of the array, a multiple of 8; rdx = number of elements.
 */
struct pviommu_range {
	__u64 first;
	__u64 count;
};

/**
 * struct pviommu_event - a DMA that was refused
 * @iova: where the device went, in bytes
 * @segment: PCI segment of the endpoint, as the guest numbers it
 * @root_bus: root bus of the endpoint
 * @depth: devfns in @path
 * @flags: PVIOMMU_EVENT_*
 * @path: devfns from the root bus, as in PVIOMMU_OP_ENDPOINT
 *
 * Filled in by PVIOMMU_OP_EVENTS of an aperture: rcx = GPA of an array, rdx = its
 * length in bytes. Returns the number of events written, the oldest first; what was
 * written is gone. The host keeps PVIOMMU_MAX_EVENTS for each aperture.
 */
struct pviommu_event {
	__u64 iova;
	__u32 segment;
	__u8 root_bus;
	__u8 depth;
	__u16 flags;
	__u8 path[PVIOMMU_PATH_MAX_DEPTH];
};

#define PVIOMMU_MAX_EVENTS	64

#define PVIOMMU_EVENT_WRITE	_BITUL(0)	/* it was a write */
#define PVIOMMU_EVENT_OVERFLOW	_BITUL(1)	/* events before this one were lost */

#endif /* _UAPI_LINUX_PVIOMMU_ABI_H */
