/* SPDX-License-Identifier: MIT */
/* BPF_PROG_LOAD: attributes, type information, and the program's file. */
#include "loader/prog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "loader/btf.h"
#include "loader/kernel.h"
#include "loader/kernel_only.h"
#include "loader/refs.h"
#include "loader/task.h"
#include "session/object.h"

#define PROG_FLAGS                                                                                 \
	(BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT | BPF_F_TEST_RND_HI32 |                      \
	 BPF_F_TEST_STATE_FREQ | BPF_F_SLEEPABLE | BPF_F_XDP_HAS_FRAGS |                           \
	 BIT(6) /* BPF_F_XDP_DEV_BOUND_ONLY */ | BIT(7) /* BPF_F_TEST_REG_INVARIANTS */)
#define MIN_FUNC_REC 8
#define MIN_LINE_REC 16
#define MAX_REC      252

bool prog_type_supported(u32 type)
{
	return type == BPF_PROG_TYPE_SOCKET_FILTER || type == BPF_PROG_TYPE_KPROBE ||
	       type == BPF_PROG_TYPE_TRACEPOINT || type == BPF_PROG_TYPE_PERF_EVENT ||
	       type == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

static bool gpl_compatible(const char *license)
{
	static const char *const ok[] = {
		"GPL",          "GPL v2",       "GPL and additional rights",
		"Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"};

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++)
		if (!strcmp(license, ok[i]))
			return true;
	return false;
}

static u64 put(struct prog_file *f, u64 *off, const void *p, u64 n)
{
	u64 at = *off;

	if (n)
		memcpy((char *)f + at, p, n);
	*off = ALIGN_UP(at + n, 8);
	return at;
}

static void fill_prog(struct prog_file *f, const struct prog_load *l, const union bpf_attr *a)
{
	u64 off = ALIGN_UP(sizeof(struct prog_file), 8);

	f->type = a->prog_type;
	f->expected_attach_type = a->expected_attach_type;
	f->insn_count = l->count;
	f->map_count = l->map_count;
	f->btf_id = l->btf_id;
	f->gpl_compatible = l->gpl;
	f->verified = l->verified;
	f->flags = a->prog_flags;
	f->ctx_end = l->ctx_end;
	f->processed = l->processed;
	f->insns_off = put(f, &off, l->insns, (u64)l->count * sizeof(struct bpf_insn));
	f->map_ids_off =
		put(f, &off, l->map_id, sizeof(l->map_id)); /* with room for maps bound later */
	f->map_shape_count = l->shape_count;
	f->map_shapes_off = put(f, &off, l->shape, l->shape_count * sizeof(*l->shape));
	f->sum = object_prog_sum(f, l->insns, l->map_id, l->shape);
	f->func_info_cnt = l->funcs ? a->func_info_cnt : 0;
	f->func_info_off = put(f, &off, l->funcs, (u64)f->func_info_cnt * sizeof(*l->funcs));
	f->line_info_cnt = l->lines ? a->line_info_cnt : 0;
	f->line_info_off = put(f, &off, l->lines, (u64)f->line_info_cnt * sizeof(*l->lines));
	memcpy(f->tag, l->tag, sizeof(f->tag));
	loader_copy_name(f->name, a->prog_name);
}

static int add_refs(struct store *s, u32 id, const struct prog_load *l)
{
	int err = l->btf_id ? store_ref(s, OBJ_PROG, id, OBJ_BTF, l->btf_id) : 0;

	for (u32 i = 0; !err && i < l->map_count; i++)
		err = store_ref(s, OBJ_PROG, id, OBJ_MAP, l->map_id[i]);
	return err;
}

long prog_store(struct store *s, const struct prog_load *l, const union bpf_attr *a)
{
	u64 size = sizeof(struct prog_file) + (u64)l->count * sizeof(struct bpf_insn) +
		   sizeof(l->map_id) + sizeof(l->shape) + (l->funcs ? (u64)a->func_info_cnt * sizeof(*l->funcs) : 0) +
		   (l->lines ? (u64)a->line_info_cnt * sizeof(*l->lines) : 0) + 64;
	struct prog_file *f;
	u32 id;
	int err = 0, fd = store_new(s, OBJ_PROG, ALIGN_UP(size, PAGE_SIZE), &id);

	if (fd < 0)
		return fd;
	f = store_map_fd(fd, true, &size, &err);
	if (!f) {
		close(fd);
		return err;
	}
	store_head(&f->head, OBJ_PROG, id, size);
	fill_prog(f, l, a);
	munmap(f, size);
	fd = store_publish(s, OBJ_PROG, id, fd);
	if (fd < 0)
		return fd;
	err = add_refs(s, id, l);
	if (err) {
		close(fd);
		store_release(s, OBJ_PROG, id);
		return err;
	}
	return loader_fd_add(fd, OBJ_PROG, id);
}

/* What the kernel looks at before it copies anything. */
static int check_attr(const union attr_more *a)
{
	const union bpf_attr *k = &a->attr;

	if (k->prog_flags & ~(u32)PROG_FLAGS)
		return -EINVAL;
	if (!k->insn_cnt || k->insn_cnt > BPF_MAX_INSNS)
		return -E2BIG;
	if (!prog_type_supported(k->prog_type) && !kernel_on())
		kernel_only_prog(k);
	if (k->attach_prog_fd || k->attach_btf_id || a->prog_load.signature)
		return -EINVAL;
	return 0;
}

static int take_insns(struct prog_load *l, const union bpf_attr *a)
{
	char license[128];
	int err;

	l->count = a->insn_cnt;
	l->insns = malloc((size_t)l->count * sizeof(*l->insns));
	if (!l->insns)
		return -ENOMEM;
	err = user_read(l->insns, a->insns, (u64)l->count * sizeof(*l->insns));
	if (err || user_string(license, a->license, sizeof(license) - 1) < 0)
		return -EFAULT;
	license[sizeof(license) - 1] = 0;
	l->gpl = gpl_compatible(license);
	return 0;
}

/* Records of one kind as the program brings them. */
struct records {
	const char *what; /* in messages */
	u64 from;
	u32 count, size;
	u32 known, min; /* bytes of a record that limpet knows, and the fewest there may be */
	const struct btf *types;
	/* of record i, which begins with an instruction's number, as the one before did with `last` */
	int (*check)(struct prog_load *l, const struct records *r, u32 i, const u32 *record, u32 last);
};

/* Where in the program it is, is looked at when its functions are known (check_funcs). */
static int check_func(struct prog_load *l, const struct records *r, u32 i, const u32 *record, u32 last)
{
	if (!i && record[0])
		bpf_log(&l->log.text, "nonzero insn_off %u for the first func info record", record[0]);
	else if (i && record[0] <= last)
		bpf_log(&l->log.text, "same or smaller insn offset (%u) than previous func info record (%u)", record[0], last);
	else if (btf_kind(r->types, record[1]) != BTF_KIND_FUNC)
		bpf_log(&l->log.text, "invalid type id %d in func info\n", (int)record[1]);
	else
		return 0;
	return -EINVAL;
}

static int check_line(struct prog_load *l, const struct records *r, u32 i, const u32 *record, u32 last)
{
	const struct bpf_line_info *line = (const void *)record;

	if ((i && line->insn_off <= last) || line->insn_off >= l->count)
		bpf_log(&l->log.text, "Invalid line_info[%u].insn_off:%u (prev_offset:%u prog->len:%u)\n", i, line->insn_off, last, l->count);
	else if (!l->insns[line->insn_off].code)
		bpf_log(&l->log.text, "Invalid insn code at line_info[%u].insn_off\n", i);
	else if (line->line_off >= r->types->head.str_len || line->file_name_off >= r->types->head.str_len)
		bpf_log(&l->log.text, "Invalid line_info[%u].line_off or .file_name_off\n", i);
	else
		return 0;
	return -EINVAL;
}

/* Copies the records as ones of `known` bytes and checks each. Order and words of what is found are the kernel's. */
static int take_records(struct prog_load *l, void **ret, const struct records *r)
{
	const u32 count = r->count, size = r->size, known = r->known;
	u64 from = r->from;
	u32 last = 0;
	u8 *all;

	if (size < r->min || size > MAX_REC || size % 4 || count > INT32_MAX / size) {
		if (r->check == check_func) /* of lines it says nothing */
			bpf_log(&l->log.text, "invalid func info rec size %u\n", size);
		return -EINVAL;
	}
	all = *ret = calloc(count + 1, known);
	if (!all)
		return -ENOMEM;
	for (u32 i = 0; i < count; i++, from += size) {
		u32 *record = (u32 *)(all + i * known);
		int err = size > known ? user_zero(from + known, size - known) : 0;

		if (err == -E2BIG)
			bpf_log(&l->log.text, "nonzero tailing record in %s", r->what);
		if (!err)
			err = user_read(record, from, size < known ? size : known);
		if (!err)
			err = r->check(l, r, i, record, last);
		if (err)
			return err;
		last = record[0];
	}
	return 0;
}

static bool is_call(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL;
}

static bool is_func_ref(const struct bpf_insn *in)
{
	return in->code == (BPF_LD | BPF_IMM | BPF_DW) && in->src_reg == BPF_PSEUDO_FUNC;
}

/* Marks the first instructions of subprograms; how many there are. */
static u32 mark_subprogs(const struct prog_load *l, u8 *starts)
{
	u32 n = 1;

	starts[0] = 1;
	for (u32 i = 0; i < l->count; i++) {
		const s64 to = (s64)i + 1 + l->insns[i].imm;

		if ((!is_call(&l->insns[i]) && !is_func_ref(&l->insns[i])) || to < 0 ||
		    to >= l->count)
			continue;
		n += !starts[to];
		starts[to] = 1;
	}
	return n;
}

/* Every subprogram has a function type, if there are any at all. */
static int check_funcs(struct prog_load *l, const union bpf_attr *a, const u8 *starts, u32 n)
{
	if (a->func_info_cnt != n) {
		bpf_log(&l->log.text, "number of funcs in func_info doesn't match number of subprogs\n");
		return -EINVAL;
	}
	for (u32 i = 0; i < n; i++)
		if (l->funcs[i].insn_off >= l->count || !starts[l->funcs[i].insn_off]) {
			bpf_log(&l->log.text, "func_info BTF section doesn't match subprog layout in BPF program\n");
			return -EINVAL;
		}
	return 0;
}

/* ... and a line where it begins. */
static int check_lines(struct prog_load *l, const union bpf_attr *a, const u8 *starts, u32 n)
{
	u32 func = 0, line = 0;

	for (u32 at = 0; at < l->count; at++) {
		if (!starts[at])
			continue;
		while (line < a->line_info_cnt && l->lines[line].insn_off < at)
			line++;
		if (line == a->line_info_cnt) {
			bpf_log(&l->log.text, "missing bpf_line_info for %u funcs starting from func#%u\n", n - func, func);
			return -EINVAL;
		}
		if (l->lines[line].insn_off != at) {
			bpf_log(&l->log.text, "missing bpf_line_info for func#%u\n", func);
			return -EINVAL;
		}
		func++;
	}
	return 0;
}

static int take_funcs(struct prog_load *l, const union bpf_attr *a, const struct btf *b)
{
	const struct records r = {.what = "func info",
				  .from = a->func_info,
				  .count = a->func_info_cnt,
				  .size = a->func_info_rec_size,
				  .known = sizeof(*l->funcs),
				  .min = MIN_FUNC_REC,
				  .types = b,
				  .check = check_func};

	return take_records(l, (void **)&l->funcs, &r);
}

static int take_lines(struct prog_load *l, const union bpf_attr *a, const struct btf *b)
{
	const struct records r = {.what = "line_info",
				  .from = a->line_info,
				  .count = a->line_info_cnt,
				  .size = a->line_info_rec_size,
				  .known = sizeof(*l->lines),
				  .min = MIN_LINE_REC,
				  .types = b,
				  .check = check_line};

	return take_records(l, (void **)&l->lines, &r);
}

/* What it finds out before the subprograms are known, and then, as the kernel does. */
static int take_records_of_btf(struct prog_load *l, const union bpf_attr *a, const struct btf *b)
{
	u8 *starts = calloc(1, l->count);
	int err = starts ? 0 : -ENOMEM;
	u32 n = 0;

	if (!err)
		n = mark_subprogs(l, starts);
	if (!err && a->func_info_cnt)
		err = take_funcs(l, a, b);
	if (!err && a->func_info_cnt)
		err = check_funcs(l, a, starts, n);
	if (!err && a->line_info_cnt)
		err = take_lines(l, a, b);
	if (!err && a->line_info_cnt)
		err = check_lines(l, a, starts, n);
	free(starts);
	return err;
}

static int take_btf_info(const struct loader_call *c, struct prog_load *l, const union bpf_attr *a)
{
	struct btf b;
	int err;

	if (!a->func_info_cnt && !a->line_info_cnt)
		return 0;
	err = loader_fd_object((int)a->prog_btf_fd, OBJ_BTF, &l->btf_id);
	if (!err)
		err = btf_open(&b, c->store, l->btf_id);
	if (err)
		return err;
	err = take_records_of_btf(l, a, &b);
	btf_close(&b);
	if (err || !a->core_relo_cnt)
		return err;
	/* libraries relocate themselves, as for kernels before 5.17; without types nobody looks */
	bpf_log(&l->log.text, "%u CO-RE relocations are left to BPF_PROG_LOAD, which applies none here: libraries do that, but not for light skeletons\n",
		a->core_relo_cnt);
	return -EINVAL;
}

/* Arrays of programs that it uses are of its kind, or become so. */
static int own_arrays(const struct prog_load *l, const union bpf_attr *a)
{
	int err = 0;

	for (u32 i = 0; !err && i < l->map_count; i++) {
		struct map *m = loader_map_by_id(l->map_id[i], &err);

		if (m && m->holds == MAP_HOLDS_PROGS)
			err = loader_own_progs(m, a->prog_type, a->expected_attach_type);
	}
	return err;
}

static long check_and_store(const struct loader_call *c, struct prog_load *l,
			    const union attr_more *a)
{
	const union bpf_attr *k = &a->attr;
	char name[16];
	long ret;

	if (k->prog_ifindex || !prog_type_supported(k->prog_type) ||
	    loader_copy_name(name, k->prog_name))
		return -EINVAL;
	ret = log_init(&l->log, k->log_level, k->log_buf, k->log_size);
	if (ret)
		return ret;
	ret = prog_take_fd_array(l, a);
	if (!ret)
		ret = prog_tag(l);
	if (!ret)
		ret = take_btf_info(c, l, k);
	if (!ret)
		ret = prog_resolve_maps(l, a);
	if (!ret)
		ret = prog_resolve_kfuncs(l, a);
	if (!ret)
		ret = prog_shape(l, c);
	if (ret)
		prog_log_processed(l, 0);
	if (!ret)
		ret = prog_verify(l, c, k);
	if (!ret)
		ret = prog_check(l);
	ret = log_finish(&l->log, c, offsetof(union attr_more, prog_load.log_true_size), ret);
	if (!ret)
		ret = own_arrays(l, k);
	if (!ret && l->traces)
		ret = store_trace(c->store, true, NULL);
	if (!ret && l->asks_task)
		ret = task_layout_make(c->store);
	return ret ? ret : prog_store(c->store, l, k);
}

long prog_load_here(const struct loader_call *c, union bpf_attr *attr)
{
	const union attr_more *a = (const union attr_more *)attr;
	struct prog_load *l;
	long ret = check_attr(a);

	if (ret)
		return ret;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	ret = take_insns(l, attr);
	if (!ret)
		ret = check_and_store(c, l, a);
	log_free(&l->log);
	free(l->kfunc);
	free(l->funcs);
	free(l->lines);
	free(l->insns);
	free(l);
	return ret;
}

long loader_prog_load(const struct loader_call *c, union bpf_attr *attr)
{
	return kernel_on() ? kernel_prog_load(c, attr) : prog_load_here(c, attr);
}
