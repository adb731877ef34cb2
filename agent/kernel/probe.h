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
	bool used; /* as this agent is set up */
	int err; /* 0: works, else -errno of the step that failed */
	char detail[64]; /* that step */
};

/* Notes the step that failed, for a row's own function. Returns -errno. */
int amb_probe_failed(struct amb_probe *row, const char *step);

#define AMB_PROBE_MAX 8
#define AMB_PROBE_KMOD "kmod"
#define AMB_PROBE_KTLS "ktls"
#define AMB_PROBE_REKEY "ktls-rekey"

/*
 * Tries everything on sockets and namespaces of its own; leaves nothing behind. Fills at most
 * AMB_PROBE_MAX rows, returns their number.
 */
size_t amb_probe_run(struct amb_probe *rows);

/* The row of that name among @n, or NULL. */
struct amb_probe *amb_probe_find(struct amb_probe *rows, size_t n, const char *name);

#endif
