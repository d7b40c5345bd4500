// SPDX-License-Identifier: GPL-2.0-only
/*
 * An aperture's locks. Its leaves are dealt out to stripes, each with a lock, so that vCPUs
 * which sync leaves of different stripes do not wait for each other: neighbours in the window
 * are in different ones. Who needs several takes them in ascending order. Who needs the
 * aperture as a whole takes its own lock first, and then all of them.
 *
 * Who waits for one keeps those that it has, and a VMM can stall any for ever. So only what
 * needs several at a time takes several: statistics need none.
 */
#include <kunit/visibility.h>
#include <linux/bitops.h>
#include <linux/lockdep.h>

#include "stripe.h"

/*
 * Of what lockdep takes for a lock that is around several stripes: without it each set of them
 * would be a chain of its own. That they are taken in ascending order it does not check then.
 */
static struct lock_class_key several_key;

/**
 * pviommu_stripes_init() - prepare an aperture's locks
 * @ap: zeroed
 */
void pviommu_stripes_init(struct pviommu_aperture *ap)
{
	unsigned int i;

	mutex_init(&ap->lock);
	for (i = 0; i < PVIOMMU_STRIPES; i++) {
		mutex_init(&ap->stripes[i].lock);
		INIT_LIST_HEAD(&ap->stripes[i].spare_leaves);
	}
	lockdep_init_map(&ap->several.dep_map, "pviommu_several_stripes",
			 &several_key, 0);
}

/**
 * pviommu_stripes_exit() - undo pviommu_stripes_init()
 * @ap: without users
 */
void pviommu_stripes_exit(struct pviommu_aperture *ap)
{
	unsigned int i;

	for (i = 0; i < PVIOMMU_STRIPES; i++)
		mutex_destroy(&ap->stripes[i].lock);
	mutex_destroy(&ap->lock);
}

/**
 * pviommu_stripes_of_several() - pviommu_stripes_of(), where it is not so easy
 * @first: window page
 * @count: window pages, not none
 *
 * Return: as pviommu_stripes_of().
 */
unsigned long pviommu_stripes_of_several(u64 first, u64 count)
{
	u64 at = first / PVIOMMU_ENTRIES_PER_LEAF;
	u64 last = (first + count - 1) / PVIOMMU_ENTRIES_PER_LEAF;
	unsigned long stripes = 0;

	if (last - at >= PVIOMMU_STRIPES)
		return PVIOMMU_ALL_STRIPES;
	for (; at <= last; at++)
		stripes |= BIT(at % PVIOMMU_STRIPES);
	return stripes;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_stripes_of_several);

/**
 * pviommu_stripes_lock() - lock some
 * @ap: the aperture
 * @stripes: a bit for each
 *
 * Context: sleeps, for as long as a VMM likes.
 */
void pviommu_stripes_lock(struct pviommu_aperture *ap, unsigned long stripes)
{
	unsigned int i;

	lock_map_acquire(&ap->several.dep_map);
	for_each_set_bit(i, &stripes, PVIOMMU_STRIPES)
		mutex_lock_nest_lock(&ap->stripes[i].lock, &ap->several);
}

/**
 * pviommu_stripes_unlock() - undo pviommu_stripes_lock()
 * @ap: the aperture
 * @stripes: a bit for each
 */
void pviommu_stripes_unlock(struct pviommu_aperture *ap, unsigned long stripes)
{
	unsigned int i;

	for_each_set_bit(i, &stripes, PVIOMMU_STRIPES)
		mutex_unlock(&ap->stripes[i].lock);
	lock_map_release(&ap->several.dep_map);
}

/**
 * pviommu_aperture_lock() - lock all of an aperture
 * @ap: the aperture
 *
 * Context: sleeps, for as long as a VMM likes.
 */
void pviommu_aperture_lock(struct pviommu_aperture *ap)
{
	mutex_lock(&ap->lock);
	pviommu_stripes_lock(ap, PVIOMMU_ALL_STRIPES);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_lock);

/**
 * pviommu_aperture_unlock() - undo pviommu_aperture_lock() or pviommu_aperture_trylock()
 * @ap: the aperture
 */
void pviommu_aperture_unlock(struct pviommu_aperture *ap)
{
	pviommu_stripes_unlock(ap, PVIOMMU_ALL_STRIPES);
	mutex_unlock(&ap->lock);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_unlock);

/**
 * pviommu_aperture_trylock() - pviommu_aperture_lock() without a wait
 * @ap: the aperture
 *
 * Return: whether it is locked.
 */
bool pviommu_aperture_trylock(struct pviommu_aperture *ap)
{
	unsigned int i;

	if (!mutex_trylock(&ap->lock))
		return false;
	lock_map_acquire(&ap->several.dep_map);
	for (i = 0; i < PVIOMMU_STRIPES; i++) {
		if (!mutex_trylock(&ap->stripes[i].lock))
			break;
	}
	if (i == PVIOMMU_STRIPES)
		return true;
	pviommu_stripes_unlock(ap, BIT(i) - 1);
	mutex_unlock(&ap->lock);
	return false;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_aperture_trylock);

/**
 * pviommu_aperture_assert_locked() - have lockdep see that all of an aperture is locked
 * @ap: the aperture
 */
void pviommu_aperture_assert_locked(const struct pviommu_aperture *ap)
{
	unsigned int i;

	lockdep_assert_held(&ap->lock);
	for (i = 0; i < PVIOMMU_STRIPES; i++)
		lockdep_assert_held(&ap->stripes[i].lock);
}
