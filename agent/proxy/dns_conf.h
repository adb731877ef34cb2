/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A resolver's configuration file, as resolv.conf(5) says. Pure. */
#ifndef AMB_DNS_CONF_H
#define AMB_DNS_CONF_H

#include <stdint.h>

#include "base/addr.h"
#include "mesh/names.h"

#define AMB_DNS_CONF_MAX 65536 /* bytes of a file that are read */
#define AMB_DNS_SERVERS 3 /* name servers that are used, as by the C library */
#define AMB_DNS_PORT 53

struct amb_dns_conf {
	unsigned int n; /* without any in the file: one, 127.0.0.1 */
	struct amb_endpoint servers[AMB_DNS_SERVERS];
	unsigned int timeout_s; /* "options timeout:", 0: not said */
	char search[AMB_NAMES_SEARCH_TEXT]; /* of amb_names_search_add() */
};

/* Never fails: lines that cannot be read are passed over, as resolvers do. */
void amb_dns_conf_parse(const char *text, struct amb_dns_conf *out);

#endif
