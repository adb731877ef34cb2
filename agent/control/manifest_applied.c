// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the state has been given: of each resource a 64-bit hash of its name and one of its wire
 * form, so that an edit sends what it changed and what it removed. The names of what is to be
 * removed are looked up in the state itself, which has them anyway.
 */
#include "manifest_applied.h"

#include "base/cleanup.h"
#include "mesh/policy.h"
#include "mesh/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct amb_mapplied_row {
	uint64_t name, print;
};

static uint64_t hash64(const void *data, size_t len, uint32_t salt)
{
	uint32_t seed = amb_util_seed() + salt;

	return (uint64_t)amb_util_hash(data, len, seed) << 32 | amb_util_hash(data, len, ~seed);
}

static uint64_t name_hash(const char *name, bool policy)
{
	return hash64(name, strlen(name), policy);
}

static int by_name(const void *a, const void *b)
{
	const struct amb_mapplied_row *x = a, *y = b;

	return (x->name > y->name) - (x->name < y->name);
}

static const struct amb_mapplied_row *find(const struct amb_mapplied *a, uint64_t name)
{
	const struct amb_mapplied_row key = { .name = name };

	return a->n ? bsearch(&key, a->rows, a->n, sizeof(key), by_name) : NULL;
}

/* Hashes all of @c into @out, in its order. */
static int prints(const struct amb_mcompiled *c, struct amb_mapplied_row *out)
{
	size_t cap = 64 << 10;
	uint8_t *buf = malloc(cap);
	uint32_t i;

	for (i = 0; buf && i < c->n; i++) {
		const struct amb_mresource *r = &c->res[i];
		const ProtobufCMessage *msg = r->authorization ? &r->authorization->base :
								 &r->address->base;
		size_t len = protobuf_c_message_get_packed_size(msg);

		if (len > cap) {
			free(buf);
			cap = len * 2;
			buf = malloc(cap);
			if (!buf)
				break;
		}
		protobuf_c_message_pack(msg, buf);
		out[i].name = name_hash(r->name, r->authorization);
		out[i].print = hash64(buf, len, 0);
	}
	if (!buf)
		return -ENOMEM;
	free(buf);
	return 0;
}

void amb_mapplied_free(struct amb_mapplied *a)
{
	free(a->rows);
	*a = (struct amb_mapplied){ 0 };
}

/* Names of what the state has and the compilation has not. */
struct gone {
	const struct amb_mapplied *was, *now;
	char **names;
	bool *policy;
	size_t n, cap;
	bool failed;
};

static bool note(struct gone *g, const char *name, bool policy)
{
	uint64_t hash = name_hash(name, policy);

	if (!find(g->was, hash) || find(g->now, hash))
		return true;
	if (g->n < g->cap) {
		g->names[g->n] = strdup(name);
		g->policy[g->n] = policy;
		g->failed |= !g->names[g->n];
		g->n += !!g->names[g->n];
	}
	return !g->failed;
}

static bool on_workload(void *ctx, const struct amb_workload *w)
{
	return note(ctx, w->uid, false);
}

static bool on_service(void *ctx, const struct amb_service *s)
{
	return note(ctx, s->key, false);
}

static bool on_policy(void *ctx, const struct amb_policy_info *p)
{
	char name[AMB_POLICY_NAME_MAX];

	snprintf(name, sizeof(name), "%s/%s", p->ns, p->name);
	return note(ctx, name, true);
}

static void gone_free(struct gone *g)
{
	while (g->n)
		free(g->names[--g->n]);
	free(g->names);
	free(g->policy);
}

static int find_gone(struct gone *g, const struct amb_state *st)
{
	uint32_t i;

	for (i = 0; i < g->was->n; i++)
		g->cap += !find(g->now, g->was->rows[i].name);
	if (!g->cap)
		return 0;
	g->names = calloc(g->cap, sizeof(*g->names));
	g->policy = calloc(g->cap, sizeof(*g->policy));
	if (!g->names || !g->policy)
		return -ENOMEM;
	amb_state_read_begin(st);
	amb_state_each_workload(st, on_workload, g);
	amb_state_each_service(st, on_service, g);
	amb_policy_each(st, on_policy, g);
	amb_state_read_end(st);
	return g->failed ? -ENOMEM : 0;
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

long amb_mapplied_update(struct amb_mapplied *a, struct amb_state *st,
			 const struct amb_mcompiled *c, const char *dir,
			 amb_manifest_report_fn *report, void *ctx)
{
	struct update u = { .c = c, .dir = dir, .report = report, .ctx = ctx };
	_cleanup_free_ struct amb_mapplied_row *rows = calloc(c->n + 1, sizeof(*rows));
	_cleanup_free_ uint32_t *source = calloc(c->n + 1, sizeof(*source));
	_cleanup_free_ bool *refused = calloc(c->n + 1, sizeof(*refused));
	struct amb_mapplied now = { calloc(c->n + 1, sizeof(*rows)), c->n };
	struct gone gone = { .was = a, .now = &now };
	struct amb_resource *res = NULL;
	long n = -ENOMEM;
	uint32_t i, k = 0;
	size_t j;

	if (!rows || !source || !refused || !now.rows || prints(c, rows))
		goto out;
	memcpy(now.rows, rows, c->n * sizeof(*rows));
	qsort(now.rows, c->n, sizeof(*rows), by_name);
	if (find_gone(&gone, st))
		goto out;
	res = calloc(c->n + gone.n + 1, sizeof(*res));
	if (!res)
		goto out;
	n = 0;
	for (i = 0; i < c->n; i++) {
		const struct amb_mapplied_row *was = find(a, rows[i].name);

		if (was && was->print == rows[i].print)
			continue;
		source[n] = i;
		res[n++] = (struct amb_resource){ c->res[i].name, c->res[i].authorization,
						  c->res[i].address, c->res[i].authorization };
	}
	for (j = 0; j < gone.n; j++)
		res[n++] = (struct amb_resource){ gone.names[j], gone.policy[j], NULL, NULL };
	u.res = res;
	u.source = source;
	u.refused = refused;
	if (n) {
		int err = amb_state_apply(st, res, (size_t)n, on_refused, &u);

		if (err < 0) {
			n = err;
			goto out;
		}
	}
	/* A refused one is in the state as it was, or not at all. */
	for (i = 0; i < c->n; i++) {
		const struct amb_mapplied_row *was = refused[i] ? find(a, rows[i].name) : NULL;

		if (!refused[i] || was)
			now.rows[k++] = was ? *was : rows[i];
	}
	now.n = k;
	qsort(now.rows, k, sizeof(*rows), by_name);
	amb_mapplied_free(a);
	*a = now;
	now = (struct amb_mapplied){ 0 };
out:
	amb_mapplied_free(&now);
	gone_free(&gone);
	free(res);
	return n;
}
