// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How the connections of a pod come to the agent.
 *
 * Order for a pod: its rows first, so that whoever looks finds the pod captured and undecided;
 * then the programs of its own. Backwards when it leaves, so that it never has programs without
 * rows: a look-up program that does not know the pod refuses.
 */
#include "capture.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "flows.h"
#include "kernel/attach.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "kernel/rows.h"
#include "kernel/splice.h"
#include "mesh/state.h"
#include "publish.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A captured namespace. */
struct pod {
	struct pod *next;
	struct amb_netns *netns;
	uint64_t cookie; /* 0: captured by nftables, or not by us */
	bool ruled;
	uint32_t off; /* switches of the way back to be switched off in the end */
	char *uid, *text; /* text: "ns/name" */
};

struct amb_capture {
	struct amb_loop *loop;
	struct amb_state *st;
	struct amb_capture_config config;
	enum amb_capture_mode mode;
	struct amb_bpf *bpf;
	struct amb_publish *publish;
	struct amb_flows *flows;
	struct pod *pods;
	bool splice_tried; /* its program is there, or cannot be */
	char why[320];
};

static const char *const modes[] = {
	[AMB_CAPTURE_AUTO] = "auto",
	[AMB_CAPTURE_EBPF] = "ebpf",
	[AMB_CAPTURE_NFT] = "nft",
	[AMB_CAPTURE_NONE] = "none",
};

const char *amb_capture_mode_name(enum amb_capture_mode mode)
{
	return (size_t)mode < AMB_ARRAY_SIZE(modes) ? modes[mode] : NULL;
}

int amb_capture_mode_parse(const char *name, enum amb_capture_mode *mode)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(modes); i++) {
		if (!strcasecmp(name, modes[i])) {
			*mode = i;
			return 0;
		}
	}
	return -EINVAL;
}

enum amb_capture_mode amb_capture_mode(const struct amb_capture *c)
{
	return c->mode;
}

const char *amb_capture_why(const struct amb_capture *c)
{
	return c->why;
}

const struct amb_bpf *amb_capture_bpf(const struct amb_capture *c)
{
	return c->bpf;
}

struct amb_flows *amb_capture_flows(const struct amb_capture *c)
{
	return c->flows;
}

/* Who asks for a pod by its cookie */

static struct pod *find(const struct amb_capture *c, uint64_t cookie)
{
	struct pod *pod;

	for (pod = c->pods; pod && pod->cookie != cookie; pod = pod->next)
		;
	return pod;
}

static struct pod *find_netns(const struct amb_capture *c, const struct amb_netns *ns)
{
	struct pod *pod;

	for (pod = c->pods; pod && !amb_netns_eq(pod->netns, ns); pod = pod->next)
		;
	return pod;
}

static struct amb_netns *netns_of(void *ctx, uint64_t cookie)
{
	const struct pod *pod = find(ctx, cookie);

	return pod ? pod->netns : NULL;
}

static const char *uid_of(void *ctx, uint64_t cookie)
{
	const struct pod *pod = find(ctx, cookie);

	return pod ? pod->uid : NULL;
}

struct settle {
	struct amb_capture *c;
	bool (*wanted)(void *ctx, const char *pod);
	void *ctx;
};

static bool is_wanted(void *ctx, uint64_t cookie)
{
	const struct settle *s = ctx;
	struct amb_pod_row row;

	if (find(s->c, cookie))
		return true;
	return amb_rows_get(s->c->bpf, AMB_BPF_POD, &cookie, &row) && s->wanted(s->ctx, row.name);
}

/* Pods */

/* Other parts of the main thread open sockets too, and mean the agent's own namespace. */
static void go_home(void)
{
	(void)amb_netns_enter(NULL);
}

int amb_capture_cookie(const struct amb_capture *c, struct amb_netns *ns, uint64_t *cookie)
{
	int err;

	*cookie = 0;
	err = c->bpf ? amb_attach_cookie(ns, cookie) : 0;
	go_home();
	return err;
}

/* The first addresses of the pod's interfaces, for as long as the mesh does not know it. */
static int interface_addrs(struct amb_netns *ns, struct amb_addr *v4, struct amb_addr *v6)
{
	struct ifaddrs *list, *i;
	struct amb_endpoint e;
	int err = amb_netns_enter(ns);

	if (err)
		return err;
	if (getifaddrs(&list))
		return -errno;
	for (i = list; i; i = i->ifa_next) {
		struct amb_addr none = { 0 }, *to;

		if (!i->ifa_addr || i->ifa_flags & IFF_LOOPBACK ||
		    amb_endpoint_from_sockaddr(i->ifa_addr, &e))
			continue;
		to = amb_addr_is_v4(&e.addr) ? v4 : v6;
		/* Not fe80::/10, which needs an interface to mean anything. */
		if (amb_addr_eq(to, &none) &&
		    !(e.addr.b[0] == 0xfe && (e.addr.b[1] & 0xc0) == 0x80))
			*to = e.addr;
	}
	freeifaddrs(list);
	return 0;
}

/* The first pod that wants it: not before, since it is not for free and not for all kernels. */
static void want_splice(struct amb_capture *c, const struct pod *pod)
{
	int err;

	if (c->splice_tried)
		return;
	c->splice_tried = true;
	err = amb_splice_load(c->bpf);
	if (err) {
		amb_warn(KERNEL,
			 "splice, which pod %s wants: %s; connections go direct instead, its and "
			 "others'",
			 pod->text, strerror(-err));
		return;
	}
	amb_publish_splice(c->publish);
}

static uint32_t pod_flags(const struct amb_capture *c, const struct amb_capture_want *w)
{
	uint32_t flags = AMB_POD_OUTBOUND;

	if (!w->ingress_mode)
		flags |= AMB_POD_INBOUND;
	if (c->config.always_tunnel || w->always_tunnel)
		flags |= AMB_POD_ALWAYS_TUNNEL;
	if (w->splice)
		flags |= AMB_POD_SPLICE;
	if (w->dns)
		flags |= AMB_POD_DNS | (c->config.ipv6 ? AMB_POD_DNS6 : 0);
	return flags;
}

static int attach(struct amb_capture *c, struct pod *pod, const struct amb_publish_pod *row,
		  char *err, size_t errlen)
{
	struct amb_workload *w = amb_publish_workload(c->publish, pod->cookie);
	const struct amb_addr own[] = { row->v4, row->v6 };
	struct amb_attach a = {
		.cookie = pod->cookie,
		.addrs = w ? w->addrs : own,
		.naddrs = w ? w->naddrs : AMB_ARRAY_SIZE(own),
		.ipv6 = c->config.ipv6,
	};
	int code = amb_attach_pod(c->bpf, pod->netns, &a, err, errlen);

	amb_workload_put(w);
	if (!code && !a.guarded)
		amb_warn(KERNEL,
			 "pod %s: no veth interface with its other end here: nothing checks the "
			 "addresses that it sends from, continuing",
			 pod->text);
	return code;
}

/*
 * Which switches are to be switched off in the end? Those that are off now, or were before an
 * agent switched them on: the pod's row remembers.
 */
static int find_off(struct pod *pod, const struct amb_pod_row *row)
{
	int off = amb_attach_off(pod->netns);

	pod->off = row ? row->flags & AMB_POD_SWITCHES : 0;
	if (off < 0)
		return off;
	pod->off |= (uint32_t)off;
	return 0;
}

static void release(const struct amb_capture *c, const struct pod *pod)
{
	int err;

	if (pod->cookie)
		amb_attach_remove(c->bpf, pod->netns, pod->cookie, pod->off);
	go_home();
	if (!pod->ruled)
		return;
	err = amb_nft_remove(pod->netns);
	if (err)
		amb_warn(MAIN, "pod %s: interception rules stay behind: %s, continuing", pod->text,
			 strerror(-err));
}

static void set_free(struct amb_capture *c, struct pod *pod)
{
	release(c, pod);
	if (pod->cookie)
		amb_publish_pod_del(c->publish, pod->cookie);
	pod->cookie = 0;
}

static int by_programs(struct amb_capture *c, struct pod *pod, const struct amb_capture_want *want,
		       char *err, size_t errlen)
{
	struct amb_publish_pod row = {
		.ns = want->ns,
		.name = want->name,
		.sa = want->sa,
		.flags = pod_flags(c, want),
	};
	int code = amb_attach_cookie(pod->netns, &row.cookie);
	struct amb_pod_row before;
	bool captured = false;

	if (!code) {
		captured = amb_rows_get(c->bpf, AMB_BPF_POD, &row.cookie, &before);
		code = find_off(pod, captured ? &before : NULL) ?:
			       interface_addrs(pod->netns, &row.v4, &row.v6);
	}
	/* Also when this fails: it is let go of by that. */
	if (captured || !code)
		pod->cookie = row.cookie;
	if (code) {
		snprintf(err, errlen, "network namespace");
		return code;
	}
	row.flags |= pod->off;
	if (want->splice)
		want_splice(c, pod);
	code = amb_publish_pod_add(c->publish, &row);
	if (code)
		snprintf(err, errlen, "row in the BPF maps");
	else
		code = attach(c, pod, &row, err, errlen);
	/* One that was captured stays so, and cut off: it is not for an error to set it free. */
	if (code && !captured)
		set_free(c, pod);
	return code;
}

static int by_rules(struct amb_capture *c, struct pod *pod, const struct amb_capture_want *want,
		    char *err, size_t errlen)
{
	const struct amb_nft_config config = {
		.ipv6 = c->config.ipv6,
		.dns_capture = want->dns,
		.ingress_mode = want->ingress_mode,
	};
	int code = amb_nft_install(pod->netns, &config, err, errlen);

	pod->ruled |= !code;
	return code;
}

static void pod_free(struct pod *pod)
{
	amb_netns_put(pod->netns);
	free(pod->uid);
	free(pod->text);
	free(pod);
}

static int set_names(struct pod *pod, const struct amb_capture_want *want)
{
	_cleanup_free_ char *uid = strdup(want->uid), *text = NULL;

	if (!uid || asprintf(&text, "%s/%s", want->ns, want->name) < 0)
		return -ENOMEM;
	free(pod->uid);
	free(pod->text);
	pod->uid = take_ptr(uid);
	pod->text = take_ptr(text);
	return 0;
}

static int capture(struct amb_capture *c, struct pod *pod, const struct amb_capture_want *want,
		   char *err, size_t errlen)
{
	int code = set_names(pod, want);

	if (!code && c->mode == AMB_CAPTURE_EBPF)
		code = by_programs(c, pod, want, err, errlen);
	else if (!code && c->mode == AMB_CAPTURE_NFT)
		code = by_rules(c, pod, want, err, errlen);
	go_home();
	return code;
}

int amb_capture_pod_add(struct amb_capture *c, const struct amb_capture_want *want, char *err,
			size_t errlen)
{
	struct pod *pod = find_netns(c, want->netns);
	int code;

	if (pod)
		return capture(c, pod, want, err, errlen);
	pod = calloc(1, sizeof(*pod));
	if (!pod)
		return -ENOMEM;
	pod->netns = amb_netns_get(want->netns);
	code = capture(c, pod, want, err, errlen);
	if (code && !pod->cookie) {
		pod_free(pod);
		return code;
	}
	pod->next = c->pods;
	c->pods = pod;
	return code;
}

/* One of an agent before that this one could not, or did not yet, capture itself. */
static void free_adopted(struct amb_capture *c, struct amb_netns *ns)
{
	struct pod pod = { .netns = ns, .text = (char *)"" };
	struct amb_pod_row row;

	if (!c->bpf || !c->bpf->adopted || amb_attach_cookie(ns, &pod.cookie) ||
	    !amb_rows_get(c->bpf, AMB_BPF_POD, &pod.cookie, &row))
		return;
	pod.off = row.flags & AMB_POD_SWITCHES;
	set_free(c, &pod);
}

void amb_capture_pod_del(struct amb_capture *c, struct amb_netns *netns)
{
	struct pod *pod = find_netns(c, netns), **at = &c->pods;

	if (!pod) {
		free_adopted(c, netns);
		go_home();
		return;
	}
	while (*at != pod)
		at = &(*at)->next;
	*at = pod->next;
	set_free(c, pod);
	pod_free(pod);
}

/* The state */

void amb_capture_changed(struct amb_capture *c)
{
	if (!c || !c->publish)
		return;
	amb_publish_changed(c->publish);
	if (c->flows)
		amb_flows_rejudge(c->flows);
}

void amb_capture_settle(struct amb_capture *c, bool (*wanted)(void *ctx, const char *pod),
			void *ctx)
{
	struct settle s = { c, wanted, ctx };

	if (!c->publish)
		return;
	if (c->bpf->adopted)
		amb_attach_sweep(c->bpf, is_wanted, &s);
	amb_publish_settle(c->publish, is_wanted, &s);
	if (c->flows)
		amb_flows_adopt(c->flows);
}

/* Life */

int amb_capture_observe(struct amb_capture *c, const struct amb_flow_hooks *hooks,
			unsigned int worker)
{
	const struct amb_flows_config config = {
		.bpf = c->bpf,
		.state = c->st,
		.publish = c->publish,
		.hooks = hooks,
		.worker = worker,
		.netns = netns_of,
		.uid = uid_of,
		.ctx = c,
	};

	if (!c->bpf)
		return 0;
	c->flows = amb_flows_create(c->loop, &config);
	return c->flows ? 0 : -errno;
}

static int choose(struct amb_capture *c, char *err, size_t errlen)
{
	enum amb_capture_mode want = c->config.mode;

	c->mode = want;
	if (want != AMB_CAPTURE_AUTO && want != AMB_CAPTURE_EBPF)
		return 0;
	c->bpf = amb_bpf_open(&c->config.bpf, err, errlen);
	if (c->bpf) {
		c->mode = AMB_CAPTURE_EBPF;
		return 0;
	}
	/* Pins of another version, or of another agent: to go on beside them would be wrong. */
	if (want == AMB_CAPTURE_EBPF || errno == EPROTO || errno == EBUSY)
		return -errno;
	snprintf(c->why, sizeof(c->why), "%s", err);
	amb_warn(KERNEL, "capture by nftables instead of BPF programs: %s", err);
	c->mode = AMB_CAPTURE_NFT;
	return 0;
}

struct amb_capture *amb_capture_create(struct amb_loop *loop, struct amb_state *st,
				       const struct amb_capture_config *config, char *err,
				       size_t errlen)
{
	struct amb_capture *c = calloc(1, sizeof(*c));
	int code;

	if (!c) {
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	c->loop = loop;
	c->st = st;
	c->config = *config;
	code = choose(c, err, errlen);
	if (!code && c->bpf) {
		c->publish = amb_publish_create(loop, st, c->bpf);
		if (!c->publish) {
			code = -ENOMEM;
			snprintf(err, errlen, "out of memory");
		} else if (config->partial) {
			amb_publish_partial(c->publish);
		}
	}
	if (code) {
		amb_capture_destroy(c);
		errno = -code;
		return NULL;
	}
	return c;
}

void amb_capture_destroy(struct amb_capture *c)
{
	if (!c)
		return;
	while (c->pods) {
		struct pod *pod = c->pods;

		c->pods = pod->next;
		if (!c->config.keep)
			release(c, pod);
		pod_free(pod);
	}
	amb_flows_destroy(c->flows);
	amb_publish_destroy(c->publish);
	amb_bpf_close(c->bpf, c->config.keep);
	free(c);
}
