// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every call of the driver, with every answer of the host.
 */
#include <kunit/test.h>
#include <linux/kvm_para.h>
#include <linux/limits.h>

#include "fixture.h"

/* As often as host.c makes one call before it takes "again" for a refusal. */
#define MAX_RETRIES	10000

/* What each result stands for, and what it does where the others do not. */
static const struct code_case {
	long rc;
	int err;
	int unmap_err;
	int events_err;
} code_cases[] = {
	{ -KVM_ENOSYS, -ENXIO, 0, -ENXIO },
	{ PVIOMMU_RC_BAD_OP, -EOPNOTSUPP, -EOPNOTSUPP, -EOPNOTSUPP },
	{ PVIOMMU_RC_BAD_ARG, -EINVAL, -EINVAL, -EINVAL },
	{ PVIOMMU_RC_NO_APERTURE, -ENXIO, 0, -ENXIO },
	{ PVIOMMU_RC_NO_ENDPOINT, -ENODEV, -ENODEV, 0 },
	{ PVIOMMU_RC_NOT_ENABLED, -ENXIO, 0, -ENXIO },
	{ PVIOMMU_RC_BAD_TABLE, -EFAULT, -EFAULT, -EFAULT },
	{ PVIOMMU_RC_BAD_ENTRY, -EINVAL, -EINVAL, -EINVAL },
	{ PVIOMMU_RC_NO_RAM, -EFAULT, -EFAULT, -EFAULT },
	{ PVIOMMU_RC_READ_ONLY, -EACCES, -EACCES, -EACCES },
	{ PVIOMMU_RC_RETRY, -EAGAIN, -EAGAIN, -EAGAIN },
	{ PVIOMMU_RC_OVER_BUDGET, -ENOMEM, -ENOMEM, -ENOMEM },
	{ PVIOMMU_RC_LOCK_LIMIT, -ENOMEM, -ENOMEM, -ENOMEM },
	{ PVIOMMU_RC_NO_MEMORY, -ENOMEM, -ENOMEM, 0 },
	{ PVIOMMU_RC_HOST_ERROR, -EIO, -EIO, -EIO },
	{ -1, -EIO, -EIO, -EIO },
	{ -2015, -EIO, -EIO, -EIO },
	{ LONG_MIN, -EIO, -EIO, -EIO },
};

static void code_desc(const struct code_case *param, char *desc)
{
	const char *name = fake_host_code(param->rc);

	if (name)
		strscpy(desc, name, KUNIT_PARAM_DESC_SIZE);
	else
		scnprintf(desc, KUNIT_PARAM_DESC_SIZE, "%ld", param->rc);
}

KUNIT_ARRAY_PARAM(code, code_cases, code_desc);

/* Makes @call be answered with the case's result for good. */
static const struct code_case *refuse(struct kunit *test, enum fake_call call)
{
	const struct code_case *param = test->param_value;
	struct fake_plan plan = {
		.call = call,
		.value = param->rc,
		.times = FAKE_FOREVER,
	};

	fake_host_forget(fixture_host(test));
	fake_host_plan(fixture_host(test), &plan);
	return param;
}

static void expect_calls(struct kunit *test, enum fake_call call)
{
	const struct code_case *param = test->param_value;

	KUNIT_EXPECT_EQ(test, fixture_host(test)->nr_calls[call],
			param->rc == PVIOMMU_RC_RETRY ? MAX_RETRIES : 1);
}

static void host_probe_code(struct kunit *test)
{
	const struct code_case *param = refuse(test, FAKE_PROBE);

	KUNIT_EXPECT_EQ(test, pviommu_host_probe(), param->err);
	expect_calls(test, FAKE_PROBE);
}

static void host_endpoint_code(struct kunit *test)
{
	const struct code_case *param = refuse(test, FAKE_ENDPOINT);
	const struct pviommu_path path = { .depth = 1 };
	u32 id;

	KUNIT_EXPECT_EQ(test, pviommu_host_endpoint(&path, &id), param->err);
	expect_calls(test, FAKE_ENDPOINT);
}

static void host_aperture_code(struct kunit *test)
{
	const struct code_case *param = refuse(test, FAKE_APERTURE);

	KUNIT_EXPECT_EQ(test, PTR_ERR(pviommu_host_aperture(0)), param->err);
	expect_calls(test, FAKE_APERTURE);
}

static void host_enable_code(struct kunit *test)
{
	const struct code_case *param = refuse(test, FAKE_ENABLE);

	KUNIT_EXPECT_EQ(test, pviommu_host_enable(0, PAGE_SIZE, false), param->err);
	expect_calls(test, FAKE_ENABLE);
}

static void host_disable_code(struct kunit *test)
{
	refuse(test, FAKE_DISABLE);
	pviommu_host_disable(0);
	expect_calls(test, FAKE_DISABLE);
}

static void host_map_code(struct kunit *test)
{
	const struct code_case *param = refuse(test, FAKE_MAP);
	struct pviommu_range range = { 5, 8 };

	KUNIT_EXPECT_EQ(test, pviommu_host_map(0, &range), param->err);
	KUNIT_EXPECT_EQ(test, range.first, 5);
	KUNIT_EXPECT_EQ(test, range.count, 8);
	expect_calls(test, FAKE_MAP);
}

static void host_unmap_code(struct kunit *test)
{
	const struct code_case *param = refuse(test, FAKE_UNMAP);

	KUNIT_EXPECT_EQ(test, pviommu_host_unmap(0, 5, 8), param->unmap_err);
	expect_calls(test, FAKE_UNMAP);
}

static void host_unmap_list_code(struct kunit *test)
{
	const struct code_case *param = refuse(test, FAKE_UNMAP_LIST);
	struct pviommu_range *ranges;

	ranges = kunit_kcalloc(test, 2, sizeof(*ranges), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ranges);
	ranges[0].count = 1;
	ranges[1].count = 1;
	KUNIT_EXPECT_EQ(test, pviommu_host_unmap_ranges(0, ranges, 2),
			param->unmap_err);
	expect_calls(test, FAKE_UNMAP_LIST);
}

static void host_events_code(struct kunit *test)
{
	const struct code_case *param = refuse(test, FAKE_EVENTS);
	struct pviommu_event *event;

	event = kunit_kzalloc(test, sizeof(*event), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, event);
	KUNIT_EXPECT_EQ(test, pviommu_host_events(0, event, 1),
			param->events_err);
	expect_calls(test, FAKE_EVENTS);
}

static const struct probe_case {
	const char *name;
	u32 version;
	long size;
	int err;
} probe_cases[] = {
	{ "as known", 1, 24, 0 },
	{ "a later version", 2, 64, 0 },
	{ "version 0", 0, 24, -EPROTO },
	{ "short by a byte", 1, 23, -EPROTO },
	{ "nothing", 1, 0, -EPROTO },
};

KUNIT_ARRAY_PARAM_DESC(probe, probe_cases, name);

static void host_probe(struct kunit *test)
{
	const struct probe_case *param = test->param_value;
	struct fake_host *host = fixture_host(test);

	host->probe.version = param->version;
	host->probe_size = param->size;
	KUNIT_EXPECT_EQ(test, pviommu_host_probe(), param->err);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_PROBE], 1);
}

static void host_features(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);

	KUNIT_EXPECT_TRUE(test, pviommu_host_has_events());
	KUNIT_EXPECT_FALSE(test, pviommu_host_has_large());
	host->probe.features &= ~PVIOMMU_FEATURE_EVENTS;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
	KUNIT_EXPECT_FALSE(test, pviommu_host_has_events());
	/* Bits that this driver does not know. */
	host->probe.features = ~0ULL;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
	KUNIT_EXPECT_TRUE(test, pviommu_host_has_events());
	KUNIT_EXPECT_TRUE(test, pviommu_host_has_large());
}

/* "Again" means the same call, until it is answered. */
static void host_retry(struct kunit *test)
{
	const struct fake_plan plans[] = {
		{ .call = FAKE_MAP, .value = PVIOMMU_RC_RETRY, .times = 2 },
		{ .call = FAKE_MAP, .value = PVIOMMU_RC_RETRY, .after = 1 },
		{ .call = FAKE_MAP, .trick = FAKE_AT_MOST, .value = 3 },
	};
	struct fake_host *host = fixture_host(test);
	struct pviommu_range range = { 5, 8 };
	struct pviommu_table table = {};
	unsigned int i;

	KUNIT_ASSERT_EQ(test, pviommu_table_init(&table, 1200), 0);
	KUNIT_EXPECT_EQ(test, pviommu_host_enable(0, pviommu_table_gpa(&table),
						  false), 0);
	fake_host_forget(host);
	for (i = 0; i < ARRAY_SIZE(plans); i++)
		fake_host_plan(host, &plans[i]);
	KUNIT_EXPECT_EQ(test, pviommu_host_map(0, &range), 0);
	fake_host_expect(test, host,
			 "map:0[5+8]=RETRY map:0[5+8]=RETRY map:0[5+8]=3 map:0[8+5]=RETRY map:0[8+5]=5");
	pviommu_host_disable(0);
	pviommu_table_destroy(&table);
}

/* What comes back from SYNC, besides a code: bounded, believed, or refused. */
static const struct progress_case {
	const char *name;
	struct fake_plan plans[2];
	unsigned int nr_plans;
	int err;
	const char *log;
	u64 first;
	u64 count;
} progress_cases[] = {
	{ "all at once", {}, 0, 0, "map:0[5+8]=8", 13, 0 },
	{ "in three calls",
	  { { .call = FAKE_MAP, .trick = FAKE_AT_MOST, .value = 3, .times = 5 } },
	  1, 0, "map:0[5+8]=3 map:0[8+5]=3 map:0[11+2]=2", 13, 0 },
	{ "nothing, once", { { .call = FAKE_MAP } },
	  1, 0, "map:0[5+8]=0 map:0[5+8]=8", 13, 0 },
	{ "one more than asked",
	  { { .call = FAKE_MAP, .trick = FAKE_ADD, .value = 1 } },
	  1, -EIO, "map:0[5+8]=9", 5, 8 },
	{ "more than asked for the rest",
	  { { .call = FAKE_MAP, .trick = FAKE_AT_MOST, .value = 6 },
	    { .call = FAKE_MAP, .trick = FAKE_ADD, .value = 1 } },
	  2, -EIO, "map:0[5+8]=6 map:0[11+2]=3", 11, 2 },
	{ "far too much",
	  { { .call = FAKE_MAP, .value = LONG_MAX } },
	  1, -EIO, "map:0[5+8]=9223372036854775807", 5, 8 },
	{ "some, then out of budget",
	  { { .call = FAKE_MAP, .trick = FAKE_AT_MOST, .value = 3 },
	    { .call = FAKE_MAP, .value = PVIOMMU_RC_OVER_BUDGET } },
	  2, -ENOMEM, "map:0[5+8]=3 map:0[8+5]=OVER_BUDGET", 8, 5 },
	{ "some, then a bad entry",
	  { { .call = FAKE_MAP, .trick = FAKE_AT_MOST, .value = 7 },
	    { .call = FAKE_MAP, .value = PVIOMMU_RC_BAD_ENTRY } },
	  2, -EINVAL, "map:0[5+8]=7 map:0[12+1]=BAD_ENTRY", 12, 1 },
};

KUNIT_ARRAY_PARAM_DESC(progress, progress_cases, name);

static void host_progress(struct kunit *test)
{
	const struct progress_case *param = test->param_value;
	struct fake_host *host = fixture_host(test);
	struct pviommu_range range = { 5, 8 };
	struct pviommu_table table = {};
	unsigned int i;

	KUNIT_ASSERT_EQ(test, pviommu_table_init(&table, 1200), 0);
	KUNIT_EXPECT_EQ(test, pviommu_host_enable(0, pviommu_table_gpa(&table),
						  false), 0);
	fake_host_forget(host);
	for (i = 0; i < param->nr_plans; i++)
		fake_host_plan(host, &param->plans[i]);
	KUNIT_EXPECT_EQ(test, pviommu_host_map(0, &range), param->err);
	KUNIT_EXPECT_EQ(test, range.first, param->first);
	KUNIT_EXPECT_EQ(test, range.count, param->count);
	fake_host_expect(test, host, param->log);
	pviommu_host_disable(0);
	pviommu_table_destroy(&table);
}

static void host_no_progress(struct kunit *test)
{
	const struct fake_plan plan = {
		.call = FAKE_MAP,
		.times = FAKE_FOREVER,
	};
	struct fake_host *host = fixture_host(test);
	struct pviommu_range range = { 5, 8 };

	fake_host_plan(host, &plan);
	KUNIT_EXPECT_EQ(test, pviommu_host_map(0, &range), -EAGAIN);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_MAP], MAX_RETRIES);
}

/* Scattered ranges: how they are batched, and where they go on. */
static const struct list_case {
	const char *name;
	bool no_list;
	u32 max_ranges;
	struct fake_plan plan;
	struct pviommu_range ranges[5];
	unsigned int nr;
	int err;
	const char *log;
} list_cases[] = {
	{ .name = "one range needs no list", .max_ranges = 256,
	  .ranges = { { 1, 4 } }, .nr = 1, .log = "unmap:0[1+4]=4" },
	{ .name = "one list", .max_ranges = 256,
	  .ranges = { { 1, 4 }, { 10, 2 }, { 20, 1 } }, .nr = 3,
	  .log = "unmap:0[1+4,10+2,20+1]=7" },
	{ .name = "no lists on this host", .no_list = true, .max_ranges = 256,
	  .ranges = { { 1, 4 }, { 10, 2 } }, .nr = 2,
	  .log = "unmap:0[1+4]=4 unmap:0[10+2]=2" },
	{ .name = "lists of no range", .max_ranges = 0,
	  .ranges = { { 1, 4 }, { 10, 2 } }, .nr = 2,
	  .log = "unmap:0[1+4]=4 unmap:0[10+2]=2" },
	{ .name = "lists of one", .max_ranges = 1,
	  .ranges = { { 1, 4 }, { 10, 2 } }, .nr = 2,
	  .log = "unmap:0[1+4]=4 unmap:0[10+2]=2" },
	{ .name = "more than a list holds", .max_ranges = 2,
	  .ranges = { { 1, 4 }, { 10, 2 }, { 20, 1 }, { 30, 1 }, { 40, 1 } },
	  .nr = 5,
	  .log = "unmap:0[1+4,10+2]=6 unmap:0[20+1,30+1]=2 unmap:0[40+1]=1" },
	{ .name = "stops inside a range", .max_ranges = 256,
	  .plan = { .call = FAKE_UNMAP_LIST, .trick = FAKE_AT_MOST, .value = 5 },
	  .ranges = { { 1, 4 }, { 10, 2 }, { 20, 1 } }, .nr = 3,
	  .log = "unmap:0[1+4,10+2,20+1]=5 unmap:0[11+1,20+1]=2" },
	{ .name = "stops at a range's end", .max_ranges = 256,
	  .plan = { .call = FAKE_UNMAP_LIST, .trick = FAKE_AT_MOST, .value = 4 },
	  .ranges = { { 1, 4 }, { 10, 2 }, { 20, 1 } }, .nr = 3,
	  .log = "unmap:0[1+4,10+2,20+1]=4 unmap:0[10+2,20+1]=3" },
	{ .name = "one page at a time", .max_ranges = 256,
	  .plan = { .call = FAKE_UNMAP_LIST, .trick = FAKE_AT_MOST, .value = 1,
		    .times = FAKE_FOREVER },
	  .ranges = { { 1, 2 }, { 20, 1 } }, .nr = 2,
	  .log = "unmap:0[1+2,20+1]=1 unmap:0[2+1,20+1]=1 unmap:0[20+1]=1" },
	{ .name = "again", .max_ranges = 256,
	  .plan = { .call = FAKE_UNMAP_LIST, .value = PVIOMMU_RC_RETRY },
	  .ranges = { { 1, 2 }, { 20, 1 } }, .nr = 2,
	  .log = "unmap:0[1+2,20+1]=RETRY unmap:0[1+2,20+1]=3" },
	{ .name = "more than asked", .max_ranges = 256, .err = -EIO,
	  .plan = { .call = FAKE_UNMAP_LIST, .trick = FAKE_ADD, .value = 1 },
	  .ranges = { { 1, 2 }, { 20, 1 } }, .nr = 2,
	  .log = "unmap:0[1+2,20+1]=4" },
	{ .name = "second range fails without lists", .no_list = true,
	  .max_ranges = 256, .err = -EIO,
	  .plan = { .call = FAKE_UNMAP, .value = PVIOMMU_RC_HOST_ERROR,
		    .after = 1 },
	  .ranges = { { 1, 2 }, { 20, 1 }, { 30, 1 } }, .nr = 3,
	  .log = "unmap:0[1+2]=2 unmap:0[20+1]=HOST_ERROR" },
};

KUNIT_ARRAY_PARAM_DESC(list, list_cases, name);

static void host_list(struct kunit *test)
{
	const struct list_case *param = test->param_value;
	struct fake_host *host = fixture_host(test);
	struct pviommu_table table = {};
	struct pviommu_range *ranges;

	ranges = kunit_kcalloc(test, param->nr, sizeof(*ranges), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ranges);
	memcpy(ranges, param->ranges, param->nr * sizeof(*ranges));

	host->probe.sync_max_ranges = param->max_ranges;
	if (param->no_list)
		host->probe.features &= ~PVIOMMU_FEATURE_SYNC_LIST;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);

	KUNIT_ASSERT_EQ(test, pviommu_table_init(&table, 1200), 0);
	KUNIT_EXPECT_EQ(test, pviommu_host_enable(0, pviommu_table_gpa(&table),
						  false), 0);
	fake_host_forget(host);
	fake_host_plan(host, &param->plan);
	KUNIT_EXPECT_EQ(test, pviommu_host_unmap_ranges(0, ranges, param->nr),
			param->err);
	fake_host_expect(test, host, param->log);
	pviommu_host_disable(0);
	pviommu_table_destroy(&table);
}

static void host_endpoint(struct kunit *test)
{
	const struct pviommu_path path = {
		.segment = 0x12345678,
		.root_bus = 0xa5,
		.depth = 8,
		.devfns = 0x8877665544332211,
	};
	const struct pviommu_path other = { .depth = 1 };
	struct fake_host *host = fixture_host(test);
	u32 id = 77;

	fake_host_add_endpoint(host, &path, 1);
	KUNIT_EXPECT_EQ(test, pviommu_host_endpoint(&other, &id), -ENODEV);
	KUNIT_EXPECT_EQ(test, id, 77);
	KUNIT_EXPECT_EQ(test, pviommu_host_endpoint(&path, &id), 0);
	KUNIT_EXPECT_EQ(test, id, 1);
	/* An id that PROBE has not announced. */
	host->endpoints[0].aperture = FAKE_APERTURES;
	KUNIT_EXPECT_EQ(test, pviommu_host_endpoint(&path, &id), -EIO);
}

static const struct info_case {
	const char *name;
	u32 nr_holes;
	u32 more_holes;
	struct fake_plan plan;
	int err;
	unsigned int calls;
} info_cases[] = {
	{ .name = "no hole", .calls = 1 },
	{ .name = "as many as fit", .nr_holes = 8, .calls = 1 },
	{ .name = "one more", .nr_holes = 9, .calls = 2 },
	{ .name = "many", .nr_holes = 4096, .calls = 2 },
	{ .name = "too many", .nr_holes = 4097, .err = -EIO, .calls = 1 },
	{ .name = "keeps growing", .nr_holes = 9, .more_holes = 5, .err = -EIO,
	  .calls = 3 },
	{ .name = "grows within room", .nr_holes = 3, .more_holes = 5,
	  .calls = 1 },
	{ .name = "truncated", .err = -EIO, .calls = 1,
	  .plan = { .call = FAKE_APERTURE, .value = 31 } },
	{ .name = "nothing", .err = -EIO, .calls = 1,
	  .plan = { .call = FAKE_APERTURE } },
	{ .name = "more holes than the answer holds", .nr_holes = 4,
	  .err = -EIO, .calls = 1,
	  .plan = { .call = FAKE_APERTURE, .trick = FAKE_ADD, .value = -1 } },
	{ .name = "absurd length", .err = -EIO, .calls = 1,
	  .plan = { .call = FAKE_APERTURE, .value = LONG_MAX } },
	{ .name = "again", .calls = 2,
	  .plan = { .call = FAKE_APERTURE, .value = PVIOMMU_RC_RETRY } },
};

KUNIT_ARRAY_PARAM_DESC(info, info_cases, name);

static void host_aperture(struct kunit *test)
{
	const struct info_case *param = test->param_value;
	struct fake_host *host = fixture_host(test);
	struct pviommu_aperture_info *info;

	fake_host_set_holes(test, host, 0, param->nr_holes, 5000);
	host->apertures[0].more_holes = param->more_holes;
	fake_host_plan(host, &param->plan);

	info = pviommu_host_aperture(0);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(info), param->err);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_APERTURE], param->calls);
	if (IS_ERR(info))
		return;
	KUNIT_EXPECT_EQ(test, info->base, 0x1000000);
	KUNIT_EXPECT_EQ(test, info->length, 1200 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, info->budget, 1200);
	KUNIT_EXPECT_EQ(test, info->nr_holes, param->nr_holes);
	KUNIT_EXPECT_MEMEQ(test, info->holes, host->apertures[0].holes,
			   info->nr_holes * sizeof(info->holes[0]));
	kfree(info);
}

/* Another device comes between the call for the length and the next. */
static void host_aperture_grows(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct pviommu_aperture_info *info;

	fake_host_set_holes(test, host, 0, 9, 12);
	host->apertures[0].more_holes = 3;
	info = pviommu_host_aperture(0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, info);
	KUNIT_EXPECT_EQ(test, info->nr_holes, 12);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_APERTURE], 3);
	kfree(info);
}

static void host_events(struct kunit *test)
{
	const struct pviommu_path path = { .depth = 1, .devfns = 0x21 };
	struct fake_host *host = fixture_host(test);
	struct fake_plan excess = {
		.call = FAKE_EVENTS,
		.value = 3,
	};
	struct pviommu_event *events;

	events = kunit_kcalloc(test, 2, sizeof(*events), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, events);
	KUNIT_EXPECT_EQ(test, pviommu_host_events(0, events, 2), 0);
	fake_host_add_event(host, 0, &path, 0x1000, 0);
	fake_host_add_event(host, 0, &path, 0x2000, PVIOMMU_EVENT_WRITE);
	fake_host_add_event(host, 0, &path, 0x3000, 0);
	KUNIT_EXPECT_EQ(test, pviommu_host_events(0, events, 2), 2);
	KUNIT_EXPECT_EQ(test, events[0].iova, 0x1000);
	KUNIT_EXPECT_EQ(test, events[1].iova, 0x2000);
	KUNIT_EXPECT_EQ(test, events[1].flags, PVIOMMU_EVENT_WRITE);
	KUNIT_EXPECT_EQ(test, pviommu_host_events(0, events, 2), 1);
	KUNIT_EXPECT_EQ(test, events[0].iova, 0x3000);
	fake_host_plan(host, &excess);
	KUNIT_EXPECT_EQ(test, pviommu_host_events(0, events, 2), -EIO);
}

static struct kunit_case host_cases[] = {
	KUNIT_CASE_PARAM(host_probe_code, code_gen_params),
	KUNIT_CASE_PARAM(host_endpoint_code, code_gen_params),
	KUNIT_CASE_PARAM(host_aperture_code, code_gen_params),
	KUNIT_CASE_PARAM(host_enable_code, code_gen_params),
	KUNIT_CASE_PARAM(host_disable_code, code_gen_params),
	KUNIT_CASE_PARAM(host_map_code, code_gen_params),
	KUNIT_CASE_PARAM(host_unmap_code, code_gen_params),
	KUNIT_CASE_PARAM(host_unmap_list_code, code_gen_params),
	KUNIT_CASE_PARAM(host_events_code, code_gen_params),
	KUNIT_CASE_PARAM(host_probe, probe_gen_params),
	KUNIT_CASE(host_features),
	KUNIT_CASE(host_retry),
	KUNIT_CASE_PARAM(host_progress, progress_gen_params),
	KUNIT_CASE(host_no_progress),
	KUNIT_CASE_PARAM(host_list, list_gen_params),
	KUNIT_CASE(host_endpoint),
	KUNIT_CASE_PARAM(host_aperture, info_gen_params),
	KUNIT_CASE(host_aperture_grows),
	KUNIT_CASE(host_events),
	{}
};

static struct kunit_suite host_suite = {
	.name = "pviommu_host",
	.init = guest_fixture_init,
	.exit = guest_fixture_exit,
	.test_cases = host_cases,
};

kunit_test_suite(host_suite);
