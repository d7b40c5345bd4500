// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/pviommu: the VMM's side. include/uapi/linux/pviommu.h documents every
 * ioctl and tabulates its errors.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include <asm/pviommu_hook.h>

#include "pviommu.h"

union ioctl_buffer {
	u32 size;
	struct pviommu_info info;
	struct pviommu_bind_vm bind_vm;
	struct pviommu_create_aperture create_aperture;
	struct pviommu_attach attach;
	struct pviommu_detach detach;
	struct pviommu_reset reset;
	struct pviommu_stats stats;
	struct pviommu_mark_dirty mark_dirty;
	struct pviommu_reclaim reclaim;
};

/**
 * struct ioctl_op - an ioctl
 * @size: of the structure as this kernel knows it
 * @min_size: of its first version
 * @cmd: ioctl number
 * @unbound: answered before a VM is bound, too
 * @copy_out: bytes to copy back when it succeeds
 * @execute: does it; the buffer holds what user space gave, zero beyond
 */
struct ioctl_op {
	unsigned int size;
	unsigned int min_size;
	unsigned int cmd;
	bool unbound;
	bool copy_out;
	int (*execute)(struct pviommu_vm *vm, union ioctl_buffer *buf);
};

static int ioctl_info(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	struct pviommu_info *cmd = &buf->info;

	if (cmd->flags)
		return -EOPNOTSUPP;

	cmd->out_abi_version = PVIOMMU_ABI_VERSION;
	cmd->out_max_apertures = PVIOMMU_MAX_APERTURES;
	cmd->out_features = 0;
	cmd->out_max_window = PVIOMMU_MAX_WINDOW;
	return 0;
}

static int ioctl_bind_vm(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	const struct pviommu_bind_vm *cmd = &buf->bind_vm;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;
	return pviommu_vm_bind(vm, cmd->vm_fd);
}

static int ioctl_create_aperture(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	struct pviommu_create_aperture *cmd = &buf->create_aperture;
	struct pviommu_aperture *ap;
	int ret = 0;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;

	ap = pviommu_aperture_create(vm, cmd->base, cmd->length, cmd->budget);
	if (IS_ERR(ap))
		return PTR_ERR(ap);

	mutex_lock(&vm->lock);
	if (vm->nr_apertures == PVIOMMU_MAX_APERTURES) {
		ret = -ENOSPC;
	} else {
		ap->id = vm->nr_apertures;
		vm->apertures[ap->id] = ap;
		cmd->out_aperture_id = ap->id;
		pviommu_debugfs_add_aperture(ap);
		/* Pairs with the acquire in pviommu_vm_aperture(). */
		smp_store_release(&vm->nr_apertures, ap->id + 1);
	}
	mutex_unlock(&vm->lock);

	if (ret)
		pviommu_aperture_destroy(ap);
	return ret;
}

static int ioctl_attach(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	const struct pviommu_attach *cmd = &buf->attach;

	if ((cmd->flags & ~PVIOMMU_ATTACH_ON_ENABLE) || cmd->host.__reserved ||
	    cmd->guest.__reserved)
		return -EOPNOTSUPP;
	return pviommu_device_attach(vm, cmd);
}

static int ioctl_detach(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	const struct pviommu_detach *cmd = &buf->detach;

	if (cmd->flags || cmd->__reserved || cmd->host.__reserved)
		return -EOPNOTSUPP;
	return pviommu_device_detach(vm, cmd);
}

static int ioctl_reset(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	const struct pviommu_reset *cmd = &buf->reset;
	struct pviommu_aperture *ap;
	u32 id;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;

	if (cmd->aperture_id != PVIOMMU_APERTURE_ALL) {
		ap = pviommu_vm_aperture(vm, cmd->aperture_id);
		if (!ap)
			return -ENOENT;
		pviommu_aperture_reset(ap);
		return 0;
	}
	for (id = 0; (ap = pviommu_vm_aperture(vm, id)); id++)
		pviommu_aperture_reset(ap);
	return 0;
}

static int ioctl_stats(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	struct pviommu_stats *cmd = &buf->stats;
	struct pviommu_aperture_stats stats;
	struct pviommu_aperture *ap;
	u32 len;

	if (cmd->flags)
		return -EOPNOTSUPP;
	ap = pviommu_vm_aperture(vm, cmd->aperture_id);
	if (!ap)
		return -ENOENT;

	mutex_lock(&ap->lock);
	pviommu_aperture_stats(ap, &stats);
	mutex_unlock(&ap->lock);

	len = min_t(u32, cmd->stats_len, sizeof(stats));
	if (copy_to_user(u64_to_user_ptr(cmd->stats_uptr), &stats, len))
		return -EFAULT;
	cmd->stats_len = sizeof(stats);
	return 0;
}

static int ioctl_mark_dirty(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	struct pviommu_mark_dirty *cmd = &buf->mark_dirty;
	struct pviommu_aperture *ap;
	int ret = 0;
	u32 id;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;

	cmd->out_pages = 0;
	if (cmd->aperture_id == PVIOMMU_APERTURE_ALL) {
		for (id = 0; (ap = pviommu_vm_aperture(vm, id)); id++)
			ret = pviommu_dirty_mark_mapped(ap, &cmd->out_pages) ?: ret;
	} else {
		ap = pviommu_vm_aperture(vm, cmd->aperture_id);
		if (!ap)
			return -ENOENT;
		ret = pviommu_dirty_mark_mapped(ap, &cmd->out_pages);
	}
	cmd->out_lost = atomic64_read(&vm->dirty_lost);
	return ret;
}

static int ioctl_reclaim(struct pviommu_vm *vm, union ioctl_buffer *buf)
{
	struct pviommu_reclaim *cmd = &buf->reclaim;
	struct pviommu_aperture *ap;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;

	if (cmd->aperture_id == PVIOMMU_APERTURE_ALL) {
		cmd->out_pages = pviommu_reclaim_vm(vm, cmd->pages);
		return 0;
	}
	ap = pviommu_vm_aperture(vm, cmd->aperture_id);
	if (!ap)
		return -ENOENT;
	cmd->out_pages = pviommu_reclaim(ap, cmd->pages);
	return 0;
}

#define IOCTL_OP(_NAME, _name, _last, _unbound, _copy_out)		\
	[PVIOMMU_CMD_##_NAME] = {					\
		.size = sizeof(struct pviommu_##_name),			\
		.min_size = offsetofend(struct pviommu_##_name, _last),	\
		.cmd = PVIOMMU_##_NAME,					\
		.unbound = (_unbound),					\
		.copy_out = (_copy_out),				\
		.execute = ioctl_##_name,				\
	}

static const struct ioctl_op ioctl_ops[] = {
	IOCTL_OP(INFO, info, out_max_window, true, true),
	IOCTL_OP(BIND_VM, bind_vm, __reserved, true, false),
	IOCTL_OP(CREATE_APERTURE, create_aperture, __reserved, false, true),
	IOCTL_OP(ATTACH, attach, guest, false, false),
	IOCTL_OP(DETACH, detach, host, false, false),
	IOCTL_OP(RESET, reset, __reserved, false, false),
	IOCTL_OP(STATS, stats, stats_uptr, false, true),
	IOCTL_OP(MARK_DIRTY, mark_dirty, out_lost, false, true),
	IOCTL_OP(RECLAIM, reclaim, out_pages, false, true),
};

static long pviommu_fops_ioctl(struct file *file, unsigned int cmd,
			       unsigned long arg)
{
	void __user *ubuf = (void __user *)arg;
	struct pviommu_vm *vm = file->private_data;
	unsigned int nr = _IOC_NR(cmd);
	const struct ioctl_op *op;
	union ioctl_buffer buf = {};
	u32 usize;
	int ret;

	if (nr >= ARRAY_SIZE(ioctl_ops))
		return -ENOTTY;
	op = &ioctl_ops[array_index_nospec(nr, ARRAY_SIZE(ioctl_ops))];
	if (op->cmd != cmd)
		return -ENOTTY;

	/* A forked child has the file, but neither the VM nor its memory. */
	if (vm->mm != current->mm)
		return -EPERM;

	if (get_user(usize, (u32 __user *)ubuf))
		return -EFAULT;
	if (usize < op->min_size)
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&buf, op->size, ubuf, usize);
	if (ret)
		return ret;
	/* The size was read twice. */
	buf.size = usize;

	/* Set once, and for good. */
	if (!op->unbound && !READ_ONCE(vm->vm_file))
		return -ENXIO;

	ret = op->execute(vm, &buf);
	if (!ret && op->copy_out &&
	    copy_to_user(ubuf, &buf, min(usize, op->size)))
		return -EFAULT;
	return ret;
}

static int pviommu_fops_open(struct inode *inode, struct file *file)
{
	struct pviommu_vm *vm = pviommu_vm_open();

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	file->private_data = vm;
	return nonseekable_open(inode, file);
}

static int pviommu_fops_release(struct inode *inode, struct file *file)
{
	pviommu_vm_close(file->private_data);
	return 0;
}

static const struct file_operations pviommu_fops = {
	.owner = THIS_MODULE,
	.open = pviommu_fops_open,
	.release = pviommu_fops_release,
	.unlocked_ioctl = pviommu_fops_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice pviommu_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pviommu",
	.fops = &pviommu_fops,
	.mode = 0600,
};

static int __init pviommu_init(void)
{
	int ret;

	pviommu_debugfs_init();
	ret = pviommu_reclaim_start();
	if (ret)
		goto err_debugfs;
	ret = pviommu_device_init();
	if (ret)
		goto err_reclaim;
	ret = pviommu_hook_install(KVM_HC_PVIOMMU, pviommu_hypercall);
	if (ret)
		goto err_device;
	ret = misc_register(&pviommu_misc);
	if (ret)
		goto err_hook;
	return 0;

err_hook:
	pviommu_hook_remove();
err_device:
	pviommu_device_exit();
err_reclaim:
	pviommu_reclaim_end();
err_debugfs:
	pviommu_debugfs_exit();
	return ret;
}
module_init(pviommu_init);

static void __exit pviommu_exit(void)
{
	misc_deregister(&pviommu_misc);
	pviommu_hook_remove();
	pviommu_device_exit();
	pviommu_reclaim_end();
	pviommu_debugfs_exit();
}
module_exit(pviommu_exit);

MODULE_DESCRIPTION("Paravirtual IOMMU for KVM guests: host side");
MODULE_LICENSE("GPL");
