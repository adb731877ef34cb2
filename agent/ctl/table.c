// SPDX-License-Identifier: GPL-2.0-or-later
/* Tables on a terminal: aligned columns, colour where it says something. */
#include "ctl.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 12
#define GAP 3 /* blanks between columns */

struct cell {
	char *text;
	enum ctl_colour colour;
};

struct ctl_table {
	size_t ncols, n, cap; /* cells */
	struct cell *cell;
	bool failed;
};

static const char
	*const codes[] = { [CTL_PLAIN] = "", [CTL_GOOD] = "\033[32m", [CTL_BAD] = "\033[31m" };

void ctl_table_add_colour(struct ctl_table *t, const char *text, enum ctl_colour colour)
{
	struct cell *cell = t->cell;

	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 128;

		cell = realloc(cell, cap * sizeof(*cell));
		if (!cell) {
			t->failed = true;
			return;
		}
		t->cell = cell;
		t->cap = cap;
	}
	cell[t->n].text = strdup(text && *text ? text : "-");
	cell[t->n].colour = colour;
	t->failed |= !cell[t->n].text;
	t->n++;
}

void ctl_table_add(struct ctl_table *t, const char *text)
{
	ctl_table_add_colour(t, text, CTL_PLAIN);
}

void ctl_table_addf(struct ctl_table *t, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL;
		t->failed = true;
	}
	va_end(ap);
	ctl_table_add(t, text);
}

struct ctl_table *ctl_table_create(const char *const *titles)
{
	struct ctl_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	while (titles[t->ncols] && t->ncols < COLUMNS)
		ctl_table_add(t, titles[t->ncols++]);
	return t;
}

/* Rows are compared cell by cell, all columns in turn. */
static int compare(const void *a, const void *b, void *arg)
{
	const struct cell *x = a, *y = b;
	size_t ncols = *(size_t *)arg, i;
	int c = 0;

	for (i = 0; i < ncols && !c; i++)
		c = strcmp(x[i].text, y[i].text);
	return c;
}

void ctl_table_sort(struct ctl_table *t)
{
	if (t->failed || t->n <= t->ncols)
		return;
	qsort_r(t->cell + t->ncols, t->n / t->ncols - 1, t->ncols * sizeof(struct cell), compare,
		&t->ncols);
}

/* Columns on the screen: continuation bytes of UTF-8 take none. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print(const struct ctl_table *t, bool colour)
{
	size_t widths[COLUMNS] = { 0 }, i;

	for (i = 0; i < t->n; i++) {
		size_t w = width(t->cell[i].text);

		if (w > widths[i % t->ncols])
			widths[i % t->ncols] = w;
	}
	for (i = 0; i < t->n; i++) {
		const struct cell *c = &t->cell[i];
		bool last = i % t->ncols == t->ncols - 1;
		bool paint = colour && c->colour != CTL_PLAIN;

		printf("%s%s%s", paint ? codes[c->colour] : "", c->text, paint ? "\033[0m" : "");
		if (last)
			putchar('\n');
		else
			printf("%*s", (int)(widths[i % t->ncols] - width(c->text) + GAP), "");
	}
}

int ctl_table_finish(struct ctl_table *t, bool colour)
{
	bool failed = !t || t->failed;
	size_t i;

	if (!failed)
		print(t, colour);
	for (i = 0; t && i < t->n; i++)
		free(t->cell[i].text);
	if (t)
		free(t->cell);
	free(t);
	if (failed) {
		ctl_error("out of memory");
		return CTL_BROKEN;
	}
	if (fflush(stdout) || ferror(stdout)) {
		ctl_error("cannot write: %s", strerror(errno));
		return CTL_BROKEN;
	}
	return CTL_OK;
}
