// SPDX-License-Identifier: GPL-2.0-or-later
/* ambientd: the order in which its parts start and stop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <time.h>

#include "admin/control.h"
#include "admin/http.h"
#include "admin/metrics.h"
#include "agent.h"
#include "base/cleanup.h"
#include "base/groups.h"
#include "base/log.h"
#include "base/priv.h"
#include "base/rcu.h"
#include "base/trim.h"
#include "capture.h"
#include "cluster.h"
#include "cni_pods.h"
#include "control/certs.h"
#include "control/issuer.h"
#include "control/manifest.h"
#include "control/sds.h"
#include "control/sds_server.h"
#include "crl_file.h"
#include "flows.h"
#include "kernel/khbone.h"
#include "kernel/netns.h"
#include "mesh/state.h"
#include "proxy/aead.h"
#include "proxy/creds.h"
#include "proxy/tls.h"

/* The identities of this node's workloads are looked for again this long after a change. */
#define PREFETCH_NS 100000000ull
/* By then a start is over: its memory is given back. */
#define SETTLED_NS 2000000000ull

static struct amb_agent agent;
static struct amb_io signals;
static struct amb_timer prefetch, settled;
static struct amb_issuer *issuer;
static struct amb_sds *sds;
static struct amb_sds_server *sds_server;
static struct amb_crl_file *crl;

static int __attribute__((format(printf, 1, 2))) die(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	amb_err(MAIN, "%s", text);
	return -1;
}

/* Stop */

static void drained(void *ctx, int err)
{
	struct amb_agent *a = ctx;

	if (err)
		amb_warn(MAIN, "connections failed to drain within the timeout");
	amb_loop_stop(a->loop);
}

void amb_agent_stop(struct amb_agent *a)
{
	if (a->stopping)
		return;
	a->stopping = true;
	amb_info(MAIN, "stopping; connections have %.0f s to end", a->opt.drain / 1e9);
	amb_http_pending(a->http, "proxy", true);
	/* What the CNI has to say now is for the next agent. */
	amb_cni_pods_stop(a->cni);
	a->cni = NULL;
	/*
	 * The rules stay until the last connection is done: without them the kernel would no
	 * longer translate the redirected ones. New connections are refused meanwhile.
	 */
	amb_proxy_drain(a->proxy, a->opt.drain, drained, a);
}

static void on_signal(struct amb_io *io, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	if (read(io->fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGHUP) {
		if (agent.manifest)
			amb_manifest_reload(agent.manifest);
		return;
	}
	if (agent.stopping)
		amb_loop_stop(agent.loop);
	else
		amb_agent_stop(&agent);
}

/* State changes */

struct idents {
	struct amb_identity **v;
	size_t n, cap;
};

static bool add_local(void *ctx, const struct amb_workload *w)
{
	struct idents *ids = ctx;

	if (strcmp(w->node, agent.opt.node) || (w->tunnel != AMB_TUNNEL_HBONE && !w->native_tunnel))
		return true;
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 64;
		struct amb_identity **v = reallocarray(ids->v, cap, sizeof(*v));

		if (!v)
			return false;
		ids->v = v;
		ids->cap = cap;
	}
	ids->v[ids->n++] = amb_identity_get(w->identity);
	return true;
}

static void prefetch_due(struct amb_timer *t)
{
	struct idents ids = { 0 };

	(void)t;
	amb_state_read_begin(agent.state);
	amb_state_each_workload(agent.state, add_local, &ids);
	amb_state_read_end(agent.state);
	if (amb_certs_local(agent.certs, ids.v, ids.n))
		amb_warn(CA, "out of memory while fetching certificates ahead, continuing");
	while (ids.n)
		amb_identity_put(ids.v[--ids.n]);
	free(ids.v);
}

static void settled_due(struct amb_timer *t)
{
	(void)t;
	amb_trim();
}

static void state_changed(void *ctx, const struct amb_state_change *change)
{
	(void)ctx;
	if (change->local && !prefetch.index)
		amb_loop_timer_set(agent.loop, &prefetch, amb_util_now_ns() + PREFETCH_NS);
	/* First nothing new, then what lives: so nothing slips in between. */
	amb_capture_changed(agent.capture, change);
	if (change->policies && agent.proxy)
		amb_proxy_rejudge(agent.proxy);
}

/* Joints between folders that do not know each other */

static void request_cert(void *ctx, struct amb_identity *id, enum amb_creds_priority priority)
{
	amb_certs_request(*(struct amb_certs **)ctx, id, (enum amb_certs_priority)priority);
}

_Static_assert((int)AMB_CREDS_BACKGROUND == (int)AMB_CERTS_BACKGROUND, "same order");

static int install_cert(void *ctx, struct amb_identity *id, const uint8_t *key, size_t keylen,
			const char *chain, const char *roots, char *err, size_t errlen)
{
	int ret = amb_creds_install(ctx, id, key, keylen, chain, roots, err, errlen), e = 0;

	if (!ret && sds_server)
		e = amb_sds_server_install(sds_server, id, key, keylen, chain, roots);
	if (e)
		amb_err(CA, "%s: not to be had from %s: %s", id->spiffe, agent.opt.sds_server,
			strerror(-e));
	return ret;
}

static void fail_cert(void *ctx, struct amb_identity *id, const char *error)
{
	amb_creds_fail(ctx, id, error);
}

static void forget_cert(void *ctx, struct amb_identity *id)
{
	amb_creds_forget(ctx, id);
	if (sds_server)
		amb_sds_server_forget(sds_server, id);
}

static int set_roots(void *ctx, const char *roots)
{
	int err = sds_server ? amb_sds_server_roots(sds_server, roots) : 0;

	return amb_creds_set_roots(ctx, roots) ?: err;
}

static bool proxy_stats(void *ctx, struct amb_proxy_stats *out)
{
	const struct amb_agent *a = ctx;

	if (!a->proxy)
		return false;
	amb_proxy_stats(a->proxy, out);
	if (amb_capture_flows(a->capture))
		amb_flows_stats(amb_capture_flows(a->capture), out);
	return true;
}

static bool gauges(void *ctx, struct amb_metrics_gauges *out)
{
	const struct amb_agent *a = ctx;
	struct amb_pods_counts pods = { 0 };

	if (a->pods)
		amb_pods_count(a->pods, &pods);
	*out = (struct amb_metrics_gauges){
		.active = pods.up,
		.pending = pods.pending,
		.started = pods.started,
		.stopped = pods.stopped,
		.workloads = amb_state_count_workloads(a->state),
		.services = amb_state_count_services(a->state),
		.policies = amb_state_count_policies(a->state),
	};
	return true;
}

static bool xds_stats(void *ctx, struct amb_metrics_xds *out)
{
	const struct amb_agent *a = ctx;

	return amb_cluster_metrics(a->cluster, out);
}

/* Start */

static int start_signals(struct amb_agent *a)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* Before any thread is made, so that all of them have these blocked. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	signals.fn = on_signal;
	if (signals.fd < 0)
		return -errno;
	return amb_loop_add(a->loop, &signals, EPOLLIN);
}

static int start_base(struct amb_agent *a)
{
	int err;

	if (amb_log_set_filter(a->opt.log_filter))
		return die("log filter '%s' cannot be read", a->opt.log_filter);
	a->started_at = time(NULL);
	amb_netns_set_mark(a->opt.packet_mark);
	amb_netns_set_keepalive(&a->opt.keepalive);
	urcu_memb_register_thread();
	err = amb_priv_prepare();
	if (err)
		return die("preparing the process: %s", strerror(-err));
	a->loop = amb_loop_create();
	err = a->loop ? start_signals(a) : -errno;
	if (err)
		return die("event loop: %s", strerror(-err));
	a->nprobes = amb_probe_run(a->probes);
	err = amb_log_init(STDERR_FILENO, a->opt.log_json);
	if (err)
		return die("log: %s", strerror(-err));
	return 0;
}

static int say_probes(const struct amb_agent *a)
{
	int bad = 0;
	size_t i;

	for (i = 0; i < a->nprobes; i++) {
		const struct amb_probe *p = &a->probes[i];

		if (!p->err || !p->used)
			continue;
		amb_log(AMB_LOG_KERNEL, p->needed ? AMB_LOG_ERROR : AMB_LOG_WARN,
			"%s: %s: %s%s (%s)", p->name, p->detail, strerror(-p->err),
			p->needed ? "" : ", continuing without", p->purpose);
		bad |= p->needed;
	}
	return bad ? die("this kernel or these rights are not enough; is it run as root?") : 0;
}

static int no_tier(int tier, const struct amb_probe *p, const char *module)
{
	return die("tier %s: %s: %s%s%s", amb_tier_name(tier), p->detail, strerror(-p->err),
		   p->err == -ENOENT ? " (the kernel has no module " : "",
		   p->err == -ENOENT ? module : "");
}

/*
 * Who has loaded hbone.ko wants it used. Kernel TLS by itself saves no system call and no wake-up:
 * nobody has it who did not ask.
 */
static int choose_tier(struct amb_agent *a)
{
	struct amb_probe *ktls = amb_probe_find(a->probes, a->nprobes, AMB_PROBE_KTLS);
	struct amb_probe *rekey = amb_probe_find(a->probes, a->nprobes, AMB_PROBE_REKEY);
	struct amb_probe *kmod = amb_probe_find(a->probes, a->nprobes, AMB_PROBE_KMOD);
	int tier = a->opt.tier;

	if (tier == AMB_OPTIONS_TIER_AUTO) {
		tier = ktls->err || kmod->err ? AMB_TIER_USER : AMB_TIER_KMOD;
		/* That the module is there in vain is said. */
		ktls->used = ktls->err && !kmod->err;
	}
	if (tier == AMB_TIER_USER)
		return 0;
	if (ktls->err)
		return no_tier(tier, ktls, "tls)");
	if (tier == AMB_TIER_KMOD && kmod->err)
		return no_tier(tier, kmod, "hbone)");
	ktls->used = true;
	rekey->used = tier == AMB_TIER_KTLS;
	kmod->used = tier == AMB_TIER_KMOD;
	a->opt.proxy.hbone.tier = tier;
	a->opt.proxy.hbone.rekeys = !rekey->err;
	return 0;
}

/* What an agent of tier kmod left could not be judged by one of another. */
static int end_orphans(struct amb_agent *a)
{
	struct amb_probe *kmod = amb_probe_find(a->probes, a->nprobes, AMB_PROBE_KMOD);
	unsigned int n;

	if (kmod->err || a->opt.proxy.hbone.tier == AMB_TIER_KMOD)
		return 0;
	if (amb_khbone_remove_orphans(&n))
		amb_warn(KERNEL,
			 "connections that hbone.ko carries for no agent could not be ended");
	else if (n)
		amb_warn(KERNEL,
			 "%u connections that hbone.ko carried for no agent were ended: "
			 "this one is of another tier",
			 n);
	return 0;
}

static int start_cluster(struct amb_agent *a)
{
	char err[300];

	a->cluster = amb_cluster_create(a, err, sizeof(err));
	return a->cluster ? 0 : die("control plane: %s: %s", err, strerror(errno));
}

static int start_sds(struct amb_agent *a)
{
	const struct amb_sds_config config = {
		.socket = a->opt.sds,
		.node = a->opt.node,
		.cert_name = a->opt.sds_cert,
		.roots_name = a->opt.sds_roots,
	};

	sds = amb_sds_create(a->loop, &config);
	if (!a->opt.trust_domain)
		a->opt.trust_domain = "cluster.local";
	return sds ? 0 : die("--sds %s: %s", a->opt.sds, strerror(errno));
}

static int start_ca(struct amb_agent *a)
{
	uint64_t ttl = AMB_MAX(a->opt.cert_ttl / 1000000000ull, 1ull);
	const char *td;

	issuer = amb_issuer_create(a->loop, a->opt.ca_dir, a->opt.node, ttl);
	if (!issuer)
		return die("CA: %s", strerror(errno));
	td = amb_issuer_trust_domain(issuer);
	if (!td)
		amb_err(CA,
			"%s; no certificate can be issued until that is mended "
			"(ambientctl ca init %s, ambientctl ca node %s %s make what is missing)",
			amb_issuer_error(issuer), a->opt.ca_dir, a->opt.ca_dir, a->opt.node);
	if (!a->opt.trust_domain)
		a->opt.trust_domain = td ? td : "cluster.local";
	return 0;
}

/* Whoever asked for it must not go on with less. */
static int start_compliance(const struct amb_agent *a)
{
	const char *policy = a->opt.compliance;

	if (policy && !strcmp(policy, "pqc"))
		return amb_groups_pqc() ? die("COMPLIANCE_POLICY=pqc: this build's wolfSSL has "
					      "no X25519MLKEM768") :
					  0;
	if (policy)
		amb_warn(TLS, "COMPLIANCE_POLICY=%s has no effect, continuing", policy);
	return 0;
}

static int start_issuer(struct amb_agent *a)
{
	int err;

	if (amb_tls_init())
		return die("wolfSSL does not start");
	if (start_compliance(a))
		return -1;
	/* Chosen now: what choosing touches is given back with the rest of the start. */
	amb_info(TLS, "records are protected by %s",
		 a->opt.proxy.hbone.tier == AMB_TIER_USER ? amb_aead_library() : "the kernel");
	err = a->opt.istiod.used ? start_cluster(a) : 0;
	if (!err && a->opt.sds)
		err = start_sds(a);
	else if (!err && (!a->cluster || (!a->opt.istiod.ca && a->opt.ca_given)))
		err = start_ca(a);
	return err;
}

static struct amb_certs_issuer get_issuer(const struct amb_agent *a)
{
	if (sds)
		return amb_sds_interface(sds);
	return issuer ? amb_issuer_interface(issuer) : amb_cluster_issuer(a->cluster);
}

static int start_manifests(struct amb_agent *a)
{
	const struct amb_manifest_config mc = {
		.dir = a->opt.manifests,
		.node = a->opt.node,
		.cluster = a->opt.cluster,
		.domain = a->opt.domain,
		.trust_domain = a->opt.trust_domain,
		.root_ns = a->opt.root_ns,
		.network = a->opt.network,
	};
	_cleanup_fd_ int dir = open(a->opt.manifests, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Later it may come and go; at the start it is a mistyped option. */
	if (dir < 0)
		return die("--standalone %s: %s", a->opt.manifests, strerror(errno));
	a->manifest = amb_manifest_create(a->loop, &mc);
	if (!a->manifest)
		return die("manifests: %s", strerror(errno));
	a->opt.network = amb_manifest_mesh(a->manifest)->network;
	a->opt.trust_domain = amb_manifest_mesh(a->manifest)->trust_domain;
	return 0;
}

static int start_knowledge(struct amb_agent *a)
{
	struct amb_state_config sc = {
		.node = a->opt.node,
		.domain = a->opt.domain,
		.prefer_ns = a->opt.prefer_ns,
		.on_demand = a->opt.proxy.demand,
	};

	if (!a->cluster && start_manifests(a))
		return -1;
	sc.network = a->opt.network;
	a->state = amb_state_create(&sc);
	if (!a->state)
		return die("state: out of memory");
	prefetch.fn = prefetch_due;
	return amb_state_listen(a->state, state_changed, NULL) ? die("state: no listener") : 0;
}

static void crl_changed(void *ctx)
{
	struct amb_agent *a = ctx;

	if (a->proxy)
		amb_proxy_recheck(a->proxy);
}

static int start_crl(struct amb_agent *a)
{
	char err[256];

	if (!a->opt.crl)
		return 0;
	crl = amb_crl_file_create(a->loop, a->opt.crl, crl_changed, a, err, sizeof(err));
	return crl ? 0 : die("revocation lists: %s: %s", a->opt.crl, err);
}

static int start_certs(struct amb_agent *a)
{
	struct amb_certs_sink sink = {
		.install = install_cert,
		.fail = fail_cert,
		.forget = forget_cert,
		.set_roots = set_roots,
	};
	struct amb_certs_issuer from = get_issuer(a);

	a->creds = amb_creds_create(request_cert, &a->certs);
	if (!a->creds)
		return die("credentials: out of memory");
	sink.ctx = a->creds;
	a->certs = amb_certs_create(a->loop, &sink, &from);
	if (!a->certs)
		return die("certificates: %s", strerror(errno));
	if (issuer)
		amb_issuer_set_certs(issuer, a->certs);
	if (sds && amb_sds_set_certs(sds, a->certs))
		return die("secret discovery: out of memory");
	return 0;
}

/* Another agent had the programs until now. */
static void capture_ready(void *ctx)
{
	struct amb_agent *a = ctx;

	amb_proxy_set_bpf(a->proxy, amb_capture_bpf(a->capture));
	if (amb_capture_observe(a->capture, amb_metrics_hooks(a->metrics), a->opt.proxy.workers))
		amb_err(KERNEL, "BPF events: %s, continuing", strerror(errno));
	if (a->known)
		amb_agent_pods_known(a);
}

static int start_capture(struct amb_agent *a)
{
	const struct amb_capture_config config = {
		.mode = a->opt.capture,
		.bpf = { .dir = a->opt.bpf_dir, .cgroup = a->opt.cgroup, .wait = a->opt.wait },
		.keep = a->opt.keep,
		.ipv6 = a->opt.proxy.ipv6,
		.always_tunnel = a->opt.always_tunnel,
		.partial = a->opt.proxy.demand,
		.ready = capture_ready,
		.ctx = a,
	};
	enum amb_capture_mode mode;
	char why[320];

	a->capture = amb_capture_create(a->loop, a->state, &config, why, sizeof(why));
	if (!a->capture)
		return die("capture: %s", why);
	a->opt.proxy.bpf = amb_capture_bpf(a->capture);
	mode = amb_capture_mode(a->capture);
	/* Rules that go with us take what the kernel carries along, those of others do not. */
	a->opt.proxy.leave = a->opt.keep || mode == AMB_CAPTURE_CNI || mode == AMB_CAPTURE_NONE;
	amb_info(KERNEL, "capture: %s", amb_capture_mode_name(mode));
	return 0;
}

static int start_proxy(struct amb_agent *a)
{
	const struct amb_metrics_config mc = {
		/* One more is this thread, for what the kernel carries by itself. */
		.workers = a->opt.proxy.workers + 1,
		.version = getenv("ISTIO_META_ISTIO_VERSION") ?: AMB_VERSION,
		.proxy = proxy_stats,
		.gauges = gauges,
		.xds = xds_stats,
		.ctx = a,
	};

	a->metrics = amb_metrics_create(&mc);
	if (!a->metrics)
		return die("metrics: out of memory");
	a->proxy = amb_proxy_create(a->loop, &a->opt.proxy, a->state, a->creds,
				    amb_metrics_hooks(a->metrics));
	if (!a->proxy)
		return die("proxy: %s", strerror(errno));
	a->pods = amb_pods_create(a->loop, a->proxy, a->capture);
	if (!a->pods)
		return die("pods: out of memory");
	if (amb_capture_observe(a->capture, amb_metrics_hooks(a->metrics), a->opt.proxy.workers))
		return die("BPF events: %s", strerror(errno));
	return 0;
}

static int start_admin(struct amb_agent *a)
{
	const struct amb_http_config ports = {
		.admin = a->opt.admin_port,
		.metrics = a->opt.metrics_port,
		.ready = a->opt.ready_port,
	};

	amb_agent_set_ops(a);
	a->http = amb_http_create(&a->ops, &ports);
	if (!a->http)
		return die("HTTP: %s", strerror(errno));
	amb_http_pending(a->http, "state manager", true);
	a->control = amb_control_create(&a->ops, a->opt.socket);
	if (!a->control)
		return die("control socket %s: %s", a->opt.socket,
			   errno == EADDRINUSE ? "another agent answers there" : strerror(errno));
	if (!a->opt.sds_server)
		return 0;
	sds_server = amb_sds_server_create(a->loop, a->opt.sds_server, a->opt.sds_uids,
					   a->opt.nsds_uids);
	if (!sds_server)
		return die("--sds-server %s: %s", a->opt.sds_server, strerror(errno));
	return 0;
}

static bool count_pod(void *ctx, const struct amb_manifest_pod *pod)
{
	(void)pod;
	++*(size_t *)ctx;
	return true;
}

static bool is_wanted(void *ctx, const char *pod)
{
	return amb_pods_wants(((struct amb_agent *)ctx)->pods, pod);
}

static void pods_started(void *ctx)
{
	struct amb_agent *a = ctx;

	amb_capture_settle(a->capture, is_wanted, a);
}

void amb_agent_pods_known(struct amb_agent *a)
{
	a->known = true;
	if (!a->cni || amb_cni_pods_synced(a->cni))
		amb_pods_when_started(a->pods, pods_started, a);
}

static int serve_manifests(struct amb_agent *a)
{
	size_t pods = 0;

	if (!a->opt.zds)
		amb_manifest_on_pods(a->manifest, amb_agent_sync_pods, a);
	if (amb_manifest_start(a->manifest, a->state))
		return die("manifests: out of memory");
	if (!a->opt.zds)
		amb_agent_sync_pods(a);
	amb_manifest_each_pod(a->manifest, count_pod, &pods);
	if (!pods)
		amb_warn(MAIN, "no Pod in %s has spec.nodeName %s", a->opt.manifests, a->opt.node);
	amb_http_pending(a->http, "state manager", false);
	amb_agent_pods_known(a);
	return 0;
}

static void cni_synced(void *ctx)
{
	struct amb_agent *a = ctx;

	if (a->known)
		amb_agent_pods_known(a);
}

/* Who says where pods are: a CNI by ZDS, or its plugin. */
static int start_cni(struct amb_agent *a)
{
	if (!a->opt.zds) {
		amb_agent_read_attachments(a);
		return 0;
	}
	a->cni = amb_cni_pods_start(a->loop, a->pods, a->http, a->opt.zds, a->opt.dns, cni_synced,
				    a);
	return a->cni ? 0 : die("ZDS socket %s: %s", a->opt.zds, strerror(errno));
}

static int serve(struct amb_agent *a)
{
	int err = start_cni(a);

	if (err)
		return err;
	err = a->cluster ? amb_cluster_start(a->cluster) : serve_manifests(a);
	if (err)
		return a->cluster ? die("control plane: %s", strerror(-err)) : err;
	settled.fn = settled_due;
	amb_loop_timer_set(a->loop, &settled, amb_util_now_ns() + SETTLED_NS);
	amb_info(MAIN, "ambientd %s serves node %s from %s", AMB_VERSION, a->opt.node,
		 a->cluster ? "istiod" : a->opt.manifests);
	return amb_loop_run(a->loop);
}

static void stop_all(struct amb_agent *a, bool failed)
{
	amb_cni_pods_stop(a->cni);
	amb_control_destroy(a->control);
	amb_http_destroy(a->http);
	amb_pods_destroy(a->pods);
	/* After a second signal workers still run, and look into the maps. */
	amb_proxy_destroy(a->proxy);
	a->proxy = NULL;
	amb_capture_destroy(a->capture, failed);
	a->capture = NULL;
	amb_manifest_destroy(a->manifest);
	amb_cluster_stop(a->cluster);
	amb_metrics_destroy(a->metrics);
	amb_sds_stop(sds);
	amb_certs_destroy(a->certs);
	amb_sds_destroy(sds);
	amb_sds_server_destroy(sds_server);
	amb_issuer_destroy(issuer);
	amb_cluster_destroy(a->cluster);
	amb_crl_file_destroy(crl);
	amb_creds_destroy(a->creds);
	amb_state_destroy(a->state);
	amb_tls_uninit();
	amb_loop_destroy(a->loop);
	amb_log_uninit();
}

int main(int argc, char **argv)
{
	struct amb_agent *a = &agent;
	int err;

	amb_options_parse(&a->opt, argc, argv);
	err = start_base(a) ?: choose_tier(a) ?: say_probes(a);
	if (!err)
		err = start_issuer(a)		 ?:
			      start_crl(a)	 ?:
			      start_knowledge(a) ?:
			      start_certs(a)	 ?:
						   start_capture(a);
	if (!err && !a->opt.privileged) {
		err = amb_priv_drop();
		if (err)
			die("dropping rights: %s", strerror(-err));
	}
	if (!err)
		err = start_proxy(a) ?: start_admin(a) ?: end_orphans(a) ?: serve(a);
	stop_all(a, err);
	return err ? EX_SOFTWARE : 0;
}
