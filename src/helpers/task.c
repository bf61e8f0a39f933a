/* SPDX-License-Identifier: MIT */
/*
 * bpf_get_current_task(): a task that can only be read, by bpf_probe_read_kernel and what is built on it.
 * Nothing is laid out anywhere. What the helper answers, and what pointers in the task answer in turn, are
 * numbers in the kernel's half of the address space, where no process has memory:
 *
 *     | ffff9 | object 6 bits | id 22 bits | offset 16 bits |
 *
 * A read of such an address finds out what is asked for, now: so it costs nothing to have a task, and what
 * is read is never stale. The id is a thread's. Known are the current thread and its process; of others
 * only their ids. A read that asks for a byte limpet does not know is -EFAULT, as of memory that is not there.
 */
#include <asm/stat.h>
#include "bpf/task.h"
#include "helpers/internal.h"
#include "base/mem.h"
#include "base/sys.h"

#define TASK_BASE 0xffff900000000000ULL
#define ID_SHIFT  16
#define ID_MASK   (BIT(22) - 1)
#define OBJ_SHIFT 38
#define OBJ_MASK  63u
#define NAME_LEN  16
#define REGS_SIZE (21 * 8ul) /* struct pt_regs */
#define TASK_SIZE 0x7ffffffff000ULL /* where the kernel's programs take a process's memory to end */

struct place {
	u32 object, id, off;
};

static u64 task_addr(u32 object, u32 id)
{
	return TASK_BASE | (u64)object << OBJ_SHIFT | (u64)id << ID_SHIFT;
}

bool help_is_task(u64 addr)
{
	return addr >> 44 == TASK_BASE >> 44;
}

static struct place place_of(u64 addr)
{
	return (struct place){.object = (u32)(addr >> OBJ_SHIFT) & OBJ_MASK,
			      .id = (u32)(addr >> ID_SHIFT & ID_MASK),
			      .off = (u32)(addr & 0xffff)};
}

/* Who asks. */
struct asker {
	const struct helper_env *env;
	u32 tgid, tid;
};

static int parent_of(const struct asker *a, const struct place *p, u64 *ret)
{
	if ((p->id != a->tid && p->id != a->tgid) || !helper_may(a->env, HELPER_CALL_GETPPID))
		return -EFAULT;
	*ret = task_addr(TASK_OF_PROCESS, (u32)sys_call0(__NR_getppid));
	return 0;
}

static int task_field(const struct asker *a, const struct place *p, enum task_field f, u64 ret[2])
{
	bool mine = p->id == a->tid || p->id == a->tgid;

	switch (f) {
	case TASK_PID:
		ret[0] = p->id;
		return 0;
	case TASK_TGID:
		ret[0] = p->object == TASK_OF_PROCESS ? p->id : a->tgid;
		return p->object == TASK_OF_PROCESS || p->id == a->tid ? 0 : -EFAULT;
	case TASK_COMM:
		return p->id == a->tid && !help_thread_name(a->env, ret) ? 0 : -EFAULT;
	case TASK_REAL_PARENT:
	case TASK_PARENT:
		return parent_of(a, p, ret);
	case TASK_GROUP_LEADER:
		ret[0] = task_addr(TASK_OF_PROCESS, p->object == TASK_OF_PROCESS ? p->id : a->tgid);
		return p->object == TASK_OF_PROCESS || p->id == a->tid ? 0 : -EFAULT;
	case TASK_NSPROXY:
		ret[0] = task_addr(TASK_OF_NSPROXY, p->id);
		return mine ? 0 : -EFAULT;
	case TASK_MM:
		ret[0] = task_addr(TASK_OF_MM, a->tgid);
		return mine ? 0 : -EFAULT;
	default: /* both credentials: they differ while the kernel acts for others only */
		ret[0] = task_addr(TASK_OF_CRED, p->id);
		return mine ? 0 : -EFAULT;
	}
}

static int cred_field(const struct asker *a, const struct place *p, enum task_field f, u64 ret[2])
{
	bool group = (f - TASK_CRED_UID) & 1;
	u32 ids[3]; /* real, effective, saved */

	if (p->id != a->tid ||
	    !helper_may(a->env, group ? HELPER_CALL_GETRESGID : HELPER_CALL_GETRESUID) ||
	    sys_call3(group ? __NR_getresgid : __NR_getresuid, (long)&ids[0], (long)&ids[1],
		      (long)&ids[2]))
		return -EFAULT;
	ret[0] = ids[f <= TASK_CRED_GID ? 0 : f >= TASK_CRED_EUID ? 1 : 2];
	return 0;
}

static int namespace_number(const struct asker *a, const struct place *p, enum task_field f,
			    u64 ret[2])
{
	static const char names[][8] = {"mnt", "uts", "ipc", "pid", "net", "cgroup"};
	char path[40] = "/proc/thread-self/ns/";
	struct stat st;

	if ((p->id != a->tid && p->id != a->tgid) || !helper_may(a->env, HELPER_CALL_STAT))
		return -EFAULT;
	if (p->id != a->tid)
		memcpy(path, "/proc/self/ns/\0\0\0\0\0\0\0", 21);
	memcpy(path + strlen(path), names[f - TASK_MNT_INUM], 8);
	if (sys_call2(__NR_stat, path, &st))
		return -EFAULT;
	ret[0] = st.st_ino;
	return 0;
}

static int field(const struct asker *a, const struct place *p, enum task_field f, u64 ret[2])
{
	ret[0] = ret[1] = 0;
	if (f >= TASK_MNT_INUM)
		return namespace_number(a, p, f, ret);
	if (f >= TASK_NSPROXY_MNT) {
		ret[0] = task_addr(TASK_OF_MNT_NS + (f - TASK_NSPROXY_MNT), p->id);
		return p->id == a->tid || p->id == a->tgid ? 0 : -EFAULT;
	}
	return f >= TASK_CRED_UID ? cred_field(a, p, f, ret) : task_field(a, p, f, ret);
}

/* The field of the object that byte `off` belongs to, or TASK_FIELDS. */
static u32 field_at(const struct task_layout *l, u32 object, u32 off)
{
	if (object == TASK_OF_THREAD)
		object = TASK_OF_PROCESS;
	for (u32 f = 0; f < TASK_FIELDS; f++)
		if (task_field_of(f) == object && l->off[f] != TASK_NOT_THERE && off >= l->off[f] &&
		    off - l->off[f] < task_field_size(f))
			return f;
	return TASK_FIELDS;
}

/* To the end of its field. */
long help_task_piece(const struct vm_run *run, u8 *dst, u64 addr, u64 size)
{
	const struct helper_env *env = run->env;
	struct place p = place_of(addr);
	u64 value[2], me = help_identity(env);
	struct asker a = {env, (u32)(me >> 32), (u32)me};
	u32 f, from, n;

	if (!env->task || !atomic_load_explicit(&env->task->ready, memory_order_acquire) ||
	    (s64)me < 0)
		return -EFAULT;
	f = field_at(env->task, p.object, p.off);
	if (f == TASK_FIELDS || field(&a, &p, f, value))
		return -EFAULT;
	from = p.off - env->task->off[f];
	if (from >= task_field_size(f)) /* it has changed meanwhile: somebody spoils the session */
		return -EFAULT;
	n = task_field_size(f) - from;
	if (n > size)
		n = (u32)size;
	memcpy(dst, (const u8 *)value + from, n);
	return n;
}

u64 help_current_task(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	u64 me = help_identity(run->env);

	if (unlikely((s64)me < 0))
		return 0; /* a seccomp filter forbids to ask; no read from there succeeds */
	return task_addr(me >> 32 == (u32)me ? TASK_OF_PROCESS : TASK_OF_THREAD, (u32)me);
}

static NOINLINE u64 read_task(u8 *dst, u64 size, u64 src, struct vm_run *run)
{
	for (u64 done = 0; done < size;) {
		long n = help_task_piece(run, dst + done, src + done, size - done);

		if (n < 0) {
			memset(dst, 0, size);
			return (u64)n;
		}
		done += (u64)n;
	}
	return 0;
}

/* The length with the NUL. */
static NOINLINE u64 read_task_str(char *dst, u64 size, u64 src, struct vm_run *run)
{
	u64 done = 0;

	while (done < size) {
		char piece[NAME_LEN];
		long n = help_task_piece(run, (u8 *)piece, src + done,
				    size - done < NAME_LEN ? size - done : NAME_LEN);

		if (n < 0) {
			memset(dst, 0, size);
			return (u64)n;
		}
		for (long i = 0; i < n; i++, done++) {
			dst[done] = piece[i];
			if (!piece[i])
				return done + 1;
		}
	}
	if (size)
		dst[size - 1] = 0;
	return size;
}

/* The registers of the hit, for the current task; nobody else's are known. Where there are none, a NULL that reads as zeroes. */
u64 help_task_pt_regs(u64 task, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_hit *hit = help_hit(run);

	return hit && help_is_current(task, run) ? (u64)hit->regs : 0;
}

bool help_is_current(u64 task, struct vm_run *run)
{
	return task && task == help_current_task(0, 0, 0, 0, 0, run);
}

/* Of this process's tasks: other processes' memory is not the target's to read. */
u64 help_copy_from_user_task(u64 dst, u64 size, u64 src, u64 task, u64 flags, struct vm_run *run)
{
	const u64 me = help_identity(run->env);
	const struct place p = place_of(task);
	bool mine = help_is_task(task) && (s64)me >= 0 && (p.id == me >> 32 || p.id == (u32)me) &&
		    (p.object == TASK_OF_THREAD || p.object == TASK_OF_PROCESS);

	if (flags)
		return (u64)-EINVAL;
	if (!size || (mine && !help_copy(run, (void *)dst, src, size)))
		return 0;
	memset((void *)dst, 0, size);
	return (u64)-EFAULT;
}

u64 help_cast(u64 pointer, u64 type, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return pointer;
}

static bool in_registers(const struct vm_run *run, u64 addr, u64 size)
{
	const struct helper_hit *hit = help_hit(run);

	return hit && addr - (u64)hit->regs <= REGS_SIZE - size;
}

u64 helper_probe(struct vm_run *run, u64 addr, u32 size)
{
	u64 value = 0;

	if (help_is_task(addr))
		read_task((u8 *)&value, size, addr, run);
	else if (in_registers(run, addr, size) || vm_may_access(run, addr, size, false))
		memcpy(&value, (const void *)addr, size);
	return value;
}

/* Of what cannot be read: kernels tell addresses that are not theirs from memory that is not there. */
static u64 error_of(u64 src, u64 ret)
{
	return (s64)ret == -EFAULT && help_not_kernels(src) ? (u64)-ERANGE : ret;
}

u64 help_probe_read_kernel(u64 dst, u64 size, u64 src, u64 r4, u64 r5, struct vm_run *run)
{
	if (unlikely(help_is_task(src)))
		return read_task((u8 *)dst, size, src, run);
	return error_of(src, help_probe_read(dst, size, src, 0, 0, run));
}

u64 help_probe_read_kernel_str(u64 dst, u64 size, u64 src, u64 r4, u64 r5, struct vm_run *run)
{
	if (unlikely(help_is_task(src)))
		return read_task_str((char *)dst, size, src, run);
	return error_of(src, help_probe_read_str(dst, size, src, 0, 0, run));
}

/* The old names: by the address. */
u64 help_probe_read_any(u64 dst, u64 size, u64 src, u64 r4, u64 r5, struct vm_run *run)
{
	return src < TASK_SIZE ? help_probe_read(dst, size, src, 0, 0, run)
			       : help_probe_read_kernel(dst, size, src, 0, 0, run);
}

u64 help_probe_read_any_str(u64 dst, u64 size, u64 src, u64 r4, u64 r5, struct vm_run *run)
{
	return src < TASK_SIZE ? help_probe_read_str(dst, size, src, 0, 0, run)
			       : help_probe_read_kernel_str(dst, size, src, 0, 0, run);
}
