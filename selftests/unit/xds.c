// SPDX-License-Identifier: GPL-2.0-or-later
/* The delta ADS client's parts: ends and waits, what is held, who we are, answers into state. */
#include "mesh.h"

#include "discovery.pb-c.h"

#include "base/loop.h"
#include "base/util.h"
#include "control/intake.h"
#include "control/node.h"
#include "control/xds.h"

#include <errno.h>
#include <stdbool.h>

/* Ends of streams (reference 1.6) */

TEST(ends)
{
	static const struct {
		struct amb_grpc_status status;
		enum amb_xds_end end;
	} rows[] = {
		{ { AMB_GRPC_UNAVAILABLE, true, "connect: Connection refused" },
		  AMB_XDS_END_CONNECTION },
		{ { AMB_GRPC_OK, false, "" }, AMB_XDS_END_COMPLETE },
		{ { AMB_GRPC_UNKNOWN, false, "" }, AMB_XDS_END_RECONNECT },
		{ { AMB_GRPC_CANCELLED, false, "" }, AMB_XDS_END_RECONNECT },
		{ { AMB_GRPC_DEADLINE_EXCEEDED, false, "" }, AMB_XDS_END_RECONNECT },
		{ { AMB_GRPC_UNAVAILABLE, false, "transport is closing" }, AMB_XDS_END_RECONNECT },
		{ { AMB_GRPC_UNAVAILABLE, false,
		    "closing transport due to: EOF, received prior goaway: code: NO_ERROR" },
		  AMB_XDS_END_RECONNECT },
		{ { AMB_GRPC_UNAVAILABLE, false, "no upstream" }, AMB_XDS_END_ERROR },
		{ { AMB_GRPC_UNAUTHENTICATED, false, "transport is closing" }, AMB_XDS_END_ERROR },
		{ { AMB_GRPC_INTERNAL, false, "" }, AMB_XDS_END_ERROR },
		{ { AMB_GRPC_RESOURCE_EXHAUSTED, false, "" }, AMB_XDS_END_ERROR },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].status.message);
		CHECK_EQ(amb_xds_end_of(&rows[i].status), rows[i].end);
	}
	CHECK_STR(amb_xds_end_text(AMB_XDS_END_CONNECTION), "ConnectionError");
	CHECK_STR(amb_xds_end_text(AMB_XDS_END_ERROR), "Error");
	CHECK_STR(amb_xds_end_text(AMB_XDS_END_RECONNECT), "Reconnect");
	CHECK_STR(amb_xds_end_text(AMB_XDS_END_COMPLETE), "Complete");
}

#define MS 1000000ull

TEST(waits)
{
	static const struct {
		const char *what;
		enum amb_xds_end end;
		bool brought;
		uint64_t ms;
	} rows[] = {
		{ "first", AMB_XDS_END_CONNECTION, false, 10 },
		{ "second", AMB_XDS_END_CONNECTION, false, 20 },
		{ "an error too", AMB_XDS_END_ERROR, true, 40 },
		{ "one that brought nothing", AMB_XDS_END_RECONNECT, false, 80 },
		{ "ordinary", AMB_XDS_END_RECONNECT, true, 10 },
		{ "after it", AMB_XDS_END_ERROR, false, 20 },
		{ "in order", AMB_XDS_END_COMPLETE, true, 10 },
		{ "and again", AMB_XDS_END_COMPLETE, true, 10 },
		{ "in order, but empty", AMB_XDS_END_COMPLETE, false, 20 },
	};
	uint64_t next = 0, last = 0;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		CHECK_EQ(amb_xds_backoff(&next, rows[i].end, rows[i].brought), rows[i].ms * MS);
	}
	for (i = 0; i < 20; i++)
		last = amb_xds_backoff(&next, AMB_XDS_END_ERROR, true);
	CHECK_EQ(last, 15000 * MS);
}

/* What is held */

TEST(held_against_a_model)
{
	struct amb_held h = { 0 };
	struct amb_held_entry *e;
	char name[32], version[32];
	unsigned int model[512] = { 0 }, seed = 1, i, n;
	size_t at, count;

	for (i = 0; i < 20000; i++) {
		unsigned int k = (seed = seed * 1103515245 + 12345) >> 16 & 511;

		snprintf(name, sizeof(name), "name-%u", k);
		e = amb_held_find(&h, name);
		CHECK(!e == !model[k]);
		if (e) {
			snprintf(version, sizeof(version), "v%u", model[k]);
			CHECK(!strcmp(e->version, version) && e->stamp == model[k] && e->told);
		}
		if (e && seed & 1) {
			amb_held_del(&h, e);
			model[k] = 0;
		} else {
			model[k] = i + 1;
			snprintf(version, sizeof(version), "v%u", i + 1);
			CHECK(amb_held_put(&h, name, version, i + 1));
		}
	}
	for (i = n = 0; i < 512; i++)
		n += model[i] != 0;
	CHECK_EQ(h.n, n);
	for (at = count = 0; (e = amb_held_next(&h, &at)); count++)
		CHECK_EQ(model[atoi(e->name + 5)], e->stamp);
	CHECK_EQ(count, n);
	amb_held_put(&h, "new", "v", 77777);
	amb_held_blank(&h, 77777);
	CHECK_STR(amb_held_find(&h, "new")->version, "");
	amb_held_clear(&h);
	CHECK(!amb_held_find(&h, "new"));
	CHECK_EQ(amb_str_count(), 0);
}

/* Who we are (reference 1.3) */

static const Google__Protobuf__Value *meta(struct amb_node *n, const char *key)
{
	const Google__Protobuf__Struct *s = amb_node_message(n)->metadata;
	const Google__Protobuf__Value *found = NULL;
	size_t i;

	for (i = 0; i < s->n_fields; i++) {
		if (strcmp(s->fields[i]->key, key))
			continue;
		CHECK(!found);
		found = s->fields[i]->value;
	}
	return found;
}

static const char *meta_text(struct amb_node *n, const char *key)
{
	const Google__Protobuf__Value *v = meta(n, key);

	CHECK(v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE);
	return v->string_value;
}

TEST(node)
{
	static const char *const environment[] = {
		"ISTIO_META_CLUSTER_ID=c1",
		"ISTIO_META_=nothing",
		"PATH=/bin",
		"ISTIO_META_EMPTY=",
		"ISTIO_META_NODE_NAME=other",
		"ISTIO_METAJSON_LABELS={\"a\": {\"b\": [1, \"x\", true, null, 2.5]}}",
		"ISTIO_METAJSON_N=7",
		"ISTIO_META_EQ=a=b",
		NULL,
	};
	struct amb_node_config c = { .instance_ip = "10.1.2.3",
				     .pod_name = "ztunnel-x",
				     .pod_namespace = "istio-system",
				     .node_name = "n1",
				     .environment = environment };
	const Google__Protobuf__Value *v;
	struct amb_node *n;
	char err[200];

	n = amb_node_create(&c, err, sizeof(err));
	CHECK(n);
	CHECK_STR(amb_node_message(n)->id,
		  "ztunnel~10.1.2.3~ztunnel-x.istio-system~istio-system.svc.cluster.local");
	CHECK_STR(meta_text(n, "NAME"), "ztunnel-x");
	CHECK_STR(meta_text(n, "NAMESPACE"), "istio-system");
	CHECK_STR(meta_text(n, "INSTANCE_IPS"), "10.1.2.3");
	CHECK_STR(meta_text(n, "CLUSTER_ID"), "c1");
	CHECK_STR(meta_text(n, "EMPTY"), "");
	CHECK_STR(meta_text(n, "EQ"), "a=b");
	/* What the environment says comes last. */
	CHECK_STR(meta_text(n, "NODE_NAME"), "other");
	CHECK(!meta(n, "PATH") && !meta(n, ""));
	v = meta(n, "N");
	CHECK(v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE && v->number_value == 7);
	v = meta(n, "LABELS");
	CHECK_EQ(v->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE);
	v = v->struct_value->fields[0]->value->struct_value->fields[0]->value;
	CHECK_EQ(v->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE);
	CHECK_EQ(v->list_value->n_values, 5);
	CHECK_STR(v->list_value->values[1]->string_value, "x");
	CHECK(v->list_value->values[2]->bool_value);
	CHECK_EQ(v->list_value->values[3]->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE);
	CHECK(v->list_value->values[4]->number_value == 2.5);
	CHECK(protobuf_c_message_get_packed_size(&amb_node_message(n)->base) > 100);
	amb_node_destroy(n);
	n = amb_node_create(&(struct amb_node_config){ 0 }, err, sizeof(err));
	CHECK(n);
	CHECK_STR(amb_node_message(n)->id, "ztunnel~1.1.1.1~.~.svc.cluster.local");
	amb_node_destroy(n);
}

TEST(node_that_cannot_be)
{
	static const char *const rows[][2] = {
		{ "ISTIO_METAJSON_X={", NULL },
		{ "ISTIO_METAJSON_X=", NULL },
		{ "ISTIO_METAJSON_X={} {}", NULL },
		{ "ISTIO_METAJSON_X=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
		  NULL },
	};
	char err[200];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i][0]);
		CHECK(!amb_node_create(&(struct amb_node_config){ .environment = rows[i] }, err,
				       sizeof(err)));
		CHECK_EQ(errno, EINVAL);
		CHECK_STR(err, "ISTIO_METAJSON_X: its value is no JSON");
	}
}

/* Answers into state */

struct answer {
	Discovery__DeltaDiscoveryResponse m;
	Discovery__Resource r[64], *list[64];
	char *removed[16];
};

static struct answer *answer(enum amb_xds_type type, const char *nonce)
{
	struct answer *a = mesh_alloc(sizeof(*a));

	discovery__delta_discovery_response__init(&a->m);
	a->m.type_url = (char *)(type < AMB_XDS_TYPES ? amb_xds_type_url(type) : "other/Type");
	a->m.nonce = (char *)nonce;
	a->m.resources = a->list;
	a->m.removed_resources = a->removed;
	return a;
}

static void add_raw(struct answer *a, const char *name, const char *version, const char *type,
		    uint8_t *value, size_t len)
{
	Discovery__Resource *r = &a->r[a->m.n_resources];

	discovery__resource__init(r);
	r->name = (char *)name;
	r->version = (char *)version;
	r->resource = mesh_alloc(sizeof(*r->resource));
	google__protobuf__any__init(r->resource);
	r->resource->type_url = (char *)type;
	r->resource->value.len = len;
	r->resource->value.data = value;
	a->list[a->m.n_resources++] = r;
}

static void add_workload(struct answer *a, struct wl w, const char *version)
{
	Istio__Workload__Address *m = mesh_workload(&w);
	size_t len = istio__workload__address__get_packed_size(m);
	uint8_t *buf = mesh_alloc(len);

	istio__workload__address__pack(m, buf);
	add_raw(a, w.uid, version, amb_xds_type_url(AMB_XDS_ADDRESS), buf, len);
}

static void add_policy(struct answer *a, const char *ns, const char *name)
{
	Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;
	char *key = mesh_alloc(128);
	uint8_t *buf = mesh_alloc(256);

	snprintf(key, 128, "%s/%s", ns, name);
	m.namespace_ = (char *)ns;
	m.name = (char *)name;
	add_raw(a, key, "", amb_xds_type_url(AMB_XDS_AUTHORIZATION), buf,
		istio__security__authorization__pack(&m, buf));
}

static void remove_name(struct answer *a, const char *name)
{
	a->removed[a->m.n_removed_resources++] = (char *)name;
}

static int give(struct amb_intake *in, struct answer *a, struct amb_intake_result *out)
{
	size_t len = protobuf_c_message_get_packed_size(&a->m.base), at;
	uint8_t *buf = mesh_alloc(len);
	int err = 0;

	protobuf_c_message_pack(&a->m.base, buf);
	amb_intake_begin(in, len);
	for (at = 0; at < len && !err; at += 7)
		err = amb_intake_feed(in, buf + at, AMB_MIN((size_t)7, len - at));
	return err ?: amb_intake_end(in, out);
}

static struct amb_state *st;
static struct amb_intake *in;

static void begin(void)
{
	st = mesh_state("");
	in = amb_intake_create(st);
	CHECK(in);
	amb_intake_stream(in, true);
}

static void end(void)
{
	amb_intake_destroy(in);
	amb_state_destroy(st);
	mesh_free();
	CHECK_EQ(amb_str_count(), 0);
}

static const char *version_of(enum amb_xds_type type, const char *name)
{
	const struct amb_held_entry *e = amb_held_find(amb_intake_held(in, type), name);

	return e ? e->version : "none";
}

static bool known(const char *uid)
{
	bool yes;

	amb_state_read_begin(st);
	yes = amb_state_workload_by_uid(st, uid) != NULL;
	amb_state_read_end(st);
	return yes;
}

TEST(an_answer_becomes_visible_whole)
{
	struct answer *a = answer(AMB_XDS_ADDRESS, "n1");
	struct amb_intake_result r;
	uint64_t version;

	begin();
	add_workload(a, (struct wl){ .uid = "a", .name = "a" }, "v1");
	add_workload(a, (struct wl){ .uid = "b", .name = "b" }, "v2");
	remove_name(a, "b");
	remove_name(a, "nobody");
	version = amb_state_version(st);
	CHECK_EQ(give(in, a, &r), 0);
	CHECK_EQ(amb_state_version(st), version + 1);
	CHECK_EQ(r.type, AMB_XDS_ADDRESS);
	CHECK_STR(r.nonce, "n1");
	CHECK(!r.nack && r.resources == 2 && r.refused == 0);
	/* Updated and removed ends removed. */
	CHECK(known("a") && !known("b"));
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "a"), "v1");
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "b"), "none");
	end();
}

/* Fields of a later istiod, in a Workload and beside it. */
TEST(unknown_fields_are_passed_over)
{
	/* 1000: a number, 1001: text, 1002: a message, 1003: four bytes, 1004: eight. */
	static const char later[] = "\xc0\x3e\x07"
				    "\xca\x3e\x02hi"
				    "\xd2\x3e\x02\x08\x01"
				    "\xdd\x3e\x01\x02\x03\x04"
				    "\xe1\x3e\x01\x02\x03\x04\x05\x06\x07\x08";
	/* workload = 1 of an Address, and in it name = 1, uid = 20 */
	static const char head[] = "\x0a\x24\x0a\x01n\xa2\x01\x01"
				   "a";
	struct answer *a = answer(AMB_XDS_ADDRESS, "n1");
	struct amb_intake_result r;
	char buf[200];

	begin();
	CHECK_EQ(head[1], strlen(head) - 2 + sizeof(later) - 1);
	snprintf(buf, sizeof(buf), "%s%s%s", head, later, later);
	add_raw(a, "a", "v1", amb_xds_type_url(AMB_XDS_ADDRESS), (uint8_t *)buf, strlen(buf));
	CHECK_EQ(give(in, a, &r), 0);
	CHECK(!r.nack && r.resources == 1 && r.refused == 0);
	CHECK(known("a"));
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "a"), "v1");
	end();
}

TEST(bad_ones_are_refused_one_by_one)
{
	struct answer *a = answer(AMB_XDS_ADDRESS, "n1"), *b = answer(AMB_XDS_ADDRESS, "n2");
	struct amb_intake_result r;

	begin();
	add_workload(a, (struct wl){ .uid = "a", .name = "a" }, "v1");
	add_workload(a, (struct wl){ .uid = "bad", .name = "bad", .hbone = 2 }, "v1");
	add_raw(a, "torn", "v1", amb_xds_type_url(AMB_XDS_ADDRESS), (uint8_t *)"\x0a\x05x", 3);
	add_raw(a, "odd", "v1", "other/Type", (uint8_t *)"", 0);
	add_raw(a, "bare", "v1", "", (uint8_t *)"", 0);
	CHECK_EQ(give(in, a, &r), 0);
	CHECK(r.nack && r.refused == 4 && r.resources == 5);
	CHECK_STR(r.nack, "bad: tunnel_protocol: unknown value 2, torn: cannot be decoded, "
			  "odd: is of type other/Type, bare: is of type none");
	CHECK(known("a") && !known("bad"));
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "a"), "v1");
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "bad"), "none");
	/* One that was good before stays what it was, and is held as that. */
	add_workload(b, (struct wl){ .uid = "a", .name = "a", .hbone = 2 }, "v2");
	CHECK_EQ(give(in, b, &r), 0);
	CHECK_EQ(r.refused, 1);
	CHECK(known("a"));
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "a"), "v1");
	end();
}

TEST(a_nack_has_an_end)
{
	struct answer *a = answer(AMB_XDS_ADDRESS, "n1");
	char *name = mesh_alloc(600);
	struct amb_intake_result r;
	int i;

	begin();
	memset(name, 'n', 599);
	for (i = 0; i < 64; i++)
		add_raw(a, name, "v", amb_xds_type_url(AMB_XDS_ADDRESS), (uint8_t *)"\xff", 1);
	CHECK_EQ(give(in, a, &r), 0);
	CHECK_EQ(r.refused, 64);
	CHECK(strlen(r.nack) < AMB_INTAKE_NACK_MAX);
	CHECK(strstr(r.nack, ", and ") && !strcmp(r.nack + strlen(r.nack) - 5, " more"));
	end();
}

TEST(types)
{
	struct answer *policies = answer(AMB_XDS_AUTHORIZATION, "p"),
		      *other = answer(AMB_XDS_OTHER, "o"),
		      *mixed = answer(AMB_XDS_AUTHORIZATION, "m"),
		      *gone = answer(AMB_XDS_AUTHORIZATION, "g");
	struct amb_intake_result r;

	begin();
	add_policy(policies, "ns", "p");
	CHECK_EQ(give(in, policies, &r), 0);
	CHECK(r.type == AMB_XDS_AUTHORIZATION && !r.nack);
	CHECK_EQ(amb_state_count_policies(st), 1);
	CHECK_STR(version_of(AMB_XDS_AUTHORIZATION, "ns/p"), "");
	/* An unknown type is taken note of and nothing else, whatever is in it. */
	add_workload(other, (struct wl){ .uid = "x", .name = "x" }, "v1");
	add_raw(other, "y", "v1", "other/Type", (uint8_t *)"\xff", 1);
	remove_name(other, "ns/p");
	CHECK_EQ(give(in, other, &r), 0);
	CHECK(r.type == AMB_XDS_OTHER && !r.nack && !r.refused);
	CHECK_STR(r.type_url, "other/Type");
	CHECK(!known("x") && amb_state_count_policies(st) == 1);
	/* Workloads in an answer of policies: nothing of it. */
	add_policy(mixed, "ns", "q");
	add_workload(mixed, (struct wl){ .uid = "x", .name = "x" }, "v1");
	CHECK_EQ(give(in, mixed, &r), 0);
	CHECK(r.nack && r.refused == 2);
	CHECK(!known("x") && amb_state_count_policies(st) == 1);
	/* A removal is of the answer's type only. */
	remove_name(gone, "ns/p");
	CHECK_EQ(give(in, gone, &r), 0);
	CHECK_EQ(amb_state_count_policies(st), 0);
	CHECK_STR(version_of(AMB_XDS_AUTHORIZATION, "ns/p"), "none");
	end();
}

TEST(one_that_is_given_up)
{
	struct answer *a = answer(AMB_XDS_ADDRESS, "n1"), *b = answer(AMB_XDS_ADDRESS, "n2"),
		      *c = answer(AMB_XDS_ADDRESS, "n3");
	struct amb_intake_result r;
	uint64_t version;
	uint8_t *buf;
	size_t len;

	begin();
	add_workload(a, (struct wl){ .uid = "a", .name = "a" }, "v1");
	add_workload(a, (struct wl){ .uid = "k", .name = "k" }, "v1");
	CHECK_EQ(give(in, a, &r), 0);
	version = amb_state_version(st);
	add_workload(b, (struct wl){ .uid = "a", .name = "other" }, "v2");
	add_workload(b, (struct wl){ .uid = "new", .name = "new" }, "v2");
	add_workload(b, (struct wl){ .uid = "z", .name = "z" }, "v2");
	remove_name(b, "k");
	len = protobuf_c_message_get_packed_size(&b->m.base);
	buf = mesh_alloc(len);
	protobuf_c_message_pack(&b->m.base, buf);
	/* The stream ends one byte early; then within a resource; then the bytes are no answer. */
	amb_intake_begin(in, len);
	CHECK_EQ(amb_intake_feed(in, buf, len - 1), 0);
	CHECK_EQ(amb_intake_end(in, &r), -EBADMSG);
	amb_intake_drop(in);
	CHECK_EQ(amb_state_version(st), version);
	CHECK(!known("new") && known("k"));
	/* What would not be true is not said at the next stream. */
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "a"), "");
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "new"), "");
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "k"), "v1");
	amb_intake_begin(in, len);
	CHECK_EQ(amb_intake_feed(in, buf, len / 2), 0);
	amb_intake_drop(in);
	amb_intake_drop(in);
	CHECK_EQ(amb_state_version(st), version);
	amb_intake_begin(in, 3);
	CHECK_EQ(amb_intake_feed(in, (const uint8_t *)"\x03\xff\xff", 3), -EBADMSG);
	amb_intake_drop(in);
	/* And the next is taken. */
	add_workload(c, (struct wl){ .uid = "a", .name = "a" }, "v3");
	remove_name(c, "new");
	CHECK_EQ(give(in, c, &r), 0);
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "a"), "v3");
	CHECK_STR(version_of(AMB_XDS_ADDRESS, "new"), "none");
	end();
}

/* What the server was not told that we have, and does not send again, is gone. */
TEST(the_untold_are_compared)
{
	struct answer *a = answer(AMB_XDS_ADDRESS, "n1"), *b = answer(AMB_XDS_ADDRESS, "n2"),
		      *c = answer(AMB_XDS_ADDRESS, "n3");
	struct amb_intake_result r;
	struct amb_held *held;

	begin();
	held = amb_intake_held(in, AMB_XDS_ADDRESS);
	add_workload(a, (struct wl){ .uid = "told", .name = "a" }, "v1");
	add_workload(a, (struct wl){ .uid = "stays", .name = "b" }, "v1");
	add_workload(a, (struct wl){ .uid = "went", .name = "c" }, "v1");
	CHECK_EQ(give(in, a, &r), 0);
	/* Another stream, whose first request had room for one name. */
	amb_intake_stream(in, true);
	amb_held_find(held, "stays")->told = false;
	amb_held_find(held, "went")->told = false;
	add_workload(b, (struct wl){ .uid = "stays", .name = "b" }, "v1");
	CHECK_EQ(give(in, b, &r), 0);
	CHECK_EQ(r.removed, 1);
	CHECK(known("told") && known("stays") && !known("went"));
	CHECK_EQ(held->n, 2);
	/* Later answers say what changed, not all there is. */
	amb_held_find(held, "stays")->told = false;
	add_workload(c, (struct wl){ .uid = "told", .name = "a2" }, "v2");
	CHECK_EQ(give(in, c, &r), 0);
	CHECK(known("stays"));
	end();
}

static char heard[256];

static void on_name(void *ctx, const char *name)
{
	strcat(strcat(ctx, name), " ");
}

TEST(names_are_told_when_they_are_visible)
{
	struct answer *a = answer(AMB_XDS_ADDRESS, "n1");
	char *aliases[] = { "net/10.0.0.1" };
	struct amb_intake_result r;

	begin();
	heard[0] = 0;
	amb_intake_on_name(in, on_name, heard);
	add_workload(a, (struct wl){ .uid = "a", .name = "a" }, "v1");
	a->r[0].n_aliases = 1;
	a->r[0].aliases = aliases;
	remove_name(a, "net/10.0.0.2");
	CHECK_EQ(give(in, a, &r), 0);
	CHECK(strstr(heard, "a ") && strstr(heard, "net/10.0.0.1 ") &&
	      strstr(heard, "net/10.0.0.2 "));
	end();
}

/* Who waits would hear that there is nothing, of what is there. */
TEST(names_of_what_was_refused_are_not_told)
{
	struct answer *a = answer(AMB_XDS_ADDRESS, "n1"), *b = answer(AMB_XDS_AUTHORIZATION, "n2");
	char *bad_alias[] = { "net/10.0.0.1" }, *alias[] = { "net/10.0.0.3" };
	struct amb_intake_result r;

	begin();
	heard[0] = 0;
	amb_intake_on_name(in, on_name, heard);
	add_workload(a, (struct wl){ .uid = "bad", .name = "bad", .hbone = 2 }, "v1");
	a->r[0].n_aliases = 1;
	a->r[0].aliases = bad_alias;
	remove_name(a, "net/10.0.0.2");
	add_workload(a, (struct wl){ .uid = "a", .name = "a" }, "v1");
	a->r[1].n_aliases = 1;
	a->r[1].aliases = alias;
	CHECK_EQ(give(in, a, &r), 0);
	CHECK_EQ(r.refused, 1);
	CHECK(!strstr(heard, "bad ") && !strstr(heard, "net/10.0.0.1 "));
	CHECK(strstr(heard, "net/10.0.0.2 ") && strstr(heard, "net/10.0.0.3 "));
	/* A policy may be called as an address is. */
	heard[0] = 0;
	add_policy(b, "net", "10.0.0.4");
	remove_name(b, "net/10.0.0.5");
	CHECK_EQ(give(in, b, &r), 0);
	CHECK_STR(heard, "");
	end();
}

/* On demand */

static void never(struct amb_xds_waiter *w)
{
	(void)w;
	CHECK(!"called");
}

TEST(waiters_may_outlive_the_client)
{
	struct amb_loop *loop = amb_loop_create();
	struct amb_state *st = mesh_state("");
	struct amb_xds *x;
	struct amb_xds_waiter w[200], twice = { .fn = never };
	char name[32];
	size_t i;

	CHECK(loop && st);
	x = amb_xds_create(loop, &(struct amb_xds_config){ .state = st, .on_demand = true });
	CHECK(x);
	/* More than there is room for at first. */
	for (i = 0; i < AMB_ARRAY_SIZE(w); i++) {
		w[i] = (struct amb_xds_waiter){ .fn = never };
		snprintf(name, sizeof(name), "/10.0.0.%zu", i);
		CHECK_EQ(amb_xds_want(x, name, &w[i]), 0);
	}
	CHECK_EQ(amb_xds_want(x, "/10.0.0.7", &twice), 0);
	amb_xds_unwait(&w[3]);
	amb_xds_destroy(x);
	for (i = 0; i < AMB_ARRAY_SIZE(w); i++) {
		CHECK(!w[i].prev);
		amb_xds_unwait(&w[i]);
	}
	amb_xds_unwait(&twice);
	amb_state_destroy(st);
	mesh_free();
	amb_loop_destroy(loop);
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
