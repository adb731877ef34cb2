// SPDX-License-Identifier: GPL-2.0-or-later
/* Verdicts handed down to the kernel. */
#include "verdict.h"

#include "kernel/rows.h"
#include "mesh/identity.h"
#include "mesh/policy.h"
#include "mesh/state.h"
#include "worker.h"

void amb_verdict_keep(const struct amb_env *env, const struct amb_workload *local,
		      const struct amb_identity *peer, const struct amb_endpoint *src,
		      const struct amb_endpoint *dst)
{
	const struct amb_policy_conn conn = { .peer = peer, .src = *src, .dst = *dst };
	struct amb_rows_verdict row = {
		.identity = peer ? peer->number : 0,
		.src = *src,
		.dst = *dst,
	};
	const struct amb_bpf *bpf = amb_env_bpf(env);
	struct amb_verdict v;
	uint64_t seq;
	bool again;

	if (!bpf)
		return;
	do {
		seq = amb_state_read_begin(env->st);
		row.stamp = amb_policy_stamp(env->st, local);
		amb_policy_check(env->st, local, &conn, &v, NULL, NULL);
		again = amb_state_read_retry(env->st, seq);
		amb_state_read_end(env->st);
	} while (again);
	row.allow = v.allow;
	row.reason = v.reason;
	amb_rows_verdict_keep(bpf, &row);
}
