/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, and what is asked of each. Nothing else in this
 * directory depends on a kernel's version. Linux 6.12 is what the driver is
 * written for; what is different with 6.1 is in one place below.
 */
#ifndef _PVIOMMU_COMPAT_H
#define _PVIOMMU_COMPAT_H

#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/kconfig.h>
#include <linux/syscore_ops.h>
#include <linux/version.h>

/* Without it the core offers identity domains only, and warns. */
#if !IS_ENABLED(CONFIG_IOMMU_DMA)
#error "the pviommu guest driver needs a kernel with CONFIG_IOMMU_DMA"
#endif

/* The callbacks of later kernels, 6.12's among them, get an argument. */
#ifdef PVIOMMU_HAVE_STRUCT_SYSCORE
#define PVIOMMU_SYSCORE_ARGS	void *unused
#define PVIOMMU_DEFINE_SYSCORE(name, function)			\
	static const struct syscore_ops name##_ops = {		\
		.shutdown = function,				\
	};							\
	static struct syscore name = { .ops = &name##_ops }
#define pviommu_syscore_register	register_syscore
#define pviommu_syscore_unregister	unregister_syscore
#else
#define PVIOMMU_SYSCORE_ARGS	void
#define PVIOMMU_DEFINE_SYSCORE(name, function)			\
	static struct syscore_ops name = { .shutdown = function }
#define pviommu_syscore_register	register_syscore_ops
#define pviommu_syscore_unregister	unregister_syscore_ops
#endif

/* What the functions below call, or hand to the core. */
extern struct iommu_domain pviommu_blocked_domain;
struct iommu_domain *pviommu_domain_alloc_paging(struct device *dev);

#if KERNEL_VERSION(6, 12, 0) <= LINUX_VERSION_CODE

#include <kunit/visibility.h>
#include <linux/array_size.h>
#include <linux/unaligned.h>

/* Domains are made for a device. */
#define PVIOMMU_DOMAINS_LATE	false

/* ->iotlb_sync_map() can refuse. */
#define PVIOMMU_SYNC_AT_ONCE	false
#define PVIOMMU_SYNC_MAP_OP(function)	.iotlb_sync_map = (function),

#define PVIOMMU_KERNEL_OPS						\
	.domain_alloc_paging	= pviommu_domain_alloc_paging,		\
	.blocked_domain		= &pviommu_blocked_domain,		\
	.release_domain		= &pviommu_blocked_domain

#define pviommu_iommu_map	iommu_map

#if !IS_ENABLED(CONFIG_ARCH_HAS_DMA_OPS)
#error "the pviommu guest driver needs a kernel in which set_dma_ops() does something"
#endif

#define PVIOMMU_ALLOC_PAGES_OP(function)	.alloc_pages_op = (function)

static inline bool pviommu_is_flush_queue_cap(enum iommu_cap cap)
{
	return cap == IOMMU_CAP_DEFERRED_FLUSH;
}

/* Decided by dma_set_mask(), which another driver may have called before. */
static inline void pviommu_dma_wants_sync(struct device *dev)
{
#ifdef CONFIG_DMA_NEED_SYNC
	dev->dma_skip_sync = false;
#endif
}

static inline int pviommu_iommu_register(struct iommu_device *iommu,
					 const struct iommu_ops *ops)
{
	return iommu_device_register(iommu, ops, NULL);
}

/* The core has attached it to ->release_domain. */
static inline void pviommu_detach_released(struct device *dev)
{
}

#else /* 6.1 */

#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <asm/unaligned.h>

/* Its KUnit cannot test what a module keeps to itself. */
#define VISIBLE_IF_KUNIT	static
#define EXPORT_SYMBOL_IF_KUNIT(symbol)

static inline int pviommu_iommu_map(struct iommu_domain *domain,
				    unsigned long iova, phys_addr_t paddr,
				    size_t size, int prot, gfp_t gfp)
{
	return gfp == GFP_KERNEL ?
	       iommu_map(domain, iova, paddr, size, prot) :
	       iommu_map_atomic(domain, iova, paddr, size, prot);
}

#if !IS_ENABLED(CONFIG_DMA_OPS)
#error "the pviommu guest driver needs a kernel in which set_dma_ops() does something"
#endif

#define PVIOMMU_ALLOC_PAGES_OP(function)	.alloc_pages = (function)

/* Domains are made for a bus: which aperture it is for shows when one is attached. */
#define PVIOMMU_DOMAINS_LATE	true

/*
 * ->iotlb_sync_map() returns nothing, so the host is told in ->map_pages(), where a
 * refusal still counts: one hypercall for each physically contiguous piece.
 */
#define PVIOMMU_SYNC_AT_ONCE	true
#define PVIOMMU_SYNC_MAP_OP(function)

#define PVIOMMU_KERNEL_OPS						\
	.domain_alloc		= pviommu_domain_alloc,			\
	.probe_finalize		= pviommu_probe_finalize

static inline struct iommu_domain *pviommu_domain_alloc(unsigned int type)
{
	struct iommu_domain *domain;

	switch (type) {
	case IOMMU_DOMAIN_BLOCKED:
		return &pviommu_blocked_domain;
	case IOMMU_DOMAIN_UNMANAGED:
	case IOMMU_DOMAIN_DMA:
	case IOMMU_DOMAIN_DMA_FQ:
		domain = pviommu_domain_alloc_paging(NULL);
		return IS_ERR(domain) ? NULL : domain;
	default:
		return NULL;
	}
}

/* The driver is who has a device use the DMA API of the core. */
static inline void pviommu_probe_finalize(struct device *dev)
{
	set_dma_ops(dev, NULL);
	iommu_setup_dma_ops(dev, 0, U64_MAX);
}

/* All operations always are called. */
static inline void pviommu_dma_wants_sync(struct device *dev)
{
}

/* There is no such capability: a domain with a flush queue is a type of its own. */
static inline bool pviommu_is_flush_queue_cap(enum iommu_cap cap)
{
	return false;
}

/*
 * The core never forgets a driver: the buses keep a pointer to its operations. So
 * the module stays for good, or, if it could not be registered, is forgotten here.
 */
static inline int pviommu_iommu_register(struct iommu_device *iommu,
					 const struct iommu_ops *ops)
{
	int ret;

	__module_get(ops->owner);
	ret = iommu_device_register(iommu, ops, NULL);
	if (!ret)
		return 0;

	if (platform_bus_type.iommu_ops == ops)
		platform_bus_type.iommu_ops = NULL;
	if (pci_bus_type.iommu_ops == ops)
		pci_bus_type.iommu_ops = NULL;
	module_put(ops->owner);
	return ret;
}

/*
 * Nobody has detached it, and it is in its group still, where it could be attached
 * to something until the core takes it out, after this.
 */
static inline void pviommu_detach_released(struct device *dev)
{
	iommu_group_remove_device(dev);
	pviommu_blocked_domain.ops->attach_dev(&pviommu_blocked_domain, dev);
	set_dma_ops(dev, NULL);
}

#endif

#endif /* _PVIOMMU_COMPAT_H */
