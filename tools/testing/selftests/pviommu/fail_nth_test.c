// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens when the host runs out of memory, or cannot reach the VMM's, at any
 * point: each operation is run with a fault at its first allocation, its second, and
 * so on until it gets through. It fails with an error that is documented, or not at
 * all; nothing stays pinned or charged; the device reaches no more than it was told;
 * and without a fault the same operation succeeds right after.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "fail_nth.h"
#include "iommufd.h"
#include "module.h"

/* Window page and guest page that are mapped before, and not asked to go. */
#define KEPT	2000

/* Guest pages that are brought in when they are pinned. */
#define FRESH_PAGES	1024

/* What may be charged in advance. */
#define SLACK	64

/* Died (D), warned (W). */
#define TAINT	0x280UL

static unsigned long taint(void)
{
	FILE *file = fopen("/proc/sys/kernel/tainted", "r");
	unsigned long bits = ~0UL;

	if (!file || fscanf(file, "%lu", &bits) != 1)
		perror("tainted");
	if (file)
		fclose(file);
	return bits & TAINT;
}

/* Before the first test. */
static unsigned long tainted;

static __attribute__((constructor)) void setup_once(void)
{
	tainted = taint();
	fail_nth_setup();
}

/* So many pages are pinned for the device, and as many charged. */
static void check_pins(struct __test_metadata *_metadata, struct ctx *ctx,
		       __u64 expected)
{
	struct pviommu_aperture_stats stats = stats_now(ctx);

	EXPECT_EQ(expected, stats.pinned);
	EXPECT_EQ(ctx->pins + expected, pins_now());
	EXPECT_EQ(stats.charged * 4, locked_kib());
	EXPECT_LE(expected, stats.charged);
	EXPECT_GE(expected + SLACK, stats.charged);
}

static bool reached(struct ctx *ctx, __u64 index, unsigned int page)
{
	return device_writes(ctx, page_iova(index), guest_page(ctx, page));
}

static void report(struct __test_metadata *_metadata, const struct sweep *sweep,
		   bool allocates)
{
	TH_LOG("%u faults, %u refusals", sweep->injected, sweep->refused);
	if (allocates)
		EXPECT_LT(0, sweep->refused);
}

/* Did an ioctl or a hypercall fail? */
static bool refused(struct sweep *sweep, __s64 result)
{
	if (result < 0)
		sweep->refused++;
	return result < 0;
}

/*
 * As hc(), with a fault. It may hit KVM on its way to the hypercall or back: then the
 * vCPU is sent on without. KVM may have to read the instruction in order to skip it;
 * when that fails the call has been made, and must not be made again.
 */
static __s64 hc_failing(struct ctx *ctx, struct sweep *sweep, __u32 op, __u64 rcx,
			__u64 rdx, __u64 rsi)
{
	const struct vm_args args = { KVM_HC_PVIOMMU, op, rcx, rdx, rsi };
	struct vcpu *vcpu = &ctx->vm.vcpu;
	unsigned int tries = 0;
	struct kvm_regs regs;
	int ret;

	if (vcpu_set_args(vcpu, VM_CODE, 0, &args)) {
		perror("vCPU");
		_exit(1);
	}
	vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
	sweep_arm(sweep);
	ret = ioctl(vcpu->fd, KVM_RUN, 0);
	sweep_disarm(sweep);
	while (ret || (vcpu->run->exit_reason != KVM_EXIT_HLT &&
		       vcpu->run->exit_reason != KVM_EXIT_INTERNAL_ERROR)) {
		if (++tries > 3) {
			fprintf(stderr, "vCPU: exit reason %u, errno %d\n",
				vcpu->run->exit_reason, errno);
			_exit(1);
		}
		ret = ioctl(vcpu->fd, KVM_RUN, 0);
	}
	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs)) {
		perror("vCPU");
		_exit(1);
	}
	return regs.rax;
}

/* Guest pages that are not in memory, as @advice says whether huge. */
static int fresh_pages(struct ctx *ctx, int advice)
{
	__u8 *mem = guest_page(ctx, 0);
	size_t size = FRESH_PAGES * VM_PAGE_SIZE;

	return madvise(mem, size, advice) ?: madvise(mem, size, MADV_DONTNEED);
}

static int open_anew(struct ctx *ctx)
{
	if (ctx->fd >= 0)
		close(ctx->fd);
	ctx->fd = open("/dev/pviommu", O_RDWR | O_CLOEXEC);
	return ctx->fd < 0 ? -1 : 0;
}

static int attach_edu(struct ctx *ctx, __u32 flags)
{
	struct pviommu_attach cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.vfio_fd = ctx->edu.device_fd,
		.host = ctx->edu_host,
		.guest = { .depth = 1, .path = { GUEST_DEVFN } },
	};

	return ioctl(ctx->fd, PVIOMMU_ATTACH, &cmd);
}

/* An attached device's guest enables its aperture and maps a page. */
static void enable_and_map(struct __test_metadata *_metadata, struct ctx *ctx)
{
	table_init(ctx);
	table_set(ctx, KEPT, guest_page_entry(KEPT, RW));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0));
	ASSERT_EQ(1, hc_sync(ctx, KEPT, 1));
}

/* The same with an IOMMU domain and a shadow that are new. */
static void attach_anew(struct __test_metadata *_metadata, struct ctx *ctx)
{
	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	ASSERT_EQ(0, attach_edu(ctx, 0));
	enable_and_map(_metadata, ctx);
}

/* Attached, enabled, with a page mapped. */
static void start(struct __test_metadata *_metadata, struct ctx *ctx)
{
	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, setup_attached(ctx, 0));
	enable_and_map(_metadata, ctx);
}

static void end(struct __test_metadata *_metadata, struct ctx *ctx)
{
	ctx_close_all(ctx);
	EXPECT_EQ(ctx->pins, pins_now());
	EXPECT_EQ(0, locked_kib());
	EXPECT_EQ(tainted, taint());
}

/*
 * Operations that need no memory, or can do without.
 */
FIXTURE(access) {
	struct ctx ctx;
	struct sweep sweep;
};

FIXTURE_SETUP(access)
{
	if (fail_nth_missing())
		SKIP(return, "%s", fail_nth_missing());
	self->sweep = (struct sweep){};
	start(_metadata, &self->ctx);
}

FIXTURE_TEARDOWN(access)
{
	end(_metadata, &self->ctx);
}

TEST_F(access, close)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;

	while (sweep_next(sweep)) {
		ASSERT_EQ(0, open_anew(ctx));
		ASSERT_EQ(0, setup_attached(ctx, 0));
		enable_and_map(_metadata, ctx);
		table_fill(ctx, 0, 40);
		ASSERT_EQ(40, hc_sync(ctx, 0, 40));

		sweep_arm(sweep);
		EXPECT_EQ(0, close(ctx->fd));
		sweep_disarm(sweep);
		ctx->fd = -1;
		EXPECT_EQ(ctx->pins, pins_now());
		EXPECT_EQ(0, locked_kib());
		EXPECT_FALSE(reached(ctx, KEPT, KEPT));
	}
	report(_metadata, sweep, false);
}

TEST_F(access, info)
{
	struct pviommu_info cmd = { .size = sizeof(cmd) };
	struct sweep *sweep = &self->sweep;
	int ret;

	while (sweep_next(sweep)) {
		sweep_arm(sweep);
		ret = ioctl(self->ctx.fd, PVIOMMU_INFO, &cmd);
		sweep_disarm(sweep);
		if (refused(sweep, ret))
			EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(0, ioctl(self->ctx.fd, PVIOMMU_INFO, &cmd));
	}
	report(_metadata, sweep, true);
}

TEST_F(access, bind_vm)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	int ret;

	while (sweep_next(sweep)) {
		ASSERT_EQ(0, open_anew(ctx));
		sweep_arm(sweep);
		ret = __bind(ctx->fd, ctx->vm.vm_fd);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_EQ(EFAULT, errno);
			ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
		}
		EXPECT_LT(0, hc(ctx, PVIOMMU_OP_PROBE, GPA_BUFFER, 64, 0));
	}
	report(_metadata, sweep, true);
}

TEST_F(access, detach)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	int ret;

	while (sweep_next(sweep)) {
		sweep_arm(sweep);
		ret = __detach(ctx->fd, 0, ctx->edu_host);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_EQ(EFAULT, errno);
			check_pins(_metadata, ctx, 1);
			EXPECT_TRUE(reached(ctx, KEPT, KEPT));
			ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
		}
		check_pins(_metadata, ctx, 0);
		EXPECT_FALSE(reached(ctx, KEPT, KEPT));
		ASSERT_EQ(0, attach_edu(ctx, 0));
		enable_and_map(_metadata, ctx);
	}
	report(_metadata, sweep, true);
}

TEST_F(access, reset)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	int ret;

	while (sweep_next(sweep)) {
		sweep_arm(sweep);
		ret = __reset(ctx->fd, PVIOMMU_APERTURE_ALL);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_EQ(EFAULT, errno);
			check_pins(_metadata, ctx, 1);
			EXPECT_TRUE(reached(ctx, KEPT, KEPT));
			ASSERT_EQ(0, __reset(ctx->fd, 0));
		}
		check_pins(_metadata, ctx, 0);
		EXPECT_FALSE(reached(ctx, KEPT, KEPT));
		enable_and_map(_metadata, ctx);
	}
	report(_metadata, sweep, true);
}

TEST_F(access, stats)
{
	struct pviommu_aperture_stats stats;
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	int ret;

	while (sweep_next(sweep)) {
		sweep_arm(sweep);
		ret = __stats(ctx->fd, 0, &stats);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_EQ(EFAULT, errno);
			ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
		}
		EXPECT_EQ(1, stats.pinned);
		check_pins(_metadata, ctx, 1);
	}
	report(_metadata, sweep, true);
}

TEST_F(access, mark_dirty)
{
	struct pviommu_mark_dirty cmd = {
		.size = sizeof(cmd), .aperture_id = PVIOMMU_APERTURE_ALL,
	};
	struct sweep *sweep = &self->sweep;
	int ret;

	while (sweep_next(sweep)) {
		sweep_arm(sweep);
		ret = ioctl(self->ctx.fd, PVIOMMU_MARK_DIRTY, &cmd);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_EQ(EFAULT, errno);
			ASSERT_EQ(0, ioctl(self->ctx.fd, PVIOMMU_MARK_DIRTY,
					   &cmd));
		}
		EXPECT_EQ(1, cmd.out_pages);
		EXPECT_EQ(0, cmd.out_lost);
	}
	report(_metadata, sweep, true);
}

static void answer(struct __test_metadata *_metadata, struct ctx *ctx,
		   struct sweep *sweep, __u32 op, size_t len)
{
	__s64 rc;

	while (sweep_next(sweep)) {
		rc = hc_failing(ctx, sweep, op, GPA_BUFFER, 64, 0);
		if (refused(sweep, rc)) {
			EXPECT_EQ(PVIOMMU_RC_NO_RAM, rc);
			rc = hc(ctx, op, GPA_BUFFER, 64, 0);
		}
		EXPECT_EQ(len, rc);
	}
	report(_metadata, sweep, true);
}

TEST_F(access, probe)
{
	answer(_metadata, &self->ctx, &self->sweep, PVIOMMU_OP_PROBE,
	       sizeof(struct pviommu_probe_info));
}

TEST_F(access, aperture)
{
	answer(_metadata, &self->ctx, &self->sweep, PVIOMMU_OP_APERTURE,
	       sizeof(struct pviommu_aperture_info));
}

TEST_F(access, endpoint)
{
	struct sweep *sweep = &self->sweep;
	const __u64 at = 1UL << PVIOMMU_PATH_DEPTH_SHIFT;

	while (sweep_next(sweep))
		EXPECT_EQ(0, hc_failing(&self->ctx, sweep, PVIOMMU_OP_ENDPOINT,
					at, GUEST_DEVFN, 0));
	report(_metadata, sweep, false);
}

TEST_F(access, enable)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;

	while (sweep_next(sweep)) {
		EXPECT_EQ(0, hc_failing(ctx, sweep, PVIOMMU_OP_ENABLE,
					GPA_DIRECTORY, 0, 0));
		check_pins(_metadata, ctx, 0);
		EXPECT_FALSE(reached(ctx, KEPT, KEPT));
		ASSERT_EQ(1, hc_sync(ctx, KEPT, 1));
		EXPECT_TRUE(reached(ctx, KEPT, KEPT));
	}
	report(_metadata, sweep, false);
}

TEST_F(access, disable)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;

	while (sweep_next(sweep)) {
		EXPECT_EQ(0, hc_failing(ctx, sweep, PVIOMMU_OP_DISABLE, 0, 0, 0));
		check_pins(_metadata, ctx, 0);
		EXPECT_FALSE(reached(ctx, KEPT, KEPT));
		enable_and_map(_metadata, ctx);
	}
	report(_metadata, sweep, false);
}

TEST_F(access, sync_unmap)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;

	while (sweep_next(sweep)) {
		table_fill(ctx, 508, 8);
		ASSERT_EQ(8, hc_sync(ctx, 508, 8));
		EXPECT_TRUE(reached(ctx, 512, 512));
		table_clear(ctx, 508, 8);
		/* Never fails. */
		EXPECT_EQ(8, hc_failing(ctx, sweep, PVIOMMU_OP_SYNC, 508, 8,
					PVIOMMU_SYNC_UNMAP));
		check_pins(_metadata, ctx, 1);
		EXPECT_FALSE(reached(ctx, 512, 512));
		EXPECT_TRUE(reached(ctx, KEPT, KEPT));
	}
	report(_metadata, sweep, false);
}

/*
 * Operations that allocate.
 */
FIXTURE(alloc) {
	struct ctx ctx;
	struct sweep sweep;
};

FIXTURE_VARIANT(alloc) {
	bool persistent;
};

FIXTURE_VARIANT_ADD(alloc, once) { .persistent = false };
FIXTURE_VARIANT_ADD(alloc, persistent) { .persistent = true };

FIXTURE_SETUP(alloc)
{
	if (fail_nth_missing())
		SKIP(return, "%s", fail_nth_missing());
	self->sweep = (struct sweep){ .persistent = variant->persistent };
	start(_metadata, &self->ctx);
}

FIXTURE_TEARDOWN(alloc)
{
	end(_metadata, &self->ctx);
}

TEST_F(alloc, open)
{
	struct sweep *sweep = &self->sweep;
	int fd;

	while (sweep_next(sweep)) {
		sweep_arm(sweep);
		fd = open("/dev/pviommu", O_RDWR | O_CLOEXEC);
		sweep_disarm(sweep);
		if (refused(sweep, fd)) {
			EXPECT_TRUE(ONE_OF(errno, ENOMEM, EFAULT));
			fd = open("/dev/pviommu", O_RDWR | O_CLOEXEC);
		}
		ASSERT_LE(0, fd);
		close(fd);
	}
	report(_metadata, sweep, true);
}

TEST_F(alloc, create_aperture)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	__u32 id;
	int ret;

	while (sweep_next(sweep)) {
		ASSERT_EQ(0, open_anew(ctx));
		ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
		sweep_arm(sweep);
		ret = __create_aperture(ctx->fd, WINDOW_BASE,
					WINDOW_PAGES * VM_PAGE_SIZE, 0, &id);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_TRUE(ONE_OF(errno, ENOMEM, EFAULT));
			/* With EFAULT there may be one. */
			ret = __create_aperture(ctx->fd, WINDOW_BASE,
						WINDOW_PAGES * VM_PAGE_SIZE, 0,
						&id);
			EXPECT_GE(errno == EFAULT, id);
		} else {
			EXPECT_EQ(0, id);
		}
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, __attach(ctx->fd, id, ctx->edu.device_fd,
				      ctx->edu_host, GUEST_DEVFN));
	}
	report(_metadata, sweep, true);
}

static void attach(struct __test_metadata *_metadata, struct ctx *ctx,
		   struct sweep *sweep, __u32 flags)
{
	int ret;

	while (sweep_next(sweep)) {
		ASSERT_EQ(0, open_anew(ctx));
		ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
		ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE,
					       WINDOW_PAGES * VM_PAGE_SIZE, 0,
					       NULL));
		sweep_arm(sweep);
		ret = attach_edu(ctx, flags);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_TRUE(ONE_OF(errno, ENOMEM, EFAULT));
			EXPECT_EQ(0, stats_now(ctx).devices);
			EXPECT_EQ(0, stats_now(ctx).waiting);
			EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
				  hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
			ASSERT_EQ(0, attach_edu(ctx, flags));
		}
		EXPECT_EQ(0, hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
		EXPECT_EQ(1, stats_now(ctx).devices);
		EXPECT_EQ(!!flags, stats_now(ctx).waiting);
		enable_and_map(_metadata, ctx);
		check_pins(_metadata, ctx, 1);
		if (sweep->hit)
			EXPECT_TRUE(reached(ctx, KEPT, KEPT));
	}
	report(_metadata, sweep, true);
}

TEST_F(alloc, attach)
{
	attach(_metadata, &self->ctx, &self->sweep, 0);
}

TEST_F(alloc, attach_on_enable)
{
	attach(_metadata, &self->ctx, &self->sweep, PVIOMMU_ATTACH_ON_ENABLE);
}

/* To an aperture that is in use. */
TEST_F(alloc, attach_another)
{
	struct pviommu_host_device host = host_device(other_bdf());
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	struct vfio_dev other;
	int ret;

	ASSERT_EQ(0, vfio_dev_open(&other, other_bdf()));
	while (sweep_next(sweep)) {
		sweep_arm(sweep);
		ret = __attach(ctx->fd, 0, other.device_fd, host,
			       GUEST_DEVFN + 8);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_TRUE(ONE_OF(errno, ENOMEM, EFAULT));
			EXPECT_EQ(1, stats_now(ctx).devices);
			check_pins(_metadata, ctx, 1);
			EXPECT_TRUE(reached(ctx, KEPT, KEPT));
			ASSERT_EQ(0, __attach(ctx->fd, 0, other.device_fd, host,
					      GUEST_DEVFN + 8));
		}
		ASSERT_EQ(0, __detach(ctx->fd, 0, host));
	}
	EXPECT_TRUE(reached(ctx, KEPT, KEPT));
	vfio_dev_close(&other);
	report(_metadata, sweep, true);
}

/*
 * The VMM gives the group another page table, and the core has to put ours back. Not
 * with all that follows failing, too: then it cannot.
 */
FIXTURE(replace) {
	struct ctx ctx;
};

FIXTURE_SETUP(replace)
{
	if (fail_nth_missing())
		SKIP(return, "%s", fail_nth_missing());
	if (!vfio_use(VFIO_BY_CDEV))
		SKIP(return, "this kernel has no iommufd");
	start(_metadata, &self->ctx);
}

FIXTURE_TEARDOWN(replace)
{
	end(_metadata, &self->ctx);
}

TEST_F(replace, by_the_vmm)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev *edu = &ctx->edu;
	struct sweep sweep = {};
	__u64 taken;
	__u32 ioas;
	int ret;

	ASSERT_EQ(0, iommufd_ioas_alloc(edu->container_fd, &ioas));
	while (sweep_next(&sweep)) {
		sweep_arm(&sweep);
		ret = cdev_attach(edu->device_fd, ioas);
		sweep_disarm(&sweep);
		taken = stats_now(ctx).taken;
		if (refused(&sweep, ret))
			EXPECT_TRUE(ONE_OF(errno, ENOMEM, EFAULT));
		if (!ret)
			EXPECT_EQ(1, taken);
		EXPECT_EQ(!taken, reached(ctx, KEPT, KEPT));
		check_pins(_metadata, ctx, 1);
		if (!taken)
			continue;
		ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
		ASSERT_EQ(0, cdev_detach(edu->device_fd));
		ASSERT_EQ(0, cdev_attach(edu->device_fd, edu->ioas));
		ASSERT_EQ(0, attach_edu(ctx, 0));
		enable_and_map(_metadata, ctx);
	}
	report(_metadata, &sweep, true);
}

/* Where VFIO maps a page, before the guest takes charge. */
#define VFIO_PAGE	1000

static void leave_to_vfio(struct __test_metadata *_metadata, struct ctx *ctx)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (__u64)guest_page(ctx, VFIO_PAGE),
		.iova = page_iova(VFIO_PAGE),
		.size = VM_PAGE_SIZE,
	};

	close(ctx->fd);
	ctx->fd = -1;
	vfio_dev_close(&ctx->edu);
	ASSERT_EQ(0, vfio_dev_open(&ctx->edu, edu_bdf()));
	ASSERT_EQ(0, ioctl(ctx->edu.container_fd, VFIO_IOMMU_MAP_DMA, &map));
	ASSERT_EQ(0, open_anew(ctx));
	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE,
				       WINDOW_PAGES * VM_PAGE_SIZE, 0, NULL));
	ASSERT_EQ(0, attach_edu(ctx, PVIOMMU_ATTACH_ON_ENABLE));
	table_init(ctx);
}

/* The guest takes charge of a device that was left to VFIO. */
static void take_charge(struct __test_metadata *_metadata, struct ctx *ctx,
			struct sweep *sweep, __u32 op)
{
	__u64 rcx = op == PVIOMMU_OP_ENABLE ? GPA_DIRECTORY : 0;
	__s64 rc;

	while (sweep_next(sweep)) {
		leave_to_vfio(_metadata, ctx);
		EXPECT_TRUE(reached(ctx, VFIO_PAGE, VFIO_PAGE));
		rc = hc_failing(ctx, sweep, op, rcx, 0, 0);
		if (refused(sweep, rc)) {
			EXPECT_EQ(PVIOMMU_RC_NO_MEMORY, rc);
			EXPECT_EQ(0, stats_now(ctx).enabled);
			EXPECT_EQ(0, stats_now(ctx).waiting);
			/* For good. */
			EXPECT_FALSE(reached(ctx, VFIO_PAGE, VFIO_PAGE));
			EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED, hc_sync(ctx, 0, 1));
			rc = hc(ctx, op, rcx, 0, 0);
		}
		EXPECT_EQ(0, rc);
		EXPECT_FALSE(reached(ctx, VFIO_PAGE, VFIO_PAGE));
		enable_and_map(_metadata, ctx);
		EXPECT_TRUE(reached(ctx, KEPT, KEPT));
	}
	report(_metadata, sweep, true);
}

TEST_F(alloc, first_enable)
{
	take_charge(_metadata, &self->ctx, &self->sweep, PVIOMMU_OP_ENABLE);
}

TEST_F(alloc, first_disable)
{
	take_charge(_metadata, &self->ctx, &self->sweep, PVIOMMU_OP_DISABLE);
}

/* A module reports them: emulated IOMMUs do not. */
TEST_F(alloc, events)
{
	struct module reporter = module_read("pviommu_test_fault");
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	char dma[64];
	__s64 rc;

	snprintf(dma, sizeof(dma), "%s w %llx", edu_bdf(), page_iova(0));
	ASSERT_EQ(0, module_load(&reporter));
	while (sweep_next(sweep)) {
		ASSERT_EQ(0, module_set(&reporter, "report", dma));
		rc = hc_failing(ctx, sweep, PVIOMMU_OP_EVENTS, GPA_BUFFER,
				VM_PAGE_SIZE, 0);
		if (refused(sweep, rc)) {
			EXPECT_TRUE(ONE_OF(rc, PVIOMMU_RC_NO_MEMORY,
					   PVIOMMU_RC_NO_RAM));
			/* It is not lost. */
			rc = hc(ctx, PVIOMMU_OP_EVENTS, GPA_BUFFER, VM_PAGE_SIZE,
				0);
		}
		EXPECT_EQ(1, rc);
	}
	EXPECT_EQ(0, module_unload(&reporter));
	report(_metadata, sweep, true);
}

/* Entries change, go and come in one call. */
#define OLD	30	/* guest page that entry 1 names first */

TEST_F(alloc, sync_changes)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	__s64 rc;

	while (sweep_next(sweep)) {
		attach_anew(_metadata, ctx);
		ASSERT_EQ(0, fresh_pages(ctx, MADV_NOHUGEPAGE));
		table_fill(ctx, 0, 4);
		table_set(ctx, 1, guest_page_entry(OLD, RW));
		ASSERT_EQ(4, hc_sync(ctx, 0, 4));

		table_set(ctx, 0, 0);
		table_fill(ctx, 1, 1);
		table_fill(ctx, 4, 2);
		rc = hc_failing(ctx, sweep, PVIOMMU_OP_SYNC, 0, 6, 0);
		/* Entry 0 has only to go. */
		ASSERT_LT(0, rc);
		if (rc < 6) {
			sweep->refused++;
			/* Those that did not change stay, others as far as it came. */
			check_pins(_metadata, ctx,
				   3 + (rc > 1) + (rc > 4 ? rc - 4 : 0));
			EXPECT_FALSE(reached(ctx, 0, 0));
			EXPECT_FALSE(reached(ctx, 1, OLD));
			EXPECT_EQ(rc > 1, reached(ctx, 1, 1));
			EXPECT_TRUE(reached(ctx, 2, 2));
			EXPECT_FALSE(reached(ctx, 5, 5));
		}
		EXPECT_EQ(6, hc_sync(ctx, 0, 6));
		check_pins(_metadata, ctx, 6);
	}
	report(_metadata, sweep, true);
}

/* Other memory is behind the frames, which is found when memslots have changed. */
TEST_F(alloc, sync_backing)
{
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	__s64 rc;

	while (sweep_next(sweep)) {
		ASSERT_EQ(0, fresh_pages(ctx, MADV_NOHUGEPAGE));
		table_fill(ctx, 0, 3);
		ASSERT_EQ(3, hc_sync(ctx, 0, 3));
		ASSERT_EQ(0, fresh_pages(ctx, MADV_NOHUGEPAGE));
		ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32,
					    guest_page(ctx, 0), VM_PAGE_SIZE, 0));
		ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 1, 1UL << 32,
					    guest_page(ctx, 0), 0, 0));

		rc = hc_failing(ctx, sweep, PVIOMMU_OP_SYNC, 0, 3, 0);
		if (rc < 3) {
			refused(sweep, rc < 0 ? rc : -1);
			if (rc < 0)
				EXPECT_TRUE(ONE_OF(rc, PVIOMMU_RC_NO_MEMORY,
						   PVIOMMU_RC_RETRY));
			EXPECT_NE(0, rc);
			if (rc > 0)
				EXPECT_TRUE(reached(ctx, rc - 1, rc - 1));
			/* What is wrong may be gone: the host looks, too. */
			EXPECT_GE(4, pinned(ctx));
			EXPECT_LE(1 + (rc > 0 ? rc : 0), pinned(ctx));
			EXPECT_EQ(3, hc_sync(ctx, 0, 3));
		}
		check_pins(_metadata, ctx, 4);
		if (sweep->hit)
			EXPECT_TRUE(reached(ctx, 2, 2));
		table_clear(ctx, 0, 3);
		ASSERT_EQ(3, hc_sync(ctx, 0, 3));
	}
	report(_metadata, sweep, true);
}

/*
 * Pages are mapped into a table that has nothing there yet.
 */
#define MAX_RANGES	3

FIXTURE(map) {
	struct ctx ctx;
	struct sweep sweep;
};

/**
 * struct shape - what is mapped
 * @ranges: of window pages, to be synced
 * @list: by SYNC_LIST
 * @sparse: only every third is wanted, and not in the order of memory
 * @huge: they lie side by side in the host's memory
 * @bits: of the entries, besides the permissions
 */
struct shape {
	struct pviommu_range ranges[MAX_RANGES];
	bool list;
	bool sparse;
	bool huge;
	__u64 bits;
};

static const struct shape one = { .ranges = { { 3, 1 } } };
static const struct shape many = { .ranges = { { 100, 12 } } };
static const struct shape sparse = { .ranges = { { 40, 24 } }, .sparse = true };
static const struct shape leaves = { .ranges = { { 500, 24 } } };
static const struct shape huge = { .ranges = { { 500, 24 } }, .huge = true };

static const struct shape unit = {
	.ranges = { { 512, 512 } }, .huge = true, .bits = PVIOMMU_ENTRY_LARGE,
};

static const struct shape list = {
	.ranges = { { 0, 2 }, { 600, 3 }, { 1100, 2 } }, .list = true,
};

FIXTURE_VARIANT(map) {
	const struct shape *shape;
	bool persistent;
};

FIXTURE_VARIANT_ADD(map, one_once) { &one, false };
FIXTURE_VARIANT_ADD(map, one_persistent) { &one, true };
FIXTURE_VARIANT_ADD(map, many_once) { &many, false };
FIXTURE_VARIANT_ADD(map, many_persistent) { &many, true };
FIXTURE_VARIANT_ADD(map, sparse_once) { &sparse, false };
FIXTURE_VARIANT_ADD(map, sparse_persistent) { &sparse, true };
FIXTURE_VARIANT_ADD(map, leaves_once) { &leaves, false };
FIXTURE_VARIANT_ADD(map, leaves_persistent) { &leaves, true };
FIXTURE_VARIANT_ADD(map, huge_once) { &huge, false };
FIXTURE_VARIANT_ADD(map, huge_persistent) { &huge, true };
FIXTURE_VARIANT_ADD(map, unit_once) { &unit, false };
FIXTURE_VARIANT_ADD(map, unit_persistent) { &unit, true };
FIXTURE_VARIANT_ADD(map, list_once) { &list, false };
FIXTURE_VARIANT_ADD(map, list_persistent) { &list, true };

FIXTURE_SETUP(map)
{
	if (fail_nth_missing())
		SKIP(return, "%s", fail_nth_missing());
	self->sweep = (struct sweep){ .persistent = variant->persistent };
	start(_metadata, &self->ctx);
}

FIXTURE_TEARDOWN(map)
{
	end(_metadata, &self->ctx);
}

/* Of the @i-th window page of the call. */
static __u64 window_page(const struct shape *shape, unsigned int i)
{
	const struct pviommu_range *range = shape->ranges;

	while (i >= range->count)
		i -= range++->count;
	return range->first + i;
}

static unsigned int window_pages(const struct shape *shape)
{
	unsigned int i, n = 0;

	for (i = 0; i < MAX_RANGES; i++)
		n += shape->ranges[i].count;
	return n;
}

static bool wanted(const struct shape *shape, unsigned int i)
{
	return !shape->sparse || !(i % 3);
}

static unsigned int frame(const struct shape *shape, unsigned int i)
{
	return shape->sparse ? window_pages(shape) - i : i;
}

static __s64 map(struct ctx *ctx, struct sweep *sweep, const struct shape *shape)
{
	if (shape->list)
		return hc_failing(ctx, sweep, PVIOMMU_OP_SYNC_LIST, GPA_BUFFER,
				  MAX_RANGES, 0);
	return hc_failing(ctx, sweep, PVIOMMU_OP_SYNC, shape->ranges[0].first,
			  shape->ranges[0].count, 0);
}

static bool reached_nth(struct ctx *ctx, const struct shape *shape,
			unsigned int i)
{
	return reached(ctx, window_page(shape, i), frame(shape, i));
}

/* The first @done are mapped, if they are wanted, and none of the others. */
static void check_progress(struct __test_metadata *_metadata, struct ctx *ctx,
			   const struct shape *shape, unsigned int done)
{
	unsigned int i, n = 0, total = window_pages(shape);
	int last = -1, next = -1;

	for (i = 0; i < total; i++) {
		if (!wanted(shape, i))
			continue;
		if (i < done) {
			last = i;
			n++;
		} else if (next < 0) {
			next = i;
		}
	}
	check_pins(_metadata, ctx, n + 1);
	EXPECT_TRUE(reached(ctx, KEPT, KEPT));
	if (last >= 0)
		EXPECT_TRUE(reached_nth(ctx, shape, last));
	if (next >= 0)
		EXPECT_FALSE(reached_nth(ctx, shape, next));
}

TEST_F(map, sync)
{
	unsigned int i, n = 0, total = window_pages(variant->shape);
	const struct shape *shape = variant->shape;
	struct sweep *sweep = &self->sweep;
	struct ctx *ctx = &self->ctx;
	__s64 rc;

	memcpy(ctx->vm.mem + GPA_BUFFER, shape->ranges, sizeof(shape->ranges));
	for (i = 0; i < total; i++)
		n += wanted(shape, i);

	while (sweep_next(sweep)) {
		attach_anew(_metadata, ctx);
		ASSERT_EQ(0, fresh_pages(ctx, shape->huge ? MADV_HUGEPAGE :
							    MADV_NOHUGEPAGE));
		if (shape->huge)
			memset(guest_page(ctx, 0), 1, 2UL << 20);
		for (i = 0; i < total; i++) {
			if (wanted(shape, i))
				table_set(ctx, window_page(shape, i),
					  guest_page_entry(frame(shape, i),
							   RW | shape->bits));
		}

		rc = map(ctx, sweep, shape);
		if (rc < 0)
			EXPECT_TRUE(ONE_OF(rc, PVIOMMU_RC_NO_MEMORY,
					   PVIOMMU_RC_RETRY,
					   /* The list is read, too. */
					   shape->list ? PVIOMMU_RC_NO_RAM :
							 PVIOMMU_RC_RETRY));
		EXPECT_NE(0, rc);
		if (rc < total) {
			sweep->refused++;
			check_progress(_metadata, ctx, shape, rc < 0 ? 0 : rc);
			EXPECT_EQ(total, shape->list ?
				  hc_sync_list(ctx, MAX_RANGES, 0) :
				  hc_sync(ctx, shape->ranges[0].first, total));
		}
		check_pins(_metadata, ctx, n + 1);
	}
	/* A large leaf takes no table; the shadow gets along with one fault. */
	report(_metadata, sweep, shape != &unit || variant->persistent);
}

/*
 * The module comes and goes.
 */
FIXTURE(modules) {
	struct module module;
	struct sweep sweep;
};

FIXTURE_VARIANT(modules) {
	bool persistent;
	unsigned int step;
};

/* It takes its time. Odd: every other one may be a debugging aid's. */
FIXTURE_VARIANT_ADD(modules, once) { .step = 3 };
FIXTURE_VARIANT_ADD(modules, persistent) { .persistent = true, .step = 7 };

FIXTURE_SETUP(modules)
{
	if (fail_nth_missing())
		SKIP(return, "%s", fail_nth_missing());
	self->sweep = (struct sweep){ .persistent = variant->persistent };
	self->module = module_read("kvm_pviommu");
	ASSERT_TRUE(module_loaded(&self->module));
}

FIXTURE_TEARDOWN(modules)
{
	if (!module_loaded(&self->module))
		EXPECT_EQ(0, module_load(&self->module));
	EXPECT_EQ(tainted, taint());
}

/* Before come the kernel's own, hundreds of them; the module's are the last but some. */
#define LOAD_LAST	150

TEST_F(modules, load)
{
	struct sweep *sweep = &self->sweep;
	int ret;

	sweep->step = variant->step;
	while (sweep_next(sweep)) {
		ASSERT_EQ(0, module_unload(&self->module));
		sweep_arm(sweep);
		ret = module_load(&self->module);
		sweep_disarm(sweep);
		if (!sweep->n)
			sweep_last(sweep, LOAD_LAST);
		if (refused(sweep, ret)) {
			EXPECT_TRUE(ONE_OF(errno, ENOMEM, EFAULT));
			EXPECT_FALSE(module_loaded(&self->module));
			EXPECT_EQ(-1, access("/dev/pviommu", F_OK));
			ASSERT_EQ(0, module_load(&self->module));
		}
		EXPECT_EQ(0, access("/dev/pviommu", F_OK));
	}
	report(_metadata, sweep, true);
}

TEST_F(modules, unload)
{
	struct sweep *sweep = &self->sweep;
	int ret;

	while (sweep_next(sweep)) {
		sweep_arm(sweep);
		ret = module_unload(&self->module);
		sweep_disarm(sweep);
		if (refused(sweep, ret)) {
			EXPECT_EQ(EFAULT, errno);
			EXPECT_TRUE(module_loaded(&self->module));
			ASSERT_EQ(0, module_unload(&self->module));
		}
		EXPECT_EQ(-1, access("/dev/pviommu", F_OK));
		ASSERT_EQ(0, module_load(&self->module));
	}
	report(_metadata, sweep, true);
}

TEST_HARNESS_MAIN
