// SPDX-License-Identifier: GPL-2.0-or-later
/* Live connections judged again by revocation lists that changed. */
#include "recheck.h"

#include "bytes.h"
#include "conn.h"
#include "hbone.h"

/* Whoever was looked at has the new generation, so that a walk can begin anew. */
static struct amb_hbone *find_revoked(struct amb_bytes *b, const char **why)
{
	struct amb_hbone *c;

	for (c = b->conns; c; c = c->next) {
		*why = c->state == AMB_CONN_UP ? amb_tls_revoked(&c->peer) : NULL;
		if (*why)
			return c;
	}
	return NULL;
}

void amb_recheck_conns(struct amb_bytes *b)
{
	struct amb_hbone *c;
	const char *why;

	while ((c = find_revoked(b, &why)))
		amb_hbone_abort(c, AMB_REASON_CERT_REVOKED, why);
}
