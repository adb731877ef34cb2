// SPDX-License-Identifier: GPL-2.0-or-later
/* From objects to Workload API resources: the order of it, and what its parts share. */
#include "manifest_compile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MODE "istio.io/dataplane-mode"

void *amb_mbuild_alloc(struct amb_mbuild *b, size_t size)
{
	void *p = amb_arena_alloc(b->a, size);

	b->failed |= !p;
	return p;
}

void amb_mbuild_report(struct amb_mbuild *b, const struct amb_mref *ref, bool error,
		       const char *field, const char *fmt, ...)
{
	const struct amb_mobj *o = ref->obj;
	char reason[512], object[400];
	struct amb_manifest_problem p = {
		.error = error,
		.file = ref->file,
		.line = o->line,
		.object = object,
		.field = field,
		.reason = reason,
	};
	va_list ap;

	snprintf(object, sizeof(object), "%s %s%s%s", amb_mobj_kind_text(o->kind), o->ns,
		 *o->ns ? "/" : "", o->name);
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	b->report(b->ctx, &p);
}

static uint32_t name_hash(const char *name, bool policy)
{
	return amb_util_hash(name, strlen(name), amb_util_seed() + policy);
}

static int grow(struct amb_mcompiled *c)
{
	uint32_t cap = c->cap ? c->cap * 2 : 256, nslots = cap * 2, i;
	struct amb_mresource *res = realloc(c->res, cap * sizeof(*res));
	uint32_t *slots;

	if (!res)
		return -ENOMEM;
	c->res = res;
	slots = calloc(nslots, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(c->slots);
	c->slots = slots;
	c->nslots = nslots;
	c->cap = cap;
	for (i = 0; i < c->n; i++) {
		uint32_t at = name_hash(res[i].name, res[i].authorization) & (nslots - 1);

		while (slots[at])
			at = (at + 1) & (nslots - 1);
		slots[at] = i + 1;
	}
	return 0;
}

bool amb_mbuild_add(struct amb_mbuild *b, const char *name, const struct amb_mref *from,
		    Istio__Workload__Address *address, Istio__Security__Authorization *policy)
{
	struct amb_mcompiled *c = b->out;
	uint32_t at;

	if (b->failed || (c->n == c->cap && grow(c))) {
		b->failed = true;
		return false;
	}
	for (at = name_hash(name, policy) & (c->nslots - 1); c->slots[at];
	     at = (at + 1) & (c->nslots - 1)) {
		const struct amb_mresource *r = &c->res[c->slots[at] - 1];

		if (!r->authorization != !policy || strcmp(r->name, name))
			continue;
		/* The mesh's own policies have names that no object can have. */
		if (from && r->from)
			amb_mbuild_report(b, from, true, "", "\"%s\" is %s %s/%s already (%s:%u)",
					  name, amb_mobj_kind_text(r->from->obj->kind),
					  r->from->obj->ns, r->from->obj->name, r->from->file,
					  r->from->obj->line);
		return false;
	}
	c->res[c->n] = (struct amb_mresource){ name, from, address, policy };
	c->slots[at] = ++c->n;
	return true;
}

Istio__Workload__NetworkAddress *amb_mbuild_address(struct amb_mbuild *b, const char *network,
						    const struct amb_addr *addr)
{
	Istio__Workload__NetworkAddress *n = amb_mbuild_alloc(b, sizeof(*n));
	bool v4 = amb_addr_is_v4(addr);

	if (!n)
		return NULL;
	istio__workload__network_address__init(n);
	n->network = (char *)network;
	n->address.len = v4 ? 4 : 16;
	n->address.data = amb_mbuild_alloc(b, 16);
	if (!n->address.data)
		return NULL;
	memcpy(n->address.data, addr->b + (v4 ? 12 : 0), n->address.len);
	return n;
}

Istio__Workload__PortList *amb_mbuild_ports(struct amb_mbuild *b, uint32_t most)
{
	Istio__Workload__PortList *list = amb_mbuild_alloc(b, sizeof(*list));

	if (!list)
		return NULL;
	istio__workload__port_list__init(list);
	list->ports = amb_mbuild_alloc(b, most * sizeof(*list->ports));
	return list->ports ? list : NULL;
}

void amb_mbuild_port(struct amb_mbuild *b, Istio__Workload__PortList *list, uint16_t port,
		     uint16_t target, uint8_t app_protocol)
{
	Istio__Workload__Port *p = amb_mbuild_alloc(b, sizeof(*p));

	if (!p)
		return;
	istio__workload__port__init(p);
	p->service_port = port;
	p->target_port = target;
	p->app_protocol = (Istio__Workload__Port__AppProtocol)app_protocol;
	list->ports[list->n_ports++] = p;
}

bool amb_mcompile_enrolled(const struct amb_mtable *t, const struct amb_mobj *pod)
{
	const struct amb_mpod *spec = pod->spec;
	const struct amb_mref *space;
	const char *mode;

	/* A pod on the node's network shares its addresses with the node: nothing to capture. */
	if (spec->host_network)
		return false;
	mode = amb_kvs_get(&pod->labels, LABEL_MODE);
	if (!mode) {
		space = amb_mtable_find(t, AMB_MOBJ_NAMESPACE, "", pod->ns);
		mode = space ? amb_kvs_get(&space->obj->labels, LABEL_MODE) : NULL;
	}
	return mode && !strcmp(mode, "ambient");
}

bool amb_mcompile_always_tunnel(const struct amb_mtable *t, const struct amb_mobj *pod)
{
	const struct amb_mref *space = amb_mtable_find(t, AMB_MOBJ_NAMESPACE, "", pod->ns);
	const char *v = amb_kvs_get(&pod->annotations, AMB_MANIFEST_ALWAYS_TUNNEL);

	if (!v && space)
		v = amb_kvs_get(&space->obj->annotations, AMB_MANIFEST_ALWAYS_TUNNEL);
	return v && !strcmp(v, "true");
}

const char *amb_mcompile_pod_uid(const char *cluster, const struct amb_mobj *pod, char *buf,
				 size_t len)
{
	snprintf(buf, len, "%s//Pod/%s/%s", cluster, pod->ns, pod->name);
	return buf;
}

int amb_mcompile(const struct amb_mtable *t, const struct amb_msettings *settings,
		 amb_manifest_report_fn *report, void *ctx, struct amb_mcompiled *out)
{
	struct amb_mbuild b = { .t = t, .set = settings, .out = out, .report = report, .ctx = ctx };

	*out = (struct amb_mcompiled){ 0 };
	b.a = &out->arena;
	b.by_service = amb_mselect_create();
	b.by_policy = amb_mselect_create();
	b.by_peerauth = amb_mselect_create();
	if (b.by_service && b.by_policy && b.by_peerauth) {
		amb_mbuild_policies(&b);
		amb_mbuild_waypoints(&b);
		amb_mbuild_services(&b);
		amb_mbuild_network_gateways(&b);
		amb_mbuild_workloads(&b);
		amb_mbuild_check(&b);
	} else {
		b.failed = true;
	}
	amb_mselect_destroy(b.by_service);
	amb_mselect_destroy(b.by_policy);
	amb_mselect_destroy(b.by_peerauth);
	return b.failed ? -ENOMEM : 0;
}

void amb_mcompiled_free(struct amb_mcompiled *c)
{
	amb_arena_free(&c->arena);
	free(c->res);
	free(c->slots);
	*c = (struct amb_mcompiled){ 0 };
}
