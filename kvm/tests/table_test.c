// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that tables are in.
 */
#include "fixture.h"
#include "../table.h"

struct memory_case {
	const char *name;
	u64 gpa;
	s32 hva;		/* of pviommu_table_hva() */
	s32 read;		/* of pviommu_table_read() */
	s32 no_ram;		/* of pviommu_no_ram() */
};

static const struct memory_case memory_cases[] = {
	{ "RAM", FRAME(20, 0), 0, 0, PVIOMMU_RC_NO_RAM },
	{ "RAM, in a page", FRAME(20, 0xff0), 0, 0, PVIOMMU_RC_NO_RAM },
	{ "nothing", 0, PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_BAD_TABLE,
	  PVIOMMU_RC_NO_RAM },
	{ "beyond all", ~0xfffULL, PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_BAD_TABLE,
	  PVIOMMU_RC_NO_RAM },
	{ "read-only", FAKE_GPA(FAKE_READ_ONLY), PVIOMMU_RC_BAD_TABLE,
	  PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_NO_RAM },
	{ "private", FAKE_GPA(FAKE_PRIVATE), PVIOMMU_RC_BAD_TABLE,
	  PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_NO_RAM },
	{ "KVM's own", FAKE_GPA(FAKE_INTERNAL), PVIOMMU_RC_BAD_TABLE,
	  PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_NO_RAM },
	{ "no memory behind it", FAKE_GPA(FAKE_UNBACKED), 0,
	  PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_NO_RAM },
	{ "being changed", FAKE_GPA(FAKE_CHANGING), PVIOMMU_RC_RETRY,
	  PVIOMMU_RC_RETRY, PVIOMMU_RC_RETRY },
	{ "the page before it is being changed",
	  FAKE_GPA(FAKE_CHANGING) + (FAKE_SMALL << PAGE_SHIFT),
	  PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_NO_RAM },
	{ "the next page is being changed",
	  FAKE_GPA(FAKE_CHANGING) - 8, PVIOMMU_RC_BAD_TABLE,
	  PVIOMMU_RC_BAD_TABLE, PVIOMMU_RC_RETRY },
};

KUNIT_ARRAY_PARAM_DESC(memory, memory_cases, name);

static void table_is_writable_ram(struct kunit *test)
{
	const struct memory_case *c = test->param_value;
	struct fixture *fix = test->priv;
	struct kvm *kvm = fix->fake.kvm;
	struct pviommu_ram ram = {};
	unsigned long hva;
	__le64 to[1];
	int idx;

	idx = srcu_read_lock(&kvm->srcu);
	KUNIT_EXPECT_EQ(test, pviommu_table_hva(kvm, &ram, c->gpa, &hva),
			c->hva);
	KUNIT_EXPECT_EQ(test, pviommu_table_read(kvm, &ram, c->gpa, to, 1),
			c->read);
	KUNIT_EXPECT_EQ(test, pviommu_no_ram(kvm, c->gpa, 16), c->no_ram);
	srcu_read_unlock(&kvm->srcu, idx);
}

static void elements_are_read_from_their_place(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct kvm *kvm = fix->fake.kvm;
	__le64 *frame = fake_vm_frame(&fix->fake, 20);
	struct pviommu_ram ram = {};
	unsigned long hva = 0;
	__le64 to[4] = {};
	unsigned int i;
	int idx;

	for (i = 0; i < PAGE_SIZE / sizeof(*frame); i++)
		frame[i] = cpu_to_le64(0x1000000000000000ULL + i);

	idx = srcu_read_lock(&kvm->srcu);
	KUNIT_EXPECT_EQ(test, pviommu_table_read(kvm, &ram, FRAME(20, 509 * 8),
						 to, 3), 0);
	KUNIT_EXPECT_EQ(test, pviommu_table_hva(kvm, &ram, FRAME(20, 8), &hva),
			0);
	srcu_read_unlock(&kvm->srcu, idx);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, le64_to_cpu(to[i]),
				0x1000000000000000ULL + 509 + i);
	KUNIT_EXPECT_EQ(test, to[3], 0);
	KUNIT_EXPECT_EQ(test, hva, fix->fake.slots[FAKE_RAM].userspace_addr +
				   20 * PAGE_SIZE);
}

static struct kunit_case table_tests[] = {
	KUNIT_CASE_PARAM(table_is_writable_ram, memory_gen_params),
	KUNIT_CASE(elements_are_read_from_their_place),
	{}
};

static struct kunit_suite table_suite = {
	.name = "kvm_pviommu_table",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = table_tests,
};

kunit_test_suite(table_suite);
