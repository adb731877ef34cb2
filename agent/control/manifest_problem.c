// SPDX-License-Identifier: GPL-2.0-or-later
/* Problems of a load, kept: for status, and so that the same one is logged once. */
#include "manifest_problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *amb_manifest_format(const struct amb_manifest_problem *p, char *buf, size_t len)
{
	char line[16] = "";

	if (p->line)
		snprintf(line, sizeof(line), ":%u", p->line);
	snprintf(buf, len, "%s%s: %s%s%s%s%s", p->file, line, p->object, *p->object ? ": " : "",
		 p->field, *p->field ? ": " : "", p->reason);
	return buf;
}

static const char *put(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = memcpy(*at, s, n);

	*at += n;
	return p;
}

void amb_mproblems_add(void *ctx, const struct amb_manifest_problem *p)
{
	struct amb_mproblems *list = ctx;
	struct amb_mproblem *e;
	char *at;

	if (p->error)
		list->errors++;
	else
		list->warnings++;
	if (list->n == AMB_MANIFEST_PROBLEMS_MAX)
		return;
	if (list->n == list->cap) {
		uint32_t cap = list->cap ? list->cap * 2 : 8;
		struct amb_mproblem **grown = realloc(list->list, cap * sizeof(*grown));

		if (!grown)
			return;
		list->list = grown;
		list->cap = cap;
	}
	e = malloc(sizeof(*e) + strlen(p->file) + strlen(p->object) + strlen(p->field) +
		   strlen(p->reason) + 4);
	if (!e)
		return;
	at = (char *)(e + 1);
	e->p = *p;
	e->p.file = put(&at, p->file);
	e->p.object = put(&at, p->object);
	e->p.field = put(&at, p->field);
	e->p.reason = put(&at, p->reason);
	list->list[list->n++] = e;
}

void amb_mproblems_merge(struct amb_mproblems *to, const struct amb_mproblems *from)
{
	uint32_t i, errors = to->errors + from->errors, warnings = to->warnings + from->warnings;

	for (i = 0; i < from->n; i++)
		amb_mproblems_add(to, &from->list[i]->p);
	to->errors = errors;
	to->warnings = warnings;
}

bool amb_mproblems_has(const struct amb_mproblems *list, const struct amb_manifest_problem *p)
{
	uint32_t i;

	for (i = 0; i < list->n; i++) {
		const struct amb_manifest_problem *q = &list->list[i]->p;

		/* Lines move when something is written above; that makes it no other problem. */
		if (p->error == q->error && !strcmp(p->file, q->file) &&
		    !strcmp(p->object, q->object) && !strcmp(p->field, q->field) &&
		    !strcmp(p->reason, q->reason))
			return true;
	}
	return false;
}

void amb_mproblems_clear(struct amb_mproblems *list)
{
	uint32_t i;

	for (i = 0; i < list->n; i++)
		free(list->list[i]);
	free(list->list);
	*list = (struct amb_mproblems){ 0 };
}
