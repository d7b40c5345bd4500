// SPDX-License-Identifier: GPL-2.0-only
/*
 * A SYNC of one page takes a shorter way than a SYNC_LIST that names the page alone. Both
 * must come to the same, whatever is in the table, in the shadow and in the memslots.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/sched/signal.h>

#include "fixture.h"

/* It is in a leaf that takes a large one. */
#define FIRST	512U
#define PAGE	(FIRST + 5)

struct single_case {
	const char *name;
	u64 before, after;
	void (*meanwhile)(struct fixture *fix);
	s64 ret;
	const char *calls;
};

static void no_change(struct fixture *fix)
{
}

static void new_generation(struct fixture *fix)
{
	fake_vm_new_generation(&fix->fake);
}

static void change(struct fixture *fix, enum fake_slot slot, u32 flags)
{
	fix->fake.slots[slot].flags |= flags;
	fake_vm_new_generation(&fix->fake);
}

static void slot_changing(struct fixture *fix)
{
	change(fix, FAKE_REVERSED, KVM_MEMSLOT_INVALID);
}

static void slot_read_only(struct fixture *fix)
{
	change(fix, FAKE_REVERSED, KVM_MEM_READONLY);
}

static void slot_private(struct fixture *fix)
{
	change(fix, FAKE_REVERSED, KVM_MEM_GUEST_MEMFD);
}

static void slot_gone(struct fixture *fix)
{
	fake_vm_remove_slot(&fix->fake, FAKE_REVERSED);
}

static void slot_shorter(struct fixture *fix)
{
	fix->fake.slots[FAKE_REVERSED].npages = 20;
	fake_vm_new_generation(&fix->fake);
}

static void other_memory(struct fixture *fix)
{
	struct kvm_memory_slot *slots = fix->fake.slots;

	slots[FAKE_REVERSED].userspace_addr = slots[FAKE_RAM].userspace_addr;
	fake_vm_new_generation(&fix->fake);
}

static void table_changing(struct fixture *fix)
{
	change(fix, FAKE_RAM, KVM_MEMSLOT_INVALID);
}

static void table_read_only(struct fixture *fix)
{
	change(fix, FAKE_RAM, KVM_MEM_READONLY);
}

static void hole(struct fixture *fix)
{
	fix->ap->nr_holes = 2;
	fix->ap->holes[0] = (struct pviommu_hole){
		pviommu_iova(fix->ap, PAGE - 3), 3 * PAGE_SIZE
	};
	fix->ap->holes[1] = (struct pviommu_hole){
		pviommu_iova(fix->ap, PAGE), PAGE_SIZE
	};
}

static void hole_beside(struct fixture *fix)
{
	hole(fix);
	fix->ap->nr_holes = 1;
}

static void no_budget(struct fixture *fix)
{
	fix->ap->budget = pinned(fix->ap);
}

static void a_page_of_budget(struct fixture *fix)
{
	fix->ap->budget = pinned(fix->ap) + 1;
}

/* All that is charged in advance is used up. */
static void no_memlock(struct fixture *fix)
{
	pviommu_memlock_trim(&fix->vm.memlock);
	WRITE_ONCE(current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur, 0);
}

static void map_fails(struct fixture *fix)
{
	fix->iommu.fail_after = 0;
	fix->iommu.fail_err = -ENOMEM;
}

static void map_fails_otherwise(struct fixture *fix)
{
	fix->iommu.fail_after = 0;
	fix->iommu.fail_err = -EINVAL;
}

static void no_leaf(struct fixture *fix)
{
	__le64 *directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);

	directory[PAGE / PVIOMMU_ENTRIES_PER_LEAF] = 0;
}

static void bad_leaf(struct fixture *fix)
{
	__le64 *directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);

	directory[PAGE / PVIOMMU_ENTRIES_PER_LEAF] =
		cpu_to_le64(FRAME(FRAME_LEAVES, 8));
}

static void disabled(struct fixture *fix)
{
	KUNIT_ASSERT_EQ(fix->test, pviommu_aperture_disable(fix->ap), 0);
	fixture_forget_calls(fix);
}

/* The whole leaf, with the promise that it is one unit, but for what is synced then. */
static void in_a_large_leaf(struct fixture *fix)
{
	__le64 *table = fake_vm_frame(&fix->fake, FRAME_LEAVES + 1);
	__le64 entry = table[PAGE - FIRST];

	fixture_clear(fix, PAGE, 1);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, PAGE, 1, 0), 1);
	fixture_fill(fix, FIRST, 512, 512, RW | LARGE);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, FIRST, 512, 0), 512);
	KUNIT_ASSERT_EQ(fix->test, counted(fix->ap, large), 1);
	table[PAGE - FIRST] = entry;
	fixture_forget_calls(fix);
}

#define SLOT	ENTRY(FAKE_REVERSED, 30, RW)
#define SLOT_R	ENTRY(FAKE_REVERSED, 30, R)

#define MAPPED		"m517+1"
#define REMOVED		"u517+1 f517+1"
#define REPLACED	"u517+1 f517+1 m517+1"

static const struct single_case single_cases[] = {
	{ "new", 0, FRAME(20, RW), no_change, 1, MAPPED },
	{ "new, to be read", 0, FRAME(20, R), no_change, 1, MAPPED },
	{ "new, to be written", 0, FRAME(20, W), no_change, 1, MAPPED },
	{ "new, with the guest's own bits", 0,
	  FRAME(20, RW) | GENMASK_ULL(62, 52), no_change, 1, MAPPED },
	{ "new, of a unit", 0, FRAME(20, RW | LARGE), no_change, 1, MAPPED },
	{ "zero", 0, 0, no_change, 1, "" },
	{ "no permission", 0, FRAME(20, 0) | BIT_ULL(63), no_change, 1, "" },
	{ "reserved bit", 0, FRAME(20, RW) | BIT_ULL(5), no_change,
	  PVIOMMU_RC_BAD_ENTRY, "" },
	{ "highest bit", 0, FRAME(20, RW) | BIT_ULL(63), no_change,
	  PVIOMMU_RC_BAD_ENTRY, "" },

	{ "mapped", FRAME(20, RW), FRAME(20, RW), no_change, 1, "" },
	{ "mapped, other frame", FRAME(20, RW), FRAME(21, RW), no_change, 1,
	  REPLACED },
	{ "mapped, other permission", FRAME(20, R), FRAME(20, RW), no_change,
	  1, REPLACED },
	{ "mapped, gone", FRAME(20, RW), 0, no_change, 1, REMOVED },
	{ "mapped, refused", FRAME(20, RW), FRAME(20, RW) | BIT_ULL(63),
	  no_change, PVIOMMU_RC_BAD_ENTRY, REMOVED },
	{ "mapped, no RAM", FRAME(20, RW), RW, no_change, PVIOMMU_RC_NO_RAM,
	  REMOVED },

	{ "no RAM", 0, RW, no_change, PVIOMMU_RC_NO_RAM, "" },
	{ "behind a slot", 0, ENTRY(FAKE_READ_ONLY, FAKE_SMALL, R), no_change,
	  PVIOMMU_RC_NO_RAM, "" },
	{ "read-only slot", 0, ENTRY(FAKE_READ_ONLY, 0, RW), no_change,
	  PVIOMMU_RC_READ_ONLY, "" },
	{ "read-only slot, to be written", 0, ENTRY(FAKE_READ_ONLY, 0, W),
	  no_change, PVIOMMU_RC_READ_ONLY, "" },
	{ "read-only slot, to be read", 0, ENTRY(FAKE_READ_ONLY, 0, R),
	  no_change, 1, MAPPED },
	{ "read-only in the VMM", 0, ENTRY(FAKE_WRITE_PROTECTED, 0, RW),
	  no_change, PVIOMMU_RC_NO_RAM, "" },
	{ "slot being changed", 0, ENTRY(FAKE_CHANGING, 0, R), no_change,
	  PVIOMMU_RC_RETRY, "" },
	{ "private slot", 0, ENTRY(FAKE_PRIVATE, 0, R), no_change,
	  PVIOMMU_RC_NO_RAM, "" },
	{ "KVM's own slot", 0, ENTRY(FAKE_INTERNAL, 0, R), no_change,
	  PVIOMMU_RC_NO_RAM, "" },
	{ "nothing behind the slot", 0, ENTRY(FAKE_UNBACKED, 0, R), no_change,
	  PVIOMMU_RC_NO_RAM, "" },

	{ "mapped, memslots changed", SLOT, SLOT, new_generation, 1, "" },
	{ "mapped, other memory", SLOT, SLOT, other_memory, 1, REPLACED },
	{ "mapped, slot being changed", SLOT, SLOT, slot_changing,
	  PVIOMMU_RC_RETRY, "" },
	{ "mapped, slot gone", SLOT, SLOT, slot_gone, PVIOMMU_RC_NO_RAM,
	  REMOVED },
	{ "mapped, slot read-only now", SLOT, SLOT, slot_read_only,
	  PVIOMMU_RC_READ_ONLY, REMOVED },

	/* The slot was found for another page of it. */
	{ "slot being changed now", SLOT, SLOT_R + PAGE_SIZE, slot_changing,
	  PVIOMMU_RC_RETRY, REMOVED },
	{ "slot gone now", SLOT, SLOT_R + PAGE_SIZE, slot_gone,
	  PVIOMMU_RC_NO_RAM, REMOVED },
	{ "slot shorter now", SLOT, SLOT_R + PAGE_SIZE, slot_shorter,
	  PVIOMMU_RC_NO_RAM, REMOVED },
	{ "slot private now", SLOT, SLOT_R + PAGE_SIZE, slot_private,
	  PVIOMMU_RC_NO_RAM, REMOVED },
	{ "slot read-only now, to be written", SLOT, SLOT + PAGE_SIZE,
	  slot_read_only, PVIOMMU_RC_READ_ONLY, REMOVED },
	{ "slot read-only now, to be read", SLOT, SLOT_R + PAGE_SIZE,
	  slot_read_only, 1, REPLACED },
	{ "slot elsewhere now", SLOT, SLOT + PAGE_SIZE, other_memory, 1,
	  REPLACED },

	{ "table being changed", FRAME(20, RW), 0, table_changing,
	  PVIOMMU_RC_RETRY, "" },
	{ "table read-only now", FRAME(20, RW), FRAME(20, RW),
	  table_read_only, PVIOMMU_RC_BAD_TABLE, REMOVED },
	{ "no leaf", 0, FRAME(20, RW), no_leaf, 1, "" },
	{ "bad leaf", 0, FRAME(20, RW), bad_leaf, PVIOMMU_RC_BAD_TABLE, "" },
	{ "not enabled", FRAME(20, RW), FRAME(20, RW), disabled,
	  PVIOMMU_RC_NOT_ENABLED, "" },

	{ "hole", 0, FRAME(20, RW), hole, PVIOMMU_RC_BAD_ENTRY, "" },
	{ "beside a hole", 0, FRAME(20, RW), hole_beside, 1, MAPPED },
	{ "no budget", 0, FRAME(20, RW), no_budget, PVIOMMU_RC_OVER_BUDGET,
	  "" },
	{ "no budget, replaced", FRAME(20, RW), FRAME(21, RW), no_budget, 1,
	  REPLACED },
	{ "last page of the budget", 0, FRAME(20, RW), a_page_of_budget, 1,
	  MAPPED },
	{ "memlock limit", 0, FRAME(20, RW), no_memlock,
	  PVIOMMU_RC_LOCK_LIMIT, "" },
	{ "memlock limit, replaced", FRAME(20, RW), FRAME(21, RW), no_memlock,
	  1, REPLACED },
	{ "map fails", 0, FRAME(20, RW), map_fails, PVIOMMU_RC_NO_MEMORY,
	  "m517+1 f517+1" },
	{ "map fails otherwise", 0, FRAME(20, RW), map_fails_otherwise,
	  PVIOMMU_RC_HOST_ERROR, "m517+1 f517+1" },

	{ "in a large leaf", 0, FRAME(517, RW | LARGE), in_a_large_leaf, 1,
	  "" },
	{ "in a large leaf, gone", 0, 0, in_a_large_leaf, 1,
	  "u512+512 f512+512" },
	{ "in a large leaf, other frame", 0, FRAME(20, RW | LARGE),
	  in_a_large_leaf, 1, "u512+512 f512+512 m517+1" },
};

KUNIT_ARRAY_PARAM_DESC(single, single_cases, name);

/**
 * struct outcome - what a sync has come to
 * @ret: its answer
 * @calls: of the IOMMU driver
 * @mapped: what a device finds
 * @pinned: pages of the aperture
 * @in_use: pages that are accounted for
 * @stats: of the aperture
 */
struct outcome {
	s64 ret;
	const char *calls;
	u64 mapped;
	unsigned long pinned;
	unsigned long in_use;
	struct pviommu_aperture_stats stats;
};

static s64 sync_alone(struct fixture *fix)
{
	return fixture_sync(fix, PAGE, 1, 0);
}

static s64 sync_listed(struct fixture *fix)
{
	const struct pviommu_range range = { PAGE, 1 };

	return fixture_sync_list(fix, &range, 1, 0);
}

/* The same once more, from the beginning. */
static struct outcome outcome_of(struct kunit *test,
				 const struct single_case *c,
				 s64 (*sync)(struct fixture *fix))
{
	struct rlimit *rlim = &current->signal->rlim[RLIMIT_MEMLOCK];
	unsigned long limit = rlim->rlim_cur;
	struct cred *cred = prepare_creds();
	struct outcome outcome = {};
	const struct cred *old;
	struct fixture *fix;

	KUNIT_ASSERT_NOT_NULL(test, cred);
	fix = fixture_create(test, WINDOW_PAGES, 0);
	/* That there is a leaf. */
	fixture_set(fix, PAGE + 1, FRAME(100, RW));
	if (c->meanwhile != no_leaf && c->meanwhile != bad_leaf &&
	    c->meanwhile != in_a_large_leaf)
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, PAGE + 1, 1, 0), 1);
	fixture_set(fix, PAGE, c->before);
	if (c->before)
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, PAGE, 1, 0), 1);
	fixture_set(fix, PAGE, c->after);
	fixture_forget_calls(fix);

	cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	c->meanwhile(fix);
	old = override_creds(cred);
	outcome.ret = sync(fix);
	revert_creds(old);
	put_cred(cred);
	WRITE_ONCE(rlim->rlim_cur, limit);

	outcome.calls = fixture_calls(fix);
	outcome.mapped = fixture_mapped(fix, PAGE);
	outcome.pinned = pinned(fix->ap);
	outcome.in_use = fixture_in_use(fix);
	pviommu_aperture_lock(fix->ap);
	pviommu_aperture_stats(fix->ap, &outcome.stats);
	pviommu_aperture_unlock(fix->ap);
	fixture_exit(test);
	test->priv = NULL;
	return outcome;
}

static void single_page_is_like_a_list_of_one(struct kunit *test)
{
	const struct single_case *c = test->param_value;
	struct outcome alone = outcome_of(test, c, sync_alone);
	struct outcome listed = outcome_of(test, c, sync_listed);

	KUNIT_EXPECT_EQ(test, alone.ret, c->ret);
	KUNIT_EXPECT_STREQ(test, alone.calls, c->calls);

	KUNIT_EXPECT_EQ(test, alone.ret, listed.ret);
	KUNIT_EXPECT_STREQ(test, alone.calls, listed.calls);
	KUNIT_EXPECT_EQ(test, alone.mapped, listed.mapped);
	KUNIT_EXPECT_EQ(test, alone.pinned, listed.pinned);
	KUNIT_EXPECT_EQ(test, alone.in_use, listed.in_use);
	KUNIT_EXPECT_MEMEQ(test, &alone.stats, &listed.stats,
			   sizeof(alone.stats));
}

static struct kunit_case single_tests[] = {
	KUNIT_CASE_PARAM(single_page_is_like_a_list_of_one, single_gen_params),
	{}
};

static struct kunit_suite single_suite = {
	.name = "kvm_pviommu_single",
	.exit = fixture_exit,
	.test_cases = single_tests,
};

kunit_test_suite(single_suite);
