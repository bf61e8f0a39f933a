/* SPDX-License-Identifier: MIT */
/*
 * Helpers called every which way, on the kernel and on limpet alike; compare.py holds the results
 * against each other. A case is a number in `results`; numbers differ by function.
 */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "result.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RESULTS);
	__type(key, __u32);
	__type(value, struct result);
} results SEC(".maps");

/* Control groups, put in by the tool: the root, the target's, another; slot 3 stays empty. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} groups SEC(".maps");

static __always_inline struct result *result(__u32 n)
{
	return bpf_map_lookup_elem(&results, &n);
}

/* A format and its arguments by bpf_snprintf. */
#define FORMAT(n, size, format, ...)                                                               \
	do {                                                                                       \
		static const char f[] = format;                                                    \
		__u64 a[] = {__VA_ARGS__};                                                         \
		struct result *r = result(n);                                                      \
		if (r)                                                                             \
			r->ret = bpf_snprintf(r->out, size, f, a, sizeof(a));                      \
	} while (0)

/* What trace_vprintk says to a format: its length or an error. */
#define LENGTH(n, len, format, ...)                                                                \
	do {                                                                                       \
		static const char f[] = format;                                                    \
		__u64 a[] = {__VA_ARGS__};                                                         \
		struct result *r = result(n);                                                      \
		if (r)                                                                             \
			r->ret = bpf_trace_vprintk(f, sizeof(f), a, len);                          \
	} while (0)

SEC("uprobe")
int formats(struct pt_regs *ctx)
{
	__u64 text = PT_REGS_PARM1(ctx);
	char mine[] = "a text on the stack";

	FORMAT(0, OUT_LEN, "%d %i %u %x %X", (__u64)-5, 7, (__u64)-5, 0xabc, 0xabc);
	FORMAT(1, OUT_LEN, "%ld %li %lu %lx %lX", (__u64)-5, 7, (__u64)-5, 0xabcdef0123,
	       0xabcdef0123);
	FORMAT(2, OUT_LEN, "%lld|%lli|%llu|%llx", (__u64)-5, 1ULL << 63, ~0ULL, ~0ULL);
	FORMAT(3, OUT_LEN, "%5d|%-5d|%05d|%+d|% d|%+5d|%-+5d|", 42, 42, 42, 42, 42, 42, 42);
	FORMAT(4, OUT_LEN, "%5d|%-5d|%05d|%+d|% d|%-05d|", (__u64)-42, (__u64)-42, (__u64)-42,
	       (__u64)-42, (__u64)-42, (__u64)-42);
	FORMAT(5, OUT_LEN, "%08x|%-8x|%8X|%+x|% u|%+u|%020lx|", 0xbeef, 0xbeef, 0xbeef, 0xbeef, 5,
	       5, 0x1234567890abc);
	FORMAT(6, OUT_LEN, "%c%c|%5c|%-5c|%05c|", 'a', 'b', 'c', 'd', 'e');
	FORMAT(7, OUT_LEN, "%s|%30s|%-30s|%3s|", (__u64)mine, (__u64)mine, (__u64)mine,
	       (__u64)mine);
	FORMAT(8, OUT_LEN, "%s|%025s|%pus|%30pus|", text, text, text, text);
	FORMAT(9, OUT_LEN, "%s|%pks|%-30pks|", 0, (__u64)mine, (__u64)mine);
	FORMAT(10, OUT_LEN, "%px|%px %40px|%-20px|%04px", 0, 0x123456789abc, 0xabc, 0xabc, 0x12345);
	FORMAT(11, OUT_LEN, "%p|%20p|%-20p|%pK", 0, 0, 0, 0);
	FORMAT(12, OUT_LEN, "%ps|%pS|%pB|%30ps|%-30pS|%30pB|", 0x1234, 0x1234, 0x1234, 0x1234,
	       0x1234, 0x1234);
	FORMAT(13, OUT_LEN, "100%% %d%%\t\n", 9);
	FORMAT(14, 10, "%s and more", (__u64)mine);
	FORMAT(15, 1, "%d", 12345);
	FORMAT(16, 5, "%20d", 12345);
	FORMAT(17, OUT_LEN, "%-+ 05d|%0 6d|% 06d|%+06d|", 1, 2, 3, 4);
	FORMAT(18, OUT_LEN, "%px!%px?%pKzz|%pxab|", 1, 2, 0, 4);
	FORMAT(19, OUT_LEN, "%x%x%x%x%x%x%x%x%x%x%x%x", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
	FORMAT(20, OUT_LEN, "%pI4|%pi4|%pI6|%pi6|", (__u64)mine, (__u64)mine, (__u64)mine,
	       (__u64)mine);
	FORMAT(21, OUT_LEN, "%pI4c %30pI4|%pI6c|", (__u64)mine, (__u64)mine, (__u64)mine);
	FORMAT(22, OUT_LEN, "%li %d", 1ULL << 40, 1ULL << 40);

	LENGTH(40, 8, "%d", 1);
	LENGTH(41, 16, "%d", 1, 2);
	LENGTH(42, 8, "%d %d", 1, 2);
	LENGTH(43, 4, "%d", 1);
	LENGTH(44, 8, "%q", 1);
	LENGTH(45, 8, "%hd", 1);
	LENGTH(46, 8, "%#x", 1);
	LENGTH(47, 8, "%.3d", 1);
	LENGTH(48, 8, "%*d", 1);
	LENGTH(49, 8, "%llld", 1);
	LENGTH(50, 8, "%lc", 1);
	LENGTH(51, 8, "%sx", (__u64)mine);
	LENGTH(52, 8, "%s,", (__u64)mine);
	LENGTH(53, 8, "%pd", 1);
	LENGTH(54, 8, "%pI5", 1);
	LENGTH(55, 8, "%pk", 1);
	LENGTH(56, 8, "%pksx", (__u64)mine);
	LENGTH(57, 8, "%p1", 1);
	LENGTH(58, 8, "%", 1);
	LENGTH(59, 8, "%5", 1);
	LENGTH(60, 8, "%0-+ 5d", 1);
	LENGTH(61, 8, "\x01%d", 1);
	LENGTH(62, 8, "\xc3\xa9 %d", 1);
	LENGTH(63, 8, "%300d", 1);
	LENGTH(64, 8, "%2000d", 1);
	LENGTH(65, 8, "%i\n", 1);
	LENGTH(66, 8, "%o", 1);
	LENGTH(67, 8, "%f", 1);
	LENGTH(68, 8, "%e", 1);
	LENGTH(69, 8, "%n", 1);
	LENGTH(70, 8, "%5%", 1);
	LENGTH(71, 8, "%5 d", 1);
	LENGTH(72, 8, "%d\x7f", 1);
	return 0;
}

#define TOL(n, text, flags)                                                                        \
	do {                                                                                       \
		char t[] = text;                                                                   \
		struct result *r = result(n);                                                      \
		long v = 99;                                                                       \
		if (r) {                                                                           \
			r->ret = bpf_strtol(t, sizeof(t), flags, &v);                              \
			*(long *)r->out = v;                                                       \
			v = 99;                                                                    \
			*(long *)(r->out + 8) =                                                    \
				bpf_strtoul(t, sizeof(t), flags, (unsigned long *)&v);             \
			*(long *)(r->out + 16) = v;                                                \
		}                                                                                  \
	} while (0)

#define COMPARE(n, text, with)                                                                     \
	do {                                                                                       \
		static const char c[] = with;                                                      \
		char t[] = text;                                                                   \
		struct result *r = result(n);                                                      \
		if (r)                                                                             \
			r->ret = 100 + bpf_strncmp(t, sizeof(t) - 1, c);                           \
	} while (0)

#define READ(n, helper, size, from)                                                                \
	do {                                                                                       \
		struct result *r = result(n);                                                      \
		if (r) {                                                                           \
			__builtin_memset(r->out, 'x', 40);                                         \
			r->ret = 1000 + helper(r->out, size, (const void *)(from));                \
		}                                                                                  \
	} while (0)

SEC("uprobe")
int texts(struct pt_regs *ctx)
{
	__u64 end = PT_REGS_PARM1(ctx), hole = PT_REGS_PARM2(ctx);

	TOL(100, "123", 10);
	TOL(101, "-123 ", 10);
	TOL(102, "  0x1f", 0);
	TOL(103, "0x1f", 16);
	TOL(104, "017", 0);
	TOL(105, "0x", 0);
	TOL(106, "0xg", 16);
	TOL(107, "abc", 10);
	TOL(108, "abc", 16);
	TOL(109, "-", 10);
	TOL(110, "   ", 10);
	TOL(111, "9223372036854775807", 10);
	TOL(112, "9223372036854775808", 10);
	TOL(113, "-9223372036854775808", 10);
	TOL(114, "-9223372036854775809", 10);
	TOL(115, "18446744073709551615", 10);
	TOL(116, "18446744073709551616", 10);
	TOL(117, "5", 3);
	TOL(118, "5", 10 | 0x40);
	TOL(119, "99999999999999999999999x", 10);
	TOL(120, "+5", 10);
	TOL(121, "\t\n\v5", 10);
	TOL(122, "0", 0);
	TOL(123, "08", 0);
	TOL(124, "--5", 10);
	TOL(125,
	    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000001",
	    10);
	COMPARE(130, "abc", "abc");
	COMPARE(131, "abd", "abc");
	COMPARE(132, "abb", "abc");
	COMPARE(133, "ab", "abc");
	COMPARE(134, "abcd", "abc");
	COMPARE(135, "\xff", "a");
	READ(140, bpf_probe_read_user, 8, end);
	READ(141, bpf_probe_read_user, 9, end);
	READ(142, bpf_probe_read_user, 8, hole);
	READ(143, bpf_probe_read_user, 8, 0);
	READ(144, bpf_probe_read_user_str, 32, end);
	READ(145, bpf_probe_read_user_str, 4, end);
	READ(146, bpf_probe_read_user_str, 32, hole);
	READ(147, bpf_probe_read_user_str, 1, end);
	READ(148, bpf_probe_read_user_str, 8, end);
	READ(149, bpf_probe_read_user_str, 32, end + 7);
	READ(150, bpf_probe_read_user, 1, end + 8);
	READ(151, bpf_probe_read_user, 8, ~0ULL - 3);
	return 0;
}

SEC("uprobe")
int stacks(struct pt_regs *ctx)
{
	__u64 near = PT_REGS_PARM1(ctx), far = PT_REGS_PARM2(ctx);
	__u32 n = 160 + 4 * (PT_REGS_PARM3(ctx) & 1);

	READ(n, bpf_probe_read_user_str, 32, near);
	READ(n + 1, bpf_probe_read_user_str, 32, far);
	READ(n + 2, bpf_probe_read_user, 16, far);
	READ(n + 3, bpf_probe_read_user, 16, near + 3);
	return 0;
}

struct counted {
	__u64 sum, stop;
};

static long count(__u64 i, void *arg)
{
	struct counted *c = arg;

	c->sum += i;
	return i == c->stop;
}

#define LOOP(n, times, at, flags)                                                                  \
	do {                                                                                       \
		struct counted c = {0, at};                                                        \
		struct result *r = result(n);                                                      \
		if (r) {                                                                           \
			r->ret = 5000 + bpf_loop(times, count, &c, flags);                         \
			*(__u64 *)r->out = c.sum;                                                  \
		}                                                                                  \
	} while (0)

SEC("uprobe")
int facts(struct pt_regs *ctx)
{
	struct bpf_pidns_info info = {7, 7};
	__u64 dev = PT_REGS_PARM1(ctx), ino = PT_REGS_PARM2(ctx), pid = PT_REGS_PARM3(ctx),
	      stack[16] = {}, t[4];
	struct result *r;

	LOOP(200, 0, 99, 0);
	LOOP(201, 10, 99, 0);
	LOOP(202, 10, 3, 0);
	LOOP(203, 10, 99, 1);
	LOOP(204, (8 << 20) + 1, 99, 0);
	if ((r = result(210))) {
		r->ret = 10 + bpf_get_ns_current_pid_tgid(dev, ino, &info, sizeof(info));
		r->out[0] = '0' + (info.pid == pid && info.tgid == pid);
	}
	if ((r = result(211))) {
		r->ret = 100 + bpf_get_ns_current_pid_tgid(dev, ino + 1, &info, sizeof(info));
		__builtin_memcpy(r->out, &info, sizeof(info));
	}
	if ((r = result(212)))
		r->ret = bpf_get_attach_cookie(ctx);
	if ((r = result(213)))
		r->ret = bpf_get_func_ip(ctx) & 0xfff;
	if ((r = result(214)))
		r->ret = bpf_get_current_pid_tgid() == (pid << 32 | pid) &&
			 bpf_get_current_uid_gid() == 0;
	if ((r = result(215)))
		r->ret = 10 + bpf_get_current_comm(r->out, 16);
	if ((r = result(216)))
		r->ret = 10 + bpf_get_current_comm(r->out, 7);
	if ((r = result(217)))
		r->ret = 10 + bpf_get_current_comm(r->out, 30);
	if ((r = result(218)))
		r->ret = 10 + bpf_send_signal(10);
	if ((r = result(219)))
		r->ret = 10 + bpf_send_signal_thread(12);
	if ((r = result(220)))
		r->ret = 100 + bpf_send_signal(65);
	if ((r = result(221)))
		r->ret = 10 + bpf_get_numa_node_id();
	if ((r = result(222))) {
		r->ret = bpf_get_stack(ctx, stack, 64, BPF_F_USER_STACK);
		for (int i = 0; i < 7; i++) /* the rest lies in libc, somewhere */
			((__u16 *)r->out)[i] = stack[i] & 0xfff;
	}
	if ((r = result(223))) {
		r->ret = bpf_get_stack(ctx, stack, 24, BPF_F_USER_STACK | 2);
		for (int i = 0; i < 3; i++)
			((__u16 *)r->out)[i] = stack[i] & 0xfff;
	}
	if ((r = result(224)))
		r->ret = 100 + bpf_get_stack(ctx, stack, 64, BPF_F_USER_STACK | 1 << 9);
	if ((r = result(225)))
		r->ret = 100 + bpf_get_stack(ctx, stack, 60, BPF_F_USER_STACK);
	if ((r = result(226)))
		r->ret = 100 + bpf_get_branch_snapshot(stack, 48, 1);
	if ((r = result(230)))
		r->ret = bpf_get_current_cgroup_id();
	if ((r = result(231)))
		r->ret = bpf_get_current_ancestor_cgroup_id(0);
	if ((r = result(232)))
		r->ret = bpf_get_current_ancestor_cgroup_id(1);
	if ((r = result(233)))
		r->ret = 100 + bpf_get_current_ancestor_cgroup_id(2);
	if ((r = result(234)))
		r->ret = 100 + bpf_get_current_ancestor_cgroup_id(-1);
	if ((r = result(235)))
		r->ret = 100 + bpf_current_task_under_cgroup(&groups, 0);
	if ((r = result(236)))
		r->ret = 100 + bpf_current_task_under_cgroup(&groups, 1);
	if ((r = result(237)))
		r->ret = 100 + bpf_current_task_under_cgroup(&groups, 2);
	if ((r = result(238)))
		r->ret = 100 + bpf_current_task_under_cgroup(&groups, 3);
	if ((r = result(239)))
		r->ret = 100 + bpf_current_task_under_cgroup(&groups, 4);
	/* 250: what only makes sense together: clocks, in nanoseconds and jiffies */
	t[0] = bpf_ktime_get_ns();
	t[1] = bpf_jiffies64();
	t[2] = bpf_ktime_get_boot_ns();
	t[3] = bpf_ktime_get_tai_ns();
	if ((r = result(250)))
		bpf_snprintf(r->out, OUT_LEN, "%llu %llu %llu %llu", t, sizeof(t));
	return 0;
}
