// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused DMA: when the host is asked, and for how long.
 */
#include <kunit/test.h>

#include "fixture.h"

static const struct pviommu_path nowhere = {
	.root_bus = 0xf1, .depth = 2, .devfns = 0x1008,
};

static void add_events(struct kunit *test, unsigned int nr)
{
	while (nr--)
		fake_host_add_event(fixture_host(test), 0, &nowhere, nr, 0);
}

static void poll(struct kunit *test, const char *log)
{
	pviommu_events_poll();
	fake_host_expect(test, fixture_host(test), log);
}

static void events_poll(struct kunit *test)
{
	fixture_device(test, 0);
	poll(test, "events:0=0");
	add_events(test, 1);
	poll(test, "events:0=1");
	add_events(test, 64);
	poll(test, "events:0=64 events:0=0");
	/* A device that never stops. */
	add_events(test, 300);
	poll(test, "events:0=64 events:0=64 events:0=64 events:0=64");
	poll(test, "events:0=44");
	/* All apertures are asked. */
	fixture_device(test, 1);
	poll(test, "events:0=0 events:1=0");
}

/* Nothing in an event is believed. */
static void events_garbage(struct kunit *test)
{
	const struct pviommu_path path = {
		.segment = ~0U, .root_bus = 0xff, .depth = 0xff,
		.devfns = ~0ULL,
	};

	fixture_device(test, 0);
	fake_host_add_event(fixture_host(test), 0, &path, ~0ULL, 0xffff);
	poll(test, "events:0=1");
}

static void events_discard(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);

	add_events(test, 65);
	pviommu_events_discard(fixture_aperture(dev));
	fake_host_expect(test, fixture_host(test), "events:0=64 events:0=1");
	poll(test, "events:0=0");
}

static const struct given_up_case {
	const char *name;
	long rc;
	bool given_up;
} given_up_cases[] = {
	{ "BAD_OP", PVIOMMU_RC_BAD_OP, true },
	{ "HOST_ERROR", PVIOMMU_RC_HOST_ERROR, true },
	{ "more than there is room for", 65, true },
	{ "NO_MEMORY", PVIOMMU_RC_NO_MEMORY, false },
	{ "NO_ENDPOINT", PVIOMMU_RC_NO_ENDPOINT, false },
};

KUNIT_ARRAY_PARAM_DESC(given_up, given_up_cases, name);

static void events_given_up(struct kunit *test)
{
	const struct given_up_case *param = test->param_value;
	const struct fake_plan plan = { .call = FAKE_EVENTS, .value = param->rc };
	struct device *dev = fixture_device(test, 0);
	struct fake_host *host = fixture_host(test);

	fake_host_plan(host, &plan);
	pviommu_events_poll();
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_EVENTS], 1);
	fake_host_forget(host);
	poll(test, param->given_up ? "" : "events:0=0");
	pviommu_events_discard(fixture_aperture(dev));
	fake_host_expect(test, host, param->given_up ? "" : "events:0=0");
}

static void events_not_offered(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);

	host->probe.features &= ~PVIOMMU_FEATURE_EVENTS;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
	fake_host_forget(host);
	pviommu_aperture_put(pviommu_aperture_get(0));
	fake_host_expect(test, host, "aperture:0=32 disable:0=0");
}

struct fault {
	struct device *dev;
	unsigned long iova;
	int flags;
	int ret;
};

static int note_fault(struct iommu_domain *dom, struct device *dev,
		      unsigned long iova, int flags, void *token)
{
	struct fault *fault = token;

	fault->dev = dev;
	fault->iova = iova;
	fault->flags = flags;
	return fault->ret;
}

static void events_handler(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct pviommu_aperture *aperture = fixture_aperture(dev);
	struct iommu_domain *dom = fixture_domain(test, dev,
						  IOMMU_DOMAIN_UNMANAGED);
	struct fault fault = {};

	/* Blocked, then without a handler, then with one. */
	KUNIT_EXPECT_FALSE(test, pviommu_aperture_report_fault(aperture, dev,
							       1, true));
	KUNIT_ASSERT_EQ(test, fixture_attach(dom, dev), 0);
	KUNIT_EXPECT_FALSE(test, pviommu_aperture_report_fault(aperture, dev,
							       1, true));
	iommu_set_fault_handler(dom, note_fault, &fault);
	KUNIT_EXPECT_TRUE(test, pviommu_aperture_report_fault(aperture, dev,
							      0x1005, true));
	KUNIT_EXPECT_PTR_EQ(test, fault.dev, dev);
	KUNIT_EXPECT_EQ(test, fault.iova, 0x1005);
	KUNIT_EXPECT_EQ(test, fault.flags, IOMMU_FAULT_WRITE);
	fault.ret = -EIO;
	KUNIT_EXPECT_FALSE(test, pviommu_aperture_report_fault(aperture, dev,
							       2, false));
	KUNIT_EXPECT_EQ(test, fault.flags, IOMMU_FAULT_READ);
}

static struct kunit_case events_cases[] = {
	KUNIT_CASE(events_poll),
	KUNIT_CASE(events_garbage),
	KUNIT_CASE(events_discard),
	KUNIT_CASE_PARAM(events_given_up, given_up_gen_params),
	KUNIT_CASE(events_not_offered),
	KUNIT_CASE(events_handler),
	{}
};

static struct kunit_suite events_suite = {
	.name = "pviommu_events",
	.init = guest_fixture_init,
	.exit = guest_fixture_exit,
	.test_cases = events_cases,
};

kunit_test_suite(events_suite);
