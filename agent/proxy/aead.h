/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AES-GCM of the record layer, by the fastest library that this CPU has: libipsec-mb where it
 * has 512 bit VAES (four times wolfCrypt's speed at 16 KiB); libgcrypt for large records where it
 * has 256 bit VAES (1.8 times, but 1.2 before libgcrypt 1.11); else wolfCrypt. Pure.
 */
#ifndef AMB_AEAD_H
#define AMB_AEAD_H

#include <stddef.h>
#include <stdint.h>

#define AMB_AEAD_IV 12
#define AMB_AEAD_TAG 16

/* A key, expanded. One thread at a time. */
struct amb_aead;

/* @len: 16 or 32. NULL: errno EINVAL, ENOMEM. The caller wipes @key. */
struct amb_aead *amb_aead_create(const uint8_t *key, size_t len);
/* Wipes. */
void amb_aead_destroy(struct amb_aead *a);

/* Encrypts @n bytes in place, the tag goes to @p + @n. 0 or -EIO. */
int amb_aead_seal(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t iv[AMB_AEAD_IV],
		  const uint8_t *aad, size_t aadlen);
/* Decrypts in place what has its tag at @p + @n. 0, or -EBADMSG and @p is no plaintext. */
int amb_aead_open(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t iv[AMB_AEAD_IV],
		  const uint8_t *aad, size_t aadlen);

/* "libipsec-mb", "libgcrypt" (wolfCrypt for small records) or "wolfCrypt". */
const char *amb_aead_library(void);

#endif
