/* SPDX-License-Identifier: MIT */
/*
 * A tool that probes itself from several threads at once: some call functions that call each other to a random depth,
 * some link programs to random functions and close the links, some map and unmap the program's text, some make
 * children, which hold the links for a moment and then execute the same program. Fails where a function's result is
 * not what it should be, a child does not end well, or nothing was counted.
 *
 * usage: own_stress SECONDS
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "own_stress.skel.h"

#define UPROBE_MULTI 48 /* enum bpf_attach_type */
#define DEPTH        72
#define LINKS        5
#define PROBES       10
#define CHILDREN     10

/* The part of union bpf_attr that BPF_LINK_CREATE takes here. */
struct link_create {
	__u32 prog_fd, target_fd, attach_type, flags;
	__u64 path, offsets, ref_ctr_offsets, cookies;
	__u32 cnt, multi_flags, pid, pad;
};

static struct own_stress_bpf *k;
static _Atomic bool stop;
static _Atomic long calls, links, children, wrong;
static __thread unsigned int seed;

static int below(int n)
{
	seed = seed * 1103515245 + 12345;
	return (int)(seed >> 16) % n;
}

static int deeper(int depth);

#define FUNCTION(n)                                                                                \
	__attribute__((noinline)) int f##n(int depth)                                              \
	{                                                                                          \
		return 1 + deeper(depth);                                                          \
	}
FUNCTION(0) FUNCTION(1) FUNCTION(2) FUNCTION(3) FUNCTION(4) FUNCTION(5) FUNCTION(6) FUNCTION(7)

static int (*const functions[])(int) = {f0, f1, f2, f3, f4, f5, f6, f7};
#define FUNCTIONS (int)(sizeof(functions) / sizeof(functions[0]))
static unsigned long offsets[FUNCTIONS];

static int deeper(int depth)
{
	return depth <= 0 ? 0 : functions[below(FUNCTIONS)](depth - 1);
}

static void call_some(void)
{
	int depth = below(DEPTH);

	wrong += deeper(depth) != depth;
	calls += depth;
}

static void *caller(void *arg)
{
	seed = (unsigned int)(long)arg;
	while (!stop)
		call_some();
	return NULL;
}

static int make_link(void)
{
	int count = 1 + below(PROBES), ret = below(2);
	unsigned long at[PROBES];
	struct link_create attr = {.prog_fd = (__u32)bpf_program__fd(ret ? k->progs.on_return : k->progs.on_entry),
				   .attach_type = UPROBE_MULTI,
				   .path = (unsigned long)"/proc/self/exe",
				   .offsets = (unsigned long)at,
				   .cnt = (__u32)count,
				   .multi_flags = (__u32)ret,
				   .pid = below(2) ? (__u32)getpid() : 0};

	for (int i = 0; i < count; i++)
		at[i] = offsets[below(FUNCTIONS)];
	return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

static void *linker(void *arg)
{
	int fds[LINKS], n = 0;

	seed = (unsigned int)(long)arg;
	while (!stop) {
		int what = below(3);

		if (!what && n < LINKS) {
			fds[n] = make_link();
			if (fds[n] < 0)
				wrong++;
			else
				n++;
			links++;
		} else if (what == 1 && n) {
			close(fds[--n]);
		} else {
			usleep((useconds_t)below(25000));
		}
	}
	while (n)
		close(fds[--n]);
	return NULL;
}

static void *mapper(void *arg)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	seed = (unsigned int)(long)arg;
	while (!stop) {
		off_t at = (off_t)(offsets[below(FUNCTIONS)] & ~4095UL);
		void *p = mmap(NULL, 8192, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, at);

		usleep((useconds_t)below(1000));
		munmap(p, 8192);
	}
	close(fd);
	return NULL;
}

static void reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "a child ended with %#x\n", status);
		wrong++;
	}
}

static void *parent(void *arg)
{
	pid_t pids[CHILDREN];
	int n = 0;

	seed = (unsigned int)(long)arg;
	while (!stop) {
		if (n == CHILDREN || (n && below(2))) {
			reap(pids[--n]);
			continue;
		}
		pids[n] = fork();
		if (!pids[n]) {
			usleep((useconds_t)below(3000));
			execl("/proc/self/exe", "own_stress", "child", (char *)NULL);
			_exit(9);
		}
		n += pids[n] > 0;
		children++;
		usleep((useconds_t)below(20000));
	}
	while (n)
		reap(pids[--n]);
	return NULL;
}

static int be_child(void)
{
	seed = (unsigned int)getpid();
	for (int i = 0; i < 1000; i++)
		call_some();
	return wrong ? 7 : 0;
}

static bool find_offsets(void)
{
	size_t start, end, off;
	char flags[8];
	FILE *f = fopen("/proc/self/maps", "re");
	bool found = false;

	while (f && fscanf(f, "%zx-%zx %7s %zx %*[^\n]\n", &start, &end, flags, &off) == 4)
		for (int i = 0; i < FUNCTIONS; i++)
			if ((size_t)functions[i] >= start && (size_t)functions[i] < end) {
				offsets[i] = (size_t)functions[i] - start + off;
				found = true;
			}
	if (f)
		fclose(f);
	return found;
}

int main(int argc, char **argv)
{
	static void *(*const work[])(void *) = {caller, linker, mapper, parent};
	pthread_t t[8];

	if (argc != 2)
		return 2;
	if (!strcmp(argv[1], "child"))
		return be_child();
	libbpf_set_print(NULL);
	k = own_stress_bpf__open();
	if (!k || !find_offsets())
		return 1;
	bpf_program__set_expected_attach_type(k->progs.on_entry, UPROBE_MULTI);
	bpf_program__set_expected_attach_type(k->progs.on_return, UPROBE_MULTI);
	if (own_stress_bpf__load(k))
		return 1;
	for (long i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, work[i % 4], (void *)(i + 1));
	sleep((unsigned int)atoi(argv[1]));
	stop = true;
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	printf("%ld calls, %ld links, %ld children, %ld entries, %ld returns, wrong: %ld\n", calls, links, children, k->bss->entries,
	       k->bss->returns, wrong);
	return wrong || !k->bss->entries || !k->bss->returns || !links || !children;
}
