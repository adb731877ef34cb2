// SPDX-License-Identifier: GPL-2.0-or-later
/* istiod's certificate service: what is asked, and what an answer must be (reference 2). */
#include "pki.h"

#include "control/citadel.h"

#include <stdbool.h>
#include <unistd.h>

static const char uri[] = "spiffe://cluster.local/ns/n/sa/a";

/* What openssl says of a request. */
static char *openssl_says(const char *pem)
{
	static char out[8192];
	char path[] = "/tmp/csr.XXXXXX", cmd[128];
	int fd = mkstemp(path);
	FILE *f;
	size_t n;

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, pem, strlen(pem)), strlen(pem));
	close(fd);
	snprintf(cmd, sizeof(cmd), "openssl req -in %s -noout -text -verify 2>&1", path);
	f = popen(cmd, "r");
	CHECK(f);
	n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = 0;
	CHECK_EQ(pclose(f), 0);
	unlink(path);
	return out;
}

TEST(request)
{
	struct amb_x509_key *key;
	char *pem, *says;

	CHECK_EQ(amb_x509_init(), 0);
	key = amb_x509_key_create(AMB_X509_P256);
	CHECK(key);
	pem = amb_x509_request_pem(key, uri);
	CHECK(pem);
	CHECK(!strncmp(pem, "-----BEGIN CERTIFICATE REQUEST-----\n", 36));
	says = openssl_says(pem);
	CHECK(strstr(says, "self-signature verify OK"));
	CHECK(strstr(says, "Version: 1 (0x0)"));
	CHECK(strstr(says, "Subject: \n") || strstr(says, "Subject:\n"));
	CHECK(strstr(says, "NIST CURVE: P-256"));
	CHECK(strstr(says, "Signature Algorithm: ecdsa-with-SHA256"));
	CHECK(strstr(says, "X509v3 Subject Alternative Name: critical\n"));
	CHECK(strstr(says, "URI:spiffe://cluster.local/ns/n/sa/a\n"));
	free(pem);
	CHECK(!amb_x509_request_pem(key, "") && errno == EINVAL);
	amb_x509_key_destroy(key);
}

TEST(answers)
{
	struct pki_file leaf = pki_read("a", "pem"), other = pki_read("b", "pem"),
			mid = pki_read("mid", "crt"), root = pki_read("root", "crt"),
			roots = pki_read("bundle", "crt");
	char *const good[] = { leaf.text, mid.text, roots.text };
	char *const direct[] = { leaf.text, root.text };
	char *const wrong[] = { other.text, root.text };
	char *const garbage[] = { "garbage", root.text };
	char *const ca[] = { root.text, root.text };
	const struct {
		const char *what;
		char *const *list;
		size_t n;
		int ret;
		const char *err;
	} rows[] = {
		{ "with an intermediate", good, 3, 0, "" },
		{ "without", direct, 2, 0, "" },
		{ "without a root", good, 1, -EINVAL,
		  "it sent 1 certificates: no root among them" },
		{ "empty", good, 0, -EINVAL, "it sent 0 certificates: no root among them" },
		{ "of another", wrong, 2, -EINVAL,
		  "its certificate is for spiffe://cluster.local/ns/n/sa/b" },
		{ "of nobody", ca, 2, -EINVAL, "its certificate is for nobody" },
		{ "unreadable", garbage, 2, -EINVAL, "its certificate cannot be read" },
	};
	struct amb_identity *id = amb_identity_parse(uri, strlen(uri));
	char err[256];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		struct amb_certs_result r = { 0 };
		char *chain = NULL;

		CASE(rows[i].what);
		err[0] = 0;
		CHECK_EQ(amb_citadel_chain(rows[i].list, rows[i].n, id, &r, &chain, err,
					   sizeof(err)),
			 rows[i].ret);
		CHECK_STR(err, rows[i].err);
		if (rows[i].ret) {
			CHECK(!chain);
			continue;
		}
		/* All but the last element are shown to peers; the last is what we trust. */
		CHECK(!strncmp(r.chain_pem, leaf.text, leaf.len) && r.chain_pem == chain);
		CHECK(!strstr(chain, mid.text) == (rows[i].n < 3));
		CHECK(!strstr(chain, root.text));
		CHECK_STR(r.roots_pem, rows[i].list[rows[i].n - 1]);
		CHECK(r.not_before <= time(NULL) && r.not_after > time(NULL));
		free(chain);
	}
	amb_identity_put(id);
	free(leaf.text);
	free(other.text);
	free(mid.text);
	free(root.text);
	free(roots.text);
}

int main(void)
{
	return harness_run();
}
