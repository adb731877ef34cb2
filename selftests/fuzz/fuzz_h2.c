// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A peer's HTTP/2 bytes. The first byte of the input says how they are cut: the parser must
 * say the same of the whole as of the pieces.
 */
#include "fuzz.h"

#include "proxy/h2.h"

#include <nghttp2/nghttp2.h>

#define MAX_FRAME 4096
#define MAX_BLOCK 2048
#define MAX_LIST 4096

struct sum {
	uint64_t events;
	uint64_t data;
	uint64_t mixed;
	int end;
};

static void field(void *ctx, const char *name, size_t namelen, const char *value, size_t valuelen)
{
	struct sum *s = ctx;

	PROMISE(!name[namelen] && !value[valuelen]);
	s->mixed += namelen * 7 + valuelen;
}

static void count(struct sum *s, struct nghttp2_hd_inflater *inf, const struct amb_h2_event *ev)
{
	uint32_t value, i;
	uint16_t id;

	if (ev->type == AMB_H2_DATA && !ev->error) {
		/* Pieces are many or few; only their sum and the frame's end are meant. */
		s->data += ev->n + ev->padding;
		s->events += ev->first;
		return;
	}
	s->events++;
	s->mixed = s->mixed * 31 + ev->type + ev->stream + ev->value + ev->error;
	if (ev->type == AMB_H2_SETTINGS && !ev->error) {
		for (i = 0; i < ev->n / 6; i++) {
			amb_h2_setting_at(ev, i, &id, &value);
			s->mixed += amb_h2_setting_check(id, value, true);
		}
	}
	if (ev->type == AMB_H2_HEADERS && !ev->error && s->end == 0)
		s->mixed += amb_h2_inflate(inf, ev->p, ev->n, AMB_H2_REQUEST, MAX_LIST, field, s);
}

/* Feeds @size bytes, @step at a time. */
static struct sum run(const uint8_t *data, size_t size, size_t step)
{
	struct nghttp2_hd_inflater *inf;
	struct amb_h2_parser p;
	struct amb_h2_event ev;
	struct sum s = { 0 };
	const size_t most = size * 2 + 64;
	size_t n, left, turns = 0;
	uint8_t *piece, *at;
	int ret;

	PROMISE(!nghttp2_hd_inflate_new(&inf));
	amb_h2_init(&p, true, MAX_FRAME, MAX_BLOCK);
	while (size && !s.end) {
		n = size < step ? size : step;
		piece = at = malloc(n);
		PROMISE(piece);
		memcpy(piece, data, n);
		left = n;
		while ((ret = amb_h2_next(&p, &at, &left, &ev)) > 0) {
			count(&s, inf, &ev);
			/* Each event costs the peer a byte, or ends a frame that did. */
			PROMISE(turns++ < most);
		}
		s.end = ret;
		PROMISE(ret < 0 || !left);
		free(piece);
		data += n;
		size -= n;
	}
	amb_h2_uninit(&p);
	nghttp2_hd_inflate_del(inf);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sum whole, cut;

	if (!size)
		return 0;
	whole = run(data + 1, size - 1, size);
	cut = run(data + 1, size - 1, data[0] % 32 + 1);
	PROMISE(whole.end == cut.end && whole.events == cut.events);
	PROMISE(whole.mixed == cut.mixed);
	PROMISE(whole.end || whole.data == cut.data);
	return 0;
}
