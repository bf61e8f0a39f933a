/* SPDX-License-Identifier: MIT */
/*
 * Helper prototypes as data: what the structural check, the VM's argument checks, the verifier and
 * docs/helpers.md read. The functions behind them are in src/helpers.
 *
 * Source: the kernel's uapi/linux/bpf.h (numbers, meaning) and its bpf_func_proto definitions.
 */
#ifndef LIMPET_BPF_HELPER_DESC_H
#define LIMPET_BPF_HELPER_DESC_H

#include "base/types.h"

enum bpf_arg_kind {
	ARG_NONE,           /* unused: the helper does not read it, compilers do not set it */
	ARG_SCALAR,         /* any value */
	ARG_MAP,            /* one of the program's maps (lddw BPF_PSEUDO_MAP_FD) */
	ARG_MAP_KEY,        /* readable, key_size bytes of the map in r1 */
	ARG_MAP_VALUE,      /* readable, value_size bytes of the map in r1 */
	ARG_MAP_VALUE_OUT,  /* writable, value_size bytes of the map in r1 */
	ARG_MEM,            /* readable, as long as the following ARG_SIZE argument says */
	ARG_MEM_OUT,        /* writable, as long as the following ARG_SIZE argument says */
	ARG_MEM_OR_NULL,    /* as ARG_MEM, or 0 with size 0 */
	ARG_MEM_OUT_OR_NULL,
	ARG_SIZE,           /* bytes > 0 of the preceding pointer, at most INT_MAX */
	ARG_SIZE_OR_ZERO,   /* the same, 0 allowed */
	ARG_CTX,            /* the program's context pointer */
	ARG_CONST_STR,      /* NUL-terminated, in a read-only map; engines test its first byte, the helper the rest */
	ARG_LONG_OUT,       /* writable, 8 bytes */
	ARG_CALLBACK,       /* a subprogram of this program */
	ARG_STACK_OR_NULL,  /* pointer into the stack, or 0: callback context */
	ARG_RECORD,         /* ring buffer record handed out by an acquiring helper */
	ARG_DYNPTR,         /* struct bpf_dynptr on the stack */
	ARG_SPIN_LOCK,      /* struct bpf_spin_lock in a map value */
	ARG_ANY_PTR,        /* a number taken as an address the helper checks itself (probe_read) */
	ARG_ANY_PTR_OUT,    /* the same, written to: it may point into the stack */
	ARG_NUMBER,         /* a number, no pointer (kernel functions say so) */
	ARG_ITER,           /* an iterator on the stack (bpf/kfunc.h says which) */
	ARG_TASK,           /* a task that RET_TASK gave, or one that leads from there */
	ARG_BUFFER,         /* readable and writable, as long as the following ARG_BUFFER_SIZE argument says */
	ARG_BUFFER_OR_NULL, /* the same, or 0 whatever follows; the helper does not touch it */
	ARG_BUFFER_SIZE,    /* bytes of the preceding buffer */
	ARG_CONST_SIZE,     /* the same, known: what the helper returns has as many */
};

enum bpf_ret_kind {
	RET_INTEGER,
	RET_VOID,
	RET_MAP_VALUE_OR_NULL, /* value_size bytes of the map in r1 */
	RET_MEM_OR_NULL,       /* as many bytes as r2 says */
	RET_TASK,              /* the synthesized task, to be read by loads (bpf/task.h) */
	RET_PT_REGS,           /* a task's registers, likewise */
	RET_CAST,              /* the pointer in r1, as another type (bpf/kfunc.h) */
	RET_COOKIE,            /* 8 bytes that may be read and written */
	RET_ITER_OR_NULL,      /* an element of the iterator in r1, to be read until that ends */
};

/*
 * Numbers of limpet's own, for what kernels have as kernel functions (bpf/kfunc.h). Programs cannot call them
 * by number (loader/kfunc.c).
 */
#define HELPER_OWN_FIRST         212
#define HELPER_SESSION_IS_RETURN 212 /* bool bpf_session_is_return(void) */
#define HELPER_SESSION_COOKIE    213 /* u64 *bpf_session_cookie(void) */
#define HELPER_ITER_NUM_NEW      214 /* int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) */
#define HELPER_ITER_NUM_NEXT     215 /* int *bpf_iter_num_next(struct bpf_iter_num *it) */
#define HELPER_ITER_NUM_DESTROY  216 /* void bpf_iter_num_destroy(struct bpf_iter_num *it) */
#define HELPER_RCU_READ_LOCK     217 /* void bpf_rcu_read_lock(void) */
#define HELPER_RCU_READ_UNLOCK   218 /* void bpf_rcu_read_unlock(void) */
#define HELPER_PREEMPT_DISABLE   219 /* void bpf_preempt_disable(void) */
#define HELPER_PREEMPT_ENABLE    220 /* void bpf_preempt_enable(void) */
#define HELPER_STRCMP            221 /* int bpf_strcmp(const char *s1, const char *s2) */
#define HELPER_STRCASECMP        222 /* int bpf_strcasecmp(const char *s1, const char *s2) */
#define HELPER_STRCHR            223 /* int bpf_strchr(const char *s, char c) */
#define HELPER_STRCHRNUL         224 /* int bpf_strchrnul(const char *s, char c) */
#define HELPER_STRNCHR           225 /* int bpf_strnchr(const char *s, size_t count, char c) */
#define HELPER_STRRCHR           226 /* int bpf_strrchr(const char *s, int c) */
#define HELPER_STRLEN            227 /* int bpf_strlen(const char *s) */
#define HELPER_STRNLEN           228 /* int bpf_strnlen(const char *s, size_t count) */
#define HELPER_STRSPN            229 /* int bpf_strspn(const char *s, const char *accept) */
#define HELPER_STRCSPN           230 /* int bpf_strcspn(const char *s, const char *reject) */
#define HELPER_STRSTR            231 /* int bpf_strstr(const char *s1, const char *s2) */
#define HELPER_STRNSTR           232 /* int bpf_strnstr(const char *s1, const char *s2, size_t len) */
#define HELPER_DYNPTR_ADJUST 233 /* int bpf_dynptr_adjust(const struct bpf_dynptr *p, u32 start, u32 end) */
#define HELPER_DYNPTR_CLONE 234 /* int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone) */
#define HELPER_DYNPTR_COPY 235 /* int bpf_dynptr_copy(dst, u32 dst_off, src, u32 src_off, u32 size) */
#define HELPER_DYNPTR_IS_NULL 236 /* bool bpf_dynptr_is_null(const struct bpf_dynptr *p) */
#define HELPER_DYNPTR_IS_RDONLY 237 /* bool bpf_dynptr_is_rdonly(const struct bpf_dynptr *p) */
#define HELPER_DYNPTR_MEMSET 238 /* int bpf_dynptr_memset(struct bpf_dynptr *p, u32 offset, u32 size, u8 val) */
#define HELPER_DYNPTR_SIZE 239 /* u32 bpf_dynptr_size(const struct bpf_dynptr *p) */
#define HELPER_DYNPTR_SLICE 240 /* void *bpf_dynptr_slice(p, u32 offset, void *buffer, u32 size) */
#define HELPER_DYNPTR_SLICE_RDWR 241 /* the same, to be written */
#define HELPER_PROBE_READ_USER_DYNPTR 242 /* int bpf_probe_read_user_dynptr(p, u32 off, u32 size, const void *from) */
#define HELPER_PROBE_READ_KERNEL_DYNPTR 243 /* likewise */
#define HELPER_PROBE_READ_USER_STR_DYNPTR 244
#define HELPER_PROBE_READ_KERNEL_STR_DYNPTR 245
#define HELPER_COPY_FROM_USER_DYNPTR 246
#define HELPER_COPY_FROM_USER_STR_DYNPTR 247
#define HELPER_COPY_FROM_USER_STR 248 /* int bpf_copy_from_user_str(void *dst, u32 size, const void *from, u64 flags) */
#define HELPER_CAST_TO_KERN_CTX 249 /* void *bpf_cast_to_kern_ctx(void *ctx) */
#define HELPER_RDONLY_CAST 250 /* void *bpf_rdonly_cast(const void *obj, u32 btf_id) */

#define HELPER_GPL_ONLY  BIT(0)
#define HELPER_SLEEPABLE BIT(1)

struct bpf_helper_desc {
	const char *name; /* without "bpf_"; NULL: no such number */
	u8 ret;           /* enum bpf_ret_kind */
	u8 arg[5];        /* enum bpf_arg_kind */
	u8 flags;
	const char *why_not; /* NULL: limpet has it; else the reason it has not */
};

/* The descriptor of helper `id`; NULL for numbers limpet has never heard of. */
const struct bpf_helper_desc *bpf_helper_desc(u32 id);
u32 bpf_helper_max(void); /* one past the highest known number */

#endif
