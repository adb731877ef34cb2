/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections that the kernel carries by itself, as telemetry, policy and people see them. Fed by
 * the events of the BPF programs. Main thread.
 */
#ifndef AMB_FLOWS_H
#define AMB_FLOWS_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/flow.h"
#include "proxy/proxy.h"

struct amb_bpf;
struct amb_flows;
struct amb_loop;
struct amb_netns;
struct amb_publish;
struct amb_state;

struct amb_flows_config {
	const struct amb_bpf *bpf;
	struct amb_state *state;
	const struct amb_publish *publish;
	const struct amb_flow_hooks *hooks;
	unsigned int worker; /* that the hooks are told: no thread of the proxy has it */
	/* The namespace of a captured pod by its cookie, NULL when it is gone; borrowed. */
	struct amb_netns *(*netns)(void *ctx, uint64_t cookie);
	/* "ns/name" uid of a captured pod, for lists; NULL when it is gone. */
	const char *(*uid)(void *ctx, uint64_t cookie);
	void *ctx;
};

/* Takes notice of nothing before amb_flows_adopt(). NULL: errno. */
struct amb_flows *amb_flows_create(struct amb_loop *loop, const struct amb_flows_config *config);
/* The state is known: takes over connections that the maps hold already, listens from now on. */
void amb_flows_adopt(struct amb_flows *f);
void amb_flows_destroy(struct amb_flows *f);

/* Reads the events that wait. */
void amb_flows_read(struct amb_flows *f);

/*
 * Policies have changed, and are published: judges what came in by a direct way or in clear, and
 * ends what is now denied.
 */
void amb_flows_rejudge(struct amb_flows *f);

/* Tells the hooks the bytes of live connections: bytes_begin() to bytes_end(). */
void amb_flows_tell_bytes(struct amb_flows *f);

/* Calls @fn for each live connection. */
void amb_flows_each(struct amb_flows *f, void (*fn)(void *ctx, const struct amb_proxy_conn *c),
		    void *ctx);

/* Adds to @out what the kernel counted and what is open. */
void amb_flows_stats(struct amb_flows *f, struct amb_proxy_stats *out);

#endif
