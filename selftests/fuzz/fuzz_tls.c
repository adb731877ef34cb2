// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bytes of a stranger into a handshake. First byte: bit 0 which side we are, the rest how many
 * bytes come at a time. Nobody gets through without a key.
 */
#include "fuzz.h"

#include "base/util.h"
#include "control/x509.h"
#include "proxy/cred.h"
#include "proxy/creds.h"
#include "proxy/tls.h"
#include "proxy/trust.h"

#include <time.h>

static struct amb_cred *cred;
static struct amb_identset expect;

static void set_up(void)
{
	struct amb_identity *id = amb_identity_intern("cluster.local", "n", "a");
	struct amb_x509_key *root, *key;
	uint8_t root_der[AMB_X509_CERT_MAX], der[AMB_X509_CERT_MAX], key_der[AMB_X509_KEY_DER_MAX];
	struct amb_x509_template t = { .kind = AMB_X509_ROOT,
				       .organization = "test",
				       .common_name = "root",
				       .uri = "spiffe://cluster.local",
				       .not_before = time(NULL) - 10,
				       .not_after = time(NULL) + 86400 };
	struct amb_trust *trust;
	char *root_pem, *pem, err[256];
	int n, keylen;

	PROMISE(!amb_tls_init() && !amb_x509_init() && id);
	root = amb_x509_key_create(AMB_X509_P256);
	key = amb_x509_key_create(AMB_X509_P256);
	PROMISE(root && key);
	n = amb_x509_sign(&t, root, root, NULL, root_der);
	PROMISE(n > 0);
	root_pem = amb_pem_write(root_der, n);
	t.kind = AMB_X509_LEAF;
	t.uri = id->spiffe;
	n = amb_x509_sign(&t, key, root, &(struct amb_der){ root_der, n }, der);
	PROMISE(n > 0);
	pem = amb_pem_write(der, n);
	keylen = amb_x509_key_der(key, key_der);
	trust = amb_trust_create(root_pem, err, sizeof(err));
	PROMISE(trust && keylen > 0);
	cred = amb_cred_create(id, key_der, keylen, pem, trust, err, sizeof(err));
	PROMISE(cred && !amb_identset_add(&expect, id));
	amb_identity_put(id);
	amb_trust_put(trust);
	amb_x509_key_destroy(root);
	amb_x509_key_destroy(key);
	free(root_pem);
	free(pem);
}

static int swallow(void *ctx, const uint8_t *data, size_t n)
{
	(void)data;
	*(size_t *)ctx += n;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step, at = 0, used, sent = 0;
	const char *text;
	struct amb_tls *t;
	int ret;

	if (!size)
		return 0;
	if (!cred)
		set_up();
	step = data[0] >> 1 ?: 4096;
	t = data[0] & 1 ? amb_tls_server(cred) : amb_tls_client(cred, &expect);
	PROMISE(t);
	data++;
	size--;
	ret = amb_tls_handshake(t, NULL, 0, &used, swallow, &sent);
	while (!ret && at < size) {
		size_t n = AMB_MIN(step, size - at);

		ret = amb_tls_handshake(t, data + at, n, &used, swallow, &sent);
		PROMISE(used <= n && (ret || used == n));
		at += used;
	}
	PROMISE(ret <= 0);
	PROMISE(sent < 64 * 1024);
	if (ret < 0)
		PROMISE(amb_tls_error(t, &text) != AMB_REASON_NONE && text && *text);
	amb_tls_destroy(t);
	return 0;
}
