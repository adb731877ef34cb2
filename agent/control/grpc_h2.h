/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gRPC on nghttp2, as the client (grpc.c) and the server (grpc_server.c) both have it. */
#ifndef AMB_GRPC_H2_H
#define AMB_GRPC_H2_H

#include <nghttp2/nghttp2.h>

/* For sessions: what nghttp2 keeps of messages and fields has keys and tokens in it. */
nghttp2_mem *amb_grpc_h2_mem(void);

#endif
