/* SPDX-License-Identifier: MIT */
/*
 * The agent's insides. There is one struct agent_state in a process. It is changed only by the
 * constructor and by commands, that is, while no other thread of the process can run; agent_hit()
 * reads what hangs off its site and changes nothing but the numbers of link_stats.
 *
 *     site (one address, immutable) --> site_prog[] --> link --> stats page, `live` word
 *                                                  \--> prog --> compiled code, maps
 *
 * A change of what runs at an address makes a new site with a trampoline of its own; the old one is
 * retired and freed by the first COMMIT that finds no thread in its trampoline. Links, programs and
 * maps count the sites (and programs) that refer to them, so they live as long as a hit can see
 * them.
 */
#ifndef LIMPET_AGENT_STATE_H
#define LIMPET_AGENT_STATE_H

#include "agent/agent.h"
#include "attach/function.h"
#include "helpers/helpers.h"

/* What lies at the exported symbol: header page, then the window for the session file. */
struct agent_image {
	_Alignas(4096) struct agent_header header;
	_Alignas(4096) u8 session[AGENT_WINDOW];
};
extern struct agent_image limpet_agent;

struct agent_map {
	struct agent_map *next;
	u32 id;
	u32 refs; /* programs */
	bool reached, live; /* as a program's, by way of a map of maps */
	struct vm_inner inner;
	struct map map;
};

struct agent_prog {
	struct agent_prog *next;
	u32 id;
	u32 refs; /* links */
	u32 type; /* BPF_PROG_TYPE_* */
	s32 error; /* 0: runnable; else why not */
	bool ready;
	bool overrides; /* calls override_return */
	bool refs_maps; /* uses maps that hold objects */
	bool reached;   /* a link runs it, or one that does leads to it (SYNC) */
	bool live;      /* reached, and its code is written: others may go to it */
	bool scanned;   /* object_reach() has looked at its maps */
	bool uses_memory;   /* reads memory that may not be there (catch.c) */
	bool uses_stacks;   /* unwinds: mappings.c */
	vm_entry *entry; /* NULL: interpret */
	struct tramp_area *area; /* that the compiled program lies in */
	struct vm_target target;
	struct vm_program vm;
	struct bpf_insn *insns;
	size_t insns_size;
	u32 map_count;
	u32 *map_ids;
	u32 proofs; /* PROG_IS_*, as far as they are believed */
	u32 ctx_end, shape_count;
	struct prog_map *shapes; /* maps as the verifier knew them */
	struct agent_map **map_refs;
	struct vm_map *vm_maps;
	struct vm_region *regions;
};

struct agent_link {
	struct agent_link *next;
	u32 id;
	u32 refs; /* sites */
	bool wanted; /* living, and its file is mapped here */
	struct agent_prog *prog;
	const _Atomic u32 *live;
	struct link_stats *stats;
	u8 *map;          /* mapping of the file but for the last page; then the stats page */
	size_t map_size;
	u32 prog_id;
	s32 pid;
	u32 dev_major, dev_minor;
	u64 ino;
	u32 flags;
	u32 place; /* enum link_place */
	s32 syscall_nr;
	u32 syscall_ctx; /* enum syscall_ctx */
	u32 probe_count;
	struct link_probe *probes; /* private copy */
};

/* What a hit needs, in one cache line. */
struct site_prog {
	vm_entry *entry; /* NULL: run_rarely() */
	const struct vm_program *vm;
	struct link_stats *stats;
	const _Atomic u32 *live; /* of the link */
	u64 cookie;
	struct agent_link *link;
	bool filtered; /* the link is for one process */
	u8 when;       /* WHEN_* */
	bool session;  /* its entry decides whether it sees the return */
	u8 ctx;        /* enum syscall_ctx */
	bool timed;    /* what runs take is counted */
	s32 nr;        /* the only system call it is for, or SYSCALL_ALL */
};

#define WHEN_ENTRY  BIT(0) /* runs where the site is */
#define WHEN_RETURN BIT(1) /* runs when the function returns */

struct tramp_area {
	struct tramp_area *next;
	u64 start, size, used;
	u32 live; /* trampolines and programs in it */
};

/* What a site is. */
enum site_kind {
	SITE_PROBE,
	SITE_ENTER, /* before a system call: the instructions that are displaced end where it is */
	SITE_LEAVE, /* behind one */
};

struct site {
	struct site *next;
	struct attach_plan plan;
	struct tramp_area *area;
	struct hop *hop; /* NULL: the patch leads to the trampoline itself */
	u64 file_off;
	u64 semaphore; /* counts this site, 0: none */
	attach_steer *own; /* not NULL: no probe, but the agent's own; no programs */
	struct ret_fn *fn; /* NULL: no program runs at returns */
	bool retired;
	bool steers;    /* one of its programs decides how the call goes on: session, override_return */
	bool refs_maps; /* one of its programs does */
	u8 kind;        /* enum site_kind */
	u8 behind;      /* SITE_ENTER: how many bytes are displaced */
	bool timed;     /* its programs' runs are */
	bool trap;      /* the patch is a breakpoint */
	bool no_lease;  /* as leases_never() said */
	bool stays;     /* it need not be asked to become one: that was tried */
	bool notes;     /* of a system call: its number is noted from before it to behind it (syscall_hit.c) */
	s32 nr;         /* of a system call; -1: not known from the code */
	bool leads;     /* SITE_ENTER: its call goes by way of `stub`, where there is one */
	_Atomic u64 stub; /* patches.c's, for a call that identity.c wants to see; 0: none */
	u32 hit_flags; /* HELPER_HIT_* */
	struct attach_refusal no_returns; /* error not 0: why return probes asked for here are not among progs */
	u32 count;
	u32 entries; /* how many of them run where the site is: the first */
	/* Hits without a stack, for its programs that run at the site, and for the others: a later hit, or a
	   COMMIT, counts them. */
	_Atomic u64 missed, missed_returns;
	struct site_prog progs[];
};

/* A probe that a link asks for, at an address. */
struct want {
	u64 addr, file_off, cookie;
	u64 semaphore; /* its address, 0: none */
	struct agent_link *link; /* NULL: the agent's own, `own` */
	attach_steer *own;
	u8 kind;   /* enum site_kind; then likewise as in struct site */
	u8 behind;
	bool notes;
	bool note; /* SITE_ENTER: not to run the link's program, but for what it is told at the return */
	s32 nr;
};

struct vec {
	void *data;
	u32 count, cap;
};

struct agent_state {
	struct helper_env env;
	u32 pid;
	bool env_ready;
	bool unwinders_know; /* of the pool of stubs */
	bool timed; /* runs are, since the last SYNC: session_file.run_stats */
	bool injected; /* a keeper mapped the image: ld.so does not know of it */
	void *wiped;
	size_t wiped_size;
	struct vm_identity identity; /* for programs compiled here */
	struct vm_known known; /* of the living programs; changed by COMMIT */
	const struct session_file *session;
	struct task_layout task; /* the session's, copied once it is there */
	struct trace_log *trace;
	size_t trace_size;
	s32 channel[2]; /* the agent's end, the keeper's; -1: closed */
	struct agent_map *maps;
	struct agent_prog *progs;
	struct agent_link *links;
	struct site *sites;   /* living, then retired ones among them by flag */
	struct vec old_sites; /* struct site *[], by address: whose patches are in the text during a SYNC */
	struct vec new_sites; /* likewise: those it makes */
	struct vec busy_sites; /* those that threads are in at the beginning of a SYNC, retired ones among them */
	struct tramp_area *areas;
	struct vec writes, moves, probes, link_ids, objects, code_areas, wants;
	struct vec semaphores; /* semaphore.c */
	size_t stage_used; /* of code.c's newest piece of bytes that `writes` point at, until COMMIT */
	const struct agent_region *regions;
	u32 region_count;
	const struct agent_thread *threads; /* NULL in the constructor: the caller is alone */
	u32 thread_count;
	const u64 *busy; /* of the current command, as in struct agent_request */
	u64 busy_count;
	_Atomic bool code_seen; /* every executable mapping was looked through, and none has come since */
};
extern struct agent_state agent;

/* heap.c: memory of the agent's own; nothing is taken from the target's allocator. */
void *heap_alloc(size_t size);
void heap_free(void *p, size_t size);
void heap_release(void);
void *vec_push(struct vec *v, size_t elem);
void vec_free(struct vec *v, size_t elem);
void *map_anon(size_t size, int prot);

/* object.c: what comes in through descriptors. Each takes over nothing: the caller closes fd. */
int object_take_session(int fd);
int object_take_trace(int fd);
int object_take(u32 kind, u32 id, int fd);
struct agent_link *object_link(u32 id);
struct agent_prog *object_prog(u32 id);
struct agent_map *object_map(u32 id);
bool object_mend(u64 address, bool count); /* a fault at SIGBUS: true when the access may be tried again */
void object_reach(void);   /* SYNC: prepares what programs in use lead to by way of maps */
void object_publish(void); /* COMMIT, and after it object_drop_unused() */
bool object_drop_unused(bool keep_progs); /* true: something is left only for that */
void object_release(bool keep_session);

/*
 * pages.c: arrays whose elements are the kernel's pages. A keeper brings these, as a descriptor, in front of the map;
 * while pages_may_ask() says so the kernel is asked. Is the map one that could not be taken since they were not there?
 * 0: is there any?
 */
bool pages_awaited(u32 map);
void pages_may_ask(bool may);
int pages_keep(u32 map, int fd); /* the descriptor came; it is duplicated. 0 or -errno */
int pages_take(struct map *m, const struct map_meta *meta, int file); /* of a map that is being taken; 0 or -errno */
void pages_forget(void); /* drops those that came and belong to nothing */

/* prog.c */
int prog_prepare(struct agent_prog *p);
void prog_free(struct agent_prog *p);

/* code.c: room for code, and the list of what is to be written */
int code_write(u64 dst, const void *bytes, u32 len);
int code_patch(u64 dst, const u8 *old, const u8 *bytes, u32 len); /* ATTACH_JMP_LEN each */
void code_list_writes(void);
u64 code_room(u64 near, struct tramp_area **ret); /* address for a trampoline, 0: none */
u64 code_room_of(u64 near, size_t size, struct tramp_area **ret); /* likewise; near 0: anywhere */
u64 code_room_in(u64 first, u64 last, u32 len, struct tramp_area **ret); /* beginning in [first, last], 0: none */
void code_room_taken(struct tramp_area *a, u32 len);
void code_room_free(struct tramp_area *a);
void code_room_unused(struct tramp_area *a); /* room that was not taken after all; NULL is fine */
void code_list_areas(void);
void code_written(void);

/*
 * hop.c: where the punned jump at addr leads. hop_in() finds or makes one that begins in [first, last], NULL: there is no
 * place; it is given back by hop_unused() unless somebody has taken it.
 */
#define HOP_LEN 14
struct hop;
struct hop *hop_in(u64 addr, u64 first, u64 last);
u64 hop_at(const struct hop *h);
int hop_lead(struct hop *h, u64 to); /* lists what makes it lead there; 0 or -ENOMEM */
void hop_take(struct hop *h); /* h NULL is fine for these */
void hop_drop(struct hop *h);
void hop_unused(struct hop *h);

/* wants.c */
enum sync_what { SYNC_LINKS, SYNC_NONE, SYNC_NOTHING /* not even what calls in flight need */ };
int wants_collect(enum sync_what what);
u64 wants_view(void); /* agent_header.view, of all links that are known */
u64 wants_behind(u64 addr, u32 reach); /* the first wanted address in (addr, addr + reach); 0: none */
bool link_for_us(const struct agent_link *l); /* living, and not another process's */
bool link_fits(const struct agent_link *l); /* is its program made for what it is on? */
bool link_mapped(const struct agent_link *l); /* is its file, with its code? */

/* syscall_sites.c */
int syscalls_want(struct agent_link *l); /* lists what a living link on system calls asks for; 0 or -errno */
bool syscalls_lead_through(u64 addr, u32 reach); /* does the way to a call that a jump goes over overlap? */
struct syscall_site;
int syscalls_found(const struct syscall_site **ret, u32 *ret_count); /* all there are, by address */
void syscalls_release(void);

/* syscall_hit.c: what trampolines call before and behind a system call */
void agent_syscall_enter(void *site, struct attach_regs *regs);
void agent_syscall_leave(void *site, struct attach_regs *regs);
u64 agent_syscall_lead(void *site, struct attach_regs *regs); /* before one: enters, and answers site.stub */
void syscalls_executed(void); /* the constructor: the program's execve(2) has returned */

/* sites.c */
int sites_index(void);     /* at the beginning of a SYNC */
void sites_drop_gone(void); /* those whose text was unmapped */
struct site *sites_at(u64 addr); /* the one patched there now */
/* The one, old or new, before a call that identity.c looks for, in the place of the instruction at addr; NULL: none. */
struct site *sites_before_call(u64 addr);
/* Is there another site, old or new, whose bytes overlap? The nearest one is returned. */
const struct site *sites_overlapping(u64 addr, u32 reach);
/* Is a thread in the code of a retired one, or of the one at addr, that goes on inside (addr, addr + window)? */
bool sites_lead_into(u64 addr, u32 window);
void sites_overlay(u8 *text, u64 base, u64 len); /* original bytes over a copy of patched text */

/*
 * site.c: for the wants [w, w + n), all at one address. NULL: it cannot be, and why. A site whose jump lies where
 * another probe is wanted is to be made anew (site_gives_way()) when it can be a breakpoint.
 */
bool site_gives_way(const struct site *s);
struct site *site_make(const struct want *w, u32 n, struct attach_refusal *why);
void site_prog_of(const struct agent_link *l, u64 cookie, struct site_prog *ret); /* but for when it runs */

/* sync.c */
int sync_probes(enum sync_what what);
void sync_again(enum agent_again when); /* another SYNC may make more probes */
struct agent_probe *sync_report(u32 link, u32 state, u32 reason, u64 addr, u64 off); /* NULL: no memory */
void sync_publish(void);

/*
 * retire.c: frees retired sites whose trampolines no thread is in, and what only they used. Returns
 * true when some thread may still be in limpet's code.
 */
bool sync_retire(const u64 *busy, u64 count, bool all_idle);
bool site_busy(const struct site *s, const u64 *busy, u64 count);
bool busy_in(const u64 *busy, u64 count, u64 start, u64 end);

/* leases.c (attach/lease.h) */
struct attach_lease;
/* SYNC; false: no memory. always: for sites where the thread's own stack is not looked up. */
bool leases_ready(bool always);
void leases_judge(void); /* SYNC, before sites are looked at: may hits be on leased stacks in this process? */
bool leases_never(void); /* they may not */
/* missed NULL: the call is made in any case, if need be on the thread's own stack. */
void leases_of(bool always, u32 red_zone, _Atomic u64 *missed, struct attach_lease *ret);
void leases_filtered(void); /* agent.env.denied has changed */
void leases_reset(void); /* no thread is in limpet's code */
void leases_release(void);

/* stubs.c: return probes (attach/stub.h) */
struct ret_fn; /* begins with: */
struct ret_fn_runs {
	const struct site *_Atomic site; /* whose programs run at returns; NULL: none */
	_Atomic u64 missed; /* returns that found no stack (attach/lease.h): a later one, or a COMMIT, counts them */
};
struct attach_stubs;
extern u8 stub_return[] HIDDEN; /* a return instruction */
enum attach_error stubs_function(const struct attach_text *text, u64 addr, struct ret_fn **ret,
				 struct attach_refusal *why);
void stubs_of(const struct ret_fn *f, struct attach_stubs *ret);
u32 stubs_window(const struct ret_fn *f); /* bytes that its stubs' copy of the function's beginning has */
u64 stubs_for(const struct ret_fn *f, u64 ra); /* the pair's stub; 0: there is no room */
u64 stubs_address(const struct ret_fn *f);
bool stubs_busy(const struct ret_fn *f, const u64 *busy, u64 count); /* a thread is in its code */
bool stubs_cover(u64 ip); /* is it in the pool? */
bool stubs_used(void);    /* has any call gone through one? */
int stubs_grow(void);     /* SYNC: room for more pairs, if they get scarce; 0 or -errno */
void stubs_commit(void);
void stubs_list_area(void (*list)(u64 start, u64 end));
void stubs_release(void);

/* sessions.c: from entry to return, by the stack pointer at entry and whose it is */
bool sessions_ready(struct vm_region *ret); /* ret, or NULL: where cookies are */
u64 *sessions_begin(u64 sp, u64 who, bool *ret_took_over); /* the cookie, 0 */
u64 *sessions_find(u64 sp, u64 who);  /* NULL: lost, or never begun */
void sessions_end(u64 *cookie);
void sessions_release(void);

/* callers.c */
bool callers_matter(u64 addr); /* does the function there look at its return address? */
void callers_forget(void);
void callers_release(void);

/* unwinders.c */
bool unwinders_own(attach_steer *fn); /* is it one of theirs? */
bool unwinders_want(void);

/* libc.c */
struct libc_call {
	u64 at; /* of the five-byte instruction before `syscall` */
	u32 nr; /* 0: whatever %eax says */
};
struct libc_calls {
	u64 tid_off; /* of the thread id, from the thread pointer; 0: unknown */
	bool exact;  /* nobody but this libc makes threads and processes here */
	bool catches; /* nor sets signal handlers; and every executable mapping is of a file */
	u32 count;
	struct libc_call call[40];
};
/* The addresses of a function that objects here export, at most max; how many. */
u32 libc_find_symbol(const char *name, u64 *ret, u32 max);
void libc_find(struct libc_calls *ret);
bool libc_has(u64 addr); /* is it in glibc's code, ld.so's included? */
/* Is this code that no file has, nor limpet or the kernel has put there? Is there any? */
bool libc_is_loose(const struct agent_region *r);
bool libc_code_without_file(void);
bool libc_calls_in(const u8 *text, u64 len, bool catching);
bool libc_may_be_call(s32 nr); /* one that is looked for; -1: any */

/* call_stub.c; the registers a stub saves, in its order */
struct call_regs {
	u64 rbp, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
};
enum call_answer {
	CALL_PASS,    /* make it */
	CALL_COUNTED, /* make it, then take the count back */
	CALL_DONE,    /* answered: rax is the result */
};
typedef u32 call_stub_fn(struct call_regs *r, u32 nr, bool any); /* any: from syscall() */
/* *ret_made: where in it a thread is once a counted call has been made, and nothing but the count is left to do */
u32 call_stub_emit(u8 *code, u64 stub, const struct libc_call *call, const u8 *orig, call_stub_fn *fn, u32 *ret_made);
bool call_stub_fits(u64 at); /* what follows does not look at the flags that a stub leaves */

/* catch.c; begin and end: all threads stopped, none in a run or stub */
struct kernel_action { /* the kernel's struct sigaction */
	u64 handler, flags, restorer, mask;
};
bool catch_is_call(u32 nr);
bool catch_call(struct call_regs *r, u32 nr, bool any); /* true: answered, in r->rax */
bool catch_in_place(void);     /* of either signal */
bool catch_in_place_for_loads(void);
void catch_begin(bool loads);   /* faults of files cut short, and of loads: SIGSEGV's handler, too */
void catch_end_loads(void);     /* no program loads any more */
void catch_pause(void);
void catch_end(void);
void catch_new_code(void);
void catch_note_owner(void);
void catch_denied(void); /* agent.env.denied has changed */

/* trap.c, trap_calls.c; begin, end, add and aim: all threads stopped */
enum attach_error trap_begin(void);
void trap_end(void);
bool trap_in_place(void);
bool trap_is_default(void); /* SIGTRAP's action, by the kernel */
bool trap_cramped(void); /* is there a handler that runs on a signal stack, or is one about to be? */
bool trap_denied(void);
void trap_filtered(void); /* agent.env.denied has changed */
bool trap_add(u64 addr, u64 to); /* SYNC; false: there are too many */
bool trap_aim(bool idle); /* what has been written; idle: forgets those that are gone. True: some are left */
bool trap_near(u64 addr, u32 reach); /* one, or what is left of it, behind addr */
bool trap_busy(u64 addr, const u64 *busy, u64 count); /* is a thread on its way to the site's trampoline? */
bool trap_pending(void); /* may a thread have met a breakpoint, and the handler not have run? */
long trap_exchange(u32 sig, const struct kernel_action *set, struct kernel_action *ret_old);
bool trap_is_call(s32 nr);
u64 trap_call(void *site, struct attach_regs *regs);

/* traps.c */
int traps_want(bool none); /* SYNC, behind the links' wants */
enum attach_error traps_refuse(u64 addr); /* a probe needs a breakpoint there; ATTACH_OK: it can have it */
bool traps_hold(void);     /* those that are there may stay */
void traps_synced(bool none);
bool traps_commit(bool idle); /* true: not all that is unwanted is gone */

/* patches.c */
enum patch_state { PATCH_NONE, PATCH_LISTED, PATCH_LIVE, PATCH_RETIRED };

struct call_patch {
	u64 at, stub, made; /* call_stub_emit() */
	u32 len;
	u32 nr;   /* as in struct libc_call */
	u8 state; /* enum patch_state */
	bool by_site; /* the jump in the text is that of a site before the call, which leads to the stub (site.stub) */
	struct site *site; /* that one, from a SYNC to its COMMIT; NULL: none */
	u8 orig[ATTACH_JMP_LEN];
	struct tramp_area *area;
};
#define CALL_PATCHES 40
extern HIDDEN struct call_patch call_patches[CALL_PATCHES];
int patch_add(const struct libc_call *call, call_stub_fn *fn); /* lists it */
void patch_restore(struct call_patch *p);
void patch_yield(struct call_patch *p); /* a site wants the text, and is to lead to the stub */
void patches_meet_sites(void); /* SYNC, when the sites are known */
bool patch_active(const struct call_patch *p);
/* A thread that is past the patch, and has not made the call, goes through the stub. */
int patch_list_move(const struct call_patch *p);
bool patches_any(void); /* active */
bool patches_at(u64 at);
bool patches_in_stub(u64 pc);
u64 patches_made(const u64 *busy, u64 count); /* how many of these are where call_patch.made is */
bool patches_written(u32 *ret_listed); /* false: not all, the next SYNC takes them back */
bool patches_led_to(void); /* COMMIT: sites lead to their stubs from now on; false: one has no site */
void patches_blank(u8 *text, u64 base, u64 len); /* nothing over the calls in a copy of our text that have stubs */
bool patches_retire(const u64 *busy, u64 count, bool all_idle); /* true: a thread is in a stub */
void patches_overlay(u8 *text, u64 base, u64 len); /* libc's bytes over a copy of our text */

/* seccomp.c */
void seccomp_call(u32 nr, const u64 args[3]); /* seccomp(2), prctl(2): is it about to install one, or to rename the thread? */

/* identity.c */
void identity_begin(bool none);   /* SYNC, when the wants are known */
void identity_end(bool none);     /* SYNC, when the sites are */
void identity_commit(bool idle);  /* what was listed has been written; idle: no thread is in limpet's code */
bool identity_retire(const u64 *busy, u64 count, bool all_idle); /* true: a thread is in a stub */
void identity_release(void);
bool memory_used(const struct bpf_insn *insns, u32 count);

/* mappings.c */
bool mappings_used(const struct bpf_insn *insns, u32 count);
void mappings_sync(bool none); /* SYNC, when the wants are known */
bool mappings_retire(bool idle); /* true: something waits until no thread is in limpet's code */
void mappings_release(void);

/* place.c: the code around an address. Text is at most ATTACH_TEXT_WANTED bytes, copied to `bytes`. */
enum attach_error place_enter(u64 addr, u8 *bytes, struct attach_text *ret, struct attach_refusal *ret_why);
enum attach_error place_window(u64 addr, u32 window, struct attach_refusal *ret_why);
enum attach_error place_is_entry(u64 addr, struct attach_refusal *ret_why);
/* Of such an address: is it on a goroutine's stack that its code runs? */
bool place_small_stack(void);
/*
 * Which system call the instruction makes: its number, -1: not to be told, -2: it is none, or of limpet's library for
 * tools, which makes threads and sets handlers by libc (but for a default action, before the process ends by it).
 */
s32 place_syscall(u64 addr);
/* A system call in the text, and what is around it. */
struct syscall_site {
	u64 addr;   /* of the instruction */
	u64 before; /* control comes there from here only, past what can be displaced; 0: that is not so */
	u64 behind; /* where programs at its return go: the next instruction, or one that follows a comparison */
	s32 nr;     /* its number; -1: not to be told */
	bool led_behind; /* control comes to what is behind it from elsewhere, too */
	bool unwinds;    /* unwind information covers it */
	struct attach_refusal why; /* there where `before` is 0 */
};
/* False: there is none at addr. Branches from further away are not looked for; place_is_led_to() does, of an
   address that place_enter() took. */
bool place_is_led_to(u64 addr);
bool place_call(u64 addr, struct syscall_site *ret);
void place_forget(void); /* a SYNC begins, or the probes there are have changed */
void place_end(void);    /* it is over: what is known of the text in general goes, too */
void place_release(void);

/* loading.c */
void loading_begin(u64 phdr, u32 count); /* INIT: the program's headers */
void loading_files(const struct agent_file *files, u32 count);
bool loading_want(void); /* SYNC, behind the links' wants */

/* executing.c; false: no memory */
bool executing_want(void); /* SYNC, behind all other wants */
#define KEEPERS_WAIT_MS 200
bool keepers_ask(u32 wait_ms); /* for a SYNC; from any thread, in a hit too. Until they have answered (true), so long at most */

/*
 * frames.c: whose frames can be unwound. The writers list all loaded objects (bias, address of the dynamic section)
 * between begin and end, whose answer false means: once more.
 */
u32 frames_begin(void);
void frames_add(u64 bias, u64 dynamic, u32 *count);
bool frames_end(u32 begun, u32 count);
bool frames_unwindable(u64 ra); /* may a stub take the place of this return address? In a hit. */
void frames_release(void);
bool loading_has_collector(void); /* is one loaded that looks through stacks in signal handlers (leases.c)? */
bool loading_watched(void); /* is it known where the dynamic linker tells of new objects? */

/* semaphore.c */
u64 semaphore_at(const struct agent_region *code, u64 file_off); /* 0: none */
void semaphore_lost(u64 addr); /* a site that counted there went with its mapping */
int semaphores_sync(void); /* SYNC, when the sites are known */
void semaphores_release(void);

/* hit.c: what trampolines call, for one program or for several */
void agent_hit(void *site, struct attach_regs *regs);
void agent_hit_all(void *site, struct attach_regs *regs);
u64 agent_enter_function(void *site, struct attach_regs *regs); /* with return probes */
void agent_return(void *fn, struct attach_regs *regs);

/* command.c; the first two are called from its assembly */
void agent_abandoned(void);
void agent_command(struct agent_request *r);
int agent_init(u32 pid, u64 vdso, bool tp_is_thread);

#endif
