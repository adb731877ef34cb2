/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A gRPC client (ztunnel-interop 1.1): HTTP/2 by nghttp2 in TLS by wolfSSL, on one loop's thread.
 *
 * A channel connects when a call needs it, and again when that connection is gone; who calls
 * decides whether and when to try again. Roots are read at each connect, the token at each call.
 */
#ifndef AMB_GRPC_H
#define AMB_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grpc_frame.h"

struct amb_grpc; /* a channel */
struct amb_grpc_call;
struct amb_loop;
struct amb_resolver;

#define AMB_GRPC_CONNECT_NS 5000000000ull /* name and TCP handshake */
#define AMB_GRPC_HANDSHAKE_NS 10000000000ull /* TLS */
#define AMB_GRPC_PING_NS 30000000000ull /* while there are calls; istiod forbids under 15 s */
#define AMB_GRPC_PING_WAIT_NS 10000000000ull
#define AMB_GRPC_IDLE_NS 60000000000ull /* a connection without calls */
#define AMB_GRPC_QUEUE_MAX (64u << 20) /* bytes that one call has yet to send */
#define AMB_GRPC_TOKEN_MAX 16384
#define AMB_GRPC_HEADERS_MAX 64 /* of a configuration */

struct amb_grpc_header {
	const char *name, *value; /* the name in lower case */
};

/* Strings are copied. */
struct amb_grpc_config {
	/*
	 * "https://host:port", where the scheme may be missing; or "unix:/path" or
	 * "unix:///path": in clear, to a socket that only the right ones can be behind.
	 */
	const char *url;
	const char *roots; /* see tls_client.h; not looked at for a socket */
	const char *alt_name; /* another name that the server may have, or NULL */
	const char *token; /* a path, or the token itself; NULL: none is sent */
	const struct amb_grpc_header *headers; /* sent with each call */
	size_t nheaders;
};

/* @resolver outlives the channel. NULL: errno EINVAL for an url or header, or ENOMEM. */
struct amb_grpc *amb_grpc_create(struct amb_loop *loop, struct amb_resolver *resolver,
				 const struct amb_grpc_config *config);
/* Not from within a handler. Calls end without a word to theirs. NULL is accepted. */
void amb_grpc_destroy(struct amb_grpc *ch);

/* How a call ended. */
struct amb_grpc_status {
	enum amb_grpc_code code;
	bool unconnected; /* UNAVAILABLE, and there was no connection to begin with */
	char message[256];
};

/*
 * Who made the call; all on the loop's thread, never from within amb_grpc_open(). Calls may be
 * opened, sent to and cancelled in there.
 */
struct amb_grpc_handler {
	/* A piece of an answer. 0, or negative errno: the call ends as INTERNAL, with done(). */
	int (*message)(void *ctx, const struct amb_grpc_piece *piece);
	/* The end; @call is gone afterwards. */
	void (*done)(void *ctx, const struct amb_grpc_status *status);
};

/*
 * Opens a call of @path ("/package.Service/Method"); answers over @max bytes end it as
 * RESOURCE_EXHAUSTED. What goes wrong later is told to done(). NULL: out of memory.
 */
struct amb_grpc_call *amb_grpc_open(struct amb_grpc *ch, const char *path, uint32_t max,
				    const struct amb_grpc_handler *handler, void *ctx);
/*
 * Room for a message of @len bytes, to be filled at once: it is sent when the loop's turn ends.
 * NULL: errno ENOMEM, or ENOBUFS past AMB_GRPC_QUEUE_MAX.
 */
uint8_t *amb_grpc_send(struct amb_grpc_call *call, uint32_t len);
/* No message follows: for a unary call after its request. */
void amb_grpc_send_end(struct amb_grpc_call *call);
/* Ends it; nothing more is called. */
void amb_grpc_cancel(struct amb_grpc_call *call);

/* Later calls go over a new connection (new roots); those under way go on. */
void amb_grpc_renew(struct amb_grpc *ch);

/* "istiod.istio-system.svc:15012", or the socket's path */
const char *amb_grpc_target(const struct amb_grpc *ch);

/*
 * Splits "https://host:port", "host:port" or "[v6]:port" (the port may be missing: 443). 0 or
 * -EINVAL; a scheme that is not https is -EPROTONOSUPPORT.
 */
#define AMB_GRPC_HOST_MAX 256
#define AMB_GRPC_PATH_MAX 108 /* of a socket: unix(7) */
/* The path in an url of a socket; NULL when it is none, or too long. */
const char *amb_grpc_url_path(const char *url);
int amb_grpc_parse_url(const char *url, char host[AMB_GRPC_HOST_MAX], uint16_t *port);

#endif
