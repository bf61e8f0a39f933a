/* SPDX-License-Identifier: MIT */
/* What the processor has. CPUID is asked once: under a hypervisor it costs microseconds. */
#include <stdatomic.h>
#include "vm/x86_64/jit.h"

#define KNOWN BIT(0)
#define BMI2  BIT(1)
#define RDPID BIT(2)

static void cpuid(u32 leaf, u32 *ret_a, u32 *ret_b, u32 *ret_c)
{
	u32 d;

	__asm__ volatile("cpuid"
			 : "=a"(*ret_a), "=b"(*ret_b), "=c"(*ret_c), "=d"(d)
			 : "a"(leaf), "c"(0));
}

static u32 features(void)
{
	static _Atomic u32 cache;
	u32 found = atomic_load_explicit(&cache, memory_order_relaxed), a, b, c;

	if (found)
		return found;
	found = KNOWN;
	cpuid(0, &a, &b, &c);
	if (a >= 7) {
		cpuid(7, &a, &b, &c);
		found |= (b & BIT(8) ? BMI2 : 0) | (c & BIT(22) ? RDPID : 0);
	}
	atomic_store_explicit(&cache, found, memory_order_relaxed);
	return found;
}

bool cpu_has_bmi2(void)
{
	return features() & BMI2;
}

bool cpu_has_rdpid(void)
{
	return features() & RDPID;
}
