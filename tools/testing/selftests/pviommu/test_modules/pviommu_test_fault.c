// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports a DMA fault of a device as its IOMMU's driver would. Emulated IOMMUs do
 * not tell their driver of faults.
 *
 * Write "BDF r|w IOVA" to the module parameter "report".
 */
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>

static int report(const char *val, const struct kernel_param *kp)
{
	unsigned int segment, bus, slot, function;
	struct iommu_domain *domain;
	struct pci_dev *pdev;
	u64 iova;
	int ret;
	char rw;

	if (sscanf(val, "%x:%x:%x.%x %c %llx", &segment, &bus, &slot, &function,
		   &rw, &iova) != 6)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(segment, bus,
					   PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	domain = iommu_get_domain_for_dev(&pdev->dev);
	ret = domain ? report_iommu_fault(domain, &pdev->dev, iova,
					  rw == 'w' ? IOMMU_FAULT_WRITE :
						      IOMMU_FAULT_READ) :
		       -EXDEV;
	pci_dev_put(pdev);
	return ret;
}

static const struct kernel_param_ops report_ops = {
	.set = report,
};
module_param_cb(report, &report_ops, NULL, 0200);

MODULE_DESCRIPTION("pviommu selftests: DMA faults without an IOMMU that reports them");
MODULE_LICENSE("GPL");
