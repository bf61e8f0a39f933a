/* SPDX-License-Identifier: MIT */
/*
 * A program by either engine, for tests and benchmarks. engine_compile() maps the compiled code
 * (written first, then read and execute only); without it engine_run() interprets.
 */
#ifndef LIMPET_TESTS_ENGINE_H
#define LIMPET_TESTS_ENGINE_H

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "vm/vm.h"

struct engine_code {
	vm_entry *entry; /* NULL: interpret */
	size_t size;     /* bytes of code */
	size_t mapped;
};

/* 0, or -errno; -EOPNOTSUPP: this build has no JIT for this processor. */
static inline int engine_compile(const struct vm_program *prog, struct engine_code *ret)
{
	void *scratch = calloc(1, vm_jit_scratch(prog) + 8);
	long size = scratch ? vm_jit(prog, NULL, 0, 0, scratch) : -ENOMEM;
	size_t room;
	void *at;

	free(scratch);
	if (size <= 0)
		return size ? (int)size : -EINVAL;
	room = ALIGN_UP((size_t)size + 64, PAGE_SIZE);
	at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	scratch = calloc(1, vm_jit_scratch(prog) + 8);
	size = at != MAP_FAILED && scratch ? vm_jit(prog, at, room, (u64)at, scratch) : -ENOMEM;
	free(scratch);
	if (size > 0 && mprotect(at, room, PROT_READ | PROT_EXEC))
		size = -errno;
	if (size <= 0) {
		if (at != MAP_FAILED)
			munmap(at, room);
		return size ? (int)size : -EINVAL;
	}
	*ret = (struct engine_code){(vm_entry *)(u64)at, (size_t)size, room};
	return 0;
}

static inline void engine_free(struct engine_code *code)
{
	if (code->entry)
		munmap((void *)(u64)code->entry, code->mapped);
	*code = (struct engine_code){0};
}

static inline u64 engine_run(const struct engine_code *code, struct vm_run *run, u64 ctx, u64 arg2)
{
	return code->entry ? code->entry(run, ctx, arg2) : vm_interpret(run, ctx, arg2);
}

#endif
