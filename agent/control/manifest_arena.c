// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that is let go of all at once. */
#include "manifest_arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct amb_arena_chunk {
	struct amb_arena_chunk *next;
	size_t len;
	char data[];
};

void amb_arena_fix(struct amb_arena *a, void *block, size_t len)
{
	*a = (struct amb_arena){ .at = block, .end = (char *)block + len, .fixed = true };
}

static bool grow(struct amb_arena *a, size_t need)
{
	size_t len = sizeof(struct amb_arena_chunk) + need;
	struct amb_arena_chunk *c;

	if (len < AMB_ARENA_CHUNK)
		len = AMB_ARENA_CHUNK;
	len = (len + 4095) & ~(size_t)4095;
	c = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED)
		return false;
	c->len = len;
	c->next = a->chunks;
	a->chunks = c;
	a->at = c->data;
	a->end = (char *)c + len;
	return true;
}

/* @len bytes of a chunk that begin at a multiple of @align. */
static char *take(struct amb_arena *a, size_t len, size_t align)
{
	size_t gap = a->at ? -(uintptr_t)a->at & (align - 1) : 0;
	char *p;

	if (a->failed || len > SIZE_MAX / 2)
		goto fail;
	if ((size_t)(a->end - a->at) < gap + len) {
		if (a->fixed || !grow(a, len))
			goto fail;
		gap = 0;
	}
	p = a->at + gap;
	a->at = p + len;
	a->used += gap + len;
	return p;
fail:
	a->failed = true;
	return NULL;
}

void *amb_arena_alloc(struct amb_arena *a, size_t len)
{
	static uint64_t nothing; /* an array of no rows */
	char *p;

	if (!len && !a->failed)
		return &nothing;
	p = take(a, len, 8);
	/* A chunk may be used for the second time. */
	return p ? memset(p, 0, len) : NULL;
}

char *amb_arena_strndup(struct amb_arena *a, const char *s, size_t len)
{
	char *p = take(a, len + 1, 1);

	if (p) {
		memcpy(p, s, len);
		p[len] = 0;
	}
	return p;
}

char *amb_arena_printf(struct amb_arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *p = NULL;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0)
		p = take(a, (size_t)n + 1, 1);
	if (p)
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return p;
}

void amb_arena_reset(struct amb_arena *a)
{
	struct amb_arena_chunk *c = a->chunks, *keep = NULL;

	while (c) {
		struct amb_arena_chunk *next = c->next;

		if (!keep && c->len == AMB_ARENA_CHUNK)
			keep = c;
		else
			munmap(c, c->len);
		c = next;
	}
	*a = (struct amb_arena){ .chunks = keep };
	if (keep) {
		keep->next = NULL;
		a->at = keep->data;
		a->end = (char *)keep + keep->len;
	}
}

void amb_arena_free(struct amb_arena *a)
{
	struct amb_arena_chunk *c = a->fixed ? NULL : a->chunks;

	while (c) {
		struct amb_arena_chunk *next = c->next;

		munmap(c, c->len);
		c = next;
	}
	*a = (struct amb_arena){ 0 };
}
