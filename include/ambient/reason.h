/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* Ways a connection can take and the reasons for them: shared by BPF and agent. */
#ifndef AMB_REASON_H
#define AMB_REASON_H

/* Numbers are an ABI (pinned maps, events): append only. */
#define AMB_WAYS(X)                                                                                \
	X(0, NONE, "none")                                                                         \
	X(1, PASSTHROUGH, "passthrough")                                                           \
	X(2, DIRECT, "direct")                                                                     \
	X(3, SPLICE, "splice")                                                                     \
	X(4, TUNNEL, "tunnel")                                                                     \
	X(5, DENY, "deny")

/*
 * Why a connection took its way, or why it was refused. The text is what
 * `ambientctl why`, the access log and the counters show.
 */
#define AMB_REASONS(X)                                                                             \
	X(0, NONE, "none")                                                                         \
	X(1, NOT_IN_MESH, "destination is not in the mesh")                                        \
	X(2, WORKLOAD, "destination is a workload of the mesh")                                    \
	X(3, SERVICE, "destination is a service of the mesh")                                      \
	X(4, WORKLOAD_WAYPOINT, "destination workload has a waypoint")                             \
	X(5, SERVICE_WAYPOINT, "destination service has a waypoint")                               \
	X(6, REMOTE_NETWORK, "destination is on another network")                                  \
	X(7, PLAIN_WORKLOAD, "destination workload does not speak HBONE")                          \
	X(8, SERVICE_PASSTHROUGH, "service is of mode passthrough")                                \
	X(9, OWN_WAYPOINT, "source is the waypoint of the destination")                            \
	X(10, NO_ENDPOINT, "no healthy upstream")                                                  \
	X(11, NO_WAYPOINT, "unknown waypoint")                                                     \
	X(12, NO_GATEWAY, "no valid destination: network gateway unknown")                         \
	X(13, NO_PORT, "service port cannot be mapped")                                            \
	X(14, NO_ADDRESS, "workload has no address")                                               \
	X(15, NO_SOURCE, "source workload unknown")                                                \
	X(16, LOOP, "destination is a port of the proxy itself")                                   \
	X(17, BAD_AUTHORITY, "authority is missing or cannot be read")                             \
	X(18, WRONG_ADDRESS, "authority does not belong to this workload")                         \
	X(19, UNKNOWN_HOST, "hostname unknown")                                                    \
	X(20, POLICY_DENY, "explicitly denied by policy")                                          \
	X(21, POLICY_NOT_ALLOWED, "not allowed by any policy")                                     \
	X(22, POLICY_ALLOW, "allowed by policy")                                                   \
	X(23, POLICY_NONE, "no policy applies")                                                    \
	X(24, NO_CERT, "no certificate for the identity")                                          \
	X(25, PEER_IDENTITY, "peer identity does not match")                                       \
	X(26, TLS, "TLS handshake failed")                                                         \
	X(27, H2, "HTTP/2 error")                                                                  \
	X(28, CONNECT, "connection to the destination failed")                                     \
	X(29, CONNECT_STATUS, "tunnel was refused by the peer")                                    \
	X(30, TIMEOUT, "connection timed out")                                                     \
	X(31, DRAIN, "connection failed to drain within the timeout")                              \
	X(32, LIMIT, "a limit of the proxy was reached")                                           \
	X(33, POD_GONE, "the pod went away")                                                       \
	X(34, POLICY_CHANGE, "connection closed due to policy change")                             \
	X(35, NOT_CONNECT, "method is not CONNECT")                                                \
	X(36, NO_DESTINATION, "local workload unknown")                                            \
	X(37, RESET, "connection was reset")                                                       \
	X(38, INTERNAL, "internal error")                                                          \
	X(39, CERT_EXPIRED, "certificate of the peer expired")                                     \
	X(40, MEMORY, "out of memory")                                                             \
	X(41, BYPASS, "connection was not decided when it began")                                  \
	X(42, SPOOFED, "source address is not the pod's own")                                      \
	X(43, NO_VERDICT, "the kernel has no verdict yet")                                         \
	X(44, ALWAYS_TUNNEL, "direct ways are switched off")                                       \
	X(45, UNKNOWN_ADDRESS, "not an address that the pod is known by")                          \
	X(46, EVENTS_LOST, "events that the agent did not take in time")                           \
	X(47, NOT_TOLD, "the control plane does not say what the destination is")                  \
	X(48, CERT_REVOKED, "certificate of the peer was revoked")                                 \
	X(49, REKEY, "the peer changed its key, which kernel TLS here cannot follow")              \
	X(50, ABSENT, "no agent runs, so the connection waits")

#define AMB_X(n, id, text) AMB_WAY_##id = n,
enum amb_way { AMB_WAYS(AMB_X) AMB_WAY_MAX };
#undef AMB_X
#define AMB_X(n, id, text) AMB_REASON_##id = n,
enum amb_reason { AMB_REASONS(AMB_X) AMB_REASON_MAX };
#undef AMB_X

_Static_assert(AMB_WAY_MAX == 6, "ways are numbered without gaps");
_Static_assert(AMB_REASON_MAX == 51, "reasons are numbered without gaps");

#endif
