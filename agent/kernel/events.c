// SPDX-License-Identifier: GPL-2.0-or-later
/* Events of the BPF programs. */
#include "events.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/loop.h"
#include "base/util.h"
#include "bpf.h"

struct amb_events {
	struct amb_io io;
	struct amb_loop *loop;
	struct ring_buffer *ring;
	amb_events_fn *fn;
	void *ctx;
};

static int one(void *ctx, void *data, size_t size)
{
	struct amb_events *ev = ctx;

	/* Of another size only if the programs are not ours. */
	if (size >= sizeof(struct amb_event))
		ev->fn(ev->ctx, data);
	return 0;
}

static void filling(struct amb_io *io, uint32_t events)
{
	(void)events;
	amb_events_read(AMB_CONTAINER_OF(io, struct amb_events, io));
}

struct amb_events *amb_events_create(struct amb_loop *loop, const struct amb_bpf *b,
				     amb_events_fn *fn, void *ctx)
{
	struct amb_events *ev = calloc(1, sizeof(*ev));
	int err;

	if (!ev)
		return NULL;
	ev->loop = loop;
	ev->fn = fn;
	ev->ctx = ctx;
	ev->ring = ring_buffer__new(b->map[AMB_BPF_EVENTS], one, ev, NULL);
	if (!ev->ring) {
		free(ev);
		return NULL;
	}
	ev->io.fn = filling;
	ev->io.fd = ring_buffer__epoll_fd(ev->ring);
	err = amb_loop_add(loop, &ev->io, EPOLLIN);
	if (err) {
		ring_buffer__free(ev->ring);
		free(ev);
		errno = -err;
		return NULL;
	}
	return ev;
}

void amb_events_destroy(struct amb_events *ev)
{
	if (!ev)
		return;
	amb_loop_del(ev->loop, &ev->io);
	ring_buffer__free(ev->ring);
	free(ev);
}

int amb_events_read(struct amb_events *ev)
{
	int n = ring_buffer__consume(ev->ring);

	return n < 0 ? 0 : n;
}
