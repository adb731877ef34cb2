/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One policy, compiled: what it says, evaluated alone (reference 6.3). Private to mesh/. */
#ifndef AMB_POLICY_RULE_H
#define AMB_POLICY_RULE_H

#include "policy.h"
#include "str.h"

/* Fields of a match. Principal and service account are of the peer's identity. */
enum amb_rule_field {
	AMB_RULE_NAMESPACE,
	AMB_RULE_PRINCIPAL,
	AMB_RULE_ACCOUNT,
	AMB_RULE_SRC,
	AMB_RULE_DST,
	AMB_RULE_PORT,
};

enum amb_rule_op { AMB_RULE_EXACT, AMB_RULE_PREFIX, AMB_RULE_SUFFIX, AMB_RULE_PRESENCE };

struct amb_rule_text {
	uint8_t op;
	uint32_t len;
	const char *s;
};

struct amb_rule_account {
	const char *ns, *sa;
};

/* Bits count in 128 for both families; the address is masked. */
struct amb_rule_cidr {
	struct amb_addr net;
	uint8_t bits;
	bool v4;
};

/* One field of a match: one of the values, or with @negated none of them. */
struct amb_rule_cond {
	uint8_t field;
	bool negated;
	uint32_t n;
	union {
		struct amb_rule_text *texts;
		struct amb_rule_account *accounts;
		struct amb_rule_cidr *cidrs;
		uint16_t *ports;
	};
};

/* All conditions must hold. Without any it never does. */
struct amb_rule_match {
	uint32_t n;
	struct amb_rule_cond *conds;
};

/* One match must hold; true without any. */
struct amb_rule_clause {
	uint32_t n;
	struct amb_rule_match *matches;
};

/* All clauses must hold; true without any. */
struct amb_rule {
	uint32_t n;
	struct amb_rule_clause *clauses;
};

struct amb_rule_chunk;

struct amb_policy {
	amb_str key, ns, name; /* key: "ns/name" */
	uint64_t version; /* given once in the life of a state */
	uint8_t scope, action;
	bool dry_run;
	uint8_t inputs; /* enum amb_policy_input: which addresses it looks at */
	uint32_t n;
	struct amb_rule *rules;
	struct amb_rule_chunk *chunks; /* owns all that hangs on rules, and the source */
	const uint8_t *packed; /* the resource, for dumps */
	size_t packed_len;
};

/* A connection with what the evaluation needs more than once. */
struct amb_rule_conn {
	const struct amb_policy_conn *c;
	const char *principal, *ns; /* "" without identity */
	size_t principal_len, ns_len;
	bool src_v4, dst_v4;
};

void amb_rule_conn_init(struct amb_rule_conn *rc, const struct amb_policy_conn *c);

/*
 * Compiles. Value lists: an entry that cannot be decoded is left out; for DENY a list that is
 * empty then is no condition, as in ztunnel; for ALLOW that would widen the policy, so there
 * an emptied positive list, and any bad entry of a negative list, make the match false.
 * NULL with errno EINVAL and @reason, or ENOMEM.
 */
struct amb_policy *amb_rule_compile(const struct Istio__Security__Authorization *m, char *reason);
void amb_rule_free(struct amb_policy *p);

bool amb_rule_holds(const struct amb_rule *rule, const struct amb_rule_conn *rc);
/* True when any rule holds. */
bool amb_rule_policy_holds(const struct amb_policy *p, const struct amb_rule_conn *rc);

/* Clears the bits of @a behind the first @bits of 128. */
struct amb_addr amb_rule_mask(const struct amb_addr *a, unsigned int bits);

#endif
