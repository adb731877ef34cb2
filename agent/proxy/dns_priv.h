/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the DNS proxy share: dns (queries), dns_tcp (clients), dns_up (servers). */
#ifndef AMB_DNS_PRIV_H
#define AMB_DNS_PRIV_H

#include <netinet/in.h>
#include <urcu/list.h>

#include "dns.h"
#include "dns_conf.h"
#include "dns_msg.h"
#include "pod.h"
#include "worker.h"

struct amb_dns_client;

struct amb_dns_udp {
	struct amb_io io; /* fd -1: closed */
	struct amb_dns *dns;
};

/* The DNS proxy of a pod, on its worker. */
struct amb_dns {
	struct amb_pod *pod;
	struct amb_dns_udp udp[2];
	struct amb_listener tcp[2];
	struct cds_list_head waiting; /* struct amb_dns_query */
	unsigned int nwaiting;
	struct cds_list_head clients; /* struct amb_dns_client */
	unsigned int nclients;
};

/* Who asked. */
struct amb_dns_from {
	struct amb_dns_client *client; /* by TCP; NULL: by UDP, and then: */
	int fd;
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
};

/* A socket to a name server. */
struct amb_dns_socket {
	struct amb_io io; /* fd -1: none */
	struct amb_dns_query *query;
};

/*
 * A query that waits: for the pod's own workload to become known, then for a name server. By
 * UDP each server has a socket that stays open, so that a late answer still counts; by TCP only
 * the first socket is used, for one server after the other.
 */
struct amb_dns_query {
	struct cds_list_head node;
	struct amb_dns *dns;
	struct amb_dns_from from;
	struct amb_dns_question q;
	struct amb_pod_waiter waiter;

	unsigned int nservers, first; /* first: place of servers[0] in resolv.conf */
	struct amb_endpoint servers[AMB_DNS_SERVERS];
	struct amb_dns_socket sockets[AMB_DNS_SERVERS];
	struct amb_timer timer;
	uint64_t started, deadline, try_ns;
	unsigned int tries;
	uint16_t id; /* to the servers */

	/* TCP: bytes of query and reply that went, each with its length before it */
	bool connected;
	size_t sent, have;
	uint8_t prefix[2]; /* of the reply */
	uint8_t *reply;

	size_t len;
	uint8_t msg[]; /* the length as TCP wants it, then the query */
};

/* dns.c: takes in a query. */
void amb_dns_ask(struct amb_dns *d, const struct amb_dns_from *from, const uint8_t *msg,
		 size_t len);
/* Answers with a server's @reply (changed in place), or NULL: an error. Frees the query. */
void amb_dns_query_done(struct amb_dns_query *query, uint8_t *reply, size_t len);
/* Frees it without an answer. */
void amb_dns_query_destroy(struct amb_dns_query *query);

/* dns_tcp.c */
amb_listener_fn amb_dns_accepted;
/* Queues an answer. */
void amb_dns_client_put(struct amb_dns_client *c, const uint8_t *msg, size_t len);
/* A query of it waits; waits no more: sends what is queued and reads on, or ends the client. */
void amb_dns_client_hold(struct amb_dns_client *c);
void amb_dns_client_release(struct amb_dns_client *c);
/* Closes all of them and gives up their queries. */
void amb_dns_clients_destroy(struct amb_dns *d);

/* dns_up.c: asks the name servers; ends in amb_dns_query_done(), perhaps before it returns. */
void amb_dns_up_start(struct amb_dns_query *query);
/* Closes sockets and timer. */
void amb_dns_up_cancel(struct amb_dns_query *query);

#endif
