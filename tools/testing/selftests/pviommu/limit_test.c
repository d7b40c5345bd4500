// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits: of what is pinned, of what the host keeps for it, and of what one call
 * does.
 */
#include <linux/capability.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"

/* CAP_IPC_LOCK lifts the limit. */
static int limit_memlock(unsigned long pages, bool capable)
{
	const struct rlimit limit = { pages * 4096, pages * 4096 };
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		return -1;
	if (capable)
		return 0;
	if (syscall(SYS_capget, &header, data))
		return -1;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	return syscall(SYS_capset, &header, data);
}

FIXTURE(memlock) {
	struct ctx ctx;
};

FIXTURE_SETUP(memlock)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, 0));
}

FIXTURE_TEARDOWN(memlock)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

TEST_F(memlock, shows_in_vmlck)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(0, locked_kib());
	table_fill(ctx, 0, 300);
	ASSERT_EQ(300, hc_sync(ctx, 0, 300));
	EXPECT_LE(300 * 4, locked_kib());
	/* In chunks, but not in large ones. */
	EXPECT_GE(364 * 4, locked_kib());
	EXPECT_EQ(locked_kib(), stats_now(ctx).charged * 4);

	table_clear(ctx, 0, 300);
	ASSERT_EQ(300, hc_sync_flags(ctx, 0, 300, PVIOMMU_SYNC_UNMAP));
	EXPECT_GE(64 * 4, locked_kib());
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	EXPECT_EQ(0, locked_kib());
}

TEST_F(memlock, to_its_last_page)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, limit_memlock(100 + pinned_with(1), false));
	table_fill(ctx, 0, 101);
	EXPECT_EQ(PVIOMMU_RC_LOCK_LIMIT, hc_sync_all(ctx, 0, 101));
	EXPECT_EQ(100, pinned(ctx));
	EXPECT_EQ(400 + 4 * pinned_with(1), locked_kib());
	EXPECT_EQ(ctx->pins + 100, pins_now());

	/* What goes makes room. */
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(1, hc_sync(ctx, 100, 1));
	EXPECT_EQ(ctx->pins + 100, pins_now());
}

TEST_F(memlock, none_at_all)
{
	ASSERT_EQ(0, limit_memlock(0, false));
	table_fill(&self->ctx, 0, 1);
	EXPECT_EQ(PVIOMMU_RC_LOCK_LIMIT, hc_sync(&self->ctx, 0, 1));
	EXPECT_EQ(0, pinned(&self->ctx));
}

TEST_F(memlock, lifted_by_capability)
{
	ASSERT_EQ(0, limit_memlock(1, true));
	table_fill(&self->ctx, 0, 50);
	EXPECT_EQ(50, hc_sync(&self->ctx, 0, 50));
}

/*
 * The budget at, below and over its edge.
 */
FIXTURE(budget) {
	struct ctx ctx;
};

FIXTURE_VARIANT(budget) {
	__u64 pages;
};

FIXTURE_VARIANT_ADD(budget, one_page) { .pages = 1 };
FIXTURE_VARIANT_ADD(budget, a_leaf) { .pages = PVIOMMU_ENTRIES_PER_LEAF };
FIXTURE_VARIANT_ADD(budget, a_leaf_and_one) {
	.pages = PVIOMMU_ENTRIES_PER_LEAF + 1,
};

FIXTURE_SETUP(budget)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, variant->pages));
}

FIXTURE_TEARDOWN(budget)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(budget, edge)
{
	struct ctx *ctx = &self->ctx;
	__u64 n = variant->pages;

	table_fill(ctx, 0, n + 1);
	ASSERT_EQ(0, hc_sync_all(ctx, 0, n - 1));
	EXPECT_EQ(n - 1, pinned(ctx));
	EXPECT_EQ(1, hc_sync(ctx, n - 1, 1));
	EXPECT_EQ(n, pinned(ctx));
	EXPECT_TRUE(device_writes(ctx, page_iova(n - 1),
				  guest_page(ctx, n - 1)));

	EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, hc_sync(ctx, n, 1));
	EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, hc_sync_all(ctx, 0, n + 1));
	EXPECT_EQ(n, pinned(ctx));
	EXPECT_EQ(ctx->pins + n, pins_now());
	EXPECT_EQ(n, stats_now(ctx).pinned_peak);
	EXPECT_FALSE(device_writes(ctx, page_iova(n), guest_page(ctx, n)));

	/* What goes makes room in the same call. */
	table_set(ctx, n - 1, 0);
	EXPECT_EQ(2, hc_sync(ctx, n - 1, 2));
	EXPECT_EQ(n, pinned(ctx));
	EXPECT_TRUE(device_writes(ctx, page_iova(n), guest_page(ctx, n)));
	EXPECT_EQ(n, stats_now(ctx).pinned_peak);
}

/*
 * Two apertures, each with a device. Both follow the same table.
 */
FIXTURE(two) {
	struct ctx ctx;
	struct vfio_dev other;
};

#define FIRST_BUDGET	60
#define SECOND_BUDGET	150

FIXTURE_SETUP(two)
{
	struct ctx *ctx = &self->ctx;
	__u32 id;

	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, vfio_dev_open(&self->other, other_bdf()));
	ASSERT_EQ(0, setup_enabled(ctx, FIRST_BUDGET));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE, 512 * VM_PAGE_SIZE,
				       SECOND_BUDGET, &id));
	ASSERT_EQ(1, id);
	ASSERT_EQ(0, __attach(ctx->fd, id, self->other.device_fd,
			      host_device(other_bdf()), GUEST_DEVFN + 8));
	ASSERT_EQ(0, hc_on(ctx, id, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	table_fill(ctx, 0, 512);
}

FIXTURE_TEARDOWN(two)
{
	vfio_dev_close(&self->other);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

static __s64 sync_second(struct ctx *ctx, __u64 first, __u64 count)
{
	return hc_on(ctx, 1, PVIOMMU_OP_SYNC, first, count, 0);
}

TEST_F(two, budgets_of_their_own)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(FIRST_BUDGET, hc_sync(ctx, 0, 512));
	EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, hc_sync(ctx, FIRST_BUDGET, 1));
	EXPECT_EQ(SECOND_BUDGET, sync_second(ctx, 0, 512));
	EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, sync_second(ctx, SECOND_BUDGET, 1));
	EXPECT_EQ(ctx->pins + FIRST_BUDGET + SECOND_BUDGET, pins_now());
	/* What one gives back is not the other's. */
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, sync_second(ctx, SECOND_BUDGET, 1));
}

TEST_F(two, one_memlock_limit)
{
	struct ctx *ctx = &self->ctx;
	__u64 rest = 100 - FIRST_BUDGET, done = 0;
	__s64 n;

	ASSERT_EQ(0, limit_memlock(100 + pinned_with(2), false));
	ASSERT_EQ(0, hc_sync_all(ctx, 0, FIRST_BUDGET));
	while ((n = sync_second(ctx, done, SECOND_BUDGET - done)) > 0)
		done += n;
	EXPECT_EQ(PVIOMMU_RC_LOCK_LIMIT, n);
	EXPECT_EQ(rest, done);
	EXPECT_EQ(ctx->pins + 100, pins_now());
	EXPECT_EQ(400 + 4 * pinned_with(2), locked_kib());

	/* What one gives back is the other's: a page, or all of it. */
	table_clear(ctx, 0, 1);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(1, sync_second(ctx, done, 1));
	done++;
	EXPECT_EQ(PVIOMMU_RC_LOCK_LIMIT, sync_second(ctx, done, 1));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	while ((n = sync_second(ctx, done, SECOND_BUDGET - done)) > 0)
		done += n;
	EXPECT_EQ(PVIOMMU_RC_LOCK_LIMIT, n);
	/* Its table's page, too. */
	EXPECT_EQ(100 + pinned_with(1), done);
}

/*
 * A window much larger than the budget, where all leaves are the same page.
 */
#define LEAVES		512UL
#define LARGE_BASE	0x40000000UL
#define LARGE_PAGES	(LEAVES * PVIOMMU_ENTRIES_PER_LEAF)
#define SPARE_LEAVES	64
/* By one call that only removes. */
#define MOST_UNMAPPED	8192UL

FIXTURE(large) {
	struct ctx ctx;
};

FIXTURE_VARIANT(large) {
	__u64 budget;
};

FIXTURE_VARIANT_ADD(large, small_budget) { .budget = 8 };
FIXTURE_VARIANT_ADD(large, budget) { .budget = 10000 };

FIXTURE_SETUP(large)
{
	struct ctx *ctx = &self->ctx;
	__u64 *directory, i;

	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, LARGE_BASE,
				       LARGE_PAGES * VM_PAGE_SIZE,
				       variant->budget, NULL));
	ASSERT_EQ(0, __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	table_init(ctx);
	directory = (__u64 *)(ctx->vm.mem + GPA_DIRECTORY);
	for (i = 0; i < LEAVES; i++)
		directory[i] = GPA_LEAVES;
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
}

FIXTURE_TEARDOWN(large)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

/* In each leaf something comes and goes. */
TEST_F(large, leaves_that_were_used)
{
	__u64 i, most = SPARE_LEAVES + variant->budget, seen = 0;
	struct ctx *ctx = &self->ctx;

	for (i = 0; i < LEAVES; i++) {
		table_fill(ctx, 0, 1);
		ASSERT_EQ(1, hc_sync(ctx, i * 512, 1));
		table_clear(ctx, 0, 1);
		ASSERT_EQ(1, hc_sync_flags(ctx, i * 512, 1, PVIOMMU_SYNC_UNMAP));
		ASSERT_GE(most, stats_now(ctx).shadow_leaves);
		seen = stats_now(ctx).shadow_leaves;
	}
	/* It does keep some: the next mapping is cheaper. */
	EXPECT_LT(0, seen);
	EXPECT_EQ(0, pinned(ctx));
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	EXPECT_EQ(0, stats_now(ctx).shadow_leaves);
}

/* In each leaf there is an entry that is refused. */
TEST_F(large, leaves_with_bad_entries)
{
	__u64 i, most = SPARE_LEAVES + variant->budget;
	struct ctx *ctx = &self->ctx;

	table_set(ctx, 0, guest_page_entry(0, RW) | 8);
	for (i = 0; i < LEAVES; i++) {
		ASSERT_EQ(PVIOMMU_RC_BAD_ENTRY, hc_sync(ctx, i * 512, 1));
		ASSERT_GE(most, stats_now(ctx).shadow_leaves);
	}
}

/* One call can name many leaves. */
TEST_F(large, leaves_of_a_list)
{
	__u64 most = SPARE_LEAVES + variant->budget;
	struct pviommu_range *ranges;
	struct ctx *ctx = &self->ctx;
	__u64 i, round;

	ranges = (struct pviommu_range *)(ctx->vm.mem + GPA_BUFFER);
	table_set(ctx, 0, guest_page_entry(0, RW) | 8);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 256; i++)
			ranges[i] = (struct pviommu_range){
				(round * 256 + i) * 512, 1 };
		ASSERT_EQ(PVIOMMU_RC_BAD_ENTRY, hc_sync_list(ctx, 256, 0));
		ASSERT_GE(most, stats_now(ctx).shadow_leaves);
	}
}

/*
 * What one call does.
 */
TEST_F(large, list_is_bounded)
{
	struct pviommu_probe_info *info;
	struct pviommu_range *ranges;
	struct ctx *ctx = &self->ctx;
	__u32 pages, nr, i;

	info = (struct pviommu_probe_info *)(ctx->vm.mem + GPA_BUFFER);
	ASSERT_LT(0, hc(ctx, PVIOMMU_OP_PROBE, GPA_BUFFER, sizeof(*info), 0));
	pages = info->sync_max_pages;
	nr = info->sync_max_ranges;
	ASSERT_LE(256, nr);

	ranges = (struct pviommu_range *)(ctx->vm.mem + GPA_BUFFER);
	for (i = 0; i < nr; i++)
		ranges[i] = (struct pviommu_range){ i * 512, 512 };
	EXPECT_EQ(pages, hc_sync_list(ctx, nr, 0));
	EXPECT_EQ(MOST_UNMAPPED, hc_sync_list(ctx, nr, PVIOMMU_SYNC_UNMAP));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_sync_list(ctx, nr + 1, 0));
	/* As many ranges as there may be, all of them through. */
	for (i = 0; i < nr; i++)
		ranges[i] = (struct pviommu_range){ i * 512, 1 };
	EXPECT_EQ(nr, hc_sync_list(ctx, nr, 0));
	EXPECT_EQ(pages, hc_sync(ctx, 0, LARGE_PAGES));
	EXPECT_EQ(MOST_UNMAPPED, hc_sync_flags(ctx, 0, LARGE_PAGES,
					       PVIOMMU_SYNC_UNMAP));
}

/* What waits in a guest's flush queue: 256 buffers of 128 KiB, apart from each other. */
#define NR_BUFFERS	256UL
#define BUFFER		(MOST_UNMAPPED / NR_BUFFERS)

TEST_F(large, many_buffers_have_one_flush)
{
	/* Or as much as the budget allows, besides another one, which stays. */
	const __u64 size = variant->budget > MOST_UNMAPPED ? BUFFER : 1;
	const __u64 most = variant->budget / size - 1;
	const __u64 nr = most < NR_BUFFERS ? most : NR_BUFFERS;
	struct pviommu_aperture_stats before, after;
	struct pviommu_range *ranges;
	struct ctx *ctx = &self->ctx;
	__u64 i;

	for (i = 0; i < PVIOMMU_ENTRIES_PER_LEAF; i++)
		if (i % (2 * size) < size)
			table_set(ctx, i, guest_page_entry(i, RW));
	ranges = (struct pviommu_range *)(ctx->vm.mem + GPA_BUFFER);
	for (i = 0; i < nr; i++) {
		ranges[i] = (struct pviommu_range){ i * 2 * size, size };
		ASSERT_EQ(size, hc_sync(ctx, ranges[i].first, size));
	}
	ASSERT_EQ(size, hc_sync(ctx, nr * 2 * size, size));
	before = stats_now(ctx);
	ASSERT_EQ((nr + 1) * size, before.pinned);

	for (i = 0; i < PVIOMMU_ENTRIES_PER_LEAF; i++)
		table_set(ctx, i, 0);
	EXPECT_EQ(nr * size, hc_sync_list(ctx, nr, PVIOMMU_SYNC_UNMAP));
	after = stats_now(ctx);
	EXPECT_EQ(before.flushes + 1, after.flushes);
	EXPECT_EQ(before.unmapped + nr * size, after.unmapped);
	EXPECT_EQ(size, after.pinned);
	EXPECT_EQ(ctx->pins + size, pins_now());
}

/* Much is mapped, page after page the same few. */
#define MUCH	9000UL

static __u64 map_much(struct ctx *ctx)
{
	__u64 i;

	for (i = 0; i < PVIOMMU_ENTRIES_PER_LEAF; i++)
		table_set(ctx, i, guest_page_entry(i, RW));
	return hc_sync_all(ctx, 0, MUCH);
}

/* Until it is through; each call gets on, and not with everything at once. */
static void drop_bit_by_bit(struct __test_metadata *_metadata, struct ctx *ctx,
			    __u32 op, __u64 rcx)
{
	__u64 before = pinned(ctx);
	unsigned int calls = 0;
	__s64 rc;

	ASSERT_EQ(MUCH, before);
	do {
		rc = hc(ctx, op, rcx, 0, 0);
		calls++;
		EXPECT_GT(before, pinned(ctx));
		before = pinned(ctx);
		if (rc)
			EXPECT_EQ(0, stats_now(ctx).enabled);
	} while (rc == PVIOMMU_RC_RETRY);
	EXPECT_EQ(0, rc);
	EXPECT_EQ(0, before);
	EXPECT_LT(1, calls);
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(large, drop_is_bounded)
{
	struct ctx *ctx = &self->ctx;

	if (variant->budget < MUCH) {
		EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, map_much(ctx));
		EXPECT_EQ(variant->budget, pinned(ctx));
		return;
	}
	ASSERT_EQ(0, map_much(ctx));
	drop_bit_by_bit(_metadata, ctx, PVIOMMU_OP_DISABLE, 0);
	EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED, hc_sync(ctx, 0, 1));

	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	ASSERT_EQ(0, map_much(ctx));
	drop_bit_by_bit(_metadata, ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY);
	EXPECT_EQ(1, stats_now(ctx).enabled);

	/* A reset does not stop half-way. */
	ASSERT_EQ(0, map_much(ctx));
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	EXPECT_EQ(0, pinned(ctx));
	EXPECT_EQ(ctx->pins, pins_now());
}

/*
 * One frame wherever there is room: its reference count has an end, and the host
 * stops well before.
 */
#define MANY_LEAVES	129UL
#define MOST_PINS	65536UL

TEST_F(memlock, one_frame_everywhere)
{
	__u64 i, done = 0, npages = MANY_LEAVES * PVIOMMU_ENTRIES_PER_LEAF;
	__u64 *directory = (__u64 *)(self->ctx.vm.mem + GPA_DIRECTORY);
	struct ctx *ctx = &self->ctx;
	__s64 n = 0;

	/* Counted differently in a huge page. */
	ASSERT_EQ(0, madvise(guest_page(ctx, 0), VM_PAGE_SIZE,
			     MADV_NOHUGEPAGE));
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, __create_aperture(ctx->fd, LARGE_BASE,
				       npages * VM_PAGE_SIZE, 0, NULL));
	ASSERT_EQ(0, __attach(ctx->fd, 1, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	for (i = 0; i < PVIOMMU_ENTRIES_PER_LEAF; i++)
		table_set(ctx, i, guest_page_entry(0, RW));
	for (i = 0; i < MANY_LEAVES; i++)
		directory[i] = GPA_LEAVES;
	ASSERT_EQ(0, hc_on(ctx, 1, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));

	while (done < npages) {
		n = hc_on(ctx, 1, PVIOMMU_OP_SYNC, done, npages - done, 0);
		if (n < 0)
			break;
		ASSERT_NE(0, n);
		done += n;
	}
	EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, n);
	/* A run that is being pinned may go a little beyond before it is seen. */
	EXPECT_LE(MOST_PINS - 512, done);
	EXPECT_GE(MOST_PINS + 512, done);
	EXPECT_EQ(ctx->pins + done, pins_now());
	ASSERT_EQ(0, __reset(ctx->fd, 1));
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_HARNESS_MAIN
