/* SPDX-License-Identifier: MIT */
/* See uprobe_record.h. */
#include "loader/uprobe_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/loader.h"
#include "loader/say.h"
#include "loader/uprobe_code.h"

#define PATH_ROOM (2 * SESSION_PATH_MAX)

/* ---- objects ---- */

static void close_object(int fd)
{
	struct loader_obj o;

	if (fd < 0)
		return;
	loader_fd_take(fd, &o);
	sys_close(fd);
}

static int call(u32 cmd, union bpf_attr *attr)
{
	return (int)loader_bpf((int)cmd, attr, sizeof(*attr));
}

static int make_map(void)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_PERCPU_ARRAY,
			       .key_size = 4,
			       .value_size = UPROBE_SCRATCH,
			       .max_entries = 1};

	memcpy(attr.map_name, "uprobe_event", 13);
	return call(BPF_MAP_CREATE, &attr);
}

static int make_prog(const struct uprobe_event *e)
{
	static struct uprobe_code c; /* under the lock of uprobe_events; large for a stack */
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_KPROBE, .license = (u64) "GPL"};
	int map = make_map(), fd, err;

	if (map < 0)
		return map;
	err = uprobe_code_make(&c, e, map);
	attr.insns = (u64)c.insn;
	attr.insn_cnt = c.n;
	memcpy(attr.prog_name, e->name, strnlen(e->name, sizeof(attr.prog_name) - 1));
	fd = err ? err : call(BPF_PROG_LOAD, &attr);
	close_object(map);
	return fd;
}

static int make_link(const struct uprobe_event *e)
{
	struct perf_event_attr event = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(event), .config = e->id};
	union bpf_attr attr = {.link_create.attach_type = BPF_PERF_EVENT};
	int prog = make_prog(e), fd, link;

	if (prog < 0)
		return prog;
	fd = (int)loader_event_open(&event, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	attr.link_create.prog_fd = (u32)prog;
	attr.link_create.target_fd = (u32)fd;
	link = fd < 0 ? fd : call(BPF_LINK_CREATE, &attr);
	close_object(fd);
	close_object(prog);
	return link;
}

static void name_of(const struct store *s, const struct uprobe_event *e, char path[PATH_ROOM])
{
	snprintf(path, PATH_ROOM, "%s/enabled/%s.%s", s->path, e->group, e->name);
}

bool uprobe_record_enabled(const struct store *s, const struct uprobe_event *e)
{
	char path[PATH_ROOM];

	name_of(s, e, path);
	return !access(path, F_OK);
}

static int enable(struct store *s, const struct uprobe_event *e, const char *path)
{
	char dir[PATH_ROOM];
	int fd, err;
	u32 id;

	snprintf(dir, sizeof(dir), "%s/enabled", s->path);
	mkdir(dir, 0700);
	fd = make_link(e);
	if (fd < 0)
		return fd;
	err = loader_fd_object(fd, OBJ_LINK, &id);
	if (!err)
		err = store_pin(s, OBJ_LINK, id, path);
	close_object(fd);
	if (err)
		store_release(s, OBJ_LINK, id);
	return err;
}

int uprobe_record_enable(struct store *s, const struct uprobe_event *e, bool on)
{
	struct user_space *const caller = user_space;
	char path[PATH_ROOM];
	int err = 0;

	name_of(s, e, path);
	if (on == uprobe_record_enabled(s, e))
		return 0;
	user_space = NULL; /* what is passed on is this process's */
	err = on ? enable(s, e, path) : store_unpin(s, path);
	user_space = caller;
	if (err == -E2BIG)
		loader_say("limpet: the event %s shows more than %d values, or too long ones, for "
			   "a line of "
			   "trace_pipe\n",
			   e->name, UPROBE_VALUES);
	return err;
}

/* ---- enable ---- */

struct switching {
	struct store *s;
	char group[UPROBE_NAME_MAX], name[UPROBE_NAME_MAX]; /* no name: all of the group */
	int want;                                           /* -1: only look */
	u32 on, off;
	int err;
};

static bool switch_one(const struct uprobe_event *e, void *arg)
{
	struct switching *w = arg;

	if (strcmp(e->group, w->group) || (*w->name && strcmp(e->name, w->name)))
		return false;
	if (w->want >= 0 && !w->err)
		w->err = uprobe_record_enable(w->s, e, w->want);
	*(uprobe_record_enabled(w->s, e) ? &w->on : &w->off) += 1;
	return false;
}

/* False: it is none of these files. */
static bool switch_all(struct store *s, const char *rest, int want, struct switching *w)
{
	int end = 0;

	*w = (struct switching){.s = s, .want = want};
	if (sscanf(rest, "/events/%63[^/]/enable%n", w->group, &end) != 1 || !end || rest[end]) {
		end = 0;
		if (sscanf(rest, "/events/%63[^/]/%63[^/]/enable%n", w->group, w->name, &end) !=
			    2 ||
		    !end || rest[end])
			return false;
	}
	uprobe_events_each(s, switch_one, w);
	return w->on || w->off;
}

bool uprobe_enable_is(struct store *s, const char *rest)
{
	struct switching w;

	return switch_all(s, rest, -1, &w);
}

char uprobe_enable_read(struct store *s, const char *rest)
{
	struct switching w;

	switch_all(s, rest, -1, &w);
	return w.on && w.off ? 'X' : w.on ? '1' : '0';
}

int uprobe_enable_write(struct store *s, const char *rest, const char *text, size_t size)
{
	struct switching w;
	char word[8];
	int fd, end = 0;
	unsigned int want;

	if (size >= sizeof(word))
		return -EINVAL;
	memcpy(word, text, size);
	word[size] = 0;
	if (sscanf(word, "%u%n", &want, &end) != 1 || (word[end] && strcmp(word + end, "\n")) ||
	    want > 1)
		return -EINVAL;
	fd = uprobe_events_lock(s);
	if (fd < 0)
		return fd;
	if (!switch_all(s, rest, (int)want, &w))
		w.err = -ENODEV;
	close(fd);
	return w.err;
}
