// SPDX-License-Identifier: GPL-2.0-or-later
/* The parts of gRPC that are only bytes and numbers. */
#include "grpc_frame.h"

#include "base/util.h"
#include "base/wipe.h"

#include <errno.h>
#include <string.h>

const char *amb_grpc_code_text(unsigned int code)
{
	static const char *const texts[] = {
		"OK",
		"CANCELLED",
		"UNKNOWN",
		"INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED",
		"NOT_FOUND",
		"ALREADY_EXISTS",
		"PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED",
		"FAILED_PRECONDITION",
		"ABORTED",
		"OUT_OF_RANGE",
		"UNIMPLEMENTED",
		"INTERNAL",
		"UNAVAILABLE",
		"DATA_LOSS",
		"UNAUTHENTICATED",
	};

	return texts[code < AMB_ARRAY_SIZE(texts) ? code : AMB_GRPC_UNKNOWN];
}

enum amb_grpc_code amb_grpc_code_parse(const char *text, size_t len)
{
	unsigned int code = 0;
	size_t i;

	if (!len || len > 2)
		return AMB_GRPC_UNKNOWN;
	for (i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return AMB_GRPC_UNKNOWN;
		code = code * 10 + (text[i] - '0');
	}
	return code <= AMB_GRPC_UNAUTHENTICATED ? code : AMB_GRPC_UNKNOWN;
}

enum amb_grpc_code amb_grpc_code_of_http(unsigned int status)
{
	switch (status) {
	case 400:
		return AMB_GRPC_INTERNAL;
	case 401:
		return AMB_GRPC_UNAUTHENTICATED;
	case 403:
		return AMB_GRPC_PERMISSION_DENIED;
	case 404:
		return AMB_GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return AMB_GRPC_UNAVAILABLE;
	default:
		return AMB_GRPC_UNKNOWN;
	}
}

enum amb_grpc_code amb_grpc_code_of_reset(uint32_t error)
{
	switch (error) {
	case 0x7: /* REFUSED_STREAM */
		return AMB_GRPC_UNAVAILABLE;
	case 0x8: /* CANCEL */
		return AMB_GRPC_CANCELLED;
	case 0xb: /* ENHANCE_YOUR_CALM */
		return AMB_GRPC_RESOURCE_EXHAUSTED;
	case 0xc: /* INADEQUATE_SECURITY */
		return AMB_GRPC_PERMISSION_DENIED;
	default:
		return AMB_GRPC_INTERNAL;
	}
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void amb_grpc_message_decode(const char *in, size_t len, char *out, size_t room)
{
	size_t i, n = 0;

	for (i = 0; i < len && n + 1 < room; i++) {
		unsigned char c = in[i];

		if (c == '%' && i + 2 < len && hex(in[i + 1]) >= 0 && hex(in[i + 2]) >= 0) {
			c = hex(in[i + 1]) << 4 | hex(in[i + 2]);
			i += 2;
		}
		out[n++] = c < ' ' || c == 0x7f ? '?' : c;
	}
	if (room)
		out[n] = 0;
	/* A cut must not leave half of a character. */
	for (i = n; i && n - i < 3 && ((unsigned char)out[i - 1] & 0xc0) == 0x80; i--)
		;
	if (i && (unsigned char)out[i - 1] >= 0xc0 && !amb_util_utf8_len(out + i - 1))
		out[i - 1] = 0;
}

void amb_grpc_head_write(uint8_t head[AMB_GRPC_HEAD], uint32_t len)
{
	head[0] = 0;
	head[1] = len >> 24;
	head[2] = len >> 16;
	head[3] = len >> 8;
	head[4] = len;
}

static int take_head(struct amb_grpc_reader *r, const uint8_t **in, size_t *n)
{
	size_t k = AMB_MIN(*n, (size_t)AMB_GRPC_HEAD - r->nhead);

	memcpy(r->head + r->nhead, *in, k);
	r->nhead += k;
	*in += k;
	*n -= k;
	if (r->nhead < AMB_GRPC_HEAD)
		return 0;
	if (r->head[0])
		return -EBADMSG;
	r->len = (uint32_t)r->head[1] << 24 | r->head[2] << 16 | r->head[3] << 8 | r->head[4];
	r->left = r->len;
	return r->len > r->max ? -EMSGSIZE : 1;
}

int amb_grpc_read(struct amb_grpc_reader *r, const uint8_t **in, size_t *n,
		  struct amb_grpc_piece *out)
{
	bool first = r->nhead < AMB_GRPC_HEAD;
	size_t k;
	int ret;

	if (first) {
		ret = take_head(r, in, n);
		if (ret <= 0)
			return ret;
	}
	k = AMB_MIN(*n, (size_t)r->left);
	if (!k && r->left && !first)
		return 0;
	r->left -= k;
	*out = (struct amb_grpc_piece){
		.first = first, .last = !r->left, .len = r->len, .p = *in, .n = k
	};
	*in += k;
	*n -= k;
	if (out->last)
		r->nhead = 0;
	return 1;
}

int amb_grpc_gather(struct amb_grpc_whole *w, const struct amb_grpc_piece *piece)
{
	if (piece->first) {
		amb_grpc_whole_clear(w);
		w->p = amb_wipe_alloc(piece->len);
		if (!w->p)
			return -ENOMEM;
		w->len = piece->len;
	}
	memcpy(w->p + w->n, piece->p, piece->n);
	w->n += piece->n;
	return piece->last;
}

void amb_grpc_whole_clear(struct amb_grpc_whole *w)
{
	amb_wipe_free(w->p);
	*w = (struct amb_grpc_whole){ 0 };
}
