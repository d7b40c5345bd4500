// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest ABI: every operation with good and bad operands; sync_test has SYNC.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "harness.h"

#include "aperture.h"

#define NO_RAM_GPA	0x10000000000UL
#define KVM_ENOSYS_RC	(-1000)

/*
 * Without a device.
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

TEST_F(plain, vm_without_pviommu)
{
	EXPECT_EQ(KVM_ENOSYS_RC,
		  hc(&self->ctx, PVIOMMU_OP_PROBE, GPA_BUFFER, 64, 0));
}

TEST_F(plain, other_numbers_are_kvms)
{
	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	EXPECT_EQ(KVM_ENOSYS_RC,
		  vm_hypercall(&self->ctx.vm, KVM_HC_PVIOMMU + 1, 0, 0, 0, 0));
	EXPECT_EQ(KVM_ENOSYS_RC,
		  vm_hypercall(&self->ctx.vm, KVM_HC_PVIOMMU | 1UL << 32,
			       0, 0, 0, 0));
	/* KVM_HC_VAPIC_POLL_IRQ is answered with 0. */
	EXPECT_EQ(0, vm_hypercall(&self->ctx.vm, 1, 0, 0, 0, 0));
}

TEST_F(plain, probe)
{
	struct pviommu_probe_info *info =
		(struct pviommu_probe_info *)(self->ctx.vm.mem + GPA_BUFFER);

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	ASSERT_EQ(sizeof(*info), hc(&self->ctx, PVIOMMU_OP_PROBE, GPA_BUFFER,
				    VM_PAGE_SIZE, 0));
	EXPECT_EQ(PVIOMMU_ABI_VERSION, info->version);
	EXPECT_EQ(0, info->nr_apertures);
	EXPECT_TRUE(info->features & PVIOMMU_FEATURE_SYNC_LIST);
	EXPECT_LE(1, info->sync_max_pages);
	EXPECT_LE(1, info->sync_max_ranges);

	ASSERT_EQ(0, __create_aperture(self->ctx.fd, 4096, 4096, 0, NULL));
	ASSERT_EQ(sizeof(*info), hc(&self->ctx, PVIOMMU_OP_PROBE, GPA_BUFFER,
				    sizeof(*info), 0));
	EXPECT_EQ(1, info->nr_apertures);
}

TEST_F(plain, probe_buffer)
{
	__u8 *buffer = self->ctx.vm.mem + GPA_BUFFER;
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	memset(buffer, 0xaa, 64);
	EXPECT_EQ(sizeof(struct pviommu_probe_info),
		  hc(ctx, PVIOMMU_OP_PROBE, GPA_BUFFER, 0, 0));
	EXPECT_EQ(0xaa, buffer[0]);
	EXPECT_EQ(sizeof(struct pviommu_probe_info),
		  hc(ctx, PVIOMMU_OP_PROBE, GPA_BUFFER, 4, 0));
	EXPECT_EQ(PVIOMMU_ABI_VERSION, buffer[0]);
	EXPECT_EQ(0xaa, buffer[4]);

	EXPECT_EQ(PVIOMMU_RC_NO_RAM,
		  hc(ctx, PVIOMMU_OP_PROBE, NO_RAM_GPA, 64, 0));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM,
		  hc(ctx, PVIOMMU_OP_PROBE, VM_MEM_SIZE - 8, 64, 0));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc(ctx, PVIOMMU_OP_PROBE, -8UL, 64, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_PROBE, GPA_BUFFER, 64, 1));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc_on(ctx, 1, PVIOMMU_OP_PROBE, GPA_BUFFER, 64, 0));
}

TEST_F(plain, no_such_aperture)
{
	__u32 op;

	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	for (op = PVIOMMU_OP_APERTURE; op <= PVIOMMU_OP_EVENTS; op++) {
		EXPECT_EQ(PVIOMMU_RC_NO_APERTURE, hc(&self->ctx, op, 0, 0, 0));
		EXPECT_EQ(PVIOMMU_RC_NO_APERTURE,
			  hc_on(&self->ctx, 0xffffffff, op, 0, 0, 0));
	}
}

TEST_F(plain, no_such_operation)
{
	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	EXPECT_EQ(PVIOMMU_RC_BAD_OP, hc(&self->ctx, 8, 0, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_OP, hc(&self->ctx, 0xffffffff, 0, 0, 0));
	ASSERT_EQ(0, __create_aperture(self->ctx.fd, 4096, 4096, 0, NULL));
	EXPECT_EQ(PVIOMMU_RC_BAD_OP, hc(&self->ctx, 8, 0, 0, 0));
}

TEST_F(plain, aperture)
{
	struct pviommu_aperture_info *info =
		(struct pviommu_aperture_info *)(self->ctx.vm.mem + GPA_BUFFER);
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE, 1UL << 20, 7,
				       NULL));
	ASSERT_EQ(sizeof(*info), hc(ctx, PVIOMMU_OP_APERTURE, GPA_BUFFER,
				    VM_PAGE_SIZE, 0));
	EXPECT_EQ(WINDOW_BASE, info->base);
	EXPECT_EQ(1UL << 20, info->length);
	EXPECT_EQ(7, info->budget);
	EXPECT_EQ(0, info->flags);
	EXPECT_EQ(0, info->nr_holes);

	EXPECT_EQ(PVIOMMU_RC_NO_RAM,
		  hc(ctx, PVIOMMU_OP_APERTURE, NO_RAM_GPA, 64, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_APERTURE, GPA_BUFFER, 64, 1));
}

TEST_F(plain, enable_without_a_device)
{
	ASSERT_EQ(0, __bind(self->ctx.fd, self->ctx.vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(self->ctx.fd, 4096, 4096, 0, NULL));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc(&self->ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED,
		  hc(&self->ctx, PVIOMMU_OP_SYNC, 0, 1, 0));
}

/*
 * With a device.
 */
FIXTURE(attached) {
	struct ctx ctx;
};

FIXTURE_SETUP(attached)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_attached(&self->ctx, 0));
	table_init(&self->ctx);
}

FIXTURE_TEARDOWN(attached)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

TEST_F(attached, endpoint)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(0, hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN + 1));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 1, 0, 1, GUEST_DEVFN));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0, 1, 1, GUEST_DEVFN));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0, 0, 2, GUEST_DEVFN));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0, 0, 8, 0x0807060504030201));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_endpoint(ctx, 0, 0, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc_endpoint(ctx, 0, 0, 9, GUEST_DEVFN));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN | 0x100));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_ENDPOINT, 1UL << 48 | 1UL << 40,
		     GUEST_DEVFN, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_ENDPOINT, 1UL << 40, GUEST_DEVFN, 1));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc_on(ctx, 1, PVIOMMU_OP_ENDPOINT, 1UL << 40, GUEST_DEVFN, 0));
}

TEST_F(attached, endpoint_behind_bridges)
{
	struct pviommu_attach cmd = {
		.size = sizeof(cmd),
		.vfio_fd = self->ctx.edu.device_fd,
		.host = self->ctx.edu_host,
		.guest = {
			.segment = 0x10000, .root_bus = 0x40, .depth = 3,
			.path = { 0x10, 0x20, 0x08 },
		},
	};
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
	ASSERT_EQ(0, ioctl(ctx->fd, PVIOMMU_ATTACH, &cmd));
	EXPECT_EQ(0, hc_endpoint(ctx, 0x10000, 0x40, 3, 0x082010));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0x10000, 0x40, 2, 0x2010));
}

TEST_F(attached, enable)
{
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED, hc_sync(ctx, 0, 1));
	EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED, hc_sync_list(ctx, 1, 0));
	EXPECT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(1, stats.enabled);
	EXPECT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(0, stats.enabled);
	EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED, hc_sync(ctx, 0, 1));
	EXPECT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
}

TEST_F(attached, enable_bad)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE,
		  hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY + 8, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE,
		  hc(ctx, PVIOMMU_OP_ENABLE, NO_RAM_GPA, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE,
		  hc(ctx, PVIOMMU_OP_ENABLE, -4096UL, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE,
		  hc(ctx, PVIOMMU_OP_ENABLE, VM_MEM_SIZE, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 2, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 1));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc(ctx, PVIOMMU_OP_DISABLE, 1, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc(ctx, PVIOMMU_OP_DISABLE, 0, 1, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 1));
}

TEST_F(attached, failed_enable_changes_nothing)
{
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	table_set(ctx, 0, guest_page_entry(0, RW));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE,
		  hc(ctx, PVIOMMU_OP_ENABLE, NO_RAM_GPA, 0, 0));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(1, stats.enabled);
	EXPECT_EQ(1, stats.pinned);
}

TEST_F(attached, enable_drops_what_was_there)
{
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	table_set(ctx, 0, guest_page_entry(0, RW));
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	/* The same table. */
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(0, stats.pinned);
}

TEST_F(attached, directory_in_read_only_memory)
{
	struct ctx *ctx = &self->ctx;
	void *mem = mmap(NULL, VM_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32, mem, VM_PAGE_SIZE,
				    KVM_MEM_READONLY));
	EXPECT_EQ(PVIOMMU_RC_BAD_TABLE,
		  hc(ctx, PVIOMMU_OP_ENABLE, 1UL << 32, 0, 0));
}

TEST_F(attached, msi_is_a_hole)
{
	struct pviommu_aperture_info *info =
		(struct pviommu_aperture_info *)(self->ctx.vm.mem + GPA_BUFFER);
	struct ctx *ctx = &self->ctx;
	__u64 base = 0xfed00000, first = (0xfee00000 - base) / VM_PAGE_SIZE;
	size_t len = sizeof(*info) + sizeof(struct pviommu_hole);

	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, __create_aperture(ctx->fd, base,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0, NULL));
	ASSERT_EQ(0, __attach(ctx->fd, 1, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	/* The length of all, however small the buffer. */
	EXPECT_EQ(len, hc_on(ctx, 1, PVIOMMU_OP_APERTURE, GPA_BUFFER, 0, 0));
	ASSERT_EQ(len, hc_on(ctx, 1, PVIOMMU_OP_APERTURE, GPA_BUFFER,
			     VM_PAGE_SIZE, 0));
	ASSERT_EQ(1, info->nr_holes);
	EXPECT_EQ(0xfee00000, info->holes[0].base);
	EXPECT_EQ(0x100000, info->holes[0].length);

	ASSERT_EQ(0, hc_on(ctx, 1, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	table_set(ctx, first - 1, guest_page_entry(0, RW));
	table_set(ctx, first, guest_page_entry(1, RW));
	table_set(ctx, first + 255, guest_page_entry(2, RW));
	table_set(ctx, first + 256, guest_page_entry(3, RW));
	EXPECT_EQ(1, hc_on(ctx, 1, PVIOMMU_OP_SYNC, first - 1, 258, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ENTRY,
		  hc_on(ctx, 1, PVIOMMU_OP_SYNC, first, 1, 0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ENTRY,
		  hc_on(ctx, 1, PVIOMMU_OP_SYNC, first + 255, 2, 0));
	EXPECT_EQ(1, hc_on(ctx, 1, PVIOMMU_OP_SYNC, first + 256, 1, 0));
}

TEST_HARNESS_MAIN
