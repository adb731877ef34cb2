// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The objects that standalone mode knows: which kind a document is, its metadata, and its
 * packing into one allocation.
 *
 * A document is decoded twice: first into scratch memory, which finds every error and tells
 * the size, then into a block of exactly that size. 10 000 pods are then 10 000 small blocks
 * and not 10 000 arenas.
 */
#include "manifest_object.h"

#include "base/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kind {
	const char *group, *versions; /* versions: " v1 v1beta1 " */
	bool namespaced;
	amb_mobj_decode_fn *decode; /* NULL: metadata is all */
};

static const struct kind kinds[AMB_MOBJ_MAX] = {
	[AMB_MOBJ_NAMESPACE] = { "", " v1 ", false, NULL },
	[AMB_MOBJ_NODE] = { "", " v1 ", false, NULL },
	[AMB_MOBJ_POD] = { "", " v1 ", true, amb_mobj_decode_pod },
	[AMB_MOBJ_SERVICE] = { "", " v1 ", true, amb_mobj_decode_service },
	[AMB_MOBJ_ENDPOINTS] = { "", " v1 ", true, amb_mobj_decode_endpoints },
	[AMB_MOBJ_ENDPOINTSLICE] = { "discovery.k8s.io", " v1 v1beta1 ", true,
				     amb_mobj_decode_slice },
	[AMB_MOBJ_SERVICEACCOUNT] = { "", " v1 ", true, NULL },
	[AMB_MOBJ_CONFIGMAP] = { "", " v1 ", true, amb_mobj_decode_configmap },
	[AMB_MOBJ_SERVICEENTRY] = { "networking.istio.io", " v1 v1beta1 v1alpha3 ", true,
				    amb_mobj_decode_serviceentry },
	[AMB_MOBJ_WORKLOADENTRY] = { "networking.istio.io", " v1 v1beta1 v1alpha3 ", true,
				     amb_mobj_decode_workloadentry },
	[AMB_MOBJ_AUTHORIZATIONPOLICY] = { "security.istio.io", " v1 v1beta1 ", true,
					   amb_mobj_decode_authz },
	[AMB_MOBJ_PEERAUTHENTICATION] = { "security.istio.io", " v1 v1beta1 ", true,
					  amb_mobj_decode_peerauth },
	[AMB_MOBJ_GATEWAY] = { "gateway.networking.k8s.io", " v1 v1beta1 ", true,
			       amb_mobj_decode_gateway },
	[AMB_MOBJ_GATEWAYCLASS] = { "gateway.networking.k8s.io", " v1 v1beta1 ", false, NULL },
};

const char *amb_mobj_kind_text(enum amb_mobj_kind kind)
{
#define AMB_X(id, text) text,
	static const char *const texts[] = { AMB_MOBJ_KINDS(AMB_X) };
#undef AMB_X

	return texts[kind];
}

struct amb_mobj *amb_mobj_get(struct amb_mobj *o)
{
	o->refs++;
	return o;
}

void amb_mobj_put(struct amb_mobj *o)
{
	if (o && !--o->refs)
		free(o);
}

static bool wanted_annotation(const char *key)
{
	return strstr(key, "istio.io/") || !strncmp(key, "ambientd.io/", 12) ||
	       !strncmp(key, "topology.", 9);
}

static const char *scalar(const struct amb_yaml *map, const char *key)
{
	const struct amb_yaml *v = amb_yaml_get(map, key);

	return v && v->type == AMB_YAML_SCALAR && !amb_yaml_is_null(v) ? v->text : NULL;
}

/* "group/version" or "version" of a kind: AMB_MOBJ_OK, UNKNOWN, or BROKEN (reported). */
static enum amb_mobj_result find_kind(struct amb_mobj_read *r, struct amb_decode *d,
				      const struct amb_yaml *doc, const char *list_kind)
{
	const char *api = scalar(doc, "apiVersion"), *kind = scalar(doc, "kind"), *slash;
	char group[64] = "", version[32];
	int i;

	if (!kind)
		kind = list_kind;
	if (!kind) {
		amb_decode_error(d, doc, "has no kind");
		return AMB_MOBJ_BROKEN;
	}
	/* Items of a list out of the raw API have no apiVersion; then the kind alone decides. */
	slash = api ? strchr(api, '/') : NULL;
	if (slash)
		snprintf(group, sizeof(group), "%.*s", (int)(slash - api), api);
	snprintf(r->what, sizeof(r->what), "kind %.60s (%.80s)", kind, api ? api : "no apiVersion");
	for (i = 0; i < AMB_MOBJ_MAX; i++) {
		if (strcmp(kind, amb_mobj_kind_text((enum amb_mobj_kind)i)))
			continue;
		if (!api && !list_kind) {
			amb_decode_error(d, doc, "has no apiVersion");
			return AMB_MOBJ_BROKEN;
		}
		if (api && strcmp(group, kinds[i].group))
			continue;
		r->kind = (enum amb_mobj_kind)i;
		snprintf(version, sizeof(version), " %.28s ", slash ? slash + 1 : api ? api : "v1");
		if (strstr(kinds[i].versions, version))
			return AMB_MOBJ_OK;
		amb_decode_error_in(d, doc, "apiVersion", -1, "apiVersion %s of %s is not known",
				    api, kind);
		return AMB_MOBJ_BROKEN;
	}
	return AMB_MOBJ_UNKNOWN;
}

/* Who it is, before anything else: an object with an error has to be found by it. */
static bool identify(struct amb_mobj_read *r, struct amb_decode *d, const struct amb_yaml *doc)
{
	const struct amb_yaml *meta = amb_decode_enter(d, doc, "metadata", AMB_YAML_MAP);
	const char *name = NULL, *ns = NULL;

	if (!meta) {
		amb_decode_error(d, doc, "has no metadata");
		return false;
	}
	amb_decode_peek(d, meta, "name", &name);
	if (kinds[r->kind].namespaced)
		amb_decode_peek(d, meta, "namespace", &ns);
	if (!d->failed && !name)
		amb_decode_error(d, meta, "has no name");
	if (!d->failed && !amb_decode_is_subdomain(name))
		amb_decode_error_in(d, meta, "name", -1,
				    "\"%.260s\" is no name (RFC 1123 subdomain)", name);
	if (!d->failed && ns && !amb_decode_is_label(ns))
		amb_decode_error_in(d, meta, "namespace", -1,
				    "\"%.260s\" is no namespace name (RFC 1123 label)", ns);
	amb_decode_leave(d);
	if (d->failed)
		return false;
	if (!ns && kinds[r->kind].namespaced)
		ns = "default";
	snprintf(r->ns, sizeof(r->ns), "%s", ns ? ns : "");
	snprintf(r->name, sizeof(r->name), "%s", name);
	snprintf(r->object, sizeof(r->object), "%s %s%s%s", amb_mobj_kind_text(r->kind), r->ns,
		 ns ? "/" : "", r->name);
	r->named = true;
	d->object = r->object;
	return true;
}

static void decode(struct amb_mobj_read *r, struct amb_decode *d, const struct amb_yaml *doc,
		   struct amb_mobj *o)
{
	const struct amb_yaml *meta;

	o->kind = r->kind;
	o->line = doc->line;
	o->ns = amb_arena_strndup(d->arena, r->ns, strlen(r->ns));
	o->name = amb_arena_strndup(d->arena, r->name, strlen(r->name));
	if (!o->ns || !o->name) {
		amb_decode_error(d, NULL, "out of memory");
		return;
	}
	meta = amb_decode_enter(d, doc, "metadata", AMB_YAML_MAP);
	amb_decode_kvs(d, meta, "labels", NULL, &o->labels);
	amb_decode_kvs(d, meta, "annotations", wanted_annotation, &o->annotations);
	amb_decode_leave(d);
	if (!d->failed && kinds[r->kind].decode)
		o->spec = kinds[r->kind].decode(d, doc, o);
}

enum amb_mobj_result amb_mobj_read(struct amb_mobj_read *r, const struct amb_yaml *doc,
				   const char *list_kind)
{
	struct amb_decode d = { .arena = r->scratch,
				.temp = r->temp,
				.file = r->file,
				.object = "",
				.report = r->report,
				.ctx = r->ctx };
	enum amb_mobj_result kind;
	struct amb_mobj draft = { 0 }, *o;
	const struct amb_arena_chunk *chunk;
	struct amb_arena block;
	size_t identity, size;

	r->obj = NULL;
	r->named = false;
	amb_arena_reset(r->scratch);
	kind = find_kind(r, &d, doc, list_kind);
	if (kind != AMB_MOBJ_OK)
		return kind;
	/* Of the ConfigMaps only one means something; the others may hold anything. */
	if (r->kind == AMB_MOBJ_CONFIGMAP) {
		const char *name = scalar(amb_yaml_get(doc, "metadata"), "name");

		if (!name || strcmp(name, "istio"))
			return AMB_MOBJ_IGNORED;
	}
	d.object = amb_mobj_kind_text(r->kind);
	if (!identify(r, &d, doc))
		return AMB_MOBJ_BROKEN;

	/* From an aligned place on, as the block is; only where a chunk ends may gaps differ. */
	if (!amb_arena_alloc(r->scratch, 8))
		return AMB_MOBJ_NOMEM;
	chunk = r->scratch->chunks;
	identity = r->scratch->used;
	decode(r, &d, doc, &draft);
	if (d.failed)
		return r->scratch->failed ? AMB_MOBJ_NOMEM : AMB_MOBJ_BROKEN;
	size = r->scratch->used - identity;
	if (r->scratch->chunks != chunk)
		size += 64 + size / 4096;

	o = calloc(1, sizeof(*o) + size);
	if (!o)
		return AMB_MOBJ_NOMEM;
	amb_arena_fix(&block, o + 1, size);
	d = (struct amb_decode){ .arena = &block, .temp = r->temp, .object = r->object };
	decode(r, &d, doc, o);
	if (d.failed) {
		free(o);
		return AMB_MOBJ_NOMEM;
	}
	o->refs = 1;
	r->obj = o;
	return AMB_MOBJ_OK;
}

static bool fill_stand_in(struct amb_decode *d, struct amb_mobj *o, const char *ns,
			  const char *name, const struct amb_yaml *doc)
{
	o->ns = amb_arena_strndup(d->arena, ns, strlen(ns));
	o->name = amb_arena_strndup(d->arena, name, strlen(name));
	o->spec = amb_mobj_deny_all(d, o->kind, doc);
	return o->ns && o->name && o->spec;
}

struct amb_mobj *amb_mobj_stand_in(struct amb_mobj_read *r, enum amb_mobj_kind kind, const char *ns,
				   const char *name, const struct amb_yaml *doc, uint32_t line)
{
	struct amb_decode d = { .arena = r->scratch, .temp = r->temp, .object = "" };
	struct amb_mobj draft = { .kind = kind }, *o;
	struct amb_arena block;
	size_t size;

	amb_arena_reset(r->scratch);
	if (!fill_stand_in(&d, &draft, ns, name, doc))
		return NULL;
	/* Rare and small, so that room for any gaps costs nothing. */
	size = r->scratch->used * 2 + 256;
	o = calloc(1, sizeof(*o) + size);
	if (!o)
		return NULL;
	amb_arena_fix(&block, o + 1, size);
	d = (struct amb_decode){ .arena = &block, .temp = r->temp, .object = "" };
	o->kind = kind;
	if (!fill_stand_in(&d, o, ns, name, doc)) {
		free(o);
		return NULL;
	}
	o->stand_in = true;
	o->line = line;
	o->refs = 1;
	return o;
}
