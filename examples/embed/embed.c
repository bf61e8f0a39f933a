/* SPDX-License-Identifier: MIT */
/*
 * A host that runs an eBPF program of its own: usage: embed count.bpf.o
 *
 *     cc embed.c $(pkg-config --cflags --libs limpet) -o embed
 */
#include <limpet/vm.h>
#include <stdio.h>
#include "packet.h"

static uint64_t is_blocked(uint64_t port, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
			   struct limpet_run *run)
{
	return port == *(unsigned int *)limpet_run_user(run);
}

int main(int argc, char **argv)
{
	struct packet packets[] = {{80, 100}, {443, 1500}, {80, 40}, {22, 64}};
	struct limpet_helper blocked = {
		.name = "is_blocked", .call = is_blocked, .arg = {LIMPET_ARG_SCALAR}};
	struct limpet_vm_options options = {.context_size = sizeof(struct packet)};
	struct limpet_vm *vm = NULL;
	unsigned int ssh = 22, port = 80;
	struct limpet_result result;
	uint64_t sum = 0;

	if (limpet_vm_create(&options, &vm) || limpet_vm_add_helper(vm, BLOCKED_HELPER, &blocked) ||
	    limpet_vm_load_file(vm, argc > 1 ? argv[1] : "count.bpf.o", "count")) {
		fprintf(stderr, "embed: %s\n", vm ? limpet_vm_message(vm) : "no memory");
		return 1;
	}
	for (unsigned int i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
		if (!limpet_vm_run(vm, &packets[i], &ssh, &result))
			printf("port %u: %s\n", packets[i].port,
			       result.value ? "counted" : "blocked");
	limpet_map_lookup(limpet_map_find(vm, "bytes"), &port, &sum);
	printf("port 80 had %llu bytes\n", (unsigned long long)sum);
	limpet_vm_free(vm);
	return 0;
}
