/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into real programs: puts a probe into every function of every object that is mapped, at
 * its first instruction or at one chosen by PROBE_SEED, before main runs. The handler counts. With
 * PROBE_REPORT a line "PROBED REFUSED HITS" is appended to that file at the end. Children inherit
 * it all.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "attach/decode.h"
#include "self.h"

#define ROOM (ATTACH_TRAMP_MAX + 64)

struct planned {
	struct planned *next;
	struct attach_plan plan;
};

static struct planned *all;
static unsigned long probed, refused;
static volatile unsigned long hits;
static u64 seed;

__attribute__((target("general-regs-only"))) static void handler(void *arg,
								 struct attach_regs *regs)
{
	hits++;
	__asm__ volatile("sub %%eax, %%ecx"
			 :
			 :
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
}

static u32 rnd(u32 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 20) % n;
}

static bool readable(const struct attach_view *v, u64 addr, u64 len)
{
	for (u32 i = 0; i < agent.region_count; i++)
		if (addr >= agent.regions[i].start && addr < agent.regions[i].end)
			return agent.regions[i].read && len <= agent.regions[i].end - addr;
	return false;
}

/* Some instruction of the function. */
static u64 choose(const struct attach_function *f)
{
	u64 chosen = f->start;
	struct x86_insn in;
	u32 n = 0;

	if (!seed)
		return f->start;
	for (u64 at = f->start; at < f->end; at += in.len) {
		if (x86_decode((const u8 *)at, 15, &in) < 0)
			return f->start;
		if (!rnd(++n))
			chosen = at;
	}
	return chosen;
}

static u8 *room_near(u64 near, size_t size)
{
	for (u64 d = 1UL << 24; d < 0x70000000; d += 1UL << 20)
		for (int up = 0; up < 2; up++) {
			void *p = mmap((void *)((up ? near + d : near - d) & ~4095UL), size,
				       PROT_READ | PROT_WRITE | PROT_EXEC,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

			if (p != MAP_FAILED)
				return p;
		}
	return NULL;
}

static void plan_region(const struct agent_region *r, u64 header)
{
	static const struct attach_call call = {.handler = handler};
	struct attach_view v = {.readable = readable, .text_start = r->start, .text_end = r->end};
	size_t size = (r->end - r->start) * 8 + (1UL << 20), used = 0;
	u8 *room = room_near(r->start, size);
	struct attach_function f;

	v.eh_frame_hdr = attach_find_unwind(&v, header);
	if (!v.eh_frame_hdr || !room)
		return;
	for (u64 at = r->start; at < r->end && used + ROOM < size; at = f.next) {
		struct attach_refusal why;
		struct planned *p;

		attach_function_at(&v, at, &f);
		if (!f.end || f.start != at)
			continue;
		p = malloc(sizeof(*p));
		if (self_plan(choose(&f), room + used, &call, &p->plan, &why)) {
			refused++;
			free(p);
			continue;
		}
		p->next = all;
		all = p;
		used += ALIGN_UP(p->plan.code_len, 16U);
		probed++;
	}
}

static void own_region(u64 *ret_start, u64 *ret_end)
{
	for (u32 i = 0; i < agent.region_count; i++)
		if ((u64)handler >= agent.regions[i].start && (u64)handler < agent.regions[i].end) {
			*ret_start = agent.regions[i].start;
			*ret_end = agent.regions[i].end;
		}
}

__attribute__((constructor)) static void probe_all(void)
{
	const char *s = getenv("PROBE_SEED");
	u64 own_start = 0, own_end = 0, header = 0;

	seed = s ? strtoul(s, NULL, 10) * 0x9e3779b97f4a7c15UL : 0;
	self_read_maps();
	own_region(&own_start, &own_end);
	for (u32 i = 0; i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i];

		if (r->ino && !r->file_off)
			header = r->start;
		if (r->exec && r->ino && r->start != own_start)
			plan_region(r, header);
	}
	for (u32 i = 0; i < agent.region_count; i++)
		if (agent.regions[i].exec && agent.regions[i].ino)
			mprotect((void *)agent.regions[i].start,
				 agent.regions[i].end - agent.regions[i].start,
				 PROT_READ | PROT_WRITE | PROT_EXEC);
	for (struct planned *p = all; p; p = p->next)
		for (u32 i = 0; i < p->plan.patch_len; i++)
			((volatile u8 *)p->plan.addr)[i] = p->plan.patch[i];
}

__attribute__((destructor)) static void report(void)
{
	const char *path = getenv("PROBE_REPORT");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	dprintf(fd, "%lu %lu %lu\n", probed, refused, hits);
	close(fd);
}
