/* SPDX-License-Identifier: GPL-2.0 */
/* Verdicts: found, never made. The agent's engine is the single meaning of a policy. */
#ifndef AMB_BPF_POLICY_H
#define AMB_BPF_POLICY_H

#include "addr.h"
#include "maps.h"

enum amb_verdict { AMB_VERDICT_NONE, AMB_VERDICT_ALLOW, AMB_VERDICT_DENY };

/*
 * May @identity (0: nobody) connect from @src to @dst:@port of the pod @pod, whose namespace is
 * @netns? NONE: nobody has asked yet, or policies have changed since.
 */
static __always_inline enum amb_verdict amb_policy_find(const struct amb_pod_row *pod, __u64 netns,
							__u32 identity, const struct amb_in6 *src,
							const struct amb_in6 *dst, __u16 port,
							enum amb_reason *reason)
{
	struct amb_policy_key key = { .netns = netns, .identity = identity, .port = port };
	const struct amb_policy_row *row;

	if (pod->inputs & AMB_INPUT_SRC)
		key.src = *src;
	if (pod->inputs & AMB_INPUT_DST)
		key.dst = *dst;
	row = bpf_map_lookup_elem(&amb_policy, &key);
	if (!row || row->stamp != pod->stamp)
		return AMB_VERDICT_NONE;
	*reason = row->reason;
	return row->allow ? AMB_VERDICT_ALLOW : AMB_VERDICT_DENY;
}

#endif
