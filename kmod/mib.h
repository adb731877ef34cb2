/* SPDX-License-Identifier: GPL-2.0 */
/* Counters of a network namespace, in /proc/net/hbone_stat by name. */
#ifndef HBONE_MIB_H
#define HBONE_MIB_H

#include <linux/percpu.h>
#include <linux/types.h>

struct net;
struct hbone_net;

enum hbone_mib_id {
	HBONE_MIB_CONNS_CREATED,
	HBONE_MIB_CONNS_DESTROYED,
	HBONE_MIB_STREAMS_CREATED,
	HBONE_MIB_STREAMS_DESTROYED,
	HBONE_MIB_STREAMS_REFUSED,
	HBONE_MIB_RX_BYTES,
	HBONE_MIB_TX_BYTES,
	HBONE_MIB_RX_DATA,
	HBONE_MIB_TX_DATA,
	HBONE_MIB_RX_READS,
	HBONE_MIB_TX_WRITES,
	HBONE_MIB_RX_HEADERS,
	HBONE_MIB_TX_HEADERS,
	HBONE_MIB_RX_HEADERS_LOST,
	HBONE_MIB_RX_PINGS,
	HBONE_MIB_RX_SETTINGS,
	HBONE_MIB_RX_RESETS,
	HBONE_MIB_TX_RESETS,
	HBONE_MIB_RX_GOAWAYS,
	HBONE_MIB_RX_IGNORED,
	HBONE_MIB_RX_LATE, /* DATA of streams that are gone */
	HBONE_MIB_TX_BLOCKED, /* the tunnel's socket was full */
	HBONE_MIB_TX_NO_WINDOW, /* the peer's windows were */
	HBONE_MIB_RX_BLOCKED, /* an application's socket was full */
	HBONE_MIB_CONN_ERRORS, /* HTTP/2 errors of peers */
	HBONE_MIB_STREAM_ERRORS,
	HBONE_MIB_FLOODS,
	HBONE_MIB_TLS_CONTROL,
	HBONE_MIB_NO_MEMORY,
	HBONE_MIB_STARVED, /* a socket had room, and the system no memory */
	HBONE_MIB_EVENTS_LOST,
	HBONE_MIB_MAX
};

struct hbone_mib {
	u64 n[HBONE_MIB_MAX];
};

#define hbone_mib_add(hn, id, by) this_cpu_add((hn)->mib->n[HBONE_MIB_##id], by)
#define hbone_mib_inc(hn, id) hbone_mib_add(hn, id, 1)

/* The file; -ENOMEM. hbone_net's counters must be there while it is. */
int hbone_mib_init(struct net *net);
void hbone_mib_uninit(struct net *net);

#endif
