/* SPDX-License-Identifier: MIT */
/* The kernel's side of bench/maps: each program performs one operation 100 times. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define LOOP for (int i = 0; i < 100; i++)

typedef unsigned int u32;
typedef unsigned long long u64;

struct item {
	u64 word[6];
};

#define MAP(name_, type_, key_, value_, entries_) \
	struct {                                  \
		__uint(type, type_);              \
		__uint(max_entries, entries_);    \
		__type(key, key_);                \
		__type(value, value_);            \
	} name_ SEC(".maps")

MAP(array, BPF_MAP_TYPE_ARRAY, u32, u64, 16);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64, 16);
MAP(hash, BPF_MAP_TYPE_HASH, u32, u64, 1024);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, u32, u64, 1024);
MAP(lru, BPF_MAP_TYPE_LRU_HASH, u32, u64, 1024);

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 128);
	__type(value, struct item);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 128);
	__type(value, struct item);
} stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring SEC(".maps");

#define PROG(name_, body)                        \
	SEC("socket") int name_(void *ctx)       \
	{                                        \
		struct item it = {{1}};          \
		u64 v = 1, *p;                   \
		LOOP                             \
		{                                \
			u32 key = 512 + (i & 7); \
			body;                    \
		}                                \
		return (int)(v + it.word[0]);    \
	}

PROG(empty, asm volatile("" : : "r"(&key), "r"(&v), "r"(&it), "r"(&p)))
PROG(array_add, { key &= 7; p = bpf_map_lookup_elem(&array, &key); if (p) *p += 1; })
PROG(array_atomic, { key &= 7; p = bpf_map_lookup_elem(&array, &key); if (p) __sync_fetch_and_add(p, 1); })
PROG(percpu_array_add, { key &= 7; p = bpf_map_lookup_elem(&percpu_array, &key); if (p) *p += 1; })
PROG(hash_lookup, { p = bpf_map_lookup_elem(&hash, &key); if (p) v += *p; })
PROG(hash_update, bpf_map_update_elem(&hash, &key, &v, BPF_ANY))
PROG(hash_insert_delete, { key += 10000; bpf_map_update_elem(&hash, &key, &v, BPF_ANY); bpf_map_delete_elem(&hash, &key); })
PROG(hash_update_own, { key += 8 * bpf_get_smp_processor_id(); bpf_map_update_elem(&hash, &key, &v, BPF_ANY); })
PROG(hash_insert_own, { key += 10000 + 8 * bpf_get_smp_processor_id(); bpf_map_update_elem(&hash, &key, &v, BPF_ANY); bpf_map_delete_elem(&hash, &key); })
PROG(lru_own, { key += 8 * bpf_get_smp_processor_id(); bpf_map_update_elem(&lru, &key, &v, BPF_ANY); })
PROG(percpu_hash_add, { p = bpf_map_lookup_elem(&percpu_hash, &key); if (p) *p += 1; })
PROG(lru_update, bpf_map_update_elem(&lru, &key, &v, BPF_ANY))
PROG(queue_overwrite, bpf_map_push_elem(&queue, &it, BPF_EXIST))
PROG(queue_push, bpf_map_push_elem(&queue, &it, 0))
PROG(queue_push_pop, { bpf_map_push_elem(&queue, &it, BPF_ANY); bpf_map_pop_elem(&queue, &it); })
PROG(stack_push_pop, { bpf_map_push_elem(&stack, &it, BPF_ANY); bpf_map_pop_elem(&stack, &it); })
PROG(ring_reserve_submit, {
	struct item *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (r) {
		*r = it;
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	}
})
PROG(ring_output, bpf_ringbuf_output(&ring, &it, sizeof(it), BPF_RB_NO_WAKEUP))

char LICENSE[] SEC("license") = "GPL";
