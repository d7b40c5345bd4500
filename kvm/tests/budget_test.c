// SPDX-License-Identifier: GPL-2.0-only
/*
 * What may be pinned: the budget, RLIMIT_MEMLOCK, and the references of one page.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/sched/signal.h>

#include "fixture.h"

#define BUDGET	8U

static int budget_init(struct kunit *test)
{
	fixture_create(test, WINDOW_PAGES, BUDGET);
	return 0;
}

static void budget_shortens_a_run(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, BUDGET + 4, RW);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, BUDGET + 4, 0), BUDGET);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "m0+8");
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, BUDGET, 4, 0),
			PVIOMMU_RC_OVER_BUDGET);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), BUDGET);
}

static void budget_can_be_used_to_its_last_page(struct kunit *test)
{
	struct fixture *fix = test->priv;
	u64 i;

	fixture_fill(fix, 0, FRAME_DATA, BUDGET + 1, RW);
	for (i = 0; i < BUDGET; i++)
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, i, 1, 0), 1);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, i, 1, 0),
			PVIOMMU_RC_OVER_BUDGET);
	/* What is there already needs none. */
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, BUDGET, 0), BUDGET);
}

static void removal_makes_room_in_the_same_sync(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, BUDGET, FRAME_DATA, BUDGET, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, BUDGET, BUDGET, 0), BUDGET);

	/* The removals come last in the table, but first in time. */
	fixture_clear(fix, BUDGET, BUDGET);
	fixture_fill(fix, 0, FRAME_DATA + 50, BUDGET, RW);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 2 * BUDGET, 0), 2 * BUDGET);
	fixture_check_follows(fix, 0, 2 * BUDGET);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&fix->ap->pinned_peak), BUDGET);
}

static void removal_makes_room_in_the_same_list(struct kunit *test)
{
	struct fixture *fix = test->priv;
	s64 ret;

	fixture_fill(fix, 1000, FRAME_DATA, BUDGET, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 1000, BUDGET, 0), BUDGET);
	fixture_clear(fix, 1000, 3);
	fixture_fill(fix, 0, FRAME_DATA + 50, 3, RW);
	ret = fixture_sync_ranges(fix, 0, { 0, 3 }, { 1000, 3 });
	KUNIT_EXPECT_EQ(test, ret, 6);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), BUDGET);
}

static void replacing_needs_no_room(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, BUDGET, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, BUDGET, 0), BUDGET);
	fixture_fill(fix, 0, FRAME_DATA + 50, BUDGET, RW);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, BUDGET, 0), BUDGET);
	fixture_check_follows(fix, 0, BUDGET);
}

/* It counts what is pinned, not how many frames that is. */
static void frame_counts_at_each_iova(struct kunit *test)
{
	struct fixture *fix = test->priv;
	u64 i;

	for (i = 0; i < BUDGET + 1; i++)
		fixture_set(fix, i, FRAME(FRAME_DATA, RW));
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, BUDGET + 1, 0), BUDGET);
	KUNIT_EXPECT_EQ(test, fake_vm_pins(&fix->fake, FRAME_DATA), BUDGET);
}

static void refused_pages_use_no_budget(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_set(fix, 0, ENTRY(FAKE_UNBACKED, 0, R));
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 1, 0), PVIOMMU_RC_NO_RAM);
	fixture_fill(fix, 0, FRAME_DATA, BUDGET, RW);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, BUDGET, 0), BUDGET);
}

static void peak_is_remembered(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture_stats stats;

	fixture_fill(fix, 0, FRAME_DATA, 6, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 6, 0), 6);
	fixture_clear(fix, 0, 4);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 6, 0), 6);
	fixture_fill(fix, 0, FRAME_DATA, 1, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 6, 0), 6);

	pviommu_aperture_lock(fix->ap);
	pviommu_aperture_stats(fix->ap, &stats);
	pviommu_aperture_unlock(fix->ap);
	KUNIT_EXPECT_EQ(test, stats.pinned, 3);
	KUNIT_EXPECT_EQ(test, stats.pinned_peak, 6);
	KUNIT_EXPECT_EQ(test, stats.budget, BUDGET);
	KUNIT_EXPECT_EQ(test, stats.mapped, 7);
	KUNIT_EXPECT_EQ(test, stats.unmapped, 4);
	KUNIT_EXPECT_EQ(test, stats.syncs, 3);
	KUNIT_EXPECT_EQ(test, stats.sync_pages, 18);
	KUNIT_EXPECT_EQ(test, stats.enabled, 1);
	KUNIT_EXPECT_EQ(test, stats.shadow_leaves, 1);
}

static struct kunit_case budget_tests[] = {
	KUNIT_CASE(budget_shortens_a_run),
	KUNIT_CASE(budget_can_be_used_to_its_last_page),
	KUNIT_CASE(removal_makes_room_in_the_same_sync),
	KUNIT_CASE(removal_makes_room_in_the_same_list),
	KUNIT_CASE(replacing_needs_no_room),
	KUNIT_CASE(frame_counts_at_each_iova),
	KUNIT_CASE(refused_pages_use_no_budget),
	KUNIT_CASE(peak_is_remembered),
	{}
};

static struct kunit_suite budget_suite = {
	.name = "kvm_pviommu_budget",
	.init = budget_init,
	.exit = fixture_exit,
	.test_cases = budget_tests,
};

/* Syncs as a process that may lock so many pages, and no more. */
static s64 sync_with_limit(struct fixture *fix, unsigned long limit, u64 first,
			   u64 count)
{
	struct rlimit *rlim = &current->signal->rlim[RLIMIT_MEMLOCK];
	struct cred *cred = prepare_creds();
	const struct cred *old;
	s64 ret;

	KUNIT_ASSERT_NOT_NULL(fix->test, cred);
	cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	WRITE_ONCE(rlim->rlim_cur, limit << PAGE_SHIFT);
	old = override_creds(cred);
	ret = fixture_sync(fix, first, count, 0);
	revert_creds(old);
	put_cred(cred);
	return ret;
}

/* It falls back to single pages when it cannot have the whole run. */
static void limit_can_be_used_to_its_last_page(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 16, RW);
	KUNIT_EXPECT_EQ(test, sync_with_limit(fix, 10, 0, 16), 10);
	KUNIT_EXPECT_EQ(test, sync_with_limit(fix, 10, 10, 6),
			PVIOMMU_RC_LOCK_LIMIT);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 10);
	KUNIT_EXPECT_EQ(test, fix->fake.mm->locked_vm, 10);
	KUNIT_EXPECT_EQ(test, sync_with_limit(fix, 16, 10, 6), 6);
}

static void limit_of_nothing_refuses_all(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 1, RW);
	KUNIT_EXPECT_EQ(test, sync_with_limit(fix, 0, 0, 1),
			PVIOMMU_RC_LOCK_LIMIT);
	KUNIT_EXPECT_EQ(test, fix->fake.mm->locked_vm, 0);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "");
}

static void removal_makes_room_below_the_limit(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 8, FRAME_DATA, 8, RW);
	KUNIT_ASSERT_EQ(test, sync_with_limit(fix, 8, 8, 8), 8);
	fixture_clear(fix, 8, 8);
	fixture_fill(fix, 0, FRAME_DATA, 8, RW);
	KUNIT_EXPECT_EQ(test, sync_with_limit(fix, 8, 0, 16), 16);
}

/* Many VMMs may pin one page, and each pin takes its share of the count. */
static void page_pinned_too_often_is_refused(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct page *page = fix->fake.frames + FRAME_DATA + 2;
	int many = 65536 * GUP_PIN_COUNTING_BIAS;
	s64 ret, again;
	int idx;

	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	idx = srcu_read_lock(&fix->fake.kvm->srcu);
	page_ref_add(page, many);
	ret = pviommu_sync(fix->ap, 0, 4, 0);
	again = pviommu_sync(fix->ap, 2, 2, 0);
	page_ref_sub(page, many);
	srcu_read_unlock(&fix->fake.kvm->srcu, idx);
	fixture_check(fix);
	KUNIT_EXPECT_EQ(test, ret, 2);
	KUNIT_EXPECT_EQ(test, again, PVIOMMU_RC_OVER_BUDGET);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 2, 2, 0), 2);
}

static struct kunit_case limit_tests[] = {
	KUNIT_CASE(limit_can_be_used_to_its_last_page),
	KUNIT_CASE(limit_of_nothing_refuses_all),
	KUNIT_CASE(removal_makes_room_below_the_limit),
	KUNIT_CASE(page_pinned_too_often_is_refused),
	{}
};

static struct kunit_suite limit_suite = {
	.name = "kvm_pviommu_limit",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = limit_tests,
};

kunit_test_suites(&budget_suite, &limit_suite);
