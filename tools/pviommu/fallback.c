// SPDX-License-Identifier: GPL-2.0-only
/*
 * --fallback=pin: plain VFIO until the guest's driver enables the aperture.
 *
 * Until then what the VMM maps into its containers is really mapped, and pinned,
 * and devices are attached so that the host leaves them where VFIO has them. A
 * thread asks the host whether that is over, since nothing tells this process of
 * what the guest does. Then it empties the containers. The devices are not
 * behind them any more: what was pinned for them is of no use.
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

#include "preload.h"

/* The thread-local data of the VMM and its libraries come out of it, too. */
#define STACK_SIZE	(256 << 10)

/*
 * The containers in which something is mapped; -1: none. No process has more
 * than devices, but for those that it has duplicated. Set under vm.lock.
 */
static int containers[2 * CONFIG_MAX_DEVICES] = {
	[0 ... 2 * CONFIG_MAX_DEVICES - 1] = -1,
};

/* By vm.lock: the thread is there; the guest's driver has come. */
static bool watching, confined;

/*
 * VFIO refuses only a container that has no group any more, in which nothing is
 * mapped. The VMM goes on either way: its devices are confined.
 */
static void empty_containers(void)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = VFIO_DMA_UNMAP_FLAG_ALL,
	};

	for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
		/* The number may have come to mean another file, unseen. */
		if (containers[i] < 0 || !dma_is_container(containers[i]))
			continue;
		/* VFIO answers in it how much there was. */
		unmap.size = 0;
		real_ioctl(containers[i], VFIO_IOMMU_UNMAP_DMA, &unmap);
	}
}

/* Finds out whether the guest's driver has come. vm.lock is held. */
static void update(void)
{
	struct pviommu_aperture_stats stats = { 0 };
	struct pviommu_stats get = {
		.size = sizeof(get),
		.aperture_id = vm.aperture_id,
		.stats_len = sizeof(stats),
		.stats_uptr = (__u64)(uintptr_t)&stats,
	};

	if (confined || vm.pviommu_fd < 0 ||
	    real_ioctl(vm.pviommu_fd, PVIOMMU_STATS, &get) ||
	    !stats.devices || stats.waiting)
		return;

	confined = true;
	empty_containers();
	for (size_t i = 0; i < ARRAY_SIZE(containers); i++)
		fd_set_to(&containers[i], -1);
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

static void track(int fd)
{
	int *slot = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
		if (fd_is(&containers[i], fd))
			return;
		if (!slot && fd_is(&containers[i], -1))
			slot = &containers[i];
	}
	if (!slot)
		stop("follow", "a VFIO container", "there are too many");

	vm.owner = getpid();
	fd_set_to(slot, fd);
}

/**
 * fallback_ioctl() - map or unmap in earnest, while devices are left to VFIO
 * @fd: a container
 * @request: VFIO_IOMMU_MAP_DMA or VFIO_IOMMU_UNMAP_DMA
 * @arg: as for the ioctl
 * @ret: the ioctl's result, if it was made
 *
 * Return: whether it was made. If not, it shall be answered without.
 */
bool fallback_ioctl(int fd, unsigned long request, void *arg, int *ret)
{
	bool pinning;

	if (!config.fallback_pin)
		return false;

	pthread_mutex_lock(&vm.lock);
	pinning = !confined;
	if (pinning) {
		track(fd);
		*ret = real_ioctl(fd, request, arg);
	}
	pthread_mutex_unlock(&vm.lock);
	return pinning;
}

/**
 * fallback_is_container() - look up a file
 * @fd: the file
 *
 * Return: whether it is a container that will be emptied.
 */
bool fallback_is_container(int fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
		if (fd_is(&containers[i], fd))
			return true;
	}
	return false;
}

/**
 * fallback_before_close() - forget a container
 * @fd: the file
 *
 * Context: vm.lock held.
 */
void fallback_before_close(int fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
		if (fd_is(&containers[i], fd))
			fd_set_to(&containers[i], -1);
	}
}

/**
 * fallback_forget() - know of no container and no thread any more
 *
 * For a forked child: containers and mappings are its parent's.
 *
 * Context: vm.lock held.
 */
void fallback_forget(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(containers); i++)
		fd_set_to(&containers[i], -1);
	watching = false;
}
