// SPDX-License-Identifier: GPL-2.0-or-later
/* gRPC's bytes and numbers, addresses of servers, names of their certificates. */
#include "harness.h"
#include "wiped.h"

#include "base/loop.h"
#include "base/resolve.h"
#include "base/util.h"
#include "control/grpc.h"
#include "control/grpc_h2.h"
#include "control/tls_client.h"

#include <errno.h>
#include <stdbool.h>

/* Bytes that were wiped last. */
static size_t nlast;

static void wiped(const void *p, size_t n)
{
	(void)p;
	nlast = n;
}

/* Three messages: "abc", an empty one, and 300 bytes. */
#define STREAM_LEN (5 + 3 + 5 + 5 + 300)

static void make_stream(uint8_t *to)
{
	size_t at = 0, i;

	amb_grpc_head_write(to, 3);
	memcpy(to + 5, "abc", 3);
	at = 8;
	amb_grpc_head_write(to + at, 0);
	at += 5;
	amb_grpc_head_write(to + at, 300);
	at += 5;
	for (i = 0; i < 300; i++)
		to[at + i] = i;
}

struct collected {
	uint8_t bytes[1024];
	size_t n;
	unsigned int messages, lens[8];
};

static int collect(struct amb_grpc_reader *r, const uint8_t *p, size_t n, struct collected *c)
{
	struct amb_grpc_piece piece;
	int ret;

	while ((ret = amb_grpc_read(r, &p, &n, &piece)) > 0) {
		if (piece.first)
			c->lens[c->messages] = piece.len;
		memcpy(c->bytes + c->n, piece.p, piece.n);
		c->n += piece.n;
		c->messages += piece.last;
	}
	CHECK(ret || !n);
	return ret;
}

TEST(messages_cut_anywhere)
{
	uint8_t in[STREAM_LEN];
	size_t i, j;

	make_stream(in);
	for (i = 0; i <= STREAM_LEN; i++) {
		for (j = i; j <= STREAM_LEN; j += 1 + (j - i) / 3) {
			struct amb_grpc_reader r = { .max = 300 };
			struct collected c = { .n = 0 };

			CHECK_EQ(collect(&r, in, i, &c), 0);
			CHECK_EQ(collect(&r, in + i, j - i, &c), 0);
			CHECK_EQ(collect(&r, in + j, STREAM_LEN - j, &c), 0);
			CHECK_EQ(c.messages, 3);
			CHECK(c.lens[0] == 3 && c.lens[1] == 0 && c.lens[2] == 300);
			CHECK(c.n == 303 && !memcmp(c.bytes, "abc", 3) && c.bytes[303 - 1] == 43);
			CHECK(amb_grpc_reader_idle(&r));
		}
	}
}

/* Pieces of the stream in turns of @step bytes, put together again. */
static unsigned int gather(const uint8_t *in, size_t step)
{
	struct amb_grpc_reader r = { .max = 300 };
	struct amb_grpc_whole w = { 0 };
	struct amb_grpc_piece piece;
	unsigned int messages = 0;
	size_t at, n;

	for (at = 0; at < STREAM_LEN; at += step) {
		const uint8_t *p = in + at;

		n = AMB_MIN(step, STREAM_LEN - at);
		while (amb_grpc_read(&r, &p, &n, &piece) > 0) {
			if (!amb_grpc_gather(&w, &piece))
				continue;
			CHECK(w.p && w.n == w.len);
			CHECK_EQ(w.len, messages == 0 ? 3 : messages == 1 ? 0 : 300);
			CHECK(messages == 1 || !memcmp(w.p, in + (messages ? 18 : 5), w.len));
			messages++;
		}
	}
	amb_grpc_whole_clear(&w);
	CHECK(!w.p && !w.n && !w.len);
	return messages;
}

TEST(messages_put_together)
{
	struct amb_grpc_whole w = { 0 };
	uint8_t in[STREAM_LEN];
	size_t step;

	make_stream(in);
	for (step = 1; step <= STREAM_LEN; step++)
		CHECK_EQ(gather(in, step), 3);
	/* One that was cut and begins anew, as after another stream; then one that is left. */
	nlast = 0;
	CHECK_EQ(amb_grpc_gather(&w, &(struct amb_grpc_piece){ true, false, 6, in, 4 }), 0);
	CHECK_EQ(amb_grpc_gather(&w, &(struct amb_grpc_piece){ true, false, 9, in, 2 }), 0);
	CHECK_EQ(nlast, 6);
	CHECK(w.n == 2 && w.len == 9);
	amb_grpc_whole_clear(&w);
	CHECK_EQ(nlast, 9);
	amb_grpc_whole_clear(&w);
}

TEST(messages_that_are_refused)
{
	struct collected c = { .n = 0 };
	struct amb_grpc_reader r = { .max = 299 };
	uint8_t in[STREAM_LEN], compressed[] = { 1, 0, 0, 0, 1, 0 };

	make_stream(in);
	CHECK_EQ(collect(&r, in, sizeof(in), &c), -EMSGSIZE);
	CHECK_EQ(c.messages, 2);
	r = (struct amb_grpc_reader){ .max = 299 };
	CHECK_EQ(collect(&r, compressed, sizeof(compressed), &c), -EBADMSG);
	/* One that ends in its head, or in its body, is not whole. */
	r = (struct amb_grpc_reader){ .max = 299 };
	CHECK_EQ(collect(&r, in, 2, &c), 0);
	CHECK(!amb_grpc_reader_idle(&r));
	CHECK_EQ(collect(&r, in + 2, 4, &c), 0);
	CHECK(!amb_grpc_reader_idle(&r));
	CHECK_EQ(collect(&r, in + 6, 2, &c), 0);
	CHECK(amb_grpc_reader_idle(&r));
}

TEST(codes)
{
	static const struct {
		const char *text;
		int code;
	} rows[] = {
		{ "0", 0 },  { "1", 1 },   { "14", 14 }, { "16", 16 }, { "17", 2 },
		{ "", 2 },   { "-1", 2 },  { "1x", 2 },	 { "012", 2 }, { "99", 2 },
		{ " 1", 2 }, { "007", 2 }, { "16 ", 2 },
	};
	static const struct {
		unsigned int status;
		int code;
	} http[] = {
		{ 400, AMB_GRPC_INTERNAL },
		{ 401, AMB_GRPC_UNAUTHENTICATED },
		{ 403, AMB_GRPC_PERMISSION_DENIED },
		{ 404, AMB_GRPC_UNIMPLEMENTED },
		{ 429, AMB_GRPC_UNAVAILABLE },
		{ 502, AMB_GRPC_UNAVAILABLE },
		{ 503, AMB_GRPC_UNAVAILABLE },
		{ 504, AMB_GRPC_UNAVAILABLE },
		{ 500, AMB_GRPC_UNKNOWN },
		{ 302, AMB_GRPC_UNKNOWN },
		{ 0, AMB_GRPC_UNKNOWN },
	};
	static const int reset[][2] = {
		{ 0, AMB_GRPC_INTERNAL },
		{ 1, AMB_GRPC_INTERNAL },
		{ 7, AMB_GRPC_UNAVAILABLE },
		{ 8, AMB_GRPC_CANCELLED },
		{ 11, AMB_GRPC_RESOURCE_EXHAUSTED },
		{ 12, AMB_GRPC_PERMISSION_DENIED },
		{ 77, AMB_GRPC_INTERNAL },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].text);
		CHECK_EQ(amb_grpc_code_parse(rows[i].text, strlen(rows[i].text)), rows[i].code);
	}
	for (i = 0; i < AMB_ARRAY_SIZE(http); i++)
		CHECK_EQ(amb_grpc_code_of_http(http[i].status), http[i].code);
	for (i = 0; i < AMB_ARRAY_SIZE(reset); i++)
		CHECK_EQ(amb_grpc_code_of_reset(reset[i][0]), reset[i][1]);
	CHECK_STR(amb_grpc_code_text(AMB_GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
	CHECK_STR(amb_grpc_code_text(17), "UNKNOWN");
}

TEST(texts)
{
	static const struct {
		const char *in, *out;
		size_t room;
	} rows[] = {
		{ "plain", "plain", 64 },
		{ "", "", 64 },
		{ "100%25 of %C3%A9", "100% of \xc3\xa9", 64 },
		{ "a%0Ab%09c%7f", "a?b?c?", 64 },
		{ "bad %zz %4 %", "bad %zz %4 %", 64 },
		{ "cut here", "cut", 4 },
		/* not within a character */
		{ "ab%C3%A9", "ab", 4 },
		{ "ab%E2%82%ACd", "ab", 5 },
		{ "ab%E2%82%ACd", "ab\xe2\x82\xac", 6 },
		{ "x", "", 1 },
	};
	char out[64];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].in);
		amb_grpc_message_decode(rows[i].in, strlen(rows[i].in), out, rows[i].room);
		CHECK_STR(out, rows[i].out);
	}
}

TEST(sockets)
{
	char longest[5 + AMB_GRPC_PATH_MAX + 1] = "unix:/";

	CHECK_STR(amb_grpc_url_path("unix:/run/x"), "/run/x");
	CHECK_STR(amb_grpc_url_path("unix:///run/x"), "/run/x");
	CHECK(!amb_grpc_url_path("unix:run/x"));
	CHECK(!amb_grpc_url_path("unix:"));
	CHECK(!amb_grpc_url_path("unix-abstract:x"));
	CHECK(!amb_grpc_url_path("/run/x"));
	CHECK(!amb_grpc_url_path("https://x"));
	memset(longest + 6, 'x', AMB_GRPC_PATH_MAX - 2);
	CHECK_EQ(strlen(amb_grpc_url_path(longest)), AMB_GRPC_PATH_MAX - 1);
	longest[5 + AMB_GRPC_PATH_MAX - 1] = 'x';
	CHECK(!amb_grpc_url_path(longest));
}

TEST(urls)
{
	static const struct {
		const char *url, *host;
		int port, ret;
	} rows[] = {
		{ "https://istiod.istio-system.svc:15012", "istiod.istio-system.svc", 15012, 0 },
		{ "HTTPS://Host:1", "Host", 1, 0 },
		{ "istiod:15012", "istiod", 15012, 0 },
		{ "istiod", "istiod", 443, 0 },
		{ "https://istiod/", "istiod", 443, 0 },
		{ "10.0.0.1:15012", "10.0.0.1", 15012, 0 },
		{ "https://[fd00::1]:15012", "fd00::1", 15012, 0 },
		{ "[fd00::1]", "fd00::1", 443, 0 },
		{ "http://istiod:15010", NULL, 0, -EPROTONOSUPPORT },
		{ "unix:///tmp/x", NULL, 0, -EPROTONOSUPPORT },
		{ "", NULL, 0, -EINVAL },
		{ "https://", NULL, 0, -EINVAL },
		{ "https://:15012", NULL, 0, -EINVAL },
		{ "host:", NULL, 0, -EINVAL },
		{ "host:0", NULL, 0, -EINVAL },
		{ "host:65536", NULL, 0, -EINVAL },
		{ "host:99999999999", NULL, 0, -EINVAL },
		{ "host:15012/path", NULL, 0, -EINVAL },
		{ "host:15012?x", NULL, 0, -EINVAL },
		{ "[fd00::1", NULL, 0, -EINVAL },
		{ "[fd00::1]x", NULL, 0, -EINVAL },
		{ "ho st", NULL, 0, -EINVAL },
	};
	char host[AMB_GRPC_HOST_MAX], longer[AMB_GRPC_HOST_MAX + 1];
	uint16_t port;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].url);
		CHECK_EQ(amb_grpc_parse_url(rows[i].url, host, &port), rows[i].ret);
		if (rows[i].ret)
			continue;
		CHECK_STR(host, rows[i].host);
		CHECK_EQ(port, rows[i].port);
	}
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	CHECK_EQ(amb_grpc_parse_url(longer, host, &port), -EINVAL);
}

/* RFC 9525 6.3 */
TEST(names)
{
	static const struct {
		const char *pattern, *host;
		bool match;
	} rows[] = {
		{ "istiod.istio-system.svc", "istiod.istio-system.svc", true },
		{ "ISTIOD.istio-system.SVC", "istiod.Istio-System.svc", true },
		{ "istiod.istio-system.svc", "istiod.istio-system.svc.", true },
		{ "istiod.istio-system.svc", "istiod.istio-system", false },
		{ "istiod", "istiod", true },
		{ "*.example.com", "a.example.com", true },
		{ "*.example.com", "a.b.example.com", false },
		{ "*.example.com", "example.com", false },
		{ "*.example.com", ".example.com", false },
		{ "*.com", "example.com", false },
		{ "*", "example", false },
		{ "a*.example.com", "ab.example.com", false },
		{ "a.*.com", "a.example.com", false },
		{ "*.*.com", "a.b.com", false },
		{ "", "a", false },
		{ "a", "", false },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].pattern);
		CHECK_EQ(amb_tls_name_matches(rows[i].pattern, strlen(rows[i].pattern),
					      rows[i].host),
			 rows[i].match);
	}
	/* A NUL within a certificate's name ends it for C only. */
	CHECK(!amb_tls_name_matches("a.b\0.evil", 9, "a.b"));
}

static struct amb_loop *loop;
static struct amb_resolver *resolver;

static int config_errno(const char *name, const char *value, const char *url)
{
	struct amb_grpc_header h = { name, value };
	struct amb_grpc *ch = amb_grpc_create(
		loop, resolver,
		&(struct amb_grpc_config){
			.url = url, .roots = "x", .headers = &h, .nheaders = name ? 1 : 0 });

	if (!ch)
		return errno;
	amb_grpc_destroy(ch);
	return 0;
}

TEST(configurations)
{
	loop = amb_loop_create();
	resolver = amb_resolver_create();
	CHECK_EQ(config_errno(NULL, NULL, "a:1"), 0);
	CHECK_EQ(config_errno("x-test", "v", "a:1"), 0);
	CHECK_EQ(config_errno("x-test", "", "a:1"), 0);
	CHECK_EQ(config_errno("X-Test", "v", "a:1"), EINVAL);
	CHECK_EQ(config_errno("x test", "v", "a:1"), EINVAL);
	CHECK_EQ(config_errno(":path", "v", "a:1"), EINVAL);
	CHECK_EQ(config_errno("", "v", "a:1"), EINVAL);
	CHECK_EQ(config_errno("x-test", "a\r\nb: c", "a:1"), EINVAL);
	CHECK_EQ(config_errno("authorization", "v", "a:1"), EINVAL);
	CHECK_EQ(config_errno(NULL, NULL, "http://a:1"), EINVAL);
	amb_resolver_destroy(resolver);
	amb_loop_destroy(loop);
}

TEST(content_types)
{
	static const struct {
		const char *type;
		bool is_grpc;
	} rows[] = {
		{ "application/grpc", true },
		{ "application/grpc+proto", true },
		{ "application/grpc;charset=utf-8", true },
		{ "Application/gRPC+proto", true },
		{ "application/grpc-web", false },
		{ "application/grpc-web+proto", false },
		{ "application/grpcx", false },
		{ "application/grp", false },
		{ "text/html", false },
		{ "", false },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].type);
		CHECK_EQ(amb_grpc_h2_is_grpc((const uint8_t *)rows[i].type, strlen(rows[i].type)),
			 rows[i].is_grpc);
	}
	CHECK(amb_grpc_h2_is((const uint8_t *)"POSTER", 4, "POST"));
	CHECK(!amb_grpc_h2_is((const uint8_t *)"POST", 3, "POST"));
	CHECK(!amb_grpc_h2_is((const uint8_t *)"post", 4, "POST"));
}

int main(void)
{
	return harness_run();
}
