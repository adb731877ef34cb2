// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a pod sends to the DNS proxy, what a name server answers, a resolver's configuration.
 * libldns is the second opinion: it reads all that we write, with the question that we read.
 */
#include "fuzz.h"

#include "base/util.h"
#include "proxy/dns_conf.h"
#include "proxy/dns_msg.h"

#include <ldns/ldns.h>

static uint8_t out[AMB_DNS_MSG_MAX];
static struct amb_names_answer answer;

static void has_question(const uint8_t *msg, size_t len, const struct amb_dns_question *q)
{
	const ldns_rr *rr;
	ldns_pkt *pkt;

	PROMISE(ldns_wire2pkt(&pkt, msg, len) == LDNS_STATUS_OK);
	PROMISE(ldns_pkt_id(pkt) == q->id);
	PROMISE(ldns_rr_list_rr_count(ldns_pkt_question(pkt)) == (q->end > AMB_DNS_HEADER));
	if (q->end > AMB_DNS_HEADER) {
		rr = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
		PROMISE((uint16_t)ldns_rr_get_type(rr) == q->type);
		PROMISE((uint16_t)ldns_rr_get_class(rr) == q->class);
		PROMISE(ldns_rdf_size(ldns_rr_owner(rr)) == q->end - AMB_DNS_HEADER - 4u);
	}
	ldns_pkt_free(pkt);
}

static void answers(const uint8_t *msg, struct amb_dns_question *q, size_t limit)
{
	uint32_t i;
	size_t n;

	q->type = msg[0] & 1 ? AMB_DNS_TYPE_A : AMB_DNS_TYPE_AAAA;
	answer.n = msg[1] * 4;
	for (i = 0; i < answer.n; i++)
		memset(&answer.addrs[i], i, sizeof(answer.addrs[i]));
	strcpy(answer.canonical, msg[0] & 2 ? q->name : "");
	n = amb_dns_msg_answer(msg, q, &answer, limit, out);
	PROMISE(n <= limit && n >= AMB_DNS_HEADER);
	/* The question on the wire still has its own type. */
	q->type = out[q->end - 4] << 8 | out[q->end - 3];
	has_question(out, n, q);
}

static void query(const uint8_t *msg, size_t len)
{
	struct amb_dns_question q;
	int ret = amb_dns_msg_read(msg, len, &q);
	size_t n;

	PROMISE(ret <= 0 || ret == AMB_DNS_FORMERR || ret == AMB_DNS_NOTIMP);
	if (ret < 0)
		return;
	PROMISE(strlen(q.name) < AMB_NAMES_MAX && q.end >= AMB_DNS_HEADER);
	PROMISE(q.udp_size >= AMB_DNS_UDP_MIN);
	n = amb_dns_msg_error(msg, &q, ret ?: AMB_DNS_SERVFAIL, false, out);
	PROMISE(n <= AMB_DNS_ERROR_MAX);
	if (!ret) {
		has_question(out, n, &q);
		PROMISE(amb_dns_msg_is_reply(msg, &q, q.id, out, n));
		answers(msg, &q, q.udp_size);
	}
}

static void reply(const uint8_t *msg, size_t len)
{
	static const uint8_t ask[] = { 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1 };
	struct amb_dns_question q;

	PROMISE(!amb_dns_msg_read(ask, sizeof(ask), &q));
	if (amb_dns_msg_is_reply(ask, &q, 1, msg, len))
		PROMISE(len >= AMB_DNS_HEADER && amb_dns_msg_rcode(msg) < 16);
}

static void conf(const char *text)
{
	struct amb_dns_conf c;

	amb_dns_conf_parse(text, &c);
	PROMISE(c.n && c.n <= AMB_DNS_SERVERS && strlen(c.search) < AMB_NAMES_SEARCH_TEXT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ?: 1);
	char *text = fuzz_text(data, size);

	PROMISE(exact);
	memcpy(exact, data, size);
	query(exact, size);
	reply(exact, size);
	conf(text);
	free(exact);
	free(text);
	return 0;
}
