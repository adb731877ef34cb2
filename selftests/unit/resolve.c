// SPDX-License-Identifier: GPL-2.0-or-later
/* Names resolved off the loop's thread: answers, the cache, giving up, going away. */
#include "harness.h"

#include <errno.h>
#include <unistd.h>

#include "base/util.h"
#include "base/resolve.h"

static struct amb_loop *loop;
static struct amb_resolver *resolver;

struct user {
	struct amb_resolve_waiter w;
	int calls, err;
	struct amb_addr addr;
};

static void told(struct amb_resolve_waiter *w, int err, const struct amb_addr *addr)
{
	struct user *u = AMB_CONTAINER_OF(w, struct user, w);

	u->calls++;
	u->err = err;
	u->addr = *addr;
	amb_loop_stop(loop);
}

static int ask(struct user *u, const char *name, bool v6)
{
	memset(u, 0, sizeof(*u));
	u->w.fn = told;
	return amb_resolve(resolver, name, v6, loop, &u->w, &u->addr);
}

/* Asks and waits for the answer, from wherever it comes. */
static int answer(struct user *u, const char *name, bool v6)
{
	int err = ask(u, name, v6);

	if (err != -EINPROGRESS)
		return err;
	while (!u->calls)
		amb_loop_run(loop);
	return u->err;
}

static void late(struct amb_timer *t)
{
	(void)t;
	amb_loop_stop(loop);
}

static void run_for(uint64_t ns)
{
	struct amb_timer t = { .fn = late };

	amb_loop_timer_set(loop, &t, amb_util_now_ns() + ns);
	amb_loop_run(loop);
	amb_loop_timer_cancel(loop, &t);
}

TEST(an_address_is_found_and_kept)
{
	struct user u;

	CHECK_EQ(ask(&u, "localhost", false), -EINPROGRESS);
	while (!u.calls)
		amb_loop_run(loop);
	CHECK_EQ(u.err, 0);
	CHECK(amb_addr_is_loopback(&u.addr));
	CHECK_EQ(u.calls, 1);
	/* from the cache now, without a call */
	CHECK_EQ(ask(&u, "localhost", false), 0);
	CHECK(amb_addr_is_loopback(&u.addr));
}

TEST(the_family_asked_for_is_preferred)
{
	struct user u;

	CHECK_EQ(answer(&u, "127.0.0.5", true), 0);
	CHECK(amb_addr_is_v4(&u.addr));
	CHECK_EQ(answer(&u, "::1", false), 0);
	CHECK(!amb_addr_is_v4(&u.addr));
}

TEST(what_does_not_resolve_is_kept_too)
{
	struct user u;

	CHECK_EQ(answer(&u, "no such name", false), -ENOENT);
	CHECK_EQ(ask(&u, "no such name", false), -ENOENT);
}

TEST(many_wait_for_one_answer)
{
	struct user u[64];
	int i, n = 0;

	for (i = 0; i < 64; i++)
		n += ask(&u[i], "127.0.0.6", false) == -EINPROGRESS;
	for (i = 0; i < 64; i++)
		while (n && u[i].w.loop && !u[i].calls)
			amb_loop_run(loop);
	for (i = 0; i < 64; i++)
		CHECK_EQ(u[i].addr.b[15], 6);
}

TEST(who_gives_up_hears_nothing)
{
	struct user u[3];

	CHECK_EQ(ask(&u[0], "127.0.0.7", false), -EINPROGRESS);
	amb_resolve_cancel(resolver, &u[0].w);
	amb_resolve_cancel(resolver, &u[0].w);
	/* or when the answer is on its way to the loop already */
	CHECK_EQ(ask(&u[1], "127.0.0.8", false), -EINPROGRESS);
	while (ask(&u[2], "127.0.0.8", false) == -EINPROGRESS) {
		amb_resolve_cancel(resolver, &u[2].w);
		usleep(1000);
	}
	amb_resolve_cancel(resolver, &u[1].w);
	run_for(50000000);
	CHECK_EQ(u[0].calls + u[1].calls, 0);
}

int main(void)
{
	int bad;

	loop = amb_loop_create();
	resolver = amb_resolver_create();
	bad = harness_run();
	/* with names still under way */
	amb_resolver_destroy(resolver);
	usleep(200000);
	amb_loop_destroy(loop);
	return bad;
}
