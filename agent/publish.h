/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel has to know of the mesh, written into the BPF maps: addresses, services whose
 * endpoints are of this node, and the captured pods. Main thread.
 */
#ifndef AMB_PUBLISH_H
#define AMB_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct amb_bpf;
struct amb_loop;
struct amb_publish;
struct amb_state;
struct amb_state_change;
struct amb_workload;

/* A captured pod. Strings are copied. */
struct amb_publish_pod {
	uint64_t cookie;
	const char *ns, *name, *sa;
	uint32_t flags; /* enum amb_pod_flag */
	/* addresses of its interfaces: used while the mesh does not know the workload */
	struct amb_addr v4, v6;
};

/* All arguments outlive it. NULL: out of memory. */
struct amb_publish *amb_publish_create(struct amb_loop *loop, struct amb_state *st,
				       const struct amb_bpf *b);
void amb_publish_destroy(struct amb_publish *p);

/* Adds or replaces a pod, and publishes it at once. 0 or -errno. */
int amb_publish_pod_add(struct amb_publish *p, const struct amb_publish_pod *pod);
/* Takes it and all rows of it away, also of one that only an agent before knew. */
void amb_publish_pod_del(struct amb_publish *p, uint64_t cookie);

/*
 * The state has changed, to be called from its listener. Policies are in force when this returns,
 * and addresses that are listed are what they should be. A change without lists takes a pass over
 * everything: the first one at once, then one each AMB_PUBLISH_NS.
 */
#define AMB_PUBLISH_NS 50000000ull
void amb_publish_changed(struct amb_publish *p, const struct amb_state_change *change);

/* All is known now: rows of an agent before go, but those of pods that @wanted keeps. */
void amb_publish_settle(struct amb_publish *p, bool (*wanted)(void *ctx, uint64_t cookie),
			void *ctx);

/* The state never has all there is: what it does not know goes to the agent. Stays so. */
void amb_publish_partial(struct amb_publish *p);
/* Connections of pods that opted in may be spliced. Stays so. */
void amb_publish_splice(struct amb_publish *p);

/* The workload of a captured pod, with a reference; NULL when unknown. */
struct amb_workload *amb_publish_workload(const struct amb_publish *p, uint64_t cookie);

#endif
