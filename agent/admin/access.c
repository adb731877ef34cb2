// SPDX-License-Identifier: GPL-2.0-or-later
/* The access log: one line a connection. */
#include "access.h"

#include "base/log.h"
#include "base/reason.h"
#include "base/util.h"

#include <string.h>

#define FIELDS 20

struct line {
	struct amb_log_field field[FIELDS];
	size_t n;
	char src[AMB_ENDPOINT_STRLEN], dst[AMB_ENDPOINT_STRLEN];
	char sent[AMB_U64_STRLEN], received[AMB_U64_STRLEN], duration[AMB_U64_STRLEN + 2];
};

static struct amb_log_field *add(struct line *l, const char *key, const char *value)
{
	struct amb_log_field *f = &l->field[l->n++];

	/* An empty string means the same as an absent one: the field is left out. */
	*f = (struct amb_log_field){ .key = key, .value = value && *value ? value : NULL };
	return f;
}

static void add_quoted(struct line *l, const char *key, const char *value)
{
	add(l, key, value)->quoted = true;
}

static void add_number(struct line *l, const char *key, char buf[AMB_U64_STRLEN], uint64_t v)
{
	amb_util_put_u64(buf, v);
	add(l, key, buf)->number = true;
}

static const char *spiffe(const struct amb_flow *f, const struct amb_identity *id)
{
	return amb_flow_security(f) && id ? id->spiffe : NULL;
}

static const char *direction(const struct amb_flow *f)
{
	return f->direction == AMB_INBOUND ? "inbound" : "outbound";
}

/* What the flow failed of; NULL when it ended well. */
static const char *error_of(const struct amb_flow *f)
{
	if (f->error)
		return f->error;
	return f->flag != AMB_FLAG_NONE ? amb_reason_text(f->reason) : NULL;
}

static void add_peers(struct line *l, const struct amb_flow *f)
{
	const struct amb_workload *s = f->src_workload, *d = f->dst_workload;
	const struct amb_baggage *sb = f->src_baggage, *db = f->dst_baggage;
	/* Outbound: where it was sent; inbound, or when nothing was chosen: what was addressed. */
	bool sent = f->direction == AMB_OUTBOUND && f->actual.port;

	add(l, "src.addr", amb_endpoint_format(&f->src, l->src));
	add_quoted(l, "src.workload", s ? s->name : sb ? sb->workload : NULL);
	add_quoted(l, "src.namespace", s ? s->ns : sb ? sb->ns : NULL);
	add_quoted(l, "src.identity", spiffe(f, f->src_identity));
	add_quoted(l, "src.cluster", s ? s->cluster : sb ? sb->cluster : NULL);
	add(l, "dst.addr", amb_endpoint_format(sent ? &f->actual : &f->dst, l->dst));
	add(l, "dst.hbone_addr", f->authority);
	add_quoted(l, "dst.service", f->dst_service ? f->dst_service->hostname : NULL);
	add_quoted(l, "dst.workload", d ? d->name : db ? db->workload : NULL);
	add_quoted(l, "dst.namespace", d ? d->ns : db ? db->ns : NULL);
	add_quoted(l, "dst.identity", spiffe(f, f->dst_identity));
	add_quoted(l, "dst.cluster", d ? d->cluster : db ? db->cluster : NULL);
	add_quoted(l, "direction", direction(f));
}

void amb_access_opened(const struct amb_flow *f)
{
	struct line l = { .n = 0 };

	if (!amb_log_enabled(AMB_LOG_ACCESS, AMB_LOG_DEBUG))
		return;
	add_peers(&l, f);
	amb_log_fields(AMB_LOG_ACCESS, AMB_LOG_DEBUG, "connection opened", l.field, l.n);
}

void amb_access_closed(const struct amb_flow *f)
{
	const char *error = error_of(f);
	enum amb_log_level level = error ? AMB_LOG_ERROR : AMB_LOG_INFO;
	bool in = f->direction == AMB_INBOUND;
	struct line l = { .n = 0 };

	if (!amb_log_enabled(AMB_LOG_ACCESS, level))
		return;
	add_peers(&l, f);
	/* Sent and received are the local application's, whichever side opened the connection. */
	add_number(&l, "bytes_sent", l.sent, in ? f->bytes_to_src : f->bytes_to_dst);
	add_number(&l, "bytes_recv", l.received, in ? f->bytes_to_dst : f->bytes_to_src);
	strcpy(l.duration + amb_util_put_u64(l.duration, (f->end_ns - f->start_ns) / 1000000),
	       "ms");
	add_quoted(&l, "duration", l.duration);
	add_quoted(&l, "error", error);
	amb_log_fields(AMB_LOG_ACCESS, level, "connection complete", l.field, l.n);
}

void amb_access_failed(const struct amb_flow *f)
{
	const char *error = f->error ? f->error : amb_reason_text(f->reason);
	struct line l = { .n = 0 };

	if (!amb_log_enabled(AMB_LOG_ACCESS, AMB_LOG_WARN))
		return;
	add(&l, "src.addr", amb_endpoint_format(&f->src, l.src));
	add(&l, "dst.addr", amb_endpoint_format(&f->dst, l.dst));
	add_quoted(&l, "direction", direction(f));
	add_quoted(&l, "error", error);
	amb_log_fields(AMB_LOG_ACCESS, AMB_LOG_WARN, "connection failed", l.field, l.n);
}
