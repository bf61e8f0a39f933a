/* SPDX-License-Identifier: MIT */
/*
 * syscall_ctx OBJECT: the tool that shows what the programs of syscall_ctx.bpf.o saw, a line each, once its input
 * ends. syscall_ctx: the target, which makes the calls they look for, by syscall() and inline.
 */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct event {
	unsigned long long what, words[10];
};

static int show(void *ctx, void *data, size_t size)
{
	const struct event *e = data;

	printf("%llu:", e->what);
	for (int i = 0; i < 10; i++)
		printf(" %llx", e->words[i]);
	puts("");
	return 0;
}

static int tool(const char *path)
{
	struct bpf_object *o = bpf_object__open(path);
	struct ring_buffer *ring;
	struct bpf_program *p;

	if (!o || bpf_object__load(o))
		return 1;
	bpf_object__for_each_program(p, o)
		if (!bpf_program__attach(p))
			return 1;
	ring = ring_buffer__new(bpf_map__fd(bpf_object__find_map_by_name(o, "events")), show, NULL, NULL);
	if (!ring)
		return 1;
	puts("attached");
	fflush(stdout);
	while (getchar() != EOF)
		;
	ring_buffer__poll(ring, 500);
	return 0;
}

static long call(long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("mov %[nr], %%eax\n\tsyscall\n\tcmp $-4095, %%rax"
			 : "=a"(ret)
			 : [nr] "i"(SYS_process_vm_readv), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return tool(argv[1]);
	call(0x7fffff01, 0x1111, 3, 0x2222, 5, 6);
	call(-1, 0x1111, 0, -1, 1L << 40, 0);
	syscall(SYS_process_vm_readv, 0x7fffff02L, 0x1111L, 0L, 0x1234567890abcdefL, 0L, 0L);
	return 0;
}
