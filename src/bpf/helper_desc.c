/* SPDX-License-Identifier: MIT */
/* Helper prototypes, by number (include/uapi/linux/bpf.h). A number without a row is unknown. */
#include "bpf/helper_desc.h"

#define KEY   ARG_MAP_KEY
#define VALUE ARG_MAP_VALUE

static const struct bpf_helper_desc descs[] = {
	[1] = {"map_lookup_elem", RET_MAP_VALUE_OR_NULL, {ARG_MAP, KEY}, 0, NULL},
	[2] = {"map_update_elem", RET_INTEGER, {ARG_MAP, KEY, VALUE, ARG_SCALAR}, 0, NULL},
	[3] = {"map_delete_elem", RET_INTEGER, {ARG_MAP, KEY}, 0, NULL},
	[4] = {"probe_read", RET_INTEGER, {ARG_MEM_OUT, ARG_SIZE_OR_ZERO, ARG_ANY_PTR}, HELPER_GPL_ONLY, NULL},
	[5] = {"ktime_get_ns", RET_INTEGER, {0}, 0, NULL},
	[6] = {"trace_printk", RET_INTEGER, {ARG_MEM, ARG_SIZE, ARG_SCALAR, ARG_SCALAR, ARG_SCALAR}, HELPER_GPL_ONLY, NULL},
	[7] = {"get_prandom_u32", RET_INTEGER, {0}, 0, NULL},
	[8] = {"get_smp_processor_id", RET_INTEGER, {0}, 0, NULL},
	[14] = {"get_current_pid_tgid", RET_INTEGER, {0}, 0, NULL},
	[15] = {"get_current_uid_gid", RET_INTEGER, {0}, 0, NULL},
	[16] = {"get_current_comm", RET_INTEGER, {ARG_MEM_OUT, ARG_SIZE}, 0, NULL},
	[45] = {"probe_read_str", RET_INTEGER, {ARG_MEM_OUT, ARG_SIZE_OR_ZERO, ARG_ANY_PTR}, HELPER_GPL_ONLY, NULL},
	[87] = {"map_push_elem", RET_INTEGER, {ARG_MAP, VALUE, ARG_SCALAR}, 0, NULL},
	[88] = {"map_pop_elem", RET_INTEGER, {ARG_MAP, ARG_MAP_VALUE_OUT}, 0, NULL},
	[89] = {"map_peek_elem", RET_INTEGER, {ARG_MAP, ARG_MAP_VALUE_OUT}, 0, NULL},
	[112] = {"probe_read_user", RET_INTEGER, {ARG_MEM_OUT, ARG_SIZE_OR_ZERO, ARG_ANY_PTR}, HELPER_GPL_ONLY, NULL},
	[114] = {"probe_read_user_str", RET_INTEGER, {ARG_MEM_OUT, ARG_SIZE_OR_ZERO, ARG_ANY_PTR}, HELPER_GPL_ONLY, NULL},
	[125] = {"ktime_get_boot_ns", RET_INTEGER, {0}, 0, NULL},
	[177] = {"trace_vprintk", RET_INTEGER, {ARG_MEM, ARG_SIZE, ARG_MEM_OR_NULL, ARG_SIZE_OR_ZERO}, HELPER_GPL_ONLY, NULL},
};

const struct bpf_helper_desc *bpf_helper_desc(u32 id)
{
	return id < ARRAY_SIZE(descs) && descs[id].name ? &descs[id] : NULL;
}

u32 bpf_helper_max(void)
{
	return ARRAY_SIZE(descs);
}
