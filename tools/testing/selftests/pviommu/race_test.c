// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs and ioctls at the same time. Whatever the order, in the end what is pinned
 * is what the table says, and the device reaches that and nothing else.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "load.h"
#include "module.h"
#include "userfault.h"

#define ROUNDS	2000

FIXTURE(race) {
	struct ctx ctx;
	struct vcpu second;
};

FIXTURE_SETUP(race)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, 0));
	ASSERT_EQ(0, vcpu_create(&self->ctx.vm, &self->second, 1));
}

FIXTURE_TEARDOWN(race)
{
	vcpu_destroy(&self->second);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

/* Page @index is where the table says, and only there. */
static void check_page(struct __test_metadata *_metadata, struct ctx *ctx,
		       __u64 index)
{
	EXPECT_TRUE(device_writes(ctx, page_iova(index),
				  guest_page(ctx, index)));
	table_set(ctx, index, 0);
	EXPECT_EQ(0, hc_sync_all(ctx, index, 1));
	EXPECT_FALSE(device_writes(ctx, page_iova(index),
				   guest_page(ctx, index)));
}

/*
 * Two vCPUs sync; each has entries of its own to change.
 */
FIXTURE(two_vcpus) {
	struct ctx ctx;
	struct vcpu second;
};

FIXTURE_VARIANT(two_vcpus) {
	__u64 first[2];		/* entries that each changes */
	__u64 sync[2];		/* and where it syncs from */
	__u64 count;		/* pages that it syncs */
};

/* Each changes 16 entries. */
#define SHARE	16

FIXTURE_VARIANT_ADD(two_vcpus, the_same_range) {
	.first = { 100, 100 + SHARE }, .sync = { 100, 100 }, .count = 2 * SHARE,
};

FIXTURE_VARIANT_ADD(two_vcpus, neighbours_in_a_leaf) {
	.first = { 100, 100 + SHARE }, .sync = { 100, 100 + SHARE },
	.count = SHARE,
};

FIXTURE_VARIANT_ADD(two_vcpus, different_leaves) {
	.first = { 100, 1000 }, .sync = { 100, 1000 }, .count = SHARE,
};

FIXTURE_SETUP(two_vcpus)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, 0));
	ASSERT_EQ(0, vcpu_create(&self->ctx.vm, &self->second, 1));
}

FIXTURE_TEARDOWN(two_vcpus)
{
	vcpu_destroy(&self->second);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

struct side {
	struct ctx *ctx;
	struct vcpu *vcpu;
	__u64 first, sync, count;
	__s64 wrong;
	pthread_t thread;
};

/* Each round another half of the entries is there. */
static void *side_thread(void *data)
{
	struct side *side = data;
	unsigned int round, i;
	__s64 rc;

	for (round = 0; round < test_rounds(ROUNDS); round++) {
		for (i = 0; i < SHARE; i++) {
			__u64 index = side->first + i;

			table_set(side->ctx, index, (i + round) % 2 ?
				  guest_page_entry(index, RW) : 0);
		}
		rc = vcpu_sync_all(side->vcpu, side->sync, side->count, 0);
		if (rc)
			side->wrong = rc;
	}
	return NULL;
}

TEST_F(two_vcpus, sync)
{
	struct ctx *ctx = &self->ctx;
	struct side sides[2];
	unsigned int last = test_rounds(ROUNDS) - 1;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		sides[i] = (struct side){
			.ctx = ctx,
			.vcpu = i ? &self->second : &ctx->vm.vcpu,
			.first = variant->first[i],
			.sync = variant->sync[i],
			.count = variant->count,
		};
		ASSERT_EQ(0, pthread_create(&sides[i].thread, NULL, side_thread,
					    &sides[i]));
	}
	for (i = 0; i < 2; i++) {
		pthread_join(sides[i].thread, NULL);
		EXPECT_EQ(0, sides[i].wrong);
	}
	/* What each changed it has synced, whatever the other one did. */
	EXPECT_EQ(SHARE, pinned(ctx));
	EXPECT_EQ(ctx->pins + SHARE, pins_now());
	for (i = 0; i < 2; i++) {
		__u64 there = variant->first[i] + (last % 2 ? 0 : 1);
		__u64 gone = variant->first[i] + (last % 2 ? 1 : 0);

		EXPECT_TRUE(device_writes(ctx, page_iova(there),
					  guest_page(ctx, there)));
		EXPECT_FALSE(device_writes(ctx, page_iova(gone),
					   guest_page(ctx, gone)));
	}
}

/*
 * One is held in a sync for as long as the VMM likes. The other goes on, where its pages are
 * in another leaf.
 */
TEST_F(race, one_is_held)
{
	struct vcpu_call held_call, same_leaf;
	struct ctx *ctx = &self->ctx;
	struct vcpu *second = &self->second;
	struct userfault held;

	table_fill(ctx, 10, 2);
	table_fill(ctx, 1000, 100);
	ASSERT_EQ(0, userfault_hold(&held, guest_page(ctx, 10)));
	vcpu_call_start(&held_call, &ctx->vm.vcpu, (struct vm_args){
			.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_SYNC,
			.rcx = 10, .rdx = 1 });
	userfault_wait(&held);

	EXPECT_EQ(1, vcpu_hc(second, PVIOMMU_OP_SYNC, 1000, 1, 0));
	EXPECT_EQ(100, vcpu_hc(second, PVIOMMU_OP_SYNC, 1000, 100, 0));
	EXPECT_EQ(ctx->pins + 100, pins_now());
	EXPECT_TRUE(device_writes(ctx, page_iova(1050), guest_page(ctx, 1050)));
	EXPECT_EQ(100, vcpu_hc(second, PVIOMMU_OP_SYNC, 1000, 100,
			       PVIOMMU_SYNC_UNMAP));
	table_clear(ctx, 1000, 100);
	EXPECT_EQ(100, vcpu_hc(second, PVIOMMU_OP_SYNC, 1000, 100,
			       PVIOMMU_SYNC_UNMAP));
	EXPECT_EQ(ctx->pins, pins_now());
	EXPECT_FALSE(device_writes(ctx, page_iova(1050), guest_page(ctx, 1050)));

	vcpu_call_start(&same_leaf, second, (struct vm_args){
			.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_SYNC,
			.rcx = 11, .rdx = 1 });
	/* It gets as far as it can. */
	usleep(300000);
	EXPECT_FALSE(atomic_load(&held_call.done));
	EXPECT_FALSE(atomic_load(&same_leaf.done));
	ASSERT_EQ(0, userfault_release(&held));
	EXPECT_EQ(1, vcpu_call_end(&held_call));
	EXPECT_EQ(1, vcpu_call_end(&same_leaf));
	EXPECT_EQ(2, pinned(ctx));
	check_page(_metadata, ctx, 10);
	check_page(_metadata, ctx, 11);
}

/* One writes entries and does not sync; the other syncs what it finds. */
TEST_F(race, entries_change_during_a_sync)
{
	struct entry_load writer;
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	entry_load_start(&writer, ctx, 1);
	for (i = 0; i < test_rounds(ROUNDS); i++)
		ASSERT_EQ(0, hc_sync_all(ctx, 0, 64));
	entry_load_end(&writer);

	table_clear(ctx, 0, 64);
	table_fill(ctx, 10, 3);
	EXPECT_EQ(0, hc_sync_all(ctx, 0, 64));
	EXPECT_EQ(3, pinned(ctx));
	EXPECT_EQ(ctx->pins + 3, pins_now());
	check_page(_metadata, ctx, 11);
	EXPECT_FALSE(device_writes(ctx, page_iova(9), guest_page(ctx, 9)));
}

/*
 * Ioctls in a loop against a vCPU that maps and unmaps.
 */
static void start_sync(struct sync_load *load, struct ctx *ctx,
		       struct vcpu *vcpu)
{
	sync_load_start(load, ctx, vcpu, 300, 100);
	load_wait(&load->mapped, 2);
}

/* The aperture is enabled, the range is unmapped. */
static void end_sync(struct __test_metadata *_metadata, struct sync_load *load)
{
	struct ctx *ctx = load->ctx;

	load_wait(&load->mapped, 2);
	sync_load_end(load);
	EXPECT_EQ(0, load->wrong);
	EXPECT_EQ(0, pinned(ctx));
	EXPECT_EQ(ctx->pins, pins_now());
	table_fill(ctx, 5, 1);
	ASSERT_EQ(1, hc_sync(ctx, 5, 1));
	check_page(_metadata, ctx, 5);
}

TEST_F(race, detach_and_sync)
{
	struct ctx *ctx = &self->ctx;
	struct sync_load load;
	int i;

	start_sync(&load, ctx, &self->second);
	for (i = 0; i < test_rounds(200); i++) {
		ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
		ASSERT_EQ(0, pinned(ctx));
		ASSERT_EQ(0, __attach(ctx->fd, 0, ctx->edu.device_fd,
				      ctx->edu_host, GUEST_DEVFN));
		if (i % 4 == 0)
			load_wait(&load.mapped, 1);
	}
	end_sync(_metadata, &load);
}

/*
 * A VMM can move a group through VFIO, without a lock of ours. Meanwhile it may not be
 * flushed for, so what was unmapped must not be unpinned. A module holds the IOMMU
 * core's lock on the group, as such a move does.
 */
FIXTURE(moving) {
	struct module module;
	struct ctx ctx;
};

FIXTURE_VARIANT(moving) {
	struct vm_args args;
	__s64 result;
};

#define MOVING	10

FIXTURE_VARIANT_ADD(moving, unmap) {
	.args = { KVM_HC_PVIOMMU, PVIOMMU_OP_SYNC, 0, MOVING, PVIOMMU_SYNC_UNMAP },
	.result = MOVING,
};

FIXTURE_VARIANT_ADD(moving, sync) {
	.args = { KVM_HC_PVIOMMU, PVIOMMU_OP_SYNC, 0, MOVING },
	.result = MOVING,
};

FIXTURE_VARIANT_ADD(moving, disable) {
	.args = { KVM_HC_PVIOMMU, PVIOMMU_OP_DISABLE },
};

FIXTURE_SETUP(moving)
{
	struct ctx *ctx = &self->ctx;

	self->module = module_read("pviommu_test_hold");
	/* Left over by a test that was ended. */
	if (!module_loaded(&self->module))
		ASSERT_EQ(0, module_load(&self->module));
	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
	table_fill(ctx, 0, MOVING);
	ASSERT_EQ(MOVING, hc_sync(ctx, 0, MOVING));
}

FIXTURE_TEARDOWN(moving)
{
	EXPECT_EQ(0, module_set(&self->module, "hold", "none"));
	ctx_close_all(&self->ctx);
	EXPECT_EQ(0, module_unload(&self->module));
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

TEST_F(moving, nothing_is_unpinned)
{
	struct ctx *ctx = &self->ctx;
	struct vcpu_call call;

	table_clear(ctx, 0, MOVING);
	ASSERT_EQ(0, module_set(&self->module, "hold", edu_bdf()));
	vcpu_call_start(&call, &ctx->vm.vcpu, variant->args);
	/* It gets as far as it can. */
	usleep(500000);
	EXPECT_FALSE(atomic_load(&call.done));
	EXPECT_EQ(ctx->pins + MOVING + pinned_with(1), all_pins_now());
	ASSERT_EQ(0, module_set(&self->module, "hold", "none"));
	EXPECT_EQ(variant->result, vcpu_call_end(&call));
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(race, reset_and_sync)
{
	struct ctx *ctx = &self->ctx;
	struct sync_load load;
	int i;

	start_sync(&load, ctx, &self->second);
	for (i = 0; i < test_rounds(500); i++) {
		ASSERT_EQ(0, __reset(ctx->fd, i % 2 ? 0 : PVIOMMU_APERTURE_ALL));
		if (i % 4 == 0)
			load_wait(&load.mapped, 1);
	}
	end_sync(_metadata, &load);
}

/* Memslots come and go: a sync may be told to retry, and nothing else. */
TEST_F(race, memslots_and_sync)
{
	struct ctx *ctx = &self->ctx;
	struct sync_load load;
	int i;

	start_sync(&load, ctx, &self->second);
	for (i = 0; i < test_rounds(200); i++) {
		ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 0, 0, ctx->vm.mem,
					    VM_MEM_SIZE, i % 2 ? 0 :
					    KVM_MEM_LOG_DIRTY_PAGES));
		ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32, ctx->vm.mem,
					    i % 2 ? 0 : VM_PAGE_SIZE, 0));
		if (i % 4 == 0)
			load_wait(&load.mapped, 1);
	}
	end_sync(_metadata, &load);
}

TEST_HARNESS_MAIN
