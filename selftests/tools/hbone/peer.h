/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other ends in tests of hbone.ko: TCP pairs, kernel TLS with fixed keys, and raw HTTP/2. */
#ifndef SELFTESTS_HBONE_PEER_H
#define SELFTESTS_HBONE_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a test waits for comes within this, or never. */
#define PEER_MS 120000

/* A case fails: says why, with the line, and ends the program. */
#define FAIL(...) peer_fail(__FILE__, __LINE__, __VA_ARGS__)
#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond))                                                                       \
			FAIL("not true: %s", #cond);                                               \
	} while (0)
__attribute__((noreturn, format(printf, 3, 4))) void peer_fail(const char *file, int line,
								const char *fmt, ...);

/* A TCP connection over loopback; the second also with kernel TLS at both ends. */
void tcp_pair(int fd[2]);
void tls_pair(int fd[2]);
/* The same, after @records in each direction; with little room from the second to the first. */
void tls_pair_used(int fd[2], uint64_t records);
void tls_pair_narrow(int fd[2]);

/* One TLS record of another type than data; false when the other side ended first. */
bool tls_record(int fd, uint8_t type, const void *p, size_t n);

/* Closes it, by a reset. */
void reset(int fd);

/* Whole buffers; false when the other side ended or reset first. */
bool write_all(int fd, const void *p, size_t n);
bool read_all(int fd, void *p, size_t n);
/* What comes next from a connection that ends: 0 for its end, -errno, or the bytes. */
int read_some(int fd, void *p, size_t n);

/* Byte @at of what stream @seed carries. */
uint8_t pattern(uint32_t seed, uint64_t at);

/* A peer that speaks frames on a TLS socket. */
struct peer {
	int fd;
	uint8_t in[1 << 15];
	size_t n, used;
	/* the frame that was read */
	uint8_t type, flags, payload[1 << 15];
	uint32_t stream, length;
};

size_t frame(uint8_t *to, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
	     size_t n);
/* One frame, as one record if it fits. */
void peer_send(struct peer *p, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
	       size_t n);
void peer_send32(struct peer *p, uint8_t type, uint32_t stream, uint32_t value);
/* The next frame; false at the end of the connection. */
bool peer_read(struct peer *p);
uint32_t peer_u32(const struct peer *p, size_t at);
/* Reads up to a frame of that type and stream, past others; the test fails without it. */
void peer_expect(struct peer *p, uint8_t type, uint32_t stream);

#endif
