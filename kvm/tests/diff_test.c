// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table against the shadow: what a sync does about an entry that was mapped
 * before.
 */
#include "fixture.h"

static void new_generation(struct fixture *fix)
{
	fake_vm_new_generation(&fix->fake);
}

/* The slot is back, with other memory behind it. */
static void other_memory(struct fixture *fix)
{
	struct kvm_memory_slot *slots = fix->fake.slots;

	slots[FAKE_READ_ONLY].userspace_addr += PAGE_SIZE;
	fake_vm_new_generation(&fix->fake);
}

static void slot_gone(struct fixture *fix)
{
	fake_vm_remove_slot(&fix->fake, FAKE_READ_ONLY);
}

static void slot_changing(struct fixture *fix)
{
	fix->fake.slots[FAKE_READ_ONLY].flags |= KVM_MEMSLOT_INVALID;
	fake_vm_new_generation(&fix->fake);
}

static void slot_unbacked(struct fixture *fix)
{
	struct kvm_memory_slot *slots = fix->fake.slots;

	slots[FAKE_READ_ONLY].userspace_addr =
		slots[FAKE_UNBACKED].userspace_addr;
	fake_vm_new_generation(&fix->fake);
}

static void slot_private(struct fixture *fix)
{
	fix->fake.slots[FAKE_READ_ONLY].flags |= KVM_MEM_GUEST_MEMFD;
	fake_vm_new_generation(&fix->fake);
}

static void no_change(struct fixture *fix)
{
}

#define SLOT_R	ENTRY(FAKE_READ_ONLY, 2, R)

struct diff_case {
	const char *name;
	u64 before, after;
	void (*meanwhile)(struct fixture *fix);
	u64 flags;
	s32 ret;
	const char *calls;
	unsigned int frame;	/* that is mapped then; 0 for none */
};

static const struct diff_case diff_cases[] = {
	{ "unchanged: nothing to do",
	  FRAME(20, RW), FRAME(20, RW), no_change, 0, 1, "", 20 },
	{ "only the guest's bits changed: nothing to do",
	  FRAME(20, RW), FRAME(20, RW) | BIT_ULL(60), no_change, 0, 1, "", 20 },
	{ "other frame: replaced",
	  FRAME(20, RW), FRAME(21, RW), no_change, 0, 1,
	  "u5+1 f5+1 m5+1", 21 },
	{ "write is taken away: replaced",
	  FRAME(20, RW), FRAME(20, R), no_change, 0, 1,
	  "u5+1 f5+1 m5+1", 20 },
	{ "write is added: replaced",
	  FRAME(20, R), FRAME(20, RW), no_change, 0, 1,
	  "u5+1 f5+1 m5+1", 20 },
	{ "write instead of read: replaced",
	  FRAME(20, R), FRAME(20, W), no_change, 0, 1,
	  "u5+1 f5+1 m5+1", 20 },
	{ "gone: removed",
	  FRAME(20, RW), 0, no_change, 0, 1, "u5+1 f5+1", 0 },
	{ "permissions gone: removed",
	  FRAME(20, RW), FRAME(20, 0), no_change, 0, 1, "u5+1 f5+1", 0 },
	{ "new: mapped",
	  0, FRAME(20, RW), no_change, 0, 1, "m5+1", 20 },
	{ "never there: nothing to do",
	  0, 0, no_change, 0, 1, "", 0 },
	{ "refused now: removed",
	  FRAME(20, RW), FRAME(20, RW) | BIT_ULL(3), no_change, 0,
	  PVIOMMU_RC_BAD_ENTRY, "u5+1 f5+1", 0 },
	{ "other frame without RAM: removed",
	  FRAME(20, RW), GENMASK_ULL(51, 12) + R, no_change, 0,
	  PVIOMMU_RC_NO_RAM, "u5+1 f5+1", 0 },
	{ "other frame in a slot that is being changed: removed",
	  FRAME(20, RW), ENTRY(FAKE_CHANGING, 0, R), no_change, 0,
	  PVIOMMU_RC_RETRY, "u5+1 f5+1", 0 },

	{ "memslots changed, same page: nothing to do",
	  SLOT_R, SLOT_R, new_generation, 0, 1, "", 2 },
	{ "memslots changed, other page: replaced",
	  SLOT_R, SLOT_R, other_memory, 0, 1, "u5+1 f5+1 m5+1", 3 },
	{ "memslot gone: removed",
	  SLOT_R, SLOT_R, slot_gone, 0, PVIOMMU_RC_NO_RAM, "u5+1 f5+1", 0 },
	{ "memslot unbacked: removed",
	  SLOT_R, SLOT_R, slot_unbacked, 0, PVIOMMU_RC_NO_RAM, "u5+1 f5+1", 0 },
	{ "memslot private: removed",
	  SLOT_R, SLOT_R, slot_private, 0, PVIOMMU_RC_NO_RAM, "u5+1 f5+1", 0 },
	{ "memslot being changed: kept",
	  SLOT_R, SLOT_R, slot_changing, 0, PVIOMMU_RC_RETRY, "", 2 },

	{ "UNMAP, unchanged: kept",
	  FRAME(20, RW), FRAME(20, RW), no_change, PVIOMMU_SYNC_UNMAP, 1, "",
	  20 },
	{ "UNMAP, gone: removed",
	  FRAME(20, RW), 0, no_change, PVIOMMU_SYNC_UNMAP, 1, "u5+1 f5+1", 0 },
	{ "UNMAP, other frame: removed, not mapped",
	  FRAME(20, RW), FRAME(21, RW), no_change, PVIOMMU_SYNC_UNMAP, 1,
	  "u5+1 f5+1", 0 },
	{ "UNMAP, new: not mapped",
	  0, FRAME(20, RW), no_change, PVIOMMU_SYNC_UNMAP, 1, "", 0 },
	{ "UNMAP, refused now: removed",
	  FRAME(20, RW), FRAME(20, RW) | BIT_ULL(63), no_change,
	  PVIOMMU_SYNC_UNMAP, 1, "u5+1 f5+1", 0 },
	{ "UNMAP, memslots changed: not looked at",
	  SLOT_R, SLOT_R, other_memory, PVIOMMU_SYNC_UNMAP, 1, "", 2 },
};

KUNIT_ARRAY_PARAM_DESC(diff, diff_cases, name);

static void entry_is_compared(struct kunit *test)
{
	const struct diff_case *c = test->param_value;
	struct fixture *fix = test->priv;
	u64 mapped;

	fixture_set(fix, 5, c->before);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 5, 1, 0), 1);

	fixture_set(fix, 5, c->after);
	c->meanwhile(fix);
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 5, 1, c->flags), c->ret);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), c->calls);
	mapped = c->frame ? FRAME(c->frame, c->after & RW) : 0;
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 5), mapped);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), c->frame ? 1 : 0);
}

/* Writable memory whose slot comes back read-only is not written any more. */
static void slot_that_becomes_read_only_is_unmapped(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct kvm_memory_slot *slot = &fix->fake.slots[FAKE_REVERSED];

	fixture_set(fix, 5, ENTRY(FAKE_REVERSED, 0, RW));
	fixture_set(fix, 6, ENTRY(FAKE_REVERSED, 1, R));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 5, 2, 0), 2);

	slot->flags |= KVM_MEM_READONLY;
	fake_vm_new_generation(&fix->fake);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 5, 2, 0), PVIOMMU_RC_READ_ONLY);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 5), 0);
	KUNIT_EXPECT_NE(test, fixture_mapped(fix, 6), 0);
}

/* Once a page was found to be the right one, it is not looked at again. */
static void generation_is_remembered(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct kvm_memory_slot *slot = &fix->fake.slots[FAKE_READ_ONLY];

	fixture_set(fix, 5, SLOT_R);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 5, 1, 0), 1);
	fake_vm_new_generation(&fix->fake);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 5, 1, 0), 1);

	/* KVM never does this without a new generation. */
	slot->userspace_addr += PAGE_SIZE;
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 5, 1, 0), 1);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "");
}

static void entry_named_twice_is_mapped_once(struct kunit *test)
{
	struct fixture *fix = test->priv;
	s64 ret;

	fixture_fill(fix, 5, FRAME_DATA, 3, RW);
	ret = fixture_sync_ranges(fix, 0, { 5, 2 }, { 5, 3 }, { 6, 1 });
	KUNIT_EXPECT_EQ(test, ret, 6);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "m5+2 m7+1");
	fixture_check_follows(fix, 5, 3);
}

static void entry_named_twice_is_removed_once(struct kunit *test)
{
	struct fixture *fix = test->priv;
	s64 ret;

	fixture_fill(fix, 5, FRAME_DATA, 3, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 5, 3, 0), 3);
	fixture_clear(fix, 5, 3);
	fixture_forget_calls(fix);
	ret = fixture_sync_ranges(fix, 0, { 5, 2 }, { 5, 3 }, { 6, 1 });
	KUNIT_EXPECT_EQ(test, ret, 6);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u5+2 u7+1 f5+3");
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
}

static void entry_named_twice_is_replaced_once(struct kunit *test)
{
	struct fixture *fix = test->priv;
	s64 ret;

	fixture_set(fix, 5, FRAME(20, RW));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 5, 1, 0), 1);
	fixture_set(fix, 5, FRAME(21, RW));
	fixture_forget_calls(fix);
	ret = fixture_sync_ranges(fix, 0, { 5, 1 }, { 5, 1 });
	KUNIT_EXPECT_EQ(test, ret, 2);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u5+1 f5+1 m5+1");
}

/* Two frames change places: each is removed before it is mapped elsewhere. */
static void frames_change_places(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_set(fix, 5, FRAME(20, RW));
	fixture_set(fix, 6, FRAME(21, RW));
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 5, 2, 0), 2);
	fixture_set(fix, 5, FRAME(21, RW));
	fixture_set(fix, 6, FRAME(20, RW));
	fixture_forget_calls(fix);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 5, 2, 0), 2);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u5+2 f5+2 m5+1 m6+1");
	fixture_check_follows(fix, 5, 2);
}

static struct kunit_case diff_tests[] = {
	KUNIT_CASE_PARAM(entry_is_compared, diff_gen_params),
	KUNIT_CASE(slot_that_becomes_read_only_is_unmapped),
	KUNIT_CASE(generation_is_remembered),
	KUNIT_CASE(entry_named_twice_is_mapped_once),
	KUNIT_CASE(entry_named_twice_is_removed_once),
	KUNIT_CASE(entry_named_twice_is_replaced_once),
	KUNIT_CASE(frames_change_places),
	{}
};

static struct kunit_suite diff_suite = {
	.name = "kvm_pviommu_diff",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = diff_tests,
};

kunit_test_suite(diff_suite);
