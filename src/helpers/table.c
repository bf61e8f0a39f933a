/* SPDX-License-Identifier: MIT */
/* The helper functions by number; prototypes are in bpf/helper_desc.c. */
#include "helpers/internal.h"

HIDDEN vm_helper_fn *const helper_table[] = {
	[1] = help_map_lookup,
	[2] = help_map_update,
	[3] = help_map_delete,
	[4] = help_probe_read,
	[5] = help_ktime,
	[6] = help_trace_printk,
	[7] = help_prandom,
	[8] = help_cpu,
	[14] = help_pid_tgid,
	[15] = help_uid_gid,
	[16] = help_comm,
	[45] = help_probe_read_str,
	[87] = help_map_push,
	[88] = help_map_pop,
	[89] = help_map_peek,
	[112] = help_probe_read,
	[114] = help_probe_read_str,
	[125] = help_ktime_boot,
	[177] = help_trace_vprintk,
};

u32 helper_table_size(void)
{
	return ARRAY_SIZE(helper_table);
}
