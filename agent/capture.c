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
#include "base/loop.h"
#include "base/util.h"
#include "flows.h"
#include "kernel/attach.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "kernel/rows.h"
#include "kernel/sockdiag.h"
#include "kernel/splice.h"
#include "kernel/uninstall.h"
#include "left.h"
#include "mesh/state.h"
#include "publish.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RETRY_NS 1000000000ull /* until another agent may have ended */

/* A captured namespace. */
struct pod {
	struct pod *next;
	struct amb_netns *netns;
	uint64_t cookie; /* 0: captured by nftables, or not by us */
	bool ruled;
	uint32_t flags; /* enum amb_pod_flag */
	char *uid, *ns, *name, *sa, *text; /* text: "ns/name" */
};

struct amb_capture {
	struct amb_loop *loop;
	struct amb_state *st;
	struct amb_capture_config config;
	enum amb_capture_mode mode;
	struct amb_bpf *bpf;
	struct amb_bpf *left; /* of an agent before, while rules take its pods from it */
	struct amb_publish *publish;
	struct amb_flows *flows;
	struct pod *pods;
	bool splice_tried; /* its program is there, or cannot be */
	bool waiting; /* for another agent to let go of the programs */
	struct amb_timer retry;
	char why[320];
};

static const char *const modes[] = {
	[AMB_CAPTURE_AUTO] = "auto", [AMB_CAPTURE_EBPF] = "ebpf", [AMB_CAPTURE_NFT] = "nft",
	[AMB_CAPTURE_NONE] = "none", [AMB_CAPTURE_CNI] = "cni",
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
	const struct amb_bpf *b;
	bool (*wanted)(void *ctx, const char *pod);
	void *ctx;
};

static bool is_wanted(void *ctx, uint64_t cookie)
{
	const struct settle *s = ctx;
	struct amb_pod_row row;

	if (find(s->c, cookie))
		return true;
	return amb_rows_get(s->b, AMB_BPF_POD, &cookie, &row) && s->wanted(s->ctx, row.name);
}

static bool is_ours(void *ctx, uint64_t cookie)
{
	return find(ctx, cookie);
}

/* Pods */

/* Other parts of the main thread open sockets too, and mean the agent's own namespace. */
static void go_home(void)
{
	(void)amb_netns_enter(NULL);
}

int amb_capture_cookie(const struct amb_capture *c, struct amb_netns *ns, uint64_t *cookie,
		       bool *ruled)
{
	int err;

	*cookie = 0;
	*ruled = c->mode == AMB_CAPTURE_CNI;
	err = c->bpf || c->waiting ? amb_attach_cookie(ns, cookie) : 0;
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

	/* Its rules say how inbound and DNS are captured. */
	if (c->mode == AMB_CAPTURE_CNI)
		return flags | AMB_POD_INBOUND | AMB_POD_RULES |
		       (c->config.always_tunnel ? AMB_POD_ALWAYS_TUNNEL : 0);
	if (!w->ingress_mode)
		flags |= AMB_POD_INBOUND;
	if (c->config.always_tunnel || w->always_tunnel)
		flags |= AMB_POD_ALWAYS_TUNNEL;
	if (c->bpf->wait)
		flags |= AMB_POD_WAIT;
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
		.rules = row->flags & AMB_POD_RULES,
		.wait = row->flags & AMB_POD_WAIT,
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
 * agent switched them on: the pod's row remembers. The same of the discipline that a filter at the
 * loopback interface needs.
 */
static int find_off(struct pod *pod, const struct amb_pod_row *row, bool wait)
{
	int off = amb_attach_off(pod->netns, wait);

	pod->flags = row ? row->flags & AMB_POD_UNDO : 0;
	if (off < 0)
		return off;
	pod->flags |= (uint32_t)off;
	return 0;
}

static void release(const struct amb_capture *c, const struct pod *pod)
{
	int err;

	if (pod->cookie)
		amb_attach_remove(c->bpf, pod->netns, pod->cookie, pod->flags);
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

/*
 * Direct connections past a CNI's rules whose rows are lost with the pins of an agent before:
 * nobody would tell of them, and no policy would end them.
 */
static void end_unknown(const struct pod *pod)
{
	int n = amb_sockdiag_destroy_marked(pod->netns, AMB_DIRECT_MARK);

	if (n > 0)
		amb_info(KERNEL, "pod %s: %d direct connections of an agent before are ended",
			 pod->text, n);
	else if (n)
		amb_warn(KERNEL,
			 "pod %s: whether an agent before left direct connections cannot be told: "
			 "%s, continuing",
			 pod->text, strerror(-n));
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
		if (captured && (before.flags ^ row.flags) & AMB_POD_RULES)
			amb_attach_turn(c->bpf, pod->netns, row.cookie, before.flags);
		if (captured && !c->bpf->wait) {
			amb_attach_unwait(pod->netns, before.flags);
			before.flags &= ~(uint32_t)AMB_POD_CLSACT;
		}
		/* First what it is: also who lets go of it must not touch a CNI's routes. */
		if (row.flags & AMB_POD_RULES)
			pod->flags = row.flags;
		else
			code = find_off(pod, captured ? &before : NULL, c->bpf->wait);
		code = code ?: interface_addrs(pod->netns, &row.v4, &row.v6);
	}
	/* Also when this fails: it is let go of by that. */
	if (captured || !code)
		pod->cookie = row.cookie;
	if (code) {
		snprintf(err, errlen, "network namespace");
		return code;
	}
	pod->flags = row.flags |= pod->flags & AMB_POD_UNDO;
	if (row.flags & AMB_POD_RULES && !captured)
		end_unknown(pod);
	if (want->splice)
		want_splice(c, pod);
	code = amb_publish_pod_add(c->publish, &row);
	if (code)
		snprintf(err, errlen, "row in the BPF maps");
	else
		code = attach(c, pod, &row, err, errlen);
	/* Nobody judged those that an agent before let in while it was not known. */
	if (!code && captured && c->flows)
		amb_flows_rejudge(c->flows);
	/* Not before, or nobody would capture it for a moment. */
	if (!code) {
		code = amb_nft_remove_rules(pod->netns);
		if (code)
			snprintf(err, errlen, "rules of an agent before");
	}
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
	if (!code)
		amb_left_ruled(&c->left, pod->netns);
	return code;
}

/*
 * A CNI has captured the pod. What the programs add is a shorter way: without it the pod is served
 * as well, so why it cannot be had is said once, not for each pod.
 */
static void beside_rules(struct amb_capture *c, struct pod *pod,
			 const struct amb_capture_want *want)
{
	char err[160] = "", why[sizeof(c->why)];
	int code;

	if (!c->bpf) {
		if (!c->waiting)
			end_unknown(pod);
		return;
	}
	code = by_programs(c, pod, want, err, sizeof(err));
	if (!code)
		return;
	set_free(c, pod);
	snprintf(why, sizeof(why), "%s%s%s", err, *err ? ": " : "", strerror(-code));
	if (strcmp(why, c->why))
		amb_warn(KERNEL,
			 "pod %s: connections within the node go by tunnel, none direct: %s, "
			 "continuing",
			 pod->text, why);
	memcpy(c->why, why, sizeof(why));
}

static void free_names(struct pod *pod)
{
	free(pod->uid);
	free(pod->ns);
	free(pod->name);
	free(pod->sa);
	free(pod->text);
}

static void pod_free(struct pod *pod)
{
	amb_netns_put(pod->netns);
	free_names(pod);
	free(pod);
}

static int set_names(struct pod *pod, const struct amb_capture_want *want)
{
	_cleanup_free_ char *uid = strdup(want->uid), *ns = strdup(want->ns);
	_cleanup_free_ char *name = strdup(want->name), *sa = strdup(want->sa), *text = NULL;

	if (!uid || !ns || !name || !sa || asprintf(&text, "%s/%s", ns, name) < 0)
		return -ENOMEM;
	free_names(pod);
	pod->uid = take_ptr(uid);
	pod->ns = take_ptr(ns);
	pod->name = take_ptr(name);
	pod->sa = take_ptr(sa);
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
	else if (!code && c->mode == AMB_CAPTURE_CNI)
		beside_rules(c, pod, want);
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

	amb_left_free(&c->left, ns);
	if (!c->bpf || !c->bpf->adopted || amb_attach_cookie(ns, &pod.cookie) ||
	    !amb_rows_get(c->bpf, AMB_BPF_POD, &pod.cookie, &row))
		return;
	pod.flags = row.flags;
	set_free(c, &pod);
}

/* Those of an agent before that @wanted does not know. */
static void free_unwanted(struct amb_capture *c, bool (*wanted)(void *ctx, uint64_t cookie),
			  void *ctx)
{
	if (!c->bpf || !c->bpf->adopted)
		return;
	amb_uninstall_unwanted(c->bpf, wanted, ctx);
	go_home();
	amb_attach_sweep(c->bpf, wanted, ctx);
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

void amb_capture_changed(struct amb_capture *c, const struct amb_state_change *change)
{
	if (!c || !c->publish)
		return;
	amb_publish_changed(c->publish, change);
	/* Who connects is known by his address, whatever the mesh says of others. */
	if (c->flows && (change->policies || change->local))
		amb_flows_rejudge(c->flows);
}

void amb_capture_settle(struct amb_capture *c, bool (*wanted)(void *ctx, const char *pod),
			void *ctx)
{
	struct settle s = { c, c->left ?: c->bpf, wanted, ctx };

	amb_left_sweep(&c->left, is_wanted, &s);
	go_home();
	if (!c->publish)
		return;
	free_unwanted(c, is_wanted, &s);
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

static int make_publish(struct amb_capture *c)
{
	c->publish = amb_publish_create(c->loop, c->st, c->bpf);
	if (c->publish && c->config.partial)
		amb_publish_partial(c->publish);
	return c->publish ? 0 : -ENOMEM;
}

/* What is told of when it could not be had at the start. */
static void try_again(struct amb_timer *t)
{
	struct amb_capture *c = AMB_CONTAINER_OF(t, struct amb_capture, retry);
	char err[sizeof(c->why)];
	struct pod *pod;

	c->bpf = amb_bpf_open(&c->config.bpf, err, sizeof(err));
	if (!c->bpf && errno == EBUSY) {
		amb_loop_timer_set(c->loop, t, amb_loop_now(c->loop) + RETRY_NS);
		return;
	}
	if (!c->bpf || make_publish(c)) {
		snprintf(c->why, sizeof(c->why), "%s", c->bpf ? "out of memory" : err);
		amb_warn(KERNEL, "connections within the node still go by tunnel: %s", c->why);
		amb_bpf_close(take_ptr(c->bpf), true);
		c->waiting = false;
		amb_left_remove(c->config.bpf.dir);
		for (pod = c->pods; pod; pod = pod->next)
			end_unknown(pod);
		go_home();
		return;
	}
	c->why[0] = 0;
	amb_info(KERNEL, "the other agent is gone: connections within the node can go direct");
	c->waiting = false;
	for (pod = c->pods; pod; pod = pod->next) {
		const struct amb_capture_want want = {
			.uid = pod->uid,
			.ns = pod->ns,
			.name = pod->name,
			.sa = pod->sa,
			.netns = pod->netns,
		};

		beside_rules(c, pod, &want);
	}
	go_home();
	c->config.ready(c->config.ctx);
}

static int choose(struct amb_capture *c, char *err, size_t errlen)
{
	enum amb_capture_mode want = c->config.mode;

	c->mode = want;
	if (want == AMB_CAPTURE_NONE)
		amb_left_remove(c->config.bpf.dir);
	if (want == AMB_CAPTURE_NFT)
		return amb_left_find(c->config.bpf.dir, &c->left, err, errlen);
	if (want == AMB_CAPTURE_NONE)
		return 0;
	c->bpf = amb_bpf_open(&c->config.bpf, err, errlen);
	if (c->bpf) {
		c->mode = want == AMB_CAPTURE_CNI ? want : AMB_CAPTURE_EBPF;
		return 0;
	}
	/* Pins of another version, or of another agent: to go on beside them would be wrong. */
	if (want == AMB_CAPTURE_EBPF || errno == EPROTO ||
	    (errno == EBUSY && want != AMB_CAPTURE_CNI))
		return -errno;
	snprintf(c->why, sizeof(c->why), "%s", err);
	if (want == AMB_CAPTURE_CNI) {
		c->waiting = errno == EBUSY;
		amb_warn(KERNEL, "connections within the node go by tunnel, none direct: %s", err);
		c->retry.fn = try_again;
		/* Those of an agent before would go on by verdicts that nobody keeps true. */
		if (!c->waiting)
			amb_left_remove(c->config.bpf.dir);
		return c->waiting ? amb_loop_timer_set(c->loop, &c->retry,
						       amb_loop_now(c->loop) + RETRY_NS) :
				    0;
	}
	amb_warn(KERNEL, "capture by nftables instead of BPF programs: %s%s", err,
		 c->config.bpf.wait ? "; without an agent connections are refused, none waits" :
				      "");
	c->mode = AMB_CAPTURE_NFT;
	return amb_left_find(c->config.bpf.dir, &c->left, err, errlen);
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
		code = make_publish(c);
		if (code)
			snprintf(err, errlen, "out of memory");
	}
	if (code) {
		amb_capture_destroy(c, true);
		errno = -code;
		return NULL;
	}
	return c;
}

void amb_capture_destroy(struct amb_capture *c, bool failed)
{
	bool keep;

	if (!c)
		return;
	/* Who was captured is not to talk in clear because something else went wrong. */
	keep = c->config.keep || (failed && (c->pods || c->left || (c->bpf && c->bpf->adopted)));
	amb_loop_timer_cancel(c->loop, &c->retry);
	if (!keep)
		free_unwanted(c, is_ours, c);
	while (c->pods) {
		struct pod *pod = c->pods;

		c->pods = pod->next;
		if (!keep)
			release(c, pod);
		pod_free(pod);
	}
	/* What ended with them. */
	if (c->flows)
		amb_flows_read(c->flows);
	amb_flows_destroy(c->flows);
	amb_publish_destroy(c->publish);
	amb_bpf_close(c->bpf, keep);
	amb_left_close(c->left, keep);
	free(c);
}
