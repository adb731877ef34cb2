// SPDX-License-Identifier: GPL-2.0-or-later
/* Interned strings. */
#include "str.h"

#include "base/util.h"
#include "counted.h"

#include <stdlib.h>
#include <string.h>

struct str {
	struct amb_counted counted;
	char text[];
};

/* What is asked for. */
struct key {
	const char *text;
	size_t len;
};

static struct {
	struct amb_counted counted;
	char text[1];
} empty;

static struct str *of(amb_str s)
{
	return AMB_CONTAINER_OF(s, struct str, text);
}

uint32_t amb_str_hash_text(const char *text, size_t len)
{
	return len ? amb_util_hash(text, len, amb_util_seed()) : 0;
}

uint32_t amb_str_hash(amb_str s)
{
	return of(s)->counted.hash;
}

static bool is(const struct amb_counted *c, const void *key)
{
	const struct str *s = AMB_CONTAINER_OF(c, struct str, counted);
	const struct key *k = key;

	return !strncmp(s->text, k->text, k->len) && !s->text[k->len];
}

static struct amb_counted *make(const void *key)
{
	const struct key *k = key;
	struct str *s = malloc(sizeof(*s) + k->len + 1);

	if (!s)
		return NULL;
	memcpy(s->text, k->text, k->len);
	s->text[k->len] = 0;
	return &s->counted;
}

static struct amb_counted_table table = AMB_COUNTED_TABLE(256, is, make);

amb_str amb_str_intern(const char *text, size_t len)
{
	const struct key key = { text, len };
	struct amb_counted *c;

	if (!len)
		return empty.text;
	c = amb_counted_intern(&table, amb_str_hash_text(text, len), &key);
	return c ? AMB_CONTAINER_OF(c, struct str, counted)->text : NULL;
}

amb_str amb_str_get(amb_str s)
{
	if (s && s != empty.text)
		amb_counted_get(&of(s)->counted);
	return s;
}

void amb_str_put(amb_str s)
{
	if (s && s != empty.text)
		amb_counted_put(&table, &of(s)->counted);
}

size_t amb_str_count(void)
{
	return amb_counted_number(&table);
}
