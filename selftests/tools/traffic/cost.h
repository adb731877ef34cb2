/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a measurement costs: CPU of the machine, of this process, and of others. */
#ifndef AMB_TRAFFIC_COST_H
#define AMB_TRAFFIC_COST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_WATCH 16

struct cpu {
	uint64_t wall, self, watch[MAX_WATCH];
	double idle, steal; /* seconds of all CPUs together */
	unsigned long long switches; /* from thread to thread, of the machine */
};

/* Of that clock, in nanoseconds; 0 when there is none such. */
uint64_t clock_value(clockid_t id);

/* CPU of the process @pid is told too. False when there are MAX_WATCH already. */
bool cpu_watch(pid_t pid);

/* Ends the process when /proc/stat cannot be read. */
void cpu_snapshot(struct cpu *c);

/* What was used from @a to @b. */
json_t *cpu_json(const struct cpu *a, const struct cpu *b);

/* CPUs that never go idle from now on: hides what waking a virtual CPU costs. */
void cpu_spin(void);
void cpu_spin_stop(void);

#endif
