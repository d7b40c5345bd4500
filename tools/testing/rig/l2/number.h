/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RIG_NUMBER_H
#define RIG_NUMBER_H

#include <err.h>
#include <errno.h>
#include <stdlib.h>

/* An operand, which is a number, or else it ends the program. */
static inline unsigned long parse(const char *text)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || !*text || *end)
		errx(2, "not a number: %s", text);
	return value;
}

#endif /* RIG_NUMBER_H */
