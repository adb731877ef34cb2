// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Can a process of a pod get past the capture, or pass for another pod?
 *
 *   amb-bypass server [--port PORT]      TCP and UDP: answers each line with whom it saw
 *   amb-bypass try NAME ADDRESS ...      one attempt, one line:
 *       answered ADDRESS | none REASON | unsupported REASON
 *   amb-bypass list
 *
 * To be started in the pod's network namespace, as root: a pod with all capabilities.
 */
#include "bypass/bypass.h"

#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <net/ethernet.h>
#include <netinet/ether.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128
#define ALARM_GRACE 2 /* seconds after which a call that no timeout bounds is given up */

static struct {
	const char *role, *name, *address, *source, *mac;
	int port;
	struct bypass b;
} opt = { .port = 7200, .b = { .device = "eth0", .marker = "marker\n", .seconds = 6 } };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "amb-bypass: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* --- server --- */

static size_t answer_text(const struct sockaddr_in6 *who, char *text, size_t n)
{
	char address[INET6_ADDRSTRLEN];
	const char *v4;

	inet_ntop(AF_INET6, &who->sin6_addr, address, sizeof(address));
	v4 = IN6_IS_ADDR_V4MAPPED(&who->sin6_addr) ? strrchr(address, ':') + 1 : address;
	return snprintf(text, n, BYPASS_ANSWER "%s\n", v4);
}

/* One line, one answer; in a process of its own, so a silent caller stops nobody. */
static _Noreturn void serve_stream(int fd, const struct sockaddr_in6 *who)
{
	char line[256], text[80];
	size_t n = 0;
	ssize_t r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(60);
	while (n < sizeof(line) && (r = read(fd, line + n, sizeof(line) - n)) > 0) {
		n += r;
		/* Empty lines are what comes before a marker in fragments. */
		if (line[n - 1] == '\n' && strspn(line, "\n") < n)
			break;
	}
	if (n && line[n - 1] == '\n' && write(fd, text, answer_text(who, text, sizeof(text))) > 0)
		shutdown(fd, SHUT_WR);
	while (read(fd, line, sizeof(line)) > 0)
		;
	_exit(0);
}

static void serve_datagram(int fd)
{
	struct sockaddr_in6 who;
	socklen_t len = sizeof(who);
	char line[256], text[80];

	if (recvfrom(fd, line, sizeof(line), 0, (struct sockaddr *)&who, &len) > 0)
		sendto(fd, text, answer_text(&who, text, sizeof(text)), 0, (struct sockaddr *)&who,
		       len);
}

static int server_socket(int type)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(opt.port) };
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("bind");
	return fd;
}

static _Noreturn void server(void)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct sockaddr_in6 who;
	socklen_t len;
	int fd;

	signal(SIGCHLD, SIG_IGN);
	p[0].fd = server_socket(SOCK_STREAM);
	p[1].fd = server_socket(SOCK_DGRAM);
	/* Data that comes with a SYN is taken, where the pod's settings allow it. */
	setsockopt(p[0].fd, IPPROTO_TCP, 23 /* TCP_FASTOPEN */, &(int){ BACKLOG }, sizeof(int));
	if (listen(p[0].fd, BACKLOG))
		die("listen");
	for (;;) {
		poll(p, 2, -1);
		if (p[1].revents)
			serve_datagram(p[1].fd);
		if (!p[0].revents)
			continue;
		len = sizeof(who);
		fd = accept4(p[0].fd, (struct sockaddr *)&who, &len, SOCK_CLOEXEC);
		if (fd >= 0 && !fork())
			serve_stream(fd, &who);
		if (fd >= 0)
			close(fd);
	}
}

/* --- attempts --- */

socklen_t bypass_len(const struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

int bypass_own(const struct bypass *b, struct sockaddr_storage *own)
{
	int fd = socket(b->target.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;
	socklen_t len = sizeof(*own);

	/* Connected, a datagram socket has asked the routes and sent nothing. */
	memset(own, 0, sizeof(*own));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&b->target, b->target_len) ||
	    getsockname(fd, (struct sockaddr *)own, &len))
		err = -errno;
	((struct sockaddr_in *)own)->sin_port = 0;
	if (fd >= 0)
		close(fd);
	return err;
}

bool bypass_answer(const char *text, size_t n, struct outcome *o)
{
	size_t word = strlen(BYPASS_ANSWER);

	if (n <= word || n - word >= sizeof(o->text) || memcmp(text, BYPASS_ANSWER, word))
		return false;
	memcpy(o->text, text + word, n - word);
	o->text[strcspn(o->text, "\n")] = 0;
	o->kind = OUTCOME_ANSWERED;
	return true;
}

void bypass_exchange(const struct bypass *b, int fd, bool sent, struct outcome *o)
{
	char text[128] = "";
	size_t n = 0;
	ssize_t r;

	do {
		r = sent ? 0 : send(fd, b->marker, strlen(b->marker), MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	if (r < 0) {
		o->err = errno == EAGAIN ? ETIMEDOUT : errno;
		return;
	}
	/* A ring that is being closed interrupts, too. */
	do {
		r = recv(fd, text + n, sizeof(text) - n, 0);
		n += r > 0 ? r : 0;
	} while ((r > 0 && n < sizeof(text) && text[n - 1] != '\n') || (r < 0 && errno == EINTR));
	if (!bypass_answer(text, n, o))
		o->err = r < 0 ? errno == EAGAIN ? ETIMEDOUT : errno : 0;
	close(fd);
}

static const struct attempt *find(const char *name)
{
	const struct attempt *const groups[] = { bypass_socket, bypass_packet };

	for (int g = 0; g < 2; g++) {
		for (const struct attempt *a = groups[g]; a->name; a++) {
			if (!name)
				puts(a->name);
			else if (!strcmp(a->name, name))
				return a;
		}
	}
	return NULL;
}

static void report(const struct outcome *o)
{
	if (o->kind == OUTCOME_ANSWERED)
		printf("answered %s\n", o->text);
	else
		printf("%s %s\n", o->kind == OUTCOME_NONE ? "none" : "unsupported",
		       o->err ? strerrorname_np(o->err) : "end");
	fflush(stdout);
}

static void on_alarm(int sig)
{
	static const char text[] = "none ETIMEDOUT\n";

	(void)sig;
	_exit(write(STDOUT_FILENO, text, sizeof(text) - 1) < 0);
}

static void resolve(const char *text, int port, struct sockaddr_storage *ss)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *ai;
	char service[16];

	snprintf(service, sizeof(service), "%d", port);
	if (getaddrinfo(text, service, &hints, &ai)) {
		errno = EADDRNOTAVAIL;
		die(text);
	}
	memcpy(ss, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
}

static int try(void)
{
	const struct attempt *a = find(opt.name);
	struct bypass *b = &opt.b;
	struct outcome o = { 0 };
	int fd;

	if (!a) {
		errno = ENOENT;
		die(opt.name);
	}
	resolve(opt.address, opt.port, &b->target);
	b->target_len = bypass_len(&b->target);
	if (opt.source)
		resolve(opt.source, 0, &b->source);
	if (opt.mac && !ether_aton_r(opt.mac, (struct ether_addr *)b->mac)) {
		errno = EINVAL;
		die(opt.mac);
	}
	signal(SIGALRM, on_alarm);
	alarm(b->seconds + ALARM_GRACE);
	if (a->run) {
		a->run(b, &o);
	} else {
		fd = a->dial(b);
		o.err = fd < 0 ? -fd : 0;
		if (fd == -ENOSYS)
			o.kind = OUTCOME_UNSUPPORTED;
		if (fd >= 0)
			bypass_exchange(b, fd, false, &o);
	}
	report(&o);
	return 0;
}

/* --- options --- */

static const struct argp_option options[] = {
	{ "port", 'p', "PORT", 0, "of the server (7200)", 0 },
	{ "marker", 'm', "TEXT", 0, "what to send", 0 },
	{ "mac", 'M', "MAC", 0, "of the next hop, for packet-* and spoof*", 0 },
	{ "source", 's', "ADDRESS", 0, "whom to pass for, for spoof* and transparent", 0 },
	{ "netns", 'n', "PATH", 0, "where the socket is made, for passed", 0 },
	{ "device", 'd', "NAME", 0, "the pod's interface (eth0)", 0 },
	{ "seconds", 't', "S", 0, "to wait for an answer (6)", 0 },
	{ 0 },
};

static error_t parse_arg(char *arg, struct argp_state *state)
{
	const char **words[] = { &opt.role, &opt.name, &opt.address };

	for (int i = 0; i < 3; i++) {
		if (!*words[i]) {
			*words[i] = arg;
			return 0;
		}
	}
	argp_usage(state);
	return EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'p':
		opt.port = atoi(arg);
		if (opt.port < 1 || opt.port > 65535)
			argp_error(state, "%s is no port", arg);
		return 0;
	case 'm':
		if (snprintf(opt.b.marker, BYPASS_MARKER, "%s\n", arg) >= BYPASS_MARKER)
			argp_error(state, "%s is too long", arg);
		return 0;
	case 'M':
		opt.mac = arg;
		return 0;
	case 's':
		opt.source = arg;
		return 0;
	case 'n':
		opt.b.netns = arg;
		return 0;
	case 'd':
		opt.b.device = arg;
		return 0;
	case 't':
		opt.b.seconds = atoi(arg);
		if (opt.b.seconds < 1 || opt.b.seconds > 60)
			argp_error(state, "%s: 1 to 60 seconds", arg);
		return 0;
	case ARGP_KEY_ARG:
		return parse_arg(arg, state);
	case ARGP_KEY_END:
		if (!opt.role || (!strcmp(opt.role, "try") && !opt.address))
			argp_usage(state);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "server\ntry NAME ADDRESS\nlist",
	.doc = "Can a process of a pod get past the capture, or pass for another pod?",
};

int main(int argc, char **argv)
{
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (!strcmp(opt.role, "server"))
		server();
	if (!strcmp(opt.role, "list"))
		return find(NULL) ? 1 : 0;
	if (strcmp(opt.role, "try")) {
		fprintf(stderr, "amb-bypass: unknown role %s\n", opt.role);
		return 2;
	}
	return try();
}
