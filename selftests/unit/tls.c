// SPDX-License-Identifier: GPL-2.0-or-later
/* Handshakes of our two sides with each other, in memory; messages behind the handshake. */
#include "tlsside.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/memory.h>

/* Chains of our own two sides: server NAME under roots, what the client says (NULL: fine). */
static const struct {
	const char *server, *server_roots, *client_roots, *expect, *client_error;
} chains[] = {
	{ "b", "root", "root", "b", NULL },
	{ "b", "root", "root", "a b c", NULL },
	{ "b", "root", "bundle", "b", NULL },
	{ "b", "root", "root", "a",
	  "peer is spiffe://cluster.local/ns/n/sa/b, expected "
	  "spiffe://cluster.local/ns/n/sa/a" },
	{ "b", "root", "root", "", "expected nobody" },
	{ "b", "root", "other", "b", "not signed by our roots (issuer /O=test/CN=root)" },
	{ "b384", "root", "root384", "b", NULL },
	{ "brsa", "root", "rootrsa", "b", NULL },
	{ "bmid", "root", "root", "b", NULL },
	{ "bdeep", "root", "root", "b", NULL },
	{ "bmixed", "root", "root", "b", NULL },
	{ "bgap", "root", "root", "b", "not signed by our roots" },
	{ "bnomid", "root", "root", "b", "not signed by our roots (issuer /O=test/CN=mid)" },
	{ "bpathlen", "root", "root", "b", "not signed by our roots" },
	{ "bnotca", "root", "root", "b", "an intermediate certificate of the peer" },
	{ "bnamed", "root", "root", "b", NULL },
	{ "bnamed-other", "root", "root", "b", "outside its CA's name constraints" },
	{ "bclientonly", "root", "root", "b", "not for a TLS server" },
	{ "bserveronly", "root", "root", "b", NULL },
	{ "bnoeku", "root", "root", "b", NULL },
	{ "bnosign", "root", "root", "b", "may not sign" },
	{ "bca", "root", "root", "b", "is a CA's" },
	{ "bfake", "root", "root", "b", "not signed by our roots" },
	{ "bself", "root", "root", "b", "not signed by our roots" },
	{ "bothroot", "root", "root", "b", "not signed by our roots (issuer /O=test/CN=other)" },
};

TEST(chains_of_servers)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(chains); i++) {
		struct amb_cred *a = cred_of("a", "a", chains[i].client_roots);
		struct amb_cred *b = cred_of(chains[i].server, "b", chains[i].server_roots);
		struct amb_tls *c = our_client(a, chains[i].expect), *s = amb_tls_server(b);
		bool ok = both(c, s, 4096);

		CASE(chains[i].server);
		CHECK_EQ(ok, !chains[i].client_error);
		if (!ok)
			CHECK(says(c, chains[i].client_error));
		if (ok) {
			struct joined j;

			join(c, s, &j);
			CHECK_STR(j.c.identity->spiffe, "spiffe://cluster.local/ns/n/sa/b");
			CHECK_STR(j.s.identity->spiffe, "spiffe://cluster.local/ns/n/sa/a");
			CHECK_EQ(j.c.suite, 0x1301);
			CHECK_EQ(j.c.group, 29);
			CHECK_EQ(j.s.group, 29);
			pass(j.ctx, j.srx);
			pass(j.stx, j.crx);
			part(&j);
		}
		amb_tls_destroy(c);
		amb_tls_destroy(s);
		amb_cred_put(a);
		amb_cred_put(b);
	}
}

/* The same for clients, and what our server thinks of each. */
static const struct {
	const char *client, *sa, *server_error;
} clients[] = {
	{ "a", "a", NULL },
	{ "bdeep", "b", NULL },
	{ "brsa", "b", "not signed by our roots" },
	{ "bserveronly", "b", "not for a TLS client" },
	{ "bclientonly", "b", NULL },
	{ "bnoeku", "b", NULL },
	{ "bnomid", "b", "not signed by our roots" },
	{ "bfake", "b", "not signed by our roots" },
};

TEST(chains_of_clients)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(clients); i++) {
		struct amb_cred *a = cred_of(clients[i].client, clients[i].sa, "root");
		struct amb_cred *b = cred_of("b", "b", "root");
		struct amb_tls *c = our_client(a, "b"), *s = amb_tls_server(b);

		CASE(clients[i].client);
		CHECK_EQ(both(c, s, 4096), !clients[i].server_error);
		if (clients[i].server_error)
			CHECK(says(s, clients[i].server_error));
		amb_tls_destroy(c);
		amb_tls_destroy(s);
		amb_cred_put(a);
		amb_cred_put(b);
	}
}

static void load_lists(const char *name)
{
	struct pki_file f = pki_read(name, "crl");
	char err[128] = "";
	size_t n;

	CHECK_EQ(amb_crl_load(f.text, f.len, &n, err, sizeof(err)), 0);
	free(f.text);
}

/* A handshake of client @a with server @b, and what the client says (NULL: fine). */
static void revoked_server(const char *b, const char *error)
{
	struct amb_cred *ca = cred_of("a", "a", "root"), *cb = cred_of(b, "b", "root");
	struct amb_tls *c = our_client(ca, "b"), *s = amb_tls_server(cb);

	CASE(b);
	CHECK_EQ(both(c, s, 4096), !error);
	if (error) {
		CHECK(says(c, error));
		CHECK_EQ(amb_tls_error(c, NULL), AMB_REASON_CERT_REVOKED);
	}
	amb_tls_destroy(c);
	amb_tls_destroy(s);
	amb_cred_put(ca);
	amb_cred_put(cb);
}

TEST(revoked_peers)
{
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("bmid", "b", "root");
	struct amb_tls *c, *s;
	struct joined j;

	load_lists("none");
	c = our_client(a, "b");
	s = amb_tls_server(b);
	CHECK(both(c, s, 4096));
	join(c, s, &j);
	CASE("lists that name neither, now and then");
	CHECK(!amb_tls_revoked(&j.c) && !amb_tls_revoked(&j.s));
	load_lists("one");
	CHECK(!amb_tls_revoked(&j.c) && !amb_tls_revoked(&j.s));
	revoked_server("b", "certificate of the peer was revoked");
	revoked_server("bmid", NULL);
	CASE("while it lives");
	load_lists("some");
	CHECK_STR(amb_tls_revoked(&j.c), "an intermediate certificate of the peer was revoked");
	CHECK_STR(amb_tls_revoked(&j.s), "certificate of the peer was revoked");
	CASE("said once for each change");
	CHECK(!amb_tls_revoked(&j.c));
	amb_tls_destroy(c);
	amb_tls_destroy(s);
	c = our_client(b, "b");
	s = amb_tls_server(b);
	CHECK(!both(c, s, 4096));
	CHECK(says(c, "an intermediate certificate of the peer was revoked"));
	CASE("without lists");
	amb_crl_unload();
	revoked_server("bmid", NULL);
	part(&j);
	CASE("by nobody whose key it is not");
	load_lists("forged");
	revoked_server("b", NULL);
	load_lists("forgedid");
	revoked_server("b", NULL);
	revoked_server("bmid", NULL);
	amb_crl_unload();
	amb_tls_destroy(c);
	amb_tls_destroy(s);
	amb_cred_put(a);
	amb_cred_put(b);
}

/* It was, but shows another key of its issuer's name, so that no list seems to be the issuer's. */
TEST(a_revoked_peer_hides_its_issuer)
{
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("b224", "b", "root");
	struct amb_tls *c, *s = amb_tls_server(b);

	CASE("good without lists");
	revoked_server("b224", NULL);
	CASE("named by one");
	load_lists("b224");
	c = our_client(a, "b");
	CHECK(!both(c, s, 4096));
	CHECK(says(c, "certificate of the peer cannot be looked up in revocation lists"));
	amb_crl_unload();
	amb_tls_destroy(c);
	amb_tls_destroy(s);
	amb_cred_put(a);
	amb_cred_put(b);
}

/* Whoever came before there were lists is known to none of them. */
TEST(peers_from_before_there_were_lists)
{
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("b", "b", "root");
	struct amb_tls *c = our_client(a, "b"), *s = amb_tls_server(b);
	struct joined j;

	CHECK(both(c, s, 4096));
	join(c, s, &j);
	CHECK(!amb_tls_revoked(&j.c) && !amb_tls_revoked(&j.s));
	load_lists("none");
	CHECK_STR(amb_tls_revoked(&j.c), "certificate of the peer is not known any more");
	amb_crl_unload();
	part(&j);
	amb_tls_destroy(c);
	amb_tls_destroy(s);
	amb_cred_put(a);
	amb_cred_put(b);
}

static const struct {
	const char *what, *bytes;
	size_t n;
	const char *error;
} garbage[] = {
	{ "HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, "does not speak TLS" },
	{ "HTTP/1", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, "does not speak TLS" },
	{ "zeros", "\0\0\0\0\0\0\0\0\0\0", 10, "" },
	{ "alert", "\x15\x03\x03\x00\x02\x02\x28", 7, "alert \"handshake failure\" (40)" },
	{ "empty handshake record", "\x16\x03\x01\x00\x00", 5, "" },
	{ "endless message", "\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9, "" },
};

TEST(garbage_instead_of_a_hello)
{
	struct amb_cred *b = cred_of("b", "b", "root");
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(garbage); i++) {
		struct amb_tls *s = amb_tls_server(b);
		size_t used;

		CASE(garbage[i].what);
		wires_clear();
		CHECK(amb_tls_handshake(s, (const uint8_t *)garbage[i].bytes, garbage[i].n, &used,
					wire_put, &to_client) < 0);
		CHECK(says(s, garbage[i].error));
		CHECK_EQ(amb_tls_error(s, NULL), AMB_REASON_TLS);
		/* It stays failed. */
		CHECK(amb_tls_handshake(s, NULL, 0, &used, wire_put, &to_client) < 0);
		amb_tls_destroy(s);
	}
	amb_cred_put(b);
}

TEST(endless_records_are_bounded)
{
	static const uint8_t ccs[] = { 0x14, 3, 3, 0, 1, 1 };
	struct amb_cred *a = cred_of("a", "a", "root");
	struct amb_tls *c = our_client(a, "b");
	size_t used, total = 0;
	int ret = 0;

	wires_clear();
	CHECK_EQ(amb_tls_handshake(c, NULL, 0, &used, wire_put, &to_server), 0);
	while (!ret && total < 4 * AMB_TLS_INPUT_MAX) {
		ret = amb_tls_handshake(c, ccs, sizeof(ccs), &used, wire_put, &to_server);
		total += used;
	}
	CHECK(ret < 0);
	CHECK(total <= AMB_TLS_INPUT_MAX + sizeof(ccs));
	amb_tls_destroy(c);
	amb_cred_put(a);
}

TEST(output_that_fails)
{
	struct amb_cred *a = cred_of("a", "a", "root");
	struct amb_tls *c = our_client(a, "b");
	size_t used;

	wires_clear();
	to_server.w = sizeof(to_server.b);
	CHECK_EQ(amb_tls_handshake(c, NULL, 0, &used, wire_put, &to_server), -ENOSPC);
	CHECK(says(c, "cannot send: No space left"));
	amb_tls_destroy(c);
	amb_cred_put(a);
}

/* Any split of the bytes, and bytes behind the handshake are left alone. */
TEST(byte_by_byte)
{
	static const size_t steps[] = { 1, 2, 3, 5, 7, 64 };
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("bdeep", "b", "root");
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(steps); i++) {
		struct amb_tls *c = our_client(a, "b"), *s = amb_tls_server(b);
		struct joined j;

		CHECK(both(c, s, steps[i]));
		join(c, s, &j);
		pass(j.ctx, j.srx);
		part(&j);
		amb_tls_destroy(c);
		amb_tls_destroy(s);
	}
	amb_cred_put(a);
	amb_cred_put(b);
}

/* The client's last flight and its first records arrive together. */
TEST(records_behind_the_handshake_are_left)
{
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("b", "b", "root");
	struct amb_tls *c = our_client(a, "b"), *s = amb_tls_server(b);
	uint8_t rec[64];
	enum amb_record_type type;
	struct joined j;
	int n;

	wires_clear();
	CHECK_EQ(our_turn(c, &to_client, &to_server, 65536), 0);
	CHECK_EQ(our_turn(s, &to_server, &to_client, 65536), 0);
	CHECK_EQ(our_turn(c, &to_client, &to_server, 65536), 1);
	CHECK_EQ(amb_tls_finish(c, &j.ctx, &j.crx, &j.c), 0);
	memcpy(rec + AMB_RECORD_HEAD, "early", 5);
	n = amb_record_seal(j.ctx, rec, 5, AMB_RECORD_DATA);
	CHECK_EQ(wire_put(&to_server, rec, n), 0);
	CHECK_EQ(our_turn(s, &to_server, &to_client, 65536), 1);
	CHECK_EQ(to_server.w - to_server.r, n);
	CHECK_EQ(amb_tls_finish(s, &j.stx, &j.srx, &j.s), 0);
	CHECK_EQ(amb_record_open(j.srx, to_server.b + to_server.r, n, &type), 5);
	part(&j);
	amb_tls_destroy(c);
	amb_tls_destroy(s);
	amb_cred_put(a);
	amb_cred_put(b);
}

/* Whatever byte of a flight is changed: an error or waiting, never success, never a crash. */
TEST(changed_bytes_never_pass)
{
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("b", "b", "root");
	size_t at, stride;
	int flight;

	for (flight = 0; flight < 3; flight++) {
		size_t len = 1;

		for (at = 0, stride = 1; at < len; at += stride) {
			struct amb_tls *c = our_client(a, "b"), *s = amb_tls_server(b);
			struct wire *w = flight == 1 ? &to_client : &to_server;
			int rc, rs;

			wires_clear();
			our_turn(c, &to_client, &to_server, 65536);
			if (flight > 0)
				our_turn(s, &to_server, &to_client, 65536);
			if (flight > 1)
				our_turn(c, &to_client, &to_server, 65536);
			len = w->w - w->r;
			stride = len / 60 + 1;
			/* Signatures differ in length from run to run. */
			if (at < len)
				w->b[w->r + at] ^= 0x20;
			rc = our_turn(c, &to_client, &to_server, 65536);
			rs = our_turn(s, &to_server, &to_client, 65536);
			if (flight < 2)
				rc = our_turn(c, &to_client, &to_server, 65536);
			rs = our_turn(s, &to_server, &to_client, 65536);
			/* The legacy version of a record's head is not protected before keys. */
			if (at < len && ((rc == 1 && flight < 2) || rs == 1))
				CHECK(flight < 2 && at < 5);
			amb_tls_destroy(c);
			amb_tls_destroy(s);
		}
	}
	amb_cred_put(a);
	amb_cred_put(b);
}

/* Dates, with our own certificates. */
static const struct {
	const char *what;
	int64_t from, to; /* from now */
	const char *error;
} dates[] = {
	{ "valid", -100, 100, NULL },
	{ "expired", -1000, -10, "certificate of the peer expired at 20" },
	{ "not yet valid", 500, 1000, "certificate of the peer is not valid before 20" },
};

TEST(validity)
{
	int64_t now = time(NULL);
	struct pki_own own = { 0 };
	struct amb_identity *id = amb_identity_intern("cluster.local", "n", "b");
	char err[256];
	struct amb_trust *trust;
	size_t i;

	pki_own_root(&own, now - 5000, now + 5000);
	trust = amb_trust_create(own.root_pem, err, sizeof(err));
	CHECK(trust);
	for (i = 0; i < AMB_ARRAY_SIZE(dates); i++) {
		uint8_t key[AMB_X509_KEY_DER_MAX];
		size_t keylen;
		struct pki_file chain = pki_own_leaf(&own, id->spiffe, now + dates[i].from,
						     now + dates[i].to, key, &keylen);
		struct amb_cred *b =
			amb_cred_create(id, key, keylen, chain.text, trust, err, sizeof(err));
		struct amb_tls *c, *s;

		CASE(dates[i].what);
		CHECK(b);
		CHECK_EQ(amb_cred_not_after(b), now + dates[i].to);
		c = our_client(b, "b");
		s = amb_tls_server(b);
		CHECK_EQ(both(c, s, 4096), !dates[i].error);
		if (dates[i].error) {
			CHECK(says(c, dates[i].error));
			CHECK_EQ(amb_tls_error(c, NULL), AMB_REASON_CERT_EXPIRED);
		}
		amb_tls_destroy(c);
		amb_tls_destroy(s);
		amb_cred_put(b);
		free(chain.text);
	}
	amb_trust_put(trust);
	amb_identity_put(id);
	pki_own_free(&own);
}

TEST(expired_roots_do_not_count)
{
	int64_t now = time(NULL);
	struct pki_own own = { 0 };
	struct amb_identity *id = amb_identity_intern("cluster.local", "n", "b");
	uint8_t key[AMB_X509_KEY_DER_MAX];
	size_t keylen;
	struct pki_file chain;
	struct amb_trust *trust;
	struct amb_cred *b;
	struct amb_tls *c, *s;
	char err[256];

	pki_own_root(&own, now - 5000, now - 5);
	trust = amb_trust_create(own.root_pem, err, sizeof(err));
	CHECK(trust);
	chain = pki_own_leaf(&own, id->spiffe, now - 100, now + 100, key, &keylen);
	b = amb_cred_create(id, key, keylen, chain.text, trust, err, sizeof(err));
	CHECK(b);
	c = our_client(b, "b");
	s = amb_tls_server(b);
	CHECK(!both(c, s, 4096));
	CHECK(says(c, "not signed by our roots"));
	amb_tls_destroy(c);
	amb_tls_destroy(s);
	amb_cred_put(b);
	amb_trust_put(trust);
	amb_identity_put(id);
	free(chain.text);
	pki_own_free(&own);
}

/* The second handshake of two peers takes both chains from the cache; other roots do not. */
TEST(cache_of_chains)
{
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("bmid", "b", "root");
	struct amb_cred *narrow = cred_of("a", "a", "other");
	uint64_t hit[3], full[3];
	int i;

	amb_trust_flush();
	for (i = 0; i < 3; i++) {
		struct amb_tls *c = our_client(a, "b"), *s = amb_tls_server(b);

		amb_trust_stats(&hit[i], &full[i]);
		CHECK(both(c, s, 4096));
		amb_tls_destroy(c);
		amb_tls_destroy(s);
	}
	CHECK_EQ(full[1] - full[0], 2);
	CHECK_EQ(full[2] - full[1], 0);
	CHECK_EQ(hit[2] - hit[1], 2);
	for (i = 0; i < 2; i++) {
		struct amb_tls *c = our_client(narrow, "b"), *s = amb_tls_server(b);

		CHECK(!both(c, s, 4096));
		CHECK(says(c, "not signed by our roots"));
		amb_tls_destroy(c);
		amb_tls_destroy(s);
	}
	amb_cred_put(a);
	amb_cred_put(b);
	amb_cred_put(narrow);
}

/* Memory that runs out at any moment of a handshake. */

static long allocations_left = -1;

static bool exhausted(void)
{
	return allocations_left >= 0 && allocations_left-- == 0;
}

static void *sparse_malloc(size_t n)
{
	if (!exhausted())
		return malloc(n);
	allocations_left = 0;
	return NULL;
}

static void *sparse_realloc(void *p, size_t n)
{
	if (!exhausted())
		return realloc(p, n);
	allocations_left = 0;
	return NULL;
}

TEST(memory_runs_out)
{
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("bmid", "b", "root");
	bool done = false;
	long at;

	CHECK(amb_cred_context(a, false) && amb_cred_context(b, true));
	CHECK_EQ(wolfSSL_SetAllocators(sparse_malloc, free, sparse_realloc), 0);
	for (at = 0; !done && at < 5000; at++) {
		struct amb_identset set = { 0 };
		struct amb_tls *c, *s;

		amb_trust_flush();
		expect_set(&set, "b");
		allocations_left = at;
		c = amb_tls_client(a, &set);
		s = c ? amb_tls_server(b) : NULL;
		done = c && s && both(c, s, 4096);
		/* Through only when nothing was refused. */
		if (allocations_left == 0 && done)
			done = false;
		allocations_left = -1;
		amb_tls_destroy(c);
		amb_tls_destroy(s);
		amb_identset_clear(&set);
	}
	CHECK_EQ(wolfSSL_SetAllocators(malloc, free, realloc), 0);
	CHECK(done);
	CHECK(at > 50);
	amb_cred_put(a);
	amb_cred_put(b);
}

/* Messages behind the handshake */

static const struct {
	const char *what;
	bool server;
	const char *bytes;
	size_t n;
	int want;
} posts[] = {
	{ "ticket", false, "\4\0\0\3abc", 7, AMB_TLS_POST_NONE },
	{ "two tickets", false, "\4\0\0\3abc\4\0\0\1x", 12, AMB_TLS_POST_NONE },
	{ "ticket for a server", true, "\4\0\0\3abc", 7, -EBADMSG },
	{ "empty ticket", false, "\4\0\0\0", 4, -EBADMSG },
	{ "huge ticket", false, "\4\1\0\1", 4, -EDQUOT },
	{ "update", false, "\x18\0\0\1\0", 5, AMB_TLS_POST_UPDATE },
	{ "update for a server", true, "\x18\0\0\1\0", 5, AMB_TLS_POST_UPDATE },
	{ "update with request", true, "\x18\0\0\1\1", 5, AMB_TLS_POST_UPDATE_REQUESTED },
	{ "update with nonsense", true, "\x18\0\0\1\2", 5, -EBADMSG },
	{ "long update", true, "\x18\0\0\2\0\0", 6, -EBADMSG },
	{ "empty update", true, "\x18\0\0\0", 4, -EBADMSG },
	{ "update in front of a ticket", false, "\x18\0\0\1\0\4\0\0\1x", 10, -EBADMSG },
	{ "ticket in front of an update", false, "\4\0\0\1x\x18\0\0\1\0", 10, AMB_TLS_POST_UPDATE },
	{ "client hello", true, "\1\0\0\1x", 5, -EBADMSG },
	{ "certificate request", false, "\x0d\0\0\1x", 5, -EBADMSG },
	{ "certificate", true, "\x0b\0\0\1x", 5, -EBADMSG },
	{ "finished", true, "\x14\0\0\1x", 5, -EBADMSG },
};

TEST(messages_after_the_handshake)
{
	size_t i, split;

	for (i = 0; i < AMB_ARRAY_SIZE(posts); i++) {
		CASE(posts[i].what);
		for (split = 0; split < posts[i].n; split++) {
			struct amb_tls_post p = { 0 };
			const uint8_t *b = (const uint8_t *)posts[i].bytes;
			int ret = amb_tls_post_handshake(&p, posts[i].server, b, split);

			/* Split behind an update, the rest would be another record. */
			if (ret == AMB_TLS_POST_NONE)
				ret = amb_tls_post_handshake(&p, posts[i].server, b + split,
							     posts[i].n - split);
			if (posts[i].want == -EBADMSG && ret == AMB_TLS_POST_UPDATE)
				continue;
			CHECK_EQ(ret, posts[i].want);
		}
	}
}

TEST(messages_after_the_handshake_are_bounded)
{
	struct amb_tls_post p = { 0 };
	uint8_t update[AMB_TLS_KEY_UPDATE_LEN];
	int i, ret = 0;

	for (i = 0; i <= AMB_TLS_TICKETS_MAX && ret == 0; i++)
		ret = amb_tls_post_handshake(&p, false, (const uint8_t *)"\4\0\0\1x", 5);
	CHECK_EQ(ret, -EDQUOT);
	CHECK_EQ(i, AMB_TLS_TICKETS_MAX + 1);
	p = (struct amb_tls_post){ 0 };
	amb_tls_key_update(update, true);
	for (i = 0, ret = AMB_TLS_POST_UPDATE_REQUESTED;
	     i <= AMB_TLS_UPDATES_MAX && ret == AMB_TLS_POST_UPDATE_REQUESTED; i++)
		ret = amb_tls_post_handshake(&p, true, update, sizeof(update));
	CHECK_EQ(ret, -EDQUOT);
	CHECK_EQ(i, AMB_TLS_UPDATES_MAX + 1);
}

int main(void)
{
	int ret;

	if (amb_tls_init())
		return 1;
	ret = harness_run();
	amb_tls_uninit();
	return ret;
}
