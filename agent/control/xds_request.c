// SPDX-License-Identifier: GPL-2.0-or-later
/* What the delta ADS client says. */
#include "xds_request.h"

#include "discovery.pb-c.h"

#include "base/cleanup.h"
#include "grpc.h"
#include "manifest_arena.h"
#include "xds_held.h"

#include <errno.h>
#include <string.h>

typedef Discovery__DeltaDiscoveryRequest Request;
typedef Discovery__DeltaDiscoveryRequest__InitialResourceVersionsEntry Version;
typedef Discovery__Status Status;

#define ENTRY_HEADS 12 /* tags and lengths of a map's entry, at most */

/* The map of what we have, as far as there is room for it. */
static int add_versions(Request *m, struct amb_held *held, size_t max, struct amb_arena *a)
{
	struct amb_held_entry *e;
	size_t at = 0, bytes = 0;

	m->initial_resource_versions =
		amb_arena_alloc(a, held->n * sizeof(*m->initial_resource_versions));
	if (!m->initial_resource_versions)
		return -ENOMEM;
	while ((e = amb_held_next(held, &at))) {
		Version *v;

		bytes += strlen(e->name) + strlen(e->version) + ENTRY_HEADS;
		e->told = bytes <= max;
		if (!e->told)
			continue;
		v = amb_arena_alloc(a, sizeof(*v));
		if (!v)
			return -ENOMEM;
		discovery__delta_discovery_request__initial_resource_versions_entry__init(v);
		v->key = (char *)e->name;
		v->value = e->version;
		m->initial_resource_versions[m->n_initial_resource_versions++] = v;
	}
	return 0;
}

int amb_xds_request_send(struct amb_grpc_call *call, const struct amb_xds_request *r)
{
	_cleanup_(amb_arena_free) struct amb_arena arena = { 0 };
	Request m = DISCOVERY__DELTA_DISCOVERY_REQUEST__INIT;
	Status status = DISCOVERY__STATUS__INIT;
	uint8_t *buf;

	m.type_url = (char *)r->type_url;
	m.node = r->node;
	m.resource_names_subscribe = (char **)r->subscribe;
	m.n_resource_names_subscribe = r->nsubscribe;
	m.resource_names_unsubscribe = (char **)r->unsubscribe;
	m.n_resource_names_unsubscribe = r->nunsubscribe;
	if (r->nonce)
		m.response_nonce = (char *)r->nonce;
	if (r->error) {
		status.message = (char *)r->error;
		m.error_detail = &status;
	}
	if (r->held && add_versions(&m, r->held, r->held_max, &arena))
		return -ENOMEM;
	buf = amb_grpc_send(call, protobuf_c_message_get_packed_size(&m.base));
	if (!buf)
		return -errno;
	protobuf_c_message_pack(&m.base, buf);
	return 0;
}
