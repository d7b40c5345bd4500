// SPDX-License-Identifier: GPL-2.0-only
/*
 * Groups and domains, with the IOMMU core: a driver that translates nothing, and two
 * devices behind it.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/irqdomain.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "fixture.h"

#define MAX_REGIONS	(PVIOMMU_MAX_HOLES + 1)

struct region {
	u64 start;
	u64 length;
	enum iommu_resv_type type;
};

/**
 * struct fake_unit - the IOMMU
 * @iommu: for the core
 * @fwnode: what its devices name
 * @pdevs: devices, each a group
 * @groups: theirs
 * @claimed: groups that the test owns, as VFIO would
 * @regions: what is reserved, for all devices
 * @aperture_end: last IOVA that is translated, by device
 * @coherent: cache coherency can be enforced
 * @attach_err: of all devices
 * @thief: attached to group 1 by another VMM thread, while a domain is allocated
 * @move: a move of group 0
 * @move_at_flush: it begins while the hardware is told to flush
 * @moving: the move has begun
 * @moved: it may end
 * @flushed: the hardware was told to flush
 * @freed: a table that was emptied is freed
 */
static struct fake_unit {
	struct iommu_device iommu;
	struct fwnode_handle *fwnode;
	struct platform_device *pdevs[2];
	struct iommu_group *groups[2];
	unsigned int claimed;
	struct region regions[MAX_REGIONS];
	u64 aperture_end[2];
	bool coherent;
	int attach_err;
	struct iommu_domain *thief;
	struct work_struct move;
	bool move_at_flush;
	struct completion moving;
	struct completion moved;
	bool flushed;
	bool freed;
} unit;

static struct irq_domain isolated = { .flags = IRQ_DOMAIN_FLAG_ISOLATED_MSI };

static int attach_ok(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static int attach_paging(struct iommu_domain *domain, struct device *dev)
{
	return unit.attach_err;
}

static bool enforce_cache_coherency(struct iommu_domain *domain)
{
	return unit.coherent;
}

static void begin_move(void)
{
	queue_work(system_unbound_wq, &unit.move);
	wait_for_completion(&unit.moving);
}

static void flush_iotlb_all(struct iommu_domain *domain)
{
	WRITE_ONCE(unit.flushed, true);
	if (unit.move_at_flush)
		begin_move();
	unit.move_at_flush = false;
}

/* As VT-d's driver does, which does not know of a group that is leaving. */
static void iotlb_sync(struct iommu_domain *domain,
		       struct iommu_iotlb_gather *gather)
{
	flush_iotlb_all(domain);
	if (list_empty(&gather->freelist))
		return;
	list_del_init(gather->freelist.next);
	WRITE_ONCE(unit.freed, true);
}

static void free_domain(struct iommu_domain *domain)
{
	kfree(domain);
}

static const struct iommu_domain_ops static_ops = { .attach_dev = attach_ok };

static const struct iommu_domain_ops paging_ops = {
	.attach_dev = attach_paging,
	.flush_iotlb_all = flush_iotlb_all,
	.iotlb_sync = iotlb_sync,
	.enforce_cache_coherency = enforce_cache_coherency,
	.free = free_domain,
};

static struct iommu_domain identity = {
	.type = IOMMU_DOMAIN_IDENTITY,
	.ops = &static_ops,
};

static struct iommu_domain blocked = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &static_ops,
};

static struct iommu_domain *alloc_paging(struct device *dev)
{
	struct iommu_domain *domain = kzalloc(sizeof(*domain), GFP_KERNEL);
	unsigned int nr = unit.pdevs[1] && dev == &unit.pdevs[1]->dev;

	if (!domain)
		return NULL;
	if (unit.thief && iommu_attach_group(unit.thief, unit.groups[1])) {
		kfree(domain);
		return NULL;
	}
	domain->ops = &paging_ops;
	domain->pgsize_bitmap = SZ_4K | SZ_2M;
	domain->geometry.aperture_end = unit.aperture_end[nr];
	return domain;
}

static int def_domain_type(struct device *dev)
{
	return IOMMU_DOMAIN_IDENTITY;
}

static struct iommu_device *probe_device(struct device *dev)
{
	return &unit.iommu;
}

static void get_resv_regions(struct device *dev, struct list_head *list)
{
	struct iommu_resv_region *region;
	unsigned int i;

	for (i = 0; i < MAX_REGIONS && unit.regions[i].length; i++) {
		region = iommu_alloc_resv_region(unit.regions[i].start,
						 unit.regions[i].length, 0,
						 unit.regions[i].type,
						 GFP_KERNEL);
		if (region)
			list_add_tail(&region->list, list);
	}
}

static const struct iommu_ops unit_ops = {
	.owner = THIS_MODULE,
	.identity_domain = &identity,
	.blocked_domain = &blocked,
	.domain_alloc_paging = alloc_paging,
	.def_domain_type = def_domain_type,
	.probe_device = probe_device,
	.device_group = generic_device_group,
	.get_resv_regions = get_resv_regions,
	.pgsize_bitmap = SZ_4K,
};

/* What iommu_fwspec_init() does, but under the core's own lock; the core frees it. */
static int name_unit(struct device *dev)
{
	struct iommu_fwspec *fwspec = kzalloc(sizeof(*fwspec), GFP_KERNEL);
	struct dev_iommu *param = kzalloc(sizeof(*param), GFP_KERNEL);

	if (!fwspec || !param) {
		kfree(fwspec);
		kfree(param);
		return -ENOMEM;
	}
	mutex_init(&param->lock);
	fwspec->iommu_fwnode = fwnode_handle_get(unit.fwnode);
	param->fwspec = fwspec;
	dev->iommu = param;
	return 0;
}

static void add_device(struct kunit *test, unsigned int nr)
{
	struct platform_device *pdev;

	pdev = platform_device_alloc("pviommu-test", nr);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	unit.pdevs[nr] = pdev;
	KUNIT_ASSERT_EQ(test, name_unit(&pdev->dev), 0);
	KUNIT_ASSERT_EQ(test, platform_device_add(pdev), 0);
	unit.groups[nr] = iommu_group_get(&pdev->dev);
	KUNIT_ASSERT_NOT_NULL(test, unit.groups[nr]);
	dev_set_msi_domain(&pdev->dev, &isolated);
	KUNIT_ASSERT_EQ(test, iommu_group_claim_dma_owner(unit.groups[nr],
							  &unit), 0);
	unit.claimed |= BIT(nr);
}

static int group_init(struct kunit *test)
{
	struct fixture *fix = fixture_create(test, WINDOW_PAGES, 0);

	/* A domain of the unit's comes with the first group. */
	pviommu_aperture_disable(fix->ap);
	pviommu_aperture_lock(fix->ap);
	pviommu_group_last_left(fix->ap);
	pviommu_aperture_unlock(fix->ap);

	memset(&unit, 0, sizeof(unit));
	unit.coherent = true;
	unit.aperture_end[0] = GENMASK_ULL(47, 0);
	unit.aperture_end[1] = GENMASK_ULL(47, 0);
	unit.fwnode = fwnode_create_software_node(NULL, NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, unit.fwnode);
	KUNIT_ASSERT_EQ(test, iommu_device_sysfs_add(&unit.iommu, NULL, NULL,
						     "pviommu-test"), 0);
	unit.iommu.fwnode = unit.fwnode;
	KUNIT_ASSERT_EQ(test, iommu_device_register(&unit.iommu, &unit_ops,
						    NULL), 0);
	add_device(test, 0);
	add_device(test, 1);
	return 0;
}

static void group_exit(struct kunit *test)
{
	struct fixture *fix = test->priv;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (!unit.groups[i])
			continue;
		if (fix->ap->domain.iommu &&
		    iommu_get_domain_for_dev(&unit.pdevs[i]->dev) ==
		    fix->ap->domain.iommu)
			pviommu_domain_detach(&fix->ap->domain, unit.groups[i]);
		if (unit.claimed & BIT(i))
			iommu_group_release_dma_owner(unit.groups[i]);
		dev_set_msi_domain(&unit.pdevs[i]->dev, NULL);
		iommu_group_put(unit.groups[i]);
	}
	for (i = 0; i < 2; i++) {
		if (unit.groups[i])
			platform_device_unregister(unit.pdevs[i]);
		else
			platform_device_put(unit.pdevs[i]);
	}
	if (unit.iommu.ops)
		iommu_device_unregister(&unit.iommu);
	if (unit.iommu.dev)
		iommu_device_sysfs_remove(&unit.iommu);
	if (!IS_ERR_OR_NULL(unit.fwnode))
		fwnode_remove_software_node(unit.fwnode);
	fixture_exit(test);
}

static int join(struct fixture *fix, unsigned int nr, bool stay)
{
	int ret;

	mutex_lock(&fix->vm.lock);
	pviommu_aperture_lock(fix->ap);
	ret = pviommu_group_join(fix->ap, unit.groups[nr],
				 &unit.pdevs[nr]->dev, stay);
	pviommu_aperture_unlock(fix->ap);
	mutex_unlock(&fix->vm.lock);
	return ret;
}

#define BASE	((u64)WINDOW_BASE)
#define END	(BASE + WINDOW_PAGES * SZ_4K)
#define RESV	IOMMU_RESV_RESERVED

struct hole_case {
	const char *name;
	struct region regions[3];
	int nr;
	struct pviommu_hole holes[2];
};

static const struct hole_case hole_cases[] = {
	{ "nothing reserved: none", {}, 0 },
	{ "in the window", { { BASE + SZ_1M, SZ_64K, IOMMU_RESV_MSI } }, 1,
	  { { BASE + SZ_1M, SZ_64K } } },
	{ "below the window: none", { { BASE - SZ_1M, SZ_1M, RESV } }, 0 },
	{ "above the window: none", { { END, SZ_1M, RESV } }, 0 },
	{ "across its start", { { BASE - SZ_8K, SZ_16K, RESV } }, 1,
	  { { BASE, SZ_8K } } },
	{ "across its end", { { END - SZ_8K, SZ_16K, RESV } }, 1,
	  { { END - SZ_8K, SZ_8K } } },
	{ "all of it and more", { { 0, GENMASK_ULL(47, 0), RESV } }, 1,
	  { { BASE, END - BASE } } },
	{ "to the end of all", { { SZ_4K, U64_MAX - SZ_4K + 1, RESV } }, 1,
	  { { BASE, END - BASE } } },
	{ "whole pages", { { BASE + SZ_1M + 8, 16, RESV } }, 1,
	  { { BASE + SZ_1M, SZ_4K } } },
	{ "two", { { BASE, SZ_4K, RESV }, { BASE + SZ_1M, SZ_4K, RESV } }, 2,
	  { { BASE, SZ_4K }, { BASE + SZ_1M, SZ_4K } } },
	{ "neighbours of two types: one",
	  { { BASE, SZ_4K, RESV }, { BASE + SZ_4K, SZ_4K, IOMMU_RESV_MSI } },
	  1, { { BASE, SZ_8K } } },
	{ "overlapping, of two types: one",
	  { { BASE, SZ_64K, RESV }, { BASE + SZ_8K, SZ_1M, IOMMU_RESV_MSI } },
	  1, { { BASE, SZ_1M + SZ_8K } } },
	{ "one in the other: one",
	  { { BASE, SZ_1M, RESV }, { BASE + SZ_8K, SZ_4K, IOMMU_RESV_MSI } },
	  1, { { BASE, SZ_1M } } },
	{ "in the same page: one",
	  { { BASE + 8, 8, RESV }, { BASE + 64, 8, IOMMU_RESV_MSI } }, 1,
	  { { BASE, SZ_4K } } },
	{ "relaxable: none",
	  { { BASE, SZ_1M, IOMMU_RESV_DIRECT_RELAXABLE } }, 0 },
};

KUNIT_ARRAY_PARAM_DESC(hole, hole_cases, name);

static void reserved_regions_are_holes(struct kunit *test)
{
	const struct hole_case *c = test->param_value;
	struct pviommu_hole *holes;
	int i;

	holes = kunit_kcalloc(test, PVIOMMU_MAX_HOLES, sizeof(*holes),
			      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, holes);
	memcpy(unit.regions, c->regions, sizeof(c->regions));
	KUNIT_ASSERT_EQ(test, pviommu_domain_holes(unit.groups[0], BASE,
						   WINDOW_PAGES, holes),
			c->nr);
	for (i = 0; i < c->nr; i++) {
		KUNIT_EXPECT_EQ(test, holes[i].base, c->holes[i].base);
		KUNIT_EXPECT_EQ(test, holes[i].length, c->holes[i].length);
	}
}

static void reserve(unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		unit.regions[i] = (struct region){
			BASE + i * SZ_8K, SZ_4K, RESV
		};
}

static void holes_are_bounded(struct kunit *test)
{
	struct fixture *fix = test->priv;

	reserve(PVIOMMU_MAX_HOLES + 1);
	KUNIT_EXPECT_EQ(test, join(fix, 0, true), -ENOSPC);
	KUNIT_EXPECT_NULL(test, fix->ap->domain.iommu);
	memset(unit.regions, 0, sizeof(unit.regions));
	reserve(PVIOMMU_MAX_HOLES);
	KUNIT_EXPECT_EQ(test, join(fix, 0, true), 0);
	KUNIT_EXPECT_EQ(test, fix->ap->nr_holes, PVIOMMU_MAX_HOLES);
}

static void first_group_brings_the_domain(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_domain *domain = &fix->ap->domain;

	reserve(1);
	KUNIT_ASSERT_EQ(test, join(fix, 0, false), 0);
	KUNIT_ASSERT_NOT_NULL(test, domain->iommu);
	KUNIT_EXPECT_EQ(test, domain->iommu->pgsize_bitmap,
			SZ_4K | SZ_2M);
	KUNIT_EXPECT_EQ(test, domain->nr_groups, 1);
	KUNIT_EXPECT_FALSE(test, domain->noncoherent);
	KUNIT_EXPECT_EQ(test, fix->ap->nr_holes, 1);
	KUNIT_EXPECT_PTR_EQ(test, domain->iommu,
			    iommu_get_domain_for_dev(&unit.pdevs[0]->dev));

	pviommu_domain_detach(domain, unit.groups[0]);
	KUNIT_EXPECT_EQ(test, domain->nr_groups, 0);
	KUNIT_EXPECT_PTR_EQ(test, &blocked,
			    iommu_get_domain_for_dev(&unit.pdevs[0]->dev));
}

static void group_that_stays_is_moved_later(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_domain *domain = &fix->ap->domain;
	int ret;

	KUNIT_ASSERT_EQ(test, join(fix, 0, true), 0);
	KUNIT_EXPECT_NOT_NULL(test, domain->iommu);
	KUNIT_EXPECT_EQ(test, domain->nr_groups, 0);
	pviommu_aperture_lock(fix->ap);
	unit.attach_err = -ENOMEM;
	ret = pviommu_group_move(fix->ap, unit.groups[0], &unit.pdevs[0]->dev);
	KUNIT_EXPECT_EQ(test, ret, -ENOMEM);
	KUNIT_EXPECT_PTR_EQ(test, &blocked,
			    iommu_get_domain_for_dev(&unit.pdevs[0]->dev));
	unit.attach_err = 0;
	ret = pviommu_group_move(fix->ap, unit.groups[0], &unit.pdevs[0]->dev);
	KUNIT_EXPECT_EQ(test, ret, 0);
	pviommu_aperture_unlock(fix->ap);
	KUNIT_EXPECT_EQ(test, domain->nr_groups, 1);
}

static void not_claimed(struct fixture *fix)
{
	iommu_group_release_dma_owner(unit.groups[0]);
	unit.claimed &= ~BIT(0);
}

static void no_isolated_msi(struct fixture *fix)
{
	dev_set_msi_domain(&unit.pdevs[0]->dev, NULL);
}

static void direct_region(struct fixture *fix)
{
	unit.regions[0] = (struct region){ SZ_1M, SZ_1M, IOMMU_RESV_DIRECT };
}

static void narrow(struct fixture *fix)
{
	unit.aperture_end[0] = END - 2;
}

static void all_reserved(struct fixture *fix)
{
	unit.regions[0] = (struct region){ 0, SZ_1T, RESV };
}

static void attach_enomem(struct fixture *fix)
{
	unit.attach_err = -ENOMEM;
}

static void attach_enospc(struct fixture *fix)
{
	unit.attach_err = -ENOSPC;
}

static void attach_einval(struct fixture *fix)
{
	unit.attach_err = -EINVAL;
}

struct join_case {
	const char *name;
	void (*prepare)(struct fixture *fix);
	int err;
};

static const struct join_case join_cases[] = {
	{ "not in VFIO's hands", not_claimed, -ENOTCONN },
	{ "interrupts are not remapped", no_isolated_msi, -EACCES },
	{ "must reach host memory", direct_region, -EADDRINUSE },
	{ "window is not translated", narrow, -EADDRNOTAVAIL },
	{ "window is reserved", all_reserved, -ENOSPC },
	{ "no memory", attach_enomem, -ENOMEM },
	{ "no domain id", attach_enospc, -ENOMEM },
	{ "not compatible", attach_einval, -EMEDIUMTYPE },
};

KUNIT_ARRAY_PARAM_DESC(join, join_cases, name);

static void group_is_refused(struct kunit *test)
{
	const struct join_case *c = test->param_value;
	struct fixture *fix = test->priv;

	c->prepare(fix);
	KUNIT_EXPECT_EQ(test, join(fix, 0, false), c->err);
	/* Nothing is left of it. */
	KUNIT_EXPECT_NULL(test, fix->ap->domain.iommu);
	KUNIT_EXPECT_EQ(test, fix->ap->domain.nr_groups, 0);
	KUNIT_EXPECT_EQ(test, fix->ap->nr_holes, 0);
}

/* The guest has been told of the holes, and the page table has its levels. */
static void second_group_brings_nothing_new(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct list_head device;

	reserve(2);
	KUNIT_ASSERT_EQ(test, join(fix, 0, false), 0);
	list_add(&device, &fix->ap->devices);

	reserve(3);
	KUNIT_EXPECT_EQ(test, join(fix, 1, false), -ENOSPC);
	memset(unit.regions, 0, sizeof(unit.regions));
	reserve(1);
	unit.aperture_end[1] = GENMASK_ULL(38, 0);
	KUNIT_EXPECT_EQ(test, join(fix, 1, false), -EMEDIUMTYPE);
	KUNIT_EXPECT_EQ(test, fix->ap->domain.nr_groups, 1);
	unit.aperture_end[1] = unit.aperture_end[0];
	KUNIT_EXPECT_EQ(test, join(fix, 1, false), 0);
	KUNIT_EXPECT_EQ(test, fix->ap->domain.nr_groups, 2);
	KUNIT_EXPECT_EQ(test, fix->ap->nr_holes, 2);

	list_del(&device);
}

static void kvm_knows_of_devices_that_do_not_snoop(struct kunit *test)
{
	struct fixture *fix = test->priv;
	atomic_t *count = &fix->fake.kvm->arch.noncoherent_dma_count;

	unit.coherent = false;
	KUNIT_ASSERT_EQ(test, join(fix, 0, false), 0);
	KUNIT_EXPECT_TRUE(test, fix->ap->domain.noncoherent);
	KUNIT_EXPECT_EQ(test, atomic_read(count), 1);

	pviommu_domain_detach(&fix->ap->domain, unit.groups[0]);
	pviommu_aperture_lock(fix->ap);
	pviommu_group_last_left(fix->ap);
	pviommu_aperture_unlock(fix->ap);
	KUNIT_EXPECT_EQ(test, atomic_read(count), 0);
}

/* A domain of the VMM's own. */
static struct iommu_domain *take(struct kunit *test, unsigned int nr)
{
	struct iommu_domain *other;

	other = iommu_paging_domain_alloc(&unit.pdevs[nr]->dev);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, other);
	iommu_detach_group(NULL, unit.groups[nr]);
	KUNIT_EXPECT_EQ(test, iommu_attach_group(other, unit.groups[nr]), 0);
	return other;
}

static void give_back(struct iommu_domain *other, unsigned int nr)
{
	iommu_detach_group(other, unit.groups[nr]);
	iommu_domain_free(other);
}

static void taken_groups_are_noticed(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_domain *domain = &fix->ap->domain;
	struct page *page = virt_to_page(fix);
	struct iommu_domain *other;
	struct list_head device;
	bool all, stuck;

	KUNIT_EXPECT_EQ(test, pviommu_domain_taken(domain, &all), 0);
	KUNIT_EXPECT_FALSE(test, all);
	KUNIT_ASSERT_EQ(test, join(fix, 0, false), 0);
	KUNIT_EXPECT_EQ(test, pviommu_domain_taken(domain, &all), 0);
	KUNIT_EXPECT_FALSE(test, all);

	other = take(test, 0);
	KUNIT_EXPECT_EQ(test, pviommu_domain_taken(domain, &all), 1);
	KUNIT_EXPECT_TRUE(test, all);
	/* For nobody. */
	KUNIT_EXPECT_EQ(test, pviommu_domain_map(domain, BASE, &page, 1, NULL,
						 true, true, &stuck),
			-ENOTCONN);
	KUNIT_EXPECT_FALSE(test, stuck);
	KUNIT_EXPECT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)),
			PVIOMMU_RC_HOST_ERROR);

	list_add(&device, &fix->ap->devices);
	KUNIT_EXPECT_EQ(test, join(fix, 1, false), 0);
	list_del(&device);
	KUNIT_EXPECT_EQ(test, pviommu_domain_taken(domain, &all), 1);
	KUNIT_EXPECT_FALSE(test, all);

	pviommu_domain_detach(domain, unit.groups[0]);
	KUNIT_EXPECT_EQ(test, pviommu_domain_taken(domain, &all), 0);
	KUNIT_EXPECT_FALSE(test, all);
	give_back(other, 0);
}

static void group_taken_meanwhile_is_refused(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct device *dev = &unit.pdevs[1]->dev;
	struct iommu_domain *other;
	struct list_head device;

	KUNIT_ASSERT_EQ(test, join(fix, 0, false), 0);
	other = iommu_paging_domain_alloc(dev);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, other);
	unit.thief = other;
	list_add(&device, &fix->ap->devices);
	KUNIT_EXPECT_EQ(test, join(fix, 1, false), -EBUSY);
	list_del(&device);
	unit.thief = NULL;
	KUNIT_EXPECT_EQ(test, fix->ap->domain.nr_groups, 1);
	KUNIT_EXPECT_PTR_EQ(test, iommu_get_domain_for_dev(dev), other);
	give_back(other, 1);
}

/* The core calls back under the lock under which groups move. */
static int wait_until_moved(struct device *dev, void *unused)
{
	complete(&unit.moving);
	wait_for_completion(&unit.moved);
	return 1;
}

static void move_group(struct work_struct *work)
{
	iommu_group_for_each_dev(unit.groups[0], NULL, wait_until_moved);
}

struct flush_case {
	const char *desc;
	bool meanwhile;
	bool table;
};

static const struct flush_case flush_cases[] = {
	{ "begun before the flush", .meanwhile = false, .table = false },
	{ "begun during the flush", .meanwhile = true, .table = false },
	{ "begun before the flush, of a table too", .meanwhile = false, .table = true },
	{ "begun during the flush, of a table too", .meanwhile = true, .table = true },
};

KUNIT_ARRAY_PARAM_DESC(flush, flush_cases, desc);

/* @table: what VT-d's driver has put on the list of those to be freed */
struct flushing {
	struct work_struct work;
	struct pviommu_domain *domain;
	struct list_head *table;
	struct completion done;
};

static void flush_domain(struct work_struct *work)
{
	struct flushing *flush = container_of(work, struct flushing, work);
	struct iommu_iotlb_gather gather;

	pviommu_domain_unmap_begin(flush->domain, &gather);
	if (flush->table)
		list_add(flush->table, &gather.freelist);
	pviommu_domain_flush(flush->domain, BASE, SZ_4K, &gather);
	complete(&flush->done);
}

/* Whoever unpins after the flush relies on it; tables have to wait as well. */
static void flush_waits_for_moves(struct kunit *test)
{
	struct fixture *fix = test->priv;
	const struct flush_case *how = test->param_value;
	LIST_HEAD(table);
	struct flushing flush = {
		.domain = &fix->ap->domain,
		.table = how->table ? &table : NULL,
	};

	KUNIT_ASSERT_EQ(test, join(fix, 0, false), 0);
	INIT_WORK_ONSTACK(&flush.work, flush_domain);
	init_completion(&flush.done);
	INIT_WORK(&unit.move, move_group);
	init_completion(&unit.moving);
	init_completion(&unit.moved);
	unit.move_at_flush = how->meanwhile;
	if (!how->meanwhile)
		begin_move();
	queue_work(system_unbound_wq, &flush.work);
	/* It gets as far as it can. */
	msleep(100);
	if (how->meanwhile)
		while (!READ_ONCE(unit.flushed))
			msleep(20);
	else
		KUNIT_EXPECT_FALSE(test, READ_ONCE(unit.flushed));
	KUNIT_EXPECT_FALSE(test, READ_ONCE(unit.freed));
	KUNIT_EXPECT_FALSE(test, completion_done(&flush.done));

	complete(&unit.moved);
	flush_work(&flush.work);
	flush_work(&unit.move);
	KUNIT_EXPECT_TRUE(test, unit.flushed);
	KUNIT_EXPECT_EQ(test, unit.freed, how->table);
	destroy_work_on_stack(&flush.work);
}

/* A group that someone else has taken over is let alone. */
static void group_of_another_is_not_evicted(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct device *dev = &unit.pdevs[0]->dev;
	struct iommu_domain *other;

	KUNIT_ASSERT_EQ(test, join(fix, 0, false), 0);
	other = take(test, 0);
	pviommu_domain_detach(&fix->ap->domain, unit.groups[0]);
	KUNIT_EXPECT_PTR_EQ(test, iommu_get_domain_for_dev(dev), other);
	give_back(other, 0);
}

static struct kunit_case group_tests[] = {
	KUNIT_CASE_PARAM(reserved_regions_are_holes, hole_gen_params),
	KUNIT_CASE(holes_are_bounded),
	KUNIT_CASE(first_group_brings_the_domain),
	KUNIT_CASE(group_that_stays_is_moved_later),
	KUNIT_CASE_PARAM(group_is_refused, join_gen_params),
	KUNIT_CASE(second_group_brings_nothing_new),
	KUNIT_CASE(kvm_knows_of_devices_that_do_not_snoop),
	KUNIT_CASE(taken_groups_are_noticed),
	KUNIT_CASE(group_taken_meanwhile_is_refused),
	KUNIT_CASE_PARAM(flush_waits_for_moves, flush_gen_params),
	KUNIT_CASE(group_of_another_is_not_evicted),
	{}
};

static struct kunit_suite group_suite = {
	.name = "kvm_pviommu_group",
	.init = group_init,
	.exit = group_exit,
	.test_cases = group_tests,
};

kunit_test_suite(group_suite);
