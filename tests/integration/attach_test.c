/* SPDX-License-Identifier: MIT */
/*
 * The agent and the keeper on a real target, without a tool: the test makes the session's objects
 * itself. The program adds 1 to the first value of an array for every hit.
 */
#include "../unit/check.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
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
static u32 counter_id, prog_id;
static int map_fd, prog_fd;

static u64 hits(void)
{
	return __atomic_load_n((u64 *)map_direct_value(&counter), __ATOMIC_SEQ_CST);
}

static int make_map(void)
{
	struct map_def def = {.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8,
			      .max_entries = 1, .name = "counter"};
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

static int make_prog(void)
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
	int err, fd = store_new(&s, OBJ_PROG, size, &prog_id);
	struct prog_file *p;

	if (fd < 0)
		return fd;
	p = store_map_fd(fd, true, &size, &err);
	store_head(&p->head, OBJ_PROG, prog_id, size);
	p->type = BPF_PROG_TYPE_KPROBE;
	p->insn_count = ARRAY_SIZE(insns);
	p->insns_off = sizeof(*p);
	memcpy((u8 *)p + p->insns_off, insns, sizeof(insns));
	p->map_count = 1;
	p->map_ids_off = p->insns_off + sizeof(insns);
	*(u32 *)((u8 *)p + p->map_ids_off) = counter_id;
	munmap(p, size);
	prog_fd = store_publish(&s, OBJ_PROG, prog_id, fd);
	return prog_fd < 0 ? prog_fd : 0;
}

/* A living link on probed(); returns the held descriptor. Closing and collecting ends it. */
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
	l->type = LINK_UPROBE_MULTI;
	l->prog_id = prog_id;
	l->pid = pid;
	l->dev_major = major(st.st_dev);
	l->dev_minor = minor(st.st_dev);
	l->ino = st.st_ino;
	l->probe_count = 1;
	l->probes_off = sizeof(*l);
	p = (void *)(l + 1);
	p->offset = probed_off;
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
	       !make_prog() && !keeper_open(&k, dir, agent_path) && probed_off;
	return good;
}

static pid_t start_target(int threads, long calls, bool preload)
{
	char n[16], c[32];
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	*(u64 *)map_direct_value(&counter) = 0;
	snprintf(n, sizeof(n), "%d", threads);
	snprintf(c, sizeof(c), "%ld", calls);
	pid = fork();
	if (pid)
		return pid;
	if (preload) {
		setenv("LD_PRELOAD", agent_path, 1);
		setenv(AGENT_ENV, s.path, 1);
	}
	execl(target_path, target_path, shared_path, n, c, NULL);
	_exit(127);
}

static void ms_sleep(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

static long sum_calls(void)
{
	long n = 0;

	for (int i = 0; i < 64; i++)
		n += shared->calls[i];
	return n;
}

/* Waits for cond up to two seconds. */
#define EVENTUALLY(cond)                                                                           \
	({                                                                                         \
		int left_ = 2000;                                                                  \
		while (!(cond) && left_--)                                                         \
			ms_sleep(1);                                                               \
		!!(long)(cond);                                                                    \
	})

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

static bool calls_go_on(void)
{
	long before = sum_calls();

	return EVENTUALLY(sum_calls() > before + 1000);
}

static size_t slurp(pid_t pid, const char *name, char *buf, size_t size)
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

static void text_of(pid_t pid, u8 *buf, size_t n)
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
		    strstr(line, target_path) && probed_off >= off && probed_off < off + end - start)
			if (pread(fd, buf, n, (off_t)(start + probed_off - off)) < 0)
				break;
	fclose(f);
	close(fd);
}

TEST(constructor_attaches_before_main)
{
	pid_t pid;
	int link;

	REQUIRE(prepare());
	link = make_link(-1);
	REQUIRE(link >= 0);
	pid = start_target(4, 10000, true);
	CHECK_EQ(end_target(pid) & ~0xff00, 0);
	pid = start_target(4, 10000, true);
	ms_sleep(0);
	int status;
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(hits(), 40000);
	CHECK_EQ(shared->errors, 0);
	drop_link(link);
}

TEST(constructor_stays_idle_without_session)
{
	pid_t pid;
	int status;

	REQUIRE(prepare());
	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (!pid) {
		setenv("LD_PRELOAD", agent_path, 1);
		setenv(AGENT_ENV, "/nonexistent/session", 1);
		execl(target_path, target_path, shared_path, "1", "1000", NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(sum_calls(), 1000);
}

TEST(links_come_and_go_in_a_started_target)
{
	struct keeper_error e;
	pid_t pid;
	int link;
	u64 seen;

	REQUIRE(prepare());
	pid = start_target(4, 0, true);
	REQUIRE(EVENTUALLY(shared->ready));
	CHECK(keeper_is_target(k, pid, NULL));
	link = make_link(-1);
	CHECK_EQ(keeper_sync(k, pid, &e), 0);
	CHECK_STR(e.detail, "");
	CHECK(EVENTUALLY(hits() > 1000));
	drop_link(link);
	ms_sleep(20);
	seen = hits();
	CHECK(calls_go_on());
	CHECK_EQ(hits(), seen);
	CHECK_EQ(keeper_sync(k, pid, &e), 0);
	CHECK(calls_go_on());
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->errors, 0);
	CHECK_EQ(shared->interrupted, 0);
}

TEST(injects_and_leaves_no_trace)
{
	static char maps_before[65536], maps_after[65536];
	u8 text_before[32], text_after[32];
	struct keeper_error e;
	pid_t pid;
	int link;

	REQUIRE(prepare());
	pid = start_target(4, 0, false);
	REQUIRE(EVENTUALLY(shared->ready) && calls_go_on());
	slurp(pid, "maps", maps_before, sizeof(maps_before));
	text_of(pid, text_before, sizeof(text_before));
	link = make_link(-1);
	CHECK_EQ(keeper_inject(k, pid, &e), 0);
	CHECK_STR(e.detail, "");
	CHECK(EVENTUALLY(hits() > 1000));
	CHECK_EQ(keeper_inject(k, pid, &e), 0);
	CHECK_EQ(keeper_detach(k, pid, &e), 0);
	CHECK_STR(e.detail, "");
	CHECK(calls_go_on());
	slurp(pid, "maps", maps_after, sizeof(maps_after));
	text_of(pid, text_after, sizeof(text_after));
	CHECK(!strcmp(maps_before, maps_after));
	CHECK(!memcmp(text_before, text_after, sizeof(text_before)));
	CHECK_EQ(keeper_detach(k, pid, &e) != 0, 1);
	CHECK_EQ(e.reason, KEEPER_NOT_TARGET);
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->errors, 0);
	CHECK_EQ(shared->interrupted, 0);
	drop_link(link);
}

TEST(two_links_count_twice_and_a_pid_filter_holds)
{
	struct keeper_error e;
	int a, b, other;
	pid_t pid;
	u64 h0, h1;
	long c0;

	REQUIRE(prepare());
	a = make_link(-1);
	b = make_link(-1);
	other = make_link(1);
	pid = start_target(1, 20000, true);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	CHECK_EQ(hits(), 40000);
	drop_link(a);
	drop_link(b);
	pid = start_target(1, 0, false);
	REQUIRE(EVENTUALLY(shared->ready));
	CHECK_EQ(keeper_inject(k, pid, &e), 0);
	CHECK(calls_go_on());
	CHECK_EQ(hits(), 0);
	a = make_link(pid);
	CHECK_EQ(keeper_sync(k, pid, &e), 0);
	h0 = hits();
	CHECK(EVENTUALLY(hits() > h0));
	b = make_link(-1);
	CHECK_EQ(keeper_sync(k, pid, &e), 0);
	h0 = hits();
	c0 = sum_calls();
	CHECK(calls_go_on());
	h1 = hits();
	CHECK((long)(h1 - h0) > (sum_calls() - c0) * 3 / 2);
	CHECK_EQ(end_target(pid), 0);
	drop_link(a);
	drop_link(b);
	drop_link(other);
}

TEST(a_stopped_target_stays_stopped)
{
	struct keeper_error e;
	char stat[1024];
	pid_t pid;
	int link, status;

	REQUIRE(prepare());
	pid = start_target(2, 0, false);
	REQUIRE(EVENTUALLY(shared->ready));
	kill(pid, SIGSTOP);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	link = make_link(-1);
	CHECK_EQ(keeper_inject(k, pid, &e), 0);
	CHECK_STR(e.detail, "");
	ms_sleep(20);
	slurp(pid, "stat", stat, sizeof(stat));
	CHECK(strstr(stat, ") T ") != NULL);
	CHECK_EQ(hits(), 0);
	kill(pid, SIGCONT);
	CHECK(EVENTUALLY(hits() > 100));
	CHECK_EQ(keeper_detach(k, pid, &e), 0);
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->interrupted, 0);
	drop_link(link);
}

TEST(attach_and_detach_again_and_again)
{
	static char maps_before[65536], maps_after[65536];
	int rounds = getenv("LIMPET_LONG") ? 1000 : 25, bad = 0;
	struct keeper_error e;
	pid_t pid;
	int link;

	REQUIRE(prepare());
	pid = start_target(16, 0, false);
	REQUIRE(EVENTUALLY(shared->ready) && calls_go_on());
	slurp(pid, "maps", maps_before, sizeof(maps_before));
	link = make_link(-1);
	for (int i = 0; i < rounds && !bad; i++) {
		if (keeper_inject(k, pid, &e) || keeper_detach(k, pid, &e)) {
			printf("# round %d: %s\n", i, e.detail);
			bad++;
		}
		if (i % 5 == 0)
			kill(pid, SIGSTOP);
		if (i % 5 == 2)
			kill(pid, SIGCONT);
	}
	kill(pid, SIGCONT);
	CHECK_EQ(bad, 0);
	CHECK(calls_go_on());
	slurp(pid, "maps", maps_after, sizeof(maps_after));
	CHECK(!strcmp(maps_before, maps_after));
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->errors, 0);
	CHECK_EQ(shared->interrupted, 0);
	drop_link(link);
}

static int stop_pipe[2];

static void *keeping(void *arg)
{
	keeper_run(k, stop_pipe[0]);
	return NULL;
}

TEST(the_keepers_loop_follows_the_session)
{
	pthread_t t;
	pid_t pid;
	int link;
	u64 seen;

	REQUIRE(prepare() && !pipe(stop_pipe));
	pid = start_target(2, 0, true);
	REQUIRE(EVENTUALLY(shared->ready));
	REQUIRE(!pthread_create(&t, NULL, keeping, NULL));
	link = make_link(-1);
	CHECK(EVENTUALLY(hits() > 1000));
	drop_link(link);
	ms_sleep(20);
	seen = hits();
	CHECK(calls_go_on());
	CHECK_EQ(hits(), seen);
	CHECK_EQ(write(stop_pipe[1], "x", 1), 1);
	pthread_join(t, NULL);
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->interrupted, 0);
}

TEST(refusals_name_their_reason)
{
	struct keeper_error e;
	pid_t pid;

	REQUIRE(prepare());
	CHECK(keeper_inject(k, 0x3fffff, &e) != 0);
	CHECK_EQ(e.reason, KEEPER_NO_PROCESS);
	if (!geteuid() && !access("/proc/2/status", R_OK)) {
		char comm[32];

		slurp(2, "comm", comm, sizeof(comm));
		if (!strcmp(comm, "kthreadd\n")) {
			CHECK(keeper_inject(k, 2, &e) != 0);
			CHECK_EQ(e.reason, KEEPER_KERNEL_THREAD);
		}
	}
	pid = start_target(1, 0, false);
	REQUIRE(EVENTUALLY(shared->ready));
	CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
	CHECK(keeper_inject(k, pid, &e) != 0);
	CHECK_EQ(e.reason, KEEPER_TRACED);
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, NULL, 0);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	CHECK_EQ(end_target(pid), 0);
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

TEST_MAIN()
