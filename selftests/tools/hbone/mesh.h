/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections and streams of hbone.ko, as an agent makes them, and bytes through them. */
#ifndef SELFTESTS_HBONE_MESH_H
#define SELFTESTS_HBONE_MESH_H

#include "nl.h"
#include "peer.h"

#include <unistd.h>

#define WINDOW 65535
#define CONN_WINDOW (1 << 20)

/* Runs @cond every millisecond until it holds. */
#define WAIT_FOR(cond, what)                                                                       \
	do {                                                                                       \
		int left_;                                                                         \
		for (left_ = PEER_MS; !(cond); left_--) {                                          \
			if (!left_)                                                                \
				FAIL("never: %s", what);                                           \
			usleep(1000);                                                              \
		}                                                                                  \
	} while (0)

struct conn_spec {
	bool server;
	uint32_t window, peer_window; /* of streams, ours and the peer's; 0: WINDOW */
	int32_t send_window, recv_window; /* of the connection; 0: CONN_WINDOW */
	uint32_t max_frame, max_streams; /* 0: 16384, 1000 */
	const void *input;
	size_t ninput;
};

/* Takes @fd, and closes it. The number, or -errno. */
int conn_try(struct nl *nl, int fd, const struct conn_spec *spec);
/* The same, which must succeed. */
uint32_t conn_add(struct nl *nl, int fd, const struct conn_spec *spec);
int conn_del(struct nl *nl, uint32_t conn, uint32_t code);
int conn_drain(struct nl *nl, uint32_t conn, uint32_t flags);
/* Waits until it is gone. */
void conn_gone(struct nl *nl, uint32_t conn);
/* One number of HBONE_CMD_CONN_GET or, with @stream, HBONE_CMD_STREAM_GET; -errno. */
int64_t ask_number(struct nl *nl, uint32_t conn, uint32_t stream, int attr);

int stream_add(struct nl *nl, uint32_t conn, uint32_t stream, int fd, uint64_t cookie);
/* The same, with a note. */
int stream_note(struct nl *nl, uint32_t conn, uint32_t stream, int fd, uint64_t cookie,
		const void *note, size_t n);
int stream_del(struct nl *nl, uint32_t conn, uint32_t stream, uint32_t code);
/* A header block of one frame: HEADERS whose content does not matter to the module. */
int headers_send(struct nl *nl, uint32_t conn, uint32_t stream, bool end);
/* Blocks of two frames, of stream 1, for a peer that reads none: how many are taken. */
int fill_frames(struct nl *nl, uint32_t conn);
/* Takes the next frame that came. 0, or -errno. */
int frame_recv(struct nl *nl, uint32_t conn);
/* Its stream, waited for. */
uint32_t headers_recv(struct nl *nl, uint32_t conn);

/* Reads events until one of @cmd comes, which must. */
void event_expect(struct nl *events, uint8_t cmd);

/* Two connections that are each other's peers: client and server. */
struct tunnel {
	struct nl *nl;
	uint32_t client, server, next;
};
void tunnel_open(struct tunnel *t, const struct conn_spec *client, const struct conn_spec *server);
/* A stream through it: what the two applications have. */
uint32_t tunnel_stream(struct tunnel *t, int app[2]);
void tunnel_close(struct tunnel *t);

/* An application that writes a pattern, ends, and checks what it reads up to the end. */
struct app {
	int fd;
	uint32_t tx_seed, rx_seed;
	uint64_t tx, rx; /* bytes in all */
	uint64_t tx_at, rx_at;
	bool tx_done, rx_done;
};
void app_pair(struct app *a, struct app *b, const int fd[2], uint64_t ab, uint64_t ba);
/* Until all are done; every byte is checked. @chunk: bytes at a time. */
void pump(struct app *apps, size_t n, size_t chunk);

/* Of a file whose lines begin with a name and a number. */
uint64_t file_number(const char *path, const char *name);
/* Of /proc/net/hbone_stat. */
uint64_t stat_number(const char *name);
/* What the kernel has in slabs, in bytes: of the whole machine. */
uint64_t slab_bytes(void);
/* All that was created was destroyed, in this namespace; waited for. */
void expect_destroyed(void);
/* And nothing was lost. */
void expect_balance(void);

#endif
