// SPDX-License-Identifier: GPL-2.0-or-later
/* Compressed answers: who may have one, and that it is the text whatever the pieces. */
#include "harness.h"

#include "admin/gzip.h"
#include "base/util.h"

#include <errno.h>
#include <zlib.h>

static const struct {
	const char *accept;
	bool yes;
} rows[] = {
	{ NULL, false },
	{ "", false },
	{ "gzip", true },
	{ "GZIP", true },
	{ "x-gzip", true },
	{ "deflate, gzip, br", true },
	{ "br;q=1.0, gzip;q=0.8, *;q=0.1", true },
	{ "gzip;q=0", false },
	{ "gzip ; q=0.000 ", false },
	{ "gzip;q=0.001", true },
	{ "identity", false },
	{ "gzipped", false },
	{ "gz", false },
	{ "*", true },
	{ "*;q=0", false },
	{ "*, gzip;q=0", false },
	{ "*;q=0, gzip", true },
	{ " ,, gzip", true },
	{ ";", false },
};

TEST(who_may_have_it)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].accept ? rows[i].accept : "no header");
		CHECK_EQ(amb_gzip_accepted(rows[i].accept), rows[i].yes);
	}
}

/* A text of @len bytes that comes in pieces of @piece, then @end. */
struct source {
	size_t at, len, piece;
	ssize_t end;
};

static char byte(size_t i)
{
	return "istio_tcp_connections_opened_total{x=\"%d\"}\n"[i * 7 % 41] + (i / 1000) % 3;
}

static ssize_t give(void *ctx, char *buf, size_t max)
{
	struct source *s = ctx;
	size_t i, n = AMB_MIN(AMB_MIN(s->piece, max), s->len - s->at);

	for (i = 0; i < n; i++)
		buf[i] = byte(s->at++);
	return n ? (ssize_t)n : s->end;
}

/* Bytes of it compressed, read @step at a time into @out; or -errno. */
static ssize_t pack(struct source *s, size_t step, uint8_t *out, size_t room)
{
	struct amb_gzip *g = amb_gzip_create(give, s);
	size_t at = 0;
	ssize_t n;

	CHECK(g);
	while ((n = amb_gzip_read(g, (char *)out + at, AMB_MIN(step, room - at))) > 0)
		at += n;
	CHECK(n < 0 || !amb_gzip_read(g, (char *)out + at, 1));
	amb_gzip_destroy(g);
	return n < 0 ? n : (ssize_t)at;
}

TEST(it_is_the_text)
{
	static const size_t lens[] = { 0, 1, 16384, 100000 }, pieces[] = { 1, 1000, 100000 },
			    steps[] = { 1, 17, 65536 };
	static uint8_t packed[200000], text[100001];
	size_t i, j, k, at;

	for (i = 0; i < AMB_ARRAY_SIZE(lens); i++)
		for (j = 0; j < AMB_ARRAY_SIZE(pieces); j++)
			for (k = 0; k < AMB_ARRAY_SIZE(steps); k++) {
				struct source s = { .len = lens[i], .piece = pieces[j] };
				z_stream z = { 0 };
				ssize_t n = pack(&s, steps[k], packed, sizeof(packed));

				CHECK(n > 0);
				CHECK_EQ(inflateInit2(&z, 15 + 16), Z_OK);
				z.next_in = packed;
				z.avail_in = n;
				z.next_out = text;
				z.avail_out = sizeof(text);
				CHECK_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
				CHECK_EQ(z.total_out, lens[i]);
				CHECK_EQ(z.avail_in, 0);
				inflateEnd(&z);
				for (at = 0; at < lens[i]; at++)
					CHECK((char)text[at] == byte(at));
			}
}

TEST(a_text_that_fails)
{
	struct source s = { .len = 5000, .piece = 1000, .end = -ENOMEM };
	static uint8_t packed[10000];

	CHECK_EQ(pack(&s, 100, packed, sizeof(packed)), -ENOMEM);
}

int main(void)
{
	return harness_run();
}
