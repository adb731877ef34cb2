// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Answers taken into the state while they stream in.
 *
 * What "whole" means for a giant push: the state builds its next version beside the present one
 * (amb_update), one resource at a time, over many turns of the loop; readers go on with the
 * present one and then have the next, by one store. Memory is the state's own objects, the one
 * resource at hand (4 MiB on the wire, 64 MiB unpacked) and the names that are to be removed.
 *
 * The type of an answer stands behind its resources on the wire, so each resource is taken by
 * its own type, and an answer where these differ is refused as a whole at its end.
 *
 * Versions are recorded as resources come, with the answer's stamp. When an answer is given up,
 * those of its stamp become unknown: at the next stream the server sends them again.
 */
#include "intake.h"

#include "authorization.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "workload.pb-c.h"

#include "base/log.h"
#include "base/util.h"
#include "delta.h"
#include "manifest_arena.h"
#include "mesh/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NACK_TAIL 32 /* ", and N more" */

struct names {
	amb_str *v;
	size_t n, cap;
};

struct amb_intake {
	struct amb_state *st;
	struct amb_update *update; /* begun by the first resource */
	struct amb_delta delta;
	struct amb_arena arena; /* of the resource at hand */
	struct amb_held held[AMB_XDS_TYPES];
	bool sweep[AMB_XDS_TYPES]; /* its next answer says all there is */
	void (*on_name)(void *ctx, const char *name);
	void *ctx;
	/* the answer under way */
	bool open;
	uint32_t stamp;
	size_t count[AMB_XDS_TYPES]; /* resources of each type */
	size_t all; /* those of neither and those that cannot be decoded too */
	size_t refused, listed; /* listed: those of them in the NACK's text */
	bool refusing; /* the resource at hand */
	const char *name; /* of it */
	size_t alias_from; /* answered.n where it began */
	struct names removed, answered;
	char nack[AMB_INTAKE_NACK_MAX];
	size_t nnack;
};

static const char *const urls[] = {
	[AMB_XDS_ADDRESS] = "type.googleapis.com/istio.workload.Address",
	[AMB_XDS_AUTHORIZATION] = "type.googleapis.com/istio.security.Authorization",
};

const char *amb_xds_type_url(enum amb_xds_type type)
{
	return urls[type];
}

enum amb_xds_type amb_xds_type_of(const char *url)
{
	int i;

	for (i = 0; i < AMB_XDS_TYPES; i++) {
		if (!strcmp(urls[i], url))
			return i;
	}
	return AMB_XDS_OTHER;
}

/* Names */

static int names_add(struct names *l, const char *name)
{
	amb_str s;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		amb_str *v = reallocarray(l->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	s = amb_str_intern(name, strlen(name));
	if (!s)
		return -ENOMEM;
	l->v[l->n++] = s;
	return 0;
}

static void names_clear(struct names *l)
{
	while (l->n)
		amb_str_put(l->v[--l->n]);
	free(l->v);
	*l = (struct names){ 0 };
}

/* Refusals */

static void AMB_PRINTF(2, 3) refuse(struct amb_intake *in, const char *fmt, ...)
{
	size_t room = sizeof(in->nack) - in->nnack;
	char reason[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	in->refusing = true;
	in->refused++;
	n = snprintf(in->nack + in->nnack, room, "%s%.*s: %s", in->nnack ? ", " : "", 512, in->name,
		     reason);
	/* One that does not fit is only counted; room for that is kept. */
	if (n > 0 && (size_t)n + NACK_TAIL < room) {
		in->nnack += n;
		in->listed++;
	} else {
		in->nack[in->nnack] = 0;
	}
}

static void on_refused(void *ctx, const struct amb_resource *r, const char *reason)
{
	(void)r;
	refuse(ctx, "%s", reason);
}

/* Memory of what protobuf-c unpacks */

static void *arena_alloc(void *ctx, size_t size)
{
	struct amb_arena *a = ctx;

	if (size > AMB_INTAKE_MEMORY || a->used + size > AMB_INTAKE_MEMORY)
		a->failed = true;
	return a->failed ? NULL : amb_arena_alloc(a, size);
}

static void arena_free(void *ctx, void *p)
{
	(void)ctx;
	(void)p;
}

/* Resources */

static int take(struct amb_intake *in, const struct amb_resource *r, enum amb_xds_type type,
		const char *version)
{
	if (!in->update)
		in->update = amb_update_begin(in->st, on_refused, in);
	if (!in->update)
		return -errno;
	if (amb_update_add(in->update, r))
		return -ENOMEM;
	if (in->refusing)
		return 0;
	return amb_held_put(&in->held[type], in->name, version, in->stamp) ? 0 : -ENOMEM;
}

static int unpacked(struct amb_intake *in, const struct amb_delta_resource *d,
		    ProtobufCAllocator *alloc)
{
	struct amb_resource r = { .name = d->name };
	Google__Protobuf__Any *any = google__protobuf__any__unpack(alloc, d->len, d->value);
	enum amb_xds_type type = any ? amb_xds_type_of(any->type_url) : AMB_XDS_OTHER;

	if (any && type == AMB_XDS_OTHER) {
		refuse(in, "is of type %.100s", *any->type_url ? any->type_url : "none");
		return 0;
	}
	if (type == AMB_XDS_ADDRESS)
		r.address =
			istio__workload__address__unpack(alloc, any->value.len, any->value.data);
	else if (type == AMB_XDS_AUTHORIZATION)
		r.authorization = istio__security__authorization__unpack(alloc, any->value.len,
									 any->value.data);
	r.is_policy = r.authorization;
	if (!r.address && !r.authorization) {
		refuse(in, "%s", in->arena.failed ? "takes too much memory" : "cannot be decoded");
		return 0;
	}
	in->count[type]++;
	return take(in, &r, type, d->version);
}

static int on_resource(void *ctx, const struct amb_delta_resource *d)
{
	struct amb_intake *in = ctx;
	ProtobufCAllocator alloc = { arena_alloc, arena_free, &in->arena };
	int err = 0;

	in->name = d->name;
	in->refusing = false;
	in->all++;
	if (d->fault == AMB_DELTA_TOO_LARGE)
		refuse(in, "is larger than %u bytes", AMB_DELTA_RESOURCE_MAX);
	else if (d->fault == AMB_DELTA_BAD_NAME)
		refuse(in, "has no valid name");
	else
		err = unpacked(in, d, &alloc);
	amb_arena_reset(&in->arena);
	/* Who is told "nothing" about what we refused would take it for none of the mesh. */
	while (in->refusing && in->answered.n > in->alias_from)
		amb_str_put(in->answered.v[--in->answered.n]);
	if (!err && !in->refusing && in->on_name && *d->name)
		err = names_add(&in->answered, d->name);
	in->alias_from = in->answered.n;
	return err;
}

static void on_alias(void *ctx, const char *name)
{
	struct amb_intake *in = ctx;

	/* Short of memory somebody waits in vain, to the end of his patience. */
	if (in->on_name)
		names_add(&in->answered, name);
}

/* Of names that are not held there is nothing to remove, whatever the type. */
static int on_removed(void *ctx, const char *name)
{
	struct amb_intake *in = ctx;
	bool held = false, first = false;
	int i;

	for (i = 0; i < AMB_XDS_TYPES; i++) {
		struct amb_held_entry *e = amb_held_find(&in->held[i], name);

		if (!e)
			continue;
		held = true;
		first |= e->removed != in->stamp;
		e->removed = in->stamp;
	}
	if (held && first && names_add(&in->removed, name))
		return -ENOMEM;
	if (in->on_name && names_add(&in->answered, name))
		return -ENOMEM;
	in->alias_from = in->answered.n;
	return 0;
}

static const struct amb_delta_handler handler = {
	.resource = on_resource,
	.removed = on_removed,
	.alias = on_alias,
};

/* Answers */

struct amb_intake *amb_intake_create(struct amb_state *st)
{
	struct amb_intake *in = calloc(1, sizeof(*in));

	if (!in)
		return NULL;
	in->st = st;
	amb_delta_init(&in->delta, &handler, in);
	return in;
}

void amb_intake_destroy(struct amb_intake *in)
{
	int i;

	if (!in)
		return;
	amb_intake_drop(in);
	for (i = 0; i < AMB_XDS_TYPES; i++)
		amb_held_clear(&in->held[i]);
	amb_delta_uninit(&in->delta);
	amb_arena_free(&in->arena);
	free(in);
}

void amb_intake_on_name(struct amb_intake *in, void (*fn)(void *ctx, const char *name), void *ctx)
{
	in->on_name = fn;
	in->ctx = ctx;
}

struct amb_held *amb_intake_held(struct amb_intake *in, enum amb_xds_type type)
{
	return &in->held[type];
}

void amb_intake_stream(struct amb_intake *in, bool full)
{
	in->sweep[AMB_XDS_ADDRESS] = full;
	in->sweep[AMB_XDS_AUTHORIZATION] = true;
}

static void close_answer(struct amb_intake *in)
{
	names_clear(&in->removed);
	names_clear(&in->answered);
	in->alias_from = 0;
	in->open = false;
}

void amb_intake_begin(struct amb_intake *in, uint32_t len)
{
	amb_intake_drop(in);
	/* 0 is no stamp. */
	in->stamp = in->stamp + 1 ?: 1;
	in->open = true;
	in->refused = in->listed = in->nnack = 0;
	in->nack[0] = 0;
	memset(in->count, 0, sizeof(in->count));
	in->all = 0;
	amb_delta_begin(&in->delta, len);
}

int amb_intake_feed(struct amb_intake *in, const uint8_t *p, size_t n)
{
	return amb_delta_feed(&in->delta, p, n);
}

/* Undoes what was noted of an answer. */
static void forget(struct amb_intake *in)
{
	int i;

	amb_update_abort(in->update);
	in->update = NULL;
	for (i = 0; i < AMB_XDS_TYPES; i++)
		amb_held_blank(&in->held[i], in->stamp);
}

void amb_intake_drop(struct amb_intake *in)
{
	if (!in->open)
		return;
	forget(in);
	close_answer(in);
}

/* What was held, not told and not sent again, is gone. */
static int sweep(struct amb_intake *in, enum amb_xds_type type)
{
	struct amb_held_entry *e;
	size_t at = 0;

	while ((e = amb_held_next(&in->held[type], &at))) {
		if (e->told || e->removed == in->stamp)
			continue;
		e->removed = in->stamp;
		if (names_add(&in->removed, e->name))
			return -ENOMEM;
	}
	return 0;
}

static int remove_all(struct amb_intake *in, enum amb_xds_type type)
{
	size_t i;

	if (in->removed.n && !in->update) {
		in->update = amb_update_begin(in->st, on_refused, in);
		if (!in->update)
			return -errno;
	}
	for (i = 0; i < in->removed.n; i++) {
		const struct amb_resource r = { .name = in->removed.v[i],
						.is_policy = type == AMB_XDS_AUTHORIZATION };

		if (amb_held_find(&in->held[type], r.name) && amb_update_add(in->update, &r))
			return -ENOMEM;
	}
	return 0;
}

/* The state has it: so do we. */
static void settle(struct amb_intake *in, enum amb_xds_type type)
{
	struct amb_held_entry *e;
	size_t i;

	for (i = 0; i < in->removed.n; i++) {
		e = amb_held_find(&in->held[type], in->removed.v[i]);
		if (e)
			amb_held_del(&in->held[type], e);
	}
	in->sweep[type] = false;
	/* A policy may have the name of an address. */
	for (i = 0; type == AMB_XDS_ADDRESS && i < in->answered.n; i++)
		in->on_name(in->ctx, in->answered.v[i]);
}

static int apply(struct amb_intake *in, enum amb_xds_type type)
{
	int err = in->sweep[type] ? sweep(in, type) : 0;

	err = err ?: remove_all(in, type);
	if (!err && in->update) {
		err = amb_update_commit(in->update);
		in->update = NULL;
		err = err < 0 ? err : 0;
	}
	if (!err)
		settle(in, type);
	return err;
}

static void conclude_nack(struct amb_intake *in)
{
	if (in->refused > in->listed)
		snprintf(in->nack + in->nnack, sizeof(in->nack) - in->nnack, "%s%zu more",
			 in->nnack ? ", and " : "", in->refused - in->listed);
}

int amb_intake_end(struct amb_intake *in, struct amb_intake_result *out)
{
	enum amb_xds_type type;
	size_t known = 0, i;
	int err = amb_delta_end(&in->delta);

	if (err)
		return err;
	type = amb_xds_type_of(in->delta.type_url);
	for (i = 0; i < AMB_XDS_TYPES; i++)
		known += in->count[i];
	*out = (struct amb_intake_result){
		.type = type,
		.type_url = in->delta.type_url,
		.nonce = in->delta.nonce,
		.resources = in->all,
		.removed = in->removed.n,
	};
	if (type == AMB_XDS_OTHER) {
		forget(in);
	} else if (in->count[type] != known) {
		forget(in);
		in->refused = out->resources;
		out->nack = "resources of another type than the answer's";
	} else {
		err = apply(in, type);
		if (err)
			return err;
		out->removed = in->removed.n;
		if (in->refused) {
			conclude_nack(in);
			out->nack = in->nack;
		}
	}
	out->refused = type == AMB_XDS_OTHER ? 0 : in->refused;
	close_answer(in);
	return 0;
}
