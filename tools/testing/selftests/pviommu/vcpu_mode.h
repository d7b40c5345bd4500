/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vCPUs in other modes than 64 bits at CPL 0, and other hypercall protocols.
 */
#ifndef PVIOMMU_SELFTEST_VCPU_MODE_H
#define PVIOMMU_SELFTEST_VCPU_MODE_H

#include <stdbool.h>

#include "vm.h"

enum vcpu_mode {
	VCPU_KERNEL_64,
	VCPU_USER_64,
	VCPU_COMPAT_32,		/* 32-bit code in long mode */
	VCPU_PROTECTED_32,
};

/* All return 0, or -1 with errno. */
int vcpu_set_mode(struct vcpu *vcpu, enum vcpu_mode mode);
int vcpu_set_smm(struct vm *vm, struct vcpu *vcpu, bool on);
int vcpu_enable_hyperv(struct vm *vm, struct vcpu *vcpu, bool on);
int vm_enable_xen(struct vm *vm, bool on);

#endif /* PVIOMMU_SELFTEST_VCPU_MODE_H */
