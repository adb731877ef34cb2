// SPDX-License-Identifier: GPL-2.0-or-later
/* Chains against a root: certificates, each behind two bytes of length, the root first. */
#include "fuzz.h"

#include "proxy/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_der certs[AMB_TRUST_DEPTH + 2];
	struct amb_leaf leaf = { 0 };
	enum amb_reason reason = AMB_REASON_NONE;
	struct amb_trust *trust;
	char err[256] = "", *pem;
	size_t n = 0, i;
	int ret, again;

	while (size >= 2 && n < AMB_TRUST_DEPTH + 2) {
		size_t len = data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		certs[n++] = (struct amb_der){ data, len };
		data += len;
		size -= len;
	}
	if (n < 2 || !certs[0].len)
		return 0;
	pem = amb_pem_write(certs[0].data, certs[0].len);
	trust = pem ? amb_trust_create(pem, err, sizeof(err)) : NULL;
	free(pem);
	if (!trust)
		return 0;
	ret = amb_trust_verify(trust, certs + 1, n - 1, &leaf, &reason, err, sizeof(err));
	if (ret) {
		PROMISE(ret < 0 && reason != AMB_REASON_NONE && *err && !leaf.n);
		for (i = 0; err[i]; i++)
			PROMISE(err[i] >= ' ' && err[i] < 127);
	} else {
		PROMISE(leaf.n && leaf.n <= AMB_TRUST_IDS && leaf.id[0]);
	}
	amb_leaf_clear(&leaf);
	/* The cache says what the check said. */
	again = amb_trust_verify(trust, certs + 1, n - 1, &leaf, &reason, err, sizeof(err));
	PROMISE(again == ret);
	amb_leaf_clear(&leaf);
	amb_trust_put(trust);
	return 0;
}
