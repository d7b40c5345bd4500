/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the suites have in common: a made-up host, devices that exist in no
 * machine, and the IOMMU core's part in a domain's life.
 */
#ifndef _PVIOMMU_FIXTURE_H
#define _PVIOMMU_FIXTURE_H

#include "fake_host.h"

#define FIXTURE_DEVICES	3
#define FIXTURE_DOMAINS	4

/* Any RAM will do: nothing is ever read or written there. */
#define FIXTURE_RAM	0x200000UL

#define RW	(IOMMU_READ | IOMMU_WRITE)

/**
 * struct fixture_device - a PCI device on a root bus
 * @sysdata: of the bus
 * @bus: the root bus
 * @pdev: the device
 * @iommu: what the core attaches to a device
 */
struct fixture_device {
	struct pci_sysdata sysdata;
	struct pci_bus bus;
	struct pci_dev pdev;
	struct dev_iommu iommu;
};

/**
 * struct fixture - in test->priv
 * @host: the host
 * @devices: those that are endpoints
 * @nr_devices: elements of @devices
 * @domains: those that are not freed
 */
struct fixture {
	struct fake_host *host;
	struct fixture_device *devices[FIXTURE_DEVICES];
	unsigned int nr_devices;
	struct iommu_domain *domains[FIXTURE_DOMAINS];
};

int guest_fixture_init(struct kunit *test);
void guest_fixture_exit(struct kunit *test);
struct fake_host *fixture_host(struct kunit *test);
struct fixture_device *fixture_device_make(struct kunit *test, u8 root_bus,
					   u8 devfn);
struct device *fixture_device(struct kunit *test, u32 aperture);
struct iommu_domain *fixture_domain(struct kunit *test, struct device *dev,
				    unsigned int type);
void fixture_free(struct kunit *test, struct iommu_domain *dom);
int fixture_attach(struct iommu_domain *dom, struct device *dev);
void fixture_block(struct device *dev);
struct pci_dev *fixture_spare_pci(struct pviommu_path *path);

static inline struct pviommu_domain *fixture_pviommu(struct iommu_domain *dom)
{
	return container_of(dom, struct pviommu_domain, domain);
}

static inline struct pviommu_aperture *fixture_aperture(struct device *dev)
{
	struct pviommu_endpoint *endpoint = dev_iommu_priv_get(dev);

	return endpoint->aperture;
}

/* Of a device in another mode than remap, that a driver was bound to. */
static inline struct pviommu_mapper *fixture_mapper(struct device *dev)
{
	struct pviommu_endpoint *endpoint = pviommu_dma_endpoint(dev);

	return endpoint->aperture->mapper;
}

#endif /* _PVIOMMU_FIXTURE_H */
