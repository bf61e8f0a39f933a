/* SPDX-License-Identifier: MIT */
/*
 * Between the files of the `limpet` command: the table row of a subcommand, options, messages in
 * two languages, and running a program with one of limpet's libraries in front.
 *
 * Exit statuses: 0 done, 1 failed, 2 wrong usage, 126 found but cannot be run, 127 not found,
 * 128 + N ended by signal N; load, start and attach with a tool otherwise pass on the program's own.
 * Errors are one line on stderr: what failed, on what, why; what to do next.
 */
#ifndef LIMPET_CLI_CLI_H
#define LIMPET_CLI_CLI_H

#include <signal.h>
#include <sys/types.h>
#include "keeper/keeper.h"
#include "loader/program.h"
#include "store/store.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct command {
	const char *name;
	int (*run)(const struct command *c, int argc, char **argv); /* argv[0] is the name */
	const char *summary[2]; /* English, Chinese; NULL: only limpet itself uses it */
	const char *help[2];
};

extern const struct command cmd_load, cmd_start, cmd_attach, cmd_detach, cmd_list, cmd_map,
	cmd_doctor, cmd_prog, cmd_run, cmd_top, cmd_trace, cmd_gc, cmd_exec, cmd_version, cmd_help;

/* lang.c */
extern bool cli_chinese;
#define T(en, zh) (cli_chinese ? (zh) : (en))
void lang_init(void);
const char *error_text(int err); /* strerror() in our language */

/* util.c */
int fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define OPTION_PROBES 64

struct options {
	const char *session;
	const char *via;
	bool background, json, all, now, follow, jited, as_root, no_verify, with_kernel;
	const char *type;
	const char *probes[OPTION_PROBES];
	int probe_count;
};

/*
 * Reads leading options; `accept` has the letters this command knows (of "sbjanxrVtpvf"). Returns the
 * index of the first operand, or -1 with *ret_status set: the command ends with that.
 */
int options_parse(const struct command *c, int argc, char **argv, const char *accept,
		  struct options *ret, int *ret_status);
int usage_error(const struct command *c, const char *what);
extern bool cli_as_bpftime;
extern char **cli_argv; /* as main() got it */

/* No session has been made there, or it is just being made. */
bool session_missing(const struct options *o);

/* Opens the session; on failure says why and returns the exit status. */
int session_open(struct store *ret, const struct options *o, u32 flags);

/* Path of a library of ours (folder in the build tree; file name); false after saying so. */
bool library_find(const char *folder, const char *file, const char *env, char *ret, size_t size);

/* Pids of processes that limpet's agent is in. Returns the number stored. */
int targets_find(const struct store *s, u32 *ret, int max);
long link_count(struct store *s);

/* watch.c */
#define WATCHED_LINKS 256

struct watch {
	struct store *store;
	struct keeper *keeper;
	pid_t only;     /* look at this process only; 0: at every target */
	bool no_target; /* say when there is no target */
	bool idle;      /* say when nothing probed is called */
	bool keeps;     /* keep targets that nobody keeps: those that the tool has started, when it makes links later */
	bool keeping;
	bool quiet, dead;
	bool refused; /* said that probes could not be made */
	int busy;     /* looks that found them waiting for a thread */
	u32 generation, first; /* first: when it began */
	long began, next, step; /* ms */
	long attached;          /* when a probe was first seen attached */
	u32 said[WATCHED_LINKS]; /* links that were reported as refused */
	int count;
	u32 older; /* the newest link there was when it began: of those others have told */
};

void watch_begin(struct watch *w, struct store *s); /* then set what to look for */
void watch_tick(struct watch *w); /* call it about every second, or more often */
void watch_look(struct watch *w); /* now, once */
void watch_end(struct watch *w);
const char *probe_reason(const struct agent_probe *p);
void hint_target(void);

/*
 * mapped.c: has a process the file mapped, with the access `how` as /proc/PID/maps writes it (NULL: any)? `pid` is
 * a name in /proc; what is no process has nothing mapped, nor has one that may not be looked at.
 */
struct stat;
bool process_maps(const char *pid, const struct stat *file, const char *how);

/* stale.c: removes a session of another version that nobody uses; false where somebody does */
bool stale_replace(const char *session);

/*
 * symbol.c: where a link's probe is: "function", "function+0x4", or "path+0x1470" where there is no
 * symbol; of system calls the tracepoint.
 */
void place_text(const struct link_file *l, u64 offset, char *ret, size_t size);

/* run.c */
struct run {
	char **argv;
	const char *preload;     /* library to put in front */
	const char *session_dir; /* LIMPET_SESSION_DIR */
	int output;              /* >= 0: background, own session, both outputs there */
	bool hold;               /* nothing is preloaded; it is stopped at its first instruction */
	bool supervised;         /* by a process of its own (supervise.c); preload: for its children, or NULL */
	struct watch *watch;     /* gets its ticks while we wait; may be NULL */
	pid_t pid;
	pid_t supervisor;
	int status_fd; /* the supervisor's reports */
	sigset_t old_mask;
	struct sigaction old_chld; /* what the child is to inherit */
};

/* Is it something limpet can load or start? Where it is and what; 0, or an exit status after saying why. */
int program_check(const char *verb, const char *name, char *ret_path, size_t size,
		  enum program_kind *ret_kind);
int run_start(struct run *r); /* 0, or an exit status after saying why; blocks signals */
int run_wait(struct run *r);  /* passes signals on; returns the exit status to end with */
bool run_ended(struct run *r, int *ret_status); /* its wait status, if it has ended */
/* In the child: becomes the program. Errors go to `report`; supervisor: the socket to it, or -1. */
_Noreturn void run_become(struct run *r, const char *preload, int report, int supervisor);

/* The library as LD_PRELOAD can name it; 0, or an exit status after saying why. */
int run_preload_path(const struct run *r, char *ret, size_t size);
void run_environment(const struct run *r, const char *preload); /* sets what the program is to find there */

/* witness.c: which signals were sent to our whole process group */
struct witness {
	pid_t pid;               /* 0 or less: there is none, and nothing was seen */
	unsigned long long seen; /* pending in earlier ones and not asked for yet; bit N - 1: signal N */
};
void witness_start(struct witness *w);
void witness_end(struct witness *w);
bool witness_saw(struct witness *w, int sig); /* once for each time; waits some milliseconds where it did not */

/* supervise.c: the supervisor's process, see loader/super.h */
int supervise_start(struct run *r, const char *preload, int report); /* 0 or errno */
bool supervise_ended(struct run *r, int *ret_status);
int supervise_enter(int sock, bool dies); /* super_enter(), and what the agents of what it starts are to know of the filter */
const char *supervise_error(int err); /* what run_become() reported */
/*
 * This process, which is about to become a program that is to be served, gets a supervisor that is nobody's child,
 * and the filter. 0 or -errno.
 */
int supervise_me(void);

/* load.c */
/*
 * How a tool meets limpet: `preload` and `supervised` of a struct run. `via`: "preload", "seccomp" or NULL. 0, or a status
 * after saying why.
 */
struct tool_way {
	char preload[4096]; /* "": nothing */
	bool supervised;
};
int tool_check(const char *name, const char *via, struct tool_way *ret);
int load_foreground(struct store *s, char **argv, const char *via);
void log_path(const struct store *s, const char *tool, char *ret, size_t size);

/* trace.c: the session's trace log, read-only; NULL (errno ENOENT: nothing has been written yet) */
struct trace_log;
struct trace_message;
struct trace_log *trace_open(struct store *s);
void trace_print_message(const struct trace_message *t); /* as the kernel's trace_pipe prints it */

/* pid.c */
int pid_parse(const char *verb, const char *text, pid_t *ret);
int pid_check(pid_t pid); /* 0 when it can become a target, else an exit status after saying why */

/* keep.c */
int keep_open(struct keeper **ret, const struct store *s);
int keep_fail(const char *verb, const struct keeper_error *e);
const char *keep_why(const struct keeper_error *e); /* in the user's language */
/* Leaves a process that keeps the session's targets until there are none; again: no error. */
int keep_take_over(struct store *s);
int keep_leave(struct store *s);
/* Keeps the session on a thread of this process until keep_stop(). */
int keep_thread_start(struct store *s);
/* What the process and its descendants execute become targets, too: seen to by a thread, or by a process that stays. */
int keep_follow_start(struct store *s, pid_t pid);
void keep_follow_stop(void);
int keep_follow_leave(struct store *s, pid_t pid);
void keep_thread_stop(void);

/* In the environment of a `limpet` that runs as a tool of its own. */
#define RUN_CHILD    "LIMPET_RUN_CHILD"
#define VERIFY_CHILD "LIMPET_VERIFY_CHILD"

/* Executes itself again where it has limpet's libraries preloaded (preloaded.c); returns where it has not. */
void begin_without_preload(char **argv);

#endif
