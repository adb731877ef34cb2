/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PROXY protocol's version 2 header, as application tunnels get it (ztunnel-interop 4.5). */
#ifndef AMB_PROXY_PROTO_H
#define AMB_PROXY_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "mesh/identity.h"

/* signature, version, family, length; two IPv6 endpoints; one TLV */
#define AMB_PROXY_PROTO_MAX (16 + 36 + 3 + AMB_IDENTITY_MAX)

#define AMB_PROXY_PROTO_SPIFFE 0xD0 /* TLV type: the source's identity */

/*
 * Writes the header for a connection @src to @dst: TCP4 when both are IPv4, else TCP6 with
 * mapped addresses. @spiffe may be NULL. Returns the length, or 0 when @len is too short.
 */
size_t amb_proxy_proto_write(const struct amb_endpoint *src, const struct amb_endpoint *dst,
			     const char *spiffe, uint8_t *buf, size_t len);

#endif
