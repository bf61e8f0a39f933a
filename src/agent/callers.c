/* SPDX-License-Identifier: MIT */
/*
 * Functions that look at their return address, or keep it where nobody can see it: a return probe would
 * show them a stub's. They are known by name, where objects of this process export them.
 *
 *   - the dynamic loader's, which act in the name of the object that called;
 *   - unwinders, which begin at their caller;
 *   - setjmp, which keeps it encrypted: whether calls are in flight (keeper/flight.c) could not be told;
 *   - vfork, which keeps it in a register while two processes run on one stack; and profilers' hooks.
 */
#include "agent/state.h"

#define COPIES 8 /* of one name, in several objects */

static const char *const names[] = {
	"dlopen",
	"dlsym",
	"dlvsym",
	"dlmopen",
	"dl_iterate_phdr",
	"__libc_dlopen_mode",
	"__libc_dlsym",
	"_dl_find_object",
	"_Unwind_RaiseException",
	"_Unwind_Resume",
	"_Unwind_Resume_or_Rethrow",
	"_Unwind_ForcedUnwind",
	"_Unwind_Backtrace",
	"setjmp",
	"_setjmp",
	"__setjmp",
	"sigsetjmp",
	"__sigsetjmp",
	"vfork",
	"__vfork",
	"mcount",
	"_mcount",
	"__fentry__",
};

static struct vec found; /* u64[], of this SYNC */
static bool known;

void callers_forget(void)
{
	found.count = 0;
	known = false;
}

void callers_release(void)
{
	vec_free(&found, sizeof(u64));
	known = false;
}

static bool find_all(void)
{
	u64 at[COPIES];

	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		u32 n = libc_find_symbol(names[i], at, COPIES);

		for (u32 k = 0; k < n; k++) {
			u64 *p = vec_push(&found, sizeof(u64));

			if (!p)
				return false;
			*p = at[k];
		}
	}
	return true;
}

bool callers_matter(u64 addr)
{
	const u64 *at;

	if (!known)
		known = find_all();
	at = found.data;
	for (u32 i = 0; i < found.count; i++)
		if (at[i] == addr)
			return true;
	return !known; /* no memory: who knows */
}
