// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ends of a table: disable, reset, enable anew; what is forgotten, and what the dirty
 * log gets.
 */
#include <linux/bitmap.h>
#include <linux/sizes.h>

#include "fixture.h"
#include "shadow.h"

static void drop_is_done_in_pieces(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture *ap = fix->ap;

	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	fixture_fill(fix, 512, FRAME_DATA, 4, RW);
	fixture_fill(fix, 1024, FRAME_DATA, 4, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 512, 4, 0), 4);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 1024, 4, 0), 4);

	/* At least a leaf's worth each time. */
	pviommu_aperture_lock(ap);
	KUNIT_EXPECT_TRUE(test, pviommu_remove_all(ap, 1));
	KUNIT_EXPECT_EQ(test, pinned(ap), 8);
	KUNIT_EXPECT_TRUE(test, pviommu_remove_all(ap, 1));
	KUNIT_EXPECT_FALSE(test, pviommu_remove_all(ap, 1));
	KUNIT_EXPECT_EQ(test, pinned(ap), 0);
	KUNIT_EXPECT_EQ(test, total(ap, nr_leaves), 0);
	KUNIT_EXPECT_EQ(test, total(ap, nr_spare_leaves), 0);
	pviommu_aperture_unlock(ap);
	fixture_check(fix);
}

static void enable_drops_what_was_there(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	/* For the same table, too. */
	KUNIT_EXPECT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)), 0);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 0), 0);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
}

static void refused_enable_changes_nothing(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	KUNIT_EXPECT_EQ(test, fixture_enable(fix, 8), PVIOMMU_RC_BAD_TABLE);
	KUNIT_EXPECT_TRUE(test, fix->ap->enabled);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4);
}

static void reset_unpins_and_waits_for_enable(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture *ap = fix->ap;

	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	pviommu_aperture_reset(ap);
	fixture_check(fix);
	KUNIT_EXPECT_EQ(test, pinned(ap), 0);
	KUNIT_EXPECT_FALSE(test, ap->enabled);
	KUNIT_EXPECT_EQ(test, ap->stats.resets, 1);
	/* What was charged in advance, too. */
	KUNIT_EXPECT_EQ(test, fix->fake.mm->locked_vm, 0);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 4, 0),
			PVIOMMU_RC_NOT_ENABLED);
}

static void empty_leaves_are_kept_but_not_all(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture *ap = fix->ap;
	__le64 *directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);
	u64 nr = ap->npages / PVIOMMU_ENTRIES_PER_LEAF;
	u64 i;

	/* One leaf of the guest's stands for all. */
	for (i = 0; i < nr; i++)
		directory[i] = cpu_to_le64(FRAME(FRAME_LEAVES, 0));
	fixture_set(fix, 0, FRAME(FRAME_DATA, R));
	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, fixture_sync_unchecked(fix, i * 512, 1,
							     0), 1);
	KUNIT_EXPECT_EQ(test, total(ap, nr_leaves), nr);
	KUNIT_EXPECT_EQ(test, total(ap, nr_spare_leaves), 0);

	fixture_set(fix, 0, 0);
	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, fixture_sync_unchecked(fix, i * 512, 1,
							     0), 1);
	KUNIT_EXPECT_EQ(test, pinned(ap), 0);
	KUNIT_EXPECT_EQ(test, total(ap, nr_leaves), 64);
	KUNIT_EXPECT_EQ(test, total(ap, nr_spare_leaves), 64);

	/* Nor does a table that wants nothing get any. */
	KUNIT_ASSERT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)), 0);
	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, fixture_sync_unchecked(fix, i * 512, 512,
							     0), 512);
	KUNIT_EXPECT_EQ(test, total(ap, nr_leaves), 0);
	fixture_check(fix);
}

/*
 * A window costs what is mapped in it, by leaves of 2 MiB, however large it is: and one bit for
 * 2 MiB in which the IOMMU may have a table.
 */
static void a_large_window_costs_what_is_in_it(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture *ap;
	unsigned int i;

	ap = pviommu_aperture_create(&fix->vm, PAGE_SIZE, SZ_64G - PAGE_SIZE,
				     SZ_64K);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ap);
	KUNIT_EXPECT_EQ(test, total(ap, nr_leaves), 0);
	KUNIT_EXPECT_TRUE(test, xa_empty(&ap->shadow));
	KUNIT_EXPECT_NULL(test, ap->domain.tables);

	/* All over the window, and no two side by side. */
	for (i = 0; i < 100; i++)
		KUNIT_ASSERT_NOT_NULL(test,
				      pviommu_shadow_add(ap, i * 163000UL,
							 FRAME(FRAME_LEAVES, 0)));
	KUNIT_EXPECT_EQ(test, total(ap, nr_leaves), 100);
	/* A page and its pin, for each of 512, and a little more. */
	KUNIT_EXPECT_LE(test, sizeof(struct pviommu_shadow_leaf),
			PVIOMMU_ENTRIES_PER_LEAF * 24 + 128);
	pviommu_shadow_forget(ap);
	KUNIT_EXPECT_EQ(test, total(ap, nr_leaves), 0);
	pviommu_aperture_destroy(ap);
}

static int leaves_init(struct kunit *test)
{
	fixture_create(test, 70 * PVIOMMU_ENTRIES_PER_LEAF, 0);
	return 0;
}

static struct kunit_case leaves_tests[] = {
	KUNIT_CASE_SLOW(empty_leaves_are_kept_but_not_all),
	KUNIT_CASE(a_large_window_costs_what_is_in_it),
	{}
};

static struct kunit_suite leaves_suite = {
	.name = "kvm_pviommu_leaves",
	.init = leaves_init,
	.exit = fixture_exit,
	.test_cases = leaves_tests,
};

static struct kunit_case drop_tests[] = {
	KUNIT_CASE(drop_is_done_in_pieces),
	KUNIT_CASE(enable_drops_what_was_there),
	KUNIT_CASE(refused_enable_changes_nothing),
	KUNIT_CASE(reset_unpins_and_waits_for_enable),
	{}
};

static struct kunit_suite drop_suite = {
	.name = "kvm_pviommu_drop",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = drop_tests,
};

static void writable_pages_are_dirty_when_they_go(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned long *log = fixture_log_dirty(fix);

	fixture_set(fix, 0, FRAME(20, R));
	fixture_set(fix, 1, FRAME(21, W));
	fixture_set(fix, 2, FRAME(22, RW));
	fixture_set(fix, 3, FRAME(23, RW));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	KUNIT_EXPECT_EQ(test, bitmap_weight(log, FAKE_FRAMES), 0);

	fixture_clear(fix, 0, 3);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	KUNIT_EXPECT_EQ(test, bitmap_weight(log, FAKE_FRAMES), 2);
	KUNIT_EXPECT_TRUE(test, test_bit(21, log));
	KUNIT_EXPECT_TRUE(test, test_bit(22, log));

	KUNIT_ASSERT_EQ(test, pviommu_aperture_disable(fix->ap), 0);
	KUNIT_EXPECT_TRUE(test, test_bit(23, log));
	KUNIT_EXPECT_EQ(test, atomic64_read(&fix->vm.dirty_lost), 0);
}

static void pages_that_are_mapped_can_be_marked(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned long *log = fixture_log_dirty(fix);
	u64 pages = 5;

	fixture_set(fix, 0, FRAME(20, R));
	fixture_set(fix, 1, FRAME(21, RW));
	fixture_set(fix, 700, FRAME(21, RW));
	fixture_set(fix, 701, ENTRY(FAKE_REVERSED, 9, W));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 2, 0), 2);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 700, 2, 0), 2);

	/* A slot without a log is passed over, but counted. */
	KUNIT_EXPECT_EQ(test, pviommu_dirty_mark_mapped(fix->ap, &pages), 0);
	KUNIT_EXPECT_EQ(test, pages, 5 + 3);
	KUNIT_EXPECT_EQ(test, bitmap_weight(log, FAKE_FRAMES), 1);
	KUNIT_EXPECT_TRUE(test, test_bit(21, log));
	fixture_check(fix);
}

static void marking_says_when_a_device_is_not_confined(struct kunit *test)
{
	struct fixture *fix = test->priv;
	u64 pages = 0;

	fixture_set(fix, 0, FRAME(20, RW));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 1, 0), 1);
	fix->ap->stats.waiting = 1;
	KUNIT_EXPECT_EQ(test, pviommu_dirty_mark_mapped(fix->ap, &pages), -EBUSY);
	KUNIT_EXPECT_EQ(test, pages, 1);
	fix->ap->stats.waiting = 0;
}

static void lost_dirty_pages_are_counted(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_set(fix, 0, ENTRY(FAKE_REVERSED, 1, RW));
	fixture_set(fix, 1, ENTRY(FAKE_REVERSED, 2, R));
	fixture_set(fix, 2, ENTRY(FAKE_REVERSED, 3, RW));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 3, 0), 3);

	fix->fake.slots[FAKE_REVERSED].flags |= KVM_MEMSLOT_INVALID;
	fixture_clear(fix, 0, 2);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 2, 0), 2);
	KUNIT_EXPECT_EQ(test, atomic64_read(&fix->vm.dirty_lost), 1);

	fake_vm_remove_slot(&fix->fake, FAKE_REVERSED);
	KUNIT_ASSERT_EQ(test, pviommu_aperture_disable(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&fix->vm.dirty_lost), 2);
}

static struct kunit_case dirty_tests[] = {
	KUNIT_CASE(writable_pages_are_dirty_when_they_go),
	KUNIT_CASE(pages_that_are_mapped_can_be_marked),
	KUNIT_CASE(marking_says_when_a_device_is_not_confined),
	KUNIT_CASE(lost_dirty_pages_are_counted),
	{}
};

static struct kunit_suite dirty_suite = {
	.name = "kvm_pviommu_dirty",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = dirty_tests,
};

kunit_test_suites(&drop_suite, &leaves_suite, &dirty_suite);
