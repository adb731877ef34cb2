// SPDX-License-Identifier: GPL-2.0-or-later
/* The HTTP servers: paths, methods, statuses, readiness, slow and rude clients. */
#include "admin/http.h"
#include "admin/metrics.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct amb_loop *loop;
static struct amb_http *http;
static struct amb_admin_ops ops;
static struct amb_http_config ports;
static bool quit_asked;

static void quit(void *ctx)
{
	(void)ctx;
	quit_asked = true;
	amb_loop_stop(loop);
}

static uint16_t free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	socklen_t len = sizeof(a);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		abort();
	close(fd);
	return ntohs(a.sin_port);
}

static void start(void)
{
	struct amb_metrics_config mc = { .workers = 1, .version = "test" };
	int i;

	amb_log_set_filter("info,access=warn,admin=error");
	loop = amb_loop_create();
	ops = (struct amb_admin_ops){
		.loop = loop,
		.version = "test",
		.metrics = amb_metrics_create(&mc),
		.quit = quit,
	};
	/* Somebody else may take one between the look and the use. */
	for (http = NULL, i = 0; !http && i < 20; i++) {
		ports = (struct amb_http_config){ free_port(), free_port(), free_port() };
		http = amb_http_create(&ops, &ports);
	}
	CHECK(http);
}

static void stop(void)
{
	amb_http_destroy(http);
	amb_metrics_destroy(ops.metrics);
	amb_loop_destroy(loop);
}

static struct amb_work stop_work;

static void stop_loop(struct amb_work *w)
{
	(void)w;
	amb_loop_stop(loop);
}

struct exchange {
	uint16_t port;
	const char *request;
	unsigned int slow_us; /* between bytes of the request */
	char reply[1 << 18];
	size_t len;
};

static int dial(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = 30 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void *client(void *arg)
{
	struct exchange *x = arg;
	const char *p = x->request;
	int fd = dial(x->port);
	ssize_t n;

	while (*p && x->slow_us) {
		if (send(fd, p++, 1, MSG_NOSIGNAL) < 0)
			break;
		usleep(x->slow_us);
	}
	if (!x->slow_us)
		send(fd, p, strlen(p), MSG_NOSIGNAL);
	while ((n = recv(fd, x->reply + x->len, sizeof(x->reply) - 1 - x->len, 0)) > 0)
		x->len += n;
	x->reply[x->len] = 0;
	close(fd);
	if (!stop_work.queued)
		amb_loop_post(loop, &stop_work);
	return NULL;
}

/* Runs the loop until the client has its answer. */
static char *ask(uint16_t port, const char *request, unsigned int slow_us)
{
	static struct exchange x;
	pthread_t thread;

	x = (struct exchange){ .port = port, .request = request, .slow_us = slow_us };
	stop_work.fn = stop_loop;
	CHECK_EQ(pthread_create(&thread, NULL, client, &x), 0);
	CHECK_EQ(amb_loop_run(loop), 0);
	pthread_join(thread, NULL);
	return x.reply;
}

#define TAIL " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

TEST(statuses)
{
	enum { ADMIN, METRICS, READY };
	static const struct {
		const char *request;
		int server, status;
		const char *has;
	} rows[] = {
		{ "GET /" TAIL, ADMIN, 200, "text/html" },
		{ "POST /" TAIL, ADMIN, 405, "Allow: GET" },
		{ "GET /nothing" TAIL, ADMIN, 404, NULL },
		{ "GET /debug/pprof/heap" TAIL, ADMIN, 404, NULL },
		{ "POST /config_dump" TAIL, ADMIN, 405, NULL },
		{ "GET /config_dump" TAIL, ADMIN, 200, "\"workloads\":[]" },
		{ "GET /logging" TAIL, ADMIN, 405, "usage: POST /logging" },
		{ "POST /logging" TAIL, ADMIN, 200,
		  "current log level is info,access=warn,admin=error\n" },
		{ "POST /logging?level=loud" TAIL, ADMIN, 400, "usage: POST /logging" },
		{ "POST /logging?level=pool=debug" TAIL, ADMIN, 200,
		  "current log level is info,access=warn,admin=error,pool=debug\n" },
		{ "POST /logging?level=warn" TAIL, ADMIN, 200,
		  "current log level is warn,access=warn,admin=error,pool=debug\n" },
		{ "POST /logging?reset" TAIL, ADMIN, 200,
		  "current log level is info,access=warn,admin=error\n" },
		{ "POST /logging?reset=&level=access=off" TAIL, ADMIN, 200,
		  "current log level is info,access=off,admin=error\n" },
		{ "POST /logging?reset" TAIL, ADMIN, 200, NULL },
		{ "GET /quitquitquit" TAIL, ADMIN, 405, "Allow: POST" },
		{ "GET /metrics" TAIL, METRICS, 200, "Content-Type: text/plain; charset=utf-8" },
		{ "GET /stats/prometheus HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		  "Accept: application/openmetrics-text; version=1.0.0\r\n\r\n",
		  METRICS, 200,
		  "Content-Type: application/openmetrics-text;charset=utf-8;version=1.0.0" },
		{ "GET /metrics" TAIL, METRICS, 200, "# EOF\n" },
		{ "POST /metrics" TAIL, METRICS, 405, "Allow: GET" },
		{ "GET /config_dump" TAIL, METRICS, 404, NULL },
		{ "GET /healthz/ready" TAIL, READY, 200, "ready\n" },
		{ "GET /healthz" TAIL, READY, 404, NULL },
	};
	uint16_t port[3];
	size_t i;

	start();
	port[ADMIN] = ports.admin;
	port[METRICS] = ports.metrics;
	port[READY] = ports.ready;
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		const char *reply = ask(port[rows[i].server], rows[i].request, 0);

		CASE(rows[i].request);
		CHECK(!strncmp(reply, "HTTP/1.", 7));
		CHECK_EQ(atoi(reply + 9), rows[i].status);
		CHECK(!rows[i].has || strstr(reply, rows[i].has));
	}
	stop();
}

TEST(readiness_names_what_is_pending)
{
	const char *reply;

	start();
	amb_http_pending(http, "state manager", true);
	amb_http_pending(http, "proxy", true);
	amb_http_pending(http, "proxy", true);
	reply = ask(ports.ready, "GET /healthz/ready" TAIL, 0);
	CHECK_EQ(atoi(reply + 9), 500);
	CHECK(strstr(reply, "not ready, pending: state manager, proxy\n"));
	amb_http_pending(http, "state manager", false);
	reply = ask(ports.ready, "GET /healthz/ready" TAIL, 0);
	CHECK(strstr(reply, "not ready, pending: proxy\n"));
	amb_http_pending(http, "proxy", false);
	CHECK_EQ(atoi(ask(ports.ready, "GET /healthz/ready" TAIL, 0) + 9), 200);
	stop();
}

TEST(slow_head_is_cut)
{
	uint64_t before = amb_util_now_ns();

	start();
	/* One byte each 200 ms: never idle, never done. */
	ask(ports.ready, "GET /healthz/ready HTTP/1.1\r\nHost: 0123456789012345678901234567890",
	    200000);
	CHECK(amb_util_now_ns() - before < 20000000000ull);
	/* And the server still serves. */
	CHECK_EQ(atoi(ask(ports.ready, "GET /healthz/ready" TAIL, 0) + 9), 200);
	stop();
}

TEST(garbage_hurts_nobody)
{
	static const char *const rows[] = {
		"NONSENSE\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"GET /healthz/ready HTTP/9.9\r\n\r\n",
		"GET  \r\n\r\n",
		"POST /logging?level=%00%ff HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	};
	size_t i;

	start();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i]);
		ask(ports.admin, rows[i], 0);
		CHECK_EQ(atoi(ask(ports.ready, "GET /healthz/ready" TAIL, 0) + 9), 200);
	}
	stop();
}

TEST(huge_head_is_refused)
{
	static char request[40000];
	size_t n = sprintf(request, "GET /healthz/ready HTTP/1.1\r\nX: ");
	int status;

	memset(request + n, 'a', sizeof(request) - n - 5);
	strcpy(request + sizeof(request) - 5, "\r\n\r\n");
	start();
	status = atoi(ask(ports.ready, request, 0) + 9);
	CHECK(status == 0 || status == 431 || status == 413);
	CHECK_EQ(atoi(ask(ports.ready, "GET /healthz/ready" TAIL, 0) + 9), 200);
	stop();
}

TEST(quit_is_answered_at_the_end)
{
	static struct exchange x;
	pthread_t thread;

	start();
	quit_asked = false;
	x = (struct exchange){ .port = ports.admin, .request = "POST /quitquitquit" TAIL };
	CHECK_EQ(pthread_create(&thread, NULL, client, &x), 0);
	CHECK_EQ(amb_loop_run(loop), 0);
	CHECK(quit_asked);
	amb_http_destroy(http);
	pthread_join(thread, NULL);
	CHECK_EQ(atoi(x.reply + 9), 200);
	CHECK(strstr(x.reply, "shutdown now"));
	http = NULL;
	stop();
}

TEST(port_in_use)
{
	struct amb_http_config again;

	start();
	again = ports;
	amb_log_set_filter("off");
	CHECK(!amb_http_create(&ops, &again));
	CHECK_EQ(errno, EADDRINUSE);
	stop();
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return harness_run();
}
