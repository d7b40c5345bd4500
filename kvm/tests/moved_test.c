// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of an aperture when the VMM discards memory, or only seems to. moving_test of
 * the kselftests has the real thing.
 */
#include "fixture.h"

#define SYNCED	BIT_ULL(62)

static int moved_init(struct kunit *test)
{
	struct fixture *fix = fixture_create(test, WINDOW_PAGES, 0);

	fixture_enable_direct(fix);
	fix->vm.apertures[0] = fix->ap;
	fix->vm.nr_apertures = 1;
	return 0;
}

/* @n pages that the guest has synchronised, in use by @uses. */
static void enter(struct fixture *fix, u64 index, unsigned int frame,
		  unsigned int n, u64 uses)
{
	fixture_fill(fix, index, frame, n,
		     RW | SYNCED | uses * PVIOMMU_ENTRY_USE);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, index, n, 0), n);
}

/* Something may become of @n frames. */
static void announce(struct fixture *fix, u64 n)
{
	gfn_t gfn = FAKE_GFN(FAKE_RAM) + FRAME_DATA;

	pviommu_moved_before(&fix->vm, gfn, n);
	pviommu_moved_after(&fix->vm, gfn, n);
}

/* Reclaim, migration: announced, and then nothing comes of it. */
static void what_is_in_use_stays(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 4, 1);
	fixture_forget_calls(fix);
	announce(fix, 4);
	pviommu_moved_check(&fix->vm);
	fixture_check(fix);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "");
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, moved), 0);
}

/* Discarded, and other pages are there. */
static void what_is_in_use_and_was_replaced_goes(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 4, 1);
	fixture_forget_calls(fix);
	fake_vm_replace(&fix->fake, test, FRAME_DATA + 1, FRAME_DATA + 8);
	fake_vm_replace(&fix->fake, test, FRAME_DATA + 2, FRAME_DATA + 9);
	announce(fix, 4);
	pviommu_moved_check(&fix->vm);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u1+2 f1+2");
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 2);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, moved), 2);
	/* Not the guest's entries: it has not said that it does not need them. */
	KUNIT_EXPECT_NE(test, fixture_entry(fix, 1), 0);
}

/* What nobody has announced nobody looks at. */
static void others_are_not_looked_at(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 4, 1);
	fake_vm_replace(&fix->fake, test, FRAME_DATA + 1, FRAME_DATA + 8);
	pviommu_moved_check(&fix->vm);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4);
}

/* All of memory, as when the VMM ends. */
static void all_is_looked_at(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 4, 1);
	fake_vm_replace(&fix->fake, test, FRAME_DATA + 1, FRAME_DATA + 8);
	pviommu_moved_before(&fix->vm, 0, BIT_ULL(40));
	pviommu_moved_after(&fix->vm, 0, BIT_ULL(40));
	pviommu_moved_check(&fix->vm);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 3);
}

/* A SYNC that comes before the worker. */
static void a_sync_looks(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 4, 1);
	fake_vm_replace(&fix->fake, test, FRAME_DATA + 1, FRAME_DATA + 8);
	announce(fix, 4);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 1), FRAME(FRAME_DATA + 8, RW));
	KUNIT_EXPECT_EQ(test, counted(fix->ap, moved), 0);
	pviommu_moved_check(&fix->vm);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, moved), 0);
}

static struct kunit_case moved_cases[] = {
	KUNIT_CASE(what_is_in_use_stays),
	KUNIT_CASE(what_is_in_use_and_was_replaced_goes),
	KUNIT_CASE(others_are_not_looked_at),
	KUNIT_CASE(all_is_looked_at),
	KUNIT_CASE(a_sync_looks),
	{}
};

static struct kunit_suite moved_suite = {
	.name = "kvm_pviommu_moved",
	.init = moved_init,
	.exit = fixture_exit,
	.test_cases = moved_cases,
};

kunit_test_suite(moved_suite);
