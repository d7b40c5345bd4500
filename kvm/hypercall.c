// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest can ask, and the answers. Documentation/guest-abi.rst describes
 * each operation; include/uapi/linux/pviommu_abi.h lays out the operands.
 */
#include <linux/kvm_para.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "pviommu.h"
#include "table.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* The rare operations are not inlined: their frames are not for all to set up. */

/*
 * Answer into a buffer of the guest's: as much of @data as there is room for.
 * Returns the length that all of it takes.
 */
static s64 answer(struct kvm_vcpu *vcpu, u64 gpa, u64 room, const void *data,
		  size_t len)
{
	room = min_t(u64, room, len);
	if (kvm_vcpu_write_guest(vcpu, gpa, data, room))
		return pviommu_no_ram(vcpu->kvm, gpa, room);
	return len;
}

static noinline_for_stack s64
op_probe(struct kvm_vcpu *vcpu, struct pviommu_vm *vm, const u64 args[3])
{
	/* Pairs with the release in ioctl_create_aperture(). */
	u32 nr_apertures = smp_load_acquire(&vm->nr_apertures);
	const struct pviommu_probe_info info = {
		.version = PVIOMMU_ABI_VERSION,
		.nr_apertures = nr_apertures,
		.features = PVIOMMU_FEATURE_SYNC_LIST | PVIOMMU_FEATURE_EVENTS |
			    PVIOMMU_FEATURE_LARGE | PVIOMMU_FEATURE_DIRECT,
		.sync_max_pages = PVIOMMU_SYNC_MAX_PAGES,
		.sync_max_ranges = PVIOMMU_SYNC_MAX_RANGES,
	};

	if (args[2])
		return PVIOMMU_RC_BAD_ARG;
	return answer(vcpu, args[0], args[1], &info, sizeof(info));
}

static noinline_for_stack s64
op_endpoint(struct pviommu_vm *vm, const u64 args[3])
{
	struct pviommu_endpoint guest = {
		.segment = args[0] >> PVIOMMU_PATH_SEGMENT_SHIFT,
		.root_bus = args[0] >> PVIOMMU_PATH_ROOT_BUS_SHIFT,
		.depth = args[0] >> PVIOMMU_PATH_DEPTH_SHIFT,
	};
	unsigned int i;

	if (args[0] >> (PVIOMMU_PATH_DEPTH_SHIFT + 8) || args[2] ||
	    !guest.depth || guest.depth > PVIOMMU_PATH_MAX_DEPTH)
		return PVIOMMU_RC_BAD_ARG;

	for (i = 0; i < PVIOMMU_PATH_MAX_DEPTH; i++)
		guest.path[i] = args[1] >> (8 * i);
	if (memchr_inv(guest.path + guest.depth, 0,
		       PVIOMMU_PATH_MAX_DEPTH - guest.depth))
		return PVIOMMU_RC_BAD_ARG;

	return pviommu_device_aperture(vm, &guest);
}

static noinline_for_stack s64
op_aperture(struct kvm_vcpu *vcpu, struct pviommu_aperture *ap,
	    const u64 args[3])
{
	struct {
		struct pviommu_aperture_info info;
		struct pviommu_hole holes[PVIOMMU_MAX_HOLES];
	} data = {};
	size_t holes_len;

	if (args[2])
		return PVIOMMU_RC_BAD_ARG;

	mutex_lock(&ap->lock);
	holes_len = ap->nr_holes * sizeof(ap->holes[0]);
	data.info = (struct pviommu_aperture_info){
		.base = ap->base,
		.length = ap->npages << PAGE_SHIFT,
		.budget = ap->budget,
		.nr_holes = ap->nr_holes,
	};
	memcpy(data.holes, ap->holes, holes_len);
	mutex_unlock(&ap->lock);

	return answer(vcpu, args[0], args[1], &data,
		      sizeof(data.info) + holes_len);
}

static noinline_for_stack s64
op_events(struct kvm_vcpu *vcpu, struct pviommu_aperture *ap,
	  const u64 args[3])
{
	unsigned int max = min_t(u64, args[1] / sizeof(struct pviommu_event),
				 PVIOMMU_MAX_EVENTS);
	struct pviommu_event *events;
	unsigned int nr;
	u64 first;
	s64 ret;

	if (args[2])
		return PVIOMMU_RC_BAD_ARG;

	events = kcalloc(PVIOMMU_MAX_EVENTS, sizeof(*events),
			 GFP_KERNEL_ACCOUNT);
	if (!events)
		return PVIOMMU_RC_NO_MEMORY;

	/* What cannot be written stays. */
	mutex_lock(&ap->lock);
	nr = pviommu_fault_peek(ap, events, max, &first);
	ret = answer(vcpu, args[0], nr * sizeof(*events), events,
		     nr * sizeof(*events));
	if (ret >= 0) {
		pviommu_fault_consume(ap, first, nr);
		ret = nr;
	}
	mutex_unlock(&ap->lock);

	kfree(events);
	return ret;
}

static s64 aperture_op(struct kvm_vcpu *vcpu, struct pviommu_aperture *ap,
		       u32 op, const u64 args[3])
{
	switch (op) {
	case PVIOMMU_OP_APERTURE:
		return op_aperture(vcpu, ap, args);
	case PVIOMMU_OP_ENABLE:
		if (args[2])
			return PVIOMMU_RC_BAD_ARG;
		return pviommu_aperture_enable(ap, args[0], args[1]);
	case PVIOMMU_OP_DISABLE:
		if (args[0] || args[1] || args[2])
			return PVIOMMU_RC_BAD_ARG;
		return pviommu_aperture_disable(ap);
	case PVIOMMU_OP_SYNC:
		return pviommu_sync(ap, args[0], args[1], args[2]);
	case PVIOMMU_OP_SYNC_LIST:
		return pviommu_sync_list(ap, args[0], args[1], args[2]);
	case PVIOMMU_OP_EVENTS:
		return op_events(vcpu, ap, args);
	default:
		return PVIOMMU_RC_BAD_OP;
	}
}

static s64 vm_op(struct kvm_vcpu *vcpu, struct pviommu_vm *vm, u32 id, u32 op,
		 const u64 args[3])
{
	struct pviommu_aperture *ap;
	s64 ret;

	switch (op) {
	case PVIOMMU_OP_PROBE:
		return id ? PVIOMMU_RC_BAD_ARG : op_probe(vcpu, vm, args);
	case PVIOMMU_OP_ENDPOINT:
		return id ? PVIOMMU_RC_BAD_ARG : op_endpoint(vm, args);
	}

	ap = pviommu_vm_aperture(vm, id);
	if (!ap)
		return op > PVIOMMU_OP_EVENTS ? PVIOMMU_RC_BAD_OP :
						   PVIOMMU_RC_NO_APERTURE;

	ret = aperture_op(vcpu, ap, op, args);

	atomic64_inc(&ap->hypercalls);
	if (ret < 0)
		atomic64_inc(&ap->refused);
	return ret;
}

/**
 * pviommu_hypercall() - answer a guest
 * @vcpu: the calling vCPU, in its thread, kvm->srcu held
 * @op: operation and aperture id
 * @args: operands
 *
 * Return: a count, or a PVIOMMU_RC_*; -KVM_ENOSYS if the VM has no pviommu.
 */
s64 pviommu_hypercall(struct kvm_vcpu *vcpu, u64 op, const u64 args[3])
{
	struct pviommu_vm *vm = pviommu_vm_get_by_kvm(vcpu->kvm);
	s64 ret;

	if (!vm)
		return -KVM_ENOSYS;

	ret = vm_op(vcpu, vm, op >> PVIOMMU_APERTURE_SHIFT,
		    op & PVIOMMU_OP_MASK, args);
	trace_pviommu_hypercall(op, args, ret);

	pviommu_vm_put(vm);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_hypercall);
