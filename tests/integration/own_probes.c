/* SPDX-License-Identifier: MIT */
/*
 * A tool that probes itself, by a skeleton, as libbpf's examples do, and then forks, executes and waits: prints what
 * its programs counted, the same on the kernel and with limpet (tool_own_probes.py).
 */
#include <errno.h>
#include <libelf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "own_probes.skel.h"

static struct own_probes_bpf *k;
static volatile int made, ends;

__attribute__((noinline)) int work(int a, int b)
{
	made += a;
	return a * 2 + b;
}

__attribute__((noinline)) int drain(int n)
{
	made += n;
	return made;
}

__attribute__((noinline)) void point(long a, short b, const char *c)
{
	DTRACE_PROBE3(own, point, a, b, c[0]);
}

static void on_end(int sig)
{
	ends++;
}

static void seen(const char *when)
{
	static long all, mine, returned;

	printf("%s: all %ld mine %ld returned %ld\n", when, k->bss->all - all, k->bss->mine - mine, k->bss->returned - returned);
	all = k->bss->all;
	mine = k->bss->mine;
	returned = k->bss->returned;
}

static struct bpf_link *on(struct bpf_program *p, int pid, const char *function, bool ret)
{
	LIBBPF_OPTS(bpf_uprobe_opts, o, .func_name = function, .retprobe = ret);

	return bpf_program__attach_uprobe_opts(p, pid, "/proc/self/exe", 0, &o);
}

static void attach(void)
{
	LIBBPF_OPTS(bpf_usdt_opts, o, .usdt_cookie = 1000);

	k->links.on_all = on(k->progs.on_all, -1, "work", false);
	work(1, 1);
	seen("after the first link");
	k->links.on_mine = on(k->progs.on_mine, 0, "work", false);
	work(1, 1);
	seen("after the second");
	k->links.on_return = on(k->progs.on_return, -1, "work", true);
	work(1, 1);
	seen("after the third");
	k->links.on_drain = on(k->progs.on_drain, 0, "drain", false);
	k->links.on_usdt = bpf_program__attach_usdt(k->progs.on_usdt, getpid(), "/proc/self/exe", "own", "point", &o);
	printf("links %d %d %d %d %d\n", !!k->links.on_all, !!k->links.on_mine, !!k->links.on_return, !!k->links.on_drain,
	       !!k->links.on_usdt);
	/* none of what making a target took is to be seen */
	printf("children: %d", (int)wait(NULL));
	printf(" %s, ends %d\n", errno == ECHILD ? "none" : "some", ends);
}

static void *ask(void *arg)
{
	for (int i = 0; i < 10; i++)
		getppid();
	return NULL;
}

/* Links for all processes, on system calls and a library, whose programs have this process's pid. */
static void as_all_do(void)
{
	LIBBPF_OPTS(bpf_uprobe_opts, o, .func_name = "elf_version");
	pthread_t t;

	k->links.on_call = bpf_program__attach(k->progs.on_call);
	k->links.on_library = bpf_program__attach_uprobe_opts(k->progs.on_library, -1, "libelf.so.1", 0, &o);
	ask(NULL);
	syscall(SYS_getppid);
	pthread_create(&t, NULL, ask, NULL);
	pthread_join(t, NULL);
	elf_version(EV_NONE);
	elf_version(EV_NONE);
	printf("links %d %d: %ld calls, %ld versions\n", !!k->links.on_call, !!k->links.on_library, k->bss->calls,
	       k->bss->versions);
}

static void memory(void)
{
	k->data->weight = 100;
	work(2, 2);
	seen("with another weight");
	k->data->weight = 1;
	for (long i = 0; i < 5; i++)
		point(i, (short)-i, "abc");
	printf("usdt: %ld hits, %ld arguments, sum %ld, cookies %ld\n", k->bss->usdt_hits, k->bss->usdt_count,
	       k->bss->usdt_sum, k->bss->usdt_cookie);
}

static void commands(void)
{
	struct user_ring_buffer *rb = user_ring_buffer__new(bpf_map__fd(k->maps.commands), NULL);
	long *room;

	if (!rb)
		return;
	for (long round = 0; round < 3; round++) {
		for (long i = 1; i <= 10; i++) {
			room = user_ring_buffer__reserve(rb, sizeof(*room));
			*room = i;
			if (i == 7)
				user_ring_buffer__discard(rb, room);
			else
				user_ring_buffer__submit(rb, room);
		}
		drain(1);
	}
	printf("drained %ld\n", k->bss->drained);
	for (errno = 0; (room = user_ring_buffer__reserve(rb, 1000)); errno = 0)
		user_ring_buffer__submit(rb, room);
	printf("full: errno %d\n", errno);
	drain(1);
	room = user_ring_buffer__reserve_blocking(rb, 1000, 1000);
	printf("after draining there is room: %d\n", !!room);
	user_ring_buffer__discard(rb, room);
	user_ring_buffer__free(rb);
}

static void *thread(void *arg)
{
	for (int i = 0; i < 100; i++)
		work(1, 0);
	return NULL;
}

static void processes(void)
{
	char line[16] = "";
	pthread_t t[4];
	int status;
	pid_t pid;
	FILE *f;

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, thread, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	seen("threads");
	pid = fork();
	if (!pid) {
		work(3, 3);
		_exit(7);
	}
	waitpid(pid, &status, 0);
	seen("a forked child");
	printf("it ended with %d\n", WEXITSTATUS(status));
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); /* no handlers of libc's run */
	if (!pid) {
		work(4, 4);
		syscall(SYS_exit_group, 8);
	}
	waitpid(pid, &status, 0);
	seen("a cloned child");
	printf("it ended with %d\n", WEXITSTATUS(status));
	f = popen("echo said", "r");
	if (f && fgets(line, sizeof(line), f))
		printf("popen: %s", line);
	printf("pclose: %d, system: %d\n", f ? pclose(f) : -1, WEXITSTATUS(system("exit 9")));
	work(5, 5);
	seen("after them");
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	signal(SIGCHLD, on_end);
	libbpf_set_print(NULL);
	k = own_probes_bpf__open();
	if (!k)
		return 1;
	k->rodata->factor = 3;
	k->bss->my_pid = getpid();
	if (own_probes_bpf__load(k))
		return 1;
	work(9, 9);
	seen("before");
	as_all_do();
	attach();
	memory();
	commands();
	processes();
	bpf_link__destroy(k->links.on_mine);
	k->links.on_mine = NULL;
	work(6, 6);
	seen("one link less");
	own_probes_bpf__detach(k);
	work(7, 7);
	seen("detached");
	k->links.on_all = on(k->progs.on_all, -1, "work", false);
	work(8, 8);
	seen("attached again");
	own_probes_bpf__destroy(k);
	printf("made %d\n", made > 0);
	return 0;
}
