/* SPDX-License-Identifier: MIT */
/*
 * Whatever bytes are called a program: the check refuses them, or they run in the interpreter
 * without touching anything but what is theirs. Shared by the test over damaged programs and by the
 * fuzzer.
 */
#ifndef LIMPET_TESTS_CONTAIN_H
#define LIMPET_TESTS_CONTAIN_H

#include "bpf/insn.h"

enum contained { CONTAINED_REFUSED, CONTAINED_RAN, CONTAINED_ENDED };

/* Aborts when something outside was written. */
enum contained contain_run(const struct bpf_insn *insns, u32 count);

#endif
