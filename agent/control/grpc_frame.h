/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of gRPC that are only bytes and numbers (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md,
 * doc/statuscodes.md, doc/http-grpc-status-mapping.md): messages in DATA, status in trailers.
 */
#ifndef AMB_GRPC_FRAME_H
#define AMB_GRPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum amb_grpc_code {
	AMB_GRPC_OK,
	AMB_GRPC_CANCELLED,
	AMB_GRPC_UNKNOWN,
	AMB_GRPC_INVALID_ARGUMENT,
	AMB_GRPC_DEADLINE_EXCEEDED,
	AMB_GRPC_NOT_FOUND,
	AMB_GRPC_ALREADY_EXISTS,
	AMB_GRPC_PERMISSION_DENIED,
	AMB_GRPC_RESOURCE_EXHAUSTED,
	AMB_GRPC_FAILED_PRECONDITION,
	AMB_GRPC_ABORTED,
	AMB_GRPC_OUT_OF_RANGE,
	AMB_GRPC_UNIMPLEMENTED,
	AMB_GRPC_INTERNAL,
	AMB_GRPC_UNAVAILABLE,
	AMB_GRPC_DATA_LOSS,
	AMB_GRPC_UNAUTHENTICATED,
};

/* "UNAVAILABLE"; "UNKNOWN" for what is no code. */
const char *amb_grpc_code_text(unsigned int code);

/* The code in a grpc-status field: 0..16, anything else is UNKNOWN. */
enum amb_grpc_code amb_grpc_code_parse(const char *text, size_t len);
/* What an HTTP status without a grpc-status means; what a RST_STREAM's error code means. */
enum amb_grpc_code amb_grpc_code_of_http(unsigned int status);
enum amb_grpc_code amb_grpc_code_of_reset(uint32_t error);

/*
 * A grpc-message as text: percent-decoded, control characters as '?', cut to @room with its
 * NUL. What is no valid escape stays as it is (the document wants it shown, not refused).
 */
void amb_grpc_message_decode(const char *in, size_t len, char *out, size_t room);

#define AMB_GRPC_HEAD 5 /* bytes before a message */
void amb_grpc_head_write(uint8_t head[AMB_GRPC_HEAD], uint32_t len);

/* Zero-initialised is at the beginning of a message. */
struct amb_grpc_reader {
	uint32_t max; /* larger messages are an error */
	uint32_t len, left; /* of the message; left is valid within one */
	uint8_t head[AMB_GRPC_HEAD], nhead;
};

/* A piece of a message, pointing into the input. */
struct amb_grpc_piece {
	bool first, last; /* of its message; both for a message that came whole or is empty */
	uint32_t len; /* of the message */
	const uint8_t *p;
	size_t n;
};

/*
 * Takes bytes from *@in (of *@n). Returns 1 with *@out, 0 when all are taken, -EMSGSIZE for a
 * message over r->max, -EBADMSG for a compressed one (we never say that we take those).
 */
int amb_grpc_read(struct amb_grpc_reader *r, const uint8_t **in, size_t *n,
		  struct amb_grpc_piece *out);
/* Is it between two messages? A stream that ends elsewhere was cut. */
static inline bool amb_grpc_reader_idle(const struct amb_grpc_reader *r)
{
	return !r->nhead;
}

/* A message put together from its pieces. Zero-initialised is empty. */
struct amb_grpc_whole {
	uint8_t *p; /* NULL: empty */
	uint32_t n, len; /* there so far; of the message */
};
/* Takes @piece in; a first one begins anew. 1: now it is whole, 0: more comes, -ENOMEM. */
int amb_grpc_gather(struct amb_grpc_whole *w, const struct amb_grpc_piece *piece);
/* Wipes it: keys come in some. */
void amb_grpc_whole_clear(struct amb_grpc_whole *w);

#endif
