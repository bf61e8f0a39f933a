/* SPDX-License-Identifier: MIT */
/*
 * Which helpers there are for programs of which type, held against the kernel: what that offers limpet has, or
 * says why not (src/bpf/helper_desc.c, docs/helpers.md); what limpet has beyond it is named here.
 */
#include "bpf/helper_desc.h"
#include "sides.h"

#define KERNEL_HELPERS 212 /* numbers below */

/* Kernels have these for other programs, or by configuration only. */
static const u32 beyond[] = {BPF_FUNC_probe_write_user,    BPF_FUNC_override_return,
			     BPF_FUNC_ktime_get_coarse_ns, BPF_FUNC_get_func_arg,
			     BPF_FUNC_get_func_ret,        BPF_FUNC_get_func_arg_cnt};

static char log_text[65536];

static bool is_offered(struct world *w, u32 type, u32 flags, u32 helper)
{
	const struct bpf_insn insns[] = {CALL((s32)helper), MOV(0, 0), EXIT};
	int fd;

	*log_text = 0;
	fd = load(w, type, flags, insns, ARRAY_SIZE(insns), log_text, sizeof(log_text));
	if (fd >= 0)
		w->close(fd);
	return !strstr(log_text, "cannot use helper") && !strstr(log_text, "unknown func") &&
	       !strstr(log_text, "invalid func");
}

static bool is_beyond(u32 helper)
{
	for (u32 i = 0; i < ARRAY_SIZE(beyond); i++)
		if (beyond[i] == helper)
			return true;
	return false;
}

static bool ready(void)
{
	const struct bpf_insn insns[] = {MOV(0, 0), EXIT};
	int fd = load(&kernel, BPF_PROG_TYPE_KPROBE, 0, insns, ARRAY_SIZE(insns), NULL, 0);

	if (!*session_dir)
		new_session();
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void compare(const char *name, u32 type, u32 flags)
{
	u32 both = 0, refused = 0;

	if (!ready())
		SKIP("the kernel's bpf(2) is not to be had here");
	for (u32 i = 1; i < KERNEL_HELPERS; i++) {
		const struct bpf_helper_desc *d = bpf_helper_desc(i);
		const bool theirs = is_offered(&kernel, type, flags, i),
			   mine = is_offered(&ours, type, flags, i);
		char unknown[64];

		both += theirs && mine;
		if (theirs && !d) {
			printf("# %s: nothing is known of helper %u\n", name, i);
			check_failed = 1;
		} else if (theirs &&
			   !mine) { /* a tool that asks for it is told in the kernel's words */
			snprintf(unknown, sizeof(unknown), "unknown func bpf_%s#%u", d->name, i);
			refused++;
			if (!d->why_not || strstr(d->why_not, "for programs") ||
			    !strstr(log_text, unknown)) {
				printf("# %s: the kernel offers bpf_%s#%u, limpet not: %s; it says "
				       "%s\n",
				       name, d->name, i,
				       d->why_not ? d->why_not : "without a reason", log_text);
				check_failed = 1;
			}
		} else if (mine && !theirs && !is_beyond(i)) {
			printf("# %s: limpet offers bpf_%s#%u, the kernel not\n", name, d->name, i);
			check_failed = 1;
		}
	}
	printf("# %s: %u helpers of both, %u that limpet has not\n", name, both, refused);
	CHECK(both > 40);
}

TEST(kprobe_programs_have_the_kernels_helpers)
{
	compare("kprobe", BPF_PROG_TYPE_KPROBE, 0);
}

TEST(sleepable_programs_have_the_kernels_helpers)
{
	compare("sleepable kprobe", BPF_PROG_TYPE_KPROBE, BPF_F_SLEEPABLE);
}

TEST(tracepoint_programs_have_the_kernels_helpers)
{
	compare("tracepoint", BPF_PROG_TYPE_TRACEPOINT, 0);
}

TEST(raw_tracepoint_programs_have_the_kernels_helpers)
{
	compare("raw tracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, 0);
}

TEST(perf_event_programs_have_the_kernels_helpers)
{
	compare("perf event", BPF_PROG_TYPE_PERF_EVENT, 0);
}

TEST_MAIN()
