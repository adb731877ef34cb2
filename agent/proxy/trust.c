// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Root bundles and chain checks. Each check that the cache cannot answer builds a certificate
 * manager of its own from the roots and the peer's intermediates, so nothing that a peer sent
 * outlives the check but cache entries, whose key covers the bundle and the bytes judged.
 */
#include "trust.h"

#include "base/cleanup.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CACHE_SETS 256
#define CACHE_WAYS 4

/* A chain (leaf with a name) or an intermediate directly under a root (without). */
struct known {
	uint8_t key[32];
	struct amb_identity *id;
	int64_t not_before, not_after; /* of every certificate that was needed */
	int64_t leaf_before, leaf_after;
	uint32_t used;
	bool filled;
};

static struct known cache[CACHE_SETS][CACHE_WAYS];
static uint32_t cache_clock;
static uint64_t cache_hits, cache_misses;
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

struct amb_trust {
	atomic_uint refs;
	uint8_t hash[32];
	struct amb_pem roots;
	struct root {
		int64_t not_before, not_after;
	} * when;
	char pem[];
};

/* A certificate of the chain under examination. */
struct link {
	const struct amb_der *der;
	int64_t not_before, not_after;
	bool trusted; /* its signature leads to a root */
	bool bad; /* never look at it again */
};

struct window {
	int64_t from, to;
};

static void narrow(struct window *w, int64_t from, int64_t to)
{
	if (from > w->from)
		w->from = from;
	if (to < w->to)
		w->to = to;
}

/* Roots */

static int read_root(struct amb_trust *t, size_t i, char *err, size_t errlen)
{
	struct amb_pem_info info;
	int e = amb_pem_info(&t->roots.cert[i], &info);

	if (e) {
		snprintf(err, errlen, "root certificate %zu cannot be read", i + 1);
		return e;
	}
	if (!info.is_ca) {
		snprintf(err, errlen, "root certificate %zu (%s) is not a CA", i + 1, info.subject);
		return -EINVAL;
	}
	t->when[i].not_before = info.not_before;
	t->when[i].not_after = info.not_after;
	return 0;
}

static int read_roots(struct amb_trust *t, char *err, size_t errlen)
{
	size_t i;
	int e;

	e = amb_pem_read(t->pem, &t->roots);
	if (e) {
		snprintf(err, errlen, "root certificates: %s",
			 e == -ENODATA ? "no certificate in the text" : strerror(-e));
		return e == -ENODATA || e == -EBADMSG ? -EINVAL : e;
	}
	t->when = calloc(t->roots.n, sizeof(*t->when));
	if (!t->when)
		return -ENOMEM;
	for (i = 0; i < t->roots.n; i++) {
		e = read_root(t, i, err, errlen);
		if (e)
			return e == -EBADMSG ? -EINVAL : e;
	}
	return wc_Sha256Hash((const uint8_t *)t->pem, strlen(t->pem), t->hash) ? -EIO : 0;
}

struct amb_trust *amb_trust_create(const char *roots_pem, char *err, size_t errlen)
{
	size_t len = strlen(roots_pem);
	struct amb_trust *t = calloc(1, sizeof(*t) + len + 1);
	int e;

	if (!t) {
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	atomic_init(&t->refs, 1);
	memcpy(t->pem, roots_pem, len);
	e = read_roots(t, err, errlen);
	if (e) {
		amb_trust_put(t);
		errno = -e;
		return NULL;
	}
	return t;
}

struct amb_trust *amb_trust_get(struct amb_trust *t)
{
	if (t)
		atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void amb_trust_put(struct amb_trust *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	amb_pem_clear(&t->roots);
	free(t->when);
	free(t);
}

const char *amb_trust_pem(const struct amb_trust *t)
{
	return t->pem;
}

const struct amb_pem *amb_trust_roots(const struct amb_trust *t)
{
	return &t->roots;
}

/* Cache */

static int key_of(const struct amb_trust *t, char kind, const struct amb_der *v, size_t n,
		  uint8_t key[32])
{
	wc_Sha256 sha;
	size_t i;
	int err;

	if (wc_InitSha256(&sha))
		return -EIO;
	err = wc_Sha256Update(&sha, (const uint8_t *)&kind, 1) ?:
		      wc_Sha256Update(&sha, t->hash, sizeof(t->hash));
	for (i = 0; i < n && !err; i++) {
		uint32_t len = v[i].len;

		err = wc_Sha256Update(&sha, (const uint8_t *)&len, sizeof(len)) ?:
			      wc_Sha256Update(&sha, v[i].data, v[i].len);
	}
	err = err ?: wc_Sha256Final(&sha, key);
	wc_Sha256Free(&sha);
	return err ? -EIO : 0;
}

static struct known *set_of(const uint8_t key[32])
{
	return cache[key[0] % CACHE_SETS];
}

/* Copies a valid entry out, with a reference to its identity. */
static bool cache_find(const uint8_t key[32], int64_t now, struct known *out)
{
	struct known *set = set_of(key);
	bool found = false;
	int i;

	pthread_mutex_lock(&cache_lock);
	for (i = 0; i < CACHE_WAYS && !found; i++) {
		if (!set[i].filled || memcmp(set[i].key, key, 32))
			continue;
		found = set[i].not_before <= now && now <= set[i].not_after;
		if (!found)
			break;
		set[i].used = ++cache_clock;
		*out = set[i];
		amb_identity_get(out->id);
	}
	pthread_mutex_unlock(&cache_lock);
	return found;
}

static void cache_add(const struct known *k)
{
	struct known *set = set_of(k->key), *to = &set[0];
	struct amb_identity *old;
	int i;

	pthread_mutex_lock(&cache_lock);
	for (i = 0; i < CACHE_WAYS; i++) {
		if (!set[i].filled || !memcmp(set[i].key, k->key, 32)) {
			to = &set[i];
			break;
		}
		if ((int32_t)(set[i].used - to->used) < 0)
			to = &set[i];
	}
	old = to->filled ? to->id : NULL;
	*to = *k;
	amb_identity_get(to->id);
	to->filled = true;
	to->used = ++cache_clock;
	pthread_mutex_unlock(&cache_lock);
	amb_identity_put(old);
}

void amb_trust_flush(void)
{
	int i, j;

	pthread_mutex_lock(&cache_lock);
	for (i = 0; i < CACHE_SETS; i++) {
		for (j = 0; j < CACHE_WAYS; j++) {
			if (!cache[i][j].filled)
				continue;
			amb_identity_put(cache[i][j].id);
			cache[i][j] = (struct known){ 0 };
		}
	}
	pthread_mutex_unlock(&cache_lock);
}

void amb_trust_stats(uint64_t *cached, uint64_t *checked)
{
	pthread_mutex_lock(&cache_lock);
	*cached = cache_hits;
	*checked = cache_misses;
	pthread_mutex_unlock(&cache_lock);
}

static void count(bool hit)
{
	pthread_mutex_lock(&cache_lock);
	if (hit)
		cache_hits++;
	else
		cache_misses++;
	pthread_mutex_unlock(&cache_lock);
}

/* Chains */

void amb_leaf_clear(struct amb_leaf *leaf)
{
	unsigned int i;

	for (i = 0; i < leaf->n; i++)
		amb_identity_put(leaf->id[i]);
	leaf->n = 0;
}

static int load(WOLFSSL_CERT_MANAGER *cm, const struct amb_der *der)
{
	int ret = wolfSSL_CertManagerLoadCABuffer_ex(cm, der->data, der->len, WOLFSSL_FILETYPE_ASN1,
						     0, WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);

	return ret == WOLFSSL_SUCCESS ? 0 : ret == MEMORY_E ? -ENOMEM : -EBADMSG;
}

static bool is_root(const struct amb_trust *t, const struct amb_der *der)
{
	size_t i;

	for (i = 0; i < t->roots.n; i++) {
		if (t->roots.cert[i].len == der->len &&
		    !memcmp(t->roots.cert[i].data, der->data, der->len))
			return true;
	}
	return false;
}

/* Parses and checks the signature against what @cm holds. Dates are judged by the caller. */
static int parse(DecodedCert *dc, const struct amb_der *der, int type, WOLFSSL_CERT_MANAGER *cm)
{
	InitDecodedCert(dc, der->data, der->len, NULL);
	return ParseCert(dc, type, VERIFY_SKIP_DATE, cm);
}

/* Looks at an intermediate: trusted, bad, or neither while its signer is unknown. */
static void judge(struct link *l, WOLFSSL_CERT_MANAGER *cm, DecodedCert *dc, int64_t now)
{
	int ret = parse(dc, l->der, CHAIN_CERT_TYPE, cm);

	if (!ret) {
		l->not_before = amb_pem_time(dc->beforeDate, dc->beforeDateLen);
		l->not_after = amb_pem_time(dc->afterDate, dc->afterDateLen);
		l->bad = !dc->isCA ||
			 (dc->extKeyUsageSet && !(dc->extKeyUsage & KEYUSE_KEY_CERT_SIGN)) ||
			 now < l->not_before || now > l->not_after;
		l->trusted = !l->bad;
	} else if (ret != ASN_NO_SIGNER_E) {
		l->bad = true;
	}
	FreeDecodedCert(dc);
}

/*
 * Intermediates right under a root are remembered one by one: a node's intermediate signs
 * many leafs. Deeper ones are not, as their path length depends on who is above them.
 */
static int first_level(const struct amb_trust *t, struct link *v, size_t n,
		       WOLFSSL_CERT_MANAGER *cm, DecodedCert *dc, int64_t now)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct known k = { 0 };
		int err = key_of(t, 'I', v[i].der, 1, k.key);

		if (err)
			return err;
		if (cache_find(k.key, now, &k)) {
			v[i].trusted = true;
			v[i].not_before = k.not_before;
			v[i].not_after = k.not_after;
			continue;
		}
		judge(&v[i], cm, dc, now);
		if (!v[i].trusted)
			continue;
		k.not_before = v[i].not_before;
		k.not_after = v[i].not_after;
		cache_add(&k);
	}
	for (i = 0; i < n; i++) {
		if (v[i].trusted && load(cm, v[i].der))
			return -ENOMEM;
	}
	return 0;
}

static int deeper_levels(struct link *v, size_t n, WOLFSSL_CERT_MANAGER *cm, DecodedCert *dc,
			 int64_t now)
{
	bool progress = true;
	size_t i;

	/* Each round makes at least one more trusted: at most AMB_TRUST_DEPTH rounds. */
	while (progress) {
		progress = false;
		for (i = 0; i < n; i++) {
			if (v[i].trusted || v[i].bad)
				continue;
			judge(&v[i], cm, dc, now);
			if (!v[i].trusted)
				continue;
			if (load(cm, v[i].der))
				return -ENOMEM;
			progress = true;
		}
	}
	return 0;
}

static int load_roots(const struct amb_trust *t, WOLFSSL_CERT_MANAGER *cm, struct window *w,
		      int64_t now)
{
	size_t i;

	for (i = 0; i < t->roots.n; i++) {
		/* A change of the set of valid roots ends what the cache says. */
		if (now < t->when[i].not_before) {
			narrow(w, 0, t->when[i].not_before - 1);
			continue;
		}
		if (now > t->when[i].not_after)
			continue;
		narrow(w, t->when[i].not_before, t->when[i].not_after);
		if (load(cm, &t->roots.cert[i]))
			return -ENOMEM;
	}
	return 0;
}

/* The library lists names last first: each goes before those that are there already. */
static void put_first(struct amb_leaf *leaf, struct amb_identity *id)
{
	if (leaf->n == AMB_TRUST_IDS)
		amb_identity_put(leaf->id[--leaf->n]);
	memmove(leaf->id + 1, leaf->id, leaf->n * sizeof(leaf->id[0]));
	leaf->id[0] = id;
	leaf->n++;
}

static int take_names(const DecodedCert *dc, struct amb_leaf *leaf)
{
	const DNS_entry *e;

	for (e = dc->altNames; e; e = e->next) {
		struct amb_identity *id;

		if (e->type != ASN_URI_TYPE)
			continue;
		id = amb_identity_parse(e->name, e->len);
		if (id)
			put_first(leaf, id);
		else if (errno == ENOMEM)
			return -ENOMEM;
	}
	return leaf->n ? 0 : -EPERM;
}

struct verdict {
	enum amb_reason *reason;
	char *err;
	size_t errlen;
};

static int refuse(struct verdict *v, int e, enum amb_reason reason, const char *text)
{
	*v->reason = reason;
	snprintf(v->err, v->errlen, "%s", text);
	return e;
}

static int check_dates(struct verdict *v, const struct amb_leaf *leaf, int64_t now)
{
	char text[AMB_PEM_TIME_LEN];

	if (now < leaf->not_before) {
		*v->reason = AMB_REASON_CERT_EXPIRED;
		snprintf(v->err, v->errlen, "certificate of the peer is not valid before %s",
			 amb_pem_time_text(leaf->not_before, text));
		return -EKEYEXPIRED;
	}
	if (now > leaf->not_after) {
		*v->reason = AMB_REASON_CERT_EXPIRED;
		snprintf(v->err, v->errlen, "certificate of the peer expired at %s",
			 amb_pem_time_text(leaf->not_after, text));
		return -EKEYEXPIRED;
	}
	return 0;
}

/* Why no signer of the leaf could be trusted, as far as one can tell. */
static int no_signer(struct verdict *v, const struct link *mid, size_t n, const DecodedCert *dc,
		     int64_t now)
{
	struct amb_pem_info info;
	struct amb_der der = { dc->source, dc->maxIdx };
	size_t i;

	for (i = 0; i < n; i++) {
		if (mid[i].bad && mid[i].not_after && now > mid[i].not_after)
			return refuse(v, -EKEYEXPIRED, AMB_REASON_CERT_EXPIRED,
				      "an intermediate certificate of the peer expired");
	}
	*v->reason = AMB_REASON_TLS;
	if (amb_pem_info(&der, &info))
		return refuse(v, -EKEYREJECTED, AMB_REASON_TLS,
			      "certificate of the peer is not signed by our roots");
	snprintf(v->err, v->errlen,
		 "certificate of the peer is not signed by our roots (issuer %.80s)",
		 *info.issuer ? info.issuer : "without a name");
	return -EKEYREJECTED;
}

static int judge_leaf(struct verdict *v, const struct amb_der *der, const struct link *mid,
		      size_t n, WOLFSSL_CERT_MANAGER *cm, DecodedCert *dc, int64_t now,
		      struct amb_leaf *leaf)
{
	int ret = parse(dc, der, CERT_TYPE, cm);
	int err;

	switch (ret) {
	case 0:
		break;
	case ASN_NO_SIGNER_E:
		return no_signer(v, mid, n, dc, now);
	case MEMORY_E:
		return refuse(v, -ENOMEM, AMB_REASON_MEMORY, "out of memory");
	case ASN_NAME_INVALID_E:
		return refuse(v, -EKEYREJECTED, AMB_REASON_PEER_IDENTITY,
			      "identity of the peer is outside its CA's name constraints");
	case ASN_SIG_CONFIRM_E:
		return refuse(v, -EKEYREJECTED, AMB_REASON_TLS,
			      "signature of the peer's certificate is wrong");
	default:
		*v->reason = AMB_REASON_TLS;
		snprintf(v->err, v->errlen, "certificate of the peer cannot be read: %s",
			 wc_GetErrorString(ret));
		return -EBADMSG;
	}
	if (dc->isCA)
		return refuse(v, -EKEYREJECTED, AMB_REASON_TLS,
			      "certificate of the peer is a CA's, not a workload's");
	leaf->not_before = amb_pem_time(dc->beforeDate, dc->beforeDateLen);
	leaf->not_after = amb_pem_time(dc->afterDate, dc->afterDateLen);
	err = check_dates(v, leaf, now);
	if (err)
		return err;
	err = take_names(dc, leaf);
	if (err == -ENOMEM)
		return refuse(v, err, AMB_REASON_MEMORY, "out of memory");
	if (err)
		return refuse(v, err, AMB_REASON_PEER_IDENTITY,
			      "certificate of the peer has no SPIFFE name");
	return 0;
}

static int check(struct verdict *v, const struct amb_trust *t, const struct amb_der *chain,
		 size_t n, int64_t now, struct window *w, struct amb_leaf *leaf)
{
	WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
	_cleanup_free_ DecodedCert *dc = malloc(sizeof(*dc));
	struct link mid[AMB_TRUST_DEPTH] = { 0 };
	size_t i, nmid = 0;
	int err = -ENOMEM;

	for (i = 1; i < n; i++) {
		if (!is_root(t, &chain[i]))
			mid[nmid++].der = &chain[i];
	}
	if (cm && dc)
		err = load_roots(t, cm, w, now)			     ?:
			      first_level(t, mid, nmid, cm, dc, now) ?:
			      deeper_levels(mid, nmid, cm, dc, now);
	if (err) {
		err = refuse(v, err, AMB_REASON_MEMORY, "out of memory");
	} else {
		err = judge_leaf(v, &chain[0], mid, nmid, cm, dc, now, leaf);
		FreeDecodedCert(dc);
	}
	wolfSSL_CertManagerFree(cm);
	for (i = 0; i < nmid && !err; i++) {
		if (mid[i].trusted)
			narrow(w, mid[i].not_before, mid[i].not_after);
	}
	if (!err)
		narrow(w, leaf->not_before, leaf->not_after);
	else
		amb_leaf_clear(leaf);
	return err;
}

int amb_trust_verify(struct amb_trust *t, const struct amb_der *chain, size_t n,
		     struct amb_leaf *leaf, enum amb_reason *reason, char *err, size_t errlen)
{
	struct verdict v = { reason, err, errlen };
	struct amb_leaf found = { 0 };
	struct known k = { 0 };
	struct window w = { 0, INT64_MAX };
	int64_t now = time(NULL);
	int e;

	if (!n || n > AMB_TRUST_DEPTH)
		return refuse(&v, -EBADMSG, AMB_REASON_TLS,
			      n ? "the peer's certificate chain is too long" :
				  "the peer sent no certificate");
	if (key_of(t, 'C', chain, n, k.key) ||
	    wc_Sha256Hash(chain[0].data, chain[0].len, found.fingerprint))
		return refuse(&v, -ENOMEM, AMB_REASON_MEMORY, "out of memory");
	if (cache_find(k.key, now, &k)) {
		found.n = 1;
		found.id[0] = k.id;
		found.not_before = k.leaf_before;
		found.not_after = k.leaf_after;
		*leaf = found;
		count(true);
		return 0;
	}
	count(false);
	e = check(&v, t, chain, n, now, &w, &found);
	if (e)
		return e;
	/* Leafs with several names are against SPIFFE and too rare to make room for. */
	if (found.n == 1) {
		k = (struct known){
			.id = found.id[0],
			.not_before = w.from,
			.not_after = w.to,
			.leaf_before = found.not_before,
			.leaf_after = found.not_after,
		};
		if (!key_of(t, 'C', chain, n, k.key))
			cache_add(&k);
	}
	*leaf = found;
	return 0;
}
