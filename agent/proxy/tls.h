/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.3 handshakes of HBONE (ztunnel-interop 4.2): mutual, ALPN h2, SPIFFE checked on both
 * sides. No I/O: the connection feeds bytes and sends what comes out; then the traffic secrets
 * become two amb_record and the library's object is freed.
 */
#ifndef AMB_TLS_H
#define AMB_TLS_H

#include <stddef.h>
#include <stdint.h>

#include "ambient/reason.h"
#include "mesh/identity.h"

struct amb_cred;
struct amb_record;
struct amb_tls;

/* Once per process, before threads. 0 or -errno. */
int amb_tls_init(void);
void amb_tls_uninit(void);

/*
 * A handshake. Client: @expect are the identities the peer may have (copied), empty refuses
 * all. Server: @expect NULL; the peer must be in the trust domain of @cred. NULL: errno.
 */
struct amb_tls *amb_tls_client(struct amb_cred *cred, const struct amb_identset *expect);
struct amb_tls *amb_tls_server(struct amb_cred *cred);
void amb_tls_destroy(struct amb_tls *t);

/* Where output goes; returns 0 or -errno (which fails the handshake). */
typedef int amb_tls_output_fn(void *ctx, const uint8_t *data, size_t n);

/*
 * Goes on with @n received bytes (may be 0 to begin). Returns 1 when done, 0 when it needs
 * more, -errno when it failed (an alert may have been output; see amb_tls_error). *@used says
 * how many bytes it took: exactly those of the handshake, the rest are application records.
 */
int amb_tls_handshake(struct amb_tls *t, const uint8_t *in, size_t n, size_t *used,
		      amb_tls_output_fn *output, void *ctx);

/* Why it failed: TLS, PEER_IDENTITY, CERT_EXPIRED, ...; @text is owned by @t. */
enum amb_reason amb_tls_error(const struct amb_tls *t, const char **text);

struct amb_tls_peer {
	struct amb_identity *identity; /* a reference */
	int64_t not_after;	       /* of the leaf, wall clock seconds */
	uint8_t fingerprint[32];       /* SHA-256 of the leaf */
	uint16_t suite, group;
};

/*
 * After success: gives the two directions of the record layer (owned by the caller) and the
 * peer. 0 or -errno. The handshake object can then be destroyed.
 */
int amb_tls_finish(struct amb_tls *t, struct amb_record **tx, struct amb_record **rx,
		   struct amb_tls_peer *peer);

#endif
