/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of one type that the control plane has given us, with their versions: what is told
 * at a reconnect (ztunnel-interop 1.5), and what a removal is looked up in.
 */
#ifndef AMB_XDS_HELD_H
#define AMB_XDS_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/str.h"

struct amb_held_entry {
	amb_str name;
	uint32_t stamp; /* of the answer that it came with last */
	uint32_t removed; /* stamp of the answer that removes it, 0: none does */
	bool told; /* the server knows that we have it: it says so when it is gone */
	char version[];
};

/* Zero-initialised is empty. */
struct amb_held {
	struct amb_held_entry **slot;
	size_t n, cap;
};

/* Puts @name with @version in place of what it was. The entry, or NULL: out of memory. */
struct amb_held_entry *amb_held_put(struct amb_held *h, const char *name, const char *version,
				    uint32_t stamp);
struct amb_held_entry *amb_held_find(const struct amb_held *h, const char *name);
/* Removes an entry of @h. */
void amb_held_del(struct amb_held *h, struct amb_held_entry *e);
/* What came with @stamp did not come to be: it is held as something of unknown version. */
void amb_held_blank(struct amb_held *h, uint32_t stamp);
void amb_held_clear(struct amb_held *h);

/* Entries in no order; *@at begins at 0. NULL: that was the last. */
struct amb_held_entry *amb_held_next(const struct amb_held *h, size_t *at);

#endif
