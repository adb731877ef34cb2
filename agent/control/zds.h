/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ZDS client: a CNI (istio-cni, Cilium) says over a SOCK_SEQPACKET unix socket which pods of
 * this node are to be served (ztunnel-interop 3.1 to 3.4). The CNI is the server.
 *
 * Every request gets exactly one answer, in order, within AMB_ZDS_ANSWER_NS, and nothing is ever
 * sent unasked: the CNI closes the connection otherwise. Where ztunnel ends itself (a packet
 * that is none, a second end of the snapshot) the client connects anew: the CNI then tells its
 * whole snapshot again, and pods that are served go on meanwhile. Main thread only.
 */
#ifndef AMB_ZDS_H
#define AMB_ZDS_H

#include <stdbool.h>
#include <stddef.h>

struct amb_loop;
struct amb_zds;

#define AMB_ZDS_PODS_MAX 4096 /* pods of a node; more are refused */
#define AMB_ZDS_RETRY_MIN_NS 20000000ull /* before connecting anew; doubles up to ... */
#define AMB_ZDS_RETRY_MAX_NS 15000000000ull /* ... and begins anew after a snapshot */
#define AMB_ZDS_ANSWER_NS 2000000000ull /* for a pod to start or end; the CNI waits 5 s */
#define AMB_ZDS_PATIENCE_NS 30000000000ull /* for a snapshot, then the log says so */

/* A pod to serve. Strings are valid during the call. */
struct amb_zds_pod {
	const char *uid, *ns, *name, *sa;
};

/* What the client does with what it hears; @ctx is the first argument of each. */
struct amb_zds_ops {
	void *ctx;
	/*
	 * Serves @pod, whose network namespace @netns refers to (the callee owns it, always). A
	 * pod that is served there already stays as it is, one that is served elsewhere moves.
	 * 0: it is up; -EINPROGRESS: amb_zds_done() will tell; else it cannot start: @err has
	 * the reason, and the callee may try again by itself.
	 */
	int (*add)(void *ctx, const struct amb_zds_pod *pod, int netns, char *err, size_t errlen);
	/*
	 * Lets go of a pod at once; fine when there is none. 0: nothing of it is left;
	 * -EINPROGRESS: amb_zds_done() will tell, not before this returns.
	 */
	int (*del)(void *ctx, const char *uid);
	/*
	 * True after a snapshot: from now on exactly the pods that were named are served. False
	 * when the connection ends; pods stay.
	 */
	void (*synced)(void *ctx, bool synced);
};

/*
 * Connects to the CNI at @path now and whenever the connection ends. NULL: errno ENOMEM, or
 * ENAMETOOLONG. @ops is copied.
 */
struct amb_zds *amb_zds_create(struct amb_loop *loop, const char *path,
			       const struct amb_zds_ops *ops);
/* Ends the connection without a word; pods stay as they are. NULL is accepted. */
void amb_zds_destroy(struct amb_zds *z);

/*
 * The pod's start or its end is done: @error NULL, or why it could not start. Harmless when nobody
 * waits for it.
 */
void amb_zds_done(struct amb_zds *z, const char *uid, const char *error);

#endif
