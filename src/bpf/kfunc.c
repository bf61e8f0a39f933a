/* SPDX-License-Identifier: MIT */
/* The kernel functions that limpet has (bpf/kfunc.h). */
#include "bpf/kfunc.h"

#define UPROBE_SESSION 57 /* BPF_TRACE_UPROBE_SESSION */

/* clang-format off */
static const struct bpf_kfunc kfuncs[] = {
	{"bpf_session_is_return", HELPER_SESSION_IS_RETURN, UPROBE_SESSION, KFUNC_PLAIN, ITER_NONE},
	{"bpf_session_cookie", HELPER_SESSION_COOKIE, UPROBE_SESSION, KFUNC_PLAIN, ITER_NONE},
	{"bpf_iter_num_new", HELPER_ITER_NUM_NEW, 0, KFUNC_ITER_NEW, ITER_NUM},
	{"bpf_iter_num_next", HELPER_ITER_NUM_NEXT, 0, KFUNC_ITER_NEXT, ITER_NUM},
	{"bpf_iter_num_destroy", HELPER_ITER_NUM_DESTROY, 0, KFUNC_ITER_DESTROY, ITER_NUM},
	{"bpf_rcu_read_lock", HELPER_RCU_READ_LOCK, 0, KFUNC_RCU_LOCK, ITER_NONE},
	{"bpf_rcu_read_unlock", HELPER_RCU_READ_UNLOCK, 0, KFUNC_RCU_UNLOCK, ITER_NONE},
	{"bpf_preempt_disable", HELPER_PREEMPT_DISABLE, 0, KFUNC_PREEMPT_DISABLE, ITER_NONE},
	{"bpf_preempt_enable", HELPER_PREEMPT_ENABLE, 0, KFUNC_PREEMPT_ENABLE, ITER_NONE},
	{"bpf_strcmp", HELPER_STRCMP, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strcasecmp", HELPER_STRCASECMP, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strchr", HELPER_STRCHR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strchrnul", HELPER_STRCHRNUL, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strnchr", HELPER_STRNCHR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strrchr", HELPER_STRRCHR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strlen", HELPER_STRLEN, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strnlen", HELPER_STRNLEN, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strspn", HELPER_STRSPN, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strcspn", HELPER_STRCSPN, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strstr", HELPER_STRSTR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_strnstr", HELPER_STRNSTR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_dynptr_adjust", HELPER_DYNPTR_ADJUST, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_dynptr_clone", HELPER_DYNPTR_CLONE, 0, KFUNC_DYNPTR_CLONE, ITER_NONE},
	{"bpf_dynptr_copy", HELPER_DYNPTR_COPY, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_dynptr_is_null", HELPER_DYNPTR_IS_NULL, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_dynptr_is_rdonly", HELPER_DYNPTR_IS_RDONLY, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_dynptr_memset", HELPER_DYNPTR_MEMSET, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_dynptr_size", HELPER_DYNPTR_SIZE, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_dynptr_slice", HELPER_DYNPTR_SLICE, 0, KFUNC_DYNPTR_SLICE, ITER_NONE},
	{"bpf_dynptr_slice_rdwr", HELPER_DYNPTR_SLICE_RDWR, 0, KFUNC_DYNPTR_SLICE_RDWR, ITER_NONE},
	{"bpf_probe_read_user_dynptr", HELPER_PROBE_READ_USER_DYNPTR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_probe_read_kernel_dynptr", HELPER_PROBE_READ_KERNEL_DYNPTR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_probe_read_user_str_dynptr", HELPER_PROBE_READ_USER_STR_DYNPTR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_probe_read_kernel_str_dynptr", HELPER_PROBE_READ_KERNEL_STR_DYNPTR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_copy_from_user_dynptr", HELPER_COPY_FROM_USER_DYNPTR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_copy_from_user_str_dynptr", HELPER_COPY_FROM_USER_STR_DYNPTR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_copy_from_user_str", HELPER_COPY_FROM_USER_STR, 0, KFUNC_PLAIN, ITER_NONE},
	{"bpf_cast_to_kern_ctx", HELPER_CAST_TO_KERN_CTX, 0, KFUNC_CAST_CTX, ITER_NONE},
	{"bpf_rdonly_cast", HELPER_RDONLY_CAST, 0, KFUNC_CAST, ITER_NONE},
};
/* clang-format on */

static const struct bpf_iter_desc iters[] = {
	[ITER_NUM] = {"iter_num", 1, 4},
};

static bool same_text(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

const struct bpf_kfunc *bpf_kfunc_by_name(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(kfuncs); i++)
		if (same_text(name, kfuncs[i].name))
			return &kfuncs[i];
	return NULL;
}

const struct bpf_kfunc *bpf_kfunc_by_helper(u32 helper)
{
	for (u32 i = 0; i < ARRAY_SIZE(kfuncs); i++)
		if (kfuncs[i].helper == helper)
			return &kfuncs[i];
	return NULL;
}

const struct bpf_iter_desc *bpf_iter_desc(u8 iter)
{
	return &iters[iter];
}
