// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs that sync an aperture at the same time: who waits for whom.
 */
#include <kunit/static_stub.h>
#include <linux/completion.h>
#include <linux/kthread.h>

#include "fixture.h"
#include "stripe.h"

#define LEAF	PVIOMMU_ENTRIES_PER_LEAF
/* One that is in the same stripe as the first. */
#define TWIN	(PVIOMMU_STRIPES * LEAF)
#define WINDOW	((PVIOMMU_STRIPES + 1) * LEAF)

/**
 * struct vcpu - a thread that syncs once
 * @test: the test
 * @first: window page
 * @count: window pages
 * @done: it has
 * @task: the thread
 */
struct vcpu {
	struct kunit *test;
	u64 first;
	u64 count;
	struct completion done;
	struct task_struct *task;
};

static int vcpu_run(void *data)
{
	struct vcpu *vcpu = data;
	struct fixture *fix = vcpu->test->priv;
	s64 ret;
	int idx;

	/* So that it has the test's stubs. */
	current->kunit_test = vcpu->test;
	kthread_use_mm(fix->fake.mm);
	idx = srcu_read_lock(&fix->fake.kvm->srcu);
	ret = pviommu_sync(fix->ap, vcpu->first, vcpu->count, 0);
	srcu_read_unlock(&fix->fake.kvm->srcu, idx);
	kthread_unuse_mm(fix->fake.mm);
	current->kunit_test = NULL;
	complete(&vcpu->done);
	return ret;
}

static void vcpu_start(struct vcpu *vcpu, struct kunit *test, u64 first,
		       u64 count)
{
	*vcpu = (struct vcpu){ .test = test, .first = first, .count = count };
	init_completion(&vcpu->done);
	vcpu->task = kthread_create(vcpu_run, vcpu, "pviommu-vcpu");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, vcpu->task);
	get_task_struct(vcpu->task);
	wake_up_process(vcpu->task);
}

/* The other way round it is not proved, but if it does not wait it is done by then. */
static bool vcpu_waits(struct vcpu *vcpu)
{
	return !wait_for_completion_timeout(&vcpu->done, HZ / 5);
}

static int vcpu_end(struct vcpu *vcpu)
{
	int ret = kthread_stop(vcpu->task);

	put_task_struct(vcpu->task);
	return ret;
}

/* A sync of the first pages of the window that does not come to its end. */
static void hold_up(struct kunit *test, struct vcpu *vcpu, unsigned int count)
{
	struct fixture *fix = test->priv;

	fix->iommu.hold_at = 0;
	vcpu_start(vcpu, test, 0, count);
	wait_for_completion(&fix->iommu.held);
}

static void others_go_on(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture_stats stats;
	struct vcpu held, same;
	u64 at;

	hold_up(test, &held, 4);
	for (at = LEAF; at < TWIN; at += LEAF) {
		KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, at, 1, 0), 1);
		KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, at, 4, 0), 4);
	}
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4 + 4 * (PVIOMMU_STRIPES - 1));
	for (at = LEAF; at < TWIN; at += LEAF)
		KUNIT_EXPECT_TRUE(test, fix->iommu.ptes[at].phys);
	KUNIT_EXPECT_FALSE(test, fix->iommu.ptes[0].phys);

	/* Whoever asks how it goes is told. */
	mutex_lock(&fix->ap->lock);
	pviommu_aperture_stats(fix->ap, &stats);
	mutex_unlock(&fix->ap->lock);
	KUNIT_EXPECT_EQ(test, stats.mapped, 4 * (PVIOMMU_STRIPES - 1));
	/* All of it is not to be had. */
	KUNIT_EXPECT_FALSE(test, pviommu_aperture_trylock(fix->ap));
	vcpu_start(&same, test, TWIN, 1);
	KUNIT_EXPECT_TRUE(test, vcpu_waits(&same));

	complete(&fix->iommu.release);
	KUNIT_EXPECT_EQ(test, vcpu_end(&held), 4);
	KUNIT_EXPECT_EQ(test, vcpu_end(&same), 1);
	KUNIT_EXPECT_TRUE(test, pviommu_aperture_trylock(fix->ap));
	pviommu_aperture_unlock(fix->ap);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4 * PVIOMMU_STRIPES + 1);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, syncs), 2 * PVIOMMU_STRIPES);
	fixture_check(fix);
}

/* What a range is in: it waits for all of that. */
static void ranges_wait(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct vcpu held, across;

	hold_up(test, &held, 4);
	vcpu_start(&across, test, TWIN - 4, 8);
	KUNIT_EXPECT_TRUE(test, vcpu_waits(&across));
	/* And has what comes behind, so that nothing of it is half done. */
	KUNIT_EXPECT_FALSE(test, fix->iommu.ptes[TWIN - 4].phys);

	complete(&fix->iommu.release);
	KUNIT_EXPECT_EQ(test, vcpu_end(&held), 4);
	KUNIT_EXPECT_EQ(test, vcpu_end(&across), 8);
	fixture_check(fix);
}

static struct pviommu_sync_batch *no_memory(void)
{
	return NULL;
}

/* Without memory for a batch of its own a sync waits for another's; a single page does not. */
static void batches_are_shared(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct vcpu held, waits;

	hold_up(test, &held, 4);
	kunit_activate_static_stub(test, pviommu_sync_batch_alloc, no_memory);
	vcpu_start(&waits, test, LEAF, 4);
	KUNIT_EXPECT_TRUE(test, vcpu_waits(&waits));
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, LEAF + 8, 1, 0), 1);
	/* Nor does a guest that must be able to take something back. */
	fixture_clear(fix, 0, 512);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, LEAF, 16,
						     PVIOMMU_SYNC_UNMAP), 16);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4);
	fixture_fill(fix, 0, FRAME_DATA, 512, RW);

	complete(&fix->iommu.release);
	KUNIT_EXPECT_EQ(test, vcpu_end(&held), 4);
	KUNIT_EXPECT_EQ(test, vcpu_end(&waits), 4);
	KUNIT_EXPECT_EQ(test, fix->ap->batches.nr, 1);
	kunit_deactivate_static_stub(test, pviommu_sync_batch_alloc);
	fixture_check(fix);
}

/* The same with memory: there is one for each that needs one, and they are kept. */
static void batches_are_kept(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct vcpu held;

	KUNIT_EXPECT_EQ(test, fix->ap->batches.nr, 1);
	hold_up(test, &held, 4);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, LEAF, 4, 0), 4);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, LEAF, 4, 0), 4);
	KUNIT_EXPECT_EQ(test, fix->ap->batches.nr, 2);
	complete(&fix->iommu.release);
	KUNIT_EXPECT_EQ(test, vcpu_end(&held), 4);
	KUNIT_EXPECT_EQ(test, fix->ap->batches.nr, 2);
	fixture_check(fix);
}

/* Of more vCPUs than are of use not all leave theirs. */
static void batches_are_not_all_kept(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct vcpu held;

	hold_up(test, &held, 4);
	fix->ap->batches.nr = PVIOMMU_STRIPES;
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, LEAF, 4, 0), 4);
	KUNIT_EXPECT_EQ(test, fix->ap->batches.nr, PVIOMMU_STRIPES + 1);
	complete(&fix->iommu.release);
	KUNIT_EXPECT_EQ(test, vcpu_end(&held), 4);
	KUNIT_EXPECT_EQ(test, fix->ap->batches.nr, PVIOMMU_STRIPES);
	KUNIT_EXPECT_NOT_NULL(test, fix->ap->batches.first);
	KUNIT_EXPECT_NULL(test, fix->ap->batches.spare);
	fixture_check(fix);
}

/* A page table that gets another level is not to be used meanwhile. */
static void growth_is_alone(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct vcpu held, waits;

	fix->ap->domain.grown = WINDOW_BASE - 1;
	hold_up(test, &held, 4);
	vcpu_start(&waits, test, LEAF, 1);
	KUNIT_EXPECT_TRUE(test, vcpu_waits(&waits));
	complete(&fix->iommu.release);
	KUNIT_EXPECT_EQ(test, vcpu_end(&held), 4);
	KUNIT_EXPECT_EQ(test, vcpu_end(&waits), 1);
	KUNIT_EXPECT_EQ(test, fix->ap->domain.grown, BIT_ULL(48) - 1);
	fixture_check(fix);
}

static const struct grown_case {
	const char *name;
	u64 index;		/* window page; the window begins below 2^39 or 2^48 */
	u64 base;
	u64 grown;
} grown_cases[] = {
	{ "below", 0, BIT_ULL(39) - SZ_2M, BIT_ULL(39) - 1 },
	{ "the last below", 511, BIT_ULL(39) - SZ_2M, BIT_ULL(39) - 1 },
	{ "the first above", 512, BIT_ULL(39) - SZ_2M, BIT_ULL(48) - 1 },
	{ "above 2^48", 512, BIT_ULL(48) - SZ_2M, U64_MAX },
};

KUNIT_ARRAY_PARAM_DESC(grown, grown_cases, name);

/* It is noted when it has been done. */
static void growth_is_noted(struct kunit *test)
{
	const struct grown_case *c = test->param_value;
	struct fixture *fix = test->priv;

	fix->ap->base = c->base;
	fix->ap->domain.base = c->base;
	fix->iommu.base = c->base;
	fix->iommu.fail_after = 0;
	fix->iommu.fail_err = -ENOMEM;
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, c->index, 1, 0),
			PVIOMMU_RC_NO_MEMORY);
	KUNIT_EXPECT_EQ(test, fix->ap->domain.grown, BIT_ULL(39) - 1);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, c->index, 1, 0), 1);
	KUNIT_EXPECT_EQ(test, fix->ap->domain.grown, c->grown);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 1);
	fixture_check(fix);
}

/* Pages that are about to be pinned count, so that the budget holds whoever asks. */
static void budget_is_shared(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct vcpu held;

	fix->ap->budget = 6;
	hold_up(test, &held, 4);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, LEAF, 4, 0), 2);
	/* The other one may have some to give back. */
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, 2 * LEAF, 1, 0),
			PVIOMMU_RC_RETRY);
	complete(&fix->iommu.release);
	KUNIT_EXPECT_EQ(test, vcpu_end(&held), 4);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 6);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, 2 * LEAF, 1, 0),
			PVIOMMU_RC_OVER_BUDGET);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&fix->ap->pinned_peak), 6);
	fixture_check(fix);
}

/* One leaf of the guest's stands for all. */
static int stripe_init(struct kunit *test)
{
	struct fixture *fix = fixture_create(test, WINDOW, 0);
	__le64 *directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);
	unsigned int i;

	for (i = 0; i < WINDOW / LEAF; i++)
		directory[i] = cpu_to_le64(FRAME(FRAME_LEAVES, 0));
	fixture_fill(fix, 0, FRAME_DATA, 512, RW);
	return 0;
}

static const struct of_case {
	const char *name;
	u64 first;
	u64 count;
	unsigned long stripes;
} of_cases[] = {
	{ "a page", 0, 1, 0x1 },
	{ "a page of another leaf", 3 * LEAF + 5, 1, 0x8 },
	{ "no page", 3 * LEAF + 5, 0, 0x8 },
	{ "a leaf", 2 * LEAF, LEAF, 0x4 },
	{ "a leaf and a page", 2 * LEAF, LEAF + 1, 0xc },
	{ "two pages, two leaves", 3 * LEAF - 1, 2, 0xc },
	{ "round the end", 15 * LEAF, 2 * LEAF, 0x8001 },
	{ "the second round", 17 * LEAF, 1, 0x2 },
	{ "all but one", LEAF, 15 * LEAF, 0xfffe },
	{ "all", 0, 16 * LEAF, 0xffff },
	{ "all, and a part of one again", 8, 16 * LEAF, 0xffff },
	{ "far more", 0, 1ULL << 28, 0xffff },
};

KUNIT_ARRAY_PARAM_DESC(of, of_cases, name);

static void stripes_of_ranges(struct kunit *test)
{
	const struct of_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, pviommu_stripes_of(c->first, c->count), c->stripes);
}

static struct kunit_case stripe_tests[] = {
	KUNIT_CASE(others_go_on),
	KUNIT_CASE(ranges_wait),
	KUNIT_CASE(batches_are_shared),
	KUNIT_CASE(batches_are_kept),
	KUNIT_CASE(batches_are_not_all_kept),
	KUNIT_CASE(growth_is_alone),
	KUNIT_CASE_PARAM(growth_is_noted, grown_gen_params),
	KUNIT_CASE(budget_is_shared),
	KUNIT_CASE_PARAM(stripes_of_ranges, of_gen_params),
	{}
};

static struct kunit_suite stripe_suite = {
	.name = "kvm_pviommu_stripe",
	.init = stripe_init,
	.exit = fixture_exit,
	.test_cases = stripe_tests,
};

kunit_test_suite(stripe_suite);
