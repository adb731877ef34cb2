/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Label sets of traffic metrics and their counters. Private to metrics and scrape. */
#ifndef AMB_SERIES_H
#define AMB_SERIES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/flow.h"

/* What distinguishes label sets, as it stands in a key: the labels follow from these. */
enum amb_series_part {
	AMB_PART_WORKLOAD,
	AMB_PART_CANONICAL,
	AMB_PART_REVISION,
	AMB_PART_NS,
	AMB_PART_PRINCIPAL,
	AMB_PART_CLUSTER,
	AMB_PART_REGION,
	AMB_PART_ZONE,
	AMB_PART_PEER_MAX,
};
#define AMB_PART_SRC 0
#define AMB_PART_DST AMB_PART_PEER_MAX
#define AMB_PART_SVC_HOST (2 * AMB_PART_PEER_MAX)
#define AMB_PART_SVC_NS (AMB_PART_SVC_HOST + 1)
#define AMB_PART_SVC_NAME (AMB_PART_SVC_HOST + 2)
#define AMB_PART_MAX (AMB_PART_SVC_HOST + 3)

/* Key: these three bytes, then AMB_PART_MAX strings, each with its NUL. */
struct amb_series_head {
	uint8_t direction;
	uint8_t security; /* enum amb_security */
	uint8_t locality; /* some peer is known, so its locality is shown */
};

#define AMB_SERIES_KEY_MAX 8192

/*
 * One label set but for response_flags, which only the counts of ended connections carry. The
 * worker writes (relaxed), scrapes read.
 */
struct amb_series {
	uint64_t opened, sent, received; /* bytes: of ended connections */
	uint64_t shown_sent, shown_received; /* with the live ones, when they last told */
	uint64_t live_sent, live_received; /* while they tell; worker only */
	uint64_t closed[AMB_FLAG_MAX];
	uint32_t refs, live;
	uint64_t used_ns; /* end of the last connection; worker only */
	struct amb_series *chain; /* worker only */
	struct amb_series *next; /* table lock */
	uint32_t hash, keylen;
	char key[];
};

struct amb_series_table {
	pthread_mutex_t lock; /* list against scrapes; the worker looks up without it */
	struct amb_series *list;
	struct amb_series *overflow[2]; /* by direction */
	struct amb_series **bucket;
	uint32_t nbuckets, n, max;
	uint64_t next_scan_ns;
	uint64_t overflows; /* connections counted without their names */
};

/* 0 or -ENOMEM; a table that failed may be uninit too. */
int amb_series_table_init(struct amb_series_table *t, uint32_t max);
void amb_series_table_uninit(struct amb_series_table *t);

/* Writes the key of @f's label set. Returns its length. */
size_t amb_series_key(const struct amb_flow *f, char key[AMB_SERIES_KEY_MAX]);
/* Finds or makes the series of @f; the overflow series when there is no room. Worker. */
struct amb_series *amb_series_find(struct amb_series_table *t, const struct amb_flow *f);

/* The string of part @i of a key. */
const char *amb_series_part(const struct amb_series *s, unsigned int i);

/*
 * References to all series of @n tables, sorted by key, so that those of one label set are
 * neighbours. Returns how many, or -ENOMEM. The caller puts each and frees the array.
 */
long amb_series_snapshot(struct amb_series_table *tables, unsigned int n, struct amb_series ***out);
void amb_series_put(struct amb_series *s);

/* One writer: no need for an atomic addition. */
static inline void amb_series_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline uint64_t amb_series_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#endif
