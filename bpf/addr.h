/* SPDX-License-Identifier: GPL-2.0 */
/* Addresses of 16 bytes, taken from what contexts and packets hold. */
#ifndef AMB_BPF_ADDR_H
#define AMB_BPF_ADDR_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "ambient/rows.h"

#define AMB_AF_INET 2
#define AMB_AF_INET6 10
#define AMB_TCP 6
#define AMB_UDP 17
#define AMB_MPTCP 262
#define AMB_SOCK_STREAM 1
#define AMB_SOCK_DGRAM 2

/* Words are in network order, as contexts and packets have them. */
static __always_inline void amb_addr_set4(struct amb_in6 *a, __u32 ip4)
{
	__u32 *w = (__u32 *)a;

	w[0] = w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = ip4;
}

/*
 * From four words of a context. Contexts are read a word at a time, or the verifier refuses the
 * program; without volatile the compiler makes one read of two.
 */
#define AMB_WORD(x) (*(volatile __u32 *)&(x))
#define AMB_LONG(x) (*(volatile __u64 *)&(x))
#define AMB_ADDR_SET6(a, words)                                                                    \
	do {                                                                                       \
		__u32 *w_ = (__u32 *)(a);                                                          \
		w_[0] = AMB_WORD((words)[0]);                                                      \
		w_[1] = AMB_WORD((words)[1]);                                                      \
		w_[2] = AMB_WORD((words)[2]);                                                      \
		w_[3] = AMB_WORD((words)[3]);                                                      \
	} while (0)

static __always_inline bool amb_addr_is4(const struct amb_in6 *a)
{
	const __u32 *w = (const __u32 *)a;

	return !w[0] && !w[1] && w[2] == bpf_htonl(0xffff);
}

static __always_inline bool amb_addr_same(const struct amb_in6 *a, const struct amb_in6 *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline bool amb_addr_any(const struct amb_in6 *a)
{
	const __u32 *w = (const __u32 *)a;

	return !w[0] && !w[1] && (!w[2] || w[2] == bpf_htonl(0xffff)) && !w[3];
}

/* 127.0.0.0/8 and ::1. */
static __always_inline bool amb_addr_loopback(const struct amb_in6 *a)
{
	const __u32 *w = (const __u32 *)a;

	if (amb_addr_is4(a))
		return a->b[12] == 127;
	return !w[0] && !w[1] && !w[2] && w[3] == bpf_htonl(1);
}

static __always_inline bool amb_addr_linklocal6(const struct amb_in6 *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/* kubelet's probes, after the host's translation (ztunnel-interop 3.7). */
static __always_inline bool amb_addr_probe(const struct amb_in6 *a)
{
	const __u32 *w = (const __u32 *)a;

	if (amb_addr_is4(a))
		return w[3] == bpf_htonl(0xa9fe077f);
	return w[0] == bpf_htonl(0xfd169254) && w[1] == bpf_htonl(0x71271337) &&
	       w[2] == 0xffffffff && w[3] == 0xffffffff;
}

static __always_inline bool amb_addr_own_port(__u16 port)
{
	return port == AMB_PORT_OUTBOUND || port == AMB_PORT_INBOUND_PLAIN ||
	       port == AMB_PORT_HBONE;
}

#endif
