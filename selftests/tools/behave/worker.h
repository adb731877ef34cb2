/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a worker of amb-behave is made of; see behave.h for what can be asked of it. */
#ifndef AMB_BEHAVE_WORKER_H
#define AMB_BEHAVE_WORKER_H

#include "behave.h"

#include <sys/socket.h>

struct worker {
	int fd; /* the connection, or -1 */
	int listener, epoll;
	int port; /* the listener's; kept when it is closed */
	uint64_t sent, received; /* where in the pattern each direction is */
	char *buf; /* WORKER_BUFFER */
	struct sockaddr_storage source; /* of OP_SOURCE */
};

int64_t worker_now_ms(void);
/* Waits for a moment before a condition is looked at again. */
void worker_step(void);
/* A system call's return value, or -errno. */
int64_t worker_result(int64_t ret);
/* Bytes @at and following of the pattern that every stream consists of. */
void worker_pattern(char *buf, uint64_t at, size_t n);

int64_t worker_tcp_info(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_poll(struct worker *w, const int64_t *arg, struct reply *r);

/* bytes.c: the operation of the same name each. */
int64_t worker_send(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_send_all(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_send_vector(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_send_corked(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_send_file(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_send_splice(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_send_zerocopy(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_send_child(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_recv(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_recv_all(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_recv_vector(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_recv_splice(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_recv_urgent(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_duplex(struct worker *w, const int64_t *arg, struct reply *r);
int64_t worker_fill(struct worker *w, const int64_t *arg, struct reply *r);

#endif
