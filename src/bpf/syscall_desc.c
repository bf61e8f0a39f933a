/* SPDX-License-Identifier: MIT */
/* See syscall_desc.h. */
#include "bpf/syscall_desc.h"

#define FIRST_ID 20000u /* of call 0, its exit; one more: its entry. Two less: of all calls */

static const struct syscall_desc table[] = {
#define SYSCALL(nr, name, args) {nr, name, args},
#include "bpf/syscall_table.h"
#undef SYSCALL
};

const struct syscall_desc *syscall_desc_at(u32 index)
{
	return index < ARRAY_SIZE(table) ? &table[index] : NULL;
}

const struct syscall_desc *syscall_desc_find(u32 nr)
{
	u32 from = 0, to = ARRAY_SIZE(table);

	while (from < to) {
		const u32 mid = (from + to) / 2;

		if (table[mid].nr == nr)
			return &table[mid];
		if (table[mid].nr < nr)
			from = mid + 1;
		else
			to = mid;
	}
	return NULL;
}

u32 syscall_desc_args(const struct syscall_desc *d)
{
	u32 n = *d->args != 0;

	for (const char *p = d->args; *p; p++)
		n += *p == ';';
	return n;
}

u32 syscall_event_id(struct syscall_event e)
{
	return (u32)((s32)FIRST_ID + 2 * e.nr) + !e.exit;
}

bool syscall_event_by_id(u64 id, struct syscall_event *ret)
{
	struct syscall_event e = {.nr = (s32)(id / 2) - (s32)(FIRST_ID / 2), .exit = !(id & 1)};

	if (id < FIRST_ID - 2 || id > 65535 ||
	    (e.nr != SYSCALL_ALL && !syscall_desc_find((u32)e.nr)))
		return false;
	*ret = e;
	return true;
}

static const char *after(const char *text, const char *start)
{
	while (*start && *text == *start)
		text++, start++;
	return *start ? NULL : text;
}

static bool same(const char *a, const char *b)
{
	const char *rest = after(a, b);

	return rest && !*rest;
}

bool syscall_event_by_name(const char *system, const char *name, struct syscall_event *ret)
{
	const char *enter = after(name, "sys_enter"), *exit = after(name, "sys_exit"),
		   *rest = enter ? enter : exit;

	if (!rest)
		return false;
	*ret = (struct syscall_event){.nr = SYSCALL_ALL, .exit = exit != NULL};
	if (same(system, "raw_syscalls"))
		return !*rest;
	if (!same(system, "syscalls") || *rest != '_')
		return false;
	for (u32 i = 0; i < ARRAY_SIZE(table); i++)
		if (same(rest + 1, table[i].name)) {
			ret->nr = (s32)table[i].nr;
			return true;
		}
	return false;
}

static char *put(char *to, const char *end, const char *text)
{
	while (*text && to < end - 1)
		*to++ = *text++;
	*to = 0;
	return to;
}

void syscall_event_name(struct syscall_event e, char buf[SYSCALL_NAME_MAX])
{
	const struct syscall_desc *d = e.nr == SYSCALL_ALL ? NULL : syscall_desc_find((u32)e.nr);
	const char *end = buf + SYSCALL_NAME_MAX;
	char *p;

	if (!d && e.nr != SYSCALL_ALL) {
		put(buf, end, "?");
		return;
	}
	p = put(buf, end, e.exit ? "sys_exit" : "sys_enter");
	if (d)
		put(put(p, end, "_"), end, d->name);
}

u32 syscall_event_size(struct syscall_event e)
{
	const struct syscall_desc *d = e.nr == SYSCALL_ALL ? NULL : syscall_desc_find((u32)e.nr);
	const u32 args = e.exit ? 1 : d ? syscall_desc_args(d) : SYSCALL_ARGS_MAX;

	/* the last field of a call without arguments is its number */
	return args ? SYSCALL_RECORD_ARGS + args * (u32)sizeof(u64) : 12;
}
