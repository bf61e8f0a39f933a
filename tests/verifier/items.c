/* SPDX-License-Identifier: MIT */
/*
 * The kernel's verdicts on an object's programs, each by itself: NAME, errno and log, each ended by a zero byte. What
 * limpet says is `limpet prog verify --json`.
 *
 *     verifier-items OBJECT [PREFIX]    programs whose name begins with PREFIX are loaded as of traffic control, which may
 *                                       have locks
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOG (1u << 20)

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

/* False: there is no program of that number. */
static bool load_one(const char *path, const char *prefix, int want)
{
	static char log[LOG];
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = log, .kernel_log_size = LOG, .kernel_log_level = 1);
	struct bpf_object *object = bpf_object__open_file(path, &opts);
	struct bpf_program *prog, *found = NULL;
	int i = 0, err;

	if (!object)
		return false;
	bpf_object__for_each_program(prog, object) {
		bpf_program__set_autoload(prog, i == want);
		if (i++ == want)
			found = prog;
	}
	if (found) {
		if (prefix && !strncmp(bpf_program__name(found), prefix, strlen(prefix)))
			bpf_program__set_type(found, BPF_PROG_TYPE_SCHED_CLS);
		log[0] = 0;
		err = bpf_object__load(object);
		printf("%s%c%d%c%s%c", bpf_program__name(found), 0, -err, 0, err ? log : "", 0);
	}
	bpf_object__close(object);
	return found != NULL;
}

int main(int argc, char **argv)
{
	int n = 0;

	if (argc < 2)
		return 2;
	libbpf_set_print(quiet);
	while (load_one(argv[1], argc > 2 ? argv[2] : NULL, n))
		n++;
	return !n;
}
