/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The certificate manager: which identities of this node need a certificate, when each is
 * renewed, and what happens when that fails (ztunnel-interop 2.4). It knows neither who signs
 * (an issuer: the embedded CA, istiod) nor who uses the result (a sink: the proxy's store).
 */
#ifndef AMB_CERTS_H
#define AMB_CERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "mesh/identity.h"

struct amb_certs;
struct amb_certs_ticket;

/* Same order as the proxy's enum amb_creds_priority. */
enum amb_certs_priority {
	AMB_CERTS_REALTIME, /* a connection waits */
	AMB_CERTS_WARMUP, /* a local workload will need it */
	AMB_CERTS_BACKGROUND, /* renewal */
	AMB_CERTS_PRIORITIES,
};

#define AMB_CERTS_PARALLEL 8 /* requests at an issuer at once */
#define AMB_CERTS_BACKOFF_NS 500000000ull /* doubled at each failure, the first included */
#define AMB_CERTS_BACKOFF_MAX_NS 150000000000ull
#define AMB_CERTS_JITTER_PERCENT 20

/*
 * Nanoseconds to wait after @failures in a row: doubled with each, up to the maximum, and then
 * spread by the jitter, as @dice falls (any number), so that identities do not ask in step.
 */
uint64_t amb_certs_backoff(unsigned int failures, uint64_t dice);

/* Where certificates go; signatures are those of proxy/creds.h. fail: any thread. */
struct amb_certs_sink {
	void *ctx;
	int (*install)(void *ctx, struct amb_identity *id, const uint8_t *key, size_t keylen,
		       const char *chain_pem, const char *roots_pem, char *err, size_t errlen);
	void (*fail)(void *ctx, struct amb_identity *id, const char *error);
	void (*forget)(void *ctx, struct amb_identity *id);
	int (*set_roots)(void *ctx, const char *roots_pem);
};

/* What an issuer gives; everything stays its own. */
struct amb_certs_result {
	const uint8_t *key; /* PKCS#8 */
	size_t keylen;
	const char *chain_pem, *roots_pem;
	int64_t not_before, not_after; /* wall clock seconds */
};

/*
 * Who signs. issue() is called on the loop's thread and answers there by amb_certs_done(),
 * from within or later, exactly once for each @ticket.
 */
struct amb_certs_issuer {
	void *ctx;
	void (*issue)(void *ctx, struct amb_certs *certs, struct amb_certs_ticket *ticket,
		      struct amb_identity *id);
	/*
	 * It renews by itself and says so by amb_certs_renewed(): then it is asked again only
	 * when a certificate ends all the same.
	 */
	bool pushes;
	/* Nobody wants a certificate of @id any more; may be NULL. */
	void (*forget)(void *ctx, struct amb_identity *id);
};

/* Runs on @loop; structs are copied. NULL: ENOMEM, or the errno of a timer. */
struct amb_certs *amb_certs_create(struct amb_loop *loop, const struct amb_certs_sink *sink,
				   const struct amb_certs_issuer *issuer);
/* The issuer has answered all it was asked; no thread requests, the loop does not run. */
void amb_certs_destroy(struct amb_certs *certs);

/*
 * Somebody needs a certificate of @id: the request callback of the proxy's store. Any thread;
 * only queues.
 */
void amb_certs_request(struct amb_certs *certs, struct amb_identity *id,
		       enum amb_certs_priority priority);

/*
 * The identities of this node's workloads, all of them: new ones are fetched ahead, those
 * that are gone are forgotten. Doubles do not matter. Loop thread. 0 or -ENOMEM (those that
 * could be taken in are).
 */
int amb_certs_local(struct amb_certs *certs, struct amb_identity *const *ids, size_t n);

/* An issuer's answer: @result, or NULL and @error. Loop thread. */
void amb_certs_done(struct amb_certs *certs, struct amb_certs_ticket *ticket,
		    const struct amb_certs_result *result, const char *error);

/* An issuer's news: another bundle is trusted from now on. Loop thread. 0 or -errno. */
int amb_certs_roots(struct amb_certs *certs, const char *roots_pem);
/* An issuer's news: there is another certificate of @id, to be asked for now. Loop thread. */
void amb_certs_renewed(struct amb_certs *certs, struct amb_identity *id);
/* An issuer's news: everything is to be signed anew, failures are forgiven. Loop thread. */
void amb_certs_reissue(struct amb_certs *certs);

#endif
