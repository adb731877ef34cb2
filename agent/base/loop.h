/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An event loop for one thread: epoll, timers, deferred and posted work. */
#ifndef AMB_LOOP_H
#define AMB_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct amb_loop;
struct amb_io;
struct amb_timer;
struct amb_work;

/*
 * A watched descriptor, embedded in its owner. After amb_loop_del() fn is not called again,
 * not even for events already fetched in this turn, so the owner may be freed at once.
 */
struct amb_io {
	void (*fn)(struct amb_io *io, uint32_t events);
	int fd;
	int slot; /* private to the loop: place among the events of this turn, -1 = none */
};

/* A one-shot timer, embedded in its owner. Zero-initialised is idle. */
struct amb_timer {
	void (*fn)(struct amb_timer *t);
	uint64_t due;	/* CLOCK_MONOTONIC ns */
	uint32_t index; /* private: place in the heap + 1, 0 = idle */
};

/* Work for the end of a turn, or from another thread, embedded in its owner. */
struct amb_work {
	void (*fn)(struct amb_work *w);
	struct amb_work *next;
	bool queued;
};

/* Creates a loop owned by the thread that will run it. NULL when out of resources (errno). */
struct amb_loop *amb_loop_create(void);
void amb_loop_destroy(struct amb_loop *loop);

/* Runs until amb_loop_stop(). Returns 0, or -errno when epoll fails. */
int amb_loop_run(struct amb_loop *loop);

/* Makes amb_loop_run() return at the end of the turn. Loop thread only. */
void amb_loop_stop(struct amb_loop *loop);

/*
 * Watches io->fd for @events (EPOLLIN, ..., EPOLLET). 0 or -errno. Edge-triggered watchers
 * are armed once and never modified (byte path rule).
 */
int amb_loop_add(struct amb_loop *loop, struct amb_io *io, uint32_t events);
int amb_loop_mod(struct amb_loop *loop, struct amb_io *io, uint32_t events);
/* Forgets io; the owner closes the descriptor afterwards. Idempotent. */
void amb_loop_del(struct amb_loop *loop, struct amb_io *io);

/*
 * Arms @t to fire at @due (ns, monotonic), moving it when armed. Expiry is coarse: up to
 * AMB_LOOP_SLACK_NS late, never early; one timerfd serves all, and it is only programmed
 * when the earliest time becomes earlier (an hrtimer costs 30 us a round trip here).
 * 0 or -ENOMEM.
 */
#define AMB_LOOP_SLACK_NS 20000000ull
int amb_loop_timer_set(struct amb_loop *loop, struct amb_timer *t, uint64_t due);
void amb_loop_timer_cancel(struct amb_loop *loop, struct amb_timer *t);

/* Time at the start of this turn, ns: cheap clock for timers and idle accounting. */
uint64_t amb_loop_now(struct amb_loop *loop);

/*
 * Runs @w at the end of this turn, once however often it is asked for; work deferred from
 * within such work runs in the next turn (which then does not sleep). Loop thread only.
 */
void amb_loop_defer(struct amb_loop *loop, struct amb_work *w);
void amb_loop_undefer(struct amb_loop *loop, struct amb_work *w);

/* Runs @w on the loop's thread, in order of posting. Any thread; @w must not be queued yet. */
void amb_loop_post(struct amb_loop *loop, struct amb_work *w);
/* Takes posted work back, so that its owner may be freed. Loop thread, or when it has ended. */
void amb_loop_unpost(struct amb_loop *loop, struct amb_work *w);

#endif
