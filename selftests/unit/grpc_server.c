// SPDX-License-Identifier: GPL-2.0-or-later
/* The gRPC server on a unix socket: who may come, and what is left behind of what it sent. */
#include "harness.h"
#include "spin.h"
#include "wiped.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "control/grpc_server.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRANGER 1338

static char dir[] = "/tmp/gserver.XXXXXX";
static char path[64];
static struct amb_loop *loop;
static struct amb_gserver *server;

static void *no_method(void *ctx, struct amb_gserver_call *call, const char *name)
{
	(void)ctx;
	(void)call;
	(void)name;
	return NULL;
}

static const struct amb_gserver_handler nothing = { .open = no_method };

static void serve(const struct amb_gserver_handler *handler, void *ctx)
{
	static const uid_t nobody_else[1];

	loop = amb_loop_create();
	CHECK(loop);
	server = amb_gserver_create(loop, path, nobody_else, 0, handler, ctx);
	CHECK(server);
}

static void serve_no_more(void)
{
	amb_gserver_destroy(server);
	amb_loop_destroy(loop);
}

static int dial(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Who may not */

static pid_t child;
static int status;

static bool child_is_done(void)
{
	return waitpid(child, &status, WNOHANG) == child;
}

/* Knocks @n times and waits each time to be sent away. */
static void __attribute__((noreturn)) knock(int n)
{
	char c;
	int fd;

	if (setgid(STRANGER) || setuid(STRANGER))
		_exit(2);
	while (n--) {
		fd = dial();
		if (fd < 0 || read(fd, &c, 1) > 0)
			_exit(1);
		close(fd);
	}
	_exit(0);
}

TEST(refusals_do_not_fill_the_log)
{
	char log[65536], *line;
	int p[2], lines = 0;
	ssize_t n;

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(amb_log_init(p[1], false), 0);
	serve(&nothing, NULL);
	fflush(stdout);
	child = fork();
	CHECK(child >= 0);
	if (!child)
		knock(200);
	CHECK(spin(loop, child_is_done));
	CHECK_EQ(status, 0);
	serve_no_more();
	amb_log_uninit();
	close(p[1]);
	n = read(p[0], log, sizeof(log) - 1);
	close(p[0]);
	CHECK(n > 0);
	log[n] = 0;
	for (line = log; (line = strstr(line, "may not have secrets")); line++)
		lines++;
	CHECK_EQ(lines, 1);
	CHECK(strstr(log, "of user 1338 may not have secrets\n"));
}

/* What is left behind */

static const char secret[] = "what nobody else may have";
static char got[4096];
static size_t ngot;
static int fd = -1, nwiped;

/* Copies of the secret that are wiped, each once. */
static void wiped(const void *p, size_t n)
{
	nwiped += memmem(p, n, secret, sizeof(secret)) != NULL;
}

static void *open_call(void *ctx, struct amb_gserver_call *call, const char *name)
{
	uint8_t *out = amb_gserver_send(call, sizeof(secret));

	(void)name;
	if (out)
		memcpy(out, secret, sizeof(secret));
	return ctx;
}

static void say_nothing(void *call_ctx)
{
	(void)call_ctx;
}

static bool is_sent(void)
{
	ssize_t n = recv(fd, got + ngot, sizeof(got) - ngot, MSG_DONTWAIT);

	ngot += n > 0 ? n : 0;
	return memmem(got, ngot, secret, sizeof(secret));
}

static bool is_left(void)
{
	/* The server's copy, and the one in nghttp2's frame. */
	return nwiped == 2;
}

/* A client's preface, its SETTINGS and a POST in the static table's words; it stays open. */
TEST(nothing_is_left_of_a_secret)
{
	static const uint8_t request[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
					 "\0\0\0\4\0\0\0\0\0"
					 "\0\0\x18\1\4\0\0\0\1"
					 "\x83\x86\x84\x41\1x"
					 "\x5f\x10"
					 "application/grpc";
	static const struct amb_gserver_handler one = { .open = open_call,
							.room = say_nothing,
							.close = say_nothing };

	serve(&one, dir);
	nwiped = 0;
	fd = dial();
	CHECK(fd >= 0);
	CHECK_EQ(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
	CHECK(spin(loop, is_sent));
	close(fd);
	CHECK(spin(loop, is_left));
	serve_no_more();
}

static void clean(void)
{
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	if (geteuid()) {
		printf("TAP version 13\n1..0 # SKIP needs root\n");
		return 4;
	}
	if (!mkdtemp(dir) || chmod(dir, 0755))
		return 1;
	snprintf(path, sizeof(path), "%s/socket", dir);
	atexit(clean);
	return harness_run();
}
