// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host to test against, without KVM, VFIO or kvm-pviommu: preloaded beneath
 * the preload library, as the user's own LD_PRELOAD.
 *
 * Paths in /sys, /dev/pviommu, /dev/iommu and /dev/vfio are looked up under
 * $FAKE_ROOT instead. What is there for /dev/iommu or in /dev/vfio/devices passes
 * for a character device: its text is the number, "511:0". The ioctls that matter
 * are answered here and written to $FAKE_LOG, one a line. $FAKE_FAIL names one that
 * fails, with which errno: "attach:16". KVM_RUN with an argument is the guest's
 * driver enabling the aperture of that number, counted from 1. A mapping at
 * SLOW_IOVA takes a second.
 *
 * What it cannot show is that VFIO refuses to open a group twice.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/pviommu.h>
#include <linux/pviommu_abi.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fake.h"
#include "iommufd_abi.h"

#define NEXT(name)	((typeof(name) *)dlsym(RTLD_NEXT, #name))

/* The apertures, as PVIOMMU_STATS tells of them. */
static struct {
	unsigned int devices, waiting, enabled;
} apertures[8];

static unsigned int nr_apertures;

static const char *redirect(const char *path, char *buffer)
{
	const char *root = getenv("FAKE_ROOT");

	if (!root || (strncmp(path, "/sys/", 5) &&
		      strcmp(path, "/dev/pviommu") &&
		      strcmp(path, "/dev/iommu") &&
		      strncmp(path, "/dev/vfio/", 10)))
		return path;

	snprintf(buffer, 4096, "%s%s", root, path);
	return buffer;
}

static void append(const char *path, const char *format, va_list args)
{
	int fd = NEXT(open)(path, O_WRONLY | O_APPEND | O_CREAT, 0600);

	vdprintf(fd, format, args);
	NEXT(close)(fd);
}

static void record(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	append(getenv("FAKE_LOG"), format, args);
	va_end(args);
}

static void record_asked(const char *format, ...)
{
	char path[4096];
	va_list args;

	snprintf(path, sizeof(path), "%s" ASKED_SUFFIX, getenv("FAKE_LOG"));
	va_start(args, format);
	append(path, format, args);
	va_end(args);
}

int open64(const char *path, int flags, ...)
{
	char buffer[4096];
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);

	path = redirect(path, buffer);
	return NEXT(open64)(path, flags, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
	char buffer[4096];

	return NEXT(fopen64)(redirect(path, buffer), mode);
}

int access(const char *path, int mode)
{
	char buffer[4096];

	return NEXT(access)(redirect(path, buffer), mode);
}

ssize_t readlink(const char *path, char *target, size_t size)
{
	char buffer[4096];

	return NEXT(readlink)(redirect(path, buffer), target, size);
}

int stat64(const char *path, struct stat64 *st)
{
	char buffer[4096];

	return NEXT(stat64)(redirect(path, buffer), st);
}

static bool fd_path(int fd, char *path, size_t size)
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = NEXT(readlink)(link, path, size - 1);
	path[len < 0 ? 0 : len] = '\0';
	return len > 0;
}

/* The name of a VFIO device's own file, or of iommufd's; NULL for any other. */
static const char *special(int fd, char *path, size_t size)
{
	if (!fd_path(fd, path, size))
		return NULL;
	if (!strstr(path, "/dev/vfio/devices/") && !strstr(path, "/dev/iommu"))
		return NULL;
	return strrchr(path, '/') + 1;
}

int fstat64(int fd, struct stat64 *st)
{
	int ret = NEXT(fstat64)(fd, st);
	unsigned int major, minor;
	char path[4096];
	FILE *file;

	if (ret || !special(fd, path, sizeof(path)))
		return ret;

	file = NEXT(fopen64)(path, "r");
	if (fscanf(file, "%u:%u", &major, &minor) == 2) {
		st->st_mode = S_IFCHR;
		st->st_rdev = makedev(major, minor);
	}
	fclose(file);
	return 0;
}

int close(int fd)
{
	char path[4096];

	if (fd_path(fd, path, sizeof(path))) {
		if (!strncmp(path, "/memfd:", 7))
			record("closed %.*s\n", (int)strcspn(path + 7, " "), path + 7);
		else if (strstr(path, "/dev/pviommu"))
			record("closed pviommu\n");
		else if (special(fd, path, sizeof(path)))
			record("closed %s\n", special(fd, path, sizeof(path)));
		else if (strstr(path, "/dev/vfio/"))
			record("closed group %s\n", strrchr(path, '/') + 1);
	}
	return NEXT(close)(fd);
}

static int answer(const char *name, int ret)
{
	const char *fail = getenv("FAKE_FAIL");
	size_t len = strlen(name);

	if (fail && !strncmp(fail, name, len) && fail[len] == ':') {
		errno = atoi(fail + len + 1);
		return -1;
	}
	return ret;
}

static int pviommu_ioctl(unsigned int request, void *arg)
{
	struct pviommu_create_aperture *create = arg;
	const struct pviommu_attach *attach = arg;
	const struct pviommu_detach *detach = arg;
	const struct pviommu_stats *get = arg;
	struct pviommu_aperture_stats *stats;
	struct pviommu_info *info = arg;
	unsigned int id;

	switch (request) {
	case PVIOMMU_INFO:
		info->out_abi_version = PVIOMMU_ABI_VERSION;
		if (answer("version", 0))
			info->out_abi_version++;
		info->out_max_window = 1ULL << 30;
		return answer("info", 0);
	case PVIOMMU_BIND_VM:
		record("bind\n");
		nr_apertures = 0;
		return answer("bind", 0);
	case PVIOMMU_CREATE_APERTURE:
		record("create %llx %llx %llu\n", create->base, create->length,
		       create->budget);
		create->out_aperture_id = nr_apertures++;
		return answer("create", 0);
	case PVIOMMU_ATTACH:
		id = attach->aperture_id;
		record("attach%s %x:%02x:%02x %x:%02x/%u/%02x%02x%.*s\n",
		       attach->flags & PVIOMMU_ATTACH_ON_ENABLE ? " later" : "",
		       attach->host.segment, attach->host.bus,
		       attach->host.devfn, attach->guest.segment,
		       attach->guest.root_bus, attach->guest.depth,
		       attach->guest.path[0], attach->guest.path[1], id ? 2 : 0,
		       (char []){ '@', '0' + id });
		if (answer("attach", 0))
			return -1;
		apertures[id].devices++;
		if (attach->flags & PVIOMMU_ATTACH_ON_ENABLE &&
		    !apertures[id].enabled)
			apertures[id].waiting++;
		return 0;
	case PVIOMMU_DETACH:
		id = detach->aperture_id;
		record("detach %x:%02x:%02x%.*s\n", detach->host.segment,
		       detach->host.bus, detach->host.devfn, id ? 2 : 0,
		       (char []){ '@', '0' + id });
		apertures[id].devices--;
		if (apertures[id].waiting)
			apertures[id].waiting--;
		return answer("detach", 0);
	case PVIOMMU_STATS:
		record_asked(".");
		stats = (void *)(uintptr_t)get->stats_uptr;
		stats->devices = apertures[get->aperture_id].devices;
		stats->waiting = apertures[get->aperture_id].waiting;
		return answer("stats", 0);
	case PVIOMMU_RESET:
		record("reset %x\n", ((struct pviommu_reset *)arg)->aperture_id);
		return answer("reset", 0);
	default:
		errno = ENOTTY;
		return -1;
	}
}

static bool is_container(int fd)
{
	char path[4096] = "";
	struct stat64 st;

	special(fd, path, sizeof(path));
	return !fstat64(fd, &st) && S_ISCHR(st.st_mode) &&
	       !strstr(path, "/dev/vfio/devices/");
}

static int dma_map(const struct vfio_iommu_type1_dma_map *map)
{
	if (map->iova == SLOW_IOVA) {
		record("mapping\n");
		sleep(1);
	}
	record("map %llx\n", map->size);
	return answer("map", 0);
}

static int dma_unmap(int fd, struct vfio_iommu_type1_dma_unmap *unmap)
{
	char path[4096];

	fd_path(fd, path, sizeof(path));
	if (unmap->flags == VFIO_DMA_UNMAP_FLAG_ALL && !unmap->iova &&
	    !unmap->size)
		record("unmap all of %s\n", path);
	else
		record("unmap %llx\n", unmap->size);
	/* How much there was. */
	unmap->size = 0x200000;
	return answer("unmap", 0);
}

static int cdev_ioctl(const char *name, unsigned int request, void *arg)
{
	const struct vfio_device_attach_iommufd_pt *attach = arg;
	const struct vfio_device_detach_iommufd_pt *detach = arg;

	switch (request) {
	case VFIO_DEVICE_BIND_IOMMUFD:
		record("bind %s\n", name);
		return answer("bindfd", 0);
	case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
		record("%s into %u\n", name, attach->pt_id);
		return answer("into", 0);
	default:
		record("%s out\n", name);
		errno = EINVAL;
		return detach->flags ? -1 : answer("out", 0);
	}
}

static int iommufd_ioctl(const char *name, unsigned int request, void *arg)
{
	const struct iommu_ioas_map *map = arg;
	const struct iommu_ioas_copy *copy = arg;
	struct iommu_ioas_unmap *unmap = arg;

	if (!name || strcmp(name, "iommu")) {
		record("not for iommufd: %x\n", _IOC_NR(request));
		errno = ENOTTY;
		return -1;
	}

	switch (request) {
	case IOMMU_IOAS_MAP:
		record("map %llx into %u\n", map->length, map->ioas_id);
		return answer("map", 0);
	case IOMMU_IOAS_COPY:
		record("copy %llx into %u\n", copy->length, copy->dst_ioas_id);
		return 0;
	case IOMMU_IOAS_UNMAP:
		record("unmap %llx at %llx of %u\n", unmap->length,
		       unmap->iova, unmap->ioas_id);
		return answer("unmap", 0);
	case IOMMU_HWPT_GET_DIRTY_BITMAP:
		record("dirty\n");
		return 0;
	default:
		errno = ENOTTY;
		return -1;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	char path[4096];
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	if (_IOC_TYPE(request) == PVIOMMU_TYPE)
		return pviommu_ioctl(request, arg);

	switch ((unsigned int)request) {
	case KVM_CREATE_VM:
		return answer("vm", memfd_create("vm", 0));
	case KVM_CREATE_VCPU:
		return memfd_create("vcpu", 0);
	case KVM_RUN:
		if (arg) {
			unsigned int id = (uintptr_t)arg - 1;

			record("enable%.*s\n", id ? 2 : 0,
			       (char []){ '@', '0' + id });
			apertures[id].waiting = 0;
			apertures[id].enabled = 1;
		}
		return 0;
	case KVM_SET_REGS:
	case KVM_SET_SREGS:
	case KVM_SET_SREGS2:
		return 0;
	case VFIO_GROUP_GET_DEVICE_FD:
		return memfd_create("device", 0);
	case VFIO_DEVICE_PCI_HOT_RESET: /* and VFIO_IOMMU_MAP_DMA */
		if (is_container(fd))
			return dma_map(arg);
		record("hot reset\n");
		return 0;
	case VFIO_IOMMU_UNMAP_DMA:
		return dma_unmap(fd, arg);
	case VFIO_DEVICE_BIND_IOMMUFD:
	case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
	case VFIO_DEVICE_DETACH_IOMMUFD_PT:
		return cdev_ioctl(special(fd, path, sizeof(path)), request, arg);
	case IOMMU_IOAS_MAP:
	case IOMMU_IOAS_MAP_FILE:
	case IOMMU_IOAS_COPY:
	case IOMMU_IOAS_UNMAP:
	case IOMMU_HWPT_GET_DIRTY_BITMAP:
		return iommufd_ioctl(special(fd, path, sizeof(path)), request, arg);
	case VFIO_DEVICE_FEATURE: /* and VFIO_IOMMU_DIRTY_PAGES */
		return 0;
	default:
		return NEXT(ioctl)(fd, request, arg);
	}
}
