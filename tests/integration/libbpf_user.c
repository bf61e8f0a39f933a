/* SPDX-License-Identifier: MIT */
/*
 * What a program that uses libbpf does with its objects beyond loading them: prints what came of it, the same
 * on the kernel and with limpet (tool_libbpf_user.py). argv[1]: bpftool_objects.bpf.c, compiled.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIN "/sys/fs/bpf/limpet_user"

static struct bpf_object *object;

static int map(const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static struct bpf_program *prog(const char *name)
{
	return bpf_object__find_program_by_name(object, name);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return 0;
}

/* The element 0 of an array, -errno when there is none. */
static long get(int fd)
{
	int key = 0, value = -1;

	return bpf_map_lookup_elem(fd, &key, &value) ? -errno : value;
}

static void put(int fd, int value)
{
	int key = 0;

	bpf_map_update_elem(fd, &key, &value, 0);
}

static long run(const char *name)
{
	LIBBPF_OPTS(bpf_test_run_opts, o);

	return bpf_prog_test_run_opts(bpf_program__fd(prog(name)), &o) ? -errno : (long)o.retval;
}

static int seen;

static int on_record(void *ctx, void *data, size_t size)
{
	seen += (int)size;
	return 0;
}

/* A ring, a pipe and a duplicate of the map's descriptor in one set. */
static void ring_in_epoll(void)
{
	struct ring_buffer *rb = ring_buffer__new(map("rb"), on_record, NULL, NULL);
	struct epoll_event e = {.events = EPOLLIN}, got[4];
	int set = epoll_create1(EPOLL_CLOEXEC), ends[2], n, ready = 0;
	char buf[1];

	if (!rb || pipe(ends))
		return;
	e.data.fd = ring_buffer__epoll_fd(rb);
	epoll_ctl(set, EPOLL_CTL_ADD, e.data.fd, &e);
	e.data.fd = ends[0];
	epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &e);
	printf("nothing: %d\n", epoll_wait(set, got, 4, 0));
	printf("run %ld\n", run("uses"));
	if (write(ends[1], "x", 1) != 1)
		return;
	for (int i = 0; i < 100 && ready != 3; i++) {
		n = epoll_wait(set, got, 4, 100);
		for (int k = 0; k < n; k++)
			ready |= got[k].data.fd != ends[0] ? 2 : read(ends[0], buf, 1) == 1;
	}
	printf("ready: pipe %d, ring %d\n", ready & 1, ready >> 1);
	n = ring_buffer__consume(rb);
	printf("consumed %d, %d bytes\n", n, seen);
	ring_buffer__free(rb);
	close(set);
	close(ends[0]);
	close(ends[1]);
}

static void descriptors(void)
{
	int fd = map("in1"), d, pair[2], status;
	char space[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	put(fd, 41);
	d = dup(fd);
	printf("dup %ld\n", get(d));
	printf("dup2 %ld\n", get(dup2(fd, 200)));
	printf("F_DUPFD %ld\n", get(fcntl(fd, F_DUPFD_CLOEXEC, 300)));
	close(d);
	printf("closed %ld\n", get(d));
	syscall(SYS_close_range, 200, 400, 0);
	printf("close_range %ld\n", get(200));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return;
	if (!fork()) {
		put(fd, 42);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
		_exit(sendmsg(pair[0], &m, 0) != 1);
	}
	d = recvmsg(pair[1], &m, 0) == 1 ? *(int *)(void *)CMSG_DATA(CMSG_FIRSTHDR(&m)) : -1;
	wait(&status);
	printf("SCM_RIGHTS %d %ld, child %d\n", d >= 0, get(d), status);
	close(d);
}

static void *count(void *arg)
{
	int fd = map("lru");

	for (int i = 0; i < 1000; i++) {
		int key = (int)(long)arg;
		long value = i;

		bpf_map_update_elem(fd, &key, &value, 0);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[4];
	long sum = 0, value;

	for (long i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, count, (void *)i);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (int key = 0; key < 4; key++)
		sum += bpf_map_lookup_elem(map("lru"), &key, &value) ? -1 : value;
	printf("threads %ld\n", sum);
}

static void batch(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "batch", 4, 4, 16, NULL), keys[16], values[16], sum = 0, err;
	unsigned n = 10, out;

	for (int i = 0; i < 10; i++)
		keys[i] = i, values[i] = i * i;
	err = bpf_map_update_batch(fd, keys, values, &n, NULL);
	printf("update_batch %d %u\n", err, n);
	n = 16;
	err = bpf_map_lookup_batch(fd, NULL, &out, keys, values, &n, NULL);
	for (unsigned i = 0; i < n; i++)
		sum += values[i];
	printf("lookup_batch %d %u %d\n", err, n, sum);
	n = 3;
	err = bpf_map_delete_batch(fd, keys, &n, NULL);
	printf("delete_batch %d %u\n", err, n);
	n = 16;
	err = bpf_map_lookup_and_delete_batch(fd, NULL, &out, keys, values, &n, NULL);
	printf("lookup_and_delete_batch %d %u\n", err, n);
	close(fd);
}

static void pins(void)
{
	int fd;

	printf("pin %d\n", bpf_map__pin(bpf_object__find_map_by_name(object, "in1"), PIN));
	printf("again %d\n", bpf_map__pin(bpf_object__find_map_by_name(object, "in1"), PIN));
	fd = bpf_obj_get(PIN);
	printf("get %ld\n", get(fd));
	close(fd);
	printf("unpin %d\n", bpf_map__unpin(bpf_object__find_map_by_name(object, "in1"), PIN));
	printf("gone %d\n", bpf_obj_get(PIN));
}

static void attach(const char *what, struct bpf_link *l)
{
	printf("%s: %ld\n", what, l ? 0l : (long)-errno);
	bpf_link__destroy(l);
}

static void wrong_uses(void)
{
	attach("uprobe, no file", bpf_program__attach_uprobe(prog("up"), false, -1, "/no/such/file", 64));
	attach("uprobe, directory", bpf_program__attach_uprobe(prog("up"), false, -1, "/usr", 64));
	attach("uprobe, far", bpf_program__attach_uprobe(prog("up"), false, -1, "/bin/true", 1 << 30));
	attach("uprobe, no pid", bpf_program__attach_uprobe(prog("up"), false, 999999999, "/bin/true", 4096));
	attach("uprobe, socket filter", bpf_program__attach_uprobe(prog("filter"), false, -1, "/bin/true", 4096));
	attach("raw tracepoint", bpf_program__attach_raw_tracepoint(prog("raw"), "no_such_tracepoint"));
	attach("raw tracepoint, uprobe", bpf_program__attach_raw_tracepoint(prog("up"), "sys_enter"));
	attach("xdp", bpf_program__attach_xdp(prog("up"), 1));
	attach("cgroup", bpf_program__attach_cgroup(prog("up"), -1));
	attach("perf event", bpf_program__attach_perf_event(prog("up"), -1));
	attach("perf event, pipe", bpf_program__attach_perf_event(prog("up"), 0));
	attach("trace", bpf_program__attach_trace(prog("up")));
	attach("nothing", bpf_program__attach(prog("filter")));
	printf("run of a uprobe %ld\n", run("up"));
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, o, .btf_custom_path = "/sys/kernel/btf/vmlinux");

	setvbuf(stdout, NULL, _IONBF, 0);
	libbpf_set_print(quiet);
	object = bpf_object__open_file(argv[1], argc > 2 ? NULL : &o);
	if (!object || bpf_object__load(object)) {
		printf("load: %s\n", strerror(errno));
		return 1;
	}
	ring_in_epoll();
	descriptors();
	threads();
	batch();
	pins();
	wrong_uses();
	bpf_object__close(object);
	return 0;
}
