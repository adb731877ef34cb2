// SPDX-License-Identifier: GPL-2.0-or-later
/* gRPC on nghttp2, as the client and the server both have it. */
#include "grpc_h2.h"

#include "base/wipe.h"

#include <string.h>
#include <strings.h>

nghttp2_nv amb_grpc_h2_field(const char *name, const char *value)
{
	return (nghttp2_nv){ .name = (uint8_t *)name,
			     .value = (uint8_t *)value,
			     .namelen = strlen(name),
			     .valuelen = strlen(value) };
}

bool amb_grpc_h2_is(const uint8_t *text, size_t len, const char *what)
{
	return len == strlen(what) && !memcmp(text, what, len);
}

bool amb_grpc_h2_is_grpc(const uint8_t *text, size_t len)
{
	const size_t n = strlen(AMB_GRPC_H2_TYPE);

	return len >= n && !strncasecmp((const char *)text, AMB_GRPC_H2_TYPE, n) &&
	       (len == n || text[n] == '+' || text[n] == ';');
}

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
