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
