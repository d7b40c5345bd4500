// SPDX-License-Identifier: GPL-2.0-only
/*
 * Statistics for people: /sys/kernel/debug/pviommu/vm-<pid>-<n>/aperture-<id>,
 * a line "name value" for each field of struct pviommu_aperture_stats. No ABI:
 * programs use PVIOMMU_STATS.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "pviommu.h"

static struct dentry *root;
static atomic_t nr_vms;

static int aperture_show(struct seq_file *seq, void *unused)
{
	struct pviommu_aperture *ap = seq->private;
	struct pviommu_aperture_stats stats;

	/* Who has it may wait for a sync that the VMM stalls. */
	if (mutex_lock_interruptible(&ap->lock))
		return -EINTR;
	pviommu_aperture_stats(ap, &stats);
	mutex_unlock(&ap->lock);

#define show(field) \
	seq_printf(seq, #field " %llu\n", (unsigned long long)stats.field)
	show(pinned);
	show(pinned_peak);
	show(budget);
	show(charged);
	show(hypercalls);
	show(syncs);
	show(sync_pages);
	show(mapped);
	show(map_calls);
	show(unmapped);
	show(unmap_calls);
	show(flushes);
	show(refused);
	show(resets);
	show(enabled);
	show(devices);
	show(faults);
	show(fault_iova);
	show(shadow_leaves);
	show(noncoherent);
	show(waiting);
	show(taken);
	show(large);
	show(large_mapped);
	show(large_broken);
	show(direct);
	show(reclaims);
	show(reclaimed);
	show(moved);
#undef show
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(aperture);

void pviommu_debugfs_init(void)
{
	root = debugfs_create_dir("pviommu", NULL);
}

void pviommu_debugfs_exit(void)
{
	debugfs_remove(root);
}

/**
 * pviommu_debugfs_add_vm() - a directory for a VM
 * @vm: by the process that has it
 */
void pviommu_debugfs_add_vm(struct pviommu_vm *vm)
{
	char name[32];

	snprintf(name, sizeof(name), "vm-%d-%u", task_tgid_nr(current),
		 atomic_inc_return(&nr_vms));
	vm->debugfs = debugfs_create_dir(name, root);
}

void pviommu_debugfs_remove_vm(struct pviommu_vm *vm)
{
	debugfs_remove(vm->debugfs);
}

/**
 * pviommu_debugfs_add_aperture() - a file for an aperture
 * @ap: goes after its VM's directory
 */
void pviommu_debugfs_add_aperture(struct pviommu_aperture *ap)
{
	char name[32];

	snprintf(name, sizeof(name), "aperture-%u", ap->id);
	debugfs_create_file(name, 0400, ap->vm->debugfs, ap, &aperture_fops);
}
