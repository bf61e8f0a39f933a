/* SPDX-License-Identifier: MIT */
/* See uprobe_events.h. */
#include "loader/uprobe_events.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/loader.h"
#include "loader/probe.h"
#include "loader/say.h"

#define FIRST_ID   30000u /* above those of system calls */
#define LAST_ID    65535u /* an id has 16 bits in a record */
#define LINE_ROOM  2048
#define PATH_ROOM  (2 * SESSION_PATH_MAX)
#define OPENED_MAX 8

/* ---- the file ---- */

static void file_of(const struct store *s, const char *what, char path[PATH_ROOM])
{
	snprintf(path, PATH_ROOM, "%s/uprobe_events%s", s->path, what);
}

static bool parse_saved(const char *line, struct uprobe_event *e)
{
	unsigned long long offset, ref;
	char kind;

	if (sscanf(line, "%u %c %63s %63s %1023s %llx %llx", &e->id, &kind, e->group, e->name,
		   e->path, &offset, &ref) != 7)
		return false;
	e->ret = kind == 'r';
	e->offset = offset;
	e->ref_ctr = ref;
	return true;
}

static void save(FILE *f, const struct uprobe_event *e)
{
	fprintf(f, "%u %c %s %s %s %llx %llx\n", e->id, e->ret ? 'r' : 'p', e->group, e->name,
		e->path, (unsigned long long)e->offset, (unsigned long long)e->ref_ctr);
}

bool uprobe_events_each(struct store *s, uprobe_event_fn *fn, void *arg)
{
	char path[PATH_ROOM], line[LINE_ROOM];
	struct uprobe_event e;
	bool done = false;
	FILE *f;

	file_of(s, "", path);
	f = fopen(path, "re");
	while (f && !done && fgets(line, sizeof(line), f))
		done = parse_saved(line, &e) && fn(&e, arg);
	if (f)
		fclose(f);
	return done;
}

struct wanted {
	u64 id; /* or by name */
	const char *group, *name;
	struct uprobe_event *ret;
};

static bool is_wanted(const struct uprobe_event *e, void *arg)
{
	const struct wanted *w = arg;
	const bool is =
		w->name ? !strcmp(e->group, w->group) && !strcmp(e->name, w->name) : e->id == w->id;

	if (is && w->ret)
		*w->ret = *e;
	return is;
}

bool uprobe_event_by_id(struct store *s, u64 id, struct uprobe_event *ret)
{
	struct wanted w = {.id = id, .ret = ret};

	return id >= FIRST_ID && id <= LAST_ID && uprobe_events_each(s, is_wanted, &w);
}

bool uprobe_event_by_name(struct store *s, const char *group, const char *name,
			  struct uprobe_event *ret)
{
	struct wanted w = {.group = group, .name = name, .ret = ret};

	return uprobe_events_each(s, is_wanted, &w);
}

static bool print_one(const struct uprobe_event *e, void *arg)
{
	FILE *f = arg;

	fprintf(f, "%c:%s/%s %s:0x%016llx", e->ret ? 'r' : 'p', e->group, e->name, e->path,
		(unsigned long long)e->offset);
	if (e->ref_ctr)
		fprintf(f, "(0x%llx)", (unsigned long long)e->ref_ctr);
	fputc('\n', f);
	return false;
}

void uprobe_events_print(struct store *s, FILE *f)
{
	uprobe_events_each(s, print_one, f);
}

/* ---- changes ---- */

/* Only one at a time; the descriptor's end ends it. */
static int lock(struct store *s)
{
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_ROOM];
	int fd;

	file_of(s, ".lock", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (!fcntl(fd, F_OFD_SETLKW, &all))
		return fd;
	close(fd);
	return -errno;
}

struct rewriting {
	FILE *f;
	const struct uprobe_event *without;
	bool found;
	u32 last_id;
};

static bool keep_one(const struct uprobe_event *e, void *arg)
{
	struct rewriting *r = arg;
	const bool gone = r->without && !strcmp(e->group, r->without->group) &&
			  !strcmp(e->name, r->without->name);

	r->last_id = e->id > r->last_id ? e->id : r->last_id;
	r->found |= gone;
	if (!gone)
		save(r->f, e);
	return false;
}

/* The file anew: without one event (-ENOENT: it is not there), or with one more. */
static int rewrite_file(struct store *s, const struct uprobe_event *without,
			struct uprobe_event *add)
{
	struct rewriting r = {.without = without, .last_id = FIRST_ID - 1};
	char path[PATH_ROOM], temp[PATH_ROOM];
	int err = 0;

	file_of(s, "", path);
	file_of(s, ".new", temp);
	r.f = fopen(temp, "we");
	if (!r.f)
		return -errno;
	uprobe_events_each(s, keep_one, &r);
	if (without && !r.found)
		err = -ENOENT;
	if (add && r.last_id == LAST_ID)
		err = -ENODEV;
	if (add && !err) {
		add->id = r.last_id + 1;
		save(r.f, add);
	}
	if (fclose(r.f) && !err)
		err = -errno;
	if (!err && rename(temp, path))
		err = -errno;
	if (err)
		unlink(temp);
	return err;
}

static int clear(struct store *s)
{
	char path[PATH_ROOM];
	int fd = lock(s);

	if (fd < 0)
		return fd;
	file_of(s, "", path);
	unlink(path);
	close(fd);
	return 0;
}

/* ---- lines ---- */

static bool is_name(const char *s, size_t n)
{
	if (!n || n >= UPROBE_NAME_MAX || isdigit((unsigned char)*s))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_')
			return false;
	return true;
}

/* "[GROUP/]EVENT" */
static int take_name(struct uprobe_event *e, const char *text)
{
	const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : text;

	if ((slash && !is_name(text, (size_t)(slash - text))) || !is_name(name, strlen(name)))
		return -EINVAL;
	snprintf(e->group, sizeof(e->group), "%.*s", slash ? (int)(slash - text) : 7,
		 slash ? text : UPROBE_GROUP);
	snprintf(e->name, sizeof(e->name), "%s", name);
	return 0;
}

/* The name the kernel gives to one without: the file's, up to what is none of a name, and the offset. */
static void make_name(struct uprobe_event *e)
{
	const char *base = strrchr(e->path, '/') + 1;
	size_t n = 0;

	while (n < 30 && (isalnum((unsigned char)base[n]) || base[n] == '_'))
		n++;
	strcpy(e->group, UPROBE_GROUP);
	snprintf(e->name, sizeof(e->name), "%c_%.*s_0x%llx", e->ret ? 'r' : 'p', (int)n, base,
		 (unsigned long long)e->offset);
}

static bool number(const char *text, const char *end, u64 *ret)
{
	char *stop;

	errno = 0;
	*ret = strtoull(text, &stop, 0);
	return stop == end && stop != text && !errno && isdigit((unsigned char)*text);
}

/* "PATH:OFFSET[(SEMAPHORE)]" */
static int take_place(struct uprobe_event *e, char *text)
{
	char *colon = strrchr(text, ':'), *open = colon ? strchr(colon, '(') : NULL;
	struct stat st;
	int err;

	if (!colon || !strchr(text, '/') || (size_t)(colon - text) >= sizeof(e->path))
		return -EINVAL;
	if (open && (open[strlen(open) - 1] != ')' ||
		     !number(open + 1, open + strlen(open) - 1, &e->ref_ctr)))
		return -EINVAL;
	if (!number(colon + 1, open ? open : colon + strlen(colon), &e->offset))
		return -EINVAL;
	*colon = 0;
	err = probe_file(text, &st);
	if (!err)
		strcpy(e->path, text);
	return err;
}

static int add(struct store *s, struct uprobe_event *e, char *name, char *place, bool more)
{
	int err = place ? take_place(e, place) : -EINVAL;

	if (!err && more) {
		loader_say("limpet: uprobe_events: arguments behind the place are not there\n");
		err = -EINVAL;
	}
	if (!err && name)
		err = take_name(e, name);
	else if (!err)
		make_name(e);
	if (!err && uprobe_event_by_name(s, e->group, e->name, NULL))
		err = -EEXIST;
	return err ? err : rewrite_file(s, NULL, e);
}

static int do_line(struct store *s, char *line)
{
	struct uprobe_event e = {0};
	char *rest, *what, *place, *name;
	int err;

	what = strtok_r(line, " \t", &rest);
	if (!what || *what == '#')
		return 0;
	place = strtok_r(NULL, " \t", &rest);
	name = what[1] == ':' ? what + 2 : NULL;
	if ((what[1] && !name) || !strchr("pr-", *what))
		return -EINVAL;
	e.ret = *what == 'r';
	if (*what != '-')
		return add(s, &e, name, place, place && strtok_r(NULL, " \t", &rest));
	err = name && !place ? take_name(&e, name) : -EINVAL;
	return err ? err : rewrite_file(s, &e, NULL);
}

ssize_t uprobe_events_write(struct store *s, const char *text, size_t size)
{
	int fd = lock(s), err = 0;
	char line[LINE_ROOM];
	size_t done = 0;

	if (fd < 0)
		return fd;
	while (!err && done < size) {
		const char *from = text + done, *end = memchr(from, '\n', size - done);
		const size_t n = end ? (size_t)(end - from) : size - done;

		if (n >= sizeof(line)) {
			err = -EINVAL;
			break;
		}
		memcpy(line, from, n);
		line[n] = 0;
		line[strcspn(line, "#")] = 0;
		err = do_line(s, line);
		done += n + (end != NULL);
	}
	close(fd);
	return err ? err : (ssize_t)size;
}

/* ---- descriptors ---- */

_Atomic int uprobe_events_opened;
static _Atomic u64 opened[OPENED_MAX]; /* inodes of memory files, which nobody else has */

bool uprobe_events_is(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	for (int i = 0; i < OPENED_MAX; i++)
		if (atomic_load(&opened[i]) == st.st_ino)
			return true;
	return false;
}

/*
 * An empty file in memory, open for reading: writes that do not come by (inside libc, or another object's) fail
 * instead of being lost.
 */
int uprobe_events_open(struct store *s, int flags)
{
	int fd, ret, n, err = flags & O_TRUNC ? clear(s) : 0;
	char path[64];
	struct stat st;

	if (err)
		return err;
	fd = (int)syscall(SYS_memfd_create, "uprobe_events", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = open(path, O_RDONLY | (flags & O_CLOEXEC));
	if (ret < 0 || fstat(fd, &st))
		ret = -errno;
	close(fd);
	if (ret < 0)
		return ret;
	n = atomic_fetch_add(&uprobe_events_opened, 1);
	atomic_store(&opened[n % OPENED_MAX], st.st_ino);
	return ret;
}

static ssize_t stream_write(void *cookie, const char *text, size_t size)
{
	struct store *s;
	ssize_t ret;
	int err = 0;

	loader_inside++;
	s = loader_session(&err);
	ret = s ? uprobe_events_write(s, text, size) : err;
	loader_inside--;
	if (ret >= 0)
		return ret;
	errno = (int)-ret;
	return 0;
}

FILE *uprobe_events_stream(const char *mode)
{
	struct store *s;
	int err = 0;

	loader_inside++;
	s = loader_session(&err);
	if (s && *mode == 'w')
		err = clear(s);
	loader_inside--;
	if (!err)
		return fopencookie(NULL, "w", (cookie_io_functions_t){.write = stream_write});
	errno = -err;
	return NULL;
}
