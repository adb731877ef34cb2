/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of the BPF maps, written and read. Any thread where nothing else is said. */
#ifndef AMB_KERNEL_ROWS_H
#define AMB_KERNEL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ambient/rows.h"
#include "base/addr.h"
#include "bpf.h"

static inline struct amb_in6 amb_rows_addr(const struct amb_addr *a)
{
	struct amb_in6 to;

	__builtin_memcpy(to.b, a->b, sizeof(to.b));
	return to;
}

static inline struct amb_addr amb_rows_addr_of(const struct amb_in6 *a)
{
	struct amb_addr to;

	__builtin_memcpy(to.b, a->b, sizeof(to.b));
	return to;
}

/* Puts a row, or takes one away (what is not there is fine). 0, -E2BIG: full, or -errno. */
int amb_rows_put(const struct amb_bpf *b, enum amb_bpf_map map, const void *key, const void *row);
int amb_rows_del(const struct amb_bpf *b, enum amb_bpf_map map, const void *key);
bool amb_rows_get(const struct amb_bpf *b, enum amb_bpf_map map, const void *key, void *row);

/*
 * Walks a map: @key (zeroed before the first call by @first) becomes the next key. False at the
 * end. Rows may be taken away between calls, also the one just seen.
 */
bool amb_rows_next(const struct amb_bpf *b, enum amb_bpf_map map, bool first, void *key);

/*
 * Takes away the rows of @map that @keep, asked for each key of at most AMB_ROWS_KEY_MAX bytes,
 * does not want. Their number, or -errno when one could not be; the others are gone then, too.
 */
#define AMB_ROWS_KEY_MAX 64
long amb_rows_sweep(const struct amb_bpf *b, enum amb_bpf_map map,
		    bool (*keep)(void *ctx, const void *key), void *ctx);

/* Sets flags of amb_meta (enum amb_meta_flag). 0 or -errno. Main thread. */
int amb_rows_set_meta(const struct amb_bpf *b, uint32_t flags);

/* The pod @cookie's listener for plaintext is @fd. Goes by itself when it closes. 0 or -errno. */
int amb_rows_listener(const struct amb_bpf *b, uint64_t cookie, int fd);

/*
 * What the application behind a connection that arrived at the agent's outbound listener asked
 * for: @src is the peer's address, @to the listener's own. The row is taken. 0 or -ENOENT.
 */
int amb_rows_flight_take(const struct amb_bpf *b, uint64_t cookie, const struct amb_endpoint *src,
			 const struct amb_endpoint *to, struct amb_endpoint *dst);

/*
 * True when @src is a captured pod of this node and one of its sockets was let connect directly
 * to @dst: the pod is who its address says.
 */
bool amb_rows_flight_proves(const struct amb_bpf *b, const struct amb_endpoint *src,
			    const struct amb_endpoint *dst);

/*
 * A verdict to be kept. Found first, so that the row is of the inputs that the pod has now.
 */
struct amb_rows_verdict {
	uint32_t identity; /* of the source; 0: none */
	struct amb_endpoint src, dst;
	bool allow;
	enum amb_reason reason;
	uint64_t stamp; /* of the policies that were asked */
};
/* Keeps it, if @dst is a captured pod of this node. Errors only cost time. */
void amb_rows_verdict_keep(const struct amb_bpf *b, const struct amb_rows_verdict *v);

/* Sums of a reason's counters over all CPUs. 0 or -errno. */
int amb_rows_stat(const struct amb_bpf *b, uint32_t reason, struct amb_stat_row *row);
/* Of all reasons. @rows: AMB_REASON_MAX of them. */
int amb_rows_stats(const struct amb_bpf *b, struct amb_stat_row *rows);

#endif
