/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HBONE's metadata headers: baggage, forwarded, traceparent (reference 4.3). Pure. */
#ifndef AMB_BAGGAGE_H
#define AMB_BAGGAGE_H

#include <stddef.h>

#include "base/addr.h"
#include "state.h"

#define AMB_BAGGAGE_MAX 1024 /* bytes we write; longer values are left out whole */
#define AMB_BAGGAGE_FIELD 256 /* of a value we read, NUL included; longer is cut off */

/* What a peer's baggage says of its workload; "" when not said. */
struct amb_baggage {
	char cluster[64];
	char ns[64];
	char workload[AMB_BAGGAGE_FIELD];
	char service[AMB_BAGGAGE_FIELD]; /* canonical name */
	char version[64]; /* canonical revision */
	char region[64], zone[64];
};

/* Writes the baggage of @w. Returns its length without NUL (0 for none); always terminated. */
size_t amb_baggage_write(const struct amb_workload *w, char *buf, size_t len);

/* Adds what one baggage header line of @len bytes says to @out (several lines may come). */
void amb_baggage_parse(const char *text, size_t len, struct amb_baggage *out);

/* Writes for="ip:port"[;host=...]. @host may be NULL. Returns the length. */
size_t amb_forwarded_write(const struct amb_endpoint *client, const char *host, char *buf,
			   size_t len);
/* Finds host= in a forwarded header. Returns 0 and @host terminated, or -ENOENT. */
int amb_forwarded_host(const char *text, size_t len, char *host, size_t hostlen);

#define AMB_TRACEPARENT_LEN 55
/* Writes version 00, random trace and span ids, flags 00; 55 bytes and NUL. */
void amb_traceparent_write(char *buf);

#endif
