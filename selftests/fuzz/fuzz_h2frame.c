// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The module's frame reader: whatever comes, cut anywhere, it reads the same; what it tells adds
 * up. The first byte says how the input is cut.
 */
#include "fuzz.h"

#include "../../kmod/h2frame.c"

struct sum {
	u32 hash;
	u32 data, pieces; /* payload of the DATA or header frame under way */
	int error;
};

static void add(struct sum *s, u32 value)
{
	s->hash = (s->hash ^ value) * 16777619u;
}

static void piece(struct sum *s, const struct hbone_h2_event *ev)
{
	size_t i;

	PROMISE(ev->first == !s->pieces);
	s->pieces++;
	s->data += ev->n;
	for (i = 0; i < ev->n; i++)
		add(s, ev->p[i]);
	PROMISE(s->data <= ev->length);
	PROMISE(ev->kind == HBONE_H2_EV_DATA || !ev->last || s->data == ev->length);
	if (ev->last) {
		add(s, s->data);
		add(s, ev->end_stream);
		s->data = s->pieces = 0;
	}
}

static void event(struct sum *s, const struct hbone_h2_event *ev)
{
	PROMISE(ev->stream <= HBONE_H2_STREAM_MAX && ev->length <= HBONE_H2_FRAME_MIN);
	switch (ev->kind) {
	case HBONE_H2_EV_DATA:
	case HBONE_H2_EV_RAW:
		PROMISE(ev->stream);
		piece(s, ev);
		return;
	case HBONE_H2_EV_SETTING:
		PROMISE(ev->id != HBONE_H2_INITIAL_WINDOW_SIZE || ev->value <= HBONE_H2_WINDOW_MAX);
		break;
	case HBONE_H2_EV_WINDOW:
		PROMISE(ev->value && ev->value <= HBONE_H2_WINDOW_MAX);
		break;
	case HBONE_H2_EV_RST:
	case HBONE_H2_EV_STREAM_ERROR:
		PROMISE(ev->stream);
		break;
	}
	PROMISE(!s->pieces);
	add(s, ev->kind);
	add(s, ev->stream);
	add(s, ev->value);
	add(s, ev->id);
}

/* @cut: bytes at a time. */
static struct sum run(const uint8_t *data, size_t size, size_t cut)
{
	struct sum s = { .hash = 2166136261u };
	struct hbone_h2_event ev;
	struct hbone_h2frame f;
	int ret = 0;

	hbone_h2frame_init(&f, HBONE_H2_FRAME_MIN);
	while (size && ret >= 0) {
		size_t n = cut < size ? cut : size, taken = n;
		const u8 *in = data;

		while ((ret = hbone_h2frame_next(&f, &in, &n, &ev)) > 0)
			event(&s, &ev);
		PROMISE(ret < 0 || !n);
		data += taken;
		size -= taken;
	}
	PROMISE(ret >= -HBONE_H2_ENHANCE_YOUR_CALM);
	s.error = ret;
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sum whole, cut;
	u32 stream = 0;
	bool end;

	if (!size)
		return 0;
	whole = run(data + 1, size - 1, size);
	cut = run(data + 1, size - 1, 1 + data[0]);
	PROMISE(whole.hash == cut.hash && whole.error == cut.error);
	/* Blocks that may be sent can be read, too, but for the reader's limits. */
	if (!hbone_h2frame_check_headers(data + 1, size - 1, HBONE_H2_FRAME_MIN, &stream, &end))
		PROMISE(stream && (!whole.error || whole.error == -HBONE_H2_ENHANCE_YOUR_CALM));
	return 0;
}
