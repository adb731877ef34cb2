// SPDX-License-Identifier: GPL-2.0-or-later
/* Revocation lists as a file, and certificates as a peer shows them. */
#include "fuzz.h"

#include "proxy/crl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct amb_der der = { data, size };
	struct amb_crl_id id;
	char err[128] = "";
	size_t n = 0;

	if (!amb_crl_load(data, size, &n, err, sizeof(err)))
		PROMISE(amb_crl_generation());
	else
		PROMISE(*err);
	if (!amb_crl_ids(&der, 1, &id))
		PROMISE(id.cert && amb_crl_find(&id, 1) <= 1);
	amb_crl_unload();
	return 0;
}
