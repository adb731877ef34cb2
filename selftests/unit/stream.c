// SPDX-License-Identifier: GPL-2.0-or-later
/* Streams engine to engine: every byte right, ends and resets carried, nobody starved. */
#include "pair.h"

static const struct amb_hbone_config *base_config(struct amb_hbone_config *c)
{
	*c = amb_hbone_defaults;
	return c;
}

static void echo(struct pair *p, uint64_t there, uint64_t back, uint32_t chunk)
{
	struct flow *f = flow_open(p);

	CHECK(f->client);
	f->app[0].chunk = chunk;
	plan(&f->app[0], there, true);
	CHECK(until(flow_is_open, f));
	f->app[1].chunk = chunk;
	plan(&f->app[1], back, true);
	CHECK(until(flow_is_over, f));
	UNTIL(f->app[0].eof && f->app[1].eof);
	CHECK_EQ(f->app[1].got, there);
	CHECK_EQ(f->app[0].got, back);
	CHECK(!f->app[0].bad && !f->app[1].bad && !f->app[0].err && !f->app[1].err);
	CHECK_EQ(f->reason[0], AMB_REASON_NONE);
	CHECK_EQ(f->reason[1], AMB_REASON_NONE);
	CHECK_EQ(f->bytes[0][0], back);
	CHECK_EQ(f->bytes[1][0], there);
	app_close(&f->app[0]);
	app_close(&f->app[1]);
}

TEST(sizes)
{
	static const uint64_t sizes[] = { 0,	  1,	  2,	   64,	    1000,  16374,
					  16375,  16376,  16384,   32750,   65535, 65536,
					  262000, 262001, 1 << 20, 20 << 20 };
	struct pair p;
	size_t i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < AMB_ARRAY_SIZE(sizes); i++)
		echo(&p, sizes[i], sizes[AMB_ARRAY_SIZE(sizes) - 1 - i], 0);
	for (i = 0; i < 8; i++)
		echo(&p, 3000, 3000, 1 + i * 97);
	pair_stop(&p);
}

/* The first byte of a direction may come long after the other has ended. */
TEST(half_closes)
{
	struct pair p;
	struct flow *f;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	f = flow_open(&p);
	plan(&f->app[0], 10, true);
	CHECK(until(flow_is_open, f));
	UNTIL(f->app[1].eof);
	turns(20);
	CHECK(!f->app[0].eof && !f->closed[0] && !f->closed[1]);
	plan(&f->app[1], 500000, false);
	UNTIL(f->app[0].got == 500000);
	plan(&f->app[1], 0, true);
	CHECK(until(flow_is_over, f));
	/* And the other way round. */
	f = flow_open(&p);
	CHECK(until(flow_is_open, f));
	plan(&f->app[1], 7, true);
	UNTIL(f->app[0].eof);
	turns(20);
	CHECK(!f->app[1].eof && !f->closed[0] && !f->closed[1]);
	plan(&f->app[0], 500000, true);
	CHECK(until(flow_is_over, f));
	UNTIL(f->app[1].eof);
	CHECK_EQ(f->app[1].got, 500000);
	pair_stop(&p);
}

static void reset_case(int who)
{
	struct pair p;
	struct flow *f, *other;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	other = flow_open(&p);
	f = flow_open(&p);
	plan(&f->app[0], 1000, false);
	CHECK(until(flow_is_open, f));
	plan(&f->app[1], 1000, false);
	UNTIL(f->app[0].got == 1000 && f->app[1].got == 1000);
	reset_on_close(f->app[who].fd);
	close(f->app[who].fd);
	f->app[who].fd = -1;
	UNTIL(f->app[!who].err);
	CHECK_EQ(f->app[!who].err, ECONNRESET);
	CHECK(!f->app[!who].eof);
	CHECK(until(flow_is_over, f));
	CHECK_EQ(f->reason[0], AMB_REASON_RESET);
	CHECK_EQ(f->reason[1], AMB_REASON_RESET);
	/* The neighbour did not notice. */
	CHECK(until(flow_is_open, other));
	plan(&other->app[0], 100000, true);
	plan(&other->app[1], 100000, true);
	CHECK(until(flow_is_over, other));
	CHECK_EQ(other->app[0].got, 100000);
	pair_stop(&p);
}

TEST(reset_by_the_client_application)
{
	reset_case(0);
}

TEST(reset_by_the_server_application)
{
	reset_case(1);
}

/* Closed with unread bytes in the middle of a bulk transfer: a reset in TCP, too. */
TEST(reset_under_load)
{
	struct pair p;
	struct flow *f;
	int i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < 6; i++) {
		f = flow_open(&p);
		plan(&f->app[0], 1 << 30, false);
		CHECK(until(flow_is_open, f));
		plan(&f->app[1], 1 << 30, false);
		UNTIL(f->app[0].got > 1000000 && f->app[1].got > 1000000);
		close(f->app[i & 1].fd);
		f->app[i & 1].fd = -1;
		CHECK(until(flow_is_over, f));
		app_close(&f->app[!(i & 1)]);
	}
	echo(&p, 1000, 1000, 0);
	pair_stop(&p);
}

TEST(many_mixed)
{
	struct flow *f[200];
	struct pair p;
	uint64_t there, back;
	int i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	CHECK_EQ(amb_hbone_slots(p.c[0]), 200);
	for (i = 0; i < 200; i++) {
		f[i] = flow_open(&p);
		CHECK(f[i]->client);
		f[i]->app[0].chunk = i % 3 ? 0 : 100 + i;
		plan(&f[i]->app[0], i % 7 * 40000 + i, true);
	}
	CHECK_EQ(amb_hbone_slots(p.c[0]), 0);
	for (i = 0; i < 200; i++) {
		CHECK(until(flow_is_open, f[i]));
		plan(&f[i]->app[1], i % 5 * 50000 + 1, true);
	}
	for (i = 0; i < 200; i++) {
		there = i % 7 * 40000 + i;
		back = i % 5 * 50000 + 1;
		CHECK(until(flow_is_over, f[i]));
		UNTIL(f[i]->app[0].eof && f[i]->app[1].eof);
		CHECK_EQ(f[i]->app[1].got, there);
		CHECK_EQ(f[i]->app[0].got, back);
		CHECK(!f[i]->app[0].bad && !f[i]->app[1].bad);
	}
	turns(2);
	CHECK_EQ(amb_hbone_slots(p.c[0]), 200);
	CHECK(p.rooms > 0);
	pair_stop(&p);
}

/* Ten that never read fill their windows; an eleventh has the way free. */
TEST(stuck_readers_stop_nobody)
{
	struct flow *stuck[10];
	struct pair p;
	int i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < 10; i++) {
		stuck[i] = flow_open(&p);
		CHECK(until(flow_is_open, stuck[i]));
		stuck[i]->app[0].deaf = true;
		plan(&stuck[i]->app[1], 64 << 20, false);
	}
	for (i = 0; i < 10; i++)
		UNTIL(stuck[i]->client->recv_window < 100000 || !stuck[i]->client);
	echo(&p, 1 << 20, 8 << 20, 0);
	/* They wake up and get everything. */
	for (i = 0; i < 2; i++)
		stuck[i]->app[0].deaf = false;
	for (i = 0; i < 2; i++) {
		UNTIL(stuck[i]->app[0].got == 64 << 20);
		CHECK(!stuck[i]->app[0].bad);
	}
	pair_stop(&p);
}

/* The same with too little memory: the fullest stream is sacrificed, the thread is not. */
TEST(stuck_readers_are_evicted)
{
	struct amb_hbone_config config;
	struct amb_bytes_stats stats;
	struct flow *stuck[10];
	struct pair p;
	int i, gone = 0;

	base_config(&config);
	config.buffer_memory = 16 << 20;
	pair_start(&p, &config, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < 10; i++) {
		stuck[i] = flow_open(&p);
		CHECK(until(flow_is_open, stuck[i]));
		stuck[i]->app[0].deaf = true;
		plan(&stuck[i]->app[1], 64 << 20, false);
	}
	amb_bytes_get_stats(p.b[0], &stats);
	for (i = 0; !stats.evicted && i < 100000; i++) {
		turns(1);
		amb_bytes_get_stats(p.b[0], &stats);
		CHECK(stats.used <= config.buffer_memory);
	}
	CHECK(stats.evicted > 0);
	for (i = 0; i < 10; i++)
		gone += stuck[i]->closed[0] && stuck[i]->reason[0] == AMB_REASON_LIMIT;
	CHECK(gone > 0);
	echo(&p, 1 << 20, 1 << 20, 0);
	pair_stop(&p);
}

/* What waits in the thread's buffers for an application that does not read: @n bytes or more. */
static struct flow *stick(struct pair *p, uint64_t n)
{
	struct flow *f = flow_open(p);
	int small = 16384;

	CHECK(until(flow_is_open, f));
	setsockopt(f->app[0].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	setsockopt(f->client->io.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	f->app[0].deaf = true;
	plan(&f->app[1], 64 << 20, false);
	UNTIL(!f->client || f->client->npend >= n);
	f->app[1].to_send = f->app[1].sent;
	return f;
}

/*
 * Two pods of one thread. One has a stream with much, the other fills what there is with many that
 * have less each: it is those that go, and the first pod still gets buffers.
 */
TEST(a_pod_evicts_its_own)
{
	struct amb_hbone_config config;
	struct amb_bytes_stats stats;
	struct amb_share *share[2];
	struct flow *much, *more;
	struct pair p[2] = { 0 };
	int i;

	base_config(&config);
	config.buffer_memory = 32 << 20;
	pair_start(&p[0], &config, NULL);
	p[1].b[0] = p[0].b[0];
	p[1].b[1] = p[0].b[1];
	pair_join(&p[1], "server", &conn_ops);
	for (i = 0; i < 2; i++) {
		share[i] = amb_bytes_share_create(p[0].b[0]);
		amb_hbone_share(p[i].c[0], share[i]);
		amb_bytes_share_put(share[i]);
	}
	for (i = 0; i < 2; i++)
		CHECK(until(pair_is_up, &p[i]));
	much = stick(&p[0], 2 << 20);
	do {
		CHECK(p[1].nflow < 90);
		stick(&p[1], 256 << 10);
		amb_bytes_get_stats(p[0].b[0], &stats);
		CHECK(stats.used <= config.buffer_memory);
	} while (!stats.evicted);
	more = stick(&p[0], 1 << 20);
	CHECK(much->client && more->client);
	echo(&p[0], 1 << 20, 1 << 20, 0);
	much->app[0].deaf = false;
	UNTIL(much->app[0].got == much->app[1].sent);
	CHECK(!much->app[0].bad);
	pair_stop(&p[0]);
	p[1].b[0] = p[1].b[1] = NULL;
	pair_stop(&p[1]);
}

TEST(small_windows)
{
	static const struct {
		const char *what;
		uint32_t stream, conn;
	} rows[] = {
		{ "one byte", 1, 16 << 20 },  { "three bytes", 3, 16 << 20 },
		{ "hundred", 100, 16 << 20 }, { "a record and one", 16376, 65535 },
		{ "default", 65535, 65535 },  { "stream over conn", 1 << 20, 65536 },
	};
	struct amb_hbone_config config;
	struct pair p;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		uint64_t n = rows[i].stream < 1000 ? rows[i].stream * 200 + 7 : 3000000;

		CASE(rows[i].what);
		base_config(&config);
		config.stream_window = rows[i].stream;
		config.conn_window = rows[i].conn;
		pair_start(&p, &config, &config);
		CHECK(until(pair_is_up, &p));
		echo(&p, n, n, 0);
		echo(&p, n, n, 0);
		pair_stop(&p);
	}
}

/* The reader takes little now and then: bytes wait in our buffers, then at the sender. */
TEST(slow_reader)
{
	struct pair p;
	struct flow *f;
	int i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	f = flow_open(&p);
	CHECK(until(flow_is_open, f));
	plan(&f->app[0], 40 << 20, true);
	for (i = 0; !f->app[1].eof && i < 1000000; i++) {
		f->app[1].deaf = i % 50 > 5;
		turns(1);
	}
	f->app[1].deaf = false;
	UNTIL(f->app[1].eof);
	CHECK_EQ(f->app[1].got, 40 << 20);
	CHECK(!f->app[1].bad);
	pair_stop(&p);
}

/* A bulk sender and a talker share a connection: the talker's words pass. */
TEST(bulk_does_not_starve)
{
	struct flow *bulk[4], *talk;
	struct pair p;
	int i, words = 0;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < 4; i++) {
		bulk[i] = flow_open(&p);
		CHECK(until(flow_is_open, bulk[i]));
		plan(&bulk[i]->app[0], 1ull << 40, false);
	}
	talk = flow_open(&p);
	CHECK(until(flow_is_open, talk));
	while (words < 50) {
		uint64_t before = 0, after = 0;

		for (i = 0; i < 4; i++)
			before += bulk[i]->app[1].got;
		plan(&talk->app[0], 64, false);
		UNTIL(talk->app[1].got == 64u * (words + 1));
		plan(&talk->app[1], 64, false);
		UNTIL(talk->app[0].got == 64u * (words + 1));
		for (i = 0; i < 4; i++)
			after += bulk[i]->app[1].got;
		/* What lies in socket buffers may pass before, not a stream's fill. */
		CHECK(after - before < 256 << 20);
		words++;
	}
	for (i = 0; i < 4; i++)
		CHECK(bulk[i]->app[1].got > 0 && !bulk[i]->app[1].bad);
	pair_stop(&p);
}

/* Fair among bulk streams: none gets less than a tenth of another. */
TEST(bulk_is_shared)
{
	struct flow *f[8];
	struct pair p;
	uint64_t low = -1ull, high = 0;
	int i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < 8; i++) {
		f[i] = flow_open(&p);
		CHECK(until(flow_is_open, f[i]));
	}
	for (i = 0; i < 8; i++)
		plan(&f[i]->app[0], 1ull << 40, false);
	for (i = 0; i < 8; i++)
		UNTIL(f[i]->app[1].got > 4 << 20);
	for (i = 0; i < 8; i++) {
		low = AMB_MIN(low, f[i]->app[1].got);
		high = AMB_MAX(high, f[i]->app[1].got);
	}
	CHECK(high < 10 * low);
	pair_stop(&p);
}

/* A stream is over for HTTP/2, its connection ends: the application still gets the rest. */
TEST(rest_is_delivered_after_the_connection)
{
	int small = 16384;
	struct pair p;
	struct flow *f;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	f = flow_open(&p);
	CHECK(until(flow_is_open, f));
	f->app[1].deaf = true;
	setsockopt(f->app[1].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	setsockopt(f->server->io.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	plan(&f->app[0], 3 << 20, true);
	plan(&f->app[1], 1, true);
	UNTIL(f->app[0].eof && f->closed[0]);
	amb_hbone_drain(p.c[0]);
	UNTIL(p.closed[0]);
	turns(50);
	CHECK(!p.closed[1] && f->server);
	f->app[1].deaf = false;
	UNTIL(f->app[1].eof);
	CHECK_EQ(f->app[1].got, 3 << 20);
	CHECK(!f->app[1].bad);
	CHECK_EQ(f->reason[1], AMB_REASON_NONE);
	UNTIL(p.closed[1]);
	CHECK_EQ(p.reason[1], AMB_REASON_NONE);
	pair_stop(&p);
}

TEST(refused_by_status)
{
	static const int statuses[] = { 400, 401, 503 };
	struct pair p;
	struct flow *f;
	size_t i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < AMB_ARRAY_SIZE(statuses); i++) {
		p.reject = statuses[i];
		f = flow_open(&p);
		plan(&f->app[0], 100, false);
		CHECK(until(flow_is_over, f));
		CHECK_EQ(f->status, statuses[i]);
		CHECK_EQ(f->reason[0], AMB_REASON_CONNECT_STATUS);
		CHECK_EQ(f->reason[1], AMB_REASON_POLICY_DENY);
		UNTIL(f->app[0].err || f->app[0].eof);
		CHECK_EQ(f->app[0].got, 0);
	}
	p.reject = 0;
	echo(&p, 10, 10, 0);
	pair_stop(&p);
}

TEST(aborted_by_either_side)
{
	struct pair p;
	struct flow *f;
	int i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < 2; i++) {
		f = flow_open(&p);
		plan(&f->app[0], 1000, false);
		CHECK(until(flow_is_open, f));
		UNTIL(f->app[1].got == 1000);
		amb_stream_abort(i ? f->server : f->client, AMB_H2_INTERNAL_ERROR,
				 AMB_REASON_POLICY_CHANGE);
		CHECK(f->closed[i]);
		CHECK_EQ(f->reason[i], AMB_REASON_POLICY_CHANGE);
		CHECK(until(flow_is_over, f));
		UNTIL(f->app[0].err && f->app[1].err);
	}
	/* Before the answer. */
	p.hold = true;
	f = flow_open(&p);
	UNTIL(f->server);
	amb_stream_abort(f->client, AMB_H2_CANCEL, AMB_REASON_POD_GONE);
	CHECK(until(flow_is_over, f));
	CHECK_EQ(f->reason[1], AMB_REASON_RESET);
	pair_stop(&p);
}

/* All buffers and objects are given back, and what was mapped leaves. */
TEST(memory_returns)
{
	struct amb_bytes_stats stats[2];
	struct flow *f[100];
	struct pair p;
	int i;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	for (i = 0; i < 100; i++) {
		f[i] = flow_open(&p);
		plan(&f[i]->app[0], 200000, i & 1);
	}
	for (i = 0; i < 100; i++) {
		CHECK(until(flow_is_open, f[i]));
		UNTIL(f[i]->app[1].got == 200000);
	}
	/* Idle streams hold no buffers. */
	amb_bytes_get_stats(p.b[0], &stats[0]);
	amb_bytes_get_stats(p.b[1], &stats[1]);
	CHECK_EQ(stats[0].streams, 100);
	CHECK_EQ(stats[0].used, 0);
	CHECK_EQ(stats[1].used, 0);
	CHECK(stats[0].mapped > 0);
	for (i = 0; i < 100; i++) {
		plan(&f[i]->app[0], 0, true);
		plan(&f[i]->app[1], 0, true);
	}
	for (i = 0; i < 100; i++)
		CHECK(until(flow_is_over, f[i]));
	do {
		turns(1);
		amb_bytes_get_stats(p.b[0], &stats[0]);
		amb_bytes_get_stats(p.b[1], &stats[1]);
	} while (stats[0].mapped || stats[1].mapped);
	CHECK_EQ(stats[0].streams + stats[1].streams, 0);
	CHECK_EQ(stats[0].conns, 1);
	pair_stop(&p);
}

/* The budget of an idle tunnelled connection is 0.6 KB with all that the proxy keeps. */
TEST(objects_are_small)
{
	CHECK(sizeof(struct amb_stream) <= 216);
	CHECK(sizeof(struct amb_hbone) <= 1024);
}

int main(void)
{
	int r;

	pair_init();
	r = harness_run();
	pair_uninit();
	return r;
}
