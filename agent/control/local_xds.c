// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ztunnel's local configuration. What it describes becomes the resources that a control plane
 * would send, and goes the same way into the state. Fields have the names and texts that
 * ztunnel gives them in YAML: addresses are "network/address", host names "namespace/host",
 * variants of a match are tagged (!Exact x) or, as in JSON, a mapping of one ({Exact: x}).
 */
#include "local_xds.h"

#include "authorization.pb-c.h"
#include "workload.pb-c.h"

#include "base/cleanup.h"
#include "local_xds_priv.h"
#include "manifest.h"
#include "mesh/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_NAME "LOCAL_XDS" /* stands for a file's name */

/* Where a resource was. */
struct origin {
	const char *section;
	uint32_t index, line;
};

struct load {
	struct amb_decode d;
	struct amb_arena arena;
	struct amb_resource *r;
	struct origin *from; /* of each */
	size_t n, cap;
	char *err;
	size_t errlen;
};

/* What the other files use */

void amb_lxds_items(struct amb_decode *d, const struct amb_yaml *seq, int type,
		    amb_lxds_one_fn *one, void *array, size_t *n)
{
	void **v = amb_decode_alloc(d, (seq->n + 1) * sizeof(*v));
	uint32_t i;

	for (i = 0; v && i < seq->n && !d->failed; i++) {
		enum amb_yaml_type own = type < 0 ? seq->items[i]->type : (enum amb_yaml_type)type;
		const struct amb_yaml *item = amb_decode_item(d, seq, i, own);

		if (!item)
			break;
		v[i] = one(d, item);
		amb_decode_leave(d);
	}
	if (v && !d->failed) {
		*(void ***)array = v;
		*n = seq->n;
	}
}

void amb_lxds_list(struct amb_decode *d, const struct amb_yaml *map, const char *key, int type,
		   amb_lxds_one_fn *one, void *array, size_t *n)
{
	const struct amb_yaml *seq = amb_decode_enter(d, map, key, AMB_YAML_SEQ);

	if (!seq)
		return;
	amb_lxds_items(d, seq, type, one, array, n);
	amb_decode_leave(d);
}

void amb_lxds_string(struct amb_decode *d, const struct amb_yaml *map, const char *key, char **out)
{
	amb_decode_string(d, map, key, (const char **)out);
}

char *amb_lxds_text(struct amb_decode *d, const char *s, size_t len)
{
	char *text = amb_arena_strndup(d->arena, s, len);

	if (!text)
		amb_decode_error(d, NULL, "out of memory");
	return text;
}

void amb_lxds_flag(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		   protobuf_c_boolean *out)
{
	bool v = *out;

	amb_decode_bool(d, map, key, &v);
	*out = v;
}

void amb_lxds_bytes(struct amb_decode *d, const struct amb_addr *a, ProtobufCBinaryData *out)
{
	bool v4 = amb_addr_is_v4(a);

	out->data = amb_decode_alloc(d, 16);
	if (!out->data)
		return;
	out->len = v4 ? 4 : 16;
	memcpy(out->data, a->b + (v4 ? 12 : 0), out->len);
}

void amb_lxds_needed(struct amb_decode *d, const struct amb_yaml *map, const char *key)
{
	const struct amb_yaml *v = amb_yaml_get(map, key);

	if (!v || amb_yaml_is_null(v))
		amb_decode_error_in(d, map, key, -1, "is needed");
}

/* Reading */

static void report(void *ctx, const struct amb_manifest_problem *p)
{
	struct load *l = ctx;

	if (p->error && !*l->err)
		amb_manifest_format(p, l->err, l->errlen);
}

static void add(struct load *l, const struct amb_resource *r, const struct origin *from)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct amb_resource *v = reallocarray(l->r, cap, sizeof(*v));
		struct origin *w = v ? reallocarray(l->from, cap, sizeof(*w)) : NULL;

		if (v)
			l->r = v;
		if (w)
			l->from = w;
		if (!v || !w) {
			amb_decode_error(&l->d, NULL, "out of memory");
			return;
		}
		l->cap = cap;
	}
	l->r[l->n] = *r;
	l->from[l->n++] = *from;
}

static Istio__Workload__Address *address(struct load *l, Istio__Workload__Address__TypeCase type,
					 void *of)
{
	Istio__Workload__Address *a =
		AMB_LXDS_NEW(&l->d, Istio__Workload__Address, istio__workload__address__init);

	if (a) {
		a->type_case = type;
		a->workload = of;
	}
	return a;
}

static void read_workload(struct load *l, const struct amb_yaml *v, struct amb_resource *r)
{
	Istio__Workload__Workload *m =
		AMB_LXDS_NEW(&l->d, Istio__Workload__Workload, istio__workload__workload__init);

	if (!m)
		return;
	amb_lxds_workload(&l->d, v, m);
	r->address = address(l, ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD, m);
	r->name = m->uid;
}

static void read_service(struct load *l, const struct amb_yaml *v, struct amb_resource *r)
{
	Istio__Workload__Service *m =
		AMB_LXDS_NEW(&l->d, Istio__Workload__Service, istio__workload__service__init);

	if (!m)
		return;
	amb_lxds_service(&l->d, v, m);
	r->address = address(l, ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE, m);
	r->name = amb_arena_printf(&l->arena, "%s/%s", m->namespace_, m->hostname);
}

static void read_policy(struct load *l, const struct amb_yaml *v, struct amb_resource *r)
{
	Istio__Security__Authorization *m = AMB_LXDS_NEW(&l->d, Istio__Security__Authorization,
							 istio__security__authorization__init);

	if (!m)
		return;
	amb_lxds_policy(&l->d, v, m);
	r->is_policy = true;
	r->authorization = m;
	r->name = amb_arena_printf(&l->arena, "%s/%s", m->namespace_, m->name);
}

static void section(struct load *l, const struct amb_yaml *root, const char *key,
		    void (*read)(struct load *l, const struct amb_yaml *v, struct amb_resource *r))
{
	const struct amb_yaml *seq = amb_decode_enter(&l->d, root, key, AMB_YAML_SEQ);
	uint32_t i;

	for (i = 0; seq && i < seq->n && !l->d.failed; i++) {
		const struct amb_yaml *item = amb_decode_item(&l->d, seq, i, AMB_YAML_MAP);
		struct amb_resource r = { 0 };

		if (!item)
			break;
		read(l, item, &r);
		if (!l->d.failed && !r.name)
			amb_decode_error(&l->d, item, "out of memory");
		if (!l->d.failed)
			add(l, &r, &(struct origin){ key, i, item->line });
		amb_decode_leave(&l->d);
	}
	if (seq)
		amb_decode_leave(&l->d);
}

static void document(struct load *l, const struct amb_yaml *root)
{
	static const char *const keys[] = { "workloads", "policies", "services", NULL };

	amb_decode_only(&l->d, root, keys);
	section(l, root, "workloads", read_workload);
	section(l, root, "policies", read_policy);
	section(l, root, "services", read_service);
}

/* A file of several documents is what they say together. */
static int read_all(struct load *l, int fd, const char *text)
{
	struct amb_yaml_reader *y = amb_yaml_open(fd, text, text ? strlen(text) : 0);
	const struct amb_yaml *root;
	const char *kind, *why;
	uint32_t line = 0;
	int ret;

	if (!y)
		return -ENOMEM;
	while ((ret = amb_yaml_next(y, &root, &kind)) > 0 && !l->d.failed)
		document(l, root);
	if (ret < 0 && !l->d.failed) {
		why = amb_yaml_problem(y, &line);
		snprintf(l->err, l->errlen, "%s:%" PRIu32 ": %s", l->d.file, line, why);
	}
	amb_yaml_close(y);
	return ret < 0 ? ret : l->d.failed ? -EINVAL : 0;
}

static void refused(void *ctx, const struct amb_resource *r, const char *reason)
{
	const struct load *l = ctx;
	const struct origin *from = &l->from[r - l->r];

	if (!*l->err)
		snprintf(l->err, l->errlen, "%s:%" PRIu32 ": %s[%" PRIu32 "]: %s", l->d.file,
			 from->line, from->section, from->index, reason);
}

int amb_local_xds_load(struct amb_state *state, const char *path, const char *text, char *err,
		       size_t errlen)
{
	struct load l = { .err = err, .errlen = errlen };
	_cleanup_fd_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	int ret;

	*err = 0;
	if (path && fd < 0) {
		ret = -errno;
		snprintf(err, errlen, "%s: %s", path, strerror(-ret));
		return ret;
	}
	l.d = (struct amb_decode){
		.arena = &l.arena,
		.temp = &l.arena,
		.file = path ? path : TEXT_NAME,
		.object = "",
		.report = report,
		.ctx = &l,
	};
	ret = read_all(&l, fd, path ? NULL : text);
	if (!ret && l.n)
		ret = amb_state_apply(state, l.r, l.n, refused, &l);
	if (ret > 0)
		ret = -EINVAL;
	if (ret && !*err)
		snprintf(err, errlen, "%s: %s", l.d.file, strerror(-ret));
	amb_arena_free(&l.arena);
	free(l.r);
	free(l.from);
	return ret;
}
