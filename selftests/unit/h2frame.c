// SPDX-License-Identifier: GPL-2.0-or-later
/* The module's frame codec and window arithmetic: each row whole, by bytes, and split everywhere. */
#include "harness.h"

#include <stdarg.h>

#include "../../kmod/h2frame.c"

#define MAX_FRAME 16384

struct told {
	char text[4096];
	size_t n;
	u32 data; /* payload of the frame that comes in pieces */
};

__attribute__((format(printf, 2, 3))) static void say(struct told *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += vsnprintf(t->text + t->n, sizeof(t->text) - t->n, fmt, ap);
	va_end(ap);
	CHECK(t->n < sizeof(t->text));
}

/* Pieces count as one, so that how the input was cut does not show. */
static void tell_piece(struct told *t, const struct hbone_h2_event *ev, const char *name)
{
	if (ev->first)
		t->data = 0;
	t->data += ev->n;
	if (ev->last && ev->kind == HBONE_H2_EV_DATA)
		CHECK_EQ(t->data + ev->padding, ev->length);
	if (ev->last)
		say(t, " %s%u:%u/%u%s", name, ev->stream, t->data, ev->length,
		    ev->end_stream ? "!" : "");
}

static void tell(struct told *t, const struct hbone_h2_event *ev)
{
	switch (ev->kind) {
	case HBONE_H2_EV_DATA:
		tell_piece(t, ev, "data");
		break;
	case HBONE_H2_EV_RAW:
		tell_piece(t, ev, ev->type == HBONE_H2_HEADERS ? "headers" : "more");
		break;
	case HBONE_H2_EV_SETTING:
		say(t, " set%u=%u", ev->id, ev->value);
		break;
	case HBONE_H2_EV_SETTINGS_END:
		say(t, " settings");
		break;
	case HBONE_H2_EV_SETTINGS_ACK:
		say(t, " ack");
		break;
	case HBONE_H2_EV_PING:
		say(t, " ping:%.8s%s", (const char *)ev->p, ev->ack ? "!" : "");
		break;
	case HBONE_H2_EV_RST:
		say(t, " rst%u:%u", ev->stream, ev->value);
		break;
	case HBONE_H2_EV_WINDOW:
		say(t, " window%u:%u", ev->stream, ev->value);
		break;
	case HBONE_H2_EV_GOAWAY:
		say(t, " goaway%u:%u", ev->goaway_last, ev->value);
		break;
	case HBONE_H2_EV_STREAM_ERROR:
		say(t, " bad%u:%u", ev->stream, ev->value);
		break;
	case HBONE_H2_EV_IGNORED:
		say(t, " ignored%u", ev->type);
		break;
	default:
		say(t, " ?");
	}
}

/* Returns false when the connection is in error. */
static bool feed(struct hbone_h2frame *f, const u8 *p, size_t n, struct told *t)
{
	struct hbone_h2_event ev;
	/* A buffer of its own, so that ASan sees a step too far. */
	u8 *copy = malloc(n ? n : 1);
	const u8 *in = copy;
	int ret;

	memcpy(copy, p, n);
	while ((ret = hbone_h2frame_next(f, &in, &n, &ev)) > 0)
		tell(t, &ev);
	free(copy);
	if (ret < 0)
		say(t, " ERROR%d", -ret);
	else
		CHECK_EQ(n, 0);
	return !ret;
}

#define HEAD(len, type, flags, sid) "\0" len type flags "\0\0\0" sid
#define TEN "0123456789"

static const struct {
	const char *what, *bytes;
	size_t n;
	const char *told;
} rows[] = {
#define ROW(what, bytes, told)                                                                     \
	{                                                                                          \
		what, bytes, sizeof(bytes) - 1, told                                               \
	}
	ROW("nothing", "", ""),
	ROW("half a head", "\0\0\4\3", ""),
	ROW("data", HEAD("\0\12", "\0", "\0", "\1") TEN, " data1:10/10"),
	ROW("data, end", HEAD("\0\12", "\0", "\1", "\1") TEN, " data1:10/10!"),
	ROW("data, empty", HEAD("\0\0", "\0", "\0", "\1"), " data1:0/0"),
	ROW("data, empty, end", HEAD("\0\0", "\0", "\1", "\1"), " data1:0/0!"),
	ROW("data, padded",
	    HEAD("\0\12", "\0", "\11", "\3") "\3"
					     "abcdef"
					     "\0\0\0",
	    " data3:6/10!"),
	ROW("data, pad length 0",
	    HEAD("\0\3", "\0", "\10", "\3") "\0"
					    "ab",
	    " data3:2/3"),
	ROW("data, only pad length", HEAD("\0\1", "\0", "\11", "\3") "\0", " data3:0/1!"),
	ROW("data, only padding", HEAD("\0\4", "\0", "\10", "\3") "\3\0\0\0", " data3:0/4"),
	ROW("data, padded, then data",
	    HEAD("\0\4", "\0", "\10", "\3") "\2x\0\0" HEAD("\0\1", "\0", "\0", "\3") "y",
	    " data3:1/4 data3:1/1"),
	ROW("data, too much padding", HEAD("\0\4", "\0", "\10", "\3") "\4\0\0\0", " ERROR1"),
	ROW("data, padded, no room for the length", HEAD("\0\0", "\0", "\10", "\3"), " ERROR6"),
	ROW("data on the connection", HEAD("\0\1", "\0", "\0", "\0") "x", " ERROR1"),
	ROW("data, half", HEAD("\0\2", "\0", "\1", "\1") "x", ""),
	ROW("reserved bit", "\0\0\4\10\0\x80\0\0\1\x80\0\0\2", " window1:2"),

	ROW("headers", HEAD("\0\3", "\1", "\4", "\1") "abc", " headers1:3/3"),
	ROW("headers, end", HEAD("\0\3", "\1", "\5", "\1") "abc", " headers1:3/3!"),
	ROW("headers, empty", HEAD("\0\0", "\1", "\4", "\1"), " headers1:0/0"),
	ROW("headers, padded: as they are", HEAD("\0\3", "\1", "\14", "\1") "\1a\0",
	    " headers1:3/3"),
	ROW("headers, continued",
	    HEAD("\0\1", "\1", "\1", "\1") "a" HEAD("\0\1", "\11", "\4", "\1") "b",
	    " headers1:1/1! more1:1/1"),
	ROW("headers, something between",
	    HEAD("\0\1", "\1", "\0", "\1") "a" HEAD("\0\10", "\6", "\0", "\0") "abcdefgh",
	    " headers1:1/1 ERROR1"),
	ROW("headers, continued elsewhere",
	    HEAD("\0\1", "\1", "\0", "\1") "a" HEAD("\0\1", "\11", "\4", "\3") "b",
	    " headers1:1/1 ERROR1"),
	ROW("continuation of nothing", HEAD("\0\1", "\11", "\4", "\1") "x", " ERROR1"),
	ROW("headers on the connection", HEAD("\0\1", "\1", "\4", "\0") "x", " ERROR1"),
	ROW("push", HEAD("\0\4", "\5", "\4", "\1") "\0\0\0\2", " ERROR1"),

	ROW("settings, none", HEAD("\0\0", "\4", "\0", "\0"), " settings"),
	ROW("settings",
	    HEAD("\0\22", "\4", "\0", "\0") "\0\4\0\1\0\0"
					    "\0\5\0\0\x40\0"
					    "\x12\x34\0\0\0\1",
	    " set4=65536 set5=16384 set4660=1 settings"),
	ROW("settings ack", HEAD("\0\0", "\4", "\1", "\0"), " ack"),
	ROW("settings ack with content", HEAD("\0\6", "\4", "\1", "\0") "\0\4\0\1\0\0", " ERROR6"),
	ROW("settings of wrong length", HEAD("\0\5", "\4", "\0", "\0") "12345", " ERROR6"),
	ROW("settings of a stream", HEAD("\0\0", "\4", "\0", "\1"), " ERROR1"),
	ROW("settings: window, most", HEAD("\0\6", "\4", "\0", "\0") "\0\4\x7f\xff\xff\xff",
	    " set4=2147483647 settings"),
	ROW("settings: window", HEAD("\0\6", "\4", "\0", "\0") "\0\4\x80\0\0\0", " ERROR3"),
	ROW("settings: frame size, least", HEAD("\0\6", "\4", "\0", "\0") "\0\5\0\0\x3f\xff",
	    " ERROR1"),
	ROW("settings: frame size, most", HEAD("\0\6", "\4", "\0", "\0") "\0\5\0\xff\xff\xff",
	    " set5=16777215 settings"),
	ROW("settings: frame size, more", HEAD("\0\6", "\4", "\0", "\0") "\0\5\1\0\0\0", " ERROR1"),
	ROW("settings: push", HEAD("\0\6", "\4", "\0", "\0") "\0\2\0\0\0\2", " ERROR1"),

	ROW("ping", HEAD("\0\10", "\6", "\0", "\0") "abcdefgh", " ping:abcdefgh"),
	ROW("ping ack", HEAD("\0\10", "\6", "\1", "\0") "abcdefgh", " ping:abcdefgh!"),
	ROW("ping, short", HEAD("\0\7", "\6", "\0", "\0") "abcdefg", " ERROR6"),
	ROW("ping on a stream", HEAD("\0\10", "\6", "\0", "\1") "abcdefgh", " ERROR1"),
	ROW("rst", HEAD("\0\4", "\3", "\0", "\5") "\0\0\0\10", " rst5:8"),
	ROW("rst of the connection", HEAD("\0\4", "\3", "\0", "\0") "\0\0\0\10", " ERROR1"),
	ROW("rst, long", HEAD("\0\5", "\3", "\0", "\1") "\0\0\0\10\0", " ERROR6"),
	ROW("window", HEAD("\0\4", "\10", "\0", "\0") "\0\1\0\0", " window0:65536"),
	ROW("window of zero on a stream", HEAD("\0\4", "\10", "\0", "\1") "\0\0\0\0", " bad1:1"),
	ROW("window of zero", HEAD("\0\4", "\10", "\0", "\0") "\0\0\0\0", " ERROR1"),
	ROW("window, short", HEAD("\0\3", "\10", "\0", "\0") "\0\0\0", " ERROR6"),
	ROW("goaway", HEAD("\0\10", "\7", "\0", "\0") "\0\0\0\7\0\0\0\13", " goaway7:11"),
	ROW("goaway with a reason",
	    HEAD("\0\13", "\7", "\0", "\0") "\0\0\0\7\0\0\0\0bye" HEAD("\0\0", "\4", "\1", "\0"),
	    " goaway7:0 ack"),
	ROW("goaway, short", HEAD("\0\7", "\7", "\0", "\0") "\0\0\0\7\0\0\0", " ERROR6"),
	ROW("goaway of a stream", HEAD("\0\10", "\7", "\0", "\1") "\0\0\0\7\0\0\0\0", " ERROR1"),
	ROW("priority", HEAD("\0\5", "\2", "\0", "\1") "\0\0\0\0\1", " ignored2"),
	ROW("priority of wrong length", HEAD("\0\4", "\2", "\0", "\1") "\0\0\0\0", " bad1:6"),
	ROW("priority of the connection", HEAD("\0\5", "\2", "\0", "\0") "\0\0\0\0\1", " ERROR1"),
	ROW("unknown", HEAD("\0\3", "\x7f", "\xff", "\0") "abc", " ignored127"),
	ROW("unknown, empty", HEAD("\0\0", "\x7f", "\xff", "\0"), " ignored127"),
	ROW("as long as allowed", "\0\x40\0\x7f\0\0\0\0\0", ""),
	ROW("longer", "\0\x40\1\x7f\0\0\0\0\0", " ERROR6"),
};

static void run_row(size_t i, size_t cut, size_t step)
{
	struct hbone_h2frame f;
	struct told t = { .n = 0 };
	size_t at = cut;

	hbone_h2frame_init(&f, MAX_FRAME);
	if (feed(&f, (const u8 *)rows[i].bytes, cut, &t)) {
		for (; at < rows[i].n; at += step) {
			size_t n = step < rows[i].n - at ? step : rows[i].n - at;

			if (!feed(&f, (const u8 *)rows[i].bytes + at, n, &t))
				break;
		}
	}
	CHECK_STR(t.text, rows[i].told);
}

TEST(frames)
{
	size_t i, cut;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CASE(rows[i].what);
		for (cut = 0; cut <= rows[i].n; cut++)
			run_row(i, cut, rows[i].n + 1);
		run_row(i, 0, 1);
	}
}

/* Runs frames that are all alike: the first @good are taken, then the connection ends. */
static void repeat(const char *first, const char *frame, size_t n, int good, int error)
{
	struct hbone_h2frame f;
	struct told t = { .n = 0 };
	int i;

	hbone_h2frame_init(&f, MAX_FRAME);
	CHECK(feed(&f, (const u8 *)first, HBONE_H2_HEAD, &t));
	for (i = 0; i < good; i++)
		CHECK(feed(&f, (const u8 *)frame, n, &t));
	t.n = 0;
	CHECK(!feed(&f, (const u8 *)frame, n, &t));
	CHECK_EQ(atoi(t.text + strlen(" ERROR")), error);
}

TEST(limits)
{
	struct hbone_h2frame f;
	struct told t = { .n = 0 };
	u8 head[HBONE_H2_HEAD];

	CASE("continuations");
	repeat(HEAD("\0\0", "\1", "\0", "\1"), HEAD("\0\0", "\11", "\0", "\1"), HBONE_H2_HEAD,
	       HBONE_H2_CONTINUATIONS_MAX, HBONE_H2_ENHANCE_YOUR_CALM);
	CASE("settings");
	hbone_h2frame_init(&f, MAX_FRAME);
	hbone_h2frame_write_head(head, (HBONE_H2_SETTINGS_MAX + 1) * 6, HBONE_H2_SETTINGS, 0, 0);
	CHECK(!feed(&f, head, sizeof(head), &t));
	CHECK_STR(t.text, " ERROR11");
	CASE("headers");
	t.n = 0;
	hbone_h2frame_init(&f, HBONE_H2_FRAME_MAX);
	hbone_h2frame_write_head(head, HBONE_H2_HEADERS_MAX + 1, HBONE_H2_HEADERS, 4, 1);
	CHECK(!feed(&f, head, sizeof(head), &t));
	CHECK_STR(t.text, " ERROR11");
}

static const struct {
	const char *what, *bytes;
	size_t n;
	int ret;
	u32 stream;
	bool end;
} sent[] = {
#define SENT(what, bytes, ret, stream, end)                                                        \
	{                                                                                          \
		what, bytes, sizeof(bytes) - 1, ret, stream, end                                   \
	}
	SENT("nothing", "", -EINVAL, 0, false),
	SENT("one", HEAD("\0\1", "\1", "\4", "\1") "a", 0, 1, false),
	SENT("one, end", HEAD("\0\1", "\1", "\5", "\3") "a", 0, 3, true),
	SENT("two", HEAD("\0\1", "\1", "\4", "\1") "a" HEAD("\0\0", "\1", "\4", "\3"), -EINVAL, 0,
	     0),
	SENT("continued", HEAD("\0\1", "\1", "\1", "\1") "a" HEAD("\0\1", "\11", "\4", "\1") "b", 0,
	     1, true),
	SENT("half a block", HEAD("\0\1", "\1", "\0", "\1") "a", -EINVAL, 0, 0),
	SENT("half a head", "\0\0\1\1\4", -EINVAL, 0, 0),
	SENT("half a payload", HEAD("\0\2", "\1", "\4", "\1") "a", -EINVAL, 0, 0),
	SENT("more than a block", HEAD("\0\1", "\1", "\4", "\1") "ab", -EINVAL, 0, 0),
	SENT("continued elsewhere",
	     HEAD("\0\1", "\1", "\0", "\1") "a" HEAD("\0\1", "\11", "\4", "\3") "b", -EINVAL, 0, 0),
	SENT("continued by headers",
	     HEAD("\0\1", "\1", "\0", "\1") "a" HEAD("\0\1", "\1", "\4", "\1") "b", -EINVAL, 0, 0),
	SENT("data", HEAD("\0\1", "\0", "\4", "\1") "a", -EINVAL, 0, 0),
	SENT("of the connection", HEAD("\0\1", "\1", "\4", "\0") "a", -EINVAL, 0, 0),
	SENT("too long", "\0\x40\1\1\4\0\0\0\1", -EINVAL, 0, 0),
};

TEST(headers_to_send)
{
	u32 stream;
	bool end;
	size_t i;
	u8 *copy;

	for (i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		CASE(sent[i].what);
		copy = malloc(sent[i].n ? sent[i].n : 1);
		memcpy(copy, sent[i].bytes, sent[i].n);
		CHECK_EQ(hbone_h2frame_check_headers(copy, sent[i].n, MAX_FRAME, &stream, &end),
			 sent[i].ret);
		free(copy);
		if (sent[i].ret)
			continue;
		CHECK_EQ(stream, sent[i].stream);
		CHECK_EQ(end, sent[i].end);
	}
}

/* What the writers write the reader reads. */
TEST(writers)
{
	u8 b[5 * HBONE_H2_SMALL];
	struct hbone_h2frame f;
	struct told t = { .n = 0 };
	size_t n = 0;

	n += hbone_h2frame_write_u32(b + n, HBONE_H2_RST_STREAM, 0x7fffffff, 0xfffffffe);
	n += hbone_h2frame_write_u32(b + n, HBONE_H2_WINDOW_UPDATE, 0, 0x7fffffff);
	n += hbone_h2frame_write_ping_ack(b + n, (const u8 *)"abcdefgh");
	n += hbone_h2frame_write_goaway(b + n, 0x7fffffff, HBONE_H2_ENHANCE_YOUR_CALM);
	n += hbone_h2frame_write_head(b + n, 0, HBONE_H2_SETTINGS, HBONE_H2_ACK, 0);
	hbone_h2frame_init(&f, MAX_FRAME);
	CHECK(feed(&f, b, n, &t));
	CHECK_STR(t.text, " rst2147483647:4294967294 window0:2147483647 ping:abcdefgh!"
			  " goaway2147483647:11 ack");
	CHECK(!memcmp((hbone_h2frame_write_head(b, 0x123456, 0x78, 0x9a, 0x12345678), b),
		      "\x12\x34\x56\x78\x9a\x12\x34\x56\x78", 9));
}

#define MAX HBONE_H2_WINDOW_MAX

static const struct {
	const char *what;
	s32 window;
	u32 by;
	int ret;
	s32 then;
} grows[] = {
	{ "one", 0, 1, 0, 1 },
	{ "to the most", 1, MAX - 1, 0, MAX },
	{ "over the most", 1, MAX, -3, 1 },
	{ "over the most, by one", MAX, 1, -3, MAX },
	{ "from below zero", -5, 4, 0, -1 },
	{ "from the least", -MAX, MAX, 0, 0 },
}, takes[] = {
	{ "all", 10, 10, 0, 0 },
	{ "none of none", 0, 0, 0, 0 },
	{ "one too many", 10, 11, -3, 10 },
	{ "one of none", 0, 1, -3, 0 },
	{ "the longest frame", MAX, HBONE_H2_FRAME_MAX, 0, MAX - HBONE_H2_FRAME_MAX },
	{ "below zero", -1, 0, -3, -1 },
};

static const struct {
	const char *what;
	s32 window;
	u32 old, new;
	int ret;
	s32 then;
} shifts[] = {
	{ "grows", 10, 100, 150, 0, 60 },
	{ "shrinks", 10, 100, 95, 0, 5 },
	{ "below zero", 10, 100, 0, 0, -90 },
	{ "back again", -90, 0, 100, 0, 10 },
	{ "as low as it gets", 0, MAX, 0, 0, -MAX },
	{ "to the most", 0, 0, MAX, 0, MAX },
	{ "over the most", 1, 0, MAX, -3, 1 },
	{ "same", MAX, 7, 7, 0, MAX },
};

static const struct {
	s32 conn, stream;
	u32 room, want;
} rooms[] = {
	{ 10, 20, 30, 10 }, { 20, 10, 30, 10 }, { 20, 30, 10, 10 },  { 0, 10, 10, 0 },
	{ 10, 0, 10, 0 },   { -1, 10, 10, 0 },	{ 10, -MAX, 10, 0 }, { MAX, MAX, 0xffffffff, MAX },
};

TEST(windows)
{
	size_t i;
	s32 w;

	for (i = 0; i < sizeof(grows) / sizeof(grows[0]); i++) {
		CASE(grows[i].what);
		w = grows[i].window;
		CHECK_EQ(hbone_h2frame_window_grow(&w, grows[i].by), grows[i].ret);
		CHECK_EQ(w, grows[i].then);
	}
	for (i = 0; i < sizeof(takes) / sizeof(takes[0]); i++) {
		CASE(takes[i].what);
		w = takes[i].window;
		CHECK_EQ(hbone_h2frame_window_take(&w, takes[i].by), takes[i].ret);
		CHECK_EQ(w, takes[i].then);
	}
	for (i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
		CASE(shifts[i].what);
		w = shifts[i].window;
		CHECK_EQ(hbone_h2frame_window_shift(&w, shifts[i].old, shifts[i].new),
			 shifts[i].ret);
		CHECK_EQ(w, shifts[i].then);
	}
	CASE("room");
	for (i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++)
		CHECK_EQ(hbone_h2frame_window_room(rooms[i].conn, rooms[i].stream, rooms[i].room),
			 rooms[i].want);
}

int main(void)
{
	return harness_run();
}
