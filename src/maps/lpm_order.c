/* SPDX-License-Identifier: MIT */
/*
 * The entries of an LPM_TRIE in the order of its iteration, for who asks for next keys from user space: a list in
 * private memory. It has every prefix that the map has as long as nobody has inserted one since; what has been
 * deleted is found out when it is met. So only inserts make it old, and they are counted before they happen:
 *
 *   insert:  read a link's word          count it in `inserts`          CAS the link
 *   list:    read `inserts`              of each link: note what it leads to, CAS it to its next version
 *
 * An insert that has read a link before the list came by fails there, and is counted again; one that reads it
 * afterwards is counted after `inserts` was read. So what is not in the list, and is inserted, is counted, wherever
 * its process dies or stops meanwhile. Making a list costs as much as some looks at all entries. Where the last one
 * was of no use, the next is made when a next key is asked for the second time without an insert in between.
 *
 *     entry:  | the key's first 8 bytes | length | element, its tag | the key's further bytes |
 *
 * With ones for the bits behind the length the order is that of the bytes, and of what has the same bytes the
 * longer comes first.
 */
#include <linux/mman.h>
#include "base/sys.h"
#include "maps/lpm.h"

#define HEAD 8u
#define USES 2 /* of a list, that pay for it */

struct entry {
	u64 head; /* as a number: the first byte is the highest */
	u32 length;
	u32 index; /* POOL_NONE: deleted */
	u32 tag;   /* an element with this tag that is not withdrawn has this entry */
	u8 rest[];
};

static u32 rest_size(const struct map *m)
{
	return lpm_data_size(m) > HEAD ? lpm_data_size(m) - HEAD : 0;
}

static u32 entry_size(const struct map *m)
{
	return ALIGN_UP((u32)offsetof(struct entry, rest) + rest_size(m), 8u);
}

static ALWAYS_INLINE struct entry *entry_at(const struct lpm_order *o, u64 n)
{
	return (struct entry *)(o->entries + n * o->entry_size);
}

static void set_key(const struct map *m, struct entry *e, const struct lpm_key *k)
{
	const u32 whole = k->length / 8, size = lpm_data_size(m);
	u8 data[LPM_DATA_MAX];
	u64 head = 0;

	memcpy(data, k->data, size);
	if (whole < size) {
		data[whole] |= (u8)(0xff >> k->length % 8);
		memset(data + whole + 1, 0xff, size - whole - 1);
	}
	memcpy(&head, data, size < HEAD ? size : HEAD);
	e->head = __builtin_bswap64(head);
	e->length = k->length;
	memcpy(e->rest, data + HEAD, rest_size(m));
}

/* The key of an entry, as the table has it. */
static void get_key(const struct map *m, const struct entry *e, struct lpm_key *ret)
{
	u64 head = __builtin_bswap64(e->head);
	u8 data[LPM_DATA_MAX];

	memcpy(data, &head, HEAD);
	memcpy(data + HEAD, e->rest, rest_size(m));
	lpm_make_key(m, ret, data, e->length);
}

static ALWAYS_INLINE int compare(const struct entry *a, const struct entry *b, u32 rest)
{
	int differ = (a->head > b->head) - (a->head < b->head);

	if (likely(differ))
		return differ;
	differ = rest ? memcmp(a->rest, b->rest, rest) : 0;
	return differ ? differ : a->length < b->length ? 1 : -(a->length > b->length);
}

/* All processes'. As long as it stays the same nobody has inserted an entry. */
static u64 inserts(const struct map *m)
{
	u64 n = 0;

	for (u32 i = 0; i < HASH_STRIPES; i++)
		n += atomic_load_explicit(&hash_area(m)->stripe[i].inserts, memory_order_acquire);
	return n;
}

/* ---- making it ---- */

static bool note(const struct map *m, const struct hash_pos *pos, u8 **to, const u8 *end)
{
	struct entry *e = (struct entry *)*to;
	struct lpm_key k;

	map_copy_seen(&k, hash_entry(pos->elem)->key, m->def.key_size);
	if (k.length > lpm_data_size(m) * 8 || hash_is_astray(m, hash_entry(pos->elem)))
		return true;
	if (*to == end)
		return false;
	e->index = pos->index;
	e->tag = pos->tag;
	set_key(m, e, &k);
	*to += m->order->entry_size;
	return true;
}

/* The CAS tells that nothing has changed since the link was read. */
static bool touch(const struct hash_pos *pos)
{
	u64 seen = pos->seen;

	return atomic_compare_exchange_strong_explicit(pos->prev, &seen, hash_link(seen, LINK_INDEX(seen)),
						       memory_order_acq_rel, memory_order_relaxed);
}

/* False: there is no end of it. */
static bool note_bucket(struct map *m, const struct pool *pool, u32 bucket, u8 **to, const u8 *end, u64 *steps)
{
	u8 *const start = *to;
	struct hash_pos pos;
	enum step s;
	u64 at;

	hash_start(m, &pos, bucket, &at);
	while ((*steps)--) {
		s = hash_step(m, pool, &pos, &at, true);
		if (s == STEP_PASSED)
			continue;
		if (s == STEP_LIVE && !note(m, &pos, to, end))
			return false;
		if (s == STEP_RESTART || !touch(&pos)) {
			*to = start;
			hash_start(m, &pos, bucket, &at);
			continue;
		}
		if (s == STEP_END)
			return true;
		pos.prev = &hash_entry(pos.elem)->chain;
		at = pos.seen = pos.chain;
	}
	*steps = 0;
	return false;
}

/* Merges [a, middle) and [middle, last) of `from` into `to`; which comes next is no branch, nobody could foretell it. */
static void merge(u8 *to, const u8 *from, u64 a, u64 middle, u64 last, u32 size, u32 rest)
{
	u64 b = middle;

	for (u64 at = a; at < last; at += size) {
		const bool right = a == middle ||
				   (b < last && compare((const struct entry *)(from + b),
							(const struct entry *)(from + a), rest) < 0);
		const u64 *next = (const u64 *)(from + (right ? b : a));

		for (u32 i = 0; i < size / sizeof(u64); i++)
			((u64 *)(to + at))[i] = next[i];
		b += right ? size : 0;
		a += right ? 0 : size;
	}
}

static u64 least(u64 a, u64 b)
{
	return a < b ? a : b;
}

/* Runs of 1, 2, 4, ... from one half of the memory into the other. */
static void sort(struct lpm_order *o, u8 *from, u8 *to, u32 rest)
{
	const u64 size = o->entry_size, end = o->count * size;

	for (u64 run = size; run < end; run *= 2) {
		u8 *const was = from;

		for (u64 at = 0; at < end; at += 2 * run)
			merge(to, from, at, least(at + run, end), least(at + 2 * run, end), o->entry_size, rest);
		from = to;
		to = was;
	}
	o->entries = from;
}

static bool find_room(struct lpm_order *o, u64 size)
{
	long p;

	if (size <= o->room)
		return true;
	p = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sys_is_err(p))
		return false;
	if (o->memory)
		sys_munmap(o->memory, o->room);
	o->memory = (u8 *)p;
	o->room = size;
	return true;
}

static bool make(struct map *m, u64 counted)
{
	const u64 fresh = atomic_load_explicit(&hash_area(m)->fresh, memory_order_acquire),
		  size = entry_size(m), half = (fresh < m->elem_count ? fresh : m->elem_count) * size;
	u64 steps = 4ULL * m->elem_count + HASH_STEPS;
	struct lpm_order *o = m->order;
	struct pool pool = map_pool(m);
	u8 *to;

	o->made = false;
	o->uses = 0;
	o->entry_size = (u32)size;
	if (!find_room(o, 2 * half))
		return false;
	to = o->memory;
	for (u64 b = hash_next_bucket(m, 0); b <= m->mask; b = hash_next_bucket(m, b + 1))
		if (!hash_ready(m, (u32)b) || !note_bucket(m, &pool, (u32)b, &to, o->memory + half, &steps))
			return false;
	o->count = (u32)((u64)(to - o->memory) / size);
	sort(o, o->memory, o->memory + half, rest_size(m));
	o->first = o->at = 0;
	o->inserts = counted;
	return o->made = true;
}

/* ---- asking it ---- */

/* 0: the entry is there; *ret_key, unless NULL, is its key as it was given. -ENOENT: it is gone. -EBUSY. */
static int living(struct map *m, const struct pool *pool, struct entry *e, void *ret_key)
{
	u32 steps = HASH_STEPS;
	struct hash_pos pos;
	struct lpm_key k;
	int err;

	while (e->index != POOL_NONE) {
		struct pool_elem *elem = pool_elem(pool, e->index);

		if (likely(elem && !(atomic_load_explicit(&hash_entry(elem)->chain, memory_order_acquire) & LINK_MARK))) {
			if (ret_key)
				map_copy_seen((u8 *)ret_key + sizeof(u32), lpm_data(m, elem), lpm_data_size(m));
			atomic_thread_fence(memory_order_acquire);
			if (likely(pool_tag(elem) == e->tag)) {
				if (ret_key)
					memcpy(ret_key, &e->length, sizeof(u32));
				return 0;
			}
		}
		/* updated, which takes another element, or deleted */
		get_key(m, e, &k);
		err = hash_seek(m, pool, hash_of(m, &k), &k, &pos, &steps, false);
		if (err == -EBUSY)
			return err;
		e->index = err ? POOL_NONE : pos.index;
		e->tag = err ? 0 : pos.tag;
	}
	return -ENOENT;
}

/* The entry with this key, or count. */
static u32 find(const struct map *m, const struct entry *key)
{
	const struct lpm_order *o = m->order;
	const u32 rest = rest_size(m);
	u32 low = 0, high = o->count;

	if (o->at < o->count && !compare(entry_at(o, o->at), key, rest))
		return o->at;
	while (low < high) {
		u32 middle = low + (high - low) / 2;
		int c = compare(entry_at(o, middle), key, rest);

		if (!c)
			return middle;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return o->count;
}

static int behind(struct map *m, const void *key, void *ret_key)
{
	_Alignas(struct entry) u8 memory[sizeof(struct entry) + LPM_DATA_MAX];
	struct entry *wanted = (struct entry *)memory;
	struct lpm_order *o = m->order;
	struct pool pool = map_pool(m);
	u32 at = o->first;
	struct lpm_key k;
	int err = -ENOENT;

	if (key && lpm_take_key(m, key, &k)) {
		u32 found;

		set_key(m, wanted, &k);
		found = find(m, wanted);
		if (found < o->count)
			err = living(m, &pool, entry_at(o, found), NULL);
		if (err == -EBUSY)
			return err;
		at = err ? at : found + 1;
	}
	for (; at < o->count; at++) {
		err = living(m, &pool, entry_at(o, at), ret_key);
		if (err != -ENOENT) {
			o->at = at;
			return err;
		}
		o->first += o->first == at;
	}
	return -ENOENT;
}

static int next(struct map *m, const void *key, void *ret_key)
{
	struct lpm_order *o = m->order;
	int err = -EBUSY;
	u64 counted;

	if (!m->writable || atomic_exchange_explicit(&o->busy, 1, memory_order_acquire))
		return -EBUSY;
	counted = inserts(m);
	if ((o->made && o->inserts == counted) || ((o->uses >= USES || o->before == counted) && make(m, counted)))
		err = behind(m, key, ret_key);
	o->uses += o->uses < USES;
	o->before = counted;
	atomic_store_explicit(&o->busy, 0, memory_order_release);
	return err;
}

void map_order_make(struct map *m)
{
	long p = m->def.type == BPF_MAP_TYPE_LPM_TRIE ?
			 sys_mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : -1;

	if (sys_is_err(p))
		return;
	m->order = (struct lpm_order *)p;
	m->order->next = next;
	m->order->uses = USES;
}

void map_order_forget(struct map *m)
{
	if (m->order && m->order->memory)
		sys_call3(__NR_madvise, (long)m->order->memory, (long)m->order->room, MADV_DONTNEED);
}

void map_order_free(struct map *m)
{
	if (!m->order)
		return;
	if (m->order->memory)
		sys_munmap(m->order->memory, m->order->room);
	sys_munmap(m->order, PAGE_SIZE);
	m->order = NULL;
}
