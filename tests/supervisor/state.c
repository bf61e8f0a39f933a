/* SPDX-License-Identifier: MIT */
/*
 * A static program that says what it finds when it begins, and then makes a map and says who served that. Arguments: `quiet`
 * (the map only), `sleep` (then stays), `file=PATH` (the output).
 */
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void show_link(FILE *out, const char *what, const char *path)
{
	char text[4096];
	const ssize_t n = readlink(path, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	if (!strncmp(text, "pipe:", 5) || !strncmp(text, "socket:", 7) || strstr(text, "/tmp/") == text)
		*strchr(text, text[0] == '/' ? '/' : ':') = 0;
	fprintf(out, "  %s -> %s\n", what, text);
}

static void show_descriptors(FILE *out, int before)
{
	char path[64], what[32];

	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		snprintf(what, sizeof(what), "fd %d", fd);
		if (fd != before && !access(path, F_OK))
			show_link(out, what, path);
	}
}

static void show_status(FILE *out)
{
	static const char *const wanted[] = {"SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Name", "TracerPid", "Threads"};
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i])))
				fprintf(out, "  %s", line);
	if (f)
		fclose(f);
}

static void show_state(FILE *out, int argc, char **argv, int stream)
{
	struct rlimit r;
	int child;

	fprintf(out, "state of %d arguments:", argc);
	for (int i = 0; i < argc; i++)
		fprintf(out, " '%s'", argv[i]);
	fprintf(out, "\n");
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "A=", 2) || !strncmp(*e, "KEPT=", 5) || !strncmp(*e, "LIMPET_COMMAND=", 15))
			fprintf(out, "  %s\n", *e);
	show_link(out, "exe", "/proc/self/exe");
	show_link(out, "cwd", "/proc/self/cwd");
	show_descriptors(out, stream);
	show_status(out);
	getrlimit(RLIMIT_NOFILE, &r);
	child = waitpid(-1, NULL, WNOHANG);
	fprintf(out, "  leader %d %d, files %lu, children %d %s, no new privileges %d\n", getpgrp() == getpid(), getsid(0) == getpid(),
		(unsigned long)r.rlim_cur, child, strerror(errno), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) && !geteuid());
}

static void show_map(FILE *out)
{
	union bpf_attr a;
	char path[64], text[4096];
	ssize_t n;
	long fd;

	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = a.value_size = 4;
	a.max_entries = 1;
	fd = syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));
	snprintf(path, sizeof(path), "/proc/self/fd/%ld", fd);
	n = fd < 0 ? -1 : readlink(path, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	if (fd < 0)
		fprintf(out, "map: errno %d\n", errno);
	else
		fprintf(out, "map: %s\n", strstr(text, "anon_inode") ? "kernel" : "served");
	fflush(out);
}

int main(int argc, char **argv)
{
	const char *last = argc ? argv[argc - 1] : "";
	FILE *out = stdout;

	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "file=", 5))
			out = fopen(argv[i] + 5, "w");
	if (!out)
		return 99;
	if (strcmp(last, "quiet"))
		show_state(out, argc, argv, out == stdout ? -1 : fileno(out));
	show_map(out);
	while (!strcmp(last, "sleep"))
		pause();
	return 7 * (strcmp(last, "quiet") != 0);
}
