// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two proxies, as two nodes, with real sockets:
 *
 *    netns A (pod client)            netns B (pod server)          netns C (not in the mesh)
 *    10.99.0.1  fd99::1              10.99.0.2  fd99::2            10.99.0.3
 *         |  proxy A: 15001/6/8           |  proxy B                    |
 *         +-------------------- bridge in netns D ----------------------+
 *
 * nftables rules of the agent in A and B. One thread plays all applications and both main
 * loops. Needs root.
 */
#include "harness.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/rcu.h"
#include "base/reason.h"
#include "base/util.h"
#include "authorization.pb-c.h"
#include "control/ca.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "mesh/state.h"
#include "nomem.h"
#include "proxy/creds.h"
#include "proxy/demand.h"
#include "proxy/pod.h"
#include "proxy/proxy.h"
#include "proxy/tls.h"
#include "spin.h"
#include "workload.pb-c.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define PATIENCE_NS (20 * SECOND)

enum { A, B, C, D, NETNS };
static const char *const netns_letter[NETNS] = { "a", "b", "c", "d" };
static struct amb_netns *netns[NETNS];
static char prefix[24], ca_dir[64];
static int first_fd; /* of what tests open */
static char why_not[128] = "network namespaces";

static struct amb_loop *loop;
static struct amb_state *state[2]; /* of node-a and node-b */
static struct amb_creds *creds;
static struct amb_ca *ca;
static pthread_mutex_t ca_lock = PTHREAD_MUTEX_INITIALIZER;
static struct amb_proxy *proxy[2];
static unsigned int leaf_ttl = 3600;

/* Telemetry: the last ended flow of each direction, and totals */

struct seen {
	unsigned int opened, closed, failed;
	enum amb_flag flag;
	enum amb_reason reason;
	uint64_t to_dst, to_src;
	char error[256], src_id[256], dst_id[256], service[128], policy[128], authority[128];
	char src_workload[256], dst_workload[256];
	bool mtls;
	struct amb_endpoint src, dst;
};
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static struct seen seen[2]; /* by direction */

static void note(struct seen *s, const struct amb_flow *f)
{
	s->flag = f->flag;
	s->reason = f->reason;
	s->to_dst = f->bytes_to_dst;
	s->to_src = f->bytes_to_src;
	s->mtls = f->mtls;
	s->src = f->src;
	s->dst = f->dst;
	snprintf(s->error, sizeof(s->error), "%s", f->error ? f->error : "");
	snprintf(s->src_id, sizeof(s->src_id), "%s",
		 f->src_identity ? f->src_identity->spiffe : "");
	snprintf(s->dst_id, sizeof(s->dst_id), "%s",
		 f->dst_identity ? f->dst_identity->spiffe : "");
	snprintf(s->service, sizeof(s->service), "%s",
		 f->dst_service ? f->dst_service->hostname : "");
	snprintf(s->policy, sizeof(s->policy), "%s", f->policy ? f->policy : "");
	snprintf(s->authority, sizeof(s->authority), "%s", f->authority ? f->authority : "");
	snprintf(s->src_workload, sizeof(s->src_workload), "%s",
		 f->src_workload ? f->src_workload->name : "");
	snprintf(s->dst_workload, sizeof(s->dst_workload), "%s",
		 f->dst_workload ? f->dst_workload->name :
		 f->dst_baggage	 ? f->dst_baggage->workload :
				   "");
}

static void *hook_opened(void *ctx, unsigned int worker, const struct amb_flow *f)
{
	(void)ctx;
	(void)worker;
	pthread_mutex_lock(&seen_lock);
	seen[f->direction].opened++;
	pthread_mutex_unlock(&seen_lock);
	return &seen[f->direction];
}

static void hook_closed(void *ctx, unsigned int worker, void *cookie, const struct amb_flow *f)
{
	(void)ctx;
	(void)worker;
	pthread_mutex_lock(&seen_lock);
	note(cookie, f);
	((struct seen *)cookie)->closed++;
	pthread_mutex_unlock(&seen_lock);
}

static void hook_failed(void *ctx, unsigned int worker, const struct amb_flow *f)
{
	(void)ctx;
	(void)worker;
	pthread_mutex_lock(&seen_lock);
	note(&seen[f->direction], f);
	seen[f->direction].failed++;
	pthread_mutex_unlock(&seen_lock);
}

static const struct amb_flow_hooks hooks = {
	.opened = hook_opened,
	.closed = hook_closed,
	.failed = hook_failed,
};

static struct seen look(enum amb_direction d)
{
	struct seen s;

	pthread_mutex_lock(&seen_lock);
	s = seen[d];
	pthread_mutex_unlock(&seen_lock);
	return s;
}

/* Waits until @cond holds, or says no when patience is over. */
#define EVENTUALLY(cond)                                                                           \
	({                                                                                         \
		uint64_t _end = amb_util_now_ns() + PATIENCE_NS;                                   \
		while (!(cond) && amb_util_now_ns() < _end)                                        \
			usleep(2000);                                                              \
		(cond);                                                                            \
	})

/* Certificates on demand */

static void issue(void *ctx, struct amb_identity *id, enum amb_creds_priority priority)
{
	struct amb_ca_issued out;
	char err[AMB_CA_ERROR_LEN];

	(void)ctx;
	(void)priority;
	pthread_mutex_lock(&ca_lock);
	if (amb_ca_issue(ca, id, leaf_ttl, &out, err)) {
		amb_creds_fail(creds, id, err);
	} else {
		amb_creds_install(creds, id, out.key, out.keylen, out.chain_pem, amb_ca_roots(ca),
				  err, sizeof(err));
		amb_ca_issued_clear(&out);
	}
	pthread_mutex_unlock(&ca_lock);
}

/* The mesh */

struct spec {
	const char *name, *sa, *node;
	const char *v4, *v6;
	bool hbone;
	const char *policies[4];
	uint32_t proxy_port; /* application tunnel */
};

static struct spec client_spec = {
	.name = "client",
	.sa = "client",
	.node = "node-a",
	.v4 = "10.99.0.1",
	.v6 = "fd99::1",
	.hbone = true,
};
static struct spec server_spec = {
	.name = "server",
	.sa = "server",
	.node = "node-b",
	.v4 = "10.99.0.2",
	.v6 = "fd99::2",
	.hbone = true,
};

static void bytes_of(const char *text, ProtobufCBinaryData *out)
{
	struct amb_addr addr;
	bool v4;

	amb_addr_parse(text, &addr);
	v4 = amb_addr_is_v4(&addr);
	out->len = v4 ? 4 : 16;
	out->data = malloc(16);
	memcpy(out->data, addr.b + (v4 ? 12 : 0), out->len);
}

static void apply_one(const struct amb_resource *r)
{
	int i;

	for (i = 0; i < 2; i++)
		CHECK_EQ(amb_state_apply(state[i], r, 1, NULL, NULL), 0);
}

static void apply_workload_at(const struct spec *spec, int first, int last)
{
	Istio__Workload__Workload w;
	Istio__Workload__Address a;
	Istio__Workload__ApplicationTunnel tunnel = ISTIO__WORKLOAD__APPLICATION_TUNNEL__INIT;
	ProtobufCBinaryData addrs[2];
	char uid[64];
	struct amb_resource r = { .name = uid, .address = &a };

	istio__workload__workload__init(&w);
	istio__workload__address__init(&a);
	snprintf(uid, sizeof(uid), "Kubernetes//Pod/default/%s", spec->name);
	w.uid = uid;
	w.name = w.workload_name = w.canonical_name = (char *)spec->name;
	w.namespace_ = "default";
	w.service_account = (char *)spec->sa;
	w.node = (char *)spec->node;
	w.tunnel_protocol = spec->hbone ? ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE :
					  ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE;
	bytes_of(spec->v4, &addrs[0]);
	bytes_of(spec->v6, &addrs[1]);
	w.addresses = addrs;
	w.n_addresses = 2;
	w.authorization_policies = (char **)spec->policies;
	while (spec->policies[w.n_authorization_policies])
		w.n_authorization_policies++;
	if (spec->proxy_port) {
		tunnel.protocol = ISTIO__WORKLOAD__APPLICATION_TUNNEL__PROTOCOL__PROXY;
		tunnel.port = spec->proxy_port;
		w.application_tunnel = &tunnel;
	}
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	for (; first <= last; first++)
		CHECK_EQ(amb_state_apply(state[first], &r, 1, NULL, NULL), 0);
	free(addrs[0].data);
	free(addrs[1].data);
}

static void apply_workload(const struct spec *spec)
{
	apply_workload_at(spec, A, B);
}

/* A policy of one rule, one clause, one match: principal (NULL: any mTLS) at @port (0: any). */
static void apply_policy(const char *name, Istio__Security__Scope scope,
			 Istio__Security__Action action, const char *principal, uint32_t port)
{
	Istio__Security__Authorization p = ISTIO__SECURITY__AUTHORIZATION__INIT;
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules = &rule;
	Istio__Security__Clause clause = ISTIO__SECURITY__CLAUSE__INIT, *clauses = &clause;
	Istio__Security__Match match = ISTIO__SECURITY__MATCH__INIT, *matches = &match;
	Istio__Security__StringMatch who = ISTIO__SECURITY__STRING_MATCH__INIT, *whos = &who;
	char key[128];
	struct amb_resource r = { .name = key, .is_policy = true, .authorization = &p };

	snprintf(key, sizeof(key), "default/%s", name);
	p.name = (char *)name;
	p.namespace_ = "default";
	p.scope = scope;
	p.action = action;
	p.n_rules = rule.n_clauses = clause.n_matches = 1;
	p.rules = &rules;
	rule.clauses = &clauses;
	clause.matches = &matches;
	if (principal) {
		who.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
		who.exact = (char *)principal;
		match.principals = &whos;
		match.n_principals = 1;
	}
	if (port) {
		match.destination_ports = &port;
		match.n_destination_ports = 1;
	}
	apply_one(&r);
}

static void remove_policy(const char *name)
{
	char key[128];
	struct amb_resource r = { .name = key, .is_policy = true };

	snprintf(key, sizeof(key), "default/%s", name);
	apply_one(&r);
}

/* Proxies */

struct wait {
	bool done;
	int err;
};

static void wait_done(void *ctx, int err)
{
	struct wait *w = ctx;

	w->done = true;
	w->err = err;
	amb_loop_stop(loop);
}

static int wait_for(struct wait *w)
{
	while (!w->done)
		amb_loop_run(loop);
	return w->err;
}

static int pod_add_to(int which, int where, const struct spec *spec)
{
	struct amb_proxy_pod pod = {
		.uid = spec->name,
		.ns = "default",
		.name = spec->name,
		.sa = spec->sa,
		.netns = netns[where],
	};
	struct wait w = { 0 };
	int err = amb_proxy_pod_add(proxy[which], &pod, wait_done, &w);

	return err ? err : wait_for(&w);
}

static int pod_add(int which, const struct spec *spec)
{
	return pod_add_to(which, which, spec);
}

static int pod_del(int which, const struct spec *spec)
{
	struct wait w = { 0 };

	amb_proxy_pod_del(proxy[which], spec->name, wait_done, &w);
	return wait_for(&w);
}

static struct amb_proxy_config config;

static void proxies_start(void)
{
	int i;

	memset(seen, 0, sizeof(seen));
	for (i = 0; i < 2; i++)
		CHECK((proxy[i] = amb_proxy_create(loop, &config, state[i], creds, &hooks)));
	CHECK_EQ(pod_add(A, &client_spec), 0);
	CHECK_EQ(pod_add(B, &server_spec), 0);
}

static void proxies_stop(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		amb_proxy_destroy(proxy[i]);
		proxy[i] = NULL;
	}
}

static struct amb_proxy_stats stats(int which)
{
	struct amb_proxy_stats s;

	amb_proxy_stats(proxy[which], &s);
	return s;
}

/* Set up before each test, taken down after it even when a check failed */

static void begin(void)
{
	proxies_stop();
	/* what a failed test left open */
	close_range(first_fd, ~0u, 0);
	config = amb_proxy_defaults;
	memset(client_spec.policies, 0, sizeof(client_spec.policies));
	memset(server_spec.policies, 0, sizeof(server_spec.policies));
	server_spec.proxy_port = 0;
	server_spec.hbone = true;
	apply_workload(&client_spec);
	apply_workload(&server_spec);
}

#define PTEST(id)                                                                                  \
	static void body_##id(void);                                                               \
	TEST(id)                                                                                   \
	{                                                                                          \
		begin();                                                                           \
		body_##id();                                                                       \
		proxies_stop();                                                                    \
	}                                                                                          \
	static void body_##id(void)

/* Applications */

static int sock_at(int which, int family)
{
	int fd;

	CHECK_EQ(amb_netns_enter(netns[which]), 0);
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(amb_netns_enter(NULL), 0);
	CHECK(fd >= 0);
	return fd;
}

static void wait_io(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	CHECK_EQ(poll(&p, 1, PATIENCE_NS / 1000000), 1);
}

static int serve_at(int which, const char *addr)
{
	struct sockaddr_storage ss;
	struct amb_endpoint e;
	socklen_t len;
	int fd, one = 1;

	CHECK_EQ(amb_endpoint_parse(addr, &e), 0);
	len = amb_endpoint_to_sockaddr(&e, AF_UNSPEC, &ss);
	fd = sock_at(which, ss.ss_family);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	CHECK_EQ(bind(fd, (struct sockaddr *)&ss, len), 0);
	CHECK_EQ(listen(fd, 128), 0);
	return fd;
}

static int dial_on(int fd, const char *addr)
{
	struct sockaddr_storage ss;
	struct amb_endpoint e;
	socklen_t len;

	CHECK_EQ(amb_endpoint_parse(addr, &e), 0);
	len = amb_endpoint_to_sockaddr(&e, AF_UNSPEC, &ss);
	return connect(fd, (struct sockaddr *)&ss, len) ? -errno : 0;
}

static int dial_from(int which, const char *addr)
{
	int fd = sock_at(which, addr[0] == '[' ? AF_INET6 : AF_INET);

	CHECK_EQ(dial_on(fd, addr), 0);
	return fd;
}

static bool refuses(int which, const char *addr)
{
	int fd = sock_at(which, AF_INET), err = dial_on(fd, addr);

	close(fd);
	return err == -ECONNREFUSED;
}

static int accept_on(int listener, struct amb_endpoint *peer)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd;

	wait_io(listener, POLLIN);
	fd = accept(listener, (struct sockaddr *)&ss, &len);
	CHECK(fd >= 0);
	if (peer)
		CHECK_EQ(amb_endpoint_from_sockaddr((struct sockaddr *)&ss, peer), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hear(int fd, const char *text)
{
	char buf[256] = "";
	size_t n = 0;

	while (n < strlen(text)) {
		ssize_t got;

		wait_io(fd, POLLIN);
		got = recv(fd, buf + n, sizeof(buf) - 1 - n, 0);
		CHECK(got > 0);
		n += got;
	}
	CHECK_STR(buf, text);
}

/* The connection ends, by FIN or reset. */
static void hear_end(int fd)
{
	char c;

	wait_io(fd, POLLIN);
	CHECK(recv(fd, &c, 1, 0) <= 0);
}

static bool is_from(const struct amb_endpoint *peer, const char *addr)
{
	char text[AMB_ADDR_STRLEN];

	return !strcmp(amb_addr_format(&peer->addr, text), addr);
}

#define SERVER "10.99.0.2:8080"
#define CLIENT_ID "spiffe://cluster.local/ns/default/sa/client"
#define SERVER_ID "spiffe://cluster.local/ns/default/sa/server"

/* A talk over a new connection; returns the two ends. */
static void talk(int listener, const char *addr, int *client, int *server,
		 struct amb_endpoint *peer)
{
	*client = dial_from(A, addr);
	*server = accept_on(listener, peer);
	say(*client, "ping");
	hear(*server, "ping");
	say(*server, "pong!");
	hear(*client, "pong!");
}

PTEST(a_connection_crosses_as_a_tunnel)
{
	struct amb_endpoint peer;
	int l = serve_at(B, SERVER), c, s;
	struct seen in, out;

	proxies_start();
	talk(l, SERVER, &c, &s, &peer);
	CHECK(is_from(&peer, "10.99.0.1"));
	close(c);
	hear_end(s);
	close(s);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 1 && look(AMB_INBOUND).closed == 1));
	in = look(AMB_INBOUND);
	out = look(AMB_OUTBOUND);
	CHECK_EQ(in.opened, 1);
	CHECK_EQ(out.opened, 1);
	CHECK_STR(in.error, "");
	CHECK_STR(out.error, "");
	CHECK_EQ(out.flag, AMB_FLAG_NONE);
	CHECK(in.mtls && out.mtls);
	CHECK_STR(in.src_id, CLIENT_ID);
	CHECK_STR(out.src_id, CLIENT_ID);
	CHECK_STR(out.dst_id, SERVER_ID);
	CHECK_STR(in.dst_id, SERVER_ID);
	CHECK_STR(in.src_workload, "client");
	CHECK_STR(out.dst_workload, "server");
	CHECK_STR(in.authority, SERVER);
	CHECK_EQ(in.dst.port, 15008);
	CHECK_EQ(out.to_dst, 4);
	CHECK_EQ(out.to_src, 5);
	CHECK_EQ(in.to_dst, 4);
	CHECK_EQ(in.to_src, 5);
	CHECK_EQ(stats(A).ways[AMB_WAY_TUNNEL], 1);
	CHECK_EQ(stats(A).handshakes, 1);
	CHECK_EQ(stats(B).handshakes, 1);
	close(l);
}

PTEST(ipv6_keeps_the_source_too)
{
	struct amb_endpoint peer;
	int l = serve_at(B, "[fd99::2]:8080"), c, s;

	proxies_start();
	talk(l, "[fd99::2]:8080", &c, &s, &peer);
	CHECK(is_from(&peer, "fd99::1"));
	close(c);
	close(s);
	close(l);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1));
	CHECK_STR(look(AMB_INBOUND).authority, "[fd99::2]:8080");
}

PTEST(half_close_is_carried_both_ways)
{
	int l = serve_at(B, SERVER), c, s;

	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	say(c, "last words");
	shutdown(c, SHUT_WR);
	hear(s, "last words");
	hear_end(s);
	say(s, "still here");
	hear(c, "still here");
	shutdown(s, SHUT_WR);
	hear_end(c);
	close(c);
	close(s);
	close(l);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 1));
	CHECK_STR(look(AMB_OUTBOUND).error, "");
}

PTEST(connections_share_tunnels)
{
	int l = serve_at(B, SERVER), c[32], s[32], i;
	struct amb_proxy_stats st;

	proxies_start();
	for (i = 0; i < 32; i++)
		talk(l, SERVER, &c[i], &s[i], NULL);
	st = stats(A);
	CHECK(st.handshakes <= config.workers);
	CHECK_EQ(st.pool_hits + st.pool_dials, 32);
	CHECK_EQ(st.open_sockets[AMB_OUTBOUND], 32);
	for (i = 0; i < 32; i++) {
		close(c[i]);
		close(s[i]);
	}
	close(l);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 32 && look(AMB_INBOUND).closed == 32));
	CHECK_EQ(stats(A).open_sockets[AMB_OUTBOUND], 0);
}

PTEST(plaintext_into_the_mesh_is_relayed_from_its_source)
{
	int l = serve_at(B, SERVER), c, s;
	struct amb_endpoint peer;
	struct seen in;

	proxies_start();
	c = dial_from(C, SERVER);
	s = accept_on(l, &peer);
	CHECK(is_from(&peer, "10.99.0.3"));
	say(c, "plain");
	hear(s, "plain");
	close(c);
	hear_end(s);
	close(s);
	close(l);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1));
	in = look(AMB_INBOUND);
	CHECK(!in.mtls);
	CHECK_STR(in.src_id, "");
	CHECK_EQ(in.to_dst, 5);
	CHECK_EQ(stats(B).ways[AMB_WAY_PASSTHROUGH], 1);
}

PTEST(traffic_out_of_the_mesh_passes)
{
	int l = serve_at(C, "10.99.0.3:9090"), c, s;
	struct amb_endpoint peer;

	proxies_start();
	talk(l, "10.99.0.3:9090", &c, &s, &peer);
	CHECK(is_from(&peer, "10.99.0.1"));
	close(c);
	close(s);
	close(l);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 1));
	CHECK_EQ(stats(A).ways[AMB_WAY_PASSTHROUGH], 1);
	CHECK(!look(AMB_OUTBOUND).mtls);
}

PTEST(a_denied_caller_is_closed_and_told)
{
	int l = serve_at(B, SERVER), c;
	struct seen in, out;

	apply_policy("only-other", ISTIO__SECURITY__SCOPE__NAMESPACE,
		     ISTIO__SECURITY__ACTION__ALLOW, "cluster.local/ns/default/sa/other", 0);
	proxies_start();
	c = dial_from(A, SERVER);
	hear_end(c);
	close(c);
	close(l);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 1 && look(AMB_INBOUND).closed == 1));
	in = look(AMB_INBOUND);
	out = look(AMB_OUTBOUND);
	remove_policy("only-other");
	CHECK_EQ(in.flag, AMB_FLAG_DENY);
	CHECK_EQ(in.reason, AMB_REASON_POLICY_NOT_ALLOWED);
	CHECK_EQ(out.flag, AMB_FLAG_CONNECT);
	CHECK_STR(out.error, "http status: 401");
}

PTEST(plaintext_is_denied_where_an_identity_is_asked_for)
{
	int l = serve_at(B, SERVER), c;

	apply_policy("client-only", ISTIO__SECURITY__SCOPE__NAMESPACE,
		     ISTIO__SECURITY__ACTION__ALLOW, "cluster.local/ns/default/sa/client", 0);
	proxies_start();
	c = dial_from(C, SERVER);
	hear_end(c);
	close(c);
	close(l);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1));
	remove_policy("client-only");
	CHECK_EQ(look(AMB_INBOUND).flag, AMB_FLAG_DENY);
}

PTEST(a_policy_cuts_live_connections_that_it_denies)
{
	int l = serve_at(B, SERVER), l2 = serve_at(B, "10.99.0.2:9999"), c, s, c2, s2;

	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	talk(l2, "10.99.0.2:9999", &c2, &s2, NULL);
	apply_policy("deny-8080", ISTIO__SECURITY__SCOPE__NAMESPACE, ISTIO__SECURITY__ACTION__DENY,
		     "cluster.local/ns/default/sa/client", 8080);
	amb_proxy_rejudge(proxy[B]);
	hear_end(c);
	hear_end(s);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1));
	CHECK_EQ(look(AMB_INBOUND).flag, AMB_FLAG_DENY);
	CHECK_STR(look(AMB_INBOUND).error, "connection closed due to policy change");
	/* the other one lives on */
	say(c2, "alive");
	hear(s2, "alive");
	remove_policy("deny-8080");
	close(c);
	close(s);
	close(c2);
	close(s2);
	close(l);
	close(l2);
}

PTEST(a_workloads_new_policy_list_cuts_live_connections)
{
	int l = serve_at(B, SERVER), c, s;

	apply_policy("selected", ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR,
		     ISTIO__SECURITY__ACTION__DENY, NULL, 8080);
	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	server_spec.policies[0] = "default/selected";
	apply_workload(&server_spec);
	amb_proxy_rejudge(proxy[B]);
	hear_end(c);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1));
	CHECK_EQ(look(AMB_INBOUND).reason, AMB_REASON_POLICY_CHANGE);
	remove_policy("selected");
	close(c);
	close(s);
	close(l);
}

/* The application's queue is full, so the agent's dial to it waits while the policies change. */
static void check_new_policy_list(int from)
{
	int l = serve_at(B, SERVER), in_the_way, c;

	CHECK_EQ(listen(l, 0), 0);
	apply_policy("selected", ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR,
		     ISTIO__SECURITY__ACTION__DENY, NULL, 8080);
	proxies_start();
	in_the_way = dial_from(B, SERVER);
	c = dial_from(from, SERVER);
	CHECK(EVENTUALLY(look(AMB_INBOUND).opened == 1));
	server_spec.policies[0] = "default/selected";
	apply_workload(&server_spec);
	amb_proxy_rejudge(proxy[B]);
	close(in_the_way);
	close(accept_on(l, NULL));
	hear_end(c);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1));
	remove_policy("selected");
	CHECK_EQ(look(AMB_INBOUND).flag, AMB_FLAG_DENY);
	CHECK_EQ(look(AMB_INBOUND).reason, AMB_REASON_POLICY_DENY);
	close(c);
	close(l);
}

PTEST(a_new_policy_list_is_heeded_while_the_application_is_dialled)
{
	check_new_policy_list(A);
}

PTEST(a_new_policy_list_is_heeded_for_plaintext_too)
{
	check_new_policy_list(C);
}

/* Its baggage is another one then; nobody has looked for it yet when the application answers. */
PTEST(a_workload_may_change_while_the_application_is_dialled)
{
	int l = serve_at(B, SERVER), in_the_way, c, s;

	CHECK_EQ(listen(l, 0), 0);
	apply_policy("selected", ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR,
		     ISTIO__SECURITY__ACTION__DENY, NULL, 9999);
	proxies_start();
	in_the_way = dial_from(B, SERVER);
	c = dial_from(A, SERVER);
	CHECK(EVENTUALLY(look(AMB_INBOUND).opened == 1));
	server_spec.policies[0] = "default/selected";
	apply_workload(&server_spec);
	close(in_the_way);
	close(accept_on(l, NULL));
	s = accept_on(l, NULL);
	say(c, "still here");
	hear(s, "still here");
	remove_policy("selected");
	close(c);
	close(s);
	close(l);
}

/* Section 4.4: what the peer is told, and why, as the access log has it. */
static const struct {
	const char *what, *dst;
	enum amb_reason reason;
	const char *error;
} unreachable[] = {
	{ "nobody listens", "10.99.0.2:7777", AMB_REASON_CONNECT,
	  "connection to the application failed: Connection refused" },
	{ "its queue is full and stays so", SERVER, AMB_REASON_TIMEOUT,
	  "connection to the application failed: Connection timed out" },
};

PTEST(an_application_that_cannot_be_reached_is_503)
{
	int l = serve_at(B, SERVER), in_the_way, c;
	size_t i;

	CHECK_EQ(listen(l, 0), 0);
	in_the_way = dial_from(B, SERVER);
	config.dial_timeout_ns = SECOND / 2;
	for (i = 0; i < AMB_ARRAY_SIZE(unreachable); i++) {
		struct seen in, out;

		CASE(unreachable[i].what);
		proxies_start();
		c = dial_from(A, unreachable[i].dst);
		hear_end(c);
		close(c);
		CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 1 && look(AMB_INBOUND).closed == 1));
		in = look(AMB_INBOUND);
		out = look(AMB_OUTBOUND);
		CHECK_STR(out.error, "http status: 503");
		CHECK_EQ(out.flag, AMB_FLAG_CONNECT);
		CHECK_EQ(in.flag, AMB_FLAG_CONNECT);
		CHECK_EQ(in.reason, unreachable[i].reason);
		CHECK_STR(in.error, unreachable[i].error);
		proxies_stop();
	}
	close(in_the_way);
	close(l);
}

PTEST(the_agents_own_ports_are_refused)
{
	static const char *const targets[] = { "127.0.0.1:15001", "127.0.0.1:15006",
					       "10.99.0.1:15001", "10.99.0.2:15001",
					       "10.99.0.2:15006", "10.99.0.2:15008" };
	unsigned int i;
	int c;

	proxies_start();
	for (i = 0; i < AMB_ARRAY_SIZE(targets); i++) {
		CASE(targets[i]);
		c = sock_at(A, AF_INET);
		if (!dial_on(c, targets[i]))
			hear_end(c);
		close(c);
	}
	CHECK(EVENTUALLY(stats(A).open_sockets[AMB_OUTBOUND] == 0));
	CHECK(stats(A).reasons[AMB_REASON_LOOP] >= 1);
}

/* On demand: the control plane is this thread, which answers when it is told to */

static struct amb_demand *demand;
static char asked[256];

static void ask(void *ctx, const char *name)
{
	size_t at = strlen(asked);

	(void)ctx;
	snprintf(asked + at, sizeof(asked) - at, "%s ", name);
}

static void demand_start(void)
{
	asked[0] = 0;
	demand = amb_demand_create(loop, ask, NULL);
	CHECK(demand);
	config.demand = demand;
	proxies_start();
}

static void demand_stop(void)
{
	proxies_stop();
	amb_demand_destroy(demand);
}

static bool was_asked(void)
{
	return *asked;
}

static bool comes(int listener, int ms)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

#define OUTSIDE "10.99.0.3:9090"

PTEST(what_is_not_known_is_asked_for_and_waited_for)
{
	int l = serve_at(C, OUTSIDE), c, s;

	demand_start();
	c = dial_from(A, OUTSIDE);
	CHECK(spin(loop, was_asked));
	CHECK_STR(asked, "/10.99.0.3 ");
	CHECK(!comes(l, 200));
	amb_demand_answer(demand, "/10.99.0.3", 0);
	s = accept_on(l, NULL);
	say(c, "late");
	hear(s, "late");
	CASE("what is known is not asked for");
	close(c);
	close(s);
	asked[0] = 0;
	CHECK_EQ(stats(A).ways[AMB_WAY_PASSTHROUGH], 1);
	close(l);
	l = serve_at(B, SERVER);
	talk(l, SERVER, &c, &s, NULL);
	spin_for(loop, NULL, 10000000);
	CHECK_STR(asked, "");
	close(c);
	close(s);
	close(l);
	demand_stop();
}

PTEST(what_cannot_be_known_is_refused)
{
	int l = serve_at(C, OUTSIDE), c;

	demand_start();
	c = dial_from(A, OUTSIDE);
	CHECK(spin(loop, was_asked));
	amb_demand_answer(demand, "/10.99.0.3", -ENOSPC);
	hear_end(c);
	close(c);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).failed == 1));
	CHECK_EQ(look(AMB_OUTBOUND).reason, AMB_REASON_NOT_TOLD);
	CHECK(!comes(l, 100));
	close(l);
	demand_stop();
}

PTEST(a_pod_goes_while_it_waits_for_an_answer)
{
	int l = serve_at(C, OUTSIDE), c;

	demand_start();
	c = dial_from(A, OUTSIDE);
	CHECK(spin(loop, was_asked));
	CHECK_EQ(pod_del(A, &client_spec), 0);
	hear_end(c);
	close(c);
	CHECK_EQ(look(AMB_OUTBOUND).reason, AMB_REASON_POD_GONE);
	amb_demand_answer(demand, "/10.99.0.3", 0);
	CHECK(!comes(l, 100));
	CASE("and so does the proxy");
	CHECK_EQ(pod_add(A, &client_spec), 0);
	asked[0] = 0;
	c = dial_from(A, OUTSIDE);
	CHECK(spin(loop, was_asked));
	close(l);
	demand_stop();
	hear_end(c);
	close(c);
}

PTEST(an_unknown_source_waits_no_longer_than_a_moment)
{
	int l = serve_at(B, SERVER), c, s;

	demand_start();
	c = dial_from(C, SERVER);
	CHECK(spin(loop, was_asked));
	CHECK_STR(asked, "/10.99.0.3 ");
	/* Nobody answers. */
	s = accept_on(l, NULL);
	say(c, "plain");
	hear(s, "plain");
	close(c);
	close(s);
	close(l);
	demand_stop();
}

PTEST(a_pod_that_goes_is_let_go_at_once)
{
	int l = serve_at(B, SERVER), c, s;

	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	CHECK_EQ(amb_proxy_pods(proxy[B]), 1);
	CHECK_EQ(pod_del(B, &server_spec), 0);
	CHECK_EQ(amb_proxy_pods(proxy[B]), 0);
	CHECK_EQ(look(AMB_INBOUND).closed, 1);
	CHECK_EQ(look(AMB_INBOUND).reason, AMB_REASON_POD_GONE);
	CHECK_EQ(stats(B).open_sockets[AMB_INBOUND], 0);
	hear_end(s);
	hear_end(c);
	CHECK(refuses(B, "127.0.0.1:15008"));
	CHECK_EQ(pod_del(B, &server_spec), -ENOENT);
	/* and it may come back */
	CHECK_EQ(pod_add(B, &server_spec), 0);
	CHECK_EQ(pod_add(B, &server_spec), -EEXIST);
	close(c);
	close(s);
	talk(l, SERVER, &c, &s, NULL);
	close(c);
	close(s);
	close(l);
}

static char rows[2][4096], row_policy[128];
static unsigned int nrows;

static void note_row(void *ctx, const struct amb_proxy_conn *c)
{
	char src[AMB_ENDPOINT_STRLEN], dst[AMB_ENDPOINT_STRLEN], actual[AMB_ENDPOINT_STRLEN];

	(void)ctx;
	src[0] = 0;
	snprintf(row_policy, sizeof(row_policy), "%s", c->policy);
	snprintf(rows[nrows++ % 2], sizeof(rows[0]), "%s %s %s %s>%s %s %s %s %s %llu/%llu",
		 c->pod_uid, c->direction ? "out" : "in", amb_reason_way_text(c->way),
		 amb_addr_format(&c->src.addr, src), amb_endpoint_format(&c->original_dst, dst),
		 amb_endpoint_format(&c->actual_dst, actual), c->src_identity, c->src_name,
		 c->dst_name, (unsigned long long)c->bytes_to_dst,
		 (unsigned long long)c->bytes_to_src);
}

static const char *each_row(int which)
{
	struct wait w = { 0 };

	nrows = 0;
	rows[0][0] = 0;
	amb_proxy_each_conn(proxy[which], note_row, wait_done, &w);
	CHECK_EQ(wait_for(&w), 0);
	return rows[0];
}

PTEST(live_connections_are_listed)
{
	int l = serve_at(B, SERVER), c, s;

	proxies_start();
	CHECK_STR(each_row(A), "");
	talk(l, SERVER, &c, &s, NULL);
	CHECK_STR(each_row(A),
		  "client out tunnel 10.99.0.1>10.99.0.2:8080 10.99.0.2:15008 " CLIENT_ID
		  " default/client default/server 4/5");
	CHECK_EQ(nrows, 1);
	CHECK_STR(each_row(B),
		  "server in tunnel 10.99.0.1>10.99.0.2:15008 10.99.0.2:8080 " CLIENT_ID
		  " default/client default/server 4/5");
	close(c);
	close(s);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1 && look(AMB_OUTBOUND).closed == 1));
	CHECK_STR(each_row(B), "");
	close(l);
}

PTEST(a_live_connection_is_listed_with_the_policy_that_allows_it_now)
{
	int l = serve_at(B, SERVER), c, s;

	apply_policy("first", ISTIO__SECURITY__SCOPE__NAMESPACE, ISTIO__SECURITY__ACTION__ALLOW,
		     "cluster.local/ns/default/sa/client", 0);
	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	each_row(B);
	CHECK_STR(row_policy, "default/first");
	apply_policy("second", ISTIO__SECURITY__SCOPE__NAMESPACE, ISTIO__SECURITY__ACTION__ALLOW,
		     NULL, 8080);
	remove_policy("first");
	amb_proxy_rejudge(proxy[B]);
	each_row(B);
	CHECK_STR(row_policy, "default/second");
	remove_policy("second");
	amb_proxy_rejudge(proxy[B]);
	each_row(B);
	CHECK_STR(row_policy, "");
	close(c);
	close(s);
	close(l);
}

#ifdef NOMEM
PTEST(a_policy_cuts_live_connections_without_memory)
{
	int l = serve_at(B, SERVER), c, s;

	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	/* Workers have looked, and nobody has heard that they did: they look again. */
	amb_proxy_rejudge(proxy[B]);
	say(c, "alive");
	hear(s, "alive");
	apply_policy("deny-8080", ISTIO__SECURITY__SCOPE__NAMESPACE, ISTIO__SECURITY__ACTION__DENY,
		     "cluster.local/ns/default/sa/client", 8080);
	nomem_left = 0;
	amb_proxy_rejudge(proxy[B]);
	nomem_left = -1;
	each_row(B); /* the main loop hears the first answers, too */
	hear_end(c);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1));
	CHECK_EQ(look(AMB_INBOUND).reason, AMB_REASON_POLICY_CHANGE);
	remove_policy("deny-8080");
	close(c);
	close(s);
	close(l);
}
#endif

PTEST(drain_lets_connections_end)
{
	int l = serve_at(B, SERVER), c, s;
	struct wait w = { 0 };

	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	amb_proxy_drain(proxy[B], 60 * SECOND, wait_done, &w);
	CHECK(EVENTUALLY(refuses(B, "127.0.0.1:15008")));
	say(c, "goes on");
	hear(s, "goes on");
	CHECK(!w.done);
	close(c);
	hear_end(s);
	close(s);
	CHECK_EQ(wait_for(&w), 0);
	CHECK_STR(look(AMB_INBOUND).error, "");
	close(l);
}

PTEST(drain_ends_by_force_at_the_deadline)
{
	int l = serve_at(B, SERVER), c, s;
	struct wait w = { 0 };

	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	amb_proxy_drain(proxy[B], SECOND / 5, wait_done, &w);
	CHECK_EQ(wait_for(&w), -ETIMEDOUT);
	hear_end(s);
	hear_end(c);
	CHECK_EQ(look(AMB_INBOUND).reason, AMB_REASON_DRAIN);
	CHECK_STR(look(AMB_INBOUND).error, "connection failed to drain within the timeout");
	close(c);
	close(s);
	close(l);
}

PTEST(proxies_may_be_destroyed_in_full_flight)
{
	int l = serve_at(B, SERVER), c[16], s[16], i;
	struct wait w = { 0 };

	proxies_start();
	for (i = 0; i < 16; i++)
		talk(l, SERVER, &c[i], &s[i], NULL);
	/* an answer is under way when the proxy goes */
	amb_proxy_pod_del(proxy[A], client_spec.name, wait_done, &w);
	proxies_stop();
	CHECK(!w.done);
	for (i = 0; i < 16; i++) {
		hear_end(c[i]);
		hear_end(s[i]);
		close(c[i]);
		close(s[i]);
	}
	CHECK_EQ(look(AMB_OUTBOUND).closed, 16);
	CHECK_EQ(look(AMB_INBOUND).closed, 16);
	close(l);
}

PTEST(application_tunnels_get_a_proxy_header)
{
	static const uint8_t head[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0,    0x0d, 0x0a,
					0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11 };
	struct amb_endpoint peer;
	uint8_t buf[256];
	int l, c, s;
	size_t n = 16 + 12 + 3 + strlen(CLIENT_ID), got = 0;

	server_spec.proxy_port = 15088;
	apply_workload(&server_spec);
	l = serve_at(B, "127.0.0.1:15088");
	proxies_start();
	c = dial_from(A, SERVER);
	s = accept_on(l, &peer);
	CHECK(is_from(&peer, "127.0.0.1"));
	while (got < n) {
		ssize_t k;

		wait_io(s, POLLIN);
		k = recv(s, buf + got, n - got, 0);
		CHECK(k > 0);
		got += k;
	}
	CHECK(!memcmp(buf, head, sizeof(head)));
	CHECK(!memcmp(buf + 16, "\x0a\x63\x00\x01\x0a\x63\x00\x02", 8));
	CHECK(!memcmp(buf + 26, "\x1f\x90\xd0", 3));
	CHECK(!memcmp(buf + 31, CLIENT_ID, strlen(CLIENT_ID)));
	say(c, "after it");
	hear(s, "after it");
	close(c);
	close(s);
	close(l);
}

PTEST(an_unknown_source_waits_and_is_refused)
{
	char name[] = "Kubernetes//Pod/default/client";
	struct amb_resource gone = { .name = name };
	int l = serve_at(B, SERVER), c, s;

	config.source_wait_ns = SECOND / 5;
	apply_one(&gone);
	proxies_start();
	c = dial_from(A, SERVER);
	hear_end(c);
	close(c);
	CHECK_EQ(look(AMB_OUTBOUND).failed, 1);
	CHECK_EQ(look(AMB_OUTBOUND).reason, AMB_REASON_NO_SOURCE);
	proxies_stop();
	/* but one that becomes known in time is served */
	config.source_wait_ns = 20 * SECOND;
	proxies_start();
	c = dial_from(A, SERVER);
	apply_workload(&client_spec);
	s = accept_on(l, NULL);
	close(c);
	close(s);
	close(l);
}

PTEST(a_wrong_identity_is_not_talked_to)
{
	struct spec liar = server_spec;
	struct seen out;
	int c;

	/* A's state says that another service account is there. */
	liar.sa = "other";
	apply_workload_at(&liar, A, A);
	proxies_start();
	c = dial_from(A, SERVER);
	hear_end(c);
	close(c);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 1));
	out = look(AMB_OUTBOUND);
	CHECK_EQ(out.flag, AMB_FLAG_IDENTITY_ERROR);
	CHECK_EQ(out.reason, AMB_REASON_PEER_IDENTITY);
	CHECK_EQ(look(AMB_INBOUND).opened, 0);
}

PTEST(a_full_fd_table_pauses_and_recovers)
{
	int l = serve_at(B, SERVER), c[8], s, i, probe;
	struct rlimit old, low;
	uint64_t before, after;

	proxies_start();
	talk(l, SERVER, &c[0], &s, NULL);
	close(c[0]);
	close(s);
	CHECK(EVENTUALLY(look(AMB_INBOUND).closed == 1 && look(AMB_OUTBOUND).closed == 1));
	for (i = 0; i < 8; i++)
		c[i] = sock_at(A, AF_INET);
	getrlimit(RLIMIT_NOFILE, &old);
	probe = dup(0);
	close(probe);
	low = old;
	low.rlim_cur = probe;
	setrlimit(RLIMIT_NOFILE, &low);
	for (i = 0; i < 8; i++)
		dial_on(c[i], SERVER);
	before = amb_util_now_ns();
	while (stats(A).reasons[AMB_REASON_LIMIT] < 4 && amb_util_now_ns() < before + PATIENCE_NS)
		usleep(10000);
	after = stats(A).reasons[AMB_REASON_LIMIT];
	setrlimit(RLIMIT_NOFILE, &old);
	/* a few tries each pause, not thousands */
	CHECK(after >= 4 && after < 200);
	for (i = 0; i < 8; i++)
		close(accept_on(l, NULL));
	for (i = 0; i < 8; i++) {
		hear_end(c[i]);
		close(c[i]);
	}
	close(l);
}

PTEST(a_pods_connections_are_bounded)
{
	int l = serve_at(B, SERVER), c[6], s[3], i;

	config.workers = 1;
	config.max_conns_per_pod = 4;
	proxies_start();
	/* at the server the tunnel is one connection and each stream another */
	for (i = 0; i < 3; i++)
		talk(l, SERVER, &c[i], &s[i], NULL);
	for (; i < 6; i++) {
		c[i] = dial_from(A, SERVER);
		hear_end(c[i]);
	}
	CHECK_EQ(stats(A).reasons[AMB_REASON_LIMIT] + stats(B).reasons[AMB_REASON_LIMIT], 3);
	say(c[0], "unharmed");
	hear(s[0], "unharmed");
	for (i = 0; i < 6; i++)
		close(c[i]);
	for (i = 0; i < 3; i++)
		close(s[i]);
	CHECK(EVENTUALLY(stats(A).open_sockets[AMB_OUTBOUND] == 0));
	talk(l, SERVER, &c[0], &s[0], NULL);
	close(c[0]);
	close(s[0]);
	close(l);
}

/* Sends into connections that nobody reads until not one takes more. */
static void fill(const int *fd, unsigned int n)
{
	static const char zeros[16384];
	unsigned int i, calm;

	for (calm = 0; calm < 10; calm++) {
		usleep(20000);
		for (i = 0; i < n; i++) {
			while (send(fd[i], zeros, sizeof(zeros), MSG_DONTWAIT) > 0)
				calm = 0;
		}
	}
}

/*
 * Pods client and server are of one node, and of one worker. Connections of the first, plain and to
 * or from C, are stuck with all the memory that they can get: the second's go on.
 */
static void a_stuck_neighbour(bool in)
{
	int at[2] = { in ? A : C, in ? B : C }, from[2] = { in ? C : A, in ? C : B };
	const char *addr[2] = { in ? "10.99.0.1:9090" : "10.99.0.3:9090",
				in ? "10.99.0.2:9091" : "10.99.0.3:9091" };
	int stuck[60], end[60], l[2], c, s, i, small = 16384;

	server_spec.node = "node-a";
	apply_workload(&server_spec);
	server_spec.node = "node-b";
	memset(seen, 0, sizeof(seen));
	config.workers = 1;
	config.hbone.buffer_memory = 1 << 20;
	CHECK((proxy[A] = amb_proxy_create(loop, &config, state[A], creds, &hooks)));
	CHECK_EQ(pod_add_to(A, A, &client_spec), 0);
	CHECK_EQ(pod_add_to(A, B, &server_spec), 0);
	for (i = 0; i < 2; i++) {
		l[i] = serve_at(at[i], addr[i]);
		setsockopt(l[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	}
	for (i = 0; i < 60; i++) {
		stuck[i] = dial_from(from[0], addr[0]);
		end[i] = accept_on(l[0], NULL);
	}
	fill(stuck, 60);
	c = dial_from(from[1], addr[1]);
	s = accept_on(l[1], NULL);
	for (i = 0; i < 100; i++) {
		say(c, "ping");
		hear(s, "ping");
		say(s, "pong!");
		hear(c, "pong!");
	}
	CHECK_EQ(look(in ? AMB_INBOUND : AMB_OUTBOUND).closed, 0);
	for (i = 0; i < 60; i++) {
		close(stuck[i]);
		close(end[i]);
	}
	close(c);
	close(s);
	close(l[0]);
	close(l[1]);
}

PTEST(a_stuck_pod_leaves_its_neighbour_memory)
{
	a_stuck_neighbour(false);
}

PTEST(a_stuck_pod_leaves_its_neighbour_memory_inbound)
{
	a_stuck_neighbour(true);
}

static bool ended_now(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

static unsigned int still_open(const int *fd, unsigned int n)
{
	unsigned int i, open = 0;

	for (i = 0; i < n; i++)
		open += !ended_now(fd[i]);
	return open;
}

PTEST(silent_handshakes_are_bounded_and_given_up)
{
	int l = serve_at(B, SERVER), silent[8], i, c, s;

	config.workers = 1;
	config.max_handshakes_per_peer = 4;
	proxies_start();
	for (i = 0; i < 8; i++)
		silent[i] = dial_from(C, "10.99.0.2:15008");
	CHECK(EVENTUALLY(still_open(silent, 8) == 4));
	CHECK_EQ(stats(B).reasons[AMB_REASON_LIMIT], 4);
	/* other sources are not concerned */
	talk(l, SERVER, &c, &s, NULL);
	close(c);
	close(s);
	for (i = 0; i < 8; i++)
		close(silent[i]);
	proxies_stop();
	/* and time ends them */
	config.hbone.handshake_timeout_ns = SECOND / 4;
	proxies_start();
	silent[0] = dial_from(C, "10.99.0.2:15008");
	hear_end(silent[0]);
	CHECK(EVENTUALLY(stats(B).open_sockets[AMB_INBOUND] == 0));
	CHECK_EQ(look(AMB_INBOUND).failed, 1);
	CHECK_EQ(look(AMB_INBOUND).reason, AMB_REASON_TIMEOUT);
	CHECK_EQ(stats(B).handshake_failures, 1);
	close(silent[0]);
	close(l);
}

PTEST(rotation_renews_pooled_tunnels)
{
	int l = serve_at(B, SERVER), c, s, c2, s2;
	struct amb_identity *id = amb_identity_intern("cluster.local", "default", "client");

	config.workers = 1;
	proxies_start();
	talk(l, SERVER, &c, &s, NULL);
	CHECK_EQ(stats(A).handshakes, 1);
	issue(NULL, id, AMB_CREDS_REALTIME);
	amb_identity_put(id);
	talk(l, SERVER, &c2, &s2, NULL);
	CHECK_EQ(stats(A).handshakes, 2);
	say(c, "old one lives");
	hear(s, "old one lives");
	close(c);
	close(s);
	close(c2);
	close(s2);
	close(l);
}

/*
 * Double HBONE: the gateway is a pod of node A in netns C, whose application passes bytes on to
 * the server's 15008, as an east-west gateway does.
 */
#define ECHO "echo.default.svc.cluster.local"

static void apply_service(int which, uint32_t target)
{
	Istio__Workload__Service svc = ISTIO__WORKLOAD__SERVICE__INIT;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__NetworkAddress vip = ISTIO__WORKLOAD__NETWORK_ADDRESS__INIT, *vips = &vip;
	Istio__Workload__Port port = ISTIO__WORKLOAD__PORT__INIT, *ports = &port;
	char *san = SERVER_ID;
	struct amb_resource r = { .name = "default/" ECHO, .address = &a };

	svc.name = "echo";
	svc.namespace_ = "default";
	svc.hostname = ECHO;
	vip.network = "";
	bytes_of("10.99.1.1", &vip.address);
	svc.addresses = &vips;
	port.service_port = 80;
	port.target_port = target;
	svc.ports = &ports;
	svc.subject_alt_names = &san;
	svc.n_addresses = svc.n_ports = svc.n_subject_alt_names = 1;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a.service = &svc;
	CHECK_EQ(amb_state_apply(state[which], &r, 1, NULL, NULL), 0);
	free(vip.address.data);
}

static void apply_remote(void)
{
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__GatewayAddress gw = ISTIO__WORKLOAD__GATEWAY_ADDRESS__INIT;
	Istio__Workload__NetworkAddress at = ISTIO__WORKLOAD__NETWORK_ADDRESS__INIT;
	Istio__Workload__Port port = ISTIO__WORKLOAD__PORT__INIT, *ports = &port;
	Istio__Workload__PortList list = ISTIO__WORKLOAD__PORT_LIST__INIT;
	Istio__Workload__Workload__ServicesEntry
		entry = ISTIO__WORKLOAD__WORKLOAD__SERVICES_ENTRY__INIT,
		*entries = &entry;
	struct amb_resource r = { .name = "far/remote", .address = &a };

	w.uid = "far/remote";
	w.name = w.workload_name = "remote";
	w.namespace_ = "default";
	w.service_account = "server";
	w.network = "far";
	w.tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	bytes_of("10.99.0.3", &at.address);
	gw.destination_case = ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS;
	gw.address = &at;
	gw.hbone_mtls_port = 15008;
	w.network_gateway = &gw;
	port.service_port = 80;
	port.target_port = 8080;
	list.ports = &ports;
	list.n_ports = 1;
	entry.key = "default/" ECHO;
	entry.value = &list;
	w.services = &entries;
	w.n_services = 1;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	CHECK_EQ(amb_state_apply(state[A], &r, 1, NULL, NULL), 0);
	free(at.address.data);
}

static bool pump(int from, int to)
{
	char buf[4096];
	ssize_t n = recv(from, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0)
		return send(to, buf, n, MSG_NOSIGNAL) == n;
	return n < 0 && errno == EAGAIN;
}

/* To another network, and what the states know of it. */
static const struct spec gateway = {
	.name = "gateway",
	.sa = "gateway",
	.node = "node-a",
	.v4 = "10.99.0.3",
	.v6 = "fd99::3",
	.hbone = true,
};
static const struct amb_resource far[] = { { .name = "default/" ECHO },
					   { .name = "far/remote" },
					   { .name = "Kubernetes//Pod/default/gateway" } };

/* The gateway's application: one connection, until either side ends. */
static void *gateway_app(void *arg)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	int *listener = arg;

	p[0].fd = accept(*listener, NULL, NULL);
	amb_netns_enter(netns[C]);
	p[1].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!dial_on(p[1].fd, "10.99.0.2:15008"))
		while (poll(p, 2, -1) > 0 && (!p[0].revents || pump(p[0].fd, p[1].fd)) &&
		       (!p[1].revents || pump(p[1].fd, p[0].fd)))
			;
	close(p[0].fd);
	close(p[1].fd);
	return NULL;
}

PTEST(another_network_is_reached_by_a_tunnel_in_a_tunnel)
{
	int l = serve_at(B, SERVER), gl = serve_at(C, "10.99.0.3:16008"), c, s;
	struct seen out, in;
	pthread_t app;

	config.orig_src = 0;
	apply_workload_at(&gateway, A, A);
	apply_remote();
	apply_service(A, 16008);
	apply_service(B, 8080);
	proxies_start();
	CHECK_EQ(pod_add_to(A, C, &gateway), 0);
	pthread_create(&app, NULL, gateway_app, &gl);
	talk(l, "10.99.1.1:80", &c, &s, NULL);
	CHECK_EQ(look(AMB_OUTBOUND).opened, 1);
	shutdown(c, SHUT_WR);
	hear_end(s);
	say(s, "and the end");
	hear(c, "and the end");
	close(s);
	hear_end(c);
	close(c);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 1 && look(AMB_INBOUND).closed == 2));
	pthread_join(app, NULL);
	out = look(AMB_OUTBOUND);
	in = look(AMB_INBOUND);
	CHECK_STR(out.error, "");
	CHECK_STR(out.service, ECHO);
	/* not the gateway: who answered behind it */
	CHECK_STR(out.dst_workload, "server");
	CHECK_EQ(out.to_dst, 4);
	CHECK_EQ(out.to_src, 16);
	CHECK_STR(in.error, "");
	CHECK_EQ(amb_state_apply(state[A], far, 3, NULL, NULL), 0);
	CHECK_EQ(amb_state_apply(state[B], far, 1, NULL, NULL), 0);
	close(l);
	close(gl);
}

/* A gateway that takes the connection and says nothing more. */
PTEST(a_silent_gateway_is_given_up)
{
	int gl = serve_at(C, "10.99.0.3:16008"), c;

	config.orig_src = 0;
	config.dial_timeout_ns = SECOND / 4;
	apply_workload_at(&gateway, A, A);
	apply_remote();
	apply_service(A, 16008);
	proxies_start();
	CHECK_EQ(pod_add_to(A, C, &gateway), 0);
	c = dial_from(A, "10.99.1.1:80");
	hear_end(c);
	close(c);
	CHECK(EVENTUALLY(look(AMB_OUTBOUND).closed == 1));
	CHECK_EQ(look(AMB_OUTBOUND).reason, AMB_REASON_TIMEOUT);
	CHECK_EQ(look(AMB_OUTBOUND).opened, 1);
	CHECK_EQ(amb_state_apply(state[A], far, 3, NULL, NULL), 0);
	close(gl);
}

/* The machine */

static int sh(const char *fmt, ...) AMB_PRINTF(1, 2);
static int sh(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

static void clean_up(void)
{
	int i;

	for (i = 0; i < NETNS; i++) {
		amb_netns_put(netns[i]);
		netns[i] = NULL;
		sh("ip netns del %s%s 2>/dev/null", prefix, netns_letter[i]);
	}
	if (*ca_dir)
		sh("rm -rf %s", ca_dir);
}

static int make_netns(void)
{
	static const char *const v4[] = { "10.99.0.1", "10.99.0.2", "10.99.0.3" };
	char path[64];
	int i, err = 0;

	for (i = NETNS - 1; i >= 0; i--) {
		err |= sh("ip netns add %s%s", prefix, netns_letter[i]);
		err |= sh("ip -n %s%s link set lo up", prefix, netns_letter[i]);
		if (i == D) {
			err |= sh("ip -n %sd link add br0 type bridge && ip -n %sd link set br0 up",
				  prefix, prefix);
			continue;
		}
		err |= sh("ip -n %s%s link add eth0 type veth peer name v%d netns %sd", prefix,
			  netns_letter[i], i, prefix);
		err |= sh("ip -n %sd link set v%d master br0 up", prefix, i);
		err |= sh("ip -n %s%s addr add %s/24 dev eth0", prefix, netns_letter[i], v4[i]);
		err |= sh("ip -n %s%s addr add fd99::%d/64 dev eth0 nodad", prefix, netns_letter[i],
			  i + 1);
		err |= sh("ip -n %s%s link set eth0 up", prefix, netns_letter[i]);
		err |= sh("ip -n %s%s route add default dev eth0", prefix, netns_letter[i]);
	}
	for (i = 0; i < NETNS && !err; i++) {
		snprintf(path, sizeof(path), "/run/netns/%s%s", prefix, netns_letter[i]);
		netns[i] = amb_netns_open(path);
		err |= !netns[i];
	}
	return err;
}

static int make_mesh(void)
{
	static const struct amb_state_config sc[2] = {
		{ .network = "", .node = "node-a", .on_demand = true },
		{ .network = "", .node = "node-b", .on_demand = true },
	};
	struct amb_nft_config nc = { .ipv6 = true };
	char err[AMB_CA_ERROR_LEN];
	int i;

	snprintf(ca_dir, sizeof(ca_dir), "/tmp/%sca", prefix);
	if (amb_ca_init(ca_dir, "cluster.local", NULL, err) ||
	    amb_ca_node(ca_dir, "node", NULL, err) || !(ca = amb_ca_load(ca_dir, "node", err))) {
		snprintf(why_not, sizeof(why_not), "CA: %.100s", err);
		return -1;
	}
	for (i = A; i <= B; i++) {
		if (amb_nft_install(netns[i], &nc, err, sizeof(err))) {
			snprintf(why_not, sizeof(why_not), "nftables: %.100s", err);
			return -1;
		}
	}
	loop = amb_loop_create();
	for (i = A; i <= B; i++)
		state[i] = amb_state_create(&sc[i]);
	creds = amb_creds_create(issue, NULL);
	return loop && state[A] && state[B] && creds ? 0 : -1;
}

int main(void)
{
	int bad;

	urcu_memb_register_thread();
	amb_log_set_filter(getenv("AMB_LOG") ? getenv("AMB_LOG") : "error");
	snprintf(prefix, sizeof(prefix), "proxyt%d", getpid());
	if (geteuid()) {
		printf("TAP version 13\n1..0 # SKIP needs root\n");
		return 4;
	}
	if (amb_tls_init() || make_netns() || make_mesh()) {
		printf("Bail out! no mesh to test: %s\n", why_not);
		clean_up();
		return 1;
	}
	/* opens what leads back from there */
	amb_netns_enter(netns[A]);
	amb_netns_enter(NULL);
	first_fd = dup(0);
	close(first_fd);
	bad = harness_run();
	proxies_stop();
	amb_creds_destroy(creds);
	amb_state_destroy(state[A]);
	amb_state_destroy(state[B]);
	amb_loop_destroy(loop);
	amb_ca_destroy(ca);
	clean_up();
	amb_tls_uninit();
	urcu_memb_unregister_thread();
	return bad;
}
