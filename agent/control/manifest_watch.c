// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tells when something in a directory may have changed. Every event counts, not only those of
 * manifests: a mounted ConfigMap changes by a rename of its "..data" link. Which files to read
 * again is decided by their time stamps, so a call too many costs little.
 */
#include "manifest_watch.h"

#include "base/loop.h"
#include "base/util.h"
#include "manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define RETRY_NS 1000000000ull
#define EVENTS                                                                                     \
	(IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |        \
	 IN_DELETE_SELF | IN_MOVE_SELF)

struct amb_mwatch {
	struct amb_loop *loop;
	struct amb_io io; /* fd -1: no inotify to be had at the moment */
	struct amb_timer timer;
	int wd; /* -1: the directory is not watched, the timer tries again */
	uint64_t first; /* of the events that are waited for, 0 none */
	void (*fn)(void *ctx);
	void *ctx;
	char dir[];
};

static void drop(struct amb_mwatch *w)
{
	if (w->io.fd >= 0) {
		amb_loop_del(w->loop, &w->io);
		close(w->io.fd);
	}
	w->io.fd = -1;
	w->wd = -1;
}

static void settle(struct amb_mwatch *w)
{
	uint64_t now = amb_util_now_ns(), due = now + AMB_MANIFEST_SETTLE_NS;

	if (!w->first)
		w->first = now;
	due = AMB_MIN(due, w->first + AMB_MANIFEST_DELAY_NS);
	amb_loop_timer_set(w->loop, &w->timer, due);
}

static void on_events(struct amb_io *io, uint32_t events)
{
	struct amb_mwatch *w = AMB_CONTAINER_OF(io, struct amb_mwatch, io);
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool any = false, lost = false;
	ssize_t n;

	(void)events;
	while ((n = read(io->fd, buf, sizeof(buf))) > 0) {
		char *at = buf;

		while (at < buf + n) {
			const struct inotify_event *ev = (const void *)at;

			any = true;
			/* Behind the same path may soon be another directory. */
			lost |= !!(ev->mask & (IN_IGNORED | IN_MOVE_SELF | IN_UNMOUNT));
			at += sizeof(*ev) + ev->len;
		}
	}
	if (lost)
		drop(w);
	if (any)
		settle(w);
}

/* Watches the directory, or sees to it that this is tried again. */
static void watch(struct amb_mwatch *w)
{
	if (w->wd >= 0)
		return;
	w->io.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->io.fd >= 0)
		w->wd = inotify_add_watch(w->io.fd, w->dir, EVENTS | IN_ONLYDIR);
	if (w->wd < 0 || amb_loop_add(w->loop, &w->io, EPOLLIN)) {
		drop(w);
		amb_loop_timer_set(w->loop, &w->timer, amb_util_now_ns() + RETRY_NS);
	}
}

static void on_timer(struct amb_timer *t)
{
	struct amb_mwatch *w = AMB_CONTAINER_OF(t, struct amb_mwatch, timer);

	w->first = 0;
	/* First the watch, then the look: what changes in between is an event. */
	watch(w);
	w->fn(w->ctx);
}

struct amb_mwatch *amb_mwatch_create(struct amb_loop *loop, const char *dir, void (*fn)(void *ctx),
				     void *ctx)
{
	struct amb_mwatch *w = calloc(1, sizeof(*w) + strlen(dir) + 1);

	if (!w)
		return NULL;
	memcpy(w->dir, dir, strlen(dir));
	w->loop = loop;
	w->io.fn = on_events;
	w->io.fd = -1;
	w->io.slot = -1;
	w->timer.fn = on_timer;
	w->wd = -1;
	w->fn = fn;
	w->ctx = ctx;
	watch(w);
	return w;
}

void amb_mwatch_destroy(struct amb_mwatch *w)
{
	if (!w)
		return;
	drop(w);
	amb_loop_timer_cancel(w->loop, &w->timer);
	free(w);
}

bool amb_mwatch_active(const struct amb_mwatch *w)
{
	return w->wd >= 0;
}
