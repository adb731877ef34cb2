/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delta ADS client of istiod (ztunnel-interop 1): keeps one stream open, takes what comes into
 * the state, and says what it has when it comes back. While there is no stream the state serves
 * on as it is.
 */
#ifndef AMB_XDS_H
#define AMB_XDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grpc.h"
#include "intake.h"

struct amb_loop;
struct amb_node;
struct amb_state;
struct amb_xds;

#define AMB_XDS_MESSAGE_MAX (200u << 20) /* bytes of one answer (1.1) */
#define AMB_XDS_INITIAL_MAX (3u << 20) /* bytes of names told at a reconnect; servers take 4 MiB */
#define AMB_XDS_NAMES_MAX (512u << 10) /* bytes of names asked for in one request, beside those */
#define AMB_XDS_WANTED_MAX 65536 /* names asked for on demand */
#define AMB_XDS_BACKOFF_NS 10000000ull
#define AMB_XDS_BACKOFF_MAX_NS 15000000000ull

/* How a stream ended; the reasons of istio_xds_connection_terminations_total. */
enum amb_xds_end {
	AMB_XDS_END_CONNECTION, /* there was no connection */
	AMB_XDS_END_ERROR,
	AMB_XDS_END_RECONNECT, /* an error that comes and goes: restarts, ages, networks */
	AMB_XDS_END_COMPLETE, /* the server ended it in order */
	AMB_XDS_ENDS,
};
const char *amb_xds_end_text(enum amb_xds_end end);
/* What the status of a stream comes to (1.6). */
enum amb_xds_end amb_xds_end_of(const struct amb_grpc_status *status);

/*
 * Nanoseconds to wait after a stream ended as @end. *@next begins at 0. Doubles from 10 ms to
 * 15 s; ordinary ends begin again at 10 ms, if the stream had brought anything (@brought): a
 * server that ends every stream at once is not asked a hundred times a second.
 */
uint64_t amb_xds_backoff(uint64_t *next, enum amb_xds_end end, bool brought);

struct amb_xds_stats {
	bool connected; /* a stream is open and has brought something */
	bool synced; /* one ACK of every wildcard type was sent */
	uint64_t since; /* monotonic ns: of the stream, or of its end */
	uint64_t terminations[AMB_XDS_ENDS];
	uint64_t acks, nacks;
	struct {
		uint64_t messages, bytes;
		size_t held;
	} type[AMB_XDS_TYPES + 1]; /* AMB_XDS_OTHER: all unknown types */
	const char *server; /* host:port */
	const char *error; /* why the last stream ended, "" */
	const char *last_nack; /* text of the last NACK, "" */
};

struct amb_xds_config {
	struct amb_grpc *channel; /* used by nobody else; outlives it */
	struct amb_state *state;
	struct amb_node *node;
	bool on_demand; /* addresses are asked for one by one */
	uint32_t wanted_max; /* names; 0: AMB_XDS_WANTED_MAX */
	/* The first time that all wildcard types are there; may be NULL. */
	void (*synced)(void *ctx);
	void *ctx;
};

/* Starts. NULL: out of memory. */
struct amb_xds *amb_xds_create(struct amb_loop *loop, const struct amb_xds_config *config);
/* The state stays; who waits hears nothing and waits no more. NULL is accepted. */
void amb_xds_destroy(struct amb_xds *x);
void amb_xds_stats(const struct amb_xds *x, struct amb_xds_stats *out);

/*
 * On demand: somebody needs to know of @name ("network/ip", "ns/host" or a uid). 0: it was asked
 * for, @w->fn is called when the answer is in the state, or that there is none; -EALREADY: what
 * it stands for is in the state and kept up to date, or without a stream there is no other answer
 * than the last one, that there is none; -ENOSPC: so many names are in use, those
 * that stand for nothing are forgotten when room is needed; -ENOMEM; -ENOTSUP: not on demand.
 */
struct amb_xds_waiter {
	void (*fn)(struct amb_xds_waiter *w);
	struct amb_xds_waiter *next, **prev; /* NULL prev: not waiting */
};
int amb_xds_want(struct amb_xds *x, const char *name, struct amb_xds_waiter *w);
/* Gives up; fn is not called. Idempotent. */
void amb_xds_unwait(struct amb_xds_waiter *w);

#endif
