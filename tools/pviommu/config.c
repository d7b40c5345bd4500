// SPDX-License-Identifier: GPL-2.0-only
/* The configuration, and its way through the environment (see config.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "config.h"
#include "number.h"

/* host=guest@aperture and what follows it. */
#define DEVICE_LEN	(ADDRESS_HOST_LEN + ADDRESS_GUEST_LEN + 4)

/**
 * config_add_device() - add a device
 * @config: to what
 * @device: the device
 *
 * Return: NULL, or why it cannot be added.
 */
const char *config_add_device(struct config *config,
			      const struct config_device *device)
{
	if (config->nr_devices == CONFIG_MAX_DEVICES)
		return "too many devices";
	if (config_find_device(config, &device->host))
		return "the host device is named twice";
	for (unsigned int i = 0; i < config->nr_devices; i++) {
		if (address_same_guest(&config->devices[i].guest,
				       &device->guest))
			return "another device has this guest address";
	}

	config->devices[config->nr_devices++] = *device;
	return NULL;
}

/**
 * config_find_device() - look up a device
 * @config: where
 * @host: its address in the host
 *
 * Return: the device, or NULL.
 */
const struct config_device *
config_find_device(const struct config *config,
		   const struct pviommu_host_device *host)
{
	for (unsigned int i = 0; i < config->nr_devices; i++) {
		if (address_same_host(&config->devices[i].host, host))
			return &config->devices[i];
	}
	return NULL;
}

/**
 * config_apertures() - count the apertures
 * @config: the configuration
 *
 * Return: how many there are: one more than the highest number of a device.
 */
unsigned int config_apertures(const struct config *config)
{
	unsigned int count = 1;

	for (unsigned int i = 0; i < config->nr_devices; i++) {
		if (config->devices[i].aperture >= count)
			count = config->devices[i].aperture + 1;
	}
	return count;
}

/* Cuts @text in two at @separator. */
static char *split(char *text, char separator)
{
	char *right = strchr(text, separator);

	if (right)
		*right++ = '\0';
	return right;
}

/**
 * config_parse_device() - read HOST=GUEST[@APERTURE]
 * @text: the device; gets cut into pieces
 * @device: the result
 * @numbered: whether it names an aperture; if not, it is 0
 *
 * Return: NULL, or what is wrong.
 */
const char *config_parse_device(char *text, struct config_device *device,
				bool *numbered)
{
	char *guest = split(text, '=');
	char *number;
	__u64 aperture = 0;

	memset(device, 0, sizeof(*device));
	if (!guest)
		return "not HOST=GUEST";
	number = split(guest, '@');
	if (!address_parse_host(text, &device->host))
		return "HOST is not [ssss:]bb:dd.f";
	if (!address_parse_guest(guest, &device->guest))
		return "GUEST is not [ssss:]bb:dd.f[/dd.f...]";
	if (number && (!number_parse(number, &aperture) ||
		       aperture >= CONFIG_MAX_DEVICES))
		return "the aperture after @ is not a number from 0 to 31";

	device->aperture = aperture;
	*numbered = number;
	return NULL;
}

static bool export_number(const char *name, __u64 number)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%llx", number);
	return !setenv(name, text, 1);
}

static bool export_devices(const struct config *config)
{
	char text[CONFIG_MAX_DEVICES * DEVICE_LEN] = "";
	char host[ADDRESS_HOST_LEN], guest[ADDRESS_GUEST_LEN];
	size_t at = 0;

	for (unsigned int i = 0; i < config->nr_devices; i++)
		at += snprintf(text + at, sizeof(text) - at, "%s%s=%s@%u",
			       i ? "," : "",
			       address_format_host(host, &config->devices[i].host),
			       address_format_guest(guest, &config->devices[i].guest),
			       config->devices[i].aperture);
	return !setenv(ENV_DEVICES, text, 1);
}

static bool export_guard(const struct config *config)
{
	char text[64];

	snprintf(text, sizeof(text), "%d:%llu", config->guard_fd,
		 (unsigned long long)config->guard_inode);
	return !setenv(ENV_GUARD, text, 1);
}

/**
 * config_export() - put a configuration into the environment
 * @config: the configuration
 *
 * Return: false when out of memory.
 */
bool config_export(const struct config *config)
{
	return export_number(ENV_PROTOCOL, CONFIG_PROTOCOL) &&
	       export_number(ENV_BASE, config->base) &&
	       export_number(ENV_LENGTH, config->length) &&
	       export_number(ENV_BUDGET, config->budget) &&
	       export_number(ENV_FALLBACK, config->fallback_pin) &&
	       export_devices(config) && export_guard(config);
}

static bool import_number(const char *name, __u64 *number)
{
	const char *text = getenv(name);

	return text && number_parse(text, number);
}

static bool import_devices(struct config *config)
{
	const char *text = getenv(ENV_DEVICES);

	while (text) {
		char one[DEVICE_LEN] = "";
		size_t len = strcspn(text, ",");
		struct config_device device;
		bool numbered;

		if (len >= sizeof(one))
			return false;
		memcpy(one, text, len);

		if (config_parse_device(one, &device, &numbered) || !numbered ||
		    config_add_device(config, &device))
			return false;

		text = text[len] ? text + len + 1 : NULL;
	}
	return config->nr_devices > 0;
}

static bool import_guard(struct config *config)
{
	const char *text = getenv(ENV_GUARD);
	__u64 fd, inode;
	char left[64];
	char *right;

	if (!text)
		return false;

	snprintf(left, sizeof(left), "%s", text);
	right = split(left, ':');
	if (!right || !number_parse(left, &fd) || fd > 0x7fffffff ||
	    !number_parse(right, &inode))
		return false;

	config->guard_fd = fd;
	config->guard_inode = inode;
	return true;
}

/**
 * config_import() - read the configuration from the environment
 * @config: the result; not to be used when this fails
 *
 * Return: NULL, or what is wrong.
 */
const char *config_import(struct config *config)
{
	__u64 protocol, fallback;

	memset(config, 0, sizeof(*config));
	if (!getenv(ENV_PROTOCOL))
		return "it was not started by `pviommu run'";
	if (!import_number(ENV_PROTOCOL, &protocol) ||
	    protocol != CONFIG_PROTOCOL)
		return "pviommu and its preload library are of different versions";
	if (!import_number(ENV_BASE, &config->base))
		return "malformed " ENV_BASE;
	if (!import_number(ENV_LENGTH, &config->length))
		return "malformed " ENV_LENGTH;
	if (!import_number(ENV_BUDGET, &config->budget))
		return "malformed " ENV_BUDGET;
	if (!import_number(ENV_FALLBACK, &fallback) || fallback > 1)
		return "malformed " ENV_FALLBACK;
	config->fallback_pin = fallback;
	if (!import_devices(config))
		return "malformed " ENV_DEVICES;
	if (!import_guard(config))
		return "malformed " ENV_GUARD;
	return NULL;
}

/**
 * config_clear_environment() - make the environment the user's own again
 *
 * So that what the VMM starts from here on is not preloaded.
 */
void config_clear_environment(void)
{
	static const char * const names[] = {
		ENV_PROTOCOL, ENV_BASE, ENV_LENGTH, ENV_BUDGET, ENV_DEVICES,
		ENV_FALLBACK, ENV_GUARD, ENV_OLD_PRELOAD,
	};
	const char *old = getenv(ENV_OLD_PRELOAD);

	if (!old || setenv("LD_PRELOAD", old, 1))
		unsetenv("LD_PRELOAD");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
}
