// SPDX-License-Identifier: GPL-2.0-only
/*
 * An aperture's IOMMU domain: the only writer of its page table.
 *
 * Leaves are of 4 KiB, unless the caller knows better. VT-d makes a 2 MiB leaf of any
 * 512 aligned contiguous pages that it is given in one call, and a later unmap of a
 * part takes all of it and walks the mapped memory as if it were a page table; AMD's
 * v1 table makes a leaf of any power of two. So the page sizes of the domain are cut
 * down to 4 KiB and 2 MiB (VT-d adds 1 GiB again when a group is attached), and a call
 * never maps as much as 2 MiB: but for pviommu_domain_map_large(), which maps exactly
 * that. What it has mapped is unmapped in one piece, too.
 *
 * Where small pages were mapped the drivers keep a table, when all of it is empty. To
 * make room for a large leaf VT-d's frees that before it flushes: a device that walks
 * it would find whatever is in that page by then. It does better when 2 MiB are
 * unmapped in one call: the table is freed after our flush. So that is done first. It
 * must not be a hole that is unmapped, since that grows (see undo_map()), so a page is
 * mapped before. AMD's v1 table needs none of this, and comes to no harm.
 *
 * Unmapping is in two steps. The caller clears PTEs with pviommu_domain_unmap(), as
 * often as it likes, flushes once with pviommu_domain_flush(), and unpins only
 * then. Meanwhile no group may leave the domain: on VT-d a group that is leaving
 * is not flushed any more some time before it stops to translate. So the domain's
 * lock is held from the first step to the last, shared: vCPUs map and unmap side by side,
 * since the IOMMU core lets them as long as no two do it with the same IOVA. While groups
 * move it is held exclusively; and while AMD's page table gets another level, since for a
 * moment some would then map below the old root and others below the new one. Nobody
 * waits for the VMM's memory with it, be it to pin pages or to read a table: that can
 * take for ever.
 *
 * That lock is ours, and a VMM can move a group, too: iommufd attaches, detaches and
 * replaces under nothing but the IOMMU core's group->mutex. So before a flush, and
 * after it, each group's mutex is taken once. Before: on VT-d a group that comes back,
 * since the core could not replace our domain after all, or a device that is plugged
 * into a group, translates some time before it is flushed. After: one that leaves is
 * not flushed any more, but has stopped to translate, and was flushed, when its
 * mutex is free again. AMD's driver needs neither: it flushes for a whole unit, and
 * counts a device as one of the domain's from before to after it translates.
 *
 * A flush also frees the tables that VT-d's driver has emptied, and at once: a group
 * that leaves meanwhile would walk freed memory until it has stopped to translate. So
 * before such a flush comes one of everything, and another look.
 *
 * A group that was found elsewhere has left, and stays away until it is detached and
 * attached anew: nobody else has our domain to attach it to.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/bitmap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/percpu-rwsem.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pviommu.h"

/* AMD's v1 table begins with three levels, of nine bits each above those of a page. */
#define GROWN_AT_FIRST	(BIT_ULL(39) - 1)
#define GROWN_ONCE	(BIT_ULL(48) - 1)

/**
 * struct domain_group - a group that was attached to a domain
 * @list: in pviommu_domain::groups
 * @group: kept by its devices
 * @dev: one that was its device when it was attached; its memory is kept
 * @taken: bit 0: it was found in another domain
 */
struct domain_group {
	struct list_head list;
	struct iommu_group *group;
	struct device *dev;
	unsigned long taken;
};

/**
 * pviommu_domain_init() - prepare a domain that does not exist yet
 * @domain: zeroed
 * @kvm: the VM, kept by the caller for as long as @domain is used
 * @base: first IOVA of the window, bytes: nothing will be mapped outside of it
 * @npages: pages of the window
 *
 * Return: 0 or -ENOMEM.
 */
int pviommu_domain_init(struct pviommu_domain *domain, struct kvm *kvm,
			u64 base, u64 npages)
{
	int ret = percpu_init_rwsem(&domain->lock);

	if (ret)
		return ret;
	INIT_LIST_HEAD(&domain->groups);
	domain->kvm = kvm;
	domain->base = base;
	domain->npages = npages;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_init);

/**
 * pviommu_domain_exit() - undo pviommu_domain_init()
 * @domain: after pviommu_domain_free()
 */
void pviommu_domain_exit(struct pviommu_domain *domain)
{
	percpu_free_rwsem(&domain->lock);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_exit);

/* The 2 MiB of the window that an IOVA is in; the window begins with one. */
static unsigned long unit_of(const struct pviommu_domain *domain, u64 iova)
{
	return (iova - domain->base) / SZ_2M;
}

/* Bits of other vCPUs are beside it, and it is mostly set. */
static inline void note_table(struct pviommu_domain *domain, u64 iova)
{
	unsigned long unit = unit_of(domain, iova);

	if (!test_bit(unit, domain->tables))
		set_bit(unit, domain->tables);
}

static int alloc_tables(struct pviommu_domain *domain)
{
	u64 units = DIV_ROUND_UP_ULL(domain->npages << PAGE_SHIFT, SZ_2M);

	domain->tables = NULL;
	if (!IS_ALIGNED(domain->base, SZ_2M))
		return 0;
	domain->tables = kvcalloc(BITS_TO_LONGS(units), sizeof(long),
				  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	return domain->tables ? 0 : -ENOMEM;
}

/*
 * Make a domain ours. Takes over @iommu, if that fails too.
 */
VISIBLE_IF_KUNIT int pviommu_domain_adopt(struct pviommu_domain *domain,
					  struct iommu_domain *iommu)
{
	if (alloc_tables(domain)) {
		iommu_domain_free(iommu);
		return -ENOMEM;
	}

	iommu->pgsize_bitmap = SZ_4K | (iommu->pgsize_bitmap & SZ_2M);
	iommu_set_fault_handler(iommu, pviommu_fault_handler, NULL);
	domain->iommu = iommu;
	domain->grown = GROWN_AT_FIRST;
	domain->noncoherent = false;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_adopt);

/**
 * pviommu_domain_create() - allocate a domain that suits a device
 * @domain: to be filled in
 * @dev: a device behind an IOMMU
 *
 * Return: 0 or an errno.
 */
int pviommu_domain_create(struct pviommu_domain *domain, struct device *dev)
{
	struct iommu_domain *iommu = iommu_paging_domain_alloc(dev);

	/* Whatever the driver says for a device that it does not translate for. */
	if (IS_ERR(iommu))
		return PTR_ERR(iommu) == -ENOMEM ? -ENOMEM : -EXDEV;
	return pviommu_domain_adopt(domain, iommu);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_create);

static void set_noncoherent(struct pviommu_domain *domain, bool noncoherent)
{
	struct kvm *kvm = domain->kvm;
	int idx;

	if (domain->noncoherent == noncoherent)
		return;

	/* KVM may have to walk the memslots. */
	idx = srcu_read_lock(&kvm->srcu);
	if (noncoherent)
		kvm_arch_register_noncoherent_dma(kvm);
	else
		kvm_arch_unregister_noncoherent_dma(kvm);
	srcu_read_unlock(&kvm->srcu, idx);
	domain->noncoherent = noncoherent;
}

/**
 * pviommu_domain_free() - free a domain that no group is attached to
 * @domain: with nothing mapped any more
 */
void pviommu_domain_free(struct pviommu_domain *domain)
{
	if (!domain->iommu)
		return;
	set_noncoherent(domain, false);
	iommu_set_fault_handler(domain->iommu, NULL, NULL);
	iommu_domain_free(domain->iommu);
	domain->iommu = NULL;
	kvfree(domain->tables);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_free);

/**
 * pviommu_domain_covers() - can the IOMMU translate all of a window?
 * @domain: the domain
 * @base: first IOVA, bytes
 * @npages: pages of the window
 *
 * VT-d knows how wide a group's unit is only when the group is attached.
 *
 * Return: whether it can, as far as is known.
 */
bool pviommu_domain_covers(const struct pviommu_domain *domain, u64 base,
			   u64 npages)
{
	const struct iommu_domain_geometry *geo = &domain->iommu->geometry;

	return base >= geo->aperture_start &&
	       base + (npages << PAGE_SHIFT) - 1 <= geo->aperture_end;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_covers);

/* Called by the IOMMU core under group->mutex. Ends with the first that is elsewhere. */
static int is_elsewhere(struct device *dev, void *ours)
{
	if (iommu_get_domain_for_dev(dev) == ours)
		return 0;
	dev_warn_ratelimited(dev, "pviommu: its IOMMU group was taken out of its aperture, through VFIO or iommufd. It reaches what it was put into, or nothing\n");
	return 1;
}

/* Wait until the group is not being moved, and see where it is. */
static void look_at_group(struct pviommu_domain *domain,
			  struct domain_group *member)
{
	if (!test_bit(0, &member->taken) &&
	    iommu_group_for_each_dev(member->group, domain->iommu, is_elsewhere) &&
	    !test_and_set_bit(0, &member->taken))
		atomic_inc(&domain->nr_taken);
}

static noinline void look_at_groups(struct pviommu_domain *domain)
{
	struct domain_group *member;

	percpu_rwsem_assert_held(&domain->lock);

	list_for_each_entry(member, &domain->groups, list)
		look_at_group(domain, member);
}

/* Were there groups, and are they all gone? */
static bool is_deserted(const struct pviommu_domain *domain)
{
	return domain->nr_groups &&
	       atomic_read(&domain->nr_taken) == domain->nr_groups;
}

/*
 * The same, without a wait for moves: nothing that is mapped meanwhile needs one. Only
 * when no group seems to be left is there a look, which tells for certain.
 */
static inline bool seems_deserted(struct pviommu_domain *domain)
{
	const struct domain_group *member;

	list_for_each_entry(member, &domain->groups, list) {
		if (!test_bit(0, &member->taken) &&
		    iommu_get_domain_for_dev(member->dev) == domain->iommu)
			return false;
	}
	look_at_groups(domain);
	return is_deserted(domain);
}

/**
 * pviommu_domain_taken() - has somebody else moved groups out of a domain?
 * @domain: the domain
 * @all: set if there are groups, and none is left
 *
 * Return: number of groups that were attached to it and are in another one now.
 */
unsigned int pviommu_domain_taken(struct pviommu_domain *domain, bool *all)
{
	unsigned int nr;

	percpu_down_read(&domain->lock);
	look_at_groups(domain);
	nr = atomic_read(&domain->nr_taken);
	*all = is_deserted(domain);
	percpu_up_read(&domain->lock);
	return nr;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_taken);

/*
 * Does a group's IOMMU translate as many bits as that of the groups which are there?
 * VT-d trims a domain to what its newest group can do, and frees the top levels of
 * the page table while the others' hardware still walks them. Tried on a domain that
 * nobody else has.
 */
static int check_width(const struct pviommu_domain *domain,
		       struct iommu_group *group, struct device *dev)
{
	struct iommu_domain *scratch = iommu_paging_domain_alloc(dev);
	int ret;

	if (IS_ERR(scratch))
		return PTR_ERR(scratch);

	ret = iommu_attach_group(scratch, group);
	if (!ret) {
		if (scratch->geometry.aperture_end !=
		    domain->iommu->geometry.aperture_end)
			ret = -EMEDIUMTYPE;
		iommu_detach_group(scratch, group);
	}
	iommu_domain_free(scratch);
	return ret;
}

/**
 * pviommu_domain_attach() - move a group from its owner's domain to this one
 * @domain: the domain
 * @group: a group whose DMA ownership VFIO has claimed
 * @dev: one of them
 * @base: first IOVA of the window that will be used, bytes
 * @npages: pages of the window
 *
 * Between the two the group is in the core's blocking domain, and there it stays
 * when this fails; but a VMM can move it meanwhile, and then it is left to that.
 *
 * VT-d forgets that it has to flush for a device some time before it stops to
 * translate for it. VFIO's own locks keep others from unmapping meanwhile, and we do
 * not have them: what a VMM unmaps through VFIO just now its device may still reach.
 * To keep the device from DMA for so long is no way out: a VMM can undo that.
 *
 * Return: 0 or an errno; -EMEDIUMTYPE if the group's IOMMU cannot use the domain,
 * -EADDRNOTAVAIL if it cannot translate the window, -EBUSY if somebody else was
 * quicker to attach it to a domain.
 */
int pviommu_domain_attach(struct pviommu_domain *domain,
			  struct iommu_group *group, struct device *dev,
			  u64 base, u64 npages)
{
	const struct iommu_domain_ops *ops = domain->iommu->ops;
	struct domain_group *member;
	int ret = 0;

	member = kzalloc(sizeof(*member), GFP_KERNEL_ACCOUNT);

	percpu_down_write(&domain->lock);
	/*
	 * The domain argument is ignored; whatever is there is replaced. Without memory,
	 * too: a guest that takes charge must not leave the group where it was.
	 */
	iommu_detach_group(NULL, group);
	if (!member)
		ret = -ENOMEM;
	else if (domain->nr_groups)
		ret = check_width(domain, group, dev);
	if (!ret)
		ret = iommu_attach_group(domain->iommu, group);
	if (!ret && !pviommu_domain_covers(domain, base, npages)) {
		iommu_detach_group(domain->iommu, group);
		ret = -EADDRNOTAVAIL;
	}
	if (!ret) {
		member->group = group;
		member->dev = get_device(dev);
		list_add_tail(&member->list, &domain->groups);
		domain->nr_groups++;
	}
	percpu_up_write(&domain->lock);
	if (ret)
		kfree(member);

	/* VT-d says the second for a unit without a free domain id. */
	if (pviommu_is_misfit(ret))
		ret = -EMEDIUMTYPE;
	else if (ret == -ENOSPC)
		ret = -ENOMEM;
	if (ret)
		return ret;

	/*
	 * KVM lets a guest's cache attributes be ignored as long as no device
	 * can do no-snoop DMA, so either the IOMMU enforces snooping or KVM
	 * has to know. IOMMU_CACHE does neither. After the attach, as VFIO does:
	 * VT-d looks at the devices that it has. Once enforced the domain takes
	 * no device that cannot.
	 */
	if (!ops->enforce_cache_coherency ||
	    !ops->enforce_cache_coherency(domain->iommu))
		set_noncoherent(domain, true);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_attach);

/**
 * pviommu_domain_detach() - leave a group blocked
 * @domain: the domain
 * @group: a group that was attached to it
 *
 * iommu_detach_group() evicts whichever domain is there. If ours was replaced
 * behind our back, the group is the VMM's business, and is left where it is. If that
 * happens after we have looked, the VMM's domain is evicted: the device is blocked, and
 * when the VMM takes its own domain out later, the core finds nothing to do. The group
 * cannot have another owner by then, since VFIO's file is kept.
 *
 * On return no device of the group uses the domain any more.
 */
void pviommu_domain_detach(struct pviommu_domain *domain,
			   struct iommu_group *group)
{
	struct domain_group *member;

	percpu_down_write(&domain->lock);
	list_for_each_entry(member, &domain->groups, list) {
		if (member->group == group)
			break;
	}
	if (!list_entry_is_head(member, &domain->groups, list)) {
		look_at_group(domain, member);
		if (!test_bit(0, &member->taken))
			iommu_detach_group(domain->iommu, group);
		else
			atomic_dec(&domain->nr_taken);
		list_del(&member->list);
		domain->nr_groups--;
		put_device(member->dev);
		kfree(member);
	}
	percpu_up_write(&domain->lock);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_detach);

/**
 * pviommu_domain_holes() - which parts of a window a group cannot use
 * @group: the group
 * @base: first IOVA of the window, bytes
 * @npages: pages in the window
 * @holes: PVIOMMU_MAX_HOLES elements; filled in ascending order, whole pages
 *
 * Return: the number of holes, or -ENOSPC if there are too many, or -ENOMEM.
 */
int pviommu_domain_holes(struct iommu_group *group, u64 base, u64 npages,
			 struct pviommu_hole *holes)
{
	u64 last = base + (npages << PAGE_SHIFT) - 1;
	struct iommu_resv_region *region, *next;
	LIST_HEAD(regions);
	int ret, nr = 0;

	ret = iommu_get_group_resv_regions(group, &regions);
	if (ret)
		goto out;

	/* Sorted by their start. */
	list_for_each_entry(region, &regions, list) {
		u64 start = max_t(u64, region->start, base) & PAGE_MASK;
		u64 end;

		/* Meant for the time before an operating system takes over. */
		if (region->type == IOMMU_RESV_DIRECT_RELAXABLE)
			continue;
		if (!region->length ||
		    check_add_overflow(region->start, region->length - 1, &end))
			continue;
		end = min(end | ~PAGE_MASK, last);
		if (start > end)
			continue;

		if (nr && start <= holes[nr - 1].base + holes[nr - 1].length) {
			struct pviommu_hole *prev = &holes[nr - 1];

			prev->length = max(prev->length, end + 1 - prev->base);
			continue;
		}
		if (nr == PVIOMMU_MAX_HOLES) {
			ret = -ENOSPC;
			goto out;
		}
		holes[nr++] = (struct pviommu_hole){
			.base = start,
			.length = end + 1 - start,
		};
	}
	ret = nr;
out:
	list_for_each_entry_safe(region, next, &regions, list)
		kfree(region);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_holes);

/**
 * pviommu_domain_check_direct() - must a group reach host memory of its own?
 * @group: the group
 *
 * The core keeps VFIO from owning such devices, so none is expected to get here.
 *
 * Return: 0; -EADDRINUSE if it must; -ENOMEM.
 */
int pviommu_domain_check_direct(struct iommu_group *group)
{
	struct iommu_resv_region *region, *next;
	LIST_HEAD(regions);
	int ret;

	ret = iommu_get_group_resv_regions(group, &regions);
	list_for_each_entry_safe(region, next, &regions, list) {
		if (!ret && region->type == IOMMU_RESV_DIRECT)
			ret = -EADDRINUSE;
		kfree(region);
	}
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_check_direct);

/*
 * Clear PTEs. False if not exactly @size bytes were cleared: then nothing is known
 * about the range.
 */
static bool unmap(struct pviommu_domain *domain, u64 iova, size_t size,
		  struct iommu_iotlb_gather *gather)
{
	size_t unmapped;

	percpu_rwsem_assert_held(&domain->lock);

	/*
	 * VT-d flushes on its own whenever the ranges of a gather differ in size
	 * or are not adjacent. "Queued" tells it that its caller will flush.
	 */
	gather->queued = true;
	unmapped = iommu_unmap_fast(domain->iommu, iova, size, gather);
	if (likely(unmapped == size)) {
		/* VT-d's driver has put its table on the gather's list. */
		if (domain->tables && size == SZ_2M && IS_ALIGNED(iova, SZ_2M))
			clear_bit(unit_of(domain, iova), domain->tables);
		return true;
	}

	pr_err_ratelimited("IOMMU driver unmapped %#zx of %#zx bytes at %#llx\n",
			   unmapped, size, iova);
	return false;
}

static void flush(struct pviommu_domain *domain, u64 iova, size_t size,
		  struct iommu_iotlb_gather *gather)
{
	percpu_rwsem_assert_held(&domain->lock);

	gather->queued = false;
	gather->pgsize = SZ_4K;
	iommu_iotlb_gather_add_range(gather, iova, size);
	/* See above for all of them. */
	look_at_groups(domain);
	if (!list_empty(&gather->freelist)) {
		iommu_flush_iotlb_all(domain->iommu);
		look_at_groups(domain);
	}
	iommu_iotlb_sync(domain->iommu, gather);
	look_at_groups(domain);
}

/**
 * pviommu_domain_unmap_begin() - before the first pviommu_domain_unmap()
 * @domain: the domain; locked on return, shared
 * @gather: to be initialised
 */
void pviommu_domain_unmap_begin(struct pviommu_domain *domain,
				struct iommu_iotlb_gather *gather)
{
	percpu_down_read(&domain->lock);
	iommu_iotlb_gather_init(gather);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_unmap_begin);

/**
 * pviommu_domain_unmap() - clear PTEs, without a flush
 * @domain: the domain, after pviommu_domain_unmap_begin()
 * @iova: bytes
 * @size: bytes, at most 2 MiB; all of it is mapped; none of it large, or all of one
 *	large leaf
 * @gather: of pviommu_domain_unmap_begin()
 *
 * Return: true if it was done. Otherwise the pages must stay pinned.
 */
bool pviommu_domain_unmap(struct pviommu_domain *domain, u64 iova, size_t size,
			  struct iommu_iotlb_gather *gather)
{
	return unmap(domain, iova, size, gather);
}

/**
 * pviommu_domain_flush() - one IOTLB flush for all that was unmapped
 * @domain: the domain; unlocked on return
 * @iova: first byte that was unmapped
 * @size: bytes from there to the last one
 * @gather: of pviommu_domain_unmap_begin()
 *
 * On return no device reaches through what was unmapped.
 */
void pviommu_domain_flush(struct pviommu_domain *domain, u64 iova, size_t size,
			  struct iommu_iotlb_gather *gather)
{
	flush(domain, iova, size, gather);
	percpu_up_read(&domain->lock);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_flush);

/*
 * What a failed iommu_map() left behind. On VT-d the core's own unroll does not
 * see PTEs that were set before the failure; and unmapping a hole there grows to
 * 2 MiB and takes the neighbours along. So take out exactly what is present.
 */
static noinline bool undo_map(struct pviommu_domain *domain, u64 iova,
			      unsigned int npages)
{
	struct iommu_iotlb_gather gather;
	bool clean = true;
	unsigned int i;

	iommu_iotlb_gather_init(&gather);
	for (i = 0; i < npages; i++) {
		u64 at = iova + i * SZ_4K;

		if (iommu_iova_to_phys(domain->iommu, at))
			clean &= unmap(domain, at, SZ_4K, &gather);
	}
	flush(domain, iova, npages * SZ_4K, &gather);
	return clean;
}

/* The same for 2 MiB: small pages or a large leaf, all of it goes. */
static bool undo_map_large(struct pviommu_domain *domain, u64 iova)
{
	struct iommu_iotlb_gather gather;
	bool present = false, clean;
	unsigned int i;

	for (i = 0; i < SZ_2M / SZ_4K && !present; i++)
		present = iommu_iova_to_phys(domain->iommu, iova + i * SZ_4K);
	if (!present)
		return true;

	iommu_iotlb_gather_init(&gather);
	clean = unmap(domain, iova, SZ_2M, &gather);
	flush(domain, iova, SZ_2M, &gather);
	return clean;
}

/*
 * Lock, to map pages up to @last, bytes, inclusive. Exclusively, and true, if the table may have
 * to grow for that, which it does once or twice: it does not shrink.
 */
static inline bool lock_to_map(struct pviommu_domain *domain, u64 last)
{
	if (unlikely(last > READ_ONCE(domain->grown))) {
		percpu_down_write(&domain->lock);
		return true;
	}
	percpu_down_read(&domain->lock);
	return false;
}

/* @ret: what has come of it: a table that could not be had may have to grow yet. */
static inline void unlock_mapped(struct pviommu_domain *domain, u64 last,
				 bool grows, int ret)
{
	if (likely(!grows)) {
		percpu_up_read(&domain->lock);
		return;
	}
	if (!ret)
		WRITE_ONCE(domain->grown, max(domain->grown, last > GROWN_ONCE ?
							     U64_MAX : GROWN_ONCE));
	percpu_up_write(&domain->lock);
}

static int prot_of(bool write, bool read)
{
	return IOMMU_CACHE | (read ? IOMMU_READ : 0) | (write ? IOMMU_WRITE : 0);
}

/* Physically contiguous pages become one element. Returns their number. */
static unsigned int fill_sg(struct scatterlist *sg, struct page **pages,
			    unsigned int npages)
{
	unsigned int i, n, nents = 0;

	for (i = 0; i < npages; i += n) {
		n = 1;
		while (i + n < npages &&
		       page_to_pfn(pages[i + n]) == page_to_pfn(pages[i]) + n)
			n++;
		sg_set_page(&sg[nents++], pages[i], n * SZ_4K, 0);
	}
	return nents;
}

/**
 * pviommu_domain_map() - map pinned pages, or none of them
 * @domain: the domain
 * @iova: of the first page, bytes; nothing is mapped there
 * @pages: the pages, in the order of their IOVAs
 * @npages: number of pages, at most PVIOMMU_DOMAIN_MAX_PAGES
 * @sg: as many elements of scratch memory; a single page needs none
 * @write: the device may write
 * @read: the device may read
 * @stuck: set if it failed and the IOMMU driver could not undo what it had begun:
 *	all pages must stay pinned then
 *
 * One call to the IOMMU core, since emulated IOMMUs want a flush after each.
 * Nothing is mapped once all groups were taken: -ENOTCONN.
 *
 * Context: may sleep; one caller at a time for each IOVA.
 * Return: 0, or an errno: unless @stuck, nothing can be reached then.
 */
int pviommu_domain_map(struct pviommu_domain *domain, u64 iova,
		       struct page **pages, unsigned int npages,
		       struct scatterlist *sg, bool write, bool read, bool *stuck)
{
	int prot = prot_of(write, read);
	size_t size = npages * SZ_4K;
	u64 last = iova + size - 1;
	unsigned int nents;
	ssize_t mapped;
	int ret = 0;
	bool grows;

	*stuck = false;
	grows = lock_to_map(domain, last);
	if (seems_deserted(domain)) {
		ret = -ENOTCONN;
		goto unlock;
	}
	/* It is less than 2 MiB. */
	if (domain->tables) {
		note_table(domain, iova);
		if (npages > 1)
			note_table(domain, last);
	}
	/* A single page is the most frequent case, and needs no list. */
	if (npages == 1) {
		mapped = iommu_map(domain->iommu, iova, page_to_phys(pages[0]),
				   size, prot, GFP_KERNEL_ACCOUNT) ?: size;
	} else {
		nents = fill_sg(sg, pages, npages);
		mapped = iommu_map_sg(domain->iommu, iova, sg, nents, prot,
				      GFP_KERNEL_ACCOUNT);
	}
	if (mapped != size) {
		*stuck = !undo_map(domain, iova, npages);
		ret = mapped < 0 ? mapped : -EINVAL;
	}
unlock:
	unlock_mapped(domain, last, grows, ret);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_map);

/**
 * pviommu_domain_takes_large() - can there be 2 MiB leaves?
 * @domain: the domain
 *
 * Return: whether pviommu_domain_map_large() may be called for multiples of 2 MiB.
 */
bool pviommu_domain_takes_large(const struct pviommu_domain *domain)
{
	/* VT-d's driver says it when a group is attached. */
	return domain->tables && domain->iommu->pgsize_bitmap & SZ_2M;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_domain_takes_large);

/* An empty table of small pages is in the way of a large leaf. */
static int remove_table(struct pviommu_domain *domain, u64 iova,
			phys_addr_t phys, int prot)
{
	struct iommu_iotlb_gather gather;
	bool unmapped;
	int ret;

	if (!test_bit(unit_of(domain, iova), domain->tables))
		return 0;
	ret = iommu_map(domain->iommu, iova, phys, SZ_4K, prot,
			GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;

	iommu_iotlb_gather_init(&gather);
	unmapped = unmap(domain, iova, SZ_2M, &gather);
	flush(domain, iova, SZ_2M, &gather);
	return unmapped ? 0 : -EIO;
}

/**
 * pviommu_domain_map_large() - map 2 MiB of pinned pages as one leaf, or none of them
 * @domain: the domain; pviommu_domain_takes_large()
 * @iova: a multiple of 2 MiB, bytes; nothing is mapped in all of the 2 MiB
 * @page: the first of 512 that are side by side, its physical address a multiple of
 *	2 MiB
 * @write: the device may write
 * @read: the device may read
 * @stuck: as for pviommu_domain_map()
 *
 * Context: may sleep; one caller at a time for each IOVA.
 * Return: 0, or an errno, as for pviommu_domain_map(): unless @stuck, nothing can be
 * reached then. From now on pviommu_domain_unmap() takes all of it, or fails.
 */
int pviommu_domain_map_large(struct pviommu_domain *domain, u64 iova,
			     struct page *page, bool write, bool read,
			     bool *stuck)
{
	phys_addr_t phys = page_to_phys(page);
	int prot = prot_of(write, read);
	u64 last = iova + SZ_2M - 1;
	bool grows;
	int ret;

	*stuck = false;
	grows = lock_to_map(domain, last);
	if (seems_deserted(domain)) {
		ret = -ENOTCONN;
		goto unlock;
	}
	ret = remove_table(domain, iova, phys, prot) ?:
	      iommu_map(domain->iommu, iova, phys, SZ_2M, prot,
			GFP_KERNEL_ACCOUNT);
	if (ret)
		*stuck = !undo_map_large(domain, iova);
unlock:
	unlock_mapped(domain, last, grows, ret);
	return ret;
}
