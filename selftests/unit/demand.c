// SPDX-License-Identifier: GPL-2.0-or-later
/* Names asked for on demand: one question for all who wait, giving up, patience, threads. */
#include "harness.h"
#include "spin.h"

#include "proxy/demand.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static struct amb_loop *loop;
static struct amb_demand *demand;
static char asked[256]; /* names in their order, blank separated */
static bool at_once;

static void ask(void *ctx, const char *name)
{
	size_t at = strlen(asked);

	CHECK(ctx == &loop);
	snprintf(asked + at, sizeof(asked) - at, "%s ", name);
	if (at_once)
		amb_demand_answer(demand, name, -ENOSPC);
}

struct told {
	struct amb_demand_waiter w;
	int calls, err;
};

static void tell(struct amb_demand_waiter *w, int err)
{
	struct told *t = AMB_CONTAINER_OF(w, struct told, w);

	t->calls++;
	t->err = err;
}

static void begin(void)
{
	loop = amb_loop_create();
	demand = amb_demand_create(loop, ask, &loop);
	CHECK(loop && demand);
	asked[0] = 0;
	at_once = false;
}

static void end(void)
{
	amb_demand_destroy(demand);
	amb_loop_destroy(loop);
}

static void wait_for(struct told *t, const char *name, uint64_t ns)
{
	*t = (struct told){ .w.fn = tell };
	CHECK_EQ(amb_demand_wait(demand, name, loop, ns, &t->w), 0);
}

static void turn(void)
{
	spin_for(loop, NULL, 1);
}

TEST(asked_once_for_all)
{
	struct told a, b, c;

	begin();
	wait_for(&a, "/10.0.0.1", SPIN_DEADLINE_NS);
	wait_for(&b, "/10.0.0.1", SPIN_DEADLINE_NS);
	wait_for(&c, "ns/host", SPIN_DEADLINE_NS);
	CHECK_STR(asked, "");
	turn();
	CHECK_STR(asked, "/10.0.0.1 ns/host ");
	amb_demand_answer(demand, "/10.0.0.1", 0);
	CASE("never from within");
	CHECK_EQ(a.calls + b.calls, 0);
	turn();
	CHECK(a.calls == 1 && b.calls == 1 && !a.err && !b.err && !c.calls);
	amb_demand_answer(demand, "ns/host", -ECANCELED);
	turn();
	CHECK(c.calls == 1 && c.err == -ECANCELED);
	CASE("it is asked again when it is needed again");
	wait_for(&a, "/10.0.0.1", SPIN_DEADLINE_NS);
	turn();
	CHECK_STR(asked, "/10.0.0.1 ns/host /10.0.0.1 ");
	amb_demand_cancel(&a.w);
	end();
}

TEST(answered_within_the_question)
{
	struct told a, b;

	begin();
	at_once = true;
	wait_for(&a, "one", SPIN_DEADLINE_NS);
	wait_for(&b, "two", SPIN_DEADLINE_NS);
	turn();
	turn();
	CHECK_STR(asked, "one two ");
	CHECK(a.calls == 1 && a.err == -ENOSPC && b.calls == 1);
	end();
}

TEST(giving_up)
{
	struct told a, b, c;

	begin();
	wait_for(&a, "x", SPIN_DEADLINE_NS);
	wait_for(&b, "x", SPIN_DEADLINE_NS);
	wait_for(&c, "x", SPIN_DEADLINE_NS);
	amb_demand_cancel(&b.w);
	amb_demand_cancel(&b.w);
	turn();
	amb_demand_answer(demand, "x", 0);
	CASE("answered, and not told of it yet");
	amb_demand_cancel(&a.w);
	turn();
	CHECK(!a.calls && !b.calls && c.calls == 1);
	amb_demand_cancel(&c.w);
	CASE("who waits for what was asked by somebody who gave up");
	wait_for(&a, "y", SPIN_DEADLINE_NS);
	turn();
	amb_demand_cancel(&a.w);
	wait_for(&b, "y", SPIN_DEADLINE_NS);
	turn();
	CHECK_STR(asked, "x y ");
	amb_demand_answer(demand, "y", 0);
	turn();
	CHECK(!a.calls && b.calls == 1);
	amb_demand_answer(demand, "never asked", 0);
	end();
}

static struct told late;

static bool is_late(void)
{
	return late.calls;
}

TEST(patience)
{
	struct told b;

	begin();
	wait_for(&late, "x", 1000000);
	CHECK(spin(loop, is_late));
	CHECK_EQ(late.err, -ETIMEDOUT);
	CASE("the question is still there");
	wait_for(&b, "x", SPIN_DEADLINE_NS);
	turn();
	CHECK_STR(asked, "x ");
	amb_demand_answer(demand, "x", 0);
	turn();
	CHECK(late.calls == 1 && b.calls == 1 && !b.err);
	end();
}

/* Threads that wait and give up, and one that answers whatever is asked. */

#define WORKERS 3
#define ROUNDS 2000
#define NAMES 5

static atomic_uint working, answers;

struct worker {
	pthread_t thread;
	struct amb_loop *loop;
	struct told told;
};

static void told_worker(struct amb_demand_waiter *w, int err)
{
	struct worker *me = AMB_CONTAINER_OF(w, struct worker, told.w);

	me->told.calls++;
	me->told.err |= err;
	amb_loop_stop(me->loop);
}

static void *work(void *arg)
{
	struct worker *me = arg;
	char name[16];
	int i;

	me->told = (struct told){ .w.fn = told_worker };
	for (i = 0; i < ROUNDS; i++) {
		snprintf(name, sizeof(name), "n%d", i % NAMES);
		if (amb_demand_wait(demand, name, me->loop, SPIN_DEADLINE_NS, &me->told.w))
			abort();
		if (i % 3)
			amb_demand_cancel(&me->told.w);
		else
			amb_loop_run(me->loop);
	}
	atomic_fetch_sub(&working, 1);
	return NULL;
}

static void ask_and_answer(void *ctx, const char *name)
{
	(void)ctx;
	answers++;
	amb_demand_answer(demand, name, 0);
}

static bool all_done(void)
{
	return !working;
}

TEST(threads)
{
	static struct worker w[WORKERS];
	int i;

	loop = amb_loop_create();
	demand = amb_demand_create(loop, ask_and_answer, NULL);
	CHECK(loop && demand);
	working = WORKERS;
	for (i = 0; i < WORKERS; i++) {
		w[i].loop = amb_loop_create();
		CHECK(w[i].loop);
		CHECK_EQ(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	CHECK(spin(loop, all_done));
	for (i = 0; i < WORKERS; i++) {
		CHECK_EQ(pthread_join(w[i].thread, NULL), 0);
		CHECK_EQ(w[i].told.calls, (ROUNDS + 2) / 3);
		CHECK_EQ(w[i].told.err, 0);
		amb_loop_destroy(w[i].loop);
	}
	CHECK(answers > 0);
	end();
}

int main(void)
{
	return harness_run();
}
