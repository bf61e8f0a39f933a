/* SPDX-License-Identifier: MIT */
/* The helper functions by number (bpf/helper_desc.c has their prototypes), and bpf_loop. */
#include "helpers/internal.h"

HIDDEN vm_helper_fn *const helper_table[] = {
	[1] = help_map_lookup,
	[2] = help_map_update,
	[3] = help_map_delete,
	[4] = help_probe_read_any,
	[5] = help_ktime,
	[6] = help_trace_printk,
	[7] = help_prandom,
	[8] = help_cpu,
	[12] = help_tail_call,
	[14] = help_pid_tgid,
	[15] = help_uid_gid,
	[16] = help_comm,
	[25] = help_perf_event_output,
	[27] = help_get_stackid,
	[35] = help_current_task,
	[36] = help_probe_write_user,
	[37] = help_under_cgroup,
	[42] = help_numa_node,
	[45] = help_probe_read_any_str,
	[67] = help_get_stack,
	[80] = help_cgroup_id,
	[87] = help_map_push,
	[88] = help_map_pop,
	[89] = help_map_peek,
	[93] = help_spin_lock,
	[94] = help_spin_unlock,
	[105] = help_strtol,
	[106] = help_strtoul,
	[109] = help_send_signal,
	[112] = help_probe_read,
	[113] = help_probe_read_kernel,
	[114] = help_probe_read_str,
	[115] = help_probe_read_kernel_str,
	[117] = help_send_signal_thread,
	[118] = help_jiffies64,
	[120] = help_ns_pid_tgid,
	[123] = help_ancestor_cgroup_id,
	[125] = help_ktime_boot,
	[130] = help_ringbuf_output,
	[131] = help_ringbuf_reserve,
	[132] = help_ringbuf_submit,
	[133] = help_ringbuf_discard,
	[134] = help_ringbuf_query,
	[141] = help_get_task_stack,
	[148] = help_probe_read,
	[158] = help_current_task,
	[160] = help_ktime_coarse,
	[164] = help_for_each,
	[165] = help_snprintf,
	[58] = help_override_return,
	[173] = help_func_ip,
	[174] = help_attach_cookie,
	[175] = help_task_pt_regs,
	[176] = help_branch_snapshot,
	[177] = help_trace_vprintk,
	[181] = help_loop,
	[182] = help_strncmp,
	[183] = help_func_arg,
	[184] = help_func_ret,
	[185] = help_func_arg_cnt,
	[191] = help_copy_from_user_task,
	[195] = help_map_lookup_percpu,
	[197] = help_dynptr_from_mem,
	[198] = help_ringbuf_reserve_dynptr,
	[199] = help_ringbuf_submit_dynptr,
	[200] = help_ringbuf_discard_dynptr,
	[201] = help_dynptr_read,
	[202] = help_dynptr_write,
	[203] = help_dynptr_data,
	[HELPER_SESSION_IS_RETURN] = help_session_is_return,
	[HELPER_SESSION_COOKIE] = help_session_cookie,
	[HELPER_ITER_NUM_NEW] = help_iter_num_new,
	[HELPER_ITER_NUM_NEXT] = help_iter_num_next,
	[HELPER_ITER_NUM_DESTROY] = help_iter_num_destroy,
	[HELPER_RCU_READ_LOCK] = help_section,
	[HELPER_RCU_READ_UNLOCK] = help_section,
	[HELPER_PREEMPT_DISABLE] = help_section,
	[HELPER_PREEMPT_ENABLE] = help_section,
	[HELPER_STRCMP] = help_strcmp,
	[HELPER_STRCASECMP] = help_strcasecmp,
	[HELPER_STRCHR] = help_strchr,
	[HELPER_STRCHRNUL] = help_strchrnul,
	[HELPER_STRNCHR] = help_strnchr,
	[HELPER_STRRCHR] = help_strrchr,
	[HELPER_STRLEN] = help_strlen,
	[HELPER_STRNLEN] = help_strnlen,
	[HELPER_STRSPN] = help_strspn,
	[HELPER_STRCSPN] = help_strcspn,
	[HELPER_STRSTR] = help_strstr,
	[HELPER_STRNSTR] = help_strnstr,
	[HELPER_DYNPTR_ADJUST] = help_dynptr_adjust,
	[HELPER_DYNPTR_CLONE] = help_dynptr_clone,
	[HELPER_DYNPTR_COPY] = help_dynptr_copy,
	[HELPER_DYNPTR_IS_NULL] = help_dynptr_is_null,
	[HELPER_DYNPTR_IS_RDONLY] = help_dynptr_is_rdonly,
	[HELPER_DYNPTR_MEMSET] = help_dynptr_memset,
	[HELPER_DYNPTR_SIZE] = help_dynptr_size,
	[HELPER_DYNPTR_SLICE] = help_dynptr_slice,
	[HELPER_DYNPTR_SLICE_RDWR] = help_dynptr_slice_rdwr,
	[HELPER_PROBE_READ_USER_DYNPTR] = help_probe_read_user_dynptr,
	[HELPER_PROBE_READ_KERNEL_DYNPTR] = help_probe_read_kernel_dynptr,
	[HELPER_PROBE_READ_USER_STR_DYNPTR] = help_probe_read_user_str_dynptr,
	[HELPER_PROBE_READ_KERNEL_STR_DYNPTR] = help_probe_read_kernel_str_dynptr,
	[HELPER_COPY_FROM_USER_DYNPTR] = help_copy_from_user_dynptr,
	[HELPER_COPY_FROM_USER_STR_DYNPTR] = help_copy_from_user_str_dynptr,
	[HELPER_COPY_FROM_USER_STR] = help_copy_from_user_str,
	[HELPER_CAST_TO_KERN_CTX] = help_cast,
	[HELPER_RDONLY_CAST] = help_cast,
	[208] = help_ktime_tai,
	[209] = help_user_ringbuf_drain,
};

/* Engines make tail calls themselves (vm/vm.h). */
u64 help_tail_call(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return 0;
}

u32 helper_table_size(void)
{
	return ARRAY_SIZE(helper_table);
}

#define LOOPS_MAX (8u << 20) /* BPF_MAX_LOOPS */

u64 help_loop(u64 count, u64 fn, u64 ctx, u64 flags, u64 r5, struct vm_run *run)
{
	u32 n = (u32)count;

	if (flags)
		return (u64)-EINVAL;
	if (n > LOOPS_MAX)
		return (u32)-E2BIG; /* 32 bits wide, as the kernel inlines it */
	for (u32 i = 0; i < n; i++) {
		u64 stop = vm_callback(run, fn, i, ctx, 0, 0);

		if (run->status)
			return 0;
		if (stop)
			return i + 1;
	}
	return n;
}
