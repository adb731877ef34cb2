// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the state has been given. The resources themselves are in the state; here are their names
 * and 64-bit fingerprints of their wire form, so that an edit sends what it changed and
 * what it removed.
 */
#include "manifest_applied.h"

#include "mesh/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct amb_mapplied_row {
	uint64_t print;
	uint32_t name : 31, policy : 1; /* name: place in names */
};

#define NAMES_MAX (1u << 30)

static uint32_t name_hash(const char *name, bool policy)
{
	return amb_util_hash(name, strlen(name), amb_util_seed() + policy);
}

static const struct amb_mapplied_row *find(const struct amb_mapplied *a, const char *name,
					   bool policy)
{
	uint32_t at;

	if (!a->n)
		return NULL;
	for (at = name_hash(name, policy) & (a->nslots - 1); a->slots[at];
	     at = (at + 1) & (a->nslots - 1)) {
		const struct amb_mapplied_row *r = &a->rows[a->slots[at] - 1];

		if (r->policy == policy && !strcmp(a->names + r->name, name))
			return r;
	}
	return NULL;
}

/* Fingerprints all of @c. */
static int prints(const struct amb_mcompiled *c, uint64_t *out)
{
	size_t cap = 64 << 10;
	uint8_t *buf = malloc(cap);
	uint32_t i, seed = amb_util_seed();

	for (i = 0; buf && i < c->n; i++) {
		const ProtobufCMessage *msg = c->res[i].authorization ?
						      &c->res[i].authorization->base :
						      &c->res[i].address->base;
		size_t len = protobuf_c_message_get_packed_size(msg);

		if (len > cap) {
			free(buf);
			cap = len * 2;
			buf = malloc(cap);
			if (!buf)
				break;
		}
		protobuf_c_message_pack(msg, buf);
		out[i] = (uint64_t)amb_util_hash(buf, len, seed) << 32 |
			 amb_util_hash(buf, len, ~seed);
	}
	if (!buf)
		return -ENOMEM;
	free(buf);
	return 0;
}

void amb_mapplied_free(struct amb_mapplied *a)
{
	free(a->rows);
	free(a->names);
	free(a->slots);
	*a = (struct amb_mapplied){ 0 };
}

/* Makes room for all of @c and what a refused removal may leave: none is kept of those. */
static int reserve(struct amb_mapplied *a, const struct amb_mcompiled *c)
{
	size_t bytes = 1;
	uint32_t i;

	for (i = 0; i < c->n; i++)
		bytes += strlen(c->res[i].name) + 1;
	if (bytes > NAMES_MAX)
		return -ENOMEM;
	a->nslots = 64;
	while (a->nslots < c->n * 2)
		a->nslots *= 2;
	a->rows = calloc(c->n + 1, sizeof(*a->rows));
	a->names = malloc(bytes);
	a->slots = calloc(a->nslots, sizeof(*a->slots));
	if (a->rows && a->names && a->slots)
		return 0;
	amb_mapplied_free(a);
	return -ENOMEM;
}

static void put(struct amb_mapplied *a, uint32_t *end, const char *name, bool policy,
		uint64_t print)
{
	uint32_t at = name_hash(name, policy) & (a->nslots - 1);
	size_t len = strlen(name) + 1;

	while (a->slots[at])
		at = (at + 1) & (a->nslots - 1);
	memcpy(a->names + *end, name, len);
	a->rows[a->n].name = *end & 0x7fffffff;
	a->rows[a->n].policy = policy;
	a->rows[a->n].print = print;
	a->slots[at] = ++a->n;
	*end += (uint32_t)len;
}

struct update {
	const struct amb_mcompiled *c;
	const struct amb_resource *res;
	const uint32_t *source; /* resource sent -> place in @c */
	bool *refused; /* by place in @c */
	const char *dir;
	amb_manifest_report_fn *report;
	void *ctx;
};

static void on_refused(void *ctx, const struct amb_resource *r, const char *reason)
{
	struct update *u = ctx;
	const struct amb_mref *from;
	char object[400] = "", text[512];
	struct amb_manifest_problem p = {
		.error = true, .file = u->dir, .object = object, .field = "", .reason = text
	};
	uint32_t i;

	if (!r->address && !r->authorization)
		return;
	i = u->source[r - u->res];
	u->refused[i] = true;
	from = u->c->res[i].from;
	snprintf(text, sizeof(text), "as %s: %s", r->name, reason);
	if (from) {
		const struct amb_mobj *o = from->obj;

		p.file = from->file;
		p.line = o->line;
		snprintf(object, sizeof(object), "%s %s%s%s", amb_mobj_kind_text(o->kind), o->ns,
			 *o->ns ? "/" : "", o->name);
	}
	u->report(u->ctx, &p);
}

/* Collects what is new, changed or gone. Returns how many. */
static size_t collect(const struct amb_mapplied *a, const struct amb_mapplied *next,
		      const struct amb_mcompiled *c, const uint64_t *print,
		      struct amb_resource *res, uint32_t *source)
{
	size_t n = 0;
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		bool policy = c->res[i].authorization;
		const struct amb_mapplied_row *r = find(a, c->res[i].name, policy);

		if (r && r->print == print[i])
			continue;
		source[n] = i;
		res[n++] = (struct amb_resource){ c->res[i].name, policy, c->res[i].address,
						  c->res[i].authorization };
	}
	for (i = 0; i < a->n; i++) {
		const char *name = a->names + a->rows[i].name;

		if (!find(next, name, a->rows[i].policy))
			res[n++] = (struct amb_resource){ name, a->rows[i].policy, NULL, NULL };
	}
	return n;
}

long amb_mapplied_update(struct amb_mapplied *a, struct amb_state *st,
			 const struct amb_mcompiled *c, const char *dir,
			 amb_manifest_report_fn *report, void *ctx)
{
	struct update u = { .c = c, .dir = dir, .report = report, .ctx = ctx };
	struct amb_mapplied next = { 0 }, result = { 0 };
	struct amb_resource *res = calloc(c->n + a->n + 1, sizeof(*res));
	uint32_t *source = calloc(c->n + 1, sizeof(*source)), i, end = 0;
	uint64_t *print = calloc(c->n + 1, sizeof(*print));
	long n = -ENOMEM;
	int err;

	u.refused = calloc(c->n + 1, sizeof(*u.refused));
	if (!res || !source || !print || !u.refused || prints(c, print) || reserve(&next, c) ||
	    reserve(&result, c))
		goto out;
	for (i = 0; i < c->n; i++)
		put(&next, &end, c->res[i].name, c->res[i].authorization, print[i]);
	n = (long)collect(a, &next, c, print, res, source);
	u.res = res;
	u.source = source;
	if (n) {
		err = amb_state_apply(st, res, (size_t)n, on_refused, &u);
		if (err < 0) {
			n = err;
			goto out;
		}
	}
	/* A refused one is in the state as it was, or not at all. */
	end = 0;
	for (i = 0; i < c->n; i++) {
		bool policy = c->res[i].authorization;
		const struct amb_mapplied_row *was;

		was = u.refused[i] ? find(a, c->res[i].name, policy) : NULL;
		if (!u.refused[i] || was)
			put(&result, &end, c->res[i].name, policy, was ? was->print : print[i]);
	}
	amb_mapplied_free(a);
	*a = result;
	result = (struct amb_mapplied){ 0 };
out:
	amb_mapplied_free(&next);
	amb_mapplied_free(&result);
	free(res);
	free(source);
	free(print);
	free(u.refused);
	return n;
}
