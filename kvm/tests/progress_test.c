// SPDX-License-Identifier: GPL-2.0-only
/*
 * How far a sync comes, and that calling again from there gets to the end.
 */
#include "fixture.h"

#define BAD	(FRAME(FRAME_DATA, RW) | BIT_ULL(5))

struct progress_case {
	const char *name;
	unsigned int n;		/* entries, from page 100 on */
	unsigned int bad;	/* which of them; @n for none */
	u64 entry;		/* what it is */
	s64 first;		/* result of the first call */
	s64 next;		/* ... of the one from there on */
};

static const struct progress_case progress_cases[] = {
	{ "all good", 20, 20, 0, 20, 0 },
	{ "first one bad", 20, 0, BAD, PVIOMMU_RC_BAD_ENTRY,
	  PVIOMMU_RC_BAD_ENTRY },
	{ "one in the middle bad", 20, 7, BAD, 7, PVIOMMU_RC_BAD_ENTRY },
	{ "last one bad", 20, 19, BAD, 19, PVIOMMU_RC_BAD_ENTRY },
	{ "one in the middle without RAM", 20, 7, GENMASK_ULL(51, 12) | R, 7,
	  PVIOMMU_RC_NO_RAM },
	{ "one in the middle read-only", 20, 7, ENTRY(FAKE_READ_ONLY, 1, W), 7,
	  PVIOMMU_RC_READ_ONLY },
	{ "one in the middle to be tried again", 20, 7,
	  ENTRY(FAKE_CHANGING, 0, R), 7, PVIOMMU_RC_RETRY },
	{ "one behind the first run bad", 300, 280, BAD, 280,
	  PVIOMMU_RC_BAD_ENTRY },
	{ "more than one call does", 700, 700, 0, PVIOMMU_SYNC_MAX_PAGES, 188 },
	{ "bad one beyond the first call", 700, 600, BAD,
	  PVIOMMU_SYNC_MAX_PAGES, 88 },
};

KUNIT_ARRAY_PARAM_DESC(progress, progress_cases, name);

static void count_then_code(struct kunit *test)
{
	const struct progress_case *c = test->param_value;
	struct fixture *fix = test->priv;
	s64 done;

	fixture_fill(fix, 100, FRAME_DATA, c->n, RW);
	if (c->bad < c->n)
		fixture_set(fix, 100 + c->bad, c->entry);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 100, c->n, 0), c->first);
	done = max(c->first, 0LL);
	fixture_check_follows(fix, 100, done);
	/* Not beyond. */
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), done);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, sync_pages), done);

	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 100 + done, c->n - done, 0),
			c->next);
}

/* All of the range, also behind the entry that is refused. */
static void removals_are_not_held_up(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 10, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 10, 0), 10);
	fixture_set(fix, 2, BAD);
	fixture_clear(fix, 5, 2);
	fixture_set(fix, 8, FRAME(FRAME_DATA + 50, RW));
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 10, 0), 2);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 2), 0);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 5), 0);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 6), 0);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 8), 0);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 6);
}

struct list_case {
	const char *name;
	struct pviommu_range ranges[4];
	unsigned int nr;
	s64 ret;
	unsigned int pinned;
};

/* All entries from 0 to 1023 are good but for 600, which is bad. */
static const struct list_case list_cases[] = {
	{ "none", {}, 0, 0, 0 },
	{ "ranges of nothing", { { 0, 0 }, { 7, 0 } }, 2, 0, 0 },
	{ "counted across the list", { { 0, 3 }, { 100, 2 }, { 50, 4 } }, 3, 9,
	  9 },
	{ "nothing in between", { { 0, 3 }, { 100, 0 }, { 50, 4 } }, 3, 7, 7 },
	{ "bad entry in the first", { { 600, 2 }, { 0, 2 } }, 2,
	  PVIOMMU_RC_BAD_ENTRY, 0 },
	{ "bad entry in the second", { { 0, 3 }, { 598, 4 }, { 50, 4 } }, 3, 5,
	  5 },
	{ "more than one call does", { { 0, 500 }, { 700, 20 }, { 50, 4 } }, 3,
	  PVIOMMU_SYNC_MAX_PAGES, PVIOMMU_SYNC_MAX_PAGES },
	{ "first beyond the window", { { WINDOW_PAGES, 1 }, { 0, 1 } }, 2,
	  PVIOMMU_RC_BAD_ARG, 0 },
	{ "second beyond the window", { { 0, 2 }, { 0, U64_MAX }, { 9, 1 } }, 3,
	  2, 2 },
	{ "beyond the window, but beyond one call, too",
	  { { 0, 512 }, { 0, U64_MAX } }, 2, PVIOMMU_SYNC_MAX_PAGES,
	  PVIOMMU_SYNC_MAX_PAGES },
};

KUNIT_ARRAY_PARAM_DESC(list, list_cases, name);

static void list_counts_across_ranges(struct kunit *test)
{
	const struct list_case *c = test->param_value;
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, 0, FAKE_FRAMES, R);
	fixture_set(fix, 600, BAD);
	KUNIT_EXPECT_EQ(test, fixture_sync_list(fix, c->ranges, c->nr, 0),
			c->ret);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), c->pinned);
}

struct array_case {
	const char *name;
	u64 gpa;
	u64 nr;
	u64 flags;
	s64 ret;
};

static const struct array_case array_cases[] = {
	{ "aligned to 8", FRAME(FRAME_LIST, 8), 1, 0, 0 },
	{ "not aligned", FRAME(FRAME_LIST, 4), 1, 0, PVIOMMU_RC_BAD_ARG },
	{ "across pages", FRAME(FRAME_LIST + 1, 0) - 8, 1, 0, 0 },
	{ "as long as it may be", FRAME(FRAME_LIST, 0), 256, 0, 0 },
	{ "too long", FRAME(FRAME_LIST, 0), 257, 0, PVIOMMU_RC_BAD_ARG },
	{ "much too long", FRAME(FRAME_LIST, 0), U64_MAX, 0,
	  PVIOMMU_RC_BAD_ARG },
	{ "nothing, nowhere", 0, 0, 0, 0 },
	{ "not RAM", 0, 1, 0, PVIOMMU_RC_NO_RAM },
	{ "without memory", FAKE_GPA(FAKE_UNBACKED), 1, 0, PVIOMMU_RC_NO_RAM },
	{ "slot that is being changed", FAKE_GPA(FAKE_CHANGING), 1, 0,
	  PVIOMMU_RC_RETRY },
	{ "unknown flag", FRAME(FRAME_LIST, 0), 1, BIT(5), PVIOMMU_RC_BAD_ARG },
};

KUNIT_ARRAY_PARAM_DESC(array, array_cases, name);

static void array_is_read_where_it_is(struct kunit *test)
{
	const struct array_case *c = test->param_value;
	struct fixture *fix = test->priv;
	int idx = srcu_read_lock(&fix->fake.kvm->srcu);

	KUNIT_EXPECT_EQ(test,
			pviommu_sync_list(fix->ap, c->gpa, c->nr, c->flags),
			c->ret);
	srcu_read_unlock(&fix->fake.kvm->srcu, idx);
}

struct gup_case {
	const char *name;
	long err;
	s32 rc;
};

static const struct gup_case gup_cases[] = {
	{ "no memory", -ENOMEM, PVIOMMU_RC_NO_MEMORY },
	{ "killed", -EINTR, PVIOMMU_RC_RETRY },
	{ "signal", -ERESTARTSYS, PVIOMMU_RC_RETRY },
	{ "busy", -EAGAIN, PVIOMMU_RC_RETRY },
	{ "none pinned", 0, PVIOMMU_RC_RETRY },
	{ "not mapped", -EFAULT, PVIOMMU_RC_NO_RAM },
	{ "not for long", -EOPNOTSUPP, PVIOMMU_RC_NO_RAM },
	{ "poisoned", -EHWPOISON, PVIOMMU_RC_NO_RAM },
};

KUNIT_ARRAY_PARAM_DESC(gup, gup_cases, name);

static void failed_pin_has_a_code(struct kunit *test)
{
	const struct gup_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, pviommu_sync_gup_rc(c->err), c->rc);
}

static struct kunit_case progress_tests[] = {
	KUNIT_CASE_PARAM(count_then_code, progress_gen_params),
	KUNIT_CASE(removals_are_not_held_up),
	KUNIT_CASE_PARAM(list_counts_across_ranges, list_gen_params),
	KUNIT_CASE_PARAM(array_is_read_where_it_is, array_gen_params),
	KUNIT_CASE_PARAM(failed_pin_has_a_code, gup_gen_params),
	{}
};

static struct kunit_suite progress_suite = {
	.name = "kvm_pviommu_progress",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = progress_tests,
};

kunit_test_suite(progress_suite);
