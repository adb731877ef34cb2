// SPDX-License-Identifier: GPL-2.0-or-later
/* The credential store: installs, waiters, rotation, forgetting, roots, threads. */
#include "pki.h"
#include "spin.h"

#include "proxy/cred.h"
#include "proxy/creds.h"
#include "proxy/tls.h"
#include "proxy/trust.h"

#include <pthread.h>
#include <stdatomic.h>

static struct amb_loop *loop;
static struct pki_own own;
static atomic_int requests;
static atomic_int last_priority;

static void request(void *ctx, struct amb_identity *id, enum amb_creds_priority priority)
{
	(void)ctx;
	(void)id;
	last_priority = priority;
	atomic_fetch_add(&requests, 1);
}

static struct amb_identity *ident(const char *sa)
{
	struct amb_identity *id = amb_identity_intern("cluster.local", "n", sa);

	CHECK(id);
	return id;
}

static int install_until(struct amb_creds *creds, struct amb_identity *id, int64_t until, char *err)
{
	uint8_t key[AMB_X509_KEY_DER_MAX];
	size_t keylen;
	struct pki_file chain =
		pki_own_leaf(&own, id->spiffe, time(NULL) - 1000, until, key, &keylen);
	int ret = amb_creds_install(creds, id, key, keylen, chain.text, own.root_pem, err, 256);

	free(chain.text);
	return ret;
}

static int install(struct amb_creds *creds, struct amb_identity *id)
{
	char err[256];

	return install_until(creds, id, time(NULL) + 1000, err);
}

/* A waiter that remembers what it was told. */
struct told {
	struct amb_creds_waiter w;
	int calls;
	struct amb_cred *cred;
	char error[AMB_CREDS_ERROR_LEN];
};

static struct told told;

static void tell(struct amb_creds_waiter *w, struct amb_cred *cred, const char *error)
{
	struct told *t = AMB_CONTAINER_OF(w, struct told, w);

	t->calls++;
	t->cred = cred;
	snprintf(t->error, sizeof(t->error), "%s", error ? error : "");
}

static void told_reset(void)
{
	amb_cred_put(told.cred);
	told = (struct told){ .w.fn = tell };
}

static bool was_told(void)
{
	return told.calls > 0;
}

TEST(install_and_rotate)
{
	struct amb_creds *creds = amb_creds_create(request, NULL);
	struct amb_identity *id = ident("a");
	struct amb_cred *first, *second;

	CHECK(!amb_creds_get(creds, id));
	CHECK_EQ(install(creds, id), 0);
	first = amb_creds_get(creds, id);
	CHECK(first);
	CHECK(amb_cred_identity(first) == id);
	CHECK(!amb_cred_retired(first));
	CHECK(amb_cred_not_after(first) >= time(NULL) + 900);
	CHECK_EQ(install(creds, id), 0);
	CHECK(amb_cred_retired(first));
	second = amb_creds_get(creds, id);
	CHECK(second != first && !amb_cred_retired(second));
	amb_creds_forget(creds, id);
	CHECK(amb_cred_retired(second));
	CHECK(!amb_creds_get(creds, id));
	amb_creds_forget(creds, id);
	amb_cred_put(first);
	amb_cred_put(second);
	amb_identity_put(id);
	amb_creds_destroy(creds);
}

TEST(refused_certificates)
{
	struct amb_creds *creds = amb_creds_create(request, NULL);
	struct amb_identity *id = ident("a"), *other = ident("b");
	uint8_t key[AMB_X509_KEY_DER_MAX], key2[AMB_X509_KEY_DER_MAX];
	size_t keylen, key2len;
	int64_t now = time(NULL);
	struct pki_file chain = pki_own_leaf(&own, id->spiffe, now - 9, now + 99, key, &keylen);
	struct pki_file chain2 = pki_own_leaf(&own, id->spiffe, now - 9, now + 99, key2, &key2len);
	const struct {
		const char *what;
		struct amb_identity *id;
		uint8_t *key;
		size_t keylen;
		const char *chain, *roots, *text;
	} rows[] = {
		{ "another's key", id, key2, key2len, chain.text, own.root_pem,
		  "does not belong to the certificate" },
		{ "no key", id, key, 0, chain.text, own.root_pem, "private key is empty" },
		{ "half a key", id, key, keylen / 2, chain.text, own.root_pem, "not usable" },
		{ "another's certificate", other, key, keylen, chain.text, own.root_pem,
		  "certificate is for \"spiffe://cluster.local/ns/n/sa/a\", not for "
		  "spiffe://cluster.local/ns/n/sa/b" },
		{ "a root's certificate", id, key, keylen, own.root_pem, own.root_pem, "not for" },
		{ "no chain", id, key, keylen, "", own.root_pem, "no certificate" },
		{ "no roots", id, key, keylen, chain.text, "", "no certificate in the text" },
		{ "a leaf as root", id, key, keylen, chain.text, chain2.text, "is not a CA" },
		{ "broken roots", id, key, keylen, chain.text,
		  "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
		  "root certificates: Bad message" },
	};
	size_t i;
	char err[256];

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		err[0] = 0;
		CHECK_EQ(amb_creds_install(creds, rows[i].id, rows[i].key, rows[i].keylen,
					   rows[i].chain, rows[i].roots, err, sizeof(err)),
			 -EINVAL);
		if (!strstr(err, rows[i].text))
			printf("# error is: %s\n", err);
		CHECK(strstr(err, rows[i].text));
		CHECK(!amb_creds_get(creds, rows[i].id));
	}
	CASE("");
	CHECK_EQ(install_until(creds, id, now - 5, err), -EINVAL);
	CHECK(strstr(err, "has expired already"));
	free(chain.text);
	free(chain2.text);
	amb_identity_put(id);
	amb_identity_put(other);
	amb_creds_destroy(creds);
}

TEST(waiting)
{
	struct amb_creds *creds = amb_creds_create(request, NULL);
	struct amb_identity *id = ident("a");
	struct amb_cred *cred;
	int before = requests;

	told_reset();
	CHECK(!amb_creds_wait(creds, id, loop, &told.w));
	CHECK_EQ(errno, EAGAIN);
	CHECK_EQ(requests, before + 1);
	CHECK_EQ(last_priority, AMB_CREDS_REALTIME);
	CHECK_EQ(told.calls, 0);
	CHECK_EQ(install(creds, id), 0);
	/* Never from within. */
	CHECK_EQ(told.calls, 0);
	CHECK(spin(loop, was_told));
	CHECK_EQ(told.calls, 1);
	CHECK(told.cred && amb_cred_identity(told.cred) == id);
	CHECK_STR(told.error, "");
	told_reset();
	cred = amb_creds_wait(creds, id, loop, &told.w);
	CHECK(cred);
	amb_cred_put(cred);
	amb_creds_cancel(creds, &told.w);
	amb_identity_put(id);
	amb_creds_destroy(creds);
}

TEST(failing)
{
	struct amb_creds *creds = amb_creds_create(request, NULL);
	struct amb_identity *id = ident("a");
	struct amb_cred *cred;

	told_reset();
	CHECK(!amb_creds_wait(creds, id, loop, &told.w));
	amb_creds_fail(creds, id, "the CA is away");
	CHECK(spin(loop, was_told));
	CHECK(!told.cred);
	CHECK_STR(told.error, "the CA is away");
	told_reset();
	CHECK(!amb_creds_wait(creds, id, loop, &told.w));
	CHECK_EQ(errno, EKEYREJECTED);
	CHECK_STR(told.w.error, "the CA is away");
	CHECK_EQ(install(creds, id), 0);
	cred = amb_creds_wait(creds, id, loop, &told.w);
	CHECK(cred);
	amb_cred_put(cred);
	/* A renewal that fails does not take the valid one away. */
	amb_creds_fail(creds, id, "away again");
	cred = amb_creds_get(creds, id);
	CHECK(cred && !amb_cred_retired(cred));
	amb_cred_put(cred);
	amb_identity_put(id);
	amb_creds_destroy(creds);
}

TEST(cancelling)
{
	struct amb_creds *creds = amb_creds_create(request, NULL);
	struct amb_identity *id = ident("a"), *gone = ident("gone");

	/* before the answer */
	told_reset();
	CHECK(!amb_creds_wait(creds, id, loop, &told.w));
	amb_creds_cancel(creds, &told.w);
	amb_creds_cancel(creds, &told.w);
	CHECK_EQ(install(creds, id), 0);
	/* between the answer and its delivery; the identity is forgotten meanwhile */
	CHECK(!amb_creds_wait(creds, gone, loop, &told.w));
	CHECK_EQ(errno, EAGAIN);
	CHECK_EQ(install(creds, gone), 0);
	amb_creds_forget(creds, gone);
	amb_identity_put(gone);
	amb_creds_cancel(creds, &told.w);
	CHECK(!spin_for(loop, was_told, 60000000));
	CHECK_EQ(told.calls, 0);
	amb_identity_put(id);
	amb_creds_destroy(creds);
}

TEST(forgetting_tells_waiters)
{
	struct amb_creds *creds = amb_creds_create(request, NULL);
	struct amb_identity *id = ident("a");

	told_reset();
	CHECK(!amb_creds_wait(creds, id, loop, &told.w));
	amb_creds_forget(creds, id);
	CHECK(spin(loop, was_told));
	CHECK(!told.cred);
	CHECK(strstr(told.error, "no workload of this node"));
	amb_identity_put(id);
	amb_creds_destroy(creds);
}

static struct amb_creds *the_creds;
static struct amb_identity *the_id;

static bool is_gone(void)
{
	struct amb_cred *c = amb_creds_get(the_creds, the_id);

	amb_cred_put(c);
	return !c;
}

TEST(expired_ones_are_not_used)
{
	char err[256];

	the_creds = amb_creds_create(request, NULL);
	the_id = ident("short");
	CHECK_EQ(install_until(the_creds, the_id, time(NULL) + 1, err), 0);
	CHECK(spin(loop, is_gone));
	told_reset();
	CHECK(!amb_creds_wait(the_creds, the_id, loop, &told.w));
	CHECK_EQ(errno, EAGAIN);
	amb_creds_cancel(the_creds, &told.w);
	amb_creds_destroy(the_creds);
	amb_identity_put(the_id);
}

TEST(roots_change)
{
	struct amb_creds *creds = amb_creds_create(request, NULL);
	struct amb_identity *id = ident("a");
	struct pki_file other = pki_read("other", "crt");
	struct amb_cred *before, *after;

	CHECK_EQ(install(creds, id), 0);
	before = amb_creds_get(creds, id);
	CHECK_EQ(amb_creds_set_roots(creds, own.root_pem), 0);
	CHECK(!amb_cred_retired(before));
	CHECK_EQ(amb_creds_set_roots(creds, "nonsense"), -EINVAL);
	CHECK_EQ(amb_creds_set_roots(creds, other.text), 0);
	after = amb_creds_get(creds, id);
	CHECK(after && after != before);
	CHECK(amb_cred_retired(before) && !amb_cred_retired(after));
	CHECK_STR(amb_trust_pem(amb_cred_trust(after)), other.text);
	CHECK_STR(amb_trust_pem(amb_cred_trust(before)), own.root_pem);
	CHECK_STR(amb_cred_chain(after), amb_cred_chain(before));
	CHECK(amb_cred_context(after, true) && amb_cred_context(after, false));
	amb_cred_put(before);
	amb_cred_put(after);
	free(other.text);
	amb_identity_put(id);
	amb_creds_destroy(creds);
}

static char seen[1024];

static bool see(void *ctx, const struct amb_cred_info *i)
{
	size_t at = strlen(seen);

	(void)ctx;
	snprintf(seen + at, sizeof(seen) - at, "%s=%s%s;", i->id->sa, i->state,
		 i->chain_pem && i->roots_pem ? "+" : "");
	return true;
}

TEST(listing)
{
	struct amb_creds *creds = amb_creds_create(request, NULL);
	struct amb_identity *a = ident("a"), *b = ident("b"), *c = ident("c");

	CHECK_EQ(install(creds, a), 0);
	amb_creds_fail(creds, b, "why");
	told_reset();
	CHECK(!amb_creds_wait(creds, c, loop, &told.w));
	seen[0] = 0;
	amb_creds_each(creds, see, NULL);
	CHECK(strstr(seen, "a=Available+;"));
	CHECK(strstr(seen, "b=Unavailable: why;"));
	CHECK(strstr(seen, "c=Initializing;"));
	amb_creds_cancel(creds, &told.w);
	amb_identity_put(a);
	amb_identity_put(b);
	amb_identity_put(c);
	amb_creds_destroy(creds);
}

/* Readers, waiters and a rotating writer; the sanitizers watch. */

#define READERS 3
#define ROUNDS 300
#define IDS 150

static atomic_bool stop;

struct reader {
	struct amb_loop *loop;
	struct amb_creds_waiter w;
	struct amb_identity *ids[IDS];
	int got, waited, at;
};

static void reader_told(struct amb_creds_waiter *w, struct amb_cred *cred, const char *error)
{
	struct reader *r = AMB_CONTAINER_OF(w, struct reader, w);

	(void)error;
	r->waited++;
	amb_cred_put(cred);
	amb_loop_stop(r->loop);
}

static void *reader(void *arg)
{
	struct reader *r = arg;
	int i;

	r->w.fn = reader_told;
	for (i = 0; !stop || i < ROUNDS; i++) {
		struct amb_identity *id = r->ids[i % IDS];
		struct amb_cred *c = amb_creds_wait(the_creds, id, r->loop, &r->w);

		if (c) {
			r->got++;
			amb_cred_retired(c);
			amb_cred_context(c, i & 1);
			amb_cred_put(c);
		} else if (errno == EAGAIN && i % 3) {
			amb_creds_cancel(the_creds, &r->w);
		} else if (errno == EAGAIN && !stop) {
			amb_loop_run(r->loop);
		} else {
			amb_creds_cancel(the_creds, &r->w);
		}
	}
	return NULL;
}

TEST(threads)
{
	static struct reader r[READERS];
	pthread_t t[READERS];
	struct amb_identity *ids[IDS];
	char name[16];
	int i, j;

	the_creds = amb_creds_create(request, NULL);
	for (j = 0; j < IDS; j++) {
		snprintf(name, sizeof(name), "t%d", j);
		ids[j] = ident(name);
	}
	stop = false;
	for (i = 0; i < READERS; i++) {
		memcpy(r[i].ids, ids, sizeof(ids));
		r[i].loop = amb_loop_create();
		CHECK(r[i].loop);
		CHECK_EQ(pthread_create(&t[i], NULL, reader, &r[i]), 0);
	}
	for (j = 0; j < ROUNDS; j++) {
		CHECK_EQ(install(the_creds, ids[j % IDS]), 0);
		if (j % 7 == 0)
			amb_creds_forget(the_creds, ids[(j + 3) % IDS]);
		if (j % 50 == 0)
			CHECK_EQ(amb_creds_set_roots(the_creds, own.root_pem), 0);
		seen[0] = 0;
		if (j % 50 == 1)
			amb_creds_each(the_creds, see, NULL);
	}
	stop = true;
	/* Whoever still sleeps is told. */
	for (j = 0; j < IDS; j++)
		CHECK_EQ(install(the_creds, ids[j]), 0);
	for (i = 0; i < READERS; i++) {
		CHECK_EQ(pthread_join(t[i], NULL), 0);
		CHECK(r[i].got > 0);
		amb_loop_destroy(r[i].loop);
	}
	amb_creds_destroy(the_creds);
	for (j = 0; j < IDS; j++)
		amb_identity_put(ids[j]);
}

int main(void)
{
	int ret;

	loop = amb_loop_create();
	if (!loop || amb_tls_init())
		return 1;
	pki_own_root(&own, time(NULL) - 5000, time(NULL) + 5000);
	ret = harness_run();
	told_reset();
	pki_own_free(&own);
	amb_loop_destroy(loop);
	amb_tls_uninit();
	return ret;
}
