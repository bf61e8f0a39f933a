/* SPDX-License-Identifier: MIT */
/*
 * The public VM: loading, running, errors, maps, threads, by either engine. argv: objects' folder.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <limpet/vm.h>
#include "../check.h"

#define INSN(c, d, s, o, i)                                                                        \
	{                                                                                          \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                \
	}
#define MOV(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define EXIT      INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const enum limpet_engine engines[] = {LIMPET_ENGINE_INTERPRETER, LIMPET_ENGINE_BEST};
#define EACH(e) (unsigned int e = 0; e < LENGTH(engines); e++)

static struct limpet_vm *make(unsigned int e, uint32_t flags)
{
	struct limpet_vm_options o = {.engine = engines[e],
				      .flags = flags,
				      .context_size = 16,
				      .context_writable = 8,
				      .budget = 1000};
	struct limpet_vm *vm = NULL;

	CHECK_EQ(limpet_vm_create(&o, &vm), 0);
	return vm;
}

static const char *object(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", OBJECTS, name);
	return path;
}

TEST(instructions_run)
{
	struct bpf_insn sum[] = {INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 1, 0, 0),
				 INSN(BPF_LDX | BPF_MEM | BPF_DW, 3, 1, 8, 0),
				 INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 3, 0, 0),
				 INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 2, 0, 0), EXIT};
	uint64_t ctx[] = {1000, 200};
	struct limpet_result r;

	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);

			REQUIRE(!limpet_vm_load(vm, sum, LENGTH(sum)));
			CHECK_EQ(limpet_vm_run(vm, ctx, NULL, &r), 0);
			CHECK_EQ(r.value, 1216); /* r2 is the context's size */
			CHECK_EQ(r.status, LIMPET_OK);
			CHECK_EQ(limpet_vm_load(vm, sum, LENGTH(sum)), -EBUSY);
			limpet_vm_free(vm);
		}
}

TEST(a_fault_is_told)
{
	struct bpf_insn store[] = {MOV(0, 1), INSN(BPF_ST | BPF_MEM | BPF_DW, 1, 0, 8, 0), EXIT};
	uint64_t ctx[2] = {1, 2};
	struct limpet_result r;

	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);

			REQUIRE(!limpet_vm_load(vm, store, LENGTH(store)));
			CHECK_EQ(limpet_vm_run(vm, ctx, NULL, &r),
				 -EFAULT); /* only 8 bytes are writable */
			CHECK_EQ(r.status, LIMPET_FAULT);
			CHECK_EQ(r.insn, 1);
			CHECK_EQ(r.address, (uint64_t)&ctx[1]);
			CHECK_EQ(r.value, 0);
			CHECK_EQ(ctx[1], 2);
			CHECK_EQ(limpet_vm_run(vm, NULL, NULL, &r), -EINVAL);
			limpet_vm_free(vm);
		}
}

TEST(an_endless_loop_ends)
{
	struct bpf_insn loop[] = {MOV(0, 1), INSN(BPF_JMP | BPF_JA, 0, 0, -2, 0), EXIT};
	uint64_t ctx[2] = {0};
	struct limpet_result r;

	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);

			REQUIRE(!limpet_vm_load(vm, loop, LENGTH(loop)));
			CHECK_EQ(limpet_vm_run(vm, ctx, NULL, &r), -ETIME);
			CHECK_EQ(r.status, LIMPET_BUDGET);
			limpet_vm_free(vm);
		}
}

static uint64_t checksum(uint64_t p, uint64_t n, uint64_t r3, uint64_t r4, uint64_t r5,
			 struct limpet_run *run)
{
	uint64_t sum = *(uint64_t *)limpet_run_user(run);

	CHECK(limpet_run_context(run) != NULL);
	for (uint64_t i = 0; i < n; i++)
		sum += ((uint8_t *)p)[i];
	return sum;
}

TEST(helpers_get_tested_arguments)
{
	struct limpet_helper h = {
		.name = "checksum", .call = checksum, .arg = {LIMPET_ARG_MEM, LIMPET_ARG_SIZE}};
	struct limpet_helper bad = {
		.name = "bad", .call = checksum, .arg = {LIMPET_ARG_MEM, LIMPET_ARG_SCALAR}};
	uint64_t ctx[2] = {0x010203, 0x04}, user = 100;
	struct limpet_result r;

	for
		EACH(e)
	for (int size = 16; size <= 17; size++) {
		struct bpf_insn call[] = {MOV(2, size), INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 30000),
					  EXIT};
		struct limpet_vm *vm = make(e, 0);

		CHECK_EQ(limpet_vm_add_helper(vm, 30001, &bad), -EINVAL);
		CHECK_EQ(limpet_vm_add_helper(vm, 65536, &h), -EINVAL);
		CHECK_EQ(limpet_vm_add_helper(vm, 30000, &h), 0);
		REQUIRE(!limpet_vm_load(vm, call, LENGTH(call)));
		CHECK_EQ(limpet_vm_run(vm, ctx, &user, &r), size == 16 ? 0 : -EINVAL);
		CHECK_EQ(r.status, size == 16 ? LIMPET_OK : LIMPET_ARGUMENT);
		CHECK_EQ(r.value, size == 16 ? 110 : 0);
		limpet_vm_free(vm);
	}
}

static uint64_t forty_two(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
			  struct limpet_run *run)
{
	return 42;
}

/* Two VMs may have different helpers of one number, and one of the kernel's numbers may be
 * replaced. */
TEST(helpers_belong_to_their_vm)
{
	struct limpet_helper h = {.name = "forty_two", .call = forty_two};
	struct bpf_insn call[] = {INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_smp_processor_id),
				  EXIT};
	uint64_t ctx[2] = {0};
	struct limpet_result r;

	for
		EACH(e)
		{
			struct limpet_vm *own = make(e, 0), *standard = make(e, 0);

			CHECK_EQ(limpet_vm_add_helper(own, BPF_FUNC_get_smp_processor_id, &h), 0);
			REQUIRE(!limpet_vm_load(own, call, LENGTH(call)) &&
				!limpet_vm_load(standard, call, LENGTH(call)));
			CHECK_EQ(limpet_vm_run(own, ctx, NULL, &r), 0);
			CHECK_EQ(r.value, 42);
			CHECK_EQ(limpet_vm_run(standard, ctx, NULL, &r), 0);
			CHECK(r.value < (uint64_t)sysconf(_SC_NPROCESSORS_CONF));
			limpet_vm_free(own);
			limpet_vm_free(standard);
		}
}

TEST(refusals_say_why)
{
	struct bpf_insn helper[] = {INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 4711), EXIT};
	struct bpf_insn open[] = {MOV(0, 0)},
			zero[] = {MOV(0, 1), INSN(BPF_ALU64 | BPF_DIV, 0, 0, 0, 0), EXIT};
	struct limpet_vm *vm = make(0, 0), *rfc = make(0, LIMPET_VM_RFC);
	struct limpet_vm_options wrong = {.context_size = 8, .context_writable = 9},
				 newer = {.reserved = {1}};
	struct limpet_vm *none = NULL;

	CHECK_EQ(limpet_vm_load(vm, helper, 2), -EINVAL);
	CHECK_STR(limpet_vm_message(vm), "insn 0: there is no helper 4711");
	CHECK_EQ(limpet_vm_load(vm, open, 1), -EINVAL);
	CHECK(strstr(limpet_vm_message(vm), "last insn is not an exit or jmp"));
	CHECK_EQ(limpet_vm_load(vm, zero, 3), -EINVAL);
	CHECK_EQ(limpet_vm_load(rfc, zero, 3), 0);
	CHECK_EQ(limpet_vm_load(vm, open, 0), -E2BIG);
	CHECK_EQ(limpet_vm_run(vm, vm, NULL, NULL), -EINVAL);
	CHECK_EQ(limpet_vm_create(&wrong, &none), -EINVAL);
	CHECK_EQ(limpet_vm_create(&newer, &none), -EINVAL);
	CHECK(!none);
	limpet_vm_free(vm);
	limpet_vm_free(rfc);
	limpet_vm_free(NULL);
}

TEST(maps_of_instructions)
{
	struct limpet_map_definition d = {.name = "cells",
					  .type = BPF_MAP_TYPE_ARRAY,
					  .key_size = 4,
					  .value_size = 8,
					  .max_entries = 3},
				     bad = {.type = BPF_MAP_TYPE_ARRAY, .key_size = 5}, found;
	uint64_t ctx[2] = {0}, v = 0;
	uint32_t key = 0;

	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);
			int index = limpet_vm_add_map(vm, &d);
			struct bpf_insn add[] = {
				INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, index),
				INSN(0, 0, 0, 0, 0),
				MOV(2, 7),
				INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 1, 2, 0, BPF_ADD),
				MOV(0, 0),
				EXIT};
			struct limpet_map *map = limpet_map_find(vm, "cells");

			CHECK_EQ(index, 0);
			CHECK_EQ(limpet_vm_add_map(vm, &bad), -EINVAL);
			REQUIRE(map && !limpet_vm_load(vm, add, LENGTH(add)));
			limpet_map_describe(map, &found);
			CHECK_EQ(found.max_entries, 3);
			CHECK_STR(found.name, "cells");
			CHECK_EQ(limpet_vm_run(vm, ctx, NULL, NULL), 0);
			CHECK_EQ(limpet_vm_run(vm, ctx, NULL, NULL), 0);
			CHECK_EQ(limpet_map_lookup(map, &key, &v), 0);
			CHECK_EQ(v, 14);
			CHECK_EQ(*(uint64_t *)limpet_map_memory(map), 14);
			CHECK_EQ(limpet_map_next_key(map, NULL, &key), 0);
			CHECK_EQ(limpet_map_delete(map, &key), -EINVAL);
			CHECK(!limpet_map_find(vm, "other"));
			limpet_vm_free(vm);
		}
}

TEST(objects_with_data_and_subprograms)
{
	uint64_t ctx[2] = {3, 4}, *calls;
	struct limpet_result r;

	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);

			CHECK_EQ(limpet_vm_load_file(vm, object("sample.bpf.o"), "sums"), 0);
			CHECK_STR(limpet_vm_message(vm), "");
			CHECK_EQ(limpet_vm_run(vm, ctx, NULL, &r), 0);
			CHECK_EQ(r.value, 23); /* 3 + 4 * step */
			CHECK_EQ(limpet_vm_run(vm, (uint64_t[]){7, 0}, NULL, &r), 0);
			CHECK_EQ(r.value, 0); /* not above limit */
			calls = limpet_map_memory(limpet_map_find(vm, ".bss"));
			CHECK_EQ(*calls, 2);
			limpet_vm_free(vm);
		}
}

TEST(objects_with_maps)
{
	uint64_t ctx[2] = {11, 0}, v;
	struct limpet_result r;
	uint32_t one = 1;

	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);

			REQUIRE(!limpet_vm_load_file(vm, object("sample.bpf.o"), "pushes"));
			for (int i = 0; i < 5; i++, ctx[0]++) {
				CHECK_EQ(limpet_vm_run(vm, ctx, NULL, &r), 0);
				CHECK_EQ((int)r.value, i < 4 ? 0 : -E2BIG);
			}
			CHECK_EQ(limpet_map_lookup(limpet_map_find(vm, "counts"), &one, &v), 0);
			CHECK_EQ(v, 5);
			CHECK_EQ(limpet_map_lookup_and_delete(limpet_map_find(vm, "events"), NULL,
							      &v),
				 0);
			CHECK_EQ(v, 11 + e * 5);
			CHECK_EQ(limpet_map_update(limpet_map_find(vm, "events"), NULL, &v, 0), 0);
			limpet_vm_free(vm);
		}
}

static uint64_t visit(uint64_t fn, uint64_t n, uint64_t r3, uint64_t r4, uint64_t r5,
		      struct limpet_run *run)
{
	uint64_t sum = 0, one;

	for (uint64_t i = 0; i < n; i++) {
		if (limpet_run_call(run, fn, i, 0, 0, &one))
			return 0;
		sum += one;
	}
	return sum;
}

TEST(hash_maps)
{
	uint64_t ctx[2] = {0}, key, v, next;
	struct limpet_result r;
	int keys = 0;

	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);
			struct limpet_map *map;

			REQUIRE(!limpet_vm_load_file(vm, object("sample.bpf.o"), "hashes"));
			map = limpet_map_find(vm, "seen");
			for (int i = 0; i < 60; i++) {
				ctx[0] = 1000 + i % 20;
				CHECK_EQ(limpet_vm_run(vm, ctx, NULL, &r), 0);
				CHECK_EQ((int)r.value, i % 20 >= 16 ? -E2BIG : i / 20);
			}
			keys = 0;
			for (int err = limpet_map_next_key(map, NULL, &key); !err; keys++) {
				CHECK_EQ(limpet_map_lookup(map, &key, &v), 0);
				CHECK_EQ(v, 3);
				err = limpet_map_next_key(map, &key, &next);
				key = next;
			}
			CHECK_EQ(keys, 16);
			key = 1003;
			CHECK_EQ(limpet_map_delete(map, &key), 0);
			CHECK_EQ(limpet_map_lookup(map, &key, &v), -ENOENT);
			limpet_vm_free(vm);
		}
}

TEST(maps_added_before_are_used)
{
	struct limpet_map_definition d = {.name = "counts",
					  .type = BPF_MAP_TYPE_ARRAY,
					  .key_size = 4,
					  .value_size = 8,
					  .max_entries = 9};
	struct limpet_vm *vm = make(1, 0), *other = make(1, 0);
	uint64_t ctx[2] = {1, 0};

	CHECK_EQ(limpet_vm_add_map(vm, &d), 0);
	CHECK_EQ(limpet_vm_load_file(vm, object("sample.bpf.o"), "pushes"), 0);
	CHECK_EQ(limpet_vm_run(vm, ctx, NULL, NULL), 0);
	CHECK_EQ(((uint64_t *)limpet_map_memory(limpet_map_find(vm, "counts")))[1], 1);
	d.value_size = 4;
	CHECK_EQ(limpet_vm_add_map(other, &d), 0);
	CHECK_EQ(limpet_vm_load_file(other, object("sample.bpf.o"), "pushes"), -EINVAL);
	CHECK_STR(limpet_vm_message(other), "map counts was added with another type or size");
	limpet_vm_free(vm);
	limpet_vm_free(other);
}

TEST(helpers_call_back)
{
	struct limpet_helper h = {
		.name = "visit", .call = visit, .arg = {LIMPET_ARG_CALLBACK, LIMPET_ARG_SCALAR}};
	uint64_t ctx[2] = {0};
	struct limpet_result r;

	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);

			REQUIRE(!limpet_vm_add_helper(vm, 2000, &h));
			CHECK_EQ(limpet_vm_load_file(vm, object("sample.bpf.o"), "calls_back"), 0);
			CHECK_EQ(limpet_vm_run(vm, ctx, NULL, &r), 0);
			CHECK_EQ(r.value, 0 + 1 + 4 + 9 + 16);
			limpet_vm_free(vm);
		}
}

TEST(objects_that_are_refused)
{
	struct limpet_vm *vm = make(0, 0);

	CHECK_EQ(limpet_vm_load_file(vm, "/no/such/file", NULL), -ENOENT);
	CHECK_EQ(limpet_vm_load_file(vm, object("sample.bpf.o"), "absent"), -ENOENT);
	CHECK_STR(limpet_vm_message(vm), "no function absent");
	CHECK_EQ(limpet_vm_load_file(vm, object("sample.bpf.o"), "no_helper"), -EINVAL);
	CHECK(strstr(limpet_vm_message(vm), "there is no helper 60000"));
	CHECK_EQ(limpet_vm_load_file(vm, object("core.bpf.o"), NULL), -EOPNOTSUPP);
	CHECK(strstr(limpet_vm_message(vm), "CO-RE"));
	CHECK_EQ(limpet_vm_load_file(vm, "/proc/self/exe", NULL), -EINVAL);
	CHECK_EQ(limpet_vm_load_file(vm, object("sample.bpf.o"), "sums"),
		 0); /* a failure does not spoil the VM */
	limpet_vm_free(vm);
}

/* Every truncation and a flipped bit in every byte: an error or a program that runs contained. */
TEST(damaged_objects_do_no_harm)
{
	static uint8_t image[65536], copy[65536];
	FILE *f = fopen(object("sample.bpf.o"), "rb");
	size_t size = f ? fread(image, 1, sizeof(image), f) : 0;
	uint64_t ctx[2] = {1, 2};
	int refused = 0;

	REQUIRE(size > 1000 && size < sizeof(image));
	fclose(f);
	for (size_t i = 0; i < 2 * size; i++) {
		struct limpet_vm *vm = make(0, 0);
		size_t n = i < size ? i : size;

		memcpy(copy, image, size);
		if (i >= size)
			copy[i - size] ^= (uint8_t)(1 << (i & 7));
		if (limpet_vm_load_elf(vm, copy, n, "pushes"))
			refused++;
		else
			limpet_vm_run(vm, ctx, NULL, NULL);
		limpet_vm_free(vm);
	}
	CHECK(refused > (int)size / 2);
}

static void *run_many(void *vm)
{
	uint64_t ctx[2] = {1, 0};

	for (int i = 0; i < 20000; i++)
		if (limpet_vm_run(vm, ctx, NULL, NULL))
			return vm;
	return NULL;
}

TEST(many_threads_run_one_vm)
{
	for
		EACH(e)
		{
			struct limpet_vm *vm = make(e, 0);
			pthread_t threads[8];
			uint32_t one = 1;
			uint64_t v = 0;
			void *bad;

			REQUIRE(!limpet_vm_load_file(vm, object("sample.bpf.o"), "pushes"));
			for (unsigned int i = 0; i < LENGTH(threads); i++)
				pthread_create(&threads[i], NULL, run_many, vm);
			for (unsigned int i = 0; i < LENGTH(threads); i++) {
				pthread_join(threads[i], &bad);
				CHECK(!bad);
			}
			limpet_map_lookup(limpet_map_find(vm, "counts"), &one, &v);
			CHECK_EQ(v, 20000 * LENGTH(threads));
			limpet_vm_free(vm);
		}
}

TEST(maps_are_shared_with_children)
{
	struct limpet_vm *vm = make(1, 0);
	uint64_t ctx[2] = {77, 0}, v = 0;
	pid_t child;
	int status;

	REQUIRE(!limpet_vm_load_file(vm, object("sample.bpf.o"), "pushes"));
	fflush(stdout);
	child = fork();
	if (!child)
		_exit(limpet_vm_run(vm, ctx, NULL, NULL) ? 1 : 0);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(limpet_map_lookup_and_delete(limpet_map_find(vm, "events"), NULL, &v), 0);
	CHECK_EQ(v, 77);
	limpet_vm_free(vm);
}

/* In a child: loads for the best engine and runs; its exit status: 0 done by the JIT, 1
 * interpreted. */
static int child_runs(void)
{
	uint64_t ctx[2] = {3, 4};
	struct limpet_vm *vm = make(1, 0);
	struct limpet_result r;

	if (limpet_vm_load_file(vm, object("sample.bpf.o"), "sums") ||
	    limpet_vm_run(vm, ctx, NULL, &r) || r.value != 23)
		return 2;
	return limpet_vm_engine(vm) != LIMPET_ENGINE_JIT;
}

static int in_child(const struct sock_fprog *filter, bool strict)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (!child) {
		if (strict && prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0))
			_exit(77);
		if (filter && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
			       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter)))
			_exit(77);
		_exit(child_runs());
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* Both ways to memory for code: a process that may never make memory executable, and one without
 * memfd. */
TEST(code_gets_its_memory)
{
	struct sock_filter no_memfd[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_memfd_create, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {LENGTH(no_memfd), no_memfd};
	int normal = in_child(NULL, false), strict = in_child(NULL, true);
	int without = in_child(&filter, false), neither = in_child(&filter, true);

	CHECK(normal == 0 || normal == 1);
	if (strict == 77 || without == 77)
		SKIP("PR_SET_MDWE or seccomp filters are not there");
	CHECK_EQ(strict, normal);
	CHECK_EQ(without, normal);
	CHECK_EQ(neither, 1); /* interpreted */
}

TEST(no_page_is_writable_and_executable)
{
	struct limpet_vm *vm = make(1, 0);
	char line[512], mode[8];
	FILE *f;

	REQUIRE(!limpet_vm_load_file(vm, object("sample.bpf.o"), "sums"));
	f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof(line), f))
		CHECK(sscanf(line, "%*s %7s", mode) == 1 && !(mode[1] == 'w' && mode[2] == 'x'));
	fclose(f);
	limpet_vm_free(vm);
}

static struct limpet_vm *returns(int value, enum limpet_engine engine)
{
	const struct bpf_insn insns[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, value}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
	struct limpet_vm_options o = {.engine = engine};
	struct limpet_vm *vm = NULL;

	CHECK_EQ(limpet_vm_create(&o, &vm), 0);
	CHECK_EQ(limpet_vm_load(vm, insns, 2), 0);
	return vm;
}

/* Many programs: some want the same place in the table of what is known. */
static void check_tail_calls(enum limpet_engine engine)
{
	const struct bpf_insn insns[] = {{BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, 0}, {0, 0, 0, 0, 0},
					 {BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 1}, {BPF_JMP | BPF_CALL, 0, 0, 0, 12},
					 {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 7}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
	const struct limpet_map_definition d = {.name = "jumps", .type = BPF_MAP_TYPE_PROG_ARRAY, .key_size = 4,
						.value_size = 4, .max_entries = 2};
	struct limpet_vm_options o = {.engine = engine}, other = {.engine = engine, .context_size = 8};
	struct limpet_vm *vm, *wrong, *callee[300];
	struct limpet_result r;
	struct limpet_map *m;

	REQUIRE(!limpet_vm_create(&o, &vm) && !limpet_vm_create(&other, &wrong));
	CHECK_EQ(limpet_vm_add_map(vm, &d), 0);
	CHECK_EQ(limpet_vm_load(vm, insns, 6), 0);
	CHECK_EQ(limpet_vm_load(wrong, &insns[4], 2), 0);
	m = limpet_map_find(vm, "jumps");
	CHECK_EQ(limpet_vm_run(vm, NULL, NULL, &r), 0);
	CHECK_EQ(r.value, 7);
	for (int i = 0; i < 300; i++) {
		callee[i] = returns(100 + i, engine);
		CHECK_EQ(limpet_map_set_program(m, 1, callee[i]), 0);
		CHECK_EQ(limpet_vm_run(vm, NULL, NULL, &r), 0);
		CHECK_EQ(r.value, 100 + (uint64_t)i);
	}
	CHECK_EQ(limpet_map_set_program(m, 2, callee[0]), -E2BIG);
	CHECK_EQ(limpet_map_set_program(m, 1, wrong), -EINVAL);
	CHECK_EQ(limpet_map_set_program(m, 1, NULL), 0);
	CHECK_EQ(limpet_vm_run(vm, NULL, NULL, &r), 0);
	CHECK_EQ(r.value, 7);
	for (int i = 0; i < 300; i++)
		limpet_vm_free(callee[i]);
	limpet_vm_free(wrong);
	limpet_vm_free(vm);
}

TEST(tail_calls_go_to_other_machines)
{
	check_tail_calls(LIMPET_ENGINE_INTERPRETER);
	check_tail_calls(LIMPET_ENGINE_BEST);
}

TEST_MAIN()
