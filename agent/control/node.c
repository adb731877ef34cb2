// SPDX-License-Identifier: GPL-2.0-or-later
/* Who we are, as istiod wants to be told; the message is built once, in an arena. */
#include "node.h"

#include "discovery.pb-c.h"

#include "base/util.h"
#include "manifest_arena.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define META "ISTIO_META_"
#define METAJSON "ISTIO_METAJSON_"

typedef Discovery__Node Node;
typedef Google__Protobuf__Struct Struct;
typedef Google__Protobuf__Struct__FieldsEntry Entry;
typedef Google__Protobuf__Value Value;
typedef Google__Protobuf__ListValue List;

struct amb_node {
	struct amb_arena arena;
	Node message;
	Struct metadata;
};

static Value *value_of(struct amb_arena *a, const json_t *j, int depth);

static Value *new_value(struct amb_arena *a, Google__Protobuf__Value__KindCase kind)
{
	Value *v = amb_arena_alloc(a, sizeof(*v));

	if (!v)
		return NULL;
	google__protobuf__value__init(v);
	v->kind_case = kind;
	return v;
}

static Value *string_value(struct amb_arena *a, const char *text, size_t len)
{
	Value *v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE);

	if (v)
		v->string_value = amb_arena_strndup(a, text, len);
	return v && v->string_value ? v : NULL;
}

static Entry *new_entry(struct amb_arena *a, const char *key, Value *value)
{
	Entry *e = amb_arena_alloc(a, sizeof(*e));

	if (!e || !value)
		return NULL;
	google__protobuf__struct__fields_entry__init(e);
	e->key = amb_arena_strndup(a, key, strlen(key));
	e->value = value;
	return e->key ? e : NULL;
}

static Value *object_value(struct amb_arena *a, const json_t *j, int depth)
{
	Value *v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE);
	Struct *s = amb_arena_alloc(a, sizeof(*s));
	const char *key;
	json_t *item;

	if (!v || !s)
		return NULL;
	google__protobuf__struct__init(s);
	s->fields = amb_arena_alloc(a, json_object_size(j) * sizeof(*s->fields));
	if (!s->fields)
		return NULL;
	json_object_foreach((json_t *)j, key, item)
	{
		Entry *e = new_entry(a, key, value_of(a, item, depth + 1));

		if (!e)
			return NULL;
		s->fields[s->n_fields++] = e;
	}
	v->struct_value = s;
	return v;
}

static Value *array_value(struct amb_arena *a, const json_t *j, int depth)
{
	Value *v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE);
	List *l = amb_arena_alloc(a, sizeof(*l));
	size_t i;

	if (!v || !l)
		return NULL;
	google__protobuf__list_value__init(l);
	l->values = amb_arena_alloc(a, json_array_size(j) * sizeof(*l->values));
	if (!l->values)
		return NULL;
	for (i = 0; i < json_array_size(j); i++) {
		l->values[i] = value_of(a, json_array_get(j, i), depth + 1);
		if (!l->values[i])
			return NULL;
		l->n_values++;
	}
	v->list_value = l;
	return v;
}

/* NULL: out of memory, or too deep. */
static Value *value_of(struct amb_arena *a, const json_t *j, int depth)
{
	Value *v;

	if (depth > AMB_NODE_JSON_DEPTH)
		return NULL;
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return object_value(a, j, depth);
	case JSON_ARRAY:
		return array_value(a, j, depth);
	case JSON_STRING:
		return string_value(a, json_string_value(j), json_string_length(j));
	case JSON_INTEGER:
	case JSON_REAL:
		v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE);
		if (v)
			v->number_value = json_number_value(j);
		return v;
	case JSON_TRUE:
	case JSON_FALSE:
		v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE);
		if (v)
			v->bool_value = json_is_true(j);
		return v;
	default:
		v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE);
		if (v)
			v->null_value = GOOGLE__PROTOBUF__NULL_VALUE__NULL_VALUE;
		return v;
	}
}

/* The last of a name wins. */
static int put(struct amb_node *n, const char *key, Value *value)
{
	Entry *e = new_entry(&n->arena, key, value);
	size_t i;

	if (!e)
		return -ENOMEM;
	for (i = 0; i < n->metadata.n_fields && strcmp(n->metadata.fields[i]->key, key); i++)
		;
	if (i == AMB_NODE_META_MAX)
		return -E2BIG;
	n->metadata.fields[i] = e;
	n->metadata.n_fields = AMB_MAX(n->metadata.n_fields, i + 1);
	return 0;
}

static int put_string(struct amb_node *n, const char *key, const char *value)
{
	return put(n, key, string_value(&n->arena, value, strlen(value)));
}

static int put_json(struct amb_node *n, const char *key, const char *text)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	int err;

	if (!j)
		return -EINVAL;
	err = put(n, key, value_of(&n->arena, j, 0));
	json_decref(j);
	return err == -ENOMEM && !n->arena.failed ? -EINVAL : err;
}

/* 0, or -errno; a variable that is none of ours is 0 too. */
static int put_variable(struct amb_node *n, const char *variable)
{
	const char *eq = strchr(variable, '=');
	char key[256];
	bool json = !strncmp(variable, METAJSON, strlen(METAJSON));
	size_t skip = json ? strlen(METAJSON) : strlen(META);

	if (!eq || (!json && strncmp(variable, META, strlen(META))) || eq <= variable + skip ||
	    (size_t)(eq - variable) - skip >= sizeof(key))
		return 0;
	snprintf(key, sizeof(key), "%.*s", (int)(eq - variable - skip), variable + skip);
	return json ? put_json(n, key, eq + 1) : put_string(n, key, eq + 1);
}

static int fill(struct amb_node *n, const struct amb_node_config *c, char *err, size_t errlen)
{
	const char *ip = c->instance_ip ? c->instance_ip : "1.1.1.1";
	const char *ns = c->pod_namespace ? c->pod_namespace : "";
	const char *name = c->pod_name ? c->pod_name : "";
	const char *const *v;
	int ret;

	discovery__node__init(&n->message);
	google__protobuf__struct__init(&n->metadata);
	n->message.metadata = &n->metadata;
	n->message.id = amb_arena_printf(&n->arena, "ztunnel~%s~%s.%s~%s.svc.cluster.local", ip,
					 name, ns, ns);
	n->metadata.fields =
		amb_arena_alloc(&n->arena, AMB_NODE_META_MAX * sizeof(*n->metadata.fields));
	if (!n->message.id || !n->metadata.fields)
		return -ENOMEM;
	ret = put_string(n, "NAME", name) ?: put_string(n, "NAMESPACE", ns);
	ret = ret ?: put_string(n, "INSTANCE_IPS", ip);
	ret = ret ?: put_string(n, "NODE_NAME", c->node_name ? c->node_name : "");
	for (v = c->environment; v && *v && !ret; v++) {
		ret = put_variable(n, *v);
		if (ret && ret != -ENOMEM)
			snprintf(err, errlen, "%.*s: %s", (int)strcspn(*v, "="), *v,
				 ret == -E2BIG ? "too many of these" : "its value is no JSON");
	}
	return ret;
}

struct amb_node *amb_node_create(const struct amb_node_config *config, char *err, size_t errlen)
{
	struct amb_node *n = calloc(1, sizeof(*n));
	int ret = n ? 0 : -ENOMEM;

	snprintf(err, errlen, "out of memory");
	if (!ret)
		ret = fill(n, config, err, errlen);
	if (ret) {
		amb_node_destroy(n);
		errno = ret == -ENOMEM ? ENOMEM : EINVAL;
		return NULL;
	}
	return n;
}

void amb_node_destroy(struct amb_node *n)
{
	if (!n)
		return;
	amb_arena_free(&n->arena);
	free(n);
}

struct Discovery__Node *amb_node_message(struct amb_node *n)
{
	return &n->message;
}
