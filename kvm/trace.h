/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pviommu

#if !defined(KVM_PVIOMMU_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KVM_PVIOMMU_TRACE_H

#include <linux/tracepoint.h>

#include <linux/pviommu_abi.h>

#define show_op(op)						\
	__print_symbolic(op, { PVIOMMU_OP_PROBE, "probe" },	\
			 { PVIOMMU_OP_ENDPOINT, "endpoint" },	\
			 { PVIOMMU_OP_APERTURE, "aperture" },	\
			 { PVIOMMU_OP_ENABLE, "enable" },	\
			 { PVIOMMU_OP_DISABLE, "disable" },	\
			 { PVIOMMU_OP_SYNC, "sync" },		\
			 { PVIOMMU_OP_SYNC_LIST, "sync_list" },	\
			 { PVIOMMU_OP_EVENTS, "events" })

TRACE_EVENT(pviommu_hypercall,
	    TP_PROTO(u64 op, const u64 *args, s64 ret),
	    TP_ARGS(op, args, ret),
	    TP_STRUCT__entry(__field(u32, op)
			     __field(u32, aperture)
			     __array(u64, args, 3)
			     __field(s64, ret)),
	    TP_fast_assign(__entry->op = op & PVIOMMU_OP_MASK;
			   __entry->aperture = op >> PVIOMMU_APERTURE_SHIFT;
			   memcpy(__entry->args, args, sizeof(__entry->args));
			   __entry->ret = ret;),
	    TP_printk("%s aperture %u args %#llx %#llx %#llx ret %lld",
		      show_op(__entry->op), __entry->aperture, __entry->args[0],
		      __entry->args[1], __entry->args[2], __entry->ret)
);

#endif /* KVM_PVIOMMU_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
