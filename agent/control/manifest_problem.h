/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Problems of a load, kept: for status, and so that the same one is logged once. */
#ifndef AMB_MANIFEST_PROBLEM_H
#define AMB_MANIFEST_PROBLEM_H

#include "manifest.h"

struct amb_mproblem {
	struct amb_manifest_problem p; /* strings behind it, in the same allocation */
};

/* Zeroed is empty. Beyond AMB_MANIFEST_PROBLEMS_MAX they are only counted. */
struct amb_mproblems {
	struct amb_mproblem **list;
	uint32_t n, cap, errors, warnings;
};

/* An amb_manifest_report_fn with a struct amb_mproblems as its context. */
void amb_mproblems_add(void *ctx, const struct amb_manifest_problem *p);
/* Adds copies of all of @from. */
void amb_mproblems_merge(struct amb_mproblems *to, const struct amb_mproblems *from);
bool amb_mproblems_has(const struct amb_mproblems *list, const struct amb_manifest_problem *p);
void amb_mproblems_clear(struct amb_mproblems *list);

#endif
