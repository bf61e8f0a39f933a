/* SPDX-License-Identifier: MIT */
/*
 * Where a keeper has mapped the agent ld.so does not know of it, and unwinders, which ask libc what code
 * lies at an address, would find nothing at return stubs. So while there are stubs two functions of libc
 * are patched (like any probed function, for all of it):
 *
 *     _dl_find_object(pc, result)      glibc from 2.35, asked by libgcc: answered for pc in the pool
 *     dl_iterate_phdr(callback, data)  others: the callback is called with the agent's image, too, when
 *                                      data, which must be on the caller's stack, names a pc in the pool
 *
 * Nobody else sees a difference. (__register_frame would call malloc, and is not there in every program.)
 */
#include <linux/elf.h>
#include "agent/state.h"
#include "attach/stub.h"
#include "base/mem.h"

#define OBJECTS    4    /* copies of libc (dlmopen) */
#define DATA_WORDS 4    /* of the callback's data that may be the program counter */
#define NEAR       4096 /* of the stack, above the call */

extern const Elf64_Ehdr image_header __asm__("__ehdr_start") HIDDEN;

/* glibc's struct dl_find_object on x86-64 */
struct found_object {
	u64 flags, map_start, map_end, link_map, eh_frame;
	u64 reserved[7];
};

/* struct dl_phdr_info up to dlpi_phnum: callers that keep a cache by what follows go without */
struct phdr_info {
	u64 addr;
	const char *name;
	const Elf64_Phdr *phdr;
	u16 phnum;
	u8 pad[6];
};

static u64 image_base(void)
{
	return limpet_agent.header.text_start;
}

static const Elf64_Phdr *image_phdrs(void)
{
	return (const Elf64_Phdr *)(image_base() + image_header.e_phoff);
}

static u64 image_unwind(void)
{
	for (u32 i = 0; i < image_header.e_phnum; i++)
		if (image_phdrs()[i].p_type == PT_GNU_EH_FRAME)
			return image_base() + image_phdrs()[i].p_vaddr;
	return 0;
}

static u64 find_object(void *arg, struct attach_regs *r)
{
	struct found_object *ret = (struct found_object *)r->rsi;

	if (!stubs_cover(r->rdi))
		return 0;
	*ret = (struct found_object){.map_start = image_base(),
				     .map_end = limpet_agent.header.image_end,
				     .eh_frame = image_unwind()};
	r->rax = 0;
	return (u64)stub_return;
}

static u64 iterate(void *arg, struct attach_regs *r)
{
	int (*callback)(struct phdr_info *, size_t, void *) = (void *)r->rdi;
	const u64 *data = (const u64 *)r->rsi;
	struct phdr_info info;
	bool asked = false;

	if (r->rsi <= r->rsp || r->rsi - r->rsp > NEAR || r->rsi % 8)
		return 0;
	for (u32 i = 0; i < DATA_WORDS; i++)
		asked |= stubs_cover(data[i]);
	if (!asked)
		return 0;
	info = (struct phdr_info){.addr = image_base(),
				  .name = "",
				  .phdr = image_phdrs(),
				  .phnum = image_header.e_phnum};
	r->rax = (u64)(s64)callback(&info, sizeof(info), (void *)r->rsi);
	return r->rax ? (u64)stub_return : 0;
}

static const struct {
	const char *name;
	attach_steer *fn;
} functions[] = {{"_dl_find_object", find_object}, {"dl_iterate_phdr", iterate}};

bool unwinders_own(attach_steer *fn)
{
	return fn == find_object || fn == iterate;
}

/* Lists the wants of the agent itself. False: no memory. */
bool unwinders_want(void)
{
	u64 at[OBJECTS];

	for (u32 i = 0; i < ARRAY_SIZE(functions); i++) {
		u32 n = libc_find_symbol(functions[i].name, at, OBJECTS);

		for (u32 k = 0; k < n; k++) {
			struct want *w = vec_push(&agent.wants, sizeof(*w));

			if (!w)
				return false;
			w->addr = at[k];
			w->own = functions[i].fn;
		}
	}
	return true;
}
