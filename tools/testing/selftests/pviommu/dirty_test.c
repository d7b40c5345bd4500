// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that a device could write are dirty when they leave the aperture: for the
 * host's memory management, and in KVM's dirty log.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "sysfs.h"

#define PAGEMAP_PFN	((1UL << 55) - 1)

/* KVM's log of memslot 0. */
struct log {
	unsigned long bitmap[VM_MEM_SIZE / VM_PAGE_SIZE / 64];
};

static int log_start(struct vm *vm)
{
	return vm_set_memslot(vm, 0, 0, vm->mem, VM_MEM_SIZE,
			      KVM_MEM_LOG_DIRTY_PAGES);
}

static int log_read(struct vm *vm, struct log *log)
{
	struct kvm_dirty_log cmd = { .dirty_bitmap = log->bitmap };

	return ioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &cmd);
}

/* With KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 reading does not clear. */
static int log_clear(struct vm *vm, struct log *log)
{
	struct kvm_clear_dirty_log cmd = {
		.num_pages = VM_MEM_SIZE / VM_PAGE_SIZE,
		.dirty_bitmap = log->bitmap,
	};

	return ioctl(vm->vm_fd, KVM_CLEAR_DIRTY_LOG, &cmd);
}

static bool log_has(const struct log *log, unsigned int guest_page)
{
	unsigned long gfn = GPA_DATA / VM_PAGE_SIZE + guest_page;

	return log->bitmap[gfn / 64] >> gfn % 64 & 1;
}

/*
 * Each way in which pages leave the aperture.
 */
FIXTURE(leave) {
	struct ctx ctx;
	struct log log;
};

static void by_sync(struct ctx *ctx)
{
	table_clear(ctx, 0, 3);
	hc_sync(ctx, 0, 3);
}

static void by_unmap(struct ctx *ctx)
{
	table_clear(ctx, 0, 3);
	hc_sync_flags(ctx, 0, 3, PVIOMMU_SYNC_UNMAP);
}

static void by_other_frames(struct ctx *ctx)
{
	table_fill(ctx, 50, 3);
	memmove(ctx->vm.mem + GPA_LEAVES, ctx->vm.mem + GPA_LEAVES + 50 * 8,
		3 * 8);
	hc_sync(ctx, 0, 3);
}

static void by_disable(struct ctx *ctx)
{
	hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0);
}

static void by_enable(struct ctx *ctx)
{
	hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0);
}

static void by_reset(struct ctx *ctx)
{
	__reset(ctx->fd, 0);
}

static void by_detach(struct ctx *ctx)
{
	__detach(ctx->fd, 0, ctx->edu_host);
}

static void by_close(struct ctx *ctx)
{
	close(ctx->fd);
	ctx->fd = -1;
}

static void by_unbind(struct ctx *ctx)
{
	vfio_dev_close(&ctx->edu);
	sysfs_write_end(unbind_start(edu_bdf()));
	bind_again(edu_bdf());
}

FIXTURE_VARIANT(leave) {
	void (*leave)(struct ctx *ctx);
};

FIXTURE_VARIANT_ADD(leave, sync) { .leave = by_sync };
FIXTURE_VARIANT_ADD(leave, sync_unmap) { .leave = by_unmap };
FIXTURE_VARIANT_ADD(leave, other_frames) { .leave = by_other_frames };
FIXTURE_VARIANT_ADD(leave, disable) { .leave = by_disable };
FIXTURE_VARIANT_ADD(leave, enable_again) { .leave = by_enable };
FIXTURE_VARIANT_ADD(leave, reset) { .leave = by_reset };
FIXTURE_VARIANT_ADD(leave, detach) { .leave = by_detach };
FIXTURE_VARIANT_ADD(leave, close) { .leave = by_close };
FIXTURE_VARIANT_ADD(leave, driver_unbound) { .leave = by_unbind };

FIXTURE_SETUP(leave)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
	ASSERT_EQ(0, log_start(&ctx->vm));
	/* A flag of a large page would be all its pages'. */
	ASSERT_EQ(0, madvise(ctx->vm.mem, VM_MEM_SIZE, MADV_NOHUGEPAGE));
	table_set(ctx, 0, guest_page_entry(0, RW));
	table_set(ctx, 1, guest_page_entry(1, PVIOMMU_ENTRY_READ));
	table_set(ctx, 2, guest_page_entry(2, PVIOMMU_ENTRY_WRITE));
	ASSERT_EQ(3, hc_sync(ctx, 0, 3));
	/* Once to clear it. */
	ASSERT_EQ(0, log_read(&ctx->vm, &self->log));
	ASSERT_EQ(0, log_read(&ctx->vm, &self->log));
}

FIXTURE_TEARDOWN(leave)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(leave, dirty_log)
{
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	EXPECT_EQ(ctx->pins + 3, pins_now());
	for (i = 0; i < 3; i++)
		EXPECT_FALSE(log_has(&self->log, i));
	variant->leave(ctx);
	ASSERT_EQ(0, log_read(&ctx->vm, &self->log));
	EXPECT_TRUE(log_has(&self->log, 0));
	EXPECT_FALSE(log_has(&self->log, 1));
	EXPECT_TRUE(log_has(&self->log, 2));
	EXPECT_FALSE(log_has(&self->log, 3));
	/* Once is enough. */
	ASSERT_EQ(0, log_read(&ctx->vm, &self->log));
	EXPECT_FALSE(log_has(&self->log, 0));
}

static __u64 page_flags(void *mem)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0, flags = 0;

	if (pread(pagemap, &entry, 8, (__u64)mem / VM_PAGE_SIZE * 8) != 8 ||
	    !(entry & PAGEMAP_PFN) ||
	    pread(flags_fd, &flags, 8, (entry & PAGEMAP_PFN) * 8) != 8) {
		perror("page flags");
		exit(1);
	}
	close(flags_fd);
	close(pagemap);
	return flags;
}

static bool is_dirty(struct ctx *ctx, unsigned int page)
{
	return page_flags(guest_page(ctx, page)) >> KPF_DIRTY & 1;
}

/* For the host's swap, which else would drop what the device wrote. */
TEST_F(leave, host_page)
{
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	/* Written by nobody but the device, which does not tell. */
	for (i = 0; i < 3; i++)
		ASSERT_FALSE(is_dirty(ctx, i));
	ASSERT_TRUE(edu_write_memory(&ctx->edu, page_iova(0), EDU_DMA_MAX));
	EXPECT_FALSE(is_dirty(ctx, 0));
	variant->leave(ctx);
	EXPECT_TRUE(is_dirty(ctx, 0));
	EXPECT_FALSE(is_dirty(ctx, 1));
	EXPECT_TRUE(is_dirty(ctx, 2));
}

/*
 * PVIOMMU_MARK_DIRTY.
 */
FIXTURE(mark) {
	struct ctx ctx;
	struct log log;
};

FIXTURE_VARIANT(mark) {
	bool manual;	/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
};

FIXTURE_VARIANT_ADD(mark, cleared_by_reading) { .manual = false };
FIXTURE_VARIANT_ADD(mark, cleared_by_hand) { .manual = true };

FIXTURE_SETUP(mark)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
	};
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, ctx_open(ctx, true));
	if (variant->manual)
		ASSERT_EQ(0, ioctl(ctx->vm.vm_fd, KVM_ENABLE_CAP, &cap));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
}

FIXTURE_TEARDOWN(mark)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

static int __mark_dirty(struct ctx *ctx, struct pviommu_mark_dirty *cmd)
{
	cmd->size = sizeof(*cmd);
	return ioctl(ctx->fd, PVIOMMU_MARK_DIRTY, cmd);
}

static __s64 mark_dirty(struct ctx *ctx, __u32 aperture)
{
	struct pviommu_mark_dirty cmd = { .aperture_id = aperture };

	return __mark_dirty(ctx, &cmd) ? -errno : cmd.out_pages;
}

static int read_and_clear(struct vm *vm, struct log *log, bool manual)
{
	return log_read(vm, log) ?: manual ? log_clear(vm, log) : 0;
}

TEST_F(mark, all_that_is_writable)
{
	struct ctx *ctx = &self->ctx;
	unsigned int round;

	ASSERT_EQ(0, log_start(&ctx->vm));
	EXPECT_EQ(0, mark_dirty(ctx, 0));
	table_set(ctx, 0, guest_page_entry(0, RW));
	table_set(ctx, 1, guest_page_entry(1, PVIOMMU_ENTRY_READ));
	table_set(ctx, 2, guest_page_entry(2, PVIOMMU_ENTRY_WRITE));
	/* The same page again, in another leaf. */
	table_set(ctx, 1999, guest_page_entry(0, RW));
	ASSERT_EQ(0, hc_sync_all(ctx, 0, WINDOW_PAGES));

	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, read_and_clear(&ctx->vm, &self->log,
					    variant->manual));
		ASSERT_EQ(0, log_read(&ctx->vm, &self->log));
		EXPECT_FALSE(log_has(&self->log, 0));
		EXPECT_FALSE(log_has(&self->log, 2));

		EXPECT_EQ(3, mark_dirty(ctx, round % 2 ? 0 :
						PVIOMMU_APERTURE_ALL));
		ASSERT_EQ(0, log_read(&ctx->vm, &self->log));
		EXPECT_TRUE(log_has(&self->log, 0));
		EXPECT_FALSE(log_has(&self->log, 1));
		EXPECT_TRUE(log_has(&self->log, 2));
		EXPECT_FALSE(log_has(&self->log, 3));
	}
	/* Nothing has changed otherwise. */
	EXPECT_EQ(4, pinned(ctx));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), guest_page(ctx, 0)));
}

/* Slots without a log are passed over, and so are those that are gone. */
TEST_F(mark, slots_without_a_log)
{
	struct ctx *ctx = &self->ctx;
	void *mem = mmap(NULL, VM_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32, mem, VM_PAGE_SIZE, 0));
	table_set(ctx, 0, guest_page_entry(0, RW));
	table_set(ctx, 1, 1UL << 32 | RW);
	ASSERT_EQ(2, hc_sync(ctx, 0, 2));
	EXPECT_EQ(2, mark_dirty(ctx, 0));

	ASSERT_EQ(0, log_start(&ctx->vm));
	EXPECT_EQ(2, mark_dirty(ctx, 0));
	ASSERT_EQ(0, log_read(&ctx->vm, &self->log));
	EXPECT_TRUE(log_has(&self->log, 0));

	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32, mem, 0, 0));
	EXPECT_EQ(2, mark_dirty(ctx, 0));
}

/* What no log has is counted, when it leaves. */
TEST_F(mark, lost_with_its_slot)
{
	struct pviommu_mark_dirty cmd = {};
	struct ctx *ctx = &self->ctx;
	void *mem = mmap(NULL, 3 * VM_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32, mem,
				    3 * VM_PAGE_SIZE, KVM_MEM_LOG_DIRTY_PAGES));
	table_set(ctx, 0, 1UL << 32 | RW);
	table_set(ctx, 1, (1UL << 32 | RW) + VM_PAGE_SIZE);
	table_set(ctx, 2, (1UL << 32 | PVIOMMU_ENTRY_READ) + 2 * VM_PAGE_SIZE);
	ASSERT_EQ(3, hc_sync(ctx, 0, 3));
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	ASSERT_EQ(0, __mark_dirty(ctx, &cmd));
	EXPECT_EQ(0, cmd.out_lost);

	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32, mem, 0, 0));
	table_clear(ctx, 0, 3);
	ASSERT_EQ(3, hc_sync_flags(ctx, 0, 3, PVIOMMU_SYNC_UNMAP));
	ASSERT_EQ(0, __mark_dirty(ctx, &cmd));
	EXPECT_EQ(1, cmd.out_lost);
	EXPECT_EQ(0, cmd.out_pages);
}

TEST_F(mark, several_apertures)
{
	struct ctx *ctx = &self->ctx;
	__u32 id;

	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE, 4096, 0, &id));
	table_fill(ctx, 0, 5);
	ASSERT_EQ(5, hc_sync(ctx, 0, 5));
	EXPECT_EQ(5, mark_dirty(ctx, 0));
	EXPECT_EQ(0, mark_dirty(ctx, id));
	EXPECT_EQ(5, mark_dirty(ctx, PVIOMMU_APERTURE_ALL));
	EXPECT_EQ(-ENOENT, mark_dirty(ctx, id + 1));
}

/*
 * One sync could overrun a dirty ring. A VM that has one is refused; one that gets
 * one later cannot enable its aperture.
 */
FIXTURE(ring) {
	struct ctx ctx;
	struct vm vm;
	int fd;
};

FIXTURE_SETUP(ring)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	self->fd = open("/dev/pviommu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, vm_create_without_vcpu(&self->vm));
}

FIXTURE_TEARDOWN(ring)
{
	close(self->fd);
	vm_destroy(&self->vm);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

static int enable_ring(struct vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_DIRTY_LOG_RING,
		.args = { 65536 },
	};

	return ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap);
}

TEST_F(ring, before_the_vm_is_bound)
{
	ASSERT_EQ(0, enable_ring(&self->vm));
	EXPECT_EQ(-1, __bind(self->fd, self->vm.vm_fd));
	EXPECT_EQ(EOPNOTSUPP, errno);
}

TEST_F(ring, after_the_vm_is_bound)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, __bind(self->fd, self->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(self->fd, WINDOW_BASE,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0, NULL));
	ASSERT_EQ(0, __attach(self->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	ASSERT_EQ(0, enable_ring(&self->vm));
	ASSERT_EQ(0, vcpu_create(&self->vm, &self->vm.vcpu, 0));
	EXPECT_EQ(PVIOMMU_RC_HOST_ERROR,
		  vcpu_hc(&self->vm.vcpu, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0,
			  0));
	EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED,
		  vcpu_hc(&self->vm.vcpu, PVIOMMU_OP_SYNC, 0, 1, 0));
}

TEST_HARNESS_MAIN
