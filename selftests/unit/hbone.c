// SPDX-License-Identifier: GPL-2.0-or-later
/* HBONE connections engine to engine: handshake, streams, endings, limits. */
#include "pair.h"

TEST(one_stream_both_ways)
{
	struct pair p;
	struct flow *f;

	pair_start(&p, NULL, NULL);
	CHECK(until(pair_is_up, &p));
	f = flow_open(&p);
	CHECK(f->client);
	plan(&f->app[0], 100000, true);
	CHECK(until(flow_is_open, f));
	plan(&f->app[1], 3000000, true);
	CHECK(until(flow_is_over, f));
	CHECK_EQ(f->app[1].got, 100000);
	UNTIL(f->app[0].eof);
	CHECK_EQ(f->app[0].got, 3000000);
	CHECK(!f->app[0].bad && !f->app[1].bad);
	CHECK_EQ(f->reason[0], AMB_REASON_NONE);
	CHECK_EQ(f->reason[1], AMB_REASON_NONE);
	CHECK_EQ(f->bytes[0][0], 3000000);
	CHECK_EQ(f->bytes[0][1], 100000);
	CHECK_EQ(f->bytes[1][0], 100000);
	CHECK_EQ(f->bytes[1][1], 3000000);
	pair_stop(&p);
}

int main(void)
{
	int r;

	pair_init();
	r = harness_run();
	pair_uninit();
	return r;
}
