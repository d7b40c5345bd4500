// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a VMM can end: in whatever order its files are closed, by a signal, or
 * leaving a child behind. Nothing stays pinned, and the device can be had again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "load.h"
#include "userfault.h"

#define NR_FILES	5
#define NR_PAGES	10

/* By cdev, the container is the iommufd. */
enum which { VM, CONTAINER, GROUP, DEVICE, PVIOMMU };

static void close_fd(int *fd)
{
	close(*fd);
	*fd = -1;
}

static void close_one(struct ctx *ctx, enum which which)
{
	switch (which) {
	case VM:
		vm_destroy(&ctx->vm);
		break;
	case CONTAINER:
		close_fd(&ctx->edu.container_fd);
		break;
	case GROUP:
		close_fd(&ctx->edu.group_fd);
		break;
	case DEVICE:
		close_fd(&ctx->edu.device_fd);
		break;
	case PVIOMMU:
		close_fd(&ctx->fd);
		break;
	}
}

/* Of all files but the first. */
#define NR_ORDERS	24

FIXTURE(order) {
	struct ctx ctx;
};

FIXTURE_VARIANT(order) {
	enum which first;
};

FIXTURE_VARIANT_ADD(order, vm_first) { .first = VM };
FIXTURE_VARIANT_ADD(order, container_first) { .first = CONTAINER };
FIXTURE_VARIANT_ADD(order, group_first) { .first = GROUP };
FIXTURE_VARIANT_ADD(order, device_first) { .first = DEVICE };
FIXTURE_VARIANT_ADD(order, pviommu_first) { .first = PVIOMMU };

FIXTURE_SETUP(order)
{
}

FIXTURE_TEARDOWN(order)
{
}

/* One set-up, its files closed in the order @files. */
static void close_in_order(struct __test_metadata *_metadata,
			   const enum which *files, int nr)
{
	long pins = pins_now();
	bool confined = true;
	struct ctx ctx;
	int i;

	ASSERT_EQ(0, ctx_open(&ctx, true));
	ASSERT_EQ(0, setup_enabled(&ctx, 0));
	table_fill(&ctx, 0, NR_PAGES);
	ASSERT_EQ(NR_PAGES, hc_sync(&ctx, 0, NR_PAGES));
	ASSERT_EQ(pins + NR_PAGES, pins_now());
	for (i = 0; i < nr; i++) {
		close_one(&ctx, files[i]);
		confined &= files[i] != PVIOMMU;
		EXPECT_EQ(pins + (confined ? NR_PAGES : 0), pins_now()) {
			TH_LOG("order %d %d %d %d %d, after %d", files[0],
			       files[1], files[2], files[3],
			       nr > 4 ? files[4] : -1, i + 1);
		}
	}
	EXPECT_EQ(0, locked_kib());
	ASSERT_EQ(0, vfio_dev_open(&ctx.edu, edu_bdf()));
	vfio_dev_close(&ctx.edu);
}

/* All orders of files[at] and those behind it; every one of @step is tried. */
static void permute(struct __test_metadata *_metadata, enum which *files, int nr,
		    int at, int step, int *orders)
{
	enum which tmp;
	int i;

	if (at == nr) {
		if (*orders % step == 0)
			close_in_order(_metadata, files, nr);
		++*orders;
		return;
	}
	for (i = at; i < nr; i++) {
		tmp = files[at];
		files[at] = files[i];
		files[i] = tmp;
		permute(_metadata, files, nr, at + 1, step, orders);
		files[i] = files[at];
		files[at] = tmp;
	}
}

TEST_F(order, all)
{
	enum which files[NR_FILES] = { VM, CONTAINER, GROUP, DEVICE, PVIOMMU };
	int orders = 0;

	files[variant->first] = files[0];
	files[0] = variant->first;
	/* A slow kernel is shown some. */
	permute(_metadata, files, NR_FILES, 1, NR_ORDERS / test_rounds(NR_ORDERS),
		&orders);
	EXPECT_EQ(NR_ORDERS, orders);
}

FIXTURE(order_by) {
};

FIXTURE_VARIANT(order_by) {
	enum vfio_way way;
};

FIXTURE_VARIANT_ADD(order_by, cdev) { .way = VFIO_BY_CDEV };

FIXTURE_SETUP(order_by)
{
	if (!vfio_use(variant->way))
		SKIP(return, "this kernel has no iommufd");
}

FIXTURE_TEARDOWN(order_by)
{
}

/* A slow kernel is shown one for each file that is the first. */
TEST_F(order_by, all)
{
	enum which files[] = { VM, CONTAINER, DEVICE, PVIOMMU };
	int orders = 0;

	permute(_metadata, files, 4, 0, test_rounds(NR_ORDERS) < NR_ORDERS ? 6 : 1,
		&orders);
	EXPECT_EQ(NR_ORDERS, orders);
}

/*
 * What still works half-way.
 */
FIXTURE(vmm) {
	struct ctx ctx;
};

FIXTURE_SETUP(vmm)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, 0));
}

FIXTURE_TEARDOWN(vmm)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

TEST_F(vmm, closed_with_many_pages_pinned)
{
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, 700);
	ASSERT_EQ(0, hc_sync_all(ctx, 0, 700));
	EXPECT_EQ(ctx->pins + 700, pins_now());
	close_fd(&ctx->fd);
	EXPECT_EQ(ctx->pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

TEST_F(vmm, hypercalls_after_close)
{
	EXPECT_EQ(1, hc_sync(&self->ctx, 0, 1));
	close_fd(&self->ctx.fd);
	EXPECT_EQ(-1000, hc_sync(&self->ctx, 0, 1));
}

/* VFIO keeps the group from others as long as the module has its file. */
TEST_F(vmm, vfio_closed_and_opened_again)
{
	struct ctx *ctx = &self->ctx;

	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(-1, vfio_dev_open(&ctx->edu, edu_bdf()));
	EXPECT_EQ(EBUSY, errno);
	vfio_dev_close(&ctx->edu);
	close_fd(&ctx->fd);
	EXPECT_EQ(0, vfio_dev_open(&ctx->edu, edu_bdf()));
}

TEST_F(vmm, reset_without_a_vm)
{
	struct ctx *ctx = &self->ctx;

	table_fill(ctx, 0, NR_PAGES);
	ASSERT_EQ(NR_PAGES, hc_sync(ctx, 0, NR_PAGES));
	vm_destroy(&ctx->vm);
	EXPECT_EQ(ctx->pins + NR_PAGES, pins_now());
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	EXPECT_EQ(ctx->pins, pins_now());
}

static void *close_thread(void *data)
{
	close_fd(data);
	return NULL;
}

/*
 * The pviommu is closed while a vCPU is in it: the close waits, the vCPU finishes
 * what it does, and nothing stays.
 */
FIXTURE(inside) {
	struct ctx ctx;
};

FIXTURE_VARIANT(inside) {
	__u64 held;		/* GPA of the page that the vCPU is held at */
	struct vm_args args;	/* what it calls */
	__s64 result;
};

FIXTURE_VARIANT_ADD(inside, sync) {
	.held = GPA_DATA,
	.args = { KVM_HC_PVIOMMU, PVIOMMU_OP_SYNC, 0, 1 },
	.result = 1,
};

/* Without any lock. */
FIXTURE_VARIANT_ADD(inside, probe) {
	.held = GPA_BUFFER,
	.args = { KVM_HC_PVIOMMU, PVIOMMU_OP_PROBE, GPA_BUFFER, 64 },
	.result = sizeof(struct pviommu_probe_info),
};

FIXTURE_SETUP(inside)
{
	ASSERT_EQ(0, ctx_open(&self->ctx, true));
	ASSERT_EQ(0, setup_enabled(&self->ctx, 0));
	table_fill(&self->ctx, 0, 1);
}

FIXTURE_TEARDOWN(inside)
{
	ctx_close_all(&self->ctx);
	EXPECT_EQ(self->ctx.pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

TEST_F(inside, close_waits)
{
	struct ctx *ctx = &self->ctx;
	struct userfault held;
	struct vcpu_call call;
	pthread_t closer;
	int fd = ctx->fd;

	ASSERT_EQ(0, userfault_hold(&held, ctx->vm.mem + variant->held));
	vcpu_call_start(&call, &ctx->vm.vcpu, variant->args);
	userfault_wait(&held);
	ASSERT_EQ(0, pthread_create(&closer, NULL, close_thread, &ctx->fd));
	/* The number is free at once, the file is not. */
	while (fcntl(fd, F_GETFD) >= 0)
		usleep(1000);
	usleep(300000);
	EXPECT_EQ(fd, ctx->fd);
	EXPECT_FALSE(atomic_load(&call.done));
	ASSERT_EQ(0, userfault_release(&held));
	EXPECT_EQ(variant->result, vcpu_call_end(&call));
	pthread_join(closer, NULL);
	EXPECT_EQ(ctx->pins, pins_now());
	EXPECT_EQ(-1000, hc_sync(ctx, 0, 1));
}

/*
 * The whole VMM is killed. The parent looks on.
 */
static void check_nothing_left(struct __test_metadata *_metadata, long pins)
{
	struct vfio_dev edu;

	EXPECT_EQ(pins, pins_now());
	ASSERT_EQ(0, vfio_dev_open(&edu, edu_bdf()));
	vfio_dev_close(&edu);
}

/* Runs @vmm in a child until it says that it is ready, and kills it. */
static void kill_vmm(struct __test_metadata *_metadata,
		     void (*vmm)(struct ctx *ctx, int ready, int which),
		     int which)
{
	long pins = pins_now();
	int ready[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct ctx ctx;

		close(ready[0]);
		if (!ctx_open(&ctx, true) && !setup_enabled(&ctx, 0))
			vmm(&ctx, ready[1], which);
		_exit(1);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(ready[0]);
	check_nothing_left(_metadata, pins);
}

static void tell(int ready)
{
	if (write(ready, "r", 1) != 1)
		_exit(3);
}

/* A vCPU is in the module all the time. */
static void busy_vmm(struct ctx *ctx, int ready, int which)
{
	unsigned int round;

	table_fill(ctx, 0, 100);
	if (hc_sync(ctx, 0, 100) != 100 ||
	    !device_writes(ctx, page_iova(7), guest_page(ctx, 7)))
		_exit(2);
	for (round = 0; ; round++) {
		table_clear(ctx, 0, 100);
		hc_sync(ctx, 0, 100);
		table_fill(ctx, 0, 100);
		hc_sync(ctx, 0, 100);
		if (round == 20)
			tell(ready);
	}
}

TEST(killed_while_busy)
{
	kill_vmm(_metadata, busy_vmm, 0);
}

FIXTURE(killed) {
};

FIXTURE_VARIANT(killed) {
	int held;	/* GPA of the page that a vCPU is held at */
};

FIXTURE_VARIANT_ADD(killed, at_a_page_to_be_pinned) { .held = GPA_DATA };
FIXTURE_VARIANT_ADD(killed, at_a_leaf) { .held = GPA_LEAVES };
FIXTURE_VARIANT_ADD(killed, at_the_directory) { .held = GPA_DIRECTORY };
FIXTURE_VARIANT_ADD(killed, at_the_list) { .held = GPA_BUFFER };

FIXTURE_SETUP(killed)
{
}

FIXTURE_TEARDOWN(killed)
{
}

/* A vCPU is held in a SYNC_LIST, with other pages mapped before. */
static void held_vmm(struct ctx *ctx, int ready, int gpa)
{
	struct pviommu_range *range =
		(struct pviommu_range *)(ctx->vm.mem + GPA_BUFFER);
	struct userfault held;
	struct vcpu_call call;

	table_fill(ctx, 512, 100);
	if (hc_sync(ctx, 512, 100) != 100)
		_exit(2);
	table_fill(ctx, 0, 4);
	*range = (struct pviommu_range){ 0, 4 };
	if (userfault_hold(&held, ctx->vm.mem + gpa))
		_exit(3);
	vcpu_call_start(&call, &ctx->vm.vcpu, (struct vm_args){
			.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_SYNC_LIST,
			.rcx = GPA_BUFFER, .rdx = 1 });
	userfault_wait(&held);
	tell(ready);
	pause();
}

TEST_F(killed, held)
{
	kill_vmm(_metadata, held_vmm, variant->held);
}

/* Memory of this process alone, in a file that has no name. */
#define PRIVATE_DIR	"/dev/shm"
#define PRIVATE_SIZE	(256 * VM_PAGE_SIZE)

static int hold_memory(void)
{
	int fd = open(PRIVATE_DIR, O_TMPFILE | O_RDWR, 0600);
	void *mem;

	if (fd < 0 || ftruncate(fd, PRIVATE_SIZE))
		return -1;
	mem = mmap(NULL, PRIVATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mem == MAP_FAILED || madvise(mem, PRIVATE_SIZE, MADV_DONTFORK))
		return -1;
	memset(mem, 1, PRIVATE_SIZE);
	return 0;
}

/*
 * A child has inherited all files. The VMM ends, and the pviommu lives on until
 * the child ends, too; but not the VMM's memory.
 */
TEST(forked_child_outlives_the_vmm)
{
	struct statvfs before, after;
	int ready[2], go[2], status;
	long pins = pins_now();
	pid_t vmm, child;

	ASSERT_EQ(0, statvfs(PRIVATE_DIR, &before));
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	vmm = fork();
	ASSERT_LE(0, vmm);
	if (!vmm) {
		struct ctx ctx;
		char byte;

		close(go[1]);
		if (hold_memory())
			_exit(4);
		if (ctx_open(&ctx, true) || setup_enabled(&ctx, 0))
			_exit(1);
		table_fill(&ctx, 0, NR_PAGES);
		if (hc_sync(&ctx, 0, NR_PAGES) != NR_PAGES)
			_exit(2);
		child = fork();
		if (child)
			_exit(write(ready[1], &child, sizeof(child)) !=
			      sizeof(child));
		/* Neither ours nor in reach. */
		if (__reset(ctx.fd, 0) != -1 || errno != EPERM)
			_exit(3);
		_exit(read(go[0], &byte, 1) != 0);
	}
	ASSERT_EQ(sizeof(child), read(ready[0], &child, sizeof(child)));
	ASSERT_EQ(vmm, waitpid(vmm, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(pins + NR_PAGES, pins_now());
	ASSERT_EQ(0, statvfs(PRIVATE_DIR, &after));
	EXPECT_EQ(before.f_bfree, after.f_bfree);

	close(go[0]);
	close(go[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	check_nothing_left(_metadata, pins);
}

TEST_HARNESS_MAIN
