// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Buffers of one worker thread. Three sizes, each mapped on its own so that what an idle
 * thread gives back really leaves its RSS; a tick a second after the last use unmaps what
 * was not needed meanwhile.
 */
#include "bytes.h"

#include "base/util.h"
#include "conn.h"
#include "relay.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TRIM_NS 1000000000ull
#define TRIM_HEAP 256 /* freed objects after which the heap is trimmed too */

static const uint32_t sizes[AMB_BYTES_KINDS] = { 4096, 36864, 266240 };

_Static_assert(36864 - sizeof(struct amb_buf) >= 2 * (5 + 16384 + 17), "two records fit");
_Static_assert(266240 - sizeof(struct amb_buf) >= 16 * (5 + 16384 + 17), "sixteen records fit");

static uint64_t bound(const struct amb_bytes *b, enum amb_bytes_need need)
{
	uint64_t all = b->config.buffer_memory;

	return need == AMB_BYTES_NICE ? all / 2 : need == AMB_BYTES_DATA ? all / 8 * 7 : all;
}

bool amb_bytes_has(const struct amb_share *s, uint32_t n, enum amb_bytes_need need)
{
	const struct amb_bytes *b = s->bytes;

	/* What has to be is not shared out: a window or a word was given for it. */
	return b->used + n <= bound(b, need) &&
	       (need == AMB_BYTES_MUST || b->used + s->used + n <= bound(b, AMB_BYTES_DATA));
}

static void trim_soon(struct amb_bytes *b)
{
	if (b->trimming)
		return;
	/* Without a timer the memory is kept: more use, no error. */
	b->trimming = !amb_loop_timer_set(b->loop, &b->trim, amb_loop_now(b->loop) + TRIM_NS);
}

struct amb_buf *amb_bytes_get(struct amb_share *s, enum amb_bytes_kind kind,
			      enum amb_bytes_need need)
{
	struct amb_bytes *b = s->bytes;
	struct amb_buf *buf = b->free[kind];

	if (!amb_bytes_has(s, sizes[kind], need)) {
		AMB_BYTES_COUNT(b, buffers_refused, 1);
		return NULL;
	}
	if (buf) {
		b->free[kind] = buf->next;
		b->nfree[kind]--;
		b->low[kind] = AMB_MIN(b->low[kind], b->nfree[kind]);
	} else {
		buf = mmap(NULL, sizes[kind], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
		if (buf == MAP_FAILED) {
			s->wait_all = UINT64_MAX; /* whatever is given back may help */
			return NULL;
		}
		buf->kind = kind;
		AMB_BYTES_COUNT(b, mapped, sizes[kind]);
	}
	buf->next = NULL;
	buf->share = s;
	buf->r = buf->w = 0;
	buf->type = 0;
	buf->cap = sizes[kind] - sizeof(*buf);
	s->used += sizes[kind];
	b->used += sizes[kind];
	AMB_BYTES_COUNT(b, used, sizes[kind]);
	return buf;
}

void amb_bytes_put(struct amb_bytes *b, struct amb_buf *buf)
{
	if (!buf)
		return;
	buf->next = b->free[buf->kind];
	b->free[buf->kind] = buf;
	b->nfree[buf->kind]++;
	buf->share->used -= sizes[buf->kind];
	b->used -= sizes[buf->kind];
	AMB_BYTES_COUNT(b, used, -(uint64_t)sizes[buf->kind]);
	trim_soon(b);
	if (b->nwaiting)
		amb_loop_defer(b->loop, &b->wake);
}

void amb_bytes_put_chain(struct amb_bytes *b, struct amb_buf *buf)
{
	struct amb_buf *next;

	for (; buf; buf = next) {
		next = buf->next;
		amb_bytes_put(b, buf);
	}
}

uint8_t *amb_bytes_scratch(struct amb_bytes *b)
{
	if (!b->scratch) {
		void *p = mmap(NULL, AMB_BYTES_SCRATCH, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return NULL;
		b->scratch = p;
		AMB_BYTES_COUNT(b, mapped, AMB_BYTES_SCRATCH);
	}
	b->scratch_used = true;
	trim_soon(b);
	return b->scratch;
}

int amb_bytes_keep(struct amb_share *s, struct amb_buf **head, struct amb_buf **tail,
		   const uint8_t *p, uint32_t n, enum amb_bytes_need need)
{
	struct amb_buf *first = NULL, **link = &first, *last = *tail;
	uint32_t room = last ? last->cap - last->w : 0, left = n > room ? n - room : 0;

	/* All buffers first, so that either all bytes are kept or none. */
	while (left) {
		struct amb_buf *buf = amb_bytes_get(s,
						    left + sizeof(*buf) <= sizes[AMB_BYTES_TINY] ?
							    AMB_BYTES_TINY :
							    AMB_BYTES_SMALL,
						    need);

		if (!buf) {
			amb_bytes_put_chain(s->bytes, first);
			return -ENOBUFS;
		}
		*link = buf;
		link = &buf->next;
		left -= AMB_MIN(left, buf->cap);
	}
	if (room && n) {
		uint32_t k = AMB_MIN(room, n);

		memcpy(last->d + last->w, p, k);
		last->w += k;
		p += k;
		n -= k;
	}
	if (!first)
		return 0;
	if (last)
		last->next = first;
	else
		*head = first;
	for (last = first; n; last = last->next) {
		last->w = AMB_MIN(n, last->cap);
		memcpy(last->d, p, last->w);
		p += last->w;
		n -= last->w;
		*tail = last;
	}
	return 0;
}

/* Waiters */

void amb_bytes_wait(struct amb_share *s, struct amb_bytes_waiter *w)
{
	/* Also of one who waits already: it may be for less that it comes now. */
	s->wait_all = AMB_MAX(s->wait_all, s->bytes->used);
	s->wait_sum = AMB_MAX(s->wait_sum, s->bytes->used + s->used);
	if (w->queued)
		return;
	w->queued = true;
	w->next = NULL;
	*s->wait_tail = w;
	s->wait_tail = &w->next;
	s->bytes->nwaiting++;
}

void amb_bytes_unwait(struct amb_share *s, struct amb_bytes_waiter *w)
{
	struct amb_bytes_waiter **p;

	if (!w->queued)
		return;
	for (p = &s->wait_head; *p && *p != w; p = &(*p)->next)
		;
	if (!*p)
		return;
	*p = w->next;
	if (!*p)
		s->wait_tail = p;
	w->queued = false;
	s->bytes->nwaiting--;
}

/* Those who find too little again queue up behind the others: first come, first served. */
static void wake_share(struct amb_share *s)
{
	struct amb_bytes_waiter *w, *stop = NULL;
	uint64_t all = s->wait_all, sum = s->wait_sum;

	/* They would find too little again, and a stuck pod's are many. */
	if (s->bytes->used >= all && s->bytes->used + s->used >= sum)
		return;
	s->wait_all = s->wait_sum = 0;
	while ((w = s->wait_head) && w != stop &&
	       amb_bytes_has(s, sizes[AMB_BYTES_SMALL], AMB_BYTES_DATA)) {
		amb_bytes_unwait(s, w);
		w->fn(w);
		if (w->queued && !stop)
			stop = w;
	}
	if (!w || w == stop)
		return;
	/* The rest did not have its turn. */
	s->wait_all = AMB_MAX(s->wait_all, all);
	s->wait_sum = AMB_MAX(s->wait_sum, sum);
}

static void wake_waiters(struct amb_work *work)
{
	struct amb_bytes *b = AMB_CONTAINER_OF(work, struct amb_bytes, wake);
	struct amb_share *s;

	/* Whoever ends in here lets go of its share when it is buried. */
	for (s = b->shares; s; s = s->next)
		wake_share(s);
}

/* Shares */

static void share_init(struct amb_share *s, struct amb_bytes *b)
{
	s->bytes = b;
	s->refs = 1;
	s->wait_tail = &s->wait_head;
	s->next = b->shares;
	s->pprev = &b->shares;
	if (s->next)
		s->next->pprev = &s->next;
	b->shares = s;
}

struct amb_share *amb_bytes_share_create(struct amb_bytes *b)
{
	struct amb_share *s = calloc(1, sizeof(*s));

	if (s)
		share_init(s, b);
	return s;
}

struct amb_share *amb_bytes_share_get(struct amb_share *s)
{
	s->refs++;
	return s;
}

void amb_bytes_share_put(struct amb_share *s)
{
	if (!s || --s->refs)
		return;
	*s->pprev = s->next;
	if (s->next)
		s->next->pprev = s->pprev;
	free(s);
}

/* Graves */

static void free_graves(struct amb_bytes *b)
{
	struct amb_bytes_grave *g;

	while ((g = b->grave)) {
		b->grave = g->next;
		if (g->fini)
			g->fini(g);
		free(g);
		b->freed++;
	}
	trim_soon(b);
}

static void bury_work(struct amb_work *work)
{
	free_graves(AMB_CONTAINER_OF(work, struct amb_bytes, bury));
}

void amb_bytes_bury(struct amb_bytes *b, struct amb_bytes_grave *g, void (*fini)(void *p))
{
	g->fini = fini;
	g->next = b->grave;
	b->grave = g;
	amb_loop_defer(b->loop, &b->bury);
}

/* Giving back */

static void unmap(struct amb_bytes *b, int kind, uint32_t n)
{
	while (n-- && b->free[kind]) {
		struct amb_buf *buf = b->free[kind];

		b->free[kind] = buf->next;
		b->nfree[kind]--;
		munmap(buf, sizes[kind]);
		AMB_BYTES_COUNT(b, mapped, -(uint64_t)sizes[kind]);
	}
}

static void trim(struct amb_timer *t)
{
	struct amb_bytes *b = AMB_CONTAINER_OF(t, struct amb_bytes, trim);
	bool left = false;
	int i;

	b->trimming = false;
	for (i = 0; i < AMB_BYTES_KINDS; i++) {
		unmap(b, i, b->low[i]);
		b->low[i] = b->nfree[i];
		left |= b->nfree[i] > 0;
	}
	if (b->scratch && !b->scratch_used) {
		munmap(b->scratch, AMB_BYTES_SCRATCH);
		AMB_BYTES_COUNT(b, mapped, -(uint64_t)AMB_BYTES_SCRATCH);
		b->scratch = NULL;
	}
	b->scratch_used = false;
	if (b->freed >= TRIM_HEAP) {
		malloc_trim(0);
		b->freed = 0;
	}
	if (left || b->scratch)
		trim_soon(b);
}

/* Life */

struct amb_bytes *amb_bytes_create(struct amb_loop *loop, const struct amb_hbone_config *config)
{
	struct amb_bytes *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->loop = loop;
	b->config = config ? *config : amb_hbone_defaults;
	share_init(&b->own, b);
	b->wake.fn = wake_waiters;
	b->bury.fn = bury_work;
	b->trim.fn = trim;
	if (b->config.tier != AMB_TIER_KMOD)
		return b;
	b->kmod = amb_kmod_create(b);
	if (!b->kmod) {
		free(b);
		return NULL;
	}
	return b;
}

void amb_bytes_destroy(struct amb_bytes *b)
{
	int i;

	if (!b)
		return;
	amb_relay_end_all(b);
	amb_hbone_end_all(b);
	free_graves(b);
	amb_kmod_destroy(b->kmod);
	amb_loop_timer_cancel(b->loop, &b->trim);
	amb_loop_undefer(b->loop, &b->bury);
	amb_loop_undefer(b->loop, &b->wake);
	for (i = 0; i < AMB_BYTES_KINDS; i++)
		unmap(b, i, b->nfree[i]);
	if (b->scratch)
		munmap(b->scratch, AMB_BYTES_SCRATCH);
	free(b);
}

void amb_bytes_get_stats(const struct amb_bytes *b, struct amb_bytes_stats *out)
{
	const uint64_t *from = (const uint64_t *)&b->stats;
	uint64_t *to = (uint64_t *)out;
	size_t i;

	for (i = 0; i < sizeof(*out) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}
