/* SPDX-License-Identifier: MIT */
/* See files.h. */
#include "loader/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "loader/kernel.h"
#include "loader/loader.h"
#include "loader/tracefs.h"

/* The small BTF that limpet brings (btf/vmlinux.bpf.c), linked in by the build. */
extern const char limpet_btf_start[] HIDDEN, limpet_btf_end[] HIDDEN;

enum which { OURS, IF_MISSING };

static void text_type(char *buf, size_t size)
{
	snprintf(buf, size, "%d\n", LOADER_PERF_TYPE);
}

static void text_cpus(char *buf, size_t size)
{
	int n = get_nprocs_conf();

	snprintf(buf, size, n > 1 ? "0-%d\n" : "%d\n", n - 1);
}

#define UPROBE "/sys/bus/event_source/devices/uprobe"

static const struct {
	const char *path;
	enum which which;
	const char *text;
	void (*make)(char *buf, size_t size);
} files[] = {
	{UPROBE "/type", OURS, NULL, text_type},
	{UPROBE "/format/retprobe", OURS, "config:0\n", NULL},
	{UPROBE "/format/ref_ctr_offset", OURS, "config:32-63\n", NULL},
	{UPROBE "/perf_event_mux_interval_ms", OURS, "4\n", NULL},
	{"/sys/devices/system/cpu/possible", IF_MISSING, NULL, text_cpus},
	{"/sys/devices/system/cpu/online", IF_MISSING, NULL, text_cpus},
	{"/sys/kernel/btf/vmlinux", IF_MISSING, "", NULL}, /* "": the BTF */
};

/* Makes the directories of `path`, which lies in the session. */
static void make_parents(const struct store *s, char *path)
{
	for (char *p = path + strlen(s->path) + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(path, 0700);
		*p = '/';
	}
}

/* Writes a file whole or not at all: readers and other tools may be there at the same time. */
static int write_file(const struct store *s, char *path, const char *data, size_t size)
{
	char temp[FILES_PATHMAX];
	int fd, err = 0;

	make_parents(s, path);
	snprintf(temp, sizeof(temp), "%.*s.%d", (int)sizeof(temp) - 20, path, getpid());
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0400);
	if (fd < 0)
		return -errno;
	if (write(fd, data, size) != (ssize_t)size || rename(temp, path))
		err = -EIO;
	if (err)
		unlink(temp);
	close(fd);
	return err;
}

static int make_file(const struct store *s, size_t i, char *path)
{
	char text[64];

	if (!access(path, F_OK))
		return 0;
	if (files[i].make) {
		files[i].make(text, sizeof(text));
		return write_file(s, path, text, strlen(text));
	}
	if (!*files[i].text)
		return write_file(s, path, limpet_btf_start,
				  (size_t)(limpet_btf_end - limpet_btf_start));
	return write_file(s, path, files[i].text, strlen(files[i].text));
}

long files_rename(const char *from, const char *to, u32 flags)
{
	char from_buf[FILES_PATHMAX], to_buf[FILES_PATHMAX];
	const char *real_from, *real_to;
	struct store *s;
	int err = 0;

	if (files_is_fixed(from) || files_is_fixed(to))
		return -EPERM;
	if (!files_in_bpffs(from) && !files_in_bpffs(to))
		return -LOADER_PASS;
	s = loader_session(&err);
	if (!s)
		return err;
	real_from = files_path(from, from_buf);
	real_to = files_path(to, to_buf);
	if (!strcmp(from, FILES_BPFFS) || !strcmp(to, FILES_BPFFS))
		return -EBUSY;
	if (!files_in_bpffs(from) || !files_in_bpffs(to))
		return -EXDEV;
	if (strchr(strrchr(to, '/'), '.'))
		return -EPERM; /* as for pins */
	return store_move_pin(s, real_from, real_to, flags);
}

static bool below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

bool files_in_bpffs(const char *path)
{
	return path && below(path, FILES_BPFFS);
}

bool files_in_tracefs(const char *path)
{
	return path && tracefs_rest(path);
}

bool files_is_fixed(const char *path)
{
	const char *rest = path ? tracefs_rest(path) : NULL;

	return rest && !kernel_has_file(rest);
}

bool files_is_pin_path(const struct store *s, const char *path)
{
	size_t n = strlen(s->path);

	return !strncmp(path, s->path, n) && below(path + n, "/bpffs");
}

/* Is it one of the files, or a directory that would hold one? Index, or -1. */
static int find(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!strcmp(path, files[i].path) ||
		    (files[i].which == OURS && below(path, UPROBE) && i == 0))
			return (int)i;
	return -1;
}

static const char *in_session(const char *path, int i, char *buf)
{
	const char *tree = i < 0 ? "/bpffs" : "/files";
	struct store *s;
	int err = 0;

	s = loader_session(&err);
	if (!s || snprintf(buf, FILES_PATHMAX, "%s%s%s", s->path, tree, path) >= FILES_PATHMAX)
		return path;
	if (i < 0) {
		char root[FILES_PATHMAX];

		snprintf(root, sizeof(root), "%s%s" FILES_BPFFS "/", s->path, tree);
		make_parents(s, root);
		return buf;
	}
	for (size_t k = 0; k < ARRAY_SIZE(files); k++) {
		char one[FILES_PATHMAX];

		if (files[k].which != files[i].which ||
		    (files[k].which == IF_MISSING && (int)k != i))
			continue;
		snprintf(one, sizeof(one), "%s%s%s", s->path, tree, files[k].path);
		/*
		 * Not the kernel's instead: a tool that reads its uprobe type would probe through
		 * the kernel.
		 */
		if (make_file(s, k, one))
			break;
	}
	return buf;
}

/* Of its two places in the session one is a link to the other: what follows is the tool's path. */
static const char *in_tracefs(const char *path, const char *rest, char *buf)
{
	char dir[FILES_PATHMAX];
	struct store *s;
	int err = 0;

	s = loader_session(&err);
	if (!s || snprintf(buf, FILES_PATHMAX, "%s/files%s", s->path, path) >= FILES_PATHMAX)
		return path;
	if (tracefs_stays(rest) && !access(buf, F_OK)) /* one tool opens hundreds, and all that is below is made each time */
		return buf;
	snprintf(dir, sizeof(dir), "%s/files" TRACEFS_DIR "/", s->path);
	make_parents(s, dir);
	dir[strlen(dir) - 1] = 0;
	tracefs_make(s, dir, rest);
	if (strncmp(path, TRACEFS_DIR, strlen(TRACEFS_DIR))) {
		snprintf(dir, sizeof(dir), "%s/files" TRACEFS_DEBUG, s->path);
		make_parents(s, dir);
		symlink("../tracing", dir);
	}
	return buf;
}

const char *files_path(const char *path, char buf[FILES_PATHMAX])
{
	const int saved = errno;
	const char *ret = path, *rest;
	int i;

	/* every open of the tool comes through here: one comparison for most */
	if (!path || strncmp(path, "/sys/", 5))
		return path;
	i = find(path);
	rest = tracefs_rest(path);
	loader_inside++;
	if (rest && kernel_has_file(rest))
		ret = kernel_file(path, rest, buf);
	else if (rest)
		ret = in_tracefs(path, rest, buf);
	else if (i >= 0 && (files[i].which == OURS || access(path, F_OK)))
		ret = in_session(path, i, buf);
	else if (files_in_bpffs(path))
		ret = in_session(path, -1, buf);
	loader_inside--;
	errno = saved;
	return ret;
}
