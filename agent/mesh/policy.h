/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * L4 authorization: the single meaning of a policy (reference section 6). Pure; policies are
 * compiled on ingestion into indexes, so that a decision does not look at policies that
 * cannot match.
 */
#ifndef AMB_POLICY_H
#define AMB_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ambient/reason.h"
#include "base/addr.h"
#include "state.h"

/* A connection as policies see it. */
struct amb_policy_conn {
	const struct amb_identity *peer; /* NULL: plaintext */
	struct amb_endpoint src; /* TCP peer as seen */
	struct amb_endpoint dst; /* final target: pod address and target port */
};

#define AMB_POLICY_NAME_MAX 320 /* "ns/name" with NUL: 63 + 1 + 253 */

struct amb_verdict {
	bool allow;
	enum amb_reason reason; /* POLICY_DENY, POLICY_NOT_ALLOWED, POLICY_ALLOW, POLICY_NONE */
	char policy[AMB_POLICY_NAME_MAX]; /* "ns/name" that decided, "" when none did */
};

/* Called for each dry-run policy that matched (logged, never counted). */
typedef void amb_policy_dry_fn(void *ctx, const char *policy, bool deny);

/*
 * Judges @conn for the destination workload @dst. Between read_begin and read_end. @dry may
 * be NULL. Never fails: what cannot be decided is denied.
 */
void amb_policy_check(const struct amb_state *st, const struct amb_workload *dst,
		      const struct amb_policy_conn *conn, struct amb_verdict *out,
		      amb_policy_dry_fn *dry, void *ctx);

/*
 * A stamp of the policies that apply to @dst: changes when any of them, or its list,
 * changes; equal stamps mean equal verdicts for equal connections. For re-judging.
 */
uint64_t amb_policy_stamp(const struct amb_state *st, const struct amb_workload *dst);

/* Addresses that policies may look at; a peer's identity and the port they always may. */
enum amb_policy_input { AMB_POLICY_SRC = 1, AMB_POLICY_DST = 2 };

/*
 * Which addresses the policies that apply to @dst look at: connections that differ in others
 * only get one verdict. Of one version with amb_policy_stamp() when one read section asked both.
 */
unsigned int amb_policy_inputs(const struct amb_state *st, const struct amb_workload *dst);

/* One policy as config_dump shows it; @source is the resource as it came. */
struct amb_policy_info {
	const char *name, *ns;
	uint8_t scope; /* 0 global, 1 namespace, 2 workload selector */
	uint8_t action; /* 0 allow, 1 deny */
	bool dry_run;
	const struct Istio__Security__Authorization *source; /* valid in the call */
};
void amb_policy_each(const struct amb_state *st,
		     bool (*fn)(void *ctx, const struct amb_policy_info *p), void *ctx);

#endif
