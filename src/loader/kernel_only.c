/* SPDX-License-Identifier: MIT */
/* See kernel_only.h. */
#include "loader/kernel_only.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "loader/say.h"
#include "loader/user.h"

#define KPROBE_TYPE "/sys/bus/event_source/devices/kprobe/type"
#define NAME_ROOM   64
#define PROBE_INSNS 2 /* return a number */

static const char *const types[] = {
	[BPF_PROG_TYPE_SCHED_CLS] = "sched_cls (packets)",
	[BPF_PROG_TYPE_SCHED_ACT] = "sched_act (packets)",
	[BPF_PROG_TYPE_XDP] = "xdp (packets)",
	[BPF_PROG_TYPE_CGROUP_SKB] = "cgroup_skb (packets)",
	[BPF_PROG_TYPE_CGROUP_SOCK] = "cgroup_sock (sockets)",
	[BPF_PROG_TYPE_LWT_IN] = "lwt_in (packets)",
	[BPF_PROG_TYPE_LWT_OUT] = "lwt_out (packets)",
	[BPF_PROG_TYPE_LWT_XMIT] = "lwt_xmit (packets)",
	[BPF_PROG_TYPE_SOCK_OPS] = "sock_ops (sockets)",
	[BPF_PROG_TYPE_SK_SKB] = "sk_skb (sockets)",
	[BPF_PROG_TYPE_CGROUP_DEVICE] = "cgroup_device",
	[BPF_PROG_TYPE_SK_MSG] = "sk_msg (sockets)",
	[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = "cgroup_sock_addr (sockets)",
	[BPF_PROG_TYPE_LWT_SEG6LOCAL] = "lwt_seg6local (packets)",
	[BPF_PROG_TYPE_LIRC_MODE2] = "lirc_mode2",
	[BPF_PROG_TYPE_SK_REUSEPORT] = "sk_reuseport (sockets)",
	[BPF_PROG_TYPE_FLOW_DISSECTOR] = "flow_dissector (packets)",
	[BPF_PROG_TYPE_CGROUP_SYSCTL] = "cgroup_sysctl",
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] =
		"raw_tracepoint_writable (tracepoints of the kernel)",
	[BPF_PROG_TYPE_CGROUP_SOCKOPT] = "cgroup_sockopt (sockets)",
	[BPF_PROG_TYPE_TRACING] = "tracing (functions, tracepoints and objects of the kernel)",
	[BPF_PROG_TYPE_STRUCT_OPS] = "struct_ops (the kernel's own operations)",
	[BPF_PROG_TYPE_EXT] = "ext (functions of other programs)",
	[BPF_PROG_TYPE_LSM] = "lsm (security hooks of the kernel)",
	[BPF_PROG_TYPE_SK_LOOKUP] = "sk_lookup (sockets)",
	[BPF_PROG_TYPE_SYSCALL] = "syscall",
	[32] = "netfilter (packets)",
};

const char *kernel_only_type(u32 type)
{
	return type < ARRAY_SIZE(types) ? types[type] : NULL;
}

/* Libraries load a program again, to have the log, and say themselves that they do. */
static bool said_before(const union bpf_attr *a)
{
	static _Atomic u64 last;
	u64 hash = a->prog_type;

	for (size_t i = 0; i < sizeof(a->prog_name) && a->prog_name[i]; i++)
		hash = hash * 0x100000001b3 ^ (u8)a->prog_name[i];
	return atomic_exchange(&last, hash) == hash;
}

void kernel_only_prog(const union bpf_attr *a)
{
	const char *what = kernel_only_type(a->prog_type);
	char name[16];

	/* one that does nothing is a probe of features too */
	if (loader_copy_name(name, a->prog_name) || !*name || a->insn_cnt <= PROBE_INSNS || said_before(a))
		return;
	if (what)
		loader_say("limpet: program %.15s is of type %s, which needs the kernel's eBPF: "
			   "limpet runs programs in "
			   "user space only\n",
			   name, what);
	else
		loader_say("limpet: program %.15s is of type %u, which limpet does not have\n",
			   name, a->prog_type);
}

static void name_of(struct store *s, u32 prog, char ret[16])
{
	int err = 0;
	u64 size;
	struct prog_file *p = store_map_object(s, OBJ_PROG, prog, &size, &err);

	snprintf(ret, 16, "%u", prog);
	if (!p)
		return;
	if (*p->name)
		snprintf(ret, 16, "%.15s", p->name);
	munmap(p, size);
}

void kernel_only_event(struct store *s, u32 prog, int fd)
{
	char path[48], what[32] = "", name[16];

	snprintf(path, sizeof(path), "/proc/%u/fd/%d", user_pid(), fd);
	if (readlink(path, what, sizeof(what) - 1) < 0 || strcmp(what, "anon_inode:[perf_event]"))
		return;
	name_of(s, prog, name);
	loader_say("limpet: program %s was not attached to event %d, which is the kernel's: only "
		   "uprobes, system calls and "
		   "timers on the software CPU clock run in user space\n",
		   name, fd);
}

void kernel_only_raw_tracepoint(struct store *s, u32 prog, const char *tracepoint)
{
	char name[16];

	name_of(s, prog, name);
	loader_say("limpet: program %s was not attached: the raw tracepoint %s is in the kernel, "
		   "which limpet does not "
		   "observe (system calls: sys_enter, sys_exit)\n",
		   name, tracepoint);
}

void kernel_only_socket(struct store *s, u32 prog)
{
	char name[16];

	if (!s)
		return;
	name_of(s, prog, name);
	loader_say("limpet: program %s was not attached: sockets and network devices are in the kernel (limpet load --with-kernel); here it "
		   "runs by BPF_PROG_TEST_RUN\n",
		   name);
}

/* The number that this kernel gives them, which is also what tools read; 0: none. */
static u32 kprobe_type(void)
{
	FILE *f = fopen(KPROBE_TYPE, "re");
	u32 type = 0;

	if (f && fscanf(f, "%u", &type) != 1)
		type = 0;
	if (f)
		fclose(f);
	return type;
}

int kernel_only_kprobe(u32 type, u64 function)
{
	char name[NAME_ROOM];
	long n;

	if (type <= 5 /* PERF_TYPE_BREAKPOINT, the last that has a number of its own */ ||
	    type != kprobe_type())
		return 0;
	n = function ? user_string(name, function, sizeof(name) - 1) : 0;
	name[n > 0 ? n : 0] = 0;
	loader_say("limpet: a kprobe on %s is in the kernel, which limpet does not observe; its "
		   "program cannot be attached\n",
		   *name ? name : "an address");
	return -ENOENT;
}
