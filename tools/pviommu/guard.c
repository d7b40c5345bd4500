// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sees to it that a VMM without the preload library gets no device.
 *
 * There are many ways for a preload library to be lost: a static VMM behind a
 * wrapper, a cleaned environment, a security module. A VMM that pins all of its
 * memory while its user thinks it confined would be the worst outcome of all.
 * VFIO lets a group be opened only once, and no device of it be bound to iommufd
 * meanwhile. So a process of ours, the guard, keeps the groups open until the
 * library tells it that it has bound the VM, or until the process that became the
 * VMM ends. Without the library, the VMM finds its groups, or devices, busy.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "address.h"
#include "launcher.h"

struct groups {
	unsigned int count;
	char names[CONFIG_MAX_DEVICES][32];
	int fds[CONFIG_MAX_DEVICES];
};

static bool open_group(const struct pviommu_host_device *host,
		       struct groups *groups)
{
	char *group = groups->names[groups->count];
	char path[64], name[ADDRESS_HOST_LEN];
	int fd;

	address_format_host(name, host);
	if (!host_group(host, group, sizeof(groups->names[0]))) {
		pr_err("%s: not in an IOMMU group any more", name);
		return false;
	}
	for (unsigned int i = 0; i < groups->count; i++) {
		if (!strcmp(groups->names[i], group))
			return true;
	}

	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		if (errno == EBUSY)
			pr_err("%s: its group, %s, is in use by another process",
			       name, path);
		else if (errno == EACCES || errno == EPERM)
			pr_err("%s: no permission to open its group, %s: run as root, or give this user access to it",
			       name, path);
		else if (errno == ENOENT)
			pr_err("%s: cannot open its group, %s, which is not there: pviommu run needs a kernel with VFIO's groups (CONFIG_VFIO_GROUP), also for a VMM that uses iommufd",
			       name, path);
		else
			pr_err("%s: cannot open its group, %s: %s", name, path,
			       strerror(errno));
		return false;
	}
	groups->fds[groups->count++] = fd;
	return true;
}

/*
 * @library: the other end is the library's
 * @vmm: a pidfd
 *
 * That the other end is closed means nothing: a wrapper may close what it
 * inherits, and go on to start a VMM.
 */
static noreturn void keep(const struct groups *groups, int library, int vmm)
{
	struct pollfd files[] = {
		{ .fd = library, .events = POLLIN },
		{ .fd = vmm, .events = POLLIN },
	};
	int null = open("/dev/null", O_RDWR);
	char byte;

	/* Nobody shall wait for the guard when the VMM is done. */
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	setsid();
	prctl(PR_SET_NAME, "pviommu-guard");

	while (!files[1].revents) {
		if (poll(files, ARRAY_SIZE(files), -1) < 0)
			continue;
		if (!files[0].revents)
			continue;
		if (recv(library, &byte, 1, 0) == 1) {
			for (unsigned int i = 0; i < groups->count; i++)
				close(groups->fds[i]);
			send(library, &byte, 1, MSG_NOSIGNAL);
			break;
		}
		files[0].fd = -1;
	}
	_exit(0);
}

/**
 * guard_start() - keep the VFIO groups of all devices for the library
 * @config: the devices; gets the file that the library will find the guard by,
 *	which stays open over exec
 *
 * Return: whether that worked. If not, says why.
 */
bool guard_start(struct config *config)
{
	struct groups groups = { 0 };
	int vmm, pair[2];
	struct stat st;
	pid_t child;

	for (unsigned int i = 0; i < config->nr_devices; i++) {
		if (!open_group(&config->devices[i].host, &groups))
			return false;
	}

	vmm = pidfd_open(getpid(), 0);
	if (vmm < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ||
	    fcntl(pair[0], F_SETFD, FD_CLOEXEC) || fstat(pair[1], &st)) {
		pr_err("cannot guard the VFIO groups: %s", strerror(errno));
		return false;
	}
	config->guard_fd = pair[1];
	config->guard_inode = st.st_ino;

	/* Twice, so that the guard is not a child that the VMM knows nothing of. */
	child = fork();
	if (!child) {
		child = fork();
		if (child)
			_exit(child < 0);
		close(pair[1]);
		keep(&groups, pair[0], vmm);
	}
	if (child < 0 || waitpid(child, &child, 0) < 0 || child) {
		pr_err("cannot guard the VFIO groups: no process for it");
		return false;
	}
	return true;
}
