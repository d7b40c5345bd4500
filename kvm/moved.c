// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that the VMM discards or exchanges: its pages leave the apertures.
 *
 * What is pinned is neither swapped, nor migrated, nor merged. But a VMM may discard it
 * (madvise(), a hole in a file, munmap()), for a balloon, or because the guest has reported
 * it as free. The guest gets another page there when it next touches it, and its devices
 * would go on with the old one. An MMU notifier tells.
 *
 * It does not tell what has become of a page: reclaim and khugepaged announce all that they
 * are about to try, and then leave a pinned page where it is, if not always in the page tables.
 * So there are two steps:
 *
 *   before	an idle entry of a direct table, whose page nobody uses, is claimed then and
 *		there, as reclaim does. The guest cannot use it again without a SYNC. That has
 *		to be before the VMM's call returns, when the guest may come to know.
 *   after	the frame is suspect. A worker looks what is behind the suspect frames that
 *		are mapped, and takes out those where that has changed, with what was claimed.
 *		A SYNC of a page that is mapped looks, too: see pviommu_generation().
 *
 * A notifier may be called under any lock that memory management has, so nothing but
 * pviommu_aperture::leaves_lock and kvm->srcu is taken, and nothing that waits.
 */
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/hugetlb.h>
#include <linux/interval_tree.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>

#include "pviommu.h"
#include "remove.h"
#include "shadow.h"
#include "table.h"

/* As many frames are suspect together. */
#define SUSPECT_SHIFT	4
#define SUSPECT_BITS	ilog2(PVIOMMU_SUSPECTS)

/*
 * While a page is being tried for migration it is not to be found. A pinned one is back at
 * once; so often is it looked for, a millisecond apart.
 */
#define TRIES		50

static unsigned int suspect_bit(gfn_t gfn)
{
	return hash_64(gfn >> SUSPECT_SHIFT, SUSPECT_BITS);
}

/* Claim what is idle of a leaf, from window page @first to before @end. */
static void claim_pages(struct pviommu_shadow_leaf *leaf, u64 first, u64 end)
{
	for (; first < end; first++) {
		if (pviommu_claim(leaf, first % LEAF_ENTRIES))
			WRITE_ONCE(leaf->claimed, true);
	}
}

static void claim_frames(struct pviommu_aperture *ap, gfn_t gfn, u64 n)
{
	gfn_t base = gpa_to_gfn(ap->base);
	u64 from = max(gfn, base), to = min(gfn + n, base + ap->npages);
	struct pviommu_shadow_leaf *leaf;
	unsigned long at;

	if (from >= to)
		return;
	from -= base;
	to -= base;
	rcu_read_lock();
	xa_for_each_range(&ap->shadow, at, leaf, from / LEAF_ENTRIES,
			  (to - 1) / LEAF_ENTRIES) {
		u64 first = max_t(u64, from, (u64)at * LEAF_ENTRIES);
		u64 end = min_t(u64, to, ((u64)at + 1) * LEAF_ENTRIES);

		spin_lock(&ap->leaves_lock);
		/* It may have been freed since. */
		leaf = xa_load(&ap->shadow, at);
		if (leaf && leaf->page)
			claim_pages(leaf, first, end);
		spin_unlock(&ap->leaves_lock);
	}
	rcu_read_unlock();
}

/**
 * pviommu_moved_before() - frames are about to be discarded, or not
 * @vm: the pviommu
 * @gfn: first frame
 * @n: frames
 *
 * Context: any that does not hold pviommu_aperture::leaves_lock; does not sleep.
 */
void pviommu_moved_before(struct pviommu_vm *vm, gfn_t gfn, u64 n)
{
	struct pviommu_aperture *ap;
	u32 id;

	atomic64_inc(&vm->moves);
	for (id = 0; (ap = pviommu_vm_aperture(vm, id)); id++) {
		/* IOVAs are frames there: in other tables nothing is idle. */
		if (READ_ONCE(ap->direct))
			claim_frames(ap, gfn, n);
	}
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_moved_before);

/**
 * pviommu_moved_after() - whatever was to be done to frames has been done
 * @vm: the pviommu
 * @gfn: first frame
 * @n: frames
 *
 * Context: any; does not sleep.
 */
void pviommu_moved_after(struct pviommu_vm *vm, gfn_t gfn, u64 n)
{
	gfn_t at, end = gfn + n;

	atomic64_inc(&vm->moves);
	if ((n >> SUSPECT_SHIFT) >= PVIOMMU_SUSPECTS) {
		bitmap_fill(vm->suspects, PVIOMMU_SUSPECTS);
		return;
	}
	for (at = round_down(gfn, 1 << SUSPECT_SHIFT); at < end;
	     at += 1 << SUSPECT_SHIFT)
		set_bit(suspect_bit(at), vm->suspects);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_moved_after);

/*
 * Is @page, a file's, still what a fault at @hva would find? Reclaim takes it out of the page
 * tables before it sees that it is pinned, and leaves it to the next access to put it back.
 */
static bool is_of_file(struct mm_struct *mm, unsigned long hva, struct page *page)
{
	struct vm_area_struct *vma = vma_lookup(mm, hva);

	return vma && vma->vm_file && !PageAnon(page) &&
	       READ_ONCE(compound_head(page)->mapping) == vma->vm_file->f_mapping &&
	       (is_vm_hugetlb_page(vma) ||
		pviommu_page_index(page) ==
			vma->vm_pgoff + ((hva - vma->vm_start) >> PAGE_SHIFT));
}

enum sight { THERE, GONE, UNSEEN, IN_FILE };

/* Is @shadow's page still the one behind its frame? Nobody waits for the VMM. */
static enum sight look(struct pviommu_aperture *ap, struct mm_struct *mm,
		       struct pviommu_ram *ram,
		       const struct pviommu_shadow *shadow)
{
	gfn_t gfn = entry_gfn(shadow->entry);
	enum sight sight = UNSEEN;
	unsigned long hva;
	struct page *page;

	/* What has become of the memslot a SYNC will find out. */
	if (pviommu_ram_at(ap->vm->kvm, ram, gfn))
		return THERE;

	hva = pviommu_ram_hva(ram, gfn);
	mmap_read_lock(mm);
	if (pviommu_look_at_page(mm, hva, &page) == 1) {
		sight = page == shadow->page ? THERE : GONE;
		put_page(page);
	} else if (is_of_file(mm, hva, shadow->page)) {
		sight = IN_FILE;
	}
	mmap_read_unlock(mm);
	return sight;
}

/*
 * The same; what is not seen again and again is gone, but for what a file still has then: a
 * hole is announced before it is made.
 */
static bool is_gone(struct pviommu_aperture *ap, struct mm_struct *mm,
		    struct pviommu_ram *ram, const struct pviommu_shadow *shadow)
{
	unsigned int bit = suspect_bit(entry_gfn(shadow->entry));
	enum sight sight = look(ap, mm, ram, shadow);
	struct pviommu_vm *vm = ap->vm;

	if (sight == THERE || sight == GONE)
		return sight == GONE;
	if (vm->unseen[bit] == TRIES)
		return sight == UNSEEN;
	set_bit(bit, vm->look_again);
	return false;
}

/*
 * Marks in @gone what has to go of a leaf. @claimed: something of it was; set if there is more,
 * since what is gone must not be idle any more, either.
 */
static unsigned int look_at_leaf(struct pviommu_aperture *ap, struct mm_struct *mm,
				 struct pviommu_shadow_leaf *leaf,
				 const unsigned long *suspects,
				 unsigned long *gone, bool *claimed)
{
	const __le64 *table = leaf->page ? page_address(leaf->page) : NULL;
	struct pviommu_ram *ram = &pviommu_stripe(ap, leaf->at)->data_ram;
	unsigned int i, n = 0;

	bitmap_zero(gone, LEAF_ENTRIES);
	for (i = 0; i < LEAF_ENTRIES; i++) {
		const struct pviommu_shadow *shadow = &leaf->entries[i];

		if (!shadow->entry)
			continue;
		if (!*claimed || READ_ONCE(table[i])) {
			if (!test_bit(suspect_bit(entry_gfn(shadow->entry)), suspects) ||
			    !is_gone(ap, mm, ram, shadow))
				continue;
			if (table && pviommu_claim(leaf, i))
				*claimed = true;
		}
		__set_bit(i, gone);
		n++;
	}
	return n;
}

static void check_leaf(struct pviommu_aperture *ap, struct mm_struct *mm,
		       struct pviommu_shadow_leaf *leaf,
		       const unsigned long *suspects)
{
	u64 first = (u64)leaf->at * LEAF_ENTRIES;
	DECLARE_BITMAP(gone, LEAF_ENTRIES);
	bool claimed = xchg(&leaf->claimed, false);
	struct pviommu_removal removal;
	unsigned int from, to, n;

	n = look_at_leaf(ap, mm, leaf, suspects, gone, &claimed);
	if (claimed)
		pviommu_shadow_wrote_table(ap, leaf);
	if (!n)
		return;
	pviommu_removal_init(&removal, 1);
	if (leaf->large) {
		pviommu_removal_clear(ap, &removal, leaf, first, LEAF_ENTRIES);
	} else {
		for_each_set_bitrange(from, to, gone, LEAF_ENTRIES)
			pviommu_removal_clear(ap, &removal, leaf, first + from,
					      to - from);
	}
	if (!pviommu_removal_flush(ap, &removal))
		return;
	pviommu_removal_unpin(ap, &removal, leaf, first, LEAF_ENTRIES);
	pviommu_stripe(ap, leaf->at)->counters.moved += removal.unpinned;
	pviommu_removal_end(ap, &removal);
}

/* The same for whichever leaf is at @at, if there still is one. */
static void check_at(struct pviommu_aperture *ap, struct mm_struct *mm,
		     unsigned long at, const unsigned long *suspects)
{
	struct pviommu_stripe *stripe = pviommu_stripe(ap, at);
	struct pviommu_shadow_leaf *leaf;
	int idx;

	mutex_lock(&stripe->lock);
	idx = srcu_read_lock(&ap->vm->kvm->srcu);
	leaf = pviommu_shadow_find(ap, at);
	if (leaf && leaf->nr)
		check_leaf(ap, mm, leaf, suspects);
	pviommu_shadow_trim(ap, stripe);
	srcu_read_unlock(&ap->vm->kvm->srcu, idx);
	mutex_unlock(&stripe->lock);
}

static void check_aperture(struct pviommu_aperture *ap, struct mm_struct *mm,
			   const unsigned long *suspects)
{
	unsigned long at;

	for (at = 0; xa_find(&ap->shadow, &at, ULONG_MAX, XA_PRESENT); at++) {
		if (READ_ONCE(ap->vm->closing))
			break;
		check_at(ap, mm, at, suspects);
		cond_resched();
	}
}

/* Count how often something was not seen. True if it is to be looked for again. */
static bool count_unseen(struct pviommu_vm *vm, const unsigned long *suspects)
{
	unsigned int bit;

	for_each_set_bit(bit, suspects, PVIOMMU_SUSPECTS) {
		if (!test_bit(bit, vm->look_again)) {
			vm->unseen[bit] = 0;
			continue;
		}
		vm->unseen[bit]++;
		set_bit(bit, vm->suspects);
	}
	return !bitmap_empty(vm->look_again, PVIOMMU_SUSPECTS);
}

/**
 * pviommu_moved_check() - take out what has changed
 * @vm: the pviommu
 *
 * Context: any thread without a VMM's locks, one at a time; sleeps.
 * Return: true if something could not be seen, and has to be looked for again, a little later.
 */
bool pviommu_moved_check(struct pviommu_vm *vm)
{
	DECLARE_BITMAP(suspects, PVIOMMU_SUSPECTS);
	struct mm_struct *mm = vm->kvm->mm;
	struct pviommu_aperture *ap;
	unsigned int i;
	u32 id;

	/* A VMM that has none any more is about to close the file. */
	if (!mmget_not_zero(mm))
		return false;
	for (i = 0; i < BITS_TO_LONGS(PVIOMMU_SUSPECTS); i++)
		suspects[i] = xchg(&vm->suspects[i], 0);
	bitmap_zero(vm->look_again, PVIOMMU_SUSPECTS);
	if (!bitmap_empty(suspects, PVIOMMU_SUSPECTS)) {
		for (id = 0; (ap = pviommu_vm_aperture(vm, id)); id++)
			check_aperture(ap, mm, suspects);
	}
	mmput_async(mm);
	return count_unseen(vm, suspects);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_moved_check);

static void moved_work(struct work_struct *work)
{
	struct pviommu_vm *vm = container_of(work, struct pviommu_vm, moved);

	while (pviommu_moved_check(vm) && !READ_ONCE(vm->closing))
		usleep_range(1000, 2000);
}

/* For the frames of each memslot that has a part of a range. False if there is none. */
static bool for_frames(struct pviommu_vm *vm, const struct mmu_notifier_range *range,
		       void (*function)(struct pviommu_vm *vm, gfn_t gfn, u64 n))
{
	unsigned long last = range->end - 1;
	struct interval_tree_node *node;
	struct kvm_memslots *slots;
	bool any = false;
	int idx;

	idx = srcu_read_lock(&vm->kvm->srcu);
	slots = kvm_memslots(vm->kvm);
	for (node = interval_tree_iter_first(&slots->hva_tree, range->start, last);
	     node; node = interval_tree_iter_next(node, range->start, last)) {
		struct kvm_memory_slot *slot =
			container_of(node, struct kvm_memory_slot,
				     hva_node[slots->node_idx]);
		unsigned long from = max(range->start, slot->userspace_addr);
		unsigned long to = min(range->end, slot->userspace_addr +
				       (slot->npages << PAGE_SHIFT));
		gfn_t gfn = hva_to_gfn_memslot(from, slot);

		function(vm, gfn, hva_to_gfn_memslot(to + PAGE_SIZE - 1, slot) - gfn);
		any = true;
	}
	srcu_read_unlock(&vm->kvm->srcu, idx);
	return any;
}

/* Does what is announced leave all pages where they are? */
static bool is_harmless(const struct mmu_notifier_range *range)
{
	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_VMA:
	case MMU_NOTIFY_PROTECTION_PAGE:
	case MMU_NOTIFY_SOFT_DIRTY:
		return true;
	default:
		return false;
	}
}

static int invalidate_begins(struct mmu_notifier *notifier,
			     const struct mmu_notifier_range *range)
{
	if (!is_harmless(range))
		for_frames(container_of(notifier, struct pviommu_vm, notifier),
			   range, pviommu_moved_before);
	return 0;
}

static void invalidate_ends(struct mmu_notifier *notifier,
			    const struct mmu_notifier_range *range)
{
	struct pviommu_vm *vm = container_of(notifier, struct pviommu_vm, notifier);

	if (!is_harmless(range) && for_frames(vm, range, pviommu_moved_after))
		pviommu_queue_work(&vm->moved);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start	= invalidate_begins,
	.invalidate_range_end	= invalidate_ends,
};

/**
 * pviommu_moved_start() - be told what becomes of a VM's memory
 * @vm: about to be bound; the VM's memory is the caller's
 *
 * Context: takes the mmap_lock.
 * Return: 0; -EINTR, -ENOMEM.
 */
int pviommu_moved_start(struct pviommu_vm *vm)
{
	int ret;

	INIT_WORK(&vm->moved, moved_work);
	vm->notifier.ops = &notifier_ops;
	ret = mmu_notifier_register(&vm->notifier, vm->kvm->mm);
	vm->notified = !ret;
	return ret;
}

/**
 * pviommu_moved_stop() - undo pviommu_moved_start(), if it was called
 * @vm: without users, or without apertures
 *
 * Context: sleeps; not under a lock of its apertures.
 */
void pviommu_moved_stop(struct pviommu_vm *vm)
{
	if (!vm->notified)
		return;
	mmu_notifier_unregister(&vm->notifier, vm->kvm->mm);
	cancel_work_sync(&vm->moved);
	vm->notified = false;
}
