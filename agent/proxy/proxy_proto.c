// SPDX-License-Identifier: GPL-2.0-or-later
/* The PROXY protocol's version 2 header (haproxy's proxy-protocol.txt, section 2.2). Pure. */
#include "proxy_proto.h"

#include <string.h>

static const uint8_t signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
				       0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

#define VERSION_2_PROXY 0x21
#define FAMILY_TCP4 0x11
#define FAMILY_TCP6 0x21
#define HEAD 16

static uint8_t *put16(uint8_t *p, size_t v)
{
	*p++ = v >> 8;
	*p++ = v & 0xff;
	return p;
}

static uint8_t *put(uint8_t *p, const void *data, size_t n)
{
	memcpy(p, data, n);
	return p + n;
}

size_t amb_proxy_proto_write(const struct amb_endpoint *src, const struct amb_endpoint *dst,
			     const char *spiffe, uint8_t *buf, size_t len)
{
	bool v4 = amb_addr_is_v4(&src->addr) && amb_addr_is_v4(&dst->addr);
	size_t addr = v4 ? 4 : 16, skip = v4 ? 12 : 0;
	size_t id = spiffe ? strlen(spiffe) : 0;
	size_t body = 2 * addr + 4 + (id ? 3 + id : 0);
	uint8_t *p = buf;

	if (id > AMB_IDENTITY_MAX || len < HEAD + body)
		return 0;
	p = put(p, signature, sizeof(signature));
	*p++ = VERSION_2_PROXY;
	*p++ = v4 ? FAMILY_TCP4 : FAMILY_TCP6;
	p = put16(p, body);
	p = put(p, src->addr.b + skip, addr);
	p = put(p, dst->addr.b + skip, addr);
	p = put16(p, src->port);
	p = put16(p, dst->port);
	if (id) {
		*p++ = AMB_PROXY_PROTO_SPIFFE;
		p = put16(p, id);
		p = put(p, spiffe, id);
	}
	return p - buf;
}
