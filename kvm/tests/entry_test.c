// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entries, tables and ranges: what is taken, and what is refused with which code.
 */
#include "fixture.h"

struct entry_case {
	const char *name;
	u64 entry;
	s32 rc;		/* 1: it is processed */
	bool mapped;
};

static const struct entry_case entry_cases[] = {
	{ "read", FRAME(16, R), 1, true },
	{ "write", FRAME(16, W), 1, true },
	{ "read and write", FRAME(16, RW), 1, true },
	{ "the guest's own bits are ignored",
	  FRAME(16, RW) | GENMASK_ULL(62, 52), 1, true },
	{ "zero maps nothing", 0, 1, false },
	{ "no permission maps nothing", FRAME(16, 0), 1, false },
	{ "no permission makes reserved bits harmless",
	  FRAME(16, 0) | GENMASK_ULL(11, 2) | BIT_ULL(63), 1, false },
	{ "no permission makes a missing frame harmless",
	  GENMASK_ULL(51, 12), 1, false },

	{ "last page of a slot", FRAME(FAKE_FRAMES - 1, RW), 1, true },
	{ "page before a slot", FAKE_GPA(FAKE_RAM) - PAGE_SIZE + RW,
	  PVIOMMU_RC_NO_RAM },
	{ "page after a slot", ENTRY(FAKE_READ_ONLY, FAKE_SMALL, R),
	  PVIOMMU_RC_NO_RAM },
	{ "highest frame", GENMASK_ULL(51, 12) + RW, PVIOMMU_RC_NO_RAM },
	{ "frame 0", RW, PVIOMMU_RC_NO_RAM },

	{ "read of a read-only slot", ENTRY(FAKE_READ_ONLY, 0, R), 1, true },
	{ "write to a read-only slot", ENTRY(FAKE_READ_ONLY, 0, W),
	  PVIOMMU_RC_READ_ONLY },
	{ "read and write of a read-only slot", ENTRY(FAKE_READ_ONLY, 0, RW),
	  PVIOMMU_RC_READ_ONLY },
	{ "read of what the VMM may only read",
	  ENTRY(FAKE_WRITE_PROTECTED, 0, R), 1, true },
	{ "write to what the VMM may only read",
	  ENTRY(FAKE_WRITE_PROTECTED, 0, W), PVIOMMU_RC_NO_RAM },
	{ "slot that is being changed", ENTRY(FAKE_CHANGING, 0, R),
	  PVIOMMU_RC_RETRY },
	{ "slot of private memory", ENTRY(FAKE_PRIVATE, 0, R),
	  PVIOMMU_RC_NO_RAM },
	{ "slot of KVM's own", ENTRY(FAKE_INTERNAL, 0, R), PVIOMMU_RC_NO_RAM },
	{ "slot without memory", ENTRY(FAKE_UNBACKED, 0, R),
	  PVIOMMU_RC_NO_RAM },
};

KUNIT_ARRAY_PARAM_DESC(entry, entry_cases, name);

static void entry_is_taken_or_refused(struct kunit *test)
{
	const struct entry_case *c = test->param_value;
	struct fixture *fix = test->priv;

	fixture_set(fix, 3, c->entry);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 3, 1, 0), c->rc);
	KUNIT_EXPECT_EQ(test, !!fixture_mapped(fix, 3), c->mapped);
	if (c->mapped)
		KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 3) & RW,
				c->entry & RW);

	/* With the flag nothing is refused, and nothing is pinned. */
	fixture_set(fix, 4, c->entry);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 4, 1, PVIOMMU_SYNC_UNMAP), 1);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 4), 0);
}

static void every_reserved_bit_is_refused(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned int bit;

	for (bit = 3; bit < 64; bit = bit == 11 ? 63 : bit + 1) {
		fixture_set(fix, 0, FRAME(16, RW));
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 1, 0), 1);
		KUNIT_EXPECT_NE(test, fixture_mapped(fix, 0), 0);

		fixture_set(fix, 0, FRAME(16, RW) | BIT_ULL(bit));
		KUNIT_EXPECT_EQ_MSG(test, fixture_sync(fix, 0, 1, 0),
				    PVIOMMU_RC_BAD_ENTRY, "bit %u", bit);
		KUNIT_EXPECT_EQ(test, fixture_mapped(fix, 0), 0);
	}
}

static void holes_take_nothing(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture *ap = fix->ap;
	u64 i;

	ap->nr_holes = 2;
	ap->holes[0] = (struct pviommu_hole){
		pviommu_iova(ap, 2), 2 * PAGE_SIZE
	};
	ap->holes[1] = (struct pviommu_hole){
		pviommu_iova(ap, 6), PAGE_SIZE
	};
	fixture_fill(fix, 0, FRAME_DATA, 8, RW);
	for (i = 0; i < 8; i++) {
		bool hole = i == 2 || i == 3 || i == 6;

		KUNIT_EXPECT_EQ_MSG(test, fixture_sync(fix, i, 1, 0),
				    hole ? PVIOMMU_RC_BAD_ENTRY : 1,
				    "page %llu", i);
		KUNIT_EXPECT_EQ(test, !fixture_mapped(fix, i), hole);
	}

	/* Nothing to say of what maps nothing. */
	fixture_set(fix, 2, 0);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 2, 1, 0), 1);
}

struct range_case {
	const char *name;
	u64 first;
	u64 count;
	u64 flags;
	s32 ret;
};

static const struct range_case range_cases[] = {
	{ "first page", 0, 1, 0, 1 },
	{ "last page", WINDOW_PAGES - 1, 1, 0, 1 },
	{ "no page", 5, 0, 0, 0 },
	{ "no page at the end", WINDOW_PAGES, 0, 0, 0 },
	{ "all of the window, as far as one call goes", 0, WINDOW_PAGES, 0,
	  PVIOMMU_SYNC_MAX_PAGES },
	{ "as many as one call takes", 7, PVIOMMU_SYNC_MAX_PAGES, 0,
	  PVIOMMU_SYNC_MAX_PAGES },
	{ "one behind the end", WINDOW_PAGES, 1, 0, PVIOMMU_RC_BAD_ARG },
	{ "across the end", WINDOW_PAGES - 1, 2, 0, PVIOMMU_RC_BAD_ARG },
	{ "longer than the window", 0, WINDOW_PAGES + 1, 0,
	  PVIOMMU_RC_BAD_ARG },
	{ "first beyond the window", WINDOW_PAGES + 1, 0, 0,
	  PVIOMMU_RC_BAD_ARG },
	{ "highest first", U64_MAX, 1, 0, PVIOMMU_RC_BAD_ARG },
	{ "highest count", 1, U64_MAX, 0, PVIOMMU_RC_BAD_ARG },
	{ "sum that overflows", U64_MAX - 1, 4, 0, PVIOMMU_RC_BAD_ARG },
	{ "unknown flag", 0, 1, BIT(1), PVIOMMU_RC_BAD_ARG },
	{ "highest flag", 0, 1, BIT_ULL(63) | PVIOMMU_SYNC_UNMAP,
	  PVIOMMU_RC_BAD_ARG },
};

KUNIT_ARRAY_PARAM_DESC(range, range_cases, name);

static void range_is_in_the_window(struct kunit *test)
{
	const struct range_case *c = test->param_value;
	struct fixture *fix = test->priv;
	s64 ret;

	KUNIT_EXPECT_EQ(test, fixture_sync(fix, c->first, c->count, c->flags),
			c->ret);
	ret = fixture_sync_ranges(fix, c->flags, { c->first, c->count });
	KUNIT_EXPECT_EQ(test, ret, c->ret);
}

struct table_case {
	const char *name;
	u64 leaf;
	s32 rc;
};

static const struct table_case table_cases[] = {
	{ "no leaf yet", 0, 1 },
	{ "leaf that is RAM", FRAME(FRAME_LEAVES, 0), 1 },
	{ "leaf that is not aligned", FRAME(FRAME_LEAVES, 8),
	  PVIOMMU_RC_BAD_TABLE },
	{ "leaf that is not there", FRAME(0, 0) - PAGE_SIZE,
	  PVIOMMU_RC_BAD_TABLE },
	{ "leaf at a GPA beyond all", ~(PAGE_SIZE - 1ULL),
	  PVIOMMU_RC_BAD_TABLE },
	{ "leaf in a read-only slot", FAKE_GPA(FAKE_READ_ONLY),
	  PVIOMMU_RC_BAD_TABLE },
	{ "leaf in private memory", FAKE_GPA(FAKE_PRIVATE),
	  PVIOMMU_RC_BAD_TABLE },
	{ "leaf in a slot of KVM's own", FAKE_GPA(FAKE_INTERNAL),
	  PVIOMMU_RC_BAD_TABLE },
	{ "leaf without memory", FAKE_GPA(FAKE_UNBACKED),
	  PVIOMMU_RC_BAD_TABLE },
	{ "leaf in a slot that is being changed", FAKE_GPA(FAKE_CHANGING),
	  PVIOMMU_RC_RETRY },
};

KUNIT_ARRAY_PARAM_DESC(table, table_cases, name);

static void leaf_is_ram(struct kunit *test)
{
	const struct table_case *c = test->param_value;
	struct fixture *fix = test->priv;
	__le64 *directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);

	directory[0] = cpu_to_le64(c->leaf);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 9, 1, 0), c->rc);
	/* What has no shadow has nothing to remove. */
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 9, 1, PVIOMMU_SYNC_UNMAP), 1);
	KUNIT_EXPECT_EQ(test, total(fix->ap, nr_leaves), 0);
}

/* What has been mapped through a leaf stays if the leaf cannot be read for now. */
static void leaf_that_cannot_be_read_keeps_its_pages(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct kvm_memory_slot *ram = &fix->fake.slots[FAKE_RAM];

	fixture_fill(fix, 0, FRAME_DATA, 4, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 4, 0), 4);

	ram->flags = KVM_MEMSLOT_INVALID;
	fake_vm_new_generation(&fix->fake);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 4, 0), PVIOMMU_RC_RETRY);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 4, PVIOMMU_SYNC_UNMAP),
			PVIOMMU_RC_RETRY);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 4);

	/* For good: then there is no table that names them. */
	ram->flags = KVM_MEM_READONLY;
	fake_vm_new_generation(&fix->fake);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 4, 0), PVIOMMU_RC_BAD_TABLE);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	ram->flags = 0;
}

static void leaf_once_set_does_not_change(struct kunit *test)
{
	struct fixture *fix = test->priv;
	__le64 *directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);

	fixture_fill(fix, 0, FRAME_DATA, 2, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, 0, 1, 0), 1);
	directory[0] = cpu_to_le64(FAKE_GPA(FAKE_READ_ONLY));
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 2, 0), 2);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 2);

	/* Until the guest begins anew. */
	KUNIT_ASSERT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)), 0);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 2, 0), PVIOMMU_RC_BAD_TABLE);
}

static void nothing_is_mapped_unless_enabled(struct kunit *test)
{
	struct fixture *fix = test->priv;
	s64 ret;

	fixture_fill(fix, 0, FRAME_DATA, 1, RW);
	KUNIT_ASSERT_EQ(test, pviommu_aperture_disable(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 0, 1, 0),
			PVIOMMU_RC_NOT_ENABLED);
	ret = fixture_sync_ranges(fix, 0, { 0, 1 });
	KUNIT_EXPECT_EQ(test, ret, PVIOMMU_RC_NOT_ENABLED);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
}

static struct kunit_case entry_tests[] = {
	KUNIT_CASE_PARAM(entry_is_taken_or_refused, entry_gen_params),
	KUNIT_CASE(every_reserved_bit_is_refused),
	KUNIT_CASE(holes_take_nothing),
	KUNIT_CASE_PARAM(range_is_in_the_window, range_gen_params),
	KUNIT_CASE_PARAM(leaf_is_ram, table_gen_params),
	KUNIT_CASE(leaf_that_cannot_be_read_keeps_its_pages),
	KUNIT_CASE(leaf_once_set_does_not_change),
	KUNIT_CASE(nothing_is_mapped_unless_enabled),
	{}
};

static struct kunit_suite entry_suite = {
	.name = "kvm_pviommu_entry",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = entry_tests,
};

kunit_test_suite(entry_suite);
