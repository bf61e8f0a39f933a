/* SPDX-License-Identifier: MIT */
/*
 * Control groups: the helpers answer from what a keeper has written into the environment while the
 * target was stopped. A process that is moved afterwards is seen where it was, until a keeper comes
 * again; a child is where its parent was.
 */
#include "helpers/internal.h"
#include "maps/refs.h"

u64 help_cgroup_id(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_env *env = run->env;

	return env->cgroup_count ? env->cgroup[env->cgroup_count - 1] : 0;
}

u64 help_ancestor_cgroup_id(u64 level, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_env *env = run->env;

	return (u32)level < env->cgroup_count ? env->cgroup[(u32)level] : 0;
}

u64 help_under_cgroup(u64 map, u64 index, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	const struct helper_env *env = run->env;
	const struct map *m = (const struct map *)map;
	u64 id;

	if (m->holds != MAP_HOLDS_CGROUPS)
		return (u64)-EINVAL;
	if ((u32)index >= m->def.max_entries)
		return (u64)-E2BIG;
	id = atomic_load_explicit(&map_ref_words(m)[(u32)index], memory_order_acquire);
	if (!id)
		return (u64)-EAGAIN;
	for (u32 i = 0; i < env->cgroup_count; i++)
		if (env->cgroup[i] == id)
			return 1;
	return 0;
}
