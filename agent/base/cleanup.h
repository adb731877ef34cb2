/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cleanup attributes: declared where a thing is acquired, ownership leaves by take_*(). */
#ifndef AMB_CLEANUP_H
#define AMB_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void amb_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void amb_cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void amb_cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _cleanup_free_ _cleanup_(amb_cleanup_free)
#define _cleanup_fd_ _cleanup_(amb_cleanup_fd)
#define _cleanup_file_ _cleanup_(amb_cleanup_file)

/* Hands the pointer on and clears the variable, so that its cleanup does nothing. */
#define take_ptr(p)                                                                              \
	({                                                                                       \
		__typeof__(p) _p = (p);                                                          \
		(p) = NULL;                                                                      \
		_p;                                                                              \
	})

static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#endif
