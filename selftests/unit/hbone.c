// SPDX-License-Identifier: GPL-2.0-or-later
/* HBONE connections: handshake, limits, goaway, pings, keys, endings; against a raw peer too. */
#include "lone.h"

static struct amb_hbone_config config;

static struct amb_hbone_config *base_config(void)
{
	config = amb_hbone_defaults;
	return &config;
}

static void small_transfer(struct pair *p)
{
	struct flow *f = flow_open(p);

	CHECK(f->client);
	plan(&f->app[0], 5000, true);
	CHECK(until(flow_is_open, f));
	plan(&f->app[1], 70000, true);
	CHECK(until(flow_is_over, f));
	UNTIL(f->app[0].eof && f->app[1].eof);
	CHECK_EQ(f->app[1].got, 5000);
	CHECK_EQ(f->app[0].got, 70000);
	CHECK(!f->app[0].bad && !f->app[1].bad);
}

TEST(up_and_peer)
{
	struct pair p;

	pair_start(&p, NULL, NULL);
	CHECK(!amb_hbone_is_up(p.c[0]));
	CHECK_EQ(amb_hbone_slots(p.c[0]), 0);
	CHECK(until(pair_is_up, &p));
	CHECK_STR(amb_hbone_peer(p.c[0])->identity->spiffe,
		  "spiffe://cluster.local/ns/default/sa/server");
	CHECK_STR(amb_hbone_peer(p.c[1])->identity->spiffe,
		  "spiffe://cluster.local/ns/default/sa/client");
	CHECK(amb_hbone_cred(p.c[0]) == cred_client);
	small_transfer(&p);
	CHECK_STR(p.authority, "0:80");
	CHECK(!p.bad);
	CHECK(amb_hbone_memory(p.c[0]) >= sizeof(struct amb_hbone));
	pair_stop(&p);
}

TEST(wrong_identity)
{
	struct pair p;

	pair_start_as(&p, NULL, NULL, "other", &conn_ops);
	UNTIL(p.closed[0] && p.closed[1]);
	CHECK(!p.up[0]);
	CHECK_EQ(p.reason[0], AMB_REASON_PEER_IDENTITY);
	CHECK(*p.text[0]);
	pair_stop(&p);
}

static char asked[512];

static void note_request(struct amb_hbone *c UNUSED, void *owner UNUSED, struct amb_stream *s,
			 const struct amb_hbone_request *req)
{
	snprintf(asked, sizeof(asked), "%s %s %s %s %s %s", req->method, req->authority,
		 req->has_baggage ? req->baggage.ns : "-", req->forwarded ?: "-",
		 req->traceparent ?: "-", req->forwarded_network ?: "-");
	amb_stream_reject(s, 400, AMB_REASON_BAD_AUTHORITY);
}

#define TRACE "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"

/* What a client says of a connection is what a server reads (reference 4.3). */
TEST(fields_of_a_request)
{
	static const struct {
		struct amb_stream_headers h;
		const char *want;
	} rows[] = {
		{ { .authority = "10.0.0.1:80" }, "CONNECT 10.0.0.1:80 - - - -" },
		{ { .authority = "[fd00::1]:80", .forwarded = "for=\"[fd00::2]:1234\"" },
		  "CONNECT [fd00::1]:80 - for=\"[fd00::2]:1234\" - -" },
		{ { .authority = "web.demo.svc:80",
		    .baggage = "k8s.cluster.name=c,k8s.namespace.name=demo",
		    .forwarded = "for=\"10.0.0.1:1\";host=web.demo.svc",
		    .traceparent = TRACE,
		    .forwarded_network = "far" },
		  "CONNECT web.demo.svc:80 demo for=\"10.0.0.1:1\";host=web.demo.svc " TRACE
		  " far" },
		{ { .authority = "10.0.0.1:80", .baggage = "", .traceparent = TRACE },
		  "CONNECT 10.0.0.1:80 - - " TRACE " -" },
	};
	struct amb_hbone_ops ops = conn_ops;
	struct pair p;
	size_t i;

	ops.request = note_request;
	pair_start_as(&p, NULL, NULL, "server", &ops);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		struct flow *f;

		CASE(rows[i].want);
		asked[0] = 0;
		f = flow_open_as(&p, &rows[i].h);
		CHECK(f->client);
		UNTIL(f->closed[0]);
		CHECK_EQ(f->status, 400);
		CHECK_STR(asked, rows[i].want);
	}
	pair_stop(&p);
}

TEST(connect_refused)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(0x7f000001),
				 .sin_port = htons(1) };
	struct pair p = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct amb_identset expect = { 0 };

	connect(fd, (void *)&a, sizeof(a));
	p.b[0] = pair_bytes(NULL);
	p.c[0] = amb_hbone_client(p.b[0], fd, cred_client, &expect, &conn_ops, &p);
	CHECK(p.c[0]);
	UNTIL(p.closed[0]);
	CHECK_EQ(p.reason[0], AMB_REASON_CONNECT);
	pair_stop(&p);
}

/* Peers that say nothing, in each role, and one that stops after the handshake. */
TEST(handshake_deadline)
{
	struct amb_bytes_stats stats;
	struct amb_identset expect = { 0 };
	struct pair p = { 0 };
	struct raw *r;
	int fd[2][2];

	base_config()->handshake_timeout_ns = 100000000;
	tcp_pair(fd[0]);
	tcp_pair(fd[1]);
	p.b[0] = pair_bytes(&config);
	p.b[1] = pair_bytes(&config);
	p.c[0] = amb_hbone_client(p.b[0], fd[0][0], cred_client, &expect, &conn_ops, &p);
	p.c[1] = amb_hbone_server(p.b[1], fd[1][0], cred_server, &conn_ops, &p);
	UNTIL(p.closed[0] && p.closed[1]);
	CHECK_EQ(p.reason[0], AMB_REASON_TIMEOUT);
	CHECK_EQ(p.reason[1], AMB_REASON_TIMEOUT);
	close(fd[0][1]);
	close(fd[1][1]);

	amb_bytes_get_stats(p.b[1], &stats);
	CHECK_EQ(stats.handshake_timeouts, 1);
	pair_stop(&p);

	/* The handshake has to be over by then, also where the CPU is emulated and has no time. */
	memset(&p, 0, sizeof(p));
	base_config()->handshake_timeout_ns = 3000000000;
	p.b[1] = pair_bytes(&config);
	tcp_pair(fd[0]);
	p.c[1] = amb_hbone_server(p.b[1], fd[0][0], cred_server, &conn_ops, &p);
	r = raw_start(fd[0][1], false);
	RAW_UNTIL(r, p.closed[1]);
	CHECK(p.up[1] && r->up);
	CHECK_EQ(p.reason[1], AMB_REASON_TIMEOUT);
	amb_bytes_get_stats(p.b[1], &stats);
	CHECK_EQ(stats.handshake_timeouts, 1);
	raw_stop(r);
	pair_stop(&p);
}

TEST(plain_http_is_refused)
{
	static const char hello[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	struct pair p = { 0 };
	int fd[2];

	tcp_pair(fd);
	p.b[1] = pair_bytes(NULL);
	p.c[1] = amb_hbone_server(p.b[1], fd[0], cred_server, &conn_ops, &p);
	CHECK_EQ(send(fd[1], hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
	UNTIL(p.closed[1]);
	CHECK(!p.up[1]);
	CHECK_EQ(p.reason[1], AMB_REASON_TLS);
	close(fd[1]);
	pair_stop(&p);
}

TEST(stream_limit_of_the_peer)
{
	struct flow *f[6];
	struct pair p;
	int i;

	base_config()->max_streams = 5;
	pair_start(&p, NULL, &config);
	CHECK(until(pair_is_up, &p));
	CHECK_EQ(amb_hbone_slots(p.c[0]), 5);
	for (i = 0; i < 5; i++) {
		f[i] = flow_open(&p);
		CHECK(f[i]->client);
	}
	CHECK_EQ(amb_hbone_slots(p.c[0]), 0);
	f[5] = flow_open(&p);
	CHECK(!f[5]->client);
	for (i = 0; i < 5; i++)
		CHECK(until(flow_is_open, f[i]));
	p.rooms = 0;
	amb_stream_abort(f[2]->client, AMB_H2_CANCEL, AMB_REASON_POD_GONE);
	UNTIL(p.rooms);
	CHECK_EQ(amb_hbone_slots(p.c[0]), 1);
	pair_stop(&p);
}

TEST(drained_by_the_server)
{
	struct pair p;
	struct flow *f;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	f = flow_open(&p);
	CHECK(until(flow_is_open, f));
	amb_hbone_drain(p.c[1]);
	UNTIL(!amb_hbone_slots(p.c[0]));
	turns(30);
	CHECK(!p.closed[0] && !p.closed[1]);
	CHECK(p.c[1]->goaway_last);
	plan(&f->app[0], 1 << 20, true);
	plan(&f->app[1], 1 << 20, true);
	UNTIL(f->app[0].eof && f->app[1].eof);
	CHECK_EQ(f->app[1].got, 1 << 20);
	UNTIL(p.closed[0] && p.closed[1]);
	CHECK_EQ(p.reason[0], AMB_REASON_NONE);
	CHECK_EQ(p.reason[1], AMB_REASON_NONE);
	CHECK_EQ(f->reason[0], AMB_REASON_NONE);
	pair_stop(&p);
}

TEST(drained_by_the_client)
{
	struct pair p;
	struct flow *f;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	f = flow_open(&p);
	CHECK(until(flow_is_open, f));
	amb_hbone_drain(p.c[0]);
	CHECK_EQ(amb_hbone_slots(p.c[0]), 0);
	plan(&f->app[0], 100000, true);
	plan(&f->app[1], 100000, true);
	UNTIL(p.closed[0] && p.closed[1]);
	CHECK_EQ(p.reason[0], AMB_REASON_NONE);
	CHECK_EQ(p.reason[1], AMB_REASON_NONE);
	UNTIL(f->app[0].eof && f->app[1].eof);
	CHECK_EQ(f->app[0].got, 100000);
	pair_stop(&p);
}

TEST(drained_idle)
{
	struct pair p;
	int i;

	for (i = 0; i < 2; i++) {
		pair_start(&p, NULL, NULL);
		CHECK(until(pair_is_up, &p));
		amb_hbone_drain(p.c[i]);
		CHECK(!p.closed[i]);
		UNTIL(p.closed[0] && p.closed[1]);
		CHECK_EQ(p.reason[0], AMB_REASON_NONE);
		CHECK_EQ(p.reason[1], AMB_REASON_NONE);
		pair_stop(&p);
	}
}

TEST(aborted_connection)
{
	struct pair p;
	struct flow *f;
	int i;

	for (i = 0; i < 2; i++) {
		pair_start(&p, NULL, NULL);
		CHECK(until(pair_is_up, &p));
		f = flow_open(&p);
		plan(&f->app[0], 1 << 30, false);
		CHECK(until(flow_is_open, f));
		UNTIL(f->app[1].got > 1000000);
		amb_hbone_abort(p.c[i], AMB_REASON_POD_GONE, "gone");
		CHECK(p.closed[i] && f->closed[i]);
		CHECK_EQ(p.reason[i], AMB_REASON_POD_GONE);
		CHECK_EQ(f->reason[i], AMB_REASON_POD_GONE);
		UNTIL(p.closed[!i] && f->closed[!i]);
		CHECK_EQ(f->reason[!i], AMB_REASON_RESET);
		UNTIL(f->app[0].err && f->app[1].err);
		pair_stop(&p);
	}
}

/* Callbacks that end what is being worked on. */
static struct pair *evil;

static void evil_closed(struct amb_stream *s UNUSED, void *owner UNUSED,
			enum amb_reason reason UNUSED, const char *text UNUSED)
{
	unsigned int i;

	for (i = 0; i < evil->nflow; i++) {
		struct flow *f = evil->flow[i];

		if (f->client && f->client != s) {
			struct amb_stream *other = f->client;

			f->client = NULL;
			amb_stream_abort(other, AMB_H2_CANCEL, AMB_REASON_INTERNAL);
		}
	}
	if (evil->c[0])
		amb_hbone_abort(evil->c[0], AMB_REASON_INTERNAL, "evil");
}

static const struct amb_stream_ops evil_ops = { .response = on_response, .closed = evil_closed };

TEST(callbacks_may_end_anything)
{
	struct flow *f[5];
	struct pair p;
	int i;

	pair_start(&p, NULL, NULL);
	evil = &p;
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < 5; i++) {
		f[i] = flow_open(&p);
		CHECK(until(flow_is_open, f[i]));
		amb_stream_set_owner(f[i]->client, &evil_ops, f[i]);
		plan(&f[i]->app[1], 1 << 20, true);
	}
	/* All five deliver in one turn; the first whose application is gone ends the rest. */
	reset_on_close(f[2]->app[0].fd);
	close(f[2]->app[0].fd);
	f[2]->app[0].fd = -1;
	UNTIL(p.closed[0] && p.closed[1]);
	CHECK_EQ(p.reason[0], AMB_REASON_INTERNAL);
	pair_stop(&p);
}

/* Every 40 records new keys, and the connection is not offered any more. */
TEST(keys_are_renewed_at_the_limit)
{
	struct pair p;
	struct flow *f;

	base_config()->record_limit = 40;
	pair_start(&p, &config, &config);
	CHECK(until(pair_is_up, &p));
	f = flow_open(&p);
	CHECK(until(flow_is_open, f));
	plan(&f->app[0], 4 << 20, true);
	plan(&f->app[1], 4 << 20, true);
	UNTIL(f->app[0].eof && f->app[1].eof);
	CHECK_EQ(f->app[0].got, 4 << 20);
	CHECK_EQ(f->app[1].got, 4 << 20);
	CHECK(!f->app[0].bad && !f->app[1].bad);
	UNTIL(p.closed[0] && p.closed[1]);
	CHECK_EQ(p.reason[0], AMB_REASON_NONE);
	CHECK_EQ(f->reason[0], AMB_REASON_NONE);
	pair_stop(&p);
}

TEST(pings_keep_it_alive)
{
	struct pair p;

	base_config()->ping_interval_ns = 20000000;
	config.ping_timeout_ns = 2000000000;
	pair_start(&p, &config, &config);
	CHECK(until(pair_is_up, &p));
	small_transfer(&p);
	UNTIL(p.c[0]->pinging);
	UNTIL(!p.c[0]->pinging);
	UNTIL(p.c[1]->pinging);
	UNTIL(!p.c[1]->pinging);
	CHECK(!p.closed[0] && !p.closed[1]);
	pair_stop(&p);
}

/* Raw peers from here on. */

static void lone_begin(struct lone *l, bool engine_is_server)
{
	lone_start(l, engine_is_server, &config);
}

static uint64_t get_id(const uint8_t payload[8])
{
	uint64_t id;

	memcpy(&id, payload, sizeof(id));
	return id;
}

TEST(ping_timeout)
{
	struct lone l;
	int me;

	for (me = 0; me < 2; me++) {
		base_config()->ping_interval_ns = 20000000;
		config.ping_timeout_ns = 50000000;
		lone_begin(&l, me);
		RAW_UNTIL(l.r, l.p.closed[me]);
		CHECK_EQ(l.p.reason[me], AMB_REASON_TIMEOUT);
		RAW_UNTIL(l.r, l.r->eof);
		/* The server says goodbye, the client just goes (reference 4.6). */
		CHECK_EQ(raw_said(l.r, "goaway:0:0"), me);
		lone_stop(&l);
	}
}

/* What the other side is told at first (reference 4.6): 1 header table, 2 push, 3 streams, ... */
TEST(first_settings)
{
	static const struct {
		bool server;
		const char *settings;
	} rows[] = {
		{ false, " 4=4194304 5=1048576 6=16384 2=0" },
		{ true, " 4=4194304 5=1048576 6=65536 3=200 65232=1" },
	};
	struct lone l;
	size_t i;

	base_config();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].server ? "server" : "client");
		lone_begin(&l, rows[i].server);
		/* 16 MiB, of which HTTP/2 gives 65535 bytes by itself. */
		RAW_UNTIL(l.r, raw_said(l.r, "window0:16711681"));
		CHECK_STR(l.r->settings, rows[i].settings);
		lone_stop(&l);
	}
}

TEST(bytes_before_the_answer)
{
	struct lone l;
	struct flow *f;

	base_config();
	lone_begin(&l, true);
	l.p.hold = true;
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	raw_data(l.r, 1, 1, 0, 16000, false);
	raw_data(l.r, 1, 1, 16000, 16000, false);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->server && f->server->npend == 32000);
	raw_data(l.r, 1, 1, 32000, 10, true);
	flow_accept(f);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->app[1].eof);
	CHECK_EQ(f->app[1].got, 32010);
	CHECK(!f->app[1].bad);
	plan(&f->app[1], 50000, true);
	RAW_UNTIL(l.r, raw_said(l.r, "end1"));
	CHECK_EQ(l.r->data, 50000);
	CHECK(!l.r->bad_data);
	RAW_UNTIL(l.r, f->closed[1]);
	CHECK_EQ(f->reason[1], AMB_REASON_NONE);
	lone_stop(&l);
}

static void say_setting(struct lone *l, uint16_t id, uint32_t value)
{
	uint8_t entry[6] = { id >> 8, id, value >> 24, value >> 16, value >> 8, value };

	raw_frame(l->r, AMB_H2_SETTINGS, 0, 0, entry, sizeof(entry));
	raw_flush(l->r, 16384);
}

static void answer(struct lone *l, const char *status, bool end)
{
	const char *const fields[] = { ":status", status, NULL };

	raw_headers(l->r, 1, end, fields);
	raw_flush(l->r, 16384);
}

/*
 * A client says what its application said before the answer where the server's SETTINGS take that,
 * within a limit, and never the end; what a refusal leaves of it is lost with the connection.
 */
TEST(bytes_before_its_answer)
{
	static const struct {
		const char *name;
		uint32_t setting, first, bytes; /* said before the stream is opened, and in all */
		uint64_t early; /* that come before the answer */
		const char *status;
	} rows[] = {
		{ "not told", 0, 100, 100, 0, "200" },
		{ "a number that is none", 2, 100, 100, 0, "200" },
		{ "at once", 1, 100, 100, 100, "200" },
		{ "a little later", 1, 0, 100, 100, "200" },
		{ "nothing", 1, 0, 0, 0, "200" },
		{ "much", 1, 60000, 300000, AMB_STREAM_EARLY, "200" },
		{ "refused", 1, 100, 100, 100, "403" },
		{ "refused untold", 0, 100, 100, 0, "403" },
	};
	struct lone l;
	struct flow *f;
	uint64_t records;
	size_t i;

	base_config();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		bool ok = !strcmp(rows[i].status, "200");

		CASE(rows[i].name);
		lone_begin(&l, false);
		l.r->seed = 1;
		say_setting(&l, AMB_H2_INITIAL_WINDOW_SIZE, 1 << 20);
		if (rows[i].setting)
			say_setting(&l, AMB_H2_EARLY_DATA, rows[i].setting);
		raw_u32(l.r, AMB_H2_WINDOW_UPDATE, 0, 1 << 20);
		raw_flush(l.r, 16384);
		RAW_UNTIL(l.r, l.p.c[0]->send_window > 1 << 20);
		CHECK_EQ(l.p.c[0]->early, rows[i].setting == 1);
		records = amb_hbone_records(l.p.c[0]).sent;
		l.p.first_words = rows[i].first;
		f = flow_open(&l.p);
		plan(&f->app[0], rows[i].bytes - rows[i].first, true);
		RAW_UNTIL(l.r, raw_said(l.r, "headers1") && l.r->data >= rows[i].early);
		/* With what it said first: the CONNECT's record has room for as much. */
		if (rows[i].first == rows[i].bytes) {
			turns(1);
			CHECK_EQ(amb_hbone_records(l.p.c[0]).sent, records + 1);
		}
		turns(20);
		raw_pump(l.r);
		CHECK_EQ(l.r->data, rows[i].early);
		CHECK(!raw_said(l.r, "end1") && !f->app[0].eof && !f->app[0].err);
		answer(&l, rows[i].status, !ok);
		RAW_UNTIL(l.r, ok ? raw_said(l.r, "end1") : f->closed[0]);
		CHECK_EQ(l.r->data, ok ? rows[i].bytes : rows[i].early);
		CHECK(!l.r->bad_data);
		if (ok) {
			raw_data(l.r, 1, 2, 0, 1000, true);
			raw_flush(l.r, 16384);
			RAW_UNTIL(l.r, f->app[0].eof && f->closed[0]);
			CHECK(f->app[0].got == 1000 && !f->app[0].bad);
			CHECK_EQ(f->reason[0], AMB_REASON_NONE);
		} else {
			CHECK_EQ(f->reason[0], AMB_REASON_CONNECT_STATUS);
			RAW_UNTIL(l.r, f->app[0].err == ECONNRESET);
		}
		CHECK(!l.p.closed[0]);
		lone_stop(&l);
	}
}

/* tcpi_segs_in of linux/tcp.h's struct tcp_info; the C library's ends before it. */
static uint32_t segments(int fd)
{
	uint32_t info[64] = { 0 };
	socklen_t len = sizeof(info);

	CHECK(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len));
	return info[140 / sizeof(*info)];
}

/* The FIN of an end that is known leaves with the bytes before it. */
TEST(end_comes_with_the_last_bytes)
{
	uint32_t before;
	struct lone l;
	struct flow *f;

	base_config();
	lone_begin(&l, true);
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->app[1].fd >= 0);
	before = segments(f->app[1].fd);
	raw_data(l.r, 1, 1, 0, 1000, true);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->app[1].eof);
	CHECK(f->app[1].got == 1000 && !f->app[1].bad);
	CHECK_EQ(segments(f->app[1].fd), before + 1);
	lone_stop(&l);
}

/* The same bytes, their records cut everywhere: frames know nothing of records. */
TEST(records_cut_frames_anywhere)
{
	struct lone l;
	struct flow *f;
	size_t step;

	base_config();
	for (step = 1; step < 60; step += step < 20 ? 1 : 13) {
		lone_begin(&l, true);
		f = lone_flow(&l);
		raw_connect(l.r, 1, 0);
		raw_data(l.r, 1, 1, 0, 100, false);
		raw_u32(l.r, AMB_H2_WINDOW_UPDATE, 0, 1000);
		raw_data(l.r, 1, 1, 100, 37, true);
		raw_flush(l.r, step);
		RAW_UNTIL(l.r, f->app[1].eof);
		CHECK_EQ(f->app[1].got, 137);
		CHECK(!f->app[1].bad);
		lone_stop(&l);
	}
}

/* One byte of TCP at a time. */
TEST(segments_cut_records_anywhere)
{
	uint8_t rec[400];
	struct lone l;
	struct flow *f;
	int len, i;

	base_config();
	lone_begin(&l, true);
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	raw_data(l.r, 1, 1, 0, 200, true);
	memcpy(rec + AMB_RECORD_HEAD, l.r->out, l.r->nout);
	len = amb_record_seal(l.r->tx, rec, l.r->nout, AMB_RECORD_DATA);
	for (i = 0; i < len; i++) {
		raw_write(l.r, rec + i, 1);
		turns(2);
	}
	RAW_UNTIL(l.r, f->app[1].eof);
	CHECK_EQ(f->app[1].got, 200);
	CHECK(!f->app[1].bad);
	lone_stop(&l);
}

/* Key updates, asked back and not, in the middle of a stream. */
TEST(tls_messages_in_mid_stream)
{
	static const uint8_t update[] = { 24, 0, 0, 1, 0 }, update_back[] = { 24, 0, 0, 1, 1 };
	struct lone l;
	struct flow *f;

	base_config();
	lone_begin(&l, true);
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	raw_data(l.r, 1, 1, 0, 100, false);
	raw_flush(l.r, 50);
	raw_data(l.r, 1, 1, 100, 100, false);
	raw_flush(l.r, 70);
	if (pair_rekeys()) {
		raw_record(l.r, update, sizeof(update), AMB_RECORD_HANDSHAKE);
		CHECK(!amb_record_update(l.r->tx));
	}
	raw_data(l.r, 1, 1, 200, 100, false);
	raw_flush(l.r, 70);
	if (pair_rekeys()) {
		raw_record(l.r, update_back, sizeof(update_back), AMB_RECORD_HANDSHAKE);
		CHECK(!amb_record_update(l.r->tx));
	}
	raw_data(l.r, 1, 1, 300, 100, true);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->app[1].eof);
	CHECK_EQ(f->app[1].got, 400);
	CHECK(!f->app[1].bad);
	RAW_UNTIL(l.r, raw_said(l.r, "handshake:24") == pair_rekeys());
	plan(&f->app[1], 20000, true);
	RAW_UNTIL(l.r, raw_said(l.r, "end1"));
	CHECK_EQ(l.r->data, 20000);
	CHECK(!l.r->bad_data && !raw_said(l.r, "BAD"));
	lone_stop(&l);
}

/* Servers send tickets: whole, in two records, two in one. */
TEST(tickets_are_ignored)
{
	static const char *const fields[] = { ":status", "200", NULL };
	uint8_t ticket[200] = { 4, 0, 0, sizeof(ticket) / 2 - 4 };
	struct lone l;
	struct flow *f;

	memcpy(ticket + 100, ticket, 100);
	base_config();
	lone_begin(&l, false);
	raw_record(l.r, ticket, 100, AMB_RECORD_HANDSHAKE);
	raw_record(l.r, ticket, 3, AMB_RECORD_HANDSHAKE);
	raw_record(l.r, ticket + 3, 97, AMB_RECORD_HANDSHAKE);
	f = flow_open(&l.p);
	RAW_UNTIL(l.r, raw_said(l.r, "headers1"));
	raw_headers(l.r, 1, false, fields);
	raw_record(l.r, ticket, sizeof(ticket), AMB_RECORD_HANDSHAKE);
	raw_data(l.r, 1, 2, 0, 700, true);
	raw_flush(l.r, 100);
	RAW_UNTIL(l.r, f->app[0].eof);
	CHECK_EQ(f->app[0].got, 700);
	CHECK(!f->app[0].bad);
	lone_stop(&l);
}

TEST(close_notify_is_answered)
{
	static const uint8_t bye[] = { 1, 0 };
	struct lone l;

	base_config();
	lone_begin(&l, true);
	raw_record(l.r, bye, 2, AMB_RECORD_ALERT);
	RAW_UNTIL(l.r, l.p.closed[1]);
	CHECK_EQ(l.p.reason[1], AMB_REASON_NONE);
	RAW_UNTIL(l.r, l.r->eof);
	lone_stop(&l);
}

TEST(alerts_and_bad_records)
{
	static const uint8_t garbage[] =
		"\x17\x03\x03\x00\x30 0123456789012345678901234567890123456789012345678";
	static const uint8_t fatal[] = { 2, 40 }, hello[] = { 1, 0, 0, 1, 0 };
	static const uint8_t two_updates[] = { 24, 0, 0, 1, 0, 24, 0, 0, 1, 0 };
	static const uint8_t ticket[] = { 4, 0, 0, 1, 0 };
	static const struct {
		const char *what;
		const uint8_t *bytes;
		size_t n;
		int type; /* 0 = as they are */
		const char *said;
	} rows[] = {
		{ "record that does not open", garbage, 53, 0, "alert:20" },
		{ "plain HTTP", (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18, 0, "alert:22" },
		{ "fatal alert", fatal, 2, AMB_RECORD_ALERT, "" },
		{ "alert of one byte", fatal, 1, AMB_RECORD_ALERT, "alert:50" },
		{ "a new hello", hello, 5, AMB_RECORD_HANDSHAKE, "alert:10" },
		{ "a client's ticket", ticket, 5, AMB_RECORD_HANDSHAKE, "alert:10" },
		{ "bytes behind a key update", two_updates, 10, AMB_RECORD_HANDSHAKE, "alert:10" },
	};
	struct lone l;
	size_t i;

	base_config();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		lone_begin(&l, true);
		if (rows[i].type)
			raw_record(l.r, rows[i].bytes, rows[i].n, rows[i].type);
		else
			raw_write(l.r, rows[i].bytes, rows[i].n);
		RAW_UNTIL(l.r, l.p.closed[1]);
		CHECK_EQ(l.p.reason[1], AMB_REASON_TLS);
		RAW_UNTIL(l.r, l.r->eof);
		CHECK(raw_said(l.r, rows[i].said));
		lone_stop(&l);
	}
}

/* The limit follows every SETTINGS, up and down. */
TEST(stream_limit_moves)
{
	static const struct {
		uint8_t entry[6];
		unsigned int slots;
	} rows[] = {
		{ { 0, 3, 0, 0, 0, 7 }, 7 },
		{ { 0, 3, 0, 0, 0, 0 }, 0 },
		{ { 0, 3, 0, 0, 1, 0 }, 256 },
	};
	struct lone l;
	size_t i;

	base_config();
	lone_begin(&l, false);
	CHECK_EQ(amb_hbone_slots(l.p.c[0]), AMB_H2_STREAM_MAX);
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		l.p.rooms = 0;
		raw_frame(l.r, AMB_H2_SETTINGS, 0, 0, rows[i].entry, 6);
		raw_flush(l.r, 16384);
		RAW_UNTIL(l.r, l.p.rooms);
		CHECK_EQ(amb_hbone_slots(l.p.c[0]), rows[i].slots);
	}
	lone_stop(&l);
}

/* A peer shrinks the windows of open streams below zero, then opens them. */
TEST(window_goes_negative)
{
	static const uint8_t none[] = { 0, 4, 0, 0, 0, 0 }, some[] = { 0, 4, 0, 0, 0x80, 0 };
	struct lone l;
	struct flow *f;

	base_config();
	lone_begin(&l, true);
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->server);
	plan(&f->app[1], 200000, true);
	RAW_UNTIL(l.r, l.r->data == 65535);
	raw_frame(l.r, AMB_H2_SETTINGS, 0, 0, none, 6);
	raw_u32(l.r, AMB_H2_WINDOW_UPDATE, 0, 1 << 20);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->server->send_window == -65535);
	raw_u32(l.r, AMB_H2_WINDOW_UPDATE, 1, 65535);
	raw_flush(l.r, 16384);
	turns(20);
	raw_pump(l.r);
	CHECK_EQ(l.r->data, 65535);
	raw_u32(l.r, AMB_H2_WINDOW_UPDATE, 1, 5);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, l.r->data == 65540);
	raw_frame(l.r, AMB_H2_SETTINGS, 0, 0, some, 6);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, l.r->data == 65540 + 0x8000);
	raw_u32(l.r, AMB_H2_WINDOW_UPDATE, 1, 1 << 20);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, raw_said(l.r, "end1"));
	CHECK_EQ(l.r->data, 200000);
	CHECK(!l.r->bad_data);
	lone_stop(&l);
}

/* RST_STREAM with NO_ERROR and CANCEL is an end of data; other codes are resets. */
TEST(resets_from_the_peer)
{
	static const struct {
		uint32_t code;
		bool reset;
	} rows[] = { { AMB_H2_NO_ERROR, false },      { AMB_H2_CANCEL, false },
		     { AMB_H2_INTERNAL_ERROR, true }, { AMB_H2_CONNECT_ERROR, true },
		     { AMB_H2_STREAM_CLOSED, true },  { 12345, true } };
	struct lone l;
	struct flow *f;
	size_t i;

	base_config();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(amb_h2_error_text(rows[i].code));
		lone_begin(&l, true);
		f = lone_flow(&l);
		raw_connect(l.r, 1, 0);
		raw_data(l.r, 1, 1, 0, 1000, false);
		raw_flush(l.r, 16384);
		RAW_UNTIL(l.r, f->app[1].got == 1000);
		raw_u32(l.r, AMB_H2_RST_STREAM, 1, rows[i].code);
		raw_flush(l.r, 16384);
		RAW_UNTIL(l.r, f->closed[1]);
		CHECK_EQ(f->reason[1], rows[i].reset ? AMB_REASON_RESET : AMB_REASON_NONE);
		UNTIL(f->app[1].eof || f->app[1].err);
		CHECK_EQ(f->app[1].eof, !rows[i].reset);
		CHECK(!l.p.closed[1]);
		lone_stop(&l);
	}
}

TEST(client_sees_odd_answers)
{
	static const char *const ok[] = { ":status", "200", NULL };
	static const char *const early[] = { ":status", "103", NULL };
	static const char *const none[] = { "x", "y", NULL };
	static const char *const text[] = { ":status", "abc", NULL };
	static const char *const forbidden[] = { ":status", "403", NULL };
	struct lone l;
	struct flow *f[5];
	int i;

	base_config();
	lone_begin(&l, false);
	for (i = 0; i < 5; i++) {
		f[i] = flow_open(&l.p);
		CHECK(f[i]->client);
	}
	RAW_UNTIL(l.r, raw_said(l.r, "headers9"));
	raw_headers(l.r, 1, false, early);
	raw_headers(l.r, 1, false, ok);
	raw_headers(l.r, 3, false, none);
	raw_headers(l.r, 5, false, text);
	raw_headers(l.r, 7, true, forbidden);
	raw_data(l.r, 9, 2, 0, 10, false);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f[1]->closed[0] && f[2]->closed[0] && f[3]->closed[0] && f[4]->closed[0]);
	CHECK_EQ(f[0]->status, 200);
	CHECK_EQ(f[1]->reason[0], AMB_REASON_H2);
	CHECK_EQ(f[2]->reason[0], AMB_REASON_H2);
	CHECK_EQ(f[3]->status, 403);
	CHECK_EQ(f[3]->reason[0], AMB_REASON_CONNECT_STATUS);
	CHECK_EQ(f[4]->reason[0], AMB_REASON_H2); /* DATA before an answer */
	RAW_UNTIL(l.r, raw_said(l.r, "rst9:1"));
	CHECK(raw_said(l.r, "rst3:1") && raw_said(l.r, "rst5:1"));
	CHECK(!f[0]->closed[0] && !l.p.closed[0]);
	lone_stop(&l);
}

TEST(goaway_refuses_later_streams)
{
	static const uint8_t last3[] = { 0, 0, 0, 3, 0, 0, 0, 0 };
	static const char *const ok[] = { ":status", "200", NULL };
	struct flow *f[4];
	struct lone l;
	int i;

	base_config();
	lone_begin(&l, false);
	for (i = 0; i < 4; i++)
		f[i] = flow_open(&l.p);
	RAW_UNTIL(l.r, raw_said(l.r, "headers7"));
	raw_headers(l.r, 1, false, ok);
	raw_headers(l.r, 3, false, ok);
	raw_frame(l.r, AMB_H2_GOAWAY, 0, 0, last3, 8);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f[2]->closed[0] && f[3]->closed[0]);
	CHECK_EQ(f[2]->reason[0], AMB_REASON_H2);
	CHECK_EQ(amb_hbone_slots(l.p.c[0]), 0);
	CHECK(!f[0]->closed[0] && !f[1]->closed[0] && !l.p.closed[0]);
	raw_data(l.r, 1, 2, 0, 100, true);
	raw_u32(l.r, AMB_H2_RST_STREAM, 3, AMB_H2_CANCEL);
	raw_flush(l.r, 16384);
	plan(&f[0]->app[0], 10, true);
	RAW_UNTIL(l.r, l.p.closed[0]);
	CHECK_EQ(l.p.reason[0], AMB_REASON_NONE);
	CHECK_EQ(f[0]->reason[0], AMB_REASON_NONE);
	lone_stop(&l);
}

/* A server that keeps a client's connection although it drained sees later streams refused. */
TEST(streams_after_the_last_goaway)
{
	struct lone l;
	struct flow *f;

	base_config();
	lone_begin(&l, true);
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->server);
	l.r->answer_pings = true;
	amb_hbone_drain(l.p.c[1]);
	RAW_UNTIL(l.r, raw_said(l.r, "goaway:2147483647:0") && raw_said(l.r, "goaway:1:0"));
	raw_connect(l.r, 3, 0);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, raw_said(l.r, "rst3:7"));
	CHECK(!l.p.closed[1]);
	CHECK_EQ(l.p.requests, 1);
	lone_stop(&l);
}

/* The pong to the ping of the first GOAWAY comes when the next keepalive ping went already. */
TEST(drained_between_two_pings)
{
	uint8_t frame[AMB_H2_SMALL_FRAME], first[8];
	struct lone l;
	struct flow *f;

	base_config()->ping_interval_ns = 20000000;
	lone_begin(&l, true);
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, f->server);
	RAW_UNTIL(l.r, raw_said(l.r, "ping"));
	raw_add(l.r, frame, amb_h2_write_ping(frame, true, l.r->pong));
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, !l.p.c[1]->pinging);
	amb_hbone_drain(l.p.c[1]);
	RAW_UNTIL(l.r, raw_said(l.r, "goaway:2147483647:0"));
	RAW_UNTIL(l.r, ~l.p.c[1]->ping_id == get_id(l.r->pong));
	memcpy(first, l.r->pong, 8);
	RAW_UNTIL(l.r, l.p.c[1]->pinging && memcmp(first, l.r->pong, 8));
	raw_add(l.r, frame, amb_h2_write_ping(frame, true, first));
	raw_flush(l.r, 16384);
	RAW_UNTIL(l.r, raw_said(l.r, "goaway:1:0"));
	CHECK(!l.p.closed[1]);
	lone_stop(&l);
}

int main(void)
{
	int r;

	pair_init();
	r = harness_run();
	pair_uninit();
	return r;
}
