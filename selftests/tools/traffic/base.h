/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all parts of amb-traffic use: how they end, time, whole buffers, threads. */
#ifndef AMB_TRAFFIC_BASE_H
#define AMB_TRAFFIC_BASE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Ends the process; errno is told. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t now_ns(void);
void sleep_ns(uint64_t ns);

/*
 * As read(), but goes on after a signal; with retry_again also where a blocking socket says EAGAIN,
 * as a spliced one does when the other side ends (ambientd(8), SPLICE).
 */
extern bool retry_again;
ssize_t read_some(int fd, char *buf, size_t n);

/* All or nothing: 0, or -1 with errno; an end that came too early is ECONNRESET. */
int read_all(int fd, char *buf, size_t n);
int write_all(int fd, const char *buf, size_t n);

/* With a small stack: there are many. */
void start_thread(pthread_t *t, void *(*fn)(void *), void *arg);

#endif
