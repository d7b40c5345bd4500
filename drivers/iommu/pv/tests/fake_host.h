/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A host that is made up. It answers hypercalls as Documentation/guest-abi.rst
 * says: it reads the guest's table at each sync, and what it has "mapped" is a
 * record of its own. It writes down every call, notices whatever a guest must not
 * do, and misbehaves when it is told to.
 */
#ifndef _PVIOMMU_FAKE_HOST_H
#define _PVIOMMU_FAKE_HOST_H

#include <kunit/test.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/pviommu_abi.h>

#include "pviommu.h"

#define FAKE_APERTURES	2
#define FAKE_ENDPOINTS	4
#define FAKE_PLANS	4
#define FAKE_FOREVER	UINT_MAX

/* SYNC and SYNC_LIST are told apart by what they are for. */
enum fake_call {
	FAKE_PROBE,
	FAKE_ENDPOINT,
	FAKE_APERTURE,
	FAKE_ENABLE,
	FAKE_DISABLE,
	FAKE_MAP,
	FAKE_UNMAP,
	FAKE_UNMAP_LIST,
	FAKE_EVENTS,
	FAKE_NR_CALLS,
};

/**
 * enum fake_trick - how a call is answered differently
 * @FAKE_ANSWER: with a result and nothing done
 * @FAKE_AT_MOST: after so many pages
 * @FAKE_ADD: as always, but with so much added to the result
 */
enum fake_trick {
	FAKE_ANSWER,
	FAKE_AT_MOST,
	FAKE_ADD,
};

/**
 * struct fake_plan - what is to go wrong
 * @call: with which call
 * @trick: how
 * @value: for @trick
 * @times: how often; 0 for once
 * @after: calls that go well before
 */
struct fake_plan {
	enum fake_call call;
	enum fake_trick trick;
	long value;
	unsigned int times;
	unsigned int after;
};

/**
 * struct fake_aperture - an aperture as the host sees it
 * @info: what APERTURE answers
 * @holes: room for @max_holes, of which @info says how many there are
 * @max_holes: elements of @holes
 * @more_holes: added at each APERTURE, as if devices came
 * @directory: GPA of what it follows, 0 if nothing
 * @direct: entries have use counts
 * @seen: the directory as it was last seen
 * @shadow: entries as they are mapped
 * @nr_mapped: elements of @shadow that are not 0
 * @events: what EVENTS has not fetched yet
 * @nr_events: elements of @events
 */
struct fake_aperture {
	struct pviommu_aperture_info info;
	struct pviommu_hole *holes;
	u32 max_holes;
	u32 more_holes;
	u64 directory;
	bool direct;
	u64 *seen;
	u64 *shadow;
	u64 nr_mapped;
	struct pviommu_event *events;
	unsigned int nr_events;
};

struct fake_endpoint {
	u64 where;
	u64 devfns;
	u32 aperture;
};

/**
 * struct fake_host - the host
 * @lock: guards all of it; calls come from timers, too
 * @probe: what PROBE answers
 * @probe_size: how much of it the host knows
 * @apertures: the apertures; @probe says how many are in use
 * @endpoints: what ENDPOINT finds
 * @nr_endpoints: elements of @endpoints
 * @plans: what is to go wrong
 * @nr_plans: elements of @plans
 * @peek: called at the start of every call, without @lock, to look at what state
 *	the guest makes it in
 * @peek_data: for @peek
 * @nr_calls: how many there were of each
 * @log: the calls and their results, as far as there is room; "endpoint" is left
 *	out, as it depends on the machine's devices
 * @log_len: length of @log
 * @violation: the first of what a guest must not do
 */
struct fake_host {
	spinlock_t lock; /* all of it */
	struct pviommu_probe_info probe;
	long probe_size;
	struct fake_aperture apertures[FAKE_APERTURES];
	struct fake_endpoint endpoints[FAKE_ENDPOINTS];
	unsigned int nr_endpoints;
	struct fake_plan plans[FAKE_PLANS];
	unsigned int nr_plans;
	void (*peek)(struct fake_host *host, enum fake_call call);
	void *peek_data;
	unsigned int nr_calls[FAKE_NR_CALLS];
	char log[1024];
	size_t log_len;
	char violation[128];
};

struct fake_host *fake_host_start(struct kunit *test);
void fake_host_stop(struct fake_host *host);
void fake_host_set_window(struct kunit *test, struct fake_host *host, u32 id,
			  u64 base, u64 nr_pages);
void fake_host_set_holes(struct kunit *test, struct fake_host *host, u32 id,
			 u32 nr, u32 max);
void fake_host_add_endpoint(struct fake_host *host,
			    const struct pviommu_path *path, u32 id);
void fake_host_add_event(struct fake_host *host, u32 id,
			 const struct pviommu_path *path, u64 iova, u16 flags);
u64 fake_host_entry(const struct fake_host *host, u32 id, u64 page);
u64 fake_host_reclaim(struct fake_host *host, u32 id);
void fake_host_plan(struct fake_host *host, const struct fake_plan *plan);
void fake_host_forget(struct fake_host *host);
unsigned int fake_host_total(const struct fake_host *host);
bool fake_host_in_step(const struct fake_host *host, u32 id,
		       const struct pviommu_table *table);
const char *fake_host_code(long rc);

#define fake_host_expect(test, host, expected) do {			\
	struct fake_host *__host = (host);				\
									\
	KUNIT_EXPECT_STREQ(test, __host->log, expected);		\
	fake_host_forget(__host);					\
} while (0)

#endif /* _PVIOMMU_FAKE_HOST_H */
