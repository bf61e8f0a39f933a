/* SPDX-License-Identifier: MIT */
/* The current task and its registers by plain loads, which the verifier lets through by the kernel's types. */
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

struct pid_namespace {
	struct ns_common ns;
} KERNEL;

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
} KERNEL;

struct kid {
	unsigned int val;
};

struct cred {
	struct kid uid, gid, euid, egid;
} KERNEL;

struct mm_struct {
	unsigned long start_code;
} KERNEL;

struct task_struct {
	int pid, tgid;
	char comm[16];
	struct task_struct *real_parent, *parent, *group_leader;
	const struct cred *cred, *real_cred;
	struct nsproxy *nsproxy;
	struct mm_struct *mm;
	int exit_signal;
} KERNEL;

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern void *bpf_rdonly_cast(const void *obj, __u32 type) __ksym;

struct regs {
	unsigned long word[21];
};

/* The third argument: a thread other than the first? */
SEC("uprobe")
int stacks(struct pt_regs *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 at = 10 + 40 * (PT_REGS_PARM3(ctx) & 1);
	__u64 id = bpf_get_current_pid_tgid();
	struct pt_regs *regs = (void *)bpf_task_pt_regs(task);
	struct result *r;

	if ((r = result(at)))
		r->ret = 1 + ((__u32)task->pid == (__u32)id) + 2 * ((__u32)task->tgid == id >> 32) + 4 * (task != NULL);
	if ((r = result(at + 1)))
		for (int i = 0; i < 16; i++)
			r->out[i] = task->comm[i];
	if ((r = result(at + 2)))
		r->ret = 1 + ((__u32)task->group_leader->pid == id >> 32) + 2 * (task->group_leader == task) +
			 4 * (task->group_leader->group_leader == task->group_leader);
	if ((r = result(at + 3)))
		r->ret = 1 + (task->real_parent->tgid == task->real_parent->pid) + 2 * (task->real_parent == task->parent) +
			 4 * (task->real_parent->pid == (int)BPF_CORE_READ(task, real_parent, pid));
	if ((r = result(at + 4)))
		r->ret = task->nsproxy->mnt_ns->ns.inum;
	if ((r = result(at + 5)))
		r->ret = task->nsproxy->pid_ns_for_children->ns.inum;
	if ((r = result(at + 6)))
		r->ret = (__u64)task->cred->uid.val << 32 | task->cred->egid.val;
	if ((r = result(at + 7)))
		r->ret = (__u64)task->real_cred->gid.val << 32 | task->real_cred->euid.val;
	if ((r = result(at + 8)))
		r->ret = 1 + (task->mm != NULL) + 2 * ((__u64)task == bpf_get_current_task());
	if ((r = result(at + 9))) /* parts of members */
		r->ret = ((unsigned short *)&task->comm)[1] << 16 | ((unsigned char *)&task->comm)[9] << 8 |
			 (((unsigned char *)&task->pid)[3] == (__u32)id >> 24);
	if ((r = result(at + 10))) { /* all the registers that programs get, but those that the kernel keeps for itself */
		const struct regs *mine = (void *)ctx;

#pragma clang loop unroll(full)
		for (int i = 0; i < 21; i++)
			r->out[i] = i == 15 || i == 17 || i == 18 || i == 20 ? 1 : ((unsigned long *)regs)[i] == mine->word[i];
		r->ret = regs->rdi == PT_REGS_PARM1(ctx);
	}
	if ((r = result(at + 11))) /* by the address, as memory */
		r->ret = 1000 + bpf_probe_read_kernel(r->out, 8, &task->comm);
	if ((r = result(at + 12))) {
		unsigned long sp = 0;

		r->ret = 1000 + bpf_probe_read_kernel(&sp, 8, &regs->rsp);
		r->out[0] = 1 + (sp == PT_REGS_SP(ctx));
	}
	if ((r = result(at + 13))) { /* a number that is a task, and what is none */
		struct task_struct *cast = bpf_rdonly_cast((void *)bpf_get_current_task(), bpf_core_type_id_kernel(struct task_struct));
		struct task_struct *none = bpf_rdonly_cast((void *)PT_REGS_SP(ctx), bpf_core_type_id_kernel(struct task_struct));

		r->ret = 1 + (cast->pid == task->pid) + 2 * (cast->group_leader->tgid == task->tgid) +
			 4 * (none->pid == 0 && none->group_leader == NULL);
	}
	if ((r = result(at + 14)))
		r->ret = 1 + (((struct pt_regs *)bpf_cast_to_kern_ctx(ctx))->rdi == PT_REGS_PARM1(ctx));
	if ((r = result(at + 15))) { /* a program's own memory is the kernel's there */
		char word[8] = "own";

		r->out[0] = 'v';
		r->out[1] = ((char *)bpf_rdonly_cast(r->out, 0))[0];
		r->out[2] = ((char *)bpf_rdonly_cast(word, 0))[1];
		r->ret = 1 + ((__u64)bpf_rdonly_cast(word, 0) == (__u64)word);
	}
	if ((r = result(at + 16))) {
		__u64 mine[3] = {0};
		long n = bpf_get_stack(ctx, mine, sizeof(mine), BPF_F_USER_STACK);

		r->ret = 1000 + bpf_get_task_stack(task, r->out, sizeof(mine), BPF_F_USER_STACK);
		for (int i = 0; i < 24; i++)
			r->out[i] = r->out[i] == ((char *)mine)[i];
		r->out[24] = r->ret == 1000 + n;
	}
	if ((r = result(at + 17)))
		r->ret = 1000 + bpf_get_task_stack(task, r->out, 24, BPF_F_USER_STACK | 1ull << 40);
	return 0;
}

/* What limpet does not know reads as what cannot be read: 0. */
SEC("uprobe")
int astray(struct pt_regs *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct result *r;

	if (PT_REGS_PARM1(ctx))
		return 0;
	if ((r = result(100)))
		r->ret = 1000 + task->exit_signal;
	if ((r = result(101)))
		r->ret = 1000 + task->real_parent->comm[0];
	if ((r = result(102)))
		r->ret = 1000 + task->mm->start_code;
	return 0;
}
