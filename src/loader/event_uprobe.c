/* SPDX-License-Identifier: MIT */
/* Perf events that are uprobes: where, and the program on it. */
#include "loader/event.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "loader/link.h"
#include "loader/probe.h"
#include "loader/uprobe_events.h"

int probe_process(s32 pid, bool leader, s32 *ret)
{
	char path[64], line[256];
	int err = -ESRCH;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return err;
	while (err && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", ret) == 1)
			err = 0;
	fclose(f);
	return !err && leader && *ret != pid ? -ESRCH : err;
}

int probe_file(const char *path, struct stat *ret)
{
	char full[PATH_MAX];
	const char *there = user_path(path, full, sizeof(full));

	if (!there)
		return -ENAMETOOLONG;
	if (stat(there, ret))
		return -errno;
	return S_ISREG(ret->st_mode) ? 0 : -EINVAL;
}

int probe_place(const struct stat *file, u64 offset, u64 ref_ctr)
{
	return (s64)offset > file->st_size || ref_ctr % sizeof(short) ? -EINVAL : 0;
}

/* What uprobe_events calls by a name and an id. */
static int fill_named(struct event_file *e, u64 id)
{
	struct uprobe_event u;
	struct stat st;
	int err = 0;
	struct store *s = loader_store(&err);

	if (!s || !uprobe_event_by_id(s, id, &u))
		return -EINVAL;
	if (stat(u.path, &st))
		return -errno;
	e->flags = u.ret ? PROBE_F_RETURN : 0;
	e->offset = u.offset;
	e->ref_ctr = u.ref_ctr;
	e->dev_major = major(st.st_dev);
	e->dev_minor = minor(st.st_dev);
	e->ino = st.st_ino;
	strcpy(e->path, u.path);
	return probe_place(&st, e->offset, e->ref_ctr);
}

static int fill(struct event_file *e, const struct perf_event_attr *a)
{
	char path[PATH_MAX];
	struct stat st;
	long n;
	int err;

	if (a->type == PERF_TYPE_TRACEPOINT)
		return fill_named(e, a->config);
	if (!a->config1)
		return -EINVAL;
	n = user_string(path, a->config1, sizeof(path));
	if (n < 0 || n == PATH_MAX)
		return n < 0 ? (int)n : -E2BIG;
	if (!n)
		return -EINVAL;
	err = probe_file(path, &st);
	if (err)
		return err;
	if ((size_t)n >= sizeof(e->path))
		return -ENAMETOOLONG;
	e->flags = a->config & 1 ? PROBE_F_RETURN : 0;
	e->offset = a->config2;
	e->ref_ctr = a->config >> 32;
	e->dev_major = major(st.st_dev);
	e->dev_minor = minor(st.st_dev);
	e->ino = st.st_ino;
	strcpy(e->path, path);
	return probe_place(&st, e->offset, e->ref_ctr);
}

/* Uprobe programs are of type kprobe to the kernel. */
static int check_prog(struct store *s, const struct event_file *e, u32 prog)
{
	struct prog_kind kind;
	int err = link_prog(s, prog, &kind);

	return err ? err : kind.type == BPF_PROG_TYPE_KPROBE ? 0 : -EINVAL;
}

const struct event_kind event_uprobe = {
	.fill = fill, .check_prog = check_prog, .set_bpf = event_set_bpf};
