// SPDX-License-Identifier: GPL-2.0-or-later
/* :authority of a CONNECT, addresses, SPIFFE names: what is read is what is written. */
#include "fuzz.h"

#include "base/addr.h"
#include "mesh/decide.h"
#include "mesh/identity.h"

#include <ctype.h>

static void host_is_sane(const char *host)
{
	size_t n = strnlen(host, AMB_AUTHORITY_MAX);

	PROMISE(n && n < AMB_AUTHORITY_MAX);
	for (; *host; host++)
		PROMISE(!isupper((unsigned char)*host) && !iscntrl((unsigned char)*host));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_authority a = { .addr.port = 0 };
	struct amb_identity *id, *again;
	struct amb_endpoint e, e2;
	char buf[AMB_ENDPOINT_STRLEN];
	uint8_t *raw = malloc(size ? size : 1);
	char *text = fuzz_text(data, size);

	PROMISE(raw);
	memcpy(raw, data, size);
	if (!amb_authority_parse((char *)raw, size, &a)) {
		PROMISE(a.addr.port);
		if (a.kind == AMB_AUTHORITY_HOST)
			host_is_sane(a.host);
	}
	if (!amb_endpoint_parse(text, &e)) {
		PROMISE(!amb_endpoint_parse(amb_endpoint_format(&e, buf), &e2));
		PROMISE(amb_endpoint_eq(&e, &e2));
	}
	id = amb_identity_parse((char *)raw, size);
	if (id) {
		PROMISE(strlen(id->spiffe) == size && !memcmp(id->spiffe, raw, size));
		again = amb_identity_intern(id->td, id->ns, id->sa);
		PROMISE(again == id);
		amb_identity_put(again);
	}
	amb_identity_put(id);
	free(raw);
	free(text);
	return 0;
}
