/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kinds of memory that a VMM can give a guest as RAM.
 */
#ifndef PVIOMMU_SELFTEST_RAM_H
#define PVIOMMU_SELFTEST_RAM_H

#include <linux/types.h>

#define RAM_SIZE	(2UL << 20)

enum ram_kind {
	RAM_ANON_PRIVATE,
	RAM_ANON_SHARED,
	RAM_MEMFD,
	RAM_HUGETLB,
	RAM_TMPFS,
	RAM_EXT4_PRIVATE,
	RAM_EXT4_SHARED,
};

/**
 * struct ram - RAM_SIZE bytes of memory
 * @kind: which
 * @mem: where
 * @huge_pages: there were before; private
 */
struct ram {
	enum ram_kind kind;
	__u8 *mem;
	int huge_pages;
};

/* Returns 0, or -1 after it said what failed; ram_free() cleans up in both cases. */
int ram_alloc(struct ram *ram, enum ram_kind kind);
void ram_free(struct ram *ram);

/* Of the whole machine; -1 after it said what failed. */
int huge_pages_now(void);
void set_huge_pages(int nr);

#endif /* PVIOMMU_SELFTEST_RAM_H */
