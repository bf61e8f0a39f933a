/* SPDX-License-Identifier: MIT */
/*
 * System calls in libc that go through stubs of ours (call_stub.c): identity.c says which and when. Their
 * bytes are listed for whoever writes code; a patch is LIVE when that has happened. When libc's bytes
 * return, the stub stays until no thread is in it.
 *
 * A site that programs, or trap_calls.c, have before such a call has the text (by_site), and leads to the stub: from
 * the COMMIT on at which both are there, and by whatever site comes in its place. When the last one goes the jump to the
 * stub is in the text again, in the same stop.
 */
#include <asm/errno.h>
#include "agent/state.h"
#include "base/mem.h"

struct call_patch call_patches[CALL_PATCHES];
static u32 used; /* those behind have no state */

static struct call_patch *free_patch(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++)
		if (!call_patches[i].state) {
			used = i < used ? used : i + 1;
			return &call_patches[i];
		}
	return NULL;
}

static void jump_of(const struct call_patch *p, u8 *jmp)
{
	u32 rel = (u32)(p->stub - (p->at + ATTACH_JMP_LEN));

	jmp[0] = 0xe9;
	memcpy(jmp + 1, &rel, 4);
}

/* A thread that is past the patch, and has not made the call, goes through the stub. */
int patch_list_move(const struct call_patch *p)
{
	struct agent_move *m = vec_push(&agent.moves, sizeof(*m));

	if (!m)
		return -ENOMEM;
	*m = (struct agent_move){.from = p->at + ATTACH_JMP_LEN, .to = p->stub};
	return 0;
}

static int list_jump(const struct call_patch *p)
{
	u8 jmp[ATTACH_JMP_LEN];

	jump_of(p, jmp);
	return code_patch(p->at, p->orig, jmp, sizeof(jmp));
}

static int list_bytes(const struct call_patch *p)
{
	u8 jmp[ATTACH_JMP_LEN];

	jump_of(p, jmp);
	return code_patch(p->at, jmp, p->orig, sizeof(jmp));
}

int patch_add(const struct libc_call *call, call_stub_fn *fn)
{
	struct call_patch *p = free_patch();
	u8 code[ATTACH_TRAMP_MAX];
	u32 made;

	if (!p || !call_stub_fits(call->at))
		return -ENOENT;
	p->site = sites_before_call(call->at);
	p->by_site = p->site;
	/* A thread in the site's trampoline may be past the question where its call is made. */
	if (p->site && p->site == sites_at(call->at) && agent.busy_count)
		return -EBUSY;
	p->at = call->at;
	memcpy(p->orig, (const void *)call->at, sizeof(p->orig));
	sites_overlay(p->orig, p->at, sizeof(p->orig));
	p->nr = call->nr;
	p->stub = code_room(call->at, &p->area);
	if (!p->stub)
		return -ENOMEM;
	p->len = call_stub_emit(code, p->stub, call, p->orig, fn, &made);
	p->made = p->stub + made;
	if (patch_list_move(p) || code_write(p->stub, code, p->len) || (!p->by_site && list_jump(p)))
		return -ENOMEM;
	code_room_taken(p->area, p->len);
	p->state = PATCH_LISTED;
	return 0;
}

bool patches_in_stub(u64 pc)
{
	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++)
		if (call_patches[i].state && pc >= call_patches[i].stub &&
		    pc < call_patches[i].stub + call_patches[i].len)
			return true;
	return false;
}

u64 patches_made(const u64 *busy, u64 count)
{
	u64 n = 0;

	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++)
		for (u64 k = 0; call_patches[i].state && k < count; k++)
			n += busy[k] == call_patches[i].made;
	return n;
}

bool patch_active(const struct call_patch *p)
{
	return p->state == PATCH_LISTED || p->state == PATCH_LIVE;
}

bool patches_any(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++)
		if (patch_active(&call_patches[i]))
			return true;
	return false;
}

bool patches_at(u64 at)
{
	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++)
		if (call_patches[i].state && call_patches[i].at == at)
			return true;
	return false;
}

/* libc's bytes return; the stub stays while somebody is in it, or may come. */
void patch_restore(struct call_patch *p)
{
	struct site *s = p->by_site ? sites_before_call(p->at) : NULL;

	if (!p->by_site)
		list_bytes(p);
	if (s)
		atomic_store_explicit(&s->stub, 0, memory_order_relaxed);
	p->state = PATCH_RETIRED;
}

void patch_yield(struct call_patch *p)
{
	p->by_site = !list_bytes(p);
}

void patches_meet_sites(void)
{
	for (u32 i = 0; i < used; i++) {
		struct call_patch *p = &call_patches[i];

		if (!patch_active(p) || !p->by_site)
			continue;
		p->site = sites_before_call(p->at);
		p->by_site = p->site || list_jump(p);
	}
}

bool patches_led_to(void)
{
	bool all = true;

	for (u32 i = 0; i < used; i++) {
		struct call_patch *p = &call_patches[i];

		if (p->state != PATCH_LIVE || !p->by_site)
			continue;
		if (p->site)
			atomic_store_explicit(&p->site->stub, p->stub, memory_order_relaxed);
		else
			all = false;
	}
	return all;
}

static bool jump_there(const struct call_patch *p)
{
	const u8 *now = (const u8 *)p->at;

	if (p->by_site)
		return p->site && !memcmp(now, p->site->plan.patch, p->site->plan.patch_len);
	return *now == 0xe9;
}

/* False: something could not be written; it stays off, the next SYNC takes it back. */
bool patches_written(u32 *ret_listed)
{
	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++) {
		if (call_patches[i].state != PATCH_LISTED)
			continue;
		if (!jump_there(&call_patches[i]))
			return false;
		call_patches[i].state = PATCH_LIVE;
		++*ret_listed;
	}
	return true;
}

/* Is a thread in the trampoline of a site before the call? */
static bool on_its_way(const struct call_patch *p, const u64 *busy, u64 count)
{
	bool found = false;

	for (const struct site *s = agent.sites; s && !found; s = s->next)
		found = s->plan.addr == p->at &&
			busy_in(busy, count, s->plan.tramp, s->plan.tramp + s->plan.code_len);
	return found;
}

bool patches_retire(const u64 *busy, u64 count, bool all_idle)
{
	bool left = false;

	for (u32 i = 0; i < ARRAY_SIZE(call_patches); i++) {
		struct call_patch *p = &call_patches[i];

		if (p->state != PATCH_RETIRED)
			continue;
		if (!all_idle &&
		    (busy_in(busy, count, p->stub, p->stub + p->len) || on_its_way(p, busy, count))) {
			left = true;
			continue;
		}
		code_room_free(p->area);
		*p = (struct call_patch){0};
	}
	return left;
}

/* Puts libc's bytes over a copy of [base, base + len) of our text. */
void patches_overlay(u8 *text, u64 base, u64 len)
{
	for (u32 k = 0; k < used; k++)
		for (u32 i = 0; call_patches[k].state && i < ATTACH_JMP_LEN; i++)
			if (call_patches[k].at + i - base < len)
				text[call_patches[k].at + i - base] = call_patches[k].orig[i];
}

void patches_blank(u8 *text, u64 base, u64 len)
{
	for (u32 k = 0; k < used; k++)
		for (u32 i = 0; patch_active(&call_patches[k]) && i < ATTACH_JMP_LEN; i++)
			if (call_patches[k].at + i - base < len)
				text[call_patches[k].at + i - base] = 0x90;
}
