// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HBONE into a pod (15008): tunnels accepted, and what each of their streams asks for.
 *
 * A tunnel waits for the pod's workload and its credential, then the engine has it: its
 * closed() frees it. Until the handshake is done it stands in the worker's table of
 * unfinished ones, bounded per source address. A stream is judged and its application
 * dialled by a struct request, which ends in accept or reject; after accept the table's entry
 * owns the stream. Where what it needs has to be asked for first, a struct parked keeps it.
 */
#include "inbound.h"

#include "base/cleanup.h"
#include "base/reason.h"
#include "base/util.h"
#include "creds.h"
#include "demand.h"
#include "dial.h"
#include "h2.h"
#include "hbone.h"
#include "kernel/netns.h"
#include "live.h"
#include "mesh/baggage.h"
#include "mesh/decide.h"
#include "pod.h"
#include "proxy_proto.h"
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define UNFINISHED_MAX 4096 /* handshakes under way on a worker, all sources */

struct tunnel {
	struct cds_list_head node; /* of the pod's tunnels */
	struct cds_list_head unfinished; /* of the worker's bucket; node.next NULL: done */
	struct amb_pod *pod;
	struct amb_hbone *hbone; /* NULL before the engine has it */
	int fd; /* until then */
	struct amb_endpoint src, local;
	struct amb_pod_waiter wait;
	struct amb_creds_waiter creds;
	struct amb_timer timer; /* for the credential */
	bool source_told; /* the peer's workload was asked for */
};

struct request {
	struct amb_setup setup;
	struct tunnel *tunnel;
	struct amb_stream *stream; /* NULL: it is gone */
	struct amb_live *live;
	struct amb_workload *local;
	struct amb_inbound in;
	uint64_t version;
	struct amb_dial dial;
};

static struct amb_worker *worker_of(const struct tunnel *t)
{
	return t->pod->worker;
}

/* Handshakes under way */

static struct cds_list_head *bucket_of(struct amb_worker *w, const struct amb_endpoint *src)
{
	return &w->unfinished[amb_addr_hash(&src->addr, amb_util_seed()) % AMB_WORKER_BUCKETS];
}

static bool may_begin(struct amb_worker *w, const struct amb_endpoint *src)
{
	uint32_t left = w->env->config.max_handshakes_per_peer;
	struct tunnel *t;

	if (w->nunfinished >= UNFINISHED_MAX)
		return false;
	cds_list_for_each_entry(t, bucket_of(w, src), unfinished)
		if (amb_addr_eq(&t->src.addr, &src->addr) && !--left)
			return false;
	return left;
}

static void begun(struct tunnel *t)
{
	struct amb_worker *w = worker_of(t);

	cds_list_add(&t->unfinished, bucket_of(w, &t->src));
	w->nunfinished++;
}

static void finished(struct tunnel *t)
{
	if (!t->unfinished.next)
		return;
	cds_list_del(&t->unfinished);
	t->unfinished.next = NULL;
	worker_of(t)->nunfinished--;
}

/* Requests */

static void request_free(struct request *r)
{
	amb_dial_cancel(&r->dial);
	cds_list_del(&r->setup.node);
	amb_workload_put(r->local);
	amb_inbound_release(&r->in);
	free(r);
}

/* Nobody waits for the end of a stream that was answered with an error. */
static void reject(struct amb_stream *s, int status, enum amb_reason reason)
{
	amb_stream_set_owner(s, NULL, NULL);
	amb_stream_reject(s, status, reason);
}

/* The entry is closed first: the stream's own end then tells nobody. */
static void refuse(struct request *r, int status, enum amb_reason reason, enum amb_flag flag,
		   const char *text)
{
	struct amb_stream *s = take_ptr(r->stream);

	amb_live_close(take_ptr(r->live), flag, reason, text);
	request_free(r);
	if (s)
		reject(s, status, reason);
}

static void abort_request(struct amb_setup *setup, enum amb_reason reason)
{
	refuse(AMB_CONTAINER_OF(setup, struct request, setup), 503, reason, AMB_FLAG_NONE, NULL);
}

/* The peer gave up while the application was dialled. */
static void request_closed(struct amb_stream *s, void *owner, enum amb_reason reason,
			   const char *text)
{
	struct request *r = owner;

	(void)s;
	r->stream = NULL;
	refuse(r, 0, reason == AMB_REASON_NONE ? AMB_REASON_RESET : reason, AMB_FLAG_NONE, text);
}

static const struct amb_stream_ops request_ops = { .closed = request_closed };

static bool judge(struct request *r, const struct amb_endpoint *dst, struct amb_verdict *verdict,
		  uint64_t *stamp)
{
	struct tunnel *t = r->tunnel;
	const struct amb_workload *now;
	struct amb_policy_conn conn = {
		.peer = amb_hbone_peer(t->hbone)->identity,
		.src = t->src,
		.dst = *dst,
	};

	r->version = amb_state_version(worker_of(t)->env->st);
	/* As the workload is now: its list of policies may be what changed. */
	now = amb_pod_workload(t->pod);
	amb_pod_judge(t->pod, now ? now : r->local, &conn, verdict, stamp);
	return verdict->allow;
}

static void denied(struct request *r, const struct amb_verdict *v)
{
	char text[AMB_POLICY_NAME_MAX + 64];

	snprintf(text, sizeof(text), "%s%s%s", amb_reason_text(v->reason), *v->policy ? ": " : "",
		 v->policy);
	refuse(r, 401, v->reason, AMB_FLAG_DENY, text);
}

/* The socket is new and empty, so the header goes out whole or not at all. */
static int send_proxy_header(struct request *r, int fd)
{
	const struct tunnel *t = r->tunnel;
	uint8_t buf[AMB_PROXY_PROTO_MAX];
	size_t n = amb_proxy_proto_write(&t->src, &r->in.proxy_dst,
					 amb_hbone_peer(t->hbone)->identity->spiffe, buf,
					 sizeof(buf));

	if (!n || send(fd, buf, n, MSG_NOSIGNAL) != (ssize_t)n)
		return -EIO;
	return 0;
}

static void app_failed(struct request *r, int err)
{
	char text[96];

	snprintf(text, sizeof(text), "connection to the application failed: %s", strerror(-err));
	refuse(r, 503, amb_dial_reason(err), AMB_FLAG_CONNECT, text);
}

static void app_connected(struct request *r, int fd)
{
	struct amb_pod *pod = r->tunnel->pod;
	const struct amb_env *env = pod->worker->env;
	struct amb_verdict verdict;
	struct amb_live *l = r->live;
	struct amb_stream *s = r->stream;
	int err;

	/* Re-judging does not see what is being set up, so an update is looked at here. */
	if (r->version != amb_state_version(env->st) &&
	    !judge(r, &r->in.target, &verdict, &l->stamp)) {
		close(fd);
		denied(r, &verdict);
		return;
	}
	err = r->in.proxy ? send_proxy_header(r, fd) : 0;
	if (err) {
		close(fd);
		app_failed(r, err);
		return;
	}
	r->live = NULL;
	r->stream = NULL;
	request_free(r);
	amb_live_stream(l, s, false);
	amb_stream_set_owner(s, &amb_live_stream_ops, l);
	if (amb_stream_accept(s, fd, env->config.response_baggage ? pod->baggage : NULL)) {
		close(fd);
		amb_stream_abort(s, AMB_H2_INTERNAL_ERROR, AMB_REASON_MEMORY);
	}
}

static void app_dialled(struct amb_dial *d, int fd)
{
	struct request *r = AMB_CONTAINER_OF(d, struct request, dial);

	if (fd < 0)
		app_failed(r, fd);
	else
		app_connected(r, fd);
}

static const struct amb_addr loopback4 = { { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 } };
static const struct amb_addr loopback6 = { { [15] = 1 } };

static void dial_app(struct request *r)
{
	struct tunnel *t = r->tunnel;
	struct amb_worker *w = worker_of(t);
	const struct amb_proxy_config *config = &w->env->config;
	struct amb_dial_to to = {
		.netns = t->pod->info->netns,
		.dst = r->in.target,
		.src_required = config->orig_src > 0,
		.local = true,
		.marked_back = t->pod->info->captured,
		.timeout_ns = config->dial_timeout_ns,
	};
	int fd;

	if (r->in.proxy && config->localhost_app_tunnel) {
		/* From loopback too, or firewalls drop it. */
		to.dst.addr = amb_addr_is_v4(&to.dst.addr) ? loopback4 : loopback6;
		to.src = &to.dst.addr;
	} else if (t->pod->transparent && !amb_addr_eq(&t->src.addr, &to.dst.addr)) {
		to.src = &t->src.addr;
		to.transparent = true;
	}
	r->dial.done = app_dialled;
	fd = amb_dial_start(&r->dial, w->loop, &to);
	if (fd >= 0)
		app_connected(r, fd);
	else if (fd != -EINPROGRESS)
		app_failed(r, fd);
}

/* The peer's workload by its address, unless it says that it is of another network. */
static struct amb_workload *peer_workload(const struct tunnel *t, const char *network)
{
	const struct amb_state *st = worker_of(t)->env->st;
	struct amb_workload *w;

	if (network && strcmp(network, amb_state_network(st)))
		return NULL;
	amb_state_read_begin(st);
	w = amb_workload_get(amb_state_workload_by_addr(st, amb_state_network(st), &t->src.addr));
	amb_state_read_end(st);
	return w;
}

static void tunnel_flow(const struct tunnel *t, struct amb_flow *f)
{
	memset(f, 0, sizeof(*f));
	f->direction = AMB_INBOUND;
	f->way = AMB_WAY_TUNNEL;
	f->protocol = AMB_PROTO_HBONE;
	f->src = t->src;
	f->dst = f->actual = t->local;
	f->start_ns = amb_util_now_ns();
	f->mtls = true;
	if (t->hbone && amb_hbone_is_up(t->hbone))
		f->src_identity = amb_hbone_peer(t->hbone)->identity;
}

/* Before it is known whom it is for: a line in the log and an error status. */
static void early_reject(struct tunnel *t, struct amb_stream *s, const char *authority, int status,
			 enum amb_reason reason)
{
	struct amb_flow f;

	tunnel_flow(t, &f);
	f.authority = authority;
	amb_live_failed(t->pod, &f, reason, NULL);
	reject(s, status, reason);
}

static void judge_and_dial(struct request *r, const struct amb_hbone_request *req,
			   const char *authority)
{
	struct tunnel *t = r->tunnel;
	bool baggage = req->has_baggage && worker_of(t)->env->config.response_baggage;
	struct amb_workload *peer = peer_workload(t, req->forwarded_network);
	struct amb_verdict verdict;
	struct amb_flow f;
	uint64_t stamp;
	bool allow = judge(r, &r->in.target, &verdict, &stamp);

	tunnel_flow(t, &f);
	f.actual = r->in.target;
	f.authority = authority;
	f.src_workload = peer;
	f.src_baggage = baggage ? &req->baggage : NULL;
	f.dst_workload = r->local;
	f.dst_service = r->in.service;
	f.dst_identity = r->local->identity;
	f.policy = *verdict.policy ? verdict.policy : NULL;
	r->live = amb_live_open(t->pod, &f, stamp, false);
	amb_workload_put(peer);
	if (!r->live) {
		struct amb_stream *s = take_ptr(r->stream);

		amb_pod_uncharge(t->pod);
		request_free(r);
		reject(s, 503, AMB_REASON_MEMORY);
	} else if (!allow) {
		denied(r, &verdict);
	} else {
		dial_app(r);
	}
}

/* @r is charged from here on. */
static void request_begin(struct tunnel *t, struct amb_stream *s,
			  const struct amb_hbone_request *req, const char *authority,
			  const struct amb_workload *local, struct amb_inbound *in)
{
	struct request *r;

	if (!amb_pod_charge(t->pod)) {
		amb_inbound_release(in);
		reject(s, 503, AMB_REASON_LIMIT);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		amb_pod_uncharge(t->pod);
		amb_inbound_release(in);
		amb_worker_reason(worker_of(t), AMB_REASON_MEMORY);
		reject(s, 503, AMB_REASON_MEMORY);
		return;
	}
	r->setup.abort = abort_request;
	r->tunnel = t;
	r->stream = s;
	r->in = *in;
	r->dial.io.fd = -1;
	r->local = amb_workload_get(local);
	cds_list_add_tail(&r->setup.node, &t->pod->setups);
	amb_stream_set_owner(s, &request_ops, r);
	judge_and_dial(r, req, authority);
}

/* Parked requests */

struct parked {
	struct amb_setup setup;
	struct tunnel *tunnel;
	struct amb_stream *stream;
	struct amb_demand_waiter demand;
	struct amb_hbone_request req; /* its strings are in @text */
	char *asked; /* the last name; NULL: the source */
	unsigned int asks;
	char text[];
};

static void serve(struct tunnel *t, struct amb_stream *s, const struct amb_hbone_request *req,
		  struct parked *p);

static const char *keep(char **at, const char *text, size_t len)
{
	char *start = *at;

	if (!text)
		return NULL;
	memcpy(start, text, len);
	start[len] = 0;
	*at += len + 1;
	return start;
}

static size_t length(const char *text)
{
	return text ? strlen(text) : 0;
}

static struct parked *parked_create(struct tunnel *t, const struct amb_hbone_request *req)
{
	size_t forwarded = length(req->forwarded), network = length(req->forwarded_network);
	struct parked *p = calloc(1, sizeof(*p) + req->authority_len + forwarded + network + 3);
	char *at;

	if (!p)
		return NULL;
	at = p->text;
	p->tunnel = t;
	p->req = *req;
	p->req.method = p->req.traceparent = NULL; /* looked at before */
	p->req.authority = keep(&at, req->authority, req->authority_len);
	p->req.forwarded = keep(&at, req->forwarded, forwarded);
	p->req.forwarded_network = keep(&at, req->forwarded_network, network);
	return p;
}

static void parked_free(struct parked *p)
{
	if (!p)
		return;
	amb_demand_cancel(&p->demand);
	free(p->asked);
	free(p);
}

/* It waits no more; its stream is the caller's. */
static struct amb_stream *unpark(struct parked *p)
{
	amb_demand_cancel(&p->demand);
	cds_list_del(&p->setup.node);
	amb_pod_uncharge(p->tunnel->pod);
	amb_stream_set_owner(p->stream, NULL, NULL);
	return take_ptr(p->stream);
}

static void abort_parked(struct amb_setup *setup, enum amb_reason reason)
{
	struct parked *p = AMB_CONTAINER_OF(setup, struct parked, setup);

	early_reject(p->tunnel, unpark(p), p->req.authority, 503, reason);
	parked_free(p);
}

static void parked_closed(struct amb_stream *s, void *owner, enum amb_reason reason,
			  const char *text)
{
	struct parked *p = owner;
	struct amb_flow f;

	(void)s;
	cds_list_del(&p->setup.node);
	amb_pod_uncharge(p->tunnel->pod);
	tunnel_flow(p->tunnel, &f);
	f.authority = p->req.authority;
	amb_live_failed(p->tunnel->pod, &f, reason == AMB_REASON_NONE ? AMB_REASON_RESET : reason,
			text);
	parked_free(p);
}

static const struct amb_stream_ops parked_ops = { .closed = parked_closed };

static void parked_told(struct amb_demand_waiter *w, int err)
{
	struct parked *p = AMB_CONTAINER_OF(w, struct parked, demand);
	struct amb_stream *s = unpark(p);

	if (!p->asked)
		p->tunnel->source_told = true;
	/* Without the source the request is served all the same. */
	if (err && p->asked) {
		early_reject(p->tunnel, s, p->req.authority, 503, AMB_REASON_NOT_TOLD);
		parked_free(p);
		return;
	}
	serve(p->tunnel, s, &p->req, p);
}

/*
 * Waits for @name, which is taken over, or (NULL) for the peer's workload. False: there is no
 * need to.
 */
static bool wait_for(struct parked *p, char *name)
{
	struct amb_worker *w = worker_of(p->tunnel);

	free(p->asked);
	p->asked = name;
	p->demand.fn = parked_told;
	if (!name)
		return amb_demand_source(w->env, w->loop, &p->tunnel->src.addr, &p->demand);
	return !amb_demand_wait(w->env->config.demand, name, w->loop, AMB_DEMAND_WAIT_NS,
				&p->demand);
}

/*
 * Parks the request while something is missing, with @in's name for it. False: nothing is, or
 * it was asked for. @p: the request when it was parked before.
 */
static bool park(struct tunnel *t, struct amb_stream *s, const struct amb_hbone_request *req,
		 struct amb_inbound *in, struct parked **p)
{
	bool needed = in->status != 200 && in->missing &&
		      (!*p || !(*p)->asked || strcmp((*p)->asked, in->missing));

	if (!worker_of(t)->env->config.demand || (!needed && (in->status != 200 || t->source_told)))
		return false;
	if (!*p)
		*p = parked_create(t, req);
	if (!*p || (*p)->asks++ == AMB_DEMAND_STEPS || !amb_pod_charge(t->pod))
		return false;
	if (!wait_for(*p, needed ? take_ptr(in->missing) : NULL)) {
		t->source_told |= !needed;
		amb_pod_uncharge(t->pod);
		return false;
	}
	(*p)->stream = s;
	(*p)->setup.abort = abort_parked;
	cds_list_add_tail(&(*p)->setup.node, &t->pod->setups);
	amb_stream_set_owner(s, &parked_ops, *p);
	return true;
}

/* @p: of @req when it was parked, or NULL; taken over. */
static void serve(struct tunnel *t, struct amb_stream *s, const struct amb_hbone_request *req,
		  struct parked *p)
{
	char host[AMB_AUTHORITY_MAX], text[AMB_AUTHORITY_MAX];
	const struct amb_workload *local;
	struct amb_authority authority;
	struct amb_inbound in;
	bool has_host;

	if (req->bad || !req->authority ||
	    amb_authority_parse(req->authority, req->authority_len, &authority)) {
		early_reject(t, s, NULL, 400, AMB_REASON_BAD_AUTHORITY);
		parked_free(p);
		return;
	}
	snprintf(text, sizeof(text), "%.*s", (int)req->authority_len, req->authority);
	has_host = req->forwarded &&
		   !amb_forwarded_host(req->forwarded, strlen(req->forwarded), host, sizeof(host));
	local = amb_pod_workload(t->pod);
	amb_decide_inbound(worker_of(t)->env->st, local, &t->local, &authority,
			   has_host ? host : NULL, &in);
	if (local && park(t, s, req, &in, &p)) {
		amb_inbound_release(&in);
		return;
	}
	if (in.status == 200 && local) {
		request_begin(t, s, req, text, local, &in);
	} else {
		early_reject(t, s, text, in.status == 200 ? 503 : in.status,
			     local ? in.reason : AMB_REASON_NO_DESTINATION);
		amb_inbound_release(&in);
	}
	parked_free(p);
}

static void tunnel_request(struct amb_hbone *c, void *owner, struct amb_stream *s,
			   const struct amb_hbone_request *req)
{
	struct tunnel *t = owner;

	(void)c;
	if (req->method && strcmp(req->method, "CONNECT"))
		early_reject(t, s, NULL, 400, AMB_REASON_NOT_CONNECT);
	else
		serve(t, s, req, NULL);
}

/* Tunnels */

static void tunnel_free(struct tunnel *t)
{
	struct amb_worker *w = worker_of(t);

	finished(t);
	amb_pod_unwait(&t->wait);
	amb_creds_cancel(w->env->creds, &t->creds);
	amb_loop_timer_cancel(w->loop, &t->timer);
	amb_cleanup_fd(&t->fd);
	cds_list_del(&t->node);
	amb_pod_uncharge(t->pod);
	amb_worker_count(&w->stats.open_sockets[AMB_INBOUND], -1);
	free(t);
}

static void tunnel_failed(struct tunnel *t, enum amb_reason reason, const char *text)
{
	struct amb_flow f;

	tunnel_flow(t, &f);
	f.flag = amb_live_flag(reason);
	amb_worker_count(&worker_of(t)->stats.handshake_failures, 1);
	if (reason == AMB_REASON_CERT_REVOKED)
		amb_worker_count(&worker_of(t)->stats.revoked[AMB_INBOUND], 1);
	amb_live_failed(t->pod, &f, reason, text);
}

static void tunnel_up(struct amb_hbone *c, void *owner)
{
	struct tunnel *t = owner;

	(void)c;
	finished(t);
	amb_worker_count(&worker_of(t)->stats.handshakes, 1);
}

static void tunnel_closed(struct amb_hbone *c, void *owner, enum amb_reason reason,
			  const char *text)
{
	struct tunnel *t = owner;

	(void)c;
	if (t->unfinished.next && reason != AMB_REASON_POD_GONE && reason != AMB_REASON_DRAIN) {
		t->hbone = NULL;
		tunnel_failed(t, reason == AMB_REASON_NONE ? AMB_REASON_TLS : reason, text);
	}
	tunnel_free(t);
}

static const struct amb_hbone_ops tunnel_ops = {
	.up = tunnel_up,
	.request = tunnel_request,
	.closed = tunnel_closed,
};

/* @cred: a reference, taken over. */
static void tunnel_serve(struct tunnel *t, struct amb_cred *cred)
{
	struct amb_worker *w = worker_of(t);

	amb_loop_timer_cancel(w->loop, &t->timer);
	t->hbone = amb_hbone_server(w->bytes, take_fd(&t->fd), cred, &tunnel_ops, t);
	amb_cred_put(cred);
	if (!t->hbone) {
		tunnel_failed(t, AMB_REASON_MEMORY, NULL);
		tunnel_free(t);
		return;
	}
	amb_hbone_share(t->hbone, t->pod->share);
	if (w->draining)
		amb_hbone_drain(t->hbone);
}

static void no_cert(struct tunnel *t, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text), "no certificate: %s", why && *why ? why : "unavailable");
	tunnel_failed(t, AMB_REASON_NO_CERT, text);
	tunnel_free(t);
}

static void cert_came(struct amb_creds_waiter *cw, struct amb_cred *cred, const char *error)
{
	struct tunnel *t = AMB_CONTAINER_OF(cw, struct tunnel, creds);

	if (cred)
		tunnel_serve(t, cred);
	else
		no_cert(t, error);
}

static void cert_late(struct amb_timer *timer)
{
	no_cert(AMB_CONTAINER_OF(timer, struct tunnel, timer), "the issuer does not answer");
}

static void tunnel_start(struct tunnel *t, const struct amb_workload *local)
{
	struct amb_worker *w = worker_of(t);
	struct amb_cred *cred;

	t->creds.fn = cert_came;
	t->timer.fn = cert_late;
	cred = amb_creds_wait(w->env->creds, local->identity, w->loop, &t->creds);
	if (cred)
		tunnel_serve(t, cred);
	else if (errno != EAGAIN)
		no_cert(t, t->creds.error);
	else
		amb_loop_timer_set(w->loop, &t->timer,
				   amb_loop_now(w->loop) +
					   w->env->config.hbone.handshake_timeout_ns);
}

static void local_there(struct amb_pod_waiter *wait, bool known)
{
	struct tunnel *t = AMB_CONTAINER_OF(wait, struct tunnel, wait);

	if (known) {
		tunnel_start(t, t->pod->workload);
		return;
	}
	tunnel_failed(t, AMB_REASON_NO_DESTINATION, NULL);
	tunnel_free(t);
}

static struct tunnel *tunnel_create(struct amb_pod *pod, int fd, const struct amb_endpoint *src)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (!t || getsockname(fd, (struct sockaddr *)&ss, &len) ||
	    amb_endpoint_from_sockaddr((struct sockaddr *)&ss, &t->local)) {
		free(t);
		return NULL;
	}
	t->pod = pod;
	t->fd = fd;
	t->src = *src;
	cds_list_add_tail(&t->node, &pod->tunnels);
	amb_worker_count(&pod->worker->stats.open_sockets[AMB_INBOUND], 1);
	begun(t);
	return t;
}

void amb_inbound_accepted(struct amb_pod *pod, int fd, const struct amb_endpoint *src)
{
	const struct amb_workload *local;
	struct tunnel *t;

	/* A flood is counted, not logged line by line. */
	if (!may_begin(pod->worker, src)) {
		amb_worker_reason(pod->worker, AMB_REASON_LIMIT);
		close(fd);
		return;
	}
	if (!amb_pod_charge(pod)) {
		close(fd);
		return;
	}
	t = tunnel_create(pod, fd, src);
	if (!t) {
		amb_worker_reason(pod->worker, AMB_REASON_MEMORY);
		amb_pod_uncharge(pod);
		close(fd);
		return;
	}
	local = amb_pod_workload(pod);
	if (local) {
		tunnel_start(t, local);
		return;
	}
	t->wait.fn = local_there;
	amb_pod_wait(pod, &t->wait);
}

void amb_inbound_drain(struct amb_pod *pod)
{
	struct tunnel *t, *next;

	cds_list_for_each_entry_safe(t, next, &pod->tunnels, node)
		if (t->hbone)
			amb_hbone_drain(t->hbone);
}

void amb_inbound_abort_all(struct amb_pod *pod, enum amb_reason reason)
{
	while (!cds_list_empty(&pod->tunnels)) {
		struct tunnel *t = cds_list_first_entry(&pod->tunnels, struct tunnel, node);

		if (t->hbone)
			amb_hbone_abort(t->hbone, reason, NULL);
		else
			tunnel_free(t);
	}
}
