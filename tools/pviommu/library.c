// SPDX-License-Identifier: GPL-2.0-only
/* Finds the preload library and puts it before the user's own LD_PRELOAD. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher.h"

#define LIBRARY	"libpviommu-preload.so"

/**
 * preload_find() - find the preload library
 * @path: the result: beside this program, or else where it was installed
 * @size: of @path, in bytes
 *
 * Return: whether it was found. If not, says so.
 */
bool preload_find(char *path, size_t size)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[len < 0 ? 0 : len] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		if ((size_t)snprintf(path, size, "%s/" LIBRARY, self) < size &&
		    !access(path, R_OK))
			goto found;
	}

	snprintf(path, size, PVIOMMU_LIBDIR "/" LIBRARY);
	if (access(path, R_OK)) {
		pr_err("no " LIBRARY ": it is neither in %s nor at %s",
		       self, path);
		return false;
	}

found:
	/* What ld.so takes for a separator, or expands. */
	if (strpbrk(path, ": $")) {
		pr_err("%s cannot be preloaded from a folder with a space, a colon or a dollar sign in its name",
		       path);
		return false;
	}
	return true;
}

/**
 * preload_export() - have the next program preload the library
 * @path: the library
 *
 * Return: false when out of memory.
 */
bool preload_export(const char *path)
{
	const char *old = getenv("LD_PRELOAD");
	char *both;
	bool done;

	if (!old) {
		unsetenv(ENV_OLD_PRELOAD);
		return !setenv("LD_PRELOAD", path, 1);
	}

	if (asprintf(&both, "%s:%s", path, old) < 0)
		return false;
	done = !setenv(ENV_OLD_PRELOAD, old, 1) &&
	       !setenv("LD_PRELOAD", both, 1);
	free(both);
	return done;
}
