/* SPDX-License-Identifier: MIT */
/*
 * A target that does with SIGSEGV and SIGBUS what programs do, and calls a probed function that reads
 * whatever it is given. What it prints is the same with and without limpet; what the program on its
 * function came to it holds against what it knows itself.
 *
 * usage: catch_target [wait] [rounds N] SCENE...
 */
#include <stdarg.h>
#include <fcntl.h>
#include "target.h"

bool probed;
unsigned long rounds = 1000;
static int failed;

__attribute__((noinline)) void look(const void *at, long how, struct look_result *out)
{
	__asm__ volatile(".byte 0x0f, 0x1f, 0x44, 0x00, 0x00"
			 :
			 : "r"(at), "r"(how), "r"(out)
			 : "memory");
}

struct look_result look_at(const void *at, long how)
{
	struct look_result r = {0};

	look(at, how, &r);
	return r;
}

void say(const char *fmt, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(9);
}

void fail(const char *fmt, ...)
{
	char line[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	say("WRONG %s", line);
	failed = 1;
}

void expect(const char *what, const void *at, long how, long result, const char *text)
{
	struct look_result r = look_at(at, how);

	if (!r.ran) {
		if (probed)
			fail("%s: no program ran", what);
		return;
	}
	if (r.result != result)
		fail("%s: result %ld, not %ld", what, r.result, result);
	if (text && memcmp(r.text, text, how == LOOK_STR ? strlen(text) + 1 : 8))
		fail("%s: read '%.8s', not '%s'", what, r.text, text);
}

void *pages(size_t n, int prot)
{
	void *p = mmap(NULL, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(8);
	return p;
}

bool sees_handler(int sig)
{
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long mask = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "SigCgt: %lx", &mask) == 1)
			break;
	if (f)
		fclose(f);
	return mask >> (sig - 1) & 1;
}

static const struct {
	const char *name;
	void (*fn)(void);
} scenes[] = {
	{"reads", scene_reads},         {"default", scene_default}, {"handlers", scene_handlers},
	{"collector", scene_collector}, {"masks", scene_masks},     {"stacks", scene_stacks},
	{"children", scene_children},   {"ignored", scene_ignored}, {"code", scene_code},
	{"nested", scene_nested},       {"storm", scene_storm},     {"leave", scene_leave},
		{"cut", scene_cut},
	{"filter", scene_filter}};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 1; i < argc; i++) {
		bool known = false;

		if (!strcmp(argv[i], "wait")) {
			char go[4];

			say("ready");
			if (read(STDIN_FILENO, go, sizeof(go)) < 0)
				return 1;
			continue;
		}
		if (!strcmp(argv[i], "rounds") && i + 1 < argc) {
			rounds = strtoul(argv[++i], NULL, 10);
			continue;
		}
		probed = look_at(&failed, LOOK_WORD).ran;
		for (size_t k = 0; k < sizeof(scenes) / sizeof(scenes[0]); k++) {
			if (strcmp(argv[i], scenes[k].name))
				continue;
			known = true;
			scenes[k].fn();
			say("%s done", argv[i]);
		}
		if (!known)
			return 2;
	}
	fprintf(stderr, "probed %d caught %d %d\n", probed, sees_handler(SIGSEGV),
		sees_handler(SIGBUS));
	return failed;
}
