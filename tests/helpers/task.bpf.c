/* SPDX-License-Identifier: MIT */
/* The current task, read by CO-RE: by the types of the BTF in use, or with LAYOUT those here as they stand. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "results.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define KERNEL __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} KERNEL;

struct mnt_namespace {
	struct ns_common ns;
} KERNEL;

struct uts_namespace {
	struct ns_common ns;
} KERNEL;

struct ipc_namespace {
	struct ns_common ns;
} KERNEL;

struct pid_namespace {
	struct ns_common ns;
} KERNEL;

struct net {
	struct ns_common ns;
} KERNEL;

struct cgroup_namespace {
	struct ns_common ns;
} KERNEL;

struct nsproxy {
	struct uts_namespace *uts_ns;
	struct ipc_namespace *ipc_ns;
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
	struct cgroup_namespace *cgroup_ns;
} KERNEL;

struct kid {
	unsigned int val;
};

struct cred {
	struct kid uid, gid, suid, sgid, euid, egid;
} KERNEL;

struct mm_struct;

struct task_struct {
	int pid, tgid;
	char comm[16];
	struct task_struct *real_parent, *parent, *group_leader;
	const struct cred *cred, *real_cred;
	struct nsproxy *nsproxy;
	struct mm_struct *mm;
	int exit_signal;
} KERNEL;

#define ID(kid) (BPF_CORE_READ(task, cred, kid.val) << 8 | BPF_CORE_READ(task, real_cred, kid.val))

/* The third argument: a thread other than the first? */
SEC("uprobe")
int stacks(struct pt_regs *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 at = 10 + 40 * (PT_REGS_PARM3(ctx) & 1);
	__u64 id = bpf_get_current_pid_tgid();
	struct result *r;
	char name[4];

	if ((r = result(at)))
		r->ret = 1 + ((__u32)BPF_CORE_READ(task, pid) == (__u32)id) +
			 2 * ((__u32)BPF_CORE_READ(task, tgid) == id >> 32);
	if ((r = result(at + 1)))
		r->ret = 1000 + bpf_probe_read_kernel(r->out, 16, &task->comm);
	if ((r = result(at + 2)))
		r->ret = 1000 + bpf_probe_read_kernel_str(r->out, 16, &task->comm);
	if ((r = result(at + 3)))
		r->ret = 1000 + bpf_probe_read_kernel_str(r->out, 4, &task->comm);
	if ((r = result(at + 4)))
		r->ret = 1000 + bpf_probe_read_kernel(r->out, 5, (char *)&task->comm + 3);
	if ((r = result(at + 5)))
		r->ret = 1 + ((__u32)BPF_CORE_READ(task, group_leader, pid) == id >> 32) +
			 2 * ((__u32)BPF_CORE_READ(task, group_leader, tgid) == id >> 32) +
			 4 * (BPF_CORE_READ(task, group_leader) == task) +
			 8 * (BPF_CORE_READ(task, group_leader, group_leader) == BPF_CORE_READ(task, group_leader));
	if ((r = result(at + 6)))
		r->ret = 1 + (BPF_CORE_READ(task, real_parent, tgid) == BPF_CORE_READ(task, real_parent, pid)) +
			 2 * (BPF_CORE_READ(task, real_parent) == BPF_CORE_READ(task, parent)) +
			 4 * (BPF_CORE_READ(task, real_parent, group_leader) == BPF_CORE_READ(task, parent));
	if ((r = result(at + 7)))
		r->ret = BPF_CORE_READ(task, real_parent, tgid);
	if ((r = result(at + 8)))
		r->ret = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	if ((r = result(at + 9)))
		r->ret = BPF_CORE_READ(task, nsproxy, uts_ns, ns.inum);
	if ((r = result(at + 10)))
		r->ret = BPF_CORE_READ(task, nsproxy, ipc_ns, ns.inum);
	if ((r = result(at + 11)))
		r->ret = BPF_CORE_READ(task, nsproxy, pid_ns_for_children, ns.inum);
	if ((r = result(at + 12)))
		r->ret = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	if ((r = result(at + 13)))
		r->ret = BPF_CORE_READ(task, nsproxy, cgroup_ns, ns.inum);
	if ((r = result(at + 14)))
		r->ret = ID(uid);
	if ((r = result(at + 15)))
		r->ret = ID(gid);
	if ((r = result(at + 16)))
		r->ret = ID(euid);
	if ((r = result(at + 17)))
		r->ret = ID(egid);
	if ((r = result(at + 18)))
		r->ret = ID(suid);
	if ((r = result(at + 19)))
		r->ret = ID(sgid);
	if ((r = result(at + 20)))
		r->ret = 1 + (BPF_CORE_READ(task, mm) != 0) + 2 * ((void *)bpf_get_current_task() == task);
	if ((r = result(at + 21)))
		r->ret = 1000 + bpf_probe_read_user(name, 4, &task->comm);
	if ((r = result(at + 22)))
		r->ret = 1000 + bpf_probe_read_user_str(name, 4, &task->comm);
	if ((r = result(at + 23)))
		r->ret = 1000 + bpf_probe_read(r->out, 16, &task->comm);
	if ((r = result(at + 24)))
		r->ret = 1000 + bpf_probe_read_kernel(r->out, 0, &task->comm);
	return 0;
}

/* What limpet does not know is not there. */
SEC("uprobe")
int astray(struct pt_regs *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct result *r;
	char bytes[64];

	if (PT_REGS_PARM1(ctx))
		return 0;
	if ((r = result(100)))
		r->ret = 1000 + bpf_probe_read_kernel(bytes, 4, &task->exit_signal);
	if ((r = result(101)))
		r->ret = 1000 + bpf_probe_read_kernel(bytes, 64, &task->comm);
	if ((r = result(102)))
		r->ret = 1000 + bpf_probe_read_kernel(bytes, 16, &BPF_CORE_READ(task, real_parent)->comm);
	if ((r = result(103)))
		r->ret = 1000 + bpf_probe_read_kernel(bytes, 8, BPF_CORE_READ(task, mm));
	return 0;
}
