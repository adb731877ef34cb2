/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel TLS (kernel-facts 6): a direction of a connection whose records the kernel makes. */
#ifndef AMB_KTLS_H
#define AMB_KTLS_H

#include <stdbool.h>
#include <stdint.h>

struct amb_wire;

/*
 * Gives the kernel the direction's keys and its next record's number, and from then on its records.
 * 0, or -errno and the direction is as it was: -ENOENT no such module, -ENOTCONN the peer has
 * closed, -EOPNOTSUPP no TCP, ...
 */
int amb_ktls_take_rx(struct amb_wire *w);
int amb_ktls_take_tx(struct amb_wire *w);

/* Asks for the records under the present key. 0 or -errno. */
int amb_ktls_records(const struct amb_wire *w, bool sent, uint64_t *out);

#endif
