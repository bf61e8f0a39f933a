/* SPDX-License-Identifier: MIT */
/*
 * Borrowing a thread of a stopped target, so that it runs system calls and the agent's commands.
 *
 * The keeper may be killed at any instruction. The kernel then lets all threads go as they are, so
 * the borrowed one has, from the first changed register on, a way home that needs nobody: a signal
 * frame with everything it was found with (registers, vector state, signal mask), and next to
 * whatever it runs the code that ends in rt_sigreturn(2) on this frame.
 *
 *     the agent is mapped:  frame in the agent's memory; agent_go_home() in the agent's code
 *     it is not (yet, or    frame and chain on the thread's stack below the red zone, as a signal's
 *     any more):            would be; `syscall; ret`, then the libc's own signal restorer. What
 *                           lay there is put back
 *
 * Order. Borrow: frame, then registers (to the way home), then the mask. Return: mask, registers,
 * then the bytes on the stack. So there is no moment with the mask or the registers changed and no
 * way home. What the way home cannot give back is the rest of a timeout: an interrupted system call
 * begins again from its arguments.
 *
 * A borrowed thread is given back in a PTRACE_EVENT_STOP, since only on the way out of that stop
 * does the kernel look at orig_rax and restart an interrupted system call.
 *
 * A command ends by a signal (agent.h), so that it costs one stop and not two for each of its system
 * calls. It is one whose default is to be ignored, which nobody has a handler for and the thread does not
 * block: should we die, it is gone as soon as the thread is home. Traced threads get it all the same. It is
 * sent to the thread while that blocks everything, before the command begins, so that what may refuse it
 * (a security module) does so here. Where there is none (Go has handlers for all) a system call ends the command.
 */
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "keeper/internal.h"

#define PTRACE_GETSIGMASK_ 0x420a
#define PTRACE_SETSIGMASK_ 0x420b

#define RED_ZONE    128
#define STACK_ROOM  (32 * 1024) /* wanted below a stack pointer, before a frame is put there */
#define XSTATE_MAX  (12 * 1024)
#define FXSAVE_SIZE 512
#define XSTATE_MIN  (FXSAVE_SIZE + 64)
#define FP_MAGIC1   0x46505853u /* asm/sigcontext.h */
#define FP_MAGIC2   0x46505845u

#define UC_FLAGS  7    /* UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
#define SS_IGNORE 0xff /* no valid mode: rt_sigreturn leaves the alternate stack alone */

/* What lies at the bottom of a stack, the restorer's address first. */
struct chain {
	u64 restorer;
	struct agent_frame frame;
	u8 xstate[XSTATE_MAX + 8];
};

/* Bytes of an XSAVE area that the features in `used` reach to. */
static size_t xstate_size(u64 used)
{
	size_t size = XSTATE_MIN;

	for (u32 i = 2; i < 63; i++) {
		u32 len, off, c, d;

		if (!(used & 1ULL << i) || !__get_cpuid_count(0xd, i, &len, &off, &c, &d))
			continue;
		if (off + len > size)
			size = off + len;
	}
	return size;
}

/* The thread's vector registers in a signal frame's form. Returns the length, or -errno. */
static long read_xstate(struct target *t, u8 *buf)
{
	struct iovec iov = {buf, XSTATE_MAX};
	u64 used;
	size_t size;

	memset(buf, 0, XSTATE_MAX + 8);
	if (ptrace(PTRACE_GETREGSET, t->lead->tid, NT_X86_XSTATE, &iov)) {
		/* no XSAVE here: without the magic number the kernel takes it for FXSAVE's */
		return ptrace(PTRACE_GETFPREGS, t->lead->tid, 0, buf) ? -errno : FXSAVE_SIZE;
	}
	memcpy(&used, buf + FXSAVE_SIZE, sizeof(used));
	size = xstate_size(used);
	if (size > XSTATE_MAX)
		return -E2BIG;
	memset(buf + 464, 0, 48); /* struct _fpx_sw_bytes */
	memcpy(buf + 464, &(u32[]){FP_MAGIC1, (u32)size + 4}, 8);
	memcpy(buf + 472, &used, 8);
	memcpy(buf + 480, &(u32){(u32)size}, 4);
	memcpy(buf + size, &(u32){FP_MAGIC2}, 4);
	return (long)size + 4;
}

/*
 * The number of the system call that begins again. One with a timeout may be at it as
 * restart_syscall(2), which rt_sigreturn makes fail: its own number then is what the code before it
 * loads. 0: it does not say.
 */
static u64 call_again(struct target *t, const struct user_regs_struct *r)
{
	u8 code[9];
	u32 nr = 0;

	if (r->orig_rax != SYS_restart_syscall)
		return r->orig_rax;
	if (target_read(t, r->rip - sizeof(code), code, sizeof(code)))
		return 0;
	if (code[2] == 0xb8 || !memcmp(code, "\x48\xc7\xc0", 3)) /* mov $nr, %eax or %rax */
		memcpy(&nr, code + 3, sizeof(nr));
	return nr < 1024 ? nr : 0;
}

static void fill_frame(struct target *t, struct agent_frame *f)
{
	const struct user_regs_struct *r = &t->lead->regs;
	u64 nr;

	*f = (struct agent_frame){.flags = UC_FLAGS,
				  .altstack.flags = SS_IGNORE,
				  .mask = t->saved_mask,
				  .r8 = r->r8,
				  .r9 = r->r9,
				  .r10 = r->r10,
				  .r11 = r->r11,
				  .r12 = r->r12,
				  .r13 = r->r13,
				  .r14 = r->r14,
				  .r15 = r->r15,
				  .rdi = r->rdi,
				  .rsi = r->rsi,
				  .rbp = r->rbp,
				  .rbx = r->rbx,
				  .rdx = r->rdx,
				  .rax = r->rax,
				  .rcx = r->rcx,
				  .rsp = r->rsp,
				  .rip = r->rip,
				  .eflags = r->eflags,
				  .cs = (u16)r->cs,
				  .ss = (u16)r->ss};
	if (!regs_restart(r))
		return;
	nr = call_again(t, r);
	f->rax = nr ? nr : (u64)-EINTR;
	f->rip -= nr ? 2 : 0;
	f->begins_again = nr && ((long)r->rax == -514 || (long)r->rax == -516);
}

/* What is written for the way home: a chain without its first word is a frame in the agent. */
static int make_chain(struct target *t, struct chain *c, size_t *ret_len)
{
	long n = read_xstate(t, c->xstate);

	if (n < 0)
		return (int)n;
	c->restorer = t->home.restorer;
	fill_frame(t, &c->frame);
	*ret_len = offsetof(struct chain, xstate) + (size_t)n;
	return 0;
}

/* Has the stack room for the thread's chain? How much that takes is asked where it matters. */
static bool has_room(struct target *t, struct thread *th, u64 room)
{
	const u64 beside = RED_ZONE + 64 + sizeof(u64); /* and what aligning takes */
	struct chain *c;
	size_t len = 0;
	int err;

	if (room > sizeof(*c) + beside)
		return true;
	c = malloc(sizeof(*c));
	t->lead = th;
	err = c ? make_chain(t, c, &len) : -ENOMEM;
	t->lead = NULL;
	free(c);
	return !err && room > len + beside;
}

static u64 stack_room(const struct target *t, const struct thread *th)
{
	const struct region *r = region_at(&t->maps, th->regs.rsp);

	return r && r->write ? th->regs.rsp - r->start : 0;
}

/*
 * The best thread to make system calls with: one that no seccomp filter holds, then one that is not
 * in a system call (should we die with a signal on its way, nobody can say what that call would
 * have answered), then one with room on its stack.
 */
static struct thread *pick(struct target *t, bool on_stack, bool filtered)
{
	struct thread *best = NULL;
	u64 most = 0;

	for (size_t i = 0; i < t->count && most < 2 * STACK_ROOM; i++) {
		struct thread *th = &t->threads[i];
		u64 room = !th->stopped ? 0 : on_stack ? stack_room(t, th) : STACK_ROOM, points;

		if (!room || !has_room(t, th, room))
			continue;
		points = (room < STACK_ROOM ? room : STACK_ROOM) +
			 (regs_restart(&th->regs) ? 0 : STACK_ROOM);
		if (points > most && thread_usable(t, th, filtered)) {
			most = points;
			best = th;
		}
	}
	return best;
}

static int set_regs(struct target *t, struct user_regs_struct *r)
{
	return ptrace(PTRACE_SETREGS, t->lead->tid, 0, r) ? -errno : 0;
}

/* Registers on the way home, from where system calls and commands start. */
static struct user_regs_struct home_regs(const struct target *t)
{
	struct user_regs_struct r = t->lead->regs;

	r.orig_rax = (unsigned long long)-1;
	r.eflags = 0x202;
	r.rip = t->chain.at      ? t->home.syscall_ret + 2
		: t->agent_ready ? t->header.abandoned
				 : t->header.go_home;
	r.rsp = t->chain.at ? t->chain.at : t->header.stack_top - AGENT_HOME_DEPTH;
	return r;
}

static void put_back_stack(struct target *t, struct chain_place *c)
{
	if (c->at)
		target_write(t, c->at, c->under, c->len);
	free(c->under);
	*c = (struct chain_place){0};
}

/* Puts the way home on the thread's stack. */
static int home_on_stack(struct target *t)
{
	struct chain *c = malloc(sizeof(*c));
	struct chain_place p = {0};
	struct user_regs_struct r;
	int err = c ? home_code_in(t) : -ENOMEM;

	if (!err)
		err = make_chain(t, c, &p.len);
	if (!err) {
		p.at = ((t->lead->regs.rsp - RED_ZONE - p.len) & ~63ULL) - 8;
		p.under = malloc(p.len);
		err = p.under ? target_read(t, p.at, p.under, p.len) : -ENOMEM;
	}
	if (!err) {
		c->frame.fpstate = p.at + offsetof(struct chain, xstate);
		err = target_write(t, p.at, c, p.len);
	}
	free(c);
	if (err) {
		free(p.under);
		return err;
	}
	t->chain = p;
	r = home_regs(t);
	return set_regs(t, &r);
}

/* Tells the next keeper to look closely, should this one die. */
static void mark_borrowed(struct target *t, u64 on)
{
	if (t->header_at)
		target_write(t, t->header_at + offsetof(struct agent_header, borrowed), &on,
			     sizeof(on));
}

/* Puts the way home into the agent. */
static int home_in_agent(struct target *t)
{
	struct chain *c = malloc(sizeof(*c));
	struct chain_place before = t->chain;
	struct user_regs_struct r;
	size_t len = 0;
	int err = c ? make_chain(t, c, &len) : -ENOMEM;

	if (!err && len > t->header.frame_size)
		err = -E2BIG;
	if (!err) {
		mark_borrowed(t, 1);
		target_write(t, t->header.stack_top - AGENT_HOME_DEPTH - AGENT_HOME_ROOM,
			     (u8[AGENT_HOME_ROOM]){0}, AGENT_HOME_ROOM);
		c->frame.fpstate = t->header.frame + sizeof(c->frame);
		err = target_write(t, t->header.frame, &c->frame, len - sizeof(c->restorer));
	}
	free(c);
	if (err)
		return err;
	t->chain = (struct chain_place){0};
	r = home_regs(t);
	err = set_regs(t, &r);
	if (err)
		t->chain = before;
	else
		put_back_stack(t, &before);
	return err;
}

static int block_signals(struct target *t)
{
	u64 all = ~0ULL;

	return ptrace(PTRACE_SETSIGMASK_, t->lead->tid, sizeof(u64), &all) ? -errno : 0;
}

/* A signal to end commands with; 0: none will do. */
static int quiet_signal(const struct target *t)
{
	static const int ignored[] = {SIGURG, SIGWINCH, SIGCHLD};
	u64 taken = t->saved_mask | proc_status_set(t->pid, t->lead->tid, "SigCgt");

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (!(taken & BIT(ignored[i] - 1)))
			return ignored[i];
	return 0;
}

/* Borrows a thread. on_stack: one whose stack has room for a frame. */
int target_borrow(struct target *t, bool on_stack)
{
	int err;

	t->lead = NULL;
	for (u32 pass = 0; pass < 2 && !t->lead; pass++) /* rather one without a seccomp filter */
		t->lead = pick(t, on_stack, pass);
	if (!t->lead)
		return t->e->reason ? t->e->error
				    : keeper_fail(t->e, KEEPER_BUSY, -EBUSY,
						  "no thread of %d can be borrowed now", t->pid);
	if (ptrace(PTRACE_GETSIGMASK_, t->lead->tid, sizeof(u64), &t->saved_mask))
		return keeper_fail(t->e, KEEPER_SYSTEM, -errno, "signal mask: %s", strerror(errno));
	t->quiet = quiet_signal(t);
	t->borrowed = true;
	err = t->header_at ? home_in_agent(t) : home_on_stack(t);
	return err ? err : block_signals(t);
}

/* The agent has been mapped, or is about to be unmapped: the other way home. */
int target_move_in(struct target *t)
{
	return home_in_agent(t);
}

int target_move_out(struct target *t)
{
	return home_on_stack(t);
}

/* The borrowed thread is to go on at `rip`. */
int target_redirect_lead(struct target *t, u64 rip)
{
	struct agent_frame f;
	u64 at = t->chain.at ? t->chain.at + sizeof(u64) : t->header.frame;

	t->lead->regs.rip = rip;
	fill_frame(t, &f);
	return target_write(t, at + offsetof(struct agent_frame, rip), &f.rip, sizeof(f.rip));
}

/*
 * Runs the borrowed thread to the next stop that is of interest: a system-call stop (how: PTRACE_SYSCALL), or
 * the arrival of the signal that ends a command (PTRACE_CONT).
 */
static int run_lead(struct target *t, int how)
{
	int status, sig = 0, err;

	for (;;) {
		if (ptrace(how, t->lead->tid, 0, sig))
			return -errno;
		sig = 0;
		err = wait_lead(t, &status);
		if (err || (how == PTRACE_CONT ? status == t->quiet : is_syscall_stop(status)))
			return err;
		if (is_event_stop(status))
			continue; /* a group stop begins or ends: the others wait for our detach */
		sig = status;
		if (sig != SIGSTOP)
			return -EFAULT; /* everything else is blocked: the agent itself failed */
	}
}

/* From any other stop to a PTRACE_EVENT_STOP, running nothing in between. */
static int to_event_stop(struct target *t)
{
	int status, sig = 0, err;

	ptrace(PTRACE_INTERRUPT, t->lead->tid, 0, 0);
	do {
		if (ptrace(PTRACE_CONT, t->lead->tid, 0, sig))
			return -errno;
		err = wait_lead(t, &status);
		sig = err || is_syscall_stop(status) ? 0 : status;
	} while (!err && !is_event_stop(status));
	return err;
}

int target_return(struct target *t)
{
	int err;

	t->borrowed = false;
	err = t->lead->stopped ? to_event_stop(t) : -ESRCH;
	if (!err && ptrace(PTRACE_SETSIGMASK_, t->lead->tid, sizeof(u64), &t->saved_mask))
		err = -errno;
	if (!err)
		err = set_regs(t, &t->lead->regs);
	if (!err)
		mark_borrowed(t, 0);
	if (!err)
		put_back_stack(t, &t->chain);
	free(t->chain.under);
	t->chain = (struct chain_place){0};
	return err;
}

/* A system call in the target; its result, or -errno of ours when the thread was lost. */
long target_syscall(struct target *t, long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	struct user_regs_struct r = home_regs(t);
	int err;

	r.rip = t->chain.at ? t->home.syscall_ret : t->header.syscall;
	r.rax = (u64)nr;
	r.rdi = a;
	r.rsi = b;
	r.rdx = c;
	r.r10 = d;
	r.r8 = e;
	r.r9 = f;
	err = set_regs(t, &r);
	if (!err)
		err = run_lead(t, PTRACE_SYSCALL); /* entry */
	if (!err)
		err = run_lead(t, PTRACE_SYSCALL); /* exit */
	if (err)
		return err;
	if (ptrace(PTRACE_GETREGS, t->lead->tid, 0, &r))
		return -errno;
	return (long)r.rax;
}

/* The command has ended by the signal: that is blocked again. */
static int ended_by_signal(struct target *t)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, t->lead->tid, 0, &regs))
		return -errno;
	return regs.rbx == AGENT_DONE_MAGIC ? block_signals(t) : -EFAULT;
}

/* Runs the command to the system call that ends it, which is not let through. */
static int run_to_done_call(struct target *t)
{
	struct user_regs_struct regs;
	int err;

	do {
		err = run_lead(t, PTRACE_SYSCALL);
		if (!err && ptrace(PTRACE_GETREGS, t->lead->tid, 0, &regs))
			err = -errno;
	} while (!err && (regs.orig_rax != AGENT_DONE_NR || regs.rdi != AGENT_DONE_MAGIC));
	regs.orig_rax = (unsigned long long)-1;
	if (!err)
		err = set_regs(t, &regs);
	return err ? err : to_event_stop(t);
}

static int run_command(struct target *t, struct agent_request *r, u64 entry)
{
	struct user_regs_struct regs = home_regs(t);
	int err;

	if (t->quiet && syscall(SYS_tgkill, t->pid, t->lead->tid, t->quiet))
		t->quiet = 0;
	r->unblock = t->quiet ? BIT(t->quiet - 1) : 0;
	err = target_write(t, t->header.request, r, sizeof(*r));
	regs.rip = entry;
	regs.rsp = t->header.stack_top;
	regs.rdi = t->header.request;
	if (!err)
		err = set_regs(t, &regs);
	if (!err && t->quiet)
		err = run_lead(t, PTRACE_CONT);
	if (!err)
		err = t->quiet ? ended_by_signal(t) : run_to_done_call(t);
	if (!err)
		err = target_read(t, t->header.request, r, sizeof(*r));
	return err ? err : r->result;
}

int target_command(struct target *t, struct agent_request *r)
{
	return run_command(t, r, t->header.enter);
}

int target_first_command(struct target *t, struct agent_request *r)
{
	int err;

	r->result = -ENOMEM; /* stays, when mprotect(2) fails */
	err = run_command(t, r, t->header.first);
	t->agent_ready = !err;
	return err;
}
