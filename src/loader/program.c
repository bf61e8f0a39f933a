/* SPDX-License-Identifier: MIT */
/* See program.h. */
#include "loader/program.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "base/sys.h"

#define LINE_MAX_BYTES 256 /* as much of a script's first line as the kernel reads */
#define SCRIPTS_MAX    5   /* interpreters that are scripts, in turn */
#define HEADERS_MAX    256
#define GO             "Go\0"

static bool read_at(int fd, void *to, size_t n, u64 at)
{
	return sys_pread(fd, to, n, (s64)at) == (long)n;
}

/* Does a segment of notes have one whose owner is Go? */
static bool has_go_note(int fd, const Elf64_Phdr *ph)
{
	char notes[1024];
	const u64 size = ph->p_filesz < sizeof(notes) ? ph->p_filesz : sizeof(notes);
	const long n = sys_pread(fd, notes, size, (s64)ph->p_offset);

	for (long at = 0; at + (long)sizeof(Elf64_Nhdr) + 4 <= n;) {
		Elf64_Nhdr h;

		memcpy(&h, notes + at, sizeof(h));
		if (h.n_namesz == sizeof(GO) && !memcmp(notes + at + sizeof(h), GO, sizeof(GO)))
			return true;
		if (h.n_namesz > sizeof(notes) || h.n_descsz > sizeof(notes))
			return false;
		at += (long)(sizeof(h) + (h.n_namesz + 3U) / 4 * 4 + (h.n_descsz + 3U) / 4 * 4);
	}
	return false;
}

static enum program_kind elf_kind(int fd, const Elf64_Ehdr *eh)
{
	enum program_kind ret = PROGRAM_STATIC;
	bool is_go = false;
	Elf64_Phdr ph;

	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_machine != EM_X86_64)
		return PROGRAM_FOREIGN;
	for (int i = 0; i < eh->e_phnum && i < HEADERS_MAX; i++) {
		if (!read_at(fd, &ph, sizeof(ph), eh->e_phoff + (u64)i * eh->e_phentsize))
			break;
		if (ph.p_type == PT_INTERP)
			ret = PROGRAM_DYNAMIC;
		is_go = is_go || (ph.p_type == PT_NOTE && has_go_note(fd, &ph));
	}
	return ret == PROGRAM_DYNAMIC && is_go ? PROGRAM_GO : ret;
}

/* The interpreter that a script's first line names, in place; NULL: it is no script. */
static const char *interpreter(char *line, long n)
{
	char *p = line + 2;

	if (n < 3 || line[0] != '#' || line[1] != '!')
		return NULL;
	line[n] = 0;
	p += strspn(p, " \t");
	p[strcspn(p, " \t\n")] = 0;
	return *p ? p : NULL;
}

static long open_program(int dir, const char *path, int flags)
{
	const int how = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat st;

	/* a device or a FIFO would notice being opened */
	if (sys_call4(SYS_newfstatat, dir, (long)path, (long)&st, flags) || !S_ISREG(st.st_mode))
		return -1;
	if (!*path && (flags & AT_EMPTY_PATH)) {
		char own[32] = "/proc/self/fd/", digits[12];
		size_t n = 0, at = strlen(own);

		for (int d = dir; d > 0 || !n; d /= 10)
			digits[n++] = (char)('0' + d % 10);
		while (n)
			own[at++] = digits[--n];
		own[at] = 0;
		return sys_openat(AT_FDCWD, own, how, 0);
	}
	return sys_openat(dir, path, how | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0), 0);
}

enum program_kind program_kind(int dir, const char *path, int flags)
{
	union {
		Elf64_Ehdr eh;
		char line[LINE_MAX_BYTES + 1];
	} head;

	for (int i = 0; i <= SCRIPTS_MAX && path; i++, dir = AT_FDCWD, flags = 0) {
		const long fd = open_program(dir, path, flags);
		enum program_kind ret = PROGRAM_UNKNOWN;
		long n;

		if (fd < 0)
			return PROGRAM_UNKNOWN;
		n = sys_pread((int)fd, &head, LINE_MAX_BYTES, 0);
		path = NULL;
		if (n >= (long)sizeof(head.eh) && !memcmp(head.eh.e_ident, ELFMAG, SELFMAG))
			ret = elf_kind((int)fd, &head.eh);
		else if (n > 0)
			path = interpreter(head.line, n);
		sys_close((int)fd);
		if (!path)
			return ret;
	}
	return PROGRAM_UNKNOWN;
}

bool program_gains_rights(int dir, const char *path, int flags)
{
	struct stat st;

	if (sys_call4(SYS_newfstatat, dir, (long)path, (long)&st, flags))
		return false;
	return (st.st_mode & S_ISUID && st.st_uid != (uid_t)sys_call0(SYS_getuid)) ||
	       (st.st_mode & S_ISGID && st.st_mode & S_IXGRP && st.st_gid != (gid_t)sys_call0(SYS_getgid));
}
