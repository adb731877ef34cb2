// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A server's DATA as gRPC messages, cut as the first byte says; and the same bytes as the texts
 * of a status, an address and a certificate's name.
 */
#include "fuzz.h"

#include "control/grpc.h"
#include "control/tls_client.h"

#include <stdint.h>

#define MAX 4096

struct sum {
	uint64_t mixed;
	unsigned int messages;
	int end;
	bool idle;
};

static struct sum run(const uint8_t *data, size_t size, size_t step)
{
	struct amb_grpc_reader r = { .max = MAX };
	struct amb_grpc_piece piece;
	struct sum s = { 0 };
	uint32_t left = 0;

	while (size && s.end >= 0) {
		size_t n = size < step ? size : step, i;
		const uint8_t *p = data;

		data += n;
		size -= n;
		while ((s.end = amb_grpc_read(&r, &p, &n, &piece)) > 0) {
			if (piece.first)
				left = piece.len;
			PROMISE(piece.len <= MAX && piece.n <= left);
			left -= piece.n;
			PROMISE(piece.last == !left);
			for (i = 0; i < piece.n; i++)
				s.mixed = s.mixed * 31 + piece.p[i];
			s.messages += piece.last;
		}
		PROMISE(s.end < 0 || !n);
	}
	s.idle = amb_grpc_reader_idle(&r);
	return s;
}

static void texts(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), out[64], host[AMB_GRPC_HOST_MAX];
	size_t room = size % sizeof(out) + 1;
	uint16_t port = 0;

	amb_grpc_message_decode(text, size, out, room);
	PROMISE(strlen(out) < room);
	PROMISE(amb_grpc_code_parse(text, size) <= AMB_GRPC_UNAUTHENTICATED);
	if (!amb_grpc_parse_url(text, host, &port))
		PROMISE(*host && strlen(host) < AMB_GRPC_HOST_MAX && port);
	if (amb_tls_name_matches(text, size, "a.example.com"))
		PROMISE(size == 13);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sum whole, pieces;

	if (!size)
		return 0;
	whole = run(data + 1, size - 1, size);
	pieces = run(data + 1, size - 1, data[0] % 11 + 1);
	PROMISE((whole.end < 0) == (pieces.end < 0) && whole.messages == pieces.messages);
	PROMISE(whole.mixed == pieces.mixed || whole.end < 0);
	PROMISE(whole.idle == pieces.idle || whole.end < 0);
	texts(data, size);
	return 0;
}
