// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows of the BPF maps. */
#include "rows.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

int amb_rows_put(const struct amb_bpf *b, enum amb_bpf_map map, const void *key, const void *row)
{
	return bpf_map_update_elem(b->map[map], key, row, BPF_ANY) ? -errno : 0;
}

int amb_rows_del(const struct amb_bpf *b, enum amb_bpf_map map, const void *key)
{
	return bpf_map_delete_elem(b->map[map], key) && errno != ENOENT ? -errno : 0;
}

bool amb_rows_get(const struct amb_bpf *b, enum amb_bpf_map map, const void *key, void *row)
{
	return !bpf_map_lookup_elem(b->map[map], key, row);
}

bool amb_rows_next(const struct amb_bpf *b, enum amb_bpf_map map, bool first, void *key)
{
	return !bpf_map_get_next_key(b->map[map], first ? NULL : key, key);
}

_Static_assert(sizeof(struct amb_policy_key) <= AMB_ROWS_KEY_MAX &&
		       sizeof(struct amb_flight_key) <= AMB_ROWS_KEY_MAX &&
		       sizeof(struct amb_splice_key) <= AMB_ROWS_KEY_MAX,
	       "the largest keys");

long amb_rows_sweep(const struct amb_bpf *b, enum amb_bpf_map map,
		    bool (*keep)(void *ctx, const void *key), void *ctx)
{
	/* Aligned for whatever is in it. */
	uint64_t key[AMB_ROWS_KEY_MAX / 8], next[AMB_ROWS_KEY_MAX / 8];
	bool more = amb_rows_next(b, map, true, key);
	int failed = 0, err;
	long n = 0;

	while (more) {
		memcpy(next, key, sizeof(next));
		more = amb_rows_next(b, map, false, next);
		if (!keep(ctx, key)) {
			err = amb_rows_del(b, map, key);
			failed = err ?: failed;
			n += !err;
		}
		memcpy(key, next, sizeof(key));
	}
	return failed ?: n;
}

int amb_rows_set_meta(const struct amb_bpf *b, uint32_t flags)
{
	struct amb_meta_row row;
	uint32_t zero = 0;

	if (!amb_rows_get(b, AMB_BPF_META, &zero, &row))
		return -errno;
	if (row.flags == flags)
		return 0;
	row.flags = flags;
	return amb_rows_put(b, AMB_BPF_META, &zero, &row);
}

int amb_rows_listener(const struct amb_bpf *b, uint64_t cookie, int fd)
{
	uint64_t value = fd;

	return amb_rows_put(b, AMB_BPF_LISTENER, &cookie, &value);
}

int amb_rows_flight_take(const struct amb_bpf *b, uint64_t cookie, const struct amb_endpoint *src,
			 const struct amb_endpoint *to, struct amb_endpoint *dst)
{
	struct amb_flight_key key = {
		.netns = cookie,
		.to = amb_rows_addr(&to->addr),
		.to_port = to->port,
		.from_port = src->port,
	};
	struct amb_flight_row row;

	if (bpf_map_lookup_and_delete_elem(b->map[AMB_BPF_FLIGHT], &key, &row))
		return -ENOENT;
	dst->addr = amb_rows_addr_of(&row.dst);
	dst->port = row.dst_port;
	return 0;
}

bool amb_rows_flight_proves(const struct amb_bpf *b, const struct amb_endpoint *src,
			    const struct amb_endpoint *dst)
{
	struct amb_flight_key key = {
		.to = amb_rows_addr(&dst->addr),
		.to_port = dst->port,
		.from_port = src->port,
	};
	struct amb_in6 addr = amb_rows_addr(&src->addr);
	struct amb_flight_row row;
	struct amb_addr_row from;

	if (!amb_rows_get(b, AMB_BPF_ADDR, &addr, &from) || !from.netns)
		return false;
	key.netns = from.netns;
	return amb_rows_get(b, AMB_BPF_FLIGHT, &key, &row) &&
	       !memcmp(&row.src, &addr, sizeof(addr)) &&
	       (row.way == AMB_WAY_DIRECT || row.way == AMB_WAY_SPLICE);
}

void amb_rows_verdict_keep(const struct amb_bpf *b, const struct amb_rows_verdict *v)
{
	struct amb_policy_key key = { .identity = v->identity, .port = v->dst.port };
	const struct amb_policy_row row = {
		.stamp = v->stamp,
		.allow = v->allow,
		.reason = v->reason,
	};
	struct amb_in6 addr = amb_rows_addr(&v->dst.addr);
	struct amb_addr_row to;
	struct amb_pod_row pod;

	if (!amb_rows_get(b, AMB_BPF_ADDR, &addr, &to) || !to.netns ||
	    !amb_rows_get(b, AMB_BPF_POD, &to.netns, &pod))
		return;
	/* No direct way leads there, so that nobody would look. */
	if (v->identity && pod.flags & AMB_POD_ALWAYS_TUNNEL)
		return;
	key.netns = to.netns;
	if (pod.inputs & AMB_INPUT_SRC)
		key.src = amb_rows_addr(&v->src.addr);
	if (pod.inputs & AMB_INPUT_DST)
		key.dst = addr;
	(void)amb_rows_put(b, AMB_BPF_POLICY, &key, &row);
}

/* @each: room for the rows of all @cpus. */
static int read_stat(const struct amb_bpf *b, uint32_t reason, struct amb_stat_row *each, int cpus,
		     struct amb_stat_row *row)
{
	int i;

	if (bpf_map_lookup_elem(b->map[AMB_BPF_STAT], &reason, each))
		return -errno;
	memset(row, 0, sizeof(*row));
	for (i = 0; i < cpus; i++) {
		row->passthrough += each[i].passthrough;
		row->direct += each[i].direct;
		row->splice += each[i].splice;
		row->tunnel += each[i].tunnel;
		row->deny += each[i].deny;
		row->dropped += each[i].dropped;
	}
	return 0;
}

static int read_stats(const struct amb_bpf *b, uint32_t reason, uint32_t n,
		      struct amb_stat_row *rows)
{
	int cpus = libbpf_num_possible_cpus(), err = 0;
	_cleanup_free_ struct amb_stat_row *each = NULL;
	uint32_t i;

	if (cpus < 0)
		return cpus;
	each = calloc(cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	for (i = 0; i < n && !err; i++)
		err = read_stat(b, reason + i, each, cpus, &rows[i]);
	return err;
}

int amb_rows_stat(const struct amb_bpf *b, uint32_t reason, struct amb_stat_row *row)
{
	return read_stats(b, reason, 1, row);
}

int amb_rows_stats(const struct amb_bpf *b, struct amb_stat_row *rows)
{
	return read_stats(b, 0, AMB_REASON_MAX, rows);
}
