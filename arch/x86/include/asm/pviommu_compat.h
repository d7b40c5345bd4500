/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels for the hypercall hook, and nothing else in it does.
 * It is written for Linux 6.12; what 6.1 lacks it gets here.
 */
#ifndef _ASM_X86_PVIOMMU_COMPAT_H
#define _ASM_X86_PVIOMMU_COMPAT_H

#include <linux/ftrace.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/version.h>

/* Without CONFIG_KVM_SMM no vCPU is ever in that mode. */
#ifndef HF_SMM_MASK
#define HF_SMM_MASK	0
#endif

#if KERNEL_VERSION(6, 12, 0) <= LINUX_VERSION_CODE

/* Does the host see all of a VM's memory and registers, as far as its type tells? */
static inline bool pviommu_vm_is_plain(struct kvm *kvm)
{
	return kvm->arch.vm_type == KVM_X86_DEFAULT_VM &&
	       !kvm_arch_has_private_mem(kvm);
}

#ifdef MODULE
/* Where a module's code is, but for that of its start. */
static inline void pviommu_module_text(const struct module *module,
				       unsigned long *base, unsigned long *size)
{
	*base = (unsigned long)module->mem[MOD_TEXT].base;
	*size = module->mem[MOD_TEXT].size;
}
#endif

#else /* 6.1 */

#define ftrace_regs_get_argument(fregs, n) \
	regs_get_kernel_argument(&(fregs)->regs, n)
#define ftrace_regs_set_instruction_pointer(fregs, ip) \
	ftrace_instruction_pointer_set(fregs, ip)

/* It has no other types; a vCPU's protected state is found when it calls. */
static inline bool pviommu_vm_is_plain(struct kvm *kvm)
{
	return true;
}

#ifdef MODULE
static inline void pviommu_module_text(const struct module *module,
				       unsigned long *base, unsigned long *size)
{
	*base = (unsigned long)module->core_layout.base;
	*size = module->core_layout.text_size;
}
#endif

#endif

#endif /* _ASM_X86_PVIOMMU_COMPAT_H */
