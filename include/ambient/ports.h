/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* Ports and marks of the agent's sockets in pods (ztunnel-interop 3.5, 3.7, 4.1). */
#ifndef AMB_PORTS_H
#define AMB_PORTS_H

#define AMB_PORT_OUTBOUND 15001
#define AMB_PORT_INBOUND_PLAIN 15006
#define AMB_PORT_HBONE 15008
#define AMB_PORT_DNS 15053 /* on loopback */

#define AMB_MARK 0x539 /* SO_MARK of every socket in a pod */
#define AMB_ROUTE_MARK 0x111 /* of replies to a spoofed source: routed back to the agent */
#define AMB_ROUTE_MASK 0xfff
#define AMB_DIRECT_MARK 0x13a /* of what passes a CNI's rules: none of the two that they know */

#endif
