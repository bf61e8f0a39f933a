/* SPDX-License-Identifier: MIT */
/*
 * Makes thread identity cheap while it is exact (helpers.h, "Identity without a system call"):
 * finds where libc keeps thread ids, checks that against every thread there is, and patches the
 * system calls in libc that make threads and processes, or say what catch.c must know. Only while a
 * program is loaded. Such a call is replaced by a jump to a stub (call_stub.c), which asks identity_call() first.
 *
 * A thread found behind the replaced instruction is moved to the stub's start (agent.moves), so
 * from the patch on every such call is seen. A child that was made before, and whose parent waits
 * for it in the kernel (a stuck thread outside our stubs), is not: then identity stays with the
 * kernel. Threads in stubs are found by the keeper as those in trampolines are, and the stub stays
 * until they have left it.
 *
 * Programs on system calls, and trap_calls.c, have sites before such calls: their jump stands in libc's text, and
 * leads to the stub (patches.c). Any other probe on the patched instructions has precedence: identity goes back to
 * asking the kernel, until no program is loaded any more. So it does for good (IDENT_NEVER) once somebody makes a thread that borrows
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

#define MAIN_STACK_MAX (64UL << 20) /* how far down the main thread's is looked up */
#define STACK_GUARD    (1UL << 20) /* that the kernel keeps below it */
#define REACH          24 /* bytes before a patch from where a probe's window may reach it */

static u64 main_tp;           /* the main thread's, as far as it is known */
static bool exact;            /* identity may be read: all the calls that matter are patched */
static bool catches;          /* faults may be caught: so are those that catch.c wants to see */
static bool lingers;          /* catch.c's handler is unwanted, and a thread may need it */
static u64 tid_off;           /* that the patches go with */
static u64 text_seen;         /* fingerprint of the objects looked through */

bool memory_used(const struct bpf_insn *insns, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		if (insns[i].code != (BPF_JMP | BPF_CALL) || insns[i].src_reg)
			continue;
		if (insns[i].imm >= HELPER_PROBE_READ_USER_DYNPTR && insns[i].imm <= HELPER_COPY_FROM_USER_STR)
			return true;
		switch (insns[i].imm) {
		case BPF_FUNC_probe_read:
		case BPF_FUNC_probe_read_str:
		case BPF_FUNC_probe_read_user:
		case BPF_FUNC_probe_read_user_str:
		case BPF_FUNC_probe_read_kernel:
		case BPF_FUNC_probe_read_kernel_str:
		case BPF_FUNC_probe_write_user:
		case BPF_FUNC_copy_from_user:
		case BPF_FUNC_get_stack:
		case BPF_FUNC_get_task_stack:
		case BPF_FUNC_copy_from_user_task:
		case BPF_FUNC_get_stackid:
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

/* Somebody makes a thread whose stack is not known: of no thread but the main one is it any more. */
static void never(void)
{
	if (agent.env.stacks)
		stacks_forget(agent.env.stacks, main_tp);
	atomic_fetch_or_explicit(&agent.env.process->ident, IDENT_NEVER, memory_order_relaxed);
}

/* The stack that a new thread will run on. clone(2) does not say its size. */
static void note_stack(u64 tp, const struct clone_args *a)
{
	if (!agent.env.stacks)
		return;
	if (exact && a)
		stack_note(agent.env.stacks, tp, a->stack, a->stack + a->stack_size, 0);
	else
		stack_note(agent.env.stacks, tp, 0, 0, 0);
}

/* The same for calls that make threads and processes, and install filters. */
static bool thread_call(const struct call_regs *r, u32 nr, bool any)
{
	struct helper_process *p = agent.env.process;
	u64 flags = CLONE_VM | CLONE_VFORK, tls = 0, tid_at = 0, ident;

	if (nr == __NR_seccomp || nr == __NR_prctl) {
		seccomp_call(nr, (const u64[]){r->rdi, r->rsi, r->rdx});
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
		catch_note_owner();
		atomic_fetch_add_explicit(&p->ident, IDENT_ONE, memory_order_relaxed);
		return true;
	}
	if (!(flags & CLONE_SETTLS) || !(flags & CLONE_THREAD) || !(flags & CLONE_PARENT_SETTID) ||
	    tid_at != tls + tid_off) {
		never();
		return false;
	}
	note_stack(tls, nr == __NR_clone ? NULL : (const struct clone_args *)r->rdi);
	/* A vfork child that makes threads: they may outlive its count, in another thread group. */
	ident = atomic_load_explicit(&p->ident, memory_order_relaxed);
	if (ident >> 32 && (u32)ident != (u32)sys_getpid())
		never();
	return false;
}

/*
 * Called by a stub before the system call. `any`: from syscall(), where nobody vouches for clone3's
 * pointer, so it is not read.
 */
static u32 identity_call(struct call_regs *r, u32 nr, bool any)
{
	nr &= ~0x40000000u; /* x32 */
	if (catch_is_call(nr))
		return catch_call(r, nr, any) ? CALL_DONE : CALL_PASS;
	return thread_call(r, nr, any) ? CALL_COUNTED : CALL_PASS;
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

		if (t->stuck ? !patches_in_stub(t->pc) : !tid_kept_at(t->tp, t->tid))
			return false;
	}
	return agent.thread_count;
}

/* Patches in the text that hide a call which would have to have a stub. */
static bool sites_hide_calls(bool catching)
{
	struct site *const *all = agent.old_sites.data;

	for (u32 i = 0; i < agent.old_sites.count; i++) {
		const struct agent_region *r = region_at(all[i]->plan.addr);
		u64 from = all[i]->plan.addr - REACH, len;
		u8 text[2 * REACH];

		if (!r)
			continue; /* unmapped with its object */
		if (from < r->start)
			from = r->start;
		len = r->end - from < sizeof(text) ? r->end - from : sizeof(text);
		memcpy(text, (const void *)from, len);
		sites_overlay(text, from, len);
		patches_blank(text, from, len);
		if (libc_calls_in(text, len, catching))
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

/* Is the handler lost without it? */
static bool shields(const struct call_patch *p)
{
	return !p->nr || p->nr == __NR_rt_sigaction || p->nr == __NR_vfork || p->nr == __NR_clone ||
	       p->nr == __NR_clone3;
}

/* Back to asking the kernel. */
static void give_up(void)
{
	exact = false;
	if (agent.env.process)
		atomic_fetch_or_explicit(&agent.env.process->ident, IDENT_OFF,
					 memory_order_relaxed);
	agent.env.tid_off = 0;
	if (agent.env.stacks) /* nobody notes new ones any more */
		stacks_forget(agent.env.stacks, main_tp);
}

/* Faults are not caught any more. True: nor is the handler in place, and its calls may be restored. */
static bool give_up_catching(void)
{
	catches = false;
	/* a parent of vforked children is hardly met elsewhere than behind its call, and needs no handler there */
	if (agent.busy_count > patches_made(agent.busy, agent.busy_count))
		catch_pause();
	else
		catch_end();
	return !catch_in_place();
}

static void withdraw(void)
{
	bool all = give_up_catching();

	lingers = !all;
	give_up();
	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++)
		if (patch_active(&call_patches[i]) && (all || !shields(&call_patches[i])))
			patch_restore(&call_patches[i]);
}

/* A program is loaded: files are mapped that may be cut short (catch.c), and it may ask who runs. */
static bool wanted(bool none)
{
	if (none || !agent.env.process || !agent.env.tp_is_thread)
		return false;
	for (struct agent_prog *p = agent.progs; p; p = p->next)
		if (p->reached)
			return true;
	return false;
}

static bool loads_wanted(void)
{
	for (struct agent_prog *p = agent.progs; p; p = p->next)
		if (p->reached && p->uses_memory)
			return true;
	return false;
}

/* Who wants the instruction before a call, or what a window that reaches it begins with. */
enum call_text {
	CALL_FREE,
	CALL_PROGRAMS, /* before the call: what leads to its stub */
	CALL_TRAPS,    /* likewise, and it answers calls that catch.c would have to */
	CALL_TAKEN,
};

static enum call_text text_of(u64 at)
{
	const struct want *w = agent.wants.data;
	enum call_text ret = CALL_FREE;

	for (u32 i = 0; i < agent.wants.count; i++) {
		if (w[i].addr + REACH <= at || w[i].addr >= at + ATTACH_JMP_LEN + 2)
			continue;
		if (w[i].addr != at || w[i].kind != SITE_ENTER || w[i].behind != ATTACH_JMP_LEN)
			return CALL_TAKEN;
		ret = w[i].own || ret == CALL_TRAPS ? CALL_TRAPS : CALL_PROGRAMS;
	}
	return ret;
}

/* What a patch is to do about who wants its text. */
static void make_way(struct call_patch *p)
{
	enum call_text text = text_of(p->at);
	bool catching = !p->nr || catch_is_call(p->nr);

	p->site = NULL;
	if (text == CALL_FREE)
		return;
	if ((text == CALL_TAKEN || (text == CALL_TRAPS && catching)) && !give_up_catching() && shields(p))
		return; /* a thread is in a run: not this time */
	if (text == CALL_TAKEN || (text == CALL_TRAPS && catch_is_call(p->nr))) {
		if (!catch_is_call(p->nr))
			give_up();
		patch_restore(p);
	} else if (!p->by_site) {
		patch_yield(p);
	}
}

void identity_begin(bool none)
{
	if (!wanted(none)) {
		if (patches_any())
			withdraw();
		return;
	}
	lingers = false;
	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++)
		if (patch_active(&call_patches[i]))
			make_way(&call_patches[i]);
}

/* Of the main thread: the mapping named so, which stays as long as the process, and grows downwards. */
static void note_main_stack(u64 tp, const struct agent_region *r)
{
	u64 start = r->end - MAIN_STACK_MAX;

	if (r != agent.regions && start < r[-1].end + STACK_GUARD)
		start = r[-1].end + STACK_GUARD;
	main_tp = tp;
	stack_note(agent.env.stacks, tp, start < r->start ? start : r->start, r->end, r->start);
}

/*
 * Of another thread that is there: what lies in one mapping with the thread pointer, below it, and above a guard and
 * all other threads'. (A stack made by somebody else, as coroutines have, is none.)
 */
static void note_found_stack(const struct agent_thread *t)
{
	const struct agent_region *r = region_at(t->sp);
	u64 start;

	if (!r || t->tp <= t->sp || t->tp >= r->end || r == agent.regions || r[-1].end != r->start || r[-1].read ||
	    r[-1].private_write)
		return;
	start = r->start;
	for (u32 i = 0; i < agent.thread_count; i++)
		if (agent.threads[i].tp < t->tp && agent.threads[i].tp > start)
			start = agent.threads[i].tp;
	stack_note(agent.env.stacks, t->tp, start, t->tp, start);
}

static void note_stacks_of(const struct agent_thread *t, u32 count, u32 pid)
{
	const struct agent_region *main = NULL;

	for (u32 i = 0; i < agent.region_count; i++)
		if (agent.regions[i].stack)
			main = &agent.regions[i];
	for (u32 i = 0; i < count; i++) {
		if (t[i].stuck)
			continue;
		if (main && (t[i].tid == pid || (t[i].sp >= main->start && t[i].sp < main->end)))
			note_main_stack(t[i].tp, main);
		else if (exact)
			note_found_stack(&t[i]);
	}
}

/* Of those who make threads later the stacks are noted when everybody who does is seen. */
static void note_stacks(bool anew)
{
	struct agent_thread self = {.sp = (u64)__builtin_frame_address(0)};

	if (!agent.env.stacks || (exact && !anew))
		return;
	stacks_forget(agent.env.stacks, 0);
	self.tp = stack_thread();
	self.tid = (u32)sys_gettid();
	if (agent.threads)
		note_stacks_of(agent.threads, agent.thread_count, (u32)sys_getpid());
	else
		note_stacks_of(&self, 1, (u32)sys_getpid());
}

static bool makes_threads(u32 nr)
{
	return nr != __NR_prctl && nr != __NR_seccomp && !catch_is_call(nr);
}

/* Are all calls there that make threads and processes, and none in the way of a probe? */
static bool calls_complete(const struct libc_calls *calls)
{
	u32 kinds = 0;

	for (u32 i = 0; i < calls->count; i++) {
		u32 nr = calls->call[i].nr;

		if (makes_threads(nr) && text_of(calls->call[i].at) == CALL_TAKEN)
			return false;
		kinds |= !nr ? 1 : nr == __NR_clone ? 2 : nr == __NR_vfork ? 4 : 8;
	}
	return (kinds & 7) == 7; /* clone3 came with glibc 2.34 */
}

/* Are all calls there that catch.c must see, and none in the way of a probe? */
static bool catch_complete(const struct libc_calls *calls)
{
	bool sets = false, any = false;

	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++) {
		const struct call_patch *p = &call_patches[i];

		if (!patch_active(p) || (p->nr && !catch_is_call(p->nr)))
			continue;
		if (text_of(p->at) >= CALL_TRAPS)
			return false;
		sets |= p->nr == __NR_rt_sigaction;
		any |= !p->nr;
	}
	for (u32 i = 0; i < calls->count; i++) {
		const struct libc_call *c = &calls->call[i];

		if ((!c->nr || catch_is_call(c->nr)) &&
		    (text_of(c->at) >= CALL_TRAPS || !call_stub_fits(c->at)))
			return false;
		sets |= c->nr == __NR_rt_sigaction;
		any |= !c->nr;
	}
	return sets && any;
}

/* Patches what is not yet; what watches for filters also where identity cannot be exact. */
static void patch_all(const struct libc_calls *calls)
{
	for (u32 i = 0; i < calls->count; i++) {
		const struct libc_call *c = &calls->call[i];

		if (patches_at(c->at) || text_of(c->at) == CALL_TAKEN ||
		    (c->nr && makes_threads(c->nr) && !exact) || (catch_is_call(c->nr) && !catches))
			continue;
		if (!patch_add(c, identity_call))
			continue;
		if (makes_threads(c->nr))
			give_up();
		if (!c->nr || catch_is_call(c->nr))
			catches = false;
	}
}

/*
 * Is a thread in syscall() between a stub's question and the call? (It is not asked again as others are:
 * one that sleeps in its call would come back to the stub, and stay in it as long.)
 */
static bool past_question(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++)
		for (u32 k = 0; call_patches[i].state == PATCH_LIVE && !call_patches[i].nr &&
				k < agent.thread_count;
		     k++)
			if (agent.threads[k].pc == call_patches[i].at + ATTACH_JMP_LEN)
				return true;
	return false;
}

/*
 * The handler goes in at the COMMIT, if it is not in place. Threads that have passed a stub's
 * question, when the answer was that there is no handler, are asked again.
 */
static void plan_catching(void)
{
	bool seen = catches && exact && !libc_code_without_file();

	for (u32 i = 0; i < ARRAY_SIZE(call_patches) && seen; i++)
		if (call_patches[i].state == PATCH_LIVE && catch_is_call(call_patches[i].nr) &&
		    patch_list_move(&call_patches[i]))
			seen = false;
	/* A thread in a stub may have said that code will come. */
	if (!seen || (!agent.busy_count && !past_question()))
		atomic_store(&agent.code_seen, seen);
	if (!seen)
		give_up_catching();
	for (u32 i = 0; i < agent.region_count; i++)
		if (agent.regions[i].stack)
			agent.env.stack_limit = agent.regions[i].start;
}

void identity_end(bool none)
{
	struct libc_calls calls;
	bool fresh = !patches_any(), was_exact = exact;

	patches_meet_sites();
	if (!wanted(none)) {
		note_stacks(true);
		return;
	}
	if (fresh || text_seen != fingerprint()) {
		text_seen = fingerprint();
		libc_find(&calls);
		if (fresh) {
			tid_off = calls.tid_off;
			exact = calls.exact && !sites_hide_calls(false) && calls_complete(&calls) &&
				threads_agree();
		} else if (!calls.exact) {
			give_up();
		}
		catches = exact && calls.catches && catch_complete(&calls) && !sites_hide_calls(true);
		patch_all(&calls);
	}
	note_stacks(!was_exact);
	plan_catching();
}

void identity_commit(bool idle)
{
	struct helper_process *p = agent.env.process;
	u32 listed = 0;
	u64 old;

	if (!patches_written(&listed)) {
		catch_pause();
		return;
	}
	if (!patches_led_to()) {
		catch_pause();
		give_up();
	}
	if (!exact)
		return;
	if (listed) {
		agent.env.tid_off = tid_off;
		old = atomic_load(&p->ident);
		while (!atomic_compare_exchange_weak(
			&p->ident, &old, ((old & ~IDENT_OFF) >> 32 << 32) | (u32)sys_getpid()))
			;
	}
	if (catches && agent.code_seen && (idle || catch_in_place()))
		catch_begin(loads_wanted() && (idle || catch_in_place_for_loads()));
}

bool identity_retire(const u64 *busy, u64 count, bool all_idle)
{
	if (lingers && !count) {
		catch_end(); /* nobody is in a run any more; its calls' patches go at the next SYNC */
		lingers = false;
	}
	if (catch_in_place_for_loads() && !loads_wanted()) {
		catch_pause();
		if (!count)
			catch_end_loads();
	}
	return patches_retire(busy, count, all_idle) || lingers || (catch_in_place_for_loads() && !loads_wanted());
}

void identity_release(void)
{
	main_tp = 0;
	text_seen = 0;
	catches = false;
}
