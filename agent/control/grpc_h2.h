/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gRPC on nghttp2, as the client (grpc.c) and the server (grpc_server.c) both have it. */
#ifndef AMB_GRPC_H2_H
#define AMB_GRPC_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>

#define AMB_GRPC_H2_TYPE "application/grpc" /* the content-type that we send */

/* A field as nghttp2 wants it; nothing is copied. */
nghttp2_nv amb_grpc_h2_field(const char *name, const char *value);

/* Is this text, without a NUL, just @what? */
bool amb_grpc_h2_is(const uint8_t *text, size_t len, const char *what);

/*
 * Is this content-type gRPC's: "application/grpc", alone or with a "+proto" or ";" behind it?
 * In any case of letters (RFC 9110 8.3.1); "application/grpc-web" is another protocol.
 */
bool amb_grpc_h2_is_grpc(const uint8_t *text, size_t len);

/* For sessions: what nghttp2 keeps of messages and fields has keys and tokens in it. */
nghttp2_mem *amb_grpc_h2_mem(void);

#endif
