/* SPDX-License-Identifier: MIT */
/*
 * limpet's virtual machine: runs eBPF programs inside a program of your own.
 *
 *     struct limpet_vm_options options = {.context_size = sizeof(packet)};
 *     struct limpet_vm *vm;
 *     struct limpet_result result;
 *
 *     if (limpet_vm_create(&options, &vm))
 *             return;
 *     if (!limpet_vm_load_file(vm, "filter.bpf.o", "filter") &&
 *         !limpet_vm_run(vm, &packet, NULL, &result))
 *             printf("%llu\n", (unsigned long long)result.value);
 *     limpet_vm_free(vm);
 *
 * Life: create, then add helpers and maps, then load one program, then run it as often and from as
 * many threads as you like, then free. Everything before the load is one thread's business; after
 * it the VM never changes, and runs share nothing but the program's maps (whose operations are safe
 * among threads, and among processes where a VM was inherited by fork()).
 *
 * Safety: a program is checked when it is loaded (opcodes, registers, jump targets, helpers, maps).
 * While it runs, every access is held against its stack, context and maps, helpers' arguments
 * against their prototypes, and backward jumps and calls against a budget. A failed test ends that
 * run with an error; nothing else happens. LIMPET_VM_TRUSTED and LIMPET_VM_BOUNDED leave tests out.
 *
 * Errors: functions return 0 or a negative errno value; outputs are untouched on failure.
 * limpet_vm_message() has a sentence about the last failure before or at the load. Nothing is
 * printed and no signal handler is installed.
 *
 * Instructions: RFC 9669 with the kernel's additions (docs/isa.md has the list). Numbers and
 * meaning of standard helpers are the kernel's (<linux/bpf.h>); those that limpet has are there
 * from the start. bpf_trace_printk() and bpf_trace_vprintk() go nowhere: register your own.
 */
#ifndef LIMPET_VM_H
#define LIMPET_VM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LIMPET_API __attribute__((visibility("default")))
#else
#define LIMPET_API
#endif

struct bpf_insn;   /* <linux/bpf.h> */
struct limpet_vm;  /* a virtual machine: one program with its helpers and maps */
struct limpet_map; /* one of its maps; lives as long as the VM */
struct limpet_run; /* one run, as a helper sees it; valid until the helper returns */

enum limpet_engine {
	LIMPET_ENGINE_BEST, /* compiled where that is possible, else interpreted */
	LIMPET_ENGINE_INTERPRETER,
	LIMPET_ENGINE_JIT, /* load fails: -EOPNOTSUPP (this processor), -EACCES (this process) */
};

#define LIMPET_VM_TRUSTED (1u << 0) /* no tests of accesses and helper arguments */
#define LIMPET_VM_BOUNDED (1u << 1) /* no budget: the program is known to end */
/* Also load what RFC 9669 defines and kernels refuse: constant division by 0, constant shifts past
 * the width. */
#define LIMPET_VM_RFC (1u << 2)

/* Zero means the default everywhere. */
struct limpet_vm_options {
	enum limpet_engine engine;
	uint32_t flags;            /* LIMPET_VM_* */
	uint32_t context_size;     /* bytes a program may read at its context */
	uint32_t context_writable; /* bytes it may write there, from the start */
	uint32_t budget;           /* backward jumps and calls a run may take; 0: 1,000,000 */
	uint32_t reserved[11];     /* 0 */
};

/* What a helper takes in each argument, and what is therefore tested before it is called. */
enum limpet_arg {
	LIMPET_ARG_NONE,          /* unused */
	LIMPET_ARG_SCALAR,        /* any value */
	LIMPET_ARG_MAP,           /* a map of the program (limpet_run_map() tells which) */
	LIMPET_ARG_MAP_KEY,       /* readable, a key of the map in the first argument */
	LIMPET_ARG_MAP_VALUE,     /* readable, a value of that map */
	LIMPET_ARG_MAP_VALUE_OUT, /* writable, room for a value of that map */
	LIMPET_ARG_MEM,           /* readable, of the size in the next argument */
	LIMPET_ARG_MEM_OUT,       /* writable, of the size in the next argument */
	LIMPET_ARG_MEM_OR_NULL,   /* as MEM; also 0 with size 0 */
	LIMPET_ARG_MEM_OUT_OR_NULL,
	LIMPET_ARG_SIZE,         /* 1 to INT_MAX */
	LIMPET_ARG_SIZE_OR_ZERO, /* 0 to INT_MAX */
	LIMPET_ARG_CONTEXT,      /* the program's context */
	LIMPET_ARG_CALLBACK,     /* a function of the program, for limpet_run_call() */
};

/* Arguments as the program passed them; the result becomes r0. */
typedef uint64_t limpet_helper_fn(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
				  struct limpet_run *run);

struct limpet_helper {
	const char *name; /* for messages; copied */
	limpet_helper_fn *call;
	enum limpet_arg arg[5];
};

/* How a run ended. */
enum limpet_status {
	LIMPET_OK,
	LIMPET_FAULT,    /* it touched memory it may not: insn, address */
	LIMPET_BUDGET,   /* it took more backward jumps and calls than allowed: insn */
	LIMPET_ARGUMENT, /* a helper's argument was not what its prototype says: insn */
	LIMPET_INVALID,  /* it could not be run further: insn */
};

struct limpet_result {
	uint64_t value; /* r0; 0 unless the status is LIMPET_OK */
	enum limpet_status status;
	uint32_t insn;    /* index of the instruction that ended the run */
	uint64_t address; /* what it tried to touch */
};

/* A map as BPF_MAP_CREATE takes it: type is BPF_MAP_TYPE_*, flags BPF_F_*. */
struct limpet_map_definition {
	const char *name; /* at most 63 bytes; copied; NULL: none */
	uint32_t type, key_size, value_size, max_entries, flags;
	uint32_t reserved[11]; /* 0 */
};

/* -EINVAL (options), -ENOMEM. `options` NULL: all defaults. */
LIMPET_API int limpet_vm_create(const struct limpet_vm_options *options, struct limpet_vm **ret_vm);

/* NULL is fine. No run may be going on. */
LIMPET_API void limpet_vm_free(struct limpet_vm *vm);

/* Why the last function failed, a line in English; "" when none has. Valid until the next call. */
LIMPET_API const char *limpet_vm_message(const struct limpet_vm *vm);

/* Makes it number `number` (below 65536), in place of a standard one. -EBUSY after the load. */
LIMPET_API int limpet_vm_add_helper(struct limpet_vm *vm, uint32_t number,
				    const struct limpet_helper *helper);

/*
 * Creates a map, in shared anonymous memory. Its index, which `lddw` with BPF_PSEUDO_MAP_FD or
 * BPF_PSEUDO_MAP_VALUE names in its immediate, or the kernel's -EINVAL, -E2BIG, -ENOMEM.
 */
LIMPET_API int limpet_vm_add_map(struct limpet_vm *vm,
				 const struct limpet_map_definition *definition);

/* Loads a copy of instructions. -EINVAL (the message says where and why), -E2BIG, -ENOMEM. */
LIMPET_API int limpet_vm_load(struct limpet_vm *vm, const struct bpf_insn *insns, size_t count);

/*
 * Loads function `program` (NULL: the first outside .text) of a BPF object file, with what it calls
 * and the maps it uses, which are created; global variables become maps named ".data", ".bss",
 * ".rodata". A map that was added before under its name is used, if type and sizes agree. -ENOENT
 * (no such file or function), -EINVAL (malformed or refused), -EOPNOTSUPP (CO-RE, externs, ...),
 * -ENOMEM.
 */
LIMPET_API int limpet_vm_load_elf(struct limpet_vm *vm, const void *image, size_t size,
				  const char *program);
LIMPET_API int limpet_vm_load_file(struct limpet_vm *vm, const char *path, const char *program);

/* The engine that runs the loaded program: LIMPET_ENGINE_INTERPRETER or LIMPET_ENGINE_JIT. */
LIMPET_API enum limpet_engine limpet_vm_engine(const struct limpet_vm *vm);

/*
 * Runs the program: r1 = context, r2 = context_size. `context` must have context_size bytes; it may
 * be NULL when that is 0. `user` is for helpers. 0, or -EFAULT (LIMPET_FAULT), -ETIME
 * (LIMPET_BUDGET), -EINVAL (LIMPET_ARGUMENT, LIMPET_INVALID, nothing loaded); ret_result, which may
 * be NULL, is filled in either case. Takes about 6 KiB of stack.
 */
LIMPET_API int limpet_vm_run(const struct limpet_vm *vm, void *context, void *user,
			     struct limpet_result *ret_result);

/* In helpers. */
LIMPET_API void *limpet_run_user(const struct limpet_run *run);
LIMPET_API void *limpet_run_context(const struct limpet_run *run);
/* The map behind a LIMPET_ARG_MAP argument. */
LIMPET_API struct limpet_map *limpet_run_map(const struct limpet_run *run, uint64_t argument);
/*
 * Calls a function of the program (a LIMPET_ARG_CALLBACK argument) with three arguments. 0 and its
 * r0, or -ECANCELED when the run has ended meanwhile: the helper returns at once.
 */
LIMPET_API int limpet_run_call(struct limpet_run *run, uint64_t callback, uint64_t r1, uint64_t r2,
			       uint64_t r3, uint64_t *ret_value);

/*
 * Maps from outside the program, with the results of bpf(2): -ENOENT, -EEXIST, -E2BIG, -EPERM and
 * so on. Queues and stacks have no keys: lookup peeks, update pushes, lookup_and_delete pops. Keys
 * and values have the sizes of the definition. limpet_map_find() is NULL when there is none of that
 * name.
 */
LIMPET_API struct limpet_map *limpet_map_find(const struct limpet_vm *vm, const char *name);
LIMPET_API void limpet_map_describe(const struct limpet_map *map,
				    struct limpet_map_definition *ret_definition);
LIMPET_API int limpet_map_lookup(struct limpet_map *map, const void *key, void *ret_value);
LIMPET_API int limpet_map_update(struct limpet_map *map, const void *key, const void *value,
				 uint64_t flags);
LIMPET_API int limpet_map_delete(struct limpet_map *map, const void *key);
LIMPET_API int limpet_map_lookup_and_delete(struct limpet_map *map, const void *key,
					    void *ret_value);
/* The key after `key` (NULL: the first); -ENOENT at the end. */
LIMPET_API int limpet_map_next_key(struct limpet_map *map, const void *key, void *ret_key);
/*
 * Puts a VM with a loaded program into a slot of a BPF_MAP_TYPE_PROG_ARRAY, for bpf_tail_call() by the
 * program whose map it is; NULL empties the slot. May be called while programs run: they see what was
 * there before or what is there now. The VM must stay until it is in no slot any more and no run can be
 * in it. -EINVAL (another type of map, nothing loaded, another size of context than the first had),
 * -E2BIG (index).
 */
LIMPET_API int limpet_map_set_program(struct limpet_map *map, uint32_t index, const struct limpet_vm *vm);
/* An array's elements as they lie in memory, 8 bytes aligned; NULL for other types. */
LIMPET_API void *limpet_map_memory(struct limpet_map *map);

#ifdef __cplusplus
}
#endif

#endif
