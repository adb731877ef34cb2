// SPDX-License-Identifier: GPL-2.0-or-later
/* By which groups keys are agreed on. */
#include "groups.h"

#include "util.h"

#include <errno.h>
#include <stdbool.h>

static bool pqc;

int amb_groups_pqc(void)
{
#ifdef WOLFSSL_HAVE_MLKEM
	pqc = true;
	return 0;
#else
	return -ENOTSUP;
#endif
}

/* Preference: the classic curve first, the hybrid when a peer offers nothing else. */
int amb_groups_set(WOLFSSL_CTX *ctx)
{
	int groups[] = {
		WOLFSSL_ECC_X25519,
		WOLFSSL_ECC_SECP256R1,
		WOLFSSL_ECC_SECP384R1,
#ifdef WOLFSSL_HAVE_MLKEM
		WOLFSSL_X25519MLKEM768,
#endif
	};
	int n = AMB_ARRAY_SIZE(groups);

	return pqc ? wolfSSL_CTX_set_groups(ctx, groups + n - 1, 1) :
		     wolfSSL_CTX_set_groups(ctx, groups, n);
}

int amb_groups_share(void)
{
#ifdef WOLFSSL_HAVE_MLKEM
	if (pqc)
		return WOLFSSL_X25519MLKEM768;
#endif
	return WOLFSSL_ECC_X25519;
}
