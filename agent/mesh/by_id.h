/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of things of which there is one for an identity. They have no lock of their own. */
#ifndef AMB_BY_ID_H
#define AMB_BY_ID_H

#include <stddef.h>

struct amb_identity;

/* What each thing begins with. */
struct amb_by_id {
	struct amb_by_id *next;
	struct amb_identity *id; /* reference, the thing's */
};

struct amb_by_id_table {
	struct amb_by_id **bucket;
	size_t nbuckets, n;
};

/* 0 or -ENOMEM. */
int amb_by_id_init(struct amb_by_id_table *t);
/* The things in it are the caller's, who has taken them out. Fine without init, when zeroed. */
void amb_by_id_uninit(struct amb_by_id_table *t);

/* The thing of @id; NULL: there is none. */
void *amb_by_id_find(const struct amb_by_id_table *t, const struct amb_identity *id);
/* A new one of @size bytes, zeroed but for its head, where there is none. NULL: out of memory. */
void *amb_by_id_add(struct amb_by_id_table *t, struct amb_identity *id, size_t size);
/* Takes it out; it and its reference stay. */
void amb_by_id_remove(struct amb_by_id_table *t, void *thing);
/* The one after @thing, which is in it; NULL: the first. NULL at the end. */
void *amb_by_id_next(const struct amb_by_id_table *t, const void *thing);

#endif
