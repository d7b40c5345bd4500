// SPDX-License-Identifier: GPL-2.0-only
/* No to a device, and the end of a VMM that would otherwise run with one unconfined. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

/**
 * reason() - put an errno in words
 * @table: what it can mean here
 * @len: entries in @table
 * @error: the errno
 *
 * Return: its text in @table, or the C library's.
 */
const char *reason(const struct reason *table, size_t len, int error)
{
	for (size_t i = 0; i < len; i++) {
		if (table[i].error == error)
			return table[i].text;
	}
	return strerror(error);
}

/**
 * refuse() - say why a device is kept from the VMM
 * @name: the device
 * @why: why
 */
void refuse(const char *name, const char *why)
{
	dprintf(STDERR_FILENO, "pviommu: refused %s: %s\n", name, why);
}

/**
 * stop() - say why, and end the VMM
 * @what: what cannot be done
 * @name: to what
 * @why: why not
 */
void stop(const char *what, const char *name, const char *why)
{
	dprintf(STDERR_FILENO, "pviommu: cannot %s %s: %s; stopping the VMM\n",
		what, name, why);
	/* Not exit(): other threads may hold whatever exit handlers need. */
	_exit(EXIT_STOPPED);
}
