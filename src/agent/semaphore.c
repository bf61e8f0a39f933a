/* SPDX-License-Identifier: MIT */
/*
 * USDT semaphores: 16-bit counters in a probed image's data that programs look at before they prepare
 * a probe's arguments (sys/sdt.h). As the kernel does for uprobes with a reference counter offset, every
 * patched address that names one adds 1 while it is patched.
 *
 * What limpet has added is kept here, address by address, and changed at SYNC by the difference to what
 * the living sites ask for: all other threads are stopped then, or there are none. A fork child has its
 * own copies of the counters and of this table. What is not mapped writable any more is forgotten.
 */
#include <asm/errno.h>
#include "agent/state.h"

struct semaphore {
	u64 addr;
	u32 added, asked;
};

static bool writable(u64 addr)
{
	for (u32 i = 0; i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i];

		if (addr >= r->start && addr < r->end)
			return r->private_write && r->end - addr >= sizeof(u16);
	}
	return false;
}

/* The writable mapping of the file's place nearest above its code: an image may be there more than once. */
u64 semaphore_at(const struct agent_region *code, u64 file_off)
{
	for (u32 i = 0; file_off && i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i];

		if (r->start > code->start && r->private_write && r->ino == code->ino &&
		    r->dev_major == code->dev_major && r->dev_minor == code->dev_minor &&
		    file_off >= r->file_off && file_off - r->file_off < r->end - r->start)
			return r->start + (file_off - r->file_off);
	}
	return 0;
}

static struct semaphore *entry(u64 addr)
{
	struct semaphore *s = agent.semaphores.data;

	for (u32 i = agent.semaphores.count; i-- > 0;)
		if (s[i].addr == addr)
			return &s[i];
	s = vec_push(&agent.semaphores, sizeof(*s));
	if (s)
		*s = (struct semaphore){.addr = addr};
	return s;
}

static void settle(struct semaphore *s)
{
	u16 *counter = (u16 *)s->addr;
	u32 less = s->added > s->asked ? s->added - s->asked : 0;

	if (!writable(s->addr))
		return;
	if (less)
		*counter = *counter > less ? (u16)(*counter - less) : 0;
	else
		*counter = (u16)(*counter + (s->asked - s->added));
	s->added = s->asked;
}

void semaphore_lost(u64 addr)
{
	struct semaphore *s = agent.semaphores.data;

	for (u32 i = 0; i < agent.semaphores.count; i++)
		if (s[i].addr == addr && s[i].added)
			s[i].added--;
}

int semaphores_sync(void)
{
	struct semaphore *s;
	u32 kept = 0;

	for (struct site *i = agent.sites; i; i = i->next) {
		if (i->retired || !i->semaphore)
			continue;
		s = entry(i->semaphore);
		if (!s)
			return -ENOMEM;
		s->asked++;
	}
	s = agent.semaphores.data;
	for (u32 i = 0; i < agent.semaphores.count; i++) {
		if (s[i].added != s[i].asked)
			settle(&s[i]);
		if (s[i].asked) /* else it is taken back, or gone with its mapping */
			s[kept++] = (struct semaphore){s[i].addr, s[i].added, 0};
	}
	agent.semaphores.count = kept;
	return 0;
}

void semaphores_release(void)
{
	vec_free(&agent.semaphores, sizeof(struct semaphore));
}
