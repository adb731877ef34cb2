// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The DNS proxy of a pod: sockets, and what becomes of a query.
 *
 * Lifetime: queries and clients hang on struct amb_dns, which its pod owns. A query by TCP
 * belongs to its client and goes with it. A query ends once: answered (done), or given up
 * (destroy) with its client or its pod; both cancel whatever could still call back.
 */
#include "dns.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "dns_priv.h"
#include "kernel/netns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void reply(const struct amb_dns_from *from, const uint8_t *msg, size_t len)
{
	/* By UDP nobody waits for room: a lost answer is asked for again. */
	if (from->client)
		amb_dns_client_put(from->client, msg, len);
	else
		(void)sendto(from->fd, msg, len, MSG_DONTWAIT, &from->sa, from->len);
}

/* How a query ended, for metrics and log. */
struct outcome {
	const char *text;
	unsigned int count;
	bool forwarded, failed;
	uint64_t duration_ns;
};

static void tell(struct amb_dns *d, const struct amb_dns_from *from,
		 const struct amb_dns_question *q, const struct outcome *o)
{
	const struct amb_worker *w = d->pod->worker;
	const struct amb_flow_hooks *hooks = &w->env->hooks;
	const struct amb_workload *workload = amb_pod_workload(d->pod);
	const struct amb_flow_dns flow = {
		.workload = workload,
		.type = amb_dns_msg_type(q->type),
		.tcp = from->client,
		.forwarded = o->forwarded,
		.failed = o->failed,
		.duration_ns = o->duration_ns,
	};
	char count[12];
	const struct amb_log_field fields[] = {
		{ "src.workload", d->pod->info->name, .quoted = true },
		{ "src.namespace", d->pod->info->ns, .quoted = true },
		{ "query", flow.type, .quoted = true },
		{ "domain", *q->name ? q->name : "?", .quoted = true },
		{ "result", o->text, .quoted = true },
		{ "endpoints", count, .number = true },
	};

	if (hooks->dns)
		hooks->dns(hooks->ctx, w->index, &flow);
	if (!amb_log_enabled(AMB_LOG_DNS, AMB_LOG_DEBUG))
		return;
	snprintf(count, sizeof(count), "%u", o->count);
	amb_log_fields(AMB_LOG_DNS, AMB_LOG_DEBUG, "query", fields, AMB_ARRAY_SIZE(fields));
}

static void refuse(struct amb_dns *d, const struct amb_dns_from *from, const uint8_t *msg,
		   const struct amb_dns_question *q, enum amb_dns_rcode rcode,
		   const struct outcome *o)
{
	uint8_t out[AMB_DNS_ERROR_MAX];

	tell(d, from, q, o);
	reply(from, out, amb_dns_msg_error(msg, q, rcode, false, out));
}

/* True when the mesh knows the name, and the answer is on its way. */
static bool answer_here(struct amb_dns *d, const struct amb_workload *client,
			const struct amb_dns_from *from, const uint8_t *msg,
			const struct amb_dns_question *q)
{
	const struct amb_pod_info *info = d->pod->info;
	const struct amb_names_search search = { info->dns_search, info->dns_search_only };
	const struct amb_env *env = d->pod->worker->env;
	bool v6 = q->type == AMB_DNS_TYPE_AAAA;
	struct outcome o = { .text = "success" };
	struct amb_names_answer a;
	uint8_t out[AMB_DNS_MSG_MAX];
	size_t limit = from->client ? AMB_DNS_MSG_MAX : q->udp_size;

	if (q->class != AMB_DNS_CLASS_IN || (q->type != AMB_DNS_TYPE_A && !v6) || !*q->name ||
	    !amb_names_resolve(env->st, client, &search, q->name, v6, &a))
		return false;
	if (q->edns_version) {
		o.text = "unknown version of EDNS";
		refuse(d, from, msg, q, AMB_DNS_BADVERS, &o);
		return true;
	}
	if (v6 && !env->config.ipv6)
		a.n = 0;
	o.count = a.n;
	if (!a.n)
		o.text = "no records";
	tell(d, from, q, &o);
	reply(from, out, amb_dns_msg_answer(msg, q, &a, limit, out));
	return true;
}

/* Queries that wait */

static struct amb_dns_query *query_create(struct amb_dns *d, const struct amb_dns_from *from,
					  const uint8_t *msg, size_t len,
					  const struct amb_dns_question *q)
{
	struct amb_worker *w = d->pod->worker;
	struct amb_dns_query *query;
	unsigned int i;

	if (d->nwaiting >= AMB_DNS_WAITING || w->ndns >= AMB_DNS_WAITING_WORKER) {
		amb_worker_reason(w, AMB_REASON_LIMIT);
		return NULL;
	}
	query = calloc(1, sizeof(*query) + 2 + len);
	if (!query)
		return NULL;
	query->dns = d;
	query->from = *from;
	query->q = *q;
	query->len = len;
	query->msg[0] = len >> 8;
	query->msg[1] = len;
	memcpy(query->msg + 2, msg, len);
	for (i = 0; i < AMB_DNS_SERVERS; i++) {
		query->sockets[i].io.fd = -1;
		query->sockets[i].query = query;
	}
	cds_list_add_tail(&query->node, &d->waiting);
	d->nwaiting++;
	w->ndns++;
	if (from->client)
		amb_dns_client_hold(from->client);
	return query;
}

/* Its client may go with it when @release: nothing waits for the client any more. */
static void query_free(struct amb_dns_query *query, bool release)
{
	struct amb_dns *d = query->dns;
	struct amb_dns_client *client = query->from.client;

	amb_pod_unwait(&query->waiter);
	amb_dns_up_cancel(query);
	cds_list_del(&query->node);
	d->nwaiting--;
	d->pod->worker->ndns--;
	free(query->reply);
	free(query);
	if (client && release)
		amb_dns_client_release(client);
}

void amb_dns_query_destroy(struct amb_dns_query *query)
{
	query_free(query, false);
}

static void give_reply(struct amb_dns_query *query, uint8_t *msg, size_t len)
{
	const struct amb_dns_question *q = &query->q;
	uint8_t out[AMB_DNS_ERROR_MAX];

	/* A server that does not keep to the length that the client said. */
	if (!query->from.client && len > q->udp_size) {
		reply(&query->from, out,
		      amb_dns_msg_error(query->msg + 2, q, amb_dns_msg_rcode(msg), true, out));
		return;
	}
	amb_dns_msg_set_id(msg, q->id);
	reply(&query->from, msg, len);
}

void amb_dns_query_done(struct amb_dns_query *query, uint8_t *msg, size_t len)
{
	struct amb_dns *d = query->dns;
	struct outcome o = {
		.text = msg ? "forwarded" : "no name server answered",
		.count = msg ? amb_dns_msg_count(msg) : 0,
		.forwarded = true,
		.failed = !msg,
		.duration_ns = amb_util_now_ns() - query->started,
	};

	if (msg) {
		tell(d, &query->from, &query->q, &o);
		give_reply(query, msg, len);
	} else {
		refuse(d, &query->from, query->msg + 2, &query->q, AMB_DNS_SERVFAIL, &o);
	}
	query_free(query, true);
}

static void forward(struct amb_dns_query *query)
{
	/* Whole zones come as many messages: nothing for a resolver's proxy. */
	if (query->q.type == AMB_DNS_TYPE_AXFR || query->q.type == AMB_DNS_TYPE_IXFR) {
		static const struct outcome o = { .text = "zone transfer" };

		refuse(query->dns, &query->from, query->msg + 2, &query->q, AMB_DNS_REFUSED, &o);
		query_free(query, true);
		return;
	}
	amb_dns_up_start(query);
}

static void client_known(struct amb_pod_waiter *waiter, bool known)
{
	static const struct outcome unknown = { .text = "unknown source" };
	struct amb_dns_query *query = AMB_CONTAINER_OF(waiter, struct amb_dns_query, waiter);
	struct amb_dns *d = query->dns;
	struct amb_workload *client = amb_pod_workload(d->pod);

	if (!known || !client)
		refuse(d, &query->from, query->msg + 2, &query->q, AMB_DNS_SERVFAIL, &unknown);
	else if (!answer_here(d, client, &query->from, query->msg + 2, &query->q))
		return forward(query);
	query_free(query, true);
}

void amb_dns_ask(struct amb_dns *d, const struct amb_dns_from *from, const uint8_t *msg, size_t len)
{
	static const struct outcome bad = { .text = "not understood" };
	static const struct outcome busy = { .text = "too many queries wait" };
	struct amb_workload *client;
	struct amb_dns_question q;
	struct amb_dns_query *query;
	int ret = amb_dns_msg_read(msg, len, &q);

	if (ret < 0)
		return;
	if (ret) {
		refuse(d, from, msg, &q, ret, &bad);
		return;
	}
	client = amb_pod_workload(d->pod);
	if (client && answer_here(d, client, from, msg, &q))
		return;
	query = query_create(d, from, msg, len, &q);
	if (!query) {
		refuse(d, from, msg, &q, AMB_DNS_SERVFAIL, &busy);
	} else if (client) {
		forward(query);
	} else {
		query->waiter.fn = client_known;
		amb_pod_wait(d->pod, &query->waiter);
	}
}

/* Level-triggered: what a turn leaves comes again. */
static void udp_readable(struct amb_io *io, uint32_t events)
{
	struct amb_dns_udp *u = AMB_CONTAINER_OF(io, struct amb_dns_udp, io);
	uint8_t msg[AMB_DNS_QUERY_MAX];
	unsigned int i;

	(void)events;
	for (i = 0; i < AMB_DNS_BURST; i++) {
		struct amb_dns_from from = { .fd = io->fd, .len = sizeof(from.v6) };
		/* With MSG_TRUNC the real length, so that what was cut is known. */
		ssize_t n = recvfrom(io->fd, msg, sizeof(msg), MSG_DONTWAIT | MSG_TRUNC, &from.sa,
				     &from.len);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0 && n <= (ssize_t)sizeof(msg))
			amb_dns_ask(u->dns, &from, msg, n);
	}
}

/* Open and close */

static int open_udp(struct amb_dns *d, struct amb_dns_udp *u, const struct amb_endpoint *at)
{
	int family = amb_addr_is_v4(&at->addr) ? AF_INET : AF_INET6, err;
	_cleanup_fd_ int fd = amb_netns_socket(d->pod->info->netns, family,
					       AMB_SOCK_UDP | amb_listener_flags(d->pod));
	struct sockaddr_storage ss;
	socklen_t len = amb_endpoint_to_sockaddr(at, family, &ss);

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&ss, len))
		return -errno;
	u->dns = d;
	u->io.fn = udp_readable;
	u->io.fd = fd;
	err = amb_loop_add(d->pod->worker->loop, &u->io, EPOLLIN);
	if (err)
		u->io.fd = -1;
	else
		take_fd(&fd);
	return err;
}

static int open_at(struct amb_dns *d, unsigned int i, const struct amb_endpoint *at)
{
	int err = open_udp(d, &d->udp[i], at);

	return err ? err : amb_listener_open_at(&d->tcp[i], d->pod, at, amb_dns_accepted);
}

static int open_all(struct amb_dns *d)
{
	const struct amb_proxy_config *config = &d->pod->worker->env->config;
	struct amb_endpoint at = config->dns_at;
	int err;

	if (!amb_addr_is_any(&at.addr))
		return open_at(d, 0, &at);
	amb_addr_parse("127.0.0.1", &at.addr);
	err = open_at(d, 0, &at);
	if (err || !config->ipv6)
		return err;
	amb_addr_parse("::1", &at.addr);
	err = open_at(d, 1, &at);
	/* A pod without IPv6 has no such loopback. */
	return err == -EADDRNOTAVAIL || err == -EAFNOSUPPORT ? 0 : err;
}

static bool is_ours(const struct amb_pod *pod)
{
	const char *uid = pod->info->uid;

	return amb_util_hash(uid, strlen(uid), amb_util_seed()) %
		       pod->worker->env->config.workers ==
	       pod->worker->index;
}

int amb_dns_open(struct amb_pod *pod)
{
	struct amb_dns *d;
	int err, i;

	if (!pod->info->dns || !is_ours(pod))
		return 0;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->pod = pod;
	for (i = 0; i < 2; i++)
		d->udp[i].io.fd = d->tcp[i].io.fd = -1;
	CDS_INIT_LIST_HEAD(&d->waiting);
	CDS_INIT_LIST_HEAD(&d->clients);
	pod->dns = d;
	err = open_all(d);
	if (err)
		amb_dns_close(pod);
	return err;
}

static void close_udp(struct amb_dns *d, struct amb_dns_udp *u)
{
	if (u->io.fd < 0)
		return;
	amb_loop_del(d->pod->worker->loop, &u->io);
	close(u->io.fd);
}

void amb_dns_close(struct amb_pod *pod)
{
	struct amb_dns *d = take_ptr(pod->dns);
	struct amb_dns_query *query, *next;
	int i;

	if (!d)
		return;
	for (i = 0; i < 2; i++) {
		amb_listener_close(&d->tcp[i]);
		close_udp(d, &d->udp[i]);
	}
	amb_dns_clients_destroy(d);
	cds_list_for_each_entry_safe(query, next, &d->waiting, node)
		amb_dns_query_destroy(query);
	free(d);
}
