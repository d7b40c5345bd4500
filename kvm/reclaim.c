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

/* What is taken before others get the aperture's lock. */
#define STEP	PVIOMMU_UNMAP_MAX_PAGES

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

		/* A full barrier on success: the PTE is cleared after it. */
		if (!leaf->entries[i + n].entry ||
		    !pviommu_entry_is_idle(le64_to_cpu(entry)) ||
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
	/* The guest's leaf is memory of the guest's that we have written to. */
	if (pviommu_dirty_mark(ap->vm->kvm, gpa_to_gfn(leaf->table), 1))
		atomic64_inc(&ap->vm->dirty_lost);
	return claimed;
}

static u64 reclaim_leaves(struct pviommu_aperture *ap, unsigned long from,
			  unsigned long last, u64 max)
{
	struct pviommu_shadow_leaf *leaf;
	unsigned long at;
	u64 claimed = 0;

	xa_for_each_range(&ap->shadow, at, leaf, from, last) {
		if (claimed == max)
			break;
		/* What is large goes as a whole, and nobody has counted for all of it. */
		if (leaf->nr && !leaf->large)
			claimed += reclaim_leaf(ap, leaf, min_t(u64, max - claimed,
								LEAF_ENTRIES));
		ap->reclaim_from = at + 1;
		cond_resched();
	}
	return claimed;
}

/* One step. It begins where the last one has ended, so that all leaves have their turn. */
static u64 reclaim_some(struct pviommu_aperture *ap, u64 max)
{
	unsigned long from = ap->reclaim_from;
	u64 claimed = 0;
	int idx;

	lockdep_assert_held(&ap->lock);

	if (!ap->enabled || !ap->direct)
		return 0;

	idx = srcu_read_lock(&ap->vm->kvm->srcu);
	claimed = reclaim_leaves(ap, from, ULONG_MAX, max);
	if (claimed < max && from)
		claimed += reclaim_leaves(ap, 0, from - 1, max - claimed);
	srcu_read_unlock(&ap->vm->kvm->srcu, idx);

	ap->stats.reclaims++;
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
	u64 claimed = 0, got, step;

	do {
		step = min_t(u64, max - claimed, STEP);
		mutex_lock(&ap->lock);
		got = reclaim_some(ap, step);
		mutex_unlock(&ap->lock);
		claimed += got;
	} while (got == step && claimed < max);
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

static void want_from_vm(struct pviommu_vm *vm, void *data)
{
	unsigned long *nr = data;

	if (!reclaimable(vm))
		return;
	atomic_long_add(*nr, &vm->reclaim_wanted);
	pviommu_queue_work(&vm->reclaim);
}

/*
 * Whoever reclaims may hold any lock, so it is left to the workers. What they unpin is not
 * free then: it only can be reclaimed, as any other memory of the VMM.
 */
static unsigned long scan_objects(struct shrinker *shrink,
				  struct shrink_control *sc)
{
	unsigned long nr = sc->nr_to_scan;

	pviommu_vms_for_each(want_from_vm, &nr);
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
