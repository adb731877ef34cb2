/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands of the control socket mean. Private to control, and to its test. */
#ifndef AMB_COMMANDS_H
#define AMB_COMMANDS_H

#include <jansson.h>

#include <stddef.h>

#include "ops.h"

/*
 * Runs the request in @line. Returns the answer (a new reference, never NULL but when out of
 * memory); or NULL and the sections of a dump (dump.h) that is the answer.
 */
json_t *amb_commands_run(const struct amb_admin_ops *ops, const char *line, size_t len,
			 unsigned int *sections);

#endif
