/* SPDX-License-Identifier: MIT */
/* Between the host and its program. */
struct packet {
	unsigned int port, size;
};

#define BLOCKED_HELPER 1000 /* int is_blocked(port) */
