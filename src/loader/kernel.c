/* SPDX-License-Identifier: MIT */
/* See kernel.h: the option, the system call, twins of BTF. */
#include "loader/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/say.h"

#define OUT_OF_THE_WAY 600 /* tools count on low numbers */

static pthread_mutex_t lock;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_lock(void)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&lock, &a);
	pthread_mutexattr_destroy(&a);
}

/* In a forked child it is made anew: one that is taken again belongs to a thread, and that is the parent's. */
static void make_lock(void)
{
	init_lock();
	pthread_atfork(kernel_lock, kernel_unlock, init_lock);
}

void kernel_lock(void)
{
	pthread_once(&once, make_lock);
	pthread_mutex_lock(&lock);
}

void kernel_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

bool kernel_on(void)
{
	static _Atomic int known; /* 1: no, 2: yes */
	int is = atomic_load_explicit(&known, memory_order_relaxed);

	if (!is) {
		is = getenv("LIMPET_WITH_KERNEL") ? 2 : 1;
		atomic_store(&known, is);
	}
	return is == 2 && !user_space;
}

long kernel_bpf(unsigned int cmd, union attr_more *a)
{
	return sys_call3(__NR_bpf, (long)cmd, (long)a, sizeof(*a));
}

void kernel_say_denied(void)
{
	static _Atomic bool said;

	if (!atomic_exchange(&said, true))
		loader_say("limpet: --with-kernel: the kernel does not let this process use its eBPF: Operation not permitted; "
			   "run as root (CAP_BPF and CAP_PERFMON), and where no filter forbids bpf(2)\n");
}

int kernel_bpf_fd(unsigned int cmd, union attr_more *a)
{
	long fd = kernel_bpf(cmd, a);
	int far;

	/* to root it is an answer about the program, also where the kernel lacks the means to attach it */
	if (fd == -EPERM && (cmd != BPF_PROG_LOAD || sys_call0(__NR_geteuid)))
		kernel_say_denied();
	if (fd < 0)
		return (int)fd;
	far = fcntl((int)fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	if (far < 0)
		return (int)fd;
	sys_close((int)fd);
	return far;
}

u32 kernel_id(int fd, enum object_kind kind)
{
	union {
		struct bpf_map_info map;
		struct bpf_prog_info prog;
	} info = {0};
	union attr_more a = {.attr.info = {.bpf_fd = (u32)fd, .info = (u64)&info}};

	a.attr.info.info_len = kind == OBJ_MAP ? sizeof(info.map) : sizeof(info.prog);
	if (kernel_bpf(BPF_OBJ_GET_INFO_BY_FD, &a))
		return 0;
	return kind == OBJ_MAP ? info.map.id : info.prog.id;
}

struct btf_twin {
	struct btf_twin *next;
	u32 id;
	int fd;
};
static struct btf_twin *btfs;

static int load_btf(struct store *s, u32 id)
{
	union attr_more a = {0};
	struct btf_file *b;
	int fd, err = 0;
	u64 size;

	b = store_map_object(s, OBJ_BTF, id, &size, &err);
	if (!b)
		return err;
	a.attr.btf = (u64)b + b->data_off;
	a.attr.btf_size = b->data_size;
	fd = b->data_off > size || b->data_size > size - b->data_off ? -EINVAL : kernel_bpf_fd(BPF_BTF_LOAD, &a);
	munmap(b, size);
	return fd;
}

int kernel_btf(struct store *s, u32 id)
{
	struct btf_twin *t;
	int fd;

	kernel_lock();
	for (t = btfs; t && t->id != id; t = t->next)
		;
	fd = t ? t->fd : load_btf(s, id);
	if (!t && fd >= 0 && (t = calloc(1, sizeof(*t)))) {
		*t = (struct btf_twin){btfs, id, fd};
		btfs = t;
	}
	kernel_unlock();
	return fd;
}
