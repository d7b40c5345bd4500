// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that the VMM has bound to an iommufd, and may move to a page table of its
 * own at any time: what it maps and what the guest maps stay apart, the module notices,
 * and nothing is pinned for nobody.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "iommufd.h"
#include "load.h"
#include "module.h"

/* The VMM's own memory, and where it maps it: where guest page 0 is mapped, too. */
#define OWN	400U
#define IOVA	page_iova(0)

static int attach_edu(struct ctx *ctx)
{
	return __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			GUEST_DEVFN);
}

static int enable(struct ctx *ctx)
{
	return hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0);
}

/* Does the device reach window page @n, and guest page @n behind it? */
static bool reaches(struct ctx *ctx, unsigned int n)
{
	return device_writes(ctx, page_iova(n), guest_page(ctx, n));
}

/*
 * What proves that the VMM has the device.
 */
FIXTURE(proof) {
	struct ctx ctx;
};

FIXTURE_SETUP(proof)
{
	struct ctx *ctx = &self->ctx;

	if (!vfio_use(VFIO_BY_CDEV))
		SKIP(return, "this kernel has no iommufd");
	ASSERT_EQ(0, ctx_open(ctx, false));
	ctx->edu_host = host_device(edu_bdf());
	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0, NULL));
	table_init(ctx);
	table_fill(ctx, 0, 1);
}

FIXTURE_TEARDOWN(proof)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

static void check_works(struct __test_metadata *_metadata, struct ctx *ctx)
{
	ASSERT_EQ(0, attach_edu(ctx));
	ASSERT_EQ(0, enable(ctx));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(reaches(ctx, 0));
}

TEST_F(proof, not_bound)
{
	struct ctx *ctx = &self->ctx;

	ctx->edu.device_fd = cdev_open(edu_bdf());
	ASSERT_LE(0, ctx->edu.device_fd);
	EXPECT_ERRNO(ENOTCONN, attach_edu(ctx));
	EXPECT_EQ(0, stats_now(ctx).devices);
}

/* Somebody has bound the device, but not by this file, which would not keep it. */
TEST_F(proof, bound_by_another_file)
{
	struct ctx *ctx = &self->ctx;
	int unbound;

	ASSERT_EQ(0, vfio_dev_open(&ctx->edu, edu_bdf()));
	unbound = cdev_open(edu_bdf());
	ASSERT_LE(0, unbound);
	EXPECT_ERRNO(ENOTCONN, __attach(ctx->fd, 0, unbound, ctx->edu_host,
					GUEST_DEVFN));
	check_works(_metadata, ctx);
	close(unbound);
	EXPECT_TRUE(reaches(ctx, 0));
}

TEST_F(proof, another_device)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev other;

	ASSERT_EQ(0, vfio_dev_open(&other, other_bdf()));
	EXPECT_ERRNO(EPERM, __attach(ctx->fd, 0, other.device_fd, ctx->edu_host,
				     GUEST_DEVFN));
	vfio_dev_close(&other);
}

/* In the core's blocking domain, which is what ours then replaces. */
TEST_F(proof, without_a_page_table)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev *edu = &ctx->edu;

	edu->container_fd = iommufd_open();
	edu->device_fd = cdev_open(edu_bdf());
	ASSERT_LE(0, edu->container_fd);
	ASSERT_LE(0, edu->device_fd);
	ASSERT_EQ(0, cdev_bind(edu->device_fd, edu->container_fd, &edu->dev_id));
	ASSERT_EQ(0, vfio_dev_start(edu));
	check_works(_metadata, ctx);

	/* iommufd does not know of ours, the core does. */
	ASSERT_EQ(0, iommufd_ioas_alloc(edu->container_fd, &edu->ioas));
	EXPECT_ERRNO(EBUSY, cdev_attach(edu->device_fd, edu->ioas));
	EXPECT_EQ(0, cdev_detach(edu->device_fd));
	EXPECT_TRUE(reaches(ctx, 0));
	EXPECT_EQ(0, stats_now(ctx).taken);
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(0, cdev_attach(edu->device_fd, edu->ioas));
}

/* A group, in an iommufd that takes a container's place. */
TEST_F(proof, group_in_an_iommufd)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev *edu = &ctx->edu;

	edu->container_fd = iommufd_open();
	edu->group_fd = vfio_group_open(edu_bdf());
	ASSERT_LE(0, edu->container_fd);
	ASSERT_LE(0, edu->group_fd);
	ASSERT_EQ(0, ioctl(edu->group_fd, VFIO_GROUP_SET_CONTAINER,
			   &edu->container_fd));
	edu->device_fd = ioctl(edu->group_fd, VFIO_GROUP_GET_DEVICE_FD,
			       edu_bdf());
	ASSERT_LE(0, edu->device_fd);
	ASSERT_EQ(0, vfio_dev_start(edu));
	EXPECT_ERRNO(EINVAL, __attach(ctx->fd, 0, edu->group_fd, ctx->edu_host,
				      GUEST_DEVFN));
	check_works(_metadata, ctx);
	/* The compatible way maps, too, and not here. */
	ASSERT_EQ(0, vfio_dev_map(edu, guest_page(ctx, OWN), IOVA,
				  VM_PAGE_SIZE));
	EXPECT_TRUE(reaches(ctx, 0));
}

/*
 * The VMM takes the group.
 */
enum how { DETACH, DETACH_ATTACH, REPLACE_IOAS, REPLACE_HWPT };

FIXTURE(taken) {
	struct ctx ctx;
	__u32 ioas;
	__u32 hwpt;
};

FIXTURE_VARIANT(taken) {
	enum how how;
};

FIXTURE_VARIANT_ADD(taken, by_detach) { .how = DETACH };
FIXTURE_VARIANT_ADD(taken, by_detach_and_attach) { .how = DETACH_ATTACH };
FIXTURE_VARIANT_ADD(taken, for_another_ioas) { .how = REPLACE_IOAS };
FIXTURE_VARIANT_ADD(taken, for_a_page_table) { .how = REPLACE_HWPT };

FIXTURE_SETUP(taken)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev *edu = &ctx->edu;

	if (!vfio_use(VFIO_BY_CDEV))
		SKIP(return, "this kernel has no iommufd");
	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, iommufd_ioas_alloc(edu->container_fd, &self->ioas));
	ASSERT_EQ(0, iommufd_map(edu->container_fd, self->ioas,
				 guest_page(ctx, OWN), IOVA, VM_PAGE_SIZE));
	ASSERT_EQ(0, iommufd_hwpt_alloc(edu->container_fd, edu->dev_id,
					self->ioas, &self->hwpt));
	ASSERT_EQ(0, vfio_dev_map(edu, guest_page(ctx, OWN), IOVA,
				  VM_PAGE_SIZE));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
	table_fill(ctx, 0, 3);
	ASSERT_EQ(3, hc_sync(ctx, 0, 3));
}

FIXTURE_TEARDOWN(taken)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

static void take(struct __test_metadata *_metadata, struct ctx *ctx,
		 enum how how, __u32 ioas, __u32 hwpt)
{
	int fd = ctx->edu.device_fd;

	if (how == DETACH || how == DETACH_ATTACH)
		ASSERT_EQ(0, cdev_detach(fd));
	if (how == DETACH_ATTACH)
		ASSERT_EQ(0, cdev_attach(fd, ctx->edu.ioas));
	if (how == REPLACE_IOAS)
		ASSERT_EQ(0, cdev_attach(fd, ioas));
	if (how == REPLACE_HWPT)
		ASSERT_EQ(0, cdev_attach(fd, hwpt));
}

/* @own: the VMM's mapping is where the device goes. */
static void check_taken(struct __test_metadata *_metadata, struct ctx *ctx,
			bool own)
{
	EXPECT_FALSE(reaches(ctx, 0));
	EXPECT_FALSE(reaches(ctx, 1));
	EXPECT_EQ(own, device_writes(ctx, IOVA, guest_page(ctx, OWN)));
	EXPECT_EQ(1, stats_now(ctx).taken);
	EXPECT_EQ(1, stats_now(ctx).devices);
}

TEST_F(taken, and_brought_back)
{
	struct ctx *ctx = &self->ctx;
	bool own = variant->how != DETACH;
	int kmsg = kmsg_begin();
	long pins;

	EXPECT_TRUE(reaches(ctx, 0));
	EXPECT_FALSE(device_writes(ctx, IOVA, guest_page(ctx, OWN)));
	EXPECT_EQ(0, stats_now(ctx).taken);
	take(_metadata, ctx, variant->how, self->ioas, self->hwpt);
	/* iommufd has pins of its own, in as many page tables as it has. */
	pins = pins_now() - 3;
	check_taken(_metadata, ctx, own);

	/* Nothing new is pinned for it; what is there can be taken out. */
	table_fill(ctx, 3, 1);
	EXPECT_EQ(PVIOMMU_RC_HOST_ERROR, hc_sync(ctx, 3, 1));
	EXPECT_EQ(3, pinned(ctx));
	table_clear(ctx, 0, 1);
	EXPECT_EQ(1, hc_sync_flags(ctx, 0, 1, PVIOMMU_SYNC_UNMAP));
	EXPECT_EQ(2, pinned(ctx));
	EXPECT_EQ(2, hc_sync(ctx, 1, 2));
	EXPECT_EQ(pins + 2, pins_now());
	EXPECT_EQ(PVIOMMU_RC_HOST_ERROR, enable(ctx));
	EXPECT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	EXPECT_EQ(pins, pins_now());
	check_taken(_metadata, ctx, own);

	/* Ours is not there to be taken out, and theirs stays. */
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(own, device_writes(ctx, IOVA, guest_page(ctx, OWN)));
	ASSERT_EQ(0, attach_edu(ctx));
	EXPECT_EQ(0, stats_now(ctx).taken);
	ASSERT_EQ(0, enable(ctx));
	table_fill(ctx, 0, 1);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(reaches(ctx, 0));
	EXPECT_FALSE(device_writes(ctx, IOVA, guest_page(ctx, OWN)));
	EXPECT_TRUE(kmsg_has(kmsg, "was taken out of its aperture"));
}

/* It is not looked at until the end, which leaves the VMM's alone. */
TEST_F(taken, and_closed)
{
	struct ctx *ctx = &self->ctx;
	long pins;

	take(_metadata, ctx, variant->how, self->ioas, self->hwpt);
	pins = pins_now();
	close(ctx->fd);
	ctx->fd = -1;
	EXPECT_EQ(pins - 3, pins_now());
	EXPECT_EQ(variant->how != DETACH,
		  device_writes(ctx, IOVA, guest_page(ctx, OWN)));
}

FIXTURE(iommufd) {
	struct ctx ctx;
	struct vfio_dev other;
	struct vcpu second;
};

FIXTURE_SETUP(iommufd)
{
	if (!vfio_use(VFIO_BY_CDEV))
		SKIP(return, "this kernel has no iommufd");
	self->other = VFIO_DEV_NONE;
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, vcpu_create(&self->ctx.vm, &self->second, 1));
}

FIXTURE_TEARDOWN(iommufd)
{
	vcpu_destroy(&self->second);
	vfio_dev_close(&self->other);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

/* The aperture has another group, which must not suffer. */
TEST_F(iommufd, one_of_two_groups_is_taken)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, vfio_dev_open(&self->other, other_bdf()));
	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0, NULL));
	ASSERT_EQ(0, attach_edu(ctx));
	ASSERT_EQ(0, __attach(ctx->fd, 0, self->other.device_fd,
			      host_device(other_bdf()), GUEST_DEVFN + 8));
	table_init(ctx);
	ASSERT_EQ(0, enable(ctx));
	ASSERT_EQ(0, cdev_detach(self->other.device_fd));
	EXPECT_EQ(1, stats_now(ctx).taken);
	table_fill(ctx, 0, 1);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(reaches(ctx, 0));
	ASSERT_EQ(0, cdev_detach(ctx->edu.device_fd));
	EXPECT_EQ(2, stats_now(ctx).taken);
	EXPECT_FALSE(reaches(ctx, 0));
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(1, stats_now(ctx).taken);
	ASSERT_EQ(0, attach_edu(ctx));
	EXPECT_TRUE(reaches(ctx, 0));
}

/* Both are let go, and the device is still ours. */
TEST_F(iommufd, closed_first)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev again;

	ASSERT_EQ(0, setup_enabled(ctx, 0));
	table_fill(ctx, 0, 1);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	close(ctx->edu.container_fd);
	ctx->edu.container_fd = -1;
	EXPECT_TRUE(reaches(ctx, 0));
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(-1, vfio_dev_open(&again, edu_bdf()));
	vfio_dev_close(&again);
	EXPECT_EQ(0, stats_now(ctx).taken);
	EXPECT_EQ(1, pinned(ctx));
}

/*
 * The VMM does all of it at once, while a vCPU syncs.
 */
struct mover {
	struct ctx *ctx;
	__u32 ioas[2];
	atomic_ulong moves;
	atomic_bool stop;
	pthread_t threads[2];
};

static void *move_thread(void *data)
{
	struct mover *mover = data;
	int fd = mover->ctx->edu.device_fd;
	unsigned int i;

	for (i = 0; !atomic_load(&mover->stop); i++) {
		if (i % 3 == 2)
			cdev_detach(fd);
		else
			cdev_attach(fd, mover->ioas[i % 2]);
		atomic_fetch_add(&mover->moves, 1);
	}
	return NULL;
}

static void *map_thread(void *data)
{
	struct mover *mover = data;
	struct ctx *ctx = mover->ctx;
	unsigned int i;

	for (i = 0; !atomic_load(&mover->stop); i++) {
		iommufd_map(ctx->edu.container_fd, mover->ioas[i % 2],
			    guest_page(ctx, OWN), page_iova(300),
			    16 * VM_PAGE_SIZE);
		iommufd_unmap(ctx->edu.container_fd, mover->ioas[i % 2],
			      page_iova(300), 16 * VM_PAGE_SIZE);
	}
	return NULL;
}

TEST_F(iommufd, all_at_once)
{
	struct ctx *ctx = &self->ctx;
	struct mover mover = { .ctx = ctx, .ioas = { ctx->edu.ioas } };
	unsigned int i, attached = 0;
	struct sync_load load;

	ASSERT_EQ(0, setup_enabled(ctx, 0));
	ASSERT_EQ(0, iommufd_ioas_alloc(ctx->edu.container_fd, &mover.ioas[1]));
	sync_load_start(&load, ctx, &self->second, 300, 16);
	load_wait(&load.mapped, 2);
	ASSERT_EQ(0, pthread_create(&mover.threads[0], NULL, move_thread, &mover));
	ASSERT_EQ(0, pthread_create(&mover.threads[1], NULL, map_thread, &mover));
	for (i = 0; i < test_rounds(1000); i++) {
		ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
		ASSERT_EQ(0, pinned(ctx));
		/* It is not there now and then. */
		while (attach_edu(ctx))
			ASSERT_EQ(EBUSY, errno);
		attached++;
		load_wait(&mover.moves, 1);
		if (i % 4 == 0)
			load_wait(&load.rounds, 1);
	}
	atomic_store(&mover.stop, true);
	pthread_join(mover.threads[0], NULL);
	pthread_join(mover.threads[1], NULL);

	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, attach_edu(ctx));
	load_wait(&load.mapped, 2);
	sync_load_end(&load);
	/* What is said when all is taken is right here. */
	if (load.wrong != PVIOMMU_RC_HOST_ERROR)
		EXPECT_EQ(0, load.wrong);
	EXPECT_EQ(0, pinned(ctx));
	EXPECT_EQ(0, stats_now(ctx).taken);
	table_fill(ctx, 0, 1);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(reaches(ctx, 0));
}

TEST_HARNESS_MAIN
