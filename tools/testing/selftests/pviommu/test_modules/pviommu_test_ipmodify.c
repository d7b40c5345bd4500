// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another user of ftrace that claims KVM's hypercalls, as a live patch would, and
 * changes nothing.
 */
#include <linux/ftrace.h>
#include <linux/kvm_host.h>
#include <linux/module.h>

static void notrace redirect_nowhere(unsigned long ip, unsigned long parent_ip,
				     struct ftrace_ops *ops,
				     struct ftrace_regs *fregs)
{
}

static struct ftrace_ops ipmodify_ops = {
	.func = redirect_nowhere,
	.flags = FTRACE_OPS_FL_IPMODIFY,
};

static int __init ipmodify_init(void)
{
	int ret;

	ret = ftrace_set_filter_ip(&ipmodify_ops,
				   (unsigned long)kvm_emulate_hypercall, 0, 0);
	if (!ret)
		ret = register_ftrace_function(&ipmodify_ops);
	if (ret)
		ftrace_free_filter(&ipmodify_ops);
	return ret;
}
module_init(ipmodify_init);

static void __exit ipmodify_exit(void)
{
	unregister_ftrace_function(&ipmodify_ops);
	ftrace_free_filter(&ipmodify_ops);
}
module_exit(ipmodify_exit);

MODULE_DESCRIPTION("pviommu selftests: another user of KVM's hypercalls");
MODULE_LICENSE("GPL");
