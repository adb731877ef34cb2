/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that ends when a test says so. Where a sanitizer has its own in place NOMEM is not
 * defined, and there is nothing to test.
 */
#ifndef SELFTESTS_NOMEM_H
#define SELFTESTS_NOMEM_H

#include <stdbool.h>
#include <stddef.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(AMB_TSAN) && !defined(__has_feature)
#define NOMEM 1

/* Allocations that are left before one fails; negative: none does. This thread's only. */
static __thread volatile long nomem_left = -1; /* the compiler thinks it knows malloc */
static __thread bool nomem_failed;
static __thread bool nomem_stays; /* all that come after it fail too */

/* Blocks that somebody has, of all threads. */
static long nomem_live;

void __libc_free(void *p);
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static bool nomem_fails(void)
{
	if (nomem_left < 0)
		return false;
	if (nomem_left) {
		nomem_left--;
		return false;
	}
	if (!nomem_stays)
		nomem_left = -1;
	nomem_failed = true;
	return true;
}

static void *nomem_count(void *p)
{
	__atomic_add_fetch(&nomem_live, p != NULL, __ATOMIC_RELAXED);
	return p;
}

void *malloc(size_t n)
{
	return nomem_fails() ? NULL : nomem_count(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
	return nomem_fails() ? NULL : nomem_count(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
	if (!p)
		return malloc(n);
	return nomem_fails() ? NULL : __libc_realloc(p, n);
}

void free(void *p)
{
	__atomic_sub_fetch(&nomem_live, p != NULL, __ATOMIC_RELAXED);
	__libc_free(p);
}
#endif

#endif
