// SPDX-License-Identifier: GPL-2.0-or-later
/* ambientctl: the command line. One table of commands; each has its options and its help. */
#include "ctl.h"

#include "kernel/bpf.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	OPT_SOCKET = 256,
	OPT_NETNS,
	OPT_PID,
	OPT_TRUST_DOMAIN,
	OPT_P384,
	OPT_DAYS,
	OPT_BPF_DIR,
};

const char *argp_program_version = "ambientctl " AMB_VERSION;

/* Options that every command has; the list of each begins with them. */
#define OUTPUT                                                                                     \
	{                                                                                          \
		"output", 'o', "FORMAT", 0, "table or json (default table)", 2                     \
	}
#define SOCKET                                                                                     \
	{                                                                                          \
		"socket", OPT_SOCKET, "PATH", 0,                                                   \
			"The agent's control socket (default " AMB_ASK_SOCKET "; AMBIENT_SOCKET)", \
			2                                                                          \
	}

static const struct argp_option plain_options[] = { OUTPUT, SOCKET, { 0 } };

static const struct argp_option output_options[] = { OUTPUT, { 0 } };

static const struct argp_option list_options[] = {
	OUTPUT,
	SOCKET,
	{ "namespace", 'n', "NAME", 0, "Only what is in this namespace", 1 },
	{ 0 },
};

static const struct argp_option enroll_options[] = {
	OUTPUT,
	SOCKET,
	{ "netns", OPT_NETNS, "PATH", 0,
	  "The pod's network namespace: a path, or a name in /run/netns", 1 },
	{ "pid", OPT_PID, "PID", 0, "A process in the pod's network namespace", 1 },
	{ 0 },
};

static const struct argp_option uninstall_options[] = {
	OUTPUT,
	SOCKET,
	{ "bpf-dir", OPT_BPF_DIR, "DIR", 0,
	  "Where maps and programs are pinned (default " AMB_BPF_DIR ")", 1 },
	{ 0 },
};

static const struct argp_option ca_options[] = {
	{ "trust-domain", OPT_TRUST_DOMAIN, "NAME", 0,
	  "Of a new root (init; default cluster.local)", 1 },
	{ "p384", OPT_P384, NULL, 0, "Keys on curve P-384 instead of P-256", 1 },
	{ "days", OPT_DAYS, "N", 0, "Life of what is made (default: root 3650, node 365)", 1 },
	{ 0 },
};

struct command {
	const char *name, *args, *help;
	int min, max; /* positional arguments */
	int (*run)(const struct ctl *ctl);
	const struct argp_option *options;
	const char *more; /* after the options */
};

static const struct command commands[] = {
	{ "status", "", "The agent, its pods and what it counted", 0, 0, ctl_status, plain_options,
	  NULL },
	{ "workloads", "", "Workloads that are known", 0, 0, ctl_workloads, list_options, NULL },
	{ "services", "", "Services that are known", 0, 0, ctl_services, list_options, NULL },
	{ "policies", "", "Authorization policies that are known", 0, 0, ctl_policies, list_options,
	  NULL },
	{ "certs", "", "Certificates of this node's identities", 0, 0, ctl_certs, list_options,
	  NULL },
	{ "connections", "", "Live connections: who, to whom, by which way, how many bytes", 0, 0,
	  ctl_connections, list_options,
	  "TIER is who makes a tunnel's TLS records: user (the agent), ktls (the kernel), or kmod "
	  "(the kernel, and hbone.ko carries the bytes). PEER is the identity that the other side "
	  "proved, or has to prove." },
	{ "why", "SRC DST PORT", "Which way a connection would take, and which policy decides", 3,
	  3, ctl_why, plain_options,
	  "SRC is NAMESPACE/POD or an address. DST is that too, or a service as "
	  "NAMESPACE/NAME, NAME.NAMESPACE, a hostname or its address." },
	{ "validate", "DIR", "Check manifests as the agent would, without an agent", 1, 1,
	  ctl_validate, output_options, "The exit status is 1 when there is an error." },
	{ "enroll", "NAMESPACE/POD", "Say where a pod's network namespace is, and serve it", 1, 1,
	  ctl_enroll, enroll_options, NULL },
	{ "unenroll", "NAMESPACE/POD", "Let go of a pod until it is enrolled again", 1, 1,
	  ctl_unenroll, plain_options, NULL },
	{ "reload", "", "Read the manifests again now", 0, 0, ctl_reload, plain_options, NULL },
	{ "log", "[FILTER]", "Show or set the log filter, like info,access=off,pool=debug", 0, 1,
	  ctl_log, plain_options, NULL },
	{ "probe", "", "What the agent found this machine able to do", 0, 0, ctl_probe,
	  plain_options, NULL },
	{ "dump", "", "All of it as JSON, as /config_dump", 0, 0, ctl_dump, plain_options, NULL },
	{ "uninstall", "", "Remove what agents left in the kernel", 0, 0, ctl_uninstall,
	  uninstall_options,
	  "Programs, maps, rules and routes, of the host and of the network namespaces that have a "
	  "name or a process, and tunnels that hbone.ko carries for no agent. No agent may run. "
	  "What it removed no longer keeps pods from talking in clear." },
	{ "ca", "init|node|rotate|retire|revoke DIR [NODE]",
	  "The embedded CA: make, rotate, revoke", 2, 3, ctl_ca, ca_options,
	  "init DIR: a root. node DIR NODE: an intermediate for a node. rotate DIR: a new root "
	  "beside the present ones. retire DIR: trust in all roots but the newest ends. revoke DIR "
	  "NODE: its intermediate, in DIR/crl.pem. Needs no agent." },
};

struct parse {
	const struct command *command;
	struct ctl *ctl;
	int argc; /* what is left for the command, its name first */
	char **argv;
};

/* Options that stand before or after the command. */
static error_t parse_common(int key, char *arg, struct argp_state *state, struct ctl *ctl)
{
	switch (key) {
	case 'o':
		ctl->json = !strcmp(arg, "json");
		if (!ctl->json && strcmp(arg, "table"))
			argp_error(state, "output \"%s\": it is table or json", arg);
		return 0;
	case OPT_SOCKET:
		ctl->socket = arg;
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;
	struct ctl *ctl = p->ctl;

	switch (key) {
	case 'n':
		ctl->ns = arg;
		return 0;
	case OPT_NETNS:
		ctl->netns = arg;
		return 0;
	case OPT_PID:
		ctl->pid = arg;
		return 0;
	case OPT_TRUST_DOMAIN:
		ctl->trust_domain = arg;
		return 0;
	case OPT_P384:
		ctl->p384 = true;
		return 0;
	case OPT_DAYS:
		ctl->days = arg;
		return 0;
	case OPT_BPF_DIR:
		ctl->bpf_dir = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (ctl->narg == p->command->max)
			argp_error(state, "\"%s\": one argument too many", arg);
		ctl->arg[ctl->narg++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (ctl->narg < p->command->min)
			argp_error(state, "arguments are missing: %s", p->command->args);
		return 0;
	}
	return parse_common(key, arg, state, ctl);
}

static int run(struct parse *p)
{
	const struct command *c = p->command;
	char doc[1024], name[64];
	struct argp argp = {
		.options = c->options,
		.parser = parse_opt,
		.args_doc = *c->args ? c->args : NULL,
		.doc = doc,
	};

	snprintf(doc, sizeof(doc), "%s.\v%s", c->help, c->more ? c->more : "");
	snprintf(name, sizeof(name), "ambientctl %s", c->name);
	p->argv[0] = name;
	if (argp_parse(&argp, p->argc, p->argv, 0, NULL, p))
		return CTL_USAGE;
	return c->run(p->ctl);
}

static const struct command *find(const char *name)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static error_t parse_top(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (!strcmp(arg, "help"))
			argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
		p->command = find(arg);
		if (!p->command)
			argp_error(state, "\"%s\" is no command", arg);
		p->argv = &state->argv[state->next - 1];
		p->argc = state->argc - state->next + 1;
		/* The rest is the command's. */
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "a command is missing");
		return 0;
	}
	return parse_common(key, arg, state, p->ctl);
}

/* The list of commands; it stands before the options. */
static void describe(char *doc, size_t len)
{
	size_t n = snprintf(doc, len,
			    "Ask and steer ambientd, the node data plane of an ambient mesh.\n\n");
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(commands) && n < len; i++)
		n += snprintf(doc + n, len - n, "  %-12s %s\n", commands[i].name, commands[i].help);
	if (n < len)
		snprintf(doc + n, len - n,
			 "\v\"ambientctl COMMAND --help\" says more; ambientctl(1) says all.\n"
			 "Exit status: 0 done, 1 refused, 64 wrong usage, 69 no agent answers, "
			 "70 other errors.");
}

int main(int argc, char **argv)
{
	const char *socket = getenv("AMBIENT_SOCKET"), *plain = getenv("NO_COLOR");
	struct ctl ctl = {
		.socket = socket && *socket ? socket : AMB_ASK_SOCKET,
		.colour = isatty(STDOUT_FILENO) && !(plain && *plain),
	};
	struct parse p = { .ctl = &ctl };
	char doc[2048];
	const struct argp argp = {
		.options = plain_options,
		.parser = parse_top,
		.args_doc = "COMMAND [ARGUMENT...]",
		.doc = doc,
	};

	describe(doc, sizeof(doc));
	argp_err_exit_status = CTL_USAGE;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &p) || !p.command)
		return CTL_USAGE;
	return run(&p);
}
