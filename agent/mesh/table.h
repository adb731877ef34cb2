/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables of the state, private to mesh/: one immutable root a version, found through one
 * pointer. Readers take the root once and see one version, whatever happens meanwhile.
 */
#ifndef AMB_TABLE_H
#define AMB_TABLE_H

#include "state.h"
#include "trie.h"

#define AMB_TABLE_V4_BITS 33 /* prefix lengths 0..32 */
#define AMB_TABLE_V6_BITS 129 /* and 0..128 */

/*
 * A service, or only its name while endpoints wait for it (service NULL: "staged"). Exists as
 * long as there is a service or an endpoint.
 */
struct amb_svc {
	uint64_t txn;
	amb_str key; /* borrowed from the service or from an endpoint's membership */
	struct amb_service *service;
	struct amb_trie endpoints; /* of struct amb_workload, by uid */
	struct amb_lb_cache *cache; /* atomic; lb.c: what this version offers to whom */
};

enum amb_index_kind {
	AMB_INDEX_ADDR, /* network, address -> workloads */
	AMB_INDEX_VIP, /* network, address -> services */
	AMB_INDEX_CIDR, /* network, prefix -> services */
	AMB_INDEX_LOCAL, /* namespace, name -> workloads of this node */
	AMB_INDEX_SVC_HOST, /* hostname -> services */
	AMB_INDEX_WL_HOST, /* hostname -> workloads */
};

/* Strings are borrowed: from the caller in a look-up, from the members in a bucket. */
struct amb_index_key {
	uint8_t kind;
	uint8_t bits; /* CIDR: prefix length in the address's own family */
	uint32_t hash;
	const char *a; /* network, namespace or hostname */
	union {
		struct amb_addr addr;
		const char *b;
	};
};

/* What shares a key, in order of arrival. Never empty. */
struct amb_bucket {
	uint64_t txn;
	struct amb_index_key key;
	uint32_t n;
	void *p[];
};

struct amb_root {
	uint64_t version;
	struct amb_trie workloads; /* by uid; owns a reference of each */
	struct amb_trie services; /* of struct amb_svc, by "ns/host"; owns the services' */
	struct amb_trie index; /* of struct amb_bucket */
	size_t nservices; /* of services, those that are not staged */
	/* how many CIDR VIPs there are of each length, to know which look-ups pay */
	uint32_t cidr4[AMB_TABLE_V4_BITS], cidr6[AMB_TABLE_V6_BITS];
	struct amb_policy_set *policies; /* NULL when there are none */
};

struct amb_state {
	struct amb_root *root; /* atomic */
	struct amb_reclaim *reclaim;
	amb_str network, node, domain, prefer_ns;
	bool on_demand;
	uint64_t txn; /* id of the last transaction */
	struct amb_update *update; /* the one under way */
	struct {
		amb_state_listener_fn *fn;
		void *ctx;
	} listeners[8];
	size_t nlisteners;
};

/* The present version, valid until read_end. */
static inline const struct amb_root *amb_table_root(const struct amb_state *st)
{
	const struct amb_root *root = __atomic_load_n(&st->root, __ATOMIC_ACQUIRE);

	AMB_RCU_ACQUIRE(root);
	return root;
}

/* Look-ups in one version. */
const struct amb_workload *amb_table_workload(const struct amb_root *r, const char *uid);
const struct amb_svc *amb_table_svc(const struct amb_root *r, const char *key);
const struct amb_svc *amb_table_svc_host(const struct amb_root *r, const char *ns,
					 const char *hostname);
const struct amb_bucket *amb_table_bucket(const struct amb_root *r, enum amb_index_kind kind,
					  const char *a, const char *b);
const struct amb_bucket *amb_table_vips(const struct amb_root *r, const char *network,
					const struct amb_addr *addr);
/* Of workloads, by their addresses. */
const struct amb_bucket *amb_table_addrs(const struct amb_root *r, const char *network,
					 const struct amb_addr *addr);
const struct amb_workload *amb_table_addr(const struct amb_root *r, const char *network,
					  const struct amb_addr *addr);
const struct amb_workload *amb_table_local(const struct amb_root *r, const char *ns,
					   const char *name, const char *sa);
/* Service of a VIP or CIDR VIP, of those that namespace @ns may see; NULL sees all. */
const struct amb_service *amb_table_vip(const struct amb_root *r, const char *network,
					const struct amb_addr *addr, const char *ns);

/* Changes to the next version, within @txn; 0 or negative errno with txn->err set. */
int amb_table_put_workload(struct amb_txn *txn, struct amb_root *r, const struct amb_state *st,
			   struct amb_workload *w);
int amb_table_del_workload(struct amb_txn *txn, struct amb_root *r, const struct amb_state *st,
			   const struct amb_workload *w);
int amb_table_put_service(struct amb_txn *txn, struct amb_root *r, struct amb_service *s);
int amb_table_del_service(struct amb_txn *txn, struct amb_root *r, const struct amb_svc *svc);
void amb_table_abort(struct amb_txn *txn, struct amb_root *r);
void amb_table_destroy(struct amb_root *r);

/* Ports @w has for service @key (an interned string); NULL when it is no member. */
const struct amb_ports *amb_table_ports(const struct amb_workload *w, amb_str key);
/* Target of @port, 0 when named or unknown; @known tells the two apart (may be NULL). */
uint16_t amb_table_target(const struct amb_ports *ports, uint16_t port, bool *known);

/* resource.c: objects from the wire. Reference of one, or NULL with @reason or errno ENOMEM. */
#define AMB_RESOURCE_REASON 200
struct Istio__Workload__Workload;
struct Istio__Workload__Service;
struct amb_workload *amb_resource_workload(const struct Istio__Workload__Workload *m, char *reason);
/* True when nothing in them differs; may be false for equals that were built differently. */
bool amb_resource_workload_eq(const struct amb_workload *a, const struct amb_workload *b);
struct amb_service *amb_resource_service(const struct Istio__Workload__Service *m, char *reason);
/* True when @text is valid UTF-8 without control characters, of less than AMB_RESOURCE_TEXT. */
#define AMB_RESOURCE_TEXT 4096
bool amb_resource_text_ok(const char *text);

#endif
