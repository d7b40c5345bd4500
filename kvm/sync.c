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
 * All of it runs in the calling vCPU's thread, with kvm->srcu held and under the locks of
 * the stripes that the range is in. What scratch memory it needs it has got before, since
 * it may have to wait for another vCPU to be done with some. PVIOMMU_SYNC_MAX_PAGES bounds
 * what one call does, or PVIOMMU_UNMAP_MAX_PAGES.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>

#include "batch.h"
#include "pviommu.h"
#include "remove.h"
#include "shadow.h"
#include "stripe.h"
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
 * struct sync - what is known of a sync
 * @ap: the aperture
 * @stripe: the lowest of those that are locked: what it keeps serves all of the sync
 * @nr: number of @items
 * @removes: something of them is mapped and must not be
 * @items: in the order in which the guest named them
 * @table: entries as read
 * @pages: pages being pinned
 * @sg: to map them; NULL where there is no more than one
 */
struct sync {
	struct pviommu_aperture *ap;
	struct pviommu_stripe *stripe;
	unsigned int nr;
	bool removes;
	struct sync_item *items;
	__le64 *table;
	struct page **pages;
	struct scatterlist *sg;
};

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

	rc = pviommu_table_hva(ap->vm->kvm,
			       &pviommu_stripe(ap, leaf->at)->table_ram,
			       leaf->table, &hva);
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
read_new_leaf(struct pviommu_aperture *ap, struct pviommu_ram *ram,
	      __le64 *table, u64 first, unsigned int nr, s32 *rc)
{
	u64 at = first / LEAF_ENTRIES;
	size_t offset = first % LEAF_ENTRIES * sizeof(__le64);
	struct pviommu_shadow_leaf *leaf;
	struct kvm *kvm = ap->vm->kvm;
	__le64 gpa;

	*rc = pviommu_table_read(kvm, ram, ap->directory + at * sizeof(gpa),
				 &gpa, 1);
	if (*rc || !gpa)
		return NULL;
	if (!PAGE_ALIGNED(le64_to_cpu(gpa))) {
		*rc = PVIOMMU_RC_BAD_TABLE;
		return NULL;
	}
	*rc = pviommu_table_read(kvm, ram, le64_to_cpu(gpa) + offset, table, nr);
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
 * Read entries of one leaf, from window page @first on, into the table. NULL and
 * 0 if there is nothing to be done with them: nothing is mapped, nothing wanted.
 */
static inline struct pviommu_shadow_leaf *
read_leaf(const struct sync *sync, u64 first, unsigned int nr, s32 *rc)
{
	struct pviommu_aperture *ap = sync->ap;
	struct pviommu_shadow_leaf *leaf;
	gpa_t gpa;

	leaf = pviommu_shadow_find(ap, first / LEAF_ENTRIES);
	if (leaf) {
		gpa = leaf->table + first % LEAF_ENTRIES * sizeof(__le64);
		*rc = pviommu_table_read(ap->vm->kvm, &sync->stripe->table_ram,
					 gpa, sync->table, nr);
		return leaf;
	}

	return read_new_leaf(ap, &sync->stripe->table_ram, sync->table, first,
			     nr, rc);
}

/*
 * Where the memory behind an entry is in the VMM. @npages: how many pages from
 * there on lie side by side.
 */
static inline s32 resolve(struct pviommu_aperture *ap, struct pviommu_ram *ram,
			  u64 entry, unsigned long *hva, u64 *npages)
{
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
			    struct pviommu_ram *ram, struct sync_item *item,
			    u64 generation)
{
	struct pviommu_shadow *shadow = shadow_of(item);
	unsigned long hva;
	struct page *page;
	u64 npages;
	long got;

	item->rc = resolve(ap, ram, item->entry, &hva, &npages);
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
static inline void collect_entry(struct sync *sync, u64 index,
				 struct pviommu_shadow_leaf *leaf, u64 entry,
				 s32 rc)
{
	struct sync_item *item = &sync->items[sync->nr++];
	struct pviommu_aperture *ap = sync->ap;
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
		verify(ap, &sync->stripe->data_ram, item, generation);
}

/*
 * Bring entries into the batch. False if there are more than it has room for: it
 * ends before a leaf that is large, or could become so, rather than in it.
 * @first and @count have been checked.
 */
static bool collect(struct sync *sync, u64 first, u64 count)
{
	__le64 *table = sync->table;

	while (count) {
		unsigned int room = PVIOMMU_SYNC_MAX_PAGES - sync->nr;
		unsigned int n = min3(count, (u64)room,
				      LEAF_ENTRIES - first % LEAF_ENTRIES);
		struct pviommu_shadow_leaf *leaf;
		unsigned int i;
		s32 rc;

		if (!room)
			return false;
		leaf = read_leaf(sync, first, n, &rc);
		if (room < LEAF_ENTRIES && count >= LEAF_ENTRIES &&
		    !(first % LEAF_ENTRIES) && leaf &&
		    (leaf->large ||
		     (!rc && table[0] & cpu_to_le64(PVIOMMU_ENTRY_LARGE))))
			return false;
		for (i = 0; i < n; i++) {
			collect_entry(sync, first + i, leaf,
				      le64_to_cpu(table[i]), rc);
			if (!sync->removes)
				sync->removes = must_go(&sync->items[sync->nr - 1]);
		}
		first += n;
		count -= n;
	}
	return true;
}

/*
 * Why there was no room for a pin. What another vCPU has accounted for and not mapped yet it may
 * be about to give back.
 */
static noinline s32 no_room(struct pviommu_aperture *ap, s32 rc)
{
	u64 mapped = 0;
	unsigned int i;

	for (i = 0; i < PVIOMMU_STRIPES; i++) {
		const struct pviommu_counters *counters = &ap->stripes[i].counters;

		mapped += READ_ONCE(counters->mapped) - READ_ONCE(counters->unmapped);
	}
	return atomic_long_read(&ap->pinned) > mapped ? PVIOMMU_RC_RETRY : rc;
}

/*
 * Account for pages that are to be pinned: at most @most, as many as the budget has room for, or
 * one if it is only the limit that has no room for more. Without room for @least nothing is
 * accounted for: 0, and the reason.
 */
static __always_inline unsigned int pins_wanted(struct pviommu_aperture *ap,
						unsigned int least,
						unsigned int most, s32 *rc)
{
	long pinned = atomic_long_read(&ap->pinned);
	unsigned int nr;

	do {
		nr = min_t(u64, most, ap->budget - pinned);
		if (nr < least) {
			*rc = no_room(ap, PVIOMMU_RC_OVER_BUDGET);
			return 0;
		}
	} while (!atomic_long_try_cmpxchg(&ap->pinned, &pinned, pinned + nr));

	if (likely(!pviommu_memlock_charge(&ap->vm->memlock, nr)))
		return nr;
	if (nr > least && !pviommu_memlock_charge(&ap->vm->memlock, least)) {
		atomic_long_sub(nr - least, &ap->pinned);
		return least;
	}
	atomic_long_sub(nr, &ap->pinned);
	*rc = no_room(ap, PVIOMMU_RC_LOCK_LIMIT);
	return 0;
}

/* Other vCPUs pin at the same time. */
static inline void note_peak(struct pviommu_aperture *ap)
{
	long pinned = atomic_long_read(&ap->pinned);
	long peak = atomic_long_read(&ap->pinned_peak);

	while (peak < pinned &&
	       !atomic_long_try_cmpxchg(&ap->pinned_peak, &peak, pinned))
		;
}

/* Number of items from @i on that go, and are neighbours in one leaf. */
static unsigned int removal_run(const struct sync *sync, unsigned int i)
{
	const struct sync_item *item = &sync->items[i];
	unsigned int n = 0;

	while (i + n < sync->nr && item[n].index == item->index + n &&
	       item[n].leaf == item->leaf && must_go(&item[n]) &&
	       !(shadow_of(&item[n])->entry & SHADOW_MARKS))
		n++;
	return n;
}

/* Number of items from @i on that are neighbours in one leaf. */
static unsigned int neighbours(const struct sync *sync, unsigned int i)
{
	const struct sync_item *item = &sync->items[i];
	unsigned int n = 1;

	while (i + n < sync->nr && item[n].index == item->index + n &&
	       item[n].leaf == item->leaf)
		n++;
	return n;
}

/*
 * A large leaf goes as a whole; what of it is wanted still, and is in the batch, comes
 * back in small pages.
 */
static void remove_changed(struct sync *sync)
{
	struct pviommu_aperture *ap = sync->ap;
	struct pviommu_removal removal;
	unsigned int i, n, ok;

	pviommu_removal_init(&removal, MAX_LARGE_GONE);
	for (i = 0; i < sync->nr; i += max(n, 1U)) {
		const struct sync_item *item = &sync->items[i];

		n = removal_run(sync, i);
		if (n && !pviommu_removal_clear(ap, &removal, item->leaf,
						item->index, n)) {
			sync->nr = i;
			break;
		}
	}
	if (!pviommu_removal_flush(ap, &removal))
		return;

	for (i = 0; i < sync->nr; i += n) {
		const struct sync_item *item = &sync->items[i];

		n = neighbours(sync, i);
		if (!item->leaf)
			continue;
		ok = pviommu_removal_unpin(ap, &removal, item->leaf,
					   item->index, n);
		/* It ends there, whatever comes behind. */
		if (ok < n)
			sync->items[i + ok].rc = PVIOMMU_RC_HOST_ERROR;
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
pin_side_by_side(const struct sync *sync, const struct sync_item *item,
		 unsigned int max, struct page **pages, s32 *rc)
{
	unsigned long hva;
	unsigned int n = 1;
	u64 side_by_side;
	long got;

	*rc = resolve(sync->ap, &sync->stripe->data_ram, item->entry, &hva,
		      &side_by_side);
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
static bool pin_unit(const struct sync *sync, const struct sync_item *item,
		     struct page **pages, unsigned int pinned)
{
	struct pviommu_aperture *ap = sync->ap;
	unsigned int had = pinned, got;
	s32 rc;

	/* Found out before the rest is pinned in vain. */
	if (page_to_pfn(pages[0]) % LEAF_ENTRIES || !contiguous(pages, pinned))
		return false;
	if (!pins_wanted(ap, LEAF_ENTRIES - had, LEAF_ENTRIES - had, &rc))
		return false;

	do {
		got = pin_side_by_side(sync, item + pinned,
				       LEAF_ENTRIES - pinned, pages + pinned,
				       &rc);
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
__add_run(const struct sync *sync, const struct sync_item *item,
	  unsigned int max, s32 *rc)
{
	struct pviommu_aperture *ap = sync->ap;
	struct page **pages = sync->pages;
	u64 generation = pviommu_generation(ap->vm);
	bool write = item->entry & PVIOMMU_ENTRY_WRITE;
	bool read = item->entry & PVIOMMU_ENTRY_READ;
	u64 iova = pviommu_iova(ap, item->index);
	bool large = is_unit(ap, item, max);
	unsigned int n = 1, pinned = 0, got, i;
	bool stuck;
	int ret;

	max = min(max, PVIOMMU_DOMAIN_MAX_PAGES);
	while (n < max && joins(item, n))
		n++;
	n = pins_wanted(ap, 1, n, rc);
	if (!n)
		return 0;

	do {
		got = pin_side_by_side(sync, item + pinned, n - pinned,
				       pages + pinned, rc);
		pinned += got;
	} while (got && pinned < n);
	pviommu_pins_released(ap, n - pinned);
	if (!pinned)
		return 0;

	large = large && pin_unit(sync, item, pages, pinned);
	if (large) {
		pinned = LEAF_ENTRIES;
		ret = pviommu_domain_map_large(&ap->domain, iova, pages[0],
					       write, read, &stuck);
	} else {
		ret = pviommu_domain_map(&ap->domain, iova, pages, pinned,
					 sync->sg, write, read, &stuck);
	}
	sync->stripe->counters.map_calls++;
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
	sync->stripe->counters.mapped += pinned;
	note_peak(ap);
	return ret ? 0 : pinned;
}

static noinline unsigned int add_run(const struct sync *sync,
				     const struct sync_item *item,
				     unsigned int max, s32 *rc)
{
	return __add_run(sync, item, max, rc);
}

/* Map what is wanted and not there. Returns the number of items processed. */
static unsigned int add_wanted(const struct sync *sync, s32 *rc)
{
	unsigned int i = 0;

	while (i < sync->nr) {
		const struct sync_item *item = &sync->items[i];
		unsigned int n = 1;

		if (item->rc) {
			*rc = item->rc;
			break;
		}
		if (item->entry) {
			if (!shadow_of(item)->entry) {
				n = add_run(sync, item, sync->nr - i, rc);
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

static noinline s64 process(struct sync *sync)
{
	unsigned int done;
	s32 rc = 0;

	if (sync->removes)
		remove_changed(sync);
	done = add_wanted(sync, &rc);
	return done ? (s64)done : rc;
}

static bool range_ok(const struct pviommu_aperture *ap, u64 first, u64 count)
{
	return first <= ap->npages && count <= ap->npages - first;
}

/*
 * Lock stripes, the lowest of which counts the sync. False if there is nothing to be done,
 * since the aperture follows no table; they are locked all the same.
 */
static inline bool sync_begin(struct pviommu_aperture *ap, unsigned long stripes)
{
	struct pviommu_stripe *lowest = &ap->stripes[__ffs(stripes)];

	if (likely(is_power_of_2(stripes)))
		mutex_lock(&lowest->lock);
	else
		pviommu_stripes_lock(ap, stripes);
	lowest->counters.syncs++;
	return ap->enabled;
}

/* @ret: what the guest is told */
static inline void sync_end(struct pviommu_aperture *ap, unsigned long stripes,
			    s64 ret)
{
	struct pviommu_stripe *lowest = &ap->stripes[__ffs(stripes)];
	unsigned int i;

	if (ret > 0)
		lowest->counters.sync_pages += ret;
	if (likely(is_power_of_2(stripes))) {
		pviommu_shadow_trim(ap, lowest);
		mutex_unlock(&lowest->lock);
		return;
	}
	for_each_set_bit(i, &stripes, PVIOMMU_STRIPES)
		pviommu_shadow_trim(ap, &ap->stripes[i]);
	pviommu_stripes_unlock(ap, stripes);
}

static inline struct sync sync_with(struct pviommu_aperture *ap,
				    unsigned long stripes,
				    struct pviommu_sync_batch *batch)
{
	return (struct sync){
		.ap = ap,
		.stripe = &ap->stripes[__ffs(stripes)],
		.items = batch->items,
		.table = batch->table,
		.pages = batch->pages,
		.sg = batch->sg,
	};
}

/* If a page is to be mapped where nothing is, there is nothing to remove, and no run. */
static __always_inline s64 process_page(struct sync *sync, u64 index)
{
	struct sync_item *item = sync->items;
	struct pviommu_shadow_leaf *leaf;
	s32 rc;

	leaf = read_leaf(sync, index, 1, &rc);
	collect_entry(sync, index, leaf, le64_to_cpu(*sync->table), rc);
	if (item->rc || !item->entry || shadow_of(item)->entry) {
		/* So that what is in registers can stay there. */
		struct sync other = *sync;

		other.removes = must_go(item);
		return process(&other);
	}
	return __add_run(sync, item, 1, &rc) ? 1 : rc;
}

/* A single page, which is what guests ask for most. It needs no batch. */
static noinline s64 sync_page(struct pviommu_aperture *ap, u64 index)
{
	struct pviommu_stripe *stripe = pviommu_stripe_at(ap, index);
	s64 ret = PVIOMMU_RC_NOT_ENABLED;
	struct sync_item item;
	__le64 entry = 0;
	struct page *page;
	struct sync sync = {
		.ap = ap,
		.stripe = stripe,
		.items = &item,
		.table = &entry,
		.pages = &page,
	};

	mutex_lock(&stripe->lock);
	stripe->counters.syncs++;
	if (ap->enabled)
		ret = process_page(&sync, index);
	if (ret > 0)
		stripe->counters.sync_pages++;
	pviommu_shadow_trim(ap, stripe);
	mutex_unlock(&stripe->lock);
	return ret;
}

static noinline s64 sync_range(struct pviommu_aperture *ap, u64 first, u64 count)
{
	unsigned long stripes =
		pviommu_stripes_of(first, min_t(u64, count, PVIOMMU_SYNC_MAX_PAGES));
	struct pviommu_sync_batch *batch = pviommu_batch_get(&ap->batches);
	struct sync sync = sync_with(ap, stripes, batch);
	s64 ret = PVIOMMU_RC_NOT_ENABLED;

	if (sync_begin(ap, stripes)) {
		collect(&sync, first, count);
		ret = process(&sync);
	}
	sync_end(ap, stripes, ret);
	pviommu_batch_put(&ap->batches, batch);
	return ret;
}

/* @table: room for the entries, or NULL: that of the stripe will do */
static noinline s64 unmap_range(struct pviommu_aperture *ap, u64 first,
				u64 count, __le64 *table)
{
	const struct pviommu_range range = { first, count };
	unsigned long stripes =
		pviommu_stripes_of(first, min_t(u64, count, PVIOMMU_UNMAP_MAX_PAGES));
	s64 ret = PVIOMMU_RC_NOT_ENABLED;

	if (sync_begin(ap, stripes))
		ret = pviommu_remove_unwanted(ap, &range, 1,
					      table ?: ap->stripes[__ffs(stripes)].table);
	sync_end(ap, stripes, ret);
	return ret;
}

static noinline s64 unmap_many(struct pviommu_aperture *ap, u64 first, u64 count)
{
	struct pviommu_sync_batch *batch = pviommu_batch_get(&ap->batches);
	s64 ret = unmap_range(ap, first, count, batch->table);

	pviommu_batch_put(&ap->batches, batch);
	return ret;
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
	if ((flags & ~PVIOMMU_SYNC_UNMAP) || !range_ok(ap, first, count))
		return PVIOMMU_RC_BAD_ARG;

	if (!(flags & PVIOMMU_SYNC_UNMAP))
		return count == 1 ? sync_page(ap, first) :
				    sync_range(ap, first, count);
	return count <= PVIOMMU_FEW_PAGES ? unmap_range(ap, first, count, NULL) :
					    unmap_many(ap, first, count);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_sync);

/* Number of ranges before the first that is bad. @stripes: that they are in */
static unsigned int good_ranges(const struct pviommu_aperture *ap,
				const struct pviommu_range *ranges,
				unsigned int nr, unsigned long *stripes)
{
	unsigned int good;

	for (good = 0; good < nr; good++) {
		if (!range_ok(ap, ranges[good].first, ranges[good].count))
			break;
		if (ranges[good].count)
			*stripes |= pviommu_stripes_of(ranges[good].first,
						       ranges[good].count);
	}
	return good;
}

/* The ranges before the first that is bad are processed. */
static s64 sync_ranges(struct pviommu_aperture *ap, unsigned long stripes,
		       struct pviommu_sync_batch *batch, unsigned int nr,
		       bool unmap)
{
	struct sync sync = sync_with(ap, stripes, batch);
	unsigned int i;

	if (unmap)
		return pviommu_remove_unwanted(ap, batch->ranges, nr,
					       batch->table);

	for (i = 0; i < nr; i++) {
		if (!collect(&sync, batch->ranges[i].first,
			     batch->ranges[i].count))
			break;
	}
	return process(&sync);
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
	struct pviommu_sync_batch *batch;
	size_t len = nr * sizeof(batch->ranges[0]);
	unsigned long stripes = 0;
	unsigned int good = 0;
	s64 ret = 0;

	if ((flags & ~PVIOMMU_SYNC_UNMAP) || nr > PVIOMMU_SYNC_MAX_RANGES ||
	    !IS_ALIGNED(gpa, sizeof(u64)))
		return PVIOMMU_RC_BAD_ARG;

	batch = pviommu_batch_get(&ap->batches);
	if (kvm_read_guest(ap->vm->kvm, gpa, batch->ranges, len))
		ret = pviommu_no_ram(ap->vm->kvm, gpa, len);
	else
		good = good_ranges(ap, batch->ranges, nr, &stripes);
	if (!ret && good < nr && !stripes)
		ret = PVIOMMU_RC_BAD_ARG;
	/* Whatever there is to be said, one of them counts the sync. */
	stripes = stripes ?: BIT(0);
	if (!sync_begin(ap, stripes))
		ret = PVIOMMU_RC_NOT_ENABLED;
	else if (!ret)
		ret = sync_ranges(ap, stripes, batch, good, unmap);
	sync_end(ap, stripes, ret);
	pviommu_batch_put(&ap->batches, batch);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_sync_list);
