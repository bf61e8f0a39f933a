/* SPDX-License-Identifier: MIT */
/* Scenes of one thread: reads, default actions, handlers, a collector that lives on faults, ignoring. */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include "target.h"

/* A page of a file that has no bytes there: touching it is SIGBUS. */
static char *beyond_file(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	char *p;

	if (fd < 0 || ftruncate(fd, 100))
		_exit(8);
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

void scene_reads(void)
{
	char *p = pages(3, PROT_READ | PROT_WRITE), *file = beyond_file();
	char *guard = p + 2 * PAGE;
	static const char constant[16] = "constant";

	munmap(guard, PAGE);
	memset(p, 'p', 2 * PAGE);
	memcpy(guard - 8, "lastword", 8);
	for (int turn = 0; turn < 3; turn++) {
		expect("word", p, LOOK_WORD, 0, "pppppppp");
		expect("last word", guard - 8, LOOK_WORD, 0, "lastword");
		expect("half beyond", guard - 4, LOOK_WORD, -EFAULT, "\0\0\0\0\0\0\0");
		expect("unmapped", guard, LOOK_WORD, -EFAULT, "\0\0\0\0\0\0\0");
		expect("NULL", NULL, LOOK_WORD, -EFAULT, NULL);
		expect("one", (void *)1, LOOK_STR, -EFAULT, NULL);
		expect("kernel", (void *)0xffffffff81000000UL, LOOK_WORD, -EFAULT, NULL);
		expect("no address", (void *)0x8000000000000UL, LOOK_WORD, -EFAULT, NULL);
		expect("no address either", (void *)0x7ffffffffff8UL, LOOK_WORD, -EFAULT, NULL);
		expect("low", (void *)0x10000UL, LOOK_WORD, -EFAULT, NULL);
		expect("kilobyte", guard - LOOK_BIG, LOOK_BIG, 0, "lastword");
		expect("kilobyte beyond", guard - LOOK_BIG + 1, LOOK_BIG, -EFAULT, NULL);
		expect("file", file, LOOK_WORD, 0, NULL);
		expect("beyond file", file + PAGE, LOOK_WORD, -EFAULT, NULL);
		expect("string", constant, LOOK_STR, 9, "constant");
		expect("string without end", guard - 8, LOOK_STR, -EFAULT, NULL);
		expect("long string", p, LOOK_STR, 64, NULL);
		expect("store", p + 64, LOOK_STORE, 0, "written");
		expect("store to a constant", constant, LOOK_STORE, -EFAULT, NULL);
		expect("store nowhere", guard, LOOK_STORE, -EFAULT, NULL);
		expect("store beyond file", file + PAGE, LOOK_STORE, -EFAULT, NULL);
		if (probed && memcmp(p + 64, "written", 8))
			fail("what was stored is not there");
		p[64] = 'p';
		memset(p + 64, 'p', 8);
	}
	for (unsigned long n = 0; n < 40; n++) {
		memcpy(guard - 1 - n, "a string at the very end of its page: all lengths", n);
		guard[-1] = 0;
		expect("string at the end", guard - 1 - n, LOOK_STR, (long)n + 1, guard - 1 - n);
	}
	mprotect(p, PAGE, PROT_NONE);
	expect("protected", p, LOOK_WORD, -EFAULT, NULL);
	expect("in front of it", p + PAGE - 4, LOOK_WORD, -EFAULT, NULL);
	munmap(p, 2 * PAGE);
	munmap(file, 2 * PAGE);
}

static char *no_page;
static volatile char sink;

static void touch(void)
{
	sink = *(volatile char *)no_page;
}

static void touch_file(void)
{
	sink = *(volatile char *)(beyond_file() + PAGE);
}

static void send_self(void)
{
	kill(getpid(), SIGSEGV);
}

static void queue_self(void)
{
	sigqueue(getpid(), SIGBUS, (union sigval){.sival_int = 7});
}

static void wild_jump(void)
{
	((void (*)(void))(uintptr_t)0x1234567)();
}

static int overflow(volatile int n)
{
	volatile char room[512];

	room[n & 511] = 1;
	return n < 0 ? 0 : overflow(n + 1) + room[7];
}

static void overflows(void)
{
	overflow(0);
}

static void no_canonical(void)
{
	sink = *(volatile char *)0x8000000000000UL;
}

/* How a child ends, and the last signal that its tracer sees: which, with which information, where. */
static void last_signal(const char *what, void (*crash)(void))
{
	siginfo_t info = {0};
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct look_result r = look_at(no_page, LOOK_WORD);

		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		crash();
		_exit(r.result ? 1 : 2);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		int sig = WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);

		if (sig)
			ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
		ptrace(PTRACE_CONT, pid, 0, sig);
	}
	say("%s: %s %d, si_code %d, si_addr %s", what, WIFSIGNALED(status) ? "killed by" : "exits",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), info.si_code,
	    info.si_code <= 0         ? "-"
	    : info.si_addr == no_page ? "the page"
				      : "elsewhere");
}

void scene_default(void)
{
	int status;

	no_page = pages(1, PROT_NONE);
	last_signal("touch", touch);
	last_signal("beyond a file", touch_file);
	last_signal("kill", send_self);
	last_signal("sigqueue", queue_self);
	last_signal("wild jump", wild_jump);
	last_signal("no canonical address", no_canonical);
	munmap(no_page, PAGE);
	if (!fork())
		overflows();
	wait(&status);
	say("stack overflow: killed by %d", WTERMSIG(status));
}

static sigjmp_buf back;
static volatile int calls;
static stack_t own_stack;

static bool blocked(int sig)
{
	unsigned long now = 0;

	syscall(SYS_rt_sigprocmask, 0, NULL, &now, 8);
	return now >> (sig - 1) & 1;
}

static const char *where_stack(const void *p)
{
	return own_stack.ss_sp && (char *)p >= (char *)own_stack.ss_sp &&
			       (char *)p < (char *)own_stack.ss_sp + own_stack.ss_size
		       ? "its own stack"
		       : "the thread's";
}

static void told(int sig, siginfo_t *info, void *context)
{
	int here;

	calls++;
	expect("in a handler", no_page, LOOK_WORD, -EFAULT, NULL);
	say("  signal %d code %d address %s on %s, blocked %d %d %d", sig, info->si_code,
	    info->si_code <= 0         ? "-"
	    : info->si_addr == no_page ? "the page"
				       : "another",
	    where_stack(&here), blocked(SIGSEGV), blocked(SIGBUS), blocked(SIGUSR1));
	if (info->si_code > 0)
		siglongjmp(back, 1);
}

static void plain(int sig)
{
	calls++;
	say("  signal %d", sig);
	siglongjmp(back, 1);
}

static void read_back(int sig, const struct sigaction *set)
{
	struct sigaction now;

	sigaction(sig, NULL, &now);
	if (now.sa_handler != set->sa_handler || now.sa_flags != (set->sa_flags | 0x04000000) ||
	    sigismember(&now.sa_mask, SIGUSR1) != sigismember(&set->sa_mask, SIGUSR1))
		say("  reads back %s, flags %x instead of %x",
		    now.sa_handler == SIG_DFL           ? "nothing"
		    : now.sa_handler == set->sa_handler ? "it"
							: "another",
		    now.sa_flags, set->sa_flags);
}

static void with(const char *what, int flags, void *fn, int masked)
{
	struct sigaction sa = {.sa_flags = flags}, old;

	say(" %s", what);
	sa.sa_handler = (void (*)(int))(uintptr_t)fn;
	sigemptyset(&sa.sa_mask);
	if (masked)
		sigaddset(&sa.sa_mask, masked);
	if (sigaction(SIGSEGV, &sa, &old))
		fail("sigaction");
	say("  before: %s, flags %x", old.sa_handler == SIG_DFL ? "default" : "a handler",
	    old.sa_flags);
	read_back(SIGSEGV, &sa);
	for (int i = 0; i < 2; i++) {
		expect("with a handler", no_page, LOOK_WORD, -EFAULT, NULL);
		if (!sigsetjmp(back, 1))
			touch();
		expect("after it", no_page, LOOK_WORD, -EFAULT, NULL);
		if (flags & SA_RESETHAND) {
			sigaction(SIGSEGV, NULL, &old);
			say("  then: %s, flags %x",
			    old.sa_handler == SIG_DFL ? "default" : "a handler", old.sa_flags);
			sigaction(SIGSEGV, &sa, NULL);
		}
	}
	if (!(flags & SA_RESETHAND) && fn == told)
		kill(getpid(), SIGSEGV);
}

static void restore_default(void)
{
	struct sigaction old;

	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	sigaction(SIGSEGV, NULL, &old);
	say("  default again: %d, flags %x", old.sa_handler == SIG_DFL, old.sa_flags);
}

void scene_handlers(void)
{
	unsigned long raw[4] = {(unsigned long)plain, 0x04000000, 0, 1UL << 9}, was[4] = {0};

	no_page = pages(1, PROT_NONE);
	with("siginfo", SA_SIGINFO, told, SIGUSR1);
	with("nodefer", SA_SIGINFO | SA_NODEFER, told, 0);
	with("reset", SA_SIGINFO | SA_RESETHAND, told, SIGBUS);
	with("plain", 0, plain, 0);
	own_stack = (stack_t){.ss_sp = pages(16, PROT_READ | PROT_WRITE), .ss_size = 16 * PAGE};
	sigaltstack(&own_stack, NULL);
	with("own stack", SA_SIGINFO | SA_ONSTACK, told, 0);
	with("no own stack", SA_SIGINFO, told, 0);
	say(" stack overflow");
	with("own stack", SA_SIGINFO | SA_ONSTACK, told, 0);
	for (int i = 0; i < 2; i++)
		if (!sigsetjmp(back, 1))
			overflows();
	say(" signal()");
	signal(SIGSEGV, plain);
	if (!sigsetjmp(back, 1))
		touch();
	say(" syscall()");
	restore_default();
	raw[2] = (unsigned long)0; /* no restorer: the handler never returns */
	if (syscall(SYS_rt_sigaction, SIGSEGV, raw, was, 8) || was[0])
		fail("raw rt_sigaction: %d", errno);
	if (!sigsetjmp(back, 1))
		touch();
	say("  bad pointers: %ld %d, %ld %d",
	    syscall(SYS_rt_sigaction, SIGSEGV, (void *)8, NULL, 8), errno,
	    syscall(SYS_rt_sigaction, SIGSEGV, NULL, (void *)8, 8), errno);
	say("  bad size: %ld %d", syscall(SYS_rt_sigaction, SIGSEGV, NULL, was, 16), errno);
	own_stack.ss_flags = SS_DISABLE;
	sigaltstack(&own_stack, NULL);
	munmap(own_stack.ss_sp, 16 * PAGE);
	own_stack.ss_sp = NULL;
	restore_default();
	munmap(no_page, PAGE);
	say(" calls %d", calls);
}

static char *guarded;

static void barrier(int sig, siginfo_t *info, void *context)
{
	calls++;
	if ((char *)info->si_addr < guarded || (char *)info->si_addr >= guarded + 8 * PAGE)
		_exit(7);
	mprotect((void *)((uintptr_t)info->si_addr & ~(PAGE - 1)), PAGE, PROT_READ | PROT_WRITE);
}

/* A write barrier by faults, as some garbage collectors have. */
void scene_collector(void)
{
	struct sigaction sa = {.sa_sigaction = barrier, .sa_flags = SA_SIGINFO};

	calls = 0;
	sigaction(SIGSEGV, &sa, NULL);
	guarded = pages(8, PROT_READ | PROT_WRITE);
	for (unsigned long n = 0; n < rounds; n++) {
		mprotect(guarded, 8 * PAGE, n % 2 ? PROT_NONE : PROT_READ);
		for (unsigned long i = 0; i < 8; i++) {
			expect("before the barrier", guarded + i * PAGE, LOOK_WORD,
			       n % 2 ? -EFAULT : 0, NULL);
			expect("store before the barrier", guarded + i * PAGE, LOOK_STORE, -EFAULT,
			       NULL);
			guarded[i * PAGE] = (char)n;
			expect("behind the barrier", guarded + i * PAGE, LOOK_WORD, 0, NULL);
		}
	}
	say(" %d faults in %lu rounds", calls, rounds);
	munmap(guarded, 8 * PAGE);
	signal(SIGSEGV, SIG_DFL);
}

void scene_ignored(void)
{
	struct sigaction now;

	no_page = pages(1, PROT_NONE);
	signal(SIGSEGV, SIG_IGN);
	sigaction(SIGSEGV, NULL, &now);
	say(" ignored: %d", now.sa_handler == SIG_IGN);
	kill(getpid(), SIGSEGV);
	expect("while ignored", no_page, LOOK_WORD, -EFAULT, NULL);
	last_signal("touch while ignored", touch);
	signal(SIGSEGV, SIG_DFL);
	expect("and after", no_page, LOOK_WORD, -EFAULT, NULL);
}

/* New code comes, and goes. */
void scene_code(void)
{
	no_page = pages(1, PROT_NONE);
	for (int i = 0; i < 3; i++) {
		void *p = dlopen("libm.so.6", RTLD_NOW), *code = pages(1, PROT_READ | PROT_WRITE);

		expect("with new code", no_page, LOOK_WORD, -EFAULT, NULL);
		memset(code, 0xc3, PAGE);
		mprotect(code, PAGE, PROT_READ | PROT_EXEC);
		((void (*)(void))(uintptr_t)code)();
		expect("with code made on the fly", no_page, LOOK_WORD, -EFAULT, NULL);
		munmap(code, PAGE);
		if (p)
			dlclose(p);
	}
}

/* In a child: the calls that direct reads take become deadly. */
static void under_filter(unsigned nr)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = 4, .filter = code};
	pid_t pid = fork();
	int status = -1;

	if (!pid) {
		look_at(no_page, LOOK_WORD);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
			_exit(1);
		look_at(no_page, LOOK_WORD);
		look_at("there", LOOK_STR);
		touch();
		_exit(2);
	}
	waitpid(pid, &status, 0);
	say(" call %u: %s %d", nr, WIFSIGNALED(status) ? "killed by" : "exits",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

void scene_filter(void)
{
	no_page = pages(1, PROT_NONE);
	under_filter(SYS_rt_sigprocmask);
	under_filter(SYS_process_vm_readv);
	under_filter(SYS_process_vm_writev);
	under_filter(SYS_getpid);
	under_filter(SYS_rt_tgsigqueueinfo);
	munmap(no_page, PAGE);
}
