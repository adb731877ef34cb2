/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the threads of other processes do: system calls, waits, instructions, CPU. */
#ifndef AMB_TRAFFIC_COUNT_H
#define AMB_TRAFFIC_COUNT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_COUNTED 8

struct counts {
	uint64_t wall, cpu; /* nanoseconds */
	uint64_t calls, waits, instructions;
	uint64_t bytes; /* read by the reader */
};

/* All threads that @pid has at count_start() are counted. False when there are MAX_COUNTED. */
bool count_watch(pid_t pid);

/*
 * What @pid reads is told too: the only way to know, in the middle of a transfer, what has passed
 * all buffers.
 */
void count_reader(pid_t pid);

/* Is anybody? */
bool count_wanted(void);

/*
 * Opens the counters. From now on each system call of the machine is a little dearer, so that
 * what is timed meanwhile is no measure of speed.
 */
void count_start(void);

void count_snapshot(struct counts *c);

/* What was done from @a to @b; null where this machine cannot count it. */
json_t *count_json(const struct counts *a, const struct counts *b);

#endif
