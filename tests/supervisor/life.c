/* SPDX-License-Identifier: MIT */
/*
 * A tool that makes a map by bpf(2) alone and then lives or ends as its argument says: linked statically, with glibc
 * or musl. Prints `map N`, its descriptor's number.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int fd;

static long bpf(int cmd, union bpf_attr *a)
{
	return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static int make_map(void)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_HASH,
			    .key_size = 4,
			    .value_size = 8,
			    .max_entries = 10,
			    .map_name = "lives"};

	return (int)bpf(BPF_MAP_CREATE, &a);
}

/* The value of key 0 or -errno. */
static long look(int map)
{
	int key = 0;
	long value = 0;
	union bpf_attr a = {.map_fd = (unsigned int)map, .key = (unsigned long)&key, .value = (unsigned long)&value};

	return bpf(BPF_MAP_LOOKUP_ELEM, &a) ? -errno : value;
}

static long store(long value)
{
	int key = 0;
	union bpf_attr a = {.map_fd = (unsigned int)fd, .key = (unsigned long)&key, .value = (unsigned long)&value};

	return bpf(BPF_MAP_UPDATE_ELEM, &a) ? -errno : 0;
}

/* A child that outlives this process and its supervisor's wait for it: what it sees goes to a file. */
static int leave_child(const char *path)
{
	const pid_t parent = getpid();
	FILE *f;

	if (fork())
		return 7;
	setsid();
	for (int i = 0; i < 3; i++)
		close(i);
	for (int i = 0; i < 100 && getppid() == parent; i++)
		usleep(50000);
	f = fopen("/etc/passwd", "r"); /* files are the kernel's still */
	if (f)
		fclose(f);
	f = f ? fopen(path, "w") : NULL;
	if (f) {
		long before = look(fd), err = store(6);

		fprintf(f, "%ld %ld %ld\n", before, err, look(fd));
		fclose(f);
	}
	_exit(0);
}

static int failed(long ret)
{
	return ret < 0 ? errno : 0;
}

static void bad_pointers(int map)
{
	int key = 0;
	long value;
	union bpf_attr a = {.map_fd = (unsigned int)map, .key = 8, .value = (unsigned long)&value};
	union bpf_attr path = {.pathname = 16};
	char tail[4096] = {0};

	printf("attr %d", failed(syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, 8, sizeof(a))));
	printf(" key %d", failed(bpf(BPF_MAP_LOOKUP_ELEM, &a)));
	a.key = (unsigned long)&key;
	a.value = (unsigned long)"read only"; /* nothing may be written there */
	printf(" value %d", failed(bpf(BPF_MAP_LOOKUP_ELEM, &a)));
	a.value = -8UL;
	printf(" end of memory %d", failed(bpf(BPF_MAP_UPDATE_ELEM, &a)));
	printf(" path %d", failed(bpf(BPF_OBJ_GET, &path)));
	memcpy(tail, &a, sizeof(a));
	printf(" long attr %d", failed(syscall(SYS_bpf, BPF_MAP_DELETE_ELEM, tail, sizeof(tail))));
	tail[4095] = 1;
	printf(" set behind %d", failed(syscall(SYS_bpf, BPF_MAP_DELETE_ELEM, tail, sizeof(tail))));
	printf(" too long %d", failed(syscall(SYS_bpf, BPF_MAP_DELETE_ELEM, tail, 4097)));
	printf(" event %d\n", failed(syscall(SYS_perf_event_open, 8, 0, -1, -1, 0)));
}

/* Numbers, errors and duplicates of descriptors, as the kernel's but for the numbers. */
static int descriptors(void)
{
	int copy = dup(fd), low = dup2(fd, 100), other, none;

	printf("copies %ld %ld\n", look(copy), look(low));
	close(fd);
	printf("first closed %ld %ld %ld\n", look(fd), look(copy), look(low));
	close(copy);
	printf("second closed %ld %ld\n", look(copy), look(low));
	other = fcntl(low, F_DUPFD_CLOEXEC, 600);
	printf("other %ld %d %d\n", look(other), other >= 600, fcntl(other, F_GETFD));
	none = open("/dev/null", O_RDONLY);
	printf("none %ld %ld %ld\n", look(none), look(-1), look(99999));
	printf("close %d %d\n", close(other), close(other));
	bad_pointers(low);
	return 0;
}

static char place[64];

static const char *at(const char *name)
{
	static char paths[4][128];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), *name == '/' ? "%s" : "%2$s/%1$s", name, place);
	return path;
}

static void pin(int map, const char *name)
{
	union bpf_attr a = {.pathname = (unsigned long)at(name), .bpf_fd = (unsigned int)map};

	printf("pin %s %d\n", name, failed(bpf(BPF_OBJ_PIN, &a)));
}

static int is_there(const char *name)
{
	union bpf_attr a = {.pathname = (unsigned long)at(name)};
	long got = bpf(BPF_OBJ_GET, &a);

	if (got >= 0)
		close((int)got);
	return got < 0 ? errno : 0;
}

static void move(const char *from, const char *to, unsigned int flags)
{
#ifdef __GLIBC__
	const int err = failed(renameat2(AT_FDCWD, at(from), AT_FDCWD, at(to), flags));
#else
	const int err = failed(syscall(SYS_renameat2, AT_FDCWD, at(from), AT_FDCWD, at(to), flags));
#endif

	printf("%s to %s, %u: %d, there %d %d\n", from, to, flags, err, is_there(from), is_there(to));
}

/* Pins and their directories under other names. */
static int moves(void)
{
	static const char *const left[] = {"a", "b", "c", "d/x", "e/x", "f/x", "z", "y"};
	const int other = make_map();

	snprintf(place, sizeof(place), "/sys/fs/bpf/limpet_moves_%d", getpid());
	printf("%d", failed(mkdir(place, 0700)));
	printf(" %d", failed(mkdir(at("d"), 0700)));
	printf(" %d\n", failed(mkdir(at("e"), 0700)));
	pin(fd, "a");
	move("a", "b", 0);
	move("b", "b", 0);
	move("none", "c", 0);
	pin(other, "c");
	move("b", "c", RENAME_NOREPLACE);
	move("b", "c", 0);
	pin(fd, "b"); /* c is the same map */
	move("b", "c", RENAME_NOREPLACE);
	move("b", "c", RENAME_EXCHANGE);
	move("b", "c", 0);
	pin(other, "b");
	move("b", "c", RENAME_EXCHANGE);
	move("b", "d/x", 0);
	move("d", "f", 0);
	move("f", "e", 0);
	move("e/x", "e", 0);
	move("e/x", "/tmp/limpet_moved", 0);
	move("/etc/passwd", "y", 0);
	move("e/x", "a.dot", 0);
	move("e/x", "none/y", 0);
	move("e/x", "y", 0x80);
	printf("rename %d\n", failed(rename(at("e/x"), at("z"))));
	printf("there %d %d\n", is_there("e/x"), is_there("z"));
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		unlink(at(left[i]));
	rmdir(at("d"));
	rmdir(at("e"));
	rmdir(at("f"));
	printf("empty %d\n", failed(rmdir(place)));
	return 0;
}

static void on_alarm(int sig)
{
	static const char text[] = "handled\n";

	if (write(1, text, sizeof(text) - 1) < 0)
		_exit(9);
}

static int run_many(int prog, char *packet, unsigned int repeat)
{
	union bpf_attr a = {.test = {.prog_fd = (unsigned int)prog, .data_in = (unsigned long)packet, .data_size_in = 64, .repeat = repeat}};

	return failed(bpf(BPF_PROG_TEST_RUN, &a));
}

/* Runs that would take minutes: a signal ends them, one that is ignored or blocked does not. */
static int interrupt(void)
{
	static const struct bpf_insn insns[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
	const struct itimerval soon = {.it_value.tv_usec = 50000};
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
			    .insns = (unsigned long)insns,
			    .insn_cnt = 2,
			    .license = (unsigned long)"GPL"};
	const int prog = (int)bpf(BPF_PROG_LOAD, &a);
	char packet[64] = {0};
	sigset_t set;

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &soon, NULL);
	printf("interrupted %d\n", run_many(prog, packet, 0x7fffffff));
	signal(SIGALRM, SIG_IGN);
	raise(SIGALRM);
	printf("ignored %d\n", run_many(prog, packet, 100000));
	signal(SIGALRM, on_alarm);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGALRM);
	printf("blocked %d\n", run_many(prog, packet, 100000));
	fflush(stdout);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}

/* What only limpet lets it do: its map's file is empty. Nobody dies of it. */
static int cut(void)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096};
	struct pollfd p = {.fd = (int)bpf(BPF_MAP_CREATE, &a), .events = POLLIN};

	printf("cut %d %d\n", failed(ftruncate(fd, 0)), failed(ftruncate(p.fd, 0)));
	printf("then %d", look(fd) < 0 || look(fd) == 0);
	printf(" poll %d", poll(&p, 1, 10) >= 0);
	fd = make_map();
	printf(" another %ld", store(6));
	printf(" %ld\n", look(fd));
	return 0;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	fd = make_map();
	if (fd < 0)
		return 1;
	if (store(5))
		return 2;
	printf("map %d\n", fd);
	fflush(stdout);
	if (!strcmp(how, "sleep"))
		for (;;)
			pause();
	if (!strcmp(how, "spin"))
		while (look(fd) == 5)
			;
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "leave"))
		return leave_child(argv[2]);
	if (!strcmp(how, "shell"))
		return WEXITSTATUS(system(argv[2]));
	if (!strcmp(how, "descriptors"))
		return descriptors();
	if (!strcmp(how, "moves"))
		return moves();
	if (!strcmp(how, "interrupt"))
		return interrupt();
	if (!strcmp(how, "cut"))
		return cut();
	return 3;
}
