/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DNS messages (RFC 1035, RFC 6891), as far as a proxy needs them: the question of a query, an
 * answer of addresses, an error; replies of others are passed on as they are. Pure.
 *
 * Not by libldns, which would bring OpenSSL into the agent and 2.2 MB into its memory, for one
 * question and a list of addresses. The tests and the fuzzer check against libldns instead.
 */
#ifndef AMB_DNS_MSG_H
#define AMB_DNS_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/names.h"

#define AMB_DNS_HEADER 12
#define AMB_DNS_MSG_MAX 65535
#define AMB_DNS_QUERY_MAX 4096 /* longest query that is read; what pods ask is 30 to 100 bytes */
#define AMB_DNS_UDP_MIN 512 /* longest UDP answer to a client that says nothing about it */
#define AMB_DNS_TTL 30 /* seconds of an answer out of the mesh */

#define AMB_DNS_TYPE_A 1
#define AMB_DNS_TYPE_AAAA 28
#define AMB_DNS_TYPE_IXFR 251
#define AMB_DNS_TYPE_AXFR 252
#define AMB_DNS_CLASS_IN 1

enum amb_dns_rcode {
	AMB_DNS_NOERROR = 0,
	AMB_DNS_FORMERR = 1,
	AMB_DNS_SERVFAIL = 2,
	AMB_DNS_NXDOMAIN = 3,
	AMB_DNS_NOTIMP = 4,
	AMB_DNS_REFUSED = 5,
	AMB_DNS_BADVERS = 16, /* needs an EDNS record in the answer */
};

/* What a query asks, host order. */
struct amb_dns_question {
	uint16_t id, type, class;
	uint16_t end; /* where the question ends in the message; AMB_DNS_HEADER: there is none */
	uint8_t opcode;
	bool recursion, checking_disabled;
	bool edns, dnssec_ok; /* the query has an EDNS record */
	uint8_t edns_version;
	uint16_t udp_size; /* longest answer by UDP */
	char name[AMB_NAMES_MAX]; /* lower case, no dot at its end; "": no host can have it */
};

/*
 * Reads a query. 0; an AMB_DNS_* code to refuse it with (@q is good for that); -EINVAL: it
 * cannot be answered at all, since it has no header or is an answer itself.
 */
int amb_dns_msg_read(const uint8_t *msg, size_t len, struct amb_dns_question *q);

/*
 * Writes the answer of at most @limit (>= AMB_DNS_UDP_MIN) bytes to @query: authoritative, with
 * TTL AMB_DNS_TTL; what does not fit is left out and the truncation flag says so. Returns the
 * length.
 */
size_t amb_dns_msg_answer(const uint8_t *query, const struct amb_dns_question *q,
			  const struct amb_names_answer *a, size_t limit, uint8_t *out);

/* Writes an answer without records; @truncated: that there are, to be asked for by TCP. */
#define AMB_DNS_ERROR_MAX (AMB_DNS_HEADER + 255 + 4 + 11)
size_t amb_dns_msg_error(const uint8_t *query, const struct amb_dns_question *q,
			 enum amb_dns_rcode rcode, bool truncated, uint8_t *out);

/* True when @reply answers @query, which was sent as @id. */
bool amb_dns_msg_is_reply(const uint8_t *query, const struct amb_dns_question *q, uint16_t id,
			  const uint8_t *reply, size_t len);
/* Response code and number of answers of a reply with a header. */
enum amb_dns_rcode amb_dns_msg_rcode(const uint8_t *reply);
unsigned int amb_dns_msg_count(const uint8_t *reply);
void amb_dns_msg_set_id(uint8_t *msg, uint16_t id);

/* "a", "aaaa", ...; "other" for types that are seldom asked for. A constant. */
const char *amb_dns_msg_type(uint16_t type);

#endif
