/* SPDX-License-Identifier: GPL-2.0 */
/* What came through the tunnel, to its application. Of rx_work alone. */
#ifndef HBONE_DELIVER_H
#define HBONE_DELIVER_H

#include <linux/types.h>

struct hbone_conn;
struct hbone_stream;

/* @n bytes came at @p, which must stay there until hbone_deliver_now. */
void hbone_deliver_add(struct hbone_stream *s, u8 *p, u32 n);
/* Before anything else is done about the stream, and before the buffer is used again. */
void hbone_deliver_now(struct hbone_conn *c);
/* @n bytes came that are for nobody: the peer may send as many again. */
void hbone_deliver_none(struct hbone_stream *s, u32 n);
/* The peer ended, perhaps: tells the application when it has all. */
void hbone_deliver_end(struct hbone_stream *s);
/* If it is UNHEARD: something changed, and tx_work looks whether its socket may go. */
void hbone_deliver_unheard(struct hbone_stream *s);
/* Goes on with those whose application has room, or is there, since. */
void hbone_deliver_ready(struct hbone_conn *c);

#endif
