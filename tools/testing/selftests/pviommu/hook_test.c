// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hook in KVM's hypercalls: it comes and goes under running vCPUs, and gets
 * along with other users of ftrace. Every test leaves the module loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#include "aperture.h"
#include "load.h"
#include "module.h"
#include "userfault.h"
#include "vcpu_mode.h"

#define CYCLES			200
#define KVM_ENOSYS_RC		(-1000)
#define HV_FLUSH_ADDRESS_SPACE	2
#define HV_SUCCESS		0

#define PROBED	((__s64)sizeof(struct pviommu_probe_info))

#define FTRACE_ENABLED	"/proc/sys/kernel/ftrace_enabled"

static const struct vm_args probe_args = {
	.nr = KVM_HC_PVIOMMU, .rbx = PVIOMMU_OP_PROBE, .rcx = GPA_BUFFER,
	.rdx = VM_PAGE_SIZE,
};

FIXTURE(hook) {
	struct module pviommu;
	struct module other;
	struct vm vm;
	long pins;
};

FIXTURE_SETUP(hook)
{
	self->pins = pins_now();
	self->pviommu = module_read("kvm_pviommu");
	self->other = module_read("pviommu_test_ipmodify");
	ASSERT_TRUE(module_loaded(&self->pviommu));
	ASSERT_EQ(0, vm_create(&self->vm));
}

FIXTURE_TEARDOWN(hook)
{
	vm_destroy(&self->vm);
	if (module_loaded(&self->other))
		EXPECT_EQ(0, module_unload(&self->other));
	if (!module_loaded(&self->pviommu))
		EXPECT_EQ(0, module_load(&self->pviommu));
	EXPECT_EQ(self->pins, pins_now());
}

/* Does the module answer @vm? */
static bool answers(struct vm *vm)
{
	int fd = open("/dev/pviommu", O_RDWR | O_CLOEXEC);
	bool ret = fd >= 0 && !__bind(fd, vm->vm_fd) &&
		   vcpu_hypercall(&vm->vcpu, &probe_args) == PROBED;

	if (fd >= 0)
		close(fd);
	return ret;
}

TEST_F(hook, refused_while_open)
{
	int fd = open("/dev/pviommu", O_RDWR);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, module_unload(&self->pviommu));
	EXPECT_EQ(EWOULDBLOCK, errno);
	EXPECT_TRUE(module_loaded(&self->pviommu));
	close(fd);
	EXPECT_EQ(0, module_unload(&self->pviommu));
	EXPECT_EQ(-1, access("/dev/pviommu", F_OK));
	EXPECT_EQ(KVM_ENOSYS_RC, vcpu_hypercall(&self->vm.vcpu, &probe_args));
	EXPECT_EQ(0, module_load(&self->pviommu));
	EXPECT_TRUE(answers(&self->vm));
}

TEST_F(hook, refused_while_bound)
{
	int fd = open("/dev/pviommu", O_RDWR);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, __bind(fd, self->vm.vm_fd));
	EXPECT_EQ(-1, module_unload(&self->pviommu));
	EXPECT_EQ(EWOULDBLOCK, errno);
	EXPECT_EQ(PROBED, vcpu_hypercall(&self->vm.vcpu, &probe_args));
	close(fd);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/*
 * A vCPU of a VM that has no pviommu sleeps in KVM's hypercall emulation: Hyper-V's
 * flush reads its operands from a page that is withheld. What is in rax is not for
 * Hyper-V to look at, but makes the hook claim the call, or leave it alone.
 */
FIXTURE(asleep) {
	struct module pviommu;
	struct vm vm;
	struct userfault held;
	struct vcpu_call call;
	struct module_unloading unloading;
	double usual;	/* how long unloading takes, in seconds */
};

FIXTURE_VARIANT(asleep) {
	__u64 nr;
};

FIXTURE_VARIANT_ADD(asleep, in_a_claimed_call) { .nr = KVM_HC_PVIOMMU };
FIXTURE_VARIANT_ADD(asleep, in_another_call) { .nr = KVM_HC_PVIOMMU + 1 };

FIXTURE_SETUP(asleep)
{
	const struct vm_args flush = {
		.nr = variant->nr, .rcx = HV_FLUSH_ADDRESS_SPACE,
		.rdx = GPA_BUFFER,
	};
	double start;

	self->pviommu = module_read("kvm_pviommu");
	ASSERT_EQ(0, vm_create(&self->vm));
	ASSERT_EQ(0, vcpu_enable_hyperv(&self->vm, &self->vm.vcpu, true));
	memset(self->vm.mem + GPA_BUFFER, 0, VM_PAGE_SIZE);
	ASSERT_EQ(HV_SUCCESS, vcpu_hypercall(&self->vm.vcpu, &flush));

	start = seconds();
	ASSERT_EQ(0, module_unload(&self->pviommu));
	self->usual = seconds() - start;
	ASSERT_EQ(0, module_load(&self->pviommu));

	ASSERT_EQ(0, userfault_hold(&self->held, self->vm.mem + GPA_BUFFER));
	vcpu_call_start(&self->call, &self->vm.vcpu, flush);
	userfault_wait(&self->held);
	module_unload_start(&self->unloading, &self->pviommu);
}

FIXTURE_TEARDOWN(asleep)
{
	vm_destroy(&self->vm);
	if (!module_loaded(&self->pviommu))
		EXPECT_EQ(0, module_load(&self->pviommu));
}

/* The vCPU goes on, and finds KVM's text where it left it. */
static void wake_up(struct __test_metadata *_metadata, struct vm *vm,
		    struct userfault *held, struct vcpu_call *call)
{
	EXPECT_FALSE(atomic_load(&call->done));
	ASSERT_EQ(0, userfault_release(held));
	EXPECT_EQ(HV_SUCCESS, vcpu_call_end(call));
	ASSERT_EQ(0, vcpu_enable_hyperv(vm, &vm->vcpu, false));
}

/* The text that the vCPU will return to must not go; other calls do not matter. */
TEST_F(asleep, unload)
{
	double start = seconds();

	if (variant->nr == KVM_HC_PVIOMMU) {
		while (seconds() - start < 5 * self->usual + 1)
			usleep(10000);
		EXPECT_FALSE(atomic_load(&self->unloading.done));
		wake_up(_metadata, &self->vm, &self->held, &self->call);
		EXPECT_EQ(0, module_unload_end(&self->unloading));
	} else {
		EXPECT_EQ(0, module_unload_end(&self->unloading));
		wake_up(_metadata, &self->vm, &self->held, &self->call);
	}
	EXPECT_FALSE(module_loaded(&self->pviommu));
	EXPECT_EQ(KVM_ENOSYS_RC, vcpu_hypercall(&self->vm.vcpu, &probe_args));
	ASSERT_EQ(0, module_load(&self->pviommu));
	EXPECT_TRUE(answers(&self->vm));
}

/* A vCPU that calls all the time, and what it was told. */
struct caller {
	struct vcpu *vcpu;
	atomic_bool stop;
	atomic_ulong answered, not_there, wrong;
	pthread_t thread;
};

static void *caller_thread(void *data)
{
	struct caller *caller = data;
	unsigned int i = 0;

	while (!atomic_load(&caller->stop)) {
		__s64 rc = vcpu_hypercall(caller->vcpu, &probe_args);

		if (rc == PROBED)
			atomic_fetch_add(&caller->answered, 1);
		else if (rc == KVM_ENOSYS_RC)
			atomic_fetch_add(&caller->not_there, 1);
		else
			atomic_fetch_add(&caller->wrong, 1);
		/* RCU waits long for a task that never sleeps. */
		if (++i % 4 == 0)
			usleep(1000);
	}
	return NULL;
}

/* Until the caller has been told once more. */
static void wait_for(atomic_ulong *count)
{
	unsigned long before = atomic_load(count);

	while (atomic_load(count) == before)
		usleep(100);
}

TEST_F_TIMEOUT(hook, comes_and_goes_under_running_vcpus, 300)
{
	struct caller callers[2] = {};
	struct vcpu second;
	double start;
	int i, fd;

	ASSERT_EQ(0, vcpu_create(&self->vm, &second, 1));
	callers[0].vcpu = &self->vm.vcpu;
	callers[1].vcpu = &second;
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&callers[i].thread, NULL,
					    caller_thread, &callers[i]));
	start = seconds();
	for (i = 0; i < test_rounds(CYCLES); i++) {
		if (i % 20 == 0)
			TH_LOG("cycle %d", i);
		ASSERT_EQ(0, module_unload(&self->pviommu));
		if (i % 20 == 0)
			wait_for(&callers[0].not_there);
		ASSERT_EQ(0, module_load(&self->pviommu));
		if (i % 20 == 0) {
			fd = open("/dev/pviommu", O_RDWR | O_CLOEXEC);
			ASSERT_LE(0, fd);
			ASSERT_EQ(0, __bind(fd, self->vm.vm_fd));
			wait_for(&callers[0].answered);
			wait_for(&callers[1].answered);
			close(fd);
		}
	}
	TH_LOG("%d cycles in %.1f s", i, seconds() - start);
	for (i = 0; i < 2; i++) {
		atomic_store(&callers[i].stop, true);
		pthread_join(callers[i].thread, NULL);
		EXPECT_EQ(0, callers[i].wrong);
		EXPECT_LT(0, callers[i].not_there);
		EXPECT_LT(0, callers[i].answered);
		TH_LOG("vCPU %d: %lu answers, %lu times none", i,
		       callers[i].answered, callers[i].not_there);
	}
	vcpu_destroy(&second);
}

/*
 * ftrace redirects a function to one place only.
 */
TEST_F(hook, another_redirects_already)
{
	int kmsg;

	ASSERT_EQ(0, module_unload(&self->pviommu));
	ASSERT_EQ(0, module_load(&self->other));
	kmsg = kmsg_begin();
	EXPECT_EQ(-1, module_load(&self->pviommu));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_TRUE(kmsg_has(kmsg, "cannot redirect kvm_emulate_hypercall()"));
	EXPECT_EQ(-1, access("/dev/pviommu", F_OK));
	EXPECT_EQ(KVM_ENOSYS_RC, vcpu_hypercall(&self->vm.vcpu, &probe_args));

	ASSERT_EQ(0, module_unload(&self->other));
	ASSERT_EQ(0, module_load(&self->pviommu));
	EXPECT_TRUE(answers(&self->vm));
}

TEST_F(hook, another_wants_to_redirect)
{
	EXPECT_TRUE(answers(&self->vm));
	EXPECT_EQ(-1, module_load(&self->other));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_TRUE(answers(&self->vm));
}

static int set_ftrace(const char *value)
{
	int fd = open(FTRACE_ENABLED, O_WRONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -1;
	len = write(fd, value, 1);
	close(fd);
	return len == 1 ? 0 : -1;
}

TEST_F(hook, ftrace_cannot_be_switched_off)
{
	EXPECT_TRUE(answers(&self->vm));
	EXPECT_EQ(-1, set_ftrace("0"));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_TRUE(answers(&self->vm));

	/* It is the module that forbids it. */
	ASSERT_EQ(0, module_unload(&self->pviommu));
	EXPECT_EQ(0, set_ftrace("0"));
	EXPECT_EQ(0, set_ftrace("1"));
}

TEST_F(hook, ftrace_is_switched_off)
{
	int kmsg;

	ASSERT_EQ(0, module_unload(&self->pviommu));
	ASSERT_EQ(0, set_ftrace("0"));
	kmsg = kmsg_begin();
	EXPECT_EQ(-1, module_load(&self->pviommu));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, set_ftrace("1"));
	EXPECT_TRUE(kmsg_has(kmsg, "kernel.ftrace_enabled"));
	EXPECT_EQ(-1, access("/dev/pviommu", F_OK));
}

TEST_HARNESS_MAIN
