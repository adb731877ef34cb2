// SPDX-License-Identifier: GPL-2.0-or-later
/* Secrets of a secret discovery service: what is taken, and what is refused with which reason. */
#include "pki.h"

#include "sds.pb-c.h"

#include "control/sds.h"
#include "control/sds_secret.h"

#include <errno.h>

/* Rows of tables say what they are about and no more. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static const char A[] = "spiffe://cluster.local/ns/n/sa/a";
static struct amb_identity *id;

struct what {
	const char *name;
	const char *chain, *key, *roots; /* PEM, NULL: not there */
	int file; /* say where they are instead */
	int string; /* as inline_string */
	const char *type;
	const char *version, *nonce;
};

static void source(Sds__DataSource *s, const char *text, const struct what *w)
{
	sds__data_source__init(s);
	if (!text)
		return;
	if (w->file || w->string) {
		s->specifier_case = w->file ? SDS__DATA_SOURCE__SPECIFIER_FILENAME :
					      SDS__DATA_SOURCE__SPECIFIER_INLINE_STRING;
		s->inline_string = (char *)text;
		return;
	}
	s->specifier_case = SDS__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
	s->inline_bytes.data = (uint8_t *)text;
	s->inline_bytes.len = strlen(text);
}

/* A response with @n secrets, packed. */
static size_t pack(const struct what *w, size_t n, uint8_t *out)
{
	Sds__DiscoveryResponse m = SDS__DISCOVERY_RESPONSE__INIT;
	Google__Protobuf__Any any[4], *anys[4];
	static uint8_t bytes[4][32768];
	size_t i;

	m.version_info = (char *)(w->version ? w->version : "7");
	m.nonce = (char *)(w->nonce ? w->nonce : "n1");
	for (i = 0; i < n; i++) {
		Sds__Secret s = SDS__SECRET__INIT;
		Sds__TlsCertificate cert = SDS__TLS_CERTIFICATE__INIT;
		Sds__CertificateValidationContext ctx = SDS__CERTIFICATE_VALIDATION_CONTEXT__INIT;
		Sds__DataSource chain, key, roots;

		source(&chain, w[i].chain, &w[i]);
		source(&key, w[i].key, &w[i]);
		source(&roots, w[i].roots, &w[i]);
		cert.certificate_chain = &chain;
		cert.private_key = &key;
		ctx.trusted_ca = &roots;
		s.name = (char *)w[i].name;
		if (w[i].roots) {
			s.type_case = SDS__SECRET__TYPE_VALIDATION_CONTEXT;
			s.validation_context = &ctx;
		} else {
			s.type_case = SDS__SECRET__TYPE_TLS_CERTIFICATE;
			s.tls_certificate = &cert;
		}
		google__protobuf__any__init(&any[i]);
		any[i].type_url = (char *)(w[i].type ? w[i].type : AMB_SDS_TYPE);
		any[i].value.data = bytes[i];
		any[i].value.len = sds__secret__pack(&s, bytes[i]);
		anys[i] = &any[i];
	}
	m.n_resources = n;
	m.resources = anys;
	return sds__discovery_response__pack(&m, out);
}

static uint8_t wire[1 << 17];
static struct amb_sds_answer answer;
static char err[AMB_SDS_ERROR_MAX];

static int read_it(const struct what *w, size_t n, const char *name, const struct amb_identity *of)
{
	size_t len = pack(w, n, wire);

	err[0] = 0;
	return amb_sds_answer_read(wire, len, name, of, &answer, err);
}

TEST(certificates)
{
	struct pki_file leaf = pki_read("a", "pem"), key = pki_read("a", "key"),
			b = pki_read("b", "pem"), bkey = pki_read("b", "key"),
			rsa = pki_read("rootrsa", "key"), root = pki_read("root", "crt");
	const struct {
		const char *what;
		struct what w;
		int ret;
		const char *err;
	} rows[] = {
		{ "good", { A, leaf.text, key.text }, 1, "" },
		{ "as strings", { A, leaf.text, key.text, .string = 1 }, 1, "" },
		{ "of another name", { "default", leaf.text, key.text }, 0, "" },
		{ "in files",
		  { A, "/tmp/chain", "/tmp/key", .file = 1 },
		  -EINVAL,
		  "it has no inline key" },
		{ "without a key", { A, leaf.text, NULL }, -EINVAL, "it has no inline key" },
		{ "without a certificate",
		  { A, NULL, key.text },
		  -EINVAL,
		  "it has no inline certificate" },
		{ "key of another",
		  { A, leaf.text, bkey.text },
		  -EINVAL,
		  "its key is not that of its certificate" },
		{ "of another identity",
		  { A, b.text, bkey.text },
		  -EINVAL,
		  "its certificate is for spiffe://cluster.local/ns/n/sa/b" },
		{ "an RSA key",
		  { A, leaf.text, rsa.text },
		  -EINVAL,
		  "its key is none of P-256 or P-384" },
		{ "no certificate in it",
		  { A, key.text, key.text },
		  -EINVAL,
		  "its certificate cannot be read" },
		{ "no key in it",
		  { A, leaf.text, leaf.text },
		  -EINVAL,
		  "its key is none of P-256 or P-384" },
		{ "roots where a certificate belongs",
		  { A, .roots = root.text },
		  -EINVAL,
		  "it is no certificate" },
		{ "another type",
		  { A, leaf.text, key.text, .type = "x/Y" },
		  -EINVAL,
		  "it is of type x/Y" },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		CHECK_EQ(read_it(&rows[i].w, 1, A, id), rows[i].ret);
		CHECK_STR(err, rows[i].err);
		CHECK_STR(answer.version, "7");
		CHECK_STR(answer.nonce, "n1");
		CHECK_EQ(!!answer.secret.chain, rows[i].ret == 1);
		if (rows[i].ret == 1) {
			CHECK_STR(answer.secret.chain, leaf.text);
			CHECK(answer.secret.keylen > 0 && !answer.secret.roots);
			CHECK(answer.secret.not_before <= time(NULL) &&
			      answer.secret.not_after > time(NULL));
		}
		amb_sds_secret_clear(&answer.secret);
		CHECK(!answer.secret.chain && !answer.secret.keylen);
	}
	free(leaf.text);
	free(key.text);
	free(b.text);
	free(bkey.text);
	free(rsa.text);
	free(root.text);
}

TEST(roots)
{
	struct pki_file bundle = pki_read("bundle", "crt"), leaf = pki_read("a", "pem"),
			key = pki_read("a", "key");
	struct what w[] = { { "ALL", .roots = bundle.text }, { "ROOTCA", .roots = bundle.text } };

	CHECK_EQ(read_it(w, 2, "ROOTCA", NULL), 1);
	CHECK_STR(answer.secret.roots, bundle.text);
	amb_sds_secret_clear(&answer.secret);
	CHECK_EQ(read_it(w, 2, "ROOTCB", NULL), 0);
	w[0].roots = "nothing";
	CHECK_EQ(read_it(w, 1, "ALL", NULL), -EINVAL);
	CHECK_STR(err, "its roots cannot be read");
	w[0] = (struct what){ "ROOTCA", leaf.text, key.text };
	CHECK_EQ(read_it(w, 1, "ROOTCA", NULL), -EINVAL);
	CHECK_STR(err, "it is no validation context");
	free(bundle.text);
	free(leaf.text);
	free(key.text);
}

TEST(what_is_no_answer)
{
	char text[AMB_SDS_VERSION_MAX + 1];
	struct what w = { "x", .roots = "x", .version = text };
	size_t n, len;

	CHECK_EQ(amb_sds_answer_read((const uint8_t *)"\xff\xff", 2, "x", NULL, &answer, err),
		 -EBADMSG);
	/* Nothing at all is an empty message. */
	CHECK_EQ(amb_sds_answer_read((const uint8_t *)"", 0, "x", NULL, &answer, err), 0);
	memset(text, 'v', sizeof(text));
	text[AMB_SDS_VERSION_MAX] = 0;
	CHECK_EQ(read_it(&w, 1, "y", NULL), -EBADMSG);
	text[AMB_SDS_VERSION_MAX - 1] = 0;
	CHECK_EQ(read_it(&w, 1, "y", NULL), 0);
	/* Cut anywhere: refused or without the secret, never more. */
	len = pack(&w, 1, wire);
	for (n = 0; n < len; n++) {
		CHECK(amb_sds_answer_read(wire, n, "x", NULL, &answer, err) <= 0);
		amb_sds_secret_clear(&answer.secret);
	}
}

int main(void)
{
	int ret;

	if (amb_x509_init())
		return 1;
	id = amb_identity_parse(A, strlen(A));
	ret = harness_run();
	amb_identity_put(id);
	return ret;
}
