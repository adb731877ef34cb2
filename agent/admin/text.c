// SPDX-License-Identifier: GPL-2.0-or-later
/* A text that grows at its end and is taken from its front. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void amb_text_uninit(struct amb_text *t)
{
	free(t->p);
	memset(t, 0, sizeof(*t));
}

static bool reserve(struct amb_text *t, size_t n)
{
	size_t cap = t->cap ? t->cap : 4096;
	char *p;

	if (t->failed)
		return false;
	if (t->at && t->cap - t->len < n) {
		memmove(t->p, t->p + t->at, t->len - t->at);
		t->len -= t->at;
		t->at = 0;
	}
	while (cap - t->len < n)
		cap *= 2;
	if (cap == t->cap)
		return true;
	p = realloc(t->p, cap);
	if (!p) {
		t->failed = true;
		return false;
	}
	t->p = p;
	t->cap = cap;
	return true;
}

void amb_text_put(struct amb_text *t, const char *bytes, size_t n)
{
	if (!n || !reserve(t, n))
		return;
	memcpy(t->p + t->len, bytes, n);
	t->len += n;
}

void amb_text_puts(struct amb_text *t, const char *s)
{
	amb_text_put(t, s, strlen(s));
}

void amb_text_printf(struct amb_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!reserve(t, 256))
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->p + t->len, t->cap - t->len, fmt, ap);
	va_end(ap);
	if (n >= (int)(t->cap - t->len)) {
		if (!reserve(t, n + 1))
			return;
		va_start(ap, fmt);
		vsnprintf(t->p + t->len, t->cap - t->len, fmt, ap);
		va_end(ap);
	}
	t->len += n;
}

static int put_chunk(const char *bytes, size_t n, void *text)
{
	amb_text_put(text, bytes, n);
	return 0;
}

void amb_text_put_json(struct amb_text *t, json_t *value)
{
	if (!value || json_dump_callback(value, put_chunk, t, JSON_COMPACT | JSON_ENCODE_ANY))
		t->failed = true;
	json_decref(value);
}

size_t amb_text_take(struct amb_text *t, char *buf, size_t max)
{
	size_t n = AMB_MIN(max, amb_text_left(t));

	if (!n)
		return 0;
	memcpy(buf, t->p + t->at, n);
	t->at += n;
	if (t->at == t->len)
		t->at = t->len = 0;
	return n;
}
