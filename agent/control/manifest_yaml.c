// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * YAML, read object by object. libyaml gives events; a tree is built of one object only. The
 * items of a List are objects of their own, so the tree of a 100 MB "kubectl get -o yaml" is
 * never there as a whole.
 *
 * Aliases share the node they name. What a reader of the tree would meet if each were written
 * out is counted, so that "a billion laughs" fails at AMB_YAML_NODES_MAX.
 */
#include "manifest_yaml.h"

#include "manifest_arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <yaml.h>

struct anchor {
	char *name;
	const struct amb_yaml *node;
};

enum where { BETWEEN, ITEMS, TAIL, DONE };

struct amb_yaml_reader {
	yaml_parser_t parser;
	bool parser_ok;
	int fd, read_err;
	size_t total;
	struct amb_arena arena;
	struct anchor anchors[AMB_YAML_ANCHORS_MAX];
	unsigned int nanchors;

	/* children of the containers that are open, innermost last */
	const struct amb_yaml **stack;
	size_t depth, cap;
	uint32_t nodes; /* built for this object, aliases written out */

	enum where where;
	char list_kind[64]; /* kind of the List whose items are read, "" not known yet */
	uint32_t list_line;

	bool in_document, spoilt; /* spoilt: what is left of the document is passed over */
	char problem[192];
	uint32_t line;
};

static int fail(struct amb_yaml_reader *r, int err, uint32_t line, const char *text)
{
	snprintf(r->problem, sizeof(r->problem), "%s", text);
	r->line = line;
	return err;
}

/* Something that spoils this document but not those behind it. */
static int spoil(struct amb_yaml_reader *r, uint32_t line, const char *text)
{
	r->spoilt = true;
	return fail(r, -EINVAL, line, text);
}

static int on_read(void *ctx, unsigned char *buf, size_t size, size_t *got)
{
	struct amb_yaml_reader *r = ctx;
	ssize_t n;

	do
		n = read(r->fd, buf, size);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		r->read_err = -errno;
		return 0;
	}
	r->total += (size_t)n;
	if (r->total > AMB_YAML_FILE_MAX) {
		r->read_err = -E2BIG;
		return 0;
	}
	*got = (size_t)n;
	return 1;
}

struct amb_yaml_reader *amb_yaml_open(int fd, const char *text, size_t len)
{
	struct amb_yaml_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->fd = fd;
	if (!yaml_parser_initialize(&r->parser)) {
		free(r);
		return NULL;
	}
	r->parser_ok = true;
	if (fd >= 0)
		yaml_parser_set_input(&r->parser, on_read, r);
	else
		yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
	return r;
}

static void forget_document(struct amb_yaml_reader *r)
{
	unsigned int i;

	for (i = 0; i < r->nanchors; i++)
		free(r->anchors[i].name);
	r->nanchors = 0;
	amb_arena_reset(&r->arena);
}

void amb_yaml_close(struct amb_yaml_reader *r)
{
	if (!r)
		return;
	forget_document(r);
	amb_arena_free(&r->arena);
	if (r->parser_ok)
		yaml_parser_delete(&r->parser);
	free(r->stack);
	free(r);
}

const char *amb_yaml_problem(const struct amb_yaml_reader *r, uint32_t *line)
{
	*line = r->line;
	return r->problem;
}

static int next_event(struct amb_yaml_reader *r, yaml_event_t *ev)
{
	yaml_parser_t *p = &r->parser;

	if (yaml_parser_parse(p, ev)) {
		if (ev->type == YAML_DOCUMENT_START_EVENT)
			r->in_document = true;
		else if (ev->type == YAML_DOCUMENT_END_EVENT)
			r->in_document = false;
		return 0;
	}
	if (r->read_err == -E2BIG)
		return fail(r, -E2BIG, (uint32_t)p->mark.line + 1, "file is larger than 64 MiB");
	if (r->read_err)
		return fail(r, r->read_err, 0, strerror(-r->read_err));
	if (p->error == YAML_MEMORY_ERROR)
		return fail(r, -ENOMEM, 0, "out of memory");
	if (p->error == YAML_READER_ERROR) {
		snprintf(r->problem, sizeof(r->problem), "not YAML: %s at byte %zu", p->problem,
			 p->problem_offset);
		r->line = (uint32_t)p->mark.line + 1;
		return -EBADMSG;
	}
	snprintf(r->problem, sizeof(r->problem), "not YAML: %s%s%s", p->context ? p->context : "",
		 p->context ? ", " : "", p->problem ? p->problem : "unknown error");
	r->line = (uint32_t)p->problem_mark.line + 1;
	return -EBADMSG;
}

static int push(struct amb_yaml_reader *r, const struct amb_yaml *v)
{
	if (r->depth == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 256;
		const struct amb_yaml **stack = realloc(r->stack, cap * sizeof(*stack));

		if (!stack)
			return fail(r, -ENOMEM, v->line, "out of memory");
		r->stack = stack;
		r->cap = cap;
	}
	r->stack[r->depth++] = v;
	return 0;
}

static int add_anchor(struct amb_yaml_reader *r, const char *name, const struct amb_yaml *node)
{
	unsigned int i;
	char *copy;

	for (i = 0; i < r->nanchors; i++) {
		if (!strcmp(r->anchors[i].name, name)) {
			r->anchors[i].node = node;
			return 0;
		}
	}
	if (r->nanchors == AMB_YAML_ANCHORS_MAX)
		return spoil(r, node->line, "more than 256 anchors in a document");
	copy = strdup(name);
	if (!copy)
		return fail(r, -ENOMEM, node->line, "out of memory");
	r->anchors[r->nanchors++] = (struct anchor){ copy, node };
	return 0;
}

static int count(struct amb_yaml_reader *r, uint32_t line, uint32_t n)
{
	if (n > AMB_YAML_NODES_MAX - r->nodes)
		return spoil(r, line, "object has more than 262144 values");
	r->nodes += n;
	return 0;
}

static bool same_key(const struct amb_yaml *a, const struct amb_yaml *b)
{
	return a->n == b->n && !memcmp(a->text, b->text, a->n);
}

static bool is_merge(const struct amb_yaml *key)
{
	return key->plain && key->n == 2 && !memcmp(key->text, "<<", 2);
}

static bool has_key(const struct amb_yaml_pair *pairs, uint32_t n, const struct amb_yaml *key)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (same_key(pairs[i].key, key))
			return true;
	return false;
}

/* Adds the pairs of a merged mapping whose keys are not there yet. */
static int merge(struct amb_yaml_reader *r, struct amb_yaml_pair *pairs, uint32_t *n,
		 const struct amb_yaml *from)
{
	uint32_t i;

	if (from->type != AMB_YAML_MAP)
		return spoil(r, from->line, "only mappings can be merged");
	for (i = 0; i < from->n; i++) {
		if (has_key(pairs, *n, from->pairs[i].key))
			continue;
		if (*n == AMB_YAML_KEYS_MAX)
			return spoil(r, from->line, "mapping has more than 1024 keys");
		pairs[(*n)++] = from->pairs[i];
	}
	return 0;
}

static int finish_map(struct amb_yaml_reader *r, struct amb_yaml *map, size_t base)
{
	uint32_t n = (uint32_t)(r->depth - base) / 2, i, k = 0, want = n, own;
	const struct amb_yaml **v = n ? r->stack + base : NULL;
	struct amb_yaml_pair *pairs;
	bool merges = false;
	int err;

	if (n > AMB_YAML_KEYS_MAX)
		return spoil(r, map->line, "mapping has more than 1024 keys");
	for (i = 0; i < n; i++)
		merges |= is_merge(v[2 * i]);
	if (merges)
		want = AMB_YAML_KEYS_MAX;
	pairs = amb_arena_alloc(&r->arena, want * sizeof(*pairs));
	if (!pairs)
		return fail(r, -ENOMEM, map->line, "out of memory");
	for (i = 0; i < n; i++) {
		const struct amb_yaml *key = v[2 * i];

		if (merges && is_merge(key))
			continue;
		if (has_key(pairs, k, key)) {
			snprintf(r->problem, sizeof(r->problem), "key \"%.100s\" is given twice",
				 key->text);
			r->line = key->line;
			r->spoilt = true;
			return -EINVAL;
		}
		pairs[k].key = key;
		pairs[k++].value = v[2 * i + 1];
	}
	own = k;
	for (i = 0; merges && i < n; i++) {
		const struct amb_yaml *from = v[2 * i + 1];
		uint32_t j;

		if (!is_merge(v[2 * i]))
			continue;
		if (from->type != AMB_YAML_SEQ) {
			err = merge(r, pairs, &k, from);
			if (err)
				return err;
			continue;
		}
		for (j = 0; j < from->n; j++) {
			err = merge(r, pairs, &k, from->items[j]);
			if (err)
				return err;
		}
	}
	/* What was merged is met again when the mapping is walked. */
	for (i = own; i < k; i++)
		map->size += 1 + pairs[i].value->size;
	map->pairs = pairs;
	map->n = k;
	return 0;
}

/* "!Word"; those of YAML itself ("tag:yaml.org,2002:str") say nothing here. */
static const char *tag_of(struct amb_yaml_reader *r, const yaml_char_t *tag)
{
	const char *s = (const char *)tag;

	return s && s[0] == '!' && s[1] ? amb_arena_strndup(&r->arena, s + 1, strlen(s + 1)) : NULL;
}

static int build(struct amb_yaml_reader *r, yaml_event_t *ev, unsigned int depth,
		 const struct amb_yaml **out);

/* Reads children until @end; the container's own event is gone already. */
static int build_children(struct amb_yaml_reader *r, struct amb_yaml *node, yaml_event_type_t end,
			  unsigned int depth)
{
	size_t base = r->depth;
	uint32_t i;
	int err;

	for (;;) {
		const struct amb_yaml *child;
		yaml_event_t ev;

		err = next_event(r, &ev);
		if (err)
			goto out;
		if (ev.type == end) {
			yaml_event_delete(&ev);
			break;
		}
		err = build(r, &ev, depth + 1, &child);
		if (err)
			goto out;
		if (node->type == AMB_YAML_MAP && !((r->depth - base) & 1) &&
		    child->type != AMB_YAML_SCALAR) {
			err = spoil(r, child->line, "a key is not a plain value");
			goto out;
		}
		err = push(r, child);
		if (err)
			goto out;
		node->size += child->size;
	}
	if (node->type == AMB_YAML_MAP) {
		err = finish_map(r, node, base);
		goto out;
	}
	node->n = (uint32_t)(r->depth - base);
	if (node->n) {
		const struct amb_yaml **items;

		items = amb_arena_alloc(&r->arena, node->n * sizeof(*items));
		if (!items) {
			err = fail(r, -ENOMEM, node->line, "out of memory");
			goto out;
		}
		for (i = 0; i < node->n; i++)
			items[i] = r->stack[base + i];
		node->items = items;
	}
	err = 0;
out:
	r->depth = base;
	return err;
}

static int build_alias(struct amb_yaml_reader *r, const char *name, uint32_t line,
		       const struct amb_yaml **out)
{
	unsigned int i;
	int err;

	for (i = 0; i < r->nanchors; i++) {
		if (strcmp(r->anchors[i].name, name))
			continue;
		err = count(r, line, r->anchors[i].node->size);
		if (!err)
			*out = r->anchors[i].node;
		return err;
	}
	snprintf(r->problem, sizeof(r->problem), "alias *%.60s has no anchor before it", name);
	r->line = line;
	r->spoilt = true;
	return -EINVAL;
}

/* Builds what starts with @ev, which it takes over. */
static int build(struct amb_yaml_reader *r, yaml_event_t *ev, unsigned int depth,
		 const struct amb_yaml **out)
{
	uint32_t line = (uint32_t)ev->start_mark.line + 1;
	struct amb_yaml *node;
	char *anchor = NULL;
	int err;

	if (depth > AMB_YAML_DEPTH_MAX) {
		err = spoil(r, line, "object is nested deeper than 48 levels");
		goto out;
	}
	if (ev->type == YAML_ALIAS_EVENT) {
		err = build_alias(r, (const char *)ev->data.alias.anchor, line, out);
		goto out;
	}
	err = count(r, line, 1);
	if (err)
		goto out;
	node = amb_arena_alloc(&r->arena, sizeof(*node));
	if (!node) {
		err = fail(r, -ENOMEM, line, "out of memory");
		goto out;
	}
	node->line = line;
	node->size = 1;
	if (ev->type == YAML_SCALAR_EVENT) {
		node->type = AMB_YAML_SCALAR;
		node->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
		if (ev->data.scalar.length > AMB_YAML_SCALAR_MAX) {
			err = spoil(r, line, "value is longer than 1 MiB");
			goto out;
		}
		node->n = (uint32_t)ev->data.scalar.length;
		node->tag = tag_of(r, ev->data.scalar.tag);
		if (memchr(ev->data.scalar.value, 0, node->n)) {
			err = spoil(r, line, "value holds a NUL character");
			goto out;
		}
		node->text = amb_arena_strndup(&r->arena, (char *)ev->data.scalar.value, node->n);
		if (!node->text) {
			err = fail(r, -ENOMEM, line, "out of memory");
			goto out;
		}
		if (ev->data.scalar.anchor)
			anchor = strdup((char *)ev->data.scalar.anchor);
	} else if (ev->type == YAML_SEQUENCE_START_EVENT) {
		node->type = AMB_YAML_SEQ;
		node->tag = tag_of(r, ev->data.sequence_start.tag);
		if (ev->data.sequence_start.anchor)
			anchor = strdup((char *)ev->data.sequence_start.anchor);
		err = build_children(r, node, YAML_SEQUENCE_END_EVENT, depth);
	} else {
		node->type = AMB_YAML_MAP;
		if (ev->data.mapping_start.anchor)
			anchor = strdup((char *)ev->data.mapping_start.anchor);
		err = build_children(r, node, YAML_MAPPING_END_EVENT, depth);
	}
	/* Known from its end on, so nothing can contain itself. */
	if (!err && anchor)
		err = add_anchor(r, anchor, node);
	if (!err)
		*out = node;
out:
	free(anchor);
	yaml_event_delete(ev);
	return err;
}

/* The event behind a document's root; libyaml has checked that it is the end. */
static int expect_document_end(struct amb_yaml_reader *r)
{
	yaml_event_t ev;
	int err = next_event(r, &ev);

	if (err)
		return err;
	yaml_event_delete(&ev);
	return 0;
}

static void note_list_kind(struct amb_yaml_reader *r, const struct amb_yaml *kind)
{
	if (kind->type == AMB_YAML_SCALAR)
		snprintf(r->list_kind, sizeof(r->list_kind), "%s", kind->text);
}

static bool ends_with_list(const char *kind)
{
	size_t n = strlen(kind);

	return n >= 4 && !strcmp(kind + n - 4, "List");
}

/*
 * Reads the pairs of a document's mapping. Stops with 1 at the start of "items", with 0 at
 * the end of the mapping.
 */
static int root_pairs(struct amb_yaml_reader *r, size_t base)
{
	for (;;) {
		const struct amb_yaml *key, *value;
		yaml_event_t ev;
		int err;

		err = next_event(r, &ev);
		if (err)
			return err;
		if (ev.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&ev);
			return 0;
		}
		err = build(r, &ev, 1, &key);
		if (err)
			return err;
		if (key->type != AMB_YAML_SCALAR)
			return spoil(r, key->line, "a key is not a plain value");
		err = next_event(r, &ev);
		if (err)
			return err;
		if (ev.type == YAML_SEQUENCE_START_EVENT && !strcmp(key->text, "items")) {
			yaml_event_delete(&ev);
			r->list_line = key->line;
			return 1;
		}
		err = build(r, &ev, 1, &value);
		if (err)
			return err;
		if (!strcmp(key->text, "kind"))
			note_list_kind(r, value);
		if (r->where != BETWEEN)
			continue; /* behind the items: nothing but the kind is of use */
		err = push(r, key);
		if (!err)
			err = push(r, value);
		if (err) {
			r->depth = base;
			return err;
		}
	}
}

static int next_item(struct amb_yaml_reader *r, const struct amb_yaml **out, const char **list_kind)
{
	yaml_event_t ev;
	size_t n;
	int err;

	/* An anchor of an earlier item may still be used; without any, its memory is free. */
	if (!r->nanchors)
		amb_arena_reset(&r->arena);
	r->nodes = 0;
	err = next_event(r, &ev);
	if (err)
		return err;
	if (ev.type == YAML_SEQUENCE_END_EVENT) {
		yaml_event_delete(&ev);
		r->where = TAIL;
		return 0;
	}
	err = build(r, &ev, 1, out);
	if (err)
		return err;
	if ((*out)->type != AMB_YAML_MAP)
		return fail(r, -EINVAL, (*out)->line, "an item of a List is not an object");
	n = strlen(r->list_kind);
	if (n > 4 && ends_with_list(r->list_kind)) {
		r->list_kind[n - 4] = 0;
		*list_kind = amb_arena_strndup(&r->arena, r->list_kind, n - 4);
		r->list_kind[n - 4] = 'L';
		if (!*list_kind)
			return fail(r, -ENOMEM, (*out)->line, "out of memory");
	}
	return 1;
}

static int next_tail(struct amb_yaml_reader *r)
{
	int err = root_pairs(r, r->depth);

	if (err > 0)
		return spoil(r, r->list_line, "key \"items\" is given twice");
	if (err)
		return err;
	r->where = BETWEEN;
	err = expect_document_end(r);
	if (err)
		return err;
	if (!ends_with_list(r->list_kind))
		return fail(r, -EINVAL, r->list_line, "\"items\" of something that is not a List");
	return 0;
}

static int next_document(struct amb_yaml_reader *r, const struct amb_yaml **out)
{
	struct amb_yaml *root;
	size_t base = r->depth;
	yaml_event_t ev;
	uint32_t i;
	int err;

	forget_document(r);
	r->nodes = 0;
	r->list_kind[0] = 0;
	for (;;) {
		err = next_event(r, &ev);
		if (err)
			return err;
		if (ev.type == YAML_STREAM_END_EVENT) {
			yaml_event_delete(&ev);
			r->where = DONE;
			return 0;
		}
		if (ev.type != YAML_DOCUMENT_START_EVENT && ev.type != YAML_STREAM_START_EVENT &&
		    ev.type != YAML_DOCUMENT_END_EVENT)
			break;
		yaml_event_delete(&ev);
	}
	if (ev.type != YAML_MAPPING_START_EVENT) {
		const struct amb_yaml *v;

		err = build(r, &ev, 1, &v);
		if (!err)
			err = expect_document_end(r);
		if (err)
			return err;
		if (amb_yaml_is_null(v))
			return -EAGAIN;
		return fail(r, -EINVAL, v->line, "document is not an object");
	}
	root = amb_arena_alloc(&r->arena, sizeof(*root));
	if (!root) {
		yaml_event_delete(&ev);
		return fail(r, -ENOMEM, 0, "out of memory");
	}
	root->type = AMB_YAML_MAP;
	root->line = (uint32_t)ev.start_mark.line + 1;
	yaml_event_delete(&ev);
	err = root_pairs(r, base);
	if (err < 0)
		return err;
	if (err > 0) {
		r->depth = base;
		r->where = ITEMS;
		return -EAGAIN;
	}
	err = finish_map(r, root, base);
	r->depth = base;
	for (i = 0; !err && i < root->n; i++)
		root->size += root->pairs[i].value->size;
	if (!err)
		err = expect_document_end(r);
	if (err)
		return err;
	*out = root;
	return 1;
}

/* Goes to the end of a spoilt document. */
static int pass_over(struct amb_yaml_reader *r)
{
	r->spoilt = false;
	r->depth = 0;
	r->where = BETWEEN;
	while (r->in_document) {
		yaml_event_t ev;
		int err = next_event(r, &ev);

		if (err)
			return err;
		yaml_event_delete(&ev);
	}
	return 0;
}

int amb_yaml_next(struct amb_yaml_reader *r, const struct amb_yaml **out, const char **list_kind)
{
	int err = 0;

	*list_kind = NULL;
	if (r->spoilt)
		err = pass_over(r);
	if (err) {
		r->where = DONE;
		return err;
	}
	for (;;) {
		switch (r->where) {
		case DONE:
			return 0;
		case BETWEEN:
			err = next_document(r, out);
			if (err == -EAGAIN || (!err && r->where != DONE))
				continue;
			break;
		case ITEMS:
			err = next_item(r, out, list_kind);
			if (!err)
				continue;
			break;
		default:
			err = next_tail(r);
			if (!err)
				continue;
			break;
		}
		if (err < 0 && err != -EINVAL)
			r->where = DONE;
		return err;
	}
}

const struct amb_yaml *amb_yaml_get(const struct amb_yaml *map, const char *key)
{
	size_t n = strlen(key);
	uint32_t i;

	if (!map || map->type != AMB_YAML_MAP)
		return NULL;
	for (i = 0; i < map->n; i++)
		if (map->pairs[i].key->n == n && !memcmp(map->pairs[i].key->text, key, n))
			return map->pairs[i].value;
	return NULL;
}

bool amb_yaml_is_null(const struct amb_yaml *v)
{
	return v->type == AMB_YAML_SCALAR && v->plain &&
	       (!v->n || !strcmp(v->text, "~") || !strcasecmp(v->text, "null"));
}

int amb_yaml_bool(const struct amb_yaml *v, bool *out)
{
	static const char *const yes[] = { "true", "True", "TRUE", "yes", "Yes",
					   "YES",  "on",   "On",   "ON" };
	static const char *const no[] = { "false", "False", "FALSE", "no", "No",
					  "NO",	   "off",   "Off",   "OFF" };
	size_t i;

	if (v->type != AMB_YAML_SCALAR || !v->plain)
		return -EINVAL;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (!strcmp(v->text, yes[i]) || !strcmp(v->text, no[i])) {
			*out = !strcmp(v->text, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

int amb_yaml_int(const struct amb_yaml *v, int64_t *out)
{
	int64_t value = 0;
	const char *s;
	bool neg;

	if (v->type != AMB_YAML_SCALAR || !v->plain || v->n > 18)
		return -EINVAL;
	s = v->text;
	neg = *s == '-';
	s += neg;
	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		value = value * 10 + (*s - '0');
	}
	*out = neg ? -value : value;
	return 0;
}

/* Integers, floats and their exponents; "1.2.3.4" and "1-2" are text. */
static bool is_number(const char *s)
{
	bool digits = false, dot = false;

	if (*s == '+' || *s == '-')
		s++;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o' || s[1] == 'b'))
		return s[2] && !s[2 + strspn(s + 2, "0123456789abcdefABCDEF_")];
	for (; *s; s++) {
		if (*s >= '0' && *s <= '9') {
			digits = true;
		} else if (*s == '.' && !dot) {
			dot = true;
		} else if ((*s == 'e' || *s == 'E') && digits) {
			s++;
			if (*s == '+' || *s == '-')
				s++;
			return *s && !s[strspn(s, "0123456789")];
		} else {
			return false;
		}
	}
	return digits;
}

bool amb_yaml_is_string(const struct amb_yaml *v)
{
	bool ignored;

	if (v->type != AMB_YAML_SCALAR)
		return false;
	return !v->plain ||
	       (!amb_yaml_is_null(v) && amb_yaml_bool(v, &ignored) && !is_number(v->text));
}
