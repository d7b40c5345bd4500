// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains: what the host is told, when, and what becomes of its answers. The
 * calls of each step are compared as text: "map:0[5+4]=4" is a SYNC of aperture
 * 0 for four window pages from the fifth on, all of them processed.
 */
#include <kunit/test.h>
#include <linux/kconfig.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>

#include "fixture.h"

#define BASE		0x1000000UL
#define IOVA(page)	(BASE + (unsigned long)(page) * PAGE_SIZE)
#define SIZE(pages)	((size_t)(pages) * PAGE_SIZE)

static int map(struct iommu_domain *dom, unsigned int page, unsigned int count)
{
	return iommu_map(dom, IOVA(page), FIXTURE_RAM + SIZE(page), SIZE(count),
			 RW, GFP_KERNEL);
}

static void unmap_strict(struct kunit *test, struct iommu_domain *dom,
			 unsigned int page, unsigned int count)
{
	KUNIT_EXPECT_EQ(test, iommu_unmap(dom, IOVA(page), SIZE(count)),
			SIZE(count));
}

static void unmap_lazy(struct kunit *test, struct iommu_domain *dom,
		       unsigned int page, unsigned int count)
{
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	gather.queued = true;
	KUNIT_EXPECT_EQ(test,
			iommu_unmap_fast(dom, IOVA(page), SIZE(count), &gather),
			SIZE(count));
}

static void flush(struct iommu_domain *dom)
{
	dom->ops->flush_iotlb_all(dom);
}

static void plan(struct kunit *test, enum fake_call call, long value,
		 unsigned int times)
{
	const struct fake_plan plan = {
		.call = call,
		.value = value,
		.times = times,
	};

	fake_host_plan(fixture_host(test), &plan);
}

static void expect(struct kunit *test, const char *log)
{
	fake_host_expect(test, fixture_host(test), log);
}

static void expect_in_step(struct kunit *test, struct iommu_domain *dom)
{
	struct pviommu_domain *domain = fixture_pviommu(dom);

	KUNIT_EXPECT_TRUE(test, fake_host_in_step(fixture_host(test),
						  domain->aperture->id,
						  &domain->table));
}

static void expect_state(struct kunit *test, struct iommu_domain *dom,
			 enum pviommu_domain_state state)
{
	KUNIT_EXPECT_EQ(test, fixture_pviommu(dom)->state, state);
}

/* A domain that is attached, empty, and about which nothing is on record. */
static struct iommu_domain *attached(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct iommu_domain *dom = fixture_domain(test, dev,
						  IOMMU_DOMAIN_UNMANAGED);

	KUNIT_ASSERT_EQ(test, fixture_attach(dom, dev), 0);
	fake_host_forget(fixture_host(test));
	return dom;
}

static void domain_geometry(struct kunit *test)
{
	struct device *dev = fixture_device(test, 1);
	struct iommu_domain *dom = fixture_domain(test, dev,
						  IOMMU_DOMAIN_UNMANAGED);

	KUNIT_EXPECT_EQ(test, dom->pgsize_bitmap, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dom->geometry.aperture_start, 0x100000000);
	KUNIT_EXPECT_EQ(test, dom->geometry.aperture_end,
			0x100000000 + SIZE(700) - 1);
	KUNIT_EXPECT_TRUE(test, dom->geometry.force_aperture);
	expect_state(test, dom, PVIOMMU_DETACHED);
	KUNIT_EXPECT_EQ(test, fixture_pviommu(dom)->table.nr_pages, 700);
	KUNIT_EXPECT_EQ(test, PTR_ERR(pviommu_domain_alloc_paging(NULL)), -EINVAL);
	expect(test, "");
}

static const struct window_case {
	const char *name;
	unsigned long iova;
	size_t pages;
	phys_addr_t paddr;
	int prot;
	int err;
} window_cases[] = {
	{ "first page", IOVA(0), 1, FIXTURE_RAM, RW, 0 },
	{ "last page", IOVA(1199), 1, FIXTURE_RAM, RW, 0 },
	{ "whole window", IOVA(0), 1200, FIXTURE_RAM, RW, 0 },
	{ "before it", IOVA(-1), 1, FIXTURE_RAM, RW, -EINVAL },
	{ "from before into it", IOVA(-1), 2, FIXTURE_RAM, RW, -EINVAL },
	{ "behind it", IOVA(1200), 1, FIXTURE_RAM, RW, -EINVAL },
	{ "across its end", IOVA(1199), 2, FIXTURE_RAM, RW, -EINVAL },
	{ "more than it", IOVA(0), 1201, FIXTURE_RAM, RW, -EINVAL },
	{ "no access", IOVA(0), 1, FIXTURE_RAM, IOMMU_CACHE, -EINVAL },
	{ "RAM above what an entry holds", IOVA(0), 1, 1ULL << 52, RW, -EINVAL },
	{ "RAM across that limit", IOVA(0), 2, (1ULL << 52) - PAGE_SIZE, RW,
	  -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(window, window_cases, name);

static void domain_window(struct kunit *test)
{
	const struct window_case *param = test->param_value;
	struct iommu_domain *dom = attached(test);
	size_t size = SIZE(param->pages), mapped = 0;
	struct iommu_iotlb_gather gather;

	KUNIT_EXPECT_EQ(test,
			dom->ops->map_pages(dom, param->iova, param->paddr,
					    PAGE_SIZE, param->pages,
					    param->prot, GFP_KERNEL, &mapped),
			param->err);
	KUNIT_EXPECT_EQ(test, mapped, param->err ? 0 : size);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, param->iova + 5),
			param->err ? 0 : param->paddr + 5);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, param->iova + size - 1),
			param->err ? 0 : param->paddr + size - 1);

	/* The host is told by other callbacks. */
	iommu_iotlb_gather_init(&gather);
	KUNIT_EXPECT_EQ(test,
			dom->ops->unmap_pages(dom, param->iova, PAGE_SIZE,
					      param->pages, &gather),
			param->err ? 0 : size);
	expect(test, "");
}

static void domain_access(struct kunit *test)
{
	struct iommu_domain *dom = attached(test);
	struct fake_aperture *aperture = &fixture_host(test)->apertures[0];

	KUNIT_EXPECT_EQ(test, iommu_map(dom, IOVA(0), FIXTURE_RAM, PAGE_SIZE,
					IOMMU_READ, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, iommu_map(dom, IOVA(1), FIXTURE_RAM, PAGE_SIZE,
					IOMMU_WRITE, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, iommu_map(dom, IOVA(2), FIXTURE_RAM, PAGE_SIZE,
					RW | IOMMU_CACHE, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, aperture->shadow[0],
			FIXTURE_RAM | PVIOMMU_ENTRY_READ);
	KUNIT_EXPECT_EQ(test, aperture->shadow[1],
			FIXTURE_RAM | PVIOMMU_ENTRY_WRITE);
	KUNIT_EXPECT_EQ(test, aperture->shadow[2],
			FIXTURE_RAM | PVIOMMU_ENTRY_READ | PVIOMMU_ENTRY_WRITE);
}

/* One operation of the core is one hypercall, however many pages it has. */
static const struct sync_case {
	const char *name;
	unsigned int page;
	unsigned int count;
	const char *map;
	const char *unmap;
} sync_cases[] = {
	{ "one page", 5, 1, "map:0[5+1]=1", "unmap:0[5+1]=1" },
	{ "many pages", 5, 300, "map:0[5+300]=300", "unmap:0[5+300]=300" },
	{ "across leaves", 510, 4, "map:0[510+4]=4", "unmap:0[510+4]=4" },
	{ "last page", 1199, 1, "map:0[1199+1]=1", "unmap:0[1199+1]=1" },
	{ "whole window", 0, 1200, "map:0[0+1200]=1200",
	  "unmap:0[0+1200]=1200" },
};

KUNIT_ARRAY_PARAM_DESC(sync, sync_cases, name);

static void domain_strict(struct kunit *test)
{
	const struct sync_case *param = test->param_value;
	struct iommu_domain *dom = attached(test);

	KUNIT_EXPECT_EQ(test, map(dom, param->page, param->count), 0);
	expect(test, param->map);
	expect_in_step(test, dom);
	KUNIT_EXPECT_EQ(test, fixture_host(test)->apertures[0].nr_mapped,
			param->count);

	unmap_strict(test, dom, param->page, param->count);
	expect(test, param->unmap);
	expect_in_step(test, dom);
	KUNIT_EXPECT_EQ(test, fixture_host(test)->apertures[0].nr_mapped, 0);
}

static void domain_lazy(struct kunit *test)
{
	const struct sync_case *param = test->param_value;
	struct iommu_domain *dom = attached(test);

	KUNIT_EXPECT_EQ(test, map(dom, param->page, param->count), 0);
	expect(test, param->map);
	unmap_lazy(test, dom, param->page, param->count);
	expect(test, "");
	KUNIT_EXPECT_EQ(test, fixture_host(test)->apertures[0].nr_mapped,
			param->count);

	flush(dom);
	expect(test, param->unmap);
	expect_in_step(test, dom);
	flush(dom);
	expect(test, "");
}

static void domain_map_sg(struct kunit *test)
{
	struct iommu_domain *dom = attached(test);
	struct scatterlist sg[3];
	unsigned int i;

	sg_init_table(sg, 3);
	for (i = 0; i < 3; i++)
		sg_set_page(&sg[i], pfn_to_page(0x300 + 16 * i),
			    SIZE(i + 1), 0);
	KUNIT_EXPECT_EQ(test, iommu_map_sg(dom, IOVA(7), sg, 3, RW, GFP_KERNEL),
			SIZE(6));
	expect(test, "map:0[7+6]=6");
	expect_in_step(test, dom);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, IOVA(8)), 0x310000);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, IOVA(12)), 0x322000);
	unmap_strict(test, dom, 7, 6);
}

static void domain_gather(struct kunit *test)
{
	struct iommu_domain *dom = attached(test);
	struct iommu_iotlb_gather gather;

	KUNIT_ASSERT_EQ(test, map(dom, 10, 30), 0);
	fake_host_forget(fixture_host(test));

	/* Neighbours are one range. */
	iommu_iotlb_gather_init(&gather);
	iommu_unmap_fast(dom, IOVA(12), SIZE(2), &gather);
	iommu_unmap_fast(dom, IOVA(14), SIZE(1), &gather);
	iommu_unmap_fast(dom, IOVA(10), SIZE(2), &gather);
	expect(test, "");
	iommu_iotlb_sync(dom, &gather);
	expect(test, "unmap:0[10+5]=5");

	/* The host does not look at what is between distant ones. */
	iommu_unmap_fast(dom, IOVA(20), SIZE(1), &gather);
	iommu_unmap_fast(dom, IOVA(30), SIZE(2), &gather);
	expect(test, "unmap:0[20+1]=1");
	iommu_iotlb_sync(dom, &gather);
	expect(test, "unmap:0[30+2]=2");
	expect_in_step(test, dom);

	/* Nothing gathered, nothing to tell. */
	iommu_iotlb_sync(dom, &gather);
	expect(test, "");
}

static void domain_unmap_hole(struct kunit *test)
{
	struct iommu_domain *dom = attached(test);

	KUNIT_ASSERT_EQ(test, map(dom, 10, 2), 0);
	fake_host_forget(fixture_host(test));
	KUNIT_EXPECT_EQ(test, iommu_unmap(dom, IOVA(20), SIZE(1)), 0);
	expect(test, "");
	KUNIT_EXPECT_EQ(test, iommu_unmap(dom, IOVA(10), SIZE(4)), SIZE(2));
	expect(test, "unmap:0[10+2]=2");
	expect_in_step(test, dom);
}

static void domain_map_twice(struct kunit *test)
{
	struct iommu_domain *dom = attached(test);

	KUNIT_ASSERT_EQ(test, map(dom, 12, 1), 0);
	fake_host_forget(fixture_host(test));
	KUNIT_EXPECT_EQ(test, map(dom, 10, 4), -EEXIST);
	/* The core takes back what was entered before. */
	expect(test, "unmap:0[10+2]=2");
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, IOVA(12)),
			FIXTURE_RAM + SIZE(12));
	expect_in_step(test, dom);
}

static void domain_lazy_batches(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct iommu_domain *dom = attached(test);
	unsigned int i;

	KUNIT_ASSERT_EQ(test, map(dom, 0, 1200), 0);
	fake_host_forget(host);
	for (i = 0; i < 1200; i += 2)
		unmap_lazy(test, dom, i, 1);
	expect(test, "");
	flush(dom);
	/* 600 ranges of which a page holds 256. */
	expect(test,
	       "unmap:0[0+1,2+1,4+1,6+1,...]=256 unmap:0[512+1,514+1,516+1,518+1,...]=256 unmap:0[1024+1,1026+1,1028+1,1030+1,...]=88");
	expect_in_step(test, dom);

	/* What the host takes can be less. */
	host->probe.sync_max_ranges = 2;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
	fake_host_forget(host);
	for (i = 1; i < 10; i += 2)
		unmap_lazy(test, dom, i, 1);
	flush(dom);
	expect(test, "unmap:0[1+1,3+1]=2 unmap:0[5+1,7+1]=2 unmap:0[9+1]=1");
	expect_in_step(test, dom);
}

/* A domain that nobody follows costs no hypercall, whatever is done to it. */
static void domain_detached(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct iommu_domain *dom = fixture_domain(test, dev,
						  IOMMU_DOMAIN_UNMANAGED);

	KUNIT_EXPECT_EQ(test, map(dom, 5, 4), 0);
	unmap_strict(test, dom, 5, 1);
	unmap_lazy(test, dom, 6, 1);
	flush(dom);
	expect(test, "");

	/* Attached, it is told all of it. */
	KUNIT_EXPECT_EQ(test, fixture_attach(dom, dev), 0);
	expect(test, "enable:0=0 map:0[0+512]=512");
	expect_state(test, dom, PVIOMMU_FOLLOWED);
	expect_in_step(test, dom);
	KUNIT_EXPECT_EQ(test, fixture_host(test)->apertures[0].nr_mapped, 2);
	flush(dom);
	expect_in_step(test, dom);
	fake_host_forget(fixture_host(test));

	/* Detached, it keeps what it maps. */
	fixture_block(dev);
	expect(test, "disable:0=0");
	expect_state(test, dom, PVIOMMU_DETACHED);
	KUNIT_EXPECT_EQ(test, map(dom, 600, 1), 0);
	unmap_strict(test, dom, 7, 1);
	expect(test, "");
	KUNIT_EXPECT_EQ(test, fixture_attach(dom, dev), 0);
	expect(test, "enable:0=0 map:0[0+1024]=1024");
	expect_in_step(test, dom);
}

/*
 * Refused mappings: a result of SYNC, so often, and what follows. The core takes
 * back what failed.
 */
static const struct refused_case {
	const char *name;
	long rc;
	unsigned int times;
	int err;
	const char *log;
} refused_cases[] = {
	{ "RETRY", PVIOMMU_RC_RETRY, 2, 0,
	  "map:0[5+4]=RETRY map:0[5+4]=RETRY map:0[5+4]=4" },
	{ "OVER_BUDGET", PVIOMMU_RC_OVER_BUDGET, 1, 0,
	  "map:0[5+4]=OVER_BUDGET unmap:0[100+1]=1 map:0[5+4]=4" },
	{ "LOCK_LIMIT", PVIOMMU_RC_LOCK_LIMIT, 1, 0,
	  "map:0[5+4]=LOCK_LIMIT unmap:0[100+1]=1 map:0[5+4]=4" },
	{ "NO_MEMORY", PVIOMMU_RC_NO_MEMORY, 1, 0,
	  "map:0[5+4]=NO_MEMORY unmap:0[100+1]=1 map:0[5+4]=4" },
	{ "OVER_BUDGET twice", PVIOMMU_RC_OVER_BUDGET, 2, -ENOMEM,
	  "map:0[5+4]=OVER_BUDGET unmap:0[100+1]=1 map:0[5+4]=OVER_BUDGET unmap:0[5+4]=4" },
	{ "LOCK_LIMIT twice", PVIOMMU_RC_LOCK_LIMIT, 2, -ENOMEM,
	  "map:0[5+4]=LOCK_LIMIT unmap:0[100+1]=1 map:0[5+4]=LOCK_LIMIT unmap:0[5+4]=4" },
	{ "BAD_OP", PVIOMMU_RC_BAD_OP, 1, -EOPNOTSUPP,
	  "map:0[5+4]=BAD_OP unmap:0[5+4]=4" },
	{ "BAD_ARG", PVIOMMU_RC_BAD_ARG, 1, -EINVAL,
	  "map:0[5+4]=BAD_ARG unmap:0[5+4]=4" },
	{ "NO_APERTURE", PVIOMMU_RC_NO_APERTURE, 1, -ENXIO,
	  "map:0[5+4]=NO_APERTURE unmap:0[5+4]=4" },
	{ "NO_ENDPOINT", PVIOMMU_RC_NO_ENDPOINT, 1, -ENODEV,
	  "map:0[5+4]=NO_ENDPOINT unmap:0[5+4]=4" },
	{ "NOT_ENABLED", PVIOMMU_RC_NOT_ENABLED, 1, -ENXIO,
	  "map:0[5+4]=NOT_ENABLED unmap:0[5+4]=4" },
	{ "BAD_TABLE", PVIOMMU_RC_BAD_TABLE, 1, -EFAULT,
	  "map:0[5+4]=BAD_TABLE unmap:0[5+4]=4" },
	{ "BAD_ENTRY", PVIOMMU_RC_BAD_ENTRY, 1, -EINVAL,
	  "map:0[5+4]=BAD_ENTRY unmap:0[5+4]=4" },
	{ "NO_RAM", PVIOMMU_RC_NO_RAM, 1, -EFAULT,
	  "map:0[5+4]=NO_RAM unmap:0[5+4]=4" },
	{ "READ_ONLY", PVIOMMU_RC_READ_ONLY, 1, -EACCES,
	  "map:0[5+4]=READ_ONLY unmap:0[5+4]=4" },
	{ "HOST_ERROR", PVIOMMU_RC_HOST_ERROR, 1, -EIO,
	  "map:0[5+4]=HOST_ERROR unmap:0[5+4]=4" },
	{ "no such code", -3000, 1, -EIO,
	  "map:0[5+4]=-3000 unmap:0[5+4]=4" },
	{ "too much progress", 5, 1, -EIO,
	  "map:0[5+4]=5 unmap:0[5+4]=4" },
};

KUNIT_ARRAY_PARAM_DESC(refused, refused_cases, name);

static void domain_map_refused(struct kunit *test)
{
	const struct refused_case *param = test->param_value;
	struct iommu_domain *dom = attached(test);

	KUNIT_ASSERT_EQ(test, map(dom, 100, 2), 0);
	unmap_lazy(test, dom, 100, 1);
	fake_host_forget(fixture_host(test));

	plan(test, FAKE_MAP, param->rc, param->times);
	KUNIT_EXPECT_EQ(test, map(dom, 5, 4), param->err);
	expect(test, param->log);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, IOVA(5)),
			param->err ? 0 : FIXTURE_RAM + SIZE(5));
	expect_state(test, dom, PVIOMMU_FOLLOWED);

	flush(dom);
	expect_in_step(test, dom);
	KUNIT_EXPECT_EQ(test, map(dom, 20, 1), 0);
	expect_in_step(test, dom);
}

/* A real shortage, in the middle of a range. */
static void domain_budget(struct kunit *test)
{
	struct fake_aperture *aperture = &fixture_host(test)->apertures[0];
	struct device *dev = fixture_device(test, 0);
	struct iommu_domain *dom;

	dom = fixture_domain(test, dev, IOMMU_DOMAIN_UNMANAGED);
	KUNIT_ASSERT_EQ(test, fixture_attach(dom, dev), 0);
	aperture->info.budget = 10;
	fake_host_forget(fixture_host(test));

	KUNIT_EXPECT_EQ(test, map(dom, 0, 8), 0);
	expect(test, "map:0[0+8]=8");
	unmap_lazy(test, dom, 0, 4);
	KUNIT_EXPECT_EQ(test, map(dom, 20, 5), 0);
	/* It goes on from where it had come to. */
	expect(test, "map:0[20+5]=2 map:0[22+3]=OVER_BUDGET unmap:0[0+4]=4 map:0[22+3]=3");
	expect_in_step(test, dom);

	KUNIT_EXPECT_EQ(test, map(dom, 30, 2), -ENOMEM);
	expect(test,
	       "map:0[30+2]=1 map:0[31+1]=OVER_BUDGET map:0[31+1]=OVER_BUDGET unmap:0[30+2]=2");
	expect_in_step(test, dom);
	KUNIT_EXPECT_EQ(test, aperture->nr_mapped, 9);
}

/* Whatever the host makes of taking mappings back: done, or no DMA any more. */
static const struct stop_case {
	const char *name;
	struct fake_plan plan;
	bool stopped;
	const char *log;
} stop_cases[] = {
	{ "RETRY", { .value = PVIOMMU_RC_RETRY, .times = 2 }, false,
	  "unmap:0[5+4]=RETRY unmap:0[5+4]=RETRY unmap:0[5+4]=4" },
	{ "piece by piece",
	  { .trick = FAKE_AT_MOST, .value = 2, .times = 5 }, false,
	  "unmap:0[5+4]=2 unmap:0[7+2]=2" },
	{ "nothing mapped anyway", { .value = PVIOMMU_RC_NOT_ENABLED }, false,
	  "unmap:0[5+4]=NOT_ENABLED" },
	{ "aperture gone", { .value = PVIOMMU_RC_NO_APERTURE }, false,
	  "unmap:0[5+4]=NO_APERTURE" },
	{ "HOST_ERROR", { .value = PVIOMMU_RC_HOST_ERROR }, true,
	  "unmap:0[5+4]=HOST_ERROR disable:0=0" },
	{ "BAD_ARG", { .value = PVIOMMU_RC_BAD_ARG }, true,
	  "unmap:0[5+4]=BAD_ARG disable:0=0" },
	{ "NO_MEMORY", { .value = PVIOMMU_RC_NO_MEMORY }, true,
	  "unmap:0[5+4]=NO_MEMORY disable:0=0" },
	{ "too much progress", { .trick = FAKE_ADD, .value = 1 }, true,
	  "unmap:0[5+4]=5 disable:0=0" },
	{ "no such code", { .value = LONG_MIN }, true,
	  "unmap:0[5+4]=-9223372036854775808 disable:0=0" },
};

KUNIT_ARRAY_PARAM_DESC(stop, stop_cases, name);

static void expect_stopped(struct kunit *test, struct iommu_domain *dom)
{
	expect_state(test, dom, PVIOMMU_REFUSED);
	KUNIT_EXPECT_EQ(test, fixture_host(test)->apertures[0].directory, 0);

	KUNIT_EXPECT_EQ(test, map(dom, 20, 1), -EIO);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, IOVA(20)), 0);
	unmap_strict(test, dom, 100, 1);
	unmap_lazy(test, dom, 101, 1);
	flush(dom);
	expect(test, "");
}

/* As long as the host follows a table, whoever clears entries has to tell it. */
static void look_at_state(struct fake_host *host, enum fake_call call)
{
	struct iommu_domain *dom = host->peek_data;

	if ((call == FAKE_DISABLE || call == FAKE_ENABLE) &&
	    fixture_pviommu(dom)->state != PVIOMMU_FOLLOWED)
		strscpy(host->violation, "stopped before the host has");
}

/* From now on @dom, which is followed, must be until the host is told to stop. */
static void look_for_state(struct kunit *test, struct iommu_domain *dom)
{
	fixture_host(test)->peek_data = dom;
	fixture_host(test)->peek = look_at_state;
}

static void looked_for_state(struct kunit *test)
{
	fixture_host(test)->peek = NULL;
	KUNIT_EXPECT_STREQ(test, fixture_host(test)->violation, "");
}

static void stop_init(struct kunit *test, struct iommu_domain *dom)
{
	const struct stop_case *param = test->param_value;
	struct fake_plan plan = param->plan;

	KUNIT_ASSERT_EQ(test, map(dom, 5, 4), 0);
	KUNIT_ASSERT_EQ(test, map(dom, 100, 3), 0);
	fake_host_forget(fixture_host(test));
	plan.call = FAKE_UNMAP;
	fake_host_plan(fixture_host(test), &plan);
	look_for_state(test, dom);
}

static void domain_strict_fails(struct kunit *test)
{
	const struct stop_case *param = test->param_value;
	struct iommu_domain *dom = attached(test);

	stop_init(test, dom);
	unmap_strict(test, dom, 5, 4);
	looked_for_state(test);
	expect(test, param->log);
	if (param->stopped)
		expect_stopped(test, dom);
	else
		expect_state(test, dom, PVIOMMU_FOLLOWED);
}

static void domain_flush_fails(struct kunit *test)
{
	const struct stop_case *param = test->param_value;
	struct iommu_domain *dom = attached(test);

	stop_init(test, dom);
	unmap_lazy(test, dom, 5, 4);
	flush(dom);
	looked_for_state(test);
	expect(test, param->log);
	if (param->stopped)
		expect_stopped(test, dom);
	else
		expect_state(test, dom, PVIOMMU_FOLLOWED);
}

static void domain_retry_bound(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct iommu_domain *dom = attached(test);

	plan(test, FAKE_MAP, PVIOMMU_RC_RETRY, FAKE_FOREVER);
	KUNIT_EXPECT_EQ(test, map(dom, 5, 1), -EAGAIN);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_MAP], 10000);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_UNMAP], 1);
	fake_host_forget(host);

	KUNIT_EXPECT_EQ(test, map(dom, 5, 1), 0);
	plan(test, FAKE_UNMAP, 0, FAKE_FOREVER);
	unmap_strict(test, dom, 5, 1);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_UNMAP], 10000);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_DISABLE], 1);
	expect_state(test, dom, PVIOMMU_REFUSED);
}

/* Stopped is not for good: who attaches it anew has it followed anew. */
static void domain_stopped_reattach(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct iommu_domain *dom = fixture_domain(test, dev,
						  IOMMU_DOMAIN_UNMANAGED);

	KUNIT_ASSERT_EQ(test, fixture_attach(dom, dev), 0);
	KUNIT_ASSERT_EQ(test, map(dom, 5, 2), 0);
	plan(test, FAKE_UNMAP, PVIOMMU_RC_HOST_ERROR, 1);
	unmap_strict(test, dom, 6, 1);
	expect_state(test, dom, PVIOMMU_REFUSED);
	fake_host_forget(fixture_host(test));

	KUNIT_EXPECT_EQ(test, fixture_attach(dom, dev), 0);
	expect(test, "enable:0=0 map:0[0+512]=512");
	expect_state(test, dom, PVIOMMU_FOLLOWED);
	expect_in_step(test, dom);
}

/*
 * Attaching to a host that refuses: with an error only for a domain that is not
 * the core's own and that was never followed.
 */
static const struct attach_case {
	const char *name;
	unsigned int type;
	bool before;
	struct fake_plan plan;
	int err;
	const char *log;
} attach_cases[] = {
	{ .name = "ENABLE, first", .type = IOMMU_DOMAIN_UNMANAGED,
	  .plan = { .call = FAKE_ENABLE, .value = PVIOMMU_RC_HOST_ERROR },
	  .err = -EIO, .log = "enable:0=HOST_ERROR disable:0=0" },
	{ .name = "ENABLE, no memory", .type = IOMMU_DOMAIN_UNMANAGED,
	  .plan = { .call = FAKE_ENABLE, .value = PVIOMMU_RC_NO_MEMORY },
	  .err = -ENOMEM, .log = "enable:0=NO_MEMORY disable:0=0" },
	{ .name = "ENABLE, RETRY", .type = IOMMU_DOMAIN_UNMANAGED,
	  .plan = { .call = FAKE_ENABLE, .value = PVIOMMU_RC_RETRY },
	  .log = "enable:0=RETRY enable:0=0 map:0[0+512]=512" },
	{ .name = "SYNC, first", .type = IOMMU_DOMAIN_UNMANAGED,
	  .plan = { .call = FAKE_MAP, .value = PVIOMMU_RC_NO_RAM },
	  .err = -EFAULT, .log = "enable:0=0 map:0[0+512]=NO_RAM disable:0=0" },
	{ .name = "SYNC, short of memory once", .type = IOMMU_DOMAIN_UNMANAGED,
	  .plan = { .call = FAKE_MAP, .value = PVIOMMU_RC_NO_MEMORY },
	  .log = "enable:0=0 map:0[0+512]=NO_MEMORY map:0[0+512]=512" },
	{ .name = "ENABLE, re-attach", .type = IOMMU_DOMAIN_UNMANAGED,
	  .before = true,
	  .plan = { .call = FAKE_ENABLE, .value = PVIOMMU_RC_HOST_ERROR },
	  .log = "enable:0=HOST_ERROR disable:0=0" },
	{ .name = "SYNC, re-attach", .type = IOMMU_DOMAIN_UNMANAGED,
	  .before = true,
	  .plan = { .call = FAKE_MAP, .value = PVIOMMU_RC_NO_RAM },
	  .log = "enable:0=0 map:0[0+512]=NO_RAM disable:0=0" },
	{ .name = "ENABLE, DMA API", .type = IOMMU_DOMAIN_DMA,
	  .plan = { .call = FAKE_ENABLE, .value = PVIOMMU_RC_HOST_ERROR },
	  .log = "enable:0=HOST_ERROR disable:0=0" },
	{ .name = "SYNC, DMA API", .type = IOMMU_DOMAIN_DMA_FQ,
	  .plan = { .call = FAKE_MAP, .value = PVIOMMU_RC_HOST_ERROR },
	  .log = "enable:0=0 map:0[0+512]=HOST_ERROR disable:0=0" },
};

KUNIT_ARRAY_PARAM_DESC(attach, attach_cases, name);

static void domain_attach_refused(struct kunit *test)
{
	const struct attach_case *param = test->param_value;
	struct device *dev = fixture_device(test, 0);
	struct pviommu_endpoint *endpoint = dev_iommu_priv_get(dev);
	struct iommu_domain *dom = fixture_domain(test, dev, param->type);
	bool refused = strstr(param->log, "disable");

	KUNIT_ASSERT_EQ(test, map(dom, 5, 1), 0);
	if (param->before) {
		KUNIT_ASSERT_EQ(test, fixture_attach(dom, dev), 0);
		fixture_block(dev);
	}
	fake_host_forget(fixture_host(test));
	fake_host_plan(fixture_host(test), &param->plan);

	KUNIT_EXPECT_EQ(test, fixture_attach(dom, dev), param->err);
	expect(test, param->log);
	if (param->err) {
		expect_state(test, dom, PVIOMMU_DETACHED);
		KUNIT_EXPECT_PTR_EQ(test, endpoint->aperture->domain, NULL);
		KUNIT_EXPECT_PTR_EQ(test, endpoint->domain, NULL);
		KUNIT_EXPECT_EQ(test, map(dom, 20, 1), 0);
	} else {
		expect_state(test, dom, refused ? PVIOMMU_REFUSED :
						  PVIOMMU_FOLLOWED);
		KUNIT_EXPECT_PTR_EQ(test, endpoint->domain,
				    fixture_pviommu(dom));
		KUNIT_EXPECT_EQ(test, map(dom, 20, 1), refused ? -EIO : 0);
	}

	/* The next one is not spoiled by it. */
	fake_host_forget(fixture_host(test));
	KUNIT_EXPECT_EQ(test, fixture_attach(dom, dev), 0);
	expect_state(test, dom, PVIOMMU_FOLLOWED);
	expect_in_step(test, dom);
}

static void domain_other_aperture(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct device *other = fixture_device(test, 1);
	struct iommu_domain *dom = fixture_domain(test, dev,
						  IOMMU_DOMAIN_UNMANAGED);

	KUNIT_EXPECT_EQ(test, fixture_attach(dom, other), -EINVAL);
	expect(test, "");
	KUNIT_EXPECT_EQ(test, fixture_attach(dom, dev), 0);
	expect(test, "enable:0=0");
}

static void domain_two(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct iommu_domain *a, *b;

	a = fixture_domain(test, dev, IOMMU_DOMAIN_DMA);
	b = fixture_domain(test, dev, IOMMU_DOMAIN_UNMANAGED);
	KUNIT_ASSERT_EQ(test, fixture_attach(a, dev), 0);
	KUNIT_ASSERT_EQ(test, map(a, 5, 2), 0);
	unmap_lazy(test, a, 5, 1);
	fake_host_forget(fixture_host(test));

	/* The next follows at once: the device is not blocked between. */
	look_for_state(test, a);
	KUNIT_EXPECT_EQ(test, fixture_attach(b, dev), 0);
	looked_for_state(test);
	expect(test, "enable:0=0");
	expect_state(test, a, PVIOMMU_DETACHED);
	expect_state(test, b, PVIOMMU_FOLLOWED);
	KUNIT_EXPECT_EQ(test, map(b, 7, 1), 0);
	expect(test, "map:0[7+1]=1");
	KUNIT_EXPECT_EQ(test, map(a, 8, 1), 0);
	unmap_strict(test, a, 8, 1);
	flush(a);
	expect(test, "");
	expect_in_step(test, b);

	KUNIT_EXPECT_EQ(test, fixture_attach(a, dev), 0);
	expect(test, "enable:0=0 map:0[0+512]=512");
	expect_state(test, b, PVIOMMU_DETACHED);
	expect_in_step(test, a);
	KUNIT_EXPECT_EQ(test, fixture_pviommu(a)->nr_endpoints, 1);
	KUNIT_EXPECT_EQ(test, fixture_pviommu(b)->nr_endpoints, 0);
	fixture_free(test, b);
	fake_host_forget(fixture_host(test));

	/* Attached already. */
	KUNIT_EXPECT_EQ(test, fixture_attach(a, dev), 0);
	expect(test, "");

	look_for_state(test, a);
	fixture_block(dev);
	looked_for_state(test);
}

static void domain_two_devices(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct device *other = fixture_device(test, 0);
	struct iommu_domain *dom = fixture_domain(test, dev, IOMMU_DOMAIN_DMA);

	KUNIT_EXPECT_EQ(test, fixture_attach(dom, dev), 0);
	expect(test, "enable:0=0");
	KUNIT_EXPECT_EQ(test, fixture_attach(dom, other), 0);
	expect(test, "");
	KUNIT_EXPECT_EQ(test, fixture_pviommu(dom)->nr_endpoints, 2);
	KUNIT_EXPECT_EQ(test, map(dom, 5, 1), 0);
	fake_host_forget(fixture_host(test));

	/* One is unplugged, and the other one goes on. */
	fixture_block(dev);
	expect(test, "");
	expect_in_step(test, dom);
	fixture_block(other);
	expect(test, "disable:0=0");
	fixture_block(other);
	expect(test, "");
}

static void domain_free_attached(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct iommu_domain *dom = fixture_domain(test, dev,
						  IOMMU_DOMAIN_UNMANAGED);
	struct pviommu_endpoint *endpoint = dev_iommu_priv_get(dev);

	KUNIT_ASSERT_EQ(test, fixture_attach(dom, dev), 0);
	KUNIT_ASSERT_EQ(test, map(dom, 5, 1), 0);
	fake_host_forget(fixture_host(test));
	fixture_free(test, dom);
	expect(test, "disable:0=0");
	KUNIT_EXPECT_PTR_EQ(test, endpoint->aperture->domain, NULL);
	endpoint->domain = NULL;
}

/* A real device in the aperture that is not an endpoint of the driver. */
static void domain_outsider(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct fake_host *host = fixture_host(test);
	struct iommu_domain *own, *core;
	struct pviommu_path path;
	struct pci_dev *pdev;

	pdev = fixture_spare_pci(&path);
	if (!pdev)
		kunit_skip(test, "this machine has no PCI device to spare");
	own = fixture_domain(test, dev, IOMMU_DOMAIN_UNMANAGED);
	core = fixture_domain(test, dev, IOMMU_DOMAIN_DMA);
	fake_host_add_endpoint(host, &path, 0);
	pci_dev_put(pdev);

	KUNIT_EXPECT_EQ(test, fixture_attach(own, dev), -EBUSY);
	expect(test, "disable:0=0");
	KUNIT_EXPECT_EQ(test, fixture_attach(core, dev), 0);
	expect(test, "disable:0=0");
	expect_state(test, core, PVIOMMU_REFUSED);
	KUNIT_EXPECT_EQ(test, host->apertures[0].directory, 0);

	/* In another aperture it does no harm. */
	host->endpoints[host->nr_endpoints - 1].aperture = 1;
	KUNIT_EXPECT_EQ(test, fixture_attach(core, dev), 0);
	expect(test, "enable:0=0");
}

static void domain_shutdown(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct pviommu_aperture *aperture = fixture_aperture(dev);
	struct iommu_domain *dom = fixture_domain(test, dev, IOMMU_DOMAIN_DMA);

	pviommu_aperture_shutdown(aperture);
	expect(test, "disable:0=0");

	KUNIT_ASSERT_EQ(test, fixture_attach(dom, dev), 0);
	KUNIT_ASSERT_EQ(test, map(dom, 100, 3), 0);
	fake_host_forget(fixture_host(test));
	/* Somebody was stopped with the lock. */
	mutex_lock(&aperture->attach_lock);
	pviommu_aperture_shutdown(aperture);
	mutex_unlock(&aperture->attach_lock);
	expect(test, "disable:0=0");
	expect_state(test, dom, PVIOMMU_FOLLOWED);

	pviommu_aperture_shutdown(aperture);
	expect(test, "disable:0=0");
	expect_stopped(test, dom);
}

struct meanwhile {
	struct iommu_domain *dom;
	enum fake_call call;
	bool locked;
	bool cleared;
	int err;
};

static void look_at_flush(struct fake_host *host, enum fake_call call)
{
	struct meanwhile *seen = host->peek_data;
	spinlock_t *lock = &fixture_pviommu(seen->dom)->flush_lock;
	unsigned long flags;

	seen->call = call;
	seen->locked = !spin_trylock_irqsave(lock, flags);
	if (!seen->locked)
		spin_unlock_irqrestore(lock, flags);
	seen->cleared = !iommu_iova_to_phys(seen->dom, IOVA(5));
}

/*
 * While a flush is on its way nobody may take it for done, and while the host is
 * told of a removal its entry is gone already.
 */
static void domain_flush_locked(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct meanwhile seen = { .dom = attached(test) };

	KUNIT_ASSERT_EQ(test, map(seen.dom, 5, 2), 0);
	host->peek_data = &seen;
	host->peek = look_at_flush;

	unmap_lazy(test, seen.dom, 5, 1);
	flush(seen.dom);
	KUNIT_EXPECT_EQ(test, seen.call, FAKE_UNMAP);
	KUNIT_EXPECT_TRUE(test, seen.cleared);
	if (IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_DEBUG_SPINLOCK))
		KUNIT_EXPECT_TRUE(test, seen.locked);

	KUNIT_ASSERT_EQ(test, map(seen.dom, 5, 1), 0);
	KUNIT_EXPECT_EQ(test, seen.call, FAKE_MAP);
	KUNIT_EXPECT_FALSE(test, seen.cleared);
	unmap_strict(test, seen.dom, 5, 1);
	KUNIT_EXPECT_EQ(test, seen.call, FAKE_UNMAP);
	KUNIT_EXPECT_TRUE(test, seen.cleared);
}

static void map_at_enable(struct fake_host *host, enum fake_call call)
{
	struct meanwhile *seen = host->peek_data;

	if (call == FAKE_ENABLE)
		seen->err = map(seen->dom, 600, 1);
}

/* Who maps while the host is about to follow leaves the sync to who attaches. */
static void domain_map_meanwhile(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct fake_host *host = fixture_host(test);
	struct meanwhile seen = { .err = -1 };

	seen.dom = fixture_domain(test, dev, IOMMU_DOMAIN_UNMANAGED);
	host->peek_data = &seen;
	host->peek = map_at_enable;
	KUNIT_EXPECT_EQ(test, fixture_attach(seen.dom, dev), 0);
	KUNIT_EXPECT_EQ(test, seen.err, 0);
	expect(test, "enable:0=0 map:0[512+512]=512");
	expect_in_step(test, seen.dom);
}

static void map_at_first_sync(struct fake_host *host, enum fake_call call)
{
	struct meanwhile *seen = host->peek_data;

	if (call == FAKE_MAP && seen->err == -1) {
		seen->err = 0;
		seen->err = map(seen->dom, 3, 1);
	}
}

/* Who maps behind the one who attaches has to see to the sync. */
static void domain_map_behind(struct kunit *test)
{
	struct device *dev = fixture_device(test, 0);
	struct fake_host *host = fixture_host(test);
	struct meanwhile seen = { .err = -1 };

	seen.dom = fixture_domain(test, dev, IOMMU_DOMAIN_UNMANAGED);
	KUNIT_ASSERT_EQ(test, map(seen.dom, 1100, 1), 0);
	host->peek_data = &seen;
	host->peek = map_at_first_sync;
	KUNIT_EXPECT_EQ(test, fixture_attach(seen.dom, dev), 0);
	KUNIT_EXPECT_EQ(test, seen.err, 0);
	expect(test, "enable:0=0 map:0[3+1]=1 map:0[1024+176]=176");
	expect_in_step(test, seen.dom);
}

/*
 * Units of 2 MiB, for a host that knows them.
 */
static struct iommu_domain *attached_large(struct kunit *test)
{
	fixture_host(test)->probe.features |= PVIOMMU_FEATURE_LARGE;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
	return attached(test);
}

static const struct large_domain_case {
	const char *name;
	u64 features;
	u64 base;
	bool large;
} large_domain_cases[] = {
	{ "host knows them", PVIOMMU_FEATURE_LARGE, BASE, true },
	{ "host does not", 0, BASE, false },
	{ "window not aligned", PVIOMMU_FEATURE_LARGE, BASE + SZ_1M, false },
	{ "window a page off", PVIOMMU_FEATURE_LARGE, BASE + SZ_4K, false },
};

KUNIT_ARRAY_PARAM_DESC(large_domain, large_domain_cases, name);

static void domain_large_pages(struct kunit *test)
{
	const struct large_domain_case *param = test->param_value;
	struct fake_host *host = fixture_host(test);
	struct iommu_domain *dom;

	host->probe.features |= param->features;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
	fake_host_set_window(test, host, 0, param->base, 1200);
	dom = fixture_domain(test, fixture_device(test, 0),
			     IOMMU_DOMAIN_UNMANAGED);
	KUNIT_EXPECT_EQ(test, dom->pgsize_bitmap,
			param->large ? SZ_4K | SZ_2M : SZ_4K);
}

static const struct unit_case {
	const char *name;
	unsigned int page;
	unsigned int count;
	phys_addr_t paddr;
	unsigned int large_first, large_count;	/* pages that are in units */
} unit_cases[] = {
	{ "a unit", 512, 512, SZ_4M, 512, 512 },
	{ "two units", 0, 1024, SZ_4M, 0, 1024 },
	{ "two and some pages", 0, 1200, SZ_4M, 0, 1024 },
	{ "some pages in front", 510, 514, SZ_4M - 2 * SZ_4K, 512, 512 },
	{ "less than one", 512, 511, SZ_4M, 0, 0 },
	{ "frame elsewhere in 2 MiB", 512, 512, SZ_4M + SZ_4K, 0, 0 },
	{ "page elsewhere in 2 MiB", 511, 600, SZ_4M, 0, 0 },
};

KUNIT_ARRAY_PARAM_DESC(unit, unit_cases, name);

static void expect_units(struct kunit *test, const struct unit_case *param)
{
	const struct fake_aperture *aperture = &fixture_host(test)->apertures[0];
	unsigned int i;

	for (i = 0; i < 1200; i++) {
		bool mapped = i >= param->page && i < param->page + param->count;
		bool large = i >= param->large_first &&
			     i < param->large_first + param->large_count;
		u64 entry = param->paddr + SIZE(i - param->page);

		entry |= PVIOMMU_ENTRY_READ | PVIOMMU_ENTRY_WRITE;
		if (large)
			entry |= PVIOMMU_ENTRY_LARGE;
		KUNIT_ASSERT_EQ_MSG(test, aperture->shadow[i],
				    mapped ? entry : 0, "page %u", i);
	}
}

static void domain_units(struct kunit *test)
{
	const struct unit_case *param = test->param_value;
	struct iommu_domain *dom = attached_large(test);
	unsigned int i;

	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test,
				iommu_map(dom, IOVA(param->page), param->paddr,
					  SIZE(param->count), RW, GFP_KERNEL),
				0);
		expect_units(test, param);
		KUNIT_EXPECT_EQ(test,
				iommu_iova_to_phys(dom, IOVA(param->page) + 5),
				param->paddr + 5);
		if (i) {
			unmap_strict(test, dom, param->page, param->count);
		} else {
			unmap_lazy(test, dom, param->page, param->count);
			flush(dom);
		}
		expect_in_step(test, dom);
		KUNIT_EXPECT_EQ(test,
				fixture_host(test)->apertures[0].nr_mapped, 0);
	}
}

static const struct part_case {
	const char *name;
	unsigned int page, count;	/* unmapped, of pages 512 to 1100 */
	unsigned int unmapped;		/* from @page on */
	unsigned int left;		/* first page that stays */
	const char *log;
} part_cases[] = {
	{ "first page", 512, 1, 512, 1024, "unmap:0[512+512]=512" },
	{ "page in the middle", 600, 1, 424, 1024, "unmap:0[512+512]=512" },
	{ "last page", 1023, 1, 1, 1024, "unmap:0[512+512]=512" },
	{ "across its end", 1020, 10, 10, 1030, "unmap:0[512+518]=518" },
};

KUNIT_ARRAY_PARAM_DESC(part, part_cases, name);

/* The API forbids it; the promise is kept all the same. */
static void domain_part_of_unit(struct kunit *test)
{
	const struct part_case *param = test->param_value;
	struct iommu_domain *dom = attached_large(test);
	struct iommu_iotlb_gather gather;
	unsigned int i, j;

	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, iommu_map(dom, IOVA(512), SZ_4M, SIZE(589),
						RW, GFP_KERNEL), 0);
		fake_host_forget(fixture_host(test));

		iommu_iotlb_gather_init(&gather);
		gather.queued = i;
		KUNIT_EXPECT_EQ(test,
				dom->ops->unmap_pages(dom, IOVA(param->page),
						      SZ_4K, param->count,
						      &gather),
				SIZE(param->unmapped));
		if (i)
			flush(dom);
		else
			iommu_iotlb_sync(dom, &gather);
		expect(test, param->log);
		expect_in_step(test, dom);
		for (j = 512; j < 1101; j++)
			KUNIT_ASSERT_EQ(test, !iommu_iova_to_phys(dom, IOVA(j)),
					j < param->left);
		unmap_strict(test, dom, param->left, 1101 - param->left);
	}
}

/* A page of it is taken: nothing of it is entered, so nothing has to go. */
static void domain_unit_exists(struct kunit *test)
{
	struct iommu_domain *dom = attached_large(test);

	KUNIT_ASSERT_EQ(test, map(dom, 700, 1), 0);
	fake_host_forget(fixture_host(test));
	KUNIT_EXPECT_EQ(test, iommu_map(dom, IOVA(0), SZ_4M, SIZE(1024), RW,
					GFP_KERNEL), -EEXIST);
	/* The unit in front of it. */
	expect(test, "unmap:0[0+512]=512");
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, IOVA(512)), 0);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(dom, IOVA(700)),
			FIXTURE_RAM + SIZE(700));
	expect_in_step(test, dom);
}

static struct kunit_case domain_cases[] = {
	KUNIT_CASE(domain_geometry),
	KUNIT_CASE_PARAM(domain_window, window_gen_params),
	KUNIT_CASE(domain_access),
	KUNIT_CASE_PARAM(domain_strict, sync_gen_params),
	KUNIT_CASE_PARAM(domain_lazy, sync_gen_params),
	KUNIT_CASE(domain_map_sg),
	KUNIT_CASE(domain_gather),
	KUNIT_CASE(domain_unmap_hole),
	KUNIT_CASE(domain_map_twice),
	KUNIT_CASE(domain_lazy_batches),
	KUNIT_CASE(domain_detached),
	KUNIT_CASE_PARAM(domain_map_refused, refused_gen_params),
	KUNIT_CASE(domain_budget),
	KUNIT_CASE_PARAM(domain_strict_fails, stop_gen_params),
	KUNIT_CASE_PARAM(domain_flush_fails, stop_gen_params),
	KUNIT_CASE(domain_retry_bound),
	KUNIT_CASE(domain_stopped_reattach),
	KUNIT_CASE_PARAM(domain_attach_refused, attach_gen_params),
	KUNIT_CASE(domain_other_aperture),
	KUNIT_CASE(domain_two),
	KUNIT_CASE(domain_two_devices),
	KUNIT_CASE(domain_free_attached),
	KUNIT_CASE(domain_outsider),
	KUNIT_CASE(domain_shutdown),
	KUNIT_CASE(domain_flush_locked),
	KUNIT_CASE(domain_map_meanwhile),
	KUNIT_CASE(domain_map_behind),
	KUNIT_CASE_PARAM(domain_large_pages, large_domain_gen_params),
	KUNIT_CASE_PARAM(domain_units, unit_gen_params),
	KUNIT_CASE_PARAM(domain_part_of_unit, part_gen_params),
	KUNIT_CASE(domain_unit_exists),
	{}
};

static struct kunit_suite domain_suite = {
	.name = "pviommu_domain",
	.init = guest_fixture_init,
	.exit = guest_fixture_exit,
	.test_cases = domain_cases,
};

kunit_test_suite(domain_suite);
