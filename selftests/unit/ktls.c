// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kernel TLS under the engine: how a connection goes over, what goes wrong on the way, and what a
 * peer may say that is no data. On a stand-in of the kernel's (fakektls.h), or, with
 * AMBIENT_TIER=ktls in the environment, on the kernel's own.
 */
#include "fakektls.h"
#include "lone.h"

static struct amb_hbone_config config;
static bool real; /* the kernel's own */

static struct amb_hbone_config *ktls_config(void)
{
	struct amb_probe row;

	memset(&fake, 0, sizeof(fake));
	fake.off = real;
	config = amb_hbone_defaults;
	config.tier = AMB_TIER_KTLS;
	config.rekeys = fake.rekeys = real ? !amb_probe_rekey(&row) : true;
	return &config;
}

/* An engine's thread that nothing but @tier decides for. */
static void begin(struct pair *p, enum amb_tier client, enum amb_tier server)
{
	struct amb_hbone_config c[2] = { config, config };

	c[0].tier = client;
	c[1].tier = server;
	pair_start(p, &c[0], &c[1]);
	CHECK(until(pair_is_up, p));
}

static enum amb_tier tier_of(const struct pair *p, int side)
{
	return amb_hbone_records(p->c[side]).tier;
}

static struct amb_bytes_stats stats_of(const struct pair *p, int side)
{
	struct amb_bytes_stats st;

	amb_bytes_get_stats(p->b[side], &st);
	return st;
}

static void transfer(struct pair *p, uint64_t there, uint64_t back, uint32_t chunk)
{
	struct flow *f = flow_open(p);

	CHECK(until(flow_is_open, f));
	f->app[0].chunk = f->app[1].chunk = chunk;
	plan(&f->app[0], there, true);
	plan(&f->app[1], back, true);
	UNTIL(flow_is_over(f) && f->app[0].eof && f->app[1].eof);
	CHECK_EQ(f->app[1].got, there);
	CHECK_EQ(f->app[0].got, back);
	CHECK(!f->app[0].bad && !f->app[1].bad);
	CHECK_EQ(f->reason[0], AMB_REASON_NONE);
}

static void end_peacefully(struct pair *p)
{
	amb_hbone_drain(p->c[0]);
	UNTIL(p->closed[0] && p->closed[1]);
	CHECK_EQ(p->reason[0], AMB_REASON_NONE);
	CHECK_EQ(p->reason[1], AMB_REASON_NONE);
	CHECK_EQ(fake.lost, 0);
	pair_stop(p);
}

static const uint64_t borders[] = { 0,	   1,	  2,	  8,	  9,	 16366, 16367,
				    16374, 16375, 16376,  16383,  16384, 16385, 32750,
				    32768, 65535, 262000, 262144, 300001 };

TEST(bytes_around_frames_and_records)
{
	struct pair p;
	size_t i;

	ktls_config();
	begin(&p, AMB_TIER_KTLS, AMB_TIER_KTLS);
	for (i = 0; i < AMB_ARRAY_SIZE(borders); i++) {
		transfer(&p, borders[i], 0, 0);
		transfer(&p, 0, borders[i], 0);
		transfer(&p, borders[i], borders[AMB_ARRAY_SIZE(borders) - 1 - i], 0);
	}
	transfer(&p, 3 << 20, 3 << 20, 0);
	transfer(&p, 5000, 5000, 1);
	CHECK_EQ(tier_of(&p, 0), AMB_TIER_KTLS);
	CHECK_EQ(tier_of(&p, 1), AMB_TIER_KTLS);
	CHECK_EQ(stats_of(&p, 0).tiers[AMB_TIER_KTLS], 1);
	CHECK_EQ(stats_of(&p, 1).tiers[AMB_TIER_KTLS], 1);
	CHECK_EQ(stats_of(&p, 0).tiers[AMB_TIER_USER], 0);
	CHECK_EQ(stats_of(&p, 1).tier_refused, 0);
	/* Two 3 MiB streams are some 190 full records each way; what one sent the other received. */
	CHECK(amb_hbone_records(p.c[0]).sent > 190);
	CHECK_EQ(amb_hbone_records(p.c[0]).sent, amb_hbone_records(p.c[1]).received);
	CHECK_EQ(amb_hbone_records(p.c[1]).sent, amb_hbone_records(p.c[0]).received);
	end_peacefully(&p);
}

TEST(mixed_tiers)
{
	struct pair p;
	int side;

	for (side = 0; side < 2; side++) {
		ktls_config();
		begin(&p, side ? AMB_TIER_USER : AMB_TIER_KTLS,
		      side ? AMB_TIER_KTLS : AMB_TIER_USER);
		transfer(&p, 100, 100, 0);
		transfer(&p, 2 << 20, 300001, 0);
		transfer(&p, 16375, 2 << 20, 0);
		CHECK_EQ(tier_of(&p, side), AMB_TIER_KTLS);
		CHECK_EQ(tier_of(&p, !side), AMB_TIER_USER);
		CHECK_EQ(amb_hbone_records(p.c[0]).sent, amb_hbone_records(p.c[1]).received);
		end_peacefully(&p);
	}
}

TEST(aes_256)
{
	struct amb_record_keys keys = { .suite = AMB_SUITE_AES256_GCM_SHA384 };
	static const uint8_t secret[48] = { 4, 5, 6 };
	static uint8_t in[40000], rec[AMB_RECORD_MAX];
	struct amb_wire w = { 0 };
	struct amb_wire_piece piece;
	struct amb_record *peer_tx, *peer_rx;
	enum amb_record_type type;
	int fd[2], n, i;
	struct iovec iov;

	/* Our peers choose AES-128 from our handshake: the wire alone, with a peer of records. */
	ktls_config();
	tcp_pair(fd);
	amb_wire_init(&w, fd[0]);
	w.tier = AMB_TIER_KTLS;
	w.tx = amb_record_create(keys.suite, secret, 48);
	w.rx = amb_record_create(keys.suite, secret, 48);
	peer_tx = amb_record_create(keys.suite, secret, 48);
	peer_rx = amb_record_create(keys.suite, secret, 48);
	/* Both directions go over at a number that is not the first. */
	for (i = 0; i < 3; i++) {
		n = amb_record_seal(peer_tx, rec, 10, AMB_RECORD_DATA);
		CHECK_EQ(w.rx_ops->open(&w, rec, n, &piece), n);
		n = w.tx_ops->seal(&w, rec, 10, AMB_RECORD_DATA);
		CHECK_EQ(amb_record_open(peer_rx, rec, n, &type), 10);
	}
	CHECK_EQ(amb_wire_rx_border(&w), 1);
	CHECK_EQ(amb_wire_tx_border(&w), 1);
	CHECK_EQ(amb_wire_rx_border(&w), 0);
	CHECK_EQ(amb_wire_tier(&w), AMB_TIER_KTLS);
	memset(rec + AMB_RECORD_HEAD, 0x5a, 1000);
	n = amb_record_seal(peer_tx, rec, 1000, AMB_RECORD_DATA);
	CHECK_EQ(send(fd[1], rec, n, 0), n);
	while ((n = w.rx_ops->recv(&w, in, sizeof(in))) == -EAGAIN)
		turns(1);
	CHECK_EQ(n, 1000);
	CHECK_EQ(w.rx_ops->open(&w, in, n, &piece), 1000);
	CHECK(piece.p == in && piece.n == 1000 && piece.type == AMB_RECORD_DATA);
	CHECK(in[0] == 0x5a && in[999] == 0x5a);
	iov = (struct iovec){ in, 1000 };
	CHECK_EQ(w.tx_ops->send(&w, &iov, 1, 0), 1000);
	CHECK_EQ(recv(fd[1], rec, sizeof(rec), 0), 1000 + AMB_RECORD_HEAD + AMB_RECORD_TAIL);
	CHECK_EQ(amb_record_open(peer_rx, rec, 1000 + AMB_RECORD_HEAD + AMB_RECORD_TAIL, &type),
		 1000);
	amb_wire_uninit(&w);
	amb_record_destroy(peer_tx);
	amb_record_destroy(peer_rx);
	close(fd[0]);
	close(fd[1]);
}

/* The peer's first records come with the end of its handshake, and break off anywhere. */
TEST(records_that_come_with_the_handshake)
{
	static const size_t cuts[] = { 0, 1, 4, 5, 6, 40, 60, 100, 150, 300, 400, 450 };
	struct lone l;
	struct flow *f;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(cuts); i++) {
		static uint8_t all[8192];
		int fd[2], k;
		size_t n;

		ktls_config();
		memset(&l, 0, sizeof(l));
		tcp_pair(fd);
		l.me = 1;
		l.p.b[1] = amb_bytes_create(loop, &config);
		l.p.c[1] = amb_hbone_server(l.p.b[1], fd[0], cred_server, &conn_ops, &l.p);
		l.r = raw_start(fd[1], false);
		/* Its Finished is held back, so that what follows comes with it. */
		raw_hold = all;
		raw_held = 0;
		f = lone_flow(&l);
		for (k = 0; k < 100000 && !l.r->up; k++) {
			raw_pump(l.r);
			turns(1);
		}
		CHECK(l.r->up);
		raw_preface(l.r);
		raw_connect(l.r, 1, 0);
		raw_data(l.r, 1, 1, 0, 100, false);
		raw_flush(l.r, 50);
		raw_hold = NULL;
		n = raw_held;
		CHECK(n > 500 && n <= sizeof(all));
		k = n - cuts[i];
		raw_write(l.r, all, k);
		turns(20);
		raw_write(l.r, all + k, n - k);
		raw_data(l.r, 1, 1, 100, 3000, true);
		raw_flush(l.r, 700);
		RAW_UNTIL(l.r, f->app[1].eof);
		CHECK_EQ(f->app[1].got, 3100);
		CHECK(!f->app[1].bad);
		CHECK_EQ(tier_of(&l.p, 1), AMB_TIER_KTLS);
		plan(&f->app[1], 20000, true);
		RAW_UNTIL(l.r, raw_said(l.r, "end1"));
		CHECK_EQ(l.r->data, 20000);
		CHECK(!l.r->bad_data && !raw_said(l.r, "BAD"));
		lone_stop(&l);
	}
}

static const uint8_t update[] = { 24, 0, 0, 1, 0 }, update_back[] = { 24, 0, 0, 1, 1 };

static void follow_key_updates(void)
{
	struct lone l;
	struct flow *f;
	int i;

	lone_start(&l, true, &config);
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	for (i = 0; i < 10; i++) {
		raw_data(l.r, 1, 1, i * 1000, 1000, i == 9);
		raw_flush(l.r, 300);
		raw_record(l.r, i & 1 ? update_back : update, 5, AMB_RECORD_HANDSHAKE);
		CHECK(!amb_record_update(l.r->tx));
	}
	RAW_UNTIL(l.r, f->app[1].eof && raw_said(l.r, "handshake:24"));
	CHECK_EQ(f->app[1].got, 10000);
	CHECK(!f->app[1].bad);
	plan(&f->app[1], 50000, true);
	RAW_UNTIL(l.r, raw_said(l.r, "end1"));
	CHECK_EQ(l.r->data, 50000);
	CHECK(!l.r->bad_data && !raw_said(l.r, "BAD"));
	CHECK_EQ(tier_of(&l.p, 1), AMB_TIER_KTLS);
	CHECK_EQ(stats_of(&l.p, 1).rekeys_refused, 0);
	lone_stop(&l);
}

/* Where the kernel keeps the key it has the connection ends, and everybody is told why. */
static void end_by_key_update(void)
{
	struct lone l;
	struct flow *f;

	lone_start(&l, true, &config);
	f = lone_flow(&l);
	raw_connect(l.r, 1, 0);
	raw_data(l.r, 1, 1, 0, 1000, false);
	raw_flush(l.r, 300);
	RAW_UNTIL(l.r, f->app[1].got == 1000);
	raw_record(l.r, update_back, sizeof(update_back), AMB_RECORD_HANDSHAKE);
	CHECK(!amb_record_update(l.r->tx));
	raw_data(l.r, 1, 1, 1000, 1000, false);
	raw_flush(l.r, 300);
	RAW_UNTIL(l.r, l.p.closed[1]);
	CHECK_EQ(l.p.reason[1], AMB_REASON_REKEY);
	CHECK_EQ(f->reason[1], AMB_REASON_REKEY);
	CHECK_EQ(stats_of(&l.p, 1).rekeys_refused, 1);
	RAW_UNTIL(l.r, l.r->eof);
	CHECK(raw_said(l.r, "goaway:1:0"));
	CHECK(raw_said(l.r, "alert:0"));
	/* We have not told it of a key that we do not have. */
	CHECK(!raw_said(l.r, "handshake:24") && !raw_said(l.r, "BAD"));
	lone_stop(&l);
}

/* The stand-in can be either kernel. */
TEST(key_updates)
{
	if (ktls_config()->rekeys)
		follow_key_updates();
	if (real && config.rekeys)
		return;
	ktls_config();
	config.rekeys = fake.rekeys = false;
	end_by_key_update();
}

/* Long before a key is used up the connection retires; only a kernel that can renews it. */
TEST(keys_wear_out)
{
	struct pair p;
	struct flow *f;
	int rekeys;

	for (rekeys = 0; rekeys < 2; rekeys++) {
		ktls_config()->record_limit = 40;
		if (rekeys && !config.rekeys)
			continue;
		config.rekeys = rekeys;
		begin(&p, AMB_TIER_KTLS, AMB_TIER_KTLS);
		f = flow_open(&p);
		CHECK(until(flow_is_open, f));
		fake.taken[0] = fake.taken[1] = 0;
		plan(&f->app[0], 4 << 20, true);
		plan(&f->app[1], 4 << 20, true);
		UNTIL(f->app[0].eof && f->app[1].eof);
		CHECK_EQ(f->app[0].got, 4 << 20);
		CHECK_EQ(f->app[1].got, 4 << 20);
		CHECK(!f->app[0].bad && !f->app[1].bad);
		CHECK(real || rekeys == (fake.taken[0] > 2 && fake.taken[1] > 2));
		UNTIL(p.closed[0] && p.closed[1]);
		CHECK_EQ(p.reason[0], AMB_REASON_NONE);
		CHECK_EQ(f->reason[0], AMB_REASON_NONE);
		CHECK_EQ(fake.lost, 0);
		pair_stop(&p);
	}
}

TEST(tickets_are_ignored_within_bounds)
{
	static uint8_t ticket[200] = { 4, 0, 0, sizeof(ticket) - 4 };
	struct flow *f;
	struct lone l;
	int i;

	ktls_config();
	lone_start(&l, false, &config);
	for (i = 0; i < 2; i++)
		raw_record(l.r, ticket, sizeof(ticket), AMB_RECORD_HANDSHAKE);
	raw_record(l.r, ticket, 3, AMB_RECORD_HANDSHAKE);
	raw_record(l.r, ticket + 3, sizeof(ticket) - 3, AMB_RECORD_HANDSHAKE);
	f = flow_open(&l.p);
	RAW_UNTIL(l.r, raw_said(l.r, "headers1"));
	{
		const char *fields[] = { ":status", "200", NULL };

		raw_headers(l.r, 1, false, fields);
	}
	l.r->seed = 1;
	plan(&f->app[0], 50000, true);
	raw_data(l.r, 1, 2, 0, 700, true);
	raw_flush(l.r, 100);
	RAW_UNTIL(l.r, raw_said(l.r, "end1") && f->app[0].eof);
	CHECK_EQ(l.r->data, 50000);
	CHECK_EQ(f->app[0].got, 700);
	CHECK(!l.r->bad_data && !f->app[0].bad);
	CHECK_EQ(tier_of(&l.p, 0), AMB_TIER_KTLS);
	for (i = 0; i < 100 && !l.p.closed[0]; i++) {
		raw_record(l.r, ticket, sizeof(ticket), AMB_RECORD_HANDSHAKE);
		turns(1);
	}
	RAW_UNTIL(l.r, l.p.closed[0]);
	CHECK_EQ(l.p.reason[0], AMB_REASON_LIMIT);
	CHECK_EQ(stats_of(&l.p, 0).abuse[AMB_ABUSE_KEYS], 1);
	lone_stop(&l);
}

TEST(empty_records_are_bounded)
{
	uint8_t rec[64];
	struct lone l;
	int i, len;

	ktls_config();
	lone_start(&l, true, &config);
	for (i = 0; i < 20000 && !l.p.closed[1]; i++) {
		rec[AMB_RECORD_HEAD] = AMB_RECORD_DATA;
		len = amb_record_seal(l.r->tx, rec, 1, 0);
		if (len > 0)
			raw_write(l.r, rec, len);
		turns(1);
	}
	CHECK(l.p.closed[1]);
	CHECK_EQ(stats_of(&l.p, 1).abuse[AMB_ABUSE_EMPTY], 1);
	lone_stop(&l);
}

/* What a peer may say, or break, in the middle of a stream. */
TEST(alerts_and_bad_records)
{
	static const uint8_t bye[] = { 1, 0 }, fatal[] = { 2, 40 }, cancelled[] = { 1, 90 };
	static const uint8_t garbage[64] = "\x17\x03\x03\x00\x30";
	static const uint8_t version[64] = "\x17\x02\x02\x00\x30";
	static const uint8_t large[64] = "\x17\x03\x03\x60\x00";
	static const uint8_t clear_alert[] = "\x15\x03\x03\x00\x02\x02\x28";
	static const uint8_t hello[] = { 1, 0, 0, 1, 0 };
	static const struct {
		const char *what;
		const uint8_t *bytes;
		size_t n;
		int type; /* of the record; 0: no record */
		enum amb_reason reason;
		const char *text;
	} rows[] = {
		{ "close_notify", bye, 2, AMB_RECORD_ALERT, AMB_REASON_RESET,
		  "peer closed the connection" },
		{ "fatal alert", fatal, 2, AMB_RECORD_ALERT, AMB_REASON_TLS,
		  "peer sent a TLS alert" },
		{ "half an alert", bye, 1, AMB_RECORD_ALERT, AMB_REASON_TLS, "malformed alert" },
		{ "another handshake", hello, 5, AMB_RECORD_HANDSHAKE, AMB_REASON_TLS,
		  "unexpected message after the handshake" },
		{ "unknown type", bye, 2, 99, AMB_REASON_TLS, "unexpected record" },
		{ "garbage", garbage, 53, 0, AMB_REASON_TLS, "record does not open" },
		{ "another version", version, 53, 0, AMB_REASON_TLS, "malformed record" },
		{ "too large", large, 53, 0, AMB_REASON_TLS, "malformed record" },
		{ "clear alert", clear_alert, 7, 0, AMB_REASON_TLS, NULL },
	};
	struct flow *f;
	struct lone l;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		ktls_config();
		lone_start(&l, true, &config);
		f = lone_flow(&l);
		raw_connect(l.r, 1, 0);
		raw_data(l.r, 1, 1, 0, 1000, false);
		raw_flush(l.r, 300);
		/* No end, only a remark. */
		raw_record(l.r, cancelled, 2, AMB_RECORD_ALERT);
		raw_data(l.r, 1, 1, 1000, 500, false);
		raw_flush(l.r, 300);
		if (rows[i].type)
			raw_record(l.r, rows[i].bytes, rows[i].n, rows[i].type);
		else
			raw_write(l.r, rows[i].bytes, rows[i].n);
		RAW_UNTIL(l.r, l.p.closed[1]);
		CHECK_EQ(l.p.reason[1], rows[i].reason);
		CHECK(!rows[i].text || !strcmp(l.p.text[1], rows[i].text));
		CHECK_EQ(f->reason[1], rows[i].reason);
		CHECK_EQ(f->bytes[1][0], 1500);
		UNTIL(f->app[1].err || f->app[1].eof);
		lone_stop(&l);
	}
}

/* Our own end: GOAWAY, close_notify, then FIN, however full the socket was. */
TEST(close_notify_goes_before_fin)
{
	struct lone l;
	struct flow *f;
	int full;

	for (full = 0; full < 2; full++) {
		ktls_config();
		lone_start(&l, true, &config);
		f = lone_flow(&l);
		raw_connect(l.r, 1, 0);
		raw_flush(l.r, 16384);
		RAW_UNTIL(l.r, f->app[1].fd > 0);
		if (full) {
			uint8_t more[4] = { 0, 64, 0, 0 };

			raw_frame(l.r, AMB_H2_WINDOW_UPDATE, 0, 0, more, 4);
			raw_frame(l.r, AMB_H2_WINDOW_UPDATE, 0, 1, more, 4);
			raw_flush(l.r, 16384);
			plan(&f->app[1], 32 << 20, false);
			l.r->deaf = true;
			turns(300);
			CHECK(f->app[1].sent < 32 << 20);
			amb_hbone_abort(l.p.c[1], AMB_REASON_DRAIN, NULL);
			l.r->deaf = false;
		} else {
			amb_hbone_abort(l.p.c[1], AMB_REASON_DRAIN, NULL);
		}
		RAW_UNTIL(l.r, l.r->eof);
		CHECK(raw_said(l.r, "goaway:1:0"));
		CHECK(raw_said(l.r, "alert:0 eof"));
		CHECK(!raw_said(l.r, "BAD"));
		CHECK_EQ(fake.lost, 0);
		lone_stop(&l);
	}
}

/* Whatever the kernel refuses: the connection goes on, counted. */
TEST(refusals)
{
	static const struct {
		const char *what;
		int no_ulp, no_tx, no_rx;
		bool counted;
	} rows[] = {
		{ "no module", ENOENT, 0, 0, true },
		{ "peer is gone", ENOTCONN, 0, 0, false },
		{ "no TCP", EOPNOTSUPP, 0, 0, false },
		{ "no keys to send with", 0, EINVAL, 0, true },
		{ "no keys to receive with", 0, 0, EINVAL, true },
		{ "no memory for keys", 0, ENOMEM, ENOMEM, true },
	};
	struct pair p;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		ktls_config();
		fake.no_ulp = rows[i].no_ulp;
		fake.no_tx = rows[i].no_tx;
		fake.no_rx = rows[i].no_rx;
		begin(&p, AMB_TIER_KTLS, AMB_TIER_KTLS);
		transfer(&p, 300001, 16375, 0);
		transfer(&p, 1, 300001, 0);
		CHECK_EQ(tier_of(&p, 0), AMB_TIER_USER);
		CHECK_EQ(tier_of(&p, 1), AMB_TIER_USER);
		CHECK_EQ(stats_of(&p, 0).tiers[AMB_TIER_USER], 1);
		CHECK_EQ(stats_of(&p, 1).tiers[AMB_TIER_KTLS], 0);
		CHECK_EQ(stats_of(&p, 0).tier_refused, rows[i].counted);
		CHECK_EQ(stats_of(&p, 1).tier_refused, rows[i].counted);
		CHECK(amb_hbone_records(p.c[0]).sent > 20);
		end_peacefully(&p);
	}
}

TEST(back_pressure_and_half_close)
{
	struct flow *f, *other;
	struct pair p;

	ktls_config();
	begin(&p, AMB_TIER_KTLS, AMB_TIER_KTLS);
	f = flow_open(&p);
	CHECK(until(flow_is_open, f));
	f->app[1].deaf = true;
	plan(&f->app[0], 64 << 20, true);
	turns(500);
	CHECK(f->app[0].sent < 64 << 20);
	CHECK(stats_of(&p, 0).used + stats_of(&p, 1).used < 16 << 20);
	/* Its neighbour does not mind, and one direction outlives the other. */
	other = flow_open(&p);
	CHECK(until(flow_is_open, other));
	plan(&other->app[0], 10, true);
	UNTIL(other->app[1].eof);
	plan(&other->app[1], 1 << 20, true);
	UNTIL(flow_is_over(other) && other->app[0].eof);
	CHECK_EQ(other->app[0].got, 1 << 20);
	f->app[1].deaf = false;
	UNTIL(f->app[1].eof);
	CHECK_EQ(f->app[1].got, 64 << 20);
	CHECK(!f->app[1].bad);
	/* A reset is one at the other end. */
	reset_on_close(f->app[1].fd);
	app_close(&f->app[1]);
	UNTIL(flow_is_over(f));
	UNTIL(f->app[0].err == ECONNRESET || f->app[0].err == EPIPE);
	end_peacefully(&p);
}

int main(void)
{
	const char *tier = getenv("AMBIENT_TIER");
	int ret;

	real = tier && !strcmp(tier, "ktls");
	/* The engines' tiers are this test's to choose. */
	unsetenv("AMBIENT_TIER");
	pair_init();
	ret = harness_run();
	pair_uninit();
	return ret;
}
