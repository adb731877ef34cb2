// SPDX-License-Identifier: GPL-2.0-or-later
/* DNS messages: reads a query, writes an answer. */
#include "dns_msg.h"

#include "base/util.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define FLAG_REPLY 0x80 /* third byte of the header */
#define FLAG_AUTHORITY 0x04
#define FLAG_TRUNCATED 0x02
#define FLAG_RECURSION 0x01
#define FLAG_AVAILABLE 0x80 /* fourth byte */
#define FLAG_UNCHECKED 0x10
#define OPCODE(b) ((b) >> 3 & 15)

#define TYPE_CNAME 5
#define TYPE_OPT 41
#define EDNS_DO 0x8000
#define OPT_LEN 11 /* without options */
#define RECORD_LEN 10 /* type, class, TTL, length */
#define POINTER 0xc0 /* both upper bits of a label's length: the rest is elsewhere */

static uint16_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint8_t *put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	return put16(put16(p, v >> 16), v);
}

/* The name of the question: @at moves behind it. False: it is none. */
static bool read_name(const uint8_t *msg, size_t len, size_t *at, char *text)
{
	size_t i = *at, n = 0;
	bool host = true;

	for (;;) {
		uint8_t label;

		if (i >= len)
			return false;
		label = msg[i++];
		if (!label)
			break;
		/* Nothing stands before the first name that a pointer could mean. */
		if (label > 63 || label >= len - i || n + !!n + label >= AMB_NAMES_MAX)
			return false;
		if (n)
			text[n++] = '.';
		for (; label; label--, i++) {
			int c = tolower(msg[i]);

			host = host && (isalnum(c) || c == '-' || c == '_') && c < 128;
			text[n++] = c;
		}
	}
	text[host ? n : 0] = 0;
	*at = i;
	return true;
}

/* Moves behind the name at @at, which may end in a pointer. */
static bool skip_name(const uint8_t *msg, size_t len, size_t *at)
{
	size_t i = *at;

	while (i < len && msg[i]) {
		if (msg[i] >= POINTER) {
			*at = i + 2;
			return *at <= len;
		}
		if (msg[i] > 63)
			return false;
		i += msg[i] + 1;
	}
	*at = i + 1;
	return i < len;
}

/* The records behind the question. Only that of EDNS says something to a proxy. */
static bool read_records(const uint8_t *msg, size_t len, struct amb_dns_question *q)
{
	unsigned int others = get16(msg + 6) + get16(msg + 8), n = others + get16(msg + 10), i;
	size_t at = q->end;

	for (i = 0; i < n; i++) {
		bool root = at < len && !msg[at];
		uint16_t type;

		if (!skip_name(msg, len, &at) || len - at < RECORD_LEN)
			return false;
		type = get16(msg + at);
		if (type == TYPE_OPT && (q->edns || !root || i < others))
			return false;
		if (type == TYPE_OPT) {
			q->edns = true;
			q->udp_size = AMB_MAX(get16(msg + at + 2), AMB_DNS_UDP_MIN);
			q->edns_version = msg[at + 5];
			q->dnssec_ok = get16(msg + at + 6) & EDNS_DO;
		}
		at += RECORD_LEN + get16(msg + at + 8);
		if (at > len)
			return false;
	}
	return at == len;
}

int amb_dns_msg_read(const uint8_t *msg, size_t len, struct amb_dns_question *q)
{
	size_t at = AMB_DNS_HEADER;

	memset(q, 0, sizeof(*q));
	if (len < AMB_DNS_HEADER || msg[2] & FLAG_REPLY)
		return -EINVAL;
	q->id = get16(msg);
	q->opcode = OPCODE(msg[2]);
	q->recursion = msg[2] & FLAG_RECURSION;
	q->checking_disabled = msg[3] & FLAG_UNCHECKED;
	q->end = AMB_DNS_HEADER;
	q->udp_size = AMB_DNS_UDP_MIN;
	if (q->opcode)
		return AMB_DNS_NOTIMP;
	if (get16(msg + 4) != 1 || !read_name(msg, len, &at, q->name) || len - at < 4) {
		q->name[0] = 0;
		return AMB_DNS_FORMERR;
	}
	q->type = get16(msg + at);
	q->class = get16(msg + at + 2);
	q->end = at + 4;
	if (!read_records(msg, len, q)) {
		q->edns = false;
		return AMB_DNS_FORMERR;
	}
	return 0;
}

/* Header and question; counts of records follow later. */
static uint8_t *put_head(uint8_t *out, const uint8_t *query, const struct amb_dns_question *q,
			 uint8_t flags, enum amb_dns_rcode rcode)
{
	memset(out, 0, AMB_DNS_HEADER);
	put16(out, q->id);
	out[2] = FLAG_REPLY | q->opcode << 3 | flags | (q->recursion ? FLAG_RECURSION : 0);
	out[3] = FLAG_AVAILABLE | (q->checking_disabled ? FLAG_UNCHECKED : 0) | (rcode & 15);
	put16(out + 4, q->end > AMB_DNS_HEADER);
	memcpy(out + AMB_DNS_HEADER, query + AMB_DNS_HEADER, q->end - AMB_DNS_HEADER);
	return out + q->end;
}

/* Answers to EDNS with EDNS (RFC 6891, 6.1.1); the size says what we take ourselves. */
static uint8_t *put_opt(uint8_t *out, uint8_t *p, const struct amb_dns_question *q,
			enum amb_dns_rcode rcode)
{
	if (!q->edns)
		return p;
	put16(out + 10, 1);
	*p++ = 0;
	p = put16(p, TYPE_OPT);
	p = put16(p, AMB_DNS_QUERY_MAX);
	*p++ = rcode >> 4;
	*p++ = 0;
	p = put16(p, q->dnssec_ok ? EDNS_DO : 0);
	return put16(p, 0);
}

size_t amb_dns_msg_error(const uint8_t *query, const struct amb_dns_question *q,
			 enum amb_dns_rcode rcode, bool truncated, uint8_t *out)
{
	uint8_t *p = put_head(out, query, q, truncated ? FLAG_TRUNCATED : 0, rcode);

	return put_opt(out, p, q, rcode) - out;
}

static uint8_t *put_name(uint8_t *p, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ".");

		*p++ = n;
		memcpy(p, text, n);
		p += n;
		text += n + (text[n] == '.');
	}
	*p++ = 0;
	return p;
}

/* A record but for its data; its name is the one at @name in the message. */
static uint8_t *put_record(uint8_t *p, size_t name, uint16_t type, uint16_t len)
{
	p = put16(p, POINTER << 8 | name);
	p = put16(p, type);
	p = put16(p, AMB_DNS_CLASS_IN);
	p = put32(p, AMB_DNS_TTL);
	return put16(p, len);
}

size_t amb_dns_msg_answer(const uint8_t *query, const struct amb_dns_question *q,
			  const struct amb_names_answer *a, size_t limit, uint8_t *out)
{
	bool v4 = q->type == AMB_DNS_TYPE_A;
	size_t name = AMB_DNS_HEADER, len = v4 ? 4 : 16;
	uint8_t *p = put_head(out, query, q, FLAG_AUTHORITY, AMB_DNS_NOERROR), *end;
	uint16_t answers = 0;
	bool fits = true;
	uint32_t i;

	end = out + limit - (q->edns ? OPT_LEN : 0);
	/* A name alone is no answer; without addresses it is left out as ztunnel does. */
	if (*a->canonical && a->n) {
		size_t n = strlen(a->canonical) + 2;

		fits = end - p >= (ptrdiff_t)(2 + RECORD_LEN + n);
		if (fits) {
			name = p - out + 2 + RECORD_LEN;
			p = put_record(p, AMB_DNS_HEADER, TYPE_CNAME, n);
			p = put_name(p, a->canonical);
			answers++;
		}
	}
	for (i = 0; i < a->n && fits; i++) {
		fits = end - p >= (ptrdiff_t)(2 + RECORD_LEN + len);
		if (!fits)
			break;
		p = put_record(p, name, q->type, len);
		memcpy(p, a->addrs[i].b + 16 - len, len);
		p += len;
		answers++;
	}
	if (!fits)
		out[2] |= FLAG_TRUNCATED;
	put16(out + 6, answers);
	return put_opt(out, p, q, AMB_DNS_NOERROR) - out;
}

/* Servers may write the name in other letters, and leave out what they did not understand. */
static bool same_question(const uint8_t *query, const struct amb_dns_question *q,
			  const uint8_t *reply, size_t len)
{
	size_t i;

	if (!get16(reply + 4))
		return amb_dns_msg_rcode(reply) != AMB_DNS_NOERROR;
	if (get16(reply + 4) != 1 || len < q->end)
		return false;
	for (i = AMB_DNS_HEADER; i < q->end - 4u; i++) {
		if (tolower(query[i]) != tolower(reply[i]))
			return false;
	}
	return !memcmp(query + i, reply + i, 4);
}

bool amb_dns_msg_is_reply(const uint8_t *query, const struct amb_dns_question *q, uint16_t id,
			  const uint8_t *reply, size_t len)
{
	return len >= AMB_DNS_HEADER && get16(reply) == id && reply[2] & FLAG_REPLY &&
	       !OPCODE(reply[2]) && same_question(query, q, reply, len);
}

enum amb_dns_rcode amb_dns_msg_rcode(const uint8_t *reply)
{
	return reply[3] & 15;
}

unsigned int amb_dns_msg_count(const uint8_t *reply)
{
	return get16(reply + 6);
}

void amb_dns_msg_set_id(uint8_t *msg, uint16_t id)
{
	put16(msg, id);
}

const char *amb_dns_msg_type(uint16_t type)
{
	static const struct {
		uint16_t type;
		const char *text;
	} types[] = {
		{ AMB_DNS_TYPE_A, "a" },
		{ AMB_DNS_TYPE_AAAA, "aaaa" },
		{ 2, "ns" },
		{ TYPE_CNAME, "cname" },
		{ 6, "soa" },
		{ 12, "ptr" },
		{ 15, "mx" },
		{ 16, "txt" },
		{ 33, "srv" },
		{ 35, "naptr" },
		{ 43, "ds" },
		{ 48, "dnskey" },
		{ 64, "svcb" },
		{ 65, "https" },
		{ 255, "any" },
		{ 257, "caa" },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(types); i++) {
		if (types[i].type == type)
			return types[i].text;
	}
	return "other";
}
