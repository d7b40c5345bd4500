// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "module.h"

/*
 * Ours is where PVIOMMU_TEST_MODULE says, or else where it is installed. The
 * tests' own are with the tests.
 */
static void module_path(const char *name, char *path, size_t size)
{
	const char *ours = getenv("PVIOMMU_TEST_MODULE");
	char self[PATH_MAX] = { };
	struct utsname kernel;

	if (strcmp(name, "kvm_pviommu")) {
		readlink("/proc/self/exe", self, sizeof(self) - 1);
		snprintf(path, size, "%s/test_modules/%s.ko", dirname(self), name);
		return;
	}
	uname(&kernel);
	if (ours)
		snprintf(path, size, "%s", ours);
	else
		snprintf(path, size,
			 "/lib/modules/%s/kernel/virt/kvm/pviommu/kvm-pviommu.ko",
			 kernel.release);
}

struct module module_read(const char *name)
{
	struct module module = { .name = name };
	char path[PATH_MAX];
	struct stat st;
	int fd;

	module_path(name, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		perror(path);
		exit(1);
	}
	module.size = st.st_size;
	module.data = malloc(module.size);
	if (!module.data ||
	    read(fd, module.data, module.size) != module.size) {
		perror(path);
		exit(1);
	}
	close(fd);
	return module;
}

int module_load(const struct module *module)
{
	return syscall(SYS_init_module, module->data, module->size, "");
}

int module_unload(const struct module *module)
{
	return syscall(SYS_delete_module, module->name, O_NONBLOCK);
}

bool module_loaded(const struct module *module)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/initstate", module->name);
	return !access(path, F_OK);
}

int module_set(const struct module *module, const char *parameter,
	       const char *value)
{
	char path[128];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s",
		 module->name, parameter);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	len = write(fd, value, strlen(value));
	close(fd);
	return len < 0 ? -1 : 0;
}

static void *unload_thread(void *data)
{
	struct module_unloading *u = data;

	u->result = module_unload(u->module) ? errno : 0;
	atomic_store(&u->done, true);
	return NULL;
}

void module_unload_start(struct module_unloading *u, const struct module *module)
{
	u->module = module;
	atomic_init(&u->done, false);
	if (pthread_create(&u->thread, NULL, unload_thread, u)) {
		perror("pthread_create");
		exit(1);
	}
}

int module_unload_end(struct module_unloading *u)
{
	pthread_join(u->thread, NULL);
	return u->result;
}

int kmsg_begin(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0) {
		perror("/dev/kmsg");
		exit(1);
	}
	return fd;
}

/* Closes @fd. */
bool kmsg_has(int fd, const char *text)
{
	bool found = false;
	char record[8192];
	ssize_t len;

	for (;;) {
		len = read(fd, record, sizeof(record) - 1);
		/* Records that were overwritten are passed over. */
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			break;
		record[len] = 0;
		found |= !!strstr(record, text);
	}
	close(fd);
	return found;
}
