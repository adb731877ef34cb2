/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Traffic between pods for tests and the bench, and what it costs: round trips, bulk,
 * connections, held connections. One JSON object on standard output.
 *
 * The server listens on four ports in a row: echo, sink (answers the byte count at the end of
 * the stream), once (one request, one reply, close) and hold (echo for any number of
 * connections from one thread). Everything else is blocking threads, one a connection, so that
 * a round trip costs what it costs an ordinary application.
 *
 * CPU is taken from the process clocks of the watched pids (nanoseconds, all their threads)
 * and from the idle time of the machine (which the kernel keeps exactly, unlike user and
 * system time, which it samples).
 *
 * SIGUSR1 has rr print one more object, at once: the longest that each connection has waited for
 * a round trip since the signal before.
 */
#include <jansson.h>

#include <argp.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "traffic/base.h"
#include "traffic/cost.h"
#include "traffic/count.h"
#include "traffic/gap.h"

#define MAX_THREADS 1024
#define MAX_SIZE (1u << 20)
#define MAX_SAMPLES (1u << 22) /* a thread */
#define WARM_UP_NS 200000000ull
#define GRACE_S 3
#define HOLD_LIMIT_S 20 /* for the answer on one connection */
#define PACE_LOOK_NS 200000000ull /* between looks whether it is over */

enum { PORT_ECHO, PORT_SINK, PORT_ONCE, PORT_HOLD, PORTS };

static struct {
	const char *mode, *host, *congestion;
	int port, threads, count, grace, pace_ms;
	double seconds;
	size_t size;
	bool spin;
	char **command;
} opt = { .congestion = "cubic",
	  .port = 9000,
	  .threads = 1,
	  .seconds = 2,
	  .size = 64,
	  .grace = GRACE_S };

static struct sockaddr_storage target;
static socklen_t target_len;

/* Blocked in all threads; whoever wants to end early waits for them here. */
static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, set, NULL);
}

static void tell_gaps(void);

/* A signal ends the measurement early, and the process when connections then hang. */
static void sleep_or_signal(uint64_t ns)
{
	uint64_t end = now_ns() + ns, now;
	sigset_t set;
	int sig = -1;

	block_signals(&set);
	while (sig < 0 && (now = now_ns()) < end) {
		struct timespec t = { .tv_sec = (end - now) / 1000000000,
				      .tv_nsec = (end - now) % 1000000000 };

		/* SIGCONT interrupts, and is none of these. */
		sig = sigtimedwait(&set, NULL, &t);
		if (sig == SIGUSR1) {
			tell_gaps();
			sig = -1;
		}
	}
	if (sig > 0)
		alarm(opt.grace);
}

static void tune(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (*opt.congestion &&
	    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, opt.congestion, strlen(opt.congestion)))
		die("congestion control %s", opt.congestion);
}

static void resolve(int port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *ai;
	char service[16];
	int err;

	snprintf(service, sizeof(service), "%d", port);
	err = getaddrinfo(opt.host, service, &hints, &ai);
	if (err) {
		fprintf(stderr, "amb-traffic: %s: %s\n", opt.host, gai_strerror(err));
		exit(2);
	}
	memcpy(&target, ai->ai_addr, ai->ai_addrlen);
	target_len = ai->ai_addrlen;
	freeaddrinfo(ai);
}

static int dial(void)
{
	int fd = socket(target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -1;
	tune(fd);
	if (!connect(fd, (struct sockaddr *)&target, target_len))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

/* --- server --- */

struct listener {
	int fd, kind;
};

static void serve(int fd, int kind)
{
	static _Thread_local char *buf;
	uint64_t total = 0;
	ssize_t r;

	if (!buf && !(buf = malloc(MAX_SIZE)))
		die("memory");
	while ((r = read_some(fd, buf, kind == PORT_SINK ? MAX_SIZE : 64 << 10)) > 0) {
		total += r;
		if (kind == PORT_SINK)
			continue;
		if (write_all(fd, buf, r) || (kind == PORT_ONCE && total >= opt.size))
			break;
	}
	if (kind == PORT_SINK && !r)
		write_all(fd, (char *)&total, sizeof(total));
	close(fd);
}

static void *serve_thread(void *arg)
{
	struct listener *l = arg;
	int fd;

	for (;;) {
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			serve(fd, l->kind);
		else if (errno == EMFILE || errno == ENFILE)
			sleep_ns(1000000);
	}
	return NULL;
}

/* Echo for many connections: accepts and answers from one thread. */
static void *hold_thread(void *arg)
{
	struct epoll_event ev = { .events = EPOLLIN }, got[64];
	int ep = epoll_create1(EPOLL_CLOEXEC), fd, n;
	struct listener *l = arg;
	char buf[4096];
	ssize_t r;

	ev.data.fd = l->fd;
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l->fd, &ev))
		die("epoll");
	for (;;) {
		n = epoll_wait(ep, got, 64, -1);
		for (int i = 0; i < n; i++) {
			fd = got[i].data.fd;
			if (fd == l->fd) {
				ev.data.fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
				if (ev.data.fd >= 0)
					epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev);
				continue;
			}
			r = read(fd, buf, sizeof(buf));
			if (r <= 0 || write_all(fd, buf, r))
				close(fd);
		}
	}
	return NULL;
}

static int server_listen(int port)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		die("socket");
	tune(fd);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 4096))
		die("port %d", port);
	return fd;
}

static void server(void)
{
	static struct listener l[PORTS];
	pthread_t t;

	for (int k = 0; k < PORTS; k++) {
		l[k].kind = k;
		l[k].fd = server_listen(opt.port + k);
		for (int i = 0; i < (k == PORT_HOLD ? 1 : opt.threads); i++)
			start_thread(&t, k == PORT_HOLD ? hold_thread : serve_thread, &l[k]);
	}
	for (;;)
		pause();
}

/* --- clients --- */

struct client {
	pthread_t thread;
	uint32_t *samples; /* nanoseconds, capped at 4.29 s */
	size_t n, room;
	uint64_t trips, bytes, errors;
	int err; /* of the first error */
	struct gap gap;
};

static struct client clients[MAX_THREADS];
static pthread_barrier_t begin;
static atomic_bool measuring, stop;

static void sample(struct client *c, uint64_t ns)
{
	if (!atomic_load_explicit(&measuring, memory_order_relaxed) || c->n == MAX_SAMPLES)
		return;
	if (c->n == c->room) {
		c->room = c->room ? c->room * 2 : 4096;
		c->samples = realloc(c->samples, c->room * sizeof(*c->samples));
		if (!c->samples)
			die("memory");
	}
	c->samples[c->n++] = ns > UINT32_MAX ? UINT32_MAX : ns;
}

static void failed(struct client *c)
{
	if (!c->errors++)
		c->err = errno;
}

/* One number a connection. */
static void tell_gaps(void)
{
	json_t *o = json_object(), *all = json_array();
	uint64_t now = now_ns();

	for (int i = 0; i < opt.threads; i++)
		json_array_append_new(all, json_real(gap_take(&clients[i].gap, now) / 1e3));
	json_object_set_new(o, "case", json_string("gaps"));
	json_object_set_new(o, "longest_us", all);
	json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	fflush(stdout);
	json_decref(o);
}

/* When the next round trip begins, which is at once without a pace. */
static uint64_t rr_next(uint64_t begun, uint64_t ended)
{
	uint64_t due = begun + opt.pace_ms * 1000000ull;

	if (due <= ended)
		return ended;
	while ((ended = now_ns()) < due && !atomic_load_explicit(&stop, memory_order_relaxed))
		sleep_ns(due - ended < PACE_LOOK_NS ? due - ended : PACE_LOOK_NS);
	return due;
}

/* Brings back what it sent: no other round trip's bytes, nor another connection's. */
static bool round_trip(struct client *c, int fd, char *sent, char *got)
{
	uint64_t mark[] = { c - clients, ++c->trips };

	memcpy(sent, mark, opt.size < sizeof(mark) ? opt.size : sizeof(mark));
	if (write_all(fd, sent, opt.size) || read_all(fd, got, opt.size))
		return false;
	errno = EBADMSG;
	return !memcmp(sent, got, opt.size);
}

static void *rr_thread(void *arg)
{
	struct client *c = arg;
	char *sent = calloc(1, opt.size), *got = malloc(opt.size);
	int fd = dial();
	uint64_t a, b;

	if (fd < 0)
		failed(c);
	pthread_barrier_wait(&begin);
	/* Who sees this process alive may believe that all of its connections are. */
	if (fd < 0)
		kill(getpid(), SIGTERM);
	a = now_ns();
	/* Not all at once, where there is a pace: as if it had begun before. */
	if (opt.pace_ms)
		a = rr_next(a - opt.pace_ms * 1000000ull * (c - clients) / opt.threads, a);
	while (fd >= 0 && !atomic_load_explicit(&stop, memory_order_relaxed)) {
		gap_begin(&c->gap, a);
		if (!round_trip(c, fd, sent, got)) {
			failed(c);
			/* Round trips that nobody asked to end prove nothing any more. */
			kill(getpid(), SIGTERM);
			break;
		}
		b = now_ns();
		sample(c, b - a);
		gap_end(&c->gap, b);
		a = rr_next(a, b);
	}
	if (fd >= 0)
		close(fd);
	free(sent);
	free(got);
	return NULL;
}

static void *crr_thread(void *arg)
{
	struct client *c = arg;
	char *buf = calloc(1, opt.size), end;
	uint64_t a;
	int fd, done = 0;

	pthread_barrier_wait(&begin);
	while (!atomic_load_explicit(&stop, memory_order_relaxed) &&
	       (!opt.count || done < opt.count)) {
		a = now_ns();
		fd = dial();
		if (fd < 0 || write_all(fd, buf, opt.size) || read_all(fd, buf, opt.size) ||
		    read_some(fd, &end, 1))
			failed(c);
		else
			sample(c, now_ns() - a);
		if (fd >= 0)
			close(fd);
		done++;
	}
	free(buf);
	return NULL;
}

static void *bulk_thread(void *arg)
{
	struct client *c = arg;
	char *buf = malloc(opt.size);
	uint64_t total = 0, sent = 0;
	int fd = dial();

	pthread_barrier_wait(&begin);
	memset(buf, 7, opt.size);
	while (fd >= 0 && !atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (write_all(fd, buf, opt.size))
			break;
		sent += opt.size;
	}
	/* The sink tells what arrived: the only count that a relay's buffers cannot embellish. */
	if (fd < 0 || shutdown(fd, SHUT_WR) || read_all(fd, (char *)&total, sizeof(total)))
		failed(c);
	else if (total != sent) {
		errno = EBADMSG;
		failed(c);
	}
	c->bytes = total;
	if (fd >= 0)
		close(fd);
	free(buf);
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t put_samples(json_t *o, double wall)
{
	uint64_t total = 0, sum = 0;
	uint32_t *all;

	for (int i = 0; i < opt.threads; i++)
		total += clients[i].n;
	if (!total)
		return 0;
	all = malloc(total * sizeof(*all));
	if (!all)
		die("memory");
	total = 0;
	for (int i = 0; i < opt.threads; i++) {
		if (clients[i].n)
			memcpy(all + total, clients[i].samples, clients[i].n * sizeof(*all));
		total += clients[i].n;
	}
	qsort(all, total, sizeof(*all), by_value);
	for (uint64_t i = 0; i < total; i++)
		sum += all[i];
	json_object_set_new(o, "rate", json_real(total / wall));
	json_object_set_new(o, "mean_us", json_real(sum / 1e3 / total));
	json_object_set_new(o, "p50_us", json_real(all[total / 2] / 1e3));
	json_object_set_new(o, "p99_us", json_real(all[total * 99 / 100] / 1e3));
	free(all);
	return total;
}

/* What others do in the middle of a measurement, when connections of bulk do not come or go. */
static struct {
	struct counts a, b;
} counted;

/* Returns the exit status: 1 when any connection failed. */
static int report(const struct cpu *a, const struct cpu *b)
{
	double wall = (b->wall - a->wall) / 1e9;
	uint64_t bytes = 0, errors = 0, n;
	json_t *o = json_object();
	int err = 0;

	n = put_samples(o, wall);
	for (int i = 0; i < opt.threads; i++) {
		bytes += clients[i].bytes;
		errors += clients[i].errors;
		if (!err)
			err = clients[i].err;
	}
	json_object_set_new(o, "case", json_string(opt.mode));
	json_object_set_new(o, "threads", json_integer(opt.threads));
	json_object_set_new(o, "count", json_integer(n));
	if (bytes) {
		json_object_set_new(o, "bytes", json_integer(bytes));
		json_object_set_new(o, "gbps", json_real(bytes * 8 / 1e9 / wall));
	}
	json_object_set_new(o, "errors", json_integer(errors));
	if (errors)
		json_object_set_new(o, "error", json_string(strerror(err)));
	json_object_set_new(o, "cpu", cpu_json(a, b));
	if (count_wanted() && !opt.count)
		json_object_set_new(o, "counted", count_json(&counted.a, &counted.b));
	json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(o);
	return errors ? 1 : 0;
}

static int run_clients(void *(*fn)(void *), bool bulk)
{
	struct cpu a, b;
	sigset_t set;

	if (!opt.count)
		block_signals(&set);
	if (opt.spin)
		cpu_spin();
	if (count_wanted())
		count_start();
	pthread_barrier_init(&begin, NULL, opt.threads + 1);
	atomic_store(&measuring, opt.count > 0);
	for (int i = 0; i < opt.threads; i++)
		start_thread(&clients[i].thread, fn, &clients[i]);
	cpu_snapshot(&a);
	pthread_barrier_wait(&begin);
	if (!opt.count) {
		if (!bulk)
			sleep_ns(WARM_UP_NS);
		cpu_snapshot(&a);
		if (bulk && count_wanted())
			sleep_ns(WARM_UP_NS);
		count_snapshot(&counted.a);
		atomic_store(&measuring, true);
		sleep_or_signal(opt.seconds * 1e9);
		atomic_store(&measuring, false);
		count_snapshot(&counted.b);
	}
	/* Bulk is over when the last byte was counted, the others when the time is. */
	if (!bulk && !opt.count)
		cpu_snapshot(&b);
	if (!opt.count)
		atomic_store(&stop, true);
	for (int i = 0; i < opt.threads; i++)
		pthread_join(clients[i].thread, NULL);
	if (bulk || opt.count)
		cpu_snapshot(&b);
	cpu_spin_stop();
	return report(&a, &b);
}

/* Nothing: what others do meanwhile. */
static int rest(void)
{
	struct counts a, b;
	sigset_t set;
	json_t *o;

	block_signals(&set);
	count_start();
	count_snapshot(&a);
	sleep_or_signal(opt.seconds * 1e9);
	count_snapshot(&b);
	o = json_pack("{s:s, s:o}", "case", opt.mode, "counted", count_json(&a, &b));
	json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(o);
	return 0;
}

static void asked_to_stop(int sig)
{
	(void)sig;
	atomic_store(&stop, true);
}

/* A system call that waits is to end, so that it can be said how far it got. */
static void stop_by_signal(void)
{
	struct sigaction sa = { .sa_handler = asked_to_stop };

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
}

/* One connection, proven by one round trip. -1 with errno. */
static int hold_one(void)
{
	struct timeval limit = { .tv_sec = HOLD_LIMIT_S };
	char buf[64] = { 0 };
	int fd = dial();

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (write_all(fd, buf, sizeof(buf)))
		return -1;
	/* Not read_all(), which goes on after a signal. */
	switch (recv(fd, buf, sizeof(buf), MSG_WAITALL)) {
	case sizeof(buf):
		return 0;
	case -1:
		return -1;
	default:
		errno = ECONNRESET;
		return -1;
	}
}

/*
 * Opens @count connections, or as many as it can, and holds them. What went wrong is told with
 * where: how many were open, after how long, and what the slowest one took.
 */
static int hold(void)
{
	uint64_t begun = now_ns(), last = begun, slowest = 0, now;
	const char *error = "";
	sigset_t set;
	int n, sig;

	stop_by_signal();
	for (n = 0; n < opt.count && !*error; last = now) {
		if (hold_one())
			error = atomic_load(&stop) ? "asked to stop" : strerror(errno);
		else
			n++;
		now = now_ns();
		slowest = now - last > slowest ? now - last : slowest;
	}
	printf("{\"case\":\"hold\",\"count\":%d,\"seconds\":%.1f,\"slowest_ms\":%.1f,"
	       "\"error\":\"%s\"}\n",
	       n, (last - begun) / 1e9, slowest / 1e6, error);
	fflush(stdout);
	block_signals(&set);
	sigdelset(&set, SIGUSR1);
	if (!atomic_load(&stop))
		sigwait(&set, &sig);
	return n < opt.count;
}

/* Runs a command and tells what it cost, on standard error. Returns its exit status. */
static int run_command(void)
{
	struct rusage ru;
	struct cpu a, b;
	int status;
	json_t *o;
	pid_t pid;

	cpu_snapshot(&a);
	pid = fork();
	if (!pid) {
		execvp(opt.command[0], opt.command);
		die("%s", opt.command[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("%s", opt.command[0]);
	cpu_snapshot(&b);
	getrusage(RUSAGE_CHILDREN, &ru);
	b.self += (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000000ull +
		  (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1000ull;
	o = json_pack("{s:s, s:o}", "case", "run", "cpu", cpu_json(&a, &b));
	json_dumpf(o, stderr, JSON_COMPACT | JSON_REAL_PRECISION(9));
	fputc('\n', stderr);
	json_decref(o);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* --- options --- */

static const struct argp_option options[] = {
	{ "port", 'p', "PORT", 0, "first of the server's four ports (9000)", 0 },
	{ "threads", 't', "N", 0, "connections at once; server: threads a port (1)", 0 },
	{ "seconds", 's', "S", 0, "how long to measure (2)", 0 },
	{ "grace", 'g', "S", 0, "how long connections may take to end after a signal (3)", 0 },
	{ "pace", 'P', "MS", 0, "rr: from one round trip of a connection to the next (none)", 0 },
	{ "spliced", 'a', NULL, 0, "a blocking socket may say EAGAIN, as spliced ones do", 0 },
	{ "size", 'b', "BYTES", 0, "of a message, or of a write of bulk (64)", 0 },
	{ "count", 'n', "N", 0, "crr: connections a thread instead of a time; hold: in all", 0 },
	{ "congestion", 'c', "NAME", 0, "of every socket; empty for the route's (cubic)", 0 },
	{ "watch", 'w', "PID", 0, "count the CPU of this process too; may be repeated", 0 },
	{ "events", 'e', "PID", 0,
	  "count its system calls, waits and instructions, which costs speed; may be repeated", 0 },
	{ "reader", 'r', "PID", 0, "with --events, also count the bytes that it reads", 0 },
	{ "spin", 'S', NULL, 0, "keep the CPUs awake by SCHED_IDLE threads", 0 },
	{ 0 },
};

static int number(const char *text, int min, int max, struct argp_state *state)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (*end || end == text || v < min || v > max)
		argp_error(state, "%s: a number from %d to %d is needed", text, min, max);
	return v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'p':
		opt.port = number(arg, 1, 65535 - PORTS, state);
		return 0;
	case 't':
		opt.threads = number(arg, 1, MAX_THREADS, state);
		return 0;
	case 's':
		opt.seconds = atof(arg);
		if (opt.seconds <= 0 || opt.seconds > 3600)
			argp_error(state, "%s: seconds out of range", arg);
		return 0;
	case 'g':
		opt.grace = number(arg, 1, 3600, state);
		return 0;
	case 'P':
		opt.pace_ms = number(arg, 1, 60000, state);
		return 0;
	case 'a':
		retry_again = true;
		return 0;
	case 'b':
		opt.size = number(arg, 1, MAX_SIZE, state);
		return 0;
	case 'n':
		opt.count = number(arg, 1, 1000000, state);
		return 0;
	case 'c':
		opt.congestion = arg;
		return 0;
	case 'w':
		if (!cpu_watch(number(arg, 1, 1 << 22, state)))
			argp_error(state, "at most %d processes can be watched", MAX_WATCH);
		return 0;
	case 'e':
		if (!count_watch(number(arg, 1, 1 << 22, state)))
			argp_error(state, "at most %d processes can be counted", MAX_COUNTED);
		return 0;
	case 'r':
		count_reader(number(arg, 1, 1 << 22, state));
		return 0;
	case 'S':
		opt.spin = true;
		return 0;
	case ARGP_KEY_ARG:
		if (!opt.mode) {
			opt.mode = arg;
			if (!strcmp(arg, "run")) {
				opt.command = state->argv + state->next;
				state->next = state->argc;
			}
		} else if (!opt.host) {
			opt.host = arg;
		} else {
			argp_usage(state);
		}
		return 0;
	case ARGP_KEY_END:
		if (!opt.mode)
			argp_usage(state);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc =
		"server\nrr ADDRESS\nbulk ADDRESS\ncrr ADDRESS\nhold ADDRESS\nrest\nrun COMMAND...",
	.doc = "Traffic between pods, and what it costs, as JSON.",
};

static int client(int kind, void *(*fn)(void *))
{
	if (!opt.host) {
		fprintf(stderr, "amb-traffic: %s needs an address\n", opt.mode);
		return 2;
	}
	resolve(opt.port + kind);
	return fn ? run_clients(fn, kind == PORT_SINK) : hold();
}

int main(int argc, char **argv)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, NULL);
	if (!strcmp(opt.mode, "server"))
		server();
	if (!strcmp(opt.mode, "rr"))
		return client(PORT_ECHO, rr_thread);
	if (!strcmp(opt.mode, "bulk"))
		return client(PORT_SINK, bulk_thread);
	if (!strcmp(opt.mode, "crr"))
		return client(PORT_ONCE, crr_thread);
	if (!strcmp(opt.mode, "hold"))
		return client(PORT_HOLD, NULL);
	if (!strcmp(opt.mode, "rest"))
		return rest();
	if (!strcmp(opt.mode, "run") && *opt.command)
		return run_command();
	fprintf(stderr, "amb-traffic: unknown case %s\n", opt.mode);
	return 2;
}
