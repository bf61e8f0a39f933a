// SPDX-License-Identifier: MIT
/* The monitor that reads its events from a queue: opens its own eBPF object, the rest is monitor.c. */
#include <errno.h>
#include "monitor.h"
#include "uprobe_queue.skel.h"

int main(int argc, char **argv)
{
	struct monitor monitor = { .kind = MONITOR_QUEUE };
	struct uprobe_queue_bpf *skel;
	int status = monitor_parse(&monitor, argc, argv);

	if (status >= 0)
		return status;
	skel = uprobe_queue_bpf__open();
	if (!skel)
		return monitor_fail_open(&monitor, errno);
	skel->rodata->push_flags = monitor_push_flags(&monitor);
	status = monitor_run(&monitor, skel->obj);
	uprobe_queue_bpf__destroy(skel);
	return status;
}
