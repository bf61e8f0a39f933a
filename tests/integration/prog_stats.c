/* SPDX-License-Identifier: MIT */
/*
 * What a program's info says, while runs are timed and not: the same on the kernel and with limpet
 * (tool_prog_stats.py), which also starts the target.
 *
 *     prog_stats target COMMANDS ANSWERS      (fifos) calls probed() as often as it reads, and answers
 *     prog_stats tool COMMANDS ANSWERS OBJECT loads prog_stats.bpf.c and prints
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static FILE *commands, *answers;
static char self[4096];

static volatile int calls_made;

__attribute__((noinline)) int probed(int n)
{
	calls_made += n;
	return calls_made * 3;
}

static int target(const char *from, const char *to)
{
	int n;

	commands = fopen(from, "r");
	answers = fopen(to, "w");
	while (commands && answers && fscanf(commands, "%d", &n) == 1) {
		for (int i = 0; i < n; i++)
			probed(i);
		fprintf(answers, "%d\n", n);
		fflush(answers);
	}
	return 0;
}

static void make_calls(int n)
{
	int done;

	fprintf(commands, "%d\n", n);
	fflush(commands);
	if (fscanf(answers, "%d", &done) != 1)
		exit(1);
}

static struct bpf_prog_info info_of(int fd)
{
	struct bpf_prog_info i = {0};
	__u32 size = sizeof(i);

	bpf_obj_get_info_by_fd(fd, &i, &size);
	return i;
}

static int enable_stats(void)
{
	return bpf_enable_stats(BPF_STATS_RUN_TIME);
}

/* With limpet the target sees a change some milliseconds later. */
static bool comes(int prog, unsigned int runs)
{
	for (int i = 0; i < 2000; i++) {
		__u64 before = info_of(prog).run_cnt;

		make_calls(1);
		if (info_of(prog).run_cnt - before == runs)
			return true;
		usleep(5000);
	}
	return false;
}

static void counted(int prog, int n, const char *when)
{
	struct bpf_prog_info a = info_of(prog), b;

	make_calls(n);
	b = info_of(prog);
	printf("%s: %llu runs of %d calls, time %s\n", when, (unsigned long long)(b.run_cnt - a.run_cnt), n,
	       b.run_time_ns > a.run_time_ns ? "passes" : "stands");
	if (b.run_time_ns - a.run_time_ns > 1000000000ULL)
		printf("%s: %llu ns for %d runs\n", when, (unsigned long long)(b.run_time_ns - a.run_time_ns), n);
}

static void facts(const char *name, int prog)
{
	struct bpf_prog_info i = info_of(prog);

	printf("%s: type %u tag ", name, i.type);
	for (int k = 0; k < 8; k++)
		printf("%02x", i.tag[k]);
	printf(" verified %u jited %s xlated %s maps %u uid %u gpl %u funcs %u lines %s load time %s\n", i.verified_insns,
	       i.jited_prog_len ? "yes" : "no", i.xlated_prog_len ? "yes" : "no", i.nr_map_ids, i.created_by_uid,
	       i.gpl_compatible, i.nr_func_info, i.nr_line_info ? "some" : "none", i.load_time ? "known" : "unknown");
}

/* The machine code, as much as there is room for, and one function's length. */
static void code(int prog)
{
	struct bpf_prog_info i = info_of(prog), j = {0};
	unsigned char *room = calloc(1, i.jited_prog_len + 8);
	__u32 size = sizeof(j), len = 0, all = i.jited_prog_len;

	j.jited_prog_insns = (__u64)room;
	j.jited_prog_len = all;
	j.jited_func_lens = (__u64)&len;
	j.nr_jited_func_lens = 1;
	printf("code: %d, all of it %d, one function %d of its length %d, bytes beyond %d\n",
	       bpf_obj_get_info_by_fd(prog, &j, &size), j.jited_prog_len == all, j.nr_jited_func_lens, len == all,
	       room[all] || room[all + 1]);
	free(room);
}

static void fdinfo(int prog)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", prog);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "prog_jited", 10) || !strncmp(line, "run_cnt", 7) || !strncmp(line, "verified", 8))
			printf("fdinfo %s", line);
	if (f)
		fclose(f);
}

static void wrong(int stats)
{
	union bpf_attr a;
	char room[256] = "";
	long ret;

	memset(&a, 0, sizeof(a));
	a.info.bpf_fd = (__u32)stats;
	a.info.info = (__u64)room;
	a.info.info_len = sizeof(room);
	ret = syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a));
	printf("info of it: %ld %d\n", ret, errno);
	memset(&a, 0, sizeof(a));
	a.enable_stats.type = 7;
	ret = syscall(SYS_bpf, BPF_ENABLE_STATS, &a, sizeof(a));
	printf("another kind: %ld %d\n", ret, errno);
}

static int tool(const char *from, const char *to, const char *path)
{
	struct bpf_object *o = bpf_object__open(path);
	struct bpf_program *on_call, *raw, *p;
	struct bpf_link *link, *again;
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "probed");
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int stats, other;
	__u64 before, after;

	commands = fopen(from, "w");
	answers = fopen(to, "r");
	if (!o || bpf_object__load(o) || !commands || !answers)
		return 1;
	bpf_object__for_each_program(p, o)
		facts(bpf_program__name(p), bpf_program__fd(p));
	on_call = bpf_object__find_program_by_name(o, "on_call");
	raw = bpf_object__find_program_by_name(o, "raw");
	code(bpf_program__fd(on_call));
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	link = bpf_program__attach_uprobe_opts(on_call, -1, self, 0, &opts);
	counted(bpf_program__fd(on_call), 100, "not timed");
	fdinfo(bpf_program__fd(on_call));

	stats = enable_stats();
	other = enable_stats();
	printf("timed: %d, comes: %d\n", stats >= 0 && other >= 0, comes(bpf_program__fd(on_call), 1));
	counted(bpf_program__fd(on_call), 1000, "timed");
	wrong(stats);
	bpf_prog_test_run_opts(bpf_program__fd(raw), &run);
	printf("run by the tool: %llu, time %s\n", (unsigned long long)info_of(bpf_program__fd(raw)).run_cnt,
	       info_of(bpf_program__fd(raw)).run_time_ns ? "passed" : "stands");
	close(stats);
	counted(bpf_program__fd(on_call), 10, "held once more");

	again = bpf_program__attach_uprobe_opts(on_call, -1, self, 0, &opts);
	printf("a second link: %d, comes twice: %d\n", !!again, comes(bpf_program__fd(on_call), 2));
	bpf_link__destroy(again);
	before = info_of(bpf_program__fd(on_call)).run_cnt;
	bpf_link__destroy(link);
	after = info_of(bpf_program__fd(on_call)).run_cnt;
	printf("counts stay without links: %d\n", before == after && after > 1010);
	link = bpf_program__attach_uprobe_opts(on_call, -1, self, 0, &opts);
	printf("comes: %d\n", comes(bpf_program__fd(on_call), 1));
	close(other);
	printf("ends: %d\n", comes(bpf_program__fd(on_call), 0));
	counted(bpf_program__fd(on_call), 10, "not timed");
	bpf_link__destroy(link);
	bpf_object__close(o);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4)
		return target(argv[2], argv[3]);
	return argc == 5 ? tool(argv[2], argv[3], argv[4]) : 2;
}
