/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses in one form: 16 bytes, IPv4 mapped. */
#ifndef AMB_ADDR_H
#define AMB_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d. Never a v4 address in any other form. */
struct amb_addr {
	uint8_t b[16];
};

/* An address and a TCP port; the port is in host order. */
struct amb_endpoint {
	struct amb_addr addr;
	uint16_t port;
};

/* Longest text of an address ("ffff:...:255.255.255.255") and of "[address]:port", with NUL. */
#define AMB_ADDR_STRLEN 46
#define AMB_ENDPOINT_STRLEN 56

static inline bool amb_addr_eq(const struct amb_addr *a, const struct amb_addr *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

static inline bool amb_endpoint_eq(const struct amb_endpoint *a, const struct amb_endpoint *b)
{
	return a->port == b->port && amb_addr_eq(&a->addr, &b->addr);
}

/* True for an IPv4 address (mapped form). */
bool amb_addr_is_v4(const struct amb_addr *a);

/* True for 127.0.0.0/8 and ::1. */
bool amb_addr_is_loopback(const struct amb_addr *a);

/* True for 0.0.0.0 and ::. */
bool amb_addr_is_any(const struct amb_addr *a);

/* Reads dotted or colon text, no brackets, no zone. Returns 0 or -EINVAL; @out untouched then. */
int amb_addr_parse(const char *text, struct amb_addr *out);

/* Takes @len raw network-order bytes; 4 or 16, any other length is -EINVAL. */
int amb_addr_from_bytes(const void *bytes, size_t len, struct amb_addr *out);

/*
 * Writes the text form: dotted for IPv4. Returns @buf, which holds at least
 * AMB_ADDR_STRLEN bytes.
 */
const char *amb_addr_format(const struct amb_addr *a, char *buf);

/* Writes "a.b.c.d:port" or "[v6]:port". Returns @buf of at least AMB_ENDPOINT_STRLEN bytes. */
const char *amb_endpoint_format(const struct amb_endpoint *e, char *buf);

/* Reads "a.b.c.d:port" or "[v6]:port". Returns 0 or -EINVAL. */
int amb_endpoint_parse(const char *text, struct amb_endpoint *out);

/*
 * True when the first @bits bits of @a equal those of @net. @bits counts in the
 * address's own family: 0..32 when @net is IPv4, else 0..128; families never match
 * each other.
 */
bool amb_addr_in_prefix(const struct amb_addr *a, const struct amb_addr *net, unsigned int bits);

/* The address of that prefix, without the bits behind it; @bits as above. */
struct amb_addr amb_addr_mask(const struct amb_addr *a, unsigned int bits);

/* From the kernel's form; v4-mapped IPv6 becomes IPv4. Returns 0 or -EAFNOSUPPORT. */
int amb_endpoint_from_sockaddr(const struct sockaddr *sa, struct amb_endpoint *out);

/*
 * To the kernel's form. @family AF_INET needs an IPv4 address; AF_INET6 takes both
 * (IPv4 as mapped); AF_UNSPEC chooses by address. Returns the length, or 0 when the
 * address cannot be said in @family.
 */
socklen_t amb_endpoint_to_sockaddr(const struct amb_endpoint *e, int family,
				   struct sockaddr_storage *ss);

/* A well mixed hash of the address. */
uint32_t amb_addr_hash(const struct amb_addr *a, uint32_t seed);

#endif
