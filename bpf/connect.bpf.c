// SPDX-License-Identifier: GPL-2.0
/*
 * connect(): each connection of a captured pod is decided here, before its first packet.
 *
 * A connection that needs the agent is sent to the pod's own address, port 15001: not to
 * 127.0.0.1, so that getsockname() still shows the pod's address. What was asked for stays with
 * the socket; sockops moves it to amb_flight when the source port is known, where the agent takes
 * it: a program that answers SO_ORIGINAL_DST would run at each getsockopt() of each process.
 *
 * The programs hang at the root of the cgroups. A process of a pod that is not captured pays
 * for one look-up that finds nothing.
 */
#include "agent.h"
#include "decide.h"
#include "dns.h"
#include "events.h"

char LICENSE[] SEC("license") = "GPL";

#define ALLOW 1
#define REFUSE 0
#define ECONNREFUSED 111
#define SOL_SOCKET 1
#define SO_BINDTODEVICE 25
#define SO_MARK 36

static __always_inline bool is_tcp(const struct bpf_sock_addr *ctx)
{
	return ctx->type == AMB_SOCK_STREAM &&
	       (ctx->protocol == AMB_TCP || ctx->protocol == AMB_MPTCP);
}

static __always_inline bool is_udp(const struct bpf_sock_addr *ctx)
{
	return ctx->type == AMB_SOCK_DGRAM && ctx->protocol == AMB_UDP;
}

static __always_inline int refuse(const struct amb_pod_row *pod, __u64 netns, __u64 cookie,
				  const struct amb_in6 *dst, __u16 port, const struct amb_choice *c)
{
	struct amb_conn_row conn = {
		.netns = netns,
		.peer = c->peer,
		.start_ns = bpf_ktime_get_ns(),
		.way = AMB_WAY_DENY,
		.src_identity = pod->identity,
		.dst_identity = c->peer_identity,
		.src = amb_addr_is4(&c->to) ? pod->v4 : pod->v6,
		.dst = c->to,
		.asked = *dst,
		.dst_port = c->to_port,
		.asked_port = port,
	};

	amb_event_tell(AMB_EVENT_DENY, c->reason, cookie, &conn, 0, 0);
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

/* Left alone; what an earlier connect() of the socket noted is no longer so. */
static __always_inline int forget(struct bpf_sock_addr *ctx)
{
	if (ctx->sk)
		bpf_sk_storage_delete(&amb_sock, ctx->sk);
	return ALLOW;
}

enum past { PAST, BY_RULES, STUCK };

/*
 * A CNI's rules capture the pod: what is not direct is theirs, and a mark leads past them what is.
 * One that the application has set may mean something to its routes: it stays, and the rules have
 * the connection. Ours may be there from an earlier connect() of the socket, so it has to go where
 * the way is another now; while it is STUCK the socket would leave in clear.
 */
static __always_inline enum past past_rules(struct bpf_sock_addr *ctx, enum amb_way way)
{
	bool direct = way == AMB_WAY_DIRECT || way == AMB_WAY_SPLICE;
	__u32 mark = direct ? AMB_DIRECT_MARK : 0;

	if (ctx->sk->mark == mark)
		return direct ? PAST : BY_RULES;
	if (ctx->sk->mark && ctx->sk->mark != AMB_DIRECT_MARK)
		return BY_RULES;
	if (!bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return direct ? PAST : BY_RULES;
	return direct ? BY_RULES : STUCK;
}

/*
 * Decides and notes. Returns ALLOW or REFUSE; with ALLOW @to and @to_port are where the socket
 * goes. What cannot be noted cannot be told later, so it is refused.
 */
static __always_inline int decide(struct bpf_sock_addr *ctx, const struct amb_in6 *dst,
				  struct amb_in6 *to, __u16 *to_port)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct amb_pod_row *pod = bpf_map_lookup_elem(&amb_pod, &netns);
	__u16 port = bpf_ntohs(ctx->user_port);
	struct amb_sock_row *row;
	struct amb_choice c;
	enum past past;
	char none = 0;

	*to = *dst;
	*to_port = port;
	if (!pod || !(is_tcp(ctx) || is_udp(ctx)))
		return ALLOW;
	if (amb_dns_wanted(ctx, pod, dst, port)) {
		/* By TCP nobody looks where the answer comes from. */
		if (is_udp(ctx) && !amb_dns_note(ctx, dst)) {
			bpf_set_retval(-ECONNREFUSED);
			return REFUSE;
		}
		amb_dns_agent(dst, to);
		*to_port = AMB_PORT_DNS;
		return ALLOW;
	}
	if (!(pod->flags & AMB_POD_OUTBOUND) || !is_tcp(ctx) || !ctx->sk)
		return forget(ctx);
	if (amb_agent_owns(ctx->sk)) {
		/* HBONE speaks for itself; all else is told to those who look out for strangers. */
		if (port == AMB_PORT_HBONE || amb_addr_loopback(dst))
			return ALLOW;
		c.way = AMB_WAY_NONE;
	} else {
		amb_decide(pod, netns, dst, port, &c);
		if (pod->flags & AMB_POD_RULES && c.way != AMB_WAY_DENY) {
			past = past_rules(ctx, c.way);
			if (past == STUCK) {
				amb_event_count(AMB_WAY_DENY, AMB_REASON_BYPASS);
				bpf_set_retval(-ECONNREFUSED);
				return REFUSE;
			}
			if (past == BY_RULES)
				c.way = AMB_WAY_NONE;
		}
		if (c.way == AMB_WAY_NONE)
			return forget(ctx);
	}
	if (c.way == AMB_WAY_DENY) {
		amb_event_count(AMB_WAY_DENY, c.reason);
		return refuse(pod, netns, bpf_get_socket_cookie(ctx), dst, port, &c);
	}
	row = bpf_sk_storage_get(&amb_sock, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!row) {
		amb_event_count(AMB_WAY_DENY, AMB_REASON_MEMORY);
		bpf_set_retval(-ECONNREFUSED);
		return REFUSE;
	}
	row->flight.dst = *dst;
	row->flight.dst_port = port;
	row->flight.way = c.way;
	row->peer_shown = 0;
	if (c.way == AMB_WAY_NONE)
		return ALLOW;
	if (c.way == AMB_WAY_TUNNEL) {
		c.to = amb_addr_is4(dst) ? pod->v4 : pod->v6;
		c.to_port = AMB_PORT_OUTBOUND;
		/* Without an address of that family the agent cannot be reached. */
		if (amb_addr_any(&c.to)) {
			amb_event_count(AMB_WAY_DENY, AMB_REASON_NO_ADDRESS);
			bpf_set_retval(-ECONNREFUSED);
			return REFUSE;
		}
		/* The agent is not behind that device: held to it the socket would time out. */
		if (ctx->sk->bound_dev_if &&
		    bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, &none, sizeof(none))) {
			amb_event_count(AMB_WAY_DENY, AMB_REASON_BYPASS);
			bpf_set_retval(-ECONNREFUSED);
			return REFUSE;
		}
	}
	amb_event_count(c.way, c.reason);
	row->peer_shown = !amb_addr_same(&c.to, dst) || c.to_port != port;
	*to = c.to;
	*to_port = c.to_port;
	return ALLOW;
}

SEC("cgroup/connect4")
int amb_connect4(struct bpf_sock_addr *ctx)
{
	struct amb_in6 dst, to;
	__u16 port;

	amb_addr_set4(&dst, ctx->user_ip4);
	if (decide(ctx, &dst, &to, &port) == REFUSE)
		return REFUSE;
	if (port != bpf_ntohs(ctx->user_port) || !amb_addr_same(&dst, &to)) {
		ctx->user_ip4 = ((__u32 *)&to)[3];
		ctx->user_port = bpf_htons(port);
	}
	return ALLOW;
}

/* Also for IPv4 in its mapped form: connect4 is not called for sockets of IPv6. */
SEC("cgroup/connect6")
int amb_connect6(struct bpf_sock_addr *ctx)
{
	struct amb_in6 dst, to;
	__u32 *w = (__u32 *)&to;
	__u16 port;

	AMB_ADDR_SET6(&dst, ctx->user_ip6);
	if (decide(ctx, &dst, &to, &port) == REFUSE)
		return REFUSE;
	if (port != bpf_ntohs(ctx->user_port) || !amb_addr_same(&dst, &to)) {
		ctx->user_ip6[0] = w[0];
		ctx->user_ip6[1] = w[1];
		ctx->user_ip6[2] = w[2];
		ctx->user_ip6[3] = w[3];
		ctx->user_port = bpf_htons(port);
	}
	return ALLOW;
}

/* The application sees the peer that it asked for. */
static __always_inline const struct amb_flight_row *shown(struct bpf_sock_addr *ctx)
{
	struct amb_sock_row *row;

	if (!ctx->sk)
		return NULL;
	row = bpf_sk_storage_get(&amb_sock, ctx->sk, 0, 0);
	return row && row->peer_shown ? &row->flight : NULL;
}

SEC("cgroup/getpeername4")
int amb_peername4(struct bpf_sock_addr *ctx)
{
	const struct amb_flight_row *f = shown(ctx);

	if (f) {
		ctx->user_ip4 = ((__u32 *)&f->dst)[3];
		ctx->user_port = bpf_htons(f->dst_port);
	}
	return ALLOW;
}

SEC("cgroup/getpeername6")
int amb_peername6(struct bpf_sock_addr *ctx)
{
	const struct amb_flight_row *f = shown(ctx);
	const __u32 *w;

	if (f) {
		w = (const __u32 *)&f->dst;
		ctx->user_ip6[0] = w[0];
		ctx->user_ip6[1] = w[1];
		ctx->user_ip6[2] = w[2];
		ctx->user_ip6[3] = w[3];
		ctx->user_port = bpf_htons(f->dst_port);
	}
	return ALLOW;
}
