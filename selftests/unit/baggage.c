// SPDX-License-Identifier: GPL-2.0-or-later
/* baggage, forwarded and traceparent (reference 4.3); identities (4.2). */
#include "mesh.h"

#include "base/util.h"
#include "mesh/baggage.h"

#include <ctype.h>
#include <errno.h>

static const struct {
	const char *what;
	struct wl w;
	size_t room; /* 0: enough */
	const char *want;
} written[] = {
	{ "all of it",
	  { .uid = "u",
	    .ns = "n",
	    .cluster = "c",
	    .owner = "own",
	    .type = 2,
	    .canonical = "app",
	    .revision = "v1",
	    .region = "r",
	    .zone = "z" },
	  0,
	  "k8s.cluster.name=c,k8s.namespace.name=n,k8s.pod.name=own,service.name=app,"
	  "service.version=v1,cloud.region=r,cloud.availability_zone=z" },
	{ "deployment",
	  { .uid = "u", .ns = "n", .cluster = "c", .owner = "o", .type = 0 },
	  0,
	  "k8s.cluster.name=c,k8s.namespace.name=n,k8s.deployment.name=o" },
	{ "cronjob",
	  { .uid = "u", .ns = "n", .cluster = "c", .owner = "o", .type = 1 },
	  0,
	  "k8s.cluster.name=c,k8s.namespace.name=n,k8s.cronjob.name=o" },
	{ "job",
	  { .uid = "u", .ns = "n", .cluster = "c", .owner = "o", .type = 3 },
	  0,
	  "k8s.cluster.name=c,k8s.namespace.name=n,k8s.job.name=o" },
	{ "empty ones are left out",
	  { .uid = "u", .ns = "n" },
	  0,
	  "k8s.cluster.name=Kubernetes,k8s.namespace.name=n" },
	{ "values that would break the header are left out",
	  { .uid = "u", .ns = "n", .cluster = "a b", .canonical = "x,y=z", .revision = "\xc3\xa4" },
	  0,
	  "k8s.namespace.name=n" },
	{ "values that do not fit are left out whole",
	  { .uid = "u", .ns = "n", .cluster = "c", .owner = "o", .region = "r" },
	  56,
	  "k8s.cluster.name=c,k8s.namespace.name=n,cloud.region=r" },
	{ "no room at all", { .uid = "u", .ns = "n" }, 1, "" },
};

TEST(write)
{
	char buf[AMB_BAGGAGE_MAX];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(written); i++) {
		struct amb_state *st = mesh_state("");
		size_t room = written[i].room ? written[i].room : sizeof(buf), n;

		CASE(written[i].what);
		CHECK_EQ(mesh_put_workload(st, written[i].w), 0);
		amb_state_read_begin(st);
		n = amb_baggage_write(amb_state_workload_by_uid(st, "u"), buf, room);
		amb_state_read_end(st);
		CHECK_STR(buf, written[i].want);
		CHECK_EQ(n, strlen(written[i].want));
		amb_state_destroy(st);
		mesh_free();
	}
}

static const struct {
	const char *lines[2];
	const char *want; /* cluster ns workload service version region zone, '-' for "" */
} parsed[] = {
	{ { "k8s.cluster.name=c,k8s.namespace.name=n,k8s.deployment.name=d,service.name=s,"
	    "service.version=v,cloud.region=r,cloud.availability_zone=z" },
	  "c n d s v r z" },
	{ { "k8s.job.name=j" }, "- - j - - - -" },
	{ { "k8s.cronjob.name=c" }, "- - c - - - -" },
	{ { "k8s.pod.name=p,unknown=x" }, "- - p - - - -" },
	{ { "k8s.cluster.name=c", "k8s.namespace.name=n" }, "c n - - - - -" },
	{ { "k8s.cluster.name=,k8s.namespace.name=n" }, "- n - - - - -" },
	{ { " k8s.cluster.name=c ,\tk8s.namespace.name=n" }, "c n - - - - -" },
	{ { "" }, "- - - - - - -" },
	{ { ",,=,=x,k8s.cluster.name,k8s.namespace.name=a=b" }, "- a=b - - - - -" },
	{ { "K8S.CLUSTER.NAME=c" }, "- - - - - - -" },
	{ { "service.name=a\nb" }, "- - - a?b - - -" },
	{ { "cloud.region=0123456789012345678901234567890123456789012345678901234567890123456789" },
	  "- - - - - 012345678901234567890123456789012345678901234567890123456789012 -" },
};

static const char *or_dash(const char *s)
{
	return *s ? s : "-";
}

TEST(parse)
{
	char text[2048];
	size_t i, j;

	for (i = 0; i < AMB_ARRAY_SIZE(parsed); i++) {
		struct amb_baggage b = { "" };

		CASE(parsed[i].lines[0]);
		for (j = 0; j < 2 && parsed[i].lines[j]; j++)
			amb_baggage_parse(parsed[i].lines[j], strlen(parsed[i].lines[j]), &b);
		snprintf(text, sizeof(text), "%s %s %s %s %s %s %s", or_dash(b.cluster),
			 or_dash(b.ns), or_dash(b.workload), or_dash(b.service), or_dash(b.version),
			 or_dash(b.region), or_dash(b.zone));
		CHECK_STR(text, parsed[i].want);
	}
}

static const struct {
	const char *client, *host, *want;
} forwards[] = {
	{ "10.0.0.1:1234", NULL, "for=\"10.0.0.1:1234\"" },
	{ "[fd00::1]:1234", "svc.ns.svc", "for=\"[fd00::1]:1234\";host=svc.ns.svc" },
	{ "10.0.0.1:1", "a;b", "for=\"10.0.0.1:1\"" },
	{ "10.0.0.1:1", "a\"b", "for=\"10.0.0.1:1\"" },
};

static const struct {
	const char *text, *want; /* NULL: none */
} hosts[] = {
	{ "for=\"10.0.0.1:1\";host=svc.ns", "svc.ns" },
	{ "host=svc", "svc" },
	{ "Host=\"svc\";for=x", "svc" },
	{ "for=\"a;host=evil\"; host=good", "good" },
	{ "for=a, for=b;host=c", "c" },
	{ "for=\"unterminated;host=x", NULL },
	{ "for=a", NULL },
	{ "host=", NULL },
	{ "ghost=x", NULL },
	{ "", NULL },
};

TEST(forwarded)
{
	struct amb_endpoint e;
	char buf[300];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(forwards); i++) {
		CASE(forwards[i].want);
		CHECK_EQ(amb_endpoint_parse(forwards[i].client, &e), 0);
		CHECK_EQ(amb_forwarded_write(&e, forwards[i].host, buf, sizeof(buf)),
			 strlen(forwards[i].want));
		CHECK_STR(buf, forwards[i].want);
		CHECK_EQ(amb_forwarded_write(&e, forwards[i].host, buf, 10), 0);
	}
	for (i = 0; i < AMB_ARRAY_SIZE(hosts); i++) {
		const char *t = hosts[i].text;

		CASE(t);
		CHECK_EQ(amb_forwarded_host(t, strlen(t), buf, sizeof(buf)),
			 hosts[i].want ? 0 : -ENOENT);
		if (hosts[i].want)
			CHECK_STR(buf, hosts[i].want);
	}
	CASE("too long");
	CHECK_EQ(amb_forwarded_host("host=0123456789", 15, buf, 10), -ENOENT);
}

TEST(traceparent)
{
	char a[AMB_TRACEPARENT_LEN + 1], b[AMB_TRACEPARENT_LEN + 1];
	int i;

	amb_traceparent_write(a);
	amb_traceparent_write(b);
	CHECK_EQ(strlen(a), 55);
	CHECK(strcmp(a, b));
	for (i = 0; i < 55; i++) {
		if (i == 2 || i == 35 || i == 52)
			CHECK_EQ(a[i], '-');
		else
			CHECK(isdigit(a[i]) || (a[i] >= 'a' && a[i] <= 'f'));
	}
	CHECK(!strncmp(a, "00-", 3) && !strcmp(a + 52, "-00"));
}

static const struct {
	const char *uri;
	int ok;
} uris[] = {
	{ "spiffe://cluster.local/ns/a/sa/b", 1 },
	{ "spiffe://td-alt/ns/ns-alt/sa/sa=alt", 1 },
	{ "spiffe://td/ns/a/sa/b/", 0 },
	{ "spiffe://td/ns/a/sa/b/c", 0 },
	{ "spiffe://td/ns/a/sa/", 0 },
	{ "spiffe://td/ns//sa/b", 0 },
	{ "spiffe:///ns/a/sa/b", 0 },
	{ "spiffe://td/sa/b/ns/a", 0 },
	{ "spiffe://td/ns/a", 0 },
	{ "spiffe://td", 0 },
	{ "SPIFFE://td/ns/a/sa/b", 0 },
	{ "http://td/ns/a/sa/b", 0 },
	{ "spiffe://td/ns/a b/sa/c", 0 },
	{ "spiffe://td/ns/a\x01/sa/c", 0 },
	{ "", 0 },
};

TEST(identities)
{
	struct amb_identity *a, *b, *c;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(uris); i++) {
		CASE(uris[i].uri);
		a = amb_identity_parse(uris[i].uri, strlen(uris[i].uri));
		CHECK_EQ(!!a, uris[i].ok);
		if (a)
			CHECK_STR(a->spiffe, uris[i].uri);
		amb_identity_put(a);
	}
	CASE("interning");
	a = amb_identity_intern("td", "n", "s");
	b = amb_identity_parse("spiffe://td/ns/n/sa/s", 21);
	c = amb_identity_intern("td", "n", "t");
	CHECK(a == b && a != c);
	CHECK(a->number && c->number && a->number != c->number);
	CHECK_STR(a->td, "td");
	CHECK_STR(a->ns, "n");
	CHECK_STR(a->sa, "s");
	CHECK_EQ(a->sa_len, 1);
	CHECK(!amb_identity_intern("", "n", "s") && errno == EINVAL);
	CHECK(!amb_identity_intern("td", "n/sa/x", "s") && errno == EINVAL);
	CHECK(!amb_identity_intern("td", "", "s"));
	amb_identity_put(a);
	amb_identity_put(b);
	amb_identity_put(c);
	amb_identity_put(NULL);
}

TEST(identity_sets)
{
	struct amb_identset a = { 0 }, b = { 0 };
	struct amb_identity *ids[10];
	char name[8];
	int i;

	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		ids[i] = amb_identity_intern("td", "n", name);
		CHECK(!amb_identset_has(&a, ids[i]));
		CHECK_EQ(amb_identset_add(&a, ids[i]), 0);
		CHECK_EQ(amb_identset_add(&a, ids[i / 2]), 0);
		CHECK_EQ(a.n, i + 1);
		CHECK(!amb_identset_eq(&a, &b));
		CHECK_EQ(amb_identset_copy(&b, &a), 0);
		CHECK(amb_identset_eq(&a, &b));
	}
	for (i = 0; i < 10; i++) {
		CHECK(amb_identset_has(&b, ids[i]));
		CHECK(amb_identset_at(&b, i) == ids[i]);
		amb_identity_put(ids[i]);
	}
	amb_identset_clear(&a);
	CHECK_EQ(a.n, 0);
	amb_identset_clear(&b);
}

int main(void)
{
	int rc;

	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
