/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the local configuration share. */
#ifndef AMB_LOCAL_XDS_PRIV_H
#define AMB_LOCAL_XDS_PRIV_H

#include <protobuf-c/protobuf-c.h>

#include "manifest_decode.h"

struct Istio__Security__Authorization;
struct Istio__Workload__Service;
struct Istio__Workload__Workload;

/* A message in the decoder's arena; NULL: out of memory, which is reported. */
#define AMB_LXDS_NEW(d, type, init)                           \
	({                                                    \
		type *_p = amb_decode_alloc(d, sizeof(type)); \
		if (_p)                                       \
			init(_p);                             \
		_p;                                           \
	})

/* What an item of a list becomes; NULL after an error. */
typedef void *amb_lxds_one_fn(struct amb_decode *d, const struct amb_yaml *v);

#define AMB_LXDS_ANY -1 /* instead of an enum amb_yaml_type */

/* The items of @seq, or of the list @key, as an array of pointers at *@array. */
void amb_lxds_items(struct amb_decode *d, const struct amb_yaml *seq, int type,
		    amb_lxds_one_fn *one, void *array, size_t *n);
void amb_lxds_list(struct amb_decode *d, const struct amb_yaml *map, const char *key, int type,
		   amb_lxds_one_fn *one, void *array, size_t *n);

/* A copy of @len bytes of @s in the decoder's arena; NULL: out of memory, which is reported. */
char *amb_lxds_text(struct amb_decode *d, const char *s, size_t len);

/* As those of manifest_decode.h, for the types of protobuf. */
void amb_lxds_string(struct amb_decode *d, const struct amb_yaml *map, const char *key, char **out);
void amb_lxds_flag(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		   protobuf_c_boolean *out);
void amb_lxds_bytes(struct amb_decode *d, const struct amb_addr *a, ProtobufCBinaryData *out);
/* An error where @key is not there. */
void amb_lxds_needed(struct amb_decode *d, const struct amb_yaml *map, const char *key);

void amb_lxds_workload(struct amb_decode *d, const struct amb_yaml *v,
		       struct Istio__Workload__Workload *m);
void amb_lxds_service(struct amb_decode *d, const struct amb_yaml *v,
		      struct Istio__Workload__Service *m);
void amb_lxds_policy(struct amb_decode *d, const struct amb_yaml *v,
		     struct Istio__Security__Authorization *m);

#endif
