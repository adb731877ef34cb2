/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What threads do, by the kernel's own counters: each has an event that counts the tracepoint of
 * entering a system call, and one for instructions, which virtual CPUs often have not; waits are
 * the switches that a thread asked for. Nothing is sampled.
 */
#include "count.h"
#include "cost.h"

#include <dirent.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_TASKS 256
#define TRACEPOINT "events/raw_syscalls/sys_enter/id"

struct task {
	pid_t pid, tid;
	int calls, instructions; /* events */
};

static pid_t counted[MAX_COUNTED];
static int ncounted;
static pid_t reader;
static struct task tasks[MAX_TASKS];
static int ntasks;
static bool has_calls, has_instructions;

bool count_watch(pid_t pid)
{
	if (ncounted == MAX_COUNTED)
		return false;
	counted[ncounted++] = pid;
	return true;
}

void count_reader(pid_t pid)
{
	reader = pid;
}

bool count_wanted(void)
{
	return ncounted > 0;
}

/* The tracepoint's number, or -1. */
static long long tracepoint(void)
{
	static const char *const where[] = { "/sys/kernel/tracing/" TRACEPOINT,
					     "/sys/kernel/debug/tracing/" TRACEPOINT };
	long long id = -1;
	FILE *f;

	for (int i = 0; i < 2 && id < 0; i++) {
		f = fopen(where[i], "re");
		if (!f)
			continue;
		if (fscanf(f, "%lld", &id) != 1)
			id = -1;
		fclose(f);
	}
	return id;
}

static int event(uint32_t type, uint64_t config, pid_t tid)
{
	struct perf_event_attr attr = { .type = type, .size = sizeof(attr), .config = config };

	return syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static void add_task(pid_t pid, pid_t tid, long long calls)
{
	struct task *t = &tasks[ntasks];

	if (ntasks == MAX_TASKS) {
		fprintf(stderr, "amb-traffic: more than %d threads to count\n", MAX_TASKS);
		exit(1);
	}
	t->pid = pid;
	t->tid = tid;
	t->calls = calls < 0 ? -1 : event(PERF_TYPE_TRACEPOINT, calls, tid);
	t->instructions = event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, tid);
	has_calls &= t->calls >= 0;
	has_instructions &= t->instructions >= 0;
	ntasks++;
}

void count_start(void)
{
	long long calls = tracepoint();
	struct dirent *e;
	char path[64];
	DIR *d;

	has_calls = has_instructions = true;
	for (int i = 0; i < ncounted; i++) {
		snprintf(path, sizeof(path), "/proc/%d/task", counted[i]);
		d = opendir(path);
		if (!d) {
			fprintf(stderr, "amb-traffic: no process %d\n", counted[i]);
			exit(1);
		}
		while ((e = readdir(d)))
			if (*e->d_name != '.')
				add_task(counted[i], atoi(e->d_name), calls);
		closedir(d);
	}
}

static uint64_t event_value(int fd)
{
	uint64_t v;

	return fd >= 0 && read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

/* The number that follows @name, which is a line's beginning in the file @path; or 0. */
static uint64_t value_in(const char *path, const char *name)
{
	size_t len = strlen(name);
	uint64_t v = 0;
	char line[256];
	FILE *f;

	f = fopen(path, "re");
	if (!f)
		return 0;
	while (!v && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len))
			v = strtoull(line + len, NULL, 10);
	fclose(f);
	return v;
}

static uint64_t waits(const struct task *t)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", t->pid, t->tid);
	return value_in(path, "voluntary_ctxt_switches:");
}

static uint64_t bytes_read(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/io", reader);
	return reader ? value_in(path, "rchar:") : 0;
}

void count_snapshot(struct counts *c)
{
	clockid_t id;

	memset(c, 0, sizeof(*c));
	c->bytes = bytes_read();
	c->wall = clock_value(CLOCK_MONOTONIC);
	for (int i = 0; i < ncounted; i++)
		if (!clock_getcpuclockid(counted[i], &id))
			c->cpu += clock_value(id);
	for (int i = 0; i < ntasks; i++) {
		c->calls += event_value(tasks[i].calls);
		c->instructions += event_value(tasks[i].instructions);
		c->waits += waits(&tasks[i]);
	}
}

static json_t *difference(bool known, uint64_t a, uint64_t b)
{
	return known ? json_integer(b - a) : json_null();
}

json_t *count_json(const struct counts *a, const struct counts *b)
{
	double cpus = sysconf(_SC_NPROCESSORS_ONLN), wall = (b->wall - a->wall) / 1e9;
	json_t *o = json_object();

	json_object_set_new(o, "wall_s", json_real(wall));
	json_object_set_new(o, "calls", difference(has_calls, a->calls, b->calls));
	json_object_set_new(o, "waits", difference(true, a->waits, b->waits));
	json_object_set_new(o, "instructions",
			    difference(has_instructions, a->instructions, b->instructions));
	json_object_set_new(o, "bytes", json_integer(b->bytes - a->bytes));
	json_object_set_new(o, "machine_share", json_real((b->cpu - a->cpu) / 1e9 / wall / cpus));
	return o;
}
