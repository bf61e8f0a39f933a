/* SPDX-License-Identifier: MIT */
/*
 * Helper prototypes, by number (include/uapi/linux/bpf.h), all that kernels have up to the last number
 * they gave out (211: what came later are kfuncs). A row says what the kernel's bpf_func_proto says;
 * for helpers that limpet does not have, only roughly.
 */
#include "bpf/helper_desc.h"

#define NUM           ARG_SCALAR
#define VALUE_OUT     ARG_MAP_VALUE_OUT
#define VALUE         ARG_MAP_VALUE
#define KEY           ARG_MAP_KEY
#define MAP           ARG_MAP
#define OUT_OR_NULL   ARG_MEM_OUT_OR_NULL
#define MEM_OR_NULL   ARG_MEM_OR_NULL
#define OUT           ARG_MEM_OUT
#define MEM           ARG_MEM
#define SIZE0         ARG_SIZE_OR_ZERO
#define SIZE          ARG_SIZE
#define CTX           ARG_CTX
#define STR           ARG_CONST_STR
#define LONG_OUT      ARG_LONG_OUT
#define CALLBACK      ARG_CALLBACK
#define STACK_OR_NULL ARG_STACK_OR_NULL
#define RECORD        ARG_RECORD
#define DYNPTR        ARG_DYNPTR
#define SPIN_LOCK     ARG_SPIN_LOCK
#define ANY           ARG_ANY_PTR
#define ANY_OUT       ARG_ANY_PTR_OUT
#define NUMBER        ARG_NUMBER
#define ITER          ARG_ITER
#define TASK          ARG_TASK
#define BUFFER        ARG_BUFFER
#define BUFFER_OR_NULL ARG_BUFFER_OR_NULL
#define BUFFER_SIZE   ARG_BUFFER_SIZE
#define CONST_SIZE    ARG_CONST_SIZE
#define INT           RET_INTEGER
#define VOID          RET_VOID
#define VALUE_OR_NULL RET_MAP_VALUE_OR_NULL
#define PTR_OR_NULL   RET_MEM_OR_NULL
#define GPL           HELPER_GPL_ONLY
#define SLEEPABLE     HELPER_SLEEPABLE

/* Why limpet has none. */
#define NOT_YET      "not yet"
#define TIMERS       "needs somebody in the target to run the callback"
#define KPTRS        "needs the kernel's objects"
#define NETWORK      "for programs on packets and sockets"
#define CGROUP_PROGS "for programs on control groups"
#define CGROUPS      "needs the kernel's control groups"
#define TASKS        "needs the kernel's tasks"
#define COUNTERS     "needs the kernel's performance counters"
#define KDATA        "needs the kernel's variables"
#define KBTF         "prints the kernel's data"
#define ITERATORS    "for iterator programs"
#define SYSCALL_PROGS "for programs of type SYSCALL"
#define LSM          "for security module programs"
#define INFRARED     "for infrared receivers"

/* clang-format off */
static const struct bpf_helper_desc descs[] = {
	[1] = {"map_lookup_elem", VALUE_OR_NULL, {MAP, KEY}, 0, NULL},
	[2] = {"map_update_elem", INT, {MAP, KEY, VALUE, NUM}, 0, NULL},
	[3] = {"map_delete_elem", INT, {MAP, KEY}, 0, NULL},
	[4] = {"probe_read", INT, {OUT, SIZE0, ANY}, GPL, NULL},
	[5] = {"ktime_get_ns", INT, {0}, 0, NULL},
	[6] = {"trace_printk", INT, {MEM, SIZE, NUM, NUM, NUM}, GPL, NULL},
	[7] = {"get_prandom_u32", INT, {0}, 0, NULL},
	[8] = {"get_smp_processor_id", INT, {0}, 0, NULL},
	[9] = {"skb_store_bytes", INT, {CTX, NUM, MEM, SIZE, NUM}, 0, NETWORK},
	[10] = {"l3_csum_replace", INT, {CTX, NUM, NUM, NUM, NUM}, 0, NETWORK},
	[11] = {"l4_csum_replace", INT, {CTX, NUM, NUM, NUM, NUM}, 0, NETWORK},
	[12] = {"tail_call", VOID, {CTX, MAP, NUM}, 0, NULL},
	[13] = {"clone_redirect", INT, {CTX, NUM, NUM}, 0, NETWORK},
	[14] = {"get_current_pid_tgid", INT, {0}, 0, NULL},
	[15] = {"get_current_uid_gid", INT, {0}, 0, NULL},
	[16] = {"get_current_comm", INT, {OUT, SIZE}, 0, NULL},
	[17] = {"get_cgroup_classid", INT, {CTX}, 0, CGROUPS},
	[18] = {"skb_vlan_push", INT, {CTX, NUM, NUM}, 0, NETWORK},
	[19] = {"skb_vlan_pop", INT, {CTX}, 0, NETWORK},
	[20] = {"skb_get_tunnel_key", INT, {CTX, OUT, SIZE, NUM}, 0, NETWORK},
	[21] = {"skb_set_tunnel_key", INT, {CTX, OUT, SIZE, NUM}, 0, NETWORK},
	[22] = {"perf_event_read", INT, {MAP, NUM}, GPL, COUNTERS},
	[23] = {"redirect", INT, {NUM, NUM}, 0, NETWORK},
	[24] = {"get_route_realm", INT, {CTX}, 0, NETWORK},
	[25] = {"perf_event_output", INT, {CTX, MAP, NUM, MEM, SIZE0}, GPL, NULL},
	[26] = {"skb_load_bytes", INT, {CTX, NUM, OUT, SIZE}, 0, NETWORK},
	[27] = {"get_stackid", INT, {CTX, MAP, NUM}, GPL, NULL},
	[28] = {"csum_diff", INT, {MEM, SIZE, MEM, SIZE, NUM}, 0, NETWORK},
	[29] = {"skb_get_tunnel_opt", INT, {CTX, OUT, SIZE}, 0, NETWORK},
	[30] = {"skb_set_tunnel_opt", INT, {CTX, OUT, SIZE}, 0, NETWORK},
	[31] = {"skb_change_proto", INT, {CTX, NUM, NUM}, 0, NETWORK},
	[32] = {"skb_change_type", INT, {CTX, NUM}, 0, NETWORK},
	[33] = {"skb_under_cgroup", INT, {CTX, MAP, NUM}, 0, NETWORK},
	[34] = {"get_hash_recalc", INT, {CTX}, 0, NETWORK},
	[35] = {"get_current_task", INT, {0}, GPL, NULL},
	[36] = {"probe_write_user", INT, {ANY_OUT, MEM, SIZE}, GPL, NULL},
	[37] = {"current_task_under_cgroup", INT, {MAP, NUM}, 0, NULL},
	[38] = {"skb_change_tail", INT, {CTX, NUM, NUM}, 0, NETWORK},
	[39] = {"skb_pull_data", INT, {CTX, NUM}, 0, NETWORK},
	[40] = {"csum_update", INT, {CTX, NUM}, 0, NETWORK},
	[41] = {"set_hash_invalid", VOID, {CTX}, 0, NETWORK},
	[42] = {"get_numa_node_id", INT, {0}, 0, NULL},
	[43] = {"skb_change_head", INT, {CTX, NUM, NUM}, 0, NETWORK},
	[44] = {"xdp_adjust_head", INT, {CTX, NUM}, 0, NETWORK},
	[45] = {"probe_read_str", INT, {OUT, SIZE0, ANY}, GPL, NULL},
	[46] = {"get_socket_cookie", INT, {CTX}, 0, NETWORK},
	[47] = {"get_socket_uid", INT, {CTX}, 0, NETWORK},
	[48] = {"set_hash", INT, {CTX, NUM}, 0, NETWORK},
	[49] = {"setsockopt", INT, {CTX, NUM, NUM, MEM, SIZE}, 0, NETWORK},
	[50] = {"skb_adjust_room", INT, {CTX, NUM, NUM, NUM}, 0, NETWORK},
	[51] = {"redirect_map", INT, {MAP, NUM, NUM}, 0, NETWORK},
	[52] = {"sk_redirect_map", INT, {CTX, MAP, NUM, NUM}, 0, NETWORK},
	[53] = {"sock_map_update", INT, {CTX, MAP, KEY, NUM}, 0, NETWORK},
	[54] = {"xdp_adjust_meta", INT, {CTX, NUM}, 0, NETWORK},
	[55] = {"perf_event_read_value", INT, {MAP, NUM, OUT, SIZE}, GPL, COUNTERS},
	[56] = {"perf_prog_read_value", INT, {CTX, OUT, SIZE}, GPL, COUNTERS},
	[57] = {"getsockopt", INT, {CTX, NUM, NUM, OUT, SIZE}, 0, NETWORK},
	[58] = {"override_return", INT, {CTX, NUM}, GPL, NULL},
	[59] = {"sock_ops_cb_flags_set", INT, {CTX, NUM}, 0, NETWORK},
	[60] = {"msg_redirect_map", INT, {CTX, MAP, NUM, NUM}, 0, NETWORK},
	[61] = {"msg_apply_bytes", INT, {CTX, NUM}, 0, NETWORK},
	[62] = {"msg_cork_bytes", INT, {CTX, NUM}, 0, NETWORK},
	[63] = {"msg_pull_data", INT, {CTX, NUM, NUM, NUM}, 0, NETWORK},
	[64] = {"bind", INT, {CTX, MEM, SIZE}, 0, NETWORK},
	[65] = {"xdp_adjust_tail", INT, {CTX, NUM}, 0, NETWORK},
	[66] = {"skb_get_xfrm_state", INT, {CTX, NUM, OUT, SIZE, NUM}, 0, NETWORK},
	[67] = {"get_stack", INT, {CTX, OUT, SIZE0, NUM}, GPL, NULL},
	[68] = {"skb_load_bytes_relative", INT, {CTX, NUM, OUT, SIZE, NUM}, 0, NETWORK},
	[69] = {"fib_lookup", INT, {CTX, OUT, SIZE, NUM}, 0, NETWORK},
	[70] = {"sock_hash_update", INT, {CTX, MAP, KEY, NUM}, 0, NETWORK},
	[71] = {"msg_redirect_hash", INT, {CTX, MAP, KEY, NUM}, 0, NETWORK},
	[72] = {"sk_redirect_hash", INT, {CTX, MAP, KEY, NUM}, 0, NETWORK},
	[73] = {"lwt_push_encap", INT, {CTX, NUM, MEM, SIZE}, 0, NETWORK},
	[74] = {"lwt_seg6_store_bytes", INT, {CTX, NUM, MEM, SIZE}, 0, NETWORK},
	[75] = {"lwt_seg6_adjust_srh", INT, {CTX, NUM, NUM}, 0, NETWORK},
	[76] = {"lwt_seg6_action", INT, {CTX, NUM, OUT, SIZE}, 0, NETWORK},
	[77] = {"rc_repeat", INT, {CTX}, 0, INFRARED},
	[78] = {"rc_keydown", INT, {CTX, NUM, NUM, NUM}, 0, INFRARED},
	[79] = {"skb_cgroup_id", INT, {CTX}, 0, NETWORK},
	[80] = {"get_current_cgroup_id", INT, {0}, 0, NULL},
	[81] = {"get_local_storage", PTR_OR_NULL, {ANY, NUM}, 0, CGROUP_PROGS},
	[82] = {"sk_select_reuseport", INT, {CTX, MAP, KEY, NUM}, 0, NETWORK},
	[83] = {"skb_ancestor_cgroup_id", INT, {CTX, NUM}, 0, NETWORK},
	[84] = {"sk_lookup_tcp", PTR_OR_NULL, {CTX, OUT, SIZE, NUM, NUM}, 0, NETWORK},
	[85] = {"sk_lookup_udp", PTR_OR_NULL, {CTX, OUT, SIZE, NUM, NUM}, 0, NETWORK},
	[86] = {"sk_release", INT, {ANY}, 0, NETWORK},
	[87] = {"map_push_elem", INT, {MAP, VALUE, NUM}, 0, NULL},
	[88] = {"map_pop_elem", INT, {MAP, VALUE_OUT}, 0, NULL},
	[89] = {"map_peek_elem", INT, {MAP, VALUE_OUT}, 0, NULL},
	[90] = {"msg_push_data", INT, {CTX, NUM, NUM, NUM}, 0, NETWORK},
	[91] = {"msg_pop_data", INT, {CTX, NUM, NUM, NUM}, 0, NETWORK},
	[92] = {"rc_pointer_rel", INT, {CTX, NUM, NUM}, 0, INFRARED},
	[93] = {"spin_lock", VOID, {SPIN_LOCK}, 0, NULL},
	[94] = {"spin_unlock", VOID, {SPIN_LOCK}, 0, NULL},
	[95] = {"sk_fullsock", PTR_OR_NULL, {CTX}, 0, NETWORK},
	[96] = {"tcp_sock", PTR_OR_NULL, {CTX}, 0, NETWORK},
	[97] = {"skb_ecn_set_ce", INT, {CTX}, 0, NETWORK},
	[98] = {"get_listener_sock", PTR_OR_NULL, {CTX}, 0, NETWORK},
	[99] = {"skc_lookup_tcp", PTR_OR_NULL, {CTX, OUT, SIZE, NUM, NUM}, 0, NETWORK},
	[100] = {"tcp_check_syncookie", INT, {ANY, MEM, SIZE, MEM, SIZE}, 0, NETWORK},
	[101] = {"sysctl_get_name", INT, {CTX, OUT, SIZE, NUM}, 0, CGROUP_PROGS},
	[102] = {"sysctl_get_current_value", INT, {CTX, OUT, SIZE}, 0, CGROUP_PROGS},
	[103] = {"sysctl_get_new_value", INT, {CTX, OUT, SIZE}, 0, CGROUP_PROGS},
	[104] = {"sysctl_set_new_value", INT, {CTX, MEM, SIZE}, 0, CGROUP_PROGS},
	[105] = {"strtol", INT, {MEM, SIZE, NUM, LONG_OUT}, 0, NULL},
	[106] = {"strtoul", INT, {MEM, SIZE, NUM, LONG_OUT}, 0, NULL},
	[107] = {"sk_storage_get", PTR_OR_NULL, {MAP, ANY, ANY, NUM}, 0, NETWORK},
	[108] = {"sk_storage_delete", INT, {MAP, ANY}, 0, NETWORK},
	[109] = {"send_signal", INT, {NUM}, 0, NULL},
	[110] = {"tcp_gen_syncookie", INT, {ANY, MEM, SIZE, MEM, SIZE}, 0, NETWORK},
	[111] = {"skb_output", INT, {CTX, MAP, NUM, MEM, SIZE}, 0, NETWORK},
	[112] = {"probe_read_user", INT, {OUT, SIZE0, ANY}, GPL, NULL},
	[113] = {"probe_read_kernel", INT, {OUT, SIZE0, ANY}, GPL, NULL},
	[114] = {"probe_read_user_str", INT, {OUT, SIZE0, ANY}, GPL, NULL},
	[115] = {"probe_read_kernel_str", INT, {OUT, SIZE0, ANY}, GPL, NULL},
	[116] = {"tcp_send_ack", INT, {ANY, NUM}, 0, NETWORK},
	[117] = {"send_signal_thread", INT, {NUM}, 0, NULL},
	[118] = {"jiffies64", INT, {0}, 0, NULL},
	[119] = {"read_branch_records", INT, {CTX, OUT_OR_NULL, SIZE0, NUM}, GPL, COUNTERS},
	[120] = {"get_ns_current_pid_tgid", INT, {NUM, NUM, OUT, SIZE}, 0, NULL},
	[121] = {"xdp_output", INT, {CTX, MAP, NUM, MEM, SIZE}, 0, NETWORK},
	[122] = {"get_netns_cookie", INT, {CTX}, 0, NETWORK},
	[123] = {"get_current_ancestor_cgroup_id", INT, {NUM}, 0, NULL},
	[124] = {"sk_assign", INT, {CTX, ANY, NUM}, 0, NETWORK},
	[125] = {"ktime_get_boot_ns", INT, {0}, 0, NULL},
	[126] = {"seq_printf", INT, {CTX, MEM, SIZE, MEM, SIZE}, 0, ITERATORS},
	[127] = {"seq_write", INT, {CTX, MEM, SIZE}, 0, ITERATORS},
	[128] = {"sk_cgroup_id", INT, {ANY}, 0, NETWORK},
	[129] = {"sk_ancestor_cgroup_id", INT, {ANY, NUM}, 0, NETWORK},
	[130] = {"ringbuf_output", INT, {MAP, MEM, SIZE0, NUM}, 0, NULL},
	[131] = {"ringbuf_reserve", PTR_OR_NULL, {MAP, NUM, NUM}, 0, NULL},
	[132] = {"ringbuf_submit", VOID, {RECORD, NUM}, 0, NULL},
	[133] = {"ringbuf_discard", VOID, {RECORD, NUM}, 0, NULL},
	[134] = {"ringbuf_query", INT, {MAP, NUM}, 0, NULL},
	[135] = {"csum_level", INT, {CTX, NUM}, 0, NETWORK},
	[136] = {"skc_to_tcp6_sock", PTR_OR_NULL, {ANY}, 0, NETWORK},
	[137] = {"skc_to_tcp_sock", PTR_OR_NULL, {ANY}, 0, NETWORK},
	[138] = {"skc_to_tcp_timewait_sock", PTR_OR_NULL, {ANY}, 0, NETWORK},
	[139] = {"skc_to_tcp_request_sock", PTR_OR_NULL, {ANY}, 0, NETWORK},
	[140] = {"skc_to_udp6_sock", PTR_OR_NULL, {ANY}, 0, NETWORK},
	[141] = {"get_task_stack", INT, {TASK, OUT, SIZE0, NUM}, 0, NULL},
	[142] = {"load_hdr_opt", INT, {CTX, OUT, SIZE, NUM}, 0, NETWORK},
	[143] = {"store_hdr_opt", INT, {CTX, MEM, SIZE, NUM}, 0, NETWORK},
	[144] = {"reserve_hdr_opt", INT, {CTX, NUM, NUM}, 0, NETWORK},
	[145] = {"inode_storage_get", PTR_OR_NULL, {MAP, ANY, ANY, NUM}, 0, LSM},
	[146] = {"inode_storage_delete", INT, {MAP, ANY}, 0, LSM},
	[147] = {"d_path", INT, {ANY, OUT, SIZE}, 0, LSM},
	[148] = {"copy_from_user", INT, {OUT, SIZE0, ANY}, SLEEPABLE, NULL},
	[149] = {"snprintf_btf", INT, {OUT, SIZE, MEM, SIZE, NUM}, GPL, KBTF},
	[150] = {"seq_printf_btf", INT, {CTX, OUT, SIZE, NUM}, 0, ITERATORS},
	[151] = {"skb_cgroup_classid", INT, {CTX}, 0, NETWORK},
	[152] = {"redirect_neigh", INT, {NUM, OUT, SIZE, NUM}, 0, NETWORK},
	[153] = {"per_cpu_ptr", PTR_OR_NULL, {ANY, NUM}, 0, KDATA},
	[154] = {"this_cpu_ptr", PTR_OR_NULL, {ANY}, 0, KDATA},
	[155] = {"redirect_peer", INT, {NUM, NUM}, 0, NETWORK},
	[156] = {"task_storage_get", VALUE_OR_NULL, {MAP, ANY, ANY, NUM}, 0, TASKS},
	[157] = {"task_storage_delete", INT, {MAP, ANY}, 0, TASKS},
	[158] = {"get_current_task_btf", RET_TASK, {0}, GPL, NULL},
	[159] = {"bprm_opts_set", INT, {ANY, NUM}, 0, LSM},
	[160] = {"ktime_get_coarse_ns", INT, {0}, 0, NULL},
	[161] = {"ima_inode_hash", INT, {ANY, OUT, SIZE}, 0, LSM},
	[162] = {"sock_from_file", PTR_OR_NULL, {ANY}, 0, LSM},
	[163] = {"check_mtu", INT, {CTX, NUM, OUT, SIZE, NUM}, 0, NETWORK},
	[164] = {"for_each_map_elem", INT, {MAP, CALLBACK, STACK_OR_NULL, NUM}, 0, NULL},
	[165] = {"snprintf", INT, {OUT_OR_NULL, SIZE0, STR, MEM_OR_NULL, SIZE0}, GPL, NULL},
	[166] = {"sys_bpf", INT, {NUM, OUT, SIZE}, 0, SYSCALL_PROGS},
	[167] = {"btf_find_by_name_kind", INT, {OUT, SIZE, NUM, NUM}, 0, SYSCALL_PROGS},
	[168] = {"sys_close", INT, {NUM}, 0, SYSCALL_PROGS},
	[169] = {"timer_init", INT, {ANY, MAP, NUM}, 0, TIMERS},
	[170] = {"timer_set_callback", INT, {ANY, CALLBACK}, 0, TIMERS},
	[171] = {"timer_start", INT, {ANY, NUM, NUM}, 0, TIMERS},
	[172] = {"timer_cancel", INT, {ANY}, 0, TIMERS},
	[173] = {"get_func_ip", INT, {CTX}, GPL, NULL},
	[174] = {"get_attach_cookie", INT, {CTX}, 0, NULL},
	[175] = {"task_pt_regs", RET_PT_REGS, {TASK}, GPL, NULL},
	[176] = {"get_branch_snapshot", INT, {OUT, SIZE0, NUM}, GPL, NULL},
	[177] = {"trace_vprintk", INT, {MEM, SIZE, MEM_OR_NULL, SIZE0}, GPL, NULL},
	[178] = {"skc_to_unix_sock", PTR_OR_NULL, {ANY}, 0, NETWORK},
	[179] = {"kallsyms_lookup_name", INT, {MEM, SIZE, NUM, ANY}, 0, SYSCALL_PROGS},
	[180] = {"find_vma", INT, {ANY, NUM, CALLBACK, STACK_OR_NULL, NUM}, 0, TASKS},
	[181] = {"loop", INT, {NUM, CALLBACK, STACK_OR_NULL, NUM}, 0, NULL},
	[182] = {"strncmp", INT, {MEM, SIZE, STR}, 0, NULL},
	[183] = {"get_func_arg", INT, {CTX, NUM, LONG_OUT}, 0, NULL},
	[184] = {"get_func_ret", INT, {CTX, LONG_OUT}, 0, NULL},
	[185] = {"get_func_arg_cnt", INT, {CTX}, 0, NULL},
	[186] = {"get_retval", INT, {0}, 0, CGROUP_PROGS},
	[187] = {"set_retval", INT, {NUM}, 0, CGROUP_PROGS},
	[188] = {"xdp_get_buff_len", INT, {CTX}, 0, NETWORK},
	[189] = {"xdp_load_bytes", INT, {CTX, NUM, OUT, SIZE}, 0, NETWORK},
	[190] = {"xdp_store_bytes", INT, {CTX, NUM, OUT, SIZE}, 0, NETWORK},
	[191] = {"copy_from_user_task", INT, {OUT, SIZE0, ANY, TASK, NUM}, SLEEPABLE | GPL, NULL},
	[192] = {"skb_set_tstamp", INT, {CTX, NUM, NUM}, 0, NETWORK},
	[193] = {"ima_file_hash", INT, {ANY, OUT, SIZE}, 0, LSM},
	[194] = {"kptr_xchg", PTR_OR_NULL, {ANY, ANY}, 0, KPTRS},
	[195] = {"map_lookup_percpu_elem", VALUE_OR_NULL, {MAP, KEY, NUM}, 0, NULL},
	[196] = {"skc_to_mptcp_sock", PTR_OR_NULL, {ANY}, 0, NETWORK},
	[197] = {"dynptr_from_mem", INT, {OUT, SIZE0, NUM, DYNPTR}, 0, NULL},
	[198] = {"ringbuf_reserve_dynptr", INT, {MAP, NUM, NUM, DYNPTR}, 0, NULL},
	[199] = {"ringbuf_submit_dynptr", VOID, {DYNPTR, NUM}, 0, NULL},
	[200] = {"ringbuf_discard_dynptr", VOID, {DYNPTR, NUM}, 0, NULL},
	[201] = {"dynptr_read", INT, {OUT, SIZE0, DYNPTR, NUM, NUM}, 0, NULL},
	[202] = {"dynptr_write", INT, {DYNPTR, NUM, MEM, SIZE0, NUM}, 0, NULL},
	[203] = {"dynptr_data", PTR_OR_NULL, {DYNPTR, NUM, NUM}, 0, NULL},
	[204] = {"tcp_raw_gen_syncookie_ipv4", INT, {ANY, OUT, SIZE}, 0, NETWORK},
	[205] = {"tcp_raw_gen_syncookie_ipv6", INT, {ANY, OUT, SIZE}, 0, NETWORK},
	[206] = {"tcp_raw_check_syncookie_ipv4", INT, {ANY, ANY}, 0, NETWORK},
	[207] = {"tcp_raw_check_syncookie_ipv6", INT, {ANY, ANY}, 0, NETWORK},
	[208] = {"ktime_get_tai_ns", INT, {0}, 0, NULL},
	[209] = {"user_ringbuf_drain", INT, {MAP, CALLBACK, STACK_OR_NULL, NUM}, 0, NULL},
	[210] = {"cgrp_storage_get", VALUE_OR_NULL, {MAP, ANY, ANY, NUM}, 0, CGROUPS},
	[211] = {"cgrp_storage_delete", INT, {MAP, ANY}, 0, CGROUPS},
	[212] = {"session_is_return", INT, {0}, GPL, NULL},
	[213] = {"session_cookie", RET_COOKIE, {0}, GPL, NULL},
	[214] = {"iter_num_new", INT, {ITER, NUMBER, NUMBER}, GPL, NULL},
	[215] = {"iter_num_next", RET_ITER_OR_NULL, {ITER}, GPL, NULL},
	[216] = {"iter_num_destroy", VOID, {ITER}, GPL, NULL},
	[217] = {"rcu_read_lock", VOID, {0}, GPL, NULL},
	[218] = {"rcu_read_unlock", VOID, {0}, GPL, NULL},
	[219] = {"preempt_disable", VOID, {0}, GPL, NULL},
	[220] = {"preempt_enable", VOID, {0}, GPL, NULL},
	[221] = {"strcmp", INT, {ANY, ANY}, GPL, NULL},
	[222] = {"strcasecmp", INT, {ANY, ANY}, GPL, NULL},
	[223] = {"strchr", INT, {ANY, NUMBER}, GPL, NULL},
	[224] = {"strchrnul", INT, {ANY, NUMBER}, GPL, NULL},
	[225] = {"strnchr", INT, {ANY, NUMBER, NUMBER}, GPL, NULL},
	[226] = {"strrchr", INT, {ANY, NUMBER}, GPL, NULL},
	[227] = {"strlen", INT, {ANY}, GPL, NULL},
	[228] = {"strnlen", INT, {ANY, NUMBER}, GPL, NULL},
	[229] = {"strspn", INT, {ANY, ANY}, GPL, NULL},
	[230] = {"strcspn", INT, {ANY, ANY}, GPL, NULL},
	[231] = {"strstr", INT, {ANY, ANY}, GPL, NULL},
	[232] = {"strnstr", INT, {ANY, ANY, NUMBER}, GPL, NULL},
	[233] = {"dynptr_adjust", INT, {DYNPTR, NUMBER, NUMBER}, GPL, NULL},
	[234] = {"dynptr_clone", INT, {DYNPTR, DYNPTR}, GPL, NULL},
	[235] = {"dynptr_copy", INT, {DYNPTR, NUMBER, DYNPTR, NUMBER, NUMBER}, GPL, NULL},
	[236] = {"dynptr_is_null", INT, {DYNPTR}, GPL, NULL},
	[237] = {"dynptr_is_rdonly", INT, {DYNPTR}, GPL, NULL},
	[238] = {"dynptr_memset", INT, {DYNPTR, NUMBER, NUMBER, NUMBER}, GPL, NULL},
	[239] = {"dynptr_size", INT, {DYNPTR}, GPL, NULL},
	[240] = {"dynptr_slice", PTR_OR_NULL, {DYNPTR, NUMBER, BUFFER_OR_NULL, CONST_SIZE}, GPL, NULL},
	[241] = {"dynptr_slice_rdwr", PTR_OR_NULL, {DYNPTR, NUMBER, BUFFER_OR_NULL, CONST_SIZE}, GPL, NULL},
	[242] = {"probe_read_user_dynptr", INT, {DYNPTR, NUMBER, NUMBER, ANY}, GPL, NULL},
	[243] = {"probe_read_kernel_dynptr", INT, {DYNPTR, NUMBER, NUMBER, ANY}, GPL, NULL},
	[244] = {"probe_read_user_str_dynptr", INT, {DYNPTR, NUMBER, NUMBER, ANY}, GPL, NULL},
	[245] = {"probe_read_kernel_str_dynptr", INT, {DYNPTR, NUMBER, NUMBER, ANY}, GPL, NULL},
	[246] = {"copy_from_user_dynptr", INT, {DYNPTR, NUMBER, NUMBER, ANY}, GPL | SLEEPABLE, NULL},
	[247] = {"copy_from_user_str_dynptr", INT, {DYNPTR, NUMBER, NUMBER, ANY}, GPL | SLEEPABLE, NULL},
	[248] = {"copy_from_user_str", INT, {BUFFER, BUFFER_SIZE, ANY, NUMBER}, GPL | SLEEPABLE, NULL},
	[249] = {"cast_to_kern_ctx", RET_CAST, {ANY}, GPL, NULL},
	[250] = {"rdonly_cast", RET_CAST, {ANY, ANY}, GPL, NULL},
};
/* clang-format on */

const struct bpf_helper_desc *bpf_helper_desc(u32 id)
{
	return id < ARRAY_SIZE(descs) && descs[id].name ? &descs[id] : NULL;
}

u32 bpf_helper_max(void)
{
	return ARRAY_SIZE(descs);
}
