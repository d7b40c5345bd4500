// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of /dev/pviommu: every argument, good and bad, and its errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"

/*
 * What all ioctls have in common.
 */
FIXTURE(common) {
	struct ctx ctx;
};

FIXTURE_VARIANT(common) {
	unsigned int cmd;
	__u32 size;
	int unbound_errno;	/* 0: works before a VM is bound */
};

FIXTURE_VARIANT_ADD(common, info) {
	.cmd = PVIOMMU_INFO,
	.size = sizeof(struct pviommu_info),
};

FIXTURE_VARIANT_ADD(common, bind_vm) {
	.cmd = PVIOMMU_BIND_VM,
	.size = sizeof(struct pviommu_bind_vm),
	.unbound_errno = EINVAL,	/* fd 0 is not a VM */
};

FIXTURE_VARIANT_ADD(common, create_aperture) {
	.cmd = PVIOMMU_CREATE_APERTURE,
	.size = sizeof(struct pviommu_create_aperture),
	.unbound_errno = ENXIO,
};

FIXTURE_VARIANT_ADD(common, attach) {
	.cmd = PVIOMMU_ATTACH,
	.size = sizeof(struct pviommu_attach),
	.unbound_errno = ENXIO,
};

FIXTURE_VARIANT_ADD(common, detach) {
	.cmd = PVIOMMU_DETACH,
	.size = sizeof(struct pviommu_detach),
	.unbound_errno = ENXIO,
};

FIXTURE_VARIANT_ADD(common, reset) {
	.cmd = PVIOMMU_RESET,
	.size = sizeof(struct pviommu_reset),
	.unbound_errno = ENXIO,
};

FIXTURE_VARIANT_ADD(common, stats) {
	.cmd = PVIOMMU_STATS,
	.size = sizeof(struct pviommu_stats),
	.unbound_errno = ENXIO,
};

FIXTURE_VARIANT_ADD(common, reclaim) {
	.cmd = PVIOMMU_RECLAIM,
	.size = sizeof(struct pviommu_reclaim),
	.unbound_errno = ENXIO,
};

FIXTURE_VARIANT_ADD(common, mark_dirty) {
	.cmd = PVIOMMU_MARK_DIRTY,
	.size = sizeof(struct pviommu_mark_dirty),
	.unbound_errno = ENXIO,
};

FIXTURE_SETUP(common)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, false));
}

FIXTURE_TEARDOWN(common)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(common, size_too_small)
{
	__u32 buf[64] = { variant->size - 1 };

	EXPECT_ERRNO(EINVAL, ioctl(self->ctx.fd, variant->cmd, buf));
	buf[0] = 0;
	EXPECT_ERRNO(EINVAL, ioctl(self->ctx.fd, variant->cmd, buf));
}

TEST_F(common, size_larger_and_zero_behind)
{
	__u32 buf[64] = { variant->size + 16 };

	errno = 0;
	ioctl(self->ctx.fd, variant->cmd, buf);
	EXPECT_EQ(variant->unbound_errno, errno);
}

TEST_F(common, size_larger_and_not_zero_behind)
{
	__u32 buf[64] = { variant->size + 16 };

	buf[variant->size / sizeof(*buf)] = 1;
	EXPECT_ERRNO(E2BIG, ioctl(self->ctx.fd, variant->cmd, buf));
}

TEST_F(common, size_beyond_a_page)
{
	__u32 buf[64] = { 0xffffffff };

	EXPECT_ERRNO(E2BIG, ioctl(self->ctx.fd, variant->cmd, buf));
}

TEST_F(common, bad_pointer)
{
	EXPECT_ERRNO(EFAULT, ioctl(self->ctx.fd, variant->cmd, NULL));
}

TEST_F(common, unknown_flag)
{
	__u32 buf[64] = { variant->size, 0x80000000 };

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(self->ctx.fd, variant->cmd, buf));
}

TEST_F(common, forked_child)
{
	__u32 buf[64] = { variant->size };
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(ioctl(self->ctx.fd, variant->cmd, buf) != -1 ||
		      errno != EPERM);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/*
 * Each of them, without a device.
 */
FIXTURE(plain) {
	struct ctx ctx;
};

FIXTURE_SETUP(plain)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, false));
}

FIXTURE_TEARDOWN(plain)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(plain, unknown_ioctl)
{
	__u32 buf[64] = { sizeof(buf) };

	EXPECT_ERRNO(ENOTTY, ioctl(self->ctx.fd, _IO(PVIOMMU_TYPE, 200), buf));
	EXPECT_ERRNO(ENOTTY, ioctl(self->ctx.fd, _IO(PVIOMMU_TYPE + 1, 0), buf));
	EXPECT_ERRNO(ENOTTY, ioctl(self->ctx.fd, _IOW(PVIOMMU_TYPE, 0, int), buf));
}

TEST_F(plain, info)
{
	struct pviommu_info info = { .size = sizeof(info) };

	ASSERT_EQ(0, ioctl(self->ctx.fd, PVIOMMU_INFO, &info));
	EXPECT_EQ(PVIOMMU_ABI_VERSION, info.out_abi_version);
	EXPECT_LT(0, info.out_max_apertures);
	EXPECT_LE(1UL << 30, info.out_max_window);
}

TEST_F(plain, bind)
{
	EXPECT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
}

TEST_F(plain, bind_bad_fd)
{
	EXPECT_ERRNO(EBADF, __bind(self->ctx.fd, -1));
	EXPECT_ERRNO(EBADF, __bind(self->ctx.fd, 1000));
	EXPECT_ERRNO(EINVAL, __bind(self->ctx.fd, self->ctx.vm.kvm_fd));
	EXPECT_ERRNO(EINVAL, __bind(self->ctx.fd, self->ctx.vm.vcpu.fd));
	EXPECT_ERRNO(EINVAL, __bind(self->ctx.fd, self->ctx.fd));
}

TEST_F(plain, bind_reserved)
{
	struct pviommu_bind_vm cmd = {
		.size = sizeof(cmd), .vm_fd = self->ctx.vm.vm_fd,
		.__reserved = 1,
	};

	EXPECT_ERRNO(EOPNOTSUPP, ioctl(self->ctx.fd, PVIOMMU_BIND_VM, &cmd));
}

TEST_F(plain, bind_twice)
{
	struct vm second;
	int fd;

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	EXPECT_ERRNO(EBUSY, __bind(self->ctx.fd, self->ctx.vm.vm_fd));

	/* The file has a VM; another VM does not change that. */
	ASSERT_EQ(0, vm_create(&second));
	EXPECT_ERRNO(EBUSY, __bind(self->ctx.fd, second.vm_fd));

	/* The VM has a file; another file does not change that. */
	fd = open("/dev/pviommu", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_ERRNO(EBUSY, __bind(fd, self->ctx.vm.vm_fd));
	EXPECT_EQ(0, __bind(fd, second.vm_fd));
	close(fd);
	vm_destroy(&second);
}

TEST_F(plain, bind_again_after_close)
{
	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	close(self->ctx.fd);
	self->ctx.fd = open("/dev/pviommu", O_RDWR);
	ASSERT_LE(0, self->ctx.fd);
	EXPECT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
}

TEST_F(plain, bind_vm_of_another_process)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = open("/dev/pviommu", O_RDWR);

		_exit(fd < 0 || __bind(fd, self->ctx.vm.vm_fd) != -1 ||
		      errno != EPERM);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(plain, bind_vm_with_dirty_ring)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_DIRTY_LOG_RING,
		.args = { 65536 },
	};
	int vm_fd = ioctl(self->ctx.vm.kvm_fd, KVM_CREATE_VM, 0);

	ASSERT_LE(0, vm_fd);
	ASSERT_EQ(0, ioctl(vm_fd, KVM_ENABLE_CAP, &cap));
	EXPECT_ERRNO(EOPNOTSUPP, __bind(self->ctx.fd, vm_fd));
	close(vm_fd);
}

TEST_F(plain, create_aperture)
{
	__u32 id = 77;

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	EXPECT_EQ(0, __create_aperture(self->ctx.fd, 4096, 4096, 0, &id));
	EXPECT_EQ(0, id);
	EXPECT_EQ(0, __create_aperture(self->ctx.fd, 1UL << 32, 1UL << 30, 1,
				       &id));
	EXPECT_EQ(1, id);
}

TEST_F(plain, create_aperture_bad)
{
	struct pviommu_info info = { .size = sizeof(info) };
	int fd = self->ctx.fd;

	ASSERT_EQ(0, ioctl(fd, PVIOMMU_INFO, &info));
	ASSERT_EQ(0, __bind(fd, self->ctx.vm.vm_fd));
	EXPECT_ERRNO(EINVAL, __create_aperture(fd, 0, 4096, 0, NULL));
	EXPECT_ERRNO(EINVAL, __create_aperture(fd, 4096, 0, 0, NULL));
	EXPECT_ERRNO(EINVAL, __create_aperture(fd, 4097, 4096, 0, NULL));
	EXPECT_ERRNO(EINVAL, __create_aperture(fd, 4096, 4095, 0, NULL));
	EXPECT_ERRNO(EOVERFLOW, __create_aperture(fd, -4096UL, 8192, 0, NULL));
	EXPECT_ERRNO(EOVERFLOW, __create_aperture(fd, 4096, info.out_max_window +
						  4096, 0, NULL));
	EXPECT_ERRNO(ERANGE, __create_aperture(fd, 4096, 4096, 2, NULL));
	EXPECT_ERRNO(ERANGE, __create_aperture(fd, 4096, 4096, -1UL, NULL));
}

TEST_F(plain, create_aperture_reserved)
{
	struct pviommu_create_aperture cmd = {
		.size = sizeof(cmd), .base = 4096, .length = 4096,
		.__reserved = 1,
	};

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	EXPECT_ERRNO(EOPNOTSUPP,
		     ioctl(self->ctx.fd, PVIOMMU_CREATE_APERTURE, &cmd));
}

TEST_F(plain, create_apertures_to_the_limit)
{
	struct pviommu_info info = { .size = sizeof(info) };
	__u32 id, i;

	ASSERT_EQ(0, ioctl(self->ctx.fd, PVIOMMU_INFO, &info));
	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	for (i = 0; i < info.out_max_apertures; i++) {
		ASSERT_EQ(0, __create_aperture(self->ctx.fd, 4096, 4096, 0, &id));
		ASSERT_EQ(i, id);
	}
	EXPECT_ERRNO(ENOSPC, __create_aperture(self->ctx.fd, 4096, 4096, 0, &id));
}

TEST_F(plain, reset_and_stats_need_an_aperture)
{
	struct pviommu_aperture_stats stats;

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	EXPECT_ERRNO(ENOENT, __reset(self->ctx.fd, 0));
	EXPECT_ERRNO(ENOENT, __stats(self->ctx.fd, 0, &stats));
	EXPECT_EQ(0, __reset(self->ctx.fd, PVIOMMU_APERTURE_ALL));
}

TEST_F(plain, mark_dirty)
{
	struct pviommu_mark_dirty cmd = {
		.size = sizeof(cmd), .out_pages = 77,
	};
	int fd = self->ctx.fd;

	ASSERT_EQ(0, __bind(fd, self->ctx.vm.vm_fd));
	EXPECT_ERRNO(ENOENT, ioctl(fd, PVIOMMU_MARK_DIRTY, &cmd));
	cmd.aperture_id = PVIOMMU_APERTURE_ALL;
	EXPECT_EQ(0, ioctl(fd, PVIOMMU_MARK_DIRTY, &cmd));
	EXPECT_EQ(0, cmd.out_pages);
	cmd.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(fd, PVIOMMU_MARK_DIRTY, &cmd));
}

TEST_F(plain, reset)
{
	struct pviommu_aperture_stats stats;

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(self->ctx.fd, 4096, 4096, 0, NULL));
	EXPECT_EQ(0, __reset(self->ctx.fd, 0));
	EXPECT_EQ(0, __reset(self->ctx.fd, PVIOMMU_APERTURE_ALL));
	ASSERT_EQ(0, __stats(self->ctx.fd, 0, &stats));
	EXPECT_EQ(2, stats.resets);
}

TEST_F(plain, stats_length)
{
	struct pviommu_aperture_stats stats;
	struct pviommu_stats cmd = {
		.size = sizeof(cmd), .stats_uptr = (__u64)&stats,
	};

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(self->ctx.fd, 4096, 8192, 1, NULL));

	/* Nothing is written, the length is told. */
	memset(&stats, 0xaa, sizeof(stats));
	ASSERT_EQ(0, ioctl(self->ctx.fd, PVIOMMU_STATS, &cmd));
	EXPECT_EQ(sizeof(stats), cmd.stats_len);
	EXPECT_EQ(0xaaaaaaaaaaaaaaaa, stats.pinned);

	/* As much as there is room for. */
	cmd.stats_len = sizeof(stats.pinned);
	ASSERT_EQ(0, ioctl(self->ctx.fd, PVIOMMU_STATS, &cmd));
	EXPECT_EQ(0, stats.pinned);
	EXPECT_EQ(0xaaaaaaaaaaaaaaaa, stats.pinned_peak);

	cmd.stats_len = sizeof(stats);
	ASSERT_EQ(0, ioctl(self->ctx.fd, PVIOMMU_STATS, &cmd));
	EXPECT_EQ(0, stats.pinned_peak);
	EXPECT_EQ(1, stats.budget);
	EXPECT_EQ(0, stats.enabled);

	cmd.stats_uptr = 0;
	EXPECT_ERRNO(EFAULT, ioctl(self->ctx.fd, PVIOMMU_STATS, &cmd));
}

TEST_HARNESS_MAIN
