// SPDX-License-Identifier: GPL-2.0-only
/*
 * The remapping table as guest memory: directory, leaves, entries, and which
 * entries were removed without the host having been told yet.
 */
#include <linux/align.h>
#include <linux/bitmap.h>
#include <linux/find.h>
#include <linux/io.h>
#include <linux/math.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "pviommu.h"

static size_t directory_size(const struct pviommu_table *table)
{
	return table->nr_leaves * sizeof(*table->directory);
}

static __le64 *leaf_get_or_alloc(struct pviommu_table *table,
				 unsigned long index, gfp_t gfp)
{
	__le64 *leaf = pviommu_table_leaf(table, index);

	if (leaf)
		return leaf;

	leaf = (__le64 *)get_zeroed_page(gfp);
	if (!leaf)
		return NULL;

	/* Full barrier on success: nobody finds the leaf before its zeroes. */
	if (cmpxchg(&table->directory[index], 0,
		    cpu_to_le64(virt_to_phys(leaf)))) {
		free_page((unsigned long)leaf);
		leaf = pviommu_table_leaf(table, index);
	}
	return leaf;
}

/**
 * pviommu_table_entry_or_alloc() - where an entry is, or will be
 * @table: the table
 * @page: window page, inside the window
 * @gfp: for its leaf, if that is not there yet
 *
 * Context: Any that @gfp allows.
 * Return: the entry, or NULL without memory.
 */
__le64 *pviommu_table_entry_or_alloc(struct pviommu_table *table, u64 page,
				     gfp_t gfp)
{
	__le64 *leaf = leaf_get_or_alloc(table, page / PVIOMMU_ENTRIES_PER_LEAF,
					 gfp);

	return leaf ? leaf + page % PVIOMMU_ENTRIES_PER_LEAF : NULL;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_entry_or_alloc);

/**
 * pviommu_table_init() - make an empty table
 * @table: zeroed by the caller
 * @nr_pages: window pages to cover, 1 to PVIOMMU_MAX_PAGES
 *
 * Context: May sleep.
 * Return: 0 or -ENOMEM. On failure nothing needs to be undone.
 */
int pviommu_table_init(struct pviommu_table *table, u64 nr_pages)
{
	table->nr_pages = nr_pages;
	table->nr_leaves = DIV_ROUND_UP_ULL(nr_pages, PVIOMMU_ENTRIES_PER_LEAF);

	table->directory = alloc_pages_exact(directory_size(table),
					     GFP_KERNEL | __GFP_ZERO);
	table->dirty = kvcalloc(table->nr_leaves, sizeof(*table->dirty),
				GFP_KERNEL);
	table->dirty_leaves = bitmap_zalloc(table->nr_leaves, GFP_KERNEL);
	if (!table->directory || !table->dirty || !table->dirty_leaves) {
		pviommu_table_destroy(table);
		return -ENOMEM;
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_init);

/**
 * pviommu_table_destroy() - free a table and its leaves
 * @table: one that the host does not follow, complete or half made
 *
 * Context: May sleep.
 */
void pviommu_table_destroy(struct pviommu_table *table)
{
	unsigned long i;

	bitmap_free(table->dirty_leaves);
	kvfree(table->dirty);
	if (!table->directory)
		return;

	for (i = 0; i < table->nr_leaves; i++)
		free_page((unsigned long)pviommu_table_leaf(table, i));
	free_pages_exact(table->directory, directory_size(table));
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_destroy);

/**
 * pviommu_table_gpa() - where the host finds the table
 * @table: the table
 *
 * Return: GPA of the directory, page aligned.
 */
phys_addr_t pviommu_table_gpa(const struct pviommu_table *table)
{
	return virt_to_phys(table->directory);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_gpa);

/**
 * pviommu_table_map() - write entries; the host is not told
 * @table: the table
 * @first: first window page, owned by the caller and unmapped
 * @count: number of pages; all of them lie in the window
 * @paddr: GPA behind @first, page aligned; the rest follows contiguously
 * @access: PVIOMMU_ENTRY_READ, PVIOMMU_ENTRY_WRITE or both; PVIOMMU_ENTRY_LARGE if
 *	the pages are units, @first, @count and the frame multiples of 512
 * @gfp: for leaves that are not there yet
 * @mapped: how many pages were mapped, also on failure; never a part of a unit
 *
 * Context: Any that @gfp allows.
 * Return: 0, -ENOMEM without memory for a leaf, or -EEXIST if a page is mapped.
 */
int pviommu_table_map(struct pviommu_table *table, u64 first, u64 count,
		      phys_addr_t paddr, u64 access, gfp_t gfp, u64 *mapped)
{
	__le64 *leaf = NULL;
	u64 done;

	for (done = 0; done < count; done++) {
		u64 page = first + done;
		unsigned int slot = page % PVIOMMU_ENTRIES_PER_LEAF;

		*mapped = done;
		if (!leaf || !slot)
			leaf = leaf_get_or_alloc(table,
						 page / PVIOMMU_ENTRIES_PER_LEAF,
						 gfp);
		if (!leaf)
			return -ENOMEM;
		if (access & PVIOMMU_ENTRY_LARGE) {
			if (!slot && memchr_inv(leaf, 0, PVIOMMU_PAGE_SIZE))
				return -EEXIST;
		} else if (leaf[slot]) {
			return -EEXIST;
		}

		WRITE_ONCE(leaf[slot], cpu_to_le64(paddr | access));
		paddr += PVIOMMU_PAGE_SIZE;
	}

	*mapped = count;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_map);

static bool is_large(const struct pviommu_table *table, u64 page)
{
	__le64 *leaf = pviommu_table_leaf(table, page / PVIOMMU_ENTRIES_PER_LEAF);

	return leaf && READ_ONCE(leaf[page % PVIOMMU_ENTRIES_PER_LEAF]) &
		       cpu_to_le64(PVIOMMU_ENTRY_LARGE);
}

/**
 * pviommu_table_whole_units() - extend a range to the units it is in
 * @table: the table
 * @range: window pages, owned by the caller; not empty. Those in front and behind that
 *	are of the same unit as the first and the last are added.
 *
 * Units are set and cleared as one: the host was promised that.
 *
 * Context: Any.
 */
void pviommu_table_whole_units(const struct pviommu_table *table,
			       struct pviommu_range *range)
{
	u64 end = range->first + range->count;

	if (is_large(table, range->first))
		range->first = round_down(range->first,
					  PVIOMMU_ENTRIES_PER_LEAF);
	if (is_large(table, end - 1))
		end = round_up(end, PVIOMMU_ENTRIES_PER_LEAF);
	range->count = end - range->first;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_whole_units);

/**
 * pviommu_table_unmap() - clear entries; the host is not told
 * @table: the table
 * @first: first window page, owned by the caller
 * @count: number of pages; all of them lie in the window, whole units if they are in
 *	some
 *
 * Context: Any.
 * Return: pages cleared from @first on. Less than @count only if the next one
 * was not mapped.
 */
u64 pviommu_table_unmap(struct pviommu_table *table, u64 first, u64 count)
{
	__le64 *leaf = NULL;
	u64 done;

	for (done = 0; done < count; done++) {
		u64 page = first + done;
		unsigned int slot = page % PVIOMMU_ENTRIES_PER_LEAF;

		if (!leaf || !slot)
			leaf = pviommu_table_leaf(table, page / PVIOMMU_ENTRIES_PER_LEAF);
		if (!leaf || !leaf[slot])
			break;

		WRITE_ONCE(leaf[slot], 0);
	}
	return done;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_unmap);

/**
 * pviommu_table_lookup() - read one entry
 * @table: the table
 * @page: window page, inside the window
 *
 * Context: Any.
 * Return: GPA of the page behind @page, or 0 if it is not mapped.
 */
phys_addr_t pviommu_table_lookup(const struct pviommu_table *table, u64 page)
{
	__le64 *leaf = pviommu_table_leaf(table, page / PVIOMMU_ENTRIES_PER_LEAF);

	if (!leaf)
		return 0;
	return le64_to_cpu(READ_ONCE(leaf[page % PVIOMMU_ENTRIES_PER_LEAF])) &
	       PVIOMMU_ENTRY_GFN;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_lookup);

/**
 * pviommu_table_next_used() - find the next run of window pages with leaves
 * @table: the table
 * @range: the search starts at its end; filled in with the run. Zeroed for the
 *	first call, as the last call left it (or advanced to its end) thereafter.
 *
 * Context: Any. A leaf that appears meanwhile may be missed.
 * Return: false if there is none.
 */
bool pviommu_table_next_used(const struct pviommu_table *table,
			     struct pviommu_range *range)
{
	unsigned long from = DIV_ROUND_UP_ULL(range->first + range->count,
					      PVIOMMU_ENTRIES_PER_LEAF);
	unsigned long to;

	while (from < table->nr_leaves && !pviommu_table_leaf(table, from))
		from++;
	if (from >= table->nr_leaves)
		return false;

	for (to = from + 1; to < table->nr_leaves; to++)
		if (!pviommu_table_leaf(table, to))
			break;

	range->first = (u64)from * PVIOMMU_ENTRIES_PER_LEAF;
	range->count = min((u64)to * PVIOMMU_ENTRIES_PER_LEAF,
			   table->nr_pages) - range->first;
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_next_used);

/**
 * pviommu_table_mark_dirty() - note removals that the host is to hear of later
 * @table: the table
 * @first: first window page; its entry and those that follow are cleared
 * @count: number of pages
 *
 * Context: Any; also while another CPU collects.
 */
void pviommu_table_mark_dirty(struct pviommu_table *table, u64 first, u64 count)
{
	u64 end = first + count;

	/* Whoever sees a dirty bit makes the host see the cleared entry. */
	smp_mb__before_atomic();

	while (first < end) {
		unsigned long leaf = first / PVIOMMU_ENTRIES_PER_LEAF;
		unsigned int slot = first % PVIOMMU_ENTRIES_PER_LEAF;
		unsigned int bit = slot % BITS_PER_LONG;
		unsigned int n = min_t(u64, end - first, BITS_PER_LONG - bit);

		atomic_long_or(GENMASK(bit + n - 1, bit),
			       &table->dirty[leaf].words[slot / BITS_PER_LONG]);
		/*
		 * Pairs with collect_dirty(), which clears the leaf's bit before
		 * it takes the words: one of the two sees the other.
		 */
		smp_mb__after_atomic();
		if (!test_bit(leaf, table->dirty_leaves))
			set_bit(leaf, table->dirty_leaves);
		first += n;
	}
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_mark_dirty);

/**
 * pviommu_table_nr_dirty() - count pages that were removed without the host's knowledge
 * @table: the table
 *
 * Context: Any. Of what changes meanwhile some is counted and some not.
 * Return: pages.
 */
u64 pviommu_table_nr_dirty(const struct pviommu_table *table)
{
	unsigned long leaf;
	unsigned int i;
	u64 pages = 0;

	for_each_set_bit(leaf, table->dirty_leaves, table->nr_leaves)
		for (i = 0; i < PVIOMMU_DIRTY_WORDS; i++)
			pages += hweight_long(atomic_long_read(&table->dirty[leaf].words[i]));
	return pages;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_nr_dirty);

/*
 * Appends what @bits say of the window pages from @page on. Returns the bits
 * that found no room.
 */
static unsigned long append_ranges(unsigned long bits, u64 page,
				   struct pviommu_range *ranges,
				   unsigned int max, unsigned int *nr)
{
	unsigned long start, end;

	for_each_set_bitrange(start, end, &bits, BITS_PER_LONG) {
		struct pviommu_range *prev = *nr ? &ranges[*nr - 1] : NULL;

		if (prev && prev->first + prev->count == page + start) {
			prev->count += end - start;
		} else if (*nr < max) {
			ranges[*nr].first = page + start;
			ranges[*nr].count = end - start;
			(*nr)++;
		} else {
			return bits & (~0UL << start);
		}
	}
	return 0;
}

/**
 * pviommu_table_collect_dirty() - take noted removals out of the table
 * @table: the table
 * @leaf: where to go on; 0 for the first call of a pass
 * @ranges: filled in, ascending
 * @max: elements that @ranges has room for, at least 1
 *
 * What was noted before a pass began is in one of its results. What is noted
 * meanwhile may be, or is left for the next pass.
 *
 * Context: Any. One collector at a time.
 * Return: elements filled in. 0 ends the pass.
 */
unsigned int pviommu_table_collect_dirty(struct pviommu_table *table,
					 unsigned long *leaf,
					 struct pviommu_range *ranges,
					 unsigned int max)
{
	unsigned int nr = 0;

	for (;; (*leaf)++) {
		struct pviommu_dirty *dirty;
		unsigned int i;

		*leaf = find_next_bit(table->dirty_leaves, table->nr_leaves,
				      *leaf);
		if (*leaf >= table->nr_leaves)
			return nr;

		dirty = &table->dirty[*leaf];
		clear_bit(*leaf, table->dirty_leaves);
		/* Pairs with mark_dirty(). */
		smp_mb__after_atomic();

		for (i = 0; i < PVIOMMU_DIRTY_WORDS; i++) {
			u64 page = (u64)*leaf * PVIOMMU_ENTRIES_PER_LEAF +
				   i * BITS_PER_LONG;
			unsigned long bits;

			bits = append_ranges(atomic_long_xchg(&dirty->words[i], 0),
					     page, ranges, max, &nr);
			if (!bits)
				continue;

			atomic_long_or(bits, &dirty->words[i]);
			set_bit(*leaf, table->dirty_leaves);
			return nr;
		}
	}
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_table_collect_dirty);
