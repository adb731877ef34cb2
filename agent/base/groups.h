/* SPDX-License-Identifier: GPL-2.0-or-later */
/* By which groups keys are agreed on, for all TLS of this process (ztunnel-interop 4.2). */
#ifndef AMB_GROUPS_H
#define AMB_GROUPS_H

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

/*
 * From now on X25519MLKEM768 and nothing else; before any context is made. 0, or -ENOTSUP where
 * the library does not have it.
 */
int amb_groups_pqc(void);

/* What @ctx offers and accepts. WOLFSSL_SUCCESS or the library's error. */
int amb_groups_set(WOLFSSL_CTX *ctx);

/* The group that a client sends its share of unasked. */
int amb_groups_share(void);

#endif
