// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a connection's socket brings: the handshake's messages, then records. It is read into the
 * thread's area; what is left of a record waits in a buffer of its own.
 */
#include "conn.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "creds.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

static int output(void *ctx, const uint8_t *p, size_t n)
{
	struct amb_hbone *c = ctx;

	amb_send_raw(c, p, n);
	return c->broken ? -ENOBUFS : 0;
}

static void up(struct amb_hbone *c)
{
	const char *why;

	if (amb_tls_finish(c->tls, &c->wire.tx, &c->wire.rx, &c->peer) ||
	    nghttp2_hd_inflate_new(&c->inflater) || nghttp2_hd_deflate_new(&c->deflater, 4096)) {
		amb_hbone_fail(c, AMB_REASON_MEMORY, AMB_CONN_NO_GOAWAY, "no memory");
		return;
	}
	amb_tls_destroy(take_ptr(c->tls));
	why = amb_tls_revoked(&c->peer);
	if (why) {
		amb_hbone_fail(c, AMB_REASON_CERT_REVOKED, AMB_CONN_NO_GOAWAY, why);
		return;
	}
	c->state = AMB_CONN_UP;
	c->wire.tier = c->bytes->config.tier;
	c->wire.rekeys = c->bytes->config.rekeys;
	c->wire.limit = c->bytes->config.record_limit;
	if (c->bytes->kmod && !c->keep) {
		c->kmod = AMB_KMOD_WANTED;
		c->wire.tier = AMB_TIER_KTLS;
	} else if (c->wire.tier == AMB_TIER_KMOD) {
		c->wire.tier = AMB_TIER_KTLS;
	}
	if (c->wire.tier == AMB_TIER_USER)
		AMB_BYTES_COUNT(c->bytes, tiers[AMB_TIER_USER], 1);
	amb_h2_init(&c->parser, c->server, c->bytes->config.frame_size, AMB_HBONE_LIST_SERVER);
	amb_send_preface(c);
	/* The first stream is opened in the kernel, or when that was in vain. */
	if (c->ops->up && (c->server || c->kmod == AMB_KMOD_NO))
		c->ops->up(c, c->owner);
}

size_t amb_recv_handshake(struct amb_hbone *c, const uint8_t *p, size_t n)
{
	const char *text = NULL;
	size_t used = 0;
	int r = amb_tls_handshake(c->tls, p, n, &used, output, c);

	if (r > 0) {
		up(c);
	} else if (r < 0) {
		enum amb_reason reason = amb_tls_error(c->tls, &text);

		AMB_BYTES_COUNT(c->bytes, tls_errors, 1);
		amb_hbone_fail(c, reason, AMB_CONN_NO_GOAWAY, text);
	}
	return used;
}

/* Takes what it can of @n bytes; returns how many. */
static size_t input(struct amb_hbone *c, uint8_t *p, size_t n)
{
	size_t used = 0, k = 1;

	while (k && used < n && !c->broken && c->state <= AMB_CONN_UP) {
		k = c->state == AMB_CONN_UP ? amb_records_input(c, p + used, n - used) :
					      amb_recv_handshake(c, p + used, n - used);
		used += k;
	}
	return used;
}

/* A record's beginning waits in a small buffer, so that a stalled peer holds no large one. */
static void keep_rest(struct amb_hbone *c, const uint8_t *p, size_t n)
{
	if (!n)
		return;
	c->stash = amb_bytes_get(c->share, AMB_BYTES_SMALL, AMB_BYTES_MUST);
	if (!c->stash || n > c->stash->cap) {
		amb_hbone_fail(c, AMB_REASON_MEMORY, AMB_CONN_NO_GOAWAY, "no buffer to receive");
		return;
	}
	memcpy(c->stash->d, p, n);
	c->stash->w = n;
}

/* The kernel tells nobody of records without content. */
static void charge_empties(struct amb_hbone *c)
{
	uint64_t n = c->wire.rx_ops->empties(&c->wire);

	while (n-- && !c->broken)
		amb_hbone_charge(c, AMB_ABUSE_EMPTY);
}

void amb_recv_run(struct amb_hbone *c, bool told)
{
	uint8_t *area = amb_bytes_scratch(c->bytes);
	size_t n = 0;
	int round;

	c->more = false;
	if (!area) {
		amb_hbone_fail(c, AMB_REASON_MEMORY, AMB_CONN_NO_GOAWAY, "no memory to receive");
		return;
	}
	if (c->stash) {
		n = c->stash->w;
		memcpy(area, c->stash->d, n);
		amb_bytes_put(c->bytes, take_ptr(c->stash));
	}
	for (round = 0;; round++) {
		size_t room, used;
		ssize_t got;

		if (amb_kmod_full(c)) {
			amb_hbone_later(c);
			break;
		}
		if (round == AMB_HBONE_RECEIVES) {
			c->more = true;
			amb_hbone_later(c);
			break;
		}
		room = amb_wire_room(&c->wire, area, n, AMB_BYTES_SCRATCH - n);
		got = c->wire.rx_ops->recv(&c->wire, area + n, room);
		if (got == -EAGAIN) {
			if (told && !round && !n && c->wire.rx_ops->empties)
				charge_empties(c);
			break;
		}
		if (got < 0) {
			amb_records_failed(c, got);
			return;
		}
		if (!got) {
			amb_hbone_peer_closed(c);
			return;
		}
		n += got;
		used = input(c, area, n);
		amb_stream_flush_all(c->bytes);
		if (c->broken || c->state > AMB_CONN_UP)
			return;
		n -= used;
		if (n)
			memmove(area, area + used, n);
		/* What is in the socket by then tells nobody again. */
		else if (amb_hbone_taken(c, amb_wire_rx_border(&c->wire)))
			continue;
		/* Behind a run of data something else may wait, which has to be asked for. */
		if ((size_t)got < room && !c->rdhup && !c->wire.rx_ops->runs)
			break;
	}
	keep_rest(c, area, n);
}
