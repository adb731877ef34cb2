// SPDX-License-Identifier: GPL-2.0-or-later
/* What the admin side may ask of the agent: answered from its parts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "capture.h"
#include "cluster.h"
#include "cni/attachment.h"
#include "control/manifest.h"
#include "flows.h"
#include "kernel/rows.h"
#include "proxy/aead.h"

struct pod_walk {
	amb_admin_pod_fn *fn;
	void *arg;
};

static void show_pod(void *ctx, const struct amb_pods_info *info)
{
	const struct pod_walk *walk = ctx;
	const struct amb_admin_pod pod = {
		.uid = info->uid,
		.ns = info->ns,
		.name = info->name,
		.sa = info->sa,
		.netns = info->netns ? info->netns : "",
		.up = info->state == AMB_PODS_UP,
		.state = amb_pods_state_text(info->state),
		.error = info->error,
	};

	walk->fn(walk->arg, &pod);
}

static void each_pod(void *ctx, amb_admin_pod_fn *fn, void *arg)
{
	struct amb_agent *a = ctx;
	struct pod_walk walk = { fn, arg };

	amb_pods_each(a->pods, show_pod, &walk);
}

static void add_problem(void *ctx, bool error, const char *text)
{
	json_array_append_new(ctx, json_pack("{s:s, s:s}", "level", error ? "error" : "warning",
					     "text", text));
}

static json_t *manifest_status(const struct amb_agent *a)
{
	struct amb_manifest_status s;
	json_t *problems = json_array();

	amb_manifest_status(a->manifest, &s);
	amb_manifest_each_problem(a->manifest, add_problem, problems);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "directory", s.dir,
			 "files", (json_int_t)s.counts.files, "objects",
			 (json_int_t)s.counts.objects, "errors", (json_int_t)s.counts.errors,
			 "warnings", (json_int_t)s.counts.warnings, "loads", (json_int_t)s.loads,
			 "loadedAt", (json_int_t)s.loaded_at, "watching", s.watching, "problems",
			 problems);
}

static const char *capture_name(const struct amb_agent *a)
{
	return a->opt.zds ? "cni" : amb_capture_mode_name(amb_capture_mode(a->capture));
}

static json_t *status(void *ctx)
{
	const struct amb_agent *a = ctx;

	if (a->cluster)
		return json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:o}", "node", a->opt.node, "mode",
				 "cluster", "trustDomain", a->opt.trust_domain, "capture",
				 capture_name(a), "uptimeSeconds",
				 (json_int_t)(time(NULL) - a->started_at), "stopping", a->stopping,
				 "xds", amb_cluster_status(a->cluster));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:o}", "node", a->opt.node, "mode",
			 "standalone", "ca", a->opt.ca_dir, "trustDomain", a->opt.trust_domain,
			 "capture", capture_name(a), "uptimeSeconds",
			 (json_int_t)(time(NULL) - a->started_at), "stopping", a->stopping,
			 "manifests", manifest_status(a));
}

static json_t *seconds(uint64_t ns)
{
	return json_real(ns / 1e9);
}

static void put_istiod(json_t *j, const struct amb_istiod_env *e)
{
	json_t *more = json_pack("{s:s?, s:s?, s:s, s:s, s:s?, s:s?, s:b, s:s}", "xdsAddress",
				 e->xds, "caAddress", e->ca, "xdsRootCert", e->xds_roots,
				 "caRootCert", e->ca_roots, "altXdsHostname", e->xds_alt,
				 "altCaHostname", e->ca_alt, "xdsOnDemand", e->on_demand,
				 "proxyMode", e->dedicated ? "Dedicated" : "Shared");

	json_object_update(j, more);
	json_decref(more);
}

static json_t *socket_config(const struct amb_keepalive *k)
{
	return json_pack("{s:b, s:i, s:i, s:i, s:b}", "keepaliveEnabled", k->enabled,
			 "keepaliveTime", (int)k->time_s, "keepaliveInterval", (int)k->interval_s,
			 "keepaliveRetries", (int)k->probes, "userTimeoutEnabled", k->user_timeout);
}

static json_t *config(void *ctx)
{
	const struct amb_agent *a = ctx;
	const struct amb_options *o = &a->opt;
	const struct amb_proxy_config *p = &o->proxy;
	char dns_at[AMB_ENDPOINT_STRLEN];
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s}", "localNode",
			      o->node, "network", o->network, "clusterId", o->cluster,
			      "clusterDomain", o->domain, "trustDomain", o->trust_domain,
			      "rootNamespace", o->root_ns, "manifests", o->manifests, "caDirectory",
			      o->ca_dir, "controlSocket", o->socket);

	json_object_set_new(j, "numWorkerThreads", json_integer(p->workers));
	json_object_set_new(j, "adminPort", json_integer(o->admin_port));
	json_object_set_new(j, "statsPort", json_integer(o->metrics_port));
	json_object_set_new(j, "readinessPort", json_integer(o->ready_port));
	json_object_set_new(j, "socketConfig", socket_config(&o->keepalive));
	json_object_set_new(j, "windowSize", json_integer(p->hbone.stream_window));
	json_object_set_new(j, "connectionWindowSize", json_integer(p->hbone.conn_window));
	json_object_set_new(j, "frameSize", json_integer(p->hbone.frame_size));
	json_object_set_new(j, "maxStreamsPerConnection", json_integer(p->pool_streams));
	json_object_set_new(j, "poolUnusedReleaseTimeoutSeconds", seconds(p->pool_idle_ns));
	json_object_set_new(j, "terminationDeadlineSeconds", seconds(o->drain));
	json_object_set_new(j, "secretTtlSeconds", seconds(o->cert_ttl));
	json_object_set_new(j, "ipv6Enabled", json_boolean(p->ipv6));
	json_object_set_new(j, "enableOrigSrc",
			    p->orig_src < 0 ? json_null() : json_boolean(p->orig_src));
	json_object_set_new(j, "localhostAppTunnel", json_boolean(p->localhost_app_tunnel));
	json_object_set_new(j, "enableResponseBaggage", json_boolean(p->response_baggage));
	json_object_set_new(j, "authzPolicyInfoLogging", json_boolean(p->policy_log));
	json_object_set_new(j, "capture",
			    json_string(amb_capture_mode_name(amb_capture_mode(a->capture))));
	json_object_set_new(j, "alwaysTunnel", json_boolean(o->always_tunnel));
	json_object_set_new(j, "tier", json_string(amb_tier_name(p->hbone.tier)));
	json_object_set_new(j, "bpfDirectory", json_string(o->bpf_dir));
	if (o->sds)
		json_object_set_new(j, "sds", json_string(o->sds));
	json_object_set_new(j, "dnsProxy", json_boolean(o->dns));
	json_object_set_new(j, "dnsProxyAddr",
			    json_string(amb_endpoint_format(&p->dns_at, dns_at)));
	json_object_set_new(j, "resolvConf", json_string(p->resolv_conf));
	json_object_set_new(j, "keep", json_boolean(o->keep));
	json_object_set_new(j, "inpodUds", o->zds ? json_string(o->zds) : json_null());
	json_object_set_new(j, "inpodPortReuse", json_boolean(p->port_reuse));
	json_object_set_new(j, "packetMark", json_integer(o->packet_mark));
	if (a->cluster)
		put_istiod(j, &o->istiod);
	return j;
}

static json_t *probe_capture(const struct amb_agent *a)
{
	bool loaded = amb_capture_bpf(a->capture);
	const char *why = amb_capture_why(a->capture);
	char detail[400];

	snprintf(detail, sizeof(detail), "decide connections in the kernel%s%s",
		 *why	? ": " :
		 loaded ? "" :
			  " (not asked for)",
		 why);
	return json_pack("{s:b, s:b, s:b, s:s}", "ok", loaded, "needed", false, "used", loaded,
			 "detail", detail);
}

static json_t *probe(void *ctx)
{
	const struct amb_agent *a = ctx;
	bool user = a->opt.proxy.hbone.tier == AMB_TIER_USER;
	json_t *j = json_object();
	char detail[160];
	size_t i;

	for (i = 0; i < a->nprobes; i++) {
		const struct amb_probe *p = &a->probes[i];

		if (p->err)
			snprintf(detail, sizeof(detail), "%s: %s: %s", p->purpose, p->detail,
				 strerror(-p->err));
		else
			snprintf(detail, sizeof(detail), "%s%s", p->purpose,
				 p->used ? "" : " (there, but not used: see --tier)");
		json_object_set_new(j, p->name,
				    json_pack("{s:b, s:b, s:b, s:s}", "ok", !p->err, "needed",
					      p->needed, "used", p->used, "detail", detail));
	}
	snprintf(detail, sizeof(detail), "records of tunnels made by the agent, with %s%s",
		 amb_aead_library(), user ? "" : " (as each tunnel begins)");
	json_object_set_new(j, "user",
			    json_pack("{s:b, s:b, s:b, s:s}", "ok", true, "needed", true, "used",
				      user, "detail", detail));
	json_object_set_new(j, "ebpf", probe_capture(a));
	return j;
}

/* Where a CNI says which pods to serve, nobody else does. */
static bool cni_decides(const struct amb_agent *a, const char *pod, char *err, size_t errlen)
{
	if (a->opt.zds)
		snprintf(err, errlen, "pod %s: the CNI at %s says which pods are served", pod,
			 a->opt.zds);
	return a->opt.zds;
}

static int enroll(void *ctx, const char *pod, const char *netns, char *err, size_t errlen)
{
	struct amb_agent *a = ctx;
	int e;

	if (cni_decides(a, pod, err, errlen))
		return -EPERM;
	e = a->stopping ? -ESHUTDOWN : amb_pods_enroll(a->pods, pod, netns);
	if (e == -ENOENT && access(netns, F_OK))
		snprintf(err, errlen, "pod %s: %s: %s", pod, netns, strerror(errno));
	else if (e == -ENOENT)
		snprintf(err, errlen,
			 "pod %s: no pod of the mesh on node %s has that name (it needs "
			 "spec.nodeName %s, status.podIP and label istio.io/dataplane-mode, "
			 "its own or its namespace's)",
			 pod, a->opt.node, a->opt.node);
	else if (e)
		snprintf(err, errlen, "pod %s: %s: %s", pod, netns, strerror(-e));
	return e;
}

static int unenroll(void *ctx, const char *pod, char *err, size_t errlen)
{
	struct amb_agent *a = ctx;
	int e;

	if (cni_decides(a, pod, err, errlen))
		return -EPERM;
	e = amb_pods_unenroll(a->pods, pod);
	if (e)
		snprintf(err, errlen, "pod %s: no pod of the mesh on node %s has that name", pod,
			 a->opt.node);
	return e;
}

static int attach(void *ctx, const char *pod, const char *netns, struct amb_admin_attached *out,
		  char *err, size_t errlen)
{
	struct amb_agent *a = ctx;
	struct amb_pods_info info;
	int ret;

	if (cni_decides(a, pod, err, errlen))
		return -EPERM;
	ret = a->stopping ? -ESHUTDOWN : amb_pods_attach(a->pods, pod, netns, &info);
	if (ret < 0) {
		snprintf(err, errlen, "pod %s: %s: %s", pod, netns, strerror(-ret));
		return ret;
	}
	if (ret) {
		out->wanted = true;
		out->up = info.state == AMB_PODS_UP;
		out->failed = info.state == AMB_PODS_FAILED;
		snprintf(out->reason, sizeof(out->reason), "%s", info.error);
	}
	return 0;
}

static int detach(void *ctx, const char *pod, const char *netns, char *err, size_t errlen)
{
	struct amb_agent *a = ctx;

	if (cni_decides(a, pod, err, errlen))
		return -EPERM;
	amb_pods_detach(a->pods, pod, netns);
	return 0;
}

static int reload(void *ctx, char *err, size_t errlen)
{
	struct amb_agent *a = ctx;
	int n = a->manifest ? amb_manifest_reload(a->manifest) : -ENOTSUP;

	if (!a->manifest)
		snprintf(err, errlen, "there are no manifests to read: istiod says what there is");
	else if (n < 0)
		snprintf(err, errlen, "%s: %s", a->opt.manifests, strerror(-n));
	else if (n)
		snprintf(err, errlen, "%s: %d error%s, see ambientctl status; the last good stays",
			 a->opt.manifests, n, n == 1 ? "" : "s");
	return n > 0 ? -EINVAL : n;
}

static void quit(void *ctx)
{
	amb_agent_stop(ctx);
}

static void tell_bytes(void *ctx)
{
	const struct amb_agent *a = ctx;

	if (amb_capture_flows(a->capture))
		amb_flows_tell_bytes(amb_capture_flows(a->capture));
}

static bool ask_kernel(void *ctx, const struct amb_addr *src, const struct amb_endpoint *dst,
		       enum amb_way *way, enum amb_reason *reason, struct amb_endpoint *to)
{
	const struct amb_agent *a = ctx;
	const struct amb_bpf *b = amb_capture_bpf(a->capture);
	struct amb_in6 key = amb_rows_addr(src);
	struct amb_ask ask = { .dst = amb_rows_addr(&dst->addr), .port = dst->port };
	struct amb_addr_row row;

	if (!b || !amb_rows_get(b, AMB_BPF_ADDR, &key, &row) || !row.netns)
		return false;
	ask.netns = row.netns;
	if (amb_bpf_ask(b, &ask))
		return false;
	*way = ask.way;
	*reason = ask.reason;
	to->addr = amb_rows_addr_of(&ask.to);
	to->port = ask.to_port;
	return true;
}

static void add_stats(void *ctx, struct amb_proxy_stats *stats)
{
	const struct amb_agent *a = ctx;

	if (amb_capture_flows(a->capture))
		amb_flows_stats(amb_capture_flows(a->capture), stats);
}

static void each_conn(void *ctx, void (*fn)(void *arg, const struct amb_proxy_conn *c), void *arg)
{
	const struct amb_agent *a = ctx;

	if (amb_capture_flows(a->capture))
		amb_flows_each(amb_capture_flows(a->capture), fn, arg);
}

void amb_agent_set_ops(struct amb_agent *a)
{
	a->ops = (struct amb_admin_ops){
		.ctx = a,
		.loop = a->loop,
		.state = a->state,
		.creds = a->creds,
		.proxy = a->proxy,
		.metrics = a->metrics,
		.version = AMB_VERSION,
		.each_pod = each_pod,
		.status = status,
		.config = config,
		.probe = probe,
		.enroll = enroll,
		.unenroll = unenroll,
		.attach = attach,
		.detach = detach,
		.reload = reload,
		.tell_bytes = tell_bytes,
		.add_stats = add_stats,
		.each_conn = each_conn,
		.ask_kernel = ask_kernel,
		.quit = quit,
	};
}

/* Pods */

static bool take_attachment(void *ctx, const struct amb_attachment *at)
{
	struct amb_agent *a = ctx;
	struct amb_pods_info info;
	int ret = amb_pods_attach(a->pods, at->pod, at->netns, &info);

	/* Its namespace went with nobody told: CNI's garbage collection sees to the file. */
	if (ret < 0)
		amb_warn(MAIN, "pod %s, attached by the CNI plugin: %s: %s, continuing without",
			 at->pod, at->netns, strerror(-ret));
	return true;
}

void amb_agent_read_attachments(struct amb_agent *a)
{
	int err = amb_attachment_each(a->opt.cni_dir, take_attachment, a);

	if (err)
		amb_err(MAIN, "%s: %s, continuing without", a->opt.cni_dir, strerror(-err));
}

struct want {
	const struct amb_options *opt;
	struct amb_pods_want *v;
	size_t n, cap;
	bool failed;
};

static bool want_pod(void *ctx, const struct amb_manifest_pod *pod)
{
	struct want *w = ctx;
	char *uid;

	if (!pod->enrolled)
		return true;
	if (w->n == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 64;
		struct amb_pods_want *v = reallocarray(w->v, cap, sizeof(*v));

		w->failed = !v;
		if (!v)
			return false;
		w->v = v;
		w->cap = cap;
	}
	/* The only string that does not outlive this call. */
	uid = strdup(pod->uid);
	w->failed = !uid;
	if (!uid)
		return false;
	w->v[w->n++] = (struct amb_pods_want){
		.uid = uid,
		.ns = pod->ns,
		.name = pod->name,
		.sa = pod->sa,
		.netns = pod->netns,
		.ingress_mode = pod->ingress_mode,
		.always_tunnel = pod->always_tunnel,
		.splice = pod->splice,
		.dns = pod->dns_capture < 0 ? w->opt->dns : pod->dns_capture,
		.dns_search = pod->dns_search,
		.dns_search_only = pod->dns_search_only,
	};
	return true;
}

void amb_agent_sync_pods(void *agent)
{
	struct amb_agent *a = agent;
	struct want w = { .opt = &a->opt };

	if (a->stopping)
		return;
	amb_manifest_each_pod(a->manifest, want_pod, &w);
	if (w.failed)
		amb_err(MAIN, "pods: out of memory, keeping the present ones");
	else
		amb_pods_sync(a->pods, w.v, w.n);
	while (w.n)
		free((char *)w.v[--w.n].uid);
	free(w.v);
}
