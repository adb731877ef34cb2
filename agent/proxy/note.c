// SPDX-License-Identifier: GPL-2.0-or-later
/* Notes of connections that the kernel carries. */
#include "note.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define VERSION 1

static int put(json_t *o, const char *key, const char *text)
{
	return text && *text ? json_object_set_new(o, key, json_string(text)) : 0;
}

static int put_endpoint(json_t *o, const char *key, const struct amb_endpoint *e)
{
	char text[AMB_ENDPOINT_STRLEN];

	return json_object_set_new(o, key, json_string(amb_endpoint_format(e, text)));
}

static int put_all(json_t *o, const char *pod, const struct amb_flow *f, uint16_t suite)
{
	const struct amb_service *svc = f->dst_service;

	return json_object_set_new(o, "v", json_integer(VERSION)) || put(o, "pod", pod) ||
	       json_object_set_new(o, "direction", json_integer(f->direction)) ||
	       json_object_set_new(o, "protocol", json_integer(f->protocol)) ||
	       json_object_set_new(o, "suite", json_integer(suite)) ||
	       json_object_set_new(o, "start", json_integer(f->start_ns)) ||
	       put_endpoint(o, "src", &f->src) || put_endpoint(o, "dst", &f->dst) ||
	       put_endpoint(o, "actual", &f->actual) || put(o, "authority", f->authority) ||
	       put(o, "srcUid", f->src_workload ? f->src_workload->uid : NULL) ||
	       put(o, "dstUid", f->dst_workload ? f->dst_workload->uid : NULL) ||
	       put(o, "serviceNs", svc ? svc->ns : NULL) ||
	       put(o, "service", svc ? svc->hostname : NULL) ||
	       put(o, "srcId", f->src_identity ? f->src_identity->spiffe : NULL) ||
	       put(o, "dstId", f->dst_identity ? f->dst_identity->spiffe : NULL);
}

size_t amb_note_write(const char *pod, const struct amb_flow *f, uint16_t suite, char *to,
		      size_t room)
{
	json_t *o = json_object();
	size_t n = 0;

	if (o && !put_all(o, pod, f, suite))
		n = json_dumpb(o, to, room, JSON_COMPACT);
	json_decref(o);
	/* It says how long it would be. */
	return n <= room ? n : 0;
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static int get_endpoint(const json_t *o, const char *key, struct amb_endpoint *out)
{
	const char *s = text(o, key);

	return s ? amb_endpoint_parse(s, out) : -EBADMSG;
}

static json_int_t number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) ? json_integer_value(v) : -1;
}

static bool get_all(const json_t *o, struct amb_note *out)
{
	json_int_t direction = number(o, "direction"), protocol = number(o, "protocol"),
		   suite = number(o, "suite"), start = number(o, "start");

	if (number(o, "v") != VERSION || direction < AMB_INBOUND || direction > AMB_OUTBOUND ||
	    protocol != AMB_PROTO_HBONE || suite < 0 || suite > UINT16_MAX || start < 0)
		return false;
	out->direction = direction;
	out->protocol = protocol;
	out->suite = suite;
	out->start_ns = start;
	out->pod = text(o, "pod");
	out->authority = text(o, "authority");
	out->src_uid = text(o, "srcUid");
	out->dst_uid = text(o, "dstUid");
	out->service_ns = text(o, "serviceNs");
	out->service_host = text(o, "service");
	out->src_identity = text(o, "srcId");
	out->dst_identity = text(o, "dstId");
	return out->pod && !get_endpoint(o, "src", &out->src) &&
	       !get_endpoint(o, "dst", &out->dst) && !get_endpoint(o, "actual", &out->actual);
}

int amb_note_read(const void *p, size_t n, struct amb_note *out)
{
	json_t *o = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);

	memset(out, 0, sizeof(*out));
	if (!o || !get_all(o, out)) {
		json_decref(o);
		return -EBADMSG;
	}
	out->json = o;
	return 0;
}

void amb_note_clear(struct amb_note *note)
{
	json_decref(note->json);
	memset(note, 0, sizeof(*note));
}
