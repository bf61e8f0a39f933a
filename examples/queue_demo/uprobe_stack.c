// SPDX-License-Identifier: MIT
/* The monitor that reads its events from a stack: opens its own eBPF object, the rest is monitor.c. */
#include <errno.h>
#include "monitor.h"
#include "uprobe_stack.skel.h"

int main(int argc, char **argv)
{
	struct monitor monitor = { .kind = MONITOR_STACK };
	struct uprobe_stack_bpf *skel;
	int status = monitor_parse(&monitor, argc, argv);

	if (status >= 0)
		return status;
	skel = uprobe_stack_bpf__open();
	if (!skel)
		return monitor_fail_open(&monitor, errno);
	skel->rodata->push_flags = monitor_push_flags(&monitor);
	status = monitor_run(&monitor, skel->obj);
	uprobe_stack_bpf__destroy(skel);
	return status;
}
