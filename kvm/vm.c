// SPDX-License-Identifier: GPL-2.0-only
/*
 * One VM's pviommu: how a vCPU finds it, and how it ends.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <asm/pviommu_hook.h>

#include "pviommu.h"

static DEFINE_HASHTABLE(vm_hash, 6);
static DEFINE_SPINLOCK(vm_hash_lock);

static struct pviommu_vm *vm_lookup(struct kvm *kvm)
{
	struct pviommu_vm *vm;

	hash_for_each_possible_rcu(vm_hash, vm, hash, (unsigned long)kvm,
				   lockdep_is_held(&vm_hash_lock)) {
		if (vm->kvm == kvm)
			return vm;
	}
	return NULL;
}

/**
 * pviommu_vm_open() - a pviommu for the calling process, without a VM yet
 *
 * Return: the object or an ERR_PTR.
 */
struct pviommu_vm *pviommu_vm_open(void)
{
	struct pviommu_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);

	if (!vm)
		return ERR_PTR(-ENOMEM);

	/* Not mmget(): that would keep the VMM's memory, guest RAM and all. */
	mmgrab(current->mm);
	vm->mm = current->mm;
	pviommu_memlock_init(&vm->memlock, vm->mm);
	INIT_HLIST_NODE(&vm->hash);
	refcount_set(&vm->users, 1);
	init_completion(&vm->idle);
	mutex_init(&vm->lock);
	pviommu_reclaim_init(vm);
	pviommu_device_init_vm(vm);
	return vm;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_vm_open);

/**
 * pviommu_vm_tryget() - keep a pviommu from being torn down
 * @vm: found in a list
 *
 * Return: false if it is being closed already.
 */
bool pviommu_vm_tryget(struct pviommu_vm *vm)
{
	return refcount_inc_not_zero(&vm->users);
}

/**
 * pviommu_vm_get_by_kvm() - find a VM's pviommu
 * @kvm: the VM
 *
 * Return: the pviommu, to be put; NULL if the VM has none or it is being closed.
 */
struct pviommu_vm *pviommu_vm_get_by_kvm(struct kvm *kvm)
{
	struct pviommu_vm *vm;

	/* The flavour that takes no calls: every hypercall comes here. */
	rcu_read_lock_sched();
	vm = vm_lookup(kvm);
	if (vm && !pviommu_vm_tryget(vm))
		vm = NULL;
	rcu_read_unlock_sched();
	return vm;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_vm_get_by_kvm);

/**
 * pviommu_vms_for_each() - call a function for every bound VM
 * @function: must not sleep
 * @data: for it
 *
 * Context: any.
 */
void pviommu_vms_for_each(void (*function)(struct pviommu_vm *vm, void *data),
			  void *data)
{
	struct pviommu_vm *vm;
	int bucket;

	rcu_read_lock();
	hash_for_each_rcu(vm_hash, bucket, vm, hash) {
		if (!pviommu_vm_tryget(vm))
			continue;
		function(vm, data);
		pviommu_vm_put(vm);
	}
	rcu_read_unlock();
}

/* Have @kvm's vCPUs find @vm. */
VISIBLE_IF_KUNIT int pviommu_vm_publish(struct pviommu_vm *vm, struct kvm *kvm)
{
	int ret = -EBUSY;

	spin_lock(&vm_hash_lock);
	if (!vm_lookup(kvm)) {
		vm->kvm = kvm;
		hash_add_rcu(vm_hash, &vm->hash, (unsigned long)kvm);
		ret = 0;
	}
	spin_unlock(&vm_hash_lock);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_vm_publish);

VISIBLE_IF_KUNIT void pviommu_vm_withdraw(struct pviommu_vm *vm)
{
	spin_lock(&vm_hash_lock);
	hash_del_rcu(&vm->hash);
	spin_unlock(&vm_hash_lock);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_vm_withdraw);

/*
 * What can fail comes first: a vCPU that has once found @vm may go on with it for as long as it
 * likes, and must not come to see another VM there.
 */
static int bind_to(struct pviommu_vm *vm, struct kvm *kvm)
{
	int ret;

	vm->kvm = kvm;
	ret = pviommu_moved_start(vm);
	if (ret)
		return ret;
	ret = pviommu_vm_publish(vm, kvm);
	if (ret)
		pviommu_moved_stop(vm);
	return ret;
}

/**
 * pviommu_vm_bind() - PVIOMMU_BIND_VM
 * @vm: the pviommu
 * @vm_fd: a KVM VM's file descriptor
 *
 * Return: 0, or an errno as tabulated there.
 */
int pviommu_vm_bind(struct pviommu_vm *vm, int vm_fd)
{
	struct file *file = fget(vm_fd);
	struct kvm *kvm;
	int ret = -EBUSY;

	if (!file)
		return -EBADF;
	if (!file_is_kvm(file)) {
		fput(file);
		return -EINVAL;
	}

	kvm = file->private_data;
	mutex_lock(&vm->lock);
	if (kvm->mm != current->mm)
		ret = -EPERM;
	else if (!pviommu_hook_serves(kvm) || kvm->dirty_ring_size)
		ret = -EOPNOTSUPP;
	else if (!vm->vm_file)
		ret = bind_to(vm, kvm);
	if (!ret) {
		vm->vm_file = file;
		pviommu_debugfs_add_vm(vm);
	}
	mutex_unlock(&vm->lock);

	if (ret)
		fput(file);
	return ret;
}

/**
 * pviommu_vm_close() - end it: the devices are left blocked, nothing stays pinned
 * @vm: without users but hypercalls and notifiers; gone on return
 *
 * Context: any process; sleeps until the VM's vCPUs have left.
 */
void pviommu_vm_close(struct pviommu_vm *vm)
{
	unsigned int i;

	if (vm->vm_file)
		pviommu_vm_withdraw(vm);
	pviommu_vm_put(vm);
	wait_for_completion(&vm->idle);
	WRITE_ONCE(vm->closing, true);
	pviommu_moved_stop(vm);
	pviommu_reclaim_stop(vm);
	pviommu_device_exit_vm(vm);

	pviommu_debugfs_remove_vm(vm);
	for (i = 0; i < vm->nr_apertures; i++) {
		mutex_lock(&vm->lock);
		pviommu_device_detach_all(vm->apertures[i]);
		mutex_unlock(&vm->lock);
		pviommu_aperture_destroy(vm->apertures[i]);
	}

	if (vm->vm_file)
		fput(vm->vm_file);
	pviommu_memlock_trim(&vm->memlock);
	mutex_destroy(&vm->memlock.lock);
	mmdrop(vm->mm);
	mutex_destroy(&vm->lock);
	/* A vCPU may be looking through the table of VMs right now. */
	synchronize_rcu();
	kfree(vm);
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_vm_close);
