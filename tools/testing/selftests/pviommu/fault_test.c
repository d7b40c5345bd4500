// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA that was refused: what the VMM and the guest are told of it. A module reports
 * the faults as an IOMMU driver would: AMD's does, but not under emulation, and
 * Intel's does not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "load.h"
#include "module.h"

#define EVENTS	((struct pviommu_event *)(self->ctx.vm.mem + GPA_BUFFER))
#define NO_RAM_GPA	0x10000000000UL

FIXTURE(fault) {
	struct module module;
	struct ctx ctx;
};

FIXTURE_SETUP(fault)
{
	self->module = module_read("pviommu_test_fault");
	/* Left over by a test that was ended. */
	if (!module_loaded(&self->module))
		ASSERT_EQ(0, module_load(&self->module));
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, 0));
	memset(EVENTS, 0xaa, VM_PAGE_SIZE);
}

FIXTURE_TEARDOWN(fault)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(0, module_unload(&self->module));
	EXPECT_EQ(self->ctx.pins, pins_now());
}

static __s64 hc_events(struct ctx *ctx, __u64 nr)
{
	return hc(ctx, PVIOMMU_OP_EVENTS, GPA_BUFFER,
		  nr * sizeof(struct pviommu_event), 0);
}

/* Returns 0, or an errno if nobody wanted to know. */
static int report(const struct module *module, const char *bdf, __u64 iova,
		  char rw)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %c %llx", bdf, rw, iova);
	return module_set(module, "report", text) ? errno : 0;
}

static void fault_at(struct __test_metadata *_metadata,
		     const struct module *module, __u64 iova)
{
	ASSERT_EQ(0, report(module, edu_bdf(), iova, 'w'));
}

TEST_F(fault, write)
{
	const __u64 iova = page_iova(5) + 0x124;
	struct ctx *ctx = &self->ctx;
	struct pviommu_event event;

	EXPECT_EQ(0, stats_now(ctx).faults);
	EXPECT_EQ(0, hc_events(ctx, 4));
	fault_at(_metadata, &self->module, iova);
	EXPECT_EQ(1, stats_now(ctx).faults);
	EXPECT_EQ(iova, stats_now(ctx).fault_iova);
	ASSERT_EQ(1, hc_events(ctx, 4));
	event = EVENTS[0];
	EXPECT_EQ(iova, event.iova);
	EXPECT_EQ(0, event.segment);
	EXPECT_EQ(0, event.root_bus);
	EXPECT_EQ(1, event.depth);
	EXPECT_EQ(PVIOMMU_EVENT_WRITE, event.flags);
	EXPECT_EQ(GUEST_DEVFN, event.path[0]);
	EXPECT_EQ(0, event.path[1]);
	/* It was the only one, and is gone; the count stays. */
	EXPECT_EQ(0xaa, ((__u8 *)&EVENTS[1])[0]);
	EXPECT_EQ(0, hc_events(ctx, 4));
	EXPECT_EQ(1, stats_now(ctx).faults);
}

TEST_F(fault, read)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, report(&self->module, edu_bdf(), page_iova(9), 'r'));
	ASSERT_EQ(1, hc_events(ctx, 4));
	EXPECT_EQ(page_iova(9), EVENTS[0].iova);
	EXPECT_EQ(0, EVENTS[0].flags);
}

TEST_F(fault, logged)
{
	int kmsg = kmsg_begin();

	fault_at(_metadata, &self->module, 0x123456000);
	EXPECT_TRUE(kmsg_has(kmsg, "0x123456000"));
}

/*
 * DMA that really is refused. How much of it is told is up to the IOMMU's driver:
 * VT-d's tells nothing.
 */
TEST_F(fault, refused_dma)
{
	struct ctx *ctx = &self->ctx;
	__u64 faults;
	int kmsg;

	table_fill(ctx, 0, 1);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	ASSERT_TRUE(device_writes(ctx, page_iova(0), guest_page(ctx, 0)));
	EXPECT_EQ(0, stats_now(ctx).faults);
	ASSERT_FALSE(device_writes(ctx, page_iova(1), guest_page(ctx, 1)));
	faults = stats_now(ctx).faults;
	if (!faults)
		EXPECT_EQ(0, hc_events(ctx, 64));
	if (!access("/sys/class/iommu/dmar0", F_OK)) {
		EXPECT_EQ(0, faults);
		/* To the log it does tell, some of it. */
		do {
			kmsg = kmsg_begin();
			device_writes(ctx, page_iova(1), guest_page(ctx, 1));
		} while (!kmsg_has(kmsg, "DMAR: [DMA Write"));
	}
}

/* Announced, so that a guest can know. */
TEST_F(fault, announced)
{
	struct pviommu_probe_info *info =
		(struct pviommu_probe_info *)(self->ctx.vm.mem + GPA_BUFFER);

	ASSERT_LT(0, hc(&self->ctx, PVIOMMU_OP_PROBE, GPA_BUFFER, sizeof(*info),
			0));
	EXPECT_TRUE(info->features & PVIOMMU_FEATURE_EVENTS);
}

/* A device that is in no aperture is nobody's. */
TEST_F(fault, other_device)
{
	struct ctx *ctx = &self->ctx;

	EXPECT_NE(0, report(&self->module, other_bdf(), page_iova(0), 'w'));
	EXPECT_EQ(0, stats_now(ctx).faults);
	EXPECT_EQ(0, hc_events(ctx, 4));
}

/* The oldest first, as many as there is room for. */
TEST_F(fault, small_buffers)
{
	struct ctx *ctx = &self->ctx;
	unsigned int i;

	for (i = 0; i < 4; i++)
		fault_at(_metadata, &self->module, page_iova(i));
	EXPECT_EQ(0, hc(ctx, PVIOMMU_OP_EVENTS, GPA_BUFFER, 0, 0));
	/* Not for half of one. */
	EXPECT_EQ(0, hc(ctx, PVIOMMU_OP_EVENTS, GPA_BUFFER,
			sizeof(struct pviommu_event) - 1, 0));
	EXPECT_EQ(0xaa, ((__u8 *)EVENTS)[0]);
	ASSERT_EQ(1, hc(ctx, PVIOMMU_OP_EVENTS, GPA_BUFFER,
			2 * sizeof(struct pviommu_event) - 1, 0));
	EXPECT_EQ(page_iova(0), EVENTS[0].iova);
	EXPECT_EQ(0xaa, ((__u8 *)&EVENTS[1])[0]);
	ASSERT_EQ(2, hc_events(ctx, 2));
	EXPECT_EQ(page_iova(1), EVENTS[0].iova);
	EXPECT_EQ(page_iova(2), EVENTS[1].iova);
	ASSERT_EQ(1, hc_events(ctx, 1UL << 40));
	EXPECT_EQ(page_iova(3), EVENTS[0].iova);
	EXPECT_EQ(0, hc_events(ctx, 64));
}

TEST_F(fault, bad_operands)
{
	const __u64 len = 4 * sizeof(struct pviommu_event);
	struct ctx *ctx = &self->ctx;

	fault_at(_metadata, &self->module, page_iova(0));
	EXPECT_EQ(PVIOMMU_RC_BAD_ARG,
		  hc(ctx, PVIOMMU_OP_EVENTS, GPA_BUFFER, len, 1));
	EXPECT_EQ(PVIOMMU_RC_NO_APERTURE,
		  hc_on(ctx, 1, PVIOMMU_OP_EVENTS, GPA_BUFFER, len, 0));
	/* Nothing is lost when it cannot be written. */
	EXPECT_EQ(PVIOMMU_RC_NO_RAM,
		  hc(ctx, PVIOMMU_OP_EVENTS, NO_RAM_GPA, len, 0));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM,
		  hc(ctx, PVIOMMU_OP_EVENTS, VM_MEM_SIZE - 8, len, 0));
	EXPECT_EQ(PVIOMMU_RC_NO_RAM, hc(ctx, PVIOMMU_OP_EVENTS, -8UL, len, 0));
	EXPECT_EQ(1, hc_events(ctx, 4));
}

/* 64 are kept: when there are more the oldest go, and the next one says so. */
TEST_F(fault, overflow)
{
	unsigned int i, nr = PVIOMMU_MAX_EVENTS;
	struct ctx *ctx = &self->ctx;

	for (i = 0; i < nr; i++)
		fault_at(_metadata, &self->module, page_iova(i));
	fault_at(_metadata, &self->module, page_iova(i++));
	fault_at(_metadata, &self->module, page_iova(i));
	EXPECT_EQ(nr + 2, stats_now(ctx).faults);
	ASSERT_EQ(nr, hc_events(ctx, nr + 10));
	EXPECT_EQ(PVIOMMU_EVENT_WRITE | PVIOMMU_EVENT_OVERFLOW, EVENTS[0].flags);
	for (i = 0; i < nr; i++) {
		EXPECT_EQ(page_iova(2 + i), EVENTS[i].iova);
		if (i)
			EXPECT_EQ(PVIOMMU_EVENT_WRITE, EVENTS[i].flags);
	}
	/* Said once. */
	fault_at(_metadata, &self->module, page_iova(0));
	ASSERT_EQ(1, hc_events(ctx, nr));
	EXPECT_EQ(PVIOMMU_EVENT_WRITE, EVENTS[0].flags);
}

/* A device that is blocked since nobody has enabled the aperture. */
TEST_F(fault, not_enabled)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	fault_at(_metadata, &self->module, page_iova(0));
	EXPECT_EQ(1, hc_events(ctx, 4));

	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			      GUEST_DEVFN));
	fault_at(_metadata, &self->module, page_iova(1));
	EXPECT_EQ(1, hc_events(ctx, 4));
}

/* What nobody has read goes with the guest that caused it, or with the device. */
TEST_F(fault, reset_forgets)
{
	struct ctx *ctx = &self->ctx;

	fault_at(_metadata, &self->module, page_iova(0));
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	EXPECT_EQ(0, hc_events(ctx, 4));
	EXPECT_EQ(1, stats_now(ctx).faults);
	fault_at(_metadata, &self->module, page_iova(0));
	EXPECT_EQ(1, hc_events(ctx, 4));
}

TEST_F(fault, detach_forgets)
{
	struct ctx *ctx = &self->ctx;

	fault_at(_metadata, &self->module, page_iova(0));
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(0, hc_events(ctx, 4));
	/* The aperture's domain is gone, and with it who would be told. */
	EXPECT_NE(0, report(&self->module, edu_bdf(), page_iova(0), 'w'));
	EXPECT_EQ(1, stats_now(ctx).faults);
}

/* Each aperture has its own; the endpoint is told as it was attached. */
TEST_F(fault, several_apertures)
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
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0,
				       &cmd.aperture_id));
	ASSERT_EQ(0, ioctl(ctx->fd, PVIOMMU_ATTACH, &cmd));
	fault_at(_metadata, &self->module, page_iova(0));
	EXPECT_EQ(0, stats_now(ctx).faults);
	EXPECT_EQ(0, hc_events(ctx, 4));
	ASSERT_EQ(0, __stats(ctx->fd, 1, &stats));
	EXPECT_EQ(1, stats.faults);
	ASSERT_EQ(1, hc_on(ctx, 1, PVIOMMU_OP_EVENTS, GPA_BUFFER, 256, 0));
	EXPECT_EQ(0x10000, EVENTS[0].segment);
	EXPECT_EQ(0x40, EVENTS[0].root_bus);
	EXPECT_EQ(3, EVENTS[0].depth);
	EXPECT_EQ(0, memcmp(cmd.guest.path, EVENTS[0].path, 8));
}

/* Faults are reported from interrupts, whatever else goes on. */
struct reporter {
	const struct module *module;
	atomic_ulong reported, refused;
	atomic_bool stop;
	pthread_t thread;
};

static void *reporter_thread(void *data)
{
	struct reporter *reporter = data;

	while (!atomic_load(&reporter->stop)) {
		if (report(reporter->module, edu_bdf(), page_iova(0), 'w'))
			atomic_fetch_add(&reporter->refused, 1);
		else
			atomic_fetch_add(&reporter->reported, 1);
	}
	return NULL;
}

TEST_F(fault, while_devices_come_and_go)
{
	struct reporter reporter = { .module = &self->module };
	struct ctx *ctx = &self->ctx;
	struct vfio_dev other;
	unsigned long before;
	int i;

	/* It keeps the IOMMU domain, which the reporter must not find freed. */
	ASSERT_EQ(0, vfio_dev_open(&other, other_bdf()));
	ASSERT_EQ(0, __attach(ctx->fd, 0, other.device_fd,
			      host_device(other_bdf()), GUEST_DEVFN + 8));
	ASSERT_EQ(0, pthread_create(&reporter.thread, NULL, reporter_thread,
				    &reporter));
	for (i = 0; i < test_rounds(200); i++) {
		before = reporter.reported;
		while (i % 10 == 0 && reporter.reported == before)
			usleep(100);
		ASSERT_LE(0, hc_events(ctx, 8));
		ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
		before = reporter.refused;
		while (i % 10 == 0 && reporter.refused == before)
			usleep(100);
		ASSERT_EQ(0, __attach(ctx->fd, 0, ctx->edu.device_fd,
				      ctx->edu_host, GUEST_DEVFN));
	}
	atomic_store(&reporter.stop, true);
	pthread_join(reporter.thread, NULL);
	/* None is lost, and none is counted that was not reported. */
	EXPECT_EQ(reporter.reported, stats_now(ctx).faults);
	vfio_dev_close(&other);
}

TEST_HARNESS_MAIN
