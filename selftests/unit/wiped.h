/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands before libc's explicit_bzero(), so that a test sees what is wiped, as it was. */
#ifndef SELFTESTS_WIPED_H
#define SELFTESTS_WIPED_H

#include <stddef.h>

/* Is the test's. */
static void wiped(const void *p, size_t n);

/* What -D_FORTIFY_SOURCE makes of it. */
void __explicit_bzero_chk(void *p, size_t n, size_t room);
void __explicit_bzero_chk(void *p, size_t n, size_t room)
{
	/* The compiler knows that it should only write. */
	void *volatile hidden = p;
	volatile unsigned char *v = hidden;

	(void)room;
	wiped(hidden, n);
	while (n--)
		*v++ = 0;
}

#undef explicit_bzero
void explicit_bzero(void *p, size_t n)
{
	__explicit_bzero_chk(p, n, n);
}

#endif
