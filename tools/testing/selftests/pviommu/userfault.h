/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hold whoever touches a page of memory at that very point, the kernel included.
 */
#ifndef PVIOMMU_SELFTEST_USERFAULT_H
#define PVIOMMU_SELFTEST_USERFAULT_H

#include <linux/types.h>

#include "vm.h"

/**
 * struct userfault - a page of anonymous memory that holds whoever touches it
 * @fd: the userfaultfd
 * @page: the page
 * @contents: what was in it, and will be again
 */
struct userfault {
	int fd;
	__u8 *page;
	__u8 contents[VM_PAGE_SIZE];
};

int userfault_hold(struct userfault *uf, void *page);
void userfault_wait(struct userfault *uf);
int userfault_release(struct userfault *uf);

#endif /* PVIOMMU_SELFTEST_USERFAULT_H */
