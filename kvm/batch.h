/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Batches: scratch memory for syncs of more than a page. An aperture keeps some of them, so
 * that a sync need not wait for memory, which it may need to free some.
 */
#ifndef KVM_PVIOMMU_BATCH_H
#define KVM_PVIOMMU_BATCH_H

#include <linux/atomic.h>
#include <linux/scatterlist.h>
#include <linux/wait.h>

#include "pviommu.h"
#include "shadow.h"

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
 * @next: in pviommu_batches::spare
 * @items: in the order in which the guest named them
 * @table: entries as read
 * @pages: pages being pinned
 * @ranges: SYNC_LIST's array as read
 * @sg: to map them
 */
struct pviommu_sync_batch {
	struct pviommu_sync_batch *next;
	struct sync_item items[PVIOMMU_SYNC_MAX_PAGES];
	__le64 table[LEAF_ENTRIES];
	struct page *pages[PVIOMMU_SYNC_MAX_PAGES];
	struct pviommu_range ranges[PVIOMMU_SYNC_MAX_RANGES];
	struct scatterlist sg[PVIOMMU_DOMAIN_MAX_PAGES];
};

struct pviommu_sync_batch *pviommu_batch_take(struct pviommu_batches *batches);
void pviommu_batch_keep(struct pviommu_batches *batches,
			struct pviommu_sync_batch *batch);

/**
 * pviommu_batch_get() - a batch that no other sync uses
 * @batches: of the aperture
 *
 * Context: May sleep, until another sync has given back its own: so under no stripe's lock.
 * Return: the batch, to be given back with pviommu_batch_put().
 */
static inline struct pviommu_sync_batch *
pviommu_batch_get(struct pviommu_batches *batches)
{
	return xchg(&batches->first, NULL) ?: pviommu_batch_take(batches);
}

/**
 * pviommu_batch_put() - undo pviommu_batch_get()
 * @batches: of the aperture
 * @batch: not used any more
 *
 * Context: May sleep.
 */
static inline void pviommu_batch_put(struct pviommu_batches *batches,
				     struct pviommu_sync_batch *batch)
{
	if (unlikely(cmpxchg(&batches->first, NULL, batch)))
		pviommu_batch_keep(batches, batch);
	if (wq_has_sleeper(&batches->wait))
		wake_up(&batches->wait);
}

#endif /* KVM_PVIOMMU_BATCH_H */
