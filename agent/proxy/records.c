// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What comes in records: data goes to the frames, alerts and messages after the handshake
 * (RFC 8446 4.6 and 6) are answered here.
 */
#include "conn.h"

#include "base/reason.h"
#include "base/util.h"

#include <errno.h>

static void tls_error(struct amb_hbone *c, uint8_t alert, const char *text)
{
	AMB_BYTES_COUNT(c->bytes, tls_errors, 1);
	amb_send_alert(c, alert);
	amb_hbone_fail(c, AMB_REASON_TLS, AMB_CONN_NO_GOAWAY, text);
}

/* The peer has a new key from its next record on. */
static void follow(struct amb_hbone *c, bool requested)
{
	if (c->wire.rx_ops->update(&c->wire)) {
		AMB_BYTES_COUNT(c->bytes, rekeys_refused, 1);
		amb_hbone_fail(c, AMB_REASON_REKEY, AMB_H2_NO_ERROR,
			       amb_reason_text(AMB_REASON_REKEY));
	} else if (requested) {
		amb_send_key_update(c);
	}
}

/* Messages after the handshake (RFC 8446 4.6): tickets are ignored, key updates followed. */
static void tls_message(struct amb_hbone *c, const uint8_t *p, size_t n)
{
	unsigned int before = c->post.tickets + c->post.updates, came;
	int ret = amb_tls_post_handshake(&c->post, c->server, p, n);

	for (came = c->post.tickets + c->post.updates - before; came && !c->broken; came--)
		amb_hbone_charge(c, AMB_ABUSE_KEYS);
	if (c->broken)
		return;
	if (ret < 0)
		tls_error(c, 10, "unexpected message after the handshake");
	else if (ret)
		follow(c, ret == AMB_TLS_POST_UPDATE_REQUESTED);
}

static void tls_alert(struct amb_hbone *c, const uint8_t *p, size_t n)
{
	if (n != 2) {
		tls_error(c, 50, "malformed alert");
	} else if (!p[1]) {
		c->close_notify = true;
		/* Streams whose last bytes came along are over, not torn. */
		amb_stream_flush_all(c->bytes);
		amb_hbone_peer_closed(c);
	} else if (p[1] == 90) { /* user_canceled: close_notify follows */
		amb_hbone_charge(c, AMB_ABUSE_KEYS);
	} else {
		amb_hbone_fail(c, AMB_REASON_TLS, AMB_CONN_NO_GOAWAY, "peer sent a TLS alert");
	}
}

void amb_records_failed(struct amb_hbone *c, int err)
{
	if (err == -EPROTO)
		tls_error(c, 22, "malformed record");
	else if (err == -EBADMSG)
		tls_error(c, 20, "record does not open");
	else if (err == -EOVERFLOW)
		amb_hbone_fail(c, AMB_REASON_TLS, AMB_H2_NO_ERROR, "the peer's key is used up");
	else
		amb_hbone_fail(c, AMB_REASON_RESET, AMB_CONN_NO_GOAWAY,
			       "connection was reset by the peer");
}

size_t amb_records_input(struct amb_hbone *c, uint8_t *p, size_t n)
{
	struct amb_wire_piece piece;
	int len = c->wire.rx_ops->open(&c->wire, p, n, &piece);

	if (len < 0) {
		amb_records_failed(c, len);
		return 0;
	}
	if (!len)
		return 0;
	if (amb_unlikely(c->wire.rx_ops->count(&c->wire) >= c->wire.limit) && !c->retired) {
		c->retired = c->tell_room = true;
		amb_hbone_later(c);
	}
	if (piece.type == AMB_RECORD_DATA && piece.n)
		amb_frames_input(c, piece.p, piece.n);
	else if (piece.type == AMB_RECORD_DATA)
		amb_hbone_charge(c, AMB_ABUSE_EMPTY);
	else if (piece.type == AMB_RECORD_HANDSHAKE && piece.n)
		tls_message(c, piece.p, piece.n);
	else if (piece.type == AMB_RECORD_ALERT)
		tls_alert(c, piece.p, piece.n);
	else
		tls_error(c, 10, "unexpected record");
	return len;
}
