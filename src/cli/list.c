/* SPDX-License-Identifier: MIT */
/*
 * limpet list: what a session has. Everything becomes one JSON value first; --json prints that, the
 * tables are made from it.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cli/maps.h"
#include "session/trace.h"

#define MANY 4096

static void add_int(struct json_object *o, const char *key, u64 v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

/* Text from a session may be spoilt: only printable bytes pass. */
static void add_text(struct json_object *o, const char *key, const char *text, size_t max)
{
	char clean[1100];
	size_t n = 0;

	for (; n < max && n < sizeof(clean) - 1 && text[n]; n++)
		clean[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
	clean[n] = 0;
	json_object_object_add(o, key, json_object_new_string(clean));
}

const char *map_type_text(u32 type, char buf[16])
{
	const struct map_ops *ops = map_ops_find(type);

	if (ops)
		return ops->name;
	snprintf(buf, 16, "type-%u", type);
	return buf;
}

static const char *const map_counters[] = {"full",      "overwritten", "no_element", "busy",      "collected",
					   "corrupt",   "evicted",     "absent",     "dropped",   "abandoned",
					   "no_memory", "no_slot",     "unread",     "collision"};
_Static_assert(ARRAY_SIZE(map_counters) == MAP_STATS, "a name for each counter");

/* How often a process went on with zeros in place of this map's file. */
static u32 cuts_of(struct store *s, u32 id)
{
	struct trace_log *log;
	u32 n;

	if (store_trace(s, false, &log))
		return 0;
	n = trace_cuts(log, id);
	munmap(log, sizeof(*log));
	return n;
}

/* Its file was cut short, and its own counters with it; NULL: nobody has noticed, or it is gone. */
static struct json_object *cut_map_facts(struct store *s, u32 id)
{
	struct json_object *o, *counts;
	u32 cuts = cuts_of(s, id);

	if (!cuts)
		return NULL;
	o = json_object_new_object();
	counts = json_object_new_object();
	add_int(o, "id", id);
	add_text(o, "error", "its file was cut short", 64);
	add_int(counts, "cut_short", cuts);
	json_object_object_add(o, "counters", counts);
	return o;
}

struct json_object *map_facts(struct store *s, u32 id)
{
	struct json_object *o, *counts;
	const struct map_meta *meta;
	int err, fd = store_peek(s, OBJ_MAP, id);
	char type[16];
	u64 size;
	void *base;

	if (fd < 0)
		return NULL;
	base = store_map_fd(fd, false, &size, &err);
	close(fd);
	if (!base)
		return cut_map_facts(s, id);
	meta = (void *)((u8 *)base + size - MAP_META_SIZE);
	if (size < MAP_META_SIZE || size % PAGE_SIZE || meta->magic != MAP_MAGIC) {
		munmap(base, size);
		return cut_map_facts(s, id);
	}
	o = json_object_new_object();
	counts = json_object_new_object();
	add_int(o, "id", id);
	add_text(o, "type", map_type_text(meta->def.type, type), 16);
	add_text(o, "name", meta->def.name, MAP_NAME_LEN);
	add_int(o, "key_size", meta->def.key_size);
	add_int(o, "value_size", meta->def.value_size);
	add_int(o, "max_entries", meta->def.max_entries);
	add_int(o, "flags", meta->def.flags);
	add_int(o, "bytes", size);
	add_int(o, "btf_id", meta->def.btf_id);
	if (atomic_load(&meta->kernel_id))
		add_int(o, "kernel_id", atomic_load(&meta->kernel_id));
	json_object_object_add(o, "frozen", json_object_new_boolean(atomic_load(&meta->frozen) != 0));
	for (u32 i = 0; i < MAP_STATS; i++)
		add_int(counts, map_counters[i], map_stat(meta, (enum map_stat)i));
	add_int(counts, "cut_short", cuts_of(s, id));
	json_object_object_add(o, "counters", counts);
	munmap(base, size);
	return o;
}

static struct json_object *prog_facts(struct store *s, u32 id)
{
	struct json_object *o;
	int err;
	u64 size;
	struct prog_file *p = store_map_object(s, OBJ_PROG, id, &size, &err);

	if (!p)
		return NULL;
	o = json_object_new_object();
	if (size >= sizeof(*p)) {
		add_int(o, "id", id);
		add_int(o, "type", p->type);
		add_text(o, "name", p->name, sizeof(p->name));
		add_int(o, "instructions", p->insn_count);
		add_int(o, "maps", p->map_count);
		if (atomic_load(&p->kernel_id))
			add_int(o, "kernel_id", atomic_load(&p->kernel_id));
		json_object_object_add(o, "verified", json_object_new_boolean(p->verified != 0));
	}
	munmap(p, size);
	return o;
}

static void add_place(struct json_object *o, const struct link_file *l, u64 offset)
{
	char place[1100];

	place_text(l, offset, place, sizeof(place));
	if (l->place == LINK_AT_SYSCALL) {
		add_text(o, "tracepoint", place, sizeof(place));
		json_object_object_add(o, "syscall", json_object_new_int(l->syscall_nr));
		return;
	}
	add_text(o, "path", l->path, sizeof(l->path));
	add_text(o, "function", place, sizeof(place));
	add_int(o, "offset", offset);
}

static struct json_object *link_facts(struct store *s, u32 id)
{
	const struct link_stats *st;
	struct json_object *o;
	int err;
	u64 size;
	struct link_file *l = store_map_object(s, OBJ_LINK, id, &size, &err);

	if (!l)
		return NULL;
	o = json_object_new_object();
	if (size >= sizeof(*l) + PAGE_SIZE) {
		st = (void *)((u8 *)l + size - PAGE_SIZE);
		add_int(o, "id", id);
		add_int(o, "prog_id", l->prog_id);
		if (l->probe_count && l->probes_off <= size - sizeof(struct link_probe))
			add_place(o, l, ((struct link_probe *)((u8 *)l + l->probes_off))->offset);
		add_int(o, "probes", l->probe_count);
		json_object_object_add(o, "return", json_object_new_boolean(l->flags & PROBE_F_RETURN));
		json_object_object_add(o, "pid", json_object_new_int(l->pid));
		json_object_object_add(o, "live", json_object_new_boolean(atomic_load(&l->live) != 0));
		add_int(o, "hits", link_hits(st));
		add_int(o, "faults", atomic_load(&st->faults));
		add_int(o, "budget", atomic_load(&st->budget));
		add_int(o, "skipped", atomic_load(&st->skipped));
	}
	munmap(l, size);
	return o;
}

static struct json_object *objects(struct store *s, enum object_kind kind,
				   struct json_object *(*facts)(struct store *s, u32 id))
{
	struct json_object *all = json_object_new_array(), *one;
	static u32 ids[MANY];
	int n = store_list(s, kind, ids, MANY);

	for (int i = 0; i < n && i < MANY; i++) {
		one = facts(s, ids[i]);
		if (!one || !json_object_object_length(one)) {
			json_object_put(one);
			one = json_object_new_object();
			add_int(one, "id", ids[i]);
			add_text(one, "error", "damaged or gone", 64);
		}
		json_object_array_add(all, one);
	}
	return all;
}

struct json_object *links_facts(struct store *s)
{
	return objects(s, OBJ_LINK, link_facts);
}

/* What is in the way of a refused probe: its address, and the instruction where there is one. */
static void add_obstacle(struct json_object *o, const struct agent_probe *p)
{
	char hex[3 * sizeof(p->insn) + 1] = "";

	for (size_t i = 0; i < p->insn_len && i < sizeof(p->insn); i++)
		snprintf(hex + 3 * i, 4, "%02x ", p->insn[i]);
	add_int(o, "obstacle", p->where);
	if (*hex)
		add_text(o, "instruction", hex, strlen(hex) - 1);
}

/* Where a probe was to be: a link may have thousands. */
static void add_function(struct json_object *o, struct store *s, const struct agent_probe *p)
{
	char place[1100];
	u64 size;
	int err;
	struct link_file *l = store_map_object(s, OBJ_LINK, p->link_id, &size, &err);

	if (!l)
		return;
	if (size >= sizeof(*l) && l->place == LINK_AT_FILE) {
		place_text(l, p->file_off, place, sizeof(place));
		add_text(o, "function", place, sizeof(place));
	}
	munmap(l, size);
}

/* What became of the probes in a target; NULL: it cannot be asked. */
static struct json_object *probes_of(struct store *s, struct keeper *k, u32 pid)
{
	static const char *const states[] = {"attached", "refused", "failed", "no program", "waiting"};
	struct json_object *all;
	struct agent_probe *p;
	long n = keeper_probes(k, (pid_t)pid, &p);

	if (n < 0)
		return NULL;
	all = json_object_new_array();
	for (long i = 0; i < n; i++) {
		struct json_object *o = json_object_new_object();

		add_int(o, "link_id", p[i].link_id);
		add_int(o, "address", p[i].addr);
		add_int(o, "offset", p[i].file_off);
		add_text(o, "state", p[i].state < ARRAY_SIZE(states) ? states[p[i].state] : "unknown", 16);
		add_text(o, "reason", probe_reason(&p[i]), 512);
		if (p[i].state == PROBE_ATTACHED || p[i].state == PROBE_WAITING)
			add_text(o, "by", p[i].trap ? "breakpoint" : "jump", 16);
		if (p[i].state == PROBE_ATTACHED) {
			json_object_object_add(o, "tested", json_object_new_boolean(!(p[i].spared & PROBE_SPARED_TESTS)));
			json_object_object_add(o, "budgeted", json_object_new_boolean(!(p[i].spared & PROBE_SPARED_BUDGET)));
		}
		if (p[i].state == PROBE_REFUSED)
			add_obstacle(o, &p[i]);
		if (p[i].state != PROBE_ATTACHED)
			add_function(o, s, &p[i]);
		json_object_array_add(all, o);
	}
	free(p);
	return all;
}

/* With `k`: as targets of the session, with their probes. */
static struct json_object *processes(const u32 *pids, int n, struct store *s, struct keeper *k)
{
	struct json_object *all = json_object_new_array();

	for (int i = 0; i < n; i++) {
		struct json_object *o = json_object_new_object();
		struct keeper_error e;
		struct agent_header h;
		char path[64], comm[64] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%u/comm", pids[i]);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = 0;
		if (f)
			fclose(f);
		add_int(o, "pid", pids[i]);
		add_text(o, "comm", comm, sizeof(comm));
		if (k) {
			json_object_object_add(o, "probes", probes_of(s, k, pids[i]));
			if (keeper_waits(k, (pid_t)pids[i], &e))
				add_text(o, "waits", keep_why(&e), sizeof(e.detail));
			json_object_object_add(o, "draining", json_object_new_boolean(
				keeper_is_target(k, (pid_t)pids[i], &h) && atomic_load(&h.draining)));
		}
		json_object_array_add(all, o);
	}
	return all;
}

static struct json_object *session_facts(struct store *s)
{
	struct json_object *o = json_object_new_object();
	struct keeper *k = NULL;
	static u32 pids[MANY];
	int n = 0;

	json_object_object_add(o, "session", s ? json_object_new_string(s->path) : NULL);
	json_object_object_add(o, "no_verify", json_object_new_boolean(s && atomic_load(&s->file->no_verify)));
	json_object_object_add(o, "maps", s ? objects(s, OBJ_MAP, map_facts) : json_object_new_array());
	json_object_object_add(o, "programs", s ? objects(s, OBJ_PROG, prog_facts) : json_object_new_array());
	json_object_object_add(o, "links", s ? links_facts(s) : json_object_new_array());
	n = s ? store_tools(s, pids, MANY) : 0;
	json_object_object_add(o, "tools", processes(pids, n < MANY ? n : MANY, s, NULL));
	n = s ? targets_find(s, pids, MANY) : 0;
	if (n && keeper_open(&k, s->path, NULL))
		k = NULL;
	json_object_object_add(o, "targets", processes(pids, n, s, k));
	json_object_object_add(o, "keeper", json_object_new_boolean(k && keeper_present(k)));
	if (k)
		keeper_close(k);
	return o;
}

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v = json_object_object_get(o, key);

	return v ? json_object_get_string(v) : "-";
}

static bool is_on_calls(struct json_object *all, const char *link)
{
	struct json_object *links = json_object_object_get(all, "links");

	for (size_t i = 0; i < json_object_array_length(links); i++) {
		struct json_object *l = json_object_array_get_idx(links, i);

		if (!strcmp(text_of(l, "id"), link))
			return json_object_object_get(l, "syscall");
	}
	return false;
}

/* A link on system calls has hundreds of places: how many are not seen, with the first probe of them that is not. */
static void print_places(struct json_object *probes, struct json_object *first)
{
	size_t n = json_object_array_length(probes), all = 0, missing = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *p = json_object_array_get_idx(probes, i);

		if (strcmp(text_of(p, "link_id"), text_of(first, "link_id")))
			continue;
		all++;
		if (!strcmp(text_of(p, "state"), "attached"))
			continue;
		if (!missing++ && p != first)
			return; /* said already */
	}
	printf(T("    link %s: %zu of %zu places with system calls are not seen, as the one at %#llx: %s\n",
		 "    链接 %s：%zu 处（共 %zu 处）系统调用看不到，例如 %#llx：%s\n"),
	       text_of(first, "link_id"), missing, all,
	       (unsigned long long)json_object_get_uint64(json_object_object_get(first, "address")), text_of(first, "reason"));
}

/* Below a target: the probes that are not there, and why; and those that cost a signal a hit. */
static void print_probes(struct json_object *all, struct json_object *probes)
{
	size_t n = probes ? json_object_array_length(probes) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *p = json_object_array_get_idx(probes, i);

		if (!strcmp(text_of(p, "state"), "attached")) {
			if (!strcmp(text_of(p, "by"), "breakpoint"))
				printf(T("    link %s: by a breakpoint at %#llx: no room for a jump\n",
					 "    链接 %s：位于 %#llx 的断点：没有跳转的空间\n"),
				       text_of(p, "link_id"),
				       (unsigned long long)json_object_get_uint64(json_object_object_get(p, "address")));
			continue;
		}
		if (is_on_calls(all, text_of(p, "link_id"))) {
			print_places(probes, p);
			continue;
		}
		printf(T("    link %s: not attached: ", "    链接 %s：未挂接："), text_of(p, "link_id"));
		if (json_object_object_get(p, "function"))
			printf("%s: ", text_of(p, "function"));
		printf("%s", text_of(p, "reason"));
		if (json_object_object_get(p, "instruction"))
			printf(T(" (at %#llx: %s)", "（位于 %#llx：%s）"),
			       (unsigned long long)json_object_get_uint64(json_object_object_get(p, "obstacle")),
			       text_of(p, "instruction"));
		puts("");
	}
}

/* Names and places as they are, numbers with what they are; columns that a row does not have are left out. */
static void print_row(struct json_object *row, const char *const *columns)
{
	static const char *const plain[] = {"name", "comm", "type", "path", "function", "tracepoint"};

	for (const char *const *c = columns; *c; c++) {
		bool bare = false;

		for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
			bare |= !strcmp(*c, plain[i]);
		if (json_object_object_get_ex(row, *c, NULL))
			printf(c == columns ? " %s:" : bare ? " %s" : " %2$s=%1$s", text_of(row, *c), *c);
	}
}

/* One table: a title, then the columns of each row. */
static void print_table(struct json_object *all, const char *key, const char *title, const char *const *columns)
{
	struct json_object *rows = json_object_object_get(all, key);
	size_t n = json_object_array_length(rows);

	if (!n)
		return;
	puts(title);
	for (size_t i = 0; i < n; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		printf(" ");
		if (json_object_object_get(row, "error"))
			printf(" %s: %s", text_of(row, "id"), T("damaged or gone", "已损坏或已消失"));
		else
			print_row(row, columns);
		if (json_object_get_boolean(json_object_object_get(row, "draining")))
			printf(T(" draining: detached; calls in flight return through the agent",
				 " draining：已分离；仍有进行中的调用要经代理返回"));
		if (json_object_object_get(row, "waits"))
			printf(T(" waiting: its probes are not what the links ask for: %s", " 等待中：其探针与链接不一致：%s"),
			       text_of(row, "waits"));
		puts("");
		if (!strcmp(key, "targets"))
			print_probes(all, json_object_object_get(row, "probes"));
	}
	if (!strcmp(key, "targets") && !json_object_get_boolean(json_object_object_get(all, "keeper")))
		puts(T("  no keeper: their probes stay as they are until `limpet load`, or `limpet attach PID`, leaves one",
		       "  没有维护进程：在 `limpet load` 或 `limpet attach PID` 留下一个之前，其探针保持不变"));
}

static void print_session(struct json_object *all)
{
	static const char *const map[] = {"id", "type", "name", "key_size", "value_size", "max_entries", "bytes", "kernel_id", NULL};
	static const char *const prog[] = {"id", "name", "type", "instructions", "verified", "kernel_id", NULL};
	static const char *const link[] = {"id", "tracepoint", "function", "path", "offset", "prog_id", "pid", "live", "hits", "faults",
					   "budget", "skipped", NULL};
	static const char *const process[] = {"pid", "comm", NULL};

	print_table(all, "maps", T("maps", "map"), map);
	print_table(all, "programs", T("programs", "程序"), prog);
	if (json_object_get_boolean(json_object_object_get(all, "no_verify")))
		puts(T("  programs are not verified (limpet load --no-verify)", "  程序未经验证（limpet load --no-verify）"));
	print_table(all, "links", T("links", "链接"), link);
	print_table(all, "tools", T("tools", "工具"), process);
	print_table(all, "targets", T("targets", "目标"), process);
}

static int run_list(const struct command *c, int argc, char **argv)
{
	struct options o;
	int status, i = options_parse(c, argc, argv, "sj", &o, &status);
	struct json_object *all;
	bool none;
	struct store s;

	if (i < 0)
		return status;
	if (i < argc)
		return usage_error(c, T("takes no argument", "不接受参数"));
	none = session_missing(&o);
	if (!none) {
		status = session_open(&s, &o, 0);
		if (status)
			return status;
	}
	all = session_facts(none ? NULL : &s);
	if (o.json)
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print_session(all);
	json_object_put(all);
	if (!none)
		store_close(&s);
	return EXIT_OK;
}

const struct command cmd_list = {
	"list", run_list, {"show maps, programs, links, tools and targets", "显示 map、程序、链接、工具和目标"},
	{"usage: limpet list [-s NAME] [--json]\n\n"
	 "Shows what the session has; nothing, with status 0, when there is none.\n"
	 "hits: runs of a link's program; faults, budget: runs ended by a bad access or an endless loop;\n"
	 "skipped: hits without a run. Below a target: the probes that could not be made, and why, and\n"
	 "those that are breakpoints (some microseconds a hit) because there is no room for a jump.\n"
	 "  -s, --session NAME  the session to show (default: default)\n"
	 "  -j, --json          as JSON\n\n"
	 "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
	 "用法：limpet list [-s 名称] [--json]\n\n"
	 "显示会话的内容；没有会话时不显示任何内容，状态为 0。\n"
	 "hits：链接的程序运行次数；faults、budget：因非法访问或死循环而中止的次数；\n"
	 "skipped：命中但未运行的次数。目标之下列出未能建立的探针及原因，以及因放不下跳转而用断点\n"
	 "实现的探针（每次命中需数微秒）。\n"
	 "  -s, --session 名称  要显示的会话（缺省：default）\n"
	 "  -j, --json          以 JSON 显示\n\n"
	 "退出状态：0 成功，1 失败，2 用法错误。\n"},
};
