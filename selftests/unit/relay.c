// SPDX-License-Identifier: GPL-2.0-or-later
/* Plaintext relays: app[0] --tcp-- relay --tcp-- app[1]; bytes, ends, resets, memory. */
#include "pair.h"

struct joint {
	struct amb_bytes *b;
	struct amb_relay *r;
	struct app app[2];
	bool closed;
	enum amb_reason reason;
	uint64_t to_up, to_down;
};

static void on_relay_closed(struct amb_relay *r, void *owner, enum amb_reason reason,
			    const char *text UNUSED)
{
	struct joint *j = owner;

	j->closed = true;
	j->reason = reason;
	amb_relay_bytes(r, &j->to_up, &j->to_down);
	j->r = NULL;
}

static const struct amb_relay_ops relay_ops = { .closed = on_relay_closed };

static void join(struct joint *j, struct amb_bytes *b, int sndbuf)
{
	int down[2], up[2];

	memset(j, 0, sizeof(*j));
	tcp_pair(down);
	tcp_pair(up);
	if (sndbuf) {
		setsockopt(down[1], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
		setsockopt(up[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	}
	j->b = b;
	app_init(&j->app[0], down[0], 1, 2);
	app_init(&j->app[1], up[1], 2, 1);
	j->r = amb_relay_start(b, down[1], up[0], &relay_ops, j);
	if (!j->r)
		abort();
}

static void part(struct joint *j)
{
	app_close(&j->app[0]);
	app_close(&j->app[1]);
}

TEST(sizes)
{
	static const uint64_t sizes[] = { 0, 1, 100, 16384, 16385, 262144, 300001, 30 << 20 };
	struct amb_bytes *b = amb_bytes_create(loop, NULL);
	size_t i, n = AMB_ARRAY_SIZE(sizes);
	struct joint j;

	for (i = 0; i < 2 * n; i++) {
		join(&j, b, i < n ? 0 : 8192);
		plan(&j.app[0], sizes[i % n], true);
		plan(&j.app[1], sizes[n - 1 - i % n], true);
		UNTIL(j.closed && j.app[0].eof && j.app[1].eof);
		CHECK_EQ(j.app[1].got, sizes[i % n]);
		CHECK_EQ(j.app[0].got, sizes[n - 1 - i % n]);
		CHECK(!j.app[0].bad && !j.app[1].bad);
		CHECK_EQ(j.reason, AMB_REASON_NONE);
		CHECK_EQ(j.to_up, j.app[1].got);
		CHECK_EQ(j.to_down, j.app[0].got);
		part(&j);
	}
	amb_bytes_destroy(b);
}

TEST(half_closes)
{
	struct amb_bytes *b = amb_bytes_create(loop, NULL);
	struct joint j;
	int first;

	for (first = 0; first < 2; first++) {
		join(&j, b, 0);
		plan(&j.app[first], 10, true);
		UNTIL(j.app[!first].eof);
		turns(20);
		CHECK(!j.closed && !j.app[first].eof);
		plan(&j.app[!first], 400000, true);
		UNTIL(j.closed && j.app[first].eof);
		CHECK_EQ(j.app[first].got, 400000);
		CHECK_EQ(j.reason, AMB_REASON_NONE);
		part(&j);
	}
	amb_bytes_destroy(b);
}

TEST(resets)
{
	struct amb_bytes *b = amb_bytes_create(loop, NULL);
	struct joint j;
	int who;

	for (who = 0; who < 2; who++) {
		join(&j, b, 0);
		plan(&j.app[0], 1000, false);
		UNTIL(j.app[1].got == 1000);
		reset_on_close(j.app[who].fd);
		app_close(&j.app[who]);
		UNTIL(j.app[!who].err);
		CHECK_EQ(j.app[!who].err, ECONNRESET);
		CHECK(j.closed);
		CHECK_EQ(j.reason, AMB_REASON_RESET);
		part(&j);
	}
	amb_bytes_destroy(b);
}

/* Nobody reads: what the relay holds stays small, and the other direction goes on. */
TEST(a_reader_that_does_not)
{
	struct amb_bytes *b = amb_bytes_create(loop, NULL);
	struct amb_bytes_stats stats;
	struct joint j;

	join(&j, b, 0);
	j.app[1].deaf = true;
	plan(&j.app[0], 1 << 30, false);
	UNTIL(j.app[0].sent > 1000000);
	turns(3000);
	amb_bytes_get_stats(b, &stats);
	CHECK(stats.used <= 2 * AMB_BYTES_SCRATCH);
	plan(&j.app[1], 5 << 20, false);
	UNTIL(j.app[0].got == 5 << 20);
	CHECK(!j.app[0].bad);
	j.app[1].deaf = false;
	UNTIL(j.app[1].got > 50 << 20);
	CHECK(!j.app[1].bad);
	amb_relay_abort(j.r, AMB_REASON_POLICY_CHANGE);
	CHECK(j.closed);
	CHECK_EQ(j.reason, AMB_REASON_POLICY_CHANGE);
	UNTIL(j.app[0].err && j.app[1].err);
	part(&j);
	amb_bytes_destroy(b);
}

/* Hundreds with stuck readers and little memory: bounded, and one that reads goes on. */
TEST(memory_is_bounded)
{
	static struct joint j[120], free_one;
	struct amb_hbone_config config = amb_hbone_defaults;
	struct amb_bytes_stats stats;
	struct amb_bytes *b;
	int i, k, small = 16384;

	config.buffer_memory = 2 << 20;
	b = amb_bytes_create(loop, &config);
	for (i = 0; i < 120; i++) {
		join(&j[i], b, 16384);
		setsockopt(j[i].app[1].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
		j[i].app[1].deaf = true;
		plan(&j[i].app[0], 400000, true);
	}
	for (k = 0; k < 300; k++) {
		turns(1);
		amb_bytes_get_stats(b, &stats);
		CHECK(stats.used <= config.buffer_memory);
	}
	CHECK(stats.used > config.buffer_memory / 4);
	/* Some read on: room comes back, in turn, and all get all. */
	for (i = 0; i < 120; i++)
		j[i].app[1].deaf = i >= 100;
	join(&free_one, b, 0);
	plan(&free_one.app[0], 2 << 20, true);
	UNTIL(free_one.app[1].got == 2 << 20);
	for (i = 0; i < 100; i++) {
		UNTIL(j[i].app[1].eof);
		CHECK_EQ(j[i].app[1].got, 400000);
		CHECK(!j[i].app[1].bad);
	}
	amb_bytes_destroy(b);
	for (i = 0; i < 120; i++) {
		CHECK_EQ(j[i].reason, AMB_REASON_DRAIN);
		part(&j[i]);
	}
	part(&free_one);
}

/*
 * Two pods of one thread. One has a crowd with bulk both ways, half of it without readers, and
 * takes all the memory it gets; the other's words pass all the same, and its bulk too.
 */
TEST(a_pod_leaves_others_their_part)
{
	static struct joint crowd[200], one;
	struct amb_hbone_config config = amb_hbone_defaults;
	struct amb_bytes_stats stats;
	struct amb_share *share[2];
	struct amb_bytes *b;
	int i, words;

	config.buffer_memory = 2 << 20;
	b = amb_bytes_create(loop, &config);
	for (i = 0; i < 2; i++)
		share[i] = amb_bytes_share_create(b);
	for (i = 0; i < 200; i++) {
		struct app *app = crowd[i].app;

		join(&crowd[i], b, 16384);
		amb_relay_share(crowd[i].r, share[0]);
		app[0].deaf = app[1].deaf = i % 2;
		app[0].chunk = app[1].chunk = 4096;
		plan(&app[0], 1 << 30, false);
		plan(&app[1], 1 << 30, false);
	}
	/* Somebody waits for memory. */
	UNTIL(b->nwaiting);
	turns(100);
	join(&one, b, 0);
	amb_relay_share(one.r, share[1]);
	for (words = 1; words <= 20; words++) {
		plan(&one.app[0], 64, false);
		UNTIL(one.app[1].got == 64u * words);
		plan(&one.app[1], 64, false);
		UNTIL(one.app[0].got == 64u * words);
		amb_bytes_get_stats(b, &stats);
		CHECK(stats.used <= config.buffer_memory);
	}
	plan(&one.app[0], 1 << 20, true);
	plan(&one.app[1], 1 << 20, true);
	UNTIL(one.closed && one.app[0].eof && one.app[1].eof);
	CHECK_EQ(one.app[1].got, 64 * 20 + (1 << 20));
	CHECK(!one.app[0].bad && !one.app[1].bad);
	/* Nobody of the crowd was given up for it; those who read again go on. */
	for (i = 0; i < 200; i++)
		crowd[i].app[0].deaf = crowd[i].app[1].deaf = false;
	for (i = 0; i < 200; i++) {
		UNTIL(crowd[i].app[0].got > 50000 && crowd[i].app[1].got > 50000);
		CHECK(!crowd[i].closed && !crowd[i].app[0].bad && !crowd[i].app[1].bad);
	}
	amb_bytes_share_put(share[0]);
	amb_bytes_share_put(share[1]);
	amb_bytes_destroy(b);
	for (i = 0; i < 200; i++)
		part(&crowd[i]);
	part(&one);
}

struct asker {
	struct amb_bytes_waiter waiter;
	struct amb_share *share;
	unsigned int asked;
};

#define NEED (128 << 10)

static void on_asked(struct amb_bytes_waiter *w)
{
	struct asker *a = AMB_CONTAINER_OF(w, struct asker, waiter);

	a->asked++;
	if (!amb_bytes_has(a->share, NEED, AMB_BYTES_DATA))
		amb_bytes_wait(a->share, w);
}

/* A small buffer could be had, but whoever waits needs more: others' give and take is no news. */
TEST(nobody_is_woken_in_vain)
{
	struct amb_hbone_config config = amb_hbone_defaults;
	struct amb_buf *held = NULL, *buf;
	struct asker a = { .waiter.fn = on_asked };
	struct amb_share *other;
	struct amb_bytes *b;
	int i;

	config.buffer_memory = 2 << 20;
	b = amb_bytes_create(loop, &config);
	a.share = amb_bytes_share_create(b);
	other = amb_bytes_share_create(b);
	while (amb_bytes_has(a.share, NEED, AMB_BYTES_DATA)) {
		buf = amb_bytes_get(a.share, AMB_BYTES_SMALL, AMB_BYTES_DATA);
		CHECK(buf);
		buf->next = held;
		held = buf;
	}
	amb_bytes_wait(a.share, &a.waiter);
	for (i = 0; i < 10; i++) {
		buf = amb_bytes_get(other, AMB_BYTES_SMALL, AMB_BYTES_DATA);
		CHECK(buf);
		amb_bytes_put(b, buf);
		turns(2);
	}
	CHECK_EQ(a.asked, 0);
	CASE("already waiting, it comes when more is out");
	buf = amb_bytes_get(other, AMB_BYTES_SMALL, AMB_BYTES_DATA);
	amb_bytes_wait(a.share, &a.waiter);
	amb_bytes_put(b, buf);
	turns(2);
	CHECK(a.asked == 1 && a.waiter.queued);
	CASE("less is out");
	buf = held;
	held = buf->next;
	amb_bytes_put(b, buf);
	turns(2);
	CHECK(a.asked == 2 && !a.waiter.queued);
	amb_bytes_put_chain(b, held);
	amb_bytes_share_put(a.share);
	amb_bytes_share_put(other);
	amb_bytes_destroy(b);
}

TEST(memory_returns)
{
	struct amb_bytes *b = amb_bytes_create(loop, NULL);
	struct amb_bytes_stats stats;
	struct joint j;

	join(&j, b, 0);
	plan(&j.app[0], 5 << 20, false);
	UNTIL(j.app[1].got == 5 << 20);
	do {
		turns(1);
		amb_bytes_get_stats(b, &stats);
	} while (stats.mapped);
	CHECK_EQ(stats.used, 0);
	plan(&j.app[0], 5 << 20, true);
	plan(&j.app[1], 1, true);
	UNTIL(j.closed);
	part(&j);
	amb_bytes_destroy(b);
}

int main(void)
{
	int r;

	loop = amb_loop_create();
	r = harness_run();
	amb_loop_destroy(loop);
	return r;
}
