/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, and what is asked of each. Nothing else in this
 * directory depends on a kernel's version. Linux 6.12 is what the driver is
 * written for: it needs no help.
 */
#ifndef _PVIOMMU_COMPAT_H
#define _PVIOMMU_COMPAT_H

#include <linux/kconfig.h>

/* Without it the core offers identity domains only, and warns. */
#if !IS_ENABLED(CONFIG_IOMMU_DMA)
#error "the pviommu guest driver needs a kernel with CONFIG_IOMMU_DMA"
#endif

#endif /* _PVIOMMU_COMPAT_H */
