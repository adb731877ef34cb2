/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small gRPC server on a unix socket, in clear: for programs on this machine that run as one
 * of the users whom we serve. HTTP/2 by nghttp2, on one loop's thread.
 */
#ifndef AMB_GRPC_SERVER_H
#define AMB_GRPC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "grpc_frame.h"

struct amb_gserver;
struct amb_gserver_call;
struct amb_loop;

#define AMB_GSERVER_CLIENTS 32 /* connections */
#define AMB_GSERVER_CALLS 256 /* open at once on one of them */
#define AMB_GSERVER_MESSAGE 65536 /* bytes of a request */
#define AMB_GSERVER_UIDS 16
#define AMB_GSERVER_REFUSAL_NS 10000000000ull /* between two lines on users who may not */

struct amb_gserver_handler {
	/* A call of @path: its context, or NULL: there is no such method. */
	void *(*open)(void *ctx, struct amb_gserver_call *call, const char *path);
	/* A whole message. 0, or -errno: the call ends as INVALID_ARGUMENT. */
	int (*message)(void *call_ctx, const uint8_t *data, size_t n);
	/* The client takes messages again after amb_gserver_send() said that it does not. */
	void (*room)(void *call_ctx);
	/* The call is gone. */
	void (*close)(void *call_ctx);
};

/*
 * Listens at @path, for clients of the users @uids and our own. NULL: errno. @handler outlives it.
 */
struct amb_gserver *amb_gserver_create(struct amb_loop *loop, const char *path, const uid_t *uids,
				       size_t n, const struct amb_gserver_handler *handler,
				       void *ctx);
/* Calls are closed. NULL is accepted. */
void amb_gserver_destroy(struct amb_gserver *s);

/*
 * Room for a message of @len bytes, to be filled at once; wiped when it is sent. NULL: errno
 * ENOMEM, or EAGAIN: the last one is not sent yet, handler->room() will tell.
 */
uint8_t *amb_gserver_send(struct amb_gserver_call *call, uint32_t len);

#endif
