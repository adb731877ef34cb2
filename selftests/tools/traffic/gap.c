// SPDX-License-Identifier: GPL-2.0-or-later
/* How long a connection has waited at most. */
#include "gap.h"

void gap_begin(struct gap *g, uint64_t since)
{
	atomic_store_explicit(&g->since, since, memory_order_relaxed);
}

/* Who takes the longest meanwhile may be told of this wait once more. */
void gap_end(struct gap *g, uint64_t now)
{
	uint64_t since = atomic_load_explicit(&g->since, memory_order_relaxed);

	if (now - since > atomic_load_explicit(&g->longest, memory_order_relaxed))
		atomic_store_explicit(&g->longest, now - since, memory_order_relaxed);
	gap_begin(g, 0);
}

uint64_t gap_take(struct gap *g, uint64_t now)
{
	uint64_t longest = atomic_exchange(&g->longest, 0), since = atomic_load(&g->since);

	return since && now > since && now - since > longest ? now - since : longest;
}
