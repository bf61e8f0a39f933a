/* SPDX-License-Identifier: MIT */
/*
 * Is a stopped process still being loaded? The dynamic loader takes some milliseconds after execve. Until then
 *
 *  - an agent may be on its way: `limpet start` leaves it to the loader, and a keeper that comes in between would map
 *    a second one. Then the environment names the agent, and the only thread is in the loader, or in the agent's
 *    constructor;
 *  - what the agent looks for in libc may not be there yet. Then the only thread is in the loader, whose record for
 *    debuggers (struct r_debug, to which the program's DT_DEBUG points) is not there or says that objects come.
 */
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "keeper/internal.h"

#define HEADERS_MAX 256 /* program headers, and entries of the dynamic section, that are looked at */
#define DYNAMIC_MAX 1024

static bool is_agent(const struct region *r, const char *agent_path)
{
	struct stat st;

	return agent_path && !stat(agent_path, &st) && r->ino == st.st_ino &&
	       r->dev_major == major(st.st_dev) && r->dev_minor == minor(st.st_dev);
}

/* Does the program say where the loader's record for debuggers is, and does that say that loading goes on? */
static bool loads_objects(struct target *t)
{
	u64 at = proc_aux(t->live_tid, AT_PHDR), count = proc_aux(t->live_tid, AT_PHNUM), bias = 0, dynamic = 0;
	struct r_debug debug = {0};
	Elf64_Dyn d = {.d_tag = DT_NULL};

	for (u64 i = 0; i < count && i < HEADERS_MAX; i++) {
		Elf64_Phdr p;

		if (target_read(t, at + i * sizeof(p), &p, sizeof(p)))
			return false;
		if (p.p_type == PT_PHDR)
			bias = at - p.p_vaddr; /* it comes before those that are loaded */
		if (p.p_type == PT_DYNAMIC)
			dynamic = bias + p.p_vaddr;
	}
	for (u64 i = 0; dynamic && i < DYNAMIC_MAX && d.d_tag != DT_DEBUG; i++)
		if (target_read(t, dynamic + i * sizeof(d), &d, sizeof(d)) || d.d_tag == DT_NULL)
			return false;
	if (d.d_tag != DT_DEBUG)
		return false;
	return !d.d_un.d_ptr || target_read(t, d.d_un.d_ptr, &debug, sizeof(debug)) || !debug.r_version ||
	       debug.r_state != RT_CONSISTENT;
}

bool target_is_starting(struct target *t, const char *agent_path)
{
	const struct region *loader, *at;
	bool in_loader;

	if (t->count != 1)
		return false;
	at = region_at(&t->maps, t->threads[0].regs.rip);
	loader = region_at(&t->maps, proc_aux(t->live_tid, AT_BASE));
	if (!at)
		return false;
	in_loader = loader && at->ino == loader->ino && at->dev_major == loader->dev_major &&
		    at->dev_minor == loader->dev_minor;
	return (in_loader && loads_objects(t)) ||
	       ((in_loader || is_agent(at, agent_path)) && proc_environ(t->live_tid, "LD_PRELOAD=", "liblimpet-agent.so"));
}
