/* SPDX-License-Identifier: GPL-2.0-only */
/* What fake-host.c and fake-vmm.c have agreed on. */
#ifndef PVIOMMU_FAKE_H
#define PVIOMMU_FAKE_H

/* To map here takes the host a second. */
#define SLOW_IOVA	0x510000000ULL

/* Appended to $FAKE_LOG: a file that grows by one byte for each PVIOMMU_STATS. */
#define ASKED_SUFFIX	".asked"

#endif /* PVIOMMU_FAKE_H */
