/* SPDX-License-Identifier: GPL-2.0 */
/* Who is the agent. */
#ifndef AMB_BPF_AGENT_H
#define AMB_BPF_AGENT_H

#include <stdbool.h>

#include "maps.h"

/*
 * By process and by mark: a process number may be another's after the agent has died, but a mark
 * needs the right to set it.
 */
static __always_inline bool amb_agent_owns(const struct bpf_sock *sk)
{
	const struct amb_meta_row *meta;
	__u32 mark = sk->mark & AMB_ROUTE_MASK, zero = 0;

	if (mark != (AMB_MARK & AMB_ROUTE_MASK) && mark != AMB_ROUTE_MARK)
		return false;
	meta = bpf_map_lookup_elem(&amb_meta, &zero);
	return meta && meta->agent_pid == bpf_get_current_pid_tgid() >> 32;
}

#endif
