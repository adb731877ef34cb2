// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of the mesh.
 *
 * A pod's resolver asks for "web" as "web.ns.svc.cluster.local", then "web.svc.cluster.local" and
 * so on, and an external name with all of these behind it before it asks for the name itself.
 * Each form that a name may be a shortening or a lengthening of is looked up: as it is, then by
 * wildcards, then as the name of a pod of a headless service. The first that is found counts.
 */
#include "names.h"

#include "base/util.h"
#include "table.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct lookup {
	const struct amb_root *root;
	const struct amb_state *st;
	const struct amb_workload *client;
	bool v6;
	uint64_t seen; /* addresses, of which out keeps some */
	struct amb_names_answer *out;
};

static unsigned int count_labels(const char *name)
{
	unsigned int n = 1;

	for (; *name; name++)
		n += *name == '.';
	return n;
}

/* The place of ".@suffix" at the end of @name, behind something; NULL when it does not end so. */
static const char *find_suffix(const char *name, const char *suffix, size_t len)
{
	size_t n = strlen(name);

	if (n < len + 2 || name[n - len - 1] != '.' || memcmp(name + n - len, suffix, len))
		return NULL;
	return name + n - len - 1;
}

/* "svc.cluster.local" is what all names of Kubernetes services end in. Its place in @name. */
static const char *find_cluster(const struct lookup *l, const char *name)
{
	const char *at = find_suffix(name, l->st->domain, strlen(l->st->domain));

	return at && at - name > 4 && !memcmp(at - 4, ".svc", 4) ? at - 4 : NULL;
}

static bool is_headless(const struct lookup *l, const struct amb_service *s)
{
	return !s->nvips && find_cluster(l, s->hostname);
}

/* What has no address of its own is left to those who know it better. */
static bool can_answer(const struct lookup *l, const struct amb_service *s)
{
	uint32_t i;

	if (s->namespace_only && s->ns != l->client->ns)
		return false;
	for (i = 0; i < s->nvips; i++) {
		if (amb_state_vip_is_host(&s->vips[i]))
			return true;
	}
	return is_headless(l, s);
}

static int rank(const struct lookup *l, const struct amb_service *s)
{
	if (s->ns == l->client->ns)
		return 4;
	if (s->canonical)
		return 3;
	return s->ns == l->st->prefer_ns ? 2 : 1;
}

static const struct amb_service *find_service(const struct lookup *l, const char *host)
{
	const struct amb_bucket *b = amb_table_bucket(l->root, AMB_INDEX_SVC_HOST, host, "");
	const struct amb_service *best = NULL;
	uint32_t i;

	for (i = 0; b && i < b->n; i++) {
		const struct amb_service *s = b->p[i];

		if (can_answer(l, s) && (!best || rank(l, s) > rank(l, best)))
			best = s;
	}
	return best;
}

static void add(struct lookup *l, const struct amb_addr *addr)
{
	struct amb_names_answer *out = l->out;
	uint64_t at;

	if (amb_addr_is_v4(addr) == l->v6)
		return;
	l->seen++;
	/* Shuffled by the way; of too many, each has the same chance to be kept. */
	at = amb_util_random() % l->seen;
	if (out->n < AMB_NAMES_ADDRS) {
		out->addrs[out->n] = out->addrs[at];
		out->addrs[at] = *addr;
		out->n++;
	} else if (at < AMB_NAMES_ADDRS) {
		out->addrs[at] = *addr;
	}
}

/* One address of an endpoint, when the client can reach it. */
static void add_workload(struct lookup *l, const struct amb_workload *w)
{
	uint32_t i;

	if (w->network != l->client->network)
		return;
	for (i = 0; i < w->naddrs; i++) {
		if (amb_addr_is_v4(&w->addrs[i]) != l->v6) {
			add(l, &w->addrs[i]);
			return;
		}
	}
}

static bool family_ok(const struct lookup *l, const struct amb_service *s)
{
	return s->families != (l->v6 ? AMB_IPF_V4 : AMB_IPF_V6);
}

static void answer_service(struct lookup *l, const struct amb_service *s)
{
	const struct amb_workload *w;
	const struct amb_svc *svc;
	struct amb_trie_iter it;
	uint32_t i;

	if (!family_ok(l, s))
		return;
	for (i = 0; i < s->nvips; i++) {
		if (amb_state_vip_is_host(&s->vips[i]) && s->vips[i].network == l->client->network)
			add(l, &s->vips[i].addr);
	}
	svc = s->nvips ? NULL : amb_table_svc(l->root, s->key);
	if (!svc)
		return;
	for (w = amb_trie_first(&it, &svc->endpoints); w; w = amb_trie_next(&it))
		add_workload(l, w);
}

/* "pod.service.namespace.svc.cluster.local" of a headless service. */
static bool try_pod(struct lookup *l, const char *name)
{
	const char *cluster = find_cluster(l, name), *host = strchr(name, '.');
	const struct amb_service *s;
	const struct amb_workload *w;
	struct amb_trie_iter it;
	bool found = false;

	if (!cluster || !host || host >= cluster || !memchr(host + 1, '.', cluster - host - 1))
		return false;
	s = find_service(l, host + 1);
	if (!s || !is_headless(l, s))
		return false;
	w = amb_trie_first(&it, &amb_table_svc(l->root, s->key)->endpoints);
	for (; w; w = amb_trie_next(&it)) {
		if (strncmp(w->name, name, host - name) || w->name[host - name])
			continue;
		found = true;
		if (family_ok(l, s))
			add_workload(l, w);
	}
	return found;
}

static bool try_wildcards(struct lookup *l, const char *name)
{
	const struct amb_service *s = NULL;
	char text[AMB_NAMES_MAX + 2];
	const char *dot;

	for (dot = strchr(name, '.'); dot && !s; dot = strchr(dot + 1, '.')) {
		snprintf(text, sizeof(text), "*%s", dot);
		s = find_service(l, text);
	}
	if (s)
		answer_service(l, s);
	return s;
}

/* @alias: the name that was asked for is another one, so the answer says which this is. */
static bool try(struct lookup *l, const char *name, bool alias)
{
	const struct amb_service *s = find_service(l, name);

	if (s)
		answer_service(l, s);
	else if (try_wildcards(l, name))
		return true; /* by the name that was asked for: a wildcard is none */
	else if (!try_pod(l, name))
		return false;
	if (alias)
		snprintf(l->out->canonical, sizeof(l->out->canonical), "%s", name);
	return true;
}

/* @name with a namespace (or none) and @domain behind it. */
static bool try_longer(struct lookup *l, const char *name, const char *ns, const char *domain,
		       bool alias)
{
	char text[AMB_NAMES_MAX];
	int n;

	if (ns)
		n = snprintf(text, sizeof(text), "%s.%s.%s", name, ns, domain);
	else
		n = snprintf(text, sizeof(text), "%s.%s", name, domain);
	return n > 0 && n < (int)sizeof(text) && try(l, text, alias);
}

/* @name, and what Kubernetes' short forms make of it. */
static bool try_forms(struct lookup *l, const char *name, bool alias)
{
	bool svc = find_suffix(name, "svc", 3);
	char domain[AMB_NAMES_MAX];

	if (try(l, name, alias))
		return true;
	snprintf(domain, sizeof(domain), "svc.%s", l->st->domain);
	switch (count_labels(name)) {
	case 1: /* service */
		return try_longer(l, name, l->client->ns, domain, alias);
	case 2: /* service.namespace, pod.service */
		return try_longer(l, name, NULL, domain, alias) ||
		       try_longer(l, name, l->client->ns, domain, alias);
	case 3: /* service.namespace.svc, pod.service.namespace */
		return (svc && try_longer(l, name, NULL, l->st->domain, alias)) ||
		       try_longer(l, name, NULL, domain, alias);
	case 4: /* pod.service.namespace.svc */
		return svc && try_longer(l, name, NULL, l->st->domain, alias);
	default:
		return false;
	}
}

/* @name without the search domain @suffix. */
static bool try_without(struct lookup *l, const char *name, const char *suffix, size_t len)
{
	const char *at = find_suffix(name, suffix, len);
	char text[AMB_NAMES_MAX];

	if (!at)
		return false;
	memcpy(text, name, at - name);
	text[at - name] = 0;
	return try_forms(l, text, true);
}

static bool try_kubernetes(struct lookup *l, const char *name)
{
	char text[AMB_NAMES_MAX * 2];
	int n;

	n = snprintf(text, sizeof(text), "%s.svc.%s", l->client->ns, l->st->domain);
	if (n < 0 || n >= (int)sizeof(text))
		return false;
	n = strlen(l->client->ns) + 1;
	return try_without(l, name, text, strlen(text)) ||
	       try_without(l, name, text + n, strlen(text + n)) ||
	       try_without(l, name, text + n + 4, strlen(text + n + 4));
}

static bool try_all(struct lookup *l, const struct amb_names_search *search, const char *name)
{
	const char *p = search->list ? search->list : "";

	if (try_forms(l, name, false) || (!search->only && try_kubernetes(l, name)))
		return true;
	while (*p) {
		size_t n = strcspn(p, " ");

		if (try_without(l, name, p, n))
			return true;
		p += n;
		p += *p == ' ';
	}
	return false;
}

bool amb_names_resolve(const struct amb_state *st, const struct amb_workload *client,
		       const struct amb_names_search *search, const char *name, bool v6,
		       struct amb_names_answer *out)
{
	struct lookup l = { .st = st, .client = client, .v6 = v6, .out = out };
	bool found;

	if (!*name || strlen(name) >= AMB_NAMES_MAX)
		return false;
	out->n = 0;
	out->canonical[0] = 0;
	amb_rcu_read_lock();
	l.root = amb_table_root(st);
	found = try_all(&l, search, name);
	amb_rcu_read_unlock();
	return found;
}

static bool same_domain(const char *a, const char *b, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (a[i] != tolower((unsigned char)b[i]))
			return false;
	}
	return true;
}

static bool is_domain(const char *s, size_t len)
{
	size_t i, label = 0;

	for (i = 0; i < len; i++) {
		if (s[i] == '.' && !label)
			return false;
		label = s[i] == '.' ? 0 : label + 1;
		if (label > 63 ||
		    (label && !isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_'))
			return false;
	}
	return label && len < AMB_NAMES_MAX;
}

int amb_names_search_add(char *list, const char *domain, size_t len)
{
	size_t n = 0, used = strlen(list), i;
	const char *p = list;

	if (len && domain[len - 1] == '.')
		len--;
	if (!is_domain(domain, len))
		return -EINVAL;
	while (*p) {
		size_t have = strcspn(p, " ");

		if (have == len && same_domain(p, domain, len))
			return 0;
		p += have;
		p += *p == ' ';
		n++;
	}
	if (n >= AMB_NAMES_SEARCH || used + len + 2 > AMB_NAMES_SEARCH_TEXT)
		return -ENOSPC;
	if (used)
		list[used++] = ' ';
	for (i = 0; i < len; i++)
		list[used++] = tolower((unsigned char)domain[i]);
	list[used] = 0;
	return 0;
}
