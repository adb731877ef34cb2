// SPDX-License-Identifier: GPL-2.0-or-later
/* The embedded CA from the command line: works on files, needs no agent. */
#include "ctl.h"

#include "control/ca.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAYS_MAX 36500

static int init(const struct ctl *ctl, const struct amb_ca_options *o, char *err)
{
	const char *td = ctl->trust_domain ? ctl->trust_domain : "cluster.local";

	return amb_ca_init(ctl->arg[1], td, o, err);
}

static int node(const struct ctl *ctl, const struct amb_ca_options *o, char *err)
{
	return amb_ca_node(ctl->arg[1], ctl->arg[2], o, err);
}

static int rotate(const struct ctl *ctl, const struct amb_ca_options *o, char *err)
{
	return amb_ca_rotate(ctl->arg[1], o, err);
}

static int retire(const struct ctl *ctl, const struct amb_ca_options *o, char *err)
{
	(void)o;
	return amb_ca_retire(ctl->arg[1], err);
}

static int revoke(const struct ctl *ctl, const struct amb_ca_options *o, char *err)
{
	(void)o;
	return amb_ca_revoke(ctl->arg[1], ctl->arg[2], err);
}

static const struct {
	const char *name;
	int narg; /* with its own name */
	int (*run)(const struct ctl *ctl, const struct amb_ca_options *o, char *err);
	const char *usage;
} actions[] = {
	{ "init", 2, init, "ca init DIR" },
	{ "node", 3, node, "ca node DIR NODE" },
	{ "rotate", 2, rotate, "ca rotate DIR" },
	{ "retire", 2, retire, "ca retire DIR" },
	{ "revoke", 3, revoke, "ca revoke DIR NODE" },
};

static int read_days(const struct ctl *ctl, struct amb_ca_options *o)
{
	char *end;
	long days;

	if (!ctl->days)
		return 0;
	days = strtol(ctl->days, &end, 10);
	if (*end || end == ctl->days || days < 1 || days > DAYS_MAX) {
		ctl_error("ca: \"%s\" is no number of days from 1 to %d", ctl->days, DAYS_MAX);
		return CTL_USAGE;
	}
	o->days = days;
	return 0;
}

int ctl_ca(const struct ctl *ctl)
{
	struct amb_ca_options o = { .p384 = ctl->p384 };
	char err[AMB_CA_ERROR_LEN] = "";
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(actions) && strcmp(actions[i].name, ctl->arg[0]); i++)
		;
	if (i == AMB_ARRAY_SIZE(actions)) {
		ctl_error("ca: \"%s\" is none of init, node, rotate, retire, revoke", ctl->arg[0]);
		return CTL_USAGE;
	}
	if (ctl->narg != actions[i].narg) {
		ctl_error("usage: ambientctl %s", actions[i].usage);
		return CTL_USAGE;
	}
	if (read_days(ctl, &o))
		return CTL_USAGE;
	if (actions[i].run(ctl, &o, err)) {
		ctl_error("ca %s: %s", actions[i].name, err);
		return CTL_REFUSED;
	}
	return CTL_OK;
}
