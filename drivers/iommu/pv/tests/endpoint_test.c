// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a device is named to the host, and which devices become endpoints.
 */
#include <kunit/test.h>

#include "fixture.h"

#define MAX_DEPTH	9

static const struct path_case {
	const char *name;
	int segment;
	u8 root_bus;
	unsigned int depth;
	u8 devfns[MAX_DEPTH];
	int virtual_bus; /* Index of a bus without a bridge, 0 for none. */
	u64 named; /* 0 if it has no name. */
} path_cases[] = {
	{ "on the root bus", 0, 0, 1, { 0x21 }, 0, 0x21 },
	{ "another root bus", 0, 0x80, 1, { 0xf9 }, 0, 0xf9 },
	{ "another segment", 0x10000, 0xff, 1, { 0x08 }, 0, 0x08 },
	{ "devfn 0 behind a bridge", 0, 0, 2, { 0x10, 0 }, 0, 0x0010 },
	{ "behind two bridges", 2, 0x40, 3, { 0x11, 0x22, 0x33 }, 0, 0x332211 },
	{ "as deep as can be", 0, 0, 8, { 1, 2, 3, 4, 5, 6, 7, 8 }, 0,
	  0x0807060504030201 },
	{ "too deep", 0, 0, 9, { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, 0, 0 },
	{ "on an SR-IOV device's extra bus", 0, 0, 2, { 0x10, 0x08 }, 1, 0 },
	{ "below such a bus", 0, 0, 3, { 0x10, 0x08, 0x18 }, 1, 0 },
};

KUNIT_ARRAY_PARAM_DESC(path, path_cases, name);

static void endpoint_path(struct kunit *test)
{
	const struct path_case *param = test->param_value;
	struct pviommu_path path = {
		.segment = param->segment,
		.root_bus = param->root_bus,
		.depth = param->depth,
		.devfns = param->named,
	};
	struct fake_host *host = fixture_host(test);
	struct fixture_device *devices[MAX_DEPTH];
	struct pviommu_endpoint *endpoint;
	unsigned int i;

	for (i = 0; i < param->depth; i++) {
		struct fixture_device *device;

		device = fixture_device_make(test, param->root_bus,
					     param->devfns[i]);
		device->sysdata.domain = param->segment;
		devices[i] = device;
		if (!i)
			continue;
		device->bus.parent = &devices[i - 1]->bus;
		device->bus.number = 0x50 + i;
		device->bus.self = i == param->virtual_bus ?
				   NULL : &devices[i - 1]->pdev;
	}

	if (param->named)
		fake_host_add_endpoint(host, &path, 1);
	endpoint = pviommu_endpoint_create(&devices[param->depth - 1]->pdev);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_ENDPOINT], !!param->named);
	if (!param->named) {
		KUNIT_EXPECT_EQ(test, PTR_ERR(endpoint), -ENODEV);
		return;
	}
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, endpoint);
	KUNIT_EXPECT_EQ(test, endpoint->aperture->id, 1);
	KUNIT_EXPECT_PTR_EQ(test, endpoint->domain, NULL);
	pviommu_endpoint_destroy(endpoint);
}

/* The core takes any error but -ENODEV to heart, for all devices. */
static void expect_left_alone(struct kunit *test, struct fixture_device *device)
{
	KUNIT_EXPECT_EQ(test, PTR_ERR(pviommu_endpoint_create(&device->pdev)),
			-ENODEV);
}

static void endpoint_unknown(struct kunit *test)
{
	expect_left_alone(test, fixture_device_make(test, 0xf0, 0));
	fake_host_expect(test, fixture_host(test), "");
}

static void endpoint_bad_aperture(struct kunit *test)
{
	const struct pviommu_path path = {
		.root_bus = 0xf0, .depth = 1, .devfns = 8,
	};
	struct fake_host *host = fixture_host(test);

	fake_host_add_endpoint(host, &path, 0);
	host->apertures[0].info.base = 1;
	expect_left_alone(test, fixture_device_make(test, 0xf0, 8));
	fake_host_expect(test, host, "aperture:0=32");
}

static void endpoint_has_driver(struct kunit *test)
{
	const struct pviommu_path path = {
		.root_bus = 0xf0, .depth = 1, .devfns = 8,
	};
	struct fake_host *host = fixture_host(test);
	struct device_driver driver = { .name = "fixture" };
	struct pviommu_endpoint *endpoint;
	struct fixture_device *device;

	device = fixture_device_make(test, 0xf0, 8);
	fake_host_add_endpoint(host, &path, 0);
	device->pdev.dev.driver = &driver;
	expect_left_alone(test, device);
	fake_host_forget(host);

	/* Not counted: the next one is the aperture's first. */
	device->pdev.dev.driver = NULL;
	endpoint = pviommu_endpoint_create(&device->pdev);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, endpoint);
	fake_host_expect(test, host, "aperture:0=32");
	KUNIT_EXPECT_EQ(test, atomic_read(&endpoint->aperture->nr_endpoints),
			1);
	pviommu_endpoint_destroy(endpoint);
}

static struct kunit_case endpoint_cases[] = {
	KUNIT_CASE_PARAM(endpoint_path, path_gen_params),
	KUNIT_CASE(endpoint_unknown),
	KUNIT_CASE(endpoint_bad_aperture),
	KUNIT_CASE(endpoint_has_driver),
	{}
};

static struct kunit_suite endpoint_suite = {
	.name = "pviommu_endpoint",
	.init = guest_fixture_init,
	.exit = guest_fixture_exit,
	.test_cases = endpoint_cases,
};

kunit_test_suite(endpoint_suite);
