// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI addresses: of a device in the host, [ssss:]bb:dd.f, and of one in the
 * guest, where the numbers of the buses below the root bus are not known
 * beforehand: [ssss:]bb:dd.f[/dd.f...], the bridges on the way first.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"

#define PATH_MAX_DEPTH	sizeof(((struct pviommu_endpoint *)0)->path)

static bool parse_hex(const char **text, unsigned int max_digits,
		      unsigned long *value)
{
	unsigned int digits = 0;

	*value = 0;
	for (; isxdigit((unsigned char)**text); (*text)++) {
		char digit[] = { **text, '\0' };

		if (digits++ == max_digits)
			return false;
		*value = *value << 4 | strtoul(digit, NULL, 16);
	}
	return digits > 0;
}

static bool parse_char(const char **text, char c)
{
	if (**text != c)
		return false;

	(*text)++;
	return true;
}

static bool parse_devfn(const char **text, __u8 *devfn)
{
	unsigned long device, function;

	if (!parse_hex(text, 2, &device) || !parse_char(text, '.') ||
	    !parse_hex(text, 1, &function) || device > 0x1f || function > 7)
		return false;

	*devfn = device << 3 | function;
	return true;
}

static bool parse_bdf(const char **text, __u32 *segment, __u8 *bus, __u8 *devfn)
{
	unsigned long first, second;
	const char *rest;

	if (!parse_hex(text, 8, &first) || !parse_char(text, ':'))
		return false;

	rest = *text;
	if (parse_hex(&rest, 2, &second) && parse_char(&rest, ':')) {
		*text = rest;
	} else {
		second = first;
		first = 0;
	}
	if (second > 0xff)
		return false;

	*segment = first;
	*bus = second;
	return parse_devfn(text, devfn);
}

/**
 * address_parse_host() - read [ssss:]bb:dd.f
 * @text: the address
 * @host: the result
 *
 * Return: whether @text is such an address.
 */
bool address_parse_host(const char *text, struct pviommu_host_device *host)
{
	memset(host, 0, sizeof(*host));
	return parse_bdf(&text, &host->segment, &host->bus, &host->devfn) &&
	       !*text;
}

/**
 * address_parse_guest() - read [ssss:]bb:dd.f[/dd.f...]
 * @text: the path from the root bus
 * @guest: the result
 *
 * Return: whether @text is such a path, and not too long a one.
 */
bool address_parse_guest(const char *text, struct pviommu_endpoint *guest)
{
	memset(guest, 0, sizeof(*guest));
	if (!parse_bdf(&text, &guest->segment, &guest->root_bus,
		       &guest->path[0]))
		return false;

	for (guest->depth = 1; *text; guest->depth++) {
		if (guest->depth == PATH_MAX_DEPTH || !parse_char(&text, '/') ||
		    !parse_devfn(&text, &guest->path[guest->depth]))
			return false;
	}
	return true;
}

/**
 * address_parse_slot() - read what QEMU takes after addr=
 * @text: slot[.function], hexadecimal with or without 0x
 * @devfn: the result
 *
 * Return: whether @text is such an address.
 */
bool address_parse_slot(const char *text, __u8 *devfn)
{
	unsigned long slot, function = 0;

	if (!strncmp(text, "0x", 2))
		text += 2;
	if (!parse_hex(&text, 2, &slot) || slot > 0x1f)
		return false;
	if (parse_char(&text, '.') &&
	    (!parse_hex(&text, 1, &function) || function > 7))
		return false;

	*devfn = slot << 3 | function;
	return !*text;
}

/**
 * address_format_host() - write a host address in sysfs's way
 * @text: where to
 * @host: the address
 *
 * Return: @text.
 */
const char *address_format_host(char text[ADDRESS_HOST_LEN],
				const struct pviommu_host_device *host)
{
	snprintf(text, ADDRESS_HOST_LEN, "%04x:%02x:%02x.%x", host->segment,
		 host->bus, host->devfn >> 3, host->devfn & 7);
	return text;
}

/**
 * address_format_guest() - write a path as address_parse_guest() reads it
 * @text: where to
 * @guest: the path
 *
 * Return: @text.
 */
const char *address_format_guest(char text[ADDRESS_GUEST_LEN],
				 const struct pviommu_endpoint *guest)
{
	int at = snprintf(text, ADDRESS_GUEST_LEN, "%04x:%02x:%02x.%x",
			  guest->segment, guest->root_bus, guest->path[0] >> 3,
			  guest->path[0] & 7);

	for (int i = 1; i < guest->depth; i++)
		at += snprintf(text + at, ADDRESS_GUEST_LEN - at, "/%02x.%x",
			       guest->path[i] >> 3, guest->path[i] & 7);
	return text;
}

/**
 * address_same_host() - compare two host addresses
 * @a: one, from address_parse_host()
 * @b: the other
 *
 * Return: whether they name one device.
 */
bool address_same_host(const struct pviommu_host_device *a,
		       const struct pviommu_host_device *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/**
 * address_same_guest() - compare two paths
 * @a: one, from address_parse_guest()
 * @b: the other
 *
 * Return: whether they name one endpoint.
 */
bool address_same_guest(const struct pviommu_endpoint *a,
			const struct pviommu_endpoint *b)
{
	return !memcmp(a, b, sizeof(*a));
}
