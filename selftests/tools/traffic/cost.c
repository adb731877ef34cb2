/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a measurement costs. */
#include "cost.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_CPUS 64
#define SPIN_STACK (128u << 10)

static pid_t watched[MAX_WATCH];
static int nwatched;

static atomic_bool spin_stop;
static pthread_t spinner[MAX_CPUS];
static int spinners;

bool cpu_watch(pid_t pid)
{
	if (nwatched == MAX_WATCH)
		return false;
	watched[nwatched++] = pid;
	return true;
}

uint64_t clock_value(clockid_t id)
{
	struct timespec t;

	if (clock_gettime(id, &t))
		return 0;
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t spinners_ns(void)
{
	uint64_t sum = 0;
	clockid_t id;

	for (int i = 0; i < spinners; i++)
		if (!pthread_getcpuclockid(spinner[i], &id))
			sum += clock_value(id);
	return sum;
}

void cpu_snapshot(struct cpu *c)
{
	double ticks = sysconf(_SC_CLK_TCK);
	unsigned long long v[8];
	char line[256];
	clockid_t id;
	FILE *f;

	memset(c, 0, sizeof(*c));
	f = fopen("/proc/stat", "re");
	if (!f || fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3,
			 v + 4, v + 5, v + 6, v + 7) != 8) {
		fprintf(stderr, "amb-traffic: /proc/stat cannot be read\n");
		exit(1);
	}
	while (fgets(line, sizeof(line), f) && sscanf(line, "ctxt %llu", &c->switches) != 1)
		;
	fclose(f);
	c->wall = clock_value(CLOCK_MONOTONIC);
	c->idle = (v[3] + v[4]) / ticks;
	c->steal = v[7] / ticks;
	/* Time that spinners burnt is idle time that they kept awake. */
	c->self = clock_value(CLOCK_PROCESS_CPUTIME_ID) - spinners_ns();
	c->idle += spinners_ns() / 1e9;
	for (int i = 0; i < nwatched; i++)
		if (!clock_getcpuclockid(watched[i], &id))
			c->watch[i] = clock_value(id);
}

json_t *cpu_json(const struct cpu *a, const struct cpu *b)
{
	double wall = (b->wall - a->wall) / 1e9, cpus = sysconf(_SC_NPROCESSORS_ONLN), known;
	double machine = wall * cpus - (b->idle - a->idle) - (b->steal - a->steal);
	json_t *o = json_object(), *w = json_array();

	known = (b->self - a->self) / 1e9;
	for (int i = 0; i < nwatched; i++) {
		double s = (b->watch[i] - a->watch[i]) / 1e9;

		known += s;
		json_array_append_new(w, json_real(s));
	}
	json_object_set_new(o, "wall_s", json_real(wall));
	json_object_set_new(o, "machine_cpu_s", json_real(machine));
	json_object_set_new(o, "machine_switches", json_integer(b->switches - a->switches));
	json_object_set_new(o, "self_cpu_s", json_real((b->self - a->self) / 1e9));
	json_object_set_new(o, "watch_cpu_s", w);
	json_object_set_new(o, "steal_s", json_real(b->steal - a->steal));
	/* Share of the machine that neither this process nor a watched one used. */
	json_object_set_new(o, "foreign", json_real((machine - known) / (wall * cpus)));
	return o;
}

static void *spin_thread(void *arg)
{
	struct sched_param p = { 0 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((intptr_t)arg, &set);
	sched_setaffinity(0, sizeof(set), &set);
	sched_setscheduler(0, SCHED_IDLE, &p);
	while (!atomic_load_explicit(&spin_stop, memory_order_relaxed))
		;
	return NULL;
}

void cpu_spin(void)
{
	int n = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, SPIN_STACK);
	for (; spinners < n && spinners < MAX_CPUS; spinners++) {
		if (pthread_create(&spinner[spinners], &attr, spin_thread,
				   (void *)(intptr_t)spinners))
			break;
	}
	pthread_attr_destroy(&attr);
}

void cpu_spin_stop(void)
{
	atomic_store(&spin_stop, true);
	for (int i = 0; i < spinners; i++)
		pthread_join(spinner[i], NULL);
}
