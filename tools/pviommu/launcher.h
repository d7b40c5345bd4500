/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the pviommu command share. */
#ifndef PVIOMMU_LAUNCHER_H
#define PVIOMMU_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"

/* One line on stderr, after "pviommu: ". */
#define pr_err(format, ...) \
	fprintf(stderr, "pviommu: " format "\n", ##__VA_ARGS__)

int run_command(int argc, char **argv);
int check_command(int argc, char **argv);

int vmm_args_scan(char **argv, struct config *config);
int vmm_find(const char *name, char **path);
int vmm_check(const char *path);

bool host_check_module(__u64 length);
bool host_check_device(const struct pviommu_host_device *device);
bool host_group(const struct pviommu_host_device *device, char *group,
		size_t size);

bool apertures_check_numbers(const struct config *config);
bool apertures_assign(struct config *config, bool separate);

bool guard_start(struct config *config);
bool preload_find(char *path, size_t size);
bool preload_export(const char *path);

#endif /* PVIOMMU_LAUNCHER_H */
