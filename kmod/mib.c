// SPDX-License-Identifier: GPL-2.0
/*
 * Counters. They belong to struct hbone_net, are counted up from any context, never down, and
 * read without a lock: a reader may see one event's counters apart, but each whole.
 */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <net/net_namespace.h>

#include "main.h"
#include "mib.h"

static const char *const names[] = {
	[HBONE_MIB_CONNS_CREATED] = "ConnsCreated",
	[HBONE_MIB_CONNS_DESTROYED] = "ConnsDestroyed",
	[HBONE_MIB_STREAMS_CREATED] = "StreamsCreated",
	[HBONE_MIB_STREAMS_DESTROYED] = "StreamsDestroyed",
	[HBONE_MIB_STREAMS_REFUSED] = "StreamsRefused",
	[HBONE_MIB_RX_BYTES] = "RxBytes",
	[HBONE_MIB_TX_BYTES] = "TxBytes",
	[HBONE_MIB_RX_DATA] = "RxData",
	[HBONE_MIB_TX_DATA] = "TxData",
	[HBONE_MIB_RX_READS] = "RxReads",
	[HBONE_MIB_TX_WRITES] = "TxWrites",
	[HBONE_MIB_RX_HEADERS] = "RxHeaders",
	[HBONE_MIB_TX_HEADERS] = "TxHeaders",
	[HBONE_MIB_RX_HEADERS_LOST] = "RxHeadersLost",
	[HBONE_MIB_RX_PINGS] = "RxPings",
	[HBONE_MIB_RX_SETTINGS] = "RxSettings",
	[HBONE_MIB_RX_RESETS] = "RxResets",
	[HBONE_MIB_TX_RESETS] = "TxResets",
	[HBONE_MIB_RX_GOAWAYS] = "RxGoaways",
	[HBONE_MIB_RX_IGNORED] = "RxIgnored",
	[HBONE_MIB_RX_LATE] = "RxLate",
	[HBONE_MIB_TX_BLOCKED] = "TxBlocked",
	[HBONE_MIB_TX_NO_WINDOW] = "TxNoWindow",
	[HBONE_MIB_RX_BLOCKED] = "RxBlocked",
	[HBONE_MIB_CONN_ERRORS] = "ConnErrors",
	[HBONE_MIB_STREAM_ERRORS] = "StreamErrors",
	[HBONE_MIB_FLOODS] = "Floods",
	[HBONE_MIB_TLS_CONTROL] = "TlsControl",
	[HBONE_MIB_NO_MEMORY] = "NoMemory",
	[HBONE_MIB_STARVED] = "Starved",
	[HBONE_MIB_EVENTS_LOST] = "EventsLost",
};

static_assert(ARRAY_SIZE(names) == HBONE_MIB_MAX);
/* Elsewhere a counter could be read half. */
static_assert(sizeof(long) == sizeof(u64));

static int mib_show(struct seq_file *seq, void *unused)
{
	struct hbone_net *hn = hbone_main_net(seq_file_single_net(seq));
	int i, cpu;
	u64 sum;

	for (i = 0; i < HBONE_MIB_MAX; i++) {
		sum = 0;
		for_each_possible_cpu(cpu) sum += READ_ONCE(per_cpu_ptr(hn->mib, cpu)->n[i]);
		seq_printf(seq, "%-32s\t%llu\n", names[i], sum);
	}
	return 0;
}

int hbone_mib_init(struct net *net)
{
	if (!proc_create_net_single("hbone_stat", 0444, net->proc_net, mib_show, NULL))
		return -ENOMEM;
	return 0;
}

void hbone_mib_uninit(struct net *net)
{
	remove_proc_entry("hbone_stat", net->proc_net);
}
