// SPDX-License-Identifier: GPL-2.0-only
/*
 * Large pages: units of 512 entries become leaves of 2 MiB in the IOMMU's own table. A
 * guest that breaks its promise loses what it had mapped there, and its device
 * reaches nothing else.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"

#include "aperture.h"
#include "ram.h"

#define SIZE_2M		(2UL << 20)
#define UNIT		512U

/* Memslot 1 is the memory under test, 2 MiB of it. */
#define SLOT		1
#define SLOT_GPA	0x100000000UL

/* Window pages: the unit, and a small page on each side of it. */
#define FIRST		1024U
#define BEFORE		(FIRST - 1)
#define BEHIND		(FIRST + UNIT)
/* What the device's buffer is looked at through. */
#define VIA		100U
#define NR_SMALL	3U

#define LARGE		PVIOMMU_ENTRY_LARGE

/* Pages of IOMMUs' page tables, of the whole machine; -1 where nobody counts. */
static long table_pages(void)
{
	char line[128], name[64];
	long value, pages = -1;
	FILE *file;

	pins_now();	/* brings the counters up to date */
	file = fopen("/proc/vmstat", "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %ld", name, &value) == 2 &&
		    !strcmp(name, "nr_iommu_pages"))
			pages = value;
	}
	if (file)
		fclose(file);
	return pages;
}

static __u64 slot_entry(unsigned int page, __u64 perm)
{
	return (SLOT_GPA + page * VM_PAGE_SIZE) | perm;
}

static void fill_unit(struct ctx *ctx, __u64 bits)
{
	unsigned int i;

	for (i = 0; i < UNIT; i++)
		table_set(ctx, FIRST + i, slot_entry(i, bits));
}

static __s64 sync_unit(struct ctx *ctx)
{
	return hc_sync(ctx, FIRST, UNIT);
}

static int set_slot(struct ctx *ctx, __u8 *mem)
{
	return vm_set_memslot(&ctx->vm, SLOT, SLOT_GPA, mem, mem ? SIZE_2M : 0,
			      0);
}

/**
 * struct memory - 4 MiB of memory, aligned to 2 MiB
 * @mem: where
 * @huge_pages: there were before
 */
struct memory {
	__u8 *mem;
	int huge_pages;
};

/* Two huge pages. */
static int memory_alloc(struct memory *memory)
{
	memory->huge_pages = huge_pages_now();
	set_huge_pages(memory->huge_pages + 2);
	memory->mem = mmap(NULL, 2 * SIZE_2M, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
			   MAP_POPULATE, -1, 0);
	if (memory->mem != MAP_FAILED)
		return 0;
	perror("huge pages");
	memory->mem = NULL;
	return -1;
}

static void memory_free(struct memory *memory)
{
	if (memory->mem)
		munmap(memory->mem, 2 * SIZE_2M);
	set_huge_pages(memory->huge_pages);
}

static int map_small(struct ctx *ctx)
{
	table_fill(ctx, VIA, 1);
	table_fill(ctx, BEFORE, 1);
	table_fill(ctx, BEHIND, 1);
	return hc_sync(ctx, VIA, 1) == 1 && hc_sync(ctx, BEFORE, 1) == 1 &&
	       hc_sync(ctx, BEHIND, 1) == 1 ? 0 : -1;
}

/* All but the unit is mapped, whose memory is huge. */
static void open_small(struct __test_metadata *_metadata, struct ctx *ctx,
		       struct memory *memory)
{
	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, memory_alloc(memory));
	ASSERT_EQ(0, set_slot(ctx, memory->mem));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
	ASSERT_EQ(0, map_small(ctx));
}

static bool small_ones_are_there(struct ctx *ctx)
{
	return device_writes(ctx, page_iova(BEFORE), guest_page(ctx, BEFORE)) &&
	       device_writes(ctx, page_iova(BEHIND), guest_page(ctx, BEHIND));
}

/* Does a write to a page of the unit arrive in the memory that belongs there? */
static bool arrives(struct ctx *ctx, __u8 *mem, unsigned int page)
{
	return device_writes(ctx, page_iova(FIRST + page),
			     mem + page * VM_PAGE_SIZE);
}

/*
 * A unit of huge memory, not mapped yet.
 */
FIXTURE(large) {
	struct ctx ctx;
	struct memory memory;
	__u8 *mem;
};

FIXTURE_SETUP(large)
{
	open_small(_metadata, &self->ctx, &self->memory);
	self->mem = self->memory.mem;
}

FIXTURE_TEARDOWN(large)
{
	ctx_close_all(&self->ctx);
	memory_free(&self->memory);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(self->memory.huge_pages, huge_pages_now());
}

static void expect_pinned(struct __test_metadata *_metadata, struct ctx *ctx,
			  long pages)
{
	EXPECT_EQ(pages, stats_now(ctx).pinned);
	EXPECT_EQ(ctx->pins + pages, pins_now());
}

/* A table of small pages takes a page of the host's, a large leaf none. */
TEST_F(large, is_one_leaf)
{
	long tables = table_pages();
	struct pviommu_aperture_stats before, after;
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		before = stats_now(ctx);
		fill_unit(ctx, RW | LARGE);
		ASSERT_EQ(UNIT, sync_unit(ctx));
		after = stats_now(ctx);
		EXPECT_EQ(1, after.large);
		EXPECT_EQ(before.map_calls + 1, after.map_calls);
		EXPECT_EQ(before.mapped + UNIT, after.mapped);
		expect_pinned(_metadata, ctx, UNIT + NR_SMALL);
		EXPECT_EQ(tables, table_pages());
		EXPECT_TRUE(arrives(ctx, self->mem, 0));
		EXPECT_TRUE(arrives(ctx, self->mem, 511));
		EXPECT_TRUE(device_reads(ctx, page_iova(FIRST + 300),
					 self->mem + 300 * VM_PAGE_SIZE, VIA,
					 guest_page(ctx, VIA)));

		ASSERT_EQ(UNIT, sync_unit(ctx));
		EXPECT_EQ(after.unmapped, stats_now(ctx).unmapped);
		table_clear(ctx, FIRST, UNIT);
		ASSERT_EQ(UNIT, hc_sync_flags(ctx, FIRST, UNIT,
					      PVIOMMU_SYNC_UNMAP));
		EXPECT_EQ(after.unmap_calls + 1, stats_now(ctx).unmap_calls);
		EXPECT_EQ(0, stats_now(ctx).large);
		expect_pinned(_metadata, ctx, NR_SMALL);
		EXPECT_FALSE(arrives(ctx, self->mem, 0));
		EXPECT_FALSE(arrives(ctx, self->mem, 511));
		EXPECT_TRUE(small_ones_are_there(ctx));

		/* The same without a promise; then there is a table in the way. */
		fill_unit(ctx, RW);
		ASSERT_EQ(UNIT, sync_unit(ctx));
		EXPECT_EQ(0, stats_now(ctx).large);
		if (tables >= 0)
			EXPECT_EQ(tables + 1, table_pages());
		EXPECT_TRUE(arrives(ctx, self->mem, 511));
		table_clear(ctx, FIRST, UNIT);
		ASSERT_EQ(256, hc_sync(ctx, FIRST, 256));
		ASSERT_EQ(256, hc_sync(ctx, FIRST + 256, 256));
		expect_pinned(_metadata, ctx, NR_SMALL);
	}
	EXPECT_EQ(0, stats_now(ctx).large_broken);
}

TEST_F(large, only_read)
{
	struct ctx *ctx = &self->ctx;

	fill_unit(ctx, PVIOMMU_ENTRY_READ | LARGE);
	ASSERT_EQ(UNIT, sync_unit(ctx));
	EXPECT_EQ(1, stats_now(ctx).large);
	EXPECT_TRUE(device_reads(ctx, page_iova(FIRST + 511),
				 self->mem + 511 * VM_PAGE_SIZE, VIA,
				 guest_page(ctx, VIA)));
	EXPECT_FALSE(arrives(ctx, self->mem, 511));
	fill_unit(ctx, RW | LARGE);
	ASSERT_EQ(UNIT, sync_unit(ctx));
	EXPECT_EQ(1, stats_now(ctx).large);
	EXPECT_EQ(0, stats_now(ctx).large_broken);
	EXPECT_TRUE(arrives(ctx, self->mem, 511));
}

/* A sync of more than one call takes up the unit as a whole. */
TEST_F(large, in_a_longer_range)
{
	struct ctx *ctx = &self->ctx;

	fill_unit(ctx, RW | LARGE);
	EXPECT_EQ(1, hc_sync(ctx, BEFORE, UNIT + 2));
	EXPECT_EQ(0, hc_sync_all(ctx, BEFORE, UNIT + 2));
	EXPECT_EQ(1, stats_now(ctx).large);
	EXPECT_TRUE(arrives(ctx, self->mem, 0));
}

/* The memslot is back with other memory: all of it follows, or what is named. */
TEST_F(large, other_memory)
{
	struct ctx *ctx = &self->ctx;
	__u8 *other = self->mem + SIZE_2M;

	fill_unit(ctx, RW | LARGE);
	ASSERT_EQ(UNIT, sync_unit(ctx));
	ASSERT_EQ(0, set_slot(ctx, NULL));
	ASSERT_EQ(0, set_slot(ctx, other));
	EXPECT_TRUE(arrives(ctx, self->mem, 7));
	ASSERT_EQ(UNIT, sync_unit(ctx));
	EXPECT_FALSE(arrives(ctx, self->mem, 7));
	EXPECT_TRUE(arrives(ctx, other, 7));
	EXPECT_EQ(1, stats_now(ctx).large);
	EXPECT_EQ(0, stats_now(ctx).large_broken);

	ASSERT_EQ(0, set_slot(ctx, NULL));
	ASSERT_EQ(0, set_slot(ctx, self->mem));
	ASSERT_EQ(1, hc_sync(ctx, FIRST + 7, 1));
	EXPECT_TRUE(arrives(ctx, self->mem, 7));
	EXPECT_FALSE(arrives(ctx, self->mem, 8));
	EXPECT_FALSE(arrives(ctx, other, 8));
	EXPECT_EQ(1, stats_now(ctx).large_broken);
	expect_pinned(_metadata, ctx, NR_SMALL + 1);

	/* And gone. */
	ASSERT_EQ(0, set_slot(ctx, NULL));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, sync_unit(ctx));
	EXPECT_FALSE(arrives(ctx, self->mem, 7));
	expect_pinned(_metadata, ctx, NR_SMALL);
}

static int end_by_disable(struct ctx *ctx)
{
	return hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0);
}

static int end_by_enable(struct ctx *ctx)
{
	return hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0);
}

static int end_by_reset(struct ctx *ctx)
{
	return __reset(ctx->fd, 0);
}

static int end_by_detach(struct ctx *ctx)
{
	return __detach(ctx->fd, 0, ctx->edu_host);
}

TEST_F(large, ends)
{
	int (* const ends[])(struct ctx *ctx) = {
		end_by_disable, end_by_enable, end_by_reset, end_by_detach,
	};
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		if (i)
			ASSERT_EQ(0, end_by_enable(ctx));
		fill_unit(ctx, RW | LARGE);
		ASSERT_EQ(UNIT, sync_unit(ctx));
		ASSERT_EQ(1, stats_now(ctx).large);
		EXPECT_TRUE(arrives(ctx, self->mem, 1));
		ASSERT_EQ(0, ends[i](ctx));
		expect_pinned(_metadata, ctx, 0);
		EXPECT_EQ(0, stats_now(ctx).large);
		EXPECT_FALSE(arrives(ctx, self->mem, 1));
	}
	EXPECT_EQ(0, stats_now(ctx).large_broken);
}

/* By the tear-down. */
TEST_F(large, ends_with_the_file)
{
	fill_unit(&self->ctx, RW | LARGE);
	ASSERT_EQ(UNIT, sync_unit(&self->ctx));
	ASSERT_EQ(1, stats_now(&self->ctx).large);
}

/*
 * Promises that are broken, at one page.
 */
FIXTURE(broken) {
	struct ctx ctx;
	struct memory memory;
	__u8 *mem;
};

FIXTURE_VARIANT(broken) {
	unsigned int page;	/* of the unit */
};

FIXTURE_VARIANT_ADD(broken, first) { .page = 0 };
FIXTURE_VARIANT_ADD(broken, second) { .page = 1 };
FIXTURE_VARIANT_ADD(broken, below_the_middle) { .page = 255 };
FIXTURE_VARIANT_ADD(broken, middle) { .page = 256 };
FIXTURE_VARIANT_ADD(broken, last) { .page = 511 };

FIXTURE_SETUP(broken)
{
	struct ctx *ctx = &self->ctx;

	open_small(_metadata, ctx, &self->memory);
	self->mem = self->memory.mem;
	fill_unit(ctx, RW | LARGE);
	ASSERT_EQ(UNIT, sync_unit(ctx));
	ASSERT_EQ(1, stats_now(ctx).large);
	ASSERT_TRUE(arrives(ctx, self->mem, variant->page));
}

FIXTURE_TEARDOWN(broken)
{
	ctx_close_all(&self->ctx);
	memory_free(&self->memory);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(self->memory.huge_pages, huge_pages_now());
}

/* All of the unit is gone, but for @kept pages; then it comes back small. */
static void expect_broken(struct __test_metadata *_metadata, struct ctx *ctx,
			  __u8 *mem, unsigned int page, unsigned int kept)
{
	unsigned int other = page ? 0 : 511;

	EXPECT_EQ(0, stats_now(ctx).large);
	EXPECT_EQ(1, stats_now(ctx).large_broken);
	expect_pinned(_metadata, ctx, NR_SMALL + kept);
	/* Neighbours of the page, and of the unit. */
	EXPECT_FALSE(arrives(ctx, mem, page ^ 1));
	EXPECT_FALSE(arrives(ctx, mem, other));
	EXPECT_TRUE(small_ones_are_there(ctx));

	ASSERT_EQ(UNIT, sync_unit(ctx));
	EXPECT_EQ(0, stats_now(ctx).large);
	EXPECT_TRUE(arrives(ctx, mem, page ^ 1));
	EXPECT_TRUE(arrives(ctx, mem, other));

	table_clear(ctx, FIRST, UNIT);
	ASSERT_EQ(UNIT, sync_unit(ctx));
	EXPECT_FALSE(arrives(ctx, mem, other));
	expect_pinned(_metadata, ctx, NR_SMALL);

	/* A promise that is made anew is taken. */
	fill_unit(ctx, RW | LARGE);
	ASSERT_EQ(UNIT, sync_unit(ctx));
	EXPECT_EQ(1, stats_now(ctx).large);
	EXPECT_TRUE(arrives(ctx, mem, page));
}

TEST_F(broken, cleared)
{
	struct ctx *ctx = &self->ctx;

	table_set(ctx, FIRST + variant->page, 0);
	ASSERT_EQ(1, hc_sync(ctx, FIRST + variant->page, 1));
	EXPECT_FALSE(arrives(ctx, self->mem, variant->page));
	expect_broken(_metadata, ctx, self->mem, variant->page, 0);
}

/* In a call that must not pin anything, and by a list. */
TEST_F(broken, cleared_by_a_list)
{
	struct pviommu_range *ranges = (void *)(self->ctx.vm.mem + GPA_BUFFER);
	struct ctx *ctx = &self->ctx;

	table_set(ctx, FIRST + variant->page, 0);
	ranges[0] = (struct pviommu_range){ VIA, 1 };
	ranges[1] = (struct pviommu_range){ FIRST + variant->page, 1 };
	ASSERT_EQ(2, hc_sync_list(ctx, 2, PVIOMMU_SYNC_UNMAP));
	EXPECT_FALSE(arrives(ctx, self->mem, variant->page));
	expect_broken(_metadata, ctx, self->mem, variant->page, 0);
}

TEST_F(broken, other_frame)
{
	struct ctx *ctx = &self->ctx;

	table_set(ctx, FIRST + variant->page, guest_page_entry(7, RW | LARGE));
	ASSERT_EQ(1, hc_sync(ctx, FIRST + variant->page, 1));
	EXPECT_FALSE(arrives(ctx, self->mem, variant->page));
	EXPECT_TRUE(device_writes(ctx, page_iova(FIRST + variant->page),
				  guest_page(ctx, 7)));
	expect_broken(_metadata, ctx, self->mem, variant->page, 1);
}

TEST_F(broken, other_permission)
{
	struct ctx *ctx = &self->ctx;

	table_set(ctx, FIRST + variant->page,
		  slot_entry(variant->page, PVIOMMU_ENTRY_READ | LARGE));
	ASSERT_EQ(1, hc_sync(ctx, FIRST + variant->page, 1));
	EXPECT_FALSE(arrives(ctx, self->mem, variant->page));
	expect_broken(_metadata, ctx, self->mem, variant->page, 1);
}

TEST_F(broken, promise_withdrawn)
{
	struct ctx *ctx = &self->ctx;

	table_set(ctx, FIRST + variant->page, slot_entry(variant->page, RW));
	ASSERT_EQ(1, hc_sync(ctx, FIRST + variant->page, 1));
	EXPECT_TRUE(arrives(ctx, self->mem, variant->page));
	expect_broken(_metadata, ctx, self->mem, variant->page, 1);
}

/*
 * Promises that are of no use: small pages, of which each can go alone.
 */
FIXTURE(useless) {
	struct ctx ctx;
	struct memory memory;
	__u8 *mem;
};

FIXTURE_VARIANT(useless) {
	__u64 base;		/* of the window, from WINDOW_BASE on */
	__u64 budget;
	size_t offset;		/* of the guest's memory in the huge pages */
	bool scattered;		/* small pages instead */
	bool halves;		/* of two huge pages, in two memslots */
	unsigned int mapped;	/* of the unit */
};

FIXTURE_VARIANT_ADD(useless, window_not_aligned) {
	.base = VM_PAGE_SIZE, .mapped = UNIT,
};

FIXTURE_VARIANT_ADD(useless, memory_not_aligned) {
	.offset = VM_PAGE_SIZE, .mapped = UNIT,
};

FIXTURE_VARIANT_ADD(useless, memory_scattered) {
	.scattered = true, .mapped = UNIT,
};

FIXTURE_VARIANT_ADD(useless, memory_of_two) {
	.halves = true, .mapped = UNIT,
};

FIXTURE_VARIANT_ADD(useless, budget) {
	.budget = UNIT - 1, .mapped = UNIT - 1,
};

FIXTURE_SETUP(useless)
{
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, memory_alloc(&self->memory));
	self->mem = self->memory.mem + variant->offset;
	if (variant->scattered) {
		self->mem = mmap(NULL, 2 * SIZE_2M, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, self->mem);
		ASSERT_EQ(0, madvise(self->mem, 2 * SIZE_2M, MADV_NOHUGEPAGE));
		self->mem += -(unsigned long)self->mem % SIZE_2M;
		/* Not in order, or it might happen to be 2 MiB in a row. */
		for (i = 0; i < UNIT; i++)
			self->mem[i * 2 % (UNIT - 1) * VM_PAGE_SIZE] = 1;
	}
	if (variant->halves) {
		self->mem += SIZE_2M / 2;
		ASSERT_EQ(0, vm_set_memslot(&ctx->vm, SLOT, SLOT_GPA,
					    self->memory.mem, SIZE_2M / 2, 0));
		ASSERT_EQ(0, vm_set_memslot(&ctx->vm, SLOT + 1,
					    SLOT_GPA + SIZE_2M / 2,
					    self->mem + SIZE_2M / 2,
					    SIZE_2M / 2, 0));
	} else {
		ASSERT_EQ(0, set_slot(ctx, self->mem));
	}
	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE + variant->base,
				       WINDOW_PAGES * VM_PAGE_SIZE,
				       variant->budget, NULL));
	ASSERT_EQ(0, __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	table_init(ctx);
	ASSERT_EQ(0, end_by_enable(ctx));
}

FIXTURE_TEARDOWN(useless)
{
	ctx_close_all(&self->ctx);
	memory_free(&self->memory);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(self->memory.huge_pages, huge_pages_now());
}

TEST_F(useless, pages_go_alone)
{
	struct ctx *ctx = &self->ctx;
	__u64 iova = page_iova(FIRST) + variant->base;

	fill_unit(ctx, RW | LARGE);
	EXPECT_EQ(variant->mapped, sync_unit(ctx));
	EXPECT_EQ(0, stats_now(ctx).large_mapped);
	expect_pinned(_metadata, ctx, variant->mapped);

	table_set(ctx, FIRST + 300, 0);
	ASSERT_EQ(1, hc_sync(ctx, FIRST + 300, 1));
	expect_pinned(_metadata, ctx, variant->mapped - 1);
	EXPECT_FALSE(device_writes(ctx, iova + 300 * VM_PAGE_SIZE,
				   self->mem + 300 * VM_PAGE_SIZE));
	EXPECT_TRUE(device_writes(ctx, iova + 299 * VM_PAGE_SIZE,
				  self->mem + 299 * VM_PAGE_SIZE));
	EXPECT_TRUE(device_writes(ctx, iova + 301 * VM_PAGE_SIZE,
				  self->mem + 301 * VM_PAGE_SIZE));
	EXPECT_EQ(0, stats_now(ctx).large_broken);
}

TEST_HARNESS_MAIN
