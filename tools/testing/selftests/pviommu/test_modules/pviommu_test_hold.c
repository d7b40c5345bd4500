// SPDX-License-Identifier: GPL-2.0-only
/*
 * Holds the IOMMU core's lock on a device's group, as one does who moves the group to
 * another domain.
 *
 * Write a BDF to the module parameter "hold", and anything else to let go again.
 */
#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/workqueue.h>

static struct iommu_group *group;
static DECLARE_COMPLETION(held);
static DECLARE_COMPLETION(released);

/* The core calls back under its lock. */
static int wait(struct device *dev, void *unused)
{
	complete(&held);
	wait_for_completion(&released);
	return 1;
}

static void hold_group(struct work_struct *work)
{
	iommu_group_for_each_dev(group, NULL, wait);
}

static DECLARE_WORK(hold_work, hold_group);

static void let_go(void)
{
	if (!group)
		return;
	complete(&released);
	flush_work(&hold_work);
	iommu_group_put(group);
	group = NULL;
}

static int hold(const char *val, const struct kernel_param *kp)
{
	unsigned int segment, bus, slot, function;
	struct pci_dev *pdev;

	let_go();
	if (sscanf(val, "%x:%x:%x.%x", &segment, &bus, &slot, &function) != 4)
		return 0;
	pdev = pci_get_domain_bus_and_slot(segment, bus,
					   PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	group = iommu_group_get(&pdev->dev);
	pci_dev_put(pdev);
	if (!group)
		return -EXDEV;
	reinit_completion(&held);
	reinit_completion(&released);
	queue_work(system_unbound_wq, &hold_work);
	wait_for_completion(&held);
	return 0;
}

static const struct kernel_param_ops hold_ops = {
	.set = hold,
};
module_param_cb(hold, &hold_ops, NULL, 0200);

static void __exit test_exit(void)
{
	let_go();
}
module_exit(test_exit);

static int __init test_init(void)
{
	return 0;
}
module_init(test_init);

MODULE_DESCRIPTION("pviommu selftests: an IOMMU group that is being moved");
MODULE_LICENSE("GPL");
