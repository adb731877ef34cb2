// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Double HBONE: the outer stream's application socket is one end of a socket pair, an inner
 * HBONE client sits on the other. Never pooled, as each inner tunnel is balanced by itself at
 * the far side.
 *
 * States: the outer CONNECT is answered with 200 -> the inner client starts -> it is up, the
 * inner stream opens and takes the application's socket. From then on the entry in the table
 * belongs to the inner stream; when that ends the inner connection is drained, its end of the
 * pair closes, and with it the outer stream. The object is freed with the later of the two.
 */
#include "double.h"

#include "base/cleanup.h"
#include "base/reason.h"
#include "base/util.h"
#include "h2.h"
#include "live.h"
#include "pod.h"
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

struct amb_double {
	struct amb_pod *pod;
	struct amb_double_to to;
	struct amb_loop *loop;
	struct amb_timer timer; /* until done */
	bool done; /* open, failed or cancelled: @to is void */
	int status;
	int pair; /* our end until the inner client has it */
	struct amb_stream *outer;
	struct amb_hbone *inner;
};

static void maybe_free(struct amb_double *d)
{
	if (d->outer || d->inner)
		return;
	amb_cleanup_fd(&d->pair);
	free(d);
}

/* Nobody waits any more: it goes on by itself, or ends. */
static void settle(struct amb_double *d)
{
	d->done = true;
	amb_loop_timer_cancel(d->loop, &d->timer);
}

static void fail(struct amb_double *d, enum amb_reason reason, const char *text)
{
	if (d->done)
		return;
	settle(d);
	d->to.failed(d->to.ctx, reason, text ? text : amb_reason_text(reason));
}

/* The inner connection */

static void inner_up(struct amb_hbone *c, void *owner)
{
	struct amb_double *d = owner;
	struct amb_stream *s;

	if (d->done)
		return;
	s = amb_stream_open(c, d->to.fd, &d->to.inner, &amb_live_stream_ops, d->to.live);
	if (!s) {
		fail(d, AMB_REASON_H2, "inner tunnel: no stream");
		amb_hbone_drain(c);
		return;
	}
	settle(d);
	d->to.open(d->to.ctx, s);
}

/* The one stream is over: so is the tunnel. */
static void inner_room(struct amb_hbone *c, void *owner)
{
	struct amb_double *d = owner;

	if (d->done && !amb_hbone_streams(c))
		amb_hbone_drain(c);
}

static void inner_closed(struct amb_hbone *c, void *owner, enum amb_reason reason, const char *text)
{
	struct amb_double *d = owner;

	(void)c;
	d->inner = NULL;
	fail(d, reason == AMB_REASON_NONE ? AMB_REASON_CONNECT : reason, text);
	maybe_free(d);
}

static const struct amb_hbone_ops inner_ops = {
	.up = inner_up,
	.room = inner_room,
	.closed = inner_closed,
};

/* The outer stream */

static void outer_response(struct amb_stream *s, void *owner, int status,
			   const struct amb_baggage *baggage)
{
	struct amb_double *d = owner;

	(void)s;
	(void)baggage;
	d->status = status;
	if (status != 200 || d->done)
		return;
	d->inner = amb_hbone_client(d->pod->worker->bytes, take_fd(&d->pair), d->to.cred,
				    d->to.expect, &inner_ops, d);
	if (!d->inner) {
		fail(d, AMB_REASON_MEMORY, NULL);
		return;
	}
	amb_hbone_keep(d->inner);
	amb_hbone_share(d->inner, d->pod->share);
}

static void outer_closed(struct amb_stream *s, void *owner, enum amb_reason reason,
			 const char *text)
{
	struct amb_double *d = owner;
	char status[40];

	(void)s;
	d->outer = NULL;
	if (d->status && d->status != 200) {
		snprintf(status, sizeof(status), "gateway: http status: %d", d->status);
		fail(d, AMB_REASON_CONNECT_STATUS, status);
	} else if (!d->inner) {
		fail(d, reason == AMB_REASON_NONE ? AMB_REASON_CONNECT : reason, text);
	}
	/* The inner client, if there is one, sees its end of the pair close. */
	maybe_free(d);
}

static const struct amb_stream_ops outer_ops = {
	.response = outer_response,
	.closed = outer_closed,
};

static void give_up(struct amb_double *d, enum amb_reason reason)
{
	if (d->inner)
		amb_hbone_abort(d->inner, reason, NULL);
	else
		amb_stream_abort(d->outer, AMB_H2_CANCEL, reason);
}

static void late(struct amb_timer *t)
{
	struct amb_double *d = AMB_CONTAINER_OF(t, struct amb_double, timer);

	fail(d, AMB_REASON_TIMEOUT, "the gateway or the peer behind it does not answer");
	give_up(d, AMB_REASON_TIMEOUT);
}

struct amb_double *amb_double_start(struct amb_pod *pod, struct amb_hbone *c,
				    const struct amb_double_to *to)
{
	_cleanup_free_ struct amb_double *d = calloc(1, sizeof(*d));
	int pair[2], err;

	if (!d || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return NULL;
	d->pod = pod;
	d->to = *to;
	d->pair = pair[1];
	d->loop = pod->worker->loop;
	d->timer.fn = late;
	err = -amb_loop_timer_set(d->loop, &d->timer,
				  amb_loop_now(d->loop) +
					  2 * pod->worker->env->config.dial_timeout_ns);
	if (!err) {
		d->outer = amb_stream_open(c, pair[0], &to->outer, &outer_ops, d);
		err = d->outer ? 0 : errno;
	}
	if (err) {
		amb_loop_timer_cancel(d->loop, &d->timer);
		close(pair[0]);
		close(pair[1]);
		errno = err;
		return NULL;
	}
	return take_ptr(d);
}

void amb_double_cancel(struct amb_double *d)
{
	if (!d || d->done)
		return;
	settle(d);
	give_up(d, AMB_REASON_RESET);
}
