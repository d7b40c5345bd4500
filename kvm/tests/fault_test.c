// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA that was refused: whose it was, and what is kept of it.
 */
#include <kunit/device.h>

#include "pviommu.h"

/**
 * struct fault_fixture - two devices in an aperture
 * @ap: has a lock and a record of faults, and nothing else
 * @guest: where the guest finds them
 * @sources: the devices
 * @unknown: a device that is nobody's
 * @events: room for all
 */
struct fault_fixture {
	struct pviommu_aperture ap;
	struct pviommu_endpoint guest[2];
	struct pviommu_fault_source sources[2];
	struct device *unknown;
	struct pviommu_event events[PVIOMMU_MAX_EVENTS];
};

static struct device *new_device(struct kunit *test, const char *name)
{
	struct device *dev = kunit_device_register(test, name);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	return dev;
}

static int fault_init(struct kunit *test)
{
	struct fault_fixture *fix = kunit_kzalloc(test, sizeof(*fix),
						  GFP_KERNEL);
	static const char *const names[] = { "pviommu-a", "pviommu-b" };
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, fix);
	mutex_init(&fix->ap.lock);
	pviommu_fault_init(&fix->ap);
	/* What there is to log is not looked at. */
	fix->ap.faults.log.burst = 0;
	fix->unknown = new_device(test, "pviommu-c");
	for (i = 0; i < 2; i++) {
		fix->guest[i] = (struct pviommu_endpoint){
			.segment = 7,
			.root_bus = 3,
			.depth = 2,
			.path = { 0x10 + i, 0x20 },
		};
		fix->sources[i] = (struct pviommu_fault_source){
			.dev = new_device(test, names[i]),
			.ap = &fix->ap,
			.guest = &fix->guest[i],
		};
	}
	for (i = 0; i < 2; i++)
		pviommu_fault_add(&fix->sources[i]);
	test->priv = fix;
	return 0;
}

static void fault_exit(struct kunit *test)
{
	struct fault_fixture *fix = test->priv;

	if (!fix)
		return;
	pviommu_fault_remove(&fix->sources[0]);
	pviommu_fault_remove(&fix->sources[1]);
	mutex_destroy(&fix->ap.lock);
}

static int fault(struct fault_fixture *fix, unsigned int source, u64 iova,
		 int flags)
{
	return pviommu_fault_handler(NULL, fix->sources[source].dev, iova,
				     flags, NULL);
}

static unsigned int peek(struct fault_fixture *fix, unsigned int max,
			 u64 *first)
{
	unsigned int nr;

	mutex_lock(&fix->ap.lock);
	nr = pviommu_fault_peek(&fix->ap, fix->events, max, first);
	mutex_unlock(&fix->ap.lock);
	return nr;
}

static void consume(struct fault_fixture *fix, u64 first, unsigned int nr)
{
	mutex_lock(&fix->ap.lock);
	pviommu_fault_consume(&fix->ap, first, nr);
	mutex_unlock(&fix->ap.lock);
}

static void fault_is_told_by_its_device(struct kunit *test)
{
	struct fault_fixture *fix = test->priv;
	struct pviommu_aperture_stats stats;
	u64 first;

	KUNIT_EXPECT_EQ(test, fault(fix, 0, 0x1000, IOMMU_FAULT_READ), 0);
	KUNIT_EXPECT_EQ(test, fault(fix, 1, 0x2345, IOMMU_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, pviommu_fault_handler(NULL, fix->unknown, 0x9000,
						    0, NULL), -ENODEV);

	KUNIT_ASSERT_EQ(test, peek(fix, 64, &first), 2);
	KUNIT_EXPECT_EQ(test, first, 0);
	KUNIT_EXPECT_EQ(test, fix->events[0].iova, 0x1000);
	KUNIT_EXPECT_EQ(test, fix->events[0].flags, 0);
	KUNIT_EXPECT_EQ(test, fix->events[0].path[0], 0x10);
	KUNIT_EXPECT_EQ(test, fix->events[1].iova, 0x2345);
	KUNIT_EXPECT_EQ(test, fix->events[1].flags, PVIOMMU_EVENT_WRITE);
	KUNIT_EXPECT_EQ(test, fix->events[1].segment, 7);
	KUNIT_EXPECT_EQ(test, fix->events[1].root_bus, 3);
	KUNIT_EXPECT_EQ(test, fix->events[1].depth, 2);
	KUNIT_EXPECT_EQ(test, fix->events[1].path[0], 0x11);
	KUNIT_EXPECT_EQ(test, fix->events[1].path[1], 0x20);

	pviommu_fault_stats(&fix->ap, &stats);
	KUNIT_EXPECT_EQ(test, stats.faults, 2);
	KUNIT_EXPECT_EQ(test, stats.fault_iova, 0x2345);
}

static void device_that_was_removed_is_unknown(struct kunit *test)
{
	struct fault_fixture *fix = test->priv;
	u64 first;

	pviommu_fault_remove(&fix->sources[0]);
	KUNIT_EXPECT_EQ(test, fault(fix, 0, 0x1000, 0), -ENODEV);
	KUNIT_EXPECT_EQ(test, peek(fix, 64, &first), 0);
	pviommu_fault_add(&fix->sources[0]);
}

static void peek_leaves_and_consume_takes(struct kunit *test)
{
	struct fault_fixture *fix = test->priv;
	u64 first, i;

	for (i = 0; i < 5; i++)
		fault(fix, 0, i << PAGE_SHIFT, 0);
	KUNIT_EXPECT_EQ(test, peek(fix, 3, &first), 3);
	KUNIT_EXPECT_EQ(test, peek(fix, 3, &first), 3);
	KUNIT_EXPECT_EQ(test, fix->events[2].iova, 2 << PAGE_SHIFT);
	consume(fix, first, 3);
	KUNIT_ASSERT_EQ(test, peek(fix, 64, &first), 2);
	KUNIT_EXPECT_EQ(test, first, 3);
	KUNIT_EXPECT_EQ(test, fix->events[0].iova, 3 << PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, peek(fix, 0, &first), 0);
}

static void oldest_event_makes_room(struct kunit *test)
{
	struct fault_fixture *fix = test->priv;
	u64 first, i;

	for (i = 0; i < PVIOMMU_MAX_EVENTS; i++)
		fault(fix, 0, i << PAGE_SHIFT, IOMMU_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, peek(fix, 64, &first), 64);
	KUNIT_EXPECT_EQ(test, fix->events[0].flags, PVIOMMU_EVENT_WRITE);

	for (; i < PVIOMMU_MAX_EVENTS + 3; i++)
		fault(fix, 0, i << PAGE_SHIFT, IOMMU_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, peek(fix, 64, &first), 64);
	KUNIT_EXPECT_EQ(test, fix->events[0].iova, 3 << PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, fix->events[0].flags,
			PVIOMMU_EVENT_WRITE | PVIOMMU_EVENT_OVERFLOW);
	KUNIT_EXPECT_EQ(test, fix->events[1].flags, PVIOMMU_EVENT_WRITE);
	KUNIT_EXPECT_EQ(test, fix->events[63].iova,
			(PVIOMMU_MAX_EVENTS + 2) << PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, fix->ap.faults.count, PVIOMMU_MAX_EVENTS + 3);
}

/* Between peek and consume the ring went on: nothing newer is lost by that. */
static void consume_takes_only_what_was_peeked(struct kunit *test)
{
	struct fault_fixture *fix = test->priv;
	u64 first, old, i;

	for (i = 0; i < PVIOMMU_MAX_EVENTS; i++)
		fault(fix, 0, i << PAGE_SHIFT, 0);
	KUNIT_ASSERT_EQ(test, peek(fix, 2, &old), 2);
	for (; i < PVIOMMU_MAX_EVENTS + 10; i++)
		fault(fix, 0, i << PAGE_SHIFT, 0);
	consume(fix, old, 2);
	KUNIT_ASSERT_EQ(test, peek(fix, 64, &first), 64);
	KUNIT_EXPECT_EQ(test, fix->events[0].iova, 10 << PAGE_SHIFT);
}

static void forget_keeps_the_count(struct kunit *test)
{
	struct fault_fixture *fix = test->priv;
	struct pviommu_aperture_stats stats;
	u64 first;

	fault(fix, 0, 0x1000, 0);
	pviommu_fault_forget(&fix->ap);
	KUNIT_EXPECT_EQ(test, peek(fix, 64, &first), 0);
	pviommu_fault_stats(&fix->ap, &stats);
	KUNIT_EXPECT_EQ(test, stats.faults, 1);
	fault(fix, 0, 0x5000, 0);
	KUNIT_ASSERT_EQ(test, peek(fix, 64, &first), 1);
	KUNIT_EXPECT_EQ(test, fix->events[0].iova, 0x5000);
	KUNIT_EXPECT_EQ(test, fix->events[0].flags, 0);
}

static struct kunit_case fault_tests[] = {
	KUNIT_CASE(fault_is_told_by_its_device),
	KUNIT_CASE(device_that_was_removed_is_unknown),
	KUNIT_CASE(peek_leaves_and_consume_takes),
	KUNIT_CASE(oldest_event_makes_room),
	KUNIT_CASE(consume_takes_only_what_was_peeked),
	KUNIT_CASE(forget_keeps_the_count),
	{}
};

static struct kunit_suite fault_suite = {
	.name = "kvm_pviommu_fault",
	.init = fault_init,
	.exit = fault_exit,
	.test_cases = fault_tests,
};

kunit_test_suite(fault_suite);
