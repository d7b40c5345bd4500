// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA that the host's IOMMU refused, reported as a native IOMMU's driver would.
 *
 * The host keeps a few events for each aperture and raises no interrupt for
 * them: a guest asks, once in a while. Events are for people and for the rare
 * fault handler, so seconds do not matter, and one exit per aperture in some
 * seconds costs nothing. It is only done while there are endpoints.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/workqueue.h>

#include "pviommu.h"

/* A device that faults all the time must not keep the worker busy. */
#define MAX_BUFFERS	4

#define MAX_INTERVAL	3600U

static unsigned int event_interval = 5;
module_param(event_interval, uint, 0444);
MODULE_PARM_DESC(event_interval,
		 "Seconds between asking the host for refused DMA (default 5, 0 = never)");

static void events_work(struct work_struct *work);
static DECLARE_DEFERRABLE_WORK(poll_work, events_work);

static atomic_t nr_endpoints;

/* The host answers in a way that makes no sense, or not at all. */
static bool given_up;

static void event_report(struct pviommu_aperture *aperture,
			 const struct pviommu_event *event)
{
	bool write = event->flags & PVIOMMU_EVENT_WRITE;
	const struct pviommu_path path = {
		.segment = event->segment,
		.root_bus = event->root_bus,
		.depth = event->depth,
		.devfns = get_unaligned_le64(event->path),
	};
	struct pci_dev *pdev;

	if (event->flags & PVIOMMU_EVENT_OVERFLOW)
		pr_warn_once("aperture %u: more DMA is refused than can be reported\n",
			     aperture->id);

	pdev = pviommu_endpoint_find(aperture, &path);
	if (!pdev) {
		pr_warn_ratelimited("aperture %u: DMA %s IOVA %#llx refused, of a device that is not there: segment %#x, root bus %#x, path %*phC\n",
				    aperture->id, write ? "write to" : "read from",
				    event->iova, event->segment,
				    event->root_bus,
				    min_t(int, event->depth,
					  PVIOMMU_PATH_MAX_DEPTH),
				    event->path);
		return;
	}

	if (!pviommu_aperture_report_fault(aperture, &pdev->dev, event->iova,
					   write))
		dev_warn_ratelimited(&pdev->dev, "pviommu: DMA %s IOVA %#llx refused\n",
				     write ? "write to" : "read from",
				     event->iova);
	pci_dev_put(pdev);
}

/* Fetches what the host has for an aperture, and has it reported or not. */
static void events_fetch(struct pviommu_aperture *aperture, bool report)
{
	struct pviommu_event *events;
	int i, j, nr;

	events = kcalloc(PVIOMMU_MAX_EVENTS, sizeof(*events), GFP_KERNEL);
	if (!events)
		return;

	for (i = 0; i < MAX_BUFFERS; i++) {
		nr = pviommu_host_events(aperture->id, events,
					 PVIOMMU_MAX_EVENTS);
		if (nr < 0)
			given_up = true;
		for (j = 0; report && j < nr; j++)
			event_report(aperture, &events[j]);
		if (nr < PVIOMMU_MAX_EVENTS)
			break;
	}
	kfree(events);
}

static void events_poll(struct pviommu_aperture *aperture)
{
	if (!given_up)
		events_fetch(aperture, true);
}

static bool events_wanted(void)
{
	return event_interval && pviommu_host_has_events() && !given_up;
}

static void events_schedule(void)
{
	schedule_delayed_work(&poll_work, min(event_interval, MAX_INTERVAL) * HZ);
}

VISIBLE_IF_KUNIT void pviommu_events_poll(void)
{
	pviommu_apertures_for_each(events_poll);

	/* Whoever adds the first one after this schedules by himself. */
	if (atomic_read(&nr_endpoints) && events_wanted())
		events_schedule();
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_events_poll);

static void events_work(struct work_struct *unused)
{
	pviommu_events_poll();
}

/**
 * pviommu_events_discard() - drop what happened before this kernel's time
 * @aperture: an aperture that this kernel has not used yet
 *
 * Context: May sleep.
 */
void pviommu_events_discard(struct pviommu_aperture *aperture)
{
	if (events_wanted())
		events_fetch(aperture, false);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_events_discard);

/**
 * pviommu_events_get() - there is one more endpoint to have events
 *
 * Context: Any.
 */
void pviommu_events_get(void)
{
	if (atomic_inc_return(&nr_endpoints) == 1 && events_wanted())
		events_schedule();
}

/**
 * pviommu_events_put() - there is one less
 *
 * Context: Any.
 */
void pviommu_events_put(void)
{
	atomic_dec(&nr_endpoints);
}

/**
 * pviommu_events_stop() - ask the host no more
 *
 * Context: May sleep. There are no endpoints any more.
 */
void pviommu_events_stop(void)
{
	cancel_delayed_work_sync(&poll_work);
	given_up = false;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_events_stop);
