/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the delta ADS client says: messages of one kind, packed into its stream. */
#ifndef AMB_XDS_REQUEST_H
#define AMB_XDS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

struct amb_grpc_call;
struct amb_held;
struct Discovery__Node;

struct amb_xds_request {
	const char *type_url;
	/* The first of a type on a stream: who we are and what we have. */
	struct Discovery__Node *node;
	struct amb_held *held; /* its entries are marked as told or not, up to @held_max bytes */
	size_t held_max;
	/* Names; none in a first request is a wildcard. */
	const char *const *subscribe, *const *unsubscribe;
	size_t nsubscribe, nunsubscribe;
	/* An answer to an answer. */
	const char *nonce;
	const char *error; /* NULL: it was good */
};

/* 0, or -ENOMEM, -ENOBUFS. */
int amb_xds_request_send(struct amb_grpc_call *call, const struct amb_xds_request *r);

#endif
