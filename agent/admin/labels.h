/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of label sets with their counters, whose number is bounded. Private to metrics and scrape;
 * what a row is, dns_series and host_series say.
 */
#ifndef AMB_LABELS_H
#define AMB_LABELS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Rows: their labels, of which equal ones are the same pointers, then what is counted. The first
 * labels are references, or NULL.
 */
struct amb_labels_kind {
	size_t size; /* of a row */
	size_t labels; /* bytes of its labels, without padding */
	unsigned int strs; /* so many of amb_str come first */
	bool identity; /* then one identity */
	unsigned int max; /* rows */
	const void *overflow; /* the labels of all that have no room */
};

#define AMB_LABELS_HASH 256

struct amb_labels_entry;

struct amb_labels {
	pthread_mutex_t lock;
	const struct amb_labels_kind *kind;
	struct amb_labels_entry *hash[AMB_LABELS_HASH];
	struct amb_labels_entry *overflow;
	unsigned int n;
};

void amb_labels_init(struct amb_labels *t, const struct amb_labels_kind *kind);
void amb_labels_uninit(struct amb_labels *t);

/*
 * The row with the labels of @key, itself a row, whose counters are 0. It is made if there is none;
 * where there is no room, it is the one of all such. Lock held, also while the row is used. NULL:
 * out of memory.
 */
void *amb_labels_row(struct amb_labels *t, const void *key);

/* Copies of the rows of @n tables. Returns how many, or -ENOMEM. The caller gives them back. */
long amb_labels_copy(const struct amb_labels_kind *kind, struct amb_labels *tables, unsigned int n,
		     void **out);
void amb_labels_put(const struct amb_labels_kind *kind, void *rows, long n);
/* Gives back what one of them refers to. */
void amb_labels_row_put(const struct amb_labels_kind *kind, const void *row);

#endif
