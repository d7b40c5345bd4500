// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode direct: pages of RAM at the IOVAs that are their physical addresses.
 *
 * A page is entered when it is first used, and stays when it is unmapped. To map it again
 * is to count up in its entry: no hypercall, and nothing to be allocated. The device can
 * reach it meanwhile, as in lazy mode, only for longer. Documentation/direct-mode.rst says
 * what that means.
 *
 * An entry is shared: with other CPUs, which map and unmap the same page (two packets may
 * be in one), and with the host, which takes back what nobody uses when it needs memory.
 * So it holds all there is to know, and is changed by compare-and-exchange alone:
 *
 *	0		the host has nothing here
 *	uses		how many mappings there are
 *	SYNCED		the host has it. It is set by whoever has heard that from the
 *			host and has a use meanwhile, so that it cannot have been taken.
 *	REFERENCED	used again since it was last looked at
 *
 *   map	SYNCED: one use more, and that is all. If not: one use more, or the first;
 *		then SYNC, whoever else may be doing the same; then SYNCED.
 *   unmap	one use less. It stays, SYNCED and idle; unless the host has refused it.
 *   evict	idle to 0, then SYNC with UNMAP. The host looks at the entry before it
 *		removes anything: it may have come back meanwhile.
 *   the host	idle to 0, then it removes the page. A SYNC waits for that to be done.
 *
 * tests/model/ proves that this holds together.
 *
 * Pages are evicted to stay within the budget, in batches before it is used up, and when
 * they have been idle for long. Which ones: those that a hand finds which goes round the
 * window, and passes over what was used since it came by last (second chance).
 */
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/memory.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/notifier.h>
#include <linux/pfn.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "direct.h"

#define ACCESS		(PVIOMMU_ENTRY_READ | PVIOMMU_ENTRY_WRITE)

#define MAX_RANGES	(PAGE_SIZE / sizeof(struct pviommu_range))

/* How many pages are evicted at once, if the budget is not so small. */
#define BATCH		256UL

/* A day. */
#define MOST_SECONDS	86400U

/* Entries that the hand looks at while interrupts are off. */
#define STEPS		(8 * PVIOMMU_ENTRIES_PER_LEAF)

static unsigned int idle_seconds = 60;
module_param(idle_seconds, uint, 0644);
MODULE_PARM_DESC(idle_seconds,
		 "Mode direct: seconds after which pages that are not used leave the aperture; 0: never (default 60)");

/* Can the host have taken it, or may we? */
static bool is_idle(u64 entry)
{
	return entry & DIRECT_SYNCED && !(entry & PVIOMMU_ENTRY_USES);
}

static void put_pages(struct pviommu_direct *direct, u64 first, u64 count)
{
	while (count--)
		direct_put(direct_entry(direct, first++));
}

/*
 * One use more. 0 if the host has the page; 1 if it has to be told; -ENOMEM without memory
 * for the leaf, -EBUSY if there are too many uses, or another page is there.
 */
static int get(struct pviommu_direct *direct, u64 page)
{
	__le64 *entry = pviommu_table_entry_or_alloc(&direct->domain->table, page,
						     GFP_ATOMIC);
	u64 gpa = direct->first_iova + (page << PVIOMMU_PAGE_SHIFT);
	u64 old, new;

	if (!entry)
		return -ENOMEM;
	old = direct_load(entry);
	do {
		/* Something may be remapped there: RAM that has come later. */
		if (direct_is_full(old) ||
		    (old && (old & PVIOMMU_ENTRY_GFN) != gpa))
			return -EBUSY;
		/* What is used once only shall not outlive what is used often. */
		new = old ? old | DIRECT_REFERENCED : gpa | ACCESS;
		new += PVIOMMU_ENTRY_USE;
	} while (!direct_exchange(entry, &old, new));
	if (!old) {
		atomic_long_inc(&direct->entered);
		if (page < READ_ONCE(direct->hand))
			atomic_long_inc(&direct->behind);
	}
	return !(old & DIRECT_SYNCED);
}

/* The host has these pages, and each has a use. */
static void set_synced(struct pviommu_direct *direct, u64 first, u64 count)
{
	for (; count; first++, count--) {
		__le64 *entry = direct_entry(direct, first);
		u64 old = direct_load(entry);

		while (!(old & DIRECT_SYNCED) &&
		       !direct_exchange(entry, &old, old | DIRECT_SYNCED))
			;
	}
}

/**
 * struct search - a search for idle pages
 * @want: pages that are to be evicted yet
 * @laps: times that the hand may come to the end yet
 * @nr: ranges that were cleared, in the domain's page of them
 * @cleared: pages in them
 */
struct search {
	unsigned long want;
	unsigned int laps;
	unsigned int nr;
	unsigned long cleared;
};

/* Clear an entry that the hand has come to. False if there is no room to remember it. */
static bool look_at(struct pviommu_direct *direct, struct search *search,
		    __le64 *entry)
{
	struct pviommu_range *last = &direct->domain->ranges[search->nr];
	bool joins = search->nr && last[-1].first + last[-1].count == direct->hand;
	u64 old = direct_load(entry);

	if (!old)
		return true;
	direct->seen++;
	if (!is_idle(old))
		return true;
	if (old & DIRECT_REFERENCED) {
		direct_exchange(entry, &old, old & ~DIRECT_REFERENCED);
		return true;
	}
	if (!joins && search->nr == MAX_RANGES) {
		direct->seen--;
		return false;
	}
	/* It was used this very moment. */
	if (!direct_exchange(entry, &old, 0))
		return true;
	direct->seen--;
	search->cleared++;
	if (joins) {
		last[-1].count++;
	} else {
		*last = (struct pviommu_range){ direct->hand, 1 };
		search->nr++;
	}
	return true;
}

/* Clear idle entries as the hand finds them, until enough are found or for STEPS entries. */
static void clear_idle(struct pviommu_direct *direct, struct search *search)
{
	struct pviommu_table *table = &direct->domain->table;
	unsigned int steps;
	__le64 *leaf;

	lockdep_assert_held(&direct->domain->flush_lock);

	for (steps = 0; steps < STEPS && search->cleared < search->want; steps++) {
		if (direct->hand >= table->nr_pages) {
			/* What the host has taken was never said to us. */
			atomic_long_set(&direct->entered,
					direct->seen + search->cleared +
					atomic_long_xchg(&direct->behind, 0));
			direct->seen = 0;
			WRITE_ONCE(direct->hand, 0);
			if (!--search->laps)
				break;
		}
		leaf = pviommu_table_leaf(table, direct->hand /
						 PVIOMMU_ENTRIES_PER_LEAF);
		if (!leaf) {
			WRITE_ONCE(direct->hand,
				   round_down(direct->hand,
					      PVIOMMU_ENTRIES_PER_LEAF) +
				   PVIOMMU_ENTRIES_PER_LEAF);
			continue;
		}
		if (!look_at(direct, search,
			     leaf + direct->hand % PVIOMMU_ENTRIES_PER_LEAF))
			break;
		WRITE_ONCE(direct->hand, direct->hand + 1);
	}
}

/* One round of a search: what it finds is gone when this returns. */
static void evict_some(struct pviommu_direct *direct, struct search *search)
{
	struct pviommu_domain *domain = direct->domain;
	unsigned long flags;
	int ret;

	search->nr = 0;
	search->cleared = 0;
	spin_lock_irqsave(&domain->flush_lock, flags);
	clear_idle(direct, search);
	if (search->nr && domain->state == PVIOMMU_FOLLOWED) {
		ret = pviommu_host_unmap_ranges(domain->aperture->id,
						domain->ranges, search->nr);
		if (ret)
			pviommu_domain_fail(domain, ret);
	}
	spin_unlock_irqrestore(&domain->flush_lock, flags);
	search->want -= search->cleared;
	atomic_long_sub(search->cleared, &direct->entered);
	atomic_long_add(search->cleared, &direct->evicted);
}

/**
 * pviommu_direct_evict() - make room
 * @direct: of the aperture
 *
 * As many pages as are evicted at once, if there are so many. The hand goes round twice for
 * that at most, since the first time may do no more than take second chances away.
 *
 * Context: Any.
 * Return: pages that were evicted.
 */
unsigned long pviommu_direct_evict(struct pviommu_direct *direct)
{
	struct search search = { .want = direct->batch, .laps = 3 };

	/* The first lap was begun by somebody else. */
	while (search.want && search.laps)
		evict_some(direct, &search);
	return direct->batch - search.want;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_direct_evict);

/* Tell the host of pages that have a use. */
static int sync(struct pviommu_direct *direct, u64 first, u64 count)
{
	u32 id = direct->domain->aperture->id;
	struct pviommu_range range = { first, count };
	int ret;

	if (pviommu_domain_state(direct->domain) != PVIOMMU_FOLLOWED)
		return -EIO;

	if (atomic_long_read(&direct->entered) > direct->most)
		pviommu_direct_evict(direct);
	do {
		ret = pviommu_host_map(id, &range);
	} while (ret == -ENOMEM && pviommu_direct_evict(direct));
	if (!ret)
		set_synced(direct, first, count);
	return ret;
}

/* Map pages but for the first @at of them, which have their use already. */
static noinline int map_rest(struct pviommu_direct *direct, u64 first, u64 count,
			     u64 at)
{
	u64 unsynced = 0;
	int ret = 0, err;

	for (; at < count; at++) {
		ret = get(direct, first + at);
		if (ret < 0)
			break;
		if (ret) {
			unsynced++;
			continue;
		}
		if (unsynced) {
			ret = sync(direct, first + at - unsynced, unsynced);
			unsynced = 0;
		}
		if (ret) {
			at++;
			break;
		}
	}
	if (ret >= 0 && unsynced)
		ret = sync(direct, first + at - unsynced, unsynced);
	if (!ret)
		return 0;
	put_pages(direct, first, at);
	/* Of those that nobody uses, the host may have some. */
	if (pviommu_domain_state(direct->domain) == PVIOMMU_FOLLOWED) {
		err = pviommu_host_unmap(direct->domain->aperture->id, first,
					 count);
		if (err)
			pviommu_domain_stop(direct->domain, err);
	}
	return ret;
}

static u64 left_in_leaf(u64 page)
{
	return PVIOMMU_ENTRIES_PER_LEAF - page % PVIOMMU_ENTRIES_PER_LEAF;
}

/**
 * pviommu_direct_map_pages() - the same as pviommu_direct_map(), where it is not so easy
 * @direct: of the aperture
 * @first: first window page
 * @count: pages, at least one
 *
 * Context: Any.
 * Return: as pviommu_direct_map().
 */
int pviommu_direct_map_pages(struct pviommu_direct *direct, u64 first, u64 count)
{
	__le64 *entry, *begin, *end;
	u64 at, n;

	for (at = 0; at < count; at += n) {
		n = min(count - at, left_in_leaf(first + at));
		begin = direct_entry(direct, first + at);
		if (unlikely(!begin))
			return map_rest(direct, first, count, at);
		end = begin + n;
		for (entry = begin; entry != end; entry++) {
			if (unlikely(!direct_get_again(entry)))
				return map_rest(direct, first, count,
						at + (entry - begin));
		}
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_direct_map_pages);

/**
 * pviommu_direct_unmap_pages() - the same as pviommu_direct_unmap(), of several pages
 * @direct: of the aperture
 * @first: first window page
 * @count: pages
 *
 * Context: Any.
 * Return: false if some of them were not mapped.
 */
bool pviommu_direct_unmap_pages(struct pviommu_direct *direct, u64 first,
				u64 count)
{
	__le64 *entry, *end;
	bool good = true;
	u64 at, n;

	for (at = 0; at < count; at += n) {
		n = min(count - at, left_in_leaf(first + at));
		entry = direct_entry(direct, first + at);
		if (unlikely(!entry)) {
			good = false;
			continue;
		}
		for (end = entry + n; entry != end; entry++)
			good &= direct_put(entry);
	}
	return good;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_direct_unmap_pages);

/* All that is idle goes, but for what was used again since the last time. */
VISIBLE_IF_KUNIT void pviommu_direct_age(struct pviommu_direct *direct)
{
	struct search search = { .want = ULONG_MAX, .laps = 1 };

	/* From the beginning, so that all were looked at as long ago. */
	spin_lock_irq(&direct->domain->flush_lock);
	WRITE_ONCE(direct->hand, 0);
	direct->seen = 0;
	atomic_long_set(&direct->behind, 0);
	spin_unlock_irq(&direct->domain->flush_lock);
	while (search.laps) {
		evict_some(direct, &search);
		cond_resched();
	}
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_direct_age);

static void direct_age(struct work_struct *work)
{
	struct pviommu_direct *direct = container_of(work, struct pviommu_direct,
						     age.work);
	unsigned int seconds = READ_ONCE(idle_seconds);

	if (seconds)
		pviommu_direct_age(direct);
	queue_delayed_work(system_unbound_wq, &direct->age,
			   clamp(seconds ?: 60, 1U, MOST_SECONDS) * HZ);
}

/*
 * RAM that has gone may be followed by other RAM at the same place. The host is not asked for
 * what is SYNCED, so nothing may be. All that is idle goes for it, since that is rare.
 */
static int memory_changes(struct notifier_block *notifier, unsigned long action,
			  void *data)
{
	struct pviommu_direct *direct = container_of(notifier, struct pviommu_direct,
						     memory);
	const struct memory_notify *range = data;
	u64 first = PFN_PHYS(range->start_pfn);
	u64 end = first + PFN_PHYS(range->nr_pages);

	if (action != MEM_OFFLINE || first >= direct->first_iova + direct->span ||
	    end <= direct->first_iova)
		return NOTIFY_DONE;
	/* The first time may do no more than take second chances away. */
	pviommu_direct_age(direct);
	pviommu_direct_age(direct);
	return NOTIFY_OK;
}

/**
 * pviommu_direct_create() - prepare to map pages of RAM where they are
 * @domain: a private domain, which nothing follows yet
 * @most: pages that may be entered
 *
 * Context: May sleep.
 * Return: to be given to pviommu_direct_stop() and _free(), or NULL without memory.
 */
struct pviommu_direct *pviommu_direct_create(struct pviommu_domain *domain,
					     u64 most)
{
	struct pviommu_direct *direct = kzalloc(sizeof(*direct), GFP_KERNEL);

	if (!direct)
		return NULL;
	direct->domain = domain;
	direct->directory = domain->table.directory;
	direct->first_iova = domain->domain.geometry.aperture_start;
	direct->span = domain->domain.geometry.aperture_end -
		       direct->first_iova + 1;
	direct->batch = clamp(most / 16, 1UL, BATCH);
	direct->most = most - direct->batch;
	direct->memory.notifier_call = memory_changes;
	if (register_memory_notifier(&direct->memory)) {
		kfree(direct);
		return NULL;
	}
	INIT_DELAYED_WORK(&direct->age, direct_age);
	queue_delayed_work(system_unbound_wq, &direct->age, HZ);
	return direct;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_direct_create);

/**
 * pviommu_direct_stop() - evict nothing any more by itself
 * @direct: its domain is still there
 *
 * Context: May sleep.
 */
void pviommu_direct_stop(struct pviommu_direct *direct)
{
	unregister_memory_notifier(&direct->memory);
	cancel_delayed_work_sync(&direct->age);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_direct_stop);

/**
 * pviommu_direct_free() - undo pviommu_direct_create()
 * @direct: was stopped; its domain may be gone
 */
void pviommu_direct_free(struct pviommu_direct *direct)
{
	kfree(direct);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_direct_free);

/**
 * pviommu_direct_show() - how full it is
 * @direct: of an aperture
 * @seq: for lines "name value"
 *
 * Context: May sleep.
 */
void pviommu_direct_show(const struct pviommu_direct *direct, struct seq_file *seq)
{
	seq_printf(seq, "entered_pages %ld\n", atomic_long_read(&direct->entered));
	seq_printf(seq, "evicted_pages %ld\n", atomic_long_read(&direct->evicted));
}
