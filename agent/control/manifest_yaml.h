/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * YAML, read object by object: one small tree at a time, however large the file, also out of
 * the items of a List. Everything that a file can make grow has a limit here.
 */
#ifndef AMB_MANIFEST_YAML_H
#define AMB_MANIFEST_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AMB_YAML_FILE_MAX (64u << 20) /* bytes of a file */
#define AMB_YAML_DEPTH_MAX 48 /* nesting of one object */
#define AMB_YAML_NODES_MAX (256u << 10) /* values in one object, every alias written out */
#define AMB_YAML_KEYS_MAX 1024 /* keys of one mapping */
#define AMB_YAML_SCALAR_MAX (1u << 20) /* bytes of one value */
#define AMB_YAML_ANCHORS_MAX 256 /* anchors in one document */

enum amb_yaml_type { AMB_YAML_SCALAR, AMB_YAML_SEQ, AMB_YAML_MAP };

struct amb_yaml;

struct amb_yaml_pair {
	const struct amb_yaml *key, *value; /* the key is a scalar */
};

/* A value. Aliases are pointers to the same node, so the tree may be a DAG; never a cycle. */
struct amb_yaml {
	enum amb_yaml_type type;
	bool plain; /* scalar without quotes or block style: may be a number, a bool, null */
	const char *tag; /* "Word" of a value or list written as "!Word ...", else NULL */
	uint32_t line; /* 1.. */
	uint32_t n; /* bytes, items or pairs */
	uint32_t size; /* nodes of the subtree with aliases written out */
	union {
		const char *text; /* NUL-terminated */
		const struct amb_yaml *const *items;
		const struct amb_yaml_pair *pairs;
	};
};

/* The value of @key in a mapping, or NULL. */
const struct amb_yaml *amb_yaml_get(const struct amb_yaml *map, const char *key);

/* True for a plain null, "~" or nothing. */
bool amb_yaml_is_null(const struct amb_yaml *v);
/* Plain true or false (YAML 1.1 spellings, as Kubernetes reads them). 0 or -EINVAL. */
int amb_yaml_bool(const struct amb_yaml *v, bool *out);
/* A plain decimal integer. 0 or -EINVAL. */
int amb_yaml_int(const struct amb_yaml *v, int64_t *out);
/* True when the value is text: quoted, or plain and neither null, bool nor number. */
bool amb_yaml_is_string(const struct amb_yaml *v);

struct amb_yaml_reader;

/* Reads @fd (borrowed), or @len bytes at @text when @fd is negative. NULL: out of memory. */
struct amb_yaml_reader *amb_yaml_open(int fd, const char *text, size_t len);
void amb_yaml_close(struct amb_yaml_reader *r);

/*
 * The next object: 1 and its mapping, valid until the next call; 0 at the end; -EINVAL for a
 * document that is no object or over a limit (reading goes on with the next one); any other
 * error ends the file: -EBADMSG for text that is no YAML, -E2BIG for a file that is too large,
 * -ENOMEM, or of read(2).
 * @list_kind says "Pod" for an item of a PodList whose kind came first, else NULL.
 */
int amb_yaml_next(struct amb_yaml_reader *r, const struct amb_yaml **out, const char **list_kind);

/* Why and where amb_yaml_next() failed. */
const char *amb_yaml_problem(const struct amb_yaml_reader *r, uint32_t *line);

#endif
