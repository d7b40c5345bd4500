// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ram.h"

#define NR_HUGEPAGES	"/proc/sys/vm/nr_hugepages"
#define TMPFS_FILE	"/dev/shm/pviommu-test"
#define EXT4_IMAGE	"/dev/shm/pviommu-test.ext4"
#define EXT4_DIR	"/dev/shm/pviommu-test.mnt"

/* The kernel's own helper knows where the modules are. */
#define EXT4_MOUNT							\
	"$(cat /proc/sys/kernel/modprobe) -a loop ext4 && "		\
	"truncate -s 16M " EXT4_IMAGE " && "				\
	"mkfs.ext4 -q -F " EXT4_IMAGE " && mkdir -p " EXT4_DIR " && "	\
	"mount -o loop " EXT4_IMAGE " " EXT4_DIR

#define EXT4_UMOUNT							\
	"umount " EXT4_DIR "; rmdir " EXT4_DIR "; rm -f " EXT4_IMAGE

int huge_pages_now(void)
{
	FILE *file = fopen(NR_HUGEPAGES, "r");
	int nr = -1;

	if (!file || fscanf(file, "%d", &nr) != 1)
		perror(NR_HUGEPAGES);
	if (file)
		fclose(file);
	return nr;
}

void set_huge_pages(int nr)
{
	FILE *file = fopen(NR_HUGEPAGES, "w");

	if (!file || fprintf(file, "%d\n", nr) < 0 || fclose(file))
		perror(NR_HUGEPAGES);
}

static int map(struct ram *ram, int fd, int flags)
{
	void *mem = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (mem == MAP_FAILED) {
		perror("mmap");
		return -1;
	}
	ram->mem = mem;
	return 0;
}

static int map_file(struct ram *ram, int fd, int flags)
{
	int ret;

	if (fd < 0 || ftruncate(fd, RAM_SIZE)) {
		perror("guest RAM");
		return -1;
	}
	ret = map(ram, fd, flags);
	close(fd);
	return ret;
}

int ram_alloc(struct ram *ram, enum ram_kind kind)
{
	*ram = (struct ram){ .kind = kind };

	switch (kind) {
	case RAM_ANON_PRIVATE:
		return map(ram, -1, MAP_PRIVATE | MAP_ANONYMOUS);
	case RAM_ANON_SHARED:
		return map(ram, -1, MAP_SHARED | MAP_ANONYMOUS);
	case RAM_MEMFD:
		return map_file(ram, memfd_create("ram", MFD_CLOEXEC),
				MAP_SHARED);
	case RAM_HUGETLB:
		ram->huge_pages = huge_pages_now();
		set_huge_pages(ram->huge_pages + 2);
		return map(ram, -1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
	case RAM_TMPFS:
		return map_file(ram, open(TMPFS_FILE, O_RDWR | O_CREAT | O_CLOEXEC,
					  0600), MAP_SHARED);
	case RAM_EXT4_PRIVATE:
	case RAM_EXT4_SHARED:
		if (system(EXT4_MOUNT)) {
			fprintf(stderr, "no ext4 file system\n");
			return -1;
		}
		return map_file(ram, open(EXT4_DIR "/ram",
					  O_RDWR | O_CREAT | O_CLOEXEC, 0600),
				kind == RAM_EXT4_SHARED ? MAP_SHARED :
							  MAP_PRIVATE);
	}
	return -1;
}

void ram_free(struct ram *ram)
{
	if (ram->mem)
		munmap(ram->mem, RAM_SIZE);
	if (ram->kind == RAM_HUGETLB)
		set_huge_pages(ram->huge_pages);
	if (ram->kind == RAM_TMPFS)
		unlink(TMPFS_FILE);
	if ((ram->kind == RAM_EXT4_PRIVATE || ram->kind == RAM_EXT4_SHARED) &&
	    system(EXT4_UMOUNT))
		fprintf(stderr, "%s is left mounted\n", EXT4_DIR);
	ram->mem = NULL;
}
