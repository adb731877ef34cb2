// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Handshakes. The library sees bytes through two callbacks and never a socket; it asks for
 * exactly what it needs, so what it leaves belongs to the record layer. It has no CA loaded:
 * it checks a peer's possession of its key and the usage bits, and asks verify_peer() for the
 * rest (trust.c, then the identity). A handshake object lives from create to destroy on one
 * thread; nothing of it stays when the connection is up.
 */
#include "tls.h"

#include "base/cleanup.h"
#include "base/groups.h"
#include "base/util.h"
#include "cred.h"
#include "creds.h"
#include "record.h"
#include "trust.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/memory.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SECRET_MAX 48
#define ALERT_ACCESS_DENIED 49
#define ALERT_NO_APPLICATION_PROTOCOL 120

struct amb_tls {
	WOLFSSL *ssl;
	struct amb_cred *cred;
	struct amb_identset expect; /* client */
	bool server, done;
	/* the call in progress */
	const uint8_t *in;
	size_t left;
	amb_tls_output_fn *output;
	void *ctx;
	int output_error;

	size_t fed; /* bytes taken so far */
	uint8_t secret[2][SECRET_MAX]; /* client's, server's */
	size_t secret_len;
	struct amb_identity *peer;
	int64_t not_after;
	uint8_t fingerprint[32];
	struct amb_tls_certs *certs;
	int error; /* negative once failed */
	enum amb_reason reason;
	char text[256];
};

int amb_tls_init(void)
{
	return wolfSSL_Init() == WOLFSSL_SUCCESS ? 0 : -EIO;
}

void amb_tls_uninit(void)
{
	amb_trust_flush();
	wolfSSL_Cleanup();
}

/* The first failure is the one that is told. */
static int AMB_PRINTF(4, 5)
	fail(struct amb_tls *t, int err, enum amb_reason reason, const char *fmt, ...)
{
	va_list ap;

	if (t->error)
		return t->error;
	t->error = err;
	t->reason = reason;
	va_start(ap, fmt);
	vsnprintf(t->text, sizeof(t->text), fmt, ap);
	va_end(ap);
	return err;
}

/* Callbacks of the library */

static int receive(WOLFSSL *ssl, char *buf, int size, void *ctx)
{
	struct amb_tls *t = ctx;
	size_t n = AMB_MIN((size_t)size, t->left);

	(void)ssl;
	if (!n)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(buf, t->in, n);
	t->in += n;
	t->left -= n;
	t->fed += n;
	return n;
}

static int send_out(WOLFSSL *ssl, char *buf, int size, void *ctx)
{
	struct amb_tls *t = ctx;

	(void)ssl;
	if (!t->output_error)
		t->output_error = t->output(t->ctx, (const uint8_t *)buf, size);
	return t->output_error ? WOLFSSL_CBIO_ERR_GENERAL : size;
}

static int keep_secret(WOLFSSL *ssl, int id, const unsigned char *secret, int n, void *ctx)
{
	struct amb_tls *t = ctx;

	(void)ssl;
	if (id != CLIENT_TRAFFIC_SECRET && id != SERVER_TRAFFIC_SECRET)
		return 0;
	if (n > SECRET_MAX)
		return -1;
	memcpy(t->secret[id == SERVER_TRAFFIC_SECRET], secret, n);
	t->secret_len = n;
	return 0;
}

/* Who the peer is */

static void expected_text(const struct amb_identset *set, char *buf, size_t room)
{
	size_t at = 0;
	uint32_t i;

	snprintf(buf, room, "nobody");
	for (i = 0; i < set->n && at < room; i++) {
		int n = snprintf(buf + at, room - at, "%s%s", i ? ", " : "",
				 amb_identset_at(set, i)->spiffe);

		if (n < 0)
			break;
		at += n;
	}
}

/* The server must be one of those whom the client meant. */
static struct amb_identity *known_server(struct amb_tls *t, const struct amb_leaf *leaf)
{
	char want[160];
	unsigned int i;

	for (i = 0; i < leaf->n; i++) {
		if (amb_identset_has(&t->expect, leaf->id[i]))
			return leaf->id[i];
	}
	expected_text(&t->expect, want, sizeof(want));
	fail(t, -EKEYREJECTED, AMB_REASON_PEER_IDENTITY, "peer is %.90s, expected %s",
	     leaf->id[0]->spiffe, want);
	return NULL;
}

/* One name of the client must be of our trust domain; its first name is who it is. */
static struct amb_identity *known_client(struct amb_tls *t, const struct amb_leaf *leaf)
{
	const struct amb_identity *own = amb_cred_identity(t->cred);
	unsigned int i;

	for (i = 0; i < leaf->n; i++) {
		if (leaf->id[i]->td_len == own->td_len &&
		    !memcmp(leaf->id[i]->td, own->td, own->td_len))
			return leaf->id[0];
	}
	fail(t, -EKEYREJECTED, AMB_REASON_PEER_IDENTITY,
	     "peer is %.120s, our trust domain is %.80s", leaf->id[0]->spiffe, own->td);
	return NULL;
}

void amb_tls_certs_destroy(struct amb_tls_certs *certs)
{
	if (!certs)
		return;
	amb_crl_ids_put(certs->id, certs->n);
	free(certs);
}

static const char *revoked(struct amb_tls_certs *certs)
{
	size_t found = certs->n;

	certs->generation = amb_crl_generation();
	if (certs->generation)
		found = amb_crl_find(certs->id, certs->n);
	if (found == certs->n)
		return NULL;
	return found ? "an intermediate certificate of the peer was revoked" :
		       "certificate of the peer was revoked";
}

const char *amb_tls_revoked(const struct amb_tls_peer *peer)
{
	/* From before there were lists, or shown to an agent before. */
	if (!peer->certs)
		return amb_crl_generation() ? "certificate of the peer is not known any more" :
					      NULL;
	return peer->certs->generation == amb_crl_generation() ? NULL : revoked(peer->certs);
}

static int check_revoked(struct amb_tls *t, const struct amb_der *chain, size_t n)
{
	const struct amb_pem *roots = amb_trust_roots(amb_cred_trust(t->cred));
	const char *why;
	int err;

	if (!amb_crl_generation())
		return 0;
	amb_tls_certs_destroy(t->certs);
	t->certs = calloc(1, sizeof(*t->certs) + n * sizeof(t->certs->id[0]));
	if (!t->certs)
		return fail(t, -ENOMEM, AMB_REASON_MEMORY, "out of memory");
	t->certs->n = n;
	err = amb_crl_ids(chain, n, roots, t->certs->id);
	if (err == -ENOMEM)
		return fail(t, err, AMB_REASON_MEMORY, "out of memory");
	if (err)
		return fail(t, err, AMB_REASON_TLS,
			    "certificate of the peer cannot be looked up in revocation lists");
	why = revoked(t->certs);
	return why ? fail(t, -EKEYREVOKED, AMB_REASON_CERT_REVOKED, "%s", why) : 0;
}

static int judge_peer(struct amb_tls *t, const WOLFSSL_X509_STORE_CTX *x)
{
	struct amb_der chain[AMB_TRUST_DEPTH];
	struct amb_leaf leaf = { 0 };
	enum amb_reason reason = AMB_REASON_TLS;
	char text[200] = "";
	int i, err;

	if (x->totalCerts > AMB_TRUST_DEPTH)
		return fail(t, -EBADMSG, AMB_REASON_TLS,
			    "the peer's certificate chain is too long");
	for (i = 0; i < x->totalCerts; i++)
		chain[i] = (struct amb_der){ x->certs[i].buffer, x->certs[i].length };
	err = amb_trust_verify(amb_cred_trust(t->cred), chain, x->totalCerts, &leaf, &reason, text,
			       sizeof(text));
	if (err)
		return fail(t, err, reason, "%s", text);
	amb_identity_put(t->peer);
	t->peer = NULL;
	err = check_revoked(t, chain, x->totalCerts);
	if (err) {
		amb_leaf_clear(&leaf);
		return err;
	}
	t->peer = amb_identity_get(t->server ? known_client(t, &leaf) : known_server(t, &leaf));
	t->not_after = leaf.not_after;
	memcpy(t->fingerprint, leaf.fingerprint, sizeof(t->fingerprint));
	amb_leaf_clear(&leaf);
	return t->peer ? 0 : t->error;
}

/*
 * Called for an intermediate that is not fit to be one, and for the leaf twice: without a CA
 * its first result is "no signer", and the second call, after the usage bits, is about what
 * is left of that.
 */
static int verify_peer(int preverify, WOLFSSL_X509_STORE_CTX *x)
{
	struct amb_tls *t = x->userCtx;

	(void)preverify;
	switch (x->error) {
	case 0:
	case ASN_NO_SIGNER_E:
		break;
	case EXTKEYUSE_AUTH_E:
		fail(t, -EKEYREJECTED, AMB_REASON_TLS,
		     "certificate of the peer is not for a TLS %s (extended key usage)",
		     t->server ? "client" : "server");
		return 0;
	case KEYUSE_SIGNATURE_E:
		fail(t, -EKEYREJECTED, AMB_REASON_TLS,
		     "certificate of the peer may not sign (key usage)");
		return 0;
	case ASN_AFTER_DATE_E:
	case ASN_BEFORE_DATE_E:
		/* trust.c says when. */
		judge_peer(t, x);
		return 0;
	default:
		fail(t, -EKEYREJECTED, AMB_REASON_TLS, "%s of the peer: %s",
		     x->error_depth > 0 ? "an intermediate certificate" : "certificate",
		     wc_GetErrorString(x->error));
		return 0;
	}
	/* Intermediates have no say of their own: the leaf's judgement covers them. */
	if (x->error_depth > 0) {
		fail(t, -EKEYREJECTED, AMB_REASON_TLS,
		     "an intermediate certificate of the peer is not a CA's");
		return 0;
	}
	return t->peer || judge_peer(t, x) == 0;
}

/* Handshake */

static struct amb_tls *create(struct amb_cred *cred, bool server)
{
	struct amb_tls *t = calloc(1, sizeof(*t));
	WOLFSSL_CTX *ctx = t ? amb_cred_context(cred, server) : NULL;

	if (!ctx) {
		free(t);
		errno = ENOMEM;
		return NULL;
	}
	t->server = server;
	t->cred = amb_cred_get(cred);
	t->ssl = wolfSSL_new(ctx);
	if (!t->ssl) {
		amb_tls_destroy(t);
		errno = ENOMEM;
		return NULL;
	}
	wolfSSL_SSLSetIORecv(t->ssl, receive);
	wolfSSL_SSLSetIOSend(t->ssl, send_out);
	wolfSSL_SetIOReadCtx(t->ssl, t);
	wolfSSL_SetIOWriteCtx(t->ssl, t);
	wolfSSL_set_verify(t->ssl, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   verify_peer);
	wolfSSL_SetCertCbCtx(t->ssl, t);
	wolfSSL_KeepArrays(t->ssl);
	if (wolfSSL_set_tls13_secret_cb(t->ssl, keep_secret, t) != WOLFSSL_SUCCESS ||
	    wolfSSL_UseALPN(t->ssl, (char[]){ "h2" }, 2, WOLFSSL_ALPN_FAILED_ON_MISMATCH) !=
		    WOLFSSL_SUCCESS ||
	    (!server && wolfSSL_UseKeyShare(t->ssl, amb_groups_share()) != WOLFSSL_SUCCESS)) {
		amb_tls_destroy(t);
		errno = ENOMEM;
		return NULL;
	}
	return t;
}

struct amb_tls *amb_tls_client(struct amb_cred *cred, const struct amb_identset *expect)
{
	struct amb_tls *t = create(cred, false);

	if (t && amb_identset_copy(&t->expect, expect)) {
		amb_tls_destroy(t);
		errno = ENOMEM;
		return NULL;
	}
	return t;
}

struct amb_tls *amb_tls_server(struct amb_cred *cred)
{
	return create(cred, true);
}

void amb_tls_destroy(struct amb_tls *t)
{
	if (!t)
		return;
	wolfSSL_free(t->ssl);
	amb_identset_clear(&t->expect);
	amb_identity_put(t->peer);
	amb_cred_put(t->cred);
	amb_tls_certs_destroy(t->certs);
	wc_ForceZero(t->secret, sizeof(t->secret));
	free(t);
}

static const char *alert_name(int code)
{
	static const struct {
		int code;
		const char *name;
	} names[] = {
		{ 0, "close notify" },
		{ 10, "unexpected message" },
		{ 20, "bad record" },
		{ 40, "handshake failure" },
		{ 42, "bad certificate" },
		{ 43, "unsupported certificate" },
		{ 44, "certificate revoked" },
		{ 45, "certificate expired" },
		{ 46, "certificate unknown" },
		{ 47, "illegal parameter" },
		{ 48, "unknown CA" },
		{ 49, "access denied" },
		{ 50, "decode error" },
		{ 51, "decrypt error" },
		{ 70, "protocol version" },
		{ 71, "insufficient security" },
		{ 80, "internal error" },
		{ 109, "missing extension" },
		{ 116, "certificate required" },
		{ 120, "no application protocol" },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(names); i++) {
		if (names[i].code == code)
			return names[i].name;
	}
	return "unknown";
}

/* What the library's error means to a reader of logs. */
static int explain(struct amb_tls *t, int code)
{
	WOLFSSL_ALERT_HISTORY history;

	switch (code) {
	case MEMORY_E:
	case MEMORY_ERROR:
		return fail(t, -ENOMEM, AMB_REASON_MEMORY, "out of memory");
	case NO_PEER_CERT:
		return fail(t, -EKEYREJECTED, AMB_REASON_TLS, "the peer sent no certificate");
	case UNKNOWN_ALPN_PROTOCOL_NAME_E:
		return fail(t, -EPROTO, AMB_REASON_TLS, "the peer does not speak h2 (ALPN)");
	case VERSION_ERROR:
		return fail(t, -EPROTO, AMB_REASON_TLS, "the peer does not speak TLS 1.3");
	case UNKNOWN_RECORD_TYPE:
		return fail(t, -EPROTO, AMB_REASON_TLS, "the peer does not speak TLS");
	case MAX_CHAIN_ERROR:
		return fail(t, -EBADMSG, AMB_REASON_TLS,
			    "the peer's certificate chain is too long");
	case SOCKET_PEER_CLOSED_E:
	case FATAL_ERROR:
		if (wolfSSL_get_alert_history(t->ssl, &history) == WOLFSSL_SUCCESS &&
		    history.last_rx.code >= 0)
			return fail(t, -EPROTO, AMB_REASON_TLS, "the peer sent alert \"%s\" (%d)",
				    alert_name(history.last_rx.code), history.last_rx.code);
		break;
	}
	return fail(t, -EPROTO, AMB_REASON_TLS, "%s", wolfSSL_ERR_reason_error_string(code));
}

/* After the handshake the library is out of the way: our own record layer says the last word. */
static void send_alert(struct amb_tls *t, uint8_t alert)
{
	uint8_t rec[AMB_RECORD_HEAD + 2 + AMB_RECORD_TAIL];
	struct amb_record *tx;
	int n;

	tx = amb_record_create(t->secret_len == 32 ? AMB_SUITE_AES128_GCM_SHA256 :
						     AMB_SUITE_AES256_GCM_SHA384,
			       t->secret[t->server], t->secret_len);
	if (!tx)
		return;
	rec[AMB_RECORD_HEAD] = 2;
	rec[AMB_RECORD_HEAD + 1] = alert;
	n = amb_record_seal(tx, rec, 2, AMB_RECORD_ALERT);
	if (n > 0)
		t->output(t->ctx, rec, n);
	amb_record_destroy(tx);
}

/* What both sides require and the library lets pass. */
static int check_done(struct amb_tls *t)
{
	unsigned short len = 0;
	char *alpn = NULL;

	if (t->secret_len != 32 && t->secret_len != 48)
		return fail(t, -EPROTO, AMB_REASON_TLS, "no traffic secrets");
	if (!t->peer) {
		send_alert(t, ALERT_ACCESS_DENIED);
		return fail(t, -EKEYREJECTED, AMB_REASON_TLS, "the peer was not authenticated");
	}
	if (wolfSSL_ALPN_GetProtocol(t->ssl, &alpn, &len) != WOLFSSL_SUCCESS || len != 2 ||
	    memcmp(alpn, "h2", 2)) {
		send_alert(t, ALERT_NO_APPLICATION_PROTOCOL);
		return fail(t, -EPROTO, AMB_REASON_TLS, "the peer does not speak h2 (ALPN)");
	}
	t->done = true;
	return 1;
}

int amb_tls_handshake(struct amb_tls *t, const uint8_t *in, size_t n, size_t *used,
		      amb_tls_output_fn *output, void *ctx)
{
	int ret, code;

	*used = 0;
	if (t->error)
		return t->error;
	if (t->done)
		return 1;
	t->in = in;
	t->left = n;
	t->output = output;
	t->ctx = ctx;
	ret = t->server ? wolfSSL_accept(t->ssl) : wolfSSL_connect(t->ssl);
	*used = n - t->left;
	t->in = NULL;
	if (t->output_error)
		return fail(t, t->output_error, AMB_REASON_TLS, "cannot send: %s",
			    strerror(-t->output_error));
	if (ret == WOLFSSL_SUCCESS)
		return check_done(t);
	code = wolfSSL_get_error(t->ssl, ret);
	if (code != WOLFSSL_ERROR_WANT_READ)
		return explain(t, code);
	if (t->fed > AMB_TLS_INPUT_MAX)
		return fail(t, -EMSGSIZE, AMB_REASON_TLS, "the peer's handshake is too long");
	return 0;
}

enum amb_reason amb_tls_error(const struct amb_tls *t, const char **text)
{
	if (text)
		*text = t->error ? t->text : NULL;
	return t->error ? t->reason : AMB_REASON_NONE;
}

/* Result */

static uint16_t group_number(WOLFSSL *ssl)
{
	static const struct {
		const char *name;
		uint16_t number;
	} groups[] = {
		{ "X25519", 29 },
		{ "SECP256R1", 23 },
		{ "SECP384R1", 24 },
		{ "X25519MLKEM768", 0x11ec },
	};
	const char *name = wolfSSL_get_curve_name(ssl);
	size_t i;

	for (i = 0; name && i < AMB_ARRAY_SIZE(groups); i++) {
		if (!strcmp(groups[i].name, name))
			return groups[i].number;
	}
	return 0;
}

int amb_tls_finish(struct amb_tls *t, struct amb_record **tx, struct amb_record **rx,
		   struct amb_tls_peer *peer)
{
	enum amb_record_suite suite;
	struct amb_record *a, *b;

	if (!t->done)
		return -EINVAL;
	suite = t->secret_len == 32 ? AMB_SUITE_AES128_GCM_SHA256 : AMB_SUITE_AES256_GCM_SHA384;
	a = amb_record_create(suite, t->secret[t->server], t->secret_len);
	b = amb_record_create(suite, t->secret[!t->server], t->secret_len);
	if (!a || !b) {
		amb_record_destroy(a);
		amb_record_destroy(b);
		return -ENOMEM;
	}
	wc_ForceZero(t->secret, sizeof(t->secret));
	t->done = false;
	*tx = a;
	*rx = b;
	*peer = (struct amb_tls_peer){
		.identity = amb_identity_get(t->peer),
		.not_after = t->not_after,
		.suite = suite,
		.group = group_number(t->ssl),
		.certs = take_ptr(t->certs),
	};
	memcpy(peer->fingerprint, t->fingerprint, sizeof(peer->fingerprint));
	return 0;
}

/* Messages behind the handshake */

#define MESSAGE_TICKET 4
#define MESSAGE_KEY_UPDATE 24
#define MESSAGE_HEAD 4

/* A whole head (and the byte of a KeyUpdate) is there. */
static int message(struct amb_tls_post *p, bool server, bool last)
{
	uint32_t len = p->head[1] << 16 | p->head[2] << 8 | p->head[3];

	if (p->head[0] == MESSAGE_TICKET) {
		/* Only servers send them. */
		if (server || !len)
			return -EBADMSG;
		if (len > AMB_TLS_TICKET_LEN || p->tickets == AMB_TLS_TICKETS_MAX)
			return -EDQUOT;
		p->tickets++;
		p->left = len;
		p->have = 0;
		return AMB_TLS_POST_NONE;
	}
	if (p->head[0] != MESSAGE_KEY_UPDATE || len != 1)
		return -EBADMSG;
	if (p->have == MESSAGE_HEAD)
		return AMB_TLS_POST_NONE;
	/* RFC 8446 5.1: nothing may follow in the record, the next key is in force. */
	if (!last || p->head[4] > 1)
		return -EBADMSG;
	if (p->updates == AMB_TLS_UPDATES_MAX)
		return -EDQUOT;
	p->updates++;
	p->have = 0;
	return p->head[4] ? AMB_TLS_POST_UPDATE_REQUESTED : AMB_TLS_POST_UPDATE;
}

int amb_tls_post_handshake(struct amb_tls_post *p, bool server, const uint8_t *data, size_t n)
{
	int ret = AMB_TLS_POST_NONE;

	while (n) {
		if (p->left) {
			size_t skip = AMB_MIN(n, (size_t)p->left);

			p->left -= skip;
			data += skip;
			n -= skip;
			continue;
		}
		p->head[p->have++] = *data++;
		n--;
		if (p->have < MESSAGE_HEAD)
			continue;
		ret = message(p, server, !n);
		if (ret)
			return ret;
	}
	return AMB_TLS_POST_NONE;
}

void amb_tls_key_update(uint8_t out[AMB_TLS_KEY_UPDATE_LEN], bool request)
{
	static const uint8_t head[] = { MESSAGE_KEY_UPDATE, 0, 0, 1 };

	memcpy(out, head, sizeof(head));
	out[4] = request;
}
