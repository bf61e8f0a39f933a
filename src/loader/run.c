/* SPDX-License-Identifier: MIT */
/*
 * See run.h. The program's file is not trusted more here than in a target: copied, checked again,
 * run untrusted.
 */
#include "loader/run.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <asm/ptrace.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bpf/check.h"
#include "helpers/helpers.h"
#include "maps/refs.h"
#include "session/object.h"

static struct helper_env env;

static void make_env(void)
{
	int n;

	helper_env_init(&env, getauxval(AT_SYSINFO_EHDR), NULL);
	n = store_cgroups((int)user_pid(), env.cgroup, HELPER_CGROUPS);
	env.cgroup_count = n > 0 ? (u32)n : 0;
}

static bool helper_known(u32 id)
{
	const struct bpf_helper_desc *d = bpf_helper_desc(id);

	return d && !d->why_not && id < helper_table_size() && helper_table[id];
}

static int bind_map(struct run_prog *r, u32 i, u32 id)
{
	int err = 0;
	struct map *m = loader_map_by_id(id, &err);

	if (!m)
		return err;
	helper_bind_map(m, &r->maps[i], &r->regions[i]);
	return 0;
}

static int bind(struct run_prog *r)
{
	struct bpf_check_env check = {.map_count = r->file->map_count,
				      .helper_known = helper_known,
				      .probes = true};
	const u32 *ids = (const u32 *)((const u8 *)r->file + r->file->map_ids_off);
	u32 *sizes = calloc(r->file->map_count + 1, sizeof(*sizes));
	int err = sizes ? 0 : -ENOMEM;

	for (u32 i = 0; !err && i < r->vm.map_count; i++) {
		err = bind_map(r, i, ids[i]);
		if (!err)
			sizes[i] = (u32)r->maps[i].direct_size;
	}
	check.map_value_size = sizes;
	if (!err)
		err = bpf_check(r->insns, r->vm.insn_count, &check);
	free(sizes);
	return err;
}

static void close_prog(struct run_prog *p)
{
	if (p->file)
		munmap(p->file, p->file_size);
	free(p->insns);
	free(p->maps);
	free(p->regions);
	free(p);
}

static int read_prog(struct run_prog *p, const struct prog_file *head, const struct vm_known *known)
{
	int err = object_check_prog(head, p->file_size);

	if (err)
		return err;
	p->insns = malloc(head->insn_count * sizeof(*p->insns));
	p->maps = calloc(head->map_count + 1, sizeof(*p->maps));
	p->regions = calloc(head->map_count + 1, sizeof(*p->regions));
	if (!p->insns || !p->maps || !p->regions)
		return -ENOMEM;
	memcpy(p->insns, (const u8 *)p->file + head->insns_off,
	       head->insn_count * sizeof(*p->insns));
	p->vm = (struct vm_program){.insns = p->insns,
				    .insn_count = head->insn_count,
				    .map_count = head->map_count,
				    .maps = p->maps,
				    .regions = p->regions,
				    .region_count = head->map_count,
				    .helpers = helper_table,
				    .helper_count = helper_table_size(),
				    .helper_desc = bpf_helper_desc,
				    .probe = helper_probe,
				    .known = known,
				    .budget = head->budget};
	return bind(p);
}

static int open_prog(struct store *s, u32 id, const struct vm_known *known, struct run_prog **ret)
{
	struct run_prog *p = calloc(1, sizeof(*p));
	struct prog_file head;
	int err = 0;

	if (!p)
		return -ENOMEM;
	p->file = store_map_object(s, OBJ_PROG, id, &p->file_size, &err);
	if (p->file) {
		head = *p->file;
		err = read_prog(p, &head, known);
	}
	if (err) {
		close_prog(p);
		return err;
	}
	p->target = (struct vm_target){id, vm_interpret, &p->vm};
	*ret = p;
	return 0;
}

static const struct vm_target *find_target(const struct vm_known *known, void *handle, u64 word)
{
	const struct loader_run *r = CONTAINER_OF(known, struct loader_run, known);

	for (const struct run_prog *p = r->progs; p; p = p->next)
		if (p->target.id == (u32)word)
			return &p->target;
	map_count(handle, MAP_STAT_ABSENT);
	return NULL;
}

static const struct vm_inner *find_inner(const struct vm_known *known, void *handle, u64 word)
{
	const struct loader_run *r = CONTAINER_OF(known, struct loader_run, known);

	for (const struct run_inner *i = r->inners; i; i = i->next)
		if (i->inner.id == (u32)word)
			return &i->inner;
	map_count(handle, MAP_STAT_ABSENT);
	return NULL;
}

static const struct vm_inner *inner_at(const struct vm_known *known, u64 handle, u64 addr)
{
	const struct loader_run *r = CONTAINER_OF(known, struct loader_run, known);

	for (const struct run_inner *i = r->inners; i; i = i->next)
		if (handle ? (u64)i->inner.map.handle == handle
			   : addr >= i->inner.region.start && addr < i->inner.region.end)
			return &i->inner;
	return NULL;
}

static void open_inner(struct loader_run *r, u32 id)
{
	struct run_inner *i = r->inners;
	struct map *m;
	int err;

	while (i && i->inner.id != id)
		i = i->next;
	m = i ? NULL : loader_map_by_id(id, &err);
	i = m ? calloc(1, sizeof(*i)) : NULL;
	if (!i)
		return;
	i->inner.id = id;
	helper_bind_map(m, &i->inner.map, &i->inner.region);
	i->next = r->inners;
	r->inners = i;
}

/* Behind `last`, what the arrays of programs that p uses hold. */
static void open_held(struct loader_run *r, struct store *s, struct run_prog *p,
		      struct run_prog **last)
{
	for (u32 i = 0; i < p->vm.map_count; i++) {
		struct map *m = p->maps[i].handle;
		struct run_prog *q;
		struct map_each e = {0};
		u32 id;

		p->vm.outers |= m->holds == MAP_HOLDS_MAPS;
		while (map_holds_objects(m) && map_next_ref(m, &e, &id)) {
			if (m->holds == MAP_HOLDS_MAPS) {
				open_inner(r, id);
				continue;
			}
			for (q = r->progs; q && q->target.id != id; q = q->next)
				;
			if (!q && !open_prog(s, id, &r->known, &q))
				*last = (*last)->next = q;
		}
	}
}

int run_open(struct loader_run *r, struct store *s, u32 prog)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct run_prog *last;
	int err;

	pthread_once(&once, make_env);
	if (!env.trace)
		store_trace(s, false, &env.trace);
	env.task = &s->file->task;
	*r = (struct loader_run){
		.known = {.find_target = find_target, .find_inner = find_inner, .inner_at = inner_at}};
	err = open_prog(s, prog, &r->known, &r->progs);
	if (err)
		return err;
	r->session = s->file;
	r->type = r->progs->file->type;
	last = r->progs;
	for (struct run_prog *p = r->progs; p; p = p->next)
		open_held(r, s, p, &last);
	return 0;
}

void run_set_ctx(struct loader_run *r, u32 size)
{
	for (struct run_prog *p = r->progs; p; p = p->next)
		p->vm.ctx_size = p->vm.ctx_writable = size;
}

int run_once(const struct loader_run *r, void *ctx, u32 *ret_value)
{
	struct helper_hit hit = {0};
	struct vm_run run = {.prog = &r->progs->vm, .ctx = ctx, .env = &env, .hit = &hit};
	const bool timed = atomic_load(&r->session->run_stats);
	const u64 begun = timed ? helper_now(&env) : 0;

	*ret_value = (u32)vm_interpret(&run, (u64)ctx, 0);
	if (timed) {
		atomic_fetch_add(&r->progs->file->runs, 1);
		atomic_fetch_add(&r->progs->file->run_ns, helper_now(&env) - begun);
	}
	helper_run_end(&run);
	return run.status == VM_OK ? 0 : -EINVAL;
}

#define NEAR_OFFSET (16 << 20) /* from this code: within reach of its calls */

long run_compile(const struct loader_run *r, u8 **ret)
{
	const struct prog_file *f = r->progs->file;
	struct vm_program p = r->progs->vm;
	u64 at = ((u64)run_compile & -(u64)PAGE_SIZE) + NEAR_OFFSET;
	void *scratch;
	u8 *code;
	long len;

	p.bounded = f->verified & PROG_IS_SHORT;
	p.ctx_size = f->type == BPF_PROG_TYPE_TRACEPOINT       ? SYSCALL_RECORD_SIZE
		     : f->type == BPF_PROG_TYPE_RAW_TRACEPOINT ? SYSCALL_RAW_SIZE
							       : sizeof(struct pt_regs);
	len = vm_jit(&p, NULL, 0, 0, NULL);
	if (len <= 0)
		return len;
	code = malloc((size_t)len);
	scratch = malloc(vm_jit_scratch(&p));
	len = code && scratch ? vm_jit(&p, code, (size_t)len, at, scratch) : -ENOMEM;
	free(scratch);
	if (len <= 0)
		free(code);
	else
		*ret = code;
	return len;
}

void run_close(struct loader_run *r)
{
	while (r->inners) {
		struct run_inner *next = r->inners->next;

		free(r->inners);
		r->inners = next;
	}
	while (r->progs) {
		struct run_prog *next = r->progs->next;

		close_prog(r->progs);
		r->progs = next;
	}
}
