/* SPDX-License-Identifier: GPL-2.0 */
/* Messages to user space about connections and streams: events, and the fields of answers. */
#ifndef HBONE_EVENT_H
#define HBONE_EVENT_H

#include <linux/hbone.h>
#include <linux/types.h>

struct hbone_conn;
struct hbone_stream;
struct sk_buff;

/* Multicast; process context; lost, and counted, when there is no memory. */
void hbone_event_frame_ready(struct hbone_conn *c);
void hbone_event_stream_closed(struct hbone_stream *s, enum hbone_reason reason);
void hbone_event_goaway(struct hbone_conn *c, u32 last, u32 code);
void hbone_event_conn_closed(struct hbone_conn *c);

/* What HBONE_CMD_CONN_GET and HBONE_CMD_STREAM_GET tell, but for the note: 0 or -EMSGSIZE. */
int hbone_event_put_conn(struct sk_buff *skb, struct hbone_conn *c);
int hbone_event_put_stream(struct sk_buff *skb, struct hbone_stream *s);

#endif
