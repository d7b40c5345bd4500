// SPDX-License-Identifier: GPL-2.0-only
/*
 * Claim one KVM hypercall number, without a change to KVM.
 *
 * kvm_emulate_hypercall() is exported to kvm-amd and kvm-intel, so there is a
 * real call to it at a module boundary, and ftrace can redirect it. The
 * replacement lets KVM handle the call first and steps in only when the number
 * is the claimed one and KVM answered -KVM_ENOSYS in all 64 bits: by then KVM
 * has checked the privilege level, traced the call, and skipped the
 * instruction. Calls from user mode and from 32-bit code get KVM's own answer,
 * as does a guest that talks Xen's or Hyper-V's protocol.
 */
#define pr_fmt(fmt) "kvm-pviommu: " fmt

#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/kvm_host.h>
#include <linux/kvm_para.h>
#include <linux/module.h>
#include <linux/srcu.h>

#include <asm/pviommu_compat.h>
#include <asm/pviommu_hook.h>

DEFINE_STATIC_SRCU(hook_srcu);

static pviommu_hypercall_fn hook_fn;
static u64 hook_nr;

/*
 * Nested guests and system management mode see another address space than the
 * one that the operands are meant for. With protected state the registers are
 * not ours to read.
 */
static bool notrace hook_claims(const struct kvm_vcpu *vcpu)
{
	return !vcpu->arch.guest_state_protected &&
	       !(vcpu->arch.hflags & (HF_GUEST_MASK | HF_SMM_MASK)) &&
	       vcpu->arch.regs[VCPU_REGS_RAX] == hook_nr;
}

static int hook_emulate_hypercall(struct kvm_vcpu *vcpu)
{
	unsigned long *regs = vcpu->arch.regs;
	int idx, ret;

	/*
	 * Encloses the call to KVM, so that pviommu_hook_remove() also waits
	 * for a vCPU that sleeps in there and will return to this text.
	 */
	idx = srcu_read_lock(&hook_srcu);
	ret = kvm_emulate_hypercall(vcpu);

	/* Not on @ret: it is 0 when the guest is being single-stepped. */
	if (regs[VCPU_REGS_RAX] == (unsigned long)-KVM_ENOSYS) {
		const u64 args[3] = {
			regs[VCPU_REGS_RCX],
			regs[VCPU_REGS_RDX],
			regs[VCPU_REGS_RSI],
		};

		regs[VCPU_REGS_RAX] = hook_fn(vcpu, regs[VCPU_REGS_RBX], args);
	}
	srcu_read_unlock(&hook_srcu, idx);
	return ret;
}

/* The text that calls KVM: it is asked about in each call, and does not move. */
static unsigned long own_text;
static unsigned long own_text_size;

static int learn_own_text(void)
{
#ifdef MODULE
	pviommu_module_text(THIS_MODULE, &own_text, &own_text_size);
	return 0;
#else
	/* Built in there is no module: the one function that does. */
	unsigned long offset;

	own_text = (unsigned long)hook_emulate_hypercall;
	return kallsyms_lookup_size_offset(own_text, &own_text_size, &offset) ?
	       0 : -ENOENT;
#endif
}

static bool notrace is_own(unsigned long ip)
{
	return ip - own_text < own_text_size;
}

static void notrace hook_redirect(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
	const struct kvm_vcpu *vcpu =
		(const struct kvm_vcpu *)ftrace_regs_get_argument(fregs, 0);

	/*
	 * The call that hook_emulate_hypercall() makes must reach KVM. So do
	 * all others at once, some of which sleep for as long as a guest likes.
	 */
	if (hook_claims(vcpu) && !is_own(parent_ip))
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)hook_emulate_hypercall);
}

/*
 * PERMANENT: kernel.ftrace_enabled=0 would otherwise remove the hook silently
 * and leave guests with mappings that nothing takes away.
 */
static struct ftrace_ops hook_ops = {
	.func = hook_redirect,
	.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};

/**
 * pviommu_hook_install() - start to answer a hypercall number
 * @nr: the number
 * @fn: answers it
 *
 * Context: process context, may sleep. Not to be called twice.
 * Return: 0; -EBUSY if another user of ftrace (a live patch, say) redirects
 * KVM's hypercalls already, or ftrace is switched off; another errno from ftrace.
 */
int pviommu_hook_install(u64 nr, pviommu_hypercall_fn fn)
{
	int ret;

	hook_nr = nr;
	hook_fn = fn;

	ret = learn_own_text();
	if (!ret)
		ret = ftrace_set_filter_ip(&hook_ops,
					   (unsigned long)kvm_emulate_hypercall,
					   0, 0);
	if (ret) {
		pr_err("kvm_emulate_hypercall() cannot be traced (%d)\n", ret);
		goto err_filter;
	}

	ret = register_ftrace_function(&hook_ops);
	if (ret) {
		pr_err("cannot redirect kvm_emulate_hypercall() (%d)\n", ret);
		if (ret == -EBUSY)
			pr_err("a live patch or another module does already, or kernel.ftrace_enabled is 0\n");
		goto err_filter;
	}
	return 0;

err_filter:
	ftrace_free_filter(&hook_ops);
	return ret;
}

/**
 * pviommu_hook_remove() - stop to answer, and wait until no vCPU is inside
 *
 * On return no CPU executes this module's hook, and none is going to.
 *
 * Context: process context, sleeps; as long as a vCPU sleeps in KVM's emulation of
 * a call that was claimed.
 */
void pviommu_hook_remove(void)
{
	unregister_ftrace_function(&hook_ops);
	ftrace_free_filter(&hook_ops);

	/*
	 * A task can be preempted after it was redirected and before
	 * srcu_read_lock(), or after srcu_read_unlock() and before the return:
	 * RCU tasks waits for those, SRCU for those in between.
	 */
	synchronize_rcu_tasks();
	synchronize_srcu(&hook_srcu);
	synchronize_rcu_tasks();
}

/**
 * pviommu_hook_serves() - can this VM's memory be mapped for devices?
 * @kvm: the VM
 *
 * Return: false for VMs whose memory or registers the host does not see.
 */
bool pviommu_hook_serves(struct kvm *kvm)
{
	return pviommu_vm_is_plain(kvm);
}
