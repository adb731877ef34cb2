// SPDX-License-Identifier: GPL-2.0-or-later
/* From YAML trees to values, with one exact complaint when it does not fit. */
#include "manifest_decode.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PATH_TEXT 256
#define REASON_TEXT 512

const char *amb_kvs_get(const struct amb_kvs *kvs, const char *key)
{
	uint32_t i;

	for (i = 0; i < kvs->n; i++)
		if (!strcmp(kvs->p[i].key, key))
			return kvs->p[i].value;
	return NULL;
}

bool amb_kvs_match(const struct amb_kvs *want, const struct amb_kvs *have)
{
	uint32_t i;

	for (i = 0; i < want->n; i++) {
		const char *v = amb_kvs_get(have, want->p[i].key);

		if (!v || strcmp(v, want->p[i].value))
			return false;
	}
	return true;
}

/* "spec.ports[0].name", "metadata.labels[app.kubernetes.io/name]" */
static void path_text(const struct amb_decode *d, char *buf, size_t len)
{
	size_t at = 0;
	unsigned int i;
	int n;

	buf[0] = 0;
	for (i = 0; i < d->npath && at < len; i++) {
		const char *key = d->path[i].key;

		if (!key)
			n = snprintf(buf + at, len - at, "[%" PRIu32 "]", d->path[i].index);
		else if (strpbrk(key, "./"))
			n = snprintf(buf + at, len - at, "[%s]", key);
		else
			n = snprintf(buf + at, len - at, "%s%s", at ? "." : "", key);
		if (n > 0)
			at += (size_t)n;
	}
}

static void report(struct amb_decode *d, const struct amb_yaml *at, bool error, const char *fmt,
		   va_list ap)
{
	char path[PATH_TEXT], reason[REASON_TEXT];
	struct amb_manifest_problem p = {
		.error = error,
		.file = d->file,
		.line = at ? at->line : 0,
		.object = d->object,
		.field = path,
		.reason = reason,
	};

	if (!d->report)
		return;
	path_text(d, path, sizeof(path));
	vsnprintf(reason, sizeof(reason), fmt, ap);
	d->report(d->ctx, &p);
}

void amb_decode_error(struct amb_decode *d, const struct amb_yaml *at, const char *fmt, ...)
{
	va_list ap;

	if (d->failed)
		return;
	d->failed = true;
	va_start(ap, fmt);
	report(d, at, true, fmt, ap);
	va_end(ap);
}

void amb_decode_warn(struct amb_decode *d, const struct amb_yaml *at, const char *fmt, ...)
{
	va_list ap;

	if (d->failed)
		return;
	va_start(ap, fmt);
	report(d, at, false, fmt, ap);
	va_end(ap);
}

static void report_in(struct amb_decode *d, const struct amb_yaml *map, const char *key, int index,
		      bool error, const char *fmt, va_list ap)
{
	const struct amb_yaml *at = amb_yaml_get(map, key);
	unsigned int npath = d->npath;

	if (d->npath + 2 <= AMB_DECODE_PATH_MAX) {
		d->path[d->npath++].key = key;
		if (index >= 0) {
			d->path[d->npath].key = NULL;
			d->path[d->npath++].index = (uint32_t)index;
		}
	}
	if (at && index >= 0 && at->type == AMB_YAML_SEQ && (uint32_t)index < at->n)
		at = at->items[index];
	report(d, at ? at : map, error, fmt, ap);
	d->npath = npath;
}

void amb_decode_error_in(struct amb_decode *d, const struct amb_yaml *map, const char *key,
			 int index, const char *fmt, ...)
{
	va_list ap;

	if (d->failed)
		return;
	d->failed = true;
	va_start(ap, fmt);
	report_in(d, map, key, index, true, fmt, ap);
	va_end(ap);
}

void amb_decode_warn_in(struct amb_decode *d, const struct amb_yaml *map, const char *key,
			int index, const char *fmt, ...)
{
	va_list ap;

	if (d->failed)
		return;
	va_start(ap, fmt);
	report_in(d, map, key, index, false, fmt, ap);
	va_end(ap);
}

void *amb_decode_alloc(struct amb_decode *d, size_t size)
{
	void *p = amb_arena_alloc(d->arena, size);

	if (!p)
		amb_decode_error(d, NULL, "out of memory");
	return p;
}

static const char *copy(struct amb_decode *d, const struct amb_yaml *v)
{
	const char *s = amb_arena_strndup(d->arena, v->text, v->n);

	if (!s)
		amb_decode_error(d, v, "out of memory");
	return s;
}

static bool push(struct amb_decode *d, const struct amb_yaml *at, const char *key, uint32_t index)
{
	if (d->npath == AMB_DECODE_PATH_MAX) {
		amb_decode_error(d, at, "nested too deep");
		return false;
	}
	d->path[d->npath].key = key;
	d->path[d->npath++].index = index;
	return true;
}

void amb_decode_leave(struct amb_decode *d)
{
	d->npath--;
}

static const struct amb_yaml *typed(struct amb_decode *d, const struct amb_yaml *v,
				    enum amb_yaml_type type)
{
	static const char *const names[] = {
		[AMB_YAML_SCALAR] = "a single value",
		[AMB_YAML_SEQ] = "a list",
		[AMB_YAML_MAP] = "a mapping",
	};

	if (v->type == type)
		return v;
	amb_decode_error(d, v, "has to be %s, not %s", names[type],
			 amb_yaml_is_null(v) ? "empty" : names[v->type]);
	amb_decode_leave(d);
	return NULL;
}

const struct amb_yaml *amb_decode_enter(struct amb_decode *d, const struct amb_yaml *map,
					const char *key, enum amb_yaml_type type)
{
	const struct amb_yaml *v;

	if (d->failed)
		return NULL;
	v = amb_yaml_get(map, key);
	if (!v || amb_yaml_is_null(v) || !push(d, v, key, 0))
		return NULL;
	return typed(d, v, type);
}

const struct amb_yaml *amb_decode_item(struct amb_decode *d, const struct amb_yaml *seq, uint32_t i,
				       enum amb_yaml_type type)
{
	if (d->failed || !push(d, seq->items[i], NULL, i))
		return NULL;
	return typed(d, seq->items[i], type);
}

/* Text, as the API server takes it: what YAML reads as number or bool is refused. */
static const char *peek_of(struct amb_decode *d, const struct amb_yaml *v)
{
	bool ignored;

	if (amb_yaml_is_string(v))
		return v->text;
	if (amb_yaml_is_null(v))
		amb_decode_error(d, v, "has to be text, not empty");
	else
		amb_decode_error(d, v, "has to be text: %s is a %s, write it in quotes", v->text,
				 amb_yaml_bool(v, &ignored) ? "number" : "boolean");
	return NULL;
}

static const char *text_of(struct amb_decode *d, const struct amb_yaml *v)
{
	return peek_of(d, v) ? copy(d, v) : NULL;
}

void amb_decode_peek(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		     const char **out)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, key, AMB_YAML_SCALAR);
	const char *s;

	if (!v)
		return;
	s = peek_of(d, v);
	if (s)
		*out = s;
	amb_decode_leave(d);
}

void amb_decode_string(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		       const char **out)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, key, AMB_YAML_SCALAR);
	const char *s;

	if (!v)
		return;
	s = text_of(d, v);
	if (s)
		*out = s;
	amb_decode_leave(d);
}

void amb_decode_bool(struct amb_decode *d, const struct amb_yaml *map, const char *key, bool *out)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, key, AMB_YAML_SCALAR);

	if (!v)
		return;
	if (amb_yaml_bool(v, out))
		amb_decode_error(d, v, "has to be true or false, not \"%s\"", v->text);
	amb_decode_leave(d);
}

void amb_decode_int(struct amb_decode *d, const struct amb_yaml *map, const char *key, int64_t min,
		    int64_t max, int64_t *out)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, key, AMB_YAML_SCALAR);
	int64_t value;

	if (!v)
		return;
	if (amb_yaml_int(v, &value))
		amb_decode_error(d, v, "has to be a number, not \"%s\"", v->text);
	else if (value < min || value > max)
		amb_decode_error(d, v, "%" PRId64 " is not in %" PRId64 "..%" PRId64, value, min,
				 max);
	else
		*out = value;
	amb_decode_leave(d);
}

void amb_decode_enum(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		     const char *const *names, int *out)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, key, AMB_YAML_SCALAR);
	char all[160] = "";
	size_t at = 0;
	int i;

	if (!v)
		return;
	for (i = 0; names[i]; i++) {
		if (!strcmp(v->text, names[i])) {
			*out = i;
			amb_decode_leave(d);
			return;
		}
		if (at < sizeof(all))
			at += (size_t)snprintf(all + at, sizeof(all) - at, "%s%s", i ? ", " : "",
					       names[i]);
	}
	amb_decode_error(d, v, "\"%s\" is not one of %s", v->text, all);
	amb_decode_leave(d);
}

void amb_decode_strings(struct amb_decode *d, const struct amb_yaml *map, const char *key,
			const char *const **out, uint32_t *n)
{
	const struct amb_yaml *seq = amb_decode_enter(d, map, key, AMB_YAML_SEQ);
	const char **list;
	uint32_t i;

	if (!seq)
		return;
	list = amb_decode_alloc(d, seq->n * sizeof(*list));
	for (i = 0; list && i < seq->n; i++) {
		const struct amb_yaml *v = amb_decode_item(d, seq, i, AMB_YAML_SCALAR);

		if (!v)
			break;
		list[i] = text_of(d, v);
		amb_decode_leave(d);
	}
	amb_decode_leave(d);
	if (d->failed)
		return;
	*out = list;
	*n = seq->n;
}

void amb_decode_kvs(struct amb_decode *d, const struct amb_yaml *map, const char *key,
		    bool (*filter)(const char *key), struct amb_kvs *out)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, key, AMB_YAML_MAP);
	struct amb_kv *kv;
	uint32_t i, n = 0;

	if (!v)
		return;
	for (i = 0; i < v->n; i++)
		n += !filter || filter(v->pairs[i].key->text);
	kv = amb_decode_alloc(d, n * sizeof(*kv));
	n = 0;
	for (i = 0; kv && i < v->n; i++) {
		const struct amb_yaml *value;
		const char *name = v->pairs[i].key->text;

		if (filter && !filter(name))
			continue;
		value = amb_decode_enter(d, v, name, AMB_YAML_SCALAR);
		kv[n].key = copy(d, v->pairs[i].key);
		if (value) {
			kv[n].value = text_of(d, value);
			amb_decode_leave(d);
		} else if (!d->failed) {
			/* "key:" with nothing behind it is the empty text to the API server. */
			kv[n].value = "";
		}
		if (d->failed)
			break;
		n++;
	}
	amb_decode_leave(d);
	if (d->failed)
		return;
	out->p = kv;
	out->n = n;
}

void amb_decode_only(struct amb_decode *d, const struct amb_yaml *map, const char *const *keys)
{
	char all[240] = "";
	size_t at = 0;
	uint32_t i;
	int k;

	for (k = 0; keys[k] && at < sizeof(all); k++)
		at += (size_t)snprintf(all + at, sizeof(all) - at, "%s%s", k ? ", " : "", keys[k]);
	for (i = 0; map && map->type == AMB_YAML_MAP && i < map->n && !d->failed; i++) {
		const struct amb_yaml *key = map->pairs[i].key;

		for (k = 0; keys[k] && strcmp(keys[k], key->text); k++)
			;
		if (!keys[k])
			amb_decode_error(d, key, "has no field \"%.100s\", only %s", key->text,
					 all);
	}
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_dns(const char *s, size_t max, bool dots)
{
	size_t n = strlen(s), i;

	if (!n || n > max || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (i = 0; i < n; i++) {
		if (s[i] == '.' && dots) {
			if (!is_alnum(s[i - 1]) || !is_alnum(s[i + 1]))
				return false;
		} else if (!is_alnum(s[i]) && s[i] != '-') {
			return false;
		}
	}
	return true;
}

bool amb_decode_is_subdomain(const char *s)
{
	return is_dns(s, 253, true);
}

bool amb_decode_is_label(const char *s)
{
	return is_dns(s, 63, false);
}

int amb_decode_cidr(const char *text, struct amb_addr *addr, uint8_t *bits)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char buf[AMB_ADDR_STRLEN];
	unsigned int max, n = 0;
	struct amb_addr a;
	const char *s;

	if (len >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, text, len);
	buf[len] = 0;
	if (amb_addr_parse(buf, &a))
		return -EINVAL;
	max = amb_addr_is_v4(&a) ? 32 : 128;
	if (slash) {
		s = slash + 1;
		if (!*s || strlen(s) > 3 || s[strspn(s, "0123456789")] || (*s == '0' && s[1]))
			return -EINVAL;
		for (; *s; s++)
			n = n * 10 + (unsigned int)(*s - '0');
		if (n > max)
			return -EINVAL;
	}
	*addr = a;
	*bits = (uint8_t)(slash ? n : max);
	return 0;
}
