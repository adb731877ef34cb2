/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the byte path's own parts know of relays. */
#ifndef AMB_RELAY_H
#define AMB_RELAY_H

struct amb_bytes;

/* Ends every relay of the thread. */
void amb_relay_end_all(struct amb_bytes *b);

#endif
