/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One pod's share of the programs: the look-up in its namespace, the guard at the host's ends of
 * its interfaces, and the way back for what the agent sends with a client's address. A pod that a
 * CNI's rules capture has the guard, and what leads direct connections past those rules. Main
 * thread.
 */
#ifndef AMB_ATTACH_H
#define AMB_ATTACH_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "bpf.h"

struct amb_netns;

/* Cookie of a network namespace; never given twice while the machine runs. 0 or -errno. */
int amb_attach_cookie(struct amb_netns *ns, uint64_t *cookie);

struct amb_attach {
	uint64_t cookie;
	const struct amb_addr *addrs; /* the pod's, as the mesh knows them */
	size_t naddrs;
	bool ipv6;
	bool rules; /* a CNI's rules capture it: they stay as they are */
	bool wait; /* what needs an agent waits while none runs; not with rules */
	unsigned int guarded; /* answer: interfaces with the guard; 0: nothing keeps it honest */
};

/*
 * Which switches of the way back are off in the namespace, AMB_POD_FWMARK and so on? With @wait
 * AMB_POD_CLSACT too, when its loopback interface has no such discipline. Or -errno.
 */
int amb_attach_off(struct amb_netns *ns, bool wait);

/*
 * Attaches, taking over what is attached already. 0, or -errno with the step in @err; the caller
 * then takes away what there is.
 */
int amb_attach_pod(const struct amb_bpf *b, struct amb_netns *ns, struct amb_attach *a, char *err,
		   size_t errlen);

/*
 * Undoes it. @ns may be NULL: the namespace is gone, and with it all that was inside. @flags are
 * the pod's (enum amb_pod_flag): they say which switches are switched off again; with
 * AMB_POD_RULES there are none, and routes are left alone.
 */
void amb_attach_remove(const struct amb_bpf *b, struct amb_netns *ns, uint64_t cookie,
		       uint32_t flags);

/*
 * Before amb_attach_pod() of one that an agent before captured the other way, by a CNI's rules or
 * without: undoes what is not taken over. @flags are the pod's as they were. Connections live on.
 * So it is before amb_attach_remove() of one that rules of ours capture now: the routes are theirs.
 */
void amb_attach_turn(const struct amb_bpf *b, struct amb_netns *ns, uint64_t cookie,
		     uint32_t flags);

/* The same of one that an agent before had wait (AMB_POD_WAIT) and this one has not. */
void amb_attach_unwait(struct amb_netns *ns, uint32_t flags);

/* Undoes what is attached for pods that @wanted does not know; after a take-over. */
void amb_attach_sweep(const struct amb_bpf *b, bool (*wanted)(void *ctx, uint64_t cookie),
		      void *ctx);

#endif
