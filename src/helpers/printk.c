/* SPDX-License-Identifier: MIT */
/* trace_printk and trace_vprintk: formatted lines (format.c) in the session's trace log. */
#include "helpers/internal.h"
#include "session/trace.h"
#include "base/mem.h"

#define VARARGS_MAX 12

_Static_assert(sizeof(((struct trace_message *)0)->text) >= TRACE_MESSAGE, "as below");

static u64 trace_text(struct vm_run *run, const char *fmt, u64 size, const u64 *args, u32 count)
{
	const struct helper_env *env = run->env;
	char buf[TRACE_MESSAGE];
	struct help_text t = {.buf = buf, .cap = sizeof(buf)};
	struct trace_slot head;
	u64 id, name[2];
	u32 len = 0;
	int err;

	while (len < size && fmt[len])
		len++;
	if (len == size)
		return (u64)-EINVAL; /* no NUL in it */
	err = help_format(&t, fmt, len, args, count, run);
	if (err || !env->trace)
		return err ? (u64)(s64)err : t.len;
	id = help_identity(env);
	help_thread_name(env, name);
	head.time_ns = help_clock(env, 1);
	head.pid = (u32)(id >> 32);
	head.tid = (u32)id;
	head.cpu = (u32)help_cpu(0, 0, 0, 0, 0, run);
	memcpy(head.comm, name, sizeof(head.comm));
	for (len = 0; buf[len];)
		len++; /* a NUL by %c ends the line, as in the kernel's trace */
	trace_write(env->trace, &head, buf, len);
	return t.len;
}

u64 help_trace_printk(u64 fmt, u64 size, u64 a, u64 b, u64 c, struct vm_run *run)
{
	u64 args[3] = {a, b, c};

	return trace_text(run, (const char *)fmt, size, args, 3);
}

u64 help_trace_vprintk(u64 fmt, u64 size, u64 data, u64 len, u64 r5, struct vm_run *run)
{
	if (len % 8 || len > VARARGS_MAX * 8 || (len && !data))
		return (u64)-EINVAL;
	return trace_text(run, (const char *)fmt, size, (const u64 *)data, (u32)(len / 8));
}

/*
 * The kernel's verifier has looked at fmt; here its end is looked for in memory that may be read.
 */
u64 help_snprintf(u64 str, u64 size, u64 fmt, u64 data, u64 len, struct vm_run *run)
{
	struct help_text t = {.buf = (char *)str, .cap = size};
	long fmt_len;
	int err;

	if (len % 8 || len > VARARGS_MAX * 8 || (len && !data))
		return (u64)-EINVAL;
	fmt_len = help_const_str(run, fmt);
	if (fmt_len < 0)
		return (u64)-EINVAL;
	err = help_format(&t, (const char *)fmt, (u64)fmt_len, (const u64 *)data, (u32)(len / 8),
			  run);
	return err ? (u64)(s64)err : t.len + 1;
}
