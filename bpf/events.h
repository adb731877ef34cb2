/* SPDX-License-Identifier: GPL-2.0 */
/* Counters and events: the one way in which programs tell what they did. */
#ifndef AMB_BPF_EVENTS_H
#define AMB_BPF_EVENTS_H

#include "maps.h"

/*
 * The agent looks at the ring by itself, many times a second while there is traffic: a wake-up
 * for each event costs more than the event (kernel-facts 3). It is woken when a quarter is full,
 * and at each further one, by the few events that pass the mark: processors may pass it together,
 * and a reader that is late must not be woken by every event until it comes.
 */
#define AMB_EVENTS_WAKE (AMB_EVENTS_BYTES / 4)
#define AMB_EVENTS_EDGE (8 * sizeof(struct amb_event))

static __always_inline void amb_event_count(enum amb_way way, __u32 reason)
{
	struct amb_stat_row *row = bpf_map_lookup_elem(&amb_stat, &reason);

	if (!row)
		return;
	switch (way) {
	case AMB_WAY_PASSTHROUGH:
		row->passthrough++;
		break;
	case AMB_WAY_DIRECT:
		row->direct++;
		break;
	case AMB_WAY_SPLICE:
		row->splice++;
		break;
	case AMB_WAY_TUNNEL:
		row->tunnel++;
		break;
	case AMB_WAY_DENY:
		row->deny++;
		break;
	default:
		break;
	}
}

/* A packet that goes no further, or an event that found no room. */
static __always_inline void amb_event_dropped(__u32 reason)
{
	struct amb_stat_row *row = bpf_map_lookup_elem(&amb_stat, &reason);

	if (row)
		row->dropped++;
}

/* A full ring loses the event, and says so in the counters; the connection goes on. */
static __always_inline void amb_event_tell(enum amb_event_type type, enum amb_reason reason,
					   __u64 cookie, const struct amb_conn_row *conn,
					   __u64 to_dst, __u64 to_src)
{
	struct amb_event *e = bpf_ringbuf_reserve(&amb_events, sizeof(*e), 0);
	__u64 flags = BPF_RB_NO_WAKEUP, unread;

	if (!e) {
		amb_event_dropped(AMB_REASON_EVENTS_LOST);
		return;
	}
	e->type = type;
	e->reason = reason;
	e->cookie = cookie;
	e->now_ns = bpf_ktime_get_ns();
	e->to_dst = to_dst;
	e->to_src = to_src;
	e->conn = *conn;
	unread = bpf_ringbuf_query(&amb_events, BPF_RB_AVAIL_DATA);
	if (unread >= AMB_EVENTS_WAKE && unread % AMB_EVENTS_WAKE < AMB_EVENTS_EDGE)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(e, flags);
}

#endif
