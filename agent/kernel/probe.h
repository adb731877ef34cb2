/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this kernel lets the agent do, found by doing it: never by version number. */
#ifndef AMB_PROBE_H
#define AMB_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/* One capability. Texts are constants or inside the row. */
struct amb_probe {
	const char *name;
	const char *purpose; /* what the agent uses it for */
	bool needed; /* nothing works without it */
	bool used; /* by this release */
	int err; /* 0: works, else -errno of the step that failed */
	char detail[64]; /* that step */
};

#define AMB_PROBE_MAX 8

/*
 * Tries everything on sockets and namespaces of its own; leaves nothing behind. Fills at most
 * AMB_PROBE_MAX rows, returns their number.
 */
size_t amb_probe_run(struct amb_probe *rows);

#endif
