/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory of manifests as a set of objects, the last good state of each. */
#ifndef AMB_MANIFEST_SET_H
#define AMB_MANIFEST_SET_H

#include "manifest_problem.h"
#include "manifest_table.h"

struct amb_mset;

struct amb_mset *amb_mset_create(const char *dir);
void amb_mset_destroy(struct amb_mset *s);

/*
 * Reads what changed. Afterwards @problems has all that is wrong at the moment, also in files
 * that were not read again. 0; -errno when the directory cannot be read, or -ENOMEM: then the
 * set is as it was.
 */
int amb_mset_load(struct amb_mset *s, struct amb_mproblems *problems);

/* The objects; valid until the next load. */
const struct amb_mtable *amb_mset_table(const struct amb_mset *s);
uint32_t amb_mset_files(const struct amb_mset *s);

#endif
