// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a device reaches, seen by letting it try. Every transfer that must be
 * blocked is shown to work just before.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"

/* Window page and guest page through which the device's buffer is looked at. */
#define VIA	100

FIXTURE(dma) {
	struct ctx ctx;
};

FIXTURE_SETUP(dma)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
	table_set(ctx, VIA, guest_page_entry(VIA, RW));
	ASSERT_EQ(1, hc_sync(ctx, VIA, 1));
}

FIXTURE_TEARDOWN(dma)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

static void map(struct __test_metadata *_metadata, struct ctx *ctx, __u64 index,
		__u64 entry)
{
	table_set(ctx, index, entry);
	ASSERT_EQ(1, hc_sync(ctx, index, 1));
}

static bool writes(struct ctx *ctx, __u64 index, unsigned int page)
{
	return device_writes(ctx, page_iova(index), guest_page(ctx, page));
}

static bool reads(struct ctx *ctx, __u64 index, unsigned int page)
{
	return device_reads(ctx, page_iova(index), guest_page(ctx, page), VIA,
			    guest_page(ctx, VIA));
}

TEST_F(dma, mapped)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(reads(ctx, 0, 0));
	EXPECT_TRUE(writes(ctx, 0, 0));
}

TEST_F(dma, each_page_its_frame)
{
	struct ctx *ctx = &self->ctx;
	__u8 *mem = guest_page(ctx, 0);
	__u8 before[8 * VM_PAGE_SIZE];
	unsigned int i;

	/* In reverse, so that neighbours in the window are none in memory. */
	for (i = 0; i < 8; i++)
		table_set(ctx, 510 + i, guest_page_entry(7 - i, RW));
	ASSERT_EQ(8, hc_sync(ctx, 510, 8));
	for (i = 0; i < 8; i++) {
		memset(mem, 0x55, sizeof(before));
		memcpy(before, mem, sizeof(before));
		EXPECT_TRUE(reads(ctx, 510 + i, 7 - i));
		EXPECT_TRUE(writes(ctx, 510 + i, 7 - i));
		/* And nowhere else. */
		EXPECT_EQ(0, memcmp(mem, before, (7 - i) * VM_PAGE_SIZE));
		EXPECT_EQ(0, memcmp(mem + (8 - i) * VM_PAGE_SIZE, before,
				    i * VM_PAGE_SIZE));
	}
}

TEST_F(dma, first_and_last_page)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	map(_metadata, ctx, WINDOW_PAGES - 1, guest_page_entry(1, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	EXPECT_TRUE(writes(ctx, WINDOW_PAGES - 1, 1));
}

TEST_F(dma, outside_the_window)
{
	struct ctx *ctx = &self->ctx;
	__u8 *mem = guest_page(ctx, 1);

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	map(_metadata, ctx, WINDOW_PAGES - 1, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));

	/* Just below, just above, and where the guest's own memory is. */
	EXPECT_FALSE(device_writes(ctx, WINDOW_BASE - VM_PAGE_SIZE, mem));
	EXPECT_FALSE(device_writes(ctx, page_iova(WINDOW_PAGES), mem));
	EXPECT_FALSE(device_writes(ctx, GPA_DATA + VM_PAGE_SIZE, mem));
	EXPECT_FALSE(device_reads(ctx, GPA_DATA + VM_PAGE_SIZE, mem, VIA,
				  guest_page(ctx, VIA)));
	/* And at zero. */
	EXPECT_FALSE(device_writes(ctx, 0, mem));
	EXPECT_TRUE(writes(ctx, 0, 0));
}

TEST_F(dma, never_mapped)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 4, guest_page_entry(4, RW));
	EXPECT_TRUE(writes(ctx, 4, 4));
	EXPECT_FALSE(writes(ctx, 5, 5));
	EXPECT_FALSE(writes(ctx, 3, 3));
	EXPECT_FALSE(reads(ctx, 5, 5));
}

TEST_F(dma, not_synced)
{
	struct ctx *ctx = &self->ctx;

	table_set(ctx, 0, guest_page_entry(0, RW));
	EXPECT_FALSE(writes(ctx, 0, 0));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(writes(ctx, 0, 0));
}

TEST_F(dma, just_unmapped)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	map(_metadata, ctx, 1, guest_page_entry(1, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	map(_metadata, ctx, 0, 0);
	EXPECT_FALSE(writes(ctx, 0, 0));
	EXPECT_FALSE(reads(ctx, 0, 0));
	/* The neighbour is still there. */
	EXPECT_TRUE(writes(ctx, 1, 1));
}

TEST_F(dma, unmapped_with_the_unmap_flag)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync_flags(ctx, 0, 1, PVIOMMU_SYNC_UNMAP));
	EXPECT_FALSE(writes(ctx, 0, 0));
	/* It does not map. */
	table_set(ctx, 0, guest_page_entry(0, RW));
	ASSERT_EQ(1, hc_sync_flags(ctx, 0, 1, PVIOMMU_SYNC_UNMAP));
	EXPECT_FALSE(writes(ctx, 0, 0));
}

TEST_F(dma, unmapped_by_a_list)
{
	struct pviommu_range *ranges =
		(struct pviommu_range *)(self->ctx.vm.mem + GPA_BUFFER);
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	map(_metadata, ctx, 1, guest_page_entry(1, RW));
	map(_metadata, ctx, 1000, guest_page_entry(2, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	EXPECT_TRUE(writes(ctx, 1000, 2));
	table_set(ctx, 0, 0);
	table_set(ctx, 1000, 0);
	ranges[0] = (struct pviommu_range){ 0, 1 };
	ranges[1] = (struct pviommu_range){ 1000, 1 };
	ASSERT_EQ(2, hc_sync_list(ctx, 2, PVIOMMU_SYNC_UNMAP));
	EXPECT_FALSE(writes(ctx, 0, 0));
	EXPECT_FALSE(writes(ctx, 1000, 2));
	EXPECT_TRUE(writes(ctx, 1, 1));
}

TEST_F(dma, middle_of_a_long_run)
{
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	/* Aligned, contiguous in the host, as large as a large page. */
	ASSERT_EQ(0, madvise(guest_page(ctx, 0), 8UL << 20, MADV_HUGEPAGE));
	memset(guest_page(ctx, 0), 1, 8UL << 20);
	for (i = 0; i < 512; i++)
		table_set(ctx, 512 + i, guest_page_entry(512 + i, RW));
	ASSERT_EQ(512, hc_sync(ctx, 512, 512));
	EXPECT_TRUE(writes(ctx, 512 + 200, 512 + 200));
	map(_metadata, ctx, 512 + 200, 0);
	EXPECT_FALSE(writes(ctx, 512 + 200, 512 + 200));
	EXPECT_TRUE(writes(ctx, 512 + 199, 512 + 199));
	EXPECT_TRUE(writes(ctx, 512 + 201, 512 + 201));
	EXPECT_TRUE(writes(ctx, 512, 512));
	EXPECT_TRUE(writes(ctx, 512 + 511, 512 + 511));
}

TEST_F(dma, read_only_entry)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	map(_metadata, ctx, 0, guest_page_entry(0, PVIOMMU_ENTRY_READ));
	EXPECT_TRUE(reads(ctx, 0, 0));
	EXPECT_FALSE(writes(ctx, 0, 0));
}

TEST_F(dma, write_only_entry)
{
	struct ctx *ctx = &self->ctx;

	/* That it may be read none the less is VT-d's. */
	map(_metadata, ctx, 0, guest_page_entry(0, PVIOMMU_ENTRY_WRITE));
	EXPECT_TRUE(writes(ctx, 0, 0));
}

TEST_F(dma, another_frame)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	map(_metadata, ctx, 0, guest_page_entry(1, RW));
	EXPECT_FALSE(writes(ctx, 0, 0));
	EXPECT_TRUE(writes(ctx, 0, 1));
}

TEST_F(dma, refused_entry)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	table_set(ctx, 0, guest_page_entry(0, RW) | 8);
	ASSERT_EQ(PVIOMMU_RC_BAD_ENTRY, hc_sync(ctx, 0, 1));
	EXPECT_FALSE(writes(ctx, 0, 0));
}

TEST_F(dma, after_disable)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	EXPECT_FALSE(writes(ctx, 0, 0));
	EXPECT_EQ(ctx->pins, pins_now());
	/* Enabled again, and not yet synced. */
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	EXPECT_FALSE(writes(ctx, 0, 0));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(writes(ctx, 0, 0));
}

TEST_F(dma, after_reset)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	ASSERT_EQ(0, __reset(ctx->fd, PVIOMMU_APERTURE_ALL));
	EXPECT_FALSE(writes(ctx, 0, 0));
	EXPECT_EQ(ctx->pins, pins_now());
	ASSERT_EQ(PVIOMMU_RC_NOT_ENABLED, hc_sync(ctx, 0, 1));
}

/*
 * While it is attached and afterwards, whichever way the VMM has it.
 */
FIXTURE(attached) {
	struct ctx ctx;
};

FIXTURE_VARIANT(attached) {
	enum vfio_way way;
};

FIXTURE_VARIANT_ADD(attached, group) { .way = VFIO_BY_GROUP };
FIXTURE_VARIANT_ADD(attached, cdev) { .way = VFIO_BY_CDEV };

FIXTURE_SETUP(attached)
{
	struct ctx *ctx = &self->ctx;

	if (!vfio_use(variant->way))
		SKIP(return, "this kernel has no iommufd");
	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, setup_enabled(ctx, 0));
}

FIXTURE_TEARDOWN(attached)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(attached, before_enable)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	/* Attached anew: as at the start of the VM. */
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	EXPECT_FALSE(writes(ctx, 0, 0));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(writes(ctx, 0, 0));
}

TEST_F(attached, after_detach)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_FALSE(writes(ctx, 0, 0));
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(attached, after_close)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	close(ctx->fd);
	ctx->fd = -1;
	EXPECT_FALSE(writes(ctx, 0, 0));
	EXPECT_EQ(ctx->pins, pins_now());
}

/* The VMM's own mappings do not reach the guest's page table. */
TEST_F(attached, vfio_map_is_apart)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 1, guest_page_entry(1, RW));
	EXPECT_TRUE(writes(ctx, 1, 1));
	/* Free in one of them, taken in the other. */
	ASSERT_EQ(0, vfio_dev_map(&ctx->edu, guest_page(ctx, 2), page_iova(1),
				  2 * VM_PAGE_SIZE));
	EXPECT_FALSE(writes(ctx, 2, 3));
	EXPECT_TRUE(writes(ctx, 1, 1));
	ASSERT_EQ(0, vfio_dev_unmap(&ctx->edu, page_iova(1), 2 * VM_PAGE_SIZE));
	EXPECT_TRUE(writes(ctx, 1, 1));
}

/* Nor does what else it may do to the container that the device came from. */
TEST_F(dma, vfio_container_is_apart)
{
	struct ctx *ctx = &self->ctx;
	int group;

	map(_metadata, ctx, 1, guest_page_entry(1, RW));
	ASSERT_EQ(0, vfio_dev_map(&ctx->edu, guest_page(ctx, 2), page_iova(1),
				  2 * VM_PAGE_SIZE));
	group = vfio_group_open(other_bdf());
	ASSERT_LE(0, group);
	ASSERT_EQ(0, ioctl(group, VFIO_GROUP_SET_CONTAINER,
			   &ctx->edu.container_fd));
	EXPECT_FALSE(writes(ctx, 2, 3));
	EXPECT_TRUE(writes(ctx, 1, 1));
	ASSERT_EQ(0, vfio_dev_unmap(&ctx->edu, page_iova(1), 2 * VM_PAGE_SIZE));
	EXPECT_TRUE(writes(ctx, 1, 1));
	ASSERT_EQ(0, ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	close(group);
	EXPECT_TRUE(writes(ctx, 1, 1));
	EXPECT_EQ(-1, ioctl(ctx->edu.group_fd, VFIO_GROUP_UNSET_CONTAINER));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_TRUE(writes(ctx, 1, 1));
	EXPECT_EQ(0, stats_now(ctx).taken);
}

TEST_F(dma, one_frame_at_two_iovas)
{
	struct ctx *ctx = &self->ctx;

	map(_metadata, ctx, 0, guest_page_entry(3, RW));
	map(_metadata, ctx, 900, guest_page_entry(3, RW));
	EXPECT_TRUE(writes(ctx, 0, 3));
	EXPECT_TRUE(writes(ctx, 900, 3));
	map(_metadata, ctx, 0, 0);
	EXPECT_FALSE(writes(ctx, 0, 3));
	EXPECT_TRUE(writes(ctx, 900, 3));
}

/* Only read: what is written there would be interrupts. */
TEST_F(dma, reserved_hole)
{
	__u64 base = 0xfed00000, hole = 0xfee00000;
	__u64 index = (hole - base) / VM_PAGE_SIZE;
	struct ctx *ctx = &self->ctx;
	__u8 *mem = guest_page(ctx, 0), *via_mem = guest_page(ctx, VIA);
	__u64 via = base + VIA * VM_PAGE_SIZE;

	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, __create_aperture(ctx->fd, base,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0, NULL));
	ASSERT_EQ(0, __attach(ctx->fd, 1, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	ASSERT_EQ(0, hc_on(ctx, 1, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	ASSERT_EQ(1, hc_on(ctx, 1, PVIOMMU_OP_SYNC, VIA, 1, 0));

	table_set(ctx, index - 1, guest_page_entry(0, RW));
	table_set(ctx, index, guest_page_entry(0, RW));
	ASSERT_EQ(1, hc_on(ctx, 1, PVIOMMU_OP_SYNC, index - 1, 1, 0));
	EXPECT_TRUE(device_copies(ctx, hole - VM_PAGE_SIZE, mem, via, via_mem));
	ASSERT_EQ(PVIOMMU_RC_BAD_ENTRY,
		  hc_on(ctx, 1, PVIOMMU_OP_SYNC, index, 1, 0));
	EXPECT_FALSE(device_copies(ctx, hole, mem, via, via_mem));
	EXPECT_TRUE(device_copies(ctx, hole - VM_PAGE_SIZE, mem, via, via_mem));
}

/* What is mapped is the aperture's, not a device's. */
TEST_F(dma, other_device_is_reset)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct ctx *ctx = &self->ctx;
	struct vfio_dev other;

	ASSERT_EQ(0, vfio_dev_open(&other, other_bdf()));
	ASSERT_EQ(0, __attach(ctx->fd, 0, other.device_fd,
			      host_device(other_bdf()), GUEST_DEVFN + 8));
	map(_metadata, ctx, 0, guest_page_entry(0, RW));
	EXPECT_TRUE(writes(ctx, 0, 0));
	ASSERT_EQ(0, ioctl(other.device_fd, VFIO_DEVICE_GET_INFO, &info));
	ASSERT_TRUE(info.flags & VFIO_DEVICE_FLAGS_RESET);
	ASSERT_EQ(0, ioctl(other.device_fd, VFIO_DEVICE_RESET));
	EXPECT_TRUE(writes(ctx, 0, 0));
	map(_metadata, ctx, 0, 0);
	EXPECT_FALSE(writes(ctx, 0, 0));
	vfio_dev_close(&other);
}

TEST_HARNESS_MAIN
