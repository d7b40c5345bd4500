// SPDX-License-Identifier: GPL-2.0-only
/*
 * 2 MiB of memory, as it would make a large leaf: mapped in small ones, of which each
 * can go alone, unless the guest promises that all go at once. Then in one, which goes
 * as a whole even if the promise is broken.
 */
#include <linux/bitmap.h>
#include <linux/prandom.h>

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
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), PAGES + 8 - c->n);
}

/* Of the page sizes that the driver offers. */
static void domain_has_two_page_sizes(struct kunit *test)
{
	struct fixture *fix = test->priv;
	enum fake_kind kind;

	for (kind = 0; kind < FAKE_NR_KINDS; kind++) {
		struct pviommu_domain domain = {};

		fake_iommu_be(&fix->iommu, kind);
		KUNIT_ASSERT_EQ(test,
				pviommu_domain_init(&domain, fix->fake.kvm,
						    WINDOW_BASE, WINDOW_PAGES), 0);
		KUNIT_ASSERT_EQ(test,
				pviommu_domain_adopt(&domain,
						     &fix->iommu.domain), 0);
		KUNIT_EXPECT_EQ(test, fix->iommu.domain.pgsize_bitmap,
				SZ_4K | SZ_2M);
		KUNIT_EXPECT_TRUE(test, pviommu_domain_takes_large(&domain));
		pviommu_domain_free(&domain);
		pviommu_domain_exit(&domain);
		KUNIT_EXPECT_TRUE(test, fix->iommu.freed);
	}
}

static const struct takes_case {
	const char *name;
	u64 base;
	unsigned long offered;
	bool takes;
} takes_cases[] = {
	{ "2 MiB", SZ_4G, SZ_4K | SZ_2M, true },
	{ "2 MiB and 1 GiB", SZ_4G, SZ_4K | SZ_2M | SZ_1G, true },
	{ "4 KiB only", SZ_4G, SZ_4K, false },
	{ "no 2 MiB", SZ_4G, SZ_4K | SZ_64K, false },
	{ "window begins in 2 MiB", SZ_4G + SZ_4K, SZ_4K | SZ_2M, false },
	{ "window begins in 2 MiB, in the middle", SZ_4G + SZ_1M,
	  SZ_4K | SZ_2M, false },
};

KUNIT_ARRAY_PARAM_DESC(takes, takes_cases, name);

static void large_leaves_have_conditions(struct kunit *test)
{
	const struct takes_case *c = test->param_value;
	struct fixture *fix = test->priv;
	struct pviommu_domain domain = {};

	KUNIT_ASSERT_EQ(test,
			pviommu_domain_init(&domain, fix->fake.kvm, c->base,
					    WINDOW_PAGES), 0);
	fix->iommu.domain.pgsize_bitmap = c->offered;
	/* Of an IOMMU's domain that was there before. */
	domain.grown = U64_MAX;
	KUNIT_ASSERT_EQ(test, pviommu_domain_adopt(&domain, &fix->iommu.domain),
			0);
	KUNIT_EXPECT_EQ(test, domain.grown, BIT_ULL(39) - 1);
	KUNIT_EXPECT_EQ(test, pviommu_domain_takes_large(&domain), c->takes);
	/* As VT-d's driver does when a group is attached. */
	fix->iommu.domain.pgsize_bitmap |= SZ_2M | SZ_1G;
	KUNIT_EXPECT_EQ(test, pviommu_domain_takes_large(&domain),
			IS_ALIGNED(c->base, SZ_2M));
	pviommu_domain_free(&domain);
	pviommu_domain_exit(&domain);
}

/* IOMMUs that large leaves are tried on. */
struct kind_case {
	const char *name;
	enum fake_kind kind;
	bool widened;		/* VT-d adds page sizes when a group is attached */
	bool small_only;
};

static const struct kind_case kind_cases[] = {
	{ "VT-d", FAKE_VT_D },
	{ "VT-d, 1 GiB", FAKE_VT_D, .widened = true },
	{ "VT-d without large leaves", FAKE_VT_D, .small_only = true },
	{ "AMD v1", FAKE_AMD_V1 },
};

KUNIT_ARRAY_PARAM_DESC(kind, kind_cases, name);

static void be(struct fixture *fix, const struct kind_case *c)
{
	fix->iommu.kind = c->kind;
	fix->iommu.small_only = c->small_only;
	if (c->widened)
		fix->iommu.domain.pgsize_bitmap |= SZ_1G;
}

/* Entries of a unit, and four small pages on each side of it. */
static void fill_unit(struct fixture *fix, u64 perm)
{
	fixture_fill(fix, FIRST, 512, PAGES, perm | LARGE);
	fixture_fill(fix, FIRST - 4, 100, 4, RW);
	fixture_fill(fix, FIRST + PAGES, 200, 4, RW);
}

static void map_unit(struct fixture *fix, u64 perm)
{
	u64 before = counted(fix->ap, large_mapped);

	fill_unit(fix, perm);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, FIRST - 4, 4, 0), 4);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, FIRST + PAGES, 4, 0), 4);
	fixture_forget_calls(fix);
	KUNIT_ASSERT_EQ(fix->test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
	fixture_check_follows(fix, FIRST - 4, PAGES + 8);
	KUNIT_ASSERT_EQ(fix->test, counted(fix->ap, large), 1);
	KUNIT_ASSERT_EQ(fix->test, counted(fix->ap, large_mapped), before + 1);
}

static void expect_broken(struct fixture *fix, unsigned int broken)
{
	KUNIT_EXPECT_EQ(fix->test, counted(fix->ap, large), 0);
	KUNIT_EXPECT_EQ(fix->test, counted(fix->ap, large_broken), broken);
	fixture_check_follows(fix, FIRST - 4, 4);
	fixture_check_follows(fix, FIRST + PAGES, 4);
}

static void unit_is_one_leaf(struct kunit *test)
{
	struct fixture *fix = test->priv;

	be(fix, test->param_value);
	map_unit(fix, RW);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "m512+512");
	fixture_forget_calls(fix);
	/* Nothing has changed. */
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
	fake_vm_new_generation(&fix->fake);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST + 5, 7, 0), 7);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "");

	fixture_clear(fix, FIRST, PAGES);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES,
					   PVIOMMU_SYNC_UNMAP), PAGES);
	KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "u512+512 f512+512");
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 8);
	expect_broken(fix, 0);

	/* And again, read-only, with other memory. */
	fixture_fill(fix, FIRST, 0, PAGES, R | LARGE);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
	fixture_check_follows(fix, FIRST - 4, PAGES + 8);
	/* Moved on, as a unit. */
	fixture_fill(fix, FIRST, 512, PAGES, RW | LARGE);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
	fixture_check_follows(fix, FIRST - 4, PAGES + 8);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_mapped), 3);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 0);
}

/*
 * What is promised, and done all the same.
 */
static s64 clear_one(struct fixture *fix, u64 index)
{
	fixture_clear(fix, index, 1);
	return fixture_sync(fix, index, 1, 0);
}

static s64 clear_one_unmap(struct fixture *fix, u64 index)
{
	fixture_clear(fix, index, 1);
	return fixture_sync(fix, index, 1, PVIOMMU_SYNC_UNMAP);
}

static s64 clear_one_in_a_list(struct fixture *fix, u64 index)
{
	fixture_clear(fix, index, 1);
	return fixture_sync_ranges(fix, 0, { 3, 0 }, { index, 1 });
}

static s64 other_frame(struct fixture *fix, u64 index)
{
	fixture_set(fix, index, FRAME(50, RW | LARGE));
	return fixture_sync(fix, index, 1, 0);
}

static s64 other_permission(struct fixture *fix, u64 index)
{
	fixture_set(fix, index, FRAME(index, R | LARGE));
	return fixture_sync(fix, index, 1, 0);
}

static s64 no_promise(struct fixture *fix, u64 index)
{
	fixture_set(fix, index, FRAME(index, RW));
	return fixture_sync(fix, index, 1, 0);
}

static s64 slots_change(struct fixture *fix, u64 index)
{
	fake_vm_new_generation(&fix->fake);
	fixture_clear(fix, index, 1);
	return fixture_sync(fix, index, 1, 0);
}

static const struct break_case {
	const char *name;
	s64 (*break_it)(struct fixture *fix, u64 index);
	unsigned int mapped;
} break_cases[] = {
	{ "cleared", clear_one, 0 },
	{ "cleared, by UNMAP", clear_one_unmap, 0 },
	{ "cleared, by a list", clear_one_in_a_list, 0 },
	{ "other frame", other_frame, 1 },
	{ "other permission", other_permission, 1 },
	{ "no promise any more", no_promise, 1 },
	{ "cleared, slots changed", slots_change, 0 },
};

KUNIT_ARRAY_PARAM_DESC(break, break_cases, name);

static const unsigned int offsets[] = { 0, 1, 255, 256, 511 };

/* All of the leaf goes, and nothing else; what was named comes back small. */
static void broken_promise_takes_all(struct kunit *test)
{
	const struct break_case *c = test->param_value;
	struct fixture *fix = test->priv;
	unsigned int k, i, round = 0;

	for (k = 0; k < ARRAY_SIZE(kind_cases); k++) {
		be(fix, &kind_cases[k]);
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			u64 index = FIRST + offsets[i];

			map_unit(fix, RW);
			KUNIT_EXPECT_EQ(test, c->break_it(fix, index), 1);
			KUNIT_EXPECT_EQ(test, pinned(fix->ap), 8 + c->mapped);
			KUNIT_EXPECT_EQ(test, !!fixture_mapped(fix, index),
					c->mapped);
			expect_broken(fix, ++round);

			fixture_clear(fix, FIRST, PAGES);
			KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0),
					PAGES);
			KUNIT_EXPECT_EQ(test, pinned(fix->ap), 8);
		}
	}
}

/* One of a unit that is named as a whole: the others come back. */
static void rest_of_a_broken_unit_is_small(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned int i;

	be(fix, test->param_value);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		u64 index = FIRST + offsets[i];

		map_unit(fix, RW);
		fixture_clear(fix, index, 1);
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
		fixture_check_follows(fix, FIRST - 4, PAGES + 8);
		KUNIT_EXPECT_EQ(test, pinned(fix->ap), 8 + PAGES - 1);
		expect_broken(fix, i + 1);
		fixture_clear(fix, FIRST, PAGES);
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
	}
}

/* A refused entry is one that is cleared. */
static void refused_entry_takes_all(struct kunit *test)
{
	struct fixture *fix = test->priv;

	be(fix, test->param_value);
	map_unit(fix, RW);
	fixture_set(fix, FIRST + 7, FRAME(519, RW) | LARGE | BIT_ULL(5));
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), 7);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 8 + 7);
	expect_broken(fix, 1);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST + 7, 1, 0),
			PVIOMMU_RC_BAD_ENTRY);
}

/*
 * Promises that come to nothing.
 */
static s64 sync_unit(struct fixture *fix)
{
	return fixture_sync(fix, FIRST, PAGES, 0);
}

static s64 frames_not_aligned(struct fixture *fix)
{
	fixture_fill(fix, FIRST, 100, PAGES, RW | LARGE);
	return sync_unit(fix);
}

static s64 window_pages_not_aligned(struct fixture *fix)
{
	fixture_fill(fix, FIRST + 1, 512, PAGES, RW | LARGE);
	return fixture_sync(fix, FIRST + 1, PAGES, 0);
}

static s64 not_side_by_side(struct fixture *fix)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		fixture_set(fix, FIRST + i, ENTRY(FAKE_REVERSED, i, RW | LARGE));
	return sync_unit(fix);
}

static s64 frame_swapped(struct fixture *fix)
{
	fixture_set(fix, FIRST + 400, FRAME(512 + 401, RW | LARGE));
	fixture_set(fix, FIRST + 401, FRAME(512 + 400, RW | LARGE));
	return sync_unit(fix);
}

static s64 last_frame_elsewhere(struct fixture *fix)
{
	fixture_set(fix, FIRST + 511, FRAME(20, RW | LARGE));
	return sync_unit(fix);
}

static s64 not_promised_by_one(struct fixture *fix)
{
	fixture_set(fix, FIRST + 300, FRAME(512 + 300, RW));
	return sync_unit(fix);
}

static s64 not_promised_by_first(struct fixture *fix)
{
	fixture_set(fix, FIRST, FRAME(512, RW));
	return sync_unit(fix);
}

static s64 one_read_only(struct fixture *fix)
{
	fixture_set(fix, FIRST + 511, FRAME(512 + 511, R | LARGE));
	return sync_unit(fix);
}

static s64 one_is_mapped(struct fixture *fix)
{
	KUNIT_EXPECT_EQ(fix->test, fixture_sync(fix, FIRST + 77, 1, 0), 1);
	return sync_unit(fix);
}

static s64 in_two_halves(struct fixture *fix)
{
	KUNIT_EXPECT_EQ(fix->test, fixture_sync(fix, FIRST, 256, 0), 256);
	return fixture_sync(fix, FIRST + 256, 256, 0) == 256 ? PAGES : 0;
}

static s64 backwards_in_a_list(struct fixture *fix)
{
	return fixture_sync_ranges(fix, 0, { FIRST + 256, 256 }, { FIRST, 256 });
}

static s64 budget_of_511(struct fixture *fix)
{
	fix->ap->budget = 511;
	KUNIT_EXPECT_EQ(fix->test, sync_unit(fix), 511);
	fix->ap->budget = WINDOW_PAGES;
	return fixture_sync(fix, FIRST + 511, 1, 0) == 1 ? PAGES : 0;
}

static const struct small_case {
	const char *name;
	s64 (*sync)(struct fixture *fix);
	unsigned int first;
} small_cases[] = {
	{ "frames not aligned", frames_not_aligned, FIRST },
	{ "window pages not aligned", window_pages_not_aligned, FIRST + 1 },
	{ "memory not side by side", not_side_by_side, FIRST },
	{ "two frames swapped", frame_swapped, FIRST },
	{ "last frame elsewhere", last_frame_elsewhere, FIRST },
	{ "one does not promise", not_promised_by_one, FIRST },
	{ "the first does not promise", not_promised_by_first, FIRST },
	{ "one is read-only", one_read_only, FIRST },
	{ "one is mapped", one_is_mapped, FIRST },
	{ "in two halves", in_two_halves, FIRST },
	{ "backwards, in a list", backwards_in_a_list, FIRST },
	{ "budget of 511 pages", budget_of_511, FIRST },
};

KUNIT_ARRAY_PARAM_DESC(small, small_cases, name);

static void promise_without_a_large_leaf(struct kunit *test)
{
	const struct small_case *c = test->param_value;
	struct fixture *fix = test->priv;
	enum fake_kind kind;

	for (kind = 0; kind < FAKE_NR_KINDS; kind++) {
		fix->iommu.kind = kind;
		fixture_fill(fix, FIRST, 512, PAGES, RW | LARGE);
		KUNIT_EXPECT_EQ(test, c->sync(fix), PAGES);
		KUNIT_EXPECT_EQ(test, counted(fix->ap, large_mapped), 0);
		KUNIT_EXPECT_EQ(test, pinned(fix->ap), PAGES);
		if (c->sync != not_side_by_side)
			fixture_check_follows(fix, c->first, PAGES);

		/* Each goes alone. */
		fixture_clear(fix, c->first + 9, 1);
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, c->first + 9, 1, 0), 1);
		KUNIT_EXPECT_EQ(test, pinned(fix->ap), PAGES - 1);
		fixture_clear(fix, FIRST, PAGES + 1);
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
		KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST + PAGES, 1, 0), 1);
		KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 0);
	}
}

/* Frames are aligned, and the memory behind them is 2 MiB in a row, but not aligned. */
static void memory_of_a_unit_is_looked_at(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct kvm_memory_slot *slots = fix->fake.slots;
	unsigned int i;

	slots[FAKE_REVERSED].userspace_addr =
		slots[FAKE_RAM].userspace_addr + PAGE_SIZE;
	slots[FAKE_REVERSED].npages = FAKE_FRAMES - 1;
	for (i = 0; i < PAGES; i++)
		fixture_set(fix, FIRST + i, ENTRY(FAKE_REVERSED, i, RW | LARGE));
	KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_mapped), 0);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), PAGES);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, FIRST), FRAME(1, RW));
}

/* ... or only half of it is in a row. */
static void memory_of_both_halves_is_looked_at(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct kvm_memory_slot *slots = fix->fake.slots;
	unsigned long ram = slots[FAKE_RAM].userspace_addr;
	unsigned int i;

	slots[FAKE_REVERSED].userspace_addr = ram + 512 * PAGE_SIZE;
	slots[FAKE_REVERSED].npages = 256;
	slots[FAKE_READ_ONLY].userspace_addr = ram + 100 * PAGE_SIZE;
	slots[FAKE_READ_ONLY].npages = 256;
	slots[FAKE_READ_ONLY].base_gfn = FAKE_GFN(FAKE_REVERSED) + 256;
	slots[FAKE_READ_ONLY].flags = 0;
	fake_vm_new_generation(&fix->fake);
	for (i = 0; i < PAGES; i++)
		fixture_set(fix, FIRST + i, ENTRY(FAKE_REVERSED, i, RW | LARGE));
	KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_mapped), 0);
	KUNIT_EXPECT_EQ(test, fixture_mapped(fix, FIRST + 256), FRAME(100, RW));

	/* Both slots may have a part of it, if it is in a row. */
	slots[FAKE_READ_ONLY].userspace_addr = ram + (512 + 256) * PAGE_SIZE;
	fake_vm_new_generation(&fix->fake);
	KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
	fixture_clear(fix, FIRST, PAGES);
	KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
	for (i = 0; i < PAGES; i++)
		fixture_set(fix, FIRST + i, ENTRY(FAKE_REVERSED, i, RW | LARGE));
	KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 1);
}

/* A batch does not end in what is, or could be, a large leaf. */
static void batch_ends_before_a_unit(struct kunit *test)
{
	struct fixture *fix = test->priv;

	fixture_fill(fix, FIRST - 4, 100, 4, RW);
	fixture_fill(fix, FIRST, 512, PAGES, RW | LARGE);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST - 4, PAGES + 4, 0), 4);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 1);
	/* There is nothing to be split in what goes on to less. */
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST - 4, PAGES + 3, 0), 512);

	fixture_clear(fix, FIRST - 4, PAGES + 4);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST - 4, PAGES + 4, 0), 4);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, FIRST, PAGES, 0), PAGES);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 0);

	fixture_fill(fix, FIRST, 512, PAGES, RW | LARGE);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, 0, { 3, 2 },
						  { FIRST, PAGES }), 2);
	KUNIT_EXPECT_EQ(test, fixture_sync_ranges(fix, 0, { FIRST, PAGES },
						  { 3, 2 }), PAGES);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 1);

	/* Without a promise a batch is as long as it can be. */
	fixture_fill(fix, 1024, 0, 512, RW);
	KUNIT_EXPECT_EQ(test, fixture_sync(fix, 1020, 516, 0), 512);
}

/* One page of each of four takes out 2048. Not in one call. */
static void broken_promises_are_bounded(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		fixture_fill(fix, i * 512, i % 2 * 512, 512, RW | LARGE);
		KUNIT_ASSERT_EQ(test, fixture_sync(fix, i * 512, 512, 0), 512);
		fixture_clear(fix, i * 512 + 9 * i, 1);
	}
	KUNIT_ASSERT_EQ(test, counted(fix->ap, large), 4);
	KUNIT_EXPECT_EQ(test,
			fixture_sync_ranges(fix, 0, { 0, 1 }, { 521, 1 },
					    { 1042, 1 }, { 1563, 1 }), 2);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 2);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 1024);
	KUNIT_EXPECT_EQ(test,
			fixture_sync_ranges(fix, 0, { 1042, 1 }, { 1563, 1 }), 2);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 4);
}

/* Where small pages were, their empty table is taken out first. */
static void table_makes_room(struct kunit *test)
{
	const struct kind_case *c = test->param_value;
	struct fixture *fix = test->priv;
	unsigned int i;

	be(fix, c);
	for (i = 0; i < 2; i++) {
		fixture_fill(fix, FIRST + 9, 100, 3, RW);
		KUNIT_ASSERT_EQ(test, fixture_sync(fix, FIRST + 9, 3, 0), 3);
		fixture_clear(fix, FIRST + 9, 3);
		KUNIT_ASSERT_EQ(test, fixture_sync(fix, FIRST + 9, 3, 0), 3);

		fixture_fill(fix, FIRST, 512, PAGES, RW | LARGE);
		fixture_forget_calls(fix);
		KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
		KUNIT_EXPECT_STREQ(test, fixture_calls(fix),
				   "m512+1 u512+512 f512+512 m512+512");
		fixture_check_follows(fix, FIRST, PAGES);
		KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 1);

		/* Once is enough. */
		fixture_clear(fix, FIRST, PAGES);
		KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
		fixture_fill(fix, FIRST, 512, PAGES, RW | LARGE);
		fixture_forget_calls(fix);
		KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
		KUNIT_EXPECT_STREQ(test, fixture_calls(fix), "m512+512");
		fixture_clear(fix, FIRST, PAGES);
		KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
	}
}

/* Also in the steps that make room for it. */
static void failed_large_map_leaves_nothing(struct kunit *test)
{
	static const struct {
		bool table;
		unsigned int after;
	} steps[] = { { false, 0 }, { true, 0 }, { true, 1 }, { true, 100 } };
	const struct kind_case *c = test->param_value;
	struct fixture *fix = test->priv;
	unsigned int i;

	be(fix, c);
	fill_unit(fix, RW);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, FIRST - 4, 4, 0), 4);
	KUNIT_ASSERT_EQ(test, fixture_sync(fix, FIRST + PAGES, 4, 0), 4);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		/* Of one PTE not more than one can fail. */
		if (steps[i].after > 1 && !c->small_only)
			continue;
		if (steps[i].table) {
			KUNIT_ASSERT_EQ(test, fixture_sync(fix, FIRST, 1, 0), 1);
			fixture_clear(fix, FIRST, 1);
			KUNIT_ASSERT_EQ(test, fixture_sync(fix, FIRST, 1, 0), 1);
			fill_unit(fix, RW);
		}
		fix->iommu.fail_after = steps[i].after;
		fix->iommu.fail_err = -ENOMEM;
		KUNIT_EXPECT_EQ(test, sync_unit(fix), PVIOMMU_RC_NO_MEMORY);
		KUNIT_EXPECT_EQ(test, fix->iommu.fail_after, FAKE_NEVER);
		KUNIT_EXPECT_EQ(test, pinned(fix->ap), 8);
		expect_broken(fix, 0);
	}
	KUNIT_EXPECT_EQ(test, sync_unit(fix), PAGES);
	fixture_check_follows(fix, FIRST - 4, PAGES + 8);
}

/* As when the last device leaves: the domain goes, and then nothing is reached. */
static void abandon(struct fixture *fix)
{
	pviommu_aperture_lock(fix->ap);
	pviommu_group_last_left(fix->ap);
	KUNIT_EXPECT_TRUE(fix->test, fix->iommu.freed);
	pviommu_remove_abandoned(fix->ap);
	KUNIT_EXPECT_EQ(fix->test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(fix->test, counted(fix->ap, large), 0);
	pviommu_aperture_unlock(fix->ap);
}

static void leaf_that_does_not_go_stays_pinned(struct kunit *test)
{
	struct fixture *fix = test->priv;

	be(fix, test->param_value);
	map_unit(fix, RW);
	fix->iommu.stuck = FIRST;
	fix->iommu.holes_ok = true;
	fixture_clear(fix, FIRST + 5, 1);
	fixture_clear(fix, FIRST + PAGES, 1);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, FIRST + 4, 5, 0),
			PVIOMMU_RC_HOST_ERROR);
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, FIRST, PAGES,
						     PVIOMMU_SYNC_UNMAP),
			PVIOMMU_RC_HOST_ERROR);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), PAGES + 8);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 1);
	/* Another leaf's pages go. */
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, FIRST + PAGES, 1, 0),
			1);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), PAGES + 7);
	KUNIT_EXPECT_EQ(test, pviommu_aperture_disable(fix->ap),
			PVIOMMU_RC_HOST_ERROR);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), PAGES);
	abandon(fix);
}

/* When a map has failed, and its undoing, all of the leaf counts as mapped. */
static void failed_undo_of_a_leaf_stays_pinned(struct kunit *test)
{
	struct fixture *fix = test->priv;

	/* In small pages, since nothing is left of a large one that fails. */
	fix->iommu.small_only = true;
	fixture_fill(fix, FIRST, 512, PAGES, RW | LARGE);
	fix->iommu.fail_after = 5;
	fix->iommu.fail_err = -ENOMEM;
	fix->iommu.stuck = FIRST;
	fix->iommu.holes_ok = true;
	KUNIT_EXPECT_EQ(test, fixture_sync_unchecked(fix, FIRST, PAGES, 0),
			PVIOMMU_RC_NO_MEMORY);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), PAGES);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 1);
	fake_iommu_check(&fix->iommu);
	abandon(fix);
}

static void reset_takes_large_leaves(struct kunit *test)
{
	struct fixture *fix = test->priv;
	u64 pages = 0;

	be(fix, test->param_value);
	map_unit(fix, RW);
	KUNIT_EXPECT_EQ(test, pviommu_dirty_mark_mapped(fix->ap, &pages), 0);
	KUNIT_EXPECT_EQ(test, pages, PAGES + 8);
	pviommu_aperture_reset(fix->ap);
	fixture_check(fix);
	KUNIT_EXPECT_EQ(test, pinned(fix->ap), 0);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large), 0);
	KUNIT_EXPECT_EQ(test, counted(fix->ap, large_broken), 0);
}

/* Every page that a device could write, not only those that were named. */
static void all_of_a_leaf_is_dirty(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct kvm_memory_slot *slot = &fix->fake.slots[FAKE_RAM];

	slot->dirty_bitmap = kunit_kcalloc(test, BITS_TO_LONGS(slot->npages),
					   sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, slot->dirty_bitmap);
	slot->flags |= KVM_MEM_LOG_DIRTY_PAGES;

	fixture_fill(fix, FIRST, 512, PAGES, RW | LARGE);
	KUNIT_ASSERT_EQ(test, sync_unit(fix), PAGES);
	KUNIT_EXPECT_EQ(test, clear_one(fix, FIRST + 3), 1);
	KUNIT_EXPECT_EQ(test, bitmap_weight(slot->dirty_bitmap, FAKE_FRAMES),
			PAGES);
	KUNIT_EXPECT_EQ(test, find_first_bit(slot->dirty_bitmap, FAKE_FRAMES),
			512);
}

/* Returns the leaf they are in. */
static u64 random_entries(struct fixture *fix, struct rnd_state *rnd)
{
	u64 leaf = prandom_u32_state(rnd) % 4 * 512;
	u64 index = leaf + prandom_u32_state(rnd) % 512;
	u64 perm = prandom_u32_state(rnd) % 4 ? RW : R;
	unsigned int frame = prandom_u32_state(rnd) % 2 * 512;

	switch (prandom_u32_state(rnd) % 6) {
	case 0:
	case 1:
		fixture_fill(fix, leaf, frame, 512, perm | LARGE);
		break;
	case 2:
		fixture_clear(fix, leaf, 512);
		break;
	case 3:
		fixture_clear(fix, index, 1);
		break;
	case 4:
		fixture_set(fix, index, FRAME(frame + 7, perm));
		break;
	default:
		fixture_set(fix, index, FRAME(frame + index % 512, perm) | LARGE);
	}
	return leaf;
}

/* Whatever a guest says, and in whatever order: see fixture_check(). */
static void guests_promise_anything(struct kunit *test)
{
	const struct kind_case *c = test->param_value;
	struct fixture *fix = test->priv;
	struct pviommu_range ranges[3];
	struct rnd_state rnd;
	unsigned int i, j;
	u64 flags, leaf;
	s64 n;

	be(fix, c);
	prandom_seed_state(&rnd, 20);
	for (i = 0; i < 400; i++) {
		leaf = random_entries(fix, &rnd);
		flags = prandom_u32_state(&rnd) % 3 ? 0 : PVIOMMU_SYNC_UNMAP;
		for (j = 0; j < ARRAY_SIZE(ranges); j++) {
			ranges[j].first = prandom_u32_state(&rnd) % 1600;
			if (prandom_u32_state(&rnd) % 2)
				ranges[j].first &= ~511ULL;
			ranges[j].count = prandom_u32_state(&rnd) % 2 ? 512 :
					  prandom_u32_state(&rnd) % 448;
			if (ranges[j].first > WINDOW_PAGES - 512)
				ranges[j].count = 1;
		}
		if (prandom_u32_state(&rnd) % 2)
			n = fixture_sync(fix, leaf, 512, flags);
		else
			n = fixture_sync_list(fix, ranges, 3, flags);
		KUNIT_ASSERT_GE_MSG(test, n, PVIOMMU_RC_RETRY, "step %u", i);
		if (fix->iommu.wrong)
			return;
	}
	KUNIT_EXPECT_GT(test, counted(fix->ap, large_mapped), 20);
	KUNIT_EXPECT_GT(test, counted(fix->ap, large_broken), 10);
}

static struct kunit_case large_page_tests[] = {
	KUNIT_CASE_PARAM(part_of_2m_goes_alone, large_gen_params),
	KUNIT_CASE(domain_has_two_page_sizes),
	KUNIT_CASE_PARAM(large_leaves_have_conditions, takes_gen_params),
	KUNIT_CASE_PARAM(unit_is_one_leaf, kind_gen_params),
	KUNIT_CASE_PARAM(broken_promise_takes_all, break_gen_params),
	KUNIT_CASE_PARAM(rest_of_a_broken_unit_is_small, kind_gen_params),
	KUNIT_CASE_PARAM(refused_entry_takes_all, kind_gen_params),
	KUNIT_CASE_PARAM(promise_without_a_large_leaf, small_gen_params),
	KUNIT_CASE(memory_of_a_unit_is_looked_at),
	KUNIT_CASE(memory_of_both_halves_is_looked_at),
	KUNIT_CASE(batch_ends_before_a_unit),
	KUNIT_CASE(broken_promises_are_bounded),
	KUNIT_CASE_PARAM(table_makes_room, kind_gen_params),
	KUNIT_CASE_PARAM(failed_large_map_leaves_nothing, kind_gen_params),
	KUNIT_CASE_PARAM(leaf_that_does_not_go_stays_pinned, kind_gen_params),
	KUNIT_CASE(failed_undo_of_a_leaf_stays_pinned),
	KUNIT_CASE_PARAM(reset_takes_large_leaves, kind_gen_params),
	KUNIT_CASE(all_of_a_leaf_is_dirty),
	KUNIT_CASE_PARAM(guests_promise_anything, kind_gen_params),
	{}
};

static struct kunit_suite large_page_suite = {
	.name = "kvm_pviommu_large_page",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = large_page_tests,
};

kunit_test_suite(large_page_suite);
