/* SPDX-License-Identifier: MIT */
/* See uprobe_events.h. */
#include "loader/uprobe_events.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader/probe.h"
#include "loader/uprobe_args.h"
#include "loader/uprobe_record.h"

#define FIRST_ID  30000u /* above those of system calls */
#define LAST_ID   65535u /* an id has 16 bits in a record */
#define LINE_ROOM 4096
#define PATH_ROOM (2 * SESSION_PATH_MAX)

/* ---- the file ---- */

static void file_of(const struct store *s, const char *what, char path[PATH_ROOM])
{
	snprintf(path, PATH_ROOM, "%s/uprobe_events%s", s->path, what);
}

static bool parse_saved(const char *line, struct uprobe_event *e)
{
	unsigned long long offset, ref;
	int end = 0;
	char kind;

	if (sscanf(line, "%u %c %63s %63s %1023s %llx %llx%n", &e->id, &kind, e->group, e->name,
		   e->path, &offset, &ref, &end) != 7 ||
	    strlen(line + end) >= sizeof(e->args))
		return false;
	strcpy(e->args, line + end);
	e->args[strcspn(e->args, "\n")] = 0;
	e->ret = kind == 'r';
	e->offset = offset;
	e->ref_ctr = ref;
	return true;
}

static void save(FILE *f, const struct uprobe_event *e)
{
	fprintf(f, "%u %c %s %s %s %llx %llx%s\n", e->id, e->ret ? 'r' : 'p', e->group, e->name,
		e->path, (unsigned long long)e->offset, (unsigned long long)e->ref_ctr, e->args);
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

/* "PATH:OFFSET[(SEMAPHORE)] ARGUMENTS", which is also how a line that removes one may name it. */
static void print_rest(FILE *f, const struct uprobe_event *e)
{
	fprintf(f, "%s:0x%016llx", e->path, (unsigned long long)e->offset);
	if (e->ref_ctr)
		fprintf(f, "(0x%llx)", (unsigned long long)e->ref_ctr);
	uprobe_args_print(f, e->args, e->ret);
}

static bool print_one(const struct uprobe_event *e, void *arg)
{
	FILE *f = arg;

	fprintf(f, "%c:%s/%s ", e->ret ? 'r' : 'p', e->group, e->name);
	print_rest(f, e);
	fputc('\n', f);
	return false;
}

void uprobe_events_print(struct store *s, FILE *f)
{
	uprobe_events_each(s, print_one, f);
}

/* ---- changes ---- */

/* Only one at a time; the descriptor's end ends it. */
int uprobe_events_lock(struct store *s)
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

/* What a line "-:..." names: NULL and "" stand for any. */
struct removal {
	const char *group, *name;
	const char *rest; /* words of print_rest() */
};

/* Whether the event's description begins with these words. */
static bool is_described(const struct uprobe_event *e, const char *words)
{
	char text[LINE_ROOM] = "", *is = text;
	FILE *f = fmemopen(text, sizeof(text), "w");

	if (!f)
		return false;
	print_rest(f, e);
	fclose(f);
	for (words += strspn(words, " \t"); *words; words += strspn(words, " \t")) {
		const size_t n = strcspn(words, " \t");

		if (strcspn(is, " ") != n || memcmp(is, words, n))
			return false;
		words += n;
		is += n + (is[n] == ' ');
	}
	return true;
}

static bool is_removed(const struct uprobe_event *e, const struct removal *r)
{
	return (!r->group || !strcmp(e->group, r->group)) &&
	       (!*r->name || !strcmp(e->name, r->name)) && is_described(e, r->rest);
}

struct rewriting {
	FILE *f;
	const struct removal *without;
	bool found, busy;
	struct store *s;
	u32 last_id;
};

static bool keep_one(const struct uprobe_event *e, void *arg)
{
	struct rewriting *r = arg;
	const bool gone = r->without && is_removed(e, r->without);

	r->last_id = e->id > r->last_id ? e->id : r->last_id;
	r->found |= gone;
	r->busy |= gone && uprobe_record_enabled(r->s, e);
	if (!gone)
		save(r->f, e);
	return false;
}

/* The file anew: without some events (-ENOENT: there is none such), or with one more. */
static int rewrite_file(struct store *s, const struct removal *without, struct uprobe_event *add)
{
	struct rewriting r = {.s = s, .without = without, .last_id = FIRST_ID - 1};
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
	if (r.busy)
		err = -EBUSY;
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

static bool is_enabled(const struct uprobe_event *e, void *arg)
{
	return uprobe_record_enabled(arg, e);
}

int uprobe_events_clear(struct store *s)
{
	char path[PATH_ROOM];
	int fd = uprobe_events_lock(s);
	bool busy;

	if (fd < 0)
		return fd;
	file_of(s, "", path);
	busy = uprobe_events_each(s, is_enabled, s);
	if (!busy)
		unlink(path);
	close(fd);
	return busy ? -EBUSY : 0;
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
	snprintf(e->name, sizeof(e->name), "p_%.*s_0x%llx", (int)n, base,
		 (unsigned long long)e->offset);
}

static int number(const char *text, const char *end, u64 *ret)
{
	char *stop;

	errno = 0;
	*ret = strtoull(text, &stop, 0);
	return stop != end || stop == text || !isdigit((unsigned char)*text) ? -EINVAL : -errno;
}

/* Behind the colon: "OFFSET[(SEMAPHORE)]" or "OFFSET%return" */
static int take_offset(struct uprobe_event *e, char *text)
{
	char *open = strchr(text, '('), *percent = strchr(text, '%'), *end = text + strlen(text);
	int err = 0;

	if (percent && (open || strcmp(percent, "%return")))
		return -EINVAL;
	e->ret |= percent != NULL;
	if (open && end[-1] != ')')
		return -EINVAL;
	if (open)
		err = number(open + 1, end - 1, &e->ref_ctr);
	if (!err && e->ref_ctr % sizeof(short))
		err = -EINVAL;
	return err ? err : number(text, open ? open : percent ? percent : end, &e->offset);
}

/* "PATH:OFFSET..." */
static int take_place(struct uprobe_event *e, char *text)
{
	char *colon = strrchr(text, ':');
	struct stat st;
	int err;

	if (!colon || !strchr(text, '/') || (size_t)(colon - text) >= sizeof(e->path))
		return -EINVAL;
	err = take_offset(e, colon + 1);
	if (err)
		return err;
	*colon = 0;
	err = probe_file(text, &st);
	if (!err)
		strcpy(e->path, text);
	return err;
}

/* `args` as they are kept: one space before each. */
static int take_args(struct uprobe_event *e, char *args)
{
	char *rest, *word;
	size_t n = 0;

	for (word = strtok_r(args, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
		if (n + strlen(word) + 2 > sizeof(e->args))
			return -E2BIG;
		n += (size_t)sprintf(e->args + n, " %s", word);
	}
	return uprobe_args_check(e->args, e->ret);
}

/* The same place has the same semaphore everywhere. */
static bool has_other_semaphore(const struct uprobe_event *e, void *arg)
{
	const struct uprobe_event *add = arg;

	return e->offset == add->offset && e->ref_ctr != add->ref_ctr &&
	       !strcmp(e->path, add->path);
}

static int add(struct store *s, struct uprobe_event *e, char *name, char *text)
{
	char *args, *place = strtok_r(text, " \t", &args);
	int err = place ? take_place(e, place) : -EINVAL;

	if (!err && name)
		err = take_name(e, name);
	else if (!err)
		make_name(e);
	if (!err)
		err = take_args(e, args);
	if (!err && uprobe_event_by_name(s, e->group, e->name, NULL))
		err = -EEXIST;
	if (!err && uprobe_events_each(s, has_other_semaphore, e))
		err = -EINVAL;
	return err ? err : rewrite_file(s, NULL, e);
}

static int drop(struct store *s, char *what, const char *rest)
{
	char *slash = strchr(what, '/');
	struct removal r = {slash ? what : NULL, slash ? slash + 1 : what, rest};

	if (slash)
		*slash = 0;
	return *what || slash ? rewrite_file(s, &r, NULL) : -EINVAL;
}

/* One line; as with the kernel, what is between its first letter and a colon that is not next counts for nothing. */
static int do_line(struct store *s, char *line)
{
	struct uprobe_event e = {0};
	char *rest, *what = strtok_r(line, " \t", &rest), *name;

	if (!what)
		return 0;
	name = what[1] == ':' ? what + 2 : NULL;
	if (*what == '-')
		return name ? drop(s, name, rest) : -EINVAL;
	e.ret = *what == 'r';
	return e.ret || *what == 'p' ? add(s, &e, name, rest) : -EINVAL;
}

ssize_t uprobe_events_write(struct store *s, const char *text, size_t size)
{
	int fd = uprobe_events_lock(s), err = 0;
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
