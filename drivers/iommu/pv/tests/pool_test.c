// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bounce pool: what is copied when, where slots are, and what is in them.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "fake_host.h"

#define IOVA	0x1001000UL	/* A page, and no multiple of more. */
#define SIZE	SZ_64K
#define NOWHERE	DMA_MAPPING_ERROR

struct pool_test {
	struct pviommu_pool *pool;
	u8 *buffer; /* Two pages, at the start of one. */
};

static int pool_init(struct kunit *test)
{
	struct pool_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->buffer = (u8 *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, 1);
	KUNIT_ASSERT_NOT_NULL(test, t->buffer);
	t->pool = pviommu_pool_create(IOVA, SIZE);
	KUNIT_ASSERT_NOT_NULL(test, t->pool);
	return 0;
}

static void pool_exit(struct kunit *test)
{
	struct pool_test *t = test->priv;

	if (t && t->pool) {
		KUNIT_EXPECT_EQ(test, pviommu_pool_used(t->pool), 0);
		pviommu_pool_destroy(t->pool);
	}
	if (t)
		free_pages((unsigned long)t->buffer, 1);
}

/* What the device finds there. */
static u8 *device_sees(struct pool_test *t, dma_addr_t addr)
{
	return t->pool->memory + (addr - t->pool->iova);
}

static dma_addr_t map(struct pool_test *t, size_t offset, size_t size)
{
	return pviommu_pool_map(t->pool, virt_to_phys(t->buffer + offset), size,
				U64_MAX, U64_MAX, 0);
}

/* All slots have had other people's bytes. */
static void dirty_all(struct kunit *test)
{
	struct pool_test *t = test->priv;

	memset(t->pool->memory, 0xee, SIZE);
}

static void pool_pages(struct kunit *test)
{
	struct pool_test *t = test->priv;
	size_t at;

	for (at = 0; at < SIZE; at += PAGE_SIZE) {
		struct page *page = pviommu_pool_page(t->pool, IOVA + at);

		KUNIT_EXPECT_PTR_EQ(test, page,
				    vmalloc_to_page(t->pool->memory + at));
	}
	KUNIT_EXPECT_NULL(test, memchr_inv(t->pool->memory, 0, SIZE));
}

static void pool_copies(struct kunit *test)
{
	struct pool_test *t = test->priv;
	dma_addr_t addr;
	u8 *device;

	memset(t->buffer, 1, PAGE_SIZE);
	addr = map(t, 0, PAGE_SIZE);
	KUNIT_ASSERT_NE(test, addr, NOWHERE);
	device = device_sees(t, addr);
	KUNIT_EXPECT_NULL(test, memchr_inv(device, 1, PAGE_SIZE));

	/* Nothing moves without being told to. */
	memset(t->buffer, 2, PAGE_SIZE);
	KUNIT_EXPECT_NULL(test, memchr_inv(device, 1, PAGE_SIZE));
	pviommu_pool_to_device(t->pool, addr, PAGE_SIZE);
	KUNIT_EXPECT_NULL(test, memchr_inv(device, 2, PAGE_SIZE));

	memset(device, 3, PAGE_SIZE);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 2, PAGE_SIZE));
	pviommu_pool_to_cpu(t->pool, addr, PAGE_SIZE);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 3, PAGE_SIZE));

	/* Nor when the slots are given back. */
	memset(device, 4, PAGE_SIZE);
	pviommu_pool_unmap(t->pool, addr);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 3, PAGE_SIZE));
}

/* Some bytes in the middle, and not one beside them. */
static void pool_copies_parts(struct kunit *test)
{
	struct pool_test *t = test->priv;
	const size_t at = 700, n = 1300, size = 5000;
	dma_addr_t addr;
	u8 *device;

	addr = map(t, 100, size);
	KUNIT_ASSERT_NE(test, addr, NOWHERE);
	device = device_sees(t, addr);

	memset(t->buffer, 5, 2 * PAGE_SIZE);
	pviommu_pool_to_device(t->pool, addr + at, n);
	KUNIT_EXPECT_NULL(test, memchr_inv(device, 0, at));
	KUNIT_EXPECT_NULL(test, memchr_inv(device + at, 5, n));
	KUNIT_EXPECT_NULL(test, memchr_inv(device + at + n, 0, size - at - n));

	memset(device, 6, size);
	pviommu_pool_to_cpu(t->pool, addr + at, n);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 5, 100 + at));
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer + 100 + at, 6, n));
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer + 100 + at + n, 5,
					   2 * PAGE_SIZE - 100 - at - n));
	pviommu_pool_unmap(t->pool, addr);
}

/* Neighbours in the pool are neighbours' business. */
static void pool_keeps_apart(struct kunit *test)
{
	struct pool_test *t = test->priv;
	dma_addr_t one, other;

	memset(t->buffer, 1, 600);
	memset(t->buffer + 600, 2, 600);
	one = map(t, 0, 600);
	other = map(t, 600, 600);
	KUNIT_ASSERT_NE(test, one, NOWHERE);
	KUNIT_ASSERT_NE(test, other, NOWHERE);
	KUNIT_EXPECT_NULL(test, memchr_inv(device_sees(t, one), 1, 600));
	KUNIT_EXPECT_NULL(test, memchr_inv(device_sees(t, other), 2, 600));

	memset(device_sees(t, one), 3, 600);
	pviommu_pool_to_cpu(t->pool, one, 600);
	pviommu_pool_to_cpu(t->pool, other, 600);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 3, 600));
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer + 600, 2, 600));
	pviommu_pool_unmap(t->pool, one);
	pviommu_pool_unmap(t->pool, other);
}

static const struct leftover_case {
	const char *name;
	size_t offset, size;
	u64 align_mask;
} leftover_cases[] = {
	{ "a byte", 0, 1, 0 },
	{ "a byte at the end of a page", 4095, 1, 0xfff },
	{ "a packet", 66, 1514, 0 },
	{ "a packet that shares its offset", 66, 1514, 0xfff },
	{ "all but a byte", 1, 4095, 0xfff },
	{ "across pages", 4000, 200, 0xfff },
	{ "a page", 0, 4096, 0xfff },
};

KUNIT_ARRAY_PARAM_DESC(leftover, leftover_cases, name);

/* Whatever the device reads or leaves out, it and the buffer see no other bytes. */
static void pool_leftover(struct kunit *test)
{
	const struct leftover_case *param = test->param_value;
	struct pool_test *t = test->priv;
	u8 *page, *device;
	dma_addr_t addr;
	size_t used, at;

	memset(t->buffer, 0x11, 2 * PAGE_SIZE);
	dirty_all(test);
	addr = pviommu_pool_map(t->pool, virt_to_phys(t->buffer + param->offset),
				param->size, U64_MAX, U64_MAX,
				param->align_mask);
	KUNIT_ASSERT_NE(test, addr, NOWHERE);

	/* All that was taken for it: its bytes, and zeroes. */
	device = device_sees(t, addr);
	used = 0;
	for (page = t->pool->memory, at = 0; at < SIZE; at++) {
		bool inside = page + at >= device &&
			      page + at < device + param->size;

		used += page[at] != 0xee;
		if (inside)
			KUNIT_EXPECT_EQ(test, page[at], 0x11);
		else if (page[at] != 0xee)
			KUNIT_EXPECT_EQ(test, page[at], 0);
	}
	KUNIT_EXPECT_EQ(test, used, pviommu_pool_used(t->pool));

	/* The device writes the first byte only. */
	*device = 0x22;
	pviommu_pool_to_cpu(t->pool, addr, param->size);
	KUNIT_EXPECT_EQ(test, t->buffer[param->offset], 0x22);
	t->buffer[param->offset] = 0x11;
	KUNIT_EXPECT_NULL(test, memchr_inv(t->buffer, 0x11, 2 * PAGE_SIZE));
	pviommu_pool_unmap(t->pool, addr);
}

static void pool_align(struct kunit *test)
{
	static const u64 masks[] = { 0x7, 0x1ff, 0x7ff, 0xfff, 0x3fff };
	static const size_t offsets[] = { 0, 1, 0x1ff, 0x200, 0xa10, 0xfff };
	struct pool_test *t = test->priv;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(masks); i++) {
		for (j = 0; j < ARRAY_SIZE(offsets); j++) {
			phys_addr_t paddr = virt_to_phys(t->buffer) + offsets[j];
			dma_addr_t addr[3];
			unsigned int k;

			for (k = 0; k < ARRAY_SIZE(addr); k++) {
				addr[k] = pviommu_pool_map(t->pool, paddr, 300,
							   U64_MAX, U64_MAX,
							   masks[i]);
				KUNIT_ASSERT_NE(test, addr[k], NOWHERE);
				KUNIT_EXPECT_EQ(test, addr[k] & masks[i],
						paddr & masks[i]);
			}
			for (k = 0; k < ARRAY_SIZE(addr); k++)
				pviommu_pool_unmap(t->pool, addr[k]);
		}
	}
}

static dma_addr_t map_within(struct pool_test *t, size_t size, u64 boundary)
{
	return pviommu_pool_map(t->pool, virt_to_phys(t->buffer), size, U64_MAX,
				boundary, 0);
}

static void pool_boundary(struct kunit *test)
{
	struct pool_test *t = test->priv;
	dma_addr_t addr[5];
	unsigned int i;

	/* Five slots, and three are left of the page. */
	addr[0] = map(t, 0, 2500);
	addr[1] = map_within(t, 2048, PAGE_SIZE - 1);
	KUNIT_EXPECT_EQ(test, addr[1], IOVA + PAGE_SIZE);
	addr[2] = map_within(t, 1536, PAGE_SIZE - 1);
	KUNIT_EXPECT_EQ(test, addr[2], IOVA + 2560);
	/* What is larger than that is let across. */
	addr[3] = map_within(t, PAGE_SIZE + 1, PAGE_SIZE - 1);
	KUNIT_EXPECT_NE(test, addr[3], NOWHERE);
	/* It counts from address 0, not from the pool. */
	addr[4] = map_within(t, 3 * PAGE_SIZE, SZ_16K - 1);
	KUNIT_EXPECT_LE(test, (addr[4] & (SZ_16K - 1)) + 3 * PAGE_SIZE, SZ_16K);
	for (i = 0; i < ARRAY_SIZE(addr); i++)
		pviommu_pool_unmap(t->pool, addr[i]);
}

static void pool_limit(struct kunit *test)
{
	struct pool_test *t = test->priv;
	const u64 limit = IOVA + 3 * PAGE_SIZE - 1;
	dma_addr_t addr[4];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		addr[i] = pviommu_pool_map(t->pool, virt_to_phys(t->buffer),
					   PAGE_SIZE, limit, U64_MAX, 0);
		KUNIT_ASSERT_NE(test, addr[i], NOWHERE);
		KUNIT_EXPECT_LE(test, addr[i] + PAGE_SIZE - 1, limit);
	}
	KUNIT_EXPECT_EQ(test, NOWHERE,
			pviommu_pool_map(t->pool, virt_to_phys(t->buffer), 1,
					 limit, U64_MAX, 0));
	KUNIT_EXPECT_NULL(test, pviommu_pool_alloc(t->pool, 1, limit, &addr[3]));
	KUNIT_EXPECT_EQ(test, NOWHERE,
			pviommu_pool_map(t->pool, virt_to_phys(t->buffer), 1,
					 IOVA - 1, U64_MAX, 0));
	/* A device that reaches more has the rest. */
	addr[3] = map(t, 0, 1);
	KUNIT_EXPECT_NE(test, addr[3], NOWHERE);
	for (i = 0; i < 4; i++)
		pviommu_pool_unmap(t->pool, addr[i]);
}

static void pool_exhausted(struct kunit *test)
{
	struct pool_test *t = test->priv;
	dma_addr_t addr[SIZE / PAGE_SIZE];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(addr); i++) {
		addr[i] = map(t, 0, PAGE_SIZE);
		KUNIT_ASSERT_NE(test, addr[i], NOWHERE);
	}
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(t->pool), SIZE);
	KUNIT_EXPECT_EQ(test, map(t, 0, 1), NOWHERE);

	/* It works again once something was freed. */
	pviommu_pool_unmap(t->pool, addr[5]);
	addr[5] = map(t, 0, PAGE_SIZE);
	KUNIT_EXPECT_NE(test, addr[5], NOWHERE);
	for (i = 0; i < ARRAY_SIZE(addr); i++)
		pviommu_pool_unmap(t->pool, addr[i]);

	KUNIT_EXPECT_EQ(test, NOWHERE,
			pviommu_pool_map(t->pool, virt_to_phys(t->buffer),
					 SIZE + 1, U64_MAX, U64_MAX, 0));
	KUNIT_EXPECT_EQ(test, NOWHERE,
			pviommu_pool_map(t->pool, virt_to_phys(t->buffer),
					 SIZE_MAX, U64_MAX, U64_MAX, 0xfff));
	KUNIT_EXPECT_NULL(test, pviommu_pool_alloc(t->pool, SIZE_MAX, U64_MAX,
						   &addr[0]));
}

static void pool_coherent(struct kunit *test)
{
	static const size_t sizes[] = { 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE };
	struct pool_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t whole = PAGE_ALIGN(sizes[i]);
		dma_addr_t addr = 0;
		u8 *memory;

		dirty_all(test);
		memory = pviommu_pool_alloc(t->pool, sizes[i], U64_MAX, &addr);
		KUNIT_ASSERT_NOT_NULL(test, memory);
		KUNIT_EXPECT_PTR_EQ(test, memory, device_sees(t, addr));
		KUNIT_EXPECT_NULL(test, memchr_inv(memory, 0, whole));
		KUNIT_EXPECT_EQ(test, addr % roundup_pow_of_two(whole), 0);
		KUNIT_EXPECT_EQ(test, pviommu_pool_used(t->pool), whole);

		/* There is nothing to be copied. */
		memset(memory, 7, whole);
		pviommu_pool_to_cpu(t->pool, addr, whole);
		pviommu_pool_to_device(t->pool, addr, whole);
		KUNIT_EXPECT_NULL(test, memchr_inv(memory, 7, whole));
		pviommu_pool_unmap(t->pool, addr);
	}
}

/* There is always room for buffers. */
static void pool_coherent_half(struct kunit *test)
{
	struct pool_test *t = test->priv;
	dma_addr_t half, addr;

	KUNIT_EXPECT_NULL(test, pviommu_pool_alloc(t->pool, SIZE / 2 + 1, U64_MAX,
						   &addr));
	KUNIT_ASSERT_NOT_NULL(test, pviommu_pool_alloc(t->pool, SIZE / 2, U64_MAX,
						       &half));
	KUNIT_EXPECT_NULL(test, pviommu_pool_alloc(t->pool, 1, U64_MAX, &addr));
	addr = map(t, 0, PAGE_SIZE);
	KUNIT_EXPECT_NE(test, addr, NOWHERE);
	pviommu_pool_unmap(t->pool, half);
	KUNIT_EXPECT_NOT_NULL(test, pviommu_pool_alloc(t->pool, SIZE / 2, U64_MAX,
						       &half));
	pviommu_pool_unmap(t->pool, half);
	pviommu_pool_unmap(t->pool, addr);
}

/* Its memory is not given to others while somebody may still write there. */
static void pool_left_in_use(struct kunit *test)
{
	struct pviommu_pool *pool = pviommu_pool_create(IOVA, SIZE);
	dma_addr_t addr;

	KUNIT_ASSERT_NOT_NULL(test, pool);
	KUNIT_ASSERT_NOT_NULL(test, pviommu_pool_alloc(pool, 1, U64_MAX, &addr));
	pviommu_pool_destroy(pool);
	KUNIT_EXPECT_EQ(test, pviommu_pool_used(pool), PAGE_SIZE);
	pviommu_pool_unmap(pool, addr);
	pviommu_pool_destroy(pool);
}

static struct kunit_case pool_cases[] = {
	KUNIT_CASE(pool_pages),
	KUNIT_CASE(pool_copies),
	KUNIT_CASE(pool_copies_parts),
	KUNIT_CASE(pool_keeps_apart),
	KUNIT_CASE_PARAM(pool_leftover, leftover_gen_params),
	KUNIT_CASE(pool_align),
	KUNIT_CASE(pool_boundary),
	KUNIT_CASE(pool_limit),
	KUNIT_CASE(pool_exhausted),
	KUNIT_CASE(pool_coherent),
	KUNIT_CASE(pool_coherent_half),
	KUNIT_CASE(pool_left_in_use),
	{}
};

static struct kunit_suite pool_suite = {
	.name = "pviommu_pool",
	.init = pool_init,
	.exit = pool_exit,
	.test_cases = pool_cases,
};

kunit_test_suite(pool_suite);
