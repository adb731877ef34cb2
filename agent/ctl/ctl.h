/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ambientctl: what its parts share. */
#ifndef AMB_CTL_H
#define AMB_CTL_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>

#include "ask.h"
#include "base/util.h"

#define CTL_ARGS 4

/* Exit statuses, documented in ambientctl(1). */
#define CTL_OK 0
#define CTL_REFUSED 1 /* the agent, or what was looked at, says no */
#define CTL_USAGE 64 /* the command line */
#define CTL_UNREACHABLE 69 /* no agent answers */
#define CTL_BROKEN 70 /* an answer that cannot be read, no memory */

/* The command line, read. Strings point into argv or the environment. */
struct ctl {
	const char *socket;
	bool json, colour;
	const char *arg[CTL_ARGS];
	int narg;
	const char *ns, *netns, *pid, *trust_domain, *days, *bpf_dir;
	bool p384;
};

/*
 * Asks the agent; takes over @request. Returns CTL_OK and the answer, or says on stderr what
 * went wrong and returns the exit status.
 */
int ctl_ask(const struct ctl *ctl, json_t *request, json_t **reply);

/* Prints JSON, indented. Returns CTL_OK, or CTL_BROKEN when stdout cannot take it. */
int ctl_print_json(const json_t *value);

/* "ambientctl: ..." on stderr. */
void ctl_error(const char *fmt, ...) AMB_PRINTF(1, 2);

/* Text of a key; "" when it is absent or no string. */
const char *ctl_text(const json_t *object, const char *key);

/* Tables: cells are copied, columns aligned, no trailing blanks. */
struct ctl_table;
enum ctl_colour { CTL_PLAIN, CTL_GOOD, CTL_BAD };

/* @titles end with NULL. NULL: out of memory. */
struct ctl_table *ctl_table_create(const char *const *titles);
/* The next cell, row by row; NULL or "" shows as "-". */
void ctl_table_add(struct ctl_table *t, const char *text);
void ctl_table_add_colour(struct ctl_table *t, const char *text, enum ctl_colour colour);
void ctl_table_addf(struct ctl_table *t, const char *fmt, ...) AMB_PRINTF(2, 3);
/* Rows in order of their cells' text. */
void ctl_table_sort(struct ctl_table *t);
/* Prints (to stdout) and frees. Returns CTL_OK or CTL_BROKEN. */
int ctl_table_finish(struct ctl_table *t, bool colour);

/* Commands: return the exit status. */
int ctl_status(const struct ctl *ctl);
int ctl_workloads(const struct ctl *ctl);
int ctl_services(const struct ctl *ctl);
int ctl_policies(const struct ctl *ctl);
int ctl_certs(const struct ctl *ctl);
int ctl_connections(const struct ctl *ctl);
int ctl_why(const struct ctl *ctl);
int ctl_validate(const struct ctl *ctl);
int ctl_enroll(const struct ctl *ctl);
int ctl_unenroll(const struct ctl *ctl);
int ctl_reload(const struct ctl *ctl);
int ctl_log(const struct ctl *ctl);
int ctl_probe(const struct ctl *ctl);
int ctl_dump(const struct ctl *ctl);
int ctl_ca(const struct ctl *ctl);
int ctl_uninstall(const struct ctl *ctl);

#endif
