/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a pviommu guest reaches its host on x86: one vmcall or vmmcall.
 */
#ifndef _ASM_X86_PVIOMMU_GUEST_H
#define _ASM_X86_PVIOMMU_GUEST_H

#include <linux/types.h>
#include <linux/pviommu_abi.h>
#include <asm/kvm_para.h>

/**
 * pviommu_hypercall() - make one hypercall
 * @op: PVIOMMU_OP_*
 * @aperture: aperture id, 0 where @op takes none
 * @arg1: goes into rcx
 * @arg2: goes into rdx
 * @arg3: goes into rsi
 *
 * Context: Any. The caller has made sure of kvm_para_available(): on bare metal
 * the instruction is undefined.
 * Return: what the host left in rax: a count, a PVIOMMU_RC_* code, or
 * -KVM_ENOSYS where nobody answers.
 */
static inline long pviommu_hypercall(u32 op, u32 aperture, u64 arg1, u64 arg2,
				     u64 arg3)
{
	return kvm_hypercall4(KVM_HC_PVIOMMU,
			      (u64)aperture << PVIOMMU_APERTURE_SHIFT | op,
			      arg1, arg2, arg3);
}

#endif /* _ASM_X86_PVIOMMU_GUEST_H */
