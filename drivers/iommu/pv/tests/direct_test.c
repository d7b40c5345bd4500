// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode direct: what is entered when, what stays, and what the host hears of it.
 */
#include <kunit/test.h>
#include <linux/memory.h>
#include <linux/pfn.h>

#include "direct.h"
#include "fixture.h"

#define WINDOW_PAGES	1200UL
#define SMALL_BUDGET	64UL

#define RW_ENTRY	(PVIOMMU_ENTRY_READ | PVIOMMU_ENTRY_WRITE)
#define USE		PVIOMMU_ENTRY_USE
#define SYNCED		DIRECT_SYNCED

struct direct_test {
	struct pviommu_domain *domain;
	struct pviommu_direct *direct;
};

static struct direct_test *the_test(struct kunit *test)
{
	static struct direct_test t;

	return &t;
}

static int direct_init(struct kunit *test)
{
	memset(the_test(test), 0, sizeof(struct direct_test));
	return guest_fixture_init(test);
}

static void direct_exit(struct kunit *test)
{
	struct direct_test *t = the_test(test);

	if (t->direct)
		pviommu_direct_stop(t->direct);
	if (t->domain)
		t->domain->domain.ops->free(&t->domain->domain);
	if (t->direct)
		pviommu_direct_free(t->direct);
	guest_fixture_exit(test);
}

/* An aperture in which nothing is entered. Its window begins where RAM is. */
static struct pviommu_direct *start(struct kunit *test, u64 budget)
{
	struct fake_host *host = fixture_host(test);
	struct direct_test *t = the_test(test);
	struct device *dev;

	fake_host_set_window(test, host, 0, FIXTURE_RAM, WINDOW_PAGES);
	host->apertures[0].info.budget = budget;
	dev = fixture_device(test, 0);
	t->domain = pviommu_domain_alloc_private(fixture_aperture(dev));
	KUNIT_ASSERT_NOT_NULL(test, t->domain);
	t->domain->direct = true;
	t->direct = pviommu_direct_create(t->domain, budget);
	KUNIT_ASSERT_NOT_NULL(test, t->direct);
	KUNIT_ASSERT_EQ(test, pviommu_domain_follow(t->domain), 0);
	KUNIT_EXPECT_TRUE(test, host->apertures[0].direct);
	fake_host_forget(host);
	return t->direct;
}

/* Without what tells when it was last used. */
static u64 entry(struct kunit *test, u64 page)
{
	return fake_host_entry(fixture_host(test), 0, page) & ~DIRECT_REFERENCED;
}

static u64 expected(u64 page, u64 bits)
{
	return (FIXTURE_RAM + (page << PVIOMMU_PAGE_SHIFT)) | RW_ENTRY | bits;
}

static u64 nr_mapped(struct kunit *test)
{
	return fixture_host(test)->apertures[0].nr_mapped;
}

static void direct_stays_when_unmapped(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, WINDOW_PAGES);
	struct fake_host *host = fixture_host(test);

	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 5, 1), 0);
	fake_host_expect(test, host, "map:0[5+1]=1");
	KUNIT_EXPECT_EQ(test, entry(test, 5), expected(5, SYNCED | USE));

	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 5, 1), 0);
	KUNIT_EXPECT_EQ(test, entry(test, 5), expected(5, SYNCED));
	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 5, 1), 0);
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 5, 1), 0);
	fake_host_expect(test, host, "");
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 1);
}

/* Only what the host does not have yet, in as few calls as that is in. */
static void direct_range(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, WINDOW_PAGES);
	struct fake_host *host = fixture_host(test);
	u64 page;

	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 514, 1), 0);
	fake_host_forget(host);
	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 510, 8), 0);
	fake_host_expect(test, host, "map:0[510+4]=4 map:0[515+3]=3");
	for (page = 510; page < 518; page++)
		KUNIT_EXPECT_EQ(test, entry(test, page),
				expected(page, SYNCED |
					       (page == 514 ? 2 : 1) * USE));
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 510, 8), 0);
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 514, 1), 0);
}

static void direct_counts_users(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, WINDOW_PAGES);
	struct fake_host *host = fixture_host(test);
	unsigned int i;

	for (i = 0; i < 511; i++)
		KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 0, 1), 0);
	fake_host_expect(test, host, "map:0[0+1]=1");
	/* One more would be none. */
	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 0, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, entry(test, 0), expected(0, SYNCED | 511 * USE));
	KUNIT_EXPECT_EQ(test, fake_host_reclaim(host, 0), 0);
	for (i = 0; i < 511; i++)
		KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 0, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 700, 1), -ENOENT);
	KUNIT_EXPECT_EQ(test, entry(test, 0), expected(0, SYNCED));
}

static void direct_host_takes_it(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, WINDOW_PAGES);
	struct fake_host *host = fixture_host(test);

	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 0, 3), 0);
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 2, 1), 0);
	KUNIT_EXPECT_EQ(test, fake_host_reclaim(host, 0), 2);
	KUNIT_EXPECT_EQ(test, entry(test, 0), 0);
	KUNIT_EXPECT_EQ(test, entry(test, 1), expected(1, SYNCED | USE));
	fake_host_forget(host);

	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 0, 3), 0);
	fake_host_expect(test, host, "map:0[0+1]=1 map:0[2+1]=1");
	KUNIT_EXPECT_EQ(test, entry(test, 1), expected(1, SYNCED | 2 * USE));
}

/* The guest makes room before the host has to refuse. */
static void direct_stays_below_budget(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, SMALL_BUDGET);
	struct fake_host *host = fixture_host(test);
	u64 page;

	for (page = 0; page < 10 * SMALL_BUDGET; page++) {
		KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, page, 1), 0);
		KUNIT_ASSERT_LE(test, nr_mapped(test), SMALL_BUDGET);
		KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, page, 1), 0);
	}
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_MAP], 10 * SMALL_BUDGET);
	/* In batches. */
	KUNIT_EXPECT_LE(test, host->nr_calls[FAKE_UNMAP] +
			      host->nr_calls[FAKE_UNMAP_LIST],
			10 * SMALL_BUDGET / 2);
	KUNIT_EXPECT_STREQ(test, host->violation, "");
}

/* What is used again and again is not what goes. */
static void direct_second_chance(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, SMALL_BUDGET);
	struct fake_host *host = fixture_host(test);
	u64 page;

	KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 3, 1), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 3, 1), 0);
	for (page = 100; page < 100 + 4 * SMALL_BUDGET; page++) {
		KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, page, 1), 0);
		KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, page, 1), 0);
		fake_host_forget(host);
		KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 3, 1), 0);
		KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 3, 1), 0);
		KUNIT_ASSERT_EQ(test, host->nr_calls[FAKE_MAP], 0);
	}
}

/* What is used stays, and so does what was used again since the last time; the rest goes. */
static void direct_ages(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, WINDOW_PAGES);
	struct fake_host *host = fixture_host(test);

	/* It does so by itself, but nobody knows when. */
	cancel_delayed_work_sync(&direct->age);
	KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 0, 3), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 600, 2), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 2, 1), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 2, 1), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 1, 2), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 600, 2), 0);
	fake_host_forget(host);

	pviommu_direct_age(direct);
	fake_host_expect(test, host, "unmap:0[1+1,600+2]=3");
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 2);
	KUNIT_EXPECT_EQ(test, entry(test, 0), expected(0, SYNCED | USE));
	KUNIT_EXPECT_EQ(test, entry(test, 1), 0);
	KUNIT_EXPECT_EQ(test, entry(test, 2), expected(2, SYNCED));
	KUNIT_EXPECT_EQ(test, entry(test, 600), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&direct->entered), 2);

	pviommu_direct_age(direct);
	fake_host_expect(test, host, "unmap:0[2+1]=1");
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 1);
	KUNIT_EXPECT_EQ(test, entry(test, 0), expected(0, SYNCED | USE));
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 0, 1), 0);
}

static void memory_goes(struct pviommu_direct *direct, unsigned long action,
			u64 first, u64 count)
{
	struct memory_notify range = {
		.start_pfn = PHYS_PFN(direct->first_iova) + first,
		.nr_pages = count,
	};

	direct->memory.notifier_call(&direct->memory, action, &range);
}

/* Whatever is no RAM any more has to be entered anew when it is again. */
static void direct_offline(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, WINDOW_PAGES);
	struct fake_host *host = fixture_host(test);

	cancel_delayed_work_sync(&direct->age);
	KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 0, 2), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 1, 1), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 1, 1), 0);
	KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 1, 1), 0);
	fake_host_forget(host);

	memory_goes(direct, MEM_GOING_OFFLINE, 0, WINDOW_PAGES);
	memory_goes(direct, MEM_CANCEL_OFFLINE, 0, WINDOW_PAGES);
	memory_goes(direct, MEM_OFFLINE, WINDOW_PAGES, 8);
	memory_goes(direct, MEM_OFFLINE, -8, 8);
	fake_host_expect(test, host, "");
	KUNIT_EXPECT_NE(test, fake_host_entry(host, 0, 1) & DIRECT_REFERENCED, 0);

	memory_goes(direct, MEM_OFFLINE, -8, 9);
	fake_host_expect(test, host, "unmap:0[1+1]=1");
	KUNIT_EXPECT_EQ(test, entry(test, 0), expected(0, SYNCED | USE));
	KUNIT_EXPECT_EQ(test, entry(test, 1), 0);

	KUNIT_ASSERT_EQ(test, pviommu_direct_unmap(direct, 0, 1), 0);
	memory_goes(direct, MEM_OFFLINE, WINDOW_PAGES - 1, 8);
	fake_host_expect(test, host, "unmap:0[0+1]=1");
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 0);
}

/* All of them are in use. */
static void direct_no_room(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, SMALL_BUDGET);

	KUNIT_ASSERT_EQ(test, pviommu_direct_map(direct, 0, SMALL_BUDGET), 0);
	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 100, 2), -ENOMEM);
	KUNIT_EXPECT_EQ(test, entry(test, 100), 0);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), SMALL_BUDGET);
	KUNIT_EXPECT_EQ(test, pviommu_direct_unmap(direct, 0, 2), 0);
	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 100, 2), 0);
}

/* Refused half way: nothing stays, and what the host has taken over goes again. */
static void direct_refused(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, WINDOW_PAGES);
	struct fake_host *host = fixture_host(test);

	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 2, 1), 0);
	fake_host_forget(host);
	fake_host_plan(host, &(struct fake_plan){
		.call = FAKE_MAP, .trick = FAKE_AT_MOST, .value = 1 });
	fake_host_plan(host, &(struct fake_plan){
		.call = FAKE_MAP, .trick = FAKE_ANSWER,
		.value = PVIOMMU_RC_NO_RAM });
	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 0, 4), -EFAULT);
	KUNIT_EXPECT_EQ(test, entry(test, 0), 0);
	KUNIT_EXPECT_EQ(test, entry(test, 1), 0);
	KUNIT_EXPECT_EQ(test, entry(test, 2), expected(2, SYNCED | USE));
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 1);
}

/* Losing the device is better than losing memory. */
static void direct_host_fails_to_unmap(struct kunit *test)
{
	struct pviommu_direct *direct = start(test, SMALL_BUDGET);
	struct fake_host *host = fixture_host(test);
	u64 page;

	fake_host_plan(host, &(struct fake_plan){
		.call = FAKE_UNMAP, .trick = FAKE_ANSWER,
		.value = PVIOMMU_RC_HOST_ERROR, .times = FAKE_FOREVER });
	for (page = 0; page < 2 * SMALL_BUDGET; page++) {
		if (pviommu_direct_map(direct, page, 1))
			break;
		pviommu_direct_unmap(direct, page, 1);
	}
	KUNIT_EXPECT_LT(test, page, 2 * SMALL_BUDGET);
	KUNIT_EXPECT_EQ(test, host->apertures[0].directory, 0);
	KUNIT_EXPECT_EQ(test, pviommu_direct_map(direct, 500, 1), -EIO);
}

static struct kunit_case direct_cases[] = {
	KUNIT_CASE(direct_stays_when_unmapped),
	KUNIT_CASE(direct_range),
	KUNIT_CASE(direct_counts_users),
	KUNIT_CASE(direct_host_takes_it),
	KUNIT_CASE(direct_stays_below_budget),
	KUNIT_CASE(direct_second_chance),
	KUNIT_CASE(direct_ages),
	KUNIT_CASE(direct_offline),
	KUNIT_CASE(direct_no_room),
	KUNIT_CASE(direct_refused),
	KUNIT_CASE(direct_host_fails_to_unmap),
	{}
};

static struct kunit_suite direct_suite = {
	.name = "pviommu_direct",
	.init = direct_init,
	.exit = direct_exit,
	.test_cases = direct_cases,
};

kunit_test_suite(direct_suite);
