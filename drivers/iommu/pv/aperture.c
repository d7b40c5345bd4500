// SPDX-License-Identifier: GPL-2.0-only
/*
 * The apertures that devices of this guest are behind: fetched from the host
 * when the first of their devices is seen, and checked.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/align.h>
#include <linux/err.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "pviommu.h"

/* Where x86 devices write their interrupts; no IOMMU translates these. */
#define MSI_BASE	0xfee00000UL
#define MSI_SIZE	0x00100000UL

/*
 * struct pviommu_aperture by id. apertures_lock is held to add one, or the first
 * endpoint to one.
 */
static DEFINE_XARRAY(apertures);
static DEFINE_MUTEX(apertures_lock);

static bool window_ok(u32 id, const struct pviommu_aperture_info *info)
{
	u64 end;

	if (!info->length ||
	    !IS_ALIGNED(info->base | info->length, PVIOMMU_PAGE_SIZE) ||
	    check_add_overflow(info->base, info->length, &end)) {
		pr_err("aperture %u: the host's window makes no sense: base %#llx, length %#llx\n",
		       id, info->base, info->length);
		return false;
	}
	if (info->length >> PVIOMMU_PAGE_SHIFT > PVIOMMU_MAX_PAGES) {
		pr_err("aperture %u: window of %#llx bytes, this driver can use %#llx at most\n",
		       id, info->length,
		       PVIOMMU_MAX_PAGES << PVIOMMU_PAGE_SHIFT);
		return false;
	}
	return true;
}

static bool holes_ok(u32 id, const struct pviommu_aperture_info *info)
{
	u64 from = info->base;
	u32 i;

	for (i = 0; i < info->nr_holes; i++) {
		const struct pviommu_hole *hole = &info->holes[i];
		u64 end;

		if (!hole->length || hole->base < from ||
		    check_add_overflow(hole->base, hole->length, &end) ||
		    end > info->base + info->length) {
			pr_err("aperture %u: hole %u makes no sense: base %#llx, length %#llx\n",
			       id, i, hole->base, hole->length);
			return false;
		}
		from = end;
	}
	return true;
}

/* Is RAM outside of an aperture's window? But for the first MiB, which drivers do not get. */
static int is_outside(struct resource *ram, void *data)
{
	const struct pviommu_aperture_info *info = data;

	return ram->end >= SZ_1M &&
	       (max_t(u64, ram->start, SZ_1M) < info->base ||
		ram->end > info->base + info->length - 1);
}

static bool has_all_ram(struct pviommu_aperture_info *info)
{
	return walk_iomem_res_desc(IORES_DESC_NONE,
				   IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0,
				   U64_MAX, info, is_outside) <= 0;
}

/* Mode direct, if there is nothing against it; or what else was asked for. */
static enum pviommu_mode choose_mode(u32 id, struct pviommu_aperture_info *info)
{
	enum pviommu_mode mode = pviommu_mode_of(id);

	if (mode != PVIOMMU_DIRECT)
		return mode;
	if (!pviommu_host_has_direct()) {
		pr_warn("aperture %u: the host does not support mode direct; mode remap is used\n",
			id);
		return PVIOMMU_REMAP;
	}
	if (!has_all_ram(info)) {
		pr_warn("aperture %u: there is RAM outside of its window, which mode direct needs all of; mode remap is used. See pviommu run --direct on the host.\n",
			id);
		return PVIOMMU_REMAP;
	}
	/* It would reach what other devices use no more. */
	if (pviommu_endpoint_is_any_untrusted(id)) {
		pr_warn("aperture %u: there is an untrusted device in it; mode remap is used\n",
			id);
		return PVIOMMU_REMAP;
	}
	return mode;
}

/*
 * Fetches what the host says of an aperture that has no endpoint. Not once and for
 * all: the holes are those of the devices which are in it, and that may be
 * others than the last time.
 */
static int aperture_learn(struct pviommu_aperture *aperture)
{
	struct pviommu_aperture_info *info;
	struct pviommu_hole *holes;
	u32 id = aperture->id;
	int ret = -EPROTO;

	info = pviommu_host_aperture(id);
	if (IS_ERR(info))
		return PTR_ERR(info);

	if (!window_ok(id, info) || !holes_ok(id, info))
		goto out_free;

	if (aperture->nr_pages &&
	    (info->base != aperture->base ||
	     info->length >> PVIOMMU_PAGE_SHIFT != aperture->nr_pages)) {
		pr_err("aperture %u: the host has moved its window\n", id);
		goto out_free;
	}

	ret = -ENOMEM;
	holes = kmemdup(info->holes,
			array_size(info->nr_holes, sizeof(info->holes[0])),
			GFP_KERNEL);
	if (!holes)
		goto out_free;

	aperture->base = info->base;
	aperture->nr_pages = info->length >> PVIOMMU_PAGE_SHIFT;
	aperture->budget = info->budget;
	aperture->mode = choose_mode(id, info);
	kfree(aperture->holes);
	aperture->holes = holes;
	aperture->nr_holes = info->nr_holes;
	ret = 0;

out_free:
	kfree(info);
	return ret;
}

static void aperture_destroy(struct pviommu_aperture *aperture)
{
	if (!IS_ERR_OR_NULL(aperture->group))
		iommu_group_put(aperture->group);
	kfree(aperture->holes);
	kfree(aperture);
}

static struct pviommu_aperture *aperture_create(u32 id)
{
	struct pviommu_aperture *aperture;
	int ret;

	aperture = kzalloc(sizeof(*aperture), GFP_KERNEL);
	if (!aperture)
		return ERR_PTR(-ENOMEM);

	aperture->id = id;
	/* Constant for everybody else. */
	memcpy((void *)&aperture->dma_ops, &pviommu_direct_ops,
	       sizeof(aperture->dma_ops));
	mutex_init(&aperture->attach_lock);
	ret = aperture_learn(aperture);
	if (ret)
		goto err_destroy;

	aperture->group = iommu_group_alloc();
	if (IS_ERR(aperture->group)) {
		ret = PTR_ERR(aperture->group);
		goto err_destroy;
	}

	ret = xa_err(xa_store(&apertures, id, aperture, GFP_KERNEL));
	if (ret)
		goto err_destroy;

	/* A kernel before this one may have left it following a table. */
	pviommu_host_disable(id);
	pviommu_events_discard(aperture);

	pviommu_debugfs_add(aperture);
	pr_info("aperture %u: IOVAs %#llx-%#llx, %llu pages at once, %u holes\n",
		id, aperture->base,
		aperture->base + (aperture->nr_pages << PVIOMMU_PAGE_SHIFT) - 1,
		aperture->budget, aperture->nr_holes);
	return aperture;

err_destroy:
	aperture_destroy(aperture);
	return ERR_PTR(ret);
}

/**
 * pviommu_aperture_get() - find an aperture for an endpoint, or fetch it
 * @id: its id
 *
 * Context: May sleep.
 * Return: the aperture, valid until pviommu_apertures_release(), to be given to
 * pviommu_aperture_put() with the endpoint; or an ERR_PTR(): no memory, or the host
 * describes it in a way that cannot be used, which is logged.
 */
struct pviommu_aperture *pviommu_aperture_get(u32 id)
{
	struct pviommu_aperture *aperture;
	int ret = 0;

	mutex_lock(&apertures_lock);
	aperture = xa_load(&apertures, id);
	if (!aperture)
		aperture = aperture_create(id);
	else if (!atomic_read(&aperture->nr_endpoints))
		ret = aperture_learn(aperture);

	if (ret)
		aperture = ERR_PTR(ret);
	if (!IS_ERR(aperture)) {
		atomic_inc(&aperture->nr_endpoints);
		pviommu_events_get();
	}
	mutex_unlock(&apertures_lock);
	return aperture;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_get);

/**
 * pviommu_aperture_put() - undo pviommu_aperture_get()
 * @aperture: the aperture; the endpoint is not in its group any more
 *
 * Context: Any. The core has the group locked, so no lock is taken here under which
 * groups are made.
 */
void pviommu_aperture_put(struct pviommu_aperture *aperture)
{
	pviommu_events_put();
	atomic_dec(&aperture->nr_endpoints);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_put);

static void resv_region_add(struct list_head *list, u64 start, u64 length,
			    enum iommu_resv_type type)
{
	struct iommu_resv_region *region;

	region = iommu_alloc_resv_region(start, length, 0, type, GFP_KERNEL);
	if (region)
		list_add_tail(&region->list, list);
}

/**
 * pviommu_aperture_resv_regions() - list the IOVAs that are not to be used
 * @aperture: the aperture
 * @list: of struct iommu_resv_region, appended to
 *
 * Regions may overlap each other: a hole for the MSI range is likely. Holes are
 * widened to whole pages.
 *
 * Context: May sleep.
 */
void pviommu_aperture_resv_regions(const struct pviommu_aperture *aperture,
				   struct list_head *list)
{
	u32 i;

	resv_region_add(list, MSI_BASE, MSI_SIZE, IOMMU_RESV_MSI);

	for (i = 0; i < aperture->nr_holes; i++) {
		const struct pviommu_hole *hole = &aperture->holes[i];
		u64 start = ALIGN_DOWN(hole->base, PVIOMMU_PAGE_SIZE);
		u64 end = ALIGN(hole->base + hole->length, PVIOMMU_PAGE_SIZE);

		resv_region_add(list, start, end - start, IOMMU_RESV_RESERVED);
	}
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_resv_regions);

/**
 * pviommu_apertures_for_each() - call a function for every aperture
 * @function: the function
 *
 * Context: Any that @function allows.
 */
void pviommu_apertures_for_each(void (*function)(struct pviommu_aperture *))
{
	struct pviommu_aperture *aperture;
	unsigned long id;

	xa_for_each(&apertures, id, aperture)
		function(aperture);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_apertures_for_each);

/**
 * pviommu_apertures_release() - forget all apertures
 *
 * Context: May sleep. No device is behind any of them any more.
 */
void pviommu_apertures_release(void)
{
	pviommu_apertures_for_each(aperture_destroy);
	xa_destroy(&apertures);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_apertures_release);
