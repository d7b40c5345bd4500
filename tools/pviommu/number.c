// SPDX-License-Identifier: GPL-2.0-only
/* Numbers and sizes from text, strictly: no sign, no blanks, nothing left over. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "number.h"

static bool number_start(const char *text, __u64 *number, char **end)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');

	/* strtoull() would take blanks and a sign. */
	if (!isxdigit((unsigned char)text[hex ? 2 : 0]))
		return false;

	errno = 0;
	*number = strtoull(text, end, hex ? 16 : 10);
	return !errno && *end != text;
}

/**
 * number_parse() - read a number
 * @text: decimal, or hexadecimal after 0x
 * @number: the result
 *
 * Return: whether all of @text is a number that fits.
 */
bool number_parse(const char *text, __u64 *number)
{
	char *end;

	return number_start(text, number, &end) && !*end;
}

/**
 * number_parse_size() - read a length or an address
 * @text: a number as number_parse() takes it, perhaps followed by K, M or G
 * @bytes: the result
 *
 * Return: whether all of @text is a size that fits.
 */
bool number_parse_size(const char *text, __u64 *bytes)
{
	unsigned int shift = 0;
	char *end;

	if (!number_start(text, bytes, &end))
		return false;

	switch (toupper((unsigned char)*end)) {
	case 'K':
		shift = 10;
		break;
	case 'M':
		shift = 20;
		break;
	case 'G':
		shift = 30;
		break;
	case '\0':
		return true;
	default:
		return false;
	}
	if (end[1] || *bytes > ~0ULL >> shift)
		return false;

	*bytes <<= shift;
	return true;
}

/**
 * number_parse_budget() - read an amount of memory that may be pinned
 * @text: a size in bytes, or a number of pages followed by "p" or "pages"
 * @pages: the result, in pages; at least 1
 *
 * Return: whether @text is a whole number of pages that fits.
 */
bool number_parse_budget(const char *text, __u64 *pages)
{
	__u64 bytes;
	char *end;

	if (number_start(text, pages, &end) &&
	    (!strcmp(end, "p") || !strcmp(end, "pages")))
		return *pages > 0;

	if (!number_parse_size(text, &bytes) || bytes % PVIOMMU_PAGE_SIZE)
		return false;

	*pages = bytes / PVIOMMU_PAGE_SIZE;
	return *pages > 0;
}
