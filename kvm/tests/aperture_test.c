// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows and directories: which are taken.
 */
#include "fixture.h"

struct window_case {
	const char *name;
	u64 base;
	u64 length;
	u64 budget;
	int err;
	u64 npages;
	u64 budget_is;
};

static const struct window_case window_cases[] = {
	{ "a page", SZ_1M, SZ_4K, 0, 0, 1, 1 },
	{ "budget of all", SZ_1M, SZ_1M, 256, 0, 256, 256 },
	{ "budget of a part", SZ_1M, SZ_1M, 3, 0, 256, 3 },
	{ "no budget: the window's", SZ_1M, SZ_1M, 0, 0, 256, 256 },
	{ "longest", SZ_1M, PVIOMMU_MAX_WINDOW, 0, 0,
	  PVIOMMU_MAX_WINDOW / SZ_4K, PVIOMMU_MAX_WINDOW / SZ_4K },
	{ "highest", U64_MAX - SZ_1M - SZ_4K + 1, SZ_1M, 0, 0, 256, 256 },
	{ "too long", SZ_1M, PVIOMMU_MAX_WINDOW + SZ_4K, 0, -EOVERFLOW },
	{ "to 2^64", U64_MAX - SZ_1M + 1, SZ_1M, 0, -EOVERFLOW },
	{ "beyond 2^64", U64_MAX - SZ_1M + 1, SZ_2M, 0, -EOVERFLOW },
	{ "at 0", 0, SZ_1M, 0, -EINVAL },
	{ "empty", SZ_1M, 0, 0, -EINVAL },
	{ "base not aligned", SZ_1M + 8, SZ_1M, 0, -EINVAL },
	{ "length not aligned", SZ_1M, SZ_1M + 8, 0, -EINVAL },
	{ "budget beyond the window", SZ_1M, SZ_1M, 257, -ERANGE },
	{ "highest budget", SZ_1M, SZ_1M, U64_MAX, -ERANGE },
};

KUNIT_ARRAY_PARAM_DESC(window, window_cases, name);

static void window_is_taken_or_refused(struct kunit *test)
{
	const struct window_case *c = test->param_value;
	struct fixture *fix = test->priv;
	struct pviommu_aperture *ap;

	ap = pviommu_aperture_create(&fix->vm, c->base, c->length, c->budget);
	if (c->err) {
		KUNIT_EXPECT_PTR_EQ(test, ap, ERR_PTR(c->err));
		if (!IS_ERR(ap))
			pviommu_aperture_destroy(ap);
		return;
	}
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ap);
	KUNIT_EXPECT_EQ(test, ap->npages, c->npages);
	KUNIT_EXPECT_EQ(test, ap->budget, c->budget_is);
	KUNIT_EXPECT_FALSE(test, ap->enabled);
	pviommu_aperture_destroy(ap);
}

/* So many that the directory is two pages. */
#define LEAVES		600U

static int directory_init(struct kunit *test)
{
	fixture_create(test, LEAVES * PVIOMMU_ENTRIES_PER_LEAF, 16);
	return 0;
}

struct directory_case {
	const char *name;
	u64 gpa;
	s64 rc;
};

static const struct directory_case directory_cases[] = {
	{ "RAM", FRAME(FRAME_DIRECTORY, 0), 0 },
	{ "last pages of RAM", ENTRY(FAKE_REVERSED, FAKE_FRAMES - 2, 0), 0 },
	{ "across two slots", FRAME(FAKE_FRAMES - 1, 0), 0 },
	{ "beyond the last page of RAM",
	  ENTRY(FAKE_REVERSED, FAKE_FRAMES - 1, 0), PVIOMMU_RC_BAD_TABLE },
	{ "before the first page", FRAME(0, 0) - PAGE_SIZE,
	  PVIOMMU_RC_BAD_TABLE },
	{ "not aligned", FRAME(FRAME_DIRECTORY, 8), PVIOMMU_RC_BAD_TABLE },
	{ "to 2^64", ~(PAGE_SIZE - 1ULL), PVIOMMU_RC_BAD_TABLE },
	{ "read-only", FAKE_GPA(FAKE_READ_ONLY), PVIOMMU_RC_BAD_TABLE },
	{ "private", FAKE_GPA(FAKE_PRIVATE), PVIOMMU_RC_BAD_TABLE },
	{ "being changed", FAKE_GPA(FAKE_CHANGING), PVIOMMU_RC_RETRY },
};

KUNIT_ARRAY_PARAM_DESC(directory, directory_cases, name);

static void directory_is_ram(struct kunit *test)
{
	const struct directory_case *c = test->param_value;
	struct fixture *fix = test->priv;

	KUNIT_ASSERT_EQ(test, pviommu_aperture_disable(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, fixture_enable(fix, c->gpa), c->rc);
	KUNIT_EXPECT_EQ(test, fix->ap->enabled, !c->rc);
	if (!c->rc)
		KUNIT_EXPECT_EQ(test, fix->ap->directory, c->gpa);
}

/* Its second page is looked up where it is. */
static void directory_goes_on_in_the_next_page(struct kunit *test)
{
	struct fixture *fix = test->priv;
	u64 at = LEAVES - 1;
	__le64 *directory;

	directory = fake_vm_frame(&fix->fake, FRAME_DATA + at / 512);
	directory[at % 512] = cpu_to_le64(FRAME(FRAME_LEAVES, 0));
	KUNIT_ASSERT_EQ(test, fixture_enable(fix, FRAME(FRAME_DATA, 0)), 0);
	fixture_set(fix, 511, FRAME(100, RW));
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, fix->ap->npages - 1, 1, 0), 1);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, fix->ap->npages - 1),
			FRAME(100, RW));
}

static void flags_are_refused(struct kunit *test)
{
	struct fixture *fix = test->priv;

	KUNIT_EXPECT_EQ(test, pviommu_aperture_enable(fix->ap, 0, 2),
			PVIOMMU_RC_BAD_ARG);
	KUNIT_EXPECT_TRUE(test, fix->ap->enabled);
}

static void aperture_without_devices_is_not_enabled(struct kunit *test)
{
	struct fixture *fix = test->priv;

	pviommu_aperture_lock(fix->ap);
	pviommu_aperture_drop_all(fix->ap);
	pviommu_group_last_left(fix->ap);
	pviommu_aperture_unlock(fix->ap);
	KUNIT_EXPECT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)),
			PVIOMMU_RC_NO_ENDPOINT);
}

static void dirty_ring_is_refused(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fix->fake.kvm->dirty_ring_size = 4096;
	KUNIT_EXPECT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)),
			PVIOMMU_RC_HOST_ERROR);
}

/* It does not wait for those who may wait for it. */
static void charge_is_taken_without_waiting(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture *ap = fix->ap;

	ap->touched = false;
	ap->nr_unconfined = 1;
	mutex_lock(&fix->vm.lock);
	KUNIT_EXPECT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)),
			PVIOMMU_RC_RETRY);
	KUNIT_EXPECT_EQ(test, pviommu_aperture_disable(ap), PVIOMMU_RC_RETRY);
	mutex_unlock(&fix->vm.lock);
	KUNIT_EXPECT_FALSE(test, ap->touched);
	ap->nr_unconfined = 0;
}

static struct kunit_case window_tests[] = {
	KUNIT_CASE_PARAM(window_is_taken_or_refused, window_gen_params),
	KUNIT_CASE(flags_are_refused),
	KUNIT_CASE(aperture_without_devices_is_not_enabled),
	KUNIT_CASE(dirty_ring_is_refused),
	KUNIT_CASE(charge_is_taken_without_waiting),
	{}
};

static struct kunit_suite window_suite = {
	.name = "kvm_pviommu_aperture",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = window_tests,
};

static struct kunit_case directory_tests[] = {
	KUNIT_CASE_PARAM(directory_is_ram, directory_gen_params),
	KUNIT_CASE(directory_goes_on_in_the_next_page),
	{}
};

static struct kunit_suite directory_suite = {
	.name = "kvm_pviommu_directory",
	.init = directory_init,
	.exit = fixture_exit,
	.test_cases = directory_tests,
};

kunit_test_suites(&window_suite, &directory_suite);
