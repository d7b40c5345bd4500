// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA that the IOMMU refused: counted, logged, kept for the guest to fetch.
 *
 * An IOMMU driver that reports faults calls the handler that is set in the
 * device's domain. AMD's does, from its interrupt thread; Intel's reports to
 * nobody and only writes to the log. Nothing in the core waits for a handler at
 * work, so the handler follows no pointer of ours: it looks the device up, and
 * whoever takes a device out of the list knows that no handler has it any more.
 * The removal of the hypercall hook waits for RCU tasks, and with that for
 * handlers, before this text is unloaded.
 */
#include <linux/device.h>
#include <linux/minmax.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "pviommu.h"

static LIST_HEAD(fault_sources);
static DEFINE_SPINLOCK(fault_lock);

/**
 * pviommu_fault_init() - prepare an aperture's record of faults
 * @ap: the aperture, zeroed
 */
void pviommu_fault_init(struct pviommu_aperture *ap)
{
	ratelimit_state_init(&ap->faults.log, DEFAULT_RATELIMIT_INTERVAL,
			     DEFAULT_RATELIMIT_BURST);
	/* What was suppressed is in the count. */
	ratelimit_set_flags(&ap->faults.log, RATELIMIT_MSG_ON_RELEASE);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_fault_init);

/**
 * pviommu_fault_add() - have a device's faults count for its aperture
 * @source: the device; filled in
 */
void pviommu_fault_add(struct pviommu_fault_source *source)
{
	unsigned long irq;

	spin_lock_irqsave(&fault_lock, irq);
	list_add_tail(&source->list, &fault_sources);
	spin_unlock_irqrestore(&fault_lock, irq);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_fault_add);

/**
 * pviommu_fault_remove() - undo pviommu_fault_add()
 * @source: not used by any handler on return
 */
void pviommu_fault_remove(struct pviommu_fault_source *source)
{
	unsigned long irq;

	spin_lock_irqsave(&fault_lock, irq);
	list_del(&source->list);
	spin_unlock_irqrestore(&fault_lock, irq);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_fault_remove);

/**
 * pviommu_fault_forget() - drop the events that nobody has fetched
 * @ap: the aperture, whose guest starts anew
 */
void pviommu_fault_forget(struct pviommu_aperture *ap)
{
	unsigned long irq;

	spin_lock_irqsave(&fault_lock, irq);
	ap->faults.first = ap->faults.next;
	spin_unlock_irqrestore(&fault_lock, irq);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_fault_forget);

/**
 * pviommu_fault_stats() - fill in the counters of faults
 * @ap: the aperture
 * @stats: @faults and @fault_iova are set
 */
void pviommu_fault_stats(struct pviommu_aperture *ap,
			 struct pviommu_aperture_stats *stats)
{
	unsigned long irq;

	spin_lock_irqsave(&fault_lock, irq);
	stats->faults = ap->faults.count;
	stats->fault_iova = ap->faults.iova;
	spin_unlock_irqrestore(&fault_lock, irq);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_fault_stats);

/**
 * pviommu_fault_peek() - look at the oldest events
 * @ap: the aperture, locked
 * @events: filled in
 * @max: elements of @events
 * @first: set for pviommu_fault_consume()
 *
 * Return: the number of events.
 */
unsigned int pviommu_fault_peek(struct pviommu_aperture *ap,
				struct pviommu_event *events, unsigned int max,
				u64 *first)
{
	struct pviommu_faults *faults = &ap->faults;
	unsigned int i, nr;
	unsigned long irq;

	lockdep_assert_held(&ap->lock);

	spin_lock_irqsave(&fault_lock, irq);
	*first = faults->first;
	nr = min_t(u64, max, faults->next - faults->first);
	for (i = 0; i < nr; i++)
		events[i] = faults->events[(*first + i) % PVIOMMU_MAX_EVENTS];
	spin_unlock_irqrestore(&fault_lock, irq);
	return nr;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_fault_peek);

/**
 * pviommu_fault_consume() - drop events that the guest has got
 * @ap: the aperture, locked since pviommu_fault_peek()
 * @first: as set by it
 * @nr: events
 */
void pviommu_fault_consume(struct pviommu_aperture *ap, u64 first,
			   unsigned int nr)
{
	unsigned long irq;

	lockdep_assert_held(&ap->lock);

	/* Some may have been overwritten meanwhile. */
	spin_lock_irqsave(&fault_lock, irq);
	ap->faults.first = max(ap->faults.first, first + nr);
	spin_unlock_irqrestore(&fault_lock, irq);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_fault_consume);

/* The oldest event makes room for the newest. */
static void record(const struct pviommu_fault_source *source, u64 iova,
		   bool write)
{
	struct pviommu_faults *faults = &source->ap->faults;
	struct pviommu_event *event;

	lockdep_assert_held(&fault_lock);

	faults->count++;
	faults->iova = iova;

	event = &faults->events[faults->next % PVIOMMU_MAX_EVENTS];
	*event = (struct pviommu_event){
		.iova = iova,
		.segment = source->guest->segment,
		.root_bus = source->guest->root_bus,
		.depth = source->guest->depth,
		.flags = write ? PVIOMMU_EVENT_WRITE : 0,
	};
	memcpy(event->path, source->guest->path, sizeof(event->path));
	faults->next++;

	if (faults->next - faults->first > PVIOMMU_MAX_EVENTS) {
		faults->first++;
		event = &faults->events[faults->first % PVIOMMU_MAX_EVENTS];
		event->flags |= PVIOMMU_EVENT_OVERFLOW;
	}
}

/**
 * pviommu_fault_handler() - an iommu_fault_handler_t
 * @domain: not looked at: it may be gone
 * @dev: the device
 * @iova: bytes
 * @flags: IOMMU_FAULT_*
 * @unused: nothing
 *
 * Context: any, interrupts too.
 * Return: 0 if the device is one of ours, so that the IOMMU driver need not log it.
 */
int pviommu_fault_handler(struct iommu_domain *domain, struct device *dev,
			  unsigned long iova, int flags, void *unused)
{
	bool write = flags & IOMMU_FAULT_WRITE;
	struct pviommu_fault_source *source;
	bool found = false, log = false;
	unsigned long irq;
	u32 id = 0;

	spin_lock_irqsave(&fault_lock, irq);
	list_for_each_entry(source, &fault_sources, list) {
		if (source->dev != dev)
			continue;
		found = true;
		id = source->ap->id;
		record(source, iova, write);
		log = __ratelimit(&source->ap->faults.log);
		break;
	}
	spin_unlock_irqrestore(&fault_lock, irq);

	if (log)
		dev_warn(dev, "pviommu: DMA refused: %s at IOVA %#lx, which is not mapped so in aperture %u\n",
			 write ? "write" : "read", iova, id);
	return found ? 0 : -ENODEV;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_fault_handler);
