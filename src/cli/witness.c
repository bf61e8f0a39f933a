/* SPDX-License-Identifier: MIT */
/*
 * A signal sent to our process group, or to a control group, has reached the program that we wait for already; one sent to
 * us alone is passed on to it. siginfo does not tell them apart. So there is a witness, a further process in our group that
 * blocks all signals and sleeps: what is pending there was sent to all. Since a process's pending signals are taken away by
 * itself only, it is replaced when it has some.
 *
 * kill(-group) goes from the newest process to the oldest, so the witness has the signal when we get ours. Senders that go
 * from process to process (timeout, systemd) get a moment.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "cli/cli.h"

#define MOMENT_NS 20000000

/* Nobody who looks for limpet by name finds it: it would be told what limpet is not. */
static void hide_name(void)
{
	char *first = cli_argv[0], *end = first;

	for (char **a = cli_argv; *a; a++)
		end = *a + strlen(*a);
	memset(first, 0, (size_t)(end - first));
	memcpy(first, "-", end > first);
	prctl(PR_SET_NAME, "witness");
}

static _Noreturn void be_witness(pid_t parent)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	close_range(3, ~0u, 0);
	hide_name();
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	while (getppid() == parent)
		pause();
	_exit(0);
}

void witness_start(struct witness *w)
{
	const pid_t me = getpid();
	sigset_t all, old;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	w->pid = fork();
	if (!w->pid)
		be_witness(me);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

void witness_end(struct witness *w)
{
	if (w->pid <= 0)
		return;
	kill(w->pid, SIGKILL);
	waitpid(w->pid, NULL, __WNOTHREAD);
	w->pid = 0;
}

static unsigned long long pending(pid_t pid)
{
	unsigned long long set = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "ShdPnd: %llx", &set) == 1)
			break;
	if (f)
		fclose(f);
	return set;
}

bool witness_saw(struct witness *w, int sig)
{
	const unsigned long long bit = 1ULL << (sig - 1);

	for (int look = 0; look < 2 && w->pid > 0 && !(w->seen & bit); look++) {
		const unsigned long long now = pending(w->pid);

		w->seen |= now;
		if (now) {
			witness_end(w);
			witness_start(w);
		} else if (!look) {
			nanosleep(&(struct timespec){.tv_nsec = MOMENT_NS}, NULL);
		}
	}
	if (!(w->seen & bit))
		return false;
	w->seen &= ~bit;
	return true;
}
