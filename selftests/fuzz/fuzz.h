/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fuzz targets share. A target stops with a trap when a promise is broken. */
#ifndef SELFTESTS_FUZZ_H
#define SELFTESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			__builtin_trap();                                                          \
	} while (0)

/* A NUL-terminated copy that ends where the input ends, so that ASan sees a step too far. */
__attribute__((unused)) static char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	PROMISE(text);
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

#endif
