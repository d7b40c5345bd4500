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
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"
#include "iommufd_abi.h"

#define RAM_SIZE	0x200000

#define ARRAY_SIZE(x)	(sizeof(x) / sizeof((x)[0]))

static int vm = -1, vcpu = -1, device = -1, container, iommufd = -1;

/* The device before. */
static int other = -1;

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

static void opened(int fd)
{
	if (fd < 0) {
		printf("open: %s\n", strerror(errno));
		return;
	}
	other = device;
	device = fd;
}

static void open_cdev(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
	opened(open(path, O_RDWR));
}

static void bind_iommufd(void)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommufd,
	};

	if (ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		printf("bind: %s\n", strerror(errno));
}

static void attach_pt(__u32 pt, __u32 flags)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.flags = flags,
		.pt_id = pt,
	};

	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		printf("into: %s\n", strerror(errno));
}

static void detach_pt(__u32 flags)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
		.flags = flags,
	};

	if (ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
		printf("out: %s\n", strerror(errno));
}

/* Of an ioctl whose structure begins with its size. Returns an errno. */
static int try(unsigned long request, void *arg, __u32 size)
{
	*(__u32 *)arg = size;
	return ioctl(iommufd, request, arg) ? errno : 0;
}

static int map_ioas(__u32 ioas)
{
	struct iommu_ioas_map map = {
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas,
		.length = RAM_SIZE,
	};

	return try(IOMMU_IOAS_MAP, &map, sizeof(map));
}

static int copy_ioas(__u32 ioas)
{
	struct iommu_ioas_copy copy = {
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE,
		.dst_ioas_id = ioas,
		.length = RAM_SIZE,
	};

	return try(IOMMU_IOAS_COPY, &copy, sizeof(copy));
}

static int unmap_ioas(__u32 ioas)
{
	struct iommu_ioas_unmap unmap = { .ioas_id = ioas, .length = RAM_SIZE };

	return try(IOMMU_IOAS_UNMAP, &unmap, sizeof(unmap));
}

/* What is wrong with one field of a request, and what iommufd says of it. */
static void test_ioas_map_fields(void)
{
	/* size, flags, ioas_id, __reserved, user_va, length, iova */
	static const struct {
		struct iommu_ioas_map map;
		int error;
		const char *what;
	} cases[] = {
		{ { 0, 5, 1, 0, 0, 8192, 4096 }, 0, "map" },
		{ { 0, 1, 1, 0, 0, 8192, 4096 }, EINVAL, "map, no access" },
		{ { 0, 4, 1, 0, 0, 8192, 4096 }, EOPNOTSUPP, "map anywhere" },
		{ { 0, 15, 1, 0, 0, 8192, 4096 }, EOPNOTSUPP, "map, flags" },
		{ { 0, 5, 1, 1, 0, 8192, 4096 }, EOPNOTSUPP, "map, reserved" },
		{ { 0, 5, 1, 0, 0, 0, 4096 }, EINVAL, "map nothing" },
		{ { 0, 5, 1, 0, 0, 4097, 4096 }, EINVAL, "map half a page" },
		{ { 0, 5, 1, 0, 0, 8192, 1 }, EINVAL, "map, in a page" },
		{ { 0, 5, 1, 0, 0, -1ULL, 4096 }, EOVERFLOW, "map, length" },
		{ { 0, 5, 1, 0, 0, 8192, -1ULL }, EOVERFLOW, "map, iova" },
		{ { 0, 5, 1, 0, 0, 8192, -4096ULL }, EOVERFLOW, "map, wraps" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct iommu_ioas_map map = cases[i].map;

		expect(try(IOMMU_IOAS_MAP, &map, sizeof(map)) == cases[i].error,
		       cases[i].what);
	}
}

static void test_ioas_map_size(void)
{
	struct {
		struct iommu_ioas_map map;
		char more[4096];
	} x = { .map = { 0, 5, 1, 0, 0, 8192, 4096 } };
	size_t size = sizeof(x.map);

	expect(try(IOMMU_IOAS_MAP, &x, size - 1) == EINVAL, "map, short");
	expect(try(IOMMU_IOAS_MAP, &x, size + 8) == 0, "map, long");
	expect(try(IOMMU_IOAS_MAP, &x, 4097) == E2BIG, "map, too long");
	x.more[7] = 1;
	expect(try(IOMMU_IOAS_MAP, &x, size + 8) == E2BIG, "map, long, not 0");

	expect(try(IOMMU_IOAS_MAP_FILE, &x, size) == 0, "map file");
	expect(try(IOMMU_IOAS_MAP_FILE, &x, 8) == EINVAL, "map file, short");
	x.map.flags = 0;
	expect(try(IOMMU_IOAS_MAP_FILE, &x, size) == EINVAL,
	       "map file, no access");
}

static void test_ioas_copy(void)
{
	struct iommu_ioas_copy copy = {
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE,
		.dst_ioas_id = 1, .src_ioas_id = 2, .length = 4096,
	};

	expect(!copy_ioas(1), "copy");
	expect(try(IOMMU_IOAS_COPY, &copy, 8) == EINVAL, "copy, short");
	copy.src_iova = -1ULL;
	expect(try(IOMMU_IOAS_COPY, &copy, sizeof(copy)) == EOVERFLOW,
	       "copy, source");
	copy.flags = IOMMU_IOAS_MAP_READABLE;
	copy.src_iova = 0;
	expect(try(IOMMU_IOAS_COPY, &copy, sizeof(copy)) == EOPNOTSUPP,
	       "copy, anywhere");
}

static int unmap_range(__u64 iova, __u64 length)
{
	struct iommu_ioas_unmap unmap = {
		.ioas_id = 1, .iova = iova, .length = length,
	};
	int error = try(IOMMU_IOAS_UNMAP, &unmap, sizeof(unmap));

	expect(unmap.length == length, "unmapped length");
	return error;
}

static void test_ioas_unmap(void)
{
	struct iommu_ioas_unmap unmap = { .length = 4096 };

	expect(unmap_range(0x100000000, 70 * 4096) == 0, "unmap");
	expect(unmap_range(0, -1ULL) == 0, "unmap all");
	expect(unmap_range(4096, -1ULL) == EOVERFLOW, "unmap, length");
	expect(unmap_range(-1ULL, 1) == EOVERFLOW, "unmap, end");
	expect(unmap_range(-4096ULL, 8192) == EOVERFLOW, "unmap, wraps");
	expect(unmap_range(4096, 0) == EINVAL, "unmap nothing");
	expect(try(IOMMU_IOAS_UNMAP, &unmap, 16) == EINVAL, "unmap, short");
}

static void test_ioas_dirty(void)
{
	/* size, hwpt_id, flags, __reserved, iova, length, page_size, data */
	static const struct {
		struct iommu_hwpt_get_dirty_bitmap get;
		int error;
		const char *what;
	} cases[] = {
		{ { 0, 3, 2, 0, 4096, 8192, 4096, 0 }, EOPNOTSUPP, "dirty, flags" },
		{ { 0, 3, 0, 1, 4096, 8192, 4096, 0 }, EOPNOTSUPP, "dirty, reserved" },
		{ { 0, 3, 0, 0, 4096, 0, 4096, 0 }, EINVAL, "dirty, nothing" },
		{ { 0, 3, 0, 0, 4096, 4097, 4096, 0 }, EINVAL, "dirty, length" },
		{ { 0, 3, 0, 0, 512, 8192, 4096, 0 }, EINVAL, "dirty, iova" },
		{ { 0, 3, 0, 0, -4096ULL, 8192, 4096, 0 }, EOVERFLOW, "dirty, wraps" },
		{ { 0, 3, 0, 0, 4096, 8192, 0, 0 }, EINVAL, "dirty, no page" },
		{ { 0, 3, 0, 0, 4096, 8192, 4097, 0 }, EINVAL, "dirty, page" },
		{ { 0, 3, 1, 0, 4096, 70 * 4096, 4096, 0 }, 0, "dirty" },
	};
	struct iommu_hwpt_get_dirty_bitmap get;
	__u64 bits[3] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		expect(!bits[0], "no bits yet");
		get = cases[i].get;
		get.data = (unsigned long)bits;
		expect(try(IOMMU_HWPT_GET_DIRTY_BITMAP, &get, sizeof(get)) ==
		       cases[i].error, cases[i].what);
	}
	expect(bits[0] == ~0ULL && bits[1] == 0x3f && !bits[2], "all dirty");
	expect(try(IOMMU_HWPT_GET_DIRTY_BITMAP, &get, 8) == EINVAL,
	       "dirty, short");
}

static void test_ioas(void)
{
	test_ioas_map_fields();
	test_ioas_map_size();
	test_ioas_copy();
	test_ioas_unmap();
	test_ioas_dirty();
}

/* The kernel's answer is of what is mapped, and nothing was written. */
static void read_clean(void)
{
	__u64 bits = 0;
	struct iommu_hwpt_get_dirty_bitmap get = {
		.length = 4096, .page_size = 4096, .data = (unsigned long)&bits,
	};

	expect(!try(IOMMU_HWPT_GET_DIRTY_BITMAP, &get, sizeof(get)) && !bits,
	       "clean");
}

/* iommufd's requests, with an argument that no other file would want. */
static void test_stray(int fd)
{
	static const unsigned int requests[] = {
		IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_COPY,
		IOMMU_IOAS_UNMAP, IOMMU_HWPT_GET_DIRTY_BITMAP,
	};
	/* Nobody but the kernel shall read it. */
	void *arg = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		expect(ioctl(fd, requests[i], arg) < 0 && errno == ENOTTY,
		       "not for iommufd");
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

/* Returns whether it was one of these. */
static int act_iommufd(const char *what)
{
	if (!strcmp(what, "iommufd"))
		iommufd = open("/dev/iommu", O_RDWR);
	else if (!strcmp(what, "close-iommufd"))
		close(iommufd);
	else if (!strncmp(what, "cdev=", 5))
		open_cdev(what + 5);
	else if (!strcmp(what, "bind"))
		bind_iommufd();
	else if (!strncmp(what, "into=", 5))
		attach_pt(atoi(what + 5), 0);
	else if (!strcmp(what, "into-badly"))
		attach_pt(2, 1);
	else if (!strcmp(what, "out"))
		detach_pt(0);
	else if (!strcmp(what, "out-badly"))
		detach_pt(1);
	else if (!strcmp(what, "ioas"))
		test_ioas();
	else if (!strncmp(what, "ioas-map=", 9))
		expect(!map_ioas(atoi(what + 9)), what);
	else if (!strcmp(what, "ioas-map-fails"))
		expect(map_ioas(2) == ENOMEM, what);
	else if (!strncmp(what, "ioas-copy=", 10))
		expect(!copy_ioas(atoi(what + 10)), what);
	else if (!strncmp(what, "ioas-unmap=", 11))
		expect(!unmap_ioas(atoi(what + 11)), what);
	else if (!strcmp(what, "ioas-clean"))
		read_clean();
	else if (!strcmp(what, "stray"))
		test_stray(container), test_stray(device);
	else if (!strcmp(what, "iommufd-container"))
		container = iommufd;
	else
		return 0;
	return 1;
}

static void act(const char *what)
{
	if (act_iommufd(what))
		return;
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
	else if (!strcmp(what, "other-device"))
		opened(other);
	else if (!strcmp(what, "close-device-unseen"))
		syscall(SYS_close, device);
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
	else if (!strncmp(what, "enable@", 7))
		ioctl(vcpu, KVM_RUN, atoi(what + 7) + 1);
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
		opened(ioctl(0, VFIO_GROUP_GET_DEVICE_FD, what + 5));
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
