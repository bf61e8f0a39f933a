/* SPDX-License-Identifier: MIT */
/* bpf_spin_lock and bpf_spin_unlock, on locks in map values (maps/lock.h). */
#include "helpers/internal.h"

u64 help_spin_lock(u64 lock, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	struct vm_held *h = &run->held[run->held_count];
	u32 held;

	if (run->held_count == VM_HELD ||
	    map_lock((u32 *)lock, map_lock_thread((u32)help_identity(run->env)), &held)) {
		run->status = VM_BUSY;
		return 0;
	}
	*h = (struct vm_held){.map = NULL, .word = (_Atomic u32 *)lock, .slot = held};
	run->held_count++;
	return 0;
}

u64 help_spin_unlock(u64 lock, u64 r2, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	for (u32 i = run->held_count; i-- > 0;) {
		struct vm_held *h = &run->held[i];

		if (h->map || (u64)h->word != lock)
			continue;
		map_unlock((u32 *)lock, h->slot);
		*h = run->held[--run->held_count];
		return 0;
	}
	run->status = VM_BAD_ARG;
	return 0;
}
