/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Proof of who connects: the row of amb_flight that a socket's connect() left. Its key is the
 * namespace that the socket lives in and the exact connection, so nobody else can have made it.
 */
#ifndef AMB_BPF_FLIGHT_H
#define AMB_BPF_FLIGHT_H

#include "addr.h"
#include "maps.h"

static __always_inline void amb_flight_key_set(struct amb_flight_key *key, __u64 netns,
					       const struct amb_in6 *to, __u16 to_port,
					       __u16 from_port)
{
	key->netns = netns;
	key->to = *to;
	key->to_port = to_port;
	key->from_port = from_port;
	key->pad = 0;
}

/* Is the connection @key, which comes from @src, the agent's own? */
static __always_inline bool amb_flight_agent(const struct amb_flight_key *key,
					     const struct amb_in6 *src)
{
	const struct amb_flight_row *row = bpf_map_lookup_elem(&amb_flight, key);

	return row && row->way == AMB_WAY_NONE && amb_addr_same(&row->src, src);
}

/*
 * For a connection that comes in from @src:@src_port to @dst:@dst_port: the row of the captured
 * pod that has @src, if one of its sockets was let connect to just there on a direct way. NULL:
 * whoever it is, he is nobody to us. @from is set to the pod's address row then, else to NULL.
 */
static __always_inline struct amb_flight_row *
amb_flight_of(const struct amb_in6 *src, __u16 src_port, const struct amb_in6 *dst, __u16 dst_port,
	      struct amb_flight_key *key, struct amb_addr_row **from)
{
	struct amb_flight_row *row;

	*from = bpf_map_lookup_elem(&amb_addr, src);
	if (!*from || !(*from)->netns) {
		*from = NULL;
		return NULL;
	}
	amb_flight_key_set(key, (*from)->netns, dst, dst_port, src_port);
	row = bpf_map_lookup_elem(&amb_flight, key);
	if (!row || (row->way != AMB_WAY_DIRECT && row->way != AMB_WAY_SPLICE) ||
	    !amb_addr_same(&row->src, src)) {
		*from = NULL;
		return NULL;
	}
	return row;
}

#endif
