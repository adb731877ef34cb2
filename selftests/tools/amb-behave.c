// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does a connection between two pods behave as TCP does?
 *
 *   amb-behave server [--port PORT]           in the one pod
 *   amb-behave client ADDRESS [--port PORT] [--data-port PORT]
 *                                             in the other; one line a behaviour:
 *       ok NAME | not ok NAME - CALL: got VALUE, expected VALUE
 *   amb-behave list
 *
 * "NAME/accepted" is NAME with the accepted socket in the part of the connecting one. Lines and
 * their order are the same by whatever way the connection goes, so outputs can be compared.
 */
#include "behave/behave.h"

#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKLOG 64

static struct {
	const char *role, *host, *only;
	int port, data_port, patience;
} opt = { .port = 7100, .patience = DIRECTOR_WAIT_S };

static const struct behaviour *const groups[] = { behave_open, behave_data, behave_wait,
						  behave_end };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "amb-behave: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* --- server --- */

static _Noreturn void server(void)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(opt.port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), control;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, BACKLOG))
		die("listen");
	/* Nobody waits for the workers. */
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		control = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (control < 0)
			continue;
		if (!fork()) {
			close(fd);
			worker_run(control);
		}
		close(control);
	}
}

/* --- the director --- */

void end_begin(struct end *e, const int64_t request[4])
{
	struct request q;

	memcpy(&q, request, sizeof(q));
	if (!e->dead && send(e->control, &q, sizeof(q), MSG_NOSIGNAL) != sizeof(q))
		e->dead = true;
}

int64_t end_await(struct end *e)
{
	struct pollfd p = { .fd = e->control, .events = POLLIN };

	memset(&e->reply, 0, sizeof(e->reply));
	if (!e->dead &&
	    (poll(&p, 1, opt.patience * 1000) != 1 ||
	     recv(e->control, &e->reply, sizeof(e->reply), MSG_WAITALL) != sizeof(e->reply)))
		e->dead = true;
	return e->dead ? -ETIME : e->reply.ret;
}

/* Errors by their names, for they are negative in every result that can be one. */
static const char *value_text(int64_t v, char *room, size_t n)
{
	if (v < 0 && v > -4096 && strerrorname_np(-v))
		return strerrorname_np(-v);
	snprintf(room, n, "%lld", (long long)v);
	return room;
}

void duo_fail(struct duo *d, const char *what, int64_t got, const char *relation, int64_t wanted)
{
	char a[24], b[24];

	if (*d->failure)
		return;
	snprintf(d->failure, sizeof(d->failure), "%s: got %s, expected %s%s%s", what,
		 value_text(got, a, sizeof(a)), strcmp(relation, "==") ? relation : "",
		 strcmp(relation, "==") ? " " : "", value_text(wanted, b, sizeof(b)));
}

bool duo_listen(struct duo *d)
{
	d->port = ask(&d->far, OP_LISTEN);
	if (d->port <= 0)
		duo_fail(d, "listen", d->port, ">", 0);
	return d->port > 0;
}

bool duo_connect(struct duo *d)
{
	int64_t err;

	if (!duo_listen(d))
		return false;
	err = ask(&d->near, OP_SOCKET) ?: ask(&d->near, OP_CONNECT, d->port);
	if (err)
		duo_fail(d, "connect", err, "==", 0);
	else if ((err = ask(&d->far, OP_ACCEPT)))
		duo_fail(d, "accept", err, "==", 0);
	return !err;
}

static int dial_control(void)
{
	struct sockaddr_storage ss = worker_target;
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	((struct sockaddr_in *)&ss)->sin_port = htons(opt.port);
	if (fd < 0 || connect(fd, (struct sockaddr *)&ss,
			      ss.ss_family == AF_INET ? sizeof(struct sockaddr_in) :
							sizeof(struct sockaddr_in6)))
		die("control connection");
	return fd;
}

/* Returns the pid of the near worker. */
static pid_t start_workers(struct duo *d)
{
	int pair[2];
	pid_t pid;

	d->far = (struct end){ .label = "far", .control = dial_control() };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		close(d->far.control);
		close(pair[0]);
		worker_run(pair[1]);
	}
	close(pair[1]);
	d->near = (struct end){ .label = "near", .control = pair[0] };
	return pid;
}

static bool run_one(const struct behaviour *b, bool swapped)
{
	struct duo d = { 0 };
	pid_t pid = start_workers(&d);

	d.a = swapped ? &d.far : &d.near;
	d.b = swapped ? &d.near : &d.far;
	ask(&d.far, OP_PORT, opt.data_port);
	if (b->kind == BOTH_OWN || b->kind == ONE_OWN || duo_connect(&d))
		b->run(&d);
	if (d.near.dead || d.far.dead)
		snprintf(d.failure + strlen(d.failure), sizeof(d.failure) - strlen(d.failure),
			 " (no reply of the %s end in %d s)", d.near.dead ? "near" : "far",
			 opt.patience);
	close(d.near.control);
	close(d.far.control);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("%s %s%s%s%s\n", *d.failure ? "not ok" : "ok", b->name, swapped ? "/accepted" : "",
	       *d.failure ? " - " : "", d.failure);
	fflush(stdout);
	return !*d.failure;
}

/* Calls @fn for each line of the output; returns how many times it said no. */
static int each(bool (*fn)(const struct behaviour *b, bool swapped))
{
	int bad = 0;

	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		for (const struct behaviour *b = groups[g]; b->name; b++) {
			if (opt.only && strcmp(opt.only, b->name))
				continue;
			bad += !fn(b, false);
			if (b->kind == BOTH_ENDS || b->kind == BOTH_OWN)
				bad += !fn(b, true);
		}
	}
	return bad;
}

static bool list_one(const struct behaviour *b, bool swapped)
{
	printf("%s%s\n", b->name, swapped ? "/accepted" : "");
	return true;
}

static void resolve(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *ai;

	if (getaddrinfo(opt.host, NULL, &hints, &ai)) {
		errno = EADDRNOTAVAIL;
		die(opt.host);
	}
	memcpy(&worker_target, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
}

/* --- options --- */

static const struct argp_option options[] = {
	{ "port", 'p', "PORT", 0, "of the control connections (7100)", 0 },
	{ "data-port", 'd', "PORT", 0, "of all other connections (any)", 0 },
	{ "patience", 'w', "SECONDS", 0, "after which no reply is a failure (20)", 0 },
	{ "only", 'o', "NAME", 0, "of the behaviours only this one", 0 },
	{ 0 },
};

static int port_of(const char *arg, struct argp_state *state)
{
	int port = atoi(arg);

	if (port < 1 || port > 65535)
		argp_error(state, "%s is no port", arg);
	return port;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'p':
		opt.port = port_of(arg, state);
		return 0;
	case 'd':
		opt.data_port = port_of(arg, state);
		return 0;
	case 'w':
		opt.patience = atoi(arg);
		if (opt.patience < 1 || opt.patience > 600)
			argp_error(state, "%s: 1 to 600 seconds", arg);
		return 0;
	case 'o':
		opt.only = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (!opt.role)
			opt.role = arg;
		else if (!opt.host)
			opt.host = arg;
		else
			argp_usage(state);
		return 0;
	case ARGP_KEY_END:
		if (!opt.role || (!strcmp(opt.role, "client") && !opt.host))
			argp_usage(state);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "server\nclient ADDRESS\nlist",
	.doc = "Does a connection between two pods behave as TCP does?",
};

int main(int argc, char **argv)
{
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (!strcmp(opt.role, "server"))
		server();
	if (!strcmp(opt.role, "list"))
		return each(list_one);
	if (strcmp(opt.role, "client")) {
		fprintf(stderr, "amb-behave: %s is neither server nor client\n", opt.role);
		return 2;
	}
	resolve();
	return each(run_one) ? 1 : 0;
}
