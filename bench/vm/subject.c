/* SPDX-License-Identifier: MIT */
/* See subject.h. */
#include "subject.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static bool always(const struct subject *s)
{
	return true;
}

static double run_native(struct subject *s, u64 runs, u32 *ret_value)
{
	int (*volatile fn)(void *ctx) = s->native;
	double start = now_ns();
	u32 v = 0;

	for (u64 i = 0; i < runs; i++)
		v = (u32)fn(NULL);
	*ret_value = v;
	return now_ns() - start;
}

static bool kernel_there(const struct subject *s)
{
	return s->kernel_fd >= 0;
}

/* The kernel tells the mean of its runs in whole nanoseconds, its own loop included. */
static double run_kernel(struct subject *s, u64 runs, u32 *ret_value)
{
	u8 packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = (int)runs);

	if (bpf_prog_test_run_opts(s->kernel_fd, &opts))
		return 0;
	*ret_value = opts.retval;
	return (double)opts.duration * (double)runs;
}

static double run_code(const struct vm_program *prog, const struct engine_code *code, u64 runs,
		       u32 *ret_value)
{
	static u8 ctx[64];
	struct vm_run run = {.prog = prog, .ctx = ctx};
	vm_entry *volatile entry = code->entry;
	double start = now_ns();
	u64 v = 0;

	for (u64 i = 0; i < runs; i++)
		v = entry(&run, (u64)ctx, 0);
	start = now_ns() - start;
	*ret_value = (u32)v;
	return run.status ? 0 : start;
}

static bool jit_there(const struct subject *s)
{
	return s->proven_code.entry;
}

static double run_jit(struct subject *s, u64 runs, u32 *ret_value)
{
	return run_code(&s->proven, &s->proven_code, runs, ret_value);
}

static double run_jit_held(struct subject *s, u64 runs, u32 *ret_value)
{
	return run_code(&s->held, &s->held_code, runs, ret_value);
}

static double run_jit_ends(struct subject *s, u64 runs, u32 *ret_value)
{
	return run_code(&s->ends, &s->ends_code, runs, ret_value);
}

static double run_interp(struct subject *s, u64 runs, u32 *ret_value)
{
	struct engine_code code = {.entry = vm_interpret};

	return run_code(&s->proven, &code, runs, ret_value);
}

static double run_interp_held(struct subject *s, u64 runs, u32 *ret_value)
{
	struct engine_code code = {.entry = vm_interpret};

	return run_code(&s->held, &code, runs, ret_value);
}

const struct engine_row engine_rows[ROWS] = {
	[ROW_NATIVE] = {"native", "gcc -O2, called through a pointer", always, run_native},
	[ROW_KERNEL] = {"kernel", "the kernel's JIT, by BPF_PROG_TEST_RUN", kernel_there,
			run_kernel},
	[ROW_JIT] = {"jit", "limpet's JIT, safety and termination proven", jit_there, run_jit},
	[ROW_JIT_HELD] = {"jit-held", "limpet's JIT with run-time tests and budget", jit_there,
			  run_jit_held},
	[ROW_JIT_ENDS] = {"jit-ends", "limpet's JIT with run-time tests, termination proven",
			  jit_there, run_jit_ends},
	[ROW_INTERP] = {"interp", "limpet's interpreter, proven", always, run_interp},
	[ROW_INTERP_HELD] = {"interp-held", "limpet's interpreter with tests and budget", always,
			     run_interp_held},
};

static void *read_file(const char *path, size_t *ret_size)
{
	FILE *f = fopen(path, "rb");
	size_t room = 1 << 20;
	void *image = f ? malloc(room) : NULL;

	*ret_size = image ? fread(image, 1, room, f) : 0;
	if (f)
		fclose(f);
	return image;
}

static bool bind_maps(struct subject *s)
{
	for (u32 i = 0; i < s->elf.map_count; i++) {
		const struct elf_map *m = &s->elf.maps[i];
		void *value = calloc(1, m->def.value_size);

		if (!value || m->def.type != BPF_MAP_TYPE_ARRAY || m->def.max_entries != 1)
			return false;
		if (m->data)
			memcpy(value, m->data, m->data_size);
		s->maps[i] = (struct vm_map){.handle = value,
					     .direct_value = (u64)value,
					     .direct_size = m->def.value_size,
					     .key_size = 4,
					     .value_size = m->def.value_size,
					     .array = true,
					     .writable = true,
					     .elems = (u64)value,
					     .value_stride = ALIGN_UP(m->def.value_size, 8u),
					     .max_entries = 1};
	}
	return true;
}

static bool load_limpet(struct subject *s, const char *path)
{
	char text[256] = "";
	struct bpf_log log = {text, sizeof(text), 0};
	struct bpf_check_env env = {.log = &log};
	size_t size;
	void *image = read_file(path, &size);
	int err = image ? elf_program_load(image, size, s->name, &s->elf, &log) : -ENOENT;

	free(image);
	env.map_count = err ? 0 : s->elf.map_count;
	if (!err)
		err = bpf_check(s->elf.insns, s->elf.insn_count, &env);
	if (err || !bind_maps(s)) {
		fprintf(stderr, "vm_bench: %s: %s %s\n", path, strerror(-err), text);
		return false;
	}
	s->held = (struct vm_program){.insns = s->elf.insns,
				      .insn_count = s->elf.insn_count,
				      .maps = s->maps,
				      .map_count = s->elf.map_count,
				      .ctx_size = 64};
	s->proven = s->held;
	s->proven.trusted = s->proven.bounded = true;
	s->ends = s->held;
	s->ends.bounded = true;
	err = engine_compile(&s->proven, &s->proven_code);
	if (!err)
		err = engine_compile(&s->ends, &s->ends_code);
	if (!err)
		err = engine_compile(&s->held, &s->held_code);
	if (err && err != -EOPNOTSUPP)
		fprintf(stderr, "vm_bench: %s: cannot compile: %s\n", path, strerror(-err));
	return !err || err == -EOPNOTSUPP;
}

bool subject_load(struct subject *s, const char *dir)
{
	char path[4096];
	struct bpf_program *prog;

	snprintf(path, sizeof(path), "%s/%s.bpf.o", dir, s->name);
	s->kernel_fd = -1;
	if (!load_limpet(s, path))
		return false;
	libbpf_set_print(NULL);
	s->kernel = bpf_object__open_file(path, NULL);
	if (s->kernel && !bpf_object__load(s->kernel)) {
		prog = bpf_object__find_program_by_name(s->kernel, s->name);
		s->kernel_fd = prog ? bpf_program__fd(prog) : -1;
	}
	return true;
}

void subject_free(struct subject *s)
{
	engine_free(&s->proven_code);
	engine_free(&s->ends_code);
	engine_free(&s->held_code);
	for (u32 i = 0; i < s->elf.map_count; i++)
		free((void *)s->maps[i].direct_value);
	elf_program_free(&s->elf);
	bpf_object__close(s->kernel);
}
