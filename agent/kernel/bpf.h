/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The BPF programs and maps of this node: loaded, pinned, and taken over from the agent before.
 *
 * Everything stands under one directory of a bpffs: maps by their names, links/ with the programs
 * that hang at the root of the cgroups, pods/ with those of single pods. So the kernel goes on
 * with what it knows while no agent runs; the next one exchanges the programs and keeps the maps.
 */
#ifndef AMB_KERNEL_BPF_H
#define AMB_KERNEL_BPF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ambient/rows.h"

#define AMB_BPF_DIR "/sys/fs/bpf/ambient"

enum amb_bpf_map {
	AMB_BPF_META,
	AMB_BPF_POD,
	AMB_BPF_ADDR,
	AMB_BPF_CIDR,
	AMB_BPF_SVC,
	AMB_BPF_END,
	AMB_BPF_POLICY,
	AMB_BPF_FLIGHT,
	AMB_BPF_CONN,
	AMB_BPF_IDENT,
	AMB_BPF_IF,
	AMB_BPF_LISTENER,
	AMB_BPF_SPLICE,
	AMB_BPF_SPLICED,
	AMB_BPF_STAT,
	AMB_BPF_EVENTS,
	AMB_BPF_MAPS,
};

enum amb_bpf_prog {
	AMB_BPF_ASK,
	AMB_BPF_FROM_POD,
	AMB_BPF_TO_POD,
	AMB_BPF_LOOKUP,
	AMB_BPF_LO,
	AMB_BPF_PROGS,
};

/* Descriptors belong to the object; any thread may use them. */
struct amb_bpf {
	int map[AMB_BPF_MAPS];
	int prog[AMB_BPF_PROGS];
	int dir; /* locked: one agent at a time */
	char *path;
	bool adopted; /* the rows are those of an agent before */
	bool wait; /* as the config said */
};

struct amb_bpf_config {
	const char *dir; /* of the pins; its bpffs is mounted where there is none */
	const char *cgroup; /* root of cgroup v2; NULL: looked for */
	bool wait; /* what needs an agent waits while none runs, else it is refused */
};

/*
 * Loads the programs and hangs them up, with fresh maps or those that are pinned; every verdict
 * of an earlier agent is void then. NULL with errno and a sentence in @err: EPROTO when the pins
 * are of a version that this agent cannot read, EBUSY when another agent has them.
 */
struct amb_bpf *amb_bpf_open(const struct amb_bpf_config *config, char *err, size_t errlen);

/* Lets go. With @keep all stays in the kernel for the next agent, else all is removed. */
void amb_bpf_close(struct amb_bpf *b, bool keep);

/*
 * What is pinned in @dir, without programs: to read the maps, or to remove it all by
 * amb_bpf_close(). NULL: errno, ENOENT when there is nothing, EBUSY while an agent has it.
 */
struct amb_bpf *amb_bpf_find(const char *dir);

/*
 * The same for who captures by other means, and lets go of the pods in there one by one: no verdict
 * is good any more, so what they do not let go needs an agent and is refused. NULL with errno and a
 * sentence in @err, as amb_bpf_open(); ENOENT when there is nothing.
 */
struct amb_bpf *amb_bpf_inherit(const char *dir, char *err, size_t errlen);

/* Asks the decision program. @ask is question and answer. 0; -ENOENT: no such pod; or -errno. */
int amb_bpf_ask(const struct amb_bpf *b, struct amb_ask *ask);

#endif
