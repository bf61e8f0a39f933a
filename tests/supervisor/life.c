/* SPDX-License-Identifier: MIT */
/*
 * A tool that makes a map by bpf(2) alone and then lives or ends as its argument says: linked statically, with glibc
 * or musl. Prints `map N`, its descriptor's number.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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
	if (!strcmp(how, "cut"))
		return cut();
	return 3;
}
