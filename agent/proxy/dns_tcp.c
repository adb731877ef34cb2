// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * DNS clients by TCP (RFC 7766). A client may send several queries without waiting; it is not
 * read from while AMB_DNS_PIPELINE of them wait or while it does not take its answers.
 *
 * Lifetime: a client ends in settle() or in its timer, never below its own event, since the
 * queries that it sends may be answered while it is read from.
 */
#include "base/log.h"
#include "base/util.h"
#include "dns_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFIX 2 /* each message has its length before it */

struct amb_dns_client {
	struct cds_list_head node;
	struct amb_dns *dns;
	struct amb_io io;
	struct amb_timer idle;
	uint32_t events; /* watched for */
	bool busy; /* in its event, which settles */
	bool eof, failed;
	unsigned int held; /* queries that wait */
	uint8_t *out;
	size_t out_len;
	size_t in_len;
	uint8_t in[PREFIX + AMB_DNS_QUERY_MAX];
};

static struct amb_loop *loop_of(const struct amb_dns_client *c)
{
	return c->dns->pod->worker->loop;
}

static void destroy(struct amb_dns_client *c)
{
	struct amb_dns *d = c->dns;
	struct amb_dns_query *query, *next;

	cds_list_for_each_entry_safe(query, next, &d->waiting, node)
		if (query->from.client == c)
			amb_dns_query_destroy(query);
	amb_loop_del(loop_of(c), &c->io);
	amb_loop_timer_cancel(loop_of(c), &c->idle);
	close(c->io.fd);
	cds_list_del(&c->node);
	d->nclients--;
	free(c->out);
	free(c);
}

void amb_dns_clients_destroy(struct amb_dns *d)
{
	struct amb_dns_client *c, *next;

	cds_list_for_each_entry_safe(c, next, &d->clients, node)
		destroy(c);
}

void amb_dns_client_put(struct amb_dns_client *c, const uint8_t *msg, size_t len)
{
	size_t all = c->out_len + PREFIX + len;
	uint8_t *out;

	if (c->failed)
		return;
	out = all <= AMB_DNS_UNSENT ? realloc(c->out, all) : NULL;
	if (!out) {
		c->failed = true;
		return;
	}
	c->out = out;
	out += c->out_len;
	out[0] = len >> 8;
	out[1] = len;
	memcpy(out + PREFIX, msg, len);
	c->out_len = all;
}

static void flush(struct amb_dns_client *c)
{
	ssize_t n;

	if (!c->out_len || c->failed)
		return;
	n = send(c->io.fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) {
		c->failed = errno != EAGAIN;
		return;
	}
	c->out_len -= n;
	memmove(c->out, c->out + n, c->out_len);
	if (!c->out_len) {
		free(c->out);
		c->out = NULL;
	}
}

static bool has_room(const struct amb_dns_client *c)
{
	return c->held < AMB_DNS_PIPELINE && !c->out_len && !c->failed;
}

/* Takes the queries that are there whole, as far as there is room for their answers. */
static void take(struct amb_dns_client *c)
{
	const struct amb_dns_from from = { .client = c };
	size_t at = 0, len;

	while (has_room(c) && c->in_len - at >= PREFIX) {
		len = c->in[at] << 8 | c->in[at + 1];
		if (len < AMB_DNS_HEADER || len > AMB_DNS_QUERY_MAX) {
			c->failed = true;
			break;
		}
		if (c->in_len - at < PREFIX + len)
			break;
		amb_dns_ask(c->dns, &from, c->in + at + PREFIX, len);
		at += PREFIX + len;
		flush(c);
	}
	c->in_len -= at;
	memmove(c->in, c->in + at, c->in_len);
}

static void receive(struct amb_dns_client *c)
{
	ssize_t n;

	if (c->eof || c->in_len == sizeof(c->in))
		return;
	n = recv(c->io.fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);
	if (n > 0)
		c->in_len += n;
	else if (!n)
		c->eof = true;
	else if (errno != EAGAIN)
		c->failed = true;
}

/* Sends, watches for what is wanted next, or ends the client. */
static void settle(struct amb_dns_client *c)
{
	struct amb_loop *loop = loop_of(c);
	uint32_t events;

	flush(c);
	if (c->failed || (c->eof && !c->held && !c->out_len)) {
		destroy(c);
		return;
	}
	events = c->out_len ? EPOLLOUT : 0;
	if (!c->eof && has_room(c))
		events |= EPOLLIN;
	if ((events != c->events && amb_loop_mod(loop, &c->io, events)) ||
	    amb_loop_timer_set(loop, &c->idle, amb_loop_now(loop) + AMB_DNS_IDLE_NS)) {
		destroy(c);
		return;
	}
	c->events = events;
}

static void serve(struct amb_dns_client *c, uint32_t events)
{
	c->busy = true;
	if (events & (EPOLLERR | EPOLLHUP))
		c->failed = true;
	flush(c);
	if (events & EPOLLIN)
		receive(c);
	take(c);
	c->busy = false;
	settle(c);
}

static void client_event(struct amb_io *io, uint32_t events)
{
	serve(AMB_CONTAINER_OF(io, struct amb_dns_client, io), events);
}

void amb_dns_client_hold(struct amb_dns_client *c)
{
	c->held++;
}

void amb_dns_client_release(struct amb_dns_client *c)
{
	c->held--;
	if (!c->busy)
		serve(c, 0);
}

/* Neither a query nor room for an answer for so long. */
static void client_idle(struct amb_timer *t)
{
	struct amb_dns_client *c = AMB_CONTAINER_OF(t, struct amb_dns_client, idle);

	/* A query has a deadline of its own. */
	if (c->held)
		settle(c);
	else
		destroy(c);
}

void amb_dns_accepted(struct amb_pod *pod, int fd, const struct amb_endpoint *src)
{
	struct amb_dns *d = pod->dns;
	struct amb_dns_client *c;

	(void)src;
	c = d->nclients < AMB_DNS_CLIENTS ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		amb_worker_reason(pod->worker, AMB_REASON_LIMIT);
		close(fd);
		return;
	}
	c->dns = d;
	c->io.fn = client_event;
	c->io.fd = fd;
	c->idle.fn = client_idle;
	c->events = EPOLLIN;
	cds_list_add(&c->node, &d->clients);
	d->nclients++;
	if (amb_loop_add(pod->worker->loop, &c->io, c->events)) {
		destroy(c);
		return;
	}
	settle(c);
}
