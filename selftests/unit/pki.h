/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Certificates for tests: made by pki.sh, once per process or, where many run, once for all of them
 * (AMB_PKI, a directory); and by our own x509.c for dates.
 */
#ifndef SELFTESTS_PKI_H
#define SELFTESTS_PKI_H

#include "harness.h"

#include "base/util.h"
#include "control/x509.h"
#include "mesh/identity.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct pki_file {
	char *text;
	size_t len;
};

static char pki_dir[] = "/tmp/pki.XXXXXX";
static int pki_made;

__attribute__((unused)) static void pki_remove(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", pki_dir);
	if (system(cmd))
		fprintf(stderr, "%s stays\n", pki_dir);
}

__attribute__((unused)) static const char *pki(void)
{
	char here[] = __FILE__, cmd[PATH_MAX];
	const char *made = getenv("AMB_PKI");

	if (pki_made)
		return pki_dir;
	CHECK(mkdtemp(pki_dir));
	pki_made = 1;
	atexit(pki_remove);
	if (made)
		snprintf(cmd, sizeof(cmd), "ln -s %s/* %s/", made, pki_dir);
	else
		snprintf(cmd, sizeof(cmd), "%s/pki.sh %s", dirname(here), pki_dir);
	CHECK_EQ(system(cmd), 0);
	return pki_dir;
}

/* @name.@ext of pki.sh; to be freed. */
__attribute__((unused)) static struct pki_file pki_read(const char *name, const char *ext)
{
	struct pki_file f = { 0 };
	char path[PATH_MAX];
	long n;

	snprintf(path, sizeof(path), "%s/%s.%s", pki(), name, ext);
	n = amb_util_read_file(path, 1 << 20, &f.text);
	CHECK(n > 0);
	f.len = n;
	return f;
}

/* A root and a leaf under it with any dates, made by our own code. */
struct pki_own {
	struct amb_x509_key *root_key;
	uint8_t root[AMB_X509_CERT_MAX];
	size_t root_len;
	char *root_pem;
};

__attribute__((unused)) static void pki_own_root(struct pki_own *p, int64_t from, int64_t to)
{
	int n;

	CHECK_EQ(amb_x509_init(), 0);
	p->root_key = amb_x509_key_create(AMB_X509_P256);
	CHECK(p->root_key);
	n = amb_x509_sign(&(struct amb_x509_template){ .kind = AMB_X509_ROOT,
						       .organization = "test",
						       .common_name = "own",
						       .uri = "spiffe://cluster.local",
						       .not_before = from,
						       .not_after = to },
			  p->root_key, p->root_key, NULL, p->root);
	CHECK(n > 0);
	p->root_len = n;
	p->root_pem = amb_pem_write(p->root, n);
	CHECK(p->root_pem);
}

__attribute__((unused)) static void pki_own_free(struct pki_own *p)
{
	amb_x509_key_destroy(p->root_key);
	free(p->root_pem);
}

/* Key as DER and chain as PEM (to be freed) of @uri, valid between @from and @to. */
__attribute__((unused)) static struct pki_file pki_own_leaf(struct pki_own *p, const char *uri,
							    int64_t from, int64_t to,
							    uint8_t *key_der, size_t *key_len)
{
	struct amb_x509_key *key = amb_x509_key_create(AMB_X509_P256);
	uint8_t der[AMB_X509_CERT_MAX];
	struct pki_file f;
	int n;

	CHECK(key);
	n = amb_x509_key_der(key, key_der);
	CHECK(n > 0);
	*key_len = n;
	n = amb_x509_sign(
		&(struct amb_x509_template){
			.kind = AMB_X509_LEAF, .uri = uri, .not_before = from, .not_after = to },
		key, p->root_key, &(struct amb_der){ p->root, p->root_len }, der);
	CHECK(n > 0);
	amb_x509_key_destroy(key);
	f.text = amb_pem_write(der, n);
	CHECK(f.text);
	f.len = strlen(f.text);
	return f;
}

#endif
