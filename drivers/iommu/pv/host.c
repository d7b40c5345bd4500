// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host offers, as functions. Every hypercall of the driver is made
 * here; nothing of what the host answers is believed without a check, since a
 * guest is to survive a host that refuses or is wrong.
 *
 * Nothing here sleeps but what allocates: pviommu_host_probe() and
 * pviommu_host_aperture().
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/io.h>
#include <linux/kvm_para.h>
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/processor.h>
#include <asm/pviommu_guest.h>

#include "pviommu.h"

/*
 * How often in a row the host may say "again" before it counts as a refusal:
 * some 10 ms, since callers may have interrupts off.
 */
#define MAX_RETRIES	10000

/* More holes than anybody needs; bounds what the host makes us allocate. */
#define MAX_HOLES	4096

/* Set once by pviommu_host_probe(). */
static u32 nr_apertures;
static u32 max_ranges;
static bool has_events;
static bool has_large;
static bool has_direct;

#if IS_ENABLED(CONFIG_PVIOMMU_KUNIT_TEST)
/* A static stub is its test's task's alone; timers and workers call, too. */
pviommu_host_call_t pviommu_host_stub;
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_stub);
#endif

/* The one way out of the guest. */
static long host_call(u32 op, u32 aperture, u64 arg1, u64 arg2, u64 arg3)
{
#if IS_ENABLED(CONFIG_PVIOMMU_KUNIT_TEST)
	pviommu_host_call_t stub = READ_ONCE(pviommu_host_stub);

	if (stub)
		return stub(op, aperture, arg1, arg2, arg3);
#endif
	return pviommu_hypercall(op, aperture, arg1, arg2, arg3);
}

/* Repeats a call until its result is an error, or progress: @least or more. */
static long host_call_retry(u32 op, u32 aperture, u64 arg1, u64 arg2, u64 arg3,
			    long least)
{
	unsigned int i;
	long rc;

	for (i = 0; i < MAX_RETRIES; i++) {
		rc = host_call(op, aperture, arg1, arg2, arg3);
		if (rc >= least || (rc < 0 && rc != PVIOMMU_RC_RETRY))
			return rc;
		cpu_relax();
	}
	return PVIOMMU_RC_RETRY;
}

/*
 * The errno for a result code. -ENOMEM is said of what may work once something
 * else was unmapped, -ENXIO only where there is nothing that could be mapped.
 */
static int host_errno(long rc)
{
	switch (rc) {
	case -KVM_ENOSYS:
	case PVIOMMU_RC_NO_APERTURE:
	case PVIOMMU_RC_NOT_ENABLED:
		return -ENXIO;
	case PVIOMMU_RC_NO_ENDPOINT:
		return -ENODEV;
	case PVIOMMU_RC_OVER_BUDGET:
	case PVIOMMU_RC_LOCK_LIMIT:
	case PVIOMMU_RC_NO_MEMORY:
		return -ENOMEM;
	case PVIOMMU_RC_BAD_OP:
		return -EOPNOTSUPP;
	case PVIOMMU_RC_BAD_ARG:
	case PVIOMMU_RC_BAD_ENTRY:
		return -EINVAL;
	case PVIOMMU_RC_BAD_TABLE:
	case PVIOMMU_RC_NO_RAM:
		return -EFAULT;
	case PVIOMMU_RC_READ_ONLY:
		return -EACCES;
	case PVIOMMU_RC_RETRY:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

static int host_refused(u32 op, u32 aperture, long rc)
{
	static const char * const names[] = {
		[PVIOMMU_OP_PROBE]	= "PROBE",
		[PVIOMMU_OP_ENDPOINT]	= "ENDPOINT",
		[PVIOMMU_OP_APERTURE]	= "APERTURE",
		[PVIOMMU_OP_ENABLE]	= "ENABLE",
		[PVIOMMU_OP_DISABLE]	= "DISABLE",
		[PVIOMMU_OP_SYNC]	= "SYNC",
		[PVIOMMU_OP_SYNC_LIST]	= "SYNC_LIST",
		[PVIOMMU_OP_EVENTS]	= "EVENTS",
	};

	pr_warn_ratelimited("aperture %u: unexpected result %ld of %s\n",
			    aperture, rc, names[op]);
	return rc < 0 ? host_errno(rc) : -EIO;
}

/**
 * pviommu_host_probe() - find the host and what it can do
 *
 * Context: May sleep. First of all calls; kvm_para_available() is true.
 * Return: 0; -ENXIO if there is no pviommu, and nothing is said about it; or
 * another error, of which the log tells.
 */
int pviommu_host_probe(void)
{
	struct pviommu_probe_info *info;
	int ret = 0;
	long rc;

	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (!info)
		return -ENOMEM;

	rc = host_call_retry(PVIOMMU_OP_PROBE, 0, virt_to_phys(info),
			     sizeof(*info), 0, 0);
	if (rc == -KVM_ENOSYS) {
		ret = -ENXIO;
	} else if (rc < 0) {
		ret = host_refused(PVIOMMU_OP_PROBE, 0, rc);
	} else if (rc < sizeof(*info) || info->version < PVIOMMU_ABI_VERSION) {
		pr_err("the host's ABI has version %u (%ld bytes), this driver needs %u\n",
		       info->version, rc, PVIOMMU_ABI_VERSION);
		ret = -EPROTO;
	} else {
		nr_apertures = info->nr_apertures;
		max_ranges = info->features & PVIOMMU_FEATURE_SYNC_LIST ?
			     info->sync_max_ranges : 0;
		has_events = info->features & PVIOMMU_FEATURE_EVENTS;
		has_large = info->features & PVIOMMU_FEATURE_LARGE;
		has_direct = info->features & PVIOMMU_FEATURE_DIRECT;
		pr_info("ABI version %u, %u apertures, features %#llx\n",
			info->version, info->nr_apertures, info->features);
	}

	kfree(info);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_probe);

/**
 * pviommu_host_endpoint() - ask for the aperture of a device
 * @path: the device
 * @aperture: filled in with the aperture's id on success
 *
 * Context: Any.
 * Return: 0; -ENODEV if the device is behind none; or another error.
 */
int pviommu_host_endpoint(const struct pviommu_path *path, u32 *aperture)
{
	u64 where = (u64)path->segment << PVIOMMU_PATH_SEGMENT_SHIFT |
		    (u64)path->root_bus << PVIOMMU_PATH_ROOT_BUS_SHIFT |
		    (u64)path->depth << PVIOMMU_PATH_DEPTH_SHIFT;
	long rc;

	rc = host_call_retry(PVIOMMU_OP_ENDPOINT, 0, where, path->devfns, 0, 0);
	if (rc == PVIOMMU_RC_NO_ENDPOINT)
		return -ENODEV;
	if (rc < 0 || rc >= nr_apertures)
		return host_refused(PVIOMMU_OP_ENDPOINT, 0, rc);

	*aperture = rc;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_endpoint);

/**
 * pviommu_host_aperture() - ask what an aperture is like
 * @aperture: its id
 *
 * Context: May sleep.
 * Return: the host's answer, complete as to its length but not checked
 * otherwise, to be freed with kfree(); or an ERR_PTR().
 */
struct pviommu_aperture_info *pviommu_host_aperture(u32 aperture)
{
	struct pviommu_aperture_info *info;
	size_t size = struct_size(info, holes, 8);
	unsigned int i;
	long rc = 0;

	/* Once to learn the length, once more, and once if it has changed. */
	for (i = 0; i < 3; i++) {
		info = kzalloc(size, GFP_KERNEL);
		if (!info)
			return ERR_PTR(-ENOMEM);

		rc = host_call_retry(PVIOMMU_OP_APERTURE, aperture,
				     virt_to_phys(info), size, 0, 0);
		if (rc >= (long)sizeof(*info) && rc <= size &&
		    info->nr_holes <= MAX_HOLES &&
		    struct_size(info, holes, info->nr_holes) <= rc)
			return info;

		kfree(info);
		if (rc <= (long)size ||
		    rc > struct_size(info, holes, MAX_HOLES))
			break;
		size = rc;
	}
	return ERR_PTR(host_refused(PVIOMMU_OP_APERTURE, aperture, rc));
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_aperture);

/**
 * pviommu_host_enable() - have an aperture follow a table
 * @aperture: its id
 * @directory: GPA of the directory
 * @direct: its entries have use counts; pviommu_host_has_direct()
 *
 * On success nothing is mapped until pviommu_host_map() says so. On failure the
 * aperture may follow what it did before.
 *
 * Context: Any.
 * Return: 0 or an error.
 */
int pviommu_host_enable(u32 aperture, phys_addr_t directory, bool direct)
{
	long rc;

	rc = host_call_retry(PVIOMMU_OP_ENABLE, aperture, directory,
			     direct ? PVIOMMU_ENABLE_DIRECT : 0, 0, 0);
	return rc < 0 ? host_refused(PVIOMMU_OP_ENABLE, aperture, rc) : 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_enable);

/**
 * pviommu_host_disable() - have an aperture follow nothing, and block its DMA
 * @aperture: its id
 *
 * A refusal is logged; there is nothing else that a guest could do about it.
 *
 * Context: Any.
 */
void pviommu_host_disable(u32 aperture)
{
	long rc = host_call_retry(PVIOMMU_OP_DISABLE, aperture, 0, 0, 0, 0);

	if (rc < 0 && host_errno(rc) != -ENXIO)
		host_refused(PVIOMMU_OP_DISABLE, aperture, rc);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_disable);

/* Takes @range to where the host has come; empty on success. */
static int host_sync(u32 aperture, struct pviommu_range *range, u64 flags)
{
	while (range->count) {
		long rc = host_call_retry(PVIOMMU_OP_SYNC, aperture,
					  range->first, range->count, flags, 1);

		if (rc < 0 && host_errno(rc) == -ENOMEM)
			return -ENOMEM;
		if (rc < 0 && host_errno(rc) == -ENXIO &&
		    flags & PVIOMMU_SYNC_UNMAP)
			return 0;
		if (rc < 0 || rc > range->count)
			return host_refused(PVIOMMU_OP_SYNC, aperture, rc);

		range->first += rc;
		range->count -= rc;
	}
	return 0;
}

/**
 * pviommu_host_map() - have the host take over entries
 * @aperture: its id
 * @range: window pages. Advanced to the first that the host has not taken
 *	over, which is its end on success.
 *
 * Context: Any.
 * Return: 0; -ENOMEM if the host lacks budget or memory, which is not logged;
 * or another error, which is.
 */
int pviommu_host_map(u32 aperture, struct pviommu_range *range)
{
	return host_sync(aperture, range, 0);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_map);

/**
 * pviommu_host_unmap() - have the host take back a range's cleared entries
 * @aperture: its id
 * @first: first window page
 * @count: number of pages
 *
 * Context: Any.
 * Return: 0 once the device cannot reach what was behind them. By the ABI
 * nothing else happens; the caller has to cope with a host that fails anyway.
 */
int pviommu_host_unmap(u32 aperture, u64 first, u64 count)
{
	struct pviommu_range range = { .first = first, .count = count };

	return host_sync(aperture, &range, PVIOMMU_SYNC_UNMAP);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_unmap);

/* Takes @pages off the front of the ranges. Returns how many are used up. */
static unsigned int ranges_consume(struct pviommu_range *ranges,
				   unsigned int nr, u64 pages)
{
	unsigned int i;

	for (i = 0; i < nr && pages >= ranges[i].count; i++)
		pages -= ranges[i].count;
	if (i < nr) {
		ranges[i].first += pages;
		ranges[i].count -= pages;
	}
	return i;
}

/**
 * pviommu_host_unmap_ranges() - pviommu_host_unmap() for scattered ranges
 * @aperture: its id
 * @ranges: none of them empty; in memory that the host can read by its GPA.
 *	Destroyed.
 * @nr: elements in @ranges
 *
 * Context: Any.
 * Return: as pviommu_host_unmap().
 */
int pviommu_host_unmap_ranges(u32 aperture, struct pviommu_range *ranges,
			      unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	if (!max_ranges || nr == 1) {
		for (i = 0; i < nr && !ret; i++)
			ret = host_sync(aperture, &ranges[i],
					PVIOMMU_SYNC_UNMAP);
		return ret;
	}

	while (nr) {
		unsigned int batch = min(nr, max_ranges);
		u64 pages = 0;
		long rc;

		for (i = 0; i < batch; i++)
			pages += ranges[i].count;

		rc = host_call_retry(PVIOMMU_OP_SYNC_LIST, aperture,
				     virt_to_phys(ranges), batch,
				     PVIOMMU_SYNC_UNMAP, 1);
		if (rc < 0 && host_errno(rc) == -ENXIO)
			return 0;
		if (rc < 0 || rc > pages)
			return host_refused(PVIOMMU_OP_SYNC_LIST, aperture, rc);

		i = ranges_consume(ranges, batch, rc);
		ranges += i;
		nr -= i;
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_unmap_ranges);

/**
 * pviommu_host_has_large() - ask whether entries can be units of 2 MiB
 *
 * Context: Any.
 * Return: whether PVIOMMU_ENTRY_LARGE may be set.
 */
bool pviommu_host_has_large(void)
{
	return has_large;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_has_large);

/**
 * pviommu_host_has_direct() - ask whether the host can take back idle entries
 *
 * Context: Any.
 * Return: whether an aperture may be enabled with PVIOMMU_ENABLE_DIRECT.
 */
bool pviommu_host_has_direct(void)
{
	return has_direct;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_has_direct);

/**
 * pviommu_host_has_events() - ask whether the host reports refused DMA
 *
 * Context: Any.
 * Return: whether it does.
 */
bool pviommu_host_has_events(void)
{
	return has_events;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_has_events);

/**
 * pviommu_host_events() - fetch reports of refused DMA
 * @aperture: its id
 * @events: filled in, the oldest first; their content is not checked
 * @max: elements of @events
 *
 * Context: Any.
 * Return: the number of events, 0 also if there is none because the last device
 * is gone or the host is short of memory; or an error, which is logged.
 */
int pviommu_host_events(u32 aperture, struct pviommu_event *events,
			unsigned int max)
{
	long rc;

	rc = host_call_retry(PVIOMMU_OP_EVENTS, aperture, virt_to_phys(events),
			     max * sizeof(*events), 0, 0);
	if (rc == PVIOMMU_RC_NO_ENDPOINT || rc == PVIOMMU_RC_NO_MEMORY)
		return 0;
	if (rc < 0 || rc > max)
		return host_refused(PVIOMMU_OP_EVENTS, aperture, rc);
	return rc;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_host_events);
