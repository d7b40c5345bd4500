// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reclaim: the host takes back pages that its guests keep mapped and do not use.
 *
 * In a direct table (PVIOMMU_ENABLE_DIRECT) the guest counts in each entry who uses the
 * page. Where nobody does, the entry is exchanged for zero, without the guest having to
 * exit, and then the page goes as any other: PTE, flush, unpin. The exchange is what
 * decides. If the guest counts up a moment before, it fails and the page stays. If it
 * comes first, the guest finds zero, enters the page anew and asks for a sync, which
 * waits for the stripe's lock: by then the page is gone for sure, and comes back.
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
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/workqueue.h>

#include "pviommu.h"
#include "remove.h"
#include "shadow.h"

/* What is taken, and looked at, before others get the aperture's own lock. */
#define STEP		PVIOMMU_UNMAP_MAX_PAGES
#define STEP_LEAVES	64

/*
 * How often an entry may change under our hands: a guest that looks for what it has not used of
 * late changes idle ones, too, but not again and again.
 */
#define CLAIM_TRIES	8

static struct workqueue_struct *reclaim_wq;
static struct shrinker *shrinker;

/* A test can have the guest act just after it. */
VISIBLE_IF_KUNIT __le64 pviommu_entry_read(__le64 *at)
{
	KUNIT_STATIC_STUB_REDIRECT(pviommu_entry_read, at);
	return READ_ONCE(*at);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_entry_read);

/**
 * pviommu_claim() - exchange an idle entry of a mapped page for zero
 * @leaf: of a direct table, with its page
 * @i: which of its entries
 *
 * An entry that says something else is not about what is mapped: it may not even be in a
 * table any more. A full barrier on success: the PTE is cleared after it.
 *
 * Context: any; the leaf stays.
 * Return: whether the guest has to ask for the page anew now.
 */
bool pviommu_claim(const struct pviommu_shadow_leaf *leaf, unsigned int i)
{
	__le64 *at = (__le64 *)page_address(leaf->page) + i;
	unsigned int tries;

	for (tries = 0; tries < CLAIM_TRIES; tries++) {
		__le64 entry = pviommu_entry_read(at);
		u64 value = le64_to_cpu(entry);

		if (!(value & ENTRY_PERM) || value & PVIOMMU_ENTRY_USES ||
		    (value & ENTRY_MASK) != READ_ONCE(leaf->entries[i].entry))
			return false;
		if (cmpxchg(at, entry, 0) == entry)
			return true;
	}
	return false;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_claim);

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
		n = 0;
		while (i + n < LEAF_ENTRIES && claimed + n < max &&
		       pviommu_claim(leaf, i + n))
			n++;
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

/* The same for whichever leaf is at @at, if there still is one. */
static unsigned int reclaim_at(struct pviommu_aperture *ap, unsigned long at,
			       unsigned int max)
{
	struct pviommu_stripe *stripe = pviommu_stripe(ap, at);
	struct pviommu_shadow_leaf *leaf;
	unsigned int claimed = 0;
	int idx;

	mutex_lock(&stripe->lock);
	idx = srcu_read_lock(&ap->vm->kvm->srcu);
	leaf = pviommu_shadow_find(ap, at);
	/* What is large goes as a whole, and nobody has counted for all of it. */
	if (leaf && leaf->nr && !leaf->large)
		claimed = reclaim_leaf(ap, leaf, max);
	stripe->counters.reclaimed += claimed;
	pviommu_shadow_trim(ap, stripe);
	srcu_read_unlock(&ap->vm->kvm->srcu, idx);
	mutex_unlock(&stripe->lock);
	return claimed;
}

/*
 * One step, from where the last one has ended, so that all leaves have their turn. Returns the
 * pages taken; @ends is one more if it came to the last leaf.
 */
static u64 reclaim_step(struct pviommu_aperture *ap, u64 max, unsigned int *ends)
{
	unsigned int leaves;
	u64 claimed = 0;

	for (leaves = 0; leaves < STEP_LEAVES && claimed < max; leaves++) {
		if (!xa_find(&ap->shadow, &ap->reclaim_from, ULONG_MAX,
			     XA_PRESENT)) {
			ap->reclaim_from = 0;
			++*ends;
			break;
		}
		claimed += reclaim_at(ap, ap->reclaim_from,
				      min_t(u64, max - claimed, LEAF_ENTRIES));
		ap->reclaim_from++;
		cond_resched();
	}
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

	mutex_lock(&ap->lock);
	ap->stats.reclaims++;
	/* From where it is to the end, and once all round: some will be looked at twice. */
	while (ap->enabled && ap->direct && claimed < max && ends < 2) {
		claimed += reclaim_step(ap, min_t(u64, max - claimed, STEP),
					&ends);
		/* Somebody else's turn. */
		mutex_unlock(&ap->lock);
		mutex_lock(&ap->lock);
	}
	mutex_unlock(&ap->lock);
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

/**
 * pviommu_reclaim_vm() - take back idle pages of all apertures of a VM
 * @vm: the pviommu
 * @max: most pages to take
 *
 * Context: as pviommu_reclaim().
 * Return: pages taken.
 */
u64 pviommu_reclaim_vm(struct pviommu_vm *vm, u64 max)
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

	pviommu_reclaim_vm(vm, atomic_long_xchg(&vm->reclaim_wanted, 0));
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
			pages += atomic_long_read(&ap->pinned);
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
