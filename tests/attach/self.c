/* SPDX-License-Identifier: MIT */
/* See self.h: the part of the agent's state that agent/place.c looks at, filled in by hand. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "self.h"

#define REGIONS 4096

struct agent_state agent;
struct agent_image limpet_agent;
static struct agent_region regions[REGIONS];

void sites_overlay(u8 *text, u64 base, u64 len)
{
}

void patches_overlay(u8 *text, u64 base, u64 len)
{
}

void self_read_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[4200], perm[5];
	u32 n = 0;

	while (n < REGIONS && fgets(line, sizeof(line), f)) {
		struct agent_region *r = &regions[n++];

		*r = (struct agent_region){0};
		sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &r->start, &r->end, perm, &r->file_off,
		       &r->dev_major, &r->dev_minor, &r->ino);
		r->read = perm[0] == 'r';
		r->exec = r->read && perm[2] == 'x';
	}
	fclose(f);
	place_forget();
	agent.regions = regions;
	agent.region_count = n;
	place_forget(); /* it points into them */
}

u8 *self_page_near(u64 near)
{
	for (u64 d = 1UL << 24; d < 0x70000000; d += 1UL << 20)
		for (int up = 0; up < 2; up++) {
			u64 want = ((up ? near + d : near - d) & ~4095UL);
			void *p = mmap((void *)want, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

			if (p != MAP_FAILED)
				return p;
		}
	return NULL;
}

enum attach_error self_plan(u64 addr, u8 *tramp, const struct attach_call *call,
			    struct attach_plan *ret, struct attach_refusal *ret_why)
{
	u8 bytes[ATTACH_TEXT_WANTED];
	struct attach_text t;
	enum attach_error err = place_enter(addr, bytes, &t, ret_why);

	if (!err)
		err = attach_plan(&t, addr, (u64)tramp, call, tramp, ATTACH_TRAMP_MAX, ret,
				  ret_why);
	return err ? err : place_window(addr, ret->window, ret_why);
}

static bool is_free(u64 at)
{
	u8 *page = mmap((void *)(at & ~4095UL), 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	return page != MAP_FAILED && !munmap(page, 8192);
}

bool self_pun(u64 addr, const struct attach_call *call)
{
	u8 bytes[ATTACH_TEXT_WANTED], code[ATTACH_TRAMP_MAX];
	struct attach_refusal why;
	struct attach_plan plan;
	struct attach_text t;
	u64 first, last, at = 0;

	if (place_enter(addr, bytes, &t, &why))
		return false;
	t.first_only = true;
	for (u32 n = 0; !at && attach_pun_room(&t, addr, n, &first, &last); n++)
		for (u64 p = first; !at && p <= last; p += (last - first) / 16 + 1)
			at = is_free(p) ? p : 0;
	return at && !attach_plan(&t, addr, at, call, code, sizeof(code), &plan, &why) &&
	       !place_window(addr, plan.window, &why);
}
