// SPDX-License-Identifier: GPL-2.0-or-later
/* What the commands of the control socket mean. */
#include "commands.h"

#include "control.h"
#include "dump.h"
#include "shape.h"
#include "why.h"

#include "base/log.h"
#include "base/reason.h"
#include "base/util.h"
#include "mesh/state.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERROR_MAX 512

static json_t *error(const char *fmt, ...) AMB_PRINTF(1, 2);

static json_t *error(const char *fmt, ...)
{
	char text[ERROR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return json_pack("{s:o}", "error", amb_shape_string(text));
}

static const char *text_of(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

static void add_pod(void *arg, const struct amb_admin_pod *p)
{
	json_array_append_new(arg, json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:s,s:s}", "uid", p->uid,
					     "namespace", p->ns, "name", p->name, "serviceAccount",
					     p->sa, "netns", p->netns, "up", p->up, "state",
					     p->state, "error", p->error));
}

static json_t *counters(const struct amb_admin_ops *ops)
{
	json_t *o = json_object(), *ways = json_object(), *reasons = json_object(),
	       *tiers = json_object();
	struct amb_proxy_stats st = { 0 };
	unsigned int i;

	amb_proxy_stats(ops->proxy, &st);
	if (ops->add_stats)
		ops->add_stats(ops->ctx, &st);
	for (i = 0; i < AMB_WAY_MAX; i++) {
		if (st.ways[i])
			json_object_set_new(ways, amb_reason_way_text(i), json_integer(st.ways[i]));
	}
	for (i = 0; i < AMB_REASON_MAX; i++) {
		if (st.reasons[i])
			json_object_set_new(reasons, amb_reason_text(i),
					    json_integer(st.reasons[i]));
	}
	json_object_set_new(o, "open", json_integer(st.open_sockets[0] + st.open_sockets[1]));
	json_object_set_new(o, "opened", json_integer(st.opened[0] + st.opened[1]));
	json_object_set_new(o, "handshakes", json_integer(st.handshakes));
	json_object_set_new(o, "handshakeFailures", json_integer(st.handshake_failures));
	json_object_set_new(o, "poolHits", json_integer(st.pool_hits));
	json_object_set_new(o, "poolDials", json_integer(st.pool_dials));
	for (i = 0; i < AMB_TIER_MAX; i++) {
		if (st.tiers[i])
			json_object_set_new(tiers, amb_tier_name(i), json_integer(st.tiers[i]));
	}
	json_object_set_new(o, "tiers", tiers);
	json_object_set_new(o, "ways", ways);
	json_object_set_new(o, "reasons", reasons);
	return o;
}

static json_t *run_status(const struct amb_admin_ops *ops, const json_t *request)
{
	json_t *o = ops->status ? ops->status(ops->ctx) : json_object(), *pods = json_array();

	(void)request;
	if (!o)
		o = json_object();
	json_object_set_new(o, "version", json_string(ops->version));
	if (ops->state) {
		json_object_set_new(o, "workloads",
				    json_integer(amb_state_count_workloads(ops->state)));
		json_object_set_new(o, "services",
				    json_integer(amb_state_count_services(ops->state)));
		json_object_set_new(o, "policies",
				    json_integer(amb_state_count_policies(ops->state)));
	}
	if (ops->proxy)
		json_object_set_new(o, "connections", counters(ops));
	if (ops->each_pod)
		ops->each_pod(ops->ctx, add_pod, pods);
	json_object_set_new(o, "pods", pods);
	return o;
}

/* What the kernel would do with it by itself, asked of the program at connect(). */
static void add_kernel(const struct amb_admin_ops *ops, json_t *o)
{
	const char *src = text_of(o, "sourceAddress"), *dst = text_of(o, "destination");
	char text[AMB_ENDPOINT_STRLEN];
	struct amb_endpoint target, to;
	enum amb_reason reason;
	struct amb_addr addr;
	enum amb_way way;

	if (!ops->ask_kernel || !src || !dst || amb_addr_parse(src, &addr) ||
	    amb_endpoint_parse(dst, &target) ||
	    !ops->ask_kernel(ops->ctx, &addr, &target, &way, &reason, &to))
		return;
	json_object_set_new(o, "kernel",
			    json_pack("{s:s,s:s,s:s}", "way", amb_reason_way_text(way), "reason",
				      amb_reason_text(reason), "to",
				      amb_endpoint_format(&to, text)));
}

static json_t *run_why(const struct amb_admin_ops *ops, const json_t *request)
{
	const char *src = text_of(request, "src"), *dst = text_of(request, "dst");
	const char *port = text_of(request, "port");
	char err[ERROR_MAX] = "";
	json_t *o;

	if (!src || !dst || !port)
		return error("why: src, dst and port are needed");
	if (!ops->state)
		return error("why: nothing is known of the mesh yet");
	o = amb_why(ops->state, src, dst, port, err, sizeof(err));
	if (!o)
		return error("why: %s", err);
	add_kernel(ops, o);
	return o;
}

static json_t *done(const char *command, const char *object, int err, const char *text)
{
	if (!err)
		return json_object();
	return *text ? error("%s: %s", command, text) :
		       error("%s %s: %s", command, object, strerror(-err));
}

static json_t *run_enroll(const struct amb_admin_ops *ops, const json_t *request)
{
	const char *pod = text_of(request, "pod"), *netns = text_of(request, "netns");
	char err[ERROR_MAX] = "";

	if (!pod || !netns || !strchr(pod, '/'))
		return error("enroll: a pod (NAMESPACE/POD) and its netns are needed");
	if (!ops->enroll)
		return error("enroll: not available in this mode");
	return done("enroll", pod, ops->enroll(ops->ctx, pod, netns, err, sizeof(err)), err);
}

static json_t *run_unenroll(const struct amb_admin_ops *ops, const json_t *request)
{
	const char *pod = text_of(request, "pod");
	char err[ERROR_MAX] = "";

	if (!pod || !strchr(pod, '/'))
		return error("unenroll: a pod (NAMESPACE/POD) is needed");
	if (!ops->unenroll)
		return error("unenroll: not available in this mode");
	return done("unenroll", pod, ops->unenroll(ops->ctx, pod, err, sizeof(err)), err);
}

static json_t *run_attach(const struct amb_admin_ops *ops, const json_t *request)
{
	const char *pod = text_of(request, "pod"), *netns = text_of(request, "netns");
	struct amb_admin_attached got = { 0 };
	char err[ERROR_MAX] = "";
	int e;

	if (!pod || !netns || !strchr(pod, '/'))
		return error("attach: a pod (NAMESPACE/POD) and its netns are needed");
	if (!ops->attach)
		return error("attach: not available in this mode");
	e = ops->attach(ops->ctx, pod, netns, &got, err, sizeof(err));
	if (e)
		return done("attach", pod, e, err);
	return json_pack("{s:b,s:b,s:b,s:o}", "wanted", got.wanted, "up", got.up, "failed",
			 got.failed, "reason", amb_shape_string(got.reason));
}

static json_t *run_detach(const struct amb_admin_ops *ops, const json_t *request)
{
	const char *pod = text_of(request, "pod"), *netns = text_of(request, "netns");
	char err[ERROR_MAX] = "";

	if (!pod || !netns || !strchr(pod, '/'))
		return error("detach: a pod (NAMESPACE/POD) and its netns are needed");
	if (!ops->detach)
		return error("detach: not available in this mode");
	return done("detach", pod, ops->detach(ops->ctx, pod, netns, err, sizeof(err)), err);
}

static json_t *run_reload(const struct amb_admin_ops *ops, const json_t *request)
{
	char err[ERROR_MAX] = "";

	(void)request;
	if (!ops->reload)
		return error("reload: not available in this mode");
	return done("reload", "manifests", ops->reload(ops->ctx, err, sizeof(err)), err);
}

static json_t *run_log(const struct amb_admin_ops *ops, const json_t *request)
{
	const char *filter = text_of(request, "filter");
	char now[1024];

	(void)ops;
	if (filter && amb_log_set_filter(filter))
		return error("log: \"%s\" is no filter; it is like \"info,access=off,pool=debug\"",
			     filter);
	if (filter)
		amb_info(ADMIN, "log filter is now %s", amb_log_filter(now, sizeof(now)));
	return json_pack("{s:s}", "filter", amb_log_filter(now, sizeof(now)));
}

static json_t *run_probe(const struct amb_admin_ops *ops, const json_t *request)
{
	(void)request;
	return ops->probe ? ops->probe(ops->ctx) : error("probe: not available");
}

static const struct {
	const char *name;
	json_t *(*run)(const struct amb_admin_ops *ops, const json_t *request);
	unsigned int sections; /* instead of run */
} commands[] = {
	{ "status", run_status, 0 },
	{ "workloads", NULL, AMB_DUMP_WORKLOADS },
	{ "services", NULL, AMB_DUMP_SERVICES },
	{ "policies", NULL, AMB_DUMP_POLICIES },
	{ "certificates", NULL, AMB_DUMP_CERTIFICATES },
	{ "connections", NULL, AMB_DUMP_CONNECTIONS },
	{ "dump", NULL, AMB_DUMP_ALL },
	{ "why", run_why, 0 },
	{ "enroll", run_enroll, 0 },
	{ "unenroll", run_unenroll, 0 },
	{ "attach", run_attach, 0 },
	{ "detach", run_detach, 0 },
	{ "reload", run_reload, 0 },
	{ "log", run_log, 0 },
	{ "probe", run_probe, 0 },
};

json_t *amb_commands_run(const struct amb_admin_ops *ops, const char *line, size_t len,
			 unsigned int *sections)
{
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL), *reply = NULL;
	const char *name = text_of(request, "command");
	size_t i;

	*sections = 0;
	for (i = 0; name && i < AMB_ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name))
			continue;
		*sections = commands[i].sections;
		if (commands[i].run)
			reply = commands[i].run(ops, request);
		break;
	}
	if (!name)
		reply = error("a request is one line of JSON: {\"command\": ...}");
	else if (i == AMB_ARRAY_SIZE(commands))
		reply = error("unknown command \"%s\"", name);
	json_decref(request);
	return reply;
}
