// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent itself and its pods: status, enroll, unenroll, reload, log, probe, dump. */
#include "ctl.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Asks, and prints the answer only for JSON: it says no more than the exit status. */
static int ask_plain(const struct ctl *ctl, json_t *request)
{
	json_t *reply;
	int status = ctl_ask(ctl, request, &reply);

	if (status)
		return status;
	if (ctl->json)
		status = ctl_print_json(reply);
	json_decref(reply);
	return status;
}

static long long number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_counts(const char *title, json_t *counts)
{
	const char *key;
	json_t *value;

	json_object_foreach(counts, key, value)
		printf("  %-12s %lld %s\n", title, (long long)json_integer_value(value), key);
}

static void print_manifests(const json_t *m)
{
	size_t i;
	json_t *o;

	printf("%-14s %s: %lld files, %lld objects, errors: %lld, warnings: %lld\n", "manifests",
	       ctl_text(m, "directory"), number(m, "files"), number(m, "objects"),
	       number(m, "errors"), number(m, "warnings"));
	json_array_foreach(json_object_get(m, "problems"), i, o)
		printf("  %-12s %s\n", ctl_text(o, "level"), ctl_text(o, "text"));
}

static void print_xds(const json_t *x)
{
	const char *end = ctl_text(x, "lastEnd"), *nack = ctl_text(x, "lastNack");
	bool connected = json_is_true(json_object_get(x, "connected"));

	printf("%-14s %s: %s for %.0f s, %lld addresses, %lld authorizations\n", "istiod",
	       ctl_text(x, "server"), connected ? "connected" : "no stream",
	       json_number_value(json_object_get(x, "seconds")), number(x, "addresses"),
	       number(x, "authorizations"));
	printf("  %-12s %lld good, %lld refused%s%s\n", "answers", number(x, "acks"),
	       number(x, "nacks"), *nack ? ", the last: " : "", nack);
	if (*end)
		printf("  %-12s %s\n", connected ? "last end" : "because", end);
}

static void print_head(json_t *reply)
{
	const json_t *xds = json_object_get(reply, "xds");
	const json_t *c = json_object_get(reply, "connections");
	const json_t *m = json_object_get(reply, "manifests");
	const char *key;
	json_t *value;

	json_object_foreach(reply, key, value)
	{
		if (json_is_string(value))
			printf("%-14s %s\n", key, json_string_value(value));
		else if (json_is_integer(value))
			printf("%-14s %lld\n", key, (long long)json_integer_value(value));
		else if (json_is_boolean(value))
			printf("%-14s %s\n", key, json_is_true(value) ? "yes" : "no");
	}
	if (m)
		print_manifests(m);
	if (json_is_object(xds))
		print_xds(xds);
	if (!c)
		return;
	printf("%-14s %lld opened; sockets open now, idle tunnels among them: %lld\n",
	       "connections", number(c, "opened"), number(c, "open"));
	print_counts("way", json_object_get(c, "ways"));
	print_counts("tunnels", json_object_get(c, "tiers"));
	print_counts("ended", json_object_get(c, "reasons"));
	printf("%-14s %lld done, %lld failed\n", "handshakes", number(c, "handshakes"),
	       number(c, "handshakeFailures"));
	printf("%-14s %lld streams reused a tunnel, %lld tunnels were dialled\n", "pool",
	       number(c, "poolHits"), number(c, "poolDials"));
}

int ctl_status(const struct ctl *ctl)
{
	static const char *const titles[] = { "NAMESPACE", "POD", "STATE", "NETNS", "ERROR", NULL };
	struct ctl_table *t;
	json_t *reply, *pod;
	int status;
	size_t i;

	status = ctl_ask(ctl, json_pack("{s:s}", "command", "status"), &reply);
	if (status)
		return status;
	if (ctl->json) {
		status = ctl_print_json(reply);
		json_decref(reply);
		return status;
	}
	print_head(reply);
	putchar('\n');
	t = ctl_table_create(titles);
	json_array_foreach(json_object_get(reply, "pods"), i, pod)
	{
		if (!t)
			break;
		ctl_table_add(t, ctl_text(pod, "namespace"));
		ctl_table_add(t, ctl_text(pod, "name"));
		ctl_table_add_colour(t, ctl_text(pod, "state"),
				     json_is_true(json_object_get(pod, "up")) ? CTL_GOOD : CTL_BAD);
		ctl_table_add(t, ctl_text(pod, "netns"));
		ctl_table_add(t, ctl_text(pod, "error"));
	}
	if (t)
		ctl_table_sort(t);
	json_decref(reply);
	return ctl_table_finish(t, ctl->colour);
}

int ctl_enroll(const struct ctl *ctl)
{
	char path[PATH_MAX];

	if (!ctl->netns == !ctl->pid) {
		ctl_error("enroll %s: say where the pod is, by --netns PATH or by --pid PID",
			  ctl->arg[0]);
		return CTL_USAGE;
	}
	if (ctl->pid) {
		char *end;
		long pid = strtol(ctl->pid, &end, 10);

		if (*end || !isdigit((unsigned char)*ctl->pid) || pid <= 0) {
			ctl_error("enroll %s: \"%s\" is no process id", ctl->arg[0], ctl->pid);
			return CTL_USAGE;
		}
		snprintf(path, sizeof(path), "/proc/%ld/ns/net", pid);
	} else {
		char named[PATH_MAX];

		/* A bare name is ip-netns(8)'s, as in the annotation. */
		snprintf(named, sizeof(named), "%s%s", strchr(ctl->netns, '/') ? "" : "/run/netns/",
			 ctl->netns);
		if (!realpath(named, path)) {
			ctl_error("enroll %s: %s: %m", ctl->arg[0], named);
			return CTL_REFUSED;
		}
	}
	return ask_plain(ctl, json_pack("{s:s,s:s,s:s}", "command", "enroll", "pod", ctl->arg[0],
					"netns", path));
}

int ctl_unenroll(const struct ctl *ctl)
{
	return ask_plain(ctl, json_pack("{s:s,s:s}", "command", "unenroll", "pod", ctl->arg[0]));
}

int ctl_reload(const struct ctl *ctl)
{
	return ask_plain(ctl, json_pack("{s:s}", "command", "reload"));
}

int ctl_log(const struct ctl *ctl)
{
	json_t *request = json_pack("{s:s}", "command", "log"), *reply;
	int status;

	if (ctl->narg)
		json_object_set_new(request, "filter", json_string(ctl->arg[0]));
	status = ctl_ask(ctl, request, &reply);
	if (status)
		return status;
	if (ctl->json)
		status = ctl_print_json(reply);
	else
		printf("%s\n", ctl_text(reply, "filter"));
	json_decref(reply);
	return status;
}

int ctl_probe(const struct ctl *ctl)
{
	static const char *const titles[] = { "CAPABILITY", "WORKS", "DETAIL", NULL };
	struct ctl_table *t;
	json_t *reply, *o;
	const char *name;
	int status;

	status = ctl_ask(ctl, json_pack("{s:s}", "command", "probe"), &reply);
	if (status)
		return status;
	if (ctl->json) {
		status = ctl_print_json(reply);
		json_decref(reply);
		return status;
	}
	t = ctl_table_create(titles);
	json_object_foreach(reply, name, o)
	{
		bool ok = json_is_true(json_object_get(o, "ok"));

		if (!t)
			break;
		ctl_table_add(t, name);
		ctl_table_add_colour(t, ok ? "yes" : "no", ok ? CTL_GOOD : CTL_BAD);
		ctl_table_add(t, ctl_text(o, "detail"));
	}
	json_decref(reply);
	return ctl_table_finish(t, ctl->colour);
}

int ctl_dump(const struct ctl *ctl)
{
	json_t *reply;
	int status = ctl_ask(ctl, json_pack("{s:s}", "command", "dump"), &reply);

	if (status)
		return status;
	status = ctl_print_json(reply);
	json_decref(reply);
	return status;
}
