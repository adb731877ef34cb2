// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What comes in records: data goes to the frames, alerts and messages after the handshake
 * (RFC 8446 4.6 and 6) are answered here.
 */
#include "conn.h"

#include "base/util.h"

#include <errno.h>

static void tls_error(struct amb_hbone *c, uint8_t alert, const char *text)
{
	AMB_BYTES_COUNT(c->bytes, tls_errors, 1);
	amb_send_alert(c, alert);
	amb_hbone_fail(c, AMB_REASON_TLS, AMB_CONN_NO_GOAWAY, text);
}

/* Messages after the handshake (RFC 8446 4.6): tickets are ignored, key updates followed. */
static void tls_message(struct amb_hbone *c, const uint8_t *p, size_t n)
{
	bool key_update;

	while (n && !c->broken) {
		if (c->ntls < sizeof(c->tls_head)) {
			c->tls_head[c->ntls++] = *p++;
			n--;
			if (c->ntls < sizeof(c->tls_head))
				continue;
			amb_hbone_charge(c, AMB_ABUSE_KEYS);
			c->tls_left = c->tls_head[1] << 16 | c->tls_head[2] << 8 | c->tls_head[3];
			key_update = c->tls_head[0] == 24;
			if ((!key_update && c->tls_head[0] != 4) ||
			    (key_update ? c->tls_left != 1 : c->tls_left > AMB_HBONE_TLS_MESSAGE)) {
				tls_error(c, 10, "unexpected message after the handshake");
				return;
			}
			continue;
		}
		if (c->tls_head[0] == 24) {
			/* Nothing may follow under the old keys, 4.6.3 and 5.1. */
			if (n != 1 || *p > 1 || amb_record_update(c->rx)) {
				tls_error(c, 10, "malformed key update");
				return;
			}
			c->ntls = 0;
			if (*p)
				amb_send_key_update(c);
			return;
		}
		{
			size_t k = AMB_MIN(n, (size_t)c->tls_left);

			p += k;
			n -= k;
			c->tls_left -= k;
			if (!c->tls_left)
				c->ntls = 0;
		}
	}
}

static void tls_alert(struct amb_hbone *c, const uint8_t *p, size_t n)
{
	if (n != 2) {
		tls_error(c, 50, "malformed alert");
	} else if (!p[1]) {
		c->close_notify = true;
		amb_hbone_peer_closed(c);
	} else if (p[1] == 90) { /* user_canceled: close_notify follows */
		amb_hbone_charge(c, AMB_ABUSE_KEYS);
	} else {
		amb_hbone_fail(c, AMB_REASON_TLS, AMB_CONN_NO_GOAWAY, "peer sent a TLS alert");
	}
}

size_t amb_records_input(struct amb_hbone *c, uint8_t *p, size_t n)
{
	enum amb_record_type type;
	int len = amb_record_length(p, n), got;

	if (len < 0)
		tls_error(c, 22, "malformed record");
	if (len <= 0 || (size_t)len > n)
		return 0;
	got = amb_record_open(c->rx, p, len, &type);
	if (got < 0) {
		tls_error(c, 20, "record does not open");
		return 0;
	}
	p += AMB_RECORD_HEAD;
	if (type == AMB_RECORD_DATA && got)
		amb_frames_input(c, p, got);
	else if (type == AMB_RECORD_DATA)
		amb_hbone_charge(c, AMB_ABUSE_EMPTY);
	else if (type == AMB_RECORD_HANDSHAKE && got)
		tls_message(c, p, got);
	else if (type == AMB_RECORD_ALERT)
		tls_alert(c, p, got);
	else
		tls_error(c, 10, "unexpected record");
	return len;
}
