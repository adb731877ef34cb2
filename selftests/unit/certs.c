// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The certificate manager with an issuer and a sink that only remember, and with the embedded
 * CA over a real directory. The wall clock is this program's own: time() adds an offset, and
 * the timer that watches for the clock being set is an eventfd.
 */
#include "pki.h"
#include "spin.h"

#include "control/ca.h"
#include "control/certs.h"
#include "control/issuer.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

static int64_t clock_offset;
static int clock_fd = -1;

time_t time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += clock_offset;
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int timerfd_create(int clock, int flags)
{
	if (clock == CLOCK_REALTIME)
		return clock_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return syscall(SYS_timerfd_create, clock, flags);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	return fd == clock_fd ? 0 : (int)syscall(SYS_timerfd_settime, fd, flags, new, old);
}

static void set_clock(int64_t by)
{
	clock_offset += by;
	CHECK_EQ(eventfd_write(clock_fd, 1), 0);
}

/* The fakes */

#define MANY 64

static struct amb_loop *loop;
static struct amb_certs *certs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	struct amb_certs_ticket *ticket[MANY];
	struct amb_identity *id[MANY];
	int n, max;
	char order[4096];
	bool hold, fail;
	int64_t life;
	uint64_t at[MANY]; /* when asked */
	int total;
} issuer;

static struct {
	int installs, fails, forgets, roots;
	char last_error[256], last_roots[16384], last_chain[16384];
	int refuse;
} sink;

static void answer(int i)
{
	struct amb_certs_ticket *ticket = issuer.ticket[i];
	int64_t now = time(NULL);

	issuer.n--;
	memmove(&issuer.ticket[i], &issuer.ticket[i + 1], (MANY - i - 1) * sizeof(ticket));
	memmove(&issuer.id[i], &issuer.id[i + 1], (MANY - i - 1) * sizeof(issuer.id[0]));
	if (issuer.fail)
		amb_certs_done(certs, ticket, NULL, "no signature today");
	else
		amb_certs_done(certs, ticket,
			       &(struct amb_certs_result){ .key = (const uint8_t *)"key",
							   .keylen = 3,
							   .chain_pem = "chain",
							   .roots_pem = "roots",
							   .not_before = now - 120,
							   .not_after = now + issuer.life },
			       NULL);
}

static void issue(void *ctx, struct amb_certs *c, struct amb_certs_ticket *ticket,
		  struct amb_identity *id)
{
	size_t at = strlen(issuer.order);

	(void)ctx;
	(void)c;
	snprintf(issuer.order + at, sizeof(issuer.order) - at, "%s ", id->sa);
	if (issuer.total < MANY)
		issuer.at[issuer.total] = amb_util_now_ns();
	issuer.total++;
	issuer.ticket[issuer.n] = ticket;
	issuer.id[issuer.n++] = id;
	issuer.max = AMB_MAX(issuer.max, issuer.n);
	if (!issuer.hold)
		answer(issuer.n - 1);
}

static int sink_install(void *ctx, struct amb_identity *id, const uint8_t *key, size_t keylen,
			const char *chain, const char *roots, char *err, size_t errlen)
{
	(void)ctx;
	(void)id;
	(void)key;
	(void)keylen;
	if (sink.refuse) {
		snprintf(err, errlen, "sink does not like it");
		return -EINVAL;
	}
	snprintf(sink.last_chain, sizeof(sink.last_chain), "%s", chain);
	snprintf(sink.last_roots, sizeof(sink.last_roots), "%s", roots);
	sink.installs++;
	return 0;
}

static void sink_fail(void *ctx, struct amb_identity *id, const char *error)
{
	(void)ctx;
	(void)id;
	pthread_mutex_lock(&lock);
	snprintf(sink.last_error, sizeof(sink.last_error), "%s", error);
	sink.fails++;
	pthread_mutex_unlock(&lock);
}

static void sink_forget(void *ctx, struct amb_identity *id)
{
	(void)ctx;
	(void)id;
	sink.forgets++;
}

static int sink_roots(void *ctx, const char *roots)
{
	(void)ctx;
	snprintf(sink.last_roots, sizeof(sink.last_roots), "%s", roots);
	sink.roots++;
	return 0;
}

static const struct amb_certs_sink the_sink = { NULL, sink_install, sink_fail, sink_forget,
						sink_roots };

static void begin(void)
{
	memset(&issuer, 0, sizeof(issuer));
	memset(&sink, 0, sizeof(sink));
	issuer.life = 1000;
	loop = amb_loop_create();
	CHECK(loop);
	certs = amb_certs_create(loop, &the_sink, &(struct amb_certs_issuer){ .issue = issue });
	CHECK(certs);
}

static void end(void)
{
	issuer.fail = true;
	while (issuer.n)
		answer(0);
	amb_certs_destroy(certs);
	amb_loop_destroy(loop);
	clock_offset = 0;
}

static struct amb_identity *ident(const char *sa)
{
	struct amb_identity *id = amb_identity_intern("cluster.local", "n", sa);

	CHECK(id);
	return id;
}

static void ask(const char *sa, enum amb_certs_priority priority)
{
	struct amb_identity *id = ident(sa);

	amb_certs_request(certs, id, priority);
	amb_identity_put(id);
}

/* The names are this node's workloads' from now on. */
static void local(const char *names)
{
	struct amb_identity *ids[MANY];
	char buf[1024], *at, *name;
	size_t n = 0, i;

	snprintf(buf, sizeof(buf), "%s", names);
	for (name = strtok_r(buf, " ", &at); name; name = strtok_r(NULL, " ", &at))
		ids[n++] = ident(name);
	CHECK_EQ(amb_certs_local(certs, ids, n), 0);
	for (i = 0; i < n; i++)
		amb_identity_put(ids[i]);
}

static int want_total, want_installs, want_fails, want_forgets, want_held;

static bool totals(void)
{
	return issuer.total >= want_total && sink.installs >= want_installs &&
	       sink.fails >= want_fails && sink.forgets >= want_forgets && issuer.n >= want_held;
}

static void wait_for(int total, int installs, int fails, int forgets, int held)
{
	want_total = total;
	want_installs = installs;
	want_fails = fails;
	want_forgets = forgets;
	want_held = held;
	if (!spin(loop, totals))
		printf("# asked %d installed %d failed %d forgotten %d held %d\n", issuer.total,
		       sink.installs, sink.fails, sink.forgets, issuer.n);
	CHECK(totals());
}

static void settle(void)
{
	spin_for(loop, NULL, 60000000);
}

TEST(request_and_install)
{
	begin();
	ask("a", AMB_CERTS_REALTIME);
	ask("a", AMB_CERTS_REALTIME);
	CHECK_EQ(issuer.total, 0);
	wait_for(1, 1, 0, 0, 0);
	ask("a", AMB_CERTS_REALTIME);
	settle();
	CHECK_EQ(issuer.total, 1);
	CHECK_EQ(sink.installs, 1);
	end();
}

TEST(priorities_and_parallel_limit)
{
	char name[16];
	int i;

	begin();
	issuer.hold = true;
	for (i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		ask(name, AMB_CERTS_BACKGROUND);
	}
	wait_for(AMB_CERTS_PARALLEL, 0, 0, 0, AMB_CERTS_PARALLEL);
	ask("warm", AMB_CERTS_WARMUP);
	ask("urgent", AMB_CERTS_REALTIME);
	/* One that waits already becomes urgent. */
	ask("x19", AMB_CERTS_REALTIME);
	ask("x19", AMB_CERTS_BACKGROUND);
	settle();
	CHECK_EQ(issuer.total, AMB_CERTS_PARALLEL);
	issuer.order[0] = 0;
	for (i = 0; i < 4; i++) {
		answer(0);
		wait_for(AMB_CERTS_PARALLEL + i + 1, i + 1, 0, 0, AMB_CERTS_PARALLEL);
	}
	CHECK_STR(issuer.order, "urgent x19 warm x8 ");
	CHECK_EQ(issuer.max, AMB_CERTS_PARALLEL);
	end();
}

/* Section 2.4. */
static const struct {
	const char *what;
	unsigned int failures;
	uint64_t ms, least, most;
} waits[] = {
	{ "before any", 0, 500, 400, 600 },
	{ "the first", 1, 1000, 800, 1200 },
	{ "the second", 2, 2000, 1600, 2400 },
	{ "the third", 3, 4000, 3200, 4800 },
	{ "the fourth", 4, 8000, 6400, 9600 },
	{ "the fifth", 5, 16000, 12800, 19200 },
	{ "the sixth", 6, 32000, 25600, 38400 },
	{ "the seventh", 7, 64000, 51200, 76800 },
	{ "the last below the cap", 8, 128000, 102400, 153600 },
	{ "the first at the cap", 9, 150000, 120000, 180000 },
	{ "the one after it", 10, 150000, 120000, 180000 },
	{ "as many as are counted", 64, 150000, 120000, 180000 },
	{ "more than a shift could hold", 1000, 150000, 120000, 180000 },
};

TEST(backoff)
{
	const uint64_t ms = 1000000;
	size_t i, j;

	for (i = 0; i < AMB_ARRAY_SIZE(waits); i++) {
		uint64_t sides = (waits[i].most - waits[i].least) * ms, seen = 0;

		CASE(waits[i].what);
		CHECK_EQ(amb_certs_backoff(waits[i].failures, 0), waits[i].least * ms);
		CHECK_EQ(amb_certs_backoff(waits[i].failures, sides / 2), waits[i].ms * ms);
		CHECK_EQ(amb_certs_backoff(waits[i].failures, sides), waits[i].most * ms);
		CHECK_EQ(amb_certs_backoff(waits[i].failures, sides + 1), waits[i].least * ms);
		/* As the manager throws it: within, and on both sides of the middle. */
		for (j = 0; j < 1000; j++) {
			uint64_t ns = amb_certs_backoff(waits[i].failures, amb_util_random());

			CHECK(ns >= waits[i].least * ms && ns <= waits[i].most * ms);
			seen |= ns < waits[i].ms * ms ? 1 : 2;
		}
		CHECK_EQ(seen, 3);
	}
}

TEST(failure_backs_off_and_recovers)
{
	uint64_t gap;

	begin();
	issuer.fail = true;
	local("a");
	wait_for(3, 0, 3, 0, 0);
	CHECK_STR(sink.last_error, "no signature today");
	/* 1 s, then 2 s, each 20 % more or less; timers are never early. */
	gap = issuer.at[1] - issuer.at[0];
	CHECK(gap >= 800000000ull);
	gap = issuer.at[2] - issuer.at[1];
	CHECK(gap >= 1600000000ull);
	/* A waiting connection does not shorten it. */
	ask("a", AMB_CERTS_REALTIME);
	settle();
	CHECK_EQ(issuer.total, 3);
	/* News of the issuer does. */
	issuer.fail = false;
	amb_certs_reissue(certs);
	wait_for(4, 1, 3, 0, 0);
	end();
}

static int issuer_forgot;

static void issuer_forget(void *ctx, struct amb_identity *id)
{
	int i;

	(void)ctx;
	issuer_forgot++;
	for (i = 0; i < issuer.n; i++) {
		if (issuer.id[i] == id) {
			answer(i);
			return;
		}
	}
}

static void begin_pushing(void)
{
	begin();
	amb_certs_destroy(certs);
	certs = amb_certs_create(loop, &the_sink,
				 &(struct amb_certs_issuer){
					 .issue = issue, .pushes = true, .forget = issuer_forget });
	CHECK(certs);
	issuer_forgot = 0;
}

static void renewed(const char *sa)
{
	struct amb_identity *id = ident(sa);

	amb_certs_renewed(certs, id);
	amb_identity_put(id);
}

/* Who pushes is not asked at half of a certificate's life, but told of, or when it ended. */
TEST(an_issuer_that_pushes)
{
	begin_pushing();
	issuer.life = 3;
	local("a b");
	wait_for(2, 2, 0, 0, 0);
	spin_for(loop, NULL, 2000000000);
	CHECK_EQ(issuer.total, 2);
	issuer.life = 1000;
	renewed("a");
	wait_for(3, 3, 0, 0, 0);
	CHECK(strstr(issuer.order, "a ") && issuer.order[strlen(issuer.order) - 2] == 'a');
	renewed("nobody");
	settle();
	CHECK_EQ(issuer.total, 3);
	/* b's has ended meanwhile */
	wait_for(4, 4, 0, 0, 0);
	CHECK_EQ(issuer.order[strlen(issuer.order) - 2], 'b');
	local("b");
	CHECK_EQ(issuer_forgot, 1);
	end();
}

/* News forgive a failure; an answer may come while it is being forgotten. */
TEST(pushing_and_forgetting)
{
	begin_pushing();
	issuer.fail = true;
	local("a b");
	wait_for(2, 0, 2, 0, 0);
	issuer.fail = false;
	renewed("a");
	settle();
	CHECK_EQ(sink.installs, 1);
	issuer.hold = true;
	renewed("b");
	wait_for(4, 1, 2, 0, 1);
	local("a");
	CHECK_EQ(issuer_forgot, 1);
	CHECK_EQ(issuer.n, 0);
	CHECK_EQ(sink.forgets, 1);
	CHECK_EQ(sink.installs, 1);
	end();
}

TEST(sink_that_refuses_is_a_failure)
{
	begin();
	sink.refuse = 1;
	local("a");
	wait_for(1, 0, 1, 0, 0);
	CHECK_STR(sink.last_error, "sink does not like it");
	sink.refuse = 0;
	wait_for(2, 1, 1, 0, 0);
	end();
}

TEST(local_identities)
{
	begin();
	local("a b c b");
	wait_for(3, 3, 0, 0, 0);
	local("b d");
	CHECK_EQ(sink.forgets, 2);
	wait_for(4, 4, 0, 2, 0);
	local("");
	CHECK_EQ(sink.forgets, 4);
	/* It may come back. */
	local("a");
	wait_for(5, 5, 0, 4, 0);
	end();
}

TEST(forgotten_while_asked)
{
	begin();
	issuer.hold = true;
	local("a");
	wait_for(1, 0, 0, 0, 1);
	local("");
	CHECK_EQ(sink.forgets, 1);
	/* Asked again at once: another request, the first answer is dropped. */
	local("a");
	wait_for(2, 0, 0, 1, 2);
	answer(0);
	settle();
	CHECK_EQ(sink.installs, 0);
	answer(0);
	CHECK_EQ(sink.installs, 1);
	end();
}

TEST(renewal_and_the_end_of_the_unwanted)
{
	begin();
	issuer.life = 2;
	local("a");
	ask("stray", AMB_CERTS_REALTIME);
	wait_for(2, 2, 0, 0, 0);
	/* After a second the local one is renewed, the other has no workload any more. */
	wait_for(4, 4, 0, 1, 0);
	CHECK_EQ(sink.forgets, 1);
	CHECK(strstr(issuer.order, "stray") == strrchr(issuer.order, 's'));
	CHECK(issuer.at[2] - issuer.at[0] >= 900000000ull);
	end();
}

TEST(reissue_while_asked)
{
	begin();
	issuer.hold = true;
	local("a b");
	wait_for(2, 0, 0, 0, 2);
	amb_certs_reissue(certs);
	CHECK_EQ(issuer.total, 2);
	answer(0);
	answer(0);
	/* What was asked before the change is asked once more. */
	wait_for(4, 2, 0, 0, 2);
	CHECK_EQ(amb_certs_roots(certs, "bundle"), 0);
	CHECK_STR(sink.last_roots, "bundle");
	end();
}

TEST(clock_jumps)
{
	begin();
	issuer.life = 10000;
	local("a");
	wait_for(1, 1, 0, 0, 0);
	/* a little: nothing to do */
	set_clock(100);
	settle();
	CHECK_EQ(issuer.total, 1);
	/* past the renewal */
	set_clock(6000);
	wait_for(2, 2, 0, 0, 0);
	/* past the end */
	set_clock(1000000);
	wait_for(3, 3, 0, 0, 0);
	/* back before the beginning */
	set_clock(-500000);
	wait_for(4, 4, 0, 0, 0);
	settle();
	CHECK_EQ(issuer.total, 4);
	end();
}

#define THREADS 4

static void *asker(void *arg)
{
	char name[16];
	int i;

	(void)arg;
	for (i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "t%d", i % 40);
		ask(name, i % AMB_CERTS_PRIORITIES);
	}
	return NULL;
}

TEST(requests_from_threads)
{
	pthread_t t[THREADS];
	int i;

	begin();
	for (i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, asker, NULL), 0);
	wait_for(40, 40, 0, 0, 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	settle();
	CHECK_EQ(issuer.total, 40);
	/* Requests that nobody takes are freed with the rest. */
	ask("late", AMB_CERTS_REALTIME);
	end();
}

/* The embedded CA */

static struct amb_issuer *is;
static char dir[] = "/tmp/certs.XXXXXX";
static char ca_dir[64];

static bool can_sign(void)
{
	return !amb_issuer_error(is);
}

static bool cannot_sign(void)
{
	return amb_issuer_error(is);
}

static int roots_seen;

static bool new_roots(void)
{
	return sink.roots > roots_seen;
}

static void remove_dir(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		fprintf(stderr, "%s stays\n", dir);
}

TEST(embedded_ca)
{
	struct amb_certs_issuer iface;
	char err[AMB_CA_ERROR_LEN], path[PATH_MAX], first[16384];
	int fails;

	memset(&sink, 0, sizeof(sink));
	loop = amb_loop_create();
	CHECK(mkdtemp(dir));
	atexit(remove_dir);
	snprintf(ca_dir, sizeof(ca_dir), "%s/ca", dir);
	/* Nothing is there yet: requests fail with the reason. */
	is = amb_issuer_create(loop, ca_dir, "n1", 3600);
	CHECK(is);
	iface = amb_issuer_interface(is);
	certs = amb_certs_create(loop, &the_sink, &iface);
	CHECK(certs);
	amb_issuer_set_certs(is, certs);
	CHECK(cannot_sign());
	CHECK(!amb_issuer_trust_domain(is));
	local("a");
	wait_for(0, 0, 1, 0, 0);
	CHECK(strstr(sink.last_error, "nodes/n1.key: No such file"));
	/* It comes to be. */
	CHECK_EQ(amb_ca_init(ca_dir, "cluster.local", NULL, err), 0);
	CHECK_EQ(amb_ca_node(ca_dir, "n1", NULL, err), 0);
	CHECK(spin(loop, can_sign));
	CHECK_STR(amb_issuer_trust_domain(is), "cluster.local");
	wait_for(0, 1, 1, 0, 0);
	fails = sink.fails;
	snprintf(first, sizeof(first), "%s", sink.last_chain);
	/* A second root: trusted at once, certificates stay. */
	roots_seen = sink.roots;
	CHECK_EQ(amb_ca_rotate(ca_dir, NULL, err), 0);
	CHECK(spin(loop, new_roots));
	CHECK_EQ(sink.installs, 1);
	CHECK(strstr(strstr(sink.last_roots, "-----BEGIN") + 1, "-----BEGIN"));
	/* A new intermediate: signed anew. */
	CHECK_EQ(amb_ca_node(ca_dir, "n1", NULL, err), 0);
	wait_for(0, 2, 1, 0, 0);
	CHECK(strcmp(first, sink.last_chain));
	roots_seen = sink.roots;
	CHECK_EQ(amb_ca_retire(ca_dir, err), 0);
	CHECK(spin(loop, new_roots));
	CHECK_EQ(sink.installs, 2);
	/* A key that others can read now: we keep what we have. */
	snprintf(path, sizeof(path), "%s/nodes/n1.key", ca_dir);
	CHECK_EQ(chmod(path, 0644), 0);
	spin_for(loop, NULL, 500000000);
	CHECK(can_sign());
	local("a b");
	wait_for(0, 3, fails, 0, 0);
	CHECK_EQ(sink.fails, fails);
	/* An identity of another trust domain is not signed. */
	{
		struct amb_identity *id = amb_identity_intern("other.local", "n", "x");

		amb_certs_request(certs, id, AMB_CERTS_REALTIME);
		amb_identity_put(id);
	}
	wait_for(0, 3, fails + 1, 0, 0);
	CHECK(strstr(sink.last_error, "is not of trust domain cluster.local"));
	amb_certs_destroy(certs);
	amb_issuer_destroy(is);
	amb_loop_destroy(loop);
}

int main(void)
{
	return harness_run();
}
