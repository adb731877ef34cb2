// SPDX-License-Identifier: GPL-2.0-or-later
/* A packet of the CNI, first byte: descriptors that came with it. What is read is usable. */
#include "fuzz.h"

#include "control/zds_packet.h"

static void is_name(const char *s)
{
	PROMISE(*s);
	for (; *s; s++)
		PROMISE(*s > ' ' && *s <= '~' && *s != '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_zds_packet p;
	const char *why = NULL;
	unsigned int nfds;
	uint8_t *copy;

	if (!size)
		return 0;
	nfds = data[0] % 5;
	copy = malloc(size);
	PROMISE(copy);
	memcpy(copy, data + 1, size - 1);
	if (amb_zds_packet_read(&p, copy, size - 1, nfds, &why)) {
		PROMISE(why && *why);
		free(copy);
		return 0;
	}
	/* Nothing points into the packet. */
	free(copy);
	PROMISE(p.uid);
	PROMISE((p.kind == AMB_ZDS_ADD) == (p.name != NULL));
	PROMISE(p.kind != AMB_ZDS_ADD || nfds == 1);
	PROMISE(p.kind == AMB_ZDS_ADD || p.kind == AMB_ZDS_UNKNOWN || !nfds);
	if (p.kind == AMB_ZDS_ADD && !p.fault) {
		is_name(p.uid);
		is_name(p.ns);
		is_name(p.name);
		is_name(p.sa);
	}
	amb_zds_packet_uninit(&p);
	return 0;
}
