// SPDX-License-Identifier: MIT
/*
 * The program that is watched. It calls target_function once a second and secondary_function after
 * every fifth of those calls, for ever. The options make it a load generator for tests: several
 * threads, no pause, an end.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECONDARY_EVERY 5
#define SEPARATOR_EVERY 10
#define SECONDARY_DELAY_MS 100
#define MAX_THREADS 256

static long iterations; /* 0: for ever */
static long interval_ms = 1000;
static int quiet;

static void sleep_ms(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (ms > 0 && nanosleep(&left, &left))
		;
}

/* noinline keeps a call to probe; the empty asm keeps the compiler from working out the result. */
__attribute__((noinline)) int target_function(int input_value, const char *msg)
{
	__asm__ volatile("" : "+r"(input_value));
	if (!quiet)
		printf("target_function called with input=%d, msg=%s\n", input_value, msg);
	return input_value * 2;
}

__attribute__((noinline)) void secondary_function(void)
{
	__asm__ volatile("");
	if (!quiet)
		printf("secondary_function called\n");
	sleep_ms(interval_ms ? SECONDARY_DELAY_MS : 0);
}

static void *call_functions(void *unused)
{
	char msg[32];

	for (long i = 1; !iterations || i <= iterations; i++) {
		int result;

		snprintf(msg, sizeof(msg), "call_%ld", i);
		result = target_function((int)i, msg);
		if (!quiet)
			printf("Main loop iteration %ld completed, result=%d\n", i, result);
		sleep_ms(interval_ms);
		if (i % SECONDARY_EVERY == 0)
			secondary_function();
		if (i % SEPARATOR_EVERY == 0 && !quiet)
			printf("----------------------------------------\n");
	}
	return unused;
}

static int usage(FILE *out, const char *name)
{
	fprintf(out,
		"Usage: %s [-n ITERATIONS] [-i MILLISECONDS] [-t THREADS] [-q]\n"
		"  -n N   stop after N iterations (default: never)\n"
		"  -i MS  pause between iterations (default: 1000; 0 removes every pause)\n"
		"  -t N   threads that run the loop (default: 1, the main thread)\n"
		"  -q     print nothing per call\n"
		"  -h     show this\n",
		name);
	return out == stderr ? 2 : 0;
}

static int number(const char *text, long min, long max, long *ret_value)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value < min || value > max) {
		fprintf(stderr, "target: '%s' is not a number from %ld to %ld\n", text, min, max);
		return -1;
	}
	*ret_value = value;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option help[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	pthread_t threads[MAX_THREADS];
	long thread_count = 1;
	int option;

	while ((option = getopt_long(argc, argv, "n:i:t:qh", help, NULL)) != -1) {
		if (option == 'q')
			quiet = 1;
		else if (option == 'h')
			return usage(stdout, argv[0]);
		else if (option == '?')
			return usage(stderr, argv[0]);
		else if (number(optarg, option == 't', option == 't' ? MAX_THREADS : 1000000000,
				option == 'n'   ? &iterations
				: option == 'i' ? &interval_ms
						: &thread_count))
			return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("Target program started, PID=%d\n", getpid());
	printf("Functions to be monitored:\n");
	printf("  - target_function: %p\n", (void *)target_function);
	printf("  - secondary_function: %p\n", (void *)secondary_function);
	printf("Starting periodic function calls...\n");
	for (long i = 1; i < thread_count; i++) {
		int error = pthread_create(&threads[i], NULL, call_functions, NULL);

		if (error) {
			fprintf(stderr, "target: cannot start a thread: %s\n", strerror(error));
			return 1;
		}
	}
	call_functions(NULL);
	for (long i = 1; i < thread_count; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
