// SPDX-License-Identifier: GPL-2.0-only
/*
 * 2 MiB of memory, as it would make a large leaf: mapped in small ones, of which each
 * can go alone.
 */
#include "fixture.h"

#define FIRST	512U
#define PAGES	512U

struct large_case {
	const char *name;
	enum fake_kind kind;
	unsigned int skip;	/* window page of the first frame, from FIRST on */
	unsigned int at;	/* what is unmapped again */
	unsigned int n;
};

static const struct large_case large_cases[] = {
	{ "VT-d, first page", FAKE_VT_D, 0, 0, 1 },
	{ "VT-d, page in the middle", FAKE_VT_D, 0, 300, 1 },
	{ "VT-d, last page", FAKE_VT_D, 0, PAGES - 1, 1 },
	{ "VT-d, first half", FAKE_VT_D, 0, 0, 256 },
	{ "VT-d, across the halves", FAKE_VT_D, 0, 250, 12 },
	{ "VT-d, all", FAKE_VT_D, 0, 0, PAGES },
	{ "VT-d, not aligned", FAKE_VT_D, 3, 100, 5 },
	{ "AMD v1, first page", FAKE_AMD_V1, 0, 0, 1 },
	{ "AMD v1, page in the middle", FAKE_AMD_V1, 0, 300, 1 },
	{ "AMD v1, last page", FAKE_AMD_V1, 0, PAGES - 1, 1 },
	{ "AMD v1, first half", FAKE_AMD_V1, 0, 0, 256 },
	{ "AMD v1, across the halves", FAKE_AMD_V1, 0, 250, 12 },
	{ "AMD v1, all", FAKE_AMD_V1, 0, 0, PAGES },
	{ "AMD v1, not aligned", FAKE_AMD_V1, 3, 100, 5 },
};

KUNIT_ARRAY_PARAM_DESC(large, large_cases, name);

static void part_of_2m_goes_alone(struct kunit *test)
{
	const struct large_case *c = test->param_value;
	struct fixture *fix = test->priv;
	unsigned int first = FIRST + c->skip;

	fix->iommu.kind = c->kind;
	/* Neighbours, too. */
	fixture_fill(fix, first, 512, PAGES, RW);
	fixture_fill(fix, first - 4, 100, 4, RW);
	fixture_fill(fix, first + PAGES, 200, 4, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, first, PAGES, 0), PAGES);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, first - 4, 4, 0), 4);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, first + PAGES, 4, 0), 4);
	fixture_check_follows(fix, first - 4, PAGES + 8);

	fixture_clear(fix, first + c->at, c->n);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, first + c->at, c->n, 0), c->n);
	fixture_check_follows(fix, first - 4, PAGES + 8);
	KUNIT_EXPECT_EQ(test, fix->ap->pinned, PAGES + 8 - c->n);
}

/* Whatever the driver offers. */
static void domain_has_small_pages_only(struct kunit *test)
{
	struct fixture *fix = test->priv;
	enum fake_kind kind;

	for (kind = 0; kind < FAKE_NR_KINDS; kind++) {
		struct pviommu_domain domain = {};

		fake_iommu_be(&fix->iommu, kind);
		KUNIT_ASSERT_NE(test, fix->iommu.domain.pgsize_bitmap, SZ_4K);
		pviommu_domain_init(&domain, fix->fake.kvm);
		KUNIT_ASSERT_EQ(test,
				pviommu_domain_adopt(&domain,
						     &fix->iommu.domain), 0);
		KUNIT_EXPECT_EQ(test, fix->iommu.domain.pgsize_bitmap, SZ_4K);
		pviommu_domain_free(&domain);
		KUNIT_EXPECT_TRUE(test, fix->iommu.freed);
	}
}

static struct kunit_case large_page_tests[] = {
	KUNIT_CASE_PARAM(part_of_2m_goes_alone, large_gen_params),
	KUNIT_CASE(domain_has_small_pages_only),
	{}
};

static struct kunit_suite large_page_suite = {
	.name = "kvm_pviommu_large_page",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = large_page_tests,
};

kunit_test_suite(large_page_suite);
