/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS towards the control plane (ztunnel-interop 1.1): TLS 1.3, the server is authenticated by
 * its DNS or IP name, we by a token that is sent afterwards; ALPN h2. Over a non-blocking socket.
 */
#ifndef AMB_TLS_CLIENT_H
#define AMB_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AMB_TLS_ROOTS_MAX (1u << 20) /* bytes of a bundle; the system's is 220 KiB */
#define AMB_TLS_ROOTS_SYSTEM "SYSTEM"

struct amb_tls_client;

/*
 * Begins on @fd, which stays the caller's and is closed after destroy. @roots: the path of a
 * PEM file, which is read now, or SYSTEM for the system's bundle, or PEM text. The server's
 * certificate must be for @host, a DNS name or an address, or for @alt (NULL: none).
 * NULL: errno and why in @err: ENOENT, EINVAL (no certificate in it), ENOMEM.
 */
struct amb_tls_client *amb_tls_client_create(int fd, const char *roots, const char *host,
					     const char *alt, char *err, size_t errlen);
void amb_tls_client_destroy(struct amb_tls_client *t);

/*
 * All of these return -EAGAIN to be called again when the socket is readable, or writable if
 * amb_tls_client_wants_write(). Errors are final: -EPROTO, -EKEYREJECTED, -ENOMEM,
 * -ECONNRESET, with a text.
 */
int amb_tls_client_handshake(struct amb_tls_client *t); /* 0: done */
ssize_t amb_tls_client_read(struct amb_tls_client *t, uint8_t *buf, size_t max); /* 0: the end */
/* Called again after -EAGAIN, @buf and @n must be the same. */
ssize_t amb_tls_client_write(struct amb_tls_client *t, const uint8_t *buf, size_t n);
bool amb_tls_client_wants_write(const struct amb_tls_client *t);
/* Says goodbye, if it can be sent now. */
void amb_tls_client_close(struct amb_tls_client *t);
const char *amb_tls_client_error(const struct amb_tls_client *t);

/*
 * Is the certificate's DNS name @pattern (of @len bytes, maybe with a leading "*.") the name of
 * @host? RFC 9525 6.3: case does not matter, "*" stands for one whole label.
 */
bool amb_tls_name_matches(const char *pattern, size_t len, const char *host);

#endif
