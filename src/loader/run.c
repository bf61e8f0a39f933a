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
#include <sys/auxv.h>
#include <sys/mman.h>
#include "bpf/check.h"
#include "helpers/helpers.h"
#include "session/object.h"

static struct helper_env env;

static void make_env(void)
{
	helper_env_init(&env, getauxval(AT_SYSINFO_EHDR), NULL);
}

static bool helper_known(u32 id)
{
	const struct bpf_helper_desc *d = bpf_helper_desc(id);

	return d && !d->why_not && id < helper_table_size() && helper_table[id];
}

static int bind_map(struct loader_run *r, u32 i, u32 id)
{
	struct vm_map *v = &r->maps[i];
	int err = 0;
	struct map *m = loader_map_by_id(id, &err);
	void *direct;

	if (!m)
		return err;
	direct = map_direct_value(m);
	*v = (struct vm_map){.handle = m,
			     .key_size = m->def.key_size,
			     .value_size = m->def.value_size,
			     .value_stride = m->value_stride,
			     .max_entries = m->def.max_entries,
			     .writable = !(m->def.flags & BPF_F_RDONLY_PROG),
			     .array = m->def.type == BPF_MAP_TYPE_ARRAY};
	if (direct) {
		v->direct_value = v->elems = (u64)direct;
		v->direct_size = m->def.value_size;
	}
	map_region(m, &r->regions[i].start, &r->regions[i].end);
	r->regions[i].writable = v->writable;
	return 0;
}

static int bind(struct loader_run *r)
{
	struct bpf_check_env check = {.map_count = r->file->map_count,
				      .helper_known = helper_known};
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

int run_open(struct loader_run *ret, struct store *s, u32 prog)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct loader_run r = {0};
	struct prog_file head;
	int err = 0;

	pthread_once(&once, make_env);
	if (!env.trace)
		store_trace(s, false, &env.trace);
	r.file = store_map_object(s, OBJ_PROG, prog, &r.file_size, &err);
	if (!r.file)
		return err;
	head = *r.file;
	err = object_check_prog(&head, r.file_size);
	if (!err) {
		r.type = head.type;
		r.insns = malloc(head.insn_count * sizeof(*r.insns));
		r.maps = calloc(head.map_count + 1, sizeof(*r.maps));
		r.regions = calloc(head.map_count + 1, sizeof(*r.regions));
		err = r.insns && r.maps && r.regions ? 0 : -ENOMEM;
	}
	if (!err) {
		memcpy(r.insns, (const u8 *)r.file + head.insns_off,
		       head.insn_count * sizeof(*r.insns));
		r.vm = (struct vm_program){.insns = r.insns,
					   .insn_count = head.insn_count,
					   .map_count = head.map_count,
					   .maps = r.maps,
					   .regions = r.regions,
					   .region_count = head.map_count,
					   .helpers = helper_table,
					   .helper_count = helper_table_size(),
					   .helper_desc = bpf_helper_desc,
					   .budget = head.budget};
		err = bind(&r);
	}
	if (err)
		run_close(&r);
	else
		*ret = r;
	return err;
}

int run_once(const struct loader_run *r, void *ctx, u32 *ret_value)
{
	struct helper_hit hit = {0};
	struct vm_run run = {.prog = &r->vm, .ctx = ctx, .env = &env, .hit = &hit};

	*ret_value = (u32)vm_interpret(&run, (u64)ctx, 0);
	helper_run_end(&run);
	return run.status == VM_OK ? 0 : -EINVAL;
}

void run_close(struct loader_run *r)
{
	munmap(r->file, r->file_size);
	free(r->insns);
	free(r->maps);
	free(r->regions);
}
