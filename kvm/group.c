// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU groups: which ones may join an aperture, and their move into its domain.
 *
 * What an administrator can mend is said in the log, with the cure.
 */
#include <linux/device.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "pviommu.h"

#define group_warn(_dev, _why, ...) \
	dev_warn_ratelimited(_dev, "pviommu: not attached: " _why "\n", \
			     ##__VA_ARGS__)

static void explain(const struct pviommu_aperture *ap, struct device *dev,
		    int err)
{
	u64 last = pviommu_iova(ap, ap->npages) - 1;

	switch (err) {
	case -ENOTCONN:
		group_warn(dev, "its IOMMU group is not in VFIO's hands. Open it through its VFIO group, in a container that has an IOMMU, or bind it to an iommufd");
		break;
	case -EACCES:
		group_warn(dev, "this platform does not remap its interrupts, so it could raise any of the host's. Switch on interrupt remapping, in the firmware's setup (VT-d, AMD-Vi) and on the kernel's command line (no intremap=off, nointremap)");
		break;
	case -EADDRINUSE:
		group_warn(dev, "firmware has reserved host memory that it must always reach (RMRR, IVMD). Switch off the feature that asks for it in the firmware's setup, or use another device");
		break;
	case -EADDRNOTAVAIL:
		group_warn(dev, "the window %#llx-%#llx is outside of what its IOMMU translates. Choose a lower one, or a shorter one",
			   ap->base, last);
		break;
	case -ENOSPC:
		group_warn(dev, "too much of the window %#llx-%#llx is reserved for other purposes, see reserved_regions of its IOMMU group in sysfs. Choose another one",
			   ap->base, last);
		break;
	case -EBUSY:
		group_warn(dev, "its IOMMU group was given another page table at the same moment, through VFIO or iommufd. Leave it alone while it is being attached");
		break;
	case -EMEDIUMTYPE:
		group_warn(dev, "its IOMMU cannot share aperture %u with that of the devices which are there already. Give it one of its own",
			   ap->id);
		break;
	}
}

/* May any guest have the group's devices? */
static int check_group(struct iommu_group *group)
{
	if (!iommu_group_dma_owner_claimed(group))
		return -ENOTCONN;
	/* VFIO can be told to let it pass. Here guests are never trusted. */
	if (!iommu_group_has_isolated_msi(group))
		return -EACCES;
	return pviommu_domain_check_direct(group);
}

/* May it join this window? With the first one the aperture learns its holes. */
static int check_window(struct pviommu_aperture *ap, struct iommu_group *group)
{
	struct pviommu_hole *holes;
	unsigned int i, j;
	int nr;

	holes = kcalloc(PVIOMMU_MAX_HOLES, sizeof(*holes), GFP_KERNEL);
	if (!holes)
		return -ENOMEM;
	nr = pviommu_domain_holes(group, ap->base, ap->npages, holes);
	if (nr < 0)
		goto out;

	/* Without devices nobody has seen the holes yet. */
	if (list_empty(&ap->devices)) {
		if (nr == 1 && holes[0].length >> PAGE_SHIFT == ap->npages) {
			nr = -ENOSPC;
			goto out;
		}
		memcpy(ap->holes, holes, nr * sizeof(*holes));
		ap->nr_holes = nr;
		goto out;
	}

	/* The guest has been told of the holes: no new ones. */
	for (i = 0; i < nr; i++) {
		for (j = 0; j < ap->nr_holes; j++) {
			if (holes[i].base >= ap->holes[j].base &&
			    holes[i].base - ap->holes[j].base +
			    holes[i].length <= ap->holes[j].length)
				break;
		}
		if (j == ap->nr_holes) {
			nr = -ENOSPC;
			break;
		}
	}
out:
	kfree(holes);
	return min(nr, 0);
}

/**
 * pviommu_group_join() - let a group join an aperture
 * @ap: the aperture, locked, and its VM; @ap's devices are in other groups
 * @group: the group
 * @dev: one of its devices
 * @stay: leave it in VFIO's domain, for pviommu_group_move() to move it later
 *
 * The first group brings the IOMMU domain; the caller frees it with
 * pviommu_group_last_left() when the last one has left.
 *
 * Return: 0 or an errno, as tabulated at PVIOMMU_ATTACH.
 */
int pviommu_group_join(struct pviommu_aperture *ap, struct iommu_group *group,
		       struct device *dev, bool stay)
{
	int ret;

	lockdep_assert_held(&ap->vm->lock);
	pviommu_aperture_assert_locked(ap);

	ret = check_group(group);
	if (!ret && !ap->domain.iommu)
		ret = pviommu_domain_create(&ap->domain, dev);
	if (!ret && !pviommu_domain_covers(&ap->domain, ap->base, ap->npages))
		ret = -EADDRNOTAVAIL;
	if (!ret)
		ret = check_window(ap, group);
	if (!ret && !stay)
		ret = pviommu_domain_attach(&ap->domain, group, dev, ap->base,
					    ap->npages);
	if (ret) {
		explain(ap, dev, ret);
		if (list_empty(&ap->devices))
			pviommu_group_last_left(ap);
	}
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_group_join);

/**
 * pviommu_group_move() - move a group that joined and stayed
 * @ap: the aperture, locked
 * @group: the group
 * @dev: one of its devices
 *
 * Return: 0 or an errno: the group is blocked then, but after -EBUSY.
 */
int pviommu_group_move(struct pviommu_aperture *ap, struct iommu_group *group,
		       struct device *dev)
{
	int ret;

	pviommu_aperture_assert_locked(ap);

	ret = pviommu_domain_attach(&ap->domain, group, dev, ap->base,
				    ap->npages);
	if (ret) {
		explain(ap, dev, ret);
		dev_warn_ratelimited(dev, "pviommu: it could not be moved into aperture %u (%d)\n",
				     ap->id, ret);
	}
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_group_move);

/**
 * pviommu_group_last_left() - forget what the groups have brought
 * @ap: an aperture without groups, locked, with nothing mapped
 */
void pviommu_group_last_left(struct pviommu_aperture *ap)
{
	pviommu_aperture_assert_locked(ap);

	pviommu_domain_free(&ap->domain);
	ap->nr_holes = 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_group_last_left);
