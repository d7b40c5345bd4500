// SPDX-License-Identifier: GPL-2.0-only
/*
 * What can be behind a guest frame: kinds of guest RAM, memslots that change, memory
 * that goes away, and what is no RAM at all.
 */
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "ram.h"

/* Memslot 1 is the memory under test. */
#define SLOT		1
#define SLOT_GPA	0x100000000UL
#define OTHER_GPA	0x200000000UL

/* Window page and guest page through which the device's buffer is looked at. */
#define VIA		100

static __u64 slot_entry(unsigned int page, __u64 perm)
{
	return (SLOT_GPA + page * VM_PAGE_SIZE) | perm;
}

static int open_with_via(struct ctx *ctx)
{
	if (ctx_open(ctx, true) || setup_enabled(ctx, 0))
		return -1;
	table_fill(ctx, VIA, 1);
	return hc_sync(ctx, VIA, 1) == 1 ? 0 : -1;
}

/*
 * Kinds of guest RAM.
 */
FIXTURE(ram) {
	struct ctx ctx;
	struct ram ram;
};

FIXTURE_VARIANT(ram) {
	enum ram_kind kind;
	bool not_writable;	/* by a device, for as long as it likes */
};

FIXTURE_VARIANT_ADD(ram, anonymous_private) { .kind = RAM_ANON_PRIVATE };
FIXTURE_VARIANT_ADD(ram, anonymous_shared) { .kind = RAM_ANON_SHARED };
FIXTURE_VARIANT_ADD(ram, memfd) { .kind = RAM_MEMFD };
FIXTURE_VARIANT_ADD(ram, hugetlb) { .kind = RAM_HUGETLB };
FIXTURE_VARIANT_ADD(ram, tmpfs) { .kind = RAM_TMPFS };
FIXTURE_VARIANT_ADD(ram, ext4_private) { .kind = RAM_EXT4_PRIVATE };

/* Writes would get past the file system. */
FIXTURE_VARIANT_ADD(ram, ext4_shared) {
	.kind = RAM_EXT4_SHARED, .not_writable = true,
};

FIXTURE_SETUP(ram)
{
	ASSERT_EQ(0, open_with_via(&self->ctx));
	ASSERT_EQ(0, ram_alloc(&self->ram, variant->kind));
	ASSERT_EQ(0, vm_set_memslot(&self->ctx.vm, SLOT, SLOT_GPA,
				    self->ram.mem, RAM_SIZE, 0));
}

FIXTURE_TEARDOWN(ram)
{
	ctx_close_all(&self->ctx);
	ram_free(&self->ram);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

/* Touched by nobody before; by the CPU before; a run of them. */
TEST_F(ram, written_and_read)
{
	const unsigned int pages[] = { 3, 511, 0 };
	struct ctx *ctx = &self->ctx;
	long pins = pins_now();
	__u8 *mem;
	unsigned int i;

	self->ram.mem[511 * VM_PAGE_SIZE] = 1;
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		mem = self->ram.mem + pages[i] * VM_PAGE_SIZE;
		table_set(ctx, 0, slot_entry(pages[i], RW));
		if (variant->not_writable) {
			EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
			EXPECT_FALSE(device_writes(ctx, page_iova(0), mem));
			continue;
		}
		EXPECT_EQ(1, hc_sync(ctx, 0, 1));
		EXPECT_EQ(pins + 1, pins_now());
		EXPECT_TRUE(device_writes(ctx, page_iova(0), mem));
		EXPECT_TRUE(device_reads(ctx, page_iova(0), mem, VIA,
					 guest_page(ctx, VIA)));
		table_set(ctx, 0, 0);
		EXPECT_EQ(1, hc_sync(ctx, 0, 1));
		EXPECT_EQ(pins, pins_now());
		EXPECT_FALSE(device_writes(ctx, page_iova(0), mem));
	}
}

TEST_F(ram, only_read)
{
	struct ctx *ctx = &self->ctx;
	long pins = pins_now();

	table_set(ctx, 0, slot_entry(3, PVIOMMU_ENTRY_READ));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(pins + 1, pins_now());
	EXPECT_TRUE(device_reads(ctx, page_iova(0),
				 self->ram.mem + 3 * VM_PAGE_SIZE, VIA,
				 guest_page(ctx, VIA)));
	EXPECT_FALSE(device_writes(ctx, page_iova(0),
				   self->ram.mem + 3 * VM_PAGE_SIZE));
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(pins, pins_now());
}

/* All of it, then a part of it gone. */
TEST_F(ram, run)
{
	struct ctx *ctx = &self->ctx;
	long pins = pins_now();
	unsigned int i;

	for (i = 0; i < 512; i++)
		table_set(ctx, 512 + i, slot_entry(i, variant->not_writable ?
						   PVIOMMU_ENTRY_READ : RW));
	ASSERT_EQ(0, hc_sync_all(ctx, 512, 512));
	EXPECT_EQ(pins + 512, pins_now());
	table_clear(ctx, 512 + 100, 1);
	ASSERT_EQ(0, hc_sync_all(ctx, 512, 512));
	EXPECT_EQ(pins + 511, pins_now());
	for (i = 99; i < 102; i++)
		EXPECT_EQ(i != 100,
			  device_reads(ctx, page_iova(512 + i),
				       self->ram.mem + i * VM_PAGE_SIZE, VIA,
				       guest_page(ctx, VIA)));
	table_clear(ctx, 512, 512);
	ASSERT_EQ(0, hc_sync_all(ctx, 512, 512));
	EXPECT_EQ(pins, pins_now());
}

/*
 * Memslots that change while something of theirs is mapped.
 */
FIXTURE(slot) {
	struct ctx ctx;
	struct ram ram;
	__u8 *a, *b;	/* two pages */
};

FIXTURE_SETUP(slot)
{
	ASSERT_EQ(0, open_with_via(&self->ctx));
	ASSERT_EQ(0, ram_alloc(&self->ram, RAM_ANON_PRIVATE));
	self->a = self->ram.mem;
	self->b = self->ram.mem + 7 * VM_PAGE_SIZE;
	ASSERT_EQ(0, vm_set_memslot(&self->ctx.vm, SLOT, SLOT_GPA, self->a,
				    VM_PAGE_SIZE, 0));
	table_set(&self->ctx, 0, slot_entry(0, RW));
	ASSERT_EQ(1, hc_sync(&self->ctx, 0, 1));
	ASSERT_TRUE(device_writes(&self->ctx, page_iova(0), self->a));
}

FIXTURE_TEARDOWN(slot)
{
	ctx_close_all(&self->ctx);
	ram_free(&self->ram);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

static int set_slot(struct ctx *ctx, __u64 gpa, void *mem, size_t size)
{
	return vm_set_memslot(&ctx->vm, SLOT, gpa, mem, size, 0);
}

/* What is mapped stays until a sync; that follows. */
TEST_F(slot, other_memory)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, set_slot(ctx, SLOT_GPA, self->a, 0));
	ASSERT_EQ(0, set_slot(ctx, SLOT_GPA, self->b, VM_PAGE_SIZE));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->a));
	EXPECT_EQ(ctx->pins + 2, pins_now());

	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_FALSE(device_writes(ctx, page_iova(0), self->a));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->b));
	EXPECT_EQ(ctx->pins + 2, pins_now());
}

TEST_F(slot, deleted)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, set_slot(ctx, SLOT_GPA, self->a, 0));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->a));
	EXPECT_EQ(ctx->pins + 2, pins_now());
	/* A sync that only removes leaves what the table still names. */
	ASSERT_EQ(1, hc_sync_flags(ctx, 0, 1, PVIOMMU_SYNC_UNMAP));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->a));

	ASSERT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
	EXPECT_FALSE(device_writes(ctx, page_iova(0), self->a));
	EXPECT_EQ(ctx->pins + 1, pins_now());
}

TEST_F(slot, deleted_and_unmapped)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, set_slot(ctx, SLOT_GPA, self->a, 0));
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync_flags(ctx, 0, 1, PVIOMMU_SYNC_UNMAP));
	EXPECT_FALSE(device_writes(ctx, page_iova(0), self->a));
	EXPECT_EQ(ctx->pins + 1, pins_now());
}

TEST_F(slot, deleted_and_reset)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, set_slot(ctx, SLOT_GPA, self->a, 0));
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	EXPECT_FALSE(device_writes(ctx, page_iova(0), self->a));
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(slot, moved)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, set_slot(ctx, OTHER_GPA, self->a, VM_PAGE_SIZE));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->a));
	ASSERT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
	EXPECT_FALSE(device_writes(ctx, page_iova(0), self->a));
	table_set(ctx, 0, OTHER_GPA | RW);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->a));
}

/* Another memslot comes and goes: what is mapped stays, without a gap. */
TEST_F(slot, another_one_changes)
{
	struct pviommu_aperture_stats before, after;
	struct ctx *ctx = &self->ctx;

	before = stats_now(ctx);
	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, SLOT + 1, OTHER_GPA, self->b,
				    VM_PAGE_SIZE, 0));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	after = stats_now(ctx);
	EXPECT_EQ(before.unmapped, after.unmapped);
	EXPECT_EQ(before.mapped, after.mapped);
	EXPECT_EQ(before.pinned, after.pinned);
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->a));
}

/* Read-only for the guest, and so for its devices. */
TEST_F(slot, read_only)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, SLOT + 1, OTHER_GPA, self->b,
				    VM_PAGE_SIZE, KVM_MEM_READONLY));
	table_set(ctx, 0, OTHER_GPA | RW);
	EXPECT_EQ(PVIOMMU_RC_READ_ONLY, hc_sync(ctx, 0, 1));
	EXPECT_FALSE(device_writes(ctx, page_iova(0), self->b));
	table_set(ctx, 0, OTHER_GPA | PVIOMMU_ENTRY_READ);
	EXPECT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(device_reads(ctx, page_iova(0), self->b, VIA,
				 guest_page(ctx, VIA)));
	EXPECT_FALSE(device_writes(ctx, page_iova(0), self->b));
}

/* The page leaves, see moving_test.c; another comes in its place. */
TEST_F(slot, memory_discarded)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, madvise(self->a, VM_PAGE_SIZE, MADV_DONTNEED));
	EXPECT_FALSE(device_writes(ctx, page_iova(0), self->a));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->a));
	EXPECT_EQ(ctx->pins + 2, pins_now());

	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(ctx->pins + 1, pins_now());
	table_set(ctx, 0, slot_entry(0, RW));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_TRUE(device_writes(ctx, page_iova(0), self->a));
}

TEST_F(slot, memory_unmapped)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, munmap(self->a, VM_PAGE_SIZE));
	while (pinned(ctx) > 1)
		usleep(1000);
	EXPECT_EQ(ctx->pins + 1, pins_now());
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	table_set(ctx, 0, slot_entry(0, RW));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
}

/* A device's registers are no RAM: not for another device, nor for the table. */
TEST_F(slot, registers)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	struct ctx *ctx = &self->ctx;
	__u32 *regs;

	ASSERT_EQ(0, ioctl(ctx->edu.device_fd, VFIO_DEVICE_GET_REGION_INFO,
			   &info));
	regs = mmap(NULL, VM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    ctx->edu.device_fd, info.offset);
	ASSERT_NE(MAP_FAILED, regs);
	/* It is edu's. */
	ASSERT_EQ(0x010000ed, __atomic_load_n(regs, __ATOMIC_RELAXED));
	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, SLOT + 1, OTHER_GPA, regs,
				    VM_PAGE_SIZE, 0));
	table_set(ctx, 0, OTHER_GPA | RW);
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
	table_set(ctx, 0, OTHER_GPA | PVIOMMU_ENTRY_READ);
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc_sync(ctx, 0, 1));
	EXPECT_EQ(1, pinned(ctx));
	EXPECT_EQ(ctx->pins + 1, pins_now());
	munmap(regs, VM_PAGE_SIZE);
}

TEST_HARNESS_MAIN
