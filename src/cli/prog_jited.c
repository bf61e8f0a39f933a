/* SPDX-License-Identifier: MIT */
/*
 * limpet prog dump --jited: compiles a program as a target would, with the session's maps opened in
 * this process, and prints the machine code. Addresses that mean something are explained: helpers,
 * maps, elements of arrays.
 */
#include "cli/prog.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "helpers/helpers.h"
#include "session/object.h"

#ifdef HAVE_ZYDIS
#include <Zydis/Zydis.h>

struct open_map {
	struct map map;
	void *base;
	u64 size;
};

struct compiled {
	struct vm_program prog;
	struct open_map *maps;
	struct vm_map *vm_maps;
	struct vm_region *regions;
	u8 *code;
	long size;
};

static int map_take(const struct shown_prog *p, u32 index, struct open_map *m)
{
	int err, fd = store_peek(p->store, OBJ_MAP, p->map_ids[index]);

	if (fd < 0)
		return fd;
	m->base = store_map_fd(fd, true, &m->size, &err);
	close(fd);
	return m->base ? map_open(&m->map, m->base, m->size, true) : err;
}

static int take_maps(const struct shown_prog *p, struct compiled *c)
{
	u32 n = p->head->map_count;
	int err = 0;

	c->maps = calloc(n + 1, sizeof(*c->maps));
	c->vm_maps = calloc(n + 1, sizeof(*c->vm_maps));
	c->regions = calloc(n + 1, sizeof(*c->regions));
	if (!c->maps || !c->vm_maps || !c->regions)
		return -ENOMEM;
	for (u32 i = 0; i < n && !err; i++) {
		err = map_take(p, i, &c->maps[i]);
		if (!err)
			helper_bind_map(&c->maps[i].map, &c->vm_maps[i], &c->regions[i]);
	}
	return err;
}

static int check(const struct shown_prog *p, const struct compiled *c)
{
	u32 *sizes = calloc(p->head->map_count + 1, sizeof(*sizes));
	struct bpf_check_env env = {.map_count = p->head->map_count, .map_value_size = sizes, .probes = true};
	int err = -ENOMEM;

	for (u32 i = 0; sizes && i < p->head->map_count; i++)
		sizes[i] = (u32)c->vm_maps[i].direct_size;
	if (sizes)
		err = bpf_check(p->insns, p->head->insn_count, &env);
	free(sizes);
	return err;
}

static int compile(const struct shown_prog *p, struct compiled *c)
{
	const struct prog_map *shape = (const void *)((const u8 *)p->head + p->head->map_shapes_off);
	const u64 sum = object_prog_sum(p->head, p->insns, p->map_ids, shape);
	const u32 shown = object_prog_proofs(p->head, sum, 0, 0600, 0); /* as in targets of the session's user (agent/prog.c) */
	bool same = p->head->ctx_end <= 21 * 8;
	void *scratch;
	size_t cap;

	for (u32 i = 0; i < p->head->map_shape_count; i++)
		same &= object_map_as_verified(&shape[i], &c->maps[i].map);

	c->prog = (struct vm_program){
		.insns = p->insns,
		.insn_count = p->head->insn_count,
		.maps = c->vm_maps,
		.map_count = p->head->map_count,
		.regions = c->regions,
		.region_count = p->head->map_count,
		.ctx_size = 21 * 8 /* struct pt_regs */,
		.helpers = helper_table,
		.helper_count = helper_table_size(),
		.helper_desc = bpf_helper_desc,
		.probe = helper_probe,
		.trusted = same && shown & PROG_IS_PROVEN,
		.bounded = shown & PROG_IS_SHORT || (same && shown & PROG_IS_ENDING),
		.budget = p->head->budget,
	};
	c->size = vm_jit(&c->prog, NULL, 0, 0, NULL);
	if (c->size <= 0)
		return c->size ? (int)c->size : -EINVAL;
	cap = (size_t)c->size;
	c->code = malloc(cap);
	scratch = malloc(vm_jit_scratch(&c->prog));
	c->size = c->code && scratch ? vm_jit(&c->prog, c->code, cap, (u64)c->code, scratch)
				     : -ENOMEM;
	free(scratch);
	return c->size < 0 ? (int)c->size : 0;
}

static void compiled_free(const struct shown_prog *p, struct compiled *c)
{
	for (u32 i = 0; c->maps && i < p->head->map_count; i++)
		if (c->maps[i].base)
			munmap(c->maps[i].base, c->maps[i].size);
	free(c->maps);
	free(c->vm_maps);
	free(c->regions);
	free(c->code);
}

/* What an address in the code stands for; false: nothing known. */
static bool explain(const struct shown_prog *p, const struct compiled *c, u64 address, char *ret,
		    size_t size)
{
	for (u32 i = 0; i < helper_table_size(); i++)
		if (helper_table[i] && (u64)helper_table[i] == address) {
			snprintf(ret, size, "bpf_%s",
				 bpf_helper_desc(i) ? bpf_helper_desc(i)->name : "?");
			return true;
		}
	for (u32 i = 0; i < p->head->map_count; i++) {
		const struct vm_map *m = &c->vm_maps[i];

		if ((u64)m->handle == address) {
			snprintf(ret, size, "map[id:%u](%s)", p->map_ids[i],
				 p->map_names ? p->map_names[i] : "");
			return true;
		}
		if (m->array && address >= m->elems &&
		    address < m->elems + (u64)m->value_stride * m->max_entries) {
			snprintf(ret, size, "map[id:%u](%s)[%llu]+%llu", p->map_ids[i],
				 p->map_names ? p->map_names[i] : "",
				 (unsigned long long)((address - m->elems) / m->value_stride),
				 (unsigned long long)((address - m->elems) % m->value_stride));
			return true;
		}
	}
	return false;
}

/* Disassembles at an offset; where it goes inside the code, that is an offset too. */
static bool decode(const struct compiled *c, u64 at, ZydisDisassembledInstruction *ret)
{
	const u8 *code = c->code + at;
	u64 left = (u64)c->size - at;
	ZyanU64 target;

	if (ZYAN_FAILED(
		    ZydisDisassembleATT(ZYDIS_MACHINE_MODE_LONG_64, (u64)code, code, left, ret)))
		return false;
	if (ret->info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
	    ZYAN_SUCCESS(
		    ZydisCalcAbsoluteAddress(&ret->info, &ret->operands[0], (u64)code, &target)) &&
	    target - (u64)c->code < (u64)c->size)
		ZydisDisassembleATT(ZYDIS_MACHINE_MODE_LONG_64, at, code, left, ret);
	return true;
}

/* The first operand whose address is known to us. */
static void explain_operands(const struct shown_prog *p, const struct compiled *c,
			     const ZydisDisassembledInstruction *in, char *ret, size_t size)
{
	ret[0] = 0;
	for (u32 i = 0; i < in->info.operand_count_visible && !ret[0]; i++) {
		ZyanU64 address = 0;

		if (ZYAN_FAILED(ZydisCalcAbsoluteAddress(&in->info, &in->operands[i],
							 in->runtime_address, &address)) &&
		    in->operands[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			address = in->operands[i].imm.value.u;
		if (address && explain(p, c, address, ret, size))
			return;
		ret[0] = 0;
	}
}

static struct json_object *line_json(u64 offset, const u8 *bytes, u32 length, const char *text,
				     const char *note_text)
{
	struct json_object *o = json_object_new_object();
	char hex[64];

	for (u32 i = 0; i < length && i < sizeof(hex) / 2 - 1; i++)
		sprintf(hex + 2 * i, "%02x", bytes[i]);
	json_object_object_add(o, "offset", json_object_new_uint64(offset));
	json_object_object_add(o, "bytes", json_object_new_string(hex));
	json_object_object_add(o, "text", json_object_new_string(text));
	if (note_text[0])
		json_object_object_add(o, "means", json_object_new_string(note_text));
	return o;
}

static void print_code(const struct shown_prog *p, const struct compiled *c, bool json)
{
	struct json_object *all = json_object_new_array();

	for (u64 at = 0; at < (u64)c->size;) {
		ZydisDisassembledInstruction in;
		char means[128] = "";
		u32 length = 1;

		if (decode(c, at, &in)) {
			length = in.info.length;
			explain_operands(p, c, &in, means, sizeof(means));
		} else {
			snprintf(in.text, sizeof(in.text), ".byte 0x%02x", c->code[at]);
		}
		if (json)
			json_object_array_add(all,
					      line_json(at, c->code + at, length, in.text, means));
		else
			printf("%4llx: %s%s%s\n", (unsigned long long)at, in.text,
			       means[0] ? "\t; " : "", means);
		at += length;
	}
	if (json)
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
}

int prog_print_jited(const struct shown_prog *p, bool json)
{
	struct compiled c = {0};
	int err = take_maps(p, &c);

	if (!err)
		err = check(p, &c);
	if (!err)
		err = compile(p, &c);
	if (!err)
		print_code(p, &c, json);
	compiled_free(p, &c);
	if (err == -EOPNOTSUPP)
		return fail(EXIT_FAILED,
			    T("program %u cannot be compiled: limpet has no compiler for this "
			      "processor; targets interpret it",
			      "无法编译程序 %u：limpet 没有用于此处理器的编译器；目标进程解释执行"),
			    p->head->head.id);
	if (err)
		return fail(EXIT_FAILED,
			    T("program %u cannot be compiled: %s; its file or a map of it is "
			      "damaged or gone",
			      "无法编译程序 %u：%s；其文件或某个 map 已损坏或消失"),
			    p->head->head.id, strerror(-err));
	return EXIT_OK;
}

#else

int prog_print_jited(const struct shown_prog *p, bool json)
{
	return fail(
		EXIT_FAILED,
		T("--jited cannot be shown: this limpet was built without Zydis; install "
		  "libzydis-dev and build again",
		  "无法显示 --jited：此 limpet 构建时没有 Zydis；请安装 libzydis-dev 后重新构建"));
}

#endif
