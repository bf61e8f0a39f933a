/* SPDX-License-Identifier: MIT */
/*
 * A session made by the test itself, without a tool: a program that adds 1 to the first value of an
 * array for every hit, and links on probed() of the program ATTACH_TARGET names, or on system calls.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "attach_shared.h"
#include "keeper/keeper.h"
#include "maps/map.h"
#include "store/store.h"

static struct store s;
static struct keeper *k;
static struct attach_shared *shared;
static char shared_path[] = "/dev/shm/limpet-attach-XXXXXX";
static char target_path[4096], agent_path[4096];
static u64 probed_off;
static struct map counter;
static u32 counter_id, prog_id, syscall_prog_id;
static int map_fd;

static u64 hits(void)
{
	return __atomic_load_n((u64 *)map_direct_value(&counter), __ATOMIC_SEQ_CST);
}

static int make_map(void)
{
	struct map_def def = {.type = BPF_MAP_TYPE_ARRAY,
			      .key_size = 4,
			      .value_size = 8,
			      .max_entries = 1,
			      .name = "counter"};
	u64 size;
	void *base;
	int fd, err;

	err = map_layout(&counter, &def);
	if (err)
		return err;
	fd = store_new(&s, OBJ_MAP, counter.file_size, &counter_id);
	if (fd < 0)
		return fd;
	base = mmap(NULL, counter.file_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	size = counter.file_size;
	err = map_create(&counter, base, counter_id);
	if (err)
		return err;
	map_fd = store_publish(&s, OBJ_MAP, counter_id, fd);
	return map_fd < 0 || !size ? map_fd : 0;
}

/* Its descriptor, which holds it, or -errno. */
static int make_prog(u32 type, u32 *ret_id)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_VALUE},
		{0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 1},
		{.code = BPF_STX | BPF_DW | BPF_ATOMIC, .dst_reg = 1, .src_reg = 2, .imm = BPF_ADD},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	u64 size = PAGE_SIZE;
	int err, fd = store_new(&s, OBJ_PROG, size, ret_id);
	struct prog_file *p;

	if (fd < 0)
		return fd;
	p = store_map_fd(fd, true, &size, &err);
	store_head(&p->head, OBJ_PROG, *ret_id, size);
	p->type = type;
	p->insn_count = ARRAY_SIZE(insns);
	p->insns_off = sizeof(*p);
	memcpy((u8 *)p + p->insns_off, insns, sizeof(insns));
	p->map_count = 1;
	p->map_ids_off = p->insns_off + sizeof(insns);
	*(u32 *)((u8 *)p + p->map_ids_off) = counter_id;
	munmap(p, size);
	return store_publish(&s, OBJ_PROG, *ret_id, fd);
}

/* Of the links that are made: PROBE_F_*, and the system call that they are on, or NO_SYSCALL: on probed(). */
#define NO_SYSCALL (-2)
static u32 link_flags;
static s32 link_syscall = NO_SYSCALL;

/* A living link; returns the held descriptor. Closing and collecting ends it. */

static int make_link(pid_t pid)
{
	struct stat st;
	u64 size = 2 * PAGE_SIZE;
	struct link_file *l;
	struct link_probe *p;
	u32 id;
	int err, fd = store_new(&s, OBJ_LINK, size, &id);

	if (fd < 0 || stat(target_path, &st))
		return fd < 0 ? fd : -errno;
	l = store_map_fd(fd, true, &size, &err);
	store_head(&l->head, OBJ_LINK, id, size);
	l->pid = pid;
	l->flags = link_flags;
	l->probe_count = 1;
	l->probes_off = sizeof(*l);
	if (link_syscall != NO_SYSCALL) {
		l->type = LINK_PERF_EVENT;
		l->prog_id = syscall_prog_id;
		l->place = LINK_AT_SYSCALL;
		l->syscall_nr = link_syscall;
	} else {
		l->type = LINK_UPROBE_MULTI;
		l->prog_id = prog_id;
		l->dev_major = major(st.st_dev);
		l->dev_minor = minor(st.st_dev);
		l->ino = st.st_ino;
		p = (void *)(l + 1);
		p->offset = probed_off;
	}
	l->live = 1;
	munmap(l, size);
	fd = store_publish(&s, OBJ_LINK, id, fd);
	store_changed(&s);
	return fd;
}

static void drop_link(int fd)
{
	close(fd);
	store_collect(&s);
}

/* File offset of a symbol of the target. */
static u64 symbol_offset(const char *path, const char *name)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	const u8 *f;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh;
	u64 found = 0;

	if (fd < 0 || fstat(fd, &st))
		return 0;
	f = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	eh = (const void *)f;
	sh = (const void *)(f + eh->e_shoff);
	for (int i = 0; i < eh->e_shnum; i++) {
		const Elf64_Sym *sym = (const void *)(f + sh[i].sh_offset);
		const char *str = (const char *)f + sh[sh[i].sh_link].sh_offset;

		if (sh[i].sh_type != SHT_SYMTAB)
			continue;
		for (u64 n = 0; n < sh[i].sh_size / sizeof(*sym); n++)
			if (!strcmp(str + sym[n].st_name, name))
				found = sym[n].st_value - sh[sym[n].st_shndx].sh_addr +
					sh[sym[n].st_shndx].sh_offset;
	}
	munmap((void *)f, (size_t)st.st_size);
	return found;
}

static bool prepare(void)
{
	static bool done, good;
	char dir[] = "/dev/shm/limpet-attach-session-XXXXXX";
	int fd;

	if (done)
		return good;
	done = true;
	fd = mkstemp(shared_path);
	if (fd < 0 || ftruncate(fd, sizeof(*shared)))
		return false;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	probed_off = symbol_offset(target_path, "probed");
	good = mkdtemp(dir) && !store_open_path(&s, dir, STORE_CREATE) && !make_map() &&
	       make_prog(BPF_PROG_TYPE_KPROBE, &prog_id) >= 0 &&
	       make_prog(BPF_PROG_TYPE_TRACEPOINT, &syscall_prog_id) >= 0 &&
	       !keeper_open(&k, dir, agent_path) && probed_off;
	return good;
}

static void ms_sleep(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

/* Waits for cond up to ten seconds: the machine may have more to do. */
#define EVENTUALLY(cond)                                                                           \
	({                                                                                         \
		int left_ = 10000;                                                                 \
		while (!(cond) && left_--)                                                         \
			ms_sleep(1);                                                               \
		!!(long)(cond);                                                                    \
	})

static inline long sum_calls(void)
{
	long n = 0;

	for (int i = 0; i < 64; i++)
		n += shared->calls[i];
	return n;
}

static int end_target(pid_t pid)
{
	int status = -1;

	shared->stop = 1;
	for (int i = 0; i < 3000; i++) {
		if (waitpid(pid, &status, WNOHANG | __WNOTHREAD) == pid)
			return status;
		ms_sleep(1);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static inline size_t slurp(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	size_t n = 0;
	ssize_t r;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY);
	while (fd >= 0 && n < size - 1 && (r = read(fd, buf + n, size - 1 - n)) > 0)
		n += (size_t)r;
	close(fd);
	buf[n] = 0;
	return n;
}

static inline void text_of(pid_t pid, u8 *buf, size_t n)
{
	char path[64], line[512];
	unsigned long long start, end, off;
	FILE *f;
	int fd;

	memset(buf, 0, n);
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx r-xp %llx", &start, &end, &off) == 3 &&
		    strstr(line, target_path) && probed_off >= off &&
		    probed_off < off + end - start)
			if (pread(fd, buf, n, (off_t)(start + probed_off - off)) < 0)
				break;
	if (f) /* the process lives */
		fclose(f);
	close(fd);
}

/* Over all code from files, wherever it lies, but the agent's, where a preloaded one has it. */
static inline u64 sum_text(pid_t pid)
{
	unsigned long long start, end;
	char path[64], line[512];
	static u8 buf[65536];
	u64 sum = 0, all = 0;
	FILE *maps;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "r");
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY);
	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx r-xp", &start, &end) != 2 || !strstr(line, " r-xp ") ||
		    !strchr(line, '/') || strstr(line, agent_path))
			continue;
		for (u64 at = start; at < end; at += sizeof(buf)) {
			ssize_t n = pread(fd, buf, end - at < sizeof(buf) ? end - at : sizeof(buf),
					  (off_t)at);

			for (ssize_t i = 0; i < n; i++)
				sum = sum * 31 + buf[i];
		}
		all += sum;
		sum = 0;
	}
	if (maps)
		fclose(maps);
	close(fd);
	return all;
}

static void clean_up(void)
{
	char cmd[4200];

	unlink(shared_path);
	if (*s.path) {
		snprintf(cmd, sizeof(cmd), "rm -rf '%s'", s.path);
		if (system(cmd))
			return;
	}
}

__attribute__((constructor)) static void find_parts(void)
{
	const char *t = getenv("ATTACH_TARGET"), *a = getenv("LIMPET_AGENT");
	static pid_t owner;

	owner = getpid();
	if (t && !realpath(t, target_path))
		*target_path = 0;
	if (a && !realpath(a, agent_path))
		*agent_path = 0;
	if (owner == getpid())
		atexit(clean_up);
}
