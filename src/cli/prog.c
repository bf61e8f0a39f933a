/* SPDX-License-Identifier: MIT */
/*
 * limpet prog: lists a session's programs and shows their code, in bpftool's forms. A program file
 * is copied first and only the copy is looked at: the session may be changed by others meanwhile.
 */
#include "cli/prog.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "cli/maps.h"
#include "session/object.h"

#define MANY 4096

static const char *const types[] = {
	[BPF_PROG_TYPE_SOCKET_FILTER] = "socket_filter",
	[BPF_PROG_TYPE_KPROBE] = "kprobe",
	[BPF_PROG_TYPE_TRACEPOINT] = "tracepoint",
	[BPF_PROG_TYPE_PERF_EVENT] = "perf_event",
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = "raw_tracepoint",
};

void prog_clean_text(const char *text, char *ret, size_t size)
{
	size_t n = 0;

	for (; n + 1 < size && text[n]; n++)
		ret[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
	ret[n] = 0;
}

static bool table_ok(u64 off, u64 count, u64 elem, u64 size)
{
	return off % 4 == 0 && off <= size && count <= (size - off) / elem;
}

static struct btf *btf_open(struct store *s, u32 id)
{
	struct btf *btf = NULL;
	struct btf_file *f;
	u64 size;
	int err;

	f = id ? store_map_object(s, OBJ_BTF, id, &size, &err) : NULL;
	if (!f)
		return NULL;
	libbpf_set_print(NULL);
	if (f->data_off <= size && f->data_size <= size - f->data_off)
		btf = btf__new((u8 *)f + f->data_off, f->data_size);
	munmap(f, size);
	return btf;
}

static void take_tables(struct shown_prog *p, u64 size)
{
	const struct prog_file *h = p->head;

	p->btf = btf_open(p->store, h->btf_id);
	if (p->btf && table_ok(h->line_info_off, h->line_info_cnt, sizeof(*p->lines), size)) {
		p->lines = (void *)(p->file + h->line_info_off);
		p->line_count = h->line_info_cnt;
	}
	if (p->btf && table_ok(h->func_info_off, h->func_info_cnt, sizeof(*p->funcs), size)) {
		p->funcs = (void *)(p->file + h->func_info_off);
		p->func_count = h->func_info_cnt;
	}
}

static void take_map_names(struct shown_prog *p)
{
	p->map_names = calloc(p->head->map_count + 1, sizeof(*p->map_names));
	for (u32 i = 0; p->map_names && i < p->head->map_count; i++) {
		struct json_object *o = map_facts(p->store, p->map_ids[i]);
		const char *name =
			o ? json_object_get_string(json_object_object_get(o, "name")) : "";

		prog_clean_text(name ? name : "", p->map_names[i], sizeof(*p->map_names));
		json_object_put(o);
	}
}

static void prog_close(struct shown_prog *p)
{
	btf__free(p->btf);
	free(p->map_names);
	free(p->file);
}

/* 0, -ENOENT, or -EINVAL for a damaged file. */
static int prog_open(struct store *s, u32 id, struct shown_prog *p)
{
	int err = 0;
	u64 size;
	void *shared = store_map_object(s, OBJ_PROG, id, &size, &err);

	memset(p, 0, sizeof(*p));
	p->store = s;
	if (!shared)
		return err;
	p->file = malloc(size);
	if (p->file)
		memcpy(p->file, shared, size);
	munmap(shared, size);
	if (!p->file)
		return -ENOMEM;
	p->head = (const struct prog_file *)p->file;
	if (object_check_prog(p->head, size) || p->head->head.id != id) {
		prog_close(p);
		return -EINVAL;
	}
	p->insns = (const struct bpf_insn *)(p->file + p->head->insns_off);
	p->map_ids = (const u32 *)(p->file + p->head->map_ids_off);
	take_tables(p, size);
	take_map_names(p);
	return 0;
}

static const char *type_text(u32 type, char buf[16])
{
	if (type < ARRAY_SIZE(types) && types[type])
		return types[type];
	snprintf(buf, 16, "type-%u", type);
	return buf;
}

static void loaded_at(u64 boot_ns, char *ret, size_t size)
{
	struct timespec real, boot;
	time_t then;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	then = real.tv_sec - (boot.tv_sec - (time_t)(boot_ns / 1000000000));
	if (!localtime_r(&then, &tm) || !strftime(ret, size, "%Y-%m-%dT%H:%M:%S%z", &tm))
		ret[0] = 0;
}

static struct json_object *prog_json(const struct shown_prog *p)
{
	struct json_object *o = json_object_new_object(), *maps = json_object_new_array();
	const struct prog_file *h = p->head;
	char text[64], raw[17] = "", tag[17];

	memcpy(raw, h->name, sizeof(h->name));
	for (int i = 0; i < 8; i++)
		sprintf(tag + 2 * i, "%02x", h->tag[i]);
	json_object_object_add(o, "id", json_object_new_uint64(h->head.id));
	json_object_object_add(o, "type", json_object_new_string(type_text(h->type, text)));
	prog_clean_text(raw, text, sizeof(text));
	json_object_object_add(o, "name", json_object_new_string(text));
	json_object_object_add(o, "tag", json_object_new_string(tag));
	json_object_object_add(o, "gpl_compatible",
			       json_object_new_boolean(h->gpl_compatible != 0));
	json_object_object_add(o, "verified", json_object_new_boolean(h->verified != 0));
	loaded_at(h->head.created_boot_ns, text, sizeof(text));
	json_object_object_add(o, "loaded_at", json_object_new_string(text));
	json_object_object_add(o, "uid", json_object_new_uint64(h->head.uid));
	json_object_object_add(o, "instructions", json_object_new_uint64(h->insn_count));
	for (u32 i = 0; i < h->map_count; i++)
		json_object_array_add(maps, json_object_new_uint64(p->map_ids[i]));
	json_object_object_add(o, "map_ids", maps);
	if (h->btf_id)
		json_object_object_add(o, "btf_id", json_object_new_uint64(h->btf_id));
	return o;
}

static const char *get(struct json_object *o, const char *key)
{
	return json_object_get_string(json_object_object_get(o, key));
}

static void print_prog(struct json_object *o)
{
	struct json_object *maps = json_object_object_get(o, "map_ids");

	printf("%s: %s  name %s  tag %s%s%s\n", get(o, "id"), get(o, "type"), get(o, "name"),
	       get(o, "tag"),
	       json_object_get_boolean(json_object_object_get(o, "gpl_compatible")) ? "  gpl" : "",
	       json_object_get_boolean(json_object_object_get(o, "verified"))
		       ? T("  verified", "  已验证")
		       : "");
	printf(T("\tloaded_at %s  uid %s\n\t%s instructions", "\t加载于 %s  uid %s\n\t%s 条指令"),
	       get(o, "loaded_at"), get(o, "uid"), get(o, "instructions"));
	for (size_t i = 0; i < json_object_array_length(maps); i++)
		printf("%s%s", i ? "," : "  map_ids ",
		       json_object_get_string(json_object_array_get_idx(maps, i)));
	if (get(o, "btf_id"))
		printf("  btf_id %s", get(o, "btf_id"));
	puts("");
}

static void print_json(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
						       JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static int list_progs(struct store *s, bool json)
{
	struct json_object *all = json_object_new_array();
	static u32 ids[MANY];
	int n = store_list(s, OBJ_PROG, ids, MANY);

	for (int i = 0; i < n && i < MANY; i++) {
		struct shown_prog p;
		int err = prog_open(s, ids[i], &p);

		if (err == -ENOENT)
			continue;
		if (err) {
			note(T("program %u is damaged; `limpet gc` removes what nobody holds",
			       "程序 %u 已损坏；`limpet gc` 清除无人持有的对象"),
			     ids[i]);
			continue;
		}
		json_object_array_add(all, prog_json(&p));
		prog_close(&p);
	}
	for (size_t i = 0; i < json_object_array_length(all) && !json; i++)
		print_prog(json_object_array_get_idx(all, i));
	if (json)
		print_json(all);
	else
		json_object_put(all);
	return EXIT_OK;
}

static void name_map(void *arg, u32 index, struct bpf_log *out)
{
	const struct shown_prog *p = arg;

	if (index >= p->head->map_count)
		bpf_log(out, "map[?]");
	else if (p->map_names && p->map_names[index][0])
		bpf_log(out, "map[id:%u](%s)", p->map_ids[index], p->map_names[index]);
	else
		bpf_log(out, "map[id:%u]", p->map_ids[index]);
}

static const struct bpf_line_info *line_at(const struct shown_prog *p, u32 insn)
{
	for (u32 i = 0; i < p->line_count; i++)
		if (p->lines[i].insn_off == insn)
			return &p->lines[i];
	return NULL;
}

/* The name of the function that starts at `insn`; NULL: none does. */
static const char *func_at(const struct shown_prog *p, u32 insn)
{
	for (u32 i = 0; i < p->func_count; i++) {
		const struct btf_type *t = p->funcs[i].insn_off == insn
						   ? btf__type_by_id(p->btf, p->funcs[i].type_id)
						   : NULL;

		if (t)
			return btf__name_by_offset(p->btf, t->name_off);
	}
	return NULL;
}

static const char *btf_text(const struct shown_prog *p, u32 offset, char *buf, size_t size)
{
	const char *text = btf__str_by_offset(p->btf, offset);

	while (text && (*text == ' ' || *text == '\t'))
		text++;
	prog_clean_text(text ? text : "", buf, size);
	return buf;
}

/* `said`: the source line printed last, which is not repeated. */
static void print_insn(const struct shown_prog *p, u32 at, const char *text, char said[512])
{
	const struct bpf_line_info *line = line_at(p, at);
	const char *func = func_at(p, at);
	char buf[512];

	if (func) {
		prog_clean_text(func, buf, sizeof(buf));
		printf("%s:\n", buf);
	}
	if (line && *btf_text(p, line->line_off, buf, sizeof(buf)) && strcmp(buf, said))
		printf("; %s\n", strcpy(said, buf));
	printf("%4u: %s\n", at, text);
}

static struct json_object *insn_json(const struct shown_prog *p, u32 at, const char *text)
{
	const struct bpf_line_info *line = line_at(p, at);
	struct json_object *o = json_object_new_object();
	const char *func = func_at(p, at);
	char buf[512];

	json_object_object_add(o, "insn", json_object_new_uint64(at));
	if (func) {
		prog_clean_text(func, buf, sizeof(buf));
		json_object_object_add(o, "function", json_object_new_string(buf));
	}
	json_object_object_add(o, "text", json_object_new_string(text));
	if (line) {
		json_object_object_add(
			o, "source",
			json_object_new_string(btf_text(p, line->line_off, buf, sizeof(buf))));
		json_object_object_add(
			o, "file",
			json_object_new_string(btf_text(p, line->file_name_off, buf, sizeof(buf))));
		json_object_object_add(
			o, "line", json_object_new_uint64(BPF_LINE_INFO_LINE_NUM(line->line_col)));
	}
	return o;
}

static int print_code(const struct shown_prog *p, bool json)
{
	const struct bpf_disasm_names names = {(void *)p, name_map};
	struct json_object *all = json_object_new_array();
	char text[256], said[512] = "";

	for (u32 at = 0; at < p->head->insn_count;) {
		struct bpf_log out = {text, sizeof(text), 0};
		u32 slots = bpf_disasm(p->insns, p->head->insn_count, at, &names, &out);

		if (json)
			json_object_array_add(all, insn_json(p, at, text));
		else
			print_insn(p, at, text, said);
		at += slots;
	}
	if (json)
		print_json(all);
	else
		json_object_put(all);
	return EXIT_OK;
}

/* By id, or by name where only one has it; 0, or an exit status after saying why. */
static int prog_find(struct store *s, const char *text, u32 *ret)
{
	bool number = *text && text[strspn(text, "0123456789")] == 0;
	static u32 ids[MANY];
	int n = store_list(s, OBJ_PROG, ids, MANY), found = 0;

	for (int i = 0; i < n && i < MANY; i++) {
		struct shown_prog p;
		bool hit = number && ids[i] == strtoul(text, NULL, 10);

		if (!number && !prog_open(s, ids[i], &p)) {
			hit = !strncmp(p.head->name, text, sizeof(p.head->name)) &&
			      strlen(text) <= sizeof(p.head->name);
			prog_close(&p);
		}
		if (hit) {
			*ret = ids[i];
			found++;
		}
	}
	if (!found)
		return fail(EXIT_FAILED,
			    T("there is no program %s in %s; `limpet prog list` shows them",
			      "%2$s 中没有程序 %1$s；`limpet prog list` 列出所有程序"),
			    text, s->path);
	if (found > 1)
		return fail(EXIT_FAILED,
			    T("%d programs are called %s; give an id from `limpet prog list`",
			      "有 %d 个程序名为 %s；请用 `limpet prog list` 中的编号"),
			    found, text);
	return 0;
}

static int dump_prog(struct store *s, const char *text, const struct options *o)
{
	struct shown_prog p;
	u32 id = 0;
	int err, status = prog_find(s, text, &id);

	if (status)
		return status;
	err = prog_open(s, id, &p);
	if (err)
		return fail(EXIT_FAILED,
			    T("program %s cannot be read: %s; it is damaged, or gone meanwhile",
			      "无法读取程序 %s：%s；已损坏或刚刚消失"),
			    text, strerror(-err));
	status = o->jited ? prog_print_jited(&p, o->json) : print_code(&p, o->json);
	prog_close(&p);
	return status;
}

/* Options may stand before and after the verb. */
static int run_prog(const struct command *c, int argc, char **argv)
{
	struct options o, late;
	int status, i = options_parse(c, argc, argv, "sjx", &o, &status);
	const char *verb, *id = NULL;
	struct store s;
	bool dump, verify;

	if (i < 0)
		return status;
	verb = i < argc ? argv[i] : "";
	dump = !strcmp(verb, "dump");
	verify = !strcmp(verb, "verify");
	if (!dump && !verify && strcmp(verb, "list"))
		return usage_error(c, T("say list, dump or verify", "请写 list、dump 或 verify"));
	for (int round = 0; round < 2; round++) { /* before and behind the id */
		argc -= i;
		argv += i;
		i = options_parse(c, argc, argv, "sjx", &late, &status);
		if (i < 0)
			return status;
		o.session = late.session ? late.session : o.session;
		o.json |= late.json;
		o.jited |= late.jited;
		if ((dump || verify) && !id && i < argc)
			id = argv[i];
		else
			break;
	}
	if ((dump || verify) && !id)
		return usage_error(c, verify ? T("which object file?", "要验证哪个目标文件？")
					     : T("an id or name is missing", "缺少编号或名称"));
	if (i < argc)
		return usage_error(c, T("too many arguments", "参数过多"));
	if (!dump && o.jited)
		return usage_error(c, T("--jited goes with dump", "--jited 用于 dump"));
	if (verify)
		return prog_verify_object(id, o.json);
	if (!dump && session_missing(&o)) { /* a list of nothing is empty, and no error */
		if (o.json)
			puts("[]");
		return EXIT_OK;
	}
	status = session_open(&s, &o, 0);
	if (status)
		return status;
	status = dump ? dump_prog(&s, id, &o) : list_progs(&s, o.json);
	store_close(&s);
	return status;
}

const struct command cmd_prog = {
	"prog",
	run_prog,
	{"list programs, show their code", "列出程序，显示其代码"},
	{"usage: limpet prog list [-s NAME] [--json]\n"
	 "       limpet prog dump [-s NAME] [--json] [--jited] PROGRAM\n"
	 "       limpet prog verify [--json] OBJECT.bpf.o\n\n"
	 "list shows the session's programs; nothing where there is no session. PROGRAM is an\n"
	 "id or a name from it. dump shows instructions in bpftool's form, with the source lines\n"
	 "its BTF has; --jited what the compiler makes of them on this machine. That is compiled\n"
	 "here, to be looked at: in a target, addresses differ. verify says of each program of an object\n"
	 "file whether it would be accepted, and why not (docs/verifier.md).\n"
	 "  -s, --session NAME  the session to use (default: default)\n"
	 "  -x, --jited         the machine code instead of the instructions\n"
	 "  -j, --json          as JSON\n\n"
	 "Exit status: 0 done, 1 failed (no such program, damaged, no compiler; verify: one was\n"
	 "refused), 2 wrong usage.\n",
	 "用法：limpet prog list [-s 名称] [--json]\n"
	 "      limpet prog dump [-s 名称] [--json] [--jited] 程序\n"
	 "      limpet prog verify [--json] 目标文件.bpf.o\n\n"
	 "list 列出会话中的程序；没有会话时不显示任何内容。“程序”是其中的编号或名称。\n"
	 "dump 以 bpftool 的格式显示指令，并附上 BTF 中的源代码行；--jited 显示编译器在本机\n"
	 "生成的机器代码。代码在此处编译仅供查看：在目标进程中地址不同。verify 说明目标文件中的\n"
	 "每个程序是否会被接受，以及拒绝的原因（docs/verifier.md）。\n"
	 "  -s, --session 名称  使用的会话（缺省：default）\n"
	 "  -x, --jited         显示机器代码而不是指令\n"
	 "  -j, --json          以 JSON 显示\n\n"
	 "退出状态：0 成功，1 失败（没有该程序、已损坏、没有编译器；verify：有程序被拒绝），2 用法错误。\n"},
};
