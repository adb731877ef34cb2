/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From YAML trees to values, with one exact complaint when it does not fit: the first error
 * of an object is reported with its line and field path, and stops the rest.
 */
#ifndef AMB_MANIFEST_DECODE_H
#define AMB_MANIFEST_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/util.h"
#include "manifest.h"
#include "manifest_arena.h"
#include "manifest_yaml.h"

#define AMB_DECODE_PATH_MAX 24

struct amb_decode {
	struct amb_arena *arena; /* where values go */
	struct amb_arena *temp; /* for what a decoder needs on its way; it resets it */
	const char *file, *object;
	amb_manifest_report_fn *report; /* NULL: silent, for a second pass over what is good */
	void *ctx;
	bool failed;
	struct {
		const char *key; /* NULL: an index */
		uint32_t index;
	} path[AMB_DECODE_PATH_MAX];
	unsigned int npath;
};

/* Labels and the like, in the order given. */
struct amb_kv {
	const char *key, *value;
};
struct amb_kvs {
	uint32_t n;
	const struct amb_kv *p;
};

const char *amb_kvs_get(const struct amb_kvs *kvs, const char *key);
/* True when each pair of @want is in @have. */
bool amb_kvs_match(const struct amb_kvs *want, const struct amb_kvs *have);

/* Reports at @at (may be NULL) and the present path. An error sets @failed; only one is told. */
void amb_decode_error(struct amb_decode *d, const struct amb_yaml *at, const char *fmt, ...)
	AMB_PRINTF(3, 4);
void amb_decode_warn(struct amb_decode *d, const struct amb_yaml *at, const char *fmt, ...)
	AMB_PRINTF(3, 4);

/* The same about @key of @map, or, with @index not negative, about an item of that list. */
void amb_decode_error_in(struct amb_decode *d, const struct amb_yaml *map, const char *key,
			 int index, const char *fmt, ...) AMB_PRINTF(5, 6);
void amb_decode_warn_in(struct amb_decode *d, const struct amb_yaml *map, const char *key,
			int index, const char *fmt, ...) AMB_PRINTF(5, 6);

void *amb_decode_alloc(struct amb_decode *d, size_t size);

/*
 * Goes into the value of @key, or of item @i, which has to be of @type. NULL when it is not
 * there (or null), or after an error; else amb_decode_leave() goes back.
 */
const struct amb_yaml *amb_decode_enter(struct amb_decode *d, const struct amb_yaml *map,
					const char *key, enum amb_yaml_type type);
const struct amb_yaml *amb_decode_item(struct amb_decode *d, const struct amb_yaml *seq, uint32_t i,
				       enum amb_yaml_type type);
void amb_decode_leave(struct amb_decode *d);

/* Values of @key; absent or null leaves @out alone. Strings are copied. */
void amb_decode_string(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		       const char **out);
/* The same not copied, for what is only looked at: valid as long as the tree. */
void amb_decode_peek(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		     const char **out);
void amb_decode_bool(struct amb_decode *d, const struct amb_yaml *map, const char *key, bool *out);
void amb_decode_int(struct amb_decode *d, const struct amb_yaml *map, const char *key, int64_t min,
		    int64_t max, int64_t *out);
/* @names are the texts of 0, 1, ...; NULL ends them. */
void amb_decode_enum(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		     const char *const *names, int *out);
/* Strings of a sequence: the array and its length. */
void amb_decode_strings(struct amb_decode *d, const struct amb_yaml *map, const char *key,
			const char *const **out, uint32_t *n);
/* A mapping of text to text; with @filter only keys for which it says true. */
void amb_decode_kvs(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		    bool (*filter)(const char *key), struct amb_kvs *out);

/*
 * An error when @map has a key that is not among @keys (NULL ends them), as the API server's
 * strict validation has it: a field with a slip in its name says nothing.
 */
void amb_decode_only(struct amb_decode *d, const struct amb_yaml *map, const char *const *keys);

/* What Kubernetes allows as names (RFC 1123): of objects, and of namespaces and the like. */
bool amb_decode_is_subdomain(const char *s);
bool amb_decode_is_label(const char *s);

/*
 * "10.0.0.0/8", "fd00::1": address and prefix length in its own family; 0 or -EINVAL. An IPv4
 * address written as IPv6 (::ffff:a.b.c.d) is IPv4.
 */
int amb_decode_cidr(const char *text, struct amb_addr *addr, uint8_t *bits);

#endif
