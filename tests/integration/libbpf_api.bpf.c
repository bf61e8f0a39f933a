// SPDX-License-Identifier: MIT
/* The programs of libbpf_api.c: externs of the configuration and of the kernel, weak ones, maps of maps, pins by name. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef __kconfig
#define __kconfig __attribute__((section(".kconfig")))
#endif
#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig __weak;
extern int CONFIG_HZ __kconfig __weak;
extern int CONFIG_NO_SUCH_THING __kconfig __weak;
extern const char CONFIG_DEFAULT_HOSTNAME[64] __kconfig __weak;
extern const void no_such_symbol __ksym __weak;
extern void no_such_kfunc(void) __ksym __weak;

const volatile int tune = 3;
int version, hz, none = 77, kfunc = -1;
bool configured;
char host[64];
unsigned long symbol = 1;
int hidden SEC(".data.custom") = 5;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
} hash SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, long);
} inner1 SEC(".maps"), inner2 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, int);
	__array(values, struct inner);
} outer SEC(".maps") = {.values = {[0] = &inner1, [2] = &inner2}};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} pinned SEC(".maps");

SEC("raw_tp/no_such_tracepoint")
int once(void *ctx)
{
	int key = tune, zero = 0, empty = 1;
	long one = 1;
	void *in;

	version = LINUX_KERNEL_VERSION;
	hz = CONFIG_HZ;
	none = CONFIG_NO_SUCH_THING;
	configured = CONFIG_BPF_SYSCALL;
	symbol = (unsigned long)&no_such_symbol;
	kfunc = &no_such_kfunc != 0;
	if (&no_such_kfunc)
		no_such_kfunc();
	for (int i = 0; i < 64; i++)
		host[i] = CONFIG_DEFAULT_HOSTNAME[i];
	bpf_map_update_elem(&hash, &key, &one, 0);
	bpf_map_update_elem(&pinned, &key, &one, 0);
	for (int i = 0; i < 4; i++) {
		int n = i;

		bpf_ringbuf_output(&first, &n, sizeof(n), 0);
		bpf_ringbuf_output(&second, &key, sizeof(key), 0);
	}
	in = bpf_map_lookup_elem(&outer, &zero);
	if (in)
		bpf_map_update_elem(in, &zero, &one, 0);
	if (bpf_map_lookup_elem(&outer, &empty))
		hidden++;
	hidden += 10;
	return 42;
}

SEC("uprobe//proc/self/exe:traced")
int BPF_KPROBE(entry, long n)
{
	bpf_ringbuf_output(&first, &n, sizeof(n), 0);
	return 0;
}

SEC("uretprobe//proc/self/exe:traced")
int BPF_KRETPROBE(leave, long n)
{
	bpf_ringbuf_output(&second, &n, sizeof(n), 0);
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(manual, long n)
{
	int key = 2;

	bpf_map_update_elem(&hash, &key, &n, 0);
	return 0;
}

SEC("?kprobe/no_such_function")
int off(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
