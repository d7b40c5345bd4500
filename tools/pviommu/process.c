// SPDX-License-Identifier: GPL-2.0-only
/* The process that the library finds itself in: its start, its guard, its forks. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "preload.h"

struct config config;
const char *config_error;

/* Says whether the file is still the launcher's. */
static bool guard_is_there(void)
{
	struct stat st;

	return !fstat(config.guard_fd, &st) && S_ISSOCK(st.st_mode) &&
	       st.st_ino == config.guard_inode;
}

/**
 * guard_dismiss() - let the VMM open its VFIO groups (see guard.c)
 */
void guard_dismiss(void)
{
	static bool dismissed;
	char byte = 0;

	if (dismissed)
		return;
	if (!guard_is_there())
		stop("confine", "this VM",
		     "a program on the way here closed the files it inherited");

	/* The answer says that the groups are closed; none, that no guard is left. */
	send(config.guard_fd, &byte, 1, MSG_NOSIGNAL);
	while (recv(config.guard_fd, &byte, 1, 0) < 0 && errno == EINTR)
		;
	real_close(config.guard_fd);
	dismissed = true;
}

static void before_fork(void)
{
	pthread_mutex_lock(&vm.lock);
}

static void after_fork_parent(void)
{
	pthread_mutex_unlock(&vm.lock);
}

/* The VM is the parent's. Our file must not outlive the parent in a child. */
static void after_fork_child(void)
{
	vm_forget();
	pthread_mutex_unlock(&vm.lock);
}

/*
 * What is malformed counts when the process turns out to be a VMM, not in a
 * helper that inherits our environment.
 */
static void __attribute__((constructor)) load(void)
{
	config_error = config_import(&config);
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}
