// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose memory it is that the module keeps a peer's bytes in. */
#include "cases.h"
#include "mesh.h"

#include <err.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAID_BYTES (512 << 10)
#define PAID_FRAME 16000
#define PAID_WINDOW (8 * PAID_BYTES)
#define PAID_MORE (64 << 10)
#define PAID_STREAMS 900
#define PAID_STREAM 1200 /* least: two nodes of the table */

static void file_put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		err(1, "%s", path);
	close(fd);
}

static uint64_t file_value(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long long n;

	if (!f || fscanf(f, "%llu", &n) != 1)
		err(1, "%s", path);
	fclose(f);
	return n;
}

/* A cgroup with the process in it that hands the connection over, and does nothing more. */
struct payer {
	char dir[64], procs[96], current[96], max[96], events[96];
	pid_t pid;
	uint32_t conn;
};

static void payer_cgroup(struct payer *p)
{
	char control[64], top[] = "/tmp/hbone-cgroup.XXXXXX";

	if (!mkdtemp(top) || mount("cgroup2", top, "cgroup2", 0, NULL))
		err(1, "%s", top);
	snprintf(control, sizeof(control), "%s/cgroup.subtree_control", top);
	file_put(control, "+memory");
	snprintf(p->dir, sizeof(p->dir), "%s/hbone-paid", top);
	if (mkdir(p->dir, 0755))
		err(1, "%s", p->dir);
	snprintf(p->procs, sizeof(p->procs), "%s/cgroup.procs", p->dir);
	snprintf(p->current, sizeof(p->current), "%s/memory.current", p->dir);
	snprintf(p->max, sizeof(p->max), "%s/memory.max", p->dir);
	snprintf(p->events, sizeof(p->events), "%s/memory.events", p->dir);
}

static void payer_start(struct payer *p, int tls)
{
	static const struct conn_spec spec = {
		.server = true,
		.window = PAID_WINDOW,
		.recv_window = PAID_WINDOW,
	};
	int told[2];

	payer_cgroup(p);
	if (pipe2(told, O_CLOEXEC))
		err(1, "pipe");
	p->pid = fork();
	if (p->pid < 0)
		err(1, "fork");
	if (!p->pid) {
		file_put(p->procs, "0");
		p->conn = conn_add(nl_open(), tls, &spec);
		EXPECT(write(told[1], &p->conn, sizeof(p->conn)) == sizeof(p->conn));
		for (;;)
			pause();
	}
	close(told[1]);
	EXPECT(read(told[0], &p->conn, sizeof(p->conn)) == sizeof(p->conn));
	close(told[0]);
	close(tls);
}

static void payer_end(struct payer *p)
{
	char *top = dirname(strdupa(p->dir));

	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	WAIT_FOR(!rmdir(p->dir), "the cgroup goes");
	if (umount(top) || rmdir(top))
		err(1, "%s", top);
}

static void send_paid(struct peer *p, size_t n)
{
	static const uint8_t zeros[PAID_FRAME];

	for (; n; n -= n < PAID_FRAME ? n : PAID_FRAME)
		peer_send(p, 0, 0, 1, zeros, n < PAID_FRAME ? n : PAID_FRAME);
}

/* Numbers so far apart that each takes nodes of its own in the table of streams. */
static void open_far_apart(struct nl *nl, struct peer *p, const struct payer *payer)
{
	uint64_t before = file_value(payer->current);
	uint32_t i;

	for (i = 1; i <= PAID_STREAMS; i++)
		peer_send(p, 1, 4, 1 + (i << 13), "\x82", 1);
	WAIT_FOR(ask_number(nl, payer->conn, 0, HBONE_A_STREAMS) == 1 + PAID_STREAMS,
		 "it has all streams");
	EXPECT(file_value(payer->current) >= before + PAID_STREAMS * PAID_STREAM);
}

static bool limit_met(void)
{
	return stat_number("Starved") || stat_number("StreamsDestroyed");
}

/* Not at once: what is charged in advance, for each CPU, goes first. */
static void meet_limit(struct nl *nl, struct peer *p, const struct payer *payer)
{
	int64_t sent = PAID_BYTES;

	while (!limit_met()) {
		EXPECT(sent + PAID_FRAME <= PAID_WINDOW);
		send_paid(p, PAID_FRAME);
		sent += PAID_FRAME;
		WAIT_FOR(limit_met() || ask_number(nl, payer->conn, 1, HBONE_A_BACKLOG) == sent,
			 "it has all, or meets the limit");
	}
}

/*
 * What the module keeps of a peer's bytes and streams is charged to the cgroup of who handed the
 * connection over; at its limit the connection waits, or the stream is lost, and nobody is killed.
 */
void case_paid(void)
{
	struct nl *nl = nl_open();
	struct peer p = { .fd = -1 };
	struct payer payer;
	char limit[32];
	uint64_t before;
	int tls[2];

	tls_pair(tls);
	p.fd = tls[0];
	payer_start(&payer, tls[1]);
	peer_send(&p, 1, 4, 1, "\x82", 1);
	open_far_apart(nl, &p, &payer);
	before = file_value(payer.current);
	send_paid(&p, PAID_BYTES);
	WAIT_FOR(ask_number(nl, payer.conn, 1, HBONE_A_BACKLOG) == PAID_BYTES, "it has all");
	/* It is charged in advance, up to some pages for each CPU, which @before may have in it. */
	EXPECT(file_value(payer.current) >= before + PAID_BYTES / 4 * 3);

	snprintf(limit, sizeof(limit), "%llu",
		 (unsigned long long)file_value(payer.current) + PAID_MORE);
	file_put(payer.max, limit);
	meet_limit(nl, &p, &payer);
	EXPECT(waitpid(payer.pid, NULL, WNOHANG) == 0);
	file_put(payer.max, "max");
	peer_send(&p, 6, 0, 0, "12345678", 8);
	peer_expect(&p, 6, 0);
	EXPECT(file_number(payer.events, "oom_kill") == 0);

	payer_end(&payer);
	close(p.fd);
	conn_gone(nl, payer.conn);
	nl_close(nl);
	expect_destroyed();
}
