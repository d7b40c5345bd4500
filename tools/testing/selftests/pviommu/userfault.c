// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "userfault.h"

/* Returns 0, or -1 with errno. From now on @page can be touched by others alone. */
int userfault_hold(struct userfault *uf, void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (__u64)page, .len = VM_PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	uf->page = page;
	memcpy(uf->contents, page, VM_PAGE_SIZE);
	uf->fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uf->fd < 0 || ioctl(uf->fd, UFFDIO_API, &api) ||
	    ioctl(uf->fd, UFFDIO_REGISTER, &reg))
		return -1;
	return madvise(page, VM_PAGE_SIZE, MADV_DONTNEED);
}

/* Until somebody is held. */
void userfault_wait(struct userfault *uf)
{
	struct uffd_msg msg;

	if (read(uf->fd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT) {
		perror("userfaultfd");
		exit(1);
	}
}

/* Lets everybody go on; holds nobody any more. */
int userfault_release(struct userfault *uf)
{
	struct uffdio_copy copy = {
		.dst = (__u64)uf->page,
		.src = (__u64)uf->contents,
		.len = VM_PAGE_SIZE,
	};
	struct uffdio_range range = {
		.start = (__u64)uf->page, .len = VM_PAGE_SIZE,
	};
	int ret = ioctl(uf->fd, UFFDIO_COPY, &copy) ?:
		  ioctl(uf->fd, UFFDIO_UNREGISTER, &range);

	close(uf->fd);
	return ret;
}
