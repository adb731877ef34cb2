/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our side of a handshake in memory, for tests: credentials of pki.sh, wires, turns. */
#ifndef SELFTESTS_TLSSIDE_H
#define SELFTESTS_TLSSIDE_H

#include "pki.h"

#include "proxy/cred.h"
#include "proxy/creds.h"
#include "proxy/record.h"
#include "proxy/tls.h"
#include "proxy/trust.h"

#include <stdbool.h>

#define WIRE_MAX (256 * 1024)

/* One direction of a wire. */
struct wire {
	uint8_t b[WIRE_MAX];
	size_t r, w;
};

static struct wire to_server, to_client;

__attribute__((unused)) static int wire_put(void *ctx, const uint8_t *data, size_t n)
{
	struct wire *w = ctx;

	if (w->w + n > sizeof(w->b))
		return -ENOSPC;
	memcpy(w->b + w->w, data, n);
	w->w += n;
	return 0;
}

__attribute__((unused)) static void wires_clear(void)
{
	to_server.r = to_server.w = to_client.r = to_client.w = 0;
}

/* Our side: credential NAME of pki.sh with roots. */

__attribute__((unused)) static struct amb_cred *cred_of(const char *name, const char *sa,
							const char *roots)
{
	struct pki_file chain = pki_read(name, "pem"), key = pki_read(name, "der"),
			bundle = pki_read(roots, "crt");
	struct amb_identity *id = amb_identity_intern("cluster.local", "n", sa);
	char err[256] = "";
	struct amb_trust *trust = amb_trust_create(bundle.text, err, sizeof(err));
	struct amb_cred *cred;

	CHECK(trust);
	cred = amb_cred_create(id, (uint8_t *)key.text, key.len, chain.text, trust, err,
			       sizeof(err));
	if (!cred)
		printf("# %s: %s\n", name, err);
	CHECK(cred);
	amb_trust_put(trust);
	amb_identity_put(id);
	free(chain.text);
	free(key.text);
	free(bundle.text);
	return cred;
}

/* "a b": service accounts of n in cluster.local. */
__attribute__((unused)) static void expect_set(struct amb_identset *set, const char *names)
{
	char buf[64], *at, *name;

	snprintf(buf, sizeof(buf), "%s", names);
	for (name = strtok_r(buf, " ", &at); name; name = strtok_r(NULL, " ", &at)) {
		struct amb_identity *id = amb_identity_intern("cluster.local", "n", name);

		CHECK_EQ(amb_identset_add(set, id), 0);
		amb_identity_put(id);
	}
}

__attribute__((unused)) static struct amb_tls *our_client(struct amb_cred *cred, const char *expect)
{
	struct amb_identset set = { 0 };
	struct amb_tls *t;

	expect_set(&set, expect);
	t = amb_tls_client(cred, &set);
	amb_identset_clear(&set);
	CHECK(t);
	return t;
}

/* Feeds what is on the wire, @step bytes at a time. */
__attribute__((unused)) static int our_turn(struct amb_tls *t, struct wire *in, struct wire *out,
					    size_t step)
{
	int ret = 0;

	do {
		size_t n = AMB_MIN(in->w - in->r, step), used;

		ret = amb_tls_handshake(t, in->b + in->r, n, &used, wire_put, out);
		CHECK(used <= n);
		in->r += used;
		/* All is taken until it is over. */
		CHECK(ret || used == n);
	} while (!ret && in->r < in->w);
	return ret;
}

__attribute__((unused)) static bool says(const struct amb_tls *t, const char *part)
{
	const char *text = NULL;

	amb_tls_error(t, &text);
	if (text && part && strstr(text, part))
		return true;
	printf("# error is: %s\n", text ? text : "(none)");
	return false;
}

/* Both ours; returns whether both are done. */
__attribute__((unused)) static bool both(struct amb_tls *c, struct amb_tls *s, size_t step)
{
	int rc = 0, rs = 0, i;

	wires_clear();
	for (i = 0; i < 8; i++) {
		if (!rc)
			rc = our_turn(c, &to_client, &to_server, step);
		if (!rs)
			rs = our_turn(s, &to_server, &to_client, step);
	}
	return rc == 1 && rs == 1;
}

struct joined {
	struct amb_record *ctx, *crx, *stx, *srx;
	struct amb_tls_peer c, s;
};

__attribute__((unused)) static void join(struct amb_tls *c, struct amb_tls *s, struct joined *j)
{
	CHECK_EQ(amb_tls_finish(c, &j->ctx, &j->crx, &j->c), 0);
	CHECK_EQ(amb_tls_finish(s, &j->stx, &j->srx, &j->s), 0);
}

__attribute__((unused)) static void part(struct joined *j)
{
	amb_record_destroy(j->ctx);
	amb_record_destroy(j->crx);
	amb_record_destroy(j->stx);
	amb_record_destroy(j->srx);
	amb_identity_put(j->c.identity);
	amb_identity_put(j->s.identity);
	amb_tls_certs_destroy(j->c.certs);
	amb_tls_certs_destroy(j->s.certs);
}

__attribute__((unused)) static void pass(struct amb_record *tx, struct amb_record *rx)
{
	uint8_t rec[64];
	enum amb_record_type type;
	int n;

	memcpy(rec + AMB_RECORD_HEAD, "hello", 5);
	n = amb_record_seal(tx, rec, 5, AMB_RECORD_DATA);
	CHECK(n > 0);
	CHECK_EQ(amb_record_open(rx, rec, n, &type), 5);
	CHECK(!memcmp(rec + AMB_RECORD_HEAD, "hello", 5));
}

#endif
