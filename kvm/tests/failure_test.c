// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU drivers that fail: what a failed map has left is taken out exactly, and what
 * cannot be unmapped stays pinned.
 */
#include "fixture.h"

struct map_case {
	const char *name;
	enum fake_kind kind;
	unsigned int n;
	unsigned int after;	/* so many PTEs */
	int err;
	s32 rc;
};

static const struct map_case map_cases[] = {
	{ "VT-d, at once", FAKE_VT_D, 16, 0, -ENOMEM, PVIOMMU_RC_NO_MEMORY },
	{ "VT-d, after one", FAKE_VT_D, 16, 1, -ENOMEM, PVIOMMU_RC_NO_MEMORY },
	{ "VT-d, in the middle", FAKE_VT_D, 16, 7, -ENOMEM,
	  PVIOMMU_RC_NO_MEMORY },
	{ "VT-d, before the last", FAKE_VT_D, 16, 15, -ENOMEM,
	  PVIOMMU_RC_NO_MEMORY },
	{ "VT-d, a single page", FAKE_VT_D, 1, 0, -ENOMEM,
	  PVIOMMU_RC_NO_MEMORY },
	{ "VT-d, other error", FAKE_VT_D, 16, 7, -EINVAL,
	  PVIOMMU_RC_HOST_ERROR },
	{ "AMD v1, at once", FAKE_AMD_V1, 16, 0, -ENOMEM,
	  PVIOMMU_RC_NO_MEMORY },
	{ "AMD v1, in the middle", FAKE_AMD_V1, 16, 7, -ENOMEM,
	  PVIOMMU_RC_NO_MEMORY },
	{ "AMD v1, before the last", FAKE_AMD_V1, 16, 15, -ENOMEM,
	  PVIOMMU_RC_NO_MEMORY },
	{ "AMD v1, a single page", FAKE_AMD_V1, 1, 0, -ENOMEM,
	  PVIOMMU_RC_NO_MEMORY },
	{ "AMD v1, other error", FAKE_AMD_V1, 16, 7, -EIO,
	  PVIOMMU_RC_HOST_ERROR },
};

KUNIT_ARRAY_PARAM_DESC(map, map_cases, name);

/* The neighbours are in the same 2 MiB: they would go with it. */
static void map_neighbours(struct fixture *fix, unsigned int first,
			   unsigned int n)
{
	fixture_fill(fix, first - 2, 100, 2, RW);
	fixture_fill(fix, first + n, 200, 2, RW);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, first - 2, 2, 0), 2);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, first + n, 2, 0), 2);
}

static void expect_neighbours(struct fixture *fix, unsigned int first,
			      unsigned int n)
{
	fixture_check_follows(fix, first - 2, 2);
	fixture_check_follows(fix, first + n, 2);
}

static void failed_map_leaves_nothing(struct kunit *test)
{
	const struct map_case *c = test->param_value;
	struct fixture *fix = test->priv;
	u64 i;

	fix->iommu.kind = c->kind;
	map_neighbours(fix, 100, c->n);
	fixture_fill(fix, 100, FRAME_DATA, c->n, RW);
	fix->iommu.fail_after = c->after;
	fix->iommu.fail_err = c->err;
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 100, c->n, 0), c->rc);
	for (i = 0; i < c->n; i++)
		KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 100 + i), 0);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4);
	expect_neighbours(fix, 100, c->n);

	/* The guest tries again. */
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 100, c->n, 0), c->n);
	fixture_check_follows(fix, 98, c->n + 4);
}

/* The second of two blocks of one call: the first was mapped in full. */
static void failed_block_takes_the_others_along(struct kunit *test)
{
	struct fixture *fix = test->priv;
	enum fake_kind kind;

	fixture_fill(fix, 100, FRAME_DATA, 6, RW);
	fixture_fill(fix, 106, FRAME_DATA + 300, 6, RW);
	for (kind = 0; kind < FAKE_NR_KINDS; kind++) {
		fix->iommu.kind = kind;
		fix->iommu.fail_after = 9;
		fix->iommu.fail_err = -ENOMEM;
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, 100, 12, 0),
				PVIOMMU_RC_NO_MEMORY);
		KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	}
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 100, 12, 0), 12);
}

/* Nor the runs before it. */
static void failed_run_is_where_a_sync_ends(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 300, RW);
	fix->iommu.fail_after = 256 + 10;
	fix->iommu.fail_err = -ENOMEM;
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 300, 0), 256);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 256);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 256, 44, 0), 44);
}

static void expect_stuck(struct fixture *fix, unsigned int frame,
			 unsigned int n)
{
	unsigned int i;

	fake_iommu_check(&fix->iommu);
	for (i = 0; i < n; i++)
		KUNIT_EXPECT_EQ_MSG(fix->test,
				    fake_vm_pins(&fix->fake, frame + i), 1,
				    "frame %u", frame + i);
}

/* As when the last device leaves: the domain goes, and then nothing is reached. */
static void abandon(struct fixture *fix)
{
	pviommu_aperture_lock(fix->ap);
	pviommu_group_last_left(fix->ap);
	KUNIT_EXPECT_TRUE(fix->test, fix->iommu.freed);
	pviommu_remove_abandoned(fix->ap);
	KUNIT_EXPECT_EQ(fix->test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(fix->test, total(fix->ap, nr_leaves), 0);
	pviommu_aperture_unlock(fix->ap);
}

static void short_unmap_keeps_pages_pinned(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 10, FRAME_DATA, 8, RW);
	fixture_fill(fix, 30, FRAME_DATA + 30, 2, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 10, 22, 0), 22);

	fix->iommu.stuck = 13;
	fix->iommu.holes_ok = true;
	fixture_clear(fix, 10, 8);
	fixture_clear(fix, 30, 2);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, 10, 22, 0),
			PVIOMMU_RC_HOST_ERROR);
	/* All that was to go with it; but the others went. */
	expect_stuck(fix, FRAME_DATA, 8);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 8);
	KUNIT_EXPECT_EQ(test, fake_vm_pins(&fix->fake, FRAME_DATA + 30), 0);

	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, 10, 8,
						     PVIOMMU_SYNC_UNMAP),
			PVIOMMU_RC_HOST_ERROR);
	KUNIT_EXPECT_EQ(test, pviommu_aperture_disable(fix->ap),
			PVIOMMU_RC_HOST_ERROR);
	KUNIT_EXPECT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)),
			PVIOMMU_RC_HOST_ERROR);
	expect_stuck(fix, FRAME_DATA, 8);

	abandon(fix);
}

static void failed_undo_keeps_pages_pinned(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 10, FRAME_DATA, 8, RW);
	fix->iommu.fail_after = 5;
	fix->iommu.fail_err = -ENOMEM;
	fix->iommu.stuck = 12;
	fix->iommu.holes_ok = true;
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, 10, 8, 0),
			PVIOMMU_RC_NO_MEMORY);
	expect_stuck(fix, FRAME_DATA, 8);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 8);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, mapped), 8);
	KUNIT_EXPECT_NE(test, fixture_mapped(fix, 12), 0);

	abandon(fix);
}

static struct kunit_case failure_tests[] = {
	KUNIT_CASE_PARAM(failed_map_leaves_nothing, map_gen_params),
	KUNIT_CASE(failed_block_takes_the_others_along),
	KUNIT_CASE(failed_run_is_where_a_sync_ends),
	KUNIT_CASE(short_unmap_keeps_pages_pinned),
	KUNIT_CASE(failed_undo_keeps_pages_pinned),
	{}
};

static struct kunit_suite failure_suite = {
	.name = "kvm_pviommu_failure",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = failure_tests,
};

kunit_test_suite(failure_suite);
