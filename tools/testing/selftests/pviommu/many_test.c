// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many: apertures of one VM apart from each other, devices in one aperture, devices
 * in one IOMMU group, VMs. DMA that must be blocked is shown to work just before, at
 * the same IOVA by the device whose it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "sysfs.h"

#define WINDOW_LENGTH	(WINDOW_PAGES * VM_PAGE_SIZE)

/* The other aperture's table, and the pages it names. */
#define OTHER_TABLE	0x40000UL
#define OTHER_PAGES	1000

#define OTHER_DEVFN	(GUEST_DEVFN + 8)

static const char *second_bdf(void)
{
	return test_env("PVIOMMU_TEST_EDU2");
}

/* Does what @dev writes to @iova change @mem? */
static bool writes(struct vfio_dev *dev, __u64 iova, __u8 *mem)
{
	struct ctx ctx = { .edu = *dev };

	return device_writes(&ctx, iova, mem);
}

static struct pviommu_aperture_stats stats_of(struct ctx *ctx, __u32 aperture)
{
	struct pviommu_aperture_stats stats = { .devices = -1 };

	__stats(ctx->fd, aperture, &stats);
	return stats;
}

/*
 * The table of an aperture: directory, then leaves. What its window page @index is
 * mapped to differs from one aperture to the other.
 */
static __u64 table_gpa(__u32 aperture)
{
	return aperture ? OTHER_TABLE : GPA_DIRECTORY;
}

static __u64 leaves_gpa(__u32 aperture)
{
	return aperture ? OTHER_TABLE + VM_PAGE_SIZE : GPA_LEAVES;
}

static __u8 *page_of(struct ctx *ctx, __u32 aperture, __u64 index)
{
	return guest_page(ctx, index + (aperture ? OTHER_PAGES : 0));
}

static __s64 enable(struct ctx *ctx, __u32 aperture)
{
	__u64 *directory = (__u64 *)(ctx->vm.mem + table_gpa(aperture));
	unsigned int i;

	for (i = 0; i < WINDOW_PAGES / PVIOMMU_ENTRIES_PER_LEAF; i++) {
		directory[i] = leaves_gpa(aperture) + i * VM_PAGE_SIZE;
		memset(ctx->vm.mem + directory[i], 0, VM_PAGE_SIZE);
	}
	return hc_on(ctx, aperture, PVIOMMU_OP_ENABLE, table_gpa(aperture), 0, 0);
}

static __s64 set_and_sync(struct ctx *ctx, __u32 aperture, __u64 index, __u64 entry)
{
	((__u64 *)(ctx->vm.mem + leaves_gpa(aperture)))[index] = entry;
	return hc_on(ctx, aperture, PVIOMMU_OP_SYNC, index, 1, 0);
}

static __s64 map(struct ctx *ctx, __u32 aperture, __u64 index)
{
	__u64 gpa = page_of(ctx, aperture, index) - ctx->vm.mem;

	return set_and_sync(ctx, aperture, index, gpa | RW);
}

static __s64 unmap(struct ctx *ctx, __u32 aperture, __u64 index)
{
	return set_and_sync(ctx, aperture, index, 0);
}

/*
 * Two apertures of a VM, a device in each.
 */
FIXTURE(apart) {
	struct ctx ctx;
	struct vfio_dev devs[2];
	struct pviommu_host_device hosts[2];
};

FIXTURE_VARIANT(apart) {
	__u64 base[2];
};

FIXTURE_VARIANT_ADD(apart, same_window) {
	.base = { WINDOW_BASE, WINDOW_BASE },
};

FIXTURE_VARIANT_ADD(apart, overlapping_windows) {
	.base = { WINDOW_BASE, WINDOW_BASE + WINDOW_LENGTH / 2 },
};

#define BUDGET(aperture)	(4U - (aperture))

FIXTURE_SETUP(apart)
{
	struct ctx *ctx = &self->ctx;
	__u32 i, id;

	ASSERT_EQ(0, ctx_open(ctx, true));
	ASSERT_EQ(0, vfio_dev_open(&self->devs[1], second_bdf()));
	self->devs[0] = ctx->edu;
	self->hosts[0] = ctx->edu_host;
	self->hosts[1] = host_device(second_bdf());

	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, __create_aperture(ctx->fd, variant->base[i],
					       WINDOW_LENGTH, BUDGET(i), &id));
		ASSERT_EQ(i, id);
		ASSERT_EQ(0, __attach(ctx->fd, i, self->devs[i].device_fd,
				      self->hosts[i], GUEST_DEVFN + 8 * i));
		EXPECT_EQ(i, hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN + 8 * i));
		ASSERT_EQ(0, enable(ctx, i));
	}
}

FIXTURE_TEARDOWN(apart)
{
	vfio_dev_close(&self->devs[1]);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
}

#define iova_in(aperture, index)	\
	(variant->base[aperture] + (index) * VM_PAGE_SIZE)

/* The same window page, of each to other memory. */
TEST_F(apart, each_to_its_own)
{
	struct ctx *ctx = &self->ctx;
	__u32 i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(1, map(ctx, i, 3));
	for (i = 0; i < 2; i++) {
		memset(page_of(ctx, !i, 3), 0x11, VM_PAGE_SIZE);
		EXPECT_TRUE(writes(&self->devs[i], iova_in(i, 3), page_of(ctx, i, 3)));
		EXPECT_EQ(0x11, page_of(ctx, !i, 3)[0]);
		EXPECT_EQ(1, stats_of(ctx, i).pinned);
		EXPECT_EQ(1, stats_of(ctx, i).devices);
	}

	/* Taken from one, it stays with the other. */
	ASSERT_EQ(1, unmap(ctx, 0, 3));
	EXPECT_FALSE(writes(&self->devs[0], iova_in(0, 3), page_of(ctx, 0, 3)));
	EXPECT_TRUE(writes(&self->devs[1], iova_in(1, 3), page_of(ctx, 1, 3)));
	EXPECT_EQ(0, stats_of(ctx, 0).pinned);
	EXPECT_EQ(1, stats_of(ctx, 1).pinned);
}

/* What only one of them maps the other's device does not reach. */
TEST_F(apart, blocked_in_the_other)
{
	struct ctx *ctx = &self->ctx;
	__u8 *mem;
	__u32 i;

	for (i = 0; i < 2; i++) {
		/* Page 1200 of the first is in the second's window when they overlap. */
		__u64 index = i ? 5 : 1200;

		mem = page_of(ctx, i, index);
		ASSERT_EQ(1, map(ctx, i, index));
		EXPECT_TRUE(writes(&self->devs[i], iova_in(i, index), mem));
		EXPECT_FALSE(writes(&self->devs[!i], iova_in(i, index), mem));
		EXPECT_TRUE(writes(&self->devs[i], iova_in(i, index), mem));
	}
}

TEST_F(apart, budgets)
{
	struct ctx *ctx = &self->ctx;
	__u32 i, n;

	for (i = 0; i < 2; i++) {
		for (n = 0; n < BUDGET(i); n++)
			ASSERT_EQ(1, map(ctx, i, n));
		EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, map(ctx, i, n));
	}
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(BUDGET(i), stats_of(ctx, i).budget);
		EXPECT_EQ(BUDGET(i), stats_of(ctx, i).pinned);
		EXPECT_EQ(BUDGET(i), stats_of(ctx, i).mapped);
		EXPECT_EQ(1, stats_of(ctx, i).refused);
		EXPECT_EQ(0, stats_of(ctx, i).unmapped);
	}
	/* Room in one is none in the other. */
	ASSERT_EQ(1, unmap(ctx, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_OVER_BUDGET, map(ctx, 1, BUDGET(1)));
	EXPECT_EQ(1, map(ctx, 0, BUDGET(0)));
}

/* Aperture 0 is dropped, and 1 does not notice. */
static void check_one_left(struct __test_metadata *_metadata, struct ctx *ctx,
			   struct vfio_dev *devs, const __u64 *base)
{
	EXPECT_FALSE(writes(&devs[0], base[0], page_of(ctx, 0, 0)));
	EXPECT_EQ(0, stats_of(ctx, 0).pinned);
	EXPECT_EQ(0, stats_of(ctx, 0).enabled);
	EXPECT_TRUE(writes(&devs[1], base[1], page_of(ctx, 1, 0)));
	EXPECT_EQ(1, stats_of(ctx, 1).pinned);
	EXPECT_EQ(1, stats_of(ctx, 1).enabled);
	EXPECT_EQ(0, stats_of(ctx, 1).resets);
	EXPECT_EQ(0, stats_of(ctx, 1).unmapped);
}

static void map_both(struct __test_metadata *_metadata, struct ctx *ctx,
		     struct vfio_dev *devs, const __u64 *base)
{
	__u32 i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(1, map(ctx, i, 0));
		EXPECT_TRUE(writes(&devs[i], base[i], page_of(ctx, i, 0)));
	}
}

TEST_F(apart, disable_one)
{
	struct ctx *ctx = &self->ctx;

	map_both(_metadata, ctx, self->devs, variant->base);
	ASSERT_EQ(0, hc_on(ctx, 0, PVIOMMU_OP_DISABLE, 0, 0, 0));
	check_one_left(_metadata, ctx, self->devs, variant->base);
	EXPECT_EQ(PVIOMMU_RC_NOT_ENABLED, map(ctx, 0, 1));
	EXPECT_EQ(1, map(ctx, 1, 1));
}

TEST_F(apart, reset_one)
{
	struct ctx *ctx = &self->ctx;

	map_both(_metadata, ctx, self->devs, variant->base);
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	check_one_left(_metadata, ctx, self->devs, variant->base);
	ASSERT_EQ(0, __reset(ctx->fd, PVIOMMU_APERTURE_ALL));
	EXPECT_FALSE(writes(&self->devs[1], variant->base[1], page_of(ctx, 1, 0)));
	EXPECT_EQ(0, stats_of(ctx, 1).pinned);
}

TEST_F(apart, detach_one)
{
	struct ctx *ctx = &self->ctx;

	map_both(_metadata, ctx, self->devs, variant->base);
	ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[0]));
	check_one_left(_metadata, ctx, self->devs, variant->base);
	EXPECT_EQ(0, stats_of(ctx, 0).devices);
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT, hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT, enable(ctx, 0));
	/* Nor can it be detached from where it is not. */
	EXPECT_ERRNO(ENOENT, __detach(ctx->fd, 0, self->hosts[1]));

	/* From one aperture into the other. */
	EXPECT_EQ(0, __attach(ctx->fd, 1, self->devs[0].device_fd, self->hosts[0],
			      GUEST_DEVFN));
	EXPECT_EQ(1, hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
	EXPECT_TRUE(writes(&self->devs[0], variant->base[1], page_of(ctx, 1, 0)));
}

TEST_F(apart, close)
{
	struct ctx *ctx = &self->ctx;
	__u32 i;

	map_both(_metadata, ctx, self->devs, variant->base);
	close(ctx->fd);
	ctx->fd = -1;
	EXPECT_EQ(ctx->pins, pins_now());
	for (i = 0; i < 2; i++)
		EXPECT_FALSE(writes(&self->devs[i], variant->base[i],
				    page_of(ctx, i, 0)));
}

/*
 * Two devices in one aperture, each in its own group.
 */
TEST(together)
{
	struct pviommu_host_device host = host_device(second_bdf());
	struct vfio_dev second;
	struct ctx ctx;

	ASSERT_EQ(0, ctx_open(&ctx, true));
	ASSERT_EQ(0, vfio_dev_open(&second, second_bdf()));
	ASSERT_EQ(0, setup_enabled(&ctx, 0));
	ASSERT_EQ(1, map(&ctx, 0, 0));
	/* A group that joins finds what is mapped already. */
	EXPECT_FALSE(writes(&second, page_iova(0), guest_page(&ctx, 0)));
	ASSERT_EQ(0, __attach(ctx.fd, 0, second.device_fd, host, OTHER_DEVFN));
	EXPECT_TRUE(writes(&ctx.edu, page_iova(0), guest_page(&ctx, 0)));
	EXPECT_TRUE(writes(&second, page_iova(0), guest_page(&ctx, 0)));
	EXPECT_EQ(1, pinned(&ctx));

	/* A removal is both's. */
	ASSERT_EQ(1, unmap(&ctx, 0, 0));
	EXPECT_FALSE(writes(&ctx.edu, page_iova(0), guest_page(&ctx, 0)));
	EXPECT_FALSE(writes(&second, page_iova(0), guest_page(&ctx, 0)));
	ASSERT_EQ(1, map(&ctx, 0, 0));

	ASSERT_EQ(0, __detach(ctx.fd, 0, ctx.edu_host));
	EXPECT_FALSE(writes(&ctx.edu, page_iova(0), guest_page(&ctx, 0)));
	EXPECT_TRUE(writes(&second, page_iova(0), guest_page(&ctx, 0)));
	EXPECT_EQ(1, pinned(&ctx));
	EXPECT_EQ(1, map(&ctx, 0, 1));

	ASSERT_EQ(0, __detach(ctx.fd, 0, host));
	EXPECT_FALSE(writes(&second, page_iova(0), guest_page(&ctx, 0)));
	EXPECT_EQ(0, pinned(&ctx));
	EXPECT_EQ(0, stats_now(&ctx).enabled);
	EXPECT_EQ(ctx.pins, pins_now());

	vfio_dev_close(&second);
	ctx_close_all(&ctx);
}

/*
 * Two devices in one group: the IOMMU, or what is between it and them, cannot tell
 * them apart, so they are together in an aperture or blocked, attached or not.
 */
FIXTURE(group) {
	struct ctx ctx;
	char bdf[2][16];
	struct vfio_dev devs[2];
	struct pviommu_host_device hosts[2];
};

FIXTURE_VARIANT(group) {
	const char *env;
};

FIXTURE_VARIANT_ADD(group, functions) { .env = "PVIOMMU_TEST_TWINS" };
FIXTURE_VARIANT_ADD(group, bridged) { .env = "PVIOMMU_TEST_BRIDGED" };

FIXTURE_SETUP(group)
{
	const char *names = test_env(variant->env);
	const char *blank = strchr(names, ' ');
	struct ctx *ctx = &self->ctx;

	ASSERT_NE(NULL, blank);
	snprintf(self->bdf[0], sizeof(self->bdf[0]), "%.*s", (int)(blank - names),
		 names);
	snprintf(self->bdf[1], sizeof(self->bdf[1]), "%s", blank + 1);
	self->hosts[0] = host_device(self->bdf[0]);
	self->hosts[1] = host_device(self->bdf[1]);
	ASSERT_EQ(0, ctx_open(ctx, false));
	ASSERT_EQ(0, vfio_dev_open(&self->devs[0], self->bdf[0]));
	ASSERT_EQ(0, vfio_dev_open_sibling(&self->devs[1], &self->devs[0],
					   self->bdf[1]));
	ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE, WINDOW_LENGTH, 0, NULL));
}

FIXTURE_TEARDOWN(group)
{
	vfio_dev_close(&self->devs[1]);
	vfio_dev_close(&self->devs[0]);
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

#define attach_nth(_n, _aperture)						\
({										\
	unsigned int n_ = (_n);							\
										\
	__attach(self->ctx.fd, _aperture, self->devs[n_].device_fd,		\
		 self->hosts[n_], GUEST_DEVFN + n_);				\
})

#define EXPECT_REACHES(_n, _reaches)						\
	EXPECT_EQ(_reaches, writes(&self->devs[_n], page_iova(0),		\
				   guest_page(&self->ctx, 0)))

TEST_F(group, both)
{
	struct ctx *ctx = &self->ctx;
	__u32 i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, attach_nth(i, 0));
		EXPECT_EQ(0, hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN + i));
	}
	EXPECT_EQ(2, stats_now(ctx).devices);
	ASSERT_EQ(0, enable(ctx, 0));
	ASSERT_EQ(1, map(ctx, 0, 0));
	EXPECT_REACHES(0, true);
	EXPECT_REACHES(1, true);

	ASSERT_EQ(1, unmap(ctx, 0, 0));
	EXPECT_REACHES(0, false);
	EXPECT_REACHES(1, false);
}

/* Three devices, two groups. */
TEST_F(group, beside_another)
{
	struct pviommu_host_device host = host_device(second_bdf());
	struct ctx *ctx = &self->ctx;
	struct vfio_dev second;
	__u64 iova = page_iova(0);

	ASSERT_EQ(0, vfio_dev_open(&second, second_bdf()));
	ASSERT_EQ(0, __attach(ctx->fd, 0, second.device_fd, host, OTHER_DEVFN));
	ASSERT_EQ(0, enable(ctx, 0));
	ASSERT_EQ(1, map(ctx, 0, 0));
	ASSERT_EQ(0, attach_nth(0, 0));
	ASSERT_EQ(0, attach_nth(1, 0));
	EXPECT_REACHES(0, true);
	EXPECT_REACHES(1, true);
	EXPECT_TRUE(writes(&second, iova, guest_page(ctx, 0)));

	ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[0]));
	EXPECT_REACHES(0, true);
	ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[1]));
	EXPECT_REACHES(0, false);
	EXPECT_REACHES(1, false);
	EXPECT_TRUE(writes(&second, iova, guest_page(ctx, 0)));
	EXPECT_EQ(1, pinned(ctx));
	vfio_dev_close(&second);
}

/* One loses its driver, and the other does not notice. */
TEST_F(group, unbind_one)
{
	struct ctx *ctx = &self->ctx;
	struct vfio_dev again;
	pid_t pid;

	ASSERT_EQ(0, attach_nth(0, 0));
	ASSERT_EQ(0, attach_nth(1, 0));
	ASSERT_EQ(0, enable(ctx, 0));
	ASSERT_EQ(1, map(ctx, 0, 0));

	pid = unbind_start(self->bdf[0]);
	ASSERT_LE(0, pid);
	close(self->devs[0].device_fd);
	self->devs[0].device_fd = -1;
	EXPECT_EQ(0, sysfs_write_end(pid));
	EXPECT_EQ(1, stats_now(ctx).devices);
	EXPECT_EQ(1, pinned(ctx));
	EXPECT_REACHES(1, true);

	ASSERT_EQ(0, bind_again(self->bdf[0]));
	ASSERT_EQ(0, vfio_dev_open_sibling(&again, &self->devs[0], self->bdf[0]));
	self->devs[0].device_fd = again.device_fd;
	ASSERT_EQ(0, attach_nth(0, 0));
	EXPECT_EQ(2, stats_now(ctx).devices);
	EXPECT_REACHES(0, true);
	EXPECT_REACHES(1, true);
}

/* Whichever is detached first: the group stays until the other is, too. */
TEST_F(group, detach)
{
	struct ctx *ctx = &self->ctx;
	__u32 i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, attach_nth(0, 0));
		ASSERT_EQ(0, attach_nth(1, 0));
		ASSERT_EQ(0, enable(ctx, 0));
		ASSERT_EQ(1, map(ctx, 0, 0));

		ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[i]));
		EXPECT_EQ(1, stats_now(ctx).devices);
		EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
			  hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN + i));
		EXPECT_REACHES(0, true);
		EXPECT_REACHES(1, true);
		EXPECT_FALSE(writes(&self->devs[i], page_iova(1), guest_page(ctx, 1)));
		EXPECT_EQ(1, pinned(ctx));

		ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[!i]));
		EXPECT_EQ(0, stats_now(ctx).devices);
		EXPECT_REACHES(0, false);
		EXPECT_REACHES(1, false);
		EXPECT_EQ(0, pinned(ctx));
	}
}

/* One that nobody has attached is in the aperture, too: it does not stay with VFIO. */
TEST_F(group, one_alone)
{
	struct vfio_iommu_type1_dma_map cmd = {
		.argsz = sizeof(cmd),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (__u64)self->ctx.vm.mem,
		.size = 8UL << 20,
	};
	struct ctx *ctx = &self->ctx;
	__u64 ram = GPA_DATA;

	ASSERT_EQ(0, ioctl(self->devs[0].container_fd, VFIO_IOMMU_MAP_DMA, &cmd));
	EXPECT_TRUE(writes(&self->devs[1], ram, guest_page(ctx, 0)));
	ASSERT_EQ(0, attach_nth(0, 0));
	EXPECT_FALSE(writes(&self->devs[1], ram, guest_page(ctx, 0)));

	ASSERT_EQ(0, enable(ctx, 0));
	ASSERT_EQ(1, map(ctx, 0, 0));
	EXPECT_REACHES(0, true);
	EXPECT_REACHES(1, true);
	EXPECT_FALSE(writes(&self->devs[1], ram, guest_page(ctx, 0)));

	ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[0]));
	EXPECT_REACHES(1, false);
	EXPECT_FALSE(writes(&self->devs[1], ram, guest_page(ctx, 0)));
}

TEST_F(group, two_apertures)
{
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE, WINDOW_LENGTH, 0, NULL));
	ASSERT_EQ(0, attach_nth(0, 0));
	EXPECT_ERRNO(EBUSY, attach_nth(1, 1));
	EXPECT_EQ(0, stats_of(ctx, 1).devices);
	ASSERT_EQ(0, enable(ctx, 0));
	ASSERT_EQ(1, map(ctx, 0, 0));
	EXPECT_REACHES(0, true);
	EXPECT_REACHES(1, true);

	ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[0]));
	EXPECT_EQ(0, attach_nth(1, 1));
	EXPECT_ERRNO(EBUSY, attach_nth(0, 0));
	EXPECT_EQ(0, attach_nth(0, 1));
}

TEST_F(group, two_vms)
{
	struct ctx other;

	ASSERT_EQ(0, ctx_open(&other, false));
	ASSERT_EQ(0, __bind(other.fd, other.vm.vm_fd));
	ASSERT_EQ(0, __create_aperture(other.fd, WINDOW_BASE, WINDOW_LENGTH, 0, NULL));

	ASSERT_EQ(0, attach_nth(0, 0));
	EXPECT_ERRNO(EBUSY, __attach(other.fd, 0, self->devs[1].device_fd,
				     self->hosts[1], GUEST_DEVFN));
	ASSERT_EQ(0, attach_nth(1, 0));
	ASSERT_EQ(0, __detach(self->ctx.fd, 0, self->hosts[0]));
	EXPECT_ERRNO(EBUSY, __attach(other.fd, 0, self->devs[0].device_fd,
				     self->hosts[0], GUEST_DEVFN));
	ASSERT_EQ(0, __detach(self->ctx.fd, 0, self->hosts[1]));
	EXPECT_EQ(0, __attach(other.fd, 0, self->devs[0].device_fd, self->hosts[0],
			      GUEST_DEVFN));
	ctx_close_all(&other);
}

/* Left to VFIO until the guest enables the aperture: all of the group or none. */
TEST_F(group, on_enable)
{
	struct pviommu_attach cmd = {
		.size = sizeof(cmd),
		.flags = PVIOMMU_ATTACH_ON_ENABLE,
		.vfio_fd = self->devs[0].device_fd,
		.host = self->hosts[0],
		.guest = { .depth = 1, .path = { GUEST_DEVFN } },
	};
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, ioctl(ctx->fd, PVIOMMU_ATTACH, &cmd));
	EXPECT_ERRNO(EEXIST, attach_nth(1, 0));
	cmd.vfio_fd = self->devs[1].device_fd;
	cmd.host = self->hosts[1];
	cmd.guest.path[0]++;
	ASSERT_EQ(0, ioctl(ctx->fd, PVIOMMU_ATTACH, &cmd));
	EXPECT_EQ(2, stats_now(ctx).waiting);

	ASSERT_EQ(0, enable(ctx, 0));
	EXPECT_EQ(0, stats_now(ctx).waiting);
	ASSERT_EQ(1, map(ctx, 0, 0));
	EXPECT_REACHES(0, true);
	EXPECT_REACHES(1, true);
	ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[0]));
	EXPECT_REACHES(1, true);
	ASSERT_EQ(0, __detach(ctx->fd, 0, self->hosts[1]));
	EXPECT_REACHES(0, false);
}

enum file { FIRST, SECOND, GROUP, CONTAINER, PVIOMMU, NR_FILES };

/* Files that are closed without DETACH: the group is confined up to PVIOMMU. */
TEST_F(group, close)
{
	static const enum file orders[][NR_FILES] = {
		{ PVIOMMU, FIRST, SECOND, GROUP, CONTAINER },
		{ FIRST, GROUP, CONTAINER, SECOND, PVIOMMU },
		{ SECOND, PVIOMMU, CONTAINER, GROUP, FIRST },
		{ GROUP, SECOND, FIRST, PVIOMMU, CONTAINER },
	};
	struct ctx *ctx = &self->ctx;
	struct vfio_dev *devs = self->devs;
	int *fds[NR_FILES] = {
		[FIRST] = &devs[0].device_fd,
		[SECOND] = &devs[1].device_fd,
		[GROUP] = &devs[0].group_fd,
		[CONTAINER] = &devs[0].container_fd,
		[PVIOMMU] = &ctx->fd,
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		bool confined = true;

		ASSERT_EQ(0, attach_nth(0, 0));
		ASSERT_EQ(0, attach_nth(1, 0));
		ASSERT_EQ(0, enable(ctx, 0));
		ASSERT_EQ(1, map(ctx, 0, 0));
		for (j = 0; j < NR_FILES; j++) {
			close(*fds[orders[i][j]]);
			*fds[orders[i][j]] = -1;
			confined &= orders[i][j] != PVIOMMU;
			EXPECT_EQ(ctx->pins + confined, pins_now());
			if (devs[0].device_fd >= 0)
				EXPECT_REACHES(0, confined);
			if (devs[1].device_fd >= 0)
				EXPECT_REACHES(1, confined);
		}

		ASSERT_EQ(0, vfio_dev_open(&devs[0], self->bdf[0]));
		ASSERT_EQ(0, vfio_dev_open_sibling(&devs[1], &devs[0], self->bdf[1]));
		ctx->fd = open("/dev/pviommu", O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, ctx->fd);
		ASSERT_EQ(0, __bind(ctx->fd, ctx->vm.vm_fd));
		ASSERT_EQ(0, __create_aperture(ctx->fd, WINDOW_BASE, WINDOW_LENGTH, 0,
					       NULL));
	}
}

/*
 * Two VMs, with a device each. What they call their apertures is the same.
 */
FIXTURE(vms) {
	struct ctx ctx[2];
};

FIXTURE_SETUP(vms)
{
	__u32 i;

	ASSERT_EQ(0, ctx_open(&self->ctx[0], true));
	ASSERT_EQ(0, ctx_open(&self->ctx[1], false));
	ASSERT_EQ(0, vfio_dev_open(&self->ctx[1].edu, second_bdf()));
	self->ctx[1].edu_host = host_device(second_bdf());
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, setup_enabled(&self->ctx[i], 0));
		ASSERT_EQ(1, map(&self->ctx[i], 0, 0));
	}
}

FIXTURE_TEARDOWN(vms)
{
	ctx_close_all(&self->ctx[1]);
	ctx_close_all(&self->ctx[0]);
	EXPECT_EQ(self->ctx[0].pins, pins_now());
}

static bool own_page_reached(struct ctx *ctx)
{
	return device_writes(ctx, page_iova(0), guest_page(ctx, 0));
}

TEST_F(vms, each_to_its_own)
{
	struct ctx *ctx = self->ctx;
	__u32 i;

	for (i = 0; i < 2; i++) {
		memset(guest_page(&ctx[!i], 0), 0x11, VM_PAGE_SIZE);
		EXPECT_TRUE(own_page_reached(&ctx[i]));
		EXPECT_EQ(0x11, guest_page(&ctx[!i], 0)[0]);
		EXPECT_EQ(1, pinned(&ctx[i]));
	}
	ASSERT_EQ(1, map(&ctx[0], 0, 1));
	EXPECT_TRUE(device_writes(&ctx[0], page_iova(1), guest_page(&ctx[0], 1)));
	EXPECT_FALSE(device_writes(&ctx[1], page_iova(1), guest_page(&ctx[0], 1)));

	ASSERT_EQ(0, hc(&ctx[0], PVIOMMU_OP_DISABLE, 0, 0, 0));
	EXPECT_FALSE(own_page_reached(&ctx[0]));
	EXPECT_TRUE(own_page_reached(&ctx[1]));
	close(ctx[0].fd);
	ctx[0].fd = -1;
	EXPECT_TRUE(own_page_reached(&ctx[1]));
	EXPECT_EQ(1, map(&ctx[1], 0, 1));
}

/* An aperture that the other VM alone has. */
TEST_F(vms, none_names_the_others_aperture)
{
	struct ctx *ctx = self->ctx;
	__u32 op;

	ASSERT_EQ(0, __create_aperture(ctx[1].fd, WINDOW_BASE, WINDOW_LENGTH, 0, NULL));
	ASSERT_EQ(0, __detach(ctx[1].fd, 0, ctx[1].edu_host));
	ASSERT_EQ(0, __attach(ctx[1].fd, 1, ctx[1].edu.device_fd, ctx[1].edu_host,
			      OTHER_DEVFN));
	ASSERT_EQ(0, enable(&ctx[1], 1));
	ASSERT_EQ(1, map(&ctx[1], 1, 0));

	for (op = PVIOMMU_OP_APERTURE; op <= PVIOMMU_OP_EVENTS; op++)
		EXPECT_EQ(PVIOMMU_RC_NO_APERTURE, hc_on(&ctx[0], 1, op, 0, 0, 0));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(&ctx[0], 0, 0, 1, OTHER_DEVFN));
	EXPECT_EQ(1, stats_of(&ctx[1], 1).enabled);
	EXPECT_EQ(1, stats_of(&ctx[1], 1).pinned);
	/* The two that made it so, and no one else's. */
	EXPECT_EQ(2, stats_of(&ctx[1], 1).hypercalls);
	EXPECT_TRUE(writes(&ctx[1].edu, page_iova(0), page_of(&ctx[1], 1, 0)));
}

TEST_HARNESS_MAIN
