// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An event loop for one thread: epoll, timers, deferred and posted work.
 *
 * Lifetime: an amb_io may be deleted and its owner freed from any callback. Events already
 * fetched for it in this turn are forgotten through io->slot, so nothing dangles.
 * Locking: only the queue of posted work is shared; everything else is the loop thread's.
 */
#include "loop.h"

#include "cleanup.h"
#include "util.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS 128 /* fetched in one epoll_wait */

struct amb_loop {
	int epfd;
	bool stop;
	uint64_t now;

	struct epoll_event ev[EVENTS];
	int nev;

	/* timers: binary heap by due time; armed = when the timerfd will fire, 0 = never */
	struct amb_io timer_io;
	struct amb_timer **heap;
	uint32_t nheap, capheap;
	uint64_t armed;

	struct amb_work *defer_head, **defer_tail;

	struct amb_io post_io;
	pthread_mutex_t post_lock;
	struct amb_work *post_head, **post_tail; /* post_lock */
	struct amb_work *post_run; /* taken from there, runs in this turn */
};

/* Timers */

static void heap_put(struct amb_loop *loop, uint32_t i, struct amb_timer *t)
{
	loop->heap[i] = t;
	t->index = i + 1;
}

static void heap_up(struct amb_loop *loop, uint32_t i, struct amb_timer *t)
{
	while (i) {
		uint32_t parent = (i - 1) / 2;

		if (loop->heap[parent]->due <= t->due)
			break;
		heap_put(loop, i, loop->heap[parent]);
		i = parent;
	}
	heap_put(loop, i, t);
}

static void heap_down(struct amb_loop *loop, uint32_t i, struct amb_timer *t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= loop->nheap)
			break;
		if (child + 1 < loop->nheap && loop->heap[child + 1]->due < loop->heap[child]->due)
			child++;
		if (t->due <= loop->heap[child]->due)
			break;
		heap_put(loop, i, loop->heap[child]);
		i = child;
	}
	heap_put(loop, i, t);
}

static void timer_arm(struct amb_loop *loop)
{
	uint64_t due = loop->nheap ? loop->heap[0]->due : 0;
	struct itimerspec its = { 0 };

	/* A wake-up that comes too early is harmless; only an earlier need is programmed. */
	if (!due || (loop->armed && loop->armed <= due + AMB_LOOP_SLACK_NS))
		return;
	due += AMB_LOOP_SLACK_NS / 2;
	its.it_value.tv_sec = due / 1000000000ull;
	its.it_value.tv_nsec = due % 1000000000ull;
	timerfd_settime(loop->timer_io.fd, TFD_TIMER_ABSTIME, &its, NULL);
	loop->armed = due;
}

int amb_loop_timer_set(struct amb_loop *loop, struct amb_timer *t, uint64_t due)
{
	uint32_t i;

	if (!due)
		due = 1;
	if (t->index) {
		i = t->index - 1;
		t->due = due;
		heap_up(loop, i, t);
		if (t->index == i + 1)
			heap_down(loop, i, t);
	} else {
		if (loop->nheap == loop->capheap) {
			uint32_t cap = loop->capheap ? loop->capheap * 2 : 64;
			struct amb_timer **heap = realloc(loop->heap, cap * sizeof(*heap));

			if (!heap)
				return -ENOMEM;
			loop->heap = heap;
			loop->capheap = cap;
		}
		t->due = due;
		heap_up(loop, loop->nheap++, t);
	}
	timer_arm(loop);
	return 0;
}

void amb_loop_timer_cancel(struct amb_loop *loop, struct amb_timer *t)
{
	struct amb_timer *last;
	uint32_t i;

	if (!t->index)
		return;
	i = t->index - 1;
	t->index = 0;
	last = loop->heap[--loop->nheap];
	if (last == t)
		return;
	heap_up(loop, i, last);
	if (last->index == i + 1)
		heap_down(loop, i, last);
}

static void run_timers(struct amb_loop *loop)
{
	uint64_t n;

	if (read(loop->timer_io.fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
		return;
	loop->armed = 0;
	while (loop->nheap && loop->heap[0]->due <= loop->now) {
		struct amb_timer *t = loop->heap[0];

		amb_loop_timer_cancel(loop, t);
		t->fn(t);
	}
	timer_arm(loop);
}

/* Posted work */

static void post_event(struct amb_io *io, uint32_t events)
{
	struct amb_loop *loop = AMB_CONTAINER_OF(io, struct amb_loop, post_io);
	struct amb_work *w;
	uint64_t n;

	(void)events;
	if (read(io->fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
		return;
	pthread_mutex_lock(&loop->post_lock);
	loop->post_run = loop->post_head;
	loop->post_head = NULL;
	loop->post_tail = &loop->post_head;
	pthread_mutex_unlock(&loop->post_lock);
	while ((w = loop->post_run)) {
		loop->post_run = w->next;
		w->queued = false;
		w->fn(w);
	}
}

void amb_loop_post(struct amb_loop *loop, struct amb_work *w)
{
	static const uint64_t one = 1;
	bool wake;

	pthread_mutex_lock(&loop->post_lock);
	wake = !loop->post_head;
	w->queued = true;
	w->next = NULL;
	*loop->post_tail = w;
	loop->post_tail = &w->next;
	pthread_mutex_unlock(&loop->post_lock);
	/* An eventfd write can only fail when its counter is full: then it is readable. */
	if (wake && write(loop->post_io.fd, &one, sizeof(one)) < 0)
		return;
}

static bool post_unlink(struct amb_work **p, struct amb_work *w)
{
	for (; *p; p = &(*p)->next) {
		if (*p != w)
			continue;
		*p = w->next;
		return true;
	}
	return false;
}

void amb_loop_unpost(struct amb_loop *loop, struct amb_work *w)
{
	struct amb_work **p;

	pthread_mutex_lock(&loop->post_lock);
	if (post_unlink(&loop->post_head, w) || post_unlink(&loop->post_run, w))
		w->queued = false;
	for (p = &loop->post_head; *p; p = &(*p)->next)
		;
	loop->post_tail = p;
	pthread_mutex_unlock(&loop->post_lock);
}

/* Deferred work */

void amb_loop_defer(struct amb_loop *loop, struct amb_work *w)
{
	if (w->queued)
		return;
	w->queued = true;
	w->next = NULL;
	*loop->defer_tail = w;
	loop->defer_tail = &w->next;
}

void amb_loop_undefer(struct amb_loop *loop, struct amb_work *w)
{
	struct amb_work **p;

	if (!w->queued)
		return;
	for (p = &loop->defer_head; *p; p = &(*p)->next) {
		if (*p != w)
			continue;
		*p = w->next;
		if (!*p)
			loop->defer_tail = p;
		w->queued = false;
		return;
	}
}

/*
 * Entries are taken one by one from the head, so that work may undefer other work. What is
 * deferred meanwhile goes behind the marker and runs next turn.
 */
static void run_deferred(struct amb_loop *loop)
{
	struct amb_work marker = { .queued = true };

	if (!loop->defer_head)
		return;
	*loop->defer_tail = &marker;
	loop->defer_tail = &marker.next;
	for (;;) {
		struct amb_work *w = loop->defer_head;

		loop->defer_head = w->next;
		if (!loop->defer_head)
			loop->defer_tail = &loop->defer_head;
		if (w == &marker)
			return;
		w->queued = false;
		w->fn(w);
	}
}

/* The loop */

int amb_loop_add(struct amb_loop *loop, struct amb_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	io->slot = -1;
	return epoll_ctl(loop->epfd, EPOLL_CTL_ADD, io->fd, &ev) ? -errno : 0;
}

int amb_loop_mod(struct amb_loop *loop, struct amb_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	return epoll_ctl(loop->epfd, EPOLL_CTL_MOD, io->fd, &ev) ? -errno : 0;
}

void amb_loop_del(struct amb_loop *loop, struct amb_io *io)
{
	if (io->fd >= 0)
		epoll_ctl(loop->epfd, EPOLL_CTL_DEL, io->fd, NULL);
	if (io->slot >= 0 && io->slot < loop->nev && loop->ev[io->slot].data.ptr == io)
		loop->ev[io->slot].data.ptr = NULL;
	io->slot = -1;
}

uint64_t amb_loop_now(struct amb_loop *loop)
{
	return loop->now;
}

void amb_loop_stop(struct amb_loop *loop)
{
	loop->stop = true;
}

/*
 * What has come is looked at before what is overdue: after a standstill (a suspended machine, a
 * starved one) the answer that a timer waited for may be there together with its end.
 */
static int turn(struct amb_loop *loop)
{
	bool overdue = false;
	int i;

	loop->nev = epoll_wait(loop->epfd, loop->ev, EVENTS, loop->defer_head ? 0 : -1);
	if (loop->nev < 0) {
		loop->nev = 0;
		if (errno != EINTR)
			return -errno;
	}
	loop->now = amb_util_now_ns();
	for (i = 0; i < loop->nev; i++)
		((struct amb_io *)loop->ev[i].data.ptr)->slot = i;
	for (i = 0; i < loop->nev; i++) {
		struct amb_io *io = loop->ev[i].data.ptr;

		if (!io)
			continue;
		io->slot = -1;
		if (io == &loop->timer_io)
			overdue = true;
		else
			io->fn(io, loop->ev[i].events);
	}
	loop->nev = 0;
	if (overdue)
		run_timers(loop);
	run_deferred(loop);
	return 0;
}

int amb_loop_run(struct amb_loop *loop)
{
	int err = 0;

	loop->stop = false;
	while (!loop->stop && !err)
		err = turn(loop);
	return err;
}

static int open_fds(struct amb_loop *loop)
{
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	loop->timer_io.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	loop->post_io.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epfd < 0 || loop->timer_io.fd < 0 || loop->post_io.fd < 0)
		return -errno;
	loop->post_io.fn = post_event;
	return amb_loop_add(loop, &loop->timer_io, EPOLLIN) ?:
		       amb_loop_add(loop, &loop->post_io, EPOLLIN);
}

struct amb_loop *amb_loop_create(void)
{
	struct amb_loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return NULL;
	loop->defer_tail = &loop->defer_head;
	loop->post_tail = &loop->post_head;
	pthread_mutex_init(&loop->post_lock, NULL);
	loop->now = amb_util_now_ns();
	err = open_fds(loop);
	if (err) {
		amb_loop_destroy(loop);
		errno = -err;
		return NULL;
	}
	return loop;
}

void amb_loop_destroy(struct amb_loop *loop)
{
	if (!loop)
		return;
	amb_cleanup_fd(&loop->epfd);
	amb_cleanup_fd(&loop->timer_io.fd);
	amb_cleanup_fd(&loop->post_io.fd);
	pthread_mutex_destroy(&loop->post_lock);
	free(loop->heap);
	free(loop);
}
