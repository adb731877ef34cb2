// SPDX-License-Identifier: GPL-2.0-or-later
/* What a server does with frames that should not be: which scope is hit, and how hard. */
#include "raw.h"

#define CLEAN "settings" /* nothing but our own SETTINGS, ACK and WINDOW_UPDATE was said */

/* Frames as they are on the wire; stream 1 is open with an application. */
#define HEAD(len, type, flags, sid) "\0" len type flags "\0\0\0" sid

static const struct {
	const char *what;
	const char *frames;
	size_t n;
	const char *said; /* must appear, NULL = stream and connection live on */
	bool conn; /* the connection ends */
} rows[] = {
#define ROW(what, frames, said, conn)                                                              \
	{                                                                                          \
		what, frames, sizeof(frames) - 1, said, conn                                       \
	}
	ROW("unknown frame", HEAD("\0\3", "\x7f", "\xff", "\1") "abc", NULL, false),
	ROW("unknown frame on the connection", HEAD("\0\3", "\x7f", "\xff", "\0") "abc", NULL,
	    false),
	ROW("priority", HEAD("\0\5", "\2", "\0", "\1") "\0\0\0\0\1", NULL, false),
	ROW("priority on an idle stream", HEAD("\0\5", "\2", "\0", "\x63") "\0\0\0\0\1", NULL,
	    false),
	ROW("settings unknown", HEAD("\0\6", "\4", "\0", "\0") "\x33\x33\0\0\0\1", NULL, false),
	ROW("settings ack unasked", HEAD("\0\0", "\4", "\1", "\0"), NULL, false),
	ROW("ping ack unasked", HEAD("\0\10", "\6", "\1", "\0") "abcdefgh", NULL, false),
	ROW("reserved bit", "\0\0\4\10\0\x80\0\0\0\x80\0\0\1", NULL, false),
	ROW("empty data", HEAD("\0\0", "\0", "\0", "\1"), NULL, false),
	ROW("padding only", HEAD("\0\4", "\0", "\10", "\1") "\3\0\0\0", NULL, false),
	ROW("ping", HEAD("\0\10", "\6", "\0", "\0") "abcdefgh", "ping:ack", false),

	ROW("window of zero on a stream", HEAD("\0\4", "\10", "\0", "\1") "\0\0\0\0", "rst1:1",
	    false),
	ROW("window overflow on a stream", HEAD("\0\4", "\10", "\0", "\1") "\x7f\xff\xff\xff",
	    "rst1:3", false),
	ROW("priority of wrong length", HEAD("\0\4", "\2", "\0", "\1") "\0\0\0\0", "rst1:6", false),
	ROW("headers without end on an open stream", HEAD("\0\0", "\1", "\4", "\1"), "rst1:1",
	    false),
	ROW("data after its end", HEAD("\0\0", "\0", "\1", "\1") HEAD("\0\1", "\0", "\0", "\1") "x",
	    "rst1:5", false),
	ROW("trailers after its end", HEAD("\0\0", "\0", "\1", "\1") HEAD("\0\0", "\1", "\5", "\1"),
	    "rst1:5", false),

	ROW("data on the connection", HEAD("\0\1", "\0", "\0", "\0") "x", "goaway:1:1", true),
	ROW("data on an idle stream", HEAD("\0\1", "\0", "\0", "\5") "x", "goaway:1:1", true),
	ROW("data on an even stream", HEAD("\0\1", "\0", "\0", "\2") "x", "goaway:1:1", true),
	ROW("headers on an even stream", HEAD("\0\1", "\1", "\4", "\2") "\x82", "goaway:1:1", true),
	ROW("rst of an idle stream", HEAD("\0\4", "\3", "\0", "\5") "\0\0\0\0", "goaway:1:1", true),
	ROW("window of an idle stream", HEAD("\0\4", "\10", "\0", "\5") "\0\0\0\1", "goaway:1:1",
	    true),
	ROW("window overflow", HEAD("\0\4", "\10", "\0", "\0") "\x7f\xff\xff\xff", "goaway:1:3",
	    true),
	ROW("window of zero", HEAD("\0\4", "\10", "\0", "\0") "\0\0\0\0", "goaway:1:1", true),
	ROW("push", HEAD("\0\4", "\5", "\4", "\1") "\0\0\0\2", "goaway:1:1", true),
	ROW("continuation", HEAD("\0\1", "\11", "\4", "\1") "x", "goaway:1:1", true),
	ROW("settings of wrong length", HEAD("\0\5", "\4", "\0", "\0") "12345", "goaway:1:6", true),
	ROW("settings: frame size", HEAD("\0\6", "\4", "\0", "\0") "\0\5\0\0\0\1", "goaway:1:1",
	    true),
	ROW("settings: window", HEAD("\0\6", "\4", "\0", "\0") "\0\4\xff\xff\xff\xff", "goaway:1:3",
	    true),
	ROW("settings: window over a grown one",
	    HEAD("\0\4", "\10", "\0", "\1") "\x7f\0\0\0" HEAD("\0\6", "\4", "\0",
							      "\0") "\0\4\x7f\xff\xff\xff",
	    "goaway:1:3", true),
	ROW("not HPACK", HEAD("\0\4", "\1", "\4", "\3") "\xff\xff\xff\xff", "goaway:", true),
	ROW("too long a frame", "\x7f\xff\xff\0\0\0\0\0\1", "goaway:1:6", true),
};

static struct pair p;
static struct raw *r;
#define FLOWS 4
static struct flow flow[FLOWS], *f;

static void start(const struct amb_hbone_config *config)
{
	int fd[2], i;

	memset(flow, 0, sizeof(flow));
	memset(&p, 0, sizeof(p));
	tcp_pair(fd);
	p.b[1] = pair_bytes(config);
	p.c[1] = amb_hbone_server(p.b[1], fd[0], cred_server, &conn_ops, &p);
	r = raw_start(fd[1], false);
	RAW_UNTIL(r, r->up && p.up[1]);
	raw_preface(r);
	for (i = 0; i < FLOWS; i++) {
		flow[i].pair = &p;
		flow[i].app[0].seed_tx = 1;
		flow[i].app[0].seed_rx = r->seed = 2;
		p.flow[i] = &flow[i];
	}
	f = &flow[0];
}

/* With stream 1 open. */
static void start_open(const struct amb_hbone_config *config)
{
	start(config);
	raw_connect(r, 1, 0);
	raw_flush(r, 16384);
	RAW_UNTIL(r, raw_said(r, "headers1:200"));
}

static void stop(void)
{
	int i;

	raw_stop(r);
	pair_stop(&p);
	for (i = 0; i < FLOWS; i++) {
		if (flow[i].app[1].fd > 0)
			close(flow[i].app[1].fd);
	}
}

static uint64_t abuse(enum amb_hbone_abuse kind)
{
	struct amb_bytes_stats stats;

	amb_bytes_get_stats(p.b[1], &stats);
	return stats.abuse[kind];
}

TEST(each_error_in_its_scope)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		start_open(NULL);
		/* A second stream must not notice errors of the first. */
		raw_add(r, rows[i].frames, rows[i].n);
		raw_flush(r, 16384);
		if (rows[i].conn) {
			RAW_UNTIL(r, p.closed[1]);
			CHECK_EQ(p.reason[1], AMB_REASON_H2);
			RAW_UNTIL(r, r->eof);
			CHECK(raw_said(r, rows[i].said));
			CHECK(raw_said(r, "alert:0"));
		} else {
			bool hit = rows[i].said && !strncmp(rows[i].said, "rst", 3);

			if (rows[i].said)
				RAW_UNTIL(r, raw_said(r, rows[i].said));
			if (!hit)
				raw_data(r, 1, 1, 0, 10, false);
			raw_connect(r, 99, 1);
			raw_flush(r, 16384);
			if (hit)
				RAW_UNTIL(r, raw_said(r, "headers99:200"));
			else
				RAW_UNTIL(r, f->app[1].got == 10);
			CHECK(!p.closed[1] && !raw_said(r, "goaway"));
			CHECK_EQ(f->closed[1], hit);
		}
		stop();
	}
}

TEST(requests_that_are_not_connect)
{
	static const struct {
		const char *what;
		const char *fields[10];
	} table[] = {
		{ "get", { ":method", "GET", ":scheme", "https", ":path", "/", NULL } },
		{ "no authority", { ":method", "CONNECT", NULL } },
		{ "connect with path",
		  { ":method", "CONNECT", ":authority", "0:80", ":path", "/", NULL } },
		{ "upper case", { ":method", "CONNECT", ":authority", "0:80", "X", "y", NULL } },
		{ "authority nobody knows", { ":method", "CONNECT", ":authority", "77:80", NULL } },
		{ "nothing", { NULL } },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(table); i++) {
		CASE(table[i].what);
		start(NULL);
		raw_headers(r, 1, false, table[i].fields);
		raw_flush(r, 16384);
		RAW_UNTIL(r, raw_said(r, "headers1:400!") && raw_said(r, "rst1:0"));
		raw_connect(r, 3, 1);
		raw_flush(r, 16384);
		RAW_UNTIL(r, raw_said(r, "headers3:200"));
		stop();
	}
}

TEST(too_many_streams)
{
	struct amb_hbone_config config = amb_hbone_defaults;
	struct amb_bytes_stats stats;
	int i;

	config.max_streams = 3;
	start(&config);
	p.hold = true;
	for (i = 0; i < 4; i++)
		raw_connect(r, 1 + 2 * i, i % FLOWS);
	raw_flush(r, 16384);
	RAW_UNTIL(r, raw_said(r, "rst7:7"));
	CHECK_EQ(p.requests, 3);
	amb_bytes_get_stats(p.b[1], &stats);
	CHECK_EQ(stats.refused_streams, 1);
	/* One goes, one may come. */
	raw_u32(r, AMB_H2_RST_STREAM, 1, AMB_H2_CANCEL);
	raw_connect(r, 9, 1);
	raw_flush(r, 16384);
	RAW_UNTIL(r, p.requests == 4);
	CHECK(!raw_said(r, "rst9"));
	stop();
}

TEST(stream_window_is_enforced)
{
	struct amb_hbone_config config = amb_hbone_defaults;
	int i;

	config.stream_window = 100000;
	start(&config);
	p.hold = true;
	raw_connect(r, 1, 0);
	for (i = 0; i < 6; i++)
		raw_data(r, 1, 1, 16000 * i, 16000, false);
	raw_flush(r, 16384);
	RAW_UNTIL(r, f->server && f->server->npend == 96000);
	raw_data(r, 1, 1, 96000, 4001, false);
	raw_flush(r, 16384);
	RAW_UNTIL(r, raw_said(r, "rst1:3"));
	CHECK(!p.closed[1]);
	stop();
}

TEST(connection_window_is_enforced)
{
	struct amb_hbone_config config = amb_hbone_defaults;
	int i;

	config.conn_window = 65535;
	config.buffer_memory = 1 << 17; /* nothing is credited before it was delivered */
	start(&config);
	p.hold = true;
	raw_connect(r, 1, 0);
	for (i = 0; i < 4; i++)
		raw_data(r, 1, 1, 16000 * i, 16000, false);
	raw_data(r, 1, 1, 64000, 1536 * 10, false);
	raw_flush(r, 16384);
	RAW_UNTIL(r, p.closed[1]);
	RAW_UNTIL(r, r->eof);
	stop();
}

/* DATA under way when a stream was ended is taken, its window's worth; more is an error. */
TEST(data_for_an_ended_stream)
{
	struct amb_hbone_config config = amb_hbone_defaults;
	int i;

	config.stream_window = 64000;
	start_open(&config);
	amb_stream_abort(f->server, AMB_H2_CANCEL, AMB_REASON_POLICY_CHANGE);
	RAW_UNTIL(r, raw_said(r, "rst1:8"));
	for (i = 0; i < 4; i++)
		raw_data(r, 1, 1, 16000 * i, 16000, false);
	raw_connect(r, 3, 1);
	raw_flush(r, 16384);
	RAW_UNTIL(r, raw_said(r, "headers3:200"));
	raw_data(r, 1, 1, 64000, 1, false);
	raw_flush(r, 16384);
	RAW_UNTIL(r, p.closed[1]);
	RAW_UNTIL(r, r->eof);
	CHECK(raw_said(r, "goaway:3:5"));
	stop();
}

/* Floods: each overdraws its budget and ends the connection, counted by its name. */
static const struct flood {
	const char *what;
	enum amb_hbone_abuse kind;
	const char *frame;
	size_t n;
	int times;
} floods[] = {
#define FLOOD(what, kind, frame, times)                                                            \
	{                                                                                          \
		what, AMB_ABUSE_##kind, frame, sizeof(frame) - 1, times                            \
	}
	FLOOD("ping", PING, HEAD("\0\10", "\6", "\0", "\0") "abcdefgh", 2000),
	FLOOD("settings", SETTINGS, HEAD("\0\0", "\4", "\0", "\0"), 500),
	FLOOD("empty data", EMPTY, HEAD("\0\0", "\0", "\0", "\1"), 5000),
	FLOOD("padded empty data", EMPTY, HEAD("\0\3", "\0", "\10", "\1") "\2\0\0", 5000),
	FLOOD("priority", OTHER, HEAD("\0\5", "\2", "\0", "\1") "\0\0\0\0\1", 10000),
	FLOOD("unknown frames", OTHER, HEAD("\0\0", "\x70", "\0", "\1"), 10000),
	FLOOD("pongs", OTHER, HEAD("\0\10", "\6", "\1", "\0") "abcdefgh", 10000),
	FLOOD("windows by one byte", OTHER, HEAD("\0\4", "\10", "\0", "\1") "\0\0\0\1", 10000),
	FLOOD("bad windows", ERROR, HEAD("\0\4", "\10", "\0", "\1") "\0\0\0\0", 5000),
};

static void flood_until_closed(const struct flood *fl)
{
	int i;

	for (i = 0; i < fl->times && !p.closed[1]; i++) {
		raw_add(r, fl->frame, fl->n);
		if (r->nout > 8000)
			raw_flush(r, 16384);
		raw_pump(r);
	}
	raw_flush(r, 16384);
}

TEST(floods)
{
	struct amb_bytes_stats stats;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(floods); i++) {
		CASE(floods[i].what);
		start_open(NULL);
		flood_until_closed(&floods[i]);
		RAW_UNTIL(r, p.closed[1]);
		CHECK_EQ(p.reason[1], AMB_REASON_LIMIT);
		CHECK_EQ(abuse(floods[i].kind), 1);
		amb_bytes_get_stats(p.b[1], &stats);
		CHECK_EQ(stats.streams, 0);
		RAW_UNTIL(r, r->eof);
		CHECK(raw_said(r, "goaway:1:11") || raw_said(r, "reset"));
		stop();
	}
}

/* Reset before an answer (@hold), or after it and before a byte. */
static void reset_rapidly(bool hold)
{
	int i;

	start(NULL);
	p.hold = hold;
	for (i = 0; i < 3000 && !p.closed[1]; i++) {
		f->server = NULL;
		raw_connect(r, 1 + 2 * i, i % FLOWS);
		raw_u32(r, AMB_H2_RST_STREAM, 1 + 2 * i, AMB_H2_CANCEL);
		if (!(i % 50))
			raw_flush(r, 16384);
		raw_pump(r);
	}
	raw_flush(r, 16384);
	RAW_UNTIL(r, p.closed[1]);
	CHECK_EQ(p.reason[1], AMB_REASON_LIMIT);
	CHECK_EQ(abuse(AMB_ABUSE_RESET), 1);
	CHECK(p.requests < 1000);
	stop();
}

TEST(rapid_reset)
{
	CASE("before the answer");
	reset_rapidly(true);
	CASE("after the answer");
	reset_rapidly(false);
}

TEST(empty_records_and_key_updates)
{
	static const uint8_t update[] = { 24, 0, 0, 1, 0 }, zero[1];
	uint8_t rec[64];
	int i, len;

	start_open(NULL);
	for (i = 0; i < 100 && !p.closed[1]; i++) {
		raw_record(r, update, sizeof(update), AMB_RECORD_HANDSHAKE);
		CHECK(!amb_record_update(r->tx));
		turns(1);
	}
	CHECK(p.closed[1]);
	/* Where the kernel cannot follow the first one is the last (unit/ktls has more of that). */
	CHECK_EQ(abuse(AMB_ABUSE_KEYS), pair_rekeys());
	stop();

	/* A record whose plaintext is its type only: seal one byte of zero content as padding. */
	start_open(NULL);
	for (i = 0; i < 5000 && !p.closed[1]; i++) {
		memcpy(rec + AMB_RECORD_HEAD, zero, 1);
		rec[AMB_RECORD_HEAD] = AMB_RECORD_DATA;
		/* Type 0 is padding: the byte before it becomes the type (RFC 8446 5.4). */
		len = amb_record_seal(r->tx, rec, 1, 0);
		if (len > 0)
			raw_write(r, rec, len);
		raw_pump(r);
	}
	RAW_UNTIL(r, p.closed[1]);
	CHECK_EQ(abuse(AMB_ABUSE_EMPTY), 1);
	stop();
}

TEST(header_bombs)
{
	static char value[2500];
	const char *fields[] = { ":method", "CONNECT", ":authority", "0:80", "bomb", value,
				 "bomb",    value,     "bomb",	     value,  NULL };
	uint8_t block[8192];
	int i;

	memset(value, 'x', sizeof(value) - 1);
	/* Below the limit: a request like any other. */
	start(NULL);
	raw_headers(r, 1, false, fields);
	raw_flush(r, 16384);
	RAW_UNTIL(r, raw_said(r, "headers1:200"));
	stop();

	/* One byte a field from the dynamic table. */
	start(NULL);
	fields[6] = NULL;
	raw_headers(r, 1, false, fields);
	memset(block, 0xbe, sizeof(block));
	raw_frame(r, AMB_H2_HEADERS, AMB_H2_END_HEADERS, 3, block, sizeof(block));
	raw_flush(r, 16384);
	RAW_UNTIL(r, p.closed[1]);
	RAW_UNTIL(r, r->eof);
	CHECK(raw_said(r, ":11"));
	stop();

	/* Continuations without end. */
	start(NULL);
	raw_frame(r, AMB_H2_HEADERS, 0, 1, "\x82", 1);
	for (i = 0; i < 100; i++)
		raw_frame(r, AMB_H2_CONTINUATION, 0, 1, "", 0);
	raw_flush(r, 16384);
	RAW_UNTIL(r, p.closed[1]);
	RAW_UNTIL(r, r->eof);
	CHECK(raw_said(r, "goaway:0:11"));
	stop();
}

/* A peer that never opens its window, nor reads: the application waits, memory does not grow. */
TEST(a_peer_that_does_not_take)
{
	struct amb_bytes_stats stats;
	static const uint8_t huge[] = { 0, 4, 0x7f, 0xff, 0xff, 0xff };

	start_open(NULL);
	plan(&f->app[1], 1ull << 30, false);
	RAW_UNTIL(r, r->data == 65535);
	turns(100);
	amb_bytes_get_stats(p.b[1], &stats);
	CHECK_EQ(stats.used, 0);
	/* Windows wide open, but TCP is not read. */
	raw_frame(r, AMB_H2_SETTINGS, 0, 0, huge, 6);
	raw_u32(r, AMB_H2_WINDOW_UPDATE, 0, 0x7f000000);
	raw_flush(r, 16384);
	r->deaf = true;
	UNTIL(f->server->in_ready && p.c[1]->out_blocked);
	turns(500);
	amb_bytes_get_stats(p.b[1], &stats);
	CHECK(stats.used <= 4 * AMB_HBONE_BACKLOG);
	CHECK(f->app[1].sent < 64 << 20);
	stop();
}

int main(void)
{
	int ret;

	pair_init();
	ret = harness_run();
	pair_uninit();
	return ret;
}
