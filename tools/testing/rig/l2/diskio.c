// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct I/O on a disk, for guests that have nothing but busybox.
 *
 *   diskio cat DISK OFFSET LENGTH            to standard output
 *   diskio fill DISK OFFSET LENGTH SEED      with 64-bit words, see fill_block()
 *   diskio check DISK OFFSET LENGTH SEED     whether that is what is there
 *   diskio time DISK BLOCK COUNT             prints the nanoseconds of COUNT reads
 *   diskio spread DISK LENGTH MEMORY [CACHED]    reads so much, again and again, to so much
 *                                            memory; then, while it has that, as much by way of
 *                                            the page cache, to what nobody else has
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "number.h"

#define BLOCK	(128UL << 10)
#define ALIGN	4096

static void *buffer(size_t size)
{
	void *memory = aligned_alloc(ALIGN, size);

	if (!memory)
		err(1, "aligned_alloc");
	/* Present before it is used, so that no fault is measured. */
	memset(memory, 0, size);
	return memory;
}

static void read_at(int disk, void *data, size_t length, unsigned long offset)
{
	ssize_t done = pread(disk, data, length, offset);

	if (done < 0)
		err(1, "read at %lu", offset);
	if ((size_t)done != length)
		errx(1, "short read at %lu", offset);
}

static void cat(int disk, unsigned long offset, unsigned long length)
{
	char *data = buffer(BLOCK);

	for (unsigned long at = 0; at < length; at += BLOCK) {
		size_t size = length - at < BLOCK ? length - at : BLOCK;

		read_at(disk, data, size, offset + at);
		for (size_t out = 0; out < size;) {
			ssize_t n = write(STDOUT_FILENO, data + out, size - out);

			if (n < 0)
				err(1, "write");
			out += n;
		}
	}
}

/* Every word tells where it belongs, so that no mix-up goes unnoticed. */
static void fill_block(unsigned long *words, size_t count, unsigned long first, unsigned long seed)
{
	for (size_t i = 0; i < count; i++)
		words[i] = (first + i + seed) * 0x9e3779b97f4a7c15UL;
}

static void fill(int disk, unsigned long offset, unsigned long length, unsigned long seed)
{
	unsigned long *words = buffer(BLOCK);

	for (unsigned long at = 0; at < length; at += BLOCK) {
		size_t size = length - at < BLOCK ? length - at : BLOCK;
		ssize_t done;

		fill_block(words, size / sizeof(*words), at / sizeof(*words), seed);
		done = pwrite(disk, words, size, offset + at);
		if (done < 0)
			err(1, "write at %lu", offset + at);
		if ((size_t)done != size)
			errx(1, "short write");
	}
	if (fsync(disk))
		err(1, "fsync");
}

static void check(int disk, unsigned long offset, unsigned long length, unsigned long seed)
{
	unsigned long *words = buffer(BLOCK), *found = buffer(BLOCK);

	for (unsigned long at = 0; at < length; at += BLOCK) {
		size_t size = length - at < BLOCK ? length - at : BLOCK;

		fill_block(words, size / sizeof(*words), at / sizeof(*words), seed);
		read_at(disk, found, size, offset + at);
		if (memcmp(words, found, size))
			errx(1, "something else is in the %zu bytes at %lu", size, offset + at);
	}
}

static unsigned long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

static void measure(int disk, size_t block, unsigned long count)
{
	char *data = buffer(block);
	unsigned long start = now();

	for (unsigned long i = 0; i < count; i++)
		read_at(disk, data, block, i * block);
	printf("%lu\n", now() - start);
}

static void read_cached(const char *path, unsigned long length)
{
	char *data = buffer(BLOCK);
	int disk = open(path, O_RDONLY);

	if (disk < 0)
		err(1, "%s", path);
	for (unsigned long at = 0; at < length; at += BLOCK)
		read_at(disk, data, length - at < BLOCK ? length - at : BLOCK, at);
	close(disk);
}

static void spread(int disk, unsigned long length, unsigned long memory, const char *path,
		   unsigned long cached)
{
	char *data = buffer(memory);

	for (unsigned long at = 0; at < memory; at += BLOCK) {
		size_t size = memory - at < BLOCK ? memory - at : BLOCK;

		read_at(disk, data + at, size, at % length);
	}
	read_cached(path, cached);
}

int main(int argc, char **argv)
{
	int disk;

	if (argc < 5)
		errx(2, "usage: diskio cat|fill|check|spread|time DISK ...");
	disk = open(argv[2], (strcmp(argv[1], "fill") ? O_RDONLY : O_RDWR) | O_DIRECT);
	if (disk < 0)
		err(1, "%s", argv[2]);

	if (!strcmp(argv[1], "cat"))
		cat(disk, parse(argv[3]), parse(argv[4]));
	else if (!strcmp(argv[1], "fill") && argc == 6)
		fill(disk, parse(argv[3]), parse(argv[4]), parse(argv[5]));
	else if (!strcmp(argv[1], "check") && argc == 6)
		check(disk, parse(argv[3]), parse(argv[4]), parse(argv[5]));
	else if (!strcmp(argv[1], "spread"))
		spread(disk, parse(argv[3]), parse(argv[4]), argv[2],
		       argc == 6 ? parse(argv[5]) : 0);
	else if (!strcmp(argv[1], "time"))
		measure(disk, parse(argv[3]), parse(argv[4]));
	else
		errx(2, "unknown command or operands missing");
	return 0;
}
