/* SPDX-License-Identifier: MIT */
/*
 * Files made when a tool opens them (files.h): those of tracefs (tracefs.c; trace_pipe is here) and
 * /proc/self/fdinfo of our descriptors.
 */
#include "loader/files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "loader/info.h"
#include "loader/kernel.h"
#include "loader/quiet.h"
#include "maps/refs.h"
#include "loader/tracefs.h"
#include "session/object.h"
#include "session/trace.h"

static void map_facts(FILE *f, const struct loader_obj *o)
{
	int err;
	struct map *m = loader_map_by_id(o->id, &err);

	if (!m)
		return;
	fprintf(f,
		"map_type:\t%u\nkey_size:\t%u\nvalue_size:\t%u\nmax_entries:\t%u\nmap_flags:\t%#x\n"
		"map_extra:\t%#llx\nmemlock:\t%llu\nmap_id:\t%u\nfrozen:\t%u\n",
		m->def.type, m->def.key_size, m->def.value_size, m->def.max_entries, m->def.flags,
		(unsigned long long)m->def.map_extra, (unsigned long long)m->file_size, m->id,
		atomic_load(&m->meta->frozen));
	if (m->holds == MAP_HOLDS_PROGS && atomic_load(&map_ref_area(m)->owner))
		fprintf(f, "owner_prog_type:\t%u\nowner_jited:\t1\n",
			(u32)atomic_load(&map_ref_area(m)->owner));
}

static void print_tag(FILE *f, const u8 tag[8])
{
	fputs("prog_tag:\t", f);
	for (int i = 0; i < 8; i++)
		fprintf(f, "%02x", tag[i]);
	fputc('\n', f);
}

static void prog_facts(FILE *f, struct store *s, const struct loader_obj *o)
{
	u64 size, runs, ns;
	int err;
	struct prog_file *p = store_map_object(s, OBJ_PROG, o->id, &size, &err);

	if (!p)
		return;
	info_runs(s, p, &runs, &ns);
	fprintf(f, "prog_type:\t%u\nprog_jited:\t1\n", p->type);
	print_tag(f, p->tag);
	fprintf(f,
		"memlock:\t%llu\nprog_id:\t%u\nrun_time_ns:\t%llu\nrun_cnt:\t%llu\nrecursion_misses:\t0\n"
		"verified_insns:\t%u\n",
		(unsigned long long)size, o->id, (unsigned long long)ns, (unsigned long long)runs, p->processed);
	munmap(p, size);
}

static void print_link(FILE *f, const struct link_file *l, const struct prog_file *p, u64 cookie)
{
	static const char *const types[] = {[LINK_UPROBE_MULTI] = "uprobe_multi",
					    [LINK_RAW_TRACEPOINT] = "raw_tracepoint"};
	const char *type = l->type < ARRAY_SIZE(types) ? types[l->type] : NULL;

	fprintf(f, "link_type:\t%s\nlink_id:\t%u\n", type ? type : "perf", l->head.id);
	print_tag(f, p->tag);
	fprintf(f, "prog_id:\t%u\n", l->prog_id);
	if (l->place != LINK_AT_SYSCALL)
		return;
	fprintf(f, "tp_name:\t%.*s\n", (int)sizeof(l->path), l->path);
	if (l->type != LINK_RAW_TRACEPOINT)
		fputs("event_type:\ttracepoint\n", f);
	fprintf(f, "cookie:\t%llu\n", (unsigned long long)cookie);
}

static void link_facts(FILE *f, struct store *s, const struct loader_obj *o)
{
	u64 size, prog_size;
	int err;
	struct link_file *l = store_map_object(s, OBJ_LINK, o->id, &size, &err);
	struct prog_file *p =
		l ? store_map_object(s, OBJ_PROG, l->prog_id, &prog_size, &err) : NULL;

	if (l && p && !object_check_link(l, size))
		print_link(f, l, p, ((struct link_probe *)((u8 *)l + l->probes_off))->cookie);
	if (p)
		munmap(p, prog_size);
	if (l)
		munmap(l, size);
}

/* What the kernel shows for its own descriptors; for others the real file is left to be opened. */
static int open_fdinfo(int of, int flags)
{
	struct loader_obj o;
	struct store *s;
	int fd, err = 0;
	FILE *f;

	if (!loader_active() || loader_fd_any(of, &o))
		return -1;
	s = loader_session(&err);
	fd = s ? (int)syscall(SYS_memfd_create, "fdinfo", MFD_CLOEXEC) : -1;
	f = fd < 0 ? NULL : fdopen(dup(fd), "w");
	if (!f) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	fprintf(f, "pos:\t0\nflags:\t%#o\nmnt_id:\t15\nino:\t1\n",
		(unsigned)fcntl(user_fd(of), F_GETFL) & ~0100000u);
	if (o.kind == OBJ_MAP)
		map_facts(f, &o);
	else if (o.kind == OBJ_PROG)
		prog_facts(f, s, &o);
	else if (o.kind == OBJ_LINK)
		link_facts(f, s, &o);
	else if (o.kind == OBJ_BTF)
		fprintf(f, "btf_id:\t%u\n", o.id);
	fclose(f);
	lseek(fd, 0, SEEK_SET);
	if (!(flags & O_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	return fd;
}

/*
 * As the kernel's trace_pipe prints a message: one line, cut where the reader went away. Not by stdio:
 * at exit the tool's main thread would flush what this thread has just begun to print.
 */
static bool print_message(int fd, const struct trace_message *m)
{
	char line[sizeof(m->text) + 128];
	const bool named = m->len && m->text[0] == TRACE_NAMED;
	u32 len = m->len;
	int n;

	while (len > named && m->text[len - 1] == '\n')
		len--;
	n = snprintf(line, sizeof(line), "%16.16s-%-7u [%03u] ..... %llu.%06llu: %s%.*s\n", m->comm, m->tid, m->cpu,
		     (unsigned long long)(m->time_ns / 1000000000), (unsigned long long)(m->time_ns / 1000 % 1000000),
		     named ? "" : "bpf_trace_printk: ", (int)(len - named), m->text + named);
	return write(fd, line, (size_t)n) == n;
}

/*
 * Feeds a reader of trace_pipe for as long as it reads. Writers of the log wake nobody (they must
 * not make system calls), so it is looked at again after a while.
 */
static void *feed_trace(void *arg)
{
	const struct timespec nap = {.tv_nsec = 20000000};
	struct pollfd end = {.fd = (int)(long)arg}; /* POLLERR: the reader is gone */
	struct trace_log *log = NULL;
	struct trace_message m;
	u64 cursor = 0, lost = 0;
	bool open = true;
	int err = 0;

	loader_inside++;
	while (open) {
		if (!log && store_trace(loader_session(&err), false, &log))
			log = NULL;
		while (open && log && trace_read(log, &cursor, &m, &lost) > 0)
			open = print_message(end.fd, &m);
		if (open && !poll(&end, 1, 0))
			nanosleep(&nap, NULL);
		else
			open = false;
	}
	close(end.fd);
	loader_inside--;
	return NULL;
}

static int open_trace_pipe(int flags)
{
	int ends[2], err = 0;

	if (!loader_session(&err) || pipe2(ends, O_CLOEXEC))
		return -1;
	if (quiet_thread(feed_trace, (void *)(long)ends[1], 0)) { /* SIGPIPE is not for it either */
		close(ends[0]);
		close(ends[1]);
		return -1;
	}
	if (!(flags & O_CLOEXEC))
		fcntl(ends[0], F_SETFD, 0);
	if (flags & O_NONBLOCK)
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
	return ends[0];
}

static int open_tracefs(const char *rest, int flags)
{
	int err = 0;
	struct store *s = loader_session(&err);

	return s ? tracefs_open(s, rest, flags) : err;
}

static int open_possible(int flags)
{
	const int fd = (int)syscall(SYS_memfd_create, "possible", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	dprintf(fd, "0-%u\n", kernel_tool_cpus() - 1);
	lseek(fd, 0, SEEK_SET);
	if (!(flags & O_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	return fd;
}

int files_open(const char *path, int flags)
{
	const int saved = errno;
	const char *rest;
	int ret = -1, fd, end = 0;

	if (!path || loader_inside)
		return -1;
	loader_inside++;
	if (!strncmp(path, "/proc/self/fdinfo/", 18)) {
		if (sscanf(path + 18, "%d%n", &fd, &end) == 1 && !path[18 + end])
			ret = open_fdinfo(fd, flags);
	} else if (!strcmp(path, "/sys/devices/system/cpu/possible")) {
		ret = kernel_on() ? open_possible(flags) : -1;
	} else if (!strncmp(path, "/sys/", 5) && (rest = tracefs_rest(path)) && !kernel_has_file(rest)) {
		ret = !strcmp(rest, "/trace_pipe") ? open_trace_pipe(flags) : open_tracefs(rest, flags);
	}
	loader_inside--;
	errno = ret < -1 ? -ret : saved;
	return ret < -1 ? -2 : ret;
}
