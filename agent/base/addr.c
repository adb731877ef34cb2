// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses in one form: parse, print, compare. */
#include "addr.h"

#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool amb_addr_is_v4(const struct amb_addr *a)
{
	return !memcmp(a->b, mapped, sizeof(mapped));
}

bool amb_addr_is_loopback(const struct amb_addr *a)
{
	static const struct amb_addr one = { .b[15] = 1 };

	if (amb_addr_is_v4(a))
		return a->b[12] == 127;
	return amb_addr_eq(a, &one);
}

bool amb_addr_is_any(const struct amb_addr *a)
{
	static const uint8_t zero[16];

	if (amb_addr_is_v4(a))
		return !memcmp(a->b + 12, zero, 4);
	return !memcmp(a->b, zero, 16);
}

int amb_addr_from_bytes(const void *bytes, size_t len, struct amb_addr *out)
{
	if (len == 4) {
		memcpy(out->b, mapped, sizeof(mapped));
		memcpy(out->b + 12, bytes, 4);
		return 0;
	}
	if (len == 16) {
		memcpy(out->b, bytes, 16);
		return 0;
	}
	return -EINVAL;
}

int amb_addr_parse(const char *text, struct amb_addr *out)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1)
		return amb_addr_from_bytes(&v4, 4, out);
	if (inet_pton(AF_INET6, text, &v6) == 1)
		return amb_addr_from_bytes(&v6, 16, out);
	return -EINVAL;
}

/* Each connection writes several; the library's goes through printf. Returns the length. */
static size_t put_v4(const uint8_t *b, char *buf)
{
	size_t n = 0, i;

	for (i = 0; i < 4; i++) {
		if (i)
			buf[n++] = '.';
		n += amb_util_put_u64(buf + n, b[i]);
	}
	return n;
}

const char *amb_addr_format(const struct amb_addr *a, char *buf)
{
	if (amb_addr_is_v4(a))
		put_v4(a->b + 12, buf);
	else
		inet_ntop(AF_INET6, a->b, buf, AMB_ADDR_STRLEN);
	return buf;
}

const char *amb_endpoint_format(const struct amb_endpoint *e, char *buf)
{
	size_t n;

	if (amb_addr_is_v4(&e->addr)) {
		n = put_v4(e->addr.b + 12, buf);
	} else {
		buf[0] = '[';
		inet_ntop(AF_INET6, e->addr.b, buf + 1, AMB_ADDR_STRLEN);
		n = strlen(buf);
		buf[n++] = ']';
	}
	buf[n++] = ':';
	amb_util_put_u64(buf + n, e->port);
	return buf;
}

int amb_endpoint_parse(const char *text, struct amb_endpoint *out)
{
	const char *colon = strrchr(text, ':');
	char host[AMB_ADDR_STRLEN];
	struct amb_addr addr;
	uint16_t port;
	size_t n;

	if (!colon || amb_util_parse_port(colon + 1, &port))
		return -EINVAL;
	n = colon - text;
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
		if (!memchr(text, ':', n))
			return -EINVAL;
	} else if (memchr(text, ':', n)) {
		return -EINVAL;
	}
	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = 0;
	if (amb_addr_parse(host, &addr))
		return -EINVAL;
	out->addr = addr;
	out->port = port;
	return 0;
}

bool amb_addr_in_prefix(const struct amb_addr *a, const struct amb_addr *net, unsigned int bits)
{
	unsigned int bytes;

	if (amb_addr_is_v4(a) != amb_addr_is_v4(net))
		return false;
	if (amb_addr_is_v4(net))
		bits += 96;
	if (bits > 128)
		return false;
	bytes = bits / 8;
	if (memcmp(a->b, net->b, bytes))
		return false;
	bits %= 8;
	if (!bits)
		return true;
	return !((a->b[bytes] ^ net->b[bytes]) >> (8 - bits));
}

struct amb_addr amb_addr_mask(const struct amb_addr *a, unsigned int bits)
{
	struct amb_addr out = *a;
	unsigned int i;

	if (amb_addr_is_v4(a))
		bits += 96;
	for (i = bits; i < 128; i++)
		out.b[i / 8] &= ~(0x80 >> i % 8);
	return out;
}

int amb_endpoint_from_sockaddr(const struct sockaddr *sa, struct amb_endpoint *out)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		amb_addr_from_bytes(&in->sin_addr, 4, &out->addr);
		out->port = ntohs(in->sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		amb_addr_from_bytes(&in6->sin6_addr, 16, &out->addr);
		out->port = ntohs(in6->sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

socklen_t amb_endpoint_to_sockaddr(const struct amb_endpoint *e, int family,
				   struct sockaddr_storage *ss)
{
	bool v4 = amb_addr_is_v4(&e->addr);

	if (family == AF_UNSPEC)
		family = v4 ? AF_INET : AF_INET6;
	memset(ss, 0, sizeof(*ss));
	if (family == AF_INET) {
		struct sockaddr_in *in = (void *)ss;

		if (!v4)
			return 0;
		in->sin_family = AF_INET;
		in->sin_port = htons(e->port);
		memcpy(&in->sin_addr, e->addr.b + 12, 4);
		return sizeof(*in);
	}
	if (family == AF_INET6) {
		struct sockaddr_in6 *in6 = (void *)ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(e->port);
		memcpy(&in6->sin6_addr, e->addr.b, 16);
		return sizeof(*in6);
	}
	return 0;
}

uint32_t amb_addr_hash(const struct amb_addr *a, uint32_t seed)
{
	return amb_util_hash(a->b, sizeof(a->b), seed);
}
