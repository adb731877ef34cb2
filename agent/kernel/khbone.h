/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hbone.ko, for one thread: requests and events of include/uapi/linux/hbone.h. Connections handed
 * over belong to this object; without it, or without the agent, they live on in the kernel.
 */
#ifndef AMB_KHBONE_H
#define AMB_KHBONE_H

#include <linux/hbone.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct amb_khbone;

/*
 * Of the calling thread's network namespace. NULL: errno, ENOENT without the module,
 * EPROTONOSUPPORT where it is of another version.
 */
struct amb_khbone *amb_khbone_create(void);
void amb_khbone_destroy(struct amb_khbone *k);

/* Whether the module is there, and speaks our version. 0 or -errno as above. */
int amb_khbone_probe(void);

/* A connection to be handed over; see HBONE_CMD_CONN_ADD. */
struct amb_khbone_conn {
	int fd;
	bool server;
	uint32_t window, max_frame, max_streams; /* what we told the peer */
	uint32_t peer_window, peer_streams; /* what it told us */
	int32_t send_window, recv_window;
	uint32_t last_local, last_peer;
	const void *input; /* read from the socket, and not looked at */
	size_t input_len; /* at most HBONE_INPUT_MAX */
};

/* All return 0 or -errno, as the module says; none waits for a peer. */
int amb_khbone_add(struct amb_khbone *k, const struct amb_khbone_conn *c, uint32_t *id);
/* GOAWAY; @final: streams that the peer opens from now on are refused. */
int amb_khbone_drain(struct amb_khbone *k, uint32_t id, bool final);
/* -ENOENT when the module does not have it any more. */
int amb_khbone_alive(struct amb_khbone *k, uint32_t id);
int amb_khbone_del(struct amb_khbone *k, uint32_t id, uint32_t code);
/* Gives stream its application's socket; @note (of @n bytes, may be none) stays with it. */
int amb_khbone_attach(struct amb_khbone *k, uint32_t id, uint32_t stream, int fd, const void *note,
		      size_t n);
int amb_khbone_reset(struct amb_khbone *k, uint32_t id, uint32_t stream, uint32_t code);
/* Payload so far: from the peer, and to it. */
int amb_khbone_bytes(struct amb_khbone *k, uint32_t id, uint32_t stream, uint64_t *rx,
		     uint64_t *tx);
/* One whole header block, as frames. */
int amb_khbone_send(struct amb_khbone *k, uint32_t id, const void *frames, size_t n);
/*
 * The oldest header frame that waits, into @frame of @room bytes; *@refused: its stream was, only
 * HPACK wants it. Its length, or -errno, -EAGAIN when none waits.
 */
ssize_t amb_khbone_recv(struct amb_khbone *k, uint32_t id, void *frame, size_t room, bool *refused);

/* Makes the caller the owner of a connection that lost its own. */
int amb_khbone_own(struct amb_khbone *k, uint32_t id);

/* A stream that an owner left behind. */
struct amb_khbone_orphan {
	uint32_t conn, stream;
	bool server; /* the peer opened it */
	bool attached; /* it has its application */
	uint64_t rx_bytes, tx_bytes;
	const void *note; /* valid during the call; NULL: none */
	size_t note_len;
};
/*
 * Calls @fn for each stream of connections without an owner. 0 or -errno; then some may have been
 * told. @fn must not ask @k for anything.
 */
int amb_khbone_orphans(struct amb_khbone *k,
		       int (*fn)(void *ctx, const struct amb_khbone_orphan *o), void *ctx);

/* Ends connections without an owner; *@n: how many. 0, also without the module, or -errno. */
int amb_khbone_remove_orphans(unsigned int *n);

/* What happened, by HBONE_CMD_*; fields that it does not tell are 0. */
struct amb_khbone_event {
	uint8_t cmd;
	uint32_t conn, stream;
	uint32_t reason, error; /* enum hbone_reason; HTTP/2 code */
	uint32_t last; /* GOAWAY */
	int err; /* -errno of the socket */
	uint64_t rx_bytes, tx_bytes;
};

/* Readable when there are events. */
int amb_khbone_fd(const struct amb_khbone *k);
/*
 * Calls @fn for what waits, of all connections of the namespace, also those of others. 0 when
 * nothing is left, 1 when more may be, -ENOBUFS: some were lost.
 */
int amb_khbone_events(struct amb_khbone *k,
		      void (*fn)(void *ctx, const struct amb_khbone_event *ev), void *ctx);

#endif
