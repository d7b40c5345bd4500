// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tells the administrator of a guest that seems to lack the driver.
 *
 * Without it nobody enables the aperture, and the device stays blocked. Inside
 * the guest that looks like a device that is broken. The sign is a device that
 * has been allowed to be bus master, so that somebody in the guest drives it,
 * while the aperture is not enabled for some time.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/module.h>

#include "pviommu.h"

static unsigned int driver_timeout = 60;
module_param(driver_timeout, uint, 0644);
MODULE_PARM_DESC(driver_timeout,
		 "Seconds after which a device is mentioned in the log that is in use but blocked, since its guest has not enabled the aperture; 0: never (default: 60)");

static unsigned long timeout(unsigned int seconds)
{
	return min(seconds, 24 * 3600U) * HZ;
}

static void watch(struct work_struct *work)
{
	struct pviommu_aperture *ap =
		container_of(work, struct pviommu_aperture, watch.work);
	unsigned int seconds = READ_ONCE(driver_timeout);
	bool empty = false;

	/* Enabled: a reset of the VM begins anew. */
	if (READ_ONCE(ap->enabled) || !seconds)
		return;

	/* A VMM can keep the lock for as long as it likes. */
	if (mutex_trylock(&ap->vm->lock)) {
		empty = list_empty(&ap->devices);
		ap->told = pviommu_device_blame(ap, seconds);
		mutex_unlock(&ap->vm->lock);
	}
	if (!ap->told && !empty)
		queue_delayed_work(system_wq, &ap->watch, timeout(seconds));
}

/**
 * pviommu_watch_init() - prepare to watch an aperture
 * @ap: zeroed
 */
void pviommu_watch_init(struct pviommu_aperture *ap)
{
	INIT_DEFERRABLE_WORK(&ap->watch, watch);
}

/**
 * pviommu_watch_start() - from now on the guest should enable the aperture
 * @ap: has got a device, or its VM was reset
 */
void pviommu_watch_start(struct pviommu_aperture *ap)
{
	unsigned int seconds = READ_ONCE(driver_timeout);

	if (seconds && !READ_ONCE(ap->told))
		mod_delayed_work(system_wq, &ap->watch, timeout(seconds));
}

/**
 * pviommu_watch_stop() - for good
 * @ap: nobody calls pviommu_watch_start() any more
 *
 * Context: sleeps; not under pviommu_vm::lock.
 */
void pviommu_watch_stop(struct pviommu_aperture *ap)
{
	cancel_delayed_work_sync(&ap->watch);
}
