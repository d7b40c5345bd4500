/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `pviommu run` tells the preload library, and how.
 *
 * The launcher execs the VMM with these environment variables. Every value is
 * written by config_export() and read back, strictly, by config_import(); a
 * variable that is missing or malformed stops the VMM when it creates its VM.
 * The library removes them all, and itself from LD_PRELOAD, once the VM is
 * bound: until then they must survive, since the program that the launcher execs
 * may be a wrapper that execs the real VMM.
 */
#ifndef PVIOMMU_CONFIG_H
#define PVIOMMU_CONFIG_H

#include <stdbool.h>
#include <sys/types.h>
#include <linux/pviommu.h>

#define ENV_PROTOCOL	"PVIOMMU_PROTOCOL"	/* CONFIG_PROTOCOL */
#define ENV_BASE	"PVIOMMU_BASE"		/* first IOVA of the window */
#define ENV_LENGTH	"PVIOMMU_LENGTH"	/* of the window, bytes */
#define ENV_BUDGET	"PVIOMMU_BUDGET"	/* pages */
#define ENV_DEVICES	"PVIOMMU_DEVICES"	/* host=guest@aperture,... */
#define ENV_FALLBACK	"PVIOMMU_FALLBACK"	/* 1: pin until the guest's driver comes */
#define ENV_GUARD	"PVIOMMU_GUARD"		/* fd:inode, of a socket; see guard.c */
#define ENV_OLD_PRELOAD	"PVIOMMU_OLD_PRELOAD"	/* the user's own LD_PRELOAD, if any */

/* Changes with any of the above: the two halves must be of one version. */
#define CONFIG_PROTOCOL		3

#define CONFIG_MAX_DEVICES	32

#define ARRAY_SIZE(x)	(sizeof(x) / sizeof((x)[0]))

#define PVIOMMU_DEV		"/dev/pviommu"
#define PVIOMMU_PAGE_SIZE	4096ULL

/*
 * Exit codes. 1 and all others are the VMM's own. 126 and 127 are those of
 * env(1): the VMM was found but cannot be executed, and it was not found.
 */
enum config_exit {
	EXIT_USAGE = 2,		/* wrong arguments */
	EXIT_HOST = 3,		/* the host is not ready; nothing was started */
	EXIT_VMM = 4,		/* this VMM cannot be run under pviommu */
	EXIT_STOPPED = 5,	/* the preload library stopped the VMM */
	EXIT_CANNOT_EXEC = 126,
	EXIT_NOT_FOUND = 127,
};

/*
 * @aperture: its number: ids count up from 0, and so do our apertures
 */
struct config_device {
	struct pviommu_host_device host;
	struct pviommu_endpoint guest;
	__u32 aperture;
};

/*
 * @base, @length: the window of every aperture, bytes
 * @budget: of every aperture, pages
 * @fallback_pin: plain VFIO until the guest's driver comes; see fallback.c
 * @guard_fd, @guard_inode: a socket to the guard, and how to know it again
 */
struct config {
	__u64 base;
	__u64 length;
	__u64 budget;
	bool fallback_pin;
	int guard_fd;
	ino_t guard_inode;
	unsigned int nr_devices;
	struct config_device devices[CONFIG_MAX_DEVICES];
};

const char *config_parse_device(char *text, struct config_device *device,
				bool *numbered);
const char *config_add_device(struct config *config,
			      const struct config_device *device);
const struct config_device *
config_find_device(const struct config *config,
		   const struct pviommu_host_device *host);
unsigned int config_apertures(const struct config *config);

bool config_export(const struct config *config);
const char *config_import(struct config *config);
void config_clear_environment(void);

#endif /* PVIOMMU_CONFIG_H */
