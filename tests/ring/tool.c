// SPDX-License-Identifier: MIT
/*
 * Does everything with ring buffers from a tool's side and prints what it sees: positions, headers, bytes,
 * what bpf(2), mmap, epoll, poll and select answer. Run on the kernel and on limpet it must print the same.
 *
 * usage: tool OBJECT.bpf.o [OPERATIONS]
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 4096u

static struct bpf_object *obj;
static int ring, user, results, plain;
static volatile unsigned long *cons, *prod;
static unsigned char *data;
static unsigned long seed = 42;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return (unsigned)(seed >> 33) % n;
}

static int fd_of(const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

static void run(const char *name, unsigned long a, unsigned long b, unsigned long c,
		unsigned long d)
{
	unsigned long args[4] = {a, b, c, d};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(args));
	int err = bpf_prog_test_run_opts(
		bpf_program__fd(bpf_object__find_program_by_name(obj, name)), &opts);

	if (err || opts.retval)
		printf("%s: err %d retval %d\n", name, err, (int)opts.retval);
}

static long result(int key)
{
	long value = -1;

	bpf_map_lookup_elem(results, &key, &value);
	return value;
}

/* What programs have finished has arrived: at once on the kernel, by the pump on limpet. */
static void settle(void)
{
	run("query", 0, 0, 0, 0);
	for (int i = 0; *prod != (unsigned long)result(3) && i < 20000; i++)
		usleep(100);
	if (*prod != (unsigned long)result(3))
		printf("positions: mapped %lu, queried %ld\n", *prod, result(3));
}

static unsigned hash(const unsigned char *p, unsigned n)
{
	unsigned h = 1;

	while (n--)
		h = h * 31 + *p++;
	return h;
}

/* One record, printed; 0: none. */
static int consume(void)
{
	unsigned long at = *cons;
	unsigned *header = (unsigned *)(data + (at & (SIZE - 1)));
	unsigned len = __atomic_load_n(header, __ATOMIC_ACQUIRE);

	if (at >= *prod)
		return 0;
	printf("at %lu len 0x%x page %u", at, len, header[1]);
	if (!(len >> 30) && len >= 8) /* the others were not filled */
		printf(" hash %x", hash((unsigned char *)(header + 2), 1));
	printf("\n");
	len &= 0x3fffffff;
	__atomic_store_n(cons, at + (len + 8 + 7) / 8 * 8, __ATOMIC_RELEASE);
	return 1;
}

static void drain_all(void)
{
	settle();
	while (consume())
		;
}

static void random_ops(int count)
{
	static const unsigned sizes[] = {0, 1, 8, 40, 48, 100, 1000, 4080, 4088, 4096, 100000};
	static const unsigned long flags[] = {0, 0, 0, 1, 2, 3, 4};

	for (int i = 0; i < count; i++) {
		char name[32];
		unsigned size = sizes[rnd(rnd(4) ? 6 : 11)];

		printf("%d: ", i);
		switch (rnd(8)) {
		case 0:
		case 1:
			run("output", size > 4096 ? 7 : size, flags[rnd(7)], 0, 0);
			printf("output %u %ld\n", size, result(0));
			break;
		case 2:
		case 3:
			snprintf(name, sizeof(name), "reserve_%u", size);
			run(name, flags[rnd(7)], rnd(4) == 0, rnd(256), 0);
			printf("reserve %u %ld\n", size, result(0));
			break;
		case 4:
			run("two", i, i + 1, flags[rnd(7)], 0);
			printf("two\n");
			break;
		case 5:
			run("dynptr", rnd(60), rnd(10) == 0, flags[rnd(7)], rnd(4) == 0);
			printf("dynptr");
			for (int k = 0; k < 8; k++)
				if (k != 4)
					printf(" %ld", result(k));
			printf("\n");
			break;
		case 6:
			run("local", rnd(40), rnd(10) == 0, 0, 0);
			printf("local");
			for (int k = 0; k < 7; k++)
				printf(" %ld", result(k));
			printf("\n");
			break;
		default:
			settle();
			for (unsigned n = rnd(12); n && consume(); n--)
				;
		}
		run("query", 0, 0, 0, 0);
		for (int k = 0; k < 5; k++)
			printf(" %ld", result(k));
		printf("\n");
	}
	drain_all();
}

/* One more record; flags as for output. */
static void produce(unsigned long flags)
{
	run("output", 40, flags, 0, 0);
	settle();
}

static void show(const char *what, int set, int timeout)
{
	struct epoll_event e[4];
	int n = epoll_wait(set, e, 4, timeout);

	printf("%s: %d", what, n < 0 ? -errno : n);
	for (int i = 0; i < n; i++)
		printf(" %x/%llx", e[i].events, (unsigned long long)e[i].data.u64);
	printf("\n");
}

static int ctl(int set, int op, int fd, unsigned events, unsigned long tag)
{
	struct epoll_event e = {.events = events, .data.u64 = tag};

	return epoll_ctl(set, op, fd, &e) ? -errno : 0;
}

#define PATIENT 300 /* ms, where a wake-up is due */
#define SHORT   30  /* where none is */

static void epoll_level(void)
{
	int set = epoll_create1(0), pipes[2];

	if (pipe(pipes))
		return;
	printf("add %d again %d\n", ctl(set, EPOLL_CTL_ADD, ring, EPOLLIN, 0x1234567890abcdef),
	       ctl(set, EPOLL_CTL_ADD, ring, EPOLLIN, 1));
	printf("pipe %d\n", ctl(set, EPOLL_CTL_ADD, pipes[0], EPOLLIN, 2));
	show("empty", set, SHORT);
	produce(0);
	show("one", set, PATIENT);
	show("still", set, PATIENT);
	consume();
	show("consumed", set, SHORT);
	produce(1);
	show("no wake-up", set, SHORT);
	produce(0);
	show("behind others: no wake-up", set, SHORT);
	produce(2);
	show("forced", set, PATIENT);
	consume();
	show("one less", set, PATIENT);
	drain_all();
	show("none", set, SHORT);
	if (write(pipes[1], "x", 1) == 1)
		show("pipe alone", set, PATIENT);
	produce(0);
	show("both", set, PATIENT);
	printf("mod %d\n", ctl(set, EPOLL_CTL_MOD, ring, EPOLLOUT, 7));
	show("for writing", set, SHORT);
	printf("mod %d\n", ctl(set, EPOLL_CTL_MOD, ring, EPOLLIN | EPOLLRDNORM | EPOLLPRI, 8));
	show("for more", set, PATIENT);
	printf("del %d again %d mod %d\n", ctl(set, EPOLL_CTL_DEL, ring, 0, 0),
	       ctl(set, EPOLL_CTL_DEL, ring, 0, 0), ctl(set, EPOLL_CTL_MOD, ring, EPOLLIN, 0));
	show("deleted", set, SHORT);
	printf("add a ready one %d\n", ctl(set, EPOLL_CTL_ADD, ring, EPOLLIN, 9));
	show("ready", set, PATIENT);
	drain_all();
	close(pipes[0]);
	close(pipes[1]);
	close(set);
}

static void epoll_edge(void)
{
	int set = epoll_create1(0);

	printf("edge %d\n", ctl(set, EPOLL_CTL_ADD, ring, EPOLLIN | EPOLLET, 1));
	produce(0);
	show("edge", set, PATIENT);
	show("edge again", set, SHORT);
	produce(0);
	show("more, behind", set, SHORT);
	produce(2);
	show("more, forced", set, PATIENT);
	printf("mod %d\n", ctl(set, EPOLL_CTL_MOD, ring, EPOLLIN | EPOLLET, 2));
	show("after mod", set, PATIENT);
	drain_all();
	produce(0);
	show("new", set, PATIENT);
	drain_all();
	printf("once %d\n", ctl(set, EPOLL_CTL_MOD, ring, EPOLLIN | EPOLLONESHOT, 3));
	produce(0);
	show("once", set, PATIENT);
	show("once only", set, SHORT);
	printf("mod %d\n", ctl(set, EPOLL_CTL_MOD, ring, EPOLLIN | EPOLLONESHOT, 4));
	show("armed", set, PATIENT);
	drain_all();
	printf("mod %d\n", ctl(set, EPOLL_CTL_MOD, ring, EPOLLIN | EPOLLONESHOT, 5));
	show("armed, empty", set, SHORT);
	produce(0);
	show("armed, one", set, PATIENT);
	drain_all();
	close(set);
}

static void epoll_nested(void)
{
	int inner = epoll_create1(0), outer = epoll_create1(0);

	printf("nested %d %d\n", ctl(inner, EPOLL_CTL_ADD, ring, EPOLLIN, 1),
	       ctl(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 2));
	show("outer, empty", outer, SHORT);
	produce(0);
	show("outer", outer, PATIENT);
	show("inner", inner, PATIENT);
	drain_all();
	show("outer, consumed", outer, SHORT);
	show("inner, consumed", inner, SHORT);
	close(inner);
	close(outer);
}

static void epoll_descriptors(void)
{
	int set = epoll_create1(0), copy = dup(ring), other = dup(ring), pid, status;
	struct epoll_event *nowhere = (void *)8;

	printf("a copy too %d %d\n", ctl(set, EPOLL_CTL_ADD, copy, EPOLLIN, 1),
	       ctl(set, EPOLL_CTL_ADD, other, EPOLLIN, 2));
	produce(0);
	show("both copies", set, PATIENT);
	close(copy);
	show("one closed, the file is open", set, PATIENT);
	printf("del %d %d\n", ctl(set, EPOLL_CTL_DEL, copy, 0, 0) == -EBADF,
	       ctl(set, EPOLL_CTL_DEL, other, 0, 0));
	drain_all();
	pid = fork();
	if (!pid) {
		produce(0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	settle();
	show("a child's record", set, PATIENT);
	drain_all();
	printf("errors %d %d %d %d %d\n", ctl(ring, EPOLL_CTL_ADD, ring, EPOLLIN, 0),
	       ctl(-1, EPOLL_CTL_ADD, ring, EPOLLIN, 0),
	       ctl(plain, EPOLL_CTL_ADD, ring, EPOLLIN, 0), ctl(set, 77, ring, EPOLLIN, 0),
	       epoll_ctl(set, EPOLL_CTL_MOD, ring, nowhere) ? -errno : 0);
	close(set);
}

static void ordinary_maps(void)
{
	int set = epoll_create1(0);
	struct pollfd p = {plain, POLLIN, 0};

	printf("array %d\n", ctl(set, EPOLL_CTL_ADD, plain, EPOLLIN, 1));
	show("array", set, PATIENT);
	show("array still", set, PATIENT);
	printf("poll %d", poll(&p, 1, PATIENT));
	printf(" %x\n", p.revents);
	close(set);
}

static void show_poll(const char *what, int timeout, int extra)
{
	struct pollfd p[3] = {{ring, POLLIN | POLLOUT, 0}, {extra, POLLIN, 0}, {-1, POLLIN, 0}};
	int n = poll(p, 3, timeout);

	printf("poll %s: %d %x %x\n", what, n, p[0].revents, p[1].revents);
}

static void show_select(const char *what, int ms, int extra)
{
	struct timeval tv = {0, ms * 1000};
	fd_set r, w, e;
	int n;

	FD_ZERO(&r);
	FD_SET(ring, &r);
	FD_SET(extra, &r);
	w = e = r;
	n = select((ring > extra ? ring : extra) + 1, &r, &w, &e, &tv);
	printf("select %s: %d %d%d %d%d %d%d\n", what, n, FD_ISSET(ring, &r), FD_ISSET(extra, &r),
	       FD_ISSET(ring, &w), FD_ISSET(extra, &w), FD_ISSET(ring, &e), FD_ISSET(extra, &e));
}

static void poll_and_select(void)
{
	int pipes[2], pid, status;

	if (pipe(pipes))
		return;
	show_poll("empty", SHORT, pipes[0]);
	show_select("empty", SHORT, pipes[0]);
	produce(1);
	show_poll("silent record", PATIENT, pipes[0]);
	show_select("silent record", PATIENT, pipes[0]);
	if (write(pipes[1], "x", 1) != 1)
		return;
	show_poll("both", PATIENT, pipes[0]);
	show_select("both", PATIENT, pipes[0]);
	drain_all();
	show_poll("pipe", PATIENT, pipes[0]);
	show_select("pipe", PATIENT, pipes[0]);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		usleep(50000);
		run("output", 8, 0, 0, 0);
		_exit(0);
	}
	show_poll("woken", 5000, pipes[1] + 100);
	waitpid(pid, &status, 0);
	drain_all();
	fflush(stdout);
	pid = fork();
	if (!pid) {
		usleep(50000);
		run("output", 8, 0, 0, 0);
		_exit(0);
	}
	{
		struct pollfd p = {ring, POLLIN, 0};
		struct timespec t = {5, 0};
		int n = ppoll(&p, 1, &t, NULL);

		printf("ppoll: %d %x\n", n, p.revents);
	}
	waitpid(pid, &status, 0);
	drain_all();
	close(pipes[0]);
	close(pipes[1]);
}

static void mapped(const char *what, int fd, long off, size_t len, int prot, int flags)
{
	void *p = mmap(NULL, len, prot, flags, fd, off);

	printf("mmap %s: %d", what, p == MAP_FAILED ? errno : 0);
	if (p != MAP_FAILED) {
		printf(" rw %d", mprotect(p, len, PROT_READ | PROT_WRITE) ? errno : 0);
		munmap(p, len);
	}
	printf("\n");
}

static void mappings(const char *name, int fd)
{
	const int rw = PROT_READ | PROT_WRITE;

	printf("%s\n", name);
	mapped("consumer rw", fd, 0, 4096, rw, MAP_SHARED);
	mapped("consumer r", fd, 0, 4096, PROT_READ, MAP_SHARED);
	mapped("consumer and producer rw", fd, 0, 8192, rw, MAP_SHARED);
	mapped("producer r", fd, 4096, 4096, PROT_READ, MAP_SHARED);
	mapped("producer rw", fd, 4096, 4096, rw, MAP_SHARED);
	mapped("producer and data r", fd, 4096, 4096 + 2 * SIZE, PROT_READ, MAP_SHARED);
	mapped("producer and data rw", fd, 4096, 4096 + 2 * SIZE, rw, MAP_SHARED);
	mapped("beyond", fd, 4096, 8192 + 2 * SIZE, PROT_READ, MAP_SHARED);
	mapped("all", fd, 0, 8192 + 2 * SIZE, PROT_READ, MAP_SHARED);
	mapped("data rw", fd, 8192, 4096, rw, MAP_SHARED);
	mapped("far", fd, 409600, 4096, PROT_READ, MAP_SHARED);
	mapped("private", fd, 0, 4096, PROT_READ, MAP_PRIVATE);
	mapped("exec", fd, 0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED);
	mapped("write only", fd, 0, 4096, PROT_WRITE, MAP_SHARED);
	mapped("small", fd, 0, 100, rw, MAP_SHARED);
}

static int made(int type, unsigned key, unsigned value, unsigned entries, unsigned flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create(type, NULL, key, value, entries, &opts);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? -errno : 0;
}

static void definitions(int type)
{
	for (unsigned bit = 0; bit < 20; bit++)
		printf(" %d", made(type, 0, 0, 4096, 1u << bit));
	printf("\n%d %d %d %d %d %d %d\n", made(type, 4, 0, 4096, 0), made(type, 0, 4, 4096, 0),
	       made(type, 0, 0, 0, 0), made(type, 0, 0, 100, 0), made(type, 0, 0, 12288, 0),
	       made(type, 0, 0, 65536, 0), made(type, 0, 0, 2048, 0));
}

static void commands(int fd)
{
	struct bpf_map_info info = {0};
	unsigned len = sizeof(info);
	char key[8] = {0}, value[8] = {0};

	printf("lookup %d %d\n", bpf_map_lookup_elem(fd, key, value),
	       bpf_map_lookup_elem(fd, NULL, value));
	printf("update %d %d\n", bpf_map_update_elem(fd, key, value, 0),
	       bpf_map_update_elem(fd, NULL, value, 0));
	printf("delete %d %d\n", bpf_map_delete_elem(fd, key), bpf_map_delete_elem(fd, NULL));
	printf("next %d %d\n", bpf_map_get_next_key(fd, key, value),
	       bpf_map_get_next_key(fd, NULL, value));
	printf("take %d %d\n", bpf_map_lookup_and_delete_elem(fd, key, value),
	       bpf_map_lookup_and_delete_elem(fd, NULL, value));
	len = sizeof(info);
	printf("info %d", bpf_obj_get_info_by_fd(fd, &info, &len));
	printf(" %u %u %u %u %x\n", info.type, info.key_size, info.value_size, info.max_entries,
	       info.map_flags);
}

static int taken(void *ctx, void *bytes, size_t size)
{
	printf(" %zu", size);
	return --*(int *)ctx ? 0 : -77;
}

/* libbpf's own reader: all, then one that stops early. */
static void libbpf_reader(void)
{
	int left = 1000;
	struct ring_buffer *rb = ring_buffer__new(ring, taken, &left, NULL);

	if (!rb) {
		printf("no ring_buffer\n");
		return;
	}
	printf("poll %d\n", ring_buffer__poll(rb, SHORT));
	for (int i = 0; i < 10; i++)
		run("output", 40 + i, 0, 0, 0);
	settle();
	printf(" poll %d\n", ring_buffer__poll(rb, PATIENT));
	for (int i = 0; i < 10; i++)
		run("output", 40 + i, 0, 0, 0);
	settle();
	left = 4;
	printf(" poll %d\n", ring_buffer__poll(rb, PATIENT));
	left = 1000;
	printf(" consume %d\n", ring_buffer__consume(rb));
	printf(" poll %d\n", ring_buffer__poll(rb, SHORT));
	ring_buffer__free(rb);
}

static void drain(unsigned long flags, long stop)
{
	run("drain", flags, stop, 0, 0);
	printf("drain %ld sum %ld seen %ld\n", result(0), result(1), result(2));
}

static void user_rings(void)
{
	struct user_ring_buffer *rb = user_ring_buffer__new(user, NULL);
	volatile unsigned long *uc = mmap(NULL, 4096, PROT_READ, MAP_SHARED, user, 0);
	unsigned char *up =
		mmap(NULL, 4096 + 2 * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, user, 4096);
	volatile unsigned long *pos = (void *)up;
	int set = epoll_create1(0), n = 0;
	unsigned long *p;

	if (!rb || uc == MAP_FAILED || up == MAP_FAILED) {
		printf("no user ring\n");
		return;
	}
	printf("add %d\n", ctl(set, EPOLL_CTL_ADD, user, EPOLLOUT | EPOLLIN, 5));
	show("room", set, PATIENT);
	drain(0, 100);
	for (int round = 0; round < 40; round++) {
		for (unsigned i = 0; i < rnd(5); i++) {
			unsigned size = 8 + rnd(300);

			p = user_ring_buffer__reserve(rb, size);
			if (!p) {
				printf("full %d\n", errno);
				break;
			}
			*p = i + 1;
			if (rnd(5))
				user_ring_buffer__submit(rb, p);
			else
				user_ring_buffer__discard(rb, p);
		}
		drain(rnd(5), 1 + rnd(4));
		printf("positions %lu %lu\n", *uc, *pos);
	}
	drain(0, 1000);
	while ((p = user_ring_buffer__reserve(rb, 120))) {
		*p = 1;
		user_ring_buffer__submit(rb, p);
		n++;
	}
	printf("filled %d errno %d\n", n, errno);
	/* one less than full: to the kernel there is room as long as not every byte is taken */
	show("full", set, PATIENT);
	drain(0, 3);
	show("room again", set, PATIENT);
	drain(0, 1000);
	/* a tool that writes nonsense */
	{
		unsigned *header = (unsigned *)(up + 4096 + (*uc & (SIZE - 1)));
		unsigned long at = *uc;

		*pos = at + 4;
		drain(0, 9);
		*header = 100;
		*pos = at + 16;
		drain(0, 9);
		*header = 5000;
		*pos = at + 80000;
		drain(0, 9);
		*header = 0x80000008;
		*pos = at + 16;
		drain(0, 9);
		*header = 0x40000008;
		drain(0, 9);
		printf("positions %lu %lu\n", *uc - at, *pos - at);
		*pos = *uc;
	}
	user_ring_buffer__free(rb);
	close(set);
}

int main(int argc, char **argv)
{
	unsigned char *page;

	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	obj = argc >= 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	if (!obj || bpf_object__load(obj))
		return 77;
	ring = fd_of("ring");
	user = fd_of("user_ring");
	results = fd_of("results");
	plain = fd_of("bytes");
	cons = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0);
	page = mmap(NULL, 4096 + 2 * SIZE, PROT_READ, MAP_SHARED, ring, 4096);
	if (cons == MAP_FAILED || page == MAP_FAILED)
		return 78;
	prod = (void *)page;
	data = page + 4096;
	definitions(BPF_MAP_TYPE_RINGBUF);
	definitions(BPF_MAP_TYPE_USER_RINGBUF);
	mappings("ring", ring);
	mappings("user ring", user);
	commands(ring);
	commands(user);
	random_ops(argc > 2 ? atoi(argv[2]) : 3000);
	epoll_level();
	epoll_edge();
	epoll_nested();
	epoll_descriptors();
	ordinary_maps();
	poll_and_select();
	libbpf_reader();
	user_rings();
	return 0;
}
