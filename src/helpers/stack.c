/* SPDX-License-Identifier: MIT */
/*
 * Call stacks: bpf_get_stack and bpf_get_stackid. As the kernel unwinds user stacks: the program counter,
 * at a function's first instruction also what lies on top of the stack, then the chain of frame pointers
 * from rbp, which may lead anywhere. Frames on the thread's own stack, as far as that is certainly there
 * (memory.c), are read by plain loads; all others as any address is.
 *
 * Build ids. With BPF_F_USER_BUILD_ID, or in a map with BPF_F_STACK_BUILD_ID, a frame is (build id, file
 * offset), by the mappings that the agent wrote down when a keeper last looked. Where those have none the
 * frame keeps its address, as in the kernel.
 */
#include <asm/ptrace.h>
#include "helpers/internal.h"
#include "base/mem.h"

#define DEPTH_MAX MAP_STACK_DEPTH
#define FLAG_SKIP BPF_F_SKIP_FIELD_MASK
#define FLAGS     (FLAG_SKIP | BPF_F_USER_STACK)
#define WINDOW    32 /* words of stack fetched at a time where it is not certainly there */

/* Memory read in pieces, so that a frame after the other costs no call of its own. */
struct window {
	u64 known_start, known_end; /* where plain loads are good */
	u64 start, end;
	u64 words[WINDOW];
};

static NOINLINE bool fetch_words(const struct vm_run *run, struct window *w, u64 at, u64 *ret,
				 u32 count)
{
	u64 size = sizeof(w->words);

	if (at % 8)
		return !help_copy(run, ret, at, count * 8);
	if (at < w->start || at + count * 8 > w->end) {
		/* not beyond this page, if it can be had in one */
		if (at / PAGE_SIZE != (at + size - 1) / PAGE_SIZE)
			size = PAGE_SIZE - at % PAGE_SIZE;
		if (size < count * 8)
			size = count * 8;
		if (help_copy(run, w->words, at, size))
			return false;
		w->start = at;
		w->end = at + size;
	}
	memcpy(ret, (const u8 *)w->words + (at - w->start), count * 8);
	return true;
}

static ALWAYS_INLINE bool read_words(const struct vm_run *run, struct window *w, u64 at, u64 *ret,
				     u32 count)
{
	if (likely(at >= w->known_start && at < w->known_end && w->known_end - at >= count * 8)) {
		for (u32 i = 0; i < count; i++)
			ret[i] = ((const volatile u64 *)at)[i];
		return true;
	}
	return at && fetch_words(run, w, at, ret, count);
}

/* What a return address stands for: return probes put their own into frames. */
static ALWAYS_INLINE u64 real_caller(const struct helper_env *env, u64 ip)
{
	return unlikely(ip >= env->own_start && ip < env->own_end && env->own_caller)
		       ? env->own_caller(ip)
		       : ip;
}

/* The addresses, innermost first, but for `skip`, to out[max]; how many there were, those skipped included. */
static u32 unwind(const struct vm_run *run, u32 skip, u64 *out, u32 max)
{
	const struct pt_regs *regs = help_hit(run)->regs;
	const struct helper_env *env = run->env;
	u64 frame[2], fp = regs->rbp, ip = regs->rip;
	u32 depth = skip + max < DEPTH_MAX ? skip + max : DEPTH_MAX, n = 0;
	struct window w;

	w.start = w.end = 0;
	if (!help_known_stack(run, &w.known_start, &w.known_end))
		w.known_start = w.known_end = 0;
	if (depth) {
		if (!skip)
			out[0] = ip;
		n = 1;
	}
	if (n < depth && help_hit(run)->flags & HELPER_HIT_ENTRY &&
	    read_words(run, &w, regs->rsp, &ip, 1)) {
		if (n >= skip)
			out[n - skip] = real_caller(env, ip);
		n++;
	}
	while (n < depth && read_words(run, &w, fp, frame, 2)) {
		fp = frame[0];
		if (n >= skip)
			out[n - skip] = real_caller(env, frame[1]);
		n++;
	}
	return n;
}

static const struct helper_mapping *mapping_of(const struct helper_mappings *all, u64 ip)
{
	u32 lo = 0, hi = all ? all->count : 0;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (ip >= all->at[mid].end)
			lo = mid + 1;
		else
			hi = mid;
	}
	return all && lo < all->count && ip >= all->at[lo].start ? &all->at[lo] : NULL;
}

static void name_frame(const struct helper_mappings *all, u64 ip, struct bpf_stack_build_id *ret)
{
	static const u8 none[sizeof(ret->build_id)];
	const struct helper_mapping *m = mapping_of(all, ip);

	memset(ret, 0, sizeof(*ret));
	ret->status = BPF_STACK_BUILD_ID_IP;
	ret->ip = ip;
	if (!m || !memcmp(m->build_id, none, sizeof(none)))
		return;
	ret->status = BPF_STACK_BUILD_ID_VALID;
	memcpy(ret->build_id, m->build_id, sizeof(ret->build_id));
	ret->offset = m->file_off + (ip - m->start);
}

static void name_frames(const struct map_stack *s, void *ret_frames)
{
	const struct helper_env *env = s->env;
	const struct helper_mappings *all =
		atomic_load_explicit(&env->mappings, memory_order_acquire);
	struct bpf_stack_build_id *ret = ret_frames;

	for (u32 i = 0; i < s->count; i++)
		name_frame(all, s->ips[i], &ret[i]);
}

/* Addresses unwound into the buffer's start become names, the last first: a name is longer. */
static void name_in_place(const struct vm_run *run, void *buf, u32 count)
{
	const struct helper_env *env = run->env;
	const struct helper_mappings *all =
		atomic_load_explicit(&env->mappings, memory_order_acquire);
	struct bpf_stack_build_id *ret = buf;

	while (count--) {
		u64 ip = ((const u64 *)buf)[count];

		name_frame(all, ip, &ret[count]);
	}
}

static s64 get_stack(struct vm_run *run, void *buf, u32 size, u64 flags)
{
	bool user = flags & BPF_F_USER_STACK, named = flags & BPF_F_USER_BUILD_ID;
	u32 each = named ? sizeof(struct bpf_stack_build_id) : sizeof(u64);
	u32 skip = (u32)(flags & FLAG_SKIP), n = 0;

	if (flags & ~(FLAGS | BPF_F_USER_BUILD_ID) || (named && !user) || size % each)
		return -EINVAL;
	if (user && !help_hit(run))
		return -EFAULT;
	if (user) /* there is no kernel stack behind a hit */
		n = unwind(run, skip, buf, size / each);
	if (n < skip)
		return -EFAULT;
	if (named)
		name_in_place(run, buf, n - skip);
	return (s64)(n - skip) * each;
}

u64 help_get_stack(u64 ctx, u64 buf, u64 size, u64 flags, u64 r5, struct vm_run *run)
{
	s64 result = get_stack(run, (void *)buf, (u32)size, flags);
	u64 used = result > 0 ? (u64)result : 0;

	memset((u8 *)buf + used, 0, size - used);
	return (u64)result;
}

/* Others' user stacks kernels do not read either. */
u64 help_get_task_stack(u64 task, u64 buf, u64 size, u64 flags, u64 r5, struct vm_run *run)
{
	if (help_is_current(task, run) || !(flags & BPF_F_USER_STACK))
		return help_get_stack(0, buf, size, flags, 0, run);
	memset((void *)buf, 0, size);
	return (u64)-EOPNOTSUPP;
}

u64 help_get_stackid(u64 ctx, u64 map, u64 flags, u64 r4, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;
	u32 skip = (u32)(flags & FLAG_SKIP), each = sizeof(u64), n = 0;
	u64 ips[DEPTH_MAX];
	struct map_stack s = {.ips = ips, .name = name_frames, .env = run->env};

	if (flags & ~(FLAGS | BPF_F_FAST_STACK_CMP | BPF_F_REUSE_STACKID) || !m->ops->stackid)
		return (u64)-EINVAL;
	if (m->def.flags & BPF_F_STACK_BUILD_ID)
		each = sizeof(struct bpf_stack_build_id);
	if (flags & BPF_F_USER_STACK && help_hit(run))
		n = unwind(run, skip, ips, m->def.value_size / each);
	if (n <= skip)
		return (u64)-EFAULT;
	s.count = n - skip;
	return (u64)m->ops->stackid(m, &s, flags);
}
