// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest ABI: SYNC and SYNC_LIST.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "harness.h"

#include "aperture.h"

#define NO_RAM_GPA	0x10000000000UL

#define BUDGET	600

FIXTURE(sync) {
	struct ctx ctx;
	struct pviommu_range *ranges;
};

FIXTURE_SETUP(sync)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, BUDGET));
	self->ranges = (struct pviommu_range *)(self->ctx.vm.mem + GPA_BUFFER);
}

FIXTURE_TEARDOWN(sync)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(sync, map_and_unmap)
{
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, 4);
	EXPECT_EQ(4, hc_sync(ctx, 0, 4));
	EXPECT_EQ(4, pinned(ctx));
	EXPECT_EQ(ctx->pins + 4, pins_now());
	/* Idempotent. */
	EXPECT_EQ(4, hc_sync(ctx, 0, 4));
	EXPECT_EQ(4, pinned(ctx));
	EXPECT_EQ(ctx->pins + 4, pins_now());

	table_set(ctx, 1, 0);
	EXPECT_EQ(4, hc_sync(ctx, 0, 4));
	EXPECT_EQ(3, pinned(ctx));
	/* Neither READ nor WRITE is unmapped, whatever else. */
	table_set(ctx, 2, guest_page_entry(2, 0) | 0x8000000000000ffc);
	EXPECT_EQ(4, hc_sync(ctx, 0, 4));
	EXPECT_EQ(2, pinned(ctx));
	EXPECT_EQ(ctx->pins + 2, pins_now());
}

TEST_F(sync, range)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(0, hc_sync(ctx, 0, 0));
	EXPECT_EQ(0, hc_sync(ctx, WINDOW_PAGES, 0));
	EXPECT_EQ(1, hc_sync(ctx, WINDOW_PAGES - 1, 1));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync(ctx, WINDOW_PAGES, 1));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync(ctx, WINDOW_PAGES - 1, 2));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync(ctx, 0, WINDOW_PAGES + 1));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync(ctx, 1, -1UL));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync(ctx, -1UL, 2));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync_flags(ctx, 0, 1, 2));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync_flags(ctx, 0, 1, 1UL << 63));
}

TEST_F(sync, progress)
{
	struct pviommu_probe_info *info =
		(struct pviommu_probe_info *)(self->ctx.vm.mem + GPA_BUFFER);
	struct ctx *ctx = &self->ctx;
	__u64 done = 0;
	__s64 n;

	ASSERT_LT(0, hc(ctx, PVIOMMU_OP_PROBE, GPA_BUFFER, 64, 0));
	ASSERT_GT(WINDOW_PAGES, info->sync_max_pages);
	table_fill(ctx, 0, BUDGET);
	EXPECT_EQ(info->sync_max_pages, hc_sync(ctx, 0, WINDOW_PAGES));
	EXPECT_EQ(info->sync_max_pages, pinned(ctx));
	while (done < WINDOW_PAGES) {
		n = hc_sync(ctx, done, WINDOW_PAGES - done);
		ASSERT_LT(0, n);
		done += n;
	}
	EXPECT_EQ(WINDOW_PAGES, done);
	EXPECT_EQ(BUDGET, pinned(ctx));
}

TEST_F(sync, runs_are_coalesced)
{
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;
	__u64 flushes;

	/* One huge page behind all of them: contiguous in the host, too. */
	ASSERT_EQ(0, madvise(guest_page(ctx, 0), 4UL << 20, MADV_HUGEPAGE));
	memset(guest_page(ctx, 0), 1, 4UL << 20);
	table_fill(ctx, 0, 512);
	ASSERT_EQ(512, hc_sync(ctx, 0, 512));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(512, stats.mapped);
	EXPECT_GT(16, stats.map_calls);
	flushes = stats.flushes;

	/* One flush, for scattered pages too. */
	table_set(ctx, 1, 0);
	table_set(ctx, 5, 0);
	table_set(ctx, 6, 0);
	table_set(ctx, 400, 0);
	ASSERT_EQ(512, hc_sync(ctx, 0, 512));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(4, stats.unmapped);
	EXPECT_EQ(3, stats.unmap_calls);
	EXPECT_EQ(flushes + 1, stats.flushes);
	EXPECT_EQ(508, pinned(ctx));
}

TEST_F(sync, reserved_bits)
{
	struct ctx *ctx = &self->ctx;
	unsigned int bit;

	for (bit = 0; bit < 64; bit++) {
		if (!(PVIOMMU_ENTRY_RESERVED & 1UL << bit))
			continue;
		table_set(ctx, 0, guest_page_entry(0, RW) | 1UL << bit);
		EXPECT_EQ(PVIOMMU_RC_BAD_ENTRY, hc_sync(ctx, 0, 1));
		EXPECT_EQ(0, pinned(ctx));
	}
	/* The guest's own bits are its own. */
	table_set(ctx, 0, guest_page_entry(0, RW) | PVIOMMU_ENTRY_GUEST);
	EXPECT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(1, pinned(ctx));
}

TEST_F(sync, bad_entry_ends_the_run)
{
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, 8);
	table_set(ctx, 3, guest_page_entry(3, RW) | 8);
	EXPECT_EQ(3, hc_sync(ctx, 0, 8));
	EXPECT_EQ(3, pinned(ctx));
	EXPECT_EQ(PVIOMMU_RC_BAD_ENTRY, hc_sync(ctx, 3, 5));
	EXPECT_EQ(4, hc_sync(ctx, 4, 4));
	EXPECT_EQ(7, pinned(ctx));
}

TEST_F(sync, bad_entry_leaves_its_page_unmapped)
{
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, 2);
	ASSERT_EQ(2, hc_sync(ctx, 0, 2));
	table_set(ctx, 1, guest_page_entry(1, RW) | 8);
	EXPECT_EQ(PVIOMMU_RC_BAD_ENTRY, hc_sync(ctx, 1, 1));
	EXPECT_EQ(1, pinned(ctx));
}

TEST_F(sync, removals_come_first)
{
	struct ctx *ctx = &self->ctx;

	/* Behind a bad entry, too. */
	table_fill(ctx, 0, 4);
	ASSERT_EQ(4, hc_sync(ctx, 0, 4));
	table_set(ctx, 0, guest_page_entry(0, RW) | 8);
	table_set(ctx, 3, 0);
	EXPECT_EQ(PVIOMMU_RC_BAD_ENTRY, hc_sync(ctx, 0, 4));
	EXPECT_EQ(2, pinned(ctx));
}

TEST_F(sync, no_ram)
{
	struct ctx *ctx = &self->ctx;

	table_set(ctx, 0, NO_RAM_GPA | RW);
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
	table_set(ctx, 0, VM_MEM_SIZE | RW);
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
	table_set(ctx, 0, PVIOMMU_ENTRY_GFN | RW);
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
	table_set(ctx, 0, (VM_MEM_SIZE - VM_PAGE_SIZE) | RW);
	table_set(ctx, 1, VM_MEM_SIZE | RW);
	EXPECT_EQ(1, hc_sync(ctx, 0, 2));
	EXPECT_EQ(1, pinned(ctx));
}

TEST_F(sync, unmapped_hva)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, munmap(guest_page(ctx, 7), VM_PAGE_SIZE));
	table_fill(ctx, 6, 3);
	EXPECT_EQ(1, hc_sync(ctx, 6, 3));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 7, 1));
	EXPECT_EQ(1, pinned(ctx));
}

TEST_F(sync, read_only_memory)
{
	struct ctx *ctx = &self->ctx;
	void *mem = mmap(NULL, VM_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32, mem, VM_PAGE_SIZE,
				    KVM_MEM_READONLY));
	table_set(ctx, 0, 1UL << 32 | RW);
	EXPECT_EQ(PVIOMMU_RC_READ_ONLY, hc_sync(ctx, 0, 1));
	table_set(ctx, 0, 1UL << 32 | PVIOMMU_ENTRY_WRITE);
	EXPECT_EQ(PVIOMMU_RC_READ_ONLY, hc_sync(ctx, 0, 1));
	EXPECT_EQ(0, pinned(ctx));
	table_set(ctx, 0, 1UL << 32 | PVIOMMU_ENTRY_READ);
	EXPECT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(1, pinned(ctx));
}

TEST_F(sync, bad_table)
{
	__u64 *directory = (__u64 *)(self->ctx.vm.mem + GPA_DIRECTORY);
	struct ctx *ctx = &self->ctx;

	directory[1] = NO_RAM_GPA;
	directory[2] = GPA_LEAVES + 8;
	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE, hc_sync(ctx, 512, 1));
	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE, hc_sync(ctx, 1024, 1));
	/* Progress up to it. */
	EXPECT_EQ(12, hc_sync(ctx, 500, 20));
	/* No leaf: nothing is wanted there. */
	directory[3] = 0;
	EXPECT_EQ(512, hc_sync(ctx, 1536, 512));
}

TEST_F(sync, leaf_that_went_away)
{
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, 2);
	ASSERT_EQ(2, hc_sync(ctx, 0, 2));
	ASSERT_EQ(2, pinned(ctx));
	ASSERT_EQ(0, munmap(ctx->vm.mem + GPA_LEAVES, VM_PAGE_SIZE));
	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE, hc_sync(ctx, 0, 1));
	EXPECT_EQ(1, pinned(ctx));
	/* Never fails: what cannot be read is not wanted. */
	EXPECT_EQ(2, hc_sync_flags(ctx, 0, 2, PVIOMMU_SYNC_UNMAP));
	EXPECT_EQ(0, pinned(ctx));
}

TEST_F(sync, one_frame_many_times)
{
	struct ctx *ctx = &self->ctx;
	__u64 i;

	for (i = 0; i < 512; i++)
		table_set(ctx, i, guest_page_entry(0, RW));
	EXPECT_EQ(512, hc_sync(ctx, 0, 512));
	EXPECT_EQ(512, pinned(ctx));
	for (i = 0; i < 512; i++)
		table_set(ctx, i, 0);
	EXPECT_EQ(512, hc_sync(ctx, 0, 512));
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(sync, unmap_only_removes)
{
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, 3);
	ASSERT_EQ(3, hc_sync(ctx, 0, 3));
	table_set(ctx, 0, 0);				/* gone */
	table_set(ctx, 1, guest_page_entry(9, RW));	/* changed */
	table_set(ctx, 4, guest_page_entry(4, RW));	/* new */
	table_set(ctx, 5, guest_page_entry(5, RW) | 8);	/* bad */
	EXPECT_EQ(8, hc_sync_flags(ctx, 0, 8, PVIOMMU_SYNC_UNMAP));
	EXPECT_EQ(1, pinned(ctx));
	EXPECT_EQ(ctx->pins + 1, pins_now());
}

TEST_F(sync, list)
{
	struct pviommu_range *ranges = self->ranges;
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, 2);
	table_fill(ctx, 600, 3);
	table_fill(ctx, WINDOW_PAGES - 1, 1);
	ranges[0] = (struct pviommu_range){ 0, 2 };
	ranges[1] = (struct pviommu_range){ 5, 0 };
	ranges[2] = (struct pviommu_range){ 600, 3 };
	ranges[3] = (struct pviommu_range){ WINDOW_PAGES - 1, 1 };
	EXPECT_EQ(6, hc_sync_list(ctx, 4, 0));
	EXPECT_EQ(6, pinned(ctx));

	table_set(ctx, 1, 0);
	table_set(ctx, 601, 0);
	EXPECT_EQ(6, hc_sync_list(ctx, 4, PVIOMMU_SYNC_UNMAP));
	EXPECT_EQ(4, pinned(ctx));
	EXPECT_EQ(0, hc_sync_list(ctx, 0, 0));
}

TEST_F(sync, list_bad)
{
	struct pviommu_range *ranges = self->ranges;
	struct ctx *ctx = &self->ctx;

	ranges[0] = (struct pviommu_range){ 0, WINDOW_PAGES + 1 };
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync_list(ctx, 1, 0));
	ranges[0] = (struct pviommu_range){ -1UL, 2 };
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync_list(ctx, 1, 0));
	/* Progress up to it. */
	ranges[0] = (struct pviommu_range){ 0, 3 };
	ranges[1] = (struct pviommu_range){ WINDOW_PAGES, 1 };
	EXPECT_EQ(3, hc_sync_list(ctx, 2, 0));

	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync_list(ctx, 1, 2));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync_list(ctx, 1UL << 20, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync_list(ctx, -1UL, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_SYNC_LIST, GPA_BUFFER + 4, 1, 0));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM,
		  hc(ctx, PVIOMMU_OP_SYNC_LIST, NO_RAM_GPA, 1, 0));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM,
		  hc(ctx, PVIOMMU_OP_SYNC_LIST, VM_MEM_SIZE - 8, 1, 0));
}

TEST_F(sync, list_progress)
{
	struct pviommu_range *ranges = self->ranges;
	struct ctx *ctx = &self->ctx;

	ranges[0] = (struct pviommu_range){ 0, 400 };
	ranges[1] = (struct pviommu_range){ 1000, 400 };
	EXPECT_EQ(512, hc_sync_list(ctx, 2, 0));
}

TEST_F(sync, list_names_a_page_twice)
{
	struct pviommu_range *ranges = self->ranges;
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, 1);
	ranges[0] = (struct pviommu_range){ 0, 1 };
	ranges[1] = (struct pviommu_range){ 0, 1 };
	EXPECT_EQ(2, hc_sync_list(ctx, 2, 0));
	EXPECT_EQ(1, pinned(ctx));
	table_set(ctx, 0, guest_page_entry(1, RW));
	EXPECT_EQ(2, hc_sync_list(ctx, 2, 0));
	EXPECT_EQ(1, pinned(ctx));
	table_set(ctx, 0, 0);
	EXPECT_EQ(2, hc_sync_list(ctx, 2, 0));
	EXPECT_EQ(0, pinned(ctx));
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(sync, counters)
{
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;

	/* ENABLE was the first. */
	table_fill(ctx, 0, 4);
	ASSERT_EQ(4, hc_sync(ctx, 0, 4));
	ASSERT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync(ctx, 0, -1UL));
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync_flags(ctx, 0, 1, PVIOMMU_SYNC_UNMAP));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(4, stats.hypercalls);
	EXPECT_EQ(1, stats.refused);
	EXPECT_EQ(2, stats.syncs);
	EXPECT_EQ(5, stats.sync_pages);
	EXPECT_EQ(4, stats.mapped);
	EXPECT_EQ(1, stats.unmapped);
	EXPECT_EQ(3, stats.pinned);
	EXPECT_EQ(4, stats.pinned_peak);
	EXPECT_EQ(BUDGET, stats.budget);
}

TEST_HARNESS_MAIN
