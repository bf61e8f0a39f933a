/* SPDX-License-Identifier: MIT */
/* Symbols of the vDSO, found in its ELF image, without libc. */
#ifndef LIMPET_BASE_VDSO_H
#define LIMPET_BASE_VDSO_H

#include "base/types.h"

/* Address of the vDSO's function `name` (AT_SYSINFO_EHDR is `image`); 0 when there is none. */
u64 vdso_symbol(u64 image, const char *name);

#endif
