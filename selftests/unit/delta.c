// SPDX-License-Identifier: GPL-2.0-or-later
/* The envelope reader: what protobuf-c packed comes out, wherever it is cut; limits; garbage. */
#include "harness.h"

#include "discovery.pb-c.h"

#include "base/util.h"
#include "control/delta.h"

#include <errno.h>
#include <stdarg.h>

typedef Discovery__DeltaDiscoveryResponse Response;
typedef Discovery__Resource Resource;
typedef Google__Protobuf__Any Any;

static char story[65536];
static size_t nstory;
static int refuse_at, nresources;

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	nstory += vsnprintf(story + nstory, sizeof(story) - nstory, fmt, ap);
	va_end(ap);
	CHECK(nstory < sizeof(story));
}

static int on_resource(void *ctx, const struct amb_delta_resource *r)
{
	(void)ctx;
	if (++nresources == refuse_at)
		return -ECANCELED;
	say("%s@%s:%zu", r->name, r->version, r->len);
	if (r->fault)
		say("!%d", r->fault);
	say(";");
	return 0;
}

static int on_removed(void *ctx, const char *name)
{
	(void)ctx;
	say("-%s;", name);
	return 0;
}

static void on_alias(void *ctx, const char *name)
{
	(void)ctx;
	say("=%s;", name);
}

static const struct amb_delta_handler handler = { on_resource, on_removed, on_alias };
static struct amb_delta delta;

static void restart(void)
{
	nstory = 0;
	story[0] = 0;
	nresources = 0;
	refuse_at = 0;
	amb_delta_uninit(&delta);
	amb_delta_init(&delta, &handler, NULL);
}

/* Feeds @n bytes cut at @a and @b. */
static int feed(const uint8_t *p, size_t n, size_t a, size_t b)
{
	int err;

	amb_delta_begin(&delta, n);
	err = amb_delta_feed(&delta, p, a) ?: amb_delta_feed(&delta, p + a, b - a);
	err = err ?: amb_delta_feed(&delta, p + b, n - b);
	return err ?: amb_delta_end(&delta);
}

/* Strings of C are what protobuf-c packs; the rest by hand. */
static size_t pack(uint8_t *to, size_t nres, size_t value)
{
	static char names[64][32], version[] = "v1", type[] = "some/type", nonce[] = "n-1";
	static char *removed[] = { "gone/1", "gone/2" }, *aliases[] = { "net/1.2.3.4", "x" };
	Response m = DISCOVERY__DELTA_DISCOVERY_RESPONSE__INIT;
	Resource r[64], *list[64];
	Any any[64];
	size_t i;

	for (i = 0; i < nres; i++) {
		discovery__resource__init(&r[i]);
		google__protobuf__any__init(&any[i]);
		snprintf(names[i], sizeof(names[i]), "name-%zu", i);
		r[i].name = names[i];
		r[i].version = version;
		any[i].type_url = type;
		any[i].value.len = value;
		any[i].value.data = calloc(1, value + 1);
		CHECK(any[i].value.data);
		r[i].resource = &any[i];
		r[i].n_aliases = i == 0 ? 2 : 0;
		r[i].aliases = aliases;
		list[i] = &r[i];
	}
	m.system_version_info = "system";
	m.resources = list;
	m.n_resources = nres;
	m.type_url = type;
	m.nonce = nonce;
	m.removed_resources = removed;
	m.n_removed_resources = 2;
	i = discovery__delta_discovery_response__pack(&m, to);
	while (nres)
		free(any[--nres].value.data);
	return i;
}

TEST(cut_anywhere)
{
	uint8_t in[4096];
	size_t n = pack(in, 3, 200), a, b;
	char first[1024];

	restart();
	CHECK_EQ(feed(in, n, n, n), 0);
	CHECK_STR(story,
		  "=net/1.2.3.4;=x;name-0@v1:214;name-1@v1:214;name-2@v1:214;-gone/1;-gone/2;");
	CHECK_STR(delta.type_url, "some/type");
	CHECK_STR(delta.nonce, "n-1");
	strcpy(first, story);
	for (a = 0; a <= n; a++) {
		for (b = a; b <= n; b += 1 + (b - a) / 2) {
			restart();
			CHECK_EQ(feed(in, n, a, b), 0);
			CHECK_STR(story, first);
		}
	}
	/* A message that is shorter than it says, by any number of bytes. */
	for (a = 0; a < n; a++) {
		restart();
		amb_delta_begin(&delta, n);
		CHECK_EQ(amb_delta_feed(&delta, in, a), 0);
		CHECK_EQ(amb_delta_end(&delta), -EBADMSG);
	}
	restart();
	amb_delta_begin(&delta, n);
	CHECK_EQ(amb_delta_feed(&delta, in, n), 0);
	CHECK_EQ(amb_delta_feed(&delta, in, 1), -EBADMSG);
	restart();
	amb_delta_uninit(&delta);
}

/* In bytes: "\x12" is field 2 with a body, and so on. */
TEST(by_hand)
{
	static const struct {
		const char *what, *in;
		size_t n;
		int ret;
		const char *story, *type;
	} rows[] = {
		{ "nothing", "", 0, 0, "", "" },
		{ "an empty resource", "\x12\x00", 2, 0, "@:0;", "" },
		{ "an empty value", "\x12\x04\x12\x00\x1a\x00", 6, 0, "@:0;", "" },
		{ "name before value", "\x12\x07\x1a\x01n\x12\x02xy", 9, 0, "n@:2;", "" },
		{ "the last of a field counts", "\x12\x08\x1a\x01n\x1a\x03mno", 10, 0, "mno@:0;",
		  "" },
		{ "type before resources", "\x22\x01t\x12\x03\x1a\x01n", 8, 0, "n@:0;", "t" },
		{ "removal before resources", "\x32\x01r\x12\x03\x1a\x01n", 8, 0, "-r;n@:0;", "" },
		{ "unknown varint", "\x78\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 0, "", "" },
		{ "unknown 32 and 64 bits",
		  "\x7d"
		  "1234\x79"
		  "12345678",
		  14, 0, "", "" },
		{ "unknown body",
		  "\x7a\x03"
		  "abc\x22\x01t",
		  8, 0, "", "t" },
		{ "unknown in a resource", "\x12\x08\x78\x05\x7a\x01x\x1a\x01n", 10, 0, "n@:0;",
		  "" },
		{ "a known field of another type", "\x20\x05\x12\x02\x18\x01", 6, 0, "@:0;", "" },
		{ "field number zero", "\x02\x00", 2, -EBADMSG, "", "" },
		{ "a group", "\x7b\x7c", 2, -EBADMSG, "", "" },
		{ "wire type 6", "\x7e\x00", 2, -EBADMSG, "", "" },
		{ "a key of more than 32 bits", "\xf8\xff\xff\xff\x7f\x00", 6, -EBADMSG, "", "" },
		{ "a varint of eleven bytes", "\x78\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		  12, -EBADMSG, "", "" },
		{ "a varint of 65 bits", "\x78\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11,
		  -EBADMSG, "", "" },
		{ "a body past the end", "\x22\x05t", 3, -EBADMSG, "", "" },
		{ "a resource past the end", "\x12\x05\x1a", 3, -EBADMSG, "", "" },
		{ "a body past its resource", "\x12\x03\x1a\x05nabcd", 9, -EBADMSG, "", "" },
		{ "a key at a resource's end", "\x12\x01\x1a\x22\x01t", 6, -EBADMSG, "", "" },
		{ "a length that goes on past it", "\x12\x02\x1a\x80\x22\x01t", 7, -EBADMSG, "",
		  "" },
		{ "a number that goes on past it", "\x12\x02\x78\x80\x22\x01t", 7, -EBADMSG, "",
		  "" },
		{ "a huge length", "\x7a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, -EBADMSG, "",
		  "" },
		{ "a NUL in a name",
		  "\x12\x05\x1a\x03"
		  "a\0b",
		  7, 0, "a@:0!2;", "" },
		{ "a NUL in a removal",
		  "\x32\x03"
		  "a\0b",
		  5, 0, "", "" },
		{ "a NUL in the nonce",
		  "\x2a\x03"
		  "a\0b",
		  5, -EMSGSIZE, "", "" },
	};
	size_t i, a;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		for (a = 0; a <= rows[i].n; a++) {
			restart();
			CHECK_EQ(feed((const uint8_t *)rows[i].in, rows[i].n, a, a), rows[i].ret);
			CHECK_STR(story, rows[i].story);
			if (!rows[i].ret)
				CHECK_STR(delta.type_url, rows[i].type);
		}
	}
	restart();
	amb_delta_uninit(&delta);
}

/* A field with a body of @len bytes; returns the bytes written. */
static size_t body(uint8_t *to, uint8_t key, size_t len)
{
	size_t n = 0, v = len;

	to[n++] = key;
	do {
		to[n++] = (v & 0x7f) | (v > 0x7f ? 0x80 : 0);
		v >>= 7;
	} while (v);
	memset(to + n, 'x', len);
	return n + len;
}

static int one_field(uint8_t key, size_t len)
{
	uint8_t *in = malloc(len + 16);
	size_t n = body(in, key, len);
	int ret;

	restart();
	ret = feed(in, n, n / 2, n / 2);
	free(in);
	return ret;
}

/* A Resource that holds one field. */
static int one_within(uint8_t key, size_t len)
{
	uint8_t *in = malloc(len + 32), inner[16];
	size_t n, head = body(inner, key, 0) - 1, v;
	int ret;

	/* the field's length takes as many bytes as it needs */
	for (v = len; v; v >>= 7)
		head++;
	n = body(in, 0x12, head + len);
	body(in + n - head - len, key, len);
	restart();
	ret = feed(in, n, n / 3, n / 2);
	free(in);
	return ret;
}

TEST(limits)
{
	CHECK_EQ(one_field(0x22, AMB_DELTA_TYPE_MAX - 1), 0);
	CHECK_EQ(strlen(delta.type_url), AMB_DELTA_TYPE_MAX - 1);
	CHECK_EQ(one_field(0x22, AMB_DELTA_TYPE_MAX), -EMSGSIZE);
	CHECK_EQ(one_field(0x2a, AMB_DELTA_NONCE_MAX - 1), 0);
	CHECK_EQ(one_field(0x2a, AMB_DELTA_NONCE_MAX), -EMSGSIZE);
	/* Nobody has a resource of such a name. */
	CHECK_EQ(one_field(0x32, AMB_DELTA_NAME_MAX), 0);
	CHECK_STR(story, "");
	CHECK_EQ(one_within(0x1a, AMB_DELTA_NAME_MAX), 0);
	CHECK(strstr(story, "@:0!2;"));
	CHECK_EQ(one_within(0x0a, AMB_DELTA_VERSION_MAX), 0);
	CHECK_STR(story, "@:0;");
	CHECK_EQ(one_within(0x12, AMB_DELTA_RESOURCE_MAX), 0);
	CHECK_STR(story, "@:4194304;");
	/* What it needed is given back. */
	CHECK(!delta.value);
	CHECK_EQ(one_within(0x12, AMB_DELTA_RESOURCE_MAX + 1), 0);
	CHECK_STR(story, "@:0!1;");
	CHECK_EQ(one_field(0x7a, 64 << 20), 0);
	restart();
	amb_delta_uninit(&delta);
}

TEST(handlers_that_refuse)
{
	uint8_t in[4096];
	size_t n = pack(in, 3, 10);

	restart();
	refuse_at = 2;
	CHECK_EQ(feed(in, n, n / 2, n), -ECANCELED);
	CHECK_STR(story, "=net/1.2.3.4;=x;name-0@v1:23;");
	/* It stays so until the next message. */
	CHECK_EQ(amb_delta_feed(&delta, in, 1), -ECANCELED);
	CHECK_EQ(amb_delta_end(&delta), -ECANCELED);
	refuse_at = 0;
	nstory = 0;
	CHECK_EQ(feed(in, n, 0, n), 0);
	CHECK(strstr(story, "name-2"));
	restart();
	amb_delta_uninit(&delta);
}

int main(void)
{
	return harness_run();
}
