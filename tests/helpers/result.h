/* SPDX-License-Identifier: MIT */
/* What a case of the helper programs leaves: a result, and bytes. */
#ifndef TESTS_HELPERS_RESULT_H
#define TESTS_HELPERS_RESULT_H

#define RESULTS 256
#define OUT_LEN 120

struct result {
	long long ret;
	char out[OUT_LEN];
};

#endif
