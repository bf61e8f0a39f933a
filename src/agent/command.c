/* SPDX-License-Identifier: MIT */
/* The agent's commands (agent.h), its header, and the way in that a borrowed thread takes. */
#include <asm/errno.h>
#include <linux/mman.h>
#include <linux/net.h>
#include <linux/socket.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"

#define AF_UNIX_          1
#define SEQPACKET         5
#define CLOEXEC           02000000
#define RIGHTS            1
#define MSG_DONTWAIT_     0x40
#define MSG_CMSG_CLOEXEC_ 0x40000000
#define MADV_WIPEONFORK_  18

#define REQUEST_UNBLOCK_AT 272
#define REQUEST_PROTECT_AT 280
#define STR_(x)            #x
#define STR(x)             STR_(x)
#define REQUEST_UNBLOCK    STR(REQUEST_UNBLOCK_AT)
#define REQUEST_PROTECT    STR(REQUEST_PROTECT_AT)

#define STACK_SIZE (128 * 1024)
#define INBOX_SIZE (1024 * 1024)
#define FRAME_SIZE (16 * 1024)

void agent_first(void);
void agent_enter(void);
void agent_leave(void);
void agent_go_home(void);
void agent_syscall(void);
void agent_enter_end(void);
extern u8 image_start[] __asm__("__ehdr_start") HIDDEN;
extern u8 text_end[] __asm__("etext") HIDDEN;
extern u8 image_end[] __asm__("_end") HIDDEN;

static _Alignas(4096) u8 request[AGENT_REQUEST_SIZE];
HIDDEN _Alignas(64) u8 agent_stack[STACK_SIZE];
static _Alignas(64) u8 inbox[INBOX_SIZE];
HIDDEN _Alignas(64) u8 agent_frame[FRAME_SIZE];

HIDDEN struct agent_state agent = {.channel = {-1, -1}};

__attribute__((visibility("default"))) struct agent_image limpet_agent = {
	.header =
		{
			.magic = AGENT_MAGIC,
			.version = AGENT_VERSION,
			.size = sizeof(struct agent_header),
			.enter = (u64)agent_enter,
			.enter_end = (u64)agent_enter_end,
			.first = (u64)agent_first,
			.abandoned = (u64)agent_leave,
			.go_home = (u64)agent_go_home,
			.syscall = (u64)agent_syscall,
			.stack_low = (u64)agent_stack,
			.stack_top = (u64)(agent_stack + STACK_SIZE),
			.frame = (u64)agent_frame,
			.frame_size = FRAME_SIZE,
			.request = (u64)request,
			.inbox = (u64)inbox,
			.inbox_size = INBOX_SIZE,
			.text_start = (u64)image_start,
			.text_end = (u64)text_end,
			.image_end = (u64)image_end,
		},
};

/*
 * A borrowed thread starts here with rdi = request, on the agent's stack. Where nobody watches it
 * goes on to agent_go_home, which needs no stack: it may run before that is writable. The very first
 * command starts at agent_first, while the whole image is as it was mapped, readable and executable: nothing
 * can be written, so what mprotect(2) has against it is not told.
 */
__asm__(".text\n"
	".globl agent_enter, agent_first, agent_leave, agent_go_home, agent_syscall, agent_enter_end\n"
	".hidden agent_enter, agent_first, agent_leave, agent_go_home, agent_syscall, agent_enter_end\n"
	".type agent_enter, @function\n"
	"agent_enter:\n"
	"	cld\n"
	"	xor %ebp, %ebp\n"
	"	and $-16, %rsp\n"
	"	mov %rdi, %r12\n"
	"	call agent_command\n"
	"	lea agent_leave(%rip), %r13\n"
	"agent_end:\n" /* of the command for the request r12; r13: where to go on when nobody has stopped it here */
	"	movabs $0x6c696d7065740000, %rbx\n" /* AGENT_DONE_MAGIC */
	"	lea " REQUEST_UNBLOCK "(%r12), %rsi\n"
	"	cmpq $0, (%rsi)\n"
	"	je 1f\n"
	"	mov $14, %eax\n" /* rt_sigprocmask */
	"	mov $1, %edi\n"  /* SIG_UNBLOCK */
	"	xor %edx, %edx\n"
	"	mov $8, %r10d\n"
	"	syscall\n"
	"	jmp *%r13\n"
	"1:	mov $39, %eax\n" /* AGENT_DONE_NR */
	"	mov %rbx, %rdi\n"
	"	syscall\n"
	"	jmp *%r13\n"
	"agent_first:\n"
	"	mov %rdi, %r12\n"
	"	lea " REQUEST_PROTECT "(%r12), %rbp\n"
	"2:	mov (%rbp), %rdi\n"
	"	mov 8(%rbp), %rsi\n"
	"	mov 16(%rbp), %rdx\n"
	"	test %rsi, %rsi\n"
	"	jz 3f\n"
	"	mov $10, %eax\n" /* mprotect */
	"	syscall\n"
	"	add $24, %rbp\n"
	"	test %rax, %rax\n"
	"	jz 2b\n"
	"	lea agent_go_home(%rip), %r13\n"
	"	jmp agent_end\n"
	"3:	mov %r12, %rdi\n"
	"	jmp agent_enter\n"
	"agent_leave:\n"
	"	lea agent_stack + 0x20000(%rip), %rsp\n"
	"	call agent_abandoned\n"
	"agent_go_home:\n"
	"	lea agent_frame(%rip), %rsp\n"
	"	mov $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	"	ud2\n"
	"agent_syscall:\n"
	"	syscall\n"
	"	jmp agent_go_home\n"
	"agent_enter_end:\n"
	".size agent_enter, . - agent_enter\n");
_Static_assert(STACK_SIZE == 0x20000, "as above");
_Static_assert(sizeof(struct agent_request) <= AGENT_REQUEST_SIZE, "there it lies");
_Static_assert(AGENT_DONE_NR == 39 && AGENT_DONE_MAGIC == 0x6c696d7065740000ULL, "as above");
_Static_assert(offsetof(struct agent_request, unblock) == REQUEST_UNBLOCK_AT &&
		       offsetof(struct agent_request, protect) == REQUEST_PROTECT_AT,
	       "as above");

static bool map_may_call(enum map_call call)
{
	static const enum helper_call as[] = {[MAP_CALL_KILL] = HELPER_CALL_KILL, [MAP_CALL_GETPID] = HELPER_CALL_GETPID,
					      [MAP_CALL_YIELD] = HELPER_CALL_YIELD,
					      [MAP_CALL_STAT] = HELPER_CALL_STAT,
					      [MAP_CALL_FUTEX] = HELPER_CALL_FUTEX,
					      [MAP_CALL_CLOCK] = HELPER_CALL_CLOCK,
					      [MAP_CALL_RESERVE] = HELPER_CALL_RESERVE};

	return helper_may(&agent.env, as[call]);
}

int agent_init(u32 pid, u64 vdso, bool tp_is_thread)
{
	agent.pid = pid;
	if (!agent.env_ready) {
		agent.wiped_size = ALIGN_UP(helper_wiped_size(), PAGE_SIZE);
		agent.wiped = map_anon(agent.wiped_size, PROT_READ | PROT_WRITE);
		if (agent.wiped && sys_call3(__NR_madvise, (long)agent.wiped,
					     (long)agent.wiped_size, MADV_WIPEONFORK_) < 0) {
			sys_munmap(agent.wiped, agent.wiped_size);
			agent.wiped = NULL;
		}
		helper_env_init(&agent.env, vdso, agent.wiped);
		map_calls_by(map_may_call);
		map_threads_known(tp_is_thread);
		map_owner_at(agent.env.process ? &agent.env.process->owner_pid : NULL);
		agent.env.trace = agent.trace;
		agent.env_ready = true;
	}
	if (agent.session && !agent.task.ready && atomic_load(&agent.session->task.ready)) {
		memcpy(agent.task.off, agent.session->task.off, sizeof(agent.task.off));
		atomic_store(&agent.task.ready, 1);
	}
	agent.env.task = &agent.task;
	agent.env.tp_is_thread = tp_is_thread;
	if (agent.env.process)
		atomic_store(&agent.env.process->fork_gen, 1);
	return 0;
}

static int make_channel(struct agent_request *r)
{
	int fd[2];
	long err = sys_call4(__NR_socketpair, AF_UNIX_, SEQPACKET | CLOEXEC, 0, (long)fd);

	if (err)
		return (int)err;
	agent.channel[0] = fd[0];
	agent.channel[1] = fd[1];
	r->channel[0] = fd[0];
	r->channel[1] = fd[1];
	return 0;
}

struct msg_header { /* the kernel's struct user_msghdr */
	void *name;
	int name_len;
	void *iov;
	u64 iov_len;
	void *control;
	u64 control_len;
	u32 flags;
};

struct rights {
	u64 len;
	s32 level, type;
	s32 fd, pad;
};

/* Takes in one message; 1, 0 when there is none, -errno. */
static int receive_one(s32 channel)
{
	struct agent_fd what;
	struct {
		void *base;
		u64 len;
	} iov = {&what, sizeof(what)};
	struct rights c = {.fd = -1};
	struct msg_header m = {.iov = &iov, .iov_len = 1, .control = &c, .control_len = sizeof(c)};
	long n = sys_call3(__NR_recvmsg, channel, (long)&m, MSG_DONTWAIT_ | MSG_CMSG_CLOEXEC_);
	int err = -EINVAL;

	if (n <= 0)
		return n == -EAGAIN ? 0 : (int)n;
	if (m.control_len < 20 || c.type != RIGHTS || c.fd < 0)
		return -EMFILE;
	if (n == sizeof(what))
		err = object_take(what.kind, what.id, c.fd);
	sys_close(c.fd);
	/* what waits for the kernel's pages is told by its probes */
	return err && err != -EAGAIN ? err : 1;
}

static void close_channel(void)
{
	for (u32 i = 0; i < 2; i++) {
		if (agent.channel[i] >= 0) {
			sys_close(agent.channel[i]);
			agent.channel[i] = -1;
		}
	}
}

/* The first error is reported, but everything that is there is taken in. */
static int receive(void)
{
	int first = 0, got;

	if (agent.channel[0] < 0)
		return -EBADF;
	while ((got = receive_one(agent.channel[0])) != 0) {
		if (got < 0 && !first)
			first = got;
		if (got == -EBADF || got == -ENOTSOCK || got == -ECONNRESET)
			break;
	}
	pages_forget();
	close_channel();
	return first;
}

/* Is there a signal that, let in, runs a handler? */
static bool handler_waits(u64 mask)
{
	struct kernel_action sa;
	u64 pending = 0;

	sys_call2(__NR_rt_sigpending, &pending, sizeof(pending));
	pending &= ~mask;
	for (u32 sig = 1; sig <= 64; sig++)
		if (pending & 1ULL << (sig - 1) &&
		    !sys_call4(__NR_rt_sigaction, sig, 0, (long)&sa, sizeof(u64)) && sa.handler > 1)
			return true;
	return false;
}

/*
 * Has a handler run already? It can have, while signals are not blocked yet: then its frame lay
 * below the stack pointer the thread had at first.
 */
static bool handler_ran(void)
{
	const u8 *room = agent_stack + STACK_SIZE - AGENT_HOME_DEPTH - AGENT_HOME_ROOM;
	u64 now = 0;

	sys_call4(__NR_rt_sigprocmask, 0, 0, (long)&now, sizeof(now));
	if (now & 1) /* SIGHUP, or any other that can be blocked */
		return false;
	for (u32 i = 0; i < AGENT_HOME_ROOM; i++)
		if (room[i])
			return true;
	return false;
}

/*
 * The keeper died. What it would have closed is closed here. The interrupted system call is not
 * begun again when a handler is about to run, or has: that is what sleepers for a signal wait for.
 */
HIDDEN void agent_abandoned(void)
{
	struct agent_frame *f = (void *)agent_frame;

	close_channel();
	if (f->begins_again && (handler_waits(f->mask) || handler_ran())) {
		f->rax = (u64)-EINTR;
		f->rip += 2;
	}
}

static void take_cgroups(const struct agent_request *r)
{
	agent.env.cgroup_count = r->cgroup_count <= HELPER_CGROUPS ? r->cgroup_count : 0;
	memcpy(agent.env.cgroup, r->cgroup, sizeof(agent.env.cgroup));
}

static int do_sync(struct agent_request *r, enum sync_what what)
{
	int err;

	agent.regions = (const void *)r->regions;
	agent.region_count = (u32)r->region_count;
	agent.threads = (const void *)r->threads;
	agent.thread_count = (u32)r->thread_count;
	agent.busy = (const void *)r->busy;
	agent.busy_count = r->busy_count;
	atomic_fetch_or(&agent.env.denied, r->denied);
	agent_init(r->pid, 0, agent.env.tp_is_thread);
	if (what == SYNC_LINKS)
		atomic_store(&limpet_agent.header.draining, 0);
	take_cgroups(r);
	loading_files((const void *)r->files, (u32)r->file_count);
	err = sync_probes(what);
	agent.regions = NULL;
	agent.region_count = 0;
	agent.threads = NULL;
	code_list_writes();
	if (!err) {
		atomic_store(&limpet_agent.header.generation, r->generation);
		atomic_store(&limpet_agent.header.view, r->view);
	}
	return err;
}

static int release(bool keep_session)
{
	if (agent.sites || catch_in_place() || trap_in_place())
		return -EBUSY;
	object_release(keep_session);
	identity_release();
	mappings_release();
	stubs_release();
	frames_release();
	sessions_release();
	leases_release();
	syscalls_release();
	map_owner_at(NULL);
	if (agent.wiped)
		sys_munmap(agent.wiped, agent.wiped_size);
	vec_free(&agent.writes, sizeof(struct agent_write));
	vec_free(&agent.moves, sizeof(struct agent_move));
	vec_free(&agent.probes, sizeof(struct agent_probe));
	vec_free(&agent.link_ids, sizeof(u32));
	vec_free(&agent.objects, sizeof(u64));
	vec_free(&agent.code_areas, sizeof(struct agent_region));
	vec_free(&agent.wants, sizeof(struct want));
	semaphores_release();
	vec_free(&agent.old_sites, sizeof(struct site *));
	vec_free(&agent.new_sites, sizeof(struct site *));
	place_release();
	callers_release();
	heap_release();
	memset(&agent, 0, sizeof(agent));
	agent.channel[0] = agent.channel[1] = -1;
	limpet_agent.header.areas = limpet_agent.header.area_count = 0;
	limpet_agent.header.probes = limpet_agent.header.probe_count = 0;
	atomic_store(&limpet_agent.header.has_trace, 0);
	limpet_agent.header.links = limpet_agent.header.link_count = 0;
	limpet_agent.header.objects = limpet_agent.header.object_count = 0;
	limpet_agent.header.stubs_start = limpet_agent.header.stubs_end = 0;
	atomic_store(&limpet_agent.header.draining, 0);
	return 0;
}

HIDDEN void agent_command(struct agent_request *r)
{
	switch (r->command) {
	case AGENT_CMD_INIT:
		r->result = agent_init(r->pid, r->vdso, r->tp_is_thread);
		loading_begin(r->phdr, r->phdr_count);
		agent.injected = true;
		limpet_agent.header.follows = r->follows;
		atomic_fetch_or(&agent.env.denied, r->denied);
		atomic_store(&limpet_agent.header.ready, 1);
		break;
	case AGENT_CMD_CHANNEL:
		r->result = make_channel(r);
		break;
	case AGENT_CMD_RECV:
		r->result = receive();
		break;
	case AGENT_CMD_SYNC:
		r->result = do_sync(r, SYNC_LINKS);
		break;
	case AGENT_CMD_COMMIT:
		code_written();
		object_publish();
		identity_commit(!r->busy_count);
		agent.threads = (const void *)r->threads;
		agent.thread_count = (u32)r->thread_count;
		r->in_use = sync_retire((const u64 *)r->busy, r->busy_count, false);
		agent.threads = NULL;
		r->result = 0;
		break;
	case AGENT_CMD_DETACH:
		r->result = do_sync(r, r->in_use ? SYNC_NOTHING : SYNC_NONE);
		break;
	case AGENT_CMD_RELEASE:
		r->result = release(r->in_use);
		break;
	default:
		r->result = -ENOSYS;
	}
}
