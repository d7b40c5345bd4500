// SPDX-License-Identifier: GPL-2.0-only
/*
 * How full things are, for people: /sys/kernel/debug/pviommu-guest/aperture-<id>, a line
 * "name value" for each. No ABI.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "pviommu.h"

static struct dentry *root;

static int aperture_show(struct seq_file *seq, void *unused)
{
	struct pviommu_aperture *aperture = seq->private;
	struct pviommu_mapper *mapper;

	/* Held, a domain that the core detaches stays; nobody else frees one. */
	mutex_lock(&aperture->attach_lock);
	if (aperture->domain)
		seq_printf(seq, "held_back_pages %llu\n",
			   pviommu_table_nr_dirty(&aperture->domain->table));
	/* Pairs with pviommu_mapper_start(). */
	mapper = smp_load_acquire(&aperture->mapper);
	if (mapper && mapper->domain == aperture->domain) {
		if (mapper->pool)
			pviommu_pool_show(mapper->pool, seq);
		if (mapper->direct)
			pviommu_direct_show(mapper->direct, seq);
	}
	mutex_unlock(&aperture->attach_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(aperture);

void pviommu_debugfs_start(void)
{
	root = debugfs_create_dir("pviommu-guest", NULL);
}

/**
 * pviommu_debugfs_add() - a file for an aperture
 * @aperture: stays until pviommu_debugfs_stop()
 *
 * Context: May sleep.
 */
void pviommu_debugfs_add(struct pviommu_aperture *aperture)
{
	char name[32];

	/* Without a root, as when a test makes apertures, there is none. */
	if (IS_ERR_OR_NULL(root))
		return;
	snprintf(name, sizeof(name), "aperture-%u", aperture->id);
	debugfs_create_file(name, 0400, root, aperture, &aperture_fops);
}

void pviommu_debugfs_stop(void)
{
	debugfs_remove(root);
	root = NULL;
}
