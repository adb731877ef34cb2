// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ambient-cni, a chained CNI plugin: the verbs.
 *
 * ADD fails closed: when the agent does not answer, or cannot serve a pod that it wants, the
 * runtime hears so and tries again, and no pod that belongs to the mesh starts outside of it.
 * DEL and GC succeed without an agent: the file that ADD wrote is gone, and so is the pod.
 */
#include "plugin.h"

#include "attachment.h"

#include "base/util.h"
#include "ctl/ask.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define POLL_NS 2000000l /* between two questions whether the pod is up */
#define DEL_NS 2000000000ull /* for the agent to hear of a pod that is gone */
#define SECOND_NS 1000000000ull

/* 0, or the errno of amb_ask() with code and msg noted. */
static int ask(struct amb_call *c, json_t *request, uint64_t ns, json_t **reply)
{
	char text[512];
	int err = amb_ask(c->socket, ns, request, reply, text, sizeof(text));

	if (err == -EREMOTE)
		amb_call_fail(c, AMB_CALL_REFUSED, "ambientd: %s", text);
	else if (err)
		amb_call_fail(c, AMB_CALL_TRY_LATER, "ambientd does not answer: %s", text);
	return err;
}

static bool is(const json_t *reply, const char *key)
{
	return json_is_true(json_object_get(reply, key));
}

static bool too_late(struct amb_call *c)
{
	return amb_call_fail(c, AMB_CALL_TRY_LATER, "pod %s does not join the mesh within %u s",
			     c->pod, c->seconds);
}

/* Tells the agent until it has the pod, or does not want it; all in all for the time there is. */
static bool attach(struct amb_call *c)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	const uint64_t end = amb_util_now_ns() + c->seconds * SECOND_NS;
	bool done = false, answered = false;
	uint64_t now;
	json_t *reply;

	while (!done) {
		now = amb_util_now_ns();
		if (now >= end)
			return too_late(c);
		if (ask(c,
			json_pack("{s:s, s:s, s:s}", "command", "attach", "pod", c->pod, "netns",
				  c->env.netns),
			end - now, &reply)) {
			/* An agent that answers had no time left for this one. */
			if (answered && c->code == AMB_CALL_TRY_LATER && amb_util_now_ns() >= end)
				too_late(c);
			return false;
		}
		answered = true;
		done = !is(reply, "wanted") || is(reply, "up");
		if (is(reply, "failed"))
			amb_call_fail(c, AMB_CALL_TRY_LATER, "pod %s cannot join the mesh: %s",
				      c->pod, json_string_value(json_object_get(reply, "reason")));
		json_decref(reply);
		if (c->code)
			return false;
		if (!done)
			nanosleep(&pause, NULL);
	}
	return true;
}

/* An agent that is not there need not forget, and one that hangs is waited for once. */
static void detach(struct amb_call *c, const char *pod, const char *netns)
{
	json_t *reply = NULL;
	char text[512];
	int err;

	if (c->silent)
		return;
	err = amb_ask(c->socket, DEL_NS,
		      json_pack("{s:s, s:s, s:s}", "command", "detach", "pod", pod, "netns", netns),
		      &reply, text, sizeof(text));
	c->silent = err && err != -EREMOTE;
	json_decref(reply);
}

static bool run_add(struct amb_call *c, json_t **out)
{
	const struct amb_attachment a = { c->network, c->env.container, c->env.ifname, c->pod,
					  c->env.netns };
	json_t *result = json_object_get(c->conf, "prevResult");
	int err;

	if (*c->pod && !amb_call_is_excluded(c)) {
		/* First, so that an agent which starts in this moment finds it. */
		err = amb_attachment_write(c->dir, &a);
		if (err)
			return amb_call_fail(c, AMB_CALL_IO, "%s: %s", c->dir, strerror(-err));
		if (!attach(c)) {
			amb_attachment_remove(c->dir, a.container, a.ifname);
			detach(c, a.pod, a.netns);
			return false;
		}
	}
	if (!json_object_get(result, "cniVersion"))
		json_object_set_new(result, "cniVersion", json_string(c->version));
	*out = json_incref(result);
	return true;
}

struct removal {
	struct amb_call *c;
	const json_t *valid; /* GC: these stay */
	int err;
	bool found; /* CHECK */
};

static void removed(struct removal *r, const struct amb_attachment *a)
{
	int err = amb_attachment_remove(r->c->dir, a->container, a->ifname);

	r->err = r->err ? r->err : err;
	detach(r->c, a->pod, a->netns);
}

static bool is_same(const struct amb_attachment *a, const struct amb_call *c)
{
	return !strcmp(a->container, c->env.container) && !strcmp(a->ifname, c->env.ifname);
}

static bool remove_same(void *ctx, const struct amb_attachment *a)
{
	struct removal *r = ctx;

	if (is_same(a, r->c))
		removed(r, a);
	return true;
}

static bool told(struct amb_call *c, int err)
{
	return !err || amb_call_fail(c, AMB_CALL_IO, "%s: %s", c->dir, strerror(-err));
}

/* By its file: the runtime may not know the netns any more. */
static bool run_del(struct amb_call *c, json_t **out)
{
	struct removal r = { .c = c };

	(void)out;
	return told(c, amb_attachment_each(c->dir, remove_same, &r) ?: r.err);
}

static bool is_valid(const json_t *valid, const struct amb_attachment *a)
{
	const char *container, *ifname;
	size_t i;

	for (i = 0; i < json_array_size(valid); i++) {
		if (!json_unpack(json_array_get(valid, i), "{s:s, s:s}", "containerID", &container,
				 "ifname", &ifname) &&
		    !strcmp(container, a->container) && !strcmp(ifname, a->ifname))
			return true;
	}
	return false;
}

static bool remove_invalid(void *ctx, const struct amb_attachment *a)
{
	struct removal *r = ctx;

	/* Other networks have their own lists. */
	if (!strcmp(a->network, r->c->network) && !is_valid(r->valid, a))
		removed(r, a);
	return true;
}

static bool run_gc(struct amb_call *c, json_t **out)
{
	struct removal r = { .c = c };

	(void)out;
	r.valid = json_object_get(c->conf, "cni.dev/valid-attachments");
	if (!json_is_array(r.valid))
		return amb_call_fail(c, AMB_CALL_CONFIG,
				     "GC without a list cni.dev/valid-attachments");
	return told(c, amb_attachment_each(c->dir, remove_invalid, &r) ?: r.err);
}

static bool find_same(void *ctx, const struct amb_attachment *a)
{
	struct removal *r = ctx;

	r->found = is_same(a, r->c) && !strcmp(a->pod, r->c->pod);
	return !r->found;
}

/* A pod that the agent does not want is as it has to be. */
static bool is_served(struct amb_call *c, const json_t *status)
{
	const char *ns, *name, *state;
	json_t *pod;
	size_t i;

	json_array_foreach(json_object_get(status, "pods"), i, pod)
	{
		if (json_unpack(pod, "{s:s, s:s, s:s}", "namespace", &ns, "name", &name, "state",
				&state) ||
		    strncmp(c->pod, ns, strlen(ns)) || c->pod[strlen(ns)] != '/' ||
		    strcmp(c->pod + strlen(ns) + 1, name))
			continue;
		return is(pod, "up") ||
		       amb_call_fail(c, AMB_CALL_NOT_SERVED, "pod %s is not in the mesh: %s",
				     c->pod, state);
	}
	return true;
}

static bool run_check(struct amb_call *c, json_t **out)
{
	struct removal r = { .c = c };
	json_t *status;
	bool good;

	(void)out;
	if (!*c->pod || amb_call_is_excluded(c))
		return true;
	amb_attachment_each(c->dir, find_same, &r);
	if (!r.found)
		return amb_call_fail(c, AMB_CALL_CONTAINER_UNKNOWN, "container %s was never added",
				     c->env.container);
	if (ask(c, json_pack("{s:s}", "command", "status"), c->seconds * SECOND_NS, &status))
		return false;
	good = is_served(c, status);
	json_decref(status);
	return good;
}

static bool run_status(struct amb_call *c, json_t **out)
{
	json_t *reply;

	(void)out;
	if (ask(c, json_pack("{s:s}", "command", "status"), c->seconds * SECOND_NS, &reply)) {
		c->code = AMB_CALL_UNAVAILABLE;
		return false;
	}
	json_decref(reply);
	return true;
}

static bool run_version(struct amb_call *c, json_t **out)
{
	*out = amb_call_versions(c);
	return true;
}

static const struct {
	const char *name;
	bool (*run)(struct amb_call *c, json_t **out);
} verbs[] = {
	{ "ADD", run_add },	  { "DEL", run_del }, { "CHECK", run_check },
	{ "STATUS", run_status }, { "GC", run_gc },   { "VERSION", run_version },
};

static bool run_verb(struct amb_call *c, json_t **out)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(verbs); i++) {
		if (!strcmp(verbs[i].name, c->env.command))
			return verbs[i].run(c, out);
	}
	return amb_call_fail(c, AMB_CALL_ENV, "CNI_COMMAND: \"%s\" is no command", c->env.command);
}

int amb_plugin_run(const struct amb_call_env *env, FILE *in, FILE *out)
{
	json_t *result = NULL;
	struct amb_call c;
	bool good = amb_call_init(&c, env, in) && run_verb(&c, &result);

	if (!good)
		result = amb_call_error(&c);
	if (result && (json_dumpf(result, out, JSON_COMPACT) || putc('\n', out) == EOF))
		good = false;
	json_decref(result);
	amb_call_uninit(&c);
	return fflush(out) || !good;
}
