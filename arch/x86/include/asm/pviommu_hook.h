/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the host module asks of a CPU architecture: one hypercall number, and
 * which VMs it cannot serve. Knows no IOMMU.
 */
#ifndef _ASM_X86_PVIOMMU_HOOK_H
#define _ASM_X86_PVIOMMU_HOOK_H

#include <linux/types.h>

struct kvm;
struct kvm_vcpu;

/**
 * typedef pviommu_hypercall_fn - answers a hypercall
 * @vcpu: the calling vCPU, whose thread this is; kvm->srcu is held for reading
 * @op: the register that names the operation
 * @args: its operands
 *
 * Context: process context, may sleep.
 * Return: what the guest finds in its result register.
 */
typedef s64 (*pviommu_hypercall_fn)(struct kvm_vcpu *vcpu, u64 op,
				    const u64 args[3]);

int pviommu_hook_install(u64 nr, pviommu_hypercall_fn fn);
void pviommu_hook_remove(void);
bool pviommu_hook_serves(struct kvm *kvm);

#endif /* _ASM_X86_PVIOMMU_HOOK_H */
