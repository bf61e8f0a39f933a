/* SPDX-License-Identifier: MIT */
/*
 * A target of many kinds: kinds_target IN OUT KIND ... Makes itself what the KINDs say, in this order, then writes
 * a line to OUT (a fifo, as IN is), and for every number read from IN calls probed() so many times.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int in, out;
static int (*volatile call)(int);

__attribute__((noinline)) int probed(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

static void serve(void)
{
	char line[64];
	ssize_t n;

	if (write(out, "ready\n", 6) != 6)
		_exit(3);
	while ((n = read(in, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		for (int i = 0, to = atoi(line); i < to; i++)
			call(i);
		if (write(out, "done\n", 5) != 5)
			_exit(3);
	}
	_exit(0);
}

static void *serve_in_thread(void *arg)
{
	serve();
	return arg;
}

static void *rest(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void closed(void)
{
	close(0);
	close(1);
	close(2);
}

static void chrooted(void)
{
	if (chroot("/sys/kernel") || chdir("/"))
		_exit(4);
}

static void address_space(void)
{
	struct rlimit r = {0};
	char line[64];
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f || !fgets(line, sizeof(line), f))
		_exit(4);
	fclose(f);
	r.rlim_cur = r.rlim_max = strtoul(line, NULL, 10) * 4096 + (1 << 20);
	setrlimit(RLIMIT_AS, &r);
}

static void few_files(void)
{
	int fd = dup(0);
	struct rlimit r = {(rlim_t)fd, (rlim_t)fd};

	close(fd);
	setrlimit(RLIMIT_NOFILE, &r);
}

static void no_exec_gain(void)
{
	if (prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0))
		_exit(77);
}

static void undumpable(void)
{
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void nobody(void)
{
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		_exit(4);
}

static void blocked(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

/* Only what serve() does is allowed; anything else fails with EPERM, or kills. */
static void filtered(unsigned action)
{
	static const int allowed[] = {SYS_read, SYS_write, SYS_exit_group, SYS_rt_sigreturn,
				      SYS_restart_syscall};
	enum { N = sizeof(allowed) / sizeof(allowed[0]) };
	struct sock_filter f[N + 3] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	struct sock_fprog p = {N + 3, f};

	for (unsigned i = 0; i < N; i++)
		f[i + 1] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], (unsigned char)(N - i), 0);
	f[N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	f[N + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
		_exit(77);
}

static void filter_errno(void)
{
	filtered(SECCOMP_RET_ERRNO | EPERM);
}

static void filter_kill(void)
{
	filtered(SECCOMP_RET_KILL_PROCESS);
}

static void strict(void)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		_exit(77);
}

static void main_ends(void)
{
	pthread_t t;

	pthread_create(&t, NULL, serve_in_thread, NULL);
	pthread_exit(NULL);
}

static void threads(void)
{
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 32768);
	for (int i = 0; i < 2000; i++)
		if (pthread_create(&t, &a, rest, NULL))
			_exit(77);
}

static void new_pids(void)
{
	if (unshare(CLONE_NEWPID | CLONE_NEWNS))
		_exit(77);
	if (fork())
		_exit(wait(NULL) < 0);
}

static void new_user(void)
{
	if (unshare(CLONE_NEWUSER))
		_exit(77);
}

static void on_small_stack(int sig)
{
	(void)sig;
	serve();
}

/* As little as the kernel takes, and a function's frame. */
static void small_stack(void)
{
	stack_t st = {.ss_size = 8192};
	struct sigaction sa = {.sa_handler = on_small_stack, .sa_flags = SA_ONSTACK};

	st.ss_sp =
		mmap(NULL, st.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect((char *)st.ss_sp - 4096, 4096, PROT_NONE);
	if (sigaltstack(&st, NULL) || sigaction(SIGUSR1, &sa, NULL))
		_exit(4);
	raise(SIGUSR1);
}

static const struct {
	const char *name;
	void (*become)(void);
} kinds[] = {
	{"closed", closed},      {"chroot", chrooted},   {"as", address_space},
	{"nofile", few_files},   {"mdwe", no_exec_gain}, {"undumpable", undumpable},
	{"nobody", nobody},      {"blocked", blocked},   {"filter", filter_errno},
	{"kill", filter_kill},   {"strict", strict},     {"main-ends", main_ends},
	{"threads", threads},    {"pids", new_pids},     {"user", new_user},
	{"signal", small_stack},
};

int main(int argc, char **argv)
{
	call = probed;
	if (argc < 3)
		return 2;
	in = open(argv[1], O_RDONLY);
	out = open(argv[2], O_WRONLY);
	for (int i = 3; i < argc; i++)
		for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
			if (!strcmp(argv[i], kinds[k].name))
				kinds[k].become();
	serve();
}
