// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sync: make the hardware agree with the guest's table.
 *
 * Three records say what is in an aperture. The table is guest memory and is
 * believed only as a wish. The shadow is ours: what is pinned and mapped, and
 * the only authority on it. The IOMMU's page table always holds exactly what the
 * shadow says. A sync moves the second and third towards the first, over a range
 * of window pages, in four steps:
 *
 *   collect	read each entry of the range once, into the batch. From here on
 *		guest memory is not looked at again. An entry that is refused
 *		counts as unmapped, with the reason kept beside it; what cannot
 *		be told just now stays as it is.
 *   remove	whatever differs from the shadow, with one flush of the IOTLB for the
 *		batch; see remove.c.
 *   add	pin and map what is wanted and not there, in runs.
 *   answer	how many pages were processed before the first that was refused.
 *
 * Since all removals of a range come first, a guest may move its pages about
 * under a tight budget; and since a sync is idempotent, the cure for any error is
 * to sync again.
 *
 * Where the guest promises that 512 entries are set and cleared as one unit, and its
 * memory allows, they become one leaf of the IOMMU's. The promise is believed as little
 * as anything else: such a leaf goes as a whole whenever one of its pages has to go,
 * and all of its pages are pinned until then. See domain.c for why.
 *
 * With PVIOMMU_SYNC_UNMAP nothing is added. Such a sync never pins, so a guest can
 * call it where it must not fail, with interrupts off. It needs no batch, and has a
 * way of its own, in remove.c.
 *
 * All of it runs in the calling vCPU's thread, with kvm->srcu held and under the
 * aperture's lock. PVIOMMU_SYNC_MAX_PAGES bounds what one call does, or
 * PVIOMMU_UNMAP_MAX_PAGES.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "pviommu.h"
#include "remove.h"
#include "shadow.h"
#include "table.h"

/*
 * Every pin of a small page takes GUP_PIN_COUNTING_BIAS of its 31-bit reference
 * count, and a guest may name one frame in every entry it has. Far more than any
 * honest guest needs, far less than what overflows.
 */
#define MAX_PAGE_REFS	(65536 * GUP_PIN_COUNTING_BIAS)

/*
 * A page that goes takes its large leaf with it, and one call can name pages of many.
 * So many leaves go in one call, and the guest has to call again.
 */
#define MAX_LARGE_GONE	2

/**
 * struct sync_item - a window page on its way through a sync
 * @index: window page
 * @entry: ENTRY_MASK bits that the guest wants; 0 for nothing
 * @leaf: of the shadow; NULL where there is none, so nothing is mapped or wanted
 * @rc: why the entry that was read is refused; 0 if it is not
 * @stale: @entry is mapped already, but other memory is behind the frame now
 */
struct sync_item {
	u64 index;
	u64 entry;
	struct pviommu_shadow_leaf *leaf;
	s32 rc;
	bool stale;
};

/**
 * struct pviommu_sync_batch - scratch memory for one sync
 * @nr: number of @items
 * @removes: something of them is mapped and must not be
 * @items: in the order in which the guest named them
 * @table: entries as read
 * @pages: pages being pinned
 * @ranges: SYNC_LIST's array as read
 * @sg: to map pages
 */
struct pviommu_sync_batch {
	unsigned int nr;
	bool removes;
	struct sync_item items[PVIOMMU_SYNC_MAX_PAGES];
	__le64 table[LEAF_ENTRIES];
	struct page *pages[PVIOMMU_SYNC_MAX_PAGES];
	struct pviommu_range ranges[PVIOMMU_SYNC_MAX_RANGES];
	struct scatterlist sg[PVIOMMU_DOMAIN_MAX_PAGES];
};

struct pviommu_sync_batch *pviommu_sync_batch_alloc(void)
{
	struct pviommu_sync_batch *batch =
		kvzalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);

	if (batch)
		sg_init_table(batch->sg, PVIOMMU_DOMAIN_MAX_PAGES);
	return batch;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_sync_batch_alloc);

void pviommu_sync_batch_free(struct pviommu_sync_batch *batch)
{
	kvfree(batch);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_sync_batch_free);

static struct pviommu_shadow *shadow_of(const struct sync_item *item)
{
	return &item->leaf->entries[item->index % LEAF_ENTRIES];
}

static bool must_go(const struct sync_item *item)
{
	const struct pviommu_shadow *shadow;

	if (!item->leaf)
		return false;
	shadow = shadow_of(item);
	return shadow->entry && (shadow->entry != item->entry || item->stale);
}

static bool any_wanted(const __le64 *table, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (table[i] & cpu_to_le64(ENTRY_PERM))
			return true;
	}
	return false;
}

VISIBLE_IF_KUNIT s32 pviommu_sync_gup_rc(long err)
{
	switch (err) {
	case -ENOMEM:
		return PVIOMMU_RC_NO_MEMORY;
	case -EINTR:
	case -EAGAIN:
	case -ERESTARTSYS:
	case 0:
		return PVIOMMU_RC_RETRY;
	default:
		return PVIOMMU_RC_NO_RAM;
	}
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_sync_gup_rc);

/* Keep those of the pinned pages that are not pinned too often already. */
static unsigned int limit_pins(struct page **pages, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (folio_ref_count(page_folio(pages[i])) > MAX_PAGE_REFS)
			break;
	}
	if (i < n)
		unpin_user_pages(pages + i, n - i);
	return i;
}

/* In a direct table entries are changed by reclaim, which cannot wait for the VMM. */
static s32 pin_table(struct pviommu_aperture *ap,
		     struct pviommu_shadow_leaf *leaf)
{
	unsigned long hva;
	struct page *page;
	s32 rc;
	long got;

	rc = pviommu_table_hva(ap->vm->kvm, &ap->table_ram, leaf->table, &hva);
	if (rc)
		return rc;
	if (pviommu_memlock_charge(&ap->vm->memlock, 1))
		return PVIOMMU_RC_LOCK_LIMIT;
	got = pin_user_pages_fast(hva, 1, FOLL_LONGTERM | FOLL_WRITE, &page);
	if (got == 1 && limit_pins(&page, 1)) {
		/* Pairs with the lock of who claims entries; nothing is mapped here yet. */
		WRITE_ONCE(leaf->page, page);
		return 0;
	}
	pviommu_memlock_uncharge(&ap->vm->memlock, 1);
	rc = got == 1 ? PVIOMMU_RC_BAD_TABLE : pviommu_sync_gup_rc(got);
	return rc == PVIOMMU_RC_NO_RAM ? PVIOMMU_RC_BAD_TABLE : rc;
}

/*
 * Read entries of a leaf of the guest's that has no shadow yet. It gets one if something
 * is wanted.
 */
static noinline struct pviommu_shadow_leaf *
read_new_leaf(struct pviommu_aperture *ap, u64 first, unsigned int nr, s32 *rc)
{
	u64 at = first / LEAF_ENTRIES;
	size_t offset = first % LEAF_ENTRIES * sizeof(__le64);
	struct pviommu_shadow_leaf *leaf;
	__le64 *table = ap->batch->table;
	struct kvm *kvm = ap->vm->kvm;
	__le64 gpa;

	*rc = pviommu_table_read(kvm, &ap->table_ram,
				 ap->directory + at * sizeof(gpa), &gpa, 1);
	if (*rc || !gpa)
		return NULL;
	if (!PAGE_ALIGNED(le64_to_cpu(gpa))) {
		*rc = PVIOMMU_RC_BAD_TABLE;
		return NULL;
	}
	*rc = pviommu_table_read(kvm, &ap->table_ram, le64_to_cpu(gpa) + offset,
				 table, nr);
	if (*rc || !any_wanted(table, nr))
		return NULL;

	leaf = pviommu_shadow_add(ap, first, le64_to_cpu(gpa));
	if (!leaf)
		*rc = PVIOMMU_RC_NO_MEMORY;
	else if (ap->direct)
		*rc = pin_table(ap, leaf);
	if (!leaf || !*rc)
		return leaf;
	pviommu_shadow_free(ap, leaf);
	return NULL;
}

/*
 * Read entries of one leaf, from window page @first on, into the batch. NULL and
 * 0 if there is nothing to be done with them: nothing is mapped, nothing wanted.
 */
static inline struct pviommu_shadow_leaf *
read_leaf(struct pviommu_aperture *ap, u64 first, unsigned int nr, s32 *rc)
{
	struct pviommu_shadow_leaf *leaf;
	gpa_t gpa;

	leaf = pviommu_shadow_find(ap, first / LEAF_ENTRIES);
	if (leaf) {
		gpa = leaf->table + first % LEAF_ENTRIES * sizeof(__le64);
		*rc = pviommu_table_read(ap->vm->kvm, &ap->table_ram, gpa,
					 ap->batch->table, nr);
		return leaf;
	}

	return read_new_leaf(ap, first, nr, rc);
}

/*
 * Where the memory behind an entry is in the VMM. @npages: how many pages from
 * there on lie side by side.
 */
static inline s32 resolve(struct pviommu_aperture *ap, u64 entry,
			  unsigned long *hva, u64 *npages)
{
	struct pviommu_ram *ram = &ap->data_ram;
	gfn_t gfn = entry_gfn(entry);
	s32 rc = pviommu_ram_at(ap->vm->kvm, ram, gfn);

	if (rc)
		return rc;
	if ((entry & PVIOMMU_ENTRY_WRITE) && !ram->writable)
		return PVIOMMU_RC_READ_ONLY;

	*hva = pviommu_ram_hva(ram, gfn);
	*npages = ram->first + ram->npages - gfn;
	return 0;
}

static unsigned int gup_flags(u64 entry)
{
	return FOLL_LONGTERM | (entry & PVIOMMU_ENTRY_WRITE ? FOLL_WRITE : 0);
}

/* Does a refusal say nothing about the entry, so that what is mapped should stay? */
static bool passes(s32 rc)
{
	return rc == PVIOMMU_RC_RETRY || rc == PVIOMMU_RC_NO_MEMORY;
}

/*
 * The entry has not changed, but the memslots have: is the mapped page still the
 * one behind the frame?
 */
static noinline void verify(struct pviommu_aperture *ap,
			    struct sync_item *item, u64 generation)
{
	struct pviommu_shadow *shadow = shadow_of(item);
	unsigned long hva;
	struct page *page;
	u64 npages;
	long got;

	item->rc = resolve(ap, item->entry, &hva, &npages);
	if (!item->rc) {
		got = pin_user_pages_fast(hva, 1, gup_flags(item->entry), &page);
		if (got != 1)
			item->rc = pviommu_sync_gup_rc(got);
	}
	if (item->rc) {
		if (!passes(item->rc))
			item->entry = 0;
		return;
	}

	if (page == shadow->page)
		shadow->generation = generation;
	else
		item->stale = true;
	unpin_user_page(page);
}

/* Bring one entry into the batch. */
static inline void collect_entry(struct pviommu_aperture *ap, u64 index,
				 struct pviommu_shadow_leaf *leaf, u64 entry,
				 s32 rc)
{
	struct pviommu_sync_batch *batch = ap->batch;
	struct sync_item *item = &batch->items[batch->nr++];
	u64 generation;

	*item = (struct sync_item){
		.index = index,
		.leaf = leaf,
		.rc = rc,
	};
	if (rc) {
		if (leaf && passes(rc))
			item->entry = shadow_of(item)->entry;
		return;
	}
	if (!leaf || !(entry & ENTRY_PERM))
		return;

	if ((entry & PVIOMMU_ENTRY_RESERVED) || pviommu_is_hole(ap, index)) {
		item->rc = PVIOMMU_RC_BAD_ENTRY;
		return;
	}

	item->entry = entry & ENTRY_MASK;
	if (shadow_of(item)->entry != item->entry)
		return;
	generation = pviommu_generation(ap->vm);
	if (shadow_of(item)->generation != generation)
		verify(ap, item, generation);
}

/*
 * Bring entries into the batch. False if there are more than it has room for: it
 * ends before a leaf that is large, or could become so, rather than in it.
 * @first and @count have been checked.
 */
static bool collect(struct pviommu_aperture *ap, u64 first, u64 count)
{
	struct pviommu_sync_batch *batch = ap->batch;
	__le64 *table = batch->table;

	while (count) {
		unsigned int room = PVIOMMU_SYNC_MAX_PAGES - batch->nr;
		unsigned int n = min3(count, (u64)room,
				      LEAF_ENTRIES - first % LEAF_ENTRIES);
		struct pviommu_shadow_leaf *leaf;
		unsigned int i;
		s32 rc;

		if (!room)
			return false;
		leaf = read_leaf(ap, first, n, &rc);
		if (room < LEAF_ENTRIES && count >= LEAF_ENTRIES &&
		    !(first % LEAF_ENTRIES) && leaf &&
		    (leaf->large ||
		     (!rc && table[0] & cpu_to_le64(PVIOMMU_ENTRY_LARGE))))
			return false;
		for (i = 0; i < n; i++) {
			collect_entry(ap, first + i, leaf, le64_to_cpu(table[i]),
				      rc);
			if (!batch->removes)
				batch->removes = must_go(&batch->items[batch->nr - 1]);
		}
		first += n;
		count -= n;
	}
	return true;
}

static inline int pins_wanted(struct pviommu_aperture *ap, unsigned int nr)
{
	int ret = pviommu_memlock_charge(&ap->vm->memlock, nr);

	if (!ret)
		ap->pinned += nr;
	return ret;
}

/* Number of items from @i on that go, and are neighbours in one leaf. */
static unsigned int removal_run(struct pviommu_sync_batch *batch,
				unsigned int i)
{
	const struct sync_item *item = &batch->items[i];
	unsigned int n = 0;

	while (i + n < batch->nr && item[n].index == item->index + n &&
	       item[n].leaf == item->leaf && must_go(&item[n]) &&
	       !(shadow_of(&item[n])->entry & SHADOW_MARKS))
		n++;
	return n;
}

/* Number of items from @i on that are neighbours in one leaf. */
static unsigned int neighbours(struct pviommu_sync_batch *batch, unsigned int i)
{
	const struct sync_item *item = &batch->items[i];
	unsigned int n = 1;

	while (i + n < batch->nr && item[n].index == item->index + n &&
	       item[n].leaf == item->leaf)
		n++;
	return n;
}

/*
 * A large leaf goes as a whole; what of it is wanted still, and is in the batch, comes
 * back in small pages.
 */
static void remove_changed(struct pviommu_aperture *ap)
{
	struct pviommu_sync_batch *batch = ap->batch;
	struct pviommu_removal removal;
	unsigned int i, n, ok;

	pviommu_removal_init(&removal, MAX_LARGE_GONE);
	for (i = 0; i < batch->nr; i += max(n, 1U)) {
		const struct sync_item *item = &batch->items[i];

		n = removal_run(batch, i);
		if (n && !pviommu_removal_clear(ap, &removal, item->leaf,
						item->index, n)) {
			batch->nr = i;
			break;
		}
	}
	if (!pviommu_removal_flush(ap, &removal))
		return;

	for (i = 0; i < batch->nr; i += n) {
		const struct sync_item *item = &batch->items[i];

		n = neighbours(batch, i);
		if (!item->leaf)
			continue;
		ok = pviommu_removal_unpin(ap, &removal, item->leaf,
					   item->index, n);
		/* It ends there, whatever comes behind. */
		if (ok < n)
			batch->items[i + ok].rc = PVIOMMU_RC_HOST_ERROR;
	}
	pviommu_removal_end(ap, &removal);
}

/* Must item @i be mapped, and can that be done in one call with those from @first on? */
static bool joins(const struct sync_item *first, unsigned int i)
{
	const struct sync_item *item = &first[i];

	return item->index == first->index + i && !item->rc &&
	       (item->entry & ENTRY_PERM) == (first->entry & ENTRY_PERM) &&
	       !shadow_of(item)->entry;
}

/*
 * Pin what @item and those behind it name, as far as it lies side by side in the
 * VMM. Returns the number of pages, at most @max, or 0 and the reason.
 */
static __always_inline unsigned int
pin_side_by_side(struct pviommu_aperture *ap, const struct sync_item *item,
		 unsigned int max, struct page **pages, s32 *rc)
{
	unsigned long hva;
	unsigned int n = 1;
	u64 side_by_side;
	long got;

	*rc = resolve(ap, item->entry, &hva, &side_by_side);
	if (*rc)
		return 0;

	max = min_t(u64, max, side_by_side);
	while (n < max &&
	       item[n].entry == item->entry + ((u64)n << PAGE_SHIFT))
		n++;

	got = pin_user_pages_fast(hva, n, gup_flags(item->entry), pages);
	if (got <= 0) {
		*rc = pviommu_sync_gup_rc(got);
		return 0;
	}
	got = limit_pins(pages, got);
	if (!got)
		*rc = PVIOMMU_RC_OVER_BUDGET;
	return got;
}

static bool contiguous(struct page **pages, unsigned int n)
{
	unsigned int i;

	for (i = 1; i < n; i++) {
		if (page_to_pfn(pages[i]) != page_to_pfn(pages[0]) + i)
			return false;
	}
	return true;
}

/*
 * Does the guest promise that @item and those behind it, of which there are @nr, are
 * set and cleared as one unit, in a leaf in which nothing is mapped?
 */
static bool is_unit(const struct pviommu_aperture *ap,
		    const struct sync_item *item, unsigned int nr)
{
	unsigned int i;

	if (nr < LEAF_ENTRIES || item->index % LEAF_ENTRIES || item->leaf->nr ||
	    !(item->entry & PVIOMMU_ENTRY_LARGE) ||
	    entry_gfn(item->entry) % LEAF_ENTRIES ||
	    !pviommu_domain_takes_large(&ap->domain))
		return false;

	for (i = 1; i < LEAF_ENTRIES; i++) {
		if (item[i].rc || item[i].index != item->index + i ||
		    item[i].entry != item->entry + ((u64)i << PAGE_SHIFT))
			return false;
	}
	return true;
}

/*
 * The first pages of a unit are pinned: pin the others, too, if all of it is 2 MiB of
 * memory. False if not: nothing has changed then.
 */
static bool pin_unit(struct pviommu_aperture *ap, const struct sync_item *item,
		     struct page **pages, unsigned int pinned)
{
	unsigned int had = pinned, got;
	s32 rc;

	/* Found out before the rest is pinned in vain. */
	if (page_to_pfn(pages[0]) % LEAF_ENTRIES ||
	    !contiguous(pages, pinned) ||
	    ap->budget - ap->pinned < LEAF_ENTRIES - had ||
	    pins_wanted(ap, LEAF_ENTRIES - had))
		return false;

	do {
		got = pin_side_by_side(ap, item + pinned, LEAF_ENTRIES - pinned,
				       pages + pinned, &rc);
		pinned += got;
	} while (got && pinned < LEAF_ENTRIES);
	if (pinned == LEAF_ENTRIES && contiguous(pages, pinned))
		return true;

	unpin_user_pages(pages + had, pinned - had);
	pviommu_pins_released(ap, LEAF_ENTRIES - had);
	return false;
}

/*
 * Pin and map a run: items from @item on, at most @max, that are neighbours in the
 * window and allow the same access. Returns the number of pages mapped, or 0 and
 * the reason. Compiled once more for a single page, where nearly nothing of it is left.
 */
static __always_inline unsigned int
__add_run(struct pviommu_aperture *ap, const struct sync_item *item,
	  unsigned int max, s32 *rc)
{
	struct page **pages = ap->batch->pages;
	u64 generation = pviommu_generation(ap->vm);
	bool write = item->entry & PVIOMMU_ENTRY_WRITE;
	bool read = item->entry & PVIOMMU_ENTRY_READ;
	u64 iova = pviommu_iova(ap, item->index);
	bool large = is_unit(ap, item, max);
	unsigned int n = 1, pinned = 0, got, i;
	bool stuck;
	int ret;

	max = min3((u64)max, (u64)PVIOMMU_DOMAIN_MAX_PAGES,
		   ap->budget - ap->pinned);
	if (!max) {
		*rc = PVIOMMU_RC_OVER_BUDGET;
		return 0;
	}
	while (n < max && joins(item, n))
		n++;
	if (pins_wanted(ap, n)) {
		n = 1;
		if (pins_wanted(ap, n)) {
			*rc = PVIOMMU_RC_LOCK_LIMIT;
			return 0;
		}
	}

	do {
		got = pin_side_by_side(ap, item + pinned, n - pinned,
				       pages + pinned, rc);
		pinned += got;
	} while (got && pinned < n);
	pviommu_pins_released(ap, n - pinned);
	if (!pinned)
		return 0;

	large = large && pin_unit(ap, item, pages, pinned);
	if (large) {
		pinned = LEAF_ENTRIES;
		ret = pviommu_domain_map_large(&ap->domain, iova, pages[0],
					       write, read, &stuck);
	} else {
		ret = pviommu_domain_map(&ap->domain, iova, pages, pinned,
					 ap->batch->sg, write, read, &stuck);
	}
	ap->stats.map_calls++;
	if (ret && !stuck) {
		unpin_user_pages(pages, pinned);
		pviommu_pins_released(ap, pinned);
	}
	if (ret)
		*rc = ret == -ENOMEM ? PVIOMMU_RC_NO_MEMORY :
				       PVIOMMU_RC_HOST_ERROR;
	if (ret && !stuck)
		return 0;

	/* What is stuck may be reached: it counts as mapped. */
	for (i = 0; i < pinned; i++) {
		const struct pviommu_shadow shadow = {
			.entry = item[i].entry,
			.generation = generation,
			.page = pages[i],
		};

		pviommu_shadow_set(ap, item[i].leaf, item[i].index, &shadow);
	}
	if (large)
		pviommu_shadow_set_large(ap, item->leaf);
	ap->stats.mapped += pinned;
	ap->stats.pinned_peak = max_t(u64, ap->stats.pinned_peak, ap->pinned);
	return ret ? 0 : pinned;
}

static noinline unsigned int add_run(struct pviommu_aperture *ap,
				     const struct sync_item *item,
				     unsigned int max, s32 *rc)
{
	return __add_run(ap, item, max, rc);
}

/* Map what is wanted and not there. Returns the number of items processed. */
static unsigned int add_wanted(struct pviommu_aperture *ap, s32 *rc)
{
	struct pviommu_sync_batch *batch = ap->batch;
	unsigned int i = 0;

	while (i < batch->nr) {
		struct sync_item *item = &batch->items[i];
		unsigned int n = 1;

		if (item->rc) {
			*rc = item->rc;
			break;
		}
		if (item->entry) {
			if (!shadow_of(item)->entry) {
				n = add_run(ap, item, batch->nr - i, rc);
				if (!n)
					break;
			} else if (shadow_of(item)->entry != item->entry) {
				/* Named twice, and changed in between. */
				*rc = PVIOMMU_RC_RETRY;
				break;
			}
		}
		i += n;
		cond_resched();
	}
	return i;
}

static noinline s64 process(struct pviommu_aperture *ap)
{
	unsigned int done;
	s32 rc = 0;

	if (ap->batch->removes)
		remove_changed(ap);
	done = add_wanted(ap, &rc);
	ap->stats.sync_pages += done;
	return done ? (s64)done : rc;
}

/*
 * Lock the aperture and empty its batch. False if there is nothing to be done,
 * since it follows no table; it is locked all the same.
 */
static bool sync_begin(struct pviommu_aperture *ap)
{
	mutex_lock(&ap->lock);
	ap->stats.syncs++;
	ap->batch->nr = 0;
	ap->batch->removes = false;
	return ap->enabled;
}

static void sync_end(struct pviommu_aperture *ap)
{
	pviommu_shadow_trim(ap);
	mutex_unlock(&ap->lock);
}

static bool range_ok(const struct pviommu_aperture *ap, u64 first, u64 count)
{
	return first <= ap->npages && count <= ap->npages - first;
}

/*
 * A single page, which is what guests ask for most. If it is to be mapped where nothing is,
 * there is nothing to remove, and no run to look for: it is added at once.
 */
static s64 sync_page(struct pviommu_aperture *ap, u64 index)
{
	struct pviommu_sync_batch *batch = ap->batch;
	struct sync_item *item = batch->items;
	struct pviommu_shadow_leaf *leaf;
	unsigned int done;
	s32 rc;

	leaf = read_leaf(ap, index, 1, &rc);
	collect_entry(ap, index, leaf, le64_to_cpu(batch->table[0]), rc);
	if (item->rc || !item->entry || shadow_of(item)->entry) {
		batch->removes = must_go(item);
		return process(ap);
	}

	done = __add_run(ap, item, 1, &rc);
	ap->stats.sync_pages += done;
	return done ? (s64)done : rc;
}

static s64 unmap_range(struct pviommu_aperture *ap, u64 first, u64 count)
{
	struct pviommu_sync_batch *batch = ap->batch;

	batch->ranges[0] = (struct pviommu_range){ first, count };
	return pviommu_remove_unwanted(ap, batch->ranges, 1, batch->table);
}

/**
 * pviommu_sync() - PVIOMMU_OP_SYNC
 * @ap: the aperture
 * @first: first window page
 * @count: window pages
 * @flags: PVIOMMU_SYNC_*
 *
 * Context: a vCPU of the VM, in its thread.
 * Return: pages processed from @first, at most PVIOMMU_SYNC_MAX_PAGES, or with
 * PVIOMMU_SYNC_UNMAP PVIOMMU_UNMAP_MAX_PAGES; or the PVIOMMU_RC_* that refused the
 * first of them.
 */
s64 pviommu_sync(struct pviommu_aperture *ap, u64 first, u64 count, u64 flags)
{
	s64 ret;

	if ((flags & ~PVIOMMU_SYNC_UNMAP) || !range_ok(ap, first, count))
		return PVIOMMU_RC_BAD_ARG;

	if (!sync_begin(ap)) {
		ret = PVIOMMU_RC_NOT_ENABLED;
	} else if (flags & PVIOMMU_SYNC_UNMAP) {
		ret = unmap_range(ap, first, count);
	} else if (count == 1) {
		ret = sync_page(ap, first);
	} else {
		collect(ap, first, count);
		ret = process(ap);
	}
	sync_end(ap);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_sync);

/* The ranges before the first that is bad are processed. */
static s64 sync_ranges(struct pviommu_aperture *ap, u64 gpa, unsigned int nr,
		       bool unmap)
{
	struct pviommu_range *ranges = ap->batch->ranges;
	size_t len = nr * sizeof(*ranges);
	unsigned int good, i;
	u64 pages = 0;

	if (kvm_read_guest(ap->vm->kvm, gpa, ranges, len))
		return pviommu_no_ram(ap->vm->kvm, gpa, len);

	for (good = 0; good < nr; good++) {
		if (!range_ok(ap, ranges[good].first, ranges[good].count))
			break;
		pages += ranges[good].count;
	}
	if (good < nr && !pages)
		return PVIOMMU_RC_BAD_ARG;
	if (unmap)
		return pviommu_remove_unwanted(ap, ranges, good,
					       ap->batch->table);

	for (i = 0; i < good; i++) {
		if (!collect(ap, ranges[i].first, ranges[i].count))
			break;
	}
	return process(ap);
}

/**
 * pviommu_sync_list() - PVIOMMU_OP_SYNC_LIST
 * @ap: the aperture
 * @gpa: of an array of struct pviommu_range, read once
 * @nr: its elements, at most PVIOMMU_SYNC_MAX_RANGES
 * @flags: PVIOMMU_SYNC_*
 *
 * Context: a vCPU of the VM, in its thread.
 * Return: as pviommu_sync(), pages counted across the array.
 */
s64 pviommu_sync_list(struct pviommu_aperture *ap, u64 gpa, u64 nr, u64 flags)
{
	bool unmap = flags & PVIOMMU_SYNC_UNMAP;
	s64 ret = PVIOMMU_RC_NOT_ENABLED;

	if ((flags & ~PVIOMMU_SYNC_UNMAP) || nr > PVIOMMU_SYNC_MAX_RANGES ||
	    !IS_ALIGNED(gpa, sizeof(u64)))
		return PVIOMMU_RC_BAD_ARG;

	if (sync_begin(ap))
		ret = sync_ranges(ap, gpa, nr, unmap);
	sync_end(ap);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_sync_list);
