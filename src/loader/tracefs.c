/* SPDX-License-Identifier: MIT */
/* See tracefs.h. */
#include "loader/tracefs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bpf/syscall_desc.h"
#include "loader/kernel.h"
#include "loader/say.h"
#include "loader/tracefs_write.h"
#include "loader/uprobe_args.h"
#include "loader/uprobe_events.h"
#include "loader/uprobe_record.h"

#define PATH_ROOM (2 * SESSION_PATH_MAX)
#define EMPTY     ".empty" /* beside the directory: the one file */
#define WHOLE     ".whole" /* ... and a name of it when everything is there */

static const char *const systems[] = {"raw_syscalls", "syscalls"};
static const char *const leaves[] = {"id", "format"};
static const char *const singles[] = {"/available_events", "/uprobe_events", "/trace_pipe"};

static const char *rest_of(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (strncmp(path, dir, n) || (path[n] && path[n] != '/'))
		return NULL;
	while (path[n] && path[n + 1] == '/')
		n++;
	return path + n;
}

const char *tracefs_rest(const char *path)
{
	const char *rest = rest_of(path, TRACEFS_DIR);

	return rest ? rest : rest_of(path, TRACEFS_DEBUG);
}

/* The i-th event: its system's index, or -1 behind the last. */
static int event_at(u32 i, struct syscall_event *ret)
{
	const struct syscall_desc *d;

	*ret = (struct syscall_event){.nr = SYSCALL_ALL, .exit = i & 1};
	if (i < 2)
		return 0;
	d = syscall_desc_at(i / 2 - 1);
	if (!d)
		return -1;
	ret->nr = (s32)d->nr;
	return 1;
}

/*
 * "/events/SYSTEM/EVENT[/LEAF]": whether there is such an event. The leaf is "" for the event's
 * directory.
 */
static bool parse(const char *rest, struct syscall_event *ret, char leaf[16])
{
	char system[32], event[SYSCALL_NAME_MAX];
	int n;

	*leaf = 0;
	n = sscanf(rest, "/events/%31[^/]/%63[^/]/%15[^/]", system, event, leaf);
	return n >= 2 && syscall_event_by_name(system, event, ret);
}

static bool is_leaf(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
		if (!strcmp(name, leaves[i]))
			return true;
	return false;
}

/* ---- names in the session ---- */

static void make_dir(const char *dir, const char *system, const char *event)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof(path), "%s/events/%s/%s", dir, system, event);
	mkdir(path, 0755);
}

/* The name of an empty file; that it is there already is no matter. */
static void make_name(const char *dir, const char *name)
{
	char empty[PATH_ROOM], path[PATH_ROOM];

	snprintf(empty, sizeof(empty), "%s" EMPTY, dir);
	snprintf(path, sizeof(path), "%s%s", dir, name);
	if (link(empty, path) && errno == ENOENT) {
		int fd = open(empty, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0440);

		if (fd >= 0)
			close(fd);
		if (link(empty, path))
			return;
	}
}

static void make_leaves(const char *dir, const char *system, const char *event)
{
	char name[3 * SYSCALL_NAME_MAX];

	make_dir(dir, system, event);
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		snprintf(name, sizeof(name), "/events/%s/%s/%s", system, event, leaves[i]);
		make_name(dir, name);
	}
}

static void make_event(const char *dir, const char *system, struct syscall_event e)
{
	char event[SYSCALL_NAME_MAX];

	syscall_event_name(e, event);
	make_leaves(dir, system, event);
}

/* Several processes may do so at once: each makes all that it does not find. */
static void make_all(const char *dir)
{
	struct syscall_event e;
	char whole[PATH_ROOM];
	int system;

	snprintf(whole, sizeof(whole), "%s" WHOLE, dir);
	if (!access(whole, F_OK))
		return;
	for (u32 i = 0; (system = event_at(i, &e)) >= 0; i++)
		make_event(dir, systems[system], e);
	make_name(dir, WHOLE);
}

static bool make_uprobe(const struct uprobe_event *e, void *arg)
{
	char name[2 * UPROBE_NAME_MAX + 32];
	const char *dir = arg;

	make_dir(dir, e->group, "");
	make_leaves(dir, e->group, e->name);
	snprintf(name, sizeof(name), "/events/%s/enable", e->group);
	make_name(dir, name);
	snprintf(name, sizeof(name), "/events/%s/%s/enable", e->group, e->name);
	make_name(dir, name);
	return false;
}

/* Takes away the names of uprobes that are no more; those of a tool that looks at them now come back. */
static void drop_uprobe(struct store *s, const char *dir, const char *group, const char *name)
{
	char path[PATH_ROOM];

	if (uprobe_event_by_name(s, group, name, NULL))
		return;
	for (size_t i = 0; i <= ARRAY_SIZE(leaves); i++) {
		snprintf(path, sizeof(path), "%s/events/%s/%s/%s", dir, group, name, i < ARRAY_SIZE(leaves) ? leaves[i] : "enable");
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/events/%s/%s", dir, group, name);
	rmdir(path);
}

static bool is_system(const char *name)
{
	return *name == '.' || !strcmp(name, systems[0]) || !strcmp(name, systems[1]);
}

static bool is_group(const struct uprobe_event *e, void *arg)
{
	return !strcmp(e->group, arg);
}

static void drop_group(struct store *s, const char *path, char *group)
{
	char enable[PATH_ROOM + 8];

	if (uprobe_events_each(s, is_group, group))
		return;
	snprintf(enable, sizeof(enable), "%s/enable", path);
	unlink(enable);
	rmdir(path);
}

static void drop_uprobes(struct store *s, const char *dir)
{
	char path[PATH_ROOM];
	struct dirent *g, *e;
	DIR *groups, *events;

	snprintf(path, sizeof(path), "%s/events", dir);
	groups = opendir(path);
	while (groups && (g = readdir(groups))) {
		if (is_system(g->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/events/%s", dir, g->d_name);
		events = opendir(path);
		while (events && (e = readdir(events)))
			if (*e->d_name != '.')
				drop_uprobe(s, dir, g->d_name, e->d_name);
		if (events)
			closedir(events);
		drop_group(s, path, g->d_name);
	}
	if (groups)
		closedir(groups);
}

bool tracefs_stays(const char *rest)
{
	struct syscall_event e;
	char leaf[16];

	for (size_t i = 0; i < ARRAY_SIZE(singles); i++)
		if (!strcmp(rest, singles[i]))
			return true;
	return parse(rest, &e, leaf) && is_leaf(leaf);
}

void tracefs_make(struct store *s, const char *dir, const char *rest)
{
	struct syscall_event e;
	char leaf[16];

	for (size_t i = 0; i < ARRAY_SIZE(singles); i++)
		make_name(dir, singles[i]);
	make_dir(dir, "", "");
	for (size_t i = 0; i < ARRAY_SIZE(systems); i++)
		make_dir(dir, systems[i], "");
	if (parse(rest, &e, leaf)) {
		make_event(dir, systems[e.nr != SYSCALL_ALL], e);
	} else if (rest_of(rest, "/events")) {
		drop_uprobes(s, dir);
		uprobe_events_each(s, make_uprobe, (void *)dir);
		make_all(dir);
	}
}

/* ---- contents ---- */

static void print_field(FILE *f, const char *type, const char *name, u32 off, u32 size, bool sign)
{
	fprintf(f, "\tfield:%s %s;\toffset:%u;\tsize:%u;\tsigned:%d;\n", type, name, off, size,
		sign);
}

/* Calls `each` for every argument, as the table has them. */
static void each_arg(FILE *f, const struct syscall_desc *d,
		     void (*each)(FILE *f, u32 n, const char *type, const char *name))
{
	const char *p = d->args;
	char type[96], name[48];
	u32 n = 0;

	while (sscanf(p, "%95[^|]|%47[^;]", type, name) == 2) {
		each(f, n++, type, name);
		p = strchr(p, ';');
		if (!p++)
			break;
	}
}

static void arg_field(FILE *f, u32 n, const char *type, const char *name)
{
	print_field(f, type, name, SYSCALL_RECORD_ARGS + n * 8, 8, false);
}

static void arg_format(FILE *f, u32 n, const char *type, const char *name)
{
	fprintf(f, "%s%s: 0x%%08lx", n ? ", " : "", name);
}

static void arg_value(FILE *f, u32 n, const char *type, const char *name)
{
	fprintf(f, ", ((unsigned long)(REC->%s))", name);
}

static void print_one_call(FILE *f, struct syscall_event e)
{
	const struct syscall_desc *d = syscall_desc_find((u32)e.nr);

	print_field(f, "int", "__syscall_nr", 8, 4, true);
	if (e.exit) {
		print_field(f, "long", "ret", 16, 8, true);
		fputs("\nprint fmt: \"0x%lx\", REC->ret\n", f);
		return;
	}
	each_arg(f, d, arg_field);
	fputs("\nprint fmt: \"", f);
	each_arg(f, d, arg_format);
	fputs("\"", f);
	each_arg(f, d, arg_value);
	fputc('\n', f);
}

static void print_all_calls(FILE *f, struct syscall_event e)
{
	print_field(f, "long", "id", 8, 8, true);
	if (e.exit) {
		print_field(f, "long", "ret", 16, 8, true);
		fputs("\nprint fmt: \"NR %ld = %ld\", REC->id, REC->ret\n", f);
		return;
	}
	print_field(f, "unsigned long", "args[6]", 16, 48, false);
	fputs("\nprint fmt: \"NR %ld (%lx, %lx, %lx, %lx, %lx, %lx)\", REC->id", f);
	for (int i = 0; i < SYSCALL_ARGS_MAX; i++)
		fprintf(f, ", REC->args[%d]", i);
	fputc('\n', f);
}

/* What all records begin with. */
static void print_head(FILE *f, const char *name, u32 id)
{
	fprintf(f, "name: %s\nID: %u\nformat:\n", name, id);
	print_field(f, "unsigned short", "common_type", 0, 2, false);
	print_field(f, "unsigned char", "common_flags", 2, 1, false);
	print_field(f, "unsigned char", "common_preempt_count", 3, 1, false);
	print_field(f, "int", "common_pid", 4, 4, true);
	fputc('\n', f);
}

static void print_format(FILE *f, struct syscall_event e)
{
	char name[SYSCALL_NAME_MAX];

	syscall_event_name(e, name);
	print_head(f, name, syscall_event_id(e));
	if (e.nr == SYSCALL_ALL)
		print_all_calls(f, e);
	else
		print_one_call(f, e);
}

static void print_uprobe_format(FILE *f, const struct uprobe_event *e)
{
	print_head(f, e->name, e->id);
	if (e->ret) {
		print_field(f, "unsigned long", "__probe_func", 8, 8, false);
		print_field(f, "unsigned long", "__probe_ret_ip", 16, 8, false);
	} else {
		print_field(f, "unsigned long", "__probe_ip", 8, 8, false);
	}
	uprobe_args_fields(f, e->args, e->ret);
	uprobe_args_format(f, e->args, e->ret);
}

bool tracefs_is_ours(const char *system)
{
	int err = 0;
	struct store *s;

	for (size_t i = 0; i < ARRAY_SIZE(systems); i++)
		if (!strcmp(system, systems[i]))
			return true;
	s = loader_session(&err);
	return s && uprobe_events_each(s, is_group, (void *)system);
}

static bool print_uprobe_name(const struct uprobe_event *e, void *arg)
{
	FILE *f = arg;

	fprintf(f, "%s:%s\n", e->group, e->name);
	return false;
}

static void print_events(struct store *s, FILE *f)
{
	char name[SYSCALL_NAME_MAX];
	struct syscall_event e;
	int system;

	for (u32 i = 0; (system = event_at(i, &e)) >= 0; i++) {
		syscall_event_name(e, name);
		fprintf(f, "%s:%s\n", systems[system], name);
	}
	uprobe_events_each(s, print_uprobe_name, f);
	if (kernel_on())
		kernel_print_events(f);
}

static bool print_uprobe(struct store *s, FILE *f, const char *rest)
{
	char group[UPROBE_NAME_MAX], name[UPROBE_NAME_MAX], leaf[16];
	struct uprobe_event e;

	if (sscanf(rest, "/events/%63[^/]/%63[^/]/%15[^/]", group, name, leaf) != 3 ||
	    !is_leaf(leaf) || !uprobe_event_by_name(s, group, name, &e))
		return false;
	if (!strcmp(leaf, "id"))
		fprintf(f, "%u\n", e.id);
	else
		print_uprobe_format(f, &e);
	return true;
}

static bool print_file(struct store *s, FILE *f, const char *rest)
{
	struct syscall_event e;
	char leaf[16];

	if (!strcmp(rest, "/available_events"))
		print_events(s, f);
	else if (!strcmp(rest, "/uprobe_events"))
		uprobe_events_print(s, f);
	else if (uprobe_enable_is(s, rest))
		fprintf(f, "%c\n", uprobe_enable_read(s, rest));
	else if (!parse(rest, &e, leaf) || !is_leaf(leaf))
		return print_uprobe(s, f, rest);
	else if (!strcmp(leaf, "id"))
		fprintf(f, "%u\n", syscall_event_id(e));
	else
		print_format(f, e);
	return true;
}

/* A tool that opens an event's files means to use it: it should not seem to be misspelt. Once in a row. */
static void say_not_there(const char *rest)
{
	static char last[2 * SYSCALL_NAME_MAX];
	char system[SYSCALL_NAME_MAX], event[SYSCALL_NAME_MAX], leaf[16], name[sizeof(last)];

	if (!strcmp(rest, "/kprobe_events"))
		loader_say("limpet: functions of the kernel (kprobes) are not observed\n");
	if (sscanf(rest, "/events/%63[^/]/%63[^/]/%15[^/]", system, event, leaf) != 3 ||
	    !is_leaf(leaf))
		return;
	snprintf(name, sizeof(name), "%s:%s", system, event);
	if (!strcmp(name, last))
		return;
	strcpy(last, name);
	loader_say("limpet: the tracepoint %s is not one of a system call; others are in the "
		   "kernel, which limpet does not observe\n",
		   name);
}

/* What is not there cannot be made; -1: whoever only reads may ask the kernel. */
static int no_new_file(struct store *s, const char *rest, int flags)
{
	char path[PATH_ROOM];
	struct stat st;

	if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT))
		return -1;
	snprintf(path, sizeof(path), "%s/files" TRACEFS_DIR "%s", s->path, rest);
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return -EISDIR;
	return flags & O_CREAT ? -EACCES : -ENOENT;
}

static int open_to_write(struct store *s, const char *rest, int flags)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = (flags & O_ACCMODE) == O_RDWR ? open_memstream(&text, &size) : NULL;
	int ret;

	if (f) {
		print_file(s, f, rest);
		fclose(f);
	}
	ret = tracefs_write_open(s, rest, flags, text, size);
	free(text);
	return ret;
}

/* The contents in a file of their own, opened again for reading only. */
int tracefs_open(struct store *s, const char *rest, int flags)
{
	int fd, ret = -1;
	char path[64];
	FILE *f;

	if ((flags & O_ACCMODE) != O_RDONLY && tracefs_written(s, rest))
		return open_to_write(s, rest, flags);
	fd = (int)syscall(SYS_memfd_create, "tracefs", MFD_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	if (print_file(s, f, rest) && !fflush(f)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ret = (flags & O_ACCMODE) != O_RDONLY ? -EACCES
		      : flags & O_DIRECTORY           ? -ENOTDIR
						      : open(path, O_RDONLY | (flags & O_CLOEXEC));
	} else {
		say_not_there(rest);
		ret = no_new_file(s, rest, flags);
	}
	fclose(f);
	return ret;
}
