/* SPDX-License-Identifier: MIT */
/*
 * The preloaded object as a tool meets it: this program starts itself again with the shim in front
 * and does with maps and files what tools do. The kernel's bpf(2) is not asked.
 */
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <mntent.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

#define BPFFS "/sys/fs/bpf"

static long bpf(int cmd, union bpf_attr *a)
{
	return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static int new_map(const char *name)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 4};

	strcpy(a.map_name, name);
	return (int)bpf(BPF_MAP_CREATE, &a);
}

static long set(int fd, int key, int value)
{
	union bpf_attr a = {.map_fd = (unsigned)fd};

	a.key = (unsigned long)&key;
	a.value = (unsigned long)&value;
	return bpf(BPF_MAP_UPDATE_ELEM, &a);
}

static int get(int fd, int key)
{
	union bpf_attr a = {.map_fd = (unsigned)fd};
	int value = -1;

	a.key = (unsigned long)&key;
	a.value = (unsigned long)&value;
	return bpf(BPF_MAP_LOOKUP_ELEM, &a) ? -1 : value;
}

static unsigned id_of(int fd)
{
	struct bpf_map_info info = {0};
	union bpf_attr a = {0};

	a.info.bpf_fd = (unsigned)fd;
	a.info.info_len = sizeof(info);
	a.info.info = (unsigned long)&info;
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &a) ? 0 : info.id;
}

/* Is there a map of this id? */
static bool exists(unsigned id)
{
	union bpf_attr a = {.map_id = id};
	int fd = (int)bpf(BPF_MAP_GET_FD_BY_ID, &a);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int child_status(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(the_last_close_frees_a_map)
{
	int fd = new_map("one"), copy = dup(fd), third = fcntl(fd, F_DUPFD_CLOEXEC, 50);
	unsigned id = id_of(fd);

	REQUIRE(fd >= 0 && id && copy >= 0 && third >= 50);
	CHECK_EQ(set(copy, 1, 7), 0);
	CHECK_EQ(get(third, 1), 7);
	close(fd);
	close(copy);
	CHECK(exists(id));
	CHECK_EQ(get(third, 1), 7);
	close(third);
	CHECK(!exists(id));
	CHECK_EQ(get(third, 1), -1);
	CHECK_EQ(errno, EBADF);
}

TEST(a_replaced_descriptor_is_another_object)
{
	int a = new_map("a"), b = new_map("b"), file = open("/dev/null", O_RDONLY);
	unsigned id_a = id_of(a);

	set(a, 0, 1);
	set(b, 0, 2);
	CHECK_EQ(dup2(b, a), a);
	CHECK_EQ(get(a, 0), 2);
	CHECK(!exists(id_a));
	CHECK_EQ(dup3(file, a, O_CLOEXEC), a);
	CHECK_EQ(get(a, 0), -1);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(dup2(b, b), b);
	CHECK_EQ(get(b, 0), 2);
	close(a);
	close(b);
	close(file);
}

/* A map at descriptor `at`, and nowhere else. */
static int new_map_at(int at)
{
	int fd = new_map("range"), ret = fcntl(fd, F_DUPFD_CLOEXEC, at);

	close(fd);
	return ret;
}

TEST(ranges_and_streams_close_too)
{
	unsigned ids[4];
	FILE *f;

	for (int i = 0; i < 4; i++) {
		REQUIRE(new_map_at(200 + i) == 200 + i);
		ids[i] = id_of(200 + i);
	}
	f = fdopen(203, "r");
	REQUIRE(f);
	fclose(f);
	CHECK_EQ(get(203, 0), -1);
	CHECK_EQ(errno, EBADF);
	CHECK_EQ(close_range(200, 201, 0), 0);
	CHECK_EQ(get(200, 0), -1);
	CHECK_EQ(get(201, 0), -1);
	CHECK_EQ(get(202, 0), 0);
	CHECK_EQ(syscall(SYS_close, 202), 0);
	CHECK_EQ(get(202, 0), -1);
	for (int i = 0; i < 4; i++)
		CHECK(!exists(ids[i]));
}

TEST(flags_read_as_the_kernels)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_ARRAY,
			    .key_size = 4,
			    .value_size = 4,
			    .max_entries = 4,
			    .map_flags = BPF_F_RDONLY};
	int rw = new_map("rw"), ro = (int)bpf(BPF_MAP_CREATE, &a);

	CHECK_EQ(fcntl(rw, F_GETFL), O_RDWR);
	CHECK_EQ(fcntl(ro, F_GETFL), O_RDONLY);
	CHECK_EQ(fcntl(rw, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(set(ro, 0, 1), -1);
	CHECK_EQ(errno, EPERM);
	CHECK_EQ(get(ro, 0), 0);
	close(rw);
	close(ro);
}

TEST(a_forked_child_shares_the_map)
{
	int fd = new_map("forked");
	unsigned id = id_of(fd);
	pid_t pid = fork();

	if (!pid) {
		close(fd); /* the parent's stays */
		fd = new_map("childs");
		_exit(set(fd, 0, 5) || get(fd, 0) != 5);
	}
	CHECK_EQ(child_status(pid), 0);
	CHECK(exists(id));
	CHECK_EQ(set(fd, 2, 9), 0);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); /* no fork handlers run */
	if (!pid) {
		int ok = get(fd, 2) == 9;

		close(fd);
		_exit(!(ok && get(fd, 2) == -1 && errno == EBADF));
	}
	CHECK_EQ(child_status(pid), 0);
	CHECK_EQ(get(fd, 2), 9);
	close(fd);
	CHECK(!exists(id));
}

TEST(a_vfork_child_leaves_the_parents_descriptors)
{
	int fd = new_map("vforked");
	unsigned id = id_of(fd);
	pid_t pid;

	CHECK_EQ(set(fd, 1, 4), 0);
	pid = vfork();
	if (!pid) {
		close(fd);
		_exit(0);
	}
	CHECK_EQ(child_status(pid), 0);
	CHECK_EQ(get(fd, 1), 4);
	close(fd);
	CHECK(!exists(id));
}

TEST(an_executed_program_inherits_maps)
{
	int fd = new_map("inherited");
	unsigned id = id_of(fd);
	char number[16];
	int go[2];
	pid_t pid;

	REQUIRE(!pipe(go));
	fcntl(fd, F_SETFD, 0);
	CHECK_EQ(set(fd, 3, 33), 0);
	snprintf(number, sizeof(number), "%d", fd);
	pid = fork();
	if (!pid) {
		dup2(go[0], 0);
		close(go[1]);
		execl("/proc/self/exe", "test-shim", "--inherited", number, NULL);
		_exit(99);
	}
	close(fd);
	close(go[0]);
	close(go[1]);
	CHECK_EQ(child_status(pid), 0);
	CHECK(!exists(id));
}

/* The other side of the test above, after exec: the last holder closes. */
static int inherited(int fd)
{
	unsigned id = id_of(fd);
	char byte;

	if (get(fd, 3) != 33 || !id || set(fd, 3, 34) || get(fd, 3) != 34)
		return 1;
	if (read(0, &byte, 1)) /* the end of the pipe: the parent has closed its own */
		return 3;
	close(fd);
	return exists(id) ? 2 : 0;
}

static void send_fd(int via, int fd)
{
	char room[CMSG_SPACE(sizeof(fd))] = {0}, byte = 0;
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = room,
			   .msg_controllen = sizeof(room)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	sendmsg(via, &m, 0);
}

static int receive_fd(int via)
{
	char room[CMSG_SPACE(sizeof(int))], byte;
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = room,
			   .msg_controllen = sizeof(room)};
	int fd = -1;

	if (recvmsg(via, &m, 0) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

TEST(a_descriptor_sent_to_another_tool_is_the_map)
{
	int pair[2], fd;
	unsigned id;
	pid_t pid;

	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid) {
		fd = new_map("sent");
		set(fd, 0, 77);
		send_fd(pair[1], fd);
		_exit(0);
	}
	fd = receive_fd(pair[0]);
	CHECK_EQ(child_status(pid), 0);
	CHECK_EQ(get(fd, 0), 77);
	id = id_of(fd);
	close(fd);
	CHECK(id && !exists(id));
	close(pair[0]);
	close(pair[1]);
}

static void *work(void *arg)
{
	long bad = 0;

	for (int i = 0; i < 300; i++) {
		int fd = new_map("thread");
		unsigned id = id_of(fd);

		bad += fd < 0 || !id || set(fd, 1, i) || get(fd, 1) != i;
		close(fd);
		bad += exists(id);
	}
	return (void *)bad;
}

TEST(threads_make_and_close_maps_at_once)
{
	pthread_t t[4];
	void *bad;

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, work, NULL);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		CHECK_EQ((long)bad, 0);
	}
}

static unsigned mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned n = 0;

	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static _Atomic int reader_fd;

/* Reads from a descriptor that is being closed, and another map by then: any of their values is right. */
static void *reads(void *arg)
{
	for (int fd; (fd = reader_fd) >= 0;) {
		int value = get(fd, 1);

		if (value != -1 && value != 0 && value != 7 && value != 9)
			*(long *)arg = 1;
	}
	return NULL;
}

TEST(maps_that_are_no_more_take_no_mappings)
{
	const unsigned rounds = getenv("LIMPET_LONG") ? 70000 : 1500, before = mappings();
	int stays = new_map("stays"), pinned = new_map("in_child"), ready[2], status;
	const unsigned id = id_of(pinned);
	long bad = 0;
	pthread_t t;
	pid_t pid;

	REQUIRE(stays >= 0 && pinned >= 0 && !pipe(ready));
	CHECK(!set(stays, 1, 9) && !set(pinned, 1, 9));
	pid = fork();
	if (!pid) { /* keeps it */
		close(ready[1]);
		_exit(read(ready[0], &status, 1) != 0);
	}
	close(pinned);
	reader_fd = stays;
	REQUIRE(!pthread_create(&t, NULL, reads, &bad));
	for (unsigned i = 0; i < rounds && !check_failed; i++) {
		int fd = new_map("comes");

		CHECK(fd >= 0 && !set(fd, 1, 7) && get(fd, 1) == 7);
		reader_fd = fd;
		close(fd);
	}
	reader_fd = -1;
	pthread_join(t, NULL);
	CHECK_EQ(bad, 0);
	CHECK(mappings() < before + 700);
	CHECK_EQ(get(stays, 1), 9);
	CHECK(exists(id));
	pinned = (int)bpf(BPF_MAP_GET_FD_BY_ID, &(union bpf_attr){.map_id = id});
	CHECK_EQ(get(pinned, 1), 9);
	close(ready[0]);
	close(ready[1]);
	CHECK_EQ(child_status(pid), 0);
	close(pinned);
	close(stays);
}

TEST(ordinary_files_behave)
{
	char path[64], line[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/limpet-shim-%d", getpid());
	CHECK(!fopen(path, "r"));
	CHECK_EQ(errno, ENOENT);
	f = fopen(path, "wxe");
	REQUIRE(f);
	CHECK_EQ(fcntl(fileno(f), F_GETFD), FD_CLOEXEC);
	fputs("text\n", f);
	fclose(f);
	CHECK(!fopen(path, "wx"));
	CHECK_EQ(errno, EEXIST);
	f = fopen(path, "r,ccs=UTF-8");
	CHECK(f && fgetws((wchar_t[64]){0}, 64, f));
	fclose(f);
	f = fopen(path, "rmc");
	REQUIRE(f);
	CHECK(fgets(line, sizeof(line), f) && !strcmp(line, "text\n"));
	fclose(f);
	CHECK(!fopen(path, "q"));
	CHECK_EQ(errno, EINVAL);
	f = fopen64(path, "a+");
	REQUIRE(f);
	fclose(f);
	CHECK_EQ(open(path, O_RDONLY | O_DIRECTORY), -1);
	CHECK_EQ(errno, ENOTDIR);
	unlink(path);
	CHECK_EQ(access(path, F_OK), -1);
	CHECK_EQ(close(-1), -1);
	CHECK_EQ(errno, EBADF);
	CHECK_EQ(fcntl(-1, F_GETFL), -1);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED);
	CHECK_EQ(errno, EBADF);
}

TEST(the_uprobe_event_source_is_there)
{
	static const char dir[] = "/sys/bus/event_source/devices/uprobe";
	char text[64] = "", path[128];
	struct stat st;
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "%s/type", dir);
	f = fopen(path, "re");
	REQUIRE(f && fgets(text, sizeof(text), f));
	fclose(f);
	CHECK_STR(text, "1000\n");
	fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 5);
	close(fd);
	fd = open64(path, O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	CHECK(!access(path, R_OK) && !faccessat(AT_FDCWD, path, R_OK, 0));
	CHECK(!stat(path, &st) && S_ISREG(st.st_mode) && !lstat(dir, &st) && S_ISDIR(st.st_mode));
	CHECK_EQ(readlink(path, text, sizeof(text)), -1);
	CHECK_EQ(errno, EINVAL);
	snprintf(path, sizeof(path), "%s/format/retprobe", dir);
	f = fopen(path, "r");
	REQUIRE(f && fgets(text, sizeof(text), f));
	fclose(f);
	CHECK_STR(text, "config:0\n");
	snprintf(path, sizeof(path), "%s/none", dir);
	CHECK_EQ(open(path, O_RDONLY), -1);
	CHECK_EQ(errno, ENOENT);
}

static int seen_pins;

static int count_pin(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	seen_pins += type == FTW_F && !strcmp(path, BPFFS "/dir/pin") &&
		     !strcmp(path + ftw->base, "pin");
	return 0;
}

TEST(bpffs_keeps_pins)
{
	union bpf_attr a = {0};
	int fd = new_map("pinned");
	unsigned id = id_of(fd);
	struct statfs fs;
	struct mntent *m;
	bool mounted = false;
	DIR *d;
	FILE *f;

	REQUIRE(fd >= 0);
	CHECK(!statfs(BPFFS, &fs) && fs.f_type == 0xcafe4a11);
	CHECK(!mkdir(BPFFS "/dir", 0700));
	CHECK_EQ(mkdir(BPFFS "/dir", 0700), -1);
	CHECK_EQ(errno, EEXIST);
	a.pathname = (unsigned long)BPFFS "/dir/pin";
	a.bpf_fd = (unsigned)fd;
	CHECK_EQ(bpf(BPF_OBJ_PIN, &a), 0);
	set(fd, 0, 3);
	close(fd);
	CHECK(exists(id) && !access(BPFFS "/dir/pin", F_OK));
	nftw(BPFFS, count_pin, 16, FTW_PHYS);
	CHECK_EQ(seen_pins, 1);
	d = opendir(BPFFS);
	CHECK(d != NULL);
	closedir(d);
	f = setmntent("/proc/mounts", "r");
	while (f && (m = getmntent(f)))
		mounted |= !strcmp(m->mnt_type, "bpf") && !strcmp(m->mnt_dir, BPFFS);
	endmntent(f);
	CHECK(mounted);
	a.bpf_fd = 0;
	fd = (int)bpf(BPF_OBJ_GET, &a);
	CHECK_EQ(get(fd, 0), 3);
	close(fd);
	{ /* relative to a directory's descriptor: BPF_F_PATH_FD, path_fd */
		int dir = open(BPFFS "/dir", O_PATH | O_DIRECTORY);
		struct {
			unsigned long path;
			unsigned fd, flags;
			int path_fd;
		} at = {(unsigned long)"pin", 0, 1u << 14, dir};

		fd = (int)syscall(SYS_bpf, BPF_OBJ_GET, &at, 20);
		CHECK_EQ(get(fd, 0), 3);
		close(fd);
		close(dir);
		at.path_fd = 0;
		at.flags = 0;
		CHECK_EQ(syscall(SYS_bpf, BPF_OBJ_GET, &at, 20), -1);
	}
	CHECK(exists(id));
	CHECK_EQ(rmdir(BPFFS "/dir"), -1);
	CHECK_EQ(errno, ENOTEMPTY);
	CHECK_EQ(rename(BPFFS "/dir/pin", BPFFS "/dir/other"), 0);
	CHECK_EQ(unlink(BPFFS "/dir/other"), 0);
	CHECK(!exists(id));
	CHECK_EQ(rmdir(BPFFS "/dir"), 0);
}

TEST(fdinfo_shows_the_maps_facts)
{
	int fd = new_map("facts");
	char path[64], line[128];
	unsigned entries = 0, id = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "max_entries:\t%u", &entries);
		sscanf(line, "map_id:\t%u", &id);
	}
	REQUIRE(f);
	fclose(f);
	CHECK_EQ(entries, 4);
	CHECK_EQ(id, id_of(fd));
	close(fd);
	f = fopen("/proc/self/fdinfo/0", "r");
	REQUIRE(f && fgets(line, sizeof(line), f));
	CHECK(!strncmp(line, "pos:", 4));
	fclose(f);
}

/* r1 = "hi %d\n" on the stack; r2 = 7; r3 = 42; call trace_printk; r0 = 3 */
static int load_printing(void)
{
	struct bpf_insn p[] = {
		{BPF_LD | BPF_IMM | BPF_DW, 3, 0, 0, 'h' | 'i' << 8 | ' ' << 16 | '%' << 24},
		{0, 0, 0, 0, 'd' | '\n' << 8},
		{BPF_STX | BPF_MEM | BPF_DW, 10, 3, -8, 0},
		{BPF_ALU64 | BPF_MOV | BPF_X, 1, 10, 0, 0},
		{BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, -8},
		{BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 7},
		{BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 42},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_trace_printk},
		{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 3},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT, .insn_cnt = 10};

	a.insns = (unsigned long)p;
	a.license = (unsigned long)"GPL";
	return (int)bpf(BPF_PROG_LOAD, &a);
}

TEST(trace_pipe_has_what_programs_print)
{
	union bpf_attr a = {0};
	int fd = load_printing(), trace;
	char line[256] = "", own[32];
	FILE *f;

	REQUIRE(fd >= 0);
	a.test.prog_fd = (unsigned)fd;
	CHECK_EQ(bpf(BPF_PROG_TEST_RUN, &a), 0);
	CHECK_EQ(a.test.retval, 3);
	f = fopen("/sys/kernel/tracing/trace_pipe", "r");
	REQUIRE(f && fgets(line, sizeof(line), f));
	CHECK(strstr(line, "bpf_trace_printk: hi 42\n"));
	snprintf(own, sizeof(own), "-%d ", getpid());
	CHECK(strstr(line, own));
	fclose(f);
	trace = open("/sys/kernel/debug/tracing/trace_pipe", O_RDONLY | O_NONBLOCK);
	CHECK(trace >= 0);
	CHECK_EQ(read(trace, line, 0), 0);
	close(trace);
	close(fd);
}

TEST(memlock_may_be_raised)
{
	struct rlimit r = {RLIM_INFINITY, RLIM_INFINITY};

	CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &r), 0);
}

TEST(the_kernels_bpf_is_denied)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 4};
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_bpf), "D"(BPF_MAP_CREATE), "S"(&a), "d"(sizeof(a))
			 : "rcx", "r11", "memory");
	CHECK_EQ(ret, -EPERM);
}

/* libbpf counts the processors for per-CPU maps, and reads the kernel's types. */
TEST(processors_and_types_are_there_without_sys)
{
	char text[64] = "";
	unsigned char magic[2] = {0};
	FILE *f = fopen("/sys/devices/system/cpu/possible", "re");

	REQUIRE(f && fgets(text, sizeof(text), f));
	CHECK_EQ(text[0], '0');
	fclose(f);
	f = fopen("/sys/kernel/btf/vmlinux", "re");
	REQUIRE(f && fread(magic, 1, 2, f) == 2);
	CHECK(magic[0] == 0x9f && magic[1] == 0xeb);
	fclose(f);
}

/* The last: nothing of the above is left. */
TEST(nothing_is_left_in_the_session)
{
	union bpf_attr a = {0};

	CHECK_EQ(bpf(BPF_MAP_GET_NEXT_ID, &a), -1);
	CHECK_EQ(errno, ENOENT);
}

int run_tests(int argc, char **argv);

/*
 * From here on bpf(2) and perf_event_open(2) are EPERM to this process and its children, and where
 * the test may, /sys is empty: whatever works is limpet's.
 */
static void deny_the_kernels(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(filter) / sizeof(*filter), filter};

	if (!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    mount("none", "/sys", "tmpfs", 0, NULL))
		printf("# /sys is left as it is\n");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		printf("# no filter: the kernel's calls are not denied\n");
}

/* Starts itself again with the shim, a session of its own, and removes that. */
static int outer(char **argv)
{
	char dir[] = "/dev/shm/limpet-test-XXXXXX", cmd[128];
	const char *shim = getenv("TEST_SHIM");
	pid_t pid;
	int status;

	if (!shim || !mkdtemp(dir))
		return 1;
	setenv("LIMPET_SESSION_DIR", dir, 1);
	pid = fork();
	if (!pid) {
		deny_the_kernels();
		setenv("LD_PRELOAD", shim, 1);
		setenv("TEST_INNER", "1", 1);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	status = child_status(pid);
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", dir);
	return system(cmd) ? 1 : status;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--inherited"))
		return inherited(atoi(argv[2]));
	return getenv("TEST_INNER") ? run_tests(argc, argv) : outer(argv);
}

#define main run_tests
TEST_MAIN()
