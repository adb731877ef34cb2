/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory for secrets: it knows its size, and is wiped before it goes back. */
#ifndef AMB_WIPE_H
#define AMB_WIPE_H

#include <stddef.h>

/* As malloc(3) and its like, in alignment too; NULL: ENOMEM. Only amb_wipe_free() frees it. */
void *amb_wipe_alloc(size_t n);
void *amb_wipe_calloc(size_t n, size_t size);
/* What was at @p is wiped also when it moves. */
void *amb_wipe_realloc(void *p, size_t n);
/* NULL is accepted. */
void amb_wipe_free(void *p);

/* For _cleanup_: of a text in malloc(3)'s memory. */
void amb_wipe_text(char **text);

#endif
