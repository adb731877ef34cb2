// SPDX-License-Identifier: GPL-2.0-or-later
/* Which way a connection would take, and which policy decides about it. */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

static void line(const char *key, const char *text)
{
	if (*text)
		printf("%-12s %s\n", key, text);
}

static void print_list(const char *key, const json_t *list)
{
	size_t i;
	json_t *o;

	json_array_foreach(list, i, o) line(i ? "" : key, json_string_value(o));
}

static void print_policy(const struct ctl *ctl, const json_t *p)
{
	bool allow = json_is_true(json_object_get(p, "allow"));
	const char *name = ctl_text(p, "policy");
	const char *on = !ctl->colour ? "" : allow ? "\033[32m" : "\033[31m";
	const char *off = ctl->colour ? "\033[0m" : "";
	size_t i;
	json_t *o;

	printf("%-12s %s%s%s: %s%s%s%s\n", "policy", on, allow ? "allowed" : "denied", off,
	       ctl_text(p, "reason"), *name ? " (" : "", name, *name ? ")" : "");
	json_array_foreach(json_object_get(p, "dryRun"), i, o)
		printf("%-12s %s would %s\n", "dry run", ctl_text(o, "policy"),
		       json_is_true(json_object_get(o, "deny")) ? "deny" : "allow");
}

static void print_why(const struct ctl *ctl, const json_t *r)
{
	const json_t *source = json_object_get(r, "source"), *w = json_object_get(r, "workload");
	const json_t *policy = json_object_get(r, "policy");
	const json_t *kernel = json_object_get(r, "kernel");
	bool via = json_is_true(json_object_get(r, "viaWaypoint"));

	printf("%-12s %s (%s)\n", "from", ctl_text(source, "name"), ctl_text(source, "identity"));
	line("to", ctl_text(r, "destination"));
	printf("%-12s %s: %s\n", "way", ctl_text(r, "way"), ctl_text(r, "reason"));
	if (*ctl_text(r, "missing"))
		printf("%-12s the control plane is asked for %s\n", "but first",
		       ctl_text(r, "missing"));
	line("service", ctl_text(r, "service"));
	line(via ? "waypoint" : "workload", ctl_text(w, "name"));
	if (*ctl_text(r, "protocol"))
		printf("%-12s %s to %s\n", "dial", ctl_text(r, "protocol"), ctl_text(r, "dial"));
	line("authority", ctl_text(r, "authority"));
	print_list("expects", json_object_get(r, "expect"));
	print_list("behind it", json_object_get(r, "expectInner"));
	if (kernel)
		printf("%-12s %s: %s%s%s\n", "kernel", ctl_text(kernel, "way"),
		       ctl_text(kernel, "reason"),
		       strcmp(ctl_text(kernel, "to"), ctl_text(r, "destination")) ? ", to " : "",
		       strcmp(ctl_text(kernel, "to"), ctl_text(r, "destination")) ?
			       ctl_text(kernel, "to") :
			       "");
	if (policy)
		print_policy(ctl, policy);
	else if (via)
		line("policy", "the waypoint decides");
}

int ctl_why(const struct ctl *ctl)
{
	json_t *reply;
	int status;

	status = ctl_ask(ctl,
			 json_pack("{s:s,s:s,s:s,s:s}", "command", "why", "src", ctl->arg[0], "dst",
				   ctl->arg[1], "port", ctl->arg[2]),
			 &reply);
	if (status)
		return status;
	if (ctl->json)
		status = ctl_print_json(reply);
	else
		print_why(ctl, reply);
	json_decref(reply);
	return status;
}
