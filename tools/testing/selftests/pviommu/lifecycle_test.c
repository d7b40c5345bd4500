// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits of the VMM, and how it can end: nothing stays pinned, and the device
 * reaches nothing until somebody else has it.
 */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "aperture.h"

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

static void map_some(struct ctx *ctx, __u64 first, __u64 count)
{
	__u64 i;

	for (i = first; i < first + count; i++)
		table_set(ctx, i, guest_page_entry(i, RW));
}

/* CAP_IPC_LOCK lifts the limit. */
static int drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -1;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	return syscall(SYS_capset, &header, data);
}

TEST_F(vmm, pins_show_in_vmlck)
{
	struct pviommu_aperture_stats stats;
	struct ctx *ctx = &self->ctx;

	EXPECT_EQ(0, locked_kib());
	map_some(ctx, 0, 300);
	ASSERT_EQ(300, hc_sync(ctx, 0, 300));
	EXPECT_LE(300 * 4, locked_kib());
	/* In chunks, but not in large ones. */
	EXPECT_GE(364 * 4, locked_kib());
	ASSERT_EQ(0, __stats(ctx->fd, 0, &stats));
	EXPECT_EQ(locked_kib(), stats.charged * 4);

	memset(ctx->vm.mem + GPA_LEAVES, 0, VM_PAGE_SIZE);
	ASSERT_EQ(300, hc_sync_flags(ctx, 0, 300, PVIOMMU_SYNC_UNMAP));
	EXPECT_GE(64 * 4, locked_kib());
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	EXPECT_EQ(0, locked_kib());
}

TEST_F(vmm, memlock_limit_to_its_last_page)
{
	const struct rlimit limit = { 100 * 4096, 100 * 4096 };
	struct ctx *ctx = &self->ctx;
	__u64 done = 0;
	__s64 n;

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	ASSERT_EQ(0, drop_ipc_lock());
	map_some(ctx, 0, 101);
	while (done < 101) {
		n = hc_sync(ctx, done, 101 - done);
		if (n < 0)
			break;
		ASSERT_NE(0, n);
		done += n;
	}
	EXPECT_EQ(100, done);
	EXPECT_EQ(PVIOMMU_RC_LOCK_LIMIT, n);
	EXPECT_EQ(400, locked_kib());
	EXPECT_EQ(ctx->pins + 100, pins_now());

	/* What goes makes room. */
	table_set(ctx, 0, 0);
	ASSERT_EQ(1, hc_sync(ctx, 0, 1));
	EXPECT_EQ(1, hc_sync(ctx, 100, 1));
	EXPECT_EQ(ctx->pins + 100, pins_now());
}

TEST_F(vmm, memlock_limit_is_lifted_by_capability)
{
	const struct rlimit limit = { 4096, 4096 };

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	map_some(&self->ctx, 0, 50);
	EXPECT_EQ(50, hc_sync(&self->ctx, 0, 50));
}

TEST_F(vmm, closed_with_pages_pinned)
{
	struct ctx *ctx = &self->ctx;

	map_some(ctx, 0, 700);
	ASSERT_EQ(512, hc_sync(ctx, 0, 512));
	ASSERT_EQ(188, hc_sync(ctx, 512, 188));
	EXPECT_EQ(ctx->pins + 700, pins_now());
	close(ctx->fd);
	ctx->fd = -1;
	EXPECT_EQ(ctx->pins, pins_now());
	EXPECT_EQ(0, locked_kib());
}

TEST_F(vmm, hypercalls_after_close)
{
	struct ctx *ctx = &self->ctx;

	close(ctx->fd);
	ctx->fd = -1;
	EXPECT_EQ(-1000, hc_sync(ctx, 0, 1));
}

TEST_F(vmm, vfio_closed_first)
{
	struct ctx *ctx = &self->ctx;

	map_some(ctx, 0, 10);
	ASSERT_EQ(10, hc_sync(ctx, 0, 10));
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(ctx->pins + 10, pins_now());
	close(ctx->fd);
	ctx->fd = -1;
	EXPECT_EQ(ctx->pins, pins_now());
	/* VFIO has let it go by now: it can be opened anew. */
	EXPECT_EQ(0, vfio_dev_open(&ctx->edu, edu_bdf()));
}

TEST_F(vmm, vm_closed_first)
{
	struct ctx *ctx = &self->ctx;

	map_some(ctx, 0, 10);
	ASSERT_EQ(10, hc_sync(ctx, 0, 10));
	vm_destroy(&ctx->vm);
	EXPECT_EQ(ctx->pins + 10, pins_now());
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	EXPECT_EQ(ctx->pins, pins_now());
}

TEST_F(vmm, guest_memory_unmapped_first)
{
	struct ctx *ctx = &self->ctx;

	map_some(ctx, 0, 10);
	ASSERT_EQ(10, hc_sync(ctx, 0, 10));
	ASSERT_EQ(0, munmap(guest_page(ctx, 0), 10 * VM_PAGE_SIZE));
	ASSERT_EQ(0, hc(ctx, PVIOMMU_OP_DISABLE, 0, 0, 0));
	EXPECT_EQ(ctx->pins, pins_now());
}

/* Pages that the device could write are dirty for migration, whoever lets go. */
TEST_F(vmm, dirty_log)
{
	unsigned long bitmap[VM_MEM_SIZE / VM_PAGE_SIZE / 64];
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };
	unsigned int gfn = GPA_DATA / VM_PAGE_SIZE;
	struct ctx *ctx = &self->ctx;

	ASSERT_EQ(0, vm_set_memslot(&ctx->vm, 0, 0, ctx->vm.mem, VM_MEM_SIZE,
				    KVM_MEM_LOG_DIRTY_PAGES));
	table_set(ctx, 0, guest_page_entry(0, RW));
	table_set(ctx, 1, guest_page_entry(1, PVIOMMU_ENTRY_READ));
	table_set(ctx, 2, guest_page_entry(2, RW));
	ASSERT_EQ(3, hc_sync(ctx, 0, 3));
	ASSERT_EQ(0, ioctl(ctx->vm.vm_fd, KVM_GET_DIRTY_LOG, &log));

	table_set(ctx, 0, 0);
	table_set(ctx, 1, 0);
	ASSERT_EQ(2, hc_sync(ctx, 0, 2));
	ASSERT_EQ(0, ioctl(ctx->vm.vm_fd, KVM_GET_DIRTY_LOG, &log));
	EXPECT_EQ(1, bitmap[gfn / 64] >> gfn % 64 & 1);
	EXPECT_EQ(0, bitmap[gfn / 64] >> (gfn % 64 + 1) & 1);

	/* Not by a vCPU. */
	ASSERT_EQ(0, __reset(ctx->fd, 0));
	ASSERT_EQ(0, ioctl(ctx->vm.vm_fd, KVM_GET_DIRTY_LOG, &log));
	EXPECT_EQ(1, bitmap[gfn / 64] >> (gfn % 64 + 2) & 1);
}

/* Tells vfio-pci to @action, "bind" or "unbind", the device; in another process. */
static pid_t start_driver(const char *action)
{
	char command[128];
	pid_t pid;

	snprintf(command, sizeof(command),
		 "echo %s >/sys/bus/pci/drivers/vfio-pci/%s", edu_bdf(), action);
	pid = fork();
	if (!pid) {
		/* By exec, so that the test's files are closed. */
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	return pid;
}

static int end_driver(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static bool pins_become(long pins)
{
	unsigned int i;

	for (i = 0; i < 100 && pins_now() != pins; i++)
		usleep(50000);
	return pins_now() == pins;
}

TEST_F(vmm, driver_unbound)
{
	struct ctx *ctx = &self->ctx;
	pid_t pid;

	map_some(ctx, 0, 10);
	ASSERT_EQ(10, hc_sync(ctx, 0, 10));
	EXPECT_EQ(ctx->pins + 10, pins_now());

	/* It waits for our VFIO file, but not for the module's. */
	pid = start_driver("unbind");
	ASSERT_LE(0, pid);
	EXPECT_TRUE(pins_become(ctx->pins));
	EXPECT_EQ(PVIOMMU_RC_NO_ENDPOINT,
		  hc_endpoint(ctx, 0, 0, 1, GUEST_DEVFN));
	EXPECT_EQ(-1, __detach(ctx->fd, 0, ctx->edu_host));
	EXPECT_EQ(ENOENT, errno);
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(0, end_driver(pid));
	EXPECT_EQ(0, end_driver(start_driver("bind")));
}

TEST_F(vmm, driver_unbound_when_only_the_module_has_the_file)
{
	struct ctx *ctx = &self->ctx;

	map_some(ctx, 0, 10);
	ASSERT_EQ(10, hc_sync(ctx, 0, 10));
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(0, end_driver(start_driver("unbind")));
	EXPECT_EQ(ctx->pins, pins_now());
	EXPECT_EQ(0, end_driver(start_driver("bind")));
}

TEST_F(vmm, attach_while_the_driver_is_being_unbound)
{
	struct ctx *ctx = &self->ctx;
	pid_t pid;

	ASSERT_EQ(0, __detach(ctx->fd, 0, ctx->edu_host));
	pid = start_driver("unbind");
	ASSERT_LE(0, pid);
	usleep(500000);
	EXPECT_EQ(-1, __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			       GUEST_DEVFN));
	EXPECT_EQ(EAGAIN, errno);
	vfio_dev_close(&ctx->edu);
	EXPECT_EQ(0, end_driver(pid));
	EXPECT_EQ(0, end_driver(start_driver("bind")));
}

/*
 * The whole VMM is killed. The parent looks on.
 */
TEST(vmm_killed)
{
	long pins = pins_now();
	int ready[2], status;
	struct vfio_dev edu;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct ctx ctx;

		if (ctx_open(&ctx, true) || setup_enabled(&ctx, 0))
			_exit(1);
		map_some(&ctx, 0, 100);
		if (hc_sync(&ctx, 0, 100) != 100 ||
		    !device_writes(&ctx, page_iova(7), guest_page(&ctx, 7)))
			_exit(2);
		if (write(ready[1], "r", 1) != 1)
			_exit(3);
		/* Keep a vCPU in the module until the end. */
		for (;;) {
			memset(ctx.vm.mem + GPA_LEAVES, 0, VM_PAGE_SIZE);
			hc_sync(&ctx, 0, 100);
			map_some(&ctx, 0, 100);
			hc_sync(&ctx, 0, 100);
		}
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	usleep(200000);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(pins, pins_now());

	/* The device can be had again. */
	ASSERT_EQ(0, vfio_dev_open(&edu, edu_bdf()));
	vfio_dev_close(&edu);
}

TEST_HARNESS_MAIN
