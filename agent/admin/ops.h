/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the admin side may ask of the rest of the agent: main.c fills this table in, HTTP and
 * the control socket use it. All is called on the main thread.
 */
#ifndef AMB_OPS_H
#define AMB_OPS_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>

#include "ambient/reason.h"

struct amb_addr;
struct amb_endpoint;
struct amb_state;
struct amb_creds;
struct amb_proxy;
struct amb_proxy_conn;
struct amb_proxy_stats;
struct amb_metrics;
struct amb_loop;

/* A pod of this node that is to be served. */
struct amb_admin_pod {
	const char *uid, *ns, *name, *sa;
	const char *netns; /* path, or "" */
	bool up;
	const char *state; /* for people: "up", "waiting for its network namespace", ... */
	const char *error; /* last one, or "" */
};
/* What a CNI plugin learns of a pod. */
struct amb_admin_attached {
	bool wanted; /* to be served on this node; the rest is only then of interest */
	bool up, failed;
	char reason[160]; /* why it failed, or "" */
};
typedef void amb_admin_pod_fn(void *arg, const struct amb_admin_pod *pod);

struct amb_admin_ops {
	void *ctx; /* first argument of each */

	/* Objects of the agent; NULL where there is none (yet). They outlive the admin side. */
	struct amb_loop *loop;
	const struct amb_state *state;
	struct amb_creds *creds;
	struct amb_proxy *proxy;
	struct amb_metrics *metrics;
	const char *version;

	void (*each_pod)(void *ctx, amb_admin_pod_fn *fn, void *arg);
	/* New references. status: what is not counted here (node, mode, manifests, CA, uptime). */
	json_t *(*status)(void *ctx);
	json_t *(*config)(void *ctx); /* all settings, camelCase */
	json_t *(*probe)(void *ctx); /* {"capability": {"ok": bool, "detail": text}} */
	/* 0, or -errno and perhaps a sentence in @err that names the object. @pod is "ns/name". */
	int (*enroll)(void *ctx, const char *pod, const char *netns, char *err, size_t errlen);
	int (*unenroll)(void *ctx, const char *pod, char *err, size_t errlen);
	int (*attach)(void *ctx, const char *pod, const char *netns, struct amb_admin_attached *out,
		      char *err, size_t errlen);
	int (*detach)(void *ctx, const char *pod, const char *netns, char *err, size_t errlen);
	int (*reload)(void *ctx, char *err, size_t errlen);
	/*
	 * Connections that the kernel carries by itself; NULL where there are none. tell_bytes: as
	 * amb_proxy_tell_bytes(), but done when it returns.
	 */
	void (*tell_bytes)(void *ctx);
	void (*add_stats)(void *ctx, struct amb_proxy_stats *stats);
	void (*each_conn)(void *ctx, void (*fn)(void *arg, const struct amb_proxy_conn *c),
			  void *arg);
	/*
	 * What the programs at connect() say of @dst, asked for by the captured pod of this node
	 * that has the address @src: the way, the reason, and where the connection goes instead.
	 * False when there is no such pod; NULL where there are no programs.
	 */
	bool (*ask_kernel)(void *ctx, const struct amb_addr *src, const struct amb_endpoint *dst,
			   enum amb_way *way, enum amb_reason *reason, struct amb_endpoint *to);
	/* Begins the graceful stop; the process ends itself afterwards. */
	void (*quit)(void *ctx);
};

#endif
