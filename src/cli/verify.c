/* SPDX-License-Identifier: MIT */
/*
 * limpet prog verify: what limpet's verifier says of the programs of an object file. The object is loaded as a tool
 * would, by libbpf (maps, types and relocations included), in this command run once more under the shim, in a
 * session of its own that is removed afterwards; each program by itself.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <ftw.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/prog.h"
#include "loader/kernel_only.h"

#define LOG_SIZE    (16u << 20)
#define SHOWN_LINES 200 /* of a log */
enum { LEVEL_PATH = 1, LEVEL_STATS = 4 };

/* What libbpf said of the object: the reason, where no program came as far as the verifier. */
static struct {
	char text[4096];
	size_t length;
} said;

static int keep_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	int n;

	if (level != LIBBPF_WARN)
		return 0;
	n = vsnprintf(said.text + said.length, sizeof(said.text) - said.length, format, args);
	if (n > 0)
		said.length = said.length + (size_t)n < sizeof(said.text) ? said.length + (size_t)n : sizeof(said.text) - 1;
	return n;
}

/*
 * A type that BPF_PROG_LOAD answers by EINVAL alone. True: `log` says which it is, why and what to do; loading would
 * only bring libbpf's words for "Invalid argument", or "attach program FD is not set" before it.
 */
static bool kernel_only(const struct bpf_program *prog, char *log)
{
	const char *what = kernel_only_type((u32)bpf_program__type(prog));

	if (what)
		snprintf(log, LOG_SIZE,
			 T("program type %s needs the kernel's eBPF: limpet runs programs in user space only, and has no verifier "
			   "for it; let the kernel verify it (`bpftool prog load`), and run its tool by `limpet load --with-kernel`\n",
			   "程序类型 %s 需要内核的 eBPF：limpet 只在用户态运行程序，不验证这种类型；请由内核验证（`bpftool prog load`），"
			   "其工具可用 `limpet load --with-kernel` 运行\n"),
			 what);
	return what != NULL;
}

/* Loads program number `want` alone. Its name; NULL: there is no such program. */
static char *load_one(const char *path, int want, u32 level, char *log, int *ret_err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = log, .kernel_log_size = LOG_SIZE, .kernel_log_level = level);
	struct bpf_object *object = bpf_object__open_file(path, &opts);
	struct bpf_program *prog, *wanted = NULL;
	char *name = NULL;
	int i = 0;

	said.length = 0;
	*ret_err = object ? 0 : -errno;
	if (!object)
		return NULL;
	bpf_object__for_each_program(prog, object) {
		bpf_program__set_autoload(prog, i == want);
		if (i++ == want)
			wanted = prog;
	}
	log[0] = 0;
	if (wanted)
		name = strdup(bpf_program__name(wanted));
	if (name)
		*ret_err = kernel_only(wanted, log) ? -EINVAL : bpf_object__load(object);
	if (*ret_err == -EBADF) /* loaded; only then libbpf fills arrays of programs, with others, which are not */
		*ret_err = 0;
	if (*ret_err && !log[0])
		snprintf(log, LOG_SIZE, "%.*s", (int)said.length, said.text);
	bpf_object__close(object);
	return name;
}

static void add_row(struct json_object *all, const char *name, int err, const char *log)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "accepted", json_object_new_boolean(!err));
	json_object_object_add(o, "errno", json_object_new_int(-err));
	json_object_object_add(o, "log", json_object_new_string(log));
	json_object_array_add(all, o);
}

/* libbpf's own errors begin at __LIBBPF_ERRNO__START: the file is no object, or a damaged one. */
static const char *object_error_text(int err)
{
	return err < __LIBBPF_ERRNO__START ? error_text(err)
					   : T("it is no whole ELF object for BPF (`clang -target bpf -g -O2 -c` makes one)",
					       "不是完整的 BPF ELF 目标文件（`clang -target bpf -g -O2 -c` 可生成）");
}

/*
 * First for the verdict alone: a log of many paths ends in ENOSPC, whatever the verdict. NULL: there is no such program.
 */
static char *verify_one(const char *path, int n, char *log, int *ret_err)
{
	int log_err;
	char *name = load_one(path, n, LEVEL_STATS, log, ret_err);

	if (!name || !*ret_err)
		return name;
	free(name);
	return load_one(path, n, LEVEL_PATH, log, &log_err);
}

/* Of a long one the end, where the reason stands. */
static void print_log(const char *log)
{
	const char *at = log + strlen(log);
	u32 lines = 0, before = 0;

	while (at > log && lines <= SHOWN_LINES)
		lines += *--at == '\n';
	if (lines > SHOWN_LINES)
		at++;
	for (const char *c = log; c < at; c++)
		before += *c == '\n';
	if (before)
		printf(T("... (%u lines; --json has them)\n", "……（略去 %u 行；--json 给出全部）\n"), before);
	fputs(at, stdout);
}

/* Under the shim. */
static int verify_each(const char *path, bool json)
{
	struct json_object *all = json_object_new_array();
	char *log = calloc(1, LOG_SIZE), *name;
	int err = 0, refused = 0, n = 0;

	libbpf_set_print(keep_warnings);
	for (; log && (name = verify_one(path, n, log, &err)); n++) {
		refused += err != 0;
		if (json)
			add_row(all, name, err, log);
		else if (err) {
			print_log(log);
			printf(T("%s: refused: %s\n", "%s：被拒绝：%s\n"), name, error_text(-err));
		} else
			printf(T("%s: accepted\n", "%s：已接受\n"), name);
		free(name);
	}
	free(log);
	if (!n)
		fail(EXIT_FAILED, T("prog verify: %s cannot be read as a BPF object: %s", "prog verify：无法将 %s 读作 BPF 目标文件：%s"), path,
		     object_error_text(err ? -err : ENOENT));
	else if (json)
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
	return refused || !n ? EXIT_FAILED : EXIT_OK;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

int prog_verify_object(const char *path, bool json)
{
	char shim[PATH_MAX], name[64];
	struct run r = {.argv = cli_argv, .preload = shim, .output = -1};
	struct options o = {.session = name};
	struct stat st;
	struct store s;
	int status;

	if (getenv(VERIFY_CHILD))
		return verify_each(path, json);
	if (access(path, R_OK))
		return fail(EXIT_FAILED, T("prog verify: cannot read %s: %s", "prog verify：无法读取 %s：%s"), path, error_text(errno));
	if (stat(path, &st) || !S_ISREG(st.st_mode)) /* a pipe would be waited for */
		return fail(EXIT_FAILED, T("prog verify: %s is not a regular file", "prog verify：%s 不是普通文件"), path);
	if (!library_find("loader", "liblimpet-shim.so", "LIMPET_SHIM", shim, sizeof(shim)))
		return EXIT_FAILED;
	snprintf(name, sizeof(name), "verify-%d", getpid());
	status = session_open(&s, &o, STORE_CREATE);
	if (status)
		return status;
	r.session_dir = s.path;
	setenv(VERIFY_CHILD, "1", 1);
	status = run_start(&r);
	if (!status)
		status = run_wait(&r);
	nftw(s.path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	store_close(&s);
	return status;
}
