// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host to test against, without KVM, VFIO or kvm-pviommu: preloaded beneath
 * the preload library, as the user's own LD_PRELOAD.
 *
 * Paths in /sys, /dev/pviommu and /dev/vfio are looked up under $FAKE_ROOT
 * instead. The ioctls that matter are answered here and written to $FAKE_LOG,
 * one a line. $FAKE_FAIL names one that fails, with which errno: "attach:16".
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT(name)	((typeof(name) *)dlsym(RTLD_NEXT, #name))

static const char *redirect(const char *path, char *buffer)
{
	const char *root = getenv("FAKE_ROOT");

	if (!root || (strncmp(path, "/sys/", 5) &&
		      strcmp(path, "/dev/pviommu") &&
		      strncmp(path, "/dev/vfio/", 10)))
		return path;

	snprintf(buffer, 4096, "%s%s", root, path);
	return buffer;
}

static void record(const char *format, ...)
{
	int fd = NEXT(open)(getenv("FAKE_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
	va_list args;

	va_start(args, format);
	vdprintf(fd, format, args);
	va_end(args);
	NEXT(close)(fd);
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

int close(int fd)
{
	char link[64], path[4096];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = NEXT(readlink)(link, path, sizeof(path) - 1);
	if (len > 0) {
		path[len] = '\0';
		if (!strncmp(path, "/memfd:", 7))
			record("closed %.*s\n", (int)strcspn(path + 7, " "), path + 7);
		else if (strstr(path, "/dev/pviommu"))
			record("closed pviommu\n");
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
	const struct pviommu_create_aperture *create = arg;
	const struct pviommu_attach *attach = arg;
	const struct pviommu_detach *detach = arg;
	struct pviommu_info *info = arg;

	switch (request) {
	case PVIOMMU_INFO:
		info->out_abi_version = PVIOMMU_ABI_VERSION;
		if (answer("version", 0))
			info->out_abi_version++;
		info->out_max_window = 1ULL << 30;
		return answer("info", 0);
	case PVIOMMU_BIND_VM:
		record("bind\n");
		return answer("bind", 0);
	case PVIOMMU_CREATE_APERTURE:
		record("create %llx %llx %llu\n", create->base, create->length,
		       create->budget);
		return answer("create", 0);
	case PVIOMMU_ATTACH:
		record("attach %x:%02x:%02x %x:%02x/%u/%02x%02x\n",
		       attach->host.segment, attach->host.bus,
		       attach->host.devfn, attach->guest.segment,
		       attach->guest.root_bus, attach->guest.depth,
		       attach->guest.path[0], attach->guest.path[1]);
		return answer("attach", 0);
	case PVIOMMU_DETACH:
		record("detach %x:%02x:%02x\n", detach->host.segment,
		       detach->host.bus, detach->host.devfn);
		return answer("detach", 0);
	case PVIOMMU_RESET:
		record("reset %x\n", ((struct pviommu_reset *)arg)->aperture_id);
		return answer("reset", 0);
	default:
		errno = ENOTTY;
		return -1;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
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
	case KVM_SET_REGS:
	case KVM_SET_SREGS:
	case KVM_SET_SREGS2:
		return 0;
	case VFIO_GROUP_GET_DEVICE_FD:
		return memfd_create("device", 0);
	case VFIO_DEVICE_PCI_HOT_RESET: /* and VFIO_IOMMU_MAP_DMA */
		record("hot reset\n");
		return 0;
	case VFIO_DEVICE_FEATURE: /* and VFIO_IOMMU_DIRTY_PAGES */
		return 0;
	default:
		return NEXT(ioctl)(fd, request, arg);
	}
}
