// SPDX-License-Identifier: GPL-2.0-only
/*
 * Charge pinned pages to the VMM's RLIMIT_MEMLOCK, as VFIO does.
 *
 * account_locked_vm() takes the mmap lock for writing, which a page fault of any
 * vCPU would wait for, so pages are charged in chunks. When the limit does not
 * allow a whole chunk the exact number is tried: the limit can be used up to
 * its last page.
 */
#include <linux/minmax.h>
#include <linux/mm.h>

#include "pviommu.h"

#define CHUNK		32UL
/* Most that is kept back for later; small against what one idle device pins. */
#define SLACK		(2 * CHUNK)

/**
 * pviommu_memlock_charge() - account for pages about to be pinned
 * @ml: accounting, under its owner's lock
 * @npages: pages
 *
 * Context: the VMM's own thread: its limit and its capabilities count. Takes
 * the mmap lock now and then.
 * Return: 0, or -ENOMEM if RLIMIT_MEMLOCK does not allow it.
 */
int pviommu_memlock_charge(struct pviommu_memlock *ml, unsigned long npages)
{
	unsigned long need = ml->used + npages;

	if (need > ml->charged) {
		unsigned long want = round_up(need, CHUNK);

		if (account_locked_vm(ml->mm, want - ml->charged, true)) {
			int ret;

			want = need;
			ret = account_locked_vm(ml->mm, want - ml->charged,
						true);
			if (ret)
				return ret;
		}
		ml->charged = want;
	}
	ml->used = need;
	return 0;
}

/**
 * pviommu_memlock_uncharge() - account for pages that were unpinned
 * @ml: accounting, under its owner's lock
 * @npages: pages, charged before
 *
 * Context: any process. Takes the mmap lock now and then.
 */
void pviommu_memlock_uncharge(struct pviommu_memlock *ml, unsigned long npages)
{
	ml->used -= npages;
	if (ml->charged - ml->used > SLACK)
		pviommu_memlock_trim(ml, round_up(ml->used, CHUNK));
}

/**
 * pviommu_memlock_trim() - give back what was charged in advance
 * @ml: accounting, under its owner's lock
 * @keep: pages that stay charged; at least what is in use
 *
 * The process may be gone: its mm is kept with mmgrab(), and counting down in it
 * is harmless then.
 */
void pviommu_memlock_trim(struct pviommu_memlock *ml, unsigned long keep)
{
	keep = max(keep, ml->used);
	if (ml->charged <= keep)
		return;
	account_locked_vm(ml->mm, ml->charged - keep, false);
	ml->charged = keep;
}
