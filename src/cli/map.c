/* SPDX-License-Identifier: MIT */
/* limpet map: shows, dumps and changes the maps of a session, by the same operations tools use. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cli/maps.h"

#define MANY 4096

struct open_map {
	struct map map;
	void *base;
	u64 size;
	int fd; /* held: the map cannot go while we work on it */
	struct store *store;
	struct typed *typed; /* its BTF */
	bool json;
};

/* By id or by name; 0, or an exit status after saying why. */
static int map_id_find(struct store *s, const char *text, u32 *ret)
{
	bool number = text[strspn(text, "0123456789")] == 0 && *text;
	static u32 ids[MANY];
	int n = store_list(s, OBJ_MAP, ids, MANY), found = 0;

	for (int i = 0; i < n && i < MANY; i++) {
		struct json_object *o, *name;

		if (number && ids[i] != strtoul(text, NULL, 10))
			continue;
		o = number ? NULL : map_facts(s, ids[i]);
		name = o ? json_object_object_get(o, "name") : NULL;
		if (number || (name && !strcmp(json_object_get_string(name), text))) {
			*ret = ids[i];
			found++;
		}
		json_object_put(o);
	}
	if (!found)
		return fail(EXIT_FAILED, T("there is no map %s in %s; `limpet list` shows them",
					   "%2$s 中没有 map %1$s；`limpet list` 列出所有 map"), text, s->path);
	if (found > 1)
		return fail(EXIT_FAILED, T("%d maps are called %s; give an id from `limpet list`",
					   "有 %d 个 map 名为 %s；请用 `limpet list` 中的编号"), found, text);
	return 0;
}

static int map_open_text(struct open_map *m, const char *text)
{
	u32 id, kernel;
	int err, status = map_id_find(m->store, text, &id);

	if (status)
		return status;
	m->fd = store_hold(m->store, OBJ_MAP, id);
	if (m->fd < 0)
		return fail(EXIT_FAILED, T("cannot open map %s: %s; `limpet list` shows what is there",
					   "无法打开 map %s：%s；`limpet list` 显示现有内容"), text, error_text(-m->fd));
	m->base = store_map_fd(m->fd, true, &m->size, &err);
	if (m->base)
		err = map_open(&m->map, m->base, m->size, true);
	if (m->base && !err)
		err = store_take_pages(&m->map, m->fd);
	if (m->base && !err)
		map_order_make(&m->map);
	if (!m->base || err) {
		if (m->base)
			munmap(m->base, m->size);
		close(m->fd);
		return fail(EXIT_FAILED, T("map %s cannot be used: %s; it is damaged or of an unknown type, `limpet map show %s` tells",
					   "无法使用 map %s：%s；已损坏或类型未知，见 `limpet map show %s`"), text, error_text(-err), text);
	}
	kernel = atomic_load(&m->map.meta->kernel_id);
	if (kernel && !atomic_load(&m->map.meta->kernel_pages))
		note(T("map %s has a part in the kernel (limpet load --with-kernel), which this does not reach: there it is map %u (bpftool map dump id %u)",
		       "map %s 有一部分在内核中（limpet load --with-kernel），本命令不涉及：在内核中是 map %u（bpftool map dump id %u）"), text, kernel, kernel);
	m->typed = typed_open(m->store, &m->map.def);
	return 0;
}

static void map_done(struct open_map *m)
{
	typed_close(m->typed);
	munmap(m->base, m->size);
	close(m->fd);
}

static bool is_percpu(const struct open_map *m)
{
	u32 t = m->map.def.type;

	return t == BPF_MAP_TYPE_PERCPU_ARRAY || t == BPF_MAP_TYPE_PERCPU_HASH || t == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static void add_typed(const struct open_map *m, struct json_object *o, const char *name, bool is_key,
		      const u8 *data, size_t size)
{
	char *text = typed_text(m->typed, is_key, data, size);

	if (text)
		json_object_object_add(o, name, json_object_new_string(text));
	free(text);
}

static struct json_object *value_json(const struct open_map *m, const u8 *value, size_t size)
{
	struct json_object *o = json_object_new_object();

	add_hex(o, "value", value, size);
	add_typed(m, o, "typed", false, value, size);
	return o;
}

static struct json_object *element_json(const struct open_map *m, const u8 *key, const u8 *value)
{
	u32 size = m->map.def.value_size, stride = ALIGN_UP(size, 8);
	struct json_object *o = json_object_new_object(), *all;

	if (key) {
		add_hex(o, "key", key, m->map.def.key_size);
		add_typed(m, o, "typed_key", true, key, m->map.def.key_size);
	}
	if (!is_percpu(m)) {
		add_hex(o, "value", value, size);
		add_typed(m, o, "typed_value", false, value, size);
		return o;
	}
	all = json_object_new_array();
	for (u64 at = 0; at + stride <= map_user_value_size(&m->map); at += stride)
		json_object_array_add(all, value_json(m, value + at, size));
	json_object_object_add(o, "values", all);
	return o;
}

static void print_typed(const struct open_map *m, const char *what, bool is_key, const u8 *data, size_t size)
{
	char *text = typed_text(m->typed, is_key, data, size);

	print_bytes(what, data, size);
	printf(text ? "  = %s\n" : "\n", text);
	free(text);
}

static void print_element(const struct open_map *m, const u8 *key, const u8 *value)
{
	u32 size = m->map.def.value_size, stride = ALIGN_UP(size, 8);
	char what[64];

	if (key)
		print_typed(m, T("key", "键"), true, key, m->map.def.key_size);
	if (!is_percpu(m))
		print_typed(m, T("value", "值"), false, value, size);
	else
		for (u64 at = 0, cpu = 0; at + stride <= map_user_value_size(&m->map); at += stride, cpu++) {
			snprintf(what, sizeof(what), T("value, CPU %u", "值，CPU %u"), (u32)cpu);
			print_typed(m, what, false, value + at, size);
		}
}

static void print_json(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static bool is_fifo(const struct open_map *m)
{
	return m->map.def.type == BPF_MAP_TYPE_QUEUE || m->map.def.type == BPF_MAP_TYPE_STACK;
}

enum operation { OP_DUMP, OP_LOOKUP, OP_UPDATE, OP_DELETE, OP_PUSH, OP_POP, OP_PEEK };

static int operation_failed(enum operation op, const char *map, int err)
{
	static const char *const verbs[][2] = {
		[OP_DUMP] = {"dump", "转储"}, [OP_LOOKUP] = {"look up in", "查找"}, [OP_UPDATE] = {"update", "更新"},
		[OP_DELETE] = {"delete from", "删除"}, [OP_PUSH] = {"push to", "压入"}, [OP_POP] = {"pop", "弹出"},
		[OP_PEEK] = {"peek at", "查看"},
	};
	const char *why = error_text(-err), *next = T("`limpet map show` tells its type and size", "`limpet map show` 显示其类型和大小");

	if (err == -ENOENT && (op == OP_POP || op == OP_PEEK)) {
		why = T("it is empty", "它是空的");
		next = T("elements come when a probed function is called", "被探测的函数被调用时才会有元素");
	} else if (err == -ENOENT) {
		why = T("there is no such key", "没有这个键");
		next = T("`limpet map dump` shows them", "`limpet map dump` 列出所有键");
	} else if (err == -E2BIG) {
		why = T("it is full, or the key is beyond its end", "已满，或键超出末尾");
		next = T("pop or delete one first", "请先弹出或删除一个");
	} else if (err == -EINVAL || err == -EOPNOTSUPP || err == -524) {
		why = T("this type of map does not do that", "这种类型的 map 不支持该操作");
	} else if (err == -EPERM) {
		why = T("it is frozen or write-protected", "已冻结或写保护");
	}
	return fail(EXIT_FAILED, T("cannot %s map %s: %s; %s", "无法%s map %s：%s；%s"), verbs[op][cli_chinese], map, why, next);
}

static int map_dump(struct open_map *m, int argc, char **argv)
{
	u64 value_size = map_user_value_size(&m->map);
	u8 *key = calloc(2, m->map.def.key_size + 1), *next = key ? key + m->map.def.key_size : NULL;
	u8 *value = calloc(1, value_size + 1);
	struct json_object *all = json_object_new_array();
	u64 shown = 0;
	int err = -ENOMEM;

	if (is_fifo(m)) {
		err = 0;
		fail(EXIT_FAILED, T("cannot dump map %s: a queue or stack has no keys; use `limpet map peek` or `limpet map pop`",
				    "无法转储 map %s：队列和栈没有键；请用 `limpet map peek` 或 `limpet map pop`"), argv[0]);
		shown = UINT64_MAX;
	} else if (key && value) {
		err = map_user_next_key(&m->map, NULL, next);
	}
	/* A map that changes meanwhile may lead in circles: stop after twice its size. */
	for (u64 steps = 0; shown != UINT64_MAX && !err && steps < 2ULL * m->map.def.max_entries; steps++) {
		memcpy(key, next, m->map.def.key_size);
		if (!map_user_lookup(&m->map, key, value, 0)) {
			shown++;
			if (m->json)
				json_object_array_add(all, element_json(m, key, value));
			else
				print_element(m, key, value);
		}
		err = map_user_next_key(&m->map, key, next);
	}
	free(key);
	free(value);
	if (shown == UINT64_MAX || (err && err != -ENOENT)) {
		json_object_put(all);
		return shown == UINT64_MAX ? EXIT_FAILED : operation_failed(OP_DUMP, argv[0], err);
	}
	if (m->json)
		print_json(all);
	else
		json_object_put(all);
	return EXIT_OK;
}

static int map_take(struct open_map *m, const char *name, bool remove)
{
	u64 size = map_user_value_size(&m->map);
	u8 *value = calloc(1, size + 1);
	int err = -ENOMEM;

	if (value && !is_fifo(m)) {
		free(value);
		return fail(EXIT_FAILED, T("cannot %s map %s: it is neither queue nor stack; use `limpet map dump`",
					   "无法 %s map %s：它既不是队列也不是栈；请用 `limpet map dump`"),
			    remove ? "pop" : "peek", name);
	}
	if (value)
		err = remove ? map_user_lookup_and_delete(&m->map, NULL, value, 0) :
			       map_user_lookup(&m->map, NULL, value, 0);
	if (err)
		operation_failed(remove ? OP_POP : OP_PEEK, name, err);
	else if (m->json)
		print_json(element_json(m, NULL, value));
	else
		print_element(m, NULL, value);
	free(value);
	return err ? EXIT_FAILED : EXIT_OK;
}

static int map_pop(struct open_map *m, int argc, char **argv)
{
	return map_take(m, argv[0], true);
}

static int map_peek(struct open_map *m, int argc, char **argv)
{
	return map_take(m, argv[0], false);
}

/* One value from the arguments; a per-CPU map gets it on every CPU. 0, or a status after saying why. */
static int parse_value(struct open_map *m, const char *name, char **args, int count, u8 *value)
{
	u64 total = map_user_value_size(&m->map);
	u32 size = m->map.def.value_size, stride = ALIGN_UP(size, 8);
	int used = count, status = value_parse(T("value", "值"), name, args, &used, value, size);

	if (!status && used != count)
		status = fail(EXIT_USAGE, T("map: too many arguments for %s; see `limpet map --help`",
					    "map：%s 的参数过多；见 `limpet map --help`"), name);
	if (!status && is_percpu(m))
		for (u64 at = stride; at + stride <= total; at += stride)
			memcpy(value + at, value, size);
	return status;
}

static int map_push(struct open_map *m, int argc, char **argv)
{
	u8 *value = calloc(1, map_user_value_size(&m->map) + 8);
	int err, status = 0;

	if (!is_fifo(m))
		status = fail(EXIT_FAILED, T("cannot push to map %s: it is neither queue nor stack; use `limpet map update`",
					     "无法压入 map %s：它既不是队列也不是栈；请用 `limpet map update`"), argv[0]);
	err = value ? 0 : -ENOMEM;
	if (!status && !err)
		status = parse_value(m, argv[0], argv + 1, argc - 1, value);
	if (!status && !err)
		err = map_user_update(&m->map, NULL, value, BPF_ANY);
	free(value);
	return status ? status : err ? operation_failed(OP_PUSH, argv[0], err) : EXIT_OK;
}

/* `what`: lookup, update or delete. */
static int keyed_run(struct open_map *m, enum operation what, char **argv, int argc, u8 *key, u8 *value)
{
	/* two plain numbers are a key and a value */
	int count = what == OP_UPDATE && argc == 3 ? 1 : argc - 1;
	int err, status = value_parse(T("key", "键"), argv[0], argv + 1, &count, key, m->map.def.key_size);

	if (status)
		return status;
	if (what == OP_UPDATE) {
		status = parse_value(m, argv[0], argv + 1 + count, argc - 1 - count, value);
	} else if (count != argc - 1) {
		status = fail(EXIT_USAGE, T("map: too many arguments for %s; see `limpet map --help`",
					    "map：%s 的参数过多；见 `limpet map --help`"), argv[0]);
	}
	if (status)
		return status;
	err = what == OP_LOOKUP ? map_user_lookup(&m->map, key, value, 0) :
	      what == OP_UPDATE ? map_user_update(&m->map, key, value, BPF_ANY) :
				     map_user_delete(&m->map, key);
	if (err)
		return operation_failed(what, argv[0], err);
	if (what == OP_LOOKUP && m->json)
		print_json(element_json(m, key, value));
	else if (what == OP_LOOKUP)
		print_element(m, key, value);
	return EXIT_OK;
}

static int map_keyed(struct open_map *m, enum operation what, int argc, char **argv)
{
	u8 *key, *value;
	int status;

	if (is_fifo(m))
		return fail(EXIT_FAILED, T("map %s is a queue or stack and has no keys; use `limpet map push`, `peek` or `pop`",
					   "map %s 是队列或栈，没有键；请用 `limpet map push`、`peek` 或 `pop`"), argv[0]);
	key = calloc(1, m->map.def.key_size + 8);
	value = calloc(1, map_user_value_size(&m->map) + 8);
	status = key && value ? keyed_run(m, what, argv, argc, key, value) : operation_failed(what, argv[0], -ENOMEM);
	free(key);
	free(value);
	return status;
}

static int map_lookup(struct open_map *m, int argc, char **argv)
{
	return map_keyed(m, OP_LOOKUP, argc, argv);
}

static int map_update(struct open_map *m, int argc, char **argv)
{
	return map_keyed(m, OP_UPDATE, argc, argv);
}

static int map_delete(struct open_map *m, int argc, char **argv)
{
	return map_keyed(m, OP_DELETE, argc, argv);
}

static int map_show(struct store *s, const char *text, bool json)
{
	struct json_object *all = json_object_new_array();
	static u32 ids[MANY];
	int n = store_list(s, OBJ_MAP, ids, MANY), status;

	if (text) {
		status = map_id_find(s, text, ids);
		if (status) {
			json_object_put(all);
			return status;
		}
		n = 1;
	}
	for (int i = 0; i < n && i < MANY; i++) {
		struct json_object *o = map_facts(s, ids[i]);

		if (!o) {
			note(T("map %u is damaged or gone; `limpet gc` removes what nobody holds",
			       "map %u 已损坏或已消失；`limpet gc` 清除无人持有的对象"), ids[i]);
			continue;
		}
		if (!json) {
			json_object_object_foreach(o, key, v)
				printf("%s%s: %s\n", strcmp(key, "id") ? "  " : "", key,
				       json_object_to_json_string_ext(v, JSON_C_TO_STRING_SPACED));
		}
		json_object_array_add(all, o);
	}
	if (json)
		print_json(all);
	else
		json_object_put(all);
	return EXIT_OK;
}

static const struct verb {
	const char *name;
	int (*run)(struct open_map *m, int argc, char **argv);
	int min, max; /* arguments, the map included */
} verbs[] = {
	{"show", NULL, 0, 1}, {"dump", map_dump, 1, 1}, {"lookup", map_lookup, 2, 4096},
	{"update", map_update, 3, 4096}, {"delete", map_delete, 2, 4096},
	{"push", map_push, 2, 4096}, {"pop", map_pop, 1, 1}, {"peek", map_peek, 1, 1},
};

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

/* Options may also follow the verb: limpet map dump --json NAME. */
static int run_map(const struct command *c, int argc, char **argv)
{
	struct options o, late;
	struct open_map m;
	const struct verb *v;
	struct store s;
	int status, i = options_parse(c, argc, argv, "sj", &o, &status);

	if (i < 0)
		return status;
	v = i < argc ? verb_find(argv[i]) : NULL;
	if (!v)
		return usage_error(c, T("say show, dump, lookup, update, delete, push, pop or peek",
				      "请写 show、dump、lookup、update、delete、push、pop 或 peek"));
	argc -= i;
	argv += i;
	i = options_parse(c, argc, argv, "sj", &late, &status);
	if (i < 0)
		return status;
	o.session = late.session ? late.session : o.session;
	o.json |= late.json;
	if (argc > i && !strcmp(argv[argc - 1], "--json")) {
		o.json = true;
		argc--;
	}
	if (argc - i < v->min || argc - i > v->max)
		return usage_error(c, argc - i < v->min ? T("an argument is missing", "缺少参数") :
							  T("too many arguments", "参数过多"));
	status = session_open(&s, &o, 0);
	if (status)
		return status;
	m = (struct open_map){.store = &s, .json = o.json};
	if (!v->run) {
		status = map_show(&s, argc > i ? argv[i] : NULL, o.json);
	} else if (!(status = map_open_text(&m, argv[i]))) {
		status = v->run(&m, argc - i, argv + i);
		map_done(&m);
	}
	store_close(&s);
	return status;
}

const struct command cmd_map = {
	"map", run_map, {"show, dump and change maps", "显示、转储、修改 map"},
	{"usage: limpet map show [-s NAME] [--json] [MAP]\n"
	 "       limpet map dump|pop|peek [-s NAME] [--json] MAP\n"
	 "       limpet map lookup|delete [-s NAME] [--json] MAP KEY...\n"
	 "       limpet map update [-s NAME] MAP KEY... VALUE...\n"
	 "       limpet map push [-s NAME] MAP VALUE...\n\n"
	 "MAP is an id or a name from `limpet list`. show: definition and counters; push, pop, peek: queues and\n"
	 "stacks; the others: maps with keys. A KEY or VALUE is made of bytes (1 0x2), u16:3, u32:5, u64:9,\n"
	 "hex:00ff or str:text, together as long as the map's; a number alone has that length by itself. Where\n"
	 "the tool gave types (BTF), keys and values are shown by them too. A per-CPU map gets a value on all CPUs.\n"
	 "  -s, --session NAME  the session to use (default: default)\n"
	 "  -j, --json          as JSON; keys and values in hexadecimal\n\n"
	 "Exit status: 0 done, 1 failed (no session, no such map or key, empty, full, ...), 2 wrong usage.\n",
	 "用法：limpet map show [-s 名称] [--json] [MAP]\n"
	 "      limpet map dump|pop|peek [-s 名称] [--json] MAP\n"
	 "      limpet map lookup|delete [-s 名称] [--json] MAP 键...\n"
	 "      limpet map update [-s 名称] MAP 键... 值...\n"
	 "      limpet map push [-s 名称] MAP 值...\n\n"
	 "MAP 是 `limpet list` 中的编号或名称。show：定义和计数；push、pop、peek：队列和栈；其余：有键的 map。\n"
	 "键和值由字节（1 0x2）、u16:3、u32:5、u64:9、hex:00ff 或 str:文本 组成，总长须等于该 map 的键长或值长；\n"
	 "单独一个数自动取该长度。工具提供了类型（BTF）时，还按类型显示。对 per-CPU map，值写到所有 CPU。\n"
	 "  -s, --session 名称  使用的会话（缺省：default）\n"
	 "  -j, --json          以 JSON 显示；键和值为十六进制\n\n"
	 "退出状态：0 成功，1 失败（没有会话、没有该 map 或键、为空、已满等），2 用法错误。\n"},
};
