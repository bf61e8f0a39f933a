/* SPDX-License-Identifier: MIT */
/*
 * A target with a thread for each state named, the first of them the main thread. Every state
 * checks what the kernel promises it; a stop by a keeper must not show. usage: attach_states
 * COUNTERS STATE...
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "attach_shared.h"

static struct attach_shared *shared;
static _Thread_local long self;
static _Thread_local volatile sig_atomic_t handled;

long probed(long n);
__asm__(".text\n.globl probed\n.type probed, @function\nprobed:\n"
	"	.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"	lea 1(%rdi), %rax\n"
	"	ret\n"
	".size probed, . - probed\n");

/* No jump fits: the second instruction is led to, and what follows would take a trampoline below address 0. */
int looping(int times);
__asm__(".text\n.globl looping\n.type looping, @function\nlooping:\n.cfi_startproc\n"
	"	nop\n"
	"1:	add $-128, %r8d\n"
	"	dec %edi\n"
	"	jns 1b\n"
	"	mov $4, %eax\n"
	"	ret\n"
	".cfi_endproc\n.size looping, . - looping\n");

static void wrong(long what)
{
	atomic_store(&shared->where, self);
	atomic_store(&shared->what, what);
	atomic_fetch_add(&shared->errors, 1);
}

#define HOLDS(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			wrong(__LINE__);                                                           \
	} while (0)

static bool round_done(void)
{
	atomic_fetch_add(&shared->calls[self], 1);
	return !atomic_load(&shared->stop);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

static void on_signal(int sig)
{
	handled++;
}

static void call(void)
{
	do
		for (long i = 0; i < 100; i++)
			HOLDS(probed(i) == i + 1);
	while (round_done());
}

static void call_looping(void)
{
	do
		for (int i = 0; i < 20; i++)
			HOLDS(looping(i) == 4);
	while (round_done());
}

static void make_calls(void)
{
	const pid_t parent = getppid();

	do
		for (int i = 0; i < 20; i++)
			HOLDS(getppid() == parent && syscall(SYS_getppid) == parent);
	while (round_done());
}

static void call_seldom(void)
{
	do {
		HOLDS(probed(3) == 4);
		usleep(300);
	} while (round_done());
}

/* All general registers, ymm0, xmm15, the direction of nothing: a loop that compares them. */
long registers_kept(long rounds);
__asm__(".text\n.globl registers_kept\n.type registers_kept, @function\nregisters_kept:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	"
	"push %r15\n"
	"	mov $0x1111111111111111, %rax\n	movq %rax, %xmm0\n	movq %rax, %xmm15\n"
	"	pcmpeqd %xmm7, %xmm7\n"
	"	mov %rdi, %rcx\n"
	"	mov $0x102, %rax\n	mov $0x203, %rbx\n	mov $0x304, %rdx\n	mov "
	"$0x405, %rsi\n"
	"	mov $0x506, %rdi\n	mov $0x607, %rbp\n	mov $0x708, %r8\n	mov "
	"$0x809, %r9\n"
	"	mov $0x90a, %r10\n	mov $0xa0b, %r11\n	mov $0xb0c, %r12\n	mov "
	"$0xc0d, %r13\n"
	"	mov $0xd0e, %r14\n	mov $0xe0f, %r15\n"
	"1:	cmp $0x102, %rax\n	jne 2f\n	cmp $0x203, %rbx\n	jne 2f\n"
	"	cmp $0x304, %rdx\n	jne 2f\n	cmp $0x405, %rsi\n	jne 2f\n"
	"	cmp $0x506, %rdi\n	jne 2f\n	cmp $0x607, %rbp\n	jne 2f\n"
	"	cmp $0x708, %r8\n	jne 2f\n	cmp $0x809, %r9\n	jne 2f\n"
	"	cmp $0x90a, %r10\n	jne 2f\n	cmp $0xa0b, %r11\n	jne 2f\n"
	"	cmp $0xb0c, %r12\n	jne 2f\n	cmp $0xc0d, %r13\n	jne 2f\n"
	"	cmp $0xd0e, %r14\n	jne 2f\n	cmp $0xe0f, %r15\n	jne 2f\n"
	"	stc\n	mov %rcx, -8(%rsp)\n	mov -8(%rsp), %rcx\n	jnc 2f\n" /* flags, red zone
										   */
	"	dec %rcx\n	jnz 1b\n"
	"	pcmpeqd %xmm6, %xmm6\n	pcmpeqd %xmm7, %xmm6\n	pmovmskb %xmm6, %eax\n"
	"	cmp $0xffff, %eax\n	jne 2f\n"
	"	mov $0x1111111111111111, %rdx\n	movq %xmm0, %rax\n	cmp %rdx, %rax\n	"
	"jne 2f\n"
	"	movq %xmm15, %rax\n	cmp %rdx, %rax\n	jne 2f\n"
	"	mov $1, %eax\n	jmp 3f\n"
	"2:	xor %eax, %eax\n"
	"3:	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	"
	"pop %rbx\n"
	"	ret\n.size registers_kept, . - registers_kept\n");

static void registers(void)
{
	do
		HOLDS(registers_kept(200000));
	while (round_done());
}

static void in_nanosleep(void)
{
	int64_t start;

	do {
		struct timespec ts = {.tv_nsec = 15000000};

		start = now_us();
		HOLDS(!nanosleep(&ts, NULL));
		HOLDS(now_us() - start >= 15000);
	} while (round_done());
}

static void in_poll(void)
{
	int fd[2];
	struct pollfd p = {.events = POLLIN};
	int64_t start;

	HOLDS(!pipe(fd));
	p.fd = fd[0];
	do {
		start = now_us();
		HOLDS(!poll(&p, 1, 15));
		HOLDS(now_us() - start >= 14000);
	} while (round_done());
}

static void in_select(void)
{
	int64_t start;

	do {
		struct timeval tv = {.tv_usec = 15000};

		start = now_us();
		HOLDS(!select(0, NULL, NULL, NULL, &tv));
		HOLDS(now_us() - start >= 14000);
	} while (round_done());
}

static void in_futex(void)
{
	int word = 0;

	do {
		struct timespec ts = {.tv_nsec = 15000000};

		HOLDS(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, NULL, 0) < 0 &&
		      errno == ETIMEDOUT);
	} while (round_done());
}

/* The one call that may say so when a keeper is killed between the stop and its first step. */
static void in_epoll(void)
{
	struct epoll_event ev;
	int fd = epoll_create1(0);

	do {
		int r = epoll_wait(fd, &ev, 1, 15);

		if (r < 0 && errno == EINTR)
			atomic_fetch_add(&shared->interrupted, 1);
		else
			HOLDS(!r);
	} while (round_done());
}

static void in_semop(void)
{
	int id = semget(IPC_PRIVATE, 1, 0600);

	do {
		struct sembuf op = {.sem_op = -1};
		struct timespec ts = {.tv_nsec = 15000000};
		int r = semtimedop(id, &op, 1, &ts);

		if (r < 0 && errno == EINTR)
			atomic_fetch_add(&shared->interrupted, 1);
		else
			HOLDS(r < 0 && errno == EAGAIN);
	} while (round_done());
	semctl(id, 0, IPC_RMID);
}

/* Another thread that does something for this one, until told to quit. */
struct peer {
	pthread_t self, of;
	int fd, sig;
	_Atomic int quit;
};

static void peer_start(struct peer *p, void *(*fn)(void *))
{
	p->of = pthread_self();
	pthread_create(&p->self, NULL, fn, p);
}

static void peer_stop(struct peer *p)
{
	atomic_store(&p->quit, 1);
	pthread_join(p->self, NULL);
}

static void *feed(void *arg)
{
	struct peer *p = arg;

	for (unsigned char c = 0; !atomic_load(&p->quit); c++) {
		usleep(5000);
		if (write(p->fd, &c, 1) != 1)
			break;
	}
	return NULL;
}

static void *nag(void *arg)
{
	struct peer *p = arg;

	while (!atomic_load(&p->quit)) {
		usleep(4000);
		pthread_kill(p->of, p->sig);
	}
	return NULL;
}

static void in_read(void)
{
	unsigned char c, want = 0;
	struct peer feeder = {0};
	int fd[2];

	HOLDS(!pipe(fd));
	feeder.fd = fd[1];
	peer_start(&feeder, feed);
	do
		HOLDS(read(fd[0], &c, 1) == 1 && c == want++);
	while (round_done());
	peer_stop(&feeder);
}

static struct sockaddr_un address;
static socklen_t address_len;

static void *connect_again(void *arg)
{
	struct peer *p = arg;

	while (!atomic_load(&p->quit)) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		usleep(5000);
		HOLDS(!connect(fd, (void *)&address, address_len));
		close(fd);
	}
	return NULL;
}

static void in_accept(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), one;
	struct peer p = {0};

	address.sun_family = AF_UNIX;
	address_len = sizeof(sa_family_t);
	HOLDS(!bind(fd, (void *)&address, address_len)); /* a name the kernel chooses */
	address_len = sizeof(address);
	HOLDS(!getsockname(fd, (void *)&address, &address_len) && !listen(fd, 100));
	peer_start(&p, connect_again);
	do {
		one = accept(fd, NULL, NULL);
		HOLDS(one >= 0);
		close(one);
	} while (round_done());
	peer_stop(&p);
	close(fd);
}

/* Signals without SA_RESTART: EINTR when, and only when, the handler has run. */
static void in_read_eintr(void)
{
	struct peer p = {.sig = SIGUSR1};
	int fd[2];
	char c;

	HOLDS(!pipe(fd));
	peer_start(&p, nag);
	do {
		sig_atomic_t before = handled;

		HOLDS(read(fd[0], &c, 1) < 0 && errno == EINTR);
		HOLDS(handled > before);
	} while (round_done());
	peer_stop(&p);
}

/* Signals with SA_RESTART: never EINTR. */
static void in_read_restart(void)
{
	struct peer p = {.sig = SIGUSR2}, feeder = {0};
	unsigned char c, want = 0;
	int fd[2];

	HOLDS(!pipe(fd));
	feeder.fd = fd[1];
	peer_start(&feeder, feed);
	peer_start(&p, nag);
	do
		HOLDS(read(fd[0], &c, 1) == 1 && c == want++);
	while (round_done());
	peer_stop(&p);
	peer_stop(&feeder);
}

/* The signal is blocked but inside sigsuspend: every return has one handler run behind it. */
static void in_sigsuspend(void)
{
	struct peer p = {.sig = SIGUSR1};
	sigset_t blocked, none, now;

	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	peer_start(&p, nag);
	do {
		sig_atomic_t before = handled;

		HOLDS(sigsuspend(&none) < 0 && errno == EINTR);
		HOLDS(handled == before + 1);
		pthread_sigmask(SIG_BLOCK, NULL, &now);
		HOLDS(sigismember(&now, SIGUSR1));
	} while (round_done());
	peer_stop(&p);
}

static void in_sigtimedwait(void)
{
	struct timespec ts = {.tv_nsec = 15000000};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	do {
		int r = sigtimedwait(&set, NULL, &ts);

		if (r < 0 && errno == EINTR)
			atomic_fetch_add(&shared->interrupted, 1);
		else
			HOLDS(r < 0 && errno == EAGAIN);
	} while (round_done());
}

/* In a handler on a small alternate stack, from which it calls probed(). */
static void in_handler_now(int sig)
{
	stack_t s;

	do {
		HOLDS(probed(5) == 6);
		HOLDS(!sigaltstack(NULL, &s) && s.ss_flags == SS_ONSTACK);
	} while (round_done());
}

static void in_handler(void)
{
	struct sigaction sa = {.sa_handler = in_handler_now, .sa_flags = SA_ONSTACK};
	stack_t s = {.ss_size = 32768};

	s.ss_sp = malloc(s.ss_size);
	HOLDS(!sigaltstack(&s, NULL));
	sigfillset(&sa.sa_mask);
	sigaction(SIGRTMIN + 4, &sa, NULL);
	pthread_kill(pthread_self(), SIGRTMIN + 4);
}

static void all_blocked(void)
{
	sigset_t all, now;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	do {
		pthread_sigmask(SIG_SETMASK, NULL, &now);
		HOLDS(sigismember(&now, SIGTRAP) && sigismember(&now, SIGSEGV));
		HOLDS(probed(7) == 8);
	} while (round_done());
}

/* A seccomp filter for this thread alone, which denies what the agent needs. */
static void filtered(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socketpair, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvmsg, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTNAM),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};
	int fd[2];

	HOLDS(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	HOLDS(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
	do {
		HOLDS(probed(9) == 10);
		HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0 && errno == ENOTNAM);
		usleep(500);
	} while (round_done());
}

/* Those that a keeper might end commands by. */
static const int quiet[] = {SIGURG, SIGWINCH, SIGCHLD};

static void none_pending(void)
{
	sigset_t now;

	do {
		HOLDS(!sigpending(&now));
		for (int i = 0; i < 3; i++)
			HOLDS(!sigismember(&now, quiet[i]));
		HOLDS(probed(7) == 8);
		usleep(200);
	} while (round_done());
}

static void on_quiet(int sig)
{
	wrong(__LINE__);
}

static void quiet_caught(void)
{
	for (int i = 0; i < 3; i++)
		signal(quiet[i], on_quiet);
	none_pending();
}

static void quiet_blocked(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < 3; i++)
		sigaddset(&set, quiet[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	none_pending();
}

/* SIGTRAP ignored for the whole process. */
static void trap_ignored(void)
{
	struct sigaction sa;

	signal(SIGTRAP, SIG_IGN);
	do {
		HOLDS(!sigaction(SIGTRAP, NULL, &sa) && sa.sa_handler == SIG_IGN);
		usleep(1000);
	} while (round_done());
}

static void with_vfork(void)
{
	do {
		pid_t pid = vfork();
		int status = -1;

		if (!pid) {
			struct timespec ts = {.tv_nsec = 3000000};

			probed(1);
			syscall(SYS_nanosleep, &ts, NULL);
			_exit((int)probed(41));
		}
		HOLDS(pid > 0 && waitpid(pid, &status, 0) == pid);
		HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	} while (round_done());
}

static void with_spawn(void)
{
	char *argv[] = {"/bin/true", NULL}, *env[] = {NULL};

	do {
		int status = -1;
		pid_t pid;

		HOLDS(!posix_spawn(&pid, argv[0], NULL, NULL, argv, env));
		HOLDS(waitpid(pid, &status, 0) == pid && !status);
	} while (round_done());
}

static void with_fork(void)
{
	do {
		pid_t pid = fork();
		int status = -1;

		if (!pid)
			_exit((int)probed(41));
		HOLDS(pid > 0 && waitpid(pid, &status, 0) == pid);
		HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 42);
		usleep(2000);
	} while (round_done());
}

static void *short_life(void *arg)
{
	return (void *)probed((long)arg);
}

static void with_threads(void)
{
	do {
		pthread_t t[4];
		void *r;

		for (long i = 0; i < 4; i++)
			HOLDS(!pthread_create(&t[i], NULL, short_life, (void *)i));
		for (long i = 0; i < 4; i++)
			HOLDS(!pthread_join(t[i], &r) && (long)r == i + 1);
	} while (round_done());
}

/* Threads that start the next one and end. */
static void *relay(void *arg)
{
	pthread_attr_t detached;
	pthread_t next;

	self = (long)arg;
	HOLDS(probed(3) == 4);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (round_done())
		HOLDS(!pthread_create(&next, &detached, relay, arg));
	return NULL;
}

static void in_relay(void)
{
	for (int i = 0; i < 4; i++)
		relay((void *)self);
}

/* Leaves the process without a main thread. */
static void gone(void)
{
	round_done();
	syscall(SYS_exit, 0);
}

/* For ever in 32-bit code. */
static void compat(void)
{
	u_char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct {
		uint32_t ip;
		uint16_t cs;
	} __attribute__((packed)) to = {(uint32_t)(uintptr_t)low, 0x23};

	memcpy(low, "\xeb\xfe", 2);
	round_done();
	__asm__ volatile("ljmp *%0" : : "m"(to));
}

static const struct {
	const char *name;
	void (*fn)(void);
} states[] = {
	{"call", call},
	{"call_seldom", call_seldom},
	{"call_looping", call_looping},
	{"make_calls", make_calls},
	{"registers", registers},
	{"nanosleep", in_nanosleep},
	{"poll", in_poll},
	{"select", in_select},
	{"futex", in_futex},
	{"epoll", in_epoll},
	{"semop", in_semop},
	{"read", in_read},
	{"accept", in_accept},
	{"read_eintr", in_read_eintr},
	{"read_restart", in_read_restart},
	{"sigsuspend", in_sigsuspend},
	{"sigtimedwait", in_sigtimedwait},
	{"handler", in_handler},
	{"blocked", all_blocked},
	{"trap_ignored", trap_ignored},
	{"quiet_caught", quiet_caught},
	{"quiet_blocked", quiet_blocked},
	{"filtered", filtered},
	{"vfork", with_vfork},
	{"spawn", with_spawn},
	{"fork", with_fork},
	{"threads", with_threads},
	{"relay", in_relay},
	{"gone", gone},
	{"compat", compat},
};

static char **names;

static void *run_state(void *arg)
{
	self = (long)arg;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (!strcmp(states[i].name, names[self]))
			states[i].fn();
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDWR) : -1, n = argc - 2;
	struct sigaction plain = {.sa_handler = on_signal}, restart = plain;
	pthread_t t[64];

	if (fd < 0 || n > 60)
		return 2;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	names = argv + 2;
	restart.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &plain, NULL);
	sigaction(SIGUSR2, &restart, NULL);
	for (long i = 1; i < n; i++)
		pthread_create(&t[i], NULL, run_state, (void *)i);
	atomic_store(&shared->ready, 1);
	run_state((void *)0);
	for (int i = 1; i < n; i++)
		pthread_join(t[i], NULL);
	return 0;
}
