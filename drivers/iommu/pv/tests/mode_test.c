// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the parameter "mode" can say.
 */
#include <kunit/test.h>

#include "pviommu.h"

#define WRONG	-1

static const struct mode_case {
	const char *list;
	int of_0, of_1, of_12;
} mode_cases[] = {
	{ "remap", PVIOMMU_REMAP, PVIOMMU_REMAP, PVIOMMU_REMAP },
	{ "bounce", PVIOMMU_BOUNCE, PVIOMMU_BOUNCE, PVIOMMU_BOUNCE },
	{ "hybrid", PVIOMMU_HYBRID, PVIOMMU_HYBRID, PVIOMMU_HYBRID },
	{ "1:bounce", PVIOMMU_REMAP, PVIOMMU_BOUNCE, PVIOMMU_REMAP },
	{ "bounce,1:remap", PVIOMMU_BOUNCE, PVIOMMU_REMAP, PVIOMMU_BOUNCE },
	{ "12:hybrid,0:bounce", PVIOMMU_BOUNCE, PVIOMMU_REMAP, PVIOMMU_HYBRID },
	{ "1:hybrid,1:bounce", PVIOMMU_REMAP, PVIOMMU_BOUNCE, PVIOMMU_REMAP },
	{ "1:hybrid,bounce", PVIOMMU_BOUNCE, PVIOMMU_BOUNCE, PVIOMMU_BOUNCE },
	{ "", WRONG },
	{ "boun", WRONG },
	{ "bouncer", WRONG },
	{ "Bounce", WRONG },
	{ ",bounce", WRONG },
	{ "bounce,,remap", WRONG },
	{ ":bounce", WRONG },
	{ "1:", WRONG },
	{ "x:bounce", WRONG },
	{ "-1:bounce", WRONG },
	{ "4294967296:bounce", WRONG },
	{ "11111111111111111111:bounce", WRONG },
	{ "1:2:bounce", WRONG },
	{ "bounce,2", WRONG },
};

static void mode_desc(const struct mode_case *param, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "\"%s\"", param->list);
}

KUNIT_ARRAY_PARAM(mode, mode_cases, mode_desc);

static void expect_mode(struct kunit *test, const char *list, u32 id, int expected)
{
	enum pviommu_mode mode;
	int ret = pviommu_mode_find(list, id, &mode);

	KUNIT_EXPECT_EQ(test, ret, expected == WRONG ? -EINVAL : 0);
	if (expected != WRONG)
		KUNIT_EXPECT_EQ(test, (int)mode, expected);
}

static void mode_list(struct kunit *test)
{
	const struct mode_case *param = test->param_value;

	expect_mode(test, param->list, 0, param->of_0);
	if (param->of_0 == WRONG)
		return;
	expect_mode(test, param->list, 1, param->of_1);
	expect_mode(test, param->list, 12, param->of_12);
}

static struct kunit_case mode_list_cases[] = {
	KUNIT_CASE_PARAM(mode_list, mode_gen_params),
	{}
};

static struct kunit_suite mode_suite = {
	.name = "pviommu_mode",
	.test_cases = mode_list_cases,
};

kunit_test_suite(mode_suite);
