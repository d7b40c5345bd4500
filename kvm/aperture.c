// SPDX-License-Identifier: GPL-2.0-only
/*
 * An aperture: what a set of devices can reach.
 *
 * It is enabled only while it follows a table of the guest's. Before that, after
 * DISABLE, and after a reset nothing is mapped and nothing is pinned.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "pviommu.h"
#include "stripe.h"
#include "table.h"

/* What one hypercall may take out before it lets the vCPU look up. */
#define DROP_MAX	(8 * PVIOMMU_SYNC_MAX_PAGES)

/**
 * pviommu_aperture_create() - create an aperture, not enabled, without devices
 * @vm: its VM
 * @base: first IOVA, bytes
 * @length: bytes
 * @budget: most pages that may be pinned; 0 for the window
 *
 * Return: the aperture, or an ERR_PTR as tabulated at PVIOMMU_CREATE_APERTURE.
 */
struct pviommu_aperture *pviommu_aperture_create(struct pviommu_vm *vm,
						 u64 base, u64 length,
						 u64 budget)
{
	u64 npages = length >> PAGE_SHIFT;
	struct pviommu_aperture *ap;
	u64 end;

	if (!base || !length || !PAGE_ALIGNED(base) || !PAGE_ALIGNED(length))
		return ERR_PTR(-EINVAL);
	if (length > PVIOMMU_MAX_WINDOW ||
	    check_add_overflow(base, length, &end))
		return ERR_PTR(-EOVERFLOW);
	if (budget > npages)
		return ERR_PTR(-ERANGE);

	ap = kvzalloc(sizeof(*ap), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!ap)
		return ERR_PTR(-ENOMEM);
	if (pviommu_batches_init(&ap->batches))
		goto err_batches;
	if (pviommu_domain_init(&ap->domain, vm->kvm, base, npages))
		goto err_domain;

	ap->vm = vm;
	ap->base = base;
	ap->npages = npages;
	ap->budget = budget ?: npages;
	spin_lock_init(&ap->leaves_lock);
	INIT_LIST_HEAD(&ap->devices);
	pviommu_stripes_init(ap);
	pviommu_watch_init(ap);
	pviommu_fault_init(ap);
	xa_init(&ap->shadow);
	return ap;

err_domain:
	pviommu_batches_exit(&ap->batches);
err_batches:
	kvfree(ap);
	return ERR_PTR(-ENOMEM);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_create);

/**
 * pviommu_aperture_destroy() - free an aperture
 * @ap: without devices, so with nothing pinned
 */
void pviommu_aperture_destroy(struct pviommu_aperture *ap)
{
	pviommu_watch_stop(ap);
	pviommu_shadow_forget(ap);
	pviommu_domain_exit(&ap->domain);
	pviommu_batches_exit(&ap->batches);
	pviommu_stripes_exit(ap);
	kvfree(ap);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_destroy);

/* The directory must be writable RAM from its first byte to its last. */
static s32 check_directory(struct pviommu_aperture *ap, u64 gpa)
{
	u64 nleaves = DIV_ROUND_UP(ap->npages, PVIOMMU_ENTRIES_PER_LEAF);
	struct pviommu_ram ram = {};
	unsigned long hva;
	s32 rc = 0;
	u64 last;

	if (!PAGE_ALIGNED(gpa) ||
	    check_add_overflow(gpa, nleaves * sizeof(u64) - 1, &last))
		return PVIOMMU_RC_BAD_TABLE;

	for (; gpa <= last && !rc; gpa += PAGE_SIZE)
		rc = pviommu_table_hva(ap->vm->kvm, &ram, gpa, &hva);
	return rc;
}

static s64 disable_some(struct pviommu_aperture *ap)
{
	WRITE_ONCE(ap->enabled, false);
	WRITE_ONCE(ap->direct, false);
	if (pviommu_remove_all(ap, DROP_MAX))
		return PVIOMMU_RC_RETRY;
	pviommu_memlock_trim(&ap->vm->memlock);
	/* What the IOMMU driver failed to unmap. */
	return atomic_long_read(&ap->pinned) ? PVIOMMU_RC_HOST_ERROR : 0;
}

/*
 * The guest takes charge of the aperture: whatever was left to VFIO until now moves
 * into it. That needs the VM's lock, under which nobody may wait for the
 * aperture's on a guest's behalf: an unbind waits for it to block a device.
 */
static s64 take_charge(struct pviommu_aperture *ap)
{
	int ret;

	if (!mutex_trylock(&ap->vm->lock))
		return PVIOMMU_RC_RETRY;
	if (!pviommu_aperture_trylock(ap)) {
		mutex_unlock(&ap->vm->lock);
		return PVIOMMU_RC_RETRY;
	}
	ret = pviommu_device_confine(ap);
	pviommu_aperture_unlock(ap);
	mutex_unlock(&ap->vm->lock);

	if (ret == -ENOMEM)
		return PVIOMMU_RC_NO_MEMORY;
	return ret ? PVIOMMU_RC_HOST_ERROR : 0;
}

static s64 check_enable(struct pviommu_aperture *ap, u64 directory)
{
	bool deserted;

	if (!ap->domain.iommu)
		return PVIOMMU_RC_NO_ENDPOINT;
	/* Could have been set up after the VM was bound. */
	if (ap->vm->kvm->dirty_ring_size) {
		pr_err_ratelimited("a VM with a dirty ring cannot enable its aperture\n");
		return PVIOMMU_RC_HOST_ERROR;
	}
	/* There are devices, and the VMM has put all of them elsewhere. */
	pviommu_domain_taken(&ap->domain, &deserted);
	if (deserted)
		return PVIOMMU_RC_HOST_ERROR;
	return check_directory(ap, directory);
}

/**
 * pviommu_aperture_enable() - PVIOMMU_OP_ENABLE
 * @ap: the aperture
 * @directory: GPA of the table's directory
 * @flags: PVIOMMU_ENABLE_*
 *
 * What was mapped before is dropped even when the table stays where it was: a
 * kexec'ed kernel may use the same memory anew.
 *
 * Context: a vCPU of the VM, in its thread.
 * Return: 0 or a PVIOMMU_RC_*. Of those only RETRY, NO_MEMORY and HOST_ERROR may have
 * changed anything: the aperture may be disabled then.
 */
s64 pviommu_aperture_enable(struct pviommu_aperture *ap, u64 directory,
			    u64 flags)
{
	bool charge;
	s64 ret;

	if (flags & ~PVIOMMU_ENABLE_DIRECT)
		return PVIOMMU_RC_BAD_ARG;

	do {
		pviommu_aperture_lock(ap);
		ret = check_enable(ap, directory);
		charge = !ret && ap->nr_unconfined;
		if (!ret && !charge) {
			ap->touched = true;
			ret = disable_some(ap);
			if (!ret) {
				ap->directory = directory;
				WRITE_ONCE(ap->direct,
					   flags & PVIOMMU_ENABLE_DIRECT);
				WRITE_ONCE(ap->enabled, true);
			}
		}
		pviommu_aperture_unlock(ap);
		if (charge)
			ret = take_charge(ap);
	} while (charge && !ret);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_enable);

/**
 * pviommu_aperture_disable() - PVIOMMU_OP_DISABLE
 * @ap: the aperture
 *
 * Return: 0; PVIOMMU_RC_RETRY while there is more to unmap; PVIOMMU_RC_NO_MEMORY or
 * PVIOMMU_RC_HOST_ERROR if something could not be unmapped or moved.
 */
s64 pviommu_aperture_disable(struct pviommu_aperture *ap)
{
	bool charge;
	s64 ret = 0;

	do {
		pviommu_aperture_lock(ap);
		charge = ap->nr_unconfined;
		if (!charge) {
			ap->touched = true;
			ret = disable_some(ap);
		}
		pviommu_aperture_unlock(ap);
		if (charge)
			ret = take_charge(ap);
	} while (charge && !ret);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_disable);

/**
 * pviommu_aperture_drop_all() - disable to the end
 * @ap: the aperture, locked
 */
void pviommu_aperture_drop_all(struct pviommu_aperture *ap)
{
	pviommu_aperture_assert_locked(ap);

	while (disable_some(ap) == PVIOMMU_RC_RETRY)
		;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_drop_all);

/**
 * pviommu_aperture_reset() - PVIOMMU_RESET: disable, on the VMM's behalf
 * @ap: the aperture
 */
void pviommu_aperture_reset(struct pviommu_aperture *ap)
{
	pviommu_aperture_lock(ap);
	pviommu_aperture_drop_all(ap);
	ap->stats.resets++;
	pviommu_aperture_unlock(ap);

	/* The guest that caused them is gone. */
	pviommu_fault_forget(ap);
	pviommu_watch_start(ap);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_reset);

/* A stripe's lock can be held for ever. */
static void add_counters(const struct pviommu_stripe *stripe,
			 struct pviommu_aperture_stats *stats)
{
	const struct pviommu_counters *counters = &stripe->counters;

	stats->shadow_leaves += READ_ONCE(stripe->nr_leaves);
	stats->syncs += READ_ONCE(counters->syncs);
	stats->sync_pages += READ_ONCE(counters->sync_pages);
	stats->mapped += READ_ONCE(counters->mapped);
	stats->map_calls += READ_ONCE(counters->map_calls);
	stats->unmapped += READ_ONCE(counters->unmapped);
	stats->unmap_calls += READ_ONCE(counters->unmap_calls);
	stats->flushes += READ_ONCE(counters->flushes);
	stats->large += READ_ONCE(counters->large);
	stats->large_mapped += READ_ONCE(counters->large_mapped);
	stats->large_broken += READ_ONCE(counters->large_broken);
	stats->reclaimed += READ_ONCE(counters->reclaimed);
	stats->moved += READ_ONCE(counters->moved);
}

/**
 * pviommu_aperture_stats() - the counters
 * @ap: the aperture
 * @stats: filled in
 *
 * A snapshot if no sync is under way. One that is may have pages counted as pinned that are
 * about to be.
 *
 * Context: under @ap's own lock; sleeps.
 */
void pviommu_aperture_stats(struct pviommu_aperture *ap,
			    struct pviommu_aperture_stats *stats)
{
	unsigned int i;
	bool unused;

	lockdep_assert_held(&ap->lock);

	*stats = ap->stats;
	for (i = 0; i < PVIOMMU_STRIPES; i++)
		add_counters(&ap->stripes[i], stats);
	stats->pinned = atomic_long_read(&ap->pinned);
	stats->pinned_peak = atomic_long_read(&ap->pinned_peak);
	stats->budget = ap->budget;
	stats->charged = READ_ONCE(ap->vm->memlock.charged);
	stats->hypercalls = atomic64_read(&ap->hypercalls);
	stats->refused = atomic64_read(&ap->refused);
	stats->enabled = ap->enabled;
	stats->direct = ap->direct;
	stats->noncoherent = ap->domain.noncoherent;
	stats->taken = pviommu_domain_taken(&ap->domain, &unused);
	pviommu_fault_stats(ap, stats);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_stats);
