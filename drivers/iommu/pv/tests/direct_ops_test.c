// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API of devices in mode direct: what it gives drivers, and what the host hears
 * of it.
 */
#include <kunit/test.h>
#include <linux/dma-map-ops.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>

#include "fixture.h"

#define ELEMENTS	16UL

/* Where no RAM is. */
#define GAP		0xf0000000UL
#define GAP_PAGES	64UL

struct ops_test {
	struct fixture_device *device;
	struct device *dev;
	u8 *buffer; /* ELEMENTS pages, side by side. */
	u64 base;
};

static struct ops_test *the_test(struct kunit *test)
{
	static struct ops_test t;

	return &t;
}

static int ops_init(struct kunit *test)
{
	struct ops_test *t = the_test(test);
	int ret;

	memset(t, 0, sizeof(*t));
	ret = guest_fixture_init(test);
	if (ret)
		return ret;
	t->buffer = (u8 *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
					   get_order(ELEMENTS * PAGE_SIZE));
	KUNIT_ASSERT_NOT_NULL(test, t->buffer);
	return 0;
}

static void ops_exit(struct kunit *test)
{
	struct ops_test *t = the_test(test);

	if (t->dev)
		pviommu_dma_notify(NULL, BUS_NOTIFY_REMOVED_DEVICE, t->dev);
	if (t->buffer)
		free_pages((unsigned long)t->buffer,
			   get_order(ELEMENTS * PAGE_SIZE));
	guest_fixture_exit(test);
}

/* A device with a driver, in a window of @pages from @base on. */
static struct ops_test *start(struct kunit *test, u64 base, u64 pages)
{
	const struct pviommu_path path = {
		.root_bus = 0xf0, .depth = 1, .devfns = 8,
	};
	struct fake_host *host = fixture_host(test);
	struct ops_test *t = the_test(test);
	struct pviommu_endpoint *endpoint;

	t->base = base;
	fake_host_set_window(test, host, 0, base, pages);
	t->device = fixture_device_make(test, path.root_bus, path.devfns);
	t->dev = &t->device->pdev.dev;
	t->dev->dma_mask = &t->device->pdev.dma_mask;
	t->device->pdev.dma_mask = DMA_BIT_MASK(64);
	t->dev->coherent_dma_mask = DMA_BIT_MASK(64);
	t->dev->dma_parms = &t->device->pdev.dma_parms;
	set_dev_node(t->dev, NUMA_NO_NODE);
	fake_host_add_endpoint(host, &path, 0);
	endpoint = pviommu_endpoint_create(&t->device->pdev);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, endpoint);
	endpoint->aperture->mode = PVIOMMU_DIRECT;
	KUNIT_ASSERT_EQ(test, pviommu_dma_adopt(t->dev, endpoint), 0);
	pviommu_dma_notify(NULL, BUS_NOTIFY_BIND_DRIVER, t->dev);
	KUNIT_ASSERT_TRUE(test, host->apertures[0].direct);
	fake_host_forget(host);
	return t;
}

/* In a window around the buffer. */
static struct ops_test *start_here(struct kunit *test)
{
	return start(test, virt_to_phys(the_test(test)->buffer), ELEMENTS);
}

/* In one that has all RAM that the kernel may allocate. */
static struct ops_test *start_everywhere(struct kunit *test)
{
	return start(test, PAGE_SIZE, (SZ_4G >> PAGE_SHIFT) - 1);
}

static dma_addr_t map(struct ops_test *t, size_t offset, size_t size)
{
	dma_addr_t addr = dma_map_single_attrs(t->dev, t->buffer + offset, size,
					       DMA_BIDIRECTIONAL,
					       DMA_ATTR_NO_WARN);

	return dma_mapping_error(t->dev, addr) ? DMA_MAPPING_ERROR : addr;
}

static void unmap(struct ops_test *t, dma_addr_t addr, size_t size)
{
	dma_unmap_single(t->dev, addr, size, DMA_BIDIRECTIONAL);
}

/* Past the checks of CONFIG_DMA_API_DEBUG, which has the kernel panic. */
static void unmap_wrongly(struct ops_test *t, dma_addr_t addr, size_t size)
{
	get_dma_ops(t->dev)->unmap_page(t->dev, addr, size, DMA_BIDIRECTIONAL, 0);
}

/* Of one page; past the same checks, which count how often it is, and who unmaps it. */
static dma_addr_t map_unchecked(struct ops_test *t, size_t offset, size_t size)
{
	return get_dma_ops(t->dev)->map_page(t->dev, virt_to_page(t->buffer),
					     offset, size, DMA_BIDIRECTIONAL,
					     DMA_ATTR_NO_WARN);
}

static u64 nr_mapped(struct kunit *test)
{
	return fixture_host(test)->apertures[0].nr_mapped;
}

static u64 entry(struct kunit *test, u64 page)
{
	return fake_host_entry(fixture_host(test), 0, page);
}

static void ops_streaming(struct kunit *test)
{
	struct ops_test *t = start_here(test);
	struct fake_host *host = fixture_host(test);
	dma_addr_t addr, again;

	/* Parts of three pages. */
	addr = map(t, 0xffe, 0x1004);
	KUNIT_EXPECT_EQ(test, addr, t->base + 0xffe);
	fake_host_expect(test, host, "map:0[0+3]=3");
	again = map(t, 0x2000, 1);
	KUNIT_EXPECT_EQ(test, again, t->base + 0x2000);
	KUNIT_EXPECT_EQ(test, entry(test, 2) & PVIOMMU_ENTRY_USES,
			2 * PVIOMMU_ENTRY_USE);
	unmap(t, addr, 0x1004);
	unmap(t, again, 1);
	KUNIT_EXPECT_EQ(test, entry(test, 2) & PVIOMMU_ENTRY_USES, 0);
	unmap(t, map(t, 0, 0x3000), 0x3000);
	fake_host_expect(test, host, "");
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 3);
}

static u64 uses(struct kunit *test, u64 page)
{
	return (entry(test, page) & PVIOMMU_ENTRY_USES) / PVIOMMU_ENTRY_USE;
}

/* As network buffers often are. */
static void ops_two_pages(struct kunit *test)
{
	struct ops_test *t = start_here(test);
	struct fake_host *host = fixture_host(test);
	dma_addr_t addr;

	/* The host has the first, not the second. */
	unmap(t, map(t, 0, 1), 1);
	fake_host_expect(test, host, "map:0[0+1]=1");
	addr = map(t, 0xf00, 0x200);
	KUNIT_EXPECT_EQ(test, addr, t->base + 0xf00);
	fake_host_expect(test, host, "map:0[1+1]=1");
	KUNIT_EXPECT_EQ(test, map(t, 0xfff, 0x1000), t->base + 0xfff);
	KUNIT_EXPECT_EQ(test, uses(test, 0), 2);
	KUNIT_EXPECT_EQ(test, uses(test, 1), 2);
	unmap(t, addr, 0x200);
	unmap(t, t->base + 0xfff, 0x1000);
	KUNIT_EXPECT_EQ(test, uses(test, 0), 0);
	KUNIT_EXPECT_EQ(test, uses(test, 1), 0);
	fake_host_expect(test, host, "");

	/* Only the first is mapped. */
	KUNIT_ASSERT_EQ(test, map_unchecked(t, 0xf00, 1), t->base + 0xf00);
	unmap_wrongly(t, t->base + 0xf00, 0x200);
	KUNIT_EXPECT_EQ(test, uses(test, 0), 0);
	KUNIT_EXPECT_EQ(test, uses(test, 1), 0);
	/* The window ends between them. */
	KUNIT_EXPECT_EQ(test, map(t, ELEMENTS * PAGE_SIZE - 1, 1),
			t->base + ELEMENTS * PAGE_SIZE - 1);
	KUNIT_EXPECT_EQ(test, map(t, ELEMENTS * PAGE_SIZE - 1, 2),
			DMA_MAPPING_ERROR);
	KUNIT_EXPECT_EQ(test, uses(test, ELEMENTS - 1), 1);
	unmap(t, t->base + ELEMENTS * PAGE_SIZE - 1, 1);
}

/* The first is the last of a leaf. */
static void ops_two_leaves(struct kunit *test)
{
	const u64 first = PVIOMMU_ENTRIES_PER_LEAF - 1;
	struct ops_test *t = the_test(test);
	dma_addr_t addr;
	int i;

	start(test, virt_to_phys(t->buffer) - first * PAGE_SIZE,
	      first + ELEMENTS);
	for (i = 0; i < 2; i++) {
		addr = map(t, 0xf00, 0x200);
		KUNIT_EXPECT_EQ(test, addr, virt_to_phys(t->buffer) + 0xf00);
		KUNIT_EXPECT_EQ(test, uses(test, first), 1);
		KUNIT_EXPECT_EQ(test, uses(test, first + 1), 1);
		unmap(t, addr, 0x200);
		KUNIT_EXPECT_EQ(test, uses(test, first), 0);
		KUNIT_EXPECT_EQ(test, uses(test, first + 1), 0);
	}
}

static void fill_table(struct kunit *test, struct sg_table *table)
{
	struct ops_test *t = the_test(test);
	struct scatterlist *sg;
	int i;

	KUNIT_ASSERT_EQ(test, sg_alloc_table(table, ELEMENTS, GFP_KERNEL), 0);
	for_each_sgtable_sg(table, sg, i)
		sg_set_buf(sg, t->buffer + i * PAGE_SIZE, PAGE_SIZE - i);
}

/* How many elements of a list of one can be mapped; it does not stay mapped. */
static int map_list(struct ops_test *t, size_t offset, size_t size)
{
	struct scatterlist sg;
	int ret;

	sg_init_one(&sg, t->buffer + offset, size);
	ret = dma_map_sg_attrs(t->dev, &sg, 1, DMA_TO_DEVICE, DMA_ATTR_NO_WARN);
	if (ret)
		dma_unmap_sg(t->dev, &sg, 1, DMA_TO_DEVICE);
	return ret;
}

/*
 * What the host has already counts for nothing with a device that does not reach it. Each failure
 * has pages evicted, in vain: so what has to fail follows what maps them again.
 */
static void check_reach(struct kunit *test)
{
	struct ops_test *t = the_test(test);

	KUNIT_EXPECT_EQ(test, map(t, 0xfff, 0x800), t->base + 0xfff);
	KUNIT_EXPECT_EQ(test, map(t, 0x1000, 0x801), DMA_MAPPING_ERROR);
	KUNIT_EXPECT_EQ(test, map(t, 0xfff, 0x802), DMA_MAPPING_ERROR);
	unmap(t, t->base + 0xfff, 0x800);
	KUNIT_EXPECT_EQ(test, map_list(t, 0x1000, 0x800), 1);
	KUNIT_EXPECT_EQ(test, map_list(t, 0x1000, 0x801), 0);
	KUNIT_EXPECT_EQ(test, uses(test, 0), 0);
	KUNIT_EXPECT_EQ(test, uses(test, 1), 0);
}

static void ops_reach(struct kunit *test)
{
	struct ops_test *t = start_here(test);

	unmap(t, map(t, 0, 2 * PAGE_SIZE), 2 * PAGE_SIZE);
	t->device->pdev.dma_mask = t->base + 0x17ff;
	check_reach(test);
	t->device->pdev.dma_mask = DMA_BIT_MASK(64);
	t->dev->bus_dma_limit = t->base + 0x17ff;
	check_reach(test);
	t->dev->bus_dma_limit = 0;
	KUNIT_EXPECT_EQ(test, map_list(t, 0x1000, 0x801), 1);
}

static void ops_scatterlist(struct kunit *test)
{
	struct ops_test *t = start_here(test);
	struct scatterlist *sg;
	struct sg_table table;
	int i;

	fill_table(test, &table);
	KUNIT_ASSERT_EQ(test, 0, dma_map_sgtable(t->dev, &table,
						 DMA_TO_DEVICE, 0));
	KUNIT_EXPECT_EQ(test, table.nents, ELEMENTS);
	for_each_sgtable_dma_sg(&table, sg, i) {
		KUNIT_EXPECT_EQ(test, sg_dma_address(sg), sg_phys(sg));
		KUNIT_EXPECT_EQ(test, sg_dma_len(sg), sg->length);
		KUNIT_EXPECT_NE(test, entry(test, i) & PVIOMMU_ENTRY_USES, 0);
	}
	dma_unmap_sgtable(t->dev, &table, DMA_TO_DEVICE, 0);
	for (i = 0; i < ELEMENTS; i++)
		KUNIT_EXPECT_EQ(test, entry(test, i) & PVIOMMU_ENTRY_USES, 0);
	sg_free_table(&table);
}

/* Half of it is refused: nothing of it stays in use. */
static void ops_scatterlist_refused(struct kunit *test)
{
	struct ops_test *t = start_here(test);
	struct sg_table table;
	int i;

	fill_table(test, &table);
	fake_host_plan(fixture_host(test), &(struct fake_plan){
		.call = FAKE_MAP, .trick = FAKE_ANSWER, .after = ELEMENTS / 2,
		.value = PVIOMMU_RC_NO_RAM, .times = FAKE_FOREVER });
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			dma_map_sgtable(t->dev, &table, DMA_TO_DEVICE,
					DMA_ATTR_NO_WARN));
	for (i = 0; i < ELEMENTS; i++)
		KUNIT_EXPECT_EQ(test, entry(test, i) & PVIOMMU_ENTRY_USES, 0);
	sg_free_table(&table);
}

static void ops_coherent(struct kunit *test)
{
	struct ops_test *t = start_everywhere(test);
	dma_addr_t addr;
	void *memory;

	memory = dma_alloc_coherent(t->dev, 3 * PAGE_SIZE, &addr, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	KUNIT_EXPECT_EQ(test, addr, virt_to_phys(memory));
	KUNIT_EXPECT_NULL(test, memchr_inv(memory, 0, 3 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 3);
	dma_free_coherent(t->dev, 3 * PAGE_SIZE, memory, addr);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 3);
}

static void ops_pages(struct kunit *test)
{
	struct ops_test *t = start_everywhere(test);
	struct sg_table table;
	struct page *page;
	dma_addr_t addr;

	page = dma_alloc_pages(t->dev, SZ_8K, &addr, DMA_FROM_DEVICE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, addr, page_to_phys(page));
	KUNIT_ASSERT_EQ(test, 0, dma_get_sgtable(t->dev, &table,
						 page_address(page), addr, SZ_8K));
	KUNIT_EXPECT_PTR_EQ(test, sg_page(table.sgl), page);
	sg_free_table(&table);
	dma_free_pages(t->dev, SZ_8K, page, addr, DMA_FROM_DEVICE);
}

/* Out of the window, or of the device's reach: mapped elsewhere, and not for long. */
static void ops_remapped(struct kunit *test)
{
	struct ops_test *t = start(test, GAP, GAP_PAGES);
	struct fake_host *host = fixture_host(test);
	dma_addr_t addr;
	u64 page;

	addr = map(t, 0x123, PAGE_SIZE);
	KUNIT_ASSERT_NE(test, addr, DMA_MAPPING_ERROR);
	KUNIT_EXPECT_GE(test, addr, GAP);
	KUNIT_EXPECT_LT(test, addr, GAP + GAP_PAGES * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, addr & ~PAGE_MASK, 0x123);
	page = (addr - GAP) >> PAGE_SHIFT;
	KUNIT_EXPECT_EQ(test, entry(test, page) & PVIOMMU_ENTRY_GFN,
			virt_to_phys(t->buffer));
	/* In use for whoever looks for what is idle. */
	KUNIT_EXPECT_NE(test, entry(test, page) & PVIOMMU_ENTRY_USES, 0);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 2);
	unmap(t, addr, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 0);
	KUNIT_EXPECT_EQ(test, entry(test, page), 0);

	/* There is nowhere that it reaches. */
	fake_host_forget(host);
	t->device->pdev.dma_mask = DMA_BIT_MASK(24);
	KUNIT_EXPECT_EQ(test, map(t, 0, 1), DMA_MAPPING_ERROR);
	fake_host_expect(test, host, "");
}

/* More users than an entry counts: the next gets the page at another place, or none. */
static void ops_many_users(struct kunit *test)
{
	struct ops_test *t = start_here(test);
	const unsigned int most = PVIOMMU_ENTRY_USES / PVIOMMU_ENTRY_USE;
	unsigned int i;

	for (i = 0; i < most; i++)
		KUNIT_ASSERT_EQ(test, map_unchecked(t, 0, 1), t->base);
	KUNIT_EXPECT_EQ(test, map_unchecked(t, 0, 1), DMA_MAPPING_ERROR);
	for (i = 0; i < most; i++)
		unmap_wrongly(t, t->base, 1);
	KUNIT_EXPECT_EQ(test, map(t, 0, 1), t->base);
	unmap(t, t->base, 1);
}

/* Drivers that unmap what is not mapped are told so, and nothing comes of it. */
static void ops_unmap_nothing(struct kunit *test)
{
	struct ops_test *t = start_here(test);

	unmap_wrongly(t, t->base, PAGE_SIZE);
	unmap_wrongly(t, t->base - PAGE_SIZE, PAGE_SIZE);
	unmap_wrongly(t, DMA_MAPPING_ERROR, 1);
	unmap(t, map(t, 0, 1), 1);
	unmap_wrongly(t, t->base, 1);
	KUNIT_EXPECT_EQ(test, entry(test, 0) & PVIOMMU_ENTRY_USES, 0);
	KUNIT_EXPECT_EQ(test, nr_mapped(test), 1);
}

static void ops_masks(struct kunit *test)
{
	struct ops_test *t = start_everywhere(test);

	KUNIT_EXPECT_EQ(test, dma_get_required_mask(t->dev), DMA_BIT_MASK(32));
	KUNIT_EXPECT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(24)), 0);
	KUNIT_EXPECT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(16)), -EIO);
}

/* It would reach whatever the others have used. */
static void ops_untrusted(struct kunit *test)
{
	const struct pviommu_path path = {
		.root_bus = 0xf0, .depth = 1, .devfns = 9,
	};
	struct fixture_device *device;

	start_here(test);
	device = fixture_device_make(test, path.root_bus, path.devfns);
	device->pdev.untrusted = 1;
	fake_host_add_endpoint(fixture_host(test), &path, 0);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(pviommu_endpoint_create(&device->pdev)),
			-ENODEV);
}

static struct kunit_case ops_cases[] = {
	KUNIT_CASE(ops_streaming),
	KUNIT_CASE(ops_two_pages),
	KUNIT_CASE(ops_two_leaves),
	KUNIT_CASE(ops_reach),
	KUNIT_CASE(ops_scatterlist),
	KUNIT_CASE(ops_scatterlist_refused),
	KUNIT_CASE(ops_coherent),
	KUNIT_CASE(ops_pages),
	KUNIT_CASE(ops_remapped),
	KUNIT_CASE(ops_many_users),
	KUNIT_CASE(ops_unmap_nothing),
	KUNIT_CASE(ops_masks),
	KUNIT_CASE(ops_untrusted),
	{}
};

static struct kunit_suite ops_suite = {
	.name = "pviommu_direct_ops",
	.init = ops_init,
	.exit = ops_exit,
	.test_cases = ops_cases,
};

kunit_test_suite(ops_suite);
