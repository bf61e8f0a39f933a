/* SPDX-License-Identifier: MIT */
/* How many CPUs are possible on this machine: user space passes so many values of a per-CPU map. */
#include "base/sys.h"
#include "maps/types.h"

#define CPUS_MASK 1024 /* bytes: 8192 CPUs */

/* A list as the kernel writes it: 0-3,8. 0 when it is none. */
static u32 count_list(const char *text, u32 len)
{
	u32 total = 0, first = 0, number = 0;
	bool range = false, digit = false;

	for (u32 i = 0; i <= len; i++) {
		char c = i < len ? text[i] : '\n';

		if (c >= '0' && c <= '9') {
			number = number * 10 + (u32)(c - '0');
			digit = true;
			continue;
		}
		if (!digit)
			return i ? total : 0;
		if (c == '-') {
			first = number;
			range = true;
		} else {
			total += range ? number - first + 1 : 1;
			range = false;
		}
		number = 0;
		digit = false;
		if (c != '-' && c != ',')
			break;
	}
	return total;
}

u32 map_possible_cpus(void)
{
	u8 mask[CPUS_MASK];
	char text[256];
	u32 count = 0;
	long n, fd = sys_openat(-100 /* AT_FDCWD */, "/sys/devices/system/cpu/possible", 02000000 /* O_CLOEXEC */, 0);

	if (fd >= 0) {
		n = sys_read((int)fd, text, sizeof(text));
		sys_close((int)fd);
		count = n > 0 ? count_list(text, (u32)n) : 0;
	}
	if (!count) { /* no sysfs: those this process may use */
		n = sys_call3(__NR_sched_getaffinity, 0, sizeof(mask), (long)mask);
		for (long i = 0; i < n; i++)
			count += (u32)__builtin_popcount(mask[i]);
	}
	return count && count <= MAP_MAX_CPUS ? count : 1;
}
