// SPDX-License-Identifier: GPL-2.0
/* The maps themselves; pinned under their names by the agent. */
#include "maps.h"

char LICENSE[] SEC("license") = "GPL";

struct amb_meta_map amb_meta SEC(".maps");
struct amb_pod_map amb_pod SEC(".maps");
struct amb_addr_map amb_addr SEC(".maps");
struct amb_cidr_map amb_cidr SEC(".maps");
struct amb_svc_map amb_svc SEC(".maps");
struct amb_end_map amb_end SEC(".maps");
struct amb_policy_map amb_policy SEC(".maps");
struct amb_flight_map amb_flight SEC(".maps");
struct amb_conn_map amb_conn SEC(".maps");
struct amb_ident_map amb_ident SEC(".maps");
struct amb_if_map amb_if SEC(".maps");
struct amb_listener_map amb_listener SEC(".maps");
struct amb_splice_map amb_splice SEC(".maps");
struct amb_spliced_map amb_spliced SEC(".maps");
struct amb_stat_map amb_stat SEC(".maps");
struct amb_sock_map amb_sock SEC(".maps");
struct amb_events_map amb_events SEC(".maps");
