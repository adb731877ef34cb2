// SPDX-License-Identifier: GPL-2.0-or-later
/* Revocation lists as openssl makes them: whom they revoke, and what is refused as a file. */
#include "pki.h"

#include "base/log.h"
#include "proxy/crl.h"
#include "proxy/signer.h"

/* All who sign; two of them are of one name. */
static const char *const issuers[] = { "fake", "root", "mid", "mid384", "midrsa" };

static void add_cert(struct amb_pem *pem, const char *name)
{
	struct pki_file f = pki_read(name, "crt");
	struct amb_pem one = { 0 };
	uint8_t *der;

	CHECK_EQ(amb_pem_read(f.text, &one), 0);
	der = malloc(one.cert[0].len);
	CHECK(der);
	memcpy(der, one.cert[0].data, one.cert[0].len);
	pem->cert[pem->n++] = (struct amb_der){ der, one.cert[0].len };
	amb_pem_clear(&one);
	free(f.text);
}

static int ids_under(const char *name, const char *const *roots, size_t n, struct amb_crl_id *id)
{
	struct amb_der store[16];
	struct amb_pem pem = { .cert = store };
	size_t i;
	int err;

	for (i = 0; i < n; i++)
		add_cert(&pem, roots[i]);
	add_cert(&pem, name);
	pem.n--;
	err = amb_crl_ids(&store[pem.n], 1, &pem, id);
	for (i = 0; i <= n; i++)
		free((void *)store[i].data);
	return err;
}

static struct amb_crl_id id_under(const char *name, const char *const *roots, size_t n)
{
	struct amb_crl_id id;

	CHECK_EQ(ids_under(name, roots, n, &id), 0);
	return id;
}

static struct amb_crl_id id_of(const char *name)
{
	return id_under(name, issuers, AMB_ARRAY_SIZE(issuers));
}

static int load(const char *name, size_t *n, char *err)
{
	struct pki_file f = pki_read(name, "crl");
	int e = amb_crl_load(f.text, f.len, n, err, 128);

	free(f.text);
	return e;
}

static bool is_revoked(const char *name)
{
	struct amb_crl_id id = id_of(name);
	bool yes = amb_crl_find(&id, 1) == 0;

	amb_crl_ids_put(&id, 1);
	return yes;
}

/* Which of these certificates each file revokes. */
static const char *const certs[] = { "a",    "b",     "bnokey", "bmid", "mid",
				     "mid2", "bfake", "b384",	"brsa" };

static const struct {
	const char *file;
	size_t n; /* named */
	const char *revoked;
} files[] = {
	{ "none", 0, "" },
	{ "one", 1, "b " },
	{ "der", 1, "b " },
	{ "some", 3, "a bnokey mid " },
	{ "mids", 2, "bmid mid2 " },
	{ "two", 3, "b bmid mid2 " },
	{ "cert", 0, "" },
	{ "scoped", 1, "b " },
	/* Of another key by the same name. */
	{ "namesake", 3, "bfake " },
	{ "forged", 4, "" },
	{ "forgedid", 4, "" },
	/* Each way of signing. */
	{ "p384", 1, "b384 " },
	{ "sha512", 1, "b " },
	{ "rsa", 1, "brsa " },
	{ "rsa384", 1, "brsa " },
	{ "rsa512", 1, "brsa " },
	{ "forgedrsa", 1, "" },
	{ "forgedec", 1, "" },
};

TEST(whom_they_name)
{
	char seen[128], err[128] = "";
	size_t i, j, n;

	for (i = 0; i < AMB_ARRAY_SIZE(files); i++) {
		uint32_t before = amb_crl_generation();

		CASE(files[i].file);
		CHECK_EQ(load(files[i].file, &n, err), 0);
		CHECK_EQ(n, files[i].n);
		CHECK(amb_crl_generation() && amb_crl_generation() != before);
		seen[0] = 0;
		for (j = 0; j < AMB_ARRAY_SIZE(certs); j++) {
			if (is_revoked(certs[j]))
				strcat(strcat(seen, certs[j]), " ");
		}
		CHECK_STR(seen, files[i].revoked);
	}
	amb_crl_unload();
	CHECK_EQ(amb_crl_generation(), 0);
	CHECK(!is_revoked("b"));
	CHECK_EQ(amb_signer_count(), 0);
}

/* One bit of a list is another: of what is signed, or of the signature. */
static void change(const char *file, const char *cert)
{
	struct pki_file f = pki_read(file, "crl");
	struct amb_crl_id id = id_of(cert);
	char err[128] = "";
	size_t i, n, read = 0;

	CASE(file);
	CHECK_EQ(amb_crl_load(f.text, f.len, &n, err, sizeof(err)), 0);
	CHECK_EQ(amb_crl_find(&id, 1), 0);
	for (i = 0; i < f.len; i++) {
		f.text[i] ^= 1;
		if (!amb_crl_load(f.text, f.len, &n, err, sizeof(err))) {
			read++;
			CHECK_EQ(amb_crl_find(&id, 1), 1);
		}
		f.text[i] ^= 1;
	}
	/* The most are lists all the same. */
	CHECK(read > f.len / 2);
	amb_crl_unload();
	amb_crl_ids_put(&id, 1);
	free(f.text);
}

TEST(changed_lists)
{
	change("der", "b");
	change("rsader", "brsa");
}

/* A list by a key that nobody told us of. */
TEST(unknown_issuers)
{
	static const char *const other[] = { "other" };
	struct amb_crl_id id = id_under("b", other, 1);
	char err[128] = "";
	size_t n;

	CHECK(id.cert && !id.signer);
	CHECK_EQ(load("one", &n, err), 0);
	CHECK_EQ(amb_crl_find(&id, 1), 1);
	amb_crl_ids_put(&id, 1);
	amb_crl_unload();
}

/* Which of two keys signed it cannot be told. */
TEST(issuers_that_cannot_be_told_apart)
{
	static const char *const roots[] = { "root", "fake" };
	struct amb_crl_id id = id_under("b224", roots, 1);
	char err[128] = "";
	size_t n;

	CASE("one");
	CHECK_EQ(load("b224", &n, err), 0);
	CHECK_EQ(amb_crl_find(&id, 1), 0);
	amb_crl_ids_put(&id, 1);
	CASE("two");
	CHECK_EQ(ids_under("b224", roots, 2, &id), -EBADMSG);
	amb_crl_unload();
	CHECK_EQ(amb_signer_count(), 0);
}

TEST(chains)
{
	struct amb_crl_id ids[3] = { id_of("bmid"), id_of("mid"), id_of("root") };
	char err[128] = "";
	size_t n;

	CHECK_EQ(load("some", &n, err), 0);
	CHECK_EQ(amb_crl_find(ids, 3), 1);
	CHECK_EQ(amb_crl_find(ids, 1), 1);
	CHECK_EQ(load("mids", &n, err), 0);
	CHECK_EQ(amb_crl_find(ids, 3), 0);
	amb_crl_unload();
	CHECK_EQ(amb_crl_find(ids, 3), 3);
	amb_crl_ids_put(ids, 3);
}

static const struct {
	const char *what, *text, *error;
} bad[] = {
	{ "text", "hello", "list 0: it is neither PEM nor DER" },
	{ "a block without end", "-----BEGIN X509 CRL-----\nMAAA",
	  "list 0: its PEM block does not end" },
	{ "no base64", "-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n",
	  "list 0: its PEM block is not base64" },
	{ "no list", "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
	  "list 1: it is no certificate revocation list" },
};

/* What was revoked before stays so. */
static void refused(const char *data, size_t len, const char *error)
{
	uint32_t before = amb_crl_generation();
	char err[128] = "";
	size_t n = 77;

	CHECK_EQ(amb_crl_load(data, len, &n, err, sizeof(err)), -EBADMSG);
	if (error)
		CHECK_STR(err, error);
	CHECK_EQ(n, 77);
	CHECK_EQ(amb_crl_generation(), before);
	CHECK(is_revoked("b"));
}

TEST(bad_files)
{
	static const char *const kinds[][2] = {
		{ "indirect", "list 1: it is an indirect list" },
		{ "delta", "list 1: a critical extension that is not known, as of delta lists" },
		{ "pss", "list 1: it is signed by an algorithm that is not known" },
	};
	struct pki_file f;
	char err[128] = "", *copy;
	size_t i, n;

	CHECK_EQ(load("one", &n, err), 0);
	for (i = 0; i < AMB_ARRAY_SIZE(bad); i++) {
		CASE(bad[i].what);
		refused(bad[i].text, strlen(bad[i].text), bad[i].error);
	}
	for (i = 0; i < AMB_ARRAY_SIZE(kinds); i++) {
		CASE(kinds[i][0]);
		f = pki_read(kinds[i][0], "crl");
		refused(f.text, f.len, kinds[i][1]);
		free(f.text);
	}
	CASE("a NUL before everything");
	refused("\0-----BEGIN X509 CRL-----\n", 26, "list 0: there is a NUL in the text");
	CASE("a NUL between two lists, of which the second would be passed over");
	f = pki_read("two", "crl");
	copy = strstr(strstr(f.text, "-----END X509 CRL"), "\n");
	CHECK(copy);
	*copy = 0;
	refused(f.text, f.len, "list 0: there is a NUL in the text");
	free(f.text);
	CASE("cut at each byte, in memory that ends there");
	f = pki_read("der", "crl");
	for (i = 1; i < f.len; i++) {
		copy = malloc(i);
		CHECK(copy);
		memcpy(copy, f.text, i);
		refused(copy, i, NULL);
		free(copy);
	}
	free(f.text);
	CASE("too large");
	copy = calloc(1, AMB_CRL_BYTES_MAX + 1);
	CHECK(copy);
	CHECK_EQ(amb_crl_load(copy, AMB_CRL_BYTES_MAX + 1, &n, err, sizeof(err)), -EFBIG);
	free(copy);
	CASE("nothing at all");
	CHECK_EQ(amb_crl_load("", 0, &n, err, sizeof(err)), 0);
	CHECK(!n && !is_revoked("b"));
	amb_crl_unload();
}

TEST(certificates_that_are_none)
{
	struct pki_file f = pki_read("bnokey", "crt");
	struct amb_pem pem = { 0 };
	struct amb_crl_id id;
	size_t i;

	CHECK_EQ(amb_pem_read(f.text, &pem), 0);
	for (i = 0; i < pem.cert[0].len; i++) {
		uint8_t *copy = malloc(i ?: 1);

		CHECK(copy);
		memcpy(copy, pem.cert[0].data, i);
		CHECK_EQ(amb_crl_ids(&(struct amb_der){ copy, i }, 1, NULL, &id), -EBADMSG);
		free(copy);
	}
	amb_pem_clear(&pem);
	free(f.text);
}

int main(void)
{
	amb_log_set_filter("off");
	return harness_run();
}
