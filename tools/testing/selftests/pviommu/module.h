/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Modules of the host, loaded and unloaded.
 */
#ifndef PVIOMMU_SELFTEST_MODULE_H
#define PVIOMMU_SELFTEST_MODULE_H

#include <stdbool.h>
#include <stddef.h>

#include "vm.h"

/**
 * struct module - a module's file, in memory
 * @name: as the kernel names it
 * @data: the file
 * @size: its length
 */
struct module {
	const char *name;
	void *data;
	size_t size;
};

/* Ends the test if there is no such file. */
struct module module_read(const char *name);
/* They return 0, or -1 with errno. Unloading does not wait for users. */
int module_load(const struct module *module);
int module_unload(const struct module *module);
bool module_loaded(const struct module *module);
int module_set(const struct module *module, const char *parameter,
	       const char *value);

/**
 * struct module_unloading - an unload in a thread of its own
 * @module: what is unloaded
 * @result: 0 or an errno, once @done
 * @done: it has returned
 */
struct module_unloading {
	const struct module *module;
	int result;
	atomic_bool done;
	pthread_t thread;	/* private */
};

void module_unload_start(struct module_unloading *u, const struct module *module);
int module_unload_end(struct module_unloading *u);

/* What the kernel logs from kmsg_begin() on. */
int kmsg_begin(void);
bool kmsg_has(int fd, const char *text);

#endif /* PVIOMMU_SELFTEST_MODULE_H */
