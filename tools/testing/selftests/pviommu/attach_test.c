// SPDX-License-Identifier: GPL-2.0-only
/*
 * ATTACH and DETACH, with a device.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "module.h"

FIXTURE(attach) {
	struct ctx ctx;
};

static void open_it(struct __test_metadata *_metadata, struct ctx *ctx)
{
	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0, NULL));
}

FIXTURE_SETUP(attach)
{
	open_it(_metadata, &self->ctx);
}

FIXTURE_TEARDOWN(attach)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

/* Whichever way the VMM has the device. */
FIXTURE(attach_by) {
	struct ctx ctx;
};

FIXTURE_VARIANT(attach_by) {
	enum vfio_way way;
};

FIXTURE_VARIANT_ADD(attach_by, group) { .way = VFIO_BY_GROUP };
FIXTURE_VARIANT_ADD(attach_by, cdev) { .way = VFIO_BY_CDEV };

FIXTURE_SETUP(attach_by)
{
	if (!vfio_use(variant->way))
		SKIP(return, "this kernel has no iommufd");
	open_it(_metadata, &self->ctx);
}

FIXTURE_TEARDOWN(attach_by)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

static int attach_edu(struct ctx *ctx, __u32 aperture)
{
	return __attach(ctx->fd, aperture, ctx->edu.device_fd, ctx->edu_host,
			GUEST_DEVFN);
}

TEST_F(attach_by, attach_detach_attach)
{
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(0, attach_edu(ctx, 0));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(1, stats.devices);
	EXPECT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(0, stats.devices);
	EXPECT_EQ(0, attach_edu(ctx, 0));
}

TEST_F(attach, no_aperture)
{
	EXPECT_ERRNO(ENOENT, attach_edu(&self->ctx, 1));
	EXPECT_ERRNO(ENOENT, __detach(self->ctx.fd, 1, self->ctx.edu_host));
}

TEST_F(attach, not_attached)
{
	EXPECT_ERRNO(ENOENT, __detach(self->ctx.fd, 0, self->ctx.edu_host));
}

TEST_F(attach_by, bad_fd)
{
	struct ctx *ctx = &self->ctx;
	int fds[] = { ctx->fd, ctx->vm.vm_fd, ctx->edu.container_fd,
		      ctx->edu.group_fd };
	unsigned int i, nr = ctx->edu.group_fd < 0 ? 3 : 4;

	EXPECT_ERRNO(EBADF, __attach(ctx->fd, 0, -1, ctx->edu_host, GUEST_DEVFN));
	for (i = 0; i < nr; i++)
		EXPECT_ERRNO(EINVAL, __attach(ctx->fd, 0, fds[i], ctx->edu_host,
					      GUEST_DEVFN));
}

TEST_F(attach, no_such_device)
{
	struct pviommu_host_device host = self->ctx.edu_host;

	host.segment = 0x1234;
	EXPECT_ERRNO(ENODEV, __attach(self->ctx.fd, 0, self->ctx.edu.device_fd,
				      host, GUEST_DEVFN));
}

TEST_F(attach, device_without_vfio_driver)
{
	struct pviommu_host_device host_bridge = {};

	EXPECT_ERRNO(ENODEV, __attach(self->ctx.fd, 0, self->ctx.edu.device_fd,
				      host_bridge, GUEST_DEVFN));
}

TEST_F(attach_by, file_of_another_device)
{
	EXPECT_ERRNO(EPERM, __attach(self->ctx.fd, 0, self->ctx.edu.device_fd,
				     host_device(other_bdf()), GUEST_DEVFN));
}

TEST_F(attach, bad_endpoint)
{
	struct pviommu_attach cmd = {
		.size = sizeof(cmd),
		.vfio_fd = self->ctx.edu.device_fd,
		.host = self->ctx.edu_host,
	};
	int fd = self->ctx.fd;

	EXPECT_ERRNO(EINVAL, ioctl(fd, PVIOMMU_ATTACH, &cmd));
	cmd.guest.depth = 9;
	EXPECT_ERRNO(EINVAL, ioctl(fd, PVIOMMU_ATTACH, &cmd));
	cmd.guest.depth = 1;
	cmd.guest.path[1] = 1;
	EXPECT_ERRNO(EINVAL, ioctl(fd, PVIOMMU_ATTACH, &cmd));
	cmd.guest.path[1] = 0;
	cmd.guest.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(fd, PVIOMMU_ATTACH, &cmd));
	cmd.guest.__reserved = 0;
	cmd.host.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(fd, PVIOMMU_ATTACH, &cmd));
	cmd.host.__reserved = 0;
	EXPECT_EQ(0, ioctl(fd, PVIOMMU_ATTACH, &cmd));
}

TEST_F(attach_by, twice)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, attach_edu(ctx, 0));
	EXPECT_ERRNO(EEXIST, attach_edu(ctx, 0));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE, 4096, 0, NULL));
	EXPECT_ERRNO(EEXIST, attach_edu(ctx, 1));
}

TEST_F(attach_by, second_file)
{
	struct ctx *ctx = &self->ctx;
	struct vm vm;
	int fd;

	ASSERT_EQ(0, attach_edu(ctx, 0));

	ASSERT_EQ(0, vm_create(&vm));
	fd = open("/dev/pviommu", O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, __bind(fd, vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(fd, WINDOW_BASE, 4096, 0, NULL));
	EXPECT_ERRNO(EEXIST, __attach(fd, 0, ctx->edu.device_fd, ctx->edu_host,
				      GUEST_DEVFN));
	EXPECT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(0, __attach(fd, 0, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	close(fd);
	vm_destroy(&vm);
}

TEST_F(attach, endpoint_taken)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev other;

	ASSERT_EQ(0, attach_edu(ctx, 0));
	ASSERT_EQ(0, vfio_dev_open(&other, other_bdf()));
	EXPECT_ERRNO(EEXIST, __attach(ctx->fd, 0, other.device_fd,
				      host_device(other_bdf()), GUEST_DEVFN));
	vfio_dev_close(&other);
}

TEST_F(attach_by, two_devices_in_one_aperture)
{
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;
	struct vfio_dev other;

	ASSERT_EQ(0, attach_edu(ctx, 0));
	ASSERT_EQ(0, vfio_dev_open(&other, other_bdf()));
	EXPECT_EQ(0, __attach(ctx->fd, 0, other.device_fd,
			      host_device(other_bdf()), GUEST_DEVFN + 8));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(2, stats.devices);
	EXPECT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(1, stats.devices);
	vfio_dev_close(&other);
}

TEST_F(attach, window_beyond_the_iommu)
{
	struct ctx *ctx = &self->ctx;
	int kmsg = kmsg_begin();
	__u32 id;

	ASSERT_EQ(0, __create_aperture(ctx->fd, 1UL << 62, 1UL << 30, 0, &id));
	if (!access("/sys/class/iommu/ivhd0", F_OK)) {
		/* AMD's page table takes all 64 bits. */
		EXPECT_EQ(0, attach_edu(ctx, id));
		ASSERT_EQ(0, __detach(ctx->fd, id, ctx->edu_host));
		EXPECT_FALSE(kmsg_has(kmsg, "pviommu: not attached"));
	} else {
		EXPECT_ERRNO(EADDRNOTAVAIL, attach_edu(ctx, id));
		EXPECT_TRUE(kmsg_has(kmsg, "pviommu: not attached"));
	}
	/* Nothing is left of the attempt. */
	EXPECT_EQ(0, attach_edu(ctx, 0));
}

/* All of it is for interrupts. */
TEST_F(attach, window_that_is_reserved)
{
	struct ctx *ctx = &self->ctx;
	int kmsg = kmsg_begin();
	__u32 id;

	ASSERT_EQ(0, __create_aperture(ctx->fd, 0xfee00000, 1UL << 20, 0, &id));
	EXPECT_ERRNO(ENOSPC, attach_edu(ctx, id));
	EXPECT_TRUE(kmsg_has(kmsg, "pviommu: not attached"));
	EXPECT_EQ(0, attach_edu(ctx, 0));
}

/* Can the IOMMU make the device's DMA coherent? AMD's always; VT-d has a bit for it. */
static bool can_snoop(void)
{
	FILE *file = fopen("/sys/class/iommu/dmar0/intel-iommu/ecap", "r");
	unsigned long ecap = 0x80;

	if (file) {
		if (fscanf(file, "%lx", &ecap) != 1)
			ecap = 0;
		fclose(file);
	}
	return ecap & 0x80;
}

TEST_F(attach, coherency)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(0, stats_now(ctx).noncoherent);
	ASSERT_EQ(0, attach_edu(ctx, 0));
	EXPECT_EQ(!can_snoop(), stats_now(ctx).noncoherent);
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(0, stats_now(ctx).noncoherent);
}

/*
 * PVIOMMU_ATTACH_ON_ENABLE: the device is VFIO's until the guest takes charge.
 */
FIXTURE(on_enable) {
	struct ctx ctx;
};

static int attach_waiting(struct ctx *ctx)
{
	struct pviommu_attach cmd = {
		.size = sizeof(cmd),
		.flags = PVIOMMU_ATTACH_ON_ENABLE,
		.vfio_fd = ctx->edu.device_fd,
		.host = ctx->edu_host,
		.guest = { .depth = 1, .path = { GUEST_DEVFN } },
	};

	return ioctl(ctx->fd, PVIOMMU_ATTACH, &cmd);
}

FIXTURE_VARIANT(on_enable) {
	enum vfio_way way;
};

FIXTURE_VARIANT_ADD(on_enable, group) { .way = VFIO_BY_GROUP };
FIXTURE_VARIANT_ADD(on_enable, cdev) { .way = VFIO_BY_CDEV };

FIXTURE_SETUP(on_enable)
{
	struct ctx *ctx = &self->ctx;

	if (!vfio_use(variant->way))
		SKIP(return, "this kernel has no iommufd");
	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0, NULL));
	/* As a VMM would: all of guest RAM, at guest physical addresses. */
	ASSERT_EQ(0, vfio_dev_map(&ctx->edu, ctx->vm.mem, 0, VM_MEM_SIZE));
	ASSERT_EQ(0, attach_waiting(ctx));
	table_init(ctx);
	table_fill(ctx, 0, 1);
}

FIXTURE_TEARDOWN(on_enable)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

#define RAM_IOVA	GPA_DATA

/* The device does DMA to all of RAM. */
static void check_waiting(struct __test_metadata *_metadata, struct ctx *ctx)
{
	EXPECT_EQ(1, stats_now(ctx).devices);
	EXPECT_EQ(1, stats_now(ctx).waiting);
	EXPECT_EQ(0, stats_now(ctx).enabled);
	EXPECT_TRUE(device_writes(ctx, RAM_IOVA, guest_page(ctx, 0)));
}

/* It does not any more. */
static void check_confined(struct __test_metadata *_metadata, struct ctx *ctx)
{
	EXPECT_EQ(1, stats_now(ctx).devices);
	EXPECT_EQ(0, stats_now(ctx).waiting);
	EXPECT_FALSE(device_writes(ctx, RAM_IOVA, guest_page(ctx, 0)));
}

TEST_F(on_enable, enable)
{
	struct ctx *ctx = &self->ctx;

	check_waiting(_metadata, ctx);
	/* The guest finds the device none the less. */
	EXPECT_EQ(0, hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
	EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED, hc_sync(ctx, 0, 1));

	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	check_confined(_metadata, ctx);
	EXPECT_FALSE(device_writes(ctx, page_iova(0), guest_page(ctx, 0)));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), guest_page(ctx, 0)));
	check_confined(_metadata, ctx);
}

/* What it writes is VFIO's to know. */
TEST_F(on_enable, mark_dirty)
{
	struct pviommu_mark_dirty cmd = {
		.size = sizeof(cmd), .aperture_id = PVIOMMU_APERTURE_ALL,
	};
	struct ctx *ctx = &self->ctx;

	EXPECT_ERRNO(EBUSY, ioctl(ctx->fd, PVIOMMU_MARK_DIRTY, &cmd));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	EXPECT_EQ(0, ioctl(ctx->fd, PVIOMMU_MARK_DIRTY, &cmd));
}

TEST_F(on_enable, disable)
{
	struct ctx *ctx = &self->ctx;

	check_waiting(_metadata, ctx);
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	check_confined(_metadata, ctx);
}

/* For good: the next guest, without a driver perhaps, finds it blocked. */
TEST_F(on_enable, reset_afterwards)
{
	struct ctx *ctx = &self->ctx;

	check_waiting(_metadata, ctx);
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	check_confined(_metadata, ctx);
	EXPECT_FALSE(device_writes(ctx, page_iova(0), guest_page(ctx, 0)));

	/* Attaching it anew does not give it back. */
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, attach_waiting(ctx));
	check_confined(_metadata, ctx);
}

TEST_F(on_enable, reset_before)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, __reset(ctx->fd, PVIOMMU_APERTURE_ALL));
	check_waiting(_metadata, ctx);
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	check_confined(_metadata, ctx);
}

TEST_F(on_enable, refused_enable)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE,
		  hc(ctx, PVIOMMU_OP_ENABLE, VM_MEM_SIZE, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 2, 0));
	check_waiting(_metadata, ctx);
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	check_confined(_metadata, ctx);
}

/* One that waits and one that does not: each in its own group. */
TEST_F(on_enable, two_devices)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev other;

	ASSERT_EQ(0, vfio_dev_open(&other, other_bdf()));
	ASSERT_EQ(0, __attach(ctx->fd, 0, other.device_fd,
			      host_device(other_bdf()), GUEST_DEVFN + 8));
	EXPECT_EQ(2, stats_now(ctx).devices);
	EXPECT_EQ(1, stats_now(ctx).waiting);
	EXPECT_TRUE(device_writes(ctx, RAM_IOVA, guest_page(ctx, 0)));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	EXPECT_EQ(0, stats_now(ctx).waiting);
	EXPECT_FALSE(device_writes(ctx, RAM_IOVA, guest_page(ctx, 0)));
	vfio_dev_close(&other);
}

TEST_F(on_enable, detach)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(0, stats_now(ctx).waiting);
	EXPECT_EQ(0, stats_now(ctx).devices);
	/* The guest has not taken charge: it can wait again. */
	ASSERT_EQ(0, attach_waiting(ctx));
	EXPECT_EQ(1, stats_now(ctx).waiting);
}

TEST_F(on_enable, close)
{
	close(self->ctx.fd);
	self->ctx.fd = -1;
}

TEST_HARNESS_MAIN
