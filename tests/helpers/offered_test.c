/* SPDX-License-Identifier: MIT */
/*
 * Which helpers there are for programs of which type, held against the kernel: what that offers limpet has, or
 * says why not (src/bpf/helper_desc.c, docs/helpers.md); what limpet has beyond it is named here.
 */
#include "bpf/helper_desc.h"
#include "sides.h"
#include <sys/utsname.h>

#define KERNEL_HELPERS 212 /* numbers below */

/* Kernels have these for other programs, or by configuration only. */
static const u32 beyond[] = {BPF_FUNC_probe_write_user,    BPF_FUNC_override_return,
			     BPF_FUNC_ktime_get_coarse_ns, BPF_FUNC_get_func_arg,
			     BPF_FUNC_get_func_ret,        BPF_FUNC_get_func_arg_cnt};

static char log_text[65536];

static bool is_offered(struct world *w, u32 type, u32 flags, u32 helper)
{
	const struct bpf_insn insns[] = {CALL((s32)helper), MOV(0, 0), EXIT};
	int fd;

	*log_text = 0;
	fd = load(w, type, flags, insns, ARRAY_SIZE(insns), log_text, sizeof(log_text));
	if (fd >= 0)
		w->close(fd);
	return !strstr(log_text, "cannot use helper") && !strstr(log_text, "unknown func") &&
	       !strstr(log_text, "invalid func");
}

static bool is_beyond(u32 helper)
{
	for (u32 i = 0; i < ARRAY_SIZE(beyond); i++)
		if (beyond[i] == helper)
			return true;
	return false;
}

static bool ready(void)
{
	const struct bpf_insn insns[] = {MOV(0, 0), EXIT};
	int fd = load(&kernel, BPF_PROG_TYPE_KPROBE, 0, insns, ARRAY_SIZE(insns), NULL, 0);

	if (!*session_dir)
		new_session();
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void compare(const char *name, u32 type, u32 flags)
{
	u32 both = 0, refused = 0;

	if (!ready())
		SKIP("the kernel's bpf(2) is not to be had here");
	for (u32 i = 1; i < KERNEL_HELPERS; i++) {
		const struct bpf_helper_desc *d = bpf_helper_desc(i);
		const bool theirs = is_offered(&kernel, type, flags, i),
			   mine = is_offered(&ours, type, flags, i);
		char unknown[64];

		both += theirs && mine;
		if (theirs && !d) {
			printf("# %s: nothing is known of helper %u\n", name, i);
			check_failed = 1;
		} else if (theirs &&
			   !mine) { /* a tool that asks for it is told in the kernel's words */
			snprintf(unknown, sizeof(unknown), "unknown func bpf_%s#%u", d->name, i);
			refused++;
			if (!d->why_not || strstr(d->why_not, "for programs") ||
			    !strstr(log_text, unknown)) {
				printf("# %s: the kernel offers bpf_%s#%u, limpet not: %s; it says "
				       "%s\n",
				       name, d->name, i,
				       d->why_not ? d->why_not : "without a reason", log_text);
				check_failed = 1;
			}
		} else if (mine && !theirs && !is_beyond(i)) {
			printf("# %s: limpet offers bpf_%s#%u, the kernel not\n", name, d->name, i);
			check_failed = 1;
		}
	}
	printf("# %s: %u helpers of both, %u that limpet has not\n", name, both, refused);
	CHECK(both > 40);
}

TEST(kprobe_programs_have_the_kernels_helpers)
{
	compare("kprobe", BPF_PROG_TYPE_KPROBE, 0);
}

TEST(sleepable_programs_have_the_kernels_helpers)
{
	compare("sleepable kprobe", BPF_PROG_TYPE_KPROBE, BPF_F_SLEEPABLE);
}

TEST(tracepoint_programs_have_the_kernels_helpers)
{
	compare("tracepoint", BPF_PROG_TYPE_TRACEPOINT, 0);
}

TEST(raw_tracepoint_programs_have_the_kernels_helpers)
{
	compare("raw tracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, 0);
}

TEST(perf_event_programs_have_the_kernels_helpers)
{
	compare("perf event", BPF_PROG_TYPE_PERF_EVENT, 0);
}

/* ---- maps ---- */

static const struct kind {
	u32 type, key, value, entries, flags;
} kinds[] = {
	{BPF_MAP_TYPE_HASH, 4, 8, 4, 0},
	{BPF_MAP_TYPE_HASH, 4, 8, 4, BPF_F_NO_PREALLOC},
	{BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0},
	{BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0},
	{BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 4, 0},
	{BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 4, 0},
	{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, 0},
	{BPF_MAP_TYPE_STACK_TRACE, 4, 128, 4, 0},
	{BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 4, 0},
	{BPF_MAP_TYPE_LRU_HASH, 4, 8, 4, 0},
	{BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, 4, 0},
	{BPF_MAP_TYPE_LPM_TRIE, 8, 8, 4, BPF_F_NO_PREALLOC},
	{BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 4, 0},
	{BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 4, 0},
	{BPF_MAP_TYPE_QUEUE, 0, 8, 4, 0},
	{BPF_MAP_TYPE_STACK, 0, 8, 4, 0},
	{BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 4, 0},
	{BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
	{BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0},
};

/* Loads a program that names a map of that kind; 0 or -errno, and the log. */
static int with_map(struct world *w, const struct kind *k, u32 type, u32 flags)
{
	union bpf_attr a = {.map_type = k->type,
			    .key_size = k->key,
			    .value_size = k->value,
			    .max_entries = k->entries,
			    .map_flags = k->flags};
	const bool outer =
		k->type == BPF_MAP_TYPE_ARRAY_OF_MAPS || k->type == BPF_MAP_TYPE_HASH_OF_MAPS;
	const int inner = outer ? make_map(w, 8, 0) : -1;
	int map, prog;

	if (outer)
		a.inner_map_fd = (u32)inner;
	map = (int)w->bpf(BPF_MAP_CREATE, &a, sizeof(a));
	CHECK(map >= 0);
	*log_text = 0;
	prog = load(w, type, flags,
		    (const struct bpf_insn[]){
			    INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map),
			    INSN(0, 0, 0, 0, 0), MOV(0, 0), EXIT},
		    4, log_text, sizeof(log_text));
	w->close(map);
	if (outer)
		w->close(inner);
	if (prog >= 0)
		w->close(prog);
	return prog < 0 ? prog : 0;
}

TEST(map_types_are_for_the_programs_the_kernel_has_them_for)
{
	static const struct {
		u32 type, flags;
	} programs[] = {{BPF_PROG_TYPE_KPROBE, 0},     {BPF_PROG_TYPE_KPROBE, BPF_F_SLEEPABLE},
			{BPF_PROG_TYPE_TRACEPOINT, 0}, {BPF_PROG_TYPE_RAW_TRACEPOINT, 0},
			{BPF_PROG_TYPE_PERF_EVENT, 0}, {BPF_PROG_TYPE_SOCKET_FILTER, 0}};
	static char theirs_text[sizeof(log_text)];
	u32 refused = 0;

	if (!ready())
		SKIP("the kernel's bpf(2) is not to be had here");
	for (u32 i = 0; i < ARRAY_SIZE(programs); i++)
		for (const struct kind *k = kinds; k < kinds + ARRAY_SIZE(kinds); k++) {
			const int theirs =
				with_map(&kernel, k, programs[i].type, programs[i].flags);
			char *end;
			int mine;

			snprintf(theirs_text, sizeof(theirs_text), "%s", log_text);
			end = strstr(theirs_text, "processed ");
			if (end) /* its numbers may differ */
				*end = 0;
			mine = with_map(&ours, k, programs[i].type, programs[i].flags);
			refused += theirs != 0;
			if (mine == theirs && (!theirs || strstr(log_text, theirs_text)))
				continue;
			printf("# map type %u in program type %u, flags %u: %d, the kernel says "
			       "%d\n# %s\n# %s\n",
			       k->type, programs[i].type, programs[i].flags, mine, theirs, log_text,
			       theirs_text);
			check_failed = 1;
		}
	CHECK(refused);
}

/* A value that begins with a struct of that name, of 16 bytes; the descriptor of its types, with their ids. */
static int make_types(struct world *w, const char *name, u32 *ret_key, u32 *ret_value)
{
	struct btf *b = btf__new_empty();
	const int key = btf__add_int(b, "int", 4, BTF_INT_SIGNED),
		  word = btf__add_int(b, "long", 8, BTF_INT_SIGNED);
	union bpf_attr a = {0};
	int inside, fd;
	u32 size;

	inside = btf__add_struct(b, name, 16);
	btf__add_field(b, "low", word, 0, 0);
	btf__add_field(b, "high", word, 64, 0);
	*ret_value = (u32)btf__add_struct(b, "value", 24);
	btf__add_field(b, "it", inside, 0, 0);
	btf__add_field(b, "more", word, 128, 0);
	*ret_key = (u32)key;
	a.btf = (u64)btf__raw_data(b, &size);
	a.btf_size = size;
	fd = (int)w->bpf(BPF_BTF_LOAD, &a, sizeof(a));
	btf__free(b);
	return fd;
}

/* What is said of a program of that type that names such a map: 0 or -errno; -1000: of the map itself. */
static int with_field(struct world *w, const char *name, u32 map_type, u32 map_flags, u32 type)
{
	union bpf_attr a = {.map_type = map_type,
			    .key_size = 4,
			    .value_size = 24,
			    .max_entries = 4,
			    .map_flags = map_flags};
	const int types = make_types(w, name, &a.btf_key_type_id, &a.btf_value_type_id);
	int map, prog;

	CHECK(types >= 0);
	a.btf_fd = (u32)types;
	map = (int)w->bpf(BPF_MAP_CREATE, &a, sizeof(a));
	w->close(types);
	*log_text = 0;
	if (map < 0)
		return map - 1000;
	prog = load(w, type, 0,
		    (const struct bpf_insn[]){
			    INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map),
			    INSN(0, 0, 0, 0, 0), MOV(0, 0), EXIT},
		    4, log_text, sizeof(log_text));
	w->close(map);
	if (prog >= 0)
		w->close(prog);
	return prog < 0 ? prog : 0;
}

TEST(values_with_timers_and_work_queues_are_refused_as_by_the_kernel)
{
	static const char *const names[] = {"bpf_timer", "bpf_wq", "bpf_nothing"};
	static const u32 maps[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH,
				   BPF_MAP_TYPE_PERCPU_ARRAY};
	static const u32 types[] = {BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_RAW_TRACEPOINT,
				    BPF_PROG_TYPE_PERF_EVENT, BPF_PROG_TYPE_SOCKET_FILTER};
	static char theirs_text[sizeof(log_text)];

	if (!ready())
		SKIP("the kernel's bpf(2) is not to be had here");
	for (u32 n = 0; n < ARRAY_SIZE(names); n++)
		for (u32 m = 0; m < 2 * ARRAY_SIZE(maps); m++)
			for (u32 t = 0; t < ARRAY_SIZE(types); t++) {
				const u32 flags = m % 2 ? BPF_F_RDONLY_PROG : 0;
				const int theirs =
					with_field(&kernel, names[n], maps[m / 2], flags, types[t]);
				char *end;
				int mine;

				snprintf(theirs_text, sizeof(theirs_text), "%s", log_text);
				end = strstr(theirs_text, "processed ");
				if (end)
					*end = 0;
				mine = with_field(&ours, names[n], maps[m / 2], flags, types[t]);
				if (mine == theirs && (!theirs || strstr(log_text, theirs_text)))
					continue;
				printf("# %s in map type %u, flags %u, program type %u: %d, the "
				       "kernel says %d\n# %s\n# %s\n",
				       names[n], maps[m / 2], flags, types[t], mine, theirs,
				       log_text, theirs_text);
				check_failed = 1;
			}
}

/*
 * Kernel functions that limpet has not, by how their names begin: each works on objects that only a kernel has, or is for
 * what limpet does not run. (docs/helpers.md)
 */
static const char *const not_here[] = {
	"__bpf_trap",
	"bpf_arena_",
	"bpf_cgroup_",
	"bpf_copy_from_user_task_",
	"bpf_get_kmem_cache",
	"bpf_iter_bits_",
	"bpf_iter_css_",
	"bpf_iter_dmabuf_",
	"bpf_iter_kmem_cache_",
	"bpf_iter_task_",
	"bpf_local_irq_",
	"bpf_map_sum_elem_count",
	"bpf_modify_return_test_",
	"bpf_res_spin_",
	"bpf_stream_",
	"bpf_task_work_",
	"bpf_wq_",
	"bpf_xdp_metadata_",
};

static bool is_function_offered(struct world *w, int id)
{
	const struct bpf_insn insns[] = {KFUNC(id), MOV(0, 0), EXIT};
	int fd;

	*log_text = 0;
	fd = load(w, BPF_PROG_TYPE_KPROBE, BPF_F_SLEEPABLE, insns, ARRAY_SIZE(insns), log_text,
		  sizeof(log_text));
	if (fd >= 0)
		w->close(fd);
	return !strstr(log_text, "is not allowed");
}

static bool is_known_to_be_missing(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(not_here); i++)
		if (!strncmp(name, not_here[i], strlen(not_here[i])))
			return true;
	return false;
}

/* Other kernels have others: of those it is only told. */
static bool is_the_kernel_we_know(void)
{
	struct utsname u;

	return !uname(&u) && !strncmp(u.release, "6.18.", 5);
}

/* The kernel marks its functions for programs. */
TEST(kernel_functions_are_there_or_refused)
{
	struct btf *types = btf__load_vmlinux_btf();
	u32 both = 0, refused = 0;

	if (!ready() || !types)
		SKIP("the kernel's bpf(2) is not to be had here, or it has no types");
	for (u32 i = 1; i < btf__type_cnt(types); i++) {
		const struct btf_type *t = btf__type_by_id(types, i), *f;
		const char *name;
		bool mine;

		if (btf_kind(t) != BTF_KIND_DECL_TAG ||
		    strcmp(btf__name_by_offset(types, t->name_off), "bpf_kfunc"))
			continue;
		f = btf__type_by_id(types, t->type);
		name = btf__name_by_offset(types, f->name_off);
		if (!is_function_offered(&kernel, (int)t->type))
			continue;
		mine = is_function_offered(&ours, (int)t->type);
		both += mine;
		refused += !mine;
		if (mine || is_known_to_be_missing(name))
			continue;
		printf("# the kernel offers %s, limpet not; it says %s\n", name, log_text);
		check_failed |= is_the_kernel_we_know();
	}
	btf__free(types);
	printf("# %u functions of both, %u that limpet has not\n", both, refused);
	CHECK(!is_the_kernel_we_know() || both > 30);
}

TEST_MAIN()
