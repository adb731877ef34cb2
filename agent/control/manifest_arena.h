/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is let go of all at once: what a document or a compilation needs for a moment.
 * Chunks come from mmap, so that freed ones leave the process.
 */
#ifndef AMB_MANIFEST_ARENA_H
#define AMB_MANIFEST_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amb_arena_chunk;

/* Zero-initialised is empty. After a failed allocation @failed stays set until reset. */
struct amb_arena {
	char *at, *end;
	struct amb_arena_chunk *chunks;
	size_t used; /* bytes given out, and gaps between them */
	bool fixed; /* a single block of the caller's: never grows, never freed */
	bool failed;
};

#define AMB_ARENA_CHUNK (256u << 10)

/* Uses @len bytes at @block and nothing else. */
void amb_arena_fix(struct amb_arena *a, void *block, size_t len);

/* Zeroed, 8-aligned memory, or NULL (and @failed set) when there is none. */
void *amb_arena_alloc(struct amb_arena *a, size_t len);

/* Copies of text; NULL as above. */
char *amb_arena_strndup(struct amb_arena *a, const char *s, size_t len);
char *amb_arena_printf(struct amb_arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Forgets everything; keeps one chunk for the next use. */
void amb_arena_reset(struct amb_arena *a);
/* Forgets everything and gives the memory back. */
void amb_arena_free(struct amb_arena *a);

#endif
