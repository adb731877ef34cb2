// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A control plane's answer as bytes. The first byte says how they are cut: the reader must say
 * the same of the whole as of the pieces, and never show more than its limits allow.
 */
#include "fuzz.h"

#include "control/delta.h"

struct sum {
	uint64_t mixed;
	unsigned int resources, removed, aliases;
	int end;
};

static void mix(struct sum *s, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n--)
		s->mixed = s->mixed * 31 + *p++;
}

static int on_resource(void *ctx, const struct amb_delta_resource *r)
{
	struct sum *s = ctx;

	PROMISE(strlen(r->name) < AMB_DELTA_NAME_MAX && r->len <= AMB_DELTA_RESOURCE_MAX);
	PROMISE(strlen(r->version) < AMB_DELTA_VERSION_MAX);
	mix(s, r->name, strlen(r->name));
	mix(s, r->version, strlen(r->version));
	mix(s, r->value, r->len);
	s->mixed += r->fault;
	s->resources++;
	return 0;
}

static int on_removed(void *ctx, const char *name)
{
	struct sum *s = ctx;

	PROMISE(strlen(name) < AMB_DELTA_NAME_MAX);
	mix(s, name, strlen(name));
	s->removed++;
	return 0;
}

static void on_alias(void *ctx, const char *name)
{
	struct sum *s = ctx;

	mix(s, name, strlen(name));
	s->aliases++;
}

static const struct amb_delta_handler handler = { on_resource, on_removed, on_alias };

static struct sum run(struct amb_delta *d, const uint8_t *data, size_t size, size_t step)
{
	struct sum s = { 0 };
	size_t at = 0;

	d->ctx = &s;
	amb_delta_begin(d, size);
	while (at < size && !s.end) {
		size_t n = size - at < step ? size - at : step;
		/* A copy that ends where the piece ends, for ASan. */
		uint8_t *piece = malloc(n);

		PROMISE(piece);
		memcpy(piece, data + at, n);
		s.end = amb_delta_feed(d, piece, n);
		free(piece);
		at += n;
	}
	if (!s.end)
		s.end = amb_delta_end(d);
	if (!s.end) {
		mix(&s, d->type_url, strlen(d->type_url));
		mix(&s, d->nonce, strlen(d->nonce));
	}
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct amb_delta d;
	struct sum whole, pieces;

	if (!size)
		return 0;
	amb_delta_init(&d, &handler, NULL);
	whole = run(&d, data + 1, size - 1, size);
	pieces = run(&d, data + 1, size - 1, data[0] % 17 + 1);
	PROMISE(whole.end == pieces.end && whole.resources == pieces.resources);
	PROMISE(whole.removed == pieces.removed && whole.aliases == pieces.aliases);
	PROMISE(whole.mixed == pieces.mixed);
	amb_delta_uninit(&d);
	return 0;
}
