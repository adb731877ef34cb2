// SPDX-License-Identifier: GPL-2.0-or-later
/* Pods that a CNI hands over by ZDS. */
#include "cni_pods.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "admin/http.h"
#include "control/zds.h"
#include "kernel/netns.h"
#include "pods.h"

#define TASK "workload proxy manager"

struct amb_cni_pods {
	struct amb_pods *pods;
	struct amb_http *http;
	struct amb_zds *zds;
	bool dns; /* pods have the DNS proxy; the CNI's rules say which of them use it */
	bool synced;
	bool pending; /* as the readiness has it */
	void (*when_synced)(void *ctx);
	void *ctx;
};

static void show_readiness(struct amb_cni_pods *c)
{
	struct amb_pods_counts counts;
	bool pending;

	amb_pods_count(c->pods, &counts);
	pending = !c->synced || counts.pending;
	if (pending != c->pending)
		amb_http_pending(c->http, TASK, pending);
	c->pending = pending;
}

static int add(void *ctx, const struct amb_zds_pod *pod, int fd, char *err, size_t errlen)
{
	const struct amb_pods_want want = {
		.uid = pod->uid,
		.ns = pod->ns,
		.name = pod->name,
		.sa = pod->sa,
		.dns = ((struct amb_cni_pods *)ctx)->dns,
	};
	struct amb_cni_pods *c = ctx;
	struct amb_netns *netns = amb_netns_take(fd);
	int ret;

	if (!netns)
		return -errno;
	ret = amb_pods_add(c->pods, &want, netns, err, errlen);
	show_readiness(c);
	return ret;
}

static int del(void *ctx, const char *uid)
{
	struct amb_cni_pods *c = ctx;
	int ret = amb_pods_del(c->pods, uid);

	show_readiness(c);
	return ret;
}

static void synced(void *ctx, bool is)
{
	struct amb_cni_pods *c = ctx;

	c->synced = is;
	show_readiness(c);
	if (is)
		c->when_synced(c->ctx);
}

static void start_ended(void *ctx, const struct amb_pods_info *info)
{
	struct amb_cni_pods *c = ctx;

	amb_zds_done(c->zds, info->uid, info->state == AMB_PODS_UP ? NULL : info->error);
	show_readiness(c);
}

static void left(void *ctx, const char *uid)
{
	struct amb_cni_pods *c = ctx;

	amb_zds_done(c->zds, uid, NULL);
}

bool amb_cni_pods_synced(const struct amb_cni_pods *c)
{
	return c->synced;
}

struct amb_cni_pods *amb_cni_pods_start(struct amb_loop *loop, struct amb_pods *pods,
					struct amb_http *http, const char *path, bool dns,
					void (*when_synced)(void *ctx), void *ctx)
{
	struct amb_cni_pods *c = calloc(1, sizeof(*c));
	const struct amb_zds_ops ops = { .ctx = c, .add = add, .del = del, .synced = synced };

	if (!c)
		return NULL;
	c->pods = pods;
	c->http = http;
	c->dns = dns;
	c->when_synced = when_synced;
	c->ctx = ctx;
	c->zds = amb_zds_create(loop, path, &ops);
	if (!c->zds) {
		free(c);
		return NULL;
	}
	amb_pods_watch(pods, start_ended, left, c);
	show_readiness(c);
	return c;
}

void amb_cni_pods_stop(struct amb_cni_pods *c)
{
	if (!c)
		return;
	amb_pods_watch(c->pods, NULL, NULL, NULL);
	amb_zds_destroy(c->zds);
	/* Whether the agent is ready is for others to say now. */
	if (c->pending)
		amb_http_pending(c->http, TASK, false);
	free(c);
}
