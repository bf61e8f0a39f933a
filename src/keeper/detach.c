/* SPDX-License-Identifier: MIT */
/*
 * Taking limpet out of a target. Probes and programs go in the first stop. The rest goes in the first
 * stop in which no thread is in limpet's code and no call is in flight through a return stub. While one
 * is, which can be for good (a coroutine that is never resumed), the agent stays, inert, and its header says
 * that it is draining: to keepers, which look again from time to time, and to people.
 */
#include <errno.h>
#include <time.h>
#include "keeper/internal.h"

#define DETACH_TRIES 2000 /* times 1 ms and a stop */
#define FLIGHT_TRIES 5   /* of these, while calls are in flight */

/* Takes the agent out of a target whose probes are gone. One that ld.so mapped stays, idle. */
static int take_out(struct target *t)
{
	const struct region *image = region_at(&t->maps, t->header.text_start);
	bool ours = image && !image->ino;
	struct agent_request r = {.command = AGENT_CMD_RELEASE, .pid = (u32)t->pid, .in_use = ours};
	int err = target_command(t, &r);

	return err || !ours ? err : sync_unmap_image(t);
}

static int set_draining(struct target *t)
{
	static const u32 yes = 1;

	return target_write(t, t->header_at + offsetof(struct agent_header, draining), &yes,
			    sizeof(yes));
}

/* No call is in flight: what they might need goes as well, and then the agent. */
static int finish_detach(struct target *t, bool *ret_in_use)
{
	int err = 0;

	if (t->header.stubs_start != t->header.stubs_end)
		err = sync_stopped(t, NULL, 0, true, ret_in_use);
	return err || *ret_in_use ? err : take_out(t);
}

/* What keeps the agent there. */
struct left {
	bool in_use, in_flight;
};

static int detach_once(struct keeper *k, pid_t pid, struct keeper_error *e, struct left *ret)
{
	const struct home_code home = home_code_ahead(pid);
	struct target t;
	int err = sync_begin(k, &t, pid, &home, e);

	if (err)
		return err;
	if (!t.header_at)
		err = keeper_fail(e, KEEPER_NOT_TARGET, -ENOENT, "it is no target");
	if (!err)
		err = target_borrow(&t, true);
	if (!err)
		err = sync_finish_pending(&t);
	if (!err)
		err = sync_stopped(&t, NULL, 0, false, &ret->in_use);
	if (!err)
		err = target_read(&t, t.header_at, &t.header, sizeof(t.header));
	if (!err && !ret->in_use) {
		ret->in_flight = target_in_flight(&t);
		err = ret->in_flight ? set_draining(&t) : finish_detach(&t, &ret->in_use);
	}
	if (err)
		sync_fail(&t, err, "detaching");
	target_resume(&t);
	return err;
}

int sync_detach(struct keeper *k, pid_t pid, struct keeper_error *e, enum newcomer unused)
{
	struct timespec ms = {.tv_nsec = 1000000};
	int err = proc_check(pid, e);

	/* Nobody is stopped for nothing. */
	if ((!err || e->reason == KEEPER_TRACED || e->reason == KEEPER_BUSY) && !keeper_is_target(k, pid, NULL))
		err = keeper_fail(e, KEEPER_NOT_TARGET, -ENOENT, "it is no target");
	if (err)
		return err;
	for (int i = 0, flights = 0; i < DETACH_TRIES; i++) {
		struct left left = {.in_use = true};

		err = detach_once(k, pid, e, &left);
		if (err || (!left.in_use && !left.in_flight))
			return err;
		if (left.in_flight && ++flights == FLIGHT_TRIES) {
			e->reason = KEEPER_DRAINING;
			store_changed(&k->store); /* keepers sleep */
			return 0;
		}
		nanosleep(&ms, NULL);
	}
	return keeper_fail(e, KEEPER_BUSY, -EBUSY, "a thread of it stays in a probe");
}

int sync_drain(struct keeper *k, pid_t pid, struct keeper_error *e, enum newcomer unused)
{
	struct left left = {.in_use = true};
	int err = detach_once(k, pid, e, &left);

	if (!err && (left.in_use || left.in_flight))
		err = keeper_fail(e, KEEPER_DRAINING, -EBUSY, "calls of it are in flight");
	return err;
}
