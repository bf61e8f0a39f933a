// SPDX-License-Identifier: MIT
/*
 * A target that does what limpet might get in the way of, and says what came of it. usage: behave
 * WHAT It calls target_function until a line comes on its standard input, does WHAT, waits for
 * another line (so that probes can come and go in between), and checks once more. No output depends
 * on numbers the system chooses.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char **arguments;
static _Atomic int quit;

__attribute__((noinline)) int target_function(int input_value, const char *msg)
{
	__asm__ volatile("" : "+r"(input_value));
	return input_value * 2;
}

__attribute__((noinline)) void secondary_function(void)
{
	__asm__ volatile("");
}

static int call(void)
{
	int good = 1;

	for (int i = 1; i <= 50; i++)
		good &= target_function(i, "call") == 2 * i;
	secondary_function();
	return good;
}

static void say(const char *what, long result)
{
	printf("%s: %ld%s%s\n", what, result, result < 0 ? " " : "",
	       result < 0 ? strerror(errno) : "");
	fflush(stdout);
}

static void wait_line(void)
{
	struct pollfd p = {.fd = 0, .events = POLLIN};
	char c = 0;

	while (c != '\n') {
		call();
		if (poll(&p, 1, 1) > 0 && read(0, &c, 1) != 1)
			_exit(9);
	}
}

static int status_of(pid_t pid)
{
	int status = -1;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void do_setuid(void)
{
	say("setgid", setgid(65534));
	say("setuid", setuid(65534));
	say("back", setuid(0));
	say("open shadow", open("/etc/shadow", O_RDONLY) < 0 ? -1 : 0);
}

static void do_capset(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}}, now[2];

	say("capset", syscall(SYS_capset, &h, none));
	say("capget", syscall(SYS_capget, &h, now));
	say("effective", (long)(now[0].effective | now[1].effective));
	say("sethostname", sethostname("x", 1));
}

static void do_unshare(void)
{
	say("unshare user", unshare(CLONE_NEWUSER));
	say("uid", (long)getuid());
	say("unshare mount", unshare(CLONE_NEWNS));
}

static void *spin(void *arg)
{
	sigset_t all;

	if (arg) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
	}
	while (!quit) {
		if (!call())
			say("wrong result in a thread", 1);
		usleep(200);
	}
	/* After seccomp(TSYNC): the filter is this thread's too. */
	return (void *)(long)(syscall(SYS_getppid) < 0 ? errno : 0);
}

static void filter_install(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socketpair, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvmsg, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 71),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

	say("no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	say("seccomp",
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog));
	say("getppid", syscall(SYS_getppid));
}

static pthread_t others[3];

static void threads_start(void *arg)
{
	for (int i = 0; i < 3; i++)
		pthread_create(&others[i], NULL, spin, arg);
}

static void threads_end(void)
{
	quit = 1;
	for (int i = 0; i < 3; i++) {
		void *r;

		pthread_join(others[i], &r);
		if (i == 0)
			say("a thread's getppid", (long)r);
	}
}

static void do_seccomp(void)
{
	threads_start(NULL);
	filter_install();
	wait_line();
	threads_end();
}

static void do_blocked(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	threads_start(&all);
	wait_line();
	threads_end();
	pthread_sigmask(SIG_SETMASK, NULL, &all);
	say("SIGTRAP blocked", sigismember(&all, SIGTRAP));
}

static void do_fork(void)
{
	pid_t pid = fork();

	if (!pid) {
		int good = call();

		usleep(20000);
		_exit(good && call() ? 33 : 1);
	}
	say("fork", status_of(pid));
	say("system", system("exit 7"));
}

static void do_vfork(void)
{
	pid_t pid = vfork();

	if (!pid) {
		struct timespec ms = {.tv_nsec = 100000000};

		call();
		syscall(SYS_nanosleep, &ms, NULL);
		call();
		_exit(34);
	}
	say("vfork", status_of(pid));
	pid = vfork();
	if (!pid) {
		execl("/bin/sh", "sh", "-c", "exit 35", NULL);
		_exit(1);
	}
	say("vfork and exec", status_of(pid));
}

static void do_spawn(void)
{
	char *argv[] = {"sh", "-c", "exit 36", NULL};
	pid_t pid;

	say("posix_spawn", posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ));
	say("status", status_of(pid));
	say("posix_spawn of nothing", posix_spawn(&pid, "/nonexistent", NULL, NULL, argv, environ));
}

static void *outlive(void *arg)
{
	usleep(20000);
	wait_line();
	say("alive without a main thread", call());
	exit(37);
}

static void do_exit_main(void)
{
	pthread_t t;

	pthread_create(&t, NULL, outlive, NULL);
	syscall(SYS_exit, 0);
}

static void do_chroot(void)
{
	say("chroot", chroot("/usr"));
	say("chdir", chdir("/"));
	say("access /usr", access("/usr", F_OK));
	say("access /proc/self", access("/proc/self", F_OK));
	say("access /bin", access("/bin", F_OK));
}

static void do_execve(void)
{
	char *argv[] = {arguments[0], "after_exec", NULL};

	execve("/proc/self/exe", argv, environ);
	say("execve", -1);
}

static void do_execve_threads(void)
{
	threads_start(NULL);
	do_execve();
}

static void nothing(void)
{
}

static void do_dumpable(void)
{
	say("dumpable", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	say("mem", open("/proc/self/mem", O_RDONLY) < 0 ? -1 : 0);
}

static void do_mdwe(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	say("mdwe", prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0));
	say("mprotect", mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static void do_descriptors(void)
{
	struct sigaction sa;
	long handled = 0;
	int next = dup(0);

	close(next);
	say("next descriptor", next);
	for (int sig = 1; sig < 65; sig++)
		if (!sigaction(sig, NULL, &sa) && sa.sa_handler != SIG_DFL)
			handled++;
	say("dispositions", handled);
	say("errno", errno);
	say("close_range", (long)syscall(SYS_close_range, 3, ~0u, 0));
}

static const struct {
	const char *name;
	void (*fn)(void);
} all[] = {
	{"setuid", do_setuid},       {"capset", do_capset},
	{"unshare", do_unshare},     {"seccomp", do_seccomp},
	{"blocked", do_blocked},     {"fork", do_fork},
	{"vfork", do_vfork},         {"spawn", do_spawn},
	{"exit_main", do_exit_main}, {"chroot", do_chroot},
	{"execve", do_execve},       {"execve_threads", do_execve_threads},
	{"after_exec", nothing},     {"dumpable", do_dumpable},
	{"mdwe", do_mdwe},           {"descriptors", do_descriptors},
};

int main(int argc, char **argv)
{
	arguments = argv;
	if (argc != 2)
		return 2;
	say("begin", 0);
	wait_line();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!strcmp(all[i].name, argv[1]))
			all[i].fn();
	say("done", call());
	wait_line();
	say("end", call());
	return 38;
}
