// SPDX-License-Identifier: GPL-2.0-or-later
/* A peer's baggage and forwarded headers: every field ends inside its array. */
#include "fuzz.h"

#include "mesh/baggage.h"

#define ENDS(field) PROMISE(strnlen(field, sizeof(field)) < sizeof(field))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_baggage b = { 0 };
	char host[32];
	char *raw = malloc(size ? size : 1);
	size_t cut = size / 2;

	PROMISE(raw);
	memcpy(raw, data, size);
	/* A header may come in several lines. */
	amb_baggage_parse(raw, cut, &b);
	amb_baggage_parse(raw, size, &b);
	ENDS(b.cluster);
	ENDS(b.ns);
	ENDS(b.workload);
	ENDS(b.service);
	ENDS(b.version);
	ENDS(b.region);
	ENDS(b.zone);
	memset(host, 'x', sizeof(host));
	if (!amb_forwarded_host(raw, size, host, sizeof(host)))
		ENDS(host);
	else
		PROMISE(host[0] == 'x');
	free(raw);
	return 0;
}
