/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What grpc.c (channels and calls) and grpc_conn.c (a connection) know of each other. */
#ifndef AMB_GRPC_PRIV_H
#define AMB_GRPC_PRIV_H

#include "base/addr.h"
#include "base/loop.h"
#include "base/resolve.h"
#include "grpc.h"

#include <nghttp2/nghttp2.h>

struct amb_tls_client;

struct amb_grpc {
	struct amb_loop *loop;
	struct amb_resolver *resolver;
	struct amb_gconn *conn; /* where calls go, NULL: the next one connects */
	struct amb_gconn *conns; /* all, those that only finish their calls too */
	char host[AMB_GRPC_HOST_MAX], authority[AMB_GRPC_HOST_MAX + 16];
	char path[AMB_GRPC_PATH_MAX]; /* of a unix socket, in clear; "": TCP and TLS */
	uint16_t port;
	char *roots, *alt_name, *token;
	struct amb_grpc_header *headers; /* own strings */
	size_t nheaders;
};

enum amb_gphase {
	AMB_GPHASE_NEW,
	AMB_GPHASE_CONNECT,
	AMB_GPHASE_HANDSHAKE,
	AMB_GPHASE_OPEN,
	AMB_GPHASE_DEAD, /* its calls are being told */
};

struct amb_gconn {
	struct amb_grpc *ch;
	struct amb_gconn *next, **prev;
	struct amb_io io; /* its fd is -1 before there is one */
	struct amb_timer timer; /* limit of the phase; ping or idle when open */
	struct amb_work work; /* starts, submits and sends at the end of the turn */
	struct amb_resolve_waiter resolve;
	struct amb_endpoint peer;
	enum amb_gphase phase;
	bool pinged; /* no answer yet */
	bool polling_out;
	struct amb_tls_client *tls;
	nghttp2_session *h2; /* NULL before it is open, and while it ends */
	const uint8_t *out; /* nghttp2's, until it is sent */
	size_t nout;
	struct amb_grpc_call *calls;
	unsigned int ncalls;
};

/* grpc_conn.c */

/* A new connection of @ch, ch->conn. NULL: out of memory. */
struct amb_gconn *amb_gconn_create(struct amb_grpc *ch);
/* Something is to be submitted or sent. */
void amb_gconn_wake(struct amb_gconn *c);
/* No new calls go here; it ends with the last one. */
void amb_gconn_drain(struct amb_gconn *c);
/* Has its first call, or none any more. */
void amb_gconn_busy(struct amb_gconn *c);
void amb_gconn_idle(struct amb_gconn *c);
/* Ends; its calls hear @text unless it is NULL. Not from within nghttp2's callbacks. */
void amb_gconn_destroy(struct amb_gconn *c, const char *text);

/* grpc.c */

/* A session whose callbacks are the calls' and, for frames of the connection, those below. */
nghttp2_session *amb_gcall_session(struct amb_gconn *c);
/* Submits the calls that are not yet. */
void amb_gcall_submit(struct amb_gconn *c);
/* Ends all calls of a connection that has no session any more; @text NULL: in silence. */
void amb_gcall_end(struct amb_gconn *c, bool unconnected, const char *text);

/* grpc_conn.c, called from within nghttp2 */
void amb_gconn_pong(struct amb_gconn *c);
void amb_gconn_goaway(struct amb_gconn *c);

#endif
