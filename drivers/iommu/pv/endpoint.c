// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which devices are the host's endpoints. Bus numbers below a root bus are the
 * guest's own choice, so host and guest name a device by its devfn and those of
 * the bridges above it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>

#include "pviommu.h"

/*
 * False for a device that has no such name: it is too deep, or on the extra bus
 * of an SR-IOV device, which no bridge leads to. Neither can be an endpoint.
 */
static bool endpoint_path(struct pci_dev *pdev, struct pviommu_path *path)
{
	struct pci_bus *bus = pdev->bus;

	*path = (struct pviommu_path) {
		.segment = pci_domain_nr(bus),
		.depth = 1,
		.devfns = pdev->devfn,
	};

	for (; !pci_is_root_bus(bus); bus = bus->parent) {
		if (!bus->self || path->depth == PVIOMMU_PATH_MAX_DEPTH)
			return false;
		path->devfns = path->devfns << 8 | bus->self->devfn;
		path->depth++;
	}

	path->root_bus = bus->number;
	return true;
}

/**
 * pviommu_endpoint_is_any_untrusted() - look for devices of which anything is expected
 * @aperture: the id of an aperture
 *
 * Context: May sleep.
 * Return: whether there is one that the host counts as in this aperture.
 */
bool pviommu_endpoint_is_any_untrusted(u32 aperture)
{
	struct pci_dev *pdev = NULL;
	struct pviommu_path path;
	u32 id;

	for_each_pci_dev(pdev) {
		if (!pdev->untrusted || !endpoint_path(pdev, &path) ||
		    pviommu_host_endpoint(&path, &id) || id != aperture)
			continue;
		pci_dev_put(pdev);
		return true;
	}
	return false;
}

/**
 * pviommu_endpoint_create() - make a device an endpoint if the host says so
 * @pdev: the device
 *
 * Context: May sleep.
 * Return: the endpoint, to be given to pviommu_endpoint_destroy() once it is
 * attached to nothing; or ERR_PTR(-ENODEV) if the device has to be left alone, be
 * it that pviommu is not responsible for it or that something failed, which is
 * logged. It is never another error: the core would give up on all devices for it.
 */
struct pviommu_endpoint *pviommu_endpoint_create(struct pci_dev *pdev)
{
	struct pviommu_aperture *aperture;
	struct pviommu_endpoint *endpoint;
	struct pviommu_path path;
	u32 id;

	if (!endpoint_path(pdev, &path) || pviommu_host_endpoint(&path, &id))
		return ERR_PTR(-ENODEV);

	aperture = pviommu_aperture_get(id);
	if (IS_ERR(aperture)) {
		pci_err(pdev, "aperture %u cannot be used (%ld), DMA stays blocked\n",
			id, PTR_ERR(aperture));
		return ERR_PTR(-ENODEV);
	}

	/*
	 * A device that is announced on its bus has no driver yet. This one had
	 * it when pviommu was loaded, so it holds DMA addresses that mean
	 * something else, and the core has missed its first user.
	 */
	if (pdev->dev.driver) {
		pci_warn(pdev, "driver %s was here first: load pviommu before it, or remove this device and rescan its bus. Until then its DMA is blocked.\n",
			 pdev->dev.driver->name);
		goto err_put;
	}

	/* One that was there before this aperture was used has changed its mode. */
	if (pdev->untrusted && aperture->mode == PVIOMMU_DIRECT) {
		pci_warn(pdev, "untrusted, and in aperture %u, which is in mode direct: its DMA is blocked. It needs an aperture of its own.\n",
			 aperture->id);
		goto err_put;
	}

	endpoint = kzalloc(sizeof(*endpoint), GFP_KERNEL);
	if (!endpoint)
		goto err_put;

	endpoint->aperture = aperture;
	return endpoint;

err_put:
	pviommu_aperture_put(aperture);
	return ERR_PTR(-ENODEV);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_endpoint_create);

/**
 * pviommu_endpoint_destroy() - undo pviommu_endpoint_create()
 * @endpoint: attached to nothing
 *
 * Context: Any.
 */
void pviommu_endpoint_destroy(struct pviommu_endpoint *endpoint)
{
	pviommu_aperture_put(endpoint->aperture);
	kfree_rcu(endpoint, rcu);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_endpoint_destroy);

static bool shares_mappings(struct pci_dev *pdev,
			    const struct pviommu_aperture *aperture)
{
	struct pviommu_endpoint *endpoint;
	bool shares;

	if (pdev->dev.iommu_group == aperture->group)
		return true;
	rcu_read_lock();
	endpoint = pviommu_dma_endpoint(&pdev->dev);
	shares = endpoint && endpoint->aperture == aperture;
	rcu_read_unlock();
	return shares;
}

/**
 * pviommu_endpoint_find() - find an endpoint's device by its path
 * @aperture: the aperture that it is behind
 * @path: where it is; need not make sense
 *
 * Context: May sleep.
 * Return: the device, to be given to pci_dev_put(), or NULL.
 */
struct pci_dev *pviommu_endpoint_find(const struct pviommu_aperture *aperture,
				      const struct pviommu_path *path)
{
	struct pci_dev *pdev = NULL;
	struct pviommu_path at;

	for_each_pci_dev(pdev)
		if (shares_mappings(pdev, aperture) &&
		    endpoint_path(pdev, &at) && at.segment == path->segment &&
		    at.root_bus == path->root_bus &&
		    at.depth == path->depth && at.devfns == path->devfns)
			return pdev;
	return NULL;
}

/**
 * pviommu_endpoint_find_outsider() - find a device that shares an aperture but
 *	not its mappings
 * @aperture: the aperture
 *
 * Such a device was refused by pviommu_endpoint_create(). If its aperture
 * followed a table for the sake of other devices, it would write through their
 * mappings with addresses that its driver means as physical ones.
 *
 * Context: May sleep.
 * Return: NULL if there is none; else the device, to be given to pci_dev_put().
 */
struct pci_dev *
pviommu_endpoint_find_outsider(const struct pviommu_aperture *aperture)
{
	struct pci_dev *pdev = NULL;
	struct pviommu_path path;
	u32 id;

	for_each_pci_dev(pdev)
		if (!shares_mappings(pdev, aperture) &&
		    endpoint_path(pdev, &path) &&
		    !pviommu_host_endpoint(&path, &id) && id == aperture->id)
			return pdev;
	return NULL;
}
