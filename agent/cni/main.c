// SPDX-License-Identifier: GPL-2.0-or-later
/* ambient-cni: the program that a container runtime calls. See plugin.h. */
#include "plugin.h"

#include <signal.h>
#include <stdlib.h>

int main(void)
{
	const struct amb_call_env env = {
		.command = getenv("CNI_COMMAND"),
		.container = getenv("CNI_CONTAINERID"),
		.netns = getenv("CNI_NETNS"),
		.ifname = getenv("CNI_IFNAME"),
		.args = getenv("CNI_ARGS"),
	};

	signal(SIGPIPE, SIG_IGN);
	return amb_plugin_run(&env, stdin, stdout);
}
