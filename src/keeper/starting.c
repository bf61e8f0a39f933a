/* SPDX-License-Identifier: MIT */
/*
 * Is an agent on its way into a stopped process? `limpet start` leaves it to the dynamic loader, which takes some
 * milliseconds after execve; a keeper that comes in between would map a second one. Then the environment names the
 * agent, and the only thread is in the loader, or in the agent's constructor.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "keeper/internal.h"

static bool preloads_agent(pid_t tid)
{
	char path[64], *word = NULL;
	size_t cap = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/environ", tid);
	f = fopen(path, "re");
	while (f && !found && getdelim(&word, &cap, 0, f) > 0)
		found = !strncmp(word, "LD_PRELOAD=", 11) && strstr(word, "liblimpet-agent.so");
	free(word);
	if (f)
		fclose(f);
	return found;
}

/* Where the dynamic loader is; 0: the program has none. */
static u64 loader_base(pid_t tid)
{
	char path[64];
	u64 aux[2], base = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && read(fd, aux, sizeof(aux)) == sizeof(aux) && aux[0] != AT_NULL)
		if (aux[0] == AT_BASE)
			base = aux[1];
	if (fd >= 0)
		close(fd);
	return base;
}

static bool is_agent(const struct region *r, const char *agent_path)
{
	struct stat st;

	return agent_path && !stat(agent_path, &st) && r->ino == st.st_ino &&
	       r->dev_major == major(st.st_dev) && r->dev_minor == minor(st.st_dev);
}

bool target_is_starting(const struct target *t, const char *agent_path)
{
	const struct region *loader, *at;

	if (t->count != 1 || !preloads_agent(t->live_tid))
		return false;
	at = region_at(&t->maps, t->threads[0].regs.rip);
	loader = region_at(&t->maps, loader_base(t->live_tid));
	return at && ((loader && at->ino == loader->ino && at->dev_major == loader->dev_major &&
		       at->dev_minor == loader->dev_minor) ||
		      is_agent(at, agent_path));
}
