// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Messages behind the handshake. First byte: bit 0 which side we are, the rest where the bytes
 * are cut in two records: the cut must not change what they mean.
 */
#include "fuzz.h"

#include "proxy/tls.h"

#include <errno.h>
#include <stdbool.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_tls_post whole = { 0 }, cut = { 0 };
	bool server;
	size_t at;
	int a, b;

	if (size < 2)
		return 0;
	server = data[0] & 1;
	at = (data[0] >> 1) % size;
	data++;
	size--;
	if (at > size)
		at = size;
	a = amb_tls_post_handshake(&whole, server, data, size);
	PROMISE(a == AMB_TLS_POST_NONE || a == AMB_TLS_POST_UPDATE ||
		a == AMB_TLS_POST_UPDATE_REQUESTED || a == -EBADMSG || a == -EDQUOT);
	PROMISE(whole.left <= AMB_TLS_TICKET_LEN && whole.have <= sizeof(whole.head));
	PROMISE(whole.tickets <= AMB_TLS_TICKETS_MAX && whole.updates <= AMB_TLS_UPDATES_MAX);
	PROMISE(!server || !whole.tickets);
	b = amb_tls_post_handshake(&cut, server, data, at);
	/* Cut right behind an update, it ends its record, as it has to. */
	if (b == AMB_TLS_POST_UPDATE || b == AMB_TLS_POST_UPDATE_REQUESTED)
		return 0;
	if (!b)
		b = amb_tls_post_handshake(&cut, server, data + at, size - at);
	PROMISE(a == b);
	if (a >= 0)
		PROMISE(whole.left == cut.left && whole.have == cut.have &&
			whole.tickets == cut.tickets && whole.updates == cut.updates);
	return 0;
}
