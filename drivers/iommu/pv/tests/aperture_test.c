// SPDX-License-Identifier: GPL-2.0-only
/*
 * Apertures: which windows are accepted, what is reserved in them, how they live.
 */
#include <kunit/test.h>
#include <linux/list.h>

#include "fixture.h"

static const struct window_case {
	const char *name;
	u64 base;
	u64 length;
	int err;
} window_cases[] = {
	{ "one page", 0x1000, 0x1000, 0 },
	{ "from 0 on", 0, 0x10000, 0 },
	{ "up to the last page but one", ~0ULL << 13, 0x1000, 0 },
	{ "as large as can be", 1ULL << 40, PVIOMMU_MAX_PAGES << 12, 0 },
	{ "a page larger", 1ULL << 40, (PVIOMMU_MAX_PAGES + 1) << 12, -EPROTO },
	{ "empty", 0x1000, 0, -EPROTO },
	{ "base inside a page", 0x1800, 0x1000, -EPROTO },
	{ "length not of pages", 0x1000, 0x1800, -EPROTO },
	{ "up to the very end", ~0ULL << 12, 0x1000, -EPROTO },
	{ "wraps around", ~0ULL << 12, 0x2000, -EPROTO },
};

KUNIT_ARRAY_PARAM_DESC(window, window_cases, name);

static void aperture_window(struct kunit *test)
{
	const struct window_case *param = test->param_value;
	struct fake_host *host = fixture_host(test);
	struct pviommu_aperture *aperture;

	host->apertures[0].info.base = param->base;
	host->apertures[0].info.length = param->length;
	aperture = pviommu_aperture_get(0);
	KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(aperture), param->err);
	if (IS_ERR(aperture))
		return;
	KUNIT_EXPECT_EQ(test, aperture->base, param->base);
	KUNIT_EXPECT_EQ(test, aperture->nr_pages, param->length >> 12);
	pviommu_aperture_put(aperture);
}

/* In a window of 1200 pages from 0x1000000 to 0x14b0000. */
static const struct hole_case {
	const char *name;
	struct pviommu_hole holes[2];
	u32 nr;
	int err;
} hole_cases[] = {
	{ "first byte", { { 0x1000000, 1 } }, 1, 0 },
	{ "last byte", { { 0x14affff, 1 } }, 1, 0 },
	{ "all of it", { { 0x1000000, 0x4b0000 } }, 1, 0 },
	{ "side by side", { { 0x1001000, 0x1000 }, { 0x1002000, 1 } }, 2, 0 },
	{ "empty", { { 0x1001000, 0 } }, 1, -EPROTO },
	{ "before the window", { { 0xfff000, 0x2000 } }, 1, -EPROTO },
	{ "behind the window", { { 0x14b0000, 1 } }, 1, -EPROTO },
	{ "across its end", { { 0x14af000, 0x1001 } }, 1, -EPROTO },
	{ "wraps around", { { 0x1001000, ~0ULL } }, 1, -EPROTO },
	{ "overlapping", { { 0x1001000, 0x1001 }, { 0x1002000, 1 } },
	  2, -EPROTO },
	{ "descending", { { 0x1005000, 1 }, { 0x1002000, 1 } }, 2, -EPROTO },
};

KUNIT_ARRAY_PARAM_DESC(hole, hole_cases, name);

static void aperture_holes(struct kunit *test)
{
	const struct hole_case *param = test->param_value;
	struct fake_host *host = fixture_host(test);
	struct pviommu_aperture *aperture;

	fake_host_set_holes(test, host, 0, param->nr, 2);
	memcpy(host->apertures[0].holes, param->holes, sizeof(param->holes));
	aperture = pviommu_aperture_get(0);
	KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(aperture), param->err);
	if (IS_ERR(aperture))
		return;
	KUNIT_EXPECT_EQ(test, aperture->nr_holes, param->nr);
	KUNIT_EXPECT_MEMEQ(test, aperture->holes, param->holes,
			   param->nr * sizeof(param->holes[0]));
	pviommu_aperture_put(aperture);
}

static void aperture_resv_regions(struct kunit *test)
{
	static const struct {
		u64 start;
		size_t length;
		enum iommu_resv_type type;
	} expected[] = {
		{ 0xfee00000, 0x100000, IOMMU_RESV_MSI },
		/* Widened to pages. */
		{ 0x1001000, 0x2000, IOMMU_RESV_RESERVED },
		{ 0x1010000, 0x1000, IOMMU_RESV_RESERVED },
	};
	static const struct pviommu_hole holes[] = {
		{ 0x1001fff, 2 },
		{ 0x1010000, 0x1000 },
	};
	struct fake_host *host = fixture_host(test);
	struct iommu_resv_region *region, *next;
	struct pviommu_aperture *aperture;
	unsigned int i = 0;
	LIST_HEAD(list);

	fake_host_set_holes(test, host, 0, 2, 2);
	memcpy(host->apertures[0].holes, holes, sizeof(holes));
	aperture = pviommu_aperture_get(0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, aperture);

	pviommu_aperture_resv_regions(aperture, &list);
	list_for_each_entry_safe(region, next, &list, list) {
		if (i < ARRAY_SIZE(expected)) {
			KUNIT_EXPECT_EQ(test, region->start, expected[i].start);
			KUNIT_EXPECT_EQ(test, region->length,
					expected[i].length);
			KUNIT_EXPECT_EQ(test, region->prot, 0);
			KUNIT_EXPECT_EQ(test, region->type, expected[i].type);
		}
		i++;
		kfree(region);
	}
	KUNIT_EXPECT_EQ(test, i, ARRAY_SIZE(expected));
	pviommu_aperture_put(aperture);
}

/* Fetched once while it has endpoints, and again when there is a new first. */
static void aperture_life(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct pviommu_aperture *aperture;

	fake_host_set_holes(test, host, 0, 1, 2);
	aperture = pviommu_aperture_get(0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, aperture);
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, aperture->group);
	KUNIT_EXPECT_EQ(test, aperture->nr_holes, 1);
	/* What another kernel has left is stopped and forgotten. */
	fake_host_expect(test, host, "aperture:0=48 disable:0=0 events:0=0");

	host->apertures[0].info.nr_holes = 2;
	host->apertures[0].info.budget = 7;
	KUNIT_EXPECT_PTR_EQ(test, pviommu_aperture_get(0), aperture);
	KUNIT_EXPECT_EQ(test, aperture->nr_holes, 1);
	pviommu_aperture_put(aperture);
	fake_host_expect(test, host, "");

	pviommu_aperture_put(aperture);
	KUNIT_EXPECT_PTR_EQ(test, pviommu_aperture_get(0), aperture);
	KUNIT_EXPECT_EQ(test, aperture->nr_holes, 2);
	KUNIT_EXPECT_EQ(test, aperture->budget, 7);
	fake_host_expect(test, host, "aperture:0=64");
	pviommu_aperture_put(aperture);
}

static void aperture_two(struct kunit *test)
{
	struct pviommu_aperture *first, *second;

	first = pviommu_aperture_get(0);
	second = pviommu_aperture_get(1);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, first);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, second);
	KUNIT_EXPECT_PTR_NE(test, first->group, second->group);
	KUNIT_EXPECT_EQ(test, first->base, 0x1000000);
	KUNIT_EXPECT_EQ(test, second->base, 0x100000000);
	KUNIT_EXPECT_EQ(test, first->nr_pages, 1200);
	KUNIT_EXPECT_EQ(test, second->nr_pages, 700);
	pviommu_aperture_put(first);
	pviommu_aperture_put(second);
}

/* Domains are made for a window, so it cannot move under them. */
static void aperture_moved(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct pviommu_aperture *aperture = pviommu_aperture_get(0);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, aperture);
	pviommu_aperture_put(aperture);

	host->apertures[0].info.base += PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, PTR_ERR(pviommu_aperture_get(0)), -EPROTO);
	host->apertures[0].info.base -= PAGE_SIZE;
	host->apertures[0].info.length -= PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, PTR_ERR(pviommu_aperture_get(0)), -EPROTO);
	host->apertures[0].info.length += PAGE_SIZE;

	KUNIT_EXPECT_PTR_EQ(test, pviommu_aperture_get(0), aperture);
	KUNIT_EXPECT_EQ(test, atomic_read(&aperture->nr_endpoints), 1);
	pviommu_aperture_put(aperture);
}

static void aperture_refused(struct kunit *test)
{
	const struct fake_plan plan = {
		.call = FAKE_APERTURE,
		.value = PVIOMMU_RC_HOST_ERROR,
	};
	struct fake_host *host = fixture_host(test);
	struct pviommu_aperture *aperture;

	fake_host_plan(host, &plan);
	KUNIT_EXPECT_EQ(test, PTR_ERR(pviommu_aperture_get(0)), -EIO);
	aperture = pviommu_aperture_get(0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, aperture);
	pviommu_aperture_put(aperture);
}

static struct kunit_case aperture_cases[] = {
	KUNIT_CASE_PARAM(aperture_window, window_gen_params),
	KUNIT_CASE_PARAM(aperture_holes, hole_gen_params),
	KUNIT_CASE(aperture_resv_regions),
	KUNIT_CASE(aperture_life),
	KUNIT_CASE(aperture_two),
	KUNIT_CASE(aperture_moved),
	KUNIT_CASE(aperture_refused),
	{}
};

static struct kunit_suite aperture_suite = {
	.name = "pviommu_aperture",
	.init = guest_fixture_init,
	.exit = guest_fixture_exit,
	.test_cases = aperture_cases,
};

kunit_test_suite(aperture_suite);
