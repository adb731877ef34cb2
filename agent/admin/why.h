/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What would happen to a connection, and why: asked of the same code that decides. */
#ifndef AMB_WHY_H
#define AMB_WHY_H

#include <jansson.h>

#include <stddef.h>

struct amb_state;

/*
 * @src: "namespace/pod" or an address. @dst: the same, or a service as "namespace/hostname",
 * "namespace/name", "name.namespace", a hostname or its address. @port: decimal. Returns what
 * is decided, or NULL and a sentence in @err that names what is not known.
 */
json_t *amb_why(const struct amb_state *st, const char *src, const char *dst, const char *port,
		char *err, size_t errlen);

#endif
