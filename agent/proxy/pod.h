/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pod that is served: the part all workers share (immutable, counted) and the part of one
 * worker (listeners, connections, pool).
 */
#ifndef AMB_POD_H
#define AMB_POD_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include "listener.h"
#include "live.h"
#include "mesh/policy.h"
#include "mesh/state.h"
#include "pool.h"
#include "worker.h"

struct amb_dns;
struct amb_pod;

struct amb_pod_info {
	uint32_t refs;
	uint32_t conns; /* of all workers, both directions: against max_conns_per_pod */
	struct amb_netns *netns;
	uint64_t cookie; /* 0: BPF programs do not know it */
	bool captured; /* by them: the cookie is there */
	bool ingress_mode, dns, dns_search_only;
	const char *dns_search; /* inside the object */
	const char *uid, *ns, *name, *sa; /* inside the object */
	struct amb_pod *in[]; /* by worker; each slot is that worker's own */
};

/* Copies the strings, references the netns. NULL: out of memory. */
struct amb_pod_info *amb_pod_info_create(const struct amb_proxy_pod *pod, unsigned int workers);
struct amb_pod_info *amb_pod_info_get(struct amb_pod_info *info);
void amb_pod_info_put(struct amb_pod_info *info);

/*
 * A connection that is being set up, embedded at the head of what does it. abort() ends it
 * with @reason and unlinks it.
 */
struct amb_setup {
	struct cds_list_head node;
	void (*abort)(struct amb_setup *s, enum amb_reason reason);
};

/*
 * One of @size bytes, zeroed, for the connection @fd that was accepted: its place is taken and it
 * is counted as an open socket of @direction. NULL: refused, which is counted, and @fd is closed.
 */
void *amb_setup_create(struct amb_pod *pod, int fd, enum amb_direction direction, size_t size);

/* Who waits for the pod's workload to become known. */
struct amb_pod_waiter {
	struct cds_list_head node;
	struct amb_pod *pod;
	uint64_t due;
	void (*fn)(struct amb_pod_waiter *w, bool known);
};

struct amb_pod {
	struct cds_list_head node; /* of the worker's pods */
	struct amb_worker *worker;
	struct amb_pod_info *info;
	struct amb_listener outbound, plain, hbone;
	struct amb_dns *dns; /* NULL: not served, or by another worker */
	bool transparent; /* source addresses can be kept */

	struct cds_list_head setups; /* struct amb_setup */
	struct cds_list_head pending; /* struct amb_live: sent, not answered yet; oldest first */
	struct cds_list_head lives; /* struct amb_live */
	struct cds_list_head tunnels; /* inbound.c: connections at 15008 */
	struct amb_pool pool;
	struct amb_share *share; /* of the worker's buffers */

	/* the pod's own workload as of state version @version; @baggage is its header value */
	uint64_t version;
	struct amb_workload *workload;
	char *baggage;
	struct amb_live_policy *policy; /* that allowed the last connection */
	uint64_t adopted_ns;
	struct amb_pod_waiter adopted; /* to judge what was adopted before the workload was known */
};

/* Opens the listeners. 0 or -errno, then nothing is left. Worker thread, as all below. */
int amb_pod_create(struct amb_worker *w, struct amb_pod_info *info);
/* Ends everything of the pod with @reason at once and frees it. NULL is accepted. */
void amb_pod_destroy(struct amb_pod *pod, enum amb_reason reason);
/* Stops accepting, sends GOAWAY; connections end by themselves. */
void amb_pod_drain(struct amb_pod *pod);
/* True when no connection is left. */
bool amb_pod_idle(struct amb_pod *pod);

/* Takes one of the pod's places. False: the limit is reached, which is counted. */
bool amb_pod_charge(struct amb_pod *pod);
void amb_pod_uncharge(struct amb_pod *pod);

/* The pod's own workload, valid until the next call; NULL while it is not known. */
struct amb_workload *amb_pod_workload(struct amb_pod *pod);

/* Waits for that workload, up to source_wait_ns. fn runs once, with false when time is up. */
void amb_pod_wait(struct amb_pod *pod, struct amb_pod_waiter *w);
/* Harmless when it is not waiting (node zeroed or unlinked). */
void amb_pod_unwait(struct amb_pod_waiter *w);

/*
 * Judges a connection to the pod by the policies of its workload @local, and logs as
 * configured. @stamp is that of the policies used.
 */
void amb_pod_judge(struct amb_pod *pod, const struct amb_workload *local,
		   const struct amb_policy_conn *conn, struct amb_verdict *verdict,
		   uint64_t *stamp);

#endif
