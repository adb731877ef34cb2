/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets of others, told by their cookies: looked at and ended (sock_diag(7)). A namespace that
 * was asked has one descriptor more until it is given back. Main thread.
 */
#ifndef AMB_SOCKDIAG_H
#define AMB_SOCKDIAG_H

#include <stdint.h>

#include "base/addr.h"

struct amb_netns;

/* A TCP socket of the namespace: its own end, the other one, its cookie. */
struct amb_sockdiag_id {
	struct amb_endpoint local, remote;
	uint64_t cookie;
};

/*
 * Ends the connection: the application sees ECONNABORTED, its peer a reset. 0, -ENOENT when it
 * has ended already, -EOPNOTSUPP when this kernel cannot, or -errno.
 */
int amb_sockdiag_destroy(struct amb_netns *ns, const struct amb_sockdiag_id *id);

/*
 * Ends all connections of sockets that carry @mark (SO_MARK). Returns their number, or -errno when
 * they could not be listed.
 */
int amb_sockdiag_destroy_marked(struct amb_netns *ns, uint32_t mark);

/*
 * Bytes that the peer has acknowledged, and that came in, without SYN and FIN, which TCP counts
 * with them. @connected: this end sent the first SYN. 0 or -errno.
 */
int amb_sockdiag_bytes(struct amb_netns *ns, const struct amb_sockdiag_id *id, bool connected,
		       uint64_t *out, uint64_t *in);

#endif
