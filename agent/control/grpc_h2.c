// SPDX-License-Identifier: GPL-2.0-or-later
/* gRPC on nghttp2, as the client and the server both have it. */
#include "grpc_h2.h"

#include "base/wipe.h"

static void *take(size_t n, void *user)
{
	(void)user;
	return amb_wipe_alloc(n);
}

static void give(void *p, void *user)
{
	(void)user;
	amb_wipe_free(p);
}

static void *take_zeroed(size_t n, size_t size, void *user)
{
	(void)user;
	return amb_wipe_calloc(n, size);
}

static void *resize(void *p, size_t n, void *user)
{
	(void)user;
	return amb_wipe_realloc(p, n);
}

nghttp2_mem *amb_grpc_h2_mem(void)
{
	static nghttp2_mem mem = {
		.malloc = take, .free = give, .calloc = take_zeroed, .realloc = resize
	};

	return &mem;
}
