/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the preload library share. */
#ifndef PVIOMMU_PRELOAD_H
#define PVIOMMU_PRELOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdnoreturn.h>

#include "config.h"

#define likely(x)	__builtin_expect(!!(x), 1)

#define API		__attribute__((visibility("default")))

/* The next ioctl() and close(), in general the C library's. */
extern int (*real_ioctl)(int fd, unsigned long request, void *arg);
extern int (*real_close)(int fd);

/**
 * struct vm - the one VM of this process
 * @lock: guards all below, but that the file descriptors may be compared
 *	without it, by fd_is()
 * @owner: the process; a vfork()ed child shares our memory, but not our files
 * @fd: from KVM_CREATE_VM; -1 when there is no VM
 * @boot_vcpu_fd: from KVM_CREATE_VCPU of vCPU 0, or -1
 * @pviommu_fd: our /dev/pviommu, or -1
 * @started: the boot vCPU was given registers, after the devices that the VM starts
 *	with were opened
 * @apertures: the id of each aperture, by its number in config
 */
struct vm {
	pthread_mutex_t lock;
	pid_t owner;
	int fd;
	int boot_vcpu_fd;
	int pviommu_fd;
	bool started;
	__u32 apertures[CONFIG_MAX_DEVICES];
};

extern struct vm vm;

static inline bool fd_is(const int *tracked, int fd)
{
	return __atomic_load_n(tracked, __ATOMIC_RELAXED) == fd;
}

static inline void fd_set_to(int *tracked, int fd)
{
	__atomic_store_n(tracked, fd, __ATOMIC_RELAXED);
}

/*
 * Handlers of ioctls: answer in the kernel's place or call real_ioctl().
 */
int vm_create(int fd, void *arg);
int vm_create_vcpu(int fd, void *arg);
int device_open(int fd, void *arg);
int device_bind(int fd, void *arg);
int device_attach_pt(int fd, void *arg);
int device_detach_pt(int fd, void *arg);
int dma_map(int fd, void *arg);
int dma_unmap(int fd, void *arg);
int dma_dirty_pages(int fd, void *arg);
int iommufd_map(int fd, void *arg);
int iommufd_map_file(int fd, void *arg);
int iommufd_copy(int fd, void *arg);
int iommufd_unmap(int fd, void *arg);
int iommufd_get_dirty(int fd, void *arg);
int reset_set_regs(int fd, void *arg);
int reset_set_sregs(int fd, void *arg);
int reset_set_sregs2(int fd, void *arg);

void vm_before_close(int fd);

/* With vm.lock held. */
void vm_forget(void);
void device_attach_all(void);
void device_before_close(int fd);
void device_forget_all(void);
void reset_forget(void);
void fallback_start(void);
__u32 fallback_attach_flags(void);
bool fallback_is_pinning(void);
void fallback_before_close(int fd);
void fallback_forget(void);

/* Without. */
bool device_is(int fd);
bool dma_is_container(int fd);
void dma_set_dirty(__u64 *bitmap, __u64 pages);
bool iommufd_is(int fd);
bool fallback_is_mapped(int fd);
bool fallback_map(int fd, __u32 ioas, unsigned long request, void *arg, int *ret);
bool fallback_ioctl(int fd, unsigned long request, void *arg, int *ret);

/* What the launcher said, and why it is not usable, or NULL. */
extern struct config config;
extern const char *config_error;
void guard_dismiss(void);

/**
 * struct reason - what an errno means here
 * @error: the errno
 * @text: the meaning
 */
struct reason {
	int error;
	const char *text;
};

const char *reason(const struct reason *table, size_t len, int error);
void refuse(const char *name, const char *why);
noreturn void stop(const char *what, const char *name, const char *why);

#endif /* PVIOMMU_PRELOAD_H */
