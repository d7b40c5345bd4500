// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices: taken out of VFIO's hands, put into an aperture, left blocked.
 *
 * A VMM proves that it owns a device with the VFIO device file that it has open:
 * one from a VFIO group, or a device cdev that it has bound to an iommufd.
 * As long as that file is open VFIO has claimed DMA ownership of the IOMMU group
 * and nobody else gets it, so it is kept open until the device is
 * detached. iommu_detach_group() does not look at the domain that it is told: a
 * late one would evict the group's next owner.
 *
 * VFIO's own domain is never put back: what the VMM mapped into it was meant for
 * another design. The group stays in the core's blocking domain until VFIO lets
 * it go.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vfio_pci_core.h>
#include <linux/workqueue.h>

#include "pviommu.h"

/* Where a group is that has joined an aperture. */
enum device_state {
	DEVICE_CONFINED,	/* in the aperture's domain */
	DEVICE_WAITING,		/* in VFIO's, until the guest takes charge */
	DEVICE_BLOCKED,		/* in none, or the VMM's: it could not be moved */
};

/**
 * struct pviommu_device - a device in an aperture
 * @list: in device_list
 * @siblings: in pviommu_aperture::devices once attached; pviommu_vm::lock
 * @vm: owner
 * @ap: the aperture
 * @pdev: the device, kept
 * @group: its IOMMU group, kept; NULL until it is known
 * @vfio_file: VFIO's device file, kept
 * @guest: where the guest finds it
 * @attached: in the aperture, as far as the guest can see; device_list_lock
 * @unbound: VFIO's driver is leaving it
 * @stay: the VMM wants the group to be left to VFIO until the guest takes charge
 * @state: of the group; under pviommu_vm::lock and pviommu_aperture::lock
 * @fault_source: counts its faults
 */
struct pviommu_device {
	struct list_head list;
	struct list_head siblings;
	struct pviommu_vm *vm;
	struct pviommu_aperture *ap;
	struct pci_dev *pdev;
	struct iommu_group *group;
	struct file *vfio_file;
	struct pviommu_endpoint guest;
	bool attached;
	bool unbound;
	bool stay;
	enum device_state state;
	struct pviommu_fault_source fault_source;
};

/* All devices of all VMs, those about to be attached too. */
static LIST_HEAD(device_list);
static DEFINE_MUTEX(device_list_lock);

static bool endpoint_ok(const struct pviommu_endpoint *guest)
{
	return guest->depth && guest->depth <= PVIOMMU_PATH_MAX_DEPTH &&
	       !memchr_inv(guest->path + guest->depth, 0,
			   PVIOMMU_PATH_MAX_DEPTH - guest->depth);
}

/* A group file does not keep the group in VFIO's hands. */
static bool is_vfio_device_file(struct file *file)
{
	return vfio_file_is_valid(file) && !vfio_file_is_group(file);
}

/*
 * A cdev may be open without owning anything: it has to be bound to an iommufd, and of
 * all that are open for a device one can be. Until then VFIO lets nobody read from it,
 * not even nothing; from then on it is bound until it is closed.
 */
static bool may_access(struct file *file)
{
	loff_t pos = 0;

	return !file->f_op->read(file, NULL, 0, &pos);
}

/*
 * Is @file, a VFIO device file, that of @pdev? Every driver built on vfio-pci-core
 * has its error handler and keeps the core's device as driver data.
 */
static int check_vfio_owner(struct pci_dev *pdev, struct file *file)
{
	const struct pci_error_handlers *handler;
	struct vfio_pci_core_device *vdev;

	device_lock_assert(&pdev->dev);

	handler = pdev->driver ? pdev->driver->err_handler : NULL;
	if (!handler ||
	    handler->error_detected != vfio_pci_core_aer_err_detected)
		return -ENODEV;

	vdev = dev_get_drvdata(&pdev->dev);
	if (!vdev)
		return -ENODEV;
	if (!pviommu_vfio_file_is_of(file, &vdev->vdev))
		return -EPERM;
	return may_access(file) ? 0 : -ENOTCONN;
}

static void device_put(struct pviommu_device *dev)
{
	iommu_group_put(dev->group);
	fput(dev->vfio_file);
	pci_dev_put(dev->pdev);
	kfree(dev);
}

static void device_free(struct pviommu_device *dev)
{
	mutex_lock(&device_list_lock);
	list_del(&dev->list);
	mutex_unlock(&device_list_lock);
	device_put(dev);
}

/*
 * Enter a device into the list, so that it has one owner and the notifier can
 * find it. Takes over @pdev and @file if it succeeds.
 */
static struct pviommu_device *device_claim(struct pviommu_aperture *ap,
					   struct pci_dev *pdev,
					   struct file *file,
					   const struct pviommu_attach *cmd)
{
	struct pviommu_device *dev, *other;
	int ret;

	dev = kzalloc(sizeof(*dev), GFP_KERNEL_ACCOUNT);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	dev->vm = ap->vm;
	dev->ap = ap;
	dev->pdev = pdev;
	dev->vfio_file = file;
	dev->guest = cmd->guest;
	dev->stay = cmd->flags & PVIOMMU_ATTACH_ON_ENABLE;
	dev->fault_source = (struct pviommu_fault_source){
		.dev = &pdev->dev,
		.ap = ap,
		.guest = &dev->guest,
	};
	INIT_LIST_HEAD(&dev->siblings);

	/*
	 * Under the device's lock, so that an unbind comes before or after. But
	 * an unbind that is under way has it, and waits for @file.
	 */
	if (!device_trylock(&pdev->dev)) {
		kfree(dev);
		return ERR_PTR(-EAGAIN);
	}
	ret = check_vfio_owner(pdev, file);
	if (ret)
		goto out_unlock;

	dev->group = iommu_group_get(&pdev->dev);
	if (!dev->group) {
		ret = -EXDEV;
		goto out_unlock;
	}

	mutex_lock(&device_list_lock);
	list_for_each_entry(other, &device_list, list) {
		if (other->pdev == pdev)
			ret = -EEXIST;
		else if (other->group == dev->group && other->ap != ap)
			ret = -EBUSY;
		else if (other->vm == ap->vm &&
			 !memcmp(&other->guest, &cmd->guest,
				 sizeof(other->guest)))
			ret = -EEXIST;
		if (ret)
			break;
	}
	if (!ret)
		list_add_tail(&dev->list, &device_list);
	mutex_unlock(&device_list_lock);

out_unlock:
	device_unlock(&pdev->dev);
	if (ret) {
		if (dev->group)
			iommu_group_put(dev->group);
		kfree(dev);
		return ERR_PTR(ret);
	}
	return dev;
}

/* The first device of the group that is in the aperture, or NULL. */
static struct pviommu_device *find_sibling(struct pviommu_aperture *ap,
					   struct iommu_group *group)
{
	struct pviommu_device *dev;

	list_for_each_entry(dev, &ap->devices, siblings) {
		if (dev->group == group)
			return dev;
	}
	return NULL;
}

/* Before and after a device changes its state, and when it comes and goes. */
static void count_state(const struct pviommu_device *dev, int by)
{
	struct pviommu_aperture *ap = dev->ap;

	pviommu_aperture_assert_locked(ap);

	if (dev->state != DEVICE_CONFINED)
		ap->nr_unconfined += by;
	if (dev->state == DEVICE_WAITING)
		ap->stats.waiting += by;
}

static void set_group_state(struct pviommu_aperture *ap,
			    struct iommu_group *group, enum device_state state)
{
	struct pviommu_device *dev;

	list_for_each_entry(dev, &ap->devices, siblings) {
		if (dev->group != group)
			continue;
		count_state(dev, -1);
		dev->state = state;
		count_state(dev, 1);
	}
}

static int device_join(struct pviommu_device *dev)
{
	struct pviommu_aperture *ap = dev->ap;
	struct pviommu_device *sibling;
	int ret = 0;
	bool stay;

	lockdep_assert_held(&ap->vm->lock);

	if (READ_ONCE(dev->unbound))
		return -ENODEV;

	pviommu_aperture_lock(ap);
	stay = dev->stay && !ap->touched;
	dev->state = stay ? DEVICE_WAITING : DEVICE_CONFINED;
	sibling = find_sibling(ap, dev->group);
	if (!sibling)
		ret = pviommu_group_join(ap, dev->group, &dev->pdev->dev, stay);
	else if (stay != (sibling->state == DEVICE_WAITING))
		ret = -EEXIST;
	else
		dev->state = sibling->state;
	if (!ret) {
		list_add_tail(&dev->siblings, &ap->devices);
		ap->stats.devices++;
		count_state(dev, 1);
		pviommu_fault_add(&dev->fault_source);
		mutex_lock(&device_list_lock);
		dev->attached = true;
		mutex_unlock(&device_list_lock);
	}
	pviommu_aperture_unlock(ap);
	if (!ret)
		pviommu_watch_start(ap);
	return ret;
}

/**
 * pviommu_device_confine() - move what was left to VFIO into the aperture
 * @ap: the aperture, locked, and its VM
 *
 * A group for which that fails is blocked, and tried again next time.
 *
 * Return: 0, or the last errno, which is logged.
 */
int pviommu_device_confine(struct pviommu_aperture *ap)
{
	struct pviommu_device *dev;
	int err, ret = 0;

	lockdep_assert_held(&ap->vm->lock);
	pviommu_aperture_assert_locked(ap);

	ap->touched = true;
	list_for_each_entry(dev, &ap->devices, siblings) {
		/* Once for each group. */
		if (dev->state == DEVICE_CONFINED ||
		    find_sibling(ap, dev->group) != dev)
			continue;
		err = pviommu_group_move(ap, dev->group, &dev->pdev->dev);
		set_group_state(ap, dev->group,
				err ? DEVICE_BLOCKED : DEVICE_CONFINED);
		ret = err ?: ret;
	}
	return ret;
}

static bool is_bus_master(struct pci_dev *pdev)
{
	u16 command;

	/* All ones while it is powered down, or being reset. */
	return !pci_read_config_word(pdev, PCI_COMMAND, &command) &&
	       !PCI_POSSIBLE_ERROR(command) && command & PCI_COMMAND_MASTER;
}

/**
 * pviommu_device_blame() - tell of devices that the guest uses, to no avail
 * @ap: an aperture that is not enabled; its VM is locked
 * @seconds: for how long the guest has had the chance
 *
 * Return: whether there were any.
 */
bool pviommu_device_blame(struct pviommu_aperture *ap, unsigned int seconds)
{
	struct pviommu_device *dev;
	bool found = false;

	lockdep_assert_held(&ap->vm->lock);

	list_for_each_entry(dev, &ap->devices, siblings) {
		if (dev->state == DEVICE_WAITING || !is_bus_master(dev->pdev))
			continue;
		pci_warn(dev->pdev, "pviommu: blocked: its guest uses it, but has not enabled aperture %u in %u seconds. Does the guest lack the pviommu driver, or load it too late? 'pviommu run --fallback=pin' gives a guest the device without, at the price of all its memory being pinned\n",
			 ap->id, seconds);
		found = true;
	}
	return found;
}

/**
 * pviommu_device_attach() - PVIOMMU_ATTACH
 * @vm: the caller's pviommu
 * @cmd: reserved fields are zero
 *
 * Return: 0, or an errno as tabulated there.
 */
int pviommu_device_attach(struct pviommu_vm *vm,
			  const struct pviommu_attach *cmd)
{
	struct pviommu_aperture *ap = pviommu_vm_aperture(vm, cmd->aperture_id);
	struct pviommu_device *dev;
	struct pci_dev *pdev;
	struct file *file;
	int ret;

	if (!ap)
		return -ENOENT;
	if (!endpoint_ok(&cmd->guest))
		return -EINVAL;

	file = fget(cmd->vfio_fd);
	if (!file)
		return -EBADF;
	if (!is_vfio_device_file(file)) {
		ret = -EINVAL;
		goto err_file;
	}

	pdev = pci_get_domain_bus_and_slot(cmd->host.segment, cmd->host.bus,
					   cmd->host.devfn);
	if (!pdev) {
		ret = -ENODEV;
		goto err_file;
	}

	dev = device_claim(ap, pdev, file, cmd);
	if (IS_ERR(dev)) {
		ret = PTR_ERR(dev);
		goto err_pdev;
	}

	mutex_lock(&vm->lock);
	ret = device_join(dev);
	if (ret)
		device_free(dev);
	mutex_unlock(&vm->lock);
	return ret;

err_pdev:
	pci_dev_put(pdev);
err_file:
	fput(file);
	return ret;
}

static void device_leave(struct pviommu_device *dev)
{
	struct pviommu_aperture *ap = dev->ap;

	lockdep_assert_held(&ap->vm->lock);

	list_del(&dev->siblings);
	pviommu_fault_remove(&dev->fault_source);

	/*
	 * Blocked first, so that a sync that is stalled under the aperture's
	 * lock does not keep the device going.
	 */
	if (dev->state == DEVICE_CONFINED && !find_sibling(ap, dev->group))
		pviommu_domain_detach(&ap->domain, dev->group);

	pviommu_aperture_lock(ap);
	ap->stats.devices--;
	count_state(dev, -1);
	if (list_empty(&ap->devices)) {
		pviommu_aperture_drop_all(ap);
		pviommu_group_last_left(ap);
		pviommu_remove_abandoned(ap);
		/* Another device may come to the same place. */
		pviommu_fault_forget(ap);
	}
	pviommu_aperture_unlock(ap);

	device_free(dev);
}

/**
 * pviommu_device_detach() - PVIOMMU_DETACH
 * @vm: the caller's pviommu
 * @cmd: reserved fields are zero
 *
 * Return: 0, or an errno as tabulated there.
 */
int pviommu_device_detach(struct pviommu_vm *vm,
			  const struct pviommu_detach *cmd)
{
	struct pviommu_aperture *ap = pviommu_vm_aperture(vm, cmd->aperture_id);
	struct pviommu_device *dev;
	int ret = -ENOENT;

	if (!ap)
		return -ENOENT;

	mutex_lock(&vm->lock);
	list_for_each_entry(dev, &ap->devices, siblings) {
		if (pci_domain_nr(dev->pdev->bus) == cmd->host.segment &&
		    dev->pdev->bus->number == cmd->host.bus &&
		    dev->pdev->devfn == cmd->host.devfn) {
			device_leave(dev);
			ret = 0;
			break;
		}
	}
	mutex_unlock(&vm->lock);
	return ret;
}

/**
 * pviommu_device_detach_all() - detach all devices of an aperture
 * @ap: the aperture; its VM is locked
 */
void pviommu_device_detach_all(struct pviommu_aperture *ap)
{
	struct pviommu_device *dev, *next;

	list_for_each_entry_safe(dev, next, &ap->devices, siblings)
		device_leave(dev);
}

/**
 * pviommu_device_aperture() - PVIOMMU_OP_ENDPOINT
 * @vm: the guest's pviommu
 * @guest: well-formed
 *
 * Return: the aperture's id, or PVIOMMU_RC_NO_ENDPOINT.
 */
s64 pviommu_device_aperture(struct pviommu_vm *vm,
			    const struct pviommu_endpoint *guest)
{
	s64 ret = PVIOMMU_RC_NO_ENDPOINT;
	struct pviommu_device *dev;

	mutex_lock(&device_list_lock);
	list_for_each_entry(dev, &device_list, list) {
		if (dev->vm == vm && dev->attached &&
		    !memcmp(&dev->guest, guest, sizeof(*guest))) {
			ret = dev->ap->id;
			break;
		}
	}
	mutex_unlock(&device_list_lock);
	return ret;
}

static void unbind_work(struct work_struct *work)
{
	struct pviommu_vm *vm = container_of(work, struct pviommu_vm, unbind);
	struct pviommu_device *dev, *next;
	struct pviommu_aperture *ap;
	u32 id;

	mutex_lock(&vm->lock);
	for (id = 0; (ap = pviommu_vm_aperture(vm, id)); id++) {
		list_for_each_entry_safe(dev, next, &ap->devices, siblings) {
			if (READ_ONCE(dev->unbound))
				device_leave(dev);
		}
	}
	mutex_unlock(&vm->lock);
}

/**
 * pviommu_device_init_vm() - prepare for devices whose driver leaves them
 * @vm: a new one
 */
void pviommu_device_init_vm(struct pviommu_vm *vm)
{
	INIT_WORK(&vm->unbind, unbind_work);
}

/**
 * pviommu_device_exit_vm() - have nobody detach devices by himself any more
 * @vm: without users; not locked
 *
 * Context: sleeps.
 */
void pviommu_device_exit_vm(struct pviommu_vm *vm)
{
	cancel_work_sync(&vm->unbind);
}

/*
 * VFIO's driver is about to leave a device, and will wait until its file is
 * closed. So let go of it; the VMM's own close is asked for by VFIO. A VMM may keep
 * pviommu_vm::lock for long, and this is called under a lock of the whole bus: so a worker
 * waits.
 */
static void device_unbind(struct pci_dev *pdev)
{
	struct pviommu_device *dev;

	mutex_lock(&device_list_lock);
	list_for_each_entry(dev, &device_list, list) {
		if (dev->pdev != pdev)
			continue;
		/* If it is not attached yet, it will not be. */
		WRITE_ONCE(dev->unbound, true);
		/* If it is being closed it lets go by itself. */
		if (pviommu_vm_tryget(dev->vm)) {
			pviommu_queue_work(&dev->vm->unbind);
			pviommu_vm_put(dev->vm);
		}
		break;
	}
	mutex_unlock(&device_list_lock);
}

static int device_notify(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	if (action == BUS_NOTIFY_UNBIND_DRIVER)
		device_unbind(to_pci_dev(data));
	return NOTIFY_DONE;
}

static struct notifier_block device_nb = {
	.notifier_call = device_notify,
};

int pviommu_device_init(void)
{
	return bus_register_notifier(&pci_bus_type, &device_nb);
}

void pviommu_device_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &device_nb);
}
