/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Keys and rows of the maps under /sys/fs/bpf/ambient: shared by the BPF programs and the agent.
 *
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d; ports are in host order, so that `bpftool map
 * dump` shows what a person would write. Keys are zeroed whole before they are filled. A pod is
 * told by the cookie of its network namespace, which the kernel never gives twice.
 *
 * What changes here changes AMB_ABI: an agent takes over only rows that it can read.
 */
#ifndef AMB_ROWS_H
#define AMB_ROWS_H

#include <linux/types.h>

#include "ambient/ports.h"
#include "ambient/reason.h"

#define AMB_MAGIC 0x616d6264 /* "ambd" */
#define AMB_ABI 1

/* Limits: entries of each map. */
#define AMB_PODS_MAX 8192
#define AMB_ADDRS_MAX 131072
#define AMB_CIDRS_MAX 4096
#define AMB_SVCS_MAX 8192
#define AMB_ENDS_MAX 16384
#define AMB_VERDICTS_MAX 8192
#define AMB_FLIGHTS_MAX 4096
#define AMB_CONNS_MAX 32768
#define AMB_IDENTS_MAX 8192
#define AMB_IFS_MAX 8192
#define AMB_SPLICES_MAX 2048
#define AMB_STATS_MAX 64
#define AMB_EVENTS_BYTES (256 << 10)

struct amb_in6 {
	__u8 b[16];
};

/* amb_meta: one row, key 0. Written by the agent, checked by the next one. */
enum amb_meta_flag {
	AMB_META_PARTIAL = 1, /* not every address has a row: unknown ones go to the agent */
	AMB_META_CIDR = 2, /* amb_cidr has rows */
	AMB_META_SPLICE = 4, /* the program of amb_splice is there */
	AMB_META_WAIT = 8, /* what needs an agent waits while none runs */
};

struct amb_meta_row {
	__u32 magic;
	__u32 abi;
	__u32 agent_pid; /* as the kernel's first PID namespace counts */
	__u32 flags; /* enum amb_meta_flag */
};

/* amb_pod: cookie -> a captured pod of this node. */
enum amb_pod_flag {
	AMB_POD_OUTBOUND = 1, /* connect is decided */
	AMB_POD_INBOUND = 2, /* plaintext is judged before it reaches the application */
	AMB_POD_ALWAYS_TUNNEL = 4, /* neither direct nor splice, as source or destination */
	AMB_POD_SPLICE = 8, /* opted in to splice */
	AMB_POD_RULES = 16, /* a CNI's rules capture it: only direct ways are opened past them */
	AMB_POD_FWMARK = 32, /* the agent has switched tcp_fwmark_accept on there */
	AMB_POD_DNS = 64, /* DNS queries by IPv4 go to the agent */
	AMB_POD_DNS6 = 128, /* and by IPv6 */
	AMB_POD_REFLECT = 256, /* the agent has switched fwmark_reflect on there */
	AMB_POD_REFLECT6 = 512, /* and that of IPv6 */
	AMB_POD_WAIT = 1024, /* there is a filter at its loopback interface, for AMB_META_WAIT */
	AMB_POD_CLSACT = 2048, /* the agent has made the queueing discipline there */
	AMB_POD_UNDO = AMB_POD_FWMARK | AMB_POD_REFLECT | AMB_POD_REFLECT6 | AMB_POD_CLSACT,
};

/* Which of a connection's addresses the policies of a pod look at: others are zero in keys. */
enum amb_input {
	AMB_INPUT_SRC = 1,
	AMB_INPUT_DST = 2,
};

struct amb_pod_row {
	__u32 identity; /* number, see amb_ident */
	__u32 flags; /* enum amb_pod_flag */
	__u32 inputs; /* enum amb_input */
	__u32 pad;
	__u64 stamp; /* of the policies that apply: verdicts of another stamp are void */
	struct amb_in6 v4, v6; /* its own addresses; zero: none of that family */
	char name[64]; /* "namespace/pod", cut off: for people */
};

/* amb_addr: address -> what the mesh knows of it. */
enum amb_addr_flag {
	AMB_ADDR_HBONE = 1, /* a workload that speaks HBONE */
	AMB_ADDR_SERVICE = 2, /* a service's address */
	AMB_ADDR_AGENT = 4, /* only the agent can decide (waypoints, several services, ...) */
	AMB_ADDR_PASS = 8, /* a service of mode passthrough */
};

struct amb_addr_row {
	__u64 netns; /* cookie when it is a captured pod of this node, else 0 */
	__u32 identity; /* of such a pod, else 0 */
	__u32 flags; /* enum amb_addr_flag */
};

/* amb_cidr: longest prefix of services that own a range; the agent decides. */
struct amb_cidr_key {
	__u32 bits;
	struct amb_in6 addr;
};

struct amb_cidr_row {
	__u32 flags; /* enum amb_addr_flag */
};

/* amb_svc: address and port of a service all of whose endpoints are captured pods of this node. */
struct amb_svc_key {
	struct amb_in6 addr;
	__u16 port;
	__u16 pad;
};

struct amb_svc_row {
	__u32 number; /* in amb_end */
	__u32 slots; /* an endpoint has as many as its weight says; never 0 */
};

/* amb_end: the endpoints of such a service. */
struct amb_end_key {
	__u32 number;
	__u32 slot;
};

struct amb_end_row {
	struct amb_in6 addr;
	__u16 port;
	__u16 pad;
};

/*
 * amb_policy: verdicts that the agent's policy engine gave. Kept least recently used: a row that
 * fell out is asked for again.
 */
struct amb_policy_key {
	__u64 netns; /* of the destination */
	__u32 identity; /* of the source as the kernel knows it, 0: none (plaintext) */
	__u16 port;
	__u16 pad;
	struct amb_in6 src, dst; /* zero where the destination's inputs do not say otherwise */
};

struct amb_policy_row {
	__u64 stamp; /* of the policies that were asked: must be the pod's */
	__u32 allow;
	enum amb_reason reason;
};

/*
 * amb_flight: connections on their way, from connect() to accept(): what the application asked
 * for, and the proof that a socket of that namespace asked. Least recently used.
 */
struct amb_flight_key {
	__u64 netns; /* of the source */
	struct amb_in6 to; /* where its first packet goes */
	__u16 to_port;
	__u16 from_port;
	__u32 pad;
};

struct amb_flight_row {
	struct amb_in6 src; /* of its first packet */
	struct amb_in6 dst; /* that the application asked for */
	__u16 dst_port;
	__u16 pad;
	enum amb_way way; /* NONE: the agent's own */
};

/* amb_conn: socket cookie -> a live connection that the kernel carries without the agent. */
struct amb_conn_row {
	__u64 netns; /* of the socket */
	__u64 peer; /* namespace of the other end, 0: not a captured pod of this node */
	__u64 start_ns; /* CLOCK_MONOTONIC */
	enum amb_way way;
	__u32 inbound; /* the socket was accepted */
	__u32 src_identity, dst_identity; /* numbers, 0: none */
	struct amb_in6 src, dst, asked; /* asked: what the application asked for */
	__u16 src_port, dst_port, asked_port;
	__u16 pad;
};

/* amb_events: what happened, in order. */
enum amb_event_type {
	AMB_EVENT_OPEN = 1, /* @conn lives */
	AMB_EVENT_CLOSE = 2, /* @conn has ended, bytes are final */
	AMB_EVENT_FAIL = 3, /* @conn never came up */
	AMB_EVENT_DENY = 4, /* @conn was refused: reason */
};

struct amb_event {
	enum amb_event_type type;
	enum amb_reason reason;
	__u64 cookie; /* of the socket; 0 with DENY of an incoming connection */
	__u64 now_ns;
	__u64 to_dst, to_src; /* bytes */
	struct amb_conn_row conn;
};

/*
 * amb_splice (the sockets, for programs only) and amb_spliced: one end of a spliced connection.
 * Least recently used: an end that fell out goes on by TCP.
 */
struct amb_splice_key {
	struct amb_in6 local, remote;
	__u16 local_port, remote_port;
	__u32 pad;
};

struct amb_splice_row {
	__u64 sock; /* the socket itself, to look at what it has not read */
	__u64 moved; /* bytes that this end sent past TCP */
	__u32 by_tcp; /* this end sends by TCP for good */
	__u32 pad;
};

/* amb_ident: number -> SPIFFE identity of a captured pod of this node, cut off. */
struct amb_ident_row {
	char spiffe[256];
};

/* amb_if: index of the host's end of a pod's interface. */
enum amb_if_flag {
	AMB_IF_STRICT = 1, /* only the pod's own addresses may come from it */
	AMB_IF_CLSACT = 2, /* the agent has made the queueing discipline */
	AMB_IF_RULES = 4, /* rules see to what has to be tunnelled: only addresses are guarded */
	AMB_IF_CLSACT_POD = 8, /* as AMB_IF_CLSACT, of the pod's end */
};

struct amb_if_row {
	__u64 netns;
	__u32 flags;
	__u32 inner; /* index of the pod's end, when there is a filter as well; else 0 */
};

/* amb_stat: for each reason (the key) how many connections took which way; per CPU. */
struct amb_stat_row {
	__u64 passthrough, direct, splice, tunnel, deny;
	__u64 dropped; /* packets, or events that found the ring full */
};

/* What amb_ask (a program for BPF_PROG_RUN) is asked and answers: in the packet, whole. */
struct amb_ask {
	__u64 netns; /* of the asking pod */
	struct amb_in6 dst;
	__u16 port;
	__u16 to_port; /* answer */
	enum amb_way way; /* answer, like all below; NONE: left alone */
	enum amb_reason reason;
	struct amb_in6 to; /* where the connection goes instead */
	__u32 pad;
};

_Static_assert(sizeof(struct amb_meta_row) == 16, "ABI");
_Static_assert(sizeof(struct amb_pod_row) == 120, "ABI");
_Static_assert(sizeof(struct amb_addr_row) == 16, "ABI");
_Static_assert(sizeof(struct amb_cidr_key) == 20, "ABI");
_Static_assert(sizeof(struct amb_svc_key) == 20, "ABI");
_Static_assert(sizeof(struct amb_end_row) == 20, "ABI");
_Static_assert(sizeof(struct amb_policy_key) == 48, "ABI");
_Static_assert(sizeof(struct amb_policy_row) == 16, "ABI");
_Static_assert(sizeof(struct amb_flight_key) == 32, "ABI");
_Static_assert(sizeof(struct amb_flight_row) == 40, "ABI");
_Static_assert(sizeof(struct amb_conn_row) == 96, "ABI");
_Static_assert(sizeof(struct amb_event) == 136, "ABI");
_Static_assert(sizeof(struct amb_splice_key) == 40, "ABI");
_Static_assert(sizeof(struct amb_splice_row) == 24, "ABI");
_Static_assert(sizeof(struct amb_stat_row) == 48, "ABI");
_Static_assert(sizeof(struct amb_ask) == 56, "ABI");
_Static_assert(AMB_REASON_MAX <= AMB_STATS_MAX, "every reason has a row");

#endif
