// SPDX-License-Identifier: GPL-2.0-or-later
/* Revocation lists as a file, and certificates as a peer shows them. */
#include "fuzz.h"

#include "proxy/crl.h"
#include "proxy/signer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct amb_der der = { data, size };
	struct amb_signature *sig = NULL;
	struct amb_crl_id id;
	char err[128] = "";
	size_t n = 0;

	if (!amb_crl_load(data, size, &n, err, sizeof(err)))
		PROMISE(amb_crl_generation());
	else
		PROMISE(*err);
	if (!amb_crl_ids(&der, 1, NULL, &id)) {
		PROMISE(id.cert && amb_crl_find(&id, 1) <= 1);
		/* Its own issuer, perhaps: the key that it shows, and what it says is by that. */
		if (id.signer && !amb_signature_read(&der, &sig))
			PROMISE(amb_signer_made(id.signer, sig) <= 1);
		amb_crl_ids_put(&id, 1);
		free(sig);
	}
	amb_crl_unload();
	PROMISE(!amb_signer_count());
	return 0;
}
