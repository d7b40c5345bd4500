// SPDX-License-Identifier: GPL-2.0-only
/*
 * Syncs with UNMAP: much goes in one call, with one flush, and in the right order, which
 * the fake IOMMU looks at.
 */
#include <linux/bitmap.h>

#include "fixture.h"

#define UNMAP		PVIOMMU_SYNC_UNMAP
#define MOST		PVIOMMU_UNMAP_MAX_PAGES
#define NR_LEAVES	32U
#define LEAF		PVIOMMU_ENTRIES_PER_LEAF

/* A guest's flush queue: buffers of 128 KiB, with as much between them. */
#define NR_BUFFERS	256U
#define BUFFER		32U
#define STRIDE		(2 * BUFFER)

static int unmap_init(struct kunit *test)
{
	fixture_create(test, NR_LEAVES * LEAF, 0);
	return 0;
}

/* One leaf of the guest's stands for all. */
static void share_leaf(struct fixture *fix)
{
	__le64 *directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);
	unsigned int i;

	for (i = 0; i < NR_LEAVES; i++)
		directory[i] = cpu_to_le64(FRAME(FRAME_LEAVES, 0));
}

static void map_in_all_leaves(struct fixture *fix, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < NR_LEAVES; i++)
		KUNIT_ASSERT_EQ(fix->test,
				fixture_sync_unchecked(fix, i * LEAF, n, 0), n);
	fixture_forget_calls(fix);
}

static void flush_queue_is_one_call(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_range *ranges;
	unsigned int i;

	ranges = kunit_kcalloc(test, NR_BUFFERS, sizeof(*ranges), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ranges);
	share_leaf(fix);
	for (i = 0; i < LEAF; i += STRIDE)
		fixture_fill(fix, i, FRAME_DATA + i, BUFFER, i % 3 ? RW : R);
	map_in_all_leaves(fix, LEAF);
	KUNIT_ASSERT_EQ(test, pinned(fix->ap), NR_BUFFERS * BUFFER);
	KUNIT_ASSERT_EQ(test, NR_BUFFERS * BUFFER, MOST);

	/* In no order. */
	for (i = 0; i < NR_BUFFERS; i++) {
		ranges[i].first = i * 37 % NR_BUFFERS * STRIDE;
		ranges[i].count = BUFFER;
	}
	fixture_clear(fix, 0, LEAF);
	KUNIT_EXPECT_EQ(test,
			fixture_sync_list(fix, ranges, NR_BUFFERS, UNMAP), MOST);
	KUNIT_EXPECT_EQ(test, fix->iommu.nr_calls, NR_BUFFERS + 1);
	KUNIT_EXPECT_EQ(test, fix->iommu.nr_flushes, 1);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, flushes), 1);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, unmap_calls), NR_BUFFERS);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, unmapped), MOST);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
}

/* A call ends between leaves, or ranges. */
static const struct bound_case {
	const char *name;
	struct pviommu_range ranges[4];
	s64 ret;
	unsigned int gone;	/* leaves whose first two pages went */
} bound_cases[] = {
	{ "all", { { 0, NR_LEAVES * LEAF } }, MOST, 16 },
	{ "as many as there may be", { { 3 * LEAF, MOST } }, MOST, 16 },
	{ "one more", { { 3 * LEAF, MOST + 1 } }, MOST, 16 },
	{ "begins in a leaf", { { LEAF - 7, MOST + 7 } }, MOST - LEAF + 7, 15 },
	{ "ranges", { { 0, 4096 }, { 9 * LEAF, 2 }, { 5000, 4096 } },
	  4096 + 2 + 120 + 7 * 512, 16 },
	{ "a range over and over", { { 0, 4096 }, { 0, 4096 }, { 8192, 2 } },
	  MOST, 8 },
	{ "beyond the window, but beyond one call, too",
	  { { 0, MOST }, { 0, U64_MAX } }, MOST, 16 },
	{ "beyond the window", { { 0, 2 }, { 0, U64_MAX }, { LEAF, 2 } }, 2, 1 },
	{ "first beyond the window", { { 0, U64_MAX }, { LEAF, 2 } },
	  PVIOMMU_RC_BAD_ARG, 0 },
};

KUNIT_ARRAY_PARAM_DESC(bound, bound_cases, name);

static void call_is_bounded(struct kunit *test)
{
	const struct bound_case *c = test->param_value;
	struct fixture *fix = test->priv;
	struct pviommu_range rest;

	share_leaf(fix);
	fixture_fill(fix, 0, FRAME_DATA, 2, RW);
	map_in_all_leaves(fix, 2);
	fixture_clear(fix, 0, 2);
	KUNIT_EXPECT_EQ(test, fixture_sync_list(fix, c->ranges, 4, UNMAP),
			c->ret);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 2 * (NR_LEAVES - c->gone));
	KUNIT_EXPECT_EQ(test, fix->iommu.nr_flushes, !!c->gone);
	if (c->ret < 0 || c->ranges[1].count)
		return;

	/* The rest of the first range, in as many calls as it takes. */
	rest = c->ranges[0];
	do {
		s64 n = fixture_sync(fix, rest.first, rest.count, UNMAP);

		KUNIT_ASSERT_GT(test, n, 0);
		rest.first += n;
		rest.count -= n;
	} while (rest.count);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, (rest.first - 1) / LEAF * LEAF),
			0);
}

/* Each goes once, and each time that it is named counts. */
static void page_is_named_twice(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 16, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 16, 0), 16);
	fixture_clear(fix, 5, 3);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { 6, 1 }, { 5, 3 },
						  { 5, 3 }, { 0, 16 }), 23);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u6+1 u5+1 u7+1 f5+3");
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 13);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, unmapped), 3);
	fixture_check_follows(fix, 0, 16);
}

static void same_frame_at_two_pages(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_set(fix, 3, FRAME(FRAME_DATA, RW));
	fixture_set(fix, 4, FRAME(FRAME_DATA, RW));
	fixture_set(fix, 700, FRAME(FRAME_DATA, R));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 701, 0), 512);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 700, 1, 0), 1);
	fixture_clear(fix, 3, 1);
	fixture_clear(fix, 700, 1);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { 700, 1 },
						  { 3, 2 }, { 3, 1 }), 4);
	KUNIT_EXPECT_EQ(test, fake_vm_pins(&fix->fake, FRAME_DATA), 1);
	fixture_check_follows(fix, 0, LEAF);
}

/* A part of the table cannot be told just now; the rest is done. */
static void table_that_is_being_changed(struct kunit *test)
{
	struct fixture *fix = test->priv;
	__le64 *directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);
	unsigned int second = FAKE_FRAMES - 1 - (FRAME_LEAVES + 1);

	directory[1] = cpu_to_le64(ENTRY(FAKE_REVERSED, second, 0));
	fixture_fill(fix, 0, FRAME_DATA, 8, RW);
	fixture_fill(fix, LEAF, FRAME_DATA + 8, 8, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync_ranges(fix, 0, { 0, 8 }, { LEAF, 8 }),
			16);
	fixture_clear(fix, 0, 8);
	fixture_clear(fix, LEAF, 8);

	fix->fake.slots[FAKE_REVERSED].flags |= KVM_MEMSLOT_INVALID;
	fake_vm_new_generation(&fix->fake);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { 0, 3 },
						  { LEAF, 8 }, { 3, 3 }), 3);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 2 + 8);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { LEAF, 1 },
						  { 6, 1 }), PVIOMMU_RC_RETRY);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 1 + 8);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, sync_pages), 16 + 3);

	/* Gone for good: so are the pages. */
	fake_vm_remove_slot(&fix->fake, FAKE_REVERSED);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { LEAF, 8 },
						  { 7, 1 }), 9);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
}

/* As when the last device leaves: the domain goes, and then nothing is reached. */
static void abandon(struct fixture *fix)
{
	pviommu_aperture_lock(fix->ap);
	pviommu_group_last_left(fix->ap);
	pviommu_remove_abandoned(fix->ap);
	KUNIT_EXPECT_EQ(fix->test, pinned(fix->ap), 0);
	pviommu_aperture_unlock(fix->ap);
}

static void page_that_does_not_go_stays_pinned(struct kunit *test)
{
	static const struct pviommu_range first[] = {
		{ 30, 2 }, { 8, 20 }, { 13, 1 }, { 32, 3 }
	};
	static const struct pviommu_range second[] = {
		{ 13, 1 }, { 5, 9 }, { 13, 1 }
	};
	struct fixture *fix = test->priv;
	unsigned int i;

	fixture_fill(fix, 0, FRAME_DATA, 50, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 50, 0), 50);
	fix->iommu.stuck = 13;
	fix->iommu.holes_ok = true;
	fixture_clear(fix, 10, 8);
	fixture_clear(fix, 30, 5);
	fixture_forget_calls(fix);

	/* It is tried once; what comes behind it goes. */
	KUNIT_EXPECT_EQ(test,
			fixture_sync_list_unchecked(fix, first, 4, UNMAP), 2 + 2);
	/* The core goes on where a driver stops. */
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix),
			   "u30+2 u10+8 u13+5 u32+3 f10+25");
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 50 - 5);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test,
				fake_vm_pins(&fix->fake, FRAME_DATA + 10 + i), 1);
	KUNIT_EXPECT_EQ(test, fake_vm_pins(&fix->fake, FRAME_DATA + 30), 0);

	/* And again by the next call. */
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test,
			fixture_sync_list_unchecked(fix, second, 3, UNMAP),
			PVIOMMU_RC_HOST_ERROR);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u13+1 u10+3 f10+4");
	KUNIT_EXPECT_NE(test, fake_vm_pins(&fix->fake, FRAME_DATA + 13), 0);
	abandon(fix);
}

/*
 * Large leaves: all of them are the same 2 MiB.
 */
static void map_units(struct fixture *fix, unsigned int n)
{
	unsigned int i;

	share_leaf(fix);
	fixture_fill(fix, 0, 512, LEAF, RW | LARGE);
	for (i = 0; i < n; i++)
		KUNIT_ASSERT_EQ(fix->test,
				fixture_sync_unchecked(fix, i * LEAF, LEAF, 0),
				LEAF);
	KUNIT_ASSERT_EQ(fix->test, counted(fix->ap, large), n);
	fixture_clear(fix, 0, LEAF);
	fixture_forget_calls(fix);
}

static void units_go_as_many_as_pages(struct kunit *test)
{
	struct fixture *fix = test->priv;

	map_units(fix, 18);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 18 * LEAF, UNMAP), MOST);
	KUNIT_EXPECT_EQ(test, fix->iommu.nr_flushes, 1);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 2);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, MOST, 2 * LEAF, UNMAP), 2 * LEAF);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 0);
}

/* A call ends before a unit, not in it. */
static void units_are_not_divided(struct kunit *test)
{
	struct fixture *fix = test->priv;

	map_units(fix, 18);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { 20 * LEAF, 9 },
						  { 0, 18 * LEAF }),
			9 + 15 * LEAF);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 3);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 0);
}

/* Each of the pages that are named takes out 512. */
static void broken_units_are_bounded(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_range ranges[20];
	unsigned int i;

	map_units(fix, 18);
	/* One of them twice, and one where nothing is mapped. */
	for (i = 0; i < 18; i++)
		ranges[i + 2] = (struct pviommu_range){ i * LEAF + 9 * i, 1 };
	ranges[0] = (struct pviommu_range){ 5, 1 };
	ranges[1] = (struct pviommu_range){ 20 * LEAF, 1 };
	KUNIT_EXPECT_EQ(test, fixture_sync_list(fix, ranges, 20, UNMAP), 18);
	KUNIT_EXPECT_EQ(test, fix->iommu.nr_flushes, 1);
	KUNIT_EXPECT_EQ(test, fix->iommu.nr_calls, 17);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 2 * LEAF);
	KUNIT_EXPECT_EQ(test, fixture_sync_list(fix, ranges + 18, 2, UNMAP), 2);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 18);
}

/* All of it goes, and what is wanted still does not come back. */
static void part_takes_all_of_a_unit(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned long *log = fixture_log_dirty(fix);
	u64 index;

	fixture_fill(fix, LEAF, 512, LEAF, RW | LARGE);
	fixture_fill(fix, LEAF - 2, FRAME_DATA, 2, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, LEAF, LEAF, 0), LEAF);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, LEAF - 2, 2, 0), 2);
	fixture_clear(fix, LEAF + 300, 5);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { LEAF + 7, 3 },
						  { LEAF + 295, 40 },
						  { LEAF - 2, 6 },
						  { LEAF + 301, 2 }), 51);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u512+512 f512+512");
	for (index = LEAF; index < 2 * LEAF; index++)
		KUNIT_EXPECT_EQ(test, fixture_mapped(fix, index), 0);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 2);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 1);
	KUNIT_EXPECT_EQ(test, bitmap_weight(log, FAKE_FRAMES), LEAF);
	KUNIT_EXPECT_EQ(test, find_first_bit(log, FAKE_FRAMES), 512);
}

/* Nothing is known of the pages that came before, either. */
static void unit_that_does_not_go_is_not_processed(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, LEAF, 512, LEAF, RW | LARGE);
	fixture_fill(fix, 0, FRAME_DATA, 9, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, LEAF, LEAF, 0), LEAF);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 9, 0), 9);
	fix->iommu.stuck = LEAF;
	fixture_clear(fix, 0, 9);
	fixture_clear(fix, LEAF + 300, 1);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { 0, 4 },
						  { LEAF + 7, 3 }, { 4, 1 },
						  { LEAF + 300, 1 },
						  { LEAF + 300, 1 }, { 5, 4 }),
			4);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix),
			   "u0+4 u4+1 u512+512 u5+4 f0+1024");
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), LEAF);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 1);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 0);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, LEAF, LEAF, UNMAP),
			PVIOMMU_RC_HOST_ERROR);

	/* It was the driver's mood. */
	fix->iommu.stuck = FAKE_NEVER;
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, LEAF, LEAF, UNMAP), LEAF);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
}

/* What a device could write, by whichever range it went. */
static void pages_are_dirty_when_they_go(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned long *log = fixture_log_dirty(fix);

	fixture_fill(fix, 0, 100, 4, RW);
	fixture_fill(fix, 4, 104, 4, R);
	fixture_fill(fix, 700, 200, 4, W);
	fixture_set(fix, 704, ENTRY(FAKE_REVERSED, 3, W));
	KUNIT_ASSERT_EQ(test, fixture_sync_ranges(fix, 0, { 0, 8 }, { 700, 5 }),
			13);
	fixture_clear(fix, 0, 8);
	fixture_clear(fix, 700, 5);
	fix->fake.slots[FAKE_REVERSED].flags |= KVM_MEMSLOT_INVALID;
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, UNMAP, { 701, 4 },
						  { 1, 7 }), 11);
	KUNIT_EXPECT_EQ(test, bitmap_weight(log, FAKE_FRAMES), 3 + 3);
	KUNIT_EXPECT_EQ(test, find_next_zero_bit(log, FAKE_FRAMES, 101), 104);
	KUNIT_EXPECT_EQ(test, find_next_zero_bit(log, FAKE_FRAMES, 201), 204);
	KUNIT_EXPECT_EQ(test, atomic64_read(&fix->vm.dirty_lost), 1);
}

static struct kunit_case unmap_tests[] = {
	KUNIT_CASE_SLOW(flush_queue_is_one_call),
	KUNIT_CASE_PARAM(call_is_bounded, bound_gen_params),
	KUNIT_CASE(page_is_named_twice),
	KUNIT_CASE(same_frame_at_two_pages),
	KUNIT_CASE(table_that_is_being_changed),
	KUNIT_CASE(page_that_does_not_go_stays_pinned),
	KUNIT_CASE(units_go_as_many_as_pages),
	KUNIT_CASE(units_are_not_divided),
	KUNIT_CASE(broken_units_are_bounded),
	KUNIT_CASE(part_takes_all_of_a_unit),
	KUNIT_CASE(unit_that_does_not_go_is_not_processed),
	KUNIT_CASE(pages_are_dirty_when_they_go),
	{}
};

static struct kunit_suite unmap_suite = {
	.name = "kvm_pviommu_unmap",
	.init = unmap_init,
	.exit = fixture_exit,
	.test_cases = unmap_tests,
};

kunit_test_suite(unmap_suite);
