/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the connections of a pod come to the agent: by BPF programs, which also settle by
 * themselves what needs no agent, or by nftables. Main thread.
 */
#ifndef AMB_CAPTURE_H
#define AMB_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/bpf.h"
#include "proxy/proxy.h"

struct amb_capture;
struct amb_loop;
struct amb_netns;
struct amb_state;
struct amb_state_change;

enum amb_capture_mode {
	AMB_CAPTURE_AUTO, /* the first of these that works */
	AMB_CAPTURE_EBPF,
	AMB_CAPTURE_NFT,
	AMB_CAPTURE_NONE, /* somebody else's rules do it */
	AMB_CAPTURE_CNI, /* a CNI's rules do it; programs open the direct way past them */
};

/* NULL for a name that is none. */
const char *amb_capture_mode_name(enum amb_capture_mode mode);
int amb_capture_mode_parse(const char *name, enum amb_capture_mode *mode);

struct amb_capture_config {
	enum amb_capture_mode mode;
	struct amb_bpf_config bpf;
	bool keep; /* leave all in place at the end */
	bool ipv6;
	bool always_tunnel; /* for all pods */
	bool partial; /* the state never has all there is */
	/*
	 * Beside a CNI's rules: programs that another agent had are ours now, amb_capture_bpf()
	 * has them, and the pods are theirs. Now is the time for amb_capture_observe() and, when
	 * that was done before, amb_capture_settle().
	 */
	void (*ready)(void *ctx);
	void *ctx;
};

/*
 * Finds the mode; says in one line why when it is not the best. To be called before rights are
 * given up: a bpffs may have to be mounted. NULL: errno, with a sentence in @err.
 */
struct amb_capture *amb_capture_create(struct amb_loop *loop, struct amb_state *st,
				       const struct amb_capture_config *config, char *err,
				       size_t errlen);
/*
 * Without keep, all that is left of pods and programs is removed. But one that has @failed leaves
 * whom it, or an agent before, has captured as if it had been killed.
 */
void amb_capture_destroy(struct amb_capture *c, bool failed);

enum amb_capture_mode amb_capture_mode(const struct amb_capture *c);
/* Why no programs are loaded though they were wanted; "" otherwise. */
const char *amb_capture_why(const struct amb_capture *c);
/* NULL when no programs are loaded. */
const struct amb_bpf *amb_capture_bpf(const struct amb_capture *c);

/* Connections that the kernel carries are told to @hooks as of thread @worker. 0 or -errno. */
int amb_capture_observe(struct amb_capture *c, const struct amb_flow_hooks *hooks,
			unsigned int worker);
/* NULL when no programs are loaded. */
struct amb_flows *amb_capture_flows(const struct amb_capture *c);

/* A pod to capture. Strings are copied. */
struct amb_capture_want {
	const char *uid, *ns, *name, *sa;
	struct amb_netns *netns;
	bool ingress_mode; /* inbound is left alone */
	bool always_tunnel;
	bool splice;
	bool dns; /* its queries are answered by the agent */
};

/*
 * The cookie for struct amb_proxy_pod: 0 when the programs do not know the pod. With @ruled it is
 * not them that capture it.
 */
int amb_capture_cookie(const struct amb_capture *c, struct amb_netns *ns, uint64_t *cookie,
		       bool *ruled);

/*
 * Its listeners are open: from now on its connections arrive there. A namespace that is captured
 * already, also by an agent before, is so now on the terms of @want. 0, or -errno and @err: it is
 * captured if it was before.
 */
int amb_capture_pod_add(struct amb_capture *c, const struct amb_capture_want *want, char *err,
			size_t errlen);
/* Sets the namespace free. Fine when it is not captured. */
void amb_capture_pod_del(struct amb_capture *c, struct amb_netns *netns);

/* The state changed, as its listener; what it forbids is forbidden when this returns. */
void amb_capture_changed(struct amb_capture *c, const struct amb_state_change *change);
/*
 * All pods that can be there at the start are there: what an agent before left of others goes.
 * What @wanted knows ("namespace/pod") but has no network namespace yet stays captured, and so
 * cut off, until it has.
 */
void amb_capture_settle(struct amb_capture *c, bool (*wanted)(void *ctx, const char *pod),
			void *ctx);

#endif
