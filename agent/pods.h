/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pods that this agent serves: what is wanted (manifests, enrol commands) made so. Joins
 * control/, kernel/ and proxy/ for main.c; runs on the main loop.
 */
#ifndef AMB_PODS_H
#define AMB_PODS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

struct amb_capture;
struct amb_netns;
struct amb_pods;
struct amb_proxy;

/* A pod that ought to be served; strings are copied. */
struct amb_pods_want {
	const char *uid, *ns, *name, *sa;
	const char *netns; /* path, or NULL: an enrol command has to say */
	bool ingress_mode;
	bool always_tunnel; /* never direct */
	bool splice; /* opted in */
	bool dns; /* capture its DNS */
	const char *dns_search; /* its search domains (mesh/names.h); NULL: of its resolv.conf */
	bool dns_search_only; /* those alone, without the ones of a Kubernetes pod */
};

/* NULL: out of memory. @proxy and @capture outlive the result. */
struct amb_pods *amb_pods_create(struct amb_loop *loop, struct amb_proxy *proxy,
				 struct amb_capture *capture);
/* Forgets everything; neither the proxy nor capture is told any more. */
void amb_pods_destroy(struct amb_pods *p);

/*
 * Makes the wanted set @want[0..n): pods that are not in it are let go, others taken in or
 * moved to another netns. Errors are logged with the pod's name and retried each 5 s.
 */
void amb_pods_sync(struct amb_pods *p, const struct amb_pods_want *want, size_t n);

/*
 * A pod that a CNI has prepared and hands over with its netns (owned by the callee, always;
 * want->netns is ignored): no rules are written in it, and amb_pods_sync() lets it be. One that
 * is there already stays, or moves to the other netns. 0: up; -EINPROGRESS: it starts, see
 * amb_pods_watch(); else -errno with the reason in @err, and it is tried again each 5 s, but
 * for -ENOMEM.
 */
int amb_pods_add(struct amb_pods *p, const struct amb_pods_want *want, struct amb_netns *netns,
		 char *err, size_t errlen);
/*
 * Lets go of such a pod, at once. Fine when there is none. 0: nothing of it is left;
 * -EINPROGRESS: the proxy is still letting go, see amb_pods_watch().
 */
int amb_pods_del(struct amb_pods *p, const char *uid);

/*
 * Says where the netns of the wanted pod "ns/name" is, overriding its manifest. 0, -ENOENT:
 * no such pod is to be served here, -errno: the path is no netns.
 */
int amb_pods_enroll(struct amb_pods *p, const char *pod, const char *netns_path);
/* Lets a pod go until it is enrolled again. 0 or -ENOENT. */
int amb_pods_unenroll(struct amb_pods *p, const char *pod);

/* True when the pod "ns/name" is to be served, wherever its netns is. */
bool amb_pods_wants(struct amb_pods *p, const char *pod);
/* Calls @fn when no pod is being started any more, perhaps at once; once. */
void amb_pods_when_started(struct amb_pods *p, void (*fn)(void *ctx), void *ctx);

struct amb_pods_info;
/*
 * A CNI plugin's word that pod "ns/name" is at @netns_path: remembered, whether it is wanted or
 * not, until amb_pods_detach() of the same path. Saying it again is fine. 1: it is wanted, and
 * @info has its state (strings valid until the next call of anything here); 0: it is not, but
 * will be served when it is; -errno: the path is no netns, or there is no room.
 */
int amb_pods_attach(struct amb_pods *p, const char *pod, const char *netns_path,
		    struct amb_pods_info *info);
/* Forgets it, and lets go of the pod if it is served there. */
void amb_pods_detach(struct amb_pods *p, const char *pod, const char *netns_path);

enum amb_pods_state { AMB_PODS_WAITING, AMB_PODS_STARTING, AMB_PODS_UP, AMB_PODS_FAILED };

/* @state's text for people: "waiting for its network namespace", "up", ... */
const char *amb_pods_state_text(enum amb_pods_state state);

struct amb_pods_info {
	const char *uid, *ns, *name, *sa, *netns;
	enum amb_pods_state state;
	const char *error; /* last one, or "" */
};
void amb_pods_each(struct amb_pods *p, void (*fn)(void *ctx, const struct amb_pods_info *info),
		   void *ctx);

/*
 * @started is called when the start of a pod ended, up or failed; @left when nothing is open in
 * the namespace of one that was let go any more. One watcher; NULL ends it.
 */
void amb_pods_watch(struct amb_pods *p,
		    void (*started)(void *ctx, const struct amb_pods_info *info),
		    void (*left)(void *ctx, const char *uid), void *ctx);

struct amb_pods_counts {
	size_t up, pending; /* pending: starting or failed; waiting ones do not count */
	unsigned long started, stopped;
};
void amb_pods_count(const struct amb_pods *p, struct amb_pods_counts *out);

#endif
