/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PVIOMMU_NUMBER_H
#define PVIOMMU_NUMBER_H

#include <stdbool.h>
#include <linux/types.h>

bool number_parse(const char *text, __u64 *number);
bool number_parse_size(const char *text, __u64 *bytes);
bool number_parse_budget(const char *text, __u64 *pages);

#endif /* PVIOMMU_NUMBER_H */
