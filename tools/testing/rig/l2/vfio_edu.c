// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio_edu BDF [huge] [beside=BDF] [stale=IOVA]: drives QEMU's edu device from user space, through
 * VFIO, and has it attempt DMA where it may and where it may not; as edu_dma.c does it,
 * which says how a refused transfer is judged. Prints "name value" lines.
 *
 * huge: with a huge page, of which it maps 2 MiB in one call, and nothing else
 * beside: with another device, of another group, in the same container, and nothing else
 * stale: where somebody else, who is gone, has had a page of SECRET mapped
 *
 * At the end it leaves a page of SECRET mapped, that of the file SECRET_FILE, for
 * whoever has the device next to find the mapping gone.
 */
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_CMD_RUN	1UL
#define EDU_CMD_TO_RAM	2UL
#define EDU_BUFFER	0x40000UL

#define ARRAY_SIZE(x)	(sizeof(x) / sizeof((x)[0]))

#define LENGTH		2048
#define PAGE		4096UL
#define HUGE		(2UL << 20)

/* Pages of a file on a disk cannot be pinned for so long. */
#define SECRET_FILE	"/dev/secret"

/* Touched at most in search of a page that is not where the window is: more than is there. */
#define SEARCH		(300UL << 20)

enum { SECRET = 0x5a, FILL = 0xa5, INITIAL = 0x3c };

static int container = -1;

/* The device that is driven. */
static int device;
static uint64_t regs;

/* Inclusive. */
static uint64_t window_start, window_last;

/* Always mapped: the way to fill and to look into the device's buffer. */
static uint8_t *buffer;
static uint64_t buffer_iova;

static void say(const char *name, uint64_t value)
{
	printf("%s %llu\n", name, (unsigned long long)value);
}

static void open_device(const char *bdf)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[PATH_MAX], link[PATH_MAX] = "";
	struct vfio_region_info info = { .argsz = sizeof(info) };
	uint16_t command;
	bool first;
	int group;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		err(1, "%s", path);
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	group = open(path, O_RDWR);
	if (group < 0)
		err(1, "%s", path);
	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status))
		err(1, "VFIO_GROUP_GET_STATUS");
	say("viable", !!(status.flags & VFIO_GROUP_FLAGS_VIABLE));
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		exit(0);

	first = container < 0;
	if (first)
		container = open("/dev/vfio/vfio", O_RDWR);
	if (container < 0)
		err(1, "/dev/vfio/vfio");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		err(1, "VFIO_GROUP_SET_CONTAINER");
	if (first && ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device < 0)
		err(1, "VFIO_GROUP_GET_DEVICE_FD");

	info.index = VFIO_PCI_CONFIG_REGION_INDEX;
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) ||
	    pread(device, &command, sizeof(command), info.offset + PCI_COMMAND) !=
	    sizeof(command))
		err(1, "PCI configuration");
	command |= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	if (pwrite(device, &command, sizeof(command), info.offset + PCI_COMMAND) !=
	    sizeof(command))
		err(1, "PCI configuration");
	info.index = VFIO_PCI_BAR0_REGION_INDEX;
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		err(1, "VFIO_DEVICE_GET_REGION_INFO");
	regs = info.offset;
}

/* The longest range of IOVAs that the container has. */
static void find_window(void)
{
	static struct {
		struct vfio_iommu_type1_info info;
		uint8_t caps[4096];
	} answer = { .info.argsz = sizeof(answer) };
	struct vfio_iommu_type1_info_cap_iova_range *ranges;
	struct vfio_info_cap_header *cap;
	uint32_t at, i;

	if (ioctl(container, VFIO_IOMMU_GET_INFO, &answer))
		err(1, "VFIO_IOMMU_GET_INFO");
	for (at = answer.info.cap_offset; at; at = cap->next) {
		cap = (void *)&answer + at;
		if (cap->id != VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
			continue;
		ranges = (void *)cap;
		for (i = 0; i < ranges->nr_iovas; i++) {
			if (ranges->iova_ranges[i].end -
			    ranges->iova_ranges[i].start <
			    window_last - window_start)
				continue;
			window_start = ranges->iova_ranges[i].start;
			window_last = ranges->iova_ranges[i].end;
		}
	}
	say("window_start", window_start);
	say("window_last", window_last);
}

static int try_map(void *memory, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = size,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static void map(void *memory, uint64_t iova, uint64_t size)
{
	if (try_map(memory, iova, size))
		err(1, "VFIO_IOMMU_MAP_DMA");
}

static void unmap(uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};

	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) || unmap.size != size)
		err(1, "VFIO_IOMMU_UNMAP_DMA");
}

static void set_register(unsigned int reg, uint64_t value)
{
	if (pwrite(device, &value, sizeof(value), regs + reg) != sizeof(value))
		err(1, "BAR 0");
}

static void transfer(uint64_t address, bool to_ram)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	unsigned int waited;
	uint64_t command;

	set_register(EDU_DMA_SRC, to_ram ? EDU_BUFFER : address);
	set_register(EDU_DMA_DST, to_ram ? address : EDU_BUFFER);
	set_register(EDU_DMA_COUNT, LENGTH);
	set_register(EDU_DMA_CMD, EDU_CMD_RUN | (to_ram ? EDU_CMD_TO_RAM : 0));
	for (waited = 0; waited < 4000; waited++) {
		if (pread(device, &command, sizeof(command),
			  regs + EDU_DMA_CMD) != sizeof(command))
			err(1, "BAR 0");
		if (!(command & EDU_CMD_RUN))
			return;
		nanosleep(&pause, NULL);
	}
	errx(1, "edu does not finish");
}

static bool is_filled(const uint8_t *memory, int value)
{
	unsigned int i;

	for (i = 0; i < LENGTH && memory[i] == value; i++)
		;
	return i == LENGTH;
}

static void set_buffer(void)
{
	memset(buffer, FILL, LENGTH);
	transfer(buffer_iova, false);
}

static void get_buffer(void)
{
	memset(buffer, INITIAL, LENGTH);
	transfer(buffer_iova, true);
}

static bool write_arrives(uint8_t *target, uint64_t iova)
{
	set_buffer();
	memset(target, INITIAL, LENGTH);
	transfer(iova, true);
	return !is_filled(target, INITIAL);
}

/* Does reading from @iova reveal a SECRET that is there, or was? */
static bool reveals(uint64_t iova)
{
	set_buffer();
	transfer(iova, false);
	get_buffer();
	return memchr(buffer, SECRET, LENGTH);
}

static bool read_arrives(uint8_t *target, uint64_t iova)
{
	memset(target, SECRET, LENGTH);
	return reveals(iova);
}

static uint64_t physical(const void *memory)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	if (fd < 0 || pread(fd, &entry, sizeof(entry),
			    (uintptr_t)memory / PAGE * sizeof(entry)) != sizeof(entry))
		err(1, "/proc/self/pagemap");
	close(fd);
	return (entry & ((1UL << 55) - 1)) * PAGE;
}

static bool in_window(uint64_t address)
{
	return address >= window_start && address <= window_last;
}

/*
 * A page at whose guest physical address there is no IOVA of the window. What is touched in vain
 * stays, so that the kernel runs out of what is in the window.
 */
static uint8_t *page_outside(void)
{
	uint8_t *memory = mmap(NULL, SEARCH, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at;

	if (memory == MAP_FAILED)
		err(1, "mmap");
	madvise(memory, SEARCH, MADV_NOHUGEPAGE);
	for (at = 0; at < SEARCH; at += PAGE) {
		memory[at] = 1;
		if (!in_window(physical(memory + at)))
			break;
	}
	if (at == SEARCH)
		errx(1, "all memory is where the window is");
	mlock(memory + at, PAGE);
	return memory + at;
}

static void attempt_all(uint64_t iova)
{
	uint8_t *target = page_outside();
	bool write, read;
	uint64_t gpa;

	map(target, iova, PAGE);
	write = write_arrives(target, iova) && is_filled(target, FILL);
	read = read_arrives(target, iova) && is_filled(buffer, SECRET);
	say("inside_write", write);
	say("inside_read", read);
	gpa = physical(target);
	unmap(iova, PAGE);
	say("unmapped_write_blocked", write && !write_arrives(target, iova));
	say("unmapped_read_blocked", read && !read_arrives(target, iova));
	say("gpa_in_window", in_window(gpa));
	say("outside_write_blocked", write && !write_arrives(target, gpa));
	say("outside_read_blocked", read && !read_arrives(target, gpa));
	say("target_stayed", physical(target) == gpa);
	say("refused_outside", try_map(target, window_last + 1, PAGE) < 0);
}

/* Where to try: its ends, and between. */
static const uint64_t offsets[] = { 0, 17 * PAGE, HUGE / 2, HUGE - PAGE };

static bool reaches_huge(uint8_t *memory, uint64_t iova, bool all)
{
	unsigned int i, reached = 0;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		uint8_t *target = memory + offsets[i];

		reached += write_arrives(target, iova + offsets[i]) ||
			   read_arrives(target, iova + offsets[i]);
	}
	return all ? reached == i : reached;
}

static void attempt_huge(uint64_t iova)
{
	uint8_t *memory = mmap(NULL, HUGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	bool inside;

	if (memory == MAP_FAILED)
		err(1, "mmap of a huge page");
	memset(memory, 0, HUGE);
	map(memory, iova, HUGE);
	inside = reaches_huge(memory, iova, true);
	say("huge_inside", inside);
	unmap(iova, HUGE);
	say("huge_unmapped_blocked", inside && !reaches_huge(memory, iova, false));
}

/* What is mapped already has to be in the other device's domain, too. */
static void attempt_beside(const char *bdf, uint64_t iova)
{
	uint8_t *target = page_outside();
	uint64_t first_regs = regs;
	int first = device;
	bool before, after;

	before = write_arrives(target, iova);
	map(target, iova, PAGE);
	say("first_inside", !before && write_arrives(target, iova));
	open_device(bdf);
	say("beside_inside", write_arrives(target, iova));
	unmap(iova, PAGE);
	after = write_arrives(target, iova);
	map(target, iova, PAGE);
	say("beside_again", !after && write_arrives(target, iova));
	device = first;
	regs = first_regs;
	say("first_again", write_arrives(target, iova));
}

static void leave_secret(uint64_t iova)
{
	int fd = open(SECRET_FILE, O_RDWR | O_CREAT, 0600);
	uint8_t *memory;

	if (fd < 0 || ftruncate(fd, PAGE))
		err(1, SECRET_FILE);
	memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		err(1, SECRET_FILE);
	memset(memory, SECRET, PAGE);
	map(memory, iova, PAGE);
	say("left_read", read_arrives(memory, iova));
	say("left_iova", iova);
}

int main(int argc, char **argv)
{
	const char *beside = NULL;
	uint64_t stale = 0, base;
	bool huge = false;
	int i;

	if (argc < 2)
		errx(1, "which device?");
	for (i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "huge"))
			huge = true;
		else if (!strncmp(argv[i], "beside=", 7))
			beside = argv[i] + 7;
		else if (!strncmp(argv[i], "stale=", 6))
			stale = strtoull(argv[i] + 6, NULL, 0);
		else
			errx(1, "%s?", argv[i]);
	}
	setlinebuf(stdout);

	open_device(argv[1]);
	find_window();
	base = (window_start + 4 * HUGE) / HUGE * HUGE;
	buffer_iova = base;
	if (posix_memalign((void **)&buffer, PAGE, PAGE))
		err(1, "no memory");
	memset(buffer, 0, PAGE);
	map(buffer, buffer_iova, PAGE);

	if (stale)
		say("stale_read_blocked", !reveals(stale));
	if (huge) {
		attempt_huge(base + HUGE);
		return 0;
	}
	if (beside) {
		attempt_beside(beside, base + PAGE);
		return 0;
	}
	attempt_all(base + PAGE);
	leave_secret(base + 2 * PAGE);
	say("finished", 1);
	return 0;
}
