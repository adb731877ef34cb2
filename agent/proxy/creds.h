/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Certificates that the proxy presents, by identity. Filled by whoever obtains them (embedded
 * CA, istiod, SDS: control/), used by workers; rotation swaps one counted object for another.
 */
#ifndef AMB_CREDS_H
#define AMB_CREDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "mesh/identity.h"

struct amb_creds;

/* One identity's certificate, key and trust anchors, ready for handshakes. Immutable, counted. */
struct amb_cred;

enum amb_creds_priority { AMB_CREDS_REALTIME, AMB_CREDS_WARMUP, AMB_CREDS_BACKGROUND };

/*
 * Asked for a certificate of @id; called on any thread, must only queue. The answer comes by
 * amb_creds_install() or amb_creds_fail().
 */
typedef void amb_creds_request_fn(void *ctx, struct amb_identity *id,
				  enum amb_creds_priority priority);

struct amb_creds *amb_creds_create(amb_creds_request_fn *request, void *ctx);
void amb_creds_destroy(struct amb_creds *creds);

#define AMB_CREDS_ERROR_LEN 200

/*
 * A waiter, embedded in what waits; fn runs on @loop with the reference (now its owner's) or
 * NULL and a text. The owner sets fn; everything else is the store's, but @error may be read.
 */
struct amb_creds_waiter {
	void (*fn)(struct amb_creds_waiter *w, struct amb_cred *cred, const char *error);
	struct amb_loop *loop;
	struct amb_identity *id;
	struct amb_creds_waiter *next;
	struct amb_work work;
	struct amb_cred *cred;
	char error[AMB_CREDS_ERROR_LEN];
	bool waiting; /* between amb_creds_wait() and fn or cancel */
};

/*
 * The present credential of @id as a new reference, or NULL when there is none (yet) or it
 * expired. Any thread, cheap: called for each handshake.
 */
struct amb_cred *amb_creds_get(struct amb_creds *creds, struct amb_identity *id);

/*
 * Like get, but when there is none it asks for one and calls @w back later (never from
 * within). Returns the reference, or NULL with errno EAGAIN (will call back), or NULL with
 * errno EKEYREJECTED and @w->error: the last attempt failed and is retried in background.
 */
struct amb_cred *amb_creds_wait(struct amb_creds *creds, struct amb_identity *id,
				struct amb_loop *loop, struct amb_creds_waiter *w);
/* Gives up waiting; fn is not called afterwards. Loop thread of the waiter. Idempotent. */
void amb_creds_cancel(struct amb_creds *creds, struct amb_creds_waiter *w);

/*
 * Installs what an issuer gave: PKCS#8 or SEC1 DER key, PEM chain leaf first, PEM roots.
 * Key memory of the caller is the caller's to wipe. Checks that key and leaf belong together
 * and that the leaf's SPIFFE URI is @id's. 0, -EINVAL (@err says what), -ENOMEM.
 */
int amb_creds_install(struct amb_creds *creds, struct amb_identity *id, const uint8_t *key,
		      size_t keylen, const char *chain_pem, const char *roots_pem, char *err,
		      size_t errlen);
/* Records a failed attempt; waiters get @error. The present credential, if any, stays. */
void amb_creds_fail(struct amb_creds *creds, struct amb_identity *id, const char *error);
/*
 * Drops an identity that no local workload has any more: waiters get an error, connections
 * made with its credential retire.
 */
void amb_creds_forget(struct amb_creds *creds, struct amb_identity *id);
/* Roots changed (bundle with old and new): rebuilds trust of every credential. 0 or -errno. */
int amb_creds_set_roots(struct amb_creds *creds, const char *roots_pem);

struct amb_cred *amb_cred_get(struct amb_cred *c);
void amb_cred_put(struct amb_cred *c);
struct amb_identity *amb_cred_identity(const struct amb_cred *c);
/* True once a newer credential took its place: pools retire connections made with it. */
bool amb_cred_retired(const struct amb_cred *c);
/* Wall clock seconds. */
int64_t amb_cred_not_before(const struct amb_cred *c);
int64_t amb_cred_not_after(const struct amb_cred *c);

/* For config_dump and `ambientctl certs`. Texts are the credential's own. */
struct amb_cred_info {
	struct amb_identity *id;
	const char *state; /* "Available", "Initializing", "Unavailable: why" */
	const char *chain_pem, *roots_pem; /* NULL when not available */
};
/* Goes over a snapshot, no lock held in @fn; stops when @fn returns false. */
void amb_creds_each(struct amb_creds *creds, bool (*fn)(void *ctx, const struct amb_cred_info *i),
		    void *ctx);

#endif
