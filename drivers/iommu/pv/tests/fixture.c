// SPDX-License-Identifier: GPL-2.0-only
#include <kunit/test.h>
#include <kunit/visibility.h>
#include <linux/err.h>
#include <linux/module.h>

#include "fixture.h"

static bool in_use;

static void note_in_use(struct pviommu_aperture *aperture)
{
	in_use = true;
}

/**
 * guest_fixture_init() - have a host, and the driver know it
 * @test: skipped if the driver is in use
 *
 * Return: 0 or an error.
 */
int guest_fixture_init(struct kunit *test)
{
	struct fixture *fixture;

	in_use = false;
	pviommu_apertures_for_each(note_in_use);
	if (in_use)
		kunit_skip(test, "a pviommu is in use on this machine");

	fixture = kunit_kzalloc(test, sizeof(*fixture), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fixture);
	fixture->host = fake_host_start(test);
	test->priv = fixture;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
	fake_host_forget(fixture->host);
	return 0;
}

/**
 * guest_fixture_exit() - take all down as the core does, and look at what is left
 * @test: fails if the driver did what it must not, or left anything mapped
 */
void guest_fixture_exit(struct kunit *test)
{
	struct fixture *fixture = test->priv;
	struct fake_host *host;
	unsigned int i;

	if (!fixture)
		return;

	host = fixture->host;
	fake_host_forget(host);
	host->peek = NULL;
	for (i = 0; i < fixture->nr_devices; i++) {
		struct device *dev = &fixture->devices[i]->pdev.dev;

		fixture_block(dev);
		pviommu_endpoint_destroy(dev_iommu_priv_get(dev));
	}
	for (i = 0; i < FIXTURE_DOMAINS; i++)
		if (fixture->domains[i])
			fixture_free(test, fixture->domains[i]);
	pviommu_events_stop();
	pviommu_apertures_release();

	for (i = 0; i < FAKE_APERTURES; i++) {
		KUNIT_EXPECT_EQ(test, host->apertures[i].directory, 0);
		KUNIT_EXPECT_EQ(test, host->apertures[i].nr_mapped, 0);
	}
	KUNIT_EXPECT_STREQ(test, host->violation, "");
	fake_host_stop(host);
}

/**
 * fixture_host() - the host of a test
 * @test: the test
 *
 * Return: the host.
 */
struct fake_host *fixture_host(struct kunit *test)
{
	struct fixture *fixture = test->priv;

	return fixture->host;
}

/**
 * fixture_device_make() - make a device up
 * @test: frees it at its end
 * @root_bus: number of the bus it is on
 * @devfn: where it is there
 *
 * Return: the device, of which neither the driver nor the host knows.
 */
struct fixture_device *fixture_device_make(struct kunit *test, u8 root_bus,
					   u8 devfn)
{
	struct fixture_device *device;

	device = kunit_kzalloc(test, sizeof(*device), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, device);
	device->bus.sysdata = &device->sysdata;
	device->bus.number = root_bus;
	device->pdev.bus = &device->bus;
	device->pdev.devfn = devfn;
	device->pdev.dev.init_name = "fixture";
	device->pdev.dev.iommu = &device->iommu;
	return device;
}

/**
 * fixture_device() - make an endpoint
 * @test: removes it at its end
 * @aperture: id of the aperture
 *
 * Return: the device.
 */
struct device *fixture_device(struct kunit *test, u32 aperture)
{
	struct fixture *fixture = test->priv;
	struct fixture_device *device;
	struct pviommu_endpoint *endpoint;
	struct pviommu_path path = {
		.root_bus = 0xf0,
		.depth = 1,
		.devfns = fixture->nr_devices,
	};

	KUNIT_ASSERT_LT(test, fixture->nr_devices, FIXTURE_DEVICES);
	device = fixture_device_make(test, path.root_bus, path.devfns);
	fake_host_add_endpoint(fixture->host, &path, aperture);
	endpoint = pviommu_endpoint_create(&device->pdev);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, endpoint);
	device->iommu.priv = endpoint;
	fixture->devices[fixture->nr_devices++] = device;
	fake_host_forget(fixture->host);
	return &device->pdev.dev;
}

/**
 * fixture_domain() - make a domain as the core does
 * @test: frees it at its end, if it is not freed before
 * @dev: the device that it is for
 * @type: IOMMU_DOMAIN_*
 *
 * Return: the domain.
 */
struct iommu_domain *fixture_domain(struct kunit *test, struct device *dev,
				    unsigned int type)
{
	struct fixture *fixture = test->priv;
	struct iommu_domain *dom = pviommu_domain_alloc_paging(dev);
	unsigned int i;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dom);
	dom->type = type;
	dom->ops = &pviommu_domain_ops;
	for (i = 0; i < FIXTURE_DOMAINS; i++) {
		if (!fixture->domains[i]) {
			fixture->domains[i] = dom;
			return dom;
		}
	}
	dom->ops->free(dom);
	KUNIT_FAIL_AND_ABORT(test, "too many domains");
	return NULL;
}

/**
 * fixture_free() - free a domain
 * @test: the test
 * @dom: the domain
 */
void fixture_free(struct kunit *test, struct iommu_domain *dom)
{
	struct fixture *fixture = test->priv;
	unsigned int i;

	for (i = 0; i < FIXTURE_DOMAINS; i++)
		if (fixture->domains[i] == dom)
			fixture->domains[i] = NULL;
	dom->ops->free(dom);
}

/**
 * fixture_attach() - attach a domain
 * @dom: the domain
 * @dev: the device
 *
 * Return: what the driver says.
 */
int fixture_attach(struct iommu_domain *dom, struct device *dev)
{
	return dom->ops->attach_dev(dom, dev);
}

/**
 * fixture_block() - attach the blocking domain
 * @dev: the device
 */
void fixture_block(struct device *dev)
{
	pviommu_blocked_domain.ops->attach_dev(&pviommu_blocked_domain, dev);
}

/**
 * fixture_spare_pci() - find a device of this machine that nobody uses
 * @path: filled in with where it is
 *
 * Return: the device, to be given to pci_dev_put(), or NULL.
 */
struct pci_dev *fixture_spare_pci(struct pviommu_path *path)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		if (pdev->dev.driver || pdev->dev.iommu_group ||
		    !pci_is_root_bus(pdev->bus) ||
		    pdev->hdr_type != PCI_HEADER_TYPE_NORMAL ||
		    pdev->class >> 16 == PCI_BASE_CLASS_BRIDGE)
			continue;
		*path = (struct pviommu_path) {
			.segment = pci_domain_nr(pdev->bus),
			.root_bus = pdev->bus->number,
			.depth = 1,
			.devfns = pdev->devfn,
		};
		return pdev;
	}
	return NULL;
}

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit tests of the pviommu guest driver");
MODULE_LICENSE("GPL");
