// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Asking the name servers of the agent's resolv.conf.
 *
 * Queries leave from the pod's namespace with the agent's mark, as the pod's own would; only a
 * server on a loopback address is asked from the agent's namespace, for it is the agent's
 * machine that is meant. Each query has a port and a number of its own that cannot be guessed,
 * and sockets are connected, so that nobody but the server can answer.
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "dns_priv.h"
#include "kernel/netns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* Name servers, as a worker knows them. */
struct amb_dns_upstreams {
	struct amb_dns_conf conf;
	uint64_t checked_ns;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
	int err; /* of the last look at the file */
	unsigned int first; /* the server to begin with, until: */
	uint64_t first_until_ns;
};

static void read_conf(struct amb_dns_upstreams *u, const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	long n = 0;
	int err;

	err = stat(path, &st) ? -errno : 0;
	if (!err && u->ino == st.st_ino && u->dev == st.st_dev && u->size == st.st_size &&
	    u->mtime.tv_sec == st.st_mtim.tv_sec && u->mtime.tv_nsec == st.st_mtim.tv_nsec)
		return;
	if (!err)
		n = amb_util_read_file(path, AMB_DNS_CONF_MAX, &text);
	err = n < 0 ? (int)n : err;
	if (err && err != u->err)
		amb_warn(DNS, "%s: %s, continuing with what is known", path, strerror(-err));
	u->err = err;
	if (err)
		return;
	u->ino = st.st_ino;
	u->dev = st.st_dev;
	u->size = st.st_size;
	u->mtime = st.st_mtim;
	u->first = 0;
	amb_dns_conf_parse(text, &u->conf);
}

static struct amb_dns_upstreams *upstreams(struct amb_worker *w)
{
	uint64_t now = amb_loop_now(w->loop);
	struct amb_dns_upstreams *u = w->upstreams;

	if (!u) {
		u = calloc(1, sizeof(*u));
		if (!u)
			return NULL;
		amb_dns_conf_parse("", &u->conf);
		w->upstreams = u;
	}
	if (!u->checked_ns || now - u->checked_ns >= AMB_DNS_RECHECK_NS) {
		u->checked_ns = now;
		read_conf(u, w->env->config.resolv_conf);
	}
	if (u->first >= u->conf.n || now >= u->first_until_ns)
		u->first = 0;
	return u;
}

void amb_dns_worker_uninit(struct amb_worker *w)
{
	free(take_ptr(w->upstreams));
}

/* A server that had to be asked after others becomes the first for a while. */
static void note_answer(struct amb_dns_query *query, unsigned int server)
{
	struct amb_worker *w = query->dns->pod->worker;

	if (!server || !w->upstreams)
		return;
	w->upstreams->first = (query->first + server) % query->nservers;
	w->upstreams->first_until_ns = amb_loop_now(w->loop) + AMB_DNS_DETOUR_NS;
}

static void next_try(struct amb_dns_query *query, bool at_once);

static void close_socket(struct amb_dns_query *query, struct amb_dns_socket *s)
{
	if (s->io.fd < 0)
		return;
	amb_loop_del(query->dns->pod->worker->loop, &s->io);
	close(s->io.fd);
	s->io.fd = -1;
}

void amb_dns_up_cancel(struct amb_dns_query *query)
{
	unsigned int i;

	for (i = 0; i < AMB_DNS_SERVERS; i++)
		close_socket(query, &query->sockets[i]);
	amb_loop_timer_cancel(query->dns->pod->worker->loop, &query->timer);
}

/* True when another server may say more than that it cannot help. */
static bool try_elsewhere(const struct amb_dns_query *query, const uint8_t *msg)
{
	enum amb_dns_rcode rcode = amb_dns_msg_rcode(msg);

	return query->tries < query->nservers &&
	       (rcode == AMB_DNS_SERVFAIL || rcode == AMB_DNS_NOTIMP || rcode == AMB_DNS_REFUSED);
}

static void answered(struct amb_dns_query *query, struct amb_dns_socket *s, unsigned int server,
		     uint8_t *msg, size_t len)
{
	if (try_elsewhere(query, msg)) {
		close_socket(query, s);
		next_try(query, true);
		return;
	}
	note_answer(query, server);
	amb_dns_query_done(query, msg, len);
}

/* UDP */

static void udp_readable(struct amb_io *io, uint32_t events)
{
	struct amb_dns_socket *s = AMB_CONTAINER_OF(io, struct amb_dns_socket, io);
	struct amb_dns_query *query = s->query;
	uint8_t msg[AMB_DNS_MSG_MAX];
	ssize_t n = recv(io->fd, msg, sizeof(msg), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) { /* nobody listens there */
		close_socket(query, s);
		next_try(query, true);
		return;
	}
	if (amb_dns_msg_is_reply(query->msg + 2, &query->q, query->id, msg, n))
		answered(query, s, s - query->sockets, msg, n);
}

static int open_socket(struct amb_dns_query *query, struct amb_dns_socket *s, unsigned int server,
		       unsigned int flags, void (*fn)(struct amb_io *io, uint32_t events),
		       uint32_t events)
{
	const struct amb_endpoint *e = &query->servers[server];
	struct amb_pod *pod = query->dns->pod;
	struct amb_netns *ns = amb_addr_is_loopback(&e->addr) ? NULL : pod->info->netns;
	struct sockaddr_storage ss;
	socklen_t len = amb_endpoint_to_sockaddr(e, AF_UNSPEC, &ss);
	_cleanup_fd_ int fd = amb_netns_socket(ns, ss.ss_family, flags);
	int err;

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
		return -errno;
	s->io.fn = fn;
	s->io.fd = fd;
	err = amb_loop_add(pod->worker->loop, &s->io, events);
	if (err)
		s->io.fd = -1;
	else
		take_fd(&fd);
	return err;
}

static int udp_send(struct amb_dns_query *query, unsigned int server)
{
	struct amb_dns_socket *s = &query->sockets[server];
	int err = 0;

	if (s->io.fd < 0)
		err = open_socket(query, s, server, AMB_SOCK_UDP, udp_readable, EPOLLIN);
	if (!err && send(s->io.fd, query->msg + 2, query->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		err = -errno;
	if (err)
		close_socket(query, s);
	return err;
}

/* TCP */

static void tcp_failed(struct amb_dns_query *query)
{
	close_socket(query, &query->sockets[0]);
	next_try(query, true);
}

/* 1: all is sent, 0: later, -errno. */
static int tcp_write(struct amb_dns_query *query, int fd)
{
	size_t all = 2 + query->len;
	ssize_t n =
		send(fd, query->msg + query->sent, all - query->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	query->sent += n;
	return query->sent == all;
}

static size_t reply_len(const struct amb_dns_query *query)
{
	return query->prefix[0] << 8 | query->prefix[1];
}

/* Reads up to @end of the reply. 1: it is there, 0: later, -errno. */
static int tcp_read_to(struct amb_dns_query *query, int fd, uint8_t *to, size_t end)
{
	ssize_t n;

	while (query->have < end) {
		n = recv(fd, to, end - query->have, MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!n)
			return -ECONNRESET;
		query->have += n;
		to += n;
	}
	return 1;
}

static int tcp_read(struct amb_dns_query *query, int fd)
{
	int ret = 1;

	if (query->have < 2)
		ret = tcp_read_to(query, fd, query->prefix + query->have, 2);
	if (ret > 0 && !query->reply) {
		query->reply = malloc(reply_len(query) + 1);
		if (!query->reply)
			return -ENOMEM;
	}
	if (ret > 0)
		ret = tcp_read_to(query, fd, query->reply + query->have - 2, 2 + reply_len(query));
	if (ret > 0 && !amb_dns_msg_is_reply(query->msg + 2, &query->q, query->id, query->reply,
					     reply_len(query)))
		ret = -EBADMSG;
	return ret;
}

static void tcp_event(struct amb_io *io, uint32_t events)
{
	struct amb_dns_socket *s = AMB_CONTAINER_OF(io, struct amb_dns_socket, io);
	struct amb_dns_query *query = s->query;
	struct amb_loop *loop = query->dns->pod->worker->loop;
	int ret;

	(void)events;
	if (query->sent < 2 + query->len) {
		ret = tcp_write(query, io->fd);
		if (ret > 0)
			ret = amb_loop_mod(loop, io, EPOLLIN);
		/* From here on the server has what time there is. */
		if (!ret && !query->connected) {
			query->connected = true;
			ret = amb_loop_timer_set(loop, &query->timer, query->deadline);
		}
		if (ret < 0)
			tcp_failed(query);
		return;
	}
	ret = tcp_read(query, io->fd);
	if (ret < 0)
		tcp_failed(query);
	else if (ret)
		answered(query, s, (query->tries - 1) % query->nservers, query->reply,
			 reply_len(query));
}

static int tcp_send(struct amb_dns_query *query, unsigned int server)
{
	struct amb_dns_socket *s = &query->sockets[0];

	close_socket(query, s);
	query->connected = false;
	query->sent = query->have = 0;
	free(take_ptr(query->reply));
	return open_socket(query, s, server, 0, tcp_event, EPOLLOUT);
}

/* One server after the other */

static bool some_may_answer(const struct amb_dns_query *query)
{
	unsigned int i;

	for (i = 0; i < AMB_DNS_SERVERS; i++) {
		if (query->sockets[i].io.fd >= 0)
			return true;
	}
	return false;
}

static void next_try(struct amb_dns_query *query, bool at_once)
{
	struct amb_loop *loop = query->dns->pod->worker->loop;
	uint64_t now = amb_loop_now(loop), due;

	/* Servers that refuse at once would else be asked as fast as they can refuse. */
	while (now < query->deadline && query->tries < AMB_DNS_TRIES &&
	       !(at_once && query->tries >= 2 * query->nservers)) {
		unsigned int server = query->tries++ % query->nservers;
		int err = query->from.client ? tcp_send(query, server) : udp_send(query, server);

		at_once = true;
		/* A lone server has all the time: a second connection would not help. */
		due = query->from.client && query->nservers == 1 ? query->deadline :
								   now + query->try_ns;
		if (!err)
			err = amb_loop_timer_set(loop, &query->timer,
						 AMB_MIN(due, query->deadline));
		if (!err)
			return;
	}
	if (now >= query->deadline || !some_may_answer(query) ||
	    amb_loop_timer_set(loop, &query->timer, query->deadline))
		amb_dns_query_done(query, NULL, 0);
}

static void try_expired(struct amb_timer *t)
{
	next_try(AMB_CONTAINER_OF(t, struct amb_dns_query, timer), false);
}

void amb_dns_up_start(struct amb_dns_query *query)
{
	struct amb_worker *w = query->dns->pod->worker;
	struct amb_dns_upstreams *u = upstreams(w);
	unsigned int i;

	query->started = amb_util_now_ns();
	if (!u || getrandom(&query->id, sizeof(query->id), 0) != sizeof(query->id)) {
		amb_dns_query_done(query, NULL, 0);
		return;
	}
	amb_dns_msg_set_id(query->msg + 2, query->id);
	query->timer.fn = try_expired;
	query->deadline = amb_loop_now(w->loop) + AMB_DNS_DEADLINE_NS;
	query->try_ns = u->conf.timeout_s ? u->conf.timeout_s * 1000000000ull : AMB_DNS_TRY_NS;
	query->first = u->first;
	query->nservers = u->conf.n;
	for (i = 0; i < u->conf.n; i++)
		query->servers[i] = u->conf.servers[(u->first + i) % u->conf.n];
	next_try(query, false);
}
