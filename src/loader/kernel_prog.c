/* SPDX-License-Identifier: MIT */
/*
 * Which side a program goes to. Its type tells for most: what limpet does not have is loaded into the kernel at
 * once. A program for uprobes and one for kprobes are of one type, though, and so are those for tracepoints: what
 * limpet's verifier accepts is a program of the session first, and what it was loaded from is kept, until it is
 * attached to something in the kernel. What only the kernel's verifier accepts is the kernel's.
 */
#include "loader/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/kernel_only.h"
#include "loader/prog.h"
#include "loader/say.h"

#define LICENSE_ROOM 128
#define LOG_ROOM     (1u << 16)

/* What a program was loaded from. Maps in its instructions are indexes of map_id. */
struct kernel_prog {
	struct kernel_prog *next;
	u32 id;
	u32 kernel_id; /* 0: no twin */
	int twin;      /* -1: none */
	bool only;     /* limpet does not have it */
	union attr_more attr; /* of the load; pointers are to copies of ours, or 0 */
	char license[LICENSE_ROOM];
	struct bpf_insn *insns;
	void *funcs, *lines;
	u32 btf_id; /* 0: none */
	u32 map_count;
	u32 map_id[PROG_MAX_MAPS];
};
static struct kernel_prog *progs;

static struct kernel_prog *find(u32 id)
{
	struct kernel_prog *p = progs;

	while (p && p->id != id)
		p = p->next;
	return p;
}

static void free_prog(struct kernel_prog *p)
{
	if (p->twin >= 0)
		sys_close(p->twin);
	free(p->insns);
	free(p->funcs);
	free(p->lines);
	free(p);
}

/* Programs that are no more: looked for when another one is loaded. */
static void forget_gone(struct store *s)
{
	for (struct kernel_prog **at = &progs; *at;) {
		struct kernel_prog *p = *at;
		int fd = store_peek(s, OBJ_PROG, p->id);

		if (fd >= 0) {
			sys_close(fd);
			at = &p->next;
		} else {
			*at = p->next;
			free_prog(p);
		}
	}
}

/* ---- the record ---- */

static int copy_records(void **ret, u64 from, u32 count, u32 size)
{
	const u64 bytes = (u64)count * size;

	if (!count)
		return 0;
	*ret = bytes > INT32_MAX ? NULL : malloc(bytes);
	return *ret ? user_read(*ret, from, bytes) : -ENOMEM;
}

static int take_maps(struct kernel_prog *p, const union attr_more *a)
{
	struct prog_load l = {.insns = p->insns, .count = p->attr.attr.insn_cnt};
	int err = prog_take_fd_array(&l, a);

	if (!err)
		err = prog_resolve_maps(&l, a);
	p->map_count = l.map_count;
	memcpy(p->map_id, l.map_id, sizeof(p->map_id));
	return err;
}

static int fill(struct kernel_prog *p, const union attr_more *a)
{
	const union bpf_attr *k = &a->attr;
	int err;

	p->twin = -1;
	p->attr = *a;
	if (!k->insn_cnt || k->insn_cnt > BPF_MAX_INSNS)
		return -E2BIG;
	p->insns = calloc(k->insn_cnt, sizeof(*p->insns));
	err = p->insns ? user_read(p->insns, k->insns, (u64)k->insn_cnt * sizeof(*p->insns)) : -ENOMEM;
	if (!err && user_string(p->license, k->license, sizeof(p->license) - 1) < 0)
		err = -EFAULT;
	if (!err)
		err = copy_records(&p->funcs, k->func_info, k->func_info_cnt, k->func_info_rec_size);
	if (!err)
		err = copy_records(&p->lines, k->line_info, k->line_info_cnt, k->line_info_rec_size);
	if (!err && (k->func_info_cnt || k->line_info_cnt))
		err = loader_fd_object((int)k->prog_btf_fd, OBJ_BTF, &p->btf_id);
	return err ? err : take_maps(p, a);
}

static struct kernel_prog *record(const union attr_more *a, int *ret_err)
{
	struct kernel_prog *p = calloc(1, sizeof(*p));

	*ret_err = p ? fill(p, a) : -ENOMEM;
	if (!*ret_err)
		return p;
	if (p)
		free_prog(p);
	return NULL;
}

/* ---- loading into the kernel ---- */

/* The kernel's maps in place of the indexes. */
static struct bpf_insn *with_twins(const struct kernel_prog *p)
{
	const u32 n = p->attr.attr.insn_cnt;
	struct bpf_insn *copy = malloc(n * sizeof(*copy));

	if (!copy)
		return NULL;
	memcpy(copy, p->insns, n * sizeof(*copy));
	for (u32 i = 0; i + 1 < n; i++) {
		if (copy[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if ((copy[i].src_reg == BPF_PSEUDO_MAP_FD || copy[i].src_reg == BPF_PSEUDO_MAP_VALUE) &&
		    (u32)copy[i].imm < p->map_count)
			copy[i].imm = kernel_map_fd(p->map_id[copy[i].imm]);
		i++;
	}
	return copy;
}

static int use_maps(const struct kernel_prog *p, enum kernel_side side)
{
	int err = 0;

	for (u32 i = 0; !err && i < p->map_count; i++)
		err = kernel_map_use(p->map_id[i], side, p->attr.attr.prog_name);
	return err;
}

static void fill_btf(struct store *s, const struct kernel_prog *p, union attr_more *a)
{
	const int btf = p->btf_id ? kernel_btf(s, p->btf_id) : -1;

	a->attr.prog_btf_fd = btf < 0 ? 0 : (u32)btf;
	if (btf < 0)
		a->attr.func_info_cnt = a->attr.line_info_cnt = 0;
	a->attr.func_info = a->attr.func_info_cnt ? (u64)p->funcs : 0;
	a->attr.line_info = a->attr.line_info_cnt ? (u64)p->lines : 0;
}

/* A function of another program of ours: of its twin. */
static int fill_attach(union attr_more *a)
{
	u32 prog;
	int fd;

	if (!a->attr.attach_prog_fd || loader_fd_object((int)a->attr.attach_prog_fd, OBJ_PROG, &prog))
		return 0;
	fd = kernel_prog_fd(prog);
	a->attr.attach_prog_fd = (u32)fd;
	return fd < 0 ? fd : 0;
}

/* The log goes where `log` says: the tool's memory, or ours. The true size comes back in it. */
static int load(struct store *s, struct kernel_prog *p, union attr_more *log)
{
	union attr_more a = p->attr;
	struct bpf_insn *insns;
	int err;

	err = use_maps(p, SIDE_KERNEL);
	if (!err)
		err = fill_attach(&a);
	insns = err ? NULL : with_twins(p);
	if (!insns)
		return err ? err : -ENOMEM;
	a.attr.insns = (u64)insns;
	a.attr.license = (u64)p->license;
	a.attr.log_level = log->attr.log_level;
	a.attr.log_buf = log->attr.log_buf;
	a.attr.log_size = log->attr.log_size;
	a.attr.fd_array = 0; /* indexes have become descriptors */
	a.prog_load.fd_array_cnt = 0;
	a.attr.core_relos = 0;
	a.attr.core_relo_cnt = a.attr.core_relo_rec_size = 0;
	fill_btf(s, p, &a);
	p->twin = kernel_bpf_fd(BPF_PROG_LOAD, &a);
	log->prog_load.log_true_size = a.prog_load.log_true_size;
	free(insns);
	if (p->twin < 0)
		return p->twin;
	p->kernel_id = kernel_id(p->twin, OBJ_PROG);
	return 0;
}

static int note_in_session(struct store *s, u32 id, u32 kernel)
{
	struct prog_file *f;
	u64 size;
	int err = 0;

	f = store_map_object(s, OBJ_PROG, id, &size, &err);
	if (!f)
		return err;
	atomic_store(&f->kernel_id, kernel);
	munmap(f, size);
	return 0;
}

/* The last line of the log that says something. */
static const char *last_line(char *log)
{
	char *end = log + strlen(log), *line;

	for (;;) {
		while (end > log && end[-1] == '\n')
			*--end = 0;
		line = strrchr(log, '\n');
		line = line ? line + 1 : log;
		if (line == log || strncmp(line, "processed ", 10))
			return line;
		end = line;
		*end = 0;
	}
}

/* At the time that it is attached nobody waits for a log any more: the reason is said. */
static int load_late(struct store *s, struct kernel_prog *p)
{
	char *text = calloc(1, LOG_ROOM);
	union attr_more log = {.attr = {.log_level = text ? 1 : 0, .log_buf = (u64)text, .log_size = text ? LOG_ROOM : 0}};
	int err = load(s, p, &log);

	if (err == -ENOSPC) { /* a log of more than that */
		log.attr.log_level = 0;
		log.attr.log_buf = log.attr.log_size = 0;
		err = load(s, p, &log);
	}
	if (!err)
		err = note_in_session(s, p->id, p->kernel_id);
	else if (err != -EPERM && err != -EOPNOTSUPP)
		loader_say("limpet: the kernel refuses program %.15s: %s: %s\n", p->attr.attr.prog_name, strerror(-err),
			   text ? last_line(text) : "");
	free(text);
	return err;
}

/* ---- as a program of the session ---- */

static void keep(struct kernel_prog *p, long fd)
{
	if (loader_fd_object((int)fd, OBJ_PROG, &p->id))
		p->id = 0; /* the tool has closed it already */
	p->next = progs;
	progs = p;
}

/* Loaded into the kernel alone; what the tool has of it is an object of the session. */
static long load_only(const struct loader_call *c, struct kernel_prog *p, union attr_more *log)
{
	struct prog_load l = {.insns = p->insns,
			      .count = p->attr.attr.insn_cnt,
			      .gpl = true,
			      .map_count = p->map_count,
			      .btf_id = p->btf_id};
	int err = load(c->store, p, log);
	long fd;

	if (err)
		return err;
	memcpy(l.map_id, p->map_id, sizeof(l.map_id));
	p->only = true;
	fd = prog_tag(&l) ? -ENOMEM : prog_store(c->store, &l, &p->attr.attr);
	if (fd < 0)
		return fd;
	keep(p, fd);
	note_in_session(c->store, p->id, p->kernel_id);
	return fd;
}

static bool is_kernels(const union attr_more *a)
{
	const u32 at = a->attr.expected_attach_type;

	return !prog_type_supported(a->attr.prog_type) || a->attr.attach_prog_fd || a->attr.attach_btf_id ||
	       (a->attr.prog_type == BPF_PROG_TYPE_KPROBE && (at == ATTACH_KPROBE_MULTI || at == ATTACH_KPROBE_SESSION));
}

static long load_into_kernel(const struct loader_call *c, const union attr_more *a)
{
	const size_t true_size = offsetof(union attr_more, prog_load.log_true_size);
	union attr_more log = *a;
	struct kernel_prog *p;
	long ret;
	int err;

	p = record(a, &err);
	if (!p)
		return err;
	log.prog_load.log_true_size = 0;
	ret = load_only(c, p, &log);
	if (ret < 0)
		free_prog(p);
	if (c->size >= true_size + sizeof(u32) &&
	    user_write((u64)c->u + true_size, &log.prog_load.log_true_size, sizeof(u32)))
		return -EFAULT;
	return ret;
}

/*
 * limpet has refused it: perhaps it is a program for the kernel. What the kernel writes to the log is the tool's to read
 * when that takes it; else limpet's stays.
 */
static long try_kernel(const struct loader_call *c, const union attr_more *a, long refused)
{
	union attr_more log = *a;
	struct kernel_prog *p;
	char *text = NULL;
	int err;
	long ret;

	p = record(a, &err);
	if (!p)
		return refused;
	if (a->attr.log_buf && a->attr.log_size)
		text = calloc(1, a->attr.log_size);
	log.attr.log_buf = (u64)text;
	ret = load_only(c, p, &log);
	if (ret < 0)
		free_prog(p);
	else if (text && user_write(a->attr.log_buf, text, strlen(text) + 1))
		ret = -EFAULT;
	free(text);
	return ret < 0 ? refused : ret;
}

static long load_program(const struct loader_call *c, union bpf_attr *attr)
{
	const union attr_more *a = (const union attr_more *)attr;
	struct kernel_prog *p;
	int err;
	long ret;

	if (is_kernels(a))
		return load_into_kernel(c, a);
	p = record(a, &err);
	ret = prog_load_here(c, attr);
	if (ret >= 0 && p)
		keep(p, ret);
	else if (p)
		free_prog(p);
	if (ret >= 0)
		return ret;
	return ret == -EINVAL || ret == -EACCES || ret == -ENOSPC || ret == -LOADER_ENOTSUPP ? try_kernel(c, a, ret) : ret;
}

long kernel_prog_load(const struct loader_call *c, union bpf_attr *a)
{
	long ret;

	kernel_lock();
	forget_gone(c->store);
	ret = load_program(c, a);
	kernel_unlock();
	return ret;
}

/* ---- what others ask ---- */

int kernel_prog_fd(u32 prog)
{
	struct kernel_prog *p;
	struct store *s;
	int err = 0;

	s = loader_session(&err);
	if (!s)
		return err;
	kernel_lock();
	p = find(prog);
	if (!p)
		err = -EBADF; /* another tool's, or loaded before an exec */
	else if (p->twin < 0)
		err = load_late(s, p);
	if (!err)
		err = p->twin;
	kernel_unlock();
	return err;
}

bool kernel_prog_only(u32 prog)
{
	struct kernel_prog *p;
	bool is;

	kernel_lock();
	p = find(prog);
	is = p && p->only;
	kernel_unlock();
	return is;
}

u32 kernel_prog_session_id(u32 kernel_prog)
{
	struct kernel_prog *p;
	u32 id;

	kernel_lock();
	for (p = progs; p && (!p->kernel_id || p->kernel_id != kernel_prog); p = p->next)
		;
	id = p ? p->id : 0;
	kernel_unlock();
	return id;
}

int kernel_prog_in_user_space(u32 prog)
{
	struct kernel_prog *p;
	int err = 0;

	if (!kernel_on())
		return 0;
	kernel_lock();
	p = find(prog);
	if (p && p->only) {
		loader_say("limpet: program %.15s was not attached: it is for user space, but uses what only the kernel has\n",
			   p->attr.attr.prog_name);
		err = -EINVAL;
	} else if (p) {
		err = use_maps(p, SIDE_USER);
	}
	kernel_unlock();
	return err;
}

int kernel_prog_run_where(u32 prog)
{
	struct kernel_prog *p;
	bool there = false, here = false;
	int ret = 0;

	if (!kernel_on())
		return 0;
	kernel_lock();
	p = find(prog);
	for (u32 i = 0; p && i < p->map_count; i++) {
		there |= kernel_map_is_there(p->map_id[i]);
		here |= kernel_map_in_use(p->map_id[i], SIDE_USER) && !kernel_map_in_use(p->map_id[i], SIDE_KERNEL);
	}
	if (p && (p->only || there)) {
		ret = 1;
		if (here) /* says which map it is */
			ret = p->only ? 1 : use_maps(p, SIDE_KERNEL);
		if (!ret)
			ret = 1;
	}
	kernel_unlock();
	return ret;
}
