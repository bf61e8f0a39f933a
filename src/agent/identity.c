/* SPDX-License-Identifier: MIT */
/*
 * Makes thread identity cheap while it is exact (helpers.h, "Identity without a system call"):
 * finds where libc keeps thread ids, checks that against every thread there is, and patches the
 * system calls in libc that make threads and processes. Only where a loaded program asks who runs.
 * Such a call is replaced by a jump to a stub (call_stub.c), which asks identity_call() first.
 *
 * A thread found behind the replaced instruction is moved to the stub's start (agent.moves), so
 * from the patch on every such call is seen. A child that was made before, and whose parent waits
 * for it in the kernel (a stuck thread outside our stubs), is not: then identity stays with the
 * kernel. Threads in stubs are found by the keeper as those in trampolines are, and the stub stays
 * until they have left it.
 *
 * A probe on the patched instructions has precedence: identity goes back to asking the kernel, until
 * no program asks any more. So it does for good (IDENT_NEVER) once somebody makes a thread that borrows
 * its thread pointer and is not waited for, or that keeps its id elsewhere. Objects that appear later
 * are looked through at the next SYNC.
 *
 * prctl, syscall and seccomp are patched wherever they are found, also where identity cannot be exact:
 * they install filters (seccomp.c).
 */
#include <asm/errno.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"

#define CALLS          12
#define STACKS_SIZE    (HELPER_STACKS * sizeof(struct helper_stack))
#define REACH          24 /* bytes before a patch from where a probe's window may reach it */
#define PR_SET_SECCOMP 22

enum patch_state { PATCH_NONE, PATCH_LISTED, PATCH_LIVE, PATCH_RETIRED };

static struct patch {
	u64 at, stub;
	u32 len;
	u32 nr;   /* as in struct libc_call */
	u8 state; /* enum patch_state */
	u8 orig[ATTACH_JMP_LEN];
	struct tramp_area *area;
} patches[2 * CALLS];

static struct helper_stack *stacks; /* lent to agent.env while every new thread's is noted */
static bool exact;    /* identity may be read: all the calls that matter are patched */
static u64 tid_off;   /* that the patches go with */
static u64 text_seen; /* fingerprint of the objects looked through */

bool identity_used(const struct bpf_insn *insns, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		if (insns[i].code != (BPF_JMP | BPF_CALL) || insns[i].src_reg)
			continue;
		switch (insns[i].imm) {
		case BPF_FUNC_get_current_uid_gid: /* these make system calls, which filters forbid */
		case BPF_FUNC_get_prandom_u32:
		case BPF_FUNC_probe_write_user:
		case BPF_FUNC_send_signal:
		case BPF_FUNC_send_signal_thread:
		case BPF_FUNC_jiffies64:
		case BPF_FUNC_probe_read_kernel:
		case BPF_FUNC_probe_read_kernel_str:
		case BPF_FUNC_snprintf:
		case BPF_FUNC_get_current_task:
		case BPF_FUNC_spin_lock:
		case BPF_FUNC_probe_read: /* these ask how far the stack goes */
		case BPF_FUNC_probe_read_str:
		case BPF_FUNC_probe_read_user:
		case BPF_FUNC_probe_read_user_str:
		case BPF_FUNC_get_stack:
		case BPF_FUNC_get_stackid:
		case BPF_FUNC_trace_printk: /* these, who runs */
		case BPF_FUNC_get_current_pid_tgid:
		case BPF_FUNC_get_current_comm:
		case BPF_FUNC_get_ns_current_pid_tgid:
		case BPF_FUNC_trace_vprintk:
			return true;
		}
	}
	return false;
}

/*
 * Reads the flags of a call; the thread's new thread pointer and where its id is stored, if so
 * asked.
 */
static bool thread_made(const struct call_regs *r, u32 nr, u64 *ret_flags, u64 *ret_tls,
			u64 *ret_tid_at)
{
	const struct clone_args *a = (const struct clone_args *)r->rdi;

	if (nr == __NR_clone) {
		*ret_flags = r->rdi;
		*ret_tls = r->r8;
		*ret_tid_at = r->rdx;
		return true;
	}
	if (!a || r->rsi < 64) /* CLONE_ARGS_SIZE_VER0: the kernel refuses it */
		return false;
	*ret_flags = a->flags;
	*ret_tls = a->tls;
	*ret_tid_at = a->parent_tid;
	return true;
}

static void never(void)
{
	atomic_fetch_or_explicit(&agent.env.process->ident, IDENT_NEVER, memory_order_relaxed);
}

/* The stack that a new thread will run on. */
static void note_stack(u64 tp, const struct clone_args *a)
{
	helper_stack_note(&agent.env, tp, a->stack, a->stack + a->stack_size);
}

/*
 * Called by a stub before the system call. True: counted, the stub takes it back. `any`: from
 * syscall(), where nobody vouches for clone3's pointer, so it is not read.
 */
static bool identity_call(const struct call_regs *r, u32 nr, bool any)
{
	struct helper_process *p = agent.env.process;
	u64 flags = CLONE_VM | CLONE_VFORK, tls = 0, tid_at = 0, ident;

	nr &= ~0x40000000u; /* x32 */
	if (nr == __NR_seccomp || nr == __NR_prctl) {
		/*
		 * seccomp(op, flags, fprog) with op 0 strict, 1 filter; prctl(PR_SET_SECCOMP, mode,
		 * fprog) with 1, 2
		 */
		if (nr == __NR_seccomp ? r->rdi < 2 : r->rdi == PR_SET_SECCOMP)
			seccomp_begins(nr == __NR_seccomp ? r->rdi == 1 : r->rsi == 2, r->rdx);
		return false;
	}
	if (any && nr != __NR_clone && nr != __NR_vfork) {
		if (r->rdi && r->rsi >= 64)
			never();
		return false;
	}
	if ((nr != __NR_vfork && !thread_made(r, nr, &flags, &tls, &tid_at)) || !(flags & CLONE_VM))
		return false;
	if (flags & CLONE_VFORK) {
		atomic_fetch_add_explicit(&p->ident, IDENT_ONE, memory_order_relaxed);
		return true;
	}
	if (!(flags & CLONE_SETTLS) || !(flags & CLONE_THREAD) || !(flags & CLONE_PARENT_SETTID) ||
	    tid_at != tls + tid_off) {
		never();
		return false;
	}
	if (nr != __NR_clone)
		note_stack(tls, (const struct clone_args *)r->rdi);
	/* A vfork child that makes threads: they may outlive its count, in another thread group. */
	ident = atomic_load_explicit(&p->ident, memory_order_relaxed);
	if (ident >> 32 && (u32)ident != (u32)sys_getpid())
		never();
	return false;
}

static struct patch *free_patch(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(patches); i++)
		if (!patches[i].state)
			return &patches[i];
	return NULL;
}

static void jump_of(const struct patch *p, u8 *jmp)
{
	u32 rel = (u32)(p->stub - (p->at + ATTACH_JMP_LEN));

	jmp[0] = 0xe9;
	memcpy(jmp + 1, &rel, 4);
}

static int add_patch(const struct libc_call *call)
{
	struct patch *p = free_patch();
	u8 code[ATTACH_TRAMP_MAX], jmp[ATTACH_JMP_LEN];
	struct agent_move *m;

	if (!p || !call_stub_fits(call->at))
		return -ENOENT;
	p->at = call->at;
	memcpy(p->orig, (const void *)call->at, sizeof(p->orig));
	p->nr = call->nr;
	p->stub = code_room(call->at, &p->area);
	if (!p->stub)
		return -ENOMEM;
	p->len = call_stub_emit(code, p->stub, call, identity_call);
	jump_of(p, jmp);
	m = vec_push(&agent.moves, sizeof(*m));
	if (!m || code_write(p->stub, code, p->len) || code_patch(p->at, p->orig, jmp, sizeof(jmp)))
		return -ENOMEM;
	*m = (struct agent_move){.from = p->at + ATTACH_JMP_LEN, .to = p->stub};
	code_room_taken(p->area, p->len);
	p->state = PATCH_LISTED;
	return 0;
}

static bool in_stub(u64 pc)
{
	for (u32 i = 0; i < ARRAY_SIZE(patches); i++)
		if (patches[i].state && pc >= patches[i].stub &&
		    pc < patches[i].stub + patches[i].len)
			return true;
	return false;
}

static const struct agent_region *region_at(u64 addr)
{
	for (u32 i = 0; i < agent.region_count; i++)
		if (addr >= agent.regions[i].start && addr < agent.regions[i].end)
			return agent.regions[i].read ? &agent.regions[i] : NULL;
	return NULL;
}

static bool tid_kept_at(u64 tp, u32 tid)
{
	const struct agent_region *r = region_at(tp);

	return r && r->end - tp > tid_off + 4 && *(const u64 *)tp == tp &&
	       *(const u32 *)(tp + tid_off) == tid;
}

/* Does every thread there is keep its id where we would read it? */
static bool threads_agree(void)
{
	u64 tp;

	if (!agent.threads) {
		__asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
		return tid_kept_at(tp, (u32)sys_gettid());
	}
	for (u32 i = 0; i < agent.thread_count; i++) {
		const struct agent_thread *t = &agent.threads[i];

		if (t->stuck ? !in_stub(t->pc) : !tid_kept_at(t->tp, t->tid))
			return false;
	}
	return agent.thread_count;
}

/* Sites, living or with their bytes about to come back, that hide a call we would have to patch. */
static bool sites_hide_calls(void)
{
	for (struct site *s = agent.sites; s; s = s->next) {
		const struct agent_region *r = region_at(s->plan.addr);
		u64 from = s->plan.addr - REACH, len;
		u8 text[2 * REACH];

		if (!r)
			continue; /* unmapped with its object */
		if (from < r->start)
			from = r->start;
		len = r->end - from < sizeof(text) ? r->end - from : sizeof(text);
		memcpy(text, (const void *)from, len);
		sites_overlay(text, from, len);
		if (libc_calls_in(text, len))
			return true;
	}
	return false;
}

/* Changes when another object with code is mapped. */
static u64 fingerprint(void)
{
	u64 sum = 1;

	for (u32 i = 0; i < agent.region_count; i++)
		if (agent.regions[i].exec && agent.regions[i].ino)
			sum = (sum ^ agent.regions[i].start ^ agent.regions[i].ino << 20) *
			      0x100000001b3ULL;
	return sum;
}

static bool patched(const struct patch *p)
{
	return p->state == PATCH_LISTED || p->state == PATCH_LIVE;
}

static bool in_force(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(patches); i++)
		if (patched(&patches[i]))
			return true;
	return false;
}

static bool is_patched(u64 at)
{
	for (u32 i = 0; i < ARRAY_SIZE(patches); i++)
		if (patches[i].state && patches[i].at == at)
			return true;
	return false;
}

/* Back to asking the kernel. */
static void give_up(void)
{
	exact = false;
	if (agent.env.process)
		atomic_fetch_or_explicit(&agent.env.process->ident, IDENT_OFF,
					 memory_order_relaxed);
	agent.env.tid_off = 0;
	agent.env.stacks = NULL; /* nobody notes new ones any more */
}

/* libc's bytes return; the stub stays while somebody is in it. */
static void restore(struct patch *p)
{
	u8 jmp[ATTACH_JMP_LEN];

	jump_of(p, jmp);
	code_patch(p->at, jmp, p->orig, ATTACH_JMP_LEN);
	p->state = PATCH_RETIRED;
}

static void withdraw(void)
{
	give_up();
	for (u32 i = 0; i < ARRAY_SIZE(patches); i++)
		if (patched(&patches[i]))
			restore(&patches[i]);
}

static bool wanted(bool none)
{
	if (none || !agent.env.process || !agent.env.tp_is_thread)
		return false;
	for (struct agent_prog *p = agent.progs; p; p = p->next)
		if (p->reached && p->uses_identity)
			return true;
	return false;
}

/* Does a probe want the instruction at `at`, or what a window that reaches it begins with? */
static bool probe_near(u64 at)
{
	const struct want *w = agent.wants.data;

	for (u32 i = 0; i < agent.wants.count; i++)
		if (w[i].addr + REACH > at && w[i].addr < at + ATTACH_JMP_LEN + 2)
			return true;
	return false;
}

void identity_begin(bool none)
{
	if (!wanted(none)) {
		if (in_force())
			withdraw();
		return;
	}
	for (u32 i = 0; i < ARRAY_SIZE(patches); i++)
		if (patched(&patches[i]) && probe_near(patches[i].at)) {
			give_up();
			restore(&patches[i]);
		}
}

/*
 * The stack of a thread that is there: of the main thread the mapping named so, of others what lies
 * in one mapping with the thread pointer, below it. (A stack made by somebody else, as coroutines
 * have, is neither.)
 */
static void note_found_stack(u64 tp, u64 sp)
{
	const struct agent_region *r = region_at(sp);

	if (r && r->stack)
		helper_stack_note(&agent.env, tp, r->start, r->end);
	else if (r && tp > sp && tp < r->end)
		helper_stack_note(&agent.env, tp, r->start, tp);
}

static void note_found_stacks(void)
{
	u64 tp;

	if (!stacks)
		stacks = map_anon(STACKS_SIZE, PROT_READ | PROT_WRITE);
	else
		memset(stacks, 0, STACKS_SIZE);
	agent.env.stacks = stacks;
	if (!agent.threads) {
		__asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
		note_found_stack(tp, (u64)__builtin_frame_address(0));
	}
	for (u32 i = 0; i < agent.thread_count && agent.threads; i++)
		if (!agent.threads[i].stuck)
			note_found_stack(agent.threads[i].tp, agent.threads[i].sp);
}

static bool makes_threads(u32 nr)
{
	return nr != __NR_prctl && nr != __NR_seccomp;
}

/* Are all calls there that make threads and processes, and none in the way of a probe? */
static bool calls_complete(const struct libc_calls *calls)
{
	u32 kinds = 0;

	for (u32 i = 0; i < calls->count; i++) {
		u32 nr = calls->call[i].nr;

		if (makes_threads(nr) && probe_near(calls->call[i].at))
			return false;
		kinds |= !nr ? 1 : nr == __NR_clone ? 2 : nr == __NR_vfork ? 4 : 8;
	}
	return (kinds & 7) == 7; /* clone3 came with glibc 2.34 */
}

/* Patches what is not yet; what watches for filters also where identity cannot be exact. */
static void patch_all(const struct libc_calls *calls)
{
	for (u32 i = 0; i < calls->count; i++) {
		const struct libc_call *c = &calls->call[i];

		if (is_patched(c->at) || probe_near(c->at) ||
		    (c->nr && makes_threads(c->nr) && !exact))
			continue;
		if (add_patch(c) && makes_threads(c->nr))
			give_up();
	}
}

void identity_end(bool none)
{
	struct libc_calls calls;
	bool fresh = !in_force();

	if (!wanted(none) || (!fresh && text_seen == fingerprint()))
		return;
	text_seen = fingerprint();
	libc_find(&calls);
	if (fresh) {
		tid_off = calls.tid_off;
		exact = calls.exact && !sites_hide_calls() && calls_complete(&calls) &&
			threads_agree();
		if (exact)
			note_found_stacks();
	} else if (!calls.exact) {
		give_up();
	}
	patch_all(&calls);
}

void identity_commit(void)
{
	struct helper_process *p = agent.env.process;
	u32 listed = 0;
	u64 old;

	for (u32 i = 0; i < ARRAY_SIZE(patches); i++) {
		if (patches[i].state != PATCH_LISTED)
			continue;
		if (*(const u8 *)patches[i].at != 0xe9)
			return; /* could not be written: stays off, the next SYNC takes it back */
		patches[i].state = PATCH_LIVE;
		listed++;
	}
	if (!listed || !exact)
		return;
	agent.env.tid_off = tid_off;
	old = atomic_load(&p->ident);
	while (!atomic_compare_exchange_weak(&p->ident, &old,
					     ((old & ~IDENT_OFF) >> 32 << 32) | (u32)sys_getpid()))
		;
}

bool identity_retire(const u64 *busy, u64 count, bool all_idle)
{
	bool left = false;

	for (u32 i = 0; i < ARRAY_SIZE(patches); i++) {
		struct patch *p = &patches[i];

		if (p->state != PATCH_RETIRED)
			continue;
		if (!all_idle && busy_in(busy, count, p->stub, p->stub + p->len)) {
			left = true;
			continue;
		}
		code_room_free(p->area);
		*p = (struct patch){0};
	}
	return left;
}

/* Puts libc's bytes over a copy of [base, base + len) of our text. */
void identity_overlay(u8 *text, u64 base, u64 len)
{
	for (u32 k = 0; k < ARRAY_SIZE(patches); k++)
		for (u32 i = 0; patches[k].state && i < ATTACH_JMP_LEN; i++)
			if (patches[k].at + i - base < len)
				text[patches[k].at + i - base] = patches[k].orig[i];
}

void identity_release(void)
{
	if (stacks)
		sys_munmap(stacks, STACKS_SIZE);
	stacks = NULL;
	text_seen = 0;
}
