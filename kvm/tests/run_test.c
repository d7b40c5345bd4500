// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs: what is mapped, and unmapped, in one call; and 4 KiB leaves only.
 */
#include "fixture.h"

struct run_case {
	const char *name;
	void (*fill)(struct fixture *fix);
	u64 first;
	unsigned int n;
	unsigned int map_calls;	/* of the aperture to the core */
	const char *calls;	/* of the core to the driver */
};

static void side_by_side(struct fixture *fix)
{
	fixture_fill(fix, 0, FRAME_DATA, 16, RW);
}

static void every_second_frame(struct fixture *fix)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		fixture_set(fix, i, FRAME(FRAME_DATA + 2 * i, RW));
}

static void two_blocks(struct fixture *fix)
{
	fixture_fill(fix, 0, FRAME_DATA, 3, RW);
	fixture_fill(fix, 3, FRAME_DATA + 100, 5, RW);
}

/* In guest physical addresses they are side by side. */
static void backwards(struct fixture *fix)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		fixture_set(fix, i, ENTRY(FAKE_REVERSED, i, RW));
}

static void one_frame(struct fixture *fix)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		fixture_set(fix, i, FRAME(FRAME_DATA, RW));
}

static void permissions_change(struct fixture *fix)
{
	fixture_fill(fix, 0, FRAME_DATA, 3, RW);
	fixture_fill(fix, 3, FRAME_DATA + 3, 2, R);
	fixture_fill(fix, 5, FRAME_DATA + 5, 2, W);
}

static void gap(struct fixture *fix)
{
	fixture_fill(fix, 0, FRAME_DATA, 7, RW);
	fixture_clear(fix, 3, 1);
}

static void mapped_in_between(struct fixture *fix)
{
	fixture_fill(fix, 3, FRAME_DATA + 3, 1, RW);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, 3, 1, 0), 1);
	fixture_fill(fix, 0, FRAME_DATA, 7, RW);
}

static void guest_bits_differ(struct fixture *fix)
{
	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	fixture_set(fix, 2, FRAME(FRAME_DATA + 2, RW) | BIT_ULL(61));
}

static void across_leaves(struct fixture *fix)
{
	fixture_fill(fix, 508, FRAME_DATA, 8, RW);
}

/* The last frame of one slot and the first of another are two of one block. */
static void across_slots(struct fixture *fix)
{
	fixture_set(fix, 0, FRAME(FAKE_FRAMES - 1, RW));
	fixture_set(fix, 1, ENTRY(FAKE_REVERSED, 0, RW));
}

static void as_long_as_it_may_be(struct fixture *fix)
{
	fixture_fill(fix, 0, FRAME_DATA, PVIOMMU_DOMAIN_MAX_PAGES, RW);
}

static void one_longer(struct fixture *fix)
{
	fixture_fill(fix, 0, FRAME_DATA, PVIOMMU_DOMAIN_MAX_PAGES + 1, RW);
}

static void two_megabytes(struct fixture *fix)
{
	fixture_fill(fix, 512, 512, 512, RW);
}

static const struct run_case run_cases[] = {
	{ "side by side: one call", side_by_side, 0, 16, 1, "m0+16" },
	{ "apart in memory: one call, as many for the driver",
	  every_second_frame, 0, 4, 1, "m0+1 m1+1 m2+1 m3+1" },
	{ "two blocks: one call, two for the driver", two_blocks, 0, 8, 1,
	  "m0+3 m3+5" },
	{ "backwards in memory: one call", backwards, 0, 3, 1,
	  "m0+1 m1+1 m2+1" },
	{ "one frame over and over: one call", one_frame, 0, 3, 1,
	  "m0+1 m1+1 m2+1" },
	{ "permissions end a run", permissions_change, 0, 7, 3,
	  "m0+3 m3+2 m5+2" },
	{ "a gap ends a run", gap, 0, 7, 2, "m0+3 m4+3" },
	{ "what is mapped ends a run", mapped_in_between, 0, 7, 2,
	  "m0+3 m4+3" },
	{ "the guest's bits end no run", guest_bits_differ, 0, 4, 1, "m0+4" },
	{ "the end of a leaf ends no run", across_leaves, 508, 8, 1,
	  "m508+8" },
	{ "the end of a slot ends no run", across_slots, 0, 2, 1,
	  "m0+1 m1+1" },
	{ "as many as one call takes", as_long_as_it_may_be, 0, 256, 1,
	  "m0+256" },
	{ "one more than one call takes", one_longer, 0, 257, 2,
	  "m0+256 m256+1" },
	{ "2 MiB, aligned: two calls", two_megabytes, 512, 512, 2,
	  "m512+256 m768+256" },
};

KUNIT_ARRAY_PARAM_DESC(run, run_cases, name);

static void run_is_one_call(struct kunit *test)
{
	const struct run_case *c = test->param_value;
	struct fixture *fix = test->priv;
	u64 before;

	c->fill(fix);
	before = counted(fix->ap, map_calls);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, c->first, c->n, 0), c->n);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, map_calls) - before, c->map_calls);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), c->calls);
}

static void frames_are_mapped_in_order(struct kunit *test)
{
	struct fixture *fix = test->priv;

	two_blocks(fix);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 8, 0), 8);
	fixture_check_follows(fix, 0, 8);

	fixture_set(fix, 10, ENTRY(FAKE_REVERSED, 5, R));
	fixture_set(fix, 11, ENTRY(FAKE_REVERSED, 6, R));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 10, 2, 0), 2);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 10),
			FRAME(FAKE_FRAMES - 6, R));
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 11),
			FRAME(FAKE_FRAMES - 7, R));
}

/* A run ends where an entry is refused; what comes later waits. */
static void refused_entry_ends_a_run(struct kunit *test)
{
	struct fixture *fix = test->priv;

	side_by_side(fix);
	fixture_set(fix, 9, FRAME(FRAME_DATA, RW) | BIT_ULL(3));
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 16, 0), 9);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "m0+9");
}

/* So does a page that cannot be pinned, which is found out only then. */
static void missing_page_ends_a_run(struct kunit *test)
{
	struct fixture *fix = test->priv;

	side_by_side(fix);
	fixture_set(fix, 9, ENTRY(FAKE_UNBACKED, 0, RW));
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 16, 0), 9);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "m0+9");
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 9, 7, 0), PVIOMMU_RC_NO_RAM);
}

static void removals_are_runs_with_one_flush(struct kunit *test)
{
	struct fixture *fix = test->priv;

	side_by_side(fix);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 16, 0), 16);
	fixture_clear(fix, 2, 3);
	fixture_clear(fix, 8, 2);
	fixture_clear(fix, 15, 1);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 16, 0), 16);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix),
			   "u2+3 u8+2 u15+1 f2+14");
	KUNIT_EXPECT_EQ(test, counted(fix->ap, unmap_calls), 3);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, flushes), 1);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, unmapped), 6);
}

/* In the order of the list, which need not ascend. */
static void removals_of_a_list_have_one_flush(struct kunit *test)
{
	struct fixture *fix = test->priv;
	s64 ret;

	side_by_side(fix);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 16, 0), 16);
	fixture_clear(fix, 0, 16);
	fixture_forget_calls(fix);
	ret = fixture_sync_ranges(fix, PVIOMMU_SYNC_UNMAP,
				  { 12, 2 }, { 1, 1 }, { 4, 3 });
	KUNIT_EXPECT_EQ(test, ret, 6);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix),
			   "u12+2 u1+1 u4+3 f1+13");
}

static struct kunit_case run_tests[] = {
	KUNIT_CASE_PARAM(run_is_one_call, run_gen_params),
	KUNIT_CASE(frames_are_mapped_in_order),
	KUNIT_CASE(refused_entry_ends_a_run),
	KUNIT_CASE(missing_page_ends_a_run),
	KUNIT_CASE(removals_are_runs_with_one_flush),
	KUNIT_CASE(removals_of_a_list_have_one_flush),
	{}
};

static struct kunit_suite run_suite = {
	.name = "kvm_pviommu_run",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = run_tests,
};

kunit_test_suite(run_suite);
