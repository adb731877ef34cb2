/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into an agent: a wall clock that a test can set, by writing seconds into the file
 * AMB_CLOCK_OFFSET names. The machine's clock stays as it is. Timers that want to hear of a set
 * clock (TFD_TIMER_CANCEL_ON_SET) are fired, as the kernel would cancel them.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static atomic_long offset;
static atomic_int listener = -1;

/* By system call: others call these before any constructor of ours could look them up. */
static int real_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
	return syscall(SYS_timerfd_settime, fd, flags, value, old);
}

static void *watch(void *arg)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	const struct itimerspec now = { .it_value.tv_nsec = 1 };
	const char *path = arg;
	sigset_t all;
	long value;
	FILE *f;

	/* The agent takes its signals by descriptor; this thread must not get them. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (;; nanosleep(&pause, NULL)) {
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%ld", &value) == 1 && value != atomic_exchange(&offset, value) &&
		    atomic_load(&listener) >= 0)
			real_settime(atomic_load(&listener), TFD_TIMER_ABSTIME, &now, NULL);
		fclose(f);
	}
	return NULL;
}

__attribute__((constructor)) static void start(void)
{
	char *path = getenv("AMB_CLOCK_OFFSET");
	pthread_t t;

	if (path)
		pthread_create(&t, NULL, watch, path);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int err = syscall(SYS_clock_gettime, id, ts);

	if (!err && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ts->tv_sec += atomic_load(&offset);
	return err;
}

time_t time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t)
		*t = ts.tv_sec;
	return ts.tv_sec;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
	if (flags & TFD_TIMER_CANCEL_ON_SET)
		atomic_store(&listener, fd);
	return real_settime(fd, flags, value, old);
}
