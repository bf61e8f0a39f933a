/* SPDX-License-Identifier: MIT */
/* Every sentence of the monitors, in Chinese and in English; [0] is the queue's, [1] the stack's. */
#ifndef QUEUE_DEMO_TEXT_H
#define QUEUE_DEMO_TEXT_H

#include <stdbool.h>

struct text {
	const char *map_fd[2];
	const char *started[2];
	const char *stop_hint;
	const char *not_empty[2];
	const char *empty[2];
	const char *event_input;
	const char *event;
	const char *unknown_event;
	const char *round_done;
	const char *rejected[2];
	const char *overwritten[2];
	const char *summary;
	const char *usage[2];
	const char *options;
	const char *bad_number;
	const char *bad_language;
	const char *missing_value;
	const char *extra_argument;
	const char *no_binary;
	const char *no_process;
	const char *open_failed;
	const char *load_failed;
	const char *load_denied;
	const char *no_symbol;
	const char *attach_failed;
	const char *read_failed;
	const char *program_missing;
};

/* The sentences in use: Chinese until text_choose() says otherwise. */
extern const struct text *text;

/* By LIMPET_LANG, else by the locale's variables: "en..." is English, everything else Chinese. */
void text_from_environment(void);

/* By name ("zh...", "en..."); false when it is neither. */
bool text_choose(const char *language);

#endif
