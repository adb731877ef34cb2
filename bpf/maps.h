/* SPDX-License-Identifier: GPL-2.0 */
/* The maps as every program sees them; maps.bpf.c holds them. Rows: include/ambient/rows.h. */
#ifndef AMB_BPF_MAPS_H
#define AMB_BPF_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "ambient/rows.h"

#define AMB_MAP(name, map_type, entries, key_type, row_type, flags)                                \
	struct name##_map {                                                                        \
		__uint(type, map_type);                                                            \
		__uint(max_entries, entries);                                                      \
		__uint(map_flags, flags);                                                          \
		__type(key, key_type);                                                             \
		__type(value, row_type);                                                           \
	};                                                                                         \
	extern struct name##_map name SEC(".maps")

/* What connect() decided for a socket; lives as long as the socket, seen by programs only. */
struct amb_sock_row {
	struct amb_flight_row flight;
	__u16 peer_shown; /* getpeername() shows flight.dst */
	__u16 watched; /* its changes of state are told because we asked for it */
};

AMB_MAP(amb_meta, BPF_MAP_TYPE_ARRAY, 1, __u32, struct amb_meta_row, 0);
AMB_MAP(amb_pod, BPF_MAP_TYPE_HASH, AMB_PODS_MAX, __u64, struct amb_pod_row, BPF_F_NO_PREALLOC);
AMB_MAP(amb_addr, BPF_MAP_TYPE_HASH, AMB_ADDRS_MAX, struct amb_in6, struct amb_addr_row,
	BPF_F_NO_PREALLOC);
AMB_MAP(amb_cidr, BPF_MAP_TYPE_LPM_TRIE, AMB_CIDRS_MAX, struct amb_cidr_key, struct amb_cidr_row,
	BPF_F_NO_PREALLOC);
AMB_MAP(amb_svc, BPF_MAP_TYPE_HASH, AMB_SVCS_MAX, struct amb_svc_key, struct amb_svc_row,
	BPF_F_NO_PREALLOC);
AMB_MAP(amb_end, BPF_MAP_TYPE_HASH, AMB_ENDS_MAX, struct amb_end_key, struct amb_end_row,
	BPF_F_NO_PREALLOC);
AMB_MAP(amb_policy, BPF_MAP_TYPE_LRU_HASH, AMB_VERDICTS_MAX, struct amb_policy_key,
	struct amb_policy_row, 0);
AMB_MAP(amb_flight, BPF_MAP_TYPE_LRU_HASH, AMB_FLIGHTS_MAX, struct amb_flight_key,
	struct amb_flight_row, 0);
AMB_MAP(amb_conn, BPF_MAP_TYPE_HASH, AMB_CONNS_MAX, __u64, struct amb_conn_row, BPF_F_NO_PREALLOC);
AMB_MAP(amb_ident, BPF_MAP_TYPE_HASH, AMB_IDENTS_MAX, __u32, struct amb_ident_row,
	BPF_F_NO_PREALLOC);
AMB_MAP(amb_if, BPF_MAP_TYPE_HASH, AMB_IFS_MAX, __u32, struct amb_if_row, BPF_F_NO_PREALLOC);
AMB_MAP(amb_listener, BPF_MAP_TYPE_SOCKHASH, AMB_PODS_MAX, __u64, __u64, 0);
AMB_MAP(amb_splice, BPF_MAP_TYPE_SOCKHASH, AMB_SPLICES_MAX, struct amb_splice_key, __u64, 0);
AMB_MAP(amb_spliced, BPF_MAP_TYPE_LRU_HASH, AMB_SPLICES_MAX, struct amb_splice_key,
	struct amb_splice_row, 0);
AMB_MAP(amb_stat, BPF_MAP_TYPE_PERCPU_ARRAY, AMB_STATS_MAX, __u32, struct amb_stat_row, 0);
AMB_MAP(amb_sock, BPF_MAP_TYPE_SK_STORAGE, 0, int, struct amb_sock_row, BPF_F_NO_PREALLOC);

struct amb_events_map {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, AMB_EVENTS_BYTES);
};
extern struct amb_events_map amb_events SEC(".maps");

#endif
