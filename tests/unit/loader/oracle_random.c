/* SPDX-License-Identifier: MIT */
/*
 * The generator of oracle_random.h: every command on elements, batches, freezing, info, with valid and
 * invalid keys, values, flags and pointers; and the types that hold objects, and stack traces.
 */
#include "oracle_random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "loader/loader.h"

#define RENEW 2000 /* steps with one pair of maps */

u32 duo_draw(struct duo *d, u32 n)
{
	d->seed = d->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(d->seed >> 33) % n;
}

void duo_note(struct duo *d, int w, const void *p, u32 n)
{
	if (d->len[w] + n <= DUO_OUT)
		memcpy(d->out[w] + d->len[w], p, n);
	d->len[w] += n;
}

void duo_note_long(struct duo *d, int w, long r)
{
	duo_note(d, w, &r, sizeof(r));
}

long duo_run(struct duo *d, int w, int p, u64 a, u64 b, u64 c)
{
	u64 args[3] = {a, b, c};
	union bpf_attr attr = {.test = {.prog_fd = (u32)d->progs[w][p], .ctx_in = (u64)args, .ctx_size_in = sizeof(args)}};
	long r = d->s[w]->bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));

	r = r ? r : (long)(s32)attr.test.retval;
	duo_note_long(d, w, r);
	return r;
}

static int inner_object(struct duo *d, int w, u32 k);

/* ---- one call, the same on both sides ---- */

#define ROOM  512 /* bytes for keys, values, the cursors */
#define MOST  64  /* elements of a batch */
#define BYTES 0x5a

static _Alignas(8) u8 memory[4 * ROOM];

struct call {
	u32 cmd, count;
	u32 keys[MOST], values[MOST]; /* values: places in the table of objects */
	u64 key, value, in, out, flags;
};

static u64 pointer(struct duo *d, u32 region)
{
	const u64 odd[] = {BAD_NULL, BAD_LOW, BAD_HIGH, bad_page, readonly_page, edge, edge + 4};

	return duo_draw(d, 20) ? (u64)memory + region * ROOM : odd[duo_draw(d, ARRAY_SIZE(odd))];
}

static bool is_batch(u32 cmd)
{
	return cmd >= BPF_MAP_LOOKUP_BATCH && cmd <= BPF_MAP_DELETE_BATCH;
}

static void draw_call(struct duo *d, struct call *c)
{
	static const u32 cmds[] = {BPF_MAP_UPDATE_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_LOOKUP_ELEM,
				   BPF_MAP_LOOKUP_ELEM, BPF_MAP_DELETE_ELEM, BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY,
				   BPF_MAP_LOOKUP_AND_DELETE_ELEM, BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_AND_DELETE_BATCH,
				   BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH};
	static const u64 flags[] = {0, 0, 0, 0, 0, 0, BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK, 3, 1ULL << 40};

	*c = (struct call){.cmd = cmds[duo_draw(d, ARRAY_SIZE(cmds))], .flags = flags[duo_draw(d, ARRAY_SIZE(flags))]};
	for (u32 i = 0; i < MOST; i++) {
		c->keys[i] = duo_draw(d, 24) ? duo_draw(d, d->entries < 8 ? d->entries + 2 : 8) : ~0u;
		c->values[i] = duo_draw(d, 6) ? duo_draw(d, 4) : duo_draw(d, DUO_OBJECTS);
	}
	/* the kernel waits for all processors after each change of a map of maps */
	if (d->t->object == inner_object && c->cmd != BPF_MAP_GET_NEXT_KEY && duo_draw(d, 6))
		c->cmd = c->cmd > BPF_MAP_DELETE_ELEM ? BPF_MAP_LOOKUP_BATCH : BPF_MAP_LOOKUP_ELEM;
	c->key = pointer(d, 1);
	c->count = duo_draw(d, 8);
	c->in = duo_draw(d, 2) ? 0 : pointer(d, 2);
	c->out = pointer(d, 3);
	if (d->t->own_order && is_batch(c->cmd) && c->cmd <= BPF_MAP_LOOKUP_AND_DELETE_BATCH) {
		c->key = (u64)memory; /* all at once: which are the first ones differs */
		c->value = (u64)memory + ROOM;
		c->count = MOST;
		c->in = 0;
	}
}

/* The number a key has on side w: stacks are named by what each side calls them. */
static u32 key_of(const struct duo *d, int w, u32 key)
{
	if (d->t->type != BPF_MAP_TYPE_STACK_TRACE)
		return key;
	return key < 4 ? d->ids[w][key] : key == ~0u ? key : key == 4 ? 0 : d->entries + key;
}

/* Ids of side w become places in the table. */
static void translate(const struct duo *d, int w, u8 *bytes, u32 n)
{
	for (u32 at = 0; at + 4 <= n; at += 4)
		for (u32 k = 0; k < DUO_OBJECTS; k++) {
			u32 word;

			memcpy(&word, bytes + at, 4);
			if (!d->ids[w][k] || word != d->ids[w][k])
				continue;
			word = 0xabcd0000 | k;
			memcpy(bytes + at, &word, 4);
			break;
		}
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, 4);
}

/* What a batch has found, in the order of keys. */
static void sort_pairs(u32 count)
{
	u32 pairs[MOST][2];

	for (u32 i = 0; i < count; i++) {
		memcpy(&pairs[i][0], memory + i * 4, 4);
		memcpy(&pairs[i][1], memory + ROOM + i * 4, 4);
	}
	qsort(pairs, count, sizeof(pairs[0]), by_key);
	for (u32 i = 0; i < count; i++) {
		memcpy(memory + i * 4, &pairs[i][0], 4);
		memcpy(memory + ROOM + i * 4, &pairs[i][1], 4);
	}
}

static bool is_update(u32 cmd)
{
	return cmd == BPF_MAP_UPDATE_ELEM || cmd == BPF_MAP_UPDATE_BATCH;
}

static void fill_memory(const struct duo *d, int w, const struct call *c)
{
	memset(memory, BYTES, sizeof(memory));
	memset((void *)edge, 0, 8);
	for (u32 i = 0; i < MOST; i++) {
		u32 key = key_of(d, w, c->keys[i]);

		memcpy(memory + i * 4, &key, 4);
		if (is_update(c->cmd))
			memcpy(memory + ROOM + i * 4, &d->objects[w][c->values[i]], 4);
	}
	memcpy(memory + 2 * ROOM, memory + 4, 4);
}

static void make_call(struct duo *d, int w, const struct call *c)
{
	union bpf_attr a = {.map_fd = (u32)d->map[w]};
	bool found;
	long r;

	fill_memory(d, w, c);
	if (is_batch(c->cmd)) {
		a.batch = (typeof(a.batch)){.in_batch = c->in, .out_batch = c->out, .keys = c->key, .values = c->value,
					    .count = c->count, .map_fd = (u32)d->map[w], .elem_flags = c->flags};
	} else {
		a.key = c->key;
		a.value = c->cmd == BPF_MAP_DELETE_ELEM ? 0 : c->value;
		a.flags = c->cmd == BPF_MAP_DELETE_ELEM || c->cmd == BPF_MAP_GET_NEXT_KEY ? 0 : c->flags;
	}
	r = d->s[w]->bpf((int)c->cmd, &a, sizeof(a));
	found = is_batch(c->cmd) && (!r || r == -ENOENT) && a.batch.count <= MOST;
	duo_note_long(d, w, r);
	duo_note_long(d, w, is_batch(c->cmd) ? a.batch.count : 0);
	/* an update writes nothing, and descriptors differ; how far a batch came before it failed is nothing to rely on */
	if (is_update(c->cmd) || (is_batch(c->cmd) && r == -EFAULT))
		return;
	if (d->t->type == BPF_MAP_TYPE_STACK_TRACE)
		translate(d, w, memory, ROOM);
	if (d->t->held && c->cmd != BPF_MAP_GET_NEXT_KEY) {
		translate(d, w, memory + ROOM, ROOM);
		translate(d, w, (u8 *)edge, 8);
	}
	if (d->t->own_order && found && c->cmd <= BPF_MAP_LOOKUP_AND_DELETE_BATCH)
		sort_pairs(a.batch.count);
	duo_note(d, w, memory, d->t->own_order && is_batch(c->cmd) ? 2 * ROOM : sizeof(memory));
	if (r != -EFAULT && !(d->t->own_order && is_batch(c->cmd))) /* how far it came; a hash's cursor */
		duo_note(d, w, (void *)edge, 8);
}

/* All entries of a map, whatever their order. */
static void walk(struct duo *d, int w)
{
	u8 values[1024];
	u32 key, next;
	u64 sum = 0, n = 0;
	long r;

	for (void *k = NULL;; k = &key, n++) {
		union bpf_attr a = {.map_fd = (u32)d->map[w], .key = (u64)k, .next_key = (u64)&next}, b = {.map_fd = (u32)d->map[w]};
		u64 h = 1;

		r = d->s[w]->bpf(BPF_MAP_GET_NEXT_KEY, &a, sizeof(a));
		if (r || n > d->entries)
			break;
		key = next;
		memset(values, 0, sizeof(values));
		b.key = (u64)&key;
		b.value = (u64)values;
		h += (u64)d->s[w]->bpf(BPF_MAP_LOOKUP_ELEM, &b, sizeof(b));
		if (d->t->type == BPF_MAP_TYPE_STACK_TRACE)
			translate(d, w, (u8 *)&next, 4);
		else
			translate(d, w, values, 4);
		for (u32 i = 0; i < sizeof(values); i++)
			h = h * 31 + values[i];
		sum += h * (next + 1);
	}
	duo_note_long(d, w, r);
	duo_note_long(d, w, (long)n);
	duo_note_long(d, w, (long)sum);
}

static void info(struct duo *d, int w)
{
	struct bpf_map_info i = {0};
	union bpf_attr a = {.info = {.bpf_fd = (u32)d->map[w], .info_len = sizeof(i), .info = (u64)&i}};

	duo_note_long(d, w, d->s[w]->bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)));
	i.id = 0;
	duo_note(d, w, &i, sizeof(i));
}

static void freeze(struct duo *d, int w)
{
	union bpf_attr a = {.map_fd = (u32)d->map[w]};

	duo_note_long(d, w, d->s[w]->bpf(BPF_MAP_FREEZE, &a, sizeof(a)));
}

/* ---- maps and objects come and go ---- */

static u32 id_of(struct side *s, int fd)
{
	u8 bytes[256] = {0};
	union bpf_attr a = {.info = {.bpf_fd = (u32)fd, .info_len = sizeof(bytes), .info = (u64)bytes}};
	u32 id = 0;

	if (!s->bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)))
		memcpy(&id, bytes + 4, sizeof(id));
	return id;
}

static void make_objects(struct duo *d, int w)
{
	const int others[] = {d->s[w]->prog, d->s[w]->array, -1, d->s[w]->closed};

	for (u32 k = 0; k < DUO_OBJECTS; k++) {
		d->objects[w][k] = k >= 4 ? others[k - 4] : d->t->object ? d->t->object(d, w, k) : -1;
		d->ids[w][k] = d->t->held && k < 4 ? id_of(d->s[w], d->objects[w][k]) : 0;
	}
}

static void end(struct duo *d, int w)
{
	for (u32 p = 0; p < DUO_PROGS; p++)
		if (d->progs[w][p] > 0)
			d->s[w]->close(d->progs[w][p]);
	memset(d->progs[w], 0, sizeof(d->progs[w]));
	if (d->t->end)
		d->t->end(d, w);
	d->s[w]->close(d->map[w]);
}

static void begin(struct duo *d, int w, u32 flags)
{
	union bpf_attr a = {.map_type = d->t->type, .key_size = d->t->key_size, .value_size = d->t->value_size,
			    .max_entries = d->entries, .map_flags = flags};

	if (d->t->held)
		a.inner_map_fd = (u32)d->objects[w][0];
	d->map[w] = (int)d->s[w]->bpf(BPF_MAP_CREATE, &a, sizeof(a));
	duo_note_long(d, w, d->map[w] < 0 ? d->map[w] : 1);
	if (d->t->begin)
		d->t->begin(d, w);
	for (u32 p = 0; p < DUO_PROGS; p++) /* refused by both it would compare nothing */
		if (d->progs[w][p] < 0 && !flags) {
			printf("# %s: program %u of %s is refused: %d\n", d->s[w]->name, p, d->t->name, d->progs[w][p]);
			duo_note_long(d, w, w);
		}
}

static void renew(struct duo *d, bool first)
{
	static const u32 flags[] = {0, 0, 0, BPF_F_RDONLY, BPF_F_WRONLY, BPF_F_NUMA_NODE};
	const u32 f = d->t->held ? flags[duo_draw(d, ARRAY_SIZE(flags))] : 0;

	for (int w = 0; w < 2 && !first; w++)
		end(d, w);
	d->entries = d->t->entries[duo_draw(d, 3)];
	for (int w = 0; w < 2; w++)
		begin(d, w, f);
}

/* ---- what programs see of objects ---- */

static int prog_object(struct duo *d, int w, u32 k)
{
	struct bpf_insn in[] = {MOV(0, 10 + (s32)k), EXIT};

	return oracle_load(d->s[w], BPF_PROG_TYPE_RAW_TRACEPOINT, 0, in, ARRAY_SIZE(in));
}

static void prog_begin(struct duo *d, int w)
{
	DUO_LOAD(d, w, 0, MOVX(6, 1), LDDW(3, 1, 0), MAP(2, d->map[w]), MOVX(1, 6), CALL(BPF_FUNC_tail_call), MOV(0, 9), EXIT);
}

static int inner_object(struct duo *d, int w, u32 k)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 3};

	return (int)d->s[w]->bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

/* Counts in the inner map up: what was there; 7777 without an inner map, 7778 without an element. */
static void outer_begin(struct duo *d, int w)
{
	DUO_LOAD(d, w, 0, LDDW(6, 1, 0), STXDW(10, -8, 6), MOVX(2, 10), ADD(2, -8), MAP(1, d->map[w]),
		 CALL(BPF_FUNC_map_lookup_elem), JEQ(0, 0, 11), MOVX(1, 0), MOVX(2, 10), ADD(2, -8),
		 CALL(BPF_FUNC_map_lookup_elem), JEQ(0, 0, 8), LDDW(1, 0, 0), MOVX(2, 1), ADD(1, 1), STXDW(0, 0, 1),
		 MOVX(0, 2), EXIT, MOV(0, 7777), EXIT, MOV(0, 7778), EXIT);
}

/* Control groups are the same on both sides; their ids are nobody's business. */
static int cgroup_object(struct duo *d, int w, u32 k)
{
	static const char *const names[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/tmp"};

	return open(names[k], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void cgroup_begin(struct duo *d, int w)
{
	DUO_LOAD(d, w, 0, LDDW(2, 1, 0), MAP(1, d->map[w]), CALL(BPF_FUNC_current_task_under_cgroup), EXIT);
}

static void held_act(struct duo *d)
{
	const u32 key = duo_draw(d, d->entries + 2);

	for (int w = 0; w < 2; w++)
		duo_run(d, w, 0, key, 0, 0);
}

/* ---- stack traces: the kernel's program stores this thread's stack, and limpet's map is given the same ---- */

#define FRAMES 20

static void stack_begin(struct duo *d, int w)
{
	memset(d->ids[w], 0, sizeof(d->ids[w]));
	if (w)
		DUO_LOAD(d, w, 0, LDDW(3, 1, 0), MAP(2, d->map[w]), CALL(BPF_FUNC_get_stackid), EXIT);
	else
		duo_note_long(d, w, 1);
}

static __attribute__((noinline, noipa, optimize("no-omit-frame-pointer"))) long run_below(struct duo *d, u32 depth, u64 flags)
{
	volatile long r = depth ? run_below(d, depth - 1, flags) : duo_run(d, 1, 0, flags, 0, 0);

	return r;
}

/* Stores stack k on both sides. Its name on a side is learnt when it is stored first. */
static void stack_act(struct duo *d)
{
	const u32 k = duo_draw(d, 4);
	const u64 flags = BPF_F_USER_STACK | (duo_draw(d, 2) ? BPF_F_REUSE_STACKID : 0);
	u64 ips[FRAMES] = {0};
	struct map_stack stack = {.ips = ips};
	union bpf_attr a = {.map_fd = (u32)d->map[1], .value = (u64)ips};
	struct map *m;
	int err;
	u32 id;
	long r;

	d->len[1] -= d->len[1]; /* the name itself differs */
	r = run_below(d, 3 * k, flags);
	d->len[1] = 0;
	id = (u32)r;
	a.key = (u64)&id;
	if (r < 0 || d->s[1]->bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a))) {
		duo_note_long(d, 0, 0);
		duo_note_long(d, 1, r);
		return;
	}
	while (stack.count < FRAMES && ips[stack.count])
		stack.count++;
	m = loader_map_by_fd(d->map[0], NULL, &err);
	r = m ? m->ops->stackid(m, &stack, flags) : err;
	for (int w = 0; w < 2; w++) {
		const u32 name = w ? id : (u32)r, before = d->ids[w][k];

		d->ids[w][k] = name;
		duo_note_long(d, w, !before || before == name);
		duo_note_long(d, w, (long)name < (long)d->entries);
		for (u32 o = 0; o < 4; o++) /* those that met under one name would not be told apart */
			if (o != k && d->ids[w][o] == name)
				duo_note_long(d, w, 4711);
	}
}

static const struct duo_type types[] = {
	{"prog_array", BPF_MAP_TYPE_PROG_ARRAY, 4, 4, {1, 3, 5}, false, true, prog_object, prog_begin, NULL, held_act},
	{"array_of_maps", BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, {1, 3, 5}, false, true, inner_object, outer_begin, NULL, held_act},
	{"hash_of_maps", BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, {1, 3, 5}, true, true, inner_object, outer_begin, NULL, held_act},
	{"cgroup_array", BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, {1, 3, 5}, false, false, cgroup_object, cgroup_begin, NULL, held_act},
	{"stack_trace", BPF_MAP_TYPE_STACK_TRACE, 4, 8 * FRAMES, {65536, 65536, 65536}, true, false, NULL, stack_begin, NULL, stack_act},
};

static const struct duo_type *const others[] = {&duo_ringbuf, &duo_user_ringbuf, &duo_perf_event_array};

static const struct duo_type *type_named(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	for (u32 i = 0; i < ARRAY_SIZE(others); i++)
		if (!strcmp(others[i]->name, name))
			return others[i];
	abort();
}

/* One step; what was done, for the message. */
static u32 step(struct duo *d, struct call *c)
{
	const u32 what = duo_draw(d, 1000);

	c->cmd = what;
	if (what < 2) {
		for (int w = 0; w < 2; w++)
			freeze(d, w);
	} else if (what < 20) {
		for (int w = 0; w < 2; w++)
			info(d, w);
	} else if (what < 320) {
		d->t->act(d);
	} else {
		draw_call(d, c);
		for (int w = 0; w < 2; w++)
			if (d->t->own_order && c->cmd == BPF_MAP_GET_NEXT_KEY)
				walk(d, w);
			else
				make_call(d, w, c);
		return 1;
	}
	return 0;
}

static bool same(const struct duo *d)
{
	return d->len[0] == d->len[1] && !memcmp(d->out[0], d->out[1], d->len[0] < DUO_OUT ? d->len[0] : DUO_OUT);
}

static void show(const struct duo *d, const struct call *c, bool call, u32 n)
{
	long r[2];
	u32 at = 0;

	while (at < d->len[0] && at < d->len[1] && d->out[0][at] == d->out[1][at])
		at++;
	memcpy(&r[0], d->out[0], 8);
	memcpy(&r[1], d->out[1], 8);
	printf("# %s of %u entries, step %u: limpet %ld, the kernel %ld; %u and %u bytes, the first difference at %u\n", d->t->name,
	       d->entries, n, r[0], r[1], d->len[0], d->len[1], at);
	if (call)
		printf("# command %u, key %u at 0x%llx, value %u at 0x%llx, count %u, in 0x%llx, out 0x%llx, flags 0x%llx\n", c->cmd,
		       c->keys[0], (unsigned long long)c->key, c->values[0], (unsigned long long)c->value, c->count,
		       (unsigned long long)c->in, (unsigned long long)c->out, (unsigned long long)c->flags);
	else
		printf("# kind %u\n", c->cmd);
}

u32 oracle_random(struct side *ours, struct side *kernel, const char *type, u32 count)
{
	static struct duo d;
	static struct call c;
	u32 failed = 0;

	memset(&d, 0, sizeof(d));
	d.s[0] = ours;
	d.s[1] = kernel;
	d.t = type_named(type);
	d.seed = d.t->type;
	for (int w = 0; w < 2; w++)
		make_objects(&d, w);
	for (u32 n = 0; n < count && !failed; n++) {
		bool call = false;

		d.len[0] = d.len[1] = 0;
		c.cmd = 1000;
		if (n % RENEW == 0)
			renew(&d, !n);
		else
			call = step(&d, &c);
		if (!same(&d)) {
			show(&d, &c, call, n);
			failed = n + 1;
		}
	}
	for (int w = 0; w < 2; w++) {
		end(&d, w);
		for (u32 k = 0; k < 4; k++)
			if (d.objects[w][k] > 0)
				d.s[w]->close(d.objects[w][k]);
	}
	return failed;
}
