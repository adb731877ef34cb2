/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.3 handshakes of HBONE (ztunnel-interop 4.2): mutual, ALPN h2, SPIFFE checked on both
 * sides. No I/O: the connection feeds bytes and sends what comes out; then the traffic secrets
 * become two amb_record and the library's object is freed.
 */
#ifndef AMB_TLS_H
#define AMB_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ambient/reason.h"
#include "mesh/identity.h"
#include "proxy/crl.h"

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

/* Bytes of a peer's side of a handshake; more fail it with -EMSGSIZE. */
#define AMB_TLS_INPUT_MAX (128 * 1024)

/* Why it failed: TLS, PEER_IDENTITY, CERT_EXPIRED, ...; @text is owned by @t. */
enum amb_reason amb_tls_error(const struct amb_tls *t, const char **text);

/* The peer's chain, for when revocation lists change. */
struct amb_tls_certs {
	uint32_t generation; /* of the lists that it was judged by */
	uint32_t n;
	struct amb_crl_id id[];
};
/* NULL is accepted. */
void amb_tls_certs_destroy(struct amb_tls_certs *certs);

struct amb_tls_peer {
	struct amb_identity *identity; /* a reference */
	int64_t not_after; /* of the leaf, wall clock seconds */
	uint8_t fingerprint[32]; /* SHA-256 of the leaf */
	uint16_t suite, group; /* numbers of the IANA registries; group 0: another */
	struct amb_tls_certs *certs; /* owned; NULL: there were no lists, or it is adopted */
};

/* Why the peer's certificates are not good any more by the lists of now, or NULL. */
const char *amb_tls_revoked(const struct amb_tls_peer *peer);

/*
 * After success: gives the two directions of the record layer (owned by the caller) and the
 * peer. 0 or -errno. The handshake object can then be destroyed.
 */
int amb_tls_finish(struct amb_tls *t, struct amb_record **tx, struct amb_record **rx,
		   struct amb_tls_peer *peer);

/*
 * Handshake messages behind the handshake (RFC 8446 4.6): tickets, which we ignore, and key
 * updates. Zero-initialised at the start of a connection.
 */
struct amb_tls_post {
	uint32_t left; /* bytes of a message that are still to come */
	uint8_t head[5], have;
	uint16_t updates, tickets;
};

#define AMB_TLS_TICKETS_MAX 64 /* a connection; rustls sends 2, Envoy 2 */
#define AMB_TLS_TICKET_LEN 65536 /* bytes of one */
#define AMB_TLS_UPDATES_MAX 4096 /* a connection: one per 2^24 records is usual */

enum amb_tls_post_result {
	AMB_TLS_POST_NONE, /* nothing to do */
	AMB_TLS_POST_UPDATE, /* the peer's next record is under its next key */
	AMB_TLS_POST_UPDATE_REQUESTED, /* the same, and it wants a KeyUpdate of ours */
};

/*
 * Looks at the plaintext of a record of type handshake; messages may go on in the next
 * record. @server says which side we are. Returns the result, -EBADMSG for a message that
 * may not come here, -EDQUOT past a limit.
 */
int amb_tls_post_handshake(struct amb_tls_post *p, bool server, const uint8_t *data, size_t n);

/* The KeyUpdate message, to be sealed as a handshake record before amb_record_update(tx). */
#define AMB_TLS_KEY_UPDATE_LEN 5
void amb_tls_key_update(uint8_t out[AMB_TLS_KEY_UPDATE_LEN], bool request);

#endif
