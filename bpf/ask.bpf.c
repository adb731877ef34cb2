// SPDX-License-Identifier: GPL-2.0
/*
 * For BPF_PROG_RUN only: the decision without a socket, and who the agent is. The question and
 * the answer are one struct amb_ask, which stands in the packet behind an Ethernet header.
 */
#include "decide.h"

char LICENSE[] SEC("license") = "GPL";

#define OFFSET 14
#define OK 0
#define BAD 1

SEC("tc")
int amb_ask(struct __sk_buff *skb)
{
	struct amb_pod_row *pod;
	struct amb_ask ask;
	struct amb_choice c;

	if (bpf_skb_load_bytes(skb, OFFSET, &ask, sizeof(ask)))
		return BAD;
	pod = bpf_map_lookup_elem(&amb_pod, &ask.netns);
	if (!pod)
		return BAD;
	amb_decide(pod, ask.netns, &ask.dst, ask.port, &c);
	ask.way = c.way;
	ask.reason = c.reason;
	ask.to = c.to;
	ask.to_port = c.to_port;
	return bpf_skb_store_bytes(skb, OFFSET, &ask, sizeof(ask), 0) ? BAD : OK;
}

/* The caller's process as the kernel's first PID namespace counts; the agent cannot see that. */
SEC("syscall")
int amb_whoami(void *ctx)
{
	(void)ctx;
	return bpf_get_current_pid_tgid() >> 32;
}
