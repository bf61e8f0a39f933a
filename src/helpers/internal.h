/* SPDX-License-Identifier: MIT */
/* The helper functions, for the table, and what families share. */
#ifndef LIMPET_HELPERS_INTERNAL_H
#define LIMPET_HELPERS_INTERNAL_H

#include <asm/errno.h>
#include "helpers/helpers.h"

vm_helper_fn help_map_lookup, help_map_lookup_percpu, help_map_update, help_map_delete, help_map_push, help_map_pop,
	help_map_peek;
vm_helper_fn help_probe_read, help_probe_read_str, help_probe_write_user;
vm_helper_fn help_current_task, help_task_pt_regs, help_get_task_stack, help_copy_from_user_task, help_cast, help_probe_read_kernel, help_probe_read_kernel_str, help_probe_read_any,
	help_probe_read_any_str;
vm_helper_fn help_ktime, help_ktime_boot, help_ktime_coarse, help_ktime_tai, help_jiffies64;
vm_helper_fn help_prandom, help_cpu, help_numa_node, help_uid_gid, help_pid_tgid, help_ns_pid_tgid,
	help_comm;
vm_helper_fn help_branch_snapshot;
vm_helper_fn help_spin_lock, help_spin_unlock;
vm_helper_fn help_send_signal, help_send_signal_thread;
vm_helper_fn help_override_return, help_session_is_return, help_session_cookie, help_func_ip, help_attach_cookie, help_func_arg, help_func_ret, help_func_arg_cnt,
	help_get_stack, help_get_stackid;
vm_helper_fn help_trace_printk, help_trace_vprintk, help_snprintf;
vm_helper_fn help_strtol, help_strtoul, help_strncmp;
vm_helper_fn help_perf_event_output;
vm_helper_fn help_under_cgroup, help_cgroup_id, help_ancestor_cgroup_id;
vm_helper_fn help_loop, help_tail_call, help_for_each;
vm_helper_fn help_ringbuf_output, help_ringbuf_reserve, help_ringbuf_submit, help_ringbuf_discard, help_ringbuf_query;
vm_helper_fn help_ringbuf_reserve_dynptr, help_ringbuf_submit_dynptr, help_ringbuf_discard_dynptr;
vm_helper_fn help_dynptr_from_mem, help_dynptr_read, help_dynptr_write, help_dynptr_data;
vm_helper_fn help_dynptr_adjust, help_dynptr_clone, help_dynptr_copy, help_dynptr_is_null, help_dynptr_is_rdonly, help_dynptr_memset, help_dynptr_size,
	help_dynptr_slice, help_dynptr_slice_rdwr, help_probe_read_user_dynptr, help_probe_read_kernel_dynptr,
	help_probe_read_user_str_dynptr, help_probe_read_kernel_str_dynptr, help_copy_from_user_dynptr, help_copy_from_user_str_dynptr, help_copy_from_user_str;
vm_helper_fn help_user_ringbuf_drain;
vm_helper_fn help_iter_num_new, help_iter_num_next, help_iter_num_destroy, help_section;
vm_helper_fn help_strcmp, help_strcasecmp, help_strchr, help_strchrnul, help_strnchr, help_strrchr,
	help_strlen, help_strnlen, help_strspn, help_strcspn, help_strstr, help_strnstr;

/* The hit, when its registers are known; else NULL. */
static inline const struct helper_hit *help_hit(const struct vm_run *run)
{
	const struct helper_hit *hit = run->hit;

	return hit && hit->flags & HELPER_HIT_REGS ? hit : NULL;
}

#define HELP_KERNEL_HALF 0xffff800000000000ULL
#define HELP_VSYSCALL    0xffffffffff600000ULL

/* Places that kernels do not read as their own: a process's, what is no address, and one page. */
static inline bool help_not_kernels(u64 addr)
{
	return addr < HELP_KERNEL_HALF || addr - HELP_VSYSCALL < PAGE_SIZE;
}

/* What a kernel function that is an int leaves in r0: 32 bits, the upper half clear. */
static inline u64 help_int(long ret)
{
	return (u32)ret;
}

/* The stack that is certainly there: [*ret_start, *ret_end). False: this run has no such context. */
bool help_known_stack(const struct vm_run *run, u64 *ret_start, u64 *ret_end);

/* CLOCK_* in nanoseconds, by the vDSO where there is one. */
u64 help_clock(const struct helper_env *env, int clock);

/* tgid << 32 | tid of the calling thread. */
u64 help_identity(const struct helper_env *env);

/*
 * The calling thread's name, padded with zeroes; -EPERM and no name where the kernel may not be
 * asked.
 */
int help_thread_name(const struct helper_env *env, u64 ret[2]);

/* True when help_identity() reads, and so this is no child that borrows its parent's memory. */
bool help_identity_reads(const struct helper_env *env);

/*
 * Copies n bytes, 1 and more, of which source or destination may be anywhere below the kernel's
 * half; 0, or -EFAULT with some copied. Only where help_may_load() says so.
 */
long help_load(void *dst, const void *src, u64 n);

/* Copies a string and its NUL; its length with that, n when there is no NUL in n bytes, -EFAULT. */
long help_load_str(char *dst, const char *src, u64 n);

/* Is `frame` on the stack that the thread is known to have, with room for a signal frame? */
bool help_stack_room(const struct helper_env *env, u64 frame);

/* May this run load from [addr, addr + size)? */
bool help_may_load_first(const struct vm_run *run, struct helper_hit *hit);

#define HELP_LOWEST  0x10000UL        /* what is below is mostly NULL, and slow to find out by a fault */
#define HELP_HIGHEST 0x7fffffff0000UL /* beyond: not canonical, the kernel's, or not worth a thought */
#define HELP_GROWTH  (96UL << 20)     /* below the main thread's stack: reading could make that grow */

static ALWAYS_INLINE bool help_may_load(const struct vm_run *run, u64 addr, u64 size)
{
	const struct helper_env *env = run->env;
	struct helper_hit *hit = run->hit;

	if (!env->catcher || !hit || addr - HELP_LOWEST >= HELP_HIGHEST - HELP_LOWEST ||
	    size > HELP_HIGHEST - addr || env->stack_limit - addr - 1 < HELP_GROWTH + size)
		return false;
	return hit->loads ? hit->loads == CAUGHT_YES : help_may_load_first(run, hit);
}

/* Copies from this process's memory; 0, or -EFAULT with nothing promised about dst. */
int help_copy(const struct vm_run *run, void *dst, u64 src, u64 size);

/* Copies a string and its NUL, at most size bytes; its length with the NUL, or -EFAULT. */
long help_copy_str(const struct vm_run *run, char *dst, u64 src, u64 size);

/* Length of an ARG_CONST_STR, or -EFAULT when it leaves what the run may read. */
long help_const_str(const struct vm_run *run, u64 addr);

/*
 * Bytes from addr on, at most size, that are the run's own (stack, context, maps, records) and may be read without asking
 * anybody; 0: addr is none such.
 */
u64 help_own_bytes(const struct vm_run *run, u64 addr, u64 size);

/* Is addr in the task that help_current_task() answers? From there, at most size bytes; or -EFAULT. */
bool help_is_task(u64 addr);
bool help_is_current(u64 task, struct vm_run *run); /* the calling thread's */
long help_task_piece(const struct vm_run *run, u8 *dst, u64 addr, u64 size);

/* Text being made: cap bytes with the NUL; len counts what there is, also beyond. */
struct help_text {
	char *buf;
	u64 cap, len;
};

/*
 * Formats as the kernel's bpf_bprintf_prepare() and vsnprintf(), and ends the text by NUL; 0, or -EINVAL or
 * -ENOSPC, before anything is written. fmt has `size` bytes at most, and may change while it is read.
 */
int help_format(struct help_text *t, const char *fmt, u64 size, const u64 *args, u32 count, struct vm_run *run);

#endif
