// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Handshakes with others: a bare wolfSSL that presents whatever it likes, and OpenSSL (through
 * Python) over a socket pair.
 */
#include "tlsside.h"

#include "base/groups.h"
#include "control/tls_client.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <sys/socket.h>
#include <sys/wait.h>

static int wolf_recv(WOLFSSL *ssl, char *buf, int size, void *ctx)
{
	struct wire *w = ctx;
	size_t n = AMB_MIN((size_t)size, w->w - w->r);

	(void)ssl;
	if (!n)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(buf, w->b + w->r, n);
	w->r += n;
	return n;
}

static int wolf_send(WOLFSSL *ssl, char *buf, int size, void *ctx)
{
	(void)ssl;
	return wire_put(ctx, (uint8_t *)buf, size) ? WOLFSSL_CBIO_ERR_GENERAL : size;
}

/* A peer that is not ours: presents what it likes and accepts everything. */

struct foreign {
	const char *cert; /* NULL: none */
	const char *alpn;
	const char *cipher;
	int group;
	bool server;
};

static int accept_all(int ok, WOLFSSL_X509_STORE_CTX *x)
{
	(void)ok;
	(void)x;
	return 1;
}

static WOLFSSL *foreign_new(const struct foreign *f)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(f->server ? wolfTLSv1_3_server_method() :
						       wolfTLSv1_3_client_method());
	WOLFSSL *ssl;

	CHECK(ctx);
	if (f->cert) {
		struct pki_file chain = pki_read(f->cert, "pem"), key = pki_read(f->cert, "der");

		CHECK_EQ(wolfSSL_CTX_use_certificate_chain_buffer(ctx, (uint8_t *)chain.text,
								  chain.len),
			 WOLFSSL_SUCCESS);
		CHECK_EQ(wolfSSL_CTX_use_PrivateKey_buffer(ctx, (uint8_t *)key.text, key.len,
							   WOLFSSL_FILETYPE_ASN1),
			 WOLFSSL_SUCCESS);
		free(chain.text);
		free(key.text);
	}
	wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER, accept_all);
	if (f->cipher)
		CHECK_EQ(wolfSSL_CTX_set_cipher_list(ctx, f->cipher), WOLFSSL_SUCCESS);
	ssl = wolfSSL_new(ctx);
	CHECK(ssl);
	wolfSSL_CTX_free(ctx);
	wolfSSL_SSLSetIORecv(ssl, wolf_recv);
	wolfSSL_SSLSetIOSend(ssl, wolf_send);
	wolfSSL_SetIOReadCtx(ssl, f->server ? &to_server : &to_client);
	wolfSSL_SetIOWriteCtx(ssl, f->server ? &to_client : &to_server);
	if (f->alpn) {
		char list[64];

		snprintf(list, sizeof(list), "%s", f->alpn);
		CHECK_EQ(wolfSSL_UseALPN(ssl, list, strlen(list),
					 WOLFSSL_ALPN_CONTINUE_ON_MISMATCH),
			 WOLFSSL_SUCCESS);
	}
	if (f->group)
		CHECK_EQ(wolfSSL_set_groups(ssl, (int *)&f->group, 1), WOLFSSL_SUCCESS);
	if (!f->server)
		CHECK_EQ(wolfSSL_UseKeyShare(ssl, f->group ?: WOLFSSL_ECC_X25519), WOLFSSL_SUCCESS);
	return ssl;
}

/* Returns ours: 1, 0 (still waiting) or -errno; *theirs 1 when the foreign side is done. */
static int with_foreign(struct amb_tls *t, WOLFSSL *ssl, bool foreign_server, int *theirs)
{
	struct wire *in = foreign_server ? &to_client : &to_server;
	struct wire *out = foreign_server ? &to_server : &to_client;
	int ours = 0, i;

	*theirs = 0;
	wires_clear();
	for (i = 0; i < 8; i++) {
		if (*theirs != 1)
			*theirs = foreign_server ? wolfSSL_accept(ssl) : wolfSSL_connect(ssl);
		if (!ours)
			ours = our_turn(t, in, out, 65536);
	}
	return ours;
}

static const struct {
	const char *what;
	struct foreign f;
	const char *error; /* of our side, NULL when it works */
	enum amb_reason reason;
	int group, suite;
} foreigners[] = {
	{ "client", { .cert = "a", .alpn = "h2" }, NULL, 0, 29, 0x1301 },
	{ "client with P-256",
	  { .cert = "a", .alpn = "h2", .group = WOLFSSL_ECC_SECP256R1 },
	  NULL,
	  0,
	  23,
	  0x1301 },
	{ "client with P-384",
	  { .cert = "a", .alpn = "h2", .group = WOLFSSL_ECC_SECP384R1 },
	  NULL,
	  0,
	  24,
	  0x1301 },
#ifdef WOLFSSL_HAVE_MLKEM
	{ "client with X25519MLKEM768",
	  { .cert = "a", .alpn = "h2", .group = WOLFSSL_X25519MLKEM768 },
	  NULL,
	  0,
	  0x11ec,
	  0x1301 },
#endif
	{ "client with AES-256",
	  { .cert = "a", .alpn = "h2", .cipher = "TLS13-AES256-GCM-SHA384" },
	  NULL,
	  0,
	  29,
	  0x1302 },
	{ "client with protocols", { .cert = "a", .alpn = "http/1.1,h2" }, NULL, 0, 29, 0x1301 },
	{ "client of another protocol",
	  { .cert = "a", .alpn = "http/1.1" },
	  "h2",
	  AMB_REASON_TLS,
	  0,
	  0 },
	{ "client without protocol",
	  { .cert = "a", .alpn = NULL },
	  "does not speak h2",
	  AMB_REASON_TLS,
	  0,
	  0 },
	{ "client without certificate",
	  { .cert = NULL, .alpn = "h2" },
	  "sent no certificate",
	  AMB_REASON_TLS,
	  0,
	  0 },
	{ "client of another trust domain",
	  { .cert = "bothertd", .alpn = "h2" },
	  "peer is spiffe://other.local/ns/n/sa/b, our trust domain is cluster.local",
	  AMB_REASON_PEER_IDENTITY,
	  0,
	  0 },
	{ "client with a DNS name",
	  { .cert = "bdns", .alpn = "h2" },
	  "no SPIFFE name",
	  AMB_REASON_PEER_IDENTITY,
	  0,
	  0 },
	{ "client without a name",
	  { .cert = "bnone", .alpn = "h2" },
	  "no SPIFFE name",
	  AMB_REASON_PEER_IDENTITY,
	  0,
	  0 },
	{ "client with another shape",
	  { .cert = "bshape", .alpn = "h2" },
	  "no SPIFFE name",
	  AMB_REASON_PEER_IDENTITY,
	  0,
	  0 },
	{ "client with a critical extension",
	  { .cert = "bcritical", .alpn = "h2" },
	  "Critical",
	  AMB_REASON_TLS,
	  0,
	  0 },
	{ "client with a short RSA key",
	  { .cert = "brsa1024", .alpn = "h2" },
	  "",
	  AMB_REASON_TLS,
	  0,
	  0 },
	{ "client with too many certificates",
	  { .cert = "btoolong", .alpn = "h2" },
	  "too long",
	  AMB_REASON_TLS,
	  0,
	  0 },
	{ "server with its own preference",
	  { .cert = "b", .alpn = "h2", .server = true },
	  NULL,
	  0,
	  29,
	  0x1302 },
	{ "server with P-384 only",
	  { .cert = "b", .alpn = "h2", .group = WOLFSSL_ECC_SECP384R1, .server = true },
	  NULL,
	  0,
	  24,
	  0x1302 },
	{ "server with AES-256 only",
	  { .cert = "b", .alpn = "h2", .cipher = "TLS13-AES256-GCM-SHA384", .server = true },
	  NULL,
	  0,
	  29,
	  0x1302 },
	{ "server of another protocol",
	  { .cert = "b", .alpn = "http/1.1", .server = true },
	  "h2",
	  AMB_REASON_TLS,
	  0,
	  0 },
	{ "server without protocol",
	  { .cert = "b", .alpn = NULL, .server = true },
	  "h2",
	  AMB_REASON_TLS,
	  0,
	  0 },
	{ "server of another trust domain",
	  { .cert = "bothertd", .alpn = "h2", .server = true },
	  "peer is spiffe://other.local/ns/n/sa/b, expected spiffe://cluster.local/ns/n/sa/b",
	  AMB_REASON_PEER_IDENTITY,
	  0,
	  0 },
	{ "server with a DNS name",
	  { .cert = "bdns", .alpn = "h2", .server = true },
	  "no SPIFFE name",
	  AMB_REASON_PEER_IDENTITY,
	  0,
	  0 },
	{ "server whose second name is right",
	  { .cert = "bsecond", .alpn = "h2", .server = true },
	  NULL,
	  0,
	  29,
	  0x1302 },
};

TEST(foreign_peers)
{
	struct amb_cred *b = cred_of("b", "b", "root"), *a = cred_of("a", "a", "root");
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(foreigners); i++) {
		const struct foreign *f = &foreigners[i].f;
		struct amb_tls *t = f->server ? our_client(a, "b") : amb_tls_server(b);
		WOLFSSL *ssl = foreign_new(f);
		struct amb_record *tx, *rx;
		struct amb_tls_peer peer;
		int theirs, ours;

		CASE(foreigners[i].what);
		CHECK(t);
		ours = with_foreign(t, ssl, f->server, &theirs);
		if (foreigners[i].error) {
			CHECK(ours < 0);
			CHECK(says(t, foreigners[i].error));
			CHECK_EQ(amb_tls_error(t, NULL), foreigners[i].reason);
			CHECK_EQ(amb_tls_finish(t, &tx, &rx, &peer), -EINVAL);
			/*
			 * It hears of it: a handshake that seems done is followed by an alert.
			 * (The library closes without a word on a chain past its own limit.)
			 */
			if (theirs == 1 && (!f->cert || strcmp(f->cert, "btoolong"))) {
				char c;

				CHECK(wolfSSL_read(ssl, &c, 1) <= 0);
				CHECK(wolfSSL_get_error(ssl, -1) != WOLFSSL_ERROR_WANT_READ);
			}
		} else {
			if (ours != 1)
				says(t, NULL);
			CHECK_EQ(ours, 1);
			CHECK_EQ(theirs, 1);
			CHECK_EQ(amb_tls_finish(t, &tx, &rx, &peer), 0);
			CHECK_EQ(peer.group, foreigners[i].group);
			CHECK_EQ(peer.suite, foreigners[i].suite);
			CHECK_EQ(peer.identity->td_len, strlen("cluster.local"));
			amb_identity_put(peer.identity);
			amb_record_destroy(tx);
			amb_record_destroy(rx);
		}
		wolfSSL_free(ssl);
		amb_tls_destroy(t);
	}
	amb_cred_put(a);
	amb_cred_put(b);
}

/* ztunnel-interop 4.2: one name of the trust domain is enough, the first name is who it is. */
TEST(first_name_is_the_identity)
{
	struct amb_cred *b = cred_of("b", "b", "root");
	struct amb_tls *s = amb_tls_server(b);
	WOLFSSL *ssl = foreign_new(&(struct foreign){ .cert = "bsecond", .alpn = "h2" });
	struct amb_record *tx, *rx;
	struct amb_tls_peer peer;
	int theirs;

	CHECK_EQ(with_foreign(s, ssl, false, &theirs), 1);
	CHECK_EQ(amb_tls_finish(s, &tx, &rx, &peer), 0);
	CHECK_STR(peer.identity->spiffe, "spiffe://other.local/ns/n/sa/b");
	amb_identity_put(peer.identity);
	amb_record_destroy(tx);
	amb_record_destroy(rx);
	wolfSSL_free(ssl);
	amb_tls_destroy(s);
	amb_cred_put(b);
}

/* wolfSSL asks for new keys and goes on under them, in both directions. */
TEST(key_update_with_a_foreign_peer)
{
	struct amb_cred *b = cred_of("b", "b", "root");
	struct amb_tls *s = amb_tls_server(b);
	WOLFSSL *ssl = foreign_new(&(struct foreign){ .cert = "a", .alpn = "h2" });
	struct amb_record *tx, *rx;
	struct amb_tls_peer peer;
	struct amb_tls_post post = { 0 };
	uint8_t rec[64];
	char back[16];
	enum amb_record_type type;
	int theirs, n, round;

	CHECK_EQ(with_foreign(s, ssl, false, &theirs), 1);
	CHECK_EQ(theirs, 1);
	CHECK_EQ(amb_tls_finish(s, &tx, &rx, &peer), 0);
	for (round = 0; round < 3; round++) {
		wires_clear();
		CHECK_EQ(wolfSSL_update_keys(ssl), WOLFSSL_SUCCESS);
		n = amb_record_open(rx, to_server.b, to_server.w, &type);
		CHECK_EQ(n, 5);
		CHECK_EQ(type, AMB_RECORD_HANDSHAKE);
		CHECK_EQ(amb_tls_post_handshake(&post, true, to_server.b + AMB_RECORD_HEAD, n),
			 AMB_TLS_POST_UPDATE_REQUESTED);
		CHECK_EQ(amb_record_update(rx), 0);
		amb_tls_key_update(rec + AMB_RECORD_HEAD, false);
		n = amb_record_seal(tx, rec, AMB_TLS_KEY_UPDATE_LEN, AMB_RECORD_HANDSHAKE);
		CHECK_EQ(wire_put(&to_client, rec, n), 0);
		CHECK_EQ(amb_record_update(tx), 0);
		memcpy(rec + AMB_RECORD_HEAD, "hello", 5);
		n = amb_record_seal(tx, rec, 5, AMB_RECORD_DATA);
		CHECK_EQ(wire_put(&to_client, rec, n), 0);
		CHECK_EQ(wolfSSL_read(ssl, back, sizeof(back)), 5);
		CHECK(!memcmp(back, "hello", 5));
		wires_clear();
		CHECK_EQ(wolfSSL_write(ssl, "there", 5), 5);
		CHECK_EQ(amb_record_open(rx, to_server.b, to_server.w, &type), 5);
		CHECK(!memcmp(to_server.b + AMB_RECORD_HEAD, "there", 5));
	}
	amb_identity_put(peer.identity);
	amb_record_destroy(tx);
	amb_record_destroy(rx);
	wolfSSL_free(ssl);
	amb_tls_destroy(s);
	amb_cred_put(b);
}

/* OpenSSL, through Python's ssl module, on the other end of a socket pair. */

struct child {
	pid_t pid;
	int fd, out;
};

static struct child openssl_start(const char *role, const char *cert, const char *option)
{
	int sv[2], out[2];
	struct child c;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	CHECK_EQ(pipe(out), 0);
	pki();
	fflush(stdout);
	c.pid = fork();
	CHECK(c.pid >= 0);
	if (!c.pid) {
		char here[] = __FILE__, script[PATH_MAX];

		snprintf(script, sizeof(script), "%s/tlspeer.py", dirname(here));
		dup2(out[1], 1);
		dup2(sv[1], 3);
		closefrom(4);
		execlp("python3", "python3", script, role, pki(), cert, option, NULL);
		_exit(127);
	}
	close(sv[1]);
	close(out[1]);
	c.fd = sv[0];
	c.out = out[0];
	return c;
}

static void openssl_end(struct child *c, char *said, size_t room)
{
	size_t at = 0;
	int status;
	ssize_t n;

	shutdown(c->fd, SHUT_WR);
	while ((n = read(c->out, said + at, room - 1 - at)) > 0)
		at += n;
	said[at] = 0;
	close(c->fd);
	close(c->out);
	CHECK_EQ(waitpid(c->pid, &status, 0), c->pid);
}

static int fd_put(void *ctx, const uint8_t *data, size_t n)
{
	return send(*(int *)ctx, data, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -EPIPE;
}

/* One whole record from @fd into @rec; 0 at the end of the stream. */
static int fd_record(int fd, uint8_t *rec)
{
	int len = AMB_RECORD_HEAD, at = 0, n;

	while (at < len) {
		n = read(fd, rec + at, len - at);
		if (n <= 0)
			return 0;
		at += n;
		if (at == AMB_RECORD_HEAD) {
			len = amb_record_length(rec, at);
			CHECK(len > 0);
		}
	}
	return len;
}

/* Sends @n bytes, and reads them back through tickets and whatever else comes. */
static void echo(int fd, struct amb_record *tx, struct amb_record *rx, bool server, int *tickets)
{
	static uint8_t rec[AMB_RECORD_MAX];
	struct amb_tls_post post = { 0 };
	enum amb_record_type type = 0;
	int n, i;

	for (i = 0; i < 2; i++) {
		memset(rec + AMB_RECORD_HEAD, 'x', AMB_RECORD_PLAIN_MAX);
		n = amb_record_seal(tx, rec, AMB_RECORD_PLAIN_MAX, AMB_RECORD_DATA);
		CHECK_EQ(fd_put(&fd, rec, n), 0);
		do {
			n = fd_record(fd, rec);
			CHECK(n > 0);
			n = amb_record_open(rx, rec, n, &type);
			CHECK(n >= 0);
			if (type == AMB_RECORD_HANDSHAKE)
				CHECK_EQ(amb_tls_post_handshake(&post, server,
								rec + AMB_RECORD_HEAD, n),
					 AMB_TLS_POST_NONE);
		} while (type == AMB_RECORD_HANDSHAKE);
		CHECK_EQ(type, AMB_RECORD_DATA);
		CHECK_EQ(n, AMB_RECORD_PLAIN_MAX);
		CHECK_EQ(rec[AMB_RECORD_HEAD + n - 1], 'x');
	}
	*tickets = post.tickets;
}

static const struct {
	const char *what, *role, *cert, *option, *said, *error;
} openssls[] = {
	{ "server", "server", "b", "alpn=h2", "ok TLSv1.3 h2 TLS_A", NULL },
	{ "server with a long RSA chain", "server", "bdeep", "alpn=h2", "ok TLSv1.3 h2", NULL },
	{ "client", "client", "a", "alpn=h2", "ok TLSv1.3 h2 TLS_A", NULL },
	{ "client with a chain", "client", "bdeep", "alpn=h2", "ok TLSv1.3 h2 TLS_A", NULL },
	{ "client of TLS 1.2", "client", "a", "max=1.2", "failed", "TLS 1.3" },
	{ "server of TLS 1.2", "server", "b", "max=1.2", "failed", "" },
	{ "client without ALPN", "client", "a", "alpn=", "", "does not speak h2" },
	{ "server without ALPN", "server", "b", "alpn=", "ok TLSv1.3 None", "h2" },
	{ "client of HTTP/1", "client", "a", "alpn=http/1.1", "failed", "h2" },
	{ "client without certificate", "client", "-", "alpn=h2", "", "sent no certificate" },
	{ "server with another identity", "server", "a", "alpn=h2", "failed", "expected" },
	{ "server of other roots", "server", "bothroot", "alpn=h2", "failed", "not signed" },
	{ "server that does not know our root", "server", "b", "ca=other",
	  "failed CERTIFICATE_VERIFY_FAILED", NULL },
};

TEST(openssl)
{
	struct amb_cred *a = cred_of("a", "a", "root"), *b = cred_of("b", "b", "root");
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(openssls); i++) {
		bool server = !strcmp(openssls[i].role, "client");
		struct child c =
			openssl_start(openssls[i].role, openssls[i].cert, openssls[i].option);
		struct amb_tls *t = server ? amb_tls_server(b) : our_client(a, "b");
		struct amb_record *tx, *rx;
		struct amb_tls_peer peer;
		uint8_t buf[1];
		char said[256];
		size_t used;
		int ret, n, tickets = 0;

		CASE(openssls[i].what);
		CHECK(t);
		ret = amb_tls_handshake(t, NULL, 0, &used, fd_put, &c.fd);
		/* One byte at a time, so that nothing behind the handshake is taken. */
		while (!ret && (n = read(c.fd, buf, 1)) > 0)
			ret = amb_tls_handshake(t, buf, n, &used, fd_put, &c.fd);
		if (openssls[i].error) {
			CHECK(ret < 0);
			CHECK(says(t, openssls[i].error));
		} else {
			if (ret != 1)
				says(t, NULL);
			CHECK_EQ(ret, 1);
			CHECK_EQ(amb_tls_finish(t, &tx, &rx, &peer), 0);
			/* A server that refuses us says so behind our side of the handshake. */
			if (!strncmp(openssls[i].said, "ok", 2))
				echo(c.fd, tx, rx, server, &tickets);
			CHECK(server || tickets == 2 || strncmp(openssls[i].said, "ok", 2));
			amb_identity_put(peer.identity);
			amb_record_destroy(tx);
			amb_record_destroy(rx);
		}
		openssl_end(&c, said, sizeof(said));
		if (strncmp(said, openssls[i].said, strlen(openssls[i].said)))
			printf("# it said: %s\n", said);
		CHECK(!strncmp(said, openssls[i].said, strlen(openssls[i].said)));
		/* A session of ours is not to be resumed: its policy and identity are of now. */
		CHECK(!server || !strstr(said, "ticket"));
		amb_tls_destroy(t);
	}
	amb_cred_put(a);
	amb_cred_put(b);
}

#ifdef WOLFSSL_HAVE_MLKEM
/* COMPLIANCE_POLICY=pqc (reference 4.2). The last tests, for there is no way back. */
TEST(pqc_alone)
{
	static const struct foreign rows[] = {
		{ .cert = "a", .alpn = "h2", .group = WOLFSSL_ECC_X25519 },
		{ .cert = "a", .alpn = "h2", .group = WOLFSSL_ECC_SECP256R1 },
		{ .cert = "a", .alpn = "h2", .group = WOLFSSL_X25519MLKEM768 },
		{ .cert = "b", .alpn = "h2", .group = WOLFSSL_ECC_X25519, .server = true },
		{ .cert = "b", .alpn = "h2", .group = WOLFSSL_X25519MLKEM768, .server = true },
	};
	struct amb_cred *a, *b;
	size_t i;

	CHECK_EQ(amb_groups_pqc(), 0);
	a = cred_of("a", "a", "root");
	b = cred_of("b", "b", "root");
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		const struct foreign *f = &rows[i];
		struct amb_tls *t = f->server ? our_client(a, "b") : amb_tls_server(b);
		WOLFSSL *ssl = foreign_new(f);
		struct amb_record *tx, *rx;
		struct amb_tls_peer peer;
		int theirs, ours = with_foreign(t, ssl, f->server, &theirs);

		CASE(f->server ? "server" : "client");
		if (f->group != WOLFSSL_X25519MLKEM768) {
			CHECK(ours != 1 && theirs != 1);
		} else {
			CHECK(ours == 1 && theirs == 1);
			CHECK_EQ(amb_tls_finish(t, &tx, &rx, &peer), 0);
			CHECK_EQ(peer.group, WOLFSSL_X25519MLKEM768);
			amb_identity_put(peer.identity);
			amb_record_destroy(tx);
			amb_record_destroy(rx);
		}
		wolfSSL_free(ssl);
		amb_tls_destroy(t);
	}
	amb_cred_put(a);
	amb_cred_put(b);
}

/* supported_groups with 0x11ec alone, in what we say first to istiod. */
TEST(pqc_alone_to_the_control_plane)
{
	static const uint8_t groups[] = { 0, 10, 0, 4, 0, 2, 0x11, 0xec };
	struct pki_file root = pki_read("root", "crt");
	struct amb_tls_client *t;
	uint8_t hello[4096];
	char err[200];
	int sv[2];
	ssize_t n;

	CHECK_EQ(amb_groups_pqc(), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	t = amb_tls_client_create(sv[0], root.text, "istiod", NULL, err, sizeof(err));
	CHECK(t);
	CHECK_EQ(amb_tls_client_handshake(t), -EAGAIN);
	n = read(sv[1], hello, sizeof(hello));
	/* The share itself is there too: 1184 bytes and 32. */
	CHECK(n > 1216 && memmem(hello, n, groups, sizeof(groups)));
	amb_tls_client_destroy(t);
	close(sv[0]);
	close(sv[1]);
	free(root.text);
}
#endif

int main(void)
{
	int ret;

	if (amb_tls_init())
		return 1;
	ret = harness_run();
	amb_tls_uninit();
	return ret;
}
