// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which device is in which aperture: as their numbers say, or one for each IOMMU
 * group. The devices of a group are not apart for the IOMMU, so that the host would
 * refuse to have them in two: when the VMM opens the second one.
 */
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "launcher.h"

#define GROUP_LEN	32

/**
 * apertures_check_numbers() - check that every aperture has a device
 * @config: the devices
 *
 * Return: whether that is so. If not, says which has none.
 */
bool apertures_check_numbers(const struct config *config)
{
	unsigned int count = config_apertures(config);

	for (unsigned int number = 0; number < count; number++) {
		unsigned int i = 0;

		while (i < config->nr_devices &&
		       config->devices[i].aperture != number)
			i++;
		if (i == config->nr_devices) {
			pr_err("aperture %u has no device: leave out no number up to the highest, %u",
			       number, count - 1);
			return false;
		}
	}
	return true;
}

/* The first device that is in the same group, perhaps itself. */
static unsigned int first_of_group(char groups[][GROUP_LEN], unsigned int index)
{
	unsigned int i = 0;

	while (strcmp(groups[i], groups[index]))
		i++;
	return i;
}

/**
 * apertures_assign() - settle which aperture each device is in
 * @config: the devices, which have IOMMU groups
 * @separate: give each group an aperture; if not, check that the devices of each
 *	group are in one
 *
 * Return: whether it can be so. If not, says why.
 */
bool apertures_assign(struct config *config, bool separate)
{
	char groups[CONFIG_MAX_DEVICES][GROUP_LEN];
	char name[ADDRESS_HOST_LEN], other[ADDRESS_HOST_LEN];
	unsigned int count = 0;

	for (unsigned int i = 0; i < config->nr_devices; i++) {
		struct config_device *device = &config->devices[i];
		const struct config_device *first;

		address_format_host(name, &device->host);
		if (!host_group(&device->host, groups[i], GROUP_LEN)) {
			pr_err("%s: not in an IOMMU group any more", name);
			return false;
		}

		first = &config->devices[first_of_group(groups, i)];
		if (separate) {
			device->aperture = first == device ? count++ :
							     first->aperture;
		} else if (device->aperture != first->aperture) {
			pr_err("%s cannot be in aperture %u: it is in one IOMMU group, %s, with %s, which is in aperture %u",
			       name, device->aperture, groups[i],
			       address_format_host(other, &first->host),
			       first->aperture);
			return false;
		}
	}
	return true;
}
