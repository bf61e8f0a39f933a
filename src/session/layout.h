/* SPDX-License-Identifier: MIT */
/*
 * The only format that tools, keepers and targets share. A session is a directory with a file per
 * object:
 *
 *     session            struct session_file: identity, generation, tools
 *     trace              struct trace_log (session/trace.h)
 *     bpf-map.<id>       maps/map.h; struct map_meta in the last page
 *     bpf-prog.<id>      struct prog_file, then instructions, map ids, BTF info
 *     bpf-link.<id>      struct link_file, then probes; the last page is struct link_stats
 *     perf-event.<id>    struct event_file
 *     btf.<id>           struct btf_file, then the raw BTF
 *
 *     refs/<object>/     what <object> refers to: hard links to those files, under their names
 *     bpffs/<path>       pins: hard links to objects, at the path the tool gave
 *     files/<path>       kernel files as limpet serves them to tools (sysfs, BTF, tracefs)
 *     uprobe_events      uprobes with names (loader/uprobe_events.h)
 *     enabled/           hard links to the links of those that are enabled (loader/uprobe_record.h)
 *
 * Lifetime. Whoever has an object open holds an OFD lock on byte 0 of its file (F_RDLCK where the
 * descriptor is readable, else F_WRLCK on a byte of its own above OBJ_LOCK_WRONLY). An object
 * lives while it is held, or while its file has another name: a pin, or an entry in the refs of
 * another object (a program refers to its maps, a map to its BTF and to what its slots hold). Who gives
 * it one holds it at that time. So the link count is the reference count,
 * and no death can make it wrong. Creation: O_TMPFILE, write, lock, linkat, then its refs. Opening:
 * open, lock, then st_nlink must not be 0. Collection (by a tool at close, by a keeper when a tool
 * dies, by `limpet gc`): write-lock all bytes of a file, see that it has one name, unlink it,
 * then unlink its refs and look at those objects in turn. A death leaves an object nobody holds,
 * or refs of an object that is no more: the next collection removes them. Mappings inside targets
 * are made through unlocked descriptors and keep nothing alive.
 *
 * Slots of maps (maps/refs.h). Who changes one holds the write lock on OBJ_LOCK_REFS, waiting for it
 * only so long: refers to the new object first, stores its id, drops the reference to the old one when
 * no other slot has it, and changes the generation. A death in between leaves a reference too many,
 * until the map goes. A program array that nobody holds or pins any more is emptied, as the kernel
 * does: programs that use it keep it, but not what lay in it.
 *
 * Changes. Who adds, removes or changes a link sets its `live` word first, then adds 1 to
 * session_file.generation and wakes its futex. Keepers sleep on that word. A death anywhere
 * leaves: an object nobody holds, which the next collection removes.
 *
 * Files hold sizes and offsets, never pointers. Readers check magic, version and every size
 * against the file's length before use, and copy what they decide upon.
 */
#ifndef LIMPET_SESSION_LAYOUT_H
#define LIMPET_SESSION_LAYOUT_H

#include <stdatomic.h>
#include "base/types.h"
#include "bpf/insn.h"
#include "bpf/task.h"

#define SESSION_LAYOUT_VERSION 5
#define SESSION_MAGIC          0x736574657073656cULL
#define SESSION_TOOLS          256
#define SESSION_PATH_MAX       4096
#define SESSION_NOTE           "limpet" /* the name of an ELF note that tells the library in tools from what it serves */

enum object_kind { OBJ_MAP, OBJ_PROG, OBJ_LINK, OBJ_BTF, OBJ_EVENT, OBJ_KINDS };

#define OBJ_LOCK_WRONLY (1LL << 32) /* first byte for holders of write-only descriptors */
#define OBJ_LOCK_REFS   2LL /* F_WRLCK: a map's slots are being changed */
#define OBJ_LOCK_MAPPED 1LL /* F_RDLCK: a tool has the map mapped writable; F_WRLCK: being frozen */

/*
 * A process that is a tool. pid 0: free; claimed by CAS on `pid`, then counted in `claims`; cleared by
 * whoever sees it dead, which is not always a keeper: a keeper tells by `claims` that it missed one.
 */
struct session_tool {
	_Atomic u32 pid;
	_Atomic u32 claims;
	_Atomic u64 start_time; /* /proc/PID/stat field 22, tells a recycled pid */
};

struct session_file {
	u64 magic;
	u32 layout_version;
	u32 uid;
	u64 created_ns;             /* CLOCK_REALTIME */
	_Atomic u32 generation;     /* futex: grows with every change of links or tools */
	_Atomic u32 next_id[OBJ_KINDS]; /* last id handed out; ids start at 1 and are not reused */
	_Atomic u32 no_verify;
	_Atomic u32 run_stats; /* 1 while there is an EVENT_RUN_STATS: targets time their runs */
	_Atomic u32 has_refs; /* 1 once a map that holds programs or maps was made: keepers look closer */
	struct session_tool tools[SESSION_TOOLS];
	struct task_layout task;
};

#define OBJECT_MAGIC 0x746a626f7465706cULL

/* First bytes of every object file but maps. Immutable once linked. */
struct object_header {
	u64 magic;
	u32 layout_version;
	u32 kind; /* enum object_kind */
	u32 id;
	u32 uid;
	u64 file_size;
	u64 created_boot_ns; /* CLOCK_BOOTTIME, for load_time in bpf_prog_info */
	u64 pad;
};

#define PROG_IS_SAFE  BIT(0) /* touches no memory but its own, if its maps are what they were said to be */
#define PROG_IS_SHORT BIT(1) /* ends within BPF_MAX_INSNS instructions, whatever its maps are */
/* The same two where each map is described as prog_map says, and only then: */
#define PROG_IS_PROVEN BIT(2) /* no access of it has to be tested */
#define PROG_IS_ENDING BIT(3) /* ends within BPF_MAX_INSNS instructions */

/* A map as it was described to the verifier (maps/map.h, map_def). */
struct prog_map {
	u32 type, key_size, value_size, max_entries, flags;
	u32 pad;
};

struct prog_file {
	struct object_header head;
	u32 type; /* BPF_PROG_TYPE_* */
	u32 expected_attach_type;
	u32 insn_count;
	u32 map_count;
	u32 btf_id;          /* 0: none */
	u32 gpl_compatible;
	u32 verified;        /* PROG_IS_*: what limpet's verifier has shown */
	u32 flags;           /* BPF_F_SLEEPABLE, ... as loaded */
	u64 insns_off;       /* file offsets; insns as bpf/insn.h describes */
	u64 map_ids_off;     /* u32[map_count] */
	u64 func_info_off;   /* struct bpf_func_info[func_info_cnt] */
	u64 line_info_off;
	u64 map_shapes_off;  /* struct prog_map[map_shape_count] */
	u32 map_shape_count; /* the first so many maps were there when it was verified */
	u32 pad;
	u64 sum;             /* object_prog_sum() */
	u32 func_info_cnt;
	u32 line_info_cnt;
	u32 budget;          /* 0: default */
	u32 ctx_end;         /* of the context's bytes that it touches; 0: none, or not verified */
	u8 tag[8];
	char name[16];
	u32 processed;       /* instructions that the verifier followed, over all paths; 0: not verified */
	_Atomic u32 kernel_id; /* its number in the kernel, 0: it is not there (loader/kernel.h) */
	_Atomic u64 runs;    /* timed ones (session_file.run_stats): by tools, and by links that are gone */
	_Atomic u64 run_ns;
};

enum link_type { LINK_PERF_EVENT, LINK_UPROBE_MULTI, LINK_EVENT_BPF /* PERF_EVENT_IOC_SET_BPF */, LINK_RAW_TRACEPOINT };

/*
 * What a link is on. LINK_AT_SYSCALL: on the system calls that a process makes, wherever in its code:
 * before they are made, with PROBE_F_RETURN when they have returned. It has one probe, of which only the
 * cookie means anything; file, event's place and semaphore are 0.
 */
enum link_place { LINK_AT_FILE, LINK_AT_SYSCALL };

/*
 * What programs see of a system call.
 *
 *     SYSCALL_CTX_RECORD   tp/syscalls/..., tp/raw_syscalls/...: as their format files say:
 *                          u64 (common fields), s64 number, then u64 args[6], or s64 result
 *     SYSCALL_CTX_RAW      raw_tp/...: u64 args[2]: struct pt_regs *, then number, or result
 */
enum syscall_ctx { SYSCALL_CTX_RECORD, SYSCALL_CTX_RAW };
#define SYSCALL_RECORD_SIZE 64
#define SYSCALL_RAW_SIZE    16
#define SYSCALL_ALL (-1)

#define PROBE_F_RETURN  BIT(0)
#define PROBE_F_SESSION BIT(1)

/* One probe: a file offset, as uprobes name places. */
struct link_probe {
	u64 offset;  /* in the file, as perf's probe_offset */
	u64 ref_ctr; /* file offset of a USDT semaphore, 0: none */
	u64 cookie;
	u64 pad;
};

struct link_file {
	struct object_header head;
	u32 type;      /* enum link_type */
	u32 prog_id;
	u32 event_id;  /* perf event object this link is on, 0: none */
	s32 pid;       /* -1: every process; else the thread group of this pid, at creation */
	u32 dev_major, dev_minor; /* of the probed file */
	u64 ino;
	u32 flags;     /* PROBE_F_* */
	u32 probe_count;
	u64 probes_off; /* struct link_probe[probe_count] */
	_Atomic u32 live; /* 1 while programs may run; targets look at it at every hit */
	u32 bpf_flags;
	u32 place;      /* enum link_place; the next two are for LINK_AT_SYSCALL */
	s32 syscall_nr; /* SYSCALL_ALL, or the only one */
	u32 syscall_ctx; /* enum syscall_ctx */
	u32 pad;
	char path[SESSION_PATH_MAX / 4]; /* the probed file as the tool named it, for people */
};

/*
 * The last page of a link file: the one part that targets write. Advisory numbers. Hits are counted
 * in several lines, so that threads on different processors do not wait for each other, and without
 * a locked instruction, so two threads that hit the same line at the same instant may count as one.
 */
#define LINK_HIT_LINES 32

struct link_stats {
	_Atomic u64 faults;      /* ended by a bad access or argument */
	_Atomic u64 budget;      /* ended by the back-edge budget */
	_Atomic u64 skipped;     /* not run: no memory, program not compiled, ... */
	_Atomic u64 last_fault_insn;
	_Atomic u64 last_fault_addr;
	/* The last process in which a probe was refused, so that those which have ended can be told of, too. */
	_Atomic u64 refused;     /* pid << 32 | enum attach_error; 0: none */
	_Atomic u64 refused_off; /* the probe's offset in the file; written first */
	_Atomic u64 timed_runs;  /* while session_file.run_stats was set, */
	_Atomic u64 timed_ns;    /* and how long they took */
	u64 pad[7];
	struct {
		_Atomic u64 count; /* runs of the program */
		u64 pad[7];
	} hits[LINK_HIT_LINES];
};

static inline u64 link_hits(const struct link_stats *s)
{
	u64 n = 0;

	for (u32 i = 0; i < LINK_HIT_LINES; i++)
		n += atomic_load_explicit(&s->hits[i].count, memory_order_relaxed);
	return n;
}

/* What perf_event_open() made: a uprobe (or other) event a tool will attach programs to. */
struct event_file {
	struct object_header head;
	u32 perf_type; /* what limpet took it for: enum event_type */
	s32 pid;
	s32 cpu;
	u32 flags;     /* PROBE_F_* */
	u64 offset;
	u64 ref_ctr;
	u64 sample_period;
	u32 dev_major, dev_minor;
	u64 ino;
	_Atomic u32 enabled;
	_Atomic u32 has_prog; /* 1: PERF_EVENT_IOC_SET_BPF was done; an event takes one program */
	u64 sample_type; /* these four as struct perf_event_attr has them */
	u64 attr_flags;
	u32 wakeup;
	s32 clockid; /* -1: the default */
	_Atomic u32 ring_pid; /* EVENT_BPF_OUTPUT: the process that has mapped the ring, 0: none */
	_Atomic u32 prog_id;  /* EVENT_SW_CLOCK: the program to run, 0: none yet */
	_Atomic u32 turn;     /* EVENT_SW_CLOCK: a futex, changes with what the timer must know */
	_Atomic u32 gone;     /* nobody holds it any more */
	char path[SESSION_PATH_MAX / 4];
};

/* EVENT_RUN_STATS: BPF_ENABLE_STATS, no event of perf's; runs are timed as long as one is held. */
enum event_type { EVENT_UPROBE, EVENT_TRACEPOINT, EVENT_BPF_OUTPUT, EVENT_SW_CLOCK, EVENT_RUN_STATS };

struct btf_file {
	struct object_header head;
	u64 data_off;
	u32 data_size;
	u32 kernel_btf;
	char name[64];
};

_Static_assert(sizeof(struct link_file) <= 2048, "link_file must leave room in its page");
_Static_assert(sizeof(struct link_stats) <= 4096, "link_stats is one page");
_Static_assert(sizeof(struct event_file) <= 2048, "event_file must fit its page");

#endif
