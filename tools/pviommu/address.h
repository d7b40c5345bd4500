/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PVIOMMU_ADDRESS_H
#define PVIOMMU_ADDRESS_H

#include <stdbool.h>
#include <linux/pviommu.h>

/* Enough for "ffffffff:ff:1f.7" and, with eight steps, for a path. */
#define ADDRESS_HOST_LEN	24
#define ADDRESS_GUEST_LEN	64

bool address_parse_host(const char *text, struct pviommu_host_device *host);
bool address_parse_guest(const char *text, struct pviommu_endpoint *guest);
bool address_parse_slot(const char *text, __u8 *devfn);

const char *address_format_host(char text[ADDRESS_HOST_LEN],
				const struct pviommu_host_device *host);
const char *address_format_guest(char text[ADDRESS_GUEST_LEN],
				 const struct pviommu_endpoint *guest);

bool address_same_host(const struct pviommu_host_device *a,
		       const struct pviommu_host_device *b);
bool address_same_guest(const struct pviommu_endpoint *a,
			const struct pviommu_endpoint *b);

#endif /* PVIOMMU_ADDRESS_H */
