/* SPDX-License-Identifier: MIT */
/*
 * The way in by LD_PRELOAD: before any other code of the program runs, do what a keeper would have
 * done. Nothing here may fail loudly: without a session, or with one that cannot be read, the agent
 * stays idle. Everything comes from /proc/self, since there is no libc to ask.
 */
#include <asm/errno.h>
#include <linux/fcntl.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"
#include "maps/refs.h"

#define AT_SYSINFO_EHDR_ 33
#define AT_PHDR_         3
#define AT_PHNUM_        5
#define ARCH_GET_FS_     0x1003

struct reader {
	int fd;
	u32 at, len;
	char buf[4096];
};

static int next_byte(struct reader *r)
{
	if (r->at == r->len) {
		long n = sys_read(r->fd, r->buf, sizeof(r->buf));

		if (n <= 0)
			return -1;
		r->at = 0;
		r->len = (u32)n;
	}
	return (u8)r->buf[r->at++];
}

static bool open_reader(struct reader *r, const char *path)
{
	r->at = r->len = 0;
	r->fd = (int)sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	return r->fd >= 0;
}

/* Value of an environment variable, `name` with its '='; false when it is not set or too long. */
static bool environment(struct reader *r, const char *name, char *ret, size_t size)
{
	size_t len = strlen(name);
	bool found = false;
	int c;

	if (!open_reader(r, "/proc/self/environ"))
		return false;
	do {
		size_t n = 0;

		while ((c = next_byte(r)) > 0 && n < len && c == name[n])
			n++;
		if (n == len) {
			for (n = 0; c > 0 && n < size - 1; c = next_byte(r))
				ret[n++] = (char)c;
			ret[n] = 0;
			found = n && c <= 0;
			break;
		}
		while (c > 0)
			c = next_byte(r);
	} while (c == 0);
	sys_close(r->fd);
	return found;
}

struct auxiliary {
	u64 vdso, phdr;
	u32 phdr_count;
};

static struct auxiliary read_auxiliary(void)
{
	struct auxiliary ret = {0};
	u64 aux[2];
	int fd = (int)sys_openat(AT_FDCWD, "/proc/self/auxv", O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return ret;
	while (sys_read(fd, aux, sizeof(aux)) == sizeof(aux) && aux[0])
		if (aux[0] == AT_SYSINFO_EHDR_)
			ret.vdso = aux[1];
		else if (aux[0] == AT_PHDR_)
			ret.phdr = aux[1];
		else if (aux[0] == AT_PHNUM_)
			ret.phdr_count = (u32)aux[1];
	sys_close(fd);
	return ret;
}

static u64 number(struct reader *r, u32 base, int *ret_end)
{
	u64 n = 0;

	for (;;) {
		int c = next_byte(r);
		u32 d = c >= '0' && c <= '9' ? (u32)c - '0' : c >= 'a' && c <= 'f' ? (u32)c - 'a' + 10 : 99;

		if (d >= base) {
			*ret_end = c;
			return n;
		}
		n = n * base + d;
	}
}

/* One line of /proc/self/maps; false at the end. */
static bool read_region(struct reader *r, struct agent_region *ret)
{
	char perm[4];
	int c;

	memset(ret, 0, sizeof(*ret));
	ret->start = number(r, 16, &c);
	if (c != '-')
		return false;
	ret->end = number(r, 16, &c);
	for (u32 i = 0; i < 4; i++)
		perm[i] = (char)next_byte(r);
	ret->read = perm[0] == 'r';
	ret->exec = perm[0] == 'r' && perm[2] == 'x';
	ret->private_write = perm[1] == 'w' && perm[3] == 'p';
	next_byte(r);
	ret->file_off = number(r, 16, &c);
	ret->dev_major = (u32)number(r, 16, &c);
	ret->dev_minor = (u32)number(r, 16, &c);
	ret->ino = number(r, 10, &c);
	while (c >= 0 && c != '\n' && c != '[')
		c = next_byte(r);
	if (c == '[')
		ret->stack = (c = next_byte(r)) == 's'; /* "[stack]" */
	while (c >= 0 && c != '\n')
		c = next_byte(r);
	return true;
}

static bool read_regions(struct reader *r)
{
	struct agent_region *all = (void *)limpet_agent.header.inbox, one;
	u32 cap = (u32)(limpet_agent.header.inbox_size / sizeof(one)), n = 0;

	if (!open_reader(r, "/proc/self/maps"))
		return false;
	while (n < cap && read_region(r, &one))
		all[n++] = one;
	sys_close(r->fd);
	agent.regions = all;
	agent.region_count = n;
	return n && n < cap;
}

static void object_name(char *buf, const char *prefix, u32 id)
{
	char digits[12];
	u32 n = (u32)strlen(prefix), k = 0;

	memcpy(buf, prefix, n);
	do
		digits[k++] = (char)('0' + id % 10);
	while (id /= 10);
	while (k)
		buf[n++] = digits[--k];
	buf[n] = 0;
}

static int take_by_name(int dir, u32 kind, const char *prefix, u32 id)
{
	char name[40];
	int fd, err;

	object_name(name, prefix, id);
	fd = (int)sys_openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	err = object_take(kind, id, fd);
	sys_close(fd);
	return err;
}

/* What the maps taken so far hold, with what that needs. */
static void take_held(int dir)
{
	bool more = true;

	while (more) {
		more = false;
		for (struct agent_prog *p = agent.progs; p; p = p->next)
			for (u32 i = 0; i < p->map_count; i++)
				if (!object_map(p->map_ids[i]))
					more |= !take_by_name(dir, OBJ_MAP, "bpf-map.", p->map_ids[i]);
		for (struct agent_map *m = agent.maps; m; m = m->next) {
			struct map_each e = {0};
			u32 id;

			while (map_holds_objects(&m->map) && map_next_ref(&m->map, &e, &id))
				if (m->map.holds == MAP_HOLDS_MAPS)
					more |= !object_map(id) && !take_by_name(dir, OBJ_MAP, "bpf-map.", id);
				else if (!object_prog(id))
					more |= !take_by_name(dir, OBJ_PROG, "bpf-prog.", id);
		}
	}
}

/* A link, and when it concerns this process its program and the program's maps. */
static void take_link_tree(int dir, u32 id)
{
	struct agent_link *l;
	struct agent_prog *p;

	if (take_by_name(dir, OBJ_LINK, "bpf-link.", id))
		return;
	l = object_link(id);
	if (!l || !link_mapped(l) || (l->pid >= 0 && (u32)l->pid != agent.pid))
		return;
	if (!object_prog(l->prog_id) &&
	    take_by_name(dir, OBJ_PROG, "bpf-prog.", l->prog_id))
		return;
	p = object_prog(l->prog_id);
	for (u32 i = 0; p && i < p->map_count; i++)
		if (!object_map(p->map_ids[i]))
			take_by_name(dir, OBJ_MAP, "bpf-map.", p->map_ids[i]);
}

struct dirent64 {
	u64 ino;
	s64 off;
	u16 reclen;
	u8 type;
	char name[];
};

static void take_links(int dir, char *buf, size_t size)
{
	static const char prefix[] = "bpf-link.";
	long n;

	while ((n = sys_call3(__NR_getdents64, dir, (long)buf, (long)size)) > 0)
		for (long at = 0; at < n;) {
			struct dirent64 *d = (void *)(buf + at);
			const char *c = d->name + sizeof(prefix) - 1;
			u32 id = 0;

			at += d->reclen;
			if (strncmp(d->name, prefix, sizeof(prefix) - 1))
				continue;
			for (; *c >= '0' && *c <= '9' && id < 100000000; c++)
				id = id * 10 + (u32)(*c - '0');
			if (id && !*c)
				take_link_tree(dir, id);
		}
}

/* The files of the links for this process. */
static void take_files(void)
{
	static struct agent_file files[AGENT_FILES_MAX];
	u32 n = 0;

	for (struct agent_link *l = agent.links; l; l = l->next) {
		if (!link_for_us(l))
			continue;
		if (l->place == LINK_AT_SYSCALL) { /* any file */
			n = AGENT_FILES_MAX + 1;
			break;
		}
		if (n < AGENT_FILES_MAX)
			files[n] = (struct agent_file){l->ino, l->dev_major, l->dev_minor};
		n++;
	}
	loading_files(files, n);
}

/* Writes what the sync listed, fresh code first. */
static int write_all(void)
{
	const struct agent_write *w = agent.writes.data;
	int fd = (int)sys_openat(AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return agent.writes.count ? fd : 0;
	for (u32 patch = 0; patch < 2; patch++)
		for (u32 i = 0; !err && i < agent.writes.count; i++) {
			long n;

			if (w[i].patch != patch)
				continue;
			n = sys_pwrite(fd, (const void *)w[i].src, w[i].len, (s64)w[i].dst);
			err = n == w[i].len ? 0 : n < 0 ? (int)n : -EIO;
		}
	sys_close(fd);
	return err;
}

/* A number of /proc/self/status, 0 where it is not there. */
static u64 status_field(struct reader *r, const char *name)
{
	u64 ret = 0;
	int c = '\n';

	if (!open_reader(r, "/proc/self/status"))
		return 0;
	for (size_t n; c >= 0 && !ret;) {
		for (n = 0; name[n] && (c = next_byte(r)) == name[n]; n++)
			;
		if (!name[n] && next_byte(r) == '\t')
			ret = number(r, 10, &c);
		while (c >= 0 && c != '\n')
			c = next_byte(r);
	}
	sys_close(r->fd);
	return ret;
}

/* What seccomp filters we were born with forbid (AGENT_SECCOMP). */
static u64 inherited_denials(struct reader *r, char *text)
{
	u64 filters, denied = 0;

	if (!status_field(r, "Seccomp:"))
		return 0;
	filters = status_field(r, "Seccomp_filters:");
	if (!environment(r, AGENT_SECCOMP "=", text, 64) || !filters)
		return ~0ULL;
	for (; *text >= '0' && *text <= '9'; text++)
		denied = denied * 10 + (u64)(*text - '0');
	if (denied != filters || *text != ':')
		return ~0ULL;
	denied = 0;
	for (text++; *text; text++)
		denied = denied << 4 | (u64)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
	return denied;
}

static bool tp_is_thread(void)
{
	u64 tp = 0, self;

	if (sys_call2(__NR_arch_prctl, ARCH_GET_FS_, &tp) || !tp)
		return false;
	__asm__ volatile("mov %%fs:0, %0" : "=r"(self));
	return self == tp;
}

struct kernfs_handle {
	u32 bytes, type;
	u64 id;
};

/* The id of a directory of the unified hierarchy; 0 when it is none. */
static u64 cgroup_id(const char *path)
{
	struct kernfs_handle h = {.bytes = sizeof(h.id)};
	int mount;

	if (sys_call6(__NR_name_to_handle_at, AT_FDCWD, (long)path, (long)&h, (long)&mount, 0, 0) || h.type != 0xfe)
		return 0;
	return h.id;
}

/*
 * The control groups we are born into, by "0::/path" of /proc/self/cgroup, where the hierarchy is mounted at
 * one of its usual places. buf: 4096 bytes.
 */
static void find_cgroups(struct reader *r, char *buf)
{
	static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	struct helper_env *env = &agent.env;
	char seen[3] = {0};
	u32 base = 0, n = 0;
	int c;

	env->cgroup_count = 0;
	if (!open_reader(r, "/proc/self/cgroup"))
		return;
	for (c = next_byte(r); c >= 0 && (seen[0] != '0' || seen[1] != ':' || seen[2] != ':' || c != '/'); c = next_byte(r))
		if (c == '\n') {
			memset(seen, 0, sizeof(seen));
			n = 0;
		} else if (n < 3) {
			seen[n++] = (char)c;
		}
	for (u32 place = 0; c == '/' && place < ARRAY_SIZE(places) && !env->cgroup[0]; place++) {
		base = (u32)strlen(places[place]);
		memcpy(buf, places[place], base + 1);
		env->cgroup[0] = cgroup_id(buf);
	}
	if (c != '/') {
		sys_close(r->fd);
		return;
	}
	n = base;
	for (buf[n++] = '/'; (c = next_byte(r)) >= 0 && c != '\n' && n < 4000;)
		buf[n++] = (char)c;
	buf[n] = 0;
	sys_close(r->fd);
	if (!env->cgroup[0]) { /* mounted elsewhere or nowhere: the root's id is known */
		env->cgroup[0] = 1;
		env->cgroup_count = n == base + 1;
		return;
	}
	env->cgroup_count = 1;
	for (u32 at = base + 1; at < n && env->cgroup_count < HELPER_CGROUPS;) {
		u32 end = at;
		char kept;

		while (end < n && buf[end] != '/')
			end++;
		kept = buf[end];
		buf[end] = 0;
		env->cgroup[env->cgroup_count] = cgroup_id(buf);
		if (!env->cgroup[env->cgroup_count++]) {
			env->cgroup_count = 0;
			return;
		}
		buf[end] = kept;
		at = end + 1;
	}
}

#define ROUNDS 4 /* of SYNC and COMMIT */

static bool bring_in_line(void)
{
	bool written = true;

	for (u32 i = 0; i < ROUNDS && written; i++) {
		written = !sync_probes(SYNC_LINKS) && !write_all();
		code_written();
		object_publish();
		identity_commit(true);
		sync_retire(NULL, 0, true);
		if (!atomic_load(&limpet_agent.header.again))
			break;
	}
	return written;
}

static void start(struct reader *r, char *path)
{
	int dir, fd;

	if (!environment(r, AGENT_ENV "=", path, 4000))
		return;
	dir = (int)sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (dir < 0)
		return;
	fd = (int)sys_openat(dir, "session", O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd >= 0 && !object_take_session(fd)) {
		u32 generation = atomic_load(&agent.session->generation);
		int trace = (int)sys_openat(dir, "trace", O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);

		struct auxiliary aux = read_auxiliary();
		bool written = false;

		agent_init((u32)sys_getpid(), aux.vdso, tp_is_thread());
		limpet_agent.header.follows = 1;
		loading_begin(aux.phdr, aux.phdr_count);
		if (trace >= 0) {
			object_take_trace(trace);
			sys_close(trace);
		}
		if (read_regions(r)) {
			take_links(dir, path, 4096);
			if (agent.links)
				atomic_store(&agent.env.denied, inherited_denials(r, path));
			pages_may_ask(true); /* what is forbidden is known now */
			take_held(dir);
			pages_may_ask(false);
			if (agent.links)
				find_cgroups(r, path);
			take_files();
			if (bring_in_line()) {
				atomic_store(&limpet_agent.header.generation, generation);
				atomic_store(&limpet_agent.header.view, wants_view());
				written = true;
			}
		}
		if (written)
			syscalls_executed();
		agent.regions = NULL;
		agent.region_count = 0;
		/* With the session mapped keepers find this agent: from here on it takes their commands. */
		atomic_store(&limpet_agent.header.ready, 1);
		if (pages_awaited(0))
			keepers_ask(KEEPERS_WAIT_MS);
	}
	if (fd >= 0)
		sys_close(fd);
	sys_close(dir);
}

__attribute__((constructor)) static void agent_start(void)
{
	/* The program's stack may be small. */
	static struct reader reader;
	static char path[4096];

	start(&reader, path);
}
