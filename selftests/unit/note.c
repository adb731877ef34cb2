// SPDX-License-Identifier: GPL-2.0-or-later
/* Notes of connections that the kernel carries: what is written is read, and nothing else. */
#include "proxy/note.h"
#include "base/util.h"

#include "harness.h"

#include <errno.h>
#include <linux/hbone.h>

static struct amb_endpoint at(const char *text)
{
	struct amb_endpoint e;

	CHECK_EQ(amb_endpoint_parse(text, &e), 0);
	return e;
}

static const char client[] = "spiffe://cluster.local/ns/demo/sa/client";
static const char server[] = "spiffe://cluster.local/ns/demo/sa/server";

/* The flow's references are void when the test ends. */
static size_t write_one(enum amb_direction direction, const char *uid, char *to, size_t room)
{
	struct amb_identity *a = amb_identity_parse(client, strlen(client)),
			    *b = amb_identity_parse(server, strlen(server));
	struct amb_workload src = { .uid = "c//Pod/demo/client" }, dst = { .uid = uid };
	struct amb_service svc = { .ns = "demo", .hostname = "web.demo.svc" };
	const struct amb_flow f = {
		.direction = direction,
		.protocol = AMB_PROTO_HBONE,
		.src = at("10.0.0.1:1234"),
		.dst = at("[fd00::2]:15008"),
		.actual = at("10.0.0.2:80"),
		.authority = "web.demo.svc:80",
		.src_workload = &src,
		.dst_workload = uid ? &dst : NULL,
		.dst_service = uid ? &svc : NULL,
		.src_identity = a,
		.dst_identity = uid ? b : NULL,
		.start_ns = 123456789012345ull,
	};
	size_t n = amb_note_write("c//Pod/demo/client", &f, 0x1301, to, room);

	amb_identity_put(a);
	amb_identity_put(b);
	return n;
}

TEST(what_is_written_is_read)
{
	char text[HBONE_NOTE_MAX];
	struct amb_endpoint e;
	struct amb_note n;
	size_t len;

	len = write_one(AMB_OUTBOUND, "c//Pod/demo/server", text, sizeof(text));
	CHECK(len);
	CHECK_EQ(amb_note_read(text, len, &n), 0);
	CHECK_STR(n.pod, "c//Pod/demo/client");
	CHECK_EQ(n.direction, AMB_OUTBOUND);
	CHECK_EQ(n.protocol, AMB_PROTO_HBONE);
	e = at("10.0.0.1:1234");
	CHECK(amb_endpoint_eq(&n.src, &e));
	e = at("[fd00::2]:15008");
	CHECK(amb_endpoint_eq(&n.dst, &e));
	e = at("10.0.0.2:80");
	CHECK(amb_endpoint_eq(&n.actual, &e));
	CHECK_STR(n.authority, "web.demo.svc:80");
	CHECK_STR(n.src_uid, "c//Pod/demo/client");
	CHECK_STR(n.dst_uid, "c//Pod/demo/server");
	CHECK_STR(n.service_ns, "demo");
	CHECK_STR(n.service_host, "web.demo.svc");
	CHECK_STR(n.src_identity, client);
	CHECK_STR(n.dst_identity, server);
	CHECK_EQ(n.suite, 0x1301);
	CHECK_EQ(n.start_ns, 123456789012345ll);
	amb_note_clear(&n);
}

TEST(what_is_not_known_is_not_there)
{
	char text[HBONE_NOTE_MAX];
	struct amb_note n;
	size_t len;

	len = write_one(AMB_INBOUND, NULL, text, sizeof(text));
	CHECK(len);
	CHECK_EQ(amb_note_read(text, len, &n), 0);
	CHECK_EQ(n.direction, AMB_INBOUND);
	CHECK(!n.dst_uid && !n.service_host && !n.service_ns && !n.dst_identity);
	amb_note_clear(&n);
}

TEST(room)
{
	char text[HBONE_NOTE_MAX], uid[HBONE_NOTE_MAX];
	size_t len = write_one(AMB_INBOUND, "u", text, sizeof(text));

	CHECK(len > 1);
	CHECK_EQ(write_one(AMB_INBOUND, "u", text, len), len);
	CHECK_EQ(write_one(AMB_INBOUND, "u", text, len - 1), 0);
	memset(uid, 'u', sizeof(uid) - 1);
	uid[sizeof(uid) - 1] = 0;
	CHECK_EQ(write_one(AMB_INBOUND, uid, text, sizeof(text)), 0);
}

#define HEAD "{\"v\":1,\"direction\":0,\"protocol\":1,\"suite\":1,\"start\":1,\"pod\":\"p\","
#define ENDS "\"src\":\"10.0.0.1:1\",\"dst\":\"10.0.0.2:2\",\"actual\":\"10.0.0.3:3\""

static const struct {
	const char *what, *text;
	int err;
} notes[] = {
	{ "the least that is one", HEAD ENDS "}", 0 },
	{ "nothing", "", -EBADMSG },
	{ "no JSON", "note", -EBADMSG },
	{ "no object", "[1]", -EBADMSG },
	{ "cut", HEAD ENDS, -EBADMSG },
	{ "another version",
	  "{\"v\":2,\"direction\":0,\"protocol\":1,\"suite\":1,\"start\":1,\"pod\":\"p\"," ENDS "}",
	  -EBADMSG },
	{ "no pod", "{\"v\":1,\"direction\":0,\"protocol\":1,\"suite\":1,\"start\":1," ENDS "}",
	  -EBADMSG },
	{ "an unknown direction",
	  "{\"v\":1,\"direction\":2,\"protocol\":1,\"suite\":1,\"start\":1,\"pod\":\"p\"," ENDS "}",
	  -EBADMSG },
	{ "a protocol that is not carried",
	  "{\"v\":1,\"direction\":0,\"protocol\":0,\"suite\":1,\"start\":1,\"pod\":\"p\"," ENDS "}",
	  -EBADMSG },
	{ "a suite that is no number",
	  "{\"v\":1,\"direction\":0,\"protocol\":1,\"suite\":\"x\",\"start\":1,\"pod\":\"p\"," ENDS
	  "}",
	  -EBADMSG },
	{ "no address", HEAD "\"src\":\"10.0.0.1:1\",\"dst\":\"10.0.0.2:2\"}", -EBADMSG },
	{ "a bad address",
	  HEAD "\"src\":\"10.0.0.1:1\",\"dst\":\"10.0.0.2:2\",\"actual\":\"here\"}", -EBADMSG },
	{ "a name twice", HEAD "\"pod\":\"q\"," ENDS "}", -EBADMSG },
};

TEST(refusals)
{
	struct amb_note n;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(notes); i++) {
		CASE(notes[i].what);
		CHECK_EQ(amb_note_read(notes[i].text, strlen(notes[i].text), &n), notes[i].err);
		if (!notes[i].err)
			amb_note_clear(&n);
	}
}

int main(void)
{
	return harness_run();
}
