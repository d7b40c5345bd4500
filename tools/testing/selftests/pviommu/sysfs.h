/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices removed, unbound from their driver and bound again, through sysfs.
 */
#ifndef PVIOMMU_SELFTEST_SYSFS_H
#define PVIOMMU_SELFTEST_SYSFS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Writes @text to @path in another process, which has none of the test's files:
 * the kernel may wait until those are closed.
 */
pid_t sysfs_write_start(const char *path, const char *text);
/* Returns 0, or the process's status. */
int sysfs_write_end(pid_t pid);
/* Waits for it to be in a function of the kernel; false if it is not within half a minute. */
bool comes_to_wait_in(pid_t pid, const char *function);

/* vfio-pci and the device @bdf. */
pid_t unbind_start(const char *bdf);
pid_t remove_start(const char *bdf);
int bind_again(const char *bdf);
int rescan_and_bind(const char *bdf);

#endif /* PVIOMMU_SELFTEST_SYSFS_H */
