// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pool against a scripted engine: the functions of hbone.h, creds.h and dial.h that it
 * calls are this file's, so that every order of events can be played.
 */
#include "harness.h"

#include <errno.h>

#include "base/util.h"
#include "proxy/bytes.h"
#include "proxy/creds.h"
#include "proxy/dial.h"
#include "proxy/live.h"
#include "proxy/pod.h"
#include "proxy/pool.h"
#include "proxy/worker.h"

#define TUNNELS_MAX 1024
#define WAITERS_MAX 512
#define SECOND 1000000000ull

/* The scripted engine */

struct amb_cred {
	bool retired;
};

struct amb_hbone {
	const struct amb_hbone_ops *ops;
	void *owner;
	struct amb_cred *cred;
	unsigned int streams, slots;
	bool drained, kept;
	struct amb_share *share;
};

static struct amb_cred cred;
static struct amb_hbone *tunnels[TUNNELS_MAX];
static unsigned int ntunnels, nalive;
static unsigned int first_slots; /* of a new tunnel */
static bool cert_waits;
static int cert_errno; /* what asking for a certificate gives */
static struct amb_creds_waiter *cert_waiter;
static int dial_result; /* 0: connects at once; -EINPROGRESS: kept; else fails at once */
static struct amb_dial *dials[TUNNELS_MAX];
static unsigned int ndials;

struct amb_hbone *amb_hbone_client(struct amb_bytes *b, int fd, struct amb_cred *c,
				   const struct amb_identset *expect,
				   const struct amb_hbone_ops *ops, void *owner)
{
	struct amb_hbone *h = calloc(1, sizeof(*h));

	(void)b;
	(void)fd;
	(void)expect;
	h->ops = ops;
	h->owner = owner;
	h->cred = c;
	h->slots = first_slots;
	tunnels[ntunnels++] = h;
	nalive++;
	return h;
}

static void tunnel_end(struct amb_hbone *h, enum amb_reason reason, const char *text)
{
	unsigned int i;

	for (i = 0; i < ntunnels; i++)
		if (tunnels[i] == h)
			tunnels[i] = NULL;
	h->ops->closed(h, h->owner, reason, text);
	free(h);
	nalive--;
}

void amb_hbone_abort(struct amb_hbone *h, enum amb_reason reason, const char *text)
{
	tunnel_end(h, reason, text);
}

void amb_hbone_drain(struct amb_hbone *h)
{
	h->drained = true;
	h->slots = 0;
	if (!h->streams)
		tunnel_end(h, AMB_REASON_NONE, NULL);
}

void amb_hbone_share(struct amb_hbone *h, struct amb_share *s)
{
	h->share = s;
}

void amb_hbone_keep(struct amb_hbone *h)
{
	h->kept = true;
}

unsigned int amb_hbone_streams(const struct amb_hbone *h)
{
	return h->streams;
}

unsigned int amb_hbone_slots(const struct amb_hbone *h)
{
	return h->slots > h->streams ? h->slots - h->streams : 0;
}

struct amb_cred *amb_hbone_cred(const struct amb_hbone *h)
{
	return h->cred;
}

struct amb_cred *amb_creds_wait(struct amb_creds *creds, struct amb_identity *id,
				struct amb_loop *loop, struct amb_creds_waiter *w)
{
	(void)creds;
	(void)id;
	(void)loop;
	if (cert_errno) {
		snprintf(w->error, sizeof(w->error), "issuer says no");
		errno = cert_errno;
		return NULL;
	}
	if (!cert_waits)
		return &cred;
	cert_waiter = w;
	errno = EAGAIN;
	return NULL;
}

void amb_creds_cancel(struct amb_creds *creds, struct amb_creds_waiter *w)
{
	(void)creds;
	if (cert_waiter == w)
		cert_waiter = NULL;
}

void amb_cred_put(struct amb_cred *c)
{
	(void)c;
}

bool amb_cred_retired(const struct amb_cred *c)
{
	return c->retired;
}

int amb_dial_start(struct amb_dial *d, struct amb_loop *loop, const struct amb_dial_to *to)
{
	(void)to;
	if (dial_result != -EINPROGRESS)
		return dial_result;
	d->loop = loop;
	dials[ndials++] = d;
	return -EINPROGRESS;
}

void amb_dial_cancel(struct amb_dial *d)
{
	unsigned int i;

	for (i = 0; i < ndials; i++)
		if (dials[i] == d)
			dials[i] = NULL;
	d->loop = NULL;
}

enum amb_reason amb_dial_reason(int err)
{
	return err == -EMFILE ? AMB_REASON_LIMIT : AMB_REASON_CONNECT;
}

enum amb_flag amb_live_flag(enum amb_reason reason)
{
	return reason == AMB_REASON_TLS ? AMB_FLAG_TLS_FAILURE : AMB_FLAG_NONE;
}

void amb_worker_tick(struct amb_worker *w)
{
	(void)w;
}

/* The pool under test, and its users */

static struct amb_env env;
static struct amb_worker worker;
static struct amb_pod_info info;
static struct amb_pod pod;
static struct amb_identity *client, *server;
static struct amb_identset expect;

struct user {
	struct amb_pool_waiter w;
	int calls;
	struct amb_hbone *c;
	struct amb_pool_error err;
	char text[128];
};
static struct user users[WAITERS_MAX];

static void user_told(struct amb_pool_waiter *w, struct amb_hbone *c,
		      const struct amb_pool_error *err)
{
	struct user *u = AMB_CONTAINER_OF(w, struct user, w);

	u->calls++;
	u->c = c;
	if (c) {
		c->streams++;
		return;
	}
	u->err = *err;
	snprintf(u->text, sizeof(u->text), "%s", err->text);
}

static void setup(void)
{
	static struct amb_bytes bytes;

	memset(users, 0, sizeof(users));
	memset(&env, 0, sizeof(env));
	memset(&worker.stats, 0, sizeof(worker.stats));
	env.config.pool_streams = 100;
	env.config.pool_idle_ns = 300 * SECOND;
	env.config.dial_timeout_ns = 10 * SECOND;
	if (!worker.loop)
		worker.loop = amb_loop_create();
	worker.env = &env;
	pod.worker = &worker;
	pod.info = &info;
	pod.share = &bytes.own;
	if (!client) {
		client = amb_identity_intern("td", "a", "client");
		server = amb_identity_intern("td", "b", "server");
		amb_identset_add(&expect, server);
	}
	memset(&cred, 0, sizeof(cred));
	ntunnels = ndials = 0;
	first_slots = 100;
	cert_waits = false;
	cert_errno = 0;
	cert_waiter = NULL;
	dial_result = 0;
	amb_pool_init(&pod.pool, &pod);
}

static void teardown(void)
{
	amb_pool_uninit(&pod.pool);
	CHECK_EQ(nalive, 0);
	CHECK_EQ(pod.pool.npeers, 0);
	CHECK_EQ(pod.pool.ntunnels, 0);
}

static void get_from(unsigned int i, uint16_t port)
{
	struct amb_pool_key key = {
		client, { .addr = { { 15, 8 } }, .port = port }, &expect, false
	};

	users[i].w.fn = user_told;
	amb_pool_get(&pod.pool, &key, &users[i].w);
}

static void get(unsigned int i)
{
	get_from(i, 15008);
}

static void up(struct amb_hbone *h)
{
	h->ops->up(h, h->owner);
}

static unsigned int served(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < WAITERS_MAX; i++)
		n += users[i].calls == 1 && users[i].c;
	return n;
}

static unsigned int failed(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < WAITERS_MAX; i++)
		n += users[i].calls == 1 && !users[i].c;
	return n;
}

TEST(one_dial_serves_all_who_wait)
{
	unsigned int i;

	setup();
	for (i = 0; i < 100; i++)
		get(i);
	CHECK_EQ(ntunnels, 1);
	CHECK_EQ(served(), 0);
	up(tunnels[0]);
	CHECK_EQ(served(), 100);
	CHECK_EQ(tunnels[0]->streams, 100);
	CHECK_EQ(worker.stats.pool_dials, 1);
	teardown();
}

TEST(a_second_use_is_a_hit)
{
	setup();
	get(0);
	up(tunnels[0]);
	get(1);
	CHECK_EQ(served(), 2);
	CHECK_EQ(ntunnels, 1);
	CHECK_EQ(worker.stats.pool_hits, 1);
	teardown();
}

TEST(another_destination_or_identity_is_another_tunnel)
{
	struct amb_identset others = { 0 };
	struct amb_pool_key key = {
		client, { .addr = { { 15, 8 } }, .port = 15008 }, &others, false
	};

	setup();
	get_from(0, 15008);
	get_from(1, 15009);
	CHECK_EQ(ntunnels, 2);
	amb_identset_add(&others, client);
	users[2].w.fn = user_told;
	amb_pool_get(&pod.pool, &key, &users[2].w);
	CHECK_EQ(ntunnels, 3);
	amb_identset_clear(&others);
	up(tunnels[2]);
	CHECK_EQ(served(), 1);
	CHECK(users[2].c);
	teardown();
}

TEST(tunnels_use_the_pods_buffers)
{
	setup();
	get(0);
	CHECK(tunnels[0]->share == pod.share);
	teardown();
}

TEST(one_that_the_agent_keeps_is_another_tunnel)
{
	struct amb_pool_key key = {
		client, { .addr = { { 15, 8 } }, .port = 15008 }, &expect, true
	};

	setup();
	get(0);
	users[1].w.fn = user_told;
	amb_pool_get(&pod.pool, &key, &users[1].w);
	CHECK_EQ(ntunnels, 2);
	CHECK(!tunnels[0]->kept);
	CHECK(tunnels[1]->kept);
	up(tunnels[1]);
	CHECK_EQ(served(), 1);
	CHECK(users[1].c);
	teardown();
}

TEST(more_waiters_than_slots_dial_more)
{
	unsigned int i;

	setup();
	for (i = 0; i < 250; i++)
		get(i);
	CHECK_EQ(ntunnels, 3);
	for (i = 0; i < 3; i++)
		up(tunnels[i]);
	CHECK_EQ(served(), 250);
	teardown();
}

TEST(dials_at_once_are_bounded)
{
	unsigned int i;

	setup();
	for (i = 0; i < WAITERS_MAX; i++)
		get(i);
	CHECK_EQ(ntunnels, AMB_POOL_DIALS_MAX);
	for (i = 0; i < ntunnels; i++)
		up(tunnels[i]);
	CHECK_EQ(served(), WAITERS_MAX);
	teardown();
}

TEST(a_failed_dial_fails_all_at_once)
{
	unsigned int i;

	setup();
	dial_result = -EINPROGRESS;
	for (i = 0; i < 50; i++)
		get(i);
	CHECK_EQ(ndials, 1);
	dials[0]->loop = NULL;
	dials[0]->done(dials[0], -ETIMEDOUT);
	CHECK_EQ(failed(), 50);
	CHECK_EQ(users[49].err.reason, AMB_REASON_TIMEOUT);
	CHECK_EQ(users[49].err.flag, AMB_FLAG_NETWORK_POLICY);
	CHECK(strstr(users[49].text, "timed out"));
	/* the next one tries afresh */
	get(60);
	CHECK_EQ(ndials, 2);
	teardown();
}

TEST(a_dial_that_fails_at_once_does_not_loop)
{
	unsigned int i;

	setup();
	for (i = 0; i < 150; i++)
		get(i);
	CHECK_EQ(ntunnels, 2);
	dial_result = -EMFILE;
	for (; i < 350; i++)
		get(i);
	CHECK_EQ(served() + failed(), 0);
	up(tunnels[0]);
	up(tunnels[1]);
	CHECK_EQ(served(), 200);
	/* those left had no dial but failed ones */
	CHECK_EQ(failed(), 150);
	CHECK_EQ(users[349].err.reason, AMB_REASON_LIMIT);
	teardown();
}

TEST(a_refused_handshake_is_told_with_its_flag)
{
	setup();
	get(0);
	tunnel_end(tunnels[0], AMB_REASON_TLS, "bad certificate");
	CHECK_EQ(failed(), 1);
	CHECK_EQ(users[0].err.flag, AMB_FLAG_TLS_FAILURE);
	CHECK_STR(users[0].text, "bad certificate");
	CHECK_EQ(worker.stats.handshake_failures, 1);
	teardown();
}

TEST(no_certificate_is_an_identity_error)
{
	setup();
	cert_errno = EKEYREJECTED;
	get(0);
	CHECK_EQ(failed(), 1);
	CHECK_EQ(users[0].err.flag, AMB_FLAG_IDENTITY_ERROR);
	CHECK(strstr(users[0].text, "issuer says no"));
	teardown();
}

TEST(a_certificate_may_come_later)
{
	struct amb_creds_waiter *w;

	setup();
	cert_waits = true;
	get(0);
	CHECK(cert_waiter);
	w = cert_waiter;
	cert_waiter = NULL;
	w->fn(w, &cred, NULL);
	CHECK_EQ(ntunnels, 1);
	up(tunnels[0]);
	CHECK_EQ(served(), 1);
	teardown();
}

TEST(the_peers_limit_is_followed_when_it_changes)
{
	setup();
	get(0);
	up(tunnels[0]);
	/* SETTINGS came: one stream at a time */
	tunnels[0]->slots = 1;
	get(1);
	CHECK_EQ(served(), 1);
	CHECK_EQ(ntunnels, 2);
	/* the first stream ends before the second dial is up */
	tunnels[0]->streams = 0;
	tunnels[0]->ops->room(tunnels[0], tunnels[0]->owner);
	CHECK_EQ(served(), 2);
	CHECK(users[1].c == tunnels[0]);
	teardown();
}

TEST(a_peer_without_room_fails_who_waits)
{
	setup();
	first_slots = 0;
	get(0);
	up(tunnels[0]);
	CHECK_EQ(failed(), 1);
	CHECK_EQ(ntunnels, 1);
	teardown();
}

TEST(rotation_retires_what_the_old_certificate_made)
{
	static struct amb_cred fresh;
	struct amb_hbone *old;

	setup();
	get(0);
	old = tunnels[0];
	up(old);
	cred.retired = true;
	get(1);
	CHECK(old->drained);
	CHECK_EQ(old->streams, 1);
	CHECK_EQ(ntunnels, 2);
	tunnels[1]->cred = &fresh;
	up(tunnels[1]);
	CHECK(users[1].c == tunnels[1]);
	/* its stream goes on until it ends by itself */
	tunnel_end(old, AMB_REASON_NONE, NULL);
	CHECK_EQ(nalive, 1);
	teardown();
}

TEST(idle_tunnels_are_released)
{
	uint64_t now;

	setup();
	get(0);
	up(tunnels[0]);
	now = amb_loop_now(worker.loop);
	CHECK(amb_pool_sweep(&pod.pool, now + 301 * SECOND));
	CHECK_EQ(nalive, 1);
	tunnels[0]->streams = 0;
	tunnels[0]->ops->room(tunnels[0], tunnels[0]->owner);
	CHECK(amb_pool_sweep(&pod.pool, now + 299 * SECOND));
	CHECK(!amb_pool_sweep(&pod.pool, now + 301 * SECOND));
	CHECK_EQ(nalive, 0);
	CHECK_EQ(pod.pool.npeers, 0);
	teardown();
}

TEST(spare_tunnels_are_released_soon)
{
	uint64_t now;
	unsigned int i;

	setup();
	for (i = 0; i < 250; i++)
		get(i);
	for (i = 0; i < 3; i++)
		up(tunnels[i]);
	for (i = 0; i < 3; i++)
		tunnels[i]->streams = i == 0;
	get_from(250, 15009);
	up(tunnels[3]);
	tunnels[3]->streams = 0;
	now = amb_loop_now(worker.loop);
	amb_pool_sweep(&pod.pool, now);
	CHECK_EQ(nalive, 4);
	/* of the first peer one busy and one idle are left, of the second its only one */
	amb_pool_sweep(&pod.pool, now + SECOND);
	CHECK_EQ(nalive, 3);
	amb_pool_sweep(&pod.pool, now + 301 * SECOND);
	CHECK_EQ(nalive, 1);
	CHECK_EQ(tunnels[0]->streams, 1);
	teardown();
}

TEST(goaway_moves_new_streams_elsewhere)
{
	struct amb_hbone *old;

	setup();
	get(0);
	old = tunnels[0];
	up(old);
	old->slots = 0;
	get(1);
	CHECK_EQ(ntunnels, 2);
	up(tunnels[1]);
	CHECK(users[1].c == tunnels[1]);
	teardown();
}

TEST(cancelled_waiters_hear_nothing)
{
	setup();
	get(0);
	get(1);
	amb_pool_cancel(&users[0].w);
	amb_pool_cancel(&users[0].w);
	up(tunnels[0]);
	CHECK_EQ(users[0].calls, 0);
	CHECK_EQ(served(), 1);
	teardown();
}

TEST(idle_tunnels_are_bounded)
{
	unsigned int i;

	setup();
	for (i = 0; i < AMB_POOL_IDLE_MAX + 50; i++) {
		memset(&users[0], 0, sizeof(users[0]));
		get_from(0, 1000 + i);
		up(tunnels[ntunnels - 1]);
		tunnels[ntunnels - 1]->streams = 0;
	}
	CHECK_EQ(nalive, AMB_POOL_IDLE_MAX);
	teardown();
}

TEST(abort_tells_those_who_wait)
{
	setup();
	get(0);
	get_from(1, 1);
	up(tunnels[1]);
	get_from(2, 2);
	amb_pool_abort(&pod.pool, AMB_REASON_POD_GONE);
	CHECK_EQ(failed(), 2);
	CHECK_EQ(users[0].err.reason, AMB_REASON_POD_GONE);
	teardown();
}

int main(void)
{
	int bad = harness_run();

	amb_identset_clear(&expect);
	amb_identity_put(client);
	amb_identity_put(server);
	amb_loop_destroy(worker.loop);
	return bad;
}
