// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reclaim: the host takes back pages that its guests keep mapped and do not use.
 *
 * In a direct table (PVIOMMU_ENABLE_DIRECT) the guest counts in each entry who uses the
 * page. Where nobody does, the entry is exchanged for zero, without the guest having to
 * exit, and then the page goes as any other: PTE, flush, unpin. The exchange is what
 * decides. If the guest counts up a moment before, it fails and the page stays. If it
 * comes first, the guest finds zero, enters the page anew and asks for a sync, which
 * waits for the aperture's lock: by then the page is gone for sure, and comes back.
 *
 * A guest that lies about what it uses has its own DMA refused. Documentation/direct-mode.rst
 * has the protocol, and tests/model/ proves it.
 *
 * That has to work whoever needs the memory, and without the VMM's. So the guest's leaves
 * are pinned, too, one page for 512, and nothing here can fault.
 *
 * The shrinker only says how much is wanted. The work is done by a worker for each VM, which
 * can wait for locks that a VMM may keep as long as it likes.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/workqueue.h>

#include "pviommu.h"
#include "remove.h"
#include "shadow.h"

/* What is taken, and looked at, before others get the aperture's lock. */
#define STEP		PVIOMMU_UNMAP_MAX_PAGES
#define STEP_LEAVES	64

static struct workqueue_struct *reclaim_wq;
static struct shrinker *shrinker;

/**
 * pviommu_entry_is_idle() - does nobody use what an entry of a direct table names?
 * @entry: the entry
 *
 * Return: whether it may be exchanged for zero.
 */
bool pviommu_entry_is_idle(u64 entry)
{
	return (entry & ENTRY_PERM) && !(entry & PVIOMMU_ENTRY_USES);
}

/*
 * Claim mapped pages from @i on, at most @max, as long as they are idle. Returns how many
 * the guest has to ask for anew.
 */
static unsigned int claim(struct pviommu_shadow_leaf *leaf, unsigned int i,
			  unsigned int max)
{
	__le64 *table = page_address(leaf->page);
	unsigned int n;

	for (n = 0; n < max && i + n < LEAF_ENTRIES; n++) {
		__le64 entry = READ_ONCE(table[i + n]);
		u64 value = le64_to_cpu(entry);

		/*
		 * What says something else is not about what is mapped: it may not even be
		 * a table any more. A full barrier on success: the PTE is cleared after it.
		 */
		if ((value & ENTRY_MASK) != leaf->entries[i + n].entry ||
		    !pviommu_entry_is_idle(value) ||
		    cmpxchg(&table[i + n], entry, 0) != entry)
			break;
	}
	return n;
}

/* Returns how many pages were claimed. */
static unsigned int reclaim_leaf(struct pviommu_aperture *ap,
				 struct pviommu_shadow_leaf *leaf,
				 unsigned int max)
{
	u64 first = (u64)leaf->at * LEAF_ENTRIES;
	struct pviommu_removal removal;
	unsigned int i, n, claimed = 0;

	pviommu_removal_init(&removal, 0);
	for (i = 0; i < LEAF_ENTRIES && claimed < max; i += n + 1) {
		n = claim(leaf, i, max - claimed);
		if (n)
			pviommu_removal_clear(ap, &removal, leaf, first + i, n);
		claimed += n;
	}
	if (!pviommu_removal_flush(ap, &removal))
		return 0;

	pviommu_removal_unpin(ap, &removal, leaf, first, LEAF_ENTRIES);
	pviommu_removal_end(ap, &removal);
	pviommu_shadow_wrote_table(ap, leaf);
	return claimed;
}

/*
 * One step: some leaves, from where the last one has ended, so that all have their turn. Ends
 * at the last one, which is when @end is set.
 */
static u64 reclaim_some(struct pviommu_aperture *ap, u64 max, bool *end)
{
	struct pviommu_shadow_leaf *leaf;
	unsigned int leaves = 0;
	u64 claimed = 0;
	unsigned long at;
	int idx;

	lockdep_assert_held(&ap->lock);

	*end = true;
	if (!ap->enabled || !ap->direct)
		return 0;

	idx = srcu_read_lock(&ap->vm->kvm->srcu);
	xa_for_each_start(&ap->shadow, at, leaf, ap->reclaim_from) {
		*end = false;
		if (claimed == max || leaves++ == STEP_LEAVES)
			break;
		/* What is large goes as a whole, and nobody has counted for all of it. */
		if (leaf->nr && !leaf->large)
			claimed += reclaim_leaf(ap, leaf, min_t(u64, max - claimed,
								LEAF_ENTRIES));
		ap->reclaim_from = at + 1;
		*end = true;
		cond_resched();
	}
	srcu_read_unlock(&ap->vm->kvm->srcu, idx);

	if (*end)
		ap->reclaim_from = 0;
	ap->stats.reclaimed += claimed;
	pviommu_shadow_trim(ap);
	return claimed;
}

/**
 * pviommu_reclaim() - take back idle pages
 * @ap: the aperture
 * @max: most pages to take
 *
 * Context: any thread; not in memory reclaim, since it waits for locks.
 * Return: pages taken, fewer than @max if there are no more.
 */
u64 pviommu_reclaim(struct pviommu_aperture *ap, u64 max)
{
	unsigned int ends = 0;
	u64 claimed = 0;
	bool end;

	mutex_lock(&ap->lock);
	ap->stats.reclaims++;
	mutex_unlock(&ap->lock);
	/* From where it is to the end, and once all round: some will be looked at twice. */
	while (claimed < max && ends < 2) {
		mutex_lock(&ap->lock);
		claimed += reclaim_some(ap, min_t(u64, max - claimed, STEP),
					&end);
		mutex_unlock(&ap->lock);
		ends += end;
	}
	return claimed;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_reclaim);

/**
 * pviommu_queue_work() - have a VM's work done that may wait for the VMM
 * @work: the work
 *
 * Context: any.
 * Return: false if it is waiting to be done already.
 */
bool pviommu_queue_work(struct work_struct *work)
{
	return queue_work(reclaim_wq, work);
}

/* All apertures of a VM. */
static u64 reclaim_vm(struct pviommu_vm *vm, u64 max)
{
	struct pviommu_aperture *ap;
	u64 claimed = 0;
	u32 id;

	for (id = 0; (ap = pviommu_vm_aperture(vm, id)) && claimed < max; id++)
		claimed += pviommu_reclaim(ap, max - claimed);
	return claimed;
}

static void reclaim_work(struct work_struct *work)
{
	struct pviommu_vm *vm = container_of(work, struct pviommu_vm, reclaim);

	reclaim_vm(vm, atomic_long_xchg(&vm->reclaim_wanted, 0));
}

/**
 * pviommu_reclaim_init() - prepare to reclaim a VM's pages
 * @vm: zeroed
 */
void pviommu_reclaim_init(struct pviommu_vm *vm)
{
	INIT_WORK(&vm->reclaim, reclaim_work);
}

/**
 * pviommu_reclaim_stop() - for good
 * @vm: without users
 *
 * Context: sleeps; under no lock of the VM's.
 */
void pviommu_reclaim_stop(struct pviommu_vm *vm)
{
	cancel_work_sync(&vm->reclaim);
}

/* Pages of a VM that may be idle. */
static unsigned long reclaimable(struct pviommu_vm *vm)
{
	struct pviommu_aperture *ap;
	unsigned long pages = 0;
	u32 id;

	for (id = 0; (ap = pviommu_vm_aperture(vm, id)); id++) {
		if (READ_ONCE(ap->direct))
			pages += READ_ONCE(ap->pinned);
	}
	return pages;
}

static void count_vm(struct pviommu_vm *vm, void *data)
{
	unsigned long *pages = data;

	*pages += reclaimable(vm);
}

static unsigned long count_objects(struct shrinker *shrink,
				   struct shrink_control *sc)
{
	unsigned long pages = 0;

	pviommu_vms_for_each(count_vm, &pages);
	return pages ?: SHRINK_EMPTY;
}

/**
 * struct wanted - pages to be had from all VMs
 * @nr: how many
 * @of: pages that all have
 */
struct wanted {
	unsigned long nr;
	unsigned long of;
};

/* Each gives by what it has. */
static void want_from_vm(struct pviommu_vm *vm, void *data)
{
	const struct wanted *wanted = data;
	unsigned long has = reclaimable(vm);

	if (!has)
		return;
	atomic_long_add(mult_frac(has, wanted->nr, max(wanted->of, has)) + 1,
			&vm->reclaim_wanted);
	pviommu_queue_work(&vm->reclaim);
}

/*
 * Whoever reclaims may hold any lock, so it is left to the workers. What they unpin is not
 * free then: it only can be reclaimed, as any other memory of the VMM.
 */
static unsigned long scan_objects(struct shrinker *shrink,
				  struct shrink_control *sc)
{
	struct wanted wanted = { .nr = sc->nr_to_scan };

	pviommu_vms_for_each(count_vm, &wanted.of);
	pviommu_vms_for_each(want_from_vm, &wanted);
	return 0;
}

/**
 * pviommu_reclaim_start() - from now on the kernel's memory reclaim asks us, too
 *
 * Return: 0 or -ENOMEM.
 */
int pviommu_reclaim_start(void)
{
	reclaim_wq = alloc_workqueue("pviommu-reclaim",
				     WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!reclaim_wq)
		return -ENOMEM;
	shrinker = pviommu_shrinker_register(count_objects, scan_objects);
	if (!shrinker) {
		destroy_workqueue(reclaim_wq);
		return -ENOMEM;
	}
	return 0;
}

/**
 * pviommu_reclaim_end() - undo pviommu_reclaim_start()
 *
 * There are no VMs any more.
 */
void pviommu_reclaim_end(void)
{
	pviommu_shrinker_free(shrinker);
	destroy_workqueue(reclaim_wq);
}
