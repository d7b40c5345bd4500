// SPDX-License-Identifier: GPL-2.0-only
/*
 * Charge pinned pages to the VMM's RLIMIT_MEMLOCK, as VFIO does.
 *
 * account_locked_vm() takes the mmap lock for writing, which a page fault of any
 * vCPU would wait for, so pages are charged in chunks. When the limit does not
 * allow a whole chunk the exact number is tried: the limit can be used up to
 * its last page. What is charged in advance is shared by all apertures of a VM.
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
 * pviommu_memlock_charge() - account for pages about to be pinned
 * @ml: accounting
 * @npages: pages
 *
 * Context: the VMM's own thread: its limit and its capabilities count. Takes
 * the mmap lock now and then.
 * Return: 0, or -ENOMEM if RLIMIT_MEMLOCK does not allow it.
 */
int pviommu_memlock_charge(struct pviommu_memlock *ml, unsigned long npages)
{
	unsigned long need, want;
	int ret = 0;

	mutex_lock(&ml->lock);
	need = ml->used + npages;
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
	if (!ret)
		ml->used = need;
	mutex_unlock(&ml->lock);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_memlock_charge);

/**
 * pviommu_memlock_uncharge() - account for pages that were unpinned
 * @ml: accounting
 * @npages: pages, charged before
 *
 * Context: any process. Takes the mmap lock now and then.
 */
void pviommu_memlock_uncharge(struct pviommu_memlock *ml, unsigned long npages)
{
	mutex_lock(&ml->lock);
	ml->used -= npages;
	if (ml->charged - ml->used > SLACK)
		keep(ml, round_up(ml->used, CHUNK));
	mutex_unlock(&ml->lock);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_memlock_uncharge);

/**
 * pviommu_memlock_trim() - give back what was charged in advance
 * @ml: accounting
 */
void pviommu_memlock_trim(struct pviommu_memlock *ml)
{
	mutex_lock(&ml->lock);
	keep(ml, ml->used);
	mutex_unlock(&ml->lock);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_memlock_trim);
