/* SPDX-License-Identifier: MIT */
/* What /proc says about a process, and whether it can be a target at all. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>
#include "keeper/internal.h"

#define PF_KTHREAD 0x00200000 /* in stat's flags */
#define LIVE_TRIES                                                                                 \
	100 /* further looks for a living thread, where those that are met are just ending */

int keeper_fail(struct keeper_error *e, enum keeper_reason reason, int error, const char *fmt, ...)
{
	va_list ap;

	e->reason = reason;
	e->error = error;
	va_start(ap, fmt);
	vsnprintf(e->detail, sizeof(e->detail), fmt, ap);
	va_end(ap);
	return error ? error : -EINVAL;
}

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

u64 proc_aux(pid_t tid, u64 type)
{
	FILE *f = open_proc(tid, "auxv");
	u64 aux[2], value = 0;

	while (f && !value && fread(aux, sizeof(aux), 1, f) == 1 && aux[0] != AT_NULL)
		if (aux[0] == type)
			value = aux[1];
	if (f)
		fclose(f);
	return value;
}

bool proc_environ(pid_t tid, const char *begins, const char *has)
{
	FILE *f = open_proc(tid, "environ");
	char *entry = NULL;
	size_t cap = 0;
	bool found = false;

	while (f && !found && getdelim(&entry, &cap, 0, f) > 0)
		found = !strncmp(entry, begins, strlen(begins)) && strstr(entry, has);
	free(entry);
	if (f)
		fclose(f);
	return found;
}

int proc_read_maps(pid_t tid, struct regions *ret)
{
	FILE *f = open_proc(tid, "maps");
	char *line = NULL;
	size_t cap = 0;

	if (!f)
		return -errno;
	ret->count = 0;
	while (getline(&line, &cap, f) > 0) {
		unsigned long long start, end, off, ino;
		unsigned int major, minor;
		char perm[8];

		if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu", &start, &end, perm, &off, &major,
			   &minor, &ino) != 7)
			continue;
		if (ret->count == ret->cap) {
			size_t n = ret->cap ? ret->cap * 2 : 128;
			struct region *all = realloc(ret->all, n * sizeof(*all));

			if (!all)
				break;
			ret->all = all;
			ret->cap = n;
		}
		ret->all[ret->count++] = (struct region){.start = start,
							 .end = end,
							 .file_off = off,
							 .ino = ino,
							 .dev_major = major,
							 .dev_minor = minor,
							 .read = perm[0] == 'r',
							 .write = perm[1] == 'w',
							 .exec = perm[2] == 'x',
							 .private = perm[3] == 'p',
							 .vdso = strstr(line, "[vdso]") != NULL,
							 .stack = strstr(line, "[stack]") != NULL};
	}
	free(line);
	fclose(f);
	return ret->count ? 0 : -ESRCH;
}

const struct region *region_at(const struct regions *r, u64 addr)
{
	for (size_t i = 0; i < r->count; i++)
		if (addr >= r->all[i].start && addr < r->all[i].end)
			return &r->all[i];
	return NULL;
}

/* Text after the last ')' of a stat line: "S 1 ..." */
static bool stat_tail(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
	char *p;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	p = strrchr(buf, ')');
	if (!p)
		return false;
	memmove(buf, p + 2, strlen(p + 2) + 1);
	return true;
}

/* State letter of a thread, 0 when it is gone. */
char proc_state(pid_t pid, pid_t tid)
{
	char path[64], buf[1024];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	return stat_tail(path, buf, sizeof(buf)) ? buf[0] : 0;
}

/* Field `n` (from 3) of a stat line's tail. */
static u64 stat_field(const char *p, int n)
{
	for (int field = 3; field < n && p; field++)
		p = (p = strchr(p, ' ')) ? p + 1 : NULL;
	return p ? strtoull(p, NULL, 10) : 0;
}

bool proc_read_key(pid_t pid, struct proc_key *ret)
{
	char path[64], buf[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (!stat_tail(path, buf, sizeof(buf)) || buf[0] == 'X')
		return false;
	*ret = (struct proc_key){stat_field(buf, 22), stat_field(buf, 28), stat_field(buf, 23)};
	return ret->size || buf[0] == 'Z'; /* a main thread that has ended shows none */
}

/* The last such line's text, behind the colon; false: there is none. */
static bool status_line(pid_t pid, pid_t tid, const char *field, char *ret, size_t size)
{
	char path[64], line[256];
	size_t n = strlen(field);
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, n) && line[n] == ':') {
			snprintf(ret, size, "%s", line + n + 1);
			found = true;
		}
	if (f)
		fclose(f);
	return found;
}

long proc_status(pid_t pid, pid_t tid, const char *field)
{
	char text[64];

	return status_line(pid, tid, field, text, sizeof(text)) ? strtol(text, NULL, 10) : 0;
}

u64 proc_status_set(pid_t pid, pid_t tid, const char *field)
{
	char text[64];

	return status_line(pid, tid, field, text, sizeof(text)) ? strtoull(text, NULL, 16) : ~0ULL;
}

static pid_t look_for_live(pid_t pid)
{
	char path[64];
	struct dirent *d;
	pid_t found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (!found && (d = readdir(dir))) {
		pid_t tid = atoi(d->d_name);
		char s = tid > 0 ? proc_state(pid, tid) : 0;

		if (s && s != 'Z' && s != 'X')
			found = tid;
	}
	closedir(dir);
	return found;
}

/*
 * A thread that still has an address space: the leader if it lives. 0: none. The kernel ends the list at a
 * thread that it finds ending, but knows how many there are; a leader that has ended is one of them.
 */
pid_t proc_live_tid(pid_t pid)
{
	pid_t found = look_for_live(pid);

	for (int i = 0; i < LIVE_TRIES && !found && proc_status(pid, pid, "Threads") > 1; i++)
		found = look_for_live(pid);
	return found;
}

/* A vfork child runs in its parent's memory: what is done to one is done to both. */
static bool shares_memory(pid_t a, pid_t b)
{
	return b > 0 && !syscall(SYS_kcmp, a, b, 1 /* KCMP_VM */, 0, 0);
}

static bool have_ptrace(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		return false;
	return d[0].effective & (1u << CAP_SYS_PTRACE);
}

static int check_arch(pid_t tid, struct keeper_error *e)
{
	unsigned char id[20] = {0};
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0; /* ptrace will say more */
	if (read(fd, id, sizeof(id)) < 20) {
		close(fd);
		return 0;
	}
	close(fd);
	if (memcmp(id, ELFMAG, SELFMAG) || id[EI_CLASS] != ELFCLASS64 || id[18] != EM_X86_64)
		return keeper_fail(e, KEEPER_ARCH, -ENOEXEC, "not a 64-bit x86 program");
	return 0;
}

/* What has no memory is a kernel's thread, or a process on its way out. */
static bool is_kernel_thread(pid_t pid)
{
	char path[64], buf[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return stat_tail(path, buf, sizeof(buf)) && stat_field(buf, 9) & PF_KTHREAD;
}

long proc_euid(pid_t pid)
{
	FILE *f = open_proc(pid, "status");
	char line[256];
	long uid = -1;

	while (f && uid < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "Uid: %*d %ld", &uid);
	if (f)
		fclose(f);
	return uid;
}

/* Refuses, with a reason, what cannot be a target. */
int proc_check(pid_t pid, struct keeper_error *e)
{
	long tracer = 0, uid = -1, parent = 0, vm = 0;
	FILE *f = open_proc(pid, "status");
	char line[256];
	pid_t live;

	memset(e, 0, sizeof(*e));
	e->pid = pid;
	if (!f)
		return keeper_fail(e, KEEPER_NO_PROCESS, -ESRCH, "there is no such process");
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "TracerPid: %ld", &tracer);
		sscanf(line, "Uid: %ld", &uid);
		sscanf(line, "PPid: %ld", &parent);
		vm |= !strncmp(line, "VmSize:", 7);
	}
	fclose(f);
	live = proc_live_tid(pid);
	if (is_kernel_thread(pid))
		return keeper_fail(e, KEEPER_KERNEL_THREAD, -EPERM, "it is a kernel thread");
	if (!live || (!vm && live == pid))
		return keeper_fail(e, KEEPER_NO_PROCESS, -ESRCH, "it has ended");
	if (geteuid() && (uid_t)uid != geteuid() && !have_ptrace())
		return keeper_fail(e, KEEPER_OTHER_USER, -EPERM, "it belongs to user %ld", uid);
	if (tracer)
		return keeper_fail(e, KEEPER_TRACED, -EBUSY, "process %ld traces it", tracer);
	if (shares_memory(live, (pid_t)parent))
		return keeper_fail(e, KEEPER_BUSY, -EAGAIN,
				   "it is in the memory of process %ld (vfork)", parent);
	return check_arch(live, e);
}
