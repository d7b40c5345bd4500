// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batches: who gets one when there is none at hand. See batch.h.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "batch.h"

/* Batches that are kept: more are of little use, since one stripe each is what they work in. */
#define KEPT_BATCHES	PVIOMMU_STRIPES

VISIBLE_IF_KUNIT struct pviommu_sync_batch *pviommu_sync_batch_alloc(void)
{
	struct pviommu_sync_batch *batch;

	KUNIT_STATIC_STUB_REDIRECT(pviommu_sync_batch_alloc);
	batch = kvzalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (batch)
		sg_init_table(batch->sg, PVIOMMU_DOMAIN_MAX_PAGES);
	return batch;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_sync_batch_alloc);

/**
 * pviommu_batches_init() - prepare an aperture's scratch memory
 * @batches: to be initialised
 *
 * With one batch, so that a sync needs no memory.
 *
 * Return: 0 or -ENOMEM.
 */
int pviommu_batches_init(struct pviommu_batches *batches)
{
	spin_lock_init(&batches->lock);
	init_waitqueue_head(&batches->wait);
	batches->nr = 1;
	batches->first = pviommu_sync_batch_alloc();
	return batches->first ? 0 : -ENOMEM;
}

/**
 * pviommu_batches_exit() - undo pviommu_batches_init()
 * @batches: none of them in use
 */
void pviommu_batches_exit(struct pviommu_batches *batches)
{
	struct pviommu_sync_batch *batch = batches->spare, *next;

	kvfree(batches->first);
	for (; batch; batch = next) {
		next = batch->next;
		kvfree(batch);
	}
}

/* One that is not in use, or NULL. */
static struct pviommu_sync_batch *spare_batch(struct pviommu_batches *batches)
{
	struct pviommu_sync_batch *batch = xchg(&batches->first, NULL);

	if (batch)
		return batch;
	spin_lock(&batches->lock);
	batch = batches->spare;
	if (batch)
		batches->spare = batch->next;
	spin_unlock(&batches->lock);
	return batch;
}

/**
 * pviommu_batch_take() - pviommu_batch_get() without one at hand
 * @batches: of the aperture
 *
 * Other vCPUs have them all: one more, or else one of theirs.
 *
 * Context: as pviommu_batch_get().
 * Return: the batch.
 */
struct pviommu_sync_batch *pviommu_batch_take(struct pviommu_batches *batches)
{
	struct pviommu_sync_batch *batch = spare_batch(batches);

	if (batch)
		return batch;
	batch = pviommu_sync_batch_alloc();
	if (batch) {
		spin_lock(&batches->lock);
		batches->nr++;
		spin_unlock(&batches->lock);
		return batch;
	}
	wait_event(batches->wait, (batch = spare_batch(batches)));
	return batch;
}

/**
 * pviommu_batch_keep() - pviommu_batch_put() with another one at hand already
 * @batches: of the aperture
 * @batch: to be kept, or freed if there are enough
 *
 * Context: May sleep.
 */
void pviommu_batch_keep(struct pviommu_batches *batches,
			struct pviommu_sync_batch *batch)
{
	spin_lock(&batches->lock);
	if (batches->nr > KEPT_BATCHES) {
		batches->nr--;
	} else {
		batch->next = batches->spare;
		batches->spare = batch;
		batch = NULL;
	}
	spin_unlock(&batches->lock);
	kvfree(batch);
}
