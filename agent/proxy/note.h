/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one agent tells the next of a connection that the kernel carries: JSON, which stays with the
 * stream in hbone.ko. It is for an agent of the same machine and the same version of the note; of
 * any other nothing is understood.
 */
#ifndef AMB_NOTE_H
#define AMB_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow.h"

struct json_t;

/* Strings are the note's. */
struct amb_note {
	struct json_t *json;
	const char *pod; /* uid of the pod that is served */
	enum amb_direction direction;
	enum amb_protocol protocol;
	struct amb_endpoint src, dst, actual;
	const char *authority; /* may be NULL, as the rest */
	const char *src_uid, *dst_uid; /* workloads */
	const char *service_ns, *service_host;
	const char *src_identity, *dst_identity; /* SPIFFE */
	uint16_t suite;
	uint64_t start_ns; /* monotonic */
};

/* Returns the length, 0 when it does not fit or memory is out. No NUL at the end. */
size_t amb_note_write(const char *pod, const struct amb_flow *f, uint16_t suite, char *to,
		      size_t room);
/* 0, or -EBADMSG for what is no note of ours, -ENOMEM. Then nothing is to be cleared. */
int amb_note_read(const void *p, size_t n, struct amb_note *out);
void amb_note_clear(struct amb_note *note);

#endif
