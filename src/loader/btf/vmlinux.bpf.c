/* SPDX-License-Identifier: MIT */
/*
 * The types limpet brings for machines whose kernel shows no BTF: what uprobe programs relocate against.
 * Compiled with -target bpf -g; its .BTF section is what /sys/kernel/btf/vmlinux reads as there.
 */
#if !defined(__x86_64__) && !defined(LIMPET_BTF_X86_64)
#error "which struct pt_regs?"
#endif

struct pt_regs {
	unsigned long r15;
	unsigned long r14;
	unsigned long r13;
	unsigned long r12;
	unsigned long bp;
	unsigned long bx;
	unsigned long r11;
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long ip;
	unsigned long cs;
	unsigned long flags;
	unsigned long sp;
	unsigned long ss;
};

typedef struct pt_regs bpf_user_pt_regs_t;

/* Of the kernel's tasks what bpf_get_current_task() answers (bpf/task.h). */
struct ns_common {
	unsigned int inum;
};

#define NAMESPACE(name)                                                                            \
	struct name {                                                                              \
		struct ns_common ns;                                                               \
	}

NAMESPACE(mnt_namespace);
NAMESPACE(uts_namespace);
NAMESPACE(ipc_namespace);
NAMESPACE(pid_namespace);
NAMESPACE(net);
NAMESPACE(cgroup_namespace);

struct nsproxy {
	struct uts_namespace *uts_ns;
	struct ipc_namespace *ipc_ns;
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
	struct cgroup_namespace *cgroup_ns;
};

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t suid;
	kgid_t sgid;
	kuid_t euid;
	kgid_t egid;
};

struct mm_struct {
	unsigned long limpet_none;
};

struct task_struct {
	struct mm_struct *mm;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *parent;
	struct task_struct *group_leader;
	const struct cred *real_cred;
	const struct cred *cred;
	char comm[16];
	struct nsproxy *nsproxy;
};

/* Definitions, so that all of them are in the BTF whole. */
struct task_struct limpet_task;
struct cred limpet_cred;
struct nsproxy limpet_nsproxy;
struct {
	struct mnt_namespace mnt;
	struct uts_namespace uts;
	struct ipc_namespace ipc;
	struct pid_namespace pid;
	struct net net;
	struct cgroup_namespace cgroup;
	struct mm_struct mm;
} limpet_parts;

int limpet_types(bpf_user_pt_regs_t *regs)
{
	return (int)regs->ip;
}
