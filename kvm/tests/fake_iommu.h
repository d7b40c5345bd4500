/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An IOMMU domain that checks every step.
 *
 * It has a page table, and an IOTLB of the worst kind: whatever was mapped can be
 * reached until it is flushed. At each call, before and after it, a page that a
 * device can reach must be pinned, once for each IOVA.
 */
#ifndef KVM_PVIOMMU_FAKE_IOMMU_H
#define KVM_PVIOMMU_FAKE_IOMMU_H

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/iommu.h>

#include "fake_vm.h"

/* In what IOMMUs differ. */
enum fake_kind {
	/* 512 aligned, contiguous pages of one call are a 2 MiB leaf. A call
	 * that fails leaves PTEs behind. To unmap a hole unmaps 2 MiB. Where small
	 * pages were mapped a table stays, until all 2 MiB are unmapped in one call:
	 * a large leaf must not be mapped over it.
	 */
	FAKE_VT_D,
	/* A page of any power of two is a leaf. A call that fails says how far
	 * it came.
	 */
	FAKE_AMD_V1,
	FAKE_NR_KINDS
};

#define FAKE_LOG	64U
#define FAKE_NEVER	ULONG_MAX
#define FAKE_UNITS	1024U

/**
 * struct fake_call - a call, in window pages
 * @op: 'm' for map, 'u' for unmap, 'f' for flush
 * @first: first page
 * @npages: number of pages
 */
struct fake_call {
	char op;
	unsigned long first;
	unsigned long npages;
};

/**
 * struct fake_pte - what can be reached at a window page
 * @phys: with IOMMU_READ and IOMMU_WRITE; 0 if nothing is mapped
 * @stale: the same, unmapped but not flushed
 * @order: pages in the leaf, as a power of two
 */
struct fake_pte {
	phys_addr_t phys;
	phys_addr_t stale;
	unsigned int order;
};

/**
 * struct fake_iommu - a domain and its devices' IOTLB
 * @domain: for the core
 * @test: is told of what is wrong
 * @vm: whose memory may be mapped
 * @kind: how it behaves
 * @base: first IOVA of the window
 * @npages: pages in the window
 * @ptes: its page table
 * @tables: by 2 MiB of the window, with a table of small pages
 * @small_only: it has no large leaves, whatever its page sizes say
 * @reach: scratch memory of the check, by frame
 * @coherent: it can enforce cache coherency
 * @freed: by the core
 * @wrong: number of complaints
 * @fail_after: PTEs until a map fails, once
 * @fail_err: with this errno
 * @stuck: window page whose PTE cannot be cleared
 * @holes_ok: nothing is said when a hole is unmapped
 * @hold_at: window page: the first map that begins there is held up
 * @held: it has come there
 * @release: it may go on
 * @calls: the first of them
 * @nr_calls: that there have been
 * @nr_flushes: of them
 */
struct fake_iommu {
	struct iommu_domain domain;
	struct kunit *test;
	const struct fake_vm *vm;
	enum fake_kind kind;
	u64 base;
	unsigned long npages;
	struct fake_pte *ptes;
	DECLARE_BITMAP(tables, FAKE_UNITS);
	bool small_only;
	u16 reach[FAKE_FRAMES];
	bool coherent;
	bool freed;
	unsigned int wrong;
	unsigned long fail_after;
	int fail_err;
	unsigned long stuck;
	bool holes_ok;
	unsigned long hold_at;
	struct completion held;
	struct completion release;
	struct fake_call calls[FAKE_LOG];
	unsigned int nr_calls;
	unsigned int nr_flushes;
};

int fake_iommu_init(struct fake_iommu *iommu, struct kunit *test,
		    const struct fake_vm *vm, u64 base, unsigned long npages);
void fake_iommu_exit(struct fake_iommu *iommu);
void fake_iommu_be(struct fake_iommu *iommu, enum fake_kind kind);
void fake_iommu_check(struct fake_iommu *iommu);

#endif /* KVM_PVIOMMU_FAKE_IOMMU_H */
