/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses of services that are ranges, in amb_cidr. Part of publish.c.
 *
 * A change is begun, written and ended; what comes is written first, and what goes stays up to the
 * end. Addresses are published in between: so none that turns into a range, or was in one, is
 * unknown for a moment.
 */
#ifndef AMB_PUBLISH_RANGE_H
#define AMB_PUBLISH_RANGE_H

#include <stdbool.h>

struct amb_bpf;
struct amb_publish_ranges;
struct amb_state;

/* What a call came to; 0: nothing to be said. */
enum amb_publish_range {
	AMB_PUBLISH_RANGE_MISSING = 1, /* something that should stand in the map does not */
	AMB_PUBLISH_RANGE_AGAIN = 2, /* it may work the next time, after a sweep */
	AMB_PUBLISH_RANGE_ROOM = 4, /* some went */
};

struct amb_publish_ranges *amb_publish_ranges_create(struct amb_state *st, const struct amb_bpf *b);
void amb_publish_ranges_destroy(struct amb_publish_ranges *r);

/* Looks at what ranges there are in the own network now. Within a read section, as the next two. */
int amb_publish_ranges_begin(struct amb_publish_ranges *r);
/* Whether some stand in the map, or are about to. */
bool amb_publish_ranges_any(const struct amb_publish_ranges *r);
int amb_publish_ranges_write(struct amb_publish_ranges *r);
int amb_publish_ranges_end(struct amb_publish_ranges *r);

/* Takes away what an agent before left, or what could not be taken away. */
int amb_publish_ranges_sweep(struct amb_publish_ranges *r);

#endif
