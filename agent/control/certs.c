// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The certificate manager. Everything happens on one loop's thread; requests of other threads
 * are posted to it. An identity is one of:
 *
 *   resting   a certificate, its timer armed for the renewal; or failed, armed for the retry
 *   queued    in one of three queues, the issuer was not asked yet
 *   asked     at the issuer
 *
 * An entry that no local workload wants is renewed by nobody: when its timer fires it is
 * forgotten. An entry forgotten while asked stays until the answer, which is then dropped.
 *
 * The embedded CA answers from within issue(). A certificate costs it 40 us and the sink
 * about 100, so the thread is not worth leaving; what keeps the loop alive while a thousand
 * identities start is that a turn asks for AMB_CERTS_PARALLEL of them at most.
 */
#include "certs.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "mesh/by_id.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#define SECOND_NS 1000000000ull
#define RENEW_MIN_S 1

enum state { RESTING, QUEUED, ASKED };

struct amb_certs_ticket {
	struct amb_by_id by; /* first */
	struct amb_certs_ticket *next, **prev; /* of its queue */
	struct amb_certs *certs;
	struct amb_timer timer;
	enum state state;
	enum amb_certs_priority priority;
	unsigned int failures; /* since the last success */
	int64_t not_before, not_after; /* 0: no certificate */
	int64_t due; /* wall clock: renewal, when there is a certificate */
	bool wanted, again, gone;
};

/* A request on its way from another thread. */
struct note {
	struct amb_work work;
	struct note *next, **prev; /* under notes_lock */
	struct amb_certs *certs;
	struct amb_identity *id;
	enum amb_certs_priority priority;
};

struct amb_certs {
	struct amb_loop *loop;
	struct amb_certs_sink sink;
	struct amb_certs_issuer issuer;
	struct amb_by_id_table tickets;
	struct amb_certs_ticket *queue[AMB_CERTS_PRIORITIES];
	struct amb_certs_ticket **tail[AMB_CERTS_PRIORITIES];
	unsigned int asked;
	struct amb_work pump;
	struct amb_io clock; /* fires when the wall clock is set */
	pthread_mutex_t notes_lock;
	struct note *notes;
};

static void pump(struct amb_work *work);
static void due(struct amb_timer *timer);

/* Table */

static struct amb_certs_ticket *find_or_add(struct amb_certs *certs, struct amb_identity *id)
{
	struct amb_certs_ticket *t = amb_by_id_find(&certs->tickets, id);

	if (t)
		return t;
	t = amb_by_id_add(&certs->tickets, id, sizeof(*t));
	if (!t)
		return NULL;
	t->certs = certs;
	t->timer.fn = due;
	return t;
}

/* Queues */

static void dequeue(struct amb_certs_ticket *t)
{
	struct amb_certs *certs = t->certs;

	*t->prev = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		certs->tail[t->priority] = t->prev;
	t->state = RESTING;
}

static void enqueue(struct amb_certs_ticket *t, enum amb_certs_priority priority)
{
	struct amb_certs *certs = t->certs;

	if (t->state == QUEUED) {
		if (t->priority <= priority)
			return;
		dequeue(t);
	}
	amb_loop_timer_cancel(certs->loop, &t->timer);
	t->state = QUEUED;
	t->priority = priority;
	t->next = NULL;
	t->prev = certs->tail[priority];
	*t->prev = t;
	certs->tail[priority] = &t->next;
	amb_loop_defer(certs->loop, &certs->pump);
}

static void free_ticket(struct amb_certs_ticket *t)
{
	amb_loop_timer_cancel(t->certs->loop, &t->timer);
	amb_identity_put(t->by.id);
	free(t);
}

/* Takes it out of the table; the sink drops the certificate. */
static void forget(struct amb_certs_ticket *t)
{
	struct amb_certs *certs = t->certs;
	bool asked = t->state == ASKED;

	amb_by_id_remove(&certs->tickets, t);
	if (t->state == QUEUED)
		dequeue(t);
	certs->sink.forget(certs->sink.ctx, t->by.id);
	t->gone = asked;
	if (certs->issuer.forget)
		certs->issuer.forget(certs->issuer.ctx, t->by.id);
	/* One that is asked is freed with the answer, which may just have come. */
	if (!asked)
		free_ticket(t);
}

/* Times */

static bool has_cert(const struct amb_certs_ticket *t, int64_t now)
{
	return t->not_after && now <= t->not_after;
}

/*
 * Half of what is left of its life: the start is backdated, so half of the whole life would
 * be in the past for one of seconds.
 */
static int64_t renewal(int64_t not_after, int64_t now)
{
	return now + AMB_MAX((not_after - now) / 2, (int64_t)RENEW_MIN_S);
}

static void arm(struct amb_certs_ticket *t, uint64_t delay_ns)
{
	if (amb_loop_timer_set(t->certs->loop, &t->timer, amb_util_now_ns() + delay_ns))
		amb_err(CA, "%s: out of memory, certificate will not be renewed in time",
			t->by.id->spiffe);
}

static void arm_renewal(struct amb_certs_ticket *t, int64_t now)
{
	arm(t, t->due > now ? (t->due - now) * SECOND_NS : 0);
}

uint64_t amb_certs_backoff(unsigned int failures, uint64_t dice)
{
	uint64_t ns = AMB_CERTS_BACKOFF_NS, spread;
	unsigned int i;

	for (i = 0; i < failures && ns < AMB_CERTS_BACKOFF_MAX_NS; i++)
		ns *= 2;
	ns = AMB_MIN(ns, AMB_CERTS_BACKOFF_MAX_NS);
	spread = ns / 100 * AMB_CERTS_JITTER_PERCENT;
	return ns - spread + dice % (2 * spread + 1);
}

/* After a failure: soon, and not later than the present certificate ends. */
static void arm_retry(struct amb_certs_ticket *t, int64_t now)
{
	uint64_t ns = amb_certs_backoff(t->failures, amb_util_random());

	if (has_cert(t, now))
		ns = AMB_MIN(ns, (t->not_after > now ? t->not_after - now : 1) * SECOND_NS);
	arm(t, ns);
}

static void due(struct amb_timer *timer)
{
	struct amb_certs_ticket *t = AMB_CONTAINER_OF(timer, struct amb_certs_ticket, timer);

	if (!t->wanted)
		forget(t);
	else
		enqueue(t, AMB_CERTS_BACKGROUND);
}

/* Asking */

static struct amb_certs_ticket *first(struct amb_certs *certs)
{
	int i;

	for (i = 0; i < AMB_CERTS_PRIORITIES; i++) {
		if (certs->queue[i])
			return certs->queue[i];
	}
	return NULL;
}

static void pump(struct amb_work *work)
{
	struct amb_certs *certs = AMB_CONTAINER_OF(work, struct amb_certs, pump);
	struct amb_certs_ticket *t;
	int budget = AMB_CERTS_PARALLEL;

	while (budget-- && certs->asked < AMB_CERTS_PARALLEL && (t = first(certs))) {
		dequeue(t);
		t->state = ASKED;
		certs->asked++;
		certs->issuer.issue(certs->issuer.ctx, certs, t, t->by.id);
	}
	if (certs->asked < AMB_CERTS_PARALLEL && first(certs))
		amb_loop_defer(certs->loop, &certs->pump);
}

static void succeeded(struct amb_certs_ticket *t, const struct amb_certs_result *r, int64_t now)
{
	char until[32] = "?";
	time_t end = r->not_after;
	struct tm tm;

	if (gmtime_r(&end, &tm))
		strftime(until, sizeof(until), "%Y-%m-%dT%H:%M:%SZ", &tm);
	amb_debug(CA, "%s: certificate valid until %s", t->by.id->spiffe, until);
	t->failures = 0;
	t->not_before = r->not_before;
	t->not_after = r->not_after;
	t->due = t->certs->issuer.pushes ? r->not_after : renewal(r->not_after, now);
	arm_renewal(t, now);
}

static void failed(struct amb_certs_ticket *t, const char *error, int64_t now)
{
	struct amb_certs *certs = t->certs;

	if (t->failures < 64)
		t->failures++;
	/* A renewal that fails is no news for connections while the old one is good. */
	amb_warn(CA, "%s: no new certificate: %s%s", t->by.id->spiffe, error,
		 has_cert(t, now) ? "; the present one is still valid, continuing" : "");
	certs->sink.fail(certs->sink.ctx, t->by.id, error);
	arm_retry(t, now);
}

void amb_certs_done(struct amb_certs *certs, struct amb_certs_ticket *t,
		    const struct amb_certs_result *r, const char *error)
{
	int64_t now = time(NULL);
	char err[256] = "";

	certs->asked--;
	if (first(certs))
		amb_loop_defer(certs->loop, &certs->pump);
	t->state = RESTING;
	if (t->gone) {
		free_ticket(t);
		return;
	}
	if (r && certs->sink.install(certs->sink.ctx, t->by.id, r->key, r->keylen, r->chain_pem,
				     r->roots_pem, err, sizeof(err)))
		failed(t, *err ? err : "certificate was not accepted", now);
	else if (r)
		succeeded(t, r, now);
	else
		failed(t, error, now);
	/* The signer changed while it was asked. */
	if (t->again)
		enqueue(t, AMB_CERTS_BACKGROUND);
	t->again = false;
}

/* Requests */

static void want(struct amb_certs_ticket *t, enum amb_certs_priority priority)
{
	/* A failed one is in its backoff: the store answers waiters with the error meanwhile. */
	if (t->state == ASKED || (t->state == RESTING && (t->failures || has_cert(t, time(NULL)))))
		return;
	enqueue(t, priority);
}

/* Notes are listed, so that those that never arrive can be freed. */
static void list_note(struct note *note)
{
	struct amb_certs *certs = note->certs;

	pthread_mutex_lock(&certs->notes_lock);
	note->prev = &certs->notes;
	note->next = certs->notes;
	if (note->next)
		note->next->prev = &note->next;
	certs->notes = note;
	amb_loop_post(certs->loop, &note->work);
	pthread_mutex_unlock(&certs->notes_lock);
}

static void free_note(struct note *note)
{
	struct amb_certs *certs = note->certs;

	pthread_mutex_lock(&certs->notes_lock);
	*note->prev = note->next;
	if (note->next)
		note->next->prev = note->prev;
	pthread_mutex_unlock(&certs->notes_lock);
	amb_identity_put(note->id);
	free(note);
}

static void arrive(struct amb_work *work)
{
	struct note *note = AMB_CONTAINER_OF(work, struct note, work);
	struct amb_certs_ticket *t = find_or_add(note->certs, note->id);

	if (t)
		want(t, note->priority);
	else
		note->certs->sink.fail(note->certs->sink.ctx, note->id, "out of memory");
	free_note(note);
}

void amb_certs_request(struct amb_certs *certs, struct amb_identity *id,
		       enum amb_certs_priority priority)
{
	struct note *note = calloc(1, sizeof(*note));

	if (!note) {
		certs->sink.fail(certs->sink.ctx, id, "out of memory");
		return;
	}
	note->work.fn = arrive;
	note->certs = certs;
	note->id = amb_identity_get(id);
	note->priority = priority;
	list_note(note);
}

/* Calls @fn for each; @fn may forget the one it is given. */
static void each(struct amb_certs *certs, void (*fn)(struct amb_certs_ticket *t))
{
	struct amb_certs_ticket *t = amb_by_id_next(&certs->tickets, NULL), *next;

	for (; t; t = next) {
		next = amb_by_id_next(&certs->tickets, t);
		fn(t);
	}
}

static void unwant(struct amb_certs_ticket *t)
{
	t->wanted = false;
}

static void forget_unwanted(struct amb_certs_ticket *t)
{
	if (!t->wanted)
		forget(t);
}

int amb_certs_local(struct amb_certs *certs, struct amb_identity *const *ids, size_t n)
{
	int ret = 0;
	size_t i;

	each(certs, unwant);
	for (i = 0; i < n; i++) {
		struct amb_certs_ticket *t = find_or_add(certs, ids[i]);

		if (!t) {
			ret = -ENOMEM;
			continue;
		}
		t->wanted = true;
		want(t, AMB_CERTS_WARMUP);
	}
	each(certs, forget_unwanted);
	return ret;
}

int amb_certs_roots(struct amb_certs *certs, const char *roots_pem)
{
	return certs->sink.set_roots(certs->sink.ctx, roots_pem);
}

static void reissue(struct amb_certs_ticket *t)
{
	t->failures = 0;
	if (t->state == ASKED)
		t->again = true;
	else
		enqueue(t, AMB_CERTS_BACKGROUND);
}

void amb_certs_renewed(struct amb_certs *certs, struct amb_identity *id)
{
	struct amb_certs_ticket *t = amb_by_id_find(&certs->tickets, id);

	if (t)
		reissue(t);
}

void amb_certs_reissue(struct amb_certs *certs)
{
	each(certs, reissue);
}

/* The wall clock */

/*
 * The timer never expires: it exists to be cancelled when the clock is set, which also
 * happens after a suspended machine wakes.
 */
static int arm_clock(struct amb_certs *certs)
{
	struct itimerspec far = { .it_value.tv_sec = INT32_MAX };

	return timerfd_settime(certs->clock.fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far,
			       NULL) ?
		       -errno :
		       0;
}

static void recheck(struct amb_certs_ticket *t)
{
	int64_t now = time(NULL);

	if (t->state != RESTING || !t->not_after || t->failures)
		return;
	/* Set back past its start, a certificate is as useless as an expired one. */
	if (now < t->not_before || now >= t->due)
		enqueue(t, AMB_CERTS_BACKGROUND);
	else
		arm_renewal(t, now);
}

static void clock_set(struct amb_io *io, uint32_t events)
{
	struct amb_certs *certs = AMB_CONTAINER_OF(io, struct amb_certs, clock);
	uint64_t n;

	(void)events;
	if (read(io->fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
		return;
	amb_info(CA, "the clock was set: looking at all certificates again");
	arm_clock(certs);
	each(certs, recheck);
}

/* Life */

struct amb_certs *amb_certs_create(struct amb_loop *loop, const struct amb_certs_sink *sink,
				   const struct amb_certs_issuer *issuer)
{
	struct amb_certs *certs = calloc(1, sizeof(*certs));
	int i, err;

	if (!certs)
		return NULL;
	certs->loop = loop;
	certs->sink = *sink;
	certs->issuer = *issuer;
	certs->pump.fn = pump;
	pthread_mutex_init(&certs->notes_lock, NULL);
	for (i = 0; i < AMB_CERTS_PRIORITIES; i++)
		certs->tail[i] = &certs->queue[i];
	certs->clock.fn = clock_set;
	certs->clock.slot = -1;
	certs->clock.fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	err = certs->clock.fd < 0 ? -errno : arm_clock(certs);
	err = err ?: amb_by_id_init(&certs->tickets);
	err = err ?: amb_loop_add(loop, &certs->clock, EPOLLIN);
	if (err) {
		amb_certs_destroy(certs);
		errno = -err;
		return NULL;
	}
	return certs;
}

void amb_certs_destroy(struct amb_certs *certs)
{
	if (!certs)
		return;
	each(certs, free_ticket);
	while (certs->notes) {
		amb_loop_unpost(certs->loop, &certs->notes->work);
		free_note(certs->notes);
	}
	pthread_mutex_destroy(&certs->notes_lock);
	amb_loop_undefer(certs->loop, &certs->pump);
	amb_loop_del(certs->loop, &certs->clock);
	amb_cleanup_fd(&certs->clock.fd);
	amb_by_id_uninit(&certs->tickets);
	free(certs);
}
