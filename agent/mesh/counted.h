/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of immutable things of which there is one each: found by what they are, counted. */
#ifndef AMB_COUNTED_H
#define AMB_COUNTED_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded at the head of the thing, which free() frees. */
struct amb_counted {
	struct amb_counted *next;
	uint32_t refs;
	uint32_t hash;
};

struct amb_counted_table {
	pthread_mutex_t lock;
	struct amb_counted **bucket;
	size_t size, count;
	size_t min; /* buckets, a power of two */
	/* Is @c the thing that @key describes? Lock held, as below. */
	bool (*is)(const struct amb_counted *c, const void *key);
	/* Makes it, all but its head. NULL: out of memory. */
	struct amb_counted *(*make)(const void *key);
};

#define AMB_COUNTED_TABLE(its_min, its_is, its_make)                                               \
	{                                                                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER, .min = its_min, .is = its_is, .make = its_make  \
	}

/* A reference to the one that there is, perhaps from now on. NULL: out of memory. Any thread. */
struct amb_counted *amb_counted_intern(struct amb_counted_table *t, uint32_t hash, const void *key);

/* Any thread; lock-free unless the last reference goes. */
void amb_counted_get(struct amb_counted *c);
void amb_counted_put(struct amb_counted_table *t, struct amb_counted *c);

/* How many there are. */
size_t amb_counted_number(struct amb_counted_table *t);

#endif
