// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A DeltaDiscoveryResponse read as it arrives. protobuf-c unpacks whole messages, so the
 * envelope's few fields are walked by hand (protobuf.dev/programming-guides/encoding) over two
 * levels, the response and the Resource in it; what is inside a Resource is gathered for
 * protobuf-c. Unknown fields are skipped whatever their size.
 *
 * The walk is at one of: KEY (a field's number and wire type), NUMBER (a varint that is skipped),
 * LENGTH (of a body), BODY (gathered or skipped).
 */
#include "delta.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEY, NUMBER, LENGTH, BODY };
enum { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_START, WIRE_STOP, WIRE_32 };

/* Field numbers (ztunnel-interop 1.2). */
#define RESPONSE_RESOURCES 2
#define RESPONSE_TYPE_URL 4
#define RESPONSE_NONCE 5
#define RESPONSE_REMOVED 6
#define RESOURCE_VERSION 1
#define RESOURCE_VALUE 2
#define RESOURCE_NAME 3
#define RESOURCE_ALIASES 4

#define VALUE_KEEP (64u << 10) /* of the buffer between messages */

static void text_init(struct amb_delta_text *t, char *to, size_t room)
{
	*t = (struct amb_delta_text){ .to = to, .room = room };
	to[0] = 0;
}

static void text_reset(struct amb_delta_text *t)
{
	t->n = 0;
	t->cut = false;
	t->to[0] = 0;
}

static void text_add(struct amb_delta_text *t, const uint8_t *p, size_t n)
{
	size_t k = AMB_MIN(n, t->room - 1 - t->n);

	if (memchr(p, 0, n) || k < n)
		t->cut = true;
	memcpy(t->to + t->n, p, k);
	t->n += k;
	t->to[t->n] = 0;
}

void amb_delta_init(struct amb_delta *d, const struct amb_delta_handler *handler, void *ctx)
{
	memset(d, 0, sizeof(*d));
	d->handler = handler;
	d->ctx = ctx;
	text_init(&d->name, d->name_buf, sizeof(d->name_buf));
	text_init(&d->version, d->version_buf, sizeof(d->version_buf));
	text_init(&d->alias, d->alias_buf, sizeof(d->alias_buf));
	text_init(&d->type_text, d->type_url, sizeof(d->type_url));
	text_init(&d->nonce_text, d->nonce, sizeof(d->nonce));
}

void amb_delta_uninit(struct amb_delta *d)
{
	free(d->value);
	d->value = NULL;
	d->cap = 0;
}

void amb_delta_begin(struct amb_delta *d, uint64_t len)
{
	d->err = 0;
	d->depth = 0;
	d->left[0] = len;
	d->state = KEY;
	d->number = 0;
	d->shift = 0;
	text_reset(&d->type_text);
	text_reset(&d->nonce_text);
}

/* A Resource begins. */
static void enter(struct amb_delta *d, uint64_t len)
{
	d->left[0] -= len;
	d->left[1] = len;
	d->depth = 1;
	d->nvalue = 0;
	d->too_large = false;
	text_reset(&d->name);
	text_reset(&d->version);
}

/* The Resource is over. */
static int leave(struct amb_delta *d)
{
	struct amb_delta_resource r = {
		.name = d->name.to,
		.version = d->version.cut ? "" : d->version.to,
		.value = d->value,
		.len = d->nvalue,
	};

	d->depth = 0;
	if (d->name.cut)
		r.fault = AMB_DELTA_BAD_NAME;
	else if (d->too_large)
		r.fault = AMB_DELTA_TOO_LARGE;
	return d->handler->resource(d->ctx, &r);
}

static int value_room(struct amb_delta *d, uint64_t len)
{
	uint8_t *p;

	if (len <= d->cap)
		return 0;
	p = realloc(d->value, len);
	if (!p)
		return -ENOMEM;
	d->value = p;
	d->cap = len;
	return 0;
}

/* What is done with a body of the field at hand. */
static int plan(struct amb_delta *d, uint64_t len)
{
	d->text = NULL;
	d->gather = false;
	d->state = BODY;
	d->body = len;
	if (d->depth) {
		if (d->field == RESOURCE_NAME)
			d->text = &d->name;
		else if (d->field == RESOURCE_VERSION)
			d->text = &d->version;
		else if (d->field == RESOURCE_ALIASES)
			d->text = &d->alias;
		else if (d->field == RESOURCE_VALUE) {
			d->nvalue = 0;
			d->too_large = len > AMB_DELTA_RESOURCE_MAX;
			d->gather = !d->too_large;
			if (d->gather && value_room(d, len))
				return -ENOMEM;
		}
	} else if (d->field == RESPONSE_TYPE_URL) {
		d->text = &d->type_text;
	} else if (d->field == RESPONSE_NONCE) {
		d->text = &d->nonce_text;
	} else if (d->field == RESPONSE_REMOVED) {
		d->text = &d->name;
	}
	if (d->text)
		text_reset(d->text);
	return 0;
}

/* A whole field is there. */
static int field_done(struct amb_delta *d)
{
	d->state = KEY;
	d->number = 0;
	d->shift = 0;
	if (d->text == &d->alias && !d->alias.cut && d->handler->alias)
		d->handler->alias(d->ctx, d->alias.to);
	if (d->depth || !d->text)
		return 0;
	if (d->text != &d->name)
		return d->text->cut ? -EMSGSIZE : 0;
	/* Nobody has a resource of such a name. */
	return d->name.cut ? 0 : d->handler->removed(d->ctx, d->name.to);
}

/* The varint at hand is complete. */
static int number_done(struct amb_delta *d)
{
	uint64_t v = d->number;

	d->number = 0;
	d->shift = 0;
	switch (d->state) {
	case KEY:
		if (v >> 32 || !(v >> 3))
			return -EBADMSG;
		d->field = v >> 3;
		d->wire = v & 7;
		d->text = NULL;
		if (d->wire == WIRE_VARINT) {
			d->state = NUMBER;
			return 0;
		}
		if (d->wire == WIRE_BYTES) {
			d->state = LENGTH;
			return 0;
		}
		if (d->wire != WIRE_64 && d->wire != WIRE_32)
			return -EBADMSG;
		d->gather = false;
		d->state = BODY;
		d->body = d->wire == WIRE_64 ? 8 : 4;
		return d->body > d->left[d->depth] ? -EBADMSG : 0;
	case NUMBER:
		d->state = KEY;
		return 0;
	default:
		if (v > d->left[d->depth])
			return -EBADMSG;
		if (!d->depth && d->field == RESPONSE_RESOURCES) {
			enter(d, v);
			d->state = KEY;
			return 0;
		}
		return plan(d, v);
	}
}

static int take_number(struct amb_delta *d, uint8_t byte)
{
	d->left[d->depth]--;
	if (d->shift == 63 && byte > 1)
		return -EBADMSG;
	d->number |= (uint64_t)(byte & 0x7f) << d->shift;
	if (byte & 0x80) {
		d->shift += 7;
		return 0;
	}
	return number_done(d);
}

static size_t take_body(struct amb_delta *d, const uint8_t *p, size_t n)
{
	size_t k = n < d->body ? n : d->body;

	if (d->text) {
		text_add(d->text, p, k);
	} else if (d->gather) {
		memcpy(d->value + d->nvalue, p, k);
		d->nvalue += k;
	}
	d->body -= k;
	d->left[d->depth] -= k;
	return k;
}

/* Empty bodies and Resources end without another byte. */
static int settle(struct amb_delta *d)
{
	int err = 0;

	if (d->state == BODY && !d->body)
		err = field_done(d);
	if (!err && d->depth && !d->left[1]) {
		if (d->state != KEY || d->shift)
			return -EBADMSG;
		err = leave(d);
	}
	return err;
}

int amb_delta_feed(struct amb_delta *d, const uint8_t *p, size_t n)
{
	while (n && !d->err) {
		size_t k = 1;

		if (!d->left[d->depth])
			d->err = -EBADMSG;
		else if (d->state == BODY)
			k = take_body(d, p, n);
		else
			d->err = take_number(d, *p);
		if (!d->err)
			d->err = settle(d);
		p += k;
		n -= k;
	}
	return d->err;
}

int amb_delta_end(struct amb_delta *d)
{
	if (!d->err && (d->left[0] || d->depth || d->state != KEY || d->shift))
		d->err = -EBADMSG;
	if (d->cap > VALUE_KEEP)
		amb_delta_uninit(d);
	return d->err;
}
