/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM with a pviommu and a device in an aperture, and what the guest side of it
 * would do: a table in guest memory, and hypercalls.
 *
 * Functions that begin with "__" return what the kernel said; the others end the
 * test if it is not what is right.
 */
#ifndef PVIOMMU_SELFTEST_APERTURE_H
#define PVIOMMU_SELFTEST_APERTURE_H

#include <linux/pviommu.h>
#include <linux/pviommu_abi.h>
#include <stdbool.h>

#include "edu.h"
#include "vm.h"

/* The window: below 256 MiB, where edu's default DMA mask ends; four leaves. */
#define WINDOW_BASE	(16UL << 20)
#define WINDOW_PAGES	2048UL

/* Where things are in guest memory. */
#define GPA_DIRECTORY	0x10000UL
#define GPA_LEAVES	0x20000UL
#define GPA_BUFFER	0x80000UL	/* for hypercalls that take one */
#define GPA_DATA	0x400000UL	/* pages to be mapped, from here on */

#define GUEST_DEVFN	(5 << 3)

/* Needs errno.h and the harness. */
#define EXPECT_ERRNO(expected, call)			\
	do {						\
		errno = 0;				\
		EXPECT_EQ(-1, (call));			\
		EXPECT_EQ((expected), errno);		\
	} while (0)

#define RW		(PVIOMMU_ENTRY_READ | PVIOMMU_ENTRY_WRITE)

/**
 * struct ctx - all that a test works with
 * @vm: the VM
 * @edu: the device, open through VFIO
 * @edu_host: its address
 * @fd: /dev/pviommu
 * @pins: pins of the whole machine before the test
 */
struct ctx {
	struct vm vm;
	struct vfio_dev edu;
	struct pviommu_host_device edu_host;
	int fd;
	long pins;
};

/* An environment variable that names devices; without it the test is skipped. */
const char *test_env(const char *name);
const char *edu_bdf(void);
const char *other_bdf(void);
struct pviommu_host_device host_device(const char *bdf);

/*
 * With PVIOMMU_TEST_DIRECT tables are direct ones, their entries have a use, and the tables'
 * own pages, which are pinned, do not count in pins_now(). Nothing else is different.
 */
bool direct_tables(void);
/* Pages that are pinned besides, for as many leaves; all_pins_now() counts them, too. */
long pinned_with(unsigned int leaves);
/* For tests that have both kinds of tables, whatever is asked for. */
void choose_tables(void);
/* Pages pinned in the whole machine; see direct_tables(). */
long pins_now(void);
long all_pins_now(void);
long locked_kib(void);

int ctx_open(struct ctx *ctx, bool with_edu);
void ctx_close_all(struct ctx *ctx);

int __bind(int fd, int vm_fd);
int __create_aperture(int fd, __u64 base, __u64 length, __u64 budget, __u32 *id);
int __attach(int fd, __u32 aperture, int vfio_fd, struct pviommu_host_device host,
	     __u8 devfn);
int __detach(int fd, __u32 aperture, struct pviommu_host_device host);
int __reset(int fd, __u32 aperture);
int __stats(int fd, __u32 aperture, struct pviommu_aperture_stats *stats);

/* Of aperture 0; they end the test if there are none. */
struct pviommu_aperture_stats stats_now(struct ctx *ctx);
__u64 pinned(struct ctx *ctx);

/* Hypercalls on aperture 0. */
__s64 hc(struct ctx *ctx, __u32 op, __u64 rcx, __u64 rdx, __u64 rsi);
__s64 hc_on(struct ctx *ctx, __u32 aperture, __u32 op, __u64 rcx, __u64 rdx,
	    __u64 rsi);
__s64 hc_sync(struct ctx *ctx, __u64 first, __u64 count);
__s64 hc_sync_flags(struct ctx *ctx, __u64 first, __u64 count, __u64 flags);
/* By any vCPU, on aperture 0. */
__s64 vcpu_hc(struct vcpu *vcpu, __u32 op, __u64 rcx, __u64 rdx, __u64 rsi);
/* From where it came to, until it is through; 0, or the code that stopped it. */
__s64 vcpu_sync_all(struct vcpu *vcpu, __u64 first, __u64 count, __u64 flags);
__s64 hc_sync_all(struct ctx *ctx, __u64 first, __u64 count);
/* The array is at GPA_BUFFER. */
__s64 hc_sync_list(struct ctx *ctx, __u64 nr, __u64 flags);
__s64 hc_endpoint(struct ctx *ctx, __u32 segment, __u8 bus, __u8 depth,
		  __u64 path);

/* The table: all leaves there, entries empty. */
void table_init(struct ctx *ctx);
void table_set(struct ctx *ctx, __u64 index, __u64 entry);
/* Window page i to guest page i, read and write; and none of them. */
void table_fill(struct ctx *ctx, __u64 first, __u64 count);
void table_clear(struct ctx *ctx, __u64 first, __u64 count);
__u64 page_iova(__u64 index);
__u8 *guest_page(struct ctx *ctx, unsigned int n);
__u64 guest_page_entry(unsigned int n, __u64 perm);

/* Whole set-ups: bind, aperture 0, edu attached; then enabled on a table. */
int setup_attached(struct ctx *ctx, __u64 budget);
int setup_enabled(struct ctx *ctx, __u64 budget);

/*
 * What the device can do. Each moves a fresh pattern; the device's buffer can only
 * be looked at through a page that it can write, so window page @via is mapped to
 * @via_mem.
 */
bool device_writes(struct ctx *ctx, __u64 iova, __u8 *mem);
/* From @iova, where @mem is, to the IOVA @via, where @via_mem is. */
bool device_copies(struct ctx *ctx, __u64 iova, __u8 *mem, __u64 via,
		   __u8 *via_mem);
bool device_reads(struct ctx *ctx, __u64 iova, __u8 *mem, __u64 via,
		  __u8 *via_mem);

#endif /* PVIOMMU_SELFTEST_APERTURE_H */
