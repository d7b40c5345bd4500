// SPDX-License-Identifier: GPL-2.0-only
#include <kunit/test.h>
#include <linux/align.h>
#include <linux/io.h>
#include <linux/kvm_para.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/stdarg.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "fake_host.h"

#define LOGGED_RANGES	4

static struct fake_host *the_host;

static const char * const call_names[] = {
	[FAKE_PROBE]		= "probe",
	[FAKE_ENDPOINT]		= "endpoint",
	[FAKE_APERTURE]		= "aperture",
	[FAKE_ENABLE]		= "enable",
	[FAKE_DISABLE]		= "disable",
	[FAKE_MAP]		= "map",
	[FAKE_UNMAP]		= "unmap",
	[FAKE_UNMAP_LIST]	= "unmap",
	[FAKE_EVENTS]		= "events",
};

/**
 * fake_host_code() - the name of a result
 * @rc: the result
 *
 * Return: the name, or NULL if it is none that the ABI knows.
 */
const char *fake_host_code(long rc)
{
	switch (rc) {
	case -KVM_ENOSYS: return "ENOSYS";
	case PVIOMMU_RC_BAD_OP: return "BAD_OP";
	case PVIOMMU_RC_BAD_ARG: return "BAD_ARG";
	case PVIOMMU_RC_NO_APERTURE: return "NO_APERTURE";
	case PVIOMMU_RC_NO_ENDPOINT: return "NO_ENDPOINT";
	case PVIOMMU_RC_NOT_ENABLED: return "NOT_ENABLED";
	case PVIOMMU_RC_BAD_TABLE: return "BAD_TABLE";
	case PVIOMMU_RC_BAD_ENTRY: return "BAD_ENTRY";
	case PVIOMMU_RC_NO_RAM: return "NO_RAM";
	case PVIOMMU_RC_READ_ONLY: return "READ_ONLY";
	case PVIOMMU_RC_RETRY: return "RETRY";
	case PVIOMMU_RC_OVER_BUDGET: return "OVER_BUDGET";
	case PVIOMMU_RC_LOCK_LIMIT: return "LOCK_LIMIT";
	case PVIOMMU_RC_NO_MEMORY: return "NO_MEMORY";
	case PVIOMMU_RC_HOST_ERROR: return "HOST_ERROR";
	default: return NULL;
	}
}

static __printf(2, 3) void violation(struct fake_host *host, const char *fmt, ...)
{
	va_list args;

	if (host->violation[0])
		return;
	va_start(args, fmt);
	vscnprintf(host->violation, sizeof(host->violation), fmt, args);
	va_end(args);
}

static __printf(2, 3) void log_add(struct fake_host *host, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	host->log_len += vscnprintf(host->log + host->log_len,
				    sizeof(host->log) - host->log_len, fmt,
				    args);
	va_end(args);
}

static void log_call(struct fake_host *host, enum fake_call call, u32 id,
		     const struct pviommu_range *ranges, unsigned int nr, long rc)
{
	unsigned int i;

	if (call == FAKE_ENDPOINT || host->log_len == sizeof(host->log) - 1)
		return;

	log_add(host, "%s%s", host->log_len ? " " : "", call_names[call]);
	if (call != FAKE_PROBE)
		log_add(host, ":%u", id);
	for (i = 0; i < min(nr, LOGGED_RANGES); i++)
		log_add(host, "%c%llu+%llu", i ? ',' : '[', ranges[i].first,
			ranges[i].count);
	if (nr)
		log_add(host, "%s]", i < nr ? ",..." : "");
	if (fake_host_code(rc))
		log_add(host, "=%s", fake_host_code(rc));
	else
		log_add(host, "=%ld", rc);
}

static bool ram(u64 gpa)
{
	return gpa && pfn_valid(gpa >> PAGE_SHIFT);
}

static unsigned long nr_leaves(const struct fake_aperture *aperture)
{
	return DIV_ROUND_UP_ULL(aperture->info.length >> PVIOMMU_PAGE_SHIFT,
				PVIOMMU_ENTRIES_PER_LEAF);
}

/* Reads the directory, and sees that nothing but new leaves is in it. */
static void read_directory(struct fake_host *host,
			   struct fake_aperture *aperture)
{
	const __le64 *directory = phys_to_virt(aperture->directory);
	unsigned long i;

	for (i = 0; i < nr_leaves(aperture); i++) {
		u64 gpa = le64_to_cpu(READ_ONCE(directory[i]));

		if (gpa == aperture->seen[i])
			continue;
		if (aperture->seen[i])
			violation(host, "leaf %lu moved from %#llx to %#llx", i,
				  aperture->seen[i], gpa);
		if (!ram(gpa) || !IS_ALIGNED(gpa, PVIOMMU_PAGE_SIZE))
			violation(host, "leaf %lu is at %#llx", i, gpa);
		else
			aperture->seen[i] = gpa;
	}
}

/* Where an entry is; NULL without a leaf. */
static __le64 *entry_of(const struct fake_aperture *aperture, u64 page)
{
	u64 gpa = aperture->seen[page / PVIOMMU_ENTRIES_PER_LEAF];

	return gpa ? (__le64 *)phys_to_virt(gpa) +
		     page % PVIOMMU_ENTRIES_PER_LEAF : NULL;
}

/* What the table says of a page, 0 if it is not mapped. */
static u64 wanted(const struct fake_aperture *aperture, u64 page)
{
	const __le64 *at = entry_of(aperture, page);
	u64 entry;

	if (!at)
		return 0;
	entry = le64_to_cpu(READ_ONCE(*at));
	if (!(entry & (PVIOMMU_ENTRY_READ | PVIOMMU_ENTRY_WRITE)))
		return 0;
	return entry & ~PVIOMMU_ENTRY_GUEST;
}

static bool in_hole(const struct fake_aperture *aperture, u64 page)
{
	u64 iova = aperture->info.base + (page << PVIOMMU_PAGE_SHIFT);
	u32 i;

	for (i = 0; i < aperture->info.nr_holes; i++)
		if (iova + PVIOMMU_PAGE_SIZE > aperture->holes[i].base &&
		    iova < aperture->holes[i].base + aperture->holes[i].length)
			return true;
	return false;
}

/* Units are entered, and taken out, as a whole. */
static void check_unit(struct fake_host *host,
		       const struct fake_aperture *aperture, u64 page, bool map)
{
	u64 first = round_down(page, PVIOMMU_ENTRIES_PER_LEAF);
	u64 entry = wanted(aperture, first);
	u64 i;

	if (!(host->probe.features & PVIOMMU_FEATURE_LARGE))
		violation(host, "page %llu: a unit", page);
	if (map && (entry & PVIOMMU_ENTRY_GFN) % SZ_2M)
		violation(host, "page %llu: a unit at %#llx", page, entry);
	for (i = 0; i < PVIOMMU_ENTRIES_PER_LEAF; i++) {
		u64 expected = map ? entry + (i << PVIOMMU_PAGE_SHIFT) : 0;

		if (wanted(aperture, first + i) != expected)
			violation(host, "page %llu: the unit at %llu is broken",
				  first + i, page);
	}
}

static long map_page(struct fake_host *host, struct fake_aperture *aperture,
		     u64 page)
{
	u64 entry = wanted(aperture, page);

	if (!entry || aperture->shadow[page])
		return 0;
	if (entry & PVIOMMU_ENTRY_RESERVED) {
		violation(host, "entry %llu is %#llx", page, entry);
		return PVIOMMU_RC_BAD_ENTRY;
	}
	if (entry & PVIOMMU_ENTRY_LARGE && !(page % PVIOMMU_ENTRIES_PER_LEAF))
		check_unit(host, aperture, page, true);
	if (in_hole(aperture, page))
		return PVIOMMU_RC_BAD_ENTRY;
	if (!ram(entry & PVIOMMU_ENTRY_GFN))
		return PVIOMMU_RC_NO_RAM;
	if (aperture->nr_mapped >= aperture->info.budget)
		return PVIOMMU_RC_OVER_BUDGET;

	aperture->shadow[page] = entry;
	aperture->nr_mapped++;
	return 0;
}

static void unmap_page(struct fake_host *host, struct fake_aperture *aperture,
		       u64 page, bool all)
{
	if (!aperture->shadow[page] ||
	    (!all && aperture->shadow[page] == wanted(aperture, page)))
		return;
	if (!all && aperture->shadow[page] & PVIOMMU_ENTRY_LARGE &&
	    !(page % PVIOMMU_ENTRIES_PER_LEAF))
		check_unit(host, aperture, page, false);
	aperture->shadow[page] = 0;
	aperture->nr_mapped--;
}

static void drop(struct fake_host *host, struct fake_aperture *aperture)
{
	u64 page;

	for (page = 0; aperture->nr_mapped; page++)
		unmap_page(host, aperture, page, true);
	aperture->directory = 0;
}

static bool range_ok(struct fake_host *host, struct fake_aperture *aperture,
		     const struct pviommu_range *range)
{
	u64 nr_pages = aperture->info.length >> PVIOMMU_PAGE_SHIFT;

	if (range->count && range->first < nr_pages &&
	    range->count <= nr_pages - range->first)
		return true;
	violation(host, "sync of %llu+%llu in a window of %llu", range->first,
		  range->count, nr_pages);
	return false;
}

static long sync(struct fake_host *host, struct fake_aperture *aperture,
		 const struct pviommu_range *ranges, unsigned int nr, bool map,
		 u64 max)
{
	u64 left = max, done = 0;
	unsigned int i;
	u64 j;

	for (i = 0; i < nr; i++)
		if (!range_ok(host, aperture, &ranges[i]))
			return PVIOMMU_RC_BAD_ARG;
	if (!aperture->directory)
		return PVIOMMU_RC_NOT_ENABLED;
	read_directory(host, aperture);

	for (i = 0; i < nr; i++) {
		u64 count = min(ranges[i].count, left);

		for (j = 0; j < count; j++)
			unmap_page(host, aperture, ranges[i].first + j, false);
		left -= count;
	}
	if (!map)
		return max - left;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < ranges[i].count && done < max; j++, done++) {
			long rc = map_page(host, aperture, ranges[i].first + j);

			if (rc)
				return done ? done : rc;
		}
	}
	return done;
}

static long probe(struct fake_host *host, u64 gpa, u64 size)
{
	memcpy(phys_to_virt(gpa), &host->probe,
	       min3(size, (u64)sizeof(host->probe), (u64)host->probe_size));
	return host->probe_size;
}

static long endpoint(struct fake_host *host, u64 where, u64 devfns)
{
	unsigned int i;

	for (i = 0; i < host->nr_endpoints; i++)
		if (host->endpoints[i].where == where &&
		    host->endpoints[i].devfns == devfns)
			return host->endpoints[i].aperture;
	return PVIOMMU_RC_NO_ENDPOINT;
}

static long aperture_info(struct fake_aperture *aperture, u64 gpa, u64 size)
{
	struct pviommu_aperture_info *to = phys_to_virt(gpa);
	size_t holes = aperture->info.nr_holes * sizeof(*aperture->holes);
	long rc = sizeof(*to) + holes;

	memcpy(to, &aperture->info, min(size, sizeof(*to)));
	if (size > sizeof(*to))
		memcpy(to->holes, aperture->holes,
		       min(size - sizeof(*to), holes));
	aperture->info.nr_holes = min(aperture->info.nr_holes +
				      aperture->more_holes, aperture->max_holes);
	return rc;
}

static long enable(struct fake_host *host, struct fake_aperture *aperture,
		   u64 directory)
{
	if (!ram(directory) || !IS_ALIGNED(directory, PVIOMMU_PAGE_SIZE)) {
		violation(host, "directory at %#llx", directory);
		return PVIOMMU_RC_BAD_TABLE;
	}
	drop(host, aperture);
	memset(aperture->seen, 0, nr_leaves(aperture) * sizeof(u64));
	aperture->directory = directory;
	return 0;
}

static long fetch_events(struct fake_aperture *aperture, u64 gpa, u64 size)
{
	struct pviommu_event *events = phys_to_virt(gpa);
	unsigned int nr = min(size / sizeof(*events), aperture->nr_events);

	memcpy(events, aperture->events, nr * sizeof(*events));
	aperture->nr_events -= nr;
	memmove(aperture->events, aperture->events + nr,
		aperture->nr_events * sizeof(*events));
	return nr;
}

static enum fake_call which(struct fake_host *host, u32 op, u64 arg3)
{
	bool unmap = arg3 & PVIOMMU_SYNC_UNMAP;

	if (op != PVIOMMU_OP_SYNC && op != PVIOMMU_OP_SYNC_LIST && arg3)
		violation(host, "operation %u with a third operand", op);
	if (arg3 & ~PVIOMMU_SYNC_UNMAP)
		violation(host, "flags %#llx", arg3);

	switch (op) {
	case PVIOMMU_OP_PROBE: return FAKE_PROBE;
	case PVIOMMU_OP_ENDPOINT: return FAKE_ENDPOINT;
	case PVIOMMU_OP_APERTURE: return FAKE_APERTURE;
	case PVIOMMU_OP_ENABLE: return FAKE_ENABLE;
	case PVIOMMU_OP_DISABLE: return FAKE_DISABLE;
	case PVIOMMU_OP_EVENTS: return FAKE_EVENTS;
	case PVIOMMU_OP_SYNC:
		return unmap ? FAKE_UNMAP : FAKE_MAP;
	case PVIOMMU_OP_SYNC_LIST:
		if (!unmap)
			violation(host, "a list that maps");
		return FAKE_UNMAP_LIST;
	default:
		violation(host, "operation %u", op);
		return FAKE_PROBE;
	}
}

/* The plan for a call, if something is to go wrong with it. */
static const struct fake_plan *planned(struct fake_host *host,
				       enum fake_call call)
{
	unsigned int i;

	for (i = 0; i < host->nr_plans; i++) {
		struct fake_plan *plan = &host->plans[i];

		if (plan->call != call || !plan->times)
			continue;
		if (plan->after) {
			plan->after--;
			continue;
		}
		if (plan->times != FAKE_FOREVER)
			plan->times--;
		return plan;
	}
	return NULL;
}

static long answer(struct fake_host *host, enum fake_call call, u32 id,
		   u64 arg1, u64 arg2, const struct pviommu_range *ranges,
		   unsigned int nr, u64 max)
{
	struct fake_aperture *aperture = &host->apertures[id];

	switch (call) {
	case FAKE_PROBE:
		return probe(host, arg1, arg2);
	case FAKE_ENDPOINT:
		return endpoint(host, arg1, arg2);
	case FAKE_APERTURE:
		return aperture_info(aperture, arg1, arg2);
	case FAKE_ENABLE:
		if (arg2 & ~PVIOMMU_ENABLE_DIRECT)
			violation(host, "enable with flags %#llx", arg2);
		aperture->direct = arg2;
		return enable(host, aperture, arg1);
	case FAKE_DISABLE:
		if (arg1 || arg2)
			violation(host, "disable with operands");
		drop(host, aperture);
		return 0;
	case FAKE_EVENTS:
		return fetch_events(aperture, arg1, arg2);
	default:
		return sync(host, aperture, ranges, nr, call == FAKE_MAP, max);
	}
}

static long fake_host_call(u32 op, u32 id, u64 arg1, u64 arg2, u64 arg3)
{
	struct pviommu_range one = { .first = arg1, .count = arg2 };
	struct fake_host *host = READ_ONCE(the_host);
	const struct pviommu_range *ranges = NULL;
	const struct fake_plan *plan;
	enum fake_call call;
	unsigned long flags;
	unsigned int nr = 0;
	u64 max;
	long rc;

	spin_lock_irqsave(&host->lock, flags);
	call = which(host, op, arg3);
	host->nr_calls[call]++;
	spin_unlock_irqrestore(&host->lock, flags);
	if (host->peek)
		host->peek(host, call);
	spin_lock_irqsave(&host->lock, flags);

	if (call == FAKE_MAP || call == FAKE_UNMAP) {
		ranges = &one;
		nr = 1;
	} else if (call == FAKE_UNMAP_LIST) {
		if (!IS_ALIGNED(arg1, 8) || !ram(arg1) ||
		    arg2 > host->probe.sync_max_ranges)
			violation(host, "list of %llu at %#llx", arg2, arg1);
		else
			nr = arg2;
		ranges = phys_to_virt(arg1);
	}

	max = host->probe.sync_max_pages;
	plan = planned(host, call);
	if (plan && plan->trick == FAKE_AT_MOST)
		max = plan->value;

	if (id >= host->probe.nr_apertures)
		rc = PVIOMMU_RC_NO_APERTURE;
	else if (plan && plan->trick == FAKE_ANSWER)
		rc = plan->value;
	else
		rc = answer(host, call, id, arg1, arg2, ranges, nr, max);
	if (plan && plan->trick == FAKE_ADD)
		rc += plan->value;

	log_call(host, call, id, ranges, nr, rc);
	spin_unlock_irqrestore(&host->lock, flags);
	return rc;
}

/**
 * fake_host_start() - have the driver's calls answered
 * @test: frees what is allocated at its end
 *
 * The host has two apertures, with windows that suit nobody in particular, and
 * no endpoint.
 *
 * Return: the host.
 */
struct fake_host *fake_host_start(struct kunit *test)
{
	struct fake_host *host = kunit_kzalloc(test, sizeof(*host), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, host);
	spin_lock_init(&host->lock);
	host->probe_size = sizeof(host->probe);
	host->probe = (struct pviommu_probe_info) {
		.version = PVIOMMU_ABI_VERSION,
		.nr_apertures = FAKE_APERTURES,
		.features = PVIOMMU_FEATURE_SYNC_LIST | PVIOMMU_FEATURE_EVENTS,
		.sync_max_pages = 4096,
		.sync_max_ranges = 256,
	};
	fake_host_set_window(test, host, 0, 0x1000000, 1200);
	fake_host_set_window(test, host, 1, 0x100000000, 700);

	WRITE_ONCE(the_host, host);
	WRITE_ONCE(pviommu_host_stub, fake_host_call);
	return host;
}

/**
 * fake_host_stop() - undo fake_host_start()
 * @host: the host; nothing of the driver calls any more
 */
void fake_host_stop(struct fake_host *host)
{
	WRITE_ONCE(pviommu_host_stub, NULL);
	WRITE_ONCE(the_host, NULL);
}

static void free_shadow(void *shadow)
{
	vfree(shadow);
}

/**
 * fake_host_set_window() - give an aperture a window, with no holes in it
 * @test: the test
 * @host: the host
 * @id: the aperture, which nothing is done with yet
 * @base: first IOVA, in bytes
 * @nr_pages: pages in it, and its budget
 */
void fake_host_set_window(struct kunit *test, struct fake_host *host, u32 id,
			  u64 base, u64 nr_pages)
{
	struct fake_aperture *aperture = &host->apertures[id];

	aperture->info = (struct pviommu_aperture_info) {
		.base = base,
		.length = nr_pages << PVIOMMU_PAGE_SHIFT,
		.budget = nr_pages,
	};
	aperture->seen = kunit_kcalloc(test, nr_leaves(aperture), sizeof(u64),
				       GFP_KERNEL);
	aperture->shadow = vcalloc(nr_pages, sizeof(u64));
	aperture->events = kunit_kcalloc(test, 5 * PVIOMMU_MAX_EVENTS,
					 sizeof(*aperture->events), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, aperture->seen);
	KUNIT_ASSERT_NOT_NULL(test, aperture->shadow);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, free_shadow,
						  aperture->shadow));
	KUNIT_ASSERT_NOT_NULL(test, aperture->events);
}

/**
 * fake_host_set_holes() - put holes of one page at every other page of a window
 * @test: the test
 * @host: the host
 * @id: the aperture
 * @nr: how many
 * @max: how many there can ever be
 */
void fake_host_set_holes(struct kunit *test, struct fake_host *host, u32 id,
			 u32 nr, u32 max)
{
	struct fake_aperture *aperture = &host->apertures[id];
	u32 i;

	aperture->holes = kunit_kcalloc(test, max, sizeof(*aperture->holes),
					GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, aperture->holes);
	for (i = 0; i < max; i++) {
		aperture->holes[i].base = aperture->info.base +
					  (2 * i + 1) * PVIOMMU_PAGE_SIZE;
		aperture->holes[i].length = PVIOMMU_PAGE_SIZE;
	}
	aperture->info.nr_holes = nr;
	aperture->max_holes = max;
}

/**
 * fake_host_add_endpoint() - put a device into an aperture
 * @host: the host
 * @path: the device
 * @id: the aperture
 */
void fake_host_add_endpoint(struct fake_host *host,
			    const struct pviommu_path *path, u32 id)
{
	host->endpoints[host->nr_endpoints++] = (struct fake_endpoint) {
		.where = path->segment | (u64)path->root_bus << 32 |
			 (u64)path->depth << 40,
		.devfns = path->devfns,
		.aperture = id,
	};
}

/**
 * fake_host_add_event() - have an IOMMU refuse DMA
 * @host: the host
 * @id: the aperture
 * @path: the device
 * @iova: where it went
 * @flags: PVIOMMU_EVENT_*
 */
void fake_host_add_event(struct fake_host *host, u32 id,
			 const struct pviommu_path *path, u64 iova, u16 flags)
{
	struct fake_aperture *aperture = &host->apertures[id];
	struct pviommu_event *event = &aperture->events[aperture->nr_events++];
	unsigned int i;

	*event = (struct pviommu_event) {
		.iova = iova,
		.segment = path->segment,
		.root_bus = path->root_bus,
		.depth = path->depth,
		.flags = flags,
	};
	for (i = 0; i < PVIOMMU_PATH_MAX_DEPTH; i++)
		event->path[i] = path->devfns >> (8 * i);
}

/**
 * fake_host_entry() - read an entry
 * @host: the host
 * @id: the aperture
 * @page: window page
 *
 * Return: what the guest has there, its own bits too.
 */
u64 fake_host_entry(const struct fake_host *host, u32 id, u64 page)
{
	const __le64 *at = entry_of(&host->apertures[id], page);

	return at ? le64_to_cpu(READ_ONCE(*at)) : 0;
}

/**
 * fake_host_reclaim() - take back all idle pages
 * @host: the host
 * @id: the aperture
 *
 * Return: how many there were.
 */
u64 fake_host_reclaim(struct fake_host *host, u32 id)
{
	struct fake_aperture *aperture = &host->apertures[id];
	u64 page, nr = aperture->info.length >> PVIOMMU_PAGE_SHIFT, taken = 0;
	unsigned long flags;

	spin_lock_irqsave(&host->lock, flags);
	for (page = 0; aperture->direct && page < nr; page++) {
		__le64 *at = entry_of(aperture, page), entry;

		if (!at || !aperture->shadow[page])
			continue;
		entry = READ_ONCE(*at);
		if (!entry || le64_to_cpu(entry) & PVIOMMU_ENTRY_USES ||
		    cmpxchg(at, entry, 0) != entry)
			continue;
		aperture->shadow[page] = 0;
		aperture->nr_mapped--;
		taken++;
	}
	spin_unlock_irqrestore(&host->lock, flags);
	return taken;
}

/**
 * fake_host_plan() - have something go wrong
 * @host: the host
 * @plan: what
 */
void fake_host_plan(struct fake_host *host, const struct fake_plan *plan)
{
	host->plans[host->nr_plans] = *plan;
	if (!plan->times)
		host->plans[host->nr_plans].times = 1;
	host->nr_plans++;
}

/**
 * fake_host_forget() - begin a new record, and let nothing go wrong any more
 * @host: the host
 */
void fake_host_forget(struct fake_host *host)
{
	unsigned long flags;

	spin_lock_irqsave(&host->lock, flags);
	memset(host->nr_calls, 0, sizeof(host->nr_calls));
	host->log[0] = '\0';
	host->log_len = 0;
	host->nr_plans = 0;
	spin_unlock_irqrestore(&host->lock, flags);
}

/**
 * fake_host_total() - count calls
 * @host: the host
 *
 * Return: how many there were, ENDPOINT left out.
 */
unsigned int fake_host_total(const struct fake_host *host)
{
	unsigned int total = 0;
	int i;

	for (i = 0; i < FAKE_NR_CALLS; i++)
		if (i != FAKE_ENDPOINT)
			total += host->nr_calls[i];
	return total;
}

/**
 * fake_host_in_step() - compare what is mapped with a table
 * @host: the host
 * @id: the aperture
 * @table: the table
 *
 * Return: whether the aperture follows the table, and just that is mapped.
 */
bool fake_host_in_step(const struct fake_host *host, u32 id,
		       const struct pviommu_table *table)
{
	const struct fake_aperture *aperture = &host->apertures[id];
	u64 page;

	if (aperture->directory != virt_to_phys(table->directory))
		return false;

	for (page = 0; page < table->nr_pages; page++)
		if ((aperture->shadow[page] & PVIOMMU_ENTRY_GFN) !=
		    pviommu_table_lookup(table, page))
			return false;
	return true;
}
