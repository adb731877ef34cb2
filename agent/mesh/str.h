/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interned strings: one copy per text in the process, compared by pointer, counted. */
#ifndef AMB_STR_H
#define AMB_STR_H

#include <stddef.h>
#include <stdint.h>

/* A shared, immutable string; never NULL ("" when unset). */
typedef const char *amb_str;

/*
 * Returns a reference to the one copy of the @len bytes at @text (no NUL among them), or
 * NULL when out of memory. Any thread.
 */
amb_str amb_str_intern(const char *text, size_t len);

/* Any thread; lock-free unless the last reference goes. NULL is accepted. */
amb_str amb_str_get(amb_str s);
void amb_str_put(amb_str s);

/* Hash of an interned string (kept with it) and of the same text elsewhere: equal. */
uint32_t amb_str_hash(amb_str s);
uint32_t amb_str_hash_text(const char *text, size_t len);

/* How many strings live; for tests and the memory line of the log. */
size_t amb_str_count(void);

#endif
