/* SPDX-License-Identifier: MIT */
/* SHA-1 and SHA-256 (FIPS 180-4), for program tags. Not used where they would have to be secure. */
#ifndef LIMPET_LOADER_DIGEST_H
#define LIMPET_LOADER_DIGEST_H

#include "base/types.h"

HIDDEN void sha1(const void *data, u64 size, u8 ret_digest[20]);
HIDDEN void sha256(const void *data, u64 size, u8 ret_digest[32]);

#endif
