/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * amb-bypass: ways in which a process of a pod may try to get past the capture, or to pass for
 * somebody else. One attempt sends the marker, which no wire may show, and waits for the answer,
 * which tells whom the server saw.
 */
#ifndef AMB_BYPASS_H
#define AMB_BYPASS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BYPASS_MARKER 64 /* bytes of a marker, its end of line included */
#define BYPASS_ANSWER "saw "
#define AGENT_MARK 0x539
#define AGENT_ROUTE_MARK 0x111
#define HBONE_PORT 15008

struct bypass {
	struct sockaddr_storage target; /* where to */
	socklen_t target_len;
	struct sockaddr_storage source; /* whom to pass for; family 0: nobody */
	const char *device; /* the pod's interface */
	const char *netns; /* of the accomplice, or NULL */
	unsigned char mac[6]; /* of the next hop, for those who make frames */
	char marker[BYPASS_MARKER];
	int seconds; /* to wait for anything */
};

/* What became of an attempt. */
struct outcome {
	enum {
		OUTCOME_NONE, /* no answer; err says why, 0 for an end without one */
		OUTCOME_ANSWERED, /* text: the address that the server saw */
		OUTCOME_UNSUPPORTED, /* this kernel cannot; err says why */
	} kind;
	int err;
	char text[INET6_ADDRSTRLEN];
};

struct attempt {
	const char *name;
	/* Returns a connected socket that the marker is to be sent by, or -errno. */
	int (*dial)(const struct bypass *b);
	/* Or does everything itself. */
	void (*run)(const struct bypass *b, struct outcome *o);
};

/* Each ends with an attempt without a name. */
extern const struct attempt bypass_socket[], bypass_packet[];

/* Sends the marker, unless it was sent, and reads the answer. */
void bypass_exchange(const struct bypass *b, int fd, bool sent, struct outcome *o);
/* Reads an answer out of a stream's beginning; returns whether it was one. */
bool bypass_answer(const char *text, size_t n, struct outcome *o);
/* The address of this pod that the target would see, with port 0. 0 or -errno. */
int bypass_own(const struct bypass *b, struct sockaddr_storage *own);
socklen_t bypass_len(const struct sockaddr_storage *ss);

/* connect() by io_uring. 0 or -errno; -ENOSYS where there is none. */
int uring_connect(int fd, const struct sockaddr_storage *to, socklen_t len);

#endif
