// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pods that this agent serves: what is wanted made so.
 *
 * A pod moves WAITING -> STARTING -> UP, and to FAILED from any of them; FAILED ones are
 * tried again each RETRY_NS. Order: listeners open before anything sends connections there, and
 * capture ends when the last connection has: without it packets of the agent would no longer find
 * to the application, which would never hear of the end. Who connects in between is refused.
 *
 * A pod of the mesh whose start failed, or that begins again on other terms, stays captured if it
 * was: cut off, not set free.
 *
 * Lifetime: the proxy answers later (pod_started), so an entry that is let go meanwhile is
 * kept as a zombie until the answer came. What is left of one after that is a struct leaving.
 */
#include "pods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <urcu/list.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "capture.h"
#include "kernel/netns.h"
#include "places.h"
#include "proxy/proxy.h"
#include "resolv.h"

#define RETRY_NS (5 * 1000000000ull)

struct pod {
	struct pod *next;
	struct amb_pods *pods;
	char *uid, *ns, *name, *sa, *path, *dns_search;
	char *enrolled; /* path said by an enrol command; wins over the manifest's */
	bool ingress_mode, dns, dns_search_only;
	bool wanted; /* mark of a sync */
	bool gone; /* no longer ours, waits for the proxy's answer */
	bool unenrolled; /* by command: stays away until enrolled again */
	bool always_tunnel, splice;
	bool served; /* the proxy has it, or is being told */
	struct leaving *leaving; /* made before it is served, so that its end needs no memory */
	enum amb_pods_state state;
	struct amb_netns *netns;
	struct amb_netns *given; /* by a CNI, which has written its own rules in there */
	char error[160];
};

/* The proxy still has something open in @netns. */
struct leaving {
	struct cds_list_head node;
	struct amb_pods *pods;
	struct amb_netns *netns;
	char uid[];
};

struct amb_pods {
	struct amb_loop *loop;
	struct amb_proxy *proxy;
	struct amb_capture *capture;
	struct pod *first;
	struct cds_list_head leaving;
	struct amb_places places;
	struct amb_timer retry;
	unsigned long started, stopped;
	void (*when_started)(void *ctx); /* NULL: nobody waits */
	void *when_ctx;
	void (*watch_started)(void *ctx, const struct amb_pods_info *info);
	void (*watch_left)(void *ctx, const char *uid);
	void *watch_ctx;
};

static const char *const states[] = {
	[AMB_PODS_WAITING] = "waiting for its network namespace",
	[AMB_PODS_STARTING] = "starting",
	[AMB_PODS_UP] = "up",
	[AMB_PODS_FAILED] = "failed",
};

const char *amb_pods_state_text(enum amb_pods_state state)
{
	return states[state];
}

static const char *pod_path(const struct pod *pod)
{
	return pod->enrolled ? pod->enrolled : pod->path;
}

static void leaving_free(struct leaving *l)
{
	if (l)
		amb_netns_put(l->netns);
	free(l);
}

static void pod_free(struct pod *pod)
{
	leaving_free(pod->leaving);
	amb_netns_put(pod->netns);
	amb_netns_put(pod->given);
	free(pod->uid);
	free(pod->ns);
	free(pod->name);
	free(pod->sa);
	free(pod->path);
	free(pod->dns_search);
	free(pod->enrolled);
	free(pod);
}

static void unlink_pod(struct pod *pod)
{
	struct pod **p;

	for (p = &pod->pods->first; *p != pod; p = &(*p)->next)
		;
	*p = pod->next;
	pod_free(pod);
}

static struct amb_pods_info info_of(const struct pod *pod)
{
	return (struct amb_pods_info){
		.uid = pod->uid,
		.ns = pod->ns,
		.name = pod->name,
		.sa = pod->sa,
		.netns = pod_path(pod),
		.state = pod->state,
		.error = pod->error,
	};
}

static void tell(const struct pod *pod)
{
	struct amb_pods_info info = info_of(pod);

	if (pod->pods->watch_started)
		pod->pods->watch_started(pod->pods->watch_ctx, &info);
}

static void fail(struct pod *pod, const char *what, int err)
{
	char text[sizeof(pod->error)];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(-err));
	/* One line for one kind of trouble, not one each retry. */
	if (strcmp(text, pod->error))
		amb_err(MAIN, "pod %s/%s: %s, trying again", pod->ns, pod->name, text);
	memcpy(pod->error, text, sizeof(text));
	pod->state = AMB_PODS_FAILED;
	tell(pod);
}

static int capture(struct pod *pod)
{
	const struct amb_capture_want want = {
		.uid = pod->uid,
		.ns = pod->ns,
		.name = pod->name,
		.sa = pod->sa,
		.netns = pod->netns,
		.ingress_mode = pod->ingress_mode,
		.always_tunnel = pod->always_tunnel,
		.splice = pod->splice,
		.dns = pod->dns,
	};
	char text[128] = "";
	int err;

	err = amb_capture_pod_add(pod->pods->capture, &want, text, sizeof(text));
	if (err)
		fail(pod, *text ? text : "capture", err);
	return err;
}

/* Nobody of the mesh lives in @netns any more, or who does has yet to be captured there again. */
static void set_free(struct amb_pods *p, const struct pod *but, struct amb_netns *netns)
{
	const struct pod *pod;

	for (pod = p->first; pod; pod = pod->next) {
		if (pod != but && !pod->gone && pod->netns && amb_netns_eq(pod->netns, netns))
			return;
	}
	amb_capture_pod_del(p->capture, netns);
}

static void forget_netns(struct pod *pod)
{
	struct amb_netns *netns = take_ptr(pod->netns);

	if (netns)
		set_free(pod->pods, pod, netns);
	amb_netns_put(netns);
}

static struct pod *find_uid(struct amb_pods *p, const char *uid)
{
	struct pod *pod;

	for (pod = p->first; pod; pod = pod->next) {
		if (!pod->gone && !strcmp(pod->uid, uid))
			return pod;
	}
	return NULL;
}

static void left(void *ctx, int err)
{
	struct leaving *l = ctx;
	struct amb_pods *p = l->pods;

	(void)err;
	cds_list_del(&l->node);
	set_free(p, NULL, l->netns);
	/* Another of its name may live by now, and be waited for. */
	if (p->watch_left && !find_uid(p, l->uid))
		p->watch_left(p->watch_ctx, l->uid);
	leaving_free(l);
}

/* The proxy is to let go of @pod. */
static void leave(struct pod *pod)
{
	struct leaving *l = take_ptr(pod->leaving);
	struct amb_pods *p = pod->pods;

	pod->served = false;
	cds_list_add(&l->node, &p->leaving);
	amb_proxy_pod_del(p->proxy, pod->uid, left, l);
}

/* Takes a pod out of service; the entry stays. */
static void stop(struct pod *pod)
{
	if (pod->served && pod->state == AMB_PODS_UP) {
		pod->pods->stopped++;
		amb_info(MAIN, "pod %s/%s: left the mesh", pod->ns, pod->name);
	}
	if (pod->served) {
		leave(pod);
		amb_netns_put(take_ptr(pod->netns));
	}
	forget_netns(pod);
	pod->state = AMB_PODS_WAITING;
}

static void tell_started(struct amb_pods *p)
{
	void (*fn)(void *ctx) = p->when_started;
	const struct pod *pod;

	for (pod = p->first; pod; pod = pod->next) {
		if (pod->state == AMB_PODS_STARTING)
			return;
	}
	p->when_started = NULL;
	if (fn)
		fn(p->when_ctx);
}

void amb_pods_when_started(struct amb_pods *p, void (*fn)(void *ctx), void *ctx)
{
	p->when_started = fn;
	p->when_ctx = ctx;
	tell_started(p);
}

static void refresh(struct pod *pod);

static void started(struct pod *pod, int err)
{
	struct amb_pods *p = pod->pods;

	if (pod->gone) {
		struct pod *next = find_uid(p, pod->uid);

		stop(pod);
		unlink_pod(pod);
		/* It had to wait for the proxy to forget this one. */
		if (next)
			refresh(next);
		return;
	}
	pod->state = AMB_PODS_WAITING;
	if (err) {
		pod->served = false;
		fail(pod, "listeners", err);
		return;
	}
	if (pod->unenrolled || !pod_path(pod)) {
		stop(pod);
		return;
	}
	if (capture(pod)) {
		leave(pod);
		return;
	}
	pod->state = AMB_PODS_UP;
	pod->error[0] = 0;
	p->started++;
	amb_info(MAIN, "pod %s/%s: joined the mesh", pod->ns, pod->name);
	tell(pod);
}

static void pod_started(void *ctx, int err)
{
	struct pod *pod = ctx;
	struct amb_pods *p = pod->pods;

	started(pod, err);
	tell_started(p);
}

/*
 * True when @pod's network namespace may not be served: it is the agent's own, where our rules
 * would capture the machine, or another pod's, and which of the two speaks could not be told.
 */
static bool is_taken(struct pod *pod)
{
	const struct pod *other;
	char text[sizeof(pod->error)];

	if (amb_netns_is_own(pod->netns) &&
	    amb_capture_mode(pod->pods->capture) != AMB_CAPTURE_NONE) {
		fail(pod, "its network namespace is the agent's own", -EINVAL);
		return true;
	}
	for (other = pod->pods->first; other; other = other->next) {
		if (other == pod || !other->served || !amb_netns_eq(other->netns, pod->netns))
			continue;
		snprintf(text, sizeof(text), "its network namespace is that of pod %.60s/%.60s",
			 other->ns, other->name);
		fail(pod, text, -EBUSY);
		return true;
	}
	return false;
}

static int find_netns(struct pod *pod)
{
	struct amb_netns *ns;
	int err;

	ns = pod->given ? amb_netns_get(pod->given) : amb_netns_open(pod_path(pod));
	if (!ns) {
		err = -errno;
		/* After any other error the pod may well be there still. */
		if (err == -ENOENT)
			forget_netns(pod);
		return err;
	}
	if (pod->netns && !amb_netns_eq(pod->netns, ns))
		forget_netns(pod);
	amb_netns_put(pod->netns);
	pod->netns = ns;
	return 0;
}

static int prepare_end(struct pod *pod)
{
	size_t len = strlen(pod->uid) + 1;
	struct leaving *l;

	leaving_free(take_ptr(pod->leaving));
	l = calloc(1, sizeof(*l) + len);
	if (!l)
		return -ENOMEM;
	l->pods = pod->pods;
	l->netns = amb_netns_get(pod->netns);
	memcpy(l->uid, pod->uid, len);
	pod->leaving = l;
	return 0;
}

static void start(struct pod *pod)
{
	_cleanup_free_ char *found = NULL;
	struct amb_proxy_pod what;
	int err;

	if (pod->state == AMB_PODS_STARTING || pod->state == AMB_PODS_UP || pod->gone)
		return;
	if (pod->unenrolled || !pod_path(pod)) {
		pod->state = AMB_PODS_WAITING;
		return;
	}
	err = find_netns(pod);
	if (err) {
		fail(pod, pod_path(pod), err);
		return;
	}
	if (is_taken(pod))
		return;
	if (pod->dns && !pod->dns_search)
		found = amb_resolv_search(pod_path(pod));
	what = (struct amb_proxy_pod){
		.uid = pod->uid,
		.ns = pod->ns,
		.name = pod->name,
		.sa = pod->sa,
		.netns = pod->netns,
		.ingress_mode = pod->ingress_mode,
		.dns = pod->dns,
		.dns_search = found ? found : pod->dns_search,
		.dns_search_only = found || pod->dns_search_only,
	};
	err = amb_capture_cookie(pod->pods->capture, pod->netns, &what.cookie, &what.ruled) ?:
		      prepare_end(pod);
	if (err) {
		fail(pod, "network namespace", err);
		return;
	}
	pod->state = AMB_PODS_STARTING;
	pod->served = true;
	err = amb_proxy_pod_add(pod->pods->proxy, &what, pod_started, pod);
	if (err)
		started(pod, err);
}

/* A path that was unmounted or names another netns now: the old pod is gone. */
static bool netns_moved(const struct pod *pod)
{
	struct stat st;

	/* A descriptor always leads to the same one. */
	if (!pod->netns || pod->given || pod->state != AMB_PODS_UP)
		return false;
	return !pod_path(pod) || stat(pod_path(pod), &st) || st.st_ino != pod->netns->ino ||
	       st.st_dev != pod->netns->dev;
}

static void refresh(struct pod *pod)
{
	if (netns_moved(pod))
		stop(pod);
	start(pod);
}

static void retry(struct amb_timer *t)
{
	struct amb_pods *p = AMB_CONTAINER_OF(t, struct amb_pods, retry);
	struct pod *pod;

	for (pod = p->first; pod; pod = pod->next) {
		if (!pod->gone)
			refresh(pod);
	}
	amb_loop_timer_set(p->loop, t, amb_loop_now(p->loop) + RETRY_NS);
}

static void let_go(struct pod *pod)
{
	/* While the proxy still has to answer, the entry must be there for it. */
	if (pod->state == AMB_PODS_STARTING) {
		pod->gone = true;
		return;
	}
	stop(pod);
	unlink_pod(pod);
}

static struct pod *find_name(struct amb_pods *p, const char *name)
{
	struct pod *pod;

	for (pod = p->first; pod; pod = pod->next) {
		size_t n = strlen(pod->ns);

		if (!pod->gone && !strncmp(name, pod->ns, n) && name[n] == '/' &&
		    !strcmp(name + n + 1, pod->name))
			return pod;
	}
	return NULL;
}

/* What a CNI plugin said of it before it was wanted. */
static int find_place(struct pod *pod)
{
	_cleanup_free_ char *name = NULL;
	const char *path;

	if (asprintf(&name, "%s/%s", pod->ns, pod->name) < 0)
		return -ENOMEM;
	path = amb_places_get(&pod->pods->places, name);
	if (path)
		pod->enrolled = strdup(path);
	return path && !pod->enrolled ? -ENOMEM : 0;
}

static struct pod *add(struct amb_pods *p, const struct amb_pods_want *w)
{
	struct pod *pod = calloc(1, sizeof(*pod));

	if (!pod)
		return NULL;
	pod->pods = p;
	pod->uid = strdup(w->uid);
	pod->ns = strdup(w->ns);
	pod->name = strdup(w->name);
	pod->sa = strdup(w->sa);
	pod->ingress_mode = w->ingress_mode;
	pod->always_tunnel = w->always_tunnel;
	pod->splice = w->splice;
	pod->dns = w->dns;
	pod->dns_search = w->dns_search ? strdup(w->dns_search) : NULL;
	pod->dns_search_only = w->dns_search_only;
	if (!pod->uid || !pod->ns || !pod->name || !pod->sa ||
	    (w->dns_search && !pod->dns_search) || find_place(pod)) {
		pod_free(pod);
		return NULL;
	}
	pod->next = p->first;
	p->first = pod;
	return pod;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* True when it can go on as it is, but perhaps at another path. */
static bool same_terms(const struct pod *pod, const struct amb_pods_want *w)
{
	return !strcmp(pod->sa, w->sa) && pod->ingress_mode == w->ingress_mode &&
	       pod->always_tunnel == w->always_tunnel && pod->splice == w->splice &&
	       pod->dns == w->dns && pod->dns_search_only == w->dns_search_only &&
	       same(pod->dns_search, w->dns_search);
}

static int update(struct amb_pods *p, const struct amb_pods_want *w)
{
	struct pod *pod = find_uid(p, w->uid);

	if (pod && !same_terms(pod, w)) {
		/* Another identity or other rules: begin again, but keep what enrol said. */
		_cleanup_free_ char *enrolled = take_ptr(pod->enrolled);

		let_go(pod);
		pod = add(p, w);
		if (pod && enrolled) {
			free(pod->enrolled);
			pod->enrolled = take_ptr(enrolled);
		}
	} else if (!pod) {
		pod = add(p, w);
	}
	if (!pod)
		return -ENOMEM;
	pod->wanted = true;
	if (!same(pod->path, w->netns)) {
		char *path = w->netns ? strdup(w->netns) : NULL;

		if (w->netns && !path)
			return -ENOMEM;
		free(pod->path);
		pod->path = path;
	}
	refresh(pod);
	return 0;
}

void amb_pods_sync(struct amb_pods *p, const struct amb_pods_want *want, size_t n)
{
	struct pod *pod, *next;
	size_t i;

	for (pod = p->first; pod; pod = pod->next)
		pod->wanted = false;
	for (i = 0; i < n; i++) {
		if (update(p, &want[i]))
			amb_err(MAIN, "pod %s/%s: out of memory", want[i].ns, want[i].name);
	}
	for (pod = p->first; pod; pod = next) {
		next = pod->next;
		if (!pod->wanted && !pod->gone && !pod->given)
			let_go(pod);
	}
}

bool amb_pods_wants(struct amb_pods *p, const char *name)
{
	return find_name(p, name);
}

static bool is_there(const struct pod *pod, const struct amb_pods_want *w,
		     const struct amb_netns *netns)
{
	return pod->given && amb_netns_eq(pod->given, netns) && !strcmp(pod->ns, w->ns) &&
	       !strcmp(pod->name, w->name) && !strcmp(pod->sa, w->sa);
}

int amb_pods_add(struct amb_pods *p, const struct amb_pods_want *w, struct amb_netns *netns,
		 char *err, size_t errlen)
{
	struct pod *pod = find_uid(p, w->uid);

	if (pod && is_there(pod, w, netns)) {
		amb_netns_put(netns);
	} else {
		if (pod)
			let_go(pod);
		pod = add(p, w);
		if (!pod) {
			amb_netns_put(netns);
			return -ENOMEM;
		}
		pod->given = netns;
		/* For people, as readlink(1) of /proc/PID/ns/net shows it. */
		if (asprintf(&pod->path, "net:[%lu]", (unsigned long)netns->ino) < 0) {
			pod->path = NULL;
			unlink_pod(pod);
			return -ENOMEM;
		}
	}
	start(pod);
	if (pod->state == AMB_PODS_UP)
		return 0;
	if (pod->state == AMB_PODS_STARTING)
		return -EINPROGRESS;
	snprintf(err, errlen, "%s", pod->error);
	return -EIO;
}

int amb_pods_del(struct amb_pods *p, const char *uid)
{
	struct pod *pod = find_uid(p, uid);
	const struct leaving *l;

	if (pod && pod->given)
		let_go(pod);
	for (pod = p->first; pod; pod = pod->next) {
		if (pod->gone && !strcmp(pod->uid, uid))
			return -EINPROGRESS;
	}
	cds_list_for_each_entry(l, &p->leaving, node) {
		if (!strcmp(l->uid, uid))
			return -EINPROGRESS;
	}
	return 0;
}

static int check_netns(const char *path)
{
	struct amb_netns *ns = amb_netns_open(path);

	if (!ns)
		return -errno;
	amb_netns_put(ns);
	return 0;
}

static int move_to(struct pod *pod, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	free(pod->enrolled);
	pod->enrolled = copy;
	pod->unenrolled = false;
	refresh(pod);
	return 0;
}

int amb_pods_enroll(struct amb_pods *p, const char *name, const char *path)
{
	struct pod *pod = find_name(p, name);

	if (!pod)
		return -ENOENT;
	return check_netns(path) ?: move_to(pod, path);
}

int amb_pods_unenroll(struct amb_pods *p, const char *name)
{
	struct pod *pod = find_name(p, name);

	if (!pod)
		return -ENOENT;
	free(take_ptr(pod->enrolled));
	pod->unenrolled = true;
	if (pod->state != AMB_PODS_STARTING)
		stop(pod);
	return 0;
}

int amb_pods_attach(struct amb_pods *p, const char *name, const char *path,
		    struct amb_pods_info *info)
{
	struct pod *pod = find_name(p, name);
	int err = 0;

	if (!same(amb_places_get(&p->places, name), path))
		err = check_netns(path) ?: amb_places_set(&p->places, name, path);
	if (err || !pod || pod->given)
		return err;
	if (!same(pod->enrolled, path) || pod->unenrolled)
		err = move_to(pod, path);
	else if (netns_moved(pod))
		refresh(pod);
	if (err)
		return err;
	/* One that failed is told, not tried again: the plugin asks until it knows. */
	*info = info_of(pod);
	return 1;
}

void amb_pods_detach(struct amb_pods *p, const char *name, const char *path)
{
	struct pod *pod = find_name(p, name);

	amb_places_drop(&p->places, name, path);
	if (!pod || !same(pod->enrolled, path))
		return;
	free(take_ptr(pod->enrolled));
	refresh(pod);
}

void amb_pods_each(struct amb_pods *p, void (*fn)(void *ctx, const struct amb_pods_info *info),
		   void *ctx)
{
	struct pod *pod;

	for (pod = p->first; pod; pod = pod->next) {
		struct amb_pods_info info = info_of(pod);

		if (!pod->gone)
			fn(ctx, &info);
	}
}

void amb_pods_watch(struct amb_pods *p,
		    void (*started)(void *ctx, const struct amb_pods_info *info),
		    void (*left)(void *ctx, const char *uid), void *ctx)
{
	p->watch_started = started;
	p->watch_left = left;
	p->watch_ctx = ctx;
}

void amb_pods_count(const struct amb_pods *p, struct amb_pods_counts *out)
{
	const struct pod *pod;

	*out = (struct amb_pods_counts){ .started = p->started, .stopped = p->stopped };
	for (pod = p->first; pod; pod = pod->next) {
		if (pod->gone)
			continue;
		if (pod->state == AMB_PODS_UP)
			out->up++;
		else if (pod->state != AMB_PODS_WAITING)
			out->pending++;
	}
}

struct amb_pods *amb_pods_create(struct amb_loop *loop, struct amb_proxy *proxy,
				 struct amb_capture *capture)
{
	struct amb_pods *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->proxy = proxy;
	p->capture = capture;
	p->retry.fn = retry;
	CDS_INIT_LIST_HEAD(&p->leaving);
	if (amb_loop_timer_set(loop, &p->retry, amb_loop_now(loop) + RETRY_NS)) {
		free(p);
		return NULL;
	}
	return p;
}

void amb_pods_destroy(struct amb_pods *p)
{
	struct leaving *l, *next;

	if (!p)
		return;
	amb_loop_timer_cancel(p->loop, &p->retry);
	amb_places_uninit(&p->places);
	while (p->first)
		unlink_pod(p->first);
	cds_list_for_each_entry_safe(l, next, &p->leaving, node)
		leaving_free(l);
	free(p);
}
