// SPDX-License-Identifier: GPL-2.0-or-later
/* What all parts of amb-traffic use. */
#include "base.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREAD_STACK (128u << 10)

void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	fprintf(stderr, "amb-traffic: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(err));
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void sleep_ns(uint64_t ns)
{
	struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

bool retry_again;

ssize_t read_some(int fd, char *buf, size_t n)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t r;

	for (;;) {
		r = read(fd, buf, n);
		if (r >= 0 || (errno != EINTR && !(errno == EAGAIN && retry_again)))
			return r;
		if (errno == EAGAIN)
			poll(&p, 1, -1);
	}
}

int read_all(int fd, char *buf, size_t n)
{
	size_t got = 0;
	ssize_t r;

	while (got < n) {
		r = read_some(fd, buf + got, n - got);
		if (r <= 0) {
			if (!r)
				errno = ECONNRESET;
			return -1;
		}
		got += r;
	}
	return 0;
}

int write_all(int fd, const char *buf, size_t n)
{
	ssize_t r;

	while (n) {
		r = write(fd, buf, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		buf += r;
		n -= r;
	}
	return 0;
}

void start_thread(pthread_t *t, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	err = pthread_create(t, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	if (err) {
		errno = err;
		die("thread");
	}
}
