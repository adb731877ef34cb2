// SPDX-License-Identifier: GPL-2.0-or-later
/* The tables: workloads, services, policies, certificates, connections, pods, status. */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

struct list {
	const char *key; /* command, and key of the answer */
	const char *const *titles;
	void (*row)(struct ctl_table *t, const json_t *o);
	bool (*in_ns)(const json_t *o, const char *ns);
};

static bool in_ns(const json_t *o, const char *ns)
{
	return !strcmp(ctl_text(o, "namespace"), ns);
}

/* Drops from the array what is not in the namespace that was asked for. */
static void filter(const struct ctl *ctl, const struct list *l, json_t *array)
{
	size_t i = json_array_size(array);

	while (ctl->ns && i--) {
		if (!l->in_ns(json_array_get(array, i), ctl->ns))
			json_array_remove(array, i);
	}
}

static int show(const struct ctl *ctl, const struct list *l)
{
	json_t *reply, *array, *o;
	struct ctl_table *t;
	size_t i;
	int status;

	status = ctl_ask(ctl, json_pack("{s:s}", "command", l->key), &reply);
	if (status)
		return status;
	array = json_object_get(reply, l->key);
	if (json_is_true(json_object_get(reply, "truncated")))
		ctl_error("there are more than %zu: the list is cut", json_array_size(array));
	filter(ctl, l, array);
	if (ctl->json) {
		status = ctl_print_json(array);
		json_decref(reply);
		return status;
	}
	t = ctl_table_create(l->titles);
	json_array_foreach(array, i, o)
	{
		if (t)
			l->row(t, o);
	}
	if (t)
		ctl_table_sort(t);
	json_decref(reply);
	return ctl_table_finish(t, ctl->colour);
}

/* An address of the empty network, "/10.0.0.1" in the dump, is shown without its slash. */
static const char *item(const json_t *array, size_t i)
{
	const char *text = json_string_value(json_array_get(array, i));

	return text && *text == '/' ? text + 1 : text;
}

/* "a,b", or "a and 3 more", of an array of texts. */
static void add_few(struct ctl_table *t, const json_t *array)
{
	size_t n = json_array_size(array);

	if (n > 2)
		ctl_table_addf(t, "%s and %zu more", item(array, 0), n - 1);
	else if (n == 2)
		ctl_table_addf(t, "%s,%s", item(array, 0), item(array, 1));
	else
		ctl_table_add(t, item(array, 0));
}

static void add_waypoint(struct ctl_table *t, const json_t *o)
{
	ctl_table_add(t, ctl_text(json_object_get(o, "waypoint"), "destination"));
}

static void workload_row(struct ctl_table *t, const json_t *o)
{
	const char *health = ctl_text(o, "status");

	ctl_table_add(t, ctl_text(o, "namespace"));
	ctl_table_add(t, ctl_text(o, "name"));
	add_few(t, json_object_get(o, "workloadIps"));
	ctl_table_add(t, ctl_text(o, "node"));
	ctl_table_add(t, ctl_text(o, "protocol"));
	add_waypoint(t, o);
	ctl_table_add_colour(t, health, strcmp(health, "Healthy") ? CTL_BAD : CTL_PLAIN);
}

int ctl_workloads(const struct ctl *ctl)
{
	static const char *const titles[] = { "NAMESPACE", "NAME",     "ADDRESS", "NODE",
					      "PROTOCOL",  "WAYPOINT", "HEALTH",  NULL };
	static const struct list l = { "workloads", titles, workload_row, in_ns };

	return show(ctl, &l);
}

static void service_row(struct ctl_table *t, const json_t *o)
{
	json_t *ports = json_object_get(o, "ports"), *target;
	const char *mode = ctl_text(json_object_get(o, "loadBalancer"), "mode"), *port;
	char text[128] = "";
	size_t n = 0;

	json_object_foreach(ports, port, target)
	{
		if (n < sizeof(text))
			n += snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "", port);
	}
	ctl_table_add(t, ctl_text(o, "namespace"));
	ctl_table_add(t, ctl_text(o, "hostname"));
	add_few(t, json_object_get(o, "vips"));
	ctl_table_add(t, text);
	ctl_table_addf(t, "%zu", json_object_size(json_object_get(o, "endpoints")));
	add_waypoint(t, o);
	ctl_table_add(t, *mode ? mode : "Standard");
}

int ctl_services(const struct ctl *ctl)
{
	static const char *const titles[] = { "NAMESPACE", "HOSTNAME", "ADDRESS",   "PORTS",
					      "ENDPOINTS", "WAYPOINT", "BALANCING", NULL };
	static const struct list l = { "services", titles, service_row, in_ns };

	return show(ctl, &l);
}

static void policy_row(struct ctl_table *t, const json_t *o)
{
	ctl_table_add(t, ctl_text(o, "namespace"));
	ctl_table_add(t, ctl_text(o, "name"));
	ctl_table_add(t, ctl_text(o, "scope"));
	ctl_table_add(t, ctl_text(o, "action"));
	ctl_table_addf(t, "%zu", json_array_size(json_object_get(o, "rules")));
	ctl_table_add(t, json_is_true(json_object_get(o, "dryRun")) ? "yes" : "no");
}

int ctl_policies(const struct ctl *ctl)
{
	static const char *const titles[] = { "NAMESPACE", "NAME",    "SCOPE", "ACTION",
					      "RULES",	   "DRY-RUN", NULL };
	static const struct list l = { "policies", titles, policy_row, in_ns };

	return show(ctl, &l);
}

static bool cert_in_ns(const json_t *o, const char *ns)
{
	const char *at = strstr(ctl_text(o, "identity"), "/ns/");
	size_t n = strlen(ns);

	return at && !strncmp(at + 4, ns, n) && at[4 + n] == '/';
}

static void cert_row(struct ctl_table *t, const json_t *o)
{
	const json_t *leaf = json_array_get(json_object_get(o, "certChain"), 0);
	const char *state = ctl_text(o, "state");

	ctl_table_add(t, ctl_text(o, "identity"));
	ctl_table_add_colour(t, state, strncmp(state, "Unavailable", 11) ? CTL_GOOD : CTL_BAD);
	ctl_table_add(t, ctl_text(leaf, "validFrom"));
	ctl_table_add(t, ctl_text(leaf, "expirationTime"));
	ctl_table_add(t, ctl_text(leaf, "serialNumber"));
}

int ctl_certs(const struct ctl *ctl)
{
	static const char *const titles[] = { "IDENTITY", "STATE",  "VALID FROM",
					      "EXPIRES",  "SERIAL", NULL };
	static const struct list l = { "certificates", titles, cert_row, cert_in_ns };

	return show(ctl, &l);
}

/* The uid of a pod ends in NAMESPACE/NAME. */
static const char *pod_name(const char *uid)
{
	const char *p = strrchr(uid, '/');

	while (p && p > uid && p[-1] != '/')
		p--;
	return p ? p : uid;
}

static bool conn_in_ns(const json_t *o, const char *ns)
{
	const char *pod = pod_name(ctl_text(o, "pod"));
	size_t n = strlen(ns);

	return !strncmp(pod, ns, n) && pod[n] == '/';
}

static void add_bytes(struct ctl_table *t, const json_t *value)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
	double v = json_number_value(value);
	size_t u = 0;

	while (v >= 999.5 && u + 1 < AMB_ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	ctl_table_addf(t, "%.*f %s", u && v < 9.95 ? 1 : 0, v, units[u]);
}

static void add_age(struct ctl_table *t, json_int_t ms)
{
	long long s = ms / 1000;

	if (s < 60)
		ctl_table_addf(t, "%lld.%llds", s, (long long)ms % 1000 / 100);
	else if (s < 3600)
		ctl_table_addf(t, "%lldm%llds", s / 60, s % 60);
	else
		ctl_table_addf(t, "%lldh%lldm", s / 3600, s / 60 % 60);
}

static void add_side(struct ctl_table *t, const json_t *o, const char *name, const char *addr)
{
	const char *n = ctl_text(o, name);

	if (*n)
		ctl_table_addf(t, "%s (%s)", n, ctl_text(o, addr));
	else
		ctl_table_add(t, ctl_text(o, addr));
}

static void connection_row(struct ctl_table *t, const json_t *o)
{
	bool in = !strcmp(ctl_text(o, "direction"), "inbound");

	ctl_table_add(t, pod_name(ctl_text(o, "pod")));
	ctl_table_add(t, in ? "in" : "out");
	add_side(t, o, "srcName", "src");
	add_side(t, o, "dstName", "originalDst");
	ctl_table_add(t, ctl_text(o, "way"));
	ctl_table_add(t, ctl_text(o, "tier"));
	ctl_table_add(t, ctl_text(o, "cipher"));
	ctl_table_add(t, ctl_text(o, in ? "srcIdentity" : "dstIdentity"));
	add_bytes(t, json_object_get(o, "bytesToDst"));
	add_bytes(t, json_object_get(o, "bytesToSrc"));
	add_age(t, json_integer_value(json_object_get(o, "ageMs")));
	ctl_table_add(t, ctl_text(o, "policy"));
}

int ctl_connections(const struct ctl *ctl)
{
	static const char *const titles[] = { "POD",  "DIR",	"FROM", "TO",	  "WAY",
					      "TIER", "CIPHER", "PEER", "TO DST", "FROM DST",
					      "AGE",  "POLICY", NULL };
	static const struct list l = { "connections", titles, connection_row, conn_in_ns };

	return show(ctl, &l);
}
