/* SPDX-License-Identifier: MIT */
/*
 * Reading (and writing) the process's memory at addresses that may be anything.
 *
 * What is known to be there is copied as it is: the run's own stack, its context, its maps' values,
 * and the target's stack from the context up to the end of the page that the trampoline has just
 * written below. (A thread whose stack goes away meanwhile is lost anyhow.) Everything else is loaded
 * where a fault is sure to be caught (load.c), else goes by process_vm_readv on oneself: it never
 * faults, needs no signal handler, and stops at the first page that is not there.
 */
#include <asm/ptrace.h>
#include "helpers/internal.h"
#include "base/mem.h"
#include "base/sys.h"

#define PIECE 256 /* bytes of a string fetched at a time */
#define ROOM  (32 * 1024UL) /* for a signal frame, with vector and matrix registers 12 KiB, and a handler */

struct io_vec {
	u64 base, len;
};

/* As many bytes as the kernel can copy; `call` is process_vm_readv or process_vm_writev. */
static u64 by_kernel(const struct helper_env *env, long call, void *here, u64 there, u64 size)
{
	struct io_vec local = {(u64)here, size}, remote = {there, size};
	long n;

	if (!helper_may(env, call == __NR_process_vm_readv ? HELPER_CALL_READ : HELPER_CALL_WRITE))
		return 0;
	n = sys_call6(call, (long)(help_identity(env) >> 32), (long)&local, 1, (long)&remote, 1, 0);

	return n > 0 ? (u64)n : 0;
}

static ALWAYS_INLINE u64 end_of_stack(const struct helper_env *env, u64 frame, u64 *ret_low)
{
	return env->stacks ? stack_end(env->stacks, frame, ret_low) : 0;
}

bool help_stack_room(const struct helper_env *env, u64 frame)
{
	u64 low;

	return end_of_stack(env, frame, &low) && frame >= low && frame - low >= ROOM;
}

bool help_known_stack(const struct vm_run *run, u64 *ret_start, u64 *ret_end)
{
	const struct helper_hit *hit = help_hit(run);
	const struct pt_regs *regs;
	u64 low;

	if (!hit)
		return false;
	regs = hit->regs;
	*ret_start = (u64)regs;
	*ret_end = end_of_stack(run->env, (u64)regs, &low);
	if (!*ret_end)
		*ret_end = (((u64)(regs + 1) - 1) | (PAGE_SIZE - 1)) + 1;
	return true;
}

u64 help_own_bytes(const struct vm_run *run, u64 addr, u64 size)
{
	if (!run->prog || !vm_may_access(run, addr, 1, false))
		return 0;
	while (size > 1 && !vm_may_access(run, addr, size, false))
		size /= 2;
	return size;
}

/* Bytes from addr on, at most size, that can be read without asking anybody. */
static u64 known_bytes(const struct vm_run *run, u64 addr, u64 size)
{
	u64 start, end;

	if (help_known_stack(run, &start, &end) && addr >= start && addr < end)
		return end - addr < size ? end - addr : size;
	return help_own_bytes(run, addr, size);
}

/* Has this run asked already whether it may load? What is known to be there costs it no question. */
static ALWAYS_INLINE bool asked(const struct vm_run *run)
{
	const struct helper_env *env = run->env;

	return env->catcher && run->hit && ((const struct helper_hit *)run->hit)->loads;
}

int help_copy(const struct vm_run *run, void *dst, u64 src, u64 size)
{
	if (!size)
		return 0;
	if (likely(asked(run)) && likely(help_may_load(run, src, size)))
		return (int)help_load(dst, (const void *)src, size);
	if (known_bytes(run, src, size) == size) {
		memcpy(dst, (const void *)src, size);
		return 0;
	}
	if (help_may_load(run, src, size))
		return (int)help_load(dst, (const void *)src, size);
	return by_kernel(run->env, __NR_process_vm_readv, dst, src, size) == size ? 0
										  : -EFAULT;
}

/*
 * Copies a piece of a string up to its NUL; *ret_end: there was one. Bytes copied, 0: not readable.
 */
static u64 copy_piece(const struct vm_run *run, char *dst, u64 src, u64 room, bool *ret_end)
{
	u64 n = known_bytes(run, src, room), page = PAGE_SIZE - (src & (PAGE_SIZE - 1));
	char piece[PIECE]; /* nothing behind the NUL may reach dst */

	*ret_end = false;
	if (!n) {
		n = room < page ? room : page;
		n = by_kernel(run->env, __NR_process_vm_readv, piece, src, n < PIECE ? n : PIECE);
		src = (u64)piece;
	}
	for (u64 i = 0; i < n; i++) {
		char c = ((const volatile char *)src)[i];

		dst[i] = c;
		if (!c) {
			*ret_end = true;
			return i + 1;
		}
	}
	return n;
}

/* The kernel copies by words and clears what is left of the last, where it could read all of it. */
static void clear_word(const struct vm_run *run, char *dst, u64 src, u64 len, u64 size)
{
	u64 whole = ALIGN_UP(len, 8UL), last = src + whole - 1;
	char c;

	if (whole > size ||
	    (last / PAGE_SIZE != (src + len - 1) / PAGE_SIZE && help_copy(run, &c, last, 1)))
		return;
	memset(dst + len, 0, whole - len);
}

long help_copy_str(const struct vm_run *run, char *dst, u64 src, u64 size)
{
	u64 done = 0;
	bool end;

	if (size && help_may_load(run, src, size)) {
		long n = help_load_str(dst, (const char *)src, size);

		if (n < 0)
			return n;
		if (dst[n - 1])
			dst[n - 1] = 0;
		else
			clear_word(run, dst, src, (u64)n, size);
		return n;
	}
	while (done < size) {
		u64 n = copy_piece(run, dst + done, src + done, size - done, &end);

		if (!n)
			return -EFAULT;
		done += n;
		if (end) {
			clear_word(run, dst, src, done, size);
			return (long)done;
		}
	}
	if (size)
		dst[size - 1] = 0;
	return (long)size;
}

long help_const_str(const struct vm_run *run, u64 addr)
{
	const char *s = (const char *)addr;
	u64 len = 0;

	for (u64 n; (n = known_bytes(run, addr + len, 64)) != 0;)
		for (; n; n--, len++)
			if (!s[len])
				return (long)len;
	return -EFAULT;
}

u64 help_probe_read(u64 dst, u64 size, u64 src, u64 r4, u64 r5, struct vm_run *run)
{
	int err = help_copy(run, (void *)dst, src, size);

	if (err)
		memset((void *)dst, 0, size); /* as the kernel does */
	return (u64)(s64)err;
}

u64 help_probe_read_str(u64 dst, u64 size, u64 src, u64 r4, u64 r5, struct vm_run *run)
{
	long n = help_copy_str(run, (char *)dst, src, size);

	if (n < 0)
		memset((void *)dst, 0, size);
	return (u64)n;
}

u64 help_probe_write_user(u64 dst, u64 src, u64 size, u64 r4, u64 r5, struct vm_run *run)
{
	if (size && help_may_load(run, dst, size))
		return (u64)help_load((void *)dst, (const void *)src, size);
	return by_kernel(run->env, __NR_process_vm_writev, (void *)src, dst, size) == size
		       ? 0
		       : (u64)-EFAULT;
}
