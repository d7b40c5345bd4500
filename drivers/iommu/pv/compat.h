/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, and what is asked of each. Nothing else in this
 * directory depends on a kernel's version. Linux 6.12 is what the driver is
 * written for.
 */
#ifndef _PVIOMMU_COMPAT_H
#define _PVIOMMU_COMPAT_H

#include <linux/kconfig.h>
#include <linux/syscore_ops.h>

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

#endif /* _PVIOMMU_COMPAT_H */
