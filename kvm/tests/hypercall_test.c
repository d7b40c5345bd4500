// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hypercalls: operands that are refused, and what is written into the guest.
 */
#include <linux/kvm_para.h>

#include "fixture.h"

/**
 * struct hypercall_fixture - a VM with a vCPU
 * @vcpu: never runs
 * @fix: its aperture 0
 */
struct hypercall_fixture {
	struct kvm_vcpu *vcpu;
	struct fixture *fix;
};

static struct hypercall_fixture hc;

static int hypercall_init(struct kunit *test)
{
	struct fixture *fix = fixture_create(test, WINDOW_PAGES, 100);
	struct pviommu_vm *vm = &fix->vm;

	hc.fix = fix;
	hc.vcpu = kunit_kzalloc(test, sizeof(*hc.vcpu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, hc.vcpu);
	hc.vcpu->kvm = fix->fake.kvm;
	/* Else KVM wants it to run when it writes to the guest. */
	refcount_set(&fix->fake.kvm->users_count, 0);

	vm->apertures[0] = fix->ap;
	vm->nr_apertures = 1;
	refcount_set(&vm->users, 1);
	init_completion(&vm->idle);
	KUNIT_ASSERT_EQ(test, pviommu_vm_publish(vm, fix->fake.kvm), 0);
	return 0;
}

static void hypercall_exit(struct kunit *test)
{
	struct fixture *fix = test->priv;

	if (fix && fix->vm.nr_apertures) {
		pviommu_vm_withdraw(&fix->vm);
		synchronize_rcu();
		KUNIT_EXPECT_EQ(test, refcount_read(&fix->vm.users), 1);
	}
	fixture_exit(test);
}

static s64 hypercall(u32 op, u32 id, u64 a, u64 b, u64 c)
{
	const u64 args[3] = { a, b, c };
	int idx = srcu_read_lock(&hc.vcpu->kvm->srcu);
	s64 ret = pviommu_hypercall(hc.vcpu,
				    (u64)id << PVIOMMU_APERTURE_SHIFT | op,
				    args);

	srcu_read_unlock(&hc.vcpu->kvm->srcu, idx);
	return ret;
}

#define BUFFER		FRAME(FRAME_BUFFER, 0)
#define ROOT(_depth)	((u64)(_depth) << PVIOMMU_PATH_DEPTH_SHIFT)
#define PROBE_LEN	((s64)sizeof(struct pviommu_probe_info))
#define INFO_LEN	((s64)sizeof(struct pviommu_aperture_info))

struct operand_case {
	const char *name;
	u32 op;
	u32 id;
	u64 args[3];
	s64 ret;
};

static const struct operand_case operand_cases[] = {
	{ "PROBE", PVIOMMU_OP_PROBE, 0, { BUFFER, 4096 }, PROBE_LEN },
	{ "PROBE without room", PVIOMMU_OP_PROBE, 0, {}, PROBE_LEN },
	{ "PROBE of an aperture", PVIOMMU_OP_PROBE, 1, { BUFFER, 4096 },
	  PVIOMMU_RC_BAD_ARG },
	{ "PROBE with a third operand", PVIOMMU_OP_PROBE, 0,
	  { BUFFER, 4096, 1 }, PVIOMMU_RC_BAD_ARG },
	{ "PROBE into nothing", PVIOMMU_OP_PROBE, 0, { 0, 4096 },
	  PVIOMMU_RC_NO_RAM },
	{ "PROBE into read-only memory", PVIOMMU_OP_PROBE, 0,
	  { FAKE_GPA(FAKE_READ_ONLY), 4096 }, PVIOMMU_RC_NO_RAM },
	{ "PROBE into a slot that is being changed", PVIOMMU_OP_PROBE, 0,
	  { FAKE_GPA(FAKE_CHANGING), 4096 }, PVIOMMU_RC_RETRY },

	{ "ENDPOINT that is not there", PVIOMMU_OP_ENDPOINT, 0,
	  { ROOT(1), 0x28 }, PVIOMMU_RC_NO_ENDPOINT },
	{ "ENDPOINT as deep as it may be", PVIOMMU_OP_ENDPOINT, 0,
	  { ROOT(8), 0x0102030405060708 }, PVIOMMU_RC_NO_ENDPOINT },
	{ "ENDPOINT of an aperture", PVIOMMU_OP_ENDPOINT, 1,
	  { ROOT(1), 0x28 }, PVIOMMU_RC_BAD_ARG },
	{ "ENDPOINT of no depth", PVIOMMU_OP_ENDPOINT, 0, {},
	  PVIOMMU_RC_BAD_ARG },
	{ "ENDPOINT too deep", PVIOMMU_OP_ENDPOINT, 0, { ROOT(9), 0x28 },
	  PVIOMMU_RC_BAD_ARG },
	{ "ENDPOINT beyond its depth", PVIOMMU_OP_ENDPOINT, 0,
	  { ROOT(1), 0x128 }, PVIOMMU_RC_BAD_ARG },
	{ "ENDPOINT with a reserved bit", PVIOMMU_OP_ENDPOINT, 0,
	  { ROOT(1) | BIT_ULL(48), 0x28 }, PVIOMMU_RC_BAD_ARG },
	{ "ENDPOINT with a third operand", PVIOMMU_OP_ENDPOINT, 0,
	  { ROOT(1), 0x28, 1 }, PVIOMMU_RC_BAD_ARG },

	{ "APERTURE", PVIOMMU_OP_APERTURE, 0, { BUFFER, 4096 }, INFO_LEN },
	{ "APERTURE that is not there", PVIOMMU_OP_APERTURE, 1,
	  { BUFFER, 4096 }, PVIOMMU_RC_NO_APERTURE },
	{ "APERTURE beyond all", PVIOMMU_OP_APERTURE, U32_MAX,
	  { BUFFER, 4096 }, PVIOMMU_RC_NO_APERTURE },
	{ "APERTURE with a third operand", PVIOMMU_OP_APERTURE, 0,
	  { BUFFER, 4096, 1 }, PVIOMMU_RC_BAD_ARG },
	{ "APERTURE into nothing", PVIOMMU_OP_APERTURE, 0, { 0, 4096 },
	  PVIOMMU_RC_NO_RAM },

	{ "ENABLE", PVIOMMU_OP_ENABLE, 0, { FRAME(FRAME_DIRECTORY, 0) }, 0 },
	{ "ENABLE of a direct table", PVIOMMU_OP_ENABLE, 0,
	  { FRAME(FRAME_DIRECTORY, 0), PVIOMMU_ENABLE_DIRECT }, 0 },
	{ "ENABLE with an unknown flag", PVIOMMU_OP_ENABLE, 0,
	  { FRAME(FRAME_DIRECTORY, 0), 2 }, PVIOMMU_RC_BAD_ARG },
	{ "ENABLE with a third operand", PVIOMMU_OP_ENABLE, 0,
	  { FRAME(FRAME_DIRECTORY, 0), 0, 1 }, PVIOMMU_RC_BAD_ARG },
	{ "ENABLE nowhere", PVIOMMU_OP_ENABLE, 0, { 0 },
	  PVIOMMU_RC_BAD_TABLE },

	{ "DISABLE", PVIOMMU_OP_DISABLE, 0, {}, 0 },
	{ "DISABLE with a first operand", PVIOMMU_OP_DISABLE, 0, { 1 },
	  PVIOMMU_RC_BAD_ARG },
	{ "DISABLE with a second operand", PVIOMMU_OP_DISABLE, 0, { 0, 1 },
	  PVIOMMU_RC_BAD_ARG },
	{ "DISABLE with a third operand", PVIOMMU_OP_DISABLE, 0, { 0, 0, 1 },
	  PVIOMMU_RC_BAD_ARG },

	{ "SYNC", PVIOMMU_OP_SYNC, 0, { 5, 7 }, 7 },
	{ "SYNC with a flag", PVIOMMU_OP_SYNC, 0,
	  { 5, 7, PVIOMMU_SYNC_UNMAP }, 7 },
	{ "SYNC of no aperture", PVIOMMU_OP_SYNC, 1, { 5, 7 },
	  PVIOMMU_RC_NO_APERTURE },
	{ "SYNC_LIST", PVIOMMU_OP_SYNC_LIST, 0, { BUFFER, 4 }, 0 },
	{ "SYNC_LIST that is too long", PVIOMMU_OP_SYNC_LIST, 0,
	  { BUFFER, 257 }, PVIOMMU_RC_BAD_ARG },

	{ "EVENTS", PVIOMMU_OP_EVENTS, 0, { BUFFER, 4096 }, 0 },
	{ "EVENTS with a third operand", PVIOMMU_OP_EVENTS, 0,
	  { BUFFER, 4096, 1 }, PVIOMMU_RC_BAD_ARG },

	{ "no such operation", 8, 0, {}, PVIOMMU_RC_BAD_OP },
	{ "no such operation, nor aperture", 8, 1, {}, PVIOMMU_RC_BAD_OP },
	{ "highest operation", U32_MAX, 0, {}, PVIOMMU_RC_BAD_OP },
};

KUNIT_ARRAY_PARAM_DESC(operand, operand_cases, name);

static void operands_are_checked(struct kunit *test)
{
	const struct operand_case *c = test->param_value;
	struct pviommu_aperture *ap = hc.fix->ap;
	bool counts = c->op > PVIOMMU_OP_ENDPOINT && !c->id;

	KUNIT_EXPECT_EQ(test, hypercall(c->op, c->id, c->args[0], c->args[1],
					c->args[2]), c->ret);
	KUNIT_EXPECT_EQ(test, atomic64_read(&ap->hypercalls), counts);
	KUNIT_EXPECT_EQ(test, atomic64_read(&ap->refused),
			counts && c->ret < 0);
}

static void probe_tells_what_the_host_is(struct kunit *test)
{
	const struct pviommu_probe_info *info;

	info = fake_vm_frame(&hc.fix->fake, FRAME_BUFFER);
	memset(fake_vm_frame(&hc.fix->fake, FRAME_BUFFER), 0xee, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, hypercall(PVIOMMU_OP_PROBE, 0, BUFFER, 4096, 0),
			PROBE_LEN);
	KUNIT_EXPECT_EQ(test, info->version, 1);
	KUNIT_EXPECT_EQ(test, info->nr_apertures, 1);
	KUNIT_EXPECT_EQ(test, info->features,
			PVIOMMU_FEATURE_SYNC_LIST | PVIOMMU_FEATURE_EVENTS |
			PVIOMMU_FEATURE_LARGE | PVIOMMU_FEATURE_DIRECT);
	KUNIT_EXPECT_EQ(test, info->sync_max_pages, 512);
	KUNIT_EXPECT_EQ(test, info->sync_max_ranges, 256);
	KUNIT_EXPECT_EQ(test, ((const u8 *)info)[PROBE_LEN], 0xee);
}

static void answer_is_no_longer_than_the_buffer(struct kunit *test)
{
	const u8 *buffer = fake_vm_frame(&hc.fix->fake, FRAME_BUFFER);

	memset(fake_vm_frame(&hc.fix->fake, FRAME_BUFFER), 0xee, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, hypercall(PVIOMMU_OP_PROBE, 0, BUFFER, 4, 0),
			PROBE_LEN);
	KUNIT_EXPECT_EQ(test, buffer[3], 0);
	KUNIT_EXPECT_EQ(test, buffer[4], 0xee);
}

static void aperture_tells_its_window_and_holes(struct kunit *test)
{
	const struct pviommu_aperture_info *info;
	struct pviommu_aperture *ap = hc.fix->ap;

	ap->nr_holes = 2;
	ap->holes[0] = (struct pviommu_hole){ WINDOW_BASE, SZ_4K };
	ap->holes[1] = (struct pviommu_hole){ WINDOW_BASE + SZ_1M, SZ_8K };
	info = fake_vm_frame(&hc.fix->fake, FRAME_BUFFER);
	KUNIT_ASSERT_EQ(test, hypercall(PVIOMMU_OP_APERTURE, 0, BUFFER, 4096,
					0), INFO_LEN + 32);
	KUNIT_EXPECT_EQ(test, info->base, WINDOW_BASE);
	KUNIT_EXPECT_EQ(test, info->length, WINDOW_PAGES * SZ_4K);
	KUNIT_EXPECT_EQ(test, info->budget, 100);
	KUNIT_EXPECT_EQ(test, info->flags, 0);
	KUNIT_EXPECT_EQ(test, info->nr_holes, 2);
	KUNIT_EXPECT_EQ(test, info->holes[1].base, WINDOW_BASE + SZ_1M);
	KUNIT_EXPECT_EQ(test, info->holes[1].length, SZ_8K);
}

static void add_events(struct fixture *fix, unsigned int nr)
{
	struct pviommu_faults *faults = &fix->ap->faults;
	unsigned int i;

	for (i = 0; i < nr; i++)
		faults->events[i].iova = i << PAGE_SHIFT;
	faults->first = 0;
	faults->next = nr;
}

static void events_are_told_once(struct kunit *test)
{
	const struct pviommu_event *events;
	const size_t len = sizeof(*events);

	events = fake_vm_frame(&hc.fix->fake, FRAME_BUFFER);
	add_events(hc.fix, 5);
	/* As many as there is room for in full. */
	KUNIT_EXPECT_EQ(test, hypercall(PVIOMMU_OP_EVENTS, 0, BUFFER,
					3 * len - 1, 0), 2);
	KUNIT_EXPECT_EQ(test, events[1].iova, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, hypercall(PVIOMMU_OP_EVENTS, 0, BUFFER,
					U64_MAX, 0), 3);
	KUNIT_EXPECT_EQ(test, events[0].iova, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, hypercall(PVIOMMU_OP_EVENTS, 0, BUFFER, 4096, 0),
			0);
}

static void events_that_cannot_be_told_stay(struct kunit *test)
{
	add_events(hc.fix, 2);
	KUNIT_EXPECT_EQ(test, hypercall(PVIOMMU_OP_EVENTS, 0, 0, 4096, 0),
			PVIOMMU_RC_NO_RAM);
	KUNIT_EXPECT_EQ(test, hypercall(PVIOMMU_OP_EVENTS, 0, BUFFER, 4096, 0),
			2);
}

static void vm_without_pviommu_knows_no_hypercall(struct kunit *test)
{
	pviommu_vm_withdraw(&hc.fix->vm);
	KUNIT_EXPECT_EQ(test, hypercall(PVIOMMU_OP_PROBE, 0, BUFFER, 4096, 0),
			-KVM_ENOSYS);
	KUNIT_ASSERT_EQ(test, pviommu_vm_publish(&hc.fix->vm,
						 hc.fix->fake.kvm), 0);
}

static struct kunit_case hypercall_tests[] = {
	KUNIT_CASE_PARAM(operands_are_checked, operand_gen_params),
	KUNIT_CASE(probe_tells_what_the_host_is),
	KUNIT_CASE(answer_is_no_longer_than_the_buffer),
	KUNIT_CASE(aperture_tells_its_window_and_holes),
	KUNIT_CASE(events_are_told_once),
	KUNIT_CASE(events_that_cannot_be_told_stay),
	KUNIT_CASE(vm_without_pviommu_knows_no_hypercall),
	{}
};

static struct kunit_suite hypercall_suite = {
	.name = "kvm_pviommu_hypercall",
	.init = hypercall_init,
	.exit = hypercall_exit,
	.test_cases = hypercall_tests,
};

/* A VM has one pviommu, and none that is being closed. */
static void vm_is_found_until_it_is_closed(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct kvm *kvm = fix->fake.kvm;
	struct pviommu_vm *vm;

	vm = pviommu_vm_open();
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, vm);
	KUNIT_EXPECT_PTR_EQ(test, vm->mm, fix->fake.mm);
	KUNIT_EXPECT_NULL(test, pviommu_vm_get_by_kvm(kvm));
	KUNIT_ASSERT_EQ(test, pviommu_vm_publish(vm, kvm), 0);
	KUNIT_EXPECT_EQ(test, pviommu_vm_publish(&fix->vm, kvm), -EBUSY);

	KUNIT_EXPECT_PTR_EQ(test, pviommu_vm_get_by_kvm(kvm), vm);
	KUNIT_EXPECT_EQ(test, refcount_read(&vm->users), 2);
	pviommu_vm_put(vm);
	KUNIT_EXPECT_NULL(test, pviommu_vm_aperture(vm, 0));

	/* As close does, when the last one has left. */
	pviommu_vm_put(vm);
	KUNIT_EXPECT_TRUE(test, completion_done(&vm->idle));
	KUNIT_EXPECT_NULL(test, pviommu_vm_get_by_kvm(kvm));
	refcount_set(&vm->users, 1);
	reinit_completion(&vm->idle);

	pviommu_vm_withdraw(vm);
	KUNIT_EXPECT_NULL(test, pviommu_vm_get_by_kvm(kvm));
	pviommu_vm_close(vm);
}

static void vm_is_closed_with_its_apertures(struct kunit *test)
{
	struct pviommu_vm *vm = pviommu_vm_open();
	unsigned int i;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, vm);
	for (i = 0; i < 2; i++) {
		vm->apertures[i] = pviommu_aperture_create(vm, SZ_1M, SZ_1M, 0);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, vm->apertures[i]);
		vm->nr_apertures++;
	}
	KUNIT_EXPECT_PTR_EQ(test, pviommu_vm_aperture(vm, 1), vm->apertures[1]);
	KUNIT_EXPECT_NULL(test, pviommu_vm_aperture(vm, 2));
	KUNIT_EXPECT_NULL(test, pviommu_vm_aperture(vm, U32_MAX));
	pviommu_vm_close(vm);
}

static struct kunit_case vm_tests[] = {
	KUNIT_CASE(vm_is_found_until_it_is_closed),
	KUNIT_CASE(vm_is_closed_with_its_apertures),
	{}
};

static struct kunit_suite vm_suite = {
	.name = "kvm_pviommu_vm",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = vm_tests,
};

kunit_test_suites(&hypercall_suite, &vm_suite);
