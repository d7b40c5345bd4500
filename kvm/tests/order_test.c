// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clear, flush, unpin: whatever a guest does, no page that a device can reach is not
 * pinned, at any moment. The fake IOMMU looks at each of its calls.
 */
#include <linux/prandom.h>

#include "fixture.h"

static void flush_comes_before_the_next_map(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	fixture_fill(fix, 0, FRAME_DATA + 10, 4, RW);
	fixture_forget_calls(fix);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u0+4 f0+4 m0+4");
}

static void disable_clears_and_flushes(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	fixture_fill(fix, 600, FRAME_DATA, 4, R);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 600, 4, 0), 4);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, pviommu_aperture_disable(fix->ap), 0);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix),
			   "u0+4 f0+4 u600+4 f600+4");
	fixture_check(fix);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
}

struct walk_case {
	const char *name;
	u64 seed;
	enum fake_kind kind;
	u64 budget;
	bool fail;		/* a map now and then */
};

static const struct walk_case walk_cases[] = {
	{ "VT-d", 1, FAKE_VT_D, 0, false },
	{ "AMD v1", 2, FAKE_AMD_V1, 0, false },
	{ "VT-d, small budget", 3, FAKE_VT_D, 40, false },
	{ "VT-d, maps fail", 4, FAKE_VT_D, 0, true },
	{ "AMD v1, maps fail", 5, FAKE_AMD_V1, 0, true },
	{ "VT-d, maps fail, small budget", 6, FAKE_VT_D, 40, true },
};

KUNIT_ARRAY_PARAM_DESC(walk, walk_cases, name);

static int walk_init(struct kunit *test)
{
	const struct walk_case *c = test->param_value;
	struct fixture *fix;

	fix = fixture_create(test, WINDOW_PAGES, c ? c->budget : 0);
	if (c)
		fix->iommu.kind = c->kind;
	return 0;
}

static u64 random_entry(struct rnd_state *rnd)
{
	unsigned int page = prandom_u32_state(rnd) % FAKE_FRAMES;
	u64 perm = prandom_u32_state(rnd) % 4;

	switch (prandom_u32_state(rnd) % 16) {
	case 0:
		return prandom_u32_state(rnd) * 0x100000001ULL;
	case 1:
		return ENTRY(FAKE_READ_ONLY, page % FAKE_SMALL, perm);
	case 2:
		return ENTRY(FAKE_REVERSED, page, perm);
	case 3:
		return ENTRY(FAKE_UNBACKED, 0, perm);
	default:
		return FRAME(page, perm);
	}
}

static void change_table(struct fixture *fix, struct rnd_state *rnd)
{
	u64 first = prandom_u32_state(rnd) % (WINDOW_PAGES - 40);
	unsigned int n = prandom_u32_state(rnd) % 40;
	u64 entry = random_entry(rnd);
	unsigned int i;

	switch (prandom_u32_state(rnd) % 4) {
	case 0:
		fixture_clear(fix, first, n);
		break;
	case 1:
		for (i = 0; i < n; i++)
			fixture_set(fix, first + i, random_entry(rnd));
		break;
	default:
		for (i = 0; i < n; i++)
			fixture_set(fix, first + i, entry + i * PAGE_SIZE);
	}
}

static s64 random_sync(struct fixture *fix, struct rnd_state *rnd)
{
	u64 flags = prandom_u32_state(rnd) % 4 ? 0 : PVIOMMU_SYNC_UNMAP;
	struct pviommu_range ranges[5];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		ranges[i].first = prandom_u32_state(rnd) % WINDOW_PAGES;
		ranges[i].count = prandom_u32_state(rnd) %
				  (WINDOW_PAGES - ranges[i].first);
		if (prandom_u32_state(rnd) % 2)
			ranges[i].count %= 30;
	}
	if (prandom_u32_state(rnd) % 2)
		return fixture_sync(fix, ranges[0].first, ranges[0].count,
				    flags);
	return fixture_sync_list(fix, ranges, ARRAY_SIZE(ranges), flags);
}

static void random_walk_keeps_the_order(struct kunit *test)
{
	const struct walk_case *c = test->param_value;
	struct fixture *fix = test->priv;
	struct rnd_state rnd;
	unsigned int step;
	u64 done = 0;
	s64 ret;

	prandom_seed_state(&rnd, c->seed);
	for (step = 0; step < 200; step++) {
		change_table(fix, &rnd);
		if (step % 20 == 19)
			fake_vm_new_generation(&fix->fake);
		if (c->fail && step % 5 == 4) {
			fix->iommu.fail_after = prandom_u32_state(&rnd) % 30;
			fix->iommu.fail_err = -ENOMEM;
		}
		ret = random_sync(fix, &rnd);
		done += max(ret, 0LL);
		/* One thing at a time. */
		KUNIT_ASSERT_EQ_MSG(test, fix->iommu.wrong, 0, "step %u", step);
		KUNIT_ASSERT_NE(test, ret, PVIOMMU_RC_HOST_ERROR);
	}
	/* It was worth the while. */
	KUNIT_EXPECT_GT(test, done, 1000);
	KUNIT_EXPECT_GT(test, counted(fix->ap, unmapped), 30);
}

static struct kunit_case order_tests[] = {
	KUNIT_CASE(flush_comes_before_the_next_map),
	KUNIT_CASE(disable_clears_and_flushes),
	KUNIT_CASE_PARAM(random_walk_keeps_the_order, walk_gen_params),
	{}
};

static struct kunit_suite order_suite = {
	.name = "kvm_pviommu_order",
	.init = walk_init,
	.exit = fixture_exit,
	.test_cases = order_tests,
};

kunit_test_suite(order_suite);
