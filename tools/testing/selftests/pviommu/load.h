/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that keep a device and a vCPU busy while something else happens.
 */
#ifndef PVIOMMU_SELFTEST_LOAD_H
#define PVIOMMU_SELFTEST_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "aperture.h"

/**
 * struct dma_load - edu writes to one IOVA, over and over
 * @ctx: the device's
 * @iova: where it writes
 * @transfers: that have finished; they need not have arrived
 */
struct dma_load {
	struct ctx *ctx;
	__u64 iova;
	atomic_ulong transfers;
	atomic_bool stop;	/* private */
	pthread_t thread;	/* private */
};

/**
 * struct sync_load - a vCPU maps a range and unmaps it, over and over
 * @ctx: the aperture's
 * @vcpu: the vCPU
 * @first: window page, and guest page
 * @count: of pages
 * @rounds: that were gone through
 * @mapped: rounds in which all was mapped
 * @wrong: the last result that is never right here; 0 if there was none
 *
 * If the aperture is not enabled any more it is enabled again.
 */
struct sync_load {
	struct ctx *ctx;
	struct vcpu *vcpu;
	__u64 first, count;
	atomic_ulong rounds;
	atomic_ulong mapped;
	__s64 wrong;
	atomic_bool stop;	/* private */
	pthread_t thread;	/* private */
};

/**
 * struct entry_load - entries of the first 64 window pages change, over and over
 * @ctx: the aperture's
 * @uses: they count fewer uses than that
 *
 * Nobody is told.
 */
struct entry_load {
	struct ctx *ctx;
	unsigned int uses;
	atomic_bool stop;	/* private */
	pthread_t thread;	/* private */
};

void entry_load_start(struct entry_load *load, struct ctx *ctx, unsigned int uses);
void entry_load_end(struct entry_load *load);
void dma_load_start(struct dma_load *load, struct ctx *ctx, __u64 iova);
void dma_load_end(struct dma_load *load);
void sync_load_start(struct sync_load *load, struct ctx *ctx, struct vcpu *vcpu,
		     __u64 first, __u64 count);
void sync_load_end(struct sync_load *load);
/* @n, or fewer where PVIOMMU_TEST_DIVISOR says that the kernel is slow. */
unsigned int test_rounds(unsigned int n);
/* Until @count has grown by @n. */
void load_wait(atomic_ulong *count, unsigned long n);

#endif /* PVIOMMU_SELFTEST_LOAD_H */
