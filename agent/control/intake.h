/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers of the control plane, taken into the state while they stream in. An answer of any
 * size becomes visible whole or not at all; of it, one resource at a time is in memory.
 */
#ifndef AMB_INTAKE_H
#define AMB_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xds_held.h"

struct amb_intake;
struct amb_state;

enum amb_xds_type {
	AMB_XDS_ADDRESS,
	AMB_XDS_AUTHORIZATION,
	AMB_XDS_TYPES,
	AMB_XDS_OTHER = AMB_XDS_TYPES, /* one that we do not know */
};

const char *amb_xds_type_url(enum amb_xds_type type);
enum amb_xds_type amb_xds_type_of(const char *url);

#define AMB_INTAKE_MEMORY (64u << 20) /* bytes that one resource may become when unpacked */
#define AMB_INTAKE_NACK_MAX 8192 /* text of a NACK, NUL included; more faults are counted */

/* NULL: out of memory. @st outlives it. */
struct amb_intake *amb_intake_create(struct amb_state *st);
void amb_intake_destroy(struct amb_intake *in);

/* Told of every name that an answer which became visible has, or says to be gone. */
void amb_intake_on_name(struct amb_intake *in, void (*fn)(void *ctx, const char *name), void *ctx);

/* What is held of a type. @told of its entries is the caller's to set before the first answer. */
struct amb_held *amb_intake_held(struct amb_intake *in, enum amb_xds_type type);

/*
 * A stream begins. The first answer of each type with @full says all there is (a wildcard):
 * what is held, was not told to the server and is not in it, is gone.
 */
void amb_intake_stream(struct amb_intake *in, bool full);

void amb_intake_begin(struct amb_intake *in, uint32_t len);
/* 0, or -errno: the answer is worth nothing, amb_intake_drop() it. */
int amb_intake_feed(struct amb_intake *in, const uint8_t *p, size_t n);

/* Strings are valid until the next begin. */
struct amb_intake_result {
	enum amb_xds_type type;
	const char *type_url, *nonce;
	const char *nack; /* "name: reason, name: reason", NULL when nothing was refused */
	size_t resources, removed, refused;
};
/* It was fed: makes it visible. 0, or -errno as above. */
int amb_intake_end(struct amb_intake *in, struct amb_intake_result *out);
/* Gives up an answer, if one is under way: nothing of it was visible. */
void amb_intake_drop(struct amb_intake *in);

#endif
