// SPDX-License-Identifier: GPL-2.0-or-later
/* AES-GCM of the record layer, by the fastest library that this CPU has. */
#include "aead.h"

#include <gcrypt.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/memory.h>
#ifdef AMB_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct library {
	const char *name;
	int (*set_key)(struct amb_aead *a, const uint8_t *key);
	int (*seal)(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t *iv, const uint8_t *aad,
		    size_t aadlen);
	int (*open)(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t *iv, const uint8_t *aad,
		    size_t aadlen);
	void (*clear)(struct amb_aead *a);
};

/* From this size on libgcrypt's longer vectors are worth its longer way to begin. */
#define GCRYPT_MIN 2048

struct amb_aead {
	union {
		struct {
			Aes aes;
			gcry_cipher_hd_t large; /* NULL before the first large record */
			uint8_t raw[32];
		};
#ifdef AMB_IPSEC_MB
		struct gcm_key_data key;
#endif
	};
	const struct library *lib;
	bool aes256;
};

/* wolfCrypt: everywhere */

static int wolf_set_key(struct amb_aead *a, const uint8_t *key)
{
	if (wc_AesInit(&a->aes, NULL, INVALID_DEVID))
		return -ENOMEM;
	return wc_AesGcmSetKey(&a->aes, key, a->aes256 ? 32 : 16) ? -EIO : 0;
}

static int wolf_seal(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t *iv,
		     const uint8_t *aad, size_t aadlen)
{
	int ret = wc_AesGcmEncrypt(&a->aes, p, p, n, iv, AMB_AEAD_IV, p + n, AMB_AEAD_TAG, aad,
				   aadlen);

	return ret ? -EIO : 0;
}

static int wolf_open(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t *iv,
		     const uint8_t *aad, size_t aadlen)
{
	int ret = wc_AesGcmDecrypt(&a->aes, p, p, n, iv, AMB_AEAD_IV, p + n, AMB_AEAD_TAG, aad,
				   aadlen);

	return ret ? -EBADMSG : 0;
}

static void wolf_clear(struct amb_aead *a)
{
	wc_AesFree(&a->aes);
}

static const struct library wolfcrypt = { "wolfCrypt", wolf_set_key, wolf_seal, wolf_open,
					  wolf_clear };

/*
 * libgcrypt: wide where the CPU is, but a record costs it 0.1 us more to begin than wolfCrypt. So
 * it has the large ones, and a state of its own once there is one. Without memory wolfCrypt goes
 * on.
 */

static int gcrypt_set_key(struct amb_aead *a, const uint8_t *key)
{
	memcpy(a->raw, key, a->aes256 ? 32 : 16);
	return wolf_set_key(a, key);
}

static bool gcrypt_open_state(struct amb_aead *a)
{
	if (gcry_cipher_open(&a->large, a->aes256 ? GCRY_CIPHER_AES256 : GCRY_CIPHER_AES128,
			     GCRY_CIPHER_MODE_GCM, 0)) {
		a->large = NULL;
		return false;
	}
	if (!gcry_cipher_setkey(a->large, a->raw, a->aes256 ? 32 : 16))
		return true;
	gcry_cipher_close(a->large);
	a->large = NULL;
	return false;
}

static bool gcrypt_begin(struct amb_aead *a, size_t n, const uint8_t *iv, const uint8_t *aad,
			 size_t aadlen)
{
	return n >= GCRYPT_MIN && (a->large || gcrypt_open_state(a)) &&
	       !gcry_cipher_setiv(a->large, iv, AMB_AEAD_IV) &&
	       !gcry_cipher_authenticate(a->large, aad, aadlen);
}

static int gcrypt_seal(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t *iv,
		       const uint8_t *aad, size_t aadlen)
{
	if (!gcrypt_begin(a, n, iv, aad, aadlen))
		return wolf_seal(a, p, n, iv, aad, aadlen);
	if (gcry_cipher_encrypt(a->large, p, n, NULL, 0) ||
	    gcry_cipher_gettag(a->large, p + n, AMB_AEAD_TAG))
		return -EIO;
	return 0;
}

static int gcrypt_open(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t *iv,
		       const uint8_t *aad, size_t aadlen)
{
	if (!gcrypt_begin(a, n, iv, aad, aadlen))
		return wolf_open(a, p, n, iv, aad, aadlen);
	if (gcry_cipher_decrypt(a->large, p, n, NULL, 0) ||
	    gcry_cipher_checktag(a->large, p + n, AMB_AEAD_TAG))
		return -EBADMSG;
	return 0;
}

static void gcrypt_clear(struct amb_aead *a)
{
	gcry_cipher_close(a->large);
	wolf_clear(a);
}

static const struct library libgcrypt = { "libgcrypt", gcrypt_set_key, gcrypt_seal, gcrypt_open,
					  gcrypt_clear };

/* No secure memory: keys lie in wolfCrypt's states and the kernel's as well. */
static bool gcrypt_is_wide(void)
{
	char *flags;
	bool wide;

	if (!gcry_check_version(GCRYPT_VERSION))
		return false;
	if (!gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) {
		gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
		gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
	}
	flags = gcry_get_config(0, "hwflist");
	/* In FIPS mode it takes no nonces from others. */
	wide = flags && strstr(flags, ":intel-vaes-vpclmul:") && !gcry_fips_mode_active();
	gcry_free(flags);
	return wide;
}

static const struct library *chosen = &wolfcrypt;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#ifdef AMB_IPSEC_MB

/*
 * libipsec-mb: its manager is a table of functions for this CPU; GCM by direct calls keeps no
 * state in it, so that all threads share one. It lives as long as the process.
 */
static IMB_MGR *manager;

static int mb_set_key(struct amb_aead *a, const uint8_t *key)
{
	if (a->aes256)
		IMB_AES256_GCM_PRE(manager, key, &a->key);
	else
		IMB_AES128_GCM_PRE(manager, key, &a->key);
	return 0;
}

static int mb_seal(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t *iv, const uint8_t *aad,
		   size_t aadlen)
{
	struct gcm_context_data ctx;

	if (a->aes256)
		IMB_AES256_GCM_ENC(manager, &a->key, &ctx, p, p, n, iv, aad, aadlen, p + n,
				   AMB_AEAD_TAG);
	else
		IMB_AES128_GCM_ENC(manager, &a->key, &ctx, p, p, n, iv, aad, aadlen, p + n,
				   AMB_AEAD_TAG);
	return 0;
}

/* The library computes the tag; the comparison is ours, in constant time. */
static int mb_open(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t *iv, const uint8_t *aad,
		   size_t aadlen)
{
	struct gcm_context_data ctx;
	uint8_t tag[AMB_AEAD_TAG], differ = 0;
	size_t i;

	if (a->aes256)
		IMB_AES256_GCM_DEC(manager, &a->key, &ctx, p, p, n, iv, aad, aadlen, tag,
				   AMB_AEAD_TAG);
	else
		IMB_AES128_GCM_DEC(manager, &a->key, &ctx, p, p, n, iv, aad, aadlen, tag,
				   AMB_AEAD_TAG);
	for (i = 0; i < AMB_AEAD_TAG; i++)
		differ |= tag[i] ^ p[n + i];
	return differ ? -EBADMSG : 0;
}

static void mb_clear(struct amb_aead *a)
{
	(void)a;
}

static const struct library ipsec_mb = { "libipsec-mb", mb_set_key, mb_seal, mb_open, mb_clear };

static bool choose_ipsec_mb(void)
{
	IMB_MGR *m = alloc_mb_mgr(0);
	IMB_ARCH arch;

	if (!m)
		return false;
	init_mb_mgr_auto(m, &arch);
	/* Without these its code is 128 bits wide, like wolfCrypt's. */
	if (arch == IMB_ARCH_AVX512 && m->features & IMB_FEATURE_VAES &&
	    m->features & IMB_FEATURE_VPCLMULQDQ) {
		manager = m;
		chosen = &ipsec_mb;
	} else {
		free_mb_mgr(m);
	}
	return manager;
}

#else

static bool choose_ipsec_mb(void)
{
	return false;
}

#endif

static void choose(void)
{
	if (!choose_ipsec_mb() && gcrypt_is_wide())
		chosen = &libgcrypt;
}

static const struct library *library(void)
{
	pthread_once(&once, choose);
	return chosen;
}

struct amb_aead *amb_aead_create(const uint8_t *key, size_t len)
{
	struct amb_aead *a;

	if (len != 16 && len != 32) {
		errno = EINVAL;
		return NULL;
	}
	/* Round keys are read in lines of 64 bytes. */
	a = aligned_alloc(64, (sizeof(*a) + 63) & ~(size_t)63);
	if (!a)
		return NULL;
	memset(a, 0, sizeof(*a));
	a->lib = library();
	a->aes256 = len == 32;
	if (a->lib->set_key(a, key)) {
		amb_aead_destroy(a);
		errno = ENOMEM;
		return NULL;
	}
	return a;
}

void amb_aead_destroy(struct amb_aead *a)
{
	if (!a)
		return;
	a->lib->clear(a);
	wc_ForceZero(a, sizeof(*a));
	free(a);
}

int amb_aead_seal(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t iv[AMB_AEAD_IV],
		  const uint8_t *aad, size_t aadlen)
{
	return a->lib->seal(a, p, n, iv, aad, aadlen);
}

int amb_aead_open(struct amb_aead *a, uint8_t *p, size_t n, const uint8_t iv[AMB_AEAD_IV],
		  const uint8_t *aad, size_t aadlen)
{
	return a->lib->open(a, p, n, iv, aad, aadlen);
}

const char *amb_aead_library(void)
{
	return library()->name;
}
