/* SPDX-License-Identifier: MIT */
/*
 * What a user should hear while a tool or a target runs, each thing once: that nothing is observed
 * yet, that a probe was refused and why, that the target may not be changed, that nothing probed is
 * called.
 *
 * A look goes through /proc, so it is made only while there is something left to say: every second at
 * first, then ever more seldom; a change of the session's links starts that anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "cli/cli.h"

#define STEP_MS     1000
#define STEP_MAX_MS 8000
#define TARGET_MS   2000 /* without any target */
#define IDLE_MS     5000 /* attached, but no call */
#define BUSY_LOOKS  4    /* that found the target busy before it is said */

static const char *const chinese_reasons[] = { /* attach_reason() has the English ones */
	[ATTACH_OK] = "已挂接",
	[ATTACH_E_DECODE] = "有 limpet 不认识的指令",
	[ATTACH_E_SHORT] = "函数太短，放不下跳转指令",
	[ATTACH_E_BRANCH_IN] = "有跳转指向要替换的字节",
	[ATTACH_E_RELOCATE] = "有无法搬移的指令",
	[ATTACH_E_RANGE] = "2 GiB 范围内没有放置跳板的空间",
	[ATTACH_E_RSEQ] = "位于可重启序列之内",
	[ATTACH_E_NOT_CODE] = "不在可执行内存中",
	[ATTACH_E_BREAKPOINT] = "该处已设有断点",
	[ATTACH_E_OVERLAP] = "离另一个探针太近",
	[ATTACH_E_NOT_INSN] = "不是指令的开头",
	[ATTACH_E_NO_MEMORY] = "内存不足",
	[ATTACH_E_STACKS] = "Go 代码在此处可能没有剩余的栈空间（函数开头不检查栈）",
	[ATTACH_E_NOT_ENTRY] = "返回探针只能放在函数的第一条指令上",
	[ATTACH_E_NOT_CALLED] = "该函数不是被调用进入的，没有可返回的地方",
	[ATTACH_E_CALLER] = "该函数会查看自己的返回地址，而返回探针会替换它",
	[ATTACH_E_UNWIND] = "静态程序中，异常无法穿过返回探针",
	[ATTACH_E_OWN] = "limpet 自己需要此处",
	[ATTACH_E_SHADOW] = "此处由处理器检查返回地址（影子栈）",
	[ATTACH_E_GO] = "Go 运行时会查看返回地址，不能放返回探针：请探测函数入口",
	[ATTACH_E_EXTENT] = "没有展开信息说明其所在函数从何处开始",
	[ATTACH_E_LOOSE] = "不属于任何文件的代码：运行时生成，不予查看",
	[ATTACH_E_TRAP_SOON] = "稍后再看",
	[ATTACH_E_TRAP_HANDLER] = "程序自己处理或忽略 SIGTRAP",
	[ATTACH_E_TRAP_BLOCKED] = "有线程阻塞了 SIGTRAP",
	[ATTACH_E_TRAP_CALLS] = "有可能阻塞 SIGTRAP 的系统调用无法监视",
	[ATTACH_E_TRAP_TRACED] = "有系统调用探针，而断点需要同样的位置",
	[ATTACH_E_TRAP_CODE] = "进程中有不属于任何文件的代码",
	[ATTACH_E_TRAP_FILTER] = "seccomp 过滤器禁止所需的调用",
	[ATTACH_E_TRAP_LIBC] = "libc 会在信号状态特殊时运行它",
	[ATTACH_E_TRAP_LINKER] = "没有会告知新代码的动态链接器",
	[ATTACH_E_TRAP_MANY] = "断点已达上限",
	[ATTACH_E_TRAP_STACK] = "它在专用栈上处理信号，可能容不下另一个信号",
	[ATTACH_E_GO_FAULT] = "Go 运行时可能需要知道这条指令在何处出错",
};

static const char *refusal(enum attach_error e)
{
	if (cli_chinese && (size_t)e < sizeof(chinese_reasons) / sizeof(chinese_reasons[0]) && chinese_reasons[e])
		return chinese_reasons[e];
	return attach_reason(e);
}

/* What is in the way of a jump, and then of a breakpoint. */
static const char *refusals(const struct agent_probe *p)
{
	static char both[512];

	if (!p->trap)
		return refusal((enum attach_error)p->reason);
	snprintf(both, sizeof(both), T("%s; nor can it be a breakpoint: %s", "%s；也不能用断点：%s"),
		 refusal((enum attach_error)p->reason), refusal((enum attach_error)p->trap));
	return both;
}

const char *probe_reason(const struct agent_probe *p)
{
	switch (p->state) {
	case PROBE_ATTACHED:
		return refusal(ATTACH_OK);
	case PROBE_WAITING:
		return T("its patch is not written yet", "其补丁尚未写入");
	case PROBE_NO_PROG:
		return T("its program was not accepted in the target", "目标未接受其程序");
	case PROBE_REFUSED:
		return refusals(p);
	default:
		return error_text((int)p->reason);
	}
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000L;
}

static bool first_time(struct watch *w, u32 id)
{
	for (int i = 0; i < w->count; i++)
		if (w->said[i] == id)
			return false;
	if (w->count == WATCHED_LINKS)
		return false;
	w->said[w->count++] = id;
	return true;
}

/* What the reports on one link's probes share. */
struct link_view {
	u32 id; /* 0: none looked at yet */
	bool good;
	struct link_file link; /* a copy of its head */
	u64 hits;
	u64 refused, refused_off; /* as in struct link_stats */
};

static void look_at_link(struct store *s, u32 id, struct link_view *ret)
{
	u64 size;
	int err;
	struct link_file *l = store_map_object(s, OBJ_LINK, id, &size, &err);

	ret->id = id;
	ret->good = l && size >= sizeof(*l) + PAGE_SIZE;
	if (ret->good) {
		const struct link_stats *stats = (const struct link_stats *)((u8 *)l + size - PAGE_SIZE);

		ret->hits = link_hits(stats);
		ret->refused = atomic_load(&stats->refused);
		ret->refused_off = atomic_load(&stats->refused_off);
		memcpy(&ret->link, l, sizeof(*l));
	}
	if (l)
		munmap(l, size);
}

/*
 * Refused probes that one look found: a tool on all system calls has hundreds of links, which the same few causes refuse. One
 * message a cause and process, with the first names.
 */
#define CAUSES 32
#define NAMED  3

struct cause {
	u32 pid;
	struct agent_probe like; /* state, reason, trap */
	char names[1024];        /* NAMED at most, each once */
	int named, more;
};

struct refused {
	struct cause causes[CAUSES];
	int count;
};

/* What a look at one process found. */
struct found {
	struct refused *refused;
	struct link_view link; /* of the probe looked at last: a link may have ten thousand */
	u64 hits;
	char names[512]; /* of the functions whose probes are attached, as many as fit */
	bool attached;
	const struct agent_probe *probes; /* all of the process */
	long count;
};

/* A link on system calls has hundreds of places; some are always missing, and it counts as one. */
static bool counts(const struct found *f, const struct agent_probe *p)
{
	if (f->link.link.place != LINK_AT_SYSCALL)
		return true;
	for (const struct agent_probe *o = f->probes; o < f->probes + f->count; o++)
		if (o->link_id == p->link_id && o->state == PROBE_ATTACHED)
			return o == p;
	return true;
}

static void add_name(struct found *f, u64 offset)
{
	size_t n = strlen(f->names);
	char function[300];

	if (n == sizeof(f->names) - 1)
		return;
	place_text(&f->link.link, offset, function, sizeof(function));
	snprintf(f->names + n, sizeof(f->names) - n, "%s%s", n ? ", " : "", function);
}

static void say_cause(const struct cause *c)
{
	const char *why = probe_reason(&c->like);

	if (c->more)
		note(T("%s and %d more in process %u are not observed: %s; `limpet list` shows all probes",
		       "无法观测进程 %3$u 中的 %1$s 等，另有 %2$d 处：%4$s；`limpet list` 列出所有探针"), c->names, c->more, c->pid, why);
	else if (c->named > 1)
		note(T("%s in process %u are not observed: %s; `limpet list` shows all probes",
		       "无法观测进程 %2$u 中的 %1$s：%3$s；`limpet list` 列出所有探针"), c->names, c->pid, why);
	else
		note(T("%s in process %u is not observed: %s; `limpet list` shows all probes",
		       "无法观测进程 %2$u 中的 %1$s：%3$s；`limpet list` 列出所有探针"), c->names, c->pid, why);
}

static void say_refused(struct refused *r)
{
	for (int i = 0; i < r->count; i++)
		say_cause(&r->causes[i]);
	r->count = 0;
}

static struct cause *cause_of(struct refused *r, u32 pid, const struct agent_probe *like)
{
	for (struct cause *c = r->causes; c < r->causes + r->count; c++)
		if (c->pid == pid && c->like.state == like->state && c->like.reason == like->reason && c->like.trap == like->trap)
			return c;
	if (r->count == CAUSES)
		say_refused(r);
	r->causes[r->count] = (struct cause){.pid = pid, .like = *like};
	return &r->causes[r->count++];
}

static void add_refused(struct refused *r, const struct link_file *link, u64 offset, u32 pid, const struct agent_probe *like)
{
	struct cause *c = cause_of(r, pid, like);
	const size_t n = strlen(c->names);
	char function[300];

	place_text(link, offset, function, sizeof(function));
	if (strstr(c->names, function)) /* another program there */
		return;
	if (c->named == NAMED) {
		c->more++;
		return;
	}
	snprintf(c->names + n, sizeof(c->names) - n, "%s%s", n ? ", " : "", function);
	c->named++;
}

static void look_at_probe(struct watch *w, u32 pid, const struct agent_probe *p, struct found *f)
{
	if (p->link_id != f->link.id)
		look_at_link(w->store, p->link_id, &f->link);
	if (!f->link.good || !counts(f, p))
		return;
	if (p->state == PROBE_ATTACHED) {
		add_name(f, p->file_off);
		f->hits += f->link.hits;
		f->attached = true;
	} else if (p->state != PROBE_WAITING && first_time(w, p->link_id)) {
		add_refused(f->refused, &f->link.link, p->file_off, pid, p);
	}
}

/* All there are, ascending; free it. */
static u32 *links_of(struct store *s, long *ret_count)
{
	long room = link_count(s), n;
	u32 *ids = room > 0 ? calloc((size_t)room, sizeof(*ids)) : NULL;

	n = ids ? store_list(s, OBJ_LINK, ids, (u32)room) : 0;
	*ret_count = n <= 0 ? 0 : n > room ? room : n;
	return ids;
}

/* Processes that ended before they were looked at: their agents left word with the links. */
static void look_at_words(struct watch *w)
{
	static struct refused refused;
	long n;
	u32 *ids = links_of(w->store, &n);

	for (long i = 0; i < n; i++) {
		struct link_view link;
		u32 pid;

		look_at_link(w->store, ids[i], &link);
		pid = link.good ? (u32)(link.refused >> 32) : 0;
		if (pid && (w->only ? pid == (u32)w->only : ids[i] > w->older) && first_time(w, ids[i]))
			add_refused(&refused, &link.link, link.refused_off, pid,
				    &(struct agent_probe){.state = PROBE_REFUSED, .reason = (u32)link.refused});
	}
	say_refused(&refused);
	free(ids);
}

/* Links, but no probe: is there one that should be here and cannot be made, as under a seccomp filter? */
static void look_for_refusal(struct watch *w, u32 pid)
{
	struct keeper_error e = {0};

	if (w->refused || now_ms() - w->began < TARGET_MS || !link_count(w->store))
		return;
	if (!keeper_sync(w->keeper, (pid_t)pid, &e) || e.reason == KEEPER_NO_PROCESS ||
	    e.reason == KEEPER_NOT_TARGET || (e.reason == KEEPER_BUSY && ++w->busy < BUSY_LOOKS))
		return;
	e.pid = e.pid ? e.pid : (pid_t)pid;
	keep_fail(T("probes", "探针"), &e);
	w->refused = true;
}

/* May we not even look at it, as at a process that changed its credentials? */
static bool hidden(u32 pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/maps", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == EACCES;
}

/* Tools that were loaded before it hid have their probes in it. */
static void look_for_hidden(struct watch *w, u32 pid)
{
	if (w->refused || w->generation == w->first || !link_count(w->store) || !hidden(pid))
		return;
	note(T("process %u is not dumpable (it changed its credentials or asked for that): tools loaded from now on do not reach it; load the tool first, or run limpet as root",
	       "进程 %u 不可转储（改变过凭据或自行设定）：此后加载的工具无法观测它；请先加载工具，或以 root 运行 limpet"), pid);
	w->refused = true;
}

/* Anything left to say about this process? */
static bool look_at_target(struct watch *w, u32 pid)
{
	static struct refused refused;
	struct agent_probe *probes = NULL;
	struct found f = {.refused = &refused};
	long n = keeper_probes(w->keeper, (pid_t)pid, &probes);

	f.probes = probes;
	f.count = n;
	for (long i = 0; i < n; i++)
		look_at_probe(w, pid, &probes[i], &f);
	free(probes);
	say_refused(&refused);
	if (!n)
		look_for_refusal(w, pid);
	if (n < 0)
		look_for_hidden(w, pid);
	w->idle = w->idle && !f.hits;
	if (!f.attached || !w->idle)
		return n <= 0 || w->idle;
	w->attached = w->attached ? w->attached : now_ms();
	if (now_ms() - w->attached < IDLE_MS)
		return true;
	note(T("%s: attached in process %u, no calls for 5 s; is it called at all, or was it inlined by the compiler?",
	       "%s：已挂接到进程 %u，但 5 秒内没有任何调用；它会被调用吗？是否被编译器内联了？"),
	     f.names, pid);
	w->idle = false;
	return false;
}

static bool look(struct watch *w)
{
	static u32 pids[4096];
	bool pending = false;
	int n = 1;

	pids[0] = (u32)w->only;
	if (!w->only)
		n = targets_find(w->store, pids, 4096);
	if (n)
		w->no_target = false; /* "yet" would be wrong from here on */
	/* what runs in the kernel needs no target */
	if (!n && w->no_target && (link_count(w->store) || !getenv("LIMPET_WITH_KERNEL")) && now_ms() - w->began >= TARGET_MS) {
		hint_target();
		w->no_target = false;
	}
	for (int i = 0; i < n; i++)
		pending |= look_at_target(w, pids[i]);
	look_at_words(w);
	return pending || !n;
}

/* A program that the tool has started has the probes that were there then; for later ones there must be a keeper. */
static void take_over(struct watch *w)
{
	u32 pid;

	if (w->keeps && !w->dead && !w->keeping && targets_find(w->store, &pid, 1) > 0 && !keeper_present(w->keeper))
		w->keeping = !keep_thread_start(w->store);
}

void watch_tick(struct watch *w)
{
	u32 generation = atomic_load(&w->store->file->generation);

	if (generation != w->generation) {
		w->generation = generation;
		w->step = STEP_MS;
		w->quiet = false;
		take_over(w);
	}
	if (w->dead || now_ms() < w->next)
		return;
	if (w->quiet)
		look_at_words(w); /* a target may have left one after the last look at it */
	else
		w->quiet = !look(w);
	w->next = now_ms() + w->step;
	/* What is about to be said in time is waited for at full pace. */
	if (now_ms() - w->began > 2 * IDLE_MS)
		w->step = w->step * 2 > STEP_MAX_MS ? STEP_MAX_MS : w->step * 2;
}

static u32 newest_link(struct store *s)
{
	long n;
	u32 *ids = links_of(s, &n), newest = n ? ids[n - 1] : 0;

	free(ids);
	return newest;
}

void watch_begin(struct watch *w, struct store *s)
{
	memset(w, 0, sizeof(*w));
	w->store = s;
	w->generation = w->first = atomic_load(&s->file->generation);
	w->step = STEP_MS;
	w->began = now_ms();
	w->next = w->began + STEP_MS;
	w->older = newest_link(s);
	w->dead = keeper_open(&w->keeper, s->path, NULL) != 0;
}

void watch_look(struct watch *w)
{
	if (!w->dead)
		look(w);
}

void watch_end(struct watch *w)
{
	u32 pid;

	if (w->keeping) {
		keep_thread_stop();
		if (targets_find(w->store, &pid, 1) > 0)
			keep_leave(w->store);
	}
	if (!w->dead)
		keeper_close(w->keeper);
}

void hint_target(void)
{
	note(T("no process is observed yet; next, in another terminal: limpet start PROGRAM, or limpet attach PID",
	       "还没有被观测的进程；下一步（在另一个终端）：limpet start 程序，或 limpet attach PID"));
}
