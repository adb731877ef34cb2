/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to hbone.ko, in plain netlink: what a test says goes out, also when it is wrong. */
#ifndef SELFTESTS_HBONE_NL_H
#define SELFTESTS_HBONE_NL_H

#include <linux/hbone.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl {
	int fd;
	uint32_t port, seq, group;
	uint16_t family;
	char error[256]; /* extended-ACK message of the last answer, or "" */
	size_t n; /* of out */
	uint8_t out[1 << 17] __attribute__((aligned(8)));
	uint8_t in[1 << 17] __attribute__((aligned(8)));
	const struct nlattr *a[HBONE_A_MAX + 1]; /* of the last message read */
	uint8_t cmd;
};

/* Ends the program on failure, as all of this but nl_ask. */
struct nl *nl_open(void);
void nl_close(struct nl *nl);

void nl_begin(struct nl *nl, uint8_t cmd, uint16_t flags);
void nl_put(struct nl *nl, uint16_t attr, const void *p, size_t n);
void nl_put32(struct nl *nl, uint16_t attr, uint32_t value);
void nl_put64(struct nl *nl, uint16_t attr, uint64_t value);
void nl_put_settings(struct nl *nl, uint16_t attr, uint32_t window, uint32_t frame,
		     uint32_t streams);
/* Sends, and leaves the answer to be read. */
void nl_send(struct nl *nl);
/* Sends and waits for the answer, which is in a[] if there was one. 0 or -errno. */
int nl_ask(struct nl *nl);
/* The same for dumps: the number of messages, each told. */
int nl_dump(struct nl *nl, void (*each)(struct nl *nl, void *ctx), void *ctx);

/* Events: from now on; the next one within @ms, false when none came. Use another struct nl. */
void nl_listen(struct nl *nl);
bool nl_event(struct nl *nl, int ms);

uint32_t nl_u32(const struct nl *nl, int attr);
uint64_t nl_u64(const struct nl *nl, int attr);
const uint8_t *nl_bytes(const struct nl *nl, int attr, size_t *n);

#endif
