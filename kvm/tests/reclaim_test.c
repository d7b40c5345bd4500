// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reclaim: idle pages of a direct table, and only those.
 */
#include <kunit/static_stub.h>
#include <linux/bitmap.h>

#include "fixture.h"
#include "shadow.h"

#define USE	PVIOMMU_ENTRY_USE
#define SYNCED	BIT_ULL(62)

/* What the guest's own bits mean nobody here knows. */
#define REFERENCED	BIT_ULL(61)

static int reclaim_init(struct kunit *test)
{
	struct fixture *fix = fixture_create(test, WINDOW_PAGES, 0);

	fixture_enable_direct(fix);
	return 0;
}

/* @n pages that the guest has synchronised, in use by @uses. */
static void enter(struct fixture *fix, u64 index, unsigned int frame,
		  unsigned int n, u64 uses)
{
	fixture_fill(fix, index, frame, n, RW | SYNCED | uses * USE);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, index, n, 0), n);
}

static void idle_pages_are_taken(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned int i;

	enter(fix, 0, FRAME_DATA, 4, 0);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 4);
	fixture_check(fix);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u0+4 f0+4");
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, fixture_entry(fix, i), 0);
		KUNIT_EXPECT_EQ(test, fixture_mapped(fix, i), 0);
	}
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, reclaimed), 4);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 0);
}

static void pages_in_use_stay(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 2, 0);
	enter(fix, 2, FRAME_DATA + 2, 1, 1);
	enter(fix, 3, FRAME_DATA + 3, 1, 511);
	enter(fix, 4, FRAME_DATA + 4, 1, 0);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 3);
	fixture_check(fix);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u0+2 u4+1 f0+5");
	KUNIT_EXPECT_EQ(test, fixture_entry(fix, 2),
			FRAME(FRAME_DATA + 2, RW | SYNCED | USE));
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 2), FRAME(FRAME_DATA + 2, RW));
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 3), FRAME(FRAME_DATA + 3, RW));
}

static void what_is_taken_comes_back(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 7, FRAME_DATA, 1, 0);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, 1), 1);
	enter(fix, 7, FRAME_DATA, 1, 1);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 7), FRAME(FRAME_DATA, RW));
}

/* Entered, but the host has not been told: nothing to be taken, nothing to be lost. */
static void what_is_not_mapped_is_left_alone(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 1, 1);
	fixture_set(fix, 1, FRAME(FRAME_DATA + 1, RW));
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, fixture_entry(fix, 1), FRAME(FRAME_DATA + 1, RW));
}

/* Evicted by the guest, which will say so. */
static void what_the_guest_has_cleared_is_left_to_it(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 1, 0);
	fixture_clear(fix, 0, 1);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 1);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 1, PVIOMMU_SYNC_UNMAP), 1);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
}

/* All its entries look idle, and it was never told that they may go. */
static void only_direct_tables(struct kunit *test)
{
	struct fixture *fix = test->priv;

	KUNIT_ASSERT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)), 0);
	enter(fix, 0, FRAME_DATA, 4, 0);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4);
}

static void not_after_disable(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 4, 0);
	KUNIT_ASSERT_EQ(test, pviommu_aperture_disable(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 0);
	KUNIT_EXPECT_NE(test, fixture_entry(fix, 0), 0);
}

/* No more than was asked for; the next time with those that come after. */
static void leaves_have_their_turns(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 4, 0);
	enter(fix, 512, FRAME_DATA + 4, 4, 0);
	enter(fix, 1024, FRAME_DATA + 8, 4, 0);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, 4), 4);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 0), 0);
	enter(fix, 0, FRAME_DATA, 4, 0);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, 6), 6);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 512), 0);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 1025), 0);
	KUNIT_EXPECT_NE(test, fixture_mapped(fix, 1026), 0);
	KUNIT_EXPECT_NE(test, fixture_mapped(fix, 0), 0);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 6);
	fixture_check(fix);
}

/* What the IOMMU driver does not unmap stays pinned; the guest finds it again. */
static void stuck_page_stays(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 1, 0);
	fix->iommu.stuck = 0;
	pviommu_reclaim(fix->ap, U64_MAX);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 1);
	KUNIT_EXPECT_EQ(test, fixture_entry(fix, 0), 0);
	fix->iommu.stuck = FAKE_NEVER;
	enter(fix, 0, FRAME_DATA, 1, 1);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 1);
}

/* A guest that begins to use a page when it has just been found idle. */
static __le64 use_after_reading(__le64 *at)
{
	__le64 entry = READ_ONCE(*at);

	if (entry && !(le64_to_cpu(entry) & PVIOMMU_ENTRY_USES))
		WRITE_ONCE(*at, cpu_to_le64(le64_to_cpu(entry) + USE));
	return entry;
}

static void page_used_that_very_moment_stays(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 1, 0);
	kunit_activate_static_stub(test, pviommu_entry_read, use_after_reading);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 0);
	kunit_deactivate_static_stub(test, pviommu_entry_read);
	KUNIT_EXPECT_EQ(test, fixture_entry(fix, 0),
			FRAME(FRAME_DATA, RW | SYNCED | USE));
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 0), FRAME(FRAME_DATA, RW));
}

/* A guest that takes second chances away, meanwhile. */
static __le64 unreference_after_reading(__le64 *at)
{
	__le64 entry = READ_ONCE(*at);

	WRITE_ONCE(*at, entry & cpu_to_le64(~REFERENCED));
	return entry;
}

static void page_looked_at_that_very_moment_is_taken(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 1, 0);
	fixture_set(fix, 0, FRAME(FRAME_DATA, RW | SYNCED | REFERENCED));
	kunit_activate_static_stub(test, pviommu_entry_read,
				   unreference_after_reading);
	KUNIT_EXPECT_TRUE(test, pviommu_claim(xa_load(&fix->ap->shadow, 0), 0));
	kunit_deactivate_static_stub(test, pviommu_entry_read);
	KUNIT_EXPECT_EQ(test, fixture_entry(fix, 0), 0);
}

/* A guest that does nothing else: nobody waits for it. */
static __le64 change_after_reading(__le64 *at)
{
	__le64 entry = READ_ONCE(*at);

	WRITE_ONCE(*at, entry ^ cpu_to_le64(REFERENCED));
	return entry;
}

static void page_that_never_stands_still_stays(struct kunit *test)
{
	struct fixture *fix = test->priv;

	enter(fix, 0, FRAME_DATA, 1, 0);
	kunit_activate_static_stub(test, pviommu_entry_read,
				   change_after_reading);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, U64_MAX), 0);
	kunit_deactivate_static_stub(test, pviommu_entry_read);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 0), FRAME(FRAME_DATA, RW));
	fixture_check(fix);
}

/* The guest's leaf was written to, and the page may have been. */
static void both_are_logged(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned long *log = fixture_log_dirty(fix);

	enter(fix, 0, FRAME_DATA, 1, 0);
	KUNIT_EXPECT_EQ(test, pviommu_reclaim(fix->ap, 1), 1);
	KUNIT_EXPECT_TRUE(test, test_bit_le(FRAME_LEAVES, log));
	KUNIT_EXPECT_TRUE(test, test_bit_le(FRAME_DATA, log));
	KUNIT_EXPECT_EQ(test, bitmap_weight(log, FAKE_FRAMES), 2);
}

static struct kunit_case reclaim_cases[] = {
	KUNIT_CASE(idle_pages_are_taken),
	KUNIT_CASE(pages_in_use_stay),
	KUNIT_CASE(what_is_taken_comes_back),
	KUNIT_CASE(what_is_not_mapped_is_left_alone),
	KUNIT_CASE(what_the_guest_has_cleared_is_left_to_it),
	KUNIT_CASE(only_direct_tables),
	KUNIT_CASE(not_after_disable),
	KUNIT_CASE(leaves_have_their_turns),
	KUNIT_CASE(stuck_page_stays),
	KUNIT_CASE(page_used_that_very_moment_stays),
	KUNIT_CASE(page_looked_at_that_very_moment_is_taken),
	KUNIT_CASE(page_that_never_stands_still_stays),
	KUNIT_CASE(both_are_logged),
	{}
};

static struct kunit_suite reclaim_suite = {
	.name = "kvm_pviommu_reclaim",
	.init = reclaim_init,
	.exit = fixture_exit,
	.test_cases = reclaim_cases,
};

kunit_test_suite(reclaim_suite);
