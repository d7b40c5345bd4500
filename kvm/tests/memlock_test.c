// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accounting in chunks: what is charged, and what that does to the process.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/sched/signal.h>

#include "fixture.h"

struct memlock_case {
	const char *name;
	unsigned long limit;	/* pages; 0: as a process that may lock all */
	int by[4];		/* charged, or uncharged */
	int ret;		/* of the last charge */
	unsigned long used;
	unsigned long charged;
};

static const struct memlock_case memlock_cases[] = {
	{ "a page charges a chunk", 0, { 1 }, 0, 1, 32 },
	{ "a chunk charges a chunk", 0, { 32 }, 0, 32, 32 },
	{ "a page more charges another", 0, { 32, 1 }, 0, 33, 64 },
	{ "within a chunk nothing is charged", 0, { 1, 31 }, 0, 32, 32 },
	{ "many are rounded up", 0, { 100 }, 0, 100, 128 },
	{ "two chunks are kept back", 0, { 64, -64 }, 0, 0, 64 },
	{ "no more than two", 0, { 65, -65 }, 0, 0, 0 },
	{ "what is kept is whole chunks", 0, { 200, -150 }, 0, 50, 64 },
	{ "what is kept is used again", 0, { 64, -60, 50 }, 0, 54, 64 },
	{ "limit allows a chunk", 32, { 5 }, 0, 5, 32 },
	{ "limit allows no chunk, but the pages", 31, { 5 }, 0, 5, 5 },
	{ "limit to its last page", 33, { 32, 1 }, 0, 33, 33 },
	{ "beyond the limit", 33, { 32, 2 }, -ENOMEM, 32, 32 },
	{ "limit of one page", 1, { 1, 1 }, -ENOMEM, 1, 1 },
	{ "room again below the limit", 4, { 4, -2, 2 }, 0, 4, 4 },
};

KUNIT_ARRAY_PARAM_DESC(memlock, memlock_cases, name);

static int charge(struct pviommu_memlock *ml, const struct memlock_case *c)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(c->by); i++) {
		if (c->by[i] > 0)
			ret = pviommu_memlock_charge(ml, c->by[i]);
		else
			pviommu_memlock_uncharge(ml, -c->by[i]);
	}
	return ret;
}

static void pages_are_charged_in_chunks(struct kunit *test)
{
	const struct memlock_case *c = test->param_value;
	struct fixture *fix = test->priv;
	struct pviommu_memlock *ml = &fix->vm.memlock;
	struct rlimit *rlim = &current->signal->rlim[RLIMIT_MEMLOCK];
	struct cred *cred = prepare_creds();
	const struct cred *old;
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, cred);
	if (c->limit) {
		cap_lower(cred->cap_effective, CAP_IPC_LOCK);
		WRITE_ONCE(rlim->rlim_cur, c->limit << PAGE_SHIFT);
	}
	old = override_creds(cred);
	ret = charge(ml, c);
	revert_creds(old);
	put_cred(cred);

	KUNIT_EXPECT_EQ(test, ret, c->ret);
	KUNIT_EXPECT_EQ(test, fixture_in_use(fix), c->used);
	KUNIT_EXPECT_EQ(test, ml->charged, c->charged);
	KUNIT_EXPECT_EQ(test, fix->fake.mm->locked_vm, c->charged);

	pviommu_memlock_trim(ml);
	KUNIT_EXPECT_EQ(test, ml->charged, c->used);
	KUNIT_EXPECT_EQ(test, fix->fake.mm->locked_vm, c->used);
	pviommu_memlock_uncharge(ml, c->used);
}

static struct kunit_case memlock_tests[] = {
	KUNIT_CASE_PARAM(pages_are_charged_in_chunks, memlock_gen_params),
	{}
};

static struct kunit_suite memlock_suite = {
	.name = "kvm_pviommu_memlock",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = memlock_tests,
};

kunit_test_suite(memlock_suite);
