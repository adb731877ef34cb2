// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a connection, for telemetry and for whoever has to find it again.
 *
 * Going out: when the first packet leaves, the source port is known, and what connect() decided
 * moves from the socket to amb_flight, where the agent (tunnel) or the other end (direct) finds
 * it. Passthrough is entered into amb_conn by the socket that connects; direct connections and
 * plaintext from elsewhere by the socket that accepts, since that is where policy is. So each
 * connection has one row and one pair of events, from which the agent makes both reports.
 *
 * Lifetime: a row is made when a connection is established and goes when its socket reaches
 * CLOSE, which every established socket does, also when it is destroyed.
 */
#include "addr.h"
#include "events.h"
#include "flight.h"
#include "maps.h"

#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#define OK 1

/* Of the kernel's, as much as is read here. A TCP socket begins with the common part. */
enum sock_flags {
	SOCK_DONE = 1, /* a FIN has come */
};

#define DONE (1ul << bpf_core_enum_value(enum sock_flags, SOCK_DONE))

struct sock_common {
	unsigned long skc_flags;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u32 snd_una;
	__u32 write_seq;
} __attribute__((preserve_access_index));

static __always_inline void local_of(const struct bpf_sock_ops *ctx, struct amb_in6 *a)
{
	if (ctx->family == AMB_AF_INET)
		amb_addr_set4(a, ctx->local_ip4);
	else
		AMB_ADDR_SET6(a, ctx->local_ip6);
}

static __always_inline void remote_of(const struct bpf_sock_ops *ctx, struct amb_in6 *a)
{
	if (ctx->family == AMB_AF_INET)
		amb_addr_set4(a, ctx->remote_ip4);
	else
		AMB_ADDR_SET6(a, ctx->remote_ip6);
}

static __always_inline struct amb_sock_row *sock_row(struct bpf_sock_ops *ctx)
{
	return ctx->sk ? bpf_sk_storage_get(&amb_sock, ctx->sk, 0, 0) : NULL;
}

/* Has changes of state told, beside what other programs want to hear of this socket. */
static __always_inline void watch(struct bpf_sock_ops *ctx)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void enter(struct bpf_sock_ops *ctx, const struct amb_conn_row *conn)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);

	/*
	 * Without room for the row nobody could find the connection to end it. It lives on: what
	 * connect() and lookup allowed was allowed; but it is said.
	 */
	if (bpf_map_update_elem(&amb_conn, &cookie, conn, BPF_ANY)) {
		amb_event_dropped(AMB_REASON_LIMIT);
		return;
	}
	watch(ctx);
	amb_event_tell(AMB_EVENT_OPEN, AMB_REASON_NONE, cookie, conn, 0, 0);
}

/* An end of a spliced connection. What finds no room goes by TCP, as it would anyway. */
static __always_inline void splice(struct bpf_sock_ops *ctx)
{
	struct amb_splice_row row = { .sock = (__u64)(long)ctx->sk };
	struct amb_splice_key key = {};

	if (!row.sock)
		return;
	local_of(ctx, &key.local);
	remote_of(ctx, &key.remote);
	key.local_port = ctx->local_port;
	key.remote_port = bpf_ntohl(ctx->remote_port);
	if (!bpf_map_update_elem(&amb_spliced, &key, &row, BPF_ANY) &&
	    bpf_sock_hash_update(ctx, &amb_splice, &key, BPF_NOEXIST))
		bpf_map_delete_elem(&amb_spliced, &key);
}

/* What an end sent past TCP; its row goes. */
static __always_inline __u64 unsplice(const struct amb_in6 *local, __u16 local_port,
				      const struct amb_in6 *remote, __u16 remote_port)
{
	struct amb_splice_key key = {
		.local = *local,
		.remote = *remote,
		.local_port = local_port,
		.remote_port = remote_port,
	};
	const struct amb_splice_row *row = bpf_map_lookup_elem(&amb_spliced, &key);
	__u64 moved = row ? row->moved : 0;

	bpf_map_delete_elem(&amb_spliced, &key);
	return moved;
}

/* Ways of which this program tells, not the agent. */
static __always_inline bool told_here(__u32 way)
{
	return way == AMB_WAY_DIRECT || way == AMB_WAY_SPLICE || way == AMB_WAY_PASSTHROUGH;
}

/* The SYN is about to leave. */
static __always_inline void connecting(struct bpf_sock_ops *ctx)
{
	struct amb_sock_row *row = sock_row(ctx);
	struct amb_flight_key key;
	struct amb_in6 to;

	if (!row)
		return;
	remote_of(ctx, &to);
	local_of(ctx, &row->flight.src);
	/* Of what passes nobody needs to know, and nobody would take the row away. */
	if (row->flight.way != AMB_WAY_PASSTHROUGH) {
		amb_flight_key_set(&key, bpf_get_netns_cookie(ctx), &to,
				   bpf_ntohl(ctx->remote_port), ctx->local_port);
		bpf_map_update_elem(&amb_flight, &key, &row->flight, BPF_ANY);
	}
	/* For one that never comes up. */
	row->watched = told_here(row->flight.way) &&
		       !(ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG);
	if (row->watched)
		watch(ctx);
}

static __always_inline void fill_outbound(struct bpf_sock_ops *ctx, const struct amb_flight_row *f,
					  struct amb_conn_row *conn)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	const struct amb_pod_row *pod = bpf_map_lookup_elem(&amb_pod, &netns);

	conn->netns = netns;
	conn->start_ns = bpf_ktime_get_ns();
	conn->way = f->way;
	conn->src_identity = pod ? pod->identity : 0;
	local_of(ctx, &conn->src);
	remote_of(ctx, &conn->dst);
	conn->asked = f->dst;
	conn->src_port = ctx->local_port;
	conn->dst_port = bpf_ntohl(ctx->remote_port);
	conn->asked_port = f->dst_port;
}

static __always_inline void connected(struct bpf_sock_ops *ctx)
{
	struct amb_sock_row *row = sock_row(ctx);
	struct amb_conn_row conn = {};

	if (!row)
		return;
	if (row->flight.way == AMB_WAY_SPLICE)
		splice(ctx);
	if (row->flight.way == AMB_WAY_DIRECT || row->flight.way == AMB_WAY_SPLICE) {
		/* The other end tells of it. */
		if (row->watched)
			bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags &
							       ~BPF_SOCK_OPS_STATE_CB_FLAG);
		return;
	}
	if (row->flight.way != AMB_WAY_PASSTHROUGH)
		return;
	fill_outbound(ctx, &row->flight, &conn);
	enter(ctx, &conn);
}

static __always_inline void accepted(struct bpf_sock_ops *ctx)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	const struct amb_pod_row *pod = bpf_map_lookup_elem(&amb_pod, &netns);
	struct amb_flight_row *flight;
	struct amb_conn_row conn = {};
	struct amb_flight_key key;
	struct amb_addr_row *from;

	if (!pod || !(pod->flags & AMB_POD_INBOUND) || amb_addr_own_port(ctx->local_port))
		return;
	local_of(ctx, &conn.dst);
	remote_of(ctx, &conn.src);
	/* The pod's talk with itself is its own. */
	if (amb_addr_loopback(&conn.src) || amb_addr_same(&conn.src, &conn.dst))
		return;
	conn.src_port = bpf_ntohl(ctx->remote_port);
	conn.dst_port = ctx->local_port;
	/* What the agent brought in it tells of itself. */
	amb_flight_key_set(&key, netns, &conn.dst, conn.dst_port, conn.src_port);
	if (amb_flight_agent(&key, &conn.src)) {
		bpf_map_delete_elem(&amb_flight, &key);
		return;
	}
	conn.netns = netns;
	conn.start_ns = bpf_ktime_get_ns();
	conn.inbound = 1;
	conn.dst_identity = pod->identity;
	conn.way = AMB_WAY_PASSTHROUGH;
	conn.asked = conn.dst;
	conn.asked_port = conn.dst_port;
	flight = amb_flight_of(&conn.src, conn.src_port, &conn.dst, conn.dst_port, &key, &from);
	/* By rules it came from the agent, or it is what they let pass and nobody tells of. */
	if (!flight && pod->flags & AMB_POD_RULES)
		return;
	if (flight) {
		conn.way = flight->way;
		conn.peer = from->netns;
		conn.src_identity = from->identity;
		conn.asked = flight->dst;
		conn.asked_port = flight->dst_port;
		bpf_map_delete_elem(&amb_flight, &key);
	}
	if (conn.way == AMB_WAY_SPLICE)
		splice(ctx);
	enter(ctx, &conn);
}

/* SYN and FIN take a number of the sequence each, which TCP counts as if they were bytes. */
static __always_inline void without_syn_fin(struct bpf_sock_ops *ctx, __u32 before, bool inbound,
					    __u64 *in, __u64 *out)
{
	const struct tcp_sock *tp = ctx->sk ? bpf_skc_to_tcp_sock(ctx->sk) : NULL;
	bool fin = before == BPF_TCP_FIN_WAIT1 || before == BPF_TCP_FIN_WAIT2 ||
		   before == BPF_TCP_CLOSING || before == BPF_TCP_LAST_ACK;

	if (!tp)
		return;
	/* The SYN that answers is acknowledged before TCP begins to count. */
	if (!inbound && *out)
		(*out)--;
	if (fin && tp->snd_una == tp->write_seq && *out)
		(*out)--;
	if (((const struct sock_common *)tp)->skc_flags & DONE && *in)
		(*in)--;
}

static __always_inline void closed(struct bpf_sock_ops *ctx, __u32 before)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct amb_conn_row *row = bpf_map_lookup_elem(&amb_conn, &cookie);
	__u64 in = AMB_LONG(ctx->bytes_received), out = AMB_LONG(ctx->bytes_acked);
	struct amb_conn_row conn = {};
	const struct amb_addr_row *to;
	struct amb_sock_row *sock;

	if (row) {
		conn = *row;
		if (bpf_map_delete_elem(&amb_conn, &cookie))
			return;
		without_syn_fin(ctx, before, conn.inbound, &in, &out);
		if (conn.way == AMB_WAY_SPLICE) {
			out += unsplice(&conn.dst, conn.dst_port, &conn.src, conn.src_port);
			in += unsplice(&conn.src, conn.src_port, &conn.dst, conn.dst_port);
		}
		amb_event_tell(AMB_EVENT_CLOSE, AMB_REASON_NONE, cookie, &conn,
			       conn.inbound ? in : out, conn.inbound ? out : in);
		return;
	}
	sock = sock_row(ctx);
	if (before != BPF_TCP_SYN_SENT || !sock || !told_here(sock->flight.way))
		return;
	fill_outbound(ctx, &sock->flight, &conn);
	to = bpf_map_lookup_elem(&amb_addr, &conn.dst);
	if (conn.way != AMB_WAY_PASSTHROUGH && to) {
		conn.peer = to->netns;
		conn.dst_identity = to->identity;
	}
	amb_event_tell(AMB_EVENT_FAIL, AMB_REASON_CONNECT, cookie, &conn, 0, 0);
}

SEC("sockops")
int amb_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		connecting(ctx);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		connected(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		accepted(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			closed(ctx, ctx->args[0]);
		break;
	}
	return OK;
}
