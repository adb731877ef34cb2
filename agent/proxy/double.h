/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Double HBONE (ztunnel-interop 4.9): a second tunnel inside a stream to a network's gateway. */
#ifndef AMB_DOUBLE_H
#define AMB_DOUBLE_H

#include "hbone.h"

struct amb_cred;
struct amb_identset;
struct amb_live;
struct amb_pod;

/* Told once when it cannot be built; @text is valid during the call. */
typedef void amb_double_failed_fn(void *ctx, enum amb_reason reason, const char *text);
/* The inner stream is open and carries the application's socket now. */
typedef void amb_double_open_fn(void *ctx, struct amb_stream *inner);

struct amb_double_to {
	struct amb_cred *cred;
	const struct amb_identset *expect; /* of the inner peer */
	struct amb_stream_headers outer, inner;
	int fd; /* the application's socket: taken over with open(), not before */
	struct amb_live *live;
	amb_double_open_fn *open;
	amb_double_failed_fn *failed;
	void *ctx;
};

struct amb_double;

/*
 * Opens the outer stream on @c (which has room) and then the inner tunnel in it. Strings,
 * @expect and @live stay valid until open() or failed() was called. NULL: errno, no callback.
 */
struct amb_double *amb_double_start(struct amb_pod *pod, struct amb_hbone *c,
				    const struct amb_double_to *to);
/* Gives up before open() or failed(): neither is called. */
void amb_double_cancel(struct amb_double *d);

#endif
