// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device is taken away by the administrator: its driver is unbound, or the device
 * removed. The module lets go of it by itself, whatever the VMM does.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "load.h"
#include "sysfs.h"
#include "userfault.h"

/* Window pages: mapped all the time; mapped and unmapped by a thread; held. */
#define STEADY	0
#define BUSY	600
#define HELD	700

FIXTURE(unbind) {
	struct ctx ctx;
};

FIXTURE_VARIANT(unbind) {
	enum vfio_way way;
};

FIXTURE_VARIANT_ADD(unbind, group) { .way = VFIO_BY_GROUP };
FIXTURE_VARIANT_ADD(unbind, cdev) { .way = VFIO_BY_CDEV };

FIXTURE_SETUP(unbind)
{
	if (!vfio_use(variant->way))
		SKIP(return, "this kernel has no iommufd");
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, 0));
}

FIXTURE_TEARDOWN(unbind)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

static void map_steady(struct __test_metadata *_metadata, struct ctx *ctx)
{
	table_fill(ctx, STEADY, 10);
	ASSERT_EQ(10, hc_sync(ctx, STEADY, 10));
	EXPECT_EQ(ctx->pins + 10, pins_now());
	EXPECT_TRUE(device_writes(ctx, page_iova(STEADY),
				  guest_page(ctx, STEADY)));
}

static void wait_for_pins(long pins)
{
	while (pins_now() != pins)
		usleep(20000);
}

/* The device is there again; the VM and its pviommu have been there all along. */
static void use_again(struct __test_metadata *_metadata, struct ctx *ctx)
{
	ASSERT_EQ(0, vfio_dev_open(&ctx->edu, edu_bdf()));
	ASSERT_EQ(0, __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	table_fill(ctx, STEADY, 1);
	ASSERT_EQ(1, hc_sync(ctx, STEADY, 1));
	EXPECT_TRUE(device_writes(ctx, page_iova(STEADY),
				  guest_page(ctx, STEADY)));
}

TEST_F(unbind, driver)
{
	struct ctx *ctx = &self->ctx;
	pid_t pid;

	map_steady(_metadata, ctx);
	/* It waits for our VFIO file, but not for the module's. */
	pid = unbind_start(edu_bdf());
	ASSERT_LE(0, pid);
	wait_for_pins(ctx->pins);
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
	EXPECT_EQ(-1, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(ENOENT, errno);
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(0, sysfs_write_end(pid));
	EXPECT_EQ(0, bind_again(edu_bdf()));
	use_again(_metadata, ctx);
}

TEST_F(unbind, when_only_the_module_has_the_file)
{
	struct ctx *ctx = &self->ctx;

	map_steady(_metadata, ctx);
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(0, sysfs_write_end(unbind_start(edu_bdf())));
	EXPECT_EQ(ctx->pins, pins_now());
	EXPECT_EQ(0, bind_again(edu_bdf()));
	use_again(_metadata, ctx);
}

/* EAGAIN as long as the unbind waits for our file, ENODEV when it is through. */
TEST_F(unbind, attach_meanwhile)
{
	struct ctx *ctx = &self->ctx;
	pid_t pid;

	map_steady(_metadata, ctx);
	pid = unbind_start(edu_bdf());
	ASSERT_LE(0, pid);
	wait_for_pins(ctx->pins);
	EXPECT_EQ(-1, __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			       GUEST_DEVFN));
	EXPECT_EQ(EAGAIN, errno);
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(0, sysfs_write_end(pid));
	EXPECT_EQ(0, bind_again(edu_bdf()));
}

/*
 * The device does DMA and a vCPU syncs all the time.
 */
FIXTURE(busy) {
	struct ctx ctx;
	struct vcpu vcpu;
	struct dma_load dma;
	struct sync_load sync;
};

FIXTURE_SETUP(busy)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
	ASSERT_EQ(0, vcpu_create(&ctx->vm, &self->vcpu, 1));
	map_steady(_metadata, ctx);
	dma_load_start(&self->dma, ctx, page_iova(STEADY));
	sync_load_start(&self->sync, ctx, &self->vcpu, BUSY, 50);
	load_wait(&self->dma.transfers, 2);
	load_wait(&self->sync.mapped, 10);
}

FIXTURE_TEARDOWN(busy)
{
	vcpu_destroy(&self->vcpu);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

/* @pid takes the device away; what was going on ends in order. */
static void end_load(struct __test_metadata *_metadata, struct dma_load *dma,
		     struct sync_load *sync, pid_t pid)
{
	struct ctx *ctx = dma->ctx;

	ASSERT_LE(0, pid);
	wait_for_pins(ctx->pins);
	/* They do not notice. */
	load_wait(&dma->transfers, 2);
	load_wait(&sync->rounds, 10);
	dma_load_end(dma);
	sync_load_end(sync);
	EXPECT_EQ(0, sync->wrong);
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(0, sysfs_write_end(pid));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
}

TEST_F(busy, driver_unbound)
{
	end_load(_metadata, &self->dma, &self->sync,
		 unbind_start(edu_bdf()));
	ASSERT_EQ(0, bind_again(edu_bdf()));
	use_again(_metadata, &self->ctx);
}

TEST_F(busy, device_removed)
{
	end_load(_metadata, &self->dma, &self->sync,
		 remove_start(edu_bdf()));
	ASSERT_EQ(0, rescan_and_bind(edu_bdf()));
	use_again(_metadata, &self->ctx);
}

/*
 * A vCPU is held in a sync for as long as the VMM likes. That must not keep the
 * administrator from the device.
 */
FIXTURE(stalled) {
	struct ctx ctx;
	struct vcpu vcpu;
	struct userfault held;
	struct vcpu_call sync;
};

FIXTURE_SETUP(stalled)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
	ASSERT_EQ(0, vcpu_create(&ctx->vm, &self->vcpu, 1));
	map_steady(_metadata, ctx);
	table_fill(ctx, HELD, 1);
	ASSERT_EQ(0, userfault_hold(&self->held, guest_page(ctx, HELD)));
	vcpu_call_start(&self->sync, &ctx->vm.vcpu, (struct vm_args){
			.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_SYNC,
			.rcx = HELD, .rdx = 1 });
	userfault_wait(&self->held);
}

FIXTURE_TEARDOWN(stalled)
{
	vcpu_destroy(&self->vcpu);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

/* Until the device does not reach its page any more; the sync is still held. */
static void unbind_while_stalled(struct __test_metadata *_metadata,
				 struct ctx *ctx, struct userfault *held,
				 struct vcpu_call *sync, long pages)
{
	pid_t pid;

	EXPECT_TRUE(device_writes(ctx, page_iova(STEADY),
				  guest_page(ctx, STEADY)));
	pid = unbind_start(edu_bdf());
	ASSERT_LE(0, pid);
	while (device_writes(ctx, page_iova(STEADY), guest_page(ctx, STEADY)))
		;
	EXPECT_FALSE(atomic_load(&sync->done));

	ASSERT_EQ(0, userfault_release(held));
	EXPECT_EQ(pages, vcpu_call_end(sync));
	wait_for_pins(ctx->pins);
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(0, sysfs_write_end(pid));
	ASSERT_EQ(0, bind_again(edu_bdf()));
}

TEST_F(stalled, in_a_sync)
{
	unbind_while_stalled(_metadata, &self->ctx, &self->held, &self->sync, 1);
	use_again(_metadata, &self->ctx);
}

/* Another vCPU waits to disable the aperture: it, too, must not be in the way. */
TEST_F(stalled, in_a_sync_and_a_disable)
{
	struct vcpu_call disable;

	vcpu_call_start(&disable, &self->vcpu, (struct vm_args){
			.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_DISABLE });
	/* It gets as far as it can. */
	usleep(300000);
	EXPECT_FALSE(atomic_load(&disable.done));
	unbind_while_stalled(_metadata, &self->ctx, &self->held, &self->sync, 1);
	EXPECT_EQ(0, vcpu_call_end(&disable));
	use_again(_metadata, &self->ctx);
}

/*
 * It is a page of the table that is held. A sync that has removed something by then does
 * not wait for it, and the next one keeps nobody from the device.
 */
TEST_F(unbind, stalled_in_the_table)
{
	struct ctx *ctx = &self->ctx;
	struct vcpu_call sync;
	struct userfault held;

	map_steady(_metadata, ctx);
	table_fill(ctx, HELD, 1);
	ASSERT_EQ(1, hc_sync(ctx, HELD, 1));
	table_clear(ctx, STEADY + 1, 1);
	ASSERT_EQ(0, userfault_hold(&held, ctx->vm.mem + GPA_LEAVES + VM_PAGE_SIZE));
	EXPECT_EQ(PVIOMMU_ENTRIES_PER_LEAF,
		  hc_sync_flags(ctx, STEADY, 2 * PVIOMMU_ENTRIES_PER_LEAF,
				PVIOMMU_SYNC_UNMAP));
	EXPECT_EQ(ctx->pins + 10, pins_now());

	vcpu_call_start(&sync, &ctx->vm.vcpu, (struct vm_args){
			.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_SYNC,
			.rcx = PVIOMMU_ENTRIES_PER_LEAF,
			.rdx = PVIOMMU_ENTRIES_PER_LEAF,
			.rsi = PVIOMMU_SYNC_UNMAP });
	userfault_wait(&held);
	unbind_while_stalled(_metadata, ctx, &held, &sync,
			     PVIOMMU_ENTRIES_PER_LEAF);
	use_again(_metadata, ctx);
}

/* ... and DETACH, by the VMM itself. */
static void *detach_thread(void *data)
{
	struct ctx *ctx = data;

	return (void *)(long)__detach(ctx->fd, 0, ctx->edu_host);
}

/* The device is off its page; DETACH still waits for the sync. */
static void detach_start(struct __test_metadata *_metadata, struct ctx *ctx,
			 pthread_t *thread)
{
	ASSERT_EQ(0, pthread_create(thread, NULL, detach_thread, ctx));
	while (device_writes(ctx, page_iova(STEADY), guest_page(ctx, STEADY)))
		;
}

static void detach_end(struct __test_metadata *_metadata, struct ctx *ctx,
		       struct userfault *held, struct vcpu_call *sync,
		       pthread_t thread)
{
	void *result;

	EXPECT_FALSE(atomic_load(&sync->done));
	ASSERT_EQ(0, userfault_release(held));
	EXPECT_EQ(1, vcpu_call_end(sync));
	pthread_join(thread, &result);
	EXPECT_EQ(NULL, result);
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(stalled, detached)
{
	pthread_t thread;

	detach_start(_metadata, &self->ctx, &thread);
	detach_end(_metadata, &self->ctx, &self->held, &self->sync, thread);
}

/*
 * The VMM keeps all that it can. An unbind waits for its file, as VFIO has it, but not in the
 * notifier: nobody else would get to the bus any more.
 */
TEST_F(stalled, detached_and_unbound)
{
	pthread_t thread;
	pid_t pid;

	detach_start(_metadata, &self->ctx, &thread);
	pid = unbind_start(edu_bdf());
	ASSERT_LE(0, pid);
	EXPECT_TRUE(comes_to_wait_in(pid, "vfio_unregister_group_dev"));
	detach_end(_metadata, &self->ctx, &self->held, &self->sync, thread);
	vfio_dev_close(&self->ctx.edu);
	EXPECT_EQ(0, sysfs_write_end(pid));
	ASSERT_EQ(0, bind_again(edu_bdf()));
}

TEST_HARNESS_MAIN
