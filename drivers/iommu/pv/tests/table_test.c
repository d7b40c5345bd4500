// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table as memory: entries, leaves, and which removals are to be told.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/io.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "pviommu.h"

#define RAM	0x200000UL
#define ACCESS	(PVIOMMU_ENTRY_READ | PVIOMMU_ENTRY_WRITE)

/* Two whole leaves, and one of which the window covers a part. */
#define NR_PAGES	1200
#define NR_LEAVES	3

static int table_init(struct kunit *test)
{
	struct pviommu_table *table = kunit_kzalloc(test, sizeof(*table),
						    GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, table);
	KUNIT_ASSERT_EQ(test, pviommu_table_init(table, NR_PAGES), 0);
	test->priv = table;
	return 0;
}

static void table_exit(struct kunit *test)
{
	if (test->priv)
		pviommu_table_destroy(test->priv);
}

static u64 entry(const struct pviommu_table *table, u64 page)
{
	u64 gpa = le64_to_cpu(table->directory[page / PVIOMMU_ENTRIES_PER_LEAF]);

	if (!gpa)
		return 0;
	return le64_to_cpu(((__le64 *)phys_to_virt(gpa))
			   [page % PVIOMMU_ENTRIES_PER_LEAF]);
}

static unsigned int leaves(const struct pviommu_table *table)
{
	unsigned int i, mask = 0;

	for (i = 0; i < NR_LEAVES; i++)
		if (table->directory[i])
			mask |= BIT(i);
	return mask;
}

static void map(struct kunit *test, u64 first, u64 count)
{
	u64 mapped;

	KUNIT_ASSERT_EQ(test, pviommu_table_map(test->priv, first, count, RAM,
						ACCESS, GFP_KERNEL, &mapped), 0);
}

static const struct size_case {
	const char *name;
	u64 nr_pages;
	unsigned long nr_leaves;
} size_cases[] = {
	{ "one page", 1, 1 },
	{ "one less than a leaf", 511, 1 },
	{ "a leaf", 512, 1 },
	{ "one more than a leaf", 513, 2 },
	{ "one directory page", 512 * 512, 512 },
	{ "two directory pages", 512 * 512 + 1, 513 },
};

KUNIT_ARRAY_PARAM_DESC(size, size_cases, name);

static void table_size(struct kunit *test)
{
	const struct size_case *param = test->param_value;
	struct pviommu_table table = {};
	unsigned long i;
	u64 mapped;

	KUNIT_ASSERT_EQ(test, pviommu_table_init(&table, param->nr_pages), 0);
	KUNIT_EXPECT_EQ(test, table.nr_pages, param->nr_pages);
	KUNIT_EXPECT_EQ(test, table.nr_leaves, param->nr_leaves);
	KUNIT_EXPECT_EQ(test, pviommu_table_gpa(&table),
			virt_to_phys(table.directory));
	KUNIT_EXPECT_EQ(test, pviommu_table_gpa(&table) % PVIOMMU_PAGE_SIZE, 0);
	for (i = 0; i < table.nr_leaves; i++)
		KUNIT_EXPECT_EQ(test, le64_to_cpu(table.directory[i]), 0);

	KUNIT_EXPECT_EQ(test,
			pviommu_table_map(&table, param->nr_pages - 1, 1, RAM,
					  ACCESS, GFP_KERNEL, &mapped), 0);
	KUNIT_EXPECT_EQ(test, pviommu_table_lookup(&table, param->nr_pages - 1),
			RAM);
	pviommu_table_destroy(&table);
}

static const struct map_case {
	const char *name;
	u64 first;
	u64 count;
	unsigned int leaves;
} map_cases[] = {
	{ "first page", 0, 1, 0x1 },
	{ "last of a leaf", 511, 1, 0x1 },
	{ "first of a leaf", 512, 1, 0x2 },
	{ "across two leaves", 510, 4, 0x3 },
	{ "a whole leaf", 512, 512, 0x2 },
	{ "across three leaves", 500, 600, 0x7 },
	{ "last page", 1199, 1, 0x4 },
	{ "whole window", 0, 1200, 0x7 },
};

KUNIT_ARRAY_PARAM_DESC(map, map_cases, name);

static void table_map(struct kunit *test)
{
	const struct map_case *param = test->param_value;
	struct pviommu_table *table = test->priv;
	u64 page, mapped = 0;

	KUNIT_ASSERT_EQ(test,
			pviommu_table_map(table, param->first, param->count,
					  RAM, ACCESS, GFP_KERNEL, &mapped), 0);
	KUNIT_EXPECT_EQ(test, mapped, param->count);
	KUNIT_EXPECT_EQ(test, leaves(table), param->leaves);

	for (page = 0; page < NR_PAGES; page++) {
		u64 index = page - param->first;
		u64 gpa = index < param->count ? RAM + index * PAGE_SIZE : 0;

		KUNIT_ASSERT_EQ(test, entry(table, page), gpa ? gpa | ACCESS : 0);
		KUNIT_ASSERT_EQ(test, pviommu_table_lookup(table, page), gpa);
	}

	/* And away with it: nothing is left but the leaves. */
	KUNIT_EXPECT_EQ(test,
			pviommu_table_unmap(table, param->first, param->count),
			param->count);
	for (page = 0; page < NR_PAGES; page++)
		KUNIT_ASSERT_EQ(test, entry(table, page), 0);
	KUNIT_EXPECT_EQ(test, leaves(table), param->leaves);
}

static void table_map_access(struct kunit *test)
{
	struct pviommu_table *table = test->priv;
	u64 mapped;

	pviommu_table_map(table, 1, 1, RAM, PVIOMMU_ENTRY_READ, GFP_KERNEL,
			  &mapped);
	pviommu_table_map(table, 2, 1, RAM, PVIOMMU_ENTRY_WRITE, GFP_KERNEL,
			  &mapped);
	KUNIT_EXPECT_EQ(test, entry(table, 1), RAM | PVIOMMU_ENTRY_READ);
	KUNIT_EXPECT_EQ(test, entry(table, 2), RAM | PVIOMMU_ENTRY_WRITE);
}

static const struct exist_case {
	const char *name;
	u64 taken;
	u64 first;
	u64 count;
} exist_cases[] = {
	{ "first of the range", 7, 7, 3 },
	{ "middle of the range", 8, 7, 3 },
	{ "last of the range", 9, 7, 3 },
	{ "behind a leaf's end", 513, 510, 8 },
};

KUNIT_ARRAY_PARAM_DESC(exist, exist_cases, name);

static void table_exist(struct kunit *test)
{
	const struct exist_case *param = test->param_value;
	struct pviommu_table *table = test->priv;
	u64 mapped = ~0ULL;

	map(test, param->taken, 1);
	KUNIT_EXPECT_EQ(test,
			pviommu_table_map(table, param->first, param->count,
					  2 * RAM, ACCESS, GFP_KERNEL, &mapped),
			-EEXIST);
	KUNIT_EXPECT_EQ(test, mapped, param->taken - param->first);
	KUNIT_EXPECT_EQ(test, pviommu_table_lookup(table, param->taken), RAM);
	KUNIT_EXPECT_EQ(test, pviommu_table_lookup(table, param->taken + 1), 0);
}

static const struct unmap_case {
	const char *name;
	u64 mapped_first;
	u64 mapped_count;
	u64 first;
	u64 count;
	u64 unmapped;
} unmap_cases[] = {
	{ "no leaf", 0, 1, 600, 4, 0 },
	{ "hole at the start", 10, 4, 9, 4, 0 },
	{ "hole at the end", 10, 4, 12, 4, 2 },
	{ "the front", 10, 4, 10, 2, 2 },
	{ "the back", 10, 4, 13, 1, 1 },
	{ "across leaves", 500, 600, 500, 600, 600 },
	{ "up to a missing leaf", 510, 2, 510, 4, 2 },
	{ "last page", 1199, 1, 1199, 1, 1 },
};

KUNIT_ARRAY_PARAM_DESC(unmap, unmap_cases, name);

static void table_unmap(struct kunit *test)
{
	const struct unmap_case *param = test->param_value;
	struct pviommu_table *table = test->priv;
	unsigned int before;
	u64 i;

	map(test, param->mapped_first, param->mapped_count);
	before = leaves(table);
	KUNIT_EXPECT_EQ(test,
			pviommu_table_unmap(table, param->first, param->count),
			param->unmapped);
	for (i = 0; i < param->mapped_count; i++) {
		u64 page = param->mapped_first + i;
		bool gone = page >= param->first &&
			    page < param->first + param->unmapped;

		KUNIT_ASSERT_EQ(test, entry(table, page),
				gone ? 0 : (RAM + i * PAGE_SIZE) | ACCESS);
	}
	KUNIT_EXPECT_EQ(test, leaves(table), before);
}

static void table_leaf_stays(struct kunit *test)
{
	struct pviommu_table *table = test->priv;
	__le64 leaf;

	map(test, 0, 512);
	leaf = table->directory[0];
	pviommu_table_unmap(table, 0, 512);
	map(test, 0, 1);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(table->directory[0]),
			le64_to_cpu(leaf));
}

static const struct used_case {
	const char *name;
	u64 pages[3];
	unsigned int nr_pages;
	struct pviommu_range runs[3];
	unsigned int nr_runs;
} used_cases[] = {
	{ "nothing", {}, 0, {}, 0 },
	{ "first leaf", { 3 }, 1, { { 0, 512 } }, 1 },
	{ "middle leaf", { 600 }, 1, { { 512, 512 } }, 1 },
	{ "last leaf, cut off", { 1199 }, 1, { { 1024, 176 } }, 1 },
	{ "two apart", { 0, 1024 }, 2, { { 0, 512 }, { 1024, 176 } }, 2 },
	{ "two together", { 0, 512 }, 2, { { 0, 1024 } }, 1 },
	{ "all", { 0, 512, 1024 }, 3, { { 0, 1200 } }, 1 },
};

KUNIT_ARRAY_PARAM_DESC(used, used_cases, name);

static void table_next_used(struct kunit *test)
{
	const struct used_case *param = test->param_value;
	struct pviommu_range range = {};
	unsigned int i;

	for (i = 0; i < param->nr_pages; i++)
		map(test, param->pages[i], 1);

	for (i = 0; i < param->nr_runs; i++) {
		KUNIT_ASSERT_TRUE(test,
				  pviommu_table_next_used(test->priv, &range));
		KUNIT_EXPECT_EQ(test, range.first, param->runs[i].first);
		KUNIT_EXPECT_EQ(test, range.count, param->runs[i].count);
		/* A sync advances it, and the search goes on all the same. */
		if (i % 2) {
			range.first += range.count;
			range.count = 0;
		}
	}
	KUNIT_EXPECT_FALSE(test, pviommu_table_next_used(test->priv, &range));
}

#define MAX_MARKS	4

static const struct dirty_case {
	const char *name;
	unsigned int max;
	struct pviommu_range marks[MAX_MARKS];
	struct pviommu_range collected[MAX_MARKS];
} dirty_cases[] = {
	{ "nothing", 8, {}, {} },
	{ "one page", 8, { { 5, 1 } }, { { 5, 1 } } },
	{ "last of a word", 8, { { 63, 1 } }, { { 63, 1 } } },
	{ "first of a word", 8, { { 64, 1 } }, { { 64, 1 } } },
	{ "across words", 8, { { 60, 8 } }, { { 60, 8 } } },
	{ "a whole word", 8, { { 64, 64 } }, { { 64, 64 } } },
	{ "last of a leaf", 8, { { 511, 1 } }, { { 511, 1 } } },
	{ "across leaves", 8, { { 510, 4 } }, { { 510, 4 } } },
	{ "a leaf and more", 8, { { 400, 700 } }, { { 400, 700 } } },
	{ "whole window", 8, { { 0, 1200 } }, { { 0, 1200 } } },
	{ "last page", 8, { { 1199, 1 } }, { { 1199, 1 } } },
	{ "neighbours become one", 8, { { 5, 2 }, { 7, 3 } }, { { 5, 5 } } },
	{ "any order", 8, { { 700, 1 }, { 5, 1 } }, { { 5, 1 }, { 700, 1 } } },
	{ "twice the same", 8, { { 5, 2 }, { 6, 2 } }, { { 5, 3 } } },
	{ "just enough room", 2, { { 1, 1 }, { 3, 1 } },
	  { { 1, 1 }, { 3, 1 } } },
	{ "one too many in a word", 2, { { 1, 1 }, { 3, 1 }, { 5, 1 } },
	  { { 1, 1 }, { 3, 1 }, { 5, 1 } } },
	{ "one too many in a leaf", 1, { { 1, 1 }, { 300, 1 }, { 305, 2 } },
	  { { 1, 1 }, { 300, 1 }, { 305, 2 } } },
	{ "one too many leaves", 1, { { 1, 1 }, { 600, 1 }, { 1199, 1 } },
	  { { 1, 1 }, { 600, 1 }, { 1199, 1 } } },
	{ "no room, but it goes on", 1, { { 63, 1 }, { 64, 1 }, { 66, 1 } },
	  { { 63, 2 }, { 66, 1 } } },
};

KUNIT_ARRAY_PARAM_DESC(dirty, dirty_cases, name);

static void table_collect(struct kunit *test)
{
	const struct dirty_case *param = test->param_value;
	struct pviommu_range ranges[8];
	unsigned int i, nr, at = 0;
	unsigned long leaf = 0;

	for (i = 0; i < MAX_MARKS && param->marks[i].count; i++)
		pviommu_table_mark_dirty(test->priv, param->marks[i].first,
					 param->marks[i].count);

	for (;;) {
		nr = pviommu_table_collect_dirty(test->priv, &leaf, ranges,
						 param->max);
		if (!nr)
			break;
		KUNIT_ASSERT_LE(test, nr, param->max);
		for (i = 0; i < nr; i++, at++) {
			KUNIT_ASSERT_LT(test, at, MAX_MARKS);
			KUNIT_EXPECT_EQ(test, ranges[i].first,
					param->collected[at].first);
			KUNIT_EXPECT_EQ(test, ranges[i].count,
					param->collected[at].count);
		}
	}
	KUNIT_EXPECT_TRUE(test, at == MAX_MARKS ||
			  !param->collected[at].count);

	leaf = 0;
	KUNIT_EXPECT_EQ(test,
			pviommu_table_collect_dirty(test->priv, &leaf, ranges,
						    8), 0);
}

/* Every other page of the window, with every size of buffer that matters. */
static void table_collect_bounded(struct kunit *test)
{
	static const unsigned int max[] = { 1, 31, 32, 33, 256, 599, 600, 601 };
	struct pviommu_range *ranges;
	unsigned int i, j;

	ranges = kunit_kcalloc(test, 601, sizeof(*ranges), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ranges);

	for (i = 0; i < ARRAY_SIZE(max); i++) {
		unsigned int nr, total = 0, calls = 0;
		unsigned long leaf = 0;

		for (j = 0; j < NR_PAGES; j += 2)
			pviommu_table_mark_dirty(test->priv, j, 1);
		while ((nr = pviommu_table_collect_dirty(test->priv, &leaf,
							 ranges, max[i]))) {
			KUNIT_ASSERT_LE(test, nr, max[i]);
			for (j = 0; j < nr; j++, total++) {
				KUNIT_ASSERT_EQ(test, ranges[j].first,
						2 * total);
				KUNIT_ASSERT_EQ(test, ranges[j].count, 1);
			}
			calls++;
		}
		KUNIT_EXPECT_EQ(test, total, NR_PAGES / 2);
		KUNIT_EXPECT_EQ(test, calls, DIV_ROUND_UP(total, max[i]));
	}
}

/* What is noted during a pass is not lost, wherever it is. */
static void table_collect_meanwhile(struct kunit *test)
{
	struct pviommu_range ranges[4];
	unsigned long leaf = 0;
	unsigned int nr;

	pviommu_table_mark_dirty(test->priv, 600, 1);
	pviommu_table_mark_dirty(test->priv, 602, 1);
	nr = pviommu_table_collect_dirty(test->priv, &leaf, ranges, 1);
	KUNIT_ASSERT_EQ(test, nr, 1);
	KUNIT_EXPECT_EQ(test, ranges[0].first, 600);

	pviommu_table_mark_dirty(test->priv, 1, 1);
	pviommu_table_mark_dirty(test->priv, 520, 1);
	pviommu_table_mark_dirty(test->priv, 1100, 1);
	nr = pviommu_table_collect_dirty(test->priv, &leaf, ranges, 4);
	KUNIT_ASSERT_EQ(test, nr, 3);
	KUNIT_EXPECT_EQ(test, ranges[0].first, 520);
	KUNIT_EXPECT_EQ(test, ranges[1].first, 602);
	KUNIT_EXPECT_EQ(test, ranges[2].first, 1100);

	leaf = 0;
	nr = pviommu_table_collect_dirty(test->priv, &leaf, ranges, 4);
	KUNIT_ASSERT_EQ(test, nr, 1);
	KUNIT_EXPECT_EQ(test, ranges[0].first, 1);
}

struct other_cpu {
	struct work_struct work;
	struct pviommu_table *table;
	int err;
};

static void map_and_remove_odd(struct work_struct *work)
{
	struct other_cpu *other = container_of(work, struct other_cpu, work);
	u64 page, mapped;

	for (page = 1; page < NR_PAGES && !other->err; page += 2)
		other->err = pviommu_table_map(other->table, page, 1, RAM,
					       ACCESS, GFP_KERNEL, &mapped);
	for (page = 1; page < NR_PAGES; page += 2) {
		pviommu_table_unmap(other->table, page, 1);
		pviommu_table_mark_dirty(other->table, page, 1);
	}
}

/* Adds what is collected in a pass to @seen; each page comes once. */
static void collect_into(struct kunit *test, struct pviommu_table *table,
			 unsigned long *seen)
{
	struct pviommu_range ranges[16];
	unsigned long leaf = 0;
	unsigned int i, nr;

	while ((nr = pviommu_table_collect_dirty(table, &leaf, ranges, 16))) {
		for (i = 0; i < nr; i++) {
			KUNIT_EXPECT_EQ(test, ranges[i].count, 1);
			KUNIT_EXPECT_FALSE(test, test_and_set_bit(ranges[i].first,
								  seen));
		}
	}
}

/* Owners of neighbouring pages need no lock, nor does a collector. */
static void table_concurrent(struct kunit *test)
{
	DECLARE_BITMAP(seen, NR_PAGES);
	unsigned int round;
	u64 page, mapped;

	for (round = 0; round < 20; round++) {
		struct pviommu_table table = {};
		struct other_cpu other = { .table = &table };

		KUNIT_ASSERT_EQ(test, pviommu_table_init(&table, NR_PAGES), 0);
		bitmap_zero(seen, NR_PAGES);
		INIT_WORK_ONSTACK(&other.work, map_and_remove_odd);
		queue_work(system_unbound_wq, &other.work);
		for (page = 0; page < NR_PAGES; page += 2)
			KUNIT_EXPECT_EQ(test,
					pviommu_table_map(&table, page, 1, RAM,
							  ACCESS, GFP_KERNEL,
							  &mapped), 0);
		while (work_busy(&other.work)) {
			collect_into(test, &table, seen);
			cond_resched();
		}
		flush_work(&other.work);
		destroy_work_on_stack(&other.work);
		collect_into(test, &table, seen);

		KUNIT_EXPECT_EQ(test, other.err, 0);
		for (page = 0; page < NR_PAGES; page++) {
			KUNIT_EXPECT_EQ(test, test_bit(page, seen), page % 2);
			KUNIT_EXPECT_EQ(test, pviommu_table_lookup(&table, page),
					page % 2 ? 0 : RAM);
		}
		pviommu_table_destroy(&table);
	}
}

static struct kunit_case table_cases[] = {
	KUNIT_CASE_PARAM(table_size, size_gen_params),
	KUNIT_CASE_PARAM(table_map, map_gen_params),
	KUNIT_CASE(table_map_access),
	KUNIT_CASE_PARAM(table_exist, exist_gen_params),
	KUNIT_CASE_PARAM(table_unmap, unmap_gen_params),
	KUNIT_CASE(table_leaf_stays),
	KUNIT_CASE_PARAM(table_next_used, used_gen_params),
	KUNIT_CASE_PARAM(table_collect, dirty_gen_params),
	KUNIT_CASE(table_collect_bounded),
	KUNIT_CASE(table_collect_meanwhile),
	KUNIT_CASE(table_concurrent),
	{}
};

static struct kunit_suite table_suite = {
	.name = "pviommu_table",
	.init = table_init,
	.exit = table_exit,
	.test_cases = table_cases,
};

kunit_test_suite(table_suite);
