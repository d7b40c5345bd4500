// SPDX-License-Identifier: GPL-2.0-only
/* Finds passthrough devices in QEMU's arguments. */
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "launcher.h"

#define MAX_LEN	256

/* QEMU's options are key=value,key=value. In a value, ",," is a comma. */
struct option {
	char text[MAX_LEN];
	const char *key;
	const char *value;
};

static const char *next_option(const char *at, struct option *option)
{
	size_t len = 0;
	char *equals;

	for (; *at; at++) {
		if (*at == ',' && *++at != ',')
			break;
		if (len < sizeof(option->text) - 1)
			option->text[len++] = *at;
	}
	option->text[len] = '\0';

	equals = strchr(option->text, '=');
	if (equals)
		*equals++ = '\0';
	option->key = option->text;
	option->value = equals;
	return at;
}

/*
 * @name: the host address as it was written; "" if none was
 */
struct vfio_pci {
	char driver[MAX_LEN];
	char name[MAX_LEN];
	char addr[MAX_LEN];
	char bus[MAX_LEN];
	bool fd;
};

static void parse_device(const char *text, struct vfio_pci *found)
{
	struct option option;

	memset(found, 0, sizeof(*found));
	for (bool first = true; *text; first = false) {
		text = next_option(text, &option);
		if (first && !option.value) {
			option.value = option.key;
			option.key = "driver";
		}
		if (!option.value)
			continue;

		if (!strcmp(option.key, "driver")) {
			snprintf(found->driver, MAX_LEN, "%s", option.value);
		} else if (!strcmp(option.key, "host")) {
			snprintf(found->name, MAX_LEN, "%s", option.value);
		} else if (!strcmp(option.key, "sysfsdev")) {
			const char *base = strrchr(option.value, '/');

			snprintf(found->name, MAX_LEN, "%s", base ? base + 1 : option.value);
		} else if (!strcmp(option.key, "addr")) {
			snprintf(found->addr, MAX_LEN, "%s", option.value);
		} else if (!strcmp(option.key, "bus")) {
			snprintf(found->bus, MAX_LEN, "%s", option.value);
		} else if (!strcmp(option.key, "fd")) {
			found->fd = true;
		}
	}
}

/*
 * @explicit: there were --device options
 */
static int add_device(const struct vfio_pci *found, struct config *config,
		      bool explicit)
{
	struct config_device device = { .guest.depth = 1 };
	const char *error;

	/* Opened by whoever starts the VMM. The library refuses one not named. */
	if (found->fd && !found->name[0]) {
		if (explicit)
			return 0;
		pr_err("cannot tell which host device -device %s,fd= is: pass --device HOST=GUEST",
		       found->driver);
		return EXIT_USAGE;
	}
	if (!address_parse_host(found->name, &device.host)) {
		pr_err("cannot tell which host device -device %s,host=%s is",
		       found->driver, found->name);
		return EXIT_USAGE;
	}
	if (config_find_device(config, &device.host))
		return 0;

	if (found->bus[0] && strcmp(found->bus, "pcie.0") &&
	    strcmp(found->bus, "pci.0")) {
		pr_err("cannot tell where the guest finds %s on bus %s: pass --device %s=GUEST",
		       found->name, found->bus, found->name);
		return EXIT_USAGE;
	}
	if (!address_parse_slot(found->addr, &device.guest.path[0])) {
		pr_err("cannot tell where the guest finds %s, its -device has no addr=SLOT.FUNCTION: add that, or pass --device %s=GUEST",
		       found->name, found->name);
		return EXIT_USAGE;
	}

	error = config_add_device(config, &device);
	if (error) {
		pr_err("%s at addr=%s: %s", found->name, found->addr, error);
		return EXIT_USAGE;
	}
	return 0;
}

/**
 * vmm_args_scan() - add the passthrough devices of a QEMU command line
 * @argv: the VMM and its arguments
 * @config: where to; devices that it has already are left as they are
 *
 * Return: 0 when every device is known, or else an exit code, having said why.
 */
int vmm_args_scan(char **argv, struct config *config)
{
	bool explicit = config->nr_devices > 0;
	struct vfio_pci found;
	int ret;

	for (int i = 1; argv[i] && argv[i + 1]; i++) {
		if (strcmp(argv[i], "-device") && strcmp(argv[i], "--device"))
			continue;

		i++;
		if (argv[i][0] == '{') {
			/* The library still refuses one that is not named. */
			if (!explicit && strstr(argv[i], "vfio-pci")) {
				pr_err("cannot read a vfio-pci -device in JSON: pass --device HOST=GUEST");
				return EXIT_USAGE;
			}
			continue;
		}

		parse_device(argv[i], &found);
		if (strcmp(found.driver, "vfio-pci") &&
		    strcmp(found.driver, "vfio-pci-nohotplug"))
			continue;
		ret = add_device(&found, config, explicit);
		if (ret)
			return ret;
	}

	if (!config->nr_devices) {
		pr_err("no device to put behind a pviommu: no --device, and no -device vfio-pci among the VMM's arguments");
		return EXIT_USAGE;
	}
	return 0;
}
