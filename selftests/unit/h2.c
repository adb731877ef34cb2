// SPDX-License-Identifier: GPL-2.0-or-later
/* HTTP/2 frames as a pure codec: what each sequence of bytes says, however it is cut. */
#include "harness.h"

#include "base/util.h"
#include "proxy/h2.h"

#include <nghttp2/nghttp2.h>
#include <stdarg.h>

#define MAX_FRAME 20000
#define MAX_BLOCK 4000

/* Events as text, one word each, so that a table can hold what is expected. */
struct trace {
	char text[4096];
	size_t n;
	uint32_t data; /* bytes of DATA so far in this frame */
	uint32_t pad;
};

static void say(struct trace *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += vsnprintf(t->text + t->n, sizeof(t->text) - t->n, fmt, ap);
	va_end(ap);
	if (t->n >= sizeof(t->text))
		t->n = sizeof(t->text) - 1;
}

static void tell(struct trace *t, const struct amb_h2_event *ev)
{
	const char *sep = t->n ? " " : "";

	if (ev->error) {
		say(t, "%serror%u:%u", sep, ev->stream, ev->error);
		return;
	}
	switch (ev->type) {
	case AMB_H2_DATA:
		if (ev->first)
			t->data = t->pad = 0;
		t->data += ev->n;
		t->pad += ev->padding;
		if (t->data + t->pad == ev->length)
			say(t, "%sdata%u:%u+%u%s", sep, ev->stream, t->data, t->pad,
			    ev->end_stream ? "!" : "");
		break;
	case AMB_H2_HEADERS:
		say(t, "%sheaders%u:%u%s", sep, ev->stream, ev->n, ev->end_stream ? "!" : "");
		break;
	case AMB_H2_SETTINGS:
		say(t, "%ssettings:%u%s", sep, ev->n / 6, ev->ack ? "a" : "");
		break;
	case AMB_H2_PING:
		say(t, "%sping:%c%s", sep, ev->p[0], ev->ack ? "a" : "");
		break;
	case AMB_H2_GOAWAY:
		say(t, "%sgoaway:%u:%u", sep, ev->last, ev->value);
		break;
	case AMB_H2_RST_STREAM:
		say(t, "%srst%u:%u", sep, ev->stream, ev->value);
		break;
	case AMB_H2_WINDOW_UPDATE:
		say(t, "%swindow%u:%u", sep, ev->stream, ev->value);
		break;
	default:
		say(t, "%sother%u:%u", sep, ev->type, ev->stream);
		break;
	}
}

/* Feeds @in in pieces of @step bytes, each in memory of its own (so that ASan guards it). */
static void feed(struct amb_h2_parser *p, struct trace *t, const uint8_t *in, size_t len,
		 size_t step)
{
	size_t at;

	for (at = 0; at < len; at += step) {
		size_t k = AMB_MIN(step, len - at), left = k;
		uint8_t *copy = malloc(k), *q = copy;
		struct amb_h2_event ev;
		int r;

		memcpy(copy, in + at, k);
		while ((r = amb_h2_next(p, &q, &left, &ev)) > 0)
			tell(t, &ev);
		if (r < 0)
			say(t, "%sKILL:%d", t->n ? " " : "", -r);
		else if (left)
			say(t, " LEFT");
		free(copy);
		if (r < 0)
			return;
	}
}

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define ACK "\0\0\0\4\1\0\0\0\0"
#define HEAD(len, type, flags, sid) "\0" len type flags "\0\0\0" sid

static const struct {
	const char *what;
	const char *in;
	size_t n;
	const char *out;
	bool server;
} rows[] = {
#define ROW(what, in, out)                                                                         \
	{                                                                                          \
		what, SETTINGS in, sizeof(SETTINGS in) - 1, "settings:0" out, false                \
	}
#define RAW(what, in, out, server)                                                                 \
	{                                                                                          \
		what, in, sizeof(in) - 1, out, server                                              \
	}
	ROW("nothing", "", ""),
	RAW("preface", AMB_H2_PREFACE SETTINGS, "settings:0", true),
	RAW("no preface", "GET / HTTP/1.1\r\n\r\n", "KILL:1", true),
	RAW("preface wrong at its end", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r." SETTINGS, "KILL:1", true),
	RAW("first is not SETTINGS", HEAD("\0\10", "\6", "\0", "\0") "abcdefgh", "KILL:1", false),
	RAW("first is an ACK", ACK, "KILL:1", false),
	ROW("settings with entries", HEAD("\0\14", "\4", "\0", "\0") "\0\3\0\0\0\5\0\4\0\1\0\0",
	    " settings:2"),
	ROW("settings ack", ACK, " settings:0a"),
	ROW("settings ack with payload", HEAD("\0\6", "\4", "\1", "\0") "\0\3\0\0\0\5", " KILL:6"),
	ROW("settings cut", HEAD("\0\5", "\4", "\0", "\0") "\0\3\0\0\0", " KILL:6"),
	ROW("settings on a stream", HEAD("\0\0", "\4", "\0", "\1"), " KILL:1"),
	ROW("ping", HEAD("\0\10", "\6", "\0", "\0") "abcdefgh", " ping:a"),
	ROW("ping ack", HEAD("\0\10", "\6", "\1", "\0") "zbcdefgh", " ping:za"),
	ROW("ping short", HEAD("\0\7", "\6", "\0", "\0") "abcdefg", " KILL:6"),
	ROW("ping on a stream", HEAD("\0\10", "\6", "\0", "\1") "abcdefgh", " KILL:1"),
	ROW("window", HEAD("\0\4", "\10", "\0", "\0") "\0\0\1\0", " window0:256"),
	ROW("window, reserved bit", HEAD("\0\4", "\10", "\0", "\3") "\x80\0\1\0", " window3:256"),
	ROW("window of zero", HEAD("\0\4", "\10", "\0", "\0") "\0\0\0\0", " KILL:1"),
	ROW("window of zero on a stream", HEAD("\0\4", "\10", "\0", "\3") "\0\0\0\0", " error3:1"),
	ROW("window long", HEAD("\0\5", "\10", "\0", "\0") "\0\0\0\1\0", " KILL:6"),
	ROW("rst", HEAD("\0\4", "\3", "\0", "\5") "\0\0\0\10", " rst5:8"),
	ROW("rst on the connection", HEAD("\0\4", "\3", "\0", "\0") "\0\0\0\10", " KILL:1"),
	ROW("rst short", HEAD("\0\3", "\3", "\0", "\5") "\0\0\0", " KILL:6"),
	ROW("goaway", HEAD("\0\10", "\7", "\0", "\0") "\0\0\0\7\0\0\0\2", " goaway:7:2"),
	ROW("goaway with a text", HEAD("\0\15", "\7", "\0", "\0") "\0\0\0\7\0\0\0\2hello" ACK,
	    " goaway:7:2 settings:0a"),
	ROW("goaway short", HEAD("\0\7", "\7", "\0", "\0") "\0\0\0\7\0\0\0", " KILL:6"),
	ROW("push promise", HEAD("\0\4", "\5", "\4", "\1") "\0\0\0\2", " KILL:1"),
	ROW("priority", HEAD("\0\5", "\2", "\0", "\3") "\0\0\0\1\7", " other2:3"),
	ROW("priority short", HEAD("\0\4", "\2", "\0", "\3") "\0\0\0\1", " error3:6"),
	ROW("priority on the connection", HEAD("\0\5", "\2", "\0", "\0") "\0\0\0\1\7", " KILL:1"),
	ROW("unknown type", HEAD("\0\3", "\x7f", "\x55", "\3") "abc" ACK,
	    " other127:3 settings:0a"),
	ROW("unknown type, empty", HEAD("\0\0", "\x7f", "\x55", "\0") ACK,
	    " other127:0 settings:0a"),
	ROW("data", HEAD("\0\5", "\0", "\0", "\1") "hello", " data1:5+0"),
	ROW("data, reserved bit", "\0\0\5\0\0\x80\0\0\1hello", " data1:5+0"),
	ROW("data, end", HEAD("\0\5", "\0", "\1", "\1") "hello", " data1:5+0!"),
	ROW("data, empty", HEAD("\0\0", "\0", "\0", "\1"), " data1:0+0"),
	ROW("data, empty end", HEAD("\0\0", "\0", "\1", "\1"), " data1:0+0!"),
	ROW("data, padded", HEAD("\0\7", "\0", "\11", "\1") "\3abcXXX", " data1:3+4!"),
	ROW("data, padding only", HEAD("\0\4", "\0", "\10", "\1") "\3XXX", " data1:0+4"),
	ROW("data, pad length only", HEAD("\0\1", "\0", "\10", "\1") "\0", " data1:0+1"),
	ROW("data, padded without length", HEAD("\0\0", "\0", "\10", "\1"), " KILL:6"),
	ROW("data, too much padding", HEAD("\0\4", "\0", "\10", "\1") "\4XXX", " KILL:1"),
	ROW("data on the connection", HEAD("\0\1", "\0", "\0", "\0") "a", " KILL:1"),
	ROW("headers", HEAD("\0\3", "\1", "\4", "\1") "abc", " headers1:3"),
	ROW("headers, end", HEAD("\0\3", "\1", "\5", "\1") "abc", " headers1:3!"),
	ROW("headers, empty", HEAD("\0\0", "\1", "\4", "\1"), " headers1:0"),
	ROW("headers, padded", HEAD("\0\6", "\1", "\14", "\1") "\2abcXX", " headers1:3"),
	ROW("headers, priority", HEAD("\0\10", "\1", "\44", "\1") "\0\0\0\0\7abc", " headers1:3"),
	ROW("headers, both", HEAD("\0\12", "\1", "\54", "\1") "\1\0\0\0\0\7abcX", " headers1:3"),
	ROW("headers, padding too long", HEAD("\0\3", "\1", "\14", "\1") "\3ab", " KILL:1"),
	ROW("headers, priority cut", HEAD("\0\4", "\1", "\44", "\1") "\0\0\0\0", " KILL:6"),
	ROW("headers, padded, empty", HEAD("\0\0", "\1", "\14", "\1"), " KILL:6"),
	ROW("headers on the connection", HEAD("\0\1", "\1", "\4", "\0") "a", " KILL:1"),
	ROW("continued",
	    HEAD("\0\3", "\1", "\1", "\1") "abc" HEAD("\0\2", "\11", "\0", "\1") "de" HEAD(
		    "\0\1", "\11", "\4", "\1") "f" ACK,
	    " headers1:6! settings:0a"),
	ROW("continued, all empty", HEAD("\0\0", "\1", "\0", "\1") HEAD("\0\0", "\11", "\4", "\1"),
	    " headers1:0"),
	ROW("continued, padded",
	    HEAD("\0\6", "\1", "\10", "\1") "\2abcXX" HEAD("\0\2", "\11", "\4", "\1") "de",
	    " headers1:5"),
	ROW("continuation of nothing", HEAD("\0\1", "\11", "\4", "\1") "a", " KILL:1"),
	ROW("continuation of another stream",
	    HEAD("\0\1", "\1", "\0", "\1") "a" HEAD("\0\1", "\11", "\4", "\3") "b", " KILL:1"),
	ROW("something between",
	    HEAD("\0\1", "\1", "\0", "\1") "a" HEAD("\0\10", "\6", "\0", "\0") "abcdefgh",
	    " KILL:1"),
	ROW("unknown type between",
	    HEAD("\0\1", "\1", "\0", "\1") "a" HEAD("\0\0", "\x7f", "\0", "\1"), " KILL:1"),
	ROW("too long a frame", "\0\x4e\x21\0\0\0\0\0\1", " KILL:6"),
	ROW("longest frame's head", "\0\x4e\x20\0\0\0\0\0\1", ""),
	ROW("too long a block", HEAD("\x0f\xa1", "\1", "\4", "\1"), " KILL:11"),
	ROW("many at once",
	    HEAD("\0\3", "\1", "\4", "\1") "abc" HEAD("\0\5", "\0", "\0", "\1") "hello" HEAD(
		    "\0\4", "\10", "\0", "\1") "\0\0\0\1" HEAD("\0\0", "\0", "\1", "\1"),
	    " headers1:3 data1:5+0 window1:1 data1:0+0!"),
};

TEST(frames_cut_anywhere)
{
	size_t i, step;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		for (step = 1; step <= rows[i].n; step++) {
			struct amb_h2_parser p;
			struct trace t = { 0 };

			amb_h2_init(&p, rows[i].server, MAX_FRAME, MAX_BLOCK);
			feed(&p, &t, (const uint8_t *)rows[i].in, rows[i].n, step);
			amb_h2_uninit(&p);
			CHECK_STR(t.text, rows[i].out);
		}
	}
}

/* What an idle connection keeps. */
TEST(no_memory_after_a_cut_block)
{
	static const uint8_t in[] = SETTINGS HEAD("\0\3", "\1", "\4", "\1") "abc";
	struct amb_h2_parser p;
	struct trace t = { 0 };

	amb_h2_init(&p, false, MAX_FRAME, MAX_BLOCK);
	feed(&p, &t, in, sizeof(in) - 1, 1);
	CHECK_STR(t.text, "settings:0 headers1:3");
	CHECK(!p.buf);
	amb_h2_uninit(&p);
}

static void put_frames(struct trace *t, const uint8_t *frame, size_t n, int times, size_t step)
{
	struct amb_h2_parser p;
	uint8_t *in = malloc(9 + n * times);
	int i;

	memcpy(in, SETTINGS, 9);
	for (i = 0; i < times; i++)
		memcpy(in + 9 + i * n, frame + (i ? 10 : 0), n);
	amb_h2_init(&p, false, MAX_FRAME, MAX_BLOCK);
	feed(&p, t, in, 9 + n * times, step);
	amb_h2_uninit(&p);
	free(in);
}

TEST(continuation_flood)
{
	/* HEADERS and CONTINUATION of one byte each, never the end. */
	static const uint8_t frames[] =
		HEAD("\0\1", "\1", "\0", "\1") "a" HEAD("\0\1", "\11", "\0", "\1") "b";
	struct trace t = { 0 };

	put_frames(&t, frames, 10, AMB_H2_CONTINUATIONS_MAX + 1, 1000);
	CHECK_STR(t.text, "settings:0");
	memset(&t, 0, sizeof(t));
	put_frames(&t, frames, 10, AMB_H2_CONTINUATIONS_MAX + 2, 1000);
	CHECK_STR(t.text, "settings:0 KILL:11");
}

TEST(block_grows_over_its_bound)
{
	struct amb_h2_parser p;
	struct trace t = { 0 };
	uint8_t in[2 * 2010 + 9];

	memset(in, 'x', sizeof(in));
	memcpy(in, SETTINGS, 9);
	amb_h2_write_head(in + 9, 2001, AMB_H2_HEADERS, 0, 1);
	amb_h2_write_head(in + 9 + 2010, 2000, AMB_H2_CONTINUATION, 0, 1);
	amb_h2_init(&p, false, MAX_FRAME, MAX_BLOCK);
	feed(&p, &t, in, sizeof(in), 100);
	CHECK_STR(t.text, "settings:0 KILL:11");
	amb_h2_uninit(&p);
}

TEST(too_many_settings)
{
	struct amb_h2_parser p;
	struct trace t = { 0 };
	uint8_t in[9 + 6 * (AMB_H2_SETTINGS_MAX + 1)] = { 0 };

	amb_h2_write_head(in, sizeof(in) - 9, AMB_H2_SETTINGS, 0, 0);
	amb_h2_init(&p, false, MAX_FRAME, MAX_BLOCK);
	feed(&p, &t, in, sizeof(in), sizeof(in));
	CHECK_STR(t.text, "KILL:11");
	amb_h2_uninit(&p);
}

TEST(writers_are_read_back)
{
	static const uint32_t entries[2][2] = { { 3, 7 }, { 4, 100000 } };
	struct amb_h2_parser p;
	struct trace t = { 0 };
	uint8_t in[200];
	uint32_t n = 0;

	n += amb_h2_write_settings(in, entries, 2);
	n += amb_h2_write_ping(in + n, true, (const uint8_t *)"abcdefgh");
	n += amb_h2_write_goaway(in + n, 77, AMB_H2_ENHANCE_YOUR_CALM);
	n += amb_h2_write_u32(in + n, AMB_H2_RST_STREAM, 9, AMB_H2_CANCEL);
	n += amb_h2_write_u32(in + n, AMB_H2_WINDOW_UPDATE, 0, AMB_H2_WINDOW_MAX);
	n += amb_h2_write_head(in + n, 0, AMB_H2_DATA, AMB_H2_END_STREAM, 0x12345);
	amb_h2_init(&p, false, MAX_FRAME, MAX_BLOCK);
	feed(&p, &t, in, n, n);
	CHECK_STR(t.text,
		  "settings:2 ping:aa goaway:77:11 rst9:8 window0:2147483647 data74565:0+0!");
	amb_h2_uninit(&p);
}

TEST(settings_values)
{
	static const struct {
		const char *what;
		uint16_t id;
		uint32_t value;
		bool server;
		int out;
	} table[] = {
		{ "push 0 to a server", 2, 0, true, 0 },
		{ "push 1 to a server", 2, 1, true, 0 },
		{ "push 2 to a server", 2, 2, true, -1 },
		{ "push 1 from a server", 2, 1, false, -1 },
		{ "window", 4, 0x7fffffff, true, 0 },
		{ "window too large", 4, 0x80000000, true, -3 },
		{ "frame size", 5, 16384, true, 0 },
		{ "frame size small", 5, 16383, true, -1 },
		{ "frame size large", 5, 0x1000000, true, -1 },
		{ "unknown", 0x99, 0xffffffff, true, 0 },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(table); i++) {
		CASE(table[i].what);
		CHECK_EQ(amb_h2_setting_check(table[i].id, table[i].value, table[i].server),
			 table[i].out);
	}
}

/* Header fields */

#define F(name, value)                                                                             \
	{                                                                                          \
		name, value                                                                        \
	}

static const struct {
	const char *what;
	enum amb_h2_block_kind kind;
	const char *fields[8][2];
	int out;
} blocks[] = {
	{ "connect", AMB_H2_REQUEST, { F(":method", "CONNECT"), F(":authority", "1.2.3.4:80") }, 0 },
	{ "connect with more",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F("baggage", "k=v"), F("x-y", "") },
	  0 },
	{ "get",
	  AMB_H2_REQUEST,
	  { F(":method", "GET"), F(":scheme", "https"), F(":path", "/"), F(":authority", "a") },
	  0 },
	{ "get without authority",
	  AMB_H2_REQUEST,
	  { F(":method", "GET"), F(":scheme", "https"), F(":path", "/") },
	  0 },
	{ "get without path", AMB_H2_REQUEST, { F(":method", "GET"), F(":scheme", "https") }, 1 },
	{ "connect with path",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F(":path", "/") },
	  1 },
	{ "extended connect",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F(":protocol", "websocket") },
	  1 },
	{ "connect without authority", AMB_H2_REQUEST, { F(":method", "CONNECT") }, 1 },
	{ "no method", AMB_H2_REQUEST, { F(":authority", "a:1") }, 1 },
	{ "method twice",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":method", "CONNECT"), F(":authority", "a:1") },
	  1 },
	{ "pseudo after regular",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F("x", "y"), F(":authority", "a:1") },
	  1 },
	{ "status in a request",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F(":status", "200") },
	  1 },
	{ "upper case",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F("Baggage", "k") },
	  1 },
	{ "space in a name",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F("a b", "k") },
	  1 },
	{ "line feed in a value",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F("a", "k\nb") },
	  1 },
	{ "connection",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F("connection", "close") },
	  1 },
	{ "transfer-encoding",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F("transfer-encoding", "chunked") },
	  1 },
	{ "te: trailers",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F("te", "trailers") },
	  0 },
	{ "te: gzip",
	  AMB_H2_REQUEST,
	  { F(":method", "CONNECT"), F(":authority", "a:1"), F("te", "gzip") },
	  1 },
	{ "response", AMB_H2_RESPONSE, { F(":status", "200"), F("baggage", "k=v") }, 0 },
	{ "response without status", AMB_H2_RESPONSE, { F("baggage", "k=v") }, 1 },
	{ "response with method", AMB_H2_RESPONSE, { F(":status", "200"), F(":method", "x") }, 1 },
	{ "trailers", AMB_H2_TRAILERS, { F("grpc-status", "0") }, 0 },
	{ "trailers with status", AMB_H2_TRAILERS, { F(":status", "200") }, 1 },
	{ "empty request", AMB_H2_REQUEST, { F(NULL, NULL) }, 1 },
};

static void count_field(void *ctx, const char *name, size_t namelen, const char *value,
			size_t valuelen)
{
	if (strlen(name) == namelen && strlen(value) == valuelen)
		(*(int *)ctx)++;
}

static ssize_t deflate(uint8_t *to, size_t cap, const char *const (*fields)[2], size_t n)
{
	nghttp2_hd_deflater *def;
	nghttp2_nv nv[512];
	ssize_t len;
	size_t i;

	for (i = 0; i < n; i++)
		nv[i] = (nghttp2_nv){ (uint8_t *)fields[i][0], (uint8_t *)fields[i][1],
				      strlen(fields[i][0]), strlen(fields[i][1]), 0 };
	nghttp2_hd_deflate_new(&def, 4096);
	len = nghttp2_hd_deflate_hd(def, to, cap, nv, n);
	nghttp2_hd_deflate_del(def);
	return len;
}

TEST(header_rules)
{
	uint8_t block[4096];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(blocks); i++) {
		nghttp2_hd_inflater *inf;
		int told = 0, r;
		size_t n = 0;
		ssize_t len;

		CASE(blocks[i].what);
		while (n < 8 && blocks[i].fields[n][0])
			n++;
		len = deflate(block, sizeof(block), blocks[i].fields, n);
		CHECK(len >= 0);
		nghttp2_hd_inflate_new(&inf);
		r = amb_h2_inflate(inf, block, len, blocks[i].kind, 65536, count_field, &told);
		nghttp2_hd_inflate_del(inf);
		CHECK_EQ(r, blocks[i].out);
		if (!r)
			CHECK_EQ(told, n);
	}
}

TEST(header_bombs)
{
	static const char *many[AMB_H2_FIELDS_MAX + 1][2];
	static char value[3000];
	const char *big[8][2];
	uint8_t block[65536];
	nghttp2_hd_inflater *inf;
	int told = 0, i;
	ssize_t len;

	for (i = 0; i <= AMB_H2_FIELDS_MAX; i++) {
		many[i][0] = i ? "a" : ":status";
		many[i][1] = i ? "" : "200";
	}
	len = deflate(block, sizeof(block), many, AMB_H2_FIELDS_MAX + 1);
	nghttp2_hd_inflate_new(&inf);
	CHECK_EQ(amb_h2_inflate(inf, block, len, AMB_H2_RESPONSE, 1 << 20, count_field, &told),
		 -AMB_H2_ENHANCE_YOUR_CALM);
	nghttp2_hd_inflate_del(inf);

	/* One large field, named again and again by one byte each. */
	memset(value, 'v', sizeof(value) - 1);
	for (i = 0; i < 8; i++) {
		big[i][0] = "bomb";
		big[i][1] = value;
	}
	len = deflate(block, sizeof(block), big, 8);
	CHECK(len < 4000);
	nghttp2_hd_inflate_new(&inf);
	CHECK_EQ(amb_h2_inflate(inf, block, len, AMB_H2_TRAILERS, 16384, count_field, &told),
		 -AMB_H2_ENHANCE_YOUR_CALM);
	nghttp2_hd_inflate_del(inf);

	/* Not HPACK at all: an index of nothing. */
	memset(block, 0xff, 10);
	nghttp2_hd_inflate_new(&inf);
	CHECK_EQ(amb_h2_inflate(inf, block, 10, AMB_H2_TRAILERS, 16384, count_field, &told),
		 -AMB_H2_COMPRESSION_ERROR);
	nghttp2_hd_inflate_del(inf);

	/* A literal that ends in the middle. */
	nghttp2_hd_inflate_new(&inf);
	CHECK_EQ(amb_h2_inflate(inf,
				(const uint8_t *)"\x40\x05"
						 "ab",
				4, AMB_H2_TRAILERS, 16384, count_field, &told),
		 -AMB_H2_COMPRESSION_ERROR);
	nghttp2_hd_inflate_del(inf);
}

int main(void)
{
	return harness_run();
}
