/* SPDX-License-Identifier: MIT */
/*
 * BPF_PROG_TEST_RUN: raw tracepoint programs (bpftrace's BEGIN and END) and socket filters, with
 * the kernel's rules of what may be passed. Other types answer ENOTSUPP, as the kernel's kprobe
 * programs do.
 */
#include "loader/run.h"
#include "loader/quiet.h"
#include "loader/source.h"
#include "loader/user_space.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>

#define RAW_TP_ARGS   12
#define PACKET_MAX    3520 /* a page less what the kernel keeps around a packet */
#define ON_CPU        1u   /* BPF_F_TEST_RUN_ON_CPU */
#define RUNS_BETWEEN_LOOKS 64
#define LOOK_NS       50000000
#define LOOPBACK      1u
#define WIRE_MAX      65536u
#define SEGMENTS_MAX  65535u
#define CHECKSUM_FLAG 4u   /* BPF_F_TEST_SKB_CHECKSUM_COMPLETE: accepted, there is no checksum */

static int put_u32(const struct loader_call *c, size_t off, u32 value)
{
	return user_write((u64)c->u + off, &value, sizeof(value));
}

/* On the processor that was asked for, where the thread may go there. */
static int run_on_cpu(const struct loader_run *r, void *ctx, u32 cpu, u32 *ret_value)
{
	cpu_set_t old, one;
	int err;

	if (cpu >= (u32)get_nprocs_conf() || sched_getaffinity(0, sizeof(old), &old))
		return -ENXIO;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		return -ENXIO;
	err = run_once(r, ctx, ret_value);
	sched_setaffinity(0, sizeof(old), &old);
	return err;
}

static long run_raw_tp(const struct loader_call *c, const union bpf_attr *a, struct loader_run *r)
{
	const u32 size = a->test.ctx_size_in;
	u64 args[RAW_TP_ARGS] = {0};
	u32 value;
	long err;

	if (a->test.data_in || a->test.data_out || a->test.ctx_out || a->test.duration ||
	    a->test.repeat || a->test.batch_size || size > sizeof(args))
		return -EINVAL;
	if (!(a->test.flags & ON_CPU) && a->test.cpu)
		return -EINVAL;
	if (user_read(args, a->test.ctx_in, size))
		return -EFAULT;
	run_set_ctx(r, size);
	err = a->test.flags & ON_CPU ? run_on_cpu(r, args, a->test.cpu, &value)
				     : run_once(r, args, &value);
	return err ? err : put_u32(c, offsetof(union bpf_attr, test.retval), value);
}

/* What of a socket buffer comes in, and goes out again, by a context; the rest is to be zero. */
static const struct {
	u16 from, to;
} given[] = {
#define FIELDS(first, last)                                                                        \
	{offsetof(struct __sk_buff, first), offsetof(struct __sk_buff, last) + sizeof(((struct __sk_buff *)0)->last)}
	FIELDS(mark, mark),
	FIELDS(priority, ifindex),
	FIELDS(cb, cb),
	FIELDS(tstamp, gso_segs),
	FIELDS(gso_size, gso_size),
	FIELDS(hwtstamp, hwtstamp),
#undef FIELDS
};

static void copy_given(struct __sk_buff *to, const struct __sk_buff *from)
{
	*to = (struct __sk_buff){0};
	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		memcpy((u8 *)to + given[i].from, (const u8 *)from + given[i].from,
		       (size_t)(given[i].to - given[i].from));
}

/* Fills in what the kernel does; `len` as the program sees it. */
static long check_given(struct __sk_buff *skb, u32 len)
{
	char name[IF_NAMESIZE];
	struct __sk_buff rest;

	copy_given(&rest, skb);
	if (memcmp(&rest, skb, sizeof(rest)))
		return -EINVAL;
	if (skb->ifindex > LOOPBACK && !if_indextoname(skb->ifindex, name))
		return -ENODEV;
	skb->ifindex = skb->ifindex ? skb->ifindex : LOOPBACK;
	skb->wire_len = skb->wire_len ? skb->wire_len : len;
	if (skb->wire_len < len || skb->wire_len > WIRE_MAX || skb->gso_segs > SEGMENTS_MAX)
		return -EINVAL;
	return 0;
}

static void describe_packet(struct __sk_buff *skb, const u8 *packet, u32 size)
{
	const struct ethhdr *eth = (const void *)packet;
	static const u8 own[ETH_ALEN]; /* the loopback device's address */

	skb->len = size - ETH_HLEN; /* filters see packets from the network header on */
	skb->protocol = ntohs(eth->h_proto) >= ETH_P_802_3_MIN ? eth->h_proto : htons(ETH_P_802_2);
	skb->pkt_type = !memcmp(eth->h_dest, own, ETH_ALEN) ? PACKET_HOST
			: eth->h_dest[0] & 1                ? PACKET_MULTICAST
							    : PACKET_OTHERHOST;
}

/* Results as the kernel hands them back: the packet with its link header cleared. */
static long finish_packet(const struct loader_call *c, const union bpf_attr *a, u8 *packet,
			  u32 value, u32 duration)
{
	u32 size = a->test.data_size_in, room = size;
	long err = 0;

	if (a->test.data_size_out && room > a->test.data_size_out) {
		room = a->test.data_size_out;
		err = -ENOSPC;
	}
	memset(packet, 0, ETH_HLEN);
	if ((a->test.data_out && user_write(a->test.data_out, packet, room)) ||
	    put_u32(c, offsetof(union bpf_attr, test.data_size_out), size) ||
	    put_u32(c, offsetof(union bpf_attr, test.retval), value) ||
	    put_u32(c, offsetof(union bpf_attr, test.duration), duration))
		return -EFAULT;
	return err;
}

static long give_ctx(const struct loader_call *c, const union bpf_attr *a,
		     const struct __sk_buff *skb)
{
	struct __sk_buff out;
	u32 room = sizeof(out);
	long err = 0;

	if (!a->test.ctx_out)
		return 0;
	copy_given(&out, skb);
	if (a->test.ctx_size_out < room) {
		room = a->test.ctx_size_out;
		err = -ENOSPC;
	}
	if (user_write(a->test.ctx_out, &out, room) ||
	    put_u32(c, offsetof(union bpf_attr, test.ctx_size_out), sizeof(out)))
		return -EFAULT;
	return err;
}

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

/* Has the caller a signal to handle? One that is ignored waits only because it is blocked here. */
static bool interrupted(const sigset_t *blocked)
{
	struct sigaction a;
	sigset_t pending;

	if (user_space)
		return user_space_interrupted();
	sigpending(&pending);
	for (int sig = 1; sig < NSIG; sig++) {
		const bool dull = sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;

		if (sigismember(&pending, sig) == 1 && !sigismember(blocked, sig) && !sigaction(sig, NULL, &a) &&
		    a.sa_handler != SIG_IGN && !(dull && a.sa_handler == SIG_DFL))
			return true;
	}
	return false;
}

/* A signal ends many runs, which may take hours. */
static long run_many(const struct loader_run *r, struct __sk_buff *skb, u32 repeat, u32 *ret_value)
{
	u64 look = now_ns() + LOOK_NS;
	sigset_t blocked;
	long err = 0;

	quiet_signals(&blocked);
	for (u32 i = 0; !err && i < repeat; i++) {
		err = run_once(r, skb, ret_value);
		if (err || i % RUNS_BETWEEN_LOOKS || now_ns() < look)
			continue;
		err = interrupted(&blocked) ? -EINTR : 0;
		look = now_ns() + LOOK_NS;
	}
	pthread_sigmask(SIG_SETMASK, &blocked, NULL);
	return err;
}

static long run_packet(const struct loader_call *c, const union bpf_attr *a, struct loader_run *r)
{
	const u32 size = a->test.data_size_in, repeat = a->test.repeat ? a->test.repeat : 1;
	u8 packet[PACKET_MAX];
	struct __sk_buff skb = {0};
	u32 value = 0;
	long err = 0;
	u64 start;

	if ((a->test.flags & ~CHECKSUM_FLAG) || a->test.cpu || a->test.batch_size ||
	    size < ETH_HLEN || size > PACKET_MAX)
		return -EINVAL;
	if (user_read(packet, a->test.data_in, size))
		return -EFAULT;
	if (a->test.ctx_size_in > sizeof(skb)) {
		err = user_zero(a->test.ctx_in + sizeof(skb), a->test.ctx_size_in - sizeof(skb));
		if (err)
			return err;
	}
	err = user_read(&skb, a->test.ctx_in,
			a->test.ctx_size_in < sizeof(skb) ? a->test.ctx_size_in : sizeof(skb));
	if (!err)
		err = check_given(&skb, size - ETH_HLEN);
	if (err)
		return err;
	describe_packet(&skb, packet, size);
	run_set_ctx(r, sizeof(skb));
	start = now_ns();
	err = run_many(r, &skb, repeat, &value);
	if (!err)
		err = finish_packet(c, a, packet, value, (u32)((now_ns() - start) / repeat));
	return err ? err : give_ctx(c, a, &skb);
}

long loader_prog_test_run(const struct loader_call *c, union bpf_attr *a)
{
	struct loader_run r;
	u32 prog;
	long err;

	if (!a->test.ctx_size_in != !a->test.ctx_in || !a->test.ctx_size_out != !a->test.ctx_out)
		return -EINVAL;
	err = loader_fd_object((int)a->test.prog_fd, OBJ_PROG, &prog);
	if (!err)
		err = run_open(&r, c->store, prog);
	if (err)
		return err;
	if (r.type == BPF_PROG_TYPE_RAW_TRACEPOINT)
		err = run_raw_tp(c, a, &r);
	else if (r.type == BPF_PROG_TYPE_SOCKET_FILTER)
		err = run_packet(c, a, &r);
	else
		err = -LOADER_ENOTSUPP;
	run_close(&r);
	pump_catch_up(); /* what the program has sent is in the rings now */
	return err;
}
