/* SPDX-License-Identifier: MIT */
/*
 * limpet's verifier: whether an eBPF program is safe to run, told without running it and without a kernel.
 *
 *     struct limpet_verify_map maps[] = {{.name = "counts", .type = BPF_MAP_TYPE_ARRAY, .key_size = 4,
 *                                         .value_size = 8, .max_entries = 16, .lock_offset = -1}};
 *     struct limpet_verify_program program = {.insns = insns, .insn_count = count,
 *                                             .type = BPF_PROG_TYPE_KPROBE, .flags = LIMPET_VERIFY_GPL,
 *                                             .maps = maps, .map_count = 1};
 *     char text[65536];
 *     struct limpet_verify_log log = {.text = text, .size = sizeof(text), .level = 1};
 *
 *     if (limpet_verify(&program, &log, NULL))
 *             fputs(text, stderr);
 *
 * What is asked is what BPF_PROG_LOAD asks, and the answer is the kernel's: verdict, errno and log, but for
 * the differences that docs/verifier.md lists. Accepted means: the program touches no memory but its own, gives
 * back what it took, and ends. docs/verifier.md also says how to read a rejection.
 *
 * Everything is passed in, nothing is kept, printed or changed; calls from several threads do not meet. At most a
 * million instructions are followed, over all paths, in less than 64 MiB.
 */
#ifndef LIMPET_VERIFY_H
#define LIMPET_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef LIMPET_API
#if defined(__GNUC__)
#define LIMPET_API __attribute__((visibility("default")))
#else
#define LIMPET_API
#endif
#endif

struct bpf_insn;      /* <linux/bpf.h> */
struct bpf_func_info; /* <linux/bpf.h> */
struct bpf_line_info; /* <linux/bpf.h> */

/* A map as BPF_MAP_CREATE took it. */
struct limpet_verify_map {
	const char *name; /* for the log; NULL: none */
	uint32_t type, key_size, value_size, max_entries, flags;
	int32_t lock_offset; /* of struct bpf_spin_lock in the value; -1: it has none */
	/* A frozen array of one element with BPF_F_RDONLY_PROG: its value_size bytes, which are taken for
	 * constants; NULL else. */
	const void *constant;
	/* ARRAY_OF_MAPS, HASH_OF_MAPS: what its elements are; NULL else. It has no inner maps itself. */
	const struct limpet_verify_map *inner;
	uint64_t reserved[4]; /* 0 */
};

#define LIMPET_VERIFY_GPL    (1u << 0) /* its license is compatible with the GPL */
#define LIMPET_VERIFY_SLEEPS (1u << 1) /* BPF_F_SLEEPABLE */
#define LIMPET_VERIFY_STRICT (1u << 2) /* BPF_F_STRICT_ALIGNMENT */

struct limpet_verify_program {
	/* lddw with BPF_PSEUDO_MAP_FD or BPF_PSEUDO_MAP_VALUE has the map's index in `maps` in its immediate. */
	const struct bpf_insn *insns;
	size_t insn_count;
	uint32_t type;        /* BPF_PROG_TYPE_* */
	uint32_t attach_type; /* BPF_TRACE_*; 0 where it does not matter */
	uint32_t flags;       /* LIMPET_VERIFY_* */
	uint32_t cpus;        /* possible CPUs; 0: not known */
	const struct limpet_verify_map *maps;
	size_t map_count; /* at most 64 */
	/* Type information; NULL: none. Needed for functions, callbacks and source lines in the log. */
	const void *btf;
	size_t btf_size;
	const struct bpf_func_info *funcs; /* as BPF_PROG_LOAD takes them, ascending */
	size_t func_count;
	const struct bpf_line_info *lines;
	size_t line_count;
	uint64_t reserved[8]; /* 0 */
};

struct limpet_verify_log {
	char *text;     /* `size` bytes, ends in NUL; too small: the beginning is lost */
	size_t size;    /* 0: only count */
	uint32_t level; /* 0: none; 1: the path that failed; 2: every path; +4: figures */
	size_t needed;  /* out: bytes for all of it, NUL included */
};

struct limpet_verify_result {
	uint32_t followed;    /* instructions, over all paths */
	uint32_t stack_depth; /* bytes, of the deepest chain of calls; a frame counts in steps of 16 */
	uint64_t memory;      /* bytes, at most at once */
	/* Not 0: it ends within a million instructions by itself. 0: it has loops that helpers (bpf_loop) or the
	 * engine (may_goto) bound. */
	uint32_t bounded;
	uint32_t reserved[5];
};

/*
 * 0: safe. -EACCES, -EINVAL, -E2BIG, -EPERM: refused, as the kernel would, with the reason last in the log.
 * -ENOMEM. -EINVAL without a word in the log: an argument is not as described here.
 * `log` and `ret` may be NULL; `ret` is written when the answer is 0.
 */
LIMPET_API int limpet_verify(const struct limpet_verify_program *program, struct limpet_verify_log *log,
			     struct limpet_verify_result *ret);

#ifdef __cplusplus
}
#endif

#endif
