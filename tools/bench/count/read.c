// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints how many instructions this emulated machine has executed: see plugin.c.
 *
 *   read RESOURCE     the memory of the device, as sysfs has it
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	const uint64_t *count;
	int fd;

	if (argc != 2)
		errx(2, "usage: read RESOURCE");
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(1, "%s", argv[1]);
	count = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (count == MAP_FAILED)
		err(1, "mmap");
	printf("%llu\n", (unsigned long long)*count);
	return 0;
}
