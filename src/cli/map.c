/* SPDX-License-Identifier: MIT */
/* limpet map: shows, dumps and changes the maps of a session, by the same operations tools use. */
#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
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
	u32 id;
	int err, status = map_id_find(m->store, text, &id);

	if (status)
		return status;
	m->fd = store_hold(m->store, OBJ_MAP, id);
	if (m->fd < 0)
		return fail(EXIT_FAILED, T("cannot open map %s: %s; `limpet list` shows what is there",
					   "无法打开 map %s：%s；`limpet list` 显示现有内容"), text, strerror(-m->fd));
	m->base = store_map_fd(m->fd, true, &m->size, &err);
	if (m->base)
		err = map_open(&m->map, m->base, m->size, true);
	if (!m->base || err) {
		if (m->base)
			munmap(m->base, m->size);
		close(m->fd);
		return fail(EXIT_FAILED, T("map %s cannot be used: %s; it is damaged or of an unknown type, `limpet map show %s` tells",
					   "无法使用 map %s：%s；已损坏或类型未知，见 `limpet map show %s`"), text, strerror(-err), text);
	}
	return 0;
}

static void map_done(struct open_map *m)
{
	munmap(m->base, m->size);
	close(m->fd);
}

static void hex_text(const u8 *p, size_t n, char *ret)
{
	for (size_t i = 0; i < n; i++)
		sprintf(ret + 2 * i, "%02x", p[i]);
	ret[2 * n] = 0;
}

static void print_bytes(const char *what, const u8 *p, size_t n)
{
	printf("%s:", what);
	for (size_t i = 0; i < n; i++)
		printf(" %02x", p[i]);
	printf("  |");
	for (size_t i = 0; i < n; i++)
		putchar(isprint(p[i]) ? p[i] : '.');
	puts("|");
}

static void add_hex(struct json_object *o, const char *key, const u8 *p, size_t n)
{
	char *text = malloc(2 * n + 1);

	if (!text)
		return;
	hex_text(p, n, text);
	json_object_object_add(o, key, json_object_new_string(text));
	free(text);
}

static struct json_object *element_json(const struct open_map *m, const u8 *key, const u8 *value)
{
	struct json_object *o = json_object_new_object();

	if (key)
		add_hex(o, "key", key, m->map.def.key_size);
	add_hex(o, "value", value, map_user_value_size(&m->map));
	return o;
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

static int operation_failed(const char *verb, const char *map, int err)
{
	const char *why = strerror(-err), *next = T("`limpet map show` tells its type and size", "`limpet map show` 显示其类型和大小");

	if (err == -ENOENT) {
		why = T("it is empty", "它是空的");
		next = T("elements come when a probed function is called", "被探测的函数被调用时才会有元素");
	} else if (err == -E2BIG) {
		why = T("it is full", "已满");
		next = T("pop one first", "请先弹出一个");
	} else if (err == -EPERM) {
		why = T("it is frozen or write-protected", "已冻结或写保护");
	}
	return fail(EXIT_FAILED, T("cannot %s map %s: %s; %s", "无法 %s map %s：%s；%s"), verb, map, why, next);
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
			if (m->json) {
				json_object_array_add(all, element_json(m, key, value));
			} else {
				print_bytes(T("key", "键"), key, m->map.def.key_size);
				print_bytes(T("value", "值"), value, value_size);
			}
		}
		err = map_user_next_key(&m->map, key, next);
	}
	free(key);
	free(value);
	if (shown == UINT64_MAX || (err && err != -ENOENT)) {
		json_object_put(all);
		return shown == UINT64_MAX ? EXIT_FAILED : operation_failed("dump", argv[0], err);
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
		operation_failed(remove ? "pop" : "peek", name, err);
	else if (m->json)
		print_json(element_json(m, NULL, value));
	else
		print_bytes(T("value", "值"), value, size);
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

/* Appends one value argument: 7, 0x7f, u32:5, u64:9, hex:00ff, str:text. False when malformed. */
static bool value_append(const char *arg, u8 *buf, size_t max, size_t *n)
{
	size_t len = 1, digits;
	char *end;
	u64 v;

	if (!strncmp(arg, "str:", 4)) {
		len = strlen(arg + 4);
		if (*n + len <= max)
			memcpy(buf + *n, arg + 4, len);
		*n += len;
		return true;
	}
	if (!strncmp(arg, "hex:", 4)) {
		digits = strlen(arg += 4);
		if (!digits || digits % 2 || strspn(arg, "0123456789abcdefABCDEF") != digits)
			return false;
		for (; *arg; arg += 2, (*n)++) {
			char two[3] = {arg[0], arg[1], 0};

			if (*n < max)
				buf[*n] = (u8)strtoul(two, NULL, 16);
		}
		return true;
	}
	if (arg[0] == 'u' && strchr(arg, ':')) {
		len = strtoul(arg + 1, &end, 10) / 8;
		if (*end != ':' || (len != 1 && len != 2 && len != 4 && len != 8))
			return false;
		arg = end + 1;
	}
	errno = 0;
	v = strtoull(arg, &end, 0);
	if (!isdigit((unsigned char)*arg) || *end || errno || (len < 8 && v >> (8 * len)))
		return false;
	if (*n + len <= max)
		memcpy(buf + *n, &v, len); /* little-endian, as the machine */
	*n += len;
	return true;
}

static int map_push(struct open_map *m, int argc, char **argv)
{
	u32 size = m->map.def.value_size;
	u8 *value = calloc(1, size + 1);
	size_t n = 0;
	int err, status = 0;

	if (!is_fifo(m))
		status = fail(EXIT_FAILED, T("cannot push to map %s: it is neither queue nor stack; use `limpet map dump`",
					     "无法压入 map %s：它既不是队列也不是栈；请用 `limpet map dump`"), argv[0]);
	for (int i = 1; i < argc && !status && value; i++)
		if (!value_append(argv[i], value, size, &n))
			status = fail(EXIT_USAGE, T("map push: '%s' is not a value; write bytes (1 0x2), u32:5, u64:9, hex:00ff or str:text",
						    "map push：“%s”不是值；请写字节（1 0x2）、u32:5、u64:9、hex:00ff 或 str:文本"), argv[i]);
	if (!status && n != size)
		status = fail(EXIT_USAGE, T("map push: a value of %s has %u bytes, %zu were given; see `limpet map --help`",
					    "map push：%s 的值有 %u 字节，给出了 %zu 字节；见 `limpet map --help`"), argv[0], size, n);
	err = value ? 0 : -ENOMEM;
	if (!status && !err)
		err = map_user_update(&m->map, NULL, value, BPF_ANY);
	free(value);
	return status ? status : err ? operation_failed("push", argv[0], err) : EXIT_OK;
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
	{"dump", map_dump, 1, 1}, {"push", map_push, 2, 4096}, {"pop", map_pop, 1, 1},
	{"peek", map_peek, 1, 1}, {"show", NULL, 0, 1},
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
		return usage_error(c, T("say dump, push, pop, peek or show", "请写 dump、push、pop、peek 或 show"));
	argc -= i;
	argv += i;
	i = options_parse(c, argc, argv, "sj", &late, &status);
	if (i < 0)
		return status;
	o.session = late.session ? late.session : o.session;
	o.json |= late.json;
	if (argc > i && !strcmp(argv[argc - 1], "--json") && v->run != map_push) {
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
	"map", run_map, {"dump, push, pop, peek or show maps", "转储、压入、弹出、查看 map"},
	{"usage: limpet map dump|pop|peek [-s NAME] [--json] MAP\n"
	 "       limpet map push [-s NAME] MAP VALUE...\n"
	 "       limpet map show [-s NAME] [--json] [MAP]\n\n"
	 "MAP is an id or a name from `limpet list`. dump: keys and values of arrays and hashes; push, pop,\n"
	 "peek: queues and stacks; show: definition and counters. A VALUE is made of bytes (1 0x2), u16:3,\n"
	 "u32:5, u64:9, hex:00ff or str:text, together as long as the map's value.\n"
	 "  -s, --session NAME  the session to use (default: default)\n"
	 "  -j, --json          as JSON; keys and values in hexadecimal\n\n"
	 "Exit status: 0 done, 1 failed (no session, no such map, empty, full, ...), 2 wrong usage.\n",
	 "用法：limpet map dump|pop|peek [-s 名称] [--json] MAP\n"
	 "      limpet map push [-s 名称] MAP 值...\n"
	 "      limpet map show [-s 名称] [--json] [MAP]\n\n"
	 "MAP 是 `limpet list` 中的编号或名称。dump：数组和哈希表的键与值；push、pop、peek：队列和栈；\n"
	 "show：定义和计数。值由字节（1 0x2）、u16:3、u32:5、u64:9、hex:00ff 或 str:文本 组成，\n"
	 "总长须等于该 map 的值长度。\n"
	 "  -s, --session 名称  使用的会话（缺省：default）\n"
	 "  -j, --json          以 JSON 显示；键和值为十六进制\n\n"
	 "退出状态：0 成功，1 失败（没有会话、没有该 map、为空、已满等），2 用法错误。\n"},
};
