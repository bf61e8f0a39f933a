/* SPDX-License-Identifier: MIT */
/*
 * One C source, compiled twice: by clang for BPF (a socket filter, so that the kernel can run it by
 * BPF_PROG_TEST_RUN) and by gcc -O2 for this machine (a function called through a pointer). Data
 * are global arrays, in BPF the .bss map. Indexes the kernel's verifier cannot follow are masked,
 * in both. Loops are written so that neither compiler vectorises them or calls memcpy: eBPF has no
 * counterpart, and the question is what the engine costs.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef __bpf__
#define PROGRAM(name)                                                                              \
	char license_##name[] __attribute__((section("license"), used)) = "GPL";                   \
	__attribute__((section("socket"), used)) int name(void *ctx)
#else
#define PROGRAM(name)                                                                              \
	int name(void *ctx);                                                                       \
	int name(void *ctx)
#endif
#define INLINE static inline __attribute__((always_inline))
