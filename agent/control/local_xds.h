/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A static state in ztunnel's own YAML (LOCAL_XDS_PATH, LOCAL_XDS): workloads, services and
 * policies, named as in its config_dump.
 */
#ifndef AMB_LOCAL_XDS_H
#define AMB_LOCAL_XDS_H

#include <stddef.h>

struct amb_state;

#define AMB_LOCAL_XDS_MAX (64u << 20) /* bytes of the text */

/*
 * Reads the file @path, or @text when @path is NULL, and puts all of it into @state, or nothing.
 * 0, or -errno with "file:line: field: reason" in @err: -EINVAL for what cannot be meant, else as
 * of open(2), or -ENOMEM.
 */
int amb_local_xds_load(struct amb_state *state, const char *path, const char *text, char *err,
		       size_t errlen);

#endif
