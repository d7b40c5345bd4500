// SPDX-License-Identifier: GPL-2.0-only
/*
 *   no_tso INTERFACE
 *
 * Has the kernel cut TCP's data to packets itself. QEMU 7.2's e1000e makes IP
 * fragments of what it is to cut, and QEMU's user network loses most of them.
 */
#include <err.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct ethtool_value off = { .cmd = ETHTOOL_STSO };
	struct ifreq request = { .ifr_data = (char *)&off };
	int fd;

	if (argc != 2)
		errx(2, "usage: no_tso INTERFACE");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", argv[1]);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0)
		err(1, "socket");
	if (ioctl(fd, SIOCETHTOOL, &request))
		err(1, "%s", argv[1]);
	return 0;
}
