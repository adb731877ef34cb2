// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The credential store. An entry is born by the first wait or install for its identity and
 * dies by forget:
 *
 *   initializing  no credential, no error: waiters queue
 *   available     a credential that is valid
 *   unavailable   the last attempt failed and there is no valid credential: waits fail at once
 *
 * One mutex guards the table; what leaves it is a counted reference. Waiters are handed to
 * their loops with the lock held, so that cancel finds them in the entry or in the loop.
 */
#include "creds.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "cred.h"
#include "mesh/by_id.h"
#include "trust.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct entry {
	struct amb_by_id by; /* first */
	struct amb_cred *cred;
	struct amb_creds_waiter *waiters;
	bool failed;
	char error[AMB_CREDS_ERROR_LEN];
};

struct amb_creds {
	pthread_mutex_t lock; /* of everything below */
	struct amb_by_id_table entries;
	struct amb_trust *trust; /* of the last install: most bundles are the same */
	amb_creds_request_fn *request;
	void *ctx;
};

struct amb_creds *amb_creds_create(amb_creds_request_fn *request, void *ctx)
{
	struct amb_creds *creds = calloc(1, sizeof(*creds));

	if (!creds)
		return NULL;
	if (amb_by_id_init(&creds->entries)) {
		free(creds);
		return NULL;
	}
	creds->request = request;
	creds->ctx = ctx;
	pthread_mutex_init(&creds->lock, NULL);
	return creds;
}

static void free_entry(struct entry *e)
{
	amb_cred_put(e->cred);
	amb_identity_put(e->by.id);
	free(e);
}

void amb_creds_destroy(struct amb_creds *creds)
{
	struct entry *e, *next;

	if (!creds)
		return;
	for (e = amb_by_id_next(&creds->entries, NULL); e; e = next) {
		next = amb_by_id_next(&creds->entries, e);
		free_entry(e);
	}
	amb_by_id_uninit(&creds->entries);
	amb_trust_put(creds->trust);
	pthread_mutex_destroy(&creds->lock);
	free(creds);
}

/* Table, lock held */

static struct entry *find_or_add(struct amb_creds *creds, struct amb_identity *id)
{
	struct entry *e = amb_by_id_find(&creds->entries, id);

	return e ?: amb_by_id_add(&creds->entries, id, sizeof(*e));
}

static bool valid(const struct entry *e)
{
	return e && e->cred && time(NULL) <= amb_cred_not_after(e->cred);
}

/* Waiters */

static void deliver(struct amb_work *work)
{
	struct amb_creds_waiter *w = AMB_CONTAINER_OF(work, struct amb_creds_waiter, work);

	w->waiting = false;
	amb_identity_put(take_ptr(w->id));
	w->fn(w, take_ptr(w->cred), *w->error ? w->error : NULL);
}

static void wake(struct entry *e, struct amb_cred *cred, const char *error)
{
	struct amb_creds_waiter *w, *next;

	for (w = take_ptr(e->waiters); w; w = next) {
		next = w->next;
		w->cred = amb_cred_get(cred);
		snprintf(w->error, sizeof(w->error), "%s", error ? error : "");
		amb_loop_post(w->loop, &w->work);
	}
}

struct amb_cred *amb_creds_get(struct amb_creds *creds, struct amb_identity *id)
{
	struct amb_cred *cred = NULL;
	struct entry *e;

	pthread_mutex_lock(&creds->lock);
	e = amb_by_id_find(&creds->entries, id);
	if (valid(e))
		cred = amb_cred_get(e->cred);
	pthread_mutex_unlock(&creds->lock);
	return cred;
}

struct amb_cred *amb_creds_wait(struct amb_creds *creds, struct amb_identity *id,
				struct amb_loop *loop, struct amb_creds_waiter *w)
{
	struct amb_cred *cred = NULL;
	struct entry *e;
	int err = 0;

	w->waiting = false;
	w->cred = NULL;
	w->error[0] = 0;
	pthread_mutex_lock(&creds->lock);
	e = find_or_add(creds, id);
	if (!e) {
		err = ENOMEM;
	} else if (valid(e)) {
		cred = amb_cred_get(e->cred);
	} else if (e->failed) {
		snprintf(w->error, sizeof(w->error), "%s", e->error);
		err = EKEYREJECTED;
	} else {
		w->loop = loop;
		w->id = amb_identity_get(id);
		w->work = (struct amb_work){ .fn = deliver };
		w->waiting = true;
		w->next = e->waiters;
		e->waiters = w;
		err = EAGAIN;
	}
	pthread_mutex_unlock(&creds->lock);
	/* Asked for again by each waiter: the first request may have had a lower priority. */
	if (err == EAGAIN)
		creds->request(creds->ctx, id, AMB_CREDS_REALTIME);
	errno = err;
	return cred;
}

void amb_creds_cancel(struct amb_creds *creds, struct amb_creds_waiter *w)
{
	struct amb_creds_waiter **p;
	struct entry *e;

	if (!w->waiting)
		return;
	w->waiting = false;
	pthread_mutex_lock(&creds->lock);
	e = amb_by_id_find(&creds->entries, w->id);
	for (p = e ? &e->waiters : NULL; p && *p; p = &(*p)->next) {
		if (*p != w)
			continue;
		*p = w->next;
		break;
	}
	pthread_mutex_unlock(&creds->lock);
	amb_loop_unpost(w->loop, &w->work);
	amb_identity_put(take_ptr(w->id));
	amb_cred_put(take_ptr(w->cred));
}

/* Filling */

/* A reference to the trust of @pem. */
static struct amb_trust *trust_of(struct amb_creds *creds, const char *pem, char *err,
				  size_t errlen)
{
	struct amb_trust *t = NULL, *old;

	pthread_mutex_lock(&creds->lock);
	if (creds->trust && !strcmp(amb_trust_pem(creds->trust), pem))
		t = amb_trust_get(creds->trust);
	pthread_mutex_unlock(&creds->lock);
	if (t)
		return t;
	t = amb_trust_create(pem, err, errlen);
	if (!t)
		return NULL;
	pthread_mutex_lock(&creds->lock);
	old = creds->trust;
	creds->trust = amb_trust_get(t);
	pthread_mutex_unlock(&creds->lock);
	amb_trust_put(old);
	return t;
}

/* Lock held; takes over @cred, returns what it replaces. */
static struct amb_cred *swap(struct entry *e, struct amb_cred *cred)
{
	struct amb_cred *old = e->cred;

	if (old)
		amb_cred_retire(old);
	e->cred = cred;
	e->failed = false;
	wake(e, cred, NULL);
	return old;
}

int amb_creds_install(struct amb_creds *creds, struct amb_identity *id, const uint8_t *key,
		      size_t keylen, const char *chain_pem, const char *roots_pem, char *err,
		      size_t errlen)
{
	struct amb_cred *cred, *old = NULL;
	struct amb_trust *trust;
	struct entry *e;
	int ret = 0;

	trust = trust_of(creds, roots_pem, err, errlen);
	if (!trust)
		return -errno;
	cred = amb_cred_create(id, key, keylen, chain_pem, trust, err, errlen);
	ret = cred ? 0 : -errno;
	amb_trust_put(trust);
	if (ret)
		return ret;
	if (time(NULL) > amb_cred_not_after(cred)) {
		snprintf(err, errlen, "certificate for %s has expired already", id->spiffe);
		amb_cred_put(cred);
		return -EINVAL;
	}
	pthread_mutex_lock(&creds->lock);
	e = find_or_add(creds, id);
	if (e) {
		old = swap(e, cred);
	} else {
		snprintf(err, errlen, "out of memory");
		old = cred;
		ret = -ENOMEM;
	}
	pthread_mutex_unlock(&creds->lock);
	amb_cred_put(old);
	return ret;
}

void amb_creds_fail(struct amb_creds *creds, struct amb_identity *id, const char *error)
{
	struct entry *e;

	pthread_mutex_lock(&creds->lock);
	e = find_or_add(creds, id);
	if (e) {
		e->failed = true;
		snprintf(e->error, sizeof(e->error), "%s", error);
		wake(e, NULL, e->error);
	}
	pthread_mutex_unlock(&creds->lock);
}

void amb_creds_forget(struct amb_creds *creds, struct amb_identity *id)
{
	struct entry *e;

	pthread_mutex_lock(&creds->lock);
	e = amb_by_id_find(&creds->entries, id);
	if (e) {
		amb_by_id_remove(&creds->entries, e);
		if (e->cred)
			amb_cred_retire(e->cred);
		wake(e, NULL, "no workload of this node has the identity any more");
	}
	pthread_mutex_unlock(&creds->lock);
	if (e)
		free_entry(e);
}

/* Snapshots, so that slow work happens without the lock */

struct seen {
	struct amb_identity *id;
	struct amb_cred *cred;
	char state[AMB_CREDS_ERROR_LEN + 16];
};

static void state_text(const struct entry *e, struct seen *s)
{
	if (valid(e))
		strcpy(s->state, "Available");
	else if (e->failed)
		snprintf(s->state, sizeof(s->state), "Unavailable: %s", e->error);
	else if (e->cred)
		strcpy(s->state, "Unavailable: certificate expired");
	else
		strcpy(s->state, "Initializing");
}

static struct seen *snapshot(struct amb_creds *creds, size_t *n)
{
	struct seen *v;
	struct entry *e = NULL;
	size_t at = 0;

	pthread_mutex_lock(&creds->lock);
	v = calloc(creds->entries.n + 1, sizeof(*v));
	for (; v && (e = amb_by_id_next(&creds->entries, e)); at++) {
		v[at].id = amb_identity_get(e->by.id);
		v[at].cred = valid(e) ? amb_cred_get(e->cred) : NULL;
		state_text(e, &v[at]);
	}
	pthread_mutex_unlock(&creds->lock);
	*n = at;
	return v;
}

static void free_snapshot(struct seen *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		amb_identity_put(v[i].id);
		amb_cred_put(v[i].cred);
	}
	free(v);
}

int amb_creds_set_roots(struct amb_creds *creds, const char *roots_pem)
{
	struct amb_trust *trust;
	struct seen *v;
	size_t i, n;
	char err[200];
	int ret = 0;

	trust = trust_of(creds, roots_pem, err, sizeof(err));
	if (!trust)
		return -errno;
	v = snapshot(creds, &n);
	if (!v)
		ret = -ENOMEM;
	for (i = 0; i < n && !ret; i++) {
		struct amb_cred *cred, *old = NULL;
		struct entry *e;

		if (!v[i].cred || amb_cred_trust(v[i].cred) == trust)
			continue;
		cred = amb_cred_with_trust(v[i].cred, trust);
		if (!cred) {
			ret = -ENOMEM;
			break;
		}
		pthread_mutex_lock(&creds->lock);
		e = amb_by_id_find(&creds->entries, v[i].id);
		/* A renewal in between brought its own roots. */
		old = e && e->cred == v[i].cred ? swap(e, cred) : cred;
		pthread_mutex_unlock(&creds->lock);
		amb_cred_put(old);
	}
	free_snapshot(v, n);
	amb_trust_put(trust);
	return ret;
}

void amb_creds_each(struct amb_creds *creds, bool (*fn)(void *ctx, const struct amb_cred_info *i),
		    void *ctx)
{
	struct seen *v;
	size_t i, n;

	v = snapshot(creds, &n);
	for (i = 0; v && i < n; i++) {
		const struct amb_cred *c = v[i].cred;
		struct amb_cred_info info = {
			.id = v[i].id,
			.state = v[i].state,
			.chain_pem = c ? amb_cred_chain(c) : NULL,
			.roots_pem = c ? amb_trust_pem(amb_cred_trust(c)) : NULL,
		};

		if (!fn(ctx, &info))
			break;
	}
	free_snapshot(v, n);
}
