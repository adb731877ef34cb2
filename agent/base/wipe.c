// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory for secrets: a head with its size stands before each block. */
#include "wipe.h"

#include "util.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct head {
	_Alignas(max_align_t) size_t n; /* bytes after the head */
};

static struct head *head_of(void *p)
{
	return (struct head *)p - 1;
}

void *amb_wipe_alloc(size_t n)
{
	struct head *h = n <= SIZE_MAX - sizeof(*h) ? malloc(sizeof(*h) + n) : NULL;

	if (!h) {
		errno = ENOMEM;
		return NULL;
	}
	h->n = n;
	return h + 1;
}

void *amb_wipe_calloc(size_t n, size_t size)
{
	size_t all;
	void *p = __builtin_mul_overflow(n, size, &all) ? NULL : amb_wipe_alloc(all);

	if (!p) {
		errno = ENOMEM;
		return NULL;
	}
	return memset(p, 0, all);
}

void *amb_wipe_realloc(void *p, size_t n)
{
	void *to;

	if (p && n == head_of(p)->n)
		return p;
	to = amb_wipe_alloc(n);
	if (to && p) {
		memcpy(to, p, AMB_MIN(n, head_of(p)->n));
		amb_wipe_free(p);
	}
	return to;
}

void amb_wipe_free(void *p)
{
	if (!p)
		return;
	explicit_bzero(p, head_of(p)->n);
	free(head_of(p));
}

void amb_wipe_text(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
}
