/* SPDX-License-Identifier: MIT */
/*
 * The agent's outside: what a keeper finds in a target, and how it makes the agent work.
 *
 * The agent never acts by itself, but for its constructor (LD_PRELOAD), which runs before anybody
 * else can. Later, a keeper stops all threads with ptrace, borrows one of them, and lets it run
 * agent_enter() on the agent's own stack with all signals blocked; registers, signal mask and
 * pending system call are put back afterwards. What must be written to code (patches, trampolines,
 * compiled programs) the agent prepares in memory and lists; the keeper writes it through
 * /proc/TID/mem, the constructor through /proc/self/mem. So no page is ever writable and executable,
 * and nothing needs mprotect.
 *
 * A command ends in one of two ways, which agent_request.unblock tells:
 *
 *     a signal's set  the keeper has sent the borrowed thread one that nothing in the target takes
 *                     and that does nothing (keeper/borrow.c). It waits, blocked, until the command's last
 *                     system call lets it in, with AGENT_DONE_MAGIC in rbx: the keeper sees a signal-delivery
 *                     stop, and the signal is gone. Nothing else stops the thread.
 *     0               the system call AGENT_DONE_NR with AGENT_DONE_MAGIC in its first argument, which
 *                     the keeper sees as a ptrace system-call stop and does not let through. All
 *                     system calls of the command stop the thread, twice each.
 *
 * A keeper can be killed. Its borrowed thread then runs its command to the end, finds that the
 * system call returns, and goes home: rt_sigreturn(2) on the frame that the keeper has put at
 * `frame` (keeper/borrow.c). Threads that ran meanwhile see no difference, for commands change
 * nothing that a hit looks at. What a SYNC listed stays listed in the header until COMMIT says that
 * all of it has been written, so the next keeper finishes it first.
 *
 * Descriptors (session files) come over a socket pair that the agent makes (AGENT_CMD_CHANNEL): the
 * keeper takes one end with pidfd_getfd, sends them with SCM_RIGHTS, one struct agent_fd each, and
 * the agent maps and closes them at once. It keeps none. Over several namespaces, chroots and
 * credentials this works without any path.
 *
 * Finding it: the session file is mapped in the window right behind the header's page, so a keeper
 * that sees the session's file in /proc/PID/maps finds the header AGENT_HEADER_GAP bytes below.
 *
 * A call that was entered through a return stub returns to it. So a detached agent may have to stay, inert,
 * `draining` (keeper/detach.c).
 *
 * Busy addresses. A thread in a hit has its program counter in limpet's code, or, somewhere up its
 * stack, the return address into a trampoline followed by the struct attach_regs of that hit; the
 * trampoline clears `cs` there after its last call, so stale frames are told from living ones.
 */
#ifndef LIMPET_AGENT_AGENT_H
#define LIMPET_AGENT_AGENT_H

#include <stdatomic.h>
#include "attach/attach.h"
#include "helpers/helpers.h"
#include "session/layout.h"

#define AGENT_MAGIC      0x746e6567616d706cULL
#define AGENT_VERSION    7
#define AGENT_SYMBOL     "limpet_agent" /* struct agent_header, the agent's only exported symbol */
#define AGENT_DONE_NR    39             /* getpid: harmless should nobody watch */
#define AGENT_DONE_MAGIC 0x6c696d7065740000ULL
#define AGENT_ENV        "LIMPET_SESSION_DIR" /* the constructor's way to the session */
/*
 * Under how many seccomp filters `limpet start` ran, and which calls of enum helper_call they forbid
 * ("2:1f", hexadecimal): the constructor cannot ask. With another number of filters it forbids all.
 */
#define AGENT_SECCOMP    "LIMPET_SECCOMP"
#define AGENT_HEADER_GAP PAGE_SIZE
#define AGENT_WINDOW     (4 * PAGE_SIZE) /* room for the session file behind the header */
#define AGENT_REQUEST_SIZE PAGE_SIZE
#define AGENT_PROTECT_MAX  7 /* parts of its image that are not to be executable */
#define AGENT_HOME_DEPTH 8192 /* below stack_top: where a borrowed thread's stack pointer is at first */
#define AGENT_HOME_ROOM  256  /* below that, the keeper clears; a signal handler's frame does not */

enum agent_command {
	AGENT_CMD_INIT,    /* after injection: auxiliary facts are in the request */
	AGENT_CMD_CHANNEL, /* makes the socket pair; result: fds in the request */
	AGENT_CMD_RECV,    /* takes in what lies in the channel */
	AGENT_CMD_SYNC,    /* brings probes in line with the links it knows; lists what to write */
	AGENT_CMD_COMMIT,  /* the keeper has written: retire what is no longer in use */
	AGENT_CMD_DETACH,  /* as SYNC with no links; then RELEASE. With in_use 1 also without what calls
	                      in flight need: none is */
	AGENT_CMD_RELEASE, /* unmaps everything the agent mapped (not its own image; with in_use 1 not the
	                      session file, either: the image goes next, and until then it is found) */
};

/* One descriptor in a message: what it is. */
struct agent_fd {
	u32 kind; /* enum object_kind, or AGENT_FD_SESSION, AGENT_FD_TRACE */
	u32 id;
	u32 writable;
	u32 pad;
};
#define AGENT_FD_SESSION 100u
#define AGENT_FD_TRACE   101u
#define AGENT_FD_PAGES   102u /* the kernel's array for map `id`, which comes next (struct map_meta) */

/* A file that a link is on. */
struct agent_file {
	u64 ino;
	u32 dev_major, dev_minor;
};
#define AGENT_FILES_MAX 256

/* A mapping of the target, as /proc/PID/maps says. */
struct agent_region {
	u64 start, end, file_off, ino;
	u32 dev_major, dev_minor;
	u32 exec; /* readable and executable */
	u32 read; /* readable */
	u32 stack; /* the main thread's stack */
	u32 private_write; /* writable, and nobody else's */
};

/* A thread of the target, as it was stopped. */
struct agent_thread {
	u64 tp, pc, sp; /* thread pointer (fs base), program counter, stack pointer */
	u64 blocked; /* signals, but for what its system call blocks while it waits */
	u32 tid;    /* as the target itself sees it */
	u32 stuck;  /* 1: waits in the kernel for a vfork child and could not be stopped; tp and sp are
	               unknown */
};

/* Bytes to be written to the target's code. */
struct agent_write {
	u64 dst;
	u64 src; /* address in the target */
	u32 len;
	u32 patch; /* 1: the five bytes at a probed address (written last); 0: fresh code */
	u8 old[ATTACH_PATCH_MAX]; /* patch: the bytes it goes over; with others there it is left out (dlclose) */
};

/* What a link came to in this process; read by keepers and `limpet list`. */
struct agent_probe {
	u32 link_id;
	u32 state; /* enum agent_probe_state */
	u64 addr;
	u32 reason; /* enum attach_error, or errno of a failed mapping */
	u32 window;
	u64 file_off;
	u32 trap; /* attached: 1 where the patch is a breakpoint; refused: attach_refusal.trap */
	u32 spared; /* attached: PROBE_SPARED_* */
	u64 where;    /* refused: address of what is in the way (attach_refusal) */
	u8 insn_len;  /* and its bytes, 0: none to show */
	u8 insn[ATTACH_INSN_MAX];
};

/* What its program runs without in this process, since limpet's verifier has shown that it may. */
#define PROBE_SPARED_TESTS  BIT(0) /* of accesses and arguments: vm_program.trusted */
#define PROBE_SPARED_BUDGET BIT(1) /* vm_program.bounded */

enum agent_probe_state {
	PROBE_ATTACHED,
	PROBE_REFUSED,  /* reason: enum attach_error */
	PROBE_FAILED,   /* reason: errno */
	PROBE_NO_PROG,  /* the program did not compile or check */
	PROBE_WAITING,  /* planned, its patch not written yet, or not looked into yet (keeper_probes()) */
};

/* A moved program counter: a thread found at `from` continues at `to`. Filled by SYNC. */
struct agent_move {
	u64 from, to;
};

/* The keeper writes it, the agent answers in it. Lies in the agent's memory, AGENT_REQUEST_SIZE. */
struct agent_request {
	u32 command;
	s32 result;      /* 0 or -errno */
	s32 channel[2];  /* CHANNEL: target's fd numbers: [0] the agent's, [1] the keeper's to take */
	u32 generation;  /* SYNC: the session generation this brings the target to */
	u32 tp_is_thread; /* INIT: every thread's fs base points to itself */
	u64 vdso;        /* INIT: AT_SYSINFO_EHDR */
	u64 denied;      /* INIT, SYNC: enum helper_call, what seccomp filters forbid */
	u64 regions, region_count; /* SYNC: address in the target of struct agent_region[] */
	u64 busy, busy_count;      /* SYNC, COMMIT: u64[], sorted: addresses inside limpet's
	                              memory found in program counters and on stacks */
	u64 threads, thread_count; /* SYNC: struct agent_thread[], all there are */
	u64 cgroup[HELPER_CGROUPS]; /* INIT, SYNC: the target's control groups, the root first */
	u32 cgroup_count;           /* 0: they could not be told */
	u32 follows;                /* INIT: as in struct agent_header */
	u32 in_use;      /* out, COMMIT: 1 while some thread may be in limpet's code: try again */
	u32 pid;         /* the target's process id as the session's tools know it */
	u32 phdr_count;  /* INIT: AT_PHNUM */
	u64 phdr;        /* INIT: AT_PHDR */
	u64 files, file_count; /* SYNC: struct agent_file[], what the session's links for it are on; of more than
	                          AGENT_FILES_MAX so many */
	u64 view;        /* SYNC: agent_view_link(), ... */
	u64 unblock;     /* the signal that ends the command, as a set; 0: none */
	struct {
		u64 start, size, prot;
	} protect[AGENT_PROTECT_MAX]; /* for agent_header.first; size 0: the end */
};

/*
 * A signal frame as rt_sigreturn(2) reads it: struct ucontext with its struct sigcontext_64. `gs` means nothing to the
 * kernel, which writes 0 there. The agent's handlers put AGENT_FRAME_OVER there just before they leave by
 * rt_sigreturn(2): what lies on a stack with it is no frame of a handler any more.
 */
#define AGENT_FRAME_OVER 1
struct agent_frame {
	u64 flags, link;
	struct {
		u64 sp;
		u32 flags, pad;
		u64 size;
	} altstack;
	u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	u16 cs, gs, fs, ss;
	u64 err, trapno, oldmask, cr2, fpstate, reserved[8];
	u64 mask;
	u64 begins_again; /* limpet's: rip is on a call that a handler's run is to end with EINTR */
	u64 pad;
};
_Static_assert(offsetof(struct agent_frame, gs) == 186 && offsetof(struct agent_frame, mask) == 296 && sizeof(struct agent_frame) == 320,
	       "struct ucontext, then room to the vector state's alignment");

/*
 * What a process's probes depend on, as one number: the sum over the living links for it, and over the
 * executable mappings of their files.
 */
static inline u64 agent_view_mix(u64 a, u64 b, u64 c)
{
	u64 x = (a + 1) * 0x9e3779b97f4a7c15ULL ^ (b + 1) * 0xc2b2ae3d27d4eb4fULL ^ (c + 1) * 0x165667b19e3779f9ULL;

	return (x ^ x >> 29) * 0xbf58476d1ce4e5b9ULL;
}

static inline u64 agent_view_link(u32 link_id, u64 ino, u32 dev_major, u32 dev_minor)
{
	return agent_view_mix(link_id, ino, (u64)dev_major << 32 | dev_minor);
}

static inline u64 agent_view_mapping(u32 link_id, u64 start, u64 file_off)
{
	return agent_view_mix(start, file_off, link_id);
}

/* And over whether runs are timed. */
static inline u64 agent_view_session(const struct session_file *s)
{
	return atomic_load_explicit(&s->run_stats, memory_order_acquire) ? agent_view_mix(1, 0, 0) : 0;
}

enum agent_again {
	AGAIN_NOT,
	AGAIN_NOW,   /* in the same stop */
	AGAIN_LATER, /* in another: a thread was somewhere it may have left by then */
};

struct agent_header {
	u64 magic;
	u32 version;
	u32 size;          /* of this structure */
	u64 enter, enter_end; /* agent_enter() to the end of the way home, run time addresses */
	u64 first;         /* in there: the first command's beginning, which gives the image its protections */
	u64 abandoned;     /* in there: what the end of a keeper asks for, then go_home */
	u64 go_home;       /* in there: rt_sigreturn(2) on `frame`, without the agent's stack */
	u64 syscall;       /* in there: a system call, then go_home */
	u64 stack_low, stack_top; /* of the stack to run it on */
	u64 frame, frame_size;    /* room for the borrowed thread's signal frame */
	u64 borrowed;      /* 1 while a keeper borrows a thread, or died doing so: look closely */
	u64 request;       /* address of struct agent_request */
	u64 inbox;         /* scratch for regions and busy lists */
	u64 inbox_size;
	u64 text_start, text_end; /* the agent's own code; text_start is its image's base */
	u64 image_end;
	u64 session_dev, session_ino; /* of the session file it belongs to; 0: idle */
	_Atomic u32 ready;      /* 1: takes commands; 0: the constructor is at work, a keeper comes again */
	_Atomic u32 generation; /* last SYNC */
	_Atomic u64 view;       /* likewise */
	_Atomic u32 has_trace;  /* the trace log is mapped */
	u64 areas, area_count;  /* struct agent_region[]: all memory limpet mapped here (code areas
	                           have exec 1), for stack scans */
	u64 probes, probe_count; /* struct agent_probe[] */
	u64 links, link_count;   /* u32[], sorted: links it has mapped */
	u64 objects, object_count; /* u64[]: kind << 32 | id of programs and maps it has ready */
	u64 writes, write_count; /* struct agent_write[], by SYNC or DETACH, until COMMIT */
	u64 moves, move_count;   /* struct agent_move[], as long */
	u64 stubs_start, stubs_end; /* return stubs (attach/stub.h); empty: no call ever took one */
	_Atomic u32 draining; /* 1: detached, and here only for calls in flight; a keeper sets it,
	                         SYNC clears it */
	u32 follows; /* 1: what it executes is to be a target, whatever its environment (agent/executing.c) */
	_Atomic u32 again; /* enum agent_again: another SYNC may make more probes (traps.c) */
	u32 pad;
	u64 leases_start, leases_end; /* leased stacks (attach/lease.h); empty: none */
};

#endif
