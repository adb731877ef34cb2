// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes of a spliced connection: from the sender's sendmsg() into the receiver's queue, past TCP.
 * An object of its own, loaded when a pod opts in: it needs a function of the kernel (6.2) that
 * the others do not, and to applications its sockets are not quite TCP any more (ambientd(8)
 * tells what differs).
 *
 * Order: data that was moved is read before data that came by TCP, so an end may go over from
 * moving to TCP, never back. It does when the other end is not there yet, or has not read so much
 * that the sender would fill the machine's memory: a queue that TCP does not know has no window.
 */
#include "addr.h"
#include "maps.h"

#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

/* Unread bytes of the receiver beyond which TCP, and so its window, takes over. */
#define UNREAD_MAX (256 << 10)

typedef struct {
	int counter;
} atomic_t;

struct sock {
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
} __attribute__((preserve_access_index));

extern void *bpf_rdonly_cast(void *obj, __u32 btf_id) __ksym;

static __always_inline int unread(const struct amb_splice_row *row)
{
	const struct sock *sk =
		bpf_rdonly_cast((void *)(long)row->sock, bpf_core_type_id_kernel(struct sock));

	return sk->sk_backlog.rmem_alloc.counter;
}

static __always_inline void own_key(const struct sk_msg_md *msg, struct amb_splice_key *key)
{
	if (msg->family == AMB_AF_INET) {
		amb_addr_set4(&key->local, msg->local_ip4);
		amb_addr_set4(&key->remote, msg->remote_ip4);
	} else {
		AMB_ADDR_SET6(&key->local, msg->local_ip6);
		AMB_ADDR_SET6(&key->remote, msg->remote_ip6);
	}
	key->local_port = msg->local_port;
	key->remote_port = bpf_ntohl(msg->remote_port);
}

SEC("sk_msg")
int amb_msg(struct sk_msg_md *msg)
{
	struct amb_splice_key key = {}, peer = {};
	struct amb_splice_row *row, *to;
	__u32 size = msg->size;

	own_key(msg, &key);
	row = bpf_map_lookup_elem(&amb_spliced, &key);
	if (!row || row->by_tcp)
		return SK_PASS;
	peer.local = key.remote;
	peer.remote = key.local;
	peer.local_port = key.remote_port;
	peer.remote_port = key.local_port;
	to = bpf_map_lookup_elem(&amb_spliced, &peer);
	if (!to || unread(to) > UNREAD_MAX ||
	    bpf_msg_redirect_hash(msg, &amb_splice, &peer, BPF_F_INGRESS) != SK_PASS)
		row->by_tcp = 1;
	else
		row->moved += size;
	return SK_PASS;
}
