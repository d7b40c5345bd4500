// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VMM to test with: does what its arguments say, one after the other, and
 * exits with 42. "-device" and its value are skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"

#define RAM_SIZE	0x200000

static int vm = -1, vcpu = -1, device = -1, container;

static void expect(int ok, const char *what)
{
	if (!ok) {
		printf("unexpected: %s\n", what);
		exit(1);
	}
}

static void set_regs(int fd, __u64 rip)
{
	struct kvm_regs regs = { .rip = rip };

	ioctl(fd, KVM_SET_REGS, &regs);
}

static void set_sregs(int fd, __u64 base)
{
	struct kvm_sregs sregs = { .cs.base = base };

	ioctl(fd, KVM_SET_SREGS, &sregs);
}

static void set_sregs2(int fd, __u64 base)
{
	struct kvm_sregs2 sregs = { .cs.base = base };

	ioctl(fd, KVM_SET_SREGS2, &sregs);
}

static void test_map(void)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.size = 4096,
	};
	/* What a caller with an int makes of a request. */
	unsigned long extended = VFIO_IOMMU_MAP_DMA | 0xffffffff00000000;

	expect(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "map");
	expect(!ioctl(container, extended, &map), "map, sign-extended");
	map.flags = VFIO_DMA_MAP_FLAG_VADDR;
	expect(ioctl(container, VFIO_IOMMU_MAP_DMA, &map) < 0 && errno == EINVAL,
	       "map, new address");
}

static void test_unmap(void)
{
	__u64 bits[2] = { 0 };
	struct {
		struct vfio_iommu_type1_dma_unmap unmap;
		struct vfio_bitmap bitmap;
	} x = {
		.unmap = { .argsz = sizeof(x.unmap), .size = 70 * 4096 },
		.bitmap = { .pgsize = 4096, .size = sizeof(bits), .data = bits },
	};

	expect(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &x) &&
	       x.unmap.size == 70 * 4096, "unmap");

	x.unmap.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	expect(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &x) < 0 && !bits[0],
	       "unmap, no room for a bitmap");
	x.unmap.argsz = sizeof(x);
	expect(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &x) &&
	       bits[0] == ~0ULL && bits[1] == 0x3f, "unmap, dirty");
	x.bitmap.size = 8;
	expect(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &x) < 0,
	       "unmap, bitmap too short");
	x.bitmap.pgsize = 0;
	expect(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &x) < 0,
	       "unmap, no page size");

	x.unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL;
	expect(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &x) < 0,
	       "unmap all, with a size");
	x.unmap.size = 0;
	expect(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &x), "unmap all");
}

static void test_dirty(void)
{
	__u64 bits = 0;
	struct {
		struct vfio_iommu_type1_dirty_bitmap dirty;
		struct vfio_iommu_type1_dirty_bitmap_get range;
	} x = {
		.dirty = {
			.argsz = sizeof(x),
			.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
		},
		.range = {
			.size = 3 * 4096,
			.bitmap = { .pgsize = 4096, .size = 8, .data = &bits },
		},
	};

	expect(!ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &x) && !bits, "start");
	x.dirty.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
	expect(!ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &x) && bits == 7,
	       "all dirty");
}

static int map_ram(__u64 iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.iova = iova,
		.size = RAM_SIZE,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static void unmap_ram(void)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.size = RAM_SIZE,
	};

	expect(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) &&
	       unmap.size == RAM_SIZE, "unmap RAM");
}

/* Half a minute of waiting for the same thing is enough. */
static void pause_in(int *times)
{
	usleep(20000);
	expect(++*times < 1500, "silence");
}

/* Until the log has this line. */
static void await(const char *wanted)
{
	int times = 0;

	for (;;) {
		FILE *log = fopen(getenv("FAKE_LOG"), "r");
		char line[256];

		while (fgets(line, sizeof(line), log)) {
			line[strcspn(line, "\n")] = '\0';
			if (!strcmp(line, wanted)) {
				fclose(log);
				return;
			}
		}
		fclose(log);
		pause_in(&times);
	}
}

static long asked(void)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s" ASKED_SUFFIX, getenv("FAKE_LOG"));
	return stat(path, &st) ? 0 : st.st_size;
}

/* Until the host was asked for statistics twice more: the first had begun. */
static void await_asked(void)
{
	long before = asked();
	int times = 0;

	while (asked() < before + 2)
		pause_in(&times);
}

static void *map_slowly(void *arg)
{
	expect(!map_ram(SLOW_IOVA), "map slowly");
	return arg;
}

/* The guest's driver comes while another thread is mapping. */
static void enable_while_mapping(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, map_slowly, NULL);
	await("mapping");
	ioctl(vcpu, KVM_RUN, 1);
	pthread_join(thread, NULL);
}

static void show_threads(void)
{
	system("grep -hE '^(Name|SigBlk):' /proc/$PPID/task/*/status | xargs -n 4");
}

static int close_in_child(void *arg)
{
	(void)arg;
	close(device);
	close(vm);
	close(container);
	_exit(0);
}

static void in_child(int flags)
{
	static max_align_t stack[4096];
	int pid = flags ? clone(close_in_child, stack + 4096,
				flags | SIGCHLD, NULL) : fork();

	if (!pid)
		close_in_child(NULL);
	waitpid(pid, NULL, 0);
}

/* As QEMU does: the parent waits, here for all of the child's life. */
static void become_daemon(void)
{
	int status, pid = fork();

	if (!pid)
		return;
	waitpid(pid, &status, 0);
	_exit(WEXITSTATUS(status));
}

static void show_environment(void)
{
	for (char **at = environ; *at; at++) {
		if (!strncmp(*at, "PVIOMMU_", 8) || !strncmp(*at, "LD_PRELOAD=", 11))
			printf("%s\n", *at);
	}
}

static void act(const char *what)
{
	if (!strcmp(what, "vm"))
		vm = ioctl(0, KVM_CREATE_VM, 0);
	else if (!strcmp(what, "vcpus"))
		vcpu = ioctl(vm, KVM_CREATE_VCPU, 0), ioctl(vm, KVM_CREATE_VCPU, 1);
	else if (!strcmp(what, "close-vm"))
		close(vm);
	else if (!strcmp(what, "close-device"))
		close(device);
	else if (!strcmp(what, "map"))
		test_map();
	else if (!strcmp(what, "unmap"))
		test_unmap();
	else if (!strcmp(what, "dirty"))
		test_dirty();
	else if (!strcmp(what, "hot-reset"))
		ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, NULL);
	else if (!strcmp(what, "iommufd"))
		ioctl(device, _IO(VFIO_TYPE, VFIO_BASE + 18), NULL);
	else if (!strcmp(what, "qemu-reset"))
		set_sregs(vcpu, 0xffff0000), set_regs(vcpu, 0xfff0);
	else if (!strcmp(what, "qemu-reset2"))
		set_sregs2(vcpu, 0xffff0000), set_regs(vcpu, 0xfff0);
	else if (!strcmp(what, "swapped-reset"))
		set_regs(vcpu, 0xfff0), set_sregs(vcpu, 0xffff0000);
	else if (!strcmp(what, "ap-reset"))
		set_sregs(vcpu + 1, 0xffff0000), set_regs(vcpu + 1, 0xfff0);
	else if (!strcmp(what, "migrate"))
		set_sregs(vcpu, 0), set_regs(vcpu, 0x100000);
	else if (!strcmp(what, "low-reset"))
		set_sregs(vcpu, 0xf0000), set_regs(vcpu, 0xfff0);
	else if (!strcmp(what, "run"))
		ioctl(vcpu, KVM_RUN, 0);
	else if (!strcmp(what, "enable"))
		ioctl(vcpu, KVM_RUN, 1);
	else if (!strcmp(what, "enable-while-mapping"))
		enable_while_mapping();
	else if (!strcmp(what, "map-ram"))
		expect(!map_ram(0), "map RAM");
	else if (!strcmp(what, "map-fails"))
		expect(map_ram(0) < 0 && errno == ENOMEM, "map RAM fails");
	else if (!strcmp(what, "unmap-ram"))
		unmap_ram();
	else if (!strncmp(what, "container=", 10))
		container = open(what + 10, O_RDWR);
	else if (!strcmp(what, "close-container"))
		close(container);
	else if (!strcmp(what, "asked"))
		await_asked();
	else if (!strncmp(what, "await=", 6))
		await(what + 6);
	else if (!strcmp(what, "threads"))
		show_threads();
	else if (!strcmp(what, "fork"))
		in_child(0);
	else if (!strcmp(what, "vfork"))
		in_child(CLONE_VM);
	else if (!strcmp(what, "environment"))
		show_environment();
	else if (!strcmp(what, "daemonize"))
		become_daemon();
	else if (!strncmp(what, "open=", 5))
		device = ioctl(0, VFIO_GROUP_GET_DEVICE_FD, what + 5);
	else
		expect(0, what);
}

int main(int argc, char **argv)
{
	container = open("/dev/null", O_RDWR);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-device"))
			i++;
		else
			act(argv[i]);
		fflush(stdout);
	}
	return 42;
}
