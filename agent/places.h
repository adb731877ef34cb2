/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where pods are: network namespaces that a CNI plugin told, by "ns/name", whether or not
 * anybody wants the pod served (yet).
 */
#ifndef AMB_PLACES_H
#define AMB_PLACES_H

#include <stddef.h>

#define AMB_PLACES_MAX 4096 /* pods of a node */

/* Zeroed is empty. */
struct amb_places {
	struct amb_place *first;
	size_t n;
};

/* Remembers @path for @pod, in place of another. 0, -ENOMEM, or -ENOSPC. */
int amb_places_set(struct amb_places *p, const char *pod, const char *path);
/* The path, or NULL; valid until the next change. */
const char *amb_places_get(const struct amb_places *p, const char *pod);
/* Forgets @pod if it is at @path; fine when it is not. */
void amb_places_drop(struct amb_places *p, const char *pod, const char *path);
void amb_places_uninit(struct amb_places *p);

#endif
