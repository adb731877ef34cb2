/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Everything that agents have left in the kernel, taken away. */
#ifndef AMB_UNINSTALL_H
#define AMB_UNINSTALL_H

#include <stdbool.h>
#include <stdint.h>

struct amb_bpf;

struct amb_uninstall {
	unsigned int pods; /* namespaces that were captured by programs */
	unsigned int unseen; /* of them, those that were not found */
	unsigned int rules; /* namespaces that had our rules of nftables */
	unsigned int tunnels; /* that hbone.ko carried */
	int pins; /* 1: programs and maps were removed, 0: there were none */
};

/*
 * Removes programs and maps pinned in @dir, and from the network namespaces that can be found
 * (those with a name and those of processes) what agents put there. 0, -EBUSY while an agent runs
 * that has @dir, or -errno of the first thing that failed; the rest is tried all the same.
 */
int amb_uninstall(const char *dir, struct amb_uninstall *out);

/*
 * After a take-over: sets pods free that @wanted does not know, in the namespaces that can be
 * found, as above. What of them is outside is for amb_attach_sweep(). Leaves the thread anywhere.
 */
void amb_uninstall_unwanted(const struct amb_bpf *b, bool (*wanted)(void *ctx, uint64_t cookie),
			    void *ctx);

#endif
