/* SPDX-License-Identifier: MIT */
/*
 * Probes on the tool itself. A tool is no target as it starts: that would cost every tool, and hardly any probes
 * itself. It becomes one when it makes a link on its own program, or on itself by its pid; or one on a library or on
 * system calls, for all processes, whose program has the tool's pid in an array or its global data, as programs do
 * that look at nobody else. As with the kernel the probe is there when the call returns: `limpet attach` is run, which
 * stops this process for some milliseconds, and leaves a keeper for what comes later. Other links on what this process
 * does as all processes do, calls of the C library above all, do not make a target of the tool.
 *
 * Between this process and limpet stands a child whose end sends no signal and is seen by no wait() of the tool's:
 * one that executes a program becomes an ordinary child.
 */
#include "loader/own_probes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/loader.h"
#include "loader/say.h"
#include "session/object.h"

#define MOST_VARS   512
#define MOST_VALUES 65536 /* bytes of an array that are looked through */

struct start {
	const char *command;
	char *argv[6];
	char *envp[MOST_VARS + 2];
	int null;
	sigset_t mask;
};

static bool is_here(const struct own_place *p)
{
	struct stat exe;

	return p->ino && !stat("/proc/self/exe", &exe) && exe.st_ino == p->ino && major(exe.st_dev) == p->dev_major &&
	       minor(exe.st_dev) == p->dev_minor;
}

/* Is the tool's pid among an array's values? */
static bool has_pid(const struct map *m)
{
	const u64 all = (u64)m->elem_count * m->elem_size, size = all < MOST_VALUES ? all : MOST_VALUES;
	const _Atomic u32 *w = (const _Atomic u32 *)(m->base + m->elems_off);
	const u32 pid = (u32)getpid();

	if (m->def.type != BPF_MAP_TYPE_ARRAY)
		return false;
	for (u64 i = 0; i < size / sizeof(*w); i++)
		if (atomic_load_explicit(&w[i], memory_order_relaxed) == pid)
			return true;
	return false;
}

static bool has_pid_in_maps(struct store *s, u32 prog)
{
	bool found = false;
	struct prog_file *p, head;
	int err = 0;
	u64 size;

	p = store_map_object(s, OBJ_PROG, prog, &size, &err);
	if (!p)
		return false;
	head = *p;
	for (u32 i = 0; !object_check_prog(&head, size) && i < head.map_count && !found; i++) {
		const struct map *m = loader_known_map(((const u32 *)((const u8 *)p + head.map_ids_off))[i]);

		found = m && has_pid(m);
	}
	munmap(p, size);
	return found;
}

static bool is_ours(struct store *s, u32 prog, const struct own_place *p)
{
	return p->pid >= 0 ? (u32)p->pid == (u32)getpid() : is_here(p) || has_pid_in_maps(s, prog);
}

/* The tool's environment without what makes a tool or a target of a process, and with the place of sessions. */
static void fill_environment(struct start *a, char *dir)
{
	size_t n = 0;

	for (char **e = environ; e && *e && n < MOST_VARS; e++)
		if (strncmp(*e, "LD_PRELOAD=", 11) && strncmp(*e, "LIMPET_DIR=", 11) && strncmp(*e, "LIMPET_SESSION_DIR=", 19))
			a->envp[n++] = *e;
	a->envp[n++] = dir;
	a->envp[n] = NULL;
}

static __attribute__((noreturn)) void become_attach(const struct start *a)
{
	sys_call3(SYS_dup3, a->null, STDIN_FILENO, 0);
	sys_call3(SYS_dup3, a->null, STDOUT_FILENO, 0);
	sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&a->mask, 0, 8);
	sys_call3(SYS_execve, (long)a->command, (long)a->argv, (long)a->envp);
	for (;;)
		sys_call1(SYS_exit_group, 127);
}

/* In a child whose other threads, and what locks they held, are gone: system calls only. Exits as limpet does. */
static __attribute__((noreturn)) void wait_for_attach(const struct start *a)
{
	long pid = sys_call6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
	int status = -1;

	if (!pid)
		become_attach(a);
	while (pid > 0 && sys_call4(SYS_wait4, pid, (long)&status, 0, 0) == -EINTR)
		;
	for (;;)
		sys_call1(SYS_exit_group, status ? 1 : 0);
}

static bool run_attach(struct start *a)
{
	int status = -1;
	sigset_t all;
	long pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &a->mask); /* the tool's handlers are not for the child */
	pid = sys_call6(SYS_clone, 0, 0, 0, 0, 0, 0);
	if (!pid)
		wait_for_attach(a);
	while (pid > 0 && waitpid((pid_t)pid, &status, __WCLONE) < 0 && errno == EINTR)
		;
	pthread_sigmask(SIG_SETMASK, &a->mask, NULL);
	return pid > 0 && !status;
}

void own_probe_made(struct store *s, u32 prog, const struct own_place *p)
{
	const char *command = getenv(OWN_COMMAND), *slash = strrchr(s->path, '/');
	char dir[SESSION_PATH_MAX + 16], pid[16];
	const int saved = errno;
	struct start *a;

	if (user_space || !command || !slash || !is_ours(s, prog, p))
		return;
	a = calloc(1, sizeof(*a));
	if (a) {
		snprintf(dir, sizeof(dir), "LIMPET_DIR=%.*s", (int)(slash - s->path), s->path);
		snprintf(pid, sizeof(pid), "%d", getpid());
		*a = (struct start){.command = command, .null = open("/dev/null", O_RDWR | O_CLOEXEC),
				    .argv = {"limpet", "attach", "-s", (char *)slash + 1, pid}};
		fill_environment(a, dir);
	}
	if (!a || !run_attach(a))
		loader_say("limpet: the probes of process %d on itself are not there\n", getpid());
	if (a && a->null >= 0)
		close(a->null);
	free(a);
	errno = saved;
}
