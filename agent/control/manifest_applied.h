/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the state has been given: two hashes a resource, nothing more. */
#ifndef AMB_MANIFEST_APPLIED_H
#define AMB_MANIFEST_APPLIED_H

#include "manifest_compile.h"

struct amb_state;

/* Zeroed: nothing. */
struct amb_mapplied {
	struct amb_mapplied_row *rows; /* sorted */
	uint32_t n;
};

/*
 * Hands what differs from @a to @st in one update, then @a says what the state has. Refused
 * resources are reported and counted as what they were before. Returns the number of resources
 * sent, or -ENOMEM and nothing has changed.
 */
long amb_mapplied_update(struct amb_mapplied *a, struct amb_state *st,
			 const struct amb_mcompiled *c, const char *dir,
			 amb_manifest_report_fn *report, void *ctx);
void amb_mapplied_free(struct amb_mapplied *a);

#endif
