/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text that grows at its end and is taken from its front: what is streamed is built in it. */
#ifndef AMB_TEXT_H
#define AMB_TEXT_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/util.h"

/* Zero-initialised is empty. Once memory ran out, failed stays set and nothing is added. */
struct amb_text {
	char *p;
	size_t at, len, cap; /* bytes at..len are still to be taken */
	bool failed;
};

void amb_text_uninit(struct amb_text *t);

static inline size_t amb_text_left(const struct amb_text *t)
{
	return t->len - t->at;
}

void amb_text_put(struct amb_text *t, const char *bytes, size_t n);
void amb_text_puts(struct amb_text *t, const char *s);
void amb_text_printf(struct amb_text *t, const char *fmt, ...) AMB_PRINTF(2, 3);

/* Adds compact JSON and drops the caller's reference; NULL counts as out of memory. */
void amb_text_put_json(struct amb_text *t, json_t *value);

/* Takes up to @max bytes from the front. Returns how many. */
size_t amb_text_take(struct amb_text *t, char *buf, size_t max);

#endif
