// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API of devices in mode bounce and hybrid: what it gives drivers, and what
 * the host hears of it.
 */
#include <kunit/test.h>
#include <linux/dma-map-ops.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "fixture.h"

#define BASE		0x1000000UL
#define WINDOW_PAGES	1200UL
#define POOL_PAGES	1024UL	/* Of those: whole large pages. */
#define ELEMENTS	16

struct dma_test {
	struct fixture_device *device;
	struct device *dev;
	u8 *buffer; /* ELEMENTS pages, side by side. */
};

static struct dma_test *the_test(struct kunit *test)
{
	static struct dma_test t;

	return &t;
}

static int dma_init(struct kunit *test)
{
	struct dma_test *t = the_test(test);
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

static void gone(struct kunit *test)
{
	struct dma_test *t = the_test(test);

	if (!t->dev)
		return;
	pviommu_dma_notify(NULL, BUS_NOTIFY_REMOVED_DEVICE, t->dev);
	KUNIT_EXPECT_NULL(test, pviommu_dma_endpoint(t->dev));
	KUNIT_EXPECT_PTR_EQ(test, t->dev->dma_ops, NULL);
	t->dev = NULL;
}

static void dma_exit(struct kunit *test)
{
	struct dma_test *t = the_test(test);

	gone(test);
	if (t->buffer)
		free_pages((unsigned long)t->buffer,
			   get_order(ELEMENTS * PAGE_SIZE));
	guest_fixture_exit(test);
}

/* A device that was found, in aperture 0, without a driver. */
static void appears(struct kunit *test, enum pviommu_mode mode)
{
	const struct pviommu_path path = {
		.root_bus = 0xf0, .depth = 1, .devfns = 8,
	};
	struct dma_test *t = the_test(test);
	struct pviommu_endpoint *endpoint;

	t->device = fixture_device_make(test, path.root_bus, path.devfns);
	t->dev = &t->device->pdev.dev;
	t->dev->dma_mask = &t->device->pdev.dma_mask;
	t->device->pdev.dma_mask = DMA_BIT_MASK(32);
	t->dev->coherent_dma_mask = DMA_BIT_MASK(32);
	t->dev->dma_parms = &t->device->pdev.dma_parms;
	set_dev_node(t->dev, NUMA_NO_NODE);
	fake_host_add_endpoint(fixture_host(test), &path, 0);
	endpoint = pviommu_endpoint_create(&t->device->pdev);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, endpoint);
	endpoint->aperture->mode = mode;
	KUNIT_ASSERT_EQ(test, pviommu_dma_adopt(t->dev, endpoint), 0);
	KUNIT_EXPECT_PTR_EQ(test, pviommu_dma_endpoint(t->dev), endpoint);
	fake_host_forget(fixture_host(test));
}

static void binds(struct kunit *test)
{
	pviommu_dma_notify(NULL, BUS_NOTIFY_BIND_DRIVER, the_test(test)->dev);
}

/* One that a driver has been bound to, in a window that suits everybody. */
static struct dma_test *start(struct kunit *test, enum pviommu_mode mode)
{
	struct fake_host *host = fixture_host(test);

	appears(test, mode);
	binds(test);
	KUNIT_ASSERT_NE(test, host->apertures[0].nr_mapped, 0);
	fake_host_forget(host);
	return the_test(test);
}

/* What the device finds at an IOVA; NULL if nothing is mapped there. */
static u8 *device_sees(struct kunit *test, dma_addr_t addr)
{
	struct fake_aperture *aperture = &fixture_host(test)->apertures[0];
	u64 entry;

	if (addr < BASE ||
	    addr >= BASE + aperture->info.length)
		return NULL;
	entry = aperture->shadow[(addr - BASE) >> PAGE_SHIFT];
	return entry ? phys_to_virt((entry & PVIOMMU_ENTRY_GFN) |
				    offset_in_page(addr)) : NULL;
}

static dma_addr_t map(struct dma_test *t, size_t offset, size_t size,
		      enum dma_data_direction dir)
{
	dma_addr_t addr = dma_map_single_attrs(t->dev, t->buffer + offset, size,
					       dir, DMA_ATTR_NO_WARN);

	/* CONFIG_DMA_API_DEBUG wants everybody to ask. */
	return dma_mapping_error(t->dev, addr) ? DMA_MAPPING_ERROR : addr;
}

static void dma_set_aside_once(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);

	appears(test, PVIOMMU_BOUNCE);
	/* Nothing before there is a driver. */
	fake_host_expect(test, host, "");
	binds(test);
	fake_host_expect(test, host, "enable:0=0 map:0[0+1024]=1024");
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, POOL_PAGES);

	/* The next driver finds all as it is. */
	binds(test);
	pviommu_dma_notify(NULL, BUS_NOTIFY_UNBOUND_DRIVER, the_test(test)->dev);
	fake_host_expect(test, host, "");
	gone(test);
	fake_host_expect(test, host, "disable:0=0");
}

static void dma_of_nobody(struct kunit *test)
{
	struct fixture_device *other = fixture_device_make(test, 0xf1, 0);

	pviommu_dma_notify(NULL, BUS_NOTIFY_BIND_DRIVER, &other->pdev.dev);
	pviommu_dma_notify(NULL, BUS_NOTIFY_REMOVED_DEVICE, &other->pdev.dev);
	KUNIT_EXPECT_NULL(test, pviommu_dma_endpoint(&other->pdev.dev));
	KUNIT_EXPECT_PTR_EQ(test, other->pdev.dev.dma_ops, NULL);
	fake_host_expect(test, fixture_host(test), "");
}

static void dma_streaming(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_BOUNCE);
	dma_addr_t to, from;

	memset(t->buffer, 1, 2 * PAGE_SIZE);
	to = map(t, 0, 3000, DMA_TO_DEVICE);
	from = map(t, PAGE_SIZE, 3000, DMA_FROM_DEVICE);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(t->dev, to));
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(t->dev, from));
	KUNIT_EXPECT_NULL(test, memchr_inv(device_sees(test, to), 1, 3000));
	KUNIT_EXPECT_NULL(test, memchr_inv(device_sees(test, from), 1, 3000));

	/* Each direction's copies, and not the other's. */
	memset(t->buffer, 2, 2 * PAGE_SIZE);
	memset(device_sees(test, from), 3, 1000);
	dma_sync_single_for_device(t->dev, to + 8, 8, DMA_TO_DEVICE);
	dma_sync_single_for_cpu(t->dev, to, 3000, DMA_TO_DEVICE);
	dma_sync_single_for_device(t->dev, from, 3000, DMA_FROM_DEVICE);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 2, 2 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, device_sees(test, to)[7], 1);
	KUNIT_EXPECT_NULL(test, memchr_inv(device_sees(test, to) + 8, 2, 8));
	KUNIT_EXPECT_EQ(test, device_sees(test, to)[16], 1);
	KUNIT_EXPECT_EQ(test, device_sees(test, from)[999], 3);
	dma_sync_single_for_cpu(t->dev, from + 500, 100, DMA_FROM_DEVICE);
	KUNIT_EXPECT_EQ(test, t->buffer[PAGE_SIZE + 499], 2);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer + PAGE_SIZE + 500, 3, 100));
	KUNIT_EXPECT_EQ(test, t->buffer[PAGE_SIZE + 600], 2);

	memset(device_sees(test, to), 4, 3000);
	memset(device_sees(test, from), 5, 3000);
	dma_unmap_single(t->dev, to, 3000, DMA_TO_DEVICE);
	dma_unmap_single(t->dev, from, 3000, DMA_FROM_DEVICE);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 2, PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer + PAGE_SIZE, 5, 3000));

	/* A driver that has synced itself. */
	from = map(t, 0, 100, DMA_BIDIRECTIONAL);
	memset(device_sees(test, from), 6, 100);
	dma_unmap_single_attrs(t->dev, from, 100, DMA_BIDIRECTIONAL,
			       DMA_ATTR_SKIP_CPU_SYNC);
	KUNIT_EXPECT_EQ(test, t->buffer[0], 2);
	/* Not one exit for all of it. */
	fake_host_expect(test, fixture_host(test), "");
}

static void fill_table(struct kunit *test, struct sg_table *table, size_t length)
{
	struct scatterlist *sg;
	int i;

	KUNIT_ASSERT_EQ(test, sg_alloc_table(table, ELEMENTS, GFP_KERNEL), 0);
	for_each_sgtable_sg(table, sg, i)
		sg_set_buf(sg, the_test(test)->buffer + i * PAGE_SIZE, length);
}

static void dma_scatterlist(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_BOUNCE);
	struct sg_table table;
	struct scatterlist *sg;
	int i;

	memset(t->buffer, 1, ELEMENTS * PAGE_SIZE);
	fill_table(test, &table, 600);
	KUNIT_ASSERT_EQ(test, dma_map_sgtable(t->dev, &table, DMA_BIDIRECTIONAL,
					      0), 0);
	KUNIT_EXPECT_EQ(test, table.nents, ELEMENTS);
	for_each_sgtable_dma_sg(&table, sg, i) {
		KUNIT_EXPECT_EQ(test, sg_dma_len(sg), 600);
		KUNIT_EXPECT_NULL(test, memchr_inv(device_sees(test, sg_dma_address(sg)),
						   1, 600));
		memset(device_sees(test, sg_dma_address(sg)), 2, 600);
	}
	dma_sync_sgtable_for_cpu(t->dev, &table, DMA_BIDIRECTIONAL);
	for (i = 0; i < ELEMENTS; i++) {
		KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer + i * PAGE_SIZE, 2,
						   600));
		KUNIT_EXPECT_EQ(test, t->buffer[i * PAGE_SIZE + 600], 1);
	}
	memset(t->buffer, 3, ELEMENTS * PAGE_SIZE);
	dma_sync_sgtable_for_device(t->dev, &table, DMA_BIDIRECTIONAL);
	for_each_sgtable_dma_sg(&table, sg, i)
		KUNIT_EXPECT_EQ(test, device_sees(test, sg_dma_address(sg))[599],
				3);
	sg = table.sgl;
	memset(device_sees(test, sg_dma_address(sg)), 4, 600);
	dma_unmap_sgtable(t->dev, &table, DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_EQ(test, t->buffer[0], 4);
	KUNIT_EXPECT_EQ(test, t->buffer[PAGE_SIZE], 3);
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(fixture_mapper(t->dev)->pool), 0);
	sg_free_table(&table);
	fake_host_expect(test, fixture_host(test), "");
}

/* Something else is to be unmapped first, and what was begun is undone. */
static void dma_full(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_BOUNCE);
	struct pviommu_pool *pool = fixture_mapper(t->dev)->pool;
	static dma_addr_t others[POOL_PAGES];
	struct sg_table table;
	unsigned int nr = 0;
	dma_addr_t addr, most;
	size_t used;
	void *memory;

	memset(t->buffer, 1, ELEMENTS * PAGE_SIZE);
	fill_table(test, &table, PAGE_SIZE);
	memory = dma_alloc_coherent(t->dev, SZ_2M, &most, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	while (pool->size - pviommu_pool_used(pool) >= 2 * PAGE_SIZE) {
		others[nr] = map(t, 0, PAGE_SIZE, DMA_TO_DEVICE);
		KUNIT_ASSERT_NE(test, others[nr++], DMA_MAPPING_ERROR);
	}
	used = pviommu_pool_used(pool);

	KUNIT_EXPECT_EQ(test, -ENOMEM,
			dma_map_sgtable(t->dev, &table, DMA_FROM_DEVICE,
					DMA_ATTR_NO_WARN));
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(pool), used);
	KUNIT_EXPECT_EQ(test, map(t, 0, 2 * PAGE_SIZE, DMA_TO_DEVICE),
			DMA_MAPPING_ERROR);
	KUNIT_EXPECT_NULL(test, dma_alloc_coherent(t->dev, 2 * PAGE_SIZE, &addr,
						   GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_NULL(test, dma_alloc_pages(t->dev, 2 * PAGE_SIZE, &addr,
						DMA_BIDIRECTIONAL,
						GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(pool), used);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 1, ELEMENTS * PAGE_SIZE));

	dma_free_coherent(t->dev, SZ_2M, memory, most);
	KUNIT_EXPECT_EQ(test, 0, dma_map_sgtable(t->dev, &table,
						 DMA_FROM_DEVICE, 0));
	dma_unmap_sgtable(t->dev, &table, DMA_FROM_DEVICE, 0);
	sg_free_table(&table);
	while (nr--)
		dma_unmap_single(t->dev, others[nr], PAGE_SIZE, DMA_TO_DEVICE);

	/* What will never fit is no matter of time. */
	sg_init_one(table.sgl = kunit_kzalloc(test, sizeof(*table.sgl), GFP_KERNEL),
		    t->buffer, PAGE_SIZE);
	table.sgl->length = pool->size + 1;
	table.orig_nents = 1;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			dma_map_sgtable(t->dev, &table, DMA_TO_DEVICE, 0));
}

static void dma_coherent(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_BOUNCE);
	const size_t size = 3 * PAGE_SIZE;
	struct sg_table table;
	struct scatterlist *sg;
	dma_addr_t addr;
	size_t sum = 0;
	u8 *memory;
	int i;

	memory = dma_alloc_coherent(t->dev, size, &addr, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	KUNIT_EXPECT_EQ(test, addr % (4 * PAGE_SIZE), 0);
	KUNIT_EXPECT_NULL(test, memchr_inv(memory, 0, size));
	memory[2 * PAGE_SIZE + 5] = 9;
	KUNIT_EXPECT_EQ(test, device_sees(test, addr + 2 * PAGE_SIZE)[5], 9);

	KUNIT_ASSERT_EQ(test, dma_get_sgtable(t->dev, &table, memory, addr, size),
			0);
	for_each_sgtable_sg(&table, sg, i) {
		u8 *there = sg_virt(sg);

		if (sum <= 2 * PAGE_SIZE && sum + sg->length > 2 * PAGE_SIZE)
			KUNIT_EXPECT_EQ(test, there[2 * PAGE_SIZE - sum + 5], 9);
		sum += sg->length;
	}
	KUNIT_EXPECT_EQ(test, sum, size);
	sg_free_table(&table);
	dma_free_coherent(t->dev, size, memory, addr);
	fake_host_expect(test, fixture_host(test), "");
}

static void dma_mmap(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_BOUNCE);
	const size_t size = 4 * PAGE_SIZE;
	struct vm_area_struct *vma;
	unsigned long user;
	dma_addr_t addr;
	u8 *memory;
	u8 byte;
	int i;

	memory = dma_alloc_coherent(t->dev, size, &addr, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	for (i = 0; i < 4; i++)
		memory[i * PAGE_SIZE + 1] = 10 + i;

	KUNIT_EXPECT_TRUE(test, dma_can_mmap(t->dev));
	user = kunit_vm_mmap(test, NULL, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, 0);
	KUNIT_ASSERT_NE(test, user, 0);
	KUNIT_ASSERT_LT(test, user, (unsigned long)TASK_SIZE);
	mmap_write_lock(current->mm);
	vma = find_vma(current->mm, user);
	vma->vm_pgoff = 3;
	KUNIT_EXPECT_EQ(test, -ENXIO,
			dma_mmap_coherent(t->dev, vma, memory, addr, size));
	vma->vm_pgoff = 1;
	KUNIT_EXPECT_EQ(test, 0,
			dma_mmap_coherent(t->dev, vma, memory, addr, size));
	vma->vm_pgoff = 0;
	mmap_write_unlock(current->mm);

	/* From its second page on. */
	for (i = 0; i < 2; i++) {
		void __user *there = (void __user *)(user + i * PAGE_SIZE + 1);

		KUNIT_EXPECT_EQ(test, copy_from_user(&byte, there, 1), 0);
		KUNIT_EXPECT_EQ(test, byte, 11 + i);
		byte = 20 + i;
		KUNIT_EXPECT_EQ(test, copy_to_user(there, &byte, 1), 0);
		KUNIT_EXPECT_EQ(test, memory[(i + 1) * PAGE_SIZE + 1], 20 + i);
	}
	vm_munmap(user, 2 * PAGE_SIZE);
	dma_free_coherent(t->dev, size, memory, addr);
}

static void dma_pages(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_BOUNCE);
	dma_addr_t addr;
	struct page *page;

	page = dma_alloc_pages(t->dev, 2 * PAGE_SIZE, &addr, DMA_BIDIRECTIONAL,
			       GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page), 0, 2 * PAGE_SIZE));
	memset(page_address(page), 1, 2 * PAGE_SIZE);
	dma_sync_single_for_device(t->dev, addr, 2 * PAGE_SIZE,
				   DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, device_sees(test, addr)[0], 1);
	dma_free_pages(t->dev, 2 * PAGE_SIZE, page, addr, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(fixture_mapper(t->dev)->pool), 0);
}

static void dma_masks(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_BOUNCE);
	dma_addr_t addr;

	KUNIT_EXPECT_EQ(test, dma_get_required_mask(t->dev), DMA_BIT_MASK(25));
	/* A quarter of the pool is more. */
	KUNIT_EXPECT_EQ(test, dma_max_mapping_size(t->dev), SZ_256K);
	KUNIT_EXPECT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(64)), 0);
	KUNIT_EXPECT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(25)), 0);
	KUNIT_EXPECT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(24)), -EIO);
	KUNIT_EXPECT_TRUE(test, dma_need_sync(t->dev, BASE));

	/* MMIO of another device cannot be copied. */
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR,
			dma_map_resource(t->dev, 0xfed00000, PAGE_SIZE,
					 DMA_BIDIRECTIONAL, 0));

	t->dev->bus_dma_limit = BASE + SZ_1M - 1;
	KUNIT_EXPECT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(32)), 0);
	KUNIT_EXPECT_EQ(test, dma_max_mapping_size(t->dev), SZ_256K);
	addr = map(t, 0, 1, DMA_TO_DEVICE);
	KUNIT_EXPECT_LT(test, addr, BASE + SZ_1M);
	dma_unmap_single(t->dev, addr, 1, DMA_TO_DEVICE);
	t->dev->bus_dma_limit = BASE + SZ_1M - 2;
	KUNIT_EXPECT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(32)), -EIO);
	t->dev->bus_dma_limit = 0;

	/* NVMe's pages. */
	dma_set_min_align_mask(t->dev, 0xfff);
	addr = map(t, 0xa31, 50, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, addr & 0xfff, 0xa31);
	dma_unmap_single(t->dev, addr, 50, DMA_TO_DEVICE);
}

/* Tried twice, given up, and then with half of it. */
#define SMALLER_LOG \
	"enable:0=0 map:0[0+1024]=LOCK_LIMIT map:0[0+1024]=LOCK_LIMIT disable:0=0 enable:0=0 map:0[0+512]=512"

static const struct refusal_case {
	const char *name;
	struct fake_plan plan;
	const char *log; /* NULL: there will be no pool. */
} refusal_cases[] = {
	{ "short of locked memory",
	  { FAKE_MAP, FAKE_ANSWER, PVIOMMU_RC_LOCK_LIMIT, 2 }, SMALLER_LOG },
	{ "never any memory",
	  { FAKE_MAP, FAKE_ANSWER, PVIOMMU_RC_NO_MEMORY, FAKE_FOREVER }, NULL },
	{ "no enabling", { FAKE_ENABLE, FAKE_ANSWER, PVIOMMU_RC_HOST_ERROR }, NULL },
	{ "no such table",
	  { FAKE_MAP, FAKE_ANSWER, PVIOMMU_RC_BAD_TABLE }, NULL },
};

KUNIT_ARRAY_PARAM_DESC(refusal, refusal_cases, name);

static void dma_refused(struct kunit *test)
{
	const struct refusal_case *param = test->param_value;
	struct fake_host *host = fixture_host(test);
	struct dma_test *t = the_test(test);
	struct sg_table table;
	dma_addr_t addr;

	appears(test, PVIOMMU_BOUNCE);
	fake_host_plan(host, &param->plan);
	binds(test);
	if (param->log) {
		fake_host_expect(test, host, param->log);
		return;
	}

	/* The driver learns it from what it does first, and from all the rest. */
	KUNIT_EXPECT_EQ(test, host->apertures[0].directory, 0);
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, 0);
	KUNIT_EXPECT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(64)), -EIO);
	KUNIT_EXPECT_EQ(test, map(t, 0, 1, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
	KUNIT_EXPECT_NULL(test, dma_alloc_coherent(t->dev, 1, &addr, GFP_KERNEL));
	fill_table(test, &table, 1);
	KUNIT_EXPECT_EQ(test, -EIO,
			dma_map_sgtable(t->dev, &table, DMA_TO_DEVICE, 0));
	sg_free_table(&table);
	KUNIT_EXPECT_EQ(test, dma_max_mapping_size(t->dev), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dma_get_required_mask(t->dev), DMA_BIT_MASK(32));

	/* Another driver, another attempt. */
	fake_host_forget(host);
	binds(test);
	fake_host_expect(test, host, "enable:0=0 map:0[0+1024]=1024");
}

static void dma_small_budget(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);

	host->apertures[0].info.budget = 300;
	appears(test, PVIOMMU_BOUNCE);
	binds(test);
	/* Of a leaf. */
	fake_host_expect(test, host, "enable:0=0 map:0[0+512]=512");
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, 300);
}

/* Around what the devices cannot use. */
static void dma_holes(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);

	fake_host_set_window(test, host, 0, BASE, 4096);
	fake_host_set_holes(test, host, 0, 1, 1);
	host->apertures[0].holes[0].base = BASE + SZ_4M - PAGE_SIZE;
	host->apertures[0].info.budget = POOL_PAGES;
	appears(test, PVIOMMU_BOUNCE);
	binds(test);
	fake_host_expect(test, host, "enable:0=0 map:0[1024+1024]=1024");
}

/* Nowhere for 4 MiB, but for 2. */
static void dma_narrow(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);

	fake_host_set_holes(test, host, 0, 1, 1);
	host->apertures[0].holes[0].base = BASE + SZ_2M + PAGE_SIZE;
	appears(test, PVIOMMU_BOUNCE);
	binds(test);
	fake_host_expect(test, host, "enable:0=0 map:0[0+512]=512");
}

static void dma_large_pages(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct fake_aperture *aperture = &host->apertures[0];
	u64 i, large = 0;

	host->probe.features |= PVIOMMU_FEATURE_LARGE;
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
	start(test, PVIOMMU_BOUNCE);
	for (i = 0; i < POOL_PAGES; i++)
		large += !!(aperture->shadow[i] & PVIOMMU_ENTRY_LARGE);
	/* As many as this kernel had large pages: the made-up host checks them. */
	KUNIT_EXPECT_EQ(test, large % PVIOMMU_ENTRIES_PER_LEAF, 0);
	host->probe.features &= ~PVIOMMU_FEATURE_LARGE;
	gone(test);
	KUNIT_ASSERT_EQ(test, pviommu_host_probe(), 0);
}

static void dma_hybrid(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct dma_test *t = start(test, PVIOMMU_HYBRID);
	struct pviommu_mapper *mapper = fixture_mapper(t->dev);
	dma_addr_t small, large;

	KUNIT_EXPECT_EQ(test, mapper->pool->size, SZ_2M);
	/* A quarter of what is not the pool. */
	KUNIT_EXPECT_EQ(test, dma_max_mapping_size(t->dev),
			(WINDOW_PAGES - 512) / 4 * PAGE_SIZE);
	small = map(t, 0, SZ_32K - 1, DMA_TO_DEVICE);
	KUNIT_ASSERT_NE(test, small, DMA_MAPPING_ERROR);
	KUNIT_EXPECT_PTR_NE(test, device_sees(test, small), t->buffer);
	fake_host_expect(test, host, "");

	large = map(t, 100, SZ_32K, DMA_FROM_DEVICE);
	KUNIT_ASSERT_NE(test, large, DMA_MAPPING_ERROR);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_MAP], 1);
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, 512 + 9);
	KUNIT_EXPECT_PTR_EQ(test, device_sees(test, large), t->buffer + 100);
	KUNIT_EXPECT_PTR_EQ(test, device_sees(test, large + SZ_32K - 1),
			    t->buffer + 100 + SZ_32K - 1);
	/* There is no copy of it. */
	t->buffer[100] = 7;
	dma_sync_single_for_device(t->dev, large, SZ_32K, DMA_FROM_DEVICE);
	dma_sync_single_for_cpu(t->dev, large, SZ_32K, DMA_FROM_DEVICE);
	KUNIT_EXPECT_EQ(test, t->buffer[100], 7);
	fake_host_forget(host);

	dma_unmap_single(t->dev, large, SZ_32K, DMA_FROM_DEVICE);
	/* At once. */
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_UNMAP], 1);
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, 512);
	fake_host_forget(host);
	dma_unmap_single(t->dev, small, SZ_32K - 1, DMA_TO_DEVICE);
	fake_host_expect(test, host, "");
}

/* Nobody gets an IOVA while the host has something else there. */
static void look_for_iova(struct fake_host *host, enum fake_call call)
{
	struct pviommu_mapper *mapper = fixture_mapper(host->peek_data);
	unsigned long pfn;

	if (call != FAKE_UNMAP)
		return;
	pfn = alloc_iova_fast(&mapper->iovas, 8, PHYS_PFN(mapper->last), true);
	if (host->apertures[0].shadow[pfn - PHYS_PFN(BASE)])
		strscpy(host->violation, "an IOVA is given away too early");
	free_iova_fast(&mapper->iovas, pfn, 8);
}

static void dma_hybrid_order(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct dma_test *t = start(test, PVIOMMU_HYBRID);
	dma_addr_t addr = map(t, 0, SZ_32K, DMA_TO_DEVICE);

	KUNIT_ASSERT_NE(test, addr, DMA_MAPPING_ERROR);
	host->peek_data = t->dev;
	host->peek = look_for_iova;
	dma_unmap_single(t->dev, addr, SZ_32K, DMA_TO_DEVICE);
	host->peek = NULL;
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_UNMAP], 1);
	KUNIT_EXPECT_STREQ(test, host->violation, "");
}

static void dma_hybrid_list(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct dma_test *t = start(test, PVIOMMU_HYBRID);
	struct sg_table table;
	struct scatterlist *sg;
	int i;

	/* Each is small, all of them are not. */
	fill_table(test, &table, 3000);
	sg_set_buf(table.sgl, t->buffer + 5, 2000);
	KUNIT_ASSERT_EQ(test, dma_map_sgtable(t->dev, &table, DMA_BIDIRECTIONAL,
					      0), 0);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_MAP], 1);
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, 512 + ELEMENTS);
	for_each_sgtable_dma_sg(&table, sg, i) {
		KUNIT_EXPECT_EQ(test, sg_dma_len(sg), sg->length);
		KUNIT_EXPECT_PTR_EQ(test, device_sees(test, sg_dma_address(sg)),
				    (u8 *)sg_virt(sg));
	}
	fake_host_forget(host);
	dma_unmap_sgtable(t->dev, &table, DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_EQ(test, host->nr_calls[FAKE_UNMAP], 1);
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, 512);

	/* A refusal of the host's leaves nothing, and the pool is used instead. */
	fake_host_plan(host, &(struct fake_plan){
		.call = FAKE_MAP, .trick = FAKE_AT_MOST, .value = 3 });
	fake_host_plan(host, &(struct fake_plan){
		.call = FAKE_MAP, .trick = FAKE_ANSWER,
		.value = PVIOMMU_RC_OVER_BUDGET, .times = FAKE_FOREVER });
	KUNIT_ASSERT_EQ(test, dma_map_sgtable(t->dev, &table, DMA_TO_DEVICE, 0),
			0);
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, 512);
	for_each_sgtable_dma_sg(&table, sg, i)
		KUNIT_EXPECT_PTR_NE(test, device_sees(test, sg_dma_address(sg)),
				    (u8 *)sg_virt(sg));
	dma_unmap_sgtable(t->dev, &table, DMA_TO_DEVICE, 0);
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(fixture_mapper(t->dev)->pool), 0);
	sg_free_table(&table);
}

/* Elements that are not to lie across a boundary are copied, if their list would. */
static void dma_hybrid_boundary(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_HYBRID);
	struct sg_table table;
	struct scatterlist *sg;
	int i;

	dma_set_seg_boundary(t->dev, SZ_32K - 1);
	fill_table(test, &table, 3000);
	KUNIT_ASSERT_EQ(test, dma_map_sgtable(t->dev, &table, DMA_TO_DEVICE, 0),
			0);
	for_each_sgtable_dma_sg(&table, sg, i) {
		KUNIT_EXPECT_LE(test, (sg_dma_address(sg) & (SZ_32K - 1)) + 3000,
				SZ_32K);
		KUNIT_EXPECT_PTR_NE(test, device_sees(test, sg_dma_address(sg)),
				    (u8 *)sg_virt(sg));
	}
	dma_unmap_sgtable(t->dev, &table, DMA_TO_DEVICE, 0);
	sg_free_table(&table);
}

/* As a driver may that does not look, past what CONFIG_DMA_API_DEBUG would say to it. */
static void unmap_wrongly(struct dma_test *t, dma_addr_t addr, size_t size)
{
	get_dma_ops(t->dev)->unmap_page(t->dev, addr, size, DMA_TO_DEVICE, 0);
}

static void dma_unmap_nothing(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_BOUNCE);

	unmap_wrongly(t, DMA_MAPPING_ERROR, 100);
	unmap_wrongly(t, 0, 100);
	fake_host_expect(test, fixture_host(test), "");
}

/* What is unmapped twice does not become the IOVA of two buffers. */
static void dma_hybrid_unmap_twice(struct kunit *test)
{
	struct dma_test *t = start(test, PVIOMMU_HYBRID);
	dma_addr_t addr = map(t, 0, SZ_32K, DMA_TO_DEVICE), other;

	KUNIT_ASSERT_NE(test, addr, DMA_MAPPING_ERROR);
	dma_unmap_single(t->dev, addr, SZ_32K, DMA_TO_DEVICE);
	unmap_wrongly(t, addr, SZ_32K);
	unmap_wrongly(t, addr, 0);
	unmap_wrongly(t, DMA_MAPPING_ERROR, SZ_32K);

	addr = map(t, 0, SZ_32K, DMA_TO_DEVICE);
	other = map(t, SZ_32K, SZ_32K, DMA_TO_DEVICE);
	KUNIT_EXPECT_PTR_EQ(test, device_sees(test, addr), t->buffer);
	KUNIT_EXPECT_PTR_EQ(test, device_sees(test, other), t->buffer + SZ_32K);
	dma_unmap_single(t->dev, addr, SZ_32K, DMA_TO_DEVICE);
	dma_unmap_single(t->dev, other, SZ_32K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, fixture_host(test)->apertures[0].nr_mapped, 512);
}

/* What is to be had one way only is had that way. */
static void dma_hybrid_instead(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct dma_test *t = start(test, PVIOMMU_HYBRID);
	struct pviommu_pool *pool = fixture_mapper(t->dev)->pool;
	dma_addr_t others[SZ_2M / SZ_32K], addr;
	unsigned int nr;

	fake_host_plan(host, &(struct fake_plan){
		.call = FAKE_MAP, .trick = FAKE_ANSWER,
		.value = PVIOMMU_RC_OVER_BUDGET, .times = 2 });
	addr = map(t, 0, SZ_32K, DMA_TO_DEVICE);
	KUNIT_ASSERT_NE(test, addr, DMA_MAPPING_ERROR);
	KUNIT_EXPECT_PTR_NE(test, device_sees(test, addr), t->buffer);
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(pool), SZ_32K);
	dma_unmap_single(t->dev, addr, SZ_32K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(pool), 0);

	for (nr = 0; nr < ARRAY_SIZE(others); nr++) {
		others[nr] = pviommu_pool_map(pool, virt_to_phys(t->buffer),
					      SZ_32K, U64_MAX, U64_MAX, 0);
		KUNIT_ASSERT_NE(test, others[nr], DMA_MAPPING_ERROR);
	}
	addr = map(t, 0, 1, DMA_TO_DEVICE);
	KUNIT_ASSERT_NE(test, addr, DMA_MAPPING_ERROR);
	KUNIT_EXPECT_PTR_EQ(test, device_sees(test, addr), t->buffer);
	dma_unmap_single(t->dev, addr, 1, DMA_TO_DEVICE);
	while (nr--)
		pviommu_pool_unmap(pool, others[nr]);
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(pool), 0);
}

/* IOVAs of buffers lie in the window, and neither in the pool nor in holes. */
static void dma_hybrid_places(struct kunit *test)
{
	struct fake_host *host = fixture_host(test);
	struct dma_test *t;
	dma_addr_t addr[200];
	unsigned int i, j;

	fake_host_set_holes(test, host, 0, 1, 1);
	host->apertures[0].holes[0].base = BASE + 1100 * PAGE_SIZE;
	host->apertures[0].holes[0].length = 50 * PAGE_SIZE;
	t = start(test, PVIOMMU_HYBRID);
	for (i = 0; i < ARRAY_SIZE(addr); i++) {
		addr[i] = map(t, 0, SZ_32K, DMA_TO_DEVICE);
		if (addr[i] == DMA_MAPPING_ERROR)
			break;
	}
	/* 638 pages of the window are left for them, and then the pool. */
	KUNIT_EXPECT_GE(test, i, 638 / 8 - 2);
	for (j = 0; j < i; j++)
		dma_unmap_single(t->dev, addr[j], SZ_32K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, host->apertures[0].nr_mapped, 512);
	KUNIT_EXPECT_STREQ(test, host->violation, "");
}

static struct kunit_case dma_cases[] = {
	KUNIT_CASE(dma_set_aside_once),
	KUNIT_CASE(dma_of_nobody),
	KUNIT_CASE(dma_streaming),
	KUNIT_CASE(dma_scatterlist),
	KUNIT_CASE(dma_full),
	KUNIT_CASE(dma_coherent),
	KUNIT_CASE(dma_mmap),
	KUNIT_CASE(dma_pages),
	KUNIT_CASE(dma_masks),
	KUNIT_CASE_PARAM(dma_refused, refusal_gen_params),
	KUNIT_CASE(dma_small_budget),
	KUNIT_CASE(dma_holes),
	KUNIT_CASE(dma_narrow),
	KUNIT_CASE(dma_large_pages),
	KUNIT_CASE(dma_hybrid),
	KUNIT_CASE(dma_hybrid_order),
	KUNIT_CASE(dma_hybrid_list),
	KUNIT_CASE(dma_hybrid_boundary),
	KUNIT_CASE(dma_hybrid_instead),
	KUNIT_CASE(dma_unmap_nothing),
	KUNIT_CASE(dma_hybrid_unmap_twice),
	KUNIT_CASE(dma_hybrid_places),
	{}
};

static struct kunit_suite dma_suite = {
	.name = "pviommu_dma_ops",
	.init = dma_init,
	.exit = dma_exit,
	.test_cases = dma_cases,
};

kunit_test_suite(dma_suite);
