/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * amb-behave: what a TCP socket does, seen by the two applications at its ends.
 *
 *   client's pod                                             server's pod
 *   director ---- socket pair ---- near worker == data ==== far worker
 *       `------------------- control connection --------------'
 *
 * A worker owns one end of a data connection and executes one request after the other; the
 * director tells both ends what to do, so a behaviour reads as one script. A request that blocks
 * (a recv) is begun, the other end made to act, and then its reply awaited.
 */
#ifndef AMB_BEHAVE_H
#define AMB_BEHAVE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKER_BUFFER (1u << 20) /* of one send or recv at most */
#define WORKER_WAIT_MS 15000 /* how long a worker waits for a condition */
#define DIRECTOR_WAIT_S 20 /* how long the director waits for a reply, by default */
#define FILL_LIMIT (64u << 20) /* what a connection without a reader may take */

enum op {
	/* Making connections. */
	OP_SOCKET, /* towards the server's host */
	OP_BIND, /* to a free port of the own address; returns it */
	OP_CONNECT, /* port, nonblocking */
	OP_DISCONNECT, /* connect to AF_UNSPEC */
	OP_FASTOPEN, /* port, bytes: sendto with MSG_FASTOPEN */
	OP_PORT, /* which the listener is to have; else it is one that is free */
	OP_LISTEN, /* returns the port, which is the same every time */
	OP_UNLISTEN, /* returns the port, which nobody listens on now */
	OP_ACCEPT, /* flags; values: O_NONBLOCK, FD_CLOEXEC */
	OP_CLOSE,
	OP_RESET, /* close with linger 0 */
	OP_SHUTDOWN, /* how */
	OP_NAMES, /* fills the reply's names */
	OP_SOURCE, /* fills local with the address that this host would use */

	/* Options; of the listener as long as there is no connection. */
	OP_SET, /* level, option, value */
	OP_GET, /* level, option; returns the value */
	OP_TIMEOUT, /* SO_RCVTIMEO or SO_SNDTIMEO, ms */
	OP_LINGER, /* seconds */
	OP_TCP_INFO, /* values: see enum info */

	/* Bytes. All are the stream's pattern; what does not fit it is -EBADMSG. */
	OP_SEND, /* bytes, flags: one call */
	OP_SEND_ALL, /* bytes, bytes a call; value: how many before an error */
	OP_SEND_VECTOR, /* bytes, pieces: one call */
	OP_SEND_CORKED, /* pieces of 10 bytes, use MSG_MORE; returns data segments */
	OP_SEND_FILE, /* bytes */
	OP_SEND_SPLICE, /* bytes, from a pipe */
	OP_SEND_ZEROCOPY, /* bytes; value: the origin of the completion */
	OP_SEND_CHILD, /* bytes, enum child: another process sends */
	OP_RECV, /* bytes, flags: one call */
	OP_RECV_ALL, /* bytes: until so many, the end, or an error */
	OP_RECV_VECTOR, /* bytes, pieces: one call with MSG_WAITALL */
	OP_RECV_SPLICE, /* bytes, into a pipe; until so many or the end */
	OP_RECV_URGENT, /* one byte, MSG_OOB; returns it */
	OP_DUPLEX, /* bytes each way at once */
	OP_FILL, /* sends until the connection takes no more; returns bytes */

	/* Waiting. */
	OP_IOCTL, /* request; returns the int it gives */
	OP_WAIT_IOCTL, /* request, value: until it gives that; returns what it gives */
	OP_WAIT_SEGMENTS, /* until the connection has sent so many segments; returns them */
	OP_POLL, /* events, ms; returns what poll reports */
	OP_WAIT_POLL, /* events, mask: until poll reports all of the mask */
	OP_EPOLL_ADD, /* events */
	OP_EPOLL, /* ms; returns the number of events, value: which */
	OP_SIGPIPES, /* how many there were */
	OP_MAX,
};

enum info { INFO_STATE, INFO_SENT, INFO_RECEIVED, INFO_ACKED, INFO_SEGMENTS, INFO_DATA_SEGMENTS };
enum child { CHILD_FORKED, CHILD_PASSED, CHILD_DUP };

struct request {
	int64_t op, arg[3];
};

struct name {
	struct in6_addr address; /* IPv4 mapped */
	int64_t port;
};

struct reply {
	int64_t ret; /* or -errno */
	int64_t ms; /* that it took */
	int64_t value[6];
	struct name local, peer;
};

/* What workers of this process connect to; the port is the request's. */
extern struct sockaddr_storage worker_target;

/* Serves the requests that come from @control until it ends, then ends the process. */
_Noreturn void worker_run(int control);

/* --- the director's side --- */

struct end {
	const char *label;
	int control;
	bool dead; /* did not reply in time */
	struct reply reply; /* of the last request */
};

struct duo {
	struct end near, far;
	struct end *a, *b; /* a is the one whose behaviour is looked at */
	int64_t port; /* of the far end's listener */
	char failure[320];
};

/* Sends a request; the reply is to be awaited before the next one. */
void end_begin(struct end *e, const int64_t request[4]);
/* Returns the reply's value: what the call returned, or -errno; -ETIME without a reply. */
int64_t end_await(struct end *e);

/* ask(end, OP_..., arguments): begin and await. */
#define begin(e, ...) end_begin(e, (const int64_t[4]){ __VA_ARGS__ })
#define ask(e, ...) (begin(e, __VA_ARGS__), end_await(e))

/* Connects near and far; failures are noted. Returns whether it worked. */
bool duo_connect(struct duo *d);
/* The listener that duo_connect uses, so that options can be set on it before. */
bool duo_listen(struct duo *d);
/* Notes the first failure. */
void duo_fail(struct duo *d, const char *what, int64_t got, const char *relation, int64_t wanted);

/* Each ends the behaviour when it does not hold. */
#define EXPECT_(d, text, got, op, wanted)                                                          \
	do {                                                                                       \
		int64_t got_ = (got), wanted_ = (wanted);                                          \
		if (!(got_ op wanted_)) {                                                          \
			duo_fail(d, text, got_, #op, wanted_);                                     \
			return;                                                                    \
		}                                                                                  \
	} while (0)
#define EXPECT(d, got, op, wanted) EXPECT_(d, #got, got, op, wanted)
#define EXPECT_EQ(d, got, wanted) EXPECT_(d, #got, got, ==, wanted)

struct behaviour {
	const char *name;
	void (*run)(struct duo *d);
	enum {
		BOTH_ENDS, /* run twice: the connecting and the accepted socket are looked at */
		ONE_END, /* only the connecting one */
		BOTH_OWN, /* as BOTH_ENDS, but the behaviour connects by itself */
		ONE_OWN,
	} kind;
};

/* Each ends with a behaviour without a name. */
extern const struct behaviour behave_open[], behave_data[], behave_wait[], behave_end[];

#endif
