/* SPDX-License-Identifier: GPL-2.0 */
/* What bytes are read to and written from. */
#ifndef HBONE_BUFFER_H
#define HBONE_BUFFER_H

#include <linux/types.h>

struct page;

/*
 * Four TLS records of plaintext, or one where memory has no longer piece. Kernel TLS opens records
 * in place while they fit; one that is read in part is copied, and so is each behind it until the
 * socket was empty once.
 */
#define HBONE_BUFFER_SIZE 65536
#define HBONE_BUFFER_LEAST 16384

struct hbone_buffer {
	struct page *page; /* __GFP_COMP; NULL when there is none */
	u32 size;
	bool kept; /* goes back to those that are kept */
};

/*
 * Borrows one, as long as bytes move, so that idle connections have none. False when there is no
 * memory. Process context; both may be called at the same time.
 */
bool hbone_buffer_get(struct hbone_buffer *buf);
/* Gives it back, if there is one. */
void hbone_buffer_put(struct hbone_buffer *buf);

/* -ENOMEM. */
int hbone_buffer_init(void);
void hbone_buffer_uninit(void);

#endif
