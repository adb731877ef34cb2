// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * config_dump and its parts, made piece by piece.
 *
 * Workloads and services are referenced when a dump starts and become text as the client takes
 * it, so one update of the mesh does not tear them. Policies have no references: each piece
 * walks to where the last one ended. Live connections are collected by message (the workers
 * own them), as text, before the first byte is given.
 * Lifetime: while that answer is under way the dump belongs to it too; destroy() then only
 * marks it.
 */
#include "dump.h"

#include "shape.h"
#include "text.h"

#include "proxy/creds.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 32768 /* bytes made at a time */
#define POLICIES_STEP 256 /* policies of one walk */

/* A pod and its live connections, as the elements of two JSON arrays. */
struct pod {
	json_t *info;
	bool up;
	char *uid;
	struct amb_text conns[2]; /* by direction */
};

struct amb_dump {
	const struct amb_admin_ops *ops;
	unsigned int sections, section; /* asked for; bit number of the present one */
	bool begun, in_section, done; /* "{" is out; key is out; all is out */
	bool collecting, dead, truncated;
	amb_dump_ready_fn *ready;
	void *ctx;
	struct amb_text text;
	size_t at; /* place in the present section */

	const struct amb_workload **workloads;
	const struct amb_service **services;
	size_t nworkloads, nservices, cap;

	struct pod *pods;
	size_t npods;
	json_t *pod_index; /* uid -> place in pods */
	struct amb_text conns;
	size_t nconns;
};

static void separate(struct amb_dump *d)
{
	if (d->at)
		amb_text_puts(&d->text, ",");
}

/* Sections: each adds a piece and returns true when it is complete. */

static bool step_workloads(struct amb_dump *d)
{
	if (!d->at)
		amb_text_puts(&d->text, "[");
	if (d->at < d->nworkloads) {
		separate(d);
		amb_text_put_json(&d->text, amb_shape_workload(d->workloads[d->at++]));
		return false;
	}
	amb_text_puts(&d->text, "]");
	return true;
}

static bool add_endpoint(void *ctx, const struct amb_workload *w, const struct amb_ports *ports)
{
	json_object_set_new(ctx, w->uid, amb_shape_endpoint(w, ports));
	return true;
}

static bool step_services(struct amb_dump *d)
{
	if (!d->at)
		amb_text_puts(&d->text, "[");
	if (d->at < d->nservices) {
		const struct amb_service *s = d->services[d->at];
		json_t *o = amb_shape_service(s), *ends = json_object();

		separate(d);
		d->at++;
		amb_state_read_begin(d->ops->state);
		amb_state_each_endpoint(d->ops->state, s, add_endpoint, ends);
		amb_state_read_end(d->ops->state);
		json_object_set_new(o, "endpoints", ends);
		amb_text_put_json(&d->text, o);
		return false;
	}
	amb_text_puts(&d->text, "]");
	return true;
}

struct policy_walk {
	struct amb_dump *d;
	size_t seen, added;
};

static bool add_policy(void *ctx, const struct amb_policy_info *p)
{
	struct policy_walk *walk = ctx;
	struct amb_dump *d = walk->d;

	if (walk->seen++ < d->at)
		return true;
	if (walk->added == POLICIES_STEP)
		return false;
	if (walk->seen > 1)
		amb_text_puts(&d->text, ",");
	amb_text_put_json(&d->text, amb_shape_policy(p));
	walk->added++;
	return true;
}

static bool step_policies(struct amb_dump *d)
{
	struct policy_walk walk = { .d = d };

	if (!d->at)
		amb_text_puts(&d->text, "[");
	if (d->ops->state) {
		amb_state_read_begin(d->ops->state);
		amb_policy_each(d->ops->state, add_policy, &walk);
		amb_state_read_end(d->ops->state);
	}
	d->at += walk.added;
	if (walk.added)
		return false;
	amb_text_puts(&d->text, "]");
	return true;
}

static bool add_staged(void *ctx, const char *service, const struct amb_workload *w,
		       const struct amb_ports *ports)
{
	json_t *s = json_object_get(ctx, service);

	if (!s) {
		s = json_object();
		json_object_set_new(ctx, service, s);
	}
	json_object_set_new(s, w->uid, amb_shape_endpoint(w, ports));
	return true;
}

static bool step_staged(struct amb_dump *d)
{
	json_t *o = json_object();

	if (d->ops->state) {
		amb_state_read_begin(d->ops->state);
		amb_state_each_staged(d->ops->state, add_staged, o);
		amb_state_read_end(d->ops->state);
	}
	amb_text_put_json(&d->text, o);
	return true;
}

static bool step_static(struct amb_dump *d)
{
	amb_text_puts(&d->text, "{}");
	return true;
}

static bool step_version(struct amb_dump *d)
{
	amb_text_put_json(&d->text,
			  json_pack("{s:s,s:s,s:s}", "version", d->ops->version, "istioVersion",
				    d->ops->version, "cryptoProvider", "wolfssl"));
	return true;
}

static bool step_config(struct amb_dump *d)
{
	amb_text_put_json(&d->text, d->ops->config ? d->ops->config(d->ops->ctx) : json_object());
	return true;
}

static bool add_certificate(void *ctx, const struct amb_cred_info *info)
{
	struct amb_dump *d = ctx;

	separate(d);
	d->at++;
	amb_text_put_json(&d->text, amb_shape_certificate(info));
	return true;
}

static bool step_certificates(struct amb_dump *d)
{
	amb_text_puts(&d->text, "[");
	if (d->ops->creds)
		amb_creds_each(d->ops->creds, add_certificate, d);
	amb_text_puts(&d->text, "]");
	return true;
}

static bool step_pods(struct amb_dump *d)
{
	struct amb_text *t = &d->text;
	struct pod *p;

	if (!d->at)
		amb_text_puts(t, "{");
	if (d->at == d->npods) {
		amb_text_puts(t, "}");
		return true;
	}
	separate(d);
	p = &d->pods[d->at++];
	amb_text_put_json(t, amb_shape_string(p->uid));
	amb_text_printf(t, ":{\"state\":\"%s\",\"connections\":{\"inbound\":[",
			p->up ? "Up" : "Pending");
	amb_text_put(t, p->conns[AMB_INBOUND].p, p->conns[AMB_INBOUND].len);
	amb_text_puts(t, "],\"outbound\":[");
	amb_text_put(t, p->conns[AMB_OUTBOUND].p, p->conns[AMB_OUTBOUND].len);
	amb_text_puts(t, "]},\"info\":");
	amb_text_put_json(t, json_incref(p->info));
	amb_text_puts(t, "}");
	amb_text_uninit(&p->conns[AMB_INBOUND]);
	amb_text_uninit(&p->conns[AMB_OUTBOUND]);
	return false;
}

static bool step_connections(struct amb_dump *d)
{
	amb_text_puts(&d->text, "[");
	amb_text_put(&d->text, d->conns.p, d->conns.len);
	amb_text_puts(&d->text, "]");
	amb_text_uninit(&d->conns);
	return true;
}

static const struct {
	const char *key;
	bool (*step)(struct amb_dump *d);
} sections[] = {
	{ "workloads", step_workloads }, { "services", step_services },
	{ "policies", step_policies },	 { "stagedServices", step_staged },
	{ "staticConfig", step_static }, { "version", step_version },
	{ "config", step_config },	 { "certificates", step_certificates },
	{ "workloadState", step_pods },	 { "connections", step_connections },
};

/* Adds the next piece of text. */
static void step(struct amb_dump *d)
{
	if (d->section == AMB_ARRAY_SIZE(sections)) {
		if (!d->begun)
			amb_text_puts(&d->text, "{");
		if (d->truncated)
			amb_text_puts(&d->text, ",\"truncated\":true");
		amb_text_puts(&d->text, "}\n");
		d->done = true;
		return;
	}
	if (!(d->sections & 1u << d->section)) {
		d->section++;
		return;
	}
	if (!d->in_section) {
		amb_text_printf(&d->text, "%s\"%s\":", d->begun ? "," : "{",
				sections[d->section].key);
		d->begun = d->in_section = true;
		d->at = 0;
	}
	if (sections[d->section].step(d)) {
		d->section++;
		d->in_section = false;
	}
}

ssize_t amb_dump_read(struct amb_dump *d, char *buf, size_t max)
{
	while (!d->done && amb_text_left(&d->text) < AMB_MIN(max, (size_t)PIECE)) {
		step(d);
		if (d->text.failed)
			return -ENOMEM;
	}
	return amb_text_take(&d->text, buf, max);
}

/* Start: references and live connections */

static bool room_for(struct amb_dump *d, void *list, size_t n)
{
	void **p = *(void ***)list;

	if (n < d->cap)
		return true;
	p = realloc(p, (d->cap + 1024) * sizeof(*p));
	if (!p) {
		d->text.failed = true;
		return false;
	}
	*(void ***)list = p;
	d->cap += 1024;
	return true;
}

static bool take_workload(void *ctx, const struct amb_workload *w)
{
	struct amb_dump *d = ctx;

	if (!room_for(d, &d->workloads, d->nworkloads))
		return false;
	d->workloads[d->nworkloads++] = amb_workload_get(w);
	return true;
}

static bool take_service(void *ctx, const struct amb_service *s)
{
	struct amb_dump *d = ctx;

	if (!room_for(d, &d->services, d->nservices))
		return false;
	d->services[d->nservices++] = amb_service_get(s);
	return true;
}

/* The main thread is the one that updates the state, so no walk here can be overtaken. */
static void take_references(struct amb_dump *d)
{
	const struct amb_state *st = d->ops->state;

	if (!st)
		return;
	amb_state_read_begin(st);
	if (d->sections & AMB_DUMP_WORKLOADS)
		amb_state_each_workload(st, take_workload, d);
	d->cap = 0;
	if (d->sections & AMB_DUMP_SERVICES)
		amb_state_each_service(st, take_service, d);
	amb_state_read_end(st);
}

static void take_pod(void *arg, const struct amb_admin_pod *pod)
{
	struct amb_dump *d = arg;
	struct pod *more = realloc(d->pods, (d->npods + 1) * sizeof(*more)), *p;

	if (!more) {
		d->text.failed = true;
		return;
	}
	d->pods = more;
	p = &more[d->npods];
	*p = (struct pod){
		.uid = strdup(pod->uid),
		.up = pod->up,
		.info = json_pack("{s:s,s:s,s:s,s:s}", "name", pod->name, "namespace", pod->ns,
				  "trustDomain", "", "serviceAccount", pod->sa),
	};
	if (!p->uid || !p->info) {
		d->text.failed = true;
		free(p->uid);
		json_decref(p->info);
		return;
	}
	json_object_set_new(d->pod_index, p->uid, json_integer(d->npods++));
}

static void put_element(struct amb_text *t, json_t *value)
{
	if (t->len)
		amb_text_puts(t, ",");
	amb_text_put_json(t, value);
}

static void take_connection(void *ctx, const struct amb_proxy_conn *c)
{
	struct amb_dump *d = ctx;
	json_t *place;

	if (d->dead)
		return;
	if (d->nconns == AMB_DUMP_CONNS_MAX) {
		d->truncated = true;
		return;
	}
	d->nconns++;
	if (d->sections & AMB_DUMP_CONNECTIONS) {
		put_element(&d->conns, amb_shape_connection_full(c));
		d->text.failed |= d->conns.failed;
	}
	place = json_object_get(d->pod_index, c->pod_uid);
	if (place) {
		struct amb_text *t = &d->pods[json_integer_value(place)].conns[c->direction];

		put_element(t, amb_shape_connection(c));
		d->text.failed |= t->failed;
	}
}

static void dump_free(struct amb_dump *d)
{
	while (d->nworkloads)
		amb_workload_put(d->workloads[--d->nworkloads]);
	while (d->nservices)
		amb_service_put(d->services[--d->nservices]);
	while (d->npods) {
		struct pod *p = &d->pods[--d->npods];

		free(p->uid);
		json_decref(p->info);
		amb_text_uninit(&p->conns[AMB_INBOUND]);
		amb_text_uninit(&p->conns[AMB_OUTBOUND]);
	}
	free(d->workloads);
	free(d->services);
	free(d->pods);
	json_decref(d->pod_index);
	amb_text_uninit(&d->conns);
	amb_text_uninit(&d->text);
	free(d);
}

static void collected(void *ctx, int err)
{
	struct amb_dump *d = ctx;

	/* What is missing must not be given as if it were whole. */
	d->text.failed |= err == -ENOMEM;
	d->collecting = false;
	if (d->dead)
		dump_free(d);
	else
		d->ready(d->ctx);
}

struct amb_dump *amb_dump_create(const struct amb_admin_ops *ops, unsigned int sections,
				 amb_dump_ready_fn *ready, void *ctx)
{
	struct amb_dump *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->ops = ops;
	d->sections = sections;
	d->ready = ready;
	d->ctx = ctx;
	d->pod_index = json_object();
	take_references(d);
	if ((sections & AMB_DUMP_PODS) && ops->each_pod)
		ops->each_pod(ops->ctx, take_pod, d);
	if (!d->pod_index || d->text.failed) {
		dump_free(d);
		return NULL;
	}
	if (sections & (AMB_DUMP_PODS | AMB_DUMP_CONNECTIONS) && ops->proxy) {
		d->collecting = true;
		if (ops->each_conn)
			ops->each_conn(ops->ctx, take_connection, d);
		amb_proxy_each_conn(ops->proxy, take_connection, collected, d);
	}
	return d;
}

bool amb_dump_is_ready(const struct amb_dump *d)
{
	return !d->collecting;
}

void amb_dump_destroy(struct amb_dump *d)
{
	if (!d)
		return;
	if (d->collecting)
		d->dead = true;
	else
		dump_free(d);
}
