// SPDX-License-Identifier: GPL-2.0-only
/*
 * Charge pinned pages to the VMM's RLIMIT_MEMLOCK, as VFIO does.
 *
 * account_locked_vm() takes the mmap lock for writing, which a page fault of any
 * vCPU would wait for, so pages are charged in chunks. When the limit does not
 * allow a whole chunk the exact number is tried: the limit can be used up to
 * its last page. What is charged in advance is shared by all apertures of a VM, and
 * taken from without a lock; pviommu.h has that. Who needs more than there is takes the
 * lock, and then all there is: others who find too little wait, and are not refused.
 */
#include <linux/math.h>
#include <linux/mm.h>

#include "pviommu.h"

#define CHUNK		32UL
/* Most that is kept back for later; small against what one idle device pins. */
#define SLACK		(2 * CHUNK)

/**
 * pviommu_memlock_init() - account to the calling process
 * @ml: zeroed
 * @mm: the process's, kept by the caller
 */
void pviommu_memlock_init(struct pviommu_memlock *ml, struct mm_struct *mm)
{
	mutex_init(&ml->lock);
	ml->mm = mm;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_memlock_init);

/* Lock, and take all that is spare. Returns the number of pages that are in use. */
static unsigned long take_all(struct pviommu_memlock *ml)
{
	mutex_lock(&ml->lock);
	return ml->charged - atomic_long_xchg(&ml->spare, 0);
}

static void put_back(struct pviommu_memlock *ml, unsigned long used)
{
	atomic_long_add(ml->charged - used, &ml->spare);
	mutex_unlock(&ml->lock);
}

/*
 * The process may be gone: its mm is kept with mmgrab(), and counting down in it is
 * harmless then.
 */
static void keep(struct pviommu_memlock *ml, unsigned long npages)
{
	if (ml->charged <= npages)
		return;
	account_locked_vm(ml->mm, ml->charged - npages, false);
	WRITE_ONCE(ml->charged, npages);
}

/**
 * pviommu_memlock_charge_more() - pviommu_memlock_charge() when too little is spare
 * @ml: accounting
 * @npages: pages
 *
 * Context: as there.
 * Return: as there.
 */
int pviommu_memlock_charge_more(struct pviommu_memlock *ml,
				unsigned long npages)
{
	unsigned long used = take_all(ml);
	unsigned long need = used + npages, want;
	int ret = 0;

	if (need > ml->charged) {
		want = round_up(need, CHUNK);
		if (account_locked_vm(ml->mm, want - ml->charged, true)) {
			want = need;
			ret = account_locked_vm(ml->mm, want - ml->charged,
						true);
		}
		if (!ret)
			WRITE_ONCE(ml->charged, want);
	}
	put_back(ml, ret ? used : need);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_memlock_charge_more);

/**
 * pviommu_memlock_uncharge() - account for pages that were unpinned
 * @ml: accounting
 * @npages: pages, charged before
 *
 * Context: any process. Takes the mmap lock now and then.
 */
void pviommu_memlock_uncharge(struct pviommu_memlock *ml, unsigned long npages)
{
	unsigned long used;

	if (atomic_long_add_return(npages, &ml->spare) <= SLACK)
		return;
	used = take_all(ml);
	if (ml->charged - used > SLACK)
		keep(ml, round_up(used, CHUNK));
	put_back(ml, used);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_memlock_uncharge);

/**
 * pviommu_memlock_trim() - give back what was charged in advance
 * @ml: accounting
 */
void pviommu_memlock_trim(struct pviommu_memlock *ml)
{
	unsigned long used = take_all(ml);

	keep(ml, used);
	put_back(ml, used);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_memlock_trim);
