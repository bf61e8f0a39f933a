/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Zydis: every instruction of every executable section of real programs (more
 * and larger ones with LIMPET_LONG), then random bytes. Compared are length, operands
 * relative to the program counter, and the class of control flow.
 */
#include <Zydis/Zydis.h>
#include <fcntl.h>
#include <gelf.h>
#include <glob.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "attach/decode.h"
#include "../unit/check.h"

static ZydisDecoder decoder;

static int flow_of(const ZydisDecodedInstruction *z)
{
	bool relative = z->raw.imm[0].is_relative;

	switch (z->meta.category) {
	case ZYDIS_CATEGORY_COND_BR: /* Zydis has xend here, which goes on or never began */
		return relative ? X86_FLOW_JCC : X86_FLOW_NONE;
	case ZYDIS_CATEGORY_UNCOND_BR:
		return z->mnemonic == ZYDIS_MNEMONIC_XABORT ? X86_FLOW_NONE
		       : relative                           ? X86_FLOW_JMP
							    : X86_FLOW_JMP_IND;
	case ZYDIS_CATEGORY_CALL:
		return relative ? X86_FLOW_CALL : X86_FLOW_CALL_IND;
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_SYSRET:
		return X86_FLOW_RET;
	case ZYDIS_CATEGORY_INTERRUPT:
		return X86_FLOW_TRAP;
	case ZYDIS_CATEGORY_SYSCALL:
		return X86_FLOW_SYSCALL;
	default:
		break;
	}
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
		return X86_FLOW_TRAP;
	case ZYDIS_MNEMONIC_RSM:
	case ZYDIS_MNEMONIC_UIRET:
		return X86_FLOW_RET;
	default:
		return X86_FLOW_NONE;
	}
}

/* Is the memory operand relative to the program counter? */
static bool pc_relative(const ZydisDecodedInstruction *z)
{
	return z->attributes & ZYDIS_ATTRIB_HAS_MODRM && z->raw.modrm.mod == 0 &&
	       z->raw.modrm.rm == 5 && z->raw.disp.size == 32;
}

/* 0: the same; else which part differs. */
static const char *differs(const ZydisDecodedInstruction *z, const struct x86_insn *in)
{
	bool relative = z->raw.imm[0].is_relative;

	if (z->length != in->len)
		return "length";
	if (relative != (in->rel_off != 0) ||
	    (relative &&
	     (z->raw.imm[0].offset != in->rel_off || z->raw.imm[0].size != in->rel_size * 8 ||
	      z->raw.imm[0].value.s != in->rel)))
		return "branch operand";
	if (pc_relative(z) != (in->disp_off != 0) ||
	    (in->disp_off && (z->raw.disp.offset != in->disp_off || z->raw.disp.value != in->disp)))
		return "rip-relative operand";
	return flow_of(z) != in->flow ? "flow" : NULL;
}

static void show(const char *where, const u8 *p, const char *what)
{
	printf("# %s: %s:", where, what);
	for (int i = 0; i < 15; i++)
		printf(" %02x", p[i]);
	printf("\n");
}

/* Known to Zydis, refused on purpose (decode.c). */
static bool by_choice(const ZydisDecodedInstruction *z)
{
	bool branch = z->raw.imm[0].is_relative;

	return z->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW ||
	       (z->meta.isa_ext >= ZYDIS_ISA_EXT_KNC && z->meta.isa_ext <= ZYDIS_ISA_EXT_KNCV) ||
	       (branch && z->raw.imm[0].size == 32 && z->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE);
}

struct tally {
	unsigned long same, different, refused, accepted, choice;
};

/* Compares one instruction; returns where the next one begins, as Zydis sees it. */
static unsigned compare(const char *where, const u8 *p, size_t len, struct tally *t)
{
	ZydisDecodedInstruction z;
	struct x86_insn in = {0};
	bool theirs = ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, p, len, &z));
	bool ours = x86_decode(p, len, &in) > 0;
	const char *what = NULL;

	if (theirs && ours) {
		what = differs(&z, &in);
		t->same += !what;
		t->different += what != NULL;
	} else if (theirs) {
		what = by_choice(&z) ? NULL : "refused here";
		t->refused += what != NULL;
		t->choice += !what;
	} else if (ours) {
		what = "unknown to Zydis";
		t->accepted++;
	}
	if (what && where && t->different + t->refused + t->accepted <= 20)
		show(where, p, what);
	return theirs ? z.length : 1;
}

static void sections(const char *path, Elf *elf, const u8 *image, size_t size, struct tally *t)
{
	for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));) {
		GElf_Shdr sh;
		u8 tail[32] = {0};

		if (!gelf_getshdr(s, &sh) || !(sh.sh_flags & SHF_EXECINSTR) ||
		    sh.sh_type == SHT_NOBITS)
			continue;
		if (sh.sh_offset > size || sh.sh_size > size - sh.sh_offset)
			continue;
		for (size_t at = 0; at < sh.sh_size;) {
			const u8 *p = image + sh.sh_offset + at;
			size_t left = sh.sh_size - at;

			if (left < 15) {
				memcpy(tail, p, left);
				p = tail;
			}
			at += compare(path, p, left < 15 ? left : 15, t);
		}
	}
}

/* Compares a file; false when it is not there or no 64-bit ELF file. */
static bool compare_file(const char *path, struct tally *t)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	u8 *image;
	Elf *elf;
	bool good;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return false;
	}
	image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (image == MAP_FAILED)
		return false;
	elf = elf_memory((char *)image, (size_t)st.st_size);
	good = elf && gelf_getclass(elf) == ELFCLASS64;
	if (good)
		sections(path, elf, image, (size_t)st.st_size, t);
	elf_end(elf);
	munmap(image, (size_t)st.st_size);
	return good;
}

static bool is_link(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISLNK(st.st_mode);
}

static unsigned compare_files(const char *const *patterns, struct tally *t)
{
	unsigned files = 0;

	for (; *patterns; patterns++) {
		glob_t g;

		if (glob(*patterns, 0, NULL, &g))
			continue;
		for (size_t i = 0; i < g.gl_pathc; i++) {
			struct tally one = {0};

			if (is_link(g.gl_pathv[i]) && g.gl_pathc > 1)
				continue;
			if (!compare_file(g.gl_pathv[i], &one))
				continue;
			files++;
			printf("# %s: %lu instructions, %lu different, %lu refused, %lu accepted\n",
			       g.gl_pathv[i], one.same, one.different, one.refused, one.accepted);
			t->same += one.same;
			t->different += one.different;
			t->refused += one.refused;
			t->accepted += one.accepted;
		}
		globfree(&g);
	}
	return files;
}

static void init(void)
{
	elf_version(EV_CURRENT);
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

TEST(real_programs_decode_as_in_zydis)
{
	static const char *const some[] = {"/lib/x86_64-linux-gnu/libc.so.6",
					   "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
					   "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
					   "/usr/bin/python3.11",
					   "src/cli/limpet",
					   "src/agent/liblimpet-agent.so",
					   NULL};
	struct tally t = {0};

	init();
	CHECK(compare_files(some, &t) > 0);
	printf("# %lu instructions\n", t.same);
	CHECK_EQ(t.different, 0);
	CHECK_EQ(t.refused, 0);
	CHECK_EQ(t.accepted, 0);
}

TEST(many_large_programs_decode_as_in_zydis)
{
	static const char *const many[] = {"/usr/lib/gcc/x86_64-linux-gnu/*/cc1*",
					   "/usr/lib/gcc/x86_64-linux-gnu/*/lto1",
					   "/usr/lib/x86_64-linux-gnu/libLLVM*.so*",
					   "/usr/lib/x86_64-linux-gnu/libclang*.so*",
					   "/usr/lib/llvm-*/lib/lib*.so*",
					   "/usr/lib/llvm-*/bin/*",
					   "/usr/bin/*",
					   "/usr/sbin/*",
					   "/usr/lib/x86_64-linux-gnu/*.so*",
					   "/usr/local/bin/*",
					   "/usr/local/lib/*.so*",
					   NULL};
	struct tally t = {0};
	unsigned files;

	if (!getenv("LIMPET_LONG"))
		SKIP("LIMPET_LONG is not set");
	init();
	files = compare_files(many, &t);
	printf("# %u files, %lu instructions\n", files, t.same);
	CHECK(files >= 20);
	CHECK_EQ(t.different, 0);
	CHECK_EQ(t.refused, 0);
	CHECK_EQ(t.accepted, 0);
}

static u64 seed = 1;

static u64 next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Starts that random bytes seldom have: prefixes, escapes, vector encodings. */
static void random_code(u8 *p)
{
	static const u8 start[] = {0x66, 0xf2, 0xf3, 0x48, 0x4c, 0x67, 0xf0, 0x0f,
				   0xc4, 0xc5, 0x62, 0x8f, 0x64, 0x2e, 0xd8};
	u64 r = next_random();
	u32 n = 0;

	for (u32 i = 0; i < 32; i += 8) {
		u64 v = next_random();

		memcpy(p + i, &v, 8);
	}
	while (r & 1 && n < 4) {
		p[n++] = start[(r >> 1) % sizeof(start)];
		r >>= 5;
	}
	if (n && p[n - 1] == 0x0f && r & 2)
		p[n] = r & 4 ? 0x38 : 0x3a;
	if (n && (p[n - 1] == 0xc4 || p[n - 1] == 0x8f))
		p[n] = (u8)((p[n] & 0xe0) | (p[n - 1] == 0xc4 ? 1 + r % 3 : 8 + r % 3));
	if (n && p[n - 1] == 0x62) {
		p[n] = (u8)((p[n] & 0xf0) | (1 + r % 6));
		p[n + 1] |= 4;
	}
}

/* What limpet knows Zydis must know; the other way round a few may be missing. */
TEST(random_bytes_decode_as_in_zydis)
{
	long rounds = getenv("LIMPET_LONG") ? 300000000 : 6000000;
	struct tally t = {0};
	u8 code[32];

	init();
	for (long i = 0; i < rounds; i++) {
		random_code(code);
		compare("random", code, 15, &t);
	}
	printf("# %lu the same, %lu refused here, and %lu on purpose\n", t.same, t.refused,
	       t.choice);
	CHECK_EQ(t.different, 0);
	CHECK_EQ(t.accepted, 0);
	CHECK(t.same > (unsigned long)rounds / 8);
	CHECK(t.refused < t.same / 50);
}

TEST_MAIN()
