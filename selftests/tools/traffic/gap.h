/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a connection has waited at most: kept by its thread, asked by another. */
#ifndef AMB_TRAFFIC_GAP_H
#define AMB_TRAFFIC_GAP_H

#include <stdatomic.h>
#include <stdint.h>

struct gap {
	/* Since when it waits, 0: it does not; the longest that was not told yet. */
	_Atomic uint64_t since, longest;
};

void gap_begin(struct gap *g, uint64_t since);
void gap_end(struct gap *g, uint64_t now);
/* The longest since it was asked before; a wait that goes on counts with what it is by now. */
uint64_t gap_take(struct gap *g, uint64_t now);

#endif
