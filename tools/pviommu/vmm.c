// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the VMM, and tells a VMM that would ignore the preload library.
 *
 * This is for a clear message. That such a VMM cannot get at the devices even
 * when it is missed here, say behind a wrapper script, is seen to in guard.c.
 */
#include <errno.h>
#include <linux/elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "launcher.h"

/**
 * vmm_find() - find a program as execvp() would
 * @name: its name, or a path with a slash in it
 * @path: the result, allocated
 *
 * Return: 0, or an exit code, having said why.
 */
int vmm_find(const char *name, char **path)
{
	const char *dirs = getenv("PATH");
	bool denied = false;
	struct stat st;

	if (strchr(name, '/')) {
		*path = strdup(name);
		if (!access(name, X_OK) && !stat(name, &st) &&
		    S_ISREG(st.st_mode))
			return 0;
		denied = !access(name, F_OK);
	} else {
		for (const char *at = dirs ? dirs : "/usr/bin:/bin"; at;) {
			const char *end = strchrnul(at, ':');
			int len = end - at;

			if (asprintf(path, "%.*s/%s", len ? len : 1,
				     len ? at : ".", name) < 0)
				abort();
			if (!stat(*path, &st) && S_ISREG(st.st_mode)) {
				if (!access(*path, X_OK))
					return 0;
				denied = true;
			}
			free(*path);
			at = *end ? end + 1 : NULL;
		}
	}

	if (denied) {
		pr_err("%s is not executable", name);
		return EXIT_CANNOT_EXEC;
	}
	pr_err("no VMM %s", name);
	return EXIT_NOT_FOUND;
}

static bool gains_privileges(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return false;

	return (st.st_mode & S_ISUID && st.st_uid != getuid()) ||
	       (st.st_mode & S_ISGID && st.st_gid != getgid()) ||
	       (getuid() && getxattr(path, "security.capability", NULL, 0) > 0);
}

static bool has_interpreter(FILE *file, const struct elf64_hdr *header)
{
	if (header->e_phentsize != sizeof(struct elf64_phdr) ||
	    fseek(file, header->e_phoff, SEEK_SET))
		return false;

	for (int i = 0; i < header->e_phnum; i++) {
		struct elf64_phdr segment;

		if (fread(&segment, sizeof(segment), 1, file) != 1)
			return false;
		if (segment.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/**
 * vmm_check() - check that a program would load the preload library
 * @path: the program
 *
 * What is not an ELF file passes: a script may well exec one.
 *
 * Return: 0, or an exit code, having said why.
 */
int vmm_check(const char *path)
{
	struct elf64_hdr header = { 0 };
	const char *error = NULL;
	FILE *file;

	if (gains_privileges(path)) {
		pr_err("%s is set-uid, set-gid or has file capabilities, so that it loads no preload library: run pviommu as the user that it should run as",
		       path);
		return EXIT_VMM;
	}

	file = fopen(path, "re");
	if (!file) {
		pr_err("cannot read %s: %s", path, strerror(errno));
		return EXIT_VMM;
	}
	if (fread(&header, 1, sizeof(header), file) >= EI_NIDENT &&
	    !memcmp(header.e_ident, ELFMAG, SELFMAG)) {
		if (header.e_ident[EI_CLASS] != ELFCLASS64)
			error = "is not a 64-bit program";
		else if (!has_interpreter(file, &header))
			error = "is statically linked";
	}
	fclose(file);

	if (error) {
		pr_err("%s %s, so that it loads no preload library: pviommu needs a dynamically linked 64-bit VMM",
		       path, error);
		return EXIT_VMM;
	}
	return 0;
}
