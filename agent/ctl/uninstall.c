// SPDX-License-Identifier: GPL-2.0-or-later
/* What agents left in the kernel, removed. Needs no agent, and that none runs. */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kernel/bpf.h"
#include "kernel/uninstall.h"

#define ANSWER_NS 5000000000ull
#define ERROR_MAX 512

/* One that captures by rules has nothing else that could tell of it. */
static bool agent_runs(const struct ctl *ctl)
{
	char text[ERROR_MAX];
	json_t *reply = NULL;
	int err = amb_ask(ctl->socket, ANSWER_NS, json_pack("{s:s}", "command", "status"), &reply,
			  text, sizeof(text));

	json_decref(reply);
	if (err == -ENOENT || err == -ENOTDIR || err == -ECONNREFUSED)
		return false;
	if (!err || err == -EREMOTE)
		ctl_error("an agent answers at %s: stop it first", ctl->socket);
	else
		ctl_error("whether an agent runs cannot be told: %s", text);
	return true;
}

int ctl_uninstall(const struct ctl *ctl)
{
	const char *dir = ctl->bpf_dir ? ctl->bpf_dir : AMB_BPF_DIR;
	struct amb_uninstall done;
	int err;

	if (agent_runs(ctl))
		return CTL_REFUSED;
	err = amb_uninstall(dir, &done);
	if (err == -EBUSY) {
		ctl_error("an agent uses %s: stop it first", dir);
		return CTL_REFUSED;
	}
	if (ctl->json) {
		json_t *o = json_pack("{s:b,s:i,s:i,s:i,s:i}", "pins", done.pins, "pods",
				      (int)done.pods, "unseen", (int)done.unseen, "ruled",
				      (int)done.rules, "tunnels", (int)done.tunnels);

		ctl_print_json(o);
		json_decref(o);
	} else if (!done.pins && !done.rules && !done.tunnels) {
		printf("nothing was left in %s or in any network namespace\n", dir);
	} else {
		printf("removed: %s, %u captured pods, rules of %u namespaces, %u tunnels of the "
		       "kernel\n",
		       done.pins ? dir : "no programs", done.pods, done.rules, done.tunnels);
		if (done.unseen)
			printf("the network namespaces of %u pods are gone, or not to be seen from "
			       "here\n",
			       done.unseen);
	}
	if (!err)
		return CTL_OK;
	ctl_error("not everything could be removed: %s", strerror(-err));
	return CTL_BROKEN;
}
