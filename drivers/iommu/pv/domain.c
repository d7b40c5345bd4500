// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains: attaching, mapping, unmapping, and when the host is told. main.c
 * explains the whole.
 *
 * What never fails: taking mappings back, blocking a device, and attaching a
 * domain of the DMA API or one that was attached before; the core WARNs if those
 * fail. Where the host refuses, the device is left blocked instead and every
 * later mapping is refused.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/align.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/lockdep.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/sizes.h>

#include "pviommu.h"

#define MAX_RANGES	(PAGE_SIZE / sizeof(struct pviommu_range))

static struct pviommu_domain *to_pviommu_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct pviommu_domain, domain);
}

static u64 window_page(const struct pviommu_domain *domain, u64 iova)
{
	return (iova - domain->aperture->base) >> PVIOMMU_PAGE_SHIFT;
}

/* Whether bytes @iova to @iova + @size - 1 are in the window; @size is not 0. */
static bool in_window(const struct pviommu_domain *domain, u64 iova, u64 size)
{
	const struct iommu_domain_geometry *window = &domain->domain.geometry;

	return iova >= window->aperture_start && iova <= window->aperture_end &&
	       size - 1 <= window->aperture_end - iova;
}

/**
 * pviommu_domain_state() - does the host have to be told?
 * @domain: a domain
 *
 * Read by whoever has changed entries. Who does not see FOLLOWED takes it that no device
 * reaches what was mapped: so it is changed when the host follows the table no more, not
 * before.
 *
 * Context: Any.
 * Return: what the host does with the table.
 */
enum pviommu_domain_state
pviommu_domain_state(const struct pviommu_domain *domain)
{
	/*
	 * Pairs with the one in domain_follow(): either the change is seen
	 * there, or FOLLOWED is seen here.
	 */
	smp_mb();
	return READ_ONCE(domain->state);
}

static void domain_set_state(struct pviommu_domain *domain,
			     enum pviommu_domain_state state)
{
	unsigned long flags;

	spin_lock_irqsave(&domain->flush_lock, flags);
	WRITE_ONCE(domain->state, state);
	spin_unlock_irqrestore(&domain->flush_lock, flags);
}

/**
 * pviommu_domain_fail() - the host did not take mappings back
 * @domain: a domain
 * @err: what it has said
 *
 * The device could still reach pages that are about to be used for something else. Losing
 * the device is better than losing memory.
 *
 * Context: Any; under @domain's flush_lock.
 */
void pviommu_domain_fail(struct pviommu_domain *domain, int err)
{
	lockdep_assert_held(&domain->flush_lock);

	if (domain->state != PVIOMMU_FOLLOWED)
		return;

	pviommu_host_disable(domain->aperture->id);
	WRITE_ONCE(domain->state, PVIOMMU_REFUSED);
	pr_err("aperture %u: the host failed to unmap (%d): all its DMA is blocked from now on\n",
	       domain->aperture->id, err);
}

/**
 * pviommu_domain_stop() - the same, without the lock
 * @domain: a domain
 * @err: what the host has said
 *
 * Context: Any.
 */
void pviommu_domain_stop(struct pviommu_domain *domain, int err)
{
	unsigned long flags;

	spin_lock_irqsave(&domain->flush_lock, flags);
	pviommu_domain_fail(domain, err);
	spin_unlock_irqrestore(&domain->flush_lock, flags);
}

/*
 * Tells the host of all lazily removed pages. The lock is held until the host
 * has answered: a flush that finds nothing because another CPU's flush has just
 * collected it must not return before that one is through, or the core reuses
 * IOVAs which the host still has mapped.
 */
static void pviommu_flush_iotlb_all(struct iommu_domain *dom)
{
	struct pviommu_domain *domain = to_pviommu_domain(dom);
	unsigned long leaf = 0;
	unsigned long flags;
	unsigned int nr;
	int ret;

	spin_lock_irqsave(&domain->flush_lock, flags);
	while (domain->state == PVIOMMU_FOLLOWED) {
		nr = pviommu_table_collect_dirty(&domain->table, &leaf,
						 domain->ranges, MAX_RANGES);
		if (!nr)
			break;
		ret = pviommu_host_unmap_ranges(domain->aperture->id,
						domain->ranges, nr);
		if (ret)
			pviommu_domain_fail(domain, ret);
	}
	spin_unlock_irqrestore(&domain->flush_lock, flags);
}

static void pviommu_iotlb_sync(struct iommu_domain *dom,
			       struct iommu_iotlb_gather *gather)
{
	struct pviommu_domain *domain = to_pviommu_domain(dom);
	u64 first, last;
	int ret;

	/* Nothing was gathered, or nothing is mapped. */
	if (gather->start > gather->end ||
	    pviommu_domain_state(domain) != PVIOMMU_FOLLOWED)
		return;

	first = window_page(domain, gather->start);
	last = window_page(domain, gather->end);
	ret = pviommu_host_unmap(domain->aperture->id, first, last - first + 1);
	if (ret)
		pviommu_domain_stop(domain, ret);
}

/*
 * Has the host take over a range. If it is short of pages, those that wait in
 * the flush queue are given back first.
 */
static int domain_sync(struct pviommu_domain *domain,
		       struct pviommu_range *range)
{
	u32 id = domain->aperture->id;
	int ret;

	ret = pviommu_host_map(id, range);
	if (ret != -ENOMEM)
		return ret;

	pviommu_flush_iotlb_all(&domain->domain);
	ret = pviommu_host_map(id, range);
	if (ret == -ENOMEM)
		pr_warn_ratelimited("aperture %u: no room for %llu pages more (budget %llu)\n",
				    id, range->count, domain->aperture->budget);
	return ret;
}

/* On failure the core unmaps all of the range: table and host forget it. */
static int pviommu_iotlb_sync_map(struct iommu_domain *dom, unsigned long iova,
				  size_t size)
{
	struct pviommu_domain *domain = to_pviommu_domain(dom);
	struct pviommu_range range = {
		.first = window_page(domain, iova),
		.count = size >> PVIOMMU_PAGE_SHIFT,
	};

	switch (pviommu_domain_state(domain)) {
	case PVIOMMU_DETACHED:
		return 0;
	case PVIOMMU_FOLLOWED:
		return domain_sync(domain, &range);
	default:
		return -EIO;
	}
}

static int pviommu_map_pages(struct iommu_domain *dom, unsigned long iova,
			     phys_addr_t paddr, size_t pgsize, size_t pgcount,
			     int prot, gfp_t gfp, size_t *mapped)
{
	struct pviommu_domain *domain = to_pviommu_domain(dom);
	size_t size = pgsize * pgcount;
	u64 access = 0;
	u64 pages;
	int ret;

	if (prot & IOMMU_READ)
		access |= PVIOMMU_ENTRY_READ;
	if (prot & IOMMU_WRITE)
		access |= PVIOMMU_ENTRY_WRITE;
	if (access && pgsize == SZ_2M)
		access |= PVIOMMU_ENTRY_LARGE;
	if (access && domain->direct)
		access |= PVIOMMU_ENTRY_USE;

	if (!access || !in_window(domain, iova, size) ||
	    (paddr | (paddr + size - PVIOMMU_PAGE_SIZE)) & ~PVIOMMU_ENTRY_GFN)
		return -EINVAL;

	ret = pviommu_table_map(&domain->table, window_page(domain, iova),
				size >> PVIOMMU_PAGE_SHIFT, paddr, access, gfp,
				&pages);
	*mapped = pages << PVIOMMU_PAGE_SHIFT;
	/* Whatever is said to be mapped the core unmaps again on failure. */
	if (!ret && PVIOMMU_SYNC_AT_ONCE)
		ret = pviommu_iotlb_sync_map(dom, iova, size);
	return ret;
}

/*
 * Nobody should unmap a part of what was mapped as a unit. Who does loses all of it, and
 * is told of what is from @iova on.
 */
static size_t pviommu_unmap_pages(struct iommu_domain *dom, unsigned long iova,
				  size_t pgsize, size_t pgcount,
				  struct iommu_iotlb_gather *gather)
{
	struct pviommu_domain *domain = to_pviommu_domain(dom);
	size_t size = pgsize * pgcount;
	struct pviommu_range range;
	unsigned long start;
	u64 first, pages;

	if (!in_window(domain, iova, size))
		return 0;

	first = window_page(domain, iova);
	range = (struct pviommu_range){ first, size >> PVIOMMU_PAGE_SHIFT };
	pviommu_table_whole_units(&domain->table, &range);
	pages = pviommu_table_unmap(&domain->table, range.first, range.count);
	if (!pages)
		return 0;

	start = iova - ((first - range.first) << PVIOMMU_PAGE_SHIFT);
	size = pages << PVIOMMU_PAGE_SHIFT;
	if (iommu_iotlb_gather_queued(gather)) {
		pviommu_table_mark_dirty(&domain->table, range.first, pages);
		return start + size - iova;
	}

	/* The host would look at all that is between two distant ranges. */
	if (iommu_iotlb_gather_is_disjoint(gather, start, size))
		iommu_iotlb_sync(dom, gather);
	iommu_iotlb_gather_add_range(gather, start, size);
	return start + size - iova;
}

static phys_addr_t pviommu_iova_to_phys(struct iommu_domain *dom,
					dma_addr_t iova)
{
	struct pviommu_domain *domain = to_pviommu_domain(dom);
	phys_addr_t page;

	if (!in_window(domain, iova, 1))
		return 0;

	page = pviommu_table_lookup(&domain->table, window_page(domain, iova));
	return page ? page | (iova & (PVIOMMU_PAGE_SIZE - 1)) : 0;
}

/* Has a domain be one of an aperture; from now on there is an IOVA to map at. */
static int domain_finalise(struct pviommu_domain *domain,
			   struct pviommu_aperture *aperture)
{
	struct iommu_domain_geometry *window = &domain->domain.geometry;
	int ret;

	ret = pviommu_table_init(&domain->table, aperture->nr_pages);
	if (ret)
		return ret;

	domain->aperture = aperture;
	domain->domain.pgsize_bitmap = SZ_4K;
	if (pviommu_host_has_large() && IS_ALIGNED(aperture->base, SZ_2M))
		domain->domain.pgsize_bitmap |= SZ_2M;
	window->aperture_start = aperture->base;
	window->aperture_end = aperture->base +
		(aperture->nr_pages << PVIOMMU_PAGE_SHIFT) - 1;
	return 0;
}

/*
 * Is the domain, or can it become, one of this aperture? -EINVAL says to the caller:
 * try it with a domain made for this device.
 */
static int domain_check_aperture(struct pviommu_domain *domain,
				 struct pviommu_aperture *aperture)
{
	static DEFINE_MUTEX(finalise_lock);
	int ret = 0;

	if (PVIOMMU_DOMAINS_LATE) {
		mutex_lock(&finalise_lock);
		if (!domain->aperture)
			ret = domain_finalise(domain, aperture);
		mutex_unlock(&finalise_lock);
	}
	if (!ret && domain->aperture != aperture)
		ret = -EINVAL;
	return ret;
}

/* Has the aperture follow the domain instead of what it followed before. */
static int domain_follow(struct pviommu_domain *domain)
{
	struct pviommu_aperture *aperture = domain->aperture;
	struct pviommu_domain *before = aperture->domain;
	struct pviommu_range range = {};
	struct pci_dev *outsider;
	int ret = -EBUSY;

	lockdep_assert_held(&aperture->attach_lock);

	aperture->domain = domain;
	outsider = pviommu_endpoint_find_outsider(aperture);
	if (outsider) {
		pci_err(outsider, "shares aperture %u, which nobody can use until this device is removed\n",
			aperture->id);
		pci_dev_put(outsider);
	} else {
		ret = pviommu_host_enable(aperture->id,
					  pviommu_table_gpa(&domain->table),
					  domain->direct);
	}
	if (before && before != domain) {
		if (ret)
			pviommu_host_disable(aperture->id);
		domain_set_state(before, PVIOMMU_DETACHED);
	}
	if (ret)
		return ret;

	domain_set_state(domain, PVIOMMU_FOLLOWED);
	smp_mb(); /* Pairs with domain_state(). */

	while (pviommu_table_next_used(&domain->table, &range)) {
		ret = domain_sync(domain, &range);
		if (ret)
			return ret;
		cond_resched();
	}

	domain->followed_before = true;
	return 0;
}

/* Has the aperture follow nothing; its devices are blocked. */
static void aperture_block(struct pviommu_aperture *aperture)
{
	lockdep_assert_held(&aperture->attach_lock);

	pviommu_host_disable(aperture->id);
	domain_set_state(aperture->domain, PVIOMMU_DETACHED);
	aperture->domain = NULL;
}

static void endpoint_set_domain(struct pviommu_endpoint *endpoint,
				struct pviommu_domain *domain)
{
	lockdep_assert_held(&endpoint->aperture->attach_lock);

	if (domain)
		domain->nr_endpoints++;
	if (endpoint->domain)
		endpoint->domain->nr_endpoints--;
	endpoint->domain = domain;
}

static int pviommu_attach_dev(struct iommu_domain *dom, struct device *dev)
{
	struct pviommu_domain *domain = to_pviommu_domain(dom);
	struct pviommu_endpoint *endpoint = dev_iommu_priv_get(dev);
	struct pviommu_aperture *aperture = endpoint->aperture;
	int ret;

	ret = domain_check_aperture(domain, aperture);
	if (ret)
		return ret;

	mutex_lock(&aperture->attach_lock);

	if (aperture->domain != domain || domain->state == PVIOMMU_REFUSED)
		ret = domain_follow(domain);
	if (ret && !iommu_is_dma_domain(dom) && !domain->followed_before) {
		aperture_block(aperture);
		endpoint_set_domain(endpoint, NULL);
		goto out_unlock;
	}
	if (ret) {
		dev_err(dev, "aperture %u cannot follow the domain (%d), DMA stays blocked\n",
			aperture->id, ret);
		pviommu_host_disable(aperture->id);
		domain_set_state(domain, PVIOMMU_REFUSED);
		ret = 0;
	}
	endpoint_set_domain(endpoint, domain);

out_unlock:
	mutex_unlock(&aperture->attach_lock);
	return ret;
}

static int pviommu_attach_blocked(struct iommu_domain *blocked,
				  struct device *dev)
{
	struct pviommu_endpoint *endpoint = dev_iommu_priv_get(dev);
	struct pviommu_aperture *aperture = endpoint->aperture;

	mutex_lock(&aperture->attach_lock);
	endpoint_set_domain(endpoint, NULL);
	/* Also called for one of several devices, when it is unplugged. */
	if (aperture->domain && !aperture->domain->nr_endpoints)
		aperture_block(aperture);
	mutex_unlock(&aperture->attach_lock);
	return 0;
}

/**
 * pviommu_domain_follow() - have its aperture follow a domain that no core knows
 * @domain: of pviommu_domain_alloc_private(); what is mapped in it already is mapped then
 *
 * Context: May sleep.
 * Return: 0, or an error: the aperture is blocked then, and -ENOMEM if the host lacks
 * budget or memory.
 */
int pviommu_domain_follow(struct pviommu_domain *domain)
{
	struct pviommu_aperture *aperture = domain->aperture;
	int ret;

	mutex_lock(&aperture->attach_lock);
	ret = domain_follow(domain);
	if (ret)
		aperture_block(aperture);
	mutex_unlock(&aperture->attach_lock);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_follow);

/**
 * pviommu_domain_sync_map() - tell the host of what ->map_pages() has entered
 * @domain: the domain
 * @iova: first byte, page aligned
 * @size: bytes, whole pages
 *
 * Context: Any.
 * Return: 0; or an error, and the caller has to unmap all of it.
 */
int pviommu_domain_sync_map(struct pviommu_domain *domain, u64 iova, size_t size)
{
	return PVIOMMU_SYNC_AT_ONCE ? 0 :
	       pviommu_iotlb_sync_map(&domain->domain, iova, size);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_sync_map);

static void pviommu_domain_free(struct iommu_domain *dom)
{
	struct pviommu_domain *domain = to_pviommu_domain(dom);
	struct pviommu_aperture *aperture = domain->aperture;

	/*
	 * The core has detached the domain. Should it ever not have, the host
	 * must not read a table in memory that is someone else's.
	 */
	if (aperture) {
		mutex_lock(&aperture->attach_lock);
		if (aperture->domain == domain)
			aperture_block(aperture);
		mutex_unlock(&aperture->attach_lock);
		pviommu_table_destroy(&domain->table);
	}

	free_page((unsigned long)domain->ranges);
	kfree(domain);
}

/**
 * pviommu_aperture_report_fault() - have a DMA fault handled by who asked for it
 * @aperture: the aperture
 * @dev: a device behind it
 * @iova: where it went
 * @write: it was a write
 *
 * Context: May sleep.
 * Return: whether it was handled. If not, it should be logged.
 */
bool pviommu_aperture_report_fault(struct pviommu_aperture *aperture,
				   struct device *dev, u64 iova, bool write)
{
	bool handled = false;

	/* Handlers do not sleep and do not attach: IOMMUs call them in interrupts. */
	mutex_lock(&aperture->attach_lock);
	if (aperture->domain)
		handled = !report_iommu_fault(&aperture->domain->domain, dev, iova,
					      write ? IOMMU_FAULT_WRITE :
						      IOMMU_FAULT_READ);
	mutex_unlock(&aperture->attach_lock);
	return handled;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_report_fault);

/**
 * pviommu_aperture_shutdown() - block an aperture, at the end of this kernel
 * @aperture: the aperture
 *
 * Whoever has the lock, and may have been stopped with it, is not waited for. Without
 * it the aperture is blocked all the same, though who is attaching to it
 * at this moment may enable it again; what maps into it is refused by the host
 * instead of here.
 *
 * Context: Any but interrupts.
 */
void pviommu_aperture_shutdown(struct pviommu_aperture *aperture)
{
	bool locked = mutex_trylock(&aperture->attach_lock);

	pviommu_host_disable(aperture->id);
	if (locked && aperture->domain)
		domain_set_state(aperture->domain, PVIOMMU_REFUSED);
	if (locked)
		mutex_unlock(&aperture->attach_lock);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_shutdown);

const struct iommu_domain_ops pviommu_domain_ops = {
	.attach_dev		= pviommu_attach_dev,
	.map_pages		= pviommu_map_pages,
	.unmap_pages		= pviommu_unmap_pages,
	.flush_iotlb_all	= pviommu_flush_iotlb_all,
	PVIOMMU_SYNC_MAP_OP(pviommu_iotlb_sync_map)
	.iotlb_sync		= pviommu_iotlb_sync,
	.iova_to_phys		= pviommu_iova_to_phys,
	.free			= pviommu_domain_free,
};
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_ops);

/* There is one, for all times. */
static void pviommu_blocked_free(struct iommu_domain *blocked)
{
}

static const struct iommu_domain_ops pviommu_blocked_ops = {
	.attach_dev		= pviommu_attach_blocked,
	.free			= pviommu_blocked_free,
};

struct iommu_domain pviommu_blocked_domain = {
	.type			= IOMMU_DOMAIN_BLOCKED,
	.ops			= &pviommu_blocked_ops,
};
EXPORT_SYMBOL_IF_KUNIT(pviommu_blocked_domain);

static struct pviommu_domain *domain_alloc(void)
{
	struct pviommu_domain *domain;

	domain = kzalloc(sizeof(*domain), GFP_KERNEL);
	if (!domain)
		return NULL;

	domain->ranges = (struct pviommu_range *)__get_free_page(GFP_KERNEL);
	if (!domain->ranges) {
		kfree(domain);
		return NULL;
	}

	spin_lock_init(&domain->flush_lock);
	/* No IOVA is in it. */
	domain->domain.geometry.aperture_start = 1;
	domain->domain.geometry.aperture_end = 0;
	domain->domain.geometry.force_aperture = true;
	return domain;
}

/**
 * pviommu_domain_alloc_private() - make a domain for an aperture that no core knows
 * @aperture: the aperture
 *
 * It is mapped in, and freed, by its operations.
 *
 * Context: May sleep.
 * Return: the domain, which nothing follows yet; or NULL without memory.
 */
struct pviommu_domain *pviommu_domain_alloc_private(struct pviommu_aperture *aperture)
{
	struct pviommu_domain *domain = domain_alloc();

	if (!domain)
		return NULL;
	domain->domain.type = IOMMU_DOMAIN_UNMANAGED;
	domain->domain.ops = &pviommu_domain_ops;
	if (domain_finalise(domain, aperture)) {
		pviommu_domain_free(&domain->domain);
		return NULL;
	}
	return domain;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_alloc_private);

/**
 * pviommu_domain_alloc_paging() - make a paging domain
 * @dev: one of the devices that it is for, as the domain's geometry is that of the
 *	device's window. NULL is refused but by PVIOMMU_DOMAINS_LATE: then it becomes
 *	that of the first device attached to it, and is empty until then.
 *
 * Context: May sleep.
 * Return: the domain, with an empty table, attached to nothing; or an ERR_PTR().
 */
struct iommu_domain *pviommu_domain_alloc_paging(struct device *dev)
{
	struct pviommu_endpoint *endpoint;
	struct pviommu_domain *domain;

	if (!dev && !PVIOMMU_DOMAINS_LATE)
		return ERR_PTR(-EINVAL);

	domain = domain_alloc();
	if (!domain)
		return ERR_PTR(-ENOMEM);

	if (dev) {
		endpoint = dev_iommu_priv_get(dev);
		if (domain_finalise(domain, endpoint->aperture)) {
			pviommu_domain_free(&domain->domain);
			return ERR_PTR(-ENOMEM);
		}
	}
	return &domain->domain;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_alloc_paging);
