// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin of QEMU's that counts the instructions of the emulated machine, in a file that
 * is a memory device of that machine, too: so it can look at any time.
 *
 *   -plugin count.so,count=PATH -object memory-backend-file,mem-path=PATH,share=on,...
 *   -device ivshmem-plain,...
 *
 * One processor, since counters of several are not added up.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plugin.h"

EXPORT int qemu_plugin_version = 1;

static uint64_t *count;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, count,
						 qemu_plugin_tb_n_insns(tb));
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	int fd;

	if (argc != 1 || strncmp(argv[0], "count=", 6)) {
		fprintf(stderr, "count: no file\n");
		return -1;
	}
	fd = open(argv[0] + 6, O_RDWR);
	if (fd < 0) {
		perror(argv[0] + 6);
		return -1;
	}
	count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (count == MAP_FAILED) {
		perror("mmap");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
