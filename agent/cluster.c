// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent in a cluster. Two channels to istiod, because they may lead to two servers and the
 * one of the stream is made anew each time the stream is.
 */
#include "cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/http.h"
#include "agent.h"
#include "base/log.h"
#include "base/resolve.h"
#include "control/citadel.h"
#include "control/local_xds.h"
#include "control/node.h"
#include "control/xds.h"
#include "mesh/state.h"
#include "proxy/demand.h"

#define SYNC_PODS_NS 100000000ull /* after the first of some changes */

struct amb_cluster {
	struct amb_agent *a;
	struct amb_resolver *resolver;
	struct amb_grpc *xds_channel, *ca_channel;
	struct amb_node *node;
	struct amb_xds *xds;
	struct amb_citadel *citadel;
	struct amb_timer sync;
	struct amb_demand *demand; /* XDS_ON_DEMAND, else NULL */
	struct asked *asked;
};

/* A name that the stream was asked for on demand. */
struct asked {
	struct amb_xds_waiter wait;
	struct amb_cluster *c;
	struct asked *next, **prev;
	char name[];
};

static void say_strange_variables(void)
{
	char unknown[1024], unused[1024];

	if (amb_istiod_env_strange((const char *const *)environ, unknown, unused, sizeof(unknown)))
		amb_warn(MAIN, "variables without effect:%s%s%s%s, continuing",
			 *unknown ? " unknown: " : "", unknown,
			 *unused ? " not in this release: " : "", unused);
}

static struct amb_grpc *channel(struct amb_cluster *c, bool ca)
{
	const struct amb_istiod_env *e = &c->a->opt.istiod;
	struct amb_grpc_header headers[AMB_GRPC_HEADERS_MAX] = { { "clusterid",
								   c->a->opt.cluster } };
	size_t n = ca ? e->nca_headers : e->nxds_headers;
	const struct amb_grpc_config config = {
		.url = ca ? e->ca : e->xds,
		.roots = ca ? e->ca_roots : e->xds_roots,
		.alt_name = ca ? e->ca_alt : e->xds_alt,
		.token = e->token,
		.headers = headers,
		.nheaders = n + 1,
	};

	memcpy(headers + 1, ca ? e->ca_headers : e->xds_headers, n * sizeof(*headers));
	return amb_grpc_create(c->a->loop, c->resolver, &config);
}

/* 0, or -errno and @err names what cannot be used. */
static int create_xds(struct amb_cluster *c, char *err, size_t errlen)
{
	const struct amb_istiod_env *e = &c->a->opt.istiod;
	const struct amb_node_config config = {
		.instance_ip = e->instance_ip,
		.pod_name = e->pod_name,
		.pod_namespace = e->pod_namespace,
		.node_name = c->a->opt.node,
		.environment = (const char *const *)environ,
	};

	if (!e->xds)
		return 0;
	c->node = amb_node_create(&config, err, errlen);
	if (!c->node)
		return -errno;
	snprintf(err, errlen, "xDS: address %s, or a header", e->xds);
	c->xds_channel = channel(c, false);
	return c->xds_channel ? 0 : -errno;
}

static int create_ca(struct amb_cluster *c, char *err, size_t errlen)
{
	const struct amb_istiod_env *e = &c->a->opt.istiod;
	struct amb_citadel_config config = {
		.ttl_s = AMB_MAX(c->a->opt.cert_ttl / 1000000000ull, 1ull),
		.impersonate = !e->dedicated,
		.roots = e->ca_roots,
	};

	if (!e->ca)
		return 0;
	snprintf(err, errlen, "CA: address %s, or a header", e->ca);
	c->ca_channel = channel(c, true);
	if (!c->ca_channel)
		return -errno;
	config.channel = c->ca_channel;
	c->citadel = amb_citadel_create(c->a->loop, &config);
	return c->citadel ? 0 : -errno;
}

/* On demand */

static void asked_free(struct asked *q)
{
	*q->prev = q->next;
	if (q->next)
		q->next->prev = q->prev;
	free(q);
}

static void asked_answered(struct amb_xds_waiter *w)
{
	struct asked *q = AMB_CONTAINER_OF(w, struct asked, wait);

	amb_demand_answer(q->c->demand, q->name, 0);
	asked_free(q);
}

static void ask(void *ctx, const char *name)
{
	struct amb_cluster *c = ctx;
	size_t len = strlen(name) + 1;
	struct asked *q = c->xds ? malloc(sizeof(*q) + len) : NULL;
	int err = c->xds ? -ENOMEM : -ECANCELED;

	if (q) {
		*q = (struct asked){ .wait.fn = asked_answered, .c = c };
		memcpy(q->name, name, len);
		q->prev = &c->asked;
		q->next = c->asked;
		if (q->next)
			q->next->prev = &q->next;
		c->asked = q;
		err = amb_xds_want(c->xds, name, &q->wait);
		if (!err)
			return;
		asked_free(q);
	}
	amb_demand_answer(c->demand, name, err == -EALREADY ? 0 : err);
}

/* The proxy waits by it; decisions and what the kernel is told know that not all is there. */
static int create_demand(struct amb_cluster *c)
{
	const struct amb_istiod_env *e = &c->a->opt.istiod;

	if (!e->on_demand || !e->xds)
		return 0;
	if (c->a->opt.dns)
		amb_warn(XDS, "XDS_ON_DEMAND: names of services that nobody asked for yet are "
			      "left to the name server (ISTIO_META_DNS_CAPTURE), continuing");
	c->demand = amb_demand_create(c->a->loop, ask, c);
	c->a->opt.proxy.demand = c->demand;
	return c->demand ? 0 : -ENOMEM;
}

static void sync_due(struct amb_timer *t)
{
	amb_cluster_sync_pods(AMB_CONTAINER_OF(t, struct amb_cluster, sync));
}

struct amb_cluster *amb_cluster_create(struct amb_agent *a, char *err, size_t errlen)
{
	struct amb_cluster *c = calloc(1, sizeof(*c));
	int ret = -ENOMEM;

	say_strange_variables();
	snprintf(err, errlen, "resolver");
	if (c) {
		c->a = a;
		c->sync.fn = sync_due;
		c->resolver = amb_resolver_create();
		if (c->resolver)
			ret = create_xds(c, err, errlen)	?:
				      create_ca(c, err, errlen) ?:
								  create_demand(c);
	}
	if (ret) {
		amb_cluster_destroy(c);
		errno = -ret;
		return NULL;
	}
	return c;
}

static void no_issuer(void *ctx, struct amb_certs *certs, struct amb_certs_ticket *ticket,
		      struct amb_identity *id)
{
	(void)ctx;
	(void)id;
	amb_certs_done(certs, ticket, NULL, "CA_ADDRESS is empty: nobody signs certificates");
}

struct amb_certs_issuer amb_cluster_issuer(struct amb_cluster *c)
{
	if (!c->citadel)
		return (struct amb_certs_issuer){ .issue = no_issuer };
	return amb_citadel_interface(c->citadel);
}

static void ready(void *ctx)
{
	struct amb_cluster *c = ctx;

	amb_http_pending(c->a->http, "state manager", false);
	amb_cluster_sync_pods(c);
	amb_agent_pods_known(c->a);
	amb_info(XDS, "the first state is there: %zu workloads, %zu services, %zu policies",
		 amb_state_count_workloads(c->a->state), amb_state_count_services(c->a->state),
		 amb_state_count_policies(c->a->state));
}

static void state_changed(void *ctx, const struct amb_state_change *change)
{
	struct amb_cluster *c = ctx;

	if (change->local && !c->sync.index)
		amb_loop_timer_set(c->a->loop, &c->sync, amb_util_now_ns() + SYNC_PODS_NS);
}

/* Beside what the control plane says, or instead of it. */
static int load_local(struct amb_cluster *c)
{
	const struct amb_istiod_env *e = &c->a->opt.istiod;
	char why[512];
	int err;

	if (!e->local_path && !e->local_text)
		return 0;
	err = amb_local_xds_load(c->a->state, e->local_path, e->local_text, why, sizeof(why));
	if (err)
		amb_err(XDS, "static state: %s", why);
	return err;
}

int amb_cluster_start(struct amb_cluster *c)
{
	const struct amb_xds_config config = {
		.channel = c->xds_channel,
		.state = c->a->state,
		.node = c->node,
		.on_demand = c->demand,
		.synced = ready,
		.ctx = c,
	};
	int err = amb_state_listen(c->a->state, state_changed, c) ?: load_local(c);

	if (err)
		return err;
	if (!c->xds_channel) {
		ready(c);
		return 0;
	}
	c->xds = amb_xds_create(c->a->loop, &config);
	return c->xds ? 0 : -ENOMEM;
}

void amb_cluster_stop(struct amb_cluster *c)
{
	if (!c)
		return;
	amb_loop_timer_cancel(c->a->loop, &c->sync);
	amb_xds_destroy(c->xds);
	c->xds = NULL;
	while (c->asked)
		asked_free(c->asked);
	amb_citadel_stop(c->citadel);
}

void amb_cluster_destroy(struct amb_cluster *c)
{
	if (!c)
		return;
	amb_cluster_stop(c);
	amb_citadel_destroy(c->citadel);
	amb_grpc_destroy(c->xds_channel);
	amb_grpc_destroy(c->ca_channel);
	amb_node_destroy(c->node);
	amb_resolver_destroy(c->resolver);
	amb_demand_destroy(c->demand);
	free(c);
}

/* Admin */

json_t *amb_cluster_status(const struct amb_cluster *c)
{
	struct amb_xds_stats s;

	if (!c->xds)
		return json_null();
	amb_xds_stats(c->xds, &s);
	return json_pack("{s:s, s:b, s:b, s:f, s:I, s:I, s:I, s:I, s:s, s:s, s:s?}", "server",
			 s.server, "connected", s.connected, "synced", s.synced, "seconds",
			 (amb_util_now_ns() - s.since) / 1e9, "addresses",
			 (json_int_t)s.type[AMB_XDS_ADDRESS].held, "authorizations",
			 (json_int_t)s.type[AMB_XDS_AUTHORIZATION].held, "acks", (json_int_t)s.acks,
			 "nacks", (json_int_t)s.nacks, "lastNack", s.last_nack, "lastEnd", s.error,
			 "ca", c->ca_channel ? amb_grpc_target(c->ca_channel) : NULL);
}

_Static_assert((int)AMB_METRICS_XDS_ENDS == (int)AMB_XDS_ENDS, "same reasons");
_Static_assert((int)AMB_METRICS_XDS_TYPES == (int)AMB_XDS_TYPES + 1, "known types and others");

bool amb_cluster_metrics(const struct amb_cluster *c, struct amb_metrics_xds *out)
{
	struct amb_xds_stats s;
	int i;

	if (!c || !c->xds)
		return false;
	amb_xds_stats(c->xds, &s);
	for (i = 0; i < AMB_XDS_ENDS; i++) {
		out->end[i].reason = amb_xds_end_text(i);
		out->end[i].n = s.terminations[i];
	}
	for (i = 0; i <= AMB_XDS_TYPES; i++) {
		out->type[i].url = i < AMB_XDS_TYPES ? amb_xds_type_url(i) : "unknown";
		out->type[i].messages = s.type[i].messages;
		out->type[i].bytes = s.type[i].bytes;
	}
	return true;
}

/* Pods */

struct want {
	const struct amb_agent *a;
	struct amb_pods_want *v;
	const struct amb_workload **w; /* hold the strings */
	size_t n, cap;
	bool failed;
};

static int want_room(struct want *want)
{
	size_t cap = want->cap ? want->cap * 2 : 64;
	struct amb_pods_want *v;
	const struct amb_workload **w;

	if (want->n < want->cap)
		return 0;
	v = reallocarray(want->v, cap, sizeof(*v));
	if (v)
		want->v = v;
	w = reallocarray(want->w, cap, sizeof(*w));
	if (w)
		want->w = w;
	if (!v || !w)
		return -ENOMEM;
	want->cap = cap;
	return 0;
}

static bool want_pod(void *ctx, const struct amb_workload *w)
{
	struct want *want = ctx;

	/* One that speaks HBONE itself is not captured. */
	if (strcmp(w->node, want->a->opt.node) || w->tunnel != AMB_TUNNEL_HBONE ||
	    w->native_tunnel || w->host_network)
		return true;
	want->failed = want_room(want);
	if (want->failed)
		return false;
	want->w[want->n] = amb_workload_get(w);
	want->v[want->n++] = (struct amb_pods_want){
		.uid = w->uid,
		.ns = w->ns,
		.name = w->name,
		.sa = w->identity->sa,
		.dns = want->a->opt.dns,
	};
	return true;
}

/* The one workload whose network namespace is our own. */
static void sync_dedicated(const struct amb_agent *a)
{
	char ns[256] = "", name[256] = "", sa[256] = "";
	const struct amb_pods_want want = { .uid = a->opt.istiod.workload,
					    .ns = ns,
					    .name = name,
					    .sa = sa,
					    .netns = "/proc/self/ns/net",
					    .dns = a->opt.dns };

	if (sscanf(a->opt.istiod.workload, "%255[^/]/%255[^/]/%255[^/]", ns, name, sa) == 3)
		amb_pods_sync(a->pods, &want, 1);
}

void amb_cluster_sync_pods(struct amb_cluster *c)
{
	struct want want = { .a = c->a };

	if (c->a->stopping || c->a->opt.zds)
		return;
	if (c->a->opt.istiod.dedicated) {
		sync_dedicated(c->a);
		return;
	}
	amb_state_read_begin(c->a->state);
	amb_state_each_workload(c->a->state, want_pod, &want);
	amb_state_read_end(c->a->state);
	if (want.failed)
		amb_err(MAIN, "pods: out of memory, keeping the present ones");
	else
		amb_pods_sync(c->a->pods, want.v, want.n);
	while (want.n)
		amb_workload_put(want.w[--want.n]);
	free(want.v);
	free(want.w);
}
