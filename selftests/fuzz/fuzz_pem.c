// SPDX-License-Identifier: GPL-2.0-or-later
/* Root bundles and certificates, as files and as a peer shows them. */
#include "fuzz.h"

#include "base/pem.h"
#include "control/x509.h"
#include "proxy/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_pem_info info;
	struct amb_pem pem = { 0 };
	struct amb_trust *trust;
	char err[128], host[256];
	char *text = fuzz_text(data, size);
	size_t i;

	if (!amb_pem_read(text, &pem)) {
		PROMISE(pem.n && pem.n <= AMB_PEM_CERTS_MAX);
		for (i = 0; i < pem.n; i++) {
			if (!amb_pem_info(&pem.cert[i], &info))
				PROMISE(strnlen(info.uri, sizeof(info.uri)) < sizeof(info.uri));
			(void)amb_x509_permitted_host(&pem.cert[i], host, sizeof(host));
		}
	}
	amb_pem_clear(&pem);
	trust = amb_trust_create(text, err, sizeof(err));
	amb_trust_put(trust);
	/* The same bytes as a certificate by itself. */
	(void)amb_pem_info(&(struct amb_der){ data, size }, &info);
	free(text);
	return 0;
}
