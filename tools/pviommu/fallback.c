// SPDX-License-Identifier: GPL-2.0-only
/*
 * --fallback=pin: plain VFIO until the guest's driver enables the aperture.
 *
 * Until then what the VMM maps into its containers, or into the IOASes of its
 * iommufds, is really mapped, and pinned, and devices are attached so that the host
 * leaves them where VFIO has them. A thread asks the host whether that is over,
 * since nothing tells this process of what the guest does. Then it empties them.
 * The devices are not behind them any more: what was pinned for them is of no use.
 *
 * That is final, for the process: what a VMM has mapped it does not map again.
 *
 * Mapping, unmapping and emptying exclude each other by vm.lock. So nothing is
 * mapped behind the back of whoever empties.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "iommufd_abi.h"
#include "preload.h"

/* The thread-local data of the VMM and its libraries come out of it, too. */
#define STACK_SIZE	(256 << 10)

/*
 * The address spaces in which something is mapped: an @ioas of an iommufd, or a
 * container, which has but one, 0. @fd -1: none. No process has more than devices,
 * but for those that it has duplicated or replaced. Set under vm.lock.
 */
static struct {
	int fd;
	__u32 ioas;
} spaces[4 * CONFIG_MAX_DEVICES] = {
	[0 ... 4 * CONFIG_MAX_DEVICES - 1] = { .fd = -1 },
};

/* By vm.lock: the thread is there; the guest's driver has come. */
static bool watching, confined;

static void empty_container(int fd)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = VFIO_DMA_UNMAP_FLAG_ALL,
	};

	real_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static void empty_ioas(int fd, __u32 ioas)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas,
		.length = UINT64_MAX,
	};

	real_ioctl(fd, IOMMU_IOAS_UNMAP, &unmap);
}

/*
 * The kernel refuses only a container that has no group any more, and an IOAS that
 * was destroyed: nothing is mapped there. The VMM goes on either way: its devices
 * are confined.
 */
static void empty_spaces(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
		/* The number may have come to mean another file, unseen. */
		if (spaces[i].fd < 0 || !dma_is_container(spaces[i].fd))
			continue;
		if (!spaces[i].ioas)
			empty_container(spaces[i].fd);
		else if (iommufd_is(spaces[i].fd))
			empty_ioas(spaces[i].fd, spaces[i].ioas);
	}
}

static void forget_spaces(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		fd_set_to(&spaces[i].fd, -1);
}

/* Whether there are devices, and none of them is left to VFIO. */
static bool all_confined(void)
{
	unsigned int devices = 0;

	for (unsigned int i = 0; i < config_apertures(&config); i++) {
		struct pviommu_aperture_stats stats = { 0 };
		struct pviommu_stats get = {
			.size = sizeof(get),
			.aperture_id = vm.apertures[i],
			.stats_len = sizeof(stats),
			.stats_uptr = (__u64)(uintptr_t)&stats,
		};

		if (real_ioctl(vm.pviommu_fd, PVIOMMU_STATS, &get) ||
		    stats.waiting)
			return false;
		devices += stats.devices;
	}
	return devices > 0;
}

/* Finds out whether the guest's driver has come. vm.lock is held. */
static void update(void)
{
	if (confined || vm.pviommu_fd < 0 || !all_confined())
		return;

	confined = true;
	empty_spaces();
	forget_spaces();
}

static void *watch(void *unused)
{
	static const struct timespec interval = { .tv_nsec = 500000000 };
	bool done;

	(void)unused;
	do {
		nanosleep(&interval, NULL);
		pthread_mutex_lock(&vm.lock);
		update();
		done = confined;
		pthread_mutex_unlock(&vm.lock);
	} while (!done);
	return NULL;
}

/**
 * fallback_start() - watch out for the guest's driver, if asked to
 *
 * Context: vm.lock held.
 */
void fallback_start(void)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	if (!config.fallback_pin || watching || confined)
		return;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);

	/* The VMM's signals are for the VMM's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, &attr, watch, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (ret)
		stop("watch", "the aperture", strerror(ret));

	pthread_setname_np(thread, "pviommu-confine");
	watching = true;
}

/**
 * fallback_attach_flags() - how a device is to be attached
 *
 * Context: vm.lock held.
 * Return: flags for PVIOMMU_ATTACH.
 */
__u32 fallback_attach_flags(void)
{
	if (!config.fallback_pin)
		return 0;

	update();
	return confined ? 0 : PVIOMMU_ATTACH_ON_ENABLE;
}

/**
 * fallback_is_pinning() - look whether devices are left to VFIO
 *
 * Context: vm.lock held.
 * Return: whether they may be.
 */
bool fallback_is_pinning(void)
{
	return fallback_attach_flags();
}

static void track(int fd, __u32 ioas)
{
	size_t slot = ARRAY_SIZE(spaces);

	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
		if (fd_is(&spaces[i].fd, fd) && spaces[i].ioas == ioas)
			return;
		if (slot == ARRAY_SIZE(spaces) && fd_is(&spaces[i].fd, -1))
			slot = i;
	}
	if (slot == ARRAY_SIZE(spaces))
		stop("follow", "what the VMM maps", "it is in too many places");

	vm.owner = getpid();
	spaces[slot].ioas = ioas;
	fd_set_to(&spaces[slot].fd, fd);
}

static bool make(int fd, const __u32 *ioas, unsigned long request, void *arg,
		 int *ret)
{
	bool pinning;

	if (!config.fallback_pin)
		return false;

	pthread_mutex_lock(&vm.lock);
	pinning = !confined;
	if (pinning) {
		if (ioas)
			track(fd, *ioas);
		*ret = real_ioctl(fd, request, arg);
	}
	pthread_mutex_unlock(&vm.lock);
	return pinning;
}

/**
 * fallback_map() - map in earnest, while devices are left to VFIO
 * @fd: a container, or an iommufd
 * @ioas: of an iommufd: where to; else 0
 * @request: the ioctl
 * @arg: as for the ioctl
 * @ret: the ioctl's result, if it was made
 *
 * Return: whether it was made. If not, it shall be answered without.
 */
bool fallback_map(int fd, __u32 ioas, unsigned long request, void *arg, int *ret)
{
	return make(fd, &ioas, request, arg, ret);
}

/**
 * fallback_ioctl() - do in earnest what maps nothing, while devices are left to VFIO
 * @fd: a container, or an iommufd
 * @request: the ioctl
 * @arg: as for the ioctl
 * @ret: the ioctl's result, if it was made
 *
 * Return: whether it was made. If not, it shall be answered without.
 */
bool fallback_ioctl(int fd, unsigned long request, void *arg, int *ret)
{
	return make(fd, NULL, request, arg, ret);
}

/**
 * fallback_is_mapped() - look up a file
 * @fd: the file
 *
 * Return: whether it is a container or an iommufd that will be emptied.
 */
bool fallback_is_mapped(int fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
		if (fd_is(&spaces[i].fd, fd))
			return true;
	}
	return false;
}

/**
 * fallback_before_close() - forget a container or an iommufd
 * @fd: the file
 *
 * Context: vm.lock held.
 */
void fallback_before_close(int fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
		if (fd_is(&spaces[i].fd, fd))
			fd_set_to(&spaces[i].fd, -1);
	}
}

/**
 * fallback_forget() - know of nothing that is mapped and no thread any more
 *
 * For a forked child: files and mappings are its parent's.
 *
 * Context: vm.lock held.
 */
void fallback_forget(void)
{
	forget_spaces();
	watching = false;
}
