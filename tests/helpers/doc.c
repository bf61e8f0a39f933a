/* SPDX-License-Identifier: MIT */
/*
 * Writes docs/helpers.md from the descriptors. usage: helpers_doc [FILE]
 * With FILE, compares with it instead: the test that the page is up to date.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/helper_desc.h"
#include "helpers/helpers.h"

static const char *const args[] = {
	[ARG_SCALAR] = "number",
	[ARG_MAP] = "map",
	[ARG_MAP_KEY] = "key",
	[ARG_MAP_VALUE] = "value",
	[ARG_MAP_VALUE_OUT] = "out value",
	[ARG_MEM] = "memory",
	[ARG_MEM_OUT] = "out memory",
	[ARG_MEM_OR_NULL] = "memory or NULL",
	[ARG_MEM_OUT_OR_NULL] = "out memory or NULL",
	[ARG_SIZE] = "size",
	[ARG_SIZE_OR_ZERO] = "size or 0",
	[ARG_CTX] = "ctx",
	[ARG_CONST_STR] = "constant string",
	[ARG_LONG_OUT] = "out long",
	[ARG_CALLBACK] = "callback",
	[ARG_STACK_OR_NULL] = "stack or NULL",
	[ARG_RECORD] = "record",
	[ARG_DYNPTR] = "dynptr",
	[ARG_SPIN_LOCK] = "lock",
	[ARG_ANY_PTR] = "address",
	[ARG_ANY_PTR_OUT] = "address",
	[ARG_NUMBER] = "number",
	[ARG_ITER] = "iterator",
	[ARG_TASK] = "task",
	[ARG_BUFFER] = "buffer",
	[ARG_BUFFER_OR_NULL] = "buffer or NULL",
	[ARG_BUFFER_SIZE] = "size or 0",
	[ARG_CONST_SIZE] = "known size",
};
static const char *const rets[] = {
	[RET_INTEGER] = "number",
	[RET_VOID] = "nothing",
	[RET_MAP_VALUE_OR_NULL] = "value or NULL",
	[RET_MEM_OR_NULL] = "memory or NULL",
	[RET_TASK] = "task",
	[RET_PT_REGS] = "registers",
	[RET_CAST] = "the address",
	[RET_COOKIE] = "8 bytes",
	[RET_ITER_OR_NULL] = "element or NULL",
};

static const char head[] =
	"# Helper functions\n\n"
	"Written by `helpers_doc` from the descriptors that programs are checked against "
	"(src/bpf/helper_desc.c); a test holds\nthis page against them. A program that calls one "
	"marked "
	"*no* is refused as by a kernel without it: `unknown func bpf_NAME#N`.\n\n"
	"What differs from the kernel:\n\n"
	"- get_current_pid_tgid, trace output: the ids are those of the process's own pid "
	"namespace. They cost a "
	"load where the agent has made sure\n  that this is exact (docs/architecture.md, thread "
	"identity), "
	"else two system calls.\n"
	"- get_current_comm: a thread that renames itself by libc shows its new name at once, one that another thread or process renames within 10 ms.\n"
	"- get_current_uid_gid: two system calls (160 ns each, where measured): credentials "
	"change behind a process's back.\n"
	"- get_smp_processor_id, get_numa_node_id: where the thread is at that moment. A run is not bound to a processor as "
	"in the kernel, so a later call may answer\n  another one, and the run's own element of a per-CPU map, which it "
	"has to itself, need not be that processor's. An ordinary array with an element a\n  processor is nobody's own.\n"
	"- get_ns_current_pid_tgid: the namespace is looked at in /proc, by a system call; without that, -EINVAL.\n"
	"- probe_read and its kin read this process's memory, whichever of them is called. What is "
	"on the program's stack, in its "
	"context, in its maps, or on the\n  page of the target's stack that the probe works on is "
	"copied directly; all else is loaded where a fault is sure to be caught "
	"(docs/architecture.md says where), after one system call a run,\n  and else costs one "
	"process_vm_readv a read (about a microsecond). probe_write_user likewise.\n"
	"  What cannot be read is -EFAULT, or -ERANGE where the kernel says so (probe_read_kernel of addresses that are not the kernel's).\n"
	"- trace_printk, trace_vprintk, snprintf: `%p` and `%pK` show the pointer itself; `%ps`, "
	"`%pS`, `%pB` know no "
	"symbols of the kernel;\n  `%s`, `%pks` and `%pus` read this process's memory.\n"
	"- get_stack, get_stackid: user stacks, by frame pointers, at most 127 frames; there is no kernel stack behind a "
	"hit (0 bytes; get_stackid: -EFAULT).\n"
	"  Build ids are those of the mappings that were there when a keeper last looked; frames in others keep their "
	"address.\n"
	"- get_current_task: a task to be read by probe_read_kernel and what is built on it (BPF_CORE_READ), at the offsets of "
	"the BTF that tools find.\n"
	"  Known are pid, tgid, comm, real_parent, parent, group_leader, nsproxy and the inum of its namespaces, cred and its six "
	"ids, and that there is an mm;\n"
	"  of other threads and processes only pid, and tgid of a process's first thread. All else is -EFAULT. Ids are those of "
	"the process's own namespaces.\n"
	"- get_current_task_btf, task_pt_regs: the same task, and the registers that the program's context has, by plain loads (`task->pid`), which\n"
	"  the verifier lets through by the kernel's types. What limpet does not know, and registers that there are none of (timers), reads as 0, as a kernel's\n"
	"  load of what cannot be read does: a program that asks for more of a task than the list above does not learn it here, and the tool says so when it loads it. Kernels let programs\n"
	"  hand such pointers to helpers as memory, too; here probe_read_kernel takes them, others refuse. They need the verifier.\n"
	"- get_task_stack, copy_from_user_task: of the current task, and memory of its process's threads; others are -EOPNOTSUPP (as on the kernel) and -EFAULT.\n"
	"- cast_to_kern_ctx: for uprobes; rdonly_cast (bpf_core_cast): what lies there is what limpet knows of tasks, and the program's own memory; else 0.\n"
	"- spin_lock, spin_unlock: kernels refuse them to programs of these types; BPF_F_LOCK in bpf(2) is the kernel's. A lock whose "
	"holder is gone is free at once, one whose\n"
	"  holder is stopped is taken after 100 ms; a run whose own thread has it (a signal handler's) ends, counted.\n"
	"- send_signal, send_signal_thread: the signal is sent when the program has ended, so its answer does not know of a full queue of signals.\n"
	"- get_branch_snapshot: -ENOENT, as where the processor keeps no branch records.\n"
	"- jiffies64: to within three jiffies.\n"
	"- get_func_arg, get_func_arg_cnt, get_func_ret, probe_write_user, ktime_get_coarse_ns: "
	"kernels refuse them to uprobes "
	"(some, by configuration).\n  Here arguments are the six in registers, at a function's "
	"entry; the "
	"return value at its return.\n"
	"- In a process under seccomp, helpers make no system call that its filters do not simply "
	"allow; they answer -EPERM "
	"(probe_read: -EFAULT). Filters that a\n  program installs while it is observed are seen "
	"when it does that by libc's prctl or syscall.\n"
	"- override_return: kernels refuse it to uprobes. Here it works where a function begins and is called: the function "
	"does not run, its return\n  probes see the value. Elsewhere, and in a program that another one tail-called, it answers "
	"-EOPNOTSUPP.\n"
	"- session_is_return, session_cookie are the kernel functions bpf_session_is_return and bpf_session_cookie, for "
	"uprobe_multi session programs. The cookies of\n  16,384 calls under way are kept; what was lost (calls that never "
	"return, copied stacks) is a session whose return is not seen.\n"
	"- From 212 on they are kernel functions (kfuncs, bpf_NAME), which programs call by the function's id in the kernel's "
	"BTF.\n"
	"- rcu_read_lock, preempt_disable and their counterparts mark sections that the verifier looks at; at run time they have "
	"nothing to do (src/helpers/iter.c).\n"
	"- strcmp and the other functions on strings read what is the program's own (stack, maps, records, context) and the "
	"task, and answer -ERANGE to the target's\n  memory, as kernels do; the kernel's own memory is -EFAULT.\n"
	"- dynptr_slice_rdwr: kernels refuse it to programs that get no packets, and so does limpet.\n"
	"- Other kernel functions are refused: `calling kernel function bpf_NAME is not allowed`. Linux 6.18 offers uprobes these besides: bpf_arena_*, "
	"bpf_wq_*, bpf_task_work_*,\n  bpf_stream_*, bpf_res_spin_*, bpf_local_irq_*, bpf_iter_bits_*; and, on the kernel's own objects, "
	"bpf_get_kmem_cache, bpf_copy_from_user_task_*,\n  bpf_cgroup_*, bpf_map_sum_elem_count, and iterators over tasks, memory areas, control groups and caches.\n"
	"- Helpers for maps that limpet does not have yet are marked so.\n\n"
	"| number | helper | arguments | returns | limpet | programs "
	"|\n|---|---|---|---|---|---|\n";

static void write_row(FILE *f, u32 id, const struct bpf_helper_desc *d)
{
	fprintf(f, "| %u | %s | ", id, d->name);
	for (u32 i = 0; i < 5 && d->arg[i]; i++)
		fprintf(f, "%s%s", i ? ", " : "", args[d->arg[i]]);
	fprintf(f, " | %s | %s%s | %s%s |\n", rets[d->ret], d->why_not ? "no: " : "yes",
		d->why_not ? d->why_not : "", d->flags & HELPER_GPL_ONLY ? "GPL only " : "",
		d->flags & HELPER_SLEEPABLE ? "sleepable only " : "");
}

static void write_page(FILE *f)
{
	fputs(head, f);
	for (u32 id = 1; id < bpf_helper_max(); id++)
		if (bpf_helper_desc(id))
			write_row(f, id, bpf_helper_desc(id));
}

/* What is said to be there is there, and nothing else. */
static int check_table(void)
{
	int bad = 0;

	for (u32 id = 0; id < bpf_helper_max() || id < helper_table_size(); id++) {
		const struct bpf_helper_desc *d = bpf_helper_desc(id);
		bool have = id < helper_table_size() && helper_table[id];

		if (have != (d && !d->why_not)) {
			printf("# helper %u: descriptor and table disagree\n", id);
			bad = 1;
		}
	}
	printf("%s descriptors and functions agree\n", bad ? "not ok" : "ok");
	return bad;
}

static int check_page(const char *path)
{
	char *want, *have;
	size_t size, n;
	FILE *f = open_memstream(&want, &size);
	int same;

	write_page(f);
	fclose(f);
	f = fopen(path, "r");
	have = calloc(1, size + 2);
	n = f ? fread(have, 1, size + 1, f) : 0;
	same = n == size && !memcmp(have, want, size);
	printf("%s docs/helpers.md is what helpers_doc writes\n", same ? "ok" : "not ok");
	return !same;
}

int main(int argc, char **argv)
{
	if (argc == 2)
		return check_table() | check_page(argv[1]);
	write_page(stdout);
	return 0;
}
