/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of live connections, per pod and worker: small entries that keep references and
 * rebuild a struct amb_flow for the hooks, re-judging, snapshots.
 */
#ifndef AMB_LIVE_H
#define AMB_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include "flow.h"
#include "hbone.h"
#include "proxy.h"

struct amb_pod;
struct amb_pod_info;
struct amb_worker;

enum amb_live_kind { AMB_LIVE_SETUP, AMB_LIVE_STREAM, AMB_LIVE_RELAY };

/* A policy's name, one copy for all connections of a pod that it allowed last. */
struct amb_live_policy {
	uint32_t refs; /* worker thread */
	char name[];
};
void amb_live_policy_put(struct amb_live_policy *p);

struct amb_live {
	struct cds_list_head node; /* of the pod's pending or lives */
	struct amb_pod *pod;
	union {
		struct amb_stream *stream;
		struct amb_relay *relay;
	};
	void *cookie;
	uint64_t start_ns;
	uint64_t stamp; /* inbound: of the policies it was judged by */
	/* references */
	struct amb_workload *src_workload, *dst_workload;
	struct amb_service *service;
	struct amb_identity *src_id, *dst_id;
	struct amb_live_policy *policy; /* that allowed it, or NULL */
	char *authority; /* HBONE, when its address is not that of @actual */
	char *baggage; /* of the peer's workload where the state knows nothing; packed */
	struct amb_endpoint src, dst, actual;
	uint16_t authority_port; /* HBONE, when it is; 0 = no tunnel */
	uint16_t status; /* outbound HBONE: that came instead of 200 */
	uint8_t kind, direction, way, protocol;
	bool mtls;
	bool opened;
};

/*
 * Enters a connection that was classified: takes over its place in the pod (amb_pod_charge),
 * copies what @f points to, calls opened() unless @quiet (amb_live_announce does later).
 * NULL: out of memory.
 */
struct amb_live *amb_live_open(struct amb_pod *pod, const struct amb_flow *f, uint64_t stamp,
			       bool quiet);
/* Late opened(): with @baggage of the far side (double HBONE), may be NULL. */
void amb_live_announce(struct amb_live *l, const struct amb_baggage *baggage);
/* The entry is carried by a stream or relay from now on; @pending: no answer yet. */
void amb_live_stream(struct amb_live *l, struct amb_stream *s, bool pending);
void amb_live_relay(struct amb_live *l, struct amb_relay *r);
/* Outbound: the answer came. */
void amb_live_answered(struct amb_live *l);

/*
 * The end: hooks, counters, memory. @text NULL takes the reason's; a reset is told to
 * counters but is no error in the log (ztunnel-interop 4.8).
 */
void amb_live_close(struct amb_live *l, enum amb_flag flag, enum amb_reason reason,
		    const char *text);

/* An early reject: hook and counters. */
void amb_live_failed(struct amb_pod *pod, const struct amb_flow *f, enum amb_reason reason,
		     const char *text);

/* The flag that goes with a reason while a connection is being set up. */
enum amb_flag amb_live_flag(enum amb_reason reason);

/* Stream and relay callbacks for entries (owner: the entry). */
extern const struct amb_stream_ops amb_live_stream_ops;
extern const struct amb_relay_ops amb_live_relay_ops;

/* Ends all entries of the pod that are carried by streams and relays. */
void amb_live_abort_all(struct amb_pod *pod, enum amb_reason reason);
/* Judges the inbound entries again whose policies changed; closes those now denied. */
void amb_live_rejudge(struct amb_pod *pod);
/* Ends what waits for an answer since before @before. True while any waits. */
bool amb_live_expire(struct amb_pod *pod, uint64_t before);

/* A copy of an entry for another thread: holds references, @l's lists are void. */
struct amb_live_row {
	struct amb_live l;
	struct amb_pod_info *info;
	char *policy;
	uint64_t bytes_to_dst, bytes_to_src;
	uint16_t suite; /* of the tunnel, 0: none */
	struct amb_hbone_records records;
};
struct amb_live_rows {
	uint32_t n, cap;
	struct amb_live_row *row;
};
/* Appends the pod's entries. 0 or -ENOMEM (what fits is there). */
int amb_live_snapshot(struct amb_pod *pod, struct amb_live_rows *rows);

/* Tells the hooks the bytes so far of the pod's open connections. */
void amb_live_tell_bytes(struct amb_pod *pod);
void amb_live_rows_clear(struct amb_live_rows *rows);
/* Calls @fn for each row. */
void amb_live_rows_each(const struct amb_live_rows *rows, uint64_t now,
			void (*fn)(void *ctx, const struct amb_proxy_conn *c), void *ctx);

#endif
