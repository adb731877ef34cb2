// SPDX-License-Identifier: GPL-2.0-or-later
/* The client of a secret discovery service with the agent's own as the other side. */
#include "pki.h"
#include "spin.h"

#include "base/log.h"
#include "base/loop.h"
#include "control/certs.h"
#include "control/sds.h"
#include "control/sds_server.h"

#include <stdbool.h>

static struct amb_loop *loop;

/* A sink that only wants roots, and may refuse them. */
static struct {
	int err;
	int asked;
	int wanted; /* times to be asked, until the test goes on */
	char roots[4096];
} sink;

static int set_roots(void *ctx, const char *roots)
{
	(void)ctx;
	sink.asked++;
	snprintf(sink.roots, sizeof(sink.roots), "%s", roots);
	return sink.err;
}

static bool was_asked(void)
{
	return sink.asked >= sink.wanted;
}

static void serve(struct amb_sds_server **server, const char *path, const char *roots)
{
	static const uid_t nobody_else[1];

	amb_sds_server_destroy(*server);
	*server = amb_sds_server_create(loop, path, nobody_else, 0);
	CHECK(*server);
	CHECK_EQ(amb_sds_server_roots(*server, roots), 0);
}

/* Until the client has surely heard what the server now has: a new stream takes up to 1 s. */
static void settle(void)
{
	spin_for(loop, NULL, 2 * AMB_SDS_RETRY_NS);
}

TEST(roots_that_could_not_be_taken)
{
	static const struct amb_certs_sink the_sink = { .set_roots = set_roots };
	struct amb_sds_server *server = NULL;
	struct amb_certs_issuer issuer;
	struct amb_certs *certs;
	struct amb_sds *sds;
	struct pki_own a, b;
	char path[64];

	memset(&sink, 0, sizeof(sink));
	pki_own_root(&a, time(NULL) - 60, time(NULL) + 3600);
	pki_own_root(&b, time(NULL) - 60, time(NULL) + 3600);
	snprintf(path, sizeof(path), "%s/sds", pki());
	loop = amb_loop_create();
	serve(&server, path, a.root_pem);
	sds = amb_sds_create(loop, &(struct amb_sds_config){ .socket = path, .node = "n" });
	CHECK(loop && sds);
	issuer = amb_sds_interface(sds);
	certs = amb_certs_create(loop, &the_sink, &issuer);
	CHECK(certs);
	CHECK_EQ(amb_sds_set_certs(sds, certs), 0);
	/* The first ones go with each certificate. */
	settle();
	CHECK_EQ(sink.asked, 0);
	sink.err = -ENOMEM;
	sink.wanted = 1;
	CHECK_EQ(amb_sds_server_roots(server, b.root_pem), 0);
	CHECK(spin(loop, was_asked));
	CHECK_STR(sink.roots, b.root_pem);
	/* The same ones again, after a new stream: they were not taken, so they are news. */
	sink.err = 0;
	sink.wanted = 2;
	sink.roots[0] = 0;
	serve(&server, path, b.root_pem);
	CHECK(spin(loop, was_asked));
	CHECK_STR(sink.roots, b.root_pem);
	/* And once more: now they are not. */
	serve(&server, path, b.root_pem);
	settle();
	CHECK_EQ(sink.asked, 2);
	amb_sds_stop(sds);
	amb_certs_destroy(certs);
	amb_sds_destroy(sds);
	amb_sds_server_destroy(server);
	amb_loop_destroy(loop);
	pki_own_free(&a);
	pki_own_free(&b);
}

int main(void)
{
	amb_log_set_filter("off");
	return harness_run();
}
