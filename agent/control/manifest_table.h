/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects by identity, and selectors by the labels they ask for. */
#ifndef AMB_MANIFEST_TABLE_H
#define AMB_MANIFEST_TABLE_H

#include "manifest_object.h"

/* An object and the file it came from; both are held by the owner of the table. */
struct amb_mref {
	struct amb_mobj *obj;
	const char *file;
};

/* Rows in the order of adding, found by kind, namespace and name. Zeroed is empty. */
struct amb_mtable {
	struct amb_mref *rows;
	uint32_t n, cap;
	uint32_t *slots; /* row + 1, 0 free; a power of two of them */
	uint32_t nslots;
};

/* 0, or -ENOMEM. The identity is not there yet. */
int amb_mtable_add(struct amb_mtable *t, struct amb_mobj *obj, const char *file);
const struct amb_mref *amb_mtable_find(const struct amb_mtable *t, enum amb_mobj_kind kind,
				       const char *ns, const char *name);
void amb_mtable_free(struct amb_mtable *t);

/*
 * Selectors. Each is kept under the one of its labels that the fewest others ask for, so that
 * finding those that match a pod does not look at all of them.
 */
struct amb_mselect;
struct amb_mselect *amb_mselect_create(void);
void amb_mselect_destroy(struct amb_mselect *s);
/* @ns NULL: of any namespace. @want is not empty and outlives @s. 0 or -ENOMEM. */
int amb_mselect_add(struct amb_mselect *s, const char *ns, const struct amb_kvs *want, void *what);
/* After the last one. 0 or -ENOMEM. */
int amb_mselect_seal(struct amb_mselect *s);
/* Calls @fn once for each that matches; the same order for the same input. */
void amb_mselect_find(const struct amb_mselect *s, const char *ns, const struct amb_kvs *have,
		      void (*fn)(void *ctx, void *what), void *ctx);

#endif
