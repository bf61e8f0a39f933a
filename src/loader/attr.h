/* SPDX-License-Identifier: MIT */
/*
 * The parts of union bpf_attr that came after the headers limpet is built with (6.1), under names
 * of our own. Offsets as the kernel's include/uapi/linux/bpf.h of 6.18 has them.
 */
#ifndef LIMPET_LOADER_ATTR_H
#define LIMPET_LOADER_ATTR_H

#include <linux/bpf.h>
#include "base/types.h"

#define ATTR_SIZE 168 /* of the whole union; set bytes behind it are E2BIG */

#define ATTR_END(field) (offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))

union attr_more {
	union bpf_attr attr;
	u8 bytes[ATTR_SIZE];
	struct {
		u8 common[72];
		s32 value_type_btf_obj_fd; /* these two are looked at with their flags only */
		s32 token_fd;
	} map_create;
	struct {
		u8 common[140];
		u32 log_true_size; /* out */
		s32 token_fd;
		u32 fd_array_cnt;
		u64 signature;
		u32 signature_size;
		s32 keyring_id;
	} prog_load;
	struct {
		u8 common[28];
		u32 log_true_size; /* out */
		u32 flags;
		s32 token_fd;
	} btf_load;
	struct {
		u8 common[16];
		u64 path;
		u64 offsets;
		u64 ref_ctr_offsets;
		u64 cookies;
		u32 count;
		u32 flags;
		u32 pid;
	} uprobe_multi;
	struct {
		u8 common[16];
		s32 path_fd;
	} pin;
	struct {
		u64 name;
		u32 prog_fd;
		u64 cookie;
	} raw_tracepoint;
};

#define MORE_END(field) (offsetof(union attr_more, field) + sizeof(((union attr_more *)0)->field))

_Static_assert(offsetof(union bpf_attr, core_relo_rec_size) + 4 ==
		       offsetof(union attr_more, prog_load.log_true_size),
	       "log_true_size follows core_relo_rec_size");
_Static_assert(sizeof(union bpf_attr) <= ATTR_SIZE, "newer headers need a larger union");

/* Attach types and flags of later kernels. */
#define ATTACH_PERF_EVENT     41
#define ATTACH_KPROBE_MULTI   42
#define ATTACH_UPROBE_MULTI   48
#define ATTACH_KPROBE_SESSION 56
#define ATTACH_UPROBE_SESSION 57
#define UPROBE_MULTI_RETURN   1u
#define MAP_F_TOKEN_FD        (1u << 16)

#endif
