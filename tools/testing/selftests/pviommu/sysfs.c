// SPDX-License-Identifier: GPL-2.0-only
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sysfs.h"

pid_t sysfs_write_start(const char *path, const char *text)
{
	char command[PATH_MAX + 64];
	pid_t pid;

	snprintf(command, sizeof(command), "echo %s >%s", text, path);
	pid = fork();
	if (!pid) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	return pid;
}

int sysfs_write_end(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static bool is_in(pid_t pid, const char *function)
{
	char path[64], line[256];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, function);
	fclose(file);
	return found;
}

bool comes_to_wait_in(pid_t pid, const char *function)
{
	int tries;

	for (tries = 0; tries < 300; tries++) {
		if (is_in(pid, function))
			return true;
		usleep(100000);
	}
	return false;
}

pid_t unbind_start(const char *bdf)
{
	return sysfs_write_start("/sys/bus/pci/drivers/vfio-pci/unbind", bdf);
}

pid_t remove_start(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", bdf);
	return sysfs_write_start(path, "1");
}

int bind_again(const char *bdf)
{
	return sysfs_write_end(sysfs_write_start("/sys/bus/pci/drivers/vfio-pci/bind",
						 bdf));
}

int rescan_and_bind(const char *bdf)
{
	char path[PATH_MAX];

	if (sysfs_write_end(sysfs_write_start("/sys/bus/pci/rescan", "1")))
		return -1;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 bdf);
	return sysfs_write_end(sysfs_write_start(path, "vfio-pci")) ?:
	       sysfs_write_end(sysfs_write_start("/sys/bus/pci/drivers_probe",
						 bdf));
}
