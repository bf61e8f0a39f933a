/* SPDX-License-Identifier: MIT */
/* SHA-1 (FIPS 180-4): program tags are its first 8 bytes. Not used where it would have to be secure. */
#ifndef LIMPET_LOADER_SHA1_H
#define LIMPET_LOADER_SHA1_H

#include "base/types.h"

HIDDEN void sha1(const void *data, u64 size, u8 ret_digest[20]);

#endif
