/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's harness for C tests, with time enough for a test on a slow kernel, emulated, on
 * a machine that does other things besides. A time never decides whether a test passes; it ends
 * those that would never.
 */
#ifndef PVIOMMU_SELFTEST_HARNESS_H
#define PVIOMMU_SELFTEST_HARNESS_H

#include "kselftest_harness.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 240

#endif /* PVIOMMU_SELFTEST_HARNESS_H */
