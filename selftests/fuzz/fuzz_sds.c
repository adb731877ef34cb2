// SPDX-License-Identifier: GPL-2.0-or-later
/* An answer of a secret discovery service: taken whole and consistent, or not at all. */
#include "fuzz.h"

#include "control/sds_secret.h"

#include <errno.h>

static void one(const uint8_t *data, size_t size, const char *name, const struct amb_identity *id)
{
	char err[AMB_SDS_ERROR_MAX] = "";
	struct amb_sds_answer a;
	int ret = amb_sds_answer_read(data, size, name, id, &a, err);

	PROMISE(ret == 1 || ret == 0 || ret == -EBADMSG || ret == -EINVAL || ret == -ENOMEM);
	PROMISE(strnlen(a.version, sizeof(a.version)) < sizeof(a.version));
	PROMISE(strnlen(a.nonce, sizeof(a.nonce)) < sizeof(a.nonce));
	if (ret == -EINVAL)
		PROMISE(*err);
	if (ret == 1 && id)
		PROMISE(a.secret.chain && a.secret.keylen && !a.secret.roots);
	else if (ret == 1)
		PROMISE(a.secret.roots && !a.secret.chain);
	else
		PROMISE(!a.secret.chain && !a.secret.roots && !a.secret.keylen);
	amb_sds_secret_clear(&a.secret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char uri[] = "spiffe://cluster.local/ns/n/sa/a";
	static struct amb_identity *id;

	if (!id) {
		PROMISE(!amb_x509_init());
		id = amb_identity_parse(uri, sizeof(uri) - 1);
		PROMISE(id);
	}
	one(data, size, uri, id);
	one(data, size, "ROOTCA", NULL);
	return 0;
}
