/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, and nothing else in this directory does. The host
 * module is written for Linux 6.12; what 6.1 lacks it gets here, under 6.12's name
 * where that is possible.
 */
#ifndef KVM_PVIOMMU_COMPAT_H
#define KVM_PVIOMMU_COMPAT_H

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/shrinker.h>
#include <linux/version.h>
#include <linux/vfio.h>

#if KERNEL_VERSION(6, 12, 0) <= LINUX_VERSION_CODE

#include <kunit/static_stub.h>
#include <kunit/visibility.h>

/*
 * Is @file, a VFIO device file, that of @vdev? vfio_file_has_dev() knows group files
 * only; but all files of a device share the device's mapping, so that VFIO can
 * revoke what is mapped through them.
 */
static inline bool pviommu_vfio_file_is_of(const struct file *file,
					   const struct vfio_device *vdev)
{
	return file->f_mapping == vdev->inode->i_mapping;
}

/* Did iommu_attach_group() say that the group's IOMMU cannot use the domain? */
static inline bool pviommu_is_misfit(int err)
{
	return err == -EINVAL;
}

/* Where it is in its file; not of hugetlbfs. */
static inline pgoff_t pviommu_page_index(struct page *page)
{
	return page_to_pgoff(page);
}

/* One page, if it is there: 1 then. The VMM's mmap_lock is held. */
static inline long pviommu_look_at_page(struct mm_struct *mm, unsigned long hva,
					struct page **page)
{
	return get_user_pages_remote(mm, hva, 1, FOLL_NOFAULT, page, NULL);
}

/*
 * NULL without memory. No seeks: what goes costs nobody any I/O to have again, so half of it
 * goes at a time.
 */
static inline struct shrinker *
pviommu_shrinker_register(typeof_member(struct shrinker, count_objects) count,
			  typeof_member(struct shrinker, scan_objects) scan)
{
	struct shrinker *shrinker = shrinker_alloc(0, "pviommu");

	if (!shrinker)
		return NULL;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker->seeks = 0;
	shrinker_register(shrinker);
	return shrinker;
}

static inline void pviommu_shrinker_free(struct shrinker *shrinker)
{
	shrinker_free(shrinker);
}

#else /* 6.1 */

/* Its KUnit cannot test what a module keeps to itself. */
#define VISIBLE_IF_KUNIT	static
#define EXPORT_SYMBOL_IF_KUNIT(symbol)
#define KUNIT_STATIC_STUB_REDIRECT(function, ...)	do { } while (0)

/*
 * Pages of a file system may not be written for as long as a device likes: it would
 * not know, nor wait. GUP sees to that only later.
 */
static inline bool pviommu_may_stay_writable(struct page *page)
{
	const struct page *head = compound_head(page);

	return !READ_ONCE(head->mapping) || PageAnon(page) ||
	       PageSwapBacked(page) || PageHuge(page);
}

/*
 * A page that is pinned for reading may be one that a later write replaces: the zero
 * page, or one of a file that is mapped privately. The guest would write to the
 * copy, and the device read the original. And any number of the guest's frames would
 * share, and overflow, the pin count of the zero page. A pin for writing gets the
 * copy at once; FORCE, where the VMM itself may only read.
 */
static inline int pviommu_pin_user_pages_fast(unsigned long start, int nr,
					      unsigned int gup_flags,
					      struct page **pages)
{
	int i, got;

	if (!(gup_flags & FOLL_WRITE))
		return pin_user_pages_fast(start, nr, gup_flags | FOLL_WRITE |
						      FOLL_FORCE, pages);

	got = pin_user_pages_fast(start, nr, gup_flags, pages);
	if (got <= 0)
		return got;
	for (i = 0; i < got; i++) {
		if (!pviommu_may_stay_writable(pages[i]))
			break;
	}
	unpin_user_pages(pages + i, got - i);
	return i ?: -EFAULT;
}

#define pin_user_pages_fast	pviommu_pin_user_pages_fast

/*
 * A VFIO device file is an anonymous one here, its private data the device. Other
 * files' private data is not that device's address; to be sure, see that they are
 * VFIO's. Built in, no module tells.
 */
static inline bool pviommu_vfio_file_is_of(const struct file *file,
					   const struct vfio_device *vdev)
{
	return file->private_data == vdev;
}

static inline bool vfio_file_is_valid(struct file *file)
{
	const struct module *owner = file->f_op->owner;

	if (vfio_file_is_group(file))
		return true;
	/* That is a container. */
	if (S_ISCHR(file_inode(file)->i_mode))
		return false;
	if (!IS_MODULE(CONFIG_VFIO))
		return !owner;
	return owner && within_module((unsigned long)vfio_file_is_group, owner);
}

/* VT-d has two more, for a unit that does not snoop and one that is too narrow. */
static inline bool pviommu_is_misfit(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP || err == -EFAULT;
}

static inline struct iommu_domain *iommu_paging_domain_alloc(struct device *dev)
{
	if (!iommu_present(dev->bus))
		return ERR_PTR(-ENODEV);
	return iommu_domain_alloc(dev->bus) ?: ERR_PTR(-ENOMEM);
}

static inline int pviommu_lacks_intr_remap(struct device *dev, void *unused)
{
	return !device_iommu_capable(dev, IOMMU_CAP_INTR_REMAP);
}

static inline bool iommu_group_has_isolated_msi(struct iommu_group *group)
{
	return !iommu_group_for_each_dev(group, NULL, pviommu_lacks_intr_remap);
}

/* Memory for page tables is not charged to anybody. */
#define iommu_map(domain, iova, paddr, size, prot, gfp) \
	((void)(gfp), iommu_map(domain, iova, paddr, size, prot))
#define iommu_map_sg(domain, iova, sg, nents, prot, gfp) \
	((void)(gfp), iommu_map_sg(domain, iova, sg, nents, prot))

static inline pgoff_t pviommu_page_index(struct page *page)
{
	return page_to_index(page);
}

static inline long pviommu_look_at_page(struct mm_struct *mm, unsigned long hva,
					struct page **page)
{
	/* By force: else what NUMA balancing looks at just now is not seen. */
	return get_user_pages_remote(mm, hva, 1, FOLL_NOFAULT | FOLL_FORCE,
				     page, NULL, NULL);
}

/* There is one. */
static inline struct shrinker *
pviommu_shrinker_register(typeof_member(struct shrinker, count_objects) count,
			  typeof_member(struct shrinker, scan_objects) scan)
{
	static struct shrinker shrinker;

	shrinker = (struct shrinker){
		.count_objects = count,
		.scan_objects = scan,
	};
	return register_shrinker(&shrinker, "pviommu") ? NULL : &shrinker;
}

static inline void pviommu_shrinker_free(struct shrinker *shrinker)
{
	unregister_shrinker(shrinker);
}

/* There is no private memory. */
static inline bool
kvm_slot_can_be_private(const struct kvm_memory_slot *slot)
{
	return false;
}

#endif

#endif /* KVM_PVIOMMU_COMPAT_H */
