/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of the mesh: which addresses a host name stands for, as a pod sees it (ztunnel-interop
 * 8.5). Pure.
 */
#ifndef AMB_NAMES_H
#define AMB_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "state.h"

#define AMB_NAMES_MAX 254 /* text of a name with its NUL: 255 bytes on the wire (RFC 1035, 2.3.4) */
#define AMB_NAMES_ADDRS 1024 /* of one answer; of more, these many at random */
#define AMB_NAMES_SEARCH 32 /* search domains of a pod, as Kubernetes' limit */
#define AMB_NAMES_SEARCH_TEXT 2048 /* text of all of them with its NUL, as Kubernetes' limit */

/* What the resolver in a pod may put behind the names it is asked for. */
struct amb_names_search {
	const char *list; /* of amb_names_search_add(), NULL: none */
	bool only; /* nothing but the list; else also what Kubernetes puts in every pod */
};

/*
 * Adds a domain of @len bytes to a list of domains in @list, which holds AMB_NAMES_SEARCH_TEXT
 * bytes: lower case, no dot at its end, separated by blanks, each once. 0, -EINVAL: no domain
 * name, -ENOSPC: over the limits above.
 */
int amb_names_search_add(char *list, const char *domain, size_t len);

struct amb_names_answer {
	char canonical[AMB_NAMES_MAX]; /* not empty: @name is another name for this (CNAME) */
	uint32_t n; /* 0: the name is known, but has no address of that family */
	struct amb_addr addrs[AMB_NAMES_ADDRS]; /* shuffled */
};

/*
 * Looks up @name (lower case, no dot at its end) for a connection of @client, IPv6 addresses
 * with @v6, else IPv4. False: the mesh does not know it. Own read section.
 */
bool amb_names_resolve(const struct amb_state *st, const struct amb_workload *client,
		       const struct amb_names_search *search, const char *name, bool v6,
		       struct amb_names_answer *out);

#endif
