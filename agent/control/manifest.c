// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Standalone mode's control plane: read, compile, apply, and again when the directory changes.
 * All of it on the main loop; workers meanwhile go on with the state that they have.
 */
#include "manifest.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "manifest_applied.h"
#include "manifest_set.h"
#include "manifest_watch.h"
#include "mesh/state.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_CLUSTER "Kubernetes"
#define DEFAULT_DOMAIN "cluster.local"
#define DEFAULT_ROOT_NS "istio-system"

struct amb_manifest {
	struct amb_loop *loop;
	struct amb_state *st; /* NULL before start */
	char *dir, *node, *cluster, *domain, *trust_domain, *root_ns, *network;
	char *conf_trust_domain, *conf_root_ns; /* what holds without a ConfigMap */
	struct amb_manifest_mesh mesh; /* points to the above */
	struct amb_mset *set;
	struct amb_mcompiled compiled; /* only between create and start */
	bool compiled_waits;
	struct amb_mapplied applied;
	struct amb_mwatch *watch;
	struct amb_mproblems problems;
	struct amb_manifest_status status;
	uint64_t pods_print;
	void (*on_pods)(void *ctx);
	void *on_pods_ctx;
};

/* The ConfigMap istio, of the namespace that the configuration calls root. */
static const struct amb_mmesh *find_mesh(const struct amb_mtable *t, const char *root_ns)
{
	const struct amb_mref *ref = amb_mtable_find(t, AMB_MOBJ_CONFIGMAP, root_ns, "istio");

	return ref ? ref->obj->spec : NULL;
}

static const char *find_network(const struct amb_mtable *t, const char *root_ns)
{
	const struct amb_mref *ref = amb_mtable_find(t, AMB_MOBJ_NAMESPACE, "", root_ns);

	return ref ? amb_kvs_get(&ref->obj->labels, "topology.istio.io/network") : NULL;
}

static void count(struct amb_manifest_counts *out, const struct amb_mset *set,
		  const struct amb_mcompiled *c, const struct amb_mproblems *problems)
{
	out->files = amb_mset_files(set);
	out->objects = amb_mset_table(set)->n;
	out->errors = problems->errors;
	out->warnings = problems->warnings;
	out->workloads = c->workloads;
	out->services = c->services;
	out->policies = c->policies;
}

int amb_manifest_validate(const char *dir, amb_manifest_report_fn *report, void *ctx,
			  struct amb_manifest_counts *counts)
{
	struct amb_mset *set = amb_mset_create(dir);
	struct amb_mproblems problems = { 0 };
	struct amb_msettings settings = { .cluster = DEFAULT_CLUSTER,
					  .domain = DEFAULT_DOMAIN,
					  .network = "",
					  .trust_domain = DEFAULT_DOMAIN,
					  .root_ns = DEFAULT_ROOT_NS };
	struct amb_mcompiled c = { 0 };
	struct amb_mapplied applied = { 0 };
	struct amb_state *st = NULL;
	const struct amb_mmesh *mesh;
	uint32_t i;
	int err;

	if (!set)
		return -ENOMEM;
	err = amb_mset_load(set, &problems);
	if (err)
		goto out;
	mesh = find_mesh(amb_mset_table(set), settings.root_ns);
	if (mesh && mesh->trust_domain)
		settings.trust_domain = mesh->trust_domain;
	if (mesh && mesh->root_ns)
		settings.root_ns = mesh->root_ns;
	err = amb_mcompile(amb_mset_table(set), &settings, amb_mproblems_add, &problems, &c);
	if (err)
		goto out;
	/* The state has limits of its own. */
	st = amb_state_create(
		&(struct amb_state_config){ .network = "", .node = "", .domain = settings.domain });
	if (!st || amb_mapplied_update(&applied, st, &c, dir, amb_mproblems_add, &problems) < 0) {
		err = -ENOMEM;
		goto out;
	}
	for (i = 0; i < problems.n; i++)
		report(ctx, &problems.list[i]->p);
	count(counts, set, &c, &problems);
out:
	amb_mapplied_free(&applied);
	if (st)
		amb_state_destroy(st);
	amb_mcompiled_free(&c);
	amb_mproblems_clear(&problems);
	amb_mset_destroy(set);
	return err;
}

/* What is new since the last load is logged. */
static void log_problems(const struct amb_mproblems *now, const struct amb_mproblems *before)
{
	char text[AMB_MANIFEST_TEXT_MAX];
	uint32_t i;

	for (i = 0; i < now->n; i++) {
		const struct amb_manifest_problem *p = &now->list[i]->p;

		if (amb_mproblems_has(before, p))
			continue;
		amb_manifest_format(p, text, sizeof(text));
		if (p->error)
			amb_err(MANIFEST, "%s", text);
		else
			amb_warn(MANIFEST, "%s", text);
	}
	if (now->errors + now->warnings > now->n &&
	    now->errors + now->warnings != before->errors + before->warnings)
		amb_err(MANIFEST, "%u more problems are not shown",
			now->errors + now->warnings - now->n);
}

static int replace(char **to, const char *from)
{
	char *copy;

	if (*to && !strcmp(*to, from))
		return 0;
	copy = strdup(from);
	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

static void tell_later(struct amb_manifest *m, struct amb_mproblems *problems, const char *object,
		       const char *field)
{
	const struct amb_manifest_problem p = {
		.error = false,
		.file = m->dir,
		.object = object,
		.field = field,
		.reason = "changes with the next start of the agent only",
	};

	amb_mproblems_add(problems, &p);
}

/*
 * Mesh-wide settings out of the set. Certificates and the state are bound to trust domain and
 * network, so those hold from the first load on.
 */
static int settle_mesh(struct amb_manifest *m, struct amb_mproblems *problems)
{
	const struct amb_mtable *t = amb_mset_table(m->set);
	const struct amb_mmesh *mesh = find_mesh(t, m->conf_root_ns);
	const char *network, *td;

	if (replace(&m->root_ns, mesh && mesh->root_ns ? mesh->root_ns : m->conf_root_ns))
		return -ENOMEM;
	td = mesh && mesh->trust_domain ? mesh->trust_domain : m->conf_trust_domain;
	network = find_network(t, m->root_ns);
	if (!m->status.loads &&
	    (replace(&m->trust_domain, td) || (network && replace(&m->network, network))))
		return -ENOMEM;
	if (strcmp(td, m->trust_domain))
		tell_later(m, problems, "ConfigMap istio", "trustDomain");
	if (network && strcmp(network, m->network))
		tell_later(m, problems, "Namespace of the mesh",
			   "metadata.labels[topology.istio.io/network]");
	m->mesh = (struct amb_manifest_mesh){ m->trust_domain, m->network, m->root_ns };
	return 0;
}

static bool is_local(const struct amb_manifest *m, const struct amb_mobj *o)
{
	const struct amb_mpod *pod = o->spec;

	return o->kind == AMB_MOBJ_POD && *m->node && !strcmp(pod->node, m->node) && pod->nips &&
	       !pod->finished && !pod->host_network;
}

static void fill_pod(const struct amb_manifest *m, const struct amb_mobj *o, char *uid, size_t len,
		     struct amb_manifest_pod *out)
{
	const struct amb_mpod *pod = o->spec;

	*out = (struct amb_manifest_pod){
		.uid = amb_mcompile_pod_uid(m->cluster, o, uid, len),
		.ns = o->ns,
		.name = o->name,
		.sa = pod->sa,
		.netns = pod->netns,
		.reroute_ifs = pod->reroute_ifs,
		.enrolled = amb_mcompile_enrolled(amb_mset_table(m->set), o),
		.ingress_mode = pod->ingress_mode,
		.always_tunnel = amb_mcompile_always_tunnel(amb_mset_table(m->set), o),
		.splice = pod->splice,
		.dns_capture = pod->dns_capture,
		.dns_search = pod->dns_search,
		.dns_search_only = pod->dns_search_only,
	};
}

/* Fingerprint of all that listeners of on_pods may look at. */
static uint64_t pods_print(const struct amb_manifest *m)
{
	const struct amb_mtable *t = amb_mset_table(m->set);
	uint64_t sum = 0;
	uint32_t i, j;

	for (i = 0; i < t->n; i++) {
		struct amb_manifest_pod pod;
		char uid[512], flags[16];
		uint32_t hash = amb_util_seed();

		if (!is_local(m, t->rows[i].obj))
			continue;
		fill_pod(m, t->rows[i].obj, uid, sizeof(uid), &pod);
		snprintf(flags, sizeof(flags), "%d%d%d%d%d%d", pod.enrolled, pod.ingress_mode,
			 pod.dns_capture, pod.always_tunnel, pod.splice, pod.dns_search_only);
		const char *const parts[] = { uid,
					      pod.sa,
					      pod.netns ? pod.netns : "",
					      pod.reroute_ifs ? pod.reroute_ifs : "",
					      pod.dns_search ? pod.dns_search : "",
					      flags };

		for (j = 0; j < AMB_ARRAY_SIZE(parts); j++)
			hash = amb_util_hash(parts[j], strlen(parts[j]), hash);
		/* A sum, since the order of pods in files means nothing. */
		sum += ((uint64_t)hash << 32 | amb_util_hash(uid, strlen(uid), hash)) | 1;
	}
	return sum;
}

/* Hands what was compiled to the state and tells who listens. 0 or -ENOMEM. */
static int apply(struct amb_manifest *m, const struct amb_mcompiled *c,
		 struct amb_mproblems *problems)
{
	uint64_t print;
	long sent;

	sent = amb_mapplied_update(&m->applied, m->st, c, m->dir, amb_mproblems_add, problems);
	if (sent < 0)
		return (int)sent;
	m->status.changed += (uint64_t)sent;
	if (sent)
		amb_info(MANIFEST, "%ld resources changed, %u in all", sent, c->n);
	print = pods_print(m);
	if (print != m->pods_print) {
		m->pods_print = print;
		if (m->on_pods)
			m->on_pods(m->on_pods_ctx);
	}
	return 0;
}

static int load(struct amb_manifest *m)
{
	struct amb_msettings settings;
	struct amb_mproblems problems = { 0 };
	struct amb_mcompiled c = { 0 };
	uint64_t start = amb_util_now_ns();
	int err, read_err;

	/* What was compiled before points into the set. */
	amb_mcompiled_free(&m->compiled);
	m->compiled_waits = false;
	/* A directory that is gone for the moment says nothing about the mesh. */
	read_err = amb_mset_load(m->set, &problems);
	err = settle_mesh(m, &problems);
	settings = (struct amb_msettings){ .cluster = m->cluster,
					   .domain = m->domain,
					   .network = m->network,
					   .trust_domain = m->trust_domain,
					   .root_ns = m->root_ns };
	if (!err)
		err = amb_mcompile(amb_mset_table(m->set), &settings, amb_mproblems_add, &problems,
				   &c);
	if (!err && m->st)
		err = apply(m, &c, &problems);
	if (err)
		amb_err(MANIFEST, "%s: %s; the mesh stays as it is", m->dir, strerror(-err));
	else
		count(&m->status.counts, m->set, &c, &problems);
	m->status.counts.errors = problems.errors;
	m->status.counts.warnings = problems.warnings;
	m->status.loads++;
	m->status.failures += problems.errors || err;
	m->status.loaded_at = time(NULL);
	m->status.load_ns = amb_util_now_ns() - start;
	log_problems(&problems, &m->problems);
	amb_mproblems_clear(&m->problems);
	m->problems = problems;
	if (!err && !m->st) {
		m->compiled = c;
		m->compiled_waits = true;
	} else {
		amb_mcompiled_free(&c);
		malloc_trim(0);
	}
	if (err)
		return err;
	return read_err ? read_err : (int)problems.errors;
}

static void on_change(void *ctx)
{
	load(ctx);
}

int amb_manifest_reload(struct amb_manifest *m)
{
	return load(m);
}

struct amb_manifest *amb_manifest_create(struct amb_loop *loop,
					 const struct amb_manifest_config *config)
{
	struct amb_manifest *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->loop = loop;
	m->set = amb_mset_create(config->dir);
	if (!m->set || replace(&m->dir, config->dir) ||
	    replace(&m->node, config->node ? config->node : "") ||
	    replace(&m->cluster, config->cluster ? config->cluster : DEFAULT_CLUSTER) ||
	    replace(&m->domain, config->domain ? config->domain : DEFAULT_DOMAIN) ||
	    replace(&m->network, config->network ? config->network : "") ||
	    replace(&m->conf_trust_domain,
		    config->trust_domain ? config->trust_domain : DEFAULT_DOMAIN) ||
	    replace(&m->conf_root_ns, config->root_ns ? config->root_ns : DEFAULT_ROOT_NS))
		goto fail;
	/* Before the first look, so that nothing changes unseen. */
	m->watch = amb_mwatch_create(loop, m->dir, on_change, m);
	if (!m->watch || load(m) == -ENOMEM)
		goto fail;
	return m;
fail:
	amb_manifest_destroy(m);
	errno = ENOMEM;
	return NULL;
}

void amb_manifest_destroy(struct amb_manifest *m)
{
	if (!m)
		return;
	amb_mwatch_destroy(m->watch);
	amb_mcompiled_free(&m->compiled);
	amb_mapplied_free(&m->applied);
	amb_mproblems_clear(&m->problems);
	amb_mset_destroy(m->set);
	free(m->dir);
	free(m->node);
	free(m->cluster);
	free(m->domain);
	free(m->trust_domain);
	free(m->root_ns);
	free(m->network);
	free(m->conf_trust_domain);
	free(m->conf_root_ns);
	free(m);
}

const struct amb_manifest_mesh *amb_manifest_mesh(const struct amb_manifest *m)
{
	return &m->mesh;
}

int amb_manifest_start(struct amb_manifest *m, struct amb_state *st)
{
	struct amb_mproblems refused = { 0 };
	int err;

	m->st = st;
	if (!m->compiled_waits)
		return load(m) == -ENOMEM ? -ENOMEM : 0;
	err = apply(m, &m->compiled, &refused);
	amb_mcompiled_free(&m->compiled);
	m->compiled_waits = false;
	malloc_trim(0);
	log_problems(&refused, &m->problems);
	amb_mproblems_merge(&m->problems, &refused);
	m->status.counts.errors += refused.errors;
	amb_mproblems_clear(&refused);
	return err;
}

void amb_manifest_each_pod(const struct amb_manifest *m,
			   bool (*fn)(void *ctx, const struct amb_manifest_pod *pod), void *ctx)
{
	const struct amb_mtable *t = amb_mset_table(m->set);
	struct amb_manifest_pod pod;
	char uid[512];
	uint32_t i;

	for (i = 0; i < t->n; i++) {
		if (!is_local(m, t->rows[i].obj))
			continue;
		fill_pod(m, t->rows[i].obj, uid, sizeof(uid), &pod);
		if (!fn(ctx, &pod))
			return;
	}
}

void amb_manifest_on_pods(struct amb_manifest *m, void (*fn)(void *ctx), void *ctx)
{
	m->on_pods = fn;
	m->on_pods_ctx = ctx;
}

void amb_manifest_status(const struct amb_manifest *m, struct amb_manifest_status *out)
{
	*out = m->status;
	out->dir = m->dir;
	out->watching = m->watch && amb_mwatch_active(m->watch);
}

void amb_manifest_each_problem(const struct amb_manifest *m,
			       void (*fn)(void *ctx, bool error, const char *text), void *ctx)
{
	char text[AMB_MANIFEST_TEXT_MAX];
	uint32_t i;

	for (i = 0; i < m->problems.n; i++)
		fn(ctx, m->problems.list[i]->p.error,
		   amb_manifest_format(&m->problems.list[i]->p, text, sizeof(text)));
}
