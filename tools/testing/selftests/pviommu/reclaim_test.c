// SPDX-License-Identifier: GPL-2.0-only
/*
 * A direct table, and the host that takes back what nobody uses.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "load.h"

/* Window page and guest page through which the device's buffer is looked at. */
#define VIA	100

#define USE	PVIOMMU_ENTRY_USE
#define SYNCED	_BITULL(62)

#define ROUNDS	300

FIXTURE(reclaim) {
	struct ctx ctx;
};

FIXTURE_SETUP(reclaim)
{
	struct ctx *ctx = &self->ctx;

	choose_tables();
	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, setup_attached(ctx, 0));
	table_init(ctx);
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY,
			PVIOMMU_ENABLE_DIRECT, 0));
	table_set(ctx, VIA, guest_page_entry(VIA, RW) | USE);
	ASSERT_EQ(1, hc_sync(ctx, VIA, 1));
}

FIXTURE_TEARDOWN(reclaim)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

static __s64 reclaim_of(struct ctx *ctx, __u32 aperture, __u64 pages)
{
	struct pviommu_reclaim cmd = {
		.size = sizeof(cmd),
		.aperture_id = aperture,
		.pages = pages,
	};

	return ioctl(ctx->fd, PVIOMMU_RECLAIM, &cmd) ? -errno : cmd.out_pages;
}

static __s64 reclaim(struct ctx *ctx)
{
	return reclaim_of(ctx, 0, -1ULL);
}

static __u64 *entry_at(struct ctx *ctx, __u64 index)
{
	return (__u64 *)(ctx->vm.mem + GPA_LEAVES) + index;
}

static __u64 entry(struct ctx *ctx, __u64 index)
{
	return __atomic_load_n(entry_at(ctx, index), __ATOMIC_ACQUIRE);
}

/* Window pages from @first on, and guest pages, with as many uses. */
static void map(struct __test_metadata *_metadata, struct ctx *ctx, __u64 first,
		__u64 count, __u64 uses)
{
	__u64 i;

	for (i = first; i < first + count; i++)
		table_set(ctx, i, guest_page_entry(i, RW) | SYNCED | uses * USE);
	ASSERT_EQ(0, hc_sync_all(ctx, first, count));
}

static bool writes(struct ctx *ctx, __u64 index)
{
	return device_writes(ctx, page_iova(index), guest_page(ctx, index));
}

TEST_F(reclaim, idle_page)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 3, 1, 0);
	EXPECT_TRUE(writes(ctx, 3));
	EXPECT_EQ(1, reclaim(ctx));
	EXPECT_EQ(0, entry(ctx, 3));
	EXPECT_FALSE(writes(ctx, 3));
	EXPECT_TRUE(device_reads(ctx, page_iova(VIA), guest_page(ctx, VIA), VIA,
				 guest_page(ctx, VIA)));
	EXPECT_EQ(1, pinned(ctx));

	/* The guest needs it again. */
	map(_metadata, ctx, 3, 1, 1);
	EXPECT_TRUE(writes(ctx, 3));
}

TEST_F(reclaim, page_in_use)
{
	struct ctx *ctx = &self->ctx;
	struct pviommu_aperture_stats stats;

	map(_metadata, ctx, 3, 1, 1);
	map(_metadata, ctx, 4, 1, 511);
	map(_metadata, ctx, 5, 1, 0);
	EXPECT_EQ(1, reclaim(ctx));
	EXPECT_TRUE(writes(ctx, 3));
	EXPECT_TRUE(writes(ctx, 4));
	EXPECT_FALSE(writes(ctx, 5));
	EXPECT_EQ(0, reclaim(ctx));
	stats = stats_now(ctx);
	EXPECT_EQ(1, stats.direct);
	EXPECT_EQ(2, stats.reclaims);
	EXPECT_EQ(1, stats.reclaimed);
	EXPECT_EQ(3, stats.pinned);
}

/* The leaf is pinned, too, and locked, but for the VMM and not for the guest's budget. */
TEST_F(reclaim, leaf)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(1, pinned(ctx));
	EXPECT_EQ(ctx->pins + 2, pins_now());
	map(_metadata, ctx, 3, 1, 0);
	EXPECT_EQ(ctx->pins + 3, pins_now());
	map(_metadata, ctx, 512, 1, 0);
	EXPECT_EQ(3, pinned(ctx));
	EXPECT_EQ(ctx->pins + 5, pins_now());
	EXPECT_EQ(2, reclaim(ctx));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(reclaim, as_many_as_wanted)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 500, 700, 0);
	EXPECT_EQ(0, reclaim_of(ctx, 0, 0));
	EXPECT_EQ(1, reclaim_of(ctx, 0, 1));
	EXPECT_EQ(300, reclaim_of(ctx, PVIOMMU_APERTURE_ALL, 300));
	EXPECT_EQ(400, pinned(ctx));
	EXPECT_EQ(399, reclaim_of(ctx, 0, 1ULL << 40));
	EXPECT_EQ(1, pinned(ctx));
}

TEST_F(reclaim, errors)
{
	struct pviommu_reclaim cmd = { .size = sizeof(cmd), .flags = 1 };
	struct ctx *ctx = &self->ctx;

	EXPECT_ERRNO(EOPNOTSUPP, ioctl(ctx->fd, PVIOMMU_RECLAIM, &cmd));
	cmd.flags = 0;
	cmd.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(ctx->fd, PVIOMMU_RECLAIM, &cmd));
	cmd.__reserved = 0;
	cmd.size--;
	EXPECT_ERRNO(EINVAL, ioctl(ctx->fd, PVIOMMU_RECLAIM, &cmd));
	EXPECT_EQ(-ENOENT, reclaim_of(ctx, 1, 1));
}

/* Another kernel, in another mode: its entries have no use counts. */
TEST_F(reclaim, only_direct_tables)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	map(_metadata, ctx, 3, 1, 0);
	EXPECT_EQ(0, reclaim(ctx));
	EXPECT_TRUE(writes(ctx, 3));
	EXPECT_EQ(0, stats_now(ctx).direct);
	EXPECT_EQ(ctx->pins + 1, pins_now());
}

/* It only harms itself. */
TEST_F(reclaim, lies)
{
	struct ctx *ctx = &self->ctx;

	/* Idle, it says, and expects the device to reach it. */
	map(_metadata, ctx, 3, 1, 0);
	EXPECT_EQ(1, reclaim(ctx));
	table_set(ctx, 3, guest_page_entry(3, RW) | SYNCED | USE);
	EXPECT_FALSE(writes(ctx, 3));
	EXPECT_EQ(1, pinned(ctx));

	/* In use for ever: the budget bounds that. */
	map(_metadata, ctx, 4, 1, 1);
	EXPECT_EQ(0, reclaim(ctx));

	/* What it has put there instead since is not what is mapped: it may be no table. */
	map(_metadata, ctx, 5, 1, 0);
	table_set(ctx, 5, guest_page_entry(6, RW));
	EXPECT_EQ(0, reclaim(ctx));
	EXPECT_EQ(guest_page_entry(6, RW), entry(ctx, 5));
	table_set(ctx, 5, 0);
	ASSERT_EQ(1, hc_sync_flags(ctx, 5, 1, PVIOMMU_SYNC_UNMAP));

	/* Nothing that it has not synced is looked at. */
	table_set(ctx, 7, guest_page_entry(7, RW));
	EXPECT_EQ(0, reclaim(ctx));
	EXPECT_EQ(guest_page_entry(7, RW), entry(ctx, 7));
	EXPECT_EQ(2, pinned(ctx));
}

static void drop_slab(struct __test_metadata *_metadata)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	ASSERT_NE(-1, fd);
	ASSERT_EQ(1, write(fd, "2", 1));
	close(fd);
}

/* The host's memory management asks. */
TEST_F(reclaim, shrinker)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, VIA, 0);
	map(_metadata, ctx, 600, 600, 0);
	EXPECT_EQ(701, pinned(ctx));
	/* A worker does it; and the kernel asks for a part of it at a time. */
	while (pinned(ctx) > 1) {
		drop_slab(_metadata);
		usleep(1000);
	}
	EXPECT_EQ(0, entry(ctx, 0));
	EXPECT_NE(0, entry(ctx, VIA));
	EXPECT_FALSE(writes(ctx, 600));
	EXPECT_EQ(700, stats_now(ctx).reclaimed);
}

struct taker {
	struct ctx *ctx;
	atomic_bool stop;
	atomic_ulong taken;
	pthread_t thread;
};

static void *taker_thread(void *data)
{
	struct taker *taker = data;

	while (!atomic_load(&taker->stop))
		atomic_fetch_add(&taker->taken, reclaim(taker->ctx));
	return NULL;
}

static void taker_start(struct __test_metadata *_metadata, struct taker *taker)
{
	ASSERT_EQ(0, pthread_create(&taker->thread, NULL, taker_thread, taker));
}

static void taker_end(struct taker *taker)
{
	atomic_store(&taker->stop, true);
	pthread_join(taker->thread, NULL);
}

/* One use more, as Documentation/direct-mode.rst says. False if the host refuses. */
static bool use(struct ctx *ctx, __u64 index)
{
	__u64 *at = entry_at(ctx, index);
	__u64 old = entry(ctx, index), new;

	do {
		new = (old ?: guest_page_entry(index, RW)) + USE;
	} while (!__atomic_compare_exchange_n(at, &old, new, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
	if (old & SYNCED)
		return true;
	if (hc_sync_all(ctx, index, 1))
		return false;
	__atomic_fetch_or(at, SYNCED, __ATOMIC_SEQ_CST);
	return true;
}

static void unuse(struct ctx *ctx, __u64 index)
{
	__atomic_fetch_sub(entry_at(ctx, index), USE, __ATOMIC_SEQ_CST);
}

/* Whatever the host takes meanwhile, what is in use is there. */
TEST_F(reclaim, never_in_use)
{
	struct taker taker = { .ctx = &self->ctx };
	struct ctx *ctx = &self->ctx;
	unsigned int i, round;
	unsigned long before;

	taker_start(_metadata, &taker);
	for (round = 0; round < test_rounds(ROUNDS); round++) {
		for (i = 0; i < 8; i++)
			EXPECT_TRUE(use(ctx, i));
		/* A transfer takes long: not each time. */
		if (round % 16 == 0)
			EXPECT_TRUE(writes(ctx, round / 16 % 8));
		before = atomic_load(&taker.taken);
		for (i = 0; i < 8; i++)
			unuse(ctx, i);
		/* With one processor there may be no contention but for this. */
		while (round % 4 == 0 && atomic_load(&taker.taken) - before < 8)
			usleep(100);
	}
	taker_end(&taker);
	reclaim(ctx);
	EXPECT_EQ(1, pinned(ctx));
	EXPECT_EQ(0, stats_now(ctx).refused);
	EXPECT_EQ(ctx->pins + 2, pins_now());
}

/* A guest that keeps to nothing at all. */
TEST_F(reclaim, changing_meanwhile)
{
	struct entry_load writer;
	struct taker taker = { .ctx = &self->ctx };
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	taker_start(_metadata, &taker);
	entry_load_start(&writer, ctx, 5);
	for (i = 0; i < test_rounds(ROUNDS); i++)
		ASSERT_EQ(0, hc_sync_all(ctx, 0, 64));
	entry_load_end(&writer);
	taker_end(&taker);

	table_clear(ctx, 0, 64);
	EXPECT_EQ(0, hc_sync_all(ctx, 0, 64));
	map(_metadata, ctx, 3, 1, 1);
	EXPECT_EQ(2, pinned(ctx));
	EXPECT_TRUE(writes(ctx, 3));
	EXPECT_FALSE(writes(ctx, 2));
}

TEST_HARNESS_MAIN
