// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that moves. What is in no aperture does, as without a device; what is, does not,
 * whatever is tried; and what the VMM discards leaves the aperture.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

/* Window page and guest page through which the device's buffer is looked at. */
#define VIA	100

#define USE	PVIOMMU_ENTRY_USE

/* Guest pages whose addresses are those of the window, as in mode direct. */
#define HERE	((WINDOW_BASE - GPA_DATA) / VM_PAGE_SIZE)

#define HUGE	(2UL << 20)

/* In pagemap. */
#define SWAPPED	_BITULL(62)
#define PRESENT	_BITULL(63)
#define PFN	(_BITULL(55) - 1)

static void where_all(const void *mem, __u64 *entries, unsigned int nr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	ssize_t size = nr * sizeof(*entries);

	memset(entries, 0, size);
	if (pread(fd, entries, size,
		  (unsigned long)mem / VM_PAGE_SIZE * sizeof(*entries)) != size)
		perror("pagemap");
	close(fd);
}

static __u64 where(const void *mem)
{
	__u64 entry;

	where_all(mem, &entry, 1);
	return entry;
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

static long number_in(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		perror(path);
	close(fd);
	return atol(text);
}

/* Has the kernel look for pages that are the same, all of them twice. */
static void merge(void *mem, size_t size)
{
	const char *scans = "/sys/kernel/mm/ksm/full_scans";
	long since = number_in(scans);

	if (madvise(mem, size, MADV_MERGEABLE))
		perror("MADV_MERGEABLE");
	write_to("/sys/kernel/mm/ksm/sleep_millisecs", "0");
	write_to("/sys/kernel/mm/ksm/pages_to_scan", "10000");
	write_to("/sys/kernel/mm/ksm/run", "1");
	while (number_in(scans) < since + 3)
		usleep(10000);
	write_to("/sys/kernel/mm/ksm/run", "0");
}

static void page_out(void *mem, size_t size)
{
	/* Not all of it has to go. */
	madvise(mem, size, MADV_PAGEOUT);
}

/* Where the kernel has CONFIG_MEMORY_FAILURE. */
static void migrate(void *mem, size_t size)
{
	/* It may say that it was in vain. */
	madvise(mem, VM_PAGE_SIZE, MADV_SOFT_OFFLINE);
}

static void compact(void *mem, size_t size)
{
	write_to("/proc/sys/vm/compact_memory", "1");
}

static void collapse(void *mem, size_t size)
{
	if (prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0))
		perror("PR_SET_THP_DISABLE");
	madvise((void *)((unsigned long)mem & ~(HUGE - 1)), HUGE, MADV_COLLAPSE);
}

/* Out of the page tables; the file keeps it. */
static void forget(void *mem, size_t size)
{
	if (madvise(mem, size, MADV_DONTNEED))
		perror("MADV_DONTNEED");
}

/* Has a file's memory there; the file's descriptor, or -1. */
static int share(void *mem, size_t size)
{
	int fd = memfd_create("guest", 0);

	if (fd < 0 || ftruncate(fd, size) ||
	    mmap(mem, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 0) != mem) {
		perror("memfd");
		return -1;
	}
	return fd;
}

/* Nothing of it is lost. */
static void protect(void *mem, size_t size)
{
	if (mprotect(mem, size, PROT_READ) ||
	    mprotect(mem, size, PROT_READ | PROT_WRITE))
		perror("mprotect");
}

/* Small pages, of which each goes its own way. */
static int open_direct(struct ctx *ctx)
{
	choose_tables();
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) || ctx_open(ctx, true) || setup_attached(ctx, 0))
		return -1;
	table_init(ctx);
	if (hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, PVIOMMU_ENABLE_DIRECT, 0))
		return -1;
	table_set(ctx, VIA, guest_page_entry(HERE + VIA, RW) | USE);
	return hc_sync(ctx, VIA, 1) == 1 ? 0 : -1;
}

static __u8 *memory_at(struct ctx *ctx, __u64 index)
{
	return guest_page(ctx, HERE + index);
}

static bool writes(struct ctx *ctx, __u64 index)
{
	return device_writes(ctx, page_iova(index), memory_at(ctx, index));
}

static __u64 entry(struct ctx *ctx, __u64 index)
{
	__u64 *entries = (__u64 *)(ctx->vm.mem + GPA_LEAVES);

	return __atomic_load_n(&entries[index], __ATOMIC_ACQUIRE);
}

static void map(struct __test_metadata *_metadata, struct ctx *ctx, __u64 index,
		__u64 count, __u64 uses)
{
	__u64 i;

	for (i = index; i < index + count; i++) {
		memset(memory_at(ctx, i), 1, VM_PAGE_SIZE);
		table_set(ctx, i, guest_page_entry(HERE + i, RW) | uses * USE);
	}
	ASSERT_EQ(0, hc_sync_all(ctx, index, count));
}

/* A worker does it. */
static void wait_pinned(struct ctx *ctx, __u64 pages)
{
	while (pinned(ctx) != pages)
		usleep(1000);
}

/*
 * What was in the aperture, and is not any more.
 */
FIXTURE(freed) {
	struct ctx ctx;
	__u8 *mem;
};

FIXTURE_SETUP(freed)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, open_direct(ctx));
	map(_metadata, ctx, 0, 16, 1);
	self->mem = memory_at(ctx, 0);
	ASSERT_TRUE(writes(ctx, 0));
	table_clear(ctx, 0, 16);
	ASSERT_EQ(0, hc_sync_all(ctx, 0, 16));
	ASSERT_EQ(1, pinned(ctx));
}

FIXTURE_TEARDOWN(freed)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

/* By khugepaged, or for the asking. */
TEST_F(freed, is_moved)
{
	__u64 before = where(self->mem);
	__u8 byte = self->mem[VM_PAGE_SIZE - 1];

	ASSERT_TRUE(before & PRESENT);
	/* The last one that is pinned in that huge page to be. */
	table_clear(&self->ctx, VIA, 1);
	ASSERT_EQ(0, hc_sync_all(&self->ctx, VIA, 1));
	collapse(self->mem, VM_PAGE_SIZE);
	/* Whoever touches it finds it again. */
	EXPECT_EQ(byte, __atomic_load_n(self->mem + VM_PAGE_SIZE - 1,
					__ATOMIC_RELAXED));
	EXPECT_TRUE(where(self->mem) & PRESENT);
	EXPECT_NE(before & PFN, where(self->mem) & PFN);
}

TEST_F(freed, is_merged)
{
	memset(self->mem, 7, 16 * VM_PAGE_SIZE);
	merge(self->mem, 16 * VM_PAGE_SIZE);
	EXPECT_EQ(where(self->mem) & PFN, where(self->mem + VM_PAGE_SIZE) & PFN);
	EXPECT_EQ(7, self->mem[5]);
}

TEST_F(freed, is_discarded)
{
	ASSERT_EQ(0, madvise(self->mem, 16 * VM_PAGE_SIZE, MADV_DONTNEED));
	EXPECT_FALSE(where(self->mem) & (PRESENT | SWAPPED));
	EXPECT_EQ(0, self->mem[5]);
}

FIXTURE(swapping) {
	struct ctx ctx;
};

FIXTURE_VARIANT(swapping) {
	int unused;
};

/* Left out where there is nothing to swap to. */
FIXTURE_VARIANT_ADD(swapping, swap) { .unused = 0 };

FIXTURE_SETUP(swapping)
{
	ASSERT_EQ(0, open_direct(&self->ctx));
}

FIXTURE_TEARDOWN(swapping)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(swapping, all_but_what_is_in_use)
{
	struct ctx *ctx = &self->ctx;
	unsigned int tries;

	map(_metadata, ctx, 0, 8, 1);
	map(_metadata, ctx, 8, 8, 0);
	ASSERT_EQ(8, ({
		struct pviommu_reclaim cmd = { .size = sizeof(cmd), .pages = 100 };

		ioctl(ctx->fd, PVIOMMU_RECLAIM, &cmd) ? -errno : cmd.out_pages;
	}));
	/* Pages that were just put on a list of a processor's are not found at once. */
	for (tries = 0; tries < 1000 && !(where(memory_at(ctx, 8)) & SWAPPED); tries++) {
		page_out(memory_at(ctx, 0), 16 * VM_PAGE_SIZE);
		usleep(10000);
	}
	EXPECT_TRUE(where(memory_at(ctx, 8)) & SWAPPED);
	EXPECT_TRUE(where(memory_at(ctx, 0)) & PRESENT);
	EXPECT_TRUE(writes(ctx, 0));
	EXPECT_EQ(1, memory_at(ctx, 8)[9]);
	EXPECT_EQ(0, stats_now(ctx).moved);
}

/*
 * Has the kernel swap out what it can of 2 MiB; how many pages that are. It tries again and
 * again, at most @tries times, until it is @enough.
 */
static unsigned int swap_out(__u8 *mem, unsigned int enough, unsigned int tries)
{
	__u64 entries[HUGE / VM_PAGE_SIZE];
	unsigned int i, n = 0;

	for (; tries && n < enough; tries--) {
		page_out(mem, HUGE);
		where_all(mem, entries, HUGE / VM_PAGE_SIZE);
		for (i = n = 0; i < HUGE / VM_PAGE_SIZE; i++)
			n += !!(entries[i] & SWAPPED);
		usleep(10000);
	}
	return n;
}

/* The first whole huge page of the guest's data. */
static __u8 *huge_page(struct ctx *ctx)
{
	unsigned long at = (unsigned long)guest_page(ctx, 0);

	return (__u8 *)((at + HUGE - 1) & ~(HUGE - 1));
}

/* Of 512 pages one is in use. */
static void use_one(struct __test_metadata *_metadata, struct ctx *ctx, __u8 *mem)
{
	memset(mem, 5, HUGE);
	table_set(ctx, 0, guest_page_entry((mem - guest_page(ctx, 0)) /
					   VM_PAGE_SIZE + 77, RW) | USE);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
}

TEST_F(swapping, small_pages_but_for_one)
{
	struct ctx *ctx = &self->ctx;
	__u8 *mem = huge_page(ctx);

	use_one(_metadata, ctx, mem);
	EXPECT_EQ(511, swap_out(mem, 511, 500));
	EXPECT_TRUE(where(mem + 77 * VM_PAGE_SIZE) & PRESENT);
}

/* Frozen by one pin: which is why there is pviommu run --no-thp. */
TEST_F(swapping, huge_page_as_a_whole)
{
	struct ctx *ctx = &self->ctx;
	__u8 *mem = huge_page(ctx);

	ASSERT_EQ(0, prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
	ASSERT_EQ(0, madvise(mem, HUGE, MADV_HUGEPAGE));
	use_one(_metadata, ctx, mem);
	ASSERT_EQ((where(mem) & PFN) + 511,
		  where(mem + 511 * VM_PAGE_SIZE) & PFN);
	EXPECT_EQ(0, swap_out(mem, 1, 20));
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(512, swap_out(mem, 512, 500));
}

/*
 * What is in use, and whatever else the kernel tries.
 */
FIXTURE(in_use) {
	struct ctx ctx;
};

FIXTURE_VARIANT(in_use) {
	void (*attempt)(void *mem, size_t size);
	bool shared;	/* memory of a file */
};

FIXTURE_VARIANT_ADD(in_use, paged_out) { .attempt = page_out };
FIXTURE_VARIANT_ADD(in_use, migrated) { .attempt = migrate };
FIXTURE_VARIANT_ADD(in_use, merged) { .attempt = merge };
FIXTURE_VARIANT_ADD(in_use, compacted) { .attempt = compact };
FIXTURE_VARIANT_ADD(in_use, collapsed) { .attempt = collapse };
FIXTURE_VARIANT_ADD(in_use, protected) { .attempt = protect };
FIXTURE_VARIANT_ADD(in_use, shared) { .attempt = page_out, .shared = true };
FIXTURE_VARIANT_ADD(in_use, shared_and_forgotten) {
	.attempt = forget, .shared = true,
};

FIXTURE_VARIANT_ADD(in_use, shared_and_compacted) {
	.attempt = compact, .shared = true,
};

FIXTURE_SETUP(in_use)
{
	ASSERT_EQ(0, open_direct(&self->ctx));
}

FIXTURE_TEARDOWN(in_use)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(in_use, stays)
{
	struct ctx *ctx = &self->ctx;
	__u64 before;

	if (variant->shared)
		ASSERT_NE(-1, share(memory_at(ctx, 0), 16 * VM_PAGE_SIZE));
	map(_metadata, ctx, 0, 16, 1);
	before = where(memory_at(ctx, 0));
	variant->attempt(memory_at(ctx, 0), 16 * VM_PAGE_SIZE);
	/* Longer than the worker takes to look at it. */
	usleep(300000);
	EXPECT_EQ(1, __atomic_load_n(memory_at(ctx, 0), __ATOMIC_RELAXED));
	EXPECT_EQ(before & PFN, where(memory_at(ctx, 0)) & PFN);
	EXPECT_EQ(17, pinned(ctx));
	EXPECT_EQ(0, stats_now(ctx).moved);
	EXPECT_TRUE(writes(ctx, 0));
	EXPECT_TRUE(writes(ctx, 15));
}

/*
 * What the VMM discards.
 */
FIXTURE(discarded) {
	struct ctx ctx;
};

FIXTURE_SETUP(discarded)
{
	ASSERT_EQ(0, open_direct(&self->ctx));
}

FIXTURE_TEARDOWN(discarded)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

/* Before the VMM can tell the guest that it may use the page again. */
TEST_F(discarded, idle)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 3, 3, 0);
	ASSERT_EQ(0, madvise(memory_at(ctx, 4), VM_PAGE_SIZE, MADV_DONTNEED));
	EXPECT_EQ(0, entry(ctx, 4));
	EXPECT_NE(0, entry(ctx, 3));
	EXPECT_NE(0, entry(ctx, 5));

	/* The guest uses it again, at once. */
	memory_at(ctx, 4)[0] = 2;
	table_set(ctx, 4, guest_page_entry(HERE + 4, RW) | USE);
	ASSERT_EQ(1, hc_sync(ctx, 4, 1));
	EXPECT_TRUE(writes(ctx, 4));
	usleep(100000);
	EXPECT_TRUE(writes(ctx, 4));
	EXPECT_TRUE(writes(ctx, 3));
	EXPECT_EQ(4, pinned(ctx));
}

TEST_F(discarded, idle_and_forgotten)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, 600, 0);
	/* All but VIA, which it was before. */
	table_set(ctx, VIA, guest_page_entry(HERE + VIA, RW) | USE);
	ASSERT_EQ(0, madvise(memory_at(ctx, 500), 50 * VM_PAGE_SIZE, MADV_DONTNEED));
	wait_pinned(ctx, 550);
	EXPECT_EQ(50, stats_now(ctx).moved);
	EXPECT_FALSE(writes(ctx, 500));
	EXPECT_TRUE(writes(ctx, 499));
	EXPECT_TRUE(writes(ctx, 550));
}

/* The guest has asked for it: the device reaches what is not the guest's any more no longer. */
TEST_F(discarded, in_use)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 3, 3, 1);
	ASSERT_EQ(0, madvise(memory_at(ctx, 4), VM_PAGE_SIZE, MADV_DONTNEED));
	wait_pinned(ctx, 3);
	EXPECT_EQ(1, stats_now(ctx).moved);
	EXPECT_FALSE(writes(ctx, 4));
	EXPECT_TRUE(writes(ctx, 3));
	EXPECT_TRUE(writes(ctx, 5));
	ASSERT_EQ(1, hc_sync(ctx, 4, 1));
	EXPECT_TRUE(writes(ctx, 4));
}

/* A hole in the file that it is. */
TEST_F(discarded, from_a_file)
{
	struct ctx *ctx = &self->ctx;
	int fd = share(memory_at(ctx, 0), 16 * VM_PAGE_SIZE);

	ASSERT_NE(-1, fd);
	map(_metadata, ctx, 3, 3, 1);
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       4 * VM_PAGE_SIZE, VM_PAGE_SIZE));
	wait_pinned(ctx, 3);
	EXPECT_FALSE(writes(ctx, 4));
	EXPECT_TRUE(writes(ctx, 3));
	EXPECT_TRUE(writes(ctx, 5));
	close(fd);
}

/* A SYNC that comes first finds out by itself. */
TEST_F(discarded, and_synced)
{
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	map(_metadata, ctx, 4, 1, 1);
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, madvise(memory_at(ctx, 4), VM_PAGE_SIZE, MADV_DONTNEED));
		memory_at(ctx, 4)[0] = i;
		ASSERT_EQ(1, hc_sync(ctx, 4, 1));
	}
	EXPECT_TRUE(writes(ctx, 4));
	usleep(100000);
	EXPECT_TRUE(writes(ctx, 4));
	EXPECT_EQ(2, pinned(ctx));
}

/* In a table without use counts, and at another address. */
TEST_F(discarded, in_another_mode)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	table_clear(ctx, VIA, 1);
	table_set(ctx, 700, guest_page_entry(3, RW));
	table_set(ctx, 701, guest_page_entry(4, RW));
	ASSERT_EQ(2, hc_sync(ctx, 700, 2));
	ASSERT_EQ(0, madvise(guest_page(ctx, 4), VM_PAGE_SIZE, MADV_DONTNEED));
	wait_pinned(ctx, 1);
	EXPECT_FALSE(device_writes(ctx, page_iova(701), guest_page(ctx, 4)));
	EXPECT_TRUE(device_writes(ctx, page_iova(700), guest_page(ctx, 3)));
	/* The guest's own is left as it is. */
	EXPECT_EQ(guest_page_entry(4, RW), entry(ctx, 701));
}

/* All of the guest's memory. */
TEST_F(discarded, everything)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 600, 300, 0);
	map(_metadata, ctx, 1200, 300, 1);
	ASSERT_EQ(0, madvise(memory_at(ctx, 0), WINDOW_PAGES * VM_PAGE_SIZE,
			     MADV_DONTNEED));
	wait_pinned(ctx, 0);
	EXPECT_EQ(601, stats_now(ctx).moved);
}

TEST_HARNESS_MAIN
