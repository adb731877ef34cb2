/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A DeltaDiscoveryResponse (ztunnel-interop 1.2) read as it arrives: it may be 200 MiB, so only
 * one resource of it is in memory at a time. Pure: bytes in, calls out.
 */
#ifndef AMB_DELTA_H
#define AMB_DELTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AMB_DELTA_RESOURCE_MAX (4u << 20) /* bytes of one resource; larger ones are refused */
#define AMB_DELTA_NAME_MAX 4096 /* of a resource's name, NUL included */
#define AMB_DELTA_VERSION_MAX 1024 /* of its version; a longer one counts as none */
#define AMB_DELTA_TYPE_MAX 256 /* of type_url */
#define AMB_DELTA_NONCE_MAX 1024

/* What is wrong with a resource before it was looked into. */
enum amb_delta_fault {
	AMB_DELTA_GOOD,
	AMB_DELTA_TOO_LARGE, /* over AMB_DELTA_RESOURCE_MAX: its value was skipped */
	AMB_DELTA_BAD_NAME, /* too long, or holds a NUL: it is cut there */
};

/* Valid during the call. */
struct amb_delta_resource {
	const char *name, *version; /* "" when they were not there */
	const uint8_t *value; /* a google.protobuf.Any */
	size_t len;
	enum amb_delta_fault fault;
};

struct amb_delta_handler {
	/* Both return 0, or a negative errno that ends the reading. In order of the wire. */
	int (*resource)(void *ctx, const struct amb_delta_resource *r);
	int (*removed)(void *ctx, const char *name);
	/* Another name of the resource that comes next; may be NULL. */
	void (*alias)(void *ctx, const char *name);
};

/* Where the bytes of a field go. */
struct amb_delta_text {
	char *to;
	size_t room, n;
	bool cut;
};

struct amb_delta {
	const struct amb_delta_handler *handler;
	void *ctx;
	int err; /* sticky */
	/* the message, and the Resource within it */
	uint64_t left[2];
	int depth;
	/* the field under way */
	uint8_t state;
	uint8_t wire, shift;
	uint32_t field;
	uint64_t number; /* varint being read */
	uint64_t body; /* bytes of it still to come */
	struct amb_delta_text *text;
	bool gather;
	/* the Resource */
	struct amb_delta_text name, version, alias;
	uint8_t *value;
	size_t nvalue, cap;
	bool too_large;
	/* of the whole message, valid at its end */
	struct amb_delta_text type_text, nonce_text;
	char type_url[AMB_DELTA_TYPE_MAX], nonce[AMB_DELTA_NONCE_MAX];
	char name_buf[AMB_DELTA_NAME_MAX], version_buf[AMB_DELTA_VERSION_MAX];
	char alias_buf[AMB_DELTA_NAME_MAX];
};

void amb_delta_init(struct amb_delta *d, const struct amb_delta_handler *handler, void *ctx);
/* Gives memory back; to be initialised again before use. */
void amb_delta_uninit(struct amb_delta *d);

/* A message of @len bytes begins. */
void amb_delta_begin(struct amb_delta *d, uint64_t len);
/*
 * Its next bytes. 0, -EBADMSG when it is none, -EMSGSIZE for a nonce or type that is too long,
 * -ENOMEM, or what the handler returned; then nothing more of it can be read.
 */
int amb_delta_feed(struct amb_delta *d, const uint8_t *p, size_t n);
/* All bytes were fed: 0 and d->type_url, d->nonce; or -EBADMSG when it ended within a field. */
int amb_delta_end(struct amb_delta *d);

#endif
